//! Where the store lies: a file and a directory that nobody else can write, made whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::StoreError;
use crate::store::sqlite::bad;

/// What the library keeps beside the file: changes that are not in it yet, and an index of them.
const BESIDE: [&str; 3] = ["-journal", "-shm", "-wal"];

/// Whether the store is there.
///
/// # Errors
/// If something else is, or others can write it.
pub(super) fn find(path: &Path) -> Result<bool, StoreError> {
    let directory = directory_of(path);
    if !check(directory, "directory", fs::Metadata::is_dir)? {
        return Ok(false);
    }
    let mut beside = None;
    for ending in BESIDE {
        let path = with_ending(path, ending);
        if check(&path, "file", fs::Metadata::is_file)? {
            beside = Some(path);
        }
    }
    // Looked for last: whoever makes it meanwhile makes it before what lies beside it.
    let there = check(path, "file", fs::Metadata::is_file)?;
    if let Some(beside) = beside.filter(|_| !there) {
        // The library would pour it into whatever new file it found.
        return Err(bad(&beside.display().to_string(), "lies there without its store"));
    }
    Ok(there)
}

/// Looks without opening: to close a file that this process has open elsewhere gives up the library's locks on it.
fn check(path: &Path, kind: &str, is: fn(&fs::Metadata) -> bool) -> Result<bool, StoreError> {
    let shown = path.display().to_string();
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(bad(&shown, error.to_string())),
        Ok(found) => found,
    };
    if !is(&found) {
        return Err(bad(&shown, format!("is not a {kind} but something else, or a symbolic link")));
    }
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own && found.uid() != 0 || found.mode() & 0o022 != 0 {
        return Err(bad(&shown, "can be changed by other users; take it from them with chmod go-w"));
    }
    Ok(true)
}

/// Makes the file: `fill` is given the path of an empty one, and only what it filled whole comes to stand at `path`.
/// If another process was faster, its file stays.
///
/// # Errors
/// Whatever `fill` or the system gives.
pub(super) fn create(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let failed = |error: io::Error| bad(&path.display().to_string(), error.to_string());
    let directory = directory_of(path);
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let new = with_ending(path, &format!(".new-{}-{number}", std::process::id()));
    // What an earlier process of this number left half done.
    remove(&new);
    let empty = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(failed)?;
    drop(empty);
    let made = fill(&new).and_then(|()| {
        File::open(&new).and_then(|file| file.sync_all()).map_err(failed)?;
        match fs::hard_link(&new, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(failed),
        }
    });
    remove(&new);
    made?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// It was never the store: if it stays, it is in nobody's way.
fn remove(new: &Path) {
    let _ = fs::remove_file(new);
    for ending in BESIDE {
        let _ = fs::remove_file(with_ending(new, ending));
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}
