//! The PIN: held in memory that is wiped, shown nowhere, turned into what the card expects.

use std::io::Read;

use openpgp_card::ocard::data::KdfDo;
use sequoia_openpgp::crypto::{Password, S2K};
use sequoia_openpgp::types::HashAlgorithm;
use zeroize::Zeroizing;

use super::error::CardError;
use super::info::TokenInfo;

/// The least bytes of PW1 (OpenPGP card 3.4.1, section 4.3). Fewer are not sent: they could only cost a try.
pub const PIN_MIN: usize = 6;
/// The most bytes of any PIN: PW status bytes give the length in seven bits.
pub const PIN_MAX: usize = 127;
/// The most bytes that a card may have us hash for its PIN: the largest count that OpenPGP's own
/// S2K can express (RFC 9580, section 3.7.1.3). More would be a card that keeps us busy.
const KDF_MAX_BYTES: u32 = 65_011_712;
/// Salts in the KDF object have eight bytes (OpenPGP card 3.4.1, section 4.3.2).
const KDF_SALT: usize = 8;

/// A PIN as the person knows it. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Pin(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pin(hidden)")
    }
}

/// Which of the card's PINs. A card whose KDF object has one salt uses that for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// PW3.
    Admin,
    /// The resetting code.
    ResettingCode,
    /// PW1.
    User,
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin PIN",
            Self::ResettingCode => "resetting code",
            Self::User => "PIN",
        })
    }
}

