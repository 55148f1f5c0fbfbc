//! Changing and unblocking PINs, and how many tries they have.

use super::{AdminError, Talk, done, of};
use crate::card::ident::Ident;
use crate::card::link::{Presented, status};
use crate::card::order::{ADMIN, Order, USER};
use crate::card::pin::{Pin, Whose};
use crate::card::pin_rules::{self, FACTORY_ADMIN};
use crate::card::session::Token;
use crate::card::slot::Purpose;
use crate::card::watch::Patience;

const TAKEN: &str = "the card took the new one";

/// What opens a blocked user PIN.
#[derive(Clone, Debug)]
pub enum By {
    /// The admin PIN.
    Admin(Pin),
    /// The resetting code.
    ResettingCode(Pin),
}

/// Which PINs a card has after its tries were set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinsNow {
    /// Those of the factory, as far as the admin PIN tells; a resetting code may be as before.
    Factory,
    /// The admin PIN is as before.
    Kept,
}

impl Token {
    /// Changes the user PIN or the admin PIN (`present` is the old one), or sets the resetting code (`present` is the
    /// admin PIN).
    ///
    /// `new` is judged first, then `present` is presented: if that is wrong it costs one try and nothing is changed.
    /// The new PIN is presented at the end.
    ///
    /// # Errors
    /// [`AdminError::BadPin`] and [`AdminError::NotSent`] before anything is sent; what the card says of the PINs.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, sections 7.2.3 (CHANGE REFERENCE DATA) and 4.3.4 (Resetting Code, DO D3).
    pub fn change_pin(
        &mut self,
        whose: Whose,
        present: Pin,
        new: Pin,
        patience: &Patience,
    ) -> Result<(), AdminError> {
        self.held(Purpose::Sign, patience, move |talk| {
            talk.judge(whose, &new)?;
            if whose == Whose::ResettingCode {
                return talk.set_resetting_code(&present, &new);
            }
            if present.same(&new) {
                return Err(AdminError::SamePin { whose });
            }
            talk.present(whose, &present)?;
            let reference = if whose == Whose::Admin { ADMIN } else { USER };
            let order =
                Order::change(reference, &talk.derived(&present, whose)?, &talk.derived(&new, whose)?);
            let sw = talk.change(&order, TAKEN)?;
            talk.taken(whose, &order, sw)?;
            talk.opens(whose, &new)
        })?;
        self.note_changed();
        Ok(())
    }

    /// Sets a new user PIN with all its tries, whatever the old one was.
    ///
    /// `new` is judged first. If what opens it is wrong, that costs one of its tries and nothing is changed.
    ///
    /// # Errors
    /// As for [`Token::change_pin`]; [`AdminError::Blocked`] also where there is no resetting code.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 7.2.4 (RESET RETRY COUNTER).
    pub fn unblock(&mut self, by: By, new: Pin, patience: &Patience) -> Result<(), AdminError> {
        self.held(Purpose::Sign, patience, move |talk| {
            talk.judge(Whose::User, &new)?;
            match by {
                By::Admin(admin) => {
                    talk.present(Whose::Admin, &admin)?;
                    let order = Order::new_user_pin(&talk.derived(&new, Whose::User)?);
                    let sw = talk.change(&order, TAKEN)?;
                    talk.taken(Whose::User, &order, sw)?;
                }
                By::ResettingCode(code) => {
                    talk.may_be_presented(Whose::ResettingCode, &code)?;
                    let code = talk.derived(&code, Whose::ResettingCode)?;
                    let order = Order::new_user_pin_by_code(&code, &talk.derived(&new, Whose::User)?);
                    match talk.change(&order, TAKEN)? {
                        sw @ (status::CONDITIONS | status::WRONG_DATA) => {
                            talk.taken(Whose::User, &order, sw)?;
                        }
                        sw => talk.judged(Whose::ResettingCode, Presented::of(sw), order.name)?,
                    }
                }
            }
            talk.opens(Whose::User, &new)
        })?;
        self.note_changed();
        Ok(())
    }

