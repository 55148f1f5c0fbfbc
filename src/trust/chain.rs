//! The chain of versions: from the one that is pinned to the one that a directory holds, update by signed update.
//!
//! ```text
//! pin            7 sha256:5891b5b5…
//! versions/8.json    the people of version 7 say that version 8 is sha256:b5bb9d80…
//! versions/9.json    the people of version 8 say that version 9 is sha256:4f2c9d0e…
//! the files          sha256:4f2c9d0e…: this is version 9
//! ```
//!
//! An update is evidence (`docs/evidence.md`) of a request to `touchgate.trust.update`. Its statement names the
//! version before, under whose rule and by whose people it is signed, and the version after. It carries the files of
//! both that it takes to judge it, each with its proof: the pin is the only anchor, and nothing is parsed that does
//! not lead back to it.

mod update;
mod versions_directory;

use std::collections::BTreeMap;

use crate::challenge::TrustVersion;
use crate::digest::Sha256Digest;
use crate::evidence::{Evidence, EvidenceError};
use crate::trust::TrustError;
use crate::trust::manifest::ManifestError;
use crate::trust::quorum::NotMet;
use crate::trust::revocation::Revocation;
use crate::unix_time::UnixTime;
use crate::verify::Rejection;

pub use update::{
    Reduced, SUBJECT, Update, begin, challenge, check_after, decide, issued_at, judge, judge_without,
    recompute, reduced, resume, rule,
};
pub use versions_directory::Versions;

/// The most versions that are remembered: one a day for nearly three years.
const MAX_SEEN: usize = 1000;

/// Why the chain does not lead from a pin to what a directory holds.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The files are older than the updates beside them: a newer version was signed, and is not what lies here.
    #[error("versions/{newer}.json lies there, and the files are those of version {found}")]
    Behind {
        /// What the files are.
        found: u64,
        /// The update that goes further.
        newer: u64,
    },
    /// An update that is not what it should be.
    #[error("versions/{number}.json: {error}")]
    Broken {
        /// The version that it leads to.
        number: u64,
        /// What is wrong with it.
        error: Box<UpdateError>,
    },
    /// Two versions have the same number.
    #[error("two versions have the number {number}: {found} here, and {seen} was seen before")]
    Fork {
        /// The number.
        number: u64,
        /// What was seen before.
        seen: Sha256Digest,
        /// What the chain leads to.
        found: Sha256Digest,
    },
    /// An update is missing between others.
    #[error("versions/{missing}.json is missing, and versions/{newer}.json is there")]
    Gap {
        /// The first that is missing.
        missing: u64,
        /// One that is there.
        newer: u64,
    },
    /// A newer version was seen before.
    #[error("version {found} is older than version {newest}, which was seen before")]
    Rollback {
        /// What the files are.
        found: u64,
        /// The newest that was seen.
        newest: u64,
    },
    /// Something that does not belong below `versions/`.
    #[error("{path}: {what}")]
    Stray {
        /// Below the directory.
        path: String,
        /// Why it does not.
        what: &'static str,
    },
    /// A file or the directory could not be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// Below the directory.
        path: String,
        /// The system's reason.
        error: std::io::Error,
    },
    /// The chain ends before it comes to what lies there.
    #[error("the files are {found}, and the chain ends at version {newest}")]
    Unvouched {
        /// The last version to which the chain leads.
        newest: TrustVersion,
        /// The digest of the files.
        found: Sha256Digest,
    },
}

/// Why an update does not count.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Somebody's answer does not hold.
    #[error("the answer by key {key}: {rejection}")]
    Answer {
        /// The key that it names.
        key: String,
        /// Why not.
        rejection: Rejection,
    },
    /// The old version had ended by then: nobody may go on from it.
    #[error("it was decided at {at}, and the version before ended at {valid_until}")]
    Ended {
        /// When it was decided.
        at: UnixTime,
        /// The end of the version before.
        valid_until: UnixTime,
    },
    /// Not evidence.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// A file in it is not one of the version that it is said to be of.
    #[error(transparent)]
    File(#[from] ManifestError),
    /// It was decided in the future.
    #[error("it was decided at {at}; it is {now}")]
    Future {
        /// What it says.
        at: UnixTime,
        /// This machine's clock.
        now: UnixTime,
    },
    /// It was never decided, or otherwise.
    #[error("it was not approved")]
    NotApproved,
    /// Its request is none to go from one version to the next.
    #[error("it is no update: {what}")]
    NotAnUpdate {
        /// What is not as it should be.
        what: &'static str,
    },
    /// The quorum of the old version was not met.
    #[error(transparent)]
    NotMet(#[from] NotMet),
    /// It goes on from another version than the one before it.
    #[error("it goes on from version {found}; the one before it is {expected}")]
    OtherVersion {
        /// What it names.
        found: TrustVersion,
        /// What the chain has come to.
        expected: TrustVersion,
    },
    /// Somebody refused who could have approved.
    #[error("{person} refused it")]
    Refused {
        /// Who.
        person: String,
    },
    /// What it carries of a version does not load.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl ChainError {
    /// The stable name of this reason, explained in `docs/rejections.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Behind { .. } => "trust-behind",
            Self::Broken { error, .. } => error.code(),
            Self::Fork { .. } => "trust-fork",
            Self::Gap { .. } => "trust-gap",
            Self::Rollback { .. } => "trust-rollback",
            Self::Stray { .. } => "trust-stray",
            Self::Unreadable { .. } => "trust-unreadable",
            Self::Unvouched { .. } => "trust-pin-differs",
        }
    }
}

