//! `audit export`: the log as files that any web server can serve, for witnesses and monitors.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::audit::SignedCheckpoint;
use crate::audit::export::{ExportError, Written, export as write};
use crate::audit::note::MAX_NOTE;
use crate::cli::audit::{Log, kept};
use crate::cli::report::{Failure, Outcome, Report, Verdict, exit};
use crate::cli::{Common, local, place};
use crate::store::{LogHashes, Store};

/// How often it is looked whether another process is done with an export.
const TICK: Duration = Duration::from_millis(50);

const EXAMPLE: &str = "\
Example:
  touchgate audit export /srv/log                        again and again: only what is new is written
  touchgate audit export /srv/log --cosigned reply       take what witnesses signed";

// Arguments of `audit export`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {
    /// Where to; made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A checkpoint of this log with the cosignatures of enough witnesses, which is kept and exported
    #[arg(long, value_name = "FILE")]
    cosigned: Option<PathBuf>,
}

/// Writes what is new.
pub(super) fn export(common: &Common, arguments: &Arguments) -> Outcome {
    let log = Log::open(common)?;
    kept::check(&log.store, &log.trust)?;
    let seen = match &arguments.cosigned {
        None => None,
        Some(file) => {
            let note = place::read_bounded(file, MAX_NOTE as u64)
                .map_err(|error| place::unreadable(file, &error))?;
            let seen = SignedCheckpoint::open(&note, &log.key, &log.trust.witnesses)
                .map_err(|error| Failure::failed("log-checkpoint", format!("{}: {error}", file.display())))?;
            log.store.witness(&seen).map_err(|error| local::store_failed(&error))?;
            Some(seen)
        }
    };
    let (written, to) = bring_up(&arguments.folder, &log.store, seen, || Ok(()))?;
    kept::keep(&log.store, &log.trust)?;
    let folder = arguments.folder.display().to_string();
    let seen = to.seen().len();
    let witnesses = if seen > 0 { format!(", seen by {seen} witnesses") } else { String::new() };
    let text = format!(
        "{} entries in {folder}, {} of them new, {} tiles written{witnesses}",
        written.size,
        written.size - written.before,
        written.tiles
    );
    Ok(Report::done(text)
        .with("folder", folder)
        .with("size", written.size)
        .with("before", written.before)
        .with("tiles", written.tiles)
        .with("witnesses", seen)
        .with("root", to.checkpoint().root.to_string()))
}

/// Brings a folder up to `seen`, or to the store's newest checkpoint if there is none or the folder is beyond it. One
/// process at a time, or whoever took its checkpoint first and writes last would lead the folder back; the others wait
/// until `enough` says not to.
///
/// # Errors
/// As [`write`]; if the store fails, or it was enough.
pub(in crate::cli) fn bring_up(
    folder: &Path,
    store: &dyn Store,
    seen: Option<SignedCheckpoint>,
    enough: impl Fn() -> Result<(), Failure>,
) -> Result<(Written, SignedCheckpoint), Failure> {
    let lock = place::state()?.join("export.lock");
    let unlockable = |error: io::Error| place::unwritable(&lock, &error);
    let held = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&lock);
    let held = held.map_err(unlockable)?;
    loop {
        match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(error) => return Err(unlockable(error.into())),
        }
        enough()?;
        sleep(TICK);
    }
    if let Some(seen) = seen {
        match write(folder, &LogHashes(store), &seen) {
            // The folder has gone further since the witness looked. Whether the store has, the newest one shows.
            Err(ExportError::Ahead { .. }) => {}
            written => return Ok((written.map_err(failure)?, seen)),
        }
    }
    let newest = store.checkpoint().map_err(|error| local::store_failed(&error))?;
    let written = write(folder, &LogHashes(store), &newest).map_err(failure)?;
    Ok((written, newest))
}

/// An export that failed, as a failure.
pub(super) fn failure(error: ExportError) -> Failure {
    let (code, no, hint) = match &error {
        ExportError::Ahead { .. } => (
            "log-behind",
            true,
            "an older copy of the store was brought back, or the folder is another log's; nothing was written",
        ),
        ExportError::Checkpoint { .. } => {
            ("log-checkpoint", true, "the folder holds another log; name another one")
        }
        ExportError::Fork { .. } => {
            ("log-fork", true, "somebody rewrote the log, or the export: keep both and find out who")
        }
        ExportError::Hash { .. } | ExportError::Tile { .. } => {
            ("log-tiles", true, "the folder was changed; export into an empty one")
        }
        ExportError::Root { .. } | ExportError::Entries { .. } | ExportError::Tree(_) => {
            ("log-root", true, "`touchgate audit verify` says which entry it is")
        }
        ExportError::Unusable { .. } => ("unreadable", false, "check the path and who may read or write it"),
    };
    let failure = Failure::failed(code, error.to_string()).hint(hint);
    if no { Failure { verdict: Verdict::Rejected, exit: exit::NO, ..failure } } else { failure }
}
