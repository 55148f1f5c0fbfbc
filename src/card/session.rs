//! The two conversations with a card: looking at it, and signing with it.
//!
//! Between them nothing is open. The person reads the statement and types the PIN meanwhile; other
//! programs may use the card.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use openpgp_card::Error;
use openpgp_card::ocard::crypto::{HashAlgo, SigningAlgo};
use openpgp_card::ocard::data::KdfDo;
use openpgp_card::ocard::{OpenPGP, StatusBytes, Transaction};
use sequoia_openpgp::types::HashAlgorithm;

use super::error::CardError;
use super::info::{self, TokenInfo, TouchNeed, TouchPolicy};
use super::pin::{Pin, Whose};
use super::record::Recorder;
use super::slot::{Presence, Purpose, Route, Slot};
use super::tape::{Exchange, Tape};
use super::watch::{self, Event, Patience, Reporter, Step};

/// How long a card with a verified PIN is held while the person decides to try the touch again. Short,
/// for nobody else can use it meanwhile; afterwards trying again presents the PIN again.
const HOLD: Duration = Duration::from_secs(4);
/// A card waits for the finger for many seconds; one that says 6982 sooner has forgotten the PIN.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A card that was looked at, and where to find it again.
#[derive(Clone)]
pub struct Token {
    slot: Arc<dyn Slot>,
    info: TokenInfo,
    /// DO 6E as read, so that signing need not read it again.
    application_data: Vec<u8>,
    presence: Option<Presence>,
    tape: Tape,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("info", &self.info).finish_non_exhaustive()
    }
}

/// What takes more commands than a prompt is worth, for `card info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// Cardholder name as stored, with `<` for spaces; `None` if empty.
    pub cardholder: Option<String>,
    /// Whether the card derives PINs (KDF object).
    pub kdf_in_use: bool,
    /// Signatures made with the present key; `None` if the card does not say.
    pub signatures: Option<u32>,
}

/// How PW1 is presented.
#[derive(Clone, Debug)]
pub(crate) enum Secret {
    Typed(Pin),
    Pinpad,
}

/// One digest to be signed.
#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) secret: Secret,
    pub(crate) rsa: bool,
    pub(crate) hash: HashAlgorithm,
    pub(crate) digest: Vec<u8>,
}

impl Token {
    /// Looks at the card: SELECT and DO 6E, two APDUs where extended length is there.
    ///
    /// # Errors
    /// Why the card cannot be read.
    pub fn look(slot: Arc<dyn Slot>, patience: &Patience) -> Result<Self, CardError> {
        Self::look_on(slot, &Tape::default(), patience)
    }

    /// The same, with what is exchanged put on a tape that others write to.
    pub(crate) fn look_on(slot: Arc<dyn Slot>, tape: &Tape, patience: &Patience) -> Result<Self, CardError> {
        let tape = tape.another();
        watch::run_quietly(patience, move || look(slot, tape))
    }

    /// What the card says about itself.
    pub fn info(&self) -> &TokenInfo {
        &self.info
    }

    /// Where the card is.
    pub fn slot(&self) -> Arc<dyn Slot> {
        Arc::clone(&self.slot)
    }

    /// The way the card was reached.
    pub fn route(&self) -> Route {
        self.slot.route()
    }

    /// The tape that conversations of other modules write to.
    pub(super) fn tape(&self) -> &Tape {
        &self.tape
    }

    /// What was there when the card was looked at.
    pub(super) fn presence(&self) -> Option<&Presence> {
        self.presence.as_ref()
    }

    /// APDUs exchanged so far, failed attempts included.
    pub fn apdus(&self) -> usize {
        self.tape.count()
    }

