//! Counting uses: at the verifier's own store, or at a gate that keeps a durable record of its own.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::audit::Entry;
use crate::challenge::{RequestId, TrustVersion};
use crate::store::{CommitError, GrantRecord, Op, Store, Unusable};
use crate::unix_time::UnixTime;

use super::check::Genuine;
use super::claims::Claims;
use super::rejection::GrantRejection;

/// How often a use is tried again that others overtook: each time one of them got its own.
const MAX_OVERTAKEN: usize = 16;
/// How long a directory remembers a grant that has ended: clocks go back, and then it must still know.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Counts `uses` more uses of a grant at `now`, all or none, at the verifier that made it, and says how many are left.
/// Of two that race for the last one exactly one gets it.
///
/// `under` is the trust that whoever counts goes by: nothing is used under one that was replaced.
///
/// # Errors
/// As [`usable`]; [`GrantRejection::Spent`] if that many are not left, [`GrantRejection::Uncounted`] if it cannot be
/// counted durably.
pub fn count<S: Store + ?Sized>(
    store: &S,
    under: TrustVersion,
    grant: &Genuine,
    uses: u32,
    now: UnixTime,
) -> Result<u32, GrantRejection> {
    let record = usable(store, grant, now)?;
    spend(store, under, record.request, uses, now)
}

/// The same for whoever needs no token to know that it was made here.
///
/// # Errors
/// As [`count`], but for [`GrantRejection::Differs`].
pub(crate) fn spend<S: Store + ?Sized>(
    store: &S,
    under: TrustVersion,
    grant: RequestId,
    uses: u32,
    now: UnixTime,
) -> Result<u32, GrantRejection> {
    for _ in 0..MAX_OVERTAKEN {
        let record = store.grant(&grant)?.ok_or(GrantRejection::Unknown)?;
        let left = record.uses.saturating_sub(record.used).checked_sub(uses);
        let left = left.ok_or(GrantRejection::Spent { uses: record.uses })?;
        let each = (1..=uses).flat_map(|more| {
            let count = record.used.saturating_add(more);
            [Op::Use { count, grant, at: now }, Op::Log(Entry::Used { at: now, grant, count })]
        });
        match store.commit(&[Op::Under(under)].into_iter().chain(each).collect::<Vec<_>>()) {
            Ok(_) => return Ok(left),
            Err(CommitError::Overtaken) => match store.trust()? {
                Some(known) if known != under => {
                    let reason = format!("trust {known} is in force here, not {under}");
                    return Err(GrantRejection::Uncounted { reason });
                }
                _ => {}
            },
            Err(error) => return Err(not_written(error, &record, now)),
        }
    }
    Err(GrantRejection::Uncounted { reason: CommitError::Overtaken.to_string() })
}

/// What the store has of a grant that is neither revoked nor over, whether uses are left or not.
///
/// # Errors
/// [`GrantRejection::Unknown`], [`GrantRejection::Differs`], [`GrantRejection::Revoked`],
/// [`GrantRejection::Expired`], or the store's own.
pub fn usable<S: Store + ?Sized>(
    store: &S,
    grant: &Genuine,
    now: UnixTime,
) -> Result<GrantRecord, GrantRejection> {
    let claims = grant.claims();
    let record = store.grant(&claims.jti)?.ok_or(GrantRejection::Unknown)?;
    // Whoever has only the key cannot make more of it than what was decided.
    if Claims::parse(record.claims.as_bytes()).as_ref() != Ok(&claims.whole()) {
        return Err(GrantRejection::Differs { id: claims.jti.to_string() });
    }
    if record.revoked.is_some() {
        return Err(GrantRejection::Revoked);
    }
    if now >= record.expires {
        return Err(GrantRejection::Expired { now, exp: record.expires });
    }
    Ok(record)
}

