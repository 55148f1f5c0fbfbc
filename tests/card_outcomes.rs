//! Every way in which a card can say no, each told apart from the others.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![cfg(feature = "virtual-card")]

mod card_support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use card_backend::{CardBackend, CardCaps, CardTransaction, PinType, SmartcardError};
use card_support::*;
use touchgate::card::select::{Reader, ReaderState, pick};
use touchgate::card::slot::{Connection, Presence, Purpose, Route};
use touchgate::card::{
    CardError, CardSigner, Doing, Holder, InProcess, Patience, Pin, PinEntry, Slot, Token, TouchNeed,
};
use virtual_openpgp_card::{
    Algorithm, Effect, Fault, Finger, Gesture, Pattern, Personality, Slot as KeySlot, SteppedClock,
    TouchPolicy, VirtualCard,
};

const PERSONALITIES: [fn() -> Personality; 2] = [Personality::default, || Personality::Plain];
/// Longer than any test lasts, shorter than a hang.
const SOON: Duration = Duration::from_secs(60);

fn touch_card(personality: Personality, policy: TouchPolicy, finger: Finger) -> VirtualCard {
    let builder = VirtualCard::builder().personality(personality).clock(SteppedClock::new()).finger(finger);
    let card = card(builder);
    card.set_touch_policy(KeySlot::Signature, policy);
    card
}

// The PIN.

#[test]
fn a_wrong_pin_costs_a_try_and_the_right_one_still_works() {
    for personality in PERSONALITIES {
        let card = card(VirtualCard::builder().personality(personality()));
        let key = key(&card);
        let mut person = Person::with_pins(&["654321"]);
        let error = approve(&card, &key, &mut person).unwrap_err();
        assert!(matches!(error, CardError::WrongPin { tries_left: Some(2) }), "{error:?}");
        assert_eq!(person.asked, 2, "the second time there was none");

        let mut person = Person::with_pins(&["654321", PIN]);
        approve(&card, &key, &mut person).unwrap();
        assert_eq!(card.pin_tries()[0], 3);
    }
}

#[test]
fn a_blocked_pin_is_not_asked_for() {
    for personality in PERSONALITIES {
        let card = card(VirtualCard::builder().personality(personality()));
        let key = key(&card);
        let mut person = Person::with_pins(&["654321", "654321", "654321", PIN]);
        let error = approve(&card, &key, &mut person).unwrap_err();
        assert!(matches!(error, CardError::PinBlocked), "{error:?}");
        assert_eq!(person.asked, 3);

        let mut person = Person::with_pins(&[PIN]);
        let error = approve(&card, &key, &mut person).unwrap_err();
        assert!(matches!(error, CardError::PinBlocked), "{error:?}");
        assert_eq!((person.asked, verifies(&card)), (0, 3));
    }
}

#[test]
fn a_pin_of_impossible_length_is_never_sent() {
    let short = Pin::new(b"12345".to_vec().into()).unwrap_err();
    assert!(matches!(short, CardError::PinTooShort { length: 5, min: 6 }), "{short:?}");
    // A card whose PW status bytes allow 32 bytes: the virtual card's own answer with that byte changed.
    let card = card(VirtualCard::builder());
    let key = key(&card);
    send(&card, SELECT);
    let mut answer = card.transmit(&[0x00, 0xca, 0x00, 0x6e, 0, 0, 0]).unwrap();
    let status = answer.windows(2).position(|bytes| bytes == [0xc4, 0x07]).unwrap();
    answer[status + 3] = 32;
    card.add_fault(Fault::on(Pattern::header(0xca, 0x00, 0x6e), Effect::Replace(answer)));
    let error = approve(&card, &key, &mut Person::with_pins(&[&"7".repeat(33)])).unwrap_err();
    assert!(matches!(error, CardError::PinTooLong { length: 33, max: 32 }), "{error:?}");
    assert_eq!(verifies(&card), 0);
    let mut person = Person::default();
    let error = approve(&card, &key, &mut person).unwrap_err();
    assert!(matches!(error, CardError::NoPin { .. }), "{error:?}");
}

