//! Which trust is used, the pin that vouches for it, and the newest version that was seen from there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::challenge::TrustVersion;
use crate::cli::place::{
    SYSTEM, bad_trust, check_owner, exists, make_private_directory, personal, read_bounded, replace, state,
    unreadable, unwritable,
};
use crate::cli::report::Failure;
use crate::cli::revoked;
use crate::trust::chain::{self, ChainError, Seen, Versions};
use crate::trust::manifest::Manifest;
use crate::trust::revocation::Revocation;
use crate::trust::versions::{read_pin, write_pin};
use crate::trust::{self, Trust};
use crate::unix_time::UnixTime;

/// A pin is one short line.
const MAX_PIN: u64 = 128;
/// The memory of versions: a line of at most 93 bytes each, a thousand of them.
const MAX_SEEN: u64 = 128 * 1024;
/// Where it lies, below what is remembered for this person.
const SEEN: &str = "trust-seen";

/// Trust that may be used, and how far it is known to be the right one.
#[derive(Debug)]
pub(super) struct Chosen {
    /// The trust.
    pub trust: Trust,
    /// What it was made of.
    pub manifest: Manifest,
    /// Where it lies.
    pub directory: PathBuf,
    /// Whether a pin vouches for it.
    pub pinned: bool,
    /// Every version from the oldest pin to this one, each signed by the people of the one before; none without a pin.
    pub way: Vec<TrustVersion>,
    /// The revocations that it goes by.
    pub lost: Vec<Revocation>,
}

/// A pin and where it lies.
#[derive(Clone, Debug)]
pub(super) struct Pin {
    /// The version that it names.
    pub version: TrustVersion,
    /// Its file.
    pub path: PathBuf,
}

/// Loads trust: the directory that was named, else the person's, else the machine's. Every pin that is set binds,
/// whatever was named: from each of them the signed updates are followed to what lies there.
///
/// # Errors
/// If there is none, if it does not load, if a pin says otherwise, or without a pin unless `unpinned`.
pub(super) fn trust(named: Option<&Path>, unpinned: bool) -> Result<Chosen, Failure> {
    let directory = directory(named)?;
    let files = trust::read_directory(&directory).map_err(|error| bad_directory(&error, &directory))?;
    let versions = Versions::read_directory(&directory).map_err(|error| malformed(&error, &directory))?;
    let pins = pins()?;
    // Before anything in them is read: what no pin vouches for is not even parsed.
    let manifest = Manifest::new(files);
    let digest = manifest.digest();
    let mut seen = if pins.is_empty() { Seen::default() } else { read_seen()? };
    let lost = revoked::all()?;
    let mut longest = Vec::new();
    for pin in &pins {
        let now = UnixTime::now();
        let followed = chain::follow_without(&pin.version, &digest, &versions, &seen, &lost, now);
        let way = followed.map_err(|error| broken(&seen.explain(error), pin, &directory))?;
        seen.remember(&way).map_err(|error| broken(&error, pin, &directory))?;
        longest = if way.len() > longest.len() { way } else { longest };
    }
    let mut trust = Trust::from_manifest(&manifest).map_err(|error| bad_directory(&error, &directory))?;
    trust.lose(&lost);
    // The digest is right: then so is the number, or the pin is wrong.
    if let Some(pin) = pins.iter().find(|pin| pin.version.digest == digest && pin.version != trust.version) {
        return Err(differs(pin, &trust.version.to_string(), &directory));
    }
    if pins.is_empty() && !unpinned {
        let directory = directory.display();
        return Err(Failure::failed("no-trust-pin", format!("nothing pins the trust in {directory}"))
            .fact("found", trust.version.to_string())
            .hint("`touchgate trust pin` shows it to you and pins it, or pass --unpinned for this once"));
    }
    if pins.iter().any(|pin| pin.version != trust.version) {
        remember(&seen)?;
    }
    Ok(Chosen { trust, manifest, directory, pinned: !pins.is_empty(), way: longest, lost })
}

/// The directory that was named, else the person's, else the machine's.
///
/// # Errors
/// If there is none.
pub(super) fn directory(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(directory) = named {
        return Ok(directory.to_owned());
    }
    let places = [personal()?, PathBuf::from(SYSTEM)];
    let found = places.iter().map(|place| place.join("trust")).find(|directory| exists(directory));
    found.ok_or_else(|| {
        Failure::failed("no-trust", "this machine does not say yet who may approve what")
            .hint("run `touchgate init`")
    })
}

/// Every pin that is set: the person's and the machine's.
///
/// # Errors
/// If one cannot be read, others may change it, or it is no pin.
pub(super) fn pins() -> Result<Vec<Pin>, Failure> {
    let places = [personal()?, PathBuf::from(SYSTEM)];
    let paths = places.iter().map(|place| place.join("pin")).filter(|pin| exists(pin));
    paths.map(|path| Ok(Pin { version: load_pin(&path)?, path })).collect()
}

