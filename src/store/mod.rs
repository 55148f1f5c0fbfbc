//! What a verifier keeps: requests, answers, grants, counters and the log, each change all or nothing.
//!
//! Whoever changes something says what it was when they looked at it. Of two that race for one answer, use or
//! revision exactly one wins; the other learns that it was overtaken, looks again and decides again.

pub mod sqlite;

use sequoia_openpgp::Fingerprint;

use crate::audit::entry::Outcome;
use crate::audit::export::Entries;
use crate::audit::tree::{Hashes, TreeError};
use crate::audit::{Entry, Receipt, SignedCheckpoint, Witnesses};
use crate::challenge::{Challenge, RequestId, TrustVersion};
use crate::digest::Sha256Digest;
use crate::request::Resource;
use crate::response::Response;
use crate::trust::Files;
use crate::unix_time::UnixTime;
use crate::verify::Counter;

/// One part of a change: what is written, and what must hold for it.
#[derive(Clone, Debug)]
pub enum Op {
    /// A request comes to its end: it was open, at this revision, and no other step on it came between.
    Close {
        /// Which.
        request: RequestId,
        /// What it was when it was looked at.
        revision: u32,
        /// How it ends.
        outcome: Outcome,
    },
    /// What is known of a key's counter was `before`, and is `after`.
    Counter {
        /// Whose.
        key: Fingerprint,
        /// When it was looked at.
        before: Option<Counter>,
        /// From now on.
        after: Counter,
    },
    /// A break-glass grant leaves a debt on its resource.
    Debt {
        /// The request that went through the glass.
        request: RequestId,
        /// What it was for.
        resource: Resource,
    },
    /// The break-glass debts that are open on a resource are these, oldest first.
    Debts {
        /// Of what.
        resource: Resource,
        /// When they were looked at.
        seen: Vec<RequestId>,
    },
    /// A grant is made. There is none for this request yet.
    Grant(GrantRecord),
    /// An entry is appended to the log, after those before it in this change.
    Log(Entry),
    /// Written once: this rejection of an answer by this person was not logged before. Otherwise [`CommitError::Again`].
    Once {
        /// What was answered.
        request: RequestId,
        /// By whose key.
        person: String,
        /// Why it was rejected.
        code: &'static str,
    },
    /// A request is opened. Its name is new, and no open request has its short code.
    Open(Box<Challenge>),
    /// A grant is revoked that was not yet, and was used as often as when it was looked at.
    Revoke {
        /// Which.
        grant: RequestId,
        /// How often it was used when it was looked at.
        used: u32,
        /// From when.
        at: UnixTime,
    },
    /// A debt is settled that is open.
    Settle {
        /// The request that went through the glass.
        request: RequestId,
    },
    /// An answer is recorded: the request is at this revision, which grows by one, and this person did not give this
    /// decision on it before. Requests that are decided take answers too: a refusal then revokes.
    Step {
        /// What is answered.
        request: RequestId,
        /// What it was when it was looked at.
        revision: u32,
        /// The answer.
        answer: Box<AnswerRecord>,
    },
    /// A version of trust comes into force: the newest that is known is `before`, and older than it.
    Trust {
        /// When it was looked at.
        before: Option<TrustVersion>,
        /// Its number and digest.
        version: TrustVersion,
        /// Its files, kept so that entries can be judged again years later.
        files: Files,
    },
    /// The newest version of trust is this one: nothing is asked, decided or used under one that was replaced.
    Under(TrustVersion),
    /// A grant is used once more: it is not revoked, not past its end, uses are left, and this is the next one
    /// (otherwise [`CommitError::Overtaken`]).
    Use {
        /// The how-manieth use this is, counted from 1.
        count: u32,
        /// Which.
        grant: RequestId,
        /// By the verifier's clock.
        at: UnixTime,
    },
}

/// An answer as it was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerRecord {
    /// Who gave it.
    pub person: String,
    /// `approve` or `refuse`.
    pub decision: &'static str,
    /// Statement and signature.
    pub response: Response,
    /// The attestation of the key's counter that came with it, PEM.
    pub counter: Option<String>,
    /// By the verifier's clock.
    pub at: UnixTime,
}

/// A request and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// As it was issued.
    pub challenge: Challenge,
    /// Grows with each answer.
    pub revision: u32,
    /// How it ended, if it did.
    pub outcome: Option<Outcome>,
    /// In the order in which they came.
    pub answers: Vec<AnswerRecord>,
}

/// A grant and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRecord {
    /// The request that it came of, and its own name.
    pub request: RequestId,
    /// What the token says, as JSON.
    pub claims: String,
    /// From here on it is worth nothing.
    pub expires: UnixTime,
    /// How often it may be used.
    pub uses: u32,
    /// How often it was.
    pub used: u32,
    /// Since when it is worth nothing.
    pub revoked: Option<UnixTime>,
}

