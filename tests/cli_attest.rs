//! `card attest`: what it says of files, as text and as JSON, and its exit codes.
#![cfg(all(feature = "cli", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use support::{Home, PROGRAM, Ran, run};
use virtual_openpgp_card::attestation::{Authority, Certificate, Chain, ChainShape, Statement};
use virtual_openpgp_card::{Algorithm, Slot, TouchPolicy, VirtualCard};

/// The fields of an attestation that is believed, beside `file` and `verdict`.
const FACTS: [&str; 15] = [
    "algorithm",
    "cspn",
    "falls_short",
    "fips",
    "firmware",
    "form_factor",
    "owner_writable",
    "root",
    "root_is",
    "serial",
    "signatures",
    "slot",
    "source",
    "tier",
    "touch",
];

/// A home with the files of attestations in it: `good.pem` (attestation and the token's certificate), `off.pem`
/// (the same, touch off), `leaf.der`, `device.pem`, `intermediates/*.pem`, `root.pem`.
fn home() -> Home {
    let home = Home::new();
    let authority = Authority::new(ChainShape::FourBelowRoot);
    let key = VirtualCard::builder().build().generate(Slot::Signature, Algorithm::Ed25519, 7).unwrap();
    let said = Statement { cardholder: b"Alice\x1b[2J".to_vec(), ..Statement::about(Slot::Signature) };
    let good = authority.attest(&key, &said);
    let off = authority.attest(&key, &Statement { touch: TouchPolicy::Off, ..said });
    let write = |name: &str, bytes: &[u8]| fs::write(home.work().join(name), bytes).unwrap();
    let both = |chain: &Chain| [chain.leaf.pem(), chain.device.pem()].concat();
    write("good.pem", both(&good).as_bytes());
    write("off.pem", both(&off).as_bytes());
    write("leaf.der", good.leaf.der());
    write("device.pem", good.device.pem().as_bytes());
    write("root.pem", good.root.pem().as_bytes());
    fs::create_dir(home.work().join("intermediates")).unwrap();
    for (at, intermediate) in good.intermediates.iter().map(Certificate::pem).enumerate() {
        write(&format!("intermediates/{at}.pem"), intermediate.as_bytes());
    }
    home
}

fn attest(home: &Home, arguments: &[&str]) -> Ran {
    let mut command = Command::new(PROGRAM);
    home.environment(&mut command);
    run(command.args(["card", "attest"]).args(arguments))
}

const ROOT: [&str; 4] = ["--intermediates", "intermediates", "--root", "root.pem"];

#[test]
fn an_own_root_is_believed_and_said_to_be_weaker() {
    let home = home();
    let ran = attest(&home, &[&["--verify", "good.pem"][..], &ROOT].concat()).succeeded();
    assert_eq!(
        ran.out,
        "approved: good.pem: signature key of token 12345678, generated, touch fixed\n  \
         root       root.pem\n  \
         weaker     this root is not Yubico's: what it says is its own word\n  \
         key        Ed25519, firmware 5.7.4, usb-a-keychain, signature counter 0\n  \
         says       no signature by this key was possible without a touch since it was attested\n  \
         owner says name \"Alice\\u{1b}[2J\", key 0000000000000000000000000000000000000000, \
         made 1970-01-01T00:00:00Z (not proven)\n"
    );
    let object = attest(&home, &[&["--json", "--verify", "good.pem"][..], &ROOT].concat()).succeeded().json();
    let mut names: Vec<&str> = FACTS.into_iter().chain(["file", "verdict"]).collect();
    names.sort_unstable();
    assert_eq!(object.as_object().unwrap().keys().collect::<Vec<_>>(), names);
    for (name, value) in [
        ("verdict", json!("approved")),
        ("root_is", json!("configured")),
        ("tier", json!("declared")),
        ("falls_short", json!(["other-root"])),
        ("serial", json!("12345678")),
        ("signatures", json!(0)),
        ("fips", Value::Null),
    ] {
        assert_eq!(object[name], value, "{name}");
    }
}

