//! The suite on the virtual card in this process, as each kind of card that it plays.
#![allow(clippy::unwrap_used)]

use hw_tests::card::InProcess;
use hw_tests::runner::Tools;
use hw_tests::script::{Script, folder};
use hw_tests::suite::run_all;
use virtual_openpgp_card::{Firmware, Personality};

fn all_scripts_pass(personality: Personality) {
    let scripts = Script::load(&folder()).unwrap();
    let tally = run_all(&scripts, &mut InProcess::new(personality), &Tools::new().unwrap(), |_, failure| {
        if let Some(failure) = failure {
            println!("{failure}");
        }
    });
    assert!(tally.failures.is_empty(), "{} scripts failed, see above", tally.failures.len());
    assert_eq!(tally.passed + tally.skipped, scripts.len());
    assert!(tally.passed > scripts.len() / 2);
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
