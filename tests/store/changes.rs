//! Each part of a change: what it demands, what is there afterwards, and that nothing is where it was denied.

use std::collections::BTreeMap;

use touchgate::audit::Entry;
use touchgate::audit::entry::Outcome;
use touchgate::challenge::TrustVersion;
use touchgate::digest::Sha256Digest;
use touchgate::statement::Decision;
use touchgate::store::{CommitError, GrantRecord, Op, Position, Store, Unusable};
use touchgate::trust::Files;
use touchgate::trust::versions::digest;
use touchgate::verify::Counter;

use super::world::*;

/// Denied as told, and nothing was written: neither its own first part, which would have been, nor a line of the log.
fn denied(store: &dyn Store, change: &[Op], expected: &str) {
    let size = store.checkpoint().unwrap().checkpoint().size;
    let probe = [open(9_999_999), asked(9_999_999)];
    let change: Vec<Op> = probe.iter().chain(change).cloned().collect();
    let error = store.commit(&change).unwrap_err();
    assert_eq!(format!("{error:?}").split([' ', '{']).next().unwrap(), expected, "{error}");
    assert_eq!(store.request(&id(9_999_999)).unwrap(), None);
    assert_eq!(store.checkpoint().unwrap().checkpoint().size, size);
}

#[test]
fn a_request_is_opened_answered_and_closed() {
    let home = Home::new();
    let store = home.open();
    assert_eq!(store.request(&id(1)).unwrap(), None);
    assert_eq!(store.commit(&[open(1), asked(1)]).unwrap(), [Position(0)]);
    assert_eq!(store.commit(&[open(2)]).unwrap(), []);
    assert_eq!(store.open_requests().unwrap(), [id(1), id(2)]);
    let mut with_counter = answer(1, "bob", &Decision::Approve);
    with_counter.counter = Some("-----BEGIN CERTIFICATE-----\n".to_owned());
    let second = Op::Step { request: id(1), revision: 1, answer: Box::new(with_counter.clone()) };
    store.commit(&[step(1, 0, "alice"), second, close(1, 2, Outcome::Approved)]).unwrap();
    let found = store.request(&id(1)).unwrap().unwrap();
    assert_eq!(found.challenge, challenge(1));
    assert_eq!((found.revision, found.outcome), (2, Some(Outcome::Approved)));
    assert_eq!(found.answers, [answer(1, "alice", &Decision::Approve), with_counter]);
    assert_eq!(store.open_requests().unwrap(), [id(2)]);
    // All of it is there for whoever opens it next.
    drop(store);
    assert_eq!(home.open().request(&id(1)).unwrap(), Some(found));
}

#[test]
fn every_end_is_told_apart() {
    let home = Home::new();
    let store = home.open();
    let ends =
        [Outcome::Approved, Outcome::Expired, Outcome::Refused, Outcome::Superseded, Outcome::Withdrawn];
    for (number, outcome) in (1..).zip(ends) {
        store.commit(&[open(number), close(number, 0, outcome)]).unwrap();
        assert_eq!(store.request(&id(number)).unwrap().unwrap().outcome, Some(outcome));
    }
}

#[test]
fn a_name_is_new_and_a_short_code_is_one_open_requests() {
    let home = Home::new();
    let store = home.open();
    store.commit(&[open(1)]).unwrap();
    denied(&store, &[open(1)], "Overtaken");
    // Another request whose last 25 bits are the same.
    let twin = 1 + (1 << 25);
    assert_eq!(id(1).short_code(), id(twin).short_code());
    denied(&store, &[open(twin)], "Overtaken");
    store.commit(&[close(1, 0, Outcome::Expired)]).unwrap();
    store.commit(&[open(twin)]).unwrap();
    denied(&store, &[open(1)], "Overtaken");
}

