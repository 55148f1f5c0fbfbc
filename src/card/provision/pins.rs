//! PINs as provisioning handles them: made at random, judged, presented.

use sequoia_openpgp::crypto;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::ProvisionError;
use super::link::Link;
use crate::card::error::CardError;
use crate::card::pin::Pin;

/// The user PIN of every card as delivered (OpenPGP card 3.4.1, section 4.3).
pub const FACTORY_USER: &str = "123456";
/// The admin PIN of every card as delivered.
pub const FACTORY_ADMIN: &str = "12345678";

/// Digits of a user PIN made here.
const USER_DIGITS: usize = 8;
/// Characters of an admin PIN or resetting code made here: 80 bits and more.
const LONG: usize = 17;
const DIGITS: &[u8] = b"0123456789";
/// Without letters and digits that are taken for one another when typed from paper.
const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// PINs that a YubiKey with PIN complexity refuses, besides those of one character repeated.
///
/// # Source
/// Yubico's technical manual, "PIN complexity".
const COMMON: [&str; 20] = [
    "123456",
    "123123",
    "654321",
    "123321",
    "112233",
    "121212",
    "123456789",
    "password",
    "qwerty",
    "12345678",
    "1234567",
    "520520",
    "123654",
    "1234567890",
    "159753",
    "qwerty123",
    "abc123",
    "password1",
    "iloveyou",
    "1q2w3e4r",
];

const WRONG: u16 = 0x6982;
const BLOCKED: u16 = 0x6983;

/// A PIN as text, wiped when dropped, never printed. It is written into the journal and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(Zeroizing<String>);

impl Secret {
    pub(super) fn of(pin: &Pin) -> Result<Self, ProvisionError> {
        let text = std::str::from_utf8(pin.bytes()).map_err(|_| ProvisionError::BadPin {
            why: "it is not UTF-8, and could not be shown or typed elsewhere".to_owned(),
        })?;
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn pin(&self) -> Result<Pin, CardError> {
        Pin::new(Zeroizing::new(self.0.as_bytes().to_vec()))
    }

    /// Eight digits for a person to remember.
    pub(super) fn user() -> Result<Self, ProvisionError> {
        loop {
            let made = random(DIGITS, USER_DIGITS)?;
            if !is_simple(made.text()) {
                return Ok(made);
            }
        }
    }

    /// An admin PIN or resetting code, for paper.
    pub(super) fn long() -> Result<Self, ProvisionError> {
        random(LETTERS, LONG)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// So many characters of an alphabet, each as likely as any other.
fn random(alphabet: &[u8], length: usize) -> Result<Secret, ProvisionError> {
    let mut text = Zeroizing::new(String::with_capacity(length));
    let fair = 256 - 256 % alphabet.len();
    while text.len() < length {
        let mut byte = Zeroizing::new([0u8]);
        crypto::random(&mut byte[..])
            .map_err(|error| ProvisionError::NoRandomness { why: error.to_string() })?;
        let [byte] = *byte;
        if usize::from(byte) >= fair {
            continue;
        }
        if let Some(character) = alphabet.get(usize::from(byte) % alphabet.len()) {
            text.push(char::from(*character));
        }
    }
    Ok(Secret(text))
}

fn is_simple(pin: &str) -> bool {
    let bytes = pin.as_bytes();
    bytes.windows(2).all(|pair| pair.first() == pair.last()) || COMMON.contains(&pin)
}

/// Refuses a user PIN that anybody would try first, or that the card would refuse half-way.
///
/// # Errors
/// [`ProvisionError::BadPin`], [`CardError::PinTooLong`].
pub(super) fn judge_user(pin: &Pin, longest: u8) -> Result<(), ProvisionError> {
    let length = pin.bytes().len();
    if length > usize::from(longest) {
        return Err(CardError::PinTooLong { length, max: longest.into() }.into());
    }
    match std::str::from_utf8(pin.bytes()) {
        Ok(FACTORY_USER) => Err(ProvisionError::BadPin { why: "it is the one of the factory".to_owned() }),
        Ok(text) if is_simple(text) => {
            Err(ProvisionError::BadPin { why: "it is among the first that anybody would try".to_owned() })
        }
        Ok(_) => Ok(()),
        Err(_) => Secret::of(pin).map(drop),
    }
}

/// What came of presenting a PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented {
    Blocked,
    /// Something else than yes or no: the PIN was not compared.
    Other(u16),
    Right,
    Wrong,
}

impl Link<'_> {
    /// VERIFY. The decorator puts the PIN in; the command that could be logged holds a placeholder.
    pub(super) fn present(&mut self, reference: u8, pin: Zeroizing<Vec<u8>>) -> Result<Presented, CardError> {
        self.tape.load_pin(pin);
        let answer = self.ask("VERIFY", &[0x00, 0x20, 0x00, reference, 0x01, 0x00]);
        drop(self.tape.take_pin());
        Ok(match answer?.1 {
            super::link::status::OK => Presented::Right,
            BLOCKED | 0x63c0 => Presented::Blocked,
            // 63Cx counts, a YubiKey says 6982.
            WRONG => Presented::Wrong,
            sw if sw & 0xfff0 == 0x63c0 => Presented::Wrong,
            sw => Presented::Other(sw),
        })
    }

    /// Tries left for the user PIN, the resetting code and the admin PIN (PW Status Bytes, DO C4).
    pub(super) fn tries(&mut self) -> Result<[u8; 3], CardError> {
        const COMMAND: &str = "GET DATA C4";
        let answer = self.send(COMMAND, &[0x00, 0xca, 0x00, 0xc4, 0x00])?;
        answer
            .get(4..7)
            .and_then(|left| left.try_into().ok())
            .ok_or_else(|| CardError::Malformed { command: COMMAND, why: format!("{} bytes", answer.len()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(text: &str) -> Pin {
        Pin::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn pins_that_anybody_would_try_are_refused() {
        for text in ["123456", "000000", "aaaaaaaa", "654321", "1q2w3e4r"] {
            let error = judge_user(&pin(text), 127).unwrap_err();
            assert!(matches!(error, ProvisionError::BadPin { .. }), "{text}");
            assert!(!error.to_string().contains(text));
        }
        judge_user(&pin("271828"), 127).unwrap();
        assert!(judge_user(&pin("2718281828"), 8).is_err());
    }

    #[test]
    fn made_pins_differ_and_fit() {
        let (one, other) = (Secret::user().unwrap(), Secret::user().unwrap());
        assert_eq!((one.text().len(), other.text().len()), (USER_DIGITS, USER_DIGITS));
        assert_ne!(Secret::long().unwrap(), Secret::long().unwrap());
        assert!(Secret::long().unwrap().text().bytes().all(|byte| LETTERS.contains(&byte)));
        assert_eq!(format!("{one:?}"), "Secret(hidden)");
    }
}
