//! What takes the admin PIN (PW3): the touch policy of the signature key.

use openpgp_card::ocard::StatusBytes;
use openpgp_card::ocard::data::{TouchPolicy as CardTouchPolicy, UserInteractionFlag};
use openpgp_card::{Error, ocard};

use super::error::CardError;
use super::info::TouchPolicy;
use super::pin::{Pin, Whose};
use super::session::{Talk, Token};
use super::slot::Purpose;
use super::watch::{self, Patience};

impl Token {
    /// Turns the touch of the signature key on or off. Fixed policies cannot be set here: they cannot be
    /// taken back without losing the key.
    ///
    /// A wrong `admin` PIN costs one of its tries.
    ///
    /// # Errors
    /// [`CardError::WrongPin`] and [`CardError::PinBlocked`], of the admin PIN then; [`CardError::Refused`] if
    /// the policy is fixed or the card has none.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 4.4.3.6 (UIF, DO D6).
    pub fn set_touch(&mut self, on: bool, admin: Pin, patience: &Patience) -> Result<(), CardError> {
        let token = self.clone();
        watch::run(patience, move |_| set_touch(&token, on, &admin), &mut |_| {})?;
        self.note_touch(if on { TouchPolicy::On } else { TouchPolicy::Off });
        Ok(())
    }
}

fn set_touch(token: &Token, on: bool, admin: &Pin) -> Result<(), CardError> {
    let policy = if on { CardTouchPolicy::On } else { CardTouchPolicy::Off };
    token.reopen(Purpose::Sign, None, |talk| {
        let kdf = talk.kdf(token.info())?;
        talk.tape.load_pin(admin.for_card(kdf.as_ref(), Whose::Admin)?);
        // The decorator puts the PIN in; the library, which may log, sees these bytes only.
        let verified = talk.tx.verify_pw3(vec![0; 8].into());
        drop(talk.tape.take_pin());
        verified.map_err(|error| refused(error, talk))?;
        let mut flag = UserInteractionFlag::try_from(vec![0x00, BUTTON])
            .map_err(|error| talk.explain(error, "PUT DATA D6"))?;
        flag.set_touch_policy(policy);
        talk.tx.set_uif_pso_cds(&flag).map_err(|error| talk.explain(error, "PUT DATA D6"))
    })
}

/// The second byte of a UIF: the feature is a button.
const BUTTON: u8 = 0x20;

/// What a status word after VERIFY of PW3 means. Cards differ: 63Cx counts, a YubiKey says 6982.
fn refused(error: Error, talk: &mut Talk<'_, '_>) -> CardError {
    match error {
        Error::CardStatus(StatusBytes::PasswordNotChecked(0) | StatusBytes::AuthenticationMethodBlocked) => {
            CardError::PinBlocked
        }
        Error::CardStatus(StatusBytes::PasswordNotChecked(left)) => {
            CardError::WrongPin { tries_left: Some(left) }
        }
        Error::CardStatus(StatusBytes::SecurityStatusNotSatisfied) => match tries_left(talk.tx) {
            Some(0) => CardError::PinBlocked,
            tries_left => CardError::WrongPin { tries_left },
        },
        other => talk.explain(other, "VERIFY"),
    }
}

fn tries_left(tx: &mut ocard::Transaction<'_>) -> Option<u8> {
    let ard = tx.application_related_data().ok()?;
    Some(ard.pw_status_bytes().ok()?.err_count_pw3())
}
