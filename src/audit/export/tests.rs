//! A log that grows, exported at every step, read back and tampered with.

use std::fs;

use super::*;
use crate::audit::LogSigner;
use crate::audit::tree::{Tree, consistency, inclusion, verify_consistency, verify_inclusion};

struct Log {
    lines: Vec<Vec<u8>>,
    tree: Tree,
    signer: LogSigner,
}

impl Log {
    fn new(size: u32) -> Self {
        let mut log = Self {
            lines: Vec::new(),
            tree: Tree::default(),
            signer: LogSigner::generate("approve.example.com").unwrap().0,
        };
        log.grow(size);
        log
    }

    fn grow(&mut self, size: u32) {
        for at in self.lines.len()..size as usize {
            let line = format!("entry {at}").into_bytes();
            self.tree.append(leaf_hash(&line));
            self.lines.push(line);
        }
    }

    fn checkpoint(&self) -> SignedCheckpoint {
        self.signer.sign(self.tree.size(), self.tree.root())
    }

    fn export(&self, folder: &Path) -> Result<Written, ExportError> {
        export(folder, self, &self.checkpoint())
    }

    fn open(&self, folder: &Path) -> Export {
        Export::open(folder, self.signer.key(), &Witnesses::default()).unwrap()
    }
}

impl Hashes for Log {
    fn hash(&self, level: u32, index: u64) -> Result<Sha256Digest, TreeError> {
        self.tree.hash(level, index)
    }
}

impl Entries for Log {
    fn entries(&self, start: u64, end: u64) -> Result<Vec<Vec<u8>>, String> {
        let at = |at: u64| usize::try_from(at).unwrap();
        self.lines.get(at(start)..at(end)).map(<[_]>::to_vec).ok_or_else(|| "beyond the end".to_owned())
    }
}

fn read_all(export: &Export) -> Result<Vec<Vec<u8>>, ExportError> {
    let mut seen = Vec::new();
    export.verify(|index, entry| {
        assert_eq!(index, seen.len() as u64);
        seen.push(entry.to_vec());
    })?;
    Ok(seen)
}

/// Every file below, by its path.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn a_growing_log_is_exported_step_by_step_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::new(0);
    let mut old: Option<Export> = None;
    for size in [0, 1, 17, 255, 256, 257, 511, 600, 600, 1024] {
        log.grow(size);
        log.export(folder.path()).unwrap();
        let new = log.open(folder.path());
        assert_eq!(read_all(&new).unwrap(), log.lines);
        assert_eq!(root(&new, size.into()), Ok(log.tree.root()));
        if let Some(old) = old {
            // Whoever still holds the old checkpoint reads what it stands for.
            let before = old.checkpoint().checkpoint().clone();
            assert_eq!(read_all(&old).unwrap().len() as u64, before.size);
            let proof = consistency(&new, before.size, size.into()).unwrap();
            let proved = verify_consistency(before.size, &before.root, size.into(), &log.tree.root(), &proof);
            assert_eq!(proved, Ok(()));
        }
        old = Some(new);
    }
    let export = log.open(folder.path());
    for index in [0, 1, 255, 256, 600, 1023] {
        let proof = inclusion(&export, index, 1024).unwrap();
        assert_eq!(proof, inclusion(&log, index, 1024).unwrap());
        let leaf = leaf_hash(&log.lines[usize::try_from(index).unwrap()]);
        assert_eq!(verify_inclusion(&leaf, index, 1024, &proof, &log.tree.root()), Ok(()));
    }
    assert_eq!(export.entries(250, 520).unwrap(), log.lines[250..520]);
    // A folder made at once has the same full tiles and the same checkpoint, and no short ones of full ones.
    let other = tempfile::tempdir().unwrap();
    log.export(other.path()).unwrap();
    let relative = |folder: &Path| {
        files(folder).iter().map(|path| path.strip_prefix(folder).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(relative(folder.path()).iter().all(|path| !path.starts_with("tile/0/000.p")));
    for path in relative(other.path()) {
        assert_eq!(fs::read(folder.path().join(&path)).unwrap(), fs::read(other.path().join(&path)).unwrap());
    }
}

#[test]
fn nothing_is_written_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::new(600);
    assert_eq!(log.export(folder.path()).unwrap(), Written { before: 0, size: 600, tiles: 7 });
    assert_eq!(log.export(folder.path()).unwrap(), Written { before: 600, size: 600, tiles: 0 });
    log.grow(601);
    assert_eq!(log.export(folder.path()).unwrap(), Written { before: 600, size: 601, tiles: 2 });
}

