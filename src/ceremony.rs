//! One request from its issue to its end: what an event makes of it. No store, no clock, no randomness.
//!
//! Somebody else keeps the record, looks at the clock and hands in what comes; what is to be written comes back as a
//! change that the store writes whole or not at all. If it was overtaken, the record is read again and the event
//! handed in again.

use std::collections::BTreeSet;

use sequoia_openpgp::Fingerprint;

use crate::audit::Entry as LogEntry;
use crate::audit::entry::Outcome;
use crate::challenge::{Challenge, RequestId};
use crate::evidence::{self, Decided, Evidence, EvidenceError};
use crate::grant::{Claims, SealedGrant};
use crate::request::{Identity, Mode};
use crate::response::{Response, armored};
use crate::store::{AnswerRecord, GrantRecord, Op, RequestRecord};
use crate::trust::debt::Debt;
use crate::trust::manifest::Manifest;
use crate::trust::quorum::{self, Circumstances, NotMet};
use crate::trust::{NotAdmitted, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{
    self, Answer, Approval, Counter, Entry, Ledger, Presented, Recorded, Rejection, Verified,
};

/// A request, read from its record and judged again.
#[derive(Debug)]
pub struct Ceremony {
    challenge: Challenge,
    revision: u32,
    outcome: Option<Outcome>,
    answers: Vec<AnswerRecord>,
    /// A token that gave one of them was revoked since.
    lost: bool,
    given: BTreeSet<(String, &'static str)>,
    approvals: Vec<Approval>,
}

/// What happens to a request.
pub enum Event<'a> {
    /// Somebody answers.
    Answer {
        /// Statement and signature.
        response: &'a Response,
        /// The attestation of the key's counter that came with it.
        presented: Option<&'a Presented>,
        /// The same as it is kept: PEM.
        counter: Option<&'a str>,
    },
    /// Time goes by for whoever waits for a decision: it may be made now.
    Clock,
    /// A new version of trust comes into force.
    NewTrust(&'a Trust),
    /// Somebody else looks: what is over ends. Nothing is decided, since nobody who looks so would start what it permits.
    Passing,
    /// Somebody takes it back.
    Withdraw {
        /// Under this name.
        by: &'a Identity,
    },
}

/// What else there is to know when an event is judged.
pub struct Context<'a> {
    /// The trust in force.
    pub trust: &'a Trust,
    /// What it was made of.
    pub manifest: &'a Manifest,
    /// By the verifier's clock.
    pub now: UnixTime,
    /// What is known of a key's counter.
    pub counters: &'a dyn Fn(&Fingerprint) -> Result<Option<Counter>, String>,
    /// The grant that came of this request, if one did.
    pub grant: Option<&'a GrantRecord>,
    /// The break-glass debts that are open on this resource.
    pub debts: &'a [Debt],
}

/// What an event makes of a request: a change to be written, and what is true once it is.
#[derive(Debug)]
pub struct Step {
    /// Written whole or not at all; empty if nothing is.
    pub change: Vec<Op>,
    /// What then holds.
    pub said: Said,
}

/// What holds after a step.
#[derive(Debug)]
pub enum Said {
    /// Enough people approved.
    Approved {
        /// Opens with the log's receipt for the last entry of the change.
        grant: Box<SealedGrant>,
        /// What it was decided on; the log's proof is still to be added.
        evidence: Box<Evidence>,
    },
    /// The request has ended otherwise.
    Ended(Outcome),
    /// The request had ended before.
    Late(Outcome),
    /// Nothing happened that anybody need know.
    Nothing,
    /// What was decided on cannot be shown, so it is not decided.
    NoEvidence(EvidenceError),
    /// The answer does not count.
    Rejected(Rejection),
    /// Somebody refused: the request has ended, or its unused grant.
    Refused(Box<Answer>),
    /// The approval counts; more are needed.
    Waiting {
        /// The approval.
        answer: Box<Answer>,
        /// What is missing.
        open: NotMet,
    },
}

/// Why a record cannot be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// An answer that was recorded does not pass the checks that it passed then.
    #[error("the recorded answer of {person} does not verify: {rejection}")]
    Answer {
        /// Whose.
        person: String,
        /// Why not.
        rejection: Rejection,
    },
    /// An answer is recorded as somebody's, or as a decision, that it is not.
    #[error("the answer recorded as {person}'s is another's, or says something else")]
    NotTheirs {
        /// Whose it was recorded as.
        person: String,
    },
    /// Somebody refused, which ends a request, and it is recorded as one that has not ended.
    #[error("{person} refused, and the request is recorded as undecided")]
    Reopened {
        /// Who.
        person: String,
    },
    /// The same answer of the same person is recorded twice.
    #[error("an answer of {person} is recorded twice")]
    Twice {
        /// Whose.
        person: String,
    },
}

