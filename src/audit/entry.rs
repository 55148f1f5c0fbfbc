//! What is logged: one JSON object a line, in exactly one spelling.
//!
//! ```json
//! {"at":"2026-11-20T04:07:00Z","challenge":"touchgate v1 challenge\n…","type":"asked"}
//! ```
//!
//! Keys are sorted, no space stands between tokens, numbers are whole: RFC 8785's form of what stands here.

use serde::{Deserialize, Serialize};

use crate::challenge::{Challenge, RequestId, TrustVersion};
use crate::digest::Sha256Digest;
use crate::unix_time::UnixTime;

/// The most bytes in one line: C2SP's entry bundles count them in 16 bits.
pub const MAX_ENTRY: usize = 65_535;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// Somebody's answer passed every check.
    Answered {
        /// By the verifier's clock.
        at: UnixTime,
        /// What was answered.
        request: RequestId,
        /// By whom.
        person: String,
        /// `approve` or `refuse`.
        decision: String,
        /// Fingerprint of the key.
        key: String,
        /// Of the token.
        serial: String,
        /// How strong the evidence of a touch is.
        acr: String,
        /// The bytes that were signed.
        statement: String,
        /// Armored.
        signature: String,
        /// The attestation of the key's counter that came with it, PEM.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counter: Option<String>,
        /// The number in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signatures: Option<u32>,
        /// How many signatures before it nobody here saw.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unseen: Option<u64>,
    },
    /// A request was issued.
    Asked {
        /// By the verifier's clock.
        at: UnixTime,
        /// Its text.
        challenge: String,
    },
    /// A request came to its end.
    Decided {
        /// By the verifier's clock.
        at: UnixTime,
        /// Which.
        request: RequestId,
        /// How.
        outcome: Outcome,
        /// Who approved, or who ended it.
        by: Vec<String>,
        /// The digest of statements, signatures and attestations (DESIGN 9); of an approval only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Sha256Digest>,
        /// The claims of the grant, of an approval only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<serde_json::Map<String, serde_json::Value>>,
    },
    /// A debt of break-glass was settled.
    Countersigned {
        /// By the verifier's clock.
        at: UnixTime,
        /// The request that went through the glass.
        request: RequestId,
        /// The request that settles it.
        settled_by: RequestId,
    },
    /// An answer whose signature is an enrolled key's was rejected.
    Rejected {
        /// By the verifier's clock.
        at: UnixTime,
        /// What it answered.
        request: RequestId,
        /// Whose key.
        person: String,
        /// The reason's stable name.
        code: String,
    },
    /// A grant was revoked.
    Revoked {
        /// By the verifier's clock.
        at: UnixTime,
        /// Which.
        grant: RequestId,
        /// By whom: a person, or `trust` where a new version ended it.
        by: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
    /// Tokens were revoked here, before a version of trust says so.
    TokenRevoked {
        /// By the verifier's clock.
        at: UnixTime,
        /// Whose they are.
        person: String,
        /// Fingerprints of the keys on them.
        keys: Vec<String>,
        /// Who revoked them.
        by: String,
        /// The bytes that were signed.
        statement: String,
        /// Armored.
        signature: String,
    },
    /// A version of trust came into force here.
    Trust {
        /// By the verifier's clock.
        at: UnixTime,
        /// Its number and digest.
        version: TrustVersion,
    },
    /// A grant was used.
    Used {
        /// By the verifier's clock.
        at: UnixTime,
        /// Which.
        grant: RequestId,
        /// The how-manieth use, counted from 1.
        count: u32,
    },
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Enough people approved.
    Approved,
    /// Nobody else answered in time.
    Expired,
    /// Somebody who could fill a slot refused.
    Refused,
    /// A new version of trust came into force.
    Superseded,
    /// The requester took it back.
    Withdrawn,
}

impl Outcome {
    /// What a request did that ended so.
    pub fn words(self) -> &'static str {
        match self {
            Self::Approved => "was approved",
            Self::Expired => "expired",
            Self::Refused => "was refused",
            Self::Superseded => "fell to a new version of trust",
            Self::Withdrawn => "was taken back",
        }
    }
}

