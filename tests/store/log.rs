//! The log in the store: receipts, proofs and checkpoints, and that what was changed in it is caught.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use rusqlite::Connection;
use touchgate::audit::entry::Outcome;
use touchgate::audit::note::Signature;
use touchgate::audit::tree::{
    Hashes as _, Tree, consistency, inclusion, leaf_hash, root, verify_consistency, verify_inclusion,
};
use touchgate::audit::{Entry, LogSigner, SignedCheckpoint, WitnessKey, Witnesses};
use touchgate::challenge::RequestId;
use touchgate::store::sqlite::Sqlite;
use touchgate::store::{LogHashes, Op, Position, Store};

use super::world::*;

fn nobody() -> Witnesses {
    Witnesses::default()
}

/// A store with ten changes of one to five entries.
fn written() -> (Home, Sqlite) {
    let home = Home::new();
    let store = home.open();
    for number in 1..=10 {
        let mut change = vec![open(number), asked(number)];
        change.extend((0..number % 5).map(|_| decided(number, Outcome::Expired)));
        store.commit(&change).unwrap();
    }
    (home, store)
}

fn signed(home: &Home, note: &str) -> SignedCheckpoint {
    SignedCheckpoint::open(note.as_bytes(), home.signer().key(), &nobody()).unwrap()
}

#[test]
fn every_entry_has_a_receipt_and_every_checkpoint_continues_the_one_before() {
    let (home, store) = written();
    let size = store.checkpoint().unwrap().checkpoint().size;
    assert_eq!(size, 30);
    let lines = store.lines(0, usize::MAX).unwrap();
    assert_eq!(lines.len(), 30);
    assert_eq!(store.lines(28, 1).unwrap(), lines[28..29]);
    assert_eq!(store.lines(30, 5).unwrap(), [""; 0]);
    let mut tree = Tree::default();
    for (index, line) in (0..).zip(&lines) {
        tree.append(leaf_hash(line.as_bytes()));
        let receipt = store.receipt(Position(index), &nobody()).unwrap();
        assert_eq!((receipt.index(), receipt.line()), (index, line.as_str()));
        assert_eq!(receipt.checkpoint().checkpoint().size, 30);
    }
    assert!(store.receipt(Position(30), &nobody()).is_err());
    assert_eq!(store.checkpoint().unwrap().checkpoint().root, tree.root());
    // Every hash in the tables is the tree's, and there is none beyond.
    let hashes = LogHashes(&store);
    for level in 0..7 {
        for index in 0..40 {
            assert_eq!(hashes.hash(level, index).ok(), tree.hash(level, index).ok(), "{level} {index}");
        }
    }
    assert!(hashes.hash(64, 0).is_err() && hashes.hash(0, u64::MAX).is_err() && hashes.hash(63, 1).is_err());
    // One checkpoint for the empty log and one for each commit.
    let checkpoints = store.checkpoints(0, usize::MAX).unwrap();
    let checkpoints: Vec<_> = checkpoints.iter().map(|note| signed(&home, note)).collect();
    assert_eq!(checkpoints.len(), 11);
    assert_eq!(store.checkpoints(checkpoints[10].checkpoint().size, 9).unwrap().len(), 1);
    for old in checkpoints.iter().map(SignedCheckpoint::checkpoint) {
        assert_eq!(root(&hashes, old.size).unwrap(), old.root);
        for new in checkpoints.iter().map(SignedCheckpoint::checkpoint).filter(|new| new.size >= old.size) {
            let proof = consistency(&hashes, old.size, new.size).unwrap();
            verify_consistency(old.size, &old.root, new.size, &new.root, &proof).unwrap();
            for index in 0..new.size {
                let proof = inclusion(&hashes, index, new.size).unwrap();
                let leaf = hashes.hash(0, index).unwrap();
                verify_inclusion(&leaf, index, new.size, &proof, &new.root).unwrap();
            }
        }
    }
}

