//! `card reset`: a token as it was delivered.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::card::admin::{Contents, Reset, activate};
use crate::card::{CardError, Ident, Patience, Tape, select};
use crate::cli::Common;
use crate::cli::report::{Failure, Outcome, Report};
use crate::cli::secret::typed;
use crate::cli::work::{self, Desk};

// Arguments of `card reset`.
#[derive(Args, Debug)]
#[command(
    before_help = "Example:\n  touchgate card reset                      says what is lost, and has the token's number typed back\n  touchgate card reset --erase 12345678     the same without asking"
)]
pub(super) struct Arguments {
    /// Everything on the token with this number may be erased
    #[arg(long, value_name = "SERIAL")]
    erase: Option<Ident>,
}

/// Says what is lost, has that confirmed, and resets.
pub(super) fn reset(common: &Common, arguments: &Arguments) -> Outcome {
    let desk = Desk::new(common, None)?;
    let patience = desk.patience(work::soon());
    // Asked for first, since a token whose reset was cut off is found by nothing else.
    if let Some(report) = ended_before(common, &patience)? {
        return Ok(report);
    }
    let mut token = work::find_token(common, &patience)?;
    let ident = token.info().ident;
    let contents = token.contents(&patience)?;
    desk.show(&warning(ident, &contents));
    confirm(&desk, arguments, ident)?;
    let reset = token.reset(&patience)?;
    let keys: Map<String, Value> = contents
        .keys
        .iter()
        .map(|(slot, key)| (slot.word().to_owned(), json!(key.as_ref().map(|key| key.to_hex()))))
        .collect();
    Ok(report(&ident.to_string(), reset).with("serial", ident.to_string()).with("erased", keys))
}

/// Ends a reset that was cut off, if the only card is one of that kind: nothing is left on it to lose.
fn ended_before(common: &Common, patience: &Patience) -> Result<Option<Report>, Failure> {
    match select::open(common.card_path, common.card, patience) {
        Err(CardError::Refused { sw: 0x6285, .. }) => {}
        _ => return Ok(None),
    }
    match select::terminated(patience)?.as_slice() {
        [] => Ok(None),
        [slot] => {
            let name = slot.name().to_owned();
            let reset = activate(slot, &Tape::default(), patience)?;
            Ok(reset.map(|reset| report(&format!("in {name}"), reset)))
        }
        several => Err(Failure::failed(
            "several-cards",
            format!("resets of {} tokens were cut off, and they do not say who they are", several.len()),
        )
        .hint("plug in one at a time")),
    }
}

fn warning(ident: Ident, contents: &Contents) -> String {
    let mut text = format!("This ERASES everything in the OpenPGP application of token {ident}:\n");
    for (slot, key) in &contents.keys {
        let fingerprint = key.as_ref().map_or("without a fingerprint".to_owned(), |key| key.to_hex());
        text.push_str(&format!("  the {} key {fingerprint}\n", slot.word()));
    }
    if contents.keys.is_empty() {
        text.push_str("  no keys\n");
    }
    text.push_str(
        "  certificates, cardholder data and private data objects, touch policies, tries\n  \
         PIN, admin PIN and resetting code: those of the factory again (123456 and 12345678), no code\n\
         What these keys encrypted cannot be read any more without a copy of them. A YubiKey's attestation key stays,\n\
         and so does everything in its other applications (FIDO, PIV, OATH).\n",
    );
    text
}

fn confirm(desk: &Desk, arguments: &Arguments, ident: Ident) -> Result<(), Failure> {
    let differs = |named: &str| {
        Failure::failed("would-erase", format!("this is token {ident}, not {named}"))
            .hint("nothing was changed; look at the token, and run the command again")
    };
    match (arguments.erase, &desk.terminal) {
        (Some(named), _) if named == ident => Ok(()),
        (Some(named), _) => Err(differs(&named.to_string())),
        (None, Some(terminal)) => {
            let line = typed(terminal.ask("Type the token's number to go on: "))?;
            let line = line.map(|line| String::from_utf8_lossy(&line).trim().to_owned()).unwrap_or_default();
            if line.parse() == Ok(ident) { Ok(()) } else { Err(differs("what was typed")) }
        }
        (None, None) => Err(Failure::usage("somebody must type the token's number, and nobody may be asked")
            .hint("nothing was changed; if everything on it may go, say --erase SERIAL")),
    }
}

fn report(name: &str, reset: Reset) -> Report {
    let text = format!(
        "token {name} is as it was delivered: no keys, PINs of the factory (123456 and 12345678)\n  \
         before anything else: `touchgate card provision`, or change both PINs\n"
    );
    Report::done(text).with("tries", json!(reset.tries))
}
