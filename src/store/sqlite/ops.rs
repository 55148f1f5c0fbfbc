//! One change to the tables: each part is written only if what must hold for it holds.

use rusqlite::{Connection, OptionalExtension as _, params};
use sequoia_openpgp::Fingerprint;

use crate::audit::entry::Outcome;
use crate::audit::tree::Edge;
use crate::challenge::{Challenge, RequestId};
use crate::response::{MAX_SIGNATURE, Response};
use crate::statement::MAX_STATEMENT;
use crate::store::sqlite::{MAX_CLAIMS, MAX_COUNTER, bad, log, read, trust};
use crate::store::{AnswerRecord, CommitError, GrantRecord, Op, Position, StoreError, Unusable};
use crate::unix_time::UnixTime;
use crate::verify::Counter;

/// How the ends of a request are written.
pub(super) const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Approved, "approved"),
    (Outcome::Expired, "expired"),
    (Outcome::Refused, "refused"),
    (Outcome::Superseded, "superseded"),
    (Outcome::Withdrawn, "withdrawn"),
];

/// An entry of a change, as it is appended: its line, and the request that it is about.
pub(super) type Line = (String, Option<RequestId>);

/// The lines of a change: what can be made ready before anybody writes.
///
/// # Errors
/// If an entry is larger than any.
pub(super) fn lines(change: &[Op]) -> Result<Vec<Line>, StoreError> {
    let entries = change.iter().filter_map(|op| match op {
        Op::Log(entry) => Some(entry),
        _ => None,
    });
    entries
        .map(|entry| match entry.to_line() {
            Ok(line) => Ok((line, entry.request())),
            Err(error) => Err(bad("the entry", error.to_string())),
        })
        .collect()
}

/// A change and its [`lines`].
#[derive(Clone, Copy)]
pub(super) struct Ready<'a> {
    pub(super) ops: &'a [Op],
    pub(super) lines: &'a [Line],
}

/// Writes all parts of a change, and says where its entries stand.
///
/// # Errors
/// Any [`CommitError`]; whoever calls then takes back what was written before it.
pub(super) fn apply(
    db: &Connection,
    change: Ready<'_>,
    edge: &mut Edge,
) -> Result<Vec<Position>, CommitError> {
    let mut positions = Vec::with_capacity(change.lines.len());
    let mut lines = change.lines.iter();
    for op in change.ops {
        match op {
            Op::Close { request, revision, outcome } => close(db, *request, *revision, *outcome)?,
            Op::Counter { key, before, after } => counter(db, key, *before, *after)?,
            Op::Debt { request, resource } => one(db
                .prepare_cached("INSERT INTO debt VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING")?
                .execute(params![request.to_bytes(), resource.as_str()])?)?,
            Op::Debts { resource, seen } => same(read::debts(db, resource)? == *seen)?,
            Op::Grant(record) => grant(db, record)?,
            Op::Log(_) => {
                let (line, about) = lines.next().ok_or_else(|| bad("the entry", "has no line"))?;
                positions.push(log::append(db, edge, line, *about)?);
            }
            Op::Once { request, person, code } => once(db, *request, person, code)?,
            Op::Open(challenge) => open(db, challenge)?,
            Op::Revoke { grant, used, at } => revoke(db, *grant, *used, *at)?,
            Op::Settle { request } => one(db
                .prepare_cached("UPDATE debt SET settled = 1 WHERE request = ?1 AND settled = 0")?
                .execute([request.to_bytes()])?)?,
            Op::Step { request, revision, answer } => step(db, *request, *revision, answer)?,
            Op::Trust { before, version, files } => trust::write(db, *before, version, files)?,
            Op::Under(version) => same(trust::newest(db)? == Some(*version))?,
            Op::Use { count, grant, at } => spend(db, *grant, *count, *at)?,
        }
    }
    Ok(positions)
}

/// What was looked at is still so.
fn same(holds: bool) -> Result<(), CommitError> {
    if holds { Ok(()) } else { Err(CommitError::Overtaken) }
}

/// Exactly one row was what it had to be.
fn one(changed: usize) -> Result<(), CommitError> {
    if changed == 1 { Ok(()) } else { Err(CommitError::Overtaken) }
}

/// Nothing is kept that would not be read again.
fn bounded(what: &str, body: &[u8], most: usize) -> Result<(), StoreError> {
    match body.len() {
        length if length > most => Err(bad(what, format!("takes {length} bytes, {most} are allowed"))),
        _ => Ok(()),
    }
}

/// A time as it is written.
pub(super) fn seconds(at: UnixTime) -> i64 {
    i64::try_from(at.seconds()).expect("times lie before the year 10000")
}

fn open(db: &Connection, challenge: &Challenge) -> Result<(), CommitError> {
    let text = challenge.to_text();
    bounded("the challenge", text.as_bytes(), MAX_STATEMENT)?;
    db.prepare_cached("INSERT INTO challenge (body) VALUES (?1)")?.execute([text.as_bytes()])?;
    let mut insert =
        db.prepare_cached("INSERT INTO request VALUES (?1, ?2, 0, NULL, ?3) ON CONFLICT DO NOTHING")?;
    let (id, code) = (challenge.id.to_bytes(), challenge.id.short_code());
    one(insert.execute(params![id, code, db.last_insert_rowid()])?)
}

