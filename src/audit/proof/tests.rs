//! A receipt is had for what is proved, and for nothing else.

use super::*;
use crate::audit::LogSigner;
use crate::audit::tree::{Tree, inclusion};

struct Log {
    lines: Vec<String>,
    tree: Tree,
    signer: LogSigner,
}

impl Log {
    fn new(size: u32) -> Self {
        let at = "2026-11-20T04:07:00Z".parse().unwrap();
        let grant = "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9".parse().unwrap();
        let line = |count| Entry::Used { at, grant, count }.to_line().unwrap();
        let lines: Vec<_> = (1..=size).map(line).collect();
        let mut tree = Tree::default();
        lines.iter().for_each(|line| tree.append(leaf_hash(line.as_bytes())));
        Self { lines, tree, signer: LogSigner::generate("approve.example.com").unwrap().0 }
    }

    fn proof(&self, index: u64) -> LogProof {
        LogProof {
            index,
            entry: self.lines[usize::try_from(index).unwrap()].clone(),
            proof: Hashes(inclusion(&self.tree, index, self.tree.size()).unwrap()),
            checkpoint: self.signer.sign(self.tree.size(), self.tree.root()).note().to_string(),
        }
    }

    fn check(&self, proof: &LogProof) -> Result<Receipt, ReceiptError> {
        proof.check(self.signer.key(), &Witnesses::default())
    }
}

#[test]
fn a_receipt_is_had_for_each_entry_and_travels_in_a_file() {
    let log = Log::new(21);
    for index in 0..21 {
        let proof = log.proof(index);
        let json = serde_json::to_string(&proof).unwrap();
        assert!(json.starts_with("{\"index\":"), "{json}");
        let read: LogProof = serde_json::from_str(&json).unwrap();
        let receipt = log.check(&read).unwrap();
        assert_eq!((receipt.index(), receipt.line()), (index, proof.entry.as_str()));
        assert_eq!(receipt.entry(), &Entry::parse(proof.entry.as_bytes()).unwrap());
        assert_eq!(receipt.checkpoint().checkpoint().size, 21);
        assert_eq!(receipt.to_log_proof(), proof);
    }
}

#[test]
fn no_receipt_is_had_for_anything_else() {
    let log = Log::new(21);
    let good = log.proof(5);
    let changed = |change: fn(&mut LogProof)| {
        let mut proof = good.clone();
        change(&mut proof);
        log.check(&proof).unwrap_err()
    };
    assert!(matches!(changed(|p| p.index = 6), ReceiptError::Proof { index: 6, .. }));
    assert!(matches!(changed(|p| p.index = 21), ReceiptError::Proof { .. }));
    assert!(matches!(
        changed(|p| p.entry = p.entry.replace("\"count\":6", "\"count\":7")),
        ReceiptError::Proof { .. }
    ));
    assert!(matches!(changed(|p| p.entry.push(' ')), ReceiptError::Entry(EntryError::Spelling)));
    assert!(matches!(changed(|p| p.entry.clear()), ReceiptError::Entry(EntryError::Malformed { .. })));
    assert!(matches!(changed(|p| p.proof.0.truncate(2)), ReceiptError::Proof { .. }));
    assert!(matches!(changed(|p| p.proof.0.reverse()), ReceiptError::Proof { .. }));
    assert!(matches!(
        changed(|p| p.checkpoint = p.checkpoint.replace("\n21\n", "\n22\n")),
        ReceiptError::Checkpoint(_)
    ));
    // Another log with another key, whose checkpoint is in order.
    let other = Log::new(21);
    assert!(matches!(other.check(&good), Err(ReceiptError::Checkpoint(_))));
    // An earlier or later state of this log.
    let mut older = good.clone();
    older.checkpoint = log.signer.sign(21, Log::new(20).tree.root()).note().to_string();
    assert!(matches!(log.check(&older), Err(ReceiptError::Proof { .. })));
}

/// A leaf's hash cannot pass for a node's: an entry of 64 bytes is hashed apart from two hashes.
#[test]
fn an_inner_node_is_no_entry() {
    let log = Log::new(4);
    let good = log.proof(0);
    let mut shorter = good.clone();
    shorter.proof.0.remove(0);
    assert!(log.check(&shorter).is_err());
}

#[test]
fn a_file_is_bounded_and_has_nothing_else_in_it() {
    let json = serde_json::to_value(Log::new(3).proof(1)).unwrap();
    let reread = |json: &serde_json::Value| serde_json::from_value::<LogProof>(json.clone());
    assert!(reread(&json).is_ok());
    let mut more = json.clone();
    more["more"] = 1.into();
    assert!(reread(&more).is_err());
    let mut long = json.clone();
    let hash = json["proof"][0].clone();
    long["proof"] = vec![hash.clone(); 64].into();
    assert!(reread(&long).is_ok());
    long["proof"] = vec![hash; 65].into();
    assert!(reread(&long).unwrap_err().to_string().contains("64 are allowed"));
    let mut upper = json.clone();
    upper["proof"][0] = json["proof"][0].as_str().unwrap().to_uppercase().into();
    assert!(reread(&upper).is_err());
}
