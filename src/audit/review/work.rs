//! What can be judged of an entry alone, on any core: its line, its signature, its decision.

use std::collections::BTreeMap;

use sequoia_openpgp::Fingerprint;

use super::counters::{self, Authorities, Came};
use super::finding::{Finding, Wrong};
use super::order::Granted;
use super::trusts::Trusts;
use crate::audit::Entry;
use crate::audit::tree::leaf_hash;
use crate::challenge::{Challenge, RequestId, TrustVersion};
use crate::digest::Sha256Digest;
use crate::evidence::{self, Evidence};
use crate::grant::SealedGrant;
use crate::response::Response;
use crate::statement::Statement;
use crate::trust::debt::Debt;
use crate::trust::quorum::{self, Circumstances, Effective};
use crate::trust::revocation::Revocation;
use crate::unix_time::UnixTime;
use crate::verify::{self, Answer, OpenRequests, Verified};

/// An entry after all that can be said of it alone.
pub(super) struct Judged {
    /// The line's hash.
    pub(super) leaf: Sha256Digest,
    /// The request that it says it is about; whether it is believed is another matter.
    pub(super) about: Option<RequestId>,
    pub(super) what: What,
}

/// What an entry turned out to be.
pub(super) enum What {
    /// An answer whose signature verifies, and which says what was logged of it.
    Answered(Box<Given>),
    /// A request: what was asked, and the digest of its text.
    Asked { challenge: Box<Challenge>, text: Sha256Digest, at: UnixTime },
    /// Not what it should be.
    Bad(Wrong),
    /// The end of a request, and the grant that it says.
    Decided(Entry, Option<Granted>),
    /// Anything that says nothing that could be judged alone.
    Other(Entry),
    /// Tokens that were lost, by the word of somebody who may say so under this version of trust.
    Revoked { under: TrustVersion, keys: Vec<Fingerprint> },
}

/// An answer, judged as when it came.
pub(super) struct Given {
    pub(super) verified: Verified,
    pub(super) counter: Option<String>,
    pub(super) came: Came,
    pub(super) at: UnixTime,
}

impl Given {
    pub(super) fn answer(&self) -> &Answer {
        match &self.verified {
            Verified::Approved(approval) => approval.answer(),
            Verified::Refused(refusal) => refusal.answer(),
        }
    }
}

impl Judged {
    pub(super) fn is_signed(&self) -> bool {
        matches!(self.what, What::Answered(_))
    }
}

/// Judges a line.
pub(super) fn judge(line: &str, trusts: &Trusts<'_>, authorities: &Authorities<'_>) -> Judged {
    let leaf = leaf_hash(line.as_bytes());
    let bad = |reason: String| (None, What::Bad(Wrong::Entry { reason }));
    let (about, what) = match Entry::parse(line.as_bytes()) {
        Err(error) => bad(error.to_string()),
        Ok(Entry::Asked { at, challenge: text }) => match Challenge::parse(text.as_bytes()) {
            // What is read is written so, byte for byte.
            Ok(challenge) => {
                let text = Sha256Digest::of(text.as_bytes());
                (Some(challenge.id), What::Asked { challenge: Box::new(challenge), text, at })
            }
            Err(error) => bad(error.to_string()),
        },
        Ok(entry) => (entry.request(), judge_other(entry, trusts, authorities)),
    };
    Judged { leaf, about, what }
}

fn judge_other(entry: Entry, trusts: &Trusts<'_>, authorities: &Authorities<'_>) -> What {
    match entry {
        answered @ Entry::Answered { .. } => answer(&answered, trusts, authorities)
            .map_or_else(What::Bad, |given| What::Answered(Box::new(given))),
        decided @ Entry::Decided { .. } => {
            let granted = Granted::of(&decided);
            What::Decided(decided, granted)
        }
        revoked @ Entry::TokenRevoked { .. } => revocation(&revoked, trusts).unwrap_or_else(What::Bad),
        other => What::Other(other),
    }
}

/// Verifies an answer under the trust that it names, as at the moment at which it was recorded.
fn answer(entry: &Entry, trusts: &Trusts<'_>, authorities: &Authorities<'_>) -> Result<Given, Wrong> {
    let Entry::Answered { at, statement, signature, counter, .. } = entry else {
        return Err(Wrong::Entry { reason: "not an answer".into() });
    };
    let wrong = |code, reason: String| Wrong::Answer { code, reason };
    let parsed =
        Statement::parse(statement.as_bytes()).map_err(|error| wrong("statement", error.to_string()))?;
    let version = trusts.get(&parsed.challenge.trust).map_err(Wrong::Trust)?;
    // Whether it was asked at all, and in these words, is for the order to say.
    let mut ledger = OpenRequests::default();
    ledger.open(parsed.challenge);
    let response =
        Response { statement: statement.clone().into_bytes(), signature: signature.clone().into_bytes() };
    let verified = verify::response(&response, &version.trust, &mut ledger, *at)
        .map_err(|rejection| wrong(rejection.code(), rejection.to_string()))?;
    let mut given = Given { verified, counter: counter.clone(), came: Came::Without, at: *at };
    if let Some(field) = recorded(entry, given.answer()) {
        return Err(wrong("recorded", format!("what was signed says otherwise than the entry's {field}")));
    }
    given.came = counters::believe(entry, given.answer(), &version.trust, authorities)?;
    Ok(given)
}

