//! Cut off at every command, once and twice: the next run comes to the same end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![cfg(all(unix, feature = "virtual-card"))]

mod provision_support;

use provision_support::*;
use sequoia_openpgp::Cert;
use touchgate::card::provision::ProvisionError;
use virtual_openpgp_card::{Effect, Fault, Personality, VirtualCard};

/// What can happen at a command: seen or not by the card, the token gone or not.
const EFFECTS: [Effect; 5] = [
    Effect::PowerLostBeforeWrite,
    Effect::PowerLostAfterWrite,
    Effect::RemovedBefore,
    Effect::RemovedAfter,
    Effect::NoAnswer,
];

/// The two that matter, for cards that differ little from another.
const SEEN_OR_NOT: [Effect; 2] = [Effect::PowerLostAfterWrite, Effect::RemovedBefore];

fn card(personality: Personality) -> VirtualCard {
    VirtualCard::builder().personality(personality).build()
}

/// Commands of a run that nothing disturbs.
fn commands(personality: Personality, security: &Cert) -> u64 {
    let card = card(personality);
    let desk = Desk::with(&everything(personality), security);
    finish(desk.run(&card).unwrap());
    card.command_count()
}

/// Runs until a run comes through, and looks at what came of it. `cuts` runs may fail.
fn converges(card: &VirtualCard, desk: &Desk, cuts: usize, what: &str) {
    let mut failed = 0;
    let done = loop {
        let outcome = desk.run(card);
        card.insert();
        // Not at any moment did a PIN come near to being blocked.
        let [user, _, admin] = card.pin_tries();
        assert!(user >= 2 && admin >= 1, "{what}: tries {:?}", card.pin_tries());
        match outcome {
            Ok(done) => break done,
            Err(ProvisionError::Card(_)) if failed < cuts => failed += 1,
            Err(error) => panic!("{what}: {error}"),
        }
    };
    let secrets = Secrets::of(&done, &desk.security);
    secrets.assert_work(card);
    finish(done);
    card.clear_faults();
    let again = desk.run(card).unwrap();
    assert!(again.steps.is_empty() && again.writes == 0, "{what}: {:?}", again.steps);
    secrets.assert_work(card);
}

fn every_command(personality: Personality, effects: &[Effect]) {
    let security = security();
    let positions = commands(personality, &security);
    for effect in effects {
        for at in 0..positions {
            let card = card(personality);
            card.add_fault(Fault::at(at, effect.clone()));
            let desk = Desk::with(&everything(personality), &security);
            converges(&card, &desk, 1, &format!("{personality:?}, {effect:?} at {at}"));
        }
    }
    println!("{personality:?}: {positions} positions, {} interrupted runs", positions * effects.len() as u64);
}

#[test]
fn a_yubikey_5_2_7_is_cut_off_at_every_command() {
    every_command(PERSONALITIES[0], &SEEN_OR_NOT);
}

#[test]
fn a_yubikey_5_4_3_is_cut_off_at_every_command() {
    every_command(PERSONALITIES[1], &SEEN_OR_NOT);
}

#[test]
fn a_yubikey_5_7_4_is_cut_off_at_every_command() {
    every_command(PERSONALITIES[2], &EFFECTS);
}

#[test]
fn a_plain_card_is_cut_off_at_every_command() {
    every_command(PERSONALITIES[3], &EFFECTS);
}

/// The second cut may strike the first run again, if the first one did not end it, or the one after.
#[test]
fn cut_off_twice_it_still_comes_to_the_same_end() {
    let security = security();
    let mut tried = 0;
    for personality in [PERSONALITIES[2], PERSONALITIES[3]] {
        let positions = commands(personality, &security);
        // Prime steps, so that in time every kind of pair comes up.
        for (first, second) in (0..positions).step_by(3).zip((0..2 * positions).step_by(7).cycle()) {
            let (one, other) = (&EFFECTS[(first % 5) as usize], &EFFECTS[(second % 5) as usize]);
            let card = card(personality);
            card.add_fault(Fault::at(first, one.clone()));
            card.add_fault(Fault::at(first + 1 + second % positions, other.clone()));
            let desk = Desk::with(&everything(personality), &security);
            let what =
                format!("{personality:?}, {one:?} at {first}, {other:?} {} later", 1 + second % positions);
            converges(&card, &desk, 2, &what);
            tried += 1;
        }
    }
    println!("{tried} pairs");
}
