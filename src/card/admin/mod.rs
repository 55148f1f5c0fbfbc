//! What changes a card by hand: touch policies, PINs, tries, everything (reset).
//!
//! What can be known to be refused is refused before a PIN is presented, so that no try is spent on it. A PIN that
//! is changed is presented before it is changed and the new one after, for a card says only that it took something.
//! Where a command was sent and no answer came, that is said ([`AdminError::Unsure`]).

mod error;
mod pins;
mod reset;
mod touch;

use openpgp_card::ocard::data::KdfDo;
use zeroize::Zeroizing;

pub use error::AdminError;
pub use pins::{By, PinsNow};
pub use reset::{Contents, Reset, activate};
pub use touch::may_become;

use super::application::Application;
use super::error::CardError;
use super::ident::Ident;
use super::link::{Link, Presented, converse, status};
use super::order::{ADMIN, Order, USER};
use super::pin::{Pin, Whose};
use super::pin_rules;
use super::session::Token;
use super::slot::Purpose;
use super::tlv;
use super::watch::{self, Patience};

/// A conversation in which the card is known to be the one that was looked at.
struct Talk<'l, 'c> {
    link: &'l mut Link<'c>,
    application: Application,
    /// Once it was read.
    kdf: Option<Option<KdfDo>>,
}

impl Token {
    /// Holds a conversation in a thread of its own.
    fn held<T: Send + 'static>(
        &self,
        purpose: Purpose,
        patience: &Patience,
        hold: impl FnOnce(&mut Talk<'_, '_>) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, AdminError> {
        let token = self.clone();
        watch::run_quietly(patience, move || {
            Ok(converse(&token.slot(), purpose, token.tape(), |link| {
                if let (Some(before), Some(now)) = (token.presence(), &link.presence)
                    && before != now
                {
                    let (before, now) = (before.0.clone(), now.0.clone());
                    return Err(CardError::Changed { before, now }.into());
                }
                let application = Application::read(link)?;
                same(token.info().ident, application.ident)?;
                hold(&mut Talk { link, application, kdf: None })
            }))
        })?
    }
}

fn same(wanted: Ident, found: Ident) -> Result<(), CardError> {
    if wanted == found {
        return Ok(());
    }
    Err(CardError::Changed { before: format!("card {wanted}"), now: format!("card {found}") })
}

impl Talk<'_, '_> {
    /// The KDF object, if PINs are derived. Only a clear "not found" means that they are not: a PIN presented raw
    /// to a card that expects a derived one costs a try.
    fn kdf(&mut self) -> Result<Option<&KdfDo>, CardError> {
        if self.kdf.is_none() {
            self.kdf = Some(self.read_kdf()?);
        }
        Ok(self.kdf.as_ref().and_then(Option::as_ref))
    }

    fn read_kdf(&mut self) -> Result<Option<KdfDo>, CardError> {
        if !self.application.kdf_supported {
            return Ok(None);
        }
        let (object, sw) = self.link.ask("GET DATA F9", &[0x00, 0xca, 0x00, 0xf9, 0x00])?;
        match sw {
            status::OK => {}
            status::NOT_FOUND => return Ok(None),
            sw => return Err(CardError::Kdf { why: format!("status {sw:04x}") }),
        }
        let object = tlv::inside(&object, 0xf9);
        if object.is_empty() || tlv::find(object, 0x81) == Some(&[0]) {
            return Ok(None);
        }
        object
            .try_into()
            .map(Some)
            .map_err(|error: openpgp_card::Error| CardError::Kdf { why: error.to_string() })
    }

    fn tries(&self, whose: Whose) -> u8 {
        of(self.application.tries, whose)
    }

    fn longest(&self, whose: Whose) -> u8 {
        of(self.application.longest, whose)
    }

    /// What the card is to get for a PIN.
    fn derived(&mut self, pin: &Pin, whose: Whose) -> Result<Zeroizing<Vec<u8>>, CardError> {
        pin.for_card(self.kdf()?, whose)
    }

    /// Presents the user PIN or the admin PIN, which costs a try if it is wrong. One that no card can have, or that
    /// is blocked, is not sent.
    fn present(&mut self, whose: Whose, pin: &Pin) -> Result<(), AdminError> {
        self.may_be_presented(whose, pin)?;
        let pin = self.derived(pin, whose)?;
        let reference = if whose == Whose::Admin { ADMIN } else { USER };
        let presented = self.link.present(reference, pin)?;
        self.judged(whose, presented, "VERIFY")
    }

    fn may_be_presented(&self, whose: Whose, pin: &Pin) -> Result<(), AdminError> {
        if self.tries(whose) == 0 {
            return Err(AdminError::Blocked { whose });
        }
        pin_rules::fits(pin, whose, self.longest(whose)).map_err(|flaw| AdminError::NotSent { whose, flaw })
    }

    /// What a status word after a PIN means.
    fn judged(&mut self, whose: Whose, presented: Presented, name: &'static str) -> Result<(), AdminError> {
        match presented {
            Presented::Right => Ok(()),
            Presented::Blocked => Err(AdminError::Blocked { whose }),
            Presented::Wrong => match self.link.tries().ok().map(|tries| of(tries, whose)) {
                Some(0) => Err(AdminError::Blocked { whose }),
                tries_left => Err(AdminError::Wrong { whose, tries_left }),
            },
            Presented::Other(sw) => Err(CardError::Refused { command: name, sw }.into()),
        }
    }

    /// Sends what changes the card, and gives its status word. `what` is in doubt if no answer comes.
    fn change(&mut self, order: &Order, what: &'static str) -> Result<u16, AdminError> {
        match self.link.ask(order.name, &order.bytes) {
            Ok((_, sw)) => Ok(sw),
            Err(error) => Err(AdminError::Unsure { what, error }),
        }
    }
}

/// The number that belongs to a PIN among those of the PW Status Bytes.
fn of([user, code, admin]: [u8; 3], whose: Whose) -> u8 {
    match whose {
        Whose::Admin => admin,
        Whose::ResettingCode => code,
        Whose::User => user,
    }
}

fn done(order: &Order, sw: u16) -> Result<(), AdminError> {
    if sw == status::OK { Ok(()) } else { Err(CardError::Refused { command: order.name, sw }.into()) }
}
