//! Touch policies, PINs, tries and reset on the virtual card, of every personality.
#![cfg(feature = "virtual-card")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod provision_support;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openpgp_card::ocard::OpenPGP;
use provision_support::{PERSONALITIES, patience, pin, slot};
use sequoia_openpgp::crypto::{Password, S2K};
use sequoia_openpgp::types::HashAlgorithm;
use touchgate::card::admin::{By, PinsNow, activate};
use touchgate::card::slot::Presence;
use touchgate::card::{
    AdminError, CardError, InProcess, KeySlot, Pin, PinFlaw, Tape, Token, Touch, TouchPolicy, Whose,
    provision,
};
use virtual_openpgp_card::{
    Algorithm, Effect, Fault, Firmware, Pattern, Personality, Slot, TouchPolicy as CardTouchPolicy,
    VirtualCard,
};

const USER: &str = "123456";
const ADMIN: &str = "12345678";
const NEW: &str = "271828";
const NEW_ADMIN: &str = "27182818";
const CODE: &str = "31415926";
const YUBIKEY: Personality = Personality::Yubikey(Firmware::V5_7_4);

/// What can happen to a command and its answer.
const CUTS: [Effect; 5] = [
    Effect::PowerLostBeforeWrite,
    Effect::PowerLostAfterWrite,
    Effect::RemovedBefore,
    Effect::RemovedAfter,
    Effect::NoAnswer,
];

fn card(personality: Personality) -> VirtualCard {
    let card = VirtualCard::builder().personality(personality).build();
    card.generate(Slot::Signature, Algorithm::Ed25519, 1).unwrap();
    card
}

fn look(card: &VirtualCard) -> Token {
    Token::look(slot(card), &patience()).unwrap()
}

fn change(card: &VirtualCard, whose: Whose, present: &str, new: &str) -> Result<(), AdminError> {
    Token::look(slot(card), &patience())?.change_pin(whose, pin(present), pin(new), &patience())
}

fn by_admin(text: &str) -> By {
    By::Admin(pin(text))
}

fn by_code(text: &str) -> By {
    By::ResettingCode(pin(text))
}

fn unblock(card: &VirtualCard, by: By, new: &str) -> Result<(), AdminError> {
    Token::look(slot(card), &patience())?.unblock(by, pin(new), &patience())
}

/// The card opens with these, by another program's word.
fn opens(card: &VirtualCard, user: &str, admin: &str) -> bool {
    let mut app = OpenPGP::new(card.backend()).unwrap();
    let mut tx = app.transaction().unwrap();
    let user = tx.verify_pw1_sign(user.as_bytes().to_vec().into()).is_ok();
    user && tx.verify_pw3(admin.as_bytes().to_vec().into()).is_ok()
}

/// PINs are derived from here on; they are those of the factory.
fn use_kdf(card: &VirtualCard) {
    let mut object = vec![0x81, 1, 3, 0x82, 1, 8, 0x83, 4, 0, 1, 0x86, 0xa0];
    for (tag, salt) in [(0x84, b"saltuser"), (0x85, b"saltcode"), (0x86, b"saltadmi")] {
        object.extend([tag, 8]);
        object.extend(salt);
    }
    for (tag, factory, salt) in [(0x87, USER, b"saltuser"), (0x88, ADMIN, b"saltadmi")] {
        let derived = S2K::Iterated { hash: HashAlgorithm::SHA256, salt: *salt, hash_bytes: 100_000 }
            .derive_key(&Password::from(factory), 32)
            .unwrap();
        object.extend([tag, 32]);
        object.extend(derived.iter());
    }
    let length = u8::try_from(object.len()).unwrap();
    for command in [
        [&[0x00, 0xa4, 0x04, 0x00, 6][..], &[0xd2, 0x76, 0, 1, 0x24, 1]].concat(),
        [&[0x00, 0x20, 0x00, 0x83, 8][..], ADMIN.as_bytes()].concat(),
        [&[0x00, 0xda, 0x00, 0xf9, length][..], &object].concat(),
    ] {
        assert!(card.transmit(&command).unwrap().ends_with(&[0x90, 0x00]));
    }
    card.reset();
}

fn each_personality(test: impl Fn(Personality)) {
    PERSONALITIES.into_iter().for_each(test);
}

