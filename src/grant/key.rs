//! The keys that grants are signed with: public ones from trust, the private one of a verifier.
//!
//! ```toml
//! [[grant_key]]
//! kid = "1"
//! alg = "ES256"                  # or "EdDSA"
//! key = "MFkwEwYHKoZIzj0CAQYI…"  # base64 of the SubjectPublicKeyInfo
//! ```

use std::fmt;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::file;
use crate::verify::is_small_order;

/// The `typ` of a grant, in the manner of RFC 9068: no other kind of token can be taken for one.
pub const TYPE: &str = "touchgate-grant+jwt";
/// The most keys in one version of trust: two verifiers, each with the key before and the one after.
pub const MAX_KEYS: usize = 16;
/// The most bytes in a key's name.
const MAX_KID: usize = 64;
/// The most bytes in a file with a private key of these kinds: four times what they take.
const MAX_PKCS8: usize = 1024;

/// What comes before the point in the SubjectPublicKeyInfo of a P-256 key, and before the key in that of an
/// Ed25519 key.
///
/// # Source
/// RFC 5480, section 2, uncompressed form; RFC 8410, section 4.
const P256_PREFIX: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const ED25519_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// How a grant is signed. One key has one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// Its JOSE name.
    ///
    /// # Source
    /// RFC 7518, section 3.1; RFC 8037, section 3.1.
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }

    /// The algorithm of that name, if grants are signed with it.
    pub fn named(name: &str) -> Option<Self> {
        [Self::EdDsa, Self::Es256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A public key that grants are believed by.
#[derive(Clone)]
pub struct GrantKey {
    kid: String,
    algorithm: Algorithm,
    spki: Vec<u8>,
    parsed: ParsedPublicKey,
    header: String,
}

/// Why something is no key for grants, or none that may be used.
#[derive(Debug, thiserror::Error)]
pub enum GrantKeyError {
    /// A name that breaks the grammar.
    #[error("{found:?} is no key's name (letters, digits and . _ -, at most {MAX_KID})")]
    BadKid {
        /// What stood there.
        found: String,
    },
    /// Not the one DER form of a key of that kind.
    #[error("not the base64 of an {algorithm} key's SubjectPublicKeyInfo")]
    BadKey {
        /// Which kind was expected.
        algorithm: Algorithm,
    },
    /// Two keys of one name, or one key under two.
    #[error("grant key {kid} is listed twice")]
    Duplicate {
        /// The later one.
        kid: String,
    },
    /// Something that is no private key of either kind.
    #[error("not a PKCS#8 private key for ES256 or EdDSA")]
    NotPkcs8,
    /// No random numbers, or the library failed.
    #[error("no key could be made")]
    NotGenerated,
    /// A private key whose public half trust does not list.
    #[error("trust lists no grant key like this machine's")]
    NotInTrust,
    /// More than [`MAX_KEYS`].
    #[error("more than {MAX_KEYS} grant keys")]
    TooMany,
    /// The file could not be read or written.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Others could read the key.
    #[error("{}: others may read this private key", path.display())]
    Unsafe {
        /// Which.
        path: PathBuf,
    },
    /// An algorithm that grants are not signed with.
    #[error("alg = {found:?}: expected ES256 or EdDSA")]
    UnknownAlgorithm {
        /// What stood there.
        found: String,
    },
}

impl GrantKey {
    /// Reads an entry of trust: name, JOSE algorithm, and the key as base64 of its SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// If the name breaks its grammar, the algorithm is another, or the key is not one of that algorithm.
    pub fn parse(kid: &str, alg: &str, key: &str) -> Result<Self, GrantKeyError> {
        let algorithm = Algorithm::named(alg)
            .ok_or_else(|| GrantKeyError::UnknownAlgorithm { found: alg.chars().take(32).collect() })?;
        // The engine takes only the padded, canonical spelling.
        let spki = STANDARD.decode(key).map_err(|_| GrantKeyError::BadKey { algorithm })?;
        Self::new(kid, algorithm, spki)
    }

    fn new(kid: &str, algorithm: Algorithm, spki: Vec<u8>) -> Result<Self, GrantKeyError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !(1..=MAX_KID).contains(&kid.len()) || !kid.bytes().all(allowed) {
            return Err(GrantKeyError::BadKid { found: kid.chars().take(MAX_KID).collect() });
        }
        let parsed = match algorithm {
            Algorithm::Es256 => spki
                .strip_prefix(P256_PREFIX)
                .filter(|point| point.len() == 65 && point.first() == Some(&4))
                .and_then(|point| ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()),
            // With a key of small order some signature holds for everything.
            Algorithm::EdDsa => spki
                .strip_prefix(ED25519_PREFIX)
                .filter(|key| <&[u8; 32]>::try_from(*key).is_ok_and(|key| !is_small_order(key)))
                .and_then(|key| ParsedPublicKey::new(&ED25519, key).ok()),
        };
        let parsed = parsed.ok_or(GrantKeyError::BadKey { algorithm })?;
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}","typ":"{TYPE}"}}"#);
        let header = URL_SAFE_NO_PAD.encode(header);
        Ok(Self { kid: kid.to_owned(), algorithm, spki, parsed, header })
    }

    /// Its name in trust and in a token's header.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The one algorithm that it is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// As trust writes it: base64 of the SubjectPublicKeyInfo.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.spki)
    }

    /// The header, encoded, of the tokens that are signed with it here.
    pub(super) fn header(&self) -> &str {
        &self.header
    }

    /// Whether `signature`, in JOSE's fixed form, is this key's over `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for GrantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantKey({} {})", self.kid, self.algorithm)
    }
}

