//! A person for the card tests, and the card that they hold; in `stack`, the same on a real card stack.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

#[cfg(feature = "pcsc")]
pub mod stack;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sequoia_openpgp::Packet;
use sequoia_openpgp::crypto::Signer;
use sequoia_openpgp::packet::{Key, Signature, key};
use sequoia_openpgp::parse::Parse;
use touchgate::card::certificate::{CertificateError, Made};
use touchgate::card::{
    Attendant, CardError, CardSigner, InProcess, Patience, Pin, PinEntry, PinRequest, Token, TokenInfo,
    TouchNeed,
};
use touchgate::sign::{self, SignError};
use virtual_openpgp_card::{Algorithm, Builder, Slot, VirtualCard};

/// When the keys of these tests were made: 2023-11-14.
pub const CREATED: u32 = 1_700_000_000;
/// The PIN that every virtual card begins with.
pub const PIN: &str = "123456";
/// What is signed.
pub const STATEMENT: &[u8] = b"touchgate v1 approve\naudience: approve.example.com\n";

/// Long enough that no test ends by it.
pub fn patience() -> Patience {
    Patience::lasting(Duration::from_secs(300))
}

pub fn pin(text: &str) -> Pin {
    Pin::new(text.as_bytes().to_vec().into()).unwrap()
}

/// Somebody who has these PINs to give and this much patience with the touch.
#[derive(Default)]
pub struct Person {
    pub pins: VecDeque<PinEntry>,
    /// How often to try again after a missed touch.
    pub retries: usize,
    pub asked: usize,
    pub touches: Vec<TouchNeed>,
    pub missed: usize,
    pub on_touch: Option<Box<dyn FnMut()>>,
}

impl Person {
    pub fn with_pins(pins: &[&str]) -> Self {
        Self { pins: pins.iter().map(|text| PinEntry::Typed(pin(text))).collect(), ..Self::default() }
    }
}

impl Attendant for Person {
    fn pin(&mut self, _: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
        self.asked += 1;
        Ok(self.pins.pop_front())
    }

    fn touch_needed(&mut self, _: &TokenInfo, need: TouchNeed) {
        self.touches.push(need);
        if let Some(act) = &mut self.on_touch {
            act();
        }
    }

    fn not_touched(&mut self, _: Duration) -> bool {
        self.missed += 1;
        self.missed <= self.retries
    }
}

/// A card with an Ed25519 signature key.
pub fn card(builder: Builder) -> VirtualCard {
    card_with(builder, Algorithm::Ed25519)
}

pub fn card_with(builder: Builder, algorithm: Algorithm) -> VirtualCard {
    let card = builder.build();
    card.generate(Slot::Signature, algorithm, CREATED).unwrap();
    card
}

pub fn look(card: &VirtualCard) -> Result<Token, CardError> {
    Token::look(Arc::new(InProcess::virtual_card(card)), &patience())
}

/// Looks and signs, the way an approval does, with a key already known.
pub fn approve(
    card: &VirtualCard,
    key: &Key<key::PublicParts, key::UnspecifiedRole>,
    person: &mut Person,
) -> Result<Vec<u8>, CardError> {
    sign_with(&mut look(card)?, key, person, patience())
}

pub fn sign_with(
    token: &mut Token,
    key: &Key<key::PublicParts, key::UnspecifiedRole>,
    person: &mut Person,
    patience: Patience,
) -> Result<Vec<u8>, CardError> {
    let mut signer = CardSigner::new(token, key.clone(), person, patience)?;
    sign::detached(&mut signer, STATEMENT, now()).map_err(card_error)
}

/// The public key of a card without faults.
pub fn key(card: &VirtualCard) -> Key<key::PublicParts, key::UnspecifiedRole> {
    look(card).unwrap().signature_key(&patience()).unwrap()
}

pub fn card_error(error: SignError) -> CardError {
    match error {
        SignError::Card(error) => error,
        SignError::OpenPgp { message } => unreachable!("openpgp: {message}"),
    }
}

/// A certificate, or what the card said to it.
pub fn certified(made: Result<Made, CertificateError>) -> Result<Made, CardError> {
    match made {
        Err(CertificateError::Sign(error)) => Err(card_error(error)),
        other => Ok(other.unwrap()),
    }
}

pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_600_000)
}

pub fn packet(bytes: &[u8]) -> Signature {
    match Packet::from_bytes(bytes).unwrap() {
        Packet::Signature(signature) => signature,
        other => unreachable!("{other:?}"),
    }
}

/// Signs with any signer, for comparison.
pub fn detached(signer: &mut dyn Signer) -> Vec<u8> {
    sign::detached(signer, STATEMENT, now()).unwrap()
}

/// Sends a command to the card beside everything and wants 9000.
pub fn send(card: &VirtualCard, command: &[u8]) {
    let answer = card.transmit(command).unwrap();
    assert!(answer.ends_with(&[0x90, 0x00]), "{command:02x?} -> {answer:02x?}");
}

/// A command with short Lc and no Le.
pub fn command(header: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut bytes = header.to_vec();
    bytes.push(u8::try_from(data.len()).unwrap());
    bytes.extend_from_slice(data);
    bytes
}

pub const SELECT: &[u8] = &[0x00, 0xa4, 0x04, 0x00, 6, 0xd2, 0x76, 0x00, 0x01, 0x24, 0x01];

/// How often VERIFY for signing reached the card.
pub fn verifies(card: &VirtualCard) -> usize {
    card.trace().iter().filter(|exchange| exchange.command.starts_with(&[0x00, 0x20, 0x00, 0x81])).count()
}
