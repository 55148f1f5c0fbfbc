//! The checkpoint that is kept beside the store: whoever brings back an older store is noticed by it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::audit::note::MAX_NOTE;
use crate::audit::review::{Wrong, check_beginning};
use crate::audit::{LogKey, SignedCheckpoint, Witnesses};
use crate::cli::report::{Failure, Verdict, exit};
use crate::cli::{local, place};
use crate::store::Store;
use crate::trust::Trust;

/// Where it lies.
///
/// # Errors
/// If there is no home directory.
pub(in crate::cli) fn path() -> Result<PathBuf, Failure> {
    Ok(place::state()?.join("checkpoint"))
}

/// Refuses a store that is not what the kept checkpoint has seen: an older state, or another past.
///
/// # Errors
/// If it is not, or if either cannot be read.
pub(in crate::cli) fn check(store: &dyn Store, trust: &Trust) -> Result<(), Failure> {
    let Some(key) = &trust.log_key else { return Err(local::no_key("log_key")) };
    let path = path()?;
    if matches!(fs::symlink_metadata(&path), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    check_beside(store, &read(&path, key)?, &path)
}

/// The same by a checkpoint of this log that lies at `path`, whoever kept it.
///
/// # Errors
/// As [`check`].
pub(in crate::cli) fn check_beside(
    store: &dyn Store,
    kept: &SignedCheckpoint,
    path: &Path,
) -> Result<(), Failure> {
    let newest = store.checkpoint().map_err(|error| local::store_failed(&error))?;
    check_beginning(store, kept, newest.checkpoint()).map_err(|wrong| refused(&wrong, path))
}

/// Keeps the store's newest checkpoint, if what is kept is its beginning.
///
/// # Errors
/// As [`check`]; if it cannot be written.
pub(in crate::cli) fn keep(store: &dyn Store, trust: &Trust) -> Result<(), Failure> {
    let path = path()?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let locked = || -> io::Result<fs::File> {
        let lock = fs::File::open(folder)?;
        // Whoever saw more in the meantime must not be overwritten with less.
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        Ok(lock)
    };
    let _lock = locked().map_err(|error| place::unwritable(&path, &error))?;
    check(store, trust)?;
    let newest = store.checkpoint().map_err(|error| local::store_failed(&error))?;
    let write = || {
        // Readable by its owner alone.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(newest.note().to_string().as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(|error| place::unwritable(&path, &error))
}

/// Reads a checkpoint from a file and believes it, under the log's key.
///
/// # Errors
/// If it cannot be read, or is not this log's.
pub(super) fn read(path: &Path, key: &LogKey) -> Result<SignedCheckpoint, Failure> {
    let note = place::read_bounded(path, MAX_NOTE as u64).map_err(|error| place::unreadable(path, &error))?;
    SignedCheckpoint::open(&note, key, &Witnesses::default()).map_err(|error| {
        Failure::failed("log-checkpoint", format!("{}: {error}", path.display()))
            .hint("a checkpoint of this log is needed, as `audit export` writes it")
    })
}

fn refused(wrong: &Wrong, path: &Path) -> Failure {
    let hint = match wrong {
        Wrong::Behind { .. } => {
            "an older copy of the store was brought back: restore the newest one, nothing is decided on this"
        }
        _ => "somebody rewrote the log: keep both the store and this checkpoint, and find out who",
    };
    let failure = Failure::failed(wrong.code(), wrong.to_string());
    Failure { verdict: Verdict::Rejected, exit: exit::NO, ..failure }
        .fact("kept in", path.display().to_string())
        .hint(hint)
}
