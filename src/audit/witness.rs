//! Witnesses: others who sign that they saw a checkpoint grow out of the ones before, and when.
//!
//! # Source
//! C2SP tlog-cosignature v1, its Ed25519 form.

use super::note::{By, MAX_SIGNATURES, Note, WitnessKey};
use crate::unix_time::UnixTime;

/// Bytes of a cosignature: the time, and an Ed25519 signature.
const LENGTH: usize = 8 + 64;

/// The witnesses that trust names, and how many of them must have seen a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witnesses {
    keys: Vec<WitnessKey>,
    needed: usize,
}

/// A witness saw a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// By its own clock.
    pub at: UnixTime,
    /// Whose key.
    pub by: String,
}

/// Why witnesses cannot be named so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessesError {
    /// More are needed than there are.
    #[error("{needed} witnesses are needed, {known} are named")]
    TooFew {
        /// By trust.
        needed: usize,
        /// How many keys there are.
        known: usize,
    },
    /// More than can sign one note beside the log.
    #[error("{known} witnesses are named, at most {} can sign a checkpoint", MAX_SIGNATURES - 1)]
    TooMany {
        /// How many keys there are.
        known: usize,
    },
    /// One key, or one name, twice: it would count twice.
    #[error("the witness {name} is named twice")]
    Twice {
        /// Its name, the second time.
        name: String,
    },
}

/// Why the witnesses do not carry a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// Too few saw it.
    #[error("{found} of the {needed} witnesses that are needed saw the checkpoint")]
    Quorum {
        /// How many did.
        found: usize,
        /// How many must.
        needed: usize,
    },
    /// A cosignature is wrong.
    #[error("the cosignature of the witness {name} is wrong")]
    Signature {
        /// Whose it is said to be.
        name: String,
    },
    /// Two cosignatures by one witness, of which only one can be meant.
    #[error("the witness {name} stands twice under the checkpoint")]
    Twice {
        /// Whose they are said to be.
        name: String,
    },
}

impl Witnesses {
    /// Names the witnesses of a log.
    ///
    /// # Errors
    /// Any [`WitnessesError`].
    pub fn new(keys: Vec<WitnessKey>, needed: usize) -> Result<Self, WitnessesError> {
        let known = keys.len();
        if known >= MAX_SIGNATURES {
            return Err(WitnessesError::TooMany { known });
        }
        if needed > known {
            return Err(WitnessesError::TooFew { needed, known });
        }
        for (at, key) in keys.iter().enumerate() {
            if keys.iter().take(at).any(|before| before.is_of_one_with(key)) {
                return Err(WitnessesError::Twice { name: key.name().to_owned() });
            }
        }
        Ok(Self { keys, needed })
    }

    /// How many must have seen a checkpoint.
    pub fn needed(&self) -> usize {
        self.needed
    }

    /// The same, where one is enough.
    pub(crate) fn any(&self) -> Self {
        Self { keys: self.keys.clone(), needed: self.needed.min(1) }
    }

    /// Who they are.
    pub fn keys(&self) -> &[WitnessKey] {
        &self.keys
    }

    /// Those that saw the checkpoint, earliest first: as many as are needed, and none whose cosignature is wrong.
    pub(crate) fn check(&self, note: &Note) -> Result<Vec<Seen>, WitnessError> {
        let mut seen = Vec::new();
        for key in &self.keys {
            let by = key.name().to_owned();
            match note.by(key) {
                By::Nobody => {}
                By::Once(bytes) => {
                    let at = when(key, bytes, note.text());
                    seen.push(Seen { at: at.ok_or(WitnessError::Signature { name: by.clone() })?, by });
                }
                By::Twice => return Err(WitnessError::Twice { name: by }),
            }
        }
        if seen.len() < self.needed {
            return Err(WitnessError::Quorum { found: seen.len(), needed: self.needed });
        }
        seen.sort_by_key(|seen| seen.at);
        Ok(seen)
    }
}

/// When the witness saw the text, if it is its cosignature at all.
fn when(key: &WitnessKey, bytes: &[u8], text: &str) -> Option<UnixTime> {
    let (time, signature) = bytes.split_first_chunk().filter(|_| bytes.len() == LENGTH)?;
    let at = UnixTime::from_seconds(u64::from_be_bytes(*time))?;
    key.made(signature, message(at, text).as_bytes()).then_some(at)
}

/// The bytes that a witness signs over a checkpoint's text.
pub(crate) fn message(at: UnixTime, text: &str) -> String {
    format!("cosignature/v1\ntime {}\n{text}", at.seconds())
}

#[cfg(test)]
mod tests;
