//! `run`: the grant that the command gets, the evidence that is left, and what the store knows of it.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use touchgate::audit::entry::Outcome;
use touchgate::challenge::RequestId;
use touchgate::evidence::Evidence;
use touchgate::grant;
use touchgate::store::{GrantRecord, RequestRecord, Store as _};
use touchgate::trust::Trust;
use touchgate::unix_time::UnixTime;

use support::{PIN, Running, World, gated, ran, run, run_with, signal};

fn state(world: &World) -> PathBuf {
    world.home.join(".local/state/touchgate")
}

fn trust(world: &World) -> Trust {
    Trust::load(&world.home.config().join("trust")).unwrap()
}

/// The name of the request whose statement was shown.
fn request(text: &str) -> RequestId {
    let line = text.lines().find_map(|line| line.split_once("request: 01")).unwrap().1;
    format!("01{line}").parse().unwrap()
}

fn record(world: &World, request: &RequestId) -> (RequestRecord, Option<GrantRecord>) {
    let store = world.store();
    (store.request(request).unwrap().unwrap(), store.grant(request).unwrap())
}

#[test]
fn the_command_gets_the_grant_by_a_descriptor_and_it_is_used_once() {
    let world = World::new("--touch=now");
    let script = "cat \"$TOUCHGATE_GRANT_FILE\"; echo \"$TOUCHGATE_GRANT_FILE\" >where; \
                  (echo x >>\"$TOUCHGATE_GRANT_FILE\") 2>/dev/null && touch written; true";
    let ran = ran(&world, &["--with", "version=1"], &["sh", "-c", script]).succeeded();
    let id = request(&ran.err);
    assert!(world.read("where").starts_with("/proc/self/fd/") && !world.exists("written"));
    // Any gate can check it.
    let (trust, now) = (trust(&world), UnixTime::now());
    let genuine = grant::check(ran.out.trim_end(), &trust.grant_keys, &trust.audience, now, None).unwrap();
    assert_eq!(genuine.claims().jti, id);
    let mut stated = genuine.claims().detail().parameters.clone();
    genuine.permits(&"deploy".parse().unwrap(), &"payments/prod".parse().unwrap(), &stated).unwrap();
    stated.insert("version".parse().unwrap(), touchgate::text::Text::new("2").unwrap());
    genuine.permits(&"deploy".parse().unwrap(), &"payments/prod".parse().unwrap(), &stated).unwrap_err();
    // The command's own use was counted.
    let (request, grant) = record(&world, &id);
    assert_eq!((request.outcome, request.answers.len()), (Some(Outcome::Approved), 1));
    assert_eq!(grant.map(|grant| (grant.used, grant.revoked)), Some((1, None)));
    // The token is as good as a password: it lies nowhere.
    let token = ran.out.trim_end().rsplit('.').next().unwrap().to_owned();
    let grep = run(world.command("grep").args(["-rlF", &token]).arg(world.home.path()));
    assert_eq!((grep.code, grep.out.as_str()), (1, ""));
}

#[test]
fn evidence_is_left_where_it_was_wanted_and_holds() {
    let world = World::new("--touch=now");
    let first = ran(&world, &[], &["true"]).succeeded();
    let id = request(&first.err);
    let own = state(&world).join("evidence");
    let path = own.join(format!("{}.evidence.json", id.short_code()));
    assert_eq!(fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o700);
    let evidence = Evidence::parse(fs::read_to_string(&path).unwrap().trim_end().as_bytes()).unwrap();
    assert_eq!(evidence.answers().len(), 1);
    assert!(evidence.log.is_some());
    let judged = run(world.touchgate(["verify", "--json"]).arg(&path)).succeeded();
    assert_eq!(judged.json()["verdict"], "approved", "{judged:#?}");

    fs::create_dir(world.home.work().join("kept")).unwrap();
    ran(&world, &["--evidence", "kept"], &["true"]).succeeded();
    assert_eq!(fs::read_dir(world.home.work().join("kept")).unwrap().count(), 1);
    // Where it cannot be left nobody is asked.
    let before = world.tell("trace count");
    let failed = ran(&world, &["--evidence", "missing", "--json"], &["touch", "ran"]).exits(121);
    assert_eq!(failed.json()["code"], "write");
    assert_eq!(world.tell("trace count"), before);
    assert!(!world.exists("ran"));
}

#[test]
fn a_run_within_a_run_of_the_same_is_an_error_and_of_another_is_none() {
    let world = World::new("--touch=now");
    let inner = |resource: &str, command: &str| {
        let run = format!("{} run deploy {resource} --json --no-input --pin-fd 3", support::PROGRAM);
        format!("printf '{PIN}\\n' | {{ exec 3<&0 </dev/null; {run} -- {command}; }}")
    };
    let nested = ran(&world, &[], &["sh", "-c", &inner("payments/prod", "touch ran")]).exits(121);
    let object: serde_json::Value = serde_json::from_str(nested.out.lines().last().unwrap()).unwrap();
    assert_eq!(object["code"], "nested-run", "{nested:#?}");
    assert!(!world.exists("ran"));
    ran(&world, &[], &["sh", "-c", &inner("payments/test", "touch ran")]).succeeded();
    assert!(world.exists("ran"));
    // A variable that names nothing of worth switches nothing off and nothing on.
    world.write("forged", "eyJhbGciOiJub25lIn0.e30.\n");
    for file in ["forged", "missing", "/dev/zero", ""] {
        let ran = run_with(gated(&world, &[], &["true"]).env("TOUCHGATE_GRANT_FILE", file), PIN).succeeded();
        assert!(ran.err.contains("approved: "), "{file}");
    }
}

