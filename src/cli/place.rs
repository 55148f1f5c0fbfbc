//! Where configuration lies: which trust is used, and the pin that it must match.

use std::env;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::challenge::TrustVersion;
use crate::cli::report::Failure;
use crate::trust::Trust;
use crate::trust::versions::{check_pin, read_pin};

/// The machine's own configuration.
const SYSTEM: &str = "/etc/touchgate";
/// A pin is one short line.
const MAX_PIN: u64 = 128;

/// Trust that may be used, and how far it is known to be the right one.
#[derive(Debug)]
pub(super) struct Chosen {
    /// The trust.
    pub trust: Trust,
    /// Where it lies.
    pub directory: PathBuf,
    /// Whether a pin vouches for it.
    pub pinned: bool,
}

/// The directory of the person's own configuration.
///
/// # Errors
/// If there is no home directory.
pub(super) fn personal() -> Result<PathBuf, Failure> {
    let home = env::home_dir().filter(|home| home.is_absolute());
    let missing = || {
        Failure::failed("no-home", "there is no home directory to keep the configuration in").hint("set HOME")
    };
    Ok(home.ok_or_else(missing)?.join(".config/touchgate"))
}

/// Loads trust: the directory that was named, else the person's, else the machine's.
///
/// # Errors
/// If there is none, if it does not load, if the pin says otherwise, or without a pin unless `unpinned`.
pub(super) fn trust(named: Option<&Path>, unpinned: bool) -> Result<Chosen, Failure> {
    let places = [personal()?, PathBuf::from(SYSTEM)];
    let directory = match named {
        Some(directory) => directory.to_owned(),
        None => {
            let found = places.iter().map(|place| place.join("trust")).find(|directory| exists(directory));
            let missing = || {
                Failure::failed("no-trust", "this machine does not say yet who may approve what")
                    .hint("run `touchgate init`")
            };
            found.ok_or_else(missing)?
        }
    };
    let trust = Trust::load(&directory).map_err(|error| {
        let hint = format!("mend {}, or restore the version that was signed", directory.display());
        Failure::failed("bad-trust", error.to_string()).hint(hint)
    })?;
    let pin = places.iter().map(|place| place.join("pin")).find(|pin| exists(pin));
    let pinned = pin.is_some();
    match pin {
        Some(path) => {
            let pin = load_pin(&path)?;
            check_pin(trust.version, pin).map_err(|_| {
                Failure::failed("trust-pin-differs", "trust is not the version that was pinned")
                    .fact("pinned", pin.to_string())
                    .fact("found", trust.version.to_string())
                    .hint(format!(
                        "if you changed {} yourself, pin it again by writing the found line to {}",
                        directory.display(),
                        path.display()
                    ))
            })?;
        }
        None if unpinned => {}
        None => {
            return Err(Failure::failed("no-trust-pin", format!("nothing pins the trust in {}", directory.display()))
                .fact("found", trust.version.to_string())
                .hint("compare it with an administrator's and write it to ~/.config/touchgate/pin, or pass --unpinned for this once"));
        }
    }
    Ok(Chosen { trust, directory, pinned })
}

fn load_pin(path: &Path) -> Result<TrustVersion, Failure> {
    let bytes = read_bounded(path, MAX_PIN).map_err(|error| unreadable(path, &error))?;
    let hint = "it holds a version's number and digest in one line";
    read_pin(&bytes)
        .map_err(|error| Failure::failed("bad-trust-pin", format!("{}: {error}", path.display())).hint(hint))
}

/// Whether something stands at `path`, readable or not: what cannot be looked at must not count as absent.
fn exists(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Reads a file of at most `most` bytes; one that is longer is an error.
///
/// # Errors
/// Whatever the system gives, or `FileTooLarge`.
pub(super) fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_all(fs::File::open(path)?, most)
}

/// Reads `source` to its end, if that comes within `most` bytes.
///
/// # Errors
/// Whatever the system gives, or `FileTooLarge`.
pub(super) fn read_all(source: impl io::Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {most} bytes")));
    }
    Ok(bytes)
}

/// A file that could not be read, as a failure.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed("unreadable", format!("{}: {error}", path.display()))
}

/// Writes a file that must not exist yet, whole or not at all, readable by its owner and group as the umask says.
///
/// # Errors
/// Whatever the system gives; `AlreadyExists` if something stands there.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o644)).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

/// Opens an inherited descriptor for writing.
///
/// # Errors
/// If there is no such descriptor, or it cannot be written to.
pub(super) fn descriptor(number: u32) -> io::Result<fs::File> {
    fs::OpenOptions::new().append(true).custom_flags(0).open(format!("/proc/self/fd/{number}"))
}
