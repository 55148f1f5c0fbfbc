//! Rules that nobody can meet, that one person alone can, or that ask for less than their neighbours.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use super::reach::{Able, asked_by_nobody, missing, reach};
use crate::trust::Trust;
use crate::trust::meant::meant;
use crate::trust::place::Place;
use crate::trust::policy::{Approvers, COUNTERSIGN_ACTION, RESERVED, REVOKE_ACTION, Rule, UPDATE_ACTION};
use crate::trust::quorum::Askers;

/// How many people one line names.
const NAMED: usize = 6;

pub(crate) fn check(trust: &Trust, able: &[Able<'_>], findings: &mut Findings<'_>) {
    let groups: BTreeSet<&str> =
        able.iter().flat_map(|able| &able.person.groups).map(String::as_str).collect();
    for (index, rule) in trust.rules().iter().enumerate() {
        let place = findings.policy.as_ref().and_then(|policy| policy.rule(index));
        reserved(rule, index, findings);
        let short = quorum(rule, index, able, &groups, findings);
        if !short {
            whole(rule, able, place.clone(), findings);
        }
        alone(rule, able, place.clone(), findings);
        neighbours(trust, rule, place, findings);
    }
    let has = |action: &str| trust.rules().iter().any(|rule| rule.action() == action);
    if able.len() > 1 && !has(REVOKE_ACTION) {
        let message =
            format!("no rule for {REVOKE_ACTION}, so a lost token stays good until the next version");
        findings.warning("no-revoke-rule", None, message);
    }
}

fn reserved(rule: &Rule, index: usize, findings: &mut Findings<'_>) {
    let (action, known) = (rule.action(), [UPDATE_ACTION, REVOKE_ACTION, COUNTERSIGN_ACTION]);
    if action.starts_with(RESERVED) && !known.contains(&action.as_str()) {
        let guess = meant(&action, known).map(|word| format!("; did you mean {word:?}?")).unwrap_or_default();
        let place = findings.policy.as_ref().and_then(|policy| policy.in_rule(index, "action", &action));
        findings.error(
            "unknown-action",
            place,
            format!("Touchgate asks for nothing called {action:?}{guess}"),
        );
    }
}

/// Each group by itself: whether it has as many members as it takes, and they the evidence. True if one has not.
fn quorum(
    rule: &Rule,
    index: usize,
    able: &[Able<'_>],
    groups: &BTreeSet<&str>,
    findings: &mut Findings<'_>,
) -> bool {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for need in &rule.need {
        if let Approvers::Group(group) = &need.from {
            *counts.entry(group).or_default() += usize::try_from(need.count).unwrap_or(usize::MAX);
        }
    }
    let mut short = false;
    for (group, count) in counts {
        let place = findings.policy.as_ref().and_then(|policy| policy.in_rule(index, "need", group));
        let members: Vec<&Able<'_>> =
            able.iter().filter(|able| able.person.groups.iter().any(|own| own == group)).collect();
        if members.is_empty() {
            short = true;
            let guess = meant(group, groups.iter().copied());
            let guess = guess.map(|word| format!("; did you mean {word:?}?")).unwrap_or_default();
            findings.error("unknown-group", place, format!("nobody belongs to {group:?}{guess}"));
            continue;
        }
        let strong = members.iter().filter(|able| able.is_strong(rule)).count();
        if strong < count {
            short = true;
            let who = members.iter().filter_map(|able| {
                let need = rule.need.iter().find(|need| need.from == Approvers::Group(group.to_owned()))?;
                let why = able.hindrance(rule, need, Askers { requester: None, via: None })?;
                Some(format!("{} ({why})", able.person.name))
            });
            let who: Vec<String> = who.collect();
            let but = if who.is_empty() { String::new() } else { format!("; not {}", names(&who)) };
            let message = format!("{rule} needs {count} of {group}, and {strong} can approve it{but}");
            findings.error("group-too-small", place, message);
        }
    }
    short
}

/// All slots together, and what is left when somebody of them asks.
fn whole(rule: &Rule, able: &[Able<'_>], place: Option<Place>, findings: &mut Findings<'_>) {
    let reach = reach(rule, able);
    if !reach.met {
        let message = format!(
            "{rule} needs {}, and nobody can ask so that different people fill all of it",
            rule.needs()
        );
        findings.error("unmeetable-rule", place, message);
    } else if !reach.stuck.is_empty() {
        let message = format!("{rule}: if {} asks, too few are left to approve it", any_of(&reach.stuck));
        findings.warning("too-few-left", place, message);
    }
}

/// Rules that take one person where there are several.
fn alone(rule: &Rule, able: &[Able<'_>], place: Option<Place>, findings: &mut Findings<'_>) {
    if able.len() < 2 {
        return;
    }
    let update = rule.action() == UPDATE_ACTION;
    if rule.need.iter().all(|need| need.from == Approvers::Requester) {
        let message = format!("{rule} takes nobody but the requester, and there are {} people", able.len());
        match update {
            true => findings.error(
                "requester-only",
                place,
                format!("{message}: each of them may change every rule alone"),
            ),
            false => findings.warning("requester-only", place, message),
        }
    } else if update && asked_by_nobody(rule) {
        let strong: Vec<&Able<'_>> = able.iter().filter(|able| able.is_strong(rule)).collect();
        let nobody = Askers { requester: None, via: None };
        let alone: Vec<String> = strong
            .iter()
            .filter(|able| missing(rule, &[**able], nobody) == 0)
            .map(|able| able.person.name.clone())
            .collect();
        if !alone.is_empty() {
            let message = format!(
                "{} may change every rule alone; let two sign (count = 2) once three can",
                any_of(&alone)
            );
            findings.warning("one-person-updates", place, message);
        }
    }
}

/// A rule that asks for less than one that covers more, or than what it guards.
fn neighbours(trust: &Trust, rule: &Rule, place: Option<Place>, findings: &mut Findings<'_>) {
    if rule.action() == UPDATE_ACTION {
        if let Some(stricter) = trust.rules().iter().find(|other| other.tier > rule.tier) {
            let message = format!(
                "{rule} takes evidence {}, and {stricter} {}: whoever changes the rules gets around it",
                rule.tier, stricter.tier
            );
            findings.warning("weak-update-rule", place, message);
        }
        return;
    }
    let same = |other: &&Rule| other.action() == rule.action() && other.mode() == rule.mode();
    let pins = trust.rules().iter().filter(same).find(|other| !other.pinned.is_empty());
    if let Some(other) = pins.filter(|_| rule.pinned.is_empty()) {
        let pinned: Vec<&str> = other.pinned.iter().map(|name| name.as_str()).collect();
        let message = format!("{rule} pins nothing, and {other} pins {}", pinned.join(", "));
        findings.warning("nothing-pinned", place, message);
    }
}

fn names(words: &[String]) -> String {
    let named: Vec<&str> = words.iter().take(NAMED).map(String::as_str).collect();
    match words.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn any_of(words: &[String]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() && words.len() <= NAMED => {
            format!("{} or {last}", rest.join(", "))
        }
        _ => names(words),
    }
}
