//! Many changes in one flush: whoever comes while nobody writes, writes for all who wait.

use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::audit::tree::Edge;
use crate::audit::{LogSigner, SignedCheckpoint};
use crate::store::sqlite::bad;
use crate::store::sqlite::log;
use crate::store::sqlite::ops::{self, Line, Ready};
use crate::store::{CommitError, Op, Position, StoreError};

/// The most changes in one transaction: what one flush costs is spread thin enough by then, and none waits long.
const MOST: usize = 256;

type Written = Result<Vec<Position>, CommitError>;

/// The writing side of a store.
pub(super) struct Committer {
    queue: Mutex<Queue>,
    writer: Mutex<Writer>,
}

#[derive(Default)]
struct Queue {
    busy: bool,
    waiting: VecDeque<Waiting>,
}

/// A change that somebody else writes, unless it is its turn to write for all.
struct Waiting {
    ops: Vec<Op>,
    lines: Vec<Line>,
    turn: SyncSender<Turn>,
}

impl Waiting {
    fn ready(&self) -> Ready<'_> {
        Ready { ops: &self.ops, lines: &self.lines }
    }
}

enum Turn {
    /// Nobody writes: whoever is told this does, and gets its lines back.
    Lead(Vec<Line>),
    /// It was written, or not.
    Written(Written),
}

struct Writer {
    db: Connection,
    /// Nobody, where the store was opened to be looked at.
    signer: Option<LogSigner>,
    /// The tree as of the last commit of this process. Others may have gone on since.
    edge: Option<Edge>,
}

/// Whoever writes now. Passes that on when it is done, however it ends.
struct Leading<'a>(&'a Committer);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let mut queue = held(&self.0.queue);
        while let Some(Waiting { lines, turn, .. }) = queue.waiting.pop_front() {
            if turn.send(Turn::Lead(lines)).is_ok() {
                return;
            }
        }
        queue.busy = false;
    }
}

/// A lock that somebody panicked with is taken all the same: the queue is whole at every moment, the transaction was
/// rolled back, and the tree is known again only after a commit.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Committer {
    /// Writes through `db`, and signs the log as `signer`; without one, no change is written.
    pub(super) fn new(db: Connection, signer: Option<LogSigner>) -> Self {
        Self { queue: Mutex::default(), writer: Mutex::new(Writer { db, signer, edge: None }) }
    }

    /// Writes a change, alone or with others.
    ///
    /// # Errors
    /// Any [`CommitError`].
    pub(super) fn commit(&self, change: &[Op]) -> Written {
        // Whatever does not need the tables is done here, where all can do it at once.
        let lines = ops::lines(change)?;
        let waiting = {
            let mut queue = held(&self.queue);
            if queue.busy {
                let (turn, waiting) = sync_channel(1);
                queue.waiting.push_back(Waiting { ops: change.to_vec(), lines, turn });
                waiting
            } else {
                queue.busy = true;
                drop(queue);
                return self.lead(Ready { ops: change, lines: &lines });
            }
        };
        match waiting.recv() {
            Ok(Turn::Lead(lines)) => self.lead(Ready { ops: change, lines: &lines }),
            Ok(Turn::Written(written)) => written,
            Err(_) => Err(bad("the change", "was given up by who was to write it").into()),
        }
    }

    fn lead(&self, change: Ready<'_>) -> Written {
        let _leading = Leading(self);
        let others: Vec<Waiting> = {
            let mut queue = held(&self.queue);
            let count = queue.waiting.len().min(MOST - 1);
            queue.waiting.drain(..count).collect()
        };
        let all: Vec<Ready<'_>> = std::iter::once(change).chain(others.iter().map(Waiting::ready)).collect();
        let mut written = self.write(&all).into_iter();
        let own = written.next();
        for (Waiting { turn, .. }, written) in others.into_iter().zip(written) {
            // Who does not wait any more need not know.
            let _ = turn.send(Turn::Written(written));
        }
        own.unwrap_or_else(|| Err(bad("the change", "was not written").into()))
    }

    /// Keeps what witnesses signed.
    ///
    /// # Errors
    /// If the store fails, or it is no checkpoint of this log.
    pub(super) fn witness(&self, seen: &SignedCheckpoint) -> Result<(), StoreError> {
        let mut writer = held(&self.writer);
        let transaction = writer.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        log::witness(&transaction, seen)?;
        Ok(transaction.commit()?)
    }

    /// All in one transaction; if the store fails at that, each in its own: one's bad luck is not the others'.
    fn write(&self, changes: &[Ready<'_>]) -> Vec<Written> {
        let mut writer = held(&self.writer);
        match writer.write(changes) {
            Ok(written) => written,
            Err(error) if changes.len() < 2 => vec![Err(error.into())],
            Err(_) => changes
                .iter()
                .flat_map(|change| match writer.write(&[*change]) {
                    Ok(written) => written,
                    Err(error) => vec![Err(error.into())],
                })
                .collect(),
        }
    }
}

