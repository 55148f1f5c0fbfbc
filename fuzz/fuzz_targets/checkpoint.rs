//! Signed notes and the checkpoints in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchgate::audit::note::Note;
use touchgate::audit::{Checkpoint, LogKey, SignedCheckpoint, WitnessKey, Witnesses};
use touchgate_fuzz::parsers::log_key;

fuzz_target!(|input: &[u8]| {
    if let Ok(note) = Note::parse(input) {
        assert_eq!(note.to_string().as_bytes(), input);
        if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
            assert_eq!(checkpoint.to_string(), note.text());
        }
    }
    let _ = SignedCheckpoint::open(input, log_key(), &Witnesses::default());
    if let Ok(line) = std::str::from_utf8(input) {
        if let Ok(key) = line.parse::<LogKey>() {
            assert_eq!(key.to_string(), line);
        }
        if let Ok(key) = line.parse::<WitnessKey>() {
            assert_eq!(key.to_string(), line);
        }
    }
});
