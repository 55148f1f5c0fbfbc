//! Narrowing: a token for a part of what was granted, never for more, never for longer.
//!
//! It is the same grant: the same name, end, key and parameters, and its uses are counted with those of every other
//! token of that grant. So it takes no decision of its own and no entry in the log: the entry of the decision says
//! `"narrow":true`, and a use is logged as one of the grant.

use crate::challenge::RequestId;
use crate::request::{Request, Resource};
use crate::trust::Trust;

use super::check::Genuine;
use super::claims::is_below;
use super::key::GrantSigner;
use super::rejection::GrantRejection;
use super::sealed::Grant;

/// Makes a token for `part`, which lies below the grant's resource: `payments/prod` of one for `payments`.
///
/// Only the verifier can, and only where its rule says `narrow = true`, is still in force, and is itself the most
/// specific one for the part: else those would be passed over who have the say there. `debts` are the break-glass
/// requests on the part that nobody has countersigned yet; nothing goes on while there is one.
///
/// # Errors
/// [`GrantRejection::Narrow`].
pub fn narrow(
    grant: &Genuine,
    part: &Resource,
    trust: &Trust,
    debts: &[RequestId],
    signer: &GrantSigner,
) -> Result<Grant, GrantRejection> {
    let claims = grant.claims();
    let no = |reason| GrantRejection::Narrow { resource: part.clone(), reason };
    let granted = claims.detail();
    if !claims.step_up.narrow {
        return Err(no("its rule does not say narrow = true"));
    }
    if !is_below(part, &granted.resource) {
        return Err(no("that does not lie below what was granted"));
    }
    if claims.step_up.trust != trust.version {
        return Err(no("it was decided under another version of trust"));
    }
    let request = Request {
        action: granted.action.clone(),
        resource: claims.whole().detail().resource.clone(),
        parameters: granted.parameters.clone(),
        requester: claims.sub.clone(),
        via: claims.step_up.via.clone(),
        requester_key: claims.cnf.map(|bound| bound.jkt),
        reason: None,
        mode: claims.step_up.mode,
    };
    if !trust.same_rule(&request, part) {
        return Err(no("another rule covers that"));
    }
    if !debts.is_empty() {
        return Err(no("a break-glass request there waits to be countersigned"));
    }
    let mut claims = claims.clone();
    let [detail] = &mut claims.authorization_details;
    let whole = std::mem::replace(&mut detail.resource, part.clone());
    claims.step_up.narrowed_from.get_or_insert(whole);
    Grant::sign(claims, signer).ok_or_else(|| no("it could not be signed"))
}
