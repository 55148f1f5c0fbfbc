//! Which approvals suffice: an assignment of people to slots, whatever the order they came in.

use std::collections::BTreeSet;

use proptest::prelude::*;
use touchgate::challenge::Challenge;
use touchgate::statement::{Decision, Statement};
use touchgate::trust::Trust;
use touchgate::trust::quorum::{self, Circumstances, NotMet, QuorumMet};
use touchgate::trust::versions;
use touchgate::unix_time::UnixTime;
use touchgate::verify::{Approval, OpenRequests, Verified, response};

use crate::case::cases;
use crate::packets::Recipe;
use crate::{people, response_of, team};

/// The ordinary challenge of the cases: payments/prod, two of release and one of security.
fn challenge() -> Challenge {
    let case = cases("signature").into_iter().find(|case| case.name == "good-ed25519").unwrap();
    Statement::parse(&response_of(&case).unwrap().statement).unwrap().challenge
}

fn now() -> UnixTime {
    "2026-11-20T04:12:00Z".parse().unwrap()
}

/// What `name` signs: an approval of `challenge`, judged under `trust`.
fn approval(trust: &Trust, challenge: &Challenge, name: &str) -> Approval {
    let statement = challenge.clone().decided(Decision::Approve).to_text().into_bytes();
    let mut key = people::signer(name);
    let created = u32::try_from(now().seconds()).unwrap();
    let signature = Recipe::plain(&key, created).sign(&mut key, &statement);
    let answer = touchgate::response::Response { statement, signature };
    let mut ledger = OpenRequests::default();
    ledger.open(challenge.clone());
    match response(&answer, trust, &mut ledger, now()) {
        Ok(Verified::Approved(approval)) => approval,
        other => panic!("{name}: {other:?}"),
    }
}

/// With nobody set aside and no debt open.
fn decide(
    trust: &Trust,
    challenge: &Challenge,
    approvals: Vec<Approval>,
    now: UnixTime,
) -> Result<QuorumMet, NotMet> {
    quorum::decide(trust, challenge, approvals, Circumstances::default(), now)
}

/// Whether these people suffice, all of them in release and bob alone in security: bob and two more.
fn suffice(names: &[&str]) -> bool {
    let distinct: BTreeSet<_> = names.iter().collect();
    distinct.contains(&"bob") && distinct.len() >= 3
}

#[test]
fn two_of_release_and_one_of_security() {
    let trust = team();
    let challenge = challenge();
    let approvals = |names: &[&str]| names.iter().map(|name| approval(trust, &challenge, name)).collect();
    let open = |names: &[&str]| match decide(trust, &challenge, approvals(names), now()) {
        Err(NotMet::Open { missing, from, .. }) => Err((missing, from)),
        other => Ok(other.unwrap()),
    };
    assert_eq!(open(&[]).unwrap_err(), (3, vec!["release".into(), "security".into()]));
    // Bob could sit in either group, but not in both, and nobody votes twice.
    assert_eq!(open(&["bob"]).unwrap_err().0, 2);
    assert_eq!(open(&["bob", "bob", "bob"]).unwrap_err().0, 2);
    assert_eq!(open(&["bob", "carol"]).unwrap_err().0, 1);
    assert_eq!(open(&["carol", "dave", "frank"]).unwrap_err(), (1, vec!["security".into()]));
    assert_eq!(open(&["carol", "bob", "dave"]).unwrap().approvals().len(), 3);
}

#[test]
fn what_was_made_under_other_trust_does_not_count() {
    let old = team();
    let challenge = challenge();
    let names = ["bob", "carol", "dave"];
    let approvals = || names.iter().map(|name| approval(old, &challenge, name)).collect::<Vec<_>>();
    assert!(decide(old, &challenge, approvals(), now()).is_ok());
    // The next version, in which nothing changed but its number.
    let mut files = crate::enrolment::team();
    let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
    files.insert("policy.toml".into(), policy.replace("version     = 7", "version     = 8").into_bytes());
    let new = Trust::from_files(&files).unwrap();
    assert_eq!((new.version.number, new.version.digest), (8, versions::digest(&files)));
    let error = decide(&new, &challenge, approvals(), now()).unwrap_err();
    assert!(matches!(error, NotMet::OtherTrust { .. }), "{error}");
}

#[test]
fn too_late_is_no_decision() {
    let challenge = challenge();
    let approvals =
        || ["bob", "carol", "dave"].iter().map(|name| approval(team(), &challenge, name)).collect();
    let second_before = UnixTime::from_seconds(challenge.expires.seconds() - 1).unwrap();
    assert!(decide(team(), &challenge, approvals(), second_before).is_ok());
    let error = decide(team(), &challenge, approvals(), challenge.expires).unwrap_err();
    assert!(matches!(error, NotMet::Expired { .. }), "{error}");
}

#[test]
fn approvals_of_another_request_do_not_count() {
    let one = challenge();
    let mut other = one.clone();
    other.request.resource = "payments/test".parse().unwrap();
    let approvals = ["bob", "carol", "dave"].iter().map(|name| approval(team(), &one, name)).collect();
    let error = decide(team(), &other, approvals, now()).unwrap_err();
    assert!(matches!(error, NotMet::Open { missing: 3, .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Order never matters, and one more approval never undoes a yes.
    #[test]
    fn order_never_matters_and_more_never_hurts(
        picked in prop::collection::vec(prop::sample::select(vec!["bob", "carol", "frank", "tina", "uma"]), 0..6),
        one_more in prop::sample::select(vec!["bob", "carol", "frank", "tina", "uma"]),
    ) {
        let trust = team();
        let challenge = challenge();
        let decided = |names: &[&str]| {
            let approvals = names.iter().map(|name| approval(trust, &challenge, name)).collect();
            decide(trust, &challenge, approvals, now()).is_ok()
        };
        let yes = decided(&picked);
        prop_assert_eq!(yes, suffice(&picked));
        let backwards: Vec<&str> = picked.iter().rev().copied().collect();
        prop_assert_eq!(decided(&backwards), yes);
        let more = [&picked[..], &[one_more]].concat();
        prop_assert!(decided(&more) || !yes);
    }
}