/// The memory of one step: the request, and what is to be remembered of it.
struct Desk<'a> {
    issued: Option<&'a Challenge>,
    given: &'a BTreeSet<(String, &'static str)>,
    counters: &'a dyn Fn(&Fingerprint) -> Result<Option<Counter>, String>,
    counted: Option<(Fingerprint, Option<Counter>, Counter)>,
}

impl Ledger for Desk<'_> {
    fn issued(&self, request: &RequestId) -> Option<Challenge> {
        self.issued.filter(|issued| issued.id == *request).cloned()
    }

    fn counter(&self, key: &Fingerprint) -> Result<Option<Counter>, String> {
        (self.counters)(key)
    }

    fn record(&mut self, entry: &Entry<'_>) -> Result<Recorded, String> {
        if self.given.contains(&(entry.person.to_owned(), entry.decision.word())) {
            return Ok(Recorded::Again);
        }
        self.counted = entry.after.map(|after| (entry.key.clone(), entry.before, after));
        Ok(Recorded::Yes)
    }
}

impl Ceremony {
    /// Goes on with a request where its record leaves it. Every answer in it is judged again, by `trust` and at the
    /// moment at which it came: nothing that somebody wrote into the store is believed.
    ///
    /// A request that was asked under another version of trust has no answers that count; only its end is left.
    ///
    /// # Errors
    /// [`BadRecord`]: the request cannot be decided.
    pub fn resume(record: &RequestRecord, trust: &Trust) -> Result<Self, BadRecord> {
        let challenge = record.challenge.clone();
        let mut given = BTreeSet::new();
        for answer in &record.answers {
            if !given.insert((answer.person.clone(), answer.decision)) {
                return Err(BadRecord::Twice { person: answer.person.clone() });
            }
        }
        let (mut approvals, mut lost) = (Vec::new(), false);
        let none = BTreeSet::new();
        if challenge.trust == trust.version {
            for kept in &record.answers {
                let mut desk =
                    Desk { issued: Some(&challenge), given: &none, counters: &|_| Ok(None), counted: None };
                let bad = |rejection| BadRecord::Answer { person: kept.person.clone(), rejection };
                let verified = match verify::response(&kept.response, trust, &mut desk, kept.at) {
                    Err(Rejection::TokenRevoked { .. }) => {
                        lost = true;
                        continue;
                    }
                    verified => verified.map_err(bad)?,
                };
                let answer = match &verified {
                    Verified::Approved(approval) => approval.answer(),
                    Verified::Refused(refusal) => refusal.answer(),
                };
                if (answer.person(), answer.decision().word()) != (&kept.person, kept.decision) {
                    return Err(BadRecord::NotTheirs { person: kept.person.clone() });
                }
                match verified {
                    Verified::Approved(approval) => approvals.push(approval),
                    // Otherwise the next approval would be granted.
                    Verified::Refused(_) if record.outcome.is_none() => {
                        return Err(BadRecord::Reopened { person: kept.person.clone() });
                    }
                    Verified::Refused(_) => {}
                }
            }
        }
        let (revision, outcome, answers) = (record.revision, record.outcome, record.answers.clone());
        Ok(Self { challenge, revision, outcome, answers, lost, given, approvals })
    }

    /// What was asked.
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// The approvals that count so far.
    pub fn approvals(&self) -> &[Approval] {
        &self.approvals
    }

    /// How it ended, if it did.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// What `event` makes of it.
    pub fn step(&self, event: &Event<'_>, context: &Context<'_>) -> Step {
        if self.lost {
            return self.after_a_loss(context);
        }
        match event {
            Event::Answer { response, presented, counter } => {
                self.answered(response, *presented, *counter, context)
            }
            Event::Clock => self.looked_at(context),
            Event::NewTrust(new) => self.retrusted(new, context),
            Event::Passing => self.passed_by(context),
            Event::Withdraw { by } => self.withdrawn(by, context),
        }
    }

