//! The whole log judged again: a true one is found true, and each thing that is wrong with another is named.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/case.rs"]
#[allow(dead_code)]
mod case;
#[path = "audit/gate.rs"]
mod gate;
#[path = "support/packets.rs"]
#[allow(dead_code)]
mod packets;
#[path = "support/people.rs"]
#[allow(dead_code)]
mod people;

use std::num::NonZeroUsize;

use gate::{Case, ENOUGH, Gate, at};
use packets::Recipe;
use touchgate::audit::SignedCheckpoint;
use touchgate::audit::entry::{Entry, Outcome};
use touchgate::audit::review::{Against, Finding, Review, Wrong, check_beginning, review};
use touchgate::challenge::{RequestId, TrustVersion};
use touchgate::digest::Sha256Digest;
use touchgate::response::armored;
use touchgate::statement::Decision;
use touchgate::store::{Op, Position, Store as _};
use touchgate::trust::{Files, Trust, revocation};

#[test]
fn a_true_log_is_found_true() {
    let gate = Gate::busy();
    let found = gate.review();
    assert_eq!(found.findings, []);
    assert_eq!((found.signatures, found.decisions, found.uses, found.trusts), (8, 2, 1, 1));
    assert_eq!(found.entries, 21);
    let newest = gate.store.checkpoint().unwrap();
    assert_eq!(found.root, Some(newest.checkpoint().root));
    assert_eq!(found.checkpoints, u64::try_from(gate.store.checkpoints(0, 100).unwrap().len()).unwrap());
    assert_eq!(Gate::empty().review().found, 0);
}

#[test]
fn what_others_kept_must_be_the_beginning() {
    let mut gate = Gate::new();
    let older = gate.store.checkpoint().unwrap();
    gate.grant();
    let newest = gate.store.checkpoint().unwrap();
    let found = gate.against(&[older.clone(), newest.clone()]);
    assert_eq!((found.kept, found.findings.len()), (2, 0));

    // The same key over another past, or over more than there is.
    let other = Gate::busy();
    let theirs = other.store.checkpoint().unwrap();
    let codes = |kept: &SignedCheckpoint| {
        let found = gate.against(std::slice::from_ref(kept));
        found.findings.iter().map(|finding| finding.wrong.code()).collect::<Vec<_>>()
    };
    assert_eq!(codes(&theirs), ["log-behind"]);
    let wrong = check_beginning(&gate.store, &theirs, newest.checkpoint());
    assert!(matches!(wrong, Err(Wrong::Behind { kept: 21, size: 6 })));
    let another = Gate::new();
    another.log(Entry::Trust { at: at(9), version: another.trust.version });
    assert_eq!(codes(&another.store.checkpoint().unwrap()), ["log-fork"]);
    assert!(check_beginning(&gate.store, &older, newest.checkpoint()).is_ok());
}

#[test]
fn a_changed_line_is_named() {
    for (sql, index) in [
        ("UPDATE log SET line = replace(line, 'bob', 'rob') WHERE size = 3", 2),
        ("UPDATE log SET line = line || ' ' WHERE size = 7", 6),
        ("UPDATE log SET line = '{}' WHERE size = 1", 0),
    ] {
        let gate = Gate::busy();
        gate.tamper(sql);
        let found = gate.review();
        let named = |finding: &&Finding| finding.wrong == Wrong::Leaf;
        let lines: Vec<_> = found.findings.iter().filter(named).map(|finding| finding.index).collect();
        assert_eq!(lines, [Some(index)], "{sql}: {:?}", found.findings);
        assert!(found.findings.iter().any(|finding| finding.wrong.code() == "log-root"));
    }
}

