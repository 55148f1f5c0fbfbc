//! What a token attests about a key, read and checked.

use virtual_openpgp_card::{PublicKey, TouchPolicy};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::oid;
use x509_parser::der_parser::oid::Oid;
use x509_parser::prelude::FromDer;

use crate::check::{CheckError, Openssl};
use crate::commands::policy_number;

/// What an attestation must say.
#[derive(Clone, Debug)]
pub struct Claims<'a> {
    /// The key that it is about.
    pub key: &'a PublicKey,
    /// The key's touch policy.
    pub touch: TouchPolicy,
    /// The signature counter, where that matters.
    pub counter: Option<u32>,
    /// The token's firmware.
    pub firmware: [u8; 3],
}

/// Why an attestation is not what it must be.
#[derive(Debug, thiserror::Error)]
pub enum AttestationError {
    /// Its signature is not that of the token's attestation key, or that could not be checked.
    #[error("the attestation is not signed by the key in DO FC: {0}")]
    Check(#[from] CheckError),
    /// It says something else.
    #[error("the attestation's {what} is {found}, not {expected}")]
    Differs {
        /// What.
        what: &'static str,
        /// What it says, in hexadecimal.
        found: String,
        /// What it must say.
        expected: String,
    },
    /// One of the two is no certificate.
    #[error("{0} holds no certificate")]
    NoCertificate(&'static str),
}

/// Checks an attestation (DO 7F21) under the token's own certificate (DO FC).
///
/// # Source
/// Yubico's description of OpenPGP attestation: extensions 1.3.6.1.4.1.41482.5.N.
///
/// # Errors
/// [`AttestationError`]: the first thing that is wrong.
pub fn check(
    openssl: &Openssl,
    device: &[u8],
    attestation: &[u8],
    claims: &Claims<'_>,
) -> Result<(), AttestationError> {
    let parse = |der, what| {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| AttestationError::NoCertificate(what))?;
        Ok::<X509Certificate<'_>, AttestationError>(certificate)
    };
    let device = parse(device, "DO FC")?;
    let attestation = parse(attestation, "DO 7F21")?;
    openssl.verify_certificate(
        device.public_key().raw,
        attestation.tbs_certificate.as_ref(),
        &attestation.signature_value.data,
    )?;
    let touch = policy_number(claims.touch);
    let key = claims.key.subject_public_key_info();
    let [major, minor, patch] = claims.firmware;
    let expected = [
        ("key", attestation.public_key().raw.to_vec(), key),
        ("source", value(&attestation, &SOURCE), vec![0x02, 0x01, GENERATED]),
        ("firmware", value(&attestation, &FIRMWARE), vec![0x04, 0x03, major, minor, patch]),
        ("touch policy", value(&attestation, &TOUCH), vec![0x04, 0x01, touch]),
    ];
    for (what, found, expected) in expected {
        if found != expected {
            let [found, expected] = [found, expected].map(|bytes| hex(&bytes));
            return Err(AttestationError::Differs { what, found, expected });
        }
    }
    if let Some(counter) = claims.counter {
        let found = value(&attestation, &COUNTER);
        let number = match found.as_slice() {
            [0x02, length, digits @ ..] if usize::from(*length) == digits.len() && digits.len() <= 4 => {
                digits.iter().fold(0, |number, digit| number << 8 | u32::from(*digit))
            }
            _ => u32::MAX,
        };
        if number != counter {
            let expected = counter.to_string();
            return Err(AttestationError::Differs { what: "counter", found: hex(&found), expected });
        }
    }
    Ok(())
}

const SOURCE: Oid<'static> = oid!(1.3.6.1.4.1.41482.5.2);
const FIRMWARE: Oid<'static> = oid!(1.3.6.1.4.1.41482.5.3);
const COUNTER: Oid<'static> = oid!(1.3.6.1.4.1.41482.5.6);
const TOUCH: Oid<'static> = oid!(1.3.6.1.4.1.41482.5.8);

/// The source that says: made on the token.
const GENERATED: u8 = 1;

/// An extension's value; empty where it is not there, or twice.
fn value(certificate: &X509Certificate<'_>, oid: &Oid<'_>) -> Vec<u8> {
    let extension = certificate.get_extension_unique(oid).ok().flatten();
    extension.map(|extension| extension.value.to_vec()).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
