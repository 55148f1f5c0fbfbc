//! Cut off at every command, once and twice: the next run comes to the same end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![cfg(all(unix, feature = "virtual-card"))]

mod provision_support;

use provision_support::*;
use sequoia_openpgp::Cert;
use touchgate::card::provision::ProvisionError;
use virtual_openpgp_card::{Effect, Fault, Pattern, Personality, VirtualCard};

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
    let desk = Desk::with(&whole(personality), security);
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
    card.clear_faults();
    let secrets = Secrets::of(&done, &desk.security);
    secrets.assert_work(card);
    finish(done);
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
            let desk = Desk::with(&whole(personality), &security);
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

/// Power is lost, the process too: the token comes back from its own memory, the run from its folder.
#[test]
fn a_token_that_is_opened_again_goes_on() {
    let security = security();
    let personality = PERSONALITIES[2];
    let positions = commands(personality, &security);
    for at in (0..positions).step_by(5) {
        for effect in [Effect::PowerLostBeforeWrite, Effect::PowerLostAfterWrite] {
            let desk = Desk::with(&whole(personality), &security);
            let memory = desk.folder.path().join("card.state");
            let open = || VirtualCard::builder().personality(personality).open(&memory).unwrap();
            let card = open();
            card.add_fault(Fault::at(at, effect.clone()));
            let cut = desk.run(&card);
            drop((card, cut));
            converges(&open(), &desk, 0, &format!("{effect:?} at {at}"));
        }
    }
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
            let desk = Desk::with(&whole(personality), &security);
            let what =
                format!("{personality:?}, {one:?} at {first}, {other:?} {} later", 1 + second % positions);
            converges(&card, &desk, 2, &what);
            tried += 1;
        }
    }
    println!("{tried} pairs");
}

/// The worst place: nobody knows whether the admin PIN changed, and each answer that would tell is lost too.
#[test]
fn answers_lost_while_the_admin_pin_is_in_doubt_cost_no_more_than_one_wrong_try() {
    let security = security();
    let verify = Pattern::header(0x20, 0x00, 0x83);
    let mut tried = 0;
    for personality in [PERSONALITIES[2], PERSONALITIES[3]] {
        for changed in [Effect::PowerLostBeforeWrite, Effect::PowerLostAfterWrite] {
            for (first, second) in EFFECTS.iter().flat_map(|one| EFFECTS.iter().map(move |two| (one, two))) {
                let what = format!("{personality:?}, {changed:?}, {first:?}, {second:?}");
                let card = card(personality);
                let desk = Desk::with("[pin]\nuser = \"random\"\n", &security);
                card.add_fault(Fault::on(Pattern::instruction(0x24), changed.clone()));
                for lost in [None, Some(first), Some(second)] {
                    if let Some(effect) = lost {
                        card.add_fault(Fault::on(verify, effect.clone()));
                    }
                    assert!(desk.run(&card).is_err(), "{what}");
                    card.insert();
                    assert!(card.pin_tries()[2] >= 2, "{what}: {:?}", card.pin_tries());
                }
                converges(&card, &desk, 0, &what);
                tried += 1;
            }
        }
    }
    println!("{tried} ways");
}
