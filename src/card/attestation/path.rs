//! From the attestation to a root: webpki builds and checks the path, the statement is read afterwards.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime as PkiTime};
use webpki::aws_lc_rs as algorithms;
use webpki::{EndEntityCert, Error, KeyUsage};

use super::AttestationError;
use super::file::{MAX_CERTIFICATES, check_length};
use super::roots::{ConfiguredRoot, Root, YubicoRoot};
use super::statement::{Parts, Statement, common_name};
use crate::unix_time::UnixTime;

/// What a token said about a key, proven to come from a root. Only [`verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    statement: Statement,
    root: Root,
    chain: Vec<Vec<u8>>,
}

impl Attestation {
    /// What was said.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// On whose word.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The attestation and what leads from it to the root, in this order, the root left out: in DER.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }
}

/// A root to end at, and what it stands for.
#[derive(Clone, Debug)]
pub(crate) struct Anchor {
    pub(crate) root: Root,
    pub(crate) anchor: TrustAnchor<'static>,
    pub(crate) path_length: Option<usize>,
}

impl Anchor {
    /// Yubico's.
    pub(crate) fn yubico() -> Vec<Self> {
        let anchor = |root: YubicoRoot| Self {
            root: Root::Yubico(root),
            anchor: root.anchor(),
            path_length: Some(root.path_length()),
        };
        YubicoRoot::ALL.map(anchor).to_vec()
    }

    /// Yubico's, and after them `configured` ones: configuring one of Yubico's makes it no weaker.
    pub(crate) fn with(configured: &[ConfiguredRoot]) -> Vec<Self> {
        let own = configured.iter().map(|root| Self {
            root: Root::Configured { name: root.name.clone() },
            anchor: root.anchor.clone(),
            path_length: None,
        });
        Self::yubico().into_iter().chain(own).collect()
    }
}

/// What certificates of attestations are signed with: RSA in Yubico's, also ECDSA where an owner replaced the
/// attestation key (which cannot be on Curve25519).
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ECDSA_P521_SHA512,
];

/// The names of tokens' attestation certificates under Yubico's roots, before 5.7.4 and since.
const DEVICE_NAMES: [&str; 2] = ["Yubikey OPGP Attestation", "YubiKey OPGP Attestation"];

/// Judges an attestation at `time`: a path through `others`, which nobody needs to vouch for, to one of
/// Yubico's roots or, failing that, to one of `configured`; then what it says.
///
/// All certificates are DER. Their dates are the token certificate's, not those of the attestation.
///
/// # Errors
/// The first thing wrong: sizes, path, names, extensions in the order of the module `statement`.
pub fn verify(
    attestation: &[u8],
    others: &[Vec<u8>],
    configured: &[ConfiguredRoot],
    time: UnixTime,
) -> Result<Attestation, AttestationError> {
    verify_under(attestation, others, &Anchor::with(configured), time)
}

