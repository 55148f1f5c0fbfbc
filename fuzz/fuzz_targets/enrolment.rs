//! Enrolments: read, written the same again, and checked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchgate::enrolment::Enrolment;
use touchgate::enrolment::possession::Possession;
use touchgate_fuzz::parsers::noon;

fuzz_target!(|input: &[u8]| {
    let _ = Possession::parse(input);
    let Ok(enrolment) = Enrolment::parse(input) else { return };
    assert_eq!(enrolment.to_json().as_bytes(), input);
    let _ = enrolment.verify(noon());
});
