//! What a grant says: the claims of its token, in exactly one spelling.
//!
//! ```json
//! {
//!   "acr": "urn:touchgate:touch-attested",
//!   "amr": ["hwk", "user"],
//!   "aud": "approve.example.com",
//!   "auth_time": 1795147620,
//!   "authorization_details": [{
//!     "action": "deploy",
//!     "parameters": {"command": "./deploy.sh --region eu", "image": "sha256:9f86…"},
//!     "resource": "payments/prod",
//!     "type": "touchgate"
//!   }],
//!   "cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
//!   "evidence": "sha256:5891…",
//!   "exp": 1795148760,
//!   "iat": 1795147860,
//!   "iss": "https://approve.example.com",
//!   "jti": "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9",
//!   "nbf": 1795147860,
//!   "step_up": {"request": "sha256:ba78…", "trust": "7 sha256:5891…", "uses": 1},
//!   "sub": "github:alice"
//! }
//! ```
//!
//! Members are sorted and nothing stands between tokens; an unknown member, or one that stands twice, is an error.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::challenge::{Audience, Challenge, RequestId, TrustVersion};
use crate::digest::Sha256Digest;
use crate::request::{Action, Identity, Mode, ParameterName, Parameters, Request, Resource};
use crate::text::Text;
use crate::trust::Trust;
use crate::trust::policy::GrantTerms;
use crate::trust::quorum::{self, Circumstances};
use crate::unix_time::UnixTime;
use crate::verify::{Answer, Tier};
use crate::wire::{as_text, borrowed, present};

/// What an issuer's name begins with: gates and clouds want the address of a web server there.
const ISSUER_PREFIX: &str = "https://";

/// The claims of a grant.
///
/// # Source
/// RFC 7519, section 4.1 (`iss aud sub jti iat nbf exp`); RFC 9470 and OpenID Connect Core, section 2 (`auth_time acr amr`);
/// RFC 9396 (`authorization_details`); RFC 7800 and RFC 9449, section 6.1 (`cnf.jkt`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The weakest evidence of a touch among the approvals that counted.
    #[serde(with = "acr")]
    pub acr: Tier,
    /// How people were authenticated.
    ///
    /// # Source
    /// RFC 8176, section 2.
    pub amr: Vec<String>,
    /// The gate.
    pub aud: Audience,
    /// Nobody touched anything before this: when the challenge was issued, by the verifier's clock.
    #[serde(with = "seconds")]
    pub auth_time: UnixTime,
    /// What may be done; one thing.
    pub authorization_details: [AuthorizationDetail; 1],
    /// The key that whoever presents the grant must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// The digest of statements, signatures and attestations.
    pub evidence: Sha256Digest,
    /// Worth nothing from here on.
    #[serde(with = "seconds")]
    pub exp: UnixTime,
    /// When the token was made.
    #[serde(with = "seconds")]
    pub iat: UnixTime,
    /// The verifier.
    pub iss: Issuer,
    /// The request that it came of, and the grant's own name.
    pub jti: RequestId,
    /// Worth nothing before.
    #[serde(with = "seconds")]
    pub nbf: UnixTime,
    /// What no standard has a name for.
    pub step_up: StepUp,
    /// Who asked.
    pub sub: Identity,
}

/// One thing that may be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationDetail {
    /// What.
    pub action: Action,
    /// Every parameter that was approved with it, unescaped.
    #[serde(with = "parameters")]
    pub parameters: Parameters,
    /// To what.
    pub resource: Resource,
    /// Always the same.
    #[serde(rename = "type")]
    pub kind: Kind,
}

/// The `type` of authorization details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The only one.
    #[serde(rename = "touchgate")]
    Touchgate,
}

/// The key that a grant is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// RFC 7638 thumbprint (SHA-256), base64url.
    #[serde(with = "thumbprint")]
    pub jkt: Sha256Digest,
}

/// What no standard has a name for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepUp {
    /// `break-glass`, or nothing.
    #[serde(default, with = "mode", skip_serializing_if = "is_ordinary")]
    pub mode: Mode,
    /// Whether the rule lets it be narrowed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub narrow: bool,
    /// The resource that was approved, if this token is for a part of it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub narrowed_from: Option<Resource>,
    /// The digest of the challenge's text as it was issued.
    pub request: Sha256Digest,
    /// The version of trust that it was decided under.
    pub trust: TrustVersion,
    /// How often it may be used, by all tokens of this grant together.
    pub uses: u32,
    /// The workload that asked for `sub`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub via: Option<Identity>,
}

/// A verifier's name as an issuer: `https://` and its audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(pub Audience);

/// Claims that are not in the one spelling, or contradict themselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ClaimsError {
    /// What is wrong, in the parser's words.
    pub reason: String,
}

impl Claims {
    /// What may be done.
    pub fn detail(&self) -> &AuthorizationDetail {
        let [detail] = &self.authorization_details;
        detail
    }

