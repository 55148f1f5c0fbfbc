//! Lines of the log: what reads is written the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchgate::audit::Entry;

fuzz_target!(|input: &[u8]| {
    let Ok(entry) = Entry::parse(input) else { return };
    assert_eq!(entry.to_line().expect("it was a line").as_bytes(), input);
    let _ = (entry.at(), entry.request());
});
