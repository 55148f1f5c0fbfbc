//! The decorator around any card backend: it counts, remembers, masks, and keeps PINs to itself.
//!
//! `openpgp-card` drives the card through this. What the decorator adds:
//!
//! - every exchange is counted and kept, with the bytes of PIN commands never stored;
//! - the Application Related Data (DO 6E), which `openpgp-card` reads on every occasion, costs one
//!   APDU, asked for with extended Le where the ATR promises it;
//! - a card whose DO 6E is already known is selected only when the first real command follows, in
//!   the same transaction, so that nobody can select something else in between;
//! - the PIN is put into VERIFY here, below `openpgp-card`, whose trace log shows whole commands;
//! - GET RESPONSE and a corrected Le are handled here, bounded; `openpgp-card` panics over a card
//!   that announces extended length and then sends 61xx.

use card_backend::{CardBackend, CardCaps, CardTransaction, PinType, SmartcardError};
use zeroize::Zeroizing;

use super::apdu::{SELECT, changes_application_data, extended_length, hex, mask, with_le};
use super::tape::{Exchange, Tape};

/// The longest assembled answer in bytes: the largest that one extended APDU could bring.
const MAX_ANSWER: usize = 65_536;
/// Room for the longest single answer with its status bytes.
const ANSWER_BUFFER: usize = MAX_ANSWER + 2;
/// How often one command is continued: enough for `MAX_ANSWER` in short answers of 256 bytes.
const MAX_CONTINUATIONS: usize = 257;
/// Short commands carry 255 bytes of data; a card that claims less is not believed.
const LEAST_COMMAND: u16 = 255;

const GET_6E: [u8; 4] = [0x00, 0xca, 0x00, 0x6e];
const VERIFY_81: [u8; 4] = [0x00, 0x20, 0x00, 0x81];
const VERIFY_83: [u8; 4] = [0x00, 0x20, 0x00, 0x83];
const OPENPGP: [u8; 6] = [0xd2, 0x76, 0x00, 0x01, 0x24, 0x01];

/// A card backend with the decorator around it.
pub struct Recorder {
    inner: Box<dyn CardBackend + Send + Sync>,
    tape: Tape,
    /// The ATR promises extended length, which DO 6E needs before `openpgp-card` knows it.
    extended: bool,
    /// DO 6E was known from the start, so selecting waits for the first real command.
    primed: bool,
}

impl Recorder {
    /// Wraps `inner` and keeps what is exchanged on `tape`. `atr` may be empty if it is not known.
    pub fn new(inner: Box<dyn CardBackend + Send + Sync>, atr: &[u8], tape: &Tape) -> Self {
        Self { inner, tape: tape.clone(), extended: extended_length(atr), primed: false }
    }

    /// Like `new`, for a card known to be the one that gave `application_data` (with status bytes).
    pub(crate) fn primed(
        inner: Box<dyn CardBackend + Send + Sync>,
        atr: &[u8],
        tape: &Tape,
        application_data: Vec<u8>,
    ) -> Self {
        tape.set_application_data(Some(application_data));
        Self { primed: true, ..Self::new(inner, atr, tape) }
    }
}

impl From<Recorder> for Box<dyn CardBackend + Send + Sync> {
    fn from(recorder: Recorder) -> Self {
        Box::new(recorder)
    }
}

impl CardBackend for Recorder {
    fn limit_card_caps(&self, caps: CardCaps) -> CardCaps {
        let caps = self.inner.limit_card_caps(caps);
        CardCaps::new(
            caps.ext_support(),
            caps.chaining_support(),
            caps.max_cmd_bytes().max(LEAST_COMMAND),
            caps.max_rsp_bytes().max(LEAST_COMMAND),
            caps.pw1_max_len(),
            caps.pw3_max_len(),
        )
    }

    fn transaction(
        &mut self,
        reselect: Option<&[u8]>,
    ) -> Result<Box<dyn CardTransaction + Send + Sync + '_>, SmartcardError> {
        let extended = self.extended;
        let tape = self.tape.clone();
        if self.primed {
            let backend = Some(&mut self.inner);
            return Ok(Box::new(Recording { backend, inner: None, tape, extended, selected: false }));
        }
        let inner = self.inner.transaction(reselect)?;
        Ok(Box::new(Recording { backend: None, inner: Some(inner), tape, extended, selected: true }))
    }
}

type Inner<'a> = Box<dyn CardTransaction + Send + Sync + 'a>;

struct Recording<'a> {
    /// Where the transaction will come from, until it is needed.
    backend: Option<&'a mut Box<dyn CardBackend + Send + Sync>>,
    inner: Option<Inner<'a>>,
    tape: Tape,
    extended: bool,
    /// Whether our application is, or is about to be, the selected one without our doing.
    selected: bool,
}

