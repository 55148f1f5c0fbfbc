//! What may follow what: asked before answered, answered before decided, decided before used, each once, and nothing
//! under a version of trust that another has replaced.

use std::collections::{BTreeMap, BTreeSet};

use sequoia_openpgp::Fingerprint;

use super::counters::Counters;
use super::finding::{Finding, Wrong};
use super::work::{Decision, Given, Judged, What};
use crate::audit::entry::{Entry, Outcome};
use crate::challenge::{Challenge, RequestId, TrustVersion};
use crate::digest::Sha256Digest;
use crate::grant::Claims;
use crate::request::Mode;
use crate::store::{Store, StoreError};
use crate::trust::debt::Debt;
use crate::unix_time::UnixTime;
use crate::verify::Verified;

type Tell<'a> = &'a mut dyn FnMut(Finding);

/// What stands in the log so far. Of requests that came to their end it keeps nothing, once the store was seen to have
/// them alike: whoever follows the log brings back one that an entry names after all.
#[derive(Default)]
pub(super) struct Order {
    trust: Option<TrustVersion>,
    /// A token was revoked under that version.
    lost: bool,
    /// The keys on all that were ever revoked.
    revoked: BTreeSet<Fingerprint>,
    versions: Vec<(u64, TrustVersion)>,
    counters: Counters,
    /// But for those that were put away.
    requests: BTreeMap<RequestId, State>,
    /// Where the entries about each of these stand.
    stands: BTreeMap<RequestId, Vec<u64>>,
    /// Those with which nothing more should happen, since they were last asked for.
    done: Vec<RequestId>,
    /// The newest that was put away.
    away: Option<RequestId>,
    debts: Vec<Owed>,
    /// The debt that the next entry must settle, and by which request.
    settled: Option<(RequestId, RequestId)>,
    uses: u64,
}

/// A request, as far as it came.
enum State {
    /// Undecided.
    Open { challenge: Box<Challenge>, text: Sha256Digest, answers: Vec<Given> },
    /// Decided; with a grant only if it was approved.
    Ended {
        outcome: Outcome,
        text: Sha256Digest,
        grant: Option<Granted>,
        answered: Vec<(String, &'static str)>,
    },
}

/// What the log says of a request that the store's tables must say, too.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// Where the entries about it stand.
    pub(super) stands: Vec<u64>,
    /// The digest of its text.
    pub(super) text: Sha256Digest,
    /// None while it is open.
    pub(super) outcome: Option<Outcome>,
    pub(super) grant: Option<Granted>,
}

/// A grant, as the log has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) claims: Sha256Digest,
    pub(super) expires: UnixTime,
    pub(super) uses: u32,
    pub(super) used: u32,
    pub(super) revoked: bool,
    /// A token that was revoked before the decision had a say in it. A verifier that is deciding at that moment may log
    /// it, looks again before it hands the grant out, and revokes it.
    lost: bool,
}

impl Granted {
    /// The grant that came of a decision, if it says one that can be read.
    pub(super) fn of(decided: &Entry) -> Option<Self> {
        let Entry::Decided { grant: Some(map), .. } = decided else { return None };
        let claims = Claims::from_map(map).ok()?;
        Some(Self {
            claims: Sha256Digest::of(claims.to_json().as_bytes()),
            expires: claims.exp,
            uses: claims.step_up.uses,
            used: 0,
            revoked: false,
            lost: false,
        })
    }
}

/// A break-glass request that is not countersigned yet.
struct Owed {
    challenge: Challenge,
    people: Vec<String>,
}

impl Order {
    /// How often a grant was used.
    pub(super) fn uses(&self) -> u64 {
        self.uses
    }

    /// How many counters of tokens were compared, and how many were not for want of a root.
    pub(super) fn counters(&self) -> (u64, u64) {
        (self.counters.compared, self.counters.strange)
    }

    /// The versions of trust that came into force, oldest first, and the entries that say so.
    pub(super) fn versions(&self) -> &[(u64, TrustVersion)] {
        &self.versions
    }

    /// What is said of a request that is in memory.
    pub(super) fn said(&self, id: &RequestId) -> Option<Said> {
        let (text, outcome, grant) = match self.requests.get(id)? {
            State::Open { text, .. } => (*text, None, None),
            State::Ended { text, outcome, grant, .. } => (*text, Some(*outcome), *grant),
        };
        Some(Said { stands: self.stands.get(id).cloned().unwrap_or_default(), text, outcome, grant })
    }

