//! What is wrong with a log, and where.

use std::fmt;

use crate::challenge::TrustVersion;
use crate::digest::Sha256Digest;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The entry, if it is about one.
    pub index: Option<u64>,
    /// What is wrong.
    pub wrong: Wrong,
}

impl Finding {
    pub(super) fn at(index: u64, wrong: Wrong) -> Self {
        Self { index: Some(index), wrong }
    }

    pub(super) fn log(wrong: Wrong) -> Self {
        Self { index: None, wrong }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "entry {index}: {}", self.wrong),
            None => write!(f, "{}", self.wrong),
        }
    }
}

/// What can be wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// An answer that does not verify, or not as what it was logged.
    #[error("the answer does not verify ({code}): {reason}")]
    Answer {
        /// The stable name of the check that failed.
        code: &'static str,
        /// In its words.
        reason: String,
    },
    /// Somebody has seen more of this log than there is.
    #[error(
        "a checkpoint kept elsewhere has {kept} entries, the log only {size}: an older state was restored"
    )]
    Behind {
        /// What was seen.
        kept: u64,
        /// What is there.
        size: u64,
    },
    /// The store was ahead of its log in something else each time, and never stood still.
    #[error("the store was written to each time that it was compared with its log")]
    Busy,
    /// A checkpoint is not the log's.
    #[error("{reason}")]
    Checkpoint {
        /// In its words.
        reason: String,
    },
    /// A counter that is not the signing key's, did not go forward, or counts something else than was logged.
    #[error("the counter of the answer does not hold ({code}): {reason}")]
    Counter {
        /// The stable name of the check that failed.
        code: &'static str,
        /// In its words.
        reason: String,
    },
    /// Deciding again gives something else.
    #[error("decided again, it comes out otherwise: {reason}")]
    Decision {
        /// What differs.
        reason: String,
    },
    /// Not an entry.
    #[error("{reason}")]
    Entry {
        /// In the parser's words.
        reason: String,
    },
    /// Somebody has seen another past.
    #[error(
        "a checkpoint kept elsewhere has another root over the first {size} entries: {kept}, not {found}"
    )]
    Fork {
        /// How many entries both have.
        size: u64,
        /// What was seen.
        kept: Sha256Digest,
        /// What is there.
        found: Sha256Digest,
    },
    /// The line was changed after it was logged.
    #[error("the line is not what was logged")]
    Leaf,
    /// Lines are missing at the end.
    #[error("{found} lines are there, {size} were signed")]
    Lines {
        /// How many there are.
        found: u64,
        /// How many were signed.
        size: u64,
    },
    /// Something that cannot follow what stands before it.
    #[error("{0}")]
    Order(String),
    /// The lines have another root than the one that was signed.
    #[error("the first {size} entries have the root {found}, signed is {signed}")]
    Root {
        /// How many.
        size: u64,
        /// By the log's key.
        signed: Sha256Digest,
        /// Of the lines.
        found: Sha256Digest,
    },
    /// Store and log disagree.
    #[error("store and log disagree: {0}")]
    Store(String),
    /// The hashes from which proofs are made are others than the lines'.
    #[error("the hashes that proofs are made of are not those of the lines")]
    Tables,
    /// A version of trust that is not there, or not what the log says.
    #[error("trust: {0}")]
    Trust(String),
    /// The trust that the log is judged by ends before a version that came into force.
    #[error("trust {found} came into force; the trust here ends with {known}")]
    TrustBehind {
        /// In the log.
        found: TrustVersion,
        /// The last one here.
        known: TrustVersion,
    },
    /// Not the version of trust to which signed updates lead.
    #[error("trust {found} came into force; from the pin the signed updates lead to {leads}")]
    Unvouched {
        /// In the log.
        found: TrustVersion,
        /// The version of that number.
        leads: TrustVersion,
    },
    /// The store did not give what it should have.
    #[error("{reason}")]
    Unreadable {
        /// In its words.
        reason: String,
    },
}

impl Wrong {
    /// Its stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Answer { .. } => "log-answer",
            Self::Behind { .. } => "log-behind",
            Self::Busy => "log-busy",
            Self::Checkpoint { .. } => "log-checkpoint",
            Self::Counter { .. } => "log-counter",
            Self::Decision { .. } => "log-decision",
            Self::Entry { .. } => "log-entry",
            Self::Fork { .. } => "log-fork",
            Self::Leaf => "log-line",
            Self::Lines { .. } => "log-lines",
            Self::Order(_) => "log-order",
            Self::Root { .. } => "log-root",
            Self::Store(_) => "log-store",
            Self::Tables => "log-tables",
            Self::Trust(_) => "log-trust",
            Self::TrustBehind { .. } => "trust-behind",
            Self::Unreadable { .. } => "log-unreadable",
            Self::Unvouched { .. } => "log-trust-chain",
        }
    }

    /// Whether it says no more than that something could not be told.
    pub fn is_unclear(&self) -> bool {
        matches!(self, Self::Busy | Self::TrustBehind { .. })
    }
}
