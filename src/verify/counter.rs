//! The signature counter of a token, attested after it signed: a tripwire for signatures that nobody here saw.
//!
//! ```text
//! highest known     answers recorded since     counter now
//!      41                    1 + this one          43         nothing in between
//!      41                    1 + this one          46         three signatures that nobody here saw
//!      41                                          40         went back: rejected
//! ```
//!
//! It is no evidence of a touch and changes no tier. An attestation carries no challenge, so whoever has the token at
//! hand can collect attestations in advance; what a counter cannot do is hide for long that a signature was made.

use sequoia_openpgp::Fingerprint;

use crate::card::KeySlot;
use crate::card::attestation::{
    Anchor, Attestation, AttestationError, ConfiguredRoot, Root, read_certificates, verify_under,
};
use crate::trust::Trust;
use crate::trust::roster::Token;
use crate::unix_time::UnixTime;
use crate::verify::{Answer, Rejection};

/// What a verifier remembers of one key's signatures, from the first counter on that came with an answer.
///
/// A new key has a new fingerprint, so its counter is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The highest that was attested.
    pub highest: u32,
    /// Signatures that it counts since the first one, less the answers recorded since: above zero, signatures that
    /// nobody here saw; below zero, answers that it does not cover yet.
    pub unseen: i64,
    /// How many of the unseen ones were reported.
    pub reported: u64,
    /// When the answer was signed that the highest came with, in the signer's own words.
    pub at: UnixTime,
}

impl Counter {
    /// After an answer that came without a counter.
    pub fn answered(self) -> Self {
        Self { unseen: self.unseen.saturating_sub(1), ..self }
    }
}

/// An attestation that came with an answer, and the roots that it may lead to. Nothing of it is believed yet.
#[derive(Clone, Debug)]
pub struct Presented {
    certificates: Vec<Vec<u8>>,
    roots: Vec<Anchor>,
}

impl Presented {
    /// In DER: the attestation first, what leads to a root after it, in any order. Yubico's roots always count,
    /// `configured` ones are somebody's own word, and what comes of them says so.
    pub fn new(certificates: Vec<Vec<u8>>, configured: &[ConfiguredRoot]) -> Self {
        Self::under(certificates, Anchor::with(configured))
    }

    /// Of a file, with intermediates that may be wanting in it.
    ///
    /// # Errors
    /// [`CounterError::NotBelieved`] if there are no certificates in it.
    pub fn read(
        bytes: &[u8],
        intermediates: &[Vec<u8>],
        configured: &[ConfiguredRoot],
    ) -> Result<Self, CounterError> {
        let mut certificates = read_certificates(bytes).map_err(CounterError::NotBelieved)?;
        certificates.extend(intermediates.iter().cloned());
        Ok(Self::new(certificates, configured))
    }

    pub(crate) fn under(certificates: Vec<Vec<u8>>, roots: Vec<Anchor>) -> Self {
        Self { certificates, roots }
    }
}

/// A counter that is believed and went forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Signatures made with the key when it was attested.
    pub signatures: u32,
    /// What that says about the signatures before.
    pub advance: Advance,
    /// On whose word.
    pub root: Root,
}

impl Counted {
    /// How many signatures nobody here saw, where that is known.
    pub fn unseen(&self) -> Option<u64> {
        self.advance.unseen()
    }
}

/// What a counter says about the signatures between two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// Fewer than were seen here: the answers came in another order than they were signed in, or the attestation is
    /// older than the signature. The next one tells.
    Behind {
        /// How many of the signatures seen here it does not cover.
        by: u64,
    },
    /// The first one of this key: nothing to compare it with.
    First {
        /// How many more than in the attestation that trust holds, if it holds a believed one of this key.
        /// Signatures over certificates and the enrolment are among them.
        since_enrolment: Option<u32>,
    },
    /// There are signatures by this key that nobody here saw.
    Gap {
        /// How many, beside those that were reported before.
        unseen: u64,
        /// The answer since which, by its time of signing.
        since: UnixTime,
    },
    /// Every signature since the last counter was seen here.
    Seen,
}

impl Advance {
    pub(crate) fn unseen(self) -> Option<u64> {
        match self {
            Self::Gap { unseen, .. } => Some(unseen),
            Self::Seen => Some(0),
            Self::Behind { .. } | Self::First { .. } => None,
        }
    }
}

