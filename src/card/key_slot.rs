//! The three places for keys on a card, and the numbers and tags that go with each.

use std::fmt;

use openpgp_card::ocard::KeyType;
use serde::{Deserialize, Serialize};

/// A place for a key on a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeySlot {
    /// Signs; the only one that a certificate must have.
    Signature,
    /// Decrypts.
    Decryption,
    /// Proves presence to other programs, such as ssh.
    Authentication,
}

impl KeySlot {
    /// All three, in the card's order.
    pub const ALL: [Self; 3] = [Self::Signature, Self::Decryption, Self::Authentication];

    /// One word, for profiles, options and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Decryption => "decryption",
            Self::Authentication => "authentication",
        }
    }

    /// Key reference in DO DE and number in ATTEST: 1 to 3.
    pub(crate) fn reference(self) -> u8 {
        match self {
            Self::Signature => 1,
            Self::Decryption => 2,
            Self::Authentication => 3,
        }
    }

    /// Place in lists of three.
    pub(crate) fn place(self) -> usize {
        usize::from(self.reference() - 1)
    }

    pub(crate) fn attributes_tag(self) -> u8 {
        0xc0 + self.reference()
    }

    pub(crate) fn fingerprint_tag(self) -> u8 {
        0xc6 + self.reference()
    }

    pub(crate) fn created_tag(self) -> u8 {
        0xcd + self.reference()
    }

    pub(crate) fn touch_tag(self) -> u8 {
        0xd5 + self.reference()
    }

    /// The control reference template that names the slot.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 7.2.14.
    pub(crate) fn control_reference(self) -> [u8; 2] {
        match self {
            Self::Signature => [0xb6, 0],
            Self::Decryption => [0xb8, 0],
            Self::Authentication => [0xa4, 0],
        }
    }
}

impl fmt::Display for KeySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl From<KeySlot> for KeyType {
    fn from(slot: KeySlot) -> Self {
        match slot {
            KeySlot::Signature => Self::Signing,
            KeySlot::Decryption => Self::Decryption,
            KeySlot::Authentication => Self::Authentication,
        }
    }
}