#[test]
fn every_policy_of_every_key_is_set_and_shown() {
    each_personality(|personality| {
        let card = card(personality);
        let yubikey = personality != Personality::Plain;
        for slot in [Some(KeySlot::Decryption), Some(KeySlot::Authentication), Some(KeySlot::Signature), None]
        {
            for wanted in [Touch::On, Touch::Cached, Touch::Off] {
                let set = look(&card).set_touch(slot, wanted, pin(ADMIN), &patience());
                let (_, now) = *look(&card)
                    .touch_policies(&patience())
                    .unwrap()
                    .iter()
                    .find(|(found, _)| *found == slot)
                    .unwrap();
                match set {
                    Err(AdminError::NoTouchPolicy { .. }) => {
                        assert!(!yubikey && slot.is_none() && now == TouchPolicy::None);
                    }
                    Err(AdminError::TouchNotOffered { .. }) => assert!(!yubikey && wanted == Touch::Cached),
                    other => {
                        other.unwrap();
                        assert_eq!(now, wanted.policy(), "{personality:?} {slot:?}");
                    }
                }
            }
        }
        assert_eq!(card.pin_tries(), [3, 0, 3]);
    });
}

#[test]
fn what_is_known_of_the_token_follows() {
    let card = card(YUBIKEY);
    let mut token = look(&card);
    token.set_touch(Some(KeySlot::Signature), Touch::On, pin(ADMIN), &patience()).unwrap();
    assert_eq!(token.info().touch, TouchPolicy::On);
    // The next conversation works, though DO 6E is not what it was.
    token.set_touch(Some(KeySlot::Signature), Touch::Fixed, pin(ADMIN), &patience()).unwrap();
    assert_eq!(look(&card).info().touch, TouchPolicy::Fixed);
}

#[test]
fn a_permanent_policy_stays_and_costs_no_try() {
    for fixed in [CardTouchPolicy::Fixed, CardTouchPolicy::CachedFixed] {
        let card = card(YUBIKEY);
        card.set_touch_policy(Slot::Signature, fixed);
        let mut token = look(&card);
        let was = token.info().touch;
        // Not even the PIN is sent: this one is wrong.
        let error =
            token.set_touch(Some(KeySlot::Signature), Touch::Off, pin("87654321"), &patience()).unwrap_err();
        assert!(matches!(error, AdminError::TouchFixed { now, .. } if now == was), "{error}");
        assert_eq!((card.pin_tries(), look(&card).info().touch), ([3, 0, 3], was));
    }
}

#[test]
fn a_policy_that_is_so_already_takes_no_pin() {
    let card = card(YUBIKEY);
    let before = look(&card);
    look(&card).set_touch(Some(KeySlot::Signature), Touch::Off, pin("87654321"), &patience()).unwrap();
    assert_eq!((card.pin_tries(), look(&card).info()), ([3, 0, 3], before.info()));
}

#[test]
fn a_wrong_admin_pin_costs_one_of_its_own_tries_and_changes_nothing() {
    each_personality(|personality| {
        let card = card(personality);
        let set = || look(&card).set_touch(Some(KeySlot::Signature), Touch::On, pin("87654321"), &patience());
        for left in [2, 1] {
            let error = set().unwrap_err();
            assert!(
                matches!(error, AdminError::Wrong { whose: Whose::Admin, tries_left: Some(n) } if n == left),
                "{error}"
            );
        }
        for _ in 0..2 {
            let error = set().unwrap_err();
            assert!(matches!(error, AdminError::Blocked { whose: Whose::Admin }), "{error}");
        }
        assert_eq!(card.pin_tries(), [3, 0, 0]);
        assert_eq!(look(&card).info().touch, TouchPolicy::Off);
    });
}

#[test]
fn pins_change_and_the_new_ones_work() {
    each_personality(|personality| {
        let card = card(personality);
        change(&card, Whose::User, USER, NEW).unwrap();
        assert!(opens(&card, NEW, ADMIN) && !opens(&card, USER, ADMIN));
        change(&card, Whose::Admin, ADMIN, NEW_ADMIN).unwrap();
        assert!(opens(&card, NEW, NEW_ADMIN) && !opens(&card, NEW, ADMIN));
        change(&card, Whose::ResettingCode, NEW_ADMIN, CODE).unwrap();
        assert_eq!(look(&card).info().resetting_code_tries_left, 3);
        unblock(&card, by_code(CODE), "161803").unwrap();
        assert!(opens(&card, "161803", NEW_ADMIN));
        unblock(&card, by_admin(NEW_ADMIN), NEW).unwrap();
        assert!(opens(&card, NEW, NEW_ADMIN));
        assert_eq!(card.pin_tries(), [3, 3, 3]);
    });
}

