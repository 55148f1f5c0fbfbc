//! The roots that attestations lead to: Yubico's two, compiled in, and others by explicit configuration.

use rustls_pki_types::{CertificateDer, Der, TrustAnchor};

use super::AttestationError;
use super::file::check_length;

/// Where a chain ends, which decides how much it is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// At a root that somebody configured: their word, not Yubico's.
    Configured {
        /// What it was called there.
        name: String,
    },
    /// At one of Yubico's.
    Yubico(YubicoRoot),
}

/// Yubico's roots for OpenPGP attestations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum YubicoRoot {
    /// "Yubico OpenPGP Attestation CA", firmware 5.2 to 5.7.3.
    OpenPgpCa,
    /// "Yubico Attestation Root 1", from firmware 5.7.4.
    Root1,
}

/// A root that somebody trusts beside Yubico's, under a name of their choice.
#[derive(Clone, Debug)]
pub struct ConfiguredRoot {
    pub(super) name: String,
    pub(super) anchor: TrustAnchor<'static>,
}

impl ConfiguredRoot {
    /// Takes subject and key of a certificate in DER; its own signature and dates are not looked at.
    ///
    /// # Errors
    /// If it is no certificate of version 3, or too large.
    pub fn new(name: impl Into<String>, certificate: &[u8]) -> Result<Self, AttestationError> {
        let certificate = CertificateDer::from(check_length(certificate)?);
        let anchor = webpki::anchor_from_trusted_cert(&certificate)
            .map_err(|error| AttestationError::MalformedCertificate { why: error.to_string() })?;
        Ok(Self { name: name.into(), anchor: anchor.to_owned() })
    }
}

impl Root {
    /// What a person calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::Configured { name } => name,
            Self::Yubico(root) => root.name(),
        }
    }
}

impl YubicoRoot {
    /// Both.
    pub const ALL: [Self; 2] = [Self::OpenPgpCa, Self::Root1];

    /// The common name of its subject, which is all of its subject.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenPgpCa => "Yubico OpenPGP Attestation CA",
            Self::Root1 => "Yubico Attestation Root 1",
        }
    }

    /// The SHA-256 of its certificate in DER, as published, in hexadecimal.
    pub fn certificate_sha256(self) -> &'static str {
        match self {
            Self::OpenPgpCa => "6937cfa21c2189a7b219c71db39ef7112ee24b8801b1521d8296d087f2eee615",
            Self::Root1 => "62760c6a6ef91679f454c8902b80fd009825b3f25da90f1fbace2ec6586cd5a8",
        }
    }

    /// The SHA-256 of its SubjectPublicKeyInfo in DER, in hexadecimal.
    pub fn key_sha256(self) -> &'static str {
        match self {
            Self::OpenPgpCa => "2aa9dfc5be7e538475bf47309fe052c7a70565439347aead84bc921e11676d37",
            Self::Root1 => "1f43e2b88e964a5d03b8058bbaaced68199c9256200f1bb28eaab2f82a1e06f2",
        }
    }

    /// How many certificates may stand between it and an attestation: its basic constraints say so, which a
    /// trust anchor does not carry.
    pub(super) fn path_length(self) -> usize {
        match self {
            Self::OpenPgpCa => 1,
            Self::Root1 => 3,
        }
    }

    fn modulus(self) -> &'static [u8; 256] {
        match self {
            Self::OpenPgpCa => &OPENPGP_CA_MODULUS,
            Self::Root1 => &ROOT_1_MODULUS,
        }
    }

    /// Subject and key, without the sequences around them, as webpki wants them.
    pub(super) fn anchor(self) -> TrustAnchor<'static> {
        let name = self.name().as_bytes();
        let length = |length: usize| u8::try_from(length).expect("the names are short");
        // A set of one attribute: commonName (2.5.4.3), a UTF8String.
        let head = [0x31, length(name.len() + 9), 0x30, length(name.len() + 7), 0x06, 3, 0x55, 4, 3];
        let subject = [&head[..], &[0x0C, length(name.len())], name].concat();
        let key = [&RSA_2048_BEFORE[..], self.modulus(), &EXPONENT_65537].concat();
        TrustAnchor {
            subject: Der::from(subject),
            subject_public_key_info: Der::from(key),
            name_constraints: None,
        }
    }
}

/// What stands before a modulus of 2048 bits in a SubjectPublicKeyInfo, its outermost header left out:
/// rsaEncryption with NULL, a bit string, a sequence, an integer with a zero for its sign.
const RSA_2048_BEFORE: [u8; 29] = hex("300d06092a864886f70d01010105000382010f003082010a0282010100");
/// What stands after it.
const EXPONENT_65537: [u8; 5] = hex("0203010001");

