//! The whole log judged again: every line, hash, checkpoint, signature and decision, in the order in which they stand.
//!
//! What can be judged alone (a line's hash, a signature, a quorum) is judged on all cores; what depends on the order
//! follows on one, beside them. Nothing is believed because the store says so: trust is what hashes to the version that
//! the log names, and that is one to which signed updates lead from the caller's pin.

mod counters;
mod finding;
mod kept;
mod order;
mod share;
mod signed;
mod trusts;
mod work;

use std::num::NonZeroUsize;

use super::checkpoint::{Checkpoint, SignedCheckpoint};
use super::note::LogKey;
use super::tree::{Edge, root};
use crate::challenge::{RequestId, TrustVersion};
use crate::digest::Sha256Digest;
use crate::store::{LogHashes, Position, Store, StoreError};

pub use counters::Authorities;
pub use finding::{Finding, Wrong};
use order::{Order, Said};
use share::share;
use signed::Signed;
use trusts::Trusts;
use work::{Decision, Judged};

/// Entries that are judged at a time: enough that starting threads costs nothing beside them. Three times as many are in
/// memory.
const BATCH: usize = 2048;
/// How often store and log are compared, each time after what a verifier wrote meanwhile was followed.
const MAX_LOOKS: usize = 8;
/// The most findings that are kept: whoever reads more than these needs another log.
const MAX_FINDINGS: usize = 100;

/// What the log is judged against.
#[derive(Clone, Copy, Debug)]
pub struct Against<'a> {
    /// The log's key, from trust.
    pub key: &'a LogKey,
    /// Checkpoints that were kept elsewhere; their signatures were checked.
    pub kept: &'a [SignedCheckpoint],
    /// How many cores to use.
    pub threads: NonZeroUsize,
    /// The versions of trust from a pin on, each led to by an update that its people signed
    /// ([`crate::trust::chain::follow`]). Older ones cannot be told from it.
    pub way: &'a [TrustVersion],
    /// What attestations of counters may lead to.
    pub authorities: Authorities<'a>,
}

impl<'a> Against<'a> {
    /// Against its key alone, on so many cores.
    pub fn key(key: &'a LogKey, threads: NonZeroUsize) -> Self {
        Self { key, kept: &[], threads, way: &[], authorities: Authorities::default() }
    }
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Review {
    /// Entries.
    pub entries: u64,
    /// The root over them.
    pub root: Option<Sha256Digest>,
    /// Signed checkpoints, each the beginning of the next.
    pub checkpoints: u64,
    /// Checkpoints kept elsewhere that are a beginning of the log.
    pub kept: u64,
    /// Signatures of people that verified again.
    pub signatures: u64,
    /// Decisions that were decided again, and alike.
    pub decisions: u64,
    /// Counters of tokens that came with answers and hold.
    pub counters: u64,
    /// Those that lead to no root that is known here, and count as their entries say.
    pub strange: u64,
    /// Uses of grants.
    pub uses: u64,
    /// Versions of trust that came into force, and whose files are kept.
    pub trusts: u64,
    /// Those of them to which signed updates lead from the pin; the others are older than it.
    pub followed: u64,
    /// What is wrong; at most the first hundred.
    pub findings: Vec<Finding>,
    /// How many findings there were in all.
    pub found: u64,
}

impl Review {
    fn add(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }
}

/// Judges the log of a store, with what a verifier writes into it meanwhile. `progress` is told how many entries are
/// done, and of how many.
///
/// # Errors
/// If the store fails. What is wrong with the log is no error but a [`Finding`].
pub fn review(
    store: &dyn Store,
    against: &Against<'_>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Review, StoreError> {
    let mut review = Review::default();
    let newest = store.checkpoint()?;
    let size = newest.checkpoint().size;
    check_kept(store, against, newest.checkpoint(), &mut review);
    let trusts = Trusts::new(store);
    let mut run = Run {
        store,
        against,
        size,
        edge: Edge::default(),
        order: Order::default(),
        decisions: Vec::new(),
        signed: Signed::new(store, against),
        broken: false,
    };
    let differ = run.catch_up(&trusts, &mut review, &mut progress)?;
    if run.edge.size() == run.size {
        check_tables(store, &run.edge, &mut review);
    } else {
        review.add(Finding::log(Wrong::Lines { found: run.edge.size(), size: run.size }));
    }
    run.order.finish(&mut |finding| review.add(finding));
    differ.into_iter().for_each(|finding| review.add(finding));
    review.entries = run.edge.size();
    review.root = Some(run.edge.root());
    review.uses = run.order.uses();
    (review.counters, review.strange) = run.order.counters();
    for (index, version) in run.order.versions() {
        match trusts.get(version) {
            Ok(_) => review.trusts += 1,
            Err(reason) => review.add(Finding::at(*index, Wrong::Trust(reason))),
        }
        match trusts::is_followed(version, against.way) {
            Ok(followed) => review.followed += u64::from(followed),
            Err(wrong) => review.add(Finding::at(*index, wrong)),
        }
    }
    Ok(review)
}

/// What proofs are made of leads to the same root.
fn check_tables(store: &dyn Store, edge: &Edge, review: &mut Review) {
    match Edge::load(&LogHashes(store), edge.size()) {
        Ok(tables) if tables == *edge => {}
        Ok(_) => review.add(Finding::log(Wrong::Tables)),
        Err(error) => review.add(Finding::log(Wrong::Unreadable { reason: error.to_string() })),
    }
}

/// Checkpoints that others kept: the log must still have what they saw.
fn check_kept(store: &dyn Store, against: &Against<'_>, newest: &Checkpoint, review: &mut Review) {
    for kept in against.kept {
        match check_beginning(store, kept, newest) {
            Ok(()) => review.kept += 1,
            Err(wrong) => review.add(Finding::log(wrong)),
        }
    }
}

/// Whether `kept`, which somebody kept elsewhere, is the beginning of a store's log: in one look at its hashes, for a
/// verifier that starts.
///
/// # Errors
/// [`Wrong::Behind`], [`Wrong::Fork`], or [`Wrong::Unreadable`].
pub fn check_beginning(store: &dyn Store, kept: &SignedCheckpoint, newest: &Checkpoint) -> Result<(), Wrong> {
    let kept = kept.checkpoint();
    if kept.size > newest.size {
        return Err(Wrong::Behind { kept: kept.size, size: newest.size });
    }
    let found = root(&LogHashes(store), kept.size)
        .map_err(|error| Wrong::Unreadable { reason: error.to_string() })?;
    if found == kept.root { Ok(()) } else { Err(Wrong::Fork { size: kept.size, kept: kept.root, found }) }
}

/// One pass through the log.
struct Run<'a> {
    store: &'a dyn Store,
    against: &'a Against<'a>,
    size: u64,
    edge: Edge,
    order: Order,
    /// Those of the batch before, judged beside the next one.
    decisions: Vec<Decision>,
    signed: Signed<'a>,
    /// A root was another than the signed one.
    broken: bool,
}