#[test]
fn entries_are_found_by_their_request() {
    let home = Home::new();
    let store = home.open();
    store.commit(&[open(1), asked(1), open(2), asked(2)]).unwrap();
    store.commit(&approved(1, 1)).unwrap();
    store.commit(&[spend(1, 1), used(1, 1)]).unwrap();
    let positions = [0, 2, 3, 4].map(Position);
    assert_eq!(store.about(&id(1)).unwrap(), positions);
    assert_eq!(store.about(&id(2)).unwrap(), [Position(1)]);
    assert_eq!(store.about(&id(3)).unwrap(), []);
    let kinds = positions.map(|position| store.receipt(position, &nobody()).unwrap().entry().clone());
    assert!(matches!(
        kinds,
        [Entry::Asked { .. }, Entry::Answered { .. }, Entry::Decided { .. }, Entry::Used { count: 1, .. }]
    ));
}

#[test]
fn two_that_write_one_file_continue_one_log() {
    let home = Home::new();
    let (one, two) = (home.open(), home.open());
    for number in 0..20 {
        let store = if number % 3 == 0 { &one } else { &two };
        assert_eq!(store.commit(&[open(number), asked(number)]).unwrap(), [Position(number)]);
        assert_eq!(one.checkpoint().unwrap(), two.checkpoint().unwrap());
    }
    assert_eq!(one.lines(0, 100).unwrap(), two.lines(0, 100).unwrap());
    for index in 0..20 {
        one.receipt(Position(index), &nobody()).unwrap();
    }
}

#[test]
fn a_receipt_waits_for_the_witnesses_that_are_needed() {
    let (home, store) = written();
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    let key = WitnessKey::new("witness.example", public).unwrap();
    let witnesses = Witnesses::new(vec![key.clone()], 1).unwrap();
    let refused = store.receipt(Position(3), &witnesses).unwrap_err();
    assert!(refused.to_string().ends_with("stands under no checkpoint that 1 witnesses saw"), "{refused}");
    let cosigned = |checkpoint: &SignedCheckpoint| {
        let mut note = checkpoint.note().clone();
        let time = at(300).seconds();
        let message = format!("cosignature/v1\ntime {time}\n{}", note.text());
        let mut bytes = time.to_be_bytes().to_vec();
        bytes.extend_from_slice(pair.sign(message.as_bytes()).as_ref());
        note.add(Signature { name: key.name().to_owned(), id: key.id(), bytes }).unwrap();
        SignedCheckpoint::open(note.to_string().as_bytes(), home.signer().key(), &witnesses).unwrap()
    };
    // A checkpoint in the middle: it carries the entries before it alone.
    let old = signed(&home, &store.checkpoints(5, 1).unwrap()[0]);
    let size = old.checkpoint().size;
    store.witness(&cosigned(&old)).unwrap();
    let receipt = store.receipt(Position(size - 1), &witnesses).unwrap();
    assert_eq!(receipt.checkpoint().checkpoint().size, size);
    assert_eq!(receipt.checkpoint().seen()[0].by, "witness.example");
    assert!(store.receipt(Position(size), &witnesses).is_err());
    store.witness(&cosigned(&store.checkpoint().unwrap())).unwrap();
    assert_eq!(store.receipt(Position(size), &witnesses).unwrap().checkpoint().checkpoint().size, 30);
    // Another log's, or one of this key that was never this log's.
    let forked = home.signer().sign(size, leaf_hash(b"fork"));
    assert!(store.witness(&cosigned(&forked)).is_err());
    assert!(store.witness(&cosigned(&home.signer().sign(size + 100, leaf_hash(b"")))).is_err());
}

/// What somebody does to the file while it is closed, and what is said to that.
fn tampered(sql: &str, said: &str) {
    let (home, store) = written();
    drop(store);
    let db = Connection::open(home.path()).unwrap();
    db.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    db.execute_batch(sql).unwrap();
    drop(db);
    let found = home.try_open().err().map(|error| error.to_string());
    assert!(found.as_deref().is_some_and(|found| found.contains(said)), "{sql}: {found:?}");
}

