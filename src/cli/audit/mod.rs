//! `audit`: what the verifier did, read, judged again, proved and handed to others.

mod counters;
pub(super) mod export;
mod find;
pub(super) mod kept;
pub(super) mod list;
mod prove;
mod show;
mod verify;

use clap::Subcommand;

use crate::audit::{Entry, LogKey};
use crate::challenge::TrustVersion;
use crate::cli::place::{self, Chosen};
use crate::cli::report::{Failure, Outcome};
use crate::cli::{Common, local};
use crate::store::Store as _;
use crate::store::sqlite::Sqlite;
use crate::trust::Trust;

/// Entries that are read at a time.
const BATCH: usize = 4096;

/// What can be done with the log.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
pub(super) enum Command {
    /// What tokens counted against what the log has, by key
    Counters(counters::Arguments),
    /// The log as files, for witnesses and monitors
    Export(export::Arguments),
    /// The entries, a line each
    List(list::Arguments),
    /// The proof that an entry stands in the log, in a file
    Prove(prove::Arguments),
    /// One entry, or everything about one request
    Show(show::Arguments),
    /// Judge the whole log again: lines, tree, checkpoints, signatures, decisions
    Verify(verify::Arguments),
}

/// Runs a subcommand; `list` prints as it reads, and is run elsewhere.
pub(super) fn audit(common: &Common, command: &Command) -> Outcome {
    match command {
        Command::Counters(_) => counters::counters(common),
        Command::Export(arguments) => export::export(common, arguments),
        Command::List(_) => Err(Failure::failed("internal", "`list` ends the process itself")),
        Command::Prove(arguments) => prove::prove(common, arguments),
        Command::Show(arguments) => show::show(common, arguments),
        Command::Verify(arguments) => verify::verify(common, arguments),
    }
}

/// The verifier's log, and the trust that says whose it is.
struct Log {
    store: Sqlite,
    trust: Trust,
    /// The versions from the pin on, as signed updates lead.
    way: Vec<TrustVersion>,
    key: LogKey,
}

impl Log {
    /// Opens the log of this machine.
    ///
    /// # Errors
    /// If there is none, or trust names no key for it.
    fn open(common: &Common) -> Result<Self, Failure> {
        let Chosen { trust, way, .. } = place::trust(common.trust.as_deref(), common.unpinned)?;
        let key = log_key(&trust)?;
        let missing = || {
            Failure::failed("no-log", "no verifier has kept a log here")
                .hint("run this where `touchgate run` is run, or name an export with --folder")
        };
        let store = local::store_to_read(&key)?.ok_or_else(missing)?;
        Ok(Self { store, trust, way, key })
    }

    /// Reads every entry, oldest first, as long as `each` wants more.
    ///
    /// # Errors
    /// If the store fails, a line is no entry, or `each` does.
    fn read(
        &self,
        from: u64,
        mut each: impl FnMut(u64, &str, Entry) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let mut index = from;
        loop {
            let lines = self.store.lines(index, BATCH).map_err(|error| local::store_failed(&error))?;
            if lines.is_empty() {
                return Ok(());
            }
            for line in lines {
                if !each(index, &line, entry(index, &line)?)? {
                    return Ok(());
                }
                index += 1;
            }
        }
    }
}

/// The key of the log that trust names.
fn log_key(trust: &Trust) -> Result<LogKey, Failure> {
    trust.log_key.clone().ok_or_else(|| local::no_key("log_key"))
}

fn entry(index: u64, line: &str) -> Result<Entry, Failure> {
    Entry::parse(line.as_bytes()).map_err(|error| {
        Failure::failed("log-entry", format!("entry {index}: {error}"))
            .hint("the store was changed by something else; `touchgate audit verify` says what is wrong")
    })
}
