//! A key that signs: judged by sequoia's policy, computed with by aws-lc.
//!
//! The arithmetic accepts a subset of what sequoia's does: what its checks add to a raw one is
//! repeated here, and encodings on which implementations differ are refused.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Digest, SHA256, SHA384, SHA512};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
};
use openpgp::Cert;
use openpgp::Fingerprint;
use openpgp::cert::amalgamation::{ValidAmalgamation as _, ValidateAmalgamation as _};
use openpgp::crypto::hash::Hash as _;
use openpgp::crypto::mpi;
use openpgp::packet::key::{PublicParts, UnspecifiedRole};
use openpgp::packet::signature::Signature4;
use openpgp::packet::{Key, Signature};
use openpgp::policy::{HashAlgoSecurity, Policy as _, StandardPolicy};
use openpgp::types::{Curve, HashAlgorithm, RevocationStatus};
use sequoia_openpgp as openpgp;

use crate::card::attestation::PublicKey;
use crate::trust::roster::read_certificate;
use crate::unix_time::UnixTime;
use crate::verify::Rejection;
use crate::verify::packet::{self, Shaped};
use crate::verify::turns;

/// One policy for all: sequoia's, as of the version that is linked.
const POLICY: &StandardPolicy = &StandardPolicy::new();

/// A key and the certificate that it stands in.
#[derive(Debug)]
pub struct SigningKey {
    fingerprint: Fingerprint,
    material: Box<[u8]>,
    /// The file that it stands in, as long as that is not opened: a certificate in memory takes ten times as much, and
    /// of a hundred thousand people few answer.
    file: Box<[u8]>,
    opened: OnceLock<Box<Opened>>,
    /// For which span of time the certificate was last found valid, and in which second; see [`Self::check_valid`].
    found_valid: AtomicU64,
}

/// How long a certificate lets its key sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Without end.
    Unlimited,
    /// Until just before this moment.
    Until(UnixTime),
    /// Not at all: revoked, not for signing, or not valid by the standard policy.
    Unusable {
        /// The rejection's code.
        code: &'static str,
    },
}

impl std::fmt::Display for Lifetime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unlimited => f.write_str("without end"),
            Self::Until(end) => write!(f, "good until {end}"),
            Self::Unusable { code } => write!(f, "of no use ({code})"),
        }
    }
}

/// A key, its certificate, and what to compute with.
#[derive(Debug)]
struct Opened {
    cert: Cert,
    key: Key<PublicParts, UnspecifiedRole>,
    arithmetic: Arithmetic,
    /// Made when they are first needed.
    turns: OnceLock<Box<[u64]>>,
}

/// Why a key cannot be enrolled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The certificate has no such key.
    #[error("key {0} is not in the certificate")]
    Absent(Fingerprint),
    /// Version, algorithm, curve or size.
    #[error("key {0} is not Ed25519, NIST P-256/384/521 or RSA of 2048 bits or more")]
    Unsupported(Fingerprint),
}

/// The public key, ready to compute with.
#[derive(Debug)]
enum Arithmetic {
    Ecdsa { key: ParsedPublicKey, width: usize, hash: &'static aws_lc_rs::digest::Algorithm },
    Ed25519(ParsedPublicKey),
    Rsa { sha256: ParsedPublicKey, sha384: ParsedPublicKey, sha512: ParsedPublicKey, width: usize },
}

impl SigningKey {
    /// Takes the key with this fingerprint out of `cert`, whether or not it is valid today.
    ///
    /// # Errors
    /// Any [`KeyError`].
    pub fn new(cert: Cert, fingerprint: &Fingerprint) -> Result<Self, KeyError> {
        let opened = Opened::new(cert, fingerprint)?;
        Ok(Self {
            fingerprint: fingerprint.clone(),
            material: material(opened.key.mpis()).unwrap_or_default().into(),
            file: Box::default(),
            opened: OnceLock::from(Box::new(opened)),
            found_valid: AtomicU64::new(0),
        })
    }

    /// The same key, to be read again from the `file` that it was read from when it is first needed.
    pub(crate) fn closed(self, file: &[u8]) -> Self {
        Self { file: file.into(), opened: OnceLock::new(), ..self }
    }

