//! The token's outer form: a JWS in compact serialization, one spelling, and a header that says only what it must.
//!
//! ```text
//! base64url({"alg":"ES256","kid":"1","typ":"touchgate-grant+jwt"}) . base64url(claims) . base64url(signature)
//! ```

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::key::{GrantKey, GrantKeys, GrantSigner, TYPE};
use super::rejection::GrantRejection;

/// The most bytes in a token: four times what the largest statement gives.
pub const MAX_TOKEN: usize = 16 * 1024;
/// The most bytes in an encoded header: nine times what one takes with the longest name of a key, less would
/// hide why one is rejected that brings a certificate.
const MAX_HEADER: usize = 2 * 1024;
/// The bytes of a signature, of either algorithm.
const SIGNATURE: usize = 64;

/// Signs claims, which are JSON.
pub(super) fn mint(claims: &str, signer: &GrantSigner) -> Option<String> {
    let mut token = String::with_capacity(2048);
    token.push_str(signer.key().header());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = signer.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Some(token)
}

/// The bytes of the claims, once the signature over them is that of a key in trust.
pub(super) fn authentic(token: &[u8], keys: &GrantKeys) -> Result<Vec<u8>, GrantRejection> {
    if token.len() > MAX_TOKEN {
        return Err(GrantRejection::TooLarge { length: token.len() });
    }
    let form = |reason| GrantRejection::Form { reason };
    let mut parts = token.split(|byte| *byte == b'.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(form("it has not three parts"));
    };
    let key = key_of(header, keys)?;
    // No padding, no white space, and the bits that stand for nothing are zero.
    let signature: Vec<u8> =
        URL_SAFE_NO_PAD.decode(signature).map_err(|_| form("the signature is not base64url"))?;
    let signed = token.get(..header.len() + 1 + payload.len()).unwrap_or_default();
    // Neither DER nor anything else that a library might take as well.
    if signature.len() != SIGNATURE || !key.verifies(signed, &signature) {
        return Err(GrantRejection::Signature { kid: key.kid().to_owned() });
    }
    URL_SAFE_NO_PAD.decode(payload).map_err(|_| form("the claims are not base64url"))
}

/// The key that a header names. Never one that it brings.
fn key_of<'a>(encoded: &[u8], keys: &'a GrantKeys) -> Result<&'a GrantKey, GrantRejection> {
    // As it is written here; what follows would find the same key.
    if let Some(key) = keys.iter().find(|key| key.header().as_bytes() == encoded) {
        return Ok(key);
    }
    let form = |reason| GrantRejection::Form { reason };
    if encoded.len() > MAX_HEADER {
        return Err(GrantRejection::Header { reason: "it is too long".into() });
    }
    let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| form("the header is not base64url"))?;
    let bad = |reason: String| GrantRejection::Header { reason };
    let header: Header = serde_json::from_slice(&json).map_err(|error| bad(error.to_string()))?;
    if let Some(names) = header.crit {
        return Err(GrantRejection::Critical { names });
    }
    if let Some(name) = header.key {
        return Err(GrantRejection::KeyInHeader { name });
    }
    if let Some(name) = header.other {
        return Err(bad(format!("a member that grants do not have: {name:?}")));
    }
    let (Some(alg), Some(kid), Some(typ)) = (header.alg, header.kid, header.typ) else {
        return Err(bad("alg, kid or typ is missing".into()));
    };
    if typ != TYPE {
        return Err(GrantRejection::Type { found: typ });
    }
    let key = keys.named(&kid).ok_or(GrantRejection::Key { kid })?;
    if alg != key.algorithm().name() {
        return Err(GrantRejection::Algorithm { found: alg, key: key.algorithm() });
    }
    Ok(key)
}

/// What a header holds, good or bad, each member once.
#[derive(Default)]
struct Header {
    alg: Option<String>,
    crit: Option<String>,
    key: Option<String>,
    kid: Option<String>,
    other: Option<String>,
    typ: Option<String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        let mut seen: Vec<String> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if seen.contains(&name) {
                return Err(serde::de::Error::custom(format!("{name:?} stands twice")));
            }
            match name.as_str() {
                "alg" => header.alg = Some(map.next_value()?),
                "kid" => header.kid = Some(map.next_value()?),
                "typ" => header.typ = Some(map.next_value()?),
                "crit" => header.crit = Some(map.next_value::<serde_json::Value>()?.to_string()),
                "jku" | "jwk" | "x5c" | "x5t" | "x5t#S256" | "x5u" => {
                    map.next_value::<IgnoredAny>()?;
                    header.key.get_or_insert_with(|| name.clone());
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    header.other.get_or_insert_with(|| name.clone());
                }
            }
            seen.push(name);
        }
        Ok(header)
    }
}