#[test]
fn blocked_pins_are_unblocked_by_either() {
    each_personality(|personality| {
        let card = card(personality);
        change(&card, Whose::ResettingCode, ADMIN, CODE).unwrap();
        for by in [by_code(CODE), by_admin(ADMIN)] {
            while card.pin_tries()[0] > 0 {
                assert!(!opens(&card, "654322", ADMIN));
            }
            let error = change(&card, Whose::User, USER, NEW).unwrap_err();
            assert!(matches!(error, AdminError::Blocked { whose: Whose::User }), "{error}");
            unblock(&card, by, NEW).unwrap();
            assert!(opens(&card, NEW, ADMIN));
        }
    });
}

/// With a KDF object a card cannot see how long a PIN is, nor how simple.
#[test]
fn pins_that_are_derived_change_too() {
    each_personality(|personality| {
        let card = card(personality);
        use_kdf(&card);
        change(&card, Whose::User, USER, NEW).unwrap();
        change(&card, Whose::Admin, ADMIN, NEW_ADMIN).unwrap();
        change(&card, Whose::ResettingCode, NEW_ADMIN, CODE).unwrap();
        let works = |user: &str| {
            let (user, admin, code) = (pin(user), Some(pin(NEW_ADMIN)), Some(pin(CODE)));
            let pins = provision::Pins { user, admin, resetting_code: code };
            provision::prove_pins(&slot(&card), &pins, &Tape::default(), &patience()).unwrap();
        };
        works(NEW);
        let error = unblock(&card, by_admin(ADMIN), NEW).unwrap_err();
        assert!(matches!(error, AdminError::Wrong { whose: Whose::Admin, tries_left: Some(2) }), "{error}");
        unblock(&card, by_admin(NEW_ADMIN), "161803").unwrap();
        unblock(&card, by_code(CODE), "141421").unwrap();
        works("141421");
        // What a card cannot see is judged here.
        for short in [(Whose::User, "123123"), (Whose::Admin, "1234567")] {
            let error = change(&card, short.0, NEW_ADMIN, short.1).unwrap_err();
            assert!(matches!(error, AdminError::BadPin { .. }), "{error}");
        }
        // PINs of the factory would not open this card.
        let error = look(&card).set_tries([5, 5, 5], pin(NEW_ADMIN), &patience()).unwrap_err();
        let expected = match personality {
            Personality::Plain => matches!(error, AdminError::TriesFixed { .. }),
            Personality::Yubikey(_) => matches!(error, AdminError::KdfInUse { .. }),
        };
        assert!(expected && card.pin_tries() == [3, 3, 3], "{error}");
        look(&card).reset(&patience()).unwrap();
        assert!(opens(&card, USER, ADMIN));
    });
}

/// A wrong one costs exactly one try, and what the card would refuse costs none.
#[test]
fn no_more_than_one_try_is_ever_spent() {
    each_personality(|personality| {
        let card = card(personality);
        change(&card, Whose::ResettingCode, ADMIN, CODE).unwrap();
        let wrong = |whose: Whose, error: AdminError| {
            assert!(
                matches!(error, AdminError::Wrong { whose: of, tries_left: Some(2) } if of == whose),
                "{error}"
            );
        };
        wrong(Whose::User, change(&card, Whose::User, "654322", NEW).unwrap_err());
        assert_eq!(card.pin_tries(), [2, 3, 3]);
        wrong(Whose::Admin, change(&card, Whose::Admin, "87654322", NEW_ADMIN).unwrap_err());
        assert_eq!(card.pin_tries(), [2, 3, 2]);
        wrong(Whose::ResettingCode, unblock(&card, by_code("87654322"), NEW).unwrap_err());
        assert_eq!(card.pin_tries(), [2, 2, 2]);
        assert!(opens(&card, USER, ADMIN));
        unblock(&card, by_code(CODE), USER_AGAIN).unwrap();
        wrong(Whose::Admin, change(&card, Whose::ResettingCode, "87654322", CODE).unwrap_err());
        assert!(opens(&card, USER_AGAIN, ADMIN));
        wrong(Whose::Admin, unblock(&card, by_admin("87654322"), NEW).unwrap_err());
        assert!(opens(&card, USER_AGAIN, ADMIN));
        assert_eq!(card.pin_tries(), [3, 3, 3]);
        // A card takes the old PIN off the front of what it gets. One that goes on longer must not lend its end.
        let error = change(&card, Whose::User, &format!("{USER_AGAIN}99"), NEW).unwrap_err();
        assert!(matches!(error, AdminError::Wrong { .. }), "{error}");
        assert!(opens(&card, USER_AGAIN, ADMIN));
    });
}

