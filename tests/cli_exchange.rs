//! `run --exchange`: several people approve by files, and what else may lie in the directory.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;
#[path = "support/team.rs"]
mod team;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use touchgate::grant::GrantSigner;
use touchgate::response::Response;
use touchgate::store::Store as _;
use touchgate::store::sqlite::Sqlite;
use touchgate::trust::manifest::Manifest;
use touchgate::trust::{Trust, read_directory, versions};
use touchgate::unix_time::UnixTime;
use touchgate::verifier::Verifier;

use support::{PIN, Running, SERIAL, Terminal, World, run, signal, wait_until};
use team::{BOBS, as_holder, team, team_with};

const RUN: [&str; 6] = ["run", "deploy", "payments/prod", "--exchange", "share", "--no-input"];

fn share(world: &World) -> PathBuf {
    let share = world.home.work().join("share");
    fs::create_dir_all(&share).unwrap();
    share
}

fn asked(world: &World, options: &[&str]) -> Command {
    share(world);
    let mut touchgate = world.touchgate(RUN);
    touchgate.args(options).args(["--", "sh", "-c", "touch ran; echo it ran"]);
    touchgate
}

/// Waits for the request's file in the directory, and gives its code.
fn code(world: &World) -> String {
    let requests = || -> Vec<String> {
        let names = fs::read_dir(share(world)).unwrap().flatten();
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        names.filter_map(|name| name.strip_suffix(".request").map(str::to_owned)).collect()
    };
    wait_until("the request is there", || requests().len() == 1);
    requests().remove(0)
}

#[test]
fn two_people_approve_by_files_and_it_runs_once() {
    let world = team("--touch=now", "15m");
    let running = Running::start(&mut asked(&world, &[]), None);
    let code = code(&world);
    let first = as_holder(&world, SERIAL, &["approve", "--exchange", "share"]).succeeded();
    assert!(first.out.contains(&format!("share/{code}.alice.approval")), "{first:#?}");
    running.wait_for_stderr("approved  alice (token 12345678");
    assert!(!world.exists("ran"));
    // The same person again is told before any touch.
    let again = as_holder(&world, SERIAL, &["approve", "--exchange", "share", &code, "--json"]).exits(1);
    assert_eq!(again.json()["code"], "write", "{again:#?}");
    as_holder(&world, BOBS, &["approve", "--exchange", "share", &code]).succeeded();
    let ran = running.finish().succeeded();
    assert_eq!(ran.out, "it ran\n");
    assert!(ran.err.contains("by alice (") && ran.err.contains("by bob ("), "{ran:#?}");
    // Nobody touches a token for what was decided.
    assert!(!share(&world).join(format!("{code}.request")).exists());
    let nothing = as_holder(&world, BOBS, &["approve", "--exchange", "share", "--json"]).exits(2);
    assert!(nothing.json()["message"].as_str().unwrap().starts_with("nothing waits"), "{nothing:#?}");
}

#[test]
fn a_refusal_ends_it_and_says_why() {
    let world = team("--touch=now", "15m");
    let running = Running::start(&mut asked(&world, &["--json"]), None);
    let code = code(&world);
    as_holder(&world, SERIAL, &["approve", "--exchange", "share"]).succeeded();
    let refuse = ["refuse", "--exchange", "share", &code, "--because", "not during the freeze"];
    as_holder(&world, BOBS, &refuse).succeeded();
    let refused = running.finish().exits(123);
    let object = refused.json();
    assert_eq!(
        (&object["verdict"], &object["code"], &object["because"]),
        (&"refused".into(), &"refused".into(), &"not during the freeze".into())
    );
    assert!(!world.exists("ran") && !share(&world).join(format!("{code}.request")).exists());
}

#[test]
fn what_nobody_answers_in_time_expires() {
    let world = team("--touch=now", "2s");
    let expired = run(&mut asked(&world, &["--json"])).exits(124);
    let object = expired.json();
    assert_eq!((&object["verdict"], &object["code"]), (&"expired".into(), &"expired".into()));
    assert!(object["missing"].as_str().unwrap().starts_with("2 more"), "{object}");
    assert!(!world.exists("ran"));
}

