//! The revocations that are kept on this machine: one approval a file, below what is remembered for this person.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::challenge::RequestId;
use crate::cli::place::{
    check_owner, exists, make_private_directory, read_bounded, state, unreadable, unwritable, write_private,
};
use crate::cli::report::Failure;
use crate::response::{MAX_RESPONSE, Response};
use crate::trust::revocation::Revocation;

/// More than tokens are lost between two versions of trust.
const MAX_KEPT: usize = 10_000;
/// The code of what was begun before a revocation and must begin again.
pub(super) const MEANWHILE: &str = "token-revoked-meanwhile";

fn directory() -> Result<PathBuf, Failure> {
    Ok(state()?.join("revoked"))
}

/// Everything that was revoked here, always in the same order.
///
/// # Errors
/// If what is kept cannot be read: what is not known must not count as nothing.
pub(super) fn all() -> Result<Vec<Revocation>, Failure> {
    let directory = directory()?;
    if !exists(&directory) {
        return Ok(Vec::new());
    }
    check_owner(&directory)?;
    let entries = fs::read_dir(&directory).map_err(|error| unreadable(&directory, &error))?;
    let mut paths = Vec::new();
    for (count, entry) in entries.enumerate() {
        let path = entry.map_err(|error| unreadable(&directory, &error))?.path();
        // What was being written when somebody pulled the plug.
        if path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with('.')) {
            continue;
        }
        match count < MAX_KEPT {
            true => paths.push(path),
            false => return Err(malformed(&path, "is one file too many")),
        }
    }
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Result<Revocation, Failure> {
    let bytes = read_bounded(path, MAX_RESPONSE as u64).map_err(|error| unreadable(path, &error))?;
    let answer = Response::parse(&bytes).map_err(|error| malformed(path, &error.to_string()))?;
    Revocation::kept(&answer).map_err(|error| malformed(path, &error.to_string()))
}

/// Says so if what was revoked here is no longer `before`.
///
/// # Errors
/// If something was revoked meanwhile, or what is kept cannot be read.
pub(super) fn check_unchanged(before: &[Revocation]) -> Result<(), Failure> {
    if all()? == before {
        return Ok(());
    }
    Err(Failure::failed(MEANWHILE, "a token was revoked while approvals were awaited").hint("run it again"))
}

fn malformed(path: &Path, what: &str) -> Failure {
    Failure::failed("bad-revocation", format!("{}: {what}", path.display()))
        .hint("it says which tokens were lost; mend it, or take it away if you know that it is none")
}

/// Keeps what was signed and judged.
///
/// # Errors
/// If it cannot be written.
pub(super) fn keep(request: &RequestId, answer: &Response) -> Result<PathBuf, Failure> {
    let directory = directory()?;
    make_private_directory(&directory).map_err(|error| unwritable(&directory, &error))?;
    let path = directory.join(format!("{request}.approval"));
    write_private(&path, &answer.to_file()).map_err(|error| unwritable(&path, &error))?;
    Ok(path)
}
