//! Counters that came with answers, judged again in the log that has them.

use std::fs;
use std::num::NonZeroUsize;

use sequoia_openpgp::crypto::mpi;
use serde_json::Value;
use touchgate::audit::entry::Entry;
use touchgate::audit::review::{Against, Authorities, Review, review};
use touchgate::card::attestation::{ConfiguredRoot, read_certificates};
use touchgate::statement::Decision;
use touchgate::store::sqlite::Sqlite;
use touchgate::store::{AnswerRecord, Op, Store as _};
use touchgate::verify::{self, Presented, Verified};
use virtual_openpgp_card::attestation::{Authority, ChainShape, Flaw, Statement as Said};
use virtual_openpgp_card::{Algorithm, PublicKey, Slot};

use crate::gate::{Gate, at};
use crate::{json, ok, people};

const SHAPE: ChainShape = ChainShape::FourBelowRoot;

fn root() -> ConfiguredRoot {
    ConfiguredRoot::new("the test authority's", Authority::new(SHAPE).root().der()).unwrap()
}

/// What the token of `name` attests, with this serial, PEM.
fn attested(name: &str, serial: u32, signatures: u32, flaws: &[Flaw]) -> String {
    attested_by(SHAPE, name, serial, signatures, flaws)
}

fn attested_by(by: ChainShape, name: &str, serial: u32, signatures: u32, flaws: &[Flaw]) -> String {
    let point = match people::signer(name).public().mpis() {
        mpi::PublicKey::EdDSA { q, .. } => q.value()[1..].to_vec(),
        mpi::PublicKey::Ed25519 { a } => a.to_vec(),
        other => panic!("{other:?}"),
    };
    let key = PublicKey::Curve { algorithm: Algorithm::Ed25519, point };
    let said = Said { serial, signature_count: Some(signatures), ..Said::about(Slot::Signature) };
    let chain = Authority::new(by).attest_wrongly(&key, &said, flaws);
    [&chain.leaf, &chain.device].into_iter().chain(&chain.intermediates).map(|one| one.pem()).collect()
}

fn genuine(signatures: u32) -> String {
    attested("bob", 1002, signatures, &[])
}

/// bob approves, and a verifier takes his counter; what is logged of it is changed by `change`.
fn approve(gate: &mut Gate, counter: Option<&str>, change: &dyn Fn(&mut Value)) {
    let case = gate.ask();
    let (verified, entry) = gate.judged(&case.challenge, "bob", Decision::Approve);
    let Verified::Approved(approval) = verified else { panic!() };
    let answer = approval.answer();
    let before = gate.store.counter(answer.key()).unwrap();
    let mut value = serde_json::to_value(&entry).unwrap();
    let mut after = before.map(verify::Counter::answered);
    if let Some(pem) = counter {
        let presented = Presented::new(read_certificates(pem.as_bytes()).unwrap(), &[root()]);
        let (counted, counter) = verify::count(answer, &presented, &gate.trust, before, at(2)).unwrap();
        (value["counter"], value["signatures"]) = (pem.into(), counted.signatures.into());
        if let Some(unseen) = counted.unseen() {
            value["unseen"] = unseen.into();
        }
        after = Some(counter);
    }
    change(&mut value);
    let record = AnswerRecord {
        person: "bob".into(),
        decision: "approve",
        response: answer.response().clone(),
        counter: counter.map(str::to_owned),
        at: at(2),
    };
    let entry: Entry = serde_json::from_value(value).unwrap();
    let step = Op::Step { request: case.challenge.id, revision: 0, answer: Box::new(record) };
    let counted = after.map(|after| Op::Counter { key: answer.key().clone(), before, after });
    gate.write(&[vec![step, Op::Log(entry)], counted.into_iter().collect()].concat());
}

fn as_it_is(_: &mut Value) {}

