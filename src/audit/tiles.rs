//! Tiles: 256 hashes or entries in a file, by whose name they are found.
//!
//! ```text
//! tile/0/x001/234.p/17        level 0: the hashes of the leaves 315904 to 315920, in a log that has no more yet
//! tile/1/004                  level 1: each hash the root over a full tile below
//! tile/entries/x001/234.p/17  the entries themselves, each after its length in two bytes
//! ```
//!
//! # Source
//! C2SP tlog-tiles.

use std::fmt;

use super::entry::MAX_ENTRY;
use super::tree::{Hashes, TreeError, node_hash};
use crate::digest::Sha256Digest;

/// Hashes or entries in a full tile.
pub const WIDTH: u64 = 256;
/// Levels of the tree in a tile.
pub const HEIGHT: u32 = 8;
/// The most bytes of a tile of entries.
pub const MAX_BUNDLE: usize = 256 * (2 + MAX_ENTRY);
/// Bytes of a full tile of hashes.
pub const MAX_HASHES: usize = 256 * 32;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Entries.
    Entries,
    /// Hashes at this level of tiles: the tree's level over 8.
    Hashes(u32),
}

/// One tile of a log of some size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// What it holds.
    pub kind: Kind,
    /// From the left.
    pub index: u64,
    /// How many hashes or entries: 1 to [`WIDTH`].
    pub width: u64,
}

/// Why bytes are not a tile's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Fewer bytes or more than it must have.
    #[error("{found} bytes where the tile must have {expected}")]
    Length {
        /// How many there are.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
    /// An entry that ends behind the tile's end.
    #[error("the tile ends within entry {at}")]
    Short {
        /// Counted from the tile's first.
        at: u64,
    },
    /// Bytes behind the last entry.
    #[error("{more} bytes too many behind the last entry")]
    Trailing {
        /// How many.
        more: usize,
    },
}

impl Tile {
    /// The tile that holds the hash or entry `at` of its level, as far as a log of `size` entries fills it; nothing if
    /// that is not there yet.
    pub fn at(kind: Kind, at: u64, size: u64) -> Option<Self> {
        let there = kind.count(size);
        let index = at / WIDTH;
        (at < there).then(|| Self { kind, index, width: WIDTH.min(there - index * WIDTH) })
    }

    /// The tiles that a log of `new` entries has and one of `old` had not, level by level from the left.
    pub fn between(old: u64, new: u64) -> impl Iterator<Item = Self> {
        let levels = (0..u64::BITS / HEIGHT).map(Kind::Hashes);
        [Kind::Entries].into_iter().chain(levels).flat_map(move |kind| {
            let (from, to) = (kind.count(old), kind.count(new));
            let tiles = if from == to { 0..0 } else { from / WIDTH..to.div_ceil(WIDTH) };
            tiles.filter_map(move |index| Self::at(kind, index * WIDTH, new))
        })
    }

    /// The first hash or entry in it.
    pub fn start(&self) -> u64 {
        self.index * WIDTH
    }

    /// Whether no more will come into it.
    pub fn is_full(&self) -> bool {
        self.width == WIDTH
    }

    /// The folder of the shorter tiles that this one grew out of.
    pub fn partial_folder(&self) -> String {
        format!("{}.p", Self { width: WIDTH, ..*self })
    }

    /// Its bytes, of a tile of hashes.
    ///
    /// # Errors
    /// [`TreeError::Missing`].
    pub fn hashes(level: u32, index: u64, width: u64, from: &impl Hashes) -> Result<Vec<u8>, TreeError> {
        let mut bytes = Vec::with_capacity(MAX_HASHES);
        for at in index * WIDTH..index * WIDTH + width {
            bytes.extend_from_slice(from.hash(level * HEIGHT, at)?.as_bytes());
        }
        Ok(bytes)
    }
}

impl Kind {
    /// The last of its kind in a log of `size` entries, counted from 0.
    pub(crate) fn last(self, size: u64) -> Option<u64> {
        self.count(size).checked_sub(1)
    }

    /// How many of its kind a log of `size` entries has.
    fn count(self, size: u64) -> u64 {
        match self {
            Self::Entries => size,
            Self::Hashes(level) => size.checked_shr(level * HEIGHT).unwrap_or(0),
        }
    }
}

/// The tile's name below the log's prefix.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Entries => f.write_str("tile/entries/")?,
            Kind::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        let digits = format!("{:03}", self.index);
        // In threes from the right, all but the last behind an `x`.
        let padded = format!("{}{digits}", "0".repeat((3 - digits.len() % 3) % 3));
        let (threes, _) = padded.as_bytes().as_chunks::<3>();
        let mut threes = threes.iter().filter_map(|three| std::str::from_utf8(three).ok()).peekable();
        while let Some(three) = threes.next() {
            let last = threes.peek().is_none();
            write!(f, "{}{three}{}", if last { "" } else { "x" }, if last { "" } else { "/" })?;
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// The bytes of a tile of hashes, read.
#[derive(Clone, Debug)]
pub struct HashTile(Vec<Sha256Digest>);

impl HashTile {
    /// Reads exactly `width` hashes.
    ///
    /// # Errors
    /// [`TileError::Length`].
    pub fn parse(bytes: &[u8], width: u64) -> Result<Self, TileError> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        let expected = usize::try_from(width).unwrap_or(usize::MAX).saturating_mul(32);
        if bytes.len() != expected || !rest.is_empty() {
            return Err(TileError::Length { found: bytes.len(), expected });
        }
        Ok(Self(hashes.iter().map(|hash| (*hash).into()).collect()))
    }

    /// The root over `2^height` of its hashes, the `index`th such subtree in it.
    pub fn subtree(&self, height: u32, index: u64) -> Option<Sha256Digest> {
        let start = usize::try_from(index.checked_shl(height)?).ok()?;
        let end = start.checked_add(1_usize.checked_shl(height)?)?;
        let mut level = self.0.get(start..end)?.to_vec();
        while level.len() > 1 {
            let (pairs, _) = level.as_chunks::<2>();
            level = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
        }
        level.first().copied()
    }
}

/// Writes entries as they stand in a tile.
///
/// # Errors
/// The first entry that is longer than [`MAX_ENTRY`], by its place.
pub fn write_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, usize> {
    let mut bytes = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let entry = entry.as_ref();
        bytes.extend_from_slice(&u16::try_from(entry.len()).map_err(|_| at)?.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// Reads exactly `width` entries.
///
/// # Errors
/// [`TileError::Short`] and [`TileError::Trailing`].
pub fn read_bundle(bytes: &[u8], width: u64) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    for at in 0..width {
        let entry = rest
            .split_first_chunk()
            .and_then(|(length, after)| after.split_at_checked(usize::from(u16::from_be_bytes(*length))));
        let (entry, after) = entry.ok_or(TileError::Short { at })?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err(TileError::Trailing { more: rest.len() }) }
}

#[cfg(test)]
mod tests;
