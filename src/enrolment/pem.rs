//! X.509 certificates as PEM, in its plain form: blocks of 64-column base64 and nothing between them.
//!
//! # Source
//! RFC 7468, section 5.1, in the strict form of its section 3.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The most certificates: an attestation, the token's own, and twice the intermediates that Yubico has.
pub const MAX_CERTIFICATES: usize = 8;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----\n";
const END: &str = "-----END CERTIFICATE-----\n";

/// Writes certificates one after the other.
pub fn write<D: AsRef<[u8]>>(certificates: impl IntoIterator<Item = D>) -> String {
    let mut text = String::new();
    for der in certificates {
        let encoded = STANDARD.encode(der);
        text.push_str(BEGIN);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str(END);
    }
    text
}

/// Reads what [`write()`] writes and nothing else: 1 to [`MAX_CERTIFICATES`] certificates, DER each. What is
/// in them is not looked at.
pub fn read(text: &str) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() && found.len() < MAX_CERTIFICATES {
        let (encoded, after) = rest.strip_prefix(BEGIN)?.split_once(END)?;
        found.push(STANDARD.decode(encoded.replace('\n', "")).ok()?);
        rest = after;
    }
    (!found.is_empty() && write(&found) == text).then_some(found)
}
