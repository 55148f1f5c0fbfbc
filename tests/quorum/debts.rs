//! What break-glass leaves behind.

use touchgate::ceremony::{Ceremony, Context, Event, Said};
use touchgate::challenge::Challenge;
use touchgate::request::{Mode, Request};
use touchgate::statement::Decision;
use touchgate::store::{Op, RequestRecord};
use touchgate::trust::debt::Debt;
use touchgate::trust::manifest::Manifest;
use touchgate::trust::quorum::{
    Circumstances, NotMet, QuorumMet, check_debts, decide, refusal_ends, settles, standing,
};
use touchgate::trust::{NotAdmitted, Trust};
use touchgate::verify::Rejection;

use crate::scene::{
    Draft, NOW, approval, approvals, approved, decided, emergency, issue, refused, request, rule, signed,
    time,
};

/// Release deploys, two of them; in an emergency one of security. Alice asks.
fn draft() -> Draft {
    let rules = rule("r", "{ from = \"release\", count = 2 }")
        + &rule("r", "{ from = \"security\" }")
        + "mode = \"break-glass\"\n"
        + &rule("s", "{ from = \"release\", count = 2 }")
        + "[[rule]]\naction = \"touchgate.trust.revoke\"\nneed = [{ from = \"admins\" }]\ntier = \"signed\"\n";
    Draft::new(&rules)
        .people(&["alice", "bob", "carol"], &["release"])
        .people(&["tina", "uma"], &["security"])
        .people(&["vera"], &["admins"])
}

/// Alice broke the glass over `r`, and tina approved.
fn debt(trust: &Trust) -> Debt {
    let challenge = issue(trust, emergency("r", "github:alice"), 9);
    let met = decided(trust, &challenge, approvals(trust, &challenge, &["tina"])).unwrap();
    assert_eq!(met.settles(), None);
    let signers = met.approvals().iter().map(|approval| approval.answer().person().to_owned());
    Debt::new(challenge.clone(), signers).unwrap()
}

fn settle(trust: &Trust, debt: &Debt, asked: &Challenge, names: &[&str]) -> Result<QuorumMet, NotMet> {
    let debts = [debt.clone()];
    let circumstances = Circumstances { set_aside: &[], debts: &debts };
    decide(trust, asked, approvals(trust, asked, names), circumstances, time(NOW))
}

#[test]
fn everything_further_on_the_resource_waits() {
    let trust = draft().trust();
    let debt = debt(&trust);
    let open = [*debt.request()];
    let owed = Err(NotAdmitted::Debt { request: *debt.request() });
    for further in [request("r", "github:alice"), request("r", "github:bob"), emergency("r", "github:bob")] {
        assert_eq!(trust.admit_beside(&further, &open).map(|_| ()), owed, "{further:?}");
        assert!(trust.admit_beside(&further, &[]).is_ok());
    }
    // Elsewhere nothing waits, and what Touchgate does for itself waits nowhere.
    let revoke =
        Request { action: "touchgate.trust.revoke".parse().unwrap(), ..request("r", "github:alice") };
    assert!(trust.admit_beside(&revoke, &open).is_ok());
    let elsewhere = issue(&trust, request("s", "github:alice"), 1);
    let debts = [debt.clone()];
    let circumstances = Circumstances { set_aside: &[], debts: &debts };
    let both = approvals(&trust, &elsewhere, &["bob", "carol"]);
    assert!(decide(&trust, &elsewhere, both, circumstances, time(NOW)).is_ok());
    // What was asked before waits too, and is decided afterwards.
    let before = issue(&trust, request("r", "github:alice"), 1);
    let both = approvals(&trust, &before, &["bob", "carol"]);
    let Err(NotMet::Debt { request, approvals }) = decide(&trust, &before, both, circumstances, time(NOW))
    else {
        panic!("it did not wait")
    };
    assert_eq!((request, approvals.len()), (*debt.request(), 2));
    assert!(decided(&trust, &before, approvals).is_ok());
    // It can still be refused.
    let refusal = refused(&trust, &before, "bob").unwrap();
    assert!(refusal_ends(&trust, &before, &refusal, circumstances, time(NOW)));
}

