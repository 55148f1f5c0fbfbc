//! The table of attacks: each row names a test that is there, and a reason that is documented.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::path::Path;

/// The rows: attack, where from, what stops it, code, test.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/attacks.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack"));
    rows.map(|row| {
        row.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    })
    .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_attack_names_a_test_that_is_there() {
    let rows = rows();
    assert!(rows.len() >= 60, "{} rows", rows.len());
    for row in &rows {
        assert_eq!(row.len(), 5, "{row:?}");
        let test = &row[4];
        if let Some((folder, name)) =
            test.split_once(' ').map(|(word, name)| (if word == "case" { "signature" } else { word }, name))
        {
            let file = root().join("fixtures").join(folder).join(format!("{name}.case"));
            assert!(file.exists(), "{test}: no {}", file.display());
            continue;
        }
        let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{test}"));
        let source = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut lines = source.lines().map(str::trim).peekable();
        let mut found = false;
        while let Some(line) = lines.next() {
            if line == "#[test]" {
                let named = lines.find(|line| line.starts_with("fn ")).unwrap_or_default();
                found |= named.starts_with(&format!("fn {name}("));
            }
        }
        assert!(found, "{test}: no such test");
    }
}

#[test]
fn the_published_attacks_are_all_there() {
    let from: Vec<String> = rows().into_iter().map(|row| row[1].clone()).collect();
    for number in 1..=37 {
        let name = format!("A{number}");
        assert!(from.contains(&name), "no row for {name}");
    }
}

#[test]
fn every_code_is_explained() {
    let documented = ["rejections.md", "cli.md", "versions.md"]
        .map(|file| fs::read_to_string(root().join("docs").join(file)).unwrap())
        .concat();
    for row in rows().iter().filter(|row| row[3] != "-") {
        assert!(documented.contains(row[3].as_str()), "{}: not documented", row[3]);
    }
}
