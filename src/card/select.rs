//! Which card: the one that was named, or the only one, or a list to choose from.

use std::str::FromStr;
use std::sync::Arc;

use super::error::{CardError, Holder};
use super::ident::Ident;
#[cfg(feature = "pcsc")]
use super::link::status::TERMINATED;
use super::session::Token;
use super::slot::Slot;
use super::usb::Machine;
use super::watch::{self, Patience};

/// Which way to take to the cards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CardPath {
    /// The readers; through scdaemon where it holds the card.
    #[default]
    Auto,
    /// The readers only.
    Direct,
    /// scdaemon only.
    Scdaemon,
}

/// The text names no way to a card.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is none of auto, direct, scdaemon")]
pub struct NotACardPath {
    /// What was given.
    pub text: String,
}

impl FromStr for CardPath {
    type Err = NotACardPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "direct" => Ok(Self::Direct),
            "scdaemon" => Ok(Self::Scdaemon),
            other => Err(NotACardPath { text: other.chars().take(64).collect() }),
        }
    }
}

/// A place where cards may be, and what was found there.
#[derive(Debug)]
pub struct Reader {
    /// The reader's name.
    pub name: String,
    /// What is in it.
    pub state: ReaderState,
}

/// What a reader holds.
#[derive(Debug)]
pub enum ReaderState {
    /// A card that could be looked at.
    Present(Box<Token>),
    /// No card.
    Empty,
    /// A card that somebody else holds.
    InUse(Holder),
    /// A card that could not be read, and why.
    Unreadable(CardError),
}

/// Looks into every reader.
///
/// # Errors
/// Only what concerns all readers: no service, cancelled, out of time. What is wrong with one reader
/// stands in its [`ReaderState`].
pub fn list(path: CardPath, patience: &Patience) -> Result<Vec<Reader>, CardError> {
    list_on(&Machine::default(), path, patience)
}

/// The same, with the kernel's view of USB from the files of `machine`.
///
/// # Errors
/// As for [`list`].
pub fn list_on(machine: &Machine, path: CardPath, patience: &Patience) -> Result<Vec<Reader>, CardError> {
    match path {
        CardPath::Scdaemon => Ok(vec![through_scdaemon(patience)?]),
        CardPath::Direct => direct(machine, patience),
        CardPath::Auto => auto(machine, patience),
    }
}

/// Finds the card to use: `wanted`, or without it the only one there is.
///
/// # Errors
/// [`CardError::Several`] with the cards to choose from; otherwise the best reason met while searching:
/// a card that is in use or unreadable is never reported as absent.
pub fn open(path: CardPath, wanted: Option<Ident>, patience: &Patience) -> Result<Token, CardError> {
    pick(list(path, patience)?, wanted)
}

/// Readers with a card whose OpenPGP application was terminated, as a reset does that was cut off. Such a card does
/// not tell its serial.
///
/// # Errors
/// As for [`list`].
#[cfg(feature = "pcsc")]
pub fn terminated(patience: &Patience) -> Result<Vec<Arc<dyn Slot>>, CardError> {
    let mut found: Vec<Arc<dyn Slot>> = Vec::new();
    for slot in watch::run_quietly(patience, super::pcsc::readers)? {
        let slot: Arc<dyn Slot> = slot;
        if let Err(CardError::Refused { sw: TERMINATED, .. }) = Token::look(Arc::clone(&slot), patience) {
            found.push(slot);
        }
    }
    Ok(found)
}

/// The same, where there is no way to a reader.
///
/// # Errors
/// None.
#[cfg(not(feature = "pcsc"))]
pub fn terminated(_: &Patience) -> Result<Vec<Arc<dyn Slot>>, CardError> {
    Ok(Vec::new())
}

/// Chooses among what `list` found.
///
/// # Errors
/// As for [`open`].
pub fn pick(readers: Vec<Reader>, wanted: Option<Ident>) -> Result<Token, CardError> {
    let names: Vec<String> = readers.iter().map(|reader| reader.name.clone()).collect();
    let mut tokens = Vec::new();
    let mut best = None;
    for Reader { name, state } in readers {
        match state {
            ReaderState::Present(token) => tokens.push(*token),
            ReaderState::Empty => {}
            // A card in use can be had again: that outweighs one that cannot be read.
            ReaderState::InUse(by) => best = Some(CardError::InUse { reader: name, by }),
            ReaderState::Unreadable(error) => best = best.or(Some(error)),
        }
    }
    let seen: Vec<Ident> = tokens.iter().map(|token| token.info().ident).collect();
    if let Some(wanted) = wanted {
        if let Some(token) = tokens.into_iter().find(|token| token.info().ident == wanted) {
            return Ok(token);
        }
        return Err(match best {
            Some(error) => error,
            None if seen.is_empty() => nothing(names),
            None => CardError::NotFound { wanted, seen },
        });
    }
    if tokens.len() > 1 {
        return Err(CardError::Several { list: seen });
    }
    tokens.pop().ok_or_else(|| best.unwrap_or_else(|| nothing(names)))
}

