//! The files of a version as they lie in a directory, and what may lie there.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::trust::TrustError;

/// The most bytes in one file of trust: a certificate with many user ids and third-party signatures.
pub const MAX_FILE: u64 = 1 << 20;
/// The most files: a hundred thousand people, two tokens each, a certificate and an attestation for each token.
pub const MAX_FILES: usize = 500_000;

/// The most bytes in all of them: what so many ordinary certificates and attestations take.
const MAX_TOTAL: usize = 1 << 30;

/// The files of one version, by path below the directory, as they are hashed.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Reads exactly policy.toml, people/* and tokens/*; everything else but `versions/` is an error.
///
/// # Errors
/// [`TrustError::Stray`] and [`TrustError::Unreadable`].
pub fn read_directory(directory: &Path) -> Result<Files, TrustError> {
    let mut files = Files::new();
    let mut room = MAX_TOTAL;
    for (name, path, kind) in entries(directory)? {
        match name.as_str() {
            "policy.toml" => read_file(&path, name, kind, &mut files, &mut room)?,
            "people" | "tokens" if kind.is_dir() => {
                for (inner, path, kind) in entries(&path)? {
                    read_file(&path, format!("{name}/{inner}"), kind, &mut files, &mut room)?;
                }
            }
            "versions" if kind.is_dir() => {}
            _ => {
                return Err(TrustError::Stray { path: name, what: "does not belong into a trust directory" });
            }
        }
    }
    Ok(files)
}

fn entries(directory: &Path) -> Result<Vec<(String, PathBuf, fs::FileType)>, TrustError> {
    let unreadable = |error| TrustError::Unreadable { path: directory.to_owned(), error };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_name(&name) {
            return Err(TrustError::Stray {
                path: name,
                what: "names hold a-z 0-9 . _ - and begin with no dot",
            });
        }
        if found.len() >= MAX_FILES {
            return Err(TrustError::Stray { path: name, what: "is one file too many" });
        }
        // `file_type` does not follow symbolic links.
        found.push((name, entry.path(), entry.file_type().map_err(unreadable)?));
    }
    Ok(found)
}

fn read_file(
    path: &Path,
    name: String,
    kind: fs::FileType,
    files: &mut Files,
    room: &mut usize,
) -> Result<(), TrustError> {
    if !kind.is_file() {
        return Err(TrustError::Stray { path: name, what: "is not a regular file" });
    }
    let unreadable = |error| TrustError::Unreadable { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    fs::File::open(path)
        .map_err(unreadable)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(TrustError::Stray { path: name, what: "is larger than a mebibyte" });
    }
    *room = room.checked_sub(bytes.len()).ok_or_else(|| TrustError::Stray {
        path: name.clone(),
        what: "is one too many: together the files are too large",
    })?;
    files.insert(name, bytes);
    Ok(())
}

/// Exactly policy.toml, people/NAME and tokens/NAME, wherever the files come from.
pub(super) fn check_paths(files: &Files) -> Result<(), TrustError> {
    match files.keys().find(|path| !is_path(path)) {
        Some(path) => {
            Err(TrustError::Stray { path: path.clone(), what: "does not belong into a trust directory" })
        }
        None => Ok(()),
    }
}

/// Whether a file of trust may lie there.
pub(crate) fn is_path(path: &str) -> bool {
    match path.split_once('/') {
        None => path == "policy.toml",
        Some((folder, name)) => matches!(folder, "people" | "tokens") && is_name(name),
    }
}

/// Whether a file of trust may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    !name.is_empty() && name.bytes().all(allowed) && !name.starts_with('.')
}