    /// What was exchanged so far, without secrets.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.tape.exchanges()
    }

    /// Reads what [`TokenInfo`] leaves out: four APDUs more.
    ///
    /// # Errors
    /// Why the card cannot be read.
    pub fn details(&self, patience: &Patience) -> Result<Details, CardError> {
        let token = self.clone();
        watch::run_quietly(patience, move || details(&token))
    }

    /// Whether the card can attest its keys: whether its maker's certificate for that is on it (DO FC). What an
    /// attestation is worth is not judged here.
    ///
    /// # Errors
    /// Why the card cannot be read.
    pub fn attests(&self, patience: &Patience) -> Result<bool, CardError> {
        let token = self.clone();
        watch::run_quietly(patience, move || {
            token.reopen(Purpose::Look, None, |talk| match talk.tx.attestation_certificate() {
                Ok(certificate) => Ok(!certificate.is_empty()),
                // Whatever a card that does not know the object says.
                Err(Error::CardStatus(_)) => Ok(false),
                Err(error) => Err(talk.explain(error, "GET DATA FC")),
            })
        })
    }

    /// Signs. `again` is asked of while the thread reports a missed touch.
    pub(crate) fn sign(
        &mut self,
        task: Task,
        again: Receiver<()>,
        patience: &Patience,
        step: &mut dyn FnMut(Step),
    ) -> Result<Vec<u8>, CardError> {
        let token = self.clone();
        let result = watch::run(patience, move |reporter| sign(&token, &task, &again, reporter), step);
        self.note_pin(result)
    }

    /// Remembers what an outcome says about the tries that are left.
    pub(super) fn note_pin<T>(&mut self, result: Result<T, CardError>) -> Result<T, CardError> {
        match &result {
            Err(CardError::WrongPin { tries_left: Some(left) }) => self.info.pin_tries_left = *left,
            Err(CardError::PinBlocked) => self.info.pin_tries_left = 0,
            Ok(_) | Err(_) => {}
        }
        result
    }

    pub(super) fn note_touch(&mut self, policy: TouchPolicy) {
        self.info.touch = policy;
        self.note_changed();
    }

    /// What was kept of DO 6E may say otherwise now: the next conversation reads it again.
    pub(super) fn note_changed(&mut self) {
        self.presence = None;
    }

    /// Opens a conversation in which SELECT is already due, and checks that it is the same card.
    pub(super) fn reopen<T>(
        &self,
        purpose: Purpose,
        reporter: Option<&Reporter>,
        say: impl FnOnce(&mut Talk<'_, '_>) -> Result<T, CardError>,
    ) -> Result<T, CardError> {
        let connection = self.slot.connect(purpose)?;
        if let Some(reporter) = reporter {
            reporter.tell(Event::Connected);
        }
        let same = match (&self.presence, &connection.presence) {
            (Some(before), Some(now)) if before != now => {
                return Err(CardError::Changed { before: before.0.clone(), now: now.0.clone() });
            }
            (Some(_), Some(_)) => true,
            _ => false,
        };
        let tape = self.tape.another();
        let recorder = if same {
            let known = self.application_data.clone();
            Recorder::primed(connection.backend, &connection.atr, &tape, known)
        } else {
            Recorder::new(connection.backend, &connection.atr, &tape)
        };
        let slot = self.slot.as_ref();
        let presence = connection.presence.as_ref();
        let failed = |error, command| explain(error, command, slot, presence, &tape);
        let mut card = OpenPGP::new(recorder).map_err(|error| failed(error, "SELECT"))?;
        let mut tx = card.transaction().map_err(|error| failed(error, "SELECT"))?;
        let mut talk = Talk { tx: &mut tx, slot, presence, tape: &tape };
        if !same {
            self.compare(&mut talk)?;
        }
        say(&mut talk)
    }

    /// Without a mark of presence the card itself has to say that it is the same.
    fn compare(&self, talk: &mut Talk<'_, '_>) -> Result<(), CardError> {
        let ard = talk.tx.application_related_data().map_err(|error| talk.explain(error, "GET DATA 6E"))?;
        let now = info::read(&ard, &self.info.reader, self.info.pinpad)?;
        if now.ident != self.info.ident || now.signature_key != self.info.signature_key {
            return Err(CardError::Changed { before: describe(&self.info), now: describe(&now) });
        }
        Ok(())
    }
}

fn describe(info: &TokenInfo) -> String {
    match &info.signature_key {
        Some(key) => format!("card {} with key {}", info.ident, key.fingerprint),
        None => format!("card {} without a key", info.ident),
    }
}

/// An open transaction and what is needed to explain its failures.
pub(super) struct Talk<'t, 'c> {
    pub(super) tx: &'t mut Transaction<'c>,
    slot: &'t dyn Slot,
    presence: Option<&'t Presence>,
    pub(super) tape: &'t Tape,
}

impl Talk<'_, '_> {
    pub(super) fn explain(&self, error: Error, command: &'static str) -> CardError {
        explain(error, command, self.slot, self.presence, self.tape)
    }

    /// The KDF object, if the card has one. Only a clear "not found" means that it has none: a PIN
    /// presented raw to a card that expects a derived one costs a try.
    pub(super) fn kdf(&mut self, info: &TokenInfo) -> Result<Option<KdfDo>, CardError> {
        const COMMAND: &str = "GET DATA F9";
        if !info.kdf_supported {
            return Ok(None);
        }
        match self.tx.kdf_do() {
            Ok(kdf) => Ok(Some(kdf)),
            Err(Error::CardStatus(StatusBytes::ReferencedDataNotFound)) => Ok(None),
            // An empty object, which the library cannot tell from a broken one.
            Err(Error::ParseError(_)) if self.tape.last_answer().as_deref() == Some(&[0x90, 0x00]) => {
                Ok(None)
            }
            Err(Error::ParseError(why)) => Err(CardError::Kdf { why }),
            Err(error) => Err(self.explain(error, COMMAND)),
        }
    }

