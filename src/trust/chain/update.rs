//! One update: how its request is made, what it carries, and when it counts.
//!
//! Everybody who signs makes the request for themselves, of the two directories that they compared: there is nothing
//! in it that one machine could choose and another would have to believe, but for when it was begun and who asks.

use std::collections::BTreeSet;

use crate::audit::entry::Outcome;
use crate::challenge::{Challenge, Randomness, Terms, TooLarge, TrustVersion};
use crate::digest::Sha256Digest;
use crate::evidence::{Answered, Carried, Decided, Evidence};
use crate::request::{Identity, Mode, NameError, Parameters, Request};
use crate::text::Text;
use crate::trust::chain::UpdateError;
use crate::trust::manifest::{self, ManifestError};
use crate::trust::policy::{Approvers, Rule, UPDATE_ACTION, WHOEVER_SIGNS};
use crate::trust::quorum::{Circumstances, NotMet, decide as quorum};
use crate::trust::revocation::Revocation;
use crate::trust::{Files, NotAdmitted, Trust, diff};
use crate::unix_time::UnixTime;
use crate::verify::{Approval, CLOCK_SKEW, OpenRequests, Refusal, Verified, response};

/// What an update is asked for.
pub const SUBJECT: &str = "trust";
/// Up to this an update is dated to the second, and above it to the day.
const DATED_TO_THE_SECOND: u64 = 2 * DAY;
const DAY: u64 = 24 * 3600;

/// An update that counts. Only [`judge`] makes one.
#[derive(Clone, Debug)]
pub struct Update {
    to: TrustVersion,
    at: UnixTime,
    by: Vec<String>,
}

impl Update {
    /// The version that it leads to.
    pub fn to(&self) -> &TrustVersion {
        &self.to
    }

    /// When it was decided, by the clock of whoever signed last.
    pub fn at(&self) -> UnixTime {
        self.at
    }

    /// The people whose approvals count, by name.
    pub fn by(&self) -> &[String] {
        &self.by
    }
}

/// The people whose answers to an update count for nothing, because it takes something from them.
pub type Reduced = BTreeSet<String>;

/// The rule under which an update of this version is signed, and who asks for it.
///
/// # Errors
/// [`NotAdmitted`].
pub fn rule<'a>(
    old: &'a Trust,
    to: &TrustVersion,
    asks: &Identity,
) -> Result<(&'a Rule, Identity), NotAdmitted> {
    let nobody: Identity = WHOEVER_SIGNS
        .parse()
        .map_err(|error: NameError| NotAdmitted::UnknownRequester { requester: error.found })?;
    let rule = old.admit(&request(to, nobody.clone()))?;
    if rule.need.iter().any(|need| need.from == Approvers::Requester) {
        return Ok((old.admit(&request(to, asks.clone()))?, asks.clone()));
    }
    Ok((rule, nobody))
}

fn request(to: &TrustVersion, requester: Identity) -> Request {
    let mut parameters = Parameters::new();
    let values = [("digest", to.digest.to_string()), ("version", to.number.to_string())];
    for (name, value) in values {
        if let (Ok(name), Ok(value)) = (name.parse(), Text::new(value)) {
            parameters.insert(name, value);
        }
    }
    Request {
        action: UPDATE_ACTION.parse().expect("an action's name"),
        resource: SUBJECT.parse().expect("a resource's name"),
        parameters,
        requester,
        via: None,
        requester_key: None,
        reason: None,
        mode: Mode::Ordinary,
    }
}

/// When an update that is begun now says that it was: two people who begin the same one on the same day, neither
/// knowing of the other, so sign the same statement, and their signatures add up.
pub fn issued_at(rule: &Rule, now: UnixTime) -> UnixTime {
    let seconds = now.seconds();
    if rule.answer_within.as_secs() < DATED_TO_THE_SECOND {
        return now;
    }
    UnixTime::from_seconds(seconds - seconds % DAY).unwrap_or(now)
}

