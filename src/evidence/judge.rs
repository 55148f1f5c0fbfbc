//! Decides again, offline, what evidence says was decided: from one digest that the reader kept, and nothing else.

use serde_json::{Map, Value};

use crate::audit::entry::Outcome;
use crate::audit::{Entry, LogProof, Receipt};
use crate::card::attestation::{Anchor, read_certificates};
use crate::challenge::TrustVersion;
use crate::digest::Sha256Digest;
use crate::evidence::later::{self, Later};
use crate::evidence::log::{self, Time};
use crate::evidence::{Answered, Carried, Decided, Evidence, EvidenceError};
use crate::grant::SealedGrant;
use crate::request::Mode;
use crate::trust::Trust;
use crate::trust::chain;
use crate::trust::manifest;
use crate::trust::policy::{GrantTerms, RESERVED, UPDATE_ACTION};
use crate::trust::quorum::{self, Circumstances};
use crate::unix_time::UnixTime;
use crate::verify::{
    self, Answer, Approval, CLOCK_SKEW, CounterError, OpenRequests, Presented, Refusal, Rejection, Tier,
    Unchecked, Verified,
};

/// What evidence is judged against.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The version of trust that is believed, which must be the one that the decision was made under.
    pub pin: TrustVersion,
    /// That the version after it came into force, as the log has it: a decision comes before.
    pub next: Option<&'a LogProof>,
    /// The newest trust that is known, for what became of the keys since.
    pub newest: Option<&'a Trust>,
    /// Who is set aside by an update of trust, and which debts of break-glass were open. A countersignature cannot be
    /// judged without the debt that it settles.
    pub circumstances: Circumstances<'a>,
}

impl Against<'_> {
    /// Against a pin and nothing else.
    pub fn pin(pin: TrustVersion) -> Self {
        Self { pin, next: None, newest: None, circumstances: Circumstances::default() }
    }
}

/// What was found to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Approved or refused.
    pub outcome: Outcome,
    /// When it was decided.
    pub at: UnixTime,
    /// On whose word that is.
    pub time: Time,
    /// Every answer, judged again.
    pub answers: Vec<Answer>,
    /// The weakest evidence of a touch among the answers that made the decision.
    pub tier: Tier,
    /// What the rule gives for an approval.
    pub grant: Option<GrantTerms>,
    /// The digest of statements, signatures and attestations.
    pub digest: Sha256Digest,
    /// The entry in the log, if it came with its proof.
    pub receipt: Option<Receipt>,
    /// What became of the keys since; it changes nothing about the decision.
    pub later: Vec<Later>,
    /// What was checked.
    pub checked: Vec<Checked>,
    /// What could not be.
    pub unchecked: Vec<Unchecked>,
}

/// One thing that was seen to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checked {
    /// Each counter is the signing key's.
    Counters,
    /// The files of trust stand in the pinned version.
    Files,
    /// The grant says what was approved, for as long and as often as the rule gives.
    Grant,
    /// The decision stands in the log under trust's log key, and says the same.
    Log,
    /// It stands there before the next version of trust.
    Order,
    /// The answers are enough for the decision.
    Quorum,
    /// Each signature is an enrolled key's, valid when it was made.
    Signatures,
    /// Each statement is what was asked, but for the decision.
    Statements,
    /// Each signer's evidence of a touch is what the rule demands.
    Touch,
    /// An update of trust leads from the pinned version to the next.
    Update,
    /// As many witnesses as trust demands saw the log with it in, while it could be decided.
    Witnesses,
}

impl Checked {
    /// Its stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::Counters => "counters",
            Self::Files => "files",
            Self::Grant => "grant",
            Self::Log => "log",
            Self::Order => "order",
            Self::Quorum => "quorum",
            Self::Signatures => "signatures",
            Self::Statements => "statements",
            Self::Touch => "touch",
            Self::Update => "update",
            Self::Witnesses => "witnesses",
        }
    }
}

