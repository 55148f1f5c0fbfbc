//! The signature over a statement, and the certificate of a card's key.
//!
//! A statement's signature is one OpenPGP packet: version 4, type binary, SHA-512, its hashed area
//! exactly the creation time, the issuer's fingerprint and the notation below; nothing unhashed.

use std::time::{Duration, SystemTime};

use openpgp_card::ocard::algorithm::{AlgorithmAttributes, Curve as CardCurve};
use openpgp_card::ocard::crypto::{EccType, PublicKeyMaterial};
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::crypto::hash::Hash;
use sequoia_openpgp::crypto::mpi::{self, MPI};
use sequoia_openpgp::crypto::{self};
use sequoia_openpgp::packet::key::{Key4, PrimaryRole, PublicParts, UnspecifiedRole};
use sequoia_openpgp::packet::signature::subpacket::{
    NotationData, NotationDataFlags, Subpacket, SubpacketArea, SubpacketValue,
};
use sequoia_openpgp::packet::signature::{Signature4, SignatureBuilder};
use sequoia_openpgp::packet::{Key, Packet, Signature, UserID};
use sequoia_openpgp::serialize::MarshalInto;
use sequoia_openpgp::types::{
    Curve, Features, HashAlgorithm, KeyFlags, PublicKeyAlgorithm, SignatureType, SymmetricAlgorithm,
    Timestamp,
};

use crate::card::{CardError, Patience, Token};
use crate::verify::{NOTATION_NAME, NOTATION_VALUE};

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The card or the person at it.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The OpenPGP library.
    #[error("openpgp: {message}")]
    OpenPgp {
        /// Its words.
        message: String,
    },
}

/// Signs a statement: one detached signature packet, binary.
///
/// # Errors
/// [`SignError::Card`] with the card's outcome if `signer` is a card.
///
/// # Source
/// `docs/protocol.md`, the signature; RFC 9580, section 5.2.3.
pub fn detached(
    signer: &mut dyn crypto::Signer,
    statement: &[u8],
    created: SystemTime,
) -> Result<Vec<u8>, SignError> {
    let hash_algo = HashAlgorithm::SHA512;
    let key = signer.public();
    let (algo, fingerprint) = (key.pk_algo(), key.fingerprint());
    let mut hashed = SubpacketArea::default();
    let created = Timestamp::try_from(created).map_err(openpgp)?;
    let notation =
        NotationData::new(NOTATION_NAME, NOTATION_VALUE, NotationDataFlags::empty().set_human_readable());
    for value in [
        SubpacketValue::SignatureCreationTime(created),
        SubpacketValue::IssuerFingerprint(fingerprint),
        SubpacketValue::NotationData(notation),
    ] {
        hashed.add(Subpacket::new(value, false).map_err(openpgp)?).map_err(openpgp)?;
    }
    // Built by hand: the library's builder would add a salt, which the statement's nonce makes needless.
    let packet = |prefix, mpis| {
        Signature4::new(
            SignatureType::Binary,
            algo,
            hash_algo,
            hashed.clone(),
            SubpacketArea::default(),
            prefix,
            mpis,
        )
    };
    let mut context = hash_algo.context().map_err(openpgp)?.for_signature(4);
    context.update(statement);
    // The numbers are no part of what is hashed, so any stand in until the card has made its own.
    let unsigned = packet([0, 0], mpi::Signature::RSA { s: MPI::new(&[1]) });
    Signature::from(unsigned).hash(&mut context).map_err(openpgp)?;
    let digest = context.into_digest().map_err(openpgp)?;
    let mpis = signer.sign(hash_algo, &digest).map_err(openpgp)?;
    let prefix = digest.first_chunk().copied().unwrap_or_default();
    Packet::from(Signature::from(packet(prefix, mpis))).to_vec().map_err(openpgp)
}