    fn answered(
        &self,
        response: &Response,
        presented: Option<&Presented>,
        counter: Option<&str>,
        context: &Context<'_>,
    ) -> Step {
        let Context { trust, now, counters, .. } = *context;
        let mut desk = Desk { issued: Some(&self.challenge), given: &self.given, counters, counted: None };
        let verified = match presented {
            None => verify::response(response, trust, &mut desk, now),
            Some(presented) => verify::response_with_counter(response, presented, trust, &mut desk, now),
        };
        let (answer, approval) = match verified {
            Ok(Verified::Approved(approval)) => (approval.answer().clone(), Some(approval)),
            Ok(Verified::Refused(refusal)) => (refusal.answer().clone(), None),
            Err(rejection) => return self.rejected(response, rejection, context),
        };
        if let Some(rejection) = self.party_to_debt(&answer, context) {
            return self.rejected(response, rejection, context);
        }
        let counted = desk.counted;
        // A request is decided once. What can still come is the refusal that takes an unused grant back.
        match (self.outcome, &approval) {
            (None, _) | (Some(Outcome::Approved), None) => {}
            (Some(outcome), _) => return nothing(Said::Late(outcome)),
        }
        let mut change = self.record_of(&answer, counter, now);
        change.extend(counted.map(|(key, before, after)| Op::Counter { key, before, after }));
        match approval {
            None => self.refused(answer, change, context),
            Some(approval) => self.approved(answer, approval, change, context),
        }
    }

    /// Who asked or signed through the glass has no say in whether that is countersigned: their refusal would keep
    /// everybody else from it.
    fn party_to_debt(&self, answer: &Answer, context: &Context<'_>) -> Option<Rejection> {
        let debt = context.debts.iter().find(|debt| debt.is_settled_by(&self.challenge.request))?;
        let reason = "they asked for or approved what is to be countersigned";
        let person = answer.person().to_owned();
        debt.parties(context.trust)
            .contains(answer.person())
            .then_some(Rejection::NotAllowed { person, reason })
    }

    /// The answer and its entry in the log.
    fn record_of(&self, answer: &Answer, counter: Option<&str>, now: UnixTime) -> Vec<Op> {
        let record = AnswerRecord {
            person: answer.person().to_owned(),
            decision: answer.decision().word(),
            response: answer.response().clone(),
            counter: counter.map(str::to_owned),
            at: now,
        };
        let counted = answer.counter();
        let entry = LogEntry::Answered {
            at: now,
            request: self.challenge.id,
            person: answer.person().to_owned(),
            decision: answer.decision().word().to_owned(),
            key: answer.key().to_hex(),
            serial: answer.serial().to_owned(),
            acr: answer.tier().acr().to_owned(),
            // It was parsed, so every byte of it is ASCII.
            statement: String::from_utf8_lossy(&answer.response().statement).into_owned(),
            signature: armored(&answer.response().signature),
            counter: counter.map(str::to_owned),
            signatures: counted.map(|counted| counted.signatures),
            unseen: counted.and_then(verify::Counted::unseen),
        };
        let step = Op::Step { request: self.challenge.id, revision: self.revision, answer: Box::new(record) };
        vec![step, Op::Log(entry)]
    }

    fn approved(&self, answer: Answer, approval: Approval, change: Vec<Op>, context: &Context<'_>) -> Step {
        let approvals = [&self.approvals[..], &[approval]].concat();
        let record = change.iter().find_map(|op| match op {
            Op::Step { answer, .. } => Some((**answer).clone()),
            _ => None,
        });
        let answers: Vec<AnswerRecord> = self.answers.iter().cloned().chain(record).collect();
        // The step in `change` makes one of the revision that was looked at.
        let revision = self.revision.saturating_add(1);
        match self.decide(approvals, &answers, revision, context) {
            Ok(Decision { ops, said }) => Step { change: [change, ops].concat(), said },
            Err(NotDecided::Open(open)) => {
                Step { change, said: Said::Waiting { answer: Box::new(answer), open } }
            }
            Err(NotDecided::Evidence(error)) => nothing(Said::NoEvidence(error)),
        }
    }

    /// Time goes by: the request expires, or what stood in its way has gone.
    fn looked_at(&self, context: &Context<'_>) -> Step {
        if self.outcome.is_some() || context.now >= self.challenge.expires {
            return self.passed_by(context);
        }
        match self.decide(self.approvals.clone(), &self.answers, self.revision, context) {
            Ok(Decision { ops, said }) => Step { change: ops, said },
            Err(NotDecided::Open(_)) => nothing(Said::Nothing),
            Err(NotDecided::Evidence(error)) => nothing(Said::NoEvidence(error)),
        }
    }

