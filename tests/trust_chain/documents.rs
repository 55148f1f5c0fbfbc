//! `docs/versions.md` explains every code of the chain, and the codes are those of the source.

use std::collections::BTreeSet;

/// The codes in the arms of every `fn code` of a source.
fn codes(source: &'static str) -> BTreeSet<&'static str> {
    let bodies = source.split("pub fn code(").skip(1);
    let arms = bodies.flat_map(|body| body.split("\n    }\n").next().unwrap().split("=> \"").skip(1));
    arms.map(|arm| arm.split('"').next().unwrap()).collect()
}

#[test]
fn every_code_is_explained_and_nothing_else() {
    let document = include_str!("../../docs/versions.md");
    let (_, table) = document.split_once("| code | what happened | what to do |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let explained: BTreeSet<&str> =
        rows.map(|row| row.trim_start_matches("| `").split('`').next().unwrap()).collect();
    let known = codes(include_str!("../../src/trust/chain.rs"));
    assert!(known.len() > 12, "{known:?}");
    assert_eq!(explained, known);
}
