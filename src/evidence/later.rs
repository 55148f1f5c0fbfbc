//! What became of the people and keys since: reported apart, for it changes nothing about what was decided then.

use std::fmt;

use crate::trust::Trust;
use crate::unix_time::UnixTime;
use crate::verify::{Answer, Rejection};

/// Something that the newest trust says about a key that signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later {
    /// Whose key it was.
    pub person: String,
    /// Its fingerprint.
    pub key: String,
    /// The number of the version that says so.
    pub version: u64,
    /// What it says.
    pub what: Change,
}

/// What the newest trust says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is on nobody's record any more.
    Gone,
    /// It is on somebody else's record.
    Moved {
        /// Whose.
        to: String,
    },
    /// It would not be taken today.
    NotValid(Rejection),
    /// It was revoked here, whatever that version says of it.
    Revoked,
}

impl Change {
    /// Its stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Moved { .. } => "moved",
            Self::NotValid(rejection) => rejection.code(),
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { person, key, version, what } = self;
        write!(f, "trust {version}: {person}'s key {key}: ")?;
        match what {
            Change::Gone => f.write_str("on nobody's record any more"),
            Change::Moved { to } => write!(f, "on the record of {to}"),
            Change::NotValid(rejection) => rejection.fmt(f),
            Change::Revoked => f.write_str("revoked here"),
        }
    }
}

/// What the newest trust says at `now` about the keys of these answers.
pub(super) fn since(answers: &[Answer], newest: &Trust, now: UnixTime) -> Vec<Later> {
    let change = |answer: &Answer| match newest.roster.holder(answer.key()) {
        _ if newest.is_revoked(answer.key()) => Some(Change::Revoked),
        None => Some(Change::Gone),
        Some((person, _)) if person.name != answer.person() => {
            Some(Change::Moved { to: person.name.clone() })
        }
        Some((_, token)) => token.key.check_valid(now).err().map(Change::NotValid),
    };
    let later = |answer: &Answer| {
        change(answer).map(|what| Later {
            person: answer.person().to_owned(),
            key: answer.key().to_hex(),
            version: newest.version.number,
            what,
        })
    };
    answers.iter().filter_map(later).collect()
}
