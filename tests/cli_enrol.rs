//! `enrol` and the certificates that tokens make, over real pcscd, with gpg on the same token.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use support::{PIN, Ran, Running, SERIAL, Terminal, World, need, run, run_with};
use touchgate::enrolment::{Enrolled, Enrolment};
use touchgate::unix_time::UnixTime;
use virtual_openpgp_card::{Algorithm, Slot, TouchPolicy, VirtualCard};

const USER_ID: &str = "Alice <alice@example.org>";
const MADE: u32 = 1_700_000_000;

/// `enrol` with the PIN at descriptor 0.
fn enrol(world: &World, arguments: &[&str]) -> Ran {
    let mut command = world.touchgate(["enrol", "--no-input", "--pin-fd", "0"]);
    if !arguments.contains(&"--name") {
        command.args(["--name", "alice"]);
    }
    run_with(command.args(arguments), PIN)
}

/// What whoever keeps trust makes of the file.
fn judged(world: &World, name: &str) -> Enrolled {
    Enrolment::parse(world.read(name).as_bytes()).unwrap().verify(UnixTime::now()).unwrap()
}

fn files(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.home.work()).unwrap().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn signatures(world: &World) -> u64 {
    run(&mut world.touchgate(["card", "info", "--json"])).succeeded().json()["signatures"].as_u64().unwrap()
}

/// A token with a key in each slot and no certificate anywhere; the folder keeps its state.
fn blank(signing: Algorithm, decrypting: Algorithm) -> (World, tempfile::TempDir) {
    blank_with("--touch=now", signing, decrypting)
}

fn blank_with(options: &str, signing: Algorithm, decrypting: Algorithm) -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let state: PathBuf = folder.path().join("card");
    let card = VirtualCard::builder().serial(12_345_678).seed([5; 32]).open(&state).unwrap();
    for (slot, algorithm) in
        [(Slot::Signature, signing), (Slot::Decryption, decrypting), (Slot::Authentication, signing)]
    {
        card.generate(slot, algorithm, MADE).unwrap();
    }
    card.set_touch_policy(Slot::Signature, TouchPolicy::Fixed);
    drop(card);
    let world = World::bare(&format!("{options} --state={}", state.display()));
    assert!(!world.home.certificate().exists());
    (world, folder)
}

#[test]
fn a_member_enrols_and_the_file_holds_all_of_it() {
    need(&["gpg"]);
    let world = World::bare("--touch=now");
    let certificate = world.home.certificate();
    world.write("profile.toml", "# as provisioned\n");
    world.write("report.json", "{\"steps\": 3}\n");
    let options = ["--profile", "profile.toml", "--report", "report.json", "--certificate"];
    let ran = enrol(&world, &[&options[..], &[certificate.to_str().unwrap(), "--json"]].concat()).succeeded();
    let json = ran.json();
    assert_eq!(
        (&json["name"], &json["serial"], &json["touch"]),
        (&"alice".into(), &SERIAL.into(), &"on".into())
    );
    assert_eq!((&json["attestation"], &json["file"]), (&2.into(), &"alice.enrol".into()));
    let enrolled = judged(&world, "alice.enrol");
    assert_eq!(json["key"], enrolled.key.fingerprint().to_hex());
    assert_eq!(json["profile"], enrolled.possession.profile.unwrap().to_string());
    assert_eq!(enrolled.report.as_deref(), Some("{\"steps\": 3}\n"));
    assert_eq!((enrolled.attestation.len(), enrolled.possession.ident.to_string().as_str()), (2, SERIAL));
    assert!(enrolled.age < Duration::from_secs(600));
    // The person saw what was signed, and was told what the touch is for.
    for line in enrolled.possession.to_text().lines() {
        assert!(ran.err.contains(&format!("│ {line}\n")), "{line}: {}", ran.err);
    }
    assert_eq!(ran.err.matches("touch token").count(), 1, "{}", ran.err);
    assert!(ran.err.contains("now to enrol as alice"), "{}", ran.err);

    // gpg checks it without us, as the documentation says.
    let file: serde_json::Value = serde_json::from_str(&world.read("alice.enrol")).unwrap();
    for (name, field) in [("text", "statement"), ("text.asc", "signature"), ("key.asc", "certificate")] {
        world.write(name, file[field].as_str().unwrap());
    }
    run(&mut world.gpg(&["--import", "key.asc"])).succeeded();
    run(&mut world.gpg(&["--verify", "text.asc", "text"])).succeeded();
    world.write("text", &world.read("text").replace("alice", "mallory"));
    assert_ne!(run(&mut world.gpg(&["--verify", "text.asc", "text"])).code, 0);

    // Nothing is overwritten, and that is found out before anybody touches anything.
    let before = (signatures(&world), world.read("alice.enrol"));
    let again = enrol(&world, &["--certificate", certificate.to_str().unwrap(), "--json"]).exits(1);
    assert_eq!(again.json()["code"], "write");
    assert_eq!(before, (signatures(&world), world.read("alice.enrol")));
    // Through the scdaemon that gpg has started since, too.
    world.assert_gpg_works();
    let through = enrol(&world, &["--out", "second.enrol"]).succeeded();
    assert!(through.err.contains("scdaemon has the card"), "{through:?}");
    let second = judged(&world, "second.enrol").attestation;
    assert_eq!(second[1], enrolled.attestation[1], "the token's own certificate is the same");
    assert_ne!(second[0], enrolled.attestation[0], "the attestation was made anew");
    world.assert_gpg_works();
}