impl UpdateError {
    /// The stable name of this reason, explained in `docs/rejections.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Answer { rejection, .. } => rejection.code(),
            Self::Ended { .. } => "update-ended",
            Self::Evidence(error) => error.code(),
            Self::File(_) => "update-file",
            Self::Future { .. } => "update-future",
            Self::NotApproved => "update-not-approved",
            Self::NotAnUpdate { .. } => "update-other-request",
            Self::NotMet(_) => "update-not-met",
            Self::OtherVersion { .. } => "update-other-version",
            Self::Refused { .. } => "update-refused",
            Self::Trust(_) => "update-bad-trust",
        }
    }
}

/// Follows the signed updates from `pin` to the files with this digest, and gives every version on the way, both
/// ends included.
///
/// Whether the last of them is still good at `now` is for whoever asks or judges something under it to see: a version
/// has its own end (`valid_until`), so that withholding a newer one gains little.
///
/// # Errors
/// Any [`ChainError`]; nothing is followed in part.
pub fn follow(
    pin: &TrustVersion,
    digest: &Sha256Digest,
    versions: &Versions,
    now: UnixTime,
) -> Result<Vec<TrustVersion>, ChainError> {
    follow_without(pin, digest, versions, &Seen::default(), &[], now)
}

/// The same where tokens were lost: what they signed counts for nothing in an update that leads further than what was
/// `seen` here. Those before it were judged when they came.
///
/// # Errors
/// As [`follow`].
pub fn follow_without(
    pin: &TrustVersion,
    digest: &Sha256Digest,
    versions: &Versions,
    seen: &Seen,
    lost: &[Revocation],
    now: UnixTime,
) -> Result<Vec<TrustVersion>, ChainError> {
    let known = seen.newest().map_or(0, |newest| newest.number);
    let mut way = vec![*pin];
    let mut last = *pin;
    loop {
        let newer = versions.newest().filter(|newest| *newest > last.number);
        match (last.digest == *digest, newer) {
            (true, None) => return Ok(way),
            (true, Some(newer)) => return Err(ChainError::Behind { found: last.number, newer }),
            (false, None) => return Err(ChainError::Unvouched { newest: last, found: *digest }),
            (false, Some(newer)) => {
                let number = last.number.saturating_add(1);
                let bytes = versions.read(number)?.ok_or(ChainError::Gap { missing: number, newer })?;
                let lost = if number > known { lost } else { &[] };
                let evidence = Evidence::parse(&bytes).map_err(UpdateError::Evidence);
                let update = evidence.and_then(|evidence| judge_without(&last, &evidence, lost, now));
                last = *update.map_err(|error| ChainError::Broken { number, error: Box::new(error) })?.to();
                way.push(last);
            }
        }
    }
}

/// The versions that a verifier went by, so that it never goes back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<u64, Sha256Digest>);

/// The memory of versions is not lines of number and digest, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not the number and digest of a later version")]
pub struct NotSeen {
    /// Counted from 1.
    pub line: usize,
}

impl Seen {
    /// The memory of a verifier that begins with this version.
    pub fn only(version: &TrustVersion) -> Self {
        Self(BTreeMap::from([(version.number, version.digest)]))
    }

