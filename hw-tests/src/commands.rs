//! What a command of a script is on the wire.

use std::collections::HashMap;

use virtual_openpgp_card::{Algorithm, Firmware, Personality, Slot, TouchPolicy};

use crate::apdu::Apdu;
use crate::check::Openssl;
use crate::factory::SELECT;
use crate::keys::{KeyError, Keys, control_reference};
use crate::passwords::{Passwords, kdf_object};
use crate::script::{Command, Password, Presented};

/// What commands depend on besides their own words.
pub(crate) struct Context<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) passwords: &'a Passwords,
    pub(crate) algorithms: HashMap<Slot, Algorithm>,
    pub(crate) personality: Personality,
}

impl Context<'_> {
    /// The command; `raw` is what it says and has none, and `decipher` needs a cryptogram first.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 7.2; F1, F2 and FB are Yubico's.
    pub(crate) fn apdu(&self, command: &Command) -> Result<Apdu, KeyError> {
        let passwords = self.passwords;
        let get = |instruction, tag: u16| {
            let [high, low] = tag.to_be_bytes();
            Apdu::ask([0x00, instruction, high, low], [])
        };
        let put = |tag: u16, value: Vec<u8>| {
            let [high, low] = tag.to_be_bytes();
            Apdu::write([0x00, 0xDA, high, low], value)
        };
        let key_pair = |p1, slot| Apdu::ask([0x00, 0x47, p1, 0x00], control_reference(slot));
        let to_sign = |slot, text: &[u8]| Openssl::to_sign(self.algorithm(slot), text);
        Ok(match command {
            Command::Activate => Apdu::write([0x00, 0x44, 0x00, 0x00], []),
            Command::Algorithm(slot, algorithm) => {
                put(0xC0 + number(*slot), self.keys.attributes(*algorithm, *slot)?)
            }
            Command::Attest(slot) => {
                let [_, key] = number(*slot).to_be_bytes();
                Apdu::ask([0x80, 0xFB, key, 0x00], [])
            }
            Command::Authenticate(text) => {
                Apdu::ask([0x00, 0x88, 0x00, 0x00], to_sign(Slot::Authentication, text))
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
            Command::Code(value) => put(0xD3, passwords.on_the_wire(Password::ResettingCode, value)),
            Command::Generate(slot) => key_pair(0x80, *slot),
            Command::Get(tag) => get(0xCA, *tag),
            Command::GetNext(tag) => get(0xCC, *tag),
            Command::Import(slot, algorithm) => {
                Apdu::write([0x00, 0xDB, 0x3F, 0xFF], self.keys.header_list(*algorithm, *slot)?)
            }
            Command::Kdf(on) => put(0xF9, kdf_object(*on)),
            Command::Public(slot) => key_pair(0x81, *slot),
            Command::Put(tag, value) => put(*tag, value.clone()),
            Command::Retries(tries) => Apdu::write([0x00, 0xF2, 0x00, 0x00], *tries),
            Command::SelectData(slot) => select_data(*slot, self.personality),
            Command::Sign(text) => Apdu::ask([0x00, 0x2A, 0x9E, 0x9A], to_sign(Slot::Signature, text)),
            Command::Terminate => Apdu::write([0x00, 0xE6, 0x00, 0x00], []),
            Command::Uif(slot, policy) => put(0xD5 + number(*slot), vec![policy_number(*policy), BUTTON]),
            Command::UnblockByCode { code, new } => {
                let code = passwords.presented(Password::ResettingCode, *code);
                let new = passwords.on_the_wire(Password::Pw1, new);
                Apdu::write([0x00, 0x2C, 0x00, 0x81], [code, new].concat())
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
            Command::Decipher { .. } | Command::Raw(_) | Command::Select => {
                Apdu::ask([0x00, 0xA4, 0x04, 0x00], SELECT.get(5..).unwrap_or_default())
            }
        })
    }

    /// What a slot's next signature is made with; RSA 2048 as delivered.
    pub(crate) fn algorithm(&self, slot: Slot) -> Algorithm {
        self.algorithms.get(&slot).copied().unwrap_or(Algorithm::Rsa2048)
    }
}

/// SELECT DATA of a slot's cardholder certificate. YubiKeys up to 5.4.3 want a length byte before the data, contrary
/// to the specification; so ykman sends it.
///
/// # Source
/// OpenPGP card 3.4.1, section 7.2.5: authentication, decryption, signature.
pub(crate) fn select_data(slot: Slot, card: Personality) -> Apdu {
    let tag_list = [0x60, 0x04, 0x5C, 0x02, 0x7F, 0x21];
    let old = matches!(card, Personality::Yubikey(firmware) if firmware <= Firmware::V5_4_3);
    let data = if old { [&[0x06], &tag_list[..]].concat() } else { tag_list.to_vec() };
    let occurrence = match slot {
        Slot::Signature => 2,
        Slot::Decryption => 1,
        Slot::Attestation | Slot::Authentication => 0,
    };
    Apdu::write([0x00, 0xA5, occurrence, 0x04], data)
}

/// The second byte of a User Interaction Flag: a button.
const BUTTON: u8 = 0x20;

/// A touch policy in the first byte of a User Interaction Flag, and in attestations.
pub(crate) fn policy_number(policy: TouchPolicy) -> u8 {
    match policy {
        TouchPolicy::Off => 0,
        TouchPolicy::On => 1,
        TouchPolicy::Fixed => 2,
        TouchPolicy::Cached => 3,
        TouchPolicy::CachedFixed => 4,
    }
}

/// A slot's place in the card's own lists, from which tags are counted.
fn number(slot: Slot) -> u16 {
    match slot {
        Slot::Signature => 1,
        Slot::Decryption => 2,
        Slot::Authentication => 3,
        Slot::Attestation => 4,
    }
}
