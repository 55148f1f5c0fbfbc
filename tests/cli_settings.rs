//! `card touch`, `card pin` and `card reset` over real pcscd: what a person sees and types, and what ykman and gpg
//! say of the token afterwards.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;
#[path = "support/ykman.rs"]
mod ykman;

use serde_json::json;
use support::{ADMIN_PIN, PIN, Ran, SERIAL, Terminal, World, need, run, run_with};
use virtual_openpgp_card::stage::exit_code;
use ykman::ykman;

const NEW: &str = "271828";
const NEW_ADMIN: &str = "27182818";
const CODE: &str = "31415926";

fn yubikey() -> World {
    World::bare("--touch=now --touch-window=2s --firmware=5.7.4")
}

/// A command with nobody to ask, and these lines at descriptor 0.
fn card(world: &World, line: &str, lines: &str) -> Ran {
    let mut command = world.touchgate(["card"]);
    run_with(command.args(line.split(' ')).arg("--no-input"), lines)
}

fn lines(first: &str, second: &str) -> String {
    format!("{first}\n{second}")
}

/// gpg and ykman have the token one after the other.
fn let_go(world: &World) {
    run(world.command("gpgconf").args(["--kill", "gpg-agent"])).succeeded();
}

fn gpg_shows(world: &World, line: &str) {
    let status = run(&mut world.gpg(&["--card-status"])).succeeded().out;
    assert!(status.lines().any(|found| found.trim_end() == line), "no {line:?} in\n{status}");
    let_go(world);
}

fn gpg_signs(world: &World, pin: &str) -> Ran {
    run(world.gpg(&["--import"]).arg(world.home.certificate())).succeeded();
    run(&mut world.gpg(&["--card-status"])).succeeded();
    world.write("message", "whatever");
    let mut gpg = world.gpg(&["--pinentry-mode", "loopback", "--passphrase-fd", "0", "--detach-sign"]);
    let ran = run_with(gpg.args(["--output", "message.sig", "message"]), pin);
    let_go(world);
    ran
}

#[test]
fn ykman_and_gpg_agree_on_touch() {
    let world = yubikey();
    // ykman tells the policy of keys that are there.
    let mut tool = world.command("opensc-tool");
    tool.args(["--reader=0", "--send-apdu=00A4040006D27600012401", "--send-apdu=00200083083132333435363738"]);
    run(tool.args(["--send-apdu=0047800002B80000", "--send-apdu=0047800002A40000"])).succeeded();
    let shown = card(&world, "touch --json", "").succeeded().json();
    let off =
        json!({ "signature": "on", "decryption": "off", "authentication": "off", "attestation": "off" });
    assert_eq!((&shown["touch"], &shown["serial"]), (&off, &json!(SERIAL)));
    for (slot, policy) in [("decryption", "cached"), ("authentication", "on"), ("attestation", "cached")] {
        let set =
            card(&world, &format!("touch --slot {slot} {policy} --admin-pin-fd 0"), ADMIN_PIN).succeeded();
        assert!(set.out.contains(&format!("touch is {policy} now for the {slot} key")), "{set:?}");
        let again = card(&world, &format!("touch --slot {slot} {policy}"), "").succeeded();
        assert!(again.out.contains("nothing was changed"), "{again:?}");
    }
    // What cannot be taken back is said first, and needs a yes.
    let asked = card(&world, "touch fixed --admin-pin-fd 0", ADMIN_PIN).exits(2);
    assert!(asked.err.contains("PERMANENT") && asked.err.contains("--yes"), "{asked:?}");
    card(&world, "touch fixed --yes --admin-pin-fd 0", ADMIN_PIN).succeeded();
    let stays = card(&world, "touch off --json", "").exits(1);
    assert_eq!(stays.json()["code"], "touch-fixed");
    let policies = json!({ "signature": "fixed", "decryption": "cached", "authentication": "on", "attestation": "cached" });
    assert_eq!(card(&world, "touch --json", "").succeeded().json()["touch"], policies);
    for (slot, policy) in [("sig", "On (fixed)"), ("dec", "Cached"), ("aut", "On"), ("att", "Cached")] {
        let about = ykman(&world, &["keys", "info", slot]).succeeded().out;
        let is = about.lines().find_map(|line| line.trim().strip_prefix("Touch policy:"));
        assert_eq!(is.map(str::trim), Some(policy), "{about}");
    }
    // To gpg too the key signs only if it is touched.
    world.tell("finger never");
    assert_ne!(gpg_signs(&world, PIN).code, 0);
    world.tell("finger now");
    gpg_signs(&world, PIN).succeeded();
}

