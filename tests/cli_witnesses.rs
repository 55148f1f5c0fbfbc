//! `run --witnesses`: nothing starts before the witnesses that trust demands saw the decision in the log. The witness
//! is another program, in Go, that follows the directory.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "audit/go.rs"]
mod go;
#[path = "support/cli.rs"]
mod support;
#[path = "support/team.rs"]
#[allow(dead_code)]
mod team;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use touchgate::audit::{LogSigner, WitnessKey};
use touchgate::evidence::Evidence;
use touchgate::grant::GrantSigner;
use touchgate::store::sqlite::Sqlite;
use touchgate::trust::manifest::Manifest;
use touchgate::trust::{Trust, read_directory, versions};
use touchgate::unix_time::UnixTime;
use touchgate::verifier::Verifier;

use support::{PIN, Ran, Running, SERIAL, World, gated, ran, run, run_with, signal, wait_until};
use team::{BOBS, as_holder, team};

/// Where the log lies, in the working directory.
const LOG: &str = "log";
const RUN: [&str; 2] = ["--witnesses", LOG];
const COMMAND: [&str; 3] = ["sh", "-c", "touch ran; echo it ran"];

/// The name, the private key's seed and the public key of a witness.
fn witness(which: u8) -> (String, String, WitnessKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[which; 32]).unwrap();
    let name = format!("w{which}.example");
    let key = WitnessKey::new(&name, pair.public_key().as_ref().try_into().unwrap()).unwrap();
    (name, format!("{which:02x}").repeat(32), key)
}

fn number(which: u8) -> String {
    witness(which).2.to_string().split('+').nth(1).unwrap().to_owned()
}

/// Has trust demand that `needed` of witnesses 1 to `known` see the log, and everything be answered within this time.
fn demand(world: &World, needed: usize, known: u8, answer_within: &str) {
    let trust = world.home.config().join("trust");
    let policy = fs::read_to_string(trust.join("policy.toml")).unwrap();
    let policy = policy.replacen('\n', &format!("\nwitnesses_needed = {needed}\n"), 1);
    let policy = policy.replace("\"15m\"", &format!("\"{answer_within}\""));
    let listed = (1..=known).map(|which| format!("\n[[witness]]\nkey = \"{}\"\n", witness(which).2));
    fs::write(trust.join("policy.toml"), policy + &listed.collect::<String>()).unwrap();
    let version = Trust::load(&trust).unwrap().version;
    fs::write(world.home.config().join("pin"), versions::write_pin(&version)).unwrap();
}

/// A person with a token, and trust that demands witnesses.
fn world(needed: usize, known: u8, answer_within: &str) -> World {
    let world = World::new("--touch=now");
    demand(&world, needed, known, answer_within);
    world
}

fn at(world: &World, name: &str) -> PathBuf {
    world.home.work().join(LOG).join(name)
}

fn log_key(world: &World) -> String {
    Trust::load(&world.home.config().join("trust")).unwrap().log_key.unwrap().to_string()
}

/// A witness that follows the directory, which is there.
struct Witness(Child);

