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

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::request::{Action, Mode, ParameterName, Request, Resource};
use crate::trust::index::{Index, Segments};
use crate::trust::keys::{GrantKeyFile, WitnessFile};
use crate::verify::Tier;

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
/// How long countersigners are waited for, where no rule says so: the work that the debt holds up waits as long.
const COUNTERSIGN_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// How long a verifier waits for an answer if the rule does not say.
const ANSWER_WITHIN: Duration = Duration::from_secs(15 * 60);
/// The longest that it may wait: signers of a trust update in several time zones and a holiday.
const LONGEST: Duration = Duration::from_secs(31 * 24 * 3600);
/// The most uses of one grant: a gate away from the store keeps a file for each.
const MAX_USES: u32 = 10_000;
/// The most bytes in a group's name.
const MAX_GROUP: usize = 128;
/// The most approvals that one slot may ask for.
const MAX_COUNT: u32 = 100;
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    action: String,
    #[serde(default = "any")]
    resource: String,
    need: Vec<NeedFile>,
    tier: Option<String>,
    #[serde(default)]
    pinned: Vec<String>,
    answer_within: Option<String>,
    grant: Option<GrantFile>,
    #[serde(default)]
    unattended: bool,
    mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NeedFile {
    from: String,
    #[serde(default = "one")]
    count: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantFile {
    lasts: String,
    uses: u32,
    #[serde(default)]
    narrow: bool,
}

fn any() -> String {
    "**".into()
}

fn one() -> u32 {
    1
}

/// Who may fill a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approvers {
    /// Anybody in any of these groups but the requester: who settles a debt.
    AnyOf(BTreeSet<String>),
    /// Anybody in this group but the requester.
    Group(String),
    /// The requester, and nobody else: step-up proper.
    Requester,
}

impl fmt::Display for Approvers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyOf(groups) => {
                f.write_str(&groups.iter().map(String::as_str).collect::<Vec<_>>().join(" or "))
            }
            Self::Group(group) => f.write_str(group),
            Self::Requester => f.write_str("@requester"),
        }
    }
}

/// Some approvals of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Whose.
    pub from: Approvers,
    /// How many; one at least.
    pub count: u32,
}

/// How long a grant lasts and how often it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantTerms {
    /// From the decision.
    pub lasts: Duration,
    /// One at least.
    pub uses: u32,
    /// Whether it may be narrowed to a part of its resource that this rule covers too.
    pub narrow: bool,
}

/// How a rule and a request fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It covers the request.
    Covers,
    /// It is for other actions.
    OtherAction,
    /// It is for emergencies and the request is not, or the other way round.
    OtherMode,
    /// It is for other resources.
    OtherResource,
    /// The action is Touchgate's own, and the rule does not spell it out.
    Reserved,
}

/// What one kind of request needs.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The approvals that are needed, all of them.
    pub need: Vec<Need>,
    /// The weakest touch evidence that counts.
    pub tier: Tier,
    /// Parameters that must be present and immutable.
    pub pinned: Vec<ParameterName>,
    /// How long an answer is waited for.
    pub answer_within: Duration,
    /// What a yes gives.
    pub grant: GrantTerms,
    /// Whether a requester on nobody's record may ask.
    pub unattended: bool,
    action: Pattern,
    resource: Pattern,
    mode: Mode,
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

impl Approvers {
    /// The groups that it names.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        let (one, several) = match self {
            Self::AnyOf(groups) => (None, Some(groups)),
            Self::Group(group) => (Some(group), None),
            Self::Requester => (None, None),
        };
        one.into_iter().chain(several.into_iter().flatten()).map(String::as_str)
    }
}

impl Rule {
    fn countersign(groups: BTreeSet<String>, tier: Tier) -> Self {
        Self {
            need: vec![Need { from: Approvers::AnyOf(groups), count: COUNTERSIGNERS }],
            tier,
            pinned: Vec::new(),
            answer_within: COUNTERSIGN_WITHIN,
            grant: GrantTerms { lasts: ANSWER_WITHIN, uses: 1, narrow: false },
            unattended: false,
            action: Pattern::literal(COUNTERSIGN_ACTION),
            resource: Pattern { segments: Vec::new(), open: true },
            mode: Mode::Ordinary,
        }
    }