    pub(super) fn verify(
        &mut self,
        secret: &Secret,
        kdf: Option<&KdfDo>,
        reporter: &Reporter,
    ) -> Result<(), CardError> {
        let result = match secret {
            Secret::Typed(pin) => {
                self.tape.load_pin(pin.for_card(kdf, Whose::User)?);
                // The decorator puts the PIN in; the library, which may log, sees these bytes only.
                let result = self.tx.verify_pw1_sign(vec![0; 6].into());
                drop(self.tape.take_pin());
                result
            }
            Secret::Pinpad if kdf.is_some_and(|kdf| kdf.kdf_algo() != 0) => {
                return Err(CardError::Kdf { why: "a PIN typed at the reader cannot be derived".to_owned() });
            }
            Secret::Pinpad => {
                reporter.tell(Event::Pinpad);
                self.tx.verify_pw1_sign_pinpad()
            }
        };
        match result {
            Ok(()) => Ok(()),
            Err(Error::CardStatus(status)) => match (secret, pinpad_gave_up(&status)) {
                (Secret::Pinpad, Some(why)) => Err(CardError::NoPin { why: why.to_owned() }),
                _ => Err(self.wrong_pin(status)),
            },
            Err(error) => Err(self.explain(error, "VERIFY")),
        }
    }

    /// What a status word after VERIFY means. Cards differ: 63Cx counts, a YubiKey says 6982.
    fn wrong_pin(&mut self, status: StatusBytes) -> CardError {
        match status {
            StatusBytes::PasswordNotChecked(0) | StatusBytes::AuthenticationMethodBlocked => {
                CardError::PinBlocked
            }
            StatusBytes::PasswordNotChecked(left) => CardError::WrongPin { tries_left: Some(left) },
            StatusBytes::SecurityStatusNotSatisfied => match self.tries_left() {
                Some(0) => CardError::PinBlocked,
                tries_left => CardError::WrongPin { tries_left },
            },
            other => self.explain(other.into(), "VERIFY"),
        }
    }

    fn tries_left(&mut self) -> Option<u8> {
        let ard = self.tx.application_related_data().ok()?;
        Some(ard.pw_status_bytes().ok()?.err_count_pw1())
    }

    /// PSO: COMPUTE DIGITAL SIGNATURE, once.
    fn compute(&mut self, task: &Task, need: TouchNeed, reporter: &Reporter) -> Result<Vec<u8>, CardError> {
        const COMMAND: &str = "PSO: COMPUTE DIGITAL SIGNATURE";
        let algo = if task.rsa {
            SigningAlgo::RSA(match task.hash {
                HashAlgorithm::SHA256 => HashAlgo::SHA256,
                HashAlgorithm::SHA384 => HashAlgo::SHA384,
                HashAlgorithm::SHA512 => HashAlgo::SHA512,
                other => {
                    return Err(CardError::UnsupportedAlgorithm { algorithm: format!("RSA with {other}") });
                }
            })
        } else {
            SigningAlgo::ECC
        };
        reporter.tell(if need == TouchNeed::Never { Event::Signing } else { Event::Touch });
        let began = Instant::now();
        match self.tx.signature_for_hash(algo, &task.digest) {
            Ok(signature) => Ok(signature),
            Err(error) => Err(self.untouched(error, COMMAND, need, began)),
        }
    }

    /// What a status word means that came instead of a touch, or of what the touch was for.
    pub(super) fn untouched(
        &self,
        error: Error,
        command: &'static str,
        need: TouchNeed,
        began: Instant,
    ) -> CardError {
        match error {
            Error::CardStatus(StatusBytes::SecurityRelatedIssues) => {
                CardError::NotTouched { waited: began.elapsed() }
            }
            // After a good VERIFY in this transaction this is the finger, not the PIN.
            Error::CardStatus(StatusBytes::SecurityStatusNotSatisfied) if need != TouchNeed::Never => {
                CardError::NotTouched { waited: began.elapsed() }
            }
            other => self.explain(other, command),
        }
    }
}

