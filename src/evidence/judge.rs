//! Decides again, offline, what evidence says was decided: from one digest that the reader kept, and nothing else.

use crate::audit::entry::Outcome;
use crate::card::attestation::{AttestationError, read_certificates};
use crate::challenge::TrustVersion;
use crate::digest::Sha256Digest;
use crate::evidence::{Answered, Decided, Evidence, EvidenceError};
use crate::trust::Trust;
use crate::trust::manifest;
use crate::trust::quorum::{self, Circumstances, QuorumMet};
use crate::unix_time::UnixTime;
use crate::verify::{
    self, Answer, Approval, CLOCK_SKEW, CounterError, OpenRequests, Presented, Refusal, Rejection, Tier,
    Unchecked, Verified,
};

/// What evidence is judged against.
#[derive(Clone, Copy, Debug)]
pub struct Against {
    /// The version of trust that is believed.
    pub pin: TrustVersion,
}

/// What was found to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Approved or refused.
    pub outcome: Outcome,
    /// When it was decided.
    pub at: UnixTime,
    /// Every answer, judged again.
    pub answers: Vec<Answer>,
    /// The weakest evidence of a touch among the answers that made the decision.
    pub tier: Tier,
    /// The digest of statements, signatures and attestations.
    pub digest: Sha256Digest,
    /// What was checked.
    pub checked: Vec<Checked>,
    /// What could not be.
    pub unchecked: Vec<Unchecked>,
}

/// One thing that was seen to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checked {
    /// The files of trust stand in the pinned version.
    Files,
    /// Each statement is what was asked, but for the decision.
    Statements,
    /// Each signature is an enrolled key's, valid when it was made.
    Signatures,
    /// Each signer's evidence of a touch is what the rule demands.
    Touch,
    /// Each counter is the signing key's.
    Counters,
    /// The answers are enough for the decision.
    Quorum,
}

impl Checked {
    /// Its stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::Counters => "counters",
            Self::Files => "files",
            Self::Quorum => "quorum",
            Self::Signatures => "signatures",
            Self::Statements => "statements",
            Self::Touch => "touch",
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
        let carried = &self.trust;
        let proved = manifest::check(&carried.version, carried.size, carried.files.iter().cloned())?;
        Ok(Trust::from_proved(&proved)?)
    }
}

/// Judges everything again: files, statements, signatures, evidence of touch, quorum, as at the moment of the decision.
///
/// The first failure is the answer. What is given opens nothing: that is [`super::gate`]'s part.
///
/// # Errors
/// Any [`EvidenceError`].
pub fn judge(evidence: &Evidence, against: &Against, now: UnixTime) -> Result<Verdict, EvidenceError> {
    let found = evidence.trust.version;
    if found != against.pin {
        return Err(EvidenceError::OtherVersion { found, pinned: against.pin });
    }
    if evidence.challenge.trust != found {
        return Err(EvidenceError::OtherTrust { asked: evidence.challenge.trust, carried: found });
    }
    let trust = evidence.proved_trust()?;
    let decided = evidence.decision.ok_or(EvidenceError::Undecided)?;
    check_decided(evidence, decided, now)?;
    let answers = Answers::judge(evidence, &trust, decided.at)?;
    let (mut checked, mut unchecked) =
        (vec![Checked::Files, Checked::Statements, Checked::Signatures, Checked::Touch], Vec::new());
    if answers.counters > 0 {
        checked.push(Checked::Counters);
    }
    if answers.strange_counters {
        unchecked.push(Unchecked::Counter);
    }
    let all = answers.all;
    let tier = match decided.outcome {
        Outcome::Approved => {
            if let Some(refusal) = answers.refusals.first() {
                return Err(EvidenceError::Refused { person: refusal.answer().person().to_owned() });
            }
            let met = quorum::decide(
                &trust,
                &evidence.challenge,
                answers.approvals,
                Circumstances::default(),
                decided.at,
            )
            .map_err(EvidenceError::NotMet)?;
            weakest(&met)
        }
        Outcome::Refused => {
            let ended = answers.refusals.iter().map(|refusal| refusal.answer().tier()).max();
            ended.ok_or(EvidenceError::NoRefusal)?
        }
        outcome => return Err(EvidenceError::Nobodys { outcome }),
    };
    checked.push(Checked::Quorum);
    unchecked.extend([Unchecked::OtherAnswers, Unchecked::DecisionTime, Unchecked::Log]);
    let digest = evidence.digest();
    Ok(Verdict { outcome: decided.outcome, at: decided.at, answers: all, tier, digest, checked, unchecked })
}

fn weakest(met: &QuorumMet) -> Tier {
    met.approvals().iter().map(|approval| approval.answer().tier()).min().unwrap_or(Tier::Signed)
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
    fn judge(evidence: &Evidence, trust: &Trust, decided_at: UnixTime) -> Result<Self, EvidenceError> {
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
                .add(answer, trust, &mut ledger, at)
                .map_err(|rejection| EvidenceError::Answer { index, rejection })?;
        }
        Ok(answers)
    }

    fn add(
        &mut self,
        answer: &Answered,
        trust: &Trust,
        ledger: &mut OpenRequests,
        at: UnixTime,
    ) -> Result<(), Rejection> {
        let verified = verify::response(&answer.response(), trust, ledger, at)?;
        let judged = match &verified {
            Verified::Approved(approval) => approval.answer(),
            Verified::Refused(refusal) => refusal.answer(),
        };
        if let Some(pem) = answer.counter() {
            match believed(judged, pem, trust, at) {
                Ok(()) => self.counters += 1,
                // Verifiers may know roots that no trust names.
                Err(Rejection::Counter(CounterError::NotBelieved(AttestationError::UnknownIssuer))) => {
                    self.strange_counters = true
                }
                Err(rejection) => return Err(rejection),
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

/// Whether a counter is the signing key's. Whether it went forward is for the log to say.
fn believed(answer: &Answer, pem: &str, trust: &Trust, at: UnixTime) -> Result<(), Rejection> {
    let certificates = read_certificates(pem.as_bytes())
        .map_err(|error| Rejection::Counter(CounterError::NotBelieved(error)))?;
    verify::count(answer, &Presented::new(certificates, &[]), trust, None, at).map(|_| ())
}
