//! The shape of a signature: one packet, version 4, and only the subpackets that belong there.

use openpgp::packet::Signature;
use openpgp::packet::signature::subpacket::{Subpacket, SubpacketTag, SubpacketValue};
use openpgp::parse::Parse as _;
use openpgp::serialize::MarshalInto as _;
use openpgp::types::SignatureType;
use openpgp::{Fingerprint, Packet};
use sequoia_openpgp as openpgp;

use crate::armor;
use crate::response::MAX_SIGNATURE;
use crate::unix_time::UnixTime;
use crate::verify::Rejection;

/// The notation that says: made over a Touchgate statement, by a client that was told so.
pub const NOTATION_NAME: &str = "statement@touchgate.invalid";
/// Its value.
pub const NOTATION_VALUE: &str = "v1";

/// A signature of the right shape, its arithmetic not yet checked.
pub(super) struct Shaped {
    pub(super) signature: Signature,
    pub(super) issuer: Fingerprint,
    pub(super) created: UnixTime,
}

/// Reads one signature packet, binary or in one armor block, and checks everything about it that
/// needs neither key nor statement.
pub(super) fn read(bytes: &[u8]) -> Result<Shaped, Rejection> {
    if bytes.starts_with(b"-----BEGIN PGP SIGNED MESSAGE-----") {
        return Err(Rejection::CleartextForm);
    }
    if bytes.len() > MAX_SIGNATURE {
        return Err(Rejection::SignatureTooLarge { length: bytes.len() });
    }
    if bytes.starts_with(b"-----BEGIN") {
        let malformed =
            || malformed("not one plain armor block (lines of 64, no headers, nothing around it)");
        return packet(&armor::read_exact(armor::SIGNATURE, bytes).ok_or_else(malformed)?);
    }
    packet(bytes)
}

/// The issuer and the binary form of a signature of the right shape.
///
/// # Errors
/// As [`read`]; its arithmetic is not checked.
pub(crate) fn issuer_and_packet(bytes: &[u8]) -> Result<(Fingerprint, Vec<u8>), Rejection> {
    Ok((read(bytes)?.issuer, binary(bytes)))
}

/// The binary form of a signature that [`read`] takes.
pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    // A binary packet begins with another byte than armor does, so that what was read is one or the other.
    armor::read_exact(armor::SIGNATURE, bytes).unwrap_or_else(|| bytes.to_vec())
}

fn malformed(reason: impl ToString) -> Rejection {
    Rejection::MalformedSignature { reason: reason.to_string() }
}

fn packet(bytes: &[u8]) -> Result<Shaped, Rejection> {
    let (body, rest) = split_signature_packet(bytes)?;
    match rest {
        [] => {}
        [tag, ..] if tag & 0x80 != 0 => return Err(Rejection::SeveralPackets),
        _ => return Err(Rejection::TrailingData { length: rest.len() }),
    }
    match body {
        [] => return Err(malformed("an empty packet")),
        [4, ..] => {}
        [found, ..] => return Err(Rejection::SignatureVersion { found: *found }),
    }
    let signature = match Packet::from_bytes(bytes) {
        Ok(Packet::Signature(signature @ Signature::V4(_))) => signature,
        Ok(Packet::Unknown(unknown)) => return Err(malformed(unknown.error())),
        Ok(_) => return Err(malformed("another packet")),
        Err(error) => return Err(malformed(error)),
    };
    shape(signature)
}

/// The body of the first packet, if that is a signature of definite length, and what stands after it.
///
/// # Source
/// RFC 9580, section 4.2. Partial and indeterminate lengths are for data that streams.
fn split_signature_packet(bytes: &[u8]) -> Result<(&[u8], &[u8]), Rejection> {
    let octet = |at: usize| bytes.get(at).map(|&b| usize::from(b)).ok_or_else(|| malformed("cut short"));
    let first = octet(0)?;
    let (tag, start, length) = match first {
        0xC0.. => match octet(1)? {
            one @ 0..192 => (first & 0x3F, 2, one),
            one @ 192..224 => (first & 0x3F, 3, ((one - 192) << 8) + octet(2)? + 192),
            _ => return Err(malformed("a length that no signature needs")),
        },
        0x80.. => match first & 3 {
            0 => (first >> 2 & 0x0F, 2, octet(1)?),
            1 => (first >> 2 & 0x0F, 3, (octet(1)? << 8) + octet(2)?),
            _ => return Err(malformed("a length that no signature needs")),
        },
        _ => return Err(malformed("not an OpenPGP packet")),
    };
    if tag != 2 {
        return Err(malformed(format!("packet type {tag}, not a signature")));
    }
    let body = bytes.get(start..).and_then(|rest| rest.split_at_checked(length));
    body.ok_or_else(|| malformed("cut short"))
}