#[test]
fn changed_tables_are_noticed() {
    for (sql, code) in [
        ("UPDATE log SET nodes = zeroblob(32) WHERE size = (SELECT max(size) FROM log)", "log-tables"),
        ("UPDATE log SET note = replace(note, 'a', 'b') WHERE size = 3", "log-checkpoint"),
        ("UPDATE log SET note = (SELECT note FROM log WHERE size = 4) WHERE size = 3", "log-checkpoint"),
        ("UPDATE granted SET used = 0", "log-store"),
        ("UPDATE granted SET revoked = NULL", "log-store"),
        ("UPDATE granted SET expires = expires + 900", "log-store"),
        ("DELETE FROM granted WHERE used = 1", "log-store"),
        ("UPDATE request SET outcome = 'approved' WHERE outcome = 'refused'", "log-store"),
        ("UPDATE request SET outcome = NULL WHERE outcome = 'refused'", "log-store"),
        // Where the entries about a request stand: an answer, a use, and one of another request.
        ("DELETE FROM log_about WHERE size = 3", "log-store"),
        ("DELETE FROM log_about WHERE size = 7", "log-store"),
        ("INSERT INTO log_about SELECT request, 1 FROM granted WHERE used = 1", "log-store"),
        ("INSERT INTO log_about SELECT request, 21 FROM granted WHERE used = 1", "log-store"),
        ("UPDATE trust SET digest = zeroblob(32)", "log-store"),
        ("UPDATE content SET bytes = zeroblob(9)", "log-trust"),
    ] {
        for long in [false, true] {
            let gate = Gate::busy();
            if long {
                gate.go_on();
            }
            gate.tamper(&format!("{sql};"));
            let codes = gate.codes();
            assert!(codes.contains(&code), "{sql}, {long}: {codes:?}");
        }
    }
}

#[test]
fn a_grant_without_its_entry_is_noticed() {
    let mut gate = Gate::new();
    let mut case = gate.ask();
    ENOUGH.iter().for_each(|name| gate.answer(&mut case, name, Decision::Approve));
    gate.write(&[gate.close(&case, Outcome::Approved), Op::Grant(gate.sealed(&case).record())]);
    let found = gate.review();
    let text: Vec<_> = found.findings.iter().map(ToString::to_string).collect();
    assert!(
        text.iter().any(|text| text.contains("is open in the log, was approved in the store")),
        "{text:?}"
    );
    assert!(text.iter().any(|text| text.contains("is in the store alone")), "{text:?}");
}

#[test]
fn an_answer_is_verified_and_logged_as_it_is() {
    let mut gate = Gate::new();
    let case = gate.ask();
    let (_, good) = gate.judged(&case.challenge, "bob", Decision::Approve);
    type Change = fn(&mut serde_json::Value);
    let changes: [(&str, Change); 8] = [
        ("bad-signature", |e| {
            let text = e["statement"].as_str().unwrap().replace("approve\n", "refuse\n");
            (e["statement"], e["decision"]) = (text.into(), "refuse".into());
        }),
        ("person", |e| e["person"] = "carol".into()),
        ("decision", |e| e["decision"] = "refuse".into()),
        ("key", |e| e["key"] = "00".into()),
        ("serial", |e| e["serial"] = "7".into()),
        ("acr", |e| e["acr"] = "urn:touchgate:touch-attested".into()),
        ("request", |e| e["request"] = "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9".into()),
        ("creation-time", |e| e["at"] = "2026-11-20T04:01:30Z".into()),
    ];
    for (what, change) in changes {
        let mut value = serde_json::to_value(&good).unwrap();
        change(&mut value);
        gate.log(serde_json::from_value(value).unwrap());
        let found = gate.review();
        let last = found.findings.last().unwrap();
        assert_eq!((last.index, last.wrong.code()), (Some(found.entries - 1), "log-answer"), "{what}");
        assert!(found.findings.iter().all(|finding| finding.wrong.code() == "log-answer"), "{what}");
    }
    assert_eq!(gate.review().signatures, 0);
}

