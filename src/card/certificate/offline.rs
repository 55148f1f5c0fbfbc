//! A card's keys as subkeys of a primary key that is kept offline.
//!
//! The primary key comes from a file and signs here; the card makes one signature, by which its signing
//! key accepts the primary key (RFC 9580, section 5.2.1.9). Without that back signature anybody could
//! claim the card's key for a certificate of theirs.

use std::time::SystemTime;

use sequoia_openpgp::Fingerprint;
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::crypto::{KeyPair, Password, Signer};
use sequoia_openpgp::packet::key::{PrimaryRole, SecretKeyMaterial, SecretParts};
use sequoia_openpgp::packet::signature::subpacket::{Subpacket, SubpacketValue};
use sequoia_openpgp::packet::{Key, Packet, Signature};
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::types::SignatureType;

use super::{CertificateError, Made, Settings, bind, block, flags, issuer, lifetime, reason, subkey};
use crate::card::KeySlot;
use crate::card::keys::CardKeys;
use crate::sign::{self, openpgp};
use crate::unix_time::UnixTime;

/// The most bytes in the file of a primary key: a certificate with many user ids and foreign signatures.
pub const MAX_FILE: usize = 1 << 20;

/// Why a primary key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// No, or more than one, OpenPGP key; or one that is not valid.
    #[error("not one valid OpenPGP key: {reason}")]
    NotAKey {
        /// In the OpenPGP library's words.
        reason: String,
    },
    /// The file holds the public half only.
    #[error("the secret half of primary key {0} is not in the file")]
    NotSecret(Fingerprint),
    /// The passphrase does not open it.
    #[error("the passphrase does not open key {0}")]
    Passphrase(Fingerprint),
    /// More than [`MAX_FILE`] bytes.
    #[error("longer than {MAX_FILE} bytes")]
    TooLarge,
}

/// A primary key as it lies in its file.
#[derive(Debug)]
pub struct Locked {
    cert: Cert,
    key: Key<SecretParts, PrimaryRole>,
}

/// A primary key that can sign. Its secret half is encrypted in memory while it does not, and wiped when
/// this is dropped.
pub struct Primary {
    cert: Cert,
    pair: KeyPair,
}

impl std::fmt::Debug for Primary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Primary").field(&self.cert.fingerprint()).finish()
    }
}

impl Locked {
    /// Reads the file of a primary key, armored or not.
    ///
    /// # Errors
    /// Any [`OfflineError`] but that of the passphrase.
    pub fn read(bytes: &[u8], now: UnixTime) -> Result<Self, OfflineError> {
        if bytes.len() > MAX_FILE {
            return Err(OfflineError::TooLarge);
        }
        let not_a_key =
            |error: sequoia_openpgp::anyhow::Error| OfflineError::NotAKey { reason: error.to_string() };
        let cert = Cert::from_bytes(bytes).map_err(not_a_key)?;
        let policy = StandardPolicy::new();
        cert.with_policy(&policy, SystemTime::from(now))
            .and_then(|valid| valid.alive())
            .map_err(not_a_key)?;
        let key = cert.primary_key().key().clone().parts_into_secret();
        let key = key.map_err(|_| OfflineError::NotSecret(cert.fingerprint()))?;
        // What stands for a secret that is elsewhere: GnuPG's mark of a key on a card or left out of an export.
        let elsewhere =
            matches!(key.secret(), SecretKeyMaterial::Encrypted(sealed) if !sealed.s2k().is_supported());
        if elsewhere {
            return Err(OfflineError::NotSecret(cert.fingerprint()));
        }
        Ok(Self { key, cert: cert.strip_secret_key_material() })
    }

    /// The primary key's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.cert.fingerprint()
    }

    /// Whether a passphrase is needed.
    pub fn needs_passphrase(&self) -> bool {
        self.key.secret().is_encrypted()
    }

    /// Makes it able to sign. The passphrase is not looked at where none is needed.
    ///
    /// # Errors
    /// [`OfflineError::Passphrase`]; the key is lost from memory then, not from its file.
    pub fn unlock(self, passphrase: &Password) -> Result<Primary, OfflineError> {
        let wrong = |_| OfflineError::Passphrase(self.cert.fingerprint());
        let key = self.key.role_into_unspecified();
        let key =
            if key.secret().is_encrypted() { key.decrypt_secret(passphrase).map_err(wrong)? } else { key };
        let pair = key.into_keypair().map_err(wrong)?;
        Ok(Primary { cert: self.cert, pair })
    }
}

impl Primary {
    /// The certificate as it was in the file, without secrets.
    pub fn certificate(&self) -> &Cert {
        &self.cert
    }

    /// Adds the card's keys as subkeys. `card` signs once; the revocation that is made in advance revokes
    /// these subkeys, not the primary key.
    ///
    /// # Errors
    /// Any [`CertificateError`]; of the card, its outcome.
    pub fn add(
        &mut self,
        keys: &CardKeys,
        settings: &Settings,
        card: &mut dyn Signer,
    ) -> Result<Made, CertificateError> {
        let primary = self.cert.primary_key().key().clone();
        // A signature that is older than its key is none.
        let (made, expires) = settings.times(keys, primary.creation_time())?;
        let mut packets = Vec::new();
        let mut revocations: Vec<Signature> = Vec::new();
        for (slot, key) in keys.all() {
            let key = subkey(key);
            let mut further = vec![flags(slot)?];
            further.extend(lifetime(key.creation_time(), expires)?);
            if slot == KeySlot::Signature {
                let aside = [issuer(card.public())?];
                let back = sign::signature(
                    card,
                    SignatureType::PrimaryKeyBinding,
                    made,
                    Vec::new(),
                    &aside,
                    &|signature, context| signature.hash_primary_key_binding(context, &primary, &key),
                )?;
                let back = Subpacket::new(SubpacketValue::EmbeddedSignature(back), true);
                further.push(back.map_err(|error| CertificateError::Sign(openpgp(error)))?);
            }
            let binding = bind(&mut self.pair, &primary, &key, further, made)?;
            if settings.revocation {
                let aside = [issuer(self.pair.public())?];
                revocations.push(sign::signature(
                    &mut self.pair,
                    SignatureType::SubkeyRevocation,
                    made,
                    vec![reason()?],
                    &aside,
                    &|signature, context| signature.hash_subkey_binding(context, &primary, &key),
                )?);
            }
            packets.extend([Packet::from(key), binding.into()]);
        }
        let (cert, _) =
            self.cert.clone().insert_packets(packets).map_err(openpgp).map_err(CertificateError::Sign)?;
        let revocation = if revocations.is_empty() { None } else { Some(block(&revocations)?) };
        Ok(Made { cert, revocation })
    }
}