#[test]
fn a_request_is_closed_once_at_the_revision_that_was_looked_at() {
    let home = Home::new();
    let store = home.open();
    store.commit(&[open(1)]).unwrap();
    denied(&store, &[close(1, 1, Outcome::Refused)], "Overtaken");
    store.commit(&[step(1, 0, "alice")]).unwrap();
    denied(&store, &[close(1, 0, Outcome::Refused)], "Overtaken");
    denied(&store, &[close(2, 0, Outcome::Refused)], "Overtaken");
    store.commit(&[close(1, 1, Outcome::Refused)]).unwrap();
    denied(&store, &[close(1, 1, Outcome::Refused)], "Overtaken");
    denied(&store, &[close(1, 1, Outcome::Approved)], "Overtaken");
}

#[test]
fn an_answer_is_given_once_at_the_revision_that_was_looked_at() {
    let home = Home::new();
    let store = home.open();
    denied(&store, &[step(1, 0, "alice")], "Overtaken");
    store.commit(&[open(1)]).unwrap();
    denied(&store, &[step(1, 1, "alice")], "Overtaken");
    store.commit(&[step(1, 0, "alice")]).unwrap();
    denied(&store, &[step(1, 0, "bob")], "Overtaken");
    for revision in [0, 1, 2] {
        denied(&store, &[step(1, revision, "alice")], "Again");
    }
    // Another decision by the same person is another answer, also after the end.
    store.commit(&[close(1, 1, Outcome::Approved)]).unwrap();
    let refusal = Box::new(answer(1, "alice", &Decision::Refuse { because: None }));
    store.commit(&[Op::Step { request: id(1), revision: 1, answer: refusal.clone() }]).unwrap();
    denied(&store, &[Op::Step { request: id(1), revision: 2, answer: refusal }], "Again");
    assert_eq!(store.request(&id(1)).unwrap().unwrap().answers.len(), 2);
}

#[test]
fn what_is_larger_than_any_is_not_kept() {
    let home = Home::new();
    let store = home.open();
    store.commit(&[open(1)]).unwrap();
    let change = |change: fn(&mut touchgate::store::AnswerRecord)| {
        let mut answer = answer(1, "alice", &Decision::Approve);
        change(&mut answer);
        [Op::Step { request: id(1), revision: 0, answer: Box::new(answer) }]
    };
    denied(&store, &change(|answer| answer.response.statement = vec![b'a'; 4097]), "Store(StoreError");
    denied(&store, &change(|answer| answer.response.signature = vec![b'a'; 4097]), "Store(StoreError");
    denied(&store, &change(|answer| answer.counter = Some("a".repeat(1 << 20))), "Store(StoreError");
    let wide = GrantRecord { claims: "a".repeat(1 << 20), ..record(1, 1) };
    denied(&store, &[Op::Grant(wide)], "Store(StoreError");
    let line =
        Entry::Rejected { at: at(0), request: id(1), person: "a".repeat(65_536), code: "altered".to_owned() };
    denied(&store, &[Op::Log(line)], "Store(StoreError");
}

#[test]
fn a_rejection_is_written_once() {
    let home = Home::new();
    let store = home.open();
    let once = |person: &str, code| Op::Once { request: id(1), person: person.to_owned(), code };
    denied(&store, &[once("alice", "altered")], "Overtaken");
    store.commit(&[open(1), once("alice", "altered")]).unwrap();
    denied(&store, &[once("alice", "altered")], "Again");
    store.commit(&[once("alice", "expired"), once("bob", "altered")]).unwrap();
}

#[test]
fn a_counter_goes_on_from_what_was_looked_at() {
    let home = Home::new();
    let store = home.open();
    let count = |before: Option<Counter>, after| Op::Counter { key: key(1), before, after };
    assert_eq!(store.counter(&key(1)).unwrap(), None);
    denied(&store, &[count(Some(counter(1)), counter(2))], "Overtaken");
    store.commit(&[count(None, counter(5))]).unwrap();
    denied(&store, &[count(None, counter(6))], "Overtaken");
    for other in [
        Counter { highest: 4, ..counter(5) },
        Counter { unseen: 0, ..counter(5) },
        Counter { reported: 0, ..counter(5) },
        Counter { at: at(0), ..counter(5) },
    ] {
        denied(&store, &[count(Some(other), counter(6))], "Overtaken");
    }
    let past = Counter { reported: u64::MAX, ..counter(6) };
    denied(&store, &[count(Some(counter(5)), past)], "Store(StoreError");
    store.commit(&[count(Some(counter(5)), counter(6)), count(Some(counter(6)), counter(7))]).unwrap();
    assert_eq!(store.counter(&key(1)).unwrap(), Some(counter(7)));
    assert_eq!(store.counter(&key(2)).unwrap(), None);
}

