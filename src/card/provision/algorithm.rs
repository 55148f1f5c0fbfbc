//! Algorithms of the three key slots: how a profile names them, how a card's attributes write them, and
//! the OpenPGP key that a card's public key makes.

use std::fmt;
use std::time::{Duration, SystemTime};

use sequoia_openpgp::crypto::mpi::{self, MPI};
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{Key4, PublicParts, UnspecifiedRole};
use sequoia_openpgp::types::{Curve, HashAlgorithm, PublicKeyAlgorithm, SymmetricAlgorithm};
use serde::{Deserialize, Serialize};

pub use crate::card::KeySlot;
use crate::card::tlv;

/// What a profile can ask for. Of Curve25519, `ed25519` signs and authenticates and `cv25519` decrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyAlgorithm {
    /// EdDSA on Curve25519.
    Ed25519,
    /// ECDH on Curve25519.
    Cv25519,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
}

const RSA: u8 = 0x01;
const ECDH: u8 = 0x12;
const ECDSA: u8 = 0x13;
const EDDSA: u8 = 0x16;

impl KeyAlgorithm {
    const ALL: [Self; 8] = [
        Self::Ed25519,
        Self::Cv25519,
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// One word, as in a profile.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Cv25519 => "cv25519",
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::P521 => "p521",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
        }
    }

    /// Whether keys of this kind do what the slot is for.
    pub fn fits(self, slot: KeySlot) -> bool {
        match self {
            Self::Ed25519 => slot != KeySlot::Decryption,
            Self::Cv25519 => slot == KeySlot::Decryption,
            _ => true,
        }
    }

    pub(crate) fn rsa_bits(self) -> Option<u16> {
        match self {
            Self::Rsa2048 => Some(2048),
            Self::Rsa3072 => Some(3072),
            Self::Rsa4096 => Some(4096),
            _ => None,
        }
    }

    /// The curve, as the attributes name it; empty for RSA.
    fn oid(self) -> &'static [u8] {
        match self {
            Self::Ed25519 => &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01],
            Self::Cv25519 => &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x97, 0x55, 0x01, 0x05, 0x01],
            Self::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => &[],
        }
    }

    fn curve_id(self, slot: KeySlot) -> u8 {
        match self {
            Self::Ed25519 => EDDSA,
            _ if slot == KeySlot::Decryption => ECDH,
            _ => ECDSA,
        }
    }

    /// What algorithm attributes say; `None` for what no profile can name.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 4.4.3.9 (Algorithm Attributes).
    pub(crate) fn parse(attributes: &[u8], slot: KeySlot) -> Option<Self> {
        let found = match attributes {
            [RSA, high, low, ..] => {
                let bits = u16::from_be_bytes([*high, *low]);
                Self::ALL.into_iter().find(|algorithm| algorithm.rsa_bits() == Some(bits))
            }
            // FF at the end: the public key comes along when a key is imported.
            [id, oid @ .., 0xff] | [id, oid @ ..] => Self::ALL.into_iter().find(|algorithm| {
                algorithm.rsa_bits().is_none() && algorithm.oid() == oid && algorithm.curve_id(slot) == *id
            }),
            [] => None,
        };
        found.filter(|algorithm| algorithm.fits(slot))
    }

    /// The attributes to write for this algorithm, `None` if the card says that it cannot do it.
    ///
    /// `offered` is the content of DO FA, `present` the slot's attributes now. For RSA the card decides on
    /// the exponent's length and the import format, and refuses others.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, sections 4.4.3.9 and 4.4.3.11. YubiKeys from 5.2 to 5.6 list Curve25519 under the
    /// wrong number in DO FA, so of curves only the name is looked for.
    pub(crate) fn attributes(self, slot: KeySlot, offered: Option<&[u8]>, present: &[u8]) -> Option<Vec<u8>> {
        let mut entries = Vec::new();
        if let Some(mut rest) = offered {
            while let Some((tag, value, after)) = tlv::read(rest) {
                if tag == u16::from(slot.attributes_tag()) {
                    entries.push(value);
                }
                rest = after;
            }
        }
        let Some(bits) = self.rsa_bits() else {
            let listed = |entry: &&[u8]| {
                let oid = entry.get(1..).unwrap_or_default();
                oid == self.oid() || oid.strip_suffix(&[0xff]) == Some(self.oid())
            };
            if offered.is_some() && !entries.iter().any(listed) {
                return None;
            }
            return Some([&[self.curve_id(slot)], self.oid()].concat());
        };
        let [high, low] = bits.to_be_bytes();
        if offered.is_some() {
            return entries
                .into_iter()
                .find(|entry| entry.starts_with(&[RSA, high, low]))
                .map(<[u8]>::to_vec);
        }
        match present {
            [RSA, _, _, rest @ ..] => Some([&[RSA, high, low], rest].concat()),
            _ => Some(vec![RSA, high, low, 0x00, 0x20, 0x00]),
        }
    }

    /// The OpenPGP key over the card's public key, the content of DO 7F49.
    ///
    /// Of ECDH keys, hash and cipher are those that GnuPG writes for the curve.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 7.2.14; RFC 9580, section 5.5.5.
    pub(crate) fn openpgp_key(
        self,
        slot: KeySlot,
        public: &[u8],
        created: u32,
    ) -> Option<Key<PublicParts, UnspecifiedRole>> {
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(created.into());
        if self.rsa_bits().is_some() {
            let (modulus, exponent) = (tlv::find(public, 0x81)?, tlv::find(public, 0x82)?);
            return Some(Key4::import_public_rsa(exponent, modulus, made).ok()?.into());
        }
        let point = tlv::find(public, 0x86)?;
        let (hash, cipher) = match self {
            Self::P384 => (HashAlgorithm::SHA384, SymmetricAlgorithm::AES256),
            Self::P521 => (HashAlgorithm::SHA512, SymmetricAlgorithm::AES256),
            _ => (HashAlgorithm::SHA256, SymmetricAlgorithm::AES128),
        };
        let curve = match self {
            Self::Ed25519 => return Some(Key4::import_public_ed25519(point, made).ok()?.into()),
            Self::Cv25519 => {
                return Some(Key4::import_public_cv25519(point, hash, cipher, made).ok()?.into());
            }
            Self::P256 => Curve::NistP256,
            Self::P384 => Curve::NistP384,
            Self::P521 => Curve::NistP521,
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => return None,
        };
        let q = MPI::new(point);
        let (kind, material) = if slot == KeySlot::Decryption {
            (PublicKeyAlgorithm::ECDH, mpi::PublicKey::ECDH { curve, q, hash, sym: cipher })
        } else {
            (PublicKeyAlgorithm::ECDSA, mpi::PublicKey::ECDSA { curve, q })
        };
        let key: Key4<PublicParts, UnspecifiedRole> = Key4::new(made, kind, material).ok()?;
        Some(key.into())
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_are_written() {
        for slot in KeySlot::ALL {
            for algorithm in KeyAlgorithm::ALL.into_iter().filter(|algorithm| algorithm.fits(slot)) {
                let wire = algorithm.attributes(slot, None, &[]).unwrap();
                assert_eq!(KeyAlgorithm::parse(&wire, slot), Some(algorithm));
            }
        }
        assert_eq!(KeyAlgorithm::parse(&[], KeySlot::Signature), None);
        assert_eq!(KeyAlgorithm::parse(&[RSA, 4, 0, 0, 17, 0], KeySlot::Signature), None);
    }

    #[test]
    fn the_card_decides_how_rsa_is_written_and_what_it_can() {
        let offered = tlv::object(0xc1, &[RSA, 0x08, 0x00, 0x00, 0x11, 0x00]);
        let rsa = KeyAlgorithm::Rsa2048.attributes(KeySlot::Signature, Some(&offered), &[]);
        assert_eq!(rsa, Some(vec![RSA, 0x08, 0x00, 0x00, 0x11, 0x00]));
        assert_eq!(KeyAlgorithm::Rsa4096.attributes(KeySlot::Signature, Some(&offered), &[]), None);
        assert_eq!(KeyAlgorithm::Ed25519.attributes(KeySlot::Signature, Some(&offered), &[]), None);
        assert_eq!(KeyAlgorithm::Rsa2048.attributes(KeySlot::Decryption, Some(&offered), &[]), None);
        let present = [RSA, 0x08, 0x00, 0x00, 0x11, 0x00];
        let rsa = KeyAlgorithm::Rsa3072.attributes(KeySlot::Signature, None, &present);
        assert_eq!(rsa, Some(vec![RSA, 0x0c, 0x00, 0x00, 0x11, 0x00]));
    }
}
