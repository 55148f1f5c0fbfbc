//! Grants: the token at a gate, and the claims in it alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchgate::grant::{Claims, check};
use touchgate_fuzz::parsers::{gate, grant_keys, noon, presenter};

fuzz_target!(|input: &[u8]| {
    if let Ok(claims) = Claims::parse(input) {
        let again = Claims::parse(claims.to_json().as_bytes()).expect("what is written reads");
        assert_eq!(again, claims);
    }
    if let Ok(token) = std::str::from_utf8(input) {
        let _ = check(token, grant_keys(), gate(), noon(), Some(presenter()));
    }
});
