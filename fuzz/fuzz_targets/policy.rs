//! policy.toml: loaded as a whole, and asked about a request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchgate::trust::{Files, Trust};
use touchgate_fuzz::parsers::{PERSON, request};

fuzz_target!(|input: &[u8]| {
    let mut files = Files::from([("policy.toml".to_owned(), input.to_vec())]);
    files.insert("people/zoe.toml".to_owned(), PERSON.to_vec());
    let Ok(trust) = Trust::from_files(&files) else { return };
    let admitted = trust.admit(request()).is_ok();
    let again = Trust::from_files(&files).expect("it loaded a moment ago");
    assert_eq!((again.version, again.admit(request()).is_ok()), (trust.version, admitted));
});
