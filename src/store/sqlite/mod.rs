//! The store in one file, by SQLite: for one verifier, and whoever else on its machine opens the same file.
//!
//! A change is on the disk before it is answered for: WAL with `synchronous = FULL`, since less can bring a used
//! answer back after a power cut.

mod commit;
mod log;
mod ops;
mod place;
mod read;
mod schema;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use sequoia_openpgp::Fingerprint;

use crate::audit::tree::Hashes as _;
use crate::audit::{LogKey, LogSigner, Receipt, SignedCheckpoint, Witnesses};
use crate::challenge::{RequestId, TrustVersion};
use crate::digest::Sha256Digest;
use crate::request::Resource;
use crate::store::{CommitError, GrantRecord, Op, Position, RequestRecord, Store, StoreError};
use crate::trust::Files;
use crate::unix_time::UnixTime;
use crate::verify::Counter;

use commit::Committer;

/// The most bytes in the claims of a grant: a page of statement, twice over, and what stands around it.
const MAX_CLAIMS: usize = 32 * 1024;
/// The most bytes in the attestation of a counter: as in an enrolment.
const MAX_COUNTER: usize = crate::enrolment::MAX_ATTESTATION;
/// The most bytes in one value: a file of trust, and room for the library's own.
const MAX_VALUE: i32 = 2 << 20;
/// How long another process is waited for; each of its commits takes a flush of the disk.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pages after which what was appended is moved into the file: 64 MiB, so that a page that changes often is moved once.
const CHECKPOINT_PAGES: i64 = 16 * 1024;
/// KiB of pages that each of the two connections may hold.
const WRITER_CACHE: i64 = 32 * 1024;
const READER_CACHE: i64 = 8 * 1024;

/// A store in a file.
pub struct Sqlite {
    path: PathBuf,
    key: LogKey,
    committer: Committer,
    reader: Mutex<Connection>,
}

fn bad(what: &str, reason: impl Into<String>) -> StoreError {
    StoreError { what: what.to_owned(), reason: reason.into() }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        bad("SQLite", error.to_string())
    }
}

impl From<rusqlite::Error> for CommitError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY;
        match error.sqlite_error() {
            // What the change is about is not there.
            Some(found) if found.extended_code == SQLITE_CONSTRAINT_FOREIGNKEY => Self::Overtaken,
            _ => Self::Store(error.into()),
        }
    }
}

impl Sqlite {
    /// Opens the store at `path`, whose log `signer` signs. If nothing stands there it is made, with an empty log.
    ///
    /// # Errors
    /// If it is no store, or a newer one, if others can write it, or if what is in it does not fit together.
    pub fn open(path: &Path, signer: LogSigner) -> Result<Self, StoreError> {
        Self::at(path, signer.key().clone(), Some(signer)).map_err(|error| within(path, error))
    }

    /// Opens the store at `path` to look at it, by the public key of its log. No change is committed to it; what
    /// witnesses signed can be kept, for nothing is signed here for that. Its files must be writable all the same: the
    /// library locks in them, and moves what others committed from one into the other.
    ///
    /// # Errors
    /// As [`Sqlite::open`], and if nothing stands there, or a store of an older version.
    pub fn open_to_read(path: &Path, key: &LogKey) -> Result<Self, StoreError> {
        Self::at(path, key.clone(), None).map_err(|error| within(path, error))
    }

    fn at(path: &Path, key: LogKey, signer: Option<LogSigner>) -> Result<Self, StoreError> {
        if !place::find(path)? {
            let signer = signer.as_ref().ok_or_else(|| bad("it", "is not there"))?;
            place::create(path, |empty| fill(empty, signer))?;
            // Whoever was faster may have made something else.
            place::find(path)?;
        }
        let mut writer = connect(path, WRITER_CACHE)?;
        let older = if signer.is_some() { schema::Older::Migrate } else { schema::Older::Refuse };
        schema::check(&mut writer, older)?;
        let mode: String = writer.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        if mode != "wal" {
            return Err(bad("its journal", format!("is kept as {mode}, not as wal")));
        }
        schema::check_pages(&writer, false)?;
        // What a process left behind that was killed is read from the system's memory: here it comes onto the disk,
        // before anybody acts on it.
        writer.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        let reader = connect(path, READER_CACHE)?;
        let transaction = writer.transaction()?;
        log::check(&transaction, &key)?;
        transaction.commit()?;
        Ok(Self {
            path: path.to_owned(),
            key,
            committer: Committer::new(writer, signer),
            reader: Mutex::new(reader),
        })
    }

