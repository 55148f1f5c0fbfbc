//! A signature by the card: asks for the PIN, tells about the touch, tries again, checks the result.

use std::sync::mpsc;
use std::time::Duration;

use sequoia_openpgp::crypto::mpi::{self, MPI};
use sequoia_openpgp::crypto::{self};
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{PublicParts, UnspecifiedRole};
use sequoia_openpgp::types::{Curve, HashAlgorithm, PublicKeyAlgorithm};

use super::error::{CardError, Doing};
use super::info::{TokenInfo, TouchNeed};
use super::pin::Pin;
use super::session::{Secret, Task, Token};
use super::watch::{Event, Patience, Step};

/// SHA-512 suits every key that we sign with; ECDSA takes its leftmost bits.
const HASHES: [HashAlgorithm; 3] = [HashAlgorithm::SHA512, HashAlgorithm::SHA384, HashAlgorithm::SHA256];

/// The person at the card, as far as the card needs them. The command line implements it.
pub trait Attendant {
    /// Asks for the PIN. `None` gives up: the signature then fails with what `request.refused` says.
    ///
    /// # Errors
    /// Whatever ends the matter: [`CardError::NoPin`], [`CardError::Cancelled`].
    fn pin(&mut self, request: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError>;

    /// The PIN is awaited at the reader's own keys now.
    fn pinpad(&mut self, token: &TokenInfo) {
        let _ = token;
    }

    /// What the next signature is for, where one run makes several.
    fn about_to(&mut self, what: &str) {
        let _ = what;
    }

    /// The card is about to wait for a touch: for sure, or perhaps if its last one is remembered.
    /// Not called when no touch will be needed.
    fn touch_needed(&mut self, token: &TokenInfo, need: TouchNeed);

    /// Called some ten times a second: what is under way, for how long, and the time that is left.
    fn waiting(&mut self, doing: Doing, waited: Duration, left: Duration) {
        let _ = (doing, waited, left);
    }

    /// The touch did not come. `true` tries again; taking more than a few seconds over the answer is
    /// allowed and costs the card one more VERIFY.
    fn not_touched(&mut self, waited: Duration) -> bool;
}

/// What to say when asking for the PIN.
#[derive(Debug)]
pub struct PinRequest<'a> {
    /// The card it is for, with its tries left.
    pub token: &'a TokenInfo,
    /// Why the PIN given before was not good, if one was given.
    pub refused: Option<&'a CardError>,
}

/// A PIN, or the place where it will be entered.
#[derive(Clone, Debug)]
pub enum PinEntry {
    /// At the keys of the reader.
    Pinpad,
    /// Here it is.
    Typed(Pin),
}

/// Makes signatures with the key in a card's signature slot.
pub struct CardSigner<'a> {
    token: &'a mut Token,
    key: Key<PublicParts, UnspecifiedRole>,
    attendant: &'a mut dyn Attendant,
    patience: Patience,
}

impl<'a> CardSigner<'a> {
    /// A signer for `key`, the (sub)key of the certificate that the card is thought to hold.
    ///
    /// # Errors
    /// [`CardError::UnsupportedAlgorithm`] if this kind of key is none of ours.
    pub fn new(
        token: &'a mut Token,
        key: Key<PublicParts, UnspecifiedRole>,
        attendant: &'a mut dyn Attendant,
        patience: Patience,
    ) -> Result<Self, CardError> {
        Shape::of(&key)?;
        Ok(Self { token, key, attendant, patience })
    }

    /// Signs a digest and checks the result with the public key.
    ///
    /// # Errors
    /// Every outcome of the card is its own variant of [`CardError`].
    pub fn sign_digest(&mut self, hash: HashAlgorithm, digest: &[u8]) -> Result<mpi::Signature, CardError> {
        let shape = Shape::of(&self.key)?;
        let on_card = self
            .token
            .info()
            .signature_key
            .as_ref()
            .ok_or(CardError::NoSignatureKey { ident: self.token.info().ident })?
            .fingerprint
            .clone();
        let mut refused = None;
        let signature = loop {
            let secret = ask(self.token.info(), self.attendant, &mut refused)?;
            let digest = digest.get(..shape.digest_bytes(digest.len())).unwrap_or(digest).to_vec();
            let task = Task { secret, rsa: shape == Shape::Rsa, hash, digest };
            match self.run(&task) {
                Err(error @ CardError::WrongPin { .. }) => refused = Some(error),
                other => break other?,
            }
        };
        let signature = shape.signature(&signature)?;
        self.key.verify(&signature, hash, digest).map_err(|_| CardError::KeyMismatch {
            expected: self.key.fingerprint().to_hex().to_ascii_lowercase(),
            on_card: on_card.to_hex().to_ascii_lowercase(),
        })?;
        Ok(signature)
    }

