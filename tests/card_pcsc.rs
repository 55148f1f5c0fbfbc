//! The same outcomes over real pcscd, and stock tools on what comes out.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![cfg(all(feature = "virtual-card", feature = "pcsc", target_os = "linux"))]

mod card_support;

use std::process::Command;

use card_support::PIN;
use card_support::stack::{Gpg, Probe, apdus, host, probe as body, stage, start, tell};
use virtual_openpgp_card::stage::Builder;

#[test]
#[ignore = "the client of the other tests, started by them"]
fn probe() {
    body();
}

/// A folder with Alice's certificate and a signed statement, made with the card over PC/SC.
fn approved(key: &str) {
    let stage = stage(&format!("--key {key} --key-created 1700000000"));
    let folder = tempfile::tempdir().unwrap();
    let folder_name = folder.path().display().to_string();
    let run = || Probe::sign("direct", PIN).with("PROBE_FOLDER", &folder_name).run(&stage);
    assert_eq!(run().outcome(), "ok", "the certificate");

    let before = apdus(&stage);
    let reports = run();
    assert_eq!((reports.outcome(), reports.value("route")), ("ok", "Direct"));
    // What we count is what the card saw.
    assert_eq!((reports.value("apdus"), apdus(&stage) - before), ("6", 6));

    let gpg = Gpg::new(&stage);
    let file = |name: &str| folder.path().join(name).display().to_string();
    gpg.ok("gpg", &["--batch", "--quiet", "--import", &file("alice.pgp")]);
    let verdict =
        gpg.ok("gpg", &["--batch", "--status-fd=1", "--verify", &file("statement.sig"), &file("statement")]);
    assert!(verdict.contains("GOODSIG"), "{verdict}");
    assert!(verdict.contains("NOTATION_NAME statement@touchgate.invalid"), "{verdict}");
    let verdict =
        gpg.ok("gpgv", &["--keyring", &file("alice.pgp"), &file("statement.sig"), &file("statement")]);
    assert!(verdict.contains("Good signature"), "{verdict}");
    gpg.ok("sqv", &["--keyring", &file("alice.pgp"), &file("statement.sig"), &file("statement")]);
    assert_eq!(gpg.card_status(), 2);
}

#[test]
fn stock_tools_accept_ed25519() {
    approved("ed25519");
}

#[test]
fn stock_tools_accept_p256() {
    approved("p256");
}

#[test]
fn stock_tools_accept_rsa_2048() {
    approved("rsa2048");
}

#[test]
fn readers_are_told_apart() {
    let stage = stage("--key ed25519 --serial 12345678");
    let reports = Probe::of("list", "direct").run(&stage);
    assert!(reports.has("reader Yubico YubiKey OTP+FIDO+CCID 00 00: Present 12345678"), "{reports:?}");
    assert!(reports.has("reader Yubico YubiKey OTP+FIDO+CCID 00 01: Empty"), "{reports:?}");
    tell(&stage, "pull");
    let reports = Probe::sign("direct", PIN).run(&stage);
    assert!(reports.outcome().starts_with("NoCard {"), "{reports:?}");
}

#[test]
fn two_cards_are_never_mixed_up() {
    let card = |serial: &str| ["--key", "ed25519", "--serial", serial].map(str::to_owned);
    let stage = start(Builder::new(host()).card(card("1111")).second_card(card("2222")));
    let reports = Probe::sign("direct", PIN).run(&stage);
    assert!(reports.outcome().starts_with("Several {"), "{reports:?}");
    let reports = Probe::sign("direct", PIN).with("PROBE_CARD", "2222").run(&stage);
    assert_eq!((reports.outcome(), reports.value("ident")), ("ok", "2222"));
    let reports = Probe::sign("direct", PIN).with("PROBE_CARD", "3333").run(&stage);
    assert!(reports.outcome().starts_with("NotFound {"), "{reports:?}");
}

#[test]
fn no_pcscd_is_not_no_reader() {
    let stage = stage("--key ed25519");
    let probe = Probe::sign("direct", PIN).with("PCSCLITE_CSOCK_NAME", "/nonexistent/pcscd.comm");
    assert_eq!(probe.run(&stage).outcome(), "NoPcscd");
}

