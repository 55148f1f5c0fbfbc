//! Approval files: parted, judged under the trust of the fixtures, and written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchgate::response::Response;
use touchgate::verify;
use touchgate_fuzz::parsers::{noon, team};

fuzz_target!(|input: &[u8]| {
    let Ok(response) = Response::parse(input) else { return };
    let judged = verify::alone(&response, team(), noon());
    // A file that was written says what the one that was read said.
    let again = Response::parse(&response.to_file()).expect("what is written reads");
    assert_eq!(again.statement, response.statement);
    assert_eq!(verify::alone(&again, team(), noon()).is_ok(), judged.is_ok());
});
