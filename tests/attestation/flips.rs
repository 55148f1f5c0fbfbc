//! No byte of a chain is free, and none makes it better.

use std::sync::LazyLock;

use proptest::prelude::*;
use touchgate::card::attestation::{Statement, verify};
use virtual_openpgp_card::Algorithm;
use virtual_openpgp_card::Slot;
use virtual_openpgp_card::attestation::{Authority, ChainShape, Statement as Said};

use crate::{SHAPES, key, now, others, test_root};

/// Attestation first, then the others.
fn chain(shape: ChainShape) -> Vec<Vec<u8>> {
    // Keys and signatures take longer than any judgement here.
    static MADE: LazyLock<[Vec<Vec<u8>>; 2]> = LazyLock::new(|| SHAPES.map(make));
    let [old, new] = &*MADE;
    if shape == ChainShape::FourBelowRoot { new.clone() } else { old.clone() }
}

fn make(shape: ChainShape) -> Vec<Vec<u8>> {
    let chain = Authority::new(shape).attest(&key(Algorithm::Ed25519), &Said::about(Slot::Signature));
    [vec![chain.leaf.der().to_vec()], others(&chain)].concat()
}

fn judge(chain: &[Vec<u8>], shape: ChainShape) -> Result<Statement, &'static str> {
    let (leaf, others) = chain.split_first().unwrap();
    let attestation = verify(leaf, others, &[test_root(shape)], now()).map_err(|error| error.code())?;
    Ok(attestation.statement().clone())
}

#[test]
fn every_flipped_bit_is_refused() {
    for shape in SHAPES {
        let good = chain(shape);
        assert!(judge(&good, shape).is_ok());
        let mut wrong = 0;
        // The shorter chain differs from the longer in its attestation alone.
        let certificates = if shape == ChainShape::FourBelowRoot { good.len() } else { 1 };
        for which in 0..certificates {
            for at in 0..good[which].len() {
                // Lowest and highest bit: numbers, lengths, forms.
                let masks: &[u8] = if which == 0 { &[0x01, 0x80] } else { &[0x01] };
                for mask in masks {
                    let mut bad = good.clone();
                    bad[which][at] ^= mask;
                    assert!(
                        judge(&bad, shape).is_err(),
                        "{shape:?}, certificate {which}, byte {at}, {mask:02x}"
                    );
                    // What it says may still be readable; it is not believed.
                    let _ = Statement::read(&bad[which]);
                    wrong += 1;
                }
            }
        }
        assert!(wrong > 1000, "{wrong}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Cut, repeated, overwritten: an error or the very same attestation, never a panic.
    #[test]
    fn damage_is_no_gain(
        new in any::<bool>(), which in 0usize..4, from in 0usize..900, to in 0usize..900,
        with in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let shape = if new { ChainShape::FourBelowRoot } else { ChainShape::TwoBelowRoot };
        let good = chain(shape);
        let mut bad = good.clone();
        let which = which % bad.len();
        let length = bad[which].len();
        let (from, to) = (from.min(length), to.min(length));
        bad[which].splice(from.min(to)..from.max(to), with);
        if let Ok(statement) = judge(&bad, shape) {
            prop_assert_eq!(Ok(statement), judge(&good, shape));
        }
        let _ = Statement::read(&bad[which]);
    }

    #[test]
    fn anything_at_all_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Statement::read(&bytes).is_err());
        prop_assert!(verify(&bytes, std::slice::from_ref(&bytes), &[], now()).is_err());
    }
}
