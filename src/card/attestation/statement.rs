//! What the attestation's certificate says, read strictly. Nothing here is believed yet.
//!
//! ```text
//! 1.3.6.1.4.1.41482.5.N                     value, one DER element   in which slots
//!   1  cardholder name       owner's        UTF8String               all
//!   2  source                               INTEGER 0 or 1           all
//!   3  firmware                             OCTET STRING of 3        all
//!   4  fingerprint           owner's        OCTET STRING of 20       all
//!   5  made                  owner's        OCTET STRING of 4        all
//!   6  signature counter                    INTEGER                  signature alone
//!   7  serial                               INTEGER                  all
//!   8  touch policy                         OCTET STRING of 1        all
//!   9  form factor                          OCTET STRING of 1        all
//!  10  FIPS, 11  CSPN                       not published            where certified
//! ```
//!
//! # Source
//! Yubico, "OpenPGP Attestation OID Arc", for the numbers; the encodings are those of genuine attestations of
//! firmware 5.2.7 and 5.7.4.

use std::fmt;

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode as _, Reader as _, SliceReader, Tag, Tagged as _};

use super::AttestationError;
use super::firmware::Firmware;
use super::key::PublicKey;
use crate::card::{KeySlot, TouchPolicy};
use crate::unix_time::UnixTime;

/// What an attestation says. Only in a [`super::Attestation`] is it more than words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Which key it is about.
    pub slot: KeySlot,
    /// The public half of that key.
    pub key: PublicKey,
    /// Where that key came from.
    pub source: Source,
    /// Which code made it.
    pub firmware: Firmware,
    /// The number printed on the token.
    pub serial: u32,
    /// Whether the key needed a touch when it was attested.
    pub touch: TouchPolicy,
    /// What the token looks like.
    pub form_factor: FormFactor,
    /// Signatures made with the key when it was attested; of the signature key alone.
    pub signatures: Option<u32>,
    /// Extension 10 in DER as it stands, if it does: how it is encoded is not published.
    pub fips: Option<Vec<u8>>,
    /// Extension 11 in DER as it stands, if it does: how it is encoded is not published.
    pub cspn: Option<Vec<u8>>,
    /// What the token repeats after its owner.
    pub owner_writable: OwnerWritable,
}

/// What the holder of the admin PIN can write as they like, before attesting. Hints, never facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerWritable {
    /// DO 5B, UTF-8 as a rule.
    pub cardholder: Vec<u8>,
    /// What the card calls the key's fingerprint (DO C7, C8, C9).
    pub fingerprint: [u8; 20],
    /// What the card calls the key's creation time (DO CE, CF, D0).
    pub made: UnixTime,
}

/// Where a key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Made on the token: no copy of it exists.
    Generated,
    /// Brought to the token. No genuine token attests such a key.
    Imported,
}

/// What a token looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormFactor {
    /// Not specified.
    Unspecified,
    /// USB-A, for a keyring.
    AKeychain,
    /// USB-A, stays in the socket.
    ANano,
    /// USB-C, for a keyring.
    CKeychain,
    /// USB-C, stays in the socket.
    CNano,
    /// USB-C and Lightning.
    CLightning,
    /// A number that is not published.
    Other(u8),
}

fn slot_of_subject(subject: &str) -> Option<KeySlot> {
    match subject.strip_prefix("YubiKey OPGP Attestation ")? {
        "SIG" => Some(KeySlot::Signature),
        "DEC" => Some(KeySlot::Decryption),
        "AUT" => Some(KeySlot::Authentication),
        _ => None,
    }
}

impl Source {
    /// One word for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Generated => "generated",
            Self::Imported => "imported",
        }
    }
}

impl fmt::Display for FormFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unspecified => f.write_str("unspecified"),
            Self::AKeychain => f.write_str("usb-a-keychain"),
            Self::ANano => f.write_str("usb-a-nano"),
            Self::CKeychain => f.write_str("usb-c-keychain"),
            Self::CNano => f.write_str("usb-c-nano"),
            Self::CLightning => f.write_str("usb-c-lightning"),
            Self::Other(number) => write!(f, "form-factor-{number}"),
        }
    }
}

/// The parts of a certificate that are read here, in DER.
pub(super) struct Parts<'a> {
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    key: &'a [u8],
    extensions: Vec<(u8, &'a [u8])>,
}

