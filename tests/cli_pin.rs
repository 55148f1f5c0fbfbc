//! The trust that commands go by: pinned, whatever else is named, and until its end.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;
use std::time::Duration;

use touchgate::trust::Trust;
use touchgate::unix_time::UnixTime;

use support::{World, run};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn no_option_and_no_variable_beats_the_pin() {
    let world = World::new("--touch=never");
    let trust = world.home.config().join("trust");
    let other = world.home.work().join("other");
    run(world.command("cp").arg("-r").arg(&trust).arg(&other)).succeeded();
    let policy = fs::read_to_string(other.join("policy.toml")).unwrap();
    fs::write(other.join("policy.toml"), policy.replace("\"declared\"", "\"signed\"")).unwrap();
    let before = world.tell("trace count");
    for command in [
        &["run", "deploy", "payments/prod", "--no-input", "--", "touch", "ran"][..],
        &["request", "deploy", "payments/prod"],
        &["grant", "check", "deploy", "payments/prod"],
        &["grant", "list"],
        &["audit", "list"],
        &["trust", "revoke", "12345678", "--no-input"],
    ] {
        let code = |named: &[&str], variable: Option<&str>| {
            let mut touchgate = world.touchgate([named, &["--json"], command].concat());
            let ran = run(touchgate.envs(variable.map(|value| ("TOUCHGATE_TRUST", value))));
            let failed = if command[0] == "run" { 121 } else { 1 };
            ran.exits(failed).json()["code"].as_str().unwrap().to_owned()
        };
        assert_eq!(code(&["--trust", "other"], None), "trust-pin-differs", "{command:?}");
        assert_eq!(code(&["--unpinned", "--trust", "other"], None), "trust-pin-differs", "{command:?}");
        assert_eq!(code(&[], Some("other")), "trust-pin-differs", "{command:?}");
        assert_eq!(code(&["--unpinned"], Some("other")), "trust-pin-differs", "{command:?}");
    }
    assert_eq!(world.tell("trace count"), before);
    assert!(!world.exists("ran"));
}

#[test]
fn trust_ends_a_year_after_init_and_that_is_said_a_month_ahead() {
    let world = World::new("--touch=never");
    let trust = world.home.config().join("trust");
    let ends = Trust::load(&trust).unwrap().valid_until;
    assert!(ends.since(UnixTime::now()) > DAY * 364 && ends.since(UnixTime::now()) <= DAY * 366, "{ends}");
    fs::remove_file(world.home.config().join("pin")).unwrap();
    let policy = fs::read_to_string(trust.join("policy.toml")).unwrap();
    let ends_at = |end: UnixTime| {
        let text = policy.replace(&ends.to_string(), &end.to_string());
        fs::write(trust.join("policy.toml"), text).unwrap();
    };
    let doctor = || run(&mut world.touchgate(["doctor", "--unpinned"]));
    ends_at(UnixTime::now().plus(DAY * 31));
    assert!(!doctor().succeeded().out.contains("RENEW"));
    ends_at(UnixTime::now().plus(DAY * 29));
    assert!(doctor().succeeded().out.contains("RENEW: "));
    ends_at(UnixTime::from_seconds(UnixTime::now().seconds() - 1).unwrap());
    doctor().exits(3);
    let before = world.tell("trace count");
    for (command, failed) in [
        (&["run", "deploy", "payments/prod", "--no-input", "--", "touch", "ran"][..], 123),
        (&["request", "deploy", "payments/prod"], 3),
    ] {
        let ended = run(&mut world.touchgate([&["--unpinned", "--json"], command].concat())).exits(failed);
        assert_eq!(ended.json()["code"], "trust-expired", "{ended:#?}");
    }
    assert_eq!(world.tell("trace count"), before);
    assert!(!world.exists("ran"));
}