    fn opened(&self) -> &Opened {
        self.opened.get_or_init(|| {
            let cert = read_certificate(&self.file).expect("it was read before it was closed");
            Box::new(Opened::new(cert, &self.fingerprint).expect("the key was in it before"))
        })
    }

    /// The fingerprint of the key itself (of a subkey: not the certificate's).
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The certificate that it stands in.
    pub fn certificate(&self) -> &Cert {
        &self.opened().cert
    }

    /// Whether both hold the same public key, whatever their creation times and algorithm numbers.
    pub fn same_material(&self, other: &Self) -> bool {
        self.material() == other.material()
    }

    /// Whether an attestation of `attested` is one of this very key.
    pub fn is_attested_by(&self, attested: &PublicKey) -> bool {
        attested.is_key_of(&self.opened().key)
    }

    /// What the key computes with, whatever else is written around it.
    pub(crate) fn material(&self) -> &[u8] {
        &self.material
    }

    /// The same of the key that certifies this one, which may be this one; of an algorithm that is not taken here, its
    /// fingerprint.
    pub(crate) fn certifier(&self) -> Vec<u8> {
        let primary = self.certificate().primary_key();
        let found = material(primary.key().mpis());
        found.map_or_else(|| primary.key().fingerprint().as_bytes().to_vec(), <[u8]>::to_vec)
    }

    /// Judges a detached signature over any bytes by this key at `time`, and gives the moment that
    /// it names: shape, subpackets, issuer, certificate, policy, arithmetic, in this order.
    ///
    /// What the bytes say, and whether that moment suits them, is [`crate::verify::response`]'s part.
    ///
    /// # Errors
    /// The first check that failed; [`Rejection::UnknownSigner`] if it names another key.
    pub fn check(&self, signature: &[u8], statement: &[u8], time: UnixTime) -> Result<UnixTime, Rejection> {
        let shaped = packet::read(signature)?;
        if shaped.issuer != self.fingerprint {
            return Err(Rejection::UnknownSigner { key: shaped.issuer.to_hex() });
        }
        self.check_shaped(&shaped, statement, time)?;
        Ok(shaped.created)
    }

    /// The part of [`SigningKey::check`] after the issuer was found to be this key.
    pub(super) fn check_shaped(
        &self,
        shaped: &Shaped,
        statement: &[u8],
        time: UnixTime,
    ) -> Result<(), Rejection> {
        self.check_valid(time)?;
        self.check_signature(&shaped.signature, statement, time)
    }

    /// Whether sequoia's standard policy would let this key sign at `time`.
    ///
    /// The last yes is kept for all moments between those at which the certificate may change, as long as the second
    /// lasts in which it was given: the policy's own cut-off dates go by the clock.
    ///
    /// # Errors
    /// The rejection that says why not.
    pub fn check_valid(&self, time: UnixTime) -> Result<(), Rejection> {
        let span = turns::span(self.opened().turns(), time.seconds());
        let now = u32::try_from(UnixTime::now().seconds()).ok();
        let question = span.zip(now).map(|(span, now)| span << 32 | u64::from(now));
        if question.is_some_and(|question| question == self.found_valid.load(Ordering::Relaxed)) {
            return Ok(());
        }
        self.judge_valid(time)?;
        if let Some(question) = question {
            self.found_valid.store(question, Ordering::Relaxed);
        }
        Ok(())
    }

    fn judge_valid(&self, time: UnixTime) -> Result<(), Rejection> {
        let key = self
            .certificate()
            .keys()
            .find(|key| key.key().fingerprint() == self.fingerprint)
            .expect("it was found in `new`");
        let invalid =
            |error: openpgp::anyhow::Error| Rejection::CertificateInvalid { reason: error.to_string() };
        let time: std::time::SystemTime = time.into();
        match self.certificate().revocation_status(POLICY, time) {
            // One by somebody else, whom the certificate may name as its revoker: not for us to doubt.
            RevocationStatus::Revoked(_) | RevocationStatus::CouldBe(_) => {
                return Err(Rejection::CertificateRevoked);
            }
            RevocationStatus::NotAsFarAsWeKnow => {}
        }
        let primary = self.certificate().fingerprint() == self.fingerprint;
        let key = match key.clone().with_policy(POLICY, time) {
            Ok(key) => key,
            Err(_) if !primary && self.lacks_back_signature() => return Err(Rejection::NoBackSignature),
            Err(error) => return Err(invalid(error)),
        };
        if let RevocationStatus::Revoked(_) | RevocationStatus::CouldBe(_) = key.revocation_status() {
            return Err(Rejection::CertificateRevoked);
        }
        let cert = self.certificate().with_policy(POLICY, time).map_err(invalid)?;
        if cert.alive().is_err() || key.alive().is_err() {
            return Err(Rejection::CertificateExpired);
        }
        if !key.for_signing() {
            return Err(Rejection::NotForSigning);
        }
        Ok(())
    }

