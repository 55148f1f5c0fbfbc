//! `audit counters`: what tokens counted against what the log has, by key, the gaps named.

use std::collections::BTreeMap;

use clap::Args;
use sequoia_openpgp::Fingerprint;
use serde_json::json;

use crate::audit::Entry;
use crate::cli::audit::Log;
use crate::cli::report::{Failure, Outcome, Report, printable};
use crate::cli::{Common, local};
use crate::store::Store as _;

const EXAMPLE: &str = "\
Example:
  touchgate audit counters

Only answers that came with an attestation of their token's counter say anything about it (`approve --with-counter`).";

// Arguments of `audit counters`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {}

/// What the log says of one key.
#[derive(Default)]
struct Seen {
    person: String,
    serial: String,
    answers: u64,
    counted: u64,
    highest: Option<u32>,
    gaps: Vec<Gap>,
}

/// Signatures that nobody here saw, before one answer.
struct Gap {
    index: u64,
    request: String,
    at: String,
    unseen: u64,
}

/// Prints a line a key.
pub(super) fn counters(common: &Common) -> Outcome {
    let log = Log::open(common)?;
    let mut keys: BTreeMap<String, Seen> = BTreeMap::new();
    log.read(0, |index, _, entry| {
        if let Entry::Answered { at, request, person, key, serial, signatures, unseen, .. } = entry {
            let seen = keys.entry(key).or_default();
            (seen.person, seen.serial) = (person, serial);
            seen.answers += 1;
            seen.counted += u64::from(signatures.is_some());
            seen.highest = seen.highest.max(signatures);
            if let Some(unseen @ 1..) = unseen {
                let (request, at) = (request.short_code(), at.to_string());
                seen.gaps.push(Gap { index, request, at, unseen });
            }
        }
        Ok(true)
    })?;
    let mut text = String::new();
    let mut objects = Vec::new();
    for (key, seen) in &keys {
        let fingerprint: Fingerprint =
            key.parse().map_err(|_| Failure::failed("log-entry", format!("{} is no key", printable(key))))?;
        let known = log.store.counter(&fingerprint).map_err(|error| local::store_failed(&error))?;
        let unseen: u64 = seen.gaps.iter().map(|gap| gap.unseen).sum();
        let state = match (known, seen.highest) {
            (None, None) => "no counter came with any".to_owned(),
            (Some(known), Some(highest)) if known.highest == highest => {
                format!("counter {highest}, {unseen} signatures that nobody here saw")
            }
            (known, highest) => {
                let number =
                    |number: Option<u32>| number.map_or("none".to_owned(), |number| number.to_string());
                format!(
                    "the store's counter is {}, the log's {}: they should be the same",
                    number(known.map(|known| known.highest)),
                    number(highest)
                )
            }
        };
        text.push_str(&format!(
            "{} {} ({}): {} answers, {} with a counter; {state}\n",
            printable(&seen.person),
            printable(&seen.serial),
            printable(key),
            seen.answers,
            seen.counted
        ));
        for Gap { index, request, at, unseen } in &seen.gaps {
            text.push_str(&format!("  {unseen} before entry {index}, the answer to {request} at {at}\n"));
        }
        let gaps: Vec<_> = seen
            .gaps
            .iter()
            .map(|gap| json!({ "index": gap.index, "request": gap.request, "at": gap.at, "unseen": gap.unseen }))
            .collect();
        objects.push(json!({
            "key": key,
            "person": seen.person,
            "serial": seen.serial,
            "answers": seen.answers,
            "with_counter": seen.counted,
            "log_highest": seen.highest,
            "store_highest": known.map(|known| known.highest),
            "unseen": unseen,
            "gaps": gaps,
        }));
    }
    if text.is_empty() {
        text.push_str("nobody has answered anything yet\n");
    }
    Ok(Report::done(text).with("keys", objects))
}
