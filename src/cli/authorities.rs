//! Roots and intermediates for attestations: those that are named, and those that lie beside the configuration.

use std::fs;
use std::path::{Path, PathBuf};

use crate::card::Attested;
use crate::card::attestation::{
    self, Attestation, AttestationError, ConfiguredRoot, MAX_CERTIFICATES, MAX_FILE, read_certificates,
    write_pem,
};
use crate::cli::place;
use crate::cli::report::Failure;
use crate::unix_time::UnixTime;

/// Where intermediates lie that nobody needs to name, below the person's configuration or the machine's.
const FOLDER: &str = "attestation.intermediates";

/// What may stand above an attestation, beside Yubico's roots.
#[derive(Clone)]
pub(super) struct Authorities {
    /// In DER. Untrusted, wherever they come from: they can lead to a root and nowhere else.
    pub intermediates: Vec<Vec<u8>>,
    /// What they vouch for is their own word.
    pub roots: Vec<ConfiguredRoot>,
}

impl Authorities {
    /// Reads the files and folders that were named, and `attestation.intermediates` where there is one.
    ///
    /// # Errors
    /// The first file that cannot be read or holds something else; too many certificates.
    pub(super) fn read(intermediates: &[PathBuf], roots: &[PathBuf]) -> Result<Self, Failure> {
        let mut found = Self { intermediates: Vec::new(), roots: Vec::new() };
        for path in intermediates.iter().chain(&place::configured(FOLDER)) {
            for file in files(path)? {
                found.intermediates.extend(read_file(&file)?);
                if found.intermediates.len() > MAX_CERTIFICATES {
                    let error = AttestationError::TooManyCertificates { most: MAX_CERTIFICATES };
                    return Err(bad_file(&file, &error));
                }
            }
        }
        for path in roots {
            for certificate in read_file(path)? {
                let name = path.display().to_string();
                let root = ConfiguredRoot::new(name, &certificate).map_err(|error| bad_file(path, &error))?;
                found.roots.push(root);
            }
        }
        Ok(found)
    }

    /// Judges what a token gave.
    ///
    /// # Errors
    /// Why it is not believed.
    pub(super) fn judge(&self, made: &Attested) -> Result<Attestation, AttestationError> {
        let others = [vec![made.device.clone()], self.intermediates.clone()].concat();
        attestation::verify(&made.attestation, &others, &self.roots, UnixTime::now())
    }
}

/// What a token gave, in PEM: where it is believed with the intermediates that it needs, so that it stands by itself.
pub(super) fn to_file(made: &Attested, judged: Option<&Attestation>) -> String {
    let bare = || vec![made.attestation.clone(), made.device.clone()];
    let chain = judged.map_or_else(bare, |attestation| attestation.chain().to_vec());
    chain.iter().map(|certificate| write_pem(certificate)).collect()
}

/// A file, or every file in a directory, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |error| place::unreadable(path, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?.path();
        if entry.is_file() {
            found.push(entry);
        }
        if found.len() > MAX_CERTIFICATES {
            let error = AttestationError::TooManyCertificates { most: MAX_CERTIFICATES };
            return Err(bad_file(path, &error));
        }
    }
    found.sort();
    Ok(found)
}

fn read_file(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let bytes =
        place::read_bounded(path, MAX_FILE as u64).map_err(|error| place::unreadable(path, &error))?;
    read_certificates(&bytes).map_err(|error| bad_file(path, &error))
}

/// Something wrong with what was given beside the attestation.
fn bad_file(path: &Path, error: &AttestationError) -> Failure {
    Failure::failed(error.code(), format!("{}: {error}", path.display()))
        .hint("give certificates, in PEM or DER")
}
