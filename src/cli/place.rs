//! Where configuration lies, and how its files are read and written.

use std::env;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;

use crate::cli::prompt::TICK;
use crate::cli::report::Failure;
use crate::file;
use crate::trust::TrustError;

pub(super) use crate::cli::pinned::{Chosen, pins, trust};

/// The machine's own configuration.
pub(super) const SYSTEM: &str = "/etc/touchgate";

/// The directory of the person's own configuration.
///
/// # Errors
/// If there is no home directory.
pub(super) fn personal() -> Result<PathBuf, Failure> {
    Ok(home()?.join(".config/touchgate"))
}

/// The directory of what is remembered for this person, which need not exist.
///
/// # Errors
/// If there is no home directory.
pub(super) fn state() -> Result<PathBuf, Failure> {
    Ok(home()?.join(".local/state/touchgate"))
}

fn home() -> Result<PathBuf, Failure> {
    let home = env::home_dir().filter(|home| home.is_absolute());
    let missing = || {
        Failure::failed("no-home", "there is no home directory to keep the configuration in").hint("set HOME")
    };
    home.ok_or_else(missing)
}

/// What stands under this name in the person's configuration and in the machine's.
pub(super) fn configured(name: &str) -> Vec<PathBuf> {
    let places = personal().ok().into_iter().chain([PathBuf::from(SYSTEM)]);
    places.map(|place| place.join(name)).filter(|path| exists(path)).collect()
}

/// Where the trust lies that this machine goes by, whether or not there is any.
pub(super) fn installed() -> Vec<PathBuf> {
    let places = personal().ok().into_iter().chain([PathBuf::from(SYSTEM)]);
    places.map(|place| place.join("trust")).collect()
}

/// A directory that is not trust, as a failure.
pub(super) fn bad_trust(error: &TrustError, directory: &Path) -> Failure {
    let failure = Failure::failed("bad-trust", error.to_string()).with("reason", error.code());
    let failure = match error.place() {
        None => failure,
        Some(place) => failure.with("place", serde_json::json!(place)),
    };
    failure.hint(format!("mend {}", directory.display()))
}

/// What others may write, they may also turn into their own.
pub(super) fn check_owner(path: &Path) -> Result<(), Failure> {
    let found = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own && found.uid() != 0 || found.mode() & 0o022 != 0 {
        let path = path.display();
        return Err(Failure::failed("unsafe-permissions", format!("{path} can be changed by other users"))
            .hint(format!("chmod go-w {path}, and see that it is yours")));
    }
    Ok(())
}

/// Whether something stands at `path`, readable or not: what cannot be looked at must not count as absent.
pub(super) fn exists(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Reads a file of at most `most` bytes; one that is longer is an error.
///
/// # Errors
/// Whatever the system gives, or `FileTooLarge`.
pub(super) fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {most} bytes")));
    }
    Ok(bytes)
}

/// A file that could not be written, as a failure.
pub(super) fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::AlreadyExists => {
            "nothing is overwritten; move what stands there, or name another place"
        }
        _ => "check the path and who may write there",
    };
    Failure::failed("write", format!("{}: {error}", path.display())).hint(hint)
}

/// Finds out before the touch, not after it, that something is in the way.
///
/// # Errors
/// If something stands at one of them.
pub(super) fn check_free(paths: &[&Path]) -> Result<(), Failure> {
    match paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        None => Ok(()),
        Some(path) => Err(unwritable(path, &io::ErrorKind::AlreadyExists.into())),
    }
}

/// A file that could not be read, as a failure.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed("unreadable", format!("{}: {error}", path.display()))
        .hint("check the path and who may read it")
}

/// Writes a file that must not exist yet, readable by its owner and group as the umask says.
///
/// # Errors
/// Whatever the system gives; `AlreadyExists` if something stands there.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    file::create(path, bytes, 0o644)
}

/// The same, for its owner alone.
///
/// # Errors
/// As [`write_new`].
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    file::create(path, bytes, 0o600)
}

/// Writes a file, whether one stands there or not, for its owner alone to change.
///
/// # Errors
/// Whatever the system gives.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    file::replace(path, bytes, 0o644)
}

/// Makes a directory and those above it, for this person alone, if it is not there.
///
/// # Errors
/// Whatever the system gives.
pub(super) fn make_private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens the pipe that was inherited at descriptor `number`, to read or to write.
///
/// Only pipes: of a file, the command that is started later would inherit the other end of what is
/// read or written here. Nothing of it waits, [`write_pipe`] apart.
///
/// # Errors
/// If there is no such descriptor, it may not be opened, it is no pipe, or nobody has it open to read.
pub(super) fn inherited_pipe(number: u32, write: bool) -> io::Result<fs::File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let path = format!("/proc/self/fd/{number}");
    if !fs::metadata(&path)?.file_type().is_fifo() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a pipe"));
    }
    fs::OpenOptions::new().read(!write).write(write).custom_flags(flags).open(path)
}

/// Writes to the pipe that was inherited at descriptor `number`. While it is full it waits, until `enough` says not to.
///
/// # Errors
/// As [`inherited_pipe`]; whatever the system gives; `TimedOut` if it was enough.
pub(super) fn write_pipe(number: u32, mut bytes: &[u8], enough: impl Fn() -> bool) -> io::Result<()> {
    let mut pipe = inherited_pipe(number, true)?;
    while !bytes.is_empty() {
        match pipe.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Err(_) if enough() => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => match poll(&mut [PollFd::new(&pipe, PollFlags::OUT)], Some(&TICK)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            },
        }
    }
    Ok(())
}
