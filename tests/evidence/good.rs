//! What good evidence shows, and what it says it cannot.

use touchgate::audit::entry::Outcome;
use touchgate::evidence::{Against, Checked, Evidence, Time, judge};
use touchgate::statement::Decision;
use touchgate::trust::Trust;
use touchgate::verify::{Tier, Unchecked};

use crate::log::Log;
use crate::scene::{
    after, answered, approval, approved, bare, challenge_of, decided, grant, judged, next_trust, now,
    request, team, version,
};

#[test]
fn everything_that_can_be_is_checked() {
    let evidence = approved();
    let verdict = judged(&evidence, &team().against()).unwrap();
    assert_eq!((verdict.outcome, verdict.tier, verdict.at), (Outcome::Approved, Tier::Declared, after(60)));
    let mut people: Vec<&str> = verdict.answers.iter().map(|answer| answer.person()).collect();
    people.sort_unstable();
    assert_eq!(people, ["bob", "carol", "dave"]);
    assert_eq!(verdict.digest, evidence.digest());
    assert_eq!(verdict.time, Time::Witnessed { at: after(65), by: "witness0.example".into() });
    assert_eq!(
        verdict.checked,
        [
            Checked::Files,
            Checked::Statements,
            Checked::Signatures,
            Checked::Touch,
            Checked::Quorum,
            Checked::Grant,
            Checked::Log,
            Checked::Witnesses
        ]
    );
    let unchecked = [
        Unchecked::Debts,
        Unchecked::Later,
        Unchecked::OtherAnswers,
        Unchecked::SingleUse,
        Unchecked::Superseded,
    ];
    assert_eq!(verdict.unchecked, unchecked);
}

#[test]
fn without_a_log_the_time_is_the_verifiers_word() {
    let verdict = judged(&bare(), &team().against()).unwrap();
    assert_eq!(verdict.time, Time::OnItsWord);
    let unchecked = [
        Unchecked::Debts,
        Unchecked::DecisionTime,
        Unchecked::Later,
        Unchecked::Log,
        Unchecked::OtherAnswers,
        Unchecked::Superseded,
    ];
    assert_eq!(verdict.unchecked, unchecked);
}

/// Where trust demands no witness, the time stays the verifier's word, and what others see of the log is not known.
#[test]
fn without_witnesses_the_log_may_have_two_faces() {
    let (before, _) = Log::keys();
    let lonely = version(7, &(before.replace("witnesses_needed = 1\n", ""), String::new()));
    let mut evidence = crate::scene::bare_under(&lonely);
    let entry = grant(&mut evidence, &lonely);
    let mut log = Log::new();
    let index = log.append(&entry);
    evidence.log = Some(log.proof(index, &[]));
    let verdict = judged(&evidence, &lonely.against()).unwrap();
    assert_eq!(verdict.time, Time::OnItsWord);
    for open in [Unchecked::DecisionTime, Unchecked::SplitView] {
        assert!(verdict.unchecked.contains(&open), "{open:?}");
    }
}

/// A witness that saw the log only after the request had expired does not say that the answers were in time.
#[test]
fn a_late_witness_says_nothing_about_the_time() {
    let mut evidence = bare();
    let entry = grant(&mut evidence, team());
    let mut log = Log::new();
    let index = log.append(&entry);
    let expires = evidence.challenge.expires.seconds() - crate::scene::issued().seconds();
    for (seen, in_time) in [(expires + 299, true), (expires + 300, false)] {
        evidence.log = Some(log.proof(index, &[(1, after(seen))]));
        let verdict = judged(&evidence, &team().against()).unwrap();
        assert_eq!(verdict.checked.contains(&Checked::Witnesses), in_time);
        assert_eq!(verdict.unchecked.contains(&Unchecked::DecisionTime), !in_time);
    }
}

