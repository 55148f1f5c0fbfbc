//! What a token says about itself, read once from its Application Related Data.

use openpgp_card::ocard::KeyType;
use openpgp_card::ocard::algorithm::{AlgorithmAttributes, Curve};
use openpgp_card::ocard::crypto::EccType;
use openpgp_card::ocard::data::{
    ApplicationRelatedData, TouchPolicy as CardTouchPolicy, UserInteractionFlag,
};
use sequoia_openpgp::Fingerprint;
use serde::{Deserialize, Serialize};

use super::error::CardError;
use super::ident::Ident;

/// What the prompt and the listing need to know of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// Manufacturer and serial number.
    pub ident: Ident,
    /// The reader it is in, or the way to it, in words.
    pub reader: String,
    /// The key in the signature slot, if there is one.
    pub signature_key: Option<SignatureKey>,
    /// Whether a signature needs a touch.
    pub touch: TouchPolicy,
    /// Whether attesting a key needs a touch (DO D9); none if the card does not say.
    pub attestation_touch: TouchPolicy,
    /// Tries left for PW1.
    pub pin_tries_left: u8,
    /// Tries left for the Resetting Code; 0 also if none is set.
    pub resetting_code_tries_left: u8,
    /// Tries left for PW3.
    pub admin_pin_tries_left: u8,
    /// Whether each signature needs the PIN anew.
    pub pin_for_each_signature: bool,
    /// The longest PW1 in bytes, before any KDF.
    pub pin_max: usize,
    /// Whether the card can derive PINs (KDF object); whether it does is only known after reading that object.
    pub kdf_supported: bool,
    /// Whether the reader has keys of its own to enter the PIN.
    pub pinpad: bool,
}

/// The key in the signature slot, by the card's own account. The fingerprint and the time were
/// written there by whoever made the key: hints to find the certificate, never proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureKey {
    /// OpenPGP v4 fingerprint (DO C5).
    pub fingerprint: Fingerprint,
    /// The algorithm that the slot is set to (DO C1).
    pub algorithm: Algorithm,
    /// Creation time in seconds since 1970 (DO CD); 0 if never set.
    pub created: u32,
}

/// An algorithm of the signature slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519, in OpenPGP the EdDSA of algorithm number 22.
    Ed25519,
    /// ECDSA with NIST P-256.
    P256,
    /// ECDSA with NIST P-384.
    P384,
    /// ECDSA with NIST P-521.
    P521,
    /// RSA, with the modulus in bits.
    Rsa(u16),
    /// One that we do not sign with, in the card's words.
    Other(String),
}

/// Whether the card wants a touch before it signs (User Interaction Flag, DO D6).
///
/// # Source
/// OpenPGP card 3.4.1, section 4.4.3.6; Yubico's values 3 and 4 from firmware 5.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchPolicy {
    /// The card has no such feature.
    None,
    /// No touch.
    Off,
    /// A touch for each signature; the administrator PIN can lower it.
    On,
    /// A touch for each signature; only a new key lowers it.
    Fixed,
    /// A touch, valid for 15 s.
    Cached,
    /// A touch, valid for 15 s; only a new key lowers it.
    CachedFixed,
    /// A value that no specification names.
    Unknown(u8),
}

/// A touch policy that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touch {
    /// Never.
    Off,
    /// At each use; the admin PIN can lower it.
    On,
    /// At each use; only another key lowers it.
    Fixed,
    /// Good for 15 s.
    Cached,
    /// Good for 15 s; only another key lowers it.
    CachedFixed,
}

impl Touch {
    /// As the card writes it (User Interaction Flag, first byte).
    pub(crate) fn wire(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::On => 1,
            Self::Fixed => 2,
            Self::Cached => 3,
            Self::CachedFixed => 4,
        }
    }

    /// The same policy in the words of a token's description.
    pub fn policy(self) -> TouchPolicy {
        match self {
            Self::Off => TouchPolicy::Off,
            Self::On => TouchPolicy::On,
            Self::Fixed => TouchPolicy::Fixed,
            Self::Cached => TouchPolicy::Cached,
            Self::CachedFixed => TouchPolicy::CachedFixed,
        }
    }

    pub(crate) fn is_cached(self) -> bool {
        matches!(self, Self::Cached | Self::CachedFixed)
    }
}

/// Whether this signature will need a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchNeed {
    /// It will.
    Always,
    /// It will, unless the last touch is recent enough.
    Perhaps,
    /// It will not.
    Never,
}