    /// Whether trust as it has become would still give this for `challenge`: its rule as much, on the answers that
    /// sufficed then. Of a countersignature only where `circumstances` have the debt that it settles.
    pub fn are_still_given<'b>(
        &self,
        new: &Trust,
        challenge: &Challenge,
        answers: impl Iterator<Item = &'b Answer>,
        circumstances: Circumstances<'_>,
        now: UnixTime,
    ) -> bool {
        new.rule(&challenge.request).is_some_and(|rule| self.are_within(rule.grant))
            && quorum::still_given(new, challenge, answers, circumstances, now)
    }

    fn are_within(&self, terms: GrantTerms) -> bool {
        self.step_up.uses <= terms.uses
            && self.exp <= self.iat.plus(terms.lasts)
            && (terms.narrow || !self.step_up.narrow)
    }

    /// The same before it was narrowed.
    pub(super) fn whole(&self) -> Self {
        let mut whole = self.clone();
        if let Some(resource) = whole.step_up.narrowed_from.take() {
            let [detail] = &mut whole.authorization_details;
            detail.resource = resource;
        }
        whole
    }

    /// As one JSON object, the same bytes each time.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("every member is text, a number or a list of them")
    }

    /// As the log and evidence carry them.
    pub fn to_map(&self) -> serde_json::Map<String, serde_json::Value> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(map)) => map,
            _ => serde_json::Map::new(),
        }
    }

    /// Reads claims out of an entry of the log or evidence.
    ///
    /// # Errors
    /// As [`Claims::parse`].
    pub fn from_map(map: &serde_json::Map<String, serde_json::Value>) -> Result<Self, ClaimsError> {
        let text = serde_json::to_string(map).map_err(|error| ClaimsError { reason: error.to_string() })?;
        Self::parse(text.as_bytes())
    }

    /// Reads what [`Claims::to_json`] writes, whatever the order of its members.
    ///
    /// # Errors
    /// For JSON that is malformed, a member that is missing, unknown, double or of another form, and times or uses that
    /// no verifier would write.
    pub fn parse(json: &[u8]) -> Result<Self, ClaimsError> {
        let claims: Self =
            serde_json::from_slice(json).map_err(|error| ClaimsError { reason: error.to_string() })?;
        let wrong = |reason: &str| Err(ClaimsError { reason: reason.to_owned() });
        if claims.auth_time > claims.iat || claims.iat > claims.nbf || claims.nbf >= claims.exp {
            return wrong("auth_time, iat, nbf and exp do not follow each other");
        }
        if claims.step_up.uses == 0 {
            return wrong("uses is 0");
        }
        if let Some(whole) = &claims.step_up.narrowed_from
            && (!claims.step_up.narrow || !is_below(&claims.detail().resource, whole))
        {
            return wrong("narrowed to what is no part of it, or where the rule does not let it");
        }
        Ok(claims)
    }
}

impl AuthorizationDetail {
    /// What a grant for this request says that may be done.
    pub fn of(request: &Request) -> Self {
        Self {
            action: request.action.clone(),
            parameters: request.parameters.clone(),
            resource: request.resource.clone(),
            kind: Kind::Touchgate,
        }
    }
}

/// Whether `part` lies below `whole`: `payments/prod` below `payments`.
pub(super) fn is_below(part: &Resource, whole: &Resource) -> bool {
    part.as_str().strip_prefix(whole.as_str()).is_some_and(|rest| rest.starts_with('/'))
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ISSUER_PREFIX}{}", self.0)
    }
}

impl FromStr for Issuer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.strip_prefix(ISSUER_PREFIX).and_then(|name| name.parse().ok());
        name.map(Self).ok_or("iss is not https:// and a verifier's name")
    }
}

as_text!(Issuer);

fn is_ordinary(mode: &Mode) -> bool {
    *mode == Mode::Ordinary
}

fn is_false(value: &bool) -> bool {
    !value
}

/// An instant as a NumericDate, in whole seconds.
mod seconds {
    use super::*;

    pub(super) fn serialize<S: Serializer>(value: &UnixTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(value.seconds())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<UnixTime, D::Error> {
        let seconds = u64::deserialize(from)?;
        UnixTime::from_seconds(seconds).ok_or_else(|| de::Error::custom("a time after the year 9999"))
    }
}

mod acr {
    use super::*;

    pub(super) fn serialize<S: Serializer>(value: &Tier, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.acr())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Tier, D::Error> {
        let text = borrowed(from)?;
        let tier = [Tier::Signed, Tier::Declared, Tier::Attested].into_iter().find(|tier| tier.acr() == text);
        tier.ok_or_else(|| de::Error::custom("an acr that is unknown"))
    }
}

mod mode {
    use super::*;

    const BREAK_GLASS: &str = "break-glass";

    pub(super) fn serialize<S: Serializer>(_: &Mode, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(BREAK_GLASS)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Mode, D::Error> {
        match borrowed(from)?.as_ref() {
            BREAK_GLASS => Ok(Mode::BreakGlass),
            _ => Err(de::Error::custom("a mode that is unknown")),
        }
    }
}

mod thumbprint {
    use super::*;

    pub(super) fn serialize<S: Serializer>(value: &Sha256Digest, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&URL_SAFE_NO_PAD.encode(value.as_bytes()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Sha256Digest, D::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(borrowed(from)?.as_ref()).ok();
        let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes
            .map(Sha256Digest::from)
            .ok_or_else(|| de::Error::custom("jkt is not 43 characters of base64url"))
    }
}

/// Parameters by name, none twice.
mod parameters {
    use super::*;

    pub(super) fn serialize<S: Serializer>(value: &Parameters, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(value.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Parameters, D::Error> {
        from.deserialize_map(Pairs)
    }

    struct Pairs;

    impl<'de> Visitor<'de> for Pairs {
        type Value = Parameters;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of names and texts")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
            #[derive(Deserialize)]
            struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
            let mut parameters = BTreeMap::new();
            while let Some((Borrowed(name), Borrowed(value))) = map.next_entry()? {
                let name: ParameterName = name.parse().map_err(de::Error::custom)?;
                let value = Text::new(value).map_err(de::Error::custom)?;
                if parameters.insert(name, value).is_some() {
                    return Err(de::Error::custom("a parameter that stands twice"));
                }
            }
            Ok(parameters)
        }
    }
}

#[cfg(test)]
mod tests;