impl<'a> Parts<'a> {
    /// # Source
    /// RFC 5280, section 4.1.
    pub(super) fn read(certificate: &'a [u8]) -> Result<Self, AttestationError> {
        let why = |error: der::Error| AttestationError::MalformedCertificate { why: error.to_string() };
        let mut reader = SliceReader::new(certificate).map_err(why)?;
        let parts = reader.sequence(|reader| {
            let parts = reader.sequence(Self::body)?;
            let _algorithm = reader.tlv_bytes()?;
            let _signature = reader.tlv_bytes()?;
            Ok::<_, der::Error>(parts)
        });
        let parts = parts.map_err(why)?;
        reader.finish().map_err(why)?;
        Ok(parts)
    }

    fn body(reader: &mut SliceReader<'a>) -> der::Result<Self> {
        let version = reader.tlv_bytes()?;
        if version != [0xA0, 3, 2, 1, 2] {
            return Err(Tag::Integer.value_error().into());
        }
        let _serial: UintRef<'_> = reader.decode()?;
        let _algorithm = reader.tlv_bytes()?;
        let issuer = reader.tlv_bytes()?;
        let _validity = reader.tlv_bytes()?;
        let subject = reader.tlv_bytes()?;
        let key = reader.tlv_bytes()?;
        let mut extensions = Vec::new();
        if !reader.is_finished() {
            let wrapped: AnyRef<'_> = reader.decode()?;
            if wrapped.tag().is_context_specific() && wrapped.tag().number().value() == 3 {
                let mut reader = SliceReader::new(wrapped.value())?;
                reader.sequence(|reader| {
                    while !reader.is_finished() {
                        extensions.extend(reader.sequence(Self::extension)?);
                    }
                    Ok::<_, der::Error>(())
                })?;
                reader.finish()?;
            } else {
                return Err(Tag::Sequence.value_error().into());
            }
        }
        Ok(Self { issuer, subject, key, extensions })
    }

    /// One extension, if it is one of Yubico's about OpenPGP keys. Others are webpki's to judge.
    fn extension(reader: &mut SliceReader<'a>) -> der::Result<Option<(u8, &'a [u8])>> {
        const ARC: [u8; 9] = [0x2B, 0x06, 0x01, 0x04, 0x01, 0x82, 0xC4, 0x0A, 0x05];
        let oid: ObjectIdentifier = reader.decode()?;
        if reader.decode::<Option<bool>>()? == Some(false) {
            // DER does not write a default.
            return Err(Tag::Boolean.value_error().into());
        }
        let value: &OctetStringRef = reader.decode()?;
        Ok(match oid.as_bytes().strip_prefix(&ARC) {
            Some([number]) => Some((*number, value.as_bytes())),
            _ => None,
        })
    }

    /// The one value of extension `number`, if it is there.
    fn value(&self, number: u8, name: &'static str) -> Result<Option<&'a [u8]>, AttestationError> {
        let mut all = self.extensions.iter().filter(|(found, _)| *found == number).map(|(_, value)| *value);
        let first = all.next();
        match all.next() {
            Some(_) => Err(AttestationError::ExtensionDuplicate { name, number }),
            None => Ok(first),
        }
    }

    fn field(&self, number: u8, name: &'static str, expected: &'static str) -> Field<'a, '_> {
        Field { parts: self, number, name, expected }
    }
}

/// An extension on its way to becoming a value.
struct Field<'a, 'p> {
    parts: &'p Parts<'a>,
    number: u8,
    name: &'static str,
    expected: &'static str,
}

impl<'a> Field<'a, '_> {
    fn malformed(&self) -> AttestationError {
        let (name, number, expected) = (self.name, self.number, self.expected);
        AttestationError::ExtensionMalformed { name, number, expected }
    }

    /// The contents of the one element that the value must be.
    fn contents(&self, tag: Tag) -> Result<&'a [u8], AttestationError> {
        let (name, number) = (self.name, self.number);
        let value =
            self.parts.value(number, name)?.ok_or(AttestationError::ExtensionMissing { name, number })?;
        let element = AnyRef::from_der(value).map_err(|_| self.malformed())?;
        if element.tag() == tag { Ok(element.value()) } else { Err(self.malformed()) }
    }

    fn octets<const N: usize>(&self) -> Result<[u8; N], AttestationError> {
        self.contents(Tag::OctetString)?.try_into().map_err(|_| self.malformed())
    }

    fn number(&self) -> Result<u32, AttestationError> {
        let value = self.parts.value(self.number, self.name)?;
        self.contents(Tag::Integer)?;
        value.and_then(|value| u32::from_der(value).ok()).ok_or_else(|| self.malformed())
    }
}