/// [`verify`] with every root named.
pub(crate) fn verify_under(
    attestation: &[u8],
    others: &[Vec<u8>],
    anchors: &[Anchor],
    time: UnixTime,
) -> Result<Attestation, AttestationError> {
    if others.len() > MAX_CERTIFICATES {
        return Err(AttestationError::TooManyCertificates { most: MAX_CERTIFICATES });
    }
    let leaf = CertificateDer::from(check_length(attestation)?);
    let (related, unreadable) = related(attestation, others)?;
    let intermediates: Vec<CertificateDer<'_>> = related.into_iter().map(CertificateDer::from).collect();
    let trusted: Vec<TrustAnchor<'_>> = anchors.iter().map(|anchor| anchor.anchor.clone()).collect();
    let anchor_of = |anchor: &TrustAnchor<'_>| anchors.iter().find(|known| known.anchor == *anchor);
    let short_enough = |path: &webpki::VerifiedPath<'_>| {
        let most = anchor_of(path.anchor()).and_then(|anchor| anchor.path_length);
        let length = path.intermediate_certificates().count();
        if most.is_some_and(|most| length > most) { Err(Error::PathLenConstraintViolated) } else { Ok(()) }
    };
    let end = EndEntityCert::try_from(&leaf).map_err(reason)?;
    let path = end
        .verify_for_usage(
            ALGORITHMS,
            &trusted,
            &intermediates,
            PkiTime::since_unix_epoch(Duration::from_secs(time.seconds())),
            // Attestations name no extended key usage; one that did would have to allow this.
            KeyUsage::client_auth(),
            None,
            Some(&short_enough),
        )
        .map_err(|error| match (reason(error), unreadable) {
            // What is missing may be what could not be read.
            (AttestationError::UnknownIssuer, Some(unreadable)) => unreadable,
            (reason, _) => reason,
        })?;
    let root = anchor_of(path.anchor()).map(|anchor| anchor.root.clone());
    let root = root.ok_or(AttestationError::UnknownIssuer)?;
    let parts = Parts::read(attestation)?;
    let statement = Statement::of(&parts)?;
    if matches!(root, Root::Yubico(_)) {
        // Root 1 stands above other products too. None of theirs issues what names this slot, and none shall.
        let issuer = common_name(parts.issuer).unwrap_or_default();
        if !DEVICE_NAMES.contains(&issuer.as_str()) {
            return Err(AttestationError::ForeignIssuer { issuer });
        }
    }
    let above = path.intermediate_certificates().map(|certificate| certificate.der().to_vec());
    let chain = std::iter::once(attestation.to_vec()).chain(above).collect();
    Ok(Attestation { statement, root, chain })
}

/// Those of `others` that could stand above the attestation by their names, and why one could not be read.
///
/// Yubico publishes the intermediates of all its products in one file, and some have critical extensions that
/// webpki does not know; meeting one, it would name that as the reason for whatever else is wrong.
fn related<'a>(
    attestation: &[u8],
    others: &'a [Vec<u8>],
) -> Result<(Vec<&'a [u8]>, Option<AttestationError>), AttestationError> {
    let mut unreadable = None;
    let mut candidates = Vec::new();
    for other in others {
        match Parts::read(check_length(other)?) {
            Ok(parts) => candidates.push((other.as_slice(), parts)),
            Err(error) => unreadable = unreadable.or(Some(error)),
        }
    }
    // An attestation that cannot be read is refused for that by webpki.
    let Ok(leaf) = Parts::read(attestation) else { return Ok((Vec::new(), unreadable)) };
    let mut wanted = vec![leaf.issuer];
    let mut found = Vec::new();
    while let Some(issuer) = wanted.pop() {
        let (named, rest): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|(_, parts)| parts.subject == issuer);
        candidates = rest;
        for (certificate, parts) in named {
            wanted.push(parts.issuer);
            found.push(certificate);
        }
    }
    Ok((found, unreadable))
}

/// webpki's error as ours.
fn reason(error: Error) -> AttestationError {
    let at = |time: PkiTime| UnixTime::from_seconds(time.as_secs());
    let end = UnixTime::from_seconds(0).expect("the epoch is a time").plus(Duration::MAX);
    match error {
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) | Error::UnsupportedCertVersion => {
            AttestationError::MalformedCertificate { why: error.to_string() }
        }
        Error::CertExpired { time, not_after } => AttestationError::CertificateExpired {
            time: at(time).unwrap_or(end),
            not_after: at(not_after).unwrap_or(end),
        },
        Error::CertNotValidYet { time, not_before } => AttestationError::CertificateNotYetValid {
            time: at(time).unwrap_or(end),
            not_before: at(not_before).unwrap_or(end),
        },
        Error::EndEntityUsedAsCa => AttestationError::NotAnAuthority,
        Error::InvalidSignatureForPublicKey => AttestationError::BadSignature,
        Error::MaximumPathDepthExceeded | Error::PathLenConstraintViolated => AttestationError::PathTooLong,
        Error::UnknownIssuer => AttestationError::UnknownIssuer,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            AttestationError::UnsupportedSignatureAlgorithm
        }
        other => AttestationError::InvalidPath { why: other.to_string() },
    }
}

// Here and not in `tests/`: what Yubico's roots alone demand shows only under a root taken for one of them.
#[cfg(test)]
mod tests;
