//! Approvals and other people's tools, over real pcscd and through scdaemon: what Touchgate signs gpg,
//! gpgv and sqv verify, and what gpg signs with the key on the card Touchgate verifies.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;

use support::{PIN, Ran, World, need, run};

const NOTATION: &str = "statement@touchgate.invalid=v1";

/// The key as gpg's options name it.
const KEY: &str = "alice@example.org";

/// gpg, gpgv and sqv say the same of a detached signature.
fn verdicts(world: &World, statement: &str, signature: &str) -> [Ran; 3] {
    let certificate = world.home.certificate();
    run(&mut world.gpg(&["--export", "--output", "ring.gpg", KEY])).succeeded();
    let keyring = world.home.work().join("ring.gpg");
    let gpg = run(&mut world.gpg(&["--verify", signature, statement]));
    let gpgv = run(world.command("gpgv").arg("--keyring").arg(keyring).args([signature, statement]));
    let sqv = run(world.command("sqv").arg("--keyring").arg(certificate).args([signature, statement]));
    [gpg, gpgv, sqv]
}

fn assert_good(world: &World, statement: &str, signature: &str) {
    for ran in verdicts(world, statement, signature) {
        ran.succeeded();
    }
    // They would say no if there were a reason.
    let text = world.read(statement);
    world.write("altered", &text.replace("payments", "paymentz"));
    assert_ne!(text, world.read("altered"));
    for ran in verdicts(world, "altered", signature) {
        assert_ne!(ran.code, 0, "{ran:#?}");
    }
}

/// gpg learns the certificate and that its key is on the card; its scdaemon then holds the card.
fn gpg_knows_the_card(world: &World) {
    run(world.gpg(&["--import"]).arg(world.home.certificate())).succeeded();
    world.assert_gpg_works();
    let secret = run(&mut world.gpg(&["--list-secret-keys", "--with-colons"])).succeeded();
    assert!(secret.out.contains("D27600012401030400061234567800"), "no stub for the card: {secret:#?}");
}

fn let_go(world: &World) {
    run(world.command("gpgconf").args(["--kill", "all"])).succeeded();
}

/// What gpg signs instead of `touchgate approve`: the request with its first line changed.
fn sign_with_gpg(world: &World, request: &str, statement: &str, options: &[&str]) {
    let text = world.read(request);
    world.write(statement, &text.replacen("v1 challenge", "v1 approve", 1));
    let mut gpg = world.gpg(&["--pinentry-mode", "loopback", "--passphrase", PIN, "--armor", "-u", KEY]);
    run(gpg.args(options).args(["--detach-sign", statement])).succeeded();
}

/// Everything, with one kind of key.
fn both_ways(algorithm: &str, statement_options: &[&str]) {
    need(&["gpg", "gpgv", "sqv"]);
    let world = World::new(&format!("--touch=now --key={algorithm}"));
    gpg_knows_the_card(&world);

    // Through the scdaemon that holds the card, chosen and asked for by name.
    for path in ["auto", "scdaemon"] {
        let request = world.request();
        let name = format!("through-{path}");
        let ran = world.approve(&["--card-path", path, "--detached", &name, &request]).succeeded();
        assert!(ran.err.contains("scdaemon has the card"), "{ran:#?}");
        assert_good(&world, &name, &format!("{name}.asc"));
        world.assert_gpg_works();
        run(&mut world.touchgate(["verify", &name, "--request", &request])).succeeded();
    }

    // The other way round, with the card still in scdaemon's hands.
    let request = world.request();
    sign_with_gpg(&world, &request, "by-gpg", &[&["--sig-notation", NOTATION], statement_options].concat());
    assert_good(&world, "by-gpg", "by-gpg.asc");
    let verified =
        run(&mut world.touchgate(["verify", "by-gpg", "--request", &request, "--json"])).succeeded();
    let json = verified.json();
    assert_eq!(
        (&json["verdict"], &json["acr"]),
        (&"approved".into(), &"urn:touchgate:touch-declared".into())
    );
    assert_eq!(json["serial"], support::SERIAL);

    // Without the notation it is some signature, not an approval.
    sign_with_gpg(&world, &request, "unmarked", statement_options);
    assert_good(&world, "unmarked", "unmarked.asc");
    let verified =
        run(&mut world.touchgate(["verify", "unmarked", "--request", &request, "--json"])).exits(3);
    assert_eq!(verified.json()["code"], "notation-missing");

    // And straight to the reader.
    let_go(&world);
    for path in ["auto", "direct"] {
        let request = world.request();
        let name = format!("straight-{path}");
        let ran = world.approve(&["--card-path", path, "--detached", &name, &request]).succeeded();
        assert!(!ran.err.contains("scdaemon"), "{ran:#?}");
        assert_good(&world, &name, &format!("{name}.asc"));
        run(&mut world.touchgate(["verify", &name, "--request", &request])).succeeded();
        world.assert_gpg_works();
        let_go(&world);
    }
}

#[test]
fn ed25519_both_ways() {
    both_ways("ed25519", &["--digest-algo", "SHA512"]);
}

#[test]
fn p256_both_ways() {
    // What gpg takes by itself for this key.
    both_ways("p256", &["--digest-algo", "SHA256"]);
}

#[test]
fn rsa2048_both_ways() {
    both_ways("rsa2048", &["--digest-algo", "SHA512"]);
}

#[test]
fn one_approval_file_is_enough_for_everybody() {
    let world = World::new("--touch=now");
    gpg_knows_the_card(&world);
    let request = world.request();
    let name = request.replace(".request", ".approval");
    world.approve(&[&request]).succeeded();
    // Statement, blank line, armored signature: cut in two by the shell's own means.
    let (statement, signature) =
        world.read(&name).split_once("\n\n").map(|(a, b)| (format!("{a}\n"), b.to_owned())).unwrap();
    world.write("statement", &statement);
    world.write("signature", &signature);
    assert_good(&world, "statement", "signature");
    run(&mut world.touchgate(["verify", &name])).succeeded();
    // Whoever has only the file on standard input gets the same.
    let mut verify = world.touchgate(["verify", "-", "--json"]);
    verify.stdin(fs::File::open(world.home.work().join(&name)).unwrap());
    assert_eq!(run(&mut verify).succeeded().json()["file"], "-");
}
