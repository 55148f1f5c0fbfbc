//! The folder that a log is exported into, while it is written: whoever else may write there leads it nowhere else.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, fsync, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::ExportError;

/// What a folder is opened with: a link is none.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What a file is made with: never one that stands there.
const DRAFT: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// An open folder. Names below it are parted by `/`; no link among them is followed.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    open: OwnedFd,
}

impl Folder {
    /// Opens a folder, and makes it and those above it if it is not there. It may be a link itself: its name was given.
    ///
    /// # Errors
    /// [`ExportError::Unusable`].
    pub(super) fn open(path: &Path) -> Result<Self, ExportError> {
        let opened = fs::create_dir_all(path).and_then(|()| File::open(path));
        let open = opened.map_err(|error| unusable(path, error))?.into();
        Ok(Self { path: path.to_owned(), open })
    }

    /// Puts a file into its place, whole and durable, or not at all.
    ///
    /// # Errors
    /// [`ExportError::Unusable`].
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
        let folder = self.enter(folders, true)?;
        put(&folder, file, bytes).map_err(|error| unusable(&self.path.join(name), error))
    }

    /// Removes a folder and the files in it, if it is there.
    ///
    /// # Errors
    /// [`ExportError::Unusable`], also if it holds other folders.
    pub(super) fn remove(&self, name: &str) -> Result<(), ExportError> {
        let (folders, last) = name.rsplit_once('/').unwrap_or(("", name));
        let folder = match self.enter(folders, false) {
            Err(error) if is_absent(&error) => return Ok(()),
            folder => folder?,
        };
        let removed = || {
            let inner = match openat(&folder, last, FOLDER, Mode::empty()) {
                Err(Errno::NOENT) => return Ok(()),
                inner => inner?,
            };
            for entry in Dir::read_from(&inner)? {
                let entry = entry?;
                if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                    unlinkat(&inner, entry.file_name(), AtFlags::empty())?;
                }
            }
            unlinkat(&folder, last, AtFlags::REMOVEDIR)
        };
        removed().map_err(|error: Errno| unusable(&self.path.join(name), error.into()))
    }

    /// Goes down from folder to folder, and makes what is missing if it may.
    fn enter(&self, folders: &str, make: bool) -> Result<OwnedFd, ExportError> {
        let mut path = self.path.clone();
        let mut folder = self.open.try_clone().map_err(|error| unusable(&path, error))?;
        for name in folders.split('/').filter(|name| !name.is_empty()) {
            path.push(name);
            let next = || {
                if make {
                    match mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
                        Ok(()) => fsync(&folder)?,
                        Err(Errno::EXIST) => {}
                        Err(error) => return Err(error),
                    }
                }
                openat(&folder, name, FOLDER, Mode::empty())
            };
            folder = next().map_err(|error| unusable(&path, error.into()))?;
        }
        Ok(folder)
    }
}

fn put(folder: &OwnedFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    let draft = format!(".{name}.{:016x}", u64::from_be_bytes(random));
    let mut file = File::from(openat(folder, &draft, DRAFT, Mode::from_raw_mode(0o666))?);
    let placed = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| Ok(renameat(folder, &draft, folder, name)?));
    if placed.is_err() {
        let _ = unlinkat(folder, &draft, AtFlags::empty());
    }
    placed?;
    Ok(fsync(folder)?)
}

fn is_absent(error: &ExportError) -> bool {
    matches!(error, ExportError::Unusable { error, .. } if error.kind() == io::ErrorKind::NotFound)
}

fn unusable(path: &Path, error: io::Error) -> ExportError {
    ExportError::Unusable { path: path.to_owned(), error }
}
