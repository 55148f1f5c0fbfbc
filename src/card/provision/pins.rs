//! PINs as provisioning handles them: made at random, judged, kept.

use sequoia_openpgp::crypto;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::ProvisionError;
use crate::card::error::CardError;
use crate::card::pin::{Pin, Whose};
use crate::card::pin_rules::{PinFlaw, is_simple, judge};

/// Digits of a user PIN made here.
const USER_DIGITS: usize = 8;
/// Characters of an admin PIN or resetting code made here: 80 bits and more.
const LONG: usize = 17;
const DIGITS: &[u8] = b"0123456789";
/// Without letters and digits that are taken for one another when typed from paper.
const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";

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

/// Refuses a user PIN that anybody would try first, or that the card would refuse half-way.
///
/// # Errors
/// [`ProvisionError::BadPin`], [`CardError::PinTooLong`].
pub(super) fn judge_user(pin: &Pin, longest: u8) -> Result<(), ProvisionError> {
    match judge(pin, Whose::User, longest) {
        Ok(()) => Secret::of(pin).map(drop),
        Err(PinFlaw::Long { length, max }) => Err(CardError::PinTooLong { length, max }.into()),
        Err(flaw) => Err(ProvisionError::BadPin { why: flaw.to_string() }),
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
