//! Several that want the same: exactly one gets it.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use touchgate::audit::entry::Outcome;
use touchgate::store::{CommitError, GrantRecord, Op, Store as _, Unusable};

use super::children::{Running, command};
use super::whole::check;
use super::world::*;

/// Requests that are raced for, each in four ways.
pub(crate) const ROUNDS: u64 = 250;

type Change = fn(u64) -> Vec<Op>;

/// What only one can have of each request: the same answer, the next answer, a use, a counter.
pub(crate) const KINDS: [(&str, Change); 4] = [
    ("answer", |number| vec![step(number, 0, "alice"), answered(number, "alice")]),
    ("revision", |number| vec![close(number, 1, Outcome::Approved), decided(number, Outcome::Approved)]),
    ("use", |number| vec![spend(number, 1), used(number, 1)]),
    ("counter", |number| vec![Op::Counter { key: key(number), before: None, after: counter(1) }]),
];

/// Opens what is raced for.
fn prepare(home: &Home, first: u64) {
    let store = home.open();
    for number in first..first + ROUNDS {
        store.commit(&[open(number), asked(number), Op::Grant(record(number, 1))]).unwrap();
    }
}

#[test]
fn of_threads_exactly_one_wins() {
    let home = Home::new();
    prepare(&home, 0);
    // Two that share a store, and one with a store of its own.
    let (shared, own) = (home.open(), home.open());
    let start = Barrier::new(3);
    let won: Vec<Vec<bool>> = thread::scope(|scope| {
        let racers = [&shared, &shared, &own].map(|store| {
            let start = &start;
            scope.spawn(move || {
                let mut won = Vec::new();
                for number in 0..ROUNDS {
                    for (kind, change) in KINDS {
                        start.wait();
                        won.push(match store.commit(&change(number)) {
                            Ok(_) => true,
                            Err(CommitError::Store(error)) => panic!("{kind}: {error}"),
                            Err(_) => false,
                        });
                    }
                }
                won
            })
        });
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    for race in 0..won[0].len() {
        assert_eq!(won.iter().filter(|won| won[race]).count(), 1, "race {race}");
    }
    assert_eq!(own.checkpoint().unwrap().checkpoint().size, ROUNDS * 4);
}

#[test]
fn of_processes_exactly_one_wins() {
    let home = Home::new();
    prepare(&home, 0);
    let mut racers: Vec<Running> = (0..3).map(|_| Running::start(command("race", &home.path(), 0))).collect();
    racers.iter_mut().for_each(|racer| racer.wait_for(1));
    racers.iter_mut().for_each(Running::go);
    let mut wins: BTreeMap<String, u32> = BTreeMap::new();
    for racer in racers {
        for line in racer.end().into_iter().filter(|line| line != "ready") {
            *wins.entry(line).or_default() += 1;
        }
    }
    for number in 0..ROUNDS {
        for (kind, _) in KINDS {
            assert_eq!(wins.remove(&format!("{number} {kind}")), Some(1), "{number} {kind}");
        }
    }
    assert!(wins.is_empty(), "{wins:?}");
    assert_eq!(home.open().checkpoint().unwrap().checkpoint().size, ROUNDS * 4);
}

/// Three kinds of changes at once: good ones, ones that are denied, ones that the store cannot take. Each is answered
/// for as if it were alone, and several share a transaction: there are fewer checkpoints than changes.
#[test]
fn changes_that_are_written_together_are_answered_apart() {
    const TOGETHER: u64 = 12;
    let home = Home::new();
    let store = home.open();
    let checkpoints = || store.checkpoints(0, usize::MAX).unwrap().len() as u64;
    // How they meet is the system's affair: until some have, again.
    for attempt in 0..200 {
        // What the store cannot take ends the sharing: everybody then writes alone.
        let kinds = 3 - attempt % 2;
        let before = checkpoints();
        let other = Connection::open(home.path()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let start = Barrier::new(usize::try_from(TOGETHER).unwrap() + 1);
        thread::scope(|scope| {
            for number in (0..TOGETHER).map(|n| attempt * TOGETHER + n) {
                let (store, start) = (&store, &start);
                scope.spawn(move || {
                    let mut change = vec![open(number), asked(number)];
                    match number % kinds {
                        0 => {}
                        1 => change.push(spend(number, 1)),
                        _ => change.push(Op::Grant(GrantRecord { uses: 0, ..record(number, 1) })),
                    }
                    start.wait();
                    let written = store.commit(&change);
                    match number % kinds {
                        0 => assert_eq!(store.about(&id(number)).unwrap(), written.unwrap()),
                        1 => assert!(matches!(written, Err(CommitError::Grant(Unusable::Unknown)))),
                        _ => assert!(matches!(written, Err(CommitError::Store(_)))),
                    }
                    assert_eq!(store.request(&id(number)).unwrap().is_some(), number % kinds == 0);
                });
            }
            start.wait();
            // The first waits for this lock, and the others for the first.
            thread::sleep(Duration::from_millis(10));
            other.execute_batch("ROLLBACK").unwrap();
        });
        check(&store, &home.path());
        if checkpoints() - before < TOGETHER / kinds {
            return;
        }
    }
    panic!("no two changes ever shared a transaction");
}
