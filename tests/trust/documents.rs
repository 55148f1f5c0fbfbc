//! docs/trust.md says what the code does: its example loads, and it has every code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;

use crate::{files, load};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_example_loads() {
    let page = read("docs/trust.md");
    let example = page.split("## policy.toml\n").nth(1).unwrap().split("\n| key |").next().unwrap();
    let lines: Vec<&str> = example.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    let text = lines.join("\n");
    // All but the keys, which are cut short there.
    let (keys, rules) = text.split_at(text.find("# Payments").unwrap());
    let head: Vec<&str> = keys
        .lines()
        .filter(|line| ["audience", "version ", "valid_"].iter().any(|key| line.starts_with(key)))
        .collect();
    let issuers = &keys[keys.find("[issuers]").unwrap()..];
    let mut all = files(&[]);
    all.insert("policy.toml".to_owned(), format!("{}\n{issuers}{rules}", head.join("\n")).into_bytes());
    assert_eq!(load(&all).rules().len(), 5);
}

#[test]
fn every_code_is_explained() {
    let page = read("docs/trust.md");
    let codes = |path: &str, pattern: &str| -> BTreeSet<String> {
        let text = read(path);
        Regex::new(pattern).unwrap().captures_iter(&text).map(|found| found[1].to_owned()).collect()
    };
    let mut found = BTreeSet::new();
    for path in ["src/trust/check.rs", "src/trust/check/rules.rs", "src/trust/check/people.rs"] {
        let here = codes(path, r#"(?:error|warning)\(\s*"([a-z-]+)""#);
        assert!(!here.is_empty(), "{path}");
        found.extend(here);
    }
    for path in ["src/trust/error.rs", "src/trust/policy.rs", "src/trust/roster.rs", "src/trust/add.rs"] {
        let here = codes(path, r#"Self::\w+(?: \{ \.\. \}|\(_\))? => "([a-z]+(?:-[a-z]+)*)""#);
        assert!(!here.is_empty(), "{path}");
        found.extend(here);
    }
    assert!(found.len() > 30, "{found:?}");
    let missing: Vec<&String> = found.iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
