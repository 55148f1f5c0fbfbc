//! The state file. Whatever text it is, it is refused or it loads; and what loaded is stored, and loads again the same.
#![no_main]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use sha2::{Digest, Sha256};
use touchgate_fuzz::watched::SELECT;
use virtual_openpgp_card::{Personality, Slot, StateError, SteppedClock, TouchPolicy, VirtualCard};

/// In memory where the system has such a place: every change of a card is forced to the disk.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    folder.join(format!("touchgate-fuzz-{}.state", std::process::id()))
});

fuzz_target!(|input: &[u8]| -> Corpus {
    // As it is: as good as never does the digest in the last line match.
    let _ = open(input);
    let Ok(text) = std::str::from_utf8(input) else { return Corpus::Keep };
    let loaded = open(sealed(text).as_bytes());
    if let Ok(card) = loaded {
        use_it(&card);
        let stored = store(&card);
        drop(card);
        let again = open(stored.as_bytes()).expect("what a card stored loads");
        assert_eq!(store(&again), stored, "what a card stored loads as the same");
    }
    let _ = std::fs::remove_file(&*FILE);
    Corpus::Keep
});

fn open(text: &[u8]) -> Result<VirtualCard, StateError> {
    std::fs::write(&*FILE, text).expect("a place to write to");
    // The card's own attestation is the file's.
    let builder = VirtualCard::builder().clock(SteppedClock::new()).no_attestation();
    builder.personality(named_in(text)).open(&*FILE)
}

/// The card that the second line names: any other is refused before the rest is read.
fn named_in(text: &[u8]) -> Personality {
    let line = text.split(|byte| *byte == b'\n').nth(1).unwrap_or_default();
    let words: Vec<&str> = std::str::from_utf8(line).unwrap_or_default().split_whitespace().collect();
    match words.as_slice() {
        ["card", "yubikey", firmware, ..] => {
            firmware.parse().map_or(Personality::Plain, Personality::Yubikey)
        }
        _ => Personality::Plain,
    }
}

/// The text with a last line that is true of the others.
fn sealed(text: &str) -> String {
    let end = text.rfind("\nend ").map_or(text.len(), |end| end + 1);
    let mut text = text[..end].to_owned();
    let digest = Sha256::digest(text.as_bytes());
    text.push_str("end ");
    digest.iter().for_each(|byte| {
        let _ = write!(text, "{byte:02X}");
    });
    text.push('\n');
    text
}

/// What a client does first, and one use of each key.
fn use_it(card: &VirtualCard) {
    for command in [
        SELECT,
        b"\x00\xCA\x00\x6E\x00\x00\x00",
        b"\x00\x84\x00\x00\x20",
        b"\x00\xCA\x7F\x21\x00\x00\x00",
        b"\x00\x20\x00\x81\x06123456",
        b"\x00\x2A\x9E\x9A\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x00",
        b"\x80\xFB\x01\x00",
        b"\x00\x20\x00\x82\x06123456",
        b"\x00\x88\x00\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x00",
        b"\x00\x2A\x80\x86\x27\xA6\x25\x7F\x49\x22\x86\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\x00",
    ] {
        let answer = card.transmit(command).expect("the card is there");
        assert!(answer.len() >= 2, "no status answers {command:02X?}");
    }
}

/// What is in the file once the card has written it.
fn store(card: &VirtualCard) -> String {
    // It writes when something changes: one of these does.
    card.set_touch_policy(Slot::Signature, TouchPolicy::On);
    card.set_touch_policy(Slot::Signature, TouchPolicy::Off);
    std::fs::read_to_string(&*FILE).expect("the card's file")
}
