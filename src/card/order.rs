//! The commands that change a card, each written once: provisioning and the single commands send the same.

use zeroize::Zeroizing;

use super::info::Touch;
use super::key_slot::KeySlot;

/// References of VERIFY and CHANGE REFERENCE DATA.
pub(super) const USER: u8 = 0x81;
pub(super) const ADMIN: u8 = 0x83;
/// The second byte of a User Interaction Flag: the feature is a button.
const BUTTON: u8 = 0x20;
/// Data of a short command, in bytes.
const SHORT: usize = 255;

/// A command that changes the card, and what it is called. Wiped when dropped, for it may hold a secret.
pub(super) struct Order {
    pub(super) name: &'static str,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

impl Order {
    /// With data, short if it fits, without Le.
    pub(super) fn new(name: &'static str, header: [u8; 4], data: &[u8]) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(data.len() + 7));
        bytes.extend_from_slice(&header);
        match u8::try_from(data.len()) {
            Ok(0) => {}
            Ok(length) if data.len() <= SHORT => bytes.push(length),
            // Keys have some hundred bytes.
            _ => {
                bytes.push(0);
                bytes.extend_from_slice(&u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        bytes.extend_from_slice(data);
        Self { name, bytes }
    }

    /// PUT DATA. After the admin PIN.
    pub(super) fn put(name: &'static str, tag: u16, value: &[u8]) -> Self {
        let [high, low] = tag.to_be_bytes();
        Self::new(name, [0x00, 0xda, high, low], value)
    }

    /// The touch policy of a key, `None` for the one that attests. After the admin PIN.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 4.4.3.6 (UIF, DO D6 to D8); Yubico's D9.
    pub(super) fn touch(slot: Option<KeySlot>, touch: Touch) -> Self {
        let tag = slot.map_or(0xd9, KeySlot::touch_tag);
        Self::put("PUT DATA D6 to D9", tag.into(), &[touch.wire(), BUTTON])
    }

    /// The resetting code; an empty one takes it away. After the admin PIN.
    pub(super) fn resetting_code(code: &[u8]) -> Self {
        Self::put("PUT DATA D3", 0xd3, code)
    }

    /// CHANGE REFERENCE DATA. A card cuts the two apart where its own PIN ends, so an old one that is too long
    /// would lend the new one its end: present the old one first.
    pub(super) fn change(reference: u8, old: &[u8], new: &[u8]) -> Self {
        Self::new("CHANGE REFERENCE DATA", [0x00, 0x24, 0x00, reference], &joined(old, new))
    }

    /// RESET RETRY COUNTER after the admin PIN: a new user PIN with all its tries.
    pub(super) fn new_user_pin(new: &[u8]) -> Self {
        Self::new("RESET RETRY COUNTER", [0x00, 0x2c, 0x02, USER], new)
    }

    /// The same with the resetting code.
    pub(super) fn new_user_pin_by_code(code: &[u8], new: &[u8]) -> Self {
        Self::new("RESET RETRY COUNTER", [0x00, 0x2c, 0x00, USER], &joined(code, new))
    }

    /// How many tries user PIN, resetting code and admin PIN have. After the admin PIN; PINs may be those of the
    /// factory afterwards.
    ///
    /// # Source
    /// Yubico's SET PIN RETRIES (F2), as ykman sends it.
    pub(super) fn tries(tries: [u8; 3]) -> Self {
        Self::new("SET PIN RETRIES", [0x00, 0xf2, 0x00, 0x00], &tries)
    }

    /// Ends the application. Once the admin PIN is blocked.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 7.2.16.
    pub(super) fn terminate() -> Self {
        Self::new("TERMINATE DF", [0x00, 0xe6, 0x00, 0x00], &[])
    }

    /// Brings an application that was ended back as delivered.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 7.2.17.
    pub(super) fn activate() -> Self {
        Self::new("ACTIVATE FILE", [0x00, 0x44, 0x00, 0x00], &[])
    }
}

fn joined(first: &[u8], second: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut joined = Zeroizing::new(Vec::with_capacity(first.len() + second.len()));
    joined.extend_from_slice(first);
    joined.extend_from_slice(second);
    joined
}
