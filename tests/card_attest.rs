//! The card attests its keys: every slot and firmware, and everything that stands in the way.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![cfg(feature = "virtual-card")]

mod card_support;

use std::time::Duration;

use card_support::*;
use touchgate::card::attestation::{ConfiguredRoot, Source, verify};
use touchgate::card::{Attested, CardError, KeptPin, KeySlot, TouchNeed, TouchPolicy};
use touchgate::unix_time::UnixTime;
use virtual_openpgp_card::attestation::{Authority, ChainShape};
use virtual_openpgp_card::{
    Algorithm, Builder, Effect, Fault, Finger, Firmware, Personality, Slot, SteppedClock,
    TouchPolicy as Policy, VirtualCard,
};

const SLOTS: [(Slot, KeySlot); 3] = [
    (Slot::Signature, KeySlot::Signature),
    (Slot::Decryption, KeySlot::Decryption),
    (Slot::Authentication, KeySlot::Authentication),
];

fn yubikey(firmware: Firmware) -> Builder {
    VirtualCard::builder().personality(Personality::Yubikey(firmware))
}

fn attest(card: &VirtualCard, slot: KeySlot, person: &mut Person) -> Result<Attested, CardError> {
    look(card)?.attest(slot, false, person, &patience())
}

fn with_pin() -> Person {
    Person::with_pins(&[PIN])
}

#[test]
fn every_key_is_attested_and_the_chain_holds() {
    for firmware in [Firmware::V5_2_7, Firmware::V5_4_3, Firmware::V5_7_4] {
        let card = yubikey(firmware).build();
        let authority = Authority::new(ChainShape::of(firmware));
        let root = [ConfiguredRoot::new("test", authority.root().der()).unwrap()];
        for ((place, slot), algorithm) in
            SLOTS.into_iter().zip([Algorithm::Ed25519, Algorithm::X25519, Algorithm::NistP384])
        {
            card.generate(place, algorithm, CREATED).unwrap();
            card.set_touch_policy(place, Policy::Fixed);
            let mut person = with_pin();
            let attested = attest(&card, slot, &mut person).unwrap();
            assert_eq!(attested.device, authority.device(firmware).der());
            let mut others = vec![attested.device];
            others.extend(authority.intermediates().iter().map(|other| other.der().to_vec()));
            let now = UnixTime::from(now());
            let attestation = verify(&attested.attestation, &others, &root, now).unwrap();
            let said = attestation.statement();
            assert_eq!((said.slot, said.touch, said.source), (slot, TouchPolicy::Fixed, Source::Generated));
            assert_eq!((said.serial, person.touches.len()), (12_345_678, 0), "D9 is off: no touch");
            // The one who attests can be shown to have the very key that signs.
            if slot == KeySlot::Signature {
                assert!(said.key.is_key_of(&key(&card)));
            }
        }
    }
}

#[test]
fn an_earlier_attestation_is_overwritten_and_nothing_else() {
    for firmware in [Firmware::V5_4_3, Firmware::V5_7_4] {
        let card = card(yubikey(firmware));
        let first = attest(&card, KeySlot::Signature, &mut with_pin()).unwrap();
        let second = attest(&card, KeySlot::Signature, &mut with_pin()).unwrap();
        assert_ne!(first, second, "its serial number is random");
        // Another certificate, put there by the owner.
        let other = b"the owner's own certificate";
        send(&card, SELECT);
        send(&card, &command([0, 0x20, 0, 0x83], b"12345678"));
        let list: &[u8] = b"\x60\x04\x5C\x02\x7F\x21";
        let list = if firmware == Firmware::V5_4_3 { [&[6], list].concat() } else { list.to_vec() };
        send(&card, &command([0, 0xA5, 2, 4], &list));
        send(&card, &command([0, 0xDA, 0x7F, 0x21], other));
        let verifies = verifies(&card);
        let error = attest(&card, KeySlot::Signature, &mut with_pin()).unwrap_err();
        assert!(matches!(error, CardError::CertificateInTheWay { length: 27, .. }), "{error:?}");
        assert_eq!(card_support::verifies(&card), verifies, "the PIN was not presented");
        let mut token = look(&card).unwrap();
        token.attest(KeySlot::Signature, true, &mut with_pin(), &patience()).unwrap();
    }
}

