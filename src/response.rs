//! A statement and the signature over it, not yet trusted; and how the two travel in one file.
//!
//! ```text
//! touchgate v1 approve
//! audience: approve.example.com
//! …
//! expires: 2026-11-20T04:22:00Z
//!
//! -----BEGIN PGP SIGNATURE-----
//! …
//! -----END PGP SIGNATURE-----
//! ```

use crate::armor;
use crate::statement::MAX_STATEMENT;

/// The most bytes in a signature, armored or not: an RSA-4096 one takes a fifth of it.
pub const MAX_SIGNATURE: usize = 4096;

/// The most bytes in an approval file.
pub const MAX_RESPONSE: usize = MAX_STATEMENT + 1 + MAX_SIGNATURE;

/// What an approver sent, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// What should be a statement.
    pub statement: Vec<u8>,
    /// What should be one signature packet, binary or armored.
    pub signature: Vec<u8>,
}

/// The bytes are not a statement, a blank line and a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Its lines end in CR LF, as some mail programs leave them.
    #[error("the file has carriage returns; its lines must end in LF alone, as they were signed")]
    CarriageReturn,
    /// It is a message in the cleartext signature framework, whose text is not what is signed.
    #[error("a cleartext-signed message, not a statement and a detached signature")]
    Cleartext,
    /// No blank line parts the two.
    #[error("no blank line between statement and signature")]
    NoSignature,
    /// More than [`MAX_RESPONSE`] bytes.
    #[error("{length} bytes, {MAX_RESPONSE} are allowed")]
    TooLarge {
        /// How many came.
        length: usize,
    },
}

impl ResponseError {
    /// The stable name of this error, explained in `docs/rejections.md`.
    pub fn code(self) -> &'static str {
        match self {
            Self::CarriageReturn => "carriage-return",
            Self::Cleartext => "cleartext-form",
            Self::NoSignature => "no-signature",
            Self::TooLarge { .. } => "response-too-large",
        }
    }
}

impl Response {
    /// Parts an approval file at its first blank line.
    ///
    /// # Errors
    /// Any [`ResponseError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ResponseError> {
        if bytes.starts_with(b"-----BEGIN PGP SIGNED MESSAGE-----") {
            return Err(ResponseError::Cleartext);
        }
        if bytes.len() > MAX_RESPONSE {
            return Err(ResponseError::TooLarge { length: bytes.len() });
        }
        let Some(blank) = bytes.windows(2).position(|pair| pair == b"\n\n") else {
            let mangled = bytes.windows(4).any(|four| four == b"\r\n\r\n");
            return Err(if mangled { ResponseError::CarriageReturn } else { ResponseError::NoSignature });
        };
        let (statement, rest) = bytes.split_at(blank + 1);
        let signature = rest.get(1..).unwrap_or_default();
        Ok(Self { statement: statement.to_vec(), signature: signature.to_vec() })
    }

    /// The approval file.
    pub fn to_file(&self) -> Vec<u8> {
        [&self.statement[..], b"\n", armored(&self.signature).as_bytes()].concat()
    }
}

/// The armored form of a signature; of one that is armored already, itself.
///
/// With the CRC-24, though RFC 9580 calls it optional: without it GnuPG 2.2 reads on into the last
/// line wherever the base64 needs no padding, and calls a good signature bad.
pub fn armored(signature: &[u8]) -> String {
    if signature.starts_with(b"-----BEGIN") {
        return String::from_utf8_lossy(signature).into_owned();
    }
    armor::write(armor::SIGNATURE, signature, true)
}