impl<'a> Recording<'a> {
    /// The transaction below, opened now if it is not yet, with our application selected in it.
    fn opened(&mut self) -> Result<&mut Inner<'a>, SmartcardError> {
        if let Some(backend) = self.backend.take() {
            self.inner = Some(backend.transaction(None)?);
        }
        if !self.selected {
            let mut select = SELECT.to_vec();
            select.push(6);
            select.extend_from_slice(&OPENPGP);
            select.push(0);
            let answer = self.exchange(&select)?;
            match answer.as_slice() {
                [.., 0x90, 0x00] => self.selected = true,
                [.., sw1, sw2] => return Err(SmartcardError::SmartCardStatus(*sw1, *sw2)),
                _ => return Err(no_answer()),
            }
        }
        self.inner.as_mut().ok_or_else(|| SmartcardError::Error("the transaction is closed".to_owned()))
    }

    /// Sends one command, whole, and brings its whole answer.
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, SmartcardError> {
        let mut whole = Vec::new();
        let mut answer = self.transmit_once(command)?;
        for _ in 0..MAX_CONTINUATIONS {
            let (data, sw1, sw2) = split(&answer)?;
            let next = match sw1 {
                0x61 => {
                    whole.extend_from_slice(data);
                    vec![0x00, 0xc0, 0x00, 0x00, sw2]
                }
                // Wrong Le, and the card names the right one. Never again with a PIN: it may cost a try.
                0x6c if whole.is_empty() && !mask(command).1 => with_le(command, sw2),
                // Nothing to be done about it here, and the library must not see it: it panics.
                0x6c => return Err(SmartcardError::SmartCardStatus(sw1, sw2)),
                _ => {
                    whole.extend_from_slice(data);
                    whole.extend_from_slice(&[sw1, sw2]);
                    return Ok(whole);
                }
            };
            if whole.len() > MAX_ANSWER {
                break;
            }
            answer = self.transmit_once(&next)?;
        }
        Err(SmartcardError::Error(format!("the card's answer exceeds {MAX_ANSWER} bytes")))
    }

    fn transmit_once(&mut self, command: &[u8]) -> Result<Vec<u8>, SmartcardError> {
        let inner = self
            .inner
            .as_mut()
            .ok_or_else(|| SmartcardError::Error("the transaction is closed".to_owned()))?;
        // A card that is pulled may give success and no bytes; that is no answer either.
        let result = inner
            .transmit(command, ANSWER_BUFFER)
            .and_then(|answer| if answer.len() < 2 { Err(no_answer()) } else { Ok(answer) });
        let (shown, masked) = mask(command);
        log::trace!("card <- {}{}", hex(shown), if masked { " (data hidden)" } else { "" });
        match &result {
            Ok(answer) => log::trace!("card -> {}", hex(answer)),
            Err(error) => log::debug!("card -> no answer: {error}"),
        }
        self.tape.keep(Exchange { command: shown.to_vec(), masked, answer: result.as_ref().ok().cloned() });
        result
    }

    fn application_data(&mut self) -> Result<Vec<u8>, SmartcardError> {
        let mut short = GET_6E.to_vec();
        short.push(0);
        self.opened()?;
        let mut answer = if self.extended {
            let mut long = GET_6E.to_vec();
            long.extend_from_slice(&[0, 0, 0]);
            self.exchange(&long)?
        } else {
            self.exchange(&short)?
        };
        // The ATR speaks for the chip; the reader or the application may not go along.
        if self.extended && answer.as_slice() == [0x67, 0x00] {
            answer = self.exchange(&short)?;
        }
        if answer.ends_with(&[0x90, 0x00]) {
            self.tape.set_application_data(Some(answer.clone()));
        }
        Ok(answer)
    }

    fn verify(&mut self, header: &[u8], pin: &[u8]) -> Result<Vec<u8>, SmartcardError> {
        let length = u8::try_from(pin.len())
            .map_err(|_| SmartcardError::Error("the PIN does not fit a short command".to_owned()))?;
        let mut command = Zeroizing::new(Vec::with_capacity(header.len() + 1 + pin.len()));
        command.extend_from_slice(header);
        command.push(length);
        command.extend_from_slice(pin);
        self.opened()?;
        self.exchange(&command)
    }
}

