//! The changes that can be made to a token, and their words.

use std::fmt;

use sequoia_openpgp::Fingerprint;

use crate::card::info::Touch;
use crate::card::provision::algorithm::{KeyAlgorithm, KeySlot};
use crate::card::provision::profile::Tries;

/// Data about the holder, by object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderField {
    /// DO 5B.
    Name,
    /// DO 5E.
    Login,
    /// DO 5F50.
    Url,
    /// DO 5F2D.
    Language,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// How many tries each PIN has. Resets PINs.
    Tries(Tries),
    /// Whether PINs are derived. Resets PINs.
    Kdf(bool),
    /// A new admin PIN.
    AdminPin,
    /// A new user PIN.
    UserPin,
    /// A new resetting code, or none.
    ResettingCode(bool),
    /// What the next key of a slot will be. Erases a key of another kind.
    Algorithm {
        /// The slot.
        slot: KeySlot,
        /// What it will be.
        algorithm: KeyAlgorithm,
        /// As this card writes it.
        attributes: Vec<u8>,
    },
    /// A key made on the card.
    Generate {
        /// The slot.
        slot: KeySlot,
        /// What it will be.
        algorithm: KeyAlgorithm,
    },
    /// A key brought from a file.
    Import {
        /// The slot.
        slot: KeySlot,
        /// Of the key.
        fingerprint: Fingerprint,
    },
    /// Time and fingerprint of a key.
    Label {
        /// The slot.
        slot: KeySlot,
    },
    /// Whether each signature needs the PIN anew.
    PinForEachSignature(bool),
    /// One thing about the holder.
    Holder {
        /// Which.
        field: HolderField,
        /// As it is stored.
        text: String,
    },
    /// A touch policy; without a slot, the attestation key's.
    Touch {
        /// The slot.
        slot: Option<KeySlot>,
        /// The policy.
        touch: Touch,
    },
    /// The token vouches for a key.
    Attest {
        /// The slot.
        slot: KeySlot,
    },
    /// Old PINs must fail, new ones work, a signature verify.
    Prove,
    /// The token signs its certificate.
    Certificate,
    /// The token signs who holds it.
    Enrol,
}

impl Step {
    /// Whether it needs the admin PIN.
    pub(in crate::card::provision) fn needs_admin(&self) -> bool {
        !matches!(self, Self::Attest { .. } | Self::Certificate | Self::Enrol | Self::Prove)
    }

    /// Whether it comes after the certificate: from there on the signature key wants its touch.
    pub(in crate::card::provision) fn seals(&self) -> bool {
        matches!(self, Self::Touch { .. } | Self::Attest { .. } | Self::Prove | Self::Enrol)
    }

    /// Whether it takes signatures or attestations, and so the user PIN.
    pub(in crate::card::provision) fn needs_user(&self) -> bool {
        matches!(self, Self::Attest { .. } | Self::Certificate | Self::Enrol | Self::Prove)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tries(tries) => write!(
                f,
                "tries: {} for the user PIN, {} for the resetting code, {} for the admin PIN",
                tries.user, tries.resetting_code, tries.admin
            ),
            Self::Kdf(true) => f.write_str("PIN derivation (KDF object) on"),
            Self::Kdf(false) => f.write_str("PIN derivation (KDF object) off"),
            Self::AdminPin => f.write_str("new admin PIN"),
            Self::UserPin => f.write_str("new user PIN"),
            Self::ResettingCode(true) => f.write_str("new resetting code"),
            Self::ResettingCode(false) => f.write_str("no resetting code"),
            Self::Algorithm { slot, algorithm, .. } => write!(f, "{slot} slot: {algorithm}"),
            Self::Generate { slot, algorithm } => write!(f, "{slot} key: make one on the card ({algorithm})"),
            Self::Import { slot, fingerprint } => write!(f, "{slot} key: IMPORT {fingerprint} from a file"),
            Self::Label { slot } => write!(f, "{slot} key: write its time and fingerprint"),
            Self::PinForEachSignature(true) => f.write_str("PIN for each signature"),
            Self::PinForEachSignature(false) => f.write_str("one PIN for many signatures"),
            Self::Holder { field, text } => {
                let field = match field {
                    HolderField::Name => "name",
                    HolderField::Login => "login",
                    HolderField::Url => "url",
                    HolderField::Language => "language",
                };
                write!(f, "holder's {field}: {text:?}")
            }
            Self::Touch { slot, touch } => {
                let stays = match touch {
                    Touch::Fixed | Touch::CachedFixed => ", which only another key undoes",
                    Touch::Off | Touch::On | Touch::Cached => "",
                };
                let slot = slot.map_or("attestation", KeySlot::word);
                write!(f, "{slot} key: touch {}{stays}", touch.policy().word())
            }
            Self::Attest { slot } => write!(f, "{slot} key: have the token attest it"),
            Self::Certificate => f.write_str("certificate: have the token sign it"),
            Self::Enrol => f.write_str("enrolment: have the token sign who holds it"),
            Self::Prove => {
                f.write_str("proof: old PINs fail, new ones work, a signature with touch verifies")
            }
        }
    }
}
