//! What an administrator needs to enrol a token, in one file that its holder makes: `alice.enrol`.
//!
//! ```json
//! {
//!   "format": "touchgate enrolment v1",
//!   "statement": "touchgate v1 enrol\nname: alice\nserial: 12345678\n…",
//!   "signature": "-----BEGIN PGP SIGNATURE-----\n…",
//!   "certificate": "-----BEGIN PGP PUBLIC KEY BLOCK-----\n…",
//!   "attestation": "-----BEGIN CERTIFICATE-----\n…",
//!   "report": "…"
//! }
//! ```
//!
//! The statement names everything else by its digest and is signed by the token with a touch, so no part
//! can be exchanged, and nobody enrols a key that they do not hold. `docs/enrolment.md` has it for readers
//! and other implementations.

pub mod pem;
pub mod possession;

use std::time::Duration;

use sequoia_openpgp as openpgp;
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::parse::Parse as _;
use sequoia_openpgp::serialize::MarshalInto as _;
use serde::{Deserialize, Serialize};

use crate::armor;
use crate::digest::Sha256Digest;
use crate::response::armored;
use crate::trust::roster::read_certificate;
use crate::unix_time::UnixTime;
use crate::verify::{CLOCK_SKEW, KeyError, Rejection, SigningKey};
use crate::wire::present;
use possession::{Possession, PossessionError};

/// The most bytes in such a file: its parts at their largest, with what JSON adds to their line feeds.
pub const MAX_ENROLMENT: usize = 256 * 1024;
/// The most bytes in the certificate: one with RSA-4096 keys and a dozen foreign signatures takes a tenth.
pub const MAX_CERTIFICATE: usize = 96 * 1024;
/// The most bytes in the attestation chain: eight certificates as large as a token can hold.
pub const MAX_ATTESTATION: usize = 48 * 1024;
/// The most bytes in the provisioning report.
pub const MAX_REPORT: usize = 48 * 1024;

/// What the file says that it is.
const FORMAT: &str = "touchgate enrolment v1";

/// The file, its parts byte for byte as they were written; nothing is checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// That it is one, and of which version.
    pub format: Format,
    /// The text that the token signed: a [`Possession`].
    pub statement: String,
    /// The signature over it, armored.
    pub signature: String,
    /// The certificate of the key that signed, armored.
    pub certificate: String,
    /// The token's attestation of that key and the certificates up to the root, PEM, the attestation first.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub attestation: Option<String>,
    /// What provisioning reported about this token.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub report: Option<String>,
}

/// `touchgate enrolment v1`, the only one there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Format;

impl From<Format> for String {
    fn from(_: Format) -> Self {
        FORMAT.to_owned()
    }
}

impl TryFrom<String> for Format {
    type Error = String;

    fn try_from(found: String) -> Result<Self, String> {
        if found == FORMAT { Ok(Self) } else { Err(format!("the format is not {FORMAT:?}")) }
    }
}

/// A file that passed every check: somebody held that token on that day and touched it.
#[derive(Debug)]
pub struct Enrolled {
    /// What they said with it.
    pub possession: Possession,
    /// The key, in its certificate.
    pub key: SigningKey,
    /// The attestation chain, DER each, the attestation first; **not verified**. Empty if there is none.
    pub attestation: Vec<Vec<u8>>,
    /// The provisioning report, which only the holder vouches for.
    pub report: Option<String>,
    /// How long ago it was signed. Whether that is fresh enough is for the caller to say.
    pub age: Duration,
}

