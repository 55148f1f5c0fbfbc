//! A blank token of each kind becomes a provisioned one with one command over real pcscd, and ykman, gpg and oct each
//! say so.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;
#[path = "support/ykman.rs"]
mod ykman;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Ran, Running, World, run, run_with};
use virtual_openpgp_card::attestation::{Authority, ChainShape};
use ykman::ykman;

/// A command of oct.
fn oct(world: &World, arguments: &[&str]) -> Ran {
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("oct/bin/oct");
    let program = std::env::var_os("OCT").map_or(program, PathBuf::from);
    assert!(program.exists(), "no {}; run: sh packaging/test-oct.sh", program.display());
    run(world.command(program).args(arguments))
}

#[track_caller]
fn shows(text: &str, line: &str) {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.lines().any(|found| squeezed(found) == line), "no {line:?} in\n{text}");
}

const NEW_PIN: &str = "271828";

fn profile(yubikey: bool) -> String {
    let tries = if yubikey { "tries = { user = 5, resetting_code = 4, admin = 6 }\n" } else { "" };
    format!(
        "[keys]\nsignature = {{ algorithm = \"ed25519\" }}\ndecryption = {{ algorithm = \"cv25519\", touch = \"on\" }}\n\
         authentication = {{ algorithm = \"p256\", touch = \"off\" }}\n\
         [pin]\nresetting_code = \"random\"\n{tries}\
         [certificate]\nexpires = \"2046-11-20T00:00:00Z\"\n\
         [attestation]\nroot = [\"root.pem\"]\n"
    )
}

/// The one command.
fn provision(world: &World) -> Ran {
    let mut command = world.touchgate(["card", "provision", "team.toml", "--name", "alice", "--user-id"]);
    command.args(["Alice <alice@example.org>", "--json", "--no-input", "--pin-fd", "0", "--show-fd", "2"]);
    run_with(&mut command, NEW_PIN)
}

/// Provisions a blank token of that kind, and asks everybody else about it. `ident` is what oct calls it.
fn becomes_provisioned(options: &str, firmware: Option<&str>, ident: &str) {
    let blank = ["--serial=12345678", "--touch=now"].into_iter().chain(options.split_whitespace());
    let blank: Vec<String> = blank.map(str::to_owned).collect();
    let world = World::with("", |_, builder| builder.card(blank));
    let shape = if firmware == Some("5.7.4") { ChainShape::FourBelowRoot } else { ChainShape::TwoBelowRoot };
    let authority = Authority::new(shape);
    world.write("root.pem", &authority.root().pem());
    let between: String = authority.intermediates().iter().map(|it| it.pem()).collect();
    // Beside the configuration, where nobody has to name them.
    let folder = world.home.config().join("attestation.intermediates");
    fs::create_dir_all(&folder).unwrap();
    if !between.is_empty() {
        fs::write(folder.join("between.pem"), between).unwrap();
    }
    world.write("team.toml", &profile(firmware.is_some()));

    let done = provision(&world).succeeded();
    let result = done.json();
    assert_eq!(done.err.matches("touch token").count(), 1, "{done:?}");
    assert!(done.err.contains("now to prove its key and enrol alice"), "{done:?}");
    let keys: Vec<String> = ["signature", "decryption", "authentication"]
        .map(|slot| result["keys"][slot].as_str().unwrap().to_owned())
        .to_vec();
    match firmware {
        Some(_) => {
            let attested = json!({ "slot": "signature", "root": { "configured": "root.pem" }, "falls_short": ["other-root"] });
            assert_eq!(result["attested"][0], attested);
            assert_eq!(result["attested"].as_array().unwrap().len(), 3);
        }
        None => assert_eq!(result["attested"], json!([])),
    }

    // Run again: not one write.
    let again = provision(&world).succeeded();
    assert_eq!((&again.json()["writes"], &again.json()["steps"]), (&json!(0), &json!([])), "{again:?}");
    assert!(!again.err.contains("touch token"), "{again:?}");
    println!("{options}: {} writes, again {}", result["writes"], again.json()["writes"]);

    if firmware.is_some() {
        ykman_agrees(&world);
    }
    oct_agrees(&world, ident, &keys);
    gpg_agrees(&world, &result, &keys);
    let checked = provision_check(&world);
    assert_eq!(checked["differs"], false, "{checked}");
}

fn provision_check(world: &World) -> Value {
    let mut command = world.touchgate(["card", "provision", "team.toml", "--name", "alice", "--user-id"]);
    run(command.args(["Alice <alice@example.org>", "--json", "--check"])).succeeded().json()
}

