//! A directory by which machines exchange requests and answers: shared, synchronised, or carried on a stick.
//!
//! ```text
//! HJ5C9.request            written by `run --exchange DIR`
//! HJ5C9.bob.approval       written by `approve --exchange DIR`, one for each person
//! HJ5C9.refusal            files that were made elsewhere and carried here count as well
//! ```
//!
//! Whoever can write there can lose, delay and forge files; the verifier believes none that it did not check. So
//! everything in it is read with bounds, no link is followed, and nothing of it is shown unescaped.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags};

use crate::challenge::{Challenge, RequestId};
use crate::cli::place;
use crate::cli::report::{Failure, printable, say};
use crate::response::{MAX_RESPONSE, Response};
use crate::statement::MAX_STATEMENT;
use crate::unix_time::UnixTime;

/// The most names that are looked at: a directory that was flooded costs no more than this each time.
const MAX_NAMES: usize = 10_000;
/// The most files that are taken for answers to one request, and the most requests that are listed.
const MAX_FILES: usize = 256;
/// How often one file is read again because it changed.
const MAX_CHANGES: u32 = 16;
/// How many looks a file that is not whole must stay as it is until that is said.
pub(super) const PATIENCE: u32 = 10;
/// The most lines about files that are of no use: a directory that others write to must not flood the screen.
const MAX_TOLD: u32 = 64;
/// The most characters of a name that are shown.
const MAX_SHOWN: usize = 80;
/// The endings of answers.
const ANSWERS: [&str; 2] = [".approval", ".refusal"];

/// How many files were said not to count.
#[derive(Debug, Default)]
pub(super) struct Told(u32);

impl Told {
    /// Says of one more file why it does not count: whole lines.
    pub(super) fn not_counted(&mut self, why: &str) {
        self.0 = self.0.saturating_add(1);
        match self.0 {
            ..MAX_TOLD => say(&format!("not counted: {why}")),
            MAX_TOLD => say("not counted: more files; no more of them are named\n"),
            _ => {}
        }
    }
}

/// Such a directory.
#[derive(Debug)]
pub(super) struct Exchange {
    directory: PathBuf,
}

impl Exchange {
    /// Looks whether there is one.
    ///
    /// # Errors
    /// If it is no directory, or cannot be read.
    pub(super) fn open(directory: &Path) -> Result<Self, Failure> {
        let directory = match directory.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => directory.to_owned(),
        };
        match fs::read_dir(&directory) {
            Ok(_) => Ok(Self { directory }),
            Err(error) => Err(Failure::failed("no-exchange", format!("{}: {error}", directory.display()))
                .hint("--exchange takes a directory that you and the approvers can read and write")),
        }
    }

    /// Puts a request there for others to answer.
    ///
    /// # Errors
    /// If it cannot be written, or something stands in its place.
    pub(super) fn publish(&self, challenge: &Challenge) -> Result<Published, Failure> {
        let code = challenge.id.short_code();
        let path = self.directory.join(format!("{code}.request"));
        place::write_new(&path, challenge.to_text().as_bytes())
            .map_err(|error| place::unwritable(&path, &error))?;
        Ok(Published { directory: self.directory.clone(), code, path, known: BTreeMap::new() })
    }

    /// Where this person's answer goes. `person` is a name of trust, or a token's number.
    pub(super) fn answer(&self, challenge: &Challenge, person: &str, ending: &str) -> PathBuf {
        let person = person.replace(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c), "-");
        self.directory.join(format!("{}.{person}.{ending}", challenge.id.short_code()))
    }

    /// The requests that have not expired at `now` and that `person`, if it is known who looks, has not answered;
    /// oldest first.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(super) fn waiting(
        &self,
        person: Option<&str>,
        now: UnixTime,
    ) -> Result<Vec<(PathBuf, Challenge)>, Failure> {
        let unreadable = |error| place::unreadable(&self.directory, &error);
        let answered = |challenge: &Challenge, person: &str| {
            ["approval", "refusal"]
                .iter()
                .any(|ending| self.answer(challenge, person, ending).symlink_metadata().is_ok())
        };
        let mut waiting: BTreeMap<RequestId, (PathBuf, Challenge)> = BTreeMap::new();
        for entry in fs::read_dir(&self.directory).map_err(unreadable)?.take(MAX_NAMES).flatten() {
            if waiting.len() >= MAX_FILES {
                break;
            }
            let path = entry.path();
            if path.extension().is_none_or(|ending| ending != "request") {
                continue;
            }
            let Ok((_, bytes)) = read(&path, MAX_STATEMENT) else { continue };
            let Ok(challenge) = Challenge::parse(&bytes) else { continue };
            let done = person.is_some_and(|person| answered(&challenge, person));
            if now < challenge.expires && !done {
                waiting.entry(challenge.id).or_insert((path, challenge));
            }
        }
        Ok(waiting.into_values().collect())
    }
}