impl Pin {
    /// Takes a PIN of any bytes, UTF-8 as a rule.
    ///
    /// # Errors
    /// [`CardError::PinTooShort`] under 6 bytes, [`CardError::PinTooLong`] over 127.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CardError> {
        let length = bytes.len();
        if length < PIN_MIN {
            return Err(CardError::PinTooShort { length, min: PIN_MIN });
        }
        if length > PIN_MAX {
            return Err(CardError::PinTooLong { length, max: PIN_MAX });
        }
        Ok(Self(bytes))
    }

    /// Reads a PIN from `source`: the first line, without its line end.
    ///
    /// # Errors
    /// [`CardError::NoPin`] if nothing can be read there; the length errors of [`Pin::new`].
    pub fn from_reader(mut source: impl Read) -> Result<Self, CardError> {
        // Room for the longest PIN and its line end, allocated once so that no copy stays behind.
        let mut line = Zeroizing::new(Vec::with_capacity(PIN_MAX + 3));
        let mut byte = Zeroizing::new([0u8; 1]);
        while line.len() < PIN_MAX + 2 {
            match source.read(byte.as_mut_slice()) {
                Ok(0) => break,
                Ok(_) if byte.as_slice() == b"\n" => break,
                Ok(_) => line.extend_from_slice(byte.as_slice()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CardError::NoPin { why: error.to_string() }),
            }
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.is_empty() {
            return Err(CardError::NoPin { why: "nothing to read".to_owned() });
        }
        Self::new(line)
    }

    /// Refuses what this card could only refuse itself, at the price of a try.
    pub(crate) fn fits(&self, token: &TokenInfo) -> Result<(), CardError> {
        let length = self.0.len();
        // A card that names no usable limit is not believed.
        if token.pin_max >= PIN_MIN && length > token.pin_max {
            return Err(CardError::PinTooLong { length, max: token.pin_max });
        }
        Ok(())
    }

    /// Whether another is the same, for a PIN that was typed twice.
    pub fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What to present to the card: the PIN itself, or what its KDF object makes of it.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 4.3.2: algorithm 0 none, 3 iterated and salted S2K.
    pub(crate) fn for_card(
        &self,
        kdf: Option<&KdfDo>,
        whose: Whose,
    ) -> Result<Zeroizing<Vec<u8>>, CardError> {
        let Some(kdf) = kdf.filter(|kdf| kdf.kdf_algo() != 0) else {
            return Ok(self.0.clone());
        };
        let wrong = |why: &str| CardError::Kdf { why: why.to_owned() };
        if kdf.kdf_algo() != 3 {
            return Err(CardError::Kdf { why: format!("unknown method {}", kdf.kdf_algo()) });
        }
        let (hash, size) = match kdf.hash_algo() {
            Some(8) => (HashAlgorithm::SHA256, 32),
            Some(10) => (HashAlgorithm::SHA512, 64),
            other => return Err(CardError::Kdf { why: format!("unknown hash {other:?}") }),
        };
        let salt = match whose {
            Whose::Admin => kdf.salt_pw3().or(kdf.salt_pw1()),
            Whose::ResettingCode => kdf.salt_rc().or(kdf.salt_pw1()),
            Whose::User => kdf.salt_pw1(),
        };
        let salt: [u8; KDF_SALT] =
            salt.and_then(|salt| salt.try_into().ok()).ok_or_else(|| wrong("its salt is not 8 bytes"))?;
        let hash_bytes = kdf.iter_count().ok_or_else(|| wrong("it has no iteration count"))?;
        if hash_bytes > KDF_MAX_BYTES {
            return Err(CardError::Kdf {
                why: format!("it wants {hash_bytes} bytes hashed, {KDF_MAX_BYTES} are the most"),
            });
        }
        let derived = S2K::Iterated { hash, salt, hash_bytes }
            .derive_key(&Password::from(self.0.as_slice()), size)
            .map_err(|error| CardError::Kdf { why: error.to_string() })?;
        Ok(Zeroizing::new(derived.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn pin(text: &str) -> Pin {
        Pin::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
    }

    fn kdf(bytes: &[u8]) -> KdfDo {
        bytes.try_into().unwrap()
    }

    fn object(method: u8, hash: u8, count: u32, salt: &[u8]) -> KdfDo {
        let mut bytes = vec![0x81, 1, method, 0x82, 1, hash, 0x83, 4];
        bytes.extend(count.to_be_bytes());
        bytes.extend([0x84, u8::try_from(salt.len()).unwrap()]);
        bytes.extend(salt);
        kdf(&bytes)
    }

    #[test]
    fn never_printed() {
        assert_eq!(format!("{:?}", pin("123456")), "Pin(hidden)");
    }

    #[test]
    fn first_line_bounded() {
        let read = |text: &[u8]| Pin::from_reader(text);
        assert_eq!(read(b"123456\nnext").unwrap().0.as_slice(), b"123456");
        assert_eq!(read(b"123456\r\n").unwrap().0.as_slice(), b"123456");
        assert_eq!(read(b"123456").unwrap().0.as_slice(), b"123456");
        assert_eq!(read(&[b'7'; PIN_MAX]).unwrap().0.len(), PIN_MAX);
        assert!(matches!(read(b""), Err(CardError::NoPin { .. })));
        assert!(matches!(read(b"\n123456"), Err(CardError::NoPin { .. })));
        assert!(matches!(read(b"12345\n"), Err(CardError::PinTooShort { length: 5, min: 6 })));
        // An endless source is read no further than the longest PIN.
        assert!(matches!(Pin::from_reader(std::io::repeat(b'7')), Err(CardError::PinTooLong { .. })));
    }

    /// OpenPGP card 3.4.1, section 4.3.2, the example there.
    #[test]
    fn derives_as_the_specification_shows() {
        let object = object(3, 8, 100_000, b"01234567");
        let derived = pin("123456").for_card(Some(&object), Whose::User).unwrap();
        let hex: String = derived.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(hex, "773784A602B6C81E3F092F4D7D00E17CC822D88F7360FCF2D2EF2D9D901F44B6");
    }

    #[test]
    fn no_derivation_gives_the_pin_itself() {
        assert_eq!(pin("123456").for_card(None, Whose::User).unwrap().as_slice(), b"123456");
        let none = kdf(&[0x81, 1, 0]);
        assert_eq!(pin("123456").for_card(Some(&none), Whose::User).unwrap().as_slice(), b"123456");
    }

    #[test]
    fn odd_derivations_are_refused() {
        for object in [
            object(2, 8, 100_000, b"01234567"),
            object(3, 2, 100_000, b"01234567"),
            object(3, 8, 100_000, b"0123456"),
            object(3, 8, u32::MAX, b"01234567"),
            kdf(&[0x81, 1, 3]),
        ] {
            assert!(matches!(pin("123456").for_card(Some(&object), Whose::User), Err(CardError::Kdf { .. })));
        }
    }
}