/// Three answers with a counter, one without, and three signatures that nobody here saw.
fn counted() -> Gate {
    let mut gate = Gate::new();
    approve(&mut gate, None, &as_it_is);
    approve(&mut gate, Some(&genuine(41)), &as_it_is);
    approve(&mut gate, None, &as_it_is);
    approve(&mut gate, Some(&genuine(43)), &as_it_is);
    gate
}

/// On the word of a root that nobody has.
fn strange(signatures: u32) -> String {
    attested_by(ChainShape::TwoBelowRoot, "bob", 1002, signatures, &[])
}

fn judged(gate: &Gate, roots: &[ConfiguredRoot]) -> Review {
    let authorities = Authorities { intermediates: &[], roots };
    let against = Against { authorities, ..Against::key(&gate.key, NonZeroUsize::MIN) };
    review(&gate.store, &against, |_, _| {}).unwrap()
}

fn told(found: &Review) -> Vec<String> {
    found.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn what_tokens_counted_is_judged_again() {
    let mut gate = counted();
    approve(&mut gate, Some(&genuine(47)), &as_it_is);
    assert!(gate.store.lines(0, 100).unwrap().iter().any(|line| line.contains("\"unseen\":3")));
    let found = judged(&gate, &[root()]);
    assert_eq!((told(&found), found.counters, found.strange), (vec![], 3, 0));
    // Nobody takes the test authority for Yubico: what leads to it alone is left open.
    let found = judged(&gate, &[]);
    assert_eq!((told(&found), found.counters, found.strange), (vec![], 0, 3));
}

#[test]
fn a_counter_that_was_changed_in_the_log_is_found() {
    type Change = Box<dyn Fn(&mut Value)>;
    let other = |pem: String| -> Change { Box::new(move |entry| entry["counter"] = pem.clone().into()) };
    let changes: [(&str, Change); 10] = [
        ("(recorded): 46, 2 of them unseen,", Box::new(|entry| entry["unseen"] = 0.into())),
        ("(recorded): 46, 2 of them unseen,", Box::new(|entry| entry["signatures"] = 44.into())),
        ("(recorded)", Box::new(|entry| drop(entry.as_object_mut().unwrap().remove("counter")))),
        ("(recorded)", other(genuine(45))),
        ("(counter-went-back)", other(genuine(42))),
        ("(counter-before-signature)", other(genuine(43))),
        ("(counter-other-key)", other(attested("alice", 1002, 46, &[]))),
        ("(counter-other-serial)", other(attested("bob", 1003, 46, &[]))),
        ("(counter-not-believed)", other(attested("bob", 1002, 46, &[Flaw::LeafSignedByStranger]))),
        ("(counter-not-believed)", other("no certificate".into())),
    ];
    for (number, (reason, change)) in changes.into_iter().enumerate() {
        let mut gate = counted();
        approve(&mut gate, Some(&genuine(46)), &*change);
        let found = judged(&gate, &[root()]);
        let first = &found.findings.first().unwrap_or_else(|| panic!("{number}: nothing is found"));
        assert_eq!((first.index, first.wrong.code()), (Some(found.entries - 1), "log-counter"), "{number}");
        assert!(first.to_string().contains(reason), "{number}: {first}");
    }
}

/// One that leads to no known root is taken by its entry's word, and what that word says cannot be taken back.
#[test]
fn a_counter_under_a_made_up_root_hides_nothing() {
    let number = |key: &'static str, number: u32| move |entry: &mut Value| entry[key] = number.into();
    let strange_for = |gate: &mut Gate, change: &dyn Fn(&mut Value)| {
        approve(gate, Some(&genuine(47)), &|entry| {
            entry["counter"] = strange(9).into();
            change(entry);
        });
    };
    let mut gate = counted();
    strange_for(&mut gate, &as_it_is);
    approve(&mut gate, Some(&genuine(48)), &as_it_is);
    let found = judged(&gate, &[root()]);
    assert_eq!((told(&found), found.counters, found.strange), (vec![], 3, 1));
    // Neither which signatures were unseen, nor that those before or after went back.
    type Changed<'a> = (&'a str, &'a dyn Fn(&mut Value));
    let changes: [Changed<'_>; 4] = [
        ("(recorded): 47, 3 of them unseen,", &number("unseen", 0)),
        ("(recorded): 46, 2 of them unseen,", &number("signatures", 46)),
        ("(counter-went-back)", &number("signatures", 42)),
        ("(recorded)", &|entry| drop(entry.as_object_mut().unwrap().remove("signatures"))),
    ];
    for (reason, change) in changes {
        let mut gate = counted();
        strange_for(&mut gate, change);
        let found = judged(&gate, &[root()]);
        let first = found.findings.first().unwrap_or_else(|| panic!("{reason}: nothing is found"));
        assert!(first.to_string().contains(reason), "{first}");
    }
    let mut gate = counted();
    strange_for(&mut gate, &as_it_is);
    approve(&mut gate, Some(&genuine(48)), &|entry| entry["counter"] = genuine(46).into());
    let found = told(&judged(&gate, &[root()]));
    assert!(found[0].contains("(counter-went-back)"), "{found:?}");
    let mut gate = counted();
    strange_for(&mut gate, &as_it_is);
    gate.tamper("UPDATE counter SET unseen = 0");
    assert_eq!(judged(&gate, &[root()]).findings[0].wrong.code(), "log-store");
}

#[test]
fn a_counter_that_was_taken_out_or_changed_in_the_store_is_found() {
    let mut gate = counted();
    approve(&mut gate, Some(&genuine(46)), &|entry| {
        ["counter", "signatures", "unseen"]
            .iter()
            .for_each(|name| drop(entry.as_object_mut().unwrap().remove(*name)));
    });
    let found = told(&judged(&gate, &[root()]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("store and log disagree: the counter of the key "), "{found:?}");
    for sql in ["UPDATE counter SET highest = 40", "UPDATE counter SET unseen = 9", "DELETE FROM counter"] {
        let gate = counted();
        gate.tamper(sql);
        let found = judged(&gate, &[root()]);
        assert_eq!(found.findings.len(), 1, "{sql}");
        assert_eq!(found.findings[0].wrong.code(), "log-store", "{sql}");
    }
}

/// A key that answers by itself has its counter ahead of the log at each look.
#[test]
fn a_counter_that_goes_on_meanwhile_is_no_wrong_one() {
    for counting in [true, false] {
        let mut gate = counted();
        let (key, roots, mut signatures) = (gate.key.clone(), [root()], 43);
        let authorities = Authorities { intermediates: &[], roots: &roots };
        let against = Against { authorities, ..Against::key(&key, NonZeroUsize::MIN) };
        let store = Sqlite::open_to_read(&gate.state().join("store.db"), &key).unwrap();
        let found = review(&store, &against, |done, size| {
            if done == size {
                signatures += 1;
                approve(&mut gate, counting.then(|| genuine(signatures)).as_deref(), &as_it_is);
            }
        });
        let codes: Vec<_> = found.unwrap().findings.iter().map(|finding| finding.wrong.code()).collect();
        assert_eq!(codes, ["log-busy"], "{counting}");
    }
}

#[test]
fn a_root_of_ones_own_is_named() {
    let gate = counted();
    let (code, said) = json(&gate, &["verify"]);
    assert_eq!(
        (code, &said["counters"], &said["unchecked"]),
        (0, &0.into(), &serde_json::json!(["counter"]))
    );
    assert!(ok(&gate, &["verify"]).contains("not checked: 2 counters more"));
    fs::write(gate.directory.path().join("root.pem"), Authority::new(SHAPE).root().pem()).unwrap();
    let (code, said) = json(&gate, &["verify", "--root", "root.pem"]);
    assert_eq!((code, &said["counters"], &said["unchecked"]), (0, &2.into(), &serde_json::json!([])));
}
