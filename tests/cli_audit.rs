//! `audit list`, `show`, `verify`, `prove`, `export` and `counters`: the program itself, at a verifier's home.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/case.rs"]
#[allow(dead_code)]
mod case;
#[path = "audit/chain.rs"]
mod chain;
#[cfg(feature = "virtual-card")]
#[path = "audit/counters.rs"]
mod counters;
#[path = "audit/gate.rs"]
#[allow(dead_code)]
mod gate;
#[path = "support/packets.rs"]
#[allow(dead_code)]
mod packets;
#[path = "support/people.rs"]
#[allow(dead_code)]
mod people;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use gate::{Gate, at};
use serde_json::Value;
use touchgate::audit::entry::Entry;
use touchgate::audit::{LogProof, Witnesses};
use touchgate::store::Store as _;

/// `touchgate audit …`: exit code, standard output, standard error.
fn run(gate: &Gate, arguments: &[&str]) -> (i32, String, String) {
    touchgate(gate, &[&["audit"], arguments].concat())
}

fn touchgate(gate: &Gate, arguments: &[&str]) -> (i32, String, String) {
    let output = command(gate, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn command(gate: &Gate, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchgate"));
    command.env_clear().current_dir(gate.directory.path()).stdin(Stdio::null());
    command.env("HOME", gate.directory.path()).args(arguments);
    command
}

fn ok(gate: &Gate, arguments: &[&str]) -> String {
    let (code, out, err) = run(gate, arguments);
    assert_eq!(code, 0, "{arguments:?}: {out}{err}");
    out
}

fn json(gate: &Gate, arguments: &[&str]) -> (i32, Value) {
    let (code, out, err) = run(gate, &[arguments, &["--json"]].concat());
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
}

/// The numbers of the entries that are listed.
fn listed(gate: &Gate, filters: &[&str]) -> Vec<u64> {
    let lines = ok(gate, &[&["list", "--json"], filters].concat());
    lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["index"].as_u64().unwrap())
        .collect()
}

#[test]
fn the_log_is_listed_and_filtered() {
    let gate = Gate::busy();
    assert_eq!(listed(&gate, &[]), (0..21).collect::<Vec<_>>());
    assert_eq!(listed(&gate, &["--type", "used"]), [6]);
    assert_eq!(listed(&gate, &["--person", "carol"]), [3, 5, 9, 11, 14, 15]);
    assert_eq!(listed(&gate, &["--person", "carol", "--type", "decided"]), [5, 11, 15]);
    assert_eq!(listed(&gate, &["--person", "github:alice"]), [1, 7, 13, 16, 18]);
    assert_eq!(listed(&gate, &["--since", "2026-11-20T04:07:04Z"]), [6, 12, 17]);
    assert_eq!(listed(&gate, &["--action", "deploy", "--resource", "payments/prod"]).len(), 20);
    assert_eq!(listed(&gate, &["--action", "login"]), [0_u64; 0]);
    let table = ok(&gate, &["list"]);
    assert_eq!(table.lines().count(), 21);
    let line = |at: usize| table.lines().nth(at).unwrap().to_owned();
    assert!(line(2).contains("2026-11-20T04:07:02Z  answered"), "{table}");
    assert!(line(2).ends_with("deploy payments/prod  bob: approve"), "{table}");
    assert!(line(5).ends_with("was approved by bob, carol, dave"), "{table}");
    // Each line is the log's own, with its number in front.
    let first: Value = serde_json::from_str(ok(&gate, &["list", "--json"]).lines().next().unwrap()).unwrap();
    assert_eq!((first["index"].clone(), first["type"].clone()), (0.into(), "trust".into()));
}

#[test]
fn entries_are_shown_by_number_request_and_code() {
    let gate = Gate::busy();
    let (code, one) = json(&gate, &["show", "6"]);
    assert_eq!((code, one["entries"][0]["entry"]["type"].clone()), (0, "used".into()));
    let id = one["entries"][0]["entry"]["grant"].as_str().unwrap().to_owned();
    let (_, all) = json(&gate, &["show", &id]);
    assert_eq!(all["entries"].as_array().unwrap().len(), 6);
    let (_, by_code) = json(&gate, &["show", &id[21..].to_lowercase()]);
    assert_eq!(by_code, all);
    assert!(ok(&gate, &["show", "2"]).contains("    audience: approve.example.com\n"));
    for name in ["21", "99999999", "ZZZZZ", "x", "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9"] {
        assert_eq!(json(&gate, &["show", name]).1["code"], "no-entry", "{name}");
    }
}

#[test]
fn a_true_log_verifies_and_its_checkpoint_is_kept() {
    let gate = Gate::busy();
    let (code, verdict) = json(&gate, &["verify"]);
    assert_eq!((code, verdict["verdict"].clone()), (0, "approved".into()), "{verdict}");
    assert_eq!((verdict["entries"].clone(), verdict["signatures"].clone()), (21.into(), 8.into()));
    let kept = fs::read_to_string(gate.state().join("checkpoint")).unwrap();
    assert_eq!(kept, gate.store.checkpoint().unwrap().note().to_string());
    let against = gate.directory.path().join("kept");
    fs::write(&against, &kept).unwrap();
    let (_, verdict) = json(&gate, &["verify", "--against", against.to_str().unwrap()]);
    assert_eq!(verdict["kept"], 1);
    assert!(ok(&gate, &["verify"]).starts_with("the log is whole: 21 entries, root sha256:"));
}

#[test]
fn what_is_wrong_is_named_and_exits_with_three() {
    let gate = Gate::busy();
    gate.tamper("UPDATE log SET line = replace(line, 'bob', 'rob') WHERE size = 3");
    let (code, _, err) = run(&gate, &["verify"]);
    assert_eq!(code, 3);
    assert!(err.contains("entry 2: the line is not what was logged"), "{err}");
    let (code, verdict) = json(&gate, &["verify"]);
    assert_eq!((code, verdict["verdict"].clone()), (3, "rejected".into()));
    let named = verdict["findings"].as_array().unwrap();
    assert!(named.iter().any(|finding| finding["index"] == 2 && finding["code"] == "log-line"), "{verdict}");
    assert!(!gate.state().join("checkpoint").exists());
}

/// An older copy of the store beside a newer checkpoint: nothing is exported, proved or called whole.
#[test]
fn an_older_store_that_was_brought_back_is_refused() {
    let mut gate = Gate::new();
    let older = gate.store.checkpoint().unwrap();
    gate.grant();
    ok(&gate, &["verify"]);
    let newer = fs::read(gate.state().join("checkpoint")).unwrap();

    // The same verifier as it was before, in a home of its own.
    let restored = Gate::new();
    for name in [".config/touchgate/trust/policy.toml", ".config/touchgate/pin"] {
        fs::copy(gate.directory.path().join(name), restored.directory.path().join(name)).unwrap();
    }
    drop(older);
    let state = restored.state();
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(state.join(name));
    }
    fs::copy(gate.state().join("keys/log.pk8"), state.join("keys/log.pk8")).unwrap();
    let signer = {
        let secret = fs::read(state.join("keys/log.pk8")).unwrap();
        touchgate::audit::LogSigner::from_pkcs8("approve.example.com", &secret).unwrap()
    };
    drop(touchgate::store::sqlite::Sqlite::open(&state.join("store.db"), signer).unwrap());
    ok(&restored, &["list"]);
    fs::write(state.join("checkpoint"), newer).unwrap();
    for arguments in [&["verify"][..], &["export", "out"], &["prove", "0"]] {
        let (code, verdict) = json(&restored, arguments);
        assert_eq!((code, verdict["code"].clone()), (3, "log-behind".into()), "{arguments:?}: {verdict}");
    }
    assert!(!restored.directory.path().join("out").exists());
    // Nor is it asked about grants; it can still be looked at.
    for arguments in [&["grant", "list"][..], &["grant", "revoke", "HJ5C9"]] {
        let (code, _, err) = touchgate(&restored, arguments);
        assert!(code != 0 && err.contains("an older state was restored"), "{arguments:?}: {code} {err}");
    }
    ok(&restored, &["list"]);
}

