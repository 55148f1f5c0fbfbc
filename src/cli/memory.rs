//! What this machine remembers from one `run` to the next: the counters of keys, until there is a store.
//!
//! ```text
//! touchgate counters 1
//! 1D9BD4B7C989BC7A2F8E8E19BF68CFB7F8F830A9 46 3 3 2026-11-20T09:31:40Z
//! key                          highest, unseen, reported, signed at
//! ```

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use sequoia_openpgp::Fingerprint;

use crate::challenge::{Challenge, RequestId};
use crate::cli::place;
use crate::cli::report::Failure;
use crate::verify::{Counter, Entry, Ledger, OpenRequests, Recorded};

/// The first line.
const HEAD: &str = "touchgate counters 1";
/// The most bytes: more than ten thousand keys.
const MAX_FILE: u64 = 1 << 20;
/// How often and how far apart the lock is tried; whoever has it writes a small file.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

type Counters = BTreeMap<Fingerprint, Counter>;

/// The requests of this process, and the counters of all before it.
pub(super) struct Memory {
    requests: OpenRequests,
    file: PathBuf,
}

impl Memory {
    /// Nothing is written before a counter is known.
    ///
    /// # Errors
    /// If what was remembered cannot be read: before anybody is asked for anything.
    pub(super) fn new() -> Result<Self, Failure> {
        let file = place::state()?.join("counters");
        let memory = Self { requests: OpenRequests::default(), file };
        memory.read().map_err(|reason| {
            Failure::failed("bad-counters", reason)
                .hint("restore the file; without it signatures that nobody here saw go unnoticed once")
        })?;
        Ok(memory)
    }

    /// Remembers a challenge that was issued, for this process.
    pub(super) fn open(&mut self, challenge: Challenge) {
        self.requests.open(challenge);
    }

    fn read(&self) -> Result<Counters, String> {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", self.file.display());
        let bytes = match place::read_bounded(&self.file, MAX_FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Counters::new()),
            Err(error) => return Err(failed(&error)),
            Ok(bytes) => bytes,
        };
        parse(&bytes).map_err(|line| failed(&format!("line {line} is no counter")))
    }

    fn write(&self, known: &Counters) -> io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let mut text = format!("{HEAD}\n");
        for (key, counter) in known {
            let Counter { highest, unseen, reported, at } = counter;
            text.push_str(&format!("{} {highest} {unseen} {reported} {at}\n", key.to_hex()));
        }
        // Readable by its owner alone.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.file).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    }

    /// Nobody else writes as long as this is open.
    fn lock(&self) -> io::Result<File> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let folder = File::open(folder)?;
        for _ in 0..TRIES {
            match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(folder),
                Err(rustix::io::Errno::WOULDBLOCK) => sleep(PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::new(io::ErrorKind::WouldBlock, "another program holds it"))
    }
}

impl Ledger for Memory {
    fn issued(&self, request: &RequestId) -> Option<Challenge> {
        self.requests.issued(request)
    }

    fn counter(&self, key: &Fingerprint) -> Result<Option<Counter>, String> {
        Ok(self.read()?.get(key).copied())
    }

    fn record(&mut self, entry: &Entry<'_>) -> Result<Recorded, String> {
        if self.requests.has(entry) {
            return Ok(Recorded::Again);
        }
        let failed = |error: io::Error| format!("{}: {error}", self.file.display());
        // Of a key that never came with a counter nothing is kept, and nothing is created.
        let lock = match entry.after {
            None => None,
            Some(_) => Some(self.lock().map_err(failed)?),
        };
        let mut known = self.read()?;
        if known.get(entry.key).copied() != entry.before {
            return Ok(Recorded::Overtaken);
        }
        if let Some(after) = entry.after {
            known.insert(entry.key.clone(), after);
            self.write(&known).map_err(failed)?;
        }
        drop(lock);
        // Answers live as long as their requests: as this process.
        self.requests.record(&Entry { before: None, after: None, ..*entry })
    }
}

