//! The checkpoints that a log ever signed, oldest first, their signatures checked on all cores.

use std::collections::VecDeque;

use super::finding::{Finding, Wrong};
use super::share::share;
use super::{Against, BATCH, Review};
use crate::audit::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::audit::note::Note;
use crate::audit::witness::Witnesses;
use crate::store::{Store, StoreError};

/// A way through them.
pub(super) struct Signed<'a> {
    store: &'a dyn Store,
    against: &'a Against<'a>,
    read: VecDeque<Checkpoint>,
    /// The size from which on nothing was read yet.
    from: u64,
    /// There was nothing more.
    done: bool,
}

impl<'a> Signed<'a> {
    pub(super) fn new(store: &'a dyn Store, against: &'a Against<'a>) -> Self {
        Self { store, against, read: VecDeque::new(), from: 0, done: false }
    }

    /// Looks for those that were signed since all were read.
    pub(super) fn go_on(&mut self) {
        self.done = false;
    }

    /// The next one, if it is over no more than `most` entries.
    pub(super) fn next(&mut self, most: u64, review: &mut Review) -> Result<Option<Checkpoint>, StoreError> {
        if self.read.is_empty() {
            self.fill(review)?;
        }
        Ok(match self.read.front() {
            Some(next) if next.size <= most => self.read.pop_front(),
            _ => None,
        })
    }

    fn fill(&mut self, review: &mut Review) -> Result<(), StoreError> {
        if self.done {
            return Ok(());
        }
        let from = self.from;
        let notes = self.store.checkpoints(from, BATCH)?;
        let mut next = from;
        for opened in self.open(&notes) {
            match opened {
                Ok(checkpoint) if checkpoint.size >= next => {
                    next = checkpoint.size + 1;
                    self.read.push_back(checkpoint);
                }
                Ok(Checkpoint { size, .. }) => review.add(Finding::log(Wrong::Checkpoint {
                    reason: format!("a checkpoint over {size} entries stands where another belongs"),
                })),
                Err((size, reason)) => {
                    next = size.filter(|size| *size >= next).map_or(next, |size| size + 1);
                    review.add(Finding::log(Wrong::Checkpoint { reason }));
                }
            }
        }
        (self.from, self.done) = (next, notes.len() < BATCH || next == from);
        Ok(())
    }

    /// Opens each; of one that is not believed, the size that it names is given.
    fn open(&self, notes: &[String]) -> Vec<Result<Checkpoint, (Option<u64>, String)>> {
        let key = self.against.key;
        let size = |note: &str| Some(Checkpoint::parse(Note::parse(note.as_bytes()).ok()?.text()).ok()?.size);
        let open = |note: &String| {
            SignedCheckpoint::open(note.as_bytes(), key, &Witnesses::default())
                .map(|signed| signed.checkpoint().clone())
                .map_err(|error| (size(note), error.to_string()))
        };
        share(self.against.threads, notes, open, || ()).0
    }
}
