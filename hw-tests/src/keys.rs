//! The keys that scripts import: published ones, in `keys.txt` beside the scripts.
//!
//! ```text
//! p256
//! source: RFC 6979, appendix A.2.5
//! oid: 2A8648CE3D030107
//! private: C9AF…
//! public: 0460FE…
//! ```
//!
//! An RSA key has `p`, `q` and `modulus` instead; its exponent is 65537.

use std::collections::BTreeMap;
use std::path::Path;

use virtual_openpgp_card::{Algorithm, PublicKey, Slot};

use crate::script::hexadecimal;
use crate::tlv::{header, object};

/// The exponent of every RSA key here.
pub const EXPONENT: [u8; 3] = [0x01, 0x00, 0x01];

/// Every key, by its algorithm's name.
#[derive(Clone, Debug)]
pub struct Keys(BTreeMap<String, BTreeMap<String, Vec<u8>>>);

/// What is wrong with the keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A line is neither a name nor a field.
    #[error("keys.txt, line {line} is neither an algorithm nor a field in hexadecimal")]
    Line {
        /// The line, counted from 1.
        line: usize,
    },
    /// There is no such key, or it lacks a field.
    #[error("keys.txt has no {field} of {algorithm}")]
    Missing {
        /// Whose.
        algorithm: Algorithm,
        /// Which.
        field: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read keys.txt")]
    Unreadable(#[from] std::io::Error),
}

impl Keys {
    /// Reads `keys.txt` of that folder.
    ///
    /// # Errors
    /// [`KeyError`] where it is not there or not understood.
    pub fn load(folder: &Path) -> Result<Keys, KeyError> {
        Keys::parse(&std::fs::read_to_string(folder.join("keys.txt"))?)
    }

    fn parse(text: &str) -> Result<Keys, KeyError> {
        let mut keys: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
        let mut current = String::new();
        for (index, line) in text.lines().enumerate() {
            let bad = || KeyError::Line { line: index + 1 };
            match line.split_once(": ") {
                _ if line.is_empty() || line.starts_with('#') => {}
                None => {
                    current = line.parse::<Algorithm>().map_err(|_| bad())?.to_string();
                    keys.insert(current.clone(), BTreeMap::new());
                }
                Some(("source", _)) => {}
                Some((field, value)) => {
                    let key = keys.get_mut(&current).ok_or_else(bad)?;
                    key.insert(field.to_owned(), hexadecimal(value).ok_or_else(bad)?);
                }
            }
        }
        Ok(Keys(keys))
    }

    fn field(&self, algorithm: Algorithm, field: &'static str) -> Result<&[u8], KeyError> {
        let key = self.0.get(&algorithm.to_string());
        let value = key.and_then(|key| key.get(field)).ok_or(KeyError::Missing { algorithm, field })?;
        Ok(value)
    }

    /// The algorithm attributes of such a key in that slot.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 4.4.3.9.
    ///
    /// # Errors
    /// [`KeyError::Missing`] where the curve's identifier is not in the file.
    pub fn attributes(&self, algorithm: Algorithm, slot: Slot) -> Result<Vec<u8>, KeyError> {
        let bits: u16 = match algorithm {
            Algorithm::Rsa2048 => 2048,
            Algorithm::Rsa3072 => 3072,
            Algorithm::Rsa4096 => 4096,
            _ => {
                let id = match algorithm {
                    Algorithm::Ed25519 | Algorithm::Ed448 => 0x16,
                    _ if slot == Slot::Decryption => 0x12,
                    _ => 0x13,
                };
                return Ok([&[id], self.field(algorithm, "oid")?].concat());
            }
        };
        // An exponent of 17 bits, imported as exponent and primes.
        Ok([&[0x01], bits.to_be_bytes().as_slice(), &[0x00, 0x11, 0x00]].concat())
    }

    /// The private scalar or seed of a curve's key, as its specification writes it.
    ///
    /// # Errors
    /// [`KeyError::Missing`] where it is not in the file.
    pub fn private(&self, algorithm: Algorithm) -> Result<&[u8], KeyError> {
        self.field(algorithm, "private")
    }

    /// The public key.
    ///
    /// # Errors
    /// [`KeyError::Missing`] where it is not in the file.
    pub fn public(&self, algorithm: Algorithm) -> Result<PublicKey, KeyError> {
        if is_rsa(algorithm) {
            let modulus = self.field(algorithm, "modulus")?.to_vec();
            return Ok(PublicKey::Rsa { modulus, exponent: EXPONENT.to_vec() });
        }
        Ok(PublicKey::Curve { algorithm, point: self.field(algorithm, "public")?.to_vec() })
    }

    /// What PUT DATA with the odd instruction takes to import the key.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 4.4.3.12 (Extended Header list).
    ///
    /// # Errors
    /// [`KeyError::Missing`] where a part of the key is not in the file.
    pub fn header_list(&self, algorithm: Algorithm, slot: Slot) -> Result<Vec<u8>, KeyError> {
        let parts: Vec<(u16, Vec<u8>)> = if is_rsa(algorithm) {
            let [p, q] = [self.field(algorithm, "p")?, self.field(algorithm, "q")?];
            vec![(0x91, EXPONENT.to_vec()), (0x92, p.to_vec()), (0x93, q.to_vec())]
        } else {
            let mut scalar = self.private(algorithm)?.to_vec();
            if algorithm == Algorithm::X25519 {
                // OpenPGP's order of bytes, most significant first.
                scalar.reverse();
            }
            vec![(0x92, scalar)]
        };
        let template: Vec<u8> = parts.iter().flat_map(|(tag, part)| header(*tag, part.len())).collect();
        let data: Vec<u8> = parts.iter().flat_map(|(_, part)| part.clone()).collect();
        let list = [control_reference(slot), object(0x7F48, &template), object(0x5F48, &data)].concat();
        Ok(object(0x4D, &list))
    }
}

/// How commands name a key.
pub fn control_reference(slot: Slot) -> Vec<u8> {
    match slot {
        Slot::Signature => object(0xB6, &[]),
        Slot::Decryption => object(0xB8, &[]),
        Slot::Authentication => object(0xA4, &[]),
        Slot::Attestation => object(0xB6, &object(0x84, &[0x81])),
    }
}

/// Whether the algorithm is RSA, of whatever length.
pub fn is_rsa(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa2048 | Algorithm::Rsa3072 | Algorithm::Rsa4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_has_a_key() {
        let keys = Keys::load(&crate::script::folder()).unwrap();
        for algorithm in Algorithm::ALL {
            keys.public(algorithm).unwrap();
            keys.header_list(algorithm, Slot::Signature).unwrap();
            keys.attributes(algorithm, Slot::Signature).unwrap();
        }
    }

    #[test]
    fn other_texts_are_no_keys() {
        for (text, line) in [("p257\n", 1), ("private: 00\n", 1), ("p256\nprivate: 0\n", 2)] {
            let error = Keys::parse(text).unwrap_err();
            assert!(matches!(error, KeyError::Line { line: found } if found == line), "{text}: {error}");
        }
    }
}
