//! Judges a response: one function, one order, the first failure is the answer.

mod counter;
mod key;
mod packet;
mod rejection;
mod tier;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sequoia_openpgp::Fingerprint;

use crate::challenge::{Challenge, RequestId};
use crate::response::Response;
use crate::statement::{Decision, Statement};
use crate::trust::Trust;
use crate::trust::policy::{Approvers, Rule};
use crate::trust::quorum::may_fill;
use crate::trust::roster::Person;
use crate::unix_time::UnixTime;

pub use counter::{Advance, Counted, Counter, CounterError, Presented, count};
pub(crate) use counter::{BelievedCounter, Reading, believe_again, holder};
pub(crate) use key::is_small_order;
pub use key::{KeyError, Lifetime, SigningKey};
pub use packet::{NOTATION_NAME, NOTATION_VALUE};
pub(crate) use packet::{binary, issuer_and_packet};
pub use rejection::Rejection;
pub use tier::{NotAttested, Tier, tier};

/// How far a signature's own time may lie outside the time in which it can have been made:
/// clocks of approvers' machines, which nobody sets for us.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// How often an answer is judged against a counter that others change meanwhile: each time another answer by the same
/// key was recorded, which takes a signature by the same token.
const MAX_OVERTAKEN: usize = 16;

/// Who answered what, and with which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    decision: Decision,
    challenge: Challenge,
    person: String,
    serial: String,
    key: Fingerprint,
    tier: Tier,
    signed_at: UnixTime,
    response: Response,
    counter: Option<Counted>,
}

impl Answer {
    /// What they decided.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// What was decided on.
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// Who decided.
    pub fn person(&self) -> &str {
        &self.person
    }

    /// With which token.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// With which key.
    pub fn key(&self) -> &Fingerprint {
        &self.key
    }

    /// How strong the evidence of a touch is.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// When, in the signer's own words.
    pub fn signed_at(&self) -> UnixTime {
        self.signed_at
    }

    /// The bytes that it was made of.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// What the counter says that came with it, if one did.
    pub fn counter(&self) -> Option<&Counted> {
        self.counter.as_ref()
    }
}

/// An answer that passed every check and says yes. Only [`response`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval(Answer);

/// An answer that passed every check and says no. Only [`response`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(Answer);

impl Approval {
    /// Who approved what.
    pub fn answer(&self) -> &Answer {
        &self.0
    }
}

impl Refusal {
    /// Who refused what.
    pub fn answer(&self) -> &Answer {
        &self.0
    }
}

/// What a response turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Yes.
    Approved(Approval),
    /// No.
    Refused(Refusal),
}

/// What could not be checked: for want of the verifier's own memory, or of what evidence cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unchecked {
    /// Whether the certificate was valid when it was really signed: the time is the signer's word.
    CertificateTime,
    /// Whether a counter is genuine: it is on the word of somebody whom trust does not name.
    Counter,
    /// Whether it had to wait for a debt of break-glass: only the whole log shows.
    Debts,
    /// Whether it was decided when it says so: the time is the verifier's word.
    DecisionTime,
    /// Whether it was answered before the request expired.
    Freshness,
    /// Whether a verifier asked this at all, and in these words.
    Issued,
    /// Whether keys or people were struck off afterwards.
    Later,
    /// Whether it stands in the log.
    Log,
    /// Whether somebody answered whose answer was left out: only the whole log shows.
    OtherAnswers,
    /// Whether it was used before.
    SingleUse,
    /// Whether the log shows everybody the same.
    SplitView,
    /// Whether a newer version of trust was in force already.
    Superseded,
}

impl Unchecked {
    /// What remains open when an answer is judged alone.
    pub const ALONE: [Self; 4] = [Self::Issued, Self::Freshness, Self::CertificateTime, Self::SingleUse];

