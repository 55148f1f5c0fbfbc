//! Asking for a PIN that is not the one for a signature: a present one, a new one twice, or a plain yes.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::card::{CardError, Ident, Pin, Whose};
use crate::cli::Common;
use crate::cli::pin::{from_descriptor, through_pinentry};
use crate::cli::prompt::Typed;
use crate::cli::report::Failure;
use crate::cli::work::Desk;

/// How often a new PIN may be typed differently the second time.
const MOST_ATTEMPTS: usize = 5;

/// Whose PINs are asked for, and where.
pub(super) struct Asking<'a> {
    pub(super) common: &'a Common,
    pub(super) desk: &'a Desk,
    pub(super) ident: Ident,
}

/// A PIN that is wanted: which, and the option that hands it over instead.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) whose: Whose,
    pub(super) option: &'static str,
    /// The descriptor that the option named.
    pub(super) descriptor: Option<u32>,
}

impl Asking<'_> {
    /// The PIN that the token has.
    ///
    /// # Errors
    /// If nobody gives one.
    pub(super) fn present(&self, wanted: Wanted) -> Result<Pin, Failure> {
        let question = format!("{} of token {}: ", loud(wanted.whose), self.ident);
        self.one(wanted, &question)
    }

    /// One that it is to have, asked for twice unless it comes from a descriptor.
    ///
    /// # Errors
    /// If nobody gives one.
    pub(super) fn new_one(&self, wanted: Wanted) -> Result<Pin, Failure> {
        let question = format!("NEW {} for token {}: ", loud(wanted.whose), self.ident);
        for _ in 0..MOST_ATTEMPTS {
            let new = self.one(wanted, &question)?;
            if wanted.descriptor.is_some() || self.one(wanted, "the same once more: ")?.same(&new) {
                return Ok(new);
            }
            self.desk.show("those were two different ones\n");
        }
        Err(Failure::usage(format!("the new {} was never typed the same twice", wanted.whose))
            .hint("nothing was changed"))
    }

    fn one(&self, wanted: Wanted, question: &str) -> Result<Pin, Failure> {
        if let Some(number) = wanted.descriptor {
            return Ok(from_descriptor(number, &self.desk.cancel)?);
        }
        let missing = |why: String| {
            let code = if wanted.whose == Whose::Admin { "no-admin-pin" } else { "no-pin" };
            let message = format!("the {} of token {} is needed: {why}", wanted.whose, self.ident);
            Failure { code, ..Failure::usage(message) }.hint(format!(
                "type it when you are asked at a terminal, or hand it over with {} N",
                wanted.option
            ))
        };
        if self.common.no_input {
            return Err(missing(format!("nobody may be asked, and {} was not given", wanted.option)));
        }
        let Some(terminal) = &self.desk.terminal else {
            let description = question.trim_end_matches([' ', ':']).to_owned();
            return match through_pinentry(description, "PIN", None, &self.desk.cancel) {
                Err(CardError::NoPin { why }) => Err(missing(why)),
                other => Ok(Pin::new(other?)?),
            };
        };
        loop {
            let Some(line) = typed(terminal.ask_secret(question))?.filter(|line| !line.is_empty()) else {
                return Err(missing("nothing was typed".to_owned()));
            };
            // Too short or too long for any card: it was not sent, so no try is lost.
            match Pin::new(line) {
                Ok(pin) => return Ok(pin),
                Err(error) => terminal.say(&format!("{error}\n")),
            }
        }
    }
}

/// As it stands in a prompt, where the user's own PIN must not be taken for another.
fn loud(whose: Whose) -> &'static str {
    match whose {
        Whose::Admin => "ADMIN PIN",
        Whose::ResettingCode => "RESETTING CODE",
        Whose::User => "PIN",
    }
}

/// What was typed; `None` at the end of input.
///
/// # Errors
/// If the terminal fails, or Ctrl-C was typed.
pub(super) fn typed(answer: std::io::Result<Typed>) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    match answer.map_err(|error| Failure::failed("terminal", error.to_string()))? {
        Typed::Line(line) => Ok(Some(line)),
        Typed::Ended => Ok(None),
        Typed::Cancelled => Err(CardError::Cancelled { waited: Duration::ZERO }.into()),
    }
}
