//! The document: its example is what is written today, its schema takes what is written and nothing else, and every
//! code is explained.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use touchgate::audit::entry::Outcome;
use touchgate::evidence::{Evidence, judge};
use touchgate::request::Request;
use touchgate::trust::Files;

use crate::case::codes;
use crate::log::Log;
use crate::scene::{
    Version, approval, approved, challenge_of, decided, grant, now, request, team, update, version,
};

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

pub(crate) fn document() -> String {
    fs::read_to_string(docs("evidence.md")).unwrap()
}

/// The content of the first block of this language.
pub(crate) fn block(text: &str, language: &str) -> String {
    let (_, rest) = text.split_once(&format!("\n```{language}\n")).unwrap();
    let end = if rest.starts_with("```\n") { 0 } else { rest.find("\n```\n").unwrap() + 1 };
    rest[..end].to_owned()
}

/// One approver, one rule, a log without witnesses; the same bytes each time, since Ed25519 signs alike.
pub(crate) fn example(more: &[(String, Vec<u8>)]) -> (Version, Evidence) {
    let (key, _) = Log::keys();
    let key = key.replace("witnesses_needed = 1\n", "");
    let policy = format!(
        "audience    = \"approve.example.com\"\nversion     = 7\nvalid_until = \"2027-03-01T00:00:00Z\"\n{key}\n\
         [[rule]]\naction   = \"deploy\"\nresource = \"payments/*\"\nneed     = [{{ from = \"release\" }}]\n\
         tier     = \"declared\"\npinned   = [\"commit\"]\n\n\
         [[rule]]\naction = \"touchgate.trust.update\"\nneed   = [{{ from = \"release\" }}]\n"
    );
    let mut files: Files = ["people/bob.toml", "people/sam.toml", "tokens/1002.asc"]
        .iter()
        .map(|path| ((*path).to_owned(), team().files[*path].clone()))
        .collect();
    files.insert("policy.toml".into(), policy.into_bytes());
    files.extend(more.iter().cloned());
    let version = Version::new(files);
    let challenge = challenge_of(&version, Request { requester_key: None, ..request() });
    let mut evidence = decided(&version, &challenge, vec![approval(&challenge, "bob")], Outcome::Approved);
    let entry = grant(&mut evidence, &version);
    let mut log = Log::new();
    let index = log.append(&entry);
    evidence.log = Some(log.proof(index, &[]));
    (version, evidence)
}

/// `WRITE_EVIDENCE_EXAMPLE=1 cargo test --test evidence` writes it anew.
#[test]
fn the_example_is_what_is_written() {
    let (version, evidence) = example(&[]);
    assert!(judge(&evidence, &version.against(), now()).is_ok());
    let (text, written) = (document(), evidence.to_json());
    let found = block(&text, "json");
    if std::env::var_os("WRITE_EVIDENCE_EXAMPLE").is_some() {
        let text = text.replacen(&format!("```json\n{found}"), &format!("```json\n{written}"), 1);
        fs::write(docs("evidence.md"), text).unwrap();
        return;
    }
    assert!(found == written, "docs/evidence.md does not show what is written");
}

/// Whether a validator that nobody here wrote takes each of these.
fn valid(instances: &[Value]) -> Vec<bool> {
    let script = "import json, sys, jsonschema\n\
        schema = json.load(open(sys.argv[1]))\n\
        jsonschema.Draft202012Validator.check_schema(schema)\n\
        validator = jsonschema.Draft202012Validator(schema)\n\
        print(json.dumps([validator.is_valid(one) for one in json.load(sys.stdin)]))\n";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .arg(docs("evidence.schema.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is not there");
    python.stdin.take().unwrap().write_all(json!(instances).to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "is python3-jsonschema installed? `make packages` does that");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_schema_takes_what_is_written() {
    let undecided = {
        let mut evidence = approved();
        (evidence.decision, evidence.grant, evidence.log) = (None, None, None);
        evidence
    };
    let all = [approved(), undecided, update(&version(6, &Log::keys()), team()), example(&[]).1];
    let values: Vec<Value> = all.iter().map(|one| serde_json::from_str(&one.to_json()).unwrap()).collect();
    assert_eq!(valid(&values), vec![true; values.len()]);
}

/// What the schema refuses is no evidence here either.
#[test]
fn the_schema_takes_nothing_else() {
    let whole: Value = serde_json::from_str(&approved().to_json()).unwrap();
    let changed = |pointer: &str, value: Value| {
        let mut changed = whole.clone();
        match pointer.rsplit_once('/') {
            Some((parent, name)) if changed.pointer(pointer).is_none() => {
                changed.pointer_mut(parent).unwrap()[name] = value;
            }
            _ => *changed.pointer_mut(pointer).unwrap() = value,
        }
        changed
    };
    let bad = [
        changed("/touchgate", json!("evidence v2")),
        changed("/more", json!(1)),
        changed("/answers/0/more", json!(1)),
        changed("/trust/more", json!(1)),
        changed("/trust/files/0/more", json!(1)),
        changed("/trust/files/0/base64", json!("")),
        changed("/trust/version", json!("07 sha256:00")),
        changed("/trust/size", json!(-1)),
        changed("/decision/outcome", json!("granted")),
        changed("/decision/at", json!("yesterday")),
        changed("/log/index", json!("5")),
        changed("/log/proof/0", json!("sha256:A")),
        changed("/grant", json!(null)),
        changed("/challenge", json!("touchgate v2 challenge\n")),
        changed("/answers/0/statement", json!("touchgate v1 maybe\n")),
        changed("/answers/0/signature", json!("-----BEGIN PGP MESSAGE-----\n")),
    ];
    assert_eq!(valid(&bad), vec![false; bad.len()]);
    for value in &bad {
        assert!(Evidence::parse(value.to_string().as_bytes()).is_err(), "{value}");
    }
}

#[test]
fn every_code_is_explained() {
    let text = document();
    let (_, explained) = text.split_once("\n## Codes\n").unwrap();
    let explained: BTreeSet<String> =
        explained.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect();
    assert_eq!(explained, codes("evidence/error.rs").into_iter().collect());
    let (_, rest) = text.split_once("\n### unchecked\n").unwrap();
    let (unchecked, _) = rest.split_once("\n## ").unwrap();
    let (_, rest) = text.split_once("\n### checked\n").unwrap();
    let (checked, _) = rest.split_once("\n### ").unwrap();
    for code in codes("evidence/judge.rs") {
        assert!(checked.contains(&format!("`{code}`")), "{code}");
    }
    let alone = ["certificate-time", "freshness", "issued"];
    for code in codes("verify/mod.rs").iter().filter(|code| !alone.contains(&code.as_str())) {
        assert!(unchecked.contains(&format!("| `{code}` |")), "{code}");
    }
}