#[test]
fn the_certificates_may_come_from_anywhere() {
    let home = home();
    let apart = [&["--verify", "leaf.der", "--intermediates", "device.pem"][..], &ROOT].concat();
    attest(&home, &apart).succeeded();
    let one_by_one = [
        "--verify",
        "good.pem",
        "--root",
        "root.pem",
        "--intermediates",
        "intermediates/1.pem",
        "intermediates/0.pem",
    ];
    attest(&home, &one_by_one).succeeded();
}

/// What lies beside the configuration needs no naming, and is no more trusted for it.
#[test]
fn intermediates_lie_beside_the_configuration() {
    let home = home();
    let bare = ["--verify", "good.pem", "--root", "root.pem"];
    assert_eq!(attest(&home, &[&["--json"], &bare[..]].concat()).exits(3).json()["code"], "unknown-issuer");
    let folder = home.config().join("attestation.intermediates");
    fs::create_dir_all(&folder).unwrap();
    for name in ["0.pem", "1.pem"] {
        fs::copy(home.work().join("intermediates").join(name), folder.join(name)).unwrap();
    }
    attest(&home, &bare).succeeded();
    // The root among them makes it none.
    fs::copy(home.work().join("root.pem"), folder.join("root.pem")).unwrap();
    let object = attest(&home, &["--json", "--verify", "good.pem"]).exits(3).json();
    assert_eq!(object["code"], "unknown-issuer");
    // What is no certificate is named, not passed over.
    fs::write(folder.join("README"), "see Yubico\n").unwrap();
    let ran = attest(&home, &bare).exits(1);
    assert!(ran.err.contains("attestation.intermediates/README: no certificate in it"), "{ran:?}");
}

#[test]
fn a_no_is_a_clear_no_with_its_reason() {
    let home = home();
    // Nobody configured the test authority.
    let ran = attest(&home, &["--verify", "good.pem", "--intermediates", "intermediates"]).exits(3);
    let first =
        "error: rejected (unknown-issuer): good.pem: the chain leads to no root that is trusted\nhint: pass";
    assert!(ran.err.starts_with(first), "{ran:?}");
    let off = [&["--verify", "off.pem"][..], &ROOT].concat();
    let ran = attest(&home, &off).exits(3);
    let first = "error: rejected (touch-not-fixed): off.pem: touch is off, not fixed\nhint: `touchgate card touch fixed`";
    assert!(ran.err.starts_with(first), "{ran:?}");
    let object = attest(&home, &[&["--json"], &off[..]].concat()).exits(3).json();
    assert_eq!((&object["verdict"], &object["code"]), (&json!("rejected"), &json!("touch-not-fixed")));
    assert_eq!((&object["touch"], &object["tier"]), (&json!("off"), &json!("signed")));
    assert!(FACTS.iter().all(|name| object.get(*name).is_some()), "{object}");
    let shown = attest(&home, &[&["--chain-only"], &off[..]].concat()).succeeded();
    assert!(shown.out.contains("  no proof   that signatures needed a touch: "), "{shown:?}");
    for (file, code) in
        [("device.pem", "invalid-path"), ("cut.der", "malformed-certificate"), ("empty", "no-certificate")]
    {
        let leaf = fs::read(home.work().join("leaf.der")).unwrap();
        fs::write(home.work().join("cut.der"), &leaf[..300]).unwrap();
        fs::write(home.work().join("empty"), "").unwrap();
        let object = attest(&home, &[&["--json", "--verify", file][..], &ROOT].concat()).exits(3).json();
        assert_eq!((&object["code"], &object["file"]), (&json!(code), &json!(file)), "{object}");
    }
}

