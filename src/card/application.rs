//! The Application Related Data (DO 6E) in plain bytes, for whoever changes a card.

use super::error::CardError;
use super::ident::Ident;
use super::info::TouchPolicy;
use super::key_slot::KeySlot;
use super::link::Link;
use super::tlv;

const COMMAND: &str = "GET DATA 6E";

/// DO 6E, as far as it was understood.
pub(super) struct Application {
    /// Without the outer tag.
    whole: Vec<u8>,
    /// Manufacturer and serial number.
    pub(super) ident: Ident,
    /// Whether the card can derive PINs.
    pub(super) kdf_supported: bool,
    /// Whether each signature needs the PIN anew.
    pub(super) pin_for_each_signature: bool,
    /// The longest PINs in bytes: user PIN, resetting code, admin PIN.
    pub(super) longest: [u8; 3],
    /// Tries left, in the same order.
    pub(super) tries: [u8; 3],
}

impl Application {
    pub(super) fn read(link: &mut Link<'_>) -> Result<Self, CardError> {
        let whole = link.send(COMMAND, &[0x00, 0xca, 0x00, 0x6e, 0x00])?;
        let whole = tlv::inside(&whole, 0x6e).to_vec();
        let aid = tlv::find(&whole, 0x4f).ok_or_else(|| malformed("no 4F"))?;
        let (Some(&[maker_high, maker_low]), Some(&[a, b, c, d])) =
            (aid.get(8..10).and_then(<[u8]>::first_chunk), aid.get(10..14).and_then(<[u8]>::first_chunk))
        else {
            return Err(malformed("4F is cut short"));
        };
        let ident = Ident {
            manufacturer: u16::from_be_bytes([maker_high, maker_low]),
            serial: u32::from_be_bytes([a, b, c, d]),
        };
        let discretionary = tlv::find(&whole, 0x73).ok_or_else(|| malformed("no 73"))?;
        let capabilities = object(&whole, discretionary, 0xc0).and_then(|value| value.first());
        let kdf_supported = capabilities.ok_or_else(|| malformed("no C0"))? & 0x01 != 0;
        let pw = object(&whole, discretionary, 0xc4).and_then(<[u8]>::first_chunk::<7>);
        let [lasts, user_most, code_most, admin_most, user, code, admin] =
            *pw.ok_or_else(|| malformed("no C4"))?;
        Ok(Self {
            ident,
            kdf_supported,
            pin_for_each_signature: lasts == 0,
            longest: [user_most, code_most, admin_most],
            tries: [user, code, admin],
            whole,
        })
    }

    /// An object in it.
    pub(super) fn object(&self, tag: u16) -> Option<&[u8]> {
        let discretionary = tlv::find(&self.whole, 0x73)?;
        object(&self.whole, discretionary, tag)
    }

    /// The part of an object that holds so many bytes for each slot.
    pub(super) fn each(&self, tag: u16, slot: KeySlot, size: usize) -> Option<&[u8]> {
        self.object(tag)?.get(slot.place() * size..(slot.place() + 1) * size)
    }

    /// What DO DE says of a slot: 0 no key, 1 made on the card, 2 brought from outside.
    pub(super) fn key_information(&self, slot: KeySlot) -> Option<u8> {
        self.object(0xde)?.chunks_exact(2).find_map(|pair| match pair {
            [reference, origin] if *reference == slot.reference() => Some(*origin),
            _ => None,
        })
    }

    /// The touch policy of a key, `None` for the one that attests; `None` where there is no such object.
    pub(super) fn touch(
        &self,
        slot: Option<KeySlot>,
        link: &mut Link<'_>,
    ) -> Result<Option<TouchPolicy>, CardError> {
        Ok(match (slot, touch(self.object(slot.map_or(0xd9, KeySlot::touch_tag).into()))) {
            (None, None) if self.ident.is_yubico() => touch(link.get("GET DATA D9", 0xd9)?.as_deref()),
            (_, known) => known,
        })
    }

    /// Whether the card knows TERMINATE DF and ACTIVATE FILE. Without them a blocked admin PIN stays blocked.
    ///
    /// # Source
    /// OpenPGP card 3.4.1, section 6.1 (historical bytes): the third last byte is 3 or 5 where they are there.
    pub(super) fn can_be_reset(&self) -> bool {
        let historical = self.object(0x5f52).unwrap_or_default();
        matches!(historical, [0, .., 3 | 5, _, _])
    }
}

fn malformed(why: &str) -> CardError {
    CardError::Malformed { command: COMMAND, why: why.to_owned() }
}

fn object<'a>(whole: &'a [u8], discretionary: &'a [u8], tag: u16) -> Option<&'a [u8]> {
    tlv::find(discretionary, tag).or_else(|| tlv::find(whole, tag))
}

/// A touch policy (User Interaction Flag), if there is one.
fn touch(value: Option<&[u8]>) -> Option<TouchPolicy> {
    Some(match value?.first()? {
        0 => TouchPolicy::Off,
        1 => TouchPolicy::On,
        2 => TouchPolicy::Fixed,
        3 => TouchPolicy::Cached,
        4 => TouchPolicy::CachedFixed,
        other => TouchPolicy::Unknown(*other),
    })
}
