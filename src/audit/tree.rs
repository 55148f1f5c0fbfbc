//! The Merkle tree over the log: RFC 6962's, each level kept flat.
//!
//! Only the roots of complete subtrees are ever kept: at level `l`, the hash with index `i` is the root over the
//! leaves from `i * 2^l` up to but not including `(i + 1) * 2^l`. They never change once they exist, so a table can
//! hold them; roots of any size and all proofs are put together from them.
//!
//! # Source
//! RFC 6962, section 2.1.

mod proof;

use aws_lc_rs::digest::{self, SHA256};

use crate::digest::Sha256Digest;

pub use proof::{MAX_PROOF, ProofError, consistency, inclusion, verify_consistency, verify_inclusion};

/// The most bytes of an entry that are copied beside their first byte: to clear a larger room costs more than a context.
const SHORT: usize = 256;

/// Why a hash could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The tree has fewer leaves than were asked about.
    #[error("the log has {size} entries, {wanted} are asked about")]
    Beyond {
        /// How many there are.
        size: u64,
        /// How many there would have to be.
        wanted: u64,
    },
    /// Whatever holds the hashes does not have this one.
    #[error("the hash at level {level}, index {index} is missing: {reason}")]
    Missing {
        /// Height over the leaves.
        level: u32,
        /// From the left.
        index: u64,
        /// In its words.
        reason: String,
    },
}

/// Whatever holds the roots of complete subtrees: a [`Tree`], tables of a store, tiles in a directory.
pub trait Hashes {
    /// The root of the complete subtree of `2^level` leaves that is the `index`th from the left.
    ///
    /// # Errors
    /// [`TreeError::Missing`].
    fn hash(&self, level: u32, index: u64) -> Result<Sha256Digest, TreeError>;
}

/// The hash of an entry.
pub fn leaf_hash(entry: &[u8]) -> Sha256Digest {
    let mut short = [0; SHORT];
    let length = entry.len() + 1;
    match short.get_mut(1..length) {
        Some(room) => {
            room.copy_from_slice(entry);
            hash(short.get(..length).unwrap_or_default())
        }
        None => Sha256Digest::of_parts(&[&[0], entry]),
    }
}

/// The hash of two subtrees beside each other.
#[inline]
pub fn node_hash(left: &Sha256Digest, right: &Sha256Digest) -> Sha256Digest {
    let mut input = [1; 65];
    let (first, second) = input.split_at_mut(33);
    if let Some(room) = first.get_mut(1..) {
        room.copy_from_slice(left.as_bytes());
    }
    second.copy_from_slice(right.as_bytes());
    hash(&input)
}

/// In one call: half the cost of a context for what is this short.
#[inline]
fn hash(input: &[u8]) -> Sha256Digest {
    let hash: [u8; 32] = digest::digest(&SHA256, input).as_ref().try_into().expect("SHA-256 yields 32 bytes");
    hash.into()
}

/// The root of the first `size` leaves. Of none, it is the hash of nothing.
///
/// # Errors
/// [`TreeError::Missing`].
pub fn root(hashes: &impl Hashes, size: u64) -> Result<Sha256Digest, TreeError> {
    range(hashes, 0, size)
}

/// The root of the leaves from `start` to `end`, where `start` is a multiple of a power of two not below their
/// number: a subtree, which may lack leaves at its right end.
fn range(hashes: &impl Hashes, start: u64, end: u64) -> Result<Sha256Digest, TreeError> {
    let mut left = end.saturating_sub(start);
    let mut root = None;
    // The complete subtrees in it, smallest first: one for each bit of their number.
    while left != 0 {
        let level = left.trailing_zeros();
        let subtree = hashes.hash(level, (end >> level).saturating_sub(1))?;
        root = Some(root.map_or(subtree, |right| node_hash(&subtree, &right)));
        left &= left - 1;
    }
    Ok(root.unwrap_or_else(|| hash(&[])))
}

/// All of a tree, in memory: 64 bytes a leaf.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    levels: Vec<Vec<Sha256Digest>>,
}

impl Tree {
    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Appends a leaf: one hash on average.
    pub fn append(&mut self, leaf: Sha256Digest) {
        let mut hash = leaf;
        for level in &mut self.levels {
            level.push(hash);
            match level.as_slice() {
                [.., left, right] if level.len() % 2 == 0 => hash = node_hash(left, right),
                _ => return,
            }
        }
        self.levels.push(vec![hash]);
    }

    /// The root over all leaves.
    pub fn root(&self) -> Sha256Digest {
        range(self, 0, self.size()).expect("every complete subtree's root was kept when it was made")
    }
}

impl Hashes for Tree {
    fn hash(&self, level: u32, index: u64) -> Result<Sha256Digest, TreeError> {
        let at = |level: u32, index: u64| {
            self.levels.get(usize::try_from(level).ok()?)?.get(usize::try_from(index).ok()?).copied()
        };
        at(level, index).ok_or_else(|| TreeError::Missing {
            level,
            index,
            reason: format!("the tree has {} leaves", self.size()),
        })
    }
}

/// The right edge of a tree, for those who append and sign but make no proofs: at most 64 hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// The roots of the complete subtrees, largest first: one for each bit of the size.
    hashes: Vec<Sha256Digest>,
}

/// A root of a complete subtree, as it came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Height over the leaves.
    pub level: u32,
    /// From the left.
    pub index: u64,
    /// What it is.
    pub hash: Sha256Digest,
}

impl Edge {
    /// The edge of a tree of `size` leaves whose hashes are kept elsewhere.
    ///
    /// # Errors
    /// [`TreeError::Missing`].
    pub fn load(hashes: &impl Hashes, size: u64) -> Result<Self, TreeError> {
        let levels = (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1);
        let hashes = levels.map(|level| hashes.hash(level, (size >> level) - 1)).collect::<Result<_, _>>()?;
        Ok(Self { size, hashes })
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf and tells `keep` of each node that it completes, the leaf itself first: what a store must keep
    /// for [`Hashes`].
    pub fn append(&mut self, leaf: Sha256Digest, mut keep: impl FnMut(Node)) {
        let mut node = Node { level: 0, index: self.size, hash: leaf };
        keep(node);
        while node.index & 1 == 1
            && let Some(left) = self.hashes.pop()
        {
            let hash = node_hash(&left, &node.hash);
            node = Node { level: node.level + 1, index: node.index >> 1, hash };
            keep(node);
        }
        self.hashes.push(node.hash);
        self.size += 1;
    }

    /// The root over all leaves.
    pub fn root(&self) -> Sha256Digest {
        let root = self.hashes.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
        root.unwrap_or_else(|| hash(&[]))
    }
}

#[cfg(test)]
mod tests;
