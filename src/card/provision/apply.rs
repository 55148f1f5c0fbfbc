//! Carrying a plan out, one command at a time; what it will need to go on is on the disk before each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use openpgp_card::ocard::data::KdfDo;
use sequoia_openpgp::crypto;
use zeroize::Zeroizing;

use super::algorithm::{KeyAlgorithm, KeySlot};
use super::anchors::Anchors;
use super::guess::{NoGuess, Which};
use super::import::{self, Keys};
use super::journal::{Pending, Vault};
use super::link::{Link, Presented, status};
use super::observe::{Observed, public_key};
use super::pins::Secret;
use super::plan::{HolderField, Import, Planned, Step};
use super::profile::Profile;
use super::{ProofError, ProvisionError};
use crate::card::error::CardError;
use crate::card::info::TouchPolicy;
use crate::card::order::{ADMIN, Order, USER};
use crate::card::pin::{Pin, Whose};
use crate::card::pin_rules::{FACTORY_ADMIN, FACTORY_USER};
use crate::card::tlv;
use crate::enrolment::pem;
use crate::unix_time::UnixTime;

/// Bytes hashed to derive a PIN, the count of the specification's own example. Six digits are soon guessed
/// whatever the count; what the object buys is that the PIN itself does not cross the wire.
const KDF_BYTES: u32 = 100_000;

/// Told before each step.
pub type Progress = dyn Fn(&Planned) + Send + Sync;

/// A run with the card's ear.
pub(super) struct Run<'r, 'l> {
    pub(super) link: &'r mut Link<'l>,
    pub(super) vault: &'r Vault,
    pub(super) pending: &'r mut Pending,
    pub(super) profile: &'r Profile,
    pub(super) observed: Observed,
    pub(super) keys: &'r Keys,
    pub(super) anchors: &'r Anchors,
    /// The user PIN that the token has, where it is not one that this run sets.
    pub(super) user: Option<Pin>,
    pub(super) cancel: &'r AtomicBool,
    pub(super) progress: &'r Arc<Progress>,
    /// The admin PIN was presented and nothing has made the card forget it.
    pub(super) admin_open: bool,
}

