//! Which real tokens the suite may erase: those that a person listed by hand in `serials.txt`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Yubico's number in the AID.
const YUBICO: u16 = 0x0006;

/// A token, as its AID names it.
///
/// Written as the number printed on a YubiKey, or as manufacturer and serial in hexadecimal: `000f:00c0ffe1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ident {
    manufacturer: u16,
    /// Its eight digits read as hexadecimal.
    serial: u32,
}

impl Ident {
    /// The token whose application identifier that is.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 4.2.1: two bytes of manufacturer and four of serial from the ninth on.
    pub fn of_aid(aid: &[u8]) -> Option<Self> {
        let [m1, m2, s1, s2, s3, s4] = *aid.get(8..14)? else { return None };
        Some(Self {
            manufacturer: u16::from_be_bytes([m1, m2]),
            serial: u32::from_be_bytes([s1, s2, s3, s4]),
        })
    }
}

/// What is not a serial.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither the number on a YubiKey nor MANUFACTURER:SERIAL in hexadecimal")]
pub struct NotASerial(String);

impl FromStr for Ident {
    type Err = NotASerial;

    fn from_str(text: &str) -> Result<Self, NotASerial> {
        let bad = || NotASerial(text.to_owned());
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some((manufacturer, serial)) = text.split_once(':') {
            if manufacturer.len() != 4 || serial.len() != 8 || !digits(manufacturer) || !digits(serial) {
                return Err(bad());
            }
            return Ok(Self {
                manufacturer: u16::from_str_radix(manufacturer, 16).map_err(|_| bad())?,
                serial: u32::from_str_radix(serial, 16).map_err(|_| bad())?,
            });
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) || !(1..=10).contains(&text.len()) {
            return Err(bad());
        }
        // The AID holds the last eight decimal digits.
        let last = text.get(text.len().saturating_sub(8)..).unwrap_or(text);
        Ok(Self { manufacturer: YUBICO, serial: u32::from_str_radix(last, 16).map_err(|_| bad())? })
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:08x}", self.manufacturer, self.serial)
    }
}

/// The list.
pub fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("serials.txt")
}

/// Reads a list: a serial a line, the rest after `#` is a comment.
///
/// # Errors
/// [`NotASerial`] for the first line that is none: nothing is erased then.
pub fn parse(text: &str) -> Result<Vec<Ident>, NotASerial> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_compared_with_the_aid() {
        let aid = |serial: [u8; 6]| [&[0xD2, 0x76, 0, 1, 0x24, 1, 3, 4], &serial[..], &[0, 0]].concat();
        let list = parse("# mine\n12345678\n\n000f:00c0ffe1  # another\n").unwrap();
        let found = [[0, 6, 0x12, 0x34, 0x56, 0x78], [0, 0x0F, 0, 0xC0, 0xFF, 0xE1]];
        assert_eq!(list, found.map(|serial| Ident::of_aid(&aid(serial)).unwrap()));
        assert_eq!("9012345678".parse::<Ident>().unwrap(), list[0]);
        assert_eq!("123".parse::<Ident>().unwrap().to_string(), "0006:00000123");
        assert_eq!(Ident::of_aid(&[0xD2, 0x76]), None);
    }

    #[test]
    fn a_list_with_a_mistake_is_no_list() {
        for text in ["12345678 87654321", "0xC0FFE1", "000f:c0ffe1", "000f:+0c0ffe1", "12345678901", ":"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_token_is_listed_as_committed() {
        // Somebody who lists one here sees this fail, and knows what not to commit.
        let text = include_str!("../serials.txt");
        assert_eq!(parse(text), Ok(Vec::new()));
    }
}