/// The version that one pin names.
///
/// # Errors
/// If it cannot be read, others may change it, or it is no pin.
pub(super) fn load_pin(path: &Path) -> Result<TrustVersion, Failure> {
    for path in [path.parent().unwrap_or(path), path] {
        check_owner(path)?;
    }
    let bytes = read_bounded(path, MAX_PIN).map_err(|error| unreadable(path, &error))?;
    let hint = "it holds a version's number and digest in one line";
    read_pin(&bytes)
        .map_err(|error| Failure::failed("bad-trust-pin", format!("{}: {error}", path.display())).hint(hint))
}

/// Sets the person's pin, and begins to remember anew from there.
///
/// # Errors
/// If it cannot be written.
pub(super) fn set_pin(version: &TrustVersion) -> Result<PathBuf, Failure> {
    let place = personal()?;
    let path = place.join("pin");
    make_private_directory(&place).map_err(|error| unwritable(&place, &error))?;
    replace(&path, write_pin(version).as_bytes()).map_err(|error| unwritable(&path, &error))?;
    let seen = state()?.join(SEEN);
    match fs::remove_file(&seen) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(&seen, &error)),
        _ => {}
    }
    Ok(path)
}

/// What was seen of versions beside the pins.
///
/// # Errors
/// If it is there and cannot be read: what is not known must not be forgotten.
pub(super) fn read_seen() -> Result<Seen, Failure> {
    let path = state()?.join(SEEN);
    if !exists(&path) {
        return Ok(Seen::default());
    }
    check_owner(&path)?;
    let bytes = read_bounded(&path, MAX_SEEN).map_err(|error| unreadable(&path, &error))?;
    Seen::parse(&bytes).map_err(|error| {
        Failure::failed("bad-trust-seen", format!("{}: {error}", path.display()))
            .hint("it says how far trust has come here; `touchgate trust pin VERSION DIGEST` begins it anew")
    })
}

/// Writes what was seen, if that is more than is written already.
fn remember(seen: &Seen) -> Result<(), Failure> {
    let place = state()?;
    let path = place.join(SEEN);
    let written = || -> io::Result<fs::File> {
        make_private_directory(&place)?;
        let lock = fs::File::open(&place)?;
        // Whoever came further in the meantime must not be forgotten again.
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        Ok(lock)
    };
    let _lock = written().map_err(|error| unwritable(&path, &error))?;
    let newest = read_seen()?.newest();
    if newest.is_some_and(|newest| seen.newest().is_none_or(|own| own.number <= newest.number)) {
        return Ok(());
    }
    replace(&path, seen.to_text().as_bytes()).map_err(|error| unwritable(&path, &error))
}

/// The signed updates that do not hold, or do not lead to what lies there.
pub(super) fn broken(error: &ChainError, pin: &Pin, directory: &Path) -> Failure {
    let place = directory.display();
    match error {
        ChainError::Unvouched { newest, found } if *newest == pin.version => {
            differs(pin, &found.to_string(), directory)
        }
        ChainError::Unvouched { newest, found } => differs(pin, &found.to_string(), directory)
            .fact("signed", newest.to_string()),
        ChainError::Behind { .. } | ChainError::Rollback { .. } => {
            Failure::failed(error.code(), error.to_string()).fact("pinned", pin.version.to_string()).hint(format!(
                "fetch the newest trust into {place}; to go back on purpose, pin the older version with its digest"
            ))
        }
        ChainError::Fork { .. } => Failure::failed(error.code(), error.to_string())
            .fact("pinned", pin.version.to_string())
            .hint("somebody signed two versions with one number, or shows you another trust than others: ask the administrators"),
        ChainError::Gap { .. } => Failure::failed(error.code(), error.to_string())
            .fact("pinned", pin.version.to_string())
            .hint(format!("fetch all of {place}/versions, or pin the version that lies there")),
        _ => malformed(error, directory).fact("pinned", pin.version.to_string()),
    }
}

fn malformed(error: &ChainError, directory: &Path) -> Failure {
    Failure::failed(error.code(), error.to_string())
        .hint(format!("fetch {} anew from where it was reviewed", directory.display()))
}

fn bad_directory(error: &trust::TrustError, directory: &Path) -> Failure {
    let hint = format!("mend {}, or restore the version that was pinned", directory.display());
    bad_trust(error, directory).hint(hint)
}

fn differs(pin: &Pin, found: &str, directory: &Path) -> Failure {
    Failure::failed("trust-pin-differs", "trust is not the version that was pinned")
        .fact("pinned", pin.version.to_string())
        .fact("found", found)
        .hint(format!(
            "if {} was changed on purpose: `touchgate trust sign` has the change signed, `touchgate trust pin` takes it as it is",
            directory.display(),
        ))
}
