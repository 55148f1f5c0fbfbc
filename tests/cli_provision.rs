//! `card provision` over real pcscd: what a person sees and types, and what ykman and gpg say of the token afterwards.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;
#[path = "support/ykman.rs"]
mod ykman;

use std::fs;

use support::{Ran, Running, Terminal, World, need, run, run_with, signal, wait_until};
use virtual_openpgp_card::stage::exit_code;
use ykman::ykman;

/// Other algorithms than the key that is on the token, tries and a KDF, which reset PINs on the way.
const PROFILE: &str = r#"[keys]
signature      = { algorithm = "p256" }
decryption     = { algorithm = "cv25519", touch = "on" }
authentication = { algorithm = "ed25519", touch = "cached" }

[pin]
tries = { user = 5, resetting_code = 4, admin = 6 }
resetting_code = "random"
kdf = true

[holder]
name = "Alice Example"
login = "alice"
"#;

const NEW_PIN: &str = "271828";

fn world() -> World {
    let world = World::bare("--touch=now --firmware=5.7.4");
    world.write("team.toml", PROFILE);
    world
}

fn provision(world: &World, arguments: &[&str]) -> Ran {
    let mut command = world.touchgate(["card", "provision", "team.toml", "--no-input"]);
    run(command.args(arguments))
}

#[track_caller]
fn shows(text: &str, line: &str) {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.lines().any(|found| squeezed(found) == line), "no {line:?} in\n{text}");
}

#[test]
fn a_person_provisions_a_token_and_other_tools_agree() {
    need(&["gpg", "setsid"]);
    let world = world();
    let looked = provision(&world, &["--check"]).exits(3);
    assert!(looked.out.contains("ERASES the signature key"), "{looked:?}");
    provision(&world, &["--dry-run"]).exits(0);
    // Nobody typed the number back, and nobody may be asked to.
    let refused = run_with(
        &mut world.touchgate(["card", "provision", "team.toml", "--no-input", "--json", "--pin-fd", "0"]),
        NEW_PIN,
    );
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.out.contains("--show-fd"), "{refused:?}");

    let sit_down = |terminal: &Terminal| {
        let mut command = world.touchgate_at(terminal, ["card", "provision", "team.toml", "-vv"]);
        command.stdout(terminal.slave()).stderr(terminal.slave()).spawn().unwrap()
    };
    let mut terminal = Terminal::new();
    let mut child = sit_down(&terminal);
    terminal.wait_for("Type the token's number to go on: ");
    terminal.type_line("87654321");
    assert_eq!(exit_code(child.wait().unwrap()), 1, "{}", terminal.screen());

    let mut terminal = Terminal::new();
    let mut child = sit_down(&terminal);
    terminal.wait_for("Type the token's number to go on: ");
    terminal.type_line(support::SERIAL);
    for (first, second) in [(NEW_PIN, "314159"), (NEW_PIN, NEW_PIN)] {
        terminal.wait_for("NEW PIN for token 12345678: ");
        assert!(!terminal.echoes());
        terminal.type_line(first);
        terminal.wait_for("the same once more: ");
        terminal.type_line(second);
    }
    terminal.wait_for("these are told once");
    assert_eq!(exit_code(child.wait().unwrap()), 0, "{}", terminal.screen());
    terminal.wait_for("proved it");
    let screen = terminal.screen();
    let told = |what: &str| {
        let line = screen.lines().find_map(|line| line.trim_end().strip_prefix(what)).unwrap();
        line.trim_start_matches(": ").to_owned()
    };
    // The loudest log was on that screen.
    assert!(screen.contains("card <- 00240083 (data hidden)"), "{screen}");
    for secret in [&told("admin PIN"), &told("resetting code"), NEW_PIN] {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!screen.contains(&hex), "{screen}");
    }
    assert_eq!(screen.matches(told("admin PIN").as_str()).count(), 1);
    assert!(!screen.contains(NEW_PIN));

    let info = ykman(&world, &["info"]).succeeded().out;
    shows(&info, "PIN tries remaining: 5");
    shows(&info, "Reset code tries remaining: 4");
    shows(&info, "Admin PIN tries remaining: 6");
    shows(&info, "Require PIN for signature: Always");
    shows(&info, "KDF enabled: True");
    let keys = |slot: &str| ykman(&world, &["keys", "info", slot]).succeeded().out;
    for (slot, algorithm, touch) in
        [("sig", "SECP256R1", "Fixed"), ("dec", "X25519", "On"), ("aut", "ED25519", "Cached")]
    {
        let about = keys(slot);
        let about = about.to_uppercase();
        assert!(about.contains(algorithm) && about.contains(&touch.to_uppercase()), "{about}");
        assert!(about.contains("GENERATED"), "{about}");
    }
    // To ykman too the admin PIN of the factory is a wrong one.
    let change = ["keys", "set-touch", "aut", "off", "--force", "--admin-pin"];
    let mut wrong = change.to_vec();
    wrong.push("12345678");
    let mut right = change.to_vec();
    let admin = told("admin PIN");
    right.push(&admin);
    assert_ne!(ykman(&world, &wrong).code, 0);
    ykman(&world, &right).succeeded();
    assert!(keys("aut").to_uppercase().contains("OFF"));

    let status = run(&mut world.gpg(&["--card-status"])).succeeded().out;
    shows(&status, "Key attributes ...: nistp256 cv25519 ed25519");
    shows(&status, "Signature PIN ....: forced");
    shows(&status, "PIN retry counter : 5 4 6");
    shows(&status, "KDF setting ......: on");
    shows(&status, "Login data .......: alice");

    // What somebody changed since is found, and put right with the admin PIN: through scdaemon, which has the card now.
    provision(&world, &["--check"]).exits(3);
    let without = provision(&world, &[]);
    assert!(without.code == 2 && without.err.contains("--admin-pin-fd"), "{without:?}");
    let mut command = world.touchgate(["card", "provision", "team.toml", "--no-input", "--json"]);
    let mended = run_with(command.args(["--admin-pin-fd", "0"]), &admin).succeeded();
    assert!(mended.err.contains("scdaemon has the card"), "{mended:?}");
    assert_eq!(mended.json()["writes"], 1, "{mended:?}");
    assert!(!format!("{mended:?}").contains(&admin));

    provision(&world, &["--check"]).exits(0);
    let again = provision(&world, &["--json"]).succeeded();
    assert_eq!(again.json()["writes"], 0, "{again:?}");
    world.assert_gpg_works();
    let place = world.home.work().join("tokens/12345678");
    let mut files: Vec<String> = fs::read_dir(place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let expected = [
        "12345678.attestation.pem",
        "12345678.authentication.attestation.pem",
        "12345678.decryption.attestation.pem",
        "provisioned.json",
        "report.json",
    ];
    assert_eq!(files, expected);
}

