//! Firmware versions, and from which on a kind of key is as strong as it looks.

use std::fmt;

use super::key::PublicKey;

/// A YubiKey's firmware. It cannot be updated: the version says which code made the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Firmware {
    /// The first number.
    pub major: u8,
    /// The second.
    pub minor: u8,
    /// The third.
    pub patch: u8,
}

impl Firmware {
    /// The version with these numbers.
    pub const fn new(major: u8, minor: u8, patch: u8) -> Self {
        Self { major, minor, patch }
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The least firmware for a kind of key, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The kind of key, as people call it.
    pub algorithm: &'static str,
    /// The first version that is good enough.
    pub firmware: Firmware,
    /// What was wrong before.
    pub why: &'static str,
    /// Who says so.
    pub source: &'static str,
}

const ECC: Floor = Floor {
    algorithm: "ECDSA and ECDH (NIST, Brainpool, secp256k1)",
    firmware: Firmware::new(5, 7, 0),
    why: "EUCLEAK: whoever has the token and a laboratory for a while can copy a key that signs with ECDSA",
    source: "Yubico YSA-2024-03; Roche, \"EUCLEAK\" (NinjaLab, 2024)",
};

const EDWARDS: Floor = Floor {
    algorithm: "Ed25519, X25519",
    firmware: Firmware::new(5, 2, 3),
    why: "the first with these curves; their signatures invert no secret number, which is what EUCLEAK measures",
    source: "Yubico, YubiKey 5.2.3 release notes; Roche, \"EUCLEAK\" (NinjaLab, 2024)",
};

const RSA: Floor = Floor {
    algorithm: "RSA",
    firmware: Firmware::new(4, 3, 5),
    why: "ROCA: RSA keys made on the token (4.2.6 to 4.3.4) can be computed from their public half",
    source: "Yubico YSA-2017-01, CVE-2017-15361",
};

/// Every floor; no kind of key is without one.
pub const FLOORS: [Floor; 3] = [EDWARDS, ECC, RSA];

/// The floor of this kind of key.
pub fn floor(key: &PublicKey) -> &'static Floor {
    match key {
        PublicKey::Ec { .. } => &ECC,
        PublicKey::Ed25519(_) | PublicKey::X25519(_) => &EDWARDS,
        PublicKey::Rsa { .. } => &RSA,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(Firmware::new(5, 7, 0) > Firmware::new(5, 4, 3));
        assert!(Firmware::new(5, 10, 0) > Firmware::new(5, 7, 4));
        assert_eq!(Firmware::new(5, 2, 7).to_string(), "5.2.7");
    }
}
