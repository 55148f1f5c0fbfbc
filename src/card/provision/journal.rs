//! What a run writes down so that the next one can go on: one directory a token.
//!
//! - `pending.json`, for its owner alone: secrets and intents, from before the card learns the first of them
//!   until everything is proved and told; then it is removed.
//! - the papers of the token: see `papers`.
//! - `escrow-TIME.asc`: admin PIN and resetting code, encrypted to the certificates that the profile names.
//! - `provisioned.json`: what was done, without secrets.
//!
//! Files appear whole or not at all, and are on the disk before the card is told anything that depends on them.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ProvisionError;
use super::algorithm::KeySlot;
use super::guess::{AdminPin, Which};
use super::observe::Observed;
use super::pins::Secret;
use super::plan::Memory;
use crate::card::ident::Ident;
use crate::digest::Sha256Digest;
use crate::file;
use crate::unix_time::UnixTime;

const PENDING: &str = "pending.json";
const RECORD: &str = "provisioned.json";
/// Both files hold some hundred bytes.
const MAX_FILE: u64 = 64 * 1024;
/// Of both files: one of another format is not read.
const FORMAT: u32 = 1;

/// What an unfinished run knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pending {
    format: u32,
    serial: String,
    /// The profile that it was for.
    pub(super) profile: Sha256Digest,
    /// Seconds since 1970.
    pub(super) began: u64,
    pub(super) admin: AdminPin,
    /// What somebody said that the admin PIN is.
    pub(super) given_admin: Option<Secret>,
    pub(super) new_admin: Option<Secret>,
    pub(super) new_user: Option<Secret>,
    pub(super) new_code: Option<Secret>,
    /// File with the new admin PIN and resetting code, if they are escrowed.
    pub(super) escrow: Option<String>,
    pub(super) memory: Memory,
}

/// What was done to a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    format: u32,
    serial: String,
    /// The profile's digest.
    pub profile: Sha256Digest,
    /// When it was finished, in seconds since 1970.
    pub finished: u64,
    /// Files with the admin PIN and the resetting code, if they were escrowed.
    pub escrow: Vec<String>,
    /// Fingerprints of the keys that the token had then, in hexadecimal. A token that has others was set back
    /// or used by somebody else since, and its PINs may be any.
    pub keys: BTreeMap<KeySlot, String>,
    /// What no card tells.
    pub memory: Memory,
}

impl Record {
    /// Whether the token still has the keys that it had.
    pub(super) fn is_about(&self, observed: &Observed) -> bool {
        self.keys == fingerprints(observed)
    }
}

fn fingerprints(observed: &Observed) -> BTreeMap<KeySlot, String> {
    let written = |slot: KeySlot| {
        let fingerprint = observed.slot(slot).fingerprint;
        let hex = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
        (fingerprint != [0; 20]).then_some((slot, hex))
    };
    KeySlot::ALL.into_iter().filter_map(written).collect()
}

impl Pending {
    pub(super) fn new(
        ident: Ident,
        profile: Sha256Digest,
        now: UnixTime,
        admin: AdminPin,
        memory: Memory,
    ) -> Self {
        Self {
            format: FORMAT,
            serial: ident.to_string(),
            profile,
            began: now.seconds(),
            admin,
            given_admin: None,
            new_admin: None,
            new_user: None,
            new_code: None,
            escrow: None,
            memory,
        }
    }

    /// The text of one of the admin PINs that the token may have.
    pub(super) fn admin_pin(&self, which: Which) -> Option<&str> {
        match which {
            Which::Factory => Some(crate::card::pin_rules::FACTORY_ADMIN),
            Which::Given => self.given_admin.as_ref().map(Secret::text),
            Which::New => self.new_admin.as_ref().map(Secret::text),
        }
    }
}

/// A token's directory. While it is open for writing no other process has it.
#[derive(Debug)]
pub(super) struct Vault {
    place: PathBuf,
    serial: String,
    /// Locked as long as it is open.
    _lock: Option<File>,
}