/// Started by itself it asks for itself; started so, it finds its grant and goes on, and what it starts does too.
#[test]
fn a_script_may_ask_for_itself() {
    let world = World::new("--touch=now");
    let script = world.home.work().join("deploy.sh");
    let text = format!(
        "#!/bin/sh\n{program} grant check deploy payments/prod >&2 ||\n    \
         exec {program} run deploy payments/prod --no-input --pin-fd 3 -- \"$0\" \"$@\"\n\
         echo \"deployed $*\" >>ran\nsh -c '{program} grant check deploy payments/prod' >&2 && echo again >>ran\n",
        program = support::PROGRAM
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut shell = world.command("sh");
    shell.args([
        "-c",
        &format!("printf '{PIN}\\n' | {{ exec 3<&0 </dev/null; ./deploy.sh eu 'two words'; }}"),
    ]);
    let ran = run(&mut shell).succeeded();
    assert_eq!(world.read("ran"), "deployed eu two words\nagain\n", "{ran:#?}");
    assert_eq!(ran.err.matches("approved: ").count(), 1, "{ran:#?}");
    let (_, grant) = record(&world, &request(&ran.err));
    assert_eq!(grant.map(|grant| grant.used), Some(1));
}

#[test]
fn what_was_approved_and_not_started_is_revoked() {
    let world = World::new("--touch=ask");
    let program = world.home.work().join("program");
    let make = |text: &str| {
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    };
    make("#!/bin/sh\ntouch ran\n");
    let running = Running::start(&mut gated(&world, &[], &["./program"]), Some(PIN));
    world.tell("await-touch 120s");
    make("#!/bin/sh\ntouch ran more\n");
    world.tell("press");
    let failed = running.finish().exits(121);
    let (_, grant) = record(&world, &request(&failed.err));
    let grant = grant.unwrap();
    assert!(grant.used == 0 && grant.revoked.is_some(), "{grant:?}");
    assert!(!world.exists("ran"));
}

/// Only the kernel knows that it cannot: its interpreter is not there.
#[test]
fn what_cannot_be_started_after_all_is_revoked() {
    let world = World::new("--touch=now");
    let program = world.home.work().join("program");
    fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let failed = ran(&world, &[], &["./program"]).exits(121);
    let (_, grant) = record(&world, &request(&failed.err));
    let grant = grant.unwrap();
    assert!(grant.used == 1 && grant.revoked.is_some(), "{grant:?}");
    assert!(!failed.err.contains("not revoked"), "{failed:#?}");
}

#[test]
fn what_was_interrupted_is_taken_back_and_what_was_killed_grants_nothing() {
    let world = World::new("--touch=ask");
    for (name, ends, outcome) in [("INT", 130, Some(Outcome::Withdrawn)), ("KILL", 137, None)] {
        let running = Running::start(&mut gated(&world, &[], &["touch", "ran"]), Some(PIN));
        world.tell("await-touch 120s");
        signal(name, running.id());
        let ended = running.finish().exits(ends);
        let (request, grant) = record(&world, &request(&ended.err));
        assert_eq!((request.outcome, grant), (outcome, None), "{name}");
        assert!(!world.exists("ran"), "{name}");
        world.tell("press");
    }
}

#[test]
fn without_the_verifiers_keys_nobody_is_asked() {
    let world = World::new("--touch=never");
    let before = world.tell("trace count");
    let code = || ran(&world, &["--json"], &["touch", "ran"]).exits(121).json()["code"].clone();
    for key in ["log.pk8", "grant.pk8"] {
        let path = state(&world).join("keys").join(key);
        let kept = fs::read(&path).unwrap();
        fs::write(&path, "no key").unwrap();
        assert_eq!(code(), "bad-key", "{key}");
        fs::remove_file(&path).unwrap();
        assert_eq!(code(), "unreadable", "{key}");
        fs::write(&path, kept).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(["bad-key", "unsafe-permissions"].contains(&code().as_str().unwrap()), "{key}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(world.tell("trace count"), before);
    assert!(!world.exists("ran"));
}

#[test]
fn breaking_the_glass_needs_a_reason_and_a_rule() {
    let world = World::new("--touch=now");
    assert_eq!(ran(&world, &["--break-glass"], &["touch", "ran"]).code, 122);
    let failed = ran(&world, &["--break-glass", "--reason", "the house burns", "--json"], &["touch", "ran"]);
    assert_eq!(failed.exits(123).json()["code"], "no-rule");
    assert!(!world.exists("ran"));
}

/// The emergency rule is one of its own; afterwards the resource waits until it was looked at.
#[test]
fn broken_glass_leaves_a_debt() {
    let world = World::new("--touch=now");
    let policy = world.home.config().join("trust/policy.toml");
    let rule = "\n[[rule]]\naction = \"deploy\"\nneed = [{ from = \"@requester\" }]\ntier = \"declared\"\nmode = \"break-glass\"\n";
    fs::write(&policy, fs::read_to_string(&policy).unwrap() + rule).unwrap();
    fs::remove_file(world.home.config().join("pin")).unwrap();
    let broken =
        ran(&world, &["--unpinned", "--break-glass", "--reason", "the house burns"], &["touch", "ran"])
            .succeeded();
    assert!(
        broken.err.contains("│ mode: break-glass\n") && broken.err.contains("│ reason: the house burns\n")
    );
    assert!(world.exists("ran"));
    let owed = world.store().debts(&"payments/prod".parse().unwrap()).unwrap();
    assert_eq!(owed, [request(&broken.err)]);
    let before = world.tell("trace count");
    let waits = ran(&world, &["--unpinned", "--json"], &["touch", "more"]);
    assert_eq!(waits.json()["code"], "debt", "{waits:#?}");
    assert!(waits.code > 120 && !world.exists("more"));
    assert_eq!(world.tell("trace count"), before);
}
