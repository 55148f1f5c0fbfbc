//! What an update changes in policy.toml, and whose approval counts for what before and after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use toml::{Table, Value};

use super::Change;
use crate::trust::policy::{Approvers, Rule};
use crate::trust::roster::Person;
use crate::trust::{Files, Trust};
use crate::verify::tier;

/// How many people one line names before it only counts them.
const NAMED: usize = 12;

/// In what a rule differs from what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// Before.
    pub old: String,
    /// After.
    pub new: String,
    /// Whether it asks for less than before.
    pub weaker: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, old, new, weaker } = self;
        write!(f, "{key} {old} -> {new}{}", if *weaker { " (weaker)" } else { "" })
    }
}

/// What the changes mean for the requests that one rule covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Which requests: the rule's action, resource, mode.
    pub rule: String,
    /// The rule that covered them before, if that was another one.
    pub instead_of: Option<String>,
    /// The rule that covers them from now on, if that is another one.
    pub falls_to: Option<String>,
    /// Whether nobody may ask for them any more.
    pub ends: bool,
    /// Whose approval counts now and did not.
    pub gain: Vec<String>,
    /// Whose approval counts no longer.
    pub lose: Vec<String>,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.rule)?;
        let mut parts = Vec::new();
        if let Some(other) = &self.instead_of {
            parts.push(format!("this rule decides instead of {other}"));
        }
        if let Some(other) = &self.falls_to {
            parts.push(format!("{other} decides from now on"));
        }
        if self.ends {
            parts.push("nobody may ask for it any more".to_owned());
        }
        if !self.gain.is_empty() {
            parts.push(format!("{} may approve from now on", names(&self.gain)));
        }
        if !self.lose.is_empty() {
            parts.push(format!("{} may approve no longer", names(&self.lose)));
        }
        f.write_str(&parts.join("; "))
    }
}

fn names(people: &[String]) -> String {
    let named: Vec<&str> = people.iter().take(NAMED).map(String::as_str).collect();
    match people.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Action, resource and mode: no two rules of one policy share them.
type Key = (String, String, bool);

fn key(rule: &Rule) -> Key {
    (rule.action(), rule.resource(), rule.mode() == crate::request::Mode::BreakGlass)
}

/// Every difference of policy.toml but the version's number.
pub(super) fn compare(old: &Trust, old_files: &Files, new: &Trust, new_files: &Files) -> Vec<Change> {
    let (before, after) = (table(old_files), table(new_files));
    let mut changes = Vec::new();
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys.into_iter().filter(|key| *key != "rule") {
        let (old, new) = (before.get(key), after.get(key));
        if old != new {
            let text = |value: Option<&Value>| value.map(ToString::to_string);
            changes.push(Change::Setting { key: key.clone(), old: text(old), new: text(new) });
        }
    }
    let raw = |table: &Table, trust: &Trust| -> BTreeMap<Key, Table> {
        let rules = table.get("rule").and_then(Value::as_array).cloned().unwrap_or_default();
        let tables = rules.into_iter().map(|rule| rule.as_table().cloned().unwrap_or_default());
        trust.rules().iter().map(key).zip(tables).collect()
    };
    let (raw_before, raw_after) = (raw(&before, old), raw(&after, new));
    let before: BTreeMap<Key, &Rule> = old.rules().iter().map(|rule| (key(rule), rule)).collect();
    let after: BTreeMap<Key, &Rule> = new.rules().iter().map(|rule| (key(rule), rule)).collect();
    let keys: BTreeSet<&Key> = before.keys().chain(after.keys()).collect();
    for key in keys {
        match (before.get(key), after.get(key)) {
            (None, Some(rule)) => changes.push(Change::RuleAdded {
                rule: rule.to_string(),
                needs: rule.needs(),
                tier: rule.tier,
            }),
            (Some(rule), None) => changes.push(Change::RuleRemoved { rule: rule.to_string() }),
            (Some(old), Some(new)) => {
                let differences = differences(old, new, raw_before.get(key), raw_after.get(key));
                if !differences.is_empty() {
                    changes.push(Change::RuleChanged { rule: new.to_string(), differences });
                }
            }
            (None, None) => {}
        }
    }
    changes
}

fn table(files: &Files) -> Table {
    let text = files.get("policy.toml").and_then(|bytes| std::str::from_utf8(bytes).ok());
    // It was loaded as trust before.
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn differences(old: &Rule, new: &Rule, raw_old: Option<&Table>, raw_new: Option<&Table>) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |key: &str, old: String, new: String, weaker: bool| {
        if old != new {
            found.push(Difference { key: key.to_owned(), old, new, weaker });
        }
    };
    differ("needs", old.needs(), new.needs(), needs_less(old, new));
    differ("tier", old.tier.to_string(), new.tier.to_string(), new.tier < old.tier);
    let pinned = |rule: &Rule| {
        let names: Vec<&str> = rule.pinned.iter().map(|name| name.as_str()).collect();
        format!("[{}]", names.join(" "))
    };
    let unpinned = old.pinned.iter().any(|name| !new.pinned.contains(name));
    differ("pinned", pinned(old), pinned(new), unpinned);
    let longer = new.answer_within > old.answer_within;
    differ("answer_within", seconds(old.answer_within), seconds(new.answer_within), longer);
    let (a, b) = (&old.grant, &new.grant);
    differ("grant lasts", seconds(a.lasts), seconds(b.lasts), b.lasts > a.lasts);
    differ("grant uses", a.uses.to_string(), b.uses.to_string(), b.uses > a.uses);
    differ("unattended", old.unattended.to_string(), new.unattended.to_string(), new.unattended);
    // Whatever a rule may hold beyond that is shown as it is written.
    let known = ["action", "resource", "mode", "need", "tier", "pinned", "answer_within", "unattended"];
    let rest = |table: Option<&Table>| -> Table {
        let mut table = table.cloned().unwrap_or_default();
        table.retain(|key, _| !known.contains(&key));
        if let Some(grant) = table.get_mut("grant").and_then(Value::as_table_mut) {
            grant.retain(|key, _| !["lasts", "uses"].contains(&key));
        }
        table.retain(|_, value| value.as_table().is_none_or(|table| !table.is_empty()));
        table
    };
    let (before, after) = (rest(raw_old), rest(raw_new));
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        let text = |value: Option<&Value>| value.map_or("nothing".to_owned(), ToString::to_string);
        differ(key, text(before.get(key)), text(after.get(key)), false);
    }
    found
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}