/// The KDF object of OpenPGP card 3.4.1, section 4.3.2: salts, count and hashes from the example there.
fn use_kdf(card: &VirtualCard) {
    let mut object = vec![0x81, 1, 3, 0x82, 1, 8, 0x83, 4];
    object.extend(100_000u32.to_be_bytes());
    object.extend([&[0x84, 8][..], b"01234567", &[0x85, 8], b"89012345", &[0x86, 8], b"ABCDEFGH"].concat());
    for (tag, hash) in [
        (0x87, "773784A602B6C81E3F092F4D7D00E17CC822D88F7360FCF2D2EF2D9D901F44B6"),
        (0x88, "2675D6164A0D4827D1D00C7EEA620D015C00030A1CAB38B4D0DD600B27DC9630"),
    ] {
        object.extend([tag, 32]);
        object.extend((0..64).step_by(2).map(|i| u8::from_str_radix(&hash[i..i + 2], 16).unwrap()));
    }
    send(card, SELECT);
    send(card, &command([0x00, 0x20, 0x00, 0x83], b"12345678"));
    send(card, &command([0x00, 0xda, 0x00, 0xf9], &object));
    card.reset();
}

#[test]
fn derived_pins_are_derived() {
    for personality in PERSONALITIES {
        let card = card(VirtualCard::builder().personality(personality()));
        let key = key(&card);
        use_kdf(&card);
        approve(&card, &key, &mut Person::with_pins(&[PIN])).unwrap();
        assert!(look(&card).unwrap().details(&patience()).unwrap().kdf_in_use);
        let error = approve(&card, &key, &mut Person::with_pins(&["654321"])).unwrap_err();
        assert!(matches!(error, CardError::WrongPin { tries_left: Some(2) }), "{error:?}");
    }
}

#[test]
fn a_kdf_object_that_cannot_be_read_costs_no_try() {
    for personality in PERSONALITIES {
        for effect in [
            Effect::NoAnswer,
            Effect::EmptyAnswer,
            Effect::Garbage,
            Effect::Truncated(1),
            Effect::Truncated(3),
            Effect::Status(0x6f00),
            Effect::Status(0x6982),
            Effect::Replace(vec![0x81, 0x01, 0x07, 0x90, 0x00]),
            Effect::RemovedBefore,
            Effect::RemovedAfter,
        ] {
            let card = card(VirtualCard::builder().personality(personality()));
            let key = key(&card);
            use_kdf(&card);
            card.add_fault(Fault::on(Pattern::header(0xca, 0x00, 0xf9), effect.clone()));
            let error = approve(&card, &key, &mut Person::with_pins(&[PIN])).unwrap_err();
            assert_eq!((card.pin_tries()[0], verifies(&card)), (3, 0), "{effect:?}: {error:?}");
        }
    }
}

#[test]
fn a_card_without_the_kdf_object_gets_the_pin_itself() {
    let card = card(VirtualCard::builder());
    let key = key(&card);
    card.add_fault(Fault::on(Pattern::header(0xca, 0x00, 0xf9), Effect::Status(0x6a88)));
    approve(&card, &key, &mut Person::with_pins(&[PIN])).unwrap();
    card.add_fault(Fault::on(Pattern::header(0xca, 0x00, 0xf9), Effect::Replace(vec![0x90, 0x00])));
    approve(&card, &key, &mut Person::with_pins(&[PIN])).unwrap();
}

/// A reader with keys of its own, at which somebody types.
struct Pinpad {
    card: VirtualCard,
    typed: &'static [u8],
}

struct PinpadBackend(Box<dyn CardBackend + Send + Sync>, &'static [u8]);

struct PinpadTransaction<'a>(Box<dyn CardTransaction + Send + Sync + 'a>, &'static [u8]);

impl Slot for Pinpad {
    fn name(&self) -> &str {
        "pinpad"
    }
    fn route(&self) -> Route {
        Route::Direct
    }
    fn connect(&self, _: Purpose) -> Result<Connection, CardError> {
        Ok(Connection {
            backend: Box::new(PinpadBackend(self.card.backend().into(), self.typed)),
            atr: self.card.atr(),
            presence: Some(Presence(String::new())),
            pinpad: true,
        })
    }
    fn diagnose(&self, _: &str, _: Option<&Presence>) -> Option<CardError> {
        None
    }
}

impl CardBackend for PinpadBackend {
    fn limit_card_caps(&self, caps: CardCaps) -> CardCaps {
        caps
    }
    fn transaction(
        &mut self,
        reselect: Option<&[u8]>,
    ) -> Result<Box<dyn CardTransaction + Send + Sync + '_>, SmartcardError> {
        Ok(Box::new(PinpadTransaction(self.0.transaction(reselect)?, self.1)))
    }
}

