//! The public keys in a card's slots, as the OpenPGP keys that the card's own records say they are.
//!
//! A card gives point or modulus; the rest of an OpenPGP key (creation time, for ECDH also hash and cipher)
//! is known only by the fingerprint that was recorded when the key was made. So each form that this
//! material can take is tried, and the one that has the recorded fingerprint is the key.

use std::time::{Duration, SystemTime};

use openpgp_card::ocard::algorithm::{AlgorithmAttributes, Curve as CardCurve};
use openpgp_card::ocard::crypto::{EccType, PublicKeyMaterial};
use sequoia_openpgp::Fingerprint;
use sequoia_openpgp::crypto::mpi::{self, MPI};
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{Key4, PublicParts, UnspecifiedRole};
use sequoia_openpgp::types::{Curve, HashAlgorithm, PublicKeyAlgorithm, SymmetricAlgorithm};

use super::error::CardError;
use super::key_slot::KeySlot;
use super::session::{Talk, Token};
use super::slot::Purpose;
use super::watch::{self, Patience};

const RECORDS: &str = "GET DATA 6E";
const READ: &str = "GENERATE ASYMMETRIC KEY PAIR (read)";

/// A public key in no particular place of a certificate.
pub type PublicKey = Key<PublicParts, UnspecifiedRole>;

/// The keys on one card.
#[derive(Clone, Debug)]
pub struct CardKeys {
    /// In the signature slot.
    pub signature: PublicKey,
    /// In the decryption slot, if there is one.
    pub decryption: Option<PublicKey>,
    /// In the authentication slot, if there is one.
    pub authentication: Option<PublicKey>,
}

impl CardKeys {
    /// A card on which only the signature slot is filled.
    pub fn signing(signature: PublicKey) -> Self {
        Self { signature, decryption: None, authentication: None }
    }

    /// All that are there, with their slots.
    pub fn all(&self) -> impl Iterator<Item = (KeySlot, &PublicKey)> {
        let others = [
            (KeySlot::Decryption, self.decryption.as_ref()),
            (KeySlot::Authentication, self.authentication.as_ref()),
        ];
        let others = others.into_iter().filter_map(|(slot, key)| Some((slot, key?)));
        [(KeySlot::Signature, &self.signature)].into_iter().chain(others)
    }
}

impl Token {
    /// The key in the signature slot, for when there is no certificate yet. One APDU beside SELECT.
    ///
    /// # Errors
    /// Why the card cannot be read; [`CardError::NoSignatureKey`]; [`CardError::UnsupportedAlgorithm`];
    /// [`CardError::FingerprintDiffers`] if key, creation time and fingerprint do not belong together.
    pub fn signature_key(&self, patience: &Patience) -> Result<PublicKey, CardError> {
        Ok(self.read_keys(&[KeySlot::Signature], patience)?.signature)
    }

    /// The keys in all slots that the card has a fingerprint for. One APDU for each beside SELECT.
    ///
    /// # Errors
    /// As for [`Token::signature_key`].
    pub fn keys(&self, patience: &Patience) -> Result<CardKeys, CardError> {
        self.read_keys(&[KeySlot::Signature, KeySlot::Decryption, KeySlot::Authentication], patience)
    }

    fn read_keys(&self, slots: &'static [KeySlot], patience: &Patience) -> Result<CardKeys, CardError> {
        if self.info().signature_key.is_none() {
            return Err(CardError::NoSignatureKey { ident: self.info().ident });
        }
        let token = self.clone();
        let mut found: Vec<(KeySlot, PublicKey)> = watch::run_quietly(patience, move || {
            token.reopen(Purpose::Look, None, |talk| {
                slots.iter().filter_map(|slot| read(talk, *slot).transpose()).collect()
            })
        })?;
        let mut take = |wanted| {
            let at = found.iter().position(|(slot, _)| *slot == wanted)?;
            Some(found.swap_remove(at).1)
        };
        Ok(CardKeys {
            signature: take(KeySlot::Signature)
                .ok_or(CardError::NoSignatureKey { ident: self.info().ident })?,
            decryption: take(KeySlot::Decryption),
            authentication: take(KeySlot::Authentication),
        })
    }
}

/// One slot's key; nothing if the card has no fingerprint for it.
fn read(talk: &mut Talk<'_, '_>, slot: KeySlot) -> Result<Option<(KeySlot, PublicKey)>, CardError> {
    let records = talk.tx.application_related_data().map_err(|error| talk.explain(error, RECORDS))?;
    let fingerprints = records.fingerprints().map_err(|error| talk.explain(error, RECORDS))?;
    let times = records.key_generation_times().map_err(|error| talk.explain(error, RECORDS))?;
    let (fingerprint, time) = match slot {
        KeySlot::Signature => (fingerprints.signature(), times.signature()),
        KeySlot::Decryption => (fingerprints.decryption(), times.decryption()),
        KeySlot::Authentication => (fingerprints.authentication(), times.authentication()),
    };
    let Some(fingerprint) = fingerprint else { return Ok(None) };
    let malformed = |why: String| CardError::Malformed { command: RECORDS, why };
    let recorded =
        Fingerprint::from_bytes(4, fingerprint.as_bytes()).map_err(|error| malformed(error.to_string()))?;
    let created = SystemTime::UNIX_EPOCH + Duration::from_secs(time.map_or(0, |time| time.get()).into());
    let material = talk.tx.public_key(slot.into()).map_err(|error| talk.explain(error, READ))?;
    let forms = forms(&material, created)?;
    let own = forms.first().map(|key| key.fingerprint().to_hex().to_ascii_lowercase());
    match forms.into_iter().find(|key| key.fingerprint() == recorded) {
        Some(key) => Ok(Some((slot, key))),
        None => Err(CardError::FingerprintDiffers {
            slot,
            recorded: recorded.to_hex().to_ascii_lowercase(),
            own: own.unwrap_or_default(),
        }),
    }
}

