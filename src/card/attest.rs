//! ATTEST, Yubico's: the token vouches for one of its keys. That overwrites the certificate object of the key's slot.

use std::time::Instant;

use openpgp_card::Error;
use openpgp_card::ocard::StatusBytes;

use super::attestation::{AttestationError, Statement};
use super::error::CardError;
use super::info::{TouchNeed, TouchPolicy};
use super::key_slot::KeySlot;
use super::session::{Secret, Talk, Token};
use super::slot::Purpose;
use super::touch::{Attendant, ask};
use super::watch::{self, Event, Patience, Reporter, Step};

/// The most bytes in one certificate: twice what a YubiKey's certificate objects hold.
const MAX_CERTIFICATE: usize = 8192;
/// The tag of a cardholder certificate.
const CERTIFICATE: [u8; 2] = [0x7f, 0x21];
const READ_CERTIFICATE: &str = "GET DATA 7F21";

/// What the card gave, in DER. Nothing about it is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The attestation: DO 7F21 of the slot.
    pub attestation: Vec<u8>,
    /// The certificate of the key that signed it: DO FC.
    pub device: Vec<u8>,
}

/// A key that the token can attest, as far as it says before anybody is asked. Only [`Token::attestable`] makes one.
#[derive(Clone, Debug)]
pub struct Attestable {
    slot: KeySlot,
    device: Vec<u8>,
}

impl Attestable {
    /// Where the key is.
    pub fn slot(&self) -> KeySlot {
        self.slot
    }
}

impl Token {
    /// Whether the key in `slot` can be attested, and nothing worth keeping is lost by it: five APDUs, no PIN.
    ///
    /// # Errors
    /// [`CardError::NotAttested`] without attestation certificate; [`CardError::CertificateInTheWay`] unless `overwrite`.
    pub fn attestable(
        &self,
        slot: KeySlot,
        overwrite: bool,
        patience: &Patience,
    ) -> Result<Attestable, CardError> {
        let token = self.clone();
        let device = watch::run_quietly(patience, move || prepare(&token, slot, overwrite))?;
        Ok(Attestable { slot, device })
    }

    /// Has the token attest the key in `slot`. What stood in the slot's certificate object is lost; anything but an
    /// earlier attestation only if `overwrite`.
    ///
    /// It takes the PIN, and a touch where the attestation key's own policy (DO D9) says so.
    ///
    /// # Errors
    /// [`CardError::NotAttested`] where the card, the slot or the key's origin does not allow it, and
    /// [`CardError::CertificateInTheWay`]: as far as the card says so by itself, before the PIN is asked for. Otherwise
    /// as for a signature.
    ///
    /// # Source
    /// Yubico, OpenPGP attestation (INS FB, DO FC); OpenPGP card 3.4.1, section 7.2.5 (SELECT DATA).
    pub fn attest(
        &mut self,
        slot: KeySlot,
        overwrite: bool,
        attendant: &mut dyn Attendant,
        patience: &Patience,
    ) -> Result<Attested, CardError> {
        let attestable = self.attestable(slot, overwrite, patience)?;
        self.attest_now(attestable, attendant, patience)
    }