    fn passed_by(&self, context: &Context<'_>) -> Step {
        match self.outcome {
            None if context.now >= self.challenge.expires => {
                self.ended(Outcome::Expired, Vec::new(), context)
            }
            _ => nothing(Said::Nothing),
        }
    }

    /// What follows if `approvals` suffice.
    fn decide(
        &self,
        approvals: Vec<Approval>,
        answers: &[AnswerRecord],
        revision: u32,
        context: &Context<'_>,
    ) -> Result<Decision, NotDecided> {
        let Context { trust, now, debts, .. } = *context;
        let circumstances = Circumstances { debts, ..Circumstances::default() };
        let met = quorum::decide(trust, &self.challenge, approvals, circumstances, now)
            .map_err(NotDecided::Open)?;
        let mut evidence = self.evidence(answers, context).map_err(NotDecided::Evidence)?;
        let (request, asked, settled) = (self.challenge.id, &self.challenge.request, met.settles());
        let grant = SealedGrant::new(met, evidence.digest(), now);
        evidence.decision = Some(Decided { outcome: Outcome::Approved, at: now });
        evidence.grant = Some(grant.claims().to_map());
        let close = Op::Close { request, revision, outcome: Outcome::Approved };
        // Of many that go through the glass at once, one does.
        let seen = debts.iter().map(|debt| *debt.request()).collect();
        let looked = Op::Debts { resource: asked.resource.clone(), seen };
        let mut ops = vec![looked, close, Op::Grant(grant.record())];
        if asked.mode == Mode::BreakGlass {
            ops.push(Op::Debt { request, resource: asked.resource.clone() });
        }
        if let Some(settled) = settled {
            ops.push(Op::Settle { request: settled });
            ops.push(Op::Log(LogEntry::Countersigned { at: now, request: settled, settled_by: request }));
        }
        // Last, for its receipt opens the grant.
        ops.push(Op::Log(grant.entry()));
        let said = Said::Approved { grant: Box::new(grant), evidence: Box::new(evidence) };
        Ok(Decision { ops, said })
    }

    /// What these answers can be shown by, years later.
    fn evidence(&self, answers: &[AnswerRecord], context: &Context<'_>) -> Result<Evidence, EvidenceError> {
        let shown = answers.iter().enumerate().map(|(index, kept)| {
            evidence::Answered::new(&kept.response, kept.counter.clone(), Some(kept.at))
                .map_err(|rejection| EvidenceError::Answer { index, rejection })
        });
        let shown = shown.collect::<Result<_, _>>()?;
        Evidence::collect(self.challenge.clone(), shown, context.trust, context.manifest)
    }

    fn refused(&self, answer: Answer, mut change: Vec<Op>, context: &Context<'_>) -> Step {
        let request = self.challenge.id;
        let by = answer.person().to_owned();
        match (self.outcome, context.grant) {
            (None, _) => {
                let revision = self.revision.saturating_add(1);
                change.push(Op::Close { request, revision, outcome: Outcome::Refused });
                change.push(Op::Log(self.end(Outcome::Refused, vec![by], context.now)));
            }
            (Some(_), Some(grant)) if is_live(grant) => {
                change.push(Op::Revoke { grant: request, used: grant.used, at: context.now });
                change.push(Op::Log(LogEntry::Revoked {
                    at: context.now,
                    grant: request,
                    by,
                    because: None,
                }));
            }
            // Too late to hinder anything; that somebody wanted to is kept.
            (Some(_), _) => {}
        }
        Step { change, said: Said::Refused(Box::new(answer)) }
    }

    /// What an enrolled key signed and is rejected all the same is logged, once for each reason.
    fn rejected(&self, response: &Response, rejected: Rejection, context: &Context<'_>) -> Step {
        // Whoever is too late is told why.
        if let (Some(outcome), Rejection::Expired { .. }) = (self.outcome, &rejected) {
            return nothing(Said::Late(outcome));
        }
        let signer = rejected.is_signed().then(|| verify::signer(response, context.trust)).flatten();
        let change = match signer {
            Some(person) if !matches!(rejected, Rejection::Replayed { .. }) => {
                let (request, person, code) = (self.challenge.id, person.to_owned(), rejected.code());
                vec![
                    Op::Once { request, person: person.clone(), code },
                    Op::Log(LogEntry::Rejected { at: context.now, request, person, code: code.to_owned() }),
                ]
            }
            _ => Vec::new(),
        };
        Step { change, said: Said::Rejected(rejected) }
    }