impl Statement {
    /// Reads what a certificate says, whoever signed it.
    ///
    /// # Errors
    /// If it is no certificate, not about an OpenPGP key, or its extensions are not exactly those of an
    /// attestation.
    pub fn read(certificate: &[u8]) -> Result<Self, AttestationError> {
        Self::of(&Parts::read(certificate)?)
    }

    pub(super) fn of(parts: &Parts<'_>) -> Result<Self, AttestationError> {
        let subject = common_name(parts.subject).unwrap_or_default();
        let slot = slot_of_subject(&subject).ok_or(AttestationError::ForeignSubject { subject })?;
        let [major, minor, patch] = parts.field(3, "firmware", "an octet string of 3 bytes").octets()?;
        let serial = parts.field(7, "serial number", "an integer of 32 bits").number()?;
        let [touch] = parts.field(8, "touch policy", "an octet string of 1 byte").octets()?;
        let [form_factor] = parts.field(9, "form factor", "an octet string of 1 byte").octets()?;
        let source = parts.field(2, "source", "the integer 0 or 1");
        let source = match source.number()? {
            0 => Source::Imported,
            1 => Source::Generated,
            _ => return Err(source.malformed()),
        };
        let counter = parts.field(6, "signature counter", "an integer of 32 bits");
        let signatures = match slot {
            KeySlot::Signature => Some(counter.number()?),
            KeySlot::Authentication | KeySlot::Decryption => {
                let (name, number) = (counter.name, counter.number);
                if parts.value(number, name)?.is_some() {
                    return Err(AttestationError::ExtensionUnexpected { name, number });
                }
                None
            }
        };
        let raw = |number, name| Ok(parts.value(number, name)?.map(<[u8]>::to_vec));
        let made: [u8; 4] = parts.field(5, "generation time", "an octet string of 4 bytes").octets()?;
        let owner_writable = OwnerWritable {
            cardholder: parts
                .field(1, "cardholder name", "a UTF-8 string")
                .contents(Tag::Utf8String)?
                .to_vec(),
            fingerprint: parts.field(4, "fingerprint", "an octet string of 20 bytes").octets()?,
            made: UnixTime::from_seconds(u32::from_be_bytes(made).into())
                .expect("32 bits of seconds end in the year 2106"),
        };
        Ok(Self {
            slot,
            key: PublicKey::read(parts.key)?,
            source,
            firmware: Firmware::new(major, minor, patch),
            serial,
            touch: match touch {
                0 => TouchPolicy::Off,
                1 => TouchPolicy::On,
                2 => TouchPolicy::Fixed,
                3 => TouchPolicy::Cached,
                4 => TouchPolicy::CachedFixed,
                other => TouchPolicy::Unknown(other),
            },
            form_factor: match form_factor {
                0 => FormFactor::Unspecified,
                1 => FormFactor::AKeychain,
                2 => FormFactor::ANano,
                3 => FormFactor::CKeychain,
                4 => FormFactor::CNano,
                5 => FormFactor::CLightning,
                other => FormFactor::Other(other),
            },
            signatures,
            fips: raw(10, "FIPS")?,
            cspn: raw(11, "CSPN")?,
            owner_writable,
        })
    }
}

/// The common name of a name that has nothing else, as Yubico's have.
pub(super) fn common_name(name: &[u8]) -> Option<String> {
    const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
    // Name: SEQUENCE of SET of SEQUENCE of type and value.
    let attribute = |name| {
        let only = AnyRef::from_der(name).ok().filter(|outer| outer.tag() == Tag::Sequence)?;
        let set = AnyRef::from_der(only.value()).ok().filter(|set| set.tag() == Tag::Set)?;
        AnyRef::from_der(set.value()).ok()
    };
    let (kind, value) = attribute(name)?
        .sequence(|reader| {
            Ok::<_, der::Error>((reader.decode::<ObjectIdentifier>()?, reader.decode::<AnyRef<'_>>()?))
        })
        .ok()?;
    let text = matches!(value.tag(), Tag::Utf8String | Tag::PrintableString) && kind == COMMON_NAME;
    text.then(|| String::from_utf8(value.value().to_vec()).ok()).flatten()
}
