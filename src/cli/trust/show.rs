//! `trust show`: people, tokens, tiers and rules.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::report::{Outcome, Report, printable};
use crate::cli::{Common, place};
use crate::request::Mode;
use crate::trust::Trust;
use crate::trust::policy::Rule;
use crate::trust::roster::{Person, Token};
use crate::verify::tier;

const EXAMPLE: &str = "\
Example:
  touchgate trust show              what this machine goes by
  touchgate trust show ./trust      a directory, pinned or not";

// Arguments of `trust show`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {
    /// A directory to look at [the trust of this machine]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Prints it.
pub(super) fn show(common: &Common, arguments: &Arguments) -> Outcome {
    let (trust, directory, pinned) = match &arguments.directory {
        Some(directory) => (super::load(directory)?.0, directory.clone(), false),
        None => {
            let chosen = place::trust(common.trust.as_deref(), common.unpinned)?;
            (chosen.trust, chosen.directory, chosen.pinned)
        }
    };
    let mut text = format!(
        "trust {} in {}{}\n  audience     {}\n  valid until  {}\n",
        trust.version,
        printable(&directory.display().to_string()),
        if pinned { ", pinned" } else { "" },
        trust.audience,
        trust.valid_until,
    );
    text.push_str("people\n");
    text.push_str(&people(&trust));
    text.push_str("rules\n");
    for rule in trust.rules() {
        text.push_str(&format!("  {rule}: {}\n", terms(rule)));
    }
    let people: Vec<Value> = trust.roster.people().iter().map(person_json).collect();
    let rules: Vec<Value> = trust.rules().iter().map(rule_json).collect();
    Ok(Report::done(text)
        .with("directory", directory.display().to_string())
        .with("trust", trust.version.to_string())
        .with("pinned", pinned)
        .with("audience", trust.audience.to_string())
        .with("valid_until", trust.valid_until.to_string())
        .with("people", people)
        .with("rules", rules))
}

/// A line a token, and one for whoever has none.
fn people(trust: &Trust) -> String {
    let mut rows = vec![["name", "groups", "token", "evidence", "identities"].map(str::to_owned)];
    for person in trust.roster.people() {
        let groups = if person.groups.is_empty() { "-".to_owned() } else { person.groups.join(",") };
        let identities: Vec<&str> = person.identities.iter().map(|identity| identity.as_str()).collect();
        let mut first = [person.name.clone(), groups, "-".to_owned(), "-".to_owned(), identities.join(" ")];
        for token in &person.tokens {
            first[2] = token.serial.clone();
            first[3] = tier(token).0.to_string();
            rows.push(std::mem::take(&mut first));
        }
        if person.tokens.is_empty() {
            rows.push(first);
        }
    }
    table(&rows)
}

/// Rows in columns, two spaces in front.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{:<width$}", printable(cell)));
        text.push_str(&format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end()));
    }
    text
}

/// What a rule needs and gives, in one line.
pub(super) fn terms(rule: &Rule) -> String {
    let mut text = format!("{}, {}", rule.needs(), rule.tier);
    if !rule.pinned.is_empty() {
        let pinned: Vec<&str> = rule.pinned.iter().map(|name| name.as_str()).collect();
        text.push_str(&format!(", pinned {}", pinned.join(" ")));
    }
    if rule.unattended {
        text.push_str(", unattended");
    }
    text
}

/// A rule for machines.
pub(super) fn rule_json(rule: &Rule) -> Value {
    let need: Vec<Value> =
        rule.need.iter().map(|need| json!({ "from": need.from.to_string(), "count": need.count })).collect();
    let pinned: Vec<&str> = rule.pinned.iter().map(|name| name.as_str()).collect();
    json!({
        "action": rule.action(),
        "resource": rule.resource(),
        "mode": if rule.mode() == Mode::BreakGlass { "break-glass" } else { "ordinary" },
        "need": need,
        "tier": rule.tier.to_string(),
        "pinned": pinned,
        "unattended": rule.unattended,
        "answer_within_s": rule.answer_within.as_secs(),
        "grant": { "lasts_s": rule.grant.lasts.as_secs(), "uses": rule.grant.uses },
    })
}

fn person_json(person: &Person) -> Value {
    let identities: Vec<&str> = person.identities.iter().map(|identity| identity.as_str()).collect();
    let tokens: Vec<Value> = person.tokens.iter().map(token_json).collect();
    json!({ "name": person.name, "groups": person.groups, "identities": identities, "tokens": tokens })
}

fn token_json(token: &Token) -> Value {
    let (tier, not_attested) = tier(token);
    json!({
        "serial": token.serial,
        "key": token.key.fingerprint().to_hex(),
        "evidence": tier.to_string(),
        "acr": tier.acr(),
        "not_attested": not_attested.map(|reason| reason.to_string()),
    })
}
