//! Signed notes: text under the signatures of named keys, and the keys in their one line.
//!
//! ```text
//! approve.example.com
//! 17
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — approve.example.com Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
//! ```
//!
//! # Source
//! C2SP signed-note v1.0.0. A key's line is that of golang.org/x/mod/sumdb/note.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::digest::{Sha256Digest, lower_hex};

/// The most bytes of a note: a checkpoint with the most signatures by keys with the longest names takes half of it.
pub const MAX_NOTE: usize = 16 << 10;
/// The most signatures under a note: as many as every verifier must accept.
pub const MAX_SIGNATURES: usize = 16;

/// The most bytes of a key's name: two more than a host name has.
const MAX_NAME: usize = 255;

/// What stands before a signature's key name.
const DASH: &str = "— ";

/// A text and who is said to have signed it; nothing of it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// A signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Of the key, in its owner's words.
    pub name: String,
    /// Of the key: the first bytes of a hash of it.
    pub id: [u8; 4],
    /// What the key made; its form is the key's matter.
    pub bytes: Vec<u8>,
}

/// Why bytes are not a note.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not the form of a note.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// More than [`MAX_NOTE`] bytes.
    #[error("the note takes {length} bytes, {MAX_NOTE} are allowed")]
    TooLarge {
        /// How many there are.
        length: usize,
    },
    /// More than [`MAX_SIGNATURES`] signatures.
    #[error("more than {MAX_SIGNATURES} signatures under the note")]
    TooManySignatures,
}

impl Note {
    /// A text that nobody signed yet.
    ///
    /// # Errors
    /// [`NoteError`]: not every text can be signed.
    pub fn new(text: String) -> Result<Self, NoteError> {
        check_text(&text)?;
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// Any [`NoteError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE {
            return Err(NoteError::TooLarge { length: bytes.len() });
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Malformed("not UTF-8"))?;
        // The text may have empty lines: the last one separates.
        let end = note.rfind("\n\n").ok_or(NoteError::Malformed("no empty line before the signatures"))?;
        let (text, rest) = note.split_at(end + 1);
        check_text(text)?;
        let lines = rest
            .strip_prefix('\n')
            .and_then(|lines| lines.strip_suffix('\n'))
            .ok_or(NoteError::Malformed("no signature that ends in a line feed"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            let signature = Signature::parse(line);
            signatures.push(signature.ok_or(NoteError::Malformed("a line that is no signature"))?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// What is signed, with its last line feed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, as they stand.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Puts a signature under it.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`] and [`NoteError::TooLarge`].
    pub fn add(&mut self, signature: Signature) -> Result<(), NoteError> {
        if self.signatures.len() == MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let length = self.to_string().len() + signature.to_string().len();
        if length > MAX_NOTE {
            return Err(NoteError::TooLarge { length });
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// The one signature that this key is said to have made.
    pub(crate) fn by<const KIND: u8>(&self, key: &Key<KIND>) -> By<'_> {
        let mut found = self.signatures.iter().filter(|made| made.name == key.name && made.id == key.id);
        match (found.next(), found.next()) {
            (None, _) => By::Nobody,
            (Some(signature), None) => By::Once(&signature.bytes),
            (Some(_), Some(_)) => By::Twice,
        }
    }
}

/// How often a key's name stands under a note.
pub(crate) enum By<'a> {
    /// Not at all.
    Nobody,
    /// As it should.
    Once(&'a [u8]),
    /// Of which only one can be meant.
    Twice,
}

/// The whole note.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| signature.fmt(f))
    }
}

impl Signature {
    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(DASH)?.split_once(' ')?;
        let (id, bytes) =
            STANDARD.decode(encoded).ok()?.split_first_chunk().map(|(a, b)| (*a, b.to_vec()))?;
        (is_name(name) && !bytes.is_empty()).then(|| Self { name: name.to_owned(), id, bytes })
    }
}

/// The line, with its line feed.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = STANDARD.encode([self.id.as_slice(), &self.bytes].concat());
        writeln!(f, "{DASH}{} {encoded}", self.name)
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if text.len() > MAX_NOTE {
        return Err(NoteError::TooLarge { length: text.len() });
    }
    if text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(NoteError::Malformed("a control character"));
    }
    if text.len() < 2 || !text.ends_with('\n') {
        return Err(NoteError::Malformed("no text that ends in a line feed"));
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    (1..=MAX_NAME).contains(&name.len()) && !name.contains(forbidden)
}