fn shape(signature: Signature) -> Result<Shaped, Rejection> {
    if signature.typ() != SignatureType::Binary {
        return Err(Rejection::SignatureType { found: u8::from(signature.typ()) });
    }
    let mut created = None;
    let mut issuer = None;
    let mut key_id = None;
    let mut noted = false;
    let mut seen: Vec<SubpacketTag> = Vec::new();
    let mut other_notations: Vec<&str> = Vec::new();
    for subpacket in signature.hashed_area().iter() {
        let tag = subpacket.tag();
        check_critical(subpacket)?;
        if tag == SubpacketTag::EmbeddedSignature {
            return Err(Rejection::EmbeddedSignature);
        }
        if let SubpacketValue::NotationData(notation) = subpacket.value() {
            match notation.name() {
                NOTATION_NAME if noted => return Err(Rejection::NotationDuplicate),
                NOTATION_NAME => {
                    let readable = notation.flags().human_readable();
                    noted =
                        readable && notation.value() == NOTATION_VALUE.as_bytes() && !subpacket.critical();
                    if !noted {
                        return Err(Rejection::NotationMissing);
                    }
                }
                // Somebody else's, such as the salt that sequoia puts in front: says nothing here.
                other if other_notations.contains(&other) => {
                    return Err(Rejection::DuplicateSubpacket { tag: tag.into() });
                }
                other => other_notations.push(other),
            }
            continue;
        }
        if seen.contains(&tag) {
            return Err(Rejection::DuplicateSubpacket { tag: tag.into() });
        }
        seen.push(tag);
        match subpacket.value() {
            SubpacketValue::SignatureCreationTime(time) => {
                created = UnixTime::from_seconds(u32::from(*time).into());
            }
            SubpacketValue::IssuerFingerprint(fingerprint) => issuer = Some(fingerprint.clone()),
            SubpacketValue::Issuer(id) => key_id = Some(id.clone()),
            _ => {}
        }
    }
    let created = created.ok_or(Rejection::MissingSubpacket { what: "creation time" })?;
    let issuer = issuer.ok_or(Rejection::MissingSubpacket { what: "issuer fingerprint" })?;
    if !noted {
        return Err(Rejection::NotationMissing);
    }
    if key_id.is_some_and(|id| id != (&issuer).into()) {
        return Err(malformed("the issuer's Key ID and fingerprint differ"));
    }
    check_unhashed(&signature, &issuer)?;
    Ok(Shaped { signature, issuer, created })
}

/// What everybody knows and we act on may be critical: creation time, issuer and the signature's own
/// expiry, which gpg makes critical (`default-sig-expire`). Nothing else may.
fn check_critical(subpacket: &Subpacket) -> Result<(), Rejection> {
    let known = matches!(
        subpacket.tag(),
        SubpacketTag::SignatureCreationTime
            | SubpacketTag::SignatureExpirationTime
            | SubpacketTag::IssuerFingerprint
            | SubpacketTag::Issuer
    );
    // A critical notation of ours is answered as what it is: not the notation that was asked for.
    let ours = matches!(subpacket.value(), SubpacketValue::NotationData(n) if n.name() == NOTATION_NAME);
    if subpacket.critical() && !known && !ours {
        return Err(Rejection::CriticalSubpacket { tag: subpacket.tag().into() });
    }
    Ok(())
}

/// Empty, or one of the two ways to name the issuer, in its one encoding: no bit here is free.
fn check_unhashed(signature: &Signature, issuer: &Fingerprint) -> Result<(), Rejection> {
    let area = signature.unhashed_area().to_vec().map_err(malformed)?;
    let key_id = [&[9, 16], openpgp::KeyID::from(issuer).as_bytes()].concat();
    let fingerprint = [&[22, 33, 4], issuer.as_bytes()].concat();
    if area.is_empty() || area == key_id || area == fingerprint {
        Ok(())
    } else {
        Err(Rejection::UnhashedSubpacket)
    }
}
