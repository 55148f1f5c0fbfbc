//! Whether an attestation shows that no signature was possible without a touch, and if not, why not.

use super::firmware::{Firmware, floor};
use super::path::Attestation;
use super::roots::Root;
use super::statement::Source;
use crate::card::KeySlot;
use crate::card::TouchPolicy;

/// What an attestation that is genuine falls short of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortfall {
    /// Made by firmware with a known weakness for this kind of key.
    #[error("{algorithm} key of firmware {found}; {needed} is the least")]
    FirmwareFloor {
        /// The kind of key.
        algorithm: String,
        /// What made it.
        found: Firmware,
        /// What should have.
        needed: Firmware,
    },
    /// The key came from elsewhere, where a copy may be.
    #[error("the key was imported, not made on the token")]
    NotGenerated,
    /// It attests another key than the one that signs.
    #[error("another key than the one that signs")]
    OtherKey,
    /// It comes from another token than the one enrolled.
    #[error("of token {attested}, not of the enrolled {enrolled}")]
    OtherSerial {
        /// What it says.
        attested: u32,
        /// What the roster says.
        enrolled: String,
    },
    /// Believed on the word of a root that is not Yubico's.
    #[error("the root is {name:?}, not Yubico's")]
    OtherRoot {
        /// What the root was called where it was configured.
        name: String,
    },
    /// About a key that makes no OpenPGP signatures, under a touch policy of its own.
    #[error("about the {} key, not the signature key", slot.word())]
    OtherSlot {
        /// Which.
        slot: KeySlot,
    },
    /// Off, or on until the admin PIN turns it off, or one touch for 15 s of signatures.
    #[error("touch is {}, not fixed", found.word())]
    TouchNotFixed {
        /// What it was when attested.
        found: TouchPolicy,
    },
}

impl Shortfall {
    /// The stable name of this shortfall, explained in `docs/attestation.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FirmwareFloor { .. } => "firmware-floor",
            Self::NotGenerated => "not-generated",
            Self::OtherKey => "other-key",
            Self::OtherRoot { .. } => "other-root",
            Self::OtherSerial { .. } => "other-serial",
            Self::OtherSlot { .. } => "other-slot",
            Self::TouchNotFixed { .. } => "touch-not-fixed",
        }
    }
}

impl Attestation {
    /// What stands between this attestation and the proof that its key never worked without a touch since it
    /// was attested; nothing if it is that proof.
    ///
    /// Of the touch policies only *fixed* counts: *on* can be turned off again, the cached ones sign for 15 s
    /// after a touch, and a fixed one goes only with the key.
    pub fn shortfalls(&self) -> Vec<Shortfall> {
        let said = self.statement();
        let mut found = Vec::new();
        if let Root::Configured { name } = self.root() {
            found.push(Shortfall::OtherRoot { name: name.clone() });
        }
        if said.slot != KeySlot::Signature {
            found.push(Shortfall::OtherSlot { slot: said.slot });
        }
        if said.source != Source::Generated {
            found.push(Shortfall::NotGenerated);
        }
        if said.touch != TouchPolicy::Fixed {
            found.push(Shortfall::TouchNotFixed { found: said.touch });
        }
        let needed = floor(&said.key).firmware;
        if said.firmware < needed {
            let algorithm = said.key.to_string();
            found.push(Shortfall::FirmwareFloor { algorithm, found: said.firmware, needed });
        }
        found
    }
}