impl CardTransaction for PinpadTransaction<'_> {
    fn transmit(&mut self, command: &[u8], room: usize) -> Result<Vec<u8>, SmartcardError> {
        self.0.transmit(command, room)
    }
    fn feature_pinpad_verify(&self) -> bool {
        true
    }
    fn feature_pinpad_modify(&self) -> bool {
        false
    }
    fn pinpad_verify(&mut self, pin: PinType, _: &Option<CardCaps>) -> Result<Vec<u8>, SmartcardError> {
        match self.1 {
            b"" => Ok(vec![0x64, 0x01]),
            typed => self.0.transmit(&command([0x00, 0x20, 0x00, pin.id()], typed), 258),
        }
    }
    fn pinpad_modify(&mut self, _: PinType, _: &Option<CardCaps>) -> Result<Vec<u8>, SmartcardError> {
        unreachable!()
    }
    fn was_reset(&self) -> bool {
        self.0.was_reset()
    }
}

#[test]
fn a_pin_typed_at_the_reader() {
    let card = card(VirtualCard::builder());
    let key = key(&card);
    let sign = |typed: &'static [u8]| {
        let mut token = Token::look(Arc::new(Pinpad { card: card.clone(), typed }), &patience()).unwrap();
        assert!(token.info().pinpad);
        let mut person = Person { pins: [PinEntry::Pinpad].into(), ..Person::default() };
        let outcome = sign_with(&mut token, &key, &mut person, patience());
        (outcome, token.apdus())
    };
    let (outcome, apdus) = sign(PIN.as_bytes());
    outcome.unwrap();
    assert_eq!(apdus, 6);
    let (outcome, _) = sign(b"654321");
    assert!(matches!(outcome, Err(CardError::WrongPin { tries_left: Some(2) })), "{outcome:?}");
    let (outcome, _) = sign(b"");
    assert!(matches!(outcome, Err(CardError::NoPin { .. })), "{outcome:?}");
    // What is typed there cannot be derived here.
    use_kdf(&card);
    let (outcome, _) = sign(PIN.as_bytes());
    assert!(matches!(outcome, Err(CardError::Kdf { .. })), "{outcome:?}");
    assert_eq!(card.pin_tries()[0], 3);
}

#[test]
fn what_was_exchanged_is_kept_without_the_pin() {
    let card = card(VirtualCard::builder());
    let key = key(&card);
    let mut token = look(&card).unwrap();
    sign_with(&mut token, &key, &mut Person::with_pins(&["654321"]), patience()).unwrap_err();
    let exchanges = token.exchanges();
    assert_eq!(exchanges.len(), token.apdus());
    let verify = exchanges.iter().find(|exchange| exchange.command[1] == 0x20).unwrap();
    assert_eq!((verify.command.as_slice(), verify.masked), (&[0x00, 0x20, 0x00, 0x81][..], true));
}

// The touch.

#[test]
fn the_person_is_told_of_a_touch_only_if_there_may_be_one() {
    for (policy, told) in [
        (TouchPolicy::Off, vec![]),
        (TouchPolicy::On, vec![TouchNeed::Always]),
        (TouchPolicy::Fixed, vec![TouchNeed::Always]),
        (TouchPolicy::Cached, vec![TouchNeed::Perhaps]),
        (TouchPolicy::CachedFixed, vec![TouchNeed::Perhaps]),
    ] {
        let card = touch_card(Personality::default(), policy, Finger::Now);
        let key = key(&card);
        let mut person = Person::with_pins(&[PIN]);
        approve(&card, &key, &mut person).unwrap();
        assert_eq!(person.touches, told, "{policy:?}");
    }
}