/// Why a file enrols nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentError {
    /// A part is not the one that the statement names.
    #[error("the {part} is not the one that was signed")]
    Altered {
        /// Which part.
        part: &'static str,
    },
    /// The attestation chain is not plain PEM.
    #[error("the attestation is not a plain PEM chain of 1 to {} certificates", pem::MAX_CERTIFICATES)]
    Attestation,
    /// The certificate is not one plain armor block with one certificate in it.
    #[error("the certificate is not one plain armored certificate: {reason}")]
    Certificate {
        /// What is wrong with it.
        reason: String,
    },
    /// It was signed on a day that is yet to come.
    #[error("it was signed on {signed}, and it is {now}")]
    Future {
        /// When it says that it was signed.
        signed: UnixTime,
        /// The time by our clock.
        now: UnixTime,
    },
    /// The certificate does not hold the key, or that key is of no use here.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not this JSON.
    #[error("not an enrolment: {reason}")]
    Malformed {
        /// In the parser's words.
        reason: String,
    },
    /// The right values, written another way than `touchgate enrol` does.
    #[error("not written as `touchgate enrol` writes it, from byte {at} on")]
    NotCanonical {
        /// The first byte that differs.
        at: usize,
    },
    /// The certificate holds a secret key.
    #[error("the certificate holds a secret key, which must be considered lost")]
    SecretKey,
    /// Certificate or signature fail the verifier's checks.
    #[error(transparent)]
    Signature(#[from] Rejection),
    /// The signed text is not what it should be.
    #[error("the statement: {0}")]
    Statement(#[from] PossessionError),
    /// The signature names another moment than the statement.
    #[error("the statement is of {stated}, its signature of {signed}")]
    Time {
        /// What the statement says.
        stated: UnixTime,
        /// What the signature says.
        signed: UnixTime,
    },
    /// Larger than is allowed.
    #[error("the {part} has {length} bytes, {most} are allowed")]
    TooLarge {
        /// Which part.
        part: &'static str,
        /// How many bytes it has.
        length: usize,
        /// How many it may have.
        most: usize,
    },
}

impl EnrolmentError {
    /// The stable name of this error, explained in `docs/enrolment.md` or `docs/rejections.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Altered { .. } => "enrolment-altered",
            Self::Attestation => "bad-attestation-chain",
            Self::Certificate { .. } => "bad-certificate",
            Self::Future { .. } => "enrolment-future",
            Self::Key(KeyError::Absent(_)) => "key-absent",
            Self::Key(KeyError::Unsupported(_)) => "unsupported-key",
            Self::Malformed { .. } => "bad-enrolment",
            Self::NotCanonical { .. } => "enrolment-not-canonical",
            Self::SecretKey => "secret-key",
            Self::Signature(rejection) => rejection.code(),
            Self::Statement(_) => "bad-enrolment-statement",
            Self::Time { .. } => "enrolment-time",
            Self::TooLarge { .. } => "enrolment-too-large",
        }
    }
}

/// What goes into a file beside the signed statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The certificate, armored.
    pub certificate: String,
    /// The attestation chain, PEM.
    pub attestation: Option<String>,
    /// The provisioning report.
    pub report: Option<String>,
}

impl Parts {
    /// The parts, written the one way that they may be.
    ///
    /// # Errors
    /// [`EnrolmentError::TooLarge`]; [`EnrolmentError::Certificate`] if the OpenPGP library cannot write it.
    pub fn new(cert: &Cert, chain: &[Vec<u8>], report: Option<String>) -> Result<Self, EnrolmentError> {
        let unwritable =
            |error: openpgp::anyhow::Error| EnrolmentError::Certificate { reason: error.to_string() };
        let bytes = cert.clone().strip_secret_key_material().to_vec().map_err(unwritable)?;
        let parts = Self {
            certificate: armor::write(armor::PUBLIC_KEY_BLOCK, &bytes, true),
            attestation: (!chain.is_empty()).then(|| pem::write(chain)),
            report,
        };
        check_sizes(&parts.certificate, &parts.attestation, &parts.report)?;
        Ok(parts)
    }

    /// The digests that the statement names them by: certificate, attestation, report.
    pub fn digests(&self) -> (Sha256Digest, Option<Sha256Digest>, Option<Sha256Digest>) {
        let of = |text: &String| Sha256Digest::of(text.as_bytes());
        (of(&self.certificate), self.attestation.as_ref().map(of), self.report.as_ref().map(of))
    }

    /// The file, once the token has signed `statement`.
    pub fn signed(self, statement: String, signature: &[u8]) -> Enrolment {
        let Self { certificate, attestation, report } = self;
        Enrolment {
            format: Format,
            statement,
            signature: armored(signature),
            certificate,
            attestation,
            report,
        }
    }
}