/// Makes a certificate of one key that certifies and signs, with one user id. Costs one signature.
///
/// # Errors
/// [`SignError::Card`] with the card's outcome if `signer` is a card.
///
/// # Source
/// RFC 9580, sections 5.2.1.3 (positive certification) and 10.1.1.
pub fn certificate(
    signer: &mut dyn crypto::Signer,
    user_id: &str,
    created: SystemTime,
) -> Result<Cert, SignError> {
    let primary: Key<PublicParts, PrimaryRole> = signer.public().clone().role_into_primary();
    let user_id = UserID::from(user_id);
    let binding = SignatureBuilder::new(SignatureType::PositiveCertification)
        .set_hash_algo(HashAlgorithm::SHA512)
        .set_signature_creation_time(created)
        .and_then(|builder| builder.set_key_flags(KeyFlags::empty().set_certification().set_signing()))
        .and_then(|builder| builder.set_primary_userid(true))
        .and_then(|builder| builder.set_features(Features::empty().set_seipdv1()))
        .and_then(|builder| {
            builder.set_preferred_hash_algorithms(vec![HashAlgorithm::SHA512, HashAlgorithm::SHA256])
        })
        .and_then(|builder| {
            builder.set_preferred_symmetric_algorithms(vec![
                SymmetricAlgorithm::AES256,
                SymmetricAlgorithm::AES128,
            ])
        })
        .and_then(|builder| builder.sign_userid_binding(signer, &primary, &user_id))
        .map_err(openpgp)?;
    Cert::from_packets([Packet::from(primary), user_id.into(), binding.into()].into_iter()).map_err(openpgp)
}

/// The (sub)key of a certificate that a card's fingerprint names, if it is there.
///
/// The fingerprint on a card is whatever was written there. Nothing is trusted on its account: a
/// signature that does not verify with this key never leaves [`crate::card::CardSigner`].
pub fn key_on_card(cert: &Cert, token: &Token) -> Option<Key<PublicParts, UnspecifiedRole>> {
    let wanted = &token.info().signature_key.as_ref()?.fingerprint;
    cert.keys()
        .find(|key| &key.key().fingerprint() == wanted)
        .map(|key| key.key().clone().role_into_unspecified())
}

/// The signature key as the card itself gives it, for when there is no certificate yet. One APDU more.
///
/// # Errors
/// Why the card cannot be read; [`CardError::UnsupportedAlgorithm`]; [`CardError::KeyMismatch`] if key,
/// creation time and fingerprint on the card do not belong together.
pub fn key_from_card(
    token: &Token,
    patience: &Patience,
) -> Result<Key<PublicParts, UnspecifiedRole>, SignError> {
    let raw = token.raw_key(patience)?;
    let created = SystemTime::UNIX_EPOCH + Duration::from_secs(raw.created.into());
    let key: Key4<PublicParts, UnspecifiedRole> = match &raw.material {
        PublicKeyMaterial::R(rsa) => Key4::import_public_rsa(rsa.v(), rsa.n(), created).map_err(openpgp)?,
        PublicKeyMaterial::E(ecc) => match ecc.algo() {
            AlgorithmAttributes::Ecc(attributes) => {
                elliptic(attributes.ecc_type(), attributes.curve(), ecc.data(), created)?
            }
            other => return Err(unsupported(other.to_string())),
        },
    };
    let key = Key::from(key);
    let on_card = token.info().signature_key.as_ref().map(|key| key.fingerprint.clone());
    if on_card.as_ref() != Some(&key.fingerprint()) {
        return Err(SignError::Card(CardError::KeyMismatch {
            expected: key.fingerprint().to_hex().to_ascii_lowercase(),
            on_card: on_card.map_or_else(String::new, |f| f.to_hex().to_ascii_lowercase()),
        }));
    }
    Ok(key)
}

fn elliptic(
    kind: EccType,
    curve: &CardCurve,
    point: &[u8],
    created: SystemTime,
) -> Result<Key4<PublicParts, UnspecifiedRole>, SignError> {
    let curve = match (kind, curve) {
        (EccType::EdDSA, CardCurve::Ed25519) => {
            return Key4::import_public_ed25519(point, created).map_err(openpgp);
        }
        (EccType::ECDSA, CardCurve::NistP256r1) => Curve::NistP256,
        (EccType::ECDSA, CardCurve::NistP384r1) => Curve::NistP384,
        (EccType::ECDSA, CardCurve::NistP521r1) => Curve::NistP521,
        (kind, curve) => return Err(unsupported(format!("{kind:?} with {curve:?}"))),
    };
    Key4::new(created, PublicKeyAlgorithm::ECDSA, mpi::PublicKey::ECDSA { curve, q: MPI::new(point) })
        .map_err(openpgp)
}

fn unsupported(algorithm: String) -> SignError {
    SignError::Card(CardError::UnsupportedAlgorithm { algorithm })
}

/// The library passes a card's own error through; anything else is the library's.
fn openpgp(error: impl Into<sequoia_openpgp::anyhow::Error>) -> SignError {
    match error.into().downcast::<CardError>() {
        Ok(card) => SignError::Card(card),
        Err(other) => SignError::OpenPgp { message: other.to_string() },
    }
}