#[test]
fn two_others_settle_it() {
    let trust = draft().trust();
    let debt = debt(&trust);
    let asked = issue(&trust, debt.countersign("github:alice".parse().unwrap()), 1);
    assert_eq!(settles(&asked.request), Some(*debt.request()));
    assert_eq!(check_debts(&asked.request, &[*debt.request()]), Ok(()));
    // Who could have approved either way, and neither who asked nor who signed.
    let met = settle(&trust, &debt, &asked, &["bob", "uma"]).unwrap();
    assert_eq!(met.settles(), Some(*debt.request()));
    for (names, missing) in [(&["bob"][..], 1), (&["bob", "bob"], 1), (&["tina", "bob"], 1), (&["tina"], 2)] {
        let error = settle(&trust, &debt, &asked, names).unwrap_err();
        assert!(
            matches!(error, NotMet::Open { missing: found, .. } if found == missing),
            "{names:?}: {error}"
        );
    }
    assert!(approved(&trust, &asked, "alice").is_err());
    assert!(approved(&trust, &asked, "vera").is_err());
    // Nor may they refuse it away.
    let debts = [debt.clone()];
    let circumstances = Circumstances { set_aside: &[], debts: &debts };
    let ends = |name| {
        let refusal = refused(&trust, &asked, name).unwrap();
        refusal_ends(&trust, &asked, &refusal, circumstances, time(NOW))
    };
    assert!(!ends("tina") && ends("uma"));
    let now = standing(&trust, &asked.request, &[], circumstances, time(NOW)).unwrap();
    assert_eq!(now.can, ["bob", "carol", "uma"]);
}

/// Somebody else asks, so that she who broke the glass is no asker any more.
#[test]
fn who_broke_the_glass_does_not_settle_it_whoever_asks() {
    let trust = draft().trust();
    let debt = debt(&trust);
    let asked = issue(&trust, debt.countersign("github:vera".parse().unwrap()), 1);
    for pair in [["alice", "bob"], ["tina", "bob"]] {
        let error = settle(&trust, &debt, &asked, &pair).unwrap_err();
        assert!(matches!(error, NotMet::Open { missing: 1, .. }), "{pair:?}: {error}");
    }
    assert!(settle(&trust, &debt, &asked, &["alice", "tina", "bob", "carol"]).is_ok());
    // Under another of her names, and by way of a workload of hers.
    let mut through = debt.challenge().clone();
    through.request.requester = "github:bob".parse().unwrap();
    through.request.via = Some("os:alice@build1".parse().unwrap());
    let debt = Debt::new(through, ["tina".to_owned()]).unwrap();
    let parties: Vec<&str> = debt.parties(&trust).into_iter().collect();
    assert_eq!(parties, ["alice", "bob", "tina"]);
}

#[test]
fn a_countersignature_is_of_one_debt() {
    let trust = draft().trust();
    let debt = debt(&trust);
    let right = debt.countersign("github:alice".parse().unwrap());
    let with = |name: &str, value: &str| {
        let mut request = right.clone();
        let value = touchgate::text::Text::new(value).unwrap();
        request.parameters.insert(name.parse().unwrap(), value);
        request
    };
    let missing = |name: &str| {
        let mut request = right.clone();
        request.parameters.remove(&name.parse().unwrap());
        request
    };
    for wrong in [missing("request"), missing("action"), with("request", "HJ5C9"), with("action", "Deploy")] {
        assert_eq!(trust.admit(&wrong).map(|_| ()), Err(NotAdmitted::NoDebt { request: None }), "{wrong:?}");
        assert_eq!(check_debts(&wrong, &[*debt.request()]), Err(NotAdmitted::NoDebt { request: None }));
    }
    let other = "01KA8Y3V0GQ4M7ZT6XWB1HJ5C8";
    let error = trust.admit_beside(&with("request", other), &[*debt.request()]).map(|_| ()).unwrap_err();
    assert_eq!(error, NotAdmitted::NoDebt { request: Some(other.into()) });
    // A debt that is not open, of another action, or on another resource is not settled.
    let asked = issue(&trust, right.clone(), 1);
    let both = || approvals(&trust, &asked, &["bob", "uma"]);
    let no_debt = |found: Result<QuorumMet, NotMet>| {
        assert!(matches!(found, Err(NotMet::NotAdmitted(NotAdmitted::NoDebt { .. }))), "{found:?}");
    };
    no_debt(decided(&trust, &asked, both()));
    for change in [
        |request: &mut Request| request.action = "login".parse().unwrap(),
        |request: &mut Request| request.resource = "s".parse().unwrap(),
    ] {
        let mut challenge = debt.challenge().clone();
        change(&mut challenge.request);
        let debts = [Debt::new(challenge, ["tina".to_owned()]).unwrap()];
        let circumstances = Circumstances { set_aside: &[], debts: &debts };
        no_debt(decide(&trust, &asked, both(), circumstances, time(NOW)));
    }
    // Only break-glass leaves one, and there is no emergency in settling.
    assert_eq!(Debt::new(issue(&trust, request("r", "github:alice"), 1), []), None);
    let hasty = Request { mode: Mode::BreakGlass, reason: debt.challenge().request.reason.clone(), ..right };
    assert_eq!(settles(&hasty), None);
    assert!(trust.admit(&hasty).is_err());
}

