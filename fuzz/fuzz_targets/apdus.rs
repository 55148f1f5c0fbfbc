//! Raw commands. The first byte chooses the card; then each command follows its length: one byte, or a zero and two.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchgate_fuzz::Watched;

/// Commands in one input.
const MOST: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((choice, mut stream)) = input.split_first() else { return };
    let mut card = Watched::new(*choice);
    for _ in 0..MOST {
        let (length, rest) = match stream {
            [] => break,
            [0, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            [length, rest @ ..] => (usize::from(*length), rest),
        };
        let (command, rest) = rest.split_at(length.min(rest.len()));
        card.send(command);
        stream = rest;
    }
    card.finish();
});
