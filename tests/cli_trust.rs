//! Trust from the command line: begun for a team, extended by enrolments, checked, compared, explained.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use support::{Ran, SERIAL, World, card_arguments, run};

/// Bob's token, in the second reader.
const BOBS: &str = "87654321";

/// Alice's machine with two tokens in it, the second of which is Bob's.
fn two() -> World {
    World::with("--touch=now", |home, builder| {
        builder.second_card(card_arguments(BOBS, "--touch=now", Some(&home.join("bob.asc"))))
    })
}

fn init(world: &World, arguments: &[&str]) -> Ran {
    let mut init = world.touchgate(["init", "--no-input", "--touch", "keep", "--card", SERIAL]);
    run(init.arg("--certificate").arg(world.home.certificate()).args(arguments))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn init_makes_keys_once_and_lists_them() {
    let world = World::bare("--touch=now");
    init(&world, &[]).succeeded();
    let keys = world.home.join(".local/state/touchgate/keys");
    let policy = || fs::read_to_string(world.home.config().join("trust/policy.toml")).unwrap();
    let listed = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains("key ")).map(str::to_owned).collect()
    };
    assert_eq!(
        (mode(&keys), mode(&keys.join("log.pk8")), mode(&keys.join("grant.pk8"))),
        (0o700, 0o600, 0o600)
    );
    let first = policy();
    assert!(
        first.contains("\nlog_key     = \"")
            && first.contains("\n[[grant_key]]\nkid = \"1\"\nalg = \"ES256\"")
    );

    // Set up anew, the log goes on under the same key.
    fs::rename(world.home.config(), world.home.join("before")).unwrap();
    init(&world, &[]).succeeded();
    assert_eq!(listed(&policy()), listed(&first));

    // What others could read is not taken, and nothing is set up.
    fs::rename(world.home.config(), world.home.join("before-that")).unwrap();
    fs::set_permissions(keys.join("log.pk8"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(init(&world, &["--json"]).exits(1).json()["code"], "unsafe-permissions");
    fs::set_permissions(keys.join("log.pk8"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(keys.join("log.pk8"), "no key").unwrap();
    assert_eq!(init(&world, &["--json"]).exits(1).json()["code"], "bad-key");
    assert!(!world.home.config().join("pin").exists());
}

#[test]
fn a_team_begins_with_one() {
    let world = two();
    let ran = init(&world, &["--team", "--audience", "approve.example.com"]).succeeded();
    assert!(ran.out.contains("  written  trust, to be kept in git and worked on there\n"), "{}", ran.out);
    // What is worked on and what this machine goes by are the same, and two things.
    for path in ["policy.toml", &format!("tokens/{SERIAL}.asc")] {
        let installed = fs::read(world.home.config().join("trust").join(path)).unwrap();
        assert_eq!(fs::read(world.home.work().join("trust").join(path)).unwrap(), installed);
    }
    let shown = run(&mut world.touchgate(["trust", "show", "--json"])).succeeded().json();
    assert_eq!((&shown["audience"], &shown["pinned"]), (&"approve.example.com".into(), &true.into()));
    assert_eq!(shown["people"][0]["groups"], serde_json::json!(["admins", "release"]));
    let again = init(&world, &["--team", "--json"]).exits(1).json();
    assert_eq!(again["code"], "already-set-up");
}
