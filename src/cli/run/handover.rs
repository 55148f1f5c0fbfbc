//! What a decision leaves: its evidence in a file, and the grant in the hands of the command.
//!
//! The grant lies in sealed memory that the command inherits, and `TOUCHGATE_GRANT_FILE` names it: nothing of it is
//! on a disk, and it is gone with the last process that holds it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::card::CardError;
use crate::challenge::{Challenge, RequestId};
use crate::cli::place::{self, Chosen};
use crate::cli::report::Failure;
use crate::cli::sealed::Sealed;
use crate::cli::{Common, grant, local};
use crate::evidence::Evidence;
use crate::grant::{Grant, GrantRejection, revoke};
use crate::request::Request;
use crate::unix_time::UnixTime;

/// Where evidence goes: the directory that was named, or this machine's own.
///
/// # Errors
/// If it cannot be made; before anybody is asked.
pub(super) fn evidence_directory(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let directory = match named {
        Some(directory) => directory.to_owned(),
        None => {
            let own = place::state()?.join("evidence");
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&own);
            made.map_err(|error| place::unwritable(&own, &error))?;
            own
        }
    };
    let writable = rustix::fs::access(&directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
    let failed = |error: io::Error| place::unwritable(&directory, &error);
    if !directory.is_dir() {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    writable.map_err(|error| failed(error.into()))?;
    Ok(directory)
}

/// Writes `CODE.evidence.json`; where an older request of that code left one, `REQUEST.evidence.json`.
///
/// # Errors
/// If neither can be written.
pub(super) fn write_evidence(
    directory: &Path,
    challenge: &Challenge,
    evidence: &Evidence,
) -> Result<PathBuf, Failure> {
    let text = format!("{}\n", evidence.to_json().trim_end());
    let mut path = directory.join(format!("{}.evidence.json", challenge.id.short_code()));
    let mut written = place::write_new(&path, text.as_bytes());
    if matches!(&written, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
        path = directory.join(format!("{}.evidence.json", challenge.id));
        written = place::write_new(&path, text.as_bytes());
    }
    written.map_err(|error| place::unwritable(&path, &error))?;
    Ok(path)
}

/// The grant as the command finds it: the token and a line feed.
///
/// # Errors
/// Whatever the system gives.
fn seal(grant: &Grant) -> io::Result<Sealed> {
    Sealed::text(format!("{}\n", grant.token()).as_bytes())
}

/// Refuses to ask again for what a grant permits under which this very process runs: a script that asks for itself
/// must find that out (`touchgate grant check`) before it asks, or it would ask for ever.
///
/// # Errors
/// If it does, or it cannot be told.
pub(super) fn check_not_nested(chosen: &Chosen, request: &Request) -> Result<(), Failure> {
    let Request { action, resource, .. } = request;
    match grant::running(chosen, action, resource)? {
        None => Ok(()),
        Some(_) => Err(Failure::failed(
            "nested-run",
            format!("{action} on {resource} was granted to the command that this is part of"),
        )
        .hint(format!(
            "ask only where it was not: `touchgate grant check {action} {resource} || exec touchgate run …`"
        ))),
    }
}

/// A grant on its way to the command.
pub(super) struct Held {
    /// As the command gets it.
    pub(super) sealed: Sealed,
    request: RequestId,
    by: String,
    expires: UnixTime,
    cancel: Arc<AtomicBool>,
}

impl Held {
    /// Of the grant of this request. `cancel` is raised by whoever does not want the command any more.
    ///
    /// # Errors
    /// If there is no memory to hand it over in.
    pub(super) fn new(grant: &Grant, challenge: &Challenge, cancel: &Arc<AtomicBool>) -> io::Result<Self> {
        Ok(Self {
            sealed: seal(grant)?,
            request: challenge.id,
            by: challenge.request.requester.to_string(),
            expires: grant.claims().exp,
            cancel: Arc::clone(cancel),
        })
    }

    /// Looks whether the command may still start.
    ///
    /// # Errors
    /// If somebody interrupted, or the grant is over.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.cancel.load(Ordering::SeqCst) {
            return Err(CardError::Cancelled { waited: Duration::ZERO }.into());
        }
        let (now, exp) = (UnixTime::now(), self.expires);
        if now >= exp {
            return Err(GrantRejection::Expired { now, exp }.into());
        }
        Ok(())
    }

    /// Revokes it, since the command did not start because of `failure`, once the store was let go of; a revocation
    /// that could not be written is said with it.
    pub(super) fn take_back(&self, common: &Common, failure: Failure) -> Failure {
        let taken_back = || -> Result<(), Failure> {
            let trust = place::trust(common.trust.as_deref(), common.unpinned)?.trust;
            let store = local::store(&trust)?.ok_or(GrantRejection::Unknown)?;
            match revoke(&store, self.request, &self.by, Some(failure.code), UnixTime::now()) {
                // It is over as well.
                Ok(_) | Err(GrantRejection::Expired { .. } | GrantRejection::Revoked) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        match taken_back() {
            Ok(()) => failure,
            Err(error) => failure.fact("not revoked", error.message),
        }
    }
}
