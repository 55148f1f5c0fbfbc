//! Grants: what a decision permits, sealed until the log has it, then a token that any gate can check.
//!
//! ```text
//! QuorumMet ─▶ SealedGrant ─▶ (store: the grant and the log's entry, in one change) ─▶ Receipt ─▶ Grant
//! ```
//!
//! A token is a JWT (RFC 7519) of a kind of its own, `typ: touchgate-grant+jwt`, signed with ES256 or EdDSA;
//! `docs/grants.md` has a complete one.

mod check;
mod claims;
mod key;
mod narrow;
mod rejection;
mod sealed;
mod token;
mod uses;

pub use check::{Genuine, check};
pub use claims::{AuthorizationDetail, Claims, ClaimsError, Confirmation, Issuer, Kind, StepUp};
pub use key::{
    Algorithm, GrantKey, GrantKeyError, GrantKeys, GrantSigner, MAX_KEYS, TYPE, read_private, write_private,
};
pub use narrow::narrow;
pub use rejection::GrantRejection;
pub use sealed::{Grant, OpenError, SealedGrant};
pub use token::MAX_TOKEN;
pub(crate) use uses::spend;
pub use uses::{UsesDirectory, count, revoke, usable};