const USER_AGAIN: &str = "141421";

#[test]
fn a_bad_new_pin_is_refused_before_anything_is_sent() {
    each_personality(|personality| {
        let card = card(personality);
        let long = "7".repeat(126) + "12";
        let bad = |whose, present: &str, new: &str| {
            let before = card.trace().len();
            let error = change(&card, whose, present, new).unwrap_err();
            let sent = card.trace().split_off(before);
            assert!(sent.iter().all(|exchange| !matches!(exchange.command[1], 0x20 | 0x24 | 0x2c | 0xda)));
            match error {
                AdminError::BadPin { flaw, .. } => flaw,
                other => panic!("{other}"),
            }
        };
        assert_eq!(bad(Whose::User, "000000", USER), PinFlaw::Factory);
        assert_eq!(bad(Whose::User, "000000", "1q2w3e4r"), PinFlaw::Simple);
        assert_eq!(bad(Whose::User, "000000", "aaaaaaa"), PinFlaw::Simple);
        assert_eq!(bad(Whose::Admin, "00000000", ADMIN), PinFlaw::Factory);
        assert_eq!(bad(Whose::Admin, "00000000", NEW), PinFlaw::Short { length: 6, min: 8 });
        assert_eq!(bad(Whose::ResettingCode, "00000000", NEW), PinFlaw::Short { length: 6, min: 8 });
        assert!(Pin::new(long.into_bytes().into()).is_err());
        // Nor is an old one that cannot be.
        let error = change(&card, Whose::Admin, "654321", NEW_ADMIN).unwrap_err();
        assert!(matches!(error, AdminError::NotSent { whose: Whose::Admin, .. }), "{error}");
        let error = change(&card, Whose::User, NEW, NEW).unwrap_err();
        assert!(matches!(error, AdminError::SamePin { .. }), "{error}");
        let error = unblock(&card, by_code(CODE), NEW).unwrap_err();
        assert!(matches!(error, AdminError::Blocked { whose: Whose::ResettingCode }), "{error}");
        assert_eq!(card.pin_tries(), [3, 0, 3]);
    });
}

/// The card's own word, for a rule that is not ours: here the answer to the command is replaced.
#[test]
fn a_card_that_finds_a_pin_too_simple_is_believed() {
    for (instruction, whose) in [(0x24, Whose::User), (0x24, Whose::Admin), (0xda, Whose::ResettingCode)] {
        let card = VirtualCard::builder().personality(YUBIKEY).pin_complexity(true).build();
        let fault = Fault::on(Pattern::instruction(instruction), Effect::Status(0x6985));
        card.add_fault(fault);
        let present = if whose == Whose::User { USER } else { ADMIN };
        let error = change(&card, whose, present, NEW_ADMIN).unwrap_err();
        assert!(matches!(error, AdminError::TooSimple { whose: of } if of == whose), "{error}");
        assert!(opens(&card, USER, ADMIN));
        // And it takes one that is not.
        change(&card, whose, present, NEW_ADMIN).unwrap();
    }
}

#[test]
fn a_card_that_says_so_and_did_not_is_found_out() {
    let card = card(YUBIKEY);
    card.add_fault(Fault::on(Pattern::instruction(0x24), Effect::Status(0x9000)));
    let error = change(&card, Whose::User, USER, NEW).unwrap_err();
    assert!(matches!(error, AdminError::NotTaken { whose: Whose::User }), "{error}");
}

/// A resetting code that goes on longer than the card's: the card takes its end for the new PIN's beginning.
#[test]
fn a_code_that_lends_its_end_to_the_pin_is_found_out() {
    let card = card(YUBIKEY);
    change(&card, Whose::ResettingCode, ADMIN, CODE).unwrap();
    let error = unblock(&card, by_code(&format!("{CODE}99")), NEW).unwrap_err();
    assert!(matches!(error, AdminError::NotTaken { whose: Whose::User }), "{error}");
    unblock(&card, by_code(CODE), NEW).unwrap();
    assert!(opens(&card, NEW, ADMIN));
}