impl TouchPolicy {
    /// Whether a signature made now will need a touch.
    pub fn need(self) -> TouchNeed {
        match self {
            Self::None | Self::Off => TouchNeed::Never,
            Self::On | Self::Fixed => TouchNeed::Always,
            Self::Cached | Self::CachedFixed | Self::Unknown(_) => TouchNeed::Perhaps,
        }
    }

    /// One word for listings and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Off => "off",
            Self::On => "on",
            Self::Fixed => "fixed",
            Self::Cached => "cached",
            Self::CachedFixed => "cached-fixed",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::P256 => f.write_str("NIST P-256"),
            Self::P384 => f.write_str("NIST P-384"),
            Self::P521 => f.write_str("NIST P-521"),
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

const COMMAND: &str = "GET DATA 6E";

/// Reads the facts out of DO 6E. The card wrote it, so every part may be missing or wrong.
pub(crate) fn read(ard: &ApplicationRelatedData, reader: &str, pinpad: bool) -> Result<TokenInfo, CardError> {
    let aid = ard.application_id().map_err(malformed)?;
    let pw = ard.pw_status_bytes().map_err(malformed)?;
    Ok(TokenInfo {
        ident: Ident { manufacturer: aid.manufacturer(), serial: aid.serial() },
        reader: reader.to_owned(),
        signature_key: signature_key(ard)?,
        touch: touch_policy(ard.uif_pso_cds().map_err(malformed)?),
        attestation_touch: touch_policy(ard.uif_attestation().map_err(malformed)?),
        pin_tries_left: pw.err_count_pw1(),
        resetting_code_tries_left: pw.err_count_rc(),
        admin_pin_tries_left: pw.err_count_pw3(),
        pin_for_each_signature: pw.pw1_cds_valid_once(),
        pin_max: pw.pw1_max_len().into(),
        kdf_supported: ard.extended_capabilities().map_err(malformed)?.kdf_do(),
        pinpad,
    })
}

/// What a User Interaction Flag says; no such object is no such feature.
fn touch_policy(flag: Option<UserInteractionFlag>) -> TouchPolicy {
    match flag.map(|flag| flag.touch_policy()) {
        None => TouchPolicy::None,
        Some(CardTouchPolicy::Off) => TouchPolicy::Off,
        Some(CardTouchPolicy::On) => TouchPolicy::On,
        Some(CardTouchPolicy::Fixed) => TouchPolicy::Fixed,
        Some(CardTouchPolicy::Cached) => TouchPolicy::Cached,
        Some(CardTouchPolicy::CachedFixed) => TouchPolicy::CachedFixed,
        Some(CardTouchPolicy::Unknown(value)) => TouchPolicy::Unknown(value),
    }
}

fn signature_key(ard: &ApplicationRelatedData) -> Result<Option<SignatureKey>, CardError> {
    let Some(fingerprint) = ard.fingerprints().map_err(malformed)?.signature().cloned() else {
        return Ok(None);
    };
    let created = ard.key_generation_times().map_err(malformed)?.signature().map_or(0, |time| time.get());
    let attributes = ard.algorithm_attributes(KeyType::Signing).map_err(malformed)?;
    Ok(Some(SignatureKey {
        fingerprint: Fingerprint::from_bytes(4, fingerprint.as_bytes()).map_err(malformed)?,
        algorithm: algorithm(&attributes),
        created,
    }))
}

fn algorithm(attributes: &AlgorithmAttributes) -> Algorithm {
    match attributes {
        AlgorithmAttributes::Rsa(rsa) => Algorithm::Rsa(rsa.len_n()),
        AlgorithmAttributes::Ecc(ecc) => match (ecc.ecc_type(), ecc.curve()) {
            (EccType::EdDSA, Curve::Ed25519) => Algorithm::Ed25519,
            (EccType::ECDSA, Curve::NistP256r1) => Algorithm::P256,
            (EccType::ECDSA, Curve::NistP384r1) => Algorithm::P384,
            (EccType::ECDSA, Curve::NistP521r1) => Algorithm::P521,
            _ => Algorithm::Other(attributes.to_string()),
        },
        AlgorithmAttributes::Unknown(_) => Algorithm::Other(attributes.to_string()),
    }
}

fn malformed(error: impl std::fmt::Display) -> CardError {
    CardError::Malformed { command: COMMAND, why: error.to_string() }
}
