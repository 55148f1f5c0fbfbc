//! What a token is now, read without any PIN.

use std::sync::Arc;

use openpgp_card::ocard::data::KdfDo;
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{PublicParts, UnspecifiedRole};

use super::algorithm::{KeyAlgorithm, KeySlot};
use super::link::{Link, converse, status};
use crate::card::application::Application;
use crate::card::error::CardError;
use crate::card::ident::Ident;
use crate::card::info::TouchPolicy;
use crate::card::slot::{Purpose, Slot};
use crate::card::tape::Tape;
use crate::card::tlv;
use crate::card::watch::{self, Patience};

/// What a token is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Manufacturer and serial number.
    pub ident: Ident,
    /// A YubiKey's firmware; `None` of any other card.
    pub firmware: Option<[u8; 3]>,
    /// Tries left: user PIN, resetting code, admin PIN. A code without tries is not set, or blocked.
    pub tries: [u8; 3],
    /// The longest PINs in bytes, in the same order.
    pub longest: [u8; 3],
    /// Whether each signature needs the PIN anew.
    pub pin_for_each_signature: bool,
    /// Whether the card can derive PINs.
    pub kdf_supported: bool,
    /// The KDF object as the card gave it, without its tag.
    pub kdf: Option<Vec<u8>>,
    /// The three key slots, in the card's order.
    pub slots: [SlotState; 3],
    /// Touch policy of the attestation key; `None` if there is no such key, or no policy for it.
    pub attestation_touch: Option<TouchPolicy>,
    /// Whether the token can vouch for keys that it made.
    pub attests: bool,
    /// Name, login data, address of the certificate, languages.
    pub holder: [String; 4],
    /// DO FA without its tag: what the card can.
    pub(crate) offered: Option<Vec<u8>>,
}

/// What a key slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotState {
    /// The algorithm that it is set to; `None` for one that no profile can name.
    pub algorithm: Option<KeyAlgorithm>,
    /// Where its key came from.
    pub origin: Origin,
    /// The fingerprint that was written for it; zeros if none was.
    pub fingerprint: [u8; 20],
    /// The time that was written for it; 0 if none was.
    pub created: u32,
    /// When its key wants a touch.
    pub touch: TouchPolicy,
    pub(crate) attributes: Vec<u8>,
    /// DO 7F49 without its tag.
    pub(crate) public: Option<Vec<u8>>,
}

/// Where a key came from, by the card's account (DO DE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// There is no key.
    Absent,
    /// Made on the card.
    Generated,
    /// Brought from outside.
    Imported,
    /// There is one, and the card does not say.
    Unknown,
}

impl Observed {
    /// Looks at a token without any PIN and without changing anything: some twenty APDUs.
    ///
    /// # Errors
    /// Why the card cannot be read.
    pub fn of(slot: Arc<dyn Slot>, tape: &Tape, patience: &Patience) -> Result<Self, CardError> {
        let tape = tape.clone();
        watch::run_quietly(patience, move || converse(&slot, Purpose::Look, &tape, observe))
    }

    /// The state of a slot.
    pub fn slot(&self, slot: KeySlot) -> &SlotState {
        let [signature, decryption, authentication] = &self.slots;
        match slot {
            KeySlot::Signature => signature,
            KeySlot::Decryption => decryption,
            KeySlot::Authentication => authentication,
        }
    }

    /// Whether PINs are derived before the card gets them.
    pub fn kdf_on(&self) -> bool {
        self.kdf.as_deref().and_then(|kdf| tlv::find(kdf, 0x81)).is_some_and(|method| method != [0])
    }

    /// What PINs have to be made into; `None` where they go to the card as they are.
    pub(crate) fn derivation(&self) -> Result<Option<KdfDo>, CardError> {
        if !self.kdf_on() {
            return Ok(None);
        }
        let bytes = self.kdf.as_deref().unwrap_or_default();
        bytes
            .try_into()
            .map(Some)
            .map_err(|error: openpgp_card::Error| CardError::Kdf { why: error.to_string() })
    }

    pub(crate) fn firmware_from(&self, major: u8, minor: u8, patch: u8) -> bool {
        self.firmware.is_some_and(|firmware| firmware >= [major, minor, patch])
    }
}

impl SlotState {
    /// The OpenPGP key in the slot, as its public half and the time written for it make it.
    pub fn key(&self, slot: KeySlot) -> Option<Key<PublicParts, UnspecifiedRole>> {
        self.algorithm?.openpgp_key(slot, self.public.as_deref()?, self.created)
    }

