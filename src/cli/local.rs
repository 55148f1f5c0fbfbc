//! The verifier that lives on this machine: its store, and the private keys beside it.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::audit::{LogKey, LogSigner};
use crate::cli::audit::kept;
use crate::cli::place;
use crate::cli::report::Failure;
use crate::grant::{GrantKeyError, GrantSigner, read_private};
use crate::store::StoreError;
use crate::store::sqlite::Sqlite;
use crate::trust::Trust;

fn store_path() -> Result<PathBuf, Failure> {
    Ok(place::state()?.join("store.db"))
}

fn key_path(name: &str) -> Result<PathBuf, Failure> {
    Ok(place::state()?.join("keys").join(name))
}

/// Opens the store, and makes it if there is none.
///
/// # Errors
/// As [`store`].
pub(super) fn store_or_new(trust: &Trust) -> Result<Sqlite, Failure> {
    // Without its key no store is made.
    let signer = log_signer(trust)?;
    let folder = place::state()?;
    place::make_private_directory(&folder).map_err(|error| place::unwritable(&folder, &error))?;
    open(signer, trust)
}

/// Opens the store, if there is one.
///
/// # Errors
/// If it cannot be opened, trust does not list the key that its log is signed with, or it is behind the checkpoint that
/// is kept beside it: then it was restored from an older copy.
pub(super) fn store(trust: &Trust) -> Result<Option<Sqlite>, Failure> {
    if !place::exists(&store_path()?) {
        return Ok(None);
    }
    open(log_signer(trust)?, trust).map(Some)
}

fn open(signer: LogSigner, trust: &Trust) -> Result<Sqlite, Failure> {
    let store = Sqlite::open(&store_path()?, signer).map_err(|error| store_failed(&error))?;
    kept::check(&store, trust)?;
    Ok(store)
}

/// Opens the store to look at it, if there is one, whatever checkpoint is kept: for that the public key of its log will do.
///
/// # Errors
/// If it cannot be opened, or its log is another's.
pub(super) fn store_to_read(key: &LogKey) -> Result<Option<Sqlite>, Failure> {
    let path = store_path()?;
    if !place::exists(&path) {
        return Ok(None);
    }
    Sqlite::open_to_read(&path, key).map(Some).map_err(|error| {
        store_failed(&error)
            .hint("nothing was changed; see that trust lists this log's key, and its disk is well")
    })
}

/// A store that failed, as a failure.
pub(super) fn store_failed(error: &StoreError) -> Failure {
    Failure::failed("store", error.to_string())
        .hint("nothing was changed; see that its disk has room and is well")
}

/// The key that signs the log here, and that trust lists.
fn log_signer(trust: &Trust) -> Result<LogSigner, Failure> {
    let path = key_path("log.pk8")?;
    let bytes = private(&path)?;
    let signer = LogSigner::from_pkcs8(trust.audience.as_str(), &bytes)
        .map_err(|error| Failure::failed("bad-key", format!("{}: {error}", path.display())))?;
    match &trust.log_key {
        Some(listed) if listed == signer.key() => Ok(signer),
        Some(listed) => {
            Err(Failure::failed("key-not-in-trust", "the log here is not the one that trust lists")
                .fact("trust", listed.to_string())
                .fact("here", signer.key().to_string())
                .hint("put the listed key into its place, or list this one with an update of trust"))
        }
        None => Err(no_key("log_key")),
    }
}

/// The key that signs grants here.
///
/// # Errors
/// If it is not there, others may read it, or trust lists no such key.
pub(super) fn grant_signer(trust: &Trust) -> Result<GrantSigner, Failure> {
    if trust.grant_keys.is_empty() {
        return Err(no_key("[[grant_key]]"));
    }
    let path = key_path("grant.pk8")?;
    GrantSigner::listed(&private(&path)?, &trust.grant_keys).map_err(|error| match error {
        GrantKeyError::NotInTrust => Failure::failed("key-not-in-trust", error.to_string())
            .hint("put a listed key into its place, or list this one with an update of trust"),
        error => Failure::failed("bad-key", format!("{}: {error}", path.display())),
    })
}

/// Trust that grants cannot be made or checked under.
pub(super) fn no_key(name: &str) -> Failure {
    Failure::failed("no-key-in-trust", format!("policy.toml lists no {name}; without it there are no grants"))
        .hint("`touchgate init` makes the keys and prints the lines; add them with an update of trust")
}

/// Reads a private key that its owner alone may read.
fn private(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    read_private(path).map_err(|error| match error {
        GrantKeyError::Unreadable { error, .. } => place::unreadable(path, &error)
            .hint("`touchgate init` makes it; a verifier has it beside its store"),
        error => Failure::failed("unsafe-permissions", error.to_string())
            .hint("whoever could read it may have it: make another and list that in trust"),
    })
}
