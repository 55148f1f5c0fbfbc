//! Why evidence shows nothing: one stable code for each reason, explained in `docs/rejections.md`.

use crate::evidence::MAX_EVIDENCE;
use crate::statement::StatementError;
use crate::verify::Rejection;

/// The first check that evidence failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// An answer does not hold.
    #[error("answer {index}: {rejection}")]
    Answer {
        /// Counted from 0, as they stand in the file.
        index: usize,
        /// Why not.
        rejection: Rejection,
    },
    /// The challenge breaks the grammar.
    #[error("the challenge is malformed: {0}")]
    Challenge(StatementError),
    /// Not JSON of this shape.
    #[error("not evidence: {reason}")]
    Malformed {
        /// What is wrong, and where.
        reason: String,
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
}

impl EvidenceError {
    /// The stable name of this reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Answer { rejection, .. } => rejection.code(),
            Self::Challenge(error) => error.code(),
            Self::Malformed { .. } => "evidence-malformed",
            Self::TooLarge { .. } => "evidence-too-large",
            Self::TooMany { .. } => "evidence-too-many",
        }
    }
}
