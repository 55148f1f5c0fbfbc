//! Break-glass leaves a debt: everything further on that resource waits until two others have countersigned.
//!
//! ```text
//! action: touchgate.countersign
//! resource: payments/prod
//! param.action: deploy
//! param.request: 01KA8Y3V0GQ4M7ZT6XWB1HJ5C9
//! ```
//!
//! It is asked, signed and decided like any other request. No rule is needed: two people settle it who could fill a
//! slot of the break-glass rule or of the ordinary one for that action, neither who asked nor who signed. A rule that
//! spells `touchgate.countersign` out says who instead, and takes two at least.
//!
//! What Touchgate does for itself waits for no debt: else whoever can break the glass could keep their own token from
//! being revoked. The debt is of exactly the resource that was named, not of those below it.

use std::collections::BTreeSet;

use crate::challenge::{Challenge, RequestId};
use crate::request::{Action, Identity, Mode, Parameters, Request};
use crate::text::Text;
use crate::trust::policy::{COUNTERSIGN_ACTION, RESERVED};
use crate::trust::{NotAdmitted, Trust};

/// The parameter that says what was done.
const ACTION: &str = "action";
/// The parameter that names the request.
const REQUEST: &str = "request";

/// A break-glass request that was granted and that nobody has countersigned yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debt {
    challenge: Challenge,
    signers: BTreeSet<String>,
}

impl Debt {
    /// The debt that `challenge` left, which `signers` approved, by their names in the roster.
    ///
    /// `None` unless it was a break-glass request.
    pub fn new(challenge: Challenge, signers: impl IntoIterator<Item = String>) -> Option<Self> {
        let signers = signers.into_iter().collect();
        (challenge.request.mode == Mode::BreakGlass).then_some(Self { challenge, signers })
    }

    /// The request that left it.
    pub fn request(&self) -> &RequestId {
        &self.challenge.id
    }

    /// What was asked.
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// Those who may not settle it: who asked, as `trust` knows them, and who signed.
    pub fn parties<'a>(&'a self, trust: &'a Trust) -> BTreeSet<&'a str> {
        let asked = trust.askers(&self.challenge.request).names();
        asked.chain(self.signers.iter().map(String::as_str)).collect()
    }

    /// The request that settles it, as `requester` asks it.
    pub fn countersign(&self, requester: Identity) -> Request {
        let asked = &self.challenge.request;
        let name = |name: &str| name.parse().expect("constants above are names");
        // An action or a ULID: shorter than a value may be, in characters that stand for themselves.
        let text = |value: String| Text::new(value).expect("names are texts");
        Request {
            action: COUNTERSIGN_ACTION.parse().expect("a constant that is an action"),
            resource: asked.resource.clone(),
            parameters: Parameters::from([
                (name(ACTION), text(asked.action.to_string())),
                (name(REQUEST), text(self.request().to_string())),
            ]),
            requester,
            via: None,
            requester_key: None,
            reason: None,
            mode: Mode::Ordinary,
        }
    }

    /// Whether `request` would settle it.
    pub fn is_settled_by(&self, request: &Request) -> bool {
        let asked = &self.challenge.request;
        request.resource == asked.resource
            && countersigned(request)
                .is_some_and(|(id, action)| id == self.challenge.id && action == asked.action)
    }
}

/// Whether a request is one to settle a debt, well-formed or not.
pub fn is_countersign(request: &Request) -> bool {
    request.action.as_str() == COUNTERSIGN_ACTION
}

/// The request whose debt an approved `request` settles.
pub fn settles(request: &Request) -> Option<RequestId> {
    countersigned(request).map(|(id, _)| id)
}

/// Which request a countersignature is of, and what was done by it.
pub(super) fn countersigned(request: &Request) -> Option<(RequestId, Action)> {
    let value = |name: &str| {
        let mut found = request.parameters.iter().filter(|(parameter, _)| parameter.as_str() == name);
        found.next().map(|(_, value)| value.as_str())
    };
    if !is_countersign(request) || request.mode != Mode::Ordinary {
        return None;
    }
    let action: Action = value(ACTION)?.parse().ok()?;
    // No break-glass rule covers those.
    let foreign = !action.as_str().starts_with(RESERVED);
    Some((value(REQUEST)?.parse().ok()?, action)).filter(|_| foreign)
}

/// Whether a request may be asked and decided while the `open` debts lie on its resource.
///
/// # Errors
/// [`NotAdmitted::Debt`] with the oldest; [`NotAdmitted::NoDebt`] of a countersignature for none of them.
pub fn check_debts(request: &Request, open: &[RequestId]) -> Result<(), NotAdmitted> {
    if is_countersign(request) {
        return match settles(request) {
            Some(id) if open.contains(&id) => Ok(()),
            named => Err(NotAdmitted::NoDebt { request: named.map(|id| id.to_string()) }),
        };
    }
    match open.iter().min() {
        Some(oldest) if !request.action.as_str().starts_with(RESERVED) => {
            Err(NotAdmitted::Debt { request: *oldest })
        }
        _ => Ok(()),
    }
}