/// The keys that one version of trust lists: no name and no key twice.
#[derive(Clone, Debug, Default)]
pub struct GrantKeys(Vec<GrantKey>);

impl GrantKeys {
    /// Takes them together.
    ///
    /// # Errors
    /// [`GrantKeyError::Duplicate`] and [`GrantKeyError::TooMany`].
    pub fn new(keys: Vec<GrantKey>) -> Result<Self, GrantKeyError> {
        if keys.len() > MAX_KEYS {
            return Err(GrantKeyError::TooMany);
        }
        for (at, key) in keys.iter().enumerate() {
            if keys.iter().take(at).any(|other| other.kid == key.kid || other.spki == key.spki) {
                return Err(GrantKeyError::Duplicate { kid: key.kid.clone() });
            }
        }
        Ok(Self(keys))
    }

    /// The key of that name.
    pub fn named(&self, kid: &str) -> Option<&GrantKey> {
        self.0.iter().find(|key| key.kid == kid)
    }

    /// All of them, in the order in which trust lists them.
    pub fn iter(&self) -> impl Iterator<Item = &GrantKey> {
        self.0.iter()
    }

    /// Whether there is none, so that no grant is believed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The private key of a verifier.
pub struct GrantSigner {
    key: GrantKey,
    pair: Pair,
}

enum Pair {
    EdDsa(Box<Ed25519KeyPair>),
    Es256(Box<EcdsaKeyPair>),
}

impl GrantSigner {
    /// Makes a private key: PKCS#8 in DER.
    ///
    /// # Errors
    /// [`GrantKeyError::NotGenerated`].
    pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, GrantKeyError> {
        let random = SystemRandom::new();
        let made = match algorithm {
            // Version 1: what openssl and other tools read.
            Algorithm::EdDsa => Ed25519KeyPair::generate_pkcs8v1(&random),
            Algorithm::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random),
        };
        let made = made.map_err(|_| GrantKeyError::NotGenerated)?;
        Ok(Zeroizing::new(made.as_ref().to_vec()))
    }

    /// Takes a private key under a name of its own: to list it in trust for the first time.
    ///
    /// # Errors
    /// [`GrantKeyError::NotPkcs8`] and [`GrantKeyError::BadKid`].
    pub fn from_pkcs8(kid: &str, pkcs8: &[u8]) -> Result<Self, GrantKeyError> {
        let spki = |prefix: &[u8], public: &[u8]| [prefix, public].concat();
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8) {
            let spki = spki(P256_PREFIX, pair.public_key().as_ref());
            let key = GrantKey::new(kid, Algorithm::Es256, spki)?;
            return Ok(Self { key, pair: Pair::Es256(Box::new(pair)) });
        }
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| GrantKeyError::NotPkcs8)?;
        let spki = spki(ED25519_PREFIX, pair.public_key().as_ref());
        let key = GrantKey::new(kid, Algorithm::EdDsa, spki)?;
        Ok(Self { key, pair: Pair::EdDsa(Box::new(pair)) })
    }

    /// Takes a private key whose public half trust lists, under the name that it has there.
    ///
    /// # Errors
    /// [`GrantKeyError::NotPkcs8`] and [`GrantKeyError::NotInTrust`].
    pub fn listed(pkcs8: &[u8], keys: &GrantKeys) -> Result<Self, GrantKeyError> {
        let mut signer = Self::from_pkcs8("-", pkcs8)?;
        let listed = keys.iter().find(|key| key.spki == signer.key.spki);
        signer.key = listed.ok_or(GrantKeyError::NotInTrust)?.clone();
        Ok(signer)
    }

    /// Reads a private key from a file that is its owner's alone, as [`GrantSigner::listed`] takes it.
    ///
    /// # Errors
    /// If it cannot be read, others may read it, or trust does not list it.
    pub fn load(path: &Path, keys: &GrantKeys) -> Result<Self, GrantKeyError> {
        Self::listed(&read_private(path)?, keys)
    }

    /// The public half.
    pub fn key(&self) -> &GrantKey {
        &self.key
    }

    /// Signs, in JOSE's fixed form.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::EdDsa(pair) => pair.try_sign(message).ok().map(|signature| signature.as_ref().to_vec()),
            Pair::Es256(pair) => {
                pair.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec())
            }
        }
    }
}

impl fmt::Debug for GrantSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrantSigner({} {})", self.key.kid, self.key.algorithm)
    }
}

/// Writes a private key for its owner alone, in a directory that is theirs alone; nothing is overwritten.
///
/// # Errors
/// [`GrantKeyError::Unreadable`], with the system's reason.
pub fn write_private(path: &Path, pkcs8: &[u8]) -> Result<(), GrantKeyError> {
    let failed = |error| GrantKeyError::Unreadable { path: path.to_owned(), error };
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    file::create(path, pkcs8, 0o600).map_err(failed)
}

/// Reads a private key that its owner alone may read.
///
/// # Errors
/// [`GrantKeyError::Unreadable`] and [`GrantKeyError::Unsafe`].
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, GrantKeyError> {
    let failed = |error| GrantKeyError::Unreadable { path: path.to_owned(), error };
    let no_follow = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(no_follow).open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    let own = rustix::process::geteuid().as_raw();
    if !found.is_file() || found.mode() & 0o077 != 0 || found.uid() != own {
        return Err(GrantKeyError::Unsafe { path: path.to_owned() });
    }
    // At once as large as it can get: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PKCS8));
    file.take(MAX_PKCS8 as u64).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
