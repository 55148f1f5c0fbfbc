//! Carries a script out on a card, step by step, and says where the card does something else.

use std::collections::HashMap;

use virtual_openpgp_card::{Algorithm, Firmware, Personality, PublicKey, Slot, TouchPolicy};

use crate::apdu::{Apdu, Link, LinkError, Response};
use crate::attestation::{self, AttestationError, Claims};
use crate::card::{CardFailure, TestCard};
use crate::check::{CheckError, Openssl};
use crate::commands::{Context, select_data};
use crate::expectation::check_answer;
use crate::factory::SELECT;
use crate::keys::{KeyError, Keys};
use crate::passwords::Passwords;
use crate::script::{Action, Answer, Command, Form, Password, Script, Step, Touching, folder};
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
                // Nobody else may be connected: first the old one goes.
                self.link.close();
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
        let selected = self.link.send(Form::Usual, &select_data(slot, self.personality))?;
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

    fn context(&self) -> Context<'_> {
        let algorithms = self.keys.iter().map(|(slot, key)| (*slot, key.algorithm)).collect();
        let Run { tools, passwords, personality, .. } = self;
        Context { keys: &tools.keys, passwords, algorithms, personality: *personality }
    }

    /// Sends a command, sees that its answer is the expected one, and draws the conclusions.
    fn command(&mut self, form: Form, command: &Command, answer: &Answer) -> Result<(), Why> {
        if let Command::Import(slot, algorithm) = command {
            let attributes = self.context().apdu(&Command::Algorithm(*slot, *algorithm))?;
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
                let apdu = self.context().apdu(other)?;
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

fn expect_status(response: &Response, expected: &str) -> Result<(), Why> {
    if response.status == 0x9000 {
        return Ok(());
    }
    Err(Why::Status { found: response.status, expected: expected.to_owned() })
}

fn same(found: &[u8], expected: &[u8]) -> Result<(), Why> {
    if found == expected { Ok(()) } else { Err(Why::Data { found: hex(found), expected: hex(expected) }) }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