impl Witness {
    fn start(world: &World, which: u8) -> Self {
        let (name, seed, _) = witness(which);
        let mut command = Command::new(go::witness());
        command.args(["follow", LOG, &log_key(world), &name, &seed]).current_dir(world.home.work());
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// The checkpoint as it stands in the directory, cosigned once.
    fn signs(world: &World, which: u8) -> String {
        let (name, seed, _) = witness(which);
        let now = UnixTime::now().seconds().to_string();
        let checkpoint = at(world, "checkpoint");
        let checkpoint = checkpoint.to_str().unwrap();
        let mut command = Command::new(go::witness());
        command.args(["cosign", LOG, &log_key(world), checkpoint, &name, &seed, &now]);
        let said = run(command.current_dir(world.home.work())).succeeded().out;
        said.split_once('\n').unwrap().1.to_owned()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A run that was approved and waits for witnesses.
fn waiting(world: &World, options: &[&str]) -> Running {
    let running = Running::start(&mut gated(world, &[&RUN[..], options].concat(), &COMMAND), Some(PIN));
    running.wait_for_stderr("waiting for ");
    running
}

fn audit(world: &World, arguments: &[&str]) -> Ran {
    run(world.touchgate(["audit"]).args(arguments)).succeeded()
}

/// The entries of the log of this kind.
fn logged(world: &World, kind: &str) -> Vec<Value> {
    let list = audit(world, &["list", "--json", "--type", kind]).out;
    list.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn evidence(world: &World) -> Vec<PathBuf> {
    let folder = world.home.join(".local/state/touchgate/evidence");
    fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect()
}

#[test]
fn it_runs_once_a_witness_saw_the_decision_and_anybody_can_tell() {
    let world = world(1, 2, "15m");
    let running = waiting(&world, &[]);
    let said = running.stderr();
    assert!(said.contains(" is approved; waiting for 1 of 2 witnesses until "), "{said}");
    let place = at(&world, "cosigned").join(number(2));
    let place = place.strip_prefix(world.home.work()).unwrap().display();
    assert!(
        said.contains(&format!("w2.example: the checkpoint with its cosignature as {place}\n")),
        "{said}"
    );
    assert!(!world.exists("ran") && evidence(&world).is_empty() && logged(&world, "used").is_empty());

    let follower = Witness::start(&world, 2);
    let ran = running.finish().succeeded();
    assert_eq!(ran.out, "it ran\n");
    assert!(ran.err.contains("seen: ") && ran.err.contains(" of the log, by w2.example at "), "{ran:#?}");
    // The use stands where witnesses look, too, and this one sees it next.
    let size = logged(&world, "used")[0]["index"].as_u64().unwrap() + 1;
    let cosigned = || fs::read_to_string(at(&world, "cosigned").join(number(2))).unwrap();
    wait_until("the use is seen", || cosigned().lines().nth(1) == Some(&size.to_string()));
    drop(follower);

    // On another machine, by the pin alone.
    let file = evidence(&world).remove(0);
    let elsewhere = tempfile::tempdir().unwrap();
    let config = elsewhere.path().join(".config/touchgate");
    fs::create_dir_all(&config).unwrap();
    fs::copy(world.home.config().join("pin"), config.join("pin")).unwrap();
    let verify = |name: &str| {
        let mut command = Command::new(support::PROGRAM);
        command.env_clear().env("HOME", elsewhere.path()).current_dir(elsewhere.path());
        run(command.args(["verify", name, "--json"]))
    };
    fs::copy(&file, elsewhere.path().join("e.json")).unwrap();
    let verdict = verify("e.json").succeeded().json();
    assert_eq!(verdict["time"]["by"], "w2.example", "{verdict}");
    assert!(verdict["checked"].as_array().unwrap().contains(&json!("witnesses")), "{verdict}");
    // Without that line it is nothing.
    let mut parsed = Evidence::parse(&fs::read(&file).unwrap()).unwrap();
    let log = parsed.log.as_mut().unwrap();
    log.checkpoint = log
        .checkpoint
        .lines()
        .filter(|line| !line.contains("w2.example"))
        .fold(String::new(), |text, line| text + line + "\n");
    fs::write(elsewhere.path().join("f.json"), parsed.to_json()).unwrap();
    let bare = verify("f.json").exits(3).json();
    assert_eq!(bare["code"], "log-proof", "{bare}");
    audit(&world, &["verify"]);
}

#[test]
fn two_witnesses_that_answer_in_two_files_add_up() {
    let world = world(2, 3, "15m");
    let running = waiting(&world, &[]);
    let _first = Witness::start(&world, 3);
    running.wait_for_stderr("seen by   w3.example\n");
    running.wait_for_stderr("waiting for 1 of 2 witnesses until ");
    assert!(!world.exists("ran"));
    let _second = Witness::start(&world, 1);
    let ran = running.finish().succeeded();
    assert_eq!(ran.out, "it ran\n");
    // And the next one needs nobody's hand.
    fs::remove_file(world.home.work().join("ran")).unwrap();
    let options = ["--status-fd", "4"];
    let mut shell = world.command("sh");
    shell.args(["-c", "{ \"$@\" 4>&1 >out; } | cat >status", "sh", support::PROGRAM]).args(support::RUN);
    shell.args(RUN).args(options).arg("--").args(COMMAND);
    run_with(&mut shell, PIN).succeeded();
    assert_eq!(world.read("out"), "it ran\n");
    let status: Value = serde_json::from_str(&world.read("status")).unwrap();
    let mut seen: Vec<&str> =
        status["witnesses"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, ["w1.example", "w3.example"]);
}

/// The log grows while they wait: one checkpoint has both decisions in it, and opens both.
#[test]
fn several_runs_wait_beside_each_other() {
    let world = world(2, 2, "15m");
    let first = waiting(&world, &[]);
    // Seen by one before the other asks.
    let follower = Witness::start(&world, 1);
    first.wait_for_stderr("seen by   w1.example\n");
    let second = waiting(&world, &[]);
    second.wait_for_stderr("seen by   w1.example\n");
    let last = Witness::start(&world, 2);
    for running in [first, second] {
        assert_eq!(running.finish().succeeded().out, "it ran\n");
    }
    drop((follower, last));
    assert_eq!((evidence(&world).len(), logged(&world, "used").len()), (2, 2));
    audit(&world, &["verify"]);
}

#[test]
fn one_of_two_is_not_enough_and_the_grant_is_gone_with_the_time() {
    let world = world(2, 2, "10s");
    let running = waiting(&world, &["--json"]);
    let _follower = Witness::start(&world, 1);
    running.wait_for_stderr("seen by   w1.example\n");
    let late = running.finish().exits(124);
    let object = late.json();
    assert_eq!((&object["verdict"], &object["code"]), (&json!("expired"), &json!("not-seen")));
    assert_eq!(object["missing"], "1 of w2.example");
    assert!(!world.exists("ran") && evidence(&world).is_empty());
    assert_eq!(logged(&world, "revoked")[0]["because"], "not-seen");
    // Whoever comes now opens nothing.
    fs::write(at(&world, "cosigned").join(number(2)), Witness::signs(&world, 2)).unwrap();
    let list = run(&mut world.touchgate(["grant", "list", "--json"])).succeeded().json();
    assert_eq!(list["grants"], json!([]));
    assert!(logged(&world, "used").is_empty() && !world.exists("ran"));
    audit(&world, &["verify"]);
}

#[test]
fn the_time_ends_with_the_grant_if_that_is_sooner() {
    let world = World::new("--touch=now");
    let policy = world.home.config().join("trust/policy.toml");
    let text = fs::read_to_string(&policy).unwrap();
    let shorter = "\"15m\"\ngrant = { lasts = \"4s\", uses = 1 }";
    fs::write(policy, text.replacen("\"15m\"", shorter, 1)).unwrap();
    demand(&world, 1, 1, "15m");
    let late = ran(&world, &[&RUN[..], &["--json"]].concat(), &COMMAND).exits(124);
    assert_eq!(late.json()["code"], "not-seen", "{late:#?}");
    assert!(!world.exists("ran"));
}

#[test]
fn forged_and_foreign_cosignatures_open_nothing() {
    let world = world(1, 2, "15m");
    let running = waiting(&world, &[]);
    let (one, two) = (at(&world, "cosigned").join(number(1)), at(&world, "cosigned").join(number(2)));
    let plain = fs::read_to_string(at(&world, "checkpoint")).unwrap();
    let genuine = Witness::signs(&world, 2);
    let line = genuine.lines().last().unwrap();
    let told = |text: &str| running.wait_for_stderr(text);
    let not_counted = |which: u8, why: &str| told(&format!("cosigned/{}: {why}", number(which)));
    // A stranger's, under its own name and under a witness's.
    fs::write(&one, Witness::signs(&world, 3)).unwrap();
    not_counted(1, "0 of the 1 witnesses that are needed saw the checkpoint");
    let strangers = Witness::signs(&world, 3);
    let key = strangers.lines().last().unwrap().rsplit(' ').next().unwrap();
    fs::write(&one, format!("{plain}— w1.example {key}\n")).unwrap();
    // Good bytes over another checkpoint: one more entry than there is.
    let size: u64 = plain.lines().nth(1).unwrap().parse().unwrap();
    let other = genuine.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size + 1), 1);
    fs::write(&two, other).unwrap();
    not_counted(2, "the signature of ");
    // A witness's own bytes with the last one changed; twice; half of it.
    let (name, encoded) = line.rsplit_once(' ').unwrap();
    let mut bytes = STANDARD.decode(encoded).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&two, format!("{plain}{name} {}\n", STANDARD.encode(bytes))).unwrap();
    not_counted(2, "the cosignature of the witness w2.example is wrong");
    fs::write(&two, format!("{genuine}{line}\n")).unwrap();
    not_counted(2, "the witness w2.example stands twice under the checkpoint");
    fs::write(&two, &genuine[..genuine.len() - 9]).unwrap();
    not_counted(2, "not a signed note");
    // What leads elsewhere, what never ends, and what draws on the screen.
    fs::write(world.home.work().join("elsewhere"), &genuine).unwrap();
    fs::remove_file(&two).unwrap();
    symlink(world.home.work().join("elsewhere"), &two).unwrap();
    not_counted(2, "Too many levels of symbolic links");
    fs::remove_file(&two).unwrap();
    run(Command::new("mkfifo").arg(&two)).succeeded();
    fs::remove_file(&one).unwrap();
    fs::write(&one, "\u{1b}[31m\n0\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— x AAAAAAAA\n").unwrap();
    not_counted(1, "not a signed note: a control character");
    fs::write(&one, "x".repeat(20_000)).unwrap();
    not_counted(1, "longer than 16384 bytes");
    // Names that nobody looks at.
    for name in 0..300 {
        fs::write(at(&world, "cosigned").join(format!("{name}.note")), &genuine).unwrap();
    }
    assert!(!world.exists("ran") && !running.stderr().contains('\u{1b}'), "{}", running.stderr());
    // None of it kept the good one out.
    fs::remove_file(&two).unwrap();
    fs::write(&two, &genuine).unwrap();
    assert_eq!(running.finish().succeeded().out, "it ran\n");
}

#[test]
fn without_a_directory_nobody_is_asked() {
    let world = world(1, 2, "15m");
    let refused = ran(&world, &["--json"], &COMMAND).exits(121);
    let object = refused.json();
    assert_eq!((&object["verdict"], &object["code"]), (&json!("failed"), &json!("witnesses")));
    assert_eq!(object["witnesses"], "w1.example, w2.example");
    assert!(object["hint"].as_str().unwrap().ends_with("--witnesses DIR"), "{object}");
    assert!(!refused.err.contains("touch") && !world.home.join(".local/state/touchgate/store.db").exists());
    let dry = ran(&world, &["--dry-run"], &COMMAND).succeeded();
    assert!(
        dry.out.contains("\nwitnesses: 1 of w1.example, w2.example, by way of --witnesses DIR\n"),
        "{dry:#?}"
    );
    // Nor where it cannot be written, or is another log's.
    world.write(LOG, "");
    let file = ran(&world, &["--json", "--witnesses", LOG], &COMMAND).exits(121);
    assert_eq!(file.json()["code"], "unreadable", "{file:#?}");
    fs::remove_file(world.home.work().join(LOG)).unwrap();
    fs::create_dir(world.home.work().join(LOG)).unwrap();
    fs::write(at(&world, "checkpoint"), "other.example\n0\nx\n\n— x AAAAAAAA\n").unwrap();
    let other = ran(&world, &["--json", "--witnesses", LOG], &COMMAND).exits(123);
    assert_eq!(other.json()["code"], "log-checkpoint", "{other:#?}");
    assert!(logged(&world, "asked").is_empty());
}

/// A place for the log is enough where no witness is demanded: who follows it sees each decision and its use.
#[test]
fn where_none_is_demanded_none_is_waited_for() {
    let world = World::new("--touch=now");
    assert_eq!(ran(&world, &RUN, &COMMAND).succeeded().out, "it ran\n");
    let size = logged(&world, "used")[0]["index"].as_u64().unwrap() + 1;
    let checkpoint = fs::read_to_string(at(&world, "checkpoint")).unwrap();
    assert_eq!(checkpoint.lines().nth(1), Some(size.to_string().as_str()));
    audit(&world, &["verify", "--folder", LOG]);
}

#[test]
fn killed_while_it_waits_nothing_is_opened_later() {
    let world = world(1, 1, "15m");
    let running = waiting(&world, &[]);
    signal("KILL", running.id());
    running.finish().exits(137);
    // Seen all the same; and another run goes its own way.
    let _follower = Witness::start(&world, 1);
    wait_until("it is seen", || at(&world, "cosigned").join(number(1)).exists());
    let next = ["sh", "-c", "touch next"];
    ran(&world, &RUN, &next).succeeded();
    assert!(world.exists("next") && !world.exists("ran"));
    assert_eq!((evidence(&world).len(), logged(&world, "used").len()), (1, 1));
    let decided = logged(&world, "decided");
    assert_eq!(decided.len(), 2);
    let first = decided[0]["request"].as_str().unwrap();
    assert_ne!(logged(&world, "used")[0]["grant"], first);
    // What is left of it is taken back like any grant.
    run(&mut world.touchgate(["grant", "revoke", first])).succeeded();
    audit(&world, &["verify"]);
}

#[test]
fn who_stops_it_or_takes_it_back_meanwhile_has_it_stopped() {
    let world = world(1, 1, "15m");
    for name in ["INT", "TERM", "HUP"] {
        let running = waiting(&world, &[]);
        signal(name, running.id());
        running.finish().exits(130);
        assert_eq!(logged(&world, "revoked").last().unwrap()["because"], "cancelled", "{name}");
    }
    let running = waiting(&world, &["--json"]);
    let list = run(&mut world.touchgate(["grant", "list", "--json"])).succeeded().json();
    let grant = list["grants"][0]["request"].as_str().unwrap();
    run(&mut world.touchgate(["grant", "revoke", grant])).succeeded();
    assert_eq!(running.finish().exits(123).json()["code"], "grant-revoked");
    assert!(!world.exists("ran"));
    // The witness says so too late each time.
    let _follower = Witness::start(&world, 1);
    ran(&world, &RUN, &["true"]).succeeded();
    assert!(!world.exists("ran"));
    audit(&world, &["verify"]);
}

/// A run that two people approved by files and that waits for a witness; the request's file is kept.
fn approved_by_two(world: &World) -> (Running, String) {
    let share = world.home.work().join("share");
    fs::create_dir(&share).unwrap();
    fs::create_dir(world.home.work().join("stick")).unwrap();
    let mut asked = world.touchgate(["run", "deploy", "payments/prod", "--exchange", "share", "--no-input"]);
    let running = Running::start(asked.args(RUN).args(["--json", "--"]).args(COMMAND), None);
    let name = || -> Option<String> {
        let mut names = fs::read_dir(&share).unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
        names.find(|name| name.ends_with(".request"))
    };
    wait_until("it is asked", || name().is_some());
    let request = name().unwrap();
    fs::copy(share.join(&request), world.home.work().join("stick").join(&request)).unwrap();
    for serial in [SERIAL, BOBS] {
        as_holder(world, serial, &["approve", "--exchange", "share"]).succeeded();
    }
    running.wait_for_stderr("waiting for 1 of 1 witnesses");
    assert!(name().is_none(), "nobody is asked about what is decided");
    (running, request.strip_suffix(".request").unwrap().to_owned())
}

/// Signed before the decision fell, carried in after it.
#[test]
fn a_refusal_that_was_on_its_way_takes_the_grant_back() {
    let world = team("--touch=now", "15m");
    demand(&world, 1, 1, "15m");
    let (running, code) = approved_by_two(&world);
    as_holder(&world, BOBS, &["refuse", &format!("stick/{code}.request")]).succeeded();
    let refusal = world.home.work().join(format!("stick/{code}.refusal"));
    fs::copy(refusal, world.home.work().join(format!("share/{code}.late.refusal"))).unwrap();
    let ended = running.finish().exits(123);
    assert_eq!(ended.json()["code"], "refused", "{ended:#?}");
    assert_eq!(logged(&world, "revoked")[0]["by"], "bob");
    assert!(!world.exists("ran"));
}

#[test]
fn a_token_that_is_lost_meanwhile_ends_it() {
    let world = team("--touch=now", "15m");
    let policy = world.home.config().join("trust/policy.toml");
    let rule = "\n[[rule]]\naction = \"touchgate.trust.revoke\"\ntier = \"declared\"\nneed = [{ from = \"release\" }]\n";
    fs::write(&policy, fs::read_to_string(&policy).unwrap() + rule).unwrap();
    demand(&world, 1, 1, "15m");
    let (running, _) = approved_by_two(&world);
    as_holder(&world, BOBS, &["trust", "revoke", SERIAL]).succeeded();
    let ended = running.finish().exits(121);
    assert_eq!(ended.json()["code"], "token-revoked-meanwhile", "{ended:#?}");
    assert_eq!(logged(&world, "revoked").len(), 1);
    assert!(!world.exists("ran"));
}

/// Put into force by another process of the same verifier.
#[test]
fn trust_that_is_replaced_meanwhile_ends_it() {
    let world = world(1, 1, "15m");
    let running = waiting(&world, &["--json"]);
    let state = world.home.join(".local/state/touchgate");
    let mut files = read_directory(&world.home.config().join("trust")).unwrap();
    let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
    let raised =
        |line: &str| if line.starts_with("version ") { "version = 2\n".into() } else { format!("{line}\n") };
    files.insert("policy.toml".into(), policy.lines().map(raised).collect::<String>().into_bytes());
    let trust = Trust::from_files(&files).unwrap();
    assert_eq!((trust.version.number, trust.witnesses.needed()), (2, 1));
    let key = fs::read(state.join("keys/log.pk8")).unwrap();
    let log = LogSigner::from_pkcs8(trust.audience.as_str(), &key).unwrap();
    let store = Sqlite::open(&state.join("store.db"), log).unwrap();
    let grants = GrantSigner::load(&state.join("keys/grant.pk8"), &trust.grant_keys).unwrap();
    Verifier::new(&store, trust, Manifest::new(files), grants, UnixTime::now()).unwrap();
    let ended = running.finish().exits(121);
    assert_eq!(ended.json()["code"], "trust-rollback", "{ended:#?}");
    assert!(!world.exists("ran"));
}

/// Nobody is said to have missed what the store itself cannot show any more.
#[test]
fn a_store_that_is_damaged_meanwhile_is_no_fault_of_the_witnesses() {
    let world = world(1, 1, "15s");
    let running = waiting(&world, &["--json"]);
    let store = world.home.join(".local/state/touchgate/store.db");
    let db = rusqlite::Connection::open(store).unwrap();
    db.execute("UPDATE log SET line = line || ' ' WHERE size > 0", []).unwrap();
    let ended = running.finish().exits(121).json();
    assert_eq!(ended["code"], "store", "{ended}");
    assert!(!world.exists("ran"));
}

/// Store, kept checkpoint and export are all of before; a witness has seen what came after.
#[test]
fn a_store_that_is_behind_its_witness_asks_nobody() {
    let world = world(1, 1, "15m");
    let state = world.home.join(".local/state/touchgate");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        run(Command::new("cp").arg("-a").args([from, to])).succeeded();
    };
    let running = waiting(&world, &[]);
    signal("INT", running.id());
    running.finish().exits(130);
    copy(&state, &world.home.join("before"));
    let follower = Witness::start(&world, 1);
    ran(&world, &RUN, &["true"]).succeeded();
    drop(follower);
    fs::remove_dir_all(&state).unwrap();
    copy(&world.home.join("before"), &state);
    let behind = ran(&world, &[&RUN[..], &["--json"]].concat(), &COMMAND).exits(123).json();
    assert_eq!(behind["code"], "log-behind", "{behind}");
    for name in ["checkpoint", "tile"] {
        let path = at(&world, name);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    let behind = ran(&world, &[&RUN[..], &["--json"]].concat(), &COMMAND).exits(123).json();
    assert_eq!(behind["code"], "log-behind", "{behind}");
    assert!(behind["kept_in"].as_str().unwrap().ends_with(&number(1)), "{behind}");
    assert!(!world.exists("ran") && logged(&world, "asked").len() == 1);
}