    /// Reads every page, which takes a while where there is much.
    ///
    /// # Errors
    /// If the file is damaged.
    pub fn check_pages(&self) -> Result<(), StoreError> {
        self.read(|db| schema::check_pages(db, true))
    }

    /// Reads as of one moment.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut reader: MutexGuard<'_, Connection> =
            self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let found = reader
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(StoreError::from)
            .and_then(|transaction| read(&transaction));
        found.map_err(|error| within(&self.path, error))
    }
}

/// An error with the file that it is about.
fn within(path: &Path, error: StoreError) -> StoreError {
    bad(&path.display().to_string(), format!("{} {}", error.what, error.reason))
}

/// Makes a store of an empty file.
fn fill(path: &Path, signer: &LogSigner) -> Result<(), StoreError> {
    let mut db = open_file(path)?;
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    let transaction = db.transaction()?;
    schema::create(&transaction)?;
    log::begin(&transaction, signer)?;
    transaction.commit()?;
    db.close().map_err(|(_, error)| error.into())
}

fn open_file(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(PATIENCE)?;
    Ok(db)
}

/// A connection that waits for others, believes nothing that the file says about how it is to be read, and flushes.
fn connect(path: &Path, cache: i64) -> Result<Connection, StoreError> {
    let db = open_file(path)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    db.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE)?;
    db.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    db.set_prepared_statement_cache_capacity(64);
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "mmap_size", 0)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "cache_size", -cache)?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    if db.is_readonly("main")? {
        return Err(bad("its file", "cannot be written"));
    }
    Ok(db)
}

impl Store for Sqlite {
    fn commit(&self, change: &[Op]) -> Result<Vec<Position>, CommitError> {
        self.committer.commit(change).map_err(|error| match error {
            CommitError::Store(error) => within(&self.path, error).into(),
            other => other,
        })
    }

    fn request(&self, request: &RequestId) -> Result<Option<RequestRecord>, StoreError> {
        self.read(|db| read::request(db, request))
    }

    fn open_requests(&self) -> Result<Vec<RequestId>, StoreError> {
        self.read(read::open_requests)
    }

    fn grant(&self, request: &RequestId) -> Result<Option<GrantRecord>, StoreError> {
        self.read(|db| read::grant(db, request))
    }

    fn live_grants(&self, now: UnixTime) -> Result<Vec<GrantRecord>, StoreError> {
        self.read(|db| read::live_grants(db, now))
    }

    fn counter(&self, key: &Fingerprint) -> Result<Option<Counter>, StoreError> {
        self.read(|db| read::counter(db, key))
    }

    fn debts(&self, resource: &Resource) -> Result<Vec<RequestId>, StoreError> {
        self.read(|db| read::debts(db, resource))
    }

    fn trust(&self) -> Result<Option<TrustVersion>, StoreError> {
        self.read(trust::newest)
    }

    fn trust_files(&self, version: &TrustVersion) -> Result<Option<Files>, StoreError> {
        self.read(|db| trust::files(db, version))
    }

    fn receipt(&self, position: Position, witnesses: &Witnesses) -> Result<Receipt, StoreError> {
        self.read(|db| log::receipt(db, position, &self.key, witnesses))
    }

    fn about(&self, request: &RequestId) -> Result<Vec<Position>, StoreError> {
        self.read(|db| log::about(db, request))
    }

    fn checkpoint(&self) -> Result<SignedCheckpoint, StoreError> {
        self.read(|db| log::checkpoint(db, &self.key))
    }

    fn checkpoints(&self, from: u64, most: usize) -> Result<Vec<String>, StoreError> {
        self.read(|db| log::checkpoints(db, from, most))
    }

    fn witness(&self, seen: &SignedCheckpoint) -> Result<(), StoreError> {
        self.committer.witness(seen).map_err(|error| within(&self.path, error))
    }

    fn lines(&self, from: u64, most: usize) -> Result<Vec<String>, StoreError> {
        self.read(|db| log::lines(db, from, most))
    }

    fn hash(&self, level: u32, index: u64) -> Result<Sha256Digest, StoreError> {
        self.read(|db| log::Table(db).hash(level, index).map_err(|error| bad("the log", error.to_string())))
    }
}
