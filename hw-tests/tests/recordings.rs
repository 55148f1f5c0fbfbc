//! The suite on recordings: the scripts that name one send what was sent then, byte for byte, and nothing is left.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{env, fs};

use hw_tests::card::InProcess;
use hw_tests::record::{self, Played, Recorded};
use hw_tests::runner::{Tools, run};
use hw_tests::script::{Script, card_name, folder};
use virtual_openpgp_card::Personality;
use virtual_openpgp_card::replay::Replay;

/// Every script that names a recording, with the card and the file.
fn recordings() -> Vec<(Script, Personality, PathBuf)> {
    let scripts = Script::load(&folder()).unwrap();
    let of = |script: Script| {
        let cards = script.recorded.clone().into_iter();
        cards.map(move |card| (script.clone(), card, record::file(&script, card)))
    };
    scripts.into_iter().flat_map(of).collect()
}

/// With this variable set, the recordings are written anew.
#[test]
fn the_recordings_are_what_the_card_in_process_still_says() {
    let tools = Tools::new().unwrap();
    for (script, card, file) in recordings() {
        let mut recorded = Recorded::new(InProcess::new(card));
        assert!(run(&script, &mut recorded, &tools).unwrap(), "{} is not for that card", script.name);
        let heading = format!(
            "# {}\n# {}.script on the virtual card: {}\n",
            script.title,
            script.name,
            card_name(card)
        );
        let transcript = format!("{heading}{}", recorded.transcript());
        if env::var_os("RECORD_CARD_TRANSCRIPTS").is_some() {
            fs::create_dir_all(record::folder()).unwrap();
            fs::write(&file, &transcript).unwrap();
        }
        let before = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(transcript, before, "{}: set RECORD_CARD_TRANSCRIPTS if that is right", file.display());
    }
}

#[test]
fn the_scripts_run_on_their_recordings() {
    let tools = Tools::new().unwrap();
    let recordings = recordings();
    assert!(!recordings.is_empty());
    for (script, _, file) in recordings {
        let replay = Replay::parse(&fs::read_to_string(&file).unwrap()).unwrap();
        let ran = run(&script, &mut Played(replay.clone()), &tools);
        assert!(ran.unwrap(), "{}", file.display());
        replay.finish().unwrap();
    }
}

#[test]
fn a_script_that_does_something_else_is_found_out() {
    let tools = Tools::new().unwrap();
    let (mut script, _, file) =
        recordings().into_iter().find(|(script, ..)| script.name == "sign-ed25519").unwrap();
    let text = fs::read_to_string(&file).unwrap();

    let last = script.steps.pop().unwrap();
    let replay = Replay::parse(&text).unwrap();
    run(&script, &mut Played(replay.clone()), &tools).unwrap();
    assert_eq!(replay.finish().unwrap_err().to_string().split(' ').next(), Some("1"), "one exchange is left");

    script.steps.extend([last.clone(), last]);
    let replay = Replay::parse(&text).unwrap();
    let failure = run(&script, &mut Played(replay.clone()), &tools).unwrap_err();
    assert!(failure.to_string().contains("the transcript has ended"), "{failure}");
}

#[test]
fn every_recording_belongs_to_a_script() {
    let wanted: BTreeSet<PathBuf> = recordings().into_iter().map(|(.., file)| file).collect();
    let there = fs::read_dir(record::folder()).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(there.collect::<BTreeSet<_>>(), wanted);
}