#[test]
fn many_files_are_judged_one_by_one_and_the_worst_counts() {
    let home = home();
    let arguments = [&["--json", "--verify", "good.pem", "off.pem", "good.pem"][..], &ROOT].concat();
    let ran = attest(&home, &arguments).exits(3);
    let objects: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verdicts: Vec<&str> = objects.iter().map(|object| object["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["approved", "approved", "rejected"]);
}

#[test]
fn what_cannot_be_read_is_no_verdict() {
    let home = home();
    let object = attest(&home, &["--json", "--verify", "nowhere"]).exits(1).json();
    assert_eq!((&object["verdict"], &object["code"]), (&json!("failed"), &json!("unreadable")));
    let object = attest(&home, &["--json", "--verify", "good.pem", "--root", "nowhere"]).exits(1).json();
    assert_eq!((&object["verdict"], &object["code"]), (&json!("failed"), &json!("unreadable")));
    let many = fs::read_to_string(home.work().join("root.pem")).unwrap().repeat(65);
    fs::write(home.work().join("many.pem"), many).unwrap();
    let arguments = ["--json", "--verify", "good.pem", "--intermediates", "many.pem"];
    let object = attest(&home, &arguments).exits(1).json();
    assert_eq!(object["code"], "too-many-certificates");
    attest(&home, &["--verify", "good.pem", "--slot", "decryption"]).exits(2);
}

// Made by a token on real pcscd.

#[cfg(feature = "pcsc")]
fn make(world: &support::World, arguments: &[&str]) -> Ran {
    let mut command = world.touchgate(["card", "attest", "--no-input", "--pin-fd", "0"]);
    support::run_with(command.args(arguments), support::PIN)
}

#[cfg(feature = "pcsc")]
#[test]
fn a_token_attests_and_openssl_agrees() {
    let world = support::World::bare("--touch=now --touch-policy=fixed");
    let authority = Authority::new(ChainShape::FourBelowRoot);
    world.write("root.pem", &authority.root().pem());
    world.write("between.pem", &authority.intermediates().iter().map(Certificate::pem).collect::<String>());
    // Nobody believes the test authority: what the token gave is kept all the same.
    let ran = make(&world, &[]).exits(3);
    assert!(ran.err.starts_with("error: rejected (unknown-issuer): 12345678.attestation.pem: "), "{ran:?}");
    assert!(ran.err.contains("  written   12345678.attestation.pem\n"), "{ran:?}");
    assert_eq!(world.read("12345678.attestation.pem").matches("BEGIN CERTIFICATE").count(), 2);
    // Nothing is overwritten, and that is known before the PIN is sent.
    let object = make(&world, &["--json"]).exits(1).json();
    assert_eq!(object["code"], "write");
    let known = ["--intermediates", "between.pem", "--root", "root.pem"];
    let ran = make(&world, &[&["--out", "full.pem"][..], &known].concat()).succeeded();
    let first = "approved: full.pem: signature key of token 12345678, generated, touch fixed\n";
    assert!(ran.out.starts_with(first) && ran.out.ends_with("  written to full.pem\n"), "{ran:?}");
    // The file that was believed stands by itself.
    run(&mut world.touchgate(["card", "attest", "--root", "root.pem", "--verify", "full.pem"])).succeeded();
    let verify = ["verify", "-CAfile", "root.pem", "-untrusted", "full.pem", "full.pem"];
    run(world.command("openssl").args(verify)).succeeded();
    // Through gpg, which holds the card, and gpg works on.
    world.assert_gpg_works();
    let ran = make(&world, &[&["--out", "held.pem"][..], &known].concat()).succeeded();
    assert!(ran.err.contains("scdaemon has the card"), "{ran:?}");
    world.assert_gpg_works();
    let object = make(&world, &["--json", "--slot", "decryption"]).exits(1).json();
    assert_eq!(object["code"], "not-attested");
}

#[cfg(feature = "pcsc")]
#[test]
fn a_token_that_signs_without_a_touch_is_a_no() {
    let world = support::World::bare("--touch=now --touch-policy=off");
    let authority = Authority::new(ChainShape::FourBelowRoot);
    world.write("root.pem", &authority.root().pem());
    world.write("between.pem", &authority.intermediates().iter().map(Certificate::pem).collect::<String>());
    let known = ["--json", "--intermediates", "between.pem", "--root", "root.pem"];
    let object = make(&world, &known).exits(3).json();
    assert_eq!((&object["code"], &object["touch"]), (&json!("touch-not-fixed"), &json!("off")));
    assert_eq!(object["written"], "12345678.attestation.pem");
}

/// ykman, with a `pkill` that does nothing before the real one: it kills every scdaemon of the machine where it
/// cannot connect.
#[cfg(feature = "pcsc")]
fn ykman(world: &support::World, line: &str) -> Ran {
    use std::os::unix::fs::PermissionsExt as _;
    let program = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("ykman/bin/ykman");
    let program = std::env::var_os("YKMAN").map_or(program, std::path::PathBuf::from);
    assert!(program.exists(), "no {}; run: sh packaging/test-ykman.sh", program.display());
    let pkill = world.home.join("bin/pkill");
    if !pkill.exists() {
        fs::create_dir(world.home.join("bin")).unwrap();
        fs::write(&pkill, "#!/bin/sh\nexit 0\n").unwrap();
        fs::set_permissions(&pkill, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", world.home.join("bin").display(), std::env::var("PATH").unwrap());
    let mut command = world.command(program);
    command.env("PATH", path).env("LC_ALL", "C.UTF-8").args(["--reader", "CCID 00 00", "openpgp"]);
    run(command.args(line.split(' '))).succeeded()
}

/// What ykman makes we believe, and what we make ykman finds on the token.
#[cfg(feature = "pcsc")]
#[test]
fn ykmans_attestations_are_ours() {
    let world = support::World::bare("--touch=now --touch-policy=fixed");
    let authority = Authority::new(ChainShape::FourBelowRoot);
    world.write("root.pem", &authority.root().pem());
    world.write("between.pem", &authority.intermediates().iter().map(Certificate::pem).collect::<String>());
    ykman(&world, &format!("keys attest sig theirs.pem -P {}", support::PIN));
    ykman(&world, "certificates export att device.pem");
    let judge = |file: &str| {
        let mut command = world.touchgate(["card", "attest", "--json", "--verify", file]);
        command.args(["--root", "root.pem", "--intermediates", "device.pem", "between.pem"]);
        run(&mut command).succeeded().json()
    };
    let theirs = judge("theirs.pem");
    assert_eq!((&theirs["verdict"], &theirs["touch"]), (&json!("approved"), &json!("fixed")));
    make(&world, &["--out", "ours.pem"]).exits(3);
    ykman(&world, "certificates export sig kept.pem");
    let ours = judge("ours.pem");
    for name in FACTS {
        assert_eq!(ours[name], theirs[name], "{name}");
    }
    let first = |name: &str| {
        let text = world.read(name).replace('\r', "");
        text.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap().to_owned()
    };
    assert_eq!(first("ours.pem"), first("kept.pem"));
    assert_ne!(first("ours.pem"), first("theirs.pem"));
}

/// The lines of docs/attestation.md, for somebody without a token.
#[cfg(feature = "pcsc")]
#[test]
fn a_simulated_tokens_attestation_is_believed_with_the_roots_that_come_with_it() {
    let docs = include_str!("../docs/attestation.md");
    let (_, lines) = docs.split_once("    touchgate card simulate ").unwrap();
    let (lines, _) = lines.split_once("\n\n").unwrap();
    let home = Home::new();
    let mut shell = Command::new("sh");
    home.environment(&mut shell);
    let programs = std::path::Path::new(PROGRAM).parent().unwrap().to_str().unwrap();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let line = format!("touchgate card simulate {lines}");
    shell.args(["-c", &line]).env("PATH", path).current_dir(home.work());
    let ran = run(&mut shell).succeeded();
    assert!(ran.out.contains("signature key of token 12345678, generated, touch on"), "{ran:?}");
    assert!(ran.out.contains("this root is not Yubico's"), "{ran:?}");
}