    /// Its stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::CertificateTime => "certificate-time",
            Self::Counter => "counter",
            Self::Debts => "debts",
            Self::DecisionTime => "decision-time",
            Self::Freshness => "freshness",
            Self::Issued => "issued",
            Self::Later => "later",
            Self::Log => "log",
            Self::OtherAnswers => "other-answers",
            Self::SingleUse => "single-use",
            Self::SplitView => "split-view",
            Self::Superseded => "superseded",
        }
    }
}

/// What is recorded of an answer: all of it or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// What was answered.
    pub request: &'a RequestId,
    /// By whom.
    pub person: &'a str,
    /// How.
    pub decision: &'a Decision,
    /// With which key.
    pub key: &'a Fingerprint,
    /// What the ledger knew of the key's counter when this was judged.
    pub before: Option<Counter>,
    /// What it knows from now on.
    pub after: Option<Counter>,
}

/// What came of recording an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Nothing was recorded: this person gave this decision on this request before.
    Again,
    /// Nothing was recorded: what is known of the key's counter is not `before` any more. Judge that again.
    Overtaken,
    /// It was recorded, and so was the counter.
    Yes,
}

/// What a verifier remembers: the requests that are open, who has answered them, and how often keys have signed.
pub trait Ledger {
    /// The challenge as it was issued, if it is open here.
    fn issued(&self, request: &RequestId) -> Option<Challenge>;

    /// What is known of this key's counter; nothing, as long as no answer by it came with one.
    ///
    /// # Errors
    /// Why it could not be looked up; the answer then does not count.
    fn counter(&self, key: &Fingerprint) -> Result<Option<Counter>, String>;

    /// Records an answer and the counter of its key, atomically, if the answer was not given before and the counter
    /// is as the entry has it.
    ///
    /// # Errors
    /// Why it could not be recorded; the answer then does not count.
    fn record(&mut self, entry: &Entry<'_>) -> Result<Recorded, String>;
}

/// The memory of one process, for requests that end with it.
#[derive(Debug, Default)]
pub struct OpenRequests {
    issued: BTreeMap<RequestId, Challenge>,
    answers: BTreeSet<(RequestId, String, &'static str)>,
    counters: BTreeMap<Fingerprint, Counter>,
}

impl OpenRequests {
    /// Remembers a challenge that was issued.
    pub fn open(&mut self, challenge: Challenge) {
        self.issued.insert(challenge.id, challenge);
    }

    /// Whether this person gave this decision on this request before.
    pub fn has(&self, entry: &Entry<'_>) -> bool {
        self.answers.contains(&answer_of(entry))
    }
}

fn answer_of(entry: &Entry<'_>) -> (RequestId, String, &'static str) {
    (*entry.request, entry.person.to_owned(), entry.decision.word())
}

impl Ledger for OpenRequests {
    fn issued(&self, request: &RequestId) -> Option<Challenge> {
        self.issued.get(request).cloned()
    }

    fn counter(&self, key: &Fingerprint) -> Result<Option<Counter>, String> {
        Ok(self.counters.get(key).copied())
    }

