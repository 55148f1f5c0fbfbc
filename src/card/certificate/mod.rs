//! The OpenPGP certificate of the keys on a card, made with the card's own signatures.
//!
//! The signature key certifies and signs, the decryption key encrypts to the person, the authentication
//! key authenticates. Each of them is bound by a signature of the card, so each may need a touch: a
//! [`Draft`] says what comes next and takes one signature at a time. Under a primary key that is kept
//! elsewhere the card's keys are subkeys: [`offline`].
//!
//! Nothing here is random and no clock is read: the same keys and settings give the same bytes wherever
//! the signatures do (Ed25519, RSA).

pub mod check;
pub mod offline;

use std::fmt;
use std::time::{Duration, SystemTime};

use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::crypto::Signer;
use sequoia_openpgp::packet::key::{PrimaryRole, PublicParts, SubordinateRole};
use sequoia_openpgp::packet::signature::subpacket::{Subpacket, SubpacketValue};
use sequoia_openpgp::packet::{Key, Packet, Signature, UserID};
use sequoia_openpgp::serialize::MarshalInto as _;
use sequoia_openpgp::types::{
    Features, HashAlgorithm, KeyFlags, ReasonForRevocation, SignatureType, SymmetricAlgorithm,
};

use crate::armor;
use crate::card::KeySlot;
use crate::card::keys::{CardKeys, PublicKey};
use crate::sign::{self, SignError, openpgp};
use crate::unix_time::UnixTime;

/// The most bytes in a user id: more than any name and address have, and one line of a prompt.
pub const MAX_USER_ID: usize = 256;

/// What every certificate takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// When its signatures are made; without it, when the youngest key of all that take part was.
    pub made: Option<UnixTime>,
    /// When its keys expire; without it, never.
    pub expires: Option<UnixTime>,
    /// Whether a revocation is made in advance.
    pub revocation: bool,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The certificate.
    pub cert: Cert,
    /// What revokes the card's keys when it is published, in an armor block of its own. Whoever has it
    /// can do that.
    pub revocation: Option<String>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It would have expired before its signatures were made.
    #[error("it would expire on {expires}, and its signatures are of {made}")]
    Lifetime {
        /// When its signatures are made.
        made: UnixTime,
        /// When it would expire.
        expires: UnixTime,
    },
    /// The signatures are said to be older than a key.
    #[error("its signatures are of {made}, and the {slot} key was made on {key_made}")]
    MadeBeforeKey {
        /// When its signatures are made.
        made: UnixTime,
        /// The key's slot.
        slot: KeySlot,
        /// When that key was made.
        key_made: UnixTime,
    },
    /// The signatures are said to be older than the primary key that is kept elsewhere.
    #[error("its signatures are of {made}, and the primary key was made on {key_made}")]
    MadeBeforePrimary {
        /// When its signatures are made.
        made: UnixTime,
        /// When the primary key was made.
        key_made: UnixTime,
    },
    /// A signature could not be made.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The user id is empty, too long, or holds a control character.
    #[error(
        "a user id has 1 to {MAX_USER_ID} bytes and no control characters, as in Alice <alice@example.org>"
    )]
    UserId,
}

/// A signature that the card makes for its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Over the user id: from here on it is a certificate.
    UserId,
    /// Over a subkey.
    Subkey(KeySlot),
    /// Over the revocation that is made in advance.
    Revocation,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserId => f.write_str("certify the user id"),
            Self::Subkey(slot) => write!(f, "bind the {slot} key"),
            Self::Revocation => f.write_str("make the revocation certificate"),
        }
    }
}

/// A certificate in the making, whose primary key is the card's signature key.
#[derive(Debug)]
pub struct Draft {
    primary: Key<PublicParts, PrimaryRole>,
    user_id: UserID,
    keys: CardKeys,
    made: SystemTime,
    expires: Option<SystemTime>,
    /// What is signed, in its order.
    acts: Vec<Act>,
    signatures: Vec<Signature>,
}

/// Whether a text can be a user id: 1 to [`MAX_USER_ID`] bytes and no control characters.
pub fn is_user_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_USER_ID && !text.chars().any(char::is_control)
}

