//! One conversation with a card in plain commands, one APDU a call.
//!
//! Whatever changes a card has to know after each single command what the card knows, so it speaks to the card
//! itself rather than through a library that joins several. The decorator around the backend still counts and masks.

use std::sync::Arc;

use card_backend::{CardTransaction, SmartcardError};
use zeroize::Zeroizing;

use super::error::CardError;
use super::ident::Ident;
use super::order::Order;
use super::record::Recorder;
use super::slot::{Presence, Purpose, Slot};
use super::tape::Tape;

const SELECT: [u8; 11] = [0x00, 0xa4, 0x04, 0x00, 6, 0xd2, 0x76, 0x00, 0x01, 0x24, 0x01];
/// What any card takes in one extended command, in bytes: enough for every key.
const LONGEST: usize = 3000;

/// Status words that mean something here.
pub(super) mod status {
    pub(crate) const OK: u16 = 0x9000;
    /// The application was terminated, and waits to be activated.
    pub(crate) const TERMINATED: u16 = 0x6285;
    /// A PIN was not presented, or a wrong one; a policy that stays.
    pub(crate) const NOT_ALLOWED: u16 = 0x6982;
    pub(crate) const BLOCKED: u16 = 0x6983;
    /// A YubiKey that looks at PINs finds this one too simple.
    pub(crate) const CONDITIONS: u16 = 0x6985;
    pub(crate) const WRONG_DATA: u16 = 0x6a80;
    pub(crate) const NOT_FOUND: u16 = 0x6a88;
}

/// An open conversation, the application selected.
pub(super) struct Link<'a> {
    tx: Box<dyn CardTransaction + Send + Sync + 'a>,
    slot: &'a dyn Slot,
    pub(super) presence: Option<Presence>,
    tape: Tape,
}

/// Opens a conversation, selects the application, has it held, and closes it.
pub(super) fn converse<T, E: From<CardError>>(
    slot: &Arc<dyn Slot>,
    purpose: Purpose,
    tape: &Tape,
    hold: impl FnOnce(&mut Link<'_>) -> Result<T, E>,
) -> Result<T, E> {
    converse_unselected(slot, purpose, tape, |link| {
        link.select()?;
        hold(link)
    })
}

/// The same with whatever is selected.
pub(super) fn converse_unselected<T, E: From<CardError>>(
    slot: &Arc<dyn Slot>,
    purpose: Purpose,
    tape: &Tape,
    hold: impl FnOnce(&mut Link<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let connection = slot.connect(purpose)?;
    let tape = tape.another();
    let presence = connection.presence;
    let mut recorder: Box<dyn card_backend::CardBackend + Send + Sync> =
        Recorder::new(connection.backend, &connection.atr, &tape).into();
    let tx = recorder.transaction(None).map_err(|error| failed(slot.as_ref(), presence.as_ref(), &error))?;
    let mut link = Link { tx, slot: slot.as_ref(), presence, tape };
    hold(&mut link)
}

fn failed(slot: &dyn Slot, presence: Option<&Presence>, error: &SmartcardError) -> CardError {
    let message = error.to_string();
    slot.diagnose(&message, presence).unwrap_or(CardError::Transport { message })
}

impl Link<'_> {
    /// SELECT of the application.
    pub(super) fn select(&mut self) -> Result<(), CardError> {
        self.send("SELECT", &SELECT).map(drop)
    }

    /// A YubiKey's firmware; `None` of any other card.
    pub(super) fn firmware(&mut self, ident: Ident) -> Result<Option<[u8; 3]>, CardError> {
        // Yubico's own command; other cards would answer 6D00.
        if !ident.is_yubico() {
            return Ok(None);
        }
        let (answer, sw) = self.ask("GET VERSION", &[0x00, 0xf1, 0x00, 0x00, 0x00])?;
        Ok(if sw == status::OK { answer.try_into().ok() } else { None })
    }

    /// Sends a command and gives its data and status word.
    pub(super) fn ask(&mut self, name: &'static str, command: &[u8]) -> Result<(Vec<u8>, u16), CardError> {
        let mut answer = self
            .tx
            .transmit(command, LONGEST)
            .map_err(|error| failed(self.slot, self.presence.as_ref(), &error))?;
        let Some([sw1, sw2]) = answer.last_chunk().copied() else {
            return Err(CardError::Malformed { command: name, why: "no status".to_owned() });
        };
        answer.truncate(answer.len() - 2);
        Ok((answer, u16::from_be_bytes([sw1, sw2])))
    }

    /// Sends a command that must succeed, and gives its data.
    pub(super) fn send(&mut self, name: &'static str, command: &[u8]) -> Result<Vec<u8>, CardError> {
        match self.ask(name, command)? {
            (data, status::OK) => Ok(data),
            (_, sw) => Err(CardError::Refused { command: name, sw }),
        }
    }

    /// Carries out what changes the card, and must succeed.
    pub(super) fn carry_out(&mut self, order: &Order) -> Result<Vec<u8>, CardError> {
        self.send(order.name, &order.bytes)
    }

    /// VERIFY. The decorator puts the PIN in; the command that could be logged holds a placeholder.
    pub(super) fn present(&mut self, reference: u8, pin: Zeroizing<Vec<u8>>) -> Result<Presented, CardError> {
        self.tape.load_pin(pin);
        let answer = self.ask("VERIFY", &[0x00, 0x20, 0x00, reference, 0x01, 0x00]);
        drop(self.tape.take_pin());
        Ok(Presented::of(answer?.1))
    }

    /// Tries left for the user PIN, the resetting code and the admin PIN (PW Status Bytes, DO C4).
    pub(super) fn tries(&mut self) -> Result<[u8; 3], CardError> {
        const COMMAND: &str = "GET DATA C4";
        let answer = self.send(COMMAND, &[0x00, 0xca, 0x00, 0xc4, 0x00])?;
        answer
            .get(4..7)
            .and_then(|left| left.try_into().ok())
            .ok_or_else(|| CardError::Malformed { command: COMMAND, why: format!("{} bytes", answer.len()) })
    }

    /// GET DATA; `None` if the card has no such object.
    pub(super) fn get(&mut self, name: &'static str, tag: u16) -> Result<Option<Vec<u8>>, CardError> {
        let [high, low] = tag.to_be_bytes();
        match self.ask(name, &[0x00, 0xca, high, low, 0x00])? {
            (data, status::OK) => Ok(Some(data)),
            // What the object is not: there at all, known, or to be had in this state.
            (_, status::NOT_FOUND | 0x6a82 | 0x6a80 | 0x6b00 | 0x6d00 | 0x6985) => Ok(None),
            (_, sw) => Err(CardError::Refused { command: name, sw }),
        }
    }
}

/// What came of presenting a PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presented {
    Blocked,
    /// Something else than yes or no: the PIN was not compared.
    Other(u16),
    Right,
    Wrong,
}

impl Presented {
    /// What a status word says of the PIN that came with a command.
    pub(super) fn of(sw: u16) -> Self {
        match sw {
            status::OK => Self::Right,
            status::BLOCKED | 0x63c0 => Self::Blocked,
            // 63Cx counts, a YubiKey says 6982.
            status::NOT_ALLOWED => Self::Wrong,
            sw if sw & 0xfff0 == 0x63c0 => Self::Wrong,
            sw => Self::Other(sw),
        }
    }
}
