//! The PIN is in no log record, however loud the log, whatever the card can do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![cfg(feature = "virtual-card")]

mod card_support;

use std::sync::Mutex;

use card_support::*;
use log::{LevelFilter, Log, Metadata, Record};
use virtual_openpgp_card::{Personality, VirtualCard};

struct Capture(Mutex<Vec<(String, String)>>);

static CAPTURE: Capture = Capture(Mutex::new(Vec::new()));

impl Log for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push((record.target().to_owned(), record.args().to_string()));
    }
    fn flush(&self) {}
}

/// Digits that nothing else in a session happens to hold.
const RIGHT: &str = "27182818";
const WRONG: &str = "16180339";

/// The forms in which bytes get into logs: text, hexadecimal and decimal, with and without separators.
fn forms(pin: &str) -> Vec<String> {
    let joined = |format: &dyn Fn(u8) -> String| pin.bytes().map(format).collect::<String>();
    vec![pin.to_owned(), joined(&|b| format!("{b:02x}")), joined(&|b| b.to_string())]
}

#[test]
fn no_record_holds_a_pin() {
    log::set_logger(&CAPTURE).unwrap();
    log::set_max_level(LevelFilter::Trace);
    for personality in [Personality::default(), Personality::Plain] {
        for (extended, chaining) in [(true, true), (true, false), (false, true), (false, false)] {
            let builder = VirtualCard::builder().personality(personality);
            let card = card(builder.extended_length(extended).command_chaining(chaining));
            send(&card, SELECT);
            send(&card, &command([0x00, 0x24, 0x00, 0x81], format!("{PIN}{RIGHT}").as_bytes()));
            card.reset();
            let key = key(&card);
            approve(&card, &key, &mut Person::with_pins(&[WRONG, RIGHT])).unwrap();
            assert_eq!(verifies(&card), 2);
        }
    }
    let records = CAPTURE.0.lock().unwrap();
    // The loudest level was on, for us and for the library, or this test would show nothing.
    assert!(records.iter().any(|(_, text)| text == "card <- 00200081 (data hidden)"));
    assert!(records.iter().any(|(target, text)| target.starts_with("openpgp_card") && text.contains("APDU")));
    for (target, text) in records.iter() {
        let joined: String = text.to_lowercase().chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        for form in [forms(RIGHT), forms(WRONG)].concat() {
            assert!(!joined.contains(&form), "{target}: {text}");
        }
    }
}