/// Makes the whole certificate with one signer. Costs a signature for each [`Act`].
///
/// # Errors
/// Any [`CertificateError`]; of a card, its outcome.
pub fn make(
    keys: &CardKeys,
    user_id: &str,
    settings: &Settings,
    signer: &mut dyn Signer,
) -> Result<Made, CertificateError> {
    let mut draft = Draft::new(keys, user_id, settings)?;
    while draft.next().is_some() {
        draft.sign(signer)?;
    }
    Ok(draft.finish()?)
}

impl Draft {
    /// Begins a certificate of `keys` for `user_id`.
    ///
    /// # Errors
    /// [`CertificateError::UserId`] and those about times.
    pub fn new(keys: &CardKeys, user_id: &str, settings: &Settings) -> Result<Self, CertificateError> {
        if !is_user_id(user_id) {
            return Err(CertificateError::UserId);
        }
        let (made, expires) = settings.times(keys, keys.signature.creation_time())?;
        let subkeys = keys.all().map(|(slot, _)| slot).filter(|slot| *slot != KeySlot::Signature);
        let mut acts: Vec<Act> = [Act::UserId].into_iter().chain(subkeys.map(Act::Subkey)).collect();
        acts.extend(settings.revocation.then_some(Act::Revocation));
        Ok(Self {
            primary: keys.signature.clone().role_into_primary(),
            user_id: UserID::from(user_id),
            keys: keys.clone(),
            made,
            expires,
            acts,
            signatures: Vec::new(),
        })
    }

    /// Everything that has to be signed, in its order.
    pub fn acts(&self) -> &[Act] {
        &self.acts
    }

    /// What has to be signed next; `None` when nothing is left.
    pub fn next(&self) -> Option<Act> {
        self.acts.get(self.signatures.len()).copied()
    }

    /// Makes the next signature; after the last one, nothing.
    ///
    /// # Errors
    /// [`SignError::Card`] with the card's outcome. The same act is still next then.
    pub fn sign(&mut self, signer: &mut dyn Signer) -> Result<(), SignError> {
        let Some(act) = self.next() else { return Ok(()) };
        let primary = &self.primary;
        let aside = [issuer(signer.public())?];
        let signature = match act {
            Act::UserId => {
                let further = self.about_the_primary_key()?;
                sign::signature(
                    signer,
                    SignatureType::PositiveCertification,
                    self.made,
                    further,
                    &aside,
                    &|signature, context| signature.hash_userid_binding(context, primary, &self.user_id),
                )?
            }
            Act::Subkey(slot) => {
                let Some((_, key)) = self.keys.all().find(|(found, _)| *found == slot) else { return Ok(()) };
                bind(signer, primary, &subkey(key), vec![flags(slot)?], self.made)?
            }
            Act::Revocation => sign::signature(
                signer,
                SignatureType::KeyRevocation,
                self.made,
                vec![reason()?],
                &aside,
                &|signature, context| signature.hash_direct_key(context, primary),
            )?,
        };
        self.signatures.push(signature);
        Ok(())
    }

    /// The certificate, with as much in it as was signed: without the user id it is none.
    ///
    /// # Errors
    /// In the OpenPGP library's words.
    pub fn finish(self) -> Result<Made, SignError> {
        let mut packets = vec![Packet::from(self.primary)];
        let mut revocation = None;
        for (act, signature) in self.acts.into_iter().zip(self.signatures) {
            match act {
                Act::UserId => packets.extend([self.user_id.clone().into(), signature.into()]),
                Act::Subkey(slot) => {
                    let key = self.keys.all().find(|(found, _)| *found == slot).map(|(_, key)| subkey(key));
                    packets.extend(key.map(Packet::from));
                    packets.push(signature.into());
                }
                Act::Revocation => revocation = Some(block(&[signature])?),
            }
        }
        let cert = Cert::from_packets(packets.into_iter()).map_err(openpgp)?;
        Ok(Made { cert, revocation })
    }

    /// What the certification of the user id says.
    fn about_the_primary_key(&self) -> Result<Vec<Subpacket>, SignError> {
        let usage = KeyFlags::empty().set_certification().set_signing();
        let hashes = vec![HashAlgorithm::SHA512, HashAlgorithm::SHA256];
        let ciphers = vec![SymmetricAlgorithm::AES256, SymmetricAlgorithm::AES128];
        let mut further = Vec::new();
        for (value, critical) in [
            (SubpacketValue::KeyFlags(usage), true),
            (SubpacketValue::PrimaryUserID(true), false),
            (SubpacketValue::Features(Features::empty().set_seipdv1()), false),
            (SubpacketValue::PreferredHashAlgorithms(hashes), false),
            (SubpacketValue::PreferredSymmetricAlgorithms(ciphers), false),
        ] {
            further.push(Subpacket::new(value, critical).map_err(openpgp)?);
        }
        further.extend(lifetime(self.primary.creation_time(), self.expires)?);
        Ok(further)
    }
}

