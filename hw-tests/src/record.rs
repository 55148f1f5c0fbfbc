//! Recordings: what went over the wire while a script ran, and a card that plays it again.
//!
//! A recording is a transcript as [`virtual_openpgp_card::replay`] reads it, with each step before its exchanges. PINs
//! and private keys are in it, since they are the suite's own; so that every byte is compared.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use card_backend::{CardBackend, CardCaps, CardTransaction, PinType, SmartcardError};
use virtual_openpgp_card::Personality;
use virtual_openpgp_card::replay::Replay;

use crate::card::{Backend, CardFailure, TestCard};
use crate::script::{Script, Step, Touching, card_name};

/// Where recordings are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/cards/recordings")
}

/// The recording of a script on a card.
pub fn file(script: &Script, card: Personality) -> PathBuf {
    folder().join(format!("{}.{}.transcript", script.name, card_name(card)))
}

/// Another card, and what goes to it and comes from it.
#[derive(Debug)]
pub struct Recorded<C> {
    card: C,
    tape: Tape,
}

#[derive(Clone, Debug, Default)]
struct Tape(Arc<Mutex<String>>);

impl Tape {
    fn note(&self, line: &str) {
        let mut tape = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a string does not fail.
        let _ = writeln!(tape, "{line}");
    }
}

impl<C> Recorded<C> {
    /// Records what happens to that card.
    pub fn new(card: C) -> Self {
        Self { card, tape: Tape::default() }
    }

    /// What was recorded so far.
    pub fn transcript(&self) -> String {
        self.tape.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<C: TestCard> TestCard for Recorded<C> {
    fn connect(&mut self) -> Result<Backend, CardFailure> {
        let backend = self.card.connect()?;
        Ok(Box::new(RecordedBackend { backend, tape: self.tape.clone() }))
    }

    fn renew(&mut self) -> Result<(), CardFailure> {
        self.card.renew()
    }

    fn finger(&mut self, touching: Touching) -> Result<(), CardFailure> {
        self.card.finger(touching)
    }

    fn wait(&mut self, time: Duration) {
        self.card.wait(time);
    }

    fn announce(&mut self, step: &Step, may_ask: bool) {
        self.tape.note(&format!("# {}", step.text));
        self.card.announce(step, may_ask);
    }
}

struct RecordedBackend {
    backend: Backend,
    tape: Tape,
}

impl CardBackend for RecordedBackend {
    fn limit_card_caps(&self, caps: CardCaps) -> CardCaps {
        self.backend.limit_card_caps(caps)
    }

    fn transaction(
        &mut self,
        reselect: Option<&[u8]>,
    ) -> Result<Box<dyn CardTransaction + Send + Sync + '_>, SmartcardError> {
        let transaction = self.backend.transaction(reselect)?;
        Ok(Box::new(RecordedTransaction { transaction, tape: &self.tape }))
    }
}

struct RecordedTransaction<'a> {
    transaction: Box<dyn CardTransaction + Send + Sync + 'a>,
    tape: &'a Tape,
}

impl CardTransaction for RecordedTransaction<'_> {
    fn transmit(&mut self, command: &[u8], room: usize) -> Result<Vec<u8>, SmartcardError> {
        let answer = self.transaction.transmit(command, room);
        let heard = answer.as_ref().map_or_else(|_| "no answer".to_owned(), |answer| hex(answer));
        self.tape.note(&format!("{} -> {heard}", hex(command)));
        answer
    }

    fn feature_pinpad_verify(&self) -> bool {
        false
    }

    fn feature_pinpad_modify(&self) -> bool {
        false
    }

    fn pinpad_verify(&mut self, pin: PinType, caps: &Option<CardCaps>) -> Result<Vec<u8>, SmartcardError> {
        self.transaction.pinpad_verify(pin, caps)
    }

    fn pinpad_modify(&mut self, pin: PinType, caps: &Option<CardCaps>) -> Result<Vec<u8>, SmartcardError> {
        self.transaction.pinpad_modify(pin, caps)
    }

    fn was_reset(&self) -> bool {
        self.transaction.was_reset()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// A card that is only a recording: its finger and its time are in what it answers.
#[derive(Clone, Debug)]
pub struct Played(pub Replay);

impl TestCard for Played {
    fn connect(&mut self) -> Result<Backend, CardFailure> {
        Ok(self.0.backend().into())
    }

    fn renew(&mut self) -> Result<(), CardFailure> {
        Ok(())
    }

    fn finger(&mut self, _: Touching) -> Result<(), CardFailure> {
        Ok(())
    }

    fn wait(&mut self, _: Duration) {}
}
