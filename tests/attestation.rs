//! Attestations: every wrong chain of the test authority, every flipped byte, and genuine ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![cfg(feature = "virtual-card")]

#[allow(dead_code)]
#[path = "support/case.rs"]
mod case;
#[path = "attestation/flips.rs"]
mod flips;
#[path = "attestation/genuine.rs"]
mod genuine;
#[path = "attestation/keys.rs"]
mod keys;
#[path = "attestation/rows.rs"]
mod rows;
#[path = "attestation/table.rs"]
mod table;

use touchgate::card::attestation::{Attestation, AttestationError, ConfiguredRoot, verify};
use touchgate::unix_time::UnixTime;
use virtual_openpgp_card::attestation::{Authority, Certificate, Chain, ChainShape};
use virtual_openpgp_card::{Algorithm, PublicKey, Slot, VirtualCard};

pub(crate) const SHAPES: [ChainShape; 2] = [ChainShape::TwoBelowRoot, ChainShape::FourBelowRoot];

/// 20 November 2026: every good certificate is valid, the expired ones are not.
pub(crate) fn now() -> UnixTime {
    "2026-11-20T00:00:00Z".parse().unwrap()
}

pub(crate) fn key(algorithm: Algorithm) -> PublicKey {
    VirtualCard::builder().build().generate(Slot::Signature, algorithm, 7).unwrap()
}

/// The test authority's root, configured by name.
pub(crate) fn test_root(shape: ChainShape) -> ConfiguredRoot {
    ConfiguredRoot::new("test", Authority::new(shape).root().der()).unwrap()
}

/// What a verifier gets beside the attestation.
pub(crate) fn others(chain: &Chain) -> Vec<Vec<u8>> {
    [&chain.device]
        .into_iter()
        .chain(&chain.intermediates)
        .map(Certificate::der)
        .map(<[u8]>::to_vec)
        .collect()
}

pub(crate) fn judge(chain: &Chain, shape: ChainShape) -> Result<Attestation, AttestationError> {
    verify(chain.leaf.der(), &others(chain), &[test_root(shape)], now())
}
