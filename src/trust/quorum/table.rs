//! The slots of one rule, the approvals that may count for them, and who sits where.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Askers, CannotHelp, Circumstances, Seat, may_fill};
use crate::request::Request;
use crate::trust::assignment::{Assignment, Vote, assign};
use crate::trust::debt::settles;
use crate::trust::policy::{Approvers, Need, Rule};
use crate::trust::roster::{Person, Token};
use crate::trust::{NotAdmitted, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{Answer, Tier, tier};

/// The slots of the rule for one request, and what makes an approval count.
pub(super) struct Table<'a> {
    trust: &'a Trust,
    pub(super) rule: &'a Rule,
    /// Each need as often as it is there.
    pub(super) slots: Vec<&'a Need>,
    pub(super) askers: Askers<'a>,
    set_aside: BTreeSet<&'a str>,
    now: UnixTime,
}

/// An approval that may count.
pub(super) struct Ballot<'a> {
    /// Its place among those handed in.
    at: usize,
    pub(super) person: &'a Person,
    token: &'a Token,
    tier: Tier,
}

/// The approvals that may count, and the seats that they take.
pub(super) struct Found<'a> {
    pub(super) ballots: Vec<Ballot<'a>>,
    votes: Vec<Vote>,
    pub(super) assignment: Assignment,
}

impl<'a> Table<'a> {
    pub(super) fn new(
        trust: &'a Trust,
        request: &Request,
        circumstances: Circumstances<'a>,
        now: UnixTime,
    ) -> Result<Self, NotAdmitted> {
        let rule = trust.admit(request)?;
        let mut set_aside: BTreeSet<&str> = circumstances.set_aside.iter().map(String::as_str).collect();
        if let Some(id) = settles(request) {
            let debt = circumstances.debts.iter().find(|debt| debt.is_settled_by(request));
            let debt = debt.ok_or(NotAdmitted::NoDebt { request: Some(id.to_string()) })?;
            set_aside.extend(debt.parties(trust));
        }
        let slots = rule.need.iter().flat_map(|need| (0..need.count).map(move |_| need)).collect();
        Ok(Self { trust, rule, slots, askers: trust.askers(request), set_aside, now })
    }