impl Enrolment {
    /// The file.
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("strings alone become JSON");
        json.push('\n');
        json
    }

    /// Reads a file, and only the bytes that [`Enrolment::to_json`] writes.
    ///
    /// # Errors
    /// [`EnrolmentError::TooLarge`], [`EnrolmentError::Malformed`], [`EnrolmentError::NotCanonical`].
    pub fn parse(bytes: &[u8]) -> Result<Self, EnrolmentError> {
        within("file", bytes.len(), MAX_ENROLMENT)?;
        let read: Self = serde_json::from_slice(bytes)
            .map_err(|error| EnrolmentError::Malformed { reason: error.to_string() })?;
        check_sizes(&read.certificate, &read.attestation, &read.report)?;
        let json = read.to_json();
        if json.as_bytes() == bytes {
            return Ok(read);
        }
        let at = json.bytes().zip(bytes).take_while(|(ours, theirs)| ours == *theirs).count();
        Err(EnrolmentError::NotCanonical { at })
    }

    /// Checks everything but the attestation: parts as signed, certificate valid at `now` under sequoia's standard
    /// policy, signature by the very key that the statement names, times that fit.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn verify(&self, now: UnixTime) -> Result<Enrolled, EnrolmentError> {
        let possession = Possession::parse(self.statement.as_bytes())?;
        let digest = |text: &str| Sha256Digest::of(text.as_bytes());
        let attestation = self.attestation.as_deref();
        let report = self.report.as_deref();
        for (part, named, found) in [
            ("certificate", Some(possession.certificate), Some(digest(&self.certificate))),
            ("attestation", possession.attestation, attestation.map(digest)),
            ("report", possession.report, report.map(digest)),
        ] {
            if named != found {
                return Err(EnrolmentError::Altered { part });
            }
        }
        let key = SigningKey::new(certificate(&self.certificate)?, &possession.key)?;
        let signed = key.check(self.signature.as_bytes(), self.statement.as_bytes(), now)?;
        let apart = possession.signed.since(signed).max(signed.since(possession.signed));
        if apart > CLOCK_SKEW {
            return Err(EnrolmentError::Time { stated: possession.signed, signed });
        }
        if possession.signed.max(signed) > now.plus(CLOCK_SKEW) {
            return Err(EnrolmentError::Future { signed: possession.signed.max(signed), now });
        }
        let attestation = attestation.map(|text| pem::read(text).ok_or(EnrolmentError::Attestation));
        Ok(Enrolled {
            key,
            attestation: attestation.transpose()?.unwrap_or_default(),
            report: self.report.clone(),
            age: now.since(signed),
            possession,
        })
    }
}

fn check_sizes(
    certificate: &str,
    attestation: &Option<String>,
    report: &Option<String>,
) -> Result<(), EnrolmentError> {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    within("certificate", certificate.len(), MAX_CERTIFICATE)?;
    within("attestation", length(attestation), MAX_ATTESTATION)?;
    within("report", length(report), MAX_REPORT)
}

fn within(part: &'static str, length: usize, most: usize) -> Result<(), EnrolmentError> {
    if length > most { Err(EnrolmentError::TooLarge { part, length, most }) } else { Ok(()) }
}

/// One certificate in one plain armor block, without secrets.
fn certificate(text: &str) -> Result<Cert, EnrolmentError> {
    let wrong = |reason: String| EnrolmentError::Certificate { reason };
    let bytes = armor::read_exact(armor::PUBLIC_KEY_BLOCK, text.as_bytes())
        .ok_or_else(|| wrong("lines of 64, no headers, nothing around it".to_owned()))?;
    // Armor within armor is none of ours.
    if bytes.first().is_none_or(|first| first & 0x80 == 0) {
        return Err(wrong("no OpenPGP packets in it".to_owned()));
    }
    let cert = read_certificate(&bytes).map_err(|error| wrong(error.to_string()))?;
    let whole = Cert::from_bytes(&bytes).map_err(|error| wrong(error.to_string()))?;
    if whole.is_tsk() { Err(EnrolmentError::SecretKey) } else { Ok(cert) }
}
