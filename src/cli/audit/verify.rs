//! `audit verify`: the whole log judged again.

use std::io::{self, IsTerminal as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use serde_json::{Value, json};

use crate::audit::SignedCheckpoint;
use crate::audit::export::Export;
use crate::audit::review::{self, Against, Finding, Review, Wrong, review};
use crate::audit::tree::root;
use crate::cli::audit::{Log, export, kept, log_key};
use crate::cli::authorities::Authorities;
use crate::cli::report::{Failure, Outcome, Report, Verdict, exit, say};
use crate::cli::{Common, local, place};

/// Findings that are printed.
const SHOWN: usize = 20;
/// Entries between two words of progress.
const STEP: u64 = 100_000;

const EXAMPLE: &str = "\
Example:
  touchgate audit verify
  touchgate audit verify --against alice.checkpoint      and it must continue what alice kept
  touchgate audit verify --root own.pem                  counters on the word of a root of your own
  touchgate audit verify --folder /srv/log               an export, without the store: entries and tree";

// Arguments of `audit verify`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {
    /// A checkpoint that was kept elsewhere, which must be a beginning of the log
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// Judge an export instead of the store: its entries, tiles and checkpoint, not the signatures in them
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// More certificates between a counter and its root, PEM or DER; a directory gives every file in it
    #[arg(long, value_name = "FILE", conflicts_with = "folder")]
    intermediates: Vec<PathBuf>,
    /// A root for counters beside Yubico's; what it vouches for is its word
    #[arg(long, value_name = "FILE", conflicts_with = "folder")]
    root: Vec<PathBuf>,
}

/// Judges it.
pub(super) fn verify(common: &Common, arguments: &Arguments) -> Outcome {
    match &arguments.folder {
        Some(folder) => verify_folder(common, folder, &arguments.against),
        None => verify_store(common, arguments),
    }
}

fn verify_store(common: &Common, arguments: &Arguments) -> Outcome {
    let log = Log::open(common)?;
    kept::check(&log.store, &log.trust)?;
    let kept = read_all(&arguments.against, &log.key)?;
    let known = Authorities::read(&arguments.intermediates, &arguments.root)?;
    let authorities = review::Authorities { intermediates: &known.intermediates, roots: &known.roots };
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let terminal = io::stderr().is_terminal() && !common.json;
    let mut told = 0;
    let against = Against { kept: &kept, way: &log.way, authorities, ..Against::key(&log.key, threads) };
    let found = review(&log.store, &against, |done, size| {
        if terminal && done / STEP > told {
            told = done / STEP;
            say(&format!("{done} of {size} entries\n"));
        }
    });
    let found = found.map_err(|error| local::store_failed(&error))?;
    if found.found > 0 {
        return Err(rejected(&found));
    }
    kept::keep(&log.store, &log.trust)?;
    let root = found.root.map(|root| root.to_string()).unwrap_or_default();
    let mut unchecked = Vec::new();
    let mut text = format!(
        "the log is whole: {} entries, root {root}\n  \
         {} checkpoints, each the beginning of the next{}\n  \
         {} signatures verified again, {} counters, {} decisions made again, {} uses, {} versions of trust\n",
        found.entries,
        found.checkpoints,
        if found.kept > 0 { format!(", and {} kept elsewhere", found.kept) } else { String::new() },
        found.signatures,
        found.counters,
        found.decisions,
        found.uses,
        found.trusts,
    );
    let older = found.trusts.saturating_sub(found.followed);
    if log.way.is_empty() {
        text.push_str("  not checked: whether these versions are the right ones, for there is no pin\n");
        unchecked.push("no-trust-pin");
    } else if older > 0 {
        text.push_str(&format!("  not checked: {older} of these versions, which are older than the pin\n"));
        unchecked.push("older-trust");
    }
    if found.strange > 0 {
        let strange = found.strange;
        text.push_str(&format!("  not checked: {strange} counters more, which lead to no root known here\n"));
        unchecked.push("counter");
    }
    Ok(Report::decided(Verdict::Approved, text)
        .with("entries", found.entries)
        .with("root", root)
        .with("checkpoints", found.checkpoints)
        .with("kept", found.kept)
        .with("signatures", found.signatures)
        .with("counters", found.counters)
        .with("decisions", found.decisions)
        .with("uses", found.uses)
        .with("trusts", found.trusts)
        .with("followed", found.followed)
        .with("unchecked", unchecked))
}

