//! A key that is brought from a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

use sequoia_openpgp::Cert;
use sequoia_openpgp::crypto::mpi::SecretKeyMaterial;
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{SecretKeyMaterial as Protected, SecretParts, UnspecifiedRole};
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::KeyFlags;
use zeroize::Zeroizing;

use super::ProvisionError;
use super::algorithm::{KeyAlgorithm, KeySlot};
use super::plan::{Import, Imports};
use super::profile::Profile;
use crate::card::tlv;

/// The most bytes of a key file.
const MAX_KEY_FILE: u64 = 1024 * 1024;

/// Keys read from files, by the slot that they go to.
pub(super) type Keys = BTreeMap<KeySlot, Key<SecretParts, UnspecifiedRole>>;

/// What a plan needs to know of the keys.
pub(super) fn described(keys: &Keys) -> Imports {
    let describe = |key: &Key<SecretParts, UnspecifiedRole>| Import {
        fingerprint: key.fingerprint(),
        created: key.creation_time().duration_since(UNIX_EPOCH).map_or(0, |time| {
            // OpenPGP counts in 32 bits.
            u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
        }),
    };
    keys.iter().map(|(slot, key)| (*slot, describe(key))).collect()
}

/// Reads the keys that a profile wants imported.
pub(super) fn read(profile: &Profile) -> Result<Keys, ProvisionError> {
    let mut keys = Keys::new();
    for (slot, wish) in profile.wishes() {
        let Some(file) = &wish.import else { continue };
        keys.insert(slot, key(file, slot, wish.algorithm)?);
    }
    Ok(keys)
}

fn key(
    file: &Path,
    slot: KeySlot,
    algorithm: KeyAlgorithm,
) -> Result<Key<SecretParts, UnspecifiedRole>, ProvisionError> {
    let failed = |why: String| ProvisionError::Import { file: file.to_owned(), why };
    let length = std::fs::metadata(file).map_err(|error| failed(error.to_string()))?.len();
    if length > MAX_KEY_FILE {
        return Err(failed(format!("longer than {MAX_KEY_FILE} bytes")));
    }
    let certificate = Cert::from_file(file).map_err(|error| failed(error.to_string()))?;
    let flags = match slot {
        KeySlot::Signature => KeyFlags::empty().set_signing(),
        KeySlot::Decryption => KeyFlags::empty().set_storage_encryption().set_transport_encryption(),
        KeySlot::Authentication => KeyFlags::empty().set_authentication(),
    };
    let policy = StandardPolicy::new();
    let mut protected = false;
    for key in certificate.keys().with_policy(&policy, None).alive().revoked(false).key_flags(flags).secret()
    {
        if !key.key().has_unencrypted_secret() {
            protected = true;
            continue;
        }
        let key = key.key().clone().role_into_unspecified();
        if parts(algorithm, &key).is_some() {
            return Ok(key);
        }
    }
    Err(failed(if protected {
        "its private key is protected by a passphrase; take that off a copy first".to_owned()
    } else {
        format!("it has no private {algorithm} key for the {slot} slot that is good now")
    }))
}

/// The parts of a private key as the card takes them, by tag.
///
/// # Source
/// OpenPGP card 3.4.1, section 4.4.3.12: 91 exponent, 92 p or the private scalar, 93 q. RSA in the standard
/// format, for which every card asks unless its attributes say otherwise.
fn parts(
    algorithm: KeyAlgorithm,
    key: &Key<SecretParts, UnspecifiedRole>,
) -> Option<Vec<(u16, Zeroizing<Vec<u8>>)>> {
    use sequoia_openpgp::crypto::mpi::PublicKey;
    use sequoia_openpgp::types::Curve;
    let curve = match key.mpis() {
        PublicKey::EdDSA { curve: Curve::Ed25519, .. } | PublicKey::Ed25519 { .. } => {
            Some(KeyAlgorithm::Ed25519)
        }
        PublicKey::ECDH { curve: Curve::Cv25519, .. } | PublicKey::X25519 { .. } => {
            Some(KeyAlgorithm::Cv25519)
        }
        PublicKey::ECDSA { curve, .. } | PublicKey::ECDH { curve, .. } => match curve {
            Curve::NistP256 => Some(KeyAlgorithm::P256),
            Curve::NistP384 => Some(KeyAlgorithm::P384),
            Curve::NistP521 => Some(KeyAlgorithm::P521),
            _ => None,
        },
        _ => None,
    };
    let field = match algorithm {
        KeyAlgorithm::Ed25519 | KeyAlgorithm::Cv25519 | KeyAlgorithm::P256 => 32,
        KeyAlgorithm::P384 => 48,
        KeyAlgorithm::P521 => 66,
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => 0,
    };
    let Protected::Unencrypted(secret) = key.secret() else { return None };
    secret.map(|secret| match (secret, key.mpis()) {
        (SecretKeyMaterial::RSA { p, q, .. }, PublicKey::RSA { e, n }) => {
            let bits = u16::try_from(n.bits()).ok();
            if bits.is_none() || bits != algorithm.rsa_bits() {
                return None;
            }
            let half = usize::from(bits?) / 16;
            let padded = |number: &[u8]| pad(number, half);
            Some(vec![(0x91, pad(e.value(), 4)?), (0x92, padded(p.value())?), (0x93, padded(q.value())?)])
        }
        (
            SecretKeyMaterial::EdDSA { scalar }
            | SecretKeyMaterial::ECDSA { scalar }
            | SecretKeyMaterial::ECDH { scalar },
            _,
        ) if curve == Some(algorithm) => Some(vec![(0x92, pad(scalar.value(), field)?)]),
        _ => None,
    })
}

/// A number in so many bytes, zeros in front.
fn pad(number: &[u8], length: usize) -> Option<Zeroizing<Vec<u8>>> {
    let zeros = length.checked_sub(number.len())?;
    let mut padded = Zeroizing::new(Vec::with_capacity(length));
    padded.resize(zeros, 0);
    padded.extend_from_slice(number);
    Some(padded)
}

/// What PUT DATA (odd) carries: the extended header list. RSA exponents come as long as the slot's attributes say.
pub(super) fn header_list(
    slot: KeySlot,
    algorithm: KeyAlgorithm,
    attributes: &[u8],
    key: &Key<SecretParts, UnspecifiedRole>,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut lengths = Vec::new();
    let mut joined = Zeroizing::new(Vec::with_capacity(1024));
    for (tag, value) in parts(algorithm, key)? {
        let value = match (tag, attributes) {
            (0x91, [_, _, _, high, low, ..]) => {
                let bytes = usize::from(u16::from_be_bytes([*high, *low])).div_ceil(8).clamp(3, 4);
                Zeroizing::new(value.get(value.len().checked_sub(bytes)?..)?.to_vec())
            }
            _ => value,
        };
        lengths.extend(tlv::header(tag, value.len()));
        joined.extend_from_slice(&value);
    }
    let mut list = Zeroizing::new(Vec::with_capacity(1200));
    list.extend_from_slice(&slot.control_reference());
    list.extend_from_slice(&tlv::object(0x7f48, &lengths));
    list.extend_from_slice(&tlv::header(0x5f48, joined.len()));
    list.extend_from_slice(&joined);
    let mut whole = Zeroizing::new(Vec::with_capacity(list.len() + 4));
    whole.extend_from_slice(&tlv::header(0x4d, list.len()));
    whole.extend_from_slice(&list);
    Some(whole)
}
