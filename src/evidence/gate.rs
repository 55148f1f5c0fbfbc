//! Evidence at a gate: whether what was approved may be done now, by whoever presents it.

use crate::audit::entry::Outcome;
use crate::challenge::RequestId;
use crate::digest::Sha256Digest;
use crate::evidence::{Against, Evidence, EvidenceError, Verdict, judge};
use crate::unix_time::UnixTime;

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

/// Judges evidence at a gate at `now`, presented by whoever was seen to hold the key of thumbprint `presenter`.
///
/// Beside all that [`judge`] checks: it was approved, stands in the log under trust's log key, was asked for with the
/// presenter's key, the pinned trust has not expired, and neither the grant nor the time after the request has ended.
///
/// # Errors
/// Any [`EvidenceError`].
pub fn gate(
    evidence: &Evidence,
    against: &Against<'_>,
    presenter: &Sha256Digest,
    now: UnixTime,
) -> Result<Passable, EvidenceError> {
    let verdict = judge(evidence, against, now)?;
    if verdict.outcome != Outcome::Approved {
        return Err(EvidenceError::NotApproved);
    }
    let request = &evidence.challenge.request;
    match request.requester_key {
        Some(key) if key == *presenter => {}
        Some(_) => return Err(EvidenceError::OtherPresenter),
        None => return Err(EvidenceError::NoPresenter),
    }
    if verdict.receipt.is_none() {
        return Err(EvidenceError::NotLogged);
    }
    let trust = evidence.proved_trust()?;
    if now >= trust.valid_until {
        return Err(EvidenceError::TrustEnded { now, valid_until: trust.valid_until });
    }
    let terms = verdict.grant.filter(|_| evidence.grant.is_some()).ok_or(EvidenceError::NoGrant)?;
    let ends = evidence.challenge.expires.plus(terms.lasts).min(verdict.at.plus(terms.lasts));
    if now >= ends || now < verdict.at {
        return Err(EvidenceError::Ended { now, from: verdict.at, to: ends });
    }
    Ok(Passable { request: evidence.challenge.id, uses: terms.uses, ends, verdict })
}
