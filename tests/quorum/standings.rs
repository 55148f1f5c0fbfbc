//! Who may still help, for people to look at; and what holds under the next version of trust.

use touchgate::request::Request;
use touchgate::trust::quorum::{CannotHelp, Circumstances, MAX_NAMED, refusal_ends, standing, still_given};
use touchgate::verify::{Approval, Tier};

use crate::scene::{Draft, NOW, approvals, issue, refused, request, rule, time};

const TWO_AND_ONE: &str = "{ from = \"release\", count = 2 }, { from = \"security\" }";

#[test]
fn it_names_who_can_and_why_others_cannot() {
    let rules = rule("r", TWO_AND_ONE).replace("signed", "declared");
    let draft = Draft::new(&rules)
        .people(&["alice", "carol", "tina", "frank", "pam", "ivan"], &["release"])
        .people(&["bob", "uma"], &["release", "security"])
        .person("sam", &["release"], &[])
        .people(&["erin"], &["others"]);
    let trust = draft.trust();
    let challenge = issue(&trust, request("r", "github:alice"), 1);
    let set_aside = ["frank".to_owned()];
    let circumstances = Circumstances { set_aside: &set_aside, debts: &[] };
    let at = |names: &[&str]| {
        let found = approvals(&trust, &challenge, names);
        let standing = standing(&trust, &challenge.request, &found, circumstances, time(NOW)).unwrap();
        let can: Vec<String> = standing.can.iter().map(|name| (*name).to_owned()).collect();
        let cannot: Vec<(String, CannotHelp)> =
            standing.cannot.iter().map(|(name, why)| ((*name).to_owned(), why.clone())).collect();
        (standing.missing, standing.from, can, cannot, standing.can_be_met)
    };
    let (missing, from, can, cannot, can_be_met) = at(&[]);
    assert_eq!((missing, from), (3, vec!["release".to_owned(), "security".to_owned()]));
    assert_eq!(can, ["bob", "carol", "tina", "uma"]);
    let why =
        |name: &str| cannot.iter().find(|(other, _)| other == name).map(|(_, why)| why.clone()).unwrap();
    assert_eq!(why("alice"), CannotHelp::Asked);
    assert_eq!(why("frank"), CannotHelp::SetAside);
    assert_eq!(why("pam"), CannotHelp::Tier { found: Tier::Signed, needed: Tier::Declared });
    assert_eq!(why("sam"), CannotHelp::NoToken);
    assert!(matches!(why("ivan"), CannotHelp::Certificate(reason) if reason.contains("expired")));
    assert!(can_be_met && cannot.iter().all(|(name, _)| name != "erin"));
    // Bob sits in release or in security, as it suits: both are open to others.
    let (missing, from, can, cannot, _) = at(&["bob", "carol"]);
    assert_eq!((missing, from), (1, vec!["release".to_owned(), "security".to_owned()]));
    assert_eq!(can, ["tina", "uma"]);
    assert!(cannot.contains(&("bob".into(), CannotHelp::Approved)));
    // With release full and nobody to move, only security helps.
    let (missing, from, can, cannot, _) = at(&["carol", "tina"]);
    assert_eq!((missing, from), (1, vec!["security".to_owned()]));
    assert_eq!(can, ["bob", "uma"]);
    assert!(!cannot.iter().any(|(_, why)| *why == CannotHelp::NotNeeded));
    let (missing, _, can, cannot, can_be_met) = at(&["carol", "tina", "uma"]);
    assert_eq!((missing, can.len(), can_be_met), (0, 0, true));
    assert!(cannot.contains(&("bob".into(), CannotHelp::NotNeeded)));
}

#[test]
fn a_long_list_is_cut() {
    let mut draft = Draft::new(&rule("r", "{ from = \"release\" }")).people(&["alice"], &["release"]);
    for number in 0..2 * MAX_NAMED {
        draft = draft.person(&format!("p{number:03}"), &["release"], &[]);
    }
    let trust = draft.people(&["tina"], &["release"]).trust();
    let asked: Request = request("r", "github:alice");
    let standing = standing(&trust, &asked, &[], Circumstances::default(), time(NOW)).unwrap();
    assert_eq!((standing.can, standing.cannot.len()), (vec!["tina"], MAX_NAMED));
}

#[test]
fn a_new_version_takes_back_what_it_would_not_give() {
    let draft = Draft::new(&rule("r", "{ from = \"release\", count = 2 }"))
        .people(&["alice", "bob", "carol", "tina"], &["release"]);
    let old = draft.trust();
    let challenge = issue(&old, request("r", "github:alice"), 1);
    let found = approvals(&old, &challenge, &["bob", "carol"]);
    let given = |draft: &Draft| {
        let new = draft.clone().with("policy.toml", "version = 1", "version = 2").trust();
        let answers = found.iter().map(Approval::answer);
        still_given(&new, &challenge, answers, Circumstances::default(), time("2026-11-21T00:00:00Z"))
    };
    assert!(given(&draft));
    assert!(given(&draft.clone().with("policy.toml", "count = 2", "count = 1")));
    // One more is needed, one has left the group, one is who asked, a token went, the rule went, more touch is needed.
    assert!(!given(&draft.clone().with("policy.toml", "count = 2", "count = 3")));
    assert!(!given(&draft.clone().with("people/bob.toml", "release", "others")));
    let alias = "\"github:robot\", \"github:bob\"";
    assert!(given(&draft.clone().with("people/bob.toml", "\"github:bob\"", alias)));
    let mut asked_by_bob = draft.clone().with("people/alice.toml", "github:alice", "github:al");
    asked_by_bob = asked_by_bob.with("people/bob.toml", "github:bob", "github:alice");
    assert!(!given(&asked_by_bob));
    let mut gone = draft.clone();
    gone.0.remove("people/carol.toml");
    gone.0.remove("tokens/1003.asc");
    assert!(!given(&gone));
    assert!(!given(&draft.clone().with("policy.toml", "\"r\"", "\"q\"")));
    let stronger = rule("r", "{ from = \"release\", count = 2 }").replace("tier = \"signed\"\n", "");
    let mut policy = draft.clone();
    policy.0.insert("policy.toml".into(), Draft::new(&stronger).0["policy.toml"].clone());
    assert!(!given(&policy));
    assert!(!given(&draft.clone().with("policy.toml", "2027-03-01", "2026-11-20")));
    assert!(!given(&draft.clone().with("policy.toml", "approve.example.com", "other.example.com")));
    // A refusal of what was asked under the old one ends nothing under the new.
    let refusal = refused(&old, &challenge, "bob").unwrap();
    let new = draft.with("policy.toml", "version = 1", "version = 2").trust();
    let ends = |trust| refusal_ends(trust, &challenge, &refusal, Circumstances::default(), time(NOW));
    assert!(ends(&old) && !ends(&new));
}

/// What their touch was worth when they approved does not count any more.
#[test]
fn a_new_version_takes_back_what_a_weaker_token_gave() {
    let rules = rule("r", "{ from = \"release\" }").replace("signed", "declared");
    let draft = Draft::new(&rules).people(&["alice", "bob"], &["release"]);
    let old = draft.trust();
    let challenge = issue(&old, request("r", "github:alice"), 1);
    let found = approvals(&old, &challenge, &["bob"]);
    let weaker = draft.clone().with("people/bob.toml", "touch  = \"declared\"", "").trust();
    let given = |trust| {
        let answers = found.iter().map(Approval::answer);
        still_given(trust, &challenge, answers, Circumstances::default(), time(NOW))
    };
    assert!(given(&old) && !given(&weaker));
}
