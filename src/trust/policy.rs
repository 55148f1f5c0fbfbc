//! Rules: which requests may be asked, and whose approvals they need. Deny by default.
//!
//! ```toml
//! audience    = "approve.example.com"
//! version     = 7
//! valid_until = "2027-03-01T00:00:00Z"
//!
//! [[rule]]
//! action   = "deploy"
//! resource = "payments/*"        # `*` one segment, `**` (last) any number; the most specific rule wins
//! need     = [{ from = "release", count = 2 }, { from = "security" }]
//! tier     = "attested"          # the default
//! pinned   = ["commit", "image"]
//! answer_within = "15m"
//! grant    = { lasts = "15m", uses = 1 }     # and narrow = true: for a part of the resource too
//! ```

mod pattern;
mod rule;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::request::{Action, Mode, Request};
use crate::trust::index::Index;
use crate::trust::keys::{GrantKeyFile, WitnessFile};
use crate::verify::Tier;
use rule::RuleFile;
pub use rule::{Approvers, GrantTerms, Need, Rule};
pub(crate) use rule::{Fit, is_group};

/// The action that changes trust itself.
pub const UPDATE_ACTION: &str = "touchgate.trust.update";
/// The action that settles the debt of a break-glass request.
pub const COUNTERSIGN_ACTION: &str = "touchgate.countersign";
/// The action that ends a token's worth at once.
pub const REVOKE_ACTION: &str = "touchgate.trust.revoke";
/// Who asks for a change of trust, unless the rule has a slot for the requester: nobody in particular. The people whom
/// the rule names make the proposal by signing it, each on a machine that found out for itself what it does, so that
/// none of them is set apart as the one who asked and may not sign.
pub const WHOEVER_SIGNS: &str = "touchgate:trust";
/// Actions below this name belong to Touchgate; only rules that spell them out match.
pub(crate) const RESERVED: &str = "touchgate.";
/// How many people it takes to settle a debt.
pub const COUNTERSIGNERS: u32 = 2;
/// The most rules: each is held against every other once, at load.
const MAX_RULES: usize = 4096;

/// Whether a request is a change of trust that nobody in particular asks for.
pub(crate) fn is_of_whoever_signs(request: &Request) -> bool {
    matches!(request.action.as_str(), UPDATE_ACTION | REVOKE_ACTION)
        && request.requester.as_str() == WHOEVER_SIGNS
}

/// policy.toml as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) audience: String,
    pub(crate) version: u64,
    pub(crate) valid_until: String,
    pub(crate) log_key: Option<String>,
    #[serde(default)]
    pub(crate) grant_key: Vec<GrantKeyFile>,
    #[serde(default)]
    pub(crate) witness: Vec<WitnessFile>,
    #[serde(default)]
    pub(crate) witnesses_needed: usize,
    #[serde(default)]
    pub(crate) issuers: BTreeMap<String, String>,
    #[serde(default)]
    rule: Vec<RuleFile>,
}

/// Why policy.toml cannot be loaded although its keys and types are right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Two rules cover some request, neither more specific than the other.
    #[error("two rules cover the same requests, and neither is more specific: {first} and {second}")]
    Ambiguous {
        /// The earlier one.
        first: String,
        /// The later one.
        second: String,
    },
    /// A value that the key does not take.
    #[error("rule for {rule}: {key} = {found:?}: expected {expected}")]
    BadValue {
        /// Its action and resource.
        rule: String,
        /// The key.
        key: &'static str,
        /// What it was set to.
        found: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A rule for settling debts that takes less than two people.
    #[error(
        "the rule for {COUNTERSIGN_ACTION} on {resource} needs {found} approval(s); two people at least settle a debt"
    )]
    FewCountersigners {
        /// Its resource.
        resource: String,
        /// How many slots it has that others than the requester fill.
        found: u32,
    },
    /// Nobody could ever change these rules.
    #[error("no rule for {UPDATE_ACTION}; without one nobody could ever change this trust")]
    NoUpdateRule,
    /// More rules than are looked at.
    #[error("{found} rules, {MAX_RULES} are allowed")]
    TooManyRules {
        /// How many there are.
        found: usize,
    },
    /// Versions count from 1.
    #[error("version is 0; versions count from 1")]
    VersionZero,
}

impl PolicyError {
    /// The stable name of this error, explained in `docs/trust.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ambiguous { .. } => "ambiguous-rules",
            Self::BadValue { .. } => "bad-value",
            Self::FewCountersigners { .. } => "few-countersigners",
            Self::NoUpdateRule => "no-update-rule",
            Self::TooManyRules { .. } => "too-many-rules",
            Self::VersionZero => "version-zero",
        }
    }
}

/// All rules of one version.
#[derive(Debug)]
pub(crate) struct Policy {
    rules: Vec<Rule>,
    /// Where to look for those that cover a request.
    ordinary: Index,
    break_glass: Index,
    /// Who settles a debt where no rule says so, by whose approval the request took, or an ordinary one would have.
    countersign: BTreeMap<(BTreeSet<String>, Tier), Rule>,
}

