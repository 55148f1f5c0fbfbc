//! What good evidence shows.

use touchgate::audit::entry::Outcome;
use touchgate::evidence::Checked;
use touchgate::statement::Decision;
use touchgate::verify::{Tier, Unchecked};

use crate::scene::{answered, approval, approved, challenge_of, decided, judged, request, team};

#[test]
fn an_approval_is_decided_again_from_the_pin() {
    let evidence = approved();
    let verdict = judged(&evidence, &team().against()).unwrap();
    assert_eq!((verdict.outcome, verdict.tier), (Outcome::Approved, Tier::Declared));
    let people: Vec<&str> = verdict.answers.iter().map(|answer| answer.person()).collect();
    assert_eq!(
        {
            let mut people = people;
            people.sort_unstable();
            people
        },
        ["bob", "carol", "dave"]
    );
    assert_eq!(verdict.digest, evidence.digest());
    assert!(verdict.checked.contains(&Checked::Quorum));
    assert!(verdict.unchecked.contains(&Unchecked::Log));
}

#[test]
fn it_carries_the_few_files_that_it_needs() {
    let evidence = approved();
    let paths: Vec<&str> = evidence.trust.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "people/bob.toml",
            "people/carol.toml",
            "people/dave.toml",
            "people/sam.toml",
            "policy.toml",
            "tokens/1002.asc",
            "tokens/1003.asc",
            "tokens/1004.asc"
        ]
    );
}

#[test]
fn the_order_of_answers_does_not_matter() {
    let challenge = challenge_of(team(), request());
    let one = |names: [&str; 3]| {
        let answers = names.iter().map(|name| approval(&challenge, name)).collect();
        decided(team(), &challenge, answers, Outcome::Approved)
    };
    let (forth, back) = (one(["bob", "carol", "dave"]), one(["dave", "carol", "bob"]));
    assert_eq!(forth, back);
    assert_eq!(forth.digest(), back.digest());
}

#[test]
fn a_refusal_is_shown_as_well() {
    let challenge = challenge_of(team(), request());
    let refusal = answered(&challenge, "bob", Decision::Refuse { because: None });
    let evidence =
        decided(team(), &challenge, vec![refusal, approval(&challenge, "carol")], Outcome::Refused);
    let verdict = judged(&evidence, &team().against()).unwrap();
    assert_eq!((verdict.outcome, verdict.answers.len()), (Outcome::Refused, 2));
}
