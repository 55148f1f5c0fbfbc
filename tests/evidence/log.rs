//! A log and its witnesses, with keys that lie in the open.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use touchgate::audit::note::Signature;
use touchgate::audit::proof::Hashes;
use touchgate::audit::tree::{self, Tree, leaf_hash};
use touchgate::audit::{Entry, LogProof, LogSigner, WitnessKey};
use touchgate::unix_time::UnixTime;

/// The log of approve.example.com.
pub(crate) struct Log {
    signer: LogSigner,
    tree: Tree,
    lines: Vec<String>,
}

/// PKCS#8 of an Ed25519 key whose seed is this byte 32 times.
pub(crate) fn pkcs8(seed: u8) -> Vec<u8> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    pair.to_pkcs8().unwrap().as_ref().to_vec()
}

fn witness(which: u8) -> (Ed25519KeyPair, WitnessKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[100 + which; 32]).unwrap();
    let public: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
    let key = WitnessKey::new(&format!("witness{which}.example"), public).unwrap();
    (pair, key)
}

impl Log {
    /// With some entries in it.
    pub(crate) fn new() -> Self {
        Self::of("approve.example.com", 1)
    }

    pub(crate) fn of(name: &str, seed: u8) -> Self {
        let signer = LogSigner::from_pkcs8(name, &pkcs8(seed)).unwrap();
        let mut log = Self { signer, tree: Tree::default(), lines: Vec::new() };
        let version =
            "7 sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse().unwrap();
        for second in 0..5 {
            let at = UnixTime::from_seconds(1_700_000_000 + second).unwrap();
            log.append(&Entry::Trust { at, version });
        }
        log
    }

    /// What policy.toml says of it: its key, and two witnesses of whom one must have seen a checkpoint.
    /// The first part stands before the first table.
    pub(crate) fn keys() -> (String, String) {
        let key = Self::new().signer.key().to_string();
        let witnesses = [0, 1].map(|which| format!("[[witness]]\nkey = \"{}\"\n", witness(which).1));
        (format!("log_key = \"{key}\"\nwitnesses_needed = 1\n"), witnesses.concat())
    }

    /// Where it stands.
    pub(crate) fn append(&mut self, entry: &Entry) -> u64 {
        self.append_line(&entry.to_line().unwrap())
    }

    pub(crate) fn append_line(&mut self, line: &str) -> u64 {
        self.tree.append(leaf_hash(line.as_bytes()));
        self.lines.push(line.to_owned());
        self.tree.size() - 1
    }

    /// Under a checkpoint of now, seen by these witnesses at these times.
    pub(crate) fn proof(&self, index: u64, seen: &[(u8, UnixTime)]) -> LogProof {
        let size = self.tree.size();
        let signed = self.signer.sign(size, self.tree.root());
        let mut note = signed.note().clone();
        for (which, at) in seen {
            let (pair, key) = witness(*which);
            let message = format!("cosignature/v1\ntime {}\n{}", at.seconds(), note.text());
            let signature = pair.sign(message.as_bytes());
            let bytes = [&at.seconds().to_be_bytes()[..], signature.as_ref()].concat();
            note.add(Signature { name: key.name().to_owned(), id: key.id(), bytes }).unwrap();
        }
        let proof = Hashes(tree::inclusion(&self.tree, index, size).unwrap());
        let entry = self.lines[usize::try_from(index).unwrap()].clone();
        LogProof { index, entry, proof, checkpoint: note.to_string() }
    }
}
