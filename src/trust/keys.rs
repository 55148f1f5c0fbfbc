//! The keys that policy.toml lists beside people's: for grants, for the log, of witnesses; and who issues identities.
//!
//! ```toml
//! log_key = "approve.example.com+c7a2b0f1+AZ…"
//! witnesses_needed = 1
//!
//! [[grant_key]]
//! kid = "1"
//! alg = "ES256"
//! key = "MFkw…"
//!
//! [[witness]]
//! key = "witness.example+…+…"
//!
//! [issuers]
//! github = "https://token.actions.githubusercontent.com"
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::audit::{LogKey, Witnesses};
use crate::challenge::Audience;
use crate::grant::{GrantKey, GrantKeyError, GrantKeys};
use crate::request::Identity;

/// The most bytes in an issuer's address.
const MAX_ISSUER: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantKeyFile {
    kid: String,
    alg: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WitnessFile {
    key: String,
}

/// A key or an issuer that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Of `[[grant_key]]`.
    #[error("grant_key {kid:?}: {reason}")]
    Grant {
        /// Its name.
        kid: String,
        /// What is wrong.
        reason: String,
    },
    /// Of `[issuers]`.
    #[error(
        "issuers: {name} = {found:?}: expected a name as before the colon of an identity, and an https:// address"
    )]
    Issuer {
        /// Under which name.
        name: String,
        /// What stood there.
        found: String,
    },
    /// `log_key`.
    #[error("log_key: {reason}")]
    Log {
        /// What is wrong.
        reason: String,
    },
    /// Of `[[witness]]`, or `witnesses_needed`.
    #[error("witness: {reason}")]
    Witness {
        /// What is wrong.
        reason: String,
    },
}

/// The log's key, whose name is the audience's: it is the origin of its checkpoints.
pub(super) fn log_key(line: &str, audience: &Audience) -> Result<LogKey, KeyError> {
    let bad = |reason: String| KeyError::Log { reason };
    let key: LogKey = line.parse().map_err(|error| bad(format!("{error}")))?;
    if key.name() == audience.as_str() {
        Ok(key)
    } else {
        Err(bad(format!("it is the key of {:?}, the audience is {audience}", key.name())))
    }
}

pub(super) fn witnesses(files: &[WitnessFile], needed: usize) -> Result<Witnesses, KeyError> {
    let bad = |reason: String| KeyError::Witness { reason };
    let read = |file: &WitnessFile| file.key.parse().map_err(|error| bad(format!("{error}")));
    let keys = files.iter().map(read).collect::<Result<_, _>>()?;
    Witnesses::new(keys, needed).map_err(|error| bad(error.to_string()))
}

pub(super) fn grant_keys(files: &[GrantKeyFile]) -> Result<GrantKeys, KeyError> {
    let bad =
        |kid: &str, error: GrantKeyError| KeyError::Grant { kid: kid.to_owned(), reason: error.to_string() };
    let read = |file: &GrantKeyFile| {
        GrantKey::parse(&file.kid, &file.alg, &file.key).map_err(|error| bad(&file.kid, error))
    };
    let keys = files.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    GrantKeys::new(keys).map_err(|error| match &error {
        GrantKeyError::Duplicate { kid } => bad(&kid.clone(), error),
        _ => bad("", error),
    })
}

pub(super) fn issuers(listed: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, KeyError> {
    let good = |name: &str, address: &str| {
        let rest = address.strip_prefix("https://");
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'<' | b'>');
        format!("{name}:x").parse::<Identity>().is_ok_and(|identity| identity.issuer() == name)
            && address.len() <= MAX_ISSUER
            && rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(plain))
    };
    match listed.iter().find(|(name, address)| !good(name, address)) {
        Some((name, found)) => Err(KeyError::Issuer { name: name.clone(), found: found.clone() }),
        None => Ok(listed.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::WitnessKey;
    use crate::grant::{Algorithm, GrantSigner};

    #[test]
    fn each_key_is_good_and_there_once() {
        let file = |kid: &str, alg: &str, key: &str| GrantKeyFile {
            kid: kid.into(),
            alg: alg.into(),
            key: key.into(),
        };
        let signer = GrantSigner::generate(Algorithm::Es256).unwrap();
        let key = GrantSigner::from_pkcs8("1", &signer).unwrap().key().to_base64();
        assert!(grant_keys(&[file("1", "ES256", &key)]).is_ok_and(|keys| keys.named("1").is_some()));
        for bad in [
            vec![file("1", "EdDSA", &key)],
            vec![file("1 ", "ES256", &key)],
            vec![file("1", "ES256", &key), file("2", "ES256", &key)],
        ] {
            assert!(matches!(grant_keys(&bad), Err(KeyError::Grant { .. })));
        }
    }

    #[test]
    fn the_log_is_the_audiences_and_witnesses_suffice() {
        let log = LogKey::new("approve.example.com", [7; 32]).unwrap().to_string();
        assert!(log_key(&log, &"approve.example.com".parse().unwrap()).is_ok());
        assert!(log_key(&log, &"example.com".parse().unwrap()).is_err());
        assert!(log_key(&log.replace("+A", "+B"), &"approve.example.com".parse().unwrap()).is_err());
        let witness = |byte| WitnessFile {
            key: WitnessKey::new(&format!("witness{byte}"), [byte; 32]).unwrap().to_string(),
        };
        assert!(witnesses(&[witness(1), witness(2)], 2).is_ok());
        assert!(witnesses(&[witness(1)], 2).is_err());
        assert!(witnesses(&[witness(1), witness(1)], 1).is_err());
        // A log's key is no witness's.
        assert!(witnesses(&[WitnessFile { key: log }], 1).is_err());
    }

    #[test]
    fn an_issuer_has_a_name_and_an_address() {
        let one = |name: &str, address: &str| issuers(&BTreeMap::from([(name.into(), address.into())]));
        assert!(one("github", "https://token.actions.githubusercontent.com").is_ok());
        for (name, address) in [
            ("github", "http://token.example"),
            ("github", "https://"),
            ("github", "https://a b"),
            ("GitHub", "https://a"),
            ("a:b", "https://a"),
            ("", "https://a"),
        ] {
            assert!(one(name, address).is_err(), "{name} {address}");
        }
    }
}
