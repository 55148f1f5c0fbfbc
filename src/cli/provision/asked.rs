//! What a person is asked for while a token is provisioned.

use std::time::Duration;

use sequoia_openpgp::Fingerprint;
use sequoia_openpgp::crypto::Password;

use crate::card::provision::{Plan, UserPinNeed};
use crate::card::{Attendant, CardError, Ident, Pin, PinEntry, PinRequest, TokenInfo, TouchNeed};
use crate::cli::pin;
use crate::cli::prompt::{Terminal, Typed};
use crate::cli::report::{Failure, say};
use crate::cli::secret::typed;
use crate::cli::work::Desk;

/// Has the serial typed back where keys would be erased.
pub(super) fn settle_erase(
    erase: Option<Ident>,
    desk: &Desk,
    ident: Ident,
    plan: &Plan,
) -> Result<Option<Ident>, Failure> {
    let (true, None, Some(terminal)) =
        (!plan.erases.is_empty() && plan.problems.is_empty(), erase, &desk.terminal)
    else {
        return Ok(erase);
    };
    let line = typed(terminal.ask("Keys would be ERASED for good. Type the token's number to go on: "))?;
    let text =
        line.as_deref().map(|line| String::from_utf8_lossy(line).trim().to_owned()).unwrap_or_default();
    if text.parse() == Ok(ident) {
        return Ok(Some(ident));
    }
    Err(Failure::failed("would-erase", "that is not the token's number; nothing was changed")
        .hint("look at the token, and run the command again"))
}

pub(super) fn given_admin_pin(
    given: Option<u32>,
    desk: &Desk,
    ident: Ident,
    needed: bool,
) -> Result<Option<Pin>, Failure> {
    match given {
        Some(number) => Ok(Some(pin::from_descriptor(number, &desk.cancel)?)),
        None if needed => ask_pin(desk, &format!("ADMIN PIN of token {ident}: ")),
        None => Ok(None),
    }
}

pub(super) fn user_pin(
    given: Option<u32>,
    desk: &Desk,
    ident: Ident,
    need: Option<UserPinNeed>,
) -> Result<Option<Pin>, Failure> {
    match (given, need) {
        (_, None) => Ok(None),
        (Some(number), Some(_)) => Ok(Some(pin::from_descriptor(number, &desk.cancel)?)),
        (None, Some(UserPinNeed::Present)) => ask_pin(desk, &format!("PIN of token {ident}: ")),
        (None, Some(UserPinNeed::New)) => loop {
            let Some(new) = ask_pin(desk, &format!("NEW PIN for token {ident}: "))? else { return Ok(None) };
            let again = ask_pin(desk, "the same once more: ")?;
            if again.is_some_and(|again| again.same(&new)) {
                return Ok(Some(new));
            }
            desk.show("those were two different PINs\n");
        },
    }
}

/// Asks at the terminal; `None` if there is none, or nothing was typed.
pub(super) fn ask_pin(desk: &Desk, prompt: &str) -> Result<Option<Pin>, Failure> {
    let Some(terminal) = &desk.terminal else { return Ok(None) };
    loop {
        let Some(line) = typed(terminal.ask_secret(prompt))?.filter(|line| !line.is_empty()) else {
            return Ok(None);
        };
        // Too short or too long for any card: it was not sent, so no try is lost.
        match Pin::new(line) {
            Ok(pin) => return Ok(Some(pin)),
            Err(error) => terminal.say(&format!("{error}\n")),
        }
    }
}

pub(super) fn passphrase(
    given: Option<u32>,
    desk: &Desk,
    needed: Option<&Fingerprint>,
) -> Result<Option<Password>, Failure> {
    let Some(fingerprint) = needed else { return Ok(None) };
    let line = match (given, &desk.terminal) {
        (Some(number), _) => Some(pin::line_from_descriptor(number, &desk.cancel)?),
        (None, Some(terminal)) => {
            typed(terminal.ask_secret(&format!("passphrase of primary key {}: ", fingerprint.to_hex())))?
        }
        (None, None) => None,
    };
    let none = || {
        Failure::usage("the primary key needs its passphrase, and nobody may be asked")
            .hint("hand it over with --passphrase-fd N")
    };
    line.map(|line| Some(Password::from(line.as_slice()))).ok_or_else(none)
}

/// The person at the token. Its PIN is known here, so only the finger is asked for.
pub(super) struct AtToken<'a> {
    terminal: Option<&'a Terminal>,
    /// What the next signature is for.
    what: String,
}

impl<'a> AtToken<'a> {
    pub(super) fn new(terminal: Option<&'a Terminal>) -> Self {
        Self { terminal, what: String::new() }
    }
}

impl Attendant for AtToken<'_> {
    fn pin(&mut self, _: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
        Ok(None)
    }

    fn about_to(&mut self, what: &str) {
        what.clone_into(&mut self.what);
    }

    fn touch_needed(&mut self, token: &TokenInfo, need: TouchNeed) {
        let what = &self.what;
        match need {
            TouchNeed::Always => say(&format!("touch token {} now to {what}\n", token.ident)),
            TouchNeed::Perhaps => say(&format!("if it blinks, touch token {} now to {what}\n", token.ident)),
            TouchNeed::Never => {}
        }
    }

    fn not_touched(&mut self, waited: Duration) -> bool {
        let Some(terminal) = self.terminal else { return false };
        let prompt = format!("not touched within {} s; Enter tries again, Ctrl-C stops: ", waited.as_secs());
        matches!(terminal.ask(&prompt), Ok(Typed::Line(_)))
    }
}
