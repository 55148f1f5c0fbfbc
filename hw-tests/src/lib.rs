//! One behaviour suite for OpenPGP cards, as data, run on three kinds of card: the virtual card in process, the
//! virtual card behind a real pcscd, and real tokens.
//!
//! The scripts are `fixtures/cards/behaviour/*.script` and say in readable verbs what is sent and what must come back
//! ([`script`]). The [`runner`] carries one out on whatever is a [`TestCard`](card::TestCard): the
//! [card in process](card::InProcess), a [recording](record), a [card behind PC/SC](pcsc_card). What a card signs,
//! decrypts or attests is checked by openssl ([`check`]).

pub mod apdu;
pub mod attestation;
pub mod card;
pub mod check;
mod commands;
mod expectation;
pub mod factory;
pub mod keys;
pub mod library;
pub mod measure;
pub mod passwords;
pub mod pcsc_card;
pub mod record;
pub mod runner;
pub mod script;
pub mod serials;
pub mod suite;
pub mod tlv;
