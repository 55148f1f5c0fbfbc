//! A gate's check of a token: one function, one order, the first failure is the answer.

use crate::challenge::Audience;
use crate::digest::Sha256Digest;
use crate::request::{Action, Parameters, Resource};
use crate::unix_time::UnixTime;

use super::claims::{AuthorizationDetail, Claims, Issuer};
use super::key::GrantKeys;
use super::rejection::GrantRejection;
use super::token;

/// A grant that a key in trust signed, for this gate, in its time, in the hands of whom it is bound to.
/// Only [`check`] makes one. What it permits is for [`Genuine::permits`] to say, and whether it is used up or
/// revoked for whoever counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genuine(Claims);

/// Judges a token at the gate `gate`, under the keys of its trust and its clock. `presenter` is the thumbprint of the
/// key that whoever presents the token has just shown to hold, if they did.
///
/// The order is fixed: size, form, header, key, algorithm, signature, claims, issuer, audience, not yet, expired,
/// presenter. There is no leeway: `nbf` ≤ `now` < `exp`.
///
/// # Errors
/// The first check that failed.
pub fn check(
    token: &str,
    keys: &GrantKeys,
    gate: &Audience,
    now: UnixTime,
    presenter: Option<&Sha256Digest>,
) -> Result<Genuine, GrantRejection> {
    let claims = Claims::parse(&token::authentic(token.as_bytes(), keys)?)?;
    if claims.iss.0 != *gate {
        return Err(GrantRejection::Issuer { found: claims.iss, expected: Issuer(gate.clone()) });
    }
    if claims.aud != *gate {
        return Err(GrantRejection::Audience { granted: claims.aud, gate: gate.clone() });
    }
    if now < claims.nbf {
        return Err(GrantRejection::NotYetValid { now, nbf: claims.nbf });
    }
    if now >= claims.exp {
        return Err(GrantRejection::Expired { now, exp: claims.exp });
    }
    match claims.cnf {
        Some(bound) if presenter != Some(&bound.jkt) => {
            Err(GrantRejection::Presenter { bound: bound.jkt, presented: presenter.copied() })
        }
        _ => Ok(Genuine(claims)),
    }
}

impl Genuine {
    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.0
    }

    /// Whether it is for this: [`AuthorizationDetail::permits`].
    ///
    /// # Errors
    /// The first of action, resource and parameters that differs.
    pub fn permits(
        &self,
        action: &Action,
        resource: &Resource,
        parameters: &Parameters,
    ) -> Result<(), GrantRejection> {
        self.0.detail().permits(action, resource, parameters)
    }
}

impl AuthorizationDetail {
    /// Whether it is exactly this that may be done, and every parameter that the gate knows was approved with that
    /// value. Parameters that the gate does not know may have been approved as well.
    ///
    /// # Errors
    /// The first of action, resource and parameters that differs.
    pub fn permits(
        &self,
        action: &Action,
        resource: &Resource,
        parameters: &Parameters,
    ) -> Result<(), GrantRejection> {
        if self.action != *action {
            return Err(GrantRejection::Action { granted: self.action.clone(), asked: action.clone() });
        }
        if self.resource != *resource {
            let (granted, asked) = (self.resource.clone(), resource.clone());
            return Err(GrantRejection::Resource { granted, asked });
        }
        match parameters.iter().find(|(name, asked)| self.parameters.get(*name) != Some(*asked)) {
            None => Ok(()),
            Some((name, asked)) => Err(GrantRejection::Parameter {
                name: name.clone(),
                granted: self.parameters.get(name).cloned(),
                asked: asked.clone(),
            }),
        }
    }
}
