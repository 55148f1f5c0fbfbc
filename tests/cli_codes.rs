//! Every code that the command line gives for a card is explained in `docs/cli.md`, and no other.

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
    let (_, table) = include_str!("../docs/cli.md").split_once("### Codes of the card").unwrap();
    let explained: BTreeSet<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next())
        .flat_map(|cell| cell.split('`'))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let others = BTreeSet::from(["touch-off", "no-certificate"]);
    let explained: BTreeSet<&str> = explained.difference(&others).copied().collect();
    assert_eq!(in_code, explained);
}
