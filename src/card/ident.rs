//! The name of a token: the manufacturer and serial number in its application identifier.

use std::fmt;
use std::str::FromStr;

use crate::wire::as_text;

/// Yubico's number in the OpenPGP card register: the serial number then holds decimal digits.
const YUBICO: u16 = 0x0006;

/// Manufacturer and serial number of a token, as in its AID.
///
/// Written the way a person reads it: for Yubico the digits printed on the token (`12345678`), for
/// anybody else `maker:serial` in lowercase hexadecimal (`000f:00c0ffe1`).
///
/// # Source
/// OpenPGP card 3.4.1, section 4.2.1 (Application Identifier).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ident {
    /// Registered number of the manufacturer; 6 is Yubico.
    pub manufacturer: u16,
    /// The four serial bytes of the AID. A YubiKey holds its printed number in them as BCD digits.
    pub serial: u32,
}

/// The text is not the name of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no token number: expected up to 8 digits, or maker:serial such as 000f:00c0ffe1")]
pub struct NotAnIdent {
    /// What was given.
    pub text: String,
}

impl Ident {
    /// Whether the maker is Yubico.
    pub fn is_yubico(&self) -> bool {
        self.manufacturer == YUBICO
    }

    /// The serial number as decimal digits read as a number, where it has that form.
    ///
    /// An attestation states the serial number as an integer; this is what to compare it with.
    pub fn decimal(&self) -> Option<u32> {
        if self.is_yubico() { format!("{:x}", self.serial).parse().ok() } else { None }
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decimal() {
            Some(number) => write!(f, "{number}"),
            None => write!(f, "{:04x}:{:08x}", self.manufacturer, self.serial),
        }
    }
}

impl FromStr for Ident {
    type Err = NotAnIdent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotAnIdent { text: text.chars().take(64).collect() };
        match text.split_once(':') {
            Some((maker, serial)) => Ok(Self {
                manufacturer: hex(maker, 4).ok_or_else(wrong)?.try_into().map_err(|_| wrong())?,
                serial: hex(serial, 8).ok_or_else(wrong)?,
            }),
            // The digits go into the AID as they are printed, so they are read as hexadecimal.
            None if text.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Self { manufacturer: YUBICO, serial: hex(text, 8).ok_or_else(wrong)? })
            }
            None => Err(wrong()),
        }
    }
}

as_text!(Ident);

fn hex(text: &str, longest: usize) -> Option<u32> {
    let fits = !text.is_empty() && text.len() <= longest && text.bytes().all(|b| b.is_ascii_hexdigit());
    if fits { u32::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn yubikeys_by_the_printed_number() {
        let ident = Ident { manufacturer: 6, serial: 0x1234_5678 };
        assert_eq!(ident.to_string(), "12345678");
        assert_eq!("12345678".parse::<Ident>().unwrap(), ident);
        assert_eq!("0006:12345678".parse::<Ident>().unwrap(), ident);
        assert_eq!(Ident { manufacturer: 6, serial: 0x0012_3456 }.to_string(), "123456");
        assert_eq!("00123456".parse::<Ident>().unwrap(), "123456".parse::<Ident>().unwrap());
    }

    #[test]
    fn others_by_maker_and_serial() {
        let ident = Ident { manufacturer: 0x000f, serial: 0x00c0_ffe1 };
        assert_eq!(ident.to_string(), "000f:00c0ffe1");
        assert_eq!("000F:00C0FFE1".parse::<Ident>().unwrap(), ident);
        // A Yubico serial that is no decimal number is still named, and named without loss.
        let odd = Ident { manufacturer: 6, serial: 0xa };
        assert_eq!(odd.to_string().parse::<Ident>().unwrap(), odd);
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in
            ["", ":", "x", "123456789", "6:", ":1", "00006:1", "6:123456789", "+1", "1 ", "6:1:2", "c0ffee"]
        {
            assert!(text.parse::<Ident>().is_err(), "{text:?}");
        }
    }
}
