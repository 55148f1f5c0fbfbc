//! One rule: what it covers, whose approvals it needs, and what they give.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::request::{Mode, ParameterName, Request};
use crate::trust::policy::pattern::Pattern;
use crate::trust::policy::{COUNTERSIGN_ACTION, COUNTERSIGNERS, PolicyError, RESERVED};
use crate::verify::Tier;

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
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
    pub(super) action: Pattern,
    pub(super) resource: Pattern,
    pub(super) mode: Mode,
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
    /// What settles a debt where no rule says so.
    pub(super) fn countersign(groups: BTreeSet<String>, tier: Tier) -> Self {
        Self {
            need: vec![Need { from: Approvers::AnyOf(groups), count: COUNTERSIGNERS }],
            tier,
            pinned: Vec::new(),
            answer_within: COUNTERSIGN_WITHIN,
            grant: GrantTerms { lasts: ANSWER_WITHIN, uses: 1, narrow: false },
            unattended: false,
            action: Pattern::literal(COUNTERSIGN_ACTION),
            resource: Pattern::all(),
            mode: Mode::Ordinary,
        }
    }

    pub(super) fn new(file: RuleFile) -> Result<Self, PolicyError> {
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

    pub(super) fn covers(&self, request: &Request) -> bool {
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
    pub(super) fn within(&self, other: &Self) -> bool {
        self.action.within(&other.action) && self.resource.within(&other.resource)
    }

    pub(super) fn ties_with(&self, other: &Self) -> bool {
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
