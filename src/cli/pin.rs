//! Where the PIN comes from: a descriptor, the reader's keys, the terminal, or pinentry.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use crate::card::{CardError, Pin, PinEntry, PinRequest, TokenInfo};
use crate::cli::prompt::{Terminal, Typed};

/// One way to get a PIN, settled before the card is opened.
#[derive(Debug)]
pub(super) enum PinSource {
    /// Read already; good for one try.
    Given(Option<Pin>),
    /// Nobody may be asked.
    Nobody,
    /// A window, or another terminal.
    Pinentry,
    /// The terminal.
    Terminal,
}

impl PinSource {
    /// Asks for the PIN that `request` is about. `None` gives up.
    ///
    /// # Errors
    /// [`CardError::NoPin`], [`CardError::Cancelled`].
    pub(super) fn pin(
        &mut self,
        request: &PinRequest<'_>,
        what: &str,
        terminal: Option<&Terminal>,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Option<PinEntry>, CardError> {
        match self {
            Self::Given(pin) => Ok(pin.take().map(PinEntry::Typed)),
            _ if request.token.pinpad && request.refused.is_none() => Ok(Some(PinEntry::Pinpad)),
            Self::Nobody => {
                Err(CardError::NoPin { why: "nobody may be asked, and --pin-fd was not given".into() })
            }
            Self::Terminal => match terminal {
                Some(terminal) => at_terminal(terminal, request),
                None => Err(CardError::NoPin { why: "there is no terminal".into() }),
            },
            Self::Pinentry => with_pinentry(request, what, cancel),
        }
    }
}

/// How many tries are left, if that is worth saying.
fn tries(token: &TokenInfo) -> String {
    match token.pin_tries_left {
        1 => " (LAST try: a wrong PIN blocks it)".into(),
        2 => " (2 tries left)".into(),
        _ => String::new(),
    }
}

fn at_terminal(terminal: &Terminal, request: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
    if let Some(refused) = request.refused {
        terminal.say(&format!("{refused}\n"));
    }
    let prompt = format!("PIN of token {}{}: ", request.token.ident, tries(request.token));
    loop {
        match terminal.ask_secret(&prompt) {
            Ok(Typed::Line(line)) if line.is_empty() => return Ok(None),
            // Too short or too long for any card: it was not sent, so no try is lost.
            Ok(Typed::Line(line)) => match Pin::new(line) {
                Ok(pin) => return Ok(Some(PinEntry::Typed(pin))),
                Err(error) => terminal.say(&format!("{error}\n")),
            },
            Ok(Typed::Ended) => return Ok(None),
            Ok(Typed::Cancelled) => return Err(CardError::Cancelled { waited: Duration::ZERO }),
            Err(error) => return Err(CardError::NoPin { why: format!("the terminal: {error}") }),
        }
    }
}

/// Asks through pinentry, in a thread, since it cannot be interrupted; it ends with our pipe to it.
fn with_pinentry(
    request: &PinRequest<'_>,
    what: &str,
    cancel: &AtomicBool,
) -> Result<Option<PinEntry>, CardError> {
    let description =
        format!("Touchgate: {what}\nPIN of token {}{}", request.token.ident, tries(request.token));
    let refused = request.refused.map(ToString::to_string);
    let (answer, asked) = mpsc::channel();
    thread::spawn(move || {
        let result = match pinentry::PassphraseInput::with_default_binary() {
            None => Err("no terminal, and no pinentry is installed".to_owned()),
            Some(mut input) => {
                input.with_description(&description).with_prompt("PIN");
                if let Some(refused) = &refused {
                    input.with_error(refused);
                }
                match input.interact() {
                    Ok(secret) => Ok(Some(Zeroizing::new(secret.expose_secret().as_bytes().to_vec()))),
                    Err(pinentry::Error::Cancelled) => Ok(None),
                    Err(error) => Err(format!("pinentry: {error}")),
                }
            }
        };
        // The caller may have been cancelled; then nobody wants the PIN any more.
        let _ = answer.send(result);
    });
    loop {
        if cancel.load(Ordering::SeqCst) {
            return Err(CardError::Cancelled { waited: Duration::ZERO });
        }
        match asked.recv_timeout(Duration::from_millis(100)) {
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(CardError::NoPin { why: "pinentry failed".into() });
            }
            Ok(Ok(Some(pin))) => return Pin::new(pin).map(|pin| Some(PinEntry::Typed(pin))),
            Ok(Ok(None)) => return Err(CardError::Cancelled { waited: Duration::ZERO }),
            Ok(Err(why)) => return Err(CardError::NoPin { why }),
        }
    }
}

/// Reads the PIN that a script hands over at descriptor `number`.
///
/// # Errors
/// [`CardError::NoPin`], [`CardError::PinTooShort`], [`CardError::PinTooLong`].
pub(super) fn from_descriptor(number: u32) -> Result<PinSource, CardError> {
    Pin::from_fd(number).map(|pin| PinSource::Given(Some(pin)))
}

/// Whether standard error is a terminal, where lines may be rewritten.
pub(super) fn rewritable() -> bool {
    io::IsTerminal::is_terminal(&io::stderr())
}
