//! The documents say what the code does: codes, sections, the example, the digest.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use touchgate::request::command_value;

use crate::case::{cases, codes};
use crate::{response_codes, team};

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

fn headings(document: &str, level: &str) -> Vec<String> {
    let headings = document.lines().filter_map(|line| line.strip_prefix(level));
    headings.map(str::to_owned).collect()
}

#[test]
fn every_code_is_explained_and_nothing_else() {
    let explained = headings(&document("rejections.md"), "### ");
    let distinct: BTreeSet<String> = explained.iter().cloned().collect();
    assert_eq!(explained.len(), distinct.len(), "a code is explained twice");
    let others = [codes("statement.rs"), codes("verify/counter.rs"), codes("grant/rejection.rs")];
    let known: BTreeSet<String> = response_codes().into_iter().chain(others.into_iter().flatten()).collect();
    assert_eq!(distinct, known);
}

#[test]
fn every_case_stands_on_a_section() {
    let protocol = document("protocol.md");
    let sections: BTreeSet<String> =
        [headings(&protocol, "## "), headings(&protocol, "### ")].into_iter().flatten().collect();
    for case in cases("statement").iter().chain(&cases("signature")) {
        let section = case.header("source").strip_prefix("docs/protocol.md, ").unwrap();
        assert!(sections.contains(section), "{}: no section {section:?}", case.name);
    }
}

#[test]
fn the_example_is_the_case_that_passes() {
    let protocol = document("protocol.md");
    let (_, rest) = protocol.split_once("```text\n").unwrap();
    let (example, _) = rest.split_once("```\n").unwrap();
    let case = cases("signature").into_iter().find(|case| case.name == "file").unwrap();
    let [(_, file)] = &case.sections[..] else { panic!("not one section") };
    assert_eq!(example.as_bytes(), file);
}

#[test]
fn the_digest_is_the_fixtures() {
    let digest = format!("\n    {}\n", team().version.digest);
    assert!(document("protocol.md").contains(&digest), "{digest} is not there");
}

#[test]
fn the_command_lines_are_quoted_as_shown() {
    let protocol = document("protocol.md");
    for argv in [&["./deploy.sh", "--region", "eu"][..], &["echo", "it's", ""], &["printf", "  "]] {
        let value = command_value(argv).unwrap().to_string();
        assert!(protocol.contains(&format!("  {value}\n")), "{value} is not there");
    }
}