    fn new(file: RuleFile) -> Result<Self, PolicyError> {
        let rule = format!("{} on {}", file.action, file.resource);
        let bad = |key, found: &str, expected| PolicyError::BadValue {
            rule: rule.clone(),
            key,
            found: found.into(),
            expected,
        };
        let pattern = |key, text: &str| {
            Pattern::parse(text).ok_or_else(|| {
                bad(key, text, "segments joined by /, `*` for any one, `**` last for any number")
            })
        };
        let duration = |key, text: &str| {
            parse_duration(text).ok_or_else(|| bad(key, text, "a number and s, m, h or d, at most 31d"))
        };
        let mut need = Vec::new();
        for NeedFile { from, count } in file.need {
            let from = match from.as_str() {
                "@requester" => Approvers::Requester,
                group if is_group(group) => Approvers::Group(from),
                _ => return Err(bad("need", &from, "a group or @requester")),
            };
            if !(1..=MAX_COUNT).contains(&count) || (from == Approvers::Requester && count != 1) {
                return Err(bad("need", &count.to_string(), "a count from 1 to 100, and 1 for @requester"));
            }
            need.push(Need { from, count });
        }
        if need.is_empty() {
            return Err(bad("need", "[]", "at least one approval"));
        }
        let tier = file.tier.as_deref().unwrap_or("attested");
        let mode = match file.mode.as_deref() {
            None => Mode::Ordinary,
            Some("break-glass") if !file.action.starts_with(RESERVED) => Mode::BreakGlass,
            Some(found) => return Err(bad("mode", found, "break-glass, and not for touchgate.*")),
        };
        let pinned = file
            .pinned
            .iter()
            .map(|name| name.parse().map_err(|_| bad("pinned", name, "a parameter's name")));
        let grant = match file.grant {
            None => GrantTerms { lasts: ANSWER_WITHIN, uses: 1, narrow: false },
            Some(GrantFile { uses, .. }) if !(1..=MAX_USES).contains(&uses) => {
                return Err(bad("uses", &uses.to_string(), "from 1 to 10000"));
            }
            Some(GrantFile { lasts, uses, narrow }) => {
                GrantTerms { lasts: duration("lasts", &lasts)?, uses, narrow }
            }
        };
        Ok(Self {
            action: pattern("action", &file.action)?,
            resource: pattern("resource", &file.resource)?,
            need,
            tier: tier.parse().map_err(|()| bad("tier", tier, "signed, declared or attested"))?,
            pinned: pinned.collect::<Result<_, _>>()?,
            answer_within: file
                .answer_within
                .map_or(Ok(ANSWER_WITHIN), |text| duration("answer_within", &text))?,
            grant,
            unattended: file.unattended,
            mode,
        })
    }

    /// Which actions it covers, as it is written.
    pub fn action(&self) -> String {
        self.action.to_string()
    }

    /// Which resources it covers, as it is written.
    pub fn resource(&self) -> String {
        self.resource.to_string()
    }

    /// Whether it is for every day or for emergencies.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What it needs, in words: `2 of release and 1 of security`.
    pub fn needs(&self) -> String {
        let need = |need: &Need| match &need.from {
            Approvers::Requester => "the requester".to_owned(),
            groups => format!("{} of {groups}", need.count),
        };
        self.need.iter().map(need).collect::<Vec<_>>().join(" and ")
    }

    fn covers(&self, request: &Request) -> bool {
        let Request { action, resource, mode, .. } = request;
        self.mode == *mode && self.action.matches_action(action) && self.resource.matches(resource.as_str())
    }

    /// Whether it covers a request, and if not, the first thing that is another.
    pub(crate) fn fit(&self, request: &Request) -> Fit {
        let Request { action, resource, mode, .. } = request;
        if !self.action.matches(action.as_str()) {
            Fit::OtherAction
        } else if !self.action.matches_action(action) {
            Fit::Reserved
        } else if !self.resource.matches(resource.as_str()) {
            Fit::OtherResource
        } else if self.mode != *mode {
            Fit::OtherMode
        } else {
            Fit::Covers
        }
    }

    /// Everything that `self` covers, `other` covers.
    fn within(&self, other: &Self) -> bool {
        self.action.within(&other.action) && self.resource.within(&other.resource)
    }

    fn ties_with(&self, other: &Self) -> bool {
        let overlap = self.action.overlaps(&other.action) && self.resource.overlaps(&other.resource);
        let ordered = self.within(other) != other.within(self);
        self.mode == other.mode && overlap && !ordered
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.action, self.resource)?;
        if self.mode == Mode::BreakGlass { f.write_str(" (break-glass)") } else { Ok(()) }
    }
}

