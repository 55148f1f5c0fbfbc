//! The counters of tokens that came with answers: each attestation is judged alone, on any core, and what it counts in
//! the order of the log.

use std::collections::BTreeMap;

use sequoia_openpgp::Fingerprint;

use super::finding::{Finding, Wrong};
use crate::audit::Entry;
use crate::card::attestation::ConfiguredRoot;
use crate::store::{Store, StoreError};
use crate::trust::Trust;
use crate::verify::{self, Answer, Counter, CounterError, Presented, Reading};

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
    /// A counter, and what the entry says of it.
    Counter {
        reading: Reading,
        /// Whether it is the signing key's. Else it is on the word of a root that nobody here knows (verifiers may know
        /// more), and counts what the entry says.
        believed: bool,
        signatures: Option<u32>,
        unseen: Option<u64>,
    },
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
    let presented = Presented::read(pem.as_bytes(), authorities.intermediates, authorities.roots)?;
    let (_, token) = trust.roster.holder(answer.key()).ok_or(CounterError::OtherKey)?;
    let believed = verify::believe_again(presented, token, *at)?;
    let reading = match believed.or(signatures.map(|signatures| Reading::new(signatures, token))) {
        Some(reading) => reading,
        None => return Err(recorded("a counter came with it, and it does not say what that counted".into())),
    };
    Ok(Came::Counter { reading, believed: believed.is_some(), signatures, unseen })
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

/// All of it: what reads alike at each look is no verifier's that goes on meanwhile.
fn state(counter: Option<Counter>) -> String {
    counter.map_or("none".into(), |Counter { highest, unseen, reported, at }| {
        format!("{highest} ({unseen} unseen, {reported} reported, signed at {at})")
    })
}

/// What is known of every key that has answered so far.
#[derive(Default)]
pub(super) struct Counters {
    /// As the store should have it.
    keys: BTreeMap<Fingerprint, Option<Counter>>,
    /// How many were compared and are believed.
    pub(super) compared: u64,
    /// How many are not, for want of a root.
    pub(super) strange: u64,
}

impl Counters {
    /// Takes the next answer: what its entry says of the counter must be what comes out of those before.
    pub(super) fn follow(&mut self, answer: &Answer, came: &Came) -> Result<(), Wrong> {
        let known = self.keys.entry(answer.key().clone()).or_default();
        let Came::Counter { reading, believed, signatures, unseen } = came else {
            *known = known.map(Counter::answered);
            return Ok(());
        };
        self.strange += u64::from(!believed);
        let (advance, after) = reading.compare(*known, answer.signed_at())?;
        *known = Some(after);
        self.compared += u64::from(*believed);
        let (found, logged) = ((Some(reading.signatures()), advance.unseen()), (*signatures, *unseen));
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
        for (key, logged) in &self.keys {
            let kept = store.counter(key)?;
            if kept != *logged {
                let (logged, kept) = (state(*logged), state(kept));
                let what =
                    format!("the counter of the key {key} is {logged} in the log, {kept} in the store");
                tell(Finding::log(Wrong::Store(what)));
            }
        }
        Ok(())
    }
}