    /// Until when the certificate lets this key sign, by all that stands in it at `at`.
    pub fn lifetime(&self, at: UnixTime) -> Lifetime {
        match self.judge_valid(at) {
            Ok(()) | Err(Rejection::CertificateExpired) => {}
            Err(rejection) => return Lifetime::Unusable { code: rejection.code() },
        }
        let time: std::time::SystemTime = at.into();
        let own = self.certificate().keys().find(|key| key.key().fingerprint() == self.fingerprint);
        let own = own.and_then(|key| key.with_policy(POLICY, time).ok()?.key_expiration_time());
        let whole = self.certificate().with_policy(POLICY, time).ok();
        let whole = whole.and_then(|cert| cert.primary_key().key_expiration_time());
        match [own, whole].into_iter().flatten().min() {
            None => Lifetime::Unlimited,
            Some(end) => Lifetime::Until(end.into()),
        }
    }

    /// Whether a binding for signing exists that embeds no signature by this subkey that holds.
    fn lacks_back_signature(&self) -> bool {
        let Some(key) =
            self.certificate().keys().subkeys().find(|key| key.key().fingerprint() == self.fingerprint)
        else {
            return false;
        };
        // Where sequoia files such a binding differs: among the bad, or the subkey's own.
        let bindings: Vec<&Signature> =
            self.certificate().bad_signatures().chain(key.self_signatures()).collect();
        let primary = self.certificate().primary_key().key();
        let backed = |binding: &Signature| {
            binding
                .embedded_signatures()
                .any(|back| back.clone().verify_primary_key_binding(primary, key.key()).is_ok())
        };
        bindings.iter().any(|b| b.key_flags().is_some_and(|flags| flags.for_signing()) && !backed(b))
    }

    /// Whether `signature` over `statement` was made by this key: policy first, then arithmetic.
    ///
    /// # Errors
    /// [`Rejection::HashAlgorithm`], [`Rejection::SignatureExpired`], [`Rejection::BadSignature`].
    fn check_signature(
        &self,
        signature: &Signature,
        statement: &[u8],
        now: UnixTime,
    ) -> Result<(), Rejection> {
        let hash = signature.hash_algo();
        let refused = || Rejection::HashAlgorithm { hash: hash.to_string() };
        if !self.opened().arithmetic.takes(hash) {
            return Err(refused());
        }
        POLICY.signature(signature, HashAlgoSecurity::CollisionResistance).map_err(|_| refused())?;
        // Zero is sequoia's "no tolerance", and what has no expiry does not expire.
        let expires = signature.signature_expiration_time().map(UnixTime::from);
        if expires.is_some_and(|expires| now >= expires) {
            return Err(Rejection::SignatureExpired);
        }
        if signature
            .signature_creation_time()
            .is_none_or(|created| created < self.opened().key.creation_time())
        {
            return Err(Rejection::BadSignature);
        }
        let mut context = hash.context().map_err(|_| refused())?.for_signature(4);
        context.update(statement);
        signature.hash(&mut context).map_err(|_| Rejection::BadSignature)?;
        let digest = context.into_digest().map_err(|_| Rejection::BadSignature)?;
        // One key can compute under two algorithms (22 and 27); it signs under its own.
        let same_algorithm = signature.pk_algo() == self.opened().key.pk_algo();
        let prefix = digest.get(..2) == Some(signature.digest_prefix().as_slice());
        if same_algorithm && prefix && self.opened().arithmetic.holds(hash, &digest, signature.mpis()) {
            Ok(())
        } else {
            Err(Rejection::BadSignature)
        }
    }