/// Whether some set of approvals that was too little before is enough now, as far as the counts tell.
fn needs_less(old: &Rule, new: &Rule) -> bool {
    let counts = |rule: &Rule| {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for need in &rule.need {
            *counts.entry(need.from.to_string()).or_default() += need.count;
        }
        counts
    };
    let after = counts(new);
    counts(old).iter().any(|(from, count)| after.get(from).is_none_or(|now| now < count))
}

/// Whether this person could fill a slot of the rule, were it not they who ask (or were it, where only they may).
fn counts_for(rule: &Rule, person: &Person) -> bool {
    let strong = person.tokens.iter().any(|token| tier(token).0 >= rule.tier);
    strong
        && rule.need.iter().any(|need| match &need.from {
            Approvers::Requester => true,
            groups => groups.groups().any(|group| person.groups.iter().any(|own| own == group)),
        })
}

/// Who may approve more or less than before. Of rules that stay as they are only the people in `touched` are looked at.
pub(super) fn effects(old: &Trust, new: &Trust, touched: &BTreeSet<String>) -> Vec<Effect> {
    let changed = |trust: &'_ Trust| -> Vec<usize> {
        let people = trust.roster.people().iter().enumerate();
        people.filter(|(_, person)| touched.contains(&person.name)).map(|(index, _)| index).collect()
    };
    let changed = [changed(old), changed(new)];
    let [changed_old, changed_new] = &changed;
    let people = |trust: &'_ Trust, changed: &[usize], rule: Option<&Rule>, all: bool| -> BTreeSet<String> {
        let Some(rule) = rule else { return BTreeSet::new() };
        let everybody = trust.roster.people();
        let fits = |person: &&Person| counts_for(rule, person);
        let names = |person: &Person| person.name.clone();
        match all {
            true => everybody.iter().filter(fits).map(names).collect(),
            false => {
                changed.iter().filter_map(|index| everybody.get(*index)).filter(fits).map(names).collect()
            }
        }
    };
    let mut effects = Vec::new();
    let mut compare = |rule: &Rule, before: Option<&Rule>, after: Option<&Rule>| {
        let all = match (before, after) {
            (Some(before), Some(after)) => before.need != after.need || before.tier != after.tier,
            _ => true,
        };
        let had = people(old, changed_old, before, all);
        let has = people(new, changed_new, after, all);
        let other =
            |found: Option<&Rule>| found.filter(|found| key(found) != key(rule)).map(ToString::to_string);
        let effect = Effect {
            rule: rule.to_string(),
            instead_of: other(before),
            falls_to: other(after),
            ends: after.is_none(),
            gain: has.difference(&had).cloned().collect(),
            lose: had.difference(&has).cloned().collect(),
        };
        let Effect { instead_of, falls_to, ends, gain, lose, .. } = &effect;
        if instead_of.is_some() || falls_to.is_some() || *ends || !gain.is_empty() || !lose.is_empty() {
            effects.push(effect);
        }
    };
    for rule in new.rules() {
        compare(rule, old.rule_around(rule), Some(rule));
    }
    let kept: BTreeSet<Key> = new.rules().iter().map(key).collect();
    for rule in old.rules().iter().filter(|rule| !kept.contains(&key(rule))) {
        compare(rule, Some(rule), new.rule_around(rule));
    }
    effects
}
