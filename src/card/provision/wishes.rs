//! What a profile says about the papers of a token: its certificate, and whose attestations are believed.

use std::path::{Path, PathBuf};

use sequoia_openpgp::crypto::Password;
use serde::{Deserialize, Serialize};

use crate::enrolment::possession::Name;
use crate::unix_time::UnixTime;

/// The OpenPGP certificate that a token makes of its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CertificateWish {
    /// Its user id, where all tokens have the same; else it comes with the person.
    pub user_id: Option<String>,
    /// When its keys expire. Without, never, and one that is there may expire whenever it does.
    pub expires: Option<UnixTime>,
    /// A file with the primary key that the token's keys become subkeys of. It has user ids of its own.
    pub primary: Option<PathBuf>,
}

/// Whose attestations are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttestationWish {
    /// Certificates between token and root, as the maker publishes them: files, or directories of files.
    pub intermediates: Vec<PathBuf>,
    /// Roots beside Yubico's. What they vouch for is their word alone.
    pub root: Vec<PathBuf>,
}

impl CertificateWish {
    pub(super) fn relative_to(&mut self, base: &Path) {
        self.primary.iter_mut().for_each(|path| *path = base.join(&path));
    }
}

impl AttestationWish {
    pub(super) fn relative_to(&mut self, base: &Path) {
        self.intermediates.iter_mut().chain(&mut self.root).for_each(|path| *path = base.join(&path));
    }
}

/// Who gets the token.
#[derive(Clone, Debug, Default)]
pub struct Person {
    /// The name in trust. Without, there is no enrolment file.
    pub name: Option<Name>,
    /// The user id in the certificate, before the profile's.
    pub user_id: Option<String>,
    /// What opens the primary key that is kept elsewhere, if it needs that.
    pub passphrase: Option<Password>,
}