/// What can be judged alone.
enum Job {
    Decision(Box<Decision>),
    Ended(RequestId, Said),
    Line(String),
}

/// What came of it.
enum Done {
    Decision(Result<(), Finding>),
    /// Whether it can be put away.
    Ended(RequestId, Said, bool),
    Line(Box<Judged>),
}

impl Run<'_> {
    /// Follows the log to its end, and gives what the store's own tables say otherwise. A verifier that goes on meanwhile
    /// has them ahead of what was followed: then the rest is followed, and they are compared anew.
    fn catch_up(
        &mut self,
        trusts: &Trusts<'_>,
        review: &mut Review,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Vec<Finding>, StoreError> {
        let mut newest = self.size;
        let mut each_time: Option<Vec<Finding>> = None;
        for _ in 0..MAX_LOOKS {
            if newest > self.size {
                self.size = newest;
                self.signed.go_on();
            }
            self.follow_all(trusts, review, progress)?;
            let mut differ = Vec::new();
            kept::compare(&self.order, self.store, self.against.threads, &mut |finding| {
                if differ.len() < MAX_FINDINGS {
                    differ.push(finding);
                }
            })?;
            newest = self.store.checkpoint()?.checkpoint().size;
            if differ.is_empty() || newest == self.size || self.edge.size() != self.size {
                return Ok(differ);
            }
            differ.retain(|finding| each_time.as_ref().is_none_or(|before| before.contains(finding)));
            each_time = Some(differ);
        }
        // What a verifier is at differs for one look or two, and something else after that.
        let each_time = each_time.unwrap_or_default();
        Ok(if each_time.is_empty() { vec![Finding::log(Wrong::Busy)] } else { each_time })
    }

    fn follow_all(
        &mut self,
        trusts: &Trusts<'_>,
        review: &mut Review,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), StoreError> {
        let mut lines = self.read_from(self.edge.size())?;
        let mut judged = Vec::new();
        while !(lines.is_empty() && judged.is_empty() && self.decisions.is_empty()) {
            (judged, lines) = self.step(trusts, lines, judged, review)?;
            progress(self.edge.size(), self.size);
        }
        Ok(())
    }

    fn read_from(&self, from: u64) -> Result<Vec<String>, StoreError> {
        let left = usize::try_from(self.size.saturating_sub(from)).unwrap_or(usize::MAX);
        if left == 0 { Ok(Vec::new()) } else { self.store.lines(from, left.min(BATCH)) }
    }

    /// Judges lines, and the decisions that those before came to. Beside it, what was judged before is followed, and the
    /// next lines are read.
    fn step(
        &mut self,
        trusts: &Trusts<'_>,
        lines: Vec<String>,
        judged: Vec<Done>,
        review: &mut Review,
    ) -> Result<(Vec<Done>, Vec<String>), StoreError> {
        let count = lines.len() as u64;
        let decisions = std::mem::take(&mut self.decisions).into_iter();
        let decisions = decisions.map(|decision| Job::Decision(Box::new(decision)));
        let ended = self.order.take_done().into_iter().map(|(id, said)| Job::Ended(id, said));
        let jobs = decisions.chain(ended).chain(lines.into_iter().map(Job::Line));
        let (store, authorities) = (self.store, &self.against.authorities);
        let work = |job| match job {
            Job::Decision(decision) => Done::Decision(work::decide(*decision, trusts)),
            Job::Ended(id, said) => {
                let kept = kept::is_kept(&id, &said, store);
                Done::Ended(id, said, kept)
            }
            Job::Line(line) => Done::Line(Box::new(work::judge(&line, trusts, authorities))),
        };
        let (judged, more) = share(self.against.threads, jobs, work, || {
            self.follow(trusts, judged, review)?;
            self.read_from(self.edge.size() + count)
        });
        Ok((judged, more?))
    }

    /// What depends on the order: the tree, the checkpoints, what may follow what.
    fn follow(
        &mut self,
        trusts: &Trusts<'_>,
        judged: Vec<Done>,
        review: &mut Review,
    ) -> Result<(), StoreError> {
        let (start, mut leaves) = (self.edge.size(), Vec::new());
        let mut agree = self.compare_checkpoint(review)?;
        for done in judged {
            let entry = match done {
                Done::Decision(Ok(())) => {
                    review.decisions += 1;
                    continue;
                }
                Done::Decision(Err(finding)) => {
                    review.add(finding);
                    continue;
                }
                Done::Ended(id, said, kept) => {
                    if kept {
                        self.order.put_away(id, &said);
                    }
                    continue;
                }
                Done::Line(entry) => *entry,
            };
            let index = self.edge.size();
            leaves.push(entry.leaf);
            self.edge.append(entry.leaf, |_| {});
            if let Some(id) = self.order.missed(&entry) {
                self.bring_back(index, id, trusts)?;
            }
            review.signatures += u64::from(entry.is_signed());
            let decision = self.order.follow(index, entry, &mut |finding| review.add(finding));
            self.decisions.extend(decision);
            agree &= self.compare_checkpoint(review)?;
        }
        if !agree {
            // Which of them was changed: the tables still have the hashes of what was logged.
            for (index, leaf) in (start..).zip(leaves) {
                if self.store.hash(0, index).ok() != Some(leaf) {
                    review.add(Finding::at(index, Wrong::Leaf));
                }
            }
        }
        Ok(())
    }

    /// Follows the entries before `index` about a request again. What is wrong with them was told.
    fn bring_back(&mut self, index: u64, id: RequestId, trusts: &Trusts<'_>) -> Result<(), StoreError> {
        let mut past = Order::default();
        for Position(at) in self.store.about(&id)?.into_iter().filter(|Position(at)| *at < index) {
            for line in self.store.lines(at, 1)? {
                past.follow(at, work::judge(&line, trusts, &self.against.authorities), &mut |_| {});
            }
        }
        self.order.bring_back(id, past);
        Ok(())
    }

    /// Whether the checkpoint agrees that was signed over what is there by now, if one was. What follows the first that
    /// does not is not compared any more.
    fn compare_checkpoint(&mut self, review: &mut Review) -> Result<bool, StoreError> {
        if self.broken {
            return Ok(true);
        }
        while let Some(Checkpoint { size, root, .. }) = self.signed.next(self.edge.size(), review)? {
            if size != self.edge.size() {
                continue;
            }
            let found = self.edge.root();
            if found != root {
                review.add(Finding::log(Wrong::Root { size, signed: root, found }));
                self.broken = true;
                return Ok(false);
            }
            review.checkpoints += 1;
        }
        Ok(true)
    }
}
