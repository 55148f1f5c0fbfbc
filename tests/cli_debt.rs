//! Break-glass on the command line, from the broken glass to the settled debt.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;
#[path = "support/team.rs"]
mod team;

use std::fs;

use sequoia_openpgp::Cert;
use sequoia_openpgp::parse::Parse as _;
use touchgate::challenge::Challenge;
use touchgate::trust::{Trust, versions};
use virtual_openpgp_card::stage::{Builder, Stage};

use support::{PIN, PROGRAM, Ran, Running, SERIAL, World, card_arguments, run, run_with, signal, wait_until};
use team::{BOBS, as_holder, team};

const CAROLS: &str = "11223344";

/// The team, and carol with a token at a machine of her own: each of the three may break the glass for somebody.
fn three() -> (World, Stage) {
    let world = team("--touch=now", "15m");
    let certificate = world.home.join("carol.asc");
    let carols = Builder::new(PROGRAM)
        .card(card_arguments(CAROLS, "--touch=now", Some(&certificate)))
        .start()
        .unwrap();
    let trust = world.home.config().join("trust");
    let key = Cert::from_file(&certificate).unwrap().fingerprint().to_hex();
    let carol = format!(
        "groups = [\"release\"]\nidentities = []\n[[token]]\nserial = \"{CAROLS}\"\nkey = \"{key}\"\ntouch = \"declared\"\n"
    );
    fs::write(trust.join("people/carol.toml"), carol).unwrap();
    fs::copy(certificate, trust.join(format!("tokens/{CAROLS}.asc"))).unwrap();
    let glass = "\n[[rule]]\naction = \"deploy\"\nneed = [{ from = \"release\" }]\ntier = \"declared\"\nmode = \"break-glass\"\n";
    let policy = fs::read_to_string(trust.join("policy.toml")).unwrap();
    fs::write(trust.join("policy.toml"), policy + glass).unwrap();
    let version = Trust::load(&trust).unwrap().version;
    fs::write(world.home.config().join("pin"), versions::write_pin(&version)).unwrap();
    (world, carols)
}

/// Asks for something on payments/prod in a directory of its own; gives the challenge too.
fn ask(world: &World, place: &str, arguments: &[&str], command: &[&str]) -> (Running, Challenge) {
    let share = world.home.work().join(place);
    fs::create_dir_all(&share).unwrap();
    let mut touchgate = world.touchgate(["run", "--no-input", "--exchange", place, "--evidence", place]);
    let running = Running::start(touchgate.args(arguments).arg("--").args(command), None);
    let request = || {
        let mut names = fs::read_dir(&share).unwrap().flatten().map(|entry| entry.path());
        names.find(|path| path.extension().is_some_and(|ending| ending == "request"))
    };
    wait_until("the request is there", || request().is_some());
    wait_until("it is whole", || fs::read(request().unwrap()).is_ok_and(|text| text.ends_with(b"Z\n")));
    let challenge = Challenge::parse(&fs::read(request().unwrap()).unwrap()).unwrap();
    (running, challenge)
}