    /// One signature, with as many touches awaited as the attendant wants.
    fn run(&mut self, task: &Task) -> Result<Vec<u8>, CardError> {
        loop {
            let (go, again) = mpsc::channel();
            let mut go = Some(go);
            let info = self.token.info().clone();
            let attendant = &mut *self.attendant;
            let mut wanted = false;
            let mut on_step = |step| match step {
                Step::Event(Event::Pinpad) => attendant.pinpad(&info),
                Step::Event(Event::Touch) => attendant.touch_needed(&info, info.touch.need()),
                Step::Event(Event::NotTouched(waited)) => {
                    wanted = attendant.not_touched(waited);
                    let told = wanted && go.as_ref().is_some_and(|go| go.send(()).is_ok());
                    if !told {
                        // No, or too late and the card was let go: then the next round starts afresh.
                        go = None;
                    }
                }
                Step::Event(Event::Connected | Event::Signing) => {}
                Step::Tick { doing, waited, left } => attendant.waiting(doing, waited, left),
            };
            match self.token.sign(task.clone(), again, &self.patience, &mut on_step) {
                Ok(signature) => return Ok(signature),
                Err(CardError::NotTouched { .. }) if wanted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A PIN that this card may accept, or the pinpad.
pub(super) fn ask(
    token: &TokenInfo,
    attendant: &mut dyn Attendant,
    refused: &mut Option<CardError>,
) -> Result<Secret, CardError> {
    loop {
        if token.pin_tries_left == 0 {
            return Err(CardError::PinBlocked);
        }
        let request = PinRequest { token, refused: refused.as_ref() };
        match attendant.pin(&request)? {
            Some(PinEntry::Pinpad) => return Ok(Secret::Pinpad),
            Some(PinEntry::Typed(pin)) => match pin.fits(token) {
                Ok(()) => return Ok(Secret::Typed(pin)),
                Err(error) => *refused = Some(error),
            },
            None => {
                let none = CardError::NoPin { why: "none was given".to_owned() };
                return Err(refused.take().unwrap_or(none));
            }
        }
    }
}

impl crypto::Signer for CardSigner<'_> {
    fn public(&self) -> &Key<PublicParts, UnspecifiedRole> {
        &self.key
    }

    fn acceptable_hashes(&self) -> &[HashAlgorithm] {
        &HASHES
    }

    fn sign(&mut self, hash: HashAlgorithm, digest: &[u8]) -> sequoia_openpgp::Result<mpi::Signature> {
        Ok(self.sign_digest(hash, digest)?)
    }
}

/// What a key's kind demands of digest and signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// EdDSA over Ed25519 in OpenPGP's old form, two numbers.
    EdDsa,
    /// Ed25519 in the form of RFC 9580, 64 bytes.
    Ed25519,
    /// ECDSA with so many bytes to a number.
    Ecdsa(usize),
    Rsa,
}

impl Shape {
    fn of(key: &Key<PublicParts, UnspecifiedRole>) -> Result<Self, CardError> {
        match (key.pk_algo(), key.mpis()) {
            (PublicKeyAlgorithm::EdDSA, mpi::PublicKey::EdDSA { curve: Curve::Ed25519, .. }) => {
                Ok(Self::EdDsa)
            }
            (PublicKeyAlgorithm::Ed25519, _) => Ok(Self::Ed25519),
            (PublicKeyAlgorithm::ECDSA, mpi::PublicKey::ECDSA { curve, .. }) => match curve {
                Curve::NistP256 => Ok(Self::Ecdsa(32)),
                Curve::NistP384 => Ok(Self::Ecdsa(48)),
                Curve::NistP521 => Ok(Self::Ecdsa(66)),
                other => Err(CardError::UnsupportedAlgorithm { algorithm: format!("ECDSA with {other}") }),
            },
            (PublicKeyAlgorithm::RSAEncryptSign, _) => Ok(Self::Rsa),
            (other, _) => Err(CardError::UnsupportedAlgorithm { algorithm: other.to_string() }),
        }
    }

    /// How much of a digest the card gets: ECDSA takes no more bytes than its numbers have.
    fn digest_bytes(self, length: usize) -> usize {
        match self {
            Self::Ecdsa(field) => length.min(field),
            Self::EdDsa | Self::Ed25519 | Self::Rsa => length,
        }
    }

    /// The card's bytes as OpenPGP numbers.
    fn signature(self, bytes: &[u8]) -> Result<mpi::Signature, CardError> {
        let malformed = |expected: usize| CardError::Malformed {
            command: "PSO: COMPUTE DIGITAL SIGNATURE",
            why: format!("a signature of {} bytes instead of {expected}", bytes.len()),
        };
        let halves = |each: usize| {
            let (r, s) = bytes.split_at_checked(each).ok_or_else(|| malformed(2 * each))?;
            if s.len() == each { Ok((MPI::new(r), MPI::new(s))) } else { Err(malformed(2 * each)) }
        };
        match self {
            Self::EdDsa => halves(32).map(|(r, s)| mpi::Signature::EdDSA { r, s }),
            Self::Ecdsa(field) => halves(field).map(|(r, s)| mpi::Signature::ECDSA { r, s }),
            Self::Ed25519 => {
                let s = <[u8; 64]>::try_from(bytes).map_err(|_| malformed(64))?;
                Ok(mpi::Signature::Ed25519 { s: Box::new(s) })
            }
            Self::Rsa => Ok(mpi::Signature::RSA { s: MPI::new(bytes) }),
        }
    }
}