type Form = Key4<PublicParts, UnspecifiedRole>;

/// Every OpenPGP key that this material, made then, can be; the usual form first.
fn forms(material: &PublicKeyMaterial, created: SystemTime) -> Result<Vec<PublicKey>, CardError> {
    let forms = match material {
        PublicKeyMaterial::R(rsa) => Key4::import_public_rsa(rsa.v(), rsa.n(), created).map(|key| vec![key]),
        PublicKeyMaterial::E(ecc) => match ecc.algo() {
            AlgorithmAttributes::Ecc(attributes) => {
                elliptic(attributes.ecc_type(), attributes.curve(), ecc.data(), created)
            }
            other => return Err(CardError::UnsupportedAlgorithm { algorithm: other.to_string() }),
        },
    };
    let forms = forms.map_err(|error| match error.downcast::<CardError>() {
        Ok(unsupported) => unsupported,
        Err(error) => CardError::Malformed { command: READ, why: error.to_string() },
    })?;
    Ok(forms.into_iter().map(Key::from).collect())
}

fn elliptic(
    kind: EccType,
    card_curve: &CardCurve,
    point: &[u8],
    created: SystemTime,
) -> sequoia_openpgp::Result<Vec<Form>> {
    // OpenPGP's mark of a native point, which some cards put in front.
    let native = match point {
        [0x40, native @ ..] if native.len() == 32 => native,
        other => other,
    };
    match (kind, card_curve, weierstrass(card_curve)) {
        (EccType::EdDSA, CardCurve::Ed25519, _) => {
            let mpis = mpi::PublicKey::Ed25519 { a: native.try_into()? };
            Ok(vec![
                Key4::import_public_ed25519(native, created)?,
                Key4::new(created, PublicKeyAlgorithm::Ed25519, mpis)?,
            ])
        }
        (EccType::ECDH, CardCurve::Curve25519, _) => {
            let form = |(hash, cipher)| Key4::import_public_cv25519(native, hash, cipher, created);
            kdf_parameters().map(form).chain([Key4::import_public_x25519(native, created)]).collect()
        }
        (EccType::ECDH, _, Some(curve)) => {
            let form = |(hash, sym)| {
                let mpis = mpi::PublicKey::ECDH { curve: curve.clone(), q: MPI::new(point), hash, sym };
                Key4::new(created, PublicKeyAlgorithm::ECDH, mpis)
            };
            kdf_parameters().map(form).collect()
        }
        (EccType::ECDSA, _, Some(curve)) => {
            let mpis = mpi::PublicKey::ECDSA { curve, q: MPI::new(point) };
            Ok(vec![Key4::new(created, PublicKeyAlgorithm::ECDSA, mpis)?])
        }
        (kind, curve, _) => {
            Err(CardError::UnsupportedAlgorithm { algorithm: format!("{kind:?} with {curve:?}") }.into())
        }
    }
}

fn weierstrass(curve: &CardCurve) -> Option<Curve> {
    Some(match curve {
        CardCurve::NistP256r1 => Curve::NistP256,
        CardCurve::NistP384r1 => Curve::NistP384,
        CardCurve::NistP521r1 => Curve::NistP521,
        CardCurve::BrainpoolP256r1 => Curve::BrainpoolP256,
        CardCurve::BrainpoolP384r1 => Curve::BrainpoolP384,
        CardCurve::BrainpoolP512r1 => Curve::BrainpoolP512,
        CardCurve::Secp256k1 => Curve::Unknown(curve.oid().into()),
        _ => return None,
    })
}

/// Hash and cipher of an ECDH key, as some program may have chosen them. No card keeps them.
///
/// # Source
/// RFC 9580, section 9.2.1 (table 30); GnuPG takes less for Curve25519.
fn kdf_parameters() -> impl Iterator<Item = (HashAlgorithm, SymmetricAlgorithm)> {
    let hashes = [HashAlgorithm::SHA256, HashAlgorithm::SHA384, HashAlgorithm::SHA512];
    let ciphers = [SymmetricAlgorithm::AES128, SymmetricAlgorithm::AES192, SymmetricAlgorithm::AES256];
    hashes.into_iter().flat_map(move |hash| ciphers.into_iter().map(move |cipher| (hash, cipher)))
}