#[test]
fn a_log_that_was_changed_is_not_opened() {
    for (sql, said) in [
        ("DELETE FROM log", "the log is not there"),
        ("UPDATE log SET note = NULL", "has 30 entries and no checkpoint"),
        ("UPDATE log SET note = NULL WHERE size = 30", "has 30 entries and no checkpoint"),
        ("DELETE FROM log WHERE size >= 28", "has 27 entries and no checkpoint"),
        ("DELETE FROM log WHERE size = 16", "is missing"),
        ("INSERT INTO log VALUES (31, zeroblob(32), NULL, '{}')", "has 31 entries and no checkpoint"),
        ("INSERT INTO log SELECT 31, zeroblob(32), note, '{}' FROM log WHERE size = 30", "is for 30 entries"),
        ("UPDATE log SET nodes = zeroblob(64) WHERE size = 30", "the log has 30 with root"),
        ("UPDATE log SET nodes = zeroblob(160) WHERE size = 16", "the log has 30 with root"),
        ("UPDATE log SET nodes = zeroblob(33) WHERE size = 30", "is missing"),
        ("UPDATE log SET line = line || ' ' WHERE size = 30", "is not what was logged"),
        ("UPDATE log SET note = 'x' WHERE size = 30", "not a signed note"),
        ("UPDATE log SET note = (SELECT note FROM log WHERE size = 0) WHERE size = 30", "is for 0"),
        ("UPDATE log SET note = replace(note, 'approve', 'another') WHERE size = 30", "another"),
        ("DROP TABLE once", "its tables"),
        ("CREATE TABLE more (x)", "its tables"),
        ("CREATE TRIGGER often AFTER UPDATE ON granted BEGIN UPDATE granted SET used = 0; END", "its tables"),
        ("CREATE VIEW more AS SELECT 1", "its tables"),
        ("PRAGMA user_version = 0", "was never written"),
        ("PRAGMA user_version = -1", "was never written"),
        ("PRAGMA user_version = 2", "is newer than 1"),
        ("PRAGMA application_id = 1", "not a store"),
        ("PRAGMA journal_mode = DELETE", "kept as delete"),
        ("INSERT INTO debt VALUES (zeroblob(16), 'x', 0)", "refer to others"),
    ] {
        tampered(sql, said);
    }
}

#[test]
fn a_line_in_the_middle_that_was_changed_has_no_receipt() {
    let (home, store) = written();
    drop(store);
    let db = Connection::open(home.path()).unwrap();
    db.execute("UPDATE log SET line = replace(line, 'expired', 'refused') WHERE size = 13", []).unwrap();
    db.execute("UPDATE log SET nodes = zeroblob(32) WHERE size = 1", []).unwrap();
    drop(db);
    let store = home.open();
    let said = |index| store.receipt(Position(index), &nobody()).unwrap_err().to_string();
    assert!(said(12).ends_with("entry 12 is not what was logged"), "{}", said(12));
    assert!(said(0).ends_with("entry 0 is not what was logged"), "{}", said(0));
    assert!(said(1).contains("entry 1"), "{}", said(1));
    store.receipt(Position(20), &nobody()).unwrap();
    // Changed while it is open, too.
    let db = Connection::open(home.path()).unwrap();
    db.execute("DELETE FROM log WHERE size = 21", []).unwrap();
    drop(db);
    assert!(said(20).ends_with("entry 20 is not there"), "{}", said(20));
    assert!(store.lines(15, 10).unwrap_err().to_string().contains("entry 20"));
}

#[test]
fn a_log_goes_on_under_its_own_key_alone() {
    let (home, store) = written();
    drop(store);
    let (other, _) = LogSigner::generate(ORIGIN).unwrap();
    let found = Sqlite::open(&home.path(), other).err().unwrap().to_string();
    assert!(found.contains("does not carry exactly one signature"), "{found}");
    let home = Home::new();
    drop(home.open());
    let (other, _) = LogSigner::generate(ORIGIN).unwrap();
    assert!(Sqlite::open(&home.path(), other).is_err(), "an empty log has a key too");
}

#[test]
fn who_has_only_the_public_key_commits_nothing() {
    let home = Home::new();
    let signer = home.signer();
    assert!(Sqlite::open_to_read(&home.path(), signer.key()).is_err());
    assert!(!home.path().exists(), "nothing is made to look at");
    let (home, store) = written();
    let signer = home.signer();
    let (other, _) = LogSigner::generate(ORIGIN).unwrap();
    assert!(Sqlite::open_to_read(&home.path(), other.key()).is_err());
    let reader = Sqlite::open_to_read(&home.path(), signer.key()).unwrap();
    let before = store.checkpoint().unwrap();
    assert_eq!(reader.checkpoint().unwrap(), before);
    reader.receipt(Position(3), &nobody()).unwrap();
    let refused = reader.commit(&[open(50), asked(50)]).unwrap_err().to_string();
    assert!(refused.ends_with("it was opened to be read"), "{refused}");
    assert!(reader.request(&challenge(50).id).unwrap().is_none());
    reader.witness(&before).unwrap();
    // It sees what others write.
    store.commit(&[open(50), asked(50)]).unwrap();
    assert_eq!(reader.checkpoint().unwrap().checkpoint().size, before.checkpoint().size + 1);
}

