//! What a card computed, checked by openssl: another implementation than any card's.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use virtual_openpgp_card::{Algorithm, PublicKey};

use crate::keys::{KeyError, Keys, is_rsa};
use crate::tlv::object;

/// What was wrong with something that a card computed, or why it could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A key of the suite is missing.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// openssl says no.
    #[error("openssl {command} says: {message}")]
    Refused {
        /// Its subcommand.
        command: &'static str,
        /// What it printed.
        message: String,
    },
    /// openssl cannot be started, or its files cannot be written.
    #[error("cannot use openssl (on Debian: apt-get install openssl): {0}")]
    Unusable(#[from] io::Error),
}

/// What PSO: DECIPHER is sent, and the plain text that must come back.
#[derive(Clone, Debug)]
pub struct Riddle {
    /// The data field of the command.
    pub cryptogram: Vec<u8>,
    /// The answer.
    pub plain: Vec<u8>,
}

/// The openssl program with a folder for its files.
#[derive(Debug)]
pub struct Openssl(TempDir);

impl Openssl {
    /// Prepares it.
    ///
    /// # Errors
    /// [`CheckError::Unusable`] without a temporary folder.
    pub fn new() -> Result<Self, CheckError> {
        Ok(Self(tempfile::tempdir()?))
    }

    /// What a card with such a key is given to sign a text: a DigestInfo, a hash, or the text itself for EdDSA.
    pub fn to_sign(algorithm: Algorithm, text: &[u8]) -> Vec<u8> {
        let hash = Sha256::digest(text).to_vec();
        match algorithm {
            Algorithm::Ed25519 | Algorithm::Ed448 => text.to_vec(),
            _ if is_rsa(algorithm) => [SHA256_DIGEST_INFO.as_slice(), &hash].concat(),
            _ => hash,
        }
    }

    /// Checks a signature as a card gives it: r and s of equal length for ECDSA.
    ///
    /// # Errors
    /// [`CheckError::Refused`] where it is wrong.
    pub fn verify(&self, key: &PublicKey, text: &[u8], signature: &[u8]) -> Result<(), CheckError> {
        let edwards =
            matches!(key, PublicKey::Curve { algorithm: Algorithm::Ed25519 | Algorithm::Ed448, .. });
        let (signed, signature, more): (_, _, &[&str]) = match key {
            PublicKey::Rsa { .. } => {
                (Sha256::digest(text).to_vec(), signature.to_vec(), &["-pkeyopt", "digest:sha256"])
            }
            PublicKey::Curve { .. } if edwards => (text.to_vec(), signature.to_vec(), &["-rawin"]),
            PublicKey::Curve { .. } => (Sha256::digest(text).to_vec(), ecdsa_der(signature), &[]),
        };
        self.write("public", &key.subject_public_key_info())?;
        self.write("signed", &signed)?;
        self.write("signature", &signature)?;
        let common = ["-verify", "-pubin", "-keyform", "DER", "-inkey", "public"];
        let files = ["-in", "signed", "-sigfile", "signature"];
        self.run("pkeyutl", &[&common[..], &files, more].concat())?;
        Ok(())
    }

    /// Encrypts a text to a card's RSA key, or agrees on a secret with its other keys. The same each time, so that
    /// recordings can be compared.
    ///
    /// # Errors
    /// [`CheckError`] where openssl does not do it.
    pub fn riddle(&self, keys: &Keys, key: &PublicKey, text: &[u8]) -> Result<Riddle, CheckError> {
        self.write("public", &key.subject_public_key_info())?;
        let (cryptogram, plain) = match key {
            PublicKey::Rsa { modulus, .. } => {
                let filler = modulus.len().saturating_sub(text.len() + 3);
                let padded = [&[0, 2], vec![0xA5; filler].as_slice(), &[0], text].concat();
                self.write("padded", &padded)?;
                let input = ["-encrypt", "-pubin", "-keyform", "DER", "-inkey", "public", "-in", "padded"];
                let raw = ["-pkeyopt", "rsa_padding_mode:none", "-out", "out"];
                self.run("pkeyutl", &[&input[..], &raw].concat())?;
                ([&[0x00], self.read("out")?.as_slice()].concat(), text.to_vec())
            }
            PublicKey::Curve { algorithm, .. } => {
                self.write("private", &private_key_info(key, keys.private(*algorithm)?))?;
                let own = ["-derive", "-keyform", "DER", "-inkey", "private"];
                let theirs = ["-peerform", "DER", "-peerkey", "public", "-out", "out"];
                self.run("pkeyutl", &[&own[..], &theirs].concat())?;
                let PublicKey::Curve { point, .. } = keys.public(*algorithm)? else {
                    return Err(KeyError::Missing { algorithm: *algorithm, field: "public" }.into());
                };
                // Cipher DO, public key DO, external public key: section 7.2.11 of the card's specification.
                (object(0xA6, &object(0x7F49, &object(0x86, &point))), self.read("out")?)
            }
        };
        Ok(Riddle { cryptogram, plain })
    }

