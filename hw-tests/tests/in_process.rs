//! The suite on the virtual card in this process, as each kind of card that it plays.
#![allow(clippy::panic, clippy::unwrap_used)]

use hw_tests::card::InProcess;
use hw_tests::runner::{self, Tools};
use hw_tests::script::{Script, card_name, folder};
use virtual_openpgp_card::{Firmware, Personality};

fn all_scripts_pass(personality: Personality) {
    let scripts = Script::load(&folder()).unwrap_or_else(|error| panic!("{error}"));
    let tools = Tools::new().unwrap();
    let mut failures = Vec::new();
    let mut run = 0;
    for script in &scripts {
        match runner::run(script, &mut InProcess::new(personality), &tools) {
            Ok(for_this_card) => run += usize::from(for_this_card),
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    let name = card_name(personality);
    assert!(failures.is_empty(), "on {name}:\n{}", failures.join("\n"));
    println!("{run} of {} scripts on {name}", scripts.len());
    assert!(run > 0);
}

#[test]
fn on_a_plain_card() {
    all_scripts_pass(Personality::Plain);
}

#[test]
fn on_a_yubikey_5_2_7() {
    all_scripts_pass(Personality::Yubikey(Firmware::V5_2_7));
}

#[test]
fn on_a_yubikey_5_4_3() {
    all_scripts_pass(Personality::Yubikey(Firmware::V5_4_3));
}

#[test]
fn on_a_yubikey_5_7_4() {
    all_scripts_pass(Personality::Yubikey(Firmware::V5_7_4));
}
