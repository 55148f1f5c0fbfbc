//! All scripts, one after the other, and which of our own test programs `cargo test` means.

use std::ffi::OsString;

use crate::card::TestCard;
use crate::runner::{Failure, Tools, run};
use crate::script::Script;

/// What became of a suite.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many scripts passed.
    pub passed: usize,
    /// How many are for other cards.
    pub skipped: usize,
    /// What went otherwise.
    pub failures: Vec<Failure>,
}

/// Runs scripts one after the other; `told` hears of each that ended, with what was wrong with it.
pub fn run_all(
    scripts: &[Script],
    card: &mut dyn TestCard,
    tools: &Tools,
    mut told: impl FnMut(&Script, Option<&Failure>),
) -> Tally {
    let mut tally = Tally::default();
    for script in scripts {
        match run(script, card, tools) {
            Ok(true) => {
                told(script, None);
                tally.passed += 1;
            }
            Ok(false) => tally.skipped += 1,
            Err(failure) => {
                told(script, Some(&failure));
                tally.failures.push(failure);
            }
        }
    }
    tally
}

/// Whether a test program of our own is meant by what `cargo test` hands on: a filter comes first and is part of the
/// name, and `--list` asks for names that there are none of. Anything else runs it.
pub fn is_meant(name: &str, arguments: &[OsString]) -> bool {
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    if words.iter().any(|word| word == "--list") {
        return false;
    }
    words.first().is_none_or(|first| first.starts_with('-') || name.contains(first.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_for_other_tests_does_not_start_a_card() {
        let meant = |words: &[&str]| is_meant("pcscd", &words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(meant(&[]) && meant(&["pcsc"]) && meant(&["--test-threads", "1"]));
        assert!(!meant(&["a_wrong_pin"]) && !meant(&["--list"]) && !meant(&["x", "--nocapture"]));
    }
}
