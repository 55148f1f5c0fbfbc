//! Why a grant is not taken: one stable code each.

use crate::challenge::Audience;
use crate::digest::Sha256Digest;
use crate::request::{Action, ParameterName, Resource};
use crate::store::StoreError;
use crate::text::Text;
use crate::unix_time::UnixTime;

use super::claims::{ClaimsError, Issuer};
use super::key::Algorithm;
use super::token::MAX_TOKEN;

/// Why a grant does not permit what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum GrantRejection {
    /// Made for something else.
    #[error("the grant is for {granted}, not for {asked}")]
    Action {
        /// In the grant.
        granted: Action,
        /// At the gate.
        asked: Action,
    },
    /// Another algorithm than the key's.
    #[error("the token says alg {found:?}; its key is for {key}")]
    Algorithm {
        /// In the header.
        found: String,
        /// The only one of this key.
        key: Algorithm,
    },
    /// For another gate.
    #[error("the grant is for the gate {granted}; this is {gate}")]
    Audience {
        /// In the grant.
        granted: Audience,
        /// Here.
        gate: Audience,
    },
    /// A header member that would have to be understood.
    #[error("the token's header says that {names} must be understood")]
    Critical {
        /// What it lists.
        names: String,
    },
    /// Not what the store has under that name.
    #[error("the store has other claims for grant {id}")]
    Differs {
        /// Which.
        id: String,
    },
    /// Over.
    #[error("the grant expired at {exp}; it is {now}")]
    Expired {
        /// The gate's clock.
        now: UnixTime,
        /// From here on it is worth nothing.
        exp: UnixTime,
    },
    /// Not three parts of base64url, each in its one spelling.
    #[error("not a token: {reason}")]
    Form {
        /// What is wrong.
        reason: &'static str,
    },
    /// A header that is not one of a grant.
    #[error("the token's header: {reason}")]
    Header {
        /// What is wrong.
        reason: String,
    },
    /// From another verifier.
    #[error("the grant is by {found}, not by {expected}")]
    Issuer {
        /// In the grant.
        found: Issuer,
        /// The verifier of this trust.
        expected: Issuer,
    },
    /// A header that brings its own key, or says where to fetch one.
    #[error("the token's header brings a key ({name})")]
    KeyInHeader {
        /// The member.
        name: String,
    },
    /// Signed by a key that the rule's trust does not list.
    #[error("trust lists no grant key {kid:?}")]
    Key {
        /// In the header.
        kid: String,
    },
    /// Not narrowable, or not to that.
    #[error("it cannot be narrowed to {resource}: {reason}")]
    Narrow {
        /// What it was to be narrowed to.
        resource: Resource,
        /// Why not.
        reason: &'static str,
    },
    /// Too early.
    #[error("the grant is valid from {nbf}; it is {now}")]
    NotYetValid {
        /// The gate's clock.
        now: UnixTime,
        /// Worth nothing before.
        nbf: UnixTime,
    },
    /// There is nothing that counts uses.
    #[error("its uses are limited, and nothing here counts them")]
    Offline,
    /// A parameter that was approved with another value, or not at all.
    #[error("{name} is {asked} here; approved was {}", granted.as_ref().map_or("nothing of that name".to_owned(), ToString::to_string))]
    Parameter {
        /// Which.
        name: ParameterName,
        /// In the grant.
        granted: Option<Text>,
        /// At the gate.
        asked: Text,
    },
    /// Bound to another key than the presenter's.
    #[error("the grant is bound to the key {bound}; {}", presented.map_or("no key was presented".to_owned(), |key| format!("presented was {key}")))]
    Presenter {
        /// In the grant.
        bound: Sha256Digest,
        /// At the gate.
        presented: Option<Sha256Digest>,
    },
    /// Made for something else.
    #[error("the grant is for {granted}, not for {asked}")]
    Resource {
        /// In the grant.
        granted: Resource,
        /// At the gate.
        asked: Resource,
    },
    /// Taken back.
    #[error("the grant was revoked")]
    Revoked,
    /// The arithmetic does not hold.
    #[error("the signature is not that of key {kid}")]
    Signature {
        /// The key that the header names.
        kid: String,
    },
    /// Used up.
    #[error("the grant was used as often as it may be ({uses})")]
    Spent {
        /// How often that is.
        uses: u32,
    },
    /// More than [`MAX_TOKEN`] bytes.
    #[error("{length} bytes, {MAX_TOKEN} are allowed")]
    TooLarge {
        /// How many there are.
        length: usize,
    },
    /// Another kind of token.
    #[error("the token's typ is {found:?}, not {}", super::key::TYPE)]
    Type {
        /// In the header.
        found: String,
    },
    /// The use could not be counted.
    #[error("the use could not be counted: {reason}")]
    Uncounted {
        /// The store's reason.
        reason: String,
    },
    /// The claims are not those of a grant.
    #[error("the grant's claims: {0}")]
    Unclear(#[from] ClaimsError),
    /// The store has no such grant.
    #[error("no such grant was made here")]
    Unknown,
}

impl GrantRejection {
    /// Its stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Action { .. } => "grant-action",
            Self::Algorithm { .. } => "grant-algorithm",
            Self::Audience { .. } => "grant-audience",
            Self::Critical { .. } => "grant-critical",
            Self::Differs { .. } => "grant-differs",
            Self::Expired { .. } => "grant-expired",
            Self::Form { .. } => "grant-form",
            Self::Header { .. } => "grant-header",
            Self::Issuer { .. } => "grant-issuer",
            Self::Key { .. } => "grant-key",
            Self::KeyInHeader { .. } => "grant-key-in-header",
            Self::Narrow { .. } => "grant-narrow",
            Self::NotYetValid { .. } => "grant-not-yet-valid",
            Self::Offline => "grant-offline",
            Self::Parameter { .. } => "grant-parameter",
            Self::Presenter { .. } => "grant-presenter",
            Self::Resource { .. } => "grant-resource",
            Self::Revoked => "grant-revoked",
            Self::Signature { .. } => "grant-signature",
            Self::Spent { .. } => "grant-spent",
            Self::TooLarge { .. } => "grant-too-large",
            Self::Type { .. } => "grant-type",
            Self::Unclear(_) => "grant-claims",
            Self::Uncounted { .. } => "grant-uncounted",
            Self::Unknown => "grant-unknown",
        }
    }
}

impl From<StoreError> for GrantRejection {
    fn from(error: StoreError) -> Self {
        Self::Uncounted { reason: error.to_string() }
    }
}
