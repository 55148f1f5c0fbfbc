//! The private keys of this verifier, made once: one signs the log, one the grants.
//!
//! `~/.local/state/touchgate/keys/log.pk8` and `grant.pk8`, PKCS#8 in DER, for their owner alone. Their public halves
//! go into policy.toml. Keys that are there already are taken: the log that they signed goes on.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use sequoia_openpgp::crypto::mem::Protected;

use crate::audit::{LogKey, LogSigner};
use crate::challenge::Audience;
use crate::cli::place;
use crate::cli::report::Failure;
use crate::grant::{Algorithm, GrantKey, GrantSigner};

/// An Ed25519 or P-256 key in PKCS#8 takes a tenth of it.
const MAX_PKCS8: u64 = 4096;
/// The name of the first grant key; the next one gets another.
const KID: &str = "1";

/// The public halves.
pub(super) struct Keys {
    log: LogKey,
    grant: GrantKey,
    /// Where the private ones lie.
    pub directory: PathBuf,
}

impl Keys {
    /// Takes the keys that are there, and makes those that are not.
    ///
    /// # Errors
    /// If one cannot be read or written, is none, or others may read it.
    pub(super) fn make(audience: &Audience) -> Result<Self, Failure> {
        let directory = place::state()?.join("keys");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| place::unwritable(&directory, &error))?;
        let bad = |path: &Path, error: &dyn std::fmt::Display| {
            Failure::failed("bad-key", format!("{}: {error}", path.display()))
                .hint("move it away; another is made then, and the log that it signed ends with it")
        };
        let path = directory.join("log.pk8");
        let name = audience.as_str();
        let log = match read(&path)? {
            Some(bytes) => LogSigner::from_pkcs8(name, &bytes).map_err(|error| bad(&path, &error))?,
            None => {
                let (signer, bytes) = LogSigner::generate(name).map_err(|error| bad(&path, &error))?;
                write(&path, &bytes)?;
                signer
            }
        };
        let path = directory.join("grant.pk8");
        let bytes = match read(&path)? {
            Some(bytes) => bytes,
            None => {
                let made = GrantSigner::generate(Algorithm::Es256).map_err(|error| bad(&path, &error))?;
                write(&path, &made)?;
                Protected::from(made.as_slice())
            }
        };
        let grant = GrantSigner::from_pkcs8(KID, &bytes).map_err(|error| bad(&path, &error))?;
        Ok(Self { log: log.key().clone(), grant: grant.key().clone(), directory })
    }

    /// The lines of policy.toml that list them.
    pub(super) fn toml(&self) -> String {
        format!(
            "log_key     = \"{}\"\n\n[[grant_key]]\nkid = \"{}\"\nalg = \"{}\"\nkey = \"{}\"\n",
            self.log,
            self.grant.kid(),
            self.grant.algorithm(),
            self.grant.to_base64(),
        )
    }
}

fn read(path: &Path) -> Result<Option<Protected>, Failure> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(place::unreadable(path, &error)),
        Ok(found) if !found.is_file() || found.mode() & 0o077 != 0 => {
            let message = format!("{} is not a file of yours alone", path.display());
            return Err(Failure::failed("unsafe-permissions", message)
                .hint("whoever could read it may have it; move it away, and another is made"));
        }
        Ok(_) => {}
    }
    let bytes = place::read_bounded(path, MAX_PKCS8).map_err(|error| place::unreadable(path, &error))?;
    Ok(Some(Protected::from(bytes)))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    place::write_private(path, bytes).map_err(|error| place::unwritable(path, &error))
}