/// `payments/*`, `payments/**`: segments, and whether any number may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// `None` is `*`.
    segments: Vec<Option<String>>,
    open: bool,
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let (text, open) = match text.strip_suffix("**") {
            Some("") => return Some(Self { segments: Vec::new(), open: true }),
            Some(rest) => (rest.strip_suffix('/')?, true),
            None => (text, false),
        };
        let segment = |part: &str| match part {
            "*" => Some(None),
            _ => part.parse::<Resource>().ok().map(|_| Some(part.to_owned())),
        };
        Some(Self { segments: text.split('/').map(segment).collect::<Option<_>>()?, open })
    }

    fn segments(&self) -> Segments<'_> {
        (&self.segments, self.open)
    }

    /// Exactly this path.
    fn literal(path: &str) -> Self {
        Self { segments: path.split('/').map(|segment| Some(segment.to_owned())).collect(), open: false }
    }

    fn matches(&self, path: &str) -> bool {
        Self::literal(path).within(self)
    }

    fn matches_action(&self, action: &Action) -> bool {
        if action.as_str().starts_with(RESERVED) {
            self.to_string() == action.as_str()
        } else {
            self.matches(action.as_str())
        }
    }

    fn within(&self, other: &Self) -> bool {
        let (own, others) = (self.segments.len(), other.segments.len());
        let long_enough = if other.open { own >= others } else { own == others && !self.open };
        let covered = |(a, b): (&Option<String>, &Option<String>)| b.is_none() || a == b;
        long_enough && self.segments.iter().zip(&other.segments).all(covered)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let (own, others) = (self.segments.len(), other.segments.len());
        let lengths = own == others || (self.open && own < others) || (other.open && others < own);
        let meet = |(a, b): (&Option<String>, &Option<String>)| a.is_none() || b.is_none() || a == b;
        lengths && self.segments.iter().zip(&other.segments).all(meet)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = self.segments.iter().map(|segment| segment.as_deref().unwrap_or("*"));
        let all: Vec<&str> = segments.chain(self.open.then_some("**")).collect();
        f.write_str(&all.join("/"))
    }
}

/// Whether a group may be called so. Its name stands in the lines that a signer of an update reads, so it must not be
/// able to look like one of them.
pub(crate) fn is_group(text: &str) -> bool {
    (1..=MAX_GROUP).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic())
        && !text.starts_with('@')
}