#[test]
fn a_debt_is_made_once_and_settled_once() {
    let home = Home::new();
    let store = home.open();
    let resource = || "payments/prod".parse().unwrap();
    let debt = |number| Op::Debt { request: id(number), resource: resource() };
    denied(&store, &[debt(1)], "Overtaken");
    denied(&store, &[Op::Settle { request: id(1) }], "Overtaken");
    store.commit(&[open(1), open(2), debt(1), debt(2)]).unwrap();
    denied(&store, &[debt(1)], "Overtaken");
    assert_eq!(store.debts(&resource()).unwrap(), [id(1), id(2)]);
    assert_eq!(store.debts(&"payments/test".parse().unwrap()).unwrap(), []);
    store.commit(&[Op::Settle { request: id(1) }]).unwrap();
    denied(&store, &[Op::Settle { request: id(1) }], "Overtaken");
    denied(&store, &[debt(1)], "Overtaken");
    assert_eq!(store.debts(&resource()).unwrap(), [id(2)]);
}

#[test]
fn a_grant_is_made_once_and_used_as_often_as_it_says() {
    let home = Home::new();
    let store = home.open();
    denied(&store, &[Op::Grant(record(1, 2))], "Overtaken");
    store.commit(&[open(1), Op::Grant(record(1, 2))]).unwrap();
    denied(&store, &[Op::Grant(record(1, 2))], "Overtaken");
    denied(&store, &[Op::Grant(GrantRecord { uses: 0, ..record(1, 1) })], "Store(StoreError");
    denied(&store, &[Op::Grant(GrantRecord { used: 3, ..record(1, 2) })], "Store(StoreError");
    assert_eq!(store.grant(&id(1)).unwrap(), Some(record(1, 2)));
    assert_eq!(store.grant(&id(2)).unwrap(), None);
    denied(&store, &[spend(2, 1)], "Grant(Unknown)");
    for count in [0, 2, 3] {
        denied(&store, &[spend(1, count)], "Overtaken");
    }
    store.commit(&[spend(1, 1)]).unwrap();
    denied(&store, &[spend(1, 1)], "Overtaken");
    assert_eq!(store.live_grants(at(100)).unwrap(), [GrantRecord { used: 1, ..record(1, 2) }]);
    let late = |seconds| Op::Use { count: 2, grant: id(1), at: at(seconds) };
    denied(&store, &[late(1000)], "Grant(Expired)");
    store.commit(&[late(999)]).unwrap();
    denied(&store, &[spend(1, 3)], "Grant(Spent)");
    assert_eq!(store.live_grants(at(100)).unwrap(), []);
}

#[test]
fn a_grant_is_revoked_once_and_unless_it_was_used_meanwhile() {
    let home = Home::new();
    let store = home.open();
    let revoke = |number, used| Op::Revoke { grant: id(number), used, at: at(200) };
    denied(&store, &[revoke(1, 0)], "Grant(Unknown)");
    let made = [open(1), open(2), Op::Grant(record(1, 2)), Op::Grant(record(2, 2))];
    store.commit(&made).unwrap();
    store.commit(&[revoke(1, 0)]).unwrap();
    denied(&store, &[revoke(1, 0)], "Grant(Revoked)");
    denied(&store, &[spend(1, 1)], "Grant(Revoked)");
    assert_eq!(store.grant(&id(1)).unwrap().unwrap().revoked, Some(at(200)));
    store.commit(&[spend(2, 1)]).unwrap();
    denied(&store, &[revoke(2, 0)], "Overtaken");
    assert_eq!(store.live_grants(at(100)).unwrap().len(), 1);
    store.commit(&[revoke(2, 1)]).unwrap();
    assert_eq!(store.live_grants(at(100)).unwrap(), []);
}

