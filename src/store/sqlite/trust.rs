//! The versions of trust that were in force: each file once, however many versions have it.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::challenge::TrustVersion;
use crate::digest::Sha256Digest;
use crate::store::sqlite::bad;
use crate::store::{CommitError, StoreError};
use crate::trust::versions::digest;
use crate::trust::{Files, MAX_FILE, MAX_FILES};

/// Keeps the files of a version that follows `before`, the newest.
///
/// # Errors
/// [`CommitError::Overtaken`] if another is the newest.
pub(super) fn write(
    db: &Connection,
    before: Option<TrustVersion>,
    version: &TrustVersion,
    files: &Files,
) -> Result<(), CommitError> {
    if digest(files) != version.digest {
        return Err(bad(&named(version), "has a digest that its files have not").into());
    }
    if files.len() > MAX_FILES || files.values().any(|bytes| bytes.len() as u64 > MAX_FILE) {
        return Err(bad(&named(version), "is larger than trust may be").into());
    }
    let number = i64::try_from(version.number)
        .map_err(|_| bad(&named(version), "has a number that nobody counts to"))?;
    if newest(db)? != before {
        return Err(CommitError::Overtaken);
    }
    if let Some(before) = before.filter(|before| before.number >= version.number) {
        return Err(bad(&named(version), format!("does not follow version {}", before.number)).into());
    }
    db.execute("INSERT INTO trust VALUES (?1, ?2)", params![number, version.digest.as_bytes()])?;
    for (path, bytes) in files {
        let sha256 = Sha256Digest::of(bytes);
        db.prepare_cached("INSERT INTO content VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![sha256.as_bytes(), bytes])?;
        db.prepare_cached("INSERT INTO trust_file VALUES (?1, ?2, ?3)")?.execute(params![
            number,
            path,
            sha256.as_bytes()
        ])?;
    }
    Ok(())
}

/// The newest version that was in force.
pub(super) fn newest(db: &Connection) -> Result<Option<TrustVersion>, StoreError> {
    let mut read = db.prepare_cached("SELECT number, digest FROM trust ORDER BY number DESC LIMIT 1")?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?));
    let Some((number, digest)) = read.query_row([], row).optional()? else { return Ok(None) };
    let number = u64::try_from(number).ok().filter(|number| *number > 0);
    let number = number.ok_or_else(|| bad("a version of trust", "has no number"))?;
    Ok(Some(TrustVersion { number, digest: digest.into() }))
}

/// The files of a version, which have its digest.
pub(super) fn files(db: &Connection, version: &TrustVersion) -> Result<Option<Files>, StoreError> {
    let Ok(number) = i64::try_from(version.number) else { return Ok(None) };
    let mut read = db.prepare_cached("SELECT 1 FROM trust WHERE number = ?1 AND digest = ?2")?;
    if !read.exists(params![number, version.digest.as_bytes()])? {
        return Ok(None);
    }
    let mut read = db.prepare_cached(
        "SELECT path, bytes FROM trust_file JOIN content USING (sha256) WHERE number = ?1 LIMIT ?2",
    )?;
    let most = i64::try_from(MAX_FILES).unwrap_or(i64::MAX);
    let rows = read.query_map([number, most], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let files = rows.collect::<rusqlite::Result<Files>>()?;
    if digest(&files) != version.digest {
        return Err(bad(&named(version), "has a digest that its files have not"));
    }
    Ok(Some(files))
}

fn named(version: &TrustVersion) -> String {
    format!("version {} of trust", version.number)
}