fn close(db: &Connection, request: RequestId, revision: u32, outcome: Outcome) -> Result<(), CommitError> {
    let word = OUTCOMES.iter().find(|(known, _)| *known == outcome).map(|(_, word)| word);
    let mut update = db.prepare_cached(
        "UPDATE request SET outcome = ?3 WHERE id = ?1 AND revision = ?2 AND outcome IS NULL",
    )?;
    one(update.execute(params![request.to_bytes(), revision, word])?)
}

fn step(
    db: &Connection,
    request: RequestId,
    revision: u32,
    answer: &AnswerRecord,
) -> Result<(), CommitError> {
    let AnswerRecord { person, decision, response, counter, at } = answer;
    let Response { statement, signature } = response;
    bounded("the statement", statement, MAX_STATEMENT)?;
    bounded("the signature", signature, MAX_SIGNATURE)?;
    bounded("the counter", counter.as_deref().unwrap_or_default().as_bytes(), MAX_COUNTER)?;
    db.prepare_cached("INSERT INTO response (statement, signature, counter) VALUES (?1, ?2, ?3)")?
        .execute(params![statement, signature, counter])?;
    let id = request.to_bytes();
    let inserted = db
        .prepare_cached("INSERT INTO answer VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING")?
        .execute(params![id, person, decision, revision, seconds(*at), db.last_insert_rowid()])?;
    if inserted == 0 {
        return Err(CommitError::Again);
    }
    one(db
        .prepare_cached("UPDATE request SET revision = revision + 1 WHERE id = ?1 AND revision = ?2")?
        .execute(params![id, revision])?)
}

fn once(db: &Connection, request: RequestId, person: &str, code: &str) -> Result<(), CommitError> {
    let mut insert = db.prepare_cached("INSERT INTO once VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
    match insert.execute(params![request.to_bytes(), person, code])? {
        0 => Err(CommitError::Again),
        _ => Ok(()),
    }
}

fn counter(
    db: &Connection,
    key: &Fingerprint,
    before: Option<Counter>,
    after: Counter,
) -> Result<(), CommitError> {
    let row = |counter: Counter| -> Result<_, StoreError> {
        let reported = i64::try_from(counter.reported);
        let reported = reported.map_err(|_| bad("the counter", "is past every number of signatures"))?;
        Ok((counter.highest, counter.unseen, reported, seconds(counter.at)))
    };
    let key = key.as_bytes();
    let (highest, unseen, reported, at) = row(after)?;
    one(match before.map(row).transpose()? {
        None => db
            .prepare_cached("INSERT INTO counter VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING")?
            .execute(params![key, highest, unseen, reported, at])?,
        Some(before) => db
            .prepare_cached(
                "UPDATE counter SET highest = ?2, unseen = ?3, reported = ?4, at = ?5
                 WHERE key = ?1 AND highest = ?6 AND unseen = ?7 AND reported = ?8 AND at = ?9",
            )?
            .execute(params![key, highest, unseen, reported, at, before.0, before.1, before.2, before.3])?,
    })
}

fn grant(db: &Connection, record: &GrantRecord) -> Result<(), CommitError> {
    let GrantRecord { request, claims, expires, uses, used, revoked } = record;
    if *uses == 0 || used > uses {
        return Err(bad("the grant", format!("is for {uses} uses, of which {used} were made")).into());
    }
    bounded("the claims", claims.as_bytes(), MAX_CLAIMS)?;
    let mut insert =
        db.prepare_cached("INSERT INTO granted VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING")?;
    let revoked = revoked.map(seconds);
    one(insert.execute(params![request.to_bytes(), seconds(*expires), uses, used, revoked, claims])?)
}

fn spend(db: &Connection, grant: RequestId, count: u32, at: UnixTime) -> Result<(), CommitError> {
    let mut update = db.prepare_cached(
        "UPDATE granted SET used = used + 1
         WHERE request = ?1 AND used + 1 = ?2 AND revoked IS NULL AND expires > ?3 AND used < uses",
    )?;
    match update.execute(params![grant.to_bytes(), count, seconds(at)])? {
        1 => Ok(()),
        _ => Err(unusable(db, grant, Some(at))),
    }
}

fn revoke(db: &Connection, grant: RequestId, used: u32, at: UnixTime) -> Result<(), CommitError> {
    let mut update = db.prepare_cached(
        "UPDATE granted SET revoked = ?3 WHERE request = ?1 AND used = ?2 AND revoked IS NULL",
    )?;
    match update.execute(params![grant.to_bytes(), used, seconds(at)])? {
        1 => Ok(()),
        _ => Err(unusable(db, grant, None)),
    }
}

/// Why a grant was not revoked, or not used at `at`: looked up in the same transaction.
fn unusable(db: &Connection, grant: RequestId, at: Option<UnixTime>) -> CommitError {
    let found = db
        .prepare_cached("SELECT revoked IS NOT NULL, expires, used >= uses FROM granted WHERE request = ?1")
        .and_then(|mut read| {
            let row = |row: &rusqlite::Row<'_>| {
                Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?))
            };
            read.query_row([grant.to_bytes()], row).optional()
        });
    match (found, at) {
        (Err(error), _) => error.into(),
        (Ok(None), _) => CommitError::Grant(Unusable::Unknown),
        (Ok(Some((true, ..))), _) => CommitError::Grant(Unusable::Revoked),
        (Ok(Some((_, expires, _))), Some(at)) if expires <= seconds(at) => {
            CommitError::Grant(Unusable::Expired)
        }
        (Ok(Some((_, _, true))), Some(_)) => CommitError::Grant(Unusable::Spent),
        // What is left is that somebody used it meanwhile.
        (Ok(Some(_)), _) => CommitError::Overtaken,
    }
}
