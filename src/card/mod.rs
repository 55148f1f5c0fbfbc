//! Talking to cards: finding one, looking at it, signing with it, and telling exactly what went wrong.
//!
//! A card is reached through a [`Slot`], looked at once ([`Token::look`]), and signed with in a second
//! conversation that opens when statement and PIN are settled ([`CardSigner`]). All of it stands on
//! `card_backend`'s two traits, so PC/SC, scdaemon and the virtual card are driven by the same code.
//!
//! Nothing here prints. No log record holds a PIN, at any level: ours leave it out, and `openpgp-card`,
//! which logs whole commands at trace level, never gets to see it (`record`).

pub mod admin;
mod apdu;
mod application;
#[cfg(unix)]
mod assuan;
mod attest;
pub mod attestation;
pub mod certificate;
#[cfg(feature = "pcsc")]
mod contention;
pub mod error;
pub mod ident;
pub mod info;
mod kept;
mod key_slot;
pub mod keys;
mod link;
mod order;
#[cfg(feature = "pcsc")]
pub mod pcsc;
pub mod pin;
pub(crate) mod pin_rules;
#[cfg(all(feature = "pcsc", target_os = "linux"))]
mod processes;
#[cfg(unix)]
pub mod provision;
pub mod record;
#[cfg(unix)]
pub mod scdaemon;
pub mod select;
mod session;
pub mod slot;
pub mod tape;
mod tlv;
pub mod touch;
pub mod usb;
mod watch;

pub use admin::AdminError;
pub use attest::{Attestable, Attested};
#[cfg(all(feature = "pcsc", feature = "cli"))]
pub(crate) use contention::{clients as pcscd_clients, pcscd_socket};
pub use error::{CardError, Doing, Holder, Process};
pub use ident::Ident;
pub use info::{Algorithm, SignatureKey, TokenInfo, Touch, TouchNeed, TouchPolicy};
pub use kept::KeptPin;
pub use key_slot::KeySlot;
pub use keys::{CardKeys, PublicKey};
pub use pin::{Pin, Whose};
pub use pin_rules::PinFlaw;
pub use select::{CardPath, Reader, ReaderState, list, open};
pub use session::{Details, Token};
pub use slot::{InProcess, Route, Slot};
pub use tape::{Exchange, Tape};
pub use touch::{Attendant, CardSigner, PinEntry, PinRequest};
pub use watch::{Patience, Waiting};
