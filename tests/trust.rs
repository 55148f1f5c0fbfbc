//! Directories of trust: what they come to, what differs between two, what is wrong with one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "trust/added.rs"]
mod added;
#[path = "trust/differences.rs"]
mod differences;
#[path = "trust/documents.rs"]
mod documents;
#[path = "trust/errors.rs"]
mod errors;
#[path = "trust/explained.rs"]
mod explained;
#[path = "trust/odd.rs"]
mod odd;

use std::path::{Path, PathBuf};

use touchgate::trust::{self, Files, Trust};

fn team() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trust/team")
}

/// The test team's directory, with some text exchanged: file, what stands there, what is to stand there.
fn files(edits: &[(&str, &str, &str)]) -> Files {
    let mut files = trust::read_directory(&team()).unwrap();
    for (path, from, to) in edits {
        let text = String::from_utf8(files[*path].clone()).unwrap();
        assert!(text.contains(from), "{path} does not hold {from:?}:\n{text}");
        files.insert((*path).to_owned(), text.replacen(from, to, 1).into_bytes());
    }
    files
}

fn load(files: &Files) -> Trust {
    Trust::from_files(files).unwrap_or_else(|error| panic!("{error}"))
}
