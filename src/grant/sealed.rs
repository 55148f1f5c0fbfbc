//! A grant while it is sealed, and the receipt that opens it.

use std::fmt;

use crate::audit::entry::Outcome;
use crate::audit::{Entry, Receipt};
use crate::challenge::{Audience, RequestId};
use crate::digest::Sha256Digest;
use crate::store::GrantRecord;
use crate::trust::quorum::QuorumMet;
use crate::unix_time::UnixTime;
use crate::verify::Tier;

use super::claims::{AuthorizationDetail, Claims, Confirmation, Issuer, StepUp};
use super::key::GrantSigner;
use super::token;

/// What a decision permits, worth nothing until it is recorded. Only a [`QuorumMet`] makes one:
///
/// ```
/// use touchgate::grant::SealedGrant;
/// use touchgate::trust::quorum::QuorumMet;
/// # use touchgate::{digest::Sha256Digest, unix_time::UnixTime};
///
/// fn seal(met: QuorumMet, evidence: Sha256Digest, now: UnixTime) -> SealedGrant {
///     SealedGrant::new(met, evidence, now)
/// }
/// ```
///
/// Approvals are not enough, and there is no other way:
///
/// ```compile_fail
/// use touchgate::grant::SealedGrant;
/// use touchgate::verify::Approval;
/// # use touchgate::{digest::Sha256Digest, unix_time::UnixTime};
///
/// fn seal(approvals: Vec<Approval>, evidence: Sha256Digest, now: UnixTime) -> SealedGrant {
///     SealedGrant::new(approvals, evidence, now)
/// }
/// ```
///
/// ```compile_fail
/// use touchgate::grant::{Claims, SealedGrant};
/// use touchgate::trust::quorum::QuorumMet;
///
/// fn seal(met: QuorumMet, claims: Claims) -> SealedGrant {
///     SealedGrant { met, claims }
/// }
/// ```
#[derive(Debug)]
pub struct SealedGrant {
    met: QuorumMet,
    claims: Claims,
    /// The same, as the log has them and as the token does.
    logged: serde_json::Map<String, serde_json::Value>,
    json: String,
}

impl SealedGrant {
    /// Seals what the rule gives for this decision, made at `now`. `evidence` is the digest of what it rests on.
    pub fn new(met: QuorumMet, evidence: Sha256Digest, now: UnixTime) -> Self {
        let (challenge, terms) = (met.challenge(), met.grant());
        let request = &challenge.request;
        let claims = Claims {
            acr: met.tier(),
            amr: amr(met.tier()).iter().map(|&method| method.to_owned()).collect(),
            aud: challenge.audience.clone(),
            // The only time before every touch that nobody but the verifier had a say in. A clock that went back
            // since makes it no later than the token.
            auth_time: challenge.issued.min(now),
            authorization_details: [AuthorizationDetail::of(request)],
            cnf: request.requester_key.map(|jkt| Confirmation { jkt }),
            evidence,
            exp: now.plus(terms.lasts),
            iat: now,
            iss: Issuer(challenge.audience.clone()),
            jti: challenge.id,
            nbf: now,
            step_up: StepUp {
                mode: request.mode,
                narrow: terms.narrow,
                narrowed_from: None,
                request: Sha256Digest::of(challenge.to_text().as_bytes()),
                trust: challenge.trust,
                uses: terms.uses,
                via: request.via.clone(),
            },
            sub: request.requester.clone(),
        };
        Self { met, logged: claims.to_map(), json: claims.to_json(), claims }
    }

    /// What it would permit.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What it was made of.
    pub fn met(&self) -> &QuorumMet {
        &self.met
    }

    /// What the store keeps of it.
    pub fn record(&self) -> GrantRecord {
        GrantRecord {
            request: self.claims.jti,
            claims: self.json.clone(),
            expires: self.claims.exp,
            uses: self.claims.step_up.uses,
            used: 0,
            revoked: None,
        }
    }

