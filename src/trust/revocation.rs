//! The revocation of a lost token: what one admin signs, and what takes effect at once.
//!
//! It is an approval of a request to `touchgate.trust.revoke`, which names the keys. A verifier that has it takes
//! nothing any more that they sign, and counts nothing that they signed. Other verifiers learn of it by the next
//! version of trust, which should no longer list the token.

use sequoia_openpgp::Fingerprint;

use crate::challenge::{Audience, Challenge, Randomness, Terms, TooLarge};
use crate::request::{Identity, Mode, NameError, Parameters, Request};
use crate::response::Response;
use crate::statement::{Decision, Statement, StatementError};
use crate::text::{Text, TextError};
use crate::trust::policy::{Approvers, REVOKE_ACTION, Rule, WHOEVER_SIGNS};
use crate::trust::quorum::{Circumstances, NotMet, decide};
use crate::trust::roster::{Person, Token};
use crate::trust::{NotAdmitted, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{OpenRequests, Rejection, Verified, response};

/// What a revocation is asked for.
const SUBJECT: &str = "trust";

/// Keys that are worth nothing any more, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    audience: Audience,
    person: String,
    keys: Vec<Fingerprint>,
    because: Option<Text>,
    by: Option<String>,
}

/// Why a revocation is none.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// More keys than one statement holds.
    #[error("the tokens are too many for one statement: {0}")]
    Large(TextError),
    /// Trust does not allow it.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// One signature is not enough.
    #[error(transparent)]
    NotMet(#[from] NotMet),
    /// It says something else.
    #[error("it is no revocation")]
    Other,
    /// The signature does not hold.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The statement breaks the grammar.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Too much text.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

impl Revocation {
    /// Judges what was signed, at the moment at which it was.
    ///
    /// # Errors
    /// Any [`RevocationError`].
    pub fn judge(
        answer: &Response,
        issued: &Challenge,
        trust: &Trust,
        now: UnixTime,
    ) -> Result<Self, RevocationError> {
        let mut ledger = OpenRequests::default();
        ledger.open(issued.clone());
        let Verified::Approved(approval) = response(answer, trust, &mut ledger, now)? else {
            return Err(RevocationError::Other);
        };
        let by = approval.answer().person().to_owned();
        decide(trust, issued, vec![approval], Circumstances::default(), now)?;
        Ok(Self { by: Some(by), ..Self::of(issued).ok_or(RevocationError::Other)? })
    }

    /// One that was judged before and kept where nobody else writes. Its signature is not looked at again: the version
    /// of trust that it was signed under may be gone, and the token is no less lost.
    ///
    /// # Errors
    /// [`RevocationError::Statement`] and `Other`.
    pub fn kept(answer: &Response) -> Result<Self, RevocationError> {
        let Statement { decision, challenge } = Statement::parse(&answer.statement)?;
        if decision != Decision::Approve {
            return Err(RevocationError::Other);
        }
        Self::of(&challenge).ok_or(RevocationError::Other)
    }

    fn of(challenge: &Challenge) -> Option<Self> {
        let Request { action, resource, parameters, reason, .. } = &challenge.request;
        if action.as_str() != REVOKE_ACTION || resource.as_str() != SUBJECT {
            return None;
        }
        let value = |wanted: &str| {
            parameters.iter().find(|(name, _)| name.as_str() == wanted).map(|(_, value)| value.as_str())
        };
        let keys = value("keys")?.split(',').map(str::parse).collect::<Result<Vec<Fingerprint>, _>>().ok()?;
        let v4 = |key: &Fingerprint| matches!(key, Fingerprint::V4(_));
        let person = value("person")?.to_owned();
        let audience = challenge.audience.clone();
        keys.iter().all(v4).then(|| Self { audience, person, keys, because: reason.clone(), by: None })
    }

    /// The verifier that it is for.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// Whose tokens.
    pub fn person(&self) -> &str {
        &self.person
    }

    /// The keys on them.
    pub fn keys(&self) -> &[Fingerprint] {
        &self.keys
    }

    /// Why.
    pub fn because(&self) -> Option<&Text> {
        self.because.as_ref()
    }

    /// Who signed it, if that was judged here.
    pub fn by(&self) -> Option<&str> {
        self.by.as_deref()
    }
}

impl Trust {
    /// Revokes what was lost, as far as it is this verifier's.
    pub fn lose(&mut self, lost: &[Revocation]) {
        for revocation in lost {
            if revocation.audience == self.audience {
                self.revoke(revocation.keys.iter().cloned());
            }
        }
    }
}

/// The request to revoke tokens of one person, as one admin signs it.
///
/// # Errors
/// [`RevocationError::Large`], `NotAdmitted` and `TooLarge`.
pub fn challenge(
    trust: &Trust,
    person: &Person,
    tokens: &[&Token],
    because: Option<Text>,
    asks: &Identity,
    now: UnixTime,
    randomness: Randomness,
) -> Result<Challenge, RevocationError> {
    let joined = |parts: Vec<String>| Text::new(parts.join(",")).map_err(RevocationError::Large);
    let keys = joined(tokens.iter().map(|token| token.key.fingerprint().to_hex()).collect())?;
    let serials = joined(tokens.iter().map(|token| token.serial.clone()).collect())?;
    let name = Text::new(&person.name).map_err(RevocationError::Large)?;
    let mut parameters = Parameters::new();
    for (key, value) in [("keys", keys), ("person", name), ("tokens", serials)] {
        parameters.insert(key.parse().expect("a parameter's name"), value);
    }
    let by = |requester: Identity| Request {
        action: REVOKE_ACTION.parse().expect("an action's name"),
        resource: SUBJECT.parse().expect("a resource's name"),
        parameters: parameters.clone(),
        requester,
        via: None,
        requester_key: None,
        reason: because.clone(),
        mode: Mode::Ordinary,
    };
    let nobody = WHOEVER_SIGNS
        .parse()
        .map_err(|error: NameError| NotAdmitted::UnknownRequester { requester: error.found })?;
    let mut request = by(nobody);
    let mut rule: &Rule = trust.admit(&request)?;
    if rule.need.iter().any(|need| need.from == Approvers::Requester) {
        request = by(asks.clone());
        rule = trust.admit(&request)?;
    }
    let terms =
        Terms { audience: trust.audience.clone(), trust: trust.version, answer_within: rule.answer_within };
    Ok(Challenge::issue(request, terms, now, randomness)?)
}
