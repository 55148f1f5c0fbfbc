//! The signature over a statement, and how any signature is made.
//!
//! A statement's signature is one OpenPGP packet: version 4, type binary, SHA-512, its hashed area
//! exactly the creation time, the issuer's fingerprint and the notation below; nothing unhashed.

use std::time::SystemTime;

use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::crypto::hash::{Context, Hash as _};
use sequoia_openpgp::crypto::mpi::{self, MPI};
use sequoia_openpgp::crypto::{self};
use sequoia_openpgp::packet::signature::Signature4;
use sequoia_openpgp::packet::signature::subpacket::{
    NotationData, NotationDataFlags, Subpacket, SubpacketArea, SubpacketValue,
};
use sequoia_openpgp::packet::{Packet, Signature};
use sequoia_openpgp::serialize::MarshalInto;
use sequoia_openpgp::types::{HashAlgorithm, SignatureType, Timestamp};

use crate::card::{CardError, PublicKey, Token};
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
    let notation =
        NotationData::new(NOTATION_NAME, NOTATION_VALUE, NotationDataFlags::empty().set_human_readable());
    let notation = Subpacket::new(SubpacketValue::NotationData(notation), false).map_err(openpgp)?;
    let hashed = |signature: &Signature, context: &mut Context| {
        context.update(statement);
        signature.hash(context)
    };
    let signature = signature(signer, SignatureType::Binary, created, vec![notation], &[], &hashed)?;
    Packet::from(signature).to_vec().map_err(openpgp)
}

/// Makes a signature of any type over what `hashed` feeds to the context: SHA-512, its hashed area exactly
/// creation time, issuer fingerprint and `further`, in this order.
///
/// Built by hand: the library's builder would add a salt, so that no two signatures were alike.
pub(crate) fn signature(
    signer: &mut dyn crypto::Signer,
    typ: SignatureType,
    created: SystemTime,
    further: Vec<Subpacket>,
    unhashed: &[Subpacket],
    hashed: &dyn Fn(&Signature, &mut Context) -> sequoia_openpgp::Result<()>,
) -> Result<Signature, SignError> {
    let hash_algo = HashAlgorithm::SHA512;
    let key = signer.public();
    let (algo, fingerprint) = (key.pk_algo(), key.fingerprint());
    let created = Timestamp::try_from(created).map_err(openpgp)?;
    let (mut area, mut aside) = (SubpacketArea::default(), SubpacketArea::default());
    for value in
        [SubpacketValue::SignatureCreationTime(created), SubpacketValue::IssuerFingerprint(fingerprint)]
    {
        area.add(Subpacket::new(value, false).map_err(openpgp)?).map_err(openpgp)?;
    }
    for subpacket in further {
        area.add(subpacket).map_err(openpgp)?;
    }
    for subpacket in unhashed {
        aside.add(subpacket.clone()).map_err(openpgp)?;
    }
    let packet =
        |prefix, mpis| Signature4::new(typ, algo, hash_algo, area.clone(), aside.clone(), prefix, mpis);
    let mut context = hash_algo.context().map_err(openpgp)?.for_signature(4);
    // The numbers are no part of what is hashed, so any stand in until the card has made its own.
    let unsigned = packet([0, 0], mpi::Signature::RSA { s: MPI::new(&[1]) });
    hashed(&unsigned.into(), &mut context).map_err(openpgp)?;
    let digest = context.into_digest().map_err(openpgp)?;
    let mpis = signer.sign(hash_algo, &digest).map_err(openpgp)?;
    Ok(packet(digest.first_chunk().copied().unwrap_or_default(), mpis).into())
}

/// The (sub)key of a certificate that a card's fingerprint names, if it is there.
///
/// The fingerprint on a card is whatever was written there. Nothing is trusted on its account: a
/// signature that does not verify with this key never leaves [`crate::card::CardSigner`].
pub fn key_on_card(cert: &Cert, token: &Token) -> Option<PublicKey> {
    let wanted = &token.info().signature_key.as_ref()?.fingerprint;
    cert.keys()
        .find(|key| &key.key().fingerprint() == wanted)
        .map(|key| key.key().clone().role_into_unspecified())
}

/// The library passes a card's own error through; anything else is the library's.
pub(crate) fn openpgp(error: impl Into<sequoia_openpgp::anyhow::Error>) -> SignError {
    match error.into().downcast::<CardError>() {
        Ok(card) => SignError::Card(card),
        Err(other) => SignError::OpenPgp { message: other.to_string() },
    }
}