/// From `yubico-opgp-ca-1.pem` in the repository Yubico/developers.yubico.com, `static/PKI/`, at commit
/// b3efe70b50fdade6ee0ad4ce1f740ba756e6c332, published under developers.yubico.com/PKI.
const OPENPGP_CA_MODULUS: [u8; 256] = hex("a590a724f8d107fa24952e36cebefade325be42b80d9eda1132eeb037e4103cb\
     9f9cbfc487b4a4957187ca864493d65ff991bcb15809f12d1afe6983f9dbcdf4\
     aa40df618d4e13f2101bbe81756686649b8c53871d50f411db563b241f842c73\
     4c4076afdc29ab7a0295a88441eaf8305aaffa00cdfb54aa8a353b01526ac0ca\
     2857fef63f912dcbd5c3ff3423e1502f46a9a6f6ce88715da9ec8f3f76fb8fdd\
     6cdd5c28348623c9159a82e92db09ffc2a861389567a7d07c4c0a8ff3219a349\
     e5192ec6ac402a37e3d147089e981661c01cde62208b921eea6aa3b83b579608\
     d2e390978bc0867fbb24531126da1685cec6a16916323212331821d4577da1d5");

/// From `yubico-ca-1.pem` there.
const ROOT_1_MODULUS: [u8; 256] = hex("c67afd3c4cf2b213f846a83ef1bcd689ed30ea3fda6436441c091d2d1065cc55\
     68d5ef975d8b521059e4b9a205270865dd519f1d68779f3987efdd84aee1126e\
     c90002e428ab6cd5f3b9dca18d2d9ba3cf9877c069dcaf8872285d06ef86ff53\
     72bd844e6618d0facea61c8424401dfad831844317860bd17e03e6719dc6fa69\
     032ea79049ad5a6327c0ede2d1302e72cadb138f391ef18ce2bd15a6055d269b\
     e04238932424c8abe0f7e61c2d4fc40322ffa71afa5cca2e707087c2933c828a\
     626e921632e8aa2a34c29011da4d8923af5b20cc4ccb756f00af133a70f75bbe\
     9ac52de2b8f479f9cef6cd193b07703110e71f8c60525e592f0aeb3e47c2d7fd");

/// Bytes of as many hexadecimal digits, while compiling: there an index out of bounds is an error.
#[allow(clippy::indexing_slicing, clippy::panic)]
const fn hex<const N: usize>(digits: &str) -> [u8; N] {
    const fn digit(digit: u8) -> u8 {
        match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => panic!("not a hexadecimal digit"),
        }
    }
    assert!(digits.len() == 2 * N, "not that many bytes");
    let (digits, mut bytes, mut at) = (digits.as_bytes(), [0; N], 0);
    while at < N {
        bytes[at] = digit(digits[2 * at]) << 4 | digit(digits[2 * at + 1]);
        at += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::print_stderr, clippy::unwrap_used)]
    use super::*;
    use crate::card::attestation::read_certificates;
    use crate::digest::Sha256Digest;

    /// `REAL_ATTESTATIONS` names a folder with Yubico's published files in `yubico-pki/`.
    #[test]
    fn the_roots_are_those_that_yubico_publishes() {
        let Some(folder) = std::env::var_os("REAL_ATTESTATIONS") else {
            eprintln!("SKIPPED: REAL_ATTESTATIONS names no folder with Yubico's files");
            return;
        };
        for (root, file) in
            [(YubicoRoot::OpenPgpCa, "yubico-opgp-ca-1.pem"), (YubicoRoot::Root1, "yubico-ca-1.pem")]
        {
            let path = std::path::Path::new(&folder).join("yubico-pki").join(file);
            let certificate = read_certificates(&std::fs::read(path).unwrap()).unwrap().remove(0);
            let digest = Sha256Digest::of(&certificate).to_string();
            assert_eq!(digest, format!("sha256:{}", root.certificate_sha256()));
            let published = ConfiguredRoot::new("published", &certificate).unwrap();
            assert_eq!(published.anchor, root.anchor());
        }
    }

    /// A mistyped digit of a modulus would otherwise show only as a genuine token that is not believed.
    #[test]
    fn the_keys_have_the_digests_that_stand_beside_them() {
        for root in YubicoRoot::ALL {
            let anchor = root.anchor();
            let spki = [&[0x30, 0x82, 0x01, 0x22], anchor.subject_public_key_info.as_ref()].concat();
            assert_eq!(Sha256Digest::of(&spki).to_string(), format!("sha256:{}", root.key_sha256()));
        }
    }
}