impl Settings {
    /// When signatures are made and keys expire, checked against the keys, the primary key's age, and each other.
    fn times(
        &self,
        keys: &CardKeys,
        primary: SystemTime,
    ) -> Result<(SystemTime, Option<SystemTime>), CertificateError> {
        let youngest = keys.all().max_by_key(|(_, key)| key.creation_time());
        let (slot, key) = youngest.unwrap_or((KeySlot::Signature, &keys.signature));
        let key_made = UnixTime::from(key.creation_time());
        let primary_made = UnixTime::from(primary);
        let made = self.made.unwrap_or(key_made.max(primary_made));
        if made < key_made {
            return Err(CertificateError::MadeBeforeKey { made, slot, key_made });
        }
        if made < primary_made {
            return Err(CertificateError::MadeBeforePrimary { made, key_made: primary_made });
        }
        match self.expires {
            Some(expires) if expires <= made => Err(CertificateError::Lifetime { made, expires }),
            expires => Ok((made.into(), expires.map(SystemTime::from))),
        }
    }
}

/// The signature that makes `subkey` part of the certificate of `primary`.
fn bind(
    signer: &mut dyn Signer,
    primary: &Key<PublicParts, PrimaryRole>,
    subkey: &Key<PublicParts, SubordinateRole>,
    further: Vec<Subpacket>,
    made: SystemTime,
) -> Result<Signature, SignError> {
    let aside = [issuer(signer.public())?];
    sign::signature(signer, SignatureType::SubkeyBinding, made, further, &aside, &|signature, context| {
        signature.hash_subkey_binding(context, primary, subkey)
    })
}

fn subkey(key: &PublicKey) -> Key<PublicParts, SubordinateRole> {
    key.clone().role_into_subordinate()
}

/// What a key in this slot is for, as a subkey.
fn usage(slot: KeySlot) -> KeyFlags {
    match slot {
        KeySlot::Signature => KeyFlags::empty().set_signing(),
        KeySlot::Decryption => KeyFlags::empty().set_transport_encryption().set_storage_encryption(),
        KeySlot::Authentication => KeyFlags::empty().set_authentication(),
    }
}

fn flags(slot: KeySlot) -> Result<Subpacket, SignError> {
    Subpacket::new(SubpacketValue::KeyFlags(usage(slot)), true).map_err(openpgp)
}

/// How long a key of that age lasts; nothing if it does not expire.
fn lifetime(created: SystemTime, expires: Option<SystemTime>) -> Result<Option<Subpacket>, SignError> {
    let Some(expires) = expires else { return Ok(None) };
    let lasts: Duration = expires.duration_since(created).map_err(openpgp)?;
    let value = SubpacketValue::KeyExpirationTime(lasts.try_into().map_err(openpgp)?);
    Subpacket::new(value, true).map(Some).map_err(openpgp)
}

/// Older programs find a key by its Key ID. It vouches for nothing, so it stands outside what is signed.
fn issuer(key: &PublicKey) -> Result<Subpacket, SignError> {
    Subpacket::new(SubpacketValue::Issuer(key.keyid()), false).map_err(openpgp)
}

fn reason() -> Result<Subpacket, SignError> {
    let code = ReasonForRevocation::Unspecified;
    let reason = b"Made in advance, when the key was set up".to_vec();
    Subpacket::new(SubpacketValue::ReasonForRevocation { code, reason }, false).map_err(openpgp)
}

/// Revocations as a file of their own, for gpg a key block without a key.
fn block(revocations: &[Signature]) -> Result<String, SignError> {
    let mut bytes = Vec::new();
    for signature in revocations {
        bytes.extend(Packet::from(signature.clone()).to_vec().map_err(openpgp)?);
    }
    Ok(armor::write(armor::PUBLIC_KEY_BLOCK, &bytes, true))
}
