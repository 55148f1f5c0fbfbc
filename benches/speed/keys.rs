//! Keys in software that sign as a token would, and the certificate they stand in.

use std::time::SystemTime;

use aws_lc_rs::digest::{Digest, SHA256, SHA512};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA512,
};
use openpgp::crypto::{Signer, mpi};
use openpgp::packet::key::{Key4, PrimaryRole, PublicParts, SecretParts, SubordinateRole, UnspecifiedRole};
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::{Key, Packet};
use openpgp::types::{Curve, HashAlgorithm, KeyFlags, PublicKeyAlgorithm, SignatureType};
use openpgp::{Cert, Fingerprint};
use sequoia_openpgp as openpgp;

use touchgate::card::CardKeys;
use touchgate::card::certificate::{self, Settings};

use crate::Anyhow;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Ed25519,
    P256,
    Rsa2048,
    Rsa4096,
}

impl Algorithm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::P256 => "P-256",
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa4096 => "RSA-4096",
        }
    }
}

/// A key pair.
pub(crate) struct SoftwareKey {
    public: Key<PublicParts, UnspecifiedRole>,
    secret: Secret,
}

enum Secret {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(rsa::KeyPair),
}

impl SoftwareKey {
    pub(crate) fn generate(algorithm: Algorithm, created: SystemTime) -> Anyhow<Self> {
        let (public, secret) = match algorithm {
            Algorithm::Ed25519 => {
                let pair = Ed25519KeyPair::generate()?;
                let public = Key4::import_public_ed25519(pair.public_key().as_ref(), created)?;
                (public, Secret::Ed25519(pair))
            }
            Algorithm::P256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
                let q = mpi::MPI::new(pair.public_key().as_ref());
                let mpis = mpi::PublicKey::ECDSA { curve: Curve::NistP256, q };
                (Key4::new(created, PublicKeyAlgorithm::ECDSA, mpis)?, Secret::P256(pair))
            }
            Algorithm::Rsa2048 | Algorithm::Rsa4096 => {
                let large = algorithm == Algorithm::Rsa4096;
                let size = if large { rsa::KeySize::Rsa4096 } else { rsa::KeySize::Rsa2048 };
                let pair = rsa::KeyPair::generate(size)?;
                // RSAPublicKey of RFC 8017: the modulus, then 65537 as an INTEGER.
                let modulus = pair.public_key().as_ref().strip_suffix(&[2, 3, 1, 0, 1]);
                let n = modulus.and_then(|der| der.get(der.len() - pair.public_modulus_len()..));
                let public = Key4::import_public_rsa(&[1, 0, 1], n.ok_or("another exponent")?, created)?;
                (public, Secret::Rsa(pair))
            }
        };
        Ok(Self { public: public.into(), secret })
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.public.fingerprint()
    }

    /// The certificate of this key alone, as `touchgate` makes it for a card.
    pub(crate) fn certificate(&mut self, created: SystemTime) -> Anyhow<Cert> {
        let keys = CardKeys::signing(self.public.clone());
        let settings = Settings { made: Some(created.into()), ..Settings::default() };
        Ok(certificate::make(&keys, "Alice <alice@example.org>", &settings, self)?.cert)
    }

    /// The certificate that most people bring: another key certifies, this one signs, a third decrypts.
    pub(crate) fn certificate_as_subkey(&mut self, primary: &mut Self, created: SystemTime) -> Anyhow<Cert> {
        let cert = primary.certificate(created)?;
        let public: Key<PublicParts, PrimaryRole> = primary.public.clone().role_into_primary();
        let signing: Key<PublicParts, SubordinateRole> = self.public.clone().role_into_subordinate();
        let decrypting: Key<SecretParts, SubordinateRole> = Key4::generate_ecc(false, Curve::Cv25519)?.into();
        let decrypting = decrypting.take_secret().0;
        let builder = |typ| {
            SignatureBuilder::new(typ)
                .set_hash_algo(HashAlgorithm::SHA512)
                .set_signature_creation_time(created)
        };
        let back =
            builder(SignatureType::PrimaryKeyBinding)?.sign_primary_key_binding(self, &public, &signing)?;
        let sign_binding = builder(SignatureType::SubkeyBinding)?
            .set_key_flags(KeyFlags::empty().set_signing())?
            .set_embedded_signature(back)?
            .sign_subkey_binding(primary, &public, &signing)?;
        let decrypt_binding = builder(SignatureType::SubkeyBinding)?
            .set_key_flags(KeyFlags::empty().set_transport_encryption())?
            .sign_subkey_binding(primary, &public, &decrypting)?;
        let packets: [Packet; 4] =
            [signing.into(), sign_binding.into(), decrypting.into(), decrypt_binding.into()];
        Ok(cert.insert_packets(packets)?.0)
    }

    /// The fastest check there is of this key's signatures: parsed once, given the digest.
    pub(crate) fn raw(&self) -> Anyhow<Raw> {
        let wrong = || "not a key of this bench".to_owned();
        Ok(match self.public.mpis() {
            mpi::PublicKey::EdDSA { q, .. } => {
                Raw::Ed25519(ParsedPublicKey::new(&ED25519, q.value().get(1..).ok_or_else(wrong)?)?)
            }
            mpi::PublicKey::ECDSA { q, .. } => {
                Raw::P256(ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, q.value())?)
            }
            mpi::PublicKey::RSA { e, n } => {
                let components = rsa::PublicKeyComponents { n: n.value(), e: e.value() };
                let key = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA512)?;
                Raw::Rsa(key, n.value().len())
            }
            _ => return Err(wrong().into()),
        })
    }
}

