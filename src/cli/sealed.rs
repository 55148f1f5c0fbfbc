//! Files that a request names by their content: copied once, sealed, and handed to the command as that copy.
//!
//! Who swaps, edits or truncates the file after it was copied changes nothing that runs: what was hashed, and so
//! approved, is the copy, and the copy is what the command opens.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fchmod, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use crate::digest::Sha256Digest;
use crate::request::{ParameterName, Parameters};
use crate::text::Text;

/// The most bytes in one file: a machine's whole image. It bounds what a file that grows for ever can do here.
const MAX_FILE: u64 = 64 << 30;
/// Larger copies lie on the disk, since a sealed one is held in memory.
const MAX_IN_MEMORY: u64 = 256 << 20;
/// Copies are handed over at this descriptor and above: shells keep the numbers below for their own redirections.
const FIRST_DESCRIPTOR: i32 = 20;
/// Where descriptors have paths.
const DESCRIPTORS: &str = "/proc/self/fd";
/// How the variables begin that name the copies.
const VARIABLE: &str = "TOUCHGATE_FILE_";

/// Why a file cannot be handed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    /// The copy could not be made.
    #[error("{}: no private copy of it can be made: {error}", path.display())]
    Copy {
        /// Of what.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A device, a pipe, a directory.
    #[error("{}: not a regular file", path.display())]
    NotRegular {
        /// What it was.
        path: PathBuf,
    },
    /// More than [`MAX_FILE`] bytes.
    #[error("{}: more than {MAX_FILE} bytes", path.display())]
    TooLarge {
        /// What it was.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// What it was.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

/// A file's content as it was when it was read, which nobody can change any more.
#[derive(Debug)]
pub(super) struct Sealed {
    file: OwnedFd,
    digest: Sha256Digest,
}

/// Where a copy lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Medium {
    /// A file without a name on a disk. Nobody can open it but by way of this process.
    Disk,
    /// Memory that the kernel lets nobody write to.
    Memory,
}

impl Sealed {
    /// Copies the regular file at `path`, of which symbolic links may be a part, and hashes the copy.
    ///
    /// # Errors
    /// Any [`SealError`].
    pub(super) fn copy(path: &Path) -> Result<Self, SealError> {
        let unreadable = |error| SealError::Unreadable { path: path.to_owned(), error };
        // Not waiting: a pipe that nobody writes to would hold us for ever.
        let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
        let source = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
        // Of what was opened, whatever stands at the path by now.
        let found = source.metadata().map_err(unreadable)?;
        if !found.is_file() {
            return Err(SealError::NotRegular { path: path.to_owned() });
        }
        let medium = if found.len() <= MAX_IN_MEMORY { Medium::Memory } else { Medium::Disk };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::FileTooLarge => SealError::TooLarge { path: path.to_owned() },
            _ => SealError::Copy { path: path.to_owned(), error },
        };
        Self::of(source, medium).map_err(failed)
    }

    /// Text of our own for the command to read, by the same means.
    ///
    /// # Errors
    /// Whatever the system gives.
    pub(super) fn text(text: &[u8]) -> io::Result<Self> {
        Self::of(text, Medium::Memory)
    }

    fn of(source: impl io::Read, medium: Medium) -> io::Result<Self> {
        let memory = if medium == Medium::Memory { in_memory()? } else { None };
        let sealable = memory.is_some();
        let mut copy = match memory {
            Some(copy) => copy,
            None => on_disk()?,
        };
        if io::copy(&mut source.take(MAX_FILE + 1), &mut copy)? > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // Executable, so that a script or program may be given as a file too.
        fchmod(&copy, Mode::RUSR | Mode::XUSR)?;
        if sealable {
            fcntl_add_seals(&copy, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        }
        // Open for reading alone, and only now hashed: what is read here is what can be read later.
        let read_only = File::open(format!("{DESCRIPTORS}/{}", copy.as_raw_fd()))?;
        drop(copy);
        let digest = hash(&read_only)?;
        (&read_only).rewind()?;
        Ok(Self { file: fcntl_dupfd_cloexec(&read_only, FIRST_DESCRIPTOR)?, digest })
    }

    /// Where the command finds the copy.
    pub(super) fn path(&self) -> String {
        format!("{DESCRIPTORS}/{}", self.file.as_raw_fd())
    }

    /// Lets the program that replaces this one inherit the copy.
    ///
    /// # Errors
    /// Whatever the system gives.
    pub(super) fn hand_over(&self) -> io::Result<()> {
        Ok(fcntl_setfd(self.file.as_fd(), FdFlags::empty())?)
    }
}

/// Memory that can be sealed; nothing, where the system has none.
fn in_memory() -> io::Result<Option<File>> {
    let basic = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Executable where the system has to be told (Linux 6.3), not where it forbids that (vm.memfd_noexec = 2).
    for flags in [basic | MemfdFlags::EXEC, basic, basic | MemfdFlags::NOEXEC_SEAL] {
        match memfd_create("touchgate", flags) {
            Ok(file) => return Ok(Some(File::from(file))),
            Err(Errno::INVAL | Errno::ACCESS) => {}
            Err(Errno::NOSYS | Errno::PERM) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// A file that never had a name.
fn on_disk() -> io::Result<File> {
    let folder = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty());
    let folder = folder.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::EXCL;
    Ok(File::from(rustix::fs::open(&folder, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Hashes a file from its beginning on, by a descriptor of its own.
pub(super) fn hash(mut file: &File) -> io::Result<Sha256Digest> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => context.update(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let bytes: [u8; 32] = context.finish().as_ref().try_into().expect("SHA-256 yields 32 bytes");
    Ok(bytes.into())
}

/// The files that came with one request, by the parameter that states their digest.
#[derive(Debug, Default)]
pub(super) struct SealedFiles(BTreeMap<ParameterName, Sealed>);

impl SealedFiles {
    /// Adds a file; false if there is one of that name.
    pub(super) fn insert(&mut self, name: ParameterName, file: Sealed) -> bool {
        self.0.insert(name, file).is_none()
    }

    /// What the request states of them.
    pub(super) fn parameters(&self) -> Parameters {
        let value = |file: &Sealed| Text::new(file.digest.to_string()).expect("a digest is printable");
        self.0.iter().map(|(name, file)| (name.clone(), value(file))).collect()
    }

    /// The command line with each `{name}` replaced by the path of that copy, wherever in a word it stands.
    pub(super) fn fill_in(&self, command: &[OsString]) -> Vec<OsString> {
        let fill = |word: &OsString| {
            let filled = self.0.iter().fold(word.as_bytes().to_vec(), |word, (name, file)| {
                replace(&word, placeholder(name).as_bytes(), file.path().as_bytes())
            });
            OsString::from_vec(filled)
        };
        command.iter().map(fill).collect()
    }

    /// The first `{name}` in the command line that names a parameter but no file: it would be approved as if it
    /// stood for one.
    pub(super) fn mistaken(&self, command: &[OsString], stated: &Parameters) -> Option<ParameterName> {
        let stands = |name: &ParameterName| {
            let placeholder = placeholder(name);
            command.iter().any(|word| find(word.as_bytes(), placeholder.as_bytes()).is_some())
        };
        stated.keys().find(|name| !self.0.contains_key(*name) && stands(name)).cloned()
    }

    /// The variables by which the command finds the copies, one each.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, file)| (variable(name), file.path())).collect()
    }

    /// Two files that would have one variable.
    pub(super) fn collision(&self) -> Option<(&ParameterName, &ParameterName)> {
        let mut names: BTreeMap<String, &ParameterName> = BTreeMap::new();
        self.0.keys().find_map(|name| names.insert(variable(name), name).map(|other| (other, name)))
    }

    /// Lets the program that replaces this one inherit the copies.
    ///
    /// # Errors
    /// Whatever the system gives.
    pub(super) fn hand_over(&self) -> io::Result<()> {
        self.0.values().try_for_each(Sealed::hand_over)
    }
}

fn placeholder(name: &ParameterName) -> String {
    format!("{{{name}}}")
}

fn variable(name: &ParameterName) -> String {
    format!("{VARIABLE}{}", name.as_str().to_ascii_uppercase().replace('-', "_"))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn replace(mut bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::new();
    while let Some(at) = find(bytes, what) {
        let (before, rest) = bytes.split_at(at);
        replaced.extend_from_slice(before);
        replaced.extend_from_slice(with);
        bytes = rest.get(what.len()..).unwrap_or_default();
    }
    replaced.extend_from_slice(bytes);
    replaced
}

/// Whether a variable of our environment would pass for one of [`SealedFiles::variables`].
pub(super) fn is_variable(name: &OsStr) -> bool {
    name.as_bytes().starts_with(VARIABLE.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const APPROVED: &[u8] = b"#!/bin/sh\necho approved # by people who were asked\n";

    fn read(sealed: &Sealed) -> Vec<u8> {
        fs::read(sealed.path()).unwrap()
    }

    fn name(text: &str) -> ParameterName {
        text.parse().unwrap()
    }

    #[test]
    fn a_copy_is_what_was_hashed_and_nobody_can_write_to_it() {
        for medium in [Medium::Memory, Medium::Disk] {
            let sealed = Sealed::of(APPROVED, medium).unwrap();
            assert_eq!(sealed.digest, Sha256Digest::of(APPROVED));
            assert_eq!(read(&sealed), APPROVED);
            assert!(sealed.file.as_raw_fd() >= FIRST_DESCRIPTOR);
            // By what the command inherits.
            let inherited = File::from(sealed.file.try_clone().unwrap());
            assert!(inherited.write_at(b"X", 0).is_err() && inherited.set_len(0).is_err(), "{medium:?}");
            let found = inherited.metadata().unwrap();
            assert_eq!((found.nlink(), found.mode() & 0o777), (0, 0o500), "{medium:?}");
            // By root or its owner, who may change its mode and open it anew: memory is sealed even so.
            if medium == Medium::Memory {
                fchmod(&sealed.file, Mode::RWXU).unwrap();
                let again = OpenOptions::new().write(true).open(sealed.path());
                assert!(again.is_err() || again.unwrap().write_at(b"X", 0).is_err());
            }
            assert_eq!(read(&sealed), APPROVED);
        }
    }

    #[test]
    fn only_regular_files_are_copied_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        fs::create_dir(at("folder")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for bad in [at("pipe"), at("folder"), PathBuf::from("/dev/zero")] {
            let error = Sealed::copy(&bad).unwrap_err();
            assert!(matches!(error, SealError::NotRegular { .. }), "{bad:?}: {error}");
        }
        for bad in [at("missing"), at("dangling"), at("loop")] {
            let error = Sealed::copy(&bad).unwrap_err();
            assert!(matches!(error, SealError::Unreadable { .. }), "{bad:?}: {error}");
        }
        fs::write(at("file"), APPROVED).unwrap();
        symlink("file", at("link")).unwrap();
        assert_eq!(Sealed::copy(&at("link")).unwrap().digest, Sha256Digest::of(APPROVED));
        // Empty is a content too.
        fs::write(at("file"), b"").unwrap();
        assert_eq!(Sealed::copy(&at("link")).unwrap().digest, Sha256Digest::of(b""));
    }

    #[test]
    fn placeholders_are_filled_in_and_those_of_no_file_are_found() {
        let mut files = SealedFiles::default();
        assert!(files.insert(name("image"), Sealed::of(APPROVED, Medium::Memory).unwrap()));
        assert!(files.insert(name("a-b"), Sealed::of(&b"x"[..], Medium::Memory).unwrap()));
        assert!(!files.insert(name("a-b"), Sealed::of(&b"x"[..], Medium::Memory).unwrap()));
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let (image, other) = (files.0[&name("image")].path(), files.0[&name("a-b")].path());
        let filled = files.fill_in(&words(&["x", "--file={image}", "{a-b}{image}{}", "{other}", "{image"]));
        let expected = ["x", &format!("--file={image}"), &format!("{other}{image}{{}}"), "{other}", "{image"];
        assert_eq!(filled, words(&expected));
        assert_eq!(
            files.variables(),
            [("TOUCHGATE_FILE_A_B".to_owned(), other), ("TOUCHGATE_FILE_IMAGE".to_owned(), image)]
        );
        let mut stated = files.parameters();
        assert_eq!(stated[&name("image")].as_str(), Sha256Digest::of(APPROVED).to_string());
        stated.insert(name("commit"), Text::new("git:0").unwrap());
        assert_eq!(files.mistaken(&words(&["{image}", "{other}"]), &stated), None);
        assert_eq!(files.mistaken(&words(&["--at={commit}"]), &stated), Some(name("commit")));
        assert_eq!(files.collision(), None);
        files.insert(name("a_b"), Sealed::of(&b"x"[..], Medium::Memory).unwrap());
        assert!(files.collision().is_some());
    }

    /// How often each race is run.
    const TRIES: usize = 1000;

    /// Runs `attack` on the file between the copy, which is when it is approved, and the command, which is a shell
    /// that runs it. Then with another thread that attacks all the time and so meets the copying too: what was
    /// copied torn, or too late, has a digest that nobody approves, and stays that.
    fn race(attack: fn(&Path, &Path)) {
        let folder = tempfile::tempdir().unwrap();
        let (file, evil) = (folder.path().join("file"), folder.path().join("evil"));
        let restore = || {
            let _ = fs::remove_file(&file);
            let _ = fs::write(&file, APPROVED);
        };
        for _ in 0..TRIES {
            restore();
            let sealed = Sealed::copy(&file).unwrap();
            assert_eq!(sealed.digest, Sha256Digest::of(APPROVED));
            sealed.hand_over().unwrap();
            attack(&file, &evil);
            let ran = Command::new("/bin/sh").arg(sealed.path()).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&ran.stdout), "approved\n");
        }
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::SeqCst) {
                    attack(&file, &evil);
                    restore();
                }
            });
            let mut copied = 0;
            while copied < TRIES {
                // It may be away, or a link to nowhere, at this moment.
                let Ok(sealed) = Sealed::copy(&file) else { continue };
                // As the command reads it: by its path, and by what it inherits.
                let mut inherited = Vec::new();
                File::from(sealed.file.try_clone().unwrap()).read_to_end(&mut inherited).unwrap();
                let opened = read(&sealed);
                assert_eq!(Sha256Digest::of(&opened), sealed.digest, "{}", String::from_utf8_lossy(&opened));
                assert_eq!(inherited, opened);
                copied += 1;
            }
            ended.store(true, Ordering::SeqCst);
        });
    }

    const EVIL: &[u8] =
        b"#!/bin/sh\necho evil # other bytes that nobody ever saw or approved, and more of them\n";

    #[test]
    fn a_symbolic_link_that_is_swapped_changes_nothing() {
        race(|file, evil| {
            let _ = fs::write(evil, EVIL);
            let _ = fs::remove_file(file);
            let _ = symlink(evil, file);
        });
    }

    #[test]
    fn a_file_that_is_renamed_over_it_changes_nothing() {
        race(|file, evil| {
            let _ = fs::write(evil, EVIL);
            let _ = fs::rename(evil, file);
        });
    }

    #[test]
    fn a_file_that_is_truncated_changes_nothing() {
        race(|file, _| {
            let _ = OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(9));
        });
    }

    #[test]
    fn a_file_that_is_edited_in_place_changes_nothing() {
        race(|file, _| {
            let opened = OpenOptions::new().write(true).open(file);
            let _ = opened.and_then(|file| file.write_all_at(EVIL, 0));
        });
    }
}
