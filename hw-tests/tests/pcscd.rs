//! The suite on the virtual card behind a real pcscd, as each kind of card that it plays, all four side by side.
//!
//! A program of its own rather than tests of the usual harness: it hosts the stage's helper processes, and it is its
//! own client, since the PC/SC library takes its socket from the environment once for a process.

use std::ffi::OsString;
use std::process::{ExitCode, Output};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, thread};

use hw_tests::card::{CardFailure, TestCard};
use hw_tests::library::go_through;
use hw_tests::measure::measure;
use hw_tests::pcsc_card::{Controlled, Hand as _, PcscCard};
use hw_tests::runner::Tools;
use hw_tests::script::{Script, Touching, folder};
use hw_tests::suite::{is_meant, run_all};
use touchgate::card::Patience;
use touchgate::card::select::{CardPath, open};
use virtual_openpgp_card::control;
use virtual_openpgp_card::stage::{self, CONTROL_VARIABLE};
use virtual_openpgp_card::{Finger, Personality, VirtualCard};

/// The cards, as their stage's arguments name them, and their serials.
const CARDS: [(&str, &str); 4] =
    [("plain", "000f:00c0ffe1"), ("5.2.7", "12345678"), ("5.4.3", "12345678"), ("5.7.4", "12345678")];

/// How long the virtual card waits for a touch here: nobody's finger is late, and the time is real.
const TOUCH_WINDOW: Duration = Duration::from_secs(1);

/// A card that does not answer ends the run after that time, not the patience of whoever waits for it. It takes half
/// a minute on an idle machine.
const GIVEN_UP: Duration = Duration::from_secs(600);

/// Runs the scripts in the stage that this process is in.
const CLIENT: &str = "--client";

type AnyError = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    if let Some(code) = stage::enter(&arguments, &mut make_card) {
        return code;
    }
    let passed = match arguments.iter().map(|word| word.to_str()).collect::<Vec<_>>().as_slice() {
        [Some(CLIENT), Some(card)] => client(card),
        _ if !is_meant("pcscd", &arguments) => Ok(true),
        _ => Ok(on_every_card()),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The stage's card.
fn make_card(arguments: &[OsString]) -> Result<VirtualCard, AnyError> {
    let name = arguments.first().and_then(|name| name.to_str()).ok_or("which card?")?;
    let personality = match name {
        "plain" => Personality::Plain,
        firmware => Personality::Yubikey(firmware.parse()?),
    };
    let builder = VirtualCard::builder().personality(personality).seed([7; 32]);
    Ok(builder.finger(Finger::Never).touch_window(TOUCH_WINDOW).build())
}

/// Sets a stage up for each card, and this program into it as its client.
fn on_every_card() -> bool {
    let threads = CARDS.map(|(name, _)| (name, thread::spawn(move || in_a_stage(name))));
    let mut passed = true;
    for (name, thread) in threads {
        match thread.join() {
            Ok(Ok(output)) => {
                passed &= output.status.success();
                print!("{}", String::from_utf8_lossy(&output.stdout));
                eprint!("{}", String::from_utf8_lossy(&output.stderr));
            }
            Ok(Err(error)) => {
                passed = false;
                eprintln!("pcscd: {name}: {error}");
            }
            // The panic was printed where it happened.
            Err(_) => passed = false,
        }
    }
    passed
}

fn in_a_stage(name: &str) -> Result<Output, String> {
    let stage = stage::Builder::new("/proc/self/exe").card([name]).start().map_err(|error| {
        let hint = error.hint().unwrap_or_default();
        format!("{error}; {hint}")
    })?;
    let program = env::current_exe().map_err(|error| error.to_string())?;
    stage.command(program).args([CLIENT, name]).output().map_err(|error| error.to_string())
}

/// Runs the suite on the card that is called so.
fn client(name: &str) -> Result<bool, AnyError> {
    let (_, serial) = CARDS.iter().find(|(card, _)| *card == name).ok_or("which card?")?;
    let hand = Controlled(env::var_os(CONTROL_VARIABLE).ok_or("there is no control socket")?.into());
    another_card_is_left_alone(&hand)?;
    let mut card = PcscCard::new(serial.parse()?, hand.clone());
    let done = Arc::new(Mutex::new("none".to_owned()));
    give_up_later(name.to_owned(), Arc::clone(&done));
    let tally = run_all(&Script::load(&folder())?, &mut card, &Tools::new()?, |script, failure| {
        done.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&script.name);
        if let Some(failure) = failure {
            println!("FAILED on {name}: {failure}");
        }
    });
    *done.lock().unwrap_or_else(PoisonError::into_inner) = "the measurements".to_owned();
    card.renew()?;
    let measured = measure(&mut card)?;
    println!("pcscd: {name}:\n{measured}");
    drop(card);
    let mut finger = hand;
    finger.finger(Touching::Now)?;
    let patience = Patience::lasting(GIVEN_UP);
    let slot = open(CardPath::Direct, Some(serial.parse()?), &patience)?.slot();
    go_through(&slot, tempfile::tempdir()?.path())?;
    let (passed, failed, skipped) = (tally.passed, tally.failures.len(), tally.skipped);
    println!("pcscd: {name}: {passed} scripts passed, {failed} failed, {skipped} are for other cards");
    Ok(failed == 0 && passed > 0)
}

/// A card whose serial was not asked for is asked for it, and nothing else happens to it.
fn another_card_is_left_alone(hand: &Controlled) -> Result<(), AnyError> {
    let commands = || control::ask(&hand.0, "trace count");
    let before: u32 = commands()?.parse()?;
    let refused = PcscCard::new("99999999".parse()?, hand.clone()).renew();
    if !matches!(refused, Err(CardFailure::NotFound { .. })) {
        return Err(format!("a card with another serial was taken: {refused:?}").into());
    }
    let seen = commands()?.parse::<u32>()? - before;
    if seen != 2 {
        return Err(format!("it saw {seen} commands, not SELECT and GET DATA alone").into());
    }
    Ok(())
}

/// Ends this process where a card does not answer: PC/SC has no time limit of its own.
fn give_up_later(name: String, done: Arc<Mutex<String>>) {
    thread::spawn(move || {
        thread::sleep(GIVEN_UP);
        let last = done.lock().unwrap_or_else(PoisonError::into_inner);
        println!("pcscd: {name}: no answer in the script after {last}: given up");
        std::process::exit(1);
    });
}