    /// What is said of all of those, oldest first.
    pub(super) fn all_said(&self) -> impl Iterator<Item = (RequestId, Said)> {
        self.requests.keys().filter_map(|id| Some((*id, self.said(id)?)))
    }

    /// Compares what is known of counters at the end with the store's table.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn compare_counters(&self, store: &dyn Store, tell: Tell<'_>) -> Result<(), StoreError> {
        self.counters.compare(store, tell)
    }

    /// The version of trust in force at the end.
    pub(super) fn trust(&self) -> Option<TrustVersion> {
        self.trust
    }

    /// Requests with which nothing more should happen, each once: ended, and no use is left of what was granted.
    pub(super) fn take_done(&mut self) -> Vec<(RequestId, Said)> {
        let done = std::mem::take(&mut self.done);
        done.into_iter().filter_map(|id| Some((id, self.said(&id)?))).collect()
    }

    /// Forgets a request of which the store was seen to say the same.
    pub(super) fn put_away(&mut self, id: RequestId, said: &Said) {
        if self.said(&id).as_ref() == Some(said) {
            self.requests.remove(&id);
            self.stands.remove(&id);
            self.away = self.away.max(Some(id));
        }
    }

    /// The request that an entry is about, if it may have been put away.
    pub(super) fn missed(&self, judged: &Judged) -> Option<RequestId> {
        let id = judged.about?;
        (Some(id) <= self.away && !self.requests.contains_key(&id)).then_some(id)
    }

    /// Takes back a request as another, which followed only the entries about it, has it.
    pub(super) fn bring_back(&mut self, id: RequestId, mut past: Self) {
        self.requests.extend(past.requests.remove(&id).map(|state| (id, state)));
        self.stands.extend(past.stands.remove(&id).map(|stands| (id, stands)));
    }

    /// Takes the next entry; a grant that was decided on is given back with all that it must rest on.
    pub(super) fn follow(&mut self, index: u64, judged: Judged, tell: Tell<'_>) -> Option<Decision> {
        let about = judged.about;
        let decision = self.take(index, judged, tell);
        if let Some(id) = about.filter(|id| self.requests.contains_key(id)) {
            self.stands.entry(id).or_default().push(index);
        }
        decision
    }

    fn take(&mut self, index: u64, judged: Judged, tell: Tell<'_>) -> Option<Decision> {
        if let Some((_, by)) = self.settled {
            let decided = |entry: &Entry| matches!(entry, Entry::Decided { request, outcome: Outcome::Approved, .. } if *request == by);
            if !matches!(&judged.what, What::Decided(entry, _) if decided(entry)) {
                tell(order(index, format!("the decision of {by} does not follow the debt that it settles")));
                self.settled = None;
            }
        }
        match judged.what {
            What::Bad(wrong) => tell(Finding::at(index, wrong)),
            What::Answered(given) => self.answered(index, *given, tell),
            What::Asked { challenge, text, at } => self.asked(index, challenge, text, at, tell),
            What::Decided(entry, granted) => return self.decided(index, entry, granted, tell),
            What::Other(entry) => self.other(index, entry, tell),
            What::Revoked { under, keys } => {
                self.check_trust(index, &under, tell);
                self.lost = true;
                self.revoked.extend(keys);
            }
        }
        None
    }

    /// What must not stand open at the end.
    pub(super) fn finish(&mut self, tell: Tell<'_>) {
        if let Some((_, by)) = self.settled {
            tell(Finding::log(Wrong::Order(format!("the log ends before the decision of {by}"))));
        }
    }

    fn asked(
        &mut self,
        index: u64,
        challenge: Box<Challenge>,
        text: Sha256Digest,
        at: UnixTime,
        tell: Tell<'_>,
    ) {
        if challenge.issued != at {
            tell(order(index, format!("asked at {at}, issued at {}", challenge.issued)));
        }
        self.check_trust(index, &challenge.trust, tell);
        let id = challenge.id;
        if self.requests.contains_key(&id) {
            tell(order(index, format!("{id} was asked before")));
            return;
        }
        self.requests.insert(id, State::Open { challenge, text, answers: Vec::new() });
    }

    fn answered(&mut self, index: u64, given: Given, tell: Tell<'_>) {
        let answer = given.answer();
        let (id, person) = (answer.challenge().id, answer.person().to_owned());
        let decision = answer.decision().word();
        self.check_trust(index, &answer.challenge().trust, tell);
        if let Err(wrong) = self.counters.follow(answer, &given.came) {
            tell(Finding::at(index, wrong));
        }
        let before: bool;
        let as_asked: bool;
        match self.requests.get_mut(&id) {
            None => {
                tell(order(index, format!("{id} was never asked")));
                return;
            }
            Some(State::Open { challenge, answers, .. }) => {
                as_asked = **challenge == *answer.challenge();
                before = answers.iter().any(|other| {
                    (other.answer().person(), other.answer().decision().word()) == (&person, decision)
                });
                answers.push(given);
            }
            Some(State::Ended { outcome, text: asked, answered, .. }) => {
                as_asked = *asked == text_of(answer.challenge());
                before = answered.contains(&(person.clone(), decision));
                if *outcome != Outcome::Approved || !matches!(given.verified, Verified::Refused(_)) {
                    tell(order(index, format!("{id} {} before this answer", outcome.words())));
                }
                answered.push((person.clone(), decision));
                if let Some(owed) = self.debts.iter_mut().find(|owed| owed.challenge.id == id) {
                    owed.people.push(person.clone());
                }
            }
        }
        if !as_asked {
            tell(order(index, format!("{person} answered something else than what was asked as {id}")));
        }
        if before {
            tell(order(index, format!("{person} gave this answer to {id} before")));
        }
    }

    fn other(&mut self, index: u64, entry: Entry, tell: Tell<'_>) {
        match entry {
            Entry::Trust { version, .. } => self.trusted(index, version, tell),
            Entry::Rejected { request, .. } => {
                if !self.requests.contains_key(&request) {
                    tell(order(index, format!("{request} was never asked")));
                }
            }
            Entry::Used { at, grant, count } => self.used(index, at, grant, count, tell),
            Entry::Revoked { grant, .. } => match self.granted(&grant) {
                Some(known) if !known.revoked => {
                    known.revoked = true;
                    self.done.push(grant);
                }
                Some(_) => tell(order(index, format!("the grant {grant} was revoked before"))),
                None => tell(order(index, format!("nothing was granted as {grant}"))),
            },
            Entry::Countersigned { request, settled_by, .. } => {
                if self.debts.iter().any(|owed| owed.challenge.id == request) {
                    self.settled = Some((request, settled_by));
                } else {
                    tell(order(index, format!("{request} left no debt that is open")));
                }
            }
            // Judged alone before.
            Entry::Answered { .. }
            | Entry::Asked { .. }
            | Entry::Decided { .. }
            | Entry::TokenRevoked { .. } => {}
        }
    }

    fn trusted(&mut self, index: u64, version: TrustVersion, tell: Tell<'_>) {
        if let Some(known) = self.trust.filter(|known| known.number >= version.number) {
            let (new, known) = (version.number, known.number);
            tell(order(index, format!("version {new} of trust after version {known}")));
        }
        self.trust = Some(version);
        self.lost = false;
        self.versions.push((index, version));
    }

    fn check_trust(&self, index: u64, version: &TrustVersion, tell: Tell<'_>) {
        match self.trust {
            Some(known) if known == *version => {}
            Some(known) => tell(order(index, format!("under trust {version} while {known} is in force"))),
            None => tell(order(index, format!("under trust {version}, which never came into force here"))),
        }
    }

    fn used(&mut self, index: u64, at: UnixTime, grant: RequestId, count: u32, tell: Tell<'_>) {
        self.uses += 1;
        let Some(known) = self.granted(&grant) else {
            tell(order(index, format!("{grant} is used, and nothing was granted as that before")));
            return;
        };
        let wrong = match known {
            Granted { revoked: true, .. } => Some("it was revoked before".to_owned()),
            Granted { lost: true, .. } => Some("a token that was revoked before had a say in it".to_owned()),
            Granted { expires, .. } if at >= *expires => Some(format!("it expired at {expires}")),
            Granted { uses, .. } if count > *uses => Some(format!("it may be used {uses} times")),
            Granted { used, .. } if used.checked_add(1) != Some(count) => {
                Some(format!("it was used {used} times before"))
            }
            _ => None,
        };
        // Never less than before: no grant is spent twice, and what was put away is asked for once more at most.
        known.used = known.used.max(count);
        let spent = count == known.uses;
        match wrong {
            Some(reason) => tell(order(index, format!("use {count} of the grant {grant}: {reason}"))),
            None if spent => self.done.push(grant),
            None => {}
        }
    }

    fn granted(&mut self, grant: &RequestId) -> Option<&mut Granted> {
        match self.requests.get_mut(grant) {
            Some(State::Ended { grant, .. }) => grant.as_mut(),
            _ => None,
        }
    }

    fn decided(
        &mut self,
        index: u64,
        entry: Entry,
        granted: Option<Granted>,
        tell: Tell<'_>,
    ) -> Option<Decision> {
        let Entry::Decided { at, request, outcome, by, .. } = &entry else { return None };
        let (at, id, outcome) = (*at, *request, *outcome);
        let (challenge, text, answers) = match self.requests.remove(&id) {
            Some(State::Open { challenge, text, answers }) => (challenge, text, answers),
            Some(ended) => {
                tell(order(index, format!("{id} was decided before")));
                self.requests.insert(id, ended);
                return None;
            }
            None => {
                tell(order(index, format!("{id} was never asked")));
                return None;
            }
        };
        let granted = granted.map(|granted| Granted {
            lost: answers.iter().any(|given| self.revoked.contains(given.answer().key())),
            ..granted
        });
        if let Some(reason) = self.contradiction(&challenge, &answers, at, outcome, by, granted.is_some()) {
            tell(order(index, format!("{id} {}: {reason}", outcome.words())));
        }
        let answered = answers.iter().map(Given::answer);
        let answered: Vec<_> =
            answered.map(|answer| (answer.person().to_owned(), answer.decision().word())).collect();
        let people = answered.iter().map(|(person, _)| person.clone()).collect();
        let grant = if outcome == Outcome::Approved { granted } else { None };
        self.requests.insert(id, State::Ended { outcome, text, grant, answered });
        if outcome != Outcome::Approved {
            self.done.push(id);
            return None;
        }
        self.check_trust(index, &challenge.trust, tell);
        // As it was when this was decided: what it settles was still open.
        let resource = &challenge.request.resource;
        let open = self.debts.iter().filter(|owed| owed.challenge.request.resource == *resource);
        let debts = open.filter_map(|owed| Debt::new(owed.challenge.clone(), owed.people.clone())).collect();
        if let Some((settled, _)) = self.settled.take() {
            self.debts.retain(|owed| owed.challenge.id != settled);
        }
        if challenge.request.mode == Mode::BreakGlass {
            self.debts.push(Owed { challenge: (*challenge).clone(), people });
        }
        Some(Decision { index, entry, challenge: *challenge, answers, debts })
    }

    /// Why a request cannot have ended so. Whether an approval had its quorum is decided elsewhere.
    fn contradiction(
        &self,
        challenge: &Challenge,
        answers: &[Given],
        at: UnixTime,
        outcome: Outcome,
        by: &[String],
        granted: bool,
    ) -> Option<String> {
        let refused = |given: &&Given| matches!(given.verified, Verified::Refused(_));
        let refusal = answers.iter().find(refused).map(|given| given.answer().person());
        match (outcome, refusal) {
            (Outcome::Refused, Some(person)) if by == [person] => None,
            (Outcome::Refused, _) => Some("nobody of that name refused".into()),
            // That ended it, whatever else was answered.
            (_, Some(person)) => Some(format!("{person} refused before")),
            (Outcome::Approved, None) if !granted => Some("it says no grant that could be read".into()),
            (Outcome::Expired, None) if at < challenge.expires => {
                Some(format!("it was open until {}", challenge.expires))
            }
            (Outcome::Superseded, None) if self.trust == Some(challenge.trust) && !self.lost => {
                Some("no other version of trust is in force, and no token was revoked".into())
            }
            (Outcome::Approved | Outcome::Expired | Outcome::Superseded | Outcome::Withdrawn, None) => None,
        }
    }
}

fn order(index: u64, what: String) -> Finding {
    Finding::at(index, Wrong::Order(what))
}

pub(super) fn text_of(challenge: &Challenge) -> Sha256Digest {
    Sha256Digest::of(challenge.to_text().as_bytes())
}

#[cfg(test)]
mod tests;