    /// The same judgement by sequoia alone, for tests to compare.
    ///
    /// # Errors
    /// In sequoia's words.
    pub fn check_signature_with_sequoia(
        &self,
        signature: &Signature4,
        statement: &[u8],
    ) -> openpgp::Result<()> {
        let signature = Signature::V4(signature.clone());
        POLICY.signature(&signature, HashAlgoSecurity::CollisionResistance)?;
        signature.verify_message(&self.opened().key, statement)
    }
}

impl Opened {
    fn new(cert: Cert, fingerprint: &Fingerprint) -> Result<Self, KeyError> {
        let found = cert.keys().find(|key| key.key().fingerprint() == *fingerprint);
        let key =
            found.ok_or_else(|| KeyError::Absent(fingerprint.clone()))?.key().clone().role_into_unspecified();
        let arithmetic = Arithmetic::new(&key).ok_or_else(|| KeyError::Unsupported(fingerprint.clone()))?;
        Ok(Self { cert, key, arithmetic, turns: OnceLock::new() })
    }

    fn turns(&self) -> &[u64] {
        self.turns.get_or_init(|| turns::turns(&self.cert, self.key.creation_time()))
    }
}

/// The point or the modulus: the lengths alone keep the kinds apart. A modulus is one key
/// under any exponent, for who can factor it holds them all.
fn material(mpis: &mpi::PublicKey) -> Option<&[u8]> {
    match mpis {
        mpi::PublicKey::EdDSA { q, .. } => q.value().get(1..),
        mpi::PublicKey::Ed25519 { a } => Some(a),
        mpi::PublicKey::ECDSA { q, .. } => Some(q.value()),
        mpi::PublicKey::RSA { n, .. } => Some(n.value()),
        _ => None,
    }
}

impl Arithmetic {
    fn new(key: &Key<PublicParts, UnspecifiedRole>) -> Option<Self> {
        if key.version() != 4 {
            return None;
        }
        match key.mpis() {
            mpi::PublicKey::EdDSA { curve: Curve::Ed25519, q } => match q.value() {
                [0x40, point @ ..] => Self::ed25519(point),
                _ => None,
            },
            mpi::PublicKey::Ed25519 { a } => Self::ed25519(a),
            mpi::PublicKey::ECDSA { curve, q } => {
                let parsed = |algorithm, width: usize, hash| {
                    // OpenPGP has no compressed points; aws-lc would read them, sequoia might not.
                    let plain = q.value().first() == Some(&4) && q.value().len() == 1 + 2 * width;
                    if !plain {
                        return None;
                    }
                    let key = ParsedPublicKey::new(algorithm, q.value()).ok()?;
                    Some(Self::Ecdsa { key, width, hash })
                };
                match curve {
                    Curve::NistP256 => parsed(&ECDSA_P256_SHA256_FIXED, 32, &SHA256),
                    Curve::NistP384 => parsed(&ECDSA_P384_SHA384_FIXED, 48, &SHA384),
                    Curve::NistP521 => parsed(&ECDSA_P521_SHA512_FIXED, 66, &SHA512),
                    _ => None,
                }
            }
            mpi::PublicKey::RSA { e, n } => {
                if n.bits() < 2048 {
                    return None;
                }
                let key = PublicKeyComponents { n: n.value(), e: e.value() };
                Some(Self::Rsa {
                    sha256: key.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()?,
                    sha384: key.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA384).ok()?,
                    sha512: key.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA512).ok()?,
                    width: n.value().len(),
                })
            }
            _ => None,
        }
    }

    fn ed25519(point: &[u8]) -> Option<Self> {
        if point.try_into().is_ok_and(is_small_order) {
            return None;
        }
        ParsedPublicKey::new(&ED25519, point).ok().map(Self::Ed25519)
    }

    /// SHA-512, -384 and -256; of ECDSA none shorter than the curve's order (P-521: than 512 bits),
    /// which GnuPG would not verify.
    fn takes(&self, hash: HashAlgorithm) -> bool {
        let length = match hash {
            HashAlgorithm::SHA256 => 32,
            HashAlgorithm::SHA384 => 48,
            HashAlgorithm::SHA512 => 64,
            _ => return false,
        };
        match self {
            Self::Ecdsa { hash: least, .. } => length >= least.output_len(),
            Self::Ed25519(_) | Self::Rsa { .. } => true,
        }
    }

    fn holds(&self, hash: HashAlgorithm, digest: &[u8], signature: &mpi::Signature) -> bool {
        self.verify(hash, digest, signature).is_some()
    }

    fn verify(&self, hash: HashAlgorithm, digest: &[u8], signature: &mpi::Signature) -> Option<()> {
        match (self, signature) {
            (Self::Ed25519(key), mpi::Signature::EdDSA { r, s }) => {
                let (r, s) = (r.value_padded(32).ok()?, s.value_padded(32).ok()?);
                if is_small_order(r.as_ref().try_into().ok()?) {
                    return None;
                }
                key.verify_sig(digest, &[r, s].concat()).ok()
            }
            (Self::Ed25519(key), mpi::Signature::Ed25519 { s }) => {
                if is_small_order(s.first_chunk::<32>()?) {
                    return None;
                }
                key.verify_sig(digest, &s[..]).ok()
            }
            (Self::Ecdsa { key, width, hash }, mpi::Signature::ECDSA { r, s }) => {
                let signature = [r.value_padded(*width).ok()?, s.value_padded(*width).ok()?].concat();
                // ECDSA takes the leftmost bits of a longer digest (FIPS 186-5, section 6.4.2).
                let leftmost = digest.get(..hash.output_len())?;
                key.verify_digest_sig(&Digest::import_less_safe(leftmost, hash).ok()?, &signature).ok()
            }
            (Self::Rsa { sha256, sha384, sha512, width }, mpi::Signature::RSA { s }) => {
                let (key, hash) = match hash {
                    HashAlgorithm::SHA256 => (sha256, &SHA256),
                    HashAlgorithm::SHA384 => (sha384, &SHA384),
                    HashAlgorithm::SHA512 => (sha512, &SHA512),
                    _ => return None,
                };
                key.verify_digest_sig(
                    &Digest::import_less_safe(digest, hash).ok()?,
                    &s.value_padded(*width).ok()?,
                )
                .ok()
            }
            _ => None,
        }
    }
}

