//! What the passwords of the card are at the moment, and what a KDF object makes of them.

use sha2::{Digest, Sha256};

use crate::script::{Password, Pin};
use crate::tlv::object;

/// PW1 as delivered.
const DEFAULT_PW1: &[u8] = b"123456";
/// PW3 as delivered.
const DEFAULT_PW3: &[u8] = b"12345678";
/// Presented for a resetting code that was never set.
const NO_CODE: &[u8] = b"00000000";

/// Bytes that the KDF hashes: GnuPG's is a hundred times more, which shows nothing else and costs time.
const COUNT: u32 = 100_000;

/// The passwords in force, as a script's steps left them.
#[derive(Clone, Debug)]
pub struct Passwords {
    pw1: Vec<u8>,
    pw3: Vec<u8>,
    code: Vec<u8>,
    kdf: bool,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { pw1: DEFAULT_PW1.into(), pw3: DEFAULT_PW3.into(), code: NO_CODE.into(), kdf: false }
    }
}

impl Passwords {
    /// What goes to the card for a password that is presented.
    pub fn presented(&self, password: Password, pin: Pin) -> Vec<u8> {
        let mut bytes = match password {
            Password::Pw1 => self.pw1.clone(),
            Password::Pw3 => self.pw3.clone(),
            Password::ResettingCode => self.code.clone(),
        };
        if let (Pin::Wrong, Some(last)) = (pin, bytes.last_mut()) {
            *last ^= 0x01;
        }
        self.on_the_wire(password, &bytes)
    }

    /// What goes to the card for a password that is to be set; an empty one stays empty.
    pub fn on_the_wire(&self, password: Password, value: &[u8]) -> Vec<u8> {
        if self.kdf && !value.is_empty() { derived(salt(password), value) } else { value.to_vec() }
    }

    /// A password was set.
    pub fn set(&mut self, password: Password, value: &[u8]) {
        let place = match password {
            Password::Pw1 => &mut self.pw1,
            Password::Pw3 => &mut self.pw3,
            Password::ResettingCode => &mut self.code,
        };
        *place = if value.is_empty() { NO_CODE.to_vec() } else { value.to_vec() };
    }

    /// PW1 and PW3 are the delivered ones again.
    pub fn deliver(&mut self) {
        self.pw1 = DEFAULT_PW1.to_vec();
        self.pw3 = DEFAULT_PW3.to_vec();
    }

    /// A KDF object was written: PW1 and PW3 are the delivered ones, through it or not.
    pub fn set_kdf(&mut self, on: bool) {
        *self = Self { kdf: on, ..Self::default() };
    }
}

/// The KDF object that switches the function on or off, without its tag.
///
/// # Source
/// OpenPGP card 3.4.1, section 4.3.2 (KDF DO): three salts, the initial values of PW1 and PW3.
pub fn kdf_object(on: bool) -> Vec<u8> {
    if !on {
        return object(0x81, &[0x00]);
    }
    [
        object(0x81, &[0x03]),
        object(0x82, &[0x08]),
        object(0x83, &COUNT.to_be_bytes()),
        object(0x84, salt(Password::Pw1)),
        object(0x85, salt(Password::ResettingCode)),
        object(0x86, salt(Password::Pw3)),
        object(0x87, &derived(salt(Password::Pw1), DEFAULT_PW1)),
        object(0x88, &derived(salt(Password::Pw3), DEFAULT_PW3)),
    ]
    .concat()
}

fn salt(password: Password) -> &'static [u8] {
    match password {
        Password::Pw1 => b"salt-pw1",
        Password::Pw3 => b"salt-pw3",
        Password::ResettingCode => b"saltcode",
    }
}

/// # Source
/// RFC 9580, section 3.7.1.3 (Iterated and Salted S2K), with SHA-256.
fn derived(salt: &[u8], password: &[u8]) -> Vec<u8> {
    let once = [salt, password].concat();
    let count = usize::try_from(COUNT).unwrap_or(usize::MAX).max(once.len());
    let mut hash = Sha256::new();
    let mut left = count;
    while left > 0 {
        let part = once.get(..left.min(once.len())).unwrap_or(&once);
        hash.update(part);
        left -= part.len();
    }
    hash.finalize().to_vec()
}