/// A line that is no entry, or not in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Another spelling of an entry.
    #[error("not the one spelling of its content")]
    Spelling,
    /// Not an entry.
    #[error("not an entry: {reason}")]
    Malformed {
        /// In the parser's words.
        reason: String,
    },
    /// More than [`MAX_ENTRY`] bytes.
    #[error("{length} bytes, {MAX_ENTRY} are allowed")]
    TooLarge {
        /// How many.
        length: usize,
    },
}

impl Entry {
    /// The line, without line feed.
    ///
    /// # Errors
    /// [`EntryError::TooLarge`].
    pub fn to_line(&self) -> Result<String, EntryError> {
        // By way of `Value`, whose objects are sorted.
        let value = serde_json::to_value(self)
            .map_err(|error| EntryError::Malformed { reason: error.to_string() })?;
        let line = value.to_string();
        if line.len() > MAX_ENTRY { Err(EntryError::TooLarge { length: line.len() }) } else { Ok(line) }
    }

    /// Reads a line, and only what [`Entry::to_line`] writes.
    ///
    /// # Errors
    /// Any [`EntryError`].
    pub fn parse(line: &[u8]) -> Result<Self, EntryError> {
        if line.len() > MAX_ENTRY {
            return Err(EntryError::TooLarge { length: line.len() });
        }
        let entry: Self = serde_json::from_slice(line)
            .map_err(|error| EntryError::Malformed { reason: error.to_string() })?;
        if entry.to_line()?.as_bytes() == line { Ok(entry) } else { Err(EntryError::Spelling) }
    }

    /// The request that it is about; a grant goes by the name of its own.
    pub fn request(&self) -> Option<RequestId> {
        match self {
            Self::Asked { challenge, .. } => {
                Challenge::parse(challenge.as_bytes()).ok().map(|asked| asked.id)
            }
            Self::Answered { request, .. }
            | Self::Countersigned { request, .. }
            | Self::Decided { request, .. }
            | Self::Rejected { request, .. } => Some(*request),
            Self::Revoked { grant, .. } | Self::Used { grant, .. } => Some(*grant),
            Self::TokenRevoked { .. } | Self::Trust { .. } => None,
        }
    }

    /// When it happened.
    pub fn at(&self) -> UnixTime {
        match self {
            Self::Answered { at, .. }
            | Self::Asked { at, .. }
            | Self::Countersigned { at, .. }
            | Self::Decided { at, .. }
            | Self::Rejected { at, .. }
            | Self::Revoked { at, .. }
            | Self::TokenRevoked { at, .. }
            | Self::Trust { at, .. }
            | Self::Used { at, .. } => *at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let version = "7 sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        Entry::Trust { at: "2026-11-20T04:07:00Z".parse().unwrap(), version: version.parse().unwrap() }
    }

    #[test]
    fn an_entry_has_one_spelling() {
        let line = entry().to_line().unwrap();
        assert_eq!(
            line,
            "{\"at\":\"2026-11-20T04:07:00Z\",\"type\":\"trust\",\"version\":\"7 sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}"
        );
        assert_eq!(Entry::parse(line.as_bytes()), Ok(entry()));
        let other = [
            line.replace("\":\"", "\": \""),
            line.replace("sha256", "\\u0073ha256"),
            format!("{line}\n"),
            line.replace(
                "{\"at\":\"2026-11-20T04:07:00Z\",\"type\":\"trust\"",
                "{\"type\":\"trust\",\"at\":\"2026-11-20T04:07:00Z\"",
            ),
        ];
        for other in other {
            assert_eq!(Entry::parse(other.as_bytes()), Err(EntryError::Spelling), "{other}");
        }
        for bad in ["", "{}", "[]", "{\"type\":\"other\"}", &line.replace("\"at\"", "\"when\"")] {
            assert!(matches!(Entry::parse(bad.as_bytes()), Err(EntryError::Malformed { .. })), "{bad}");
        }
    }

    #[test]
    fn a_key_that_is_unknown_or_stands_twice_is_no_entry() {
        let line = entry().to_line().unwrap();
        for more in [",\"x\":1}", ",\"type\":\"trust\"}", ",\"at\":\"2026-11-20T04:07:00Z\"}"] {
            let line = line.strip_suffix('}').unwrap().to_owned() + more;
            assert!(Entry::parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
