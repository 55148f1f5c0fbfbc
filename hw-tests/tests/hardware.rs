//! The suite on real tokens: those whose serials a person listed in `serials.txt`, **which are erased**.
//!
//! A program of its own rather than tests of the usual harness, since it speaks to the person who touches.

use std::process::ExitCode;
use std::time::Duration;

use hw_tests::library::go_through;
use hw_tests::measure::measure;
use hw_tests::pcsc_card::{PcscCard, Person};
use hw_tests::runner::Tools;
use hw_tests::script::{Script, folder};
use hw_tests::suite::{is_meant, run_all};
use hw_tests::{card::TestCard, serials};
use touchgate::card::Patience;
use touchgate::card::select::{CardPath, open};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if !is_meant("hardware", &arguments) {
        return ExitCode::SUCCESS;
    }
    match test_all() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("{failed} scripts failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn patience() -> Patience {
    Patience::lasting(Duration::from_secs(60))
}

/// How many scripts failed, on all tokens together.
fn test_all() -> Result<usize, Box<dyn std::error::Error>> {
    let tokens = serials::parse(&std::fs::read_to_string(serials::file())?)?;
    if tokens.is_empty() {
        println!("hardware: skipped, since hw-tests/serials.txt lists no token");
        return Ok(0);
    }
    let scripts = Script::load(&folder())?;
    let tools = Tools::new()?;
    let mut failed = 0;
    for token in tokens {
        println!("hardware: {token} will be erased, and is needed until the end");
        let mut card = PcscCard::new(token, Person::default());
        let tally = run_all(&scripts, &mut card, &tools, |script, failure| match failure {
            None => println!("ok      {}: {}", script.name, script.title),
            Some(failure) => println!("FAILED  {failure}"),
        });
        println!(
            "hardware: {token}: {} passed, {} failed, {} are for other cards",
            tally.passed,
            tally.failures.len(),
            tally.skipped
        );
        failed += tally.failures.len();
        card.renew()?;
        println!("hardware: {token}: hands off for a minute, then touch when it blinks");
        let measured = measure(&mut card)?;
        println!("hardware: {token}: for hw-tests/RESULTS.md\n{measured}");
        drop(card);
        let slot = open(CardPath::Direct, Some(token.to_string().parse()?), &patience())?.slot();
        let gone = go_through(&slot, tempfile::tempdir()?.path());
        if let Err(error) = gone {
            println!("FAILED  the library's functions: {error}");
            failed += 1;
        }
    }
    Ok(failed)
}
