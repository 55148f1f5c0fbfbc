//! The versions of trust that a log names, made of the files that the store archived, and whether they are the right
//! ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::finding::Wrong;
use crate::challenge::TrustVersion;
use crate::store::Store;
use crate::trust::Trust;
use crate::trust::manifest::Manifest;

/// How many are kept at hand: entries of one batch are under one version, or two where a new one begins.
const AT_HAND: usize = 4;

/// One version, whose files have the digest that it is named by.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) trust: Trust,
    pub(super) manifest: Manifest,
}

type Known = Result<Arc<Version>, String>;

/// Versions by number and digest.
pub(super) struct Trusts<'a> {
    store: &'a dyn Store,
    known: Mutex<VecDeque<(TrustVersion, Known)>>,
}

impl<'a> Trusts<'a> {
    pub(super) fn new(store: &'a dyn Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// A version, or why it cannot be had. Whoever asks first loads it; others wait for that.
    pub(super) fn get(&self, version: &TrustVersion) -> Known {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = known.iter().find(|(name, _)| name == version) {
            return found.clone();
        }
        let loaded = self.load(version).map(Arc::new);
        known.push_back((*version, loaded.clone()));
        if known.len() > AT_HAND {
            known.pop_front();
        }
        loaded
    }

    fn load(&self, version: &TrustVersion) -> Result<Version, String> {
        let files = self.store.trust_files(version).map_err(|error| error.to_string())?;
        let files =
            files.ok_or_else(|| format!("the files of version {} are not kept here", version.number))?;
        let manifest = Manifest::new(files);
        let digest = manifest.digest();
        if digest != version.digest {
            return Err(format!("the files of version {} have the digest {digest}", version.number));
        }
        let trust = Trust::from_manifest(&manifest).map_err(|error| error.to_string())?;
        if trust.version != *version {
            return Err(format!(
                "the files of version {} say version {}",
                version.number, trust.version.number
            ));
        }
        Ok(Version { trust, manifest })
    }
}

/// Whether the way of signed updates comes to a version; no, if it begins later, or there is none.
pub(super) fn is_followed(version: &TrustVersion, way: &[TrustVersion]) -> Result<bool, Wrong> {
    let (Some(first), Some(last)) = (way.first(), way.last()) else { return Ok(false) };
    if version.number < first.number {
        return Ok(false);
    }
    match way.iter().find(|there| there.number == version.number) {
        Some(there) if there == version => Ok(true),
        None if version.number > last.number => Err(Wrong::TrustBehind { found: *version, known: *last }),
        there => Err(Wrong::Unvouched { found: *version, leads: *there.unwrap_or(last) }),
    }
}