#[test]
fn a_bad_profile_is_named_with_its_place_before_any_card_is_touched() {
    let world = world();
    world.write("team.toml", "[pin]\ntries = { user = 1, resetting_code = 3, admin = 3 }\n");
    let before = world.tell("trace count");
    let bad = provision(&world, &[]).exits(2);
    assert!(bad.err.contains("team.toml:2:9: 1 tries; expected 3 to 99"), "{bad:?}");
    assert_eq!(world.tell("trace count"), before);
}

/// A key without a passphrase, exported for escrow.
fn security_officer(world: &World) {
    let generate =
        ["--passphrase", "", "--quick-generate-key", "security@example.org", "future-default", "default"];
    run(&mut world.gpg(&generate)).succeeded();
    let exported = run(&mut world.gpg(&["--armor", "--export", "security@example.org"])).succeeded();
    world.write("security.asc", &exported.out);
}

#[test]
fn killed_at_any_step_it_goes_on_and_the_escrow_opens_with_gpg() {
    // A card that takes its time, as a real one does: else it has come to its end before it is killed.
    let slow = tempfile::NamedTempFile::new().unwrap();
    let faults = ["24", "2A", "2C", "47", "DA", "DB"].map(|ins| format!("on {ins}.... every delay 60ms\n"));
    fs::write(&slow, faults.concat()).unwrap();
    let world = World::bare(&format!("--touch=now --firmware=5.7.4 --faults={}", slow.path().display()));
    world.write("team.toml", PROFILE);
    security_officer(&world);
    let papers = "[certificate]\nuser_id = \"Alice <alice@example.org>\"\n";
    world.write("team.toml", &format!("{PROFILE}\n[escrow]\nto = [\"security.asc\"]\n{papers}"));
    let arguments =
        ["card", "provision", "team.toml", "--no-input", "--pin-fd", "0", "--erase", support::SERIAL];
    let mut killed = 0;
    for step in [
        "tries:",
        "PIN derivation",
        "new admin PIN",
        "new user PIN",
        "new resetting code",
        "signature slot:",
        "signature key: make",
        "signature key: write",
        "decryption key: make",
        "holder's login",
        "certificate: have the token sign it",
        "signature key: touch",
        "authentication key: have the token attest",
        "enrolment: have the token sign",
        "touch token",
    ] {
        let mut running = Running::start(&mut world.touchgate(arguments), Some(NEW_PIN));
        // The step may have been done by the run that was killed at the one before, and that run may have come to
        // its end before it was.
        wait_until(step, || {
            running.has_ended() || [step, "touch token"].iter().any(|text| running.stderr().contains(text))
        });
        if !running.has_ended() && running.stderr().contains(step) {
            signal("KILL", running.id());
            killed += 1;
        }
        let ended = running.finish();
        assert!(ended.code == 137 || ended.code == 0, "{step}: {ended:?}");
    }
    let done = run_with(&mut world.touchgate(arguments), NEW_PIN).succeeded();
    println!("killed {killed} times; {}", done.out);
    assert!(killed >= 10, "{killed}");
    provision(&world, &["--check"]).exits(0);

    let place = world.home.work().join("tokens/12345678");
    let escrow = fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("escrow-"))
        .unwrap();
    let opened = run(&mut world.gpg(&["--decrypt", escrow.to_str().unwrap()])).succeeded().out;
    let secret = |name: &str| {
        let line = opened.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = ")).unwrap();
        line.trim_matches('"').to_owned()
    };
    ykman(&world, &["keys", "set-touch", "aut", "on", "--force", "--admin-pin", &secret("admin_pin")])
        .succeeded();
    let unblock = ["access", "unblock-pin", "--reset-code", &secret("resetting_code"), "--new-pin", "314159"];
    ykman(&world, &unblock).succeeded();
    assert!(!place.join("pending.json").exists());
    // Only whoever holds the key that it was escrowed to can revoke, and can.
    let certificate = place.join("12345678.asc");
    run(&mut world.gpg(&["--import", certificate.to_str().unwrap()])).succeeded();
    let sealed = fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("revocation-"))
        .unwrap();
    let revocation = run(&mut world.gpg(&["--decrypt", sealed.to_str().unwrap()])).succeeded().out;
    world.write("revocation.asc", &revocation);
    run(&mut world.gpg(&["--import", "revocation.asc"])).succeeded();
    let listed = run(&mut world.gpg(&["--with-colons", "--list-keys", "alice@example.org"])).succeeded().out;
    assert!(listed.contains("pub:r:"), "{listed}");
    assert!(place.join("alice.enrol").exists());
}