#[test]
fn files_that_were_tampered_with_replayed_or_are_none_do_not_count() {
    let world = team("--touch=now", "15m");
    let earlier = Running::start(&mut asked(&world, &[]), None);
    let first = code(&world);
    as_holder(&world, BOBS, &["approve", "--exchange", "share"]).succeeded();
    earlier.wait_for_stderr("by bob");
    signal("TERM", earlier.id());
    earlier.finish().exits(130);

    let running = Running::start(&mut asked(&world, &["--with", "version=1"]), None);
    let code = code(&world);
    let at = |name: &str| share(&world).join(format!("{code}{name}"));
    as_holder(&world, SERIAL, &["approve", "--exchange", "share"]).succeeded();
    running.wait_for_stderr("by alice");
    // Alice's own again, under another name.
    fs::copy(at(".alice.approval"), at(".bob.approval")).unwrap();
    running.wait_for_stderr("rejected (replayed)");
    // Bob's approval of the request before.
    fs::copy(share(&world).join(format!("{first}.bob.approval")), at(".1.approval")).unwrap();
    running.wait_for_stderr("rejected (unknown-request)");
    // Other words over the same signature, signed by nobody at all, half of one, and names that draw on the screen.
    let good = fs::read_to_string(at(".alice.approval")).unwrap();
    fs::write(at(".2.approval"), good.replace("param.version: 1", "param.version: 2")).unwrap();
    running.wait_for_stderr("rejected (altered)");
    let (text, _) = good.split_once("\n\n").unwrap();
    fs::write(
        at(".3.approval"),
        format!("{text}\n\n-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"),
    )
    .unwrap();
    fs::write(at(".4.approval"), &good[..good.len() / 2]).unwrap();
    fs::write(at(".\u{1b}[31m.approval"), "x").unwrap();
    running.wait_for_stderr(".\\u{1b}[31m.approval: no blank line");
    running.wait_for_stderr(".4.approval");
    assert!(!running.stderr().contains('\u{1b}'), "{}", running.stderr());
    assert!(!world.exists("ran"));
    // None of it kept the good one out.
    as_holder(&world, BOBS, &["approve", "--exchange", "share", &code]).exits(1);
    fs::remove_file(at(".bob.approval")).unwrap();
    as_holder(&world, BOBS, &["approve", "--exchange", "share"]).succeeded();
    assert_eq!(running.finish().succeeded().out, "it ran\n");
}

/// The request is carried to a machine without any way here, and the answers are carried back.
#[test]
fn an_air_gap_is_no_obstacle() {
    let world = team("--touch=now", "15m");
    let running = Running::start(&mut asked(&world, &[]), None);
    let code = code(&world);
    for (place, serial) in [("stick-1", SERIAL), ("stick-2", BOBS)] {
        let stick = world.home.work().join(place);
        fs::create_dir(&stick).unwrap();
        fs::copy(share(&world).join(format!("{code}.request")), stick.join("carried.request")).unwrap();
        as_holder(&world, serial, &["approve", &format!("{place}/carried.request")]).succeeded();
        // As programs copy it, bit by bit, under whatever name.
        let back = share(&world).join(format!("{code}.{place}.approval"));
        let bytes = fs::read(stick.join(format!("{code}.approval"))).unwrap();
        for part in 1..=4 {
            fs::write(&back, &bytes[..bytes.len() * part / 4]).unwrap();
        }
    }
    let ran = running.finish().succeeded();
    assert_eq!(ran.out, "it ran\n");
    assert!(!ran.err.contains("not counted: "), "{ran:#?}");
}

#[test]
fn whoever_stops_it_at_any_moment_has_run_nothing() {
    let world = team("--touch=now", "15m");
    for (name, ends) in [("INT", 130), ("TERM", 130), ("HUP", 130), ("KILL", 137)] {
        let running = Running::start(&mut asked(&world, &[]), None);
        let code = code(&world);
        as_holder(&world, SERIAL, &["approve", "--exchange", "share"]).succeeded();
        running.wait_for_stderr("by alice");
        signal(name, running.id());
        running.finish().exits(ends);
        assert!(!world.exists("ran"), "{name}");
        // An approval that comes too late meets nobody.
        let left = share(&world).join(format!("{code}.request"));
        assert_eq!(left.exists(), name == "KILL", "{name}");
        let _ = fs::remove_file(left);
    }
}

#[test]
fn a_directory_that_is_none_is_said_before_anybody_is_asked() {
    let world = team("--touch=never", "15m");
    let run_in = |place: &str| {
        let arguments =
            ["run", "deploy", "payments/prod", "--json", "--no-input", "--exchange", place, "--", "true"];
        run(&mut world.touchgate(arguments)).exits(121)
    };
    world.write("file", "");
    for place in ["missing", "file"] {
        assert_eq!(run_in(place).json()["code"], "no-exchange", "{place}");
    }
    // Without one, and with nobody to ask here, one token is not enough.
    let alone = ["run", "deploy", "payments/prod", "--json", "--no-input", "--", "true"];
    assert_eq!(run(&mut world.touchgate(alone)).exits(121).json()["code"], "quorum");
    // Nor where there are not people enough.
    let bob = world.home.config().join("trust/people/bob.toml");
    fs::write(&bob, fs::read_to_string(&bob).unwrap().replace("\"release\"", "")).unwrap();
    fs::remove_file(world.home.config().join("pin")).unwrap();
    let few = run(&mut asked(&world, &["--json", "--unpinned"])).exits(121);
    assert!(few.json()["message"].as_str().unwrap().ends_with("and fewer people could"), "{few:#?}");
    assert_eq!(fs::read_dir(share(&world)).unwrap().count(), 0);
}

