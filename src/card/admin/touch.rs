//! Touch policies of the three keys and of the one that attests.

use super::{AdminError, Talk, done};
use crate::card::ident::Ident;
use crate::card::info::{Touch, TouchPolicy};
use crate::card::key_slot::KeySlot;
use crate::card::link::status;
use crate::card::order::Order;
use crate::card::pin::{Pin, Whose};
use crate::card::session::Token;
use crate::card::slot::Purpose;
use crate::card::watch::Patience;

/// Whose touch policies there are; `None` is the attestation key.
const SLOTS: [Option<KeySlot>; 4] =
    [Some(KeySlot::Signature), Some(KeySlot::Decryption), Some(KeySlot::Authentication), None];

impl Token {
    /// The touch policies of the keys in the card's order, and of the one that attests (`None`).
    ///
    /// # Errors
    /// Why the card cannot be read.
    pub fn touch_policies(
        &self,
        patience: &Patience,
    ) -> Result<[(Option<KeySlot>, TouchPolicy); 4], AdminError> {
        self.held(Purpose::Look, patience, |talk| {
            let mut policies = SLOTS.map(|slot| (slot, TouchPolicy::None));
            for (slot, policy) in &mut policies {
                *policy = talk.touch(*slot)?;
            }
            Ok(policies)
        })
    }

    /// Sets the touch policy of a key, of the one that attests if `slot` is `None`. [`Touch::Fixed`] and
    /// [`Touch::CachedFixed`] are for as long as that key is there.
    ///
    /// A wrong `admin` PIN costs one of its tries. Nothing is sent where it is so already.
    ///
    /// # Errors
    /// [`AdminError::TouchFixed`], [`AdminError::NoTouchPolicy`], before the PIN is presented;
    /// [`AdminError::TouchNotOffered`]; what is wrong with the PIN.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 4.4.3.6 (UIF, DO D6 to D8); Yubico's D9.
    pub fn set_touch(
        &mut self,
        slot: Option<KeySlot>,
        wanted: Touch,
        admin: Pin,
        patience: &Patience,
    ) -> Result<(), AdminError> {
        let ident = self.info().ident;
        self.held(Purpose::Sign, patience, move |talk| {
            if !may_become(ident, slot, talk.touch(slot)?, wanted)? {
                return Ok(());
            }
            talk.present(Whose::Admin, &admin)?;
            let order = Order::touch(slot, wanted);
            match talk.change(&order, "the touch policy was changed")? {
                status::WRONG_DATA => Err(AdminError::TouchNotOffered { ident, wanted }),
                sw => done(&order, sw),
            }
        })?;
        if slot == Some(KeySlot::Signature) {
            self.note_touch(wanted.policy());
        }
        Ok(())
    }
}

/// Whether a policy has to be changed for it to be as wanted.
///
/// # Errors
/// [`AdminError::TouchFixed`] and [`AdminError::NoTouchPolicy`] where it cannot be.
pub fn may_become(
    ident: Ident,
    slot: Option<KeySlot>,
    now: TouchPolicy,
    wanted: Touch,
) -> Result<bool, AdminError> {
    match now {
        TouchPolicy::None => Err(AdminError::NoTouchPolicy { ident, slot }),
        now if now == wanted.policy() => Ok(false),
        now @ (TouchPolicy::Fixed | TouchPolicy::CachedFixed) => {
            Err(AdminError::TouchFixed { ident, slot, now })
        }
        _ => Ok(true),
    }
}

impl Talk<'_, '_> {
    fn touch(&mut self, slot: Option<KeySlot>) -> Result<TouchPolicy, AdminError> {
        Ok(self.application.touch(slot, self.link)?.unwrap_or(TouchPolicy::None))
    }
}
