//! Evidence at a gate: whose it is, for how long, and what it must have beside what an auditor wants.

use touchgate::audit::entry::Outcome;
use touchgate::digest::Sha256Digest;
use touchgate::evidence::{Evidence, Passable, gate};
use touchgate::request::Request;
use touchgate::statement::Decision;
use touchgate::unix_time::UnixTime;

use crate::log::Log;
use crate::scene::{
    Version, after, answered, approval, approved, challenge_of, decided, grant, request, team,
};

fn at(evidence: &Evidence, version: &Version, key: &[u8], now: UnixTime) -> Result<Passable, &'static str> {
    gate(evidence, &version.against(), &Sha256Digest::of(key), now).map_err(|error| error.code())
}

const PRESENTER: &[u8] = b"the presenter's key";

fn logged(mut evidence: Evidence, version: &Version) -> Evidence {
    let entry = grant(&mut evidence, version);
    let mut log = Log::new();
    let index = log.append(&entry);
    evidence.log = Some(log.proof(index, &[(0, after(65))]));
    evidence
}

#[test]
fn it_passes_from_the_decision_until_the_grant_ends() {
    let evidence = approved();
    let lasts = 15 * 60;
    for (seconds, code) in
        [(60, None), (60 + lasts - 1, None), (60 + lasts, Some("ended")), (59, Some("ended"))]
    {
        let found = at(&evidence, team(), PRESENTER, after(seconds));
        assert_eq!(found.err(), code, "{seconds}");
    }
    let passable = at(&evidence, team(), PRESENTER, after(61)).unwrap();
    assert_eq!((passable.request(), passable.uses()), (evidence.challenge.id, 1));
    assert_eq!(passable.ends(), after(60 + lasts));
}

#[test]
fn only_who_asked_may_present_it() {
    assert_eq!(at(&approved(), team(), b"another key", after(61)).unwrap_err(), "requester-key-differs");
    let challenge = challenge_of(team(), Request { requester_key: None, ..request() });
    let answers = ["bob", "carol", "dave"].map(|name| approval(&challenge, name)).to_vec();
    let anybodys = logged(decided(team(), &challenge, answers, Outcome::Approved), team());
    assert_eq!(at(&anybodys, team(), PRESENTER, after(61)).unwrap_err(), "no-requester-key");
}

#[test]
fn it_must_stand_in_the_log() {
    let mut evidence = approved();
    evidence.log = None;
    assert_eq!(at(&evidence, team(), PRESENTER, after(61)).unwrap_err(), "not-logged");
}

#[test]
fn a_refusal_opens_nothing() {
    let challenge = challenge_of(team(), request());
    let refusal = answered(&challenge, "bob", Decision::Refuse { because: None });
    let evidence = decided(team(), &challenge, vec![refusal], Outcome::Refused);
    assert_eq!(at(&evidence, team(), PRESENTER, after(61)).unwrap_err(), "not-approved");
}

#[test]
fn an_approval_without_grant_opens_nothing() {
    let mut evidence = approved();
    let mut entry: serde_json::Value = serde_json::from_str(&evidence.log.as_ref().unwrap().entry).unwrap();
    entry.as_object_mut().unwrap().remove("grant");
    let mut log = Log::new();
    let index = log.append_line(&entry.to_string());
    evidence.grant = None;
    evidence.log = Some(log.proof(index, &[(0, after(65))]));
    assert_eq!(at(&evidence, team(), PRESENTER, after(61)).unwrap_err(), "no-grant");
}

#[test]
fn a_gate_refuses_trust_that_has_ended() {
    let mut files = team().files.clone();
    let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
    let ends = after(120);
    files
        .insert("policy.toml".into(), policy.replace("2027-03-01T00:00:00Z", &ends.to_string()).into_bytes());
    let version = Version::new(files);
    let evidence = logged(crate::scene::bare_under(&version), &version);
    assert!(at(&evidence, &version, PRESENTER, after(119)).is_ok());
    assert_eq!(at(&evidence, &version, PRESENTER, ends).unwrap_err(), "trust-expired");
}
