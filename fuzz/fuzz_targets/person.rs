//! people/NAME.toml, beside a policy and the certificate of a token.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchgate::trust::{Files, Trust};
use touchgate_fuzz::parsers::{CERTIFICATE, POLICY};

fuzz_target!(|input: &[u8]| {
    let files = Files::from([
        ("policy.toml".to_owned(), POLICY.to_vec()),
        ("people/zoe.toml".to_owned(), input.to_vec()),
        ("tokens/1002.asc".to_owned(), CERTIFICATE.to_vec()),
    ]);
    let _ = Trust::from_files(&files);
});