impl Vault {
    /// Opens a token's directory and makes it where there is none.
    pub(super) fn open(place: &Path, ident: Ident) -> Result<Self, ProvisionError> {
        let failed = |error: io::Error| at(place, error);
        DirBuilder::new().recursive(true).mode(0o700).create(place).map_err(failed)?;
        let directory = File::open(place).map_err(failed)?;
        let found = directory.metadata().map_err(failed)?;
        if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
            return Err(ProvisionError::Unsafe { path: place.to_owned() });
        }
        flock(&directory, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| ProvisionError::Locked { path: place.to_owned() })?;
        Ok(Self { place: place.to_owned(), serial: ident.to_string(), _lock: Some(directory) })
    }

    /// The same to read only; nothing is made.
    pub(super) fn peek(place: &Path, ident: Ident) -> Self {
        Self { place: place.to_owned(), serial: ident.to_string(), _lock: None }
    }

    pub(super) fn pending(&self) -> Result<Option<Pending>, ProvisionError> {
        let pending: Option<Pending> = self.load(PENDING)?;
        pending.map(|it| self.check(PENDING, it.format, &it.serial).map(|()| it)).transpose()
    }

    pub(super) fn record(&self) -> Result<Option<Record>, ProvisionError> {
        let record: Option<Record> = self.load(RECORD)?;
        record.map(|it| self.check(RECORD, it.format, &it.serial).map(|()| it)).transpose()
    }

    pub(super) fn save(&self, pending: &Pending) -> Result<(), ProvisionError> {
        let bytes = serde_json::to_vec(pending).map(Zeroizing::new);
        let bytes = bytes.map_err(|error| at(&self.place.join(PENDING), io::Error::other(error)))?;
        self.write(PENDING, &bytes, 0o600)
    }

    /// Everything is proved and told: the record stays, the secrets go.
    pub(super) fn finish(
        &self,
        pending: &Pending,
        observed: &Observed,
        now: UnixTime,
    ) -> Result<(), ProvisionError> {
        // What was escrowed before is still what the token has, unless that is another admin PIN now.
        let mut escrow = match pending.new_admin {
            Some(_) => Vec::new(),
            None => self.record()?.map(|record| record.escrow).unwrap_or_default(),
        };
        escrow.extend(pending.escrow.clone());
        let record = Record {
            format: FORMAT,
            serial: self.serial.clone(),
            profile: pending.profile,
            finished: now.seconds(),
            escrow,
            keys: fingerprints(observed),
            memory: Memory { begun: [false; 3], ..pending.memory.clone() },
        };
        let mut bytes = serde_json::to_vec_pretty(&record)
            .map_err(|error| at(&self.place.join(RECORD), io::Error::other(error)))?;
        bytes.push(b'\n');
        self.write(RECORD, &bytes, 0o644)?;
        let path = self.place.join(PENDING);
        fs::remove_file(&path).and_then(|()| file::settle(&path)).map_err(|error| at(&path, error))
    }

    /// Writes a file of this directory, whole or not at all, on the disk when this returns.
    pub(super) fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), ProvisionError> {
        let path = self.place.join(name);
        file::replace_alone(&path, bytes, mode).map_err(|error| at(&path, error))
    }

    /// Reads a file of this directory; nothing if it is not there.
    pub(super) fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, ProvisionError> {
        match read_bounded(&self.place.join(name), most) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ProvisionError::File { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is such a file.
    pub(super) fn has(&self, name: &str) -> bool {
        self.place.join(name).is_file()
    }

    /// The name of the certificate.
    pub(super) fn certificate(&self) -> String {
        format!("{}.asc", self.stem())
    }

    /// The name of an attestation.
    pub(super) fn attestation(&self, slot: KeySlot) -> String {
        match slot {
            KeySlot::Signature => format!("{}.attestation.pem", self.stem()),
            other => format!("{}.{}.attestation.pem", self.stem(), other.word()),
        }
    }

    fn stem(&self) -> String {
        self.serial.replace(':', "-")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    fn load<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>, ProvisionError> {
        let path = self.place.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path, error)),
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| at(&path, error))?;
        let damaged = || ProvisionError::Damaged { path: path.clone() };
        if bytes.len() as u64 > MAX_FILE {
            return Err(damaged());
        }
        // The parser's own words could quote a secret.
        serde_json::from_slice(&bytes).map(Some).map_err(|_| damaged())
    }

    fn check(&self, name: &str, format: u32, serial: &str) -> Result<(), ProvisionError> {
        if format != FORMAT {
            return Err(ProvisionError::Damaged { path: self.place.join(name) });
        }
        if serial != self.serial {
            return Err(ProvisionError::OtherToken {
                path: self.place.join(name),
                theirs: serial.chars().take(32).collect(),
                ours: self.serial.clone(),
            });
        }
        Ok(())
    }
}

/// Reads a file of at most `most` bytes; one that is longer is an error.
pub(super) fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, ProvisionError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| at(path, error))?;
    if bytes.len() as u64 > most {
        return Err(at(
            path,
            io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {most} bytes")),
        ));
    }
    Ok(bytes)
}

fn at(path: &Path, error: io::Error) -> ProvisionError {
    ProvisionError::File { path: path.to_owned(), error }
}
