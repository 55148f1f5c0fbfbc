//! The program that is to run: found and opened before anybody is asked, looked at again before it is started.
//!
//! What the approvers see is the command line. That the program behind its first word stays the one that was there
//! when they were asked is held as far as the system allows: see `docs/run.md`.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Access, OFlags, access};

use crate::cli::report::{Failure, printable};
use crate::cli::sealed::hash;
use crate::digest::Sha256Digest;

/// How a program begins that the kernel starts without an interpreter that would open it a second time.
const ELF: &[u8] = b"\x7fELF";

/// A program that was found and opened.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    file: File,
    seen: Seen,
    /// Whether it can be started by way of the open file: a script's interpreter opens it by its path.
    binary: bool,
}

/// What is known of a file's content and of which file it is.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    mode: u32,
    /// Of programs that may be read.
    digest: Option<Sha256Digest>,
}

impl Program {
    /// Finds the program that the first word of a command line names: a path, or a name to be looked for in PATH.
    ///
    /// # Errors
    /// If there is none that may be executed.
    pub(super) fn find(word: &OsStr) -> Result<Self, Failure> {
        let missing = || {
            Failure::failed("not-started", format!("{}: no such program", printable(&word.to_string_lossy())))
                .hint("nothing was asked; check its path and its x permission")
        };
        let path = locate(word).ok_or_else(missing)?;
        let unreadable = |error: io::Error| {
            Failure::failed("not-started", format!("{}: {error}", printable(&path.to_string_lossy())))
                .hint("nothing was asked; check the program")
        };
        let (file, readable) = open(&path).map_err(unreadable)?;
        let seen = Seen::of(&file, readable).map_err(unreadable)?;
        let mut head = Vec::new();
        if readable {
            (&file).rewind().map_err(unreadable)?;
            (&file).take(ELF.len() as u64).read_to_end(&mut head).map_err(unreadable)?;
        }
        // A script that nobody may read cannot be run by its interpreter either.
        let binary = !readable || head == ELF;
        Ok(Self { path, file, seen, binary })
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the program that would be started is still the one that was found, to the byte.
    ///
    /// # Errors
    /// If another one stands in its place, or it was changed.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let path = || printable(&self.path.to_string_lossy());
        let changed = |why: String| {
            Failure::failed("program-changed", format!("{}: {why} while the approval was awaited", path()))
                .hint("nothing was run; see who changed it, then run it again")
        };
        let again = open(&self.path).and_then(|(file, readable)| Seen::of(&file, readable));
        match again {
            Err(error) => Err(changed(format!("{error}, which it was not"))),
            Ok(seen) if seen == self.seen => Ok(()),
            Ok(seen) if (seen.device, seen.inode) == (self.seen.device, self.seen.inode) => {
                Err(changed("the program was changed".into()))
            }
            Ok(_) => Err(changed("another program was put in its place".into())),
        }
    }

    /// Replaces this process by the program. Returns only if that failed.
    pub(super) fn start(&self, command: &[OsString], further: impl FnOnce(&mut Command)) -> io::Error {
        let Some((name, rest)) = command.split_first() else { return io::ErrorKind::InvalidInput.into() };
        // The very file that was looked at, whatever stands at its path by now.
        let opened = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let path = if self.binary && Path::new(&opened).exists() { Path::new(&opened) } else { &self.path };
        let mut command = Command::new(path);
        further(command.arg0(name).args(rest));
        command.exec()
    }
}

impl Seen {
    fn of(file: &File, readable: bool) -> io::Result<Self> {
        let digest = if readable { Some(hash(file)?) } else { None };
        // After its content was read: what is changed meanwhile shows.
        let found = file.metadata()?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            mode: found.mode(),
            digest,
        })
    }
}

/// The file, and whether it may be read: some programs may only be executed.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let bits = |flags: OFlags| i32::try_from(flags.bits()).unwrap_or_default();
    let opened =
        OpenOptions::new().read(true).custom_flags(bits(OFlags::NONBLOCK | OFlags::NOCTTY)).open(path);
    match opened {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            Ok((File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?), false))
        }
        opened => Ok((opened?, true)),
    }
}

fn locate(word: &OsStr) -> Option<PathBuf> {
    let runs = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if word.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(word)).filter(runs);
    }
    if word.is_empty() {
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An empty entry is the working directory, and must not be looked for in PATH again.
    std::env::split_paths(&path).map(|folder| Path::new(".").join(folder).join(word)).find(runs)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        let sh = Program::find(OsStr::new("sh")).unwrap();
        assert!(sh.binary && sh.path().is_absolute(), "{sh:?}");
        assert!(sh.check().is_ok());
        for none in ["", "/", ".", "no-such-program", "/etc/passwd"] {
            assert_eq!(Program::find(OsStr::new(none)).unwrap_err().code, "not-started", "{none}");
        }
    }

    #[test]
    fn a_program_that_is_changed_or_replaced_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let changes: [(&str, &dyn Fn()); 6] = [
            ("edited", &|| script(&at("a"), "#!/bin/sh\nexit 1\n")),
            ("renamed over", &|| {
                script(&at("b"), "#!/bin/sh\nexit 0\n");
                fs::rename(at("b"), at("a")).unwrap();
            }),
            ("gone", &|| fs::remove_file(at("a")).unwrap()),
            ("a link", &|| {
                script(&at("c"), "#!/bin/sh\nexit 0\n");
                fs::remove_file(at("a")).unwrap();
                std::os::unix::fs::symlink(at("c"), at("a")).unwrap();
            }),
            ("truncated", &|| File::options().write(true).open(at("a")).unwrap().set_len(5).unwrap()),
            ("setuid", &|| fs::set_permissions(at("a"), fs::Permissions::from_mode(0o4755)).unwrap()),
        ];
        for (what, change) in changes {
            let _ = fs::remove_file(at("a"));
            script(&at("a"), "#!/bin/sh\nexit 0\n");
            let found = Program::find(at("a").as_os_str()).unwrap();
            assert!(!found.binary && found.check().is_ok(), "{what}");
            change();
            assert_eq!(found.check().unwrap_err().code, "program-changed", "{what}");
        }
    }
}
