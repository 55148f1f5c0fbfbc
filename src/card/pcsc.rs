//! Cards in readers, through PC/SC.
//!
//! Looking leaves the card as it was, over a small backend of our own; signing goes through
//! `card-backend-pcsc`, which resets the card at the end and knows readers with keys of their own.
//! That crate turns PC/SC errors into text, so after a failure the service is asked again what became
//! of the card.

use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use card_backend::{CardBackend, CardCaps, CardTransaction, PinType, SmartcardError};
use card_backend_pcsc::PcscBackend;
use pcsc::{Context, Disposition, Error, Protocols, ReaderState, Scope, ShareMode, State};

use super::contention;
use super::error::{CardError, Holder};
use super::slot::{Connection, Presence, Purpose, Route, Slot};

/// pcsc-lite itself knows no more readers than this.
const MAX_READERS: usize = 16;
/// How long a pulled card may take to be noticed: pcscd polls some readers every 0.4 s.
const NOTICE: Duration = Duration::from_millis(1500);
/// How often, and how far apart, a card is tried again that is held by nobody whom we may see.
const RELEASES: u32 = 5;
const RELEASE: Duration = Duration::from_millis(100);
/// Resets by others that are taken in stride before a transaction.
const MAX_RESETS: usize = 3;
/// IOCTL and tag by which a reader says that it verifies PINs (PC/SC part 10).
const GET_FEATURE_REQUEST: u32 = 3400;
const FEATURE_VERIFY_PIN_DIRECT: u8 = 0x06;

/// A reader, by its name.
pub struct ReaderSlot {
    reader: CString,
    name: String,
}

/// Every reader that the service knows.
///
/// # Errors
/// [`CardError::NoPcscd`] without the service, which is not the same as no reader.
pub fn readers() -> Result<Vec<Arc<ReaderSlot>>, CardError> {
    let names = match context()?.list_readers_owned() {
        Ok(names) => names,
        Err(Error::NoReadersAvailable) => Vec::new(),
        Err(error) => return Err(service(error)),
    };
    let slot = |reader: CString| {
        let name = reader.to_string_lossy().into_owned();
        Arc::new(ReaderSlot { reader, name })
    };
    Ok(names.into_iter().take(MAX_READERS).map(slot).collect())
}

impl Slot for ReaderSlot {
    fn name(&self) -> &str {
        &self.name
    }

    fn route(&self) -> Route {
        Route::Direct
    }

    fn connect(&self, purpose: Purpose) -> Result<Connection, CardError> {
        let context = context()?;
        let card = self.card(&context)?;
        // Read while connected: a card exchanged later is noticed, one exchanged before is not ours.
        let state = state(&context, &self.reader, State::UNAWARE, Duration::ZERO).map_err(service)?;
        let presence = presence(&state);
        let atr = state.atr().to_vec();
        let pinpad = has_pinpad(&card);
        let backend: Box<dyn CardBackend + Send + Sync> = match purpose {
            Purpose::Look => Box::new(Look { card: Some(card) }),
            Purpose::Sign => PcscBackend::from_pcsc_card(&self.reader, ShareMode::Shared, card)
                .map_err(|error| {
                    self.diagnose(&error.to_string(), None).unwrap_or_else(|| transport(&error))
                })?
                .into(),
        };
        Ok(Connection { backend, atr, presence, pinpad })
    }

    fn diagnose(&self, message: &str, before: Option<&Presence>) -> Option<CardError> {
        if ["CommError", "NoService", "ServiceStopped"].iter().any(|word| message.contains(word)) {
            return Some(CardError::PcscdLost);
        }
        let Ok(context) = context() else { return Some(CardError::PcscdLost) };
        let until = Instant::now() + NOTICE;
        let mut known = State::UNAWARE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let state = match state(&context, &self.reader, known, left) {
                Ok(state) => state,
                Err(Error::Timeout) => return None,
                Err(Error::UnknownReader | Error::ReaderUnavailable | Error::NoReadersAvailable) => {
                    return Some(CardError::Removed);
                }
                Err(_) => return Some(CardError::PcscdLost),
            };
            let now = state.event_state();
            let gone = !now.contains(State::PRESENT) || now.intersects(State::EMPTY | State::UNKNOWN);
            let changed = before.is_some() && presence(&state).as_ref() != before;
            if gone || changed {
                return Some(CardError::Removed);
            }
            if left.is_zero() {
                return None;
            }
            known = now;
        }
    }
}

impl ReaderSlot {
    /// Whether other programs are connected to the card and it can be had beside them.
    pub(crate) fn is_shared(&self) -> bool {
        let state = context().map(|context| state(&context, &self.reader, State::UNAWARE, Duration::ZERO));
        let Ok(Ok(state)) = state else { return false };
        let now = state.event_state();
        now.contains(State::INUSE) && !now.contains(State::EXCLUSIVE)
    }

    /// Connects; again where the card was held by somebody who has gone since, as a scdaemon does that was told to end.
    fn card(&self, context: &Context) -> Result<pcsc::Card, CardError> {
        let mut tries = 0..RELEASES;
        loop {
            let error = match context.connect(&self.reader, ShareMode::Shared, Protocols::ANY) {
                Ok(card) => return Ok(card),
                Err(error) => self.unconnected(error),
            };
            let nobody = matches!(error, CardError::InUse { by: Holder::Unknown, .. });
            if !nobody || tries.next().is_none() {
                return Err(error);
            }
            thread::sleep(RELEASE);
        }
    }