/// The request to go from `old` to `to`, as every client makes it that compared the two.
///
/// Name and nonce follow from what it says, and are random to nobody: the same update begun at the same time is the
/// same request. They keep no secret, and an update that is signed twice is still the same update.
///
/// # Errors
/// [`NotAdmitted`], [`TooLarge`].
pub fn challenge(
    old: &Trust,
    to: &TrustVersion,
    asks: &Identity,
    issued: UnixTime,
) -> Result<Challenge, UpdateError> {
    let (rule, asks) = rule(old, to, asks).map_err(NotMet::from)?;
    let terms =
        Terms { audience: old.audience.clone(), trust: old.version, answer_within: rule.answer_within };
    let request = request(to, asks);
    let told = format!("{}\n{}\n{to}\n{}\n{issued}\n", old.audience, old.version, request.requester);
    let hash = |what: &str| {
        Sha256Digest::of_parts(&[b"touchgate v1 update ", what.as_bytes(), b"\n", told.as_bytes()])
    };
    let mut randomness: Randomness = [0; 42];
    let (id, nonce) = (hash("request"), hash("nonce"));
    let bytes = id.as_bytes().iter().take(10).chain(nonce.as_bytes());
    randomness.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let too_large = |_: TooLarge| UpdateError::NotAnUpdate { what: "its request is too large" };
    Challenge::issue(request, terms, issued, randomness).map_err(too_large)
}

/// The same for an update that somebody else began: their words are taken for when it was and who asked, and for
/// nothing else.
///
/// # Errors
/// [`UpdateError::NotAnUpdate`] if it is not what this machine would have asked for.
pub fn recompute(old: &Trust, to: &TrustVersion, begun: &Challenge) -> Result<Challenge, UpdateError> {
    if begun.trust != old.version {
        return Err(UpdateError::OtherVersion { found: begun.trust, expected: old.version });
    }
    let own = challenge(old, to, &begun.request.requester, begun.issued)?;
    if own == *begun {
        return Ok(own);
    }
    Err(UpdateError::NotAnUpdate {
        what: "its request is not the one that this machine makes of the two versions",
    })
}

/// Looks at an update that others began: that it is the one which this machine would have begun, and that every answer
/// in it holds. Gives the people whose approvals count so far.
///
/// # Errors
/// Any [`UpdateError`] but `NotMet`.
pub fn resume(
    old: &Trust,
    to: &TrustVersion,
    begun: &Evidence,
    reduced: &Reduced,
    now: UnixTime,
) -> Result<(Challenge, BTreeSet<String>), UpdateError> {
    let challenge = recompute(old, to, &begun.challenge)?;
    if begun.trust.version != old.version {
        return Err(UpdateError::OtherVersion { found: begun.trust.version, expected: old.version });
    }
    match decide(old, &challenge, begun.answers(), reduced, now.min(last_second(&challenge))) {
        Ok(by) => Ok((challenge, by.into_iter().collect())),
        Err(UpdateError::NotMet(NotMet::Open { approvals, .. } | NotMet::Never { approvals, .. })) => {
            let by = approvals.iter().map(|approval| approval.answer().person().to_owned()).collect();
            Ok((challenge, by))
        }
        Err(error) => Err(error),
    }
}

/// What has expired is looked at as it was before.
fn last_second(challenge: &Challenge) -> UnixTime {
    UnixTime::from_seconds(challenge.expires.seconds().saturating_sub(1)).unwrap_or(challenge.issued)
}

