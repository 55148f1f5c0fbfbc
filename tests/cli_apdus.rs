//! What goes over the wire, as pcscd itself logs it: which commands a cold `approve` costs, and that a
//! token may be pulled at any of them.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use support::{PIN, World, run, run_with};

/// What a cold approval may cost, the touch policy, the KDF object and the PIN tries read.
const MOST: usize = 6;

/// One exchange as pcscd logged it.
struct Exchange {
    command: Vec<u8>,
    answer: Vec<u8>,
}

fn exchanges(log: &str) -> Vec<Exchange> {
    let bytes = |text: &str| -> Vec<u8> {
        text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    };
    let mut found: Vec<Exchange> = Vec::new();
    for line in log.lines() {
        if let Some((_, command)) = line.split_once("APDU: ") {
            found.push(Exchange { command: bytes(command), answer: Vec::new() });
        } else if let Some((_, answer)) = line.split_once("SW: ") {
            found.last_mut().unwrap().answer = bytes(answer);
        }
    }
    found
}

impl Exchange {
    /// Both in hexadecimal, with the PIN and what is different each time left out.
    fn line(&self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let long = |bytes: &[u8], what: &str| format!("({} bytes of {what})", bytes.len());
        let (body, status) = self.answer.split_at(self.answer.len() - 2);
        let command = match self.command.as_slice() {
            [0x00, 0x20, 0x00, p2, length, pin @ ..] => {
                assert_eq!(usize::from(*length), pin.len());
                format!("002000{p2:02x} {}", long(pin, "PIN"))
            }
            [0x00, 0x2a, 0x9e, 0x9a, rest @ ..] => format!("002a9e9a {}", long(rest, "lengths and digest")),
            other => hex(other),
        };
        let answer = match (self.command[1], body.len()) {
            (_, 0) => String::new(),
            (0x2a, _) => long(body, "signature"),
            (_, 17..) => long(body, "data"),
            _ => hex(body),
        };
        format!("> {command}\n< {answer}{}{}\n", if answer.is_empty() { "" } else { " " }, hex(status))
    }
}

/// The commands of a cold `approve`, by pcscd's own log.
fn cold(options: &str) -> Vec<Exchange> {
    cold_with(options, &[])
}

/// The same with options of its own.
fn cold_with(options: &str, more: &[&str]) -> Vec<Exchange> {
    let mut log = Default::default();
    let world = World::with(options, |home, builder| {
        log = home.join("pcscd.log");
        builder.pcscd_log(&log)
    })
    .initialised();
    let request = world.request();
    let before = exchanges(&fs::read_to_string(&log).unwrap()).len();
    let by_card: usize = world.tell("trace count").parse().unwrap();
    world.approve(&[&[request.as_str()], more].concat()).succeeded();
    let by_card = world.tell("trace count").parse::<usize>().unwrap() - by_card;
    let text = fs::read_to_string(&log).unwrap();
    let mut all = exchanges(&text);
    let ours = all.split_off(before);
    assert_eq!(ours.len(), by_card, "pcscd and the card count alike");
    // The log shows every byte, or the count would show nothing.
    assert!(ours.iter().any(|exchange| exchange.command.ends_with(PIN.as_bytes())));
    ours
}

/// A file under `fixtures/transcripts`; `TRANSCRIPT_WRITE=1` writes it anew.
fn assert_transcript(name: &str, about: &str, exchanges: &[Exchange]) {
    let mut text = format!("# {about}\n");
    for exchange in exchanges {
        text.write_str(&exchange.line()).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/transcripts").join(name);
    if std::env::var_os("TRANSCRIPT_WRITE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap(), "{}", path.display());
}

#[test]
fn a_cold_approval_takes_six_commands() {
    let exchanges = cold("--touch=now");
    assert_transcript(
        "approve-yubikey.apdus",
        "A cold `touchgate approve` on a YubiKey, as pcscd logs it.",
        &exchanges,
    );
    assert!(exchanges.len() <= MOST);
}

/// What docs/attestation.md says that `--with-counter` costs: five before the signature, seven after it.
#[test]
fn a_counter_takes_twelve_more() {
    let exchanges = cold_with("--touch=now", &["--with-counter"]);
    assert_transcript(
        "approve-with-counter.apdus",
        "A cold `touchgate approve --with-counter` on a YubiKey, as pcscd logs it.",
        &exchanges,
    );
    assert_eq!(exchanges.len(), MOST + 12);
}

#[test]
fn a_plain_card_takes_no_more() {
    let exchanges = cold("--touch=now --personality=plain");
    assert_transcript(
        "approve-plain.apdus",
        "A cold `touchgate approve` on a plain card, as pcscd logs it.",
        &exchanges,
    );
    assert!(exchanges.len() <= MOST);
}

#[test]
fn other_keys_take_no_more() {
    for key in ["p256", "p384", "p521", "rsa2048"] {
        assert!(cold(&format!("--touch=now --key={key}")).len() <= MOST, "{key}");
    }
}

#[test]
fn run_costs_what_approve_costs() {
    let world = World::new("--touch=now");
    let count = || world.tell("trace count").parse::<usize>().unwrap();
    let before = count();
    let mut run =
        world.touchgate(["run", "deploy", "payments/prod", "--no-input", "--pin-fd", "0", "--", "true"]);
    run_with(&mut run, PIN).succeeded();
    assert!(count() - before <= MOST);
}

/// A token pulled at each command, before it is carried out and after: a clean error each time, nothing
/// written, nothing started, and the next attempt with the token back in its place works.
fn pulled_at_each(arguments: &[&str], made: &str, added: i32) {
    let world = World::new("--touch=now");
    let request = world.request();
    let arguments: Vec<&str> =
        arguments.iter().map(|a| if *a == "REQUEST" { &request } else { *a }).collect();
    let made = made.replace("CODE", request.trim_end_matches(".request"));
    let mut positions = 0;
    for order in ["pull-before", "pull-after"] {
        for number in 1..=MOST {
            world.tell(&format!("{order} {number}"));
            let ran = run_with(&mut world.touchgate(&arguments), PIN).exits(added + 5);
            let what = format!("{order} {number}: {ran:#?}");
            assert!(!ran.err.contains("panicked"), "{what}");
            // While it looks for a card, one that goes away is one that is not there.
            let code = ran.json()["code"].as_str().unwrap().to_owned();
            let looking = number <= 2;
            assert!(code == "removed" || looking && code == "no-card", "{what}");
            assert!(!world.exists(&made), "{what}");
            assert!(world.tell("status").contains("inserted=no"), "{what}");
            world.tell("insert");
            let info = run(&mut world.touchgate(["card", "info", "--json"])).succeeded().json();
            assert_eq!(info["pin_tries_left"], 3, "{what}");
            positions += 1;
        }
    }
    assert_eq!(positions, 2 * MOST);
    run_with(&mut world.touchgate(&arguments), PIN).succeeded();
    assert!(world.exists(&made));
    world.assert_gpg_works();
}

#[test]
fn a_token_may_be_pulled_at_any_command_of_an_approval() {
    pulled_at_each(&["approve", "--json", "--no-input", "--pin-fd", "0", "REQUEST"], "CODE.approval", 0);
}

#[test]
fn a_token_may_be_pulled_at_any_command_of_a_run() {
    let arguments =
        ["run", "--json", "deploy", "payments/prod", "--no-input", "--pin-fd", "0", "--", "touch", "ran"];
    pulled_at_each(&arguments, "ran", 120);
}