// At a terminal.

#[test]
fn one_after_the_other_approves_at_one_terminal() {
    let world = team("--touch=now", "15m");
    let mut terminal = Terminal::new();
    let arguments = ["run", "deploy", "payments/prod", "--card", SERIAL, "--", "echo", "it ran"];
    let running = Running::start(&mut world.touchgate_at(&terminal, arguments), None);
    terminal.wait_for("PIN of token 12345678");
    terminal.type_line(PIN);
    terminal.wait_for("approved  alice (token 12345678");
    terminal.wait_for("Enter: approve with a token here");
    // Whoever is next mistypes, and is asked again later.
    terminal.type_line("");
    terminal.wait_for("PIN of token 87654321");
    terminal.type_line("");
    terminal.wait_for("Enter: approve with a token here");
    terminal.type_line("");
    terminal.wait_for("PIN of token 87654321");
    terminal.type_line(PIN);
    assert_eq!(running.finish().succeeded().out, "it ran\n");
}

#[test]
fn somebody_here_and_somebody_elsewhere() {
    let world = team("--touch=now", "15m");
    share(&world);
    let mut terminal = Terminal::new();
    let arguments =
        ["run", "deploy", "payments/prod", "--exchange", "share", "--card", SERIAL, "--", "echo", "it ran"];
    let running = Running::start(&mut world.touchgate_at(&terminal, arguments), None);
    terminal.wait_for("Enter: approve with a token here");
    as_holder(&world, BOBS, &["approve", "--exchange", "share"]).succeeded();
    terminal.wait_for("approved  bob (token 87654321");
    terminal.wait_for("Enter: approve with a token here");
    terminal.type_line("");
    terminal.wait_for("PIN of token 12345678");
    terminal.type_line(PIN);
    assert_eq!(running.finish().succeeded().out, "it ran\n");
    // Ctrl-C while others are awaited.
    let running = Running::start(&mut world.touchgate_at(&terminal, arguments), None);
    terminal.wait_for("Enter: approve with a token here");
    terminal.control(b'c');
    running.finish().exits(130);
}

#[test]
fn approvers_watch_a_directory_and_are_asked_about_each_request() {
    let world = team_with("--touch=now", "--touch=now", "15m");
    share(&world);
    let mut terminal = Terminal::new();
    let arguments = ["approve", "--exchange", "share", "--watch", "--card", SERIAL];
    let watching = Running::start(&mut world.touchgate_at(&terminal, arguments), None);
    watching.wait_for_stderr("watching share");
    let first = Running::start(&mut asked(&world, &[]), None);
    terminal.wait_for("approve (a), refuse (r), or pass over (Enter)? ");
    terminal.type_line("a");
    terminal.wait_for("PIN of token 12345678");
    terminal.type_line(PIN);
    first.wait_for_stderr("by alice");
    as_holder(&world, BOBS, &["approve", "--exchange", "share"]).succeeded();
    first.finish().succeeded();
    let second = Running::start(&mut asked(&world, &[]), None);
    terminal.wait_for("approve (a), refuse (r), or pass over (Enter)? ");
    terminal.type_line("r");
    terminal.wait_for("PIN of token 12345678");
    terminal.type_line(PIN);
    second.finish().exits(123);
    terminal.control(b'c');
    watching.finish().exits(130);
}

/// Another process at the same verifier, which goes by this version of trust.
fn verifier<'a>(world: &World, store: &'a Sqlite, version: u64) -> Verifier<'a> {
    let mut files = read_directory(&world.home.config().join("trust")).unwrap();
    let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
    files.insert(
        "policy.toml".into(),
        policy.replace("\nversion = 1\n", &format!("\nversion = {version}\n")).into_bytes(),
    );
    let manifest = Manifest::new(files);
    let trust = Trust::from_manifest(&manifest).unwrap();
    assert_eq!(trust.version.number, version);
    let key = world.home.join(".local/state/touchgate/keys/grant.pk8");
    let grants = GrantSigner::load(&key, &trust.grant_keys).unwrap();
    Verifier::new(store, trust, manifest, grants, UnixTime::now()).unwrap()
}

