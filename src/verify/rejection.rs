//! Why the verifier says no: one stable code for each reason, explained in `docs/rejections.md`.

use std::time::Duration;

use crate::challenge::TrustVersion;
use crate::statement::StatementError;
use crate::trust::NotAdmitted;
use crate::unix_time::UnixTime;
use crate::verify::{CounterError, NotAttested, Tier};

/// The first check that a response failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The statement differs from what was issued in more than the decision.
    #[error("the statement is not what was asked")]
    Altered {
        /// The first differing line as issued; empty if there is none.
        asked: String,
        /// The same line as signed; empty if there is none.
        signed: String,
    },
    /// The arithmetic does not hold: other bytes or another key.
    #[error("the signature does not match the statement")]
    BadSignature,
    /// The certificate has expired, or the key's part in it.
    #[error("the certificate has expired")]
    CertificateExpired,
    /// Its binding signatures, hashes or algorithms do not satisfy the policy.
    #[error("the certificate is not valid: {reason}")]
    CertificateInvalid {
        /// In sequoia's words.
        reason: String,
    },
    /// The certificate or the key in it is revoked.
    #[error("the certificate is revoked")]
    CertificateRevoked,
    /// A message in the cleartext signature framework.
    #[error("a cleartext-signed message, not a detached signature over the statement")]
    CleartextForm,
    /// The counter that came with the response is not its, or did not go forward.
    #[error(transparent)]
    Counter(#[from] CounterError),
    /// The signature says that it was made long before or after the statement was open.
    #[error("the signature was made at {created}, outside {from} to {to}")]
    CreationTime {
        /// What the signature says.
        created: UnixTime,
        /// The earliest that is believed.
        from: UnixTime,
        /// The latest.
        to: UnixTime,
    },
    /// A critical subpacket that is not acted on here.
    #[error("critical subpacket {tag}")]
    CriticalSubpacket {
        /// RFC 9580, section 5.2.3.7.
        tag: u8,
    },
    /// A subpacket, or a notation of somebody else, stands twice in the hashed area.
    #[error("subpacket {tag} stands twice")]
    DuplicateSubpacket {
        /// RFC 9580, section 5.2.3.7.
        tag: u8,
    },
    /// A signature inside the signature.
    #[error("a signature is embedded in the signature")]
    EmbeddedSignature,
    /// Too late by the verifier's clock.
    #[error("the request expired at {expires}; it is {now}")]
    Expired {
        /// The verifier's clock.
        now: UnixTime,
        /// Valid until just before.
        expires: UnixTime,
    },
    /// A hash that the policy does not allow, or one too short for the key.
    #[error("the signature uses {hash}")]
    HashAlgorithm {
        /// Its name.
        hash: String,
    },
    /// It stays open longer than the rule allows, so no verifier under this trust issued it.
    #[error("the request is open for {} s, the rule allows {} s", found.as_secs(), most.as_secs())]
    Lifetime {
        /// From issued to expires.
        found: Duration,
        /// The rule's `answer_within`.
        most: Duration,
    },
    /// Not OpenPGP, or not a signature, or not one armor block in its plain form.
    #[error("not one detached OpenPGP signature: {reason}")]
    MalformedSignature {
        /// What is wrong.
        reason: String,
    },
    /// A subpacket that must stand does not.
    #[error("the signature has no {what}")]
    MissingSubpacket {
        /// Creation time or issuer fingerprint.
        what: &'static str,
    },
    /// A signing subkey that never confirmed that it belongs to its primary key.
    #[error("the signing subkey carries no valid back-signature")]
    NoBackSignature,
    /// The request could not even be asked under this trust.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The person may not decide this request.
    #[error("{person} may not decide this request: {reason}")]
    NotAllowed {
        /// Who signed.
        person: String,
        /// Why not.
        reason: &'static str,
    },
    /// The key may certify or encrypt, but not sign.
    #[error("the key is not for signing")]
    NotForSigning,
    /// Valid only later, by the verifier's clock.
    #[error("the request is valid from {issued}; it is {now}")]
    NotYetValid {
        /// The verifier's clock.
        now: UnixTime,
        /// Valid from.
        issued: UnixTime,
    },
    /// The notation that sets these signatures apart stands twice.
    #[error("the notation statement@touchgate.invalid stands twice")]
    NotationDuplicate,
    /// The signature was not made for a Touchgate statement.
    #[error("the notation statement@touchgate.invalid=v1 is missing")]
    NotationMissing,
    /// The same person gave the same answer to this request before.
    #[error("{person} has answered this request before")]
    Replayed {
        /// Who.
        person: String,
    },
    /// The answer could not be recorded, so it does not count.
    #[error("the answer could not be recorded: {reason}")]
    Unrecorded {
        /// The store's reason.
        reason: String,
    },
    /// More than one packet.
    #[error("more than one packet where one signature should be")]
    SeveralPackets,
    /// The signature's own expiry has passed.
    #[error("the signature itself has expired")]
    SignatureExpired,
    /// More than [`crate::response::MAX_SIGNATURE`] bytes.
    #[error("the signature takes {length} bytes")]
    SignatureTooLarge {
        /// How many came.
        length: usize,
    },
    /// A signature over text, a certification, anything but type 0x00.
    #[error("signature type {found:#04x}, not a binary document's")]
    SignatureType {
        /// RFC 9580, section 5.2.1.
        found: u8,
    },
    /// Not version 4.
    #[error("signature version {found}, not 4")]
    SignatureVersion {
        /// Its version.
        found: u8,
    },
    /// The statement breaks the grammar.
    #[error("the statement is malformed: {0}")]
    Statement(#[from] StatementError),
    /// The touch evidence is weaker than the rule demands.
    #[error("{person}'s token gives {found}, the rule demands {needed}{}", because(*needed, not_attested.as_ref()))]
    Tier {
        /// Who signed.
        person: String,
        /// What their token gives.
        found: Tier,
        /// What the rule demands.
        needed: Tier,
        /// Why it is not attested.
        not_attested: Option<NotAttested>,
    },
    /// The token was lost, and somebody who may said so.
    #[error("token {serial} of {person} was revoked")]
    TokenRevoked {
        /// Whose it was.
        person: String,
        /// Which one.
        serial: String,
    },
    /// Bytes after the signature.
    #[error("{length} bytes stand after the signature")]
    TrailingData {
        /// How many.
        length: usize,
    },
    /// The trust itself is past its date.
    #[error("trust was valid until {valid_until}; it is {now}")]
    TrustExpired {
        /// The verifier's clock.
        now: UnixTime,
        /// From policy.toml.
        valid_until: UnixTime,
    },
    /// Made under another version of trust than the one in force.
    #[error("made under trust {signed}; {current} is in force")]
    TrustVersion {
        /// What the statement names.
        signed: TrustVersion,
        /// What the verifier uses.
        current: TrustVersion,
    },
    /// The unhashed area, which nothing protects, holds more than the matching issuer.
    #[error("the unhashed area holds more than the matching issuer")]
    UnhashedSubpacket,
    /// No such request is open here.
    #[error("no request {request} is open here")]
    UnknownRequest {
        /// The name it was given.
        request: String,
    },
    /// A key that nobody in the roster holds.
    #[error("key {key} is on nobody's record")]
    UnknownSigner {
        /// Its fingerprint.
        key: String,
    },
    /// For another verifier.
    #[error("for {found}, not for {expected}")]
    WrongAudience {
        /// Whom the statement names.
        found: String,
        /// Who judges it.
        expected: String,
    },
}

/// Where attested is wanted, what stands between.
fn because(needed: Tier, not_attested: Option<&NotAttested>) -> String {
    let wanted = not_attested.filter(|_| needed == Tier::Attested);
    wanted.map(|reason| format!(": {reason}")).unwrap_or_default()
}

impl Rejection {
    /// The stable name of this rejection.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Altered { .. } => "altered",
            Self::BadSignature => "bad-signature",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateInvalid { .. } => "certificate-invalid",
            Self::CertificateRevoked => "certificate-revoked",
            Self::CleartextForm => "cleartext-form",
            Self::Counter(error) => error.code(),
            Self::CreationTime { .. } => "creation-time",
            Self::CriticalSubpacket { .. } => "critical-subpacket",
            Self::DuplicateSubpacket { .. } => "duplicate-subpacket",
            Self::EmbeddedSignature => "embedded-signature",
            Self::Expired { .. } => "expired",
            Self::HashAlgorithm { .. } => "hash-algorithm",
            Self::Lifetime { .. } => "lifetime",
            Self::MalformedSignature { .. } => "malformed-signature",
            Self::MissingSubpacket { .. } => "missing-subpacket",
            Self::NoBackSignature => "no-back-signature",
            Self::NotAdmitted(NotAdmitted::Debt { .. }) => "debt",
            Self::NotAdmitted(NotAdmitted::NoDebt { .. }) => "no-debt",
            Self::NotAdmitted(NotAdmitted::NoReason) => "no-reason",
            Self::NotAdmitted(NotAdmitted::NoRule { .. }) => "no-rule",
            Self::NotAdmitted(NotAdmitted::NotPinned { .. }) => "not-pinned",
            Self::NotAdmitted(NotAdmitted::UnknownRequester { .. }) => "unknown-requester",
            Self::NotAllowed { .. } => "not-allowed",
            Self::NotForSigning => "not-for-signing",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::NotationDuplicate => "notation-duplicate",
            Self::NotationMissing => "notation-missing",
            Self::Replayed { .. } => "replayed",
            Self::Unrecorded { .. } => "unrecorded",
            Self::SeveralPackets => "several-packets",
            Self::SignatureExpired => "signature-expired",
            Self::SignatureTooLarge { .. } => "signature-too-large",
            Self::SignatureType { .. } => "signature-type",
            Self::SignatureVersion { .. } => "signature-version",
            Self::Statement(error) => error.code(),
            Self::Tier { .. } => "tier",
            Self::TokenRevoked { .. } => "token-revoked",
            Self::TrailingData { .. } => "trailing-data",
            Self::TrustExpired { .. } => "trust-expired",
            Self::TrustVersion { .. } => "trust-version",
            Self::UnhashedSubpacket => "unhashed-subpacket",
            Self::UnknownRequest { .. } => "unknown-request",
            Self::UnknownSigner { .. } => "unknown-signer",
            Self::WrongAudience { .. } => "wrong-audience",
        }
    }

    /// Whether an enrolled key's signature over the statement was seen to hold before this check failed. Only such
    /// rejections say anything about a person.
    pub fn is_signed(&self) -> bool {
        matches!(
            self,
            Self::Counter(_)
                | Self::CreationTime { .. }
                | Self::Lifetime { .. }
                | Self::NotAdmitted(_)
                | Self::NotAllowed { .. }
                | Self::Replayed { .. }
                | Self::Tier { .. }
                | Self::TokenRevoked { .. }
                | Self::Unrecorded { .. }
        )
    }
}
