//! Every bit counts: of the statement and of the signature, binary and armored.

use touchgate::response::Response;
use touchgate::unix_time::UnixTime;
use touchgate::verify;

use crate::case::{Case, cases};
use crate::{ledger_of, response_of, team};

fn case(name: &str) -> Case {
    cases("signature").into_iter().find(|case| case.name == name).unwrap()
}

/// Judges `answer` with each of its bits flipped; gives back those that were still accepted.
fn survivors(name: &str, take: fn(&mut Response) -> &mut Vec<u8>) -> Vec<usize> {
    let case = case(name);
    let good = response_of(&case).unwrap();
    let trust = team();
    let now: UnixTime = case.header("now").parse().unwrap();
    let accepted = |answer: &Response| {
        // Alone, where nothing but the signature protects the statement; and where it was asked.
        let alone = verify::alone(answer, trust, now).is_ok();
        let mut ledger = ledger_of(&case, &good);
        alone || verify::response(answer, trust, &mut ledger, now).is_ok()
    };
    assert!(accepted(&good), "{name} itself");
    let bits = take(&mut good.clone()).len() * 8;
    let flipped = |at: usize| {
        let mut answer = good.clone();
        take(&mut answer)[at / 8] ^= 1 << (at % 8);
        answer
    };
    (0..bits).filter(|at| accepted(&flipped(*at))).collect()
}

/// The bits of the cases `armored` and, from the same packet, of its binary form.
fn no_bit_is_free(armored: &str) {
    assert_eq!(survivors(armored, |answer| &mut answer.statement), [0; 0], "statement of {armored}");
    assert_eq!(survivors(armored, |answer| &mut answer.signature), [0; 0], "armor of {armored}");
}

#[test]
fn no_bit_is_free_ed25519() {
    no_bit_is_free("good-ed25519");
}

#[test]
fn no_bit_is_free_p256() {
    no_bit_is_free("good-p256");
}

#[test]
fn no_bit_is_free_rsa2048() {
    no_bit_is_free("good-rsa2048");
}

/// The forms that carry something more: a CRC, an unhashed issuer, an older header.
#[test]
fn no_bit_is_free_in_any_form() {
    for name in [
        "good-armor-no-crc",
        "good-binary",
        "good-binary-p256",
        "good-binary-rsa2048",
        "good-old-header",
        "good-old-header-two-octets",
        "good-salt",
        "good-unhashed-fingerprint",
        "good-unhashed-key-id",
    ] {
        assert_eq!(survivors(name, |answer| &mut answer.signature), [0; 0], "signature of {name}");
    }
}