impl CardTransaction for Recording<'_> {
    fn transmit(&mut self, command: &[u8], _: usize) -> Result<Vec<u8>, SmartcardError> {
        let header = command.get(..4).unwrap_or_default();
        if header == SELECT && !self.selected {
            return Ok(vec![0x90, 0x00]);
        }
        if header == GET_6E {
            return match self.tape.application_data() {
                Some(answer) => Ok(answer),
                None => self.application_data(),
            };
        }
        if changes_application_data(header) {
            self.tape.set_application_data(None);
        }
        if (header == VERIFY_81 || header == VERIFY_83) && command.len() > header.len() {
            // What the library brings is a placeholder, and sending that would cost a try.
            let pin = self.tape.take_pin().ok_or_else(|| SmartcardError::Error("no PIN".to_owned()))?;
            return self.verify(header, &pin);
        }
        self.opened()?;
        self.exchange(command)
    }

    fn max_cmd_len(&self) -> Option<usize> {
        self.inner.as_ref().and_then(|inner| inner.max_cmd_len())
    }

    fn feature_pinpad_verify(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.feature_pinpad_verify())
    }

    fn feature_pinpad_modify(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.feature_pinpad_modify())
    }

    fn pinpad_verify(&mut self, pin: PinType, caps: &Option<CardCaps>) -> Result<Vec<u8>, SmartcardError> {
        self.tape.set_application_data(None);
        let result = self.opened()?.pinpad_verify(pin, caps);
        self.tape.keep(Exchange {
            command: VERIFY_81.to_vec(),
            masked: true,
            answer: result.as_ref().ok().cloned(),
        });
        result
    }

    fn pinpad_modify(&mut self, pin: PinType, caps: &Option<CardCaps>) -> Result<Vec<u8>, SmartcardError> {
        self.tape.set_application_data(None);
        self.opened()?.pinpad_modify(pin, caps)
    }

    fn was_reset(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.was_reset())
    }
}

fn split(answer: &[u8]) -> Result<(&[u8], u8, u8), SmartcardError> {
    match answer {
        [data @ .., sw1, sw2] => Ok((data, *sw1, *sw2)),
        _ => Err(no_answer()),
    }
}

fn no_answer() -> SmartcardError {
    SmartcardError::Error("no answer".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    /// A card that answers from a list, whatever it is asked.
    struct Script(Vec<Vec<u8>>);

    impl CardBackend for Script {
        fn limit_card_caps(&self, caps: CardCaps) -> CardCaps {
            caps
        }
        fn transaction(
            &mut self,
            _: Option<&[u8]>,
        ) -> Result<Box<dyn CardTransaction + Send + Sync + '_>, SmartcardError> {
            Ok(Box::new(ScriptTx(&mut self.0)))
        }
    }

    struct ScriptTx<'a>(&'a mut Vec<Vec<u8>>);

    impl CardTransaction for ScriptTx<'_> {
        fn transmit(&mut self, _: &[u8], _: usize) -> Result<Vec<u8>, SmartcardError> {
            // The last answer repeats for ever.
            Ok(if self.0.len() > 1 { self.0.remove(0) } else { self.0[0].clone() })
        }
        fn feature_pinpad_verify(&self) -> bool {
            false
        }
        fn feature_pinpad_modify(&self) -> bool {
            false
        }
        fn pinpad_verify(&mut self, _: PinType, _: &Option<CardCaps>) -> Result<Vec<u8>, SmartcardError> {
            Err(no_answer())
        }
        fn pinpad_modify(&mut self, _: PinType, _: &Option<CardCaps>) -> Result<Vec<u8>, SmartcardError> {
            Err(no_answer())
        }
        fn was_reset(&self) -> bool {
            false
        }
    }

    fn ask(answers: &[&[u8]], command: &[u8]) -> (Result<Vec<u8>, SmartcardError>, Tape) {
        let script = Script(answers.iter().map(|answer| answer.to_vec()).collect());
        let tape = Tape::default();
        let mut recorder = Recorder::new(Box::new(script), &[], &tape);
        let result = recorder.transaction(None).unwrap().transmit(command, 0);
        (result, tape)
    }

    #[test]
    fn answers_in_parts_are_joined() {
        let (answer, tape) = ask(&[&[1, 2, 0x61, 2], &[3, 4, 0x90, 0]], &[0, 0xca, 0, 0x5e, 0]);
        assert_eq!(answer.unwrap(), [1, 2, 3, 4, 0x90, 0]);
        assert_eq!(tape.exchanges()[1].command, [0, 0xc0, 0, 0, 2]);
        let (answer, tape) = ask(&[&[0x6c, 7], &[9, 0x90, 0]], &[0, 0xca, 0, 0x5e, 0]);
        assert_eq!(answer.unwrap(), [9, 0x90, 0]);
        assert_eq!(tape.exchanges()[1].command, [0, 0xca, 0, 0x5e, 7]);
    }

    #[test]
    fn a_card_that_never_ends_is_ended() {
        let endless = [[7u8; 256].as_slice(), &[0x61, 0x00]].concat();
        let (answer, tape) = ask(&[&endless], &[0, 0xca, 0, 0x5e, 0]);
        assert!(answer.is_err());
        assert!(tape.count() <= MAX_CONTINUATIONS + 1);
        let (answer, _) = ask(&[&[0x6c, 0x01]], &[0, 0xca, 0, 0x5e, 0]);
        assert!(answer.is_err());
        assert!(ask(&[&[]], &[0, 0xca, 0, 0x5e, 0]).0.is_err());
        assert!(ask(&[&[0x90]], &[0, 0xca, 0, 0x5e, 0]).0.is_err());
    }
}