    fn record(&mut self, entry: &Entry<'_>) -> Result<Recorded, String> {
        if self.has(entry) {
            return Ok(Recorded::Again);
        }
        if self.counters.get(entry.key).copied() != entry.before {
            return Ok(Recorded::Overtaken);
        }
        self.answers.insert(answer_of(entry));
        self.counters.extend(entry.after.map(|after| (entry.key.clone(), after)));
        Ok(Recorded::Yes)
    }
}

/// Judges `response` at the verifier that asked, under its `trust`, its memory and its clock.
///
/// The order is fixed: statement (size, grammar), audience, trust, challenge known, time, bytes as issued, signature
/// (shape, subpackets, notation), issuer enrolled, certificate, arithmetic, creation time, rule, tier, person, recorded.
///
/// # Errors
/// The first check that failed.
pub fn response(
    response: &Response,
    trust: &Trust,
    ledger: &mut dyn Ledger,
    now: UnixTime,
) -> Result<Verified, Rejection> {
    settle(response, None, trust, ledger, now)
}

/// The same of a response that came with an attestation of its key's counter, made after it was signed. That is
/// judged after the person and before anything is recorded; [`Answer::counter`] has what it says.
///
/// # Errors
/// The first check that failed.
pub fn response_with_counter(
    response: &Response,
    presented: &Presented,
    trust: &Trust,
    ledger: &mut dyn Ledger,
    now: UnixTime,
) -> Result<Verified, Rejection> {
    settle(response, Some(presented), trust, ledger, now)
}

fn settle(
    response: &Response,
    presented: Option<&Presented>,
    trust: &Trust,
    ledger: &mut dyn Ledger,
    now: UnixTime,
) -> Result<Verified, Rejection> {
    let mut answer = judge(response, trust, Some(ledger), now)?;
    let believed = match presented {
        None => None,
        Some(presented) => Some(BelievedCounter::new(presented, holder(trust, &answer.key)?, now)?),
    };
    for _ in 0..MAX_OVERTAKEN {
        let unrecorded = |reason| Rejection::Unrecorded { reason };
        let before = ledger.counter(&answer.key).map_err(unrecorded)?;
        let mut after = before.map(Counter::answered);
        if let Some(believed) = &believed {
            let (counted, counter) = believed.compare(before, answer.signed_at)?;
            (answer.counter, after) = (Some(counted), Some(counter));
        }
        let entry = Entry {
            request: &answer.challenge.id,
            person: &answer.person,
            decision: &answer.decision,
            key: &answer.key,
            before,
            after,
        };
        match ledger.record(&entry).map_err(unrecorded)? {
            Recorded::Again => return Err(Rejection::Replayed { person: answer.person }),
            Recorded::Overtaken => {}
            Recorded::Yes => {
                return Ok(match answer.decision {
                    Decision::Approve => Verified::Approved(Approval(answer)),
                    Decision::Refuse { .. } => Verified::Refused(Refusal(answer)),
                });
            }
        }
    }
    let reason = "the counter of its key was changed by others each time".to_owned();
    Err(Rejection::Unrecorded { reason })
}

/// Judges `response` anywhere and at any time, by `trust` and the response alone.
///
/// What comes of it is no [`Approval`] and opens nothing: [`Unchecked::ALONE`] says what it leaves open.
///
/// # Errors
/// The first check that failed, in the order of [`response`].
pub fn alone(response: &Response, trust: &Trust, now: UnixTime) -> Result<Answer, Rejection> {
    judge(response, trust, None, now)
}

/// Whose key a response names, believed or not.
pub fn signer<'a>(response: &Response, trust: &'a Trust) -> Option<&'a str> {
    let shaped = packet::read(&response.signature).ok()?;
    trust.roster.holder(&shaped.issuer).map(|(person, _)| person.name.as_str())
}

/// Every check but those of the counter and the last, which records.
fn judge(
    response: &Response,
    trust: &Trust,
    ledger: Option<&dyn Ledger>,
    now: UnixTime,
) -> Result<Answer, Rejection> {
    let Statement { decision, challenge } = Statement::parse(&response.statement)?;
    check_context(&challenge, trust, now)?;
    match ledger {
        None => check_begun(&challenge, now)?,
        Some(ledger) => {
            let unknown = || Rejection::UnknownRequest { request: challenge.id.to_string() };
            let issued = ledger.issued(&challenge.id).ok_or_else(unknown)?;
            // The times as issued: what the signer made of them is not believed before it is compared.
            check_begun(&issued, now)?;
            if now >= issued.expires {
                return Err(Rejection::Expired { now, expires: issued.expires });
            }
            check_as_issued(&issued, &challenge)?;
        }
    }
    let shaped = packet::read(&response.signature)?;
    let unknown = || Rejection::UnknownSigner { key: shaped.issuer.to_hex() };
    let (person, token) = trust.roster.holder(&shaped.issuer).ok_or_else(unknown)?;
    // Alone, the only moment that is known is the one that the signature names.
    let judged_at = if ledger.is_some() { now } else { shaped.created };
    token.key.check_shaped(&shaped, &response.statement, judged_at)?;
    // After the arithmetic: that a lost token signs is worth knowing.
    if trust.is_revoked(&shaped.issuer) {
        let (person, serial) = (person.name.clone(), token.serial.clone());
        return Err(Rejection::TokenRevoked { person, serial });
    }
    check_creation_time(&challenge, shaped.created, now)?;
    let rule = trust.admit(&challenge.request)?;
    let lifetime = challenge.expires.since(challenge.issued);
    if lifetime > rule.answer_within {
        return Err(Rejection::Lifetime { found: lifetime, most: rule.answer_within });
    }
    // Of `token.key`, which was seen to have made this signature.
    let (tier, not_attested) = tier(token);
    if tier < rule.tier {
        let person = person.name.clone();
        return Err(Rejection::Tier { person, found: tier, needed: rule.tier, not_attested });
    }
    check_person(trust, rule, &challenge, person)?;
    Ok(Answer {
        decision,
        challenge,
        person: person.name.clone(),
        serial: token.serial.clone(),
        key: shaped.issuer,
        tier,
        signed_at: shaped.created,
        response: response.clone(),
        counter: None,
    })
}

