//! Cosignatures as they come, one witness after the other, until enough of them saw one checkpoint over an entry.

use std::collections::BTreeMap;

use super::checkpoint::{CheckpointError, SignedCheckpoint};
use super::note::{By, LogKey, Note, Signature};
use super::witness::{Seen, Witnesses};
use crate::unix_time::UnixTime;

/// The most checkpoints of which cosignatures are held. When there are more, those of the shortest are given up: a
/// witness that follows signs the longest sooner or later.
const MAX_CHECKPOINTS: usize = 64;

/// What is awaited, and what came of it.
#[derive(Clone, Debug)]
pub struct Cosigned {
    key: LogKey,
    witnesses: Witnesses,
    index: u64,
    from: UnixTime,
    to: UnixTime,
    /// By size: the log's own signature and those that count.
    found: BTreeMap<u64, Note>,
}

/// Why nothing in a note counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCounted {
    /// It is from before the entry.
    #[error("a checkpoint of {size} entries, in which entry {index} does not stand")]
    Before {
        /// Of the checkpoint.
        size: u64,
        /// Of the entry.
        index: u64,
    },
    /// It is not believed, or no witness of this log signed it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log's key signed two states of one size.
    #[error("the log's key signed another checkpoint of {size} entries, too")]
    Fork {
        /// Of both.
        size: u64,
    },
    /// A witness's clock is wrong.
    #[error("{by} says that it saw the checkpoint at {at}; what counts is from {from} to {to}")]
    Time {
        /// Who.
        by: String,
        /// By its clock.
        at: UnixTime,
        /// From when on it can have been seen.
        from: UnixTime,
        /// By when it must have been.
        to: UnixTime,
    },
}

impl Cosigned {
    /// Awaits that as many of these witnesses as are needed see the entry at `index`, by their clocks not before
    /// `from`, and before `to`.
    pub fn new(key: &LogKey, witnesses: &Witnesses, index: u64, from: UnixTime, to: UnixTime) -> Self {
        let (key, witnesses) = (key.clone(), witnesses.clone());
        Self { key, witnesses, index, from, to, found: BTreeMap::new() }
    }

    /// Takes what a note has of them. Strangers' signatures are passed over.
    ///
    /// # Errors
    /// Any [`NotCounted`]; what came before counts on.
    pub fn add(&mut self, note: &[u8]) -> Result<(), NotCounted> {
        let opened = SignedCheckpoint::open(note, &self.key, &self.witnesses.any())?;
        let size = opened.checkpoint().size;
        if size <= self.index {
            return Err(NotCounted::Before { size, index: self.index });
        }
        let (from, to) = (self.from, self.to);
        let (good, bad): (Vec<&Seen>, Vec<&Seen>) =
            opened.seen().iter().partition(|seen| from <= seen.at && seen.at < to);
        if let ([], [Seen { at, by }, ..]) = (&good[..], &bad[..]) {
            return Err(NotCounted::Time { by: by.clone(), at: *at, from, to });
        }
        let held = self.found.get(&size).cloned();
        let mut held = held.map_or_else(|| bare(opened.note(), &self.key), Ok)?;
        if held.text() != opened.note().text() {
            return Err(NotCounted::Fork { size });
        }
        for witness in self.witnesses.keys() {
            let new = good.iter().any(|seen| seen.by == witness.name());
            if let (true, By::Nobody, By::Once(bytes)) = (new, held.by(witness), opened.note().by(witness)) {
                let (name, bytes) = (witness.name().to_owned(), bytes.to_vec());
                held.add(Signature { name, id: witness.id(), bytes }).map_err(CheckpointError::from)?;
            }
        }
        self.found.insert(size, held);
        if self.found.len() > MAX_CHECKPOINTS {
            self.found.pop_first();
        }
        Ok(())
    }

    /// The longest checkpoint that as many witnesses saw as are needed.
    pub fn enough(&self) -> Option<SignedCheckpoint> {
        let open =
            |note: &Note| SignedCheckpoint::open(note.to_string().as_bytes(), &self.key, &self.witnesses);
        self.found.values().rev().find_map(|note| open(note).ok())
    }

    /// Who saw the checkpoint that most of them saw.
    pub fn seen(&self) -> Vec<&str> {
        let seen = |note: &Note| -> Vec<&str> {
            let keys = self.witnesses.keys().iter();
            keys.filter(|key| matches!(note.by(key), By::Once(_))).map(|key| key.name()).collect()
        };
        self.found.values().map(seen).max_by_key(Vec::len).unwrap_or_default()
    }
}

/// A note under the log's signature alone.
fn bare(note: &Note, key: &LogKey) -> Result<Note, CheckpointError> {
    let mut bare = Note::new(note.text().to_owned())?;
    if let By::Once(bytes) = note.by(key) {
        bare.add(Signature { name: key.name().to_owned(), id: key.id(), bytes: bytes.to_vec() })?;
    }
    Ok(bare)
}

#[cfg(test)]
mod tests;
