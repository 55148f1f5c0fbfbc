//! Which rule decides, why that one, and who can still approve.

use touchgate::request::{Mode, Request};
use touchgate::trust::NotAdmitted;
use touchgate::trust::check::Hindrance;
use touchgate::trust::explain::explain;
use touchgate::unix_time::UnixTime;
use touchgate::verify::Tier;

use crate::{files, load};

fn now() -> UnixTime {
    "2026-11-20T04:07:00Z".parse().unwrap()
}

fn request(action: &str, resource: &str, requester: &str) -> Request {
    Request {
        action: action.parse().unwrap(),
        resource: resource.parse().unwrap(),
        parameters: Default::default(),
        requester: requester.parse().unwrap(),
        via: None,
        requester_key: None,
        reason: None,
        mode: Mode::Ordinary,
    }
}

#[test]
fn the_rule_is_named_with_those_that_lost() {
    let mut all = files(&[(
        "policy.toml",
        "[[rule]]\naction = \"login\"",
        "[[rule]]\naction = \"deploy\"\nneed = [{ from = \"admins\" }]\n\n[[rule]]\naction = \"login\"",
    )]);
    let trust = load(&all);
    let found = explain(&trust, &all, &request("deploy", "payments/prod", "github:sam"), &[], now());
    assert_eq!(found.place.as_ref().unwrap().to_string(), "policy.toml:6:1");
    let others: Vec<String> =
        found.others.iter().map(|other| format!("{}: {}", other.rule, other.why)).collect();
    let expected = [
        "deploy on payments/* (break-glass): is for break-glass",
        "deploy on vault/**: covers other resources",
        "deploy on staging/**: covers other resources",
        "deploy on night/**: covers other resources",
        "deploy on **: covers it too, and is less specific",
    ];
    assert_eq!(others, expected);
    assert_eq!(found.unpinned, ["commit"]);
    // An action of Touchgate's own is covered by rules that spell it out.
    let update = explain(&trust, &all, &request("touchgate.trust.revoke", "trust", "github:sam"), &[], now());
    assert!(update.rule.is_none() && matches!(update.not_admitted, Some(NotAdmitted::NoRule { .. })));
    all = files(&[]);
    let trust = load(&all);
    let none = explain(&trust, &all, &request("deply", "payments/prod", "github:sam"), &[], now());
    assert_eq!((none.rule.is_none(), none.meant.as_deref()), (true, Some("deploy")));
}

#[test]
fn it_says_who_can_still_approve_and_who_cannot_and_why() {
    let all = files(&[]);
    let trust = load(&all);
    let by = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let asked = request("deploy", "payments/prod", "github:alice");
    let found = explain(&trust, &all, &asked, &by(&["carol"]), now());
    assert_eq!(found.requester.unwrap().name, "alice");
    let [release, security] = &found.slots[..] else { panic!("{:?}", found.slots) };
    assert_eq!((&release.filled[..], found.missing, found.possible), (&by(&["carol"])[..], 2, true));
    assert!(release.can.contains(&"dave".to_owned()) && !release.can.contains(&"alice".to_owned()));
    let why = |name: &str| release.cannot.iter().find(|(who, _)| who == name).map(|(_, why)| why.clone());
    assert_eq!(why("alice"), Some(Hindrance::Asks));
    assert_eq!(why("pam"), Some(Hindrance::Weak { found: Tier::Signed, needed: Tier::Declared }));
    assert!(release.cannot.iter().any(|(_, why)| matches!(why, Hindrance::NoGoodCertificate { .. })));
    assert_eq!(security.can, ["bob"]);

    // Bob is the only one of security: he fills that slot, whatever else he could fill.
    let found = explain(&trust, &all, &asked, &by(&["bob", "carol"]), now());
    assert_eq!((found.missing, &found.slots[1].filled[..]), (1, &by(&["bob"])[..]));
    // And if it is he who asks, nobody can.
    let stuck = explain(&trust, &all, &request("deploy", "payments/prod", "github:bob"), &[], now());
    assert!(!stuck.possible && stuck.slots[1].can.is_empty());
    assert_eq!(stuck.slots[1].cannot, [("bob".to_owned(), Hindrance::Asks)]);
    let met = explain(&trust, &all, &asked, &by(&["bob", "carol", "dave"]), now());
    assert_eq!((met.missing, met.possible), (0, true));
    // A requester whom nobody knows is refused before any of that.
    let unknown = explain(&trust, &all, &request("deploy", "staging/x", "github:nobody"), &[], now());
    assert!(matches!(unknown.not_admitted, Some(NotAdmitted::UnknownRequester { .. })));
    // Attested is asked for, and nobody is.
    let vault = explain(&trust, &all, &request("deploy", "vault/a", "github:sam"), &[], now());
    assert!(!vault.possible && vault.slots[0].can.is_empty());
}