impl Writer {
    /// As if each were alone. A change that is denied takes back its own part: rare, and it would cost each of the
    /// others as much again to be ready for it, so they are all written anew when it happens.
    fn write(&mut self, changes: &[Ready<'_>]) -> Result<Vec<Written>, StoreError> {
        if let Some(written) = self.transact(changes, together)? {
            return Ok(written);
        }
        let apart = |transaction: &mut Transaction<'_>, changes: &[Ready<'_>], edge: &mut Edge| {
            changes
                .iter()
                .map(|change| beside(transaction, *change, edge))
                .collect::<Result<_, _>>()
                .map(Some)
        };
        self.transact(changes, apart)?.ok_or_else(|| bad("the change", "was not written"))
    }

    /// What `apply` writes, signed and durable; nothing if it says `None`.
    fn transact(
        &mut self,
        changes: &[Ready<'_>],
        apply: impl FnOnce(
            &mut Transaction<'_>,
            &[Ready<'_>],
            &mut Edge,
        ) -> Result<Option<Vec<Written>>, StoreError>,
    ) -> Result<Option<Vec<Written>>, StoreError> {
        let Self { db, signer: Some(signer), edge: known } = self else {
            return Err(bad("the log", "cannot be signed: it was opened to be read"));
        };
        let mut transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = log::edge(&transaction, signer.key(), known.take())?;
        let mut edge = before.clone();
        let written = apply(&mut transaction, changes, &mut edge)?;
        if !written.iter().flatten().any(Result::is_ok) {
            transaction.rollback()?;
            *known = Some(before);
            return Ok(written);
        }
        if edge.size() > before.size() {
            log::sign(&transaction, signer, &edge)?;
        }
        transaction.commit()?;
        *known = Some(edge);
        Ok(written)
    }
}

/// All changes one after the other. `None` if one of several is denied: it may have written a part.
fn together(
    transaction: &mut Transaction<'_>,
    changes: &[Ready<'_>],
    edge: &mut Edge,
) -> Result<Option<Vec<Written>>, StoreError> {
    let mut written = Vec::with_capacity(changes.len());
    for change in changes {
        match alone(transaction, *change, edge)? {
            Err(_) if changes.len() > 1 => return Ok(None),
            one => written.push(one),
        }
    }
    Ok(Some(written))
}

/// A change with the transaction to itself; conflicts end it.
fn alone(db: &Connection, change: Ready<'_>, edge: &mut Edge) -> Result<Written, StoreError> {
    match ops::apply(db, change, edge) {
        Err(CommitError::Store(error)) => Err(error),
        written => Ok(written),
    }
}

/// A change among others: its conflict takes back its own part alone.
fn beside(
    transaction: &mut Transaction<'_>,
    change: Ready<'_>,
    edge: &mut Edge,
) -> Result<Written, StoreError> {
    let mut after = edge.clone();
    let savepoint = transaction.savepoint()?;
    let written = alone(&savepoint, change, &mut after)?;
    if written.is_ok() {
        savepoint.commit()?;
        *edge = after;
    } else {
        savepoint.finish()?;
    }
    Ok(written)
}
