//! Evidence: read, written again, and judged as if the version that it names were the one that is believed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchgate::evidence::{Against, Evidence, judge};
use touchgate_fuzz::parsers::noon;

fuzz_target!(|input: &[u8]| {
    let Ok(evidence) = Evidence::parse(input) else { return };
    let json = evidence.to_json();
    let again = Evidence::parse(json.as_bytes()).expect("what is written reads");
    assert_eq!(again.to_json(), json);
    assert_eq!(again.digest(), evidence.digest());
    let _ = judge(&evidence, &Against::pin(evidence.trust.version), noon());
});
