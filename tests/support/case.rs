//! One case per file: comments, `key: value` headers, then sections of exact bytes.
//!
//! ```text
//! # What this case shows.
//! source: docs/protocol.md, Values
//! expect: spacing
//! --- statement
//! touchgate v1 approve
//! …
//! ```
//!
//! A section reaches from the line after its `--- NAME` to the next such line or to the end of the file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// One file of a folder of cases.
pub(crate) struct Case {
    pub(crate) name: String,
    headers: BTreeMap<String, String>,
    pub(crate) sections: Vec<(String, Vec<u8>)>,
}

impl Case {
    /// The value of a header; a case without it is a broken case.
    pub(crate) fn header(&self, key: &str) -> &str {
        self.headers.get(key).unwrap_or_else(|| panic!("{}: no header {key:?}", self.name))
    }

    fn parse(name: String, bytes: &[u8]) -> Self {
        let (mut headers, mut sections) = (BTreeMap::new(), Vec::<(String, Vec<u8>)>::new());
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            if let Some(title) = line.strip_prefix(b"--- ").and_then(|rest| rest.strip_suffix(b"\n")) {
                sections.push((String::from_utf8(title.to_vec()).unwrap(), Vec::new()));
            } else if let Some((_, body)) = sections.last_mut() {
                body.extend_from_slice(line);
            } else {
                let line = std::str::from_utf8(line).unwrap().trim_end();
                if line.starts_with("# ") {
                    continue;
                }
                let (key, value) =
                    line.split_once(": ").unwrap_or_else(|| panic!("{name}: {line:?} is no header"));
                let twice = headers.insert(key.to_owned(), value.to_owned());
                assert!(twice.is_none(), "{name}: header {key:?} twice");
            }
        }
        assert!(!sections.is_empty() && headers.contains_key("source"), "{name}: no source or no section");
        Self { name, headers, sections }
    }
}

/// Where the data lies.
pub(crate) fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder)
}

/// Every `*.case` below `fixtures/FOLDER`, by name.
pub(crate) fn cases(folder: &str) -> Vec<Case> {
    let paths = fs::read_dir(fixtures(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "case")).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no cases in {folder}");
    let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| Case::parse(name(path), &fs::read(path).unwrap())).collect()
}

/// The codes that a `fn code` writes, read from the source itself, so that no list can fall behind.
pub(crate) fn codes(source: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(source);
    let text = fs::read_to_string(path).unwrap();
    let (_, body) = text.split_once("pub fn code(").unwrap();
    let (body, _) = body.split_once("\n    }\n").unwrap();
    let arms = body.split("=> \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    let mut codes: Vec<String> = arms.collect();
    codes.sort();
    codes.dedup();
    assert!(!codes.is_empty(), "no codes in {source}");
    codes
}
