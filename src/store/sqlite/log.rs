//! The log in its table: for each size that it ever had the line that was added, the nodes of the tree that this
//! completed (the leaf first, so that the one at height h is the h-th), and the checkpoint if one was signed at it.
//!
//! Nothing in it is ever changed or removed; what witnesses sign comes into a table of its own.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::audit::entry::MAX_ENTRY;
use crate::audit::note::Note;
use crate::audit::tree::{self, Edge, Hashes, TreeError, leaf_hash};
use crate::audit::{Entry, LogKey, LogSigner, Receipt, SignedCheckpoint, Witnesses};
use crate::challenge::RequestId;
use crate::digest::Sha256Digest;
use crate::store::sqlite::bad;
use crate::store::{Position, StoreError};

/// Bytes of a hash.
const HASH: i64 = 32;

/// The table as the tree's hashes.
pub(super) struct Table<'a>(pub(super) &'a Connection);

impl Hashes for Table<'_> {
    fn hash(&self, level: u32, index: u64) -> Result<Sha256Digest, TreeError> {
        let missing = |reason: String| TreeError::Missing { level, index, reason };
        // The size at which the last of its leaves came, and with it the node.
        let size = index.checked_add(1).and_then(|count| {
            let size = count.checked_shl(level).filter(|size| size >> level == count)?;
            i64::try_from(size).ok()
        });
        let size = size.ok_or_else(|| missing("no log is so long".into()))?;
        let read = self.0.prepare_cached("SELECT substr(nodes, ?2, 32) FROM log WHERE size = ?1");
        let found = read.and_then(|mut read| {
            read.query_row([size, 1 + HASH * i64::from(level)], |row| row.get::<_, [u8; 32]>(0))
        });
        found.map(Sha256Digest::from).map_err(|error| missing(error.to_string()))
    }
}

/// Appends a line and gives its place.
///
/// # Errors
/// If the store fails, or has an entry there already.
pub(super) fn append(
    db: &Connection,
    edge: &mut Edge,
    line: &str,
    about: Option<RequestId>,
) -> Result<Position, StoreError> {
    let index = edge.size();
    let mut nodes = Vec::new();
    edge.append(leaf_hash(line.as_bytes()), |node| nodes.extend_from_slice(node.hash.as_bytes()));
    let size = key(edge.size())?;
    db.prepare_cached("INSERT INTO log VALUES (?1, ?2, NULL, ?3)")?.execute(params![size, nodes, line])?;
    if let Some(request) = about {
        db.prepare_cached("INSERT INTO log_about VALUES (?1, ?2)")?
            .execute(params![request.to_bytes(), size])?;
    }
    Ok(Position(index))
}

/// The newest checkpoint, which is at the end: its size and the signed note.
fn newest(db: &Connection) -> Result<(u64, String), StoreError> {
    let mut read = db.prepare_cached("SELECT size, note FROM log ORDER BY size DESC LIMIT 1")?;
    let row = read.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (size, note): (i64, Option<String>) = row.ok_or_else(|| bad("the log", "is not there"))?;
    let size = u64::try_from(size).map_err(|_| bad("the log", "has a size below zero"))?;
    let note = note.ok_or_else(|| bad("the log", format!("has {size} entries and no checkpoint of them")))?;
    Ok((size, note))
}

/// The tree to append to, as of the newest checkpoint; `known` if nobody went on since.
///
/// # Errors
/// If tables and checkpoint disagree: nothing is signed that does not continue what was.
pub(super) fn edge(db: &Connection, key: &LogKey, known: Option<Edge>) -> Result<Edge, StoreError> {
    let (size, note) = newest(db)?;
    match known {
        Some(known) if known.size() == size => Ok(known),
        _ => {
            let edge = Edge::load(&Table(db), size).map_err(|error| bad("the log", error.to_string()))?;
            agrees(&note, key, size, edge.root())?;
            Ok(edge)
        }
    }
}

fn agrees(note: &str, key: &LogKey, size: u64, root: Sha256Digest) -> Result<(), StoreError> {
    let signed = open(note, key, &Witnesses::default())?;
    let found = signed.checkpoint();
    if found.size != size || found.root != root {
        let said = format!("is for {} entries with root {}", found.size, found.root);
        return Err(bad("the checkpoint", format!("{said}, the log has {size} with root {root}")));
    }
    Ok(())
}

fn open(note: &str, key: &LogKey, witnesses: &Witnesses) -> Result<SignedCheckpoint, StoreError> {
    SignedCheckpoint::open(note.as_bytes(), key, witnesses)
        .map_err(|error| bad("the checkpoint", error.to_string()))
}

/// Signs the tree as it is after a commit.
pub(super) fn sign(db: &Connection, signer: &LogSigner, edge: &Edge) -> Result<(), StoreError> {
    let note = signer.sign(edge.size(), edge.root()).note().to_string();
    let mut update = db.prepare_cached("UPDATE log SET note = ?2 WHERE size = ?1 AND note IS NULL")?;
    match update.execute(params![key(edge.size())?, note])? {
        1 => Ok(()),
        _ => Err(bad("the log", format!("has a checkpoint of {} entries already", edge.size()))),
    }
}

/// Makes the empty log, and signs it.
pub(super) fn begin(db: &Connection, signer: &LogSigner) -> Result<(), StoreError> {
    db.execute("INSERT INTO log VALUES (0, zeroblob(0), NULL, NULL)", [])?;
    sign(db, signer, &Edge::default())
}