#[test]
fn what_waits_for_a_debt_is_decided_when_two_others_have_countersigned() {
    let (world, carols) = three();
    let as_carol = |arguments: &[&str]| -> Ran {
        let mut command = world.touchgate(arguments);
        command.envs(carols.environment()).args(["--no-input", "--pin-fd", "0"]);
        run_with(&mut command, PIN)
    };
    let deploy = ["deploy", "payments/prod"];
    let (before, ordinary) = ask(&world, "before", &deploy, &["touch", "before-ran"]);
    let glass = ["deploy", "payments/prod", "--break-glass", "--reason", "the house burns"];
    let (broken, debt) = ask(&world, "glass", &glass, &["echo", "it ran"]);
    as_carol(&["approve", "--exchange", "glass"]).succeeded();
    assert_eq!(broken.finish().succeeded().out, "it ran\n");

    // Everything further waits: what is asked now is not even asked, what was asked before is not decided.
    fs::create_dir(world.home.work().join("more")).unwrap();
    let mut more = world.touchgate(["run", "deploy", "payments/prod", "--no-input", "--exchange", "more"]);
    let waits = run(more.args(["--json", "--", "touch", "more-ran"])).exits(123).json();
    assert_eq!(waits["code"], "debt", "{waits}");
    assert!(waits["message"].as_str().unwrap().contains(&debt.id.to_string()), "{waits}");
    assert_eq!(fs::read_dir(world.home.work().join("more")).unwrap().count(), 0);
    for serial in [SERIAL, BOBS] {
        as_holder(&world, serial, &["approve", "--exchange", "before"]).succeeded();
    }
    before.wait_for_stderr("by bob (");
    before.wait_for_stderr(&format!("needed    two others to countersign {}", debt.id.short_code()));
    assert!(!world.exists("before-ran"));

    // As the error says it is done. What is not owed is not asked for either.
    assert!(waits["hint"].as_str().unwrap().contains("touchgate run touchgate.countersign"), "{waits}");
    let (id, other) = (format!("request={}", debt.id), format!("request={}", ordinary.id));
    let settle = |request: &str, action: &str| {
        let mut settle = world.touchgate(["run", "touchgate.countersign", "payments/prod", "--no-input"]);
        settle.args(["--exchange", "more", "--json", "--with", request, "--with", action]);
        run(settle.args(["--", "touch", "more-ran"]))
    };
    for (request, action) in [(other.as_str(), "action=deploy"), (&id, "action=login")] {
        let none = settle(request, action).exits(123).json();
        assert!(["no-debt", "no-rule"].contains(&none["code"].as_str().unwrap()), "{none}");
    }
    let settle = ["touchgate.countersign", "payments/prod", "--with", "action=deploy", "--with", &id];
    let mut dry = world.touchgate(["run", "--dry-run"]);
    let shown = run(dry.args(settle).args(["--", "true"])).succeeded();
    assert!(shown.out.contains("can       alice, bob\n"), "{shown:#?}");
    let (settling, _) = ask(&world, "settle", &settle, &["echo", "settled"]);
    settling.wait_for_stderr("can       alice, bob\n");
    as_carol(&["approve", "--exchange", "settle"]).succeeded();
    settling.wait_for_stderr("rejected (not-allowed)");
    as_holder(&world, SERIAL, &["approve", "--exchange", "settle"]).succeeded();
    settling.wait_for_stderr("by alice (");
    // Whoever comes by first once it is settled leaves the decision to the one who waits for it.
    signal("STOP", before.id());
    as_holder(&world, BOBS, &["approve", "--exchange", "settle"]).succeeded();
    assert_eq!(settling.finish().succeeded().out, "settled\n");
    let (after, _) = ask(&world, "after", &deploy, &["true"]);
    signal("CONT", before.id());
    before.finish().succeeded();
    assert!(world.exists("before-ran") && !world.exists("more-ran"));

    // It is paid once, the log says so, and evidence of both shows it elsewhere.
    for serial in [SERIAL, BOBS] {
        as_holder(&world, serial, &["approve", "--exchange", "after"]).succeeded();
    }
    after.finish().succeeded();
    let listed = run(&mut world.touchgate(["audit", "list"])).succeeded();
    assert_eq!(listed.out.matches("countersigned").count(), 1, "{listed:#?}");
    // Loud: every line about it, and why it was.
    let loud: Vec<&str> = listed.out.lines().filter(|line| line.contains("BREAK-GLASS")).collect();
    assert!(loud.len() >= 4 && loud.iter().all(|line| line.contains(&debt.id.short_code())), "{listed:#?}");
    assert!(loud[0].ends_with(": the house burns"), "{listed:#?}");
    run(&mut world.touchgate(["audit", "verify"])).succeeded();
    let evidence = |place: &str| {
        let names = fs::read_dir(world.home.work().join(place)).unwrap().flatten();
        let mut paths = names.map(|entry| entry.path());
        paths.find(|path| path.extension().is_some_and(|ending| ending == "json")).unwrap()
    };
    let mut alone = world.touchgate(["verify", "--json"]);
    assert_eq!(run(alone.arg(evidence("settle"))).exits(3).json()["code"], "quorum-not-met");
    let mut both = world.touchgate(["verify"]);
    run(both.arg(evidence("settle")).arg(evidence("glass"))).succeeded();
}