#[test]
fn it_carries_the_few_files_that_it_needs() {
    let evidence = approved();
    let paths: Vec<&str> = evidence.trust.files.iter().map(|file| file.path.as_str()).collect();
    let expected = [
        "people/bob.toml",
        "people/carol.toml",
        "people/dave.toml",
        "people/sam.toml",
        "policy.toml",
        "tokens/1002.asc",
        "tokens/1003.asc",
        "tokens/1004.asc",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn the_order_of_answers_does_not_matter() {
    let challenge = challenge_of(team(), request());
    let answers = ["bob", "carol", "dave"].map(|name| approval(&challenge, name));
    let forth = decided(team(), &challenge, answers.to_vec(), Outcome::Approved);
    let back = decided(team(), &challenge, answers.into_iter().rev().collect(), Outcome::Approved);
    assert!(forth == back && forth.digest() == back.digest());
}

#[test]
fn a_refusal_is_shown_as_well() {
    let challenge = challenge_of(team(), request());
    let refusal = answered(&challenge, "bob", Decision::Refuse { because: None });
    let answers = vec![refusal, approval(&challenge, "carol")];
    let mut evidence = decided(team(), &challenge, answers, Outcome::Refused);
    let verdict = judged(&evidence, &team().against()).unwrap();
    assert_eq!((verdict.outcome, verdict.answers.len()), (Outcome::Refused, 2));
    let mut log = Log::new();
    let by = vec!["bob".to_owned()];
    let entry = touchgate::audit::Entry::Decided {
        at: after(60),
        request: challenge.id,
        outcome: Outcome::Refused,
        by,
        evidence: None,
        grant: None,
    };
    let index = log.append(&entry);
    evidence.log = Some(log.proof(index, &[(0, after(60))]));
    assert!(judged(&evidence, &team().against()).unwrap().checked.contains(&Checked::Log));
}

/// What the evidence does not hold cannot be missed: only the log, read as a whole, shows that somebody refused too.
#[test]
fn a_refusal_that_was_left_out_is_not_missed() {
    let verdict = judged(&approved(), &team().against()).unwrap();
    assert!(verdict.unchecked.contains(&Unchecked::OtherAnswers));
}

#[test]
fn the_next_version_comes_after_in_the_log() {
    let mut evidence = bare();
    let entry = grant(&mut evidence, team());
    let mut log = Log::new();
    let index = log.append(&entry);
    let early = log.proof(index, &[(0, after(65))]);
    let next = log.append(&next_trust());
    evidence.log = Some(log.proof(index, &[(0, after(65))]));
    let seen = log.proof(next, &[(1, after(130))]);
    let against = Against { next: Some(&seen), ..team().against() };
    let verdict = judged(&evidence, &against).unwrap();
    assert!(verdict.checked.contains(&Checked::Order) && !verdict.unchecked.contains(&Unchecked::Superseded));
    assert!(!verdict.unchecked.contains(&Unchecked::SplitView));
    // Under two checkpoints that witnesses saw, too.
    evidence.log = Some(early);
    assert!(judged(&evidence, &against).unwrap().checked.contains(&Checked::Order));
}

#[test]
fn what_became_of_the_keys_is_reported_apart() {
    let evidence = approved();
    let mut newer = version(8, &Log::keys()).files;
    newer.remove("people/bob.toml");
    newer.remove("tokens/1002.asc");
    let carol = newer.remove("people/carol.toml").unwrap();
    newer.insert("people/caroline.toml".into(), carol);
    let newer = Trust::from_files(&newer).unwrap();
    let verdict = judged(&evidence, &Against { newest: Some(&newer), ..team().against() }).unwrap();
    let mut later: Vec<String> =
        verdict.later.iter().map(|later| format!("{} {}", later.person, later.what.code())).collect();
    later.sort();
    assert_eq!(later, ["bob gone", "carol moved"]);
    assert!(!verdict.unchecked.contains(&Unchecked::Later));
    // A key that was revoked here, under the same version.
    let mut same = version(7, &Log::keys()).trust;
    same.revoke(evidence.answers().iter().map(|answer| answer.key().clone()).take(1));
    let verdict = judged(&evidence, &Against { newest: Some(&same), ..team().against() }).unwrap();
    let later: Vec<&str> = verdict.later.iter().map(|later| later.what.code()).collect();
    assert_eq!(later, ["revoked"]);
    // An older version says nothing about later.
    let older = version(6, &Log::keys()).trust;
    let verdict = judged(&evidence, &Against { newest: Some(&older), ..team().against() }).unwrap();
    assert!(verdict.unchecked.contains(&Unchecked::Later));
}

/// A key that expired since was good when it signed.
#[test]
fn it_is_judged_as_at_the_moment_of_the_decision() {
    let challenge = challenge_of(team(), request());
    let answers = ["bob", "carol", "vera"].iter().map(|name| approval(&challenge, name)).collect();
    let evidence = decided(team(), &challenge, answers, Outcome::Approved);
    let newer = version(8, &Log::keys()).trust;
    let verdict = judged(&evidence, &Against { newest: Some(&newer), ..team().against() }).unwrap();
    let later: Vec<&str> = verdict.later.iter().map(|later| later.what.code()).collect();
    assert_eq!(later, ["certificate-expired"]);
    assert_eq!(verdict.later[0].person, "vera");
}

#[test]
fn it_survives_every_layout_of_its_json() {
    let evidence = approved();
    let value: serde_json::Value = serde_json::from_str(&evidence.to_json()).unwrap();
    let other = Evidence::parse(value.to_string().as_bytes()).unwrap();
    assert!(other == evidence && judge(&other, &team().against(), now()).is_ok());
}
