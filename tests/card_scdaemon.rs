//! A card that gpg's scdaemon holds: signed with through it, and gpg none the worse.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![cfg(all(feature = "virtual-card", feature = "pcsc", target_os = "linux"))]

mod card_support;

use card_support::PIN;
use card_support::stack::{Gpg, Probe, Reports, probe as body, stage, tell};
use virtual_openpgp_card::stage::Stage;

#[test]
#[ignore = "the client of the other tests, started by them"]
fn probe() {
    body();
}

struct Held<'a> {
    gpg: Gpg<'a>,
    stage: &'a Stage,
}

impl<'a> Held<'a> {
    /// gpg has looked at the card, so its scdaemon keeps it.
    fn new(stage: &'a Stage) -> Self {
        let gpg = Gpg::new(stage);
        gpg.card_status();
        Self { gpg, stage }
    }

    fn sign(&self, path: &str, pins: &str) -> Probe {
        Probe::sign(path, pins).with("GNUPGHOME", self.gpg.home())
    }

    fn run(&self, path: &str, pins: &str) -> Reports {
        self.sign(path, pins).run(self.stage)
    }

    fn scdaemon(&self) -> String {
        self.gpg.ok("gpg-connect-agent", &["SCD GETINFO pid", "/bye"])
    }

    /// The verification status of PW1 for signing, asked through scdaemon.
    fn pin_status(&self) -> Vec<u8> {
        let output = self
            .gpg
            .command("gpg-connect-agent")
            .args(["SCD SERIALNO", "SCD APDU 00200081", "/bye"])
            .output()
            .unwrap();
        let at = output.stdout.windows(2).position(|bytes| bytes == b"D ").unwrap();
        output.stdout[at + 2..at + 4].to_vec()
    }
}

#[test]
fn through_scdaemon_and_gpg_works_at_once() {
    for key in ["ed25519", "p256", "rsa2048"] {
        let stage = stage(&format!("--key {key}"));
        let held = Held::new(&stage);
        let scdaemon = held.scdaemon();
        for round in 1..=3 {
            let reports = held.run("auto", PIN);
            assert_eq!((reports.outcome(), reports.value("route")), ("ok", "Scdaemon"), "{key}");
            // The next gpg works at once, with the same scdaemon, and the PIN is closed.
            assert_eq!(held.gpg.card_status(), round);
            assert_ne!(held.pin_status(), [0x90, 0x00]);
            assert_eq!(held.scdaemon(), scdaemon);
        }
    }
}

#[test]
fn direct_names_scdaemon() {
    let stage = stage("--key ed25519");
    let held = Held::new(&stage);
    let pid: u32 = held.scdaemon().lines().find_map(|line| line.strip_prefix("D ")?.parse().ok()).unwrap();
    let reports = held.run("direct", PIN);
    let expected = format!("by: Scdaemon([Process {{ pid: {pid}, name: \"scdaemon\"");
    assert!(reports.outcome().contains(&expected), "{expected} in {reports:?}");
}

#[test]
fn the_pin_means_the_same() {
    let stage = stage("--key ed25519");
    let held = Held::new(&stage);
    assert_eq!(held.run("auto", "654321,123456").outcome(), "ok");
    assert!(held.run("auto", "654321").outcome().starts_with("WrongPin { tries_left: Some(2) }"));
    assert_eq!(held.run("auto", "654321,654321,654321").outcome(), "PinBlocked");
    assert_eq!(held.gpg.card_status(), 1);
}

#[test]
fn the_touch_means_the_same() {
    let stage = stage("--key ed25519 --touch ask --touch-policy on");
    let held = Held::new(&stage);
    let mut probe = held.sign("auto", PIN).spawn(&stage);
    probe.until("touch");
    tell(&stage, "await-touch 60s");
    tell(&stage, "press");
    let reports = probe.finish();
    assert_eq!((reports.outcome(), reports.value("route")), ("ok", "Scdaemon"));

    tell(&stage, "finger never");
    assert!(held.run("scdaemon", PIN).outcome().starts_with("NotTouched {"));
    assert_eq!(held.gpg.card_status(), 1);
}

#[test]
fn pulled_while_the_touch_is_awaited() {
    let stage = stage("--key ed25519 --touch ask --touch-policy on");
    let held = Held::new(&stage);
    let mut probe = held.sign("auto", PIN).spawn(&stage);
    probe.until("touch");
    tell(&stage, "await-touch 60s");
    tell(&stage, "pull");
    assert_eq!(probe.finish().outcome(), "Removed");
    tell(&stage, "insert");
    tell(&stage, "finger now");
    assert_eq!(held.gpg.card_status(), 0);
    assert_eq!(held.run("auto", PIN).outcome(), "ok");
}

#[test]
fn without_a_running_scdaemon_none_is_started() {
    let stage = stage("--key ed25519");
    let gpg = Gpg::new(&stage);
    let reports = Probe::sign("scdaemon", PIN).with("GNUPGHOME", gpg.home()).run(&stage);
    assert!(reports.outcome().starts_with("NoScdaemon {"), "{reports:?}");
    // And the readers are used where they are free.
    let reports = Probe::sign("auto", PIN).with("GNUPGHOME", gpg.home()).run(&stage);
    assert_eq!((reports.outcome(), reports.value("route")), ("ok", "Direct"));
}
