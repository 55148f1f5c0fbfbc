//! Where configuration lies: which trust is used, and the pin that it must match.

use std::env;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::challenge::TrustVersion;
use crate::cli::report::Failure;
use crate::trust::versions::{digest, read_pin};
use crate::trust::{self, Trust, TrustError};

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

/// Loads trust: the directory that was named, else the person's, else the machine's. Every pin that is
/// set binds, whatever was named.
///
/// # Errors
/// If there is none, if it does not load, if a pin says otherwise, or without a pin unless `unpinned`.
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
    let bad = |error: TrustError| {
        let hint = format!("mend {}, or restore the version that was pinned", directory.display());
        bad_trust(&error, &directory).hint(hint)
    };
    let files = trust::read_directory(&directory).map_err(bad)?;
    let mut pins = Vec::new();
    for path in places.iter().map(|place| place.join("pin")).filter(|pin| exists(pin)) {
        pins.push((load_pin(&path)?, path));
    }
    // Before anything in them is read: what a pin does not vouch for is not even parsed.
    let digest = digest(&files);
    if let Some((pin, path)) = pins.iter().find(|(pin, _)| pin.digest != digest) {
        return Err(differs(*pin, path, &digest.to_string(), &directory));
    }
    let trust = Trust::from_files(&files).map_err(bad)?;
    if let Some((pin, path)) = pins.iter().find(|(pin, _)| *pin != trust.version) {
        return Err(differs(*pin, path, &trust.version.to_string(), &directory));
    }
    if pins.is_empty() && !unpinned {
        let directory = directory.display();
        return Err(Failure::failed("no-trust-pin", format!("nothing pins the trust in {directory}"))
            .fact("found", trust.version.to_string())
            .hint("compare it with an administrator's and write it to ~/.config/touchgate/pin, or pass --unpinned for this once"));
    }
    Ok(Chosen { trust, directory, pinned: !pins.is_empty() })
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

fn differs(pin: TrustVersion, path: &Path, found: &str, directory: &Path) -> Failure {
    Failure::failed("trust-pin-differs", "trust is not the version that was pinned")
        .fact("pinned", pin.to_string())
        .fact("found", found)
        .hint(format!(
            "if you changed {} yourself, pin it again: write its version's number and this digest to {}",
            directory.display(),
            path.display()
        ))
}

/// Every pin that is set, and where.
///
/// # Errors
/// If one cannot be read, others may change it, or it is no pin.
pub(super) fn pins() -> Result<Vec<(TrustVersion, PathBuf)>, Failure> {
    let places = [personal()?, PathBuf::from(SYSTEM)];
    let paths = places.iter().map(|place| place.join("pin")).filter(|pin| exists(pin));
    paths.map(|path| Ok((load_pin(&path)?, path))).collect()
}

/// What others may write, they may also turn into their own.
fn check_owner(path: &Path) -> Result<(), Failure> {
    let found = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own && found.uid() != 0 || found.mode() & 0o022 != 0 {
        let path = path.display();
        return Err(Failure::failed("unsafe-permissions", format!("{path} can be changed by other users"))
            .hint(format!("chmod go-w {path}, and see that it is yours")));
    }
    Ok(())
}

fn load_pin(path: &Path) -> Result<TrustVersion, Failure> {
    for path in [path.parent().unwrap_or(path), path] {
        check_owner(path)?;
    }
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

/// Writes a file that must not exist yet, whole or not at all, readable by its owner and group as the umask says.
///
/// # Errors
/// Whatever the system gives; `AlreadyExists` if something stands there.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, bytes, 0o644)
}

/// The same, for its owner alone.
///
/// # Errors
/// As [`write_new`].
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_with(path, bytes, 0o600)
}

fn write_with(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(mode)).tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

/// Opens the pipe that was inherited at descriptor `number`, to read or to write.
///
/// Only pipes: of a file, the command that is started later would inherit the other end of what is
/// read or written here. Reading does not wait.
///
/// # Errors
/// If there is no such descriptor, it may not be opened, or it is no pipe.
pub(super) fn inherited_pipe(number: u32, write: bool) -> io::Result<fs::File> {
    let no_wait = if write { OFlags::empty() } else { OFlags::NONBLOCK };
    let flags = i32::try_from(no_wait.bits()).unwrap_or_default();
    let path = format!("/proc/self/fd/{number}");
    if !fs::metadata(&path)?.file_type().is_fifo() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a pipe"));
    }
    fs::OpenOptions::new().read(!write).write(write).custom_flags(flags).open(path)
}
