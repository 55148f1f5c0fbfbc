//! Why evidence shows nothing: one stable code for each reason, explained in `docs/rejections.md`.

use crate::audit::entry::Outcome;
use crate::challenge::TrustVersion;
use crate::evidence::MAX_EVIDENCE;
use crate::statement::StatementError;
use crate::trust::TrustError;
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
    /// A file does not belong to the version that it is carried for.
    #[error(transparent)]
    File(#[from] ManifestError),
    /// Not JSON of this shape.
    #[error("not evidence: {reason}")]
    Malformed {
        /// What is wrong, and where.
        reason: String,
    },
    /// Nobody refused, and still it says that the request was refused.
    #[error("nobody refused")]
    NoRefusal,
    /// The answers do not suffice for a yes.
    #[error("the answers do not make the decision: {0}")]
    NotMet(NotMet),
    /// Nobody's answer made this decision: there is nothing to show.
    #[error("the request {}; only approvals and refusals can be shown", outcome.words())]
    Nobodys {
        /// How it ended.
        outcome: Outcome,
    },
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
    /// It says how nothing ended.
    #[error("it holds answers and no decision")]
    Undecided,
}

impl EvidenceError {
    /// The stable name of this reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Answer { rejection, .. } => rejection.code(),
            Self::AnswerTime { .. } => "answer-time",
            Self::Challenge(error) => error.code(),
            Self::DecisionTime { .. } => "decision-time",
            Self::File(_) => "file-not-proved",
            Self::Malformed { .. } => "evidence-malformed",
            Self::NoRefusal => "no-refusal",
            Self::Nobodys { .. } => "nobodys-decision",
            Self::NotMet(_) => "quorum-not-met",
            Self::OtherTrust { .. } => "trust-version",
            Self::OtherVersion { found, pinned } if found.number < pinned.number => "pin-newer",
            Self::OtherVersion { found, pinned } if found.number > pinned.number => "pin-older",
            Self::OtherVersion { .. } => "trust-pin-differs",
            Self::Refused { .. } => "refused-too",
            Self::TooLarge { .. } => "evidence-too-large",
            Self::TooMany { .. } => "evidence-too-many",
            Self::Trust(_) => "bad-trust",
            Self::Undecided => "undecided",
        }
    }
}