fn check_context(challenge: &Challenge, trust: &Trust, now: UnixTime) -> Result<(), Rejection> {
    if challenge.audience != trust.audience {
        let (found, expected) = (challenge.audience.to_string(), trust.audience.to_string());
        return Err(Rejection::WrongAudience { found, expected });
    }
    if now >= trust.valid_until {
        return Err(Rejection::TrustExpired { now, valid_until: trust.valid_until });
    }
    if challenge.trust != trust.version {
        return Err(Rejection::TrustVersion { signed: challenge.trust, current: trust.version });
    }
    Ok(())
}

fn check_begun(challenge: &Challenge, now: UnixTime) -> Result<(), Rejection> {
    let issued = challenge.issued;
    if now < issued { Err(Rejection::NotYetValid { now, issued }) } else { Ok(()) }
}

/// The statement's challenge must be the one that was issued; equal ones are written alike, and only they.
fn check_as_issued(issued: &Challenge, signed: &Challenge) -> Result<(), Rejection> {
    if issued == signed {
        return Ok(());
    }
    let (asked, signed) = (issued.to_text(), signed.to_text());
    let mut lines = asked
        .lines()
        .map(Some)
        .chain(std::iter::repeat(None))
        .zip(signed.lines().map(Some).chain(std::iter::repeat(None)));
    let differ = lines.find(|(a, b)| a != b || a.is_none()).unwrap_or_default();
    let text = |line: Option<&str>| line.unwrap_or_default().to_owned();
    Err(Rejection::Altered { asked: text(differ.0), signed: text(differ.1) })
}

fn check_creation_time(challenge: &Challenge, created: UnixTime, now: UnixTime) -> Result<(), Rejection> {
    let skew = CLOCK_SKEW.as_secs();
    let from =
        UnixTime::from_seconds(challenge.issued.seconds().saturating_sub(skew)).unwrap_or(challenge.issued);
    let to = challenge.expires.min(now).plus(CLOCK_SKEW);
    if (from..=to).contains(&created) { Ok(()) } else { Err(Rejection::CreationTime { created, from, to }) }
}

/// Somebody decides who could fill a slot of the rule; the requester only one that says so.
fn check_person(trust: &Trust, rule: &Rule, challenge: &Challenge, person: &Person) -> Result<(), Rejection> {
    let askers = trust.askers(&challenge.request);
    if rule.need.iter().any(|need| may_fill(need, person, askers)) {
        return Ok(());
    }
    let own = askers.includes(person);
    let step_up = rule.need.iter().all(|need| need.from == Approvers::Requester);
    let reason = match (own, step_up) {
        (true, _) => "they asked for it themselves",
        (false, true) => "only the requester may",
        (false, false) => "they are in none of the groups that the rule names",
    };
    Err(Rejection::NotAllowed { person: person.name.clone(), reason })
}
