//! Whether the approvals at hand suffice: an assignment of distinct people, keys and tokens to slots.

use crate::challenge::Challenge;
use crate::trust::Trust;
use crate::trust::policy::{Approvers, Need, Rule};
use crate::trust::roster::Person;
use crate::verify::Approval;

/// Enough approvals for one challenge. Only [`decide`] makes one.
#[derive(Debug)]
pub struct QuorumMet {
    challenge: Challenge,
    approvals: Vec<Approval>,
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
}

/// The approvals do not suffice yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{missing} more approval(s) needed, from {}", from.join(", "))]
pub struct QuorumOpen {
    /// How many slots are empty.
    pub missing: usize,
    /// Who could fill them: a group or @requester each.
    pub from: Vec<String>,
    /// The approvals that were handed in.
    pub approvals: Vec<Approval>,
}

/// Whether this person may fill a slot of that kind.
pub fn may_fill(need: &Need, person: &Person, requester: Option<&Person>) -> bool {
    let asks = requester.is_some_and(|requester| requester.name == person.name);
    match &need.from {
        Approvers::Group(group) => !asks && person.groups.contains(group),
        Approvers::Requester => asks,
    }
}

/// Decides whether `approvals` of `challenge` fill every slot of `rule`.
///
/// Approvals of anything else are not counted, nor are those below the rule's tier, nor any of a
/// challenge made under another version of trust. The order in which they came never matters.
///
/// # Errors
/// [`QuorumOpen`], which gives the approvals back.
pub fn decide(
    trust: &Trust,
    rule: &Rule,
    challenge: &Challenge,
    approvals: Vec<Approval>,
) -> Result<QuorumMet, QuorumOpen> {
    let requester = trust.requester(&challenge.request);
    let slots: Vec<&Need> = rule.need.iter().flat_map(|need| (0..need.count).map(move |_| need)).collect();
    // One vote a person: the roster lists no key and no serial for two people.
    let mut people: Vec<&Person> = Vec::new();
    let counts = |approval: &&Approval| {
        approval.challenge() == challenge && challenge.trust == trust.version && approval.tier() >= rule.tier
    };
    for approval in approvals.iter().filter(counts) {
        if let Some((person, _)) = trust.roster.holder(approval.key())
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
        return Ok(QuorumMet { challenge: challenge.clone(), approvals });
    }
    let from = empty().map(|need| need.from.to_string());
    Err(QuorumOpen { missing: empty().count(), from: from.collect(), approvals })
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