fn read_all(files: &[PathBuf], key: &crate::audit::LogKey) -> Result<Vec<SignedCheckpoint>, Failure> {
    files.iter().map(|file| kept::read(file, key)).collect()
}

fn verify_folder(common: &Common, folder: &Path, against: &[PathBuf]) -> Outcome {
    let trust = place::trust(common.trust.as_deref(), common.unpinned)?.trust;
    let key = log_key(&trust)?;
    let kept = read_all(against, &key)?;
    let opened = Export::open(folder, &key, &trust.witnesses).map_err(export::failure)?;
    let mut bad = None;
    opened
        .verify(|index, line| {
            if let Err(error) = crate::audit::Entry::parse(line) {
                bad.get_or_insert_with(|| Finding {
                    index: Some(index),
                    wrong: Wrong::Entry { reason: error.to_string() },
                });
            }
        })
        .map_err(export::failure)?;
    let checkpoint = opened.checkpoint().checkpoint();
    let mut found =
        Review { entries: checkpoint.size, findings: bad.into_iter().collect(), ..Review::default() };
    for kept in &kept {
        let kept = kept.checkpoint();
        if kept.size > checkpoint.size {
            let wrong = Wrong::Behind { kept: kept.size, size: checkpoint.size };
            found.findings.push(Finding { index: None, wrong });
            continue;
        }
        let here = root(&opened, kept.size).map_err(|error| export::failure(error.into()))?;
        if here != kept.root {
            let wrong = Wrong::Fork { size: kept.size, kept: kept.root, found: here };
            found.findings.push(Finding { index: None, wrong });
        }
    }
    found.found = found.findings.len() as u64;
    if found.found > 0 {
        return Err(rejected(&found));
    }
    let (root, seen) = (checkpoint.root.to_string(), opened.checkpoint().seen().len());
    let text = format!(
        "the export is whole: {} entries, root {root}\n  {} witnesses saw it, {} checkpoints kept elsewhere are its beginning\n  \
         not checked: the signatures in its entries, for which the store is needed\n",
        checkpoint.size,
        seen,
        kept.len()
    );
    Ok(Report::decided(Verdict::Approved, text)
        .with("entries", checkpoint.size)
        .with("root", root)
        .with("witnesses", seen)
        .with("kept", kept.len())
        .with("unchecked", json!(["signatures"])))
}

/// What is wrong, the first of it as the code: of what is a clear no, if anything is.
fn rejected(found: &Review) -> Failure {
    let clear = found.findings.iter().find(|finding| !finding.wrong.is_unclear());
    let code = clear.or(found.findings.first()).map_or("log-order", |finding| finding.wrong.code());
    let message = match (clear, found.found) {
        (None, _) => "whether the log is what it should be cannot be told".to_owned(),
        (_, 1) => "the log is not what it should be".to_owned(),
        (_, more) => format!("the log is not what it should be, in {more} ways"),
    };
    let mut failure = Failure::failed(code, message);
    for finding in found.findings.iter().take(SHOWN) {
        failure = failure.fact("found", finding.to_string());
    }
    let objects: Vec<Value> = found.findings.iter().map(object).collect();
    let hint = match code {
        "log-busy" => "judge it while no verifier writes into it, or a copy of it",
        "log-trust-chain" => {
            "whoever has the log's key made a version up, or the trust here is not this log's: keep the store as it is"
        }
        "trust-behind" => {
            "fetch the newest trust with all of versions/; if it is that, whoever has the log's key made a version up"
        }
        _ => "keep the store as it is and compare it with an export or a checkpoint that others kept",
    };
    let failure = failure.with("findings", objects).with("entries", found.entries).hint(hint);
    match clear {
        None => failure,
        Some(_) => Failure { verdict: Verdict::Rejected, exit: exit::NO, ..failure },
    }
}

fn object(finding: &Finding) -> Value {
    json!({ "index": finding.index, "code": finding.wrong.code(), "message": finding.wrong.to_string() })
}