/// An update that is begun: what its signatures are gathered in.
///
/// # Errors
/// If the request cannot be made, or the files cannot be proved.
pub fn begin(
    old: &Trust,
    old_files: &Files,
    new: &Trust,
    new_files: &Files,
    challenge: Challenge,
    answers: Vec<Answered>,
) -> Result<Evidence, UpdateError> {
    let mut people: BTreeSet<&str> = BTreeSet::new();
    people.extend(old.requester(&challenge.request).map(|person| person.name.as_str()));
    for answer in &answers {
        people.extend(old.roster.holder(answer.key()).map(|(person, _)| person.name.as_str()));
    }
    let carried = |trust: &Trust, files: &Files| -> Result<Carried, ManifestError> {
        let paths = paths_of(trust, files, &people);
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let (size, files) = manifest::prove(files, &paths)?;
        Ok(Carried { version: trust.version, size, files })
    };
    let (before, after) = (carried(old, old_files)?, carried(new, new_files)?);
    let mut evidence = Evidence::new(challenge, answers, before)?;
    evidence.after = Some(after);
    Ok(evidence)
}

/// Policy and everything of these people, by path.
fn paths_of(trust: &Trust, files: &Files, people: &BTreeSet<&str>) -> BTreeSet<String> {
    let mut paths = BTreeSet::from(["policy.toml".to_owned()]);
    for person in trust.roster.people().iter().filter(|person| people.contains(person.name.as_str())) {
        paths.insert(format!("people/{}.toml", person.name));
        for token in &person.tokens {
            let stem = format!("tokens/{}", token.serial.replace(':', "-"));
            paths.extend([format!("{stem}.asc"), format!("{stem}.attestation.pem")]);
        }
    }
    paths.retain(|path| files.contains_key(path));
    paths
}

/// Judges one update, which must go on from the version `from`, by nothing but that version's digest.
///
/// Every answer in it must hold. Those of people from whom the update takes something are not counted, neither for
/// nor against it. It is judged at the time at which it says that it was decided: that is the word of whoever signed
/// last, and has to lie within the request's own time, the old version's, and the past.
///
/// # Errors
/// Any [`UpdateError`], the first that is found.
pub fn judge(from: &TrustVersion, evidence: &Evidence, now: UnixTime) -> Result<Update, UpdateError> {
    judge_without(from, evidence, &[], now)
}

/// The same where tokens were lost: what they sign counts for nothing.
///
/// # Errors
/// As [`judge`].
pub fn judge_without(
    from: &TrustVersion,
    evidence: &Evidence,
    lost: &[Revocation],
    now: UnixTime,
) -> Result<Update, UpdateError> {
    let Evidence { challenge, trust, .. } = evidence;
    for found in [challenge.trust, trust.version] {
        if found != *from {
            return Err(UpdateError::OtherVersion { found, expected: *from });
        }
    }
    let before = manifest::check(from, trust.size, trust.files.iter().cloned())?;
    let mut old = Trust::from_proved(&before)?;
    old.lose(lost);
    let to = leads_to(&old, challenge)?;
    let after = evidence.after.as_ref().filter(|after| after.version == to);
    let after = after.ok_or(UpdateError::NotAnUpdate { what: "it carries no files of the version after" })?;
    let after = manifest::check(&to, after.size, after.files.iter().cloned())?;
    let new = Trust::from_proved(&after)?;
    let (outcome, at) = match evidence.decision {
        Some(Decided { outcome, at }) => (outcome, at),
        None => return Err(UpdateError::NotApproved),
    };
    if outcome != Outcome::Approved {
        return Err(UpdateError::NotApproved);
    }
    if at > now.plus(CLOCK_SKEW) {
        return Err(UpdateError::Future { at, now });
    }
    let reduced = reduced(&old, before.files(), &new, after.files());
    let by = decide(&old, challenge, evidence.answers(), &reduced, at)?;
    check_after(&old, &new)?;
    Ok(Update { to, at, by })
}

/// What must be so of every new version, whoever signed it.
///
/// # Errors
/// [`UpdateError::NotAnUpdate`] if it is another verifier's.
pub fn check_after(old: &Trust, new: &Trust) -> Result<(), UpdateError> {
    if old.audience == new.audience {
        return Ok(());
    }
    Err(UpdateError::NotAnUpdate { what: "the version after is another verifier's" })
}

