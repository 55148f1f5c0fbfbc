//! What was exchanged with a card, kept without secrets, and what one conversation remembers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::apdu::{SELECT, writes};

/// Exchanges kept for the trace; a signature takes six, provisioning some two hundred.
const KEPT_EXCHANGES: usize = 4096;

/// One command and its answer, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The command; of one that carries a PIN only the four header bytes.
    pub command: Vec<u8>,
    /// Whether data bytes were left out of `command`.
    pub masked: bool,
    /// The answer with its status bytes; `None` if the exchange itself failed.
    pub answer: Option<Vec<u8>>,
}

impl Exchange {
    /// Whether the command was one that changes what a token keeps: settings, keys, PINs, its count of
    /// signatures. VERIFY is none.
    pub fn writes(&self) -> bool {
        writes(&self.command)
    }
}

/// A record of exchanges; clones write to the same one. It stays with us while `openpgp-card` owns the
/// backend.
#[derive(Clone, Default)]
pub struct Tape {
    log: Arc<Mutex<Log>>,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Log {
    exchanges: VecDeque<Exchange>,
    count: usize,
    writes: usize,
}

#[derive(Default)]
struct Memory {
    application_data: Option<Vec<u8>>,
    pin: Option<Zeroizing<Vec<u8>>>,
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape").field("count", &self.count()).finish_non_exhaustive()
    }
}

impl Tape {
    /// APDUs that went to the card.
    pub fn count(&self) -> usize {
        lock(&self.log).count
    }

    /// APDUs among them that could change what the token keeps, see [`Exchange::writes`].
    pub fn writes(&self) -> usize {
        lock(&self.log).writes
    }

    /// The last exchanges, oldest first, without secrets.
    pub fn exchanges(&self) -> Vec<Exchange> {
        lock(&self.log).exchanges.iter().cloned().collect()
    }

    /// The same record for another conversation, which remembers nothing of the ones before: one that was
    /// given up may still be going on.
    pub(crate) fn another(&self) -> Self {
        Self { log: Arc::clone(&self.log), memory: Arc::default() }
    }

    pub(crate) fn keep(&self, exchange: Exchange) {
        let mut log = lock(&self.log);
        log.count += 1;
        log.writes += usize::from(exchange.writes());
        if log.exchanges.len() == KEPT_EXCHANGES {
            log.exchanges.pop_front();
        }
        log.exchanges.push_back(exchange);
    }

    /// The answer to the last command, data and status; `None` if the exchange failed.
    pub(crate) fn last_answer(&self) -> Option<Vec<u8>> {
        lock(&self.log).exchanges.back().and_then(|exchange| exchange.answer.clone())
    }

    /// The status word of the last answer.
    pub(crate) fn last_status(&self) -> Option<u16> {
        match self.last_answer()?.as_slice() {
            [.., sw1, sw2] => Some(u16::from_be_bytes([*sw1, *sw2])),
            _ => None,
        }
    }

    /// Whether the last command was SELECT.
    pub(crate) fn ended_in_select(&self) -> bool {
        lock(&self.log).exchanges.back().is_some_and(|exchange| exchange.command.starts_with(&SELECT))
    }

    /// DO 6E as the card sent it, with its status bytes, as long as nothing can have changed it.
    pub(crate) fn application_data(&self) -> Option<Vec<u8>> {
        lock(&self.memory).application_data.clone()
    }

    pub(crate) fn set_application_data(&self, answer: Option<Vec<u8>>) {
        lock(&self.memory).application_data = answer;
    }

    /// What the next VERIFY for signing will carry instead of what it is called with. Used once.
    pub(crate) fn load_pin(&self, pin: Zeroizing<Vec<u8>>) {
        lock(&self.memory).pin = Some(pin);
    }

    /// Takes the PIN away, to use it or because no VERIFY came.
    pub(crate) fn take_pin(&self) -> Option<Zeroizing<Vec<u8>>> {
        lock(&self.memory).pin.take()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A log and a cache: still right, whatever panicked while holding it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
