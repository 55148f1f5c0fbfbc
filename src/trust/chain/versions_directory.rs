//! What lies below `versions/`: `N.json`, an update that was signed, and `N.partial.json`, one that is being signed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use crate::evidence::MAX_EVIDENCE;
use crate::trust::chain::ChainError;

/// The most files there: an update a day for a quarter of a century.
const MAX_VERSIONS: usize = 10_000;

/// The names below one `versions/`. The files themselves are read when they are needed.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    directory: PathBuf,
    signed: BTreeSet<u64>,
    partial: BTreeSet<u64>,
}

impl Versions {
    /// Looks at `versions/` below a directory of trust; without one there are no updates.
    ///
    /// # Errors
    /// [`ChainError::Stray`] for anything but regular files of the two names, [`ChainError::Unreadable`].
    pub fn read_directory(trust: &Path) -> Result<Self, ChainError> {
        let directory = trust.join("versions");
        let unreadable = |error| ChainError::Unreadable { path: "versions".into(), error };
        let mut versions = Self { directory, ..Self::default() };
        match fs::symlink_metadata(&versions.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(versions),
            Err(error) => return Err(unreadable(error)),
            Ok(found) if !found.is_dir() => {
                return Err(ChainError::Stray { path: "versions".into(), what: "is not a directory" });
            }
            Ok(_) => {}
        }
        for (count, entry) in fs::read_dir(&versions.directory).map_err(unreadable)?.enumerate() {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let stray = |what| Err(ChainError::Stray { path: format!("versions/{name}"), what });
            if count >= MAX_VERSIONS {
                return stray("is one file too many");
            }
            // Does not follow symbolic links.
            if !entry.file_type().map_err(unreadable)?.is_file() {
                return stray("is not a regular file");
            }
            match parse_name(&name) {
                None => return stray("is neither N.json nor N.partial.json"),
                Some((1, _)) => return stray("is the first version, and no update leads to it"),
                Some((number, true)) => versions.signed.insert(number),
                Some((number, false)) => versions.partial.insert(number),
            };
        }
        // Which of the two holds? Whoever signed last removed the other one.
        if let Some(number) = versions.partial.intersection(&versions.signed).next() {
            let path = format!("versions/{number}.partial.json");
            return Err(ChainError::Stray { path, what: "is still there though the update was signed" });
        }
        Ok(versions)
    }

    /// The newest to which an update leads.
    pub fn newest(&self) -> Option<u64> {
        self.signed.last().copied()
    }

    /// Where the update that leads to this version lies, there or not.
    pub fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number}.json"))
    }

    /// Where the update that leads to this version is being signed, there or not.
    pub fn partial_path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number}.partial.json"))
    }

    /// The update that leads to this version, if it was signed.
    ///
    /// # Errors
    /// [`ChainError::Unreadable`].
    pub fn read(&self, number: u64) -> Result<Option<Vec<u8>>, ChainError> {
        if !self.signed.contains(&number) {
            return Ok(None);
        }
        read(&self.path(number), format!("versions/{number}.json")).map(Some)
    }

    /// The update that leads to this version and is being signed.
    ///
    /// # Errors
    /// [`ChainError::Unreadable`].
    pub fn read_partial(&self, number: u64) -> Result<Option<Vec<u8>>, ChainError> {
        if !self.partial.contains(&number) {
            return Ok(None);
        }
        read(&self.partial_path(number), format!("versions/{number}.partial.json")).map(Some)
    }
}

/// At most one byte more than evidence may have: whoever parses it then sees that it is too large.
fn read(path: &Path, name: String) -> Result<Vec<u8>, ChainError> {
    let mut bytes = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(MAX_EVIDENCE as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| ChainError::Unreadable { path: name, error })?;
    Ok(bytes)
}

/// The number in a name, in its one spelling, and whether the update is signed.
fn parse_name(name: &str) -> Option<(u64, bool)> {
    let stem = name.strip_suffix(".json")?;
    let (digits, signed) = match stem.strip_suffix(".partial") {
        Some(digits) => (digits, false),
        None => (stem, true),
    };
    let number: u64 = digits.parse().ok()?;
    (number > 0 && number.to_string() == digits).then_some((number, signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_name() {
        assert_eq!(parse_name("8.json"), Some((8, true)));
        assert_eq!(parse_name("8.partial.json"), Some((8, false)));
        for bad in [
            "",
            ".json",
            "0.json",
            "08.json",
            "+8.json",
            "-8.json",
            "8",
            "8.jsonx",
            "8.JSON",
            "8.json.bak",
            "8.partial",
            "8.partial.partial.json",
            "8 .json",
            "18446744073709551616.json",
            "8.5.json",
        ] {
            assert_eq!(parse_name(bad), None, "{bad}");
        }
    }
}