/// Finds out at opening whether line, tree and checkpoint agree where the log ends.
///
/// # Errors
/// If they do not.
pub(super) fn check(db: &Connection, log_key: &LogKey) -> Result<(), StoreError> {
    let size = edge(db, log_key, None)?.size();
    match size.checked_sub(1) {
        Some(last) => line(db, last).map(drop),
        None => Ok(()),
    }
}

/// A number as it is written.
fn key(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| bad("the log", "is longer than any"))
}

/// The line of an entry, which has its hash and is an entry.
fn line(db: &Connection, index: u64) -> Result<String, StoreError> {
    let named = || format!("entry {index}");
    let mut read = db.prepare_cached("SELECT line FROM log WHERE size = ?1 + 1")?;
    let line: Option<String> = read.query_row([key(index)?], |row| row.get(0)).optional()?;
    let line = line.ok_or_else(|| bad(&named(), "is not there"))?;
    let hash = Table(db).hash(0, index).map_err(|error| bad(&named(), error.to_string()))?;
    if leaf_hash(line.as_bytes()) != hash {
        return Err(bad(&named(), "is not what was logged"));
    }
    Entry::parse(line.as_bytes()).map_err(|error| bad(&named(), error.to_string()))?;
    Ok(line)
}

/// The newest checkpoint.
pub(super) fn checkpoint(db: &Connection, key: &LogKey) -> Result<SignedCheckpoint, StoreError> {
    open(&newest(db)?.1, key, &Witnesses::default())
}

/// The receipt of an entry, under the newest checkpoint that the witnesses carry.
pub(super) fn receipt(
    db: &Connection,
    Position(index): Position,
    log_key: &LogKey,
    witnesses: &Witnesses,
) -> Result<Receipt, StoreError> {
    let line = line(db, index)?;
    let note = match witnesses.needed() {
        0 => newest(db)?.1,
        _ => witnessed(db, index, log_key, witnesses)?,
    };
    let size = open(&note, log_key, witnesses)?.checkpoint().size;
    let named = || format!("entry {index}");
    let proof = tree::inclusion(&Table(db), index, size).map_err(|error| bad(&named(), error.to_string()))?;
    Receipt::check(line.as_bytes(), index, &proof, note.as_bytes(), log_key, witnesses)
        .map_err(|error| bad(&named(), error.to_string()))
}

/// The newest checkpoint over an entry that enough of these witnesses saw.
fn witnessed(
    db: &Connection,
    index: u64,
    log_key: &LogKey,
    witnesses: &Witnesses,
) -> Result<String, StoreError> {
    let mut read =
        db.prepare_cached("SELECT note FROM witnessed WHERE size > ?1 ORDER BY size DESC LIMIT 256")?;
    let notes = read.query_map([key(index)?], |row| row.get::<_, String>(0))?;
    for note in notes {
        let note = note?;
        if open(&note, log_key, witnesses).is_ok() {
            return Ok(note);
        }
    }
    let needed = witnesses.needed();
    Err(bad(&format!("entry {index}"), format!("stands under no checkpoint that {needed} witnesses saw")))
}

/// Keeps a checkpoint with what witnesses signed, if it is one of this log.
pub(super) fn witness(db: &Connection, seen: &SignedCheckpoint) -> Result<(), StoreError> {
    let size = seen.checkpoint().size;
    let mut read = db.prepare_cached("SELECT note FROM log WHERE size = ?1")?;
    let own: Option<Option<String>> = read.query_row([key(size)?], |row| row.get(0)).optional()?;
    let same = own.flatten().and_then(|note| Note::parse(note.as_bytes()).ok());
    if same.is_none_or(|own| own.text() != seen.note().text()) {
        return Err(bad("the checkpoint", format!("for {size} entries is not one of this log")));
    }
    db.prepare_cached(
        "INSERT INTO witnessed VALUES (?1, ?2) ON CONFLICT DO UPDATE SET note = excluded.note",
    )?
    .execute(params![key(size)?, seen.note().to_string()])?;
    Ok(())
}

/// Where the entries about a request stand.
pub(super) fn about(db: &Connection, request: &RequestId) -> Result<Vec<Position>, StoreError> {
    let mut read = db.prepare_cached("SELECT size FROM log_about WHERE request = ?1 ORDER BY size")?;
    let rows = read.query_map([request.to_bytes()], |row| row.get::<_, i64>(0))?;
    rows.map(|size| {
        let index = u64::try_from(size?).ok().and_then(|size| size.checked_sub(1));
        index.map(Position).ok_or_else(|| bad("an entry", "stands before the first"))
    })
    .collect()
}

/// Lines in their order, not judged.
pub(super) fn lines(db: &Connection, from: u64, most: usize) -> Result<Vec<String>, StoreError> {
    let mut read =
        db.prepare_cached("SELECT size - 1, line FROM log WHERE size > ?1 ORDER BY size LIMIT ?2")?;
    let mut rows = read.query(params![key(from)?, i64::try_from(most).unwrap_or(i64::MAX)])?;
    let mut lines = Vec::new();
    let mut expected = key(from)?;
    while let Some(row) = rows.next()? {
        let line: String = row.get(1)?;
        if row.get::<_, i64>(0)? != expected || line.len() > MAX_ENTRY {
            return Err(bad(&format!("entry {expected}"), "is not there, or larger than any"));
        }
        expected += 1;
        lines.push(line);
    }
    Ok(lines)
}

/// Checkpoints in their order, not judged.
pub(super) fn checkpoints(db: &Connection, from: u64, most: usize) -> Result<Vec<String>, StoreError> {
    let mut read = db.prepare_cached(
        "SELECT note FROM log WHERE size >= ?1 AND note IS NOT NULL ORDER BY size LIMIT ?2",
    )?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = read.query_map(params![key(from)?, most], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