fn ykman_agrees(world: &World) {
    let info = ykman(world, &["info"]).succeeded().out;
    for line in [
        "PIN tries remaining: 5",
        "Reset code tries remaining: 4",
        "Admin PIN tries remaining: 6",
        "Require PIN for signature: Always",
    ] {
        shows(&info, line);
    }
    for (slot, algorithm, touch) in
        [("sig", "ED25519", "ON (FIXED)"), ("dec", "X25519", "ON"), ("aut", "SECP256R1", "OFF")]
    {
        let about = ykman(world, &["keys", "info", slot]).succeeded().out;
        shows(&about.to_uppercase(), &format!("ALGORITHM: {algorithm}"));
        shows(&about.to_uppercase(), &format!("TOUCH POLICY: {touch}"));
        shows(&about.to_uppercase(), "ORIGIN: GENERATED");
    }
    // The factory's PIN is a wrong one to ykman too.
    let change = ["keys", "set-touch", "aut", "on", "--force", "--admin-pin", "12345678"];
    assert_ne!(ykman(world, &change).code, 0);
}

fn oct_agrees(world: &World, ident: &str, keys: &[String]) {
    let status = oct(world, &["status", "--card", ident, "--verbose"]).succeeded().out;
    let says = [
        (
            "Signature key:",
            &keys[0],
            "EdDSA (Ed25519)",
            "Fixed",
            " User PIN presentation is valid for only one signature",
        ),
        ("Decryption key:", &keys[1], "ECDH (Curve25519)", "On", ""),
        ("Authentication key:", &keys[2], "ECDSA (NistP256r1)", "Off", ""),
    ];
    let squeezed = status.split_whitespace().collect::<Vec<_>>().join(" ");
    for (name, key, algorithm, touch, pin) in says {
        let (_, about) = squeezed.split_once(name).unwrap();
        assert!(about.starts_with(&format!(" Fingerprint: {} ", key.to_lowercase())), "{status}");
        let about = about.split_once(" Algorithm: ").unwrap().1;
        let expected =
            format!("{algorithm} Touch policy: {touch} (features: Button) Key Status: generated{pin}");
        assert!(about.starts_with(&expected), "no {expected:?} in\n{status}");
    }
}

fn gpg_agrees(world: &World, result: &Value, keys: &[String]) {
    let certificate = result["certificate"].as_str().unwrap();
    run(&mut world.gpg(&["--import", certificate])).succeeded();
    let checked = run(&mut world.gpg(&["--with-colons", "--check-signatures", &keys[0]])).succeeded();
    // Its own signatures over user id and subkeys, each one good.
    let good = checked.out.lines().filter(|line| line.starts_with("sig:!:")).count();
    assert_eq!(good, 3, "{checked:?}");
    assert!(!checked.out.contains("sig:-:") && !checked.out.contains("sig:%:"), "{checked:?}");
    let status = run(&mut world.gpg(&["--card-status"])).succeeded().out;
    shows(&status, "Key attributes ...: ed25519 cv25519 nistp256");
    shows(&status, "Signature PIN ....: forced");
    let general = status.lines().find(|line| line.starts_with("General key info"));
    assert!(general.is_some_and(|line| line.contains("Alice <alice@example.org>")), "{status}");
    let whole: String = status.chars().filter(|c| !c.is_whitespace()).collect();
    for key in keys {
        assert!(whole.contains(key.as_str()), "{status}");
    }
    // What the token signed with the touch, by gpg's own account.
    let enrolment: Value = serde_json::from_str(&world.read(result["enrolment"].as_str().unwrap())).unwrap();
    world.write("text", enrolment["statement"].as_str().unwrap());
    world.write("text.asc", enrolment["signature"].as_str().unwrap());
    let verified = run(&mut world.gpg(&["--verify", "text.asc", "text"])).succeeded();
    assert!(verified.err.contains("Good signature from \"Alice <alice@example.org>\""), "{verified:?}");
    // gpg 2.2 shows no touch policy: it signs, with the new PIN, and has to wait for the finger.
    world.tell("finger ask");
    let mut sign =
        world.gpg(&["--pinentry-mode", "loopback", "--passphrase-fd", "0", "--local-user", &keys[0]]);
    let signing = Running::start(sign.args(["--output", "text.sig", "--detach-sign", "text"]), Some(NEW_PIN));
    world.tell("await-touch 60s");
    // gpg opens the file before it has anything to write.
    assert!(!world.exists("text.sig") || fs::read(world.home.work().join("text.sig")).unwrap().is_empty());
    world.tell("press");
    signing.finish().succeeded();
    run(&mut world.gpg(&["--verify", "text.sig", "text"])).succeeded();
}

#[test]
fn a_yubikey_5_2_7() {
    becomes_provisioned("--firmware=5.2.7", Some("5.2.7"), "0006:12345678");
}

#[test]
fn a_yubikey_5_4_3() {
    becomes_provisioned("--firmware=5.4.3", Some("5.4.3"), "0006:12345678");
}

#[test]
fn a_yubikey_5_7_4() {
    becomes_provisioned("--firmware=5.7.4", Some("5.7.4"), "0006:12345678");
}

#[test]
fn a_plain_card() {
    becomes_provisioned("--personality=plain", None, "000F:00BC614E");
}