/// Two keep a checkpoint at once: the one that waits does not put back what the other has left behind.
#[test]
fn the_kept_checkpoint_never_goes_back() {
    let mut gate = Gate::new();
    ok(&gate, &["verify"]);
    let lock = fs::File::open(gate.state()).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut verify = command(&gate, &["audit", "verify"]).stdout(Stdio::null()).spawn().unwrap();
    // One that waits stands there with an arrow before it.
    let waits = format!("-> FLOCK  ADVISORY  WRITE {} ", verify.id());
    while !fs::read_to_string("/proc/locks").unwrap().contains(&waits) {
        assert!(verify.try_wait().unwrap().is_none(), "it did not wait for the lock");
        std::thread::sleep(Duration::from_millis(10));
    }
    gate.grant();
    let newest = gate.store.checkpoint().unwrap().note().to_string();
    let kept = gate.state().join("checkpoint");
    fs::write(&kept, &newest).unwrap();
    drop(lock);
    assert!(verify.wait().unwrap().success());
    assert_eq!(fs::read_to_string(kept).unwrap(), newest);
}

#[test]
fn a_proof_in_a_file_is_a_receipt_elsewhere() {
    let gate = Gate::busy();
    let used: Value = serde_json::from_str(ok(&gate, &["list", "--type", "used", "--json"]).trim()).unwrap();
    let id = used["grant"].as_str().unwrap().to_owned();
    let code = &id[21..];
    let (exit, said) = json(&gate, &["prove", code]);
    assert_eq!((exit, said["index"].clone()), (0, 5.into()));
    let file = gate.directory.path().join(format!("{code}.log-proof.json"));
    let proof: LogProof = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let receipt = proof.check(&gate.key, &Witnesses::default()).unwrap();
    assert!(matches!(receipt.entry(), Entry::Decided { request, .. } if request.to_string() == id));
    assert_eq!(receipt.entry().at(), at(3));
    // Not over what stands there.
    assert_eq!(json(&gate, &["prove", code]).1["code"], "write");
    let proof: LogProof = serde_json::from_str(&ok(&gate, &["prove", "6", "--out", "-"])).unwrap();
    assert_eq!(proof.index, 6);
    let open: Value = ok(&gate, &["list", "--type", "asked", "--json"])
        .lines()
        .last()
        .map(|l| serde_json::from_str(l).unwrap())
        .unwrap();
    let index = open["index"].to_string();
    assert_eq!(json(&gate, &["show", &index]).0, 0);
}

