//! Why an attestation is not believed, each reason its own code.

use crate::unix_time::UnixTime;

/// Why there is no [`super::Attestation`]. The codes are explained in `docs/attestation.md`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttestationError {
    /// Some signature in the chain does not hold.
    #[error("a signature in the chain does not hold")]
    BadSignature,
    /// A certificate in the chain has ended.
    #[error("a certificate in the chain ended {not_after}; it is judged at {time}")]
    CertificateExpired {
        /// When it is judged.
        time: UnixTime,
        /// Its last second.
        not_after: UnixTime,
    },
    /// A certificate in the chain has not begun.
    #[error("a certificate in the chain begins {not_before}; it is judged at {time}")]
    CertificateNotYetValid {
        /// When it is judged.
        time: UnixTime,
        /// Its first second.
        not_before: UnixTime,
    },
    /// More than [`super::MAX_CERTIFICATE`] bytes.
    #[error("a certificate of {length} bytes; {most} are allowed")]
    CertificateTooLarge {
        /// How many came.
        length: usize,
        /// How many may come.
        most: usize,
    },
    /// The same extension stands twice.
    #[error("{name} (1.3.6.1.4.1.41482.5.{number}) stands twice")]
    ExtensionDuplicate {
        /// What it says.
        name: &'static str,
        /// N in 1.3.6.1.4.1.41482.5.N.
        number: u8,
    },
    /// An extension whose value is not the one DER element that it should be.
    #[error("{name} (1.3.6.1.4.1.41482.5.{number}) is malformed: expected {expected}")]
    ExtensionMalformed {
        /// What it says.
        name: &'static str,
        /// N in 1.3.6.1.4.1.41482.5.N.
        number: u8,
        /// What it takes.
        expected: &'static str,
    },
    /// An extension that every attestation has.
    #[error("{name} (1.3.6.1.4.1.41482.5.{number}) is missing")]
    ExtensionMissing {
        /// What it would say.
        name: &'static str,
        /// N in 1.3.6.1.4.1.41482.5.N.
        number: u8,
    },
    /// A signature counter where there is none: only signature keys have one.
    #[error("{name} (1.3.6.1.4.1.41482.5.{number}) does not belong to this slot")]
    ExtensionUnexpected {
        /// What it says.
        name: &'static str,
        /// N in 1.3.6.1.4.1.41482.5.N.
        number: u8,
    },
    /// Under Yubico's root, but not issued by the attestation key of an OpenPGP application.
    #[error("issued by {issuer:?}, which is no token's OpenPGP attestation key")]
    ForeignIssuer {
        /// Its common name, or nothing if it has another form.
        issuer: String,
    },
    /// The subject is not the one of an OpenPGP attestation.
    #[error("the subject {subject:?} is none of an OpenPGP attestation")]
    ForeignSubject {
        /// Its common name, or nothing if it has another form.
        subject: String,
    },
    /// The chain breaks a rule that has no code of its own.
    #[error("the chain is invalid: {why}")]
    InvalidPath {
        /// In webpki's words.
        why: String,
    },
    /// Not X.509 version 3 in DER.
    #[error("not a certificate: {why}")]
    MalformedCertificate {
        /// What is wrong.
        why: String,
    },
    /// There is no certificate in the file.
    #[error("no certificate in it")]
    NoCertificate,
    /// A certificate was used as an authority that is none: an attested key, say.
    #[error("a certificate in the chain was signed by one that is no authority")]
    NotAnAuthority,
    /// More certificates between root and attestation than an authority allows.
    #[error("the chain is longer than an authority in it allows")]
    PathTooLong,
    /// More than [`super::MAX_CERTIFICATES`].
    #[error("more than {most} certificates")]
    TooManyCertificates {
        /// How many may come.
        most: usize,
    },
    /// No path to any root: an intermediate is missing, or the root is another.
    #[error("the chain leads to no root that is trusted")]
    UnknownIssuer,
    /// The attested key is of a kind that no OpenPGP slot holds.
    #[error("the attested key is of an unknown kind or form")]
    UnsupportedKey,
    /// Signed with an algorithm that no attestation uses.
    #[error("a certificate in the chain is signed with an algorithm that is not accepted")]
    UnsupportedSignatureAlgorithm,
}

impl AttestationError {
    /// The stable name of this reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadSignature => "bad-signature",
            Self::CertificateExpired { .. } => "certificate-expired",
            Self::CertificateNotYetValid { .. } => "certificate-not-yet-valid",
            Self::CertificateTooLarge { .. } => "certificate-too-large",
            Self::ExtensionDuplicate { .. } => "extension-duplicate",
            Self::ExtensionMalformed { .. } => "extension-malformed",
            Self::ExtensionMissing { .. } => "extension-missing",
            Self::ExtensionUnexpected { .. } => "extension-unexpected",
            Self::ForeignIssuer { .. } => "foreign-issuer",
            Self::ForeignSubject { .. } => "foreign-subject",
            Self::InvalidPath { .. } => "invalid-path",
            Self::MalformedCertificate { .. } => "malformed-certificate",
            Self::NoCertificate => "no-certificate",
            Self::NotAnAuthority => "not-an-authority",
            Self::PathTooLong => "path-too-long",
            Self::TooManyCertificates { .. } => "too-many-certificates",
            Self::UnknownIssuer => "unknown-issuer",
            Self::UnsupportedKey => "unsupported-key",
            Self::UnsupportedSignatureAlgorithm => "unsupported-signature-algorithm",
        }
    }
}
