//! `trust diff`: what one version changes in another, and what that means.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::report::{Outcome, Report, printable};
use crate::cli::{Common, place};
use crate::trust;
use crate::trust::diff::{Change, Effect};

const EXAMPLE: &str = "\
Example:
  touchgate trust diff ./trust              what ./trust changes in the trust of this machine
  touchgate trust diff old/trust ./trust    what changes from one directory to the other";

// Arguments of `trust diff`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {
    /// The directory before, unless it is the trust of this machine, and the one after
    #[arg(value_name = "DIR", required = true, num_args = 1..=2)]
    directories: Vec<PathBuf>,
}

/// Prints the differences.
pub(super) fn diff(common: &Common, arguments: &Arguments) -> Outcome {
    let (old, new) = match arguments.directories.as_slice() {
        [old, new] => (super::load(old)?, new),
        [new] => {
            let chosen = place::trust(common.trust.as_deref(), common.unpinned)?;
            ((chosen.trust, chosen.manifest.into_files()), new)
        }
        _ => return Err(crate::cli::report::Failure::usage("one directory or two")),
    };
    let new = super::load(new)?;
    let found = trust::diff(&old.0, &old.1, &new.0, &new.1);
    let mut text = format!("from {}\nto   {}\n", found.old, found.new);
    match found.is_empty() {
        true => text.push_str("  no difference\n"),
        false => {
            found.to_string().lines().for_each(|line| text.push_str(&format!("  {}\n", printable(line))))
        }
    }
    let changes: Vec<Value> = found.changes.iter().map(change).collect();
    let effects: Vec<Value> = found.effects.iter().map(effect).collect();
    let reduced: Vec<&str> = found.all_reduced().collect();
    Ok(Report::done(text)
        .with("old", found.old.to_string())
        .with("new", found.new.to_string())
        .with("changes", changes)
        .with("effects", effects)
        .with("reduced", reduced))
}

/// A change for machines: its kind, what it is about, and the words for people.
fn change(change: &Change) -> Value {
    let (kind, about) = match change {
        Change::Bytes { path } => ("bytes", path),
        Change::GroupJoined { person, .. } => ("group-joined", person),
        Change::GroupLeft { person, .. } => ("group-left", person),
        Change::IdentityAdded { person, .. } => ("identity-added", person),
        Change::IdentityRemoved { person, .. } => ("identity-removed", person),
        Change::PersonAdded { person, .. } => ("person-added", person),
        Change::PersonRemoved { person, .. } => ("person-removed", person),
        Change::RuleAdded { rule, .. } => ("rule-added", rule),
        Change::RuleChanged { rule, .. } => ("rule-changed", rule),
        Change::RuleRemoved { rule } => ("rule-removed", rule),
        Change::Setting { key, .. } => ("setting", key),
        Change::TokenAdded { person, .. } => ("token-added", person),
        Change::TokenChanged { person, .. } => ("token-changed", person),
        Change::TokenRemoved { person, .. } => ("token-removed", person),
    };
    let weaker = match change {
        Change::RuleChanged { differences, .. } => differences.iter().any(|difference| difference.weaker),
        _ => false,
    };
    json!({ "kind": kind, "about": about, "weaker": weaker, "text": change.to_string() })
}

fn effect(effect: &Effect) -> Value {
    json!({
        "rule": effect.rule,
        "instead_of": effect.instead_of,
        "falls_to": effect.falls_to,
        "ends": effect.ends,
        "gain": effect.gain,
        "lose": effect.lose,
    })
}
