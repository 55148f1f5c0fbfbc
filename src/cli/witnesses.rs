//! A directory by which witnesses see the log, and their cosignatures come back.
//!
//! ```text
//! checkpoint, tile/…       the log, as `audit export` writes it
//! cosigned/a1b2c3d4        the checkpoint with the line of the witness whose key in trust has this number
//! ```
//!
//! Whoever can write there can lose, delay and forge; nothing counts that a witness of trust did not sign. Only these
//! names are looked at, so that nobody keeps a witness out by flooding the directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};

use crate::audit::cosigned::{Cosigned, NotCounted};
use crate::audit::note::MAX_NOTE;
use crate::audit::{LogKey, SignedCheckpoint, WitnessKey, Witnesses};
use crate::cli::audit::{export, kept};
use crate::cli::exchange::{PATIENCE, Stamp, Told, read_in};
use crate::cli::report::{Failure, printable};
use crate::cli::{local, place};
use crate::store::{Position, Store};
use crate::trust::Trust;
use crate::unix_time::UnixTime;

/// Where cosignatures come back.
const COSIGNED: &str = "cosigned";

/// Such a directory, in the hands of the verifier whose log it has.
pub(super) struct Folder<'a> {
    path: PathBuf,
    store: &'a dyn Store,
    key: &'a LogKey,
    witnesses: &'a Witnesses,
    replies: Vec<Reply>,
    told: Told,
}

/// A file in which a cosignature may stand.
struct Reply {
    /// Its name: the number of the witness's key.
    name: String,
    /// As it was seen last, and how often so until it was judged.
    stamp: Option<Stamp>,
    looks: u32,
}

/// Refuses to ask anybody for what no witness could see.
///
/// # Errors
/// If trust demands witnesses and no directory is named.
pub(super) fn check_named(trust: &Trust, folder: Option<&Path>) -> Result<(), Failure> {
    let (needed, keys) = (trust.witnesses.needed(), trust.witnesses.keys());
    if needed == 0 || folder.is_some() {
        return Ok(());
    }
    let message =
        format!("trust demands that {needed} of {} witnesses see a decision in the log", keys.len());
    Err(Failure::failed("witnesses", message)
        .fact("witnesses", names(keys))
        .hint("name the directory by which they follow the log: --witnesses DIR"))
}

/// The names of these witnesses.
pub(super) fn names<'k>(keys: impl IntoIterator<Item = &'k WitnessKey>) -> String {
    let names: Vec<String> = keys.into_iter().map(|key| printable(key.name())).collect();
    names.join(", ")
}

impl<'a> Folder<'a> {
    /// Writes the log there, and looks whether a witness has seen more of it than there is.
    ///
    /// # Errors
    /// If it cannot be written, holds another log, or the store is behind what lies there.
    pub(super) fn open(
        path: &Path,
        store: &'a dyn Store,
        trust: &'a Trust,
        enough: impl Fn() -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let key = trust.log_key.as_ref().ok_or_else(|| local::no_key("log_key"))?;
        let reply = |key| Reply { name: number(key), stamp: None, looks: 0 };
        let witnesses = &trust.witnesses;
        let replies = witnesses.keys().iter().map(reply).collect();
        let folder = Self { path: path.to_owned(), store, key, witnesses, replies, told: Told::default() };
        folder.bring_up(enough)?;
        let cosigned = path.join(COSIGNED);
        match fs::create_dir(&cosigned) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(place::unwritable(&cosigned, &error));
            }
            _ => {}
        }
        let opened = open_folder(&cosigned).map_err(|error| place::unreadable(&cosigned, &error))?;
        for reply in &folder.replies {
            if let Some((_, Ok(note))) = reply.read(&opened) {
                check_ours(store, key, &note, &cosigned.join(&reply.name))?;
            }
        }
        Ok(folder)
    }

    /// Writes what is new in the log, and says how many entries lie there now. Another process that is at it is waited
    /// for until `enough` says not to.
    ///
    /// # Errors
    /// If it cannot be written, or it was enough.
    pub(super) fn bring_up(&self, enough: impl Fn() -> Result<(), Failure>) -> Result<u64, Failure> {
        Ok(export::bring_up(&self.path, self.store, None, enough)?.0.size)
    }

    /// What is awaited of the witnesses: that they see this entry, by their clocks from one time until the other.
    pub(super) fn awaited(&self, entry: Position, from: UnixTime, to: UnixTime) -> Cosigned {
        Cosigned::new(self.key, self.witnesses, entry.0, from, to)
    }

    /// Takes what came since the last look. A checkpoint that enough witnesses saw by now is kept in the store. Says
    /// whether anything came that counts.
    ///
    /// # Errors
    /// If the log's key signed what is not this log, or the store fails.
    pub(super) fn look(&mut self, awaited: &mut Cosigned) -> Result<bool, Failure> {
        // A share that is away for a moment may come back.
        let Ok(opened) = open_folder(&self.path.join(COSIGNED)) else { return Ok(false) };
        let mut came = false;
        for reply in &mut self.replies {
            let Some(found) = reply.news(&opened) else { continue };
            let place = self.path.join(COSIGNED).join(&reply.name);
            let judged = match found {
                Err(why) => Err(why),
                Ok(note) => {
                    check_ours(self.store, self.key, &note, &place)?;
                    match awaited.add(&note) {
                        Ok(()) => Ok(true),
                        // Its next one is awaited.
                        Err(NotCounted::Before { .. }) => Ok(false),
                        Err(error) => Err(error.to_string()),
                    }
                }
            };
            match judged {
                Ok(counts) => {
                    came |= counts;
                    reply.looks = PATIENCE;
                }
                Err(why) if reply.looks >= PATIENCE => {
                    self.told.not_counted(&format!("{}: {}\n", place.display(), printable(&why)));
                }
                // It may be half written.
                Err(_) => {}
            }
        }
        if came && let Some(enough) = awaited.enough() {
            self.store.witness(&enough).map_err(|error| local::store_failed(&error))?;
        }
        Ok(came)
    }

    /// Where the log lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where this witness's cosignature is awaited.
    pub(super) fn place(&self, witness: &WitnessKey) -> PathBuf {
        self.path.join(COSIGNED).join(number(witness))
    }
}

impl Reply {
    /// What stands in it, if it is there.
    fn read(&self, folder: &OwnedFd) -> Option<(Stamp, Result<Vec<u8>, String>)> {
        match read_in(folder, Path::new(&self.name), MAX_NOTE) {
            Ok((stamp, note)) => Some((stamp, Ok(note))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some((Stamp::default(), Err(error.to_string()))),
        }
    }

    /// The same, if it was not judged as it is.
    fn news(&mut self, folder: &OwnedFd) -> Option<Result<Vec<u8>, String>> {
        let (stamp, found) = self.read(folder)?;
        if self.stamp != Some(stamp) {
            (self.stamp, self.looks) = (Some(stamp), 0);
        }
        if self.looks >= PATIENCE {
            return None;
        }
        self.looks += 1;
        Some(found)
    }
}

/// What the log's key signed must be this log, and no more than there is: or an older store was brought back.
fn check_ours(store: &dyn Store, key: &LogKey, note: &[u8], place: &Path) -> Result<(), Failure> {
    match SignedCheckpoint::open(note, key, &Witnesses::default()) {
        Ok(seen) => kept::check_beside(store, &seen, place),
        Err(_) => Ok(()),
    }
}

/// The number of a witness's key, as its line in trust has it.
fn number(key: &WitnessKey) -> String {
    format!("{:08x}", u32::from_be_bytes(key.id()))
}

/// Whoever else may write there leads us nowhere else.
fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}