/// Where an entry stands: whatever the store needs to find it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// Why nothing of a change was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// This person gave this decision on this request before.
    #[error("the answer was given before")]
    Again,
    /// The grant does not allow it.
    #[error("the grant {0}")]
    Grant(Unusable),
    /// What the change was made of is not so any more. Look again.
    #[error("somebody else was faster")]
    Overtaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a grant cannot be used or revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Past its end.
    #[error("has expired")]
    Expired,
    /// Revoked.
    #[error("was revoked")]
    Revoked,
    /// Used as often as it may be; or used, where it was to be revoked.
    #[error("was used")]
    Spent,
    /// There is none.
    #[error("does not exist")]
    Unknown,
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct StoreError {
    /// The file or table, and what was to be done.
    pub what: String,
    /// The library's words.
    pub reason: String,
}

/// A verifier's memory. Everything that it hands out was durable before.
pub trait Store: Send + Sync {
    /// Writes all of a change or nothing, durably, and says where its entries stand.
    ///
    /// # Errors
    /// Any [`CommitError`]: nothing was written.
    fn commit(&self, change: &[Op]) -> Result<Vec<Position>, CommitError>;

    /// A request by its name.
    ///
    /// # Errors
    /// If the store fails, or holds what cannot be read.
    fn request(&self, request: &RequestId) -> Result<Option<RequestRecord>, StoreError>;

    /// The requests that are open, oldest first.
    ///
    /// # Errors
    /// If the store fails.
    fn open_requests(&self) -> Result<Vec<RequestId>, StoreError>;

    /// A grant by the request that it came of.
    ///
    /// # Errors
    /// If the store fails.
    fn grant(&self, request: &RequestId) -> Result<Option<GrantRecord>, StoreError>;

    /// The grants that are neither expired at `now`, nor revoked, nor used up.
    ///
    /// # Errors
    /// If the store fails.
    fn live_grants(&self, now: UnixTime) -> Result<Vec<GrantRecord>, StoreError>;

    /// What is known of a key's counter.
    ///
    /// # Errors
    /// If the store fails.
    fn counter(&self, key: &Fingerprint) -> Result<Option<Counter>, StoreError>;

    /// The requests whose break-glass debts on this resource are open.
    ///
    /// # Errors
    /// If the store fails.
    fn debts(&self, resource: &Resource) -> Result<Vec<RequestId>, StoreError>;

    /// The newest version of trust that was in force here.
    ///
    /// # Errors
    /// If the store fails.
    fn trust(&self) -> Result<Option<TrustVersion>, StoreError>;

    /// The files of a version that was in force here.
    ///
    /// # Errors
    /// If the store fails.
    fn trust_files(&self, version: &TrustVersion) -> Result<Option<Files>, StoreError>;

    /// The log's receipt for an entry, under the newest checkpoint that the witnesses carry. It may have to wait until
    /// the entry has its place in the tree.
    ///
    /// # Errors
    /// If the store fails, or the entry does not prove to stand in the log.
    fn receipt(&self, position: Position, witnesses: &Witnesses) -> Result<Receipt, StoreError>;

    /// Where the entries about a request and its grant stand, in their order.
    ///
    /// # Errors
    /// If the store fails.
    fn about(&self, request: &RequestId) -> Result<Vec<Position>, StoreError>;

    /// The newest checkpoint of the log. There is one from the beginning on, of no entries.
    ///
    /// # Errors
    /// If the store fails, or the checkpoint is not the log's.
    fn checkpoint(&self) -> Result<SignedCheckpoint, StoreError>;

    /// The checkpoints that were ever signed, one for each commit, from this size on in their order: signed notes,
    /// `most` at most, not judged.
    ///
    /// # Errors
    /// If the store fails.
    fn checkpoints(&self, from: u64, most: usize) -> Result<Vec<String>, StoreError>;

    /// Keeps a checkpoint of this log with the cosignatures of witnesses, for receipts to come.
    ///
    /// # Errors
    /// If the store fails, or it is no checkpoint of this log.
    fn witness(&self, seen: &SignedCheckpoint) -> Result<(), StoreError>;

    /// The lines of the log from this index on in their order, `most` at most, not judged.
    ///
    /// # Errors
    /// If the store fails, or one is missing.
    fn lines(&self, from: u64, most: usize) -> Result<Vec<String>, StoreError>;

    /// The root of the complete subtree of `2^level` entries that is the `index`th from the left.
    ///
    /// # Errors
    /// If the store fails, or has no such subtree.
    fn hash(&self, level: u32, index: u64) -> Result<Sha256Digest, StoreError>;
}

/// A store as the hashes of its log's tree, and its entries: for roots, proofs and exports.
pub struct LogHashes<'a>(pub &'a dyn Store);

impl Hashes for LogHashes<'_> {
    fn hash(&self, level: u32, index: u64) -> Result<Sha256Digest, TreeError> {
        let missing = |error: StoreError| TreeError::Missing { level, index, reason: error.to_string() };
        self.0.hash(level, index).map_err(missing)
    }
}

impl Entries for LogHashes<'_> {
    fn entries(&self, start: u64, end: u64) -> Result<Vec<Vec<u8>>, String> {
        let most = usize::try_from(end.saturating_sub(start)).map_err(|error| error.to_string())?;
        let lines = self.0.lines(start, most).map_err(|error| error.to_string())?;
        Ok(lines.into_iter().map(String::into_bytes).collect())
    }
}
