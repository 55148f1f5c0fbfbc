//! Proofs about a tree: that a leaf is in it, and that a smaller tree is its beginning.
//!
//! # Source
//! RFC 6962, sections 2.1.1 and 2.1.2; what a proof of which length must hold, RFC 9162, sections 2.1.3.2 and 2.1.4.2.

use std::hint::select_unpredictable;

use super::{Hashes, TreeError, node_hash, range};
use crate::digest::Sha256Digest;

/// The most hashes in a proof: one for each bit of the tree's size.
pub const MAX_PROOF: usize = 64;

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A leaf or a smaller tree that the tree cannot have.
    #[error("{wanted} is beyond a log of {size}")]
    Beyond {
        /// The tree's size.
        size: u64,
        /// The leaf's index, or the smaller size.
        wanted: u64,
    },
    /// Too many hashes or too few.
    #[error("{found} hashes in the proof, it takes {expected}")]
    Length {
        /// How many there are.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
    /// It leads to another root.
    #[error("the proof leads to the root {found}, not {expected}")]
    Root {
        /// Where it leads.
        found: Sha256Digest,
        /// What it was to prove.
        expected: Sha256Digest,
    },
}

/// The way from a node to the root: where it turns.
struct Way {
    /// As far as the node's subtree has neighbours on the right, or is one: a hash for each level.
    inner: u32,
    /// Above that only neighbours on the left are left, one for each bit of the index.
    border: u32,
}

impl Way {
    /// From the node `index`, where `last` is the last node of its level, complete or not.
    fn new(index: u64, last: u64) -> Self {
        let inner = u64::BITS - (index ^ last).leading_zeros();
        Self { inner, border: index.checked_shr(inner).unwrap_or(0).count_ones() }
    }

    fn length(&self) -> usize {
        // At most 64 in all.
        (self.inner + self.border) as usize
    }
}

/// The hashes that lead from the leaf `index` to the root of the first `size` leaves, lowest first.
///
/// # Errors
/// [`TreeError`].
pub fn inclusion(hashes: &impl Hashes, index: u64, size: u64) -> Result<Vec<Sha256Digest>, TreeError> {
    if index >= size {
        return Err(TreeError::Beyond { size, wanted: index.saturating_add(1) });
    }
    path(hashes, index, 0, size)
}

/// The hashes that show the first `old` leaves to be the beginning of the first `new`, lowest first. None are needed
/// from nothing, or from a tree to itself.
///
/// # Errors
/// [`TreeError`].
pub fn consistency(hashes: &impl Hashes, old: u64, new: u64) -> Result<Vec<Sha256Digest>, TreeError> {
    if old > new {
        return Err(TreeError::Beyond { size: new, wanted: old });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    // The last complete subtree of the old tree; the way from it leads through everything else of both.
    let level = old.trailing_zeros();
    let index = (old - 1) >> level;
    let mut proof = path(hashes, index, level, new)?;
    if index != 0 {
        proof.insert(0, hashes.hash(level, index)?);
    }
    Ok(proof)
}

fn path(hashes: &impl Hashes, index: u64, level: u32, size: u64) -> Result<Vec<Sha256Digest>, TreeError> {
    let way = Way::new(index, size.saturating_sub(1) >> level);
    let mut path = Vec::with_capacity(way.length());
    for step in 0..way.inner {
        let at = level + step;
        let beside = (index >> step) ^ 1;
        // Only the uppermost of these can be the tree's own, incomplete end.
        if step + 1 == way.inner && (beside + 1) << at > size {
            path.push(range(hashes, beside << at, size)?);
        } else {
            path.push(hashes.hash(at, beside)?);
        }
    }
    for step in way.inner..u64::BITS {
        if index.checked_shr(step).unwrap_or(0) & 1 == 1 {
            path.push(hashes.hash(level + step, (index >> step) - 1)?);
        }
    }
    Ok(path)
}

/// Whether `proof` shows that `leaf` stands at `index` in the tree of `size` leaves with this `root`.
///
/// # Errors
/// Any [`ProofError`]: nothing was shown.
pub fn verify_inclusion(
    leaf: &Sha256Digest,
    index: u64,
    size: u64,
    proof: &[Sha256Digest],
    root: &Sha256Digest,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Beyond { size, wanted: index });
    }
    let way = Way::new(index, size - 1);
    check_length(proof, way.length())?;
    let (inner, border) = split(proof, way.inner);
    let below = chain(*leaf, inner, index);
    check_root(&chain_left(below, border), root)
}

/// Whether `proof` shows that the tree of `old` leaves with `old_root` is the beginning of that of `new` leaves with
/// `new_root`.
///
/// # Errors
/// Any [`ProofError`]: nothing was shown.
pub fn verify_consistency(
    old: u64,
    old_root: &Sha256Digest,
    new: u64,
    new_root: &Sha256Digest,
    proof: &[Sha256Digest],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Beyond { size: new, wanted: old });
    }
    if old == 0 {
        check_length(proof, 0)?;
        return check_root(old_root, &super::hash(&[]));
    }
    if old == new {
        check_length(proof, 0)?;
        return check_root(old_root, new_root);
    }
    let level = old.trailing_zeros();
    let index = (old - 1) >> level;
    let way = Way::new(index, (new - 1) >> level);
    // A tree that is one complete subtree is where the way begins; else the proof's first hash says where.
    let (start, rest) = match proof.split_first() {
        Some((first, rest)) if index != 0 => (*first, rest),
        _ => (*old_root, proof),
    };
    let more = usize::from(index != 0);
    check_length(proof, way.length() + more)?;
    let (inner, border) = split(rest, way.inner);
    // The old tree has only what lies to the left.
    let steps = inner.iter().enumerate().filter(|(step, _)| index >> step & 1 == 1);
    let old_below = steps.fold(start, |hash, (_, left)| node_hash(left, &hash));
    check_root(&chain_left(old_below, border), old_root)?;
    check_root(&chain_left(chain(start, inner, index), border), new_root)
}

fn check_length(proof: &[Sha256Digest], expected: usize) -> Result<(), ProofError> {
    let found = proof.len();
    if found == expected { Ok(()) } else { Err(ProofError::Length { found, expected }) }
}

fn check_root(found: &Sha256Digest, expected: &Sha256Digest) -> Result<(), ProofError> {
    if found == expected { Ok(()) } else { Err(ProofError::Root { found: *found, expected: *expected }) }
}

fn split(proof: &[Sha256Digest], inner: u32) -> (&[Sha256Digest], &[Sha256Digest]) {
    proof.split_at_checked(inner as usize).unwrap_or((proof, &[]))
}

fn chain(start: Sha256Digest, inner: &[Sha256Digest], index: u64) -> Sha256Digest {
    inner.iter().enumerate().fold(start, |hash, (step, beside)| {
        // Chosen and not branched on: which side it is would be guessed wrong every other time.
        let from_left = index >> step & 1 == 1;
        let (left, right) = select_unpredictable(from_left, (beside, &hash), (&hash, beside));
        node_hash(left, right)
    })
}

fn chain_left(start: Sha256Digest, border: &[Sha256Digest]) -> Sha256Digest {
    border.iter().fold(start, |hash, left| node_hash(left, &hash))
}