#[test]
fn a_missed_touch_is_no_wrong_pin() {
    for personality in PERSONALITIES {
        let card = touch_card(personality(), TouchPolicy::On, Finger::Never);
        let key = key(&card);
        let mut person = Person::with_pins(&[PIN]);
        let error = approve(&card, &key, &mut person).unwrap_err();
        assert!(matches!(error, CardError::NotTouched { .. }), "{error:?}");
        assert_eq!((person.missed, card.pin_tries()[0], card.signature_count()), (1, 3, 0));
    }
}

#[test]
fn trying_the_touch_again_needs_no_pin() {
    let script = Finger::Script(vec![Gesture::Never, Gesture::Now]);
    let card = touch_card(Personality::default(), TouchPolicy::On, script.clone());
    let key_of = key(&card);
    let mut person = Person { retries: 5, ..Person::with_pins(&[PIN]) };
    approve(&card, &key_of, &mut person).unwrap();
    assert_eq!((person.asked, person.missed, verifies(&card)), (1, 1, 1));
    assert_eq!(person.touches.len(), 2);

    // A plain card says 6982, at once on this clock: it may have forgotten the PIN, so that is presented again.
    let script = Finger::Script(vec![Gesture::Never, Gesture::Never, Gesture::Now]);
    let card = touch_card(Personality::Plain, TouchPolicy::On, script);
    let key_of = key(&card);
    let mut person = Person { retries: 5, ..Person::with_pins(&[PIN]) };
    approve(&card, &key_of, &mut person).unwrap();
    assert_eq!(person.asked, 1);
    // Unless this machine was so slow that the answer did not come at once.
    assert!([(1, 2), (2, 1)].contains(&(person.missed, verifies(&card))), "{}", person.missed);
}

#[test]
fn somebody_who_thinks_long_frees_the_card_meanwhile() {
    struct Slow(Person, VirtualCard);
    impl touchgate::card::Attendant for Slow {
        fn pin(&mut self, request: &touchgate::card::PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
            self.0.pin(request)
        }
        fn touch_needed(&mut self, token: &touchgate::card::TokenInfo, need: TouchNeed) {
            self.0.touch_needed(token, need);
        }
        fn not_touched(&mut self, waited: Duration) -> bool {
            wait_until_let_go(&self.1);
            self.1.set_finger(Finger::Now);
            self.0.not_touched(waited)
        }
    }
    let card = touch_card(Personality::default(), TouchPolicy::On, Finger::Never);
    let key = key(&card);
    let mut token = look(&card).unwrap();
    let mut slow = Slow(Person { retries: 5, ..Person::with_pins(&[PIN]) }, card.clone());
    let mut signer = CardSigner::new(&mut token, key, &mut slow, patience()).unwrap();
    touchgate::sign::detached(&mut signer, STATEMENT, now()).unwrap();
    drop(signer);
    assert_eq!((slow.0.asked, verifies(&card)), (1, 2));
}

