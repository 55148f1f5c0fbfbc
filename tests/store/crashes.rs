//! Writers that are killed at any moment, and disks that lose the end of what was written.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand;
use touchgate::store::sqlite::Sqlite;
use touchgate::store::{Position, Store as _};

use super::children::{EACH, Running, command};
use super::whole::check;
use super::world::*;

/// Writers killed.
const KILLS: u64 = 200;
/// In one store; then a new one begins, so that looking at all of it stays short.
const KILLS_EACH: u64 = 5;

/// A number below `end`, another each time: these tests find what nobody thought of.
fn random(end: u64) -> u64 {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).unwrap();
    u64::from_be_bytes(bytes) % end
}

#[test]
fn killed_at_any_moment_it_has_all_that_was_answered_for_and_nothing_half() {
    let mut home = Home::new();
    let mut before = Vec::new();
    let mut entries = 0;
    for life in 0..KILLS {
        if life % KILLS_EACH == 0 {
            entries += before.len();
            (home, before) = (Home::new(), Vec::new());
        }
        let mut writer = Running::start(command("write", &home.path(), life * 2 * EACH));
        // Some before they have opened it, some long after what is beside the file was moved into it.
        let lines = if life % 40 == 39 { 450 + random(100) } else { random(25) };
        writer.wait_for(lines.try_into().unwrap());
        std::thread::sleep(Duration::from_micros(random(2000)));
        let said = writer.kill();
        let copy = Home::new();
        if life % 4 == 1 {
            copy_files(&home.path(), &copy.path());
        }
        let store = home.open();
        let lines = check(&store, &home.path());
        assert!(lines.starts_with(&before), "life {life}: the log was rewritten");
        for line in said {
            let mut numbers = line
                .split(' ')
                .map(|number| number.parse::<u64>().unwrap_or_else(|_| panic!("life {life}: {line}")));
            let request = id(numbers.next().unwrap());
            let stands = store.about(&request).unwrap();
            assert!(numbers.all(|at| stands.contains(&Position(at))), "life {life}: {line}: {stands:?}");
        }
        if life % 4 == 1 {
            cut(&copy.path(), &home, &lines);
        }
        before = lines;
    }
    assert!(entries > 500, "{entries} entries: the writers did not get to write");
}

fn copy_files(from: &Path, to: &Path) {
    for ending in ["", "-wal"] {
        let with = |path: &Path| path.with_file_name(format!("store.db{ending}"));
        if with(from).exists() {
            fs::copy(with(from), with(to)).unwrap();
        }
    }
    fs::copy(from.with_file_name("log.pk8"), to.with_file_name("log.pk8")).unwrap();
}

/// As after a power cut: of what was appended last, a part is not there, or is not what was written. What opens is an
/// earlier state, whole; the file itself, cut off, may be refused instead.
fn cut(killed: &Path, home: &Home, lines: &[String]) {
    for case in 0..6 {
        let cut = Home::new();
        copy_files(killed, &cut.path());
        let file = if case < 4 { cut.path().with_file_name("store.db-wal") } else { cut.path() };
        let Ok(mut bytes) = fs::read(&file) else { continue };
        let at = random(bytes.len() as u64 + 1).try_into().unwrap();
        match case % 2 {
            0 => bytes.truncate(at),
            _ => bytes[at.saturating_sub(1)..].iter_mut().take(512).for_each(|byte| *byte ^= 0x55),
        }
        fs::write(&file, bytes).unwrap();
        match Sqlite::open(&cut.path(), home.signer()) {
            Ok(store) if case < 4 => {
                let found = check(&store, &cut.path());
                assert!(lines.starts_with(&found), "case {case}: another log");
            }
            // Whatever is still read of a damaged file is of this log.
            Ok(store) => {
                let found = store.lines(0, usize::MAX).unwrap_or_default();
                for (found, index) in found.iter().zip(0..) {
                    let receipt = store.receipt(Position(index), &Default::default());
                    assert!(receipt.is_err() || lines.contains(found), "case {case}: another log");
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}