impl Evidence {
    /// The trust that it carries, if every file of it stands in the version that it names. Which version that is, and
    /// whether it is to be believed, is not looked at.
    ///
    /// # Errors
    /// [`EvidenceError::File`] and [`EvidenceError::Trust`].
    pub fn proved_trust(&self) -> Result<Trust, EvidenceError> {
        self.proved_under(&Anchor::yubico())
    }

    fn proved_under(&self, roots: &[Anchor]) -> Result<Trust, EvidenceError> {
        let carried = &self.trust;
        let proved = manifest::check(&carried.version, carried.size, carried.files.iter().cloned())?;
        Ok(Trust::proved_under(&proved, roots)?)
    }
}

/// Judges everything again, as at the moment of the decision: files, statements, signatures, evidence of touch, quorum,
/// grant, log.
///
/// The first failure is the answer. What is given opens nothing: that is [`super::gate()`]'s part.
///
/// # Errors
/// Any [`EvidenceError`].
pub fn judge(evidence: &Evidence, against: &Against<'_>, now: UnixTime) -> Result<Verdict, EvidenceError> {
    judge_under(evidence, against, now, &Anchor::yubico())
}

/// The same with other roots for attestations. In this module alone: no build of it lets a caller choose.
fn judge_under(
    evidence: &Evidence,
    against: &Against<'_>,
    now: UnixTime,
    roots: &[Anchor],
) -> Result<Verdict, EvidenceError> {
    let found = evidence.trust.version;
    if found != against.pin {
        return Err(EvidenceError::OtherVersion { found, pinned: against.pin });
    }
    if evidence.challenge.trust != found {
        return Err(EvidenceError::OtherTrust { asked: evidence.challenge.trust, carried: found });
    }
    let trust = evidence.proved_under(roots)?;
    let decided = evidence.decision.ok_or(EvidenceError::Undecided)?;
    check_decided(evidence, decided, now)?;
    let update = Update::judge(evidence, &trust, now)?;
    let against = &update.as_ref().map_or(*against, |update| update.circumstances(against));
    let answers = Answers::judge(evidence, &trust, decided.at, roots)?;
    let mut checked = vec![Checked::Files, Checked::Statements, Checked::Signatures, Checked::Touch];
    checked.extend((answers.counters > 0).then_some(Checked::Counters));
    let mut unchecked = vec![Unchecked::OtherAnswers];
    checked.extend(update.is_some().then_some(Checked::Update));
    unchecked.extend(debts_unknown(evidence, &trust, against).then_some(Unchecked::Debts));
    unchecked.extend(answers.strange_counters.then_some(Unchecked::Counter));
    let digest = evidence.digest();
    let all = answers.all.clone();
    let decision = match decided.outcome {
        Outcome::Approved => approved(evidence, &trust, answers, against, decided.at)?,
        Outcome::Refused => refused(evidence, &trust, &answers, against, decided.at)?,
        outcome => return Err(EvidenceError::Nobodys { outcome }),
    };
    checked.push(Checked::Quorum);
    if evidence.grant.is_some() {
        checked.push(Checked::Grant);
        unchecked.push(Unchecked::SingleUse);
    }
    let logged = log::compare(evidence, decided, &decision.entry, &trust, against)?;
    checked.extend(logged.checked);
    unchecked.extend(logged.unchecked);
    // An older version says nothing about later, and another of the same number nothing at all.
    let newest = against.newest.filter(|new| new.version == found || new.version.number > found.number);
    let later = newest.map(|newest| later::since(&all, newest, now));
    unchecked.extend(later.is_none().then_some(Unchecked::Later));
    unchecked.sort();
    Ok(Verdict {
        outcome: decided.outcome,
        at: decided.at,
        time: logged.time,
        answers: all,
        tier: decision.tier,
        grant: decision.grant,
        digest,
        receipt: logged.receipt,
        later: later.unwrap_or_default(),
        checked,
        unchecked,
    })
}

/// An update of trust, which has rules of its own beside those of every request.
struct Update {
    /// Whom it takes something from: they neither count nor refuse.
    set_aside: Vec<String>,
}