    fn unconnected(&self, error: Error) -> CardError {
        let reader = self.name.clone();
        match error {
            Error::SharingViolation => CardError::InUse { reader, by: contention::holder() },
            Error::NoSmartcard | Error::RemovedCard => CardError::NoCard { readers: vec![reader] },
            Error::UnknownReader | Error::ReaderUnavailable => CardError::Removed,
            Error::UnresponsiveCard
            | Error::UnpoweredCard
            | Error::UnsupportedCard
            | Error::ProtoMismatch => CardError::Unreadable { reader, why: error.to_string() },
            other => service(other),
        }
    }
}

fn context() -> Result<Context, CardError> {
    Context::establish(Scope::User).map_err(|error| match error {
        Error::NoService | Error::ServiceStopped => CardError::NoPcscd,
        other => service(other),
    })
}

fn service(error: Error) -> CardError {
    match error {
        Error::NoService | Error::ServiceStopped | Error::CommError => CardError::PcscdLost,
        // polkit's no, to the service as a whole or to this reader.
        Error::SecurityViolation => CardError::PcscdDenied,
        other => CardError::Pcsc { message: other.to_string() },
    }
}

fn transport(error: &SmartcardError) -> CardError {
    CardError::Transport { message: error.to_string() }
}

/// The state of a reader once it differs from `known`.
fn state(context: &Context, reader: &CStr, known: State, wait: Duration) -> Result<ReaderState, Error> {
    let mut states = [ReaderState::new(reader.to_owned(), known)];
    context.get_status_change(wait, &mut states)?;
    let [state] = states;
    Ok(state)
}

/// The service counts insertions and removals for each reader, on the systems where we know that it does.
fn presence(state: &ReaderState) -> Option<Presence> {
    let counts = cfg!(any(target_os = "linux", target_os = "windows"));
    counts.then(|| Presence(format!("{} #{}", state.name().to_string_lossy(), state.event_count())))
}

fn has_pinpad(card: &pcsc::Card) -> bool {
    let mut buffer = [0; 256];
    let Ok(mut rest) = card.control(pcsc::ctl_code(GET_FEATURE_REQUEST.into()), &[], &mut buffer) else {
        return false;
    };
    while let [tag, length, tail @ ..] = rest {
        if *tag == FEATURE_VERIFY_PIN_DIRECT {
            return true;
        }
        rest = tail.get(usize::from(*length)..).unwrap_or_default();
    }
    false
}

/// Reads, and leaves the card as it was.
struct Look {
    card: Option<pcsc::Card>,
}

impl Drop for Look {
    fn drop(&mut self) {
        if let Some(card) = self.card.take()
            && let Err((card, _)) = card.disconnect(Disposition::LeaveCard)
        {
            // The service is gone or the card is: nothing is left to be left.
            drop(card);
        }
    }
}

impl CardBackend for Look {
    fn limit_card_caps(&self, caps: CardCaps) -> CardCaps {
        caps
    }

    fn transaction(
        &mut self,
        _: Option<&[u8]>,
    ) -> Result<Box<dyn CardTransaction + Send + Sync + '_>, SmartcardError> {
        let mut card = self.card.as_mut().ok_or_else(|| SmartcardError::Error("closed".to_owned()))?;
        for _ in 0..MAX_RESETS {
            match card.transaction2() {
                Ok(transaction) => return Ok(Box::new(LookTransaction(transaction))),
                Err((same, Error::ResetCard)) => {
                    card = same;
                    card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::LeaveCard)
                        .map_err(text)?;
                }
                Err((_, error)) => return Err(text(error)),
            }
        }
        Err(SmartcardError::Error("the card is being reset again and again".to_owned()))
    }
}

struct LookTransaction<'a>(pcsc::Transaction<'a>);

impl CardTransaction for LookTransaction<'_> {
    fn transmit(&mut self, command: &[u8], room: usize) -> Result<Vec<u8>, SmartcardError> {
        let mut buffer = vec![0; room];
        self.0.transmit(command, &mut buffer).map(<[u8]>::to_vec).map_err(text)
    }

    fn feature_pinpad_verify(&self) -> bool {
        false
    }

    fn feature_pinpad_modify(&self) -> bool {
        false
    }

    fn pinpad_verify(&mut self, _: PinType, _: &Option<CardCaps>) -> Result<Vec<u8>, SmartcardError> {
        Err(SmartcardError::Error("no PIN is presented while only looking".to_owned()))
    }

    fn pinpad_modify(&mut self, _: PinType, _: &Option<CardCaps>) -> Result<Vec<u8>, SmartcardError> {
        Err(SmartcardError::Error("no PIN is changed while only looking".to_owned()))
    }

    fn was_reset(&self) -> bool {
        false
    }
}

/// The error's identifier, as `card-backend-pcsc` writes it too.
fn text(error: Error) -> SmartcardError {
    SmartcardError::Error(format!("{error:?}"))
}