/// Verifies the revocation of a token as at the moment at which it was recorded.
fn revocation(entry: &Entry, trusts: &Trusts<'_>) -> Result<What, Wrong> {
    let Entry::TokenRevoked { at, person, keys, by, statement, signature } = entry else {
        return Err(Wrong::Entry { reason: "not a revocation".into() });
    };
    let wrong = |reason: String| Wrong::Answer { code: "revocation", reason };
    let parsed = Statement::parse(statement.as_bytes()).map_err(|error| wrong(error.to_string()))?;
    let version = trusts.get(&parsed.challenge.trust).map_err(Wrong::Trust)?;
    let response =
        Response { statement: statement.clone().into_bytes(), signature: signature.clone().into_bytes() };
    let found = Revocation::judge(&response, &parsed.challenge, &version.trust, *at)
        .map_err(|error| wrong(error.to_string()))?;
    let hex: Vec<String> = found.keys().iter().map(|key| key.to_hex()).collect();
    if (found.person(), found.by(), &hex) == (person.as_str(), Some(by.as_str()), keys) {
        return Ok(What::Revoked { under: parsed.challenge.trust, keys: found.keys().to_vec() });
    }
    Err(wrong("what was signed says otherwise than the entry".into()))
}

/// The first field of an entry that is not what the answer says.
fn recorded(entry: &Entry, answer: &Answer) -> Option<&'static str> {
    let Entry::Answered { request, person, decision, key, serial, acr, .. } = entry else {
        return Some("type");
    };
    let fields = [
        ("request", answer.challenge().id == *request),
        ("person", answer.person() == person),
        ("decision", answer.decision().word() == decision),
        ("key", answer.key().to_hex() == *key),
        ("serial", answer.serial() == serial),
        ("acr", answer.tier().acr() == acr),
    ];
    fields.into_iter().find(|(_, same)| !same).map(|(name, _)| name)
}

/// A grant that was decided on, and all that it rests on.
pub(super) struct Decision {
    pub(super) index: u64,
    pub(super) entry: Entry,
    pub(super) challenge: Challenge,
    pub(super) answers: Vec<Given>,
    pub(super) debts: Vec<Debt>,
}

/// Decides again: the same people, evidence and claims must come out, byte for byte.
pub(super) fn decide(decision: Decision, trusts: &Trusts<'_>) -> Result<(), Finding> {
    let index = decision.index;
    again(decision, trusts).map_err(|wrong| Finding::at(index, wrong))
}

fn again(decision: Decision, trusts: &Trusts<'_>) -> Result<(), Wrong> {
    let otherwise = |reason: String| Wrong::Decision { reason };
    let Decision { entry, challenge, answers, debts, .. } = decision;
    let version = trusts.get(&challenge.trust).map_err(Wrong::Trust)?;
    let shown = answers.iter();
    let shown =
        shown.map(|given| evidence::Answered::verified(given.answer(), given.counter.clone(), given.at));
    let shown = shown.collect();
    let Effective { approvals, .. } = quorum::effective(answers.into_iter().map(|given| given.verified));
    let circumstances = Circumstances { debts: &debts, ..Circumstances::default() };
    let met = quorum::decide(&version.trust, &challenge, approvals, circumstances, entry.at())
        .map_err(|error| otherwise(error.to_string()))?;
    let evidence = Evidence::collect(challenge, shown, &version.trust, &version.manifest)
        .map_err(|error| otherwise(error.to_string()))?;
    let expected = SealedGrant::new(met, evidence.digest(), entry.at()).entry();
    if expected == entry { Ok(()) } else { Err(otherwise(difference(&expected, &entry))) }
}

/// The members that two entries do not have alike.
fn difference(expected: &Entry, found: &Entry) -> String {
    let members = |entry: &Entry| -> BTreeMap<String, String> {
        let Ok(serde_json::Value::Object(map)) = serde_json::to_value(entry) else { return BTreeMap::new() };
        map.into_iter().map(|(name, value)| (name, value.to_string())).collect()
    };
    let (expected, found) = (members(expected), members(found));
    let differ = expected.iter().filter(|(name, value)| found.get(*name) != Some(value));
    let names: Vec<&str> = differ.map(|(name, _)| name.as_str()).collect();
    format!("the entry says otherwise of {}", names.join(", "))
}