/// The version that a request leads to, if it is exactly a request to go on from `old`.
fn leads_to(old: &Trust, challenge: &Challenge) -> Result<TrustVersion, UpdateError> {
    let not = |what| UpdateError::NotAnUpdate { what };
    let value = |wanted: &str| {
        let found = challenge.request.parameters.iter().find(|(name, _)| name.as_str() == wanted);
        found.map(|(_, value)| value.as_str().to_owned()).unwrap_or_default()
    };
    let to: TrustVersion = format!("{} {}", value("version"), value("digest"))
        .parse()
        .map_err(|_| not("its parameters are not the version and digest that it leads to"))?;
    if old.version.number.checked_add(1) != Some(to.number) {
        return Err(not("it does not lead to the next version"));
    }
    // Action, resource and mode, the two parameters and no others; nothing about a workload, a key or a reason.
    if challenge.request != request(&to, challenge.request.requester.clone()) {
        return Err(not("its request is another one"));
    }
    Ok(to)
}

/// The people from whom an update takes a token or a group, and those of whom too little is shown to tell.
///
/// That a token is gone shows by the old version's list of it, so that all certificates of a person are needed there.
/// What is missing of the new version counts as gone. An attestation that the old version has and nobody shows cannot
/// be missed: of such a token it is only known to be no weaker than what is shown.
pub fn reduced(old: &Trust, old_files: &Files, new: &Trust, new_files: &Files) -> Reduced {
    let difference = diff(old, old_files, new, new_files);
    let unclear = old.roster.people().iter().filter(|person| !person.left_out.is_empty());
    let unclear = unclear.map(|person| person.name.as_str());
    difference.all_reduced().chain(unclear).map(str::to_owned).collect()
}

/// Whether these answers suffice, under the old version's rule, at `at`. Gives the people whose approvals count.
///
/// Each is judged at the time at which it came, or else at `at`. What a token signed that was revoked in `old` is not
/// looked at.
///
/// # Errors
/// [`UpdateError::Ended`], `Future`, `Answer`, `Refused` and `NotMet`.
pub fn decide(
    old: &Trust,
    challenge: &Challenge,
    answers: &[Answered],
    reduced: &Reduced,
    at: UnixTime,
) -> Result<Vec<String>, UpdateError> {
    if at >= old.valid_until {
        return Err(UpdateError::Ended { at, valid_until: old.valid_until });
    }
    let mut ledger = OpenRequests::default();
    ledger.open(challenge.clone());
    let counts = |person: &str| !reduced.contains(person);
    let mut approvals: Vec<Approval> = Vec::new();
    for answer in answers.iter().filter(|answer| !old.is_revoked(answer.key())) {
        let received = answer.received().unwrap_or(at);
        if received > at {
            return Err(UpdateError::Future { at: received, now: at });
        }
        let rejected = |rejection| UpdateError::Answer { key: answer.key().to_hex(), rejection };
        match response(&answer.response(), old, &mut ledger, received).map_err(rejected)? {
            Verified::Approved(approval) if counts(approval.answer().person()) => approvals.push(approval),
            Verified::Refused(refusal) if counts(refusal.answer().person()) => return Err(refused(&refusal)),
            Verified::Approved(_) | Verified::Refused(_) => {}
        }
    }
    let set_aside: Vec<String> = reduced.iter().cloned().collect();
    let circumstances = Circumstances { set_aside: &set_aside, ..Circumstances::default() };
    let met = quorum(old, challenge, approvals, circumstances, at)?;
    let mut by: Vec<String> = met.approvals().iter().map(|one| one.answer().person().to_owned()).collect();
    by.sort();
    by.dedup();
    Ok(by)
}

fn refused(refusal: &Refusal) -> UpdateError {
    UpdateError::Refused { person: refusal.answer().person().to_owned() }
}
