//! Every code that the command line gives for a card is explained in `docs/cli.md`, and no other.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

/// The words in quotes that stand first in the arms of the one place where a card's errors get their codes.
#[test]
fn every_code_of_the_card_is_explained() {
    let source = include_str!("../src/cli/failure.rs");
    let (_, arms) = source.split_once("impl From<CardError> for Failure").unwrap();
    let (arms, _) = arms.split_once("let verdict").unwrap();
    let in_code: BTreeSet<&str> = arms
        .split("=> (")
        .skip(1)
        .filter_map(|arm| arm.trim_start().strip_prefix('"')?.split('"').next())
        .collect();
    assert!(in_code.len() > 20, "the arms were not found: {in_code:?}");
    let others = BTreeSet::from([
        "touch-off",
        "no-certificate",
        // Only `doctor` looks there.
        "ccid-off",
        "no-device-node",
        "udev-permission",
        "no-driver",
        "reader-not-seen",
    ]);
    let explained = explained("### Codes of the card");
    let explained: BTreeSet<&str> = explained.difference(&others).copied().collect();
    assert_eq!(in_code, explained);
}

/// What looks like a code in the one place where the errors of commands that change a card get theirs.
#[test]
fn every_code_of_the_commands_that_change_a_card_is_explained() {
    let code = |word: &&str| {
        !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
            && !word.starts_with('-')
    };
    let source = include_str!("../src/cli/admin_failure.rs");
    let in_code: BTreeSet<&str> = source.split('"').skip(1).step_by(2).filter(code).collect();
    assert!(in_code.len() > 15, "{in_code:?}");
    let explained = explained("### Codes of these commands");
    assert_eq!(in_code.difference(&explained).collect::<Vec<_>>(), Vec::<&&str>::new());
    // Those of the questions that come before.
    let others = BTreeSet::from(["no-admin-pin", "no-pin", "not-confirmed", "usage", "would-erase"]);
    assert_eq!(explained.difference(&in_code).copied().collect::<BTreeSet<_>>(), others);
}

/// The codes in the tables between this heading and the next.
fn explained(heading: &str) -> BTreeSet<&'static str> {
    let (_, section) = include_str!("../docs/cli.md").split_once(heading).unwrap();
    let table = section.split("\n## ").next().unwrap().split("\n### ").next().unwrap();
    table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next())
        .flat_map(|cell| cell.split('`'))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
}
