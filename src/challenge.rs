//! A request as a verifier issued it: named, dated, with a nonce, under one version of trust.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ulid::Ulid;

use crate::digest::Sha256Digest;
use crate::request::{NameError, Request, name};
use crate::statement::{MAX_CHALLENGE, MAX_PARAMETERS};
use crate::unix_time::UnixTime;
use crate::wire::as_text;

name! {
    /// The verifier that asks: a host name in lower case, as in `approve.example.com`.
    Audience, "an audience (a host name in lower case, at most 253 bytes)", is_host_name
}

/// RFC 1123, section 2.1, in lower case.
fn is_host_name(text: &str) -> bool {
    let inner = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
    text.len() <= 253
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(inner)
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// The verifier's name for a request: a ULID, so that requests sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Ulid);

impl RequestId {
    /// The last five characters, by which people name an open request.
    pub fn short_code(&self) -> String {
        self.0.to_string().split_off(21)
    }

    /// The same in 16 bytes, which sort by time too.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_bytes()
    }
}

impl From<[u8; 16]> for RequestId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(Ulid::from_bytes(bytes))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

as_text!(RequestId);

impl FromStr for RequestId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // The reader of the library takes lower case and look-alikes too: only one spelling may pass.
        match Ulid::from_string(text) {
            Ok(id) if id.to_string() == text => Ok(Self(id)),
            _ => Err(NameError {
                kind: "a request (26 characters of Crockford's base32)",
                found: text.to_owned(),
            }),
        }
    }
}

/// 32 random bytes that make every challenge another; 43 characters of base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; 32]);

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Nonce {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        let error = || NameError { kind: "a nonce (43 characters of base64url)", found: text.to_owned() };
        bytes.map(Self).ok_or_else(error)
    }
}

/// Which version of trust a challenge was issued under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrustVersion {
    /// Counts up from 1.
    pub number: u64,
    /// RFC 6962 root over the version's manifest.
    pub digest: Sha256Digest,
}

impl fmt::Display for TrustVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.digest)
    }
}

as_text!(TrustVersion);

impl FromStr for TrustVersion {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parsed = text.split_once(' ').and_then(|(number, digest)| {
            Some(Self { number: number.parse().ok()?, digest: digest.parse().ok()? })
        });
        match parsed {
            Some(version) if version.number > 0 && version.to_string() == text => Ok(version),
            _ => Err(NameError {
                kind: "a version of trust (its number, a space, sha256:…)",
                found: text.to_owned(),
            }),
        }
    }
}

/// A request with everything that the verifier adds to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The verifier.
    pub audience: Audience,
    /// Its name for the request.
    pub id: RequestId,
    /// What is asked.
    pub request: Request,
    /// Under which trust it will be judged.
    pub trust: TrustVersion,
    /// What makes it unlike every other.
    pub nonce: Nonce,
    /// Valid from here,
    pub issued: UnixTime,
    /// and until just before here.
    pub expires: UnixTime,
}

/// What a verifier adds to a request: who it is, under which trust, and how long it waits for an answer.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The verifier's own name.
    pub audience: Audience,
    /// The version of trust in force.
    pub trust: TrustVersion,
    /// How long an answer is waited for; whole seconds, one at least.
    pub answer_within: Duration,
}

/// Fresh random bytes for one challenge: ten for its name, 32 for its nonce.
pub type Randomness = [u8; 42];

impl Challenge {
    /// Makes a challenge of `request`, valid from `now`.
    ///
    /// `randomness` must come from a cryptographic source and be used once.
    ///
    /// # Errors
    /// [`TooLarge`] if there are too many parameters, or no room is left for a refusal with its reason.
    pub fn issue(
        request: Request,
        terms: Terms,
        now: UnixTime,
        randomness: Randomness,
    ) -> Result<Self, TooLarge> {
        let (id, nonce) = randomness.split_first_chunk::<10>().expect("42 bytes begin with ten");
        let mut random = [0; 16];
        random[6..].copy_from_slice(id);
        let id = RequestId(Ulid::from_parts(now.seconds() * 1000, u128::from_be_bytes(random)));
        let nonce = Nonce(nonce.try_into().expect("42 less ten are 32"));
        let answer_within = terms.answer_within.max(Duration::from_secs(1));
        let expires = now.plus(answer_within);
        let (audience, trust) = (terms.audience, terms.trust);
        let challenge = Self { audience, id, request, trust, nonce, issued: now, expires };
        let length = challenge.to_text().len();
        let parameters = challenge.request.parameters.len();
        if length > MAX_CHALLENGE || parameters > MAX_PARAMETERS {
            return Err(TooLarge { length, parameters });
        }
        Ok(challenge)
    }
}

/// A request with too much text in it to be shown and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the request takes {length} bytes with {parameters} parameters, {MAX_CHALLENGE} and {MAX_PARAMETERS} are allowed"
)]
pub struct TooLarge {
    /// How many bytes it would take.
    pub length: usize,
    /// How many parameters it has.
    pub parameters: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_each() {
        let id = "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9";
        assert_eq!(id.parse::<RequestId>().unwrap().short_code(), "HJ5C9");
        for bad in [
            "01ka8y3v0gq4m7zt6xwb1hj5c9",
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "01KA8Y3V0GQ4M7ZT6XWBIHJ5C9",
            "01KA8",
            "",
        ] {
            assert!(bad.parse::<RequestId>().is_err(), "{bad}");
        }
        let nonce = "A".repeat(43);
        assert_eq!(nonce.parse::<Nonce>().unwrap().to_string(), nonce);
        for bad in
            ["A".repeat(42), "A".repeat(44), "A".repeat(42) + "B", "A".repeat(43) + "=", "+".repeat(43)]
        {
            assert!(bad.parse::<Nonce>().is_err(), "{bad}");
        }
        let digest = Sha256Digest::of(b"").to_string();
        assert!(format!("7 {digest}").parse::<TrustVersion>().is_ok());
        for bad in [
            format!("07 {digest}"),
            format!("+7 {digest}"),
            format!("0 {digest}"),
            format!("7  {digest}"),
            "7".into(),
        ] {
            assert!(bad.parse::<TrustVersion>().is_err(), "{bad}");
        }
        for good in ["build1", "approve.example.com", "a-b.c"] {
            assert!(good.parse::<Audience>().is_ok(), "{good}");
        }
        for bad in ["", "A.com", "a..b", ".a", "a.", "-a", "a-", "a_b", "a:1", &"a".repeat(64)] {
            assert!(bad.parse::<Audience>().is_err(), "{bad}");
        }
    }
}
