//! Three witnesses, of whom two are needed, and what comes of them in any order and any number of files.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::*;
use crate::audit::checkpoint::LogSigner;
use crate::audit::note::WitnessKey;
use crate::audit::witness::{WitnessError, message};
use crate::digest::Sha256Digest;

/// Where the entry stands that is awaited, and between which times.
const INDEX: u64 = 6;
const FROM: u64 = 1_800_000_000;
const TO: u64 = FROM + 100;

struct Scene {
    log: LogSigner,
    pairs: Vec<(Ed25519KeyPair, WitnessKey)>,
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(seconds).unwrap()
}

impl Scene {
    fn new() -> Self {
        let log = LogSigner::generate("log.example").unwrap().0;
        let pair = |name: &str| {
            let pair = Ed25519KeyPair::generate().unwrap();
            let key = WitnessKey::new(name, pair.public_key().as_ref().try_into().unwrap()).unwrap();
            (pair, key)
        };
        Self { log, pairs: ["w0", "w1", "w2", "stranger"].map(pair).into() }
    }

    fn awaited(&self, needed: usize) -> Cosigned {
        let keys = self.pairs[..3].iter().map(|(_, key)| key.clone()).collect();
        let witnesses = Witnesses::new(keys, needed).unwrap();
        Cosigned::new(self.log.key(), &witnesses, INDEX, at(FROM), at(TO))
    }

    /// The checkpoint of this size, cosigned by these at these times.
    fn note(&self, size: u64, by: &[(usize, u64)]) -> String {
        self.of(&self.log, size, b"root", by)
    }

    fn of(&self, log: &LogSigner, size: u64, root: &[u8], by: &[(usize, u64)]) -> String {
        let mut note = log.sign(size, Sha256Digest::of(root)).note().clone();
        for (who, time) in by {
            let (pair, key) = &self.pairs[*who];
            let signature = pair.sign(message(at(*time), note.text()).as_bytes());
            let bytes = [time.to_be_bytes().as_slice(), signature.as_ref()].concat();
            note.add(Signature { name: key.name().into(), id: key.id(), bytes }).unwrap();
        }
        note.to_string()
    }
}

#[test]
fn one_witness_a_file_adds_up() {
    let scene = Scene::new();
    let mut awaited = scene.awaited(2);
    assert!(awaited.enough().is_none() && awaited.seen().is_empty());
    awaited.add(scene.note(9, &[(1, FROM)]).as_bytes()).unwrap();
    // The same again, and beside a stranger, is no more.
    awaited.add(scene.note(9, &[(1, FROM + 1)]).as_bytes()).unwrap();
    awaited.add(scene.note(9, &[(3, FROM), (1, FROM + 2)]).as_bytes()).unwrap();
    assert!(awaited.enough().is_none());
    assert_eq!(awaited.seen(), ["w1"]);
    // Nor does another checkpoint add to it, longer or shorter.
    awaited.add(scene.note(8, &[(0, FROM)]).as_bytes()).unwrap();
    awaited.add(scene.note(10, &[(2, FROM)]).as_bytes()).unwrap();
    assert!(awaited.enough().is_none());
    awaited.add(scene.note(9, &[(2, FROM + 5)]).as_bytes()).unwrap();
    let enough = awaited.enough().unwrap();
    assert_eq!(enough.checkpoint().size, 9);
    let seen: Vec<(&str, u64)> =
        enough.seen().iter().map(|seen| (seen.by.as_str(), seen.at.seconds())).collect();
    assert_eq!(seen, [("w1", FROM), ("w2", FROM + 5)]);
    assert_eq!(enough.note().signatures().len(), 3, "strangers are left out");
    // Two at once, and the longest is taken.
    awaited.add(scene.note(12, &[(0, FROM), (1, FROM)]).as_bytes()).unwrap();
    assert_eq!(awaited.enough().unwrap().checkpoint().size, 12);
}