    /// The part of [`Token::attest`] after it was found that nothing is in the way: seven APDUs.
    ///
    /// # Errors
    /// As for a signature, and [`CardError::NotAttested`] where the slot or the key's origin does not allow it.
    pub fn attest_now(
        &mut self,
        attestable: Attestable,
        attendant: &mut dyn Attendant,
        patience: &Patience,
    ) -> Result<Attested, CardError> {
        let Attestable { slot, device } = attestable;
        let need = need(self.info().attestation_touch);
        let mut refused = None;
        let mut secret = ask(self.info(), attendant, &mut refused)?;
        loop {
            let (token, presented) = (self.clone(), secret.clone());
            let info = self.info().clone();
            let mut step = |step| match step {
                Step::Event(Event::Pinpad) => attendant.pinpad(&info),
                Step::Event(Event::Touch) => attendant.touch_needed(&info, need),
                Step::Event(_) => {}
                Step::Tick { doing, waited, left } => attendant.waiting(doing, waited, left),
            };
            let job = move |reporter: &Reporter| attest(&token, slot, &presented, need, reporter);
            let result = watch::run(patience, job, &mut step);
            match self.note_pin(result) {
                Ok(attestation) => return Ok(Attested { attestation, device }),
                Err(error @ CardError::WrongPin { .. }) => {
                    refused = Some(error);
                    secret = ask(self.info(), attendant, &mut refused)?;
                }
                Err(CardError::NotTouched { waited }) if attendant.not_touched(waited) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A card that does not say whether attesting needs a touch may still want one.
fn need(policy: TouchPolicy) -> TouchNeed {
    if policy == TouchPolicy::None { TouchNeed::Perhaps } else { policy.need() }
}

/// The token's own certificate, which Yubico put there, once it is clear that nothing worth keeping is lost.
fn prepare(token: &Token, slot: KeySlot, overwrite: bool) -> Result<Vec<u8>, CardError> {
    const COMMAND: &str = "GET DATA FC";
    let ident = token.info().ident;
    let none = CardError::NotAttested { ident, slot, why: "it has no attestation certificate" };
    token.reopen(Purpose::Look, None, |talk| {
        let device = match talk.tx.attestation_certificate() {
            Ok(der) if der.is_empty() => return Err(none),
            Ok(der) => bounded(der, COMMAND)?,
            Err(Error::CardStatus(
                StatusBytes::ReferencedDataNotFound
                | StatusBytes::WrongParametersP1P2
                | StatusBytes::INSNotSupported
                // 6A81, function not supported.
                | StatusBytes::UnknownStatus(0x6a, 0x81),
            )) => return Err(none),
            Err(error) => return Err(talk.explain(error, COMMAND)),
        };
        let before = slot_certificate(talk, slot)?;
        if !overwrite && !before.is_empty() && !is_attestation(&before) {
            return Err(CardError::CertificateInTheWay { ident, slot, length: before.len() });
        }
        Ok(device)
    })
}

fn attest(
    token: &Token,
    slot: KeySlot,
    secret: &Secret,
    need: TouchNeed,
    reporter: &Reporter,
) -> Result<Vec<u8>, CardError> {
    let not_attested = |why| CardError::NotAttested { ident: token.info().ident, slot, why };
    token.reopen(Purpose::Sign, Some(reporter), |talk| {
        let kdf = talk.kdf(token.info())?;
        talk.verify(secret, kdf.as_ref(), reporter)?;
        reporter.tell(if need == TouchNeed::Never { Event::Signing } else { Event::Touch });
        let began = Instant::now();
        talk.tx.generate_attestation(slot.into()).map_err(|error| match error {
            Error::CardStatus(StatusBytes::ReferencedDataNotFound) => not_attested("there is none"),
            Error::CardStatus(StatusBytes::ConditionOfUseNotSatisfied) => {
                not_attested("it was not made on the card")
            }
            Error::CardStatus(StatusBytes::INSNotSupported | StatusBytes::CLANotSupported) => {
                not_attested("it has no such command")
            }
            error => talk.untouched(error, "ATTEST", need, began),
        })?;
        reporter.tell(Event::Signing);
        bounded(slot_certificate(talk, slot)?, READ_CERTIFICATE)
    })
}

/// Whether this is an attestation, whatever it says: all that is lost then can be made again.
fn is_attestation(certificate: &[u8]) -> bool {
    use AttestationError as E;
    !matches!(Statement::read(certificate), Err(E::ForeignSubject { .. } | E::MalformedCertificate { .. }))
}

/// What is in the slot's certificate object; empty if nothing is.
fn slot_certificate(talk: &mut Talk<'_, '_>, slot: KeySlot) -> Result<Vec<u8>, CardError> {
    // The number of the slot's certificate among the three of SELECT DATA.
    let place = match slot {
        KeySlot::Signature => 2,
        KeySlot::Decryption => 1,
        KeySlot::Authentication => 0,
    };
    talk.tx.select_data(place, &CERTIFICATE).map_err(|error| talk.explain(error, "SELECT DATA"))?;
    match talk.tx.cardholder_certificate() {
        Ok(certificate) => Ok(certificate),
        Err(Error::CardStatus(StatusBytes::ReferencedDataNotFound)) => Ok(Vec::new()),
        Err(error) => Err(talk.explain(error, READ_CERTIFICATE)),
    }
}

fn bounded(der: Vec<u8>, command: &'static str) -> Result<Vec<u8>, CardError> {
    match der.len() {
        0 => Err(CardError::Malformed { command, why: "no certificate".to_owned() }),
        1..=MAX_CERTIFICATE => Ok(der),
        more => Err(CardError::Malformed { command, why: format!("a certificate of {more} bytes") }),
    }
}