#[test]
fn ykman_and_gpg_take_the_new_pins() {
    let world = yubikey();
    let changed = card(&world, "pin change --pin-fd 0 --new-pin-fd 0 --json", &lines(PIN, NEW)).succeeded();
    assert_eq!(changed.json()["changed"], "pin");
    assert_ne!(gpg_signs(&world, PIN).code, 0);
    gpg_signs(&world, NEW).succeeded();
    card(&world, "pin change --admin --admin-pin-fd 0 --new-pin-fd 0", &lines(ADMIN_PIN, NEW_ADMIN))
        .succeeded();
    card(&world, "pin change --resetting-code --admin-pin-fd 0 --new-pin-fd 0", &lines(NEW_ADMIN, CODE))
        .succeeded();
    gpg_shows(&world, "PIN retry counter : 3 3 3");
    let touch = ["keys", "set-touch", "sig", "off", "--force", "--admin-pin"];
    assert_ne!(ykman(&world, &[&touch[..], &[ADMIN_PIN]].concat()).code, 0);
    ykman(&world, &[&touch[..], &[NEW_ADMIN]].concat()).succeeded();
    let unblocked =
        card(&world, "pin unblock --resetting-code-fd 0 --new-pin-fd 0 --json", &lines(CODE, "161803"));
    assert_eq!(unblocked.succeeded().json()["by"], "resetting-code");
    ykman(&world, &["access", "change-pin", "--pin", "161803", "--new-pin", "141421"]).succeeded();
    let unblocked =
        card(&world, "pin unblock --admin-pin-fd 0 --new-pin-fd 0 --json", &lines(NEW_ADMIN, NEW));
    assert_eq!(unblocked.succeeded().json()["by"], "admin-pin");
    gpg_signs(&world, NEW).succeeded();
}

#[test]
fn ykman_and_gpg_agree_on_tries() {
    let world = yubikey();
    let asked = card(&world, "pin set-retries 5 4 6 --admin-pin-fd 0", ADMIN_PIN).exits(2);
    assert!(asked.err.contains("SETS ITS PINS BACK"), "{asked:?}");
    card(&world, "pin set-retries 2 4 6", "").exits(2);
    card(&world, "pin change --pin-fd 0 --new-pin-fd 0", &lines(PIN, NEW)).succeeded();
    let set =
        card(&world, "pin set-retries 5 4 6 --yes --json --admin-pin-fd 0", ADMIN_PIN).succeeded().json();
    assert_eq!((&set["tries"], &set["pins"]), (&json!([5, 4, 6]), &json!("factory")));
    let info = ykman(&world, &["info"]).succeeded().out;
    for line in ["PIN tries remaining: 5", "Admin PIN tries remaining: 6"] {
        assert!(
            info.split_whitespace().collect::<Vec<_>>().join(" ").contains(line),
            "no {line:?} in\n{info}"
        );
    }
    gpg_shows(&world, "PIN retry counter : 5 0 6");
    // As was said, the PIN is the one of the factory.
    gpg_signs(&world, PIN).succeeded();
    let plain = World::bare("--touch=now --personality=plain");
    let refused = card(&plain, "pin set-retries 5 4 6 --yes --json --card 000f:00bc614e", "").exits(1);
    assert_eq!(refused.json()["code"], "tries-fixed");
}

