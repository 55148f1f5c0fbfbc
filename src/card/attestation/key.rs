//! The attested key, in a form in which it can be compared with an OpenPGP key.

use std::fmt;

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Reader as _, SliceReader};
use openpgp::crypto::mpi;
use openpgp::packet::Key;
use openpgp::packet::key::{KeyParts, KeyRole};
use openpgp::types::Curve as OpenPgpCurve;
use sequoia_openpgp as openpgp;

use super::AttestationError;

/// A public key as a SubjectPublicKeyInfo holds it: numbers without leading zeros, points uncompressed.
#[derive(Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// ECDSA or ECDH; the key itself does not say which.
    Ec {
        /// On which curve.
        curve: Curve,
        /// 04, x, y.
        point: Vec<u8>,
    },
    /// RFC 8410, 32 bytes.
    Ed25519([u8; 32]),
    /// RSA.
    Rsa {
        /// Big-endian.
        modulus: Vec<u8>,
        /// Big-endian.
        exponent: Vec<u8>,
    },
    /// RFC 8410, 32 bytes.
    X25519([u8; 32]),
}

/// A curve that OpenPGP slots of YubiKeys take, apart from the two of RFC 8410.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// RFC 5639.
    BrainpoolP256r1,
    /// RFC 5639.
    BrainpoolP384r1,
    /// RFC 5639.
    BrainpoolP512r1,
    /// FIPS 186-5.
    NistP256,
    /// FIPS 186-5.
    NistP384,
    /// FIPS 186-5.
    NistP521,
    /// SEC 2.
    Secp256k1,
}

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");