impl Run<'_, '_> {
    /// Carries steps out until `until` says of one that it comes later.
    pub(super) fn carry_out(
        &mut self,
        steps: &[Planned],
        until: impl Fn(&Step) -> bool,
    ) -> Result<(), ProvisionError> {
        let ident = self.observed.ident;
        if let Some(left) = self.link.tries()?.last() {
            self.pending.admin.reconcile(*left);
        }
        for planned in steps.iter().take_while(|planned| !until(&planned.step)) {
            // Between steps is the best moment to stop: nothing is in doubt there.
            if self.cancel.load(Ordering::Relaxed) {
                return Err(CardError::Cancelled { waited: std::time::Duration::ZERO }.into());
            }
            (self.progress)(planned);
            log::info!("token {ident}: {}", planned.step);
            self.step(&planned.step)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), ProvisionError> {
        match step {
            Step::Tries(tries) => {
                self.open_admin()?;
                self.pins_will_be_reset()?;
                self.admin_command(&Order::tries(tries.wire()))?;
                self.pending.memory.tries = Some(tries.wire());
                self.admin_open = false;
                self.save()
            }
            Step::Kdf(on) => self.kdf(*on),
            Step::AdminPin => self.admin_pin(),
            Step::UserPin => {
                let pin = self.derived(&self.new_user()?, Whose::User)?;
                self.admin_command(&Order::new_user_pin(&pin))?;
                self.pending.memory.user_set = true;
                self.save()
            }
            Step::ResettingCode(false) => {
                self.pending.memory.code_set = false;
                self.save()?;
                self.admin_command(&Order::resetting_code(&[])).map(drop)
            }
            Step::ResettingCode(true) => {
                let code =
                    self.pending.new_code.as_ref().ok_or_else(|| unprepared("resetting code"))?.pin()?;
                let code = self.derived(&code, Whose::ResettingCode)?;
                self.admin_command(&Order::resetting_code(&code))?;
                self.pending.memory.code_set = true;
                self.save()
            }
            Step::Algorithm { slot, attributes, .. } => {
                self.begin(*slot)?;
                self.put("PUT DATA C1 to C3", slot.attributes_tag().into(), attributes)
            }
            Step::Generate { slot, .. } => self.generate(*slot),
            Step::Import { slot, .. } => self.import(*slot),
            Step::Label { slot } => self.label(*slot),
            Step::PinForEachSignature(on) => self.put("PUT DATA C4", 0xc4, &[u8::from(!on)]),
            Step::Holder { field, text } => {
                let tag = match field {
                    HolderField::Name => 0x5b,
                    HolderField::Login => 0x5e,
                    HolderField::Url => 0x5f50,
                    HolderField::Language => 0x5f2d,
                };
                self.put("PUT DATA (holder)", tag, text.as_bytes())
            }
            Step::Touch { slot, touch } => self.admin_command(&Order::touch(*slot, *touch)).map(drop),
            Step::Attest { slot } => self.attest(*slot),
            // Conversations of their own.
            Step::Certificate | Step::Enrol | Step::Prove => Ok(()),
        }
    }

    pub(super) fn save(&self) -> Result<(), ProvisionError> {
        self.vault.save(self.pending)
    }

    /// The user PIN that is to be, or is.
    pub(super) fn new_user(&self) -> Result<Pin, ProvisionError> {
        Ok(self.pending.new_user.as_ref().ok_or_else(|| unprepared("user PIN"))?.pin()?)
    }

    fn kdf_object(&self) -> Result<Option<KdfDo>, CardError> {
        self.observed.derivation()
    }

    pub(super) fn derived(&self, pin: &Pin, whose: Whose) -> Result<Zeroizing<Vec<u8>>, ProvisionError> {
        Ok(pin.for_card(self.kdf_object()?.as_ref(), whose)?)
    }

    /// Presents the admin PIN, finding out which one it is where that is in doubt.
    fn open_admin(&mut self) -> Result<(), ProvisionError> {
        let ident = self.observed.ident;
        while !self.admin_open {
            let [_, _, left] = self.link.tries()?;
            let which = self.pending.admin.choose(left).map_err(|none| match none {
                NoGuess::Blocked => ProvisionError::AdminPinBlocked { ident },
                NoGuess::NoneLeft => ProvisionError::AdminPinUnknown { ident, left },
                NoGuess::TooRisky => ProvisionError::LastTry { ident },
            })?;
            let pin = self.admin_text(which)?;
            let pin = self.derived(&pin, Whose::Admin)?;
            self.pending.admin.trying(which, left);
            self.save()?;
            match self.link.present(ADMIN, pin)? {
                Presented::Right => {
                    self.pending.admin.right(which);
                    self.admin_open = true;
                }
                Presented::Wrong | Presented::Blocked => {
                    let [_, _, left] = self.link.tries()?;
                    self.pending.admin.wrong(which, left);
                }
                Presented::Other(sw) => {
                    self.pending.admin.not_tried();
                    self.save()?;
                    return Err(CardError::Refused { command: "VERIFY", sw }.into());
                }
            }
            self.save()?;
        }
        Ok(())
    }

    fn admin_text(&self, which: Which) -> Result<Pin, ProvisionError> {
        let text = self.pending.admin_pin(which);
        let text = text.ok_or(ProvisionError::AdminPinNeeded { ident: self.observed.ident })?;
        Ok(Pin::new(Zeroizing::new(text.as_bytes().to_vec()))?)
    }

    /// Sends what only the admin PIN allows.
    fn admin_command(&mut self, order: &Order) -> Result<Vec<u8>, ProvisionError> {
        for last in [false, true] {
            self.open_admin()?;
            match self.link.ask(order.name, &order.bytes)? {
                (answer, status::OK) => return Ok(answer),
                // The card may have been reset by somebody who shares it. Said again, it is a refusal.
                (_, status::NOT_ALLOWED) if !last => self.admin_open = false,
                (_, sw) => return Err(CardError::Refused { command: order.name, sw }.into()),
            }
        }
        Err(unprepared(order.name))
    }

    fn put(&mut self, name: &'static str, tag: u16, value: &[u8]) -> Result<(), ProvisionError> {
        self.admin_command(&Order::put(name, tag, value)).map(drop)
    }

    /// Before a command that may make all PINs those of the factory.
    fn pins_will_be_reset(&mut self) -> Result<(), ProvisionError> {
        self.pending.admin.changing(Which::Factory);
        let memory = &mut self.pending.memory;
        (memory.admin_set, memory.user_set, memory.code_set) = (false, false, false);
        self.save()
    }

    /// # Source
    /// OpenPGP card 3.4.1, section 4.3.2. The initial values are the PINs of the factory, as with GnuPG and
    /// ykman: what a card makes of them is then the same whether it looks at them or not.
    fn kdf(&mut self, on: bool) -> Result<(), ProvisionError> {
        let object = if on { kdf_object()? } else { vec![0x81, 0x01, 0x00] };
        self.open_admin()?;
        self.pins_will_be_reset()?;
        self.put("PUT DATA F9", 0xf9, &object)?;
        let now = self.link.get("GET DATA F9", 0xf9)?;
        self.observed.kdf = now.map(|now| tlv::inside(&now, 0xf9).to_vec());
        // Whether the card still thinks that the admin PIN was presented does not matter: it is another one.
        self.admin_open = false;
        Ok(())
    }

    fn admin_pin(&mut self) -> Result<(), ProvisionError> {
        self.open_admin()?;
        let present = self.pending.admin.known().ok_or_else(|| unprepared("admin PIN"))?;
        if present != Which::New {
            let old = self.derived(&self.admin_text(present)?, Whose::Admin)?;
            let new = self.derived(&self.admin_text(Which::New)?, Whose::Admin)?;
            self.pending.admin.changing(Which::New);
            self.save()?;
            self.link.carry_out(&Order::change(ADMIN, &old, &new))?;
            // That it said so does not make it so: the next VERIFY tells.
            self.admin_open = false;
            self.open_admin()?;
            match self.pending.admin.known() {
                Some(Which::New) => {}
                Some(Which::Factory) => return Err(ProofError::FactoryPinAccepted { whose: "admin" }.into()),
                _ => return Err(ProofError::NewPinRefused { whose: "admin" }.into()),
            }
        }
        self.pending.memory.admin_set = true;
        self.save()
    }

    /// From now on the key in this slot may go.
    fn begin(&mut self, slot: KeySlot) -> Result<(), ProvisionError> {
        match self.pending.memory.begun.get_mut(slot.place()) {
            Some(begun) if !*begun => *begun = true,
            _ => return Ok(()),
        }
        self.save()
    }

    fn generate(&mut self, slot: KeySlot) -> Result<(), ProvisionError> {
        self.begin(slot)?;
        let name = "GENERATE ASYMMETRIC KEY PAIR";
        // Header, two bytes that name the slot, Le.
        self.open_admin()?;
        let [tag, length] = slot.control_reference();
        self.link.send(name, &[0x00, 0x47, 0x80, 0x00, 2, tag, length, 0x00])?;
        if let Some(made) = self.pending.memory.made.get_mut(slot.place()) {
            *made = true;
        }
        self.save()
    }

    fn import(&mut self, slot: KeySlot) -> Result<(), ProvisionError> {
        let algorithm = self.algorithm(slot)?;
        let key = self.keys.get(&slot).ok_or_else(|| unprepared("key"))?;
        let attributes = self.link.get("GET DATA C1 to C3", slot.attributes_tag().into())?;
        let attributes = attributes.unwrap_or_else(|| self.observed.slot(slot).attributes.clone());
        let list = import::header_list(slot, algorithm, &attributes, key).ok_or_else(|| unprepared("key"))?;
        self.begin(slot)?;
        self.admin_command(&Order::new("PUT DATA (key)", [0x00, 0xdb, 0x3f, 0xff], &list))?;
        if let Some(made) = self.pending.memory.made.get_mut(slot.place()) {
            *made = false;
        }
        self.save()
    }

    fn algorithm(&self, slot: KeySlot) -> Result<KeyAlgorithm, ProvisionError> {
        self.profile.wish(slot).map(|wish| wish.algorithm).ok_or_else(|| unprepared("slot"))
    }

    /// Writes the time first: a card with a fingerprint then has its time too.
    fn label(&mut self, slot: KeySlot) -> Result<(), ProvisionError> {
        let described = import::described(self.keys);
        let (created, fingerprint) = match described.get(&slot) {
            Some(Import { fingerprint, created }) => (*created, fingerprint.clone()),
            None => {
                let created = u32::try_from(UnixTime::now().seconds()).unwrap_or(u32::MAX);
                let malformed = |why: &str| CardError::Malformed {
                    command: "GENERATE ASYMMETRIC KEY PAIR (read)",
                    why: why.to_owned(),
                };
                let public = public_key(self.link, slot)?.ok_or_else(|| malformed("there is no key"))?;
                let key = self.algorithm(slot)?.openpgp_key(slot, &public, created);
                (created, key.ok_or_else(|| malformed("it is no key of that kind"))?.fingerprint())
            }
        };
        self.put("PUT DATA CE to D0", slot.created_tag().into(), &created.to_be_bytes())?;
        self.put("PUT DATA C7 to C9", slot.fingerprint_tag().into(), fingerprint.as_bytes())
    }

    /// Has the token vouch for a key, and keeps what it says beside the record.
    ///
    /// # Source
    /// ykman 5.9.2: VERIFY of PW1 with 81, ATTEST, then the slot's cardholder certificate (DO 7F21), chosen by
    /// SELECT DATA, whose data had a length byte too many up to firmware 5.4.3.
    fn attest(&mut self, slot: KeySlot) -> Result<(), ProvisionError> {
        let pin = match &self.user {
            Some(pin) => pin.clone(),
            None => self.new_user()?,
        };
        let pin = self.derived(&pin, Whose::User)?;
        match self.link.present(USER, pin)? {
            Presented::Right => {}
            Presented::Blocked => return Err(CardError::PinBlocked.into()),
            Presented::Wrong => {
                let [left, _, _] = self.link.tries()?;
                return Err(CardError::WrongPin { tries_left: Some(left) }.into());
            }
            Presented::Other(sw) => return Err(CardError::Refused { command: "VERIFY", sw }.into()),
        }
        let began = Instant::now();
        match self.link.ask("ATTEST", &[0x80, 0xfb, slot.reference(), 0x00, 0x00])? {
            (_, status::OK) => {}
            // After a good PIN this is the finger, not the PIN, where the attestation key wants one.
            (_, 0x6600 | 0x6982) if self.attestation_wants_touch() => {
                return Err(CardError::NotTouched { waited: began.elapsed() }.into());
            }
            (_, sw) => return Err(CardError::Refused { command: "ATTEST", sw }.into()),
        }
        let tags: [u8; 6] = [0x60, 0x04, 0x5c, 0x02, 0x7f, 0x21];
        let mut data = tags.to_vec();
        if !self.observed.firmware_from(5, 4, 4) {
            data.insert(0, 6);
        }
        let occurrence = 3 - slot.reference();
        self.link.carry_out(&Order::new("SELECT DATA", [0x00, 0xa5, occurrence, 0x04], &data))?;
        let leaf = self.link.get("GET DATA 7F21", 0x7f21)?.unwrap_or_default();
        let device = self.link.get("GET DATA FC", 0xfc)?.unwrap_or_default();
        if !leaf.starts_with(&[0x30]) {
            return Err(ProofError::NoAttestation { slot }.into());
        }
        let touch = self.profile.wish(slot).ok_or_else(|| unprepared("slot"))?.touch.policy();
        let attested = self.anchors.judge(slot, &leaf, &[device], touch, &self.observed)?;
        let chain = pem::write(&attested.chain);
        self.vault.write(&self.vault.attestation(slot), chain.as_bytes(), 0o644)
    }

    fn attestation_wants_touch(&self) -> bool {
        let wished = self.profile.keys.attestation.map(|key| key.touch.policy());
        wished.or(self.observed.attestation_touch).is_some_and(|touch| touch != TouchPolicy::Off)
    }
}

/// Something that was settled before the card was opened.
fn unprepared(what: &str) -> ProvisionError {
    CardError::Malformed { command: "the plan", why: format!("it was made without the {what}") }.into()
}

/// The KDF object that makes PINs SHA-256 values, with fresh salts.
fn kdf_object() -> Result<Vec<u8>, ProvisionError> {
    let mut salts = [[0u8; 8]; 3];
    for salt in &mut salts {
        crypto::random(&mut salt[..])
            .map_err(|error| ProvisionError::NoRandomness { why: error.to_string() })?;
    }
    let [user, code, admin] = salts;
    let mut object = vec![0x81, 0x01, 0x03, 0x82, 0x01, 0x08, 0x83, 0x04];
    object.extend(KDF_BYTES.to_be_bytes());
    for (tag, salt) in [(0x84, user), (0x85, code), (0x86, admin)] {
        object.extend(tlv::object(tag, &salt));
    }
    let without: KdfDo = object
        .as_slice()
        .try_into()
        .map_err(|error: openpgp_card::Error| CardError::Kdf { why: error.to_string() })?;
    for (tag, factory, whose) in [(0x87, FACTORY_USER, Whose::User), (0x88, FACTORY_ADMIN, Whose::Admin)] {
        let pin = Pin::new(Zeroizing::new(factory.as_bytes().to_vec()))?;
        object.extend(tlv::object(tag, &pin.for_card(Some(&without), whose)?));
    }
    Ok(object)
}

/// Makes what the steps will need and does not exist yet, and has it on the disk, escrowed, before the card
/// learns any of it.
pub(super) fn prepare(
    pending: &mut Pending,
    vault: &Vault,
    steps: &[Planned],
    user: Option<&Pin>,
    recipients: &[sequoia_openpgp::Cert],
    ident: crate::card::ident::Ident,
) -> Result<(), ProvisionError> {
    let has = |wanted: &Step| steps.iter().any(|planned| planned.step == *wanted);
    let mut escrow_anew = false;
    if has(&Step::AdminPin) && pending.new_admin.is_none() {
        pending.new_admin = Some(Secret::long()?);
        escrow_anew = true;
    }
    if has(&Step::ResettingCode(true)) && pending.new_code.is_none() {
        pending.new_code = Some(Secret::long()?);
        escrow_anew = true;
    }
    if has(&Step::UserPin) && pending.new_user.is_none() {
        pending.new_user = Some(match user {
            Some(pin) => Secret::of(pin)?,
            None => Secret::user()?,
        });
    }
    pending.memory.proved = pending.memory.proved && !has(&Step::Prove);
    // On the disk in one form before it is written in the other: a cut in between loses neither.
    vault.save(pending)?;
    let secrets = pending.new_admin.is_some() || pending.new_code.is_some();
    if secrets && !recipients.is_empty() && (escrow_anew || pending.escrow.is_none()) {
        let began = UnixTime::from_seconds(pending.began).unwrap_or_else(UnixTime::now);
        // A name of its own: the file before may hold the PIN that the token still has.
        let name = format!("escrow-{}.asc", began.to_string().replace(':', ""));
        let sealed = super::escrow::escrowed(
            recipients,
            ident,
            began,
            pending.new_admin.as_ref(),
            pending.new_code.as_ref(),
        )?;
        vault.write(&name, &sealed, 0o600)?;
        pending.escrow = Some(name);
        vault.save(pending)?;
    }
    Ok(())
}
