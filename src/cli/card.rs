//! `card`: what tokens there are, what one says about itself and its keys, what changes one, and a virtual one.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::card::select::{self, ReaderState};
use crate::card::{CardError, Patience, Route, Token, TokenInfo, TouchNeed};
use crate::cli::Common;
use crate::cli::report::{Outcome, Report, printable};

/// How long a card that somebody else is using is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What can be done with tokens.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
pub(super) enum Command {
    /// Every reader and what is in it
    List,
    /// What one token says about itself
    Info(InfoArguments),
    /// Have a token attest one of its keys, or judge an attestation
    Attest(Box<super::attest::Arguments>),
    /// Make a token what a profile says, and have it prove that
    Provision(super::provision::Arguments),
    /// When the keys of a token want a touch
    Touch(super::touch::Arguments),
    /// Change PINs, unblock one, set how many tries they have
    #[command(subcommand)]
    Pin(super::pins::Command),
    /// Make a token as it was delivered: ERASES its keys
    Reset(super::reset::Arguments),
    /// A virtual token on a card stack of its own, for the command after --
    #[cfg(feature = "virtual-card")]
    Simulate(Box<super::simulate::Arguments>),
    /// Tell a virtual token that is running: press, pull, insert, status, finger now|never|after=3s|ask
    #[cfg(feature = "virtual-card")]
    Control {
        /// Its control socket [the one of the `card simulate` above]
        #[arg(long, value_name = "SOCKET")]
        socket: Option<std::path::PathBuf>,
        /// What to tell it
        #[arg(required = true, value_name = "WORD")]
        words: Vec<String>,
    },
}

// Arguments of `card info`.
#[derive(Args, Debug)]
#[command(before_help = "Example:\n  touchgate card info --card 12345678")]
pub(super) struct InfoArguments {}

/// Runs a subcommand.
pub(super) fn card(common: &Common, command: Command) -> Outcome {
    match command {
        Command::List => list(common),
        Command::Info(_) => info(common),
        Command::Attest(arguments) => super::attest::attest(common, &arguments),
        Command::Provision(arguments) => super::provision::provision(common, &arguments),
        Command::Touch(arguments) => super::touch::touch(common, &arguments),
        Command::Pin(command) => super::pins::pin(common, &command),
        Command::Reset(arguments) => super::reset::reset(common, &arguments),
        #[cfg(feature = "virtual-card")]
        Command::Simulate(_) => {
            Err(crate::cli::report::Failure::failed("internal", "`card simulate` ends by itself"))
        }
        #[cfg(feature = "virtual-card")]
        Command::Control { socket, words } => super::simulate::control(socket.as_deref(), &words)
            .map(|answer| Report::done(answer.clone()).with("answer", answer)),
    }
}

fn list(common: &Common) -> Outcome {
    let readers = select::list(common.card_path, &patience())?;
    if readers.is_empty() {
        return Err(CardError::NoReader.into());
    }
    let mut text = String::new();
    let mut objects: Vec<Value> = Vec::new();
    for reader in &readers {
        let (state, said) = match &reader.state {
            ReaderState::Present(token) => ("present", line(token)),
            ReaderState::Empty => ("empty", "no card".to_owned()),
            ReaderState::InUse(by) => ("in-use", format!("in use by {by}")),
            ReaderState::Unreadable(error) => ("unreadable", error.to_string()),
        };
        text.push_str(&format!("{}\n", printable(&format!("{}: {said}", reader.name))));
        let mut object = json!({ "reader": reader.name, "state": state });
        if let (Some(object), ReaderState::Present(token)) = (object.as_object_mut(), &reader.state) {
            object.extend(fields(token));
        }
        objects.push(object);
    }
    Ok(Report::done(text).with("readers", objects))
}

fn line(token: &Token) -> String {
    let info = token.info();
    let key = match &info.signature_key {
        Some(key) => format!("key {} ({})", key.fingerprint.to_hex(), key.algorithm),
        None => "no signature key".to_owned(),
    };
    let way = if token.route() == Route::Scdaemon { ", through scdaemon" } else { "" };
    format!("token {}, {key}, touch {}{way}", info.ident, info.touch.word())
}

fn fields(token: &Token) -> serde_json::Map<String, Value> {
    let info: &TokenInfo = token.info();
    let key = info.signature_key.as_ref();
    let object = json!({
        "serial": info.ident.to_string(),
        "key": key.map(|key| key.fingerprint.to_hex()),
        "algorithm": key.map(|key| key.algorithm.to_string()),
        "touch": info.touch.word(),
        "attestation_touch": info.attestation_touch.word(),
        "pin_tries_left": info.pin_tries_left,
        "pin_for_each_signature": info.pin_for_each_signature,
        "pinpad": info.pinpad,
        "through": match token.route() {
            Route::InProcess => "process",
            Route::Direct => "reader",
            Route::Scdaemon => "scdaemon",
        },
    });
    object.as_object().cloned().unwrap_or_default()
}

fn info(common: &Common) -> Outcome {
    let patience = patience();
    let token = super::work::find_token(common, &patience)?;
    let details = token.details(&patience)?;
    let info = token.info();
    let key = match &info.signature_key {
        Some(key) => format!("{}, {}", key.fingerprint.to_hex(), key.algorithm),
        None => "none".to_owned(),
    };
    let touch = match info.touch.need() {
        TouchNeed::Always => "every signature needs one",
        TouchNeed::Perhaps => "one is good for 15 s",
        TouchNeed::Never => "none is needed",
    };
    let each =
        if info.pin_for_each_signature { "asked for each signature" } else { "good until the card is reset" };
    let holder = printable(details.cardholder.as_deref().unwrap_or("not set"));
    let text = format!(
        "token {} in {}\n  holder   {holder}\n  key      {key}\n  touch    {}: {touch}\n  PIN      {}, {each}{}\n  made     {} signatures\n",
        info.ident,
        printable(&info.reader),
        info.touch.word(),
        tries_left(info.pin_tries_left),
        if details.kdf_in_use { ", derived (KDF)" } else { "" },
        details.signatures.map_or("unknown".to_owned(), |count| count.to_string()),
    );
    let mut report = Report::done(text)
        .with("reader", info.reader.clone())
        .with("cardholder", details.cardholder.clone())
        .with("kdf", details.kdf_in_use)
        .with("signatures", details.signatures);
    report.fields.extend(fields(&token));
    Ok(report)
}

/// In words, with the noun in its number.
pub(super) fn tries_left(tries: u8) -> String {
    if tries == 1 { "1 try left".to_owned() } else { format!("{tries} tries left") }
}

fn patience() -> Patience {
    Patience { waiting: super::work::patient(), ..Patience::lasting(PATIENCE) }
}
