//! The versions of trust in a log, held against the updates that lie beside the trust of whoever judges it.

use std::fs;
use std::path::PathBuf;

use touchgate::audit::entry::{Entry, Outcome};
use touchgate::challenge::TrustVersion;
use touchgate::evidence::{Answered, Decided, Evidence};
use touchgate::response::Response;
use touchgate::statement::Decision;
use touchgate::trust::{Files, Trust, chain};

use crate::gate::{Gate, at};
use crate::packets::Recipe;
use crate::{json, ok, people};

/// The gate's trust as version 8.
fn next(gate: &Gate) -> (Files, Trust) {
    let mut files = gate.files.clone();
    let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
    files.insert("policy.toml".into(), policy.replace("version     = 7", "version = 8").into_bytes());
    let trust = Trust::from_files(&files).unwrap();
    (files, trust)
}

/// The update to it, as `who` approves it.
fn update(gate: &Gate, who: &str) -> Evidence {
    let (files, new) = next(gate);
    let asked =
        chain::challenge(&gate.trust, &new.version, &"os:nobody@here".parse().unwrap(), at(0)).unwrap();
    let statement = asked.clone().decided(Decision::Approve).to_text().into_bytes();
    let mut key = people::signer(who);
    let signature = Recipe::plain(&key, u32::try_from(at(1).seconds()).unwrap()).sign(&mut key, &statement);
    let answer = Answered::new(&Response { statement, signature }, None, Some(at(2))).unwrap();
    let answers = vec![answer];
    let mut update = chain::begin(&gate.trust, &gate.files, &new, &files, asked, answers).unwrap();
    update.decision = Some(Decided { outcome: Outcome::Approved, at: at(3) });
    update
}

fn trust_of(gate: &Gate) -> PathBuf {
    gate.directory.path().join(".config/touchgate/trust")
}

/// Lays version 8 and its update where the gate's trust lies; the pin stays at version 7.
fn lay(gate: &Gate, update: &Evidence) {
    for (path, bytes) in &next(gate).0 {
        fs::write(trust_of(gate).join(path), bytes).unwrap();
    }
    let versions = trust_of(gate).join("versions");
    fs::create_dir_all(&versions).unwrap();
    fs::write(versions.join("8.json"), update.to_json()).unwrap();
}

fn pin(gate: &Gate, version: &TrustVersion) {
    fs::write(gate.directory.path().join(".config/touchgate/pin"), format!("{version}\n")).unwrap();
}

#[test]
fn versions_are_followed_from_the_pin() {
    let gate = Gate::new();
    let (files, new) = next(&gate);
    lay(&gate, &update(&gate, "alice"));
    gate.trust_in_force(&files, Some(gate.trust.version));
    let (code, said) = json(&gate, &["verify"]);
    assert_eq!((code, &said["trusts"], &said["followed"]), (0, &2.into(), &2.into()), "{said}");
    assert_eq!(said["unchecked"], serde_json::json!([]));
    // From a later pin the older one cannot be told.
    pin(&gate, &new.version);
    let (code, said) = json(&gate, &["verify"]);
    assert_eq!((code, &said["trusts"], &said["followed"]), (0, &2.into(), &1.into()), "{said}");
    assert_eq!(said["unchecked"], serde_json::json!(["older-trust"]));
    assert!(ok(&gate, &["verify"]).contains("not checked: 1 of these versions"));
}

#[test]
fn a_version_that_nobody_signed_is_found() {
    let gate = Gate::new();
    let (mut files, _) = next(&gate);
    lay(&gate, &update(&gate, "alice"));
    // The verifier's owner makes the release group what they like, under the number of the true one.
    let bob = String::from_utf8(files["people/bob.toml"].clone()).unwrap();
    files.insert(
        "people/bob.toml".into(),
        bob.replace("\"release\", ", "\"release\", \"admins\", ").into_bytes(),
    );
    gate.trust_in_force(&files, Some(gate.trust.version));
    let (code, said) = json(&gate, &["verify"]);
    assert_eq!((code, &said["code"]), (3, &"log-trust-chain".into()), "{said}");
    assert_eq!(said["findings"][0]["index"], 1, "{said}");
    assert!(said["hint"].as_str().unwrap().contains("made a version up"), "{said}");
}

/// Whose trust is older than the log cannot tell who made the versions after it; what is wrong all the same is wrong.
#[test]
fn trust_that_is_older_than_the_log_cannot_tell() {
    let gate = Gate::new();
    let (files, new) = next(&gate);
    gate.trust_in_force(&files, Some(gate.trust.version));
    let (code, said) = json(&gate, &["verify"]);
    assert_eq!(
        (code, &said["verdict"], &said["code"]),
        (1, &"failed".into(), &"trust-behind".into()),
        "{said}"
    );
    assert!(said["hint"].as_str().unwrap().contains("versions/"), "{said}");
    let version = TrustVersion { number: 7, digest: new.version.digest };
    gate.log(Entry::Trust { at: at(4), version });
    let (code, said) = json(&gate, &["verify"]);
    assert_eq!(
        (code, &said["verdict"], &said["code"]),
        (3, &"rejected".into(), &"log-order".into()),
        "{said}"
    );
}

#[test]
fn without_a_pin_no_version_is_followed() {
    let gate = Gate::new();
    fs::remove_file(gate.directory.path().join(".config/touchgate/pin")).unwrap();
    let (code, said) = json(&gate, &["verify", "--unpinned"]);
    assert_eq!((code, &said["unchecked"]), (0, &serde_json::json!(["no-trust-pin"])), "{said}");
    assert!(ok(&gate, &["verify", "--unpinned"]).contains("no pin"));
}
