//! How far a request has come, for people to look at. It decides nothing.

use std::collections::BTreeSet;

use super::table::Table;
use super::{Circumstances, Seat, may_fill};
use crate::request::Request;
use crate::trust::policy::Need;
use crate::trust::{NotAdmitted, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{Answer, Approval, Tier};

/// The most names in each list of [`Standing`]: what a screen shows, and what it costs to find out.
pub const MAX_NAMED: usize = 100;

/// How far a request has come, for people to look at. It decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The slots that are filled, and by whom.
    pub seats: Vec<Seat>,
    /// How many are not.
    pub missing: usize,
    /// Whose approval would help, each kind once: a group, @requester.
    pub from: Vec<String>,
    /// People whose approval would fill one more slot, by name; [`MAX_NAMED`] at most.
    pub can: Vec<&'a str>,
    /// People whom the rule names and whose approval would not, by name; [`MAX_NAMED`] at most.
    pub cannot: Vec<(&'a str, CannotHelp)>,
    /// Whether there are people enough.
    pub can_be_met: bool,
}

/// Why somebody's approval would fill no slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotHelp {
    /// They approved.
    #[error("has approved")]
    Approved,
    /// They asked for it.
    #[error("asked for it")]
    Asked,
    /// None of their certificates is valid.
    #[error("{0}")]
    Certificate(String),
    /// There is somebody in each of the slots that they could fill.
    #[error("is not needed")]
    NotNeeded,
    /// They hold no token.
    #[error("holds no token")]
    NoToken,
    /// Their answers do not count here.
    #[error("does not count here")]
    SetAside,
    /// None of their tokens reaches the rule's tier.
    #[error("has a token that gives {found}, the rule demands {needed}")]
    Tier {
        /// The best that they have.
        found: Tier,
        /// What the rule demands.
        needed: Tier,
    },
}

/// How far `request` has come with these approvals of it, and who could take it further at `now`.
///
/// # Errors
/// [`NotAdmitted`]; what waits for a debt is shown all the same.
pub fn standing<'a>(
    trust: &'a Trust,
    request: &'a Request,
    approvals: &[Approval],
    circumstances: Circumstances<'a>,
    now: UnixTime,
) -> Result<Standing<'a>, NotAdmitted> {
    let table = Table::new(trust, request, circumstances, now)?;
    let of_this =
        |answer: &Answer| answer.challenge().request == *request && answer.challenge().trust == trust.version;
    let found = table.seat(approvals.iter().map(Approval::answer), &of_this);
    let mut standing = Standing {
        seats: found.seats(&table),
        missing: found.assignment.missing(),
        from: table.open_kinds(&found.assignment),
        can: Vec::new(),
        cannot: Vec::new(),
        can_be_met: table.can_be_met(&found),
    };
    let open: Vec<&Need> = table.open(&found.assignment).collect();
    let mut seen = BTreeSet::new();
    let people = table.rule.need.iter().flat_map(|need| table.named(need));
    for person in people.filter(|person| seen.insert(person.name.as_str())) {
        let fits = |needs: &[&Need]| needs.iter().any(|need| may_fill(need, person, table.askers));
        let cannot = match table.usable(person) {
            _ if found.ballots.iter().any(|ballot| ballot.person.name == person.name) => {
                Some(CannotHelp::Approved)
            }
            _ if !fits(&table.slots) => Some(CannotHelp::Asked),
            Err(why) => Some(why),
            Ok(()) if !fits(&open) => Some(CannotHelp::NotNeeded),
            Ok(()) => None,
        };
        match cannot {
            None if standing.can.len() < MAX_NAMED => standing.can.push(&person.name),
            None => break,
            Some(why) if standing.cannot.len() < MAX_NAMED => standing.cannot.push((&person.name, why)),
            Some(_) => {}
        }
    }
    standing.can.sort_unstable();
    standing.cannot.sort_unstable_by_key(|(name, _)| *name);
    Ok(standing)
}
