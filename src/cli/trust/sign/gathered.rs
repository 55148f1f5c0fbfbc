//! What was signed so far: `versions/N.partial.json`, which travels through git.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::FlockOperation;

use super::{Step, asks, failed};
use crate::challenge::Challenge;
use crate::cli::place;
use crate::cli::report::{Failure, Verdict, exit};
use crate::evidence::{Answered, Evidence, MAX_EVIDENCE};
use crate::trust::Trust;
use crate::trust::chain;
use crate::unix_time::UnixTime;

/// One update, and the answers to it.
pub(super) struct Gathered {
    /// As this machine makes it of the two versions.
    pub(super) challenge: Challenge,
    /// Each of which holds.
    pub(super) answers: Vec<Answered>,
    /// Whose approvals count.
    pub(super) by: BTreeSet<String>,
}

impl Gathered {
    /// What lies there, or the beginning.
    ///
    /// # Errors
    /// If what lies there is another update, does not hold, or has expired and is not to be begun `again`.
    pub(super) fn read(step: &Step, again: bool, now: UnixTime) -> Result<Self, Failure> {
        let path = step.partial();
        if again || !place::exists(&path) {
            return Self::begin(step, now);
        }
        let begun = Self::of(read(&path)?, step, now)
            .map_err(|failure| failure.with("file", path.display().to_string()))?;
        match now >= begun.challenge.expires {
            false => Ok(begun),
            true => Err(too_late(&begun, &path, now)),
        }
    }

    fn begin(step: &Step, now: UnixTime) -> Result<Self, Failure> {
        let (rule, asks) = chain::rule(&step.old, &step.new.version, &asks()?)?;
        let issued = chain::issued_at(rule, now);
        let challenge = chain::challenge(&step.old, &step.new.version, &asks, issued);
        let challenge = challenge.map_err(|error| failed(&error))?;
        Ok(Self { challenge, answers: Vec::new(), by: BTreeSet::new() })
    }

    fn of(begun: Evidence, step: &Step, now: UnixTime) -> Result<Self, Failure> {
        let resumed = chain::resume(&step.old, &step.new.version, &begun, &step.reduced, now);
        let (challenge, by) = resumed.map_err(|error| failed(&error))?;
        Ok(Self { challenge, answers: begun.answers().to_vec(), by })
    }

    /// Adds what was gathered elsewhere for the same update.
    ///
    /// # Errors
    /// If it is another one, or does not hold.
    pub(super) fn merge(&mut self, path: &Path, step: &Step, now: UnixTime) -> Result<(), Failure> {
        let other = Self::of(read(path)?, step, now)?;
        if other.challenge != self.challenge {
            return Err(Failure::failed(
                "update-other-request",
                format!("{}: the same update, begun at another time", path.display()),
            )
            .fact("here", self.challenge.issued.to_string())
            .fact("there", other.challenge.issued.to_string())
            .hint("keep the one that more people signed; the others sign that one again"));
        }
        for answer in
            other.answers.into_iter().filter(|answer| !self.answers.contains(answer)).collect::<Vec<_>>()
        {
            self.answers.push(answer);
        }
        self.by.extend(other.by);
        Ok(())
    }

    /// The people who signed, whether they count or not.
    pub(super) fn people<'a>(&self, old: &'a Trust) -> BTreeSet<&'a str> {
        let holders = self.answers.iter().filter_map(|answer| old.roster.holder(answer.key()));
        holders.map(|(person, _)| person.name.as_str()).collect()
    }

    /// All of it as evidence.
    ///
    /// # Errors
    /// If there is too much of it.
    pub(super) fn evidence(&self, step: &Step) -> Result<Evidence, Failure> {
        let Step { old, old_files, new, new_files, .. } = step;
        let begun =
            chain::begin(old, old_files, new, new_files, self.challenge.clone(), self.answers.clone());
        begun.map_err(|error| failed(&error))
    }
}

fn read(path: &Path) -> Result<Evidence, Failure> {
    let bytes =
        place::read_bounded(path, MAX_EVIDENCE as u64).map_err(|error| place::unreadable(path, &error))?;
    Evidence::parse(&bytes).map_err(|error| {
        Failure::failed(error.code(), format!("{}: {error}", path.display())).hint(
            "of two that git could not join, take one, and give the other with --merge; or begin anew: --again",
        )
    })
}

fn too_late(found: &Gathered, path: &Path, now: UnixTime) -> Failure {
    let by: Vec<&str> = found.by.iter().map(String::as_str).collect();
    Failure {
        verdict: Verdict::Expired,
        exit: exit::NOBODY,
        ..Failure::failed("expired", format!("{}: not enough people signed in time", path.display()))
    }
    .fact("expired", found.challenge.expires.to_string())
    .fact("now", now.to_string())
    .fact("signed by", by.join(", "))
    .hint("`touchgate trust sign --again` begins anew")
}

/// Holds others off the files below `versions/` as long as it lives.
pub(super) fn lock(directory: &Path) -> io::Result<fs::File> {
    let versions = directory.join("versions");
    fs::create_dir_all(&versions)?;
    let lock = fs::File::open(versions)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
    Ok(lock)
}
