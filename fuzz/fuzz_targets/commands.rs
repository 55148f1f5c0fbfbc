//! Well-formed commands that get past the PINs: the input chooses what is done, with what, and in which form it is sent.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use touchgate_fuzz::client::Client;

/// Commands in one input.
const MOST: usize = 48;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let _ = talk(&mut input);
});

fn talk(input: &mut Unstructured<'_>) -> Result<()> {
    let mut client = Client::new(input.arbitrary()?);
    for _ in 0..MOST {
        if input.is_empty() {
            break;
        }
        // What ends in the middle is not sent.
        if client.step(input).is_err() {
            break;
        }
    }
    client.watched.finish();
    Ok(())
}
