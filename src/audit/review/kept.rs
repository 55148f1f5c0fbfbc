//! Whether the store's own tables say what the log says: nothing granted, decided or used without its entry, and no
//! entry without what it is about.

use std::num::NonZeroUsize;

use super::finding::{Finding, Wrong};
use super::order::{Order, Said, text_of};
use super::share::share;
use crate::audit::entry::Outcome;
use crate::challenge::{RequestId, TrustVersion};
use crate::digest::Sha256Digest;
use crate::store::{Position, Store, StoreError};
use crate::unix_time::UnixTime;

/// Compares what was not put away, and looks for what the store has alone.
///
/// # Errors
/// If the store fails.
pub(super) fn compare(
    order: &Order,
    store: &dyn Store,
    threads: NonZeroUsize,
    tell: &mut dyn FnMut(Finding),
) -> Result<(), StoreError> {
    order.compare_counters(store, tell)?;
    let mut differ = |what: String| tell(Finding::log(Wrong::Store(what)));
    for found in share(threads, order.all_said(), |(id, said)| differences(&id, &said, store), || ()).0 {
        found?.into_iter().for_each(&mut differ);
    }
    for id in store.open_requests()? {
        if !matches!(order.said(&id), Some(Said { outcome: None, .. })) {
            differ(format!("the request {id} is open in the store alone"));
        }
    }
    // Those that were ever given and could still be used: none of them was put away.
    for grant in store.live_grants(UnixTime::from(std::time::UNIX_EPOCH))? {
        if !matches!(order.said(&grant.request), Some(Said { grant: Some(_), .. })) {
            differ(format!("the grant {} is in the store alone", grant.request));
        }
    }
    let (logged, known) = (order.trust(), store.trust()?);
    if known != logged {
        let version = |version: Option<TrustVersion>| version.map_or("none".into(), |v| v.to_string());
        differ(format!("trust is {} in the log, {} in the store", version(logged), version(known)));
    }
    Ok(())
}

/// Whether a request can be put away: the store says the same of it, and where the entries about it stand. It is brought
/// back from those, so that one which were left out there would be forgotten. With more of them than were followed so
/// far it stays until the end, when it shows whether the log has them.
pub(super) fn is_kept(id: &RequestId, said: &Said, store: &dyn Store) -> bool {
    differences(id, said, store).is_ok_and(|differ| differ.is_empty())
}

/// What a store says otherwise of a request and its grant.
fn differences(id: &RequestId, said: &Said, store: &dyn Store) -> Result<Vec<String>, StoreError> {
    let Some(record) = store.request(id)? else { return Ok(vec![format!("the request {id} is not kept")]) };
    let mut differ = Vec::new();
    if text_of(&record.challenge) != said.text {
        differ.push(format!("the request {id} is kept with another text"));
    }
    if record.outcome != said.outcome {
        let words = |outcome: Option<Outcome>| outcome.map_or("is open", Outcome::words);
        let (logged, kept) = (words(said.outcome), words(record.outcome));
        differ.push(format!("the request {id} {logged} in the log, {kept} in the store"));
    }
    let about: Vec<u64> = store.about(id)?.into_iter().map(|Position(at)| at).collect();
    if about != said.stands {
        let (logged, kept) = (said.stands.len(), about.len());
        let alike = said.stands.iter().zip(&about).take_while(|(logged, kept)| logged == kept).count();
        differ.push(format!(
            "the request {id} has {logged} entries in the log, {kept} in the store, the first {alike} alike"
        ));
    }
    let Some(granted) = said.grant else { return Ok(differ) };
    let Some(kept) = store.grant(id)? else {
        differ.push(format!("the grant {id} is not kept"));
        return Ok(differ);
    };
    if Sha256Digest::of(kept.claims.as_bytes()) != granted.claims || kept.expires != granted.expires {
        differ.push(format!("the grant {id} is kept with other claims"));
    }
    if (kept.used, kept.revoked.is_some(), kept.uses) != (granted.used, granted.revoked, granted.uses) {
        let state = |used, revoked| format!("{used} times used{}", if revoked { " and revoked" } else { "" });
        let (logged, kept) = (state(granted.used, granted.revoked), state(kept.used, kept.revoked.is_some()));
        differ.push(format!("the grant {id} is {logged} in the log, {kept} in the store"));
    }
    Ok(differ)
}
