//! Whether what a token says of its keys is true of them, and how far it is to be believed.

use std::fs;
use std::path::{Path, PathBuf};

use super::algorithm::KeySlot;
use super::observe::Observed;
use super::wishes::AttestationWish;
use super::{ProofError, ProvisionError};
use crate::card::attestation::{
    self, AttestationError, ConfiguredRoot, MAX_CERTIFICATES, MAX_FILE, Root, Source, Statement,
    read_certificates,
};
use crate::card::info::TouchPolicy;
use crate::unix_time::UnixTime;

/// What stands beside attestations.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    intermediates: Vec<Vec<u8>>,
    roots: Vec<ConfiguredRoot>,
    /// The profile says whom to believe: an attestation that leads nowhere is none.
    required: bool,
}

/// An attestation that says of a key what is true of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// Which key.
    pub slot: KeySlot,
    /// The attestation and what leads to the root; without a path to one, the attestation and the token's own.
    pub chain: Vec<Vec<u8>>,
    /// Who vouches for it.
    pub vouched: Vouched,
    /// In what it falls short of a proof that each signature took a touch, by code; of the signature key alone.
    pub short: Vec<&'static str>,
}

/// Who vouches for an attestation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// One of Yubico's roots.
    Yubico(&'static str),
    /// A root of the profile's, which is weaker: its word alone.
    Configured(String),
    /// Nobody: it leads to no known root.
    Nobody,
}

impl std::fmt::Display for Vouched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Yubico(root) => write!(f, "verified under {root}"),
            Self::Configured(root) => write!(f, "verified under {root}, which is not Yubico's: weaker"),
            Self::Nobody => f.write_str("NOT verified: it leads to no known root"),
        }
    }
}

impl Anchors {
    /// Reads the files that a profile names; `others` are intermediates from elsewhere.
    pub(super) fn read(wish: Option<&AttestationWish>, others: &[Vec<u8>]) -> Result<Self, ProvisionError> {
        let mut intermediates = others.to_vec();
        let Some(wish) = wish else {
            return Ok(Self { intermediates, ..Self::default() });
        };
        for path in &wish.intermediates {
            for file in files(path)? {
                intermediates.extend(certificates(&file)?);
                if intermediates.len() > MAX_CERTIFICATES {
                    return Err(bad(
                        &file,
                        &AttestationError::TooManyCertificates { most: MAX_CERTIFICATES },
                    ));
                }
            }
        }
        let mut roots = Vec::new();
        for path in &wish.root {
            for certificate in certificates(path)? {
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                roots.push(ConfiguredRoot::new(name, &certificate).map_err(|error| bad(path, &error))?);
            }
        }
        Ok(Self { intermediates, roots, required: true })
    }

    /// Judges what a token said of the key in `slot`, which wants a touch as `touch` says.
    pub(super) fn judge(
        &self,
        slot: KeySlot,
        leaf: &[u8],
        others: &[Vec<u8>],
        touch: TouchPolicy,
        token: &Observed,
    ) -> Result<Attested, ProofError> {
        let wrong = |why: String| ProofError::Attestation { slot, why };
        let said = Statement::read(leaf).map_err(|error| wrong(error.to_string()))?;
        let key = token.slot(slot).key(slot);
        let same_key = key.is_some_and(|key| said.key.is_key_of(&key));
        for (fits, what) in [
            (token.ident.decimal() == Some(said.serial), "another token"),
            (said.slot == slot, "another slot"),
            (same_key, "another key"),
            (said.source == Source::Generated, "a key that was not made on the token"),
            (said.touch == touch, "another touch policy"),
        ] {
            if !fits {
                return Err(wrong(format!("it is about {what}")));
            }
        }
        let known = [others, &self.intermediates].concat();
        let plain = || [&[leaf.to_vec()], others].concat();
        let (chain, vouched, short) = match attestation::verify(leaf, &known, &self.roots, UnixTime::now()) {
            Ok(judged) => {
                let vouched = match judged.root() {
                    Root::Yubico(root) => Vouched::Yubico(root.name()),
                    Root::Configured { name } => Vouched::Configured(name.clone()),
                };
                let short = judged.shortfalls().iter().map(|short| short.code()).collect();
                (judged.chain().to_vec(), vouched, short)
            }
            Err(AttestationError::UnknownIssuer) if !self.required => {
                (plain(), Vouched::Nobody, vec!["unknown-issuer"])
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        let short = if slot == KeySlot::Signature { short } else { Vec::new() };
        Ok(Attested { slot, chain, vouched, short })
    }
}

/// A file, or every file in a directory, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, ProvisionError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error| ProvisionError::File { path: path.to_owned(), error };
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)?.take(2 * MAX_CERTIFICATES) {
        let entry = entry.map_err(failed)?.path();
        if entry.is_file() {
            found.push(entry);
        }
    }
    found.sort();
    Ok(found)
}

fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, ProvisionError> {
    let bytes = super::journal::read_bounded(path, MAX_FILE as u64)?;
    read_certificates(&bytes).map_err(|error| bad(path, &error))
}

fn bad(path: &Path, error: &AttestationError) -> ProvisionError {
    ProvisionError::Anchor { file: path.to_owned(), why: error.to_string() }
}