impl Update {
    fn judge(evidence: &Evidence, old: &Trust, now: UnixTime) -> Result<Option<Self>, EvidenceError> {
        let asked = evidence.challenge.request.action.as_str() == UPDATE_ACTION;
        let after = match &evidence.after {
            None if !asked => return Ok(None),
            after => after,
        };
        chain::judge(&old.version, evidence, now)?;
        let proved = |carried: &Carried| {
            manifest::check(&carried.version, carried.size, carried.files.iter().cloned())
        };
        let before = proved(&evidence.trust)?;
        let after = after.as_ref().map(proved).transpose()?;
        let Some(after) = after else { return Ok(None) };
        let new = Trust::from_proved(&after)?;
        let reduced = chain::reduced(old, before.files(), &new, after.files());
        Ok(Some(Self { set_aside: reduced.into_iter().collect() }))
    }

    fn circumstances<'a>(&'a self, against: &Against<'a>) -> Against<'a> {
        let circumstances = Circumstances { set_aside: &self.set_aside, ..against.circumstances };
        Against { circumstances, ..*against }
    }
}

/// What the answers make: how strong, what the rule gives, and the entry by which the log must have it.
struct Decision {
    tier: Tier,
    grant: Option<GrantTerms>,
    entry: Entry,
}

fn approved(
    evidence: &Evidence,
    trust: &Trust,
    answers: Answers,
    against: &Against<'_>,
    at: UnixTime,
) -> Result<Decision, EvidenceError> {
    if let Some(refusal) = answers.ending(evidence, trust, against, at).next() {
        return Err(EvidenceError::Refused { person: refusal.person().to_owned() });
    }
    let met = quorum::decide(trust, &evidence.challenge, answers.approvals, against.circumstances, at)
        .map_err(EvidenceError::NotMet)?;
    // Sealed, and never opened: what it would say is what the grant in evidence must say.
    let sealed = SealedGrant::new(met, evidence.digest(), at);
    let mut entry = sealed.entry();
    match (&evidence.grant, &mut entry) {
        (Some(grant), _) if *grant == sealed.claims().to_map() => {}
        (Some(grant), _) => {
            return Err(EvidenceError::GrantDiffers { what: difference(grant, &sealed.claims().to_map()) });
        }
        // Not every approval gives a grant: one of an update of trust does not.
        (None, Entry::Decided { grant, .. }) => *grant = None,
        (None, _) => {}
    }
    Ok(Decision { tier: sealed.met().tier(), grant: Some(sealed.met().grant()), entry })
}

fn refused(
    evidence: &Evidence,
    trust: &Trust,
    answers: &Answers,
    against: &Against<'_>,
    at: UnixTime,
) -> Result<Decision, EvidenceError> {
    let refusals = || answers.ending(evidence, trust, against, at);
    let tier = refusals().map(Answer::tier).min().ok_or(EvidenceError::NoRefusal)?;
    if evidence.grant.is_some() {
        return Err(EvidenceError::GrantDiffers { what: "outcome".into() });
    }
    let by = refusals().map(|answer| answer.person().to_owned()).collect();
    Ok(Decision { tier, grant: None, entry: log::refusal(evidence, at, by) })
}

/// Whether it might have had to wait for a debt of break-glass that is not known here.
fn debts_unknown(evidence: &Evidence, trust: &Trust, against: &Against<'_>) -> bool {
    let own = evidence.challenge.request.action.as_str().starts_with(RESERVED);
    against.circumstances.debts.is_empty()
        && !own
        && trust.rules().iter().any(|rule| rule.mode() == Mode::BreakGlass)
}

/// The first claim that differs, by name.
fn difference(found: &Map<String, Value>, expected: &Map<String, Value>) -> String {
    let names = expected.keys().chain(found.keys());
    names.into_iter().find(|name| found.get(*name) != expected.get(*name)).cloned().unwrap_or_default()
}

