//! Why a directory is not trust, and at which place.

use std::path::PathBuf;

use crate::trust::keys::KeyError;
use crate::trust::place::Place;
use crate::trust::policy::PolicyError;
use crate::trust::roster::RosterError;

/// Why a directory is not trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Any other, with the place that it is about.
    #[error("{}", placed(place, note.as_deref(), error))]
    At {
        /// Where.
        place: Place,
        /// What was probably meant, or what else there is to it.
        note: Option<String>,
        /// What is wrong there.
        error: Box<TrustError>,
    },
    /// Not UTF-8, not TOML, or a key that is unknown, missing or of the wrong type.
    #[error("{path}: {message}")]
    Malformed {
        /// Below the directory.
        path: String,
        /// Line, column and what is wrong there.
        message: String,
    },
    /// A key or an issuer in policy.toml that cannot be used.
    #[error("policy.toml: {0}")]
    Key(#[from] KeyError),
    /// The files are proved into one version, and their policy is another's.
    #[error("policy.toml: version = {found}, in what is pinned as version {expected}")]
    OtherVersion {
        /// What the policy says.
        found: u64,
        /// What the pin or the update says.
        expected: u64,
    },
    /// A policy that cannot be loaded.
    #[error("policy.toml: {0}")]
    Policy(#[from] PolicyError),
    /// A roster that cannot be loaded.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// Something that does not belong into the directory.
    #[error("{path}: {what}")]
    Stray {
        /// Below the directory.
        path: String,
        /// Why it does not.
        what: &'static str,
    },
    /// The directory or a file in it could not be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// What could not be read.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
}

impl TrustError {
    /// The stable name of this error, explained in `docs/trust.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::At { error, .. } => error.code(),
            Self::Key(_) => "bad-key",
            Self::Malformed { .. } => "malformed",
            Self::OtherVersion { .. } => "other-version",
            Self::Policy(error) => error.code(),
            Self::Roster(error) => error.code(),
            Self::Stray { .. } => "stray-file",
            Self::Unreadable { .. } => "unreadable",
        }
    }

    /// The place that it is about, if it is about one.
    pub fn place(&self) -> Option<&Place> {
        if let Self::At { place, .. } = self { Some(place) } else { None }
    }

    /// The error without its place.
    pub fn cause(&self) -> &Self {
        if let Self::At { error, .. } = self { error.cause() } else { self }
    }
}

/// The error's own words behind its place; what it is about may lie in another file than the word that is wrong.
fn placed(place: &Place, note: Option<&str>, error: &TrustError) -> String {
    let words = error.to_string();
    let mut text = match words.strip_prefix(&format!("{}: ", place.path)) {
        Some(rest) => format!("{place}: {rest}"),
        None => format!("{words}, named at {place}"),
    };
    if let Some(note) = note {
        text.push_str(&format!("; {note}"));
    }
    text
}