    /// Checks an RSA signature with SHA-256 over a certificate's content, by its issuer's key in DER.
    ///
    /// # Errors
    /// [`CheckError::Refused`] where it is wrong.
    pub fn verify_certificate(
        &self,
        issuer: &[u8],
        content: &[u8],
        signature: &[u8],
    ) -> Result<(), CheckError> {
        self.write("public", issuer)?;
        self.write("signed", content)?;
        self.write("signature", signature)?;
        let arguments =
            ["-sha256", "-keyform", "DER", "-verify", "public", "-signature", "signature", "signed"];
        self.run("dgst", &arguments)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), CheckError> {
        Ok(std::fs::write(self.path(name), bytes)?)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, CheckError> {
        Ok(std::fs::read(self.path(name))?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, command: &'static str, arguments: &[&str]) -> Result<(), CheckError> {
        let mut openssl = Command::new("openssl");
        let output = openssl.current_dir(self.0.path()).arg(command).args(arguments).output()?;
        if output.status.success() {
            return Ok(());
        }
        let printed = [output.stdout, output.stderr].concat();
        let message = String::from_utf8_lossy(&printed).trim().replace('\n', "; ");
        Err(CheckError::Refused { command, message })
    }
}

/// SHA-256 in the DER of RFC 8017, section 9.2, note 1: what stands before the hash.
const SHA256_DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

const INTEGER: u16 = 0x02;
const OCTET_STRING: u16 = 0x04;
const SEQUENCE: u16 = 0x30;

/// r and s as DER has them.
fn ecdsa_der(signature: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let mut significant: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
        if significant.first().is_none_or(|first| first & 0x80 != 0) {
            significant.insert(0, 0);
        }
        object(INTEGER, &significant)
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    object(SEQUENCE, &[number(r), number(s)].concat())
}

/// A private key on the curve of `peer`, as openssl reads it.
///
/// # Source
/// RFC 5958 (OneAsymmetricKey), RFC 5915 (points on curves), RFC 8410 (the others).
fn private_key_info(peer: &PublicKey, private: &[u8]) -> Vec<u8> {
    // The algorithm is the first element of the peer's SubjectPublicKeyInfo.
    let public = peer.subject_public_key_info();
    let algorithm = crate::tlv::find_path(&public, &[SEQUENCE, SEQUENCE]).unwrap_or_default();
    let montgomery = matches!(peer, PublicKey::Curve { algorithm: Algorithm::X25519 | Algorithm::X448, .. });
    let key = if montgomery {
        object(OCTET_STRING, private)
    } else {
        object(SEQUENCE, &[object(INTEGER, &[1]), object(OCTET_STRING, private)].concat())
    };
    let parts = [object(INTEGER, &[0]), object(SEQUENCE, algorithm), object(OCTET_STRING, &key)];
    object(SEQUENCE, &parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 2: the text is one byte.
    #[test]
    fn openssl_tells_right_signatures_from_wrong_ones() {
        let hex = |text| crate::script::hexadecimal(text).unwrap();
        let point = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let key = PublicKey::Curve { algorithm: Algorithm::Ed25519, point };
        let mut signature = hex(concat!(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ));
        let openssl = Openssl::new().unwrap();
        openssl.verify(&key, &[0x72], &signature).unwrap();
        signature[0] ^= 1;
        assert!(matches!(openssl.verify(&key, &[0x72], &signature), Err(CheckError::Refused { .. })));
    }

    /// RFC 7748, section 6.1: Alice's key is the suite's, Bob's the card's.
    #[test]
    fn agreements_are_the_published_ones() {
        let hex = |text| crate::script::hexadecimal(text).unwrap();
        let point = hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let bob = PublicKey::Curve { algorithm: Algorithm::X25519, point };
        let keys = Keys::load(&crate::script::folder()).unwrap();
        let riddle = Openssl::new().unwrap().riddle(&keys, &bob, b"").unwrap();
        assert_eq!(riddle.plain, hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"));
    }
}
