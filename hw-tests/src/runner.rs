//! Carries a script out on a card, step by step, and says where the card does something else.

use std::collections::HashMap;

use virtual_openpgp_card::{Algorithm, Firmware, Personality, PublicKey, Slot, TouchPolicy};

use crate::apdu::{Apdu, Link, LinkError, Response};
use crate::attestation::{self, AttestationError, Claims};
use crate::card::{CardFailure, TestCard};
use crate::check::{CheckError, Openssl};
use crate::factory::SELECT;
use crate::keys::{KeyError, Keys, control_reference};
use crate::passwords::{Passwords, kdf_object};
use crate::script::{
    Action, Answer, Command, Data, Form, Password, Presented, Script, Step, Touching, folder,
};
use crate::tlv::{find, find_path};

/// The card did something else than the script says, or could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("{script}.script, line {line} ({step}): {why}")]
pub struct Failure {
    /// The script's name.
    pub script: String,
    /// The line, counted from 1; 0 before the first.
    pub line: usize,
    /// The step as it stands there.
    pub step: String,
    /// What was wrong.
    pub why: Why,
}

/// What was wrong with a step.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// The attestation is wrong.
    #[error(transparent)]
    Attestation(#[from] AttestationError),
    /// The card could not be used.
    #[error(transparent)]
    Card(#[from] CardFailure),
    /// What was computed is wrong.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The data differs.
    #[error("the data is {found}, expected: {expected}")]
    Data {
        /// What came.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The suite lacks a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No answer came.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The script uses a key that it did not make.
    #[error("the script neither made nor imported a key in the {0:?} slot")]
    NoKey(Slot),
    /// The status differs.
    #[error("the status is {found:04X}, expected {expected}")]
    Status {
        /// What came.
        found: u16,
        /// What was expected.
        expected: String,
    },
}

/// What all scripts share: keys to import, and openssl.
#[derive(Debug)]
pub struct Tools {
    keys: Keys,
    openssl: Openssl,
}

impl Tools {
    /// Prepares them.
    ///
    /// # Errors
    /// [`Why`]: without the keys beside the scripts, or a temporary folder.
    pub fn new() -> Result<Self, Why> {
        Ok(Self { keys: Keys::load(&folder())?, openssl: Openssl::new()? })
    }
}

/// Finds out which card it is: manufacturer in the AID, and a YubiKey's firmware.
///
/// # Errors
/// [`Why`] where the card has no OpenPGP application or does not say its version.
pub fn identify(link: &mut Link) -> Result<Personality, Why> {
    let selected = link.transmit(&SELECT)?;
    if selected.status != 0x9000 {
        return Err(Why::Status { found: selected.status, expected: "9000 to SELECT".to_owned() });
    }
    let aid = link.send(Form::Usual, &Apdu::ask([0x00, 0xCA, 0x00, 0x4F], []))?;
    if aid.data.get(8..10) != Some(&YUBICO) {
        return Ok(Personality::Plain);
    }
    let version = link.send(Form::Usual, &Apdu::ask([0x00, 0xF1, 0x00, 0x00], []))?;
    let [major, minor, patch] = *version.data.as_slice() else {
        return Err(Why::Data { found: hex(&version.data), expected: "a version of three bytes".to_owned() });
    };
    Ok(Personality::Yubikey(Firmware::new(major, minor, patch)))
}

/// Yubico's number in the AID.
const YUBICO: [u8; 2] = [0x00, 0x06];

/// Makes the card new and carries the script out. `Ok(false)`: the script is not for that card.
///
/// # Errors
/// [`Failure`]: the first step that went otherwise.
pub fn run(script: &Script, card: &mut dyn TestCard, tools: &Tools) -> Result<bool, Failure> {
    let failed = |step: Option<&Step>, why: Why| Failure {
        script: script.name.clone(),
        line: step.map_or(0, |step| step.line),
        step: step.map_or_else(|| "making the card new".to_owned(), |step| step.text.clone()),
        why,
    };
    let mut run = Run::begin(card, tools).map_err(|why| failed(None, why))?;
    if !script.only.holds(run.personality) {
        return Ok(false);
    }
    for step in &script.steps {
        if step.when.holds(run.personality) {
            run.step(step).map_err(|why| failed(Some(step), why))?;
        }
    }
    Ok(true)
}

/// A script that is being carried out.
struct Run<'a> {
    card: &'a mut dyn TestCard,
    tools: &'a Tools,
    link: Link,
    personality: Personality,
    passwords: Passwords,
    keys: HashMap<Slot, Key>,
    terminated: bool,
    firmware: [u8; 3],
}

/// What a slot holds.
#[derive(Clone)]
struct Key {
    algorithm: Algorithm,
    public: Option<PublicKey>,
}

impl<'a> Run<'a> {
    fn begin(card: &'a mut dyn TestCard, tools: &'a Tools) -> Result<Self, Why> {
        card.renew()?;
        card.finger(Touching::Never)?;
        let mut link = Link::new(card.connect()?);
        let personality = identify(&mut link)?;
        // Scripts begin with a card in which nothing is selected.
        drop(link);
        let link = Link::new(card.connect()?);
        let firmware = match personality {
            Personality::Plain => [0; 3],
            Personality::Yubikey(Firmware { major, minor, patch }) => [major, minor, patch],
        };
        let passwords = Passwords::default();
        Ok(Self {
            card,
            tools,
            link,
            personality,
            passwords,
            keys: HashMap::new(),
            terminated: false,
            firmware,
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), Why> {
        let may_ask = matches!(
            step.action,
            Action::Command {
                command: Command::Attest(_)
                    | Command::Authenticate(_)
                    | Command::Decipher { .. }
                    | Command::Sign(_),
                ..
            }
        );
        self.card.announce(step, may_ask);
        match &step.action {
            Action::Attested { slot, touch, counter } => self.attested(*slot, *touch, *counter),
            Action::Command { form, command, expect } => {
                let answer = expect.of(self.personality);
                self.command(*form, command, answer)
            }
            Action::Counter(expected) => {
                let data = self.read(0x7A)?;
                let counter =
                    find_path(&data, &[0x7A, 0x93]).or_else(|| find(&data, 0x93)).unwrap_or_default();
                let [_, wanted @ ..] = expected.to_be_bytes();
                same(counter, &wanted)
            }
            Action::Finger(touching) => Ok(self.card.finger(*touching)?),
            Action::Reset => {
                // A connection that ends resets the card; so does one that begins, in case this one did not.
                self.link = Link::new(self.card.connect()?);
                Ok(())
            }
            Action::Tries(expected) => {
                let status = self.read(0xC4)?;
                same(status.get(4..).unwrap_or_default(), expected)
            }
            Action::Wait(time) => {
                self.card.wait(*time);
                Ok(())
            }
        }
    }

    fn read(&mut self, tag: u16) -> Result<Vec<u8>, Why> {
        let [high, low] = tag.to_be_bytes();
        let response = self.link.send(Form::Usual, &Apdu::ask([0x00, 0xCA, high, low], []))?;
        if response.status != 0x9000 {
            return Err(Why::Status {
                found: response.status,
                expected: format!("9000 to GET DATA {tag:02X}"),
            });
        }
        Ok(response.data)
    }

    fn attested(&mut self, slot: Slot, touch: TouchPolicy, counter: Option<u32>) -> Result<(), Why> {
        let key = self.public(slot)?;
        let device = self.read(0xFC)?;
        let selected = self.link.send(Form::Usual, &self.select_data(slot))?;
        expect_status(&selected, "9000 to SELECT DATA")?;
        let attestation = self.read(0x7F21)?;
        let claims = Claims { key: &key, touch, counter, firmware: self.firmware };
        Ok(attestation::check(&self.tools.openssl, &device, &attestation, &claims)?)
    }

    fn public(&self, slot: Slot) -> Result<PublicKey, Why> {
        self.keys.get(&slot).and_then(|key| key.public.clone()).ok_or(Why::NoKey(slot))
    }

    fn algorithm(&self, slot: Slot) -> Algorithm {
        self.keys.get(&slot).map_or(Algorithm::Rsa2048, |key| key.algorithm)
    }

    /// Sends a command, sees that its answer is the expected one, and draws the conclusions.
    fn command(&mut self, form: Form, command: &Command, answer: &Answer) -> Result<(), Why> {
        if let Command::Import(slot, algorithm) = command {
            let attributes = Apdu::write(
                [0x00, 0xDA, 0x00, attributes_tag(*slot)],
                self.tools.keys.attributes(*algorithm, *slot)?,
            );
            let response = self.link.send(Form::Usual, &attributes)?;
            if response.status != 0x9000 {
                return check_answer(&response, answer);
            }
        }
        let mut riddle = None;
        let response = match command {
            Command::Raw(bytes) => self.link.transmit(bytes)?,
            Command::Decipher { text, slot } => {
                let key = self.public(*slot)?;
                let asked = self.tools.openssl.riddle(&self.tools.keys, &key, text)?;
                let apdu = Apdu::ask([0x00, 0x2A, 0x80, 0x86], asked.cryptogram.clone());
                riddle = Some(asked);
                self.link.send(form, &apdu)?
            }
            other => {
                let apdu = self.apdu(other)?;
                self.link.send(form, &apdu)?
            }
        };
        check_answer(&response, answer)?;
        if response.status != 0x9000 {
            return Ok(());
        }
        match (command, riddle) {
            (Command::Sign(text), _) => {
                let key = self.public(Slot::Signature)?;
                Ok(self.tools.openssl.verify(&key, text, &response.data)?)
            }
            (Command::Authenticate(text), _) => {
                let key = self.public(Slot::Authentication)?;
                Ok(self.tools.openssl.verify(&key, text, &response.data)?)
            }
            (Command::Decipher { .. }, Some(riddle)) => same(&response.data, &riddle.plain),
            (Command::Version, _) => same(&response.data, &self.firmware),
            (Command::Challenge(length), _) if response.data.len() != *length => {
                Err(Why::Data { found: hex(&response.data), expected: format!("{length} bytes") })
            }
            (other, _) => self.conclude(other, &response),
        }
    }

    fn apdu(&self, command: &Command) -> Result<Apdu, Why> {
        let passwords = &self.passwords;
        let key = |p1, slot| Apdu::ask([0x00, 0x47, p1, 0x00], control_reference(slot));
        Ok(match command {
            Command::Activate => Apdu::write([0x00, 0x44, 0x00, 0x00], []),
            Command::Algorithm(slot, algorithm) => Apdu::write(
                [0x00, 0xDA, 0x00, attributes_tag(*slot)],
                self.tools.keys.attributes(*algorithm, *slot)?,
            ),
            Command::Attest(slot) => Apdu::ask([0x80, 0xFB, key_number(*slot), 0x00], []),
            Command::Authenticate(text) => {
                let input = Openssl::to_sign(self.algorithm(Slot::Authentication), text);
                Apdu::ask([0x00, 0x88, 0x00, 0x00], input)
            }
            Command::Challenge(length) => {
                let expected = u8::try_from(*length).unwrap_or(0);
                Apdu { header: [0x00, 0x84, 0x00, 0x00], data: Vec::new(), expected: Some(expected) }
            }
            Command::Change { password, old, new } => {
                let p2 = if *password == Password::Pw3 { 0x83 } else { 0x81 };
                let [old, new] =
                    [passwords.presented(*password, *old), passwords.on_the_wire(*password, new)];
                Apdu::write([0x00, 0x24, 0x00, p2], [old, new].concat())
            }
            Command::Code(value) => {
                Apdu::write([0x00, 0xDA, 0x00, 0xD3], passwords.on_the_wire(Password::ResettingCode, value))
            }
            Command::Generate(slot) => key(0x80, *slot),
            Command::Get(tag) => {
                let [high, low] = tag.to_be_bytes();
                Apdu::ask([0x00, 0xCA, high, low], [])
            }
            Command::GetNext(tag) => {
                let [high, low] = tag.to_be_bytes();
                Apdu::ask([0x00, 0xCC, high, low], [])
            }
            Command::Import(slot, algorithm) => {
                Apdu::write([0x00, 0xDB, 0x3F, 0xFF], self.tools.keys.header_list(*algorithm, *slot)?)
            }
            Command::Kdf(on) => Apdu::write([0x00, 0xDA, 0x00, 0xF9], kdf_object(*on)),
            Command::Public(slot) => key(0x81, *slot),
            Command::Put(tag, value) => {
                let [high, low] = tag.to_be_bytes();
                Apdu::write([0x00, 0xDA, high, low], value.clone())
            }
            Command::Retries(tries) => Apdu::write([0x00, 0xF2, 0x00, 0x00], *tries),
            Command::SelectData(slot) => self.select_data(*slot),
            Command::Sign(text) => {
                let input = Openssl::to_sign(self.algorithm(Slot::Signature), text);
                Apdu::ask([0x00, 0x2A, 0x9E, 0x9A], input)
            }
            Command::Terminate => Apdu::write([0x00, 0xE6, 0x00, 0x00], []),
            Command::Uif(slot, policy) => {
                Apdu::write([0x00, 0xDA, 0x00, 0xD5 + touch_number(*slot)], [policy_number(*policy), BUTTON])
            }
            Command::UnblockByCode { code, new } => {
                let code = passwords.presented(Password::ResettingCode, *code);
                Apdu::write(
                    [0x00, 0x2C, 0x00, 0x81],
                    [code, passwords.on_the_wire(Password::Pw1, new)].concat(),
                )
            }
            Command::UnblockByPw3 { new } => {
                Apdu::write([0x00, 0x2C, 0x02, 0x81], passwords.on_the_wire(Password::Pw1, new))
            }
            Command::Verify(reference, presented) => {
                let (p1, data) = match presented {
                    Presented::Bytes(bytes) => (0x00, bytes.clone()),
                    Presented::Forget => (0xFF, Vec::new()),
                    Presented::Pin(pin) => (0x00, passwords.presented(reference.password(), *pin)),
                    Presented::Status => (0x00, Vec::new()),
                };
                Apdu::write([0x00, 0x20, p1, *reference as u8], data)
            }
            Command::Version => Apdu::ask([0x00, 0xF1, 0x00, 0x00], []),
            // Decipher and raw bytes were sent before.
            Command::Decipher { .. } | Command::Raw(_) | Command::Select => {
                Apdu::ask([0x00, 0xA4, 0x04, 0x00], SELECT.get(5..).unwrap_or_default())
            }
        })
    }

    /// YubiKeys up to 5.4.3 want a length byte before the data, contrary to the specification; so ykman sends it.
    fn select_data(&self, slot: Slot) -> Apdu {
        let tag_list = [0x60, 0x04, 0x5C, 0x02, 0x7F, 0x21];
        let old = matches!(self.personality, Personality::Yubikey(firmware) if firmware <= Firmware::V5_4_3);
        let data = if old { [&[0x06], &tag_list[..]].concat() } else { tag_list.to_vec() };
        Apdu::write([0x00, 0xA5, 3 - key_number(slot).min(3), 0x04], data)
    }

    /// What follows for passwords and keys from a command that was carried out.
    fn conclude(&mut self, command: &Command, response: &Response) -> Result<(), Why> {
        let passwords = &mut self.passwords;
        match command {
            Command::Terminate => self.terminated = true,
            Command::Activate if self.terminated => {
                self.terminated = false;
                self.passwords = Passwords::default();
                self.keys.clear();
            }
            Command::Change { password, new, .. } => passwords.set(*password, new),
            Command::Code(value) => passwords.set(Password::ResettingCode, value),
            Command::UnblockByCode { new, .. } | Command::UnblockByPw3 { new } => {
                passwords.set(Password::Pw1, new);
            }
            Command::Kdf(on) => passwords.set_kdf(*on),
            Command::Retries(_) => passwords.deliver(),
            Command::Algorithm(slot, algorithm) if self.algorithm(*slot) != *algorithm => {
                self.keys.insert(*slot, Key { algorithm: *algorithm, public: None });
            }
            Command::Import(slot, algorithm) => {
                let public = Some(self.tools.keys.public(*algorithm)?);
                self.keys.insert(*slot, Key { algorithm: *algorithm, public });
            }
            Command::Generate(slot) => {
                let algorithm = self.algorithm(*slot);
                let public = Some(public_key(algorithm, &response.data)?);
                self.keys.insert(*slot, Key { algorithm, public });
            }
            Command::Public(slot) => {
                let known = self.public(*slot)?;
                let found = public_key(self.algorithm(*slot), &response.data)?;
                return same(&found.subject_public_key_info(), &known.subject_public_key_info());
            }
            _ => {}
        }
        Ok(())
    }
}

/// Reads the answer to GENERATE ASYMMETRIC KEY PAIR.
fn public_key(algorithm: Algorithm, answer: &[u8]) -> Result<PublicKey, Why> {
    let part = |tag| find_path(answer, &[0x7F49, tag]).map(<[u8]>::to_vec);
    let key = match (part(0x86), part(0x81), part(0x82)) {
        (Some(point), None, None) => Some(PublicKey::Curve { algorithm, point }),
        (None, Some(modulus), Some(exponent)) => Some(PublicKey::Rsa { modulus, exponent }),
        _ => None,
    };
    key.ok_or_else(|| Why::Data { found: hex(answer), expected: "a public key".to_owned() })
}

fn check_answer(response: &Response, answer: &Answer) -> Result<(), Why> {
    if !answer.status.is_met_by(response.status) {
        return Err(Why::Status { found: response.status, expected: answer.status.to_string() });
    }
    let data = response.data.as_slice();
    let (met, expected) = match &answer.data {
        Data::Any => (true, String::new()),
        Data::Exactly(value) => (data == value, hex(value)),
        Data::Has(path, value) => {
            // The outermost tag may be there or not.
            let inner = path.get(1..).filter(|rest| !rest.is_empty());
            let found = find_path(data, path).or_else(|| inner.and_then(|rest| find_path(data, rest)));
            let met = match value {
                Some(value) => found == Some(value.as_slice()),
                None => found.is_some(),
            };
            let path: Vec<String> = path.iter().map(|tag| format!("{tag:02X}")).collect();
            (met, format!("{} {}", path.join("/"), value.as_deref().map(hex).unwrap_or_default()))
        }
        Data::Length(length) => (data.len() == *length, format!("{length} bytes")),
        Data::Starts(value) => (data.starts_with(value), format!("{}…", hex(value))),
    };
    if met { Ok(()) } else { Err(Why::Data { found: hex(data), expected }) }
}

fn expect_status(response: &Response, expected: &str) -> Result<(), Why> {
    if response.status == 0x9000 {
        return Ok(());
    }
    Err(Why::Status { found: response.status, expected: expected.to_owned() })
}

fn same(found: &[u8], expected: &[u8]) -> Result<(), Why> {
    if found == expected { Ok(()) } else { Err(Why::Data { found: hex(found), expected: hex(expected) }) }
}

/// The second byte of a User Interaction Flag: a button.
const BUTTON: u8 = 0x20;

fn policy_number(policy: TouchPolicy) -> u8 {
    match policy {
        TouchPolicy::Off => 0,
        TouchPolicy::On => 1,
        TouchPolicy::Fixed => 2,
        TouchPolicy::Cached => 3,
        TouchPolicy::CachedFixed => 4,
    }
}

/// Signature, decryption, authentication in the order of the card's own lists.
fn key_number(slot: Slot) -> u8 {
    match slot {
        Slot::Signature => 1,
        Slot::Decryption => 2,
        Slot::Authentication => 3,
        Slot::Attestation => 0x81,
    }
}

fn touch_number(slot: Slot) -> u8 {
    if slot == Slot::Attestation { 4 } else { key_number(slot) }
}

fn attributes_tag(slot: Slot) -> u8 {
    0xC0 + key_number(slot).min(3)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