#[test]
fn nothing_is_signed_that_does_not_continue_the_log() {
    let (home, store) = written();
    let other = home.open();
    other.commit(&[open(50), asked(50)]).unwrap();
    // Somebody takes the last commit back while two have the file open, as a restored copy would.
    let db = Connection::open(home.path()).unwrap();
    db.execute_batch("UPDATE log SET nodes = zeroblob(160) WHERE size = 16").unwrap();
    drop(db);
    let error = store.commit(&[open(51), asked(51)]).unwrap_err().to_string();
    assert!(error.contains("the log has 31 with root"), "{error}");
}

/// Reads something, and gives the error.
type Read = fn(&Sqlite, &RequestId) -> Option<String>;

/// A row that does not read is an error, whatever else is well.
#[test]
fn rows_that_were_changed_are_not_handed_out() {
    let reads: [(&str, Read); 14] = [
        ("UPDATE request SET revision = 5", |store, id| store.request(id).err().map(|e| e.to_string())),
        ("UPDATE answer SET number = 4", |store, id| store.request(id).err().map(|e| e.to_string())),
        ("UPDATE answer SET at = -1", |store, id| store.request(id).err().map(|e| e.to_string())),
        ("UPDATE challenge SET body = x'ff'", |store, id| store.request(id).err().map(|e| e.to_string())),
        ("UPDATE challenge SET body = zeroblob(100000)", |store, id| {
            store.request(id).err().map(|e| e.to_string())
        }),
        ("DELETE FROM challenge", |store, id| store.request(id).err().map(|e| e.to_string())),
        ("UPDATE response SET statement = zeroblob(100000)", |store, id| {
            store.request(id).err().map(|e| e.to_string())
        }),
        ("DELETE FROM response", |store, id| store.request(id).err().map(|e| e.to_string())),
        ("UPDATE request SET challenge = (SELECT max(challenge) FROM request)", |store, id| {
            store.request(id).err().map(|e| e.to_string())
        }),
        ("UPDATE granted SET claims = printf('%.100000c', 'x')", |store, id| {
            store.grant(id).err().map(|e| e.to_string())
        }),
        ("UPDATE granted SET expires = 999999999999", |store, id| {
            store.grant(id).err().map(|e| e.to_string())
        }),
        ("UPDATE granted SET uses = 99999999999", |store, _| {
            store.live_grants(at(0)).err().map(|e| e.to_string())
        }),
        ("UPDATE counter SET at = -1", |store, _| store.counter(&key(1)).err().map(|e| e.to_string())),
        ("UPDATE content SET bytes = x'00'", |store, _| {
            let version = store.trust().unwrap().unwrap();
            store.trust_files(&version).err().map(|e| e.to_string())
        }),
    ];
    for (sql, read) in reads {
        let home = Home::new();
        let store = home.open();
        store.commit(&[open(1), open(2)]).unwrap();
        store.commit(&approved(1, 1)).unwrap();
        store.commit(&[Op::Counter { key: key(1), before: None, after: counter(1) }]).unwrap();
        let files = touchgate::trust::Files::from([("policy.toml".to_owned(), b"x".to_vec())]);
        let digest = touchgate::trust::versions::digest(&files);
        let version = touchgate::challenge::TrustVersion { number: 1, digest };
        store.commit(&[Op::Trust { before: None, version, files }]).unwrap();
        assert_eq!(read(&store, &id(1)), None, "before {sql}");
        Connection::open(home.path())
            .unwrap()
            .execute_batch(&format!("PRAGMA foreign_keys = OFF; {sql}"))
            .unwrap();
        assert!(read(&store, &id(1)).is_some(), "after {sql}");
        drop(store);
    }
}