#[test]
fn what_cannot_be_attested_says_so() {
    let why = |card: &VirtualCard, slot| match attest(card, slot, &mut with_pin()).unwrap_err() {
        CardError::NotAttested { why, .. } => why,
        other => panic!("{other:?}"),
    };
    let signing = card(VirtualCard::builder());
    assert_eq!(why(&signing, KeySlot::Decryption), "there is none");
    let plain = card(VirtualCard::builder().personality(Personality::Plain));
    assert_eq!(why(&plain, KeySlot::Signature), "it has no attestation certificate");
    let old = card_with(yubikey(Firmware::new(5, 1, 2)), Algorithm::Rsa2048);
    assert_eq!(why(&old, KeySlot::Signature), "it has no attestation certificate");
    let without = card(VirtualCard::builder().no_attestation());
    assert_eq!(why(&without, KeySlot::Signature), "it has no attestation certificate");
    for card in [plain, old, without] {
        let mut person = with_pin();
        attest(&card, KeySlot::Signature, &mut person).unwrap_err();
        assert_eq!((person.asked, verifies(&card)), (0, 0), "nobody types a PIN in vain");
    }
    // An imported key.
    send(&signing, SELECT);
    send(&signing, &command([0, 0x20, 0, 0x83], b"12345678"));
    let import = b"\x4D\x2A\xB6\x00\x7F\x48\x02\x92\x20\x5F\x48\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    send(&signing, &command([0, 0xDB, 0x3F, 0xFF], import));
    assert_eq!(why(&signing, KeySlot::Signature), "it was not made on the card");
}

#[test]
fn the_pin_is_asked_for_again_and_no_try_is_wasted() {
    let card = card(VirtualCard::builder());
    let mut person = Person::with_pins(&["654321", PIN]);
    attest(&card, KeySlot::Signature, &mut person).unwrap();
    assert_eq!((person.asked, card.pin_tries()[0]), (2, 3));
    let mut person = Person::with_pins(&["654321", "654321", "654321", PIN]);
    let error = attest(&card, KeySlot::Signature, &mut person).unwrap_err();
    assert!(matches!(error, CardError::PinBlocked), "{error:?}");
    assert_eq!(person.asked, 3);
}

#[test]
fn the_attestation_key_may_want_a_touch_of_its_own() {
    for (policy, need) in [(Policy::On, TouchNeed::Always), (Policy::Cached, TouchNeed::Perhaps)] {
        let card = card(VirtualCard::builder().clock(SteppedClock::new()).finger(Finger::Never));
        // The attested key's own policy is not asked.
        card.set_touch_policy(Slot::Signature, Policy::Fixed);
        attest(&card, KeySlot::Signature, &mut with_pin()).unwrap();
        card.set_touch_policy(Slot::Attestation, policy);
        let mut person = with_pin();
        let error = attest(&card, KeySlot::Signature, &mut person).unwrap_err();
        assert!(matches!(error, CardError::NotTouched { .. }), "{error:?}");
        assert_eq!(person.touches, [need]);
        card.set_finger(Finger::Now);
        let mut person = with_pin();
        attest(&card, KeySlot::Signature, &mut person).unwrap();
        assert_eq!(person.touches, [need]);
    }
}

/// What docs/attestation.md says that it costs.
#[test]
fn the_commands_are_counted() {
    let card = card(VirtualCard::builder());
    let mut token = look(&card).unwrap();
    let before = token.apdus();
    token.attest(KeySlot::Signature, false, &mut with_pin(), &patience()).unwrap();
    assert_eq!((before, token.apdus() - before), (2, 12));
}

#[test]
fn one_pin_does_for_all_slots_and_one_missed_touch_loses_nothing() {
    let card = card(VirtualCard::builder().touch_window(Duration::from_millis(50)));
    card.generate(Slot::Decryption, Algorithm::X25519, CREATED).unwrap();
    card.generate(Slot::Authentication, Algorithm::NistP256, CREATED).unwrap();
    let mut token = look(&card).unwrap();
    let (mut person, mut kept) = (with_pin(), KeptPin::default());
    for (_, slot) in SLOTS {
        token.attest(slot, false, &mut kept.with(&mut person), &patience()).unwrap();
    }
    assert_eq!((person.asked, person.touches.len()), (1, 0));
    card.set_touch_policy(Slot::Attestation, Policy::On);
    card.set_finger(Finger::EveryNth(2));
    let mut token = look(&card).unwrap();
    let mut person = Person { retries: 1, ..with_pin() };
    token.attest(KeySlot::Signature, false, &mut person, &patience()).unwrap();
    assert_eq!((person.asked, person.missed, person.touches.len()), (1, 1, 2));
}

#[test]
fn pulled_at_each_command_it_is_an_error_and_never_a_panic() {
    let card = card(VirtualCard::builder());
    let mut token = look(&card).unwrap();
    let before = card.command_count();
    token.attest(KeySlot::Signature, false, &mut with_pin(), &patience()).unwrap();
    let commands = card.command_count() - before;
    assert!(commands >= 9, "{commands}");
    for at in 0..commands {
        card.add_fault(Fault::at(card.command_count() + at, Effect::RemovedBefore));
        let error = token.attest(KeySlot::Signature, false, &mut with_pin(), &patience()).unwrap_err();
        assert!(matches!(error, CardError::Removed), "command {at} of {commands}: {error}");
        card.clear_faults();
        card.insert();
        token = look(&card).unwrap();
    }
    assert_eq!(card.pin_tries()[0], 3);
}
