//! Whether the approvals at hand suffice: an assignment of distinct people, keys and tokens to slots.

use crate::challenge::{Challenge, TrustVersion};
use crate::trust::policy::{Approvers, GrantTerms, Need};
use crate::trust::roster::Person;
use crate::trust::{NotAdmitted, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{Approval, Tier};

/// Enough approvals for one challenge. Only [`decide`] makes one.
#[derive(Debug)]
pub struct QuorumMet {
    challenge: Challenge,
    approvals: Vec<Approval>,
    grant: GrantTerms,
}

impl QuorumMet {
    /// What was approved.
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// By whom; every approval at hand, needed or not.
    pub fn approvals(&self) -> &[Approval] {
        &self.approvals
    }

    /// What the rule gives for it.
    pub fn grant(&self) -> GrantTerms {
        self.grant
    }

    /// The weakest touch evidence among them: what the whole is worth, as `acr`.
    pub fn tier(&self) -> Tier {
        let tiers = self.approvals.iter().map(|approval| approval.answer().tier());
        tiers.min().unwrap_or(Tier::Signed)
    }
}

/// Why there is no decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMet {
    /// Too late to decide.
    #[error("the request expired at {expires}; it is {now}")]
    Expired {
        /// The verifier's clock.
        now: UnixTime,
        /// Valid until just before.
        expires: UnixTime,
    },
    /// Under this trust it could not even be asked.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The approvals do not suffice yet.
    #[error("{missing} more approval(s) needed, from {}", from.join(", "))]
    Open {
        /// How many slots are empty.
        missing: usize,
        /// Who could fill them: a group or @requester each.
        from: Vec<String>,
        /// The approvals that were handed in.
        approvals: Vec<Approval>,
    },
    /// It was asked under another version of trust.
    #[error("asked under trust {asked}; {current} is in force")]
    OtherTrust {
        /// What the challenge names.
        asked: TrustVersion,
        /// What the verifier uses.
        current: TrustVersion,
    },
}

/// Whether this person may fill a slot of that kind.
pub fn may_fill(need: &Need, person: &Person, requester: Option<&Person>) -> bool {
    let asks = requester.is_some_and(|requester| requester.name == person.name);
    match &need.from {
        Approvers::Group(group) => !asks && person.groups.contains(group),
        Approvers::Requester => asks,
    }
}

/// Decides at `now` whether `approvals` of `challenge` fill every slot of the rule that covers it.
///
/// Approvals of anything else are not counted. The order in which they came never matters.
///
/// # Errors
/// Any [`NotMet`]; the one for too few gives the approvals back.
pub fn decide(
    trust: &Trust,
    challenge: &Challenge,
    approvals: Vec<Approval>,
    now: UnixTime,
) -> Result<QuorumMet, NotMet> {
    if challenge.trust != trust.version {
        return Err(NotMet::OtherTrust { asked: challenge.trust, current: trust.version });
    }
    if now >= challenge.expires {
        return Err(NotMet::Expired { now, expires: challenge.expires });
    }
    let rule = trust.admit(&challenge.request)?;
    let requester = trust.requester(&challenge.request);
    let slots: Vec<&Need> = rule.need.iter().flat_map(|need| (0..need.count).map(move |_| need)).collect();
    // One vote a person: the roster lists no key and no serial for two people. That the evidence is
    // strong enough was seen when the approval was judged, by the same rule of the same trust.
    let mut people: Vec<&Person> = Vec::new();
    for answer in approvals.iter().map(Approval::answer).filter(|answer| answer.challenge() == challenge) {
        if let Some((person, _)) = trust.roster.holder(answer.key())
            && !people.iter().any(|other| other.name == person.name)
        {
            people.push(person);
        }
    }
    let mut filled: Vec<Option<usize>> = vec![None; slots.len()];
    for person in 0..people.len() {
        assign(person, &people, &slots, requester, &mut filled, &mut vec![false; slots.len()]);
    }
    let empty = || slots.iter().zip(&filled).filter(|(_, by)| by.is_none()).map(|(need, _)| *need);
    if empty().next().is_none() {
        return Ok(QuorumMet { challenge: challenge.clone(), approvals, grant: rule.grant });
    }
    let from = empty().map(|need| need.from.to_string());
    Err(NotMet::Open { missing: empty().count(), from: from.collect(), approvals })
}

/// Finds a slot for `person`, moving others to other slots where that helps (Kuhn's augmenting path).
fn assign(
    person: usize,
    people: &[&Person],
    slots: &[&Need],
    requester: Option<&Person>,
    filled: &mut [Option<usize>],
    seen: &mut [bool],
) -> bool {
    for (at, need) in slots.iter().enumerate() {
        let fits = people.get(person).is_some_and(|person| may_fill(need, person, requester));
        match (fits, seen.get_mut(at)) {
            (true, Some(seen)) if !*seen => *seen = true,
            _ => continue,
        }
        let holder = filled.get(at).copied().flatten();
        if holder.is_none_or(|other| assign(other, people, slots, requester, filled, seen)) {
            if let Some(slot) = filled.get_mut(at) {
                *slot = Some(person);
            }
            return true;
        }
    }
    false
}
