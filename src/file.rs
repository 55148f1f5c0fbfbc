//! Files that are written whole or not at all, and are on the disk when that returns.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Writes a file that must not exist yet, with `mode` as the umask leaves it.
///
/// # Errors
/// Whatever the system gives; `AlreadyExists` if something stands there.
pub(crate) fn create(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    draft(path, bytes, mode)?.persist_noclobber(path).map_err(|error| error.error)?;
    settle(path)
}

/// Writes a file whether one stands there or not, with `mode` as the umask leaves it.
///
/// # Errors
/// Whatever the system gives.
#[cfg(any(feature = "cli", test))]
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    draft(path, bytes, mode)?.persist(path).map_err(|error| error.error)?;
    settle(path)
}

/// The same for whoever holds a lock on the directory: the draft has one name, so that what a run that was cut off left
/// there does not stay.
///
/// # Errors
/// Whatever the system gives.
pub(crate) fn replace_alone(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    settle(path)
}

/// Sees to it that what the directory of `path` lists is on the disk.
///
/// # Errors
/// Whatever the system gives.
pub(crate) fn settle(path: &Path) -> io::Result<()> {
    match File::open(directory(path)) {
        // Whoever may put files there need not be able to look.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        opened => opened?.sync_all(),
    }
}

fn draft(path: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let mut file =
        tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(directory(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn it_is_there_whole_or_not_at_all_and_no_draft_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
        create(&path, b"one", 0o600).unwrap();
        assert_eq!(create(&path, b"two", 0o600).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!((fs::read(&path).unwrap(), mode()), (b"one".to_vec(), 0o600));
        replace(&path, b"two", 0o400).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode()), (b"two".to_vec(), 0o400));
        // Left there by one that was killed, whatever its mode.
        fs::write(directory.path().join("file.new"), "half").unwrap();
        replace_alone(&path, b"three", 0o600).unwrap();
        assert_eq!((fs::read(&path).unwrap(), mode()), (b"three".to_vec(), 0o600));
        // What cannot be put into its place leaves nothing either.
        fs::create_dir(directory.path().join("folder")).unwrap();
        assert!(replace(&directory.path().join("folder"), b"x", 0o600).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
