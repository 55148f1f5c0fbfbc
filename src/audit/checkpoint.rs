//! Checkpoints: the log's name, size and root, signed by its key and by the witnesses who saw it.
//!
//! ```text
//! approve.example.com
//! 17
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```
//!
//! # Source
//! C2SP tlog-checkpoint v1.0.0; no extension lines, which nobody could audit.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::note::{By, KeyError, LogKey, Note, NoteError, Signature};
use super::witness::{Seen, WitnessError, Witnesses};
use crate::digest::Sha256Digest;

/// The state of a log, in its text's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root over them.
    pub root: Sha256Digest,
}

/// Why a checkpoint is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Its text is none of a checkpoint.
    #[error("not a checkpoint: {0}")]
    Malformed(&'static str),
    /// It is not even a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// It is another log's.
    #[error("a checkpoint of {found}, not of {expected}")]
    Origin {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The log's signature is wrong.
    #[error("the signature of {key} over the checkpoint is wrong")]
    Signature {
        /// The log's key.
        key: String,
    },
    /// The log's key did not sign it, or signed it twice.
    #[error("the checkpoint does not carry exactly one signature of {key}")]
    Unsigned {
        /// The log's key.
        key: String,
    },
    /// The witnesses do not carry it.
    #[error(transparent)]
    Witness(#[from] WitnessError),
}

impl Checkpoint {
    /// Reads the text, and only what `Display` writes.
    ///
    /// # Errors
    /// [`CheckpointError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let malformed = CheckpointError::Malformed;
        let lines = text.strip_suffix('\n').ok_or(malformed("no line feed at the end"))?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(malformed("not three lines"));
        };
        if origin.is_empty() {
            return Err(malformed("no origin"));
        }
        let decoded = STANDARD.decode(root).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let root = decoded.ok_or(malformed("the root is not 32 bytes of base64"))?.into();
        let size = size.parse().map_err(|_| malformed("the size is not a number"))?;
        let checkpoint = Self { origin: origin.to_owned(), size, root };
        // A number has more than one spelling.
        if checkpoint.to_string() == text {
            Ok(checkpoint)
        } else {
            Err(malformed("the size has a sign or leading zeros"))
        }
    }
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }
}

/// A checkpoint whose signatures were checked. Only [`SignedCheckpoint::open`] makes one, and the log's own signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    key: LogKey,
    checkpoint: Checkpoint,
    note: Note,
    seen: Vec<Seen>,
    needed: usize,
}

impl SignedCheckpoint {
    /// Reads a note and believes it: the log's key signed it once, so did as many witnesses as are needed, and no
    /// signature by any of these keys is wrong. Signatures of others are passed over.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn open(note: &[u8], key: &LogKey, witnesses: &Witnesses) -> Result<Self, CheckpointError> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != key.name() {
            let (found, expected) = (checkpoint.origin, key.name().to_owned());
            return Err(CheckpointError::Origin { found, expected });
        }
        let By::Once(signature) = note.by(key) else {
            return Err(CheckpointError::Unsigned { key: key.to_string() });
        };
        if !key.made(signature, note.text().as_bytes()) {
            return Err(CheckpointError::Signature { key: key.to_string() });
        }
        let seen = witnesses.check(&note)?;
        Ok(Self { key: key.clone(), checkpoint, note, seen, needed: witnesses.needed() })
    }

    /// The log's key that it was opened under.
    pub fn key(&self) -> &LogKey {
        &self.key
    }

    /// What was signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, with all its signatures.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The witnesses that saw it, earliest first.
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// When as many witnesses as are needed had seen it; nothing if none are needed.
    pub fn witnessed(&self) -> Option<&Seen> {
        self.seen.get(self.needed.checked_sub(1)?)
    }
}

/// Whoever can sign for a log. The private key never leaves it.
pub struct LogSigner {
    key: LogKey,
    pair: Ed25519KeyPair,
}

/// The bytes are no private key, or the name cannot name one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// The system's randomness, or the library, failed.
    #[error("no key could be generated")]
    Generate,
    /// The name cannot name a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not the PKCS#8 form of an Ed25519 key.
    #[error("not an Ed25519 private key in PKCS#8")]
    Pkcs8,
}

impl LogSigner {
    /// Makes a key for the log of this name: the signer, and the PKCS#8 form to be kept.
    ///
    /// # Errors
    /// [`SignerError`].
    pub fn generate(name: &str) -> Result<(Self, Zeroizing<Vec<u8>>), SignerError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| SignerError::Generate)?;
        let pkcs8 = pair.to_pkcs8().map_err(|_| SignerError::Generate)?;
        let pkcs8 = Zeroizing::new(pkcs8.as_ref().to_vec());
        Ok((Self::from_pkcs8(name, &pkcs8)?, pkcs8))
    }

    /// The signer of a key that was kept.
    ///
    /// # Errors
    /// [`SignerError`].
    pub fn from_pkcs8(name: &str, pkcs8: &[u8]) -> Result<Self, SignerError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| SignerError::Pkcs8)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| SignerError::Pkcs8)?;
        Ok(Self { key: LogKey::new(name, public)?, pair })
    }

    /// Its public half.
    pub fn key(&self) -> &LogKey {
        &self.key
    }

    /// Signs that its log has this size and this root, and says so as a note. It must never have said otherwise.
    pub fn sign(&self, size: u64, root: Sha256Digest) -> SignedCheckpoint {
        let checkpoint = Checkpoint { origin: self.key.name().to_owned(), size, root };
        let bytes = self.pair.sign(checkpoint.to_string().as_bytes()).as_ref().to_vec();
        let signature = Signature { name: self.key.name().to_owned(), id: self.key.id(), bytes };
        let note = Note::new(checkpoint.to_string()).and_then(|mut note| note.add(signature).map(|()| note));
        let note = note.expect("a checkpoint is a short text of three lines");
        SignedCheckpoint { key: self.key.clone(), checkpoint, note, seen: Vec::new(), needed: 0 }
    }
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogSigner").field(&self.key).finish()
    }
}

#[cfg(test)]
mod tests;
