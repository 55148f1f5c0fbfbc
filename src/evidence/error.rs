//! Why evidence shows nothing: one stable code for each reason, explained in `docs/rejections.md`.

use crate::audit::entry::Outcome;
use crate::audit::proof::ReceiptError;
use crate::challenge::TrustVersion;
use crate::evidence::{Later, MAX_EVIDENCE};
use crate::grant::GrantRejection;
use crate::statement::StatementError;
use crate::trust::TrustError;
use crate::trust::chain::UpdateError;
use crate::trust::manifest::ManifestError;
use crate::trust::quorum::NotMet;
use crate::unix_time::UnixTime;
use crate::verify::Rejection;

/// The first check that evidence failed.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// An answer does not hold.
    #[error("answer {index}: {rejection}")]
    Answer {
        /// Counted from 0, as they stand in the file.
        index: usize,
        /// Why not.
        rejection: Rejection,
    },
    /// An answer came before it was asked for, or after the decision that it should have led to.
    #[error("answer {index} was received at {received}, outside {from} to {to}")]
    AnswerTime {
        /// Counted from 0, as they stand in the file.
        index: usize,
        /// By the verifier's clock, it says.
        received: UnixTime,
        /// When the request was issued.
        from: UnixTime,
        /// When it was decided.
        to: UnixTime,
    },
    /// The challenge breaks the grammar.
    #[error("the challenge is malformed: {0}")]
    Challenge(StatementError),
    /// It says to have been decided when nobody could.
    #[error("decided at {at}, outside {from} to {to}")]
    DecisionTime {
        /// By the verifier's clock, it says.
        at: UnixTime,
        /// The earliest.
        from: UnixTime,
        /// The latest.
        to: UnixTime,
    },
    /// What it permits has ended, or not begun.
    #[error("good from {from} until {to}; it is {now}")]
    Ended {
        /// The gate's clock.
        now: UnixTime,
        /// From here.
        from: UnixTime,
        /// Until just before here.
        to: UnixTime,
    },
    /// The log has the decision otherwise.
    #[error("the log's entry has another {what}")]
    EntryDiffers {
        /// Which part.
        what: &'static str,
    },
    /// A file does not belong to the version that it is carried for.
    #[error(transparent)]
    File(#[from] ManifestError),
    /// Two checkpoints of the log contradict each other.
    #[error("two checkpoints of size {size} with different roots: the log was forked")]
    Fork {
        /// The size of both.
        size: u64,
    },
    /// The grant says something else than what was approved, or what the rule gives for it.
    #[error("the grant's {what} is not what was approved")]
    GrantDiffers {
        /// Which claim.
        what: String,
    },
    /// What became of keys and people since then is not known.
    #[error("the newest trust is not known, or is older than the decision")]
    LaterUnknown,
    /// The log does not show it.
    #[error(transparent)]
    Log(#[from] ReceiptError),
    /// Not JSON of this shape.
    #[error("not evidence: {reason}")]
    Malformed {
        /// What is wrong, and where.
        reason: String,
    },
    /// What was approved permits nothing.
    #[error("it gives no grant")]
    NoGrant,
    /// What was approved then would not be today.
    #[error("it would not be given any more under trust {newest}{}", listed(later))]
    NoLongerGiven {
        /// The newest trust that is known.
        newest: TrustVersion,
        /// What it says about the keys that signed.
        later: Vec<Later>,
    },
    /// The trust that it was decided under names no log.
    #[error("its trust names no log_key to check the log by")]
    NoLogKey,
    /// It was asked without a key, so that whoever has the file could present it.
    #[error("it was asked for without a requester-key: anybody could present it")]
    NoPresenter,
    /// Nobody refused, and still it says that the request was refused.
    #[error("nobody refused")]
    NoRefusal,
    /// A gate takes approvals alone.
    #[error("it was not approved")]
    NotApproved,
    /// Something else was approved than what is about to be done.
    #[error(transparent)]
    NotFor(Box<GrantRejection>),
    /// It does not come with its proof that it stands in the log.
    #[error("it has no proof that it stands in the log")]
    NotLogged,
    /// The answers do not suffice for a yes.
    #[error("the answers do not make the decision: {0}")]
    NotMet(NotMet),
    /// Another entry than the one by which the next version of trust came into force.
    #[error("not the log's entry by which trust {expected} came into force")]
    NotNext {
        /// The number of the next version.
        expected: u64,
    },
    /// Nobody's answer made this decision: there is nothing to show.
    #[error("the request {}; only approvals and refusals can be shown", outcome.words())]
    Nobodys {
        /// How it ended.
        outcome: Outcome,
    },
    /// Asked for with another key than the one that presents it.
    #[error("it was asked for with another key than the one that presents it")]
    OtherPresenter,
    /// It carries files of another version than the one that was asked under.
    #[error("asked under trust {asked}, with files of trust {carried}")]
    OtherTrust {
        /// What the challenge names.
        asked: TrustVersion,
        /// What the files belong to.
        carried: TrustVersion,
    },
    /// The version that it was decided under is not the one that is pinned.
    #[error("decided under trust {found}; {pinned} is pinned")]
    OtherVersion {
        /// What it carries.
        found: TrustVersion,
        /// What is believed.
        pinned: TrustVersion,
    },
    /// Somebody refused who could, and still it says that the request was approved.
    #[error("{person} refused")]
    Refused {
        /// Who.
        person: String,
    },
    /// A newer version of trust was in force already.
    #[error("entry {decided} of the log, after trust {by} came into force at entry {at}")]
    Superseded {
        /// The newer one.
        by: TrustVersion,
        /// Where it came into force.
        at: u64,
        /// Where the decision stands.
        decided: u64,
    },
    /// More than [`MAX_EVIDENCE`] bytes.
    #[error("{length} bytes, {MAX_EVIDENCE} are allowed")]
    TooLarge {
        /// How many.
        length: usize,
    },
    /// More of something than is read.
    #[error("more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// The files, though of the right version, are not trust.
    #[error("the trust that it carries does not load: {0}")]
    Trust(#[from] TrustError),
    /// The newest trust that is known is past its date.
    #[error("trust was valid until {valid_until}; it is {now}")]
    TrustEnded {
        /// The gate's clock.
        now: UnixTime,
        /// From policy.toml.
        valid_until: UnixTime,
    },
    /// It says how nothing ended.
    #[error("it holds answers and no decision")]
    Undecided,
    /// The update of trust that it shows does not hold.
    #[error(transparent)]
    Update(Box<UpdateError>),
}

fn listed(later: &[Later]) -> String {
    later.iter().map(|later| format!("; {later}")).collect()
}

impl From<GrantRejection> for EvidenceError {
    fn from(rejection: GrantRejection) -> Self {
        Self::NotFor(Box::new(rejection))
    }
}

impl From<UpdateError> for EvidenceError {
    fn from(error: UpdateError) -> Self {
        Self::Update(Box::new(error))
    }
}

impl EvidenceError {
    /// The stable name of this reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Answer { rejection, .. } => rejection.code(),
            Self::AnswerTime { .. } => "answer-time",
            Self::Challenge(error) => error.code(),
            Self::DecisionTime { .. } => "decision-time",
            Self::Ended { .. } => "ended",
            Self::EntryDiffers { .. } => "log-entry-differs",
            Self::File(_) => "file-not-proved",
            Self::Fork { .. } => "log-forked",
            Self::GrantDiffers { .. } => "grant-differs",
            Self::LaterUnknown => "later-unknown",
            Self::Log(_) => "log-proof",
            Self::Malformed { .. } => "evidence-malformed",
            Self::NoGrant => "no-grant",
            Self::NoLogKey => "no-log-key",
            Self::NoLongerGiven { .. } => "no-longer-given",
            Self::NoPresenter => "no-requester-key",
            Self::NoRefusal => "no-refusal",
            Self::NotApproved => "not-approved",
            Self::NotFor(rejection) => rejection.code(),
            Self::NotLogged => "not-logged",
            Self::Nobodys { .. } => "nobodys-decision",
            Self::NotMet(_) => "quorum-not-met",
            Self::NotNext { .. } => "not-next-trust",
            Self::OtherPresenter => "requester-key-differs",
            Self::OtherTrust { .. } => "trust-version",
            Self::OtherVersion { found, pinned } if found.number < pinned.number => "pin-newer",
            Self::OtherVersion { found, pinned } if found.number > pinned.number => "pin-older",
            Self::OtherVersion { .. } => "trust-pin-differs",
            Self::Refused { .. } => "refused-too",
            Self::Superseded { .. } => "superseded",
            Self::TooLarge { .. } => "evidence-too-large",
            Self::TooMany { .. } => "evidence-too-many",
            Self::Trust(_) => "bad-trust",
            Self::TrustEnded { .. } => "trust-expired",
            Self::Undecided => "undecided",
            Self::Update(error) => error.code(),
        }
    }
}
