//! Attestations as the token gives them; what they prove is judged elsewhere.
#![cfg(feature = "virtual-card")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod card_support;

use std::time::Duration;

use card_support::*;
use touchgate::card::{CardError, KeptPin, KeySlot, TouchNeed};
use virtual_openpgp_card::attestation::{Authority, ChainShape};
use virtual_openpgp_card::{
    Algorithm, Builder, Effect, Fault, Finger, Firmware, Personality, Slot, TouchPolicy, VirtualCard,
};

const FIRMWARES: [Firmware; 3] = [Firmware::V5_2_7, Firmware::V5_4_3, Firmware::V5_7_4];

fn yubikey(firmware: Firmware) -> Builder {
    VirtualCard::builder().personality(Personality::Yubikey(firmware))
}

/// What the virtual card's own authority would have signed with.
fn device(firmware: Firmware) -> Vec<u8> {
    Authority::new(ChainShape::of(firmware)).device(firmware).der().to_vec()
}

#[test]
fn every_slot_on_every_firmware() {
    for firmware in FIRMWARES {
        let card = card(yubikey(firmware));
        card.generate(Slot::Decryption, Algorithm::X25519, CREATED).unwrap();
        card.generate(Slot::Authentication, Algorithm::NistP256, CREATED).unwrap();
        let mut token = look(&card).unwrap();
        let (mut person, mut kept) = (Person::with_pins(&[PIN]), KeptPin::default());
        let mut leaves = Vec::new();
        for (slot, place) in [
            (KeySlot::Signature, Slot::Signature),
            (KeySlot::Decryption, Slot::Decryption),
            (KeySlot::Authentication, Slot::Authentication),
        ] {
            let chain = token.attest(slot, &mut kept.with(&mut person), &patience()).unwrap();
            let [leaf, found] = chain.as_slice() else { panic!("{chain:?}") };
            assert_eq!(*found, device(firmware), "{firmware}");
            // The very key: its point stands in the leaf.
            let public = card.public_key(place).unwrap();
            let point = match &public {
                virtual_openpgp_card::PublicKey::Curve { point, .. } => point.clone(),
                other => panic!("{other:?}"),
            };
            assert!(leaf.windows(point.len()).any(|window| window == point), "{slot}");
            leaves.push(leaf.clone());
        }
        leaves.dedup();
        assert_eq!((leaves.len(), person.asked, person.touches.len()), (3, 1, 0));
    }
}

#[test]
fn the_attestation_keys_touch_policy_is_told_and_waited_for() {
    let card = card(yubikey(Firmware::V5_7_4).touch_window(Duration::from_millis(50)));
    card.set_touch_policy(Slot::Attestation, TouchPolicy::On);
    card.set_finger(Finger::Never);
    let mut token = look(&card).unwrap();
    let mut person = Person::with_pins(&[PIN]);
    let missed = token.attest(KeySlot::Signature, &mut person, &patience()).unwrap_err();
    assert!(matches!(missed, CardError::NotTouched { .. }), "{missed}");
    assert_eq!(person.touches, [TouchNeed::Always]);
    // Missed once, then touched: the PIN is not asked for again.
    card.set_finger(Finger::EveryNth(2));
    let mut person = Person { retries: 1, ..Person::with_pins(&[PIN]) };
    token.attest(KeySlot::Signature, &mut person, &patience()).unwrap();
    assert_eq!((person.asked, person.missed, person.touches.len()), (1, 1, 2));
}

#[test]
fn cards_that_cannot_are_not_asked_for_a_pin() {
    let plain = card(VirtualCard::builder().personality(Personality::Plain));
    let without = card(yubikey(Firmware::V5_7_4).no_attestation());
    for card in [plain, without] {
        let mut person = Person::with_pins(&[PIN]);
        let error = look(&card).unwrap().attest(KeySlot::Signature, &mut person, &patience()).unwrap_err();
        assert!(matches!(error, CardError::NoAttestation { .. }), "{error}");
        assert_eq!((person.asked, verifies(&card)), (0, 0));
    }
}

#[test]
fn a_wrong_pin_is_asked_for_again_and_no_try_is_lost_after_the_last() {
    let card = card(yubikey(Firmware::V5_7_4));
    let mut token = look(&card).unwrap();
    let mut kept = KeptPin::default();
    let mut person = Person::with_pins(&["654321", PIN]);
    token.attest(KeySlot::Signature, &mut kept.with(&mut person), &patience()).unwrap();
    token.attest(KeySlot::Signature, &mut kept.with(&mut person), &patience()).unwrap();
    assert_eq!((person.asked, card.pin_tries()[0]), (2, 3));
    let mut person = Person::with_pins(&["654321"; 5]);
    let error = token.attest(KeySlot::Signature, &mut person, &patience()).unwrap_err();
    assert!(matches!(error, CardError::PinBlocked), "{error}");
    assert_eq!((person.asked, card.pin_tries()[0]), (3, 0));
}

#[test]
fn a_key_that_is_not_there_and_a_pulled_card() {
    let card = card(yubikey(Firmware::V5_7_4));
    let mut token = look(&card).unwrap();
    let error = token.attest(KeySlot::Decryption, &mut Person::with_pins(&[PIN]), &patience()).unwrap_err();
    assert!(matches!(error, CardError::Refused { command: "ATTEST", sw: 0x6a88 }), "{error}");
    // Pulled at each command of an attestation, it is an error and never a panic.
    let before = card.command_count();
    token.attest(KeySlot::Signature, &mut Person::with_pins(&[PIN]), &patience()).unwrap();
    let commands = card.command_count() - before;
    assert!(commands >= 7, "{commands}");
    for at in 0..commands {
        card.add_fault(Fault::at(card.command_count() + at, Effect::RemovedBefore));
        let error =
            token.attest(KeySlot::Signature, &mut Person::with_pins(&[PIN]), &patience()).unwrap_err();
        assert!(matches!(error, CardError::Removed), "command {at} of {commands}: {error}");
        card.clear_faults();
        card.insert();
        token = look(&card).unwrap();
    }
    assert_eq!(card.pin_tries()[0], 3);
}