/// What a reader with keys of its own says when no PIN came out of them.
///
/// # Source
/// PC/SC part 10, the answers 6400, 6401 and 6403 to FEATURE_VERIFY_PIN_DIRECT.
fn pinpad_gave_up(status: &StatusBytes) -> Option<&'static str> {
    match status {
        StatusBytes::ExecutionErrorNonVolatileMemoryUnchanged => Some("the reader waited in vain"),
        StatusBytes::UnknownStatus(0x64, 0x01) => Some("cancelled at the reader"),
        StatusBytes::TriggeringByCard(0x03) => Some("too short or too long for the reader"),
        _ => None,
    }
}

fn look(slot: Arc<dyn Slot>, tape: Tape) -> Result<Token, CardError> {
    let before = tape.count();
    let connection = slot.connect(Purpose::Look)?;
    let presence = connection.presence;
    let recorder = Recorder::new(connection.backend, &connection.atr, &tape);
    let failed = |error, command| explain(error, command, slot.as_ref(), presence.as_ref(), &tape);
    let mut card = match OpenPGP::new(recorder) {
        Ok(card) => card,
        Err(Error::CardStatus(StatusBytes::FileOrApplicationNotFound)) if tape.count() == before + 1 => {
            return Err(CardError::NoApplication { reader: slot.name().to_owned() });
        }
        Err(error) => {
            return Err(failed(error, if tape.count() < before + 2 { "SELECT" } else { "GET DATA 6E" }));
        }
    };
    let ard = card
        .transaction()
        .and_then(|mut tx| tx.application_related_data())
        .map_err(|error| failed(error, "GET DATA 6E"))?;
    let info = info::read(&ard, slot.name(), connection.pinpad)?;
    let application_data = tape
        .application_data()
        .ok_or_else(|| CardError::Malformed { command: "GET DATA 6E", why: "it was not kept".to_owned() })?;
    drop(card);
    Ok(Token { slot, info, application_data, presence, tape })
}

fn sign(token: &Token, task: &Task, again: &Receiver<()>, reporter: &Reporter) -> Result<Vec<u8>, CardError> {
    token.reopen(Purpose::Sign, Some(reporter), |talk| {
        let kdf = talk.kdf(&token.info)?;
        talk.verify(&task.secret, kdf.as_ref(), reporter)?;
        let need = token.info.touch.need();
        let mut result = talk.compute(task, need, reporter);
        while let Err(CardError::NotTouched { waited }) = result {
            reporter.tell(Event::NotTouched(waited));
            if again.recv_timeout(HOLD).is_err() {
                return Err(CardError::NotTouched { waited });
            }
            result = talk.compute(task, need, reporter);
            if matches!(result, Err(CardError::NotTouched { waited }) if waited < AT_ONCE) {
                talk.verify(&task.secret, kdf.as_ref(), reporter)?;
                result = talk.compute(task, need, reporter);
            }
        }
        result
    })
}

fn details(token: &Token) -> Result<Details, CardError> {
    token.reopen(Purpose::Look, None, |talk| {
        let kdf = talk.kdf(&token.info)?;
        let holder = talk.tx.cardholder_related_data().map_err(|error| talk.explain(error, "GET DATA 65"))?;
        let cardholder = holder.name().filter(|name| !name.is_empty());
        let cardholder = cardholder.map(|name| String::from_utf8_lossy(name).into_owned());
        let signatures = talk.tx.security_support_template().ok().map(|count| count.signature_count());
        let kdf_in_use = kdf.is_some_and(|kdf| kdf.kdf_algo() != 0);
        Ok(Details { cardholder, kdf_in_use, signatures })
    })
}

/// Turns an error of the card library into a fact. Whether the card is still there decides most.
fn explain(
    error: Error,
    command: &'static str,
    slot: &dyn Slot,
    presence: Option<&Presence>,
    tape: &Tape,
) -> CardError {
    use card_backend::SmartcardError;
    match error {
        Error::CardStatus(_) => CardError::Refused { command, sw: tape.last_status().unwrap_or_default() },
        Error::Smartcard(SmartcardError::SmartCardStatus(sw1, sw2)) => {
            // SELECT is sent late, on the way to another command.
            let command = if tape.ended_in_select() { "SELECT" } else { command };
            CardError::Refused { command, sw: u16::from_be_bytes([sw1, sw2]) }
        }
        Error::Smartcard(error) => failed(slot, presence, error.to_string()),
        Error::ResponseLength(_) => failed(slot, presence, "no answer".to_owned()),
        other => CardError::Malformed { command, why: other.to_string() },
    }
}

fn failed(slot: &dyn Slot, presence: Option<&Presence>, message: String) -> CardError {
    slot.diagnose(&message, presence).unwrap_or(CardError::Transport { message })
}
