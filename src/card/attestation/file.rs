//! Certificates in files: PEM or DER in, PEM out, bounded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::AttestationError;

/// The most bytes in one certificate. Yubico's take less than 900; a token's certificate object holds 3 KiB.
pub const MAX_CERTIFICATE: usize = 4096;
/// The most certificates at once. Yubico's file of published intermediates holds 15, of all its products.
pub const MAX_CERTIFICATES: usize = 64;
/// The most bytes in a file of certificates: the above in PEM, and as much again in words between them.
pub const MAX_FILE: usize = 3 * MAX_CERTIFICATE * MAX_CERTIFICATES;

/// Reads one certificate in DER, or any number in PEM; other text between them is passed over.
///
/// # Errors
/// If there is none, one is too large, or there are too many.
pub fn read_certificates(bytes: &[u8]) -> Result<Vec<Vec<u8>>, AttestationError> {
    // A sequence of more than 127 bytes, as every certificate is: the second byte stands in no text after this one.
    if matches!(bytes, [0x30, 0x81..=0x84, ..]) {
        return Ok(vec![check_length(bytes)?.to_vec()]);
    }
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        let why = |error| AttestationError::MalformedCertificate { why: format!("PEM: {error}") };
        if found.len() == MAX_CERTIFICATES {
            return Err(AttestationError::TooManyCertificates { most: MAX_CERTIFICATES });
        }
        found.push(check_length(&certificate.map_err(why)?)?.to_vec());
    }
    if found.is_empty() { Err(AttestationError::NoCertificate) } else { Ok(found) }
}

pub(super) fn check_length(certificate: &[u8]) -> Result<&[u8], AttestationError> {
    let length = certificate.len();
    if length > MAX_CERTIFICATE {
        return Err(AttestationError::CertificateTooLarge { length, most: MAX_CERTIFICATE });
    }
    Ok(certificate)
}

/// One certificate in PEM.
///
/// # Source
/// RFC 7468, section 5.
pub fn write_pem(certificate: &[u8]) -> String {
    let encoded = STANDARD.encode(certificate);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for length in [2, 47, 48, 49, MAX_CERTIFICATE] {
            let certificate = [&[0x30, 0x82][..], &vec![7; length - 2]].concat();
            let text = format!("0 is a word before\n{}and after\n", write_pem(&certificate)).repeat(2);
            assert_eq!(
                read_certificates(text.as_bytes()).unwrap(),
                [certificate.clone(), certificate.clone()]
            );
            assert_eq!(read_certificates(&certificate).unwrap(), [certificate]);
        }
    }

    #[test]
    fn too_much_and_too_little_is_refused() {
        let code = |bytes: &[u8]| read_certificates(bytes).unwrap_err().code();
        assert_eq!(code(b""), "no-certificate");
        assert_eq!(code(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "no-certificate");
        assert_eq!(code(b"-----BEGIN CERTIFICATE-----\nAAAA\n"), "malformed-certificate");
        assert_eq!(
            code(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
            "malformed-certificate"
        );
        let large = [&[0x30, 0x82][..], &[7; MAX_CERTIFICATE]].concat();
        assert_eq!(code(&large), "certificate-too-large");
        assert_eq!(code(write_pem(&[0x30; MAX_CERTIFICATE + 1]).as_bytes()), "certificate-too-large");
        assert_eq!(code(write_pem(&[0x30]).repeat(MAX_CERTIFICATES + 1).as_bytes()), "too-many-certificates");
        assert_eq!(
            read_certificates(write_pem(&[0x30]).repeat(MAX_CERTIFICATES).as_bytes()).unwrap().len(),
            64
        );
    }
}