/// Revokes a grant at `now`, used or not, and records by whom and why. Says how often it had been used.
///
/// # Errors
/// [`GrantRejection::Unknown`], [`GrantRejection::Revoked`], [`GrantRejection::Expired`] if there is nothing left
/// to revoke, or the store's own.
pub fn revoke<S: Store + ?Sized>(
    store: &S,
    grant: RequestId,
    by: &str,
    because: Option<&str>,
    now: UnixTime,
) -> Result<u32, GrantRejection> {
    for _ in 0..MAX_OVERTAKEN {
        let record = store.grant(&grant)?.ok_or(GrantRejection::Unknown)?;
        if now >= record.expires {
            return Err(GrantRejection::Expired { now, exp: record.expires });
        }
        let entry = Entry::Revoked { at: now, grant, by: by.to_owned(), because: because.map(str::to_owned) };
        match store.commit(&[Op::Revoke { grant, used: record.used, at: now }, Op::Log(entry)]) {
            Ok(_) => return Ok(record.used),
            Err(CommitError::Overtaken) => {}
            Err(error) => return Err(not_written(error, &record, now)),
        }
    }
    Err(GrantRejection::Uncounted { reason: CommitError::Overtaken.to_string() })
}

/// Why the store did not take a change on this grant.
fn not_written(error: CommitError, record: &GrantRecord, now: UnixTime) -> GrantRejection {
    match error {
        CommitError::Grant(Unusable::Expired) => GrantRejection::Expired { now, exp: record.expires },
        CommitError::Grant(Unusable::Revoked) => GrantRejection::Revoked,
        CommitError::Grant(Unusable::Spent) => GrantRejection::Spent { uses: record.uses },
        CommitError::Grant(Unusable::Unknown) => GrantRejection::Unknown,
        error => GrantRejection::Uncounted { reason: error.to_string() },
    }
}

/// A gate's own memory where the verifier cannot be asked: a directory with an empty file for each use, named after
/// the grant, its end and the number of the use. Creating a file that must not exist is atomic on every file system
/// that is not broken.
///
/// It knows nothing of revocation, and each such directory counts by itself.
#[derive(Debug)]
pub struct UsesDirectory(PathBuf);

impl UsesDirectory {
    /// Takes a directory that is its owner's alone to write, and makes it if it is not there.
    ///
    /// # Errors
    /// If it cannot be made, or others may write there.
    pub fn open(path: &Path) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(path)?;
        let own = rustix::process::geteuid().as_raw();
        if !found.is_dir() || found.uid() != own || found.mode() & 0o022 != 0 {
            return Err(io::Error::new(
                ErrorKind::PermissionDenied,
                "not a directory that this user alone may write to",
            ));
        }
        Ok(Self(path.to_owned()))
    }

    /// Counts `uses` more uses of the grant at `now`, and says how many are left. If that many are not left, those that
    /// are count as used from then on.
    ///
    /// # Errors
    /// [`GrantRejection::Spent`], or [`GrantRejection::Uncounted`] if it cannot be counted durably.
    pub fn count(&self, grant: &Genuine, uses: u32, now: UnixTime) -> Result<u32, GrantRejection> {
        let all = grant.claims().step_up.uses;
        if uses > all {
            return Err(GrantRejection::Spent { uses: all });
        }
        let failed =
            |error: io::Error| GrantRejection::Uncounted { reason: format!("{}: {error}", self.0.display()) };
        self.forget(now).map_err(failed)?;
        self.take(grant, uses).map_err(failed)?.ok_or(GrantRejection::Spent { uses: all })
    }

    fn take(&self, grant: &Genuine, uses: u32) -> io::Result<Option<u32>> {
        let claims = grant.claims();
        let (mut got, mut last) = (0, 0);
        for number in 1..=claims.step_up.uses {
            if got == uses {
                break;
            }
            let name = format!("{}.{}.{number}", claims.jti, claims.exp.seconds());
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.0.join(name)) {
                Ok(file) => {
                    file.sync_all()?;
                    (got, last) = (got + 1, number);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        // The names themselves.
        File::open(&self.0)?.sync_all()?;
        // Too few: those that it got stay used, which is the safe side.
        Ok((got == uses).then(|| claims.step_up.uses - last))
    }

    /// Forgets what ended long ago. What cannot be removed stays.
    fn forget(&self, now: UnixTime) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            let end = name.to_str().and_then(|name| name.split('.').nth(1)?.parse().ok());
            let end = end.and_then(UnixTime::from_seconds);
            if end.is_some_and(|end| end.plus(KEPT) < now) {
                let _ = fs::remove_file(self.0.join(name));
            }
        }
        Ok(())
    }
}