/// The counters, or the number of the first line that is none.
fn parse(bytes: &[u8]) -> Result<Counters, usize> {
    let text = std::str::from_utf8(bytes).map_err(|_| 1_usize)?;
    let body = text.strip_prefix(HEAD).and_then(|rest| rest.strip_prefix('\n')).ok_or(1_usize)?;
    let mut known = Counters::new();
    for (number, line) in (2..).zip(body.split_inclusive('\n')) {
        let (key, counter) = line.strip_suffix('\n').and_then(entry).ok_or(number)?;
        if known.insert(key, counter).is_some() {
            return Err(number);
        }
    }
    Ok(known)
}

fn entry(line: &str) -> Option<(Fingerprint, Counter)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [key, highest, unseen, reported, at] = words[..] else { return None };
    let fingerprint: Fingerprint = key.parse().ok()?;
    if !matches!(fingerprint, Fingerprint::V4(_)) || fingerprint.to_hex() != key {
        return None;
    }
    let counter = Counter {
        highest: highest.parse().ok()?,
        unseen: unseen.parse().ok()?,
        reported: reported.parse().ok()?,
        at: at.parse().ok()?,
    };
    Some((fingerprint, counter))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::statement::Decision;

    const KEY: &str = "1D9BD4B7C989BC7A2F8E8E19BF68CFB7F8F830A9";

    fn counter(highest: u32) -> Counter {
        Counter { highest, unseen: -2, reported: 7, at: "2026-11-20T09:31:40Z".parse().unwrap() }
    }

    #[test]
    fn what_is_kept_is_found_by_the_next_process_and_not_overtaken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("not/yet/counters");
        let memory = || Memory { requests: OpenRequests::default(), file: file.clone() };
        let (request, key): (RequestId, Fingerprint) =
            ("01KA8Y3V0GQ4M7ZT6XWB1HJ5C9".parse().unwrap(), KEY.parse().unwrap());
        let entry = |before, after| Entry {
            request: &request,
            person: "alice",
            decision: &Decision::Approve,
            key: &key,
            before,
            after,
        };
        // Of a key that has no counter nothing is created.
        assert_eq!(memory().record(&entry(None, None)), Ok(Recorded::Yes));
        assert!(!folder.path().join("not").exists());
        assert_eq!(memory().record(&entry(None, Some(counter(5)))), Ok(Recorded::Yes));
        assert_eq!(memory().counter(&key), Ok(Some(counter(5))));
        // Somebody else was there between look and write.
        for before in [None, Some(counter(4))] {
            for after in [None, Some(counter(6))] {
                assert_eq!(memory().record(&entry(before, after)), Ok(Recorded::Overtaken));
            }
        }
        let mut memory = memory();
        assert_eq!(memory.record(&entry(Some(counter(5)), Some(counter(6)))), Ok(Recorded::Yes));
        assert_eq!(memory.record(&entry(Some(counter(6)), Some(counter(7)))), Ok(Recorded::Again));
        assert_eq!(memory.counter(&key), Ok(Some(counter(6))));
        // Whoever else has the lock is waited for, and not for ever.
        let held = memory.lock().unwrap();
        let mut third = Memory { requests: OpenRequests::default(), file: file.clone() };
        let refused = third.record(&entry(Some(counter(6)), Some(counter(8)))).unwrap_err();
        assert!(refused.ends_with("counters: another program holds it"), "{refused}");
        drop(held);
    }

    #[test]
    fn a_file_that_is_none_is_refused_by_line() {
        let good = format!("{HEAD}\n{KEY} 5 -2 7 2026-11-20T09:31:40Z\n");
        let known = parse(good.as_bytes()).unwrap();
        assert_eq!(known.into_values().collect::<Vec<_>>(), [counter(5)]);
        for (text, line) in [
            (String::new(), 1),
            (good.replace("counters 1", "counters 2"), 1),
            (good.trim_end().to_owned(), 2),
            (good.replace(" 5 ", "  5 "), 2),
            (good.replace(" 5 ", " 4294967296 "), 2),
            (good.replace("1D9B", "1d9b"), 2),
            (good.replace("1D9B", ""), 2),
            (format!("{good}\n"), 3),
            (format!("{good}{}", good.lines().last().unwrap()), 3),
            (format!("{good}{KEY} 6 0 0 2026-11-20T09:31:40Z\n"), 3),
        ] {
            assert_eq!(parse(text.as_bytes()).map(|_| ()), Err(line), "{text:?}");
        }
    }
}
