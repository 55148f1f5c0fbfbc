//! Changes a directory of trust as a whole: everything or nothing, one change at a time.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use crate::cli::place;
use crate::cli::report::Failure;
use crate::trust::{self, Files};

/// How often a directory is looked at again that others exchange meanwhile.
const TRIES: usize = 16;

/// A directory that nobody else changes through this program as long as this lives.
#[derive(Debug)]
pub(in crate::cli) struct Locked {
    path: PathBuf,
    /// The directory, open; its lock ends with it.
    lock: File,
    /// Where `trust sign` writes, locked as it does, if it is there.
    versions: Option<File>,
    /// What was in it when it was locked.
    pub files: Files,
}

impl Locked {
    /// Locks a directory and reads it.
    ///
    /// # Errors
    /// If somebody else has it locked, or it cannot be read.
    pub(in crate::cli) fn open(directory: &Path) -> Result<Self, Failure> {
        let unreadable = |error: io::Error| place::unreadable(directory, &error);
        let path = fs::canonicalize(directory).map_err(unreadable)?;
        for _ in 0..TRIES {
            let lock = File::open(&path).map_err(unreadable)?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                break;
            }
            // Whoever had it before may have put another in its place.
            if is_at(&lock, &path).map_err(unreadable)? {
                let versions = match File::open(path.join("versions")) {
                    Ok(versions) if flock(&versions, FlockOperation::NonBlockingLockExclusive).is_ok() => {
                        Some(versions)
                    }
                    Ok(_) => break,
                    Err(_) => None,
                };
                let bad = |error| place::bad_trust(&error, directory);
                let files = trust::read_directory(&path).map_err(bad)?;
                return Ok(Self { path, lock, versions, files });
            }
        }
        let message = format!("another command is changing {}", directory.display());
        Err(Failure::failed("locked", message).hint("wait for it to end"))
    }

    /// Puts `files` in the place of those that were read, at once. What lies below `versions/` stays.
    ///
    /// # Errors
    /// If it cannot be written, or somebody changed the directory meanwhile; nothing is changed then.
    pub(in crate::cli) fn replace(self, files: &Files) -> Result<(), Failure> {
        let unwritable = |error: io::Error| place::unwritable(&self.path, &error);
        let new = self.beside(files).map_err(unwritable)?;
        let now = trust::read_directory(&self.path).map_err(|error| place::bad_trust(&error, &self.path))?;
        let signing = self.versions.is_none() && self.path.join("versions").exists();
        if signing || now != self.files || !is_at(&self.lock, &self.path).map_err(unwritable)? {
            let message = format!("{} was changed meanwhile", self.path.display());
            return Err(Failure::failed("changed-meanwhile", message).hint("run the same command again"));
        }
        exchange(new.path(), &self.path).map_err(unwritable)?;
        // What was there before lies where the new one was made, and goes with it.
        new.close().map_err(unwritable)
    }

    /// The new directory, beside the old one. A file that stays the same is the same file.
    fn beside(&self, files: &Files) -> io::Result<tempfile::TempDir> {
        let parent = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let permissions = fs::metadata(&self.path)?.permissions();
        let new = tempfile::Builder::new().prefix(".trust-").tempdir_in(parent)?;
        let folders: BTreeSet<&Path> = files.keys().filter_map(|path| Path::new(path).parent()).collect();
        for folder in folders {
            fs::create_dir_all(new.path().join(folder))?;
            if let Ok(before) = fs::metadata(self.path.join(folder)) {
                fs::set_permissions(new.path().join(folder), before.permissions())?;
            }
        }
        for (path, bytes) in files {
            let to = new.path().join(path);
            match self.files.get(path) == Some(bytes) {
                true => fs::hard_link(self.path.join(path), to)?,
                false => place::write_new(&to, bytes)?,
            }
        }
        let versions = self.path.join("versions");
        if versions.is_dir() {
            fs::create_dir(new.path().join("versions"))?;
            for entry in fs::read_dir(&versions)? {
                let entry = entry?;
                fs::hard_link(entry.path(), new.path().join("versions").join(entry.file_name()))?;
            }
        }
        fs::set_permissions(new.path(), permissions)?;
        File::open(new.path())?.sync_all()?;
        Ok(new)
    }
}

/// Whether this open directory is the one at that path.
fn is_at(open: &File, path: &Path) -> io::Result<bool> {
    let (one, other) = (open.metadata()?, fs::metadata(path)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Exchanges two directories at once; where the file system cannot, one after the other, so that a crash in between
/// leaves none at the place of trust rather than half of one.
fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    if renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).is_ok() {
        return Ok(());
    }
    let aside = new.with_extension("before");
    fs::rename(old, &aside)?;
    if let Err(error) = fs::rename(new, old) {
        fs::rename(&aside, old)?;
        return Err(error);
    }
    fs::rename(aside, new)
}
