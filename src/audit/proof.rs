//! The receipt: an entry, its place in the log, and the signed checkpoint that its proof leads to.

use serde::{Deserialize, Serialize};

use super::checkpoint::{CheckpointError, SignedCheckpoint};
use super::entry::{Entry, EntryError};
use super::note::LogKey;
use super::tree::{MAX_PROOF, ProofError, leaf_hash, verify_inclusion};
use super::witness::Witnesses;
use crate::digest::Sha256Digest;

/// An entry that stands in the log under a signed checkpoint. Only [`Receipt::check`] and [`Receipt::under`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    entry: Entry,
    line: String,
    index: u64,
    proof: Vec<Sha256Digest>,
    checkpoint: SignedCheckpoint,
}

/// Why an entry is not believed to stand in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The checkpoint is not believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The line is no entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The proof does not lead from the line to the checkpoint.
    #[error("the entry is not proved to stand at {index} of the log: {error}")]
    Proof {
        /// Where it is said to stand.
        index: u64,
        /// What is wrong.
        error: ProofError,
    },
}

impl Receipt {
    /// Checks everything: the line is an entry in its one spelling, the checkpoint is signed by the log's key and by
    /// as many witnesses as are needed, and the proof leads from the line at this index to the checkpoint's root.
    ///
    /// # Errors
    /// Any [`ReceiptError`].
    pub fn check(
        line: &[u8],
        index: u64,
        proof: &[Sha256Digest],
        note: &[u8],
        key: &LogKey,
        witnesses: &Witnesses,
    ) -> Result<Self, ReceiptError> {
        Self::under(&SignedCheckpoint::open(note, key, witnesses)?, line, index, proof)
    }

    /// The same under a checkpoint that was opened, or signed, before: for many entries under one.
    ///
    /// # Errors
    /// Any [`ReceiptError`] but [`ReceiptError::Checkpoint`].
    pub fn under(
        checkpoint: &SignedCheckpoint,
        line: &[u8],
        index: u64,
        proof: &[Sha256Digest],
    ) -> Result<Self, ReceiptError> {
        let entry = Entry::parse(line)?;
        let line = String::from_utf8_lossy(line).into_owned();
        let (size, root) = (checkpoint.checkpoint().size, &checkpoint.checkpoint().root);
        verify_inclusion(&leaf_hash(line.as_bytes()), index, size, proof, root)
            .map_err(|error| ReceiptError::Proof { index, error })?;
        Ok(Self { entry, line, index, proof: proof.to_vec(), checkpoint: checkpoint.clone() })
    }

    /// What was logged.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The same as it stands in the log, without line feed.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Where it stands, counted from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The hashes from the entry to the root, lowest first.
    pub fn proof(&self) -> &[Sha256Digest] {
        &self.proof
    }

    /// The state of the log that it stands in.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// The same for a file.
    pub fn to_log_proof(&self) -> LogProof {
        LogProof {
            index: self.index,
            entry: self.line.clone(),
            proof: Hashes(self.proof.clone()),
            checkpoint: self.checkpoint.note().to_string(),
        }
    }
}

/// A receipt as it stands in a file, not yet checked.
///
/// ```json
/// {"index":17,"entry":"{\"at\":…}","proof":["sha256:…"],"checkpoint":"approve.example.com\n18\n…"}
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogProof {
    /// Where the entry stands, counted from 0.
    pub index: u64,
    /// The entry's line, without line feed.
    pub entry: String,
    /// From the entry to the root, lowest first.
    pub proof: Hashes,
    /// A signed note.
    pub checkpoint: String,
}

impl LogProof {
    /// The receipt, as [`Receipt::check`] makes it.
    ///
    /// # Errors
    /// Any [`ReceiptError`].
    pub fn check(&self, key: &LogKey, witnesses: &Witnesses) -> Result<Receipt, ReceiptError> {
        let (entry, note) = (self.entry.as_bytes(), self.checkpoint.as_bytes());
        Receipt::check(entry, self.index, &self.proof.0, note, key, witnesses)
    }
}

/// The hashes of a proof: no more than one can have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Sha256Digest>")]
pub struct Hashes(pub Vec<Sha256Digest>);

impl TryFrom<Vec<Sha256Digest>> for Hashes {
    type Error = String;

    fn try_from(hashes: Vec<Sha256Digest>) -> Result<Self, String> {
        let found = hashes.len();
        if found <= MAX_PROOF {
            Ok(Self(hashes))
        } else {
            Err(format!("{found} hashes in a proof, {MAX_PROOF} are allowed"))
        }
    }
}

#[cfg(test)]
mod tests;
