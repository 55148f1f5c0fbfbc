//! The private keys of this verifier, made once: one signs the log, one the grants.
//!
//! `~/.local/state/touchgate/keys/log.pk8` and `grant.pk8`, PKCS#8 in DER, for their owner alone. Their public halves
//! go into policy.toml. Keys that are there already are taken: the log that they signed goes on.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::audit::{LogKey, LogSigner};
use crate::challenge::Audience;
use crate::cli::place;
use crate::cli::report::Failure;
use crate::grant::{Algorithm, GrantKey, GrantKeyError, GrantSigner, read_private, write_private};

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
                made
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

/// What is there, read as the verifier reads it later.
fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    match read_private(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(GrantKeyError::Unreadable { error, .. }) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(GrantKeyError::Unreadable { error, .. }) => Err(place::unreadable(path, &error)),
        Err(_) => {
            let message = format!("{} is not a file of yours alone", path.display());
            Err(Failure::failed("unsafe-permissions", message)
                .hint("whoever could read it may have it; move it away, and another is made"))
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_private(path, bytes).map_err(|error| match error {
        GrantKeyError::Unreadable { error, .. } => place::unwritable(path, &error),
        error => Failure::failed("bad-key", error.to_string()),
    })
}