fn nothing(readers: Vec<String>) -> CardError {
    if readers.is_empty() { CardError::NoReader } else { CardError::NoCard { readers } }
}

/// Puts what looking at one slot gave into its place in the list.
fn found(name: &str, looked: Result<Token, CardError>) -> Result<Reader, CardError> {
    let state = match looked {
        Ok(token) => ReaderState::Present(Box::new(token)),
        Err(CardError::NoCard { .. } | CardError::Removed) => ReaderState::Empty,
        Err(CardError::InUse { by, .. }) => ReaderState::InUse(by),
        Err(
            error @ (CardError::Cancelled { .. }
            | CardError::OutOfTime { .. }
            | CardError::NoPcscd
            | CardError::PcscdDenied
            | CardError::PcscdLost),
        ) => return Err(error),
        Err(error) => ReaderState::Unreadable(error),
    };
    Ok(Reader { name: name.to_owned(), state })
}

fn look(slot: Arc<dyn Slot>, patience: &Patience) -> Result<Reader, CardError> {
    let name = slot.name().to_owned();
    found(&name, Token::look(slot, patience))
}

#[cfg(unix)]
fn through_scdaemon(patience: &Patience) -> Result<Reader, CardError> {
    let slot = watch::run_quietly(patience, super::scdaemon::ScdaemonSlot::running)?;
    look(slot, patience)
}

#[cfg(not(unix))]
fn through_scdaemon(_: &Patience) -> Result<Reader, CardError> {
    Err(CardError::NoScdaemon { why: "not supported on this system".to_owned() })
}

/// The readers, and what another program drives past pcscd.
#[cfg(feature = "pcsc")]
fn direct(machine: &Machine, patience: &Patience) -> Result<Vec<Reader>, CardError> {
    let slots = watch::run_quietly(patience, super::pcsc::readers)?;
    let readers = slots.into_iter().map(|slot| look(slot, patience)).collect::<Result<_, _>>()?;
    Ok(with_driven(readers, machine))
}

/// With the devices that another program drives past pcscd, and which it therefore cannot show.
#[cfg(feature = "pcsc")]
fn with_driven(mut readers: Vec<Reader>, machine: &Machine) -> Vec<Reader> {
    for device in machine.devices().into_iter().filter(|device| device.smart_card) {
        // pcscd calls a reader by the device's name.
        let listed = readers.iter().any(|reader| reader.name.starts_with(&device.name));
        if let Some(holder) = (!listed).then(|| super::contention::drives(&device)).flatten() {
            readers.push(Reader { name: device.name, state: ReaderState::InUse(holder) });
        }
    }
    readers
}

#[cfg(not(feature = "pcsc"))]
fn direct(_: &Machine, _: &Patience) -> Result<Vec<Reader>, CardError> {
    Err(CardError::NoPcscSupport)
}

/// The readers, and in place of one whose card scdaemon has or may have, what scdaemon shows.
#[cfg(feature = "pcsc")]
fn auto(machine: &Machine, patience: &Patience) -> Result<Vec<Reader>, CardError> {
    let slots = match watch::run_quietly(patience, super::pcsc::readers) {
        // scdaemon can have a card of its own without pcscd.
        Err(none @ CardError::NoPcscd) => return scdaemon_alone(patience, none),
        other => other?,
    };
    let mut shares = super::contention::has_scdaemon();
    let mut readers = Vec::new();
    for slot in slots {
        // A shared card could be had, but selecting or resetting it behind scdaemon's back fails gpg's next command.
        let shown = if shares && slot.is_shared() { shown_by_scdaemon(patience) } else { None };
        readers.push(match shown {
            Some(state) => {
                shares = false;
                Reader { name: slot.name().to_owned(), state }
            }
            None => look(slot, patience)?,
        });
    }
    let mut readers = with_driven(readers, machine);
    // A card that is known to be held by somebody else is not what scdaemon would show.
    let perhaps =
        |state: &ReaderState| matches!(state, ReaderState::InUse(Holder::Scdaemon(_) | Holder::Unknown));
    let held = readers.iter_mut().find(|reader| perhaps(&reader.state));
    if let Some(reader) = held
        && let Some(state) = shown_by_scdaemon(patience)
    {
        reader.state = state;
    }
    Ok(readers)
}

#[cfg(not(feature = "pcsc"))]
fn auto(_: &Machine, patience: &Patience) -> Result<Vec<Reader>, CardError> {
    scdaemon_alone(patience, CardError::NoPcscSupport)
}

/// scdaemon's card in a list of its own, or else the reason why the readers could not be listed.
fn scdaemon_alone(patience: &Patience, none: CardError) -> Result<Vec<Reader>, CardError> {
    through_scdaemon(patience).map(|reader| vec![reader]).map_err(|_| none)
}

/// The card that scdaemon has, if it has one.
#[cfg(feature = "pcsc")]
fn shown_by_scdaemon(patience: &Patience) -> Option<ReaderState> {
    match through_scdaemon(patience) {
        Ok(Reader { state: state @ ReaderState::Present(_), .. }) => Some(state),
        Ok(_) | Err(_) => None,
    }
}