/// A request that lies in such a directory, and what was found beside it so far. The request goes with it.
#[derive(Debug)]
pub(super) struct Published {
    directory: PathBuf,
    code: String,
    path: PathBuf,
    known: BTreeMap<String, Known>,
}

impl Drop for Published {
    fn drop(&mut self) {
        self.take_away();
    }
}

/// A file that was looked at.
#[derive(Debug)]
struct Known {
    stamp: Stamp,
    changes: u32,
    /// How often it was seen as it is, until it was taken or given up.
    looks: Option<u32>,
}

/// By what a change of a file shows.
pub(super) type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Something that looks like an answer.
    Answer {
        /// The file's name, for people.
        name: String,
        /// What is in it.
        response: Response,
    },
    /// A file that should be one and is not.
    Bad {
        /// The file's name, for people.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Published {
    /// Takes the request away, since it is decided: nobody shall touch a token for it. What was signed before and comes
    /// yet is still found.
    pub(super) fn take_away(&self) {
        // Left behind, it only expires.
        let _ = fs::remove_file(&self.path);
    }

    /// Where the request lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What came since the last look. A file that is being written is looked at again.
    pub(super) fn collect(&mut self) -> Vec<Found> {
        // A share that is away for a moment may come back.
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let names =
            entries.take(MAX_NAMES).flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| self.is_answer(name)).collect();
        names.sort();
        names.into_iter().filter_map(|name| self.look(name)).collect()
    }

    fn is_answer(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.code).filter(|rest| rest.starts_with('.'));
        rest.is_some_and(|rest| ANSWERS.iter().any(|ending| rest.ends_with(ending)))
    }

    fn look(&mut self, name: String) -> Option<Found> {
        let path = self.directory.join(&name);
        if !self.known.contains_key(&name) && self.known.len() >= MAX_FILES {
            return None;
        }
        let read = read(&path, MAX_RESPONSE);
        let stamp = match &read {
            Ok((stamp, _)) => *stamp,
            Err(_) => path.symlink_metadata().map(|found| stamp(&found)).unwrap_or_default(),
        };
        let known = self.known.entry(name.clone()).or_insert(Known { stamp, changes: 0, looks: Some(0) });
        if known.stamp != stamp {
            known.changes = known.changes.saturating_add(1);
            if known.changes > MAX_CHANGES {
                return None;
            }
            (known.stamp, known.looks) = (stamp, Some(0));
        }
        let looks = known.looks?;
        known.looks = Some(looks + 1);
        let parsed = match read {
            Ok((_, bytes)) => {
                let whole = is_whole(&bytes);
                Response::parse(&bytes).map(|response| (response, whole)).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        let name = printable(&name.chars().take(MAX_SHOWN).collect::<String>());
        let found = match parsed {
            Ok((response, whole)) if whole || looks >= PATIENCE => Found::Answer { name, response },
            Err(why) if looks >= PATIENCE => Found::Bad { name, why },
            _ => return None,
        };
        known.looks = None;
        Some(found)
    }
}

/// Whether the last line of an armored signature is there.
fn is_whole(bytes: &[u8]) -> bool {
    bytes.trim_ascii_end().ends_with(b"-----END PGP SIGNATURE-----")
}

fn stamp(found: &fs::Metadata) -> Stamp {
    let (modified, changed) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    (found.dev(), found.ino(), found.size(), modified, changed)
}

/// Reads a regular file of at most `most` bytes. No link is followed and nothing is waited for.
///
/// # Errors
/// Whatever the system gives; if it is something else, or longer.
pub(super) fn read(path: &Path, most: usize) -> io::Result<(Stamp, Vec<u8>)> {
    read_in(CWD, path, most)
}

/// The same from an open folder on.
///
/// # Errors
/// As [`read`].
pub(super) fn read_in(folder: impl AsFd, path: &Path, most: usize) -> io::Result<(Stamp, Vec<u8>)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(folder, path, flags, Mode::empty())?);
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {most} bytes")));
    }
    Ok((stamp(&found), bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const CHALLENGE: &str = "\
touchgate v1 challenge
audience: approve.example.com
request: 01KA8Y3V0GQ4M7ZT6XWB1HJ5C9
action: deploy
resource: payments/prod
requester: github:alice
trust: 7 sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
nonce: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
issued: 2026-11-20T04:07:00Z
expires: 2026-11-20T04:22:00Z
";
    const ANSWER: &str = "statement\n\n-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n";

    fn challenge() -> Challenge {
        Challenge::parse(CHALLENGE.as_bytes()).unwrap()
    }

    /// The names of what is found, those of bad files behind a `!`.
    fn names(published: &mut Published) -> Vec<String> {
        let name = |found| match found {
            Found::Answer { name, .. } => name,
            Found::Bad { name, .. } => format!("!{name}"),
        };
        published.collect().into_iter().map(name).collect()
    }

    fn later(published: &mut Published) -> Vec<String> {
        (0..=PATIENCE).flat_map(|_| names(published)).collect()
    }

    #[test]
    fn an_answer_is_found_once_and_again_when_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let mut published = Exchange::open(folder.path()).unwrap().publish(&challenge()).unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(at("HJ5C9.request").exists());
        assert_eq!(names(&mut published), [""; 0]);
        fs::write(at("HJ5C9.bob.approval"), ANSWER).unwrap();
        fs::write(at("HJ5C9.refusal"), ANSWER).unwrap();
        // Those of other requests, and other files of this one.
        for other in
            ["01234.bob.approval", "HJ5C9approval", "HJ5C9.approval.txt", "HJ5C9.counter.pem", ".approval"]
        {
            fs::write(at(other), ANSWER).unwrap();
        }
        assert_eq!(names(&mut published), ["HJ5C9.bob.approval", "HJ5C9.refusal"]);
        assert_eq!(later(&mut published), [""; 0]);
        fs::write(at("HJ5C9.bob.approval"), format!("more{ANSWER}")).unwrap();
        assert_eq!(names(&mut published), ["HJ5C9.bob.approval"]);
        for change in 0..100 {
            fs::write(at("HJ5C9.bob.approval"), "x".repeat(change) + ANSWER).unwrap();
            names(&mut published);
        }
        assert_eq!(published.known["HJ5C9.bob.approval"].changes, 101);
        fs::write(at("HJ5C9.bob.approval"), format!("the last{ANSWER}")).unwrap();
        assert_eq!(names(&mut published), [""; 0], "one file cannot flood us");
        drop(published);
        assert!(!at("HJ5C9.request").exists());
    }

    #[test]
    fn a_half_written_file_is_waited_for_and_a_bad_one_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut published = Exchange::open(folder.path()).unwrap().publish(&challenge()).unwrap();
        let at = |name: &str| folder.path().join(name);
        for length in [0, 5, 12, ANSWER.len() - 2] {
            fs::write(at("HJ5C9.bob.approval"), &ANSWER[..length]).unwrap();
            assert_eq!(names(&mut published), [""; 0], "{length}");
        }
        fs::write(at("HJ5C9.bob.approval"), ANSWER).unwrap();
        assert_eq!(names(&mut published), ["HJ5C9.bob.approval"]);
        fs::write(at("HJ5C9.a.approval"), "no answer").unwrap();
        fs::write(at("HJ5C9.b.approval"), "x".repeat(MAX_RESPONSE + 1)).unwrap();
        symlink("/etc/passwd", at("HJ5C9.c.approval")).unwrap();
        symlink(at("HJ5C9.bob.approval"), at("HJ5C9.d.approval")).unwrap();
        fs::create_dir(at("HJ5C9.e.approval")).unwrap();
        let fifo = std::process::Command::new("mkfifo").arg(at("HJ5C9.f.approval")).status();
        assert!(fifo.unwrap().success());
        fs::write(at("HJ5C9.\u{1b}[2J\n.approval"), "no answer").unwrap();
        assert_eq!(
            later(&mut published),
            [
                "!HJ5C9.\\u{1b}[2J\\u{a}.approval",
                "!HJ5C9.a.approval",
                "!HJ5C9.b.approval",
                "!HJ5C9.c.approval",
                "!HJ5C9.d.approval",
                "!HJ5C9.e.approval",
                "!HJ5C9.f.approval"
            ]
        );
        assert_eq!(later(&mut published), [""; 0]);
        // Not armored, but whole as far as anybody can tell: for the verifier to say.
        fs::write(at("HJ5C9.g.approval"), "statement\n\nbinary").unwrap();
        assert_eq!(later(&mut published), ["HJ5C9.g.approval"]);
    }

    #[test]
    fn a_flooded_directory_costs_no_more_than_its_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let mut published = Exchange::open(folder.path()).unwrap().publish(&challenge()).unwrap();
        for number in 0..MAX_FILES * 2 {
            fs::write(folder.path().join(format!("HJ5C9.{number}.approval")), ANSWER).unwrap();
        }
        assert_eq!(names(&mut published).len(), MAX_FILES);
        assert_eq!(names(&mut published).len(), 0);
    }

    #[test]
    fn what_waits_is_what_has_not_expired_and_was_not_answered() {
        let folder = tempfile::tempdir().unwrap();
        let exchange = Exchange::open(folder.path()).unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("b.request"), CHALLENGE).unwrap();
        let older = CHALLENGE.replace("01KA8Y3V0G", "01KA8Y3V00");
        fs::write(at("a.request"), &older).unwrap();
        fs::write(at("copy.request"), &older).unwrap();
        fs::write(at("bad.request"), "no request").unwrap();
        symlink(at("b.request"), at("link.request")).unwrap();
        let now: UnixTime = "2026-11-20T04:10:00Z".parse().unwrap();
        let ids = |person, now| {
            let waiting = exchange.waiting(person, now).unwrap();
            waiting.iter().map(|(_, challenge)| challenge.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ids(None, now), ["01KA8Y3V00Q4M7ZT6XWB1HJ5C9", "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9"]);
        let mine = exchange.answer(&challenge(), "bob", "refusal");
        assert_eq!(mine, at("HJ5C9.bob.refusal"));
        fs::write(mine, "").unwrap();
        assert_eq!(ids(Some("alice"), now).len(), 2);
        assert_eq!(ids(Some("bob"), now).len(), 0, "both have this code");
        assert_eq!(ids(None, challenge().expires).len(), 0);
        // A token's number stands for somebody whom nobody's record names.
        assert_eq!(exchange.answer(&challenge(), "000f:00c0ffe1", "x"), at("HJ5C9.000f-00c0ffe1.x"));
        assert_eq!(exchange.answer(&challenge(), "../a/b", "x"), at("HJ5C9...-a-b.x"));
    }
}
