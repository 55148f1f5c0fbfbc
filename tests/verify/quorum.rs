//! Which approvals suffice: an assignment of people to slots, whatever the order they came in.

use std::collections::BTreeSet;

use proptest::prelude::*;
use touchgate::challenge::Challenge;
use touchgate::statement::{Decision, Statement};
use touchgate::trust::Trust;
use touchgate::trust::quorum::decide;
use touchgate::trust::versions;
use touchgate::unix_time::UnixTime;
use touchgate::verify::{Against, Approval, Verified, response};

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
    match response(&answer, trust, Against::Alone, now()) {
        Ok(Verified::Approved(approval)) => approval,
        other => panic!("{name}: {other:?}"),
    }
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
    let rule = trust.admit(&challenge.request).unwrap();
    let approvals = |names: &[&str]| names.iter().map(|name| approval(trust, &challenge, name)).collect();
    let open =
        |names: &[&str]| decide(trust, rule, &challenge, approvals(names)).map_err(|e| (e.missing, e.from));
    assert_eq!(open(&[]).unwrap_err(), (3, vec!["release".into(), "release".into(), "security".into()]));
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
    assert!(decide(old, old.admit(&challenge.request).unwrap(), &challenge, approvals()).is_ok());
    // The next version, in which nothing changed but its number.
    let mut files = crate::enrolment::team();
    let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
    files.insert("policy.toml".into(), policy.replace("version     = 7", "version     = 8").into_bytes());
    let new = Trust::from_files(&files).unwrap();
    assert_eq!((new.version.number, new.version.digest), (8, versions::digest(&files)));
    let rule = new.admit(&challenge.request).unwrap();
    assert_eq!(decide(&new, rule, &challenge, approvals()).unwrap_err().missing, 3);
}

#[test]
fn a_rule_of_a_higher_tier_counts_no_weaker_approval() {
    let trust = team();
    let challenge = challenge();
    let mut vault = challenge.request.clone();
    vault.resource = "vault/keys".parse().unwrap();
    let rule = trust.admit(&vault).unwrap();
    let approvals = vec![approval(trust, &challenge, "bob")];
    assert_eq!(decide(trust, rule, &challenge, approvals).unwrap_err().missing, 1);
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
        let rule = trust.admit(&challenge.request).unwrap();
        let decided = |names: &[&str]| {
            let approvals = names.iter().map(|name| approval(trust, &challenge, name)).collect();
            decide(trust, rule, &challenge, approvals).is_ok()
        };
        let yes = decided(&picked);
        prop_assert_eq!(yes, suffice(&picked));
        let backwards: Vec<&str> = picked.iter().rev().copied().collect();
        prop_assert_eq!(decided(&backwards), yes);
        let more = [&picked[..], &[one_more]].concat();
        prop_assert!(decided(&more) || !yes);
    }
}
