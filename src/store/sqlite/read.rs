//! Rows back into types: what does not read is an error, and nothing is handed out in part.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use sequoia_openpgp::Fingerprint;

use crate::challenge::{Challenge, RequestId};
use crate::request::Resource;
use crate::response::{MAX_SIGNATURE, Response};
use crate::statement::MAX_STATEMENT;
use crate::store::sqlite::ops::{OUTCOMES, seconds};
use crate::store::sqlite::{MAX_CLAIMS, MAX_COUNTER, bad};
use crate::store::{AnswerRecord, GrantRecord, RequestRecord, StoreError};
use crate::unix_time::UnixTime;
use crate::verify::Counter;

/// A request with its answers, all as of one moment: `db` must be in a transaction.
pub(super) fn request(db: &Connection, id: &RequestId) -> Result<Option<RequestRecord>, StoreError> {
    let named = format!("request {id}");
    let mut read = db.prepare_cached(
        "SELECT revision, outcome, body FROM request LEFT JOIN challenge ON challenge.id = challenge
         WHERE request.id = ?1",
    )?;
    let mut rows = read.query([id.to_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (revision, outcome) = (row.get(0)?, row.get::<_, Option<String>>(1)?);
    let text = bytes(row, 2, &named, MAX_STATEMENT)?;
    let outcome = match outcome {
        None => None,
        Some(word) => {
            let known = OUTCOMES.iter().find(|(_, known)| *known == word);
            Some(known.ok_or_else(|| bad(&named, format!("ended in {word:?}")))?.0)
        }
    };
    let challenge = Challenge::parse(&text).map_err(|error| bad(&named, error.to_string()))?;
    if challenge.id != *id {
        return Err(bad(&named, format!("has the text of {}", challenge.id)));
    }
    let answers = answers(db, &named, id)?;
    // Each answer made one revision, and nothing takes an answer away.
    let numbered = answers.iter().zip(0..).all(|((number, _), expected)| *number == expected);
    if !numbered || u32::try_from(answers.len()) != Ok(revision) {
        return Err(bad(&named, format!("is at revision {revision} with {} answers", answers.len())));
    }
    let answers = answers.into_iter().map(|(_, answer)| answer).collect();
    Ok(Some(RequestRecord { challenge, revision, outcome, answers }))
}

fn answers(
    db: &Connection,
    named: &str,
    request: &RequestId,
) -> Result<Vec<(u32, AnswerRecord)>, StoreError> {
    let mut read = db.prepare_cached(
        "SELECT number, person, decision, at, statement, signature, counter
         FROM answer LEFT JOIN response ON response.id = response WHERE request = ?1 ORDER BY number",
    )?;
    let mut rows = read.query([request.to_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let decision = match row.get_ref(2)?.as_str().unwrap_or_default() {
            "approve" => "approve",
            "refuse" => "refuse",
            other => return Err(bad(named, format!("was answered with {other:?}"))),
        };
        let counter = match row.get_ref(6)? {
            ValueRef::Null => None,
            _ => Some(text(bytes(row, 6, named, MAX_COUNTER)?, named)?),
        };
        let answer = AnswerRecord {
            person: row.get(1)?,
            decision,
            response: Response {
                statement: bytes(row, 4, named, MAX_STATEMENT)?,
                signature: bytes(row, 5, named, MAX_SIGNATURE)?,
            },
            counter,
            at: time(row.get(3)?, named)?,
        };
        found.push((row.get(0)?, answer));
    }
    Ok(found)
}

/// The requests that are open, oldest first.
pub(super) fn open_requests(db: &Connection) -> Result<Vec<RequestId>, StoreError> {
    let sql = "SELECT id FROM request INDEXED BY request_open WHERE outcome IS NULL ORDER BY id";
    ids(db, sql, [])
}

/// The open debts on a resource.
pub(super) fn debts(db: &Connection, resource: &Resource) -> Result<Vec<RequestId>, StoreError> {
    let sql = "SELECT request FROM debt WHERE resource = ?1 AND settled = 0 ORDER BY request";
    ids(db, sql, [resource.as_str()])
}

fn ids(db: &Connection, sql: &str, of: impl rusqlite::Params) -> Result<Vec<RequestId>, StoreError> {
    let mut read = db.prepare_cached(sql)?;
    let rows = read.query_map(of, |row| row.get::<_, [u8; 16]>(0))?;
    Ok(rows.map(|id| id.map(RequestId::from)).collect::<rusqlite::Result<_>>()?)
}

const GRANT: &str = "SELECT request, claims, expires, uses, used, revoked FROM granted";

/// A grant.
pub(super) fn grant(db: &Connection, request: &RequestId) -> Result<Option<GrantRecord>, StoreError> {
    let mut read = db.prepare_cached(&format!("{GRANT} WHERE request = ?1"))?;
    let mut rows = read.query([request.to_bytes()])?;
    rows.next()?.map(grant_of).transpose()
}

/// The grants that are worth something.
pub(super) fn live_grants(db: &Connection, now: UnixTime) -> Result<Vec<GrantRecord>, StoreError> {
    let mut read = db.prepare_cached(&format!(
        "{GRANT} INDEXED BY granted_live WHERE revoked IS NULL AND used < uses AND expires > ?1 ORDER BY request"
    ))?;
    let mut rows = read.query([seconds(now)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(grant_of(row)?);
    }
    Ok(found)
}

fn grant_of(row: &Row<'_>) -> Result<GrantRecord, StoreError> {
    let request = RequestId::from(row.get::<_, [u8; 16]>(0)?);
    let named = format!("grant {request}");
    let claims = text(bytes(row, 1, &named, MAX_CLAIMS)?, &named)?;
    let (uses, used): (u32, u32) = (row.get(3)?, row.get(4)?);
    if used > uses {
        return Err(bad(&named, format!("was used {used} times of {uses}")));
    }
    let revoked = row.get::<_, Option<i64>>(5)?.map(|at| time(at, &named)).transpose()?;
    Ok(GrantRecord { request, claims, expires: time(row.get(2)?, &named)?, uses, used, revoked })
}

/// What is known of a key's counter.
pub(super) fn counter(db: &Connection, key: &Fingerprint) -> Result<Option<Counter>, StoreError> {
    let named = format!("the counter of {key}");
    let mut read = db.prepare_cached("SELECT highest, unseen, reported, at FROM counter WHERE key = ?1")?;
    let mut rows = read.query([key.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let reported = u64::try_from(row.get::<_, i64>(2)?);
    Ok(Some(Counter {
        highest: row.get(0)?,
        unseen: row.get(1)?,
        reported: reported.map_err(|_| bad(&named, "is below zero"))?,
        at: time(row.get(3)?, &named)?,
    }))
}

/// A value that is long, but not longer than it may be.
fn bytes(row: &Row<'_>, column: usize, named: &str, most: usize) -> Result<Vec<u8>, StoreError> {
    let bytes = row.get_ref(column)?.as_bytes().map_err(|error| bad(named, error.to_string()))?;
    if bytes.len() > most {
        return Err(bad(named, format!("holds {} bytes where {most} are allowed", bytes.len())));
    }
    Ok(bytes.to_vec())
}

fn text(bytes: Vec<u8>, named: &str) -> Result<String, StoreError> {
    String::from_utf8(bytes).map_err(|error| bad(named, error.to_string()))
}

fn time(seconds: i64, named: &str) -> Result<UnixTime, StoreError> {
    let time = u64::try_from(seconds).ok().and_then(UnixTime::from_seconds);
    time.ok_or_else(|| bad(named, format!("has a time of {seconds} seconds")))
}