impl Curve {
    /// Identifier and bytes of a coordinate.
    const ALL: [(Self, &'static str, usize); 7] = [
        (Self::BrainpoolP256r1, "1.3.36.3.3.2.8.1.1.7", 32),
        (Self::BrainpoolP384r1, "1.3.36.3.3.2.8.1.1.11", 48),
        (Self::BrainpoolP512r1, "1.3.36.3.3.2.8.1.1.13", 64),
        (Self::NistP256, "1.2.840.10045.3.1.7", 32),
        (Self::NistP384, "1.3.132.0.34", 48),
        (Self::NistP521, "1.3.132.0.35", 66),
        (Self::Secp256k1, "1.3.132.0.10", 32),
    ];

    fn named(oid: ObjectIdentifier) -> Option<(Self, usize)> {
        let oid = oid.to_string();
        Self::ALL.into_iter().find(|(_, name, _)| *name == oid).map(|(curve, _, width)| (curve, width))
    }

    fn is(self, curve: &OpenPgpCurve) -> bool {
        match curve {
            OpenPgpCurve::BrainpoolP256 => self == Self::BrainpoolP256r1,
            OpenPgpCurve::BrainpoolP384 => self == Self::BrainpoolP384r1,
            OpenPgpCurve::BrainpoolP512 => self == Self::BrainpoolP512r1,
            OpenPgpCurve::NistP256 => self == Self::NistP256,
            OpenPgpCurve::NistP384 => self == Self::NistP384,
            OpenPgpCurve::NistP521 => self == Self::NistP521,
            // secp256k1: sequoia knows it by its identifier alone.
            OpenPgpCurve::Unknown(oid) => self == Self::Secp256k1 && **oid == [0x2B, 0x81, 0x04, 0x00, 0x0A],
            _ => false,
        }
    }
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo, outer sequence included.
    ///
    /// # Source
    /// RFC 5280, section 4.1.2.7; RFC 5480, section 2 (EC); RFC 8410, section 4 (no parameters); RFC 3279,
    /// section 2.3.1 (RSA, parameters NULL).
    pub(super) fn read(spki: &[u8]) -> Result<Self, AttestationError> {
        Self::parse(spki).ok().flatten().ok_or(AttestationError::UnsupportedKey)
    }

    fn parse(spki: &[u8]) -> der::Result<Option<Self>> {
        let mut reader = SliceReader::new(spki)?;
        let (algorithm, parameters, bits) = reader.sequence(|reader| {
            let (algorithm, parameters) = reader.sequence(|reader| {
                Ok::<_, der::Error>((
                    reader.decode::<ObjectIdentifier>()?,
                    reader.decode::<Option<AnyRef<'_>>>()?,
                ))
            })?;
            Ok::<_, der::Error>((algorithm, parameters, reader.decode::<BitStringRef<'_>>()?))
        })?;
        reader.finish()?;
        let Some(bits) = bits.as_bytes() else { return Ok(None) };
        Ok(match (algorithm, parameters) {
            (ED25519, None) => bits.try_into().ok().map(Self::Ed25519),
            (X25519, None) => bits.try_into().ok().map(Self::X25519),
            (EC_PUBLIC_KEY, Some(curve)) => {
                let named = Curve::named(curve.decode_as()?);
                let plain = |width| bits.first() == Some(&4) && bits.len() == 1 + 2 * width;
                named
                    .filter(|(_, width)| plain(*width))
                    .map(|(curve, _)| Self::Ec { curve, point: bits.to_vec() })
            }
            (RSA, Some(parameters)) if parameters.is_null() => {
                let mut reader = SliceReader::new(bits)?;
                let (modulus, exponent) = reader.sequence(|reader| {
                    Ok::<_, der::Error>((reader.decode::<UintRef<'_>>()?, reader.decode::<UintRef<'_>>()?))
                })?;
                reader.finish()?;
                Some(Self::Rsa {
                    modulus: modulus.as_bytes().to_vec(),
                    exponent: exponent.as_bytes().to_vec(),
                })
            }
            _ => None,
        })
    }

    /// Whether this is the public half of that OpenPGP key: the same numbers on the same curve, whatever the
    /// key's version, creation time and algorithm number.
    ///
    /// # Source
    /// RFC 9580, sections 5.5.5 and 11.2 (an old EdDSA or Curve25519 point has 40 before its 32 bytes).
    pub fn is_key_of<P: KeyParts, R: KeyRole>(&self, key: &Key<P, R>) -> bool {
        let prefixed = |q: &mpi::MPI, own: &[u8]| q.value().strip_prefix(&[0x40]) == Some(own);
        match (self, key.mpis()) {
            (Self::Ed25519(own), mpi::PublicKey::EdDSA { curve: OpenPgpCurve::Ed25519, q }) => {
                prefixed(q, own)
            }
            (Self::Ed25519(own), mpi::PublicKey::Ed25519 { a }) => a == own,
            (Self::X25519(own), mpi::PublicKey::ECDH { curve: OpenPgpCurve::Cv25519, q, .. }) => {
                prefixed(q, own)
            }
            (Self::X25519(own), mpi::PublicKey::X25519 { u }) => u == own,
            (
                Self::Ec { curve: own, point },
                mpi::PublicKey::ECDSA { curve, q } | mpi::PublicKey::ECDH { curve, q, .. },
            ) => own.is(curve) && q.value() == point,
            (Self::Rsa { modulus, exponent }, mpi::PublicKey::RSA { e, n }) => {
                n.value() == modulus && e.value() == exponent
            }
            _ => false,
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ec { curve, .. } => f.write_str(match curve {
                Curve::BrainpoolP256r1 => "brainpoolP256r1",
                Curve::BrainpoolP384r1 => "brainpoolP384r1",
                Curve::BrainpoolP512r1 => "brainpoolP512r1",
                Curve::NistP256 => "NIST P-256",
                Curve::NistP384 => "NIST P-384",
                Curve::NistP521 => "NIST P-521",
                Curve::Secp256k1 => "secp256k1",
            }),
            Self::Ed25519(_) => f.write_str("Ed25519"),
            Self::Rsa { modulus, .. } => write!(f, "RSA {}", modulus.len() * 8),
            Self::X25519(_) => f.write_str("X25519"),
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}