#[test]
fn what_does_not_count_spoils_nothing() {
    let scene = Scene::new();
    let mut awaited = scene.awaited(2);
    awaited.add(scene.note(9, &[(0, FROM)]).as_bytes()).unwrap();
    let good = scene.note(9, &[(1, FROM)]);
    let other_log = LogSigner::generate("log.example").unwrap().0;
    let third_log = LogSigner::generate("third.example").unwrap().0;
    let quorum = CheckpointError::Witness(WitnessError::Quorum { found: 0, needed: 1 });
    let wrong = CheckpointError::Witness(WitnessError::Signature { name: "w1".into() });
    let twice = CheckpointError::Witness(WitnessError::Twice { name: "w1".into() });
    let line = good.lines().last().unwrap();
    let bare = scene.note(9, &[]);
    let dated = |time| scene.note(9, &[(1, time)]);
    let time = |time| NotCounted::Time { by: "w1".into(), at: at(time), from: at(FROM), to: at(TO) };
    for (note, why) in [
        // A stranger's, and one by nobody.
        (scene.note(9, &[(3, FROM)]), quorum.clone().into()),
        (bare.clone(), quorum.clone().into()),
        // A line of another checkpoint, another time, twice.
        (format!("{bare}{}\n", scene.note(8, &[(1, FROM)]).lines().last().unwrap()), wrong.clone().into()),
        (format!("{bare}{}\n", line.replacen("w1", "w2", 1)), quorum.clone().into()),
        (format!("{good}{line}\n"), twice.into()),
        // Another log, and the log's name under another key.
        (
            scene.of(&third_log, 9, b"root", &[(1, FROM)]),
            CheckpointError::Origin { found: "third.example".into(), expected: "log.example".into() }.into(),
        ),
        (
            scene.of(&other_log, 9, b"root", &[(1, FROM)]),
            CheckpointError::Unsigned { key: scene.log.key().to_string() }.into(),
        ),
        // Two pasts of one size; a checkpoint from before the entry.
        (scene.of(&scene.log, 9, b"other", &[(1, FROM)]), NotCounted::Fork { size: 9 }),
        (scene.note(INDEX, &[(1, FROM)]), NotCounted::Before { size: INDEX, index: INDEX }),
        // Clocks that are wrong.
        (dated(FROM - 1), time(FROM - 1)),
        (dated(TO), time(TO)),
    ] {
        assert_eq!(awaited.add(note.as_bytes()), Err(why), "{note}");
        assert!(awaited.enough().is_none() && awaited.seen() == ["w0"], "{note}");
    }
    for end in 0..good.len() - 1 {
        assert!(awaited.add(&good.as_bytes()[..end]).is_err(), "{end}");
    }
    // Of two, the one whose clock is wrong is left out.
    awaited.add(scene.note(9, &[(1, FROM), (2, TO)]).as_bytes()).unwrap();
    assert_eq!(awaited.seen(), ["w0", "w1"]);
    assert_eq!(awaited.enough().unwrap().seen().len(), 2);
    awaited = scene.awaited(1);
    awaited.add(scene.note(INDEX + 1, &[(2, TO - 1)]).as_bytes()).unwrap();
    assert_eq!(awaited.enough().unwrap().witnessed().unwrap().by, "w2");
}

#[test]
fn one_witness_cannot_fill_the_memory() {
    let scene = Scene::new();
    let mut awaited = scene.awaited(2);
    for size in INDEX + 1..=INDEX + 200 {
        awaited.add(scene.note(size, &[(0, FROM)]).as_bytes()).unwrap();
    }
    assert_eq!(awaited.found.len(), MAX_CHECKPOINTS);
    awaited.add(scene.note(INDEX + 200, &[(1, FROM)]).as_bytes()).unwrap();
    assert_eq!(awaited.enough().unwrap().checkpoint().size, INDEX + 200);
}
