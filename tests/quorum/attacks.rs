//! What somebody tries, and the step that stops it.

use touchgate::challenge::Challenge;
use touchgate::request::{Mode, Request};
use touchgate::statement::Decision;
use touchgate::trust::quorum::{Circumstances, NotMet, QuorumMet, decide, effective, refusal_ends};
use touchgate::trust::{Trust, TrustError};
use touchgate::verify::{Rejection, Verified, response};

use crate::scene::{
    Draft, NOW, approval, approvals, approved, decided, emergency, issue, judged, ledger, refused, request,
    rule, signed, time,
};

const TWO: &str = "{ from = \"release\", count = 2 }";
const TWO_AND_ONE: &str = "{ from = \"release\", count = 2 }, { from = \"security\" }";

/// An attack, where it is from, what stops it, and the try.
type Row = (&'static str, &'static str, &'static str, fn() -> String);

fn load(draft: &Draft) -> String {
    match draft.load() {
        Ok(_) => "nothing".into(),
        Err(error) => format!("load: {}", TrustError::code(&error)),
    }
}

fn verify<T>(found: Result<T, Rejection>) -> String {
    found.err().map_or("nothing".into(), |rejection| format!("verify: {}", rejection.code()))
}

fn decision(found: Result<QuorumMet, NotMet>) -> String {
    let stop = match found {
        Ok(_) => return "nothing".into(),
        Err(NotMet::Debt { .. }) => "debt".into(),
        Err(NotMet::Expired { .. }) => "expired".into(),
        Err(NotMet::Never { missing, .. }) => format!("never, {missing} missing"),
        Err(NotMet::NotAdmitted(error)) => Rejection::from(error).code().to_owned(),
        Err(NotMet::Open { missing, .. }) => format!("{missing} missing"),
        Err(NotMet::OtherTrust { .. }) => "other trust".into(),
        Err(NotMet::TrustExpired { .. }) => "trust expired".into(),
    };
    format!("decide: {stop}")
}

/// Alice asks, two of release are needed: bob, carol and tina.
fn usual() -> (Trust, Challenge) {
    let draft = Draft::new(&rule("r", TWO)).people(&["alice", "bob", "carol", "tina"], &["release"]);
    let trust = draft.trust();
    let challenge = issue(&trust, request("r", "github:alice"), 1);
    (trust, challenge)
}

/// Bob answers so, then so; carol approves. What is decided on what holds of it?
fn both(first: Decision, second: Decision) -> String {
    let (trust, challenge) = usual();
    let mut ledger = ledger(&challenge);
    let answers = [("bob", first), ("bob", second), ("carol", Decision::Approve)].map(|(name, decision)| {
        response(&signed(&challenge, name, decision, time(NOW)), &trust, &mut ledger, time(NOW)).unwrap()
    });
    let found = effective(answers);
    assert_eq!(found.refusals.len(), 1);
    decision(decided(&trust, &challenge, found.approvals))
}

const NO: Decision = Decision::Refuse { because: None };

/// Whether this refusal of the usual request ends it.
fn ends(name: &str, set_aside: &[&str]) -> String {
    let (trust, challenge) = usual();
    let refusal = match refused(&trust, &challenge, name) {
        Ok(refusal) => refusal,
        Err(rejection) => return verify::<()>(Err(rejection)),
    };
    let set_aside: Vec<String> = set_aside.iter().map(|name| (*name).to_owned()).collect();
    let circumstances = Circumstances { set_aside: &set_aside, debts: &[] };
    let ends = refusal_ends(&trust, &challenge, &refusal, circumstances, time(NOW));
    if ends { "nothing".into() } else { "refusal: ends nothing".into() }
}

/// Two people's files with these tokens of the team.
fn two_with(one: &str, other: &str) -> Draft {
    Draft::new(&rule("r", TWO)).person("x", &["release"], &[one]).person("y", &["release"], &[other])
}

const ROWS: &[Row] = &[
    ("one approval handed in three times", "A11", "decide: 1 missing", || {
        let (trust, challenge) = usual();
        let bob = approval(&trust, &challenge, "bob");
        decision(decided(&trust, &challenge, vec![bob.clone(), bob.clone(), bob]))
    }),
    ("the same answer sent twice", "A11", "verify: replayed", || {
        let (trust, challenge) = usual();
        let (answer, mut ledger) =
            (signed(&challenge, "bob", Decision::Approve, time(NOW)), ledger(&challenge));
        response(&answer, &trust, &mut ledger, time(NOW)).unwrap();
        verify(response(&answer, &trust, &mut ledger, time(NOW)))
    }),
    ("the same answer signed again, other bytes", "A11", "verify: replayed", || {
        let (trust, challenge) = usual();
        let mut ledger = ledger(&challenge);
        let [first, again] = ["2026-11-20T04:11:00Z", "2026-11-20T04:11:01Z"]
            .map(|at| signed(&challenge, "bob", Decision::Approve, time(at)));
        response(&first, &trust, &mut ledger, time(NOW)).unwrap();
        assert_ne!(first, again);
        verify(response(&again, &trust, &mut ledger, time(NOW)))
    }),
    ("two signatures of one person, neither recorded", "A11", "decide: 1 missing", || {
        let (trust, challenge) = usual();
        let [first, again] = ["2026-11-20T04:11:00Z", "2026-11-20T04:11:01Z"].map(|at| {
            let answer = signed(&challenge, "bob", Decision::Approve, time(at));
            match response(&answer, &trust, &mut ledger(&challenge), time(NOW)) {
                Ok(Verified::Approved(approval)) => approval,
                other => panic!("{other:?}"),
            }
        });
        decision(decided(&trust, &challenge, vec![first, again]))
    }),
    ("one person with three tokens", "A11", "decide: 1 missing", || {
        let draft = Draft::new(&rule("r", TWO)).people(&["alice", "dave"], &["release"]);
        let trust = draft.person("bob", &["release"], &["bob", "carol", "tina"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        decision(decided(&trust, &challenge, approvals(&trust, &challenge, &["bob", "carol", "tina"])))
    }),
    ("one person with three tokens, answering with each", "A11", "verify: replayed", || {
        let draft = Draft::new(&rule("r", TWO)).people(&["alice"], &["release"]);
        let trust = draft.person("bob", &["release"], &["bob", "carol"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        let mut ledger = ledger(&challenge);
        let [first, second] =
            ["bob", "carol"].map(|name| signed(&challenge, name, Decision::Approve, time(NOW)));
        response(&first, &trust, &mut ledger, time(NOW)).unwrap();
        verify(response(&second, &trust, &mut ledger, time(NOW)))
    }),
    ("one person in both groups", "A12", "decide: 2 missing", || {
        let draft = Draft::new(&rule("r", TWO_AND_ONE)).people(&["alice", "carol", "tina"], &["release"]);
        let trust = draft.people(&["bob", "uma"], &["release", "security"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        decision(decided(&trust, &challenge, approvals(&trust, &challenge, &["bob"])))
    }),
    ("one group named twice in a record", "A12", "decide: 1 missing", || {
        let draft = Draft::new(&rule("r", TWO)).people(&["alice", "carol"], &["release"]);
        let trust = draft.people(&["bob"], &["release", "release"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        decision(decided(&trust, &challenge, approvals(&trust, &challenge, &["bob"])))
    }),
    ("one person, two records with one identity", "A12", "load: duplicate", || {
        load(&two_with("bob", "carol").with("people/y.toml", "github:y", "github:x"))
    }),
    ("one token for two people", "A11", "load: duplicate", || load(&two_with("bob", "bob"))),
    ("one certificate under two serials", "A11", "load: duplicate", || {
        let mut draft = two_with("bob", "bob").with("people/y.toml", "1002", "4711");
        draft.0.insert("tokens/4711.asc".into(), draft.0["tokens/1002.asc"].clone());
        load(&draft)
    }),
    ("one key under two creation times", "A11", "load: duplicate", || {
        load(&crate::scene::redated(two_with("bob", "carol"), "y", "bob", "1003"))
    }),
    ("one key under two creation times, one person", "A11", "load: duplicate", || {
        let draft = Draft::new(&rule("r", TWO)).person("x", &["release"], &["bob", "carol"]);
        load(&crate::scene::redated(draft, "x", "bob", "1003"))
    }),
    ("subkey for one, primary key of the same certificate for another", "A11", "load: duplicate", || {
        let draft = two_with("alice", "alice");
        let (sub, primary) = crate::scene::keys_of("alice");
        let mut draft = draft.with("people/y.toml", "1001", "4711").with("people/y.toml", &sub, &primary);
        draft.0.insert("tokens/4711.asc".into(), draft.0["tokens/1001.asc"].clone());
        load(&draft)
    }),
    ("who asked approves", "A13", "verify: not-allowed", || {
        let (trust, challenge) = usual();
        verify(approved(&trust, &challenge, "alice"))
    }),
    ("who asked approves, having asked under another name of theirs", "A13", "verify: not-allowed", || {
        let (trust, _) = usual();
        let challenge = issue(&trust, request("r", "os:alice@build1"), 1);
        verify(approved(&trust, &challenge, "alice"))
    }),
    ("who asked approves with another token of theirs", "A13", "verify: not-allowed", || {
        let draft = Draft::new(&rule("r", TWO)).people(&["bob"], &["release"]);
        let trust = draft.person("alice", &["release"], &["alice", "carol"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        verify(approved(&trust, &challenge, "carol"))
    }),
    ("a workload that is on nobody's record asks", "A13", "decide: unknown-requester", || {
        let (trust, challenge) = usual();
        let asked = request("r", "github:repo/acme/x/ref/refs/heads/main");
        decision(decided(&trust, &Challenge { request: asked, ..challenge }, Vec::new()))
    }),
    ("a workload of one's own asks in somebody else's name", "A13", "verify: not-allowed", || {
        let (trust, _) = usual();
        let via = Some("os:bob@build1".parse().unwrap());
        let challenge = issue(&trust, Request { via, ..request("r", "github:alice") }, 1);
        verify(approved(&trust, &challenge, "bob"))
    }),
    ("an administrator approves their own request", "A13", "verify: not-allowed", || {
        let draft = Draft::new(&rule("r", TWO)).people(&["bob", "carol"], &["release"]);
        let trust = draft.people(&["alice"], &["release", "admins"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        verify(approved(&trust, &challenge, "alice"))
    }),
    ("who breaks the glass approves it", "A13, A14", "verify: not-allowed", || {
        let glass = rule("r", "{ from = \"release\" }") + "mode = \"break-glass\"\n";
        let trust = Draft::new(&glass).people(&["alice", "bob"], &["release"]).trust();
        let challenge = issue(&trust, emergency("r", "github:alice"), 1);
        verify(approved(&trust, &challenge, "alice"))
    }),
    ("who asked refuses somebody else's slot", "DESIGN 6", "verify: not-allowed", || ends("alice", &[])),
    ("an approval under trust that did not know who asked", "A13", "decide: other trust", || {
        let rules = rule("r", TWO) + "unattended = true\n";
        let before = Draft::new(&rules).people(&["bob", "carol"], &["release"]);
        let old = before.trust();
        let challenge = issue(&old, request("r", "github:robot"), 1);
        let found = approvals(&old, &challenge, &["bob", "carol"]);
        let new = before.with("people/bob.toml", "github:bob", "github:robot").trust();
        decision(decided(&new, &challenge, found))
    }),
    ("somebody else steps up", "DESIGN 6", "verify: not-allowed", || {
        let draft = Draft::new(&rule("r", "{ from = \"@requester\" }"));
        let trust = draft.people(&["alice", "bob"], &["release"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        verify(approved(&trust, &challenge, "bob"))
    }),
    ("a requester who steps up takes the other slot too", "DESIGN 6", "decide: 1 missing", || {
        let draft = Draft::new(&rule("r", "{ from = \"@requester\" }, { from = \"release\" }"));
        let trust = draft.people(&["alice", "bob"], &["release"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        decision(decided(&trust, &challenge, approvals(&trust, &challenge, &["alice"])))
    }),
    ("a group is emptied", "A12", "decide: never, 2 missing", || {
        let draft = Draft::new(&rule("r", "{ from = \"release\", count = 2 }"));
        let trust = draft.people(&["alice", "bob"], &["admins"]).trust();
        decision(decided(&trust, &issue(&trust, request("r", "github:alice"), 1), Vec::new()))
    }),
    ("a group of two, one of whom asks", "A12", "decide: never, 1 missing", || {
        let trust = Draft::new(&rule("r", TWO)).people(&["alice", "bob"], &["release"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        decision(decided(&trust, &challenge, approvals(&trust, &challenge, &["bob"])))
    }),
    ("a software key under a rule for touch", "A35", "verify: tier", || {
        let rules = rule("r", TWO).replace("signed", "declared");
        let trust = Draft::new(&rules).people(&["alice", "pam", "bob"], &["release"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        verify(approved(&trust, &challenge, "pam"))
    }),
    ("a declared touch where attested is asked for", "A35", "verify: tier", || {
        let rules = rule("r", TWO).replace("tier = \"signed\"\n", "");
        let trust = Draft::new(&rules).people(&["alice", "bob"], &["release"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        verify(approved(&trust, &challenge, "bob"))
    }),
    ("a refusal by a key too weak to approve", "A35", "verify: tier", || {
        let rules = rule("r", TWO).replace("signed", "declared");
        let trust = Draft::new(&rules).people(&["alice", "pam", "bob"], &["release"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        verify(refused(&trust, &challenge, "pam"))
    }),
    ("an emergency without a reason", "DESIGN 7", "verify: no-reason", || {
        let glass = rule("r", "{ from = \"release\" }") + "mode = \"break-glass\"\n";
        let trust = Draft::new(&glass).people(&["alice", "bob"], &["release"]).trust();
        let challenge = issue(&trust, emergency("r", "github:alice"), 1);
        let silent = Request { reason: None, ..challenge.request.clone() };
        verify(approved(&trust, &Challenge { request: silent, ..challenge }, "bob"))
    }),
    ("an ordinary rule is asked as an emergency", "A14", "verify: no-rule", || {
        let (trust, challenge) = usual();
        verify(approved(&trust, &Challenge { request: emergency("r", "github:alice"), ..challenge }, "bob"))
    }),
    ("the glass over trust itself", "A14", "load: bad-value", || {
        let glass = "[[rule]]\naction = \"touchgate.trust.update\"\nneed = [{ from = \"admins\" }]\nmode = \"break-glass\"\n";
        load(&Draft::new(glass))
    }),
    ("a wildcard rule for trust itself", "A14", "verify: no-rule", || {
        let draft =
            Draft::new("[[rule]]\naction = \"**\"\nneed = [{ from = \"release\" }]\ntier = \"signed\"\n");
        let trust = draft.people(&["alice", "bob"], &["release"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        let action = "touchgate.trust.revoke".parse().unwrap();
        let asked = Request { action, ..challenge.request.clone() };
        verify(approved(&trust, &Challenge { request: asked, ..challenge }, "bob"))
    }),
    ("an approval, then a refusal", "DESIGN 3", "decide: 1 missing", || both(Decision::Approve, NO)),
    ("a refusal, then an approval", "DESIGN 3", "decide: 1 missing", || both(NO, Decision::Approve)),
    ("an approval of another request", "A11", "decide: 1 missing", || {
        let (trust, challenge) = usual();
        let other = issue(&trust, request("r", "github:alice"), 2);
        let found = vec![approval(&trust, &challenge, "bob"), approval(&trust, &other, "carol")];
        decision(decided(&trust, &challenge, found))
    }),
    ("an answer to a request that this verifier did not issue", "A11", "verify: unknown-request", || {
        let (trust, challenge) = usual();
        let other = issue(&trust, request("r", "github:alice"), 2);
        let answer = signed(&other, "bob", Decision::Approve, time(NOW));
        verify(response(&answer, &trust, &mut ledger(&challenge), time(NOW)))
    }),
    ("the nonce of another request", "A11", "verify: altered", || {
        let (trust, challenge) = usual();
        let other = issue(&trust, request("r", "github:alice"), 2);
        let answer = signed(
            &Challenge { nonce: other.nonce, ..challenge.clone() },
            "bob",
            Decision::Approve,
            time(NOW),
        );
        verify(response(&answer, &trust, &mut ledger(&challenge), time(NOW)))
    }),
    ("approvals under the version before", "DESIGN 7", "decide: other trust", || {
        let draft = Draft::new(&rule("r", TWO)).people(&["alice", "bob", "carol"], &["release"]);
        let (old, new) = (draft.trust(), draft.with("policy.toml", "version = 1", "version = 2").trust());
        let challenge = issue(&old, request("r", "github:alice"), 1);
        decision(decided(&new, &challenge, approvals(&old, &challenge, &["bob", "carol"])))
    }),
    ("the same version number with other content", "DESIGN 7", "decide: other trust", || {
        let draft = Draft::new(&rule("r", TWO)).people(&["alice", "bob", "carol"], &["release"]);
        let (old, new) = (draft.trust(), draft.with("policy.toml", "count = 2", "count = 1").trust());
        let challenge = issue(&old, request("r", "github:alice"), 1);
        decision(decided(&new, &challenge, approvals(&old, &challenge, &["bob"])))
    }),
    ("an answer under the version before", "DESIGN 6", "verify: trust-version", || {
        let draft = Draft::new(&rule("r", TWO)).people(&["alice", "bob", "carol"], &["release"]);
        let (old, new) = (draft.trust(), draft.with("policy.toml", "version = 1", "version = 2").trust());
        verify(approved(&new, &issue(&old, request("r", "github:alice"), 1), "bob"))
    }),
    ("decided after the request expired", "DESIGN 3", "decide: expired", || {
        let (trust, challenge) = usual();
        let found = approvals(&trust, &challenge, &["bob", "carol"]);
        decision(decide(&trust, &challenge, found, Circumstances::default(), challenge.expires))
    }),
    ("decided after trust expired", "DESIGN 7", "decide: trust expired", || {
        let draft = Draft::new(&rule("r", TWO)).people(&["alice", "bob", "carol"], &["release"]);
        let trust = draft.with("policy.toml", "2027-03-01T00:00:00Z", "2026-11-20T04:13:00Z").trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        let found = approvals(&trust, &challenge, &["bob", "carol"]);
        decision(decide(&trust, &challenge, found, Circumstances::default(), time("2026-11-20T04:13:00Z")))
    }),
    ("decided after an approver's certificate expired", "DESIGN 6", "decide: 1 missing", || {
        // Vera's ends on 2026-12-15.
        let rules = rule("r", TWO) + "answer_within = \"31d\"\n";
        let trust = Draft::new(&rules).people(&["alice", "bob", "carol", "vera"], &["release"]).trust();
        let challenge = issue(&trust, request("r", "github:alice"), 1);
        let found = approvals(&trust, &challenge, &["bob", "vera"]);
        let early =
            decide(&trust, &challenge, found.clone(), Circumstances::default(), time("2026-12-14T00:00:00Z"));
        assert!(early.is_ok());
        decision(decide(&trust, &challenge, found, Circumstances::default(), time("2026-12-16T00:00:00Z")))
    }),
    ("an approval by somebody whom the update takes tokens from", "DESIGN 7", "decide: 1 missing", || {
        let (trust, challenge) = usual();
        let found = approvals(&trust, &challenge, &["bob", "carol"]);
        let set_aside = ["bob".to_owned()];
        let circumstances = Circumstances { set_aside: &set_aside, debts: &[] };
        decision(decide(&trust, &challenge, found, circumstances, time(NOW)))
    }),
    ("a refusal by somebody whom the update takes tokens from", "DESIGN 7", "refusal: ends nothing", || {
        ends("bob", &["bob"])
    }),
    ("a refusal by somebody in no group of the rule", "DESIGN 6", "verify: not-allowed", || {
        let trust =
            Draft::new(&rule("r", TWO)).people(&["alice"], &["release"]).people(&["bob"], &[]).trust();
        verify(refused(&trust, &issue(&trust, request("r", "github:alice"), 1), "bob"))
    }),
    ("a refusal of another request", "DESIGN 6", "refusal: ends nothing", || {
        let (trust, challenge) = usual();
        let other = issue(&trust, request("r", "github:alice"), 2);
        let refusal = refused(&trust, &other, "bob").unwrap();
        let ends = refusal_ends(&trust, &challenge, &refusal, Circumstances::default(), time(NOW));
        if ends { "nothing".into() } else { "refusal: ends nothing".into() }
    }),
];

#[test]
fn every_attack_is_stopped_where_it_says() {
    let tried: Vec<(&Row, String)> = ROWS.iter().map(|row| (row, row.3())).collect();
    let wrong: Vec<String> = tried
        .iter()
        .filter(|((_, _, stop, _), found)| found != stop)
        .map(|((name, _, stop, _), found)| format!("{name}: {stop} expected, found {found}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ROWS.len() >= 45);
}

/// What the attacks are tried on works when nobody attacks.
#[test]
fn two_others_may_and_one_of_them_may_end_it() {
    let (trust, challenge) = usual();
    let met = decided(&trust, &challenge, approvals(&trust, &challenge, &["bob", "carol"])).unwrap();
    let mut seated: Vec<&str> = met.seats().iter().map(|seat| seat.person.as_str()).collect();
    seated.sort_unstable();
    assert_eq!(seated, ["bob", "carol"]);
    assert_eq!(met.grant().uses, 1);
    assert_eq!(ends("bob", &[]), "nothing");
    assert_eq!(ends("bob", &["carol"]), "nothing");
    let night = rule("r", TWO) + "unattended = true\n";
    let trust = Draft::new(&night).people(&["bob", "carol"], &["release"]).trust();
    let challenge = issue(&trust, request("r", "github:robot"), 1);
    assert!(decided(&trust, &challenge, approvals(&trust, &challenge, &["bob", "carol"])).is_ok());
    assert!(judged(&trust, &challenge, "bob", NO).is_ok());
    assert_eq!(challenge.request.mode, Mode::Ordinary);
}
