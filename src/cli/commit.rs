//! Which commit is checked out here, said only where the files that git tracks are exactly that commit's.
//!
//! The tree may be anybody's, so nothing that its configuration names is run: files are compared by
//! their content, without filters, and git gets none of the variables that could show it another tree.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::request::is_immutable;
use crate::text::Text;

/// What the statement may say of the checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checkout {
    /// This commit, and no tracked file differs from it.
    Commit(String),
    /// Nothing, and why.
    Unstated(&'static str),
}

/// The commit of HEAD, whatever the files are: `git:` and its name.
fn head() -> Option<String> {
    let commit = format!("git:{}", git(&["rev-parse", "--verify", "HEAD^{commit}"])?.trim());
    Text::new(commit.as_str()).is_ok_and(|text| is_immutable(&text)).then_some(commit)
}

/// The commit of HEAD, if every tracked file is that commit's, nothing untracked lies beside them, and no
/// word of `command` names a file in the tree that git ignores. Other ignored files are not looked at.
pub(super) fn checked_out<W: AsRef<OsStr>>(command: &[W]) -> Checkout {
    let stated = || -> Result<String, &'static str> {
        let commit = head().ok_or("this is no git tree with a commit")?;
        let top = git(&["rev-parse", "--show-toplevel"]).ok_or("git does not say where the tree begins")?;
        let top =
            fs::canonicalize(top.trim_end_matches('\n')).map_err(|_| "git names a tree that is not there")?;
        let here = std::env::current_dir()
            .and_then(fs::canonicalize)
            .map_err(|_| "there is no working directory")?;
        if !here.starts_with(&top) {
            return Err("git is set to look at another tree");
        }
        let tracked = tracked(&commit)?;
        let others = git(&["-C", &top.to_string_lossy(), "ls-files", "--others", "--exclude-standard", "-z"]);
        if others.is_none_or(|others| !others.is_empty()) {
            return Err("there are files that git does not track");
        }
        check_files(&top, &tracked)?;
        check_words(&top, &here, command, &tracked)?;
        Ok(commit)
    };
    stated().map_or_else(Checkout::Unstated, Checkout::Commit)
}

/// A file as the commit has it.
struct Entry {
    mode: String,
    object: String,
}

fn tracked(commit: &str) -> Result<BTreeMap<PathBuf, Entry>, &'static str> {
    let commit = commit.trim_start_matches("git:");
    let listed = git_bytes(&["ls-tree", "-r", "-z", "--full-tree", commit])
        .ok_or("git does not list the commit's files")?;
    let mut entries = BTreeMap::new();
    for record in listed.split(|&b| b == 0).filter(|record| !record.is_empty()) {
        let tab = record
            .iter()
            .position(|&b| b == b'\t')
            .ok_or("git lists the commit's files in an unknown form")?;
        let (facts, path) = record.split_at(tab);
        let facts = String::from_utf8_lossy(facts).into_owned();
        let mut words = facts.split(' ');
        let (Some(mode), Some(_), Some(object)) = (words.next(), words.next(), words.next()) else {
            return Err("git lists the commit's files in an unknown form");
        };
        if mode == "160000" {
            return Err("it has submodules, which the commit alone does not fix");
        }
        let path = PathBuf::from(std::ffi::OsString::from_vec(path.get(1..).unwrap_or_default().to_vec()));
        entries.insert(path, Entry { mode: mode.to_owned(), object: object.to_owned() });
    }
    Ok(entries)
}

fn check_files(top: &Path, tracked: &BTreeMap<PathBuf, Entry>) -> Result<(), &'static str> {
    const DIFFERS: &str = "a tracked file differs from the commit";
    let mut regular = Vec::new();
    for (path, entry) in tracked {
        let full = top.join(path);
        let found = fs::symlink_metadata(&full).map_err(|_| DIFFERS)?;
        match entry.mode.as_str() {
            "120000" => {
                let target = fs::read_link(&full).map_err(|_| DIFFERS)?;
                if hash_bytes(target.as_os_str().as_bytes()).as_deref() != Some(entry.object.as_str()) {
                    return Err(DIFFERS);
                }
            }
            mode => {
                let executable = found.permissions().mode() & 0o100 != 0;
                if !found.is_file() || executable != (mode == "100755") {
                    return Err(DIFFERS);
                }
                if path.as_os_str().as_bytes().contains(&b'\n') {
                    return Err("a tracked file has a line feed in its name");
                }
                regular.push((full, entry));
            }
        }
    }
    let hashes = hash_files(&regular.iter().map(|(path, _)| path.as_path()).collect::<Vec<_>>());
    let hashes = hashes.ok_or("git does not hash the files")?;
    let mut lines = hashes.lines();
    let all = regular.iter().all(|(_, entry)| lines.next() == Some(entry.object.as_str()));
    if all && lines.next().is_none() { Ok(()) } else { Err(DIFFERS) }
}

/// A word that names a file in the tree must name a tracked one: an ignored one is anything.
fn check_words<W: AsRef<OsStr>>(
    top: &Path,
    here: &Path,
    command: &[W],
    tracked: &BTreeMap<PathBuf, Entry>,
) -> Result<(), &'static str> {
    for word in command {
        let Ok(file) = fs::canonicalize(here.join(word.as_ref())) else { continue };
        if let Ok(inside) = file.strip_prefix(top)
            && file.is_file()
            && !tracked.contains_key(inside)
        {
            return Err("the command names a file that git does not track");
        }
    }
    Ok(())
}

fn hash_files(paths: &[&Path]) -> Option<String> {
    if paths.is_empty() {
        return Some(String::new());
    }
    let mut input = Vec::new();
    for path in paths {
        input.extend_from_slice(path.as_os_str().as_bytes());
        input.push(b'\n');
    }
    feed(&["hash-object", "--no-filters", "--stdin-paths"], input)
}

fn hash_bytes(bytes: &[u8]) -> Option<String> {
    feed(&["hash-object", "--no-filters", "--stdin"], bytes.to_vec()).map(|hash| hash.trim().to_owned())
}

fn feed(arguments: &[&str], input: Vec<u8>) -> Option<String> {
    let mut child = command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let mut stdin = child.stdin.take()?;
    let writer = std::thread::spawn(move || -> io::Result<()> { stdin.write_all(&input) });
    let output = child.wait_with_output().ok()?;
    let written = writer.join().is_ok_and(|written| written.is_ok());
    if written && output.status.success() { String::from_utf8(output.stdout).ok() } else { None }
}

fn git(arguments: &[&str]) -> Option<String> {
    String::from_utf8(git_bytes(arguments)?).ok()
}

fn git_bytes(arguments: &[&str]) -> Option<Vec<u8>> {
    let output = command(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then_some(output.stdout)
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_bytes().starts_with(b"GIT_")) {
        command.env_remove(name);
    }
    command.args(["--no-replace-objects", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]);
    command
        .args(arguments)
        // What is missing in the tree stays missing: to fetch it, its configuration names programs.
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_ALLOW_PROTOCOL", "none")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stderr(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_needs_no_git() {
        assert_eq!(hash_files(&[]).as_deref(), Some(""));
    }
}