#[test]
fn a_rule_may_say_who_settles() {
    let rules = "[[rule]]\naction = \"touchgate.countersign\"\nneed = [{ from = \"admins\" }, { from = \"release\" }]\ntier = \"signed\"\n";
    let policy = String::from_utf8(draft().0["policy.toml"].clone()).unwrap() + rules;
    let mut files = draft();
    files.0.insert("policy.toml".into(), policy.into_bytes());
    let trust = files.trust();
    let debt = debt(&trust);
    let asked = issue(&trust, debt.countersign("github:alice".parse().unwrap()), 1);
    assert!(approved(&trust, &asked, "uma").is_err());
    assert!(settle(&trust, &debt, &asked, &["vera", "bob"]).is_ok());
    let error = settle(&trust, &debt, &asked, &["carol", "bob"]).unwrap_err();
    assert!(matches!(error, NotMet::Open { missing: 1, .. }), "{error}");
    let by_tina = Debt::new(debt.challenge().clone(), ["vera".to_owned()]).unwrap();
    let found = approval(&trust, &asked, "vera");
    let debts = [by_tina];
    let circumstances = Circumstances { set_aside: &[], debts: &debts };
    let error = decide(&trust, &asked, vec![found], circumstances, time(NOW)).unwrap_err();
    // Nobody else is an administrator.
    assert!(matches!(error, NotMet::Never { missing: 2, .. }), "{error}");
}

/// Else the refusal of one who broke the glass would keep everybody from countersigning it.
#[test]
fn whoever_broke_the_glass_has_no_say_in_it() {
    let draft = draft();
    let (trust, manifest) = (draft.trust(), Manifest::new(draft.0.clone()));
    let debts = [debt(&trust)];
    let asked = issue(&trust, debts[0].countersign("github:vera".parse().unwrap()), 1);
    let record = RequestRecord { challenge: asked.clone(), revision: 0, outcome: None, answers: Vec::new() };
    let ceremony = Ceremony::resume(&record, &trust).unwrap();
    let said = |name: &str, decision: Decision| {
        let response = &signed(&asked, name, decision, time(NOW));
        let context = Context {
            trust: &trust,
            manifest: &manifest,
            now: time(NOW),
            counters: &|_| Ok(None),
            grant: None,
            debts: &debts,
        };
        let event = Event::Answer { response, presented: None, counter: None };
        let step = ceremony.step(&event, &context);
        (step.said, step.change.iter().any(|op| matches!(op, Op::Close { .. })))
    };
    for name in ["alice", "tina"] {
        for decision in [Decision::Approve, Decision::Refuse { because: None }] {
            let (said, closed) = said(name, decision);
            assert!(matches!(said, Said::Rejected(Rejection::NotAllowed { .. })), "{name}: {said:?}");
            assert!(!closed, "{name}");
        }
    }
    let (refused, closed) = said("uma", Decision::Refuse { because: None });
    assert!(matches!(refused, Said::Refused(_)) && closed, "{refused:?}");
}