/// The end of a session resets the card; then nothing is selected on it. Of a command that the reset meets on its
/// way, no answer comes: that is not the end yet.
fn wait_until_let_go(card: &VirtualCard) {
    let until = std::time::Instant::now() + SOON;
    let let_go = || {
        card.transmit(&[0x00, 0xca, 0x00, 0xc4, 0x00]).is_ok_and(|answer| !answer.ends_with(&[0x90, 0x00]))
    };
    while !let_go() {
        assert!(std::time::Instant::now() < until);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn waiting_card() -> VirtualCard {
    let card = card(VirtualCard::builder().finger(Finger::Ask));
    card.set_touch_policy(KeySlot::Signature, TouchPolicy::On);
    card
}

#[test]
fn cancelling_while_the_touch_is_awaited_frees_the_person_at_once() {
    let card = waiting_card();
    let key = key(&card);
    let patience = patience();
    let cancel = Arc::clone(&patience.cancel);
    let watched = card.clone();
    let mut person = Person::with_pins(&[PIN]);
    person.on_touch = Some(Box::new(move || {
        assert!(watched.wait_until_touch_awaited(SOON));
        cancel.store(true, Ordering::Relaxed);
    }));
    let error = sign_with(&mut look(&card).unwrap(), &key, &mut person, patience).unwrap_err();
    assert!(matches!(error, CardError::Cancelled { .. }), "{error:?}");
    assert!(card.awaits_touch(), "the card itself cannot be called off");
    // Afterwards it is as good as before.
    assert!(card.press());
    wait_until_let_go(&card);
    card.set_finger(Finger::Now);
    approve(&card, &key, &mut Person::with_pins(&[PIN])).unwrap();
}

#[test]
fn the_deadline_ends_the_wait_for_the_touch() {
    let ended = (0..8).any(|round| {
        let card = waiting_card();
        let key = key(&card);
        let mut person = Person::with_pins(&[PIN]);
        // On a busy machine the first, short times may be over before the card waits.
        let patience = Patience::lasting(Duration::from_millis(500 << round));
        let error = sign_with(&mut look(&card).unwrap(), &key, &mut person, patience).unwrap_err();
        card.pull();
        assert!(matches!(error, CardError::OutOfTime { .. }), "{error:?}");
        matches!(error, CardError::OutOfTime { doing: Doing::Touch, .. })
    });
    assert!(ended);
}

#[test]
fn pulled_while_the_touch_is_awaited() {
    let card = waiting_card();
    let key = key(&card);
    let mut person = Person::with_pins(&[PIN]);
    let pulled = card.clone();
    person.on_touch = Some(Box::new(move || {
        assert!(pulled.wait_until_touch_awaited(SOON));
        pulled.pull();
    }));
    let error = approve(&card, &key, &mut person).unwrap_err();
    assert!(matches!(error, CardError::Removed), "{error:?}");
    card.insert();
    card.set_finger(Finger::Now);
    approve(&card, &key, &mut Person::with_pins(&[PIN])).unwrap();
}

// The card itself.

/// Makes the card, counts the APDUs of an approval, then breaks each of them in turn.
fn at_every_apdu(make: &dyn Fn() -> VirtualCard, effect: &Effect) -> Vec<Result<Vec<u8>, CardError>> {
    let whole = make();
    let key = key(&whole);
    let before = whole.command_count();
    approve(&whole, &key, &mut Person::with_pins(&[PIN])).unwrap();
    let cost = whole.command_count() - before;
    (0..cost)
        .map(|index| {
            let card = make();
            card.add_fault(Fault::at(card.command_count() + index, effect.clone()));
            let outcome = approve(&card, &key, &mut Person::with_pins(&[PIN]));
            assert!(!card.awaits_touch());
            card.clear_faults();
            card.insert();
            // Whatever happened, the next approval works.
            approve(&card, &key, &mut Person::with_pins(&[PIN])).unwrap();
            outcome
        })
        .collect()
}

fn makers() -> Vec<Box<dyn Fn() -> VirtualCard>> {
    let mut all: Vec<Box<dyn Fn() -> VirtualCard>> = Vec::new();
    for personality in PERSONALITIES {
        for (extended, chaining) in [(true, true), (false, true), (false, false)] {
            all.push(Box::new(move || {
                let builder = VirtualCard::builder().personality(personality());
                card(builder.extended_length(extended).command_chaining(chaining))
            }));
        }
    }
    all
}

#[test]
fn pulled_at_every_single_apdu() {
    let mut positions = 0;
    for make in makers() {
        for effect in [Effect::RemovedBefore, Effect::RemovedAfter] {
            for (index, outcome) in at_every_apdu(&make, &effect).into_iter().enumerate() {
                positions += 1;
                assert!(matches!(outcome, Err(CardError::Removed)), "{effect:?} at {index}: {outcome:?}");
            }
        }
    }
    // Six APDUs with extended length, more without.
    assert!(positions >= 2 * 2 * (6 + 6 + 6), "{positions}");
}

#[test]
fn nonsense_at_every_single_apdu() {
    for make in makers() {
        for effect in [
            Effect::NoAnswer,
            Effect::EmptyAnswer,
            Effect::Truncated(1),
            Effect::Truncated(2),
            Effect::Garbage,
            Effect::Status(0x6f00),
            Effect::Status(0x6a80),
            Effect::Status(0x6c05),
            Effect::Status(0x6110),
            Effect::Replace(vec![0x6e, 0x84, 0xff, 0xff, 0xff, 0xff, 0x90, 0x00]),
            Effect::Replace([&[0xff; 300][..], &[0x90, 0x00]].concat()),
        ] {
            for (index, outcome) in at_every_apdu(&make, &effect).into_iter().enumerate() {
                // Where nonsense passes it was not needed; where it does not, it is no panic.
                if let Err(error) = outcome {
                    assert!(!matches!(error, CardError::Fault), "{effect:?} at {index}: {error:?}");
                }
            }
        }
    }
}

#[test]
fn a_signature_that_is_not_by_the_key_never_leaves() {
    let signing = card(VirtualCard::builder().seed([1; 32]));
    let other = card(VirtualCard::builder().seed([2; 32]));
    let error = approve(&signing, &key(&other), &mut Person::with_pins(&[PIN])).unwrap_err();
    assert!(matches!(error, CardError::KeyMismatch { .. }), "{error:?}");

    let card = card(VirtualCard::builder());
    let right = key(&card);
    card.add_fault(Fault::on(
        Pattern::header(0x2a, 0x9e, 0x9a),
        Effect::Replace([&[1; 64][..], &[0x90, 0x00]].concat()),
    ));
    let error = approve(&card, &right, &mut Person::with_pins(&[PIN])).unwrap_err();
    assert!(matches!(error, CardError::KeyMismatch { .. }), "{error:?}");
    card.add_fault(Fault::on(Pattern::header(0x2a, 0x9e, 0x9a), Effect::Replace(vec![1, 2, 3, 0x90, 0x00])));
    let error = approve(&card, &right, &mut Person::with_pins(&[PIN])).unwrap_err();
    assert!(matches!(error, CardError::Malformed { .. }), "{error:?}");
}

#[test]
fn a_card_without_a_key() {
    let empty = VirtualCard::builder().build();
    let key = key(&card(VirtualCard::builder()));
    let mut person = Person::with_pins(&[PIN]);
    let error = approve(&empty, &key, &mut person).unwrap_err();
    assert!(matches!(error, CardError::NoSignatureKey { .. }), "{error:?}");
    assert_eq!(person.asked, 0);
}

#[test]
fn keys_that_do_not_sign_are_refused_before_anything_is_asked() {
    use sequoia_openpgp::packet::Key;
    use sequoia_openpgp::packet::key::Key4;
    let mut token = look(&card(VirtualCard::builder())).unwrap();
    let decryption = Key4::import_public_x25519(&[9; 32], now()).unwrap();
    let mut person = Person::default();
    let error = CardSigner::new(&mut token, Key::from(decryption), &mut person, patience()).err().unwrap();
    assert!(matches!(error, CardError::UnsupportedAlgorithm { .. }), "{error:?}");
}

#[test]
fn no_card_and_no_application() {
    let pulled = card(VirtualCard::builder());
    pulled.pull();
    assert!(matches!(look(&pulled), Err(CardError::NoCard { .. })));

    let other = card(VirtualCard::builder());
    other.add_fault(Fault::on(Pattern::instruction(0xa4), Effect::Status(0x6a82)));
    assert!(matches!(look(&other), Err(CardError::NoApplication { .. })));
}

// Another card than before.

fn slot(
    card: &VirtualCard,
    presence: impl Fn() -> Option<Presence> + Send + Sync + 'static,
) -> Arc<InProcess> {
    let opened = card.clone();
    Arc::new(InProcess::new("test", card.atr(), move |_| Ok(opened.backend().into()), presence))
}

#[test]
fn a_card_that_was_out_meanwhile_is_not_the_same() {
    let card = card(VirtualCard::builder());
    let key = key(&card);
    let moved = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&moved);
    let place = slot(&card, move || Some(Presence(seen.load(Ordering::Relaxed).to_string())));
    let mut token = Token::look(place, &patience()).unwrap();
    moved.store(true, Ordering::Relaxed);
    let mut person = Person::with_pins(&[PIN]);
    let error = sign_with(&mut token, &key, &mut person, patience()).unwrap_err();
    assert!(matches!(error, CardError::Changed { .. }), "{error:?}");
    assert_eq!(verifies(&card), 0);
}

/// A place that cannot tell whether the card was exchanged.
struct Blind(Arc<Mutex<VirtualCard>>);

impl Slot for Blind {
    fn name(&self) -> &str {
        "blind"
    }
    fn route(&self) -> Route {
        Route::InProcess
    }
    fn connect(&self, _: Purpose) -> Result<Connection, CardError> {
        let card = self.0.lock().unwrap().clone();
        Ok(Connection { backend: card.backend().into(), atr: card.atr(), presence: None, pinpad: false })
    }
    fn diagnose(&self, _: &str, _: Option<&Presence>) -> Option<CardError> {
        None
    }
}

#[test]
fn without_a_mark_of_presence_the_card_is_read_again() {
    let first = card(VirtualCard::builder().seed([1; 32]).serial(1));
    let second = card(VirtualCard::builder().seed([2; 32]).serial(2));
    let key = key(&first);
    let place = Arc::new(Mutex::new(first));
    let mut token = Token::look(Arc::new(Blind(Arc::clone(&place))), &patience()).unwrap();
    sign_with(&mut token, &key, &mut Person::with_pins(&[PIN]), patience()).unwrap();
    assert_eq!(token.apdus(), 7);
    *place.lock().unwrap() = second.clone();
    let error = sign_with(&mut token, &key, &mut Person::with_pins(&[PIN]), patience()).unwrap_err();
    assert!(matches!(error, CardError::Changed { .. }), "{error:?}");
    assert_eq!(verifies(&second), 0);
}

// Which card.

fn present(serial: u32) -> Reader {
    let token = look(&card(VirtualCard::builder().serial(serial))).unwrap();
    Reader { name: format!("reader of {serial}"), state: ReaderState::Present(Box::new(token)) }
}

fn other(state: ReaderState) -> Reader {
    Reader { name: "other".to_owned(), state }
}

#[test]
fn one_card_is_taken_several_are_listed() {
    assert_eq!(
        pick(vec![present(1), other(ReaderState::Empty)], None).unwrap().info().ident.to_string(),
        "1"
    );
    let error = pick(vec![present(1), present(2)], None).unwrap_err();
    let CardError::Several { list } = &error else { panic!("{error:?}") };
    assert_eq!(list.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1", "2"]);
    let wanted = "2".parse().unwrap();
    assert_eq!(pick(vec![present(1), present(2)], Some(wanted)).unwrap().info().ident, wanted);
    let error = pick(vec![present(1)], Some(wanted)).unwrap_err();
    assert!(matches!(error, CardError::NotFound { ref seen, .. } if seen.len() == 1), "{error:?}");
}

#[test]
fn a_card_that_cannot_be_opened_is_never_called_absent() {
    let in_use = || other(ReaderState::InUse(Holder::Unknown));
    let unreadable = || other(ReaderState::Unreadable(CardError::Pcsc { message: "x".to_owned() }));
    let wanted = Some("2".parse().unwrap());
    assert!(matches!(pick(vec![], None), Err(CardError::NoReader)));
    assert!(matches!(pick(vec![other(ReaderState::Empty)], None), Err(CardError::NoCard { .. })));
    assert!(matches!(pick(vec![other(ReaderState::Empty)], wanted), Err(CardError::NoCard { .. })));
    assert!(matches!(pick(vec![in_use(), other(ReaderState::Empty)], None), Err(CardError::InUse { .. })));
    assert!(matches!(pick(vec![present(1), in_use()], wanted), Err(CardError::InUse { .. })));
    assert!(matches!(pick(vec![unreadable(), in_use()], wanted), Err(CardError::InUse { .. })));
    assert!(matches!(pick(vec![unreadable(), present(1)], wanted), Err(CardError::Pcsc { .. })));
}

#[test]
fn algorithms_are_named() {
    let card = card_with(VirtualCard::builder(), Algorithm::NistP384);
    let token = look(&card).unwrap();
    assert_eq!(token.info().signature_key.as_ref().unwrap().algorithm.to_string(), "NIST P-384");
}
