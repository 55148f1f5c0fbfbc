//! The pin: one line, in one spelling.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchgate::trust::versions::{read_pin, write_pin};

fuzz_target!(|input: &[u8]| {
    if let Ok(version) = read_pin(input) {
        assert_eq!(write_pin(&version).as_bytes(), input);
    }
});
