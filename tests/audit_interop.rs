//! Our log in others' hands: `tlog_tiles` and Go's `sumdb` read checkpoint, tiles and proofs, and agree on every root.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "audit/go.rs"]
mod go;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tlog_tiles::{HashReader as _, TileHashReader, TileReader};
use touchgate::audit::export::{Entries, Export, export};
use touchgate::audit::proof::Hashes as ProofHashes;
use touchgate::audit::tree::{Hashes, Tree, TreeError, consistency, inclusion, leaf_hash, root};
use touchgate::audit::{Entry, LogProof, LogSigner, Receipt, SignedCheckpoint, Witnesses};
use touchgate::digest::Sha256Digest;

use go::witness;

/// Two full tiles and a little more, so that every kind of tile occurs.
const SIZE: u64 = 600;

struct Log {
    lines: Vec<Vec<u8>>,
    tree: Tree,
    signer: LogSigner,
}

impl Log {
    fn new() -> Self {
        let signer = LogSigner::generate("approve.example.com").unwrap().0;
        Self { lines: Vec::new(), tree: Tree::default(), signer }
    }

    fn grow(&mut self, size: u64) {
        let grant = "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9".parse().unwrap();
        for at in self.tree.size()..size {
            let count = u32::try_from(at).unwrap() + 1;
            let entry = Entry::Used { at: "2026-11-20T04:07:00Z".parse().unwrap(), grant, count };
            let line = entry.to_line().unwrap().into_bytes();
            self.tree.append(leaf_hash(&line));
            self.lines.push(line);
        }
    }

    fn checkpoint(&self) -> SignedCheckpoint {
        self.signer.sign(self.tree.size(), self.tree.root())
    }

    fn key(&self) -> String {
        self.signer.key().to_string()
    }

