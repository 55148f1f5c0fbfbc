//! The attested key is the one in the OpenPGP certificate, or it is not.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use openpgp::crypto::mpi::{MPI, PublicKey as Mpis};
use openpgp::packet::Key;
use openpgp::packet::key::{Key4, PublicParts, UnspecifiedRole};
use openpgp::types::{Curve, HashAlgorithm, PublicKeyAlgorithm, SymmetricAlgorithm};
use sequoia_openpgp as openpgp;
use touchgate::card::{InProcess, Patience, Token, attestation};
use virtual_openpgp_card::attestation::{Authority, ChainShape, Statement};
use virtual_openpgp_card::{Algorithm, PublicKey, Slot, VirtualCard};

fn attested(key: &PublicKey) -> attestation::PublicKey {
    let chain = Authority::new(ChainShape::FourBelowRoot).attest(key, &Statement::about(Slot::Signature));
    crate::judge(&chain, ChainShape::FourBelowRoot).unwrap().statement().key.clone()
}

fn bare(algorithm: PublicKeyAlgorithm, mpis: Mpis) -> Key<PublicParts, UnspecifiedRole> {
    Key4::new(SystemTime::UNIX_EPOCH, algorithm, mpis).unwrap().into()
}

#[test]
fn a_key_is_its_own_and_no_other() {
    let patience = Patience::lasting(Duration::from_secs(60));
    let algorithms = [
        Algorithm::Ed25519,
        Algorithm::NistP256,
        Algorithm::NistP384,
        Algorithm::NistP521,
        Algorithm::Rsa2048,
    ];
    let keys: Vec<_> = algorithms
        .map(|algorithm| {
            let card = VirtualCard::builder().build();
            let public = card.generate(Slot::Signature, algorithm, 7).unwrap();
            let token = Token::look(Arc::new(InProcess::virtual_card(&card)), &patience).unwrap();
            (attested(&public), token.signature_key(&patience).unwrap())
        })
        .into();
    for (at, (attested, _)) in keys.iter().enumerate() {
        for (other, (_, key)) in keys.iter().enumerate() {
            assert_eq!(attested.is_key_of(key), at == other, "{attested} {}", key.fingerprint());
        }
    }
    let another = VirtualCard::builder().build();
    another.generate(Slot::Signature, Algorithm::Ed25519, 7).unwrap();
    let second = another.generate(Slot::Signature, Algorithm::Ed25519, 8).unwrap();
    assert!(!attested(&second).is_key_of(&keys[0].1));
}

/// One key, whichever of OpenPGP's two forms it is written in.
#[test]
fn the_form_does_not_matter_but_every_number_does() {
    let point = |attested: &attestation::PublicKey| match attested {
        attestation::PublicKey::Ed25519(point) | attestation::PublicKey::X25519(point) => *point,
        other => panic!("{other}"),
    };
    let ed25519 = attested(&crate::key(Algorithm::Ed25519));
    let prefixed = |point: &[u8]| MPI::new(&[&[0x40], point].concat());
    let own = point(&ed25519);
    let old = |q| bare(PublicKeyAlgorithm::EdDSA, Mpis::EdDSA { curve: Curve::Ed25519, q });
    assert!(ed25519.is_key_of(&old(prefixed(&own))));
    assert!(ed25519.is_key_of(&bare(PublicKeyAlgorithm::Ed25519, Mpis::Ed25519 { a: own })));
    assert!(!ed25519.is_key_of(&old(MPI::new(&own))), "without its prefix");
    let mut other = own;
    other[31] ^= 1;
    assert!(!ed25519.is_key_of(&old(prefixed(&other))));

    let x25519 = VirtualCard::builder().build().generate(Slot::Decryption, Algorithm::X25519, 7).unwrap();
    let x25519 = attested(&x25519);
    let own = point(&x25519);
    let ecdh = |q| Mpis::ECDH {
        curve: Curve::Cv25519,
        q,
        hash: HashAlgorithm::SHA256,
        sym: SymmetricAlgorithm::AES128,
    };
    assert!(x25519.is_key_of(&bare(PublicKeyAlgorithm::ECDH, ecdh(prefixed(&own)))));
    assert!(x25519.is_key_of(&bare(PublicKeyAlgorithm::X25519, Mpis::X25519 { u: own })));
    assert!(!x25519.is_key_of(&bare(PublicKeyAlgorithm::Ed25519, Mpis::Ed25519 { a: own })), "another curve");

    let p256 = attested(&crate::key(Algorithm::NistP256));
    let attestation::PublicKey::Ec { point, .. } = &p256 else { panic!("{p256}") };
    let ecdsa = |curve, q: &[u8]| bare(PublicKeyAlgorithm::ECDSA, Mpis::ECDSA { curve, q: MPI::new(q) });
    assert!(p256.is_key_of(&ecdsa(Curve::NistP256, point)));
    assert!(!p256.is_key_of(&ecdsa(Curve::BrainpoolP256, point)));
    assert!(!p256.is_key_of(&ecdsa(Curve::NistP256, &point[..64])));

    let rsa = attested(&crate::key(Algorithm::Rsa2048));
    let attestation::PublicKey::Rsa { modulus, exponent } = &rsa else { panic!("{rsa}") };
    let rsa_key = |e: &[u8], n: &[u8]| {
        bare(PublicKeyAlgorithm::RSAEncryptSign, Mpis::RSA { e: MPI::new(e), n: MPI::new(n) })
    };
    assert!(rsa.is_key_of(&rsa_key(exponent, modulus)));
    assert!(!rsa.is_key_of(&rsa_key(&[3], modulus)));
    assert!(!rsa.is_key_of(&rsa_key(exponent, &modulus[1..])));
}