/// Why a counter is not taken, and the answer that it came with neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CounterError {
    /// No higher than one that is known, so it was attested before this signature was made.
    #[error("the counter is {found}, as it was before this signature")]
    BeforeSignature {
        /// What it says.
        found: u32,
    },
    /// The chain does not hold.
    #[error("the attestation of the counter is not believed: {0}")]
    NotBelieved(AttestationError),
    /// Of another key than the one that signed.
    #[error("the counter is another key's than the one that signed")]
    OtherKey,
    /// Of another token than the one enrolled.
    #[error("the counter is of token {attested}, not of the enrolled {enrolled}")]
    OtherSerial {
        /// What the attestation says.
        attested: u32,
        /// What the roster says.
        enrolled: String,
    },
    /// Of a slot that does not count its signatures.
    #[error("the attestation is about the {} key, which has no counter", slot.word())]
    OtherSlot {
        /// Which.
        slot: KeySlot,
    },
    /// Trust holds an attestation under Yubico's root, and this one has only a configured root.
    #[error("the counter is on the word of the root {name:?}, the enrolled attestation on Yubico's")]
    WeakerRoot {
        /// What the root was called where it was configured.
        name: String,
    },
    /// Lower than one that is known.
    #[error("the counter is {found} and was {highest} before")]
    WentBack {
        /// What it says.
        found: u32,
        /// The highest that is known.
        highest: u32,
    },
}

impl CounterError {
    /// The stable name of this reason, explained in `docs/rejections.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BeforeSignature { .. } => "counter-before-signature",
            Self::NotBelieved(_) => "counter-not-believed",
            Self::OtherKey => "counter-other-key",
            Self::OtherSerial { .. } => "counter-other-serial",
            Self::OtherSlot { .. } => "counter-other-slot",
            Self::WeakerRoot { .. } => "counter-weaker-root",
            Self::WentBack { .. } => "counter-went-back",
        }
    }
}

/// What a counter says, on whoever's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    signatures: u32,
    /// What the attestation in trust says, if it is believed and this key's.
    enrolled: Option<u32>,
}

/// A counter that is this very key's, before it is compared with others.
#[derive(Clone, Debug)]
pub(crate) struct BelievedCounter {
    reading: Reading,
    root: Root,
}

/// What trust holds, if it is believed, about the key that the roster names, on the token that it names.
fn recorded(token: &Token) -> Option<&Attestation> {
    let recorded = token.attestation.as_ref()?.as_ref().ok()?;
    let said = recorded.statement();
    (token.key.is_attested_by(&said.key) && said.serial.to_string() == token.serial).then_some(recorded)
}

/// The same if it leads to Yubico's root: then every counter of the key does.
fn recorded_under_yubico(token: &Token) -> Option<&Attestation> {
    recorded(token).filter(|recorded| matches!(recorded.root(), Root::Yubico(_)))
}

impl BelievedCounter {
    /// Believes a counter, or says why not: chain, slot, key, serial, root, in this order.
    pub(crate) fn new(presented: &Presented, token: &Token, now: UnixTime) -> Result<Self, CounterError> {
        let none = CounterError::NotBelieved(AttestationError::NoCertificate);
        let (attestation, others) = presented.certificates.split_first().ok_or(none)?;
        let attestation = verify_under(attestation, others, &presented.roots, now);
        let attestation = attestation.map_err(CounterError::NotBelieved)?;
        let said = attestation.statement();
        // Only attestations of signature keys have a counter, and they always do.
        let Some(signatures) = said.signatures else {
            return Err(CounterError::OtherSlot { slot: said.slot });
        };
        if !token.key.is_attested_by(&said.key) {
            return Err(CounterError::OtherKey);
        }
        if said.serial.to_string() != token.serial {
            let enrolled = token.serial.clone();
            return Err(CounterError::OtherSerial { attested: said.serial, enrolled });
        }
        if let (Some(_), Root::Configured { name }) = (recorded_under_yubico(token), attestation.root()) {
            return Err(CounterError::WeakerRoot { name: name.clone() });
        }
        Ok(Self { reading: Reading::new(signatures, token), root: attestation.root().clone() })
    }