    /// Whether the fingerprint on the card is that of the key there.
    pub fn labelled(&self, slot: KeySlot) -> bool {
        self.key(slot).is_some_and(|key| key.fingerprint().as_bytes() == self.fingerprint)
    }
}

/// Reads everything that a plan depends on: some twelve APDUs.
pub(super) fn observe(link: &mut Link<'_>) -> Result<Observed, CardError> {
    let application = Application::read(link)?;
    let ident = application.ident;
    let firmware = link.firmware(ident)?;
    let kdf = if application.kdf_supported { link.get("GET DATA F9", 0xf9)? } else { None };
    let kdf = kdf.map(|kdf| tlv::inside(&kdf, 0xf9).to_vec()).filter(|kdf| !kdf.is_empty());
    let cardholder = link.get("GET DATA 65", 0x65)?.unwrap_or_default();
    let cardholder = tlv::inside(&cardholder, 0x65);
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let holder = [
        text(tlv::find(cardholder, 0x5b)),
        text(link.get("GET DATA 5E", 0x5e)?.as_deref()),
        text(link.get("GET DATA 5F50", 0x5f50)?.as_deref()),
        text(tlv::find(cardholder, 0x5f2d)),
    ];
    let offered = link.get("GET DATA FA", 0xfa)?.map(|offered| offer(&offered).to_vec());

    let mut slots = Vec::with_capacity(KeySlot::ALL.len());
    for slot in KeySlot::ALL {
        let fingerprint = application.each(0xc5, slot, 20).and_then(|bytes| bytes.try_into().ok());
        let said = application.key_information(slot);
        let attributes = application.object(slot.attributes_tag().into()).unwrap_or_default().to_vec();
        let public = if said == Some(0) { None } else { public_key(link, slot)? };
        let origin = match said {
            Some(0) => Origin::Absent,
            Some(1) => Origin::Generated,
            Some(2) => Origin::Imported,
            _ if public.is_some() => Origin::Unknown,
            _ => Origin::Absent,
        };
        slots.push(SlotState {
            algorithm: KeyAlgorithm::parse(&attributes, slot),
            origin,
            fingerprint: fingerprint.unwrap_or([0; 20]),
            created: application
                .each(0xcd, slot, 4)
                .and_then(|b| b.try_into().ok())
                .map_or(0, u32::from_be_bytes),
            touch: application.touch(Some(slot), link)?.unwrap_or(TouchPolicy::None),
            attributes,
            public,
        });
    }
    let slots = slots
        .try_into()
        .map_err(|_| CardError::Malformed { command: "GET DATA 6E", why: "slots".to_owned() })?;
    let attestation_touch = application.touch(None, link)?;
    // The first token that could is 5.2.0; without a certificate for the key it cannot either.
    let attests = firmware.is_some_and(|firmware| firmware >= [5, 2, 0])
        && link.get("GET DATA FC", 0xfc)?.is_some_and(|certificate| !certificate.is_empty());
    Ok(Observed {
        ident,
        firmware,
        tries: application.tries,
        longest: application.longest,
        pin_for_each_signature: application.pin_for_each_signature,
        kdf_supported: application.kdf_supported,
        kdf,
        slots,
        attestation_touch,
        attests,
        holder,
        offered,
    })
}

/// The content of DO FA. YubiKeys from 5.2 to 5.6 count two bytes more than they give.
fn offer(bytes: &[u8]) -> &[u8] {
    match bytes {
        [0xfa, 0x82, _, _, rest @ ..] | [0xfa, 0x81, _, rest @ ..] => rest,
        [0xfa, length, rest @ ..] if *length < 0x80 => rest,
        other => other,
    }
}

/// The public key of a slot, DO 7F49 without its tag; `None` if there is no key.
pub(super) fn public_key(link: &mut Link<'_>, slot: KeySlot) -> Result<Option<Vec<u8>>, CardError> {
    const COMMAND: &str = "GENERATE ASYMMETRIC KEY PAIR (read)";
    let [tag, length] = slot.control_reference();
    match link.ask(COMMAND, &[0x00, 0x47, 0x81, 0x00, 2, tag, length, 0x00])? {
        (data, status::OK) => Ok(Some(tlv::inside(&data, 0x7f49).to_vec())),
        (_, status::NOT_FOUND | 0x6a82 | 0x6985 | 0x6f00) => Ok(None),
        (_, sw) => Err(CardError::Refused { command: COMMAND, sw }),
    }
}