/// Whether an encoding is one of the eight points of small order, or an alias of one: with such a
/// key some signature holds for every message, and implementations disagree on which.
///
/// # Source
/// "Taming the many EdDSAs" (IACR ePrint 2020/1244), table 1 and section 4.
pub(crate) fn is_small_order(point: &[u8; 32]) -> bool {
    const Y: [[u8; 32]; 7] = {
        let zero = [0; 32];
        let mut one = zero;
        one[0] = 1;
        let mut minus_one = [0xFF; 32];
        minus_one[0] = 0xEC;
        minus_one[31] = 0x7F;
        // p and p + 1: zero and one again, not reduced.
        let mut p = minus_one;
        p[0] = 0xED;
        let mut p_plus_one = minus_one;
        p_plus_one[0] = 0xEE;
        [zero, one, minus_one, p, p_plus_one, ORDER_EIGHT, ORDER_EIGHT_NEGATED]
    };
    let mut y = *point;
    y[31] &= 0x7F;
    Y.contains(&y)
}

/// The y of two of the four points of order eight.
const ORDER_EIGHT: [u8; 32] = [
    0x26, 0xE8, 0x95, 0x8F, 0xC2, 0xB2, 0x27, 0xB0, 0x45, 0xC3, 0xF4, 0x89, 0xF2, 0xEF, 0x98, 0xF0, 0xD5,
    0xDF, 0xAC, 0x05, 0xD3, 0xC6, 0x33, 0x39, 0xB1, 0x38, 0x02, 0x88, 0x6D, 0x53, 0xFC, 0x05,
];
/// And of the other two.
const ORDER_EIGHT_NEGATED: [u8; 32] = [
    0xC7, 0x17, 0x6A, 0x70, 0x3D, 0x4D, 0xD8, 0x4F, 0xBA, 0x3C, 0x0B, 0x76, 0x0D, 0x10, 0x67, 0x0F, 0x2A,
    0x20, 0x53, 0xFA, 0x2C, 0x39, 0xCC, 0xC6, 0x4E, 0xC7, 0xFD, 0x77, 0x92, 0xAC, 0x03, 0x7A,
];
