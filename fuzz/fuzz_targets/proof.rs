//! Proofs of an entry, as evidence carries them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchgate::audit::{LogProof, Witnesses};
use touchgate_fuzz::parsers::log_key;

fuzz_target!(|input: &[u8]| {
    let Ok(proof) = serde_json::from_slice::<LogProof>(input) else { return };
    if let Ok(receipt) = proof.check(log_key(), &Witnesses::default()) {
        assert_eq!(receipt.to_log_proof(), proof);
    }
});