#[test]
fn a_token_makes_its_certificate_once_and_gpg_uses_all_of_it() {
    need(&["gpg", "sqv"]);
    let (world, _state) = blank(Algorithm::Ed25519, Algorithm::X25519);
    let without = enrol(&world, &["--json"]).exits(1).json();
    assert_eq!(without["code"], "no-certificate");
    assert!(without["hint"].as_str().unwrap().contains("--user-id"), "{without}");
    assert_eq!((signatures(&world), files(&world).len()), (0, 0));

    let made = enrol(&world, &["--user-id", USER_ID, "--revocation", "revoke.asc"]).succeeded();
    // User id, two subkeys, revocation, enrolment: each with its touch and its reason.
    assert_eq!(made.err.matches("touch token").count(), 5, "{}", made.err);
    for what in [
        "certify the user id (1 of 4)",
        "bind the decryption key (2 of 4)",
        "bind the authentication key (3 of 4)",
        "make the revocation certificate (4 of 4)",
        "enrol as alice",
    ] {
        assert!(made.err.contains(&format!("now to {what}\n")), "{what}: {}", made.err);
    }
    assert_eq!(
        (signatures(&world), files(&world)),
        (5, ["alice.asc", "alice.enrol", "revoke.asc"].map(str::to_owned).to_vec())
    );
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(world.home.work().join("revoke.asc")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    judged(&world, "alice.enrol");

    // The certificate that lies there is right: nothing is made again.
    fs::remove_file(world.home.work().join("alice.enrol")).unwrap();
    let certificate = world.read("alice.asc");
    let again = enrol(&world, &["--user-id", USER_ID, "--revocation", "other.asc"]).succeeded();
    assert!(again.err.contains("no revocation was made") && !world.exists("other.asc"), "{}", again.err);
    assert_eq!((signatures(&world), world.read("alice.asc")), (6, certificate));
    fs::remove_file(world.home.work().join("alice.enrol")).unwrap();
    let other = enrol(&world, &["--user-id", "Bob", "--json"]).exits(1).json();
    assert_eq!(other["code"], "certificate-differs");
    assert!(other["differs"].as_str().unwrap().contains("alice@example.org"), "{other}");
    let expiring =
        enrol(&world, &["--user-id", USER_ID, "--expires", "2031-01-01T00:00:00Z", "--json"]).exits(1);
    assert_eq!(expiring.json()["code"], "certificate-differs");
    assert_eq!(signatures(&world), 6);

    // gpg takes every signature in it, and the token's other keys by it.
    run(&mut world.gpg(&["--import", "alice.asc"])).succeeded();
    let checked = run(&mut world.gpg(&["--with-colons", "--check-signatures"])).succeeded();
    assert_eq!(checked.out.matches("\nsig:!:").count(), 3, "{}", checked.out);
    world.assert_gpg_works();
    let status = run(&mut world.gpg(&["--card-status", "--with-colons"])).succeeded();
    let secret = run(&mut world.gpg(&["--list-secret-keys", "--with-colons"])).succeeded();
    assert_eq!(secret.out.matches("D276000124010304000612345678").count(), 3, "{}{}", secret.out, status.out);
    world.write("plain", "for alice\n");
    run(&mut world.gpg(&[
        "--trust-model",
        "always",
        "-r",
        "alice@example.org",
        "--output",
        "cipher",
        "--encrypt",
        "plain",
    ]))
    .succeeded();
    let loopback = ["--pinentry-mode", "loopback", "--passphrase", PIN];
    let decrypted = run(&mut world.gpg(&[&loopback[..], &["--decrypt", "cipher"]].concat())).succeeded();
    assert_eq!(decrypted.out, "for alice\n");
    run(&mut world.gpg(&[&loopback[..], &["--detach-sign", "--armor", "plain"]].concat())).succeeded();
    run(world.command("sqv").args(["--keyring", "alice.asc", "plain.asc", "plain"])).succeeded();
    // And revokes it by what was made in advance.
    run(&mut world.gpg(&["--import", "revoke.asc"])).succeeded();
    let revoked = run(&mut world.gpg(&["--list-keys", "--with-colons"])).succeeded();
    assert!(revoked.out.contains("pub:r:"), "{}", revoked.out);
}

#[test]
fn the_tokens_keys_go_under_a_primary_key_that_gpg_made() {
    need(&["gpg", "sqv"]);
    let (world, _state) = blank(Algorithm::NistP256, Algorithm::NistP256);
    let secret = ["--pinentry-mode", "loopback", "--passphrase", "correct horse battery"];
    let home = world.home.join("safe");
    fs::create_dir(&home).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let safe = |arguments: &[&str]| {
        let mut gpg = world.command("gpg");
        run(gpg.arg("--homedir").arg(&home).args(["--no-tty", "--batch"]).args(secret).args(arguments))
            .succeeded()
    };
    safe(&["--quick-generate-key", USER_ID, "ed25519", "cert", "0"]);
    safe(&["--armor", "--output", "primary.asc", "--export-secret-keys", "alice@example.org"]);
    // What gpg exports of it where the primary key is not wanted.
    let listed = safe(&["--with-colons", "--list-keys"]).out;
    let primary =
        listed.lines().find_map(|line| line.strip_prefix("fpr:::::::::")).unwrap().trim_end_matches(':');
    safe(&["--quick-add-key", primary, "cv25519", "encr", "0"]);
    safe(&["--armor", "--output", "without.asc", "--export-secret-subkeys", primary]);
    run(world.command("gpgconf").arg("--homedir").arg(&home).args(["--kill", "all"])).succeeded();

    // The PIN at one descriptor, the passphrase at another.
    let with = |passphrase: &str, name: &str| {
        world.write("passphrase", &format!("{passphrase}\n"));
        let file = if passphrase.is_empty() { "without.asc" } else { "primary.asc" };
        let script = format!(
            "cat passphrase | {{ exec 3<&0; printf '{PIN}\\n' | {} enrol --no-input --json --name {name} --pin-fd 0 --primary {file} --passphrase-fd 3; }}",
            support::PROGRAM
        );
        run(world.command("sh").args(["-c", &script]))
    };
    let wrong = with("wrong", "alice").exits(1);
    assert_eq!(wrong.json()["code"], "bad-primary-key");
    assert!(!format!("{wrong:?}").contains("battery"));
    let left_out = with("", "alice").exits(1).json();
    assert_eq!(left_out["code"], "bad-primary-key");
    assert!(left_out["message"].as_str().unwrap().contains("is not in the file"), "{left_out}");
    assert_eq!(signatures(&world), 0);
    with("correct horse battery", "alice").succeeded();
    assert_eq!(signatures(&world), 2, "one as a subkey, one to enrol");
    let enrolled = judged(&world, "alice.enrol");
    assert_ne!(&enrolled.key.certificate().fingerprint(), enrolled.key.fingerprint());
    assert_eq!(enrolled.key.certificate().keys().subkeys().count(), 3);

    run(&mut world.gpg(&["--import", "alice.asc"])).succeeded();
    let checked = run(&mut world.gpg(&["--with-colons", "--check-signatures"])).succeeded();
    assert_eq!(
        (checked.out.matches("\nsig:!:").count(), checked.out.matches(":18x:").count()),
        (4, 3),
        "{}",
        checked.out
    );
    world.assert_gpg_works();
    world.write("plain", "signed by the subkey\n");
    let loopback = ["--pinentry-mode", "loopback", "--passphrase", PIN];
    run(&mut world.gpg(&[&loopback[..], &["--detach-sign", "--armor", "plain"]].concat())).succeeded();
    run(world.command("sqv").args(["--keyring", "alice.asc", "plain.asc", "plain"])).succeeded();
}

#[test]
fn at_a_terminal_each_secret_is_asked_for_once_and_a_missed_touch_is_tried_again() {
    let (world, _state) =
        blank_with("--touch=never --touch-window=1s", Algorithm::Ed25519, Algorithm::X25519);
    let mut terminal = Terminal::new();
    let arguments = ["enrol", "--name", "alice", "--user-id", USER_ID, "--no-attestation"];
    let running = Running::start(&mut world.touchgate_at(&terminal, arguments), None);
    terminal.wait_for("token 12345678 makes its certificate of Alice <alice@example.org>");
    terminal.wait_for("PIN of token 12345678 to certify the user id (1 of 3): ");
    assert!(!terminal.echoes());
    terminal.type_line(PIN);
    terminal.wait_for("Enter tries again");
    world.tell("finger now");
    terminal.type_line("");
    terminal.wait_for("┌ this is what you sign");
    terminal.wait_for("│ name: alice");
    let ran = running.finish().succeeded();
    for what in ["bind the decryption key (2 of 3)", "bind the authentication key (3 of 3)", "enrol as alice"]
    {
        assert!(ran.err.contains(&format!("touch token 12345678 now to {what}\n")), "{what}: {}", ran.err);
    }
    let screen = terminal.last_screen();
    assert_eq!(screen.matches("PIN of token").count(), 1, "{screen}");
    assert!(judged(&world, "alice.enrol").attestation.is_empty());
    assert_eq!(signatures(&world), 4);
}

#[test]
fn an_attestation_key_that_wants_a_touch_and_a_chain_made_before() {
    let (world, state) = blank(Algorithm::NistP256, Algorithm::NistP256);
    drop(world);
    let state = state.path().join("card");
    let card = VirtualCard::builder().serial(12_345_678).open(&state).unwrap();
    card.set_touch_policy(Slot::Attestation, TouchPolicy::On);
    drop(card);
    let world = World::bare(&format!("--touch=now --state={}", state.display()));
    let ran = enrol(&world, &["--user-id", USER_ID]).succeeded();
    assert!(ran.err.contains("touch token 12345678 now to attest its signature key\n"), "{}", ran.err);
    let first = judged(&world, "alice.enrol").attestation;
    let file: serde_json::Value = serde_json::from_str(&world.read("alice.enrol")).unwrap();
    world.write("chain.pem", file["attestation"].as_str().unwrap());
    // Enclosed as it is, and the token is not asked for another.
    let options = ["--certificate", "alice.asc", "--out", "again.enrol", "--attestation", "chain.pem"];
    let ran = enrol(&world, &options).succeeded();
    assert!(!ran.err.contains("attests its signature key"), "{}", ran.err);
    assert_eq!(judged(&world, "again.enrol").attestation, first);
}

#[test]
fn init_has_the_token_make_what_is_missing() {
    let (world, _state) = blank(Algorithm::Ed25519, Algorithm::X25519);
    let init = |arguments: &[&str]| {
        run_with(world.touchgate(["init", "--no-input", "--pin-fd", "0", "--json"]).args(arguments), PIN)
    };
    assert_eq!(init(&[]).exits(1).json()["code"], "no-certificate");
    assert_eq!(init(&["--user-id", "two\nlines"]).exits(2).json()["code"], "usage");
    assert!(!world.home.config().join("trust").exists());
    init(&["--user-id", USER_ID]).succeeded();
    assert_eq!(signatures(&world), 3);
    let request = world.request();
    world.approve(&[&request]).succeeded();
    run(&mut world.touchgate(["verify", &request.replace(".request", ".approval")])).succeeded();
    // And what trust knows is what enrols.
    enrol(&world, &[]).succeeded();
    assert_eq!(signatures(&world), 5);
}

#[test]
fn a_token_that_cannot_attest_enrols_and_says_so() {
    let world = World::bare("--personality=plain --touch=now");
    let certificate = world.home.certificate();
    let ran = enrol(&world, &["--certificate", certificate.to_str().unwrap()]).succeeded();
    assert!(ran.err.contains("does not attest its signature key"), "{}", ran.err);
    assert!(judged(&world, "alice.enrol").attestation.is_empty());
}

#[test]
fn whatever_goes_wrong_writes_nothing() {
    let world = World::bare("--touch=never --touch-window=300ms");
    let certificate = world.home.certificate();
    let certificate = certificate.to_str().unwrap();
    let code = |arguments: &[&str], exit: i32| {
        let ran = enrol(&world, &[arguments, &["--json"]].concat()).exits(exit);
        ran.json()["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(code(&["--certificate", certificate], 4), "not-touched");
    assert_eq!(code(&["--certificate", certificate, "--out", "alice.asc"], 2), "usage");
    assert_eq!(code(&["--certificate", certificate, "--report", "absent"], 1), "unreadable");
    assert_eq!(files(&world).len(), 0);
    world.write("chain.pem", "no chain\n");
    assert_eq!(
        code(&["--certificate", certificate, "--attestation", "chain.pem"], 1),
        "bad-attestation-chain"
    );
    fs::write(world.home.work().join("report"), [0xff]).unwrap();
    assert_eq!(code(&["--certificate", certificate, "--report", "report"], 1), "bad-report");
    for arguments in [
        &["--name", "../alice"][..],
        &["--user-id", "A", "--certificate", "x"],
        &["--passphrase-fd", "3"],
        &["--expires", "soon"],
        &["--attestation", "a", "--no-attestation"],
    ] {
        enrol(&world, arguments).exits(2);
    }
    let mut wrong =
        world.touchgate(["enrol", "--no-input", "--pin-fd", "0", "--json", "--certificate", certificate]);
    let wrong = run_with(&mut wrong, "654321").exits(5).json();
    assert_eq!(
        (&wrong["code"], wrong["message"].as_str().unwrap().contains("2 tries left")),
        (&"wrong-pin".into(), true)
    );
    assert_eq!(files(&world), ["chain.pem", "report"]);
}