#[test]
fn tries_are_set_on_yubikeys_and_the_pins_of_then_are_told() {
    each_personality(|personality| {
        let card = card(personality);
        change(&card, Whose::User, USER, NEW).unwrap();
        change(&card, Whose::Admin, ADMIN, NEW_ADMIN).unwrap();
        let set = |admin: &str| look(&card).set_tries([5, 4, 6], pin(admin), &patience());
        if personality == Personality::Plain {
            // The PIN is not sent: this one is wrong.
            let error = set("00000000").unwrap_err();
            assert!(matches!(error, AdminError::TriesFixed { .. }), "{error}");
            assert!(opens(&card, NEW, NEW_ADMIN));
            assert_eq!(card.pin_tries(), [3, 0, 3]);
            return;
        }
        let error = set("00000000").unwrap_err();
        assert!(matches!(error, AdminError::Wrong { tries_left: Some(2), .. }), "{error}");
        assert_eq!(set(NEW_ADMIN).unwrap(), PinsNow::Factory);
        assert_eq!(card.pin_tries(), [5, 0, 6]);
        assert!(opens(&card, USER, ADMIN));
        assert_eq!(set(ADMIN).unwrap(), PinsNow::Factory);
        // A token that keeps its PINs: of this one the command is swallowed.
        change(&card, Whose::Admin, ADMIN, NEW_ADMIN).unwrap();
        card.add_fault(Fault::on(Pattern::instruction(0xf2), Effect::Status(0x9000)));
        assert_eq!(set(NEW_ADMIN).unwrap(), PinsNow::Kept);
        assert_eq!(card.pin_tries(), [5, 0, 6]);
    });
}

#[test]
fn a_reset_needs_no_pin_and_leaves_a_new_card() {
    each_personality(|personality| {
        let card = card(personality);
        change(&card, Whose::User, USER, NEW).unwrap();
        change(&card, Whose::Admin, ADMIN, NEW_ADMIN).unwrap();
        let mut token = look(&card);
        let keys = token.contents(&patience()).unwrap().keys;
        let fingerprint = token.info().signature_key.clone().unwrap().fingerprint;
        assert_eq!(keys, [(KeySlot::Signature, Some(fingerprint))]);
        assert_eq!(token.reset(&patience()).unwrap().tries, [3, 0, 3]);
        assert!(look(&card).contents(&patience()).unwrap().keys.is_empty());
        assert!(opens(&card, USER, ADMIN));
        assert!(card.public_key(Slot::Signature).is_none());
        // As many tries as there may be.
        if personality != Personality::Plain {
            look(&card).set_tries([99, 99, 99], pin(ADMIN), &patience()).unwrap();
            look(&card).reset(&patience()).unwrap();
            assert_eq!(card.pin_tries(), [3, 0, 3]);
        }
    });
}

#[test]
fn a_card_that_cannot_be_reset_is_left_alone() {
    each_personality(|personality| {
        let card = card(personality);
        card.transmit(&[0, 0xa4, 4, 0, 6, 0xd2, 0x76, 0, 1, 0x24, 1]).unwrap();
        let mut answer = card.transmit(&[0x00, 0xca, 0x00, 0x6e, 0, 0, 0]).unwrap();
        // The status indicator among the historical bytes, DO 5F52.
        let at = answer.windows(2).position(|pair| pair == [0x5f, 0x52]).unwrap();
        let status = at + 3 + usize::from(answer[at + 2]) - 3;
        assert_eq!(answer[status], 5);
        answer[status] = 0;
        let mut token = look(&card);
        let fault = Fault::on(Pattern::header(0xca, 0x00, 0x6e), Effect::Replace(answer));
        card.add_fault(fault.every_time());
        for error in [token.contents(&patience()).unwrap_err(), token.reset(&patience()).unwrap_err()] {
            assert!(matches!(error, AdminError::CannotReset { .. }), "{error}");
        }
        assert_eq!(card.pin_tries(), [3, 0, 3]);
    });
}

/// One thing to be done, and whether it was done.
struct Work {
    name: &'static str,
    act: fn(&VirtualCard) -> Result<(), AdminError>,
    /// With what the card opens before and after.
    opens: [(&'static str, &'static str); 2],
}

