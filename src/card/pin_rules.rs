//! Which new PINs are refused before any card is asked: too short, too long, or what anybody would try first.

use super::pin::{PIN_MIN, Pin, Whose};

/// The user PIN of every card as delivered (OpenPGP card 3.4.1, section 4.3).
pub const FACTORY_USER: &str = "123456";
/// The admin PIN of every card as delivered.
pub const FACTORY_ADMIN: &str = "12345678";
/// The least bytes of admin PIN and resetting code (OpenPGP card 3.4.1, section 4.3).
const LONG_MIN: usize = 8;

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

/// Why a PIN must not be a new one. Never says which PIN it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinFlaw {
    /// It is the one that every card is delivered with.
    #[error("it is the one of the factory")]
    Factory,
    /// Longer than the card takes.
    #[error("it has {length} bytes, {max} are the most")]
    Long {
        /// Bytes given.
        length: usize,
        /// The card's limit.
        max: usize,
    },
    /// Shorter than any card takes.
    #[error("it has {length} bytes, {min} are the least")]
    Short {
        /// Bytes given.
        length: usize,
        /// The least number of bytes.
        min: usize,
    },
    /// One character repeated, or one of the twenty that YubiKeys with PIN complexity name.
    #[error("it is among the first that anybody would try")]
    Simple,
}

/// The least bytes of a PIN.
pub(super) fn shortest(whose: Whose) -> usize {
    if whose == Whose::User { PIN_MIN } else { LONG_MIN }
}

pub(super) fn is_simple(pin: &str) -> bool {
    let bytes = pin.as_bytes();
    bytes.windows(2).all(|pair| pair.first() == pair.last()) || COMMON.contains(&pin)
}

/// Refuses a length that no such PIN of this card has: presented, it could only cost a try.
///
/// # Errors
/// [`PinFlaw::Short`], [`PinFlaw::Long`].
pub(super) fn fits(pin: &Pin, whose: Whose, longest: u8) -> Result<(), PinFlaw> {
    let (length, min, max) = (pin.bytes().len(), shortest(whose), usize::from(longest));
    if length < min {
        return Err(PinFlaw::Short { length, min });
    }
    // A card that names no usable limit is not believed.
    if max >= min && length > max {
        return Err(PinFlaw::Long { length, max });
    }
    Ok(())
}

/// Refuses a new PIN that anybody would try first, or that the card would refuse half-way.
///
/// # Errors
/// [`PinFlaw`].
pub(super) fn judge(pin: &Pin, whose: Whose, longest: u8) -> Result<(), PinFlaw> {
    fits(pin, whose, longest)?;
    let factory = match whose {
        Whose::Admin => FACTORY_ADMIN,
        Whose::ResettingCode | Whose::User => FACTORY_USER,
    };
    match std::str::from_utf8(pin.bytes()) {
        Ok(text) if text == factory => Err(PinFlaw::Factory),
        Ok(text) if is_simple(text) => Err(PinFlaw::Simple),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(text: &str) -> Pin {
        Pin::new(text.as_bytes().to_vec().into()).expect("long enough")
    }

    #[test]
    fn each_secret_has_its_own_rules() {
        assert_eq!(judge(&pin("123456"), Whose::User, 127), Err(PinFlaw::Factory));
        assert_eq!(judge(&pin("12345678"), Whose::Admin, 127), Err(PinFlaw::Factory));
        assert_eq!(judge(&pin("12345678"), Whose::User, 127), Err(PinFlaw::Simple));
        assert_eq!(judge(&pin("aaaaaaaa"), Whose::ResettingCode, 127), Err(PinFlaw::Simple));
        assert_eq!(judge(&pin("271828"), Whose::Admin, 127), Err(PinFlaw::Short { length: 6, min: 8 }));
        assert_eq!(judge(&pin("271828"), Whose::User, 127), Ok(()));
        assert_eq!(judge(&pin("271828182"), Whose::User, 8), Err(PinFlaw::Long { length: 9, max: 8 }));
        assert_eq!(judge(&pin("271828182"), Whose::User, 0), Ok(()));
    }
}
