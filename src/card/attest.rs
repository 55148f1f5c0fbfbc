//! ATTEST, Yubico's: the token vouches for one of its keys.

use std::time::Instant;

use openpgp_card::Error;
use openpgp_card::ocard::StatusBytes;

use super::error::CardError;
use super::info::{self, TouchNeed};
use super::keys::KeySlot;
use super::session::{Secret, Token};
use super::slot::Purpose;
use super::touch::{Attendant, ask};
use super::watch::{self, Event, Patience, Reporter, Step};

/// The most bytes in one certificate: twice what a YubiKey's certificate objects hold.
const MAX_CERTIFICATE: usize = 8192;
/// The tag of a cardholder certificate.
const CERTIFICATE: [u8; 2] = [0x7f, 0x21];

impl Token {
    /// Has the token attest the key in `slot`: the attestation, and the token's own certificate that it is
    /// signed with, DER both. Nothing is checked here.
    ///
    /// It takes the PIN, and a touch where the attestation key's own policy (DO D9) says so. The token puts the
    /// attestation where the slot's cardholder certificate was.
    ///
    /// # Errors
    /// [`CardError::NoAttestation`] before the PIN is asked for; [`CardError::Refused`] of an imported key;
    /// otherwise as for a signature.
    ///
    /// # Source
    /// Yubico, OpenPGP attestation (INS FB, DO FC); OpenPGP card 3.4.1, section 7.2.5 (SELECT DATA).
    pub fn attest(
        &mut self,
        slot: KeySlot,
        attendant: &mut dyn Attendant,
        patience: &Patience,
    ) -> Result<Vec<Vec<u8>>, CardError> {
        let token = self.clone();
        let (device, need) = watch::run_quietly(patience, move || device(&token))?;
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
                Ok(leaf) => return Ok(vec![leaf, device]),
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

/// The token's own certificate, which Yubico put there, and whether attesting needs a touch.
fn device(token: &Token) -> Result<(Vec<u8>, TouchNeed), CardError> {
    const RECORDS: &str = "GET DATA 6E";
    const COMMAND: &str = "GET DATA FC";
    let none = CardError::NoAttestation { ident: token.info().ident };
    token.reopen(Purpose::Look, None, |talk| {
        let records = talk.tx.application_related_data().map_err(|error| talk.explain(error, RECORDS))?;
        let flag = records.uif_attestation().map_err(|error| talk.explain(error, RECORDS))?;
        match talk.tx.attestation_certificate() {
            Ok(der) if der.is_empty() => Err(none),
            Ok(der) => Ok((bounded(der, COMMAND)?, info::touch_policy(flag).need())),
            Err(Error::CardStatus(
                StatusBytes::ReferencedDataNotFound
                | StatusBytes::WrongParametersP1P2
                | StatusBytes::INSNotSupported
                // 6A81, function not supported.
                | StatusBytes::UnknownStatus(0x6a, 0x81),
            )) => Err(none),
            Err(error) => Err(talk.explain(error, COMMAND)),
        }
    })
}

fn attest(
    token: &Token,
    slot: KeySlot,
    secret: &Secret,
    need: TouchNeed,
    reporter: &Reporter,
) -> Result<Vec<u8>, CardError> {
    const COMMAND: &str = "ATTEST";
    // The number of the slot's certificate among the three of SELECT DATA.
    let place = match slot {
        KeySlot::Signature => 2,
        KeySlot::Decryption => 1,
        KeySlot::Authentication => 0,
    };
    token.reopen(Purpose::Sign, Some(reporter), |talk| {
        let kdf = talk.kdf(token.info())?;
        talk.verify(secret, kdf.as_ref(), reporter)?;
        reporter.tell(if need == TouchNeed::Never { Event::Signing } else { Event::Touch });
        let began = Instant::now();
        talk.tx
            .generate_attestation(slot.into())
            .map_err(|error| talk.untouched(error, COMMAND, need, began))?;
        reporter.tell(Event::Signing);
        talk.tx.select_data(place, &CERTIFICATE).map_err(|error| talk.explain(error, "SELECT DATA"))?;
        let leaf = talk.tx.cardholder_certificate().map_err(|error| talk.explain(error, "GET DATA 7F21"))?;
        bounded(leaf, "GET DATA 7F21")
    })
}

fn bounded(der: Vec<u8>, command: &'static str) -> Result<Vec<u8>, CardError> {
    match der.len() {
        0 => Err(CardError::Malformed { command, why: "no certificate".to_owned() }),
        1..=MAX_CERTIFICATE => Ok(der),
        more => Err(CardError::Malformed { command, why: format!("a certificate of {more} bytes") }),
    }
}