#[test]
fn live_grants_are_those_that_are_worth_something() {
    let home = Home::new();
    let store = home.open();
    for number in 1..=3 {
        let record = GrantRecord { expires: at(1000 * number), ..record(number, 1) };
        store.commit(&[open(number), Op::Grant(record)]).unwrap();
    }
    let live = |now| {
        let grants = store.live_grants(at(now)).unwrap();
        grants.into_iter().map(|grant| grant.request).collect::<Vec<_>>()
    };
    assert_eq!(live(999), [id(1), id(2), id(3)]);
    assert_eq!(live(1000), [id(2), id(3)]);
    assert_eq!(live(3000), []);
}

fn version(number: u64, text: &str) -> (TrustVersion, Files) {
    let files = BTreeMap::from([
        ("policy.toml".to_owned(), text.as_bytes().to_vec()),
        ("people/alice.toml".to_owned(), b"alice".to_vec()),
    ]);
    (TrustVersion { number, digest: digest(&files) }, files)
}

#[test]
fn a_version_of_trust_follows_the_newest() {
    let home = Home::new();
    let store = home.open();
    let trust = |before: Option<TrustVersion>, (version, files): &(TrustVersion, Files)| {
        [Op::Trust { before, version: *version, files: files.clone() }]
    };
    let (seven, eight, nine) = (version(7, "seven"), version(8, "eight"), version(9, "nine"));
    assert_eq!(store.trust().unwrap(), None);
    denied(&store, &trust(Some(seven.0), &eight), "Overtaken");
    store.commit(&trust(None, &seven)).unwrap();
    assert_eq!(store.trust().unwrap(), Some(seven.0));
    denied(&store, &trust(None, &eight), "Overtaken");
    denied(&store, &trust(Some(eight.0), &nine), "Overtaken");
    denied(&store, &trust(Some(seven.0), &seven), "Store(StoreError");
    denied(&store, &trust(Some(seven.0), &version(6, "six")), "Store(StoreError");
    let forged = (TrustVersion { digest: Sha256Digest::of(b"x"), ..eight.0 }, eight.1.clone());
    denied(&store, &trust(Some(seven.0), &forged), "Store(StoreError");
    store.commit(&trust(Some(seven.0), &eight)).unwrap();
    denied(&store, &trust(Some(seven.0), &nine), "Overtaken");
    assert_eq!(store.trust().unwrap(), Some(eight.0));
    // Both are kept, whole.
    assert_eq!(store.trust_files(&seven.0).unwrap(), Some(seven.1));
    assert_eq!(store.trust_files(&eight.0).unwrap(), Some(eight.1));
    assert_eq!(store.trust_files(&nine.0).unwrap(), None);
    assert_eq!(store.trust_files(&forged.0).unwrap(), None);
}

#[test]
fn one_part_that_is_denied_denies_the_change() {
    let home = Home::new();
    let store = home.open();
    store.commit(&[open(1), asked(1)]).unwrap();
    let mut change = approved(1, 1);
    change.push(spend(2, 1));
    assert!(matches!(store.commit(&change), Err(CommitError::Grant(Unusable::Unknown))));
    assert_eq!(store.request(&id(1)).unwrap().unwrap().revision, 0);
    assert_eq!(store.grant(&id(1)).unwrap(), None);
    assert_eq!(store.about(&id(1)).unwrap(), [Position(0)]);
    change.pop();
    assert_eq!(store.commit(&change).unwrap(), [Position(1), Position(2)]);
    assert_eq!(store.about(&id(1)).unwrap(), [Position(0), Position(1), Position(2)]);
}
