//! Whether a certificate that is there already is the one that would be made.

use std::fmt;
use std::time::SystemTime;

use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::policy::{AsymmetricAlgorithm, StandardPolicy};
use sequoia_openpgp::types::RevocationStatus;

use super::usage;
use crate::card::KeySlot;
use crate::card::keys::CardKeys;
use crate::unix_time::UnixTime;

/// What a certificate is asked to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The user id that it must name first. `None` under a primary key that is kept offline, whose user
    /// ids are not the card's matter: the card's keys must be its subkeys then.
    pub user_id: Option<&'a str>,
    /// When its keys must expire: `Some(None)` is never, `None` leaves that open.
    pub expires: Option<Option<UnixTime>>,
}

/// In what a certificate is not the one that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The standard policy finds it invalid.
    Invalid {
        /// Why.
        reason: String,
    },
    /// It is revoked, or says of somebody that they may revoke it and they did.
    Revoked,
    /// It has expired.
    Expired,
    /// Its primary key is not the card's, or is and should not be.
    PrimaryKey,
    /// It names another user id first.
    UserId {
        /// The one that it names, escaped.
        found: String,
    },
    /// A key of the card is missing in it, or is bound for another purpose, expired or revoked.
    Key(KeySlot),
    /// A key expires at another time.
    Expiry {
        /// Which.
        slot: KeySlot,
        /// When; never, if `None`.
        found: Option<UnixTime>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { reason } => write!(f, "it is not valid: {reason}"),
            Self::Revoked => f.write_str("it is revoked"),
            Self::Expired => f.write_str("it has expired"),
            Self::PrimaryKey => f.write_str("its primary key is another"),
            Self::UserId { found } => write!(f, "its first user id is {found}"),
            Self::Key(slot) => write!(f, "the card's {slot} key is not bound in it"),
            Self::Expiry { slot, found: Some(time) } => write!(f, "its {slot} key expires on {time}"),
            Self::Expiry { slot, found: None } => write!(f, "its {slot} key never expires"),
        }
    }
}

/// In what `cert` differs at `now` from what would be made of `keys`; empty if it is right. Further keys and
/// user ids do no harm.
pub fn differences(cert: &Cert, keys: &CardKeys, wanted: Wanted<'_>, now: UnixTime) -> Vec<Difference> {
    let policy = StandardPolicy::new();
    let now = SystemTime::from(now);
    if !matches!(cert.revocation_status(&policy, now), RevocationStatus::NotAsFarAsWeKnow) {
        return vec![Difference::Revoked];
    }
    let valid = match cert.with_policy(&policy, now) {
        Ok(valid) => valid,
        Err(error) => return vec![Difference::Invalid { reason: error.to_string() }],
    };
    let mut found = Vec::new();
    if valid.alive().is_err() {
        found.push(Difference::Expired);
    }
    let own = cert.fingerprint() == keys.signature.fingerprint();
    if own != wanted.user_id.is_some() {
        found.push(Difference::PrimaryKey);
    }
    if let Some(user_id) = wanted.user_id {
        let first = valid.primary_userid().ok().map(|id| id.userid().value().to_vec()).unwrap_or_default();
        if first != user_id.as_bytes() {
            let found_id = String::from_utf8_lossy(&first).escape_debug().to_string();
            found.push(Difference::UserId { found: found_id });
        }
    }
    // Sequoia would not encrypt to some curves that cards have. The certificate is no less right for that.
    let mut lenient = StandardPolicy::new();
    for curve in [
        AsymmetricAlgorithm::BrainpoolP256,
        AsymmetricAlgorithm::BrainpoolP384,
        AsymmetricAlgorithm::BrainpoolP512,
        AsymmetricAlgorithm::Unknown,
    ] {
        lenient.accept_asymmetric_algo(curve);
    }
    for (slot, key) in keys.all() {
        let policy = if slot == KeySlot::Signature { &policy } else { &lenient };
        let mut bound = cert.keys().with_policy(policy, now).alive().revoked(false);
        let Some(bound) = bound.find(|bound| bound.key().fingerprint() == key.fingerprint()) else {
            found.push(Difference::Key(slot));
            continue;
        };
        let flags = bound.key_flags().unwrap_or_else(sequoia_openpgp::types::KeyFlags::empty);
        let primary = slot == KeySlot::Signature && own;
        let fit = match primary {
            true => flags.for_signing() && flags.for_certification(),
            false => flags == usage(slot),
        };
        if !fit {
            found.push(Difference::Key(slot));
        }
        // Subkeys of the card's own certificate end with it.
        let ends = if own { valid.primary_key().key_expiration_time() } else { bound.key_expiration_time() };
        let ends = ends.map(UnixTime::from);
        if wanted.expires.is_some_and(|expires| expires != ends) {
            found.push(Difference::Expiry { slot, found: ends });
        }
    }
    found
}
