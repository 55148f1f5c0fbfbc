//! `audit prove`: the proof that an entry stands in the log, for whoever has the log's key and nothing else.

use std::path::PathBuf;

use clap::Args;

use crate::audit::Entry;
use crate::cli::audit::find::Named;
use crate::cli::audit::{Log, kept};
use crate::cli::report::{Failure, Outcome, Report};
use crate::cli::{Common, place};
use crate::store::{Position, Store as _};

const EXAMPLE: &str = "\
Example:
  touchgate audit prove HJ5C9               its decision, into HJ5C9.log-proof.json
  touchgate audit prove 17 --out -          the entry with this number, to standard output";

// Arguments of `audit prove`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {
    /// An entry's number; or a request or its last five characters, for its decision
    #[arg(value_name = "ENTRY|REQUEST")]
    name: String,
    /// Write here [NAME.log-proof.json]; - for standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Writes it.
pub(super) fn prove(common: &Common, arguments: &Arguments) -> Outcome {
    let log = Log::open(common)?;
    kept::check(&log.store, &log.trust)?;
    let (index, name) = match log.find(&arguments.name)? {
        Named::Entry(index) => (index, index.to_string()),
        Named::Request(id, positions) => (decision(&log, &positions)?, id.short_code()),
    };
    let receipt = log.store.receipt(Position(index), &log.trust.witnesses).map_err(|error| {
        Failure::failed("no-proof", error.to_string()).hint(
            "hand the export to the witnesses, and what they signed back with `audit export --cosigned`",
        )
    })?;
    let proof = receipt.to_log_proof();
    let json =
        serde_json::to_string(&proof).map_err(|error| Failure::failed("no-proof", error.to_string()))?;
    if arguments.out.as_ref().is_some_and(|out| out.as_os_str() == "-") {
        return Ok(Report::done(json).with("proof", serde_json::json!(proof)));
    }
    let out = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.log-proof.json")));
    place::check_free(&[&out])?;
    place::write_new(&out, format!("{json}\n").as_bytes())
        .map_err(|error| place::unwritable(&out, &error))?;
    let size = receipt.checkpoint().checkpoint().size;
    let hashes = receipt.proof().len();
    let text = format!("entry {index} of {size}, proved by {hashes} hashes, in {}", out.display());
    Ok(Report::done(text)
        .with("file", out.display().to_string())
        .with("index", index)
        .with("size", size)
        .with("hashes", hashes))
}

/// The entry by which a request was decided.
fn decision(log: &Log, positions: &[Position]) -> Result<u64, Failure> {
    for Position(index) in positions {
        if matches!(log.line(*index)?.1, Entry::Decided { .. }) {
            return Ok(*index);
        }
    }
    let undecided = Failure::failed("no-entry", "this request is not decided yet");
    match positions {
        [] => Err(undecided),
        _ => Err(undecided.hint("give an entry's number for another entry; `audit show` has them")),
    }
}
