//! The counters of tokens that came with answers: each attestation is judged alone, on any core, and what it counts in
//! the order of the log.

use std::collections::BTreeMap;

use sequoia_openpgp::Fingerprint;

use super::finding::{Finding, Wrong};
use crate::audit::Entry;
use crate::card::attestation::{AttestationError, ConfiguredRoot, read_certificates};
use crate::store::{Store, StoreError};
use crate::trust::Trust;
use crate::verify::{Answer, BelievedCounter, Counter, CounterError, Presented};

/// What may stand above an attestation, beside Yubico's roots.
#[derive(Clone, Copy, Debug, Default)]
pub struct Authorities<'a> {
    /// In DER, not believed: they can lead to a root and nowhere else.
    pub intermediates: &'a [Vec<u8>],
    /// What they vouch for is their own word.
    pub roots: &'a [ConfiguredRoot],
}

/// What came with one answer.
pub(super) enum Came {
    /// A counter that is the signing key's, and what the entry says of it.
    Counter { believed: BelievedCounter, signatures: Option<u32>, unseen: Option<u64> },
    /// One on the word of a root that nobody here knows; verifiers may know more.
    Strange,
    /// Nothing.
    Without,
}

/// Believes the counter of an answer as at the moment at which it was recorded.
pub(super) fn believe(
    entry: &Entry,
    answer: &Answer,
    trust: &Trust,
    authorities: &Authorities<'_>,
) -> Result<Came, Wrong> {
    let Entry::Answered { at, counter, signatures, unseen, .. } = entry else { return Ok(Came::Without) };
    let (signatures, unseen) = (*signatures, *unseen);
    let Some(pem) = counter else {
        return match (signatures, unseen) {
            (None, None) => Ok(Came::Without),
            _ => Err(recorded("it says what a counter counted, and none came with it".into())),
        };
    };
    let mut certificates = read_certificates(pem.as_bytes()).map_err(CounterError::NotBelieved)?;
    certificates.extend(authorities.intermediates.iter().cloned());
    let presented = Presented::new(certificates, authorities.roots);
    let (_, token) = trust.roster.holder(answer.key()).ok_or(CounterError::OtherKey)?;
    match BelievedCounter::new(&presented, token, *at) {
        Ok(believed) => Ok(Came::Counter { believed, signatures, unseen }),
        Err(CounterError::NotBelieved(AttestationError::UnknownIssuer)) => Ok(Came::Strange),
        Err(error) => Err(error.into()),
    }
}

impl From<CounterError> for Wrong {
    fn from(error: CounterError) -> Self {
        Self::Counter { code: error.code(), reason: error.to_string() }
    }
}

fn recorded(reason: String) -> Wrong {
    Wrong::Counter { code: "recorded", reason }
}

fn said((signatures, unseen): (Option<u32>, Option<u64>)) -> String {
    let signatures = signatures.map_or("no number".to_owned(), |number| number.to_string());
    match unseen {
        Some(unseen) => format!("{signatures}, {unseen} of them unseen,"),
        None => signatures,
    }
}

/// What is known of every key that has answered so far.
#[derive(Default)]
pub(super) struct Counters {
    keys: BTreeMap<Fingerprint, Known>,
    /// How many were compared.
    pub(super) compared: u64,
    /// How many were not, for want of a root of theirs or of one before.
    pub(super) strange: u64,
}

/// What is known of one key.
#[derive(Clone, Copy)]
enum Known {
    /// Nothing that could be compared: one of its counters is strange.
    Strange,
    /// As the store should have it.
    Told(Option<Counter>),
}

impl Counters {
    /// Takes the next answer: what its entry says of the counter must be what comes out of those before.
    pub(super) fn follow(&mut self, answer: &Answer, came: &Came) -> Result<(), Wrong> {
        let known = self.keys.entry(answer.key().clone()).or_insert(Known::Told(None));
        let Known::Told(before) = *known else {
            self.strange += u64::from(!matches!(came, Came::Without));
            return Ok(());
        };
        let (believed, logged) = match came {
            Came::Counter { believed, signatures, unseen } => (believed, (*signatures, *unseen)),
            Came::Strange => {
                *known = Known::Strange;
                self.strange += 1;
                return Ok(());
            }
            Came::Without => {
                *known = Known::Told(before.map(Counter::answered));
                return Ok(());
            }
        };
        let (counted, after) = believed.compare(before, answer.signed_at())?;
        *known = Known::Told(Some(after));
        self.compared += 1;
        let found = (Some(counted.signatures), counted.unseen());
        if found == logged {
            return Ok(());
        }
        Err(recorded(format!("{} comes out of those before, logged is {}", said(found), said(logged))))
    }

    /// Whether the store has the same of each key.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn compare(&self, store: &dyn Store, tell: &mut dyn FnMut(Finding)) -> Result<(), StoreError> {
        for (key, known) in &self.keys {
            let Known::Told(logged) = known else { continue };
            if store.counter(key)? != *logged {
                tell(Finding::log(Wrong::Store(format!("the counter of the key {key} is another one"))));
            }
        }
        Ok(())
    }
}