    fn proof(&self, index: u64) -> LogProof {
        LogProof {
            index,
            entry: String::from_utf8(self.lines[usize::try_from(index).unwrap()].clone()).unwrap(),
            proof: ProofHashes(inclusion(&self.tree, index, self.tree.size()).unwrap()),
            checkpoint: self.checkpoint().note().to_string(),
        }
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

fn theirs(hash: &Sha256Digest) -> tlog_tiles::Hash {
    tlog_tiles::Hash(*hash.as_bytes())
}

/// The export as `tlog_tiles` wants it; its names have the height in them, C2SP's do not.
struct Folder(PathBuf);

impl TileReader for Folder {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        let name = |tile: &tlog_tiles::Tile| tile.path().replacen("tile/8/", "tile/", 1);
        Ok(tiles.iter().map(|tile| fs::read(self.0.join(name(tile))).unwrap()).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

#[test]
fn tlog_tiles_reads_checkpoint_tiles_and_proofs() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::new();
    for size in [1, 255, 256, 257, SIZE] {
        log.grow(size);
        export(folder.path(), &log, &log.checkpoint()).unwrap();
        let note = fs::read_to_string(folder.path().join("checkpoint")).unwrap();
        let text = &note[..note.find("\n\n").unwrap() + 1];
        let checkpoint = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap();
        assert_eq!((checkpoint.origin(), checkpoint.size()), ("approve.example.com", size));
        assert_eq!((checkpoint.extension(), *checkpoint.hash()), ("", theirs(&log.tree.root())));

        let reader = Folder(folder.path().to_owned());
        let reader = TileHashReader::new(size, *checkpoint.hash(), &reader);
        assert_eq!(tlog_tiles::tree_hash(size, &reader).unwrap(), *checkpoint.hash());
        for index in (0..size).step_by(7).chain([size - 1]) {
            let leaf = tlog_tiles::record_hash(&log.lines[usize::try_from(index).unwrap()]);
            let stored = [tlog_tiles::stored_hash_index(0, index)];
            assert_eq!(reader.read_hashes(&stored).unwrap(), [leaf]);
            let ours: Vec<_> = inclusion(&log.tree, index, size).unwrap().iter().map(theirs).collect();
            assert_eq!(ours, tlog_tiles::prove_record(size, index, &reader).unwrap());
            tlog_tiles::check_record(&ours, size, *checkpoint.hash(), index, leaf).unwrap();
        }
        for old in (1..=size).step_by(11) {
            let old_root = theirs(&root(&log.tree, old).unwrap());
            let ours: Vec<_> = consistency(&log.tree, old, size).unwrap().iter().map(theirs).collect();
            assert_eq!(ours, tlog_tiles::prove_tree(size, old, &reader).unwrap(), "{old} to {size}");
            tlog_tiles::check_tree(&ours, size, *checkpoint.hash(), old, old_root).unwrap();
        }
    }
}

fn go(args: &[&str]) -> Result<String, String> {
    let output = Command::new(witness()).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// A folder, and the paths in it as arguments.
struct Desk(tempfile::TempDir);

impl Desk {
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
}

#[test]
fn go_reads_checkpoint_tiles_and_proofs() {
    let desk = Desk(tempfile::tempdir().unwrap());
    let folder = desk.path("export");
    let mut log = Log::new();
    log.grow(300);
    export(Path::new(&folder), &log, &log.checkpoint()).unwrap();
    let old = log.checkpoint();
    let old_note = desk.write("old", &old.note().to_string());
    log.grow(SIZE);
    export(Path::new(&folder), &log, &log.checkpoint()).unwrap();

    let signed = log.checkpoint().checkpoint().to_string();
    let root = signed.lines().nth(2).unwrap();
    assert_eq!(go(&["check", &folder, &log.key()]), Ok(format!("{SIZE} {root}\n")));

    for index in [0, 255, 256, SIZE - 1] {
        let proof = log.proof(index);
        let file = desk.write("proof", &serde_json::to_string(&proof).unwrap());
        assert_eq!(go(&["proof", &file, &log.key()]), Ok(format!("{}\n", proof.entry)));
        let wrong = LogProof { index: index ^ 1, ..proof };
        let file = desk.write("wrong", &serde_json::to_string(&wrong).unwrap());
        assert!(go(&["proof", &file, &log.key()]).is_err());
    }

    let hashes = consistency(&log.tree, 300, SIZE).unwrap();
    let file = desk.write("grown", &serde_json::to_string(&hashes).unwrap());
    assert_eq!(go(&["grown", &folder, &log.key(), &old_note, &file]), Ok(format!("300 to {SIZE}\n")));

    // It would say no if there were a reason.
    let tile = Path::new(&folder).join("tile/0/001");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[100] ^= 1;
    fs::write(&tile, bytes).unwrap();
    assert!(go(&["check", &folder, &log.key()]).is_err());
}

#[test]
fn a_witness_in_go_cosigns_what_grew_and_nothing_else() {
    let desk = Desk(tempfile::tempdir().unwrap());
    let folder = desk.path("export");
    let mut log = Log::new();
    log.grow(300);
    let old_note = desk.write("old", &log.checkpoint().note().to_string());
    log.grow(SIZE);
    export(Path::new(&folder), &log, &log.checkpoint()).unwrap();

    let seed = "42".repeat(32);
    let cosign =
        |old: &str| go(&["cosign", &folder, &log.key(), old, "witness.example/w1", &seed, "1794974400"]);
    let output = cosign(&old_note).unwrap();
    let (key, note) = output.split_once('\n').unwrap();
    let witnesses = Witnesses::new(vec![key.parse().unwrap()], 1).unwrap();
    assert_eq!(witnesses.keys()[0].to_string(), key);
    let opened = SignedCheckpoint::open(note.as_bytes(), log.signer.key(), &witnesses).unwrap();
    let seen = opened.witnessed().unwrap();
    assert_eq!((seen.at.seconds(), seen.by.as_str()), (1_794_974_400, "witness.example/w1"));

    // With it, a receipt can be had that trust demands a witness for; without, not.
    let proof = log.proof(17);
    assert!(proof.check(log.signer.key(), &witnesses).is_err());
    let cosigned = LogProof { checkpoint: note.to_owned(), ..proof };
    let receipt: Receipt = cosigned.check(log.signer.key(), &witnesses).unwrap();
    assert_eq!(receipt.index(), 17);
    fs::write(Path::new(&folder).join("checkpoint"), note).unwrap();
    assert!(Export::open(Path::new(&folder), log.signer.key(), &witnesses).is_ok());

    // The same key signed another past: a split view, which no proof leads out of.
    let other = log.signer.sign(300, leaf_hash(b"another past"));
    let other_note = desk.write("other", &other.note().to_string());
    let error = cosign(&other_note).unwrap_err();
    assert!(error.contains("invalid transparency proof"), "{error}");
}

/// What stands in the page between three backquotes with this word, and the next three.
fn block(page: &str, word: &str) -> String {
    let (_, rest) = page.split_once(&format!("```{word}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_documented_example_checks_with_our_code_with_go_and_with_a_shell() {
    let page = include_str!("../docs/log.md");
    let key = page.split_once("log_key = \"").unwrap().1.split_once('"').unwrap().0;
    let (note, json, recipe) = (block(page, "checkpoint"), block(page, "json"), block(page, "sh"));
    let proof: LogProof = serde_json::from_str(&json).unwrap();
    assert_eq!(proof.checkpoint, note);
    let receipt = proof.check(&key.parse().unwrap(), &Witnesses::default()).unwrap();
    assert_eq!((receipt.index(), receipt.checkpoint().checkpoint().size), (6, 7));

    let desk = Desk(tempfile::tempdir().unwrap());
    let file = desk.write("6.json", &json);
    desk.write("checkpoint", &note);
    assert_eq!(go(&["proof", &file, key]), Ok(format!("{}\n", proof.entry)));
    let shell = || {
        let output = Command::new("bash").args(["-euc", &recipe]).current_dir(desk.0.path()).output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (yes, said) = shell();
    assert!(yes && said.ends_with("Signature Verified Successfully\nentry 6 stands in the log\n"), "{said}");
    desk.write("6.json", &json.replace("\\\"count\\\":1", "\\\"count\\\":2"));
    assert!(!shell().0);
    desk.write("6.json", &json);
    desk.write("checkpoint", &note.replace("\n7\n", "\n8\n"));
    assert!(!shell().0);
}