#[test]
fn a_touch_that_comes_late_and_one_that_does_not() {
    let stage = stage("--key ed25519 --touch ask --touch-policy on");
    let mut probe = Probe::sign("direct", PIN).spawn(&stage);
    probe.until("touch");
    tell(&stage, "await-touch 60s");
    tell(&stage, "press");
    assert_eq!(probe.finish().outcome(), "ok");

    tell(&stage, "finger never");
    let reports = Probe::sign("direct", PIN).run(&stage);
    assert!(reports.outcome().starts_with("NotTouched {"), "{reports:?}");
    assert_eq!(Gpg::new(&stage).card_status(), 1);
}

#[test]
fn pulled_while_the_touch_is_awaited() {
    let stage = stage("--key ed25519 --touch ask --touch-policy on");
    let mut probe = Probe::sign("direct", PIN).spawn(&stage);
    probe.until("touch");
    tell(&stage, "await-touch 60s");
    tell(&stage, "pull");
    assert_eq!(probe.finish().outcome(), "Removed");
    tell(&stage, "insert");
    tell(&stage, "finger now");
    assert_eq!(Gpg::new(&stage).card_status(), 0);
}

#[test]
fn pulled_and_put_back_while_the_person_reads() {
    let stage = stage("--key ed25519");
    let mut probe = Probe::sign("direct", PIN).with("PROBE_WAIT", "1").spawn(&stage);
    probe.until("looked");
    tell(&stage, "pull");
    tell(&stage, "insert");
    let before = apdus(&stage);
    probe.go_on();
    let reports = probe.finish();
    assert!(reports.outcome().starts_with("Changed {"), "{reports:?}");
    assert_eq!(apdus(&stage), before, "no PIN went to it");
}

#[test]
fn a_wrong_pin_then_the_right_one() {
    let stage = stage("--key ed25519");
    assert_eq!(Probe::sign("direct", "654321,123456").run(&stage).outcome(), "ok");
    let reports = Probe::sign("direct", "654321,654321,654321,123456").run(&stage);
    assert_eq!(reports.outcome(), "PinBlocked");
    assert_eq!(Gpg::new(&stage).card_status(), 1);
}

#[test]
fn cancelled_while_the_touch_is_awaited() {
    let stage = stage("--key ed25519 --touch ask --touch-policy on");
    let reports = Probe::sign("direct", PIN).with("PROBE_CANCEL_AFTER", "0.5").run(&stage);
    assert!(reports.outcome().starts_with("Cancelled {"), "{reports:?}");
    // The process has ended while its card waited; the next program gets the card when that is over.
    if tell(&stage, "status").contains("awaits-touch=yes") {
        tell(&stage, "press");
    }
    tell(&stage, "finger now");
    assert_eq!(Probe::sign("direct", PIN).run(&stage).outcome(), "ok");
    Gpg::new(&stage).card_status();
}

#[test]
fn somebody_elses_touch_holds_us_up_no_longer_than_we_want() {
    let stage = stage("--key ed25519 --touch ask --touch-policy on");
    let mut first = Probe::sign("direct", PIN).spawn(&stage);
    first.until("touch");
    tell(&stage, "await-touch 60s");
    let reports = Probe::sign("direct", PIN).with("PROBE_SECONDS", "1").run(&stage);
    assert!(reports.outcome().starts_with("OutOfTime {"), "{reports:?}");
    assert!(reports.outcome().contains("doing: Connecting"), "{reports:?}");
    tell(&stage, "press");
    assert_eq!(first.finish().outcome(), "ok");
}

#[test]
fn pcscd_killed_while_the_touch_is_awaited() {
    let stage = stage("--key ed25519 --touch ask --touch-policy on");
    let mut probe = Probe::sign("direct", PIN).spawn(&stage);
    probe.until("touch");
    tell(&stage, "await-touch 60s");
    let killed = Command::new("kill").args(["-s", "KILL", &stage.pcscd_pid().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(probe.finish().outcome(), "PcscdLost");
}

#[test]
fn held_by_another_program_which_is_named() {
    let stage = stage("--key ed25519");
    let mut holder = Probe::of("hold", "direct").spawn(&stage);
    holder.until("holding");
    for path in ["direct", "auto"] {
        // No agent of this machine has anything to do with it.
        let reports = Probe::sign(path, PIN).with("GNUPGHOME", "/nonexistent").run(&stage);
        let expected = format!("Programs([Process {{ pid: {}, name:", holder.child.id());
        assert!(reports.outcome().starts_with("InUse {"), "{reports:?}");
        assert!(reports.outcome().contains(&expected), "{expected} in {reports:?}");
    }
    holder.go_on();
    holder.finish();
    assert_eq!(Probe::sign("direct", PIN).run(&stage).outcome(), "ok");
}