impl Signer for SoftwareKey {
    fn public(&self) -> &Key<PublicParts, UnspecifiedRole> {
        &self.public
    }

    fn acceptable_hashes(&self) -> &[HashAlgorithm] {
        &[HashAlgorithm::SHA512]
    }

    fn sign(&mut self, _: HashAlgorithm, digest: &[u8]) -> openpgp::Result<mpi::Signature> {
        let halves = |signature: &[u8]| {
            let (r, s) = signature.split_at(signature.len() / 2);
            (mpi::MPI::new(r), mpi::MPI::new(s))
        };
        Ok(match &self.secret {
            Secret::Ed25519(pair) => {
                let (r, s) = halves(pair.sign(digest).as_ref());
                mpi::Signature::EdDSA { r, s }
            }
            Secret::P256(pair) => {
                let digest = Digest::import_less_safe(digest.get(..32).unwrap_or_default(), &SHA256)?;
                let (r, s) = halves(pair.sign_digest(&digest)?.as_ref());
                mpi::Signature::ECDSA { r, s }
            }
            Secret::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let digest = Digest::import_less_safe(digest, &SHA512)?;
                pair.sign_digest(&RSA_PKCS1_SHA512, &digest, &mut signature)?;
                mpi::Signature::RSA { s: mpi::MPI::new(&signature) }
            }
        })
    }
}

/// A parsed public key, and nothing around it.
pub(crate) enum Raw {
    Ed25519(ParsedPublicKey),
    P256(ParsedPublicKey),
    Rsa(ParsedPublicKey, usize),
}

impl Raw {
    /// The signature in the form that [`Raw::check`] takes.
    pub(crate) fn prepare(&self, signature: &mpi::Signature) -> Anyhow<Vec<u8>> {
        Ok(match (self, signature) {
            (Self::Ed25519(_), mpi::Signature::EdDSA { r, s })
            | (Self::P256(_), mpi::Signature::ECDSA { r, s }) => {
                [r.value_padded(32)?, s.value_padded(32)?].concat()
            }
            (Self::Rsa(_, width), mpi::Signature::RSA { s }) => s.value_padded(*width)?.into_owned(),
            _ => return Err("a signature of another algorithm".into()),
        })
    }

    /// Whether the signature is good, given the digest that OpenPGP computes.
    pub(crate) fn check(&self, digest: &[u8], signature: &[u8]) -> Anyhow<()> {
        match self {
            Self::Ed25519(key) => key.verify_sig(digest, signature)?,
            Self::P256(key) => {
                let digest = Digest::import_less_safe(digest.get(..32).unwrap_or_default(), &SHA256)?;
                key.verify_digest_sig(&digest, signature)?;
            }
            Self::Rsa(key, _) => {
                key.verify_digest_sig(&Digest::import_less_safe(digest, &SHA512)?, signature)?;
            }
        }
        Ok(())
    }
}

/// So that nobody wonders where randomness comes from.
pub(crate) fn random<const N: usize>() -> Anyhow<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), &mut bytes)?;
    Ok(bytes)
}
