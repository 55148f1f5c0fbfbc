//! The tables of the store, from their first version on.

use rusqlite::{Connection, TransactionBehavior};

use crate::store::StoreError;
use crate::store::sqlite::bad;

/// "TGAT": by which a file is known to be a store of ours.
const APPLICATION: i64 = 0x5447_4154;

/// The most pages that are read at each opening: four mebibytes, some milliseconds.
const FEW_PAGES: i64 = 1024;

/// What makes each version of the one before; the first, of an empty file. Never changed once released.
const MIGRATIONS: [&str; 1] = [VERSION_1];

/// Each page that a change touches is written and flushed, so there are few: rows that change are small, those that
/// stand beside each other in time stand beside each other in the file (ids are ULIDs, whose first bytes are the time),
/// and what is long and never changes is appended to a table of its own, `challenge` or `response`. Only the claims of a
/// grant stand in a row that changes, and each use writes them again: mostly they are short, and pages are written whole
/// in any case. A row of `log` is the log as it came to have that many entries.
const VERSION_1: &str = "
CREATE TABLE challenge (
    id INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE response (
    id INTEGER PRIMARY KEY,
    statement BLOB NOT NULL,
    signature BLOB NOT NULL,
    counter TEXT
) STRICT;

CREATE TABLE request (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    code TEXT NOT NULL CHECK (length(code) = 5),
    revision INTEGER NOT NULL CHECK (revision >= 0),
    outcome TEXT CHECK (outcome IN ('approved', 'expired', 'refused', 'superseded', 'withdrawn')),
    challenge INTEGER NOT NULL REFERENCES challenge
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX request_open ON request (code) WHERE outcome IS NULL;

CREATE TABLE answer (
    request BLOB NOT NULL REFERENCES request,
    person TEXT NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('approve', 'refuse')),
    number INTEGER NOT NULL CHECK (number >= 0),
    at INTEGER NOT NULL,
    response INTEGER NOT NULL REFERENCES response,
    PRIMARY KEY (request, person, decision)
) STRICT, WITHOUT ROWID;

CREATE TABLE once (
    request BLOB NOT NULL REFERENCES request,
    person TEXT NOT NULL,
    code TEXT NOT NULL,
    PRIMARY KEY (request, person, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE granted (
    request BLOB PRIMARY KEY REFERENCES request,
    expires INTEGER NOT NULL,
    uses INTEGER NOT NULL CHECK (uses >= 1),
    used INTEGER NOT NULL CHECK (used BETWEEN 0 AND uses),
    revoked INTEGER,
    claims TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX granted_live ON granted (expires) WHERE revoked IS NULL AND used < uses;

CREATE TABLE counter (
    key BLOB PRIMARY KEY CHECK (length(key) IN (20, 32)),
    highest INTEGER NOT NULL CHECK (highest >= 0),
    unseen INTEGER NOT NULL,
    reported INTEGER NOT NULL CHECK (reported >= 0),
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE debt (
    request BLOB PRIMARY KEY REFERENCES request,
    resource TEXT NOT NULL,
    settled INTEGER NOT NULL CHECK (settled IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX debt_open ON debt (resource) WHERE settled = 0;

CREATE TABLE trust (
    number INTEGER PRIMARY KEY CHECK (number >= 1),
    digest BLOB NOT NULL CHECK (length(digest) = 32)
) STRICT;
CREATE TABLE content (
    sha256 BLOB PRIMARY KEY CHECK (length(sha256) = 32),
    bytes BLOB NOT NULL
) STRICT;
CREATE TABLE trust_file (
    number INTEGER NOT NULL REFERENCES trust,
    path TEXT NOT NULL,
    sha256 BLOB NOT NULL REFERENCES content,
    PRIMARY KEY (number, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE log (
    size INTEGER PRIMARY KEY CHECK (size >= 0),
    nodes BLOB NOT NULL,
    note TEXT,
    line TEXT CHECK ((line IS NULL) = (size = 0))
) STRICT;
CREATE TABLE log_about (
    request BLOB NOT NULL CHECK (length(request) = 16),
    size INTEGER NOT NULL,
    PRIMARY KEY (request, size)
) STRICT, WITHOUT ROWID;
CREATE TABLE witnessed (
    size INTEGER PRIMARY KEY REFERENCES log,
    note TEXT NOT NULL
) STRICT;
";

/// Makes the tables in an empty file.
///
/// # Errors
/// Whatever the library gives.
pub(super) fn create(db: &Connection) -> rusqlite::Result<()> {
    create_by(&MIGRATIONS, db)
}

fn create_by(migrations: &[&str], db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "application_id", APPLICATION)?;
    migrate(migrations, db, 0)
}

fn migrate(migrations: &[&str], db: &Connection, from: usize) -> rusqlite::Result<()> {
    for step in migrations.iter().skip(from) {
        db.execute_batch(step)?;
    }
    db.pragma_update(None, "user_version", migrations.len() as i64)
}

/// What is done with a store of an older version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Older {
    /// It is brought up to this one.
    Migrate,
    /// It stays as it is, and is an error: whoever only looks at it must not take it from the verifier whose it is.
    Refuse,
}

/// Finds out whether a file is a store of ours, of this version once it was brought up to it.
///
/// # Errors
/// If it is something else, of a newer version, or has tables that it should not have: what a trigger in it would do
/// is nothing that anybody here wrote.
pub(super) fn check(db: &mut Connection, older: Older) -> Result<(), StoreError> {
    check_by(&MIGRATIONS, db, older)
}

fn check_by(migrations: &[&str], db: &mut Connection, older: Older) -> Result<(), StoreError> {
    let number = |db: &Connection, name: &str| {
        db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(StoreError::from)
    };
    if number(db, "application_id")? != APPLICATION {
        return Err(bad("it", "is not a store of this program"));
    }
    let latest = migrations.len();
    let version = |db: &Connection| {
        let found = number(db, "user_version")?;
        match usize::try_from(found) {
            Ok(found @ 1..) if found <= latest => Ok(found),
            Ok(0) | Err(_) => Err(bad("its version", format!("{found} was never written"))),
            Ok(_) => {
                Err(bad("its version", format!("{found} is newer than {latest}, which this program knows")))
            }
        }
    };
    let found = version(db)?;
    match older {
        Older::Migrate if found < latest => {
            let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have been faster.
            let found = version(&transaction)?;
            migrate(migrations, &transaction, found)?;
            transaction.commit()?;
        }
        Older::Refuse if found < latest => {
            let reason =
                format!("{found} is older than {latest}; a verifier of this version brings it up to that");
            return Err(bad("its version", reason));
        }
        _ => {}
    }
    let expected = Connection::open_in_memory()?;
    create_by(migrations, &expected)?;
    if tables(db)? != tables(&expected)? {
        return Err(bad("its tables", "are not those that this program makes"));
    }
    Ok(())
}

/// Every table, index, trigger and view, with the words that made it.
fn tables(db: &Connection) -> rusqlite::Result<Vec<(String, String, Option<String>)>> {
    let mut read = db.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")?;
    read.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

/// Reads the pages of a small file once; of a large one only `whole` does, for it takes its time.
///
/// # Errors
/// If a page is not what it should be.
pub(super) fn check_pages(db: &Connection, whole: bool) -> Result<(), StoreError> {
    let pages: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let check = match whole {
        true => "integrity_check",
        false if pages <= FEW_PAGES => "quick_check",
        false => return Ok(()),
    };
    let said: String = db.query_row(&format!("PRAGMA {check}(1)"), [], |row| row.get(0))?;
    if said != "ok" {
        return Err(bad("its pages", format!("do not fit together: {said}")));
    }
    let orphan = db.prepare("PRAGMA foreign_key_check")?.exists([])?;
    if orphan { Err(bad("its rows", "refer to others that are not there")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_older_store_is_brought_up_by_its_verifier_alone() {
        const NEXT: [&str; 2] = [VERSION_1, "CREATE TABLE further (id INTEGER PRIMARY KEY) STRICT;"];
        let mut db = Connection::open_in_memory().unwrap();
        create(&db).unwrap();
        let before = tables(&db).unwrap();
        check(&mut db, Older::Refuse).unwrap();
        let refused = check_by(&NEXT, &mut db, Older::Refuse).unwrap_err().to_string();
        assert!(refused.contains("1 is older than 2"), "{refused}");
        assert_eq!(tables(&db).unwrap(), before);
        check_by(&NEXT, &mut db, Older::Migrate).unwrap();
        assert_eq!(tables(&db).unwrap().len(), before.len() + 1);
        check_by(&NEXT, &mut db, Older::Refuse).unwrap();
        let newer = check(&mut db, Older::Migrate).unwrap_err().to_string();
        assert!(newer.contains("2 is newer than 1"), "{newer}");
    }
}