    /// Reads what [`Seen::to_text`] writes.
    ///
    /// # Errors
    /// [`NotSeen`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NotSeen> {
        let text = std::str::from_utf8(bytes).map_err(|_| NotSeen { line: 1 })?;
        let mut seen = Self::default();
        for (at, line) in text.split_inclusive('\n').enumerate() {
            let bad = NotSeen { line: at + 1 };
            let version = line.strip_suffix('\n').and_then(|line| line.parse::<TrustVersion>().ok());
            let version = version.ok_or(bad)?;
            if seen.newest().is_some_and(|newest| newest.number >= version.number) {
                return Err(bad);
            }
            seen.0.insert(version.number, version.digest);
        }
        Ok(seen)
    }

    /// A line for each version, the oldest first.
    pub fn to_text(&self) -> String {
        let versions =
            self.0.iter().map(|(number, digest)| TrustVersion { number: *number, digest: *digest });
        versions.map(|version| format!("{version}\n")).collect()
    }

    /// The newest.
    pub fn newest(&self) -> Option<TrustVersion> {
        self.0.last_key_value().map(|(number, digest)| TrustVersion { number: *number, digest: *digest })
    }

    /// Remembers the way that [`follow`] went, and says whether that was anything new.
    ///
    /// # Errors
    /// [`ChainError::Fork`] and [`ChainError::Rollback`]; nothing is remembered then.
    pub fn remember(&mut self, way: &[TrustVersion]) -> Result<bool, ChainError> {
        for version in way {
            if let Some(seen) = self.0.get(&version.number).filter(|seen| **seen != version.digest) {
                let (number, seen, found) = (version.number, *seen, version.digest);
                return Err(ChainError::Fork { number, seen, found });
            }
        }
        if let (Some(newest), Some(last)) = (self.newest(), way.last())
            && newest.number > last.number
        {
            return Err(ChainError::Rollback { found: last.number, newest: newest.number });
        }
        let new = way.iter().any(|version| !self.0.contains_key(&version.number));
        self.0.extend(way.iter().map(|version| (version.number, version.digest)));
        while self.0.len() > MAX_SEEN {
            self.0.pop_first();
        }
        Ok(new)
    }

    /// The better reason, where the chain does not lead to what lies there because that is older than the pin.
    pub fn explain(&self, error: ChainError) -> ChainError {
        let ChainError::Unvouched { newest, found } = &error else { return error };
        match self.0.iter().find(|(_, digest)| *digest == found) {
            Some((number, _)) if *number < newest.number => {
                ChainError::Rollback { found: *number, newest: newest.number }
            }
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64, text: &str) -> TrustVersion {
        TrustVersion { number, digest: Sha256Digest::of(text.as_bytes()) }
    }

    #[test]
    fn what_was_seen_is_one_text() {
        let mut seen = Seen::default();
        assert!(seen.remember(&[version(7, "a"), version(8, "b")]).unwrap());
        assert!(!seen.remember(&[version(8, "b")]).unwrap());
        assert_eq!(Seen::parse(seen.to_text().as_bytes()).unwrap(), seen);
        assert_eq!(Seen::parse(b"").unwrap(), Seen::default());
        let (seven, eight) = (version(7, "a"), version(8, "b"));
        for (bad, line) in [
            (format!("{seven}"), 1),
            (format!("{eight}\n{seven}\n"), 2),
            (format!("{seven}\n{seven}\n"), 2),
            (format!("{seven}\n\n"), 2),
            ("7\n".to_owned(), 1),
        ] {
            assert_eq!(Seen::parse(bad.as_bytes()), Err(NotSeen { line }), "{bad:?}");
        }
        assert!(Seen::parse(&[0xff]).is_err());
    }

    #[test]
    fn nothing_goes_back_and_no_number_has_two_digests() {
        let mut seen = Seen::only(&version(7, "a"));
        seen.remember(&[version(7, "a"), version(8, "b"), version(9, "c")]).unwrap();
        let before = seen.clone();
        let rollback = seen.remember(&[version(7, "a"), version(8, "b")]).unwrap_err();
        assert!(matches!(rollback, ChainError::Rollback { found: 8, newest: 9 }), "{rollback}");
        let fork = [version(7, "a"), version(8, "x"), version(9, "y"), version(10, "z")];
        let fork = seen.remember(&fork).unwrap_err();
        assert!(matches!(fork, ChainError::Fork { number: 8, .. }), "{fork}");
        assert_eq!(seen, before);
        let old = ChainError::Unvouched { newest: version(9, "c"), found: Sha256Digest::of(b"a") };
        assert!(matches!(seen.explain(old), ChainError::Rollback { found: 7, newest: 9 }));
        let other = ChainError::Unvouched { newest: version(9, "c"), found: Sha256Digest::of(b"x") };
        assert!(matches!(seen.explain(other), ChainError::Unvouched { .. }));
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_the_newest() {
        let mut seen = Seen::default();
        for number in 1..=MAX_SEEN as u64 + 10 {
            assert!(seen.remember(&[version(number, "a")]).unwrap());
        }
        assert_eq!(seen.to_text().lines().count(), MAX_SEEN);
        assert_eq!(seen.newest(), Some(version(MAX_SEEN as u64 + 10, "a")));
    }
}
