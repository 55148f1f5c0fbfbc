//! What a card's signature looks like, for every algorithm, and what it costs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![cfg(feature = "virtual-card")]

mod card_support;

use card_support::*;
use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::packet::signature::subpacket::SubpacketValue;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::parse::stream::{
    DetachedVerifierBuilder, MessageLayer, MessageStructure, VerificationHelper,
};
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::{HashAlgorithm, SignatureType};
use sequoia_openpgp::{KeyHandle, Result};
use touchgate::card::certificate::{self, Settings};
use touchgate::card::{CardKeys, CardSigner, TouchPolicy};
use touchgate::sign;
use touchgate::verify::{NOTATION_NAME, NOTATION_VALUE};
use virtual_openpgp_card::{Algorithm, Personality, VirtualCard};

struct Known<'a>(&'a Cert);

impl VerificationHelper for Known<'_> {
    fn get_certs(&mut self, _: &[KeyHandle]) -> Result<Vec<Cert>> {
        Ok(vec![self.0.clone()])
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> Result<()> {
        let layers: Vec<_> = structure.into_iter().collect();
        let [MessageLayer::SignatureGroup { results }] = layers.as_slice() else { panic!("{layers:?}") };
        assert_eq!(results.len(), 1);
        match &results[0] {
            Ok(_) => Ok(()),
            Err(error) => Err(sequoia_openpgp::anyhow::anyhow!("{error}")),
        }
    }
}

/// As any verifier would check it, policy and all.
fn verify(cert: &Cert, statement: &[u8], signature: &[u8]) -> Result<()> {
    let policy = StandardPolicy::new();
    DetachedVerifierBuilder::from_bytes(signature)?
        .with_policy(&policy, now(), Known(cert))?
        .verify_bytes(statement)
}

fn round(algorithm: Algorithm) {
    let card = card_with(VirtualCard::builder(), algorithm);
    let mut token = look(&card).unwrap();
    let key = key(&card);
    let mut person = Person::with_pins(&[PIN, PIN]);
    let cert = {
        let mut signer = CardSigner::new(&mut token, key.clone(), &mut person, patience()).unwrap();
        let keys = CardKeys::signing(key.clone());
        certificate::make(&keys, "Alice <alice@example.org>", &Settings::default(), &mut signer).unwrap().cert
    };
    // What goes into a keyring is what comes out of it.
    let cert = Cert::from_bytes(&cert.to_vec().unwrap()).unwrap();
    let on_card = sign::key_on_card(&cert, &token).unwrap();
    assert_eq!(on_card.fingerprint(), key.fingerprint());
    let signature = sign_with(&mut token, &on_card, &mut person, patience()).unwrap();
    verify(&cert, STATEMENT, &signature).unwrap();
    let mut altered = STATEMENT.to_vec();
    altered[0] ^= 1;
    assert!(verify(&cert, &altered, &signature).is_err());
}

#[test]
fn ed25519() {
    round(Algorithm::Ed25519);
}

#[test]
fn nist_curves() {
    for algorithm in [Algorithm::NistP256, Algorithm::NistP384, Algorithm::NistP521] {
        round(algorithm);
    }
}

#[test]
fn rsa_2048() {
    round(Algorithm::Rsa2048);
}

#[test]
fn rsa_3072() {
    round(Algorithm::Rsa3072);
}

#[test]
fn rsa_4096() {
    round(Algorithm::Rsa4096);
}

#[test]
fn the_packet_holds_exactly_what_the_protocol_says() {
    let card = card(VirtualCard::builder());
    let key = key(&card);
    let bytes = approve(&card, &key, &mut Person::with_pins(&[PIN])).unwrap();
    let signature = packet(&bytes);
    assert_eq!(signature.version(), 4);
    assert_eq!(signature.typ(), SignatureType::Binary);
    assert_eq!(signature.hash_algo(), HashAlgorithm::SHA512);
    assert_eq!(signature.unhashed_area().iter().count(), 0);
    let hashed: Vec<_> = signature.hashed_area().iter().collect();
    assert!(hashed.iter().all(|subpacket| !subpacket.critical()));
    let values: Vec<_> = hashed.iter().map(|subpacket| subpacket.value()).collect();
    let [
        SubpacketValue::SignatureCreationTime(created),
        SubpacketValue::IssuerFingerprint(issuer),
        SubpacketValue::NotationData(notation),
    ] = values.as_slice()
    else {
        panic!("{values:?}")
    };
    assert_eq!(std::time::SystemTime::from(*created), now());
    assert_eq!(issuer, &key.fingerprint());
    assert_eq!((notation.name(), notation.value()), (NOTATION_NAME, NOTATION_VALUE.as_bytes()));
    assert!(notation.flags().human_readable());
}

#[test]
fn a_cold_approval_costs_six_apdus() {
    let card = card(VirtualCard::builder());
    let key = key(&card);
    let before = card.command_count();
    let mut token = look(&card).unwrap();
    assert_eq!(token.apdus(), 2);
    sign_with(&mut token, &key, &mut Person::with_pins(&[PIN]), patience()).unwrap();
    assert_eq!(token.apdus(), 6);
    let trace: Vec<String> = card
        .trace()
        .iter()
        .skip(usize::try_from(before).unwrap())
        .map(|exchange| exchange.command.iter().take(4).map(|byte| format!("{byte:02X}")).collect())
        .collect();
    assert_eq!(trace, ["00A40400", "00CA006E", "00A40400", "00CA00F9", "00200081", "002A9E9A"]);
}

#[test]
fn cards_without_extended_length_or_chaining_sign_too() {
    for (extended, chaining) in [(false, true), (true, false), (false, false)] {
        for algorithm in [Algorithm::Ed25519, Algorithm::Rsa2048] {
            let builder = VirtualCard::builder().extended_length(extended).command_chaining(chaining);
            let card = card_with(builder, algorithm);
            let key = key(&card);
            approve(&card, &key, &mut Person::with_pins(&[PIN])).unwrap();
        }
    }
}

#[test]
fn what_the_token_says_of_itself() {
    let yubikey = card(VirtualCard::builder().serial(12_345_678));
    let token = look(&yubikey).unwrap();
    let info = token.info();
    assert_eq!(info.ident.to_string(), "12345678");
    assert_eq!(info.touch, TouchPolicy::Off);
    assert_eq!(info.pin_tries_left, 3);
    let key = info.signature_key.as_ref().unwrap();
    assert_eq!((key.algorithm.to_string().as_str(), key.created), ("Ed25519", CREATED));
    let details = token.details(&patience()).unwrap();
    assert_eq!((details.kdf_in_use, details.signatures), (false, Some(0)));

    let plain = card(VirtualCard::builder().personality(Personality::Plain));
    assert_eq!(look(&plain).unwrap().info().ident.to_string(), "000f:00c0ffe1");
}
