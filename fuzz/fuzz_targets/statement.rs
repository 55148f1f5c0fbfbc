//! Statements and challenges: what reads is written the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchgate::challenge::Challenge;
use touchgate::statement::Statement;

fuzz_target!(|input: &[u8]| {
    if let Ok(statement) = Statement::parse(input) {
        assert_eq!(statement.to_text().as_bytes(), input);
    }
    if let Ok(challenge) = Challenge::parse(input) {
        assert_eq!(challenge.to_text().as_bytes(), input);
    }
});
