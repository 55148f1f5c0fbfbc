//! What evidence may leave out, and that nobody gains by leaving it out.

use touchgate::challenge::{Challenge, Terms, TrustVersion};
use touchgate::request::{Mode, Request};
use touchgate::response::Response;
use touchgate::statement::Decision;
use touchgate::trust::manifest::{check, prove};
use touchgate::trust::roster::RosterError;
use touchgate::trust::{Files, Trust, TrustError, read_directory, versions};
use touchgate::unix_time::UnixTime;
use touchgate::verify::{OpenRequests, Tier, response};

use crate::case::fixtures;
use crate::packets::Recipe;
use crate::people;

fn team() -> Files {
    read_directory(&fixtures("trust/team")).unwrap()
}

fn proved(files: &Files, paths: &[&str]) -> Result<Trust, TrustError> {
    let version = TrustVersion { number: 7, digest: versions::digest(files) };
    let (size, proofs) = prove(files, paths).unwrap();
    Trust::from_proved(&check(&version, size, proofs).unwrap())
}

/// What comes of `approver` saying yes to a deployment that `requester` asked for.
fn judged(trust: &Trust, resource: &str, requester: &str, approver: &str) -> Result<Tier, &'static str> {
    let request = Request {
        action: "deploy".parse().unwrap(),
        resource: resource.parse().unwrap(),
        parameters: Default::default(),
        requester: requester.parse().unwrap(),
        via: None,
        requester_key: None,
        reason: None,
        mode: Mode::Ordinary,
    };
    let now: UnixTime = "2026-11-20T04:12:00Z".parse().unwrap();
    let terms = Terms {
        audience: trust.audience.clone(),
        trust: trust.version,
        answer_within: std::time::Duration::from_secs(60),
    };
    let challenge = Challenge::issue(request, terms, now, [7; 42]).unwrap();
    let statement = challenge.clone().decided(Decision::Approve).to_text().into_bytes();
    let mut key = people::signer(approver);
    let signature = Recipe::plain(&key, u32::try_from(now.seconds()).unwrap()).sign(&mut key, &statement);
    let mut ledger = OpenRequests::default();
    ledger.open(challenge);
    match response(&Response { statement, signature }, trust, &mut ledger, now) {
        Ok(touchgate::verify::Verified::Approved(approval)) => Ok(approval.answer().tier()),
        Ok(other) => panic!("{other:?}"),
        Err(rejection) => Err(rejection.code()),
    }
}

#[test]
fn a_few_files_judge_as_all_of_them_do() {
    let files = team();
    let whole = Trust::from_files(&files).unwrap();
    let few = proved(&files, &["policy.toml", "people/bob.toml", "tokens/1002.asc", "people/sam.toml"]);
    let few = few.unwrap();
    assert_eq!(few.version, whole.version);
    for trust in [&whole, &few] {
        assert_eq!(judged(trust, "staging/x", "github:sam", "bob"), Ok(Tier::Declared));
        assert_eq!(judged(trust, "staging/x", "github:bob", "bob"), Err("not-allowed"));
        assert_eq!(judged(trust, "vault/x", "github:sam", "bob"), Err("tier"));
    }
}

#[test]
fn leaving_a_file_out_gains_nothing() {
    let files = team();
    let judged = |paths: &[&str], resource, requester, approver| {
        judged(&proved(&files, &[&["policy.toml"], paths].concat()).unwrap(), resource, requester, approver)
    };
    let bob = ["people/bob.toml", "tokens/1002.asc"];
    // Somebody's own request, under whichever of their names: their file is there, or they sign nothing.
    for name in ["github:bob", "os:bob@build1"] {
        assert_eq!(judged(&bob, "night/x", name, "bob"), Err("not-allowed"));
    }
    // A certificate by itself is nobody's.
    let error = proved(&files, &["policy.toml", bob[1]]).unwrap_err();
    assert!(matches!(error, TrustError::Roster(RosterError::Unused { .. })), "{error}");
    assert_eq!(judged(&bob[..1], "night/x", "github:sam", "bob"), Err("unknown-signer"));
    assert_eq!(judged(&[], "night/x", "github:sam", "bob"), Err("unknown-signer"));
    // Who asked is not known then: only the rule that takes anybody's requests takes this one.
    assert_eq!(judged(&bob, "staging/x", "github:sam", "bob"), Err("unknown-requester"));
    assert_eq!(judged(&bob, "night/x", "github:sam", "bob"), Ok(Tier::Declared));
}

#[test]
fn without_its_policy_no_version_is_trust() {
    let files = team();
    let error = proved(&files, &["people/bob.toml", "tokens/1002.asc"]).unwrap_err();
    assert!(matches!(&error, TrustError::Stray { path, .. } if path == "policy.toml"), "{error}");
}

/// The number in a pin is believed no more than the one in a policy.
#[test]
fn the_policy_says_which_version_it_is() {
    let files = team();
    let (size, proofs) = prove(&files, &["policy.toml"]).unwrap();
    let version = TrustVersion { number: 8, digest: versions::digest(&files) };
    let error = Trust::from_proved(&check(&version, size, proofs).unwrap()).unwrap_err();
    assert!(matches!(error, TrustError::OtherVersion { found: 7, expected: 8 }), "{error}");
}