#[test]
fn the_log_is_exported_and_the_export_verified() {
    let mut gate = Gate::busy();
    let (_, first) = json(&gate, &["export", "out"]);
    assert_eq!((first["size"].clone(), first["before"].clone()), (21.into(), 0.into()));
    let against = gate.directory.path().join("out/checkpoint");
    fs::copy(&against, gate.directory.path().join("kept")).unwrap();
    gate.grant();
    let (_, next) = json(&gate, &["export", "out"]);
    assert_eq!((next["size"].clone(), next["before"].clone()), (26.into(), 21.into()));
    let (code, verdict) = json(&gate, &["verify", "--folder", "out", "--against", "kept"]);
    assert_eq!((code, verdict["entries"].clone(), verdict["kept"].clone()), (0, 26.into(), 1.into()));
    let tile = gate.directory.path().join("out/tile/entries/000.p/26");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[40] ^= 1;
    fs::write(&tile, bytes).unwrap();
    let (code, verdict) = json(&gate, &["verify", "--folder", "out"]);
    assert_eq!((code, verdict["code"].clone()), (3, "log-root".into()), "{verdict}");
}

/// Two export at once: the one that waits takes its checkpoint afterwards, and does not lead the folder back.
#[test]
fn one_export_waits_for_the_other() {
    let mut gate = Gate::new();
    ok(&gate, &["export", "out"]);
    let lock = fs::File::create(gate.state().join("export.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut export = command(&gate, &["audit", "export", "out"]).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(export.try_wait().unwrap().is_none(), "it did not wait");
    gate.grant();
    let newest = gate.store.checkpoint().unwrap().note().to_string();
    drop(lock);
    assert!(export.wait().unwrap().success());
    assert_eq!(fs::read_to_string(gate.directory.path().join("out/checkpoint")).unwrap(), newest);
}

/// A witness carried the checkpoint away, and the folder has gone further when its reply comes.
#[test]
fn a_reply_of_before_is_kept_and_the_folder_goes_on() {
    let mut gate = Gate::new();
    gate.grant();
    ok(&gate, &["export", "out"]);
    let checkpoint = gate.directory.path().join("out/checkpoint");
    fs::copy(&checkpoint, gate.directory.path().join("reply")).unwrap();
    gate.grant();
    ok(&gate, &["export", "out"]);
    gate.grant();
    let (code, said) = json(&gate, &["export", "out", "--cosigned", "reply"]);
    assert_eq!(code, 0, "{said}");
    let newest = gate.store.checkpoint().unwrap().note().to_string();
    assert_eq!(fs::read_to_string(checkpoint).unwrap(), newest);
}

#[test]
fn counters_are_told_by_key() {
    let gate = Gate::busy();
    let (code, told) = json(&gate, &["counters"]);
    let keys = told["keys"].as_array().unwrap();
    assert_eq!((code, keys.len()), (0, 3));
    let bob = keys.iter().find(|key| key["person"] == "bob").unwrap();
    assert_eq!((bob["answers"].clone(), bob["with_counter"].clone()), (3.into(), 0.into()));
    assert!(ok(&gate, &["counters"]).contains("3 answers, 0 with a counter; no counter came with any"));
}

/// What a log says whose answers came with counters: the store's number and the gaps.
#[test]
fn gaps_are_named_where_they_are() {
    let mut gate = Gate::new();
    let case = gate.ask();
    let (_, entry) = gate.judged(&case.challenge, "bob", touchgate::statement::Decision::Approve);
    let mut value = serde_json::to_value(&entry).unwrap();
    (value["signatures"], value["unseen"]) = (46.into(), 3.into());
    let entry: Entry = serde_json::from_value(value).unwrap();
    let Entry::Answered { key, .. } = &entry else { panic!() };
    let key: sequoia_openpgp::Fingerprint = key.parse().unwrap();
    gate.log(entry);
    assert!(ok(&gate, &["counters"]).contains("the store's counter is none, the log's 46"));
    let after = touchgate::verify::Counter { highest: 46, unseen: 3, reported: 3, at: at(2) };
    gate.write(&[touchgate::store::Op::Counter { key, before: None, after }]);
    let text = ok(&gate, &["counters"]);
    assert!(text.contains("counter 46, 3 signatures that nobody here saw"), "{text}");
    assert!(text.contains("3 before entry 2, the answer to "), "{text}");
}

/// Who looks needs nothing that could sign.
#[test]
fn the_log_is_read_without_its_private_key() {
    let gate = Gate::busy();
    fs::remove_dir_all(gate.state().join("keys")).unwrap();
    for arguments in
        [&["verify"][..], &["list"], &["show", "0"], &["counters"], &["export", "out"], &["prove", "6"]]
    {
        ok(&gate, arguments);
    }
    // By another key in trust it is not this log.
    let other = Gate::busy();
    for name in ["policy.toml", "../pin"] {
        let name = format!(".config/touchgate/trust/{name}");
        fs::copy(other.directory.path().join(&name), gate.directory.path().join(name)).unwrap();
    }
    let (code, said) = json(&gate, &["verify"]);
    assert_eq!((code, said["code"].clone()), (1, "store".into()), "{said}");
    assert!(said["message"].as_str().unwrap().contains("the checkpoint"), "{said}");
}

#[test]
fn without_a_log_it_says_so() {
    let gate = Gate::new();
    fs::remove_file(gate.state().join("store.db")).unwrap();
    for arguments in
        [&["verify"][..], &["show", "0"], &["counters"], &["export", "x"], &["prove", "0"], &["list"]]
    {
        let (code, said) = json(&gate, arguments);
        assert_eq!((code, said["code"].clone()), (1, "no-log".into()), "{arguments:?}");
    }
    assert!(!gate.state().join("store.db").exists());
}