/// While the request was open, and not later than now.
fn check_decided(
    evidence: &Evidence,
    Decided { at, .. }: Decided,
    now: UnixTime,
) -> Result<(), EvidenceError> {
    let (from, expires) = (evidence.challenge.issued, evidence.challenge.expires);
    let latest = now.plus(CLOCK_SKEW);
    if at < from || at >= expires || at > latest {
        return Err(EvidenceError::DecisionTime { at, from, to: expires.min(latest) });
    }
    Ok(())
}

/// The answers of one piece of evidence, judged each as when it came.
#[derive(Default)]
struct Answers {
    all: Vec<Answer>,
    approvals: Vec<Approval>,
    refusals: Vec<Refusal>,
    /// How many counters were believed.
    counters: usize,
    /// Whether there are counters on somebody's word whom nobody here knows.
    strange_counters: bool,
}

impl Answers {
    /// Judges each at the moment at which it was received, or else decided on. Their ledger knows this one request, so
    /// that nothing that was made for another can count, and nobody twice.
    fn judge(
        evidence: &Evidence,
        trust: &Trust,
        decided_at: UnixTime,
        roots: &[Anchor],
    ) -> Result<Self, EvidenceError> {
        let mut ledger = OpenRequests::default();
        ledger.open(evidence.challenge.clone());
        let mut answers = Self::default();
        for (index, answer) in evidence.answers().iter().enumerate() {
            let (from, to) = (evidence.challenge.issued, decided_at);
            let at = answer.received().unwrap_or(to);
            if at < from || at > to {
                return Err(EvidenceError::AnswerTime { index, received: at, from, to });
            }
            answers
                .add(answer, trust, &mut ledger, at, roots)
                .map_err(|rejection| EvidenceError::Answer { index, rejection })?;
        }
        Ok(answers)
    }

    /// The refusals that end the request.
    fn ending<'a>(
        &'a self,
        evidence: &'a Evidence,
        trust: &'a Trust,
        against: &'a Against<'_>,
        at: UnixTime,
    ) -> impl Iterator<Item = &'a Answer> {
        let ends = move |refusal: &&Refusal| {
            quorum::refusal_ends(trust, &evidence.challenge, refusal, against.circumstances, at)
        };
        self.refusals.iter().filter(ends).map(Refusal::answer)
    }

    fn add(
        &mut self,
        answer: &Answered,
        trust: &Trust,
        ledger: &mut OpenRequests,
        at: UnixTime,
        roots: &[Anchor],
    ) -> Result<(), Rejection> {
        let verified = verify::response(&answer.response(), trust, ledger, at)?;
        let judged = match &verified {
            Verified::Approved(approval) => approval.answer(),
            Verified::Refused(refusal) => refusal.answer(),
        };
        if let Some(pem) = answer.counter() {
            match is_believed(judged, pem, trust, at, roots)? {
                true => self.counters += 1,
                false => self.strange_counters = true,
            }
        }
        self.all.push(judged.clone());
        match verified {
            Verified::Approved(approval) => self.approvals.push(approval),
            Verified::Refused(refusal) => self.refusals.push(refusal),
        }
        Ok(())
    }
}

/// Whether a counter is the signing key's; not, if it is on somebody's word whom nobody here knows. Whether it went
/// forward is for the log to say.
fn is_believed(
    answer: &Answer,
    pem: &str,
    trust: &Trust,
    at: UnixTime,
    roots: &[Anchor],
) -> Result<bool, Rejection> {
    let certificates = read_certificates(pem.as_bytes()).map_err(CounterError::NotBelieved)?;
    let presented = Presented::under(certificates, roots.to_vec());
    let reading = verify::believe_again(presented, verify::holder(trust, answer.key())?, at)?;
    reading.map(|reading| reading.compare(None, answer.signed_at())).transpose()?;
    Ok(reading.is_some())
}

// Here and not in `tests/`: only this crate can take the test authority for Yubico.
#[cfg(all(test, feature = "virtual-card"))]
mod tests;
