//! Why something on a card was not changed.

use crate::card::error::CardError;
use crate::card::ident::Ident;
use crate::card::info::{Touch, TouchPolicy};
use crate::card::key_slot::KeySlot;
use crate::card::pin::Whose;
use crate::card::pin_rules::PinFlaw;

/// Why something on a card was not changed, or why that is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The card or the way to it.
    #[error(transparent)]
    Card(#[from] CardError),

    // PINs.
    /// A PIN was wrong, which cost one of its tries.
    #[error("wrong {whose}{}", match tries_left { Some(1) => ", 1 try left".to_owned(), Some(n) => format!(", {n} tries left"), None => String::new() })]
    Wrong {
        /// Which.
        whose: Whose,
        /// Tries left; `None` if the card could not be asked any more.
        tries_left: Option<u8>,
    },
    /// No tries are left; a resetting code may also never have been set.
    #[error("the {whose} {}", if *whose == Whose::ResettingCode { "is not set, or blocked" } else { "is blocked" })]
    Blocked {
        /// Which.
        whose: Whose,
    },
    /// No such PIN can be right, so it was not sent.
    #[error("this cannot be the {whose}: {flaw}")]
    NotSent {
        /// Which.
        whose: Whose,
        /// Why.
        flaw: PinFlaw,
    },
    /// This must not be a new PIN. Nothing was sent.
    #[error("this cannot be the new {whose}: {flaw}")]
    BadPin {
        /// Which.
        whose: Whose,
        /// Why.
        flaw: PinFlaw,
    },
    /// The new PIN is the old one. Nothing was sent.
    #[error("the new {whose} is the old one")]
    SamePin {
        /// Which.
        whose: Whose,
    },
    /// The card itself refuses the new PIN (6985). The old one stays.
    #[error("the card finds the new {whose} too simple")]
    TooSimple {
        /// Which.
        whose: Whose,
    },
    /// The card said that it took a new PIN, and does not open with it.
    #[error("the card took another {whose} than the one that was given")]
    NotTaken {
        /// Which.
        whose: Whose,
    },

    // Tries.
    /// There is no command for it.
    #[error("card {ident} cannot change how many tries a PIN has")]
    TriesFixed {
        /// The card.
        ident: Ident,
    },
    /// PINs of the factory that are not derived would open nothing.
    #[error("card {ident} derives its PINs (KDF object), and PINs of the factory would not work there")]
    KdfInUse {
        /// The card.
        ident: Ident,
    },

    // Touch.
    /// It is permanent.
    #[error("the touch policy of the {} key of card {ident} is {}, for as long as that key is there", name(*slot), now.word())]
    TouchFixed {
        /// The card.
        ident: Ident,
        /// Whose policy; `None` is the attestation key.
        slot: Option<KeySlot>,
        /// What it is.
        now: TouchPolicy,
    },
    /// There is no such policy.
    #[error("card {ident} has no touch policy for its {} key", name(*slot))]
    NoTouchPolicy {
        /// The card.
        ident: Ident,
        /// Whose policy; `None` is the attestation key.
        slot: Option<KeySlot>,
    },
    /// The card knows other policies.
    #[error("card {ident} does not know the touch policy {}", wanted.policy().word())]
    TouchNotOffered {
        /// The card.
        ident: Ident,
        /// What was asked for.
        wanted: Touch,
    },

    // Reset.
    /// A blocked admin PIN would stay blocked.
    #[error("card {ident} says that it cannot be reset")]
    CannotReset {
        /// The card.
        ident: Ident,
    },
    /// It is not as delivered.
    #[error("the card was reset and is not as delivered: {why}")]
    NotReset {
        /// What is different.
        why: &'static str,
    },

    /// The command was sent and no answer came.
    #[error("{error}, and whether {what} is not known")]
    Unsure {
        /// What may have happened.
        what: &'static str,
        /// What went wrong.
        error: CardError,
    },
}

/// A slot in words; `None` is the attestation key.
fn name(slot: Option<KeySlot>) -> &'static str {
    slot.map_or("attestation", KeySlot::word)
}