    /// What an answer is worth here; nothing, unless whoever gave it could fill a slot.
    pub(super) fn ballot(&self, at: usize, answer: &Answer) -> Option<Ballot<'a>> {
        let (person, token) = self.trust.roster.holder(answer.key())?;
        // What was seen when it was judged, and what this trust says: it may be another version.
        let tier = answer.tier().min(tier(token).0);
        let counts = tier >= self.rule.tier
            && !self.trust.is_revoked(answer.key())
            && !self.set_aside.contains(person.name.as_str())
            && self.rule.need.iter().any(|need| may_fill(need, person, self.askers))
            && token.key.check_valid(self.now).is_ok();
        counts.then_some(Ballot { at, person, token, tier })
    }

    /// Seats those answers that count.
    pub(super) fn seat<'b>(
        &self,
        answers: impl Iterator<Item = &'b Answer>,
        is_of_this: &dyn Fn(&Answer) -> bool,
    ) -> Found<'a> {
        let here = answers.enumerate().filter(|(_, answer)| is_of_this(answer));
        let mut ballots: Vec<Ballot<'a>> = here.filter_map(|(at, answer)| self.ballot(at, answer)).collect();
        // By what they are and not by when they came; the stronger evidence first, so that it is what sits.
        ballots.sort_by_key(|ballot| {
            (Reverse(ballot.tier), &ballot.person.name, ballot.token.key.material(), &ballot.token.serial)
        });
        // The roster lists no key and no serial twice. That is looked at here again: a quorum stands on it.
        let people = numbers(ballots.iter().map(|ballot| ballot.person.name.as_str()));
        let keys = numbers(ballots.iter().map(|ballot| ballot.token.key.material()));
        let tokens = numbers(ballots.iter().map(|ballot| ballot.token.serial.as_str()));
        let votes: Vec<Vote> = people
            .into_iter()
            .zip(keys)
            .zip(tokens)
            .map(|((person, key), token)| Vote { person, key, token })
            .collect();
        let voters: Vec<&Person> = ballots.iter().map(|ballot| ballot.person).collect();
        let assignment = self.assign(&votes, &voters);
        Found { ballots, votes, assignment }
    }

    /// `people` are the voters, in the order of the votes.
    fn assign(&self, votes: &[Vote], people: &[&Person]) -> Assignment {
        let by_number: BTreeMap<usize, &Person> =
            votes.iter().zip(people).map(|(vote, person)| (vote.person, *person)).collect();
        let fits = |person: usize, slot: usize| match (by_number.get(&person), self.slots.get(slot)) {
            (Some(person), Some(need)) => may_fill(need, person, self.askers),
            _ => false,
        };
        assign(votes, self.slots.len(), &fits)
    }

    /// The slots that one more could fill.
    pub(super) fn open(&self, assignment: &Assignment) -> impl Iterator<Item = &'a Need> {
        self.slots.iter().zip(assignment.open.clone()).filter(|(_, open)| *open).map(|(need, _)| *need)
    }

    pub(super) fn open_kinds(&self, assignment: &Assignment) -> Vec<String> {
        let mut kinds = Vec::new();
        for kind in self.open(assignment).map(|need| need.from.to_string()) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    /// Everybody whom a slot names, whether or not they may fill it.
    pub(super) fn named(&self, need: &'a Need) -> impl Iterator<Item = &'a Person> + use<'a> {
        let requester = self.askers.requester.filter(|_| need.from == Approvers::Requester);
        let roster = &self.trust.roster;
        requester.into_iter().chain(need.from.groups().flat_map(|group| roster.members(group)))
    }

    /// Whether somebody could give an approval that counts, as far as their tokens go.
    pub(super) fn usable(&self, person: &Person) -> Result<(), CannotHelp> {
        if self.set_aside.contains(person.name.as_str()) {
            return Err(CannotHelp::SetAside);
        }
        let mut best = CannotHelp::NoToken;
        for token in person.tokens.iter().filter(|token| !self.trust.is_revoked(token.key.fingerprint())) {
            let found = tier(token).0;
            // The cheaper question first: there may be ten thousand to be asked.
            best = match (found >= self.rule.tier, &best) {
                (true, _) => match token.key.check_valid(self.now) {
                    Ok(()) => return Ok(()),
                    Err(rejection) => CannotHelp::Certificate(rejection.to_string()),
                },
                (false, CannotHelp::Certificate(_)) => best,
                (false, CannotHelp::Tier { found: other, .. }) if *other >= found => best,
                (false, _) => CannotHelp::Tier { found, needed: self.rule.tier },
            };
        }
        Err(best)
    }

    /// Whether those who have not approved could fill what is empty.
    pub(super) fn can_be_met(&self, found: &Found<'a>) -> bool {
        let mut votes = found.votes.clone();
        let mut people: Vec<&Person> = found.ballots.iter().map(|ballot| ballot.person).collect();
        let voted: BTreeSet<&str> = people.iter().map(|person| person.name.as_str()).collect();
        let mut added = BTreeSet::new();
        for need in &self.rule.need {
            let could = self.named(need).filter(|person| {
                !voted.contains(person.name.as_str())
                    && may_fill(need, person, self.askers)
                    && self.usable(person).is_ok()
            });
            // More than there are slots never help: whoever else sits, one of these is left for this need.
            for person in could.take(self.slots.len()) {
                if added.insert(&person.name) {
                    let number = usize::MAX - added.len();
                    votes.push(Vote { person: number, key: number, token: number });
                    people.push(person);
                }
            }
        }
        self.assign(&votes, &people).missing() == 0
    }
}

impl Found<'_> {
    pub(super) fn seats(&self, table: &Table<'_>) -> Vec<Seat> {
        let filled = table.slots.iter().zip(&self.assignment.filled);
        let seat = |(need, vote): (&&Need, &Option<usize>)| {
            let ballot = self.ballots.get((*vote)?)?;
            Some(Seat { from: need.from.clone(), person: ballot.person.name.clone(), tier: ballot.tier })
        };
        filled.filter_map(seat).collect()
    }

    /// The places of one approval of each person: the one with the strongest evidence.
    pub(super) fn one_each(&self) -> BTreeSet<usize> {
        let mut people = BTreeSet::new();
        let first = self.ballots.iter().filter(|ballot| people.insert(ballot.person.name.as_str()));
        first.map(|ballot| ballot.at).collect()
    }
}

/// A number for each, the same for those that are equal.
fn numbers<K: Ord>(items: impl Iterator<Item = K>) -> Vec<usize> {
    let mut known = BTreeMap::new();
    items
        .map(|item| {
            let next = known.len();
            *known.entry(item).or_insert(next)
        })
        .collect()
}