    /// Whoever holds a lost token may have given any of the answers: the request ends, and so does what is left of its
    /// grant.
    fn after_a_loss(&self, context: &Context<'_>) -> Step {
        match (self.outcome, context.grant) {
            (None, _) => self.ended(Outcome::Superseded, Vec::new(), context),
            (Some(_), Some(grant)) if is_live(grant) => self.revoked_by_trust(grant, context),
            (Some(outcome), _) => nothing(Said::Late(outcome)),
        }
    }

    fn revoked_by_trust(&self, grant: &GrantRecord, context: &Context<'_>) -> Step {
        let (request, at) = (self.challenge.id, context.now);
        let entry = LogEntry::Revoked { at, grant: request, by: "trust".to_owned(), because: None };
        let revoke = Op::Revoke { grant: request, used: grant.used, at };
        Step { change: vec![revoke, Op::Log(entry)], said: Said::Nothing }
    }

    fn withdrawn(&self, by: &Identity, context: &Context<'_>) -> Step {
        if let Some(outcome) = self.outcome {
            return nothing(Said::Late(outcome));
        }
        let asked = &self.challenge.request;
        let same_person = || {
            let person = context.trust.roster.by_identity(by);
            let requester = context.trust.requester(asked);
            person.zip(requester).is_some_and(|(person, requester)| person.name == requester.name)
        };
        if *by != asked.requester && !same_person() {
            let reason = "only who asked can take it back";
            return nothing(Said::Rejected(Rejection::NotAllowed { person: by.to_string(), reason }));
        }
        self.ended(Outcome::Withdrawn, vec![by.to_string()], context)
    }

    fn retrusted(&self, new: &Trust, context: &Context<'_>) -> Step {
        match (self.outcome, context.grant.filter(|grant| is_live(grant))) {
            (None, _) => self.ended(Outcome::Superseded, Vec::new(), context),
            (Some(_), Some(grant)) if !self.is_still_given(new, grant, context) => {
                self.revoked_by_trust(grant, context)
            }
            _ => nothing(Said::Nothing),
        }
    }

    /// Whether the same approvals would suffice under another version of trust, and give as much as the record says,
    /// which is what uses are counted by. A countersignature's debt is settled and gone, so what came of it ends here.
    fn is_still_given(&self, new: &Trust, grant: &GrantRecord, context: &Context<'_>) -> bool {
        let Ok(claims) = Claims::parse(grant.claims.as_bytes()) else { return false };
        let answers = self.approvals.iter().map(Approval::answer);
        let circumstances = Circumstances { debts: context.debts, ..Circumstances::default() };
        (grant.uses, grant.expires) == (claims.step_up.uses, claims.exp)
            && claims.are_still_given(new, &self.challenge, answers, circumstances, context.now)
    }

    fn ended(&self, outcome: Outcome, by: Vec<String>, context: &Context<'_>) -> Step {
        let close = Op::Close { request: self.challenge.id, revision: self.revision, outcome };
        Step { change: vec![close, Op::Log(self.end(outcome, by, context.now))], said: Said::Ended(outcome) }
    }

    fn end(&self, outcome: Outcome, by: Vec<String>, at: UnixTime) -> LogEntry {
        LogEntry::Decided { at, request: self.challenge.id, outcome, by, evidence: None, grant: None }
    }
}

/// A decision, to be written with the answer that brought it about.
struct Decision {
    ops: Vec<Op>,
    said: Said,
}

/// Why there is none.
enum NotDecided {
    Evidence(EvidenceError),
    Open(NotMet),
}

/// Whether something is left of a grant that could still be taken back.
fn is_live(grant: &GrantRecord) -> bool {
    grant.revoked.is_none() && grant.used < grant.uses
}

fn nothing(said: Said) -> Step {
    Step { change: Vec::new(), said }
}

/// Opens a request under the trust in force: the challenge was issued for it, and no debt stands in its way.
///
/// # Errors
/// [`NotAdmitted`].
pub fn open(challenge: &Challenge, trust: &Trust, debts: &[RequestId]) -> Result<Vec<Op>, NotAdmitted> {
    trust.admit_beside(&challenge.request, debts)?;
    let entry = LogEntry::Asked { at: challenge.issued, challenge: challenge.to_text() };
    Ok(vec![Op::Open(Box::new(challenge.clone())), Op::Log(entry)])
}
