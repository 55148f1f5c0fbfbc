//! The touch policy of the signature key, set with the admin PIN on the virtual card.
#![cfg(feature = "virtual-card")]

use std::sync::Arc;
use std::time::Duration;

use touchgate::card::{CardError, InProcess, Patience, Pin, Token, TouchPolicy};
use virtual_openpgp_card::{
    Algorithm, Firmware, Personality, Slot, TouchPolicy as CardTouchPolicy, VirtualCard,
};

fn look(card: &VirtualCard) -> Token {
    Token::look(Arc::new(InProcess::virtual_card(card)), &patience()).expect("the card is there")
}

fn patience() -> Patience {
    Patience::lasting(Duration::from_secs(10))
}

fn pin(text: &str) -> Pin {
    Pin::new(text.as_bytes().to_vec().into()).expect("long enough")
}

fn card(personality: Personality) -> VirtualCard {
    let card = VirtualCard::builder().personality(personality).build();
    card.generate(Slot::Signature, Algorithm::Ed25519, 1).expect("fits");
    card
}

#[test]
fn touch_goes_on_and_off_with_the_admin_pin() {
    for personality in [Personality::Yubikey(Firmware::V5_7_4), Personality::Plain] {
        let card = card(personality);
        let mut token = look(&card);
        token.set_touch(true, pin("12345678"), &patience()).unwrap();
        assert_eq!(token.info().touch, TouchPolicy::On);
        assert_eq!(look(&card).info().touch, TouchPolicy::On);
        token.set_touch(false, pin("12345678"), &patience()).unwrap();
        assert_eq!(look(&card).info().touch, TouchPolicy::Off);
    }
}

#[test]
fn a_wrong_admin_pin_costs_one_of_its_own_tries_and_changes_nothing() {
    for personality in [Personality::Yubikey(Firmware::V5_7_4), Personality::Plain] {
        let card = card(personality);
        let mut token = look(&card);
        for left in [2, 1] {
            let error = token.set_touch(true, pin("87654321"), &patience()).unwrap_err();
            assert!(matches!(error, CardError::WrongPin { tries_left: Some(n) } if n == left), "{error}");
        }
        let error = token.set_touch(true, pin("87654321"), &patience()).unwrap_err();
        assert!(
            matches!(error, CardError::PinBlocked | CardError::WrongPin { tries_left: Some(0) }),
            "{error}"
        );
        assert_eq!(card.pin_tries(), [3, 0, 0]);
        assert_eq!(look(&card).info().touch, TouchPolicy::Off);
    }
}

#[test]
fn a_fixed_policy_stays() {
    let card = card(Personality::Yubikey(Firmware::V5_7_4));
    card.set_touch_policy(Slot::Signature, CardTouchPolicy::Fixed);
    let error = look(&card).set_touch(false, pin("12345678"), &patience()).unwrap_err();
    assert!(matches!(error, CardError::Refused { .. }), "{error}");
    assert_eq!(look(&card).info().touch, TouchPolicy::Fixed);
}
