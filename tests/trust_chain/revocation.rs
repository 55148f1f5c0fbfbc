//! A lost token: one admin ends what it is worth, and what it signed before a decision no longer counts.

use touchgate::challenge::Challenge;
use touchgate::response::Response;
use touchgate::statement::Decision;
use touchgate::trust::Trust;
use touchgate::trust::chain::{self, Seen};
use touchgate::trust::quorum::{Circumstances, NotMet, decide};
use touchgate::trust::revocation::{self, Revocation, RevocationError};
use touchgate::verify::{Approval, OpenRequests, Rejection, Verified, response};

use crate::people;
use crate::world::{Directory, NOW, Version, answer, asked, time, update};

/// The first version, and a rule by which admins revoke.
fn trust(need: &str) -> Trust {
    let mut version = Version::first();
    let rule =
        format!("[[rule]]\naction = \"touchgate.trust.revoke\"\ntier = \"declared\"\nneed = [{need}]\n");
    version.0.get_mut("policy.toml").unwrap().extend_from_slice(rule.as_bytes());
    version.trust()
}

fn challenge(trust: &Trust, whose: &str) -> Result<Challenge, RevocationError> {
    let person = trust.roster.people().iter().find(|person| person.name == whose).unwrap();
    let tokens: Vec<_> = person.tokens.iter().collect();
    let asks = "github:alice".parse().unwrap();
    revocation::challenge(trust, person, &tokens, None, &asks, time(NOW), [3; 42])
}

fn signed(challenge: &Challenge, name: &str, decision: Decision) -> Response {
    answer(challenge, name, decision, NOW).response()
}

#[test]
fn one_admin_is_enough_and_nobody_else_is() {
    let trust = trust("{ from = \"admins\" }");
    let challenge = challenge(&trust, "dave").unwrap();
    assert_eq!(challenge.request.requester.as_str(), "touchgate:trust");
    let judged = |answer: &Response| Revocation::judge(answer, &challenge, &trust, time(NOW));
    let revocation = judged(&signed(&challenge, "alice", Decision::Approve)).unwrap();
    assert_eq!((revocation.person(), revocation.by()), ("dave", Some("alice")));
    assert_eq!(revocation.keys(), [people::signer("dave").public().fingerprint()]);
    let error = judged(&signed(&challenge, "frank", Decision::Approve)).unwrap_err();
    assert!(matches!(error, RevocationError::Rejected(Rejection::NotAllowed { .. })), "{error}");
    let refusal = signed(&challenge, "alice", Decision::Refuse { because: None });
    assert!(matches!(judged(&refusal).unwrap_err(), RevocationError::Other));
    assert!(matches!(Revocation::kept(&refusal).unwrap_err(), RevocationError::Other));
    let kept = Revocation::kept(&signed(&challenge, "alice", Decision::Approve)).unwrap();
    assert_eq!((kept.person(), kept.keys(), kept.by()), ("dave", revocation.keys(), None));
    // Anything else that an admin approved is none.
    let update = asked(&Version::first(), &Version::first().next());
    let update = signed(&update, "alice", Decision::Approve);
    assert!(matches!(Revocation::kept(&update).unwrap_err(), RevocationError::Other));
}

#[test]
fn the_rule_decides_who_may() {
    let none = Version::first().trust();
    assert!(matches!(challenge(&none, "dave").unwrap_err(), RevocationError::NotAdmitted(_)));
    let two = trust("{ from = \"admins\", count = 2 }");
    let asked = challenge(&two, "dave").unwrap();
    let error = Revocation::judge(&signed(&asked, "alice", Decision::Approve), &asked, &two, time(NOW));
    assert!(matches!(error.unwrap_err(), RevocationError::NotMet(NotMet::Open { .. })));
    let own = trust("{ from = \"@requester\" }");
    let asked = challenge(&own, "dave").unwrap();
    assert_eq!(asked.request.requester.as_str(), "github:alice");
    assert!(Revocation::judge(&signed(&asked, "alice", Decision::Approve), &asked, &own, time(NOW)).is_ok());
}

#[test]
fn a_revoked_token_signs_nothing_and_what_it_signed_does_not_count() {
    let mut trust = trust("{ from = \"admins\" }");
    // A request that two admins approved, judged before one of their tokens was lost.
    let update = asked(&Version::first(), &Version::first().next());
    let update = Challenge { trust: trust.version, ..update };
    let at = time("2026-11-21T10:00:00Z");
    let approval = |trust: &Trust, name: &str| -> Result<Approval, Rejection> {
        let mut ledger = OpenRequests::default();
        ledger.open(update.clone());
        let answer = answer(&update, name, Decision::Approve, "2026-11-21T10:00:00Z").response();
        match response(&answer, trust, &mut ledger, at)? {
            Verified::Approved(approval) => Ok(approval),
            other => panic!("{other:?}"),
        }
    };
    let approvals = [approval(&trust, "alice").unwrap(), approval(&trust, "bob").unwrap()];
    let decided = |trust: &Trust| decide(trust, &update, approvals.to_vec(), Circumstances::default(), at);
    assert!(decided(&trust).is_ok());
    let revoke = challenge(&trust, "alice").unwrap();
    let revocation = signed(&revoke, "carol", Decision::Approve);
    let revocation = Revocation::judge(&revocation, &revoke, &trust, time(NOW)).unwrap();
    trust.revoke(revocation.keys().iter().cloned());
    assert!(matches!(decided(&trust).unwrap_err(), NotMet::Open { missing: 1, .. }));
    let error = approval(&trust, "alice").unwrap_err();
    assert_eq!((error.code(), error.is_signed()), ("token-revoked", true));
    assert!(approval(&trust, "carol").is_ok());
    // It revokes nobody else any more either.
    let back = challenge(&trust, "carol").unwrap();
    let error = Revocation::judge(&signed(&back, "alice", Decision::Approve), &back, &trust, time(NOW));
    assert!(matches!(error.unwrap_err(), RevocationError::Rejected(Rejection::TokenRevoked { .. })));
}

/// Whoever found it signs an update with it. One that was followed before it was lost stays what it was.
#[test]
fn a_revoked_token_signs_no_update_that_is_new_here() {
    let seven = {
        let mut version = Version::first();
        let rule = "[[rule]]\naction = \"touchgate.trust.revoke\"\ntier = \"declared\"\nneed = [{ from = \"admins\" }]\n";
        version.0.get_mut("policy.toml").unwrap().extend_from_slice(rule.as_bytes());
        version
    };
    let eight = seven.next();
    let update = update(&seven, &eight, &["alice", "bob"]);
    let trust = seven.trust();
    let revoke = challenge(&trust, "alice").unwrap();
    let answer = signed(&revoke, "carol", Decision::Approve);
    let lost = [Revocation::judge(&answer, &revoke, &trust, time(NOW)).unwrap()];
    let judged = |lost: &[Revocation]| chain::judge_without(&seven.version(), &update, lost, time(NOW));
    assert!(judged(&[]).is_ok());
    assert_eq!(judged(&lost).unwrap_err().code(), "update-not-met");
    let bytes = update.to_json().into_bytes();
    let directory = Directory::new(&eight, &[("8.json", &bytes)]);
    let versions = chain::Versions::read_directory(directory.path()).unwrap();
    let (pin, digest) = (seven.version(), eight.digest());
    let follow = |seen: &Seen| chain::follow_without(&pin, &digest, &versions, seen, &lost, time(NOW));
    assert_eq!(follow(&Seen::default()).unwrap_err().code(), "update-not-met");
    assert_eq!(follow(&Seen::only(&eight.version())).unwrap().len(), 2);
}