    /// Opens it: signs the token, once the log has the decision with exactly these claims.
    ///
    /// # Errors
    /// [`OpenError`]; what was sealed is gone then, and the recorded grant is worth nothing without its token.
    pub fn open(self, receipt: &Receipt, key: &GrantSigner) -> Result<Grant, OpenError> {
        let origin = &receipt.checkpoint().checkpoint().origin;
        if origin != self.claims.aud.as_str() {
            return Err(OpenError::OtherLog { found: origin.clone(), expected: self.claims.aud });
        }
        let recorded = match receipt.entry() {
            Entry::Decided { request, outcome: Outcome::Approved, evidence, grant, .. } => {
                *request == self.claims.jti
                    && *evidence == Some(self.claims.evidence)
                    && grant.as_ref() == Some(&self.logged)
            }
            _ => false,
        };
        if !recorded {
            return Err(OpenError::OtherEntry { index: receipt.index() });
        }
        let token = token::mint(&self.json, key).ok_or(OpenError::NotSigned)?;
        Ok(Grant { token, claims: self.claims })
    }

    /// The entry by which the log has it, and whose receipt opens it.
    pub fn entry(&self) -> Entry {
        let by = self.met.approvals().iter().map(|approval| approval.answer().person().to_owned());
        Entry::Decided {
            at: self.claims.iat,
            request: self.claims.jti,
            outcome: Outcome::Approved,
            by: by.collect(),
            evidence: Some(self.claims.evidence),
            grant: Some(self.logged.clone()),
        }
    }
}

/// Why a sealed grant stays so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The library could not sign.
    #[error("the token could not be signed")]
    NotSigned,
    /// A receipt for something else.
    #[error("entry {index} of the log is not the decision that this grant came of")]
    OtherEntry {
        /// Where it stands.
        index: u64,
    },
    /// A receipt of another verifier's log.
    #[error("the receipt is from the log {found}, not from {expected}")]
    OtherLog {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: Audience,
    },
}

/// How people were authenticated, as far as the evidence goes: an attested key is one in hardware and needs a touch,
/// a declared one is said to; any other may lie in a file.
///
/// # Source
/// RFC 8176, section 2.
fn amr(tier: Tier) -> &'static [&'static str] {
    match tier {
        Tier::Attested | Tier::Declared => &["hwk", "user"],
        Tier::Signed => &["swk"],
    }
}

/// A token that a gate takes. Whoever has a sealed grant and the log's receipt gets one:
///
/// ```
/// use touchgate::audit::Receipt;
/// use touchgate::grant::{Grant, GrantSigner, OpenError, SealedGrant};
///
/// fn open(sealed: SealedGrant, receipt: &Receipt, key: &GrantSigner) -> Result<Grant, OpenError> {
///     sealed.open(receipt, key)
/// }
/// ```
///
/// Nobody else does: not without a receipt, not with an entry that was only written down, and not out of claims.
///
/// ```compile_fail
/// use touchgate::grant::{Grant, GrantSigner, OpenError, SealedGrant};
///
/// fn open(sealed: SealedGrant, key: &GrantSigner) -> Result<Grant, OpenError> {
///     sealed.open(key)
/// }
/// ```
///
/// ```compile_fail
/// use touchgate::grant::{Grant, GrantSigner, OpenError, SealedGrant};
///
/// fn open(sealed: SealedGrant, key: &GrantSigner) -> Result<Grant, OpenError> {
///     let entry = sealed.entry();
///     sealed.open(&entry, key)
/// }
/// ```
///
/// ```compile_fail
/// use touchgate::grant::{Claims, Grant};
///
/// fn make(token: String, claims: Claims) -> Grant {
///     Grant { token, claims }
/// }
/// ```
///
/// ```compile_fail
/// use touchgate::grant::{Claims, Grant, GrantSigner};
///
/// fn make(claims: Claims, key: &GrantSigner) -> Option<Grant> {
///     Grant::sign(claims, key)
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    token: String,
    claims: Claims,
}

impl Grant {
    pub(super) fn sign(claims: Claims, signer: &GrantSigner) -> Option<Self> {
        Some(Self { token: token::mint(&claims.to_json(), signer)?, claims })
    }

    /// The JWT.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Its own name.
    pub fn id(&self) -> RequestId {
        self.claims.jti
    }
}

/// The token itself is as good as a password and stays out of logs.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({})", self.claims.jti)
    }
}
