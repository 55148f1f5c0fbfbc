//! Making a card as it was delivered: every key, PIN, certificate and data object of the application goes.

use std::sync::Arc;

use sequoia_openpgp::Fingerprint;

use super::{AdminError, Talk, done};
use crate::card::application::Application;
use crate::card::error::CardError;
use crate::card::key_slot::KeySlot;
use crate::card::link::{Link, Presented, converse_unselected, status};
use crate::card::order::{ADMIN, Order, USER};
use crate::card::session::Token;
use crate::card::slot::{Purpose, Slot};
use crate::card::tape::Tape;
use crate::card::watch::{self, Patience};

/// The most tries that a PIN can have.
const MOST_TRIES: u32 = 255;
/// As long as what a PIN comes to: as it is, or through a KDF with SHA-256 or SHA-512. Zeros are nobody's PIN.
const WRONG: [usize; 3] = [8, 32, 64];
/// A length that no PIN can have here: not compared, no try lost.
const WRONG_LENGTH: u16 = 0x6700;
const UNCERTAIN: &str = "the card was reset";

/// What is lost with a reset, as far as it has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The keys that are there; without a fingerprint where none was written for it.
    pub keys: Vec<(KeySlot, Option<Fingerprint>)>,
}

/// What a reset made of the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Tries for user PIN, resetting code and admin PIN.
    pub tries: [u8; 3],
}

impl Token {
    /// What would be lost.
    ///
    /// # Errors
    /// [`AdminError::CannotReset`]; why the card cannot be read.
    pub fn contents(&self, patience: &Patience) -> Result<Contents, AdminError> {
        let ident = self.info().ident;
        self.held(Purpose::Look, patience, move |talk| {
            if !talk.application.can_be_reset() {
                return Err(AdminError::CannotReset { ident });
            }
            Ok(Contents { keys: KeySlot::ALL.into_iter().filter_map(|slot| talk.key(slot)).collect() })
        })
    }

    /// Makes the card as it was delivered. No PIN is needed: its PINs are blocked first, for a card ends its
    /// application only then. A YubiKey's attestation key stays.
    ///
    /// Cut off in the middle it leaves blocked PINs, with which it can be run again, or an application that has ended,
    /// for which there is [`activate`].
    ///
    /// # Errors
    /// [`AdminError::CannotReset`] before anything is sent; [`AdminError::NotReset`].
    ///
    /// # Source
    /// OpenPGP card 3.4.1, sections 7.2.16 and 7.2.17; ykman blocks PW1 too.
    pub fn reset(&mut self, patience: &Patience) -> Result<Reset, AdminError> {
        let ident = self.info().ident;
        let reset = self.held(Purpose::Sign, patience, move |talk| {
            if !talk.application.can_be_reset() {
                return Err(AdminError::CannotReset { ident });
            }
            block(talk.link, USER)?;
            block(talk.link, ADMIN)?;
            let order = Order::terminate();
            let sw = talk.change(&order, UNCERTAIN)?;
            done(&order, sw)?;
            revive(talk.link)
        })?;
        self.note_changed();
        Ok(reset)
    }
}

/// Ends what a reset began that was cut off: brings an application that was terminated back, as delivered. The card
/// cannot say which one it is. `None` if its application was not terminated; then nothing was changed.
///
/// # Errors
/// Why the card cannot be read; [`AdminError::NotReset`].
pub fn activate(slot: &Arc<dyn Slot>, tape: &Tape, patience: &Patience) -> Result<Option<Reset>, AdminError> {
    let (slot, tape) = (Arc::clone(slot), tape.clone());
    watch::run_quietly(patience, move || {
        Ok(converse_unselected(&slot, Purpose::Sign, &tape, |link| match link.select() {
            Err(CardError::Refused { sw: status::TERMINATED, .. }) => revive(link).map(Some),
            other => other.map(|()| None).map_err(AdminError::from),
        }))
    })?
}

fn revive(link: &mut Link<'_>) -> Result<Reset, AdminError> {
    let order = Order::activate();
    let sure = |error| AdminError::Unsure { what: UNCERTAIN, error };
    link.carry_out(&order).map_err(sure)?;
    link.select().map_err(sure)?;
    let application = Application::read(link).map_err(sure)?;
    let talk = Talk { link, application, kdf: None };
    if KeySlot::ALL.into_iter().any(|slot| talk.key(slot).is_some()) {
        return Err(AdminError::NotReset { why: "keys are still there" });
    }
    let tries = talk.application.tries;
    if tries.first() == Some(&0) || tries.last() == Some(&0) {
        return Err(AdminError::NotReset { why: "a PIN is still blocked" });
    }
    Ok(Reset { tries })
}

/// Presents what is nobody's PIN until the card takes no more.
fn block(link: &mut Link<'_>, reference: u8) -> Result<(), AdminError> {
    let mut presented = Presented::Wrong;
    for _ in 0..MOST_TRIES {
        for length in WRONG {
            presented = link.present(reference, vec![0; length].into())?;
            if !matches!(presented, Presented::Other(WRONG_LENGTH | status::WRONG_DATA)) {
                break;
            }
        }
        match presented {
            Presented::Wrong => {}
            Presented::Blocked => return Ok(()),
            Presented::Right | Presented::Other(_) => break,
        }
    }
    let sw = if let Presented::Other(sw) = presented { sw } else { status::OK };
    Err(CardError::Refused { command: "VERIFY until it is blocked", sw }.into())
}

impl Talk<'_, '_> {
    /// A key that is there, and the fingerprint that was written for it.
    fn key(&self, slot: KeySlot) -> Option<(KeySlot, Option<Fingerprint>)> {
        let fingerprint = self.application.each(0xc5, slot, 20).filter(|bytes| bytes.iter().any(|b| *b != 0));
        let there = match self.application.key_information(slot) {
            Some(0) => false,
            Some(_) => true,
            None => fingerprint.is_some(),
        };
        let fingerprint = fingerprint.and_then(|bytes| Fingerprint::from_bytes(4, bytes).ok());
        there.then_some((slot, fingerprint))
    }
}