    /// Compares it with what is known `before` this answer, which was signed at `at`; gives what is known after it.
    pub(crate) fn compare(
        &self,
        before: Option<Counter>,
        at: UnixTime,
    ) -> Result<(Counted, Counter), CounterError> {
        let (advance, after) = self.reading.compare(before, at)?;
        let counted = Counted { signatures: self.reading.signatures, advance, root: self.root.clone() };
        Ok((counted, after))
    }
}

impl Reading {
    /// So many, by the key on `token`.
    pub(crate) fn new(signatures: u32, token: &Token) -> Self {
        Self { signatures, enrolled: recorded(token).and_then(|recorded| recorded.statement().signatures) }
    }

    pub(crate) fn signatures(self) -> u32 {
        self.signatures
    }

    /// As [`BelievedCounter::compare`].
    pub(crate) fn compare(
        self,
        before: Option<Counter>,
        at: UnixTime,
    ) -> Result<(Advance, Counter), CounterError> {
        let found = self.signatures;
        // The statement names the trust that holds the enrolled attestation, so it was signed after that; and
        // whoever signed has made one signature at least.
        let highest = before.map(|before| before.highest).max(self.enrolled).unwrap_or(0);
        if found < highest {
            return Err(CounterError::WentBack { found, highest });
        }
        if found == highest {
            return Err(CounterError::BeforeSignature { found });
        }
        let (advance, unseen) = match before {
            None => (Advance::First { since_enrolment: self.enrolled.map(|enrolled| found - enrolled) }, 0),
            Some(before) => {
                // Less one, which is this answer's.
                let made = i64::from(found) - i64::from(before.highest) - 1;
                let unseen = before.unseen.saturating_add(made);
                (advance(before, unseen), unseen)
            }
        };
        // Where answers that came in late explain what was reported, the next one is news again: rather reported
        // twice than not at all.
        let reported = u64::try_from(unseen).unwrap_or(0);
        Ok((advance, Counter { highest: found, unseen, reported, at }))
    }
}

/// Believes a counter that a verifier took with an answer of `token`. Nothing, if it leads to a root that is unknown
/// here: that verifier may have known more. But where trust holds an attestation under Yubico's root it took none
/// under another, and what leads there from the token is known.
pub(crate) fn believe_again(
    mut presented: Presented,
    token: &Token,
    at: UnixTime,
) -> Result<Option<Reading>, CounterError> {
    let enrolled = recorded_under_yubico(token);
    for above in enrolled.into_iter().flat_map(|enrolled| enrolled.chain().iter().skip(1)) {
        if !presented.certificates.contains(above) {
            presented.certificates.push(above.clone());
        }
    }
    match BelievedCounter::new(&presented, token, at) {
        Ok(believed) => Ok(Some(believed.reading)),
        Err(CounterError::NotBelieved(AttestationError::UnknownIssuer)) if enrolled.is_none() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is new about the number of unseen signatures.
fn advance(before: Counter, unseen: i64) -> Advance {
    match u64::try_from(unseen) {
        Err(_) => Advance::Behind { by: unseen.unsigned_abs() },
        Ok(unseen) if unseen > before.reported => {
            Advance::Gap { unseen: unseen - before.reported, since: before.at }
        }
        Ok(_) => Advance::Seen,
    }
}

/// Judges the counter that came with an answer, which was judged before, against what is known of its key. For
/// whoever judges answers alone; a verifier that asked calls [`crate::verify::response_with_counter`].
///
/// # Errors
/// [`Rejection::Counter`]; [`Rejection::UnknownSigner`] if `trust` is not what the answer was judged by.
pub fn count(
    answer: &Answer,
    presented: &Presented,
    trust: &Trust,
    before: Option<Counter>,
    now: UnixTime,
) -> Result<(Counted, Counter), Rejection> {
    let believed = BelievedCounter::new(presented, holder(trust, answer.key())?, now)?;
    Ok(believed.compare(before, answer.signed_at())?)
}

/// The token that a key is on.
pub(crate) fn holder<'a>(trust: &'a Trust, key: &Fingerprint) -> Result<&'a Token, Rejection> {
    let (_, token) =
        trust.roster.holder(key).ok_or_else(|| Rejection::UnknownSigner { key: key.to_hex() })?;
    Ok(token)
}

// Here and not in `tests/`: only this crate can take the test authority for Yubico.
#[cfg(all(test, feature = "virtual-card"))]
mod tests;
