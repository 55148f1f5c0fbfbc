//! Evidence at a gate: whether what was approved may be done now, by whoever presents it.

use crate::audit::entry::Outcome;
use crate::challenge::RequestId;
use crate::digest::Sha256Digest;
use crate::evidence::{Against, Evidence, EvidenceError, Verdict, judge};
use crate::grant::{AuthorizationDetail, Claims};
use crate::request::{Action, Parameters, Resource};
use crate::trust::Trust;
use crate::trust::quorum::Circumstances;
use crate::unix_time::UnixTime;
use crate::verify::Unchecked;

/// What a gate may let pass, as often as `uses` says, if it counts each use durably under `request`.
///
/// Only [`gate`] makes one. It counts nothing itself: a gate without a durable record of uses takes evidence at most as
/// a hint, for whoever holds the file can present it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passable {
    verdict: Verdict,
    request: RequestId,
    uses: u32,
    ends: UnixTime,
}

impl Passable {
    /// What was found to hold.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The name under which uses are counted: the request's, which is the grant's too.
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// How often it may pass, all times together.
    pub fn uses(&self) -> u32 {
        self.uses
    }

    /// From here on it is worth nothing.
    pub fn ends(&self) -> UnixTime {
        self.ends
    }
}

/// What is about to be done, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// What.
    pub action: &'a Action,
    /// To what.
    pub resource: &'a Resource,
    /// Every parameter that the gate knows.
    pub parameters: &'a Parameters,
    /// The thumbprint of the key that whoever presents the evidence was seen to hold.
    pub presenter: &'a Sha256Digest,
}

/// Judges evidence at a gate at `now`, for what is about to be done there.
///
/// Beside all that [`judge`] checks: it was approved, and just this ([`AuthorizationDetail::permits`]); it was asked for
/// with the presenter's key, and stands in the log under trust's log key; neither the grant nor the time after the
/// request has ended. And the newest trust that is known, which must be given, has not expired and would still give it:
/// where an auditor is told what became of keys and people since, a gate does not open.
///
/// # Errors
/// Any [`EvidenceError`].
pub fn gate(
    evidence: &Evidence,
    attempt: &Attempt<'_>,
    against: &Against<'_>,
    now: UnixTime,
) -> Result<Passable, EvidenceError> {
    let verdict = judge(evidence, against, now)?;
    if verdict.outcome != Outcome::Approved {
        return Err(EvidenceError::NotApproved);
    }
    let request = &evidence.challenge.request;
    let Attempt { action, resource, parameters, presenter } = attempt;
    AuthorizationDetail::of(request).permits(action, resource, parameters)?;
    match request.requester_key {
        Some(key) if key == **presenter => {}
        Some(_) => return Err(EvidenceError::OtherPresenter),
        None => return Err(EvidenceError::NoPresenter),
    }
    if verdict.receipt.is_none() {
        return Err(EvidenceError::NotLogged);
    }
    let grant = evidence.grant.as_ref().and_then(|grant| Claims::from_map(grant).ok());
    let (terms, claims) = verdict.grant.zip(grant).ok_or(EvidenceError::NoGrant)?;
    let newest = against.newest.filter(|_| !verdict.unchecked.contains(&Unchecked::Later));
    let newest = newest.ok_or(EvidenceError::LaterUnknown)?;
    check_since(evidence, &verdict, &claims, newest, against.circumstances, now)?;
    let ends = evidence.challenge.expires.plus(terms.lasts).min(verdict.at.plus(terms.lasts));
    if now >= ends || now < verdict.at {
        return Err(EvidenceError::Ended { now, from: verdict.at, to: ends });
    }
    Ok(Passable { request: evidence.challenge.id, uses: terms.uses, ends, verdict })
}

/// Whether trust as it has become would still give what it gave then.
fn check_since(
    evidence: &Evidence,
    verdict: &Verdict,
    claims: &Claims,
    newest: &Trust,
    circumstances: Circumstances<'_>,
    now: UnixTime,
) -> Result<(), EvidenceError> {
    if now >= newest.valid_until {
        return Err(EvidenceError::TrustEnded { now, valid_until: newest.valid_until });
    }
    let answers = verdict.answers.iter();
    if claims.are_still_given(newest, &evidence.challenge, answers, circumstances, now) {
        return Ok(());
    }
    Err(EvidenceError::NoLongerGiven { newest: newest.version, later: verdict.later.clone() })
}
