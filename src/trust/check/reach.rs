//! Who could fill which slot of a rule, today, and whether all of them can be filled at once.

use std::fmt;

use crate::trust::Trust;
use crate::trust::assignment::{Vote, assign};
use crate::trust::policy::{Approvers, Need, REVOKE_ACTION, Rule, UPDATE_ACTION};
use crate::trust::quorum::{Askers, may_fill};
use crate::trust::roster::Person;
use crate::unix_time::UnixTime;
use crate::verify::{Tier, tier};

/// Why somebody fills no slot of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// They ask, and the slot is for others.
    Asks,
    /// The slot is the requester's, and they do not ask.
    DoesNotAsk,
    /// They hold tokens, and no certificate of theirs lets its key sign.
    NoGoodCertificate {
        /// The rejection's code.
        code: &'static str,
    },
    /// They belong to none of the groups.
    NotInGroup,
    /// They hold no token.
    NoToken,
    /// Their evidence is weaker than the rule wants.
    Weak {
        /// The best that they have.
        found: Tier,
        /// What it takes.
        needed: Tier,
    },
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asks => f.write_str("asks"),
            Self::DoesNotAsk => f.write_str("does not ask"),
            Self::NoGoodCertificate { code } => write!(f, "no certificate is good ({code})"),
            Self::NotInGroup => f.write_str("not in the group"),
            Self::NoToken => f.write_str("no token"),
            Self::Weak { found, needed } => write!(f, "evidence {found}, {needed} is needed"),
        }
    }
}

/// A person and the strongest evidence that a token of theirs gives at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Able<'a> {
    pub(crate) person: &'a Person,
    pub(crate) best: Result<Tier, Hindrance>,
}

impl<'a> Able<'a> {
    /// Everybody, by name.
    pub(crate) fn all(trust: &'a Trust, now: UnixTime) -> Vec<Self> {
        trust.roster.people().iter().map(|person| Self { person, best: best(person, now) }).collect()
    }

    /// Whether their evidence is enough for the rule.
    pub(crate) fn is_strong(&self, rule: &Rule) -> bool {
        self.best.as_ref().is_ok_and(|best| *best >= rule.tier)
    }

    /// Why they do not fill a slot of this kind, if they do not.
    pub(crate) fn hindrance(&self, rule: &Rule, need: &Need, askers: Askers<'_>) -> Option<Hindrance> {
        let in_group = need.from.groups().any(|group| self.person.groups.iter().any(|own| own == group));
        if need.from == Approvers::Requester {
            if !askers.includes(self.person) {
                return Some(Hindrance::DoesNotAsk);
            }
        } else if !in_group {
            return Some(Hindrance::NotInGroup);
        } else if !may_fill(need, self.person, askers) {
            return Some(Hindrance::Asks);
        }
        match &self.best {
            Err(hindrance) => Some(hindrance.clone()),
            Ok(found) if *found < rule.tier => Some(Hindrance::Weak { found: *found, needed: rule.tier }),
            Ok(_) => None,
        }
    }
}

fn best(person: &Person, now: UnixTime) -> Result<Tier, Hindrance> {
    let mut best = Err(Hindrance::NoToken);
    for token in &person.tokens {
        match (token.key.check_valid(now), &best) {
            (Ok(()), Ok(known)) if *known >= tier(token).0 => {}
            (Ok(()), _) => best = Ok(tier(token).0),
            (Err(_), Ok(_)) => {}
            (Err(rejection), Err(_)) => best = Err(Hindrance::NoGoodCertificate { code: rejection.code() }),
        }
    }
    best
}

/// Whether the request is everybody's who signs it, so that nobody is kept from a slot for asking.
pub(crate) fn asked_by_nobody(rule: &Rule) -> bool {
    matches!(rule.action().as_str(), UPDATE_ACTION | REVOKE_ACTION)
        && rule.need.iter().all(|need| need.from != Approvers::Requester)
}

/// How many slots stay empty if everybody who can approves.
pub(crate) fn missing(rule: &Rule, people: &[&Able<'_>], askers: Askers<'_>) -> usize {
    let slots: Vec<&Need> = rule.need.iter().flat_map(|need| (0..need.count).map(move |_| need)).collect();
    let votes: Vec<Vote> =
        (0..people.len()).map(|index| Vote { person: index, key: index, token: index }).collect();
    let fits = |person: usize, slot: usize| match (people.get(person), slots.get(slot)) {
        (Some(able), Some(need)) => able.hindrance(rule, need, askers).is_none(),
        _ => false,
    };
    assign(&votes, slots.len(), &fits).missing()
}

/// Who can ask for what a rule covers, such that it can be met, and who cannot.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Whether anybody can.
    pub(crate) met: bool,
    /// The people on record after whose request too few are left; as many as were looked at.
    pub(crate) stuck: Vec<String>,
}

/// Of a rule with many more people than slots it looks at enough of them to know.
pub(crate) fn reach(rule: &Rule, people: &[Able<'_>]) -> Reach {
    let total: usize = rule.need.iter().map(|need| usize::try_from(need.count).unwrap_or(usize::MAX)).sum();
    let enough = total.saturating_add(2);
    let nobody = Askers { requester: None, via: None };
    let mut kept: Vec<&Able<'_>> = Vec::new();
    for need in &rule.need {
        let fits = |able: &&Able<'_>| match need.from {
            Approvers::Requester => able.is_strong(rule) && !able.person.identities.is_empty(),
            _ => able.hindrance(rule, need, nobody).is_none(),
        };
        for able in people.iter().filter(fits).take(enough) {
            if !kept.iter().any(|other| other.person.name == able.person.name) {
                kept.push(able);
            }
        }
    }
    let mut reach = Reach::default();
    if rule.unattended || asked_by_nobody(rule) {
        reach.met = missing(rule, &kept, nobody) == 0;
        if asked_by_nobody(rule) {
            return reach;
        }
    }
    let is_kept = |able: &&Able<'_>| kept.iter().any(|other| other.person.name == able.person.name);
    let outsider = people.iter().find(|able| !is_kept(able) && !able.person.identities.is_empty());
    let inside = kept.iter().copied().filter(|able| !able.person.identities.is_empty());
    for able in outsider.into_iter().chain(inside) {
        let askers = Askers { requester: Some(able.person), via: None };
        match missing(rule, &kept, askers) {
            0 => reach.met = true,
            _ => reach.stuck.push(able.person.name.clone()),
        }
    }
    reach
}