impl Policy {
    pub(crate) fn new(file: File) -> Result<Self, PolicyError> {
        if file.version == 0 {
            return Err(PolicyError::VersionZero);
        }
        if file.rule.len() > MAX_RULES {
            return Err(PolicyError::TooManyRules { found: file.rule.len() });
        }
        let rules = file.rule.into_iter().map(Rule::new).collect::<Result<Vec<_>, _>>()?;
        for (at, second) in rules.iter().enumerate() {
            if let Some(first) = rules.iter().take(at).find(|first| first.ties_with(second)) {
                return Err(PolicyError::Ambiguous { first: first.to_string(), second: second.to_string() });
            }
        }
        if !rules.iter().any(|rule| rule.action.to_string() == UPDATE_ACTION && rule.mode == Mode::Ordinary) {
            return Err(PolicyError::NoUpdateRule);
        }
        for rule in rules.iter().filter(|rule| rule.action.to_string() == COUNTERSIGN_ACTION) {
            let others = rule.need.iter().filter(|need| need.from != Approvers::Requester);
            let found = others.map(|need| need.count).sum();
            if found < COUNTERSIGNERS {
                return Err(PolicyError::FewCountersigners { resource: rule.resource.to_string(), found });
            }
        }
        let (mut ordinary, mut break_glass) = (Index::default(), Index::default());
        for (number, rule) in rules.iter().enumerate() {
            let index = if rule.mode == Mode::Ordinary { &mut ordinary } else { &mut break_glass };
            index.add(rule.action.segments(), rule.resource.segments(), number);
        }
        let countersign = countersign_rules(&rules);
        Ok(Self { rules, ordinary, break_glass, countersign })
    }

    /// The rule by which the debt of a break-glass request for `action` is settled: one that spells it out, or two of
    /// those who could have approved it, by the break-glass rule or the ordinary one.
    pub(crate) fn countersign_rule(&self, request: &Request, action: &Action) -> Option<&Rule> {
        let of = |mode| self.rule(&Request { action: action.clone(), mode, ..request.clone() });
        self.rule(request).or_else(|| {
            let (ordinary, glass) = (of(Mode::Ordinary), of(Mode::BreakGlass));
            self.countersign.get(&who_settles(ordinary.into_iter().chain(glass))?)
        })
    }

    /// All of them, in the order of policy.toml.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The most specific rule that covers everything that `rule` covers.
    pub(crate) fn rule_around(&self, rule: &Rule) -> Option<&Rule> {
        let action = rule.action();
        // What is reserved is matched by rules that spell it out alone.
        let admits = |other: &Rule| !action.starts_with(RESERVED) || other.action() == action;
        let around =
            self.rules.iter().filter(|other| other.mode == rule.mode && rule.within(other) && admits(other));
        around.reduce(|best, other| if other.within(best) { other } else { best })
    }

    /// The most specific rule that covers `request`.
    pub(crate) fn rule(&self, request: &Request) -> Option<&Rule> {
        let index = if request.mode == Mode::Ordinary { &self.ordinary } else { &self.break_glass };
        let matching = index.matching(request.action.as_str(), request.resource.as_str());
        // What the index finds is only where to look.
        let covering = matching.into_iter().filter_map(|number| self.rules.get(number));
        let covering = covering.filter(|rule| rule.covers(request));
        // Any two that cover one request overlap, and then one of them lies within the other.
        covering.reduce(|best, rule| if rule.within(best) { rule } else { best })
    }
}

/// A rule for every pair of rules of which one could be the ordinary one and the other that for emergencies.
fn countersign_rules(rules: &[Rule]) -> BTreeMap<(BTreeSet<String>, Tier), Rule> {
    let mut found = BTreeMap::new();
    let mut add = |of: &[&Rule]| {
        if let Some((groups, tier)) = who_settles(of.iter().copied()) {
            found.entry((groups.clone(), tier)).or_insert_with(|| Rule::countersign(groups, tier));
        }
    };
    let of_mode = |mode| rules.iter().filter(move |rule| rule.mode == mode);
    // Once there is break-glass at all: its rule may be gone when its debt is settled.
    for glass in of_mode(Mode::BreakGlass) {
        add(&[glass]);
        for ordinary in of_mode(Mode::Ordinary) {
            add(&[ordinary]);
            if ordinary.action.overlaps(&glass.action) && ordinary.resource.overlaps(&glass.resource) {
                add(&[ordinary, glass]);
            }
        }
    }
    found
}

/// The groups that these rules name, and the stricter of their tiers.
fn who_settles<'a>(rules: impl Iterator<Item = &'a Rule>) -> Option<(BTreeSet<String>, Tier)> {
    let mut rules = rules.peekable();
    let mut tier = rules.peek()?.tier;
    let mut groups = BTreeSet::new();
    for rule in rules {
        tier = tier.max(rule.tier);
        groups.extend(rule.need.iter().flat_map(|need| need.from.groups().map(str::to_owned)));
    }
    Some((groups, tier))
}

#[cfg(test)]
mod tests;