    /// Whether [`Token::set_tries`] can work here, whatever the PIN is.
    ///
    /// # Errors
    /// [`AdminError::TriesFixed`], [`AdminError::KdfInUse`].
    pub fn may_set_tries(&self, patience: &Patience) -> Result<(), AdminError> {
        let ident = self.info().ident;
        self.held(Purpose::Look, patience, move |talk| talk.may_set_tries(ident))
    }

    /// Sets how many tries user PIN, resetting code and admin PIN have, and finds out which PINs the card then has:
    /// a YubiKey may go back to those of the factory.
    ///
    /// # Errors
    /// [`AdminError::TriesFixed`] of any card but a YubiKey from 4.3.1 on, and [`AdminError::KdfInUse`], before the PIN
    /// is presented; what is wrong with the PIN; [`AdminError::NotTaken`] if afterwards the card opens with neither
    /// PIN.
    ///
    /// # Source
    /// Yubico's SET PIN RETRIES (F2), as ykman sends it.
    pub fn set_tries(
        &mut self,
        tries: [u8; 3],
        admin: Pin,
        patience: &Patience,
    ) -> Result<PinsNow, AdminError> {
        let ident = self.info().ident;
        let now = self.held(Purpose::Sign, patience, move |talk| {
            talk.may_set_tries(ident)?;
            talk.present(Whose::Admin, &admin)?;
            let order = Order::tries(tries);
            let sw = talk.change(&order, "its tries and PINs were changed")?;
            done(&order, sw)?;
            let factory = Pin::new(FACTORY_ADMIN.as_bytes().to_vec().into())?;
            // The right one, second, gives the try back that the first may cost.
            for (pin, now) in [(&admin, PinsNow::Kept), (&factory, PinsNow::Factory)] {
                let derived = talk.derived(pin, Whose::Admin)?;
                if talk.link.present(ADMIN, derived)? == Presented::Right {
                    return Ok(if admin.same(&factory) { PinsNow::Factory } else { now });
                }
            }
            Err(AdminError::NotTaken { whose: Whose::Admin })
        })?;
        self.note_changed();
        Ok(now)
    }
}

impl Talk<'_, '_> {
    fn may_set_tries(&mut self, ident: Ident) -> Result<(), AdminError> {
        if self.link.firmware(ident)?.is_none_or(|firmware| firmware < [4, 3, 1]) {
            return Err(AdminError::TriesFixed { ident });
        }
        if self.kdf()?.is_some() {
            return Err(AdminError::KdfInUse { ident });
        }
        Ok(())
    }

    fn judge(&self, whose: Whose, new: &Pin) -> Result<(), AdminError> {
        pin_rules::judge(new, whose, self.longest(whose)).map_err(|flaw| AdminError::BadPin { whose, flaw })
    }

    fn set_resetting_code(&mut self, admin: &Pin, new: &Pin) -> Result<(), AdminError> {
        self.present(Whose::Admin, admin)?;
        let order = Order::resetting_code(&self.derived(new, Whose::ResettingCode)?);
        let sw = self.change(&order, TAKEN)?;
        self.taken(Whose::ResettingCode, &order, sw)?;
        if of(self.link.tries()?, Whose::ResettingCode) == 0 {
            return Err(AdminError::NotTaken { whose: Whose::ResettingCode });
        }
        Ok(())
    }

    /// What a card says to a new PIN, the old one having been right.
    fn taken(&self, whose: Whose, order: &Order, sw: u16) -> Result<(), AdminError> {
        if sw == status::CONDITIONS { Err(AdminError::TooSimple { whose }) } else { done(order, sw) }
    }

    /// The card opens with the new PIN.
    fn opens(&mut self, whose: Whose, new: &Pin) -> Result<(), AdminError> {
        let reference = if whose == Whose::Admin { ADMIN } else { USER };
        let pin = self.derived(new, whose)?;
        match self.link.present(reference, pin) {
            Ok(Presented::Right) => Ok(()),
            Ok(_) => Err(AdminError::NotTaken { whose }),
            Err(error) => Err(AdminError::Unsure { what: "the card opens with the new one", error }),
        }
    }
}