/// A public Ed25519 key under a name, for signatures of one kind.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key<const KIND: u8> {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

/// A log's key: signs checkpoints as they are.
pub type LogKey = Key<0x01>;

/// A witness's key: signs that it saw a checkpoint, and when.
pub type WitnessKey = Key<0x04>;

/// The line is no key of the kind that is needed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The number in the line is not the one that name and key give.
    #[error("the key's number is {found}, name and key give {expected}")]
    Id {
        /// In the line.
        found: String,
        /// Of what else stands there.
        expected: String,
    },
    /// A key of another kind.
    #[error("a key of kind {found:#04x} where one of kind {expected:#04x} is needed")]
    Kind {
        /// In the line.
        found: u8,
        /// For this use.
        expected: u8,
    },
    /// Not the form of a key.
    #[error("not a key of the form name+12345678+base64: {0}")]
    Malformed(&'static str),
    /// A name that no key may have.
    #[error("{name:?} cannot name a key: 1 to {MAX_NAME} bytes without spaces and plus signs")]
    Name {
        /// As it was given.
        name: String,
    },
}

impl<const KIND: u8> Key<KIND> {
    /// Names a public key.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name { name: name.to_owned() });
        }
        let hash = Sha256Digest::of_parts(&[name.as_bytes(), b"\n", &[KIND], &public]);
        let id = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        Ok(Self { name: name.to_owned(), id, public })
    }

    /// Its name; of a log's key, the origin of its checkpoints.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first bytes of a hash over name, kind and key.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// Whether the two could be taken for each other: one name or one key.
    pub(crate) fn is_of_one_with(&self, other: &Self) -> bool {
        self.name == other.name || self.public == other.public
    }

    /// Whether this key made this Ed25519 signature over these bytes.
    pub(crate) fn made(&self, signature: &[u8], message: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public).verify(message, signature).is_ok()
    }
}

/// `name+12345678+base64`: the line that stands in trust.
impl<const KIND: u8> fmt::Display for Key<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoded = STANDARD.encode([&[KIND], self.public.as_slice()].concat());
        write!(f, "{}+{}+{encoded}", self.name, hex(self.id))
    }
}

impl<const KIND: u8> fmt::Debug for Key<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const KIND: u8> FromStr for Key<KIND> {
    type Err = KeyError;

    fn from_str(line: &str) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed;
        // Base64 has plus signs too, names have none.
        let (name, rest) = line.split_once('+').ok_or(malformed("no plus sign"))?;
        let (id, encoded) = rest.split_once('+').ok_or(malformed("only one plus sign"))?;
        if lower_hex(id).is_none_or(|id| id.len() != 4) {
            return Err(malformed("the number is not eight lower-case hexadecimal digits"));
        }
        let bytes = STANDARD.decode(encoded).map_err(|_| malformed("the key is not base64"))?;
        let (&kind, public) = bytes.split_first().ok_or(malformed("the key is empty"))?;
        if kind != KIND {
            return Err(KeyError::Kind { found: kind, expected: KIND });
        }
        let public = public.try_into().map_err(|_| malformed("the key has not 32 bytes"))?;
        let key = Self::new(name, public)?;
        let expected = hex(key.id);
        if id == expected { Ok(key) } else { Err(KeyError::Id { found: id.to_owned(), expected }) }
    }
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

#[cfg(test)]
mod tests;
