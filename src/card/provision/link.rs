//! One conversation with a card in plain commands, one APDU a call.
//!
//! Provisioning has to know after each single command what the card knows, so it speaks to the card itself
//! rather than through a library that joins several. The decorator around the backend still counts and masks.

use std::sync::Arc;

use card_backend::{CardTransaction, SmartcardError};

use crate::card::error::CardError;
use crate::card::record::Recorder;
use crate::card::slot::{Presence, Purpose, Slot};
use crate::card::tape::Tape;

const SELECT: [u8; 11] = [0x00, 0xa4, 0x04, 0x00, 6, 0xd2, 0x76, 0x00, 0x01, 0x24, 0x01];
/// What any card takes in one extended command, in bytes: enough for every key.
const LONGEST: usize = 3000;

/// Status words that mean something here.
pub(super) mod status {
    pub(crate) const OK: u16 = 0x9000;
    pub(crate) const NOT_FOUND: u16 = 0x6a88;
}

/// An open conversation, the application selected.
pub(super) struct Link<'a> {
    tx: Box<dyn CardTransaction + Send + Sync + 'a>,
    slot: &'a dyn Slot,
    presence: Option<Presence>,
    pub(super) tape: Tape,
}

/// Opens a conversation, has it held, and closes it.
pub(super) fn converse<T, E: From<CardError>>(
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
    link.send("SELECT", &SELECT)?;
    hold(&mut link)
}

fn failed(slot: &dyn Slot, presence: Option<&Presence>, error: &SmartcardError) -> CardError {
    let message = error.to_string();
    slot.diagnose(&message, presence).unwrap_or(CardError::Transport { message })
}

impl Link<'_> {
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