#[test]
fn what_is_ended_elsewhere_ends_here() {
    let world = team("--touch=now", "15m");
    let running = Running::start(&mut asked(&world, &["--json"]), None);
    code(&world);
    let store = world.store();
    let verifier = verifier(&world, &store, 1);
    let request = store.open_requests().unwrap()[0];
    let by = store.request(&request).unwrap().unwrap().challenge.request.requester;
    verifier.withdraw(&request, &by, UnixTime::now()).unwrap();
    let ended = running.finish().exits(130);
    assert_eq!(ended.json()["code"], "withdrawn", "{ended:#?}");

    let running = Running::start(&mut asked(&world, &["--json"]), None);
    let code = code(&world);
    let elsewhere = world.home.work().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::copy(share(&world).join(format!("{code}.request")), elsewhere.join("a.request")).unwrap();
    for serial in [SERIAL, BOBS] {
        as_holder(&world, serial, &["approve", "--exchange", "elsewhere"]).succeeded();
    }
    for name in ["alice", "bob"] {
        let answer = fs::read(elsewhere.join(format!("{code}.{name}.approval"))).unwrap();
        verifier.answer(&Response::parse(&answer).unwrap(), None, None, UnixTime::now()).unwrap();
    }
    let ended = running.finish().exits(121);
    assert_eq!(ended.json()["code"], "decided", "{ended:#?}");

    let running = Running::start(&mut asked(&world, &["--json"]), None);
    self::code(&world);
    self::verifier(&world, &store, 2);
    let ended = running.finish().exits(121);
    assert_eq!(ended.json()["code"], "superseded", "{ended:#?}");
    // What is behind the store is not gone by, and nobody is asked.
    let behind = run(&mut asked(&world, &["--json"])).exits(121);
    assert_eq!(behind.json()["code"], "trust-rollback", "{behind:#?}");
    assert!(!world.exists("ran"));
}

/// What was approved before, too: whoever found the token may have approved it.
#[test]
fn a_revocation_meanwhile_ends_it() {
    let world = team("--touch=now", "15m");
    let trust = world.home.config().join("trust");
    let rule = "\n[[rule]]\naction = \"touchgate.trust.revoke\"\ntier = \"declared\"\nneed = [{ from = \"release\" }]\n";
    let policy = fs::read_to_string(trust.join("policy.toml")).unwrap();
    fs::write(trust.join("policy.toml"), policy + rule).unwrap();
    let version = Trust::load(&trust).unwrap().version;
    fs::write(world.home.config().join("pin"), versions::write_pin(&version)).unwrap();
    let running = Running::start(&mut asked(&world, &["--json"]), None);
    let code = code(&world);
    as_holder(&world, SERIAL, &["approve", "--exchange", "share", &code]).succeeded();
    running.wait_for_stderr("by alice");
    as_holder(&world, BOBS, &["trust", "revoke", SERIAL]).succeeded();
    let ended = running.finish().exits(121);
    assert_eq!(ended.json()["code"], "token-revoked-meanwhile", "{ended:#?}");
    assert!(!world.exists("ran"));
}

/// Others write into the directory: a link there leads wherever they like, and a pipe holds up whoever opens it.
#[test]
fn a_request_that_is_no_file_is_not_read() {
    let world = team("--touch=now", "15m");
    let running = Running::start(&mut asked(&world, &[]), None);
    let code = code(&world);
    let at = |name: &str| share(&world).join(name);
    std::os::unix::fs::symlink(at(&format!("{code}.request")), at("LINK.request")).unwrap();
    run(Command::new("mkfifo").arg(at("PIPE.request"))).succeeded();
    for name in ["LINK", "PIPE"] {
        let failed = as_holder(&world, SERIAL, &["approve", "--exchange", "share", name, "--json"]).exits(1);
        assert_eq!(failed.json()["code"], "unreadable", "{failed:#?}");
    }
    signal("TERM", running.id());
    running.finish().exits(130);
}

#[test]
fn what_goes_wrong_with_the_first_token_does_not_end_it() {
    let world = team("--touch=now", "15m");
    let options = ["--pin-fd", "0", "--card", SERIAL];
    let running = Running::start(&mut asked(&world, &options), Some("654321"));
    let code = code(&world);
    running.wait_for_stderr("wrong PIN");
    for serial in [SERIAL, BOBS] {
        as_holder(&world, serial, &["approve", "--exchange", "share", &code]).succeeded();
    }
    assert_eq!(running.finish().succeeded().out, "it ran\n");
}