#[test]
fn what_others_saw_is_never_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new(300);
    log.export(folder.path()).unwrap();
    let before: Vec<_> = files(folder.path()).into_iter().map(|path| fs::read(path).unwrap()).collect();

    let shorter = Log { signer: LogSigner::generate("approve.example.com").unwrap().0, ..Log::new(299) };
    assert!(matches!(shorter.export(folder.path()), Err(ExportError::Checkpoint { .. })));
    let Log { signer, .. } = log;
    let mut shorter = Log { signer, ..Log::new(299) };
    assert!(matches!(shorter.export(folder.path()), Err(ExportError::Ahead { exported: 300, size: 299 })));
    shorter.lines[7] = b"another".to_vec();
    let mut rewritten = Tree::default();
    shorter.grow(400);
    shorter.lines.iter().for_each(|line| rewritten.append(leaf_hash(line)));
    shorter.tree = rewritten;
    assert!(matches!(shorter.export(folder.path()), Err(ExportError::Fork { size: 300, .. })));

    let after: Vec<_> = files(folder.path()).into_iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(before, after);
}

#[test]
fn a_log_that_is_not_what_it_signs_is_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new(300);
    let other = log.signer.sign(300, leaf_hash(b"other"));
    assert!(matches!(export(folder.path(), &log, &other), Err(ExportError::Root { .. })));
    let beyond = log.signer.sign(301, log.tree.root());
    assert!(matches!(export(folder.path(), &log, &beyond), Err(ExportError::Tree(_))));
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn every_file_that_is_changed_shortened_or_gone_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new(600);
    log.export(folder.path()).unwrap();
    let opened = || Export::open(folder.path(), log.signer.key(), &Witnesses::default());
    let refused = || opened().and_then(|export| read_all(&export)).is_err();
    assert!(!refused());
    for path in files(folder.path()) {
        let whole = fs::read(&path).unwrap();
        for at in [0, 1, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            assert!(refused(), "{} at {at}", path.display());
            fs::write(&path, &whole[..at]).unwrap();
            assert!(refused(), "{} cut at {at}", path.display());
        }
        fs::write(&path, [&whole[..], b"\0"].concat()).unwrap();
        assert!(refused(), "{} longer", path.display());
        fs::remove_file(&path).unwrap();
        assert!(refused(), "{} gone", path.display());
        fs::create_dir(&path).unwrap();
        assert!(refused(), "{} a folder", path.display());
        fs::remove_dir(&path).unwrap();
        fs::write(&path, whole).unwrap();
    }
    assert!(!refused());
}

#[test]
fn what_is_no_file_is_neither_waited_for_nor_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new(3);
    log.export(folder.path()).unwrap();
    for name in ["checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3"] {
        let path = folder.path().join(name);
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let pipe = folder.path().join("pipe");
        if !pipe.exists() {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }
        for odd in [Path::new("/dev/zero"), &pipe] {
            std::os::unix::fs::symlink(odd, &path).unwrap();
            let opened = Export::open(folder.path(), log.signer.key(), &Witnesses::default());
            assert!(opened.and_then(|export| read_all(&export)).is_err(), "{name}");
            fs::remove_file(&path).unwrap();
        }
        fs::write(&path, whole).unwrap();
    }
}

/// Somebody else who may write there has it write nowhere else, and remove nothing elsewhere.
#[test]
fn no_link_is_followed_to_write() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("target");
    fs::write(&target, "theirs").unwrap();
    fs::create_dir_all(elsewhere.path().join("0/000.p")).unwrap();
    fs::write(elsewhere.path().join("0/000.p/3"), "theirs").unwrap();
    let before = files(elsewhere.path());

    let mut log = Log::new(3);
    for name in ["tile", "tile/0", "tile/0/000.p"] {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &link).unwrap();
        let written = log.export(folder.path());
        assert!(matches!(&written, Err(ExportError::Unusable { path, .. }) if *path == link), "{written:?}");
        assert!(!folder.path().join("checkpoint").exists(), "{name}");
    }
    // A file that is a link is replaced, and so is one by the name of a draft.
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("tile/0/000.p")).unwrap();
    let draft = format!(".checkpoint.{}", std::process::id());
    for name in ["tile/0/000.p/3", draft.as_str()] {
        std::os::unix::fs::symlink(&target, folder.path().join(name)).unwrap();
    }
    log.export(folder.path()).unwrap();
    assert_eq!(read_all(&log.open(folder.path())).unwrap(), log.lines);
    // A folder of short tiles that leads elsewhere is not emptied.
    fs::remove_dir_all(folder.path().join("tile/0/000.p")).unwrap();
    let link = folder.path().join("tile/0/000.p");
    std::os::unix::fs::symlink(elsewhere.path().join("0/000.p"), &link).unwrap();
    log.grow(256);
    assert!(log.export(folder.path()).is_err());

    assert_eq!(files(elsewhere.path()), before);
    assert_eq!(fs::read_to_string(target).unwrap(), "theirs");
}