#[test]
fn a_reset_token_is_new_to_ykman_and_gpg_too() {
    let world = yubikey();
    card(&world, "pin change --pin-fd 0 --new-pin-fd 0", &lines(PIN, NEW)).succeeded();
    let asked = card(&world, "reset", "").exits(2);
    let key = run(&mut world.touchgate(["card", "info", "--json"])).succeeded().json()["key"].clone();
    let key = key.as_str().unwrap().to_owned();
    assert!(asked.err.contains("ERASES") && asked.err.contains(&key), "{asked:?}");
    let other = card(&world, "reset --erase 87654321 --json", "").exits(1);
    assert_eq!(other.json()["code"], "would-erase");
    gpg_signs(&world, NEW).succeeded();

    let mut terminal = Terminal::new();
    let mut command = world.touchgate_at(&terminal, ["card", "reset", "-vv"]);
    let mut child = command.stdout(terminal.slave()).stderr(terminal.slave()).spawn().unwrap();
    terminal.wait_for("Type the token's number to go on: ");
    terminal.type_line(SERIAL);
    terminal.wait_for("is as it was delivered");
    assert_eq!(exit_code(child.wait().unwrap()), 0, "{}", terminal.screen());
    let info = ykman(&world, &["info"]).succeeded().out;
    assert!(info.contains("PIN tries remaining:"), "{info}");
    ykman(&world, &["access", "change-pin", "--pin", PIN, "--new-pin", NEW]).succeeded();
    gpg_shows(&world, "Signature key ....: [none]");
    // A reset that was cut off between its last two commands is ended by the next.
    let mut tool = world.command("opensc-tool");
    tool.args(["--reader=0", "--send-apdu=00A4040006D27600012401"]);
    tool.args(["0020008308FFFFFFFFFFFFFFFF"; 3].map(|apdu| format!("--send-apdu={apdu}")));
    run(tool.arg("--send-apdu=00E60000")).succeeded();
    let told = run(&mut world.touchgate(["card", "info"])).exits(1);
    assert!(told.err.contains("touchgate card reset"), "{told:?}");
    card(&world, "reset", "").succeeded();
    ykman(&world, &["access", "change-pin", "--pin", PIN, "--new-pin", NEW]).succeeded();
}

#[test]
fn at_a_terminal_a_new_pin_is_asked_for_twice_and_never_shown() {
    need(&["setsid"]);
    let world = yubikey();
    let mut terminal = Terminal::new();
    let mut command = world.touchgate_at(&terminal, ["card", "pin", "change", "-vv"]);
    let mut child = command.stdout(terminal.slave()).stderr(terminal.slave()).spawn().unwrap();
    terminal.wait_for("PIN of token 12345678: ");
    assert!(!terminal.echoes());
    terminal.type_line(PIN);
    for (first, second) in [(NEW, "314159"), (NEW, NEW)] {
        terminal.wait_for("NEW PIN for token 12345678: ");
        assert!(!terminal.echoes());
        terminal.type_line(first);
        terminal.wait_for("the same once more: ");
        terminal.type_line(second);
    }
    terminal.wait_for("has a new PIN");
    assert_eq!(exit_code(child.wait().unwrap()), 0, "{}", terminal.screen());
    let screen = terminal.screen();
    assert!(screen.contains("card <- 00240081 (data hidden)"), "{screen}");
    for secret in [PIN, NEW] {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let screen = screen.replace(SERIAL, "");
        assert!(!screen.contains(secret) && !screen.contains(&hex), "{screen}");
    }
    gpg_signs(&world, NEW).succeeded();
    // A permanent policy takes a typed yes.
    for (typed, code) in [("y", 1), ("yes", 0)] {
        let mut terminal = Terminal::new();
        let mut command = world.touchgate_at(&terminal, ["card", "touch", "fixed"]);
        let mut child = command.stdout(terminal.slave()).stderr(terminal.slave()).spawn().unwrap();
        terminal.wait_for("PERMANENT");
        terminal.wait_for("Type yes to go on: ");
        terminal.type_line(typed);
        if code == 0 {
            terminal.wait_for("ADMIN PIN of token 12345678: ");
            terminal.type_line(ADMIN_PIN);
        }
        assert_eq!(exit_code(child.wait().unwrap()), code, "{}", terminal.screen());
    }
}