const WORKS: [Work; 4] = [
    Work {
        name: "change the PIN",
        act: |card| change(card, Whose::User, USER, NEW),
        opens: [(USER, ADMIN), (NEW, ADMIN)],
    },
    Work {
        name: "change the admin PIN",
        act: |card| change(card, Whose::Admin, ADMIN, NEW_ADMIN),
        opens: [(USER, ADMIN), (USER, NEW_ADMIN)],
    },
    Work {
        name: "unblock by code",
        act: |card| unblock(card, by_code(CODE), NEW),
        opens: [(USER, ADMIN), (NEW, ADMIN)],
    },
    Work {
        name: "unblock by admin PIN",
        act: |card| unblock(card, by_admin(ADMIN), NEW),
        opens: [(USER, ADMIN), (NEW, ADMIN)],
    },
];

/// Cut off at every command: the card has the old PIN or the new one, what is said of it is not wrong, and no PIN
/// is near to being blocked.
#[test]
fn pulled_at_every_command_the_card_has_the_old_pin_or_the_new_one() {
    let runs = Cell::new(0);
    each_personality(|personality| {
        for work in &WORKS {
            let fresh = || {
                let card = card(personality);
                change(&card, Whose::ResettingCode, ADMIN, CODE).unwrap();
                card
            };
            let undisturbed = fresh();
            let begin = undisturbed.command_count();
            (work.act)(&undisturbed).unwrap();
            for at in begin..undisturbed.command_count() {
                for cut in &CUTS {
                    let card = fresh();
                    card.add_fault(Fault::at(at, cut.clone()));
                    runs.set(runs.get() + 1);
                    let what = format!("{personality:?}: {}, {cut:?} at {}", work.name, at - begin);
                    let outcome = (work.act)(&card);
                    card.insert();
                    card.clear_faults();
                    let tries = card.pin_tries();
                    assert!(tries.iter().all(|left| *left >= 2), "{what}: {tries:?}");
                    let [before, after] = work.opens.map(|(user, admin)| opens(&card, user, admin));
                    assert!(before != after, "{what}");
                    match outcome {
                        Ok(()) => assert!(after, "{what}"),
                        // In doubt, and said to be.
                        Err(AdminError::Unsure { .. }) => {}
                        Err(AdminError::Card(error)) => assert!(before, "{what}: {error}"),
                        // Power that comes back forgets what was verified.
                        Err(error) => assert!(before, "{what}: {error}"),
                    }
                }
            }
        }
    });
    println!("{} runs cut off", runs.get());
    assert!(runs.get() > 500);
}

/// Cut off at every command, a reset ends with the second attempt.
#[test]
fn pulled_at_every_command_a_reset_ends_with_the_next() {
    each_personality(|personality| {
        let undisturbed = card(personality);
        look(&undisturbed).reset(&patience()).unwrap();
        for at in 2..undisturbed.command_count() {
            for cut in &CUTS {
                let card = card(personality);
                card.add_fault(Fault::at(at, cut.clone()));
                let what = format!("{personality:?}: {cut:?} at {at}");
                let first = Token::look(slot(&card), &patience())
                    .map_err(AdminError::from)
                    .and_then(|mut token| token.reset(&patience()));
                card.insert();
                card.clear_faults();
                if first.is_err() {
                    let ended = activate(&slot(&card), &Tape::default(), &patience()).unwrap();
                    if ended.is_none() {
                        look(&card).reset(&patience()).unwrap();
                    }
                }
                assert!(opens(&card, USER, ADMIN), "{what}");
                assert!(card.public_key(Slot::Signature).is_none(), "{what}");
            }
        }
    });
}

#[test]
fn a_card_that_is_not_the_one_that_was_looked_at_is_left_alone() {
    let (first, other) =
        (card(YUBIKEY), VirtualCard::builder().personality(YUBIKEY).serial(87_654_321).build());
    let (here, there) = (first.clone(), other.clone());
    let swapped = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&swapped);
    let two = InProcess::new(
        "two cards",
        first.atr(),
        move |_| {
            let card = if now.load(Ordering::SeqCst) { &there } else { &here };
            Ok(card.backend().into())
        },
        || Some(Presence("a card".to_owned())),
    );
    let mut token = Token::look(Arc::new(two), &patience()).unwrap();
    swapped.store(true, Ordering::SeqCst);
    for error in [
        token.change_pin(Whose::User, pin(USER), pin(NEW), &patience()).unwrap_err(),
        token.reset(&patience()).unwrap_err(),
        token.set_touch(Some(KeySlot::Signature), Touch::On, pin(ADMIN), &patience()).unwrap_err(),
    ] {
        assert!(matches!(error, AdminError::Card(CardError::Changed { .. })), "{error}");
    }
    assert!(opens(&other, USER, ADMIN));
}