#[test]
fn what_was_not_decided_so_is_noticed() {
    type Change = fn(&mut serde_json::Value);
    let changes: [Change; 7] = [
        |e| e["by"] = serde_json::json!(["bob", "carol"]),
        |e| e["at"] = "2026-11-20T04:07:04Z".into(),
        |e| e["evidence"] = Sha256Digest::of(b"other").to_string().into(),
        |e| e["grant"]["exp"] = (e["grant"]["exp"].as_u64().unwrap() + 1).into(),
        |e| e["grant"]["step_up"]["uses"] = 2.into(),
        |e| e["grant"]["authorization_details"][0]["resource"] = "payments/test".into(),
        |e| e["grant"]["sub"] = "github:mallory".into(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut gate = Gate::new();
        let mut case = gate.ask();
        ENOUGH.iter().for_each(|name| gate.answer(&mut case, name, Decision::Approve));
        let mut value = serde_json::to_value(gate.sealed(&case).entry()).unwrap();
        change(&mut value);
        gate.decide(&case, serde_json::from_value(value).unwrap());
        assert!(gate.codes().contains(&"log-decision"), "change {number}: {:?}", gate.review().findings);
    }
    // Too few.
    let mut gate = Gate::new();
    let mut case = gate.ask();
    ENOUGH.iter().for_each(|name| gate.answer(&mut case, name, Decision::Approve));
    let entry = gate.sealed(&case).entry();
    let mut fewer = gate.ask();
    fewer.challenge = case.challenge.clone();
    let mut other = Gate::new();
    let mut again = other.ask();
    assert_eq!(again.challenge.id, case.challenge.id);
    ENOUGH[1..].iter().for_each(|name| other.answer(&mut again, name, Decision::Approve));
    other.log(entry);
    assert!(other.codes().contains(&"log-decision"), "{:?}", other.review().findings);
}

#[test]
fn nothing_stands_before_what_it_follows() {
    let unknown: RequestId = "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9".parse().unwrap();
    let mut gate = Gate::new();
    gate.log(Entry::Used { at: at(4), grant: unknown, count: 1 });
    gate.assert_order("nothing was granted as that before");
    gate.log(Entry::Revoked { at: at(4), grant: unknown, by: "bob".into(), because: None });
    gate.assert_order("nothing was granted");
    gate.log(Entry::Countersigned { at: at(4), request: unknown, settled_by: unknown });
    gate.assert_order("left no debt");
    gate.log(Entry::Rejected { at: at(4), request: unknown, person: "bob".into(), code: "tier".into() });
    gate.assert_order("was never asked");
    let case = Case { challenge: gate.challenge(), revision: 0, approvals: vec![], answers: vec![] };
    gate.log(gate.judged(&case.challenge, "bob", Decision::Approve).1);
    gate.assert_order("was never asked");
    gate.log(gate.ended(&case, Outcome::Withdrawn, &[], at(3)));
    gate.assert_order("was never asked");

    let mut gate = Gate::new();
    let case = gate.grant();
    let id = case.challenge.id;
    gate.log(Entry::Used { at: at(4), grant: id, count: 2 });
    gate.assert_order("it may be used 1 times");
    gate.log(gate.sealed(&case).entry());
    gate.assert_order("was decided before");
    gate.log(gate.judged(&case.challenge, "tina", Decision::Approve).1);
    gate.assert_order("was approved before this answer");
    gate.log(Entry::Asked { at: at(1), challenge: case.challenge.to_text() });
    gate.assert_order("was asked before");

    let mut gate = Gate::new();
    let id = gate.grant().challenge.id;
    gate.use_once(id);
    gate.log(Entry::Used { at: at(5), grant: id, count: 1 });
    gate.assert_order("it was used 1 times before");
    let id = gate.grant().challenge.id;
    gate.log(Entry::Used { at: at(100_000), grant: id, count: 1 });
    gate.assert_order("it expired");
    let id = gate.grant().challenge.id;
    gate.log(Entry::Revoked { at: at(4), grant: id, by: "bob".into(), because: None });
    gate.log(Entry::Used { at: at(4), grant: id, count: 1 });
    gate.assert_order("it was revoked before");
    gate.log(Entry::Revoked { at: at(4), grant: id, by: "bob".into(), because: None });
    gate.assert_order("was revoked before");
}

/// Of what ended long before nothing is kept in memory, and yet nothing is said of it that does not follow.
#[test]
fn what_was_put_away_is_brought_back() {
    let mut gate = Gate::busy();
    let used = gate.grant();
    gate.use_once(used.challenge.id);
    let refused = gate.ask();
    gate.write(&[
        gate.close(&refused, Outcome::Withdrawn),
        Op::Log(gate.ended(&refused, Outcome::Withdrawn, &[], at(3))),
    ]);
    gate.go_on();
    let id = used.challenge.id;
    let hide = || gate.tamper("DELETE FROM log_about WHERE size = (SELECT max(size) FROM log)");
    for (entry, words) in [
        (Entry::Used { at: at(4), grant: id, count: 1 }, "it was used 1 times before"),
        (gate.judged(&used.challenge, "bob", Decision::Approve).1, "was approved before this answer"),
        (gate.sealed(&used).entry(), "was decided before"),
        (Entry::Asked { at: at(1), challenge: refused.challenge.to_text() }, "was asked before"),
        (gate.ended(&refused, Outcome::Withdrawn, &[], at(3)), "was decided before"),
    ] {
        gate.log(entry);
        // What the store knows to come later is not put away.
        hide();
        gate.assert_order(words);
    }
}

/// A verifier may write of what ended long before, at any moment.
#[test]
fn what_comes_late_while_the_log_is_judged_is_in_order() {
    let mut gate = Gate::busy();
    let used = gate.grant();
    let id = used.challenge.id;
    gate.use_once(id);
    gate.go_on();
    let mut late = vec![
        (Entry::Rejected { at: at(4), request: id, person: "bob".into(), code: "tier".into() }, gate.ask()),
        (gate.judged(&used.challenge, "tina", Decision::Refuse { because: None }).1, gate.ask()),
    ];
    let found = beside(&gate, || {
        late.pop().into_iter().for_each(|(entry, other)| {
            gate.log(entry);
            // Has the store ahead of the log, so that this is followed.
            refuse(&gate, other);
        });
    });
    assert_eq!((found.findings, late.len()), (vec![], 0));
    assert_eq!(found.entries, gate.store.checkpoint().unwrap().checkpoint().size);
    assert_eq!(gate.review().findings, []);
}

/// Whoever owns the store hides from `audit show` what came after a decision.
#[test]
fn what_the_store_would_not_show_of_a_request_is_noticed() {
    for long in [false, true] {
        let mut gate = Gate::busy();
        let used = gate.grant();
        let id = used.challenge.id;
        gate.use_once(id);
        gate.log(Entry::Rejected { at: at(4), request: id, person: "bob".into(), code: "tier".into() });
        gate.log(gate.judged(&used.challenge, "tina", Decision::Refuse { because: None }).1);
        let last = gate.store.checkpoint().unwrap().checkpoint().size;
        if long {
            gate.go_on();
        }
        assert_eq!(gate.review().findings, []);
        gate.tamper(&format!("DELETE FROM log_about WHERE size = {last}"));
        let text: Vec<_> = gate.review().findings.iter().map(ToString::to_string).collect();
        let words = format!("the request {id} has 8 entries in the log, 7 in the store, the first 7 alike");
        assert_eq!(text, [format!("store and log disagree: {words}")]);
    }
}

/// Whoever owns the store leaves out where the decision stands, so that it could be made once more.
#[test]
fn what_the_store_would_not_give_back_whole_is_not_put_away() {
    let mut gate = Gate::busy();
    let used = gate.grant();
    gate.use_once(used.challenge.id);
    let about = gate.store.about(&used.challenge.id).unwrap();
    gate.go_on();
    let Position(decided) = about[about.len() - 2];
    gate.tamper(&format!("DELETE FROM log_about WHERE size > {decided}"));
    gate.log(gate.sealed(&used).entry());
    gate.assert_order("was decided before");
}

#[test]
fn requests_end_as_they_can_and_answers_count_once() {
    let mut gate = Gate::new();
    let mut case = gate.ask();
    gate.answer(&mut case, "bob", Decision::Approve);
    gate.log(gate.judged(&case.challenge, "bob", Decision::Approve).1);
    gate.assert_order("gave this answer");
    gate.log(gate.ended(&case, Outcome::Expired, &[], at(3)));
    gate.assert_order("it was open until");
    let case = gate.ask();
    gate.log(gate.ended(&case, Outcome::Superseded, &[], at(3)));
    gate.assert_order("no other version of trust");
    let case = gate.ask();
    gate.log(gate.ended(&case, Outcome::Refused, &["bob"], at(3)));
    gate.assert_order("nobody of that name refused");
    let case = gate.ask();
    gate.log(gate.ended(&case, Outcome::Approved, &["bob"], at(3)));
    assert!(gate.codes().contains(&"log-decision"));
    // Whoever refuses ends it, whatever else others say.
    let mut case = gate.ask();
    gate.answer(&mut case, "tina", Decision::Refuse { because: None });
    gate.log(gate.ended(&case, Outcome::Withdrawn, &["github:alice"], at(3)));
    gate.assert_order("tina refused before");
    // What is answered must be what was asked.
    let case = gate.ask();
    let mut other = gate.challenge();
    other.id = case.challenge.id;
    gate.log(gate.judged(&other, "bob", Decision::Approve).1);
    gate.assert_order("something else than what was asked");
    let another = gate.challenge().to_text();
    gate.log(Entry::Asked { at: at(5), challenge: another });
    gate.assert_order("asked at 2026-11-20T04:07:05Z, issued at");
}

/// Enough approvals, decided on by the log's owner in the very claims of a verifier, and one refusal among them.
#[test]
fn what_somebody_refused_is_granted_by_nobody() {
    let names = ["bob", "carol", "dave"];
    for turn in 0..names.len() {
        let mut gate = Gate::new();
        let mut case = gate.ask();
        for (place, name) in names.into_iter().enumerate() {
            if place == turn {
                gate.answer(&mut case, "tina", Decision::Refuse { because: None });
            }
            gate.answer(&mut case, name, Decision::Approve);
        }
        gate.decide(&case, gate.sealed(&case).entry());
        gate.assert_order("approved: tina refused before");
    }
}

#[test]
fn nothing_is_done_under_trust_that_was_replaced() {
    let mut gate = Gate::new();
    let mut case = gate.ask();
    ENOUGH.iter().for_each(|name| gate.answer(&mut case, name, Decision::Approve));
    let next = TrustVersion { number: 8, digest: Sha256Digest::of(b"next") };
    gate.log(Entry::Trust { at: at(3), version: next });
    gate.decide(&case, gate.sealed(&case).entry());
    gate.assert_order("while 8 sha256:");
    gate.log(gate.judged(&case.challenge, "tina", Decision::Refuse { because: None }).1);
    gate.assert_order("while 8 sha256:");
    gate.ask();
    gate.assert_order("while 8 sha256:");
    gate.log(Entry::Trust { at: at(3), version: gate.trust.version });
    gate.assert_order("version 7 of trust after version 8");
    let text: Vec<_> = gate.review().findings.iter().map(ToString::to_string).collect();
    assert!(text.iter().any(|text| text.contains("the files of version 8 are not kept")), "{text:?}");

    let mut gate = Gate::empty();
    gate.ask();
    gate.assert_order("never came into force");
}

/// Whoever has the log's key writes any version into it, and archives files that fit.
#[test]
fn versions_are_those_to_which_signed_updates_lead() {
    let gate = Gate::new();
    let made_up = |number: u64, audience: &str| {
        let mut files = gate.files.clone();
        let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
        let policy = policy.replace("version     = 7", &format!("version = {number} # {audience}"));
        files.insert("policy.toml".into(), policy.into_bytes());
        files
    };
    let version = |files: &Files| Trust::from_files(files).unwrap().version;
    let (own, forged) = (made_up(8, "theirs"), made_up(8, "mine"));
    let (seven, eight, nine) = (gate.trust.version, version(&own), made_up(9, "theirs"));
    let followed = |way: &[TrustVersion]| {
        let found = gate.along(way);
        let wrong = |found: &Finding| (found.index.unwrap(), found.wrong.code());
        (found.trusts, found.followed, found.findings.iter().map(wrong).collect::<Vec<_>>())
    };
    let forked = |index: u64| vec![(index, "log-trust-chain")];
    assert_eq!(followed(&[seven]), (1, 1, vec![]));
    // Older than the pin, or without one: not to be told.
    assert_eq!(followed(&[eight]), (1, 0, vec![]));
    assert_eq!(followed(&[]), (1, 0, vec![]));
    gate.trust_in_force(&forged, Some(seven));
    assert_eq!(followed(&[seven, version(&forged)]), (2, 2, vec![]));
    assert_eq!(followed(&[seven, eight]), (2, 1, forked(1)), "another of that number");
    assert_eq!(followed(&[seven]), (2, 1, vec![(1, "trust-behind")]), "further than the updates");
    gate.trust_in_force(&nine, Some(version(&forged)));
    assert_eq!(followed(&[seven, eight, version(&nine)]), (3, 2, forked(1)));
}

/// The gate's trust, with a rule by which admins revoke, as this version.
fn revocable(gate: &Gate, number: u64) -> Files {
    let mut files = gate.files.clone();
    let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
    let policy = policy.replace("version     = 7", &format!("version = {number}"));
    let rule = "[[rule]]\naction = \"touchgate.trust.revoke\"\ntier = \"declared\"\nneed = [{ from = \"admins\" }]\n";
    files.insert("policy.toml".into(), format!("{policy}{rule}").into_bytes());
    files
}

/// alice revokes what `whose` holds, under this trust.
fn revoked(trust: &Trust, whose: &str) -> Entry {
    let person = trust.roster.people().iter().find(|person| person.name == whose).unwrap();
    let tokens: Vec<_> = person.tokens.iter().collect();
    let asks = "github:alice".parse().unwrap();
    let asked = revocation::challenge(trust, person, &tokens, None, &asks, at(1), [9; 42]).unwrap();
    let statement = asked.decided(Decision::Approve).to_text().into_bytes();
    let mut key = people::signer("alice");
    let signature = Recipe::plain(&key, u32::try_from(at(2).seconds()).unwrap()).sign(&mut key, &statement);
    Entry::TokenRevoked {
        at: at(2),
        person: whose.to_owned(),
        keys: tokens.iter().map(|token| token.key.fingerprint().to_hex()).collect(),
        by: "alice".into(),
        statement: String::from_utf8(statement).unwrap(),
        signature: armored(&signature),
    }
}

/// In force under the rule by which admins revoke, and with other files kept as version 6, of which the log says
/// nothing.
fn revoking() -> (Gate, Trust) {
    let mut gate = Gate::empty();
    let made_up = revocable(&gate, 6);
    gate.files = revocable(&gate, 7);
    gate.trust = Trust::from_files(&gate.files).unwrap();
    let six = Trust::from_files(&made_up).unwrap();
    gate.write(&[Op::Trust { version: six.version, before: None, files: made_up }]);
    gate.trust_in_force(&gate.files, Some(six.version));
    (gate, six)
}

/// Whoever has the log's key archives files that let anybody revoke, and says of them in no entry that they came into
/// force, so that no update is asked for.
#[test]
fn tokens_are_revoked_under_the_trust_in_force() {
    let (gate, six) = revoking();
    gate.log(revoked(&gate.trust, "bob"));
    assert_eq!(gate.review().findings, []);
    gate.log(revoked(&six, "bob"));
    gate.assert_order("under trust 6 sha256:");
}

#[test]
fn what_a_revoked_token_approved_after_all_is_used_by_nobody() {
    let (mut gate, _) = revoking();
    let before = gate.grant().challenge.id;
    gate.log(revoked(&gate.trust, "bob"));
    gate.use_once(before);
    // A verifier that is answering at that moment may still write this, and revokes it.
    let after = gate.grant().challenge.id;
    assert_eq!(gate.review().findings, []);
    gate.use_once(after);
    gate.assert_order("a token that was revoked before had a say in it");
}

/// Reviews, and each time that all entries were followed `meanwhile` is done.
fn beside(gate: &Gate, mut meanwhile: impl FnMut()) -> Review {
    let against = Against::key(&gate.key, NonZeroUsize::MIN);
    review(&gate.store, &against, |done, size| {
        if done == size {
            meanwhile();
        }
    })
    .unwrap()
}

/// carol refuses, and that ends it.
fn refuse(gate: &Gate, mut case: Case) {
    gate.answer(&mut case, "carol", Decision::Refuse { because: None });
    let entry = gate.ended(&case, Outcome::Refused, &["carol"], at(3));
    gate.write(&[gate.close(&case, Outcome::Refused), Op::Log(entry)]);
}

#[test]
fn what_a_verifier_writes_meanwhile_is_followed_too() {
    for (times, tampered, codes) in [
        (1, false, &[][..]),
        (1, true, &["log-store"]),
        // What is ahead of the log each time is something else each time; what was tampered with is not.
        (30, false, &["log-busy"]),
        (30, true, &["log-store"]),
    ] {
        let mut gate = Gate::busy();
        let mut cases: Vec<Case> = (0..times).map(|_| gate.ask()).collect();
        if tampered {
            gate.tamper("UPDATE granted SET revoked = NULL");
        }
        let found = beside(&gate, || cases.pop().into_iter().for_each(|case| refuse(&gate, case)));
        let told: Vec<_> = found.findings.iter().map(|finding| finding.wrong.code()).collect();
        assert_eq!(told, codes, "{times}, {tampered}: {:?}", found.findings);
        if times == 1 {
            assert_eq!(found.entries, gate.store.checkpoint().unwrap().checkpoint().size);
        }
    }
}

#[test]
fn a_log_full_of_nonsense_is_told_of_briefly() {
    let gate = Gate::new();
    let unknown: RequestId = "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9".parse().unwrap();
    let entry = |count| Op::Log(Entry::Used { at: at(4), grant: unknown, count });
    gate.write(&(1..=150).map(entry).collect::<Vec<_>>());
    let found = gate.review();
    assert_eq!((found.findings.len(), found.found), (100, 150));
}