/// `15m`: a number without leading zero and one of s, m, h, d.
fn parse_duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    let number: u64 = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let duration = Duration::from_secs(number.checked_mul(unit)?);
    (Duration::from_secs(1)..=LONGEST).contains(&duration).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn patterns_match_whole_segments() {
        let cases = [
            ("payments/*", "payments/prod", true),
            ("payments/*", "payments", false),
            ("payments/*", "payments/prod/eu", false),
            ("payments/**", "payments", true),
            ("payments/**", "payments/prod/eu", true),
            ("payments/**", "paymentsx", false),
            ("**", "a/b/c", true),
            ("*", "a", true),
            ("*", "a/b", false),
            ("*/prod", "payments/prod", true),
        ];
        for (text, path, expected) in cases {
            assert_eq!(pattern(text).matches(path), expected, "{text} {path}");
            assert_eq!(pattern(text).to_string(), text);
        }
        for bad in ["", "/", "**/a", "a/**/b", "a*", "a/***", "A", "a//b", "a/"] {
            assert_eq!(Pattern::parse(bad), None, "{bad}");
        }
    }

    fn load(rules: &str) -> Result<Policy, PolicyError> {
        let update = "[[rule]]\naction = \"touchgate.trust.update\"\nneed = [{ from = \"@requester\" }]\n";
        let text =
            format!("audience = \"a\"\nversion = 1\nvalid_until = \"2027-03-01T00:00:00Z\"\n{update}{rules}");
        Policy::new(toml::from_str(&text).unwrap())
    }

    fn rule(action: &str, resource: &str) -> String {
        format!(
            "[[rule]]\naction = \"{action}\"\nresource = \"{resource}\"\nneed = [{{ from = \"{action}-{resource}\" }}]\n"
        )
    }

    fn request(action: &str, resource: &str) -> Request {
        Request {
            action: action.parse().unwrap(),
            resource: resource.parse().unwrap(),
            parameters: Default::default(),
            requester: "os:a@b".parse().unwrap(),
            via: None,
            requester_key: None,
            reason: None,
            mode: Mode::Ordinary,
        }
    }

    #[test]
    fn the_most_specific_rule_wins_in_any_order() {
        let mut rules = [
            rule("**", "**"),
            rule("deploy", "**"),
            rule("deploy", "payments/*"),
            rule("deploy", "payments/prod"),
        ];
        for _ in 0..4 {
            rules.rotate_left(1);
            let policy = load(&rules.concat()).unwrap();
            let found = |a, r| policy.rule(&request(a, r)).map(|rule| rule.to_string());
            assert_eq!(found("deploy", "payments/prod").as_deref(), Some("deploy on payments/prod"));
            assert_eq!(found("deploy", "payments/test").as_deref(), Some("deploy on payments/*"));
            assert_eq!(found("deploy", "x").as_deref(), Some("deploy on **"));
            assert_eq!(found("migrate", "x").as_deref(), Some("** on **"));
            assert_eq!(found("touchgate.trust.update", "x").as_deref(), Some("touchgate.trust.update on **"));
            assert_eq!(found("touchgate.trust.revoke", "x"), None);
        }
    }

    #[test]
    fn the_index_finds_what_a_look_at_every_rule_finds() {
        let (actions, resources) =
            (["a", "b", "*", "**", "a/b", "a/*", "a/**"], ["x", "*", "**", "x/y", "x/*", "*/y", "x/**"]);
        let asked = [
            ("a", "x"),
            ("a/b", "x/y"),
            ("b", "z/y"),
            ("c/d", "x"),
            ("touchgate.trust.update", "x"),
            ("touchgate.a", "x"),
        ];
        let mut state = 0x2545_F491_u32;
        let mut pick = |bound: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as usize % bound
        };
        let (mut loaded, mut found) = (0, 0);
        for _ in 0..4000 {
            let mut rules = String::new();
            for _ in 0..pick(6) {
                rules += &rule(actions[pick(actions.len())], resources[pick(resources.len())]);
                if pick(3) == 0 {
                    rules += "mode = \"break-glass\"\n";
                }
            }
            let Ok(policy) = load(&rules) else { continue };
            loaded += 1;
            for (action, resource) in asked {
                for mode in [Mode::Ordinary, Mode::BreakGlass] {
                    let request = Request { mode, ..request(action, resource) };
                    let covering = policy.rules.iter().filter(|rule| rule.covers(&request));
                    let most = covering.reduce(|best, rule| if rule.within(best) { rule } else { best });
                    let rule = policy.rule(&request);
                    assert_eq!(rule.map(ToString::to_string), most.map(ToString::to_string), "{rules}");
                    found += usize::from(rule.is_some());
                }
            }
        }
        assert!(loaded > 1000 && found > 3000, "{loaded} {found}");
    }

    #[test]
    fn a_debt_takes_two_to_settle() {
        let countersign = |need: &str| {
            load(&format!("[[rule]]\naction = \"{COUNTERSIGN_ACTION}\"\nresource = \"x\"\nneed = [{need}]\n"))
        };
        for few in ["{ from = \"a\" }", "{ from = \"a\" }, { from = \"@requester\" }"] {
            assert!(
                matches!(countersign(few), Err(PolicyError::FewCountersigners { found: 1, .. })),
                "{few}"
            );
        }
        assert!(countersign("{ from = \"a\" }, { from = \"b\" }").is_ok());
        assert!(countersign("{ from = \"a\", count = 2 }").is_ok());
    }

    #[test]
    fn who_settles_a_debt_where_no_rule_says_so() {
        let glass = "mode = \"break-glass\"\ntier = \"declared\"\n";
        let policy = load(&(rule("deploy", "**") + &rule("deploy", "x") + glass)).unwrap();
        let settles = |action: &str, resource: &str| {
            let rule =
                policy.countersign_rule(&request(COUNTERSIGN_ACTION, resource), &action.parse().unwrap())?;
            Some((rule.needs(), rule.tier))
        };
        // Of either rule, at the stricter tier; of one where there is but one.
        assert_eq!(settles("deploy", "x"), Some(("2 of deploy-** or deploy-x".into(), Tier::Attested)));
        assert_eq!(settles("deploy", "y"), Some(("2 of deploy-**".into(), Tier::Attested)));
        assert_eq!(settles("migrate", "x"), None);
    }

    #[test]
    fn ties_do_not_load() {
        for (a, b) in [
            (("deploy", "payments/*"), ("deploy", "*/prod")),
            (("deploy", "**"), ("*", "payments/prod")),
            (("a", "b"), ("a", "b")),
        ] {
            let error = load(&(rule(a.0, a.1) + &rule(b.0, b.1))).unwrap_err();
            assert!(matches!(error, PolicyError::Ambiguous { .. }), "{a:?} {b:?}");
        }
        assert!(load(&(rule("a", "b/*") + &rule("a", "c/**"))).is_ok());
    }

    #[test]
    fn no_update_rule_no_trust() {
        let text = "audience = \"a\"\nversion = 1\nvalid_until = \"2027-03-01T00:00:00Z\"\n".to_owned()
            + &rule("**", "**");
        assert_eq!(Policy::new(toml::from_str(&text).unwrap()).unwrap_err(), PolicyError::NoUpdateRule);
    }

    #[test]
    fn durations_have_one_unit() {
        assert_eq!(parse_duration("15m"), Some(Duration::from_secs(900)));
        for bad in
            ["", "m", "15", "0s", "-1m", "+1m", "1.5h", "32d", "1w", "15 m", "99999999999999999999d", "1é"]
        {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
