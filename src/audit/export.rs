//! The log as files: a folder that any web server can serve, for witnesses and monitors.
//!
//! ```text
//! export/
//! ├── checkpoint                the signed note; written last
//! ├── tile/0/000.p/17           hashes
//! └── tile/entries/000.p/17     entries
//! ```

mod folder;

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::checkpoint::{CheckpointError, SignedCheckpoint};
use super::note::{LogKey, MAX_NOTE};
use super::tiles::{
    HEIGHT, HashTile, Kind, MAX_BUNDLE, MAX_HASHES, Tile, TileError, WIDTH, read_bundle, write_bundle,
};
use super::tree::{Edge, Hashes, TreeError, leaf_hash, root};
use super::witness::Witnesses;
use crate::digest::Sha256Digest;
use folder::Folder;

/// Whatever holds the entries of a log, beside their hashes.
pub trait Entries {
    /// The lines of the entries from `start` up to but not including `end`: all of them, in order.
    ///
    /// # Errors
    /// In the holder's words.
    fn entries(&self, start: u64, end: u64) -> Result<Vec<Vec<u8>>, String>;
}

/// Why a log cannot be written as files, or read from them.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// What was exported before has more entries than the log has now.
    #[error("the export has {exported} entries, the log only {size}")]
    Ahead {
        /// Seen by others already.
        exported: u64,
        /// What is left.
        size: u64,
    },
    /// The checkpoint in the folder is not believed.
    #[error("{}: {error}", path.display())]
    Checkpoint {
        /// Where it lies.
        path: PathBuf,
        /// Why.
        error: CheckpointError,
    },
    /// What was exported before is not the beginning of the log.
    #[error("the export's first {size} entries have the root {exported}, the log's {found}")]
    Fork {
        /// How many entries both have.
        size: u64,
        /// Seen by others already.
        exported: Sha256Digest,
        /// What they are now.
        found: Sha256Digest,
    },
    /// The log does not give its entries.
    #[error("the entries {start} to {end} cannot be read: {reason}")]
    Entries {
        /// The first.
        start: u64,
        /// Behind the last.
        end: u64,
        /// In the log's words.
        reason: String,
    },
    /// Tiles and entries do not lead to the signed root.
    #[error("the entries have the root {found}, the checkpoint {signed}")]
    Root {
        /// Under the log's signature.
        signed: Sha256Digest,
        /// Of what lies there.
        found: Sha256Digest,
    },
    /// A file is not what its name says.
    #[error("{}: {error}", path.display())]
    Tile {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: TileError,
    },
    /// A hash in a tile is not the one that the entries give.
    #[error("{}: its hash {at} is not the one of the entries", path.display())]
    Hash {
        /// Which file.
        path: PathBuf,
        /// Counted from its first.
        at: u64,
    },
    /// The log lacks hashes of its own.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The system's word.
    #[error("{}: {error}", path.display())]
    Unusable {
        /// Which file or folder.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// How much was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Entries that were exported before.
    pub before: u64,
    /// Entries that are now.
    pub size: u64,
    /// Tiles written this time.
    pub tiles: u64,
}

/// Brings a folder up to a signed checkpoint of a log: what is new since the checkpoint that lies there, tiles first.
/// Whoever reads meanwhile sees the old state or the new one. No link below the folder is followed to write.
///
/// # Errors
/// Any [`ExportError`]; the folder then still stands for its old checkpoint.
pub fn export(
    folder: &Path,
    log: &(impl Hashes + Entries),
    to: &SignedCheckpoint,
) -> Result<Written, ExportError> {
    let size = to.checkpoint().size;
    let path = folder.join("checkpoint");
    let before = match bounded(&path, MAX_NOTE)? {
        None => 0,
        Some(note) => {
            // Under the same key, but whatever witnesses signed: it is ours.
            let old = SignedCheckpoint::open(&note, to.key(), &Witnesses::default())
                .map_err(|error| ExportError::Checkpoint { path: path.clone(), error })?;
            check_grown(log, &old, size)?;
            old.checkpoint().size
        }
    };
    let found = root(log, size)?;
    if found != to.checkpoint().root {
        return Err(ExportError::Root { signed: to.checkpoint().root, found });
    }
    let folder = Folder::open(folder)?;
    let mut tiles = 0;
    for tile in Tile::between(before, size) {
        let bytes = match tile.kind {
            Kind::Entries => bundle(log, &tile)?,
            Kind::Hashes(level) => Tile::hashes(level, tile.index, tile.width, log)?,
        };
        folder.write(&tile.to_string(), &bytes)?;
        tiles += 1;
        if tile.is_full() {
            folder.remove(&tile.partial_folder())?;
        }
    }
    folder.write("checkpoint", to.note().to_string().as_bytes())?;
    Ok(Written { before, size, tiles })
}

/// What others have seen must be the beginning of what they see next.
fn check_grown(log: &impl Hashes, old: &SignedCheckpoint, size: u64) -> Result<(), ExportError> {
    let old = old.checkpoint();
    if old.size > size {
        return Err(ExportError::Ahead { exported: old.size, size });
    }
    let found = root(log, old.size)?;
    if found == old.root {
        Ok(())
    } else {
        Err(ExportError::Fork { size: old.size, exported: old.root, found })
    }
}

fn bundle(log: &impl Entries, tile: &Tile) -> Result<Vec<u8>, ExportError> {
    let (start, end) = (tile.start(), tile.start() + tile.width);
    let failed = |reason: String| ExportError::Entries { start, end, reason };
    let entries = log.entries(start, end).map_err(failed)?;
    if entries.len() as u64 != tile.width {
        return Err(failed(format!("{} of {} are there", entries.len(), tile.width)));
    }
    write_bundle(&entries).map_err(|at| failed(format!("entry {} is too long", start + at as u64)))
}

/// A folder that [`export`] wrote, here or elsewhere: believed as far as its checkpoint's signatures go.
#[derive(Clone, Debug)]
pub struct Export {
    folder: PathBuf,
    checkpoint: SignedCheckpoint,
}

impl Export {
    /// Reads the checkpoint of a folder.
    ///
    /// # Errors
    /// [`ExportError::Checkpoint`] and [`ExportError::Unusable`].
    pub fn open(folder: &Path, key: &LogKey, witnesses: &Witnesses) -> Result<Self, ExportError> {
        let path = folder.join("checkpoint");
        let note = required(&path, MAX_NOTE)?;
        let checkpoint = SignedCheckpoint::open(&note, key, witnesses)
            .map_err(|error| ExportError::Checkpoint { path, error })?;
        Ok(Self { folder: folder.to_owned(), checkpoint })
    }

    /// The state that the folder stands for.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Reads all entries, gives each to `see`, and checks that they, and every hash in the tiles, are those that the
    /// checkpoint signs. What was seen is to be believed only if this succeeds.
    ///
    /// # Errors
    /// Any [`ExportError`].
    pub fn verify(&self, mut see: impl FnMut(u64, &[u8])) -> Result<(), ExportError> {
        let size = self.checkpoint.checkpoint().size;
        let mut edge = Edge::default();
        // One tile a level, filled as the tree grows.
        let mut open: Vec<Vec<Sha256Digest>> = Vec::new();
        for index in 0..size.div_ceil(WIDTH) {
            let tile = self.tile(Kind::Entries, index * WIDTH)?;
            let bytes = self.read(tile)?;
            let entries = bytes.entries()?;
            for entry in entries {
                see(edge.size(), entry);
                let mut full = Vec::new();
                edge.append(leaf_hash(entry), |node| {
                    if node.level % HEIGHT == 0 {
                        let level = (node.level / HEIGHT) as usize;
                        open.resize_with(open.len().max(level + 1), Vec::new);
                        if let Some(hashes) = open.get_mut(level) {
                            hashes.push(node.hash);
                            if hashes.len() as u64 == WIDTH {
                                full.push((node, std::mem::take(hashes)));
                            }
                        }
                    }
                });
                for (node, hashes) in full {
                    self.compare(node.level / HEIGHT, node.index, &hashes)?;
                }
            }
        }
        let (found, signed) = (edge.root(), self.checkpoint.checkpoint().root);
        if found != signed {
            return Err(ExportError::Root { signed, found });
        }
        for (level, hashes) in (0_u32..).zip(&open) {
            if let Some(last) = Kind::Hashes(level).last(size).filter(|_| !hashes.is_empty()) {
                self.compare(level, last, hashes)?;
            }
        }
        Ok(())
    }

    fn compare(&self, level: u32, at: u64, expected: &[Sha256Digest]) -> Result<(), ExportError> {
        let bytes = self.read(self.tile(Kind::Hashes(level), at)?)?;
        let found = bytes.hashes()?;
        let differs = (0_u64..).zip(expected).find(|(at, hash)| found.subtree(0, *at) != Some(**hash));
        differs.map_or(Ok(()), |(at, _)| Err(ExportError::Hash { path: bytes.path, at }))
    }

    /// The tile that holds the hash or entry `at`, as far as this checkpoint fills it.
    fn tile(&self, kind: Kind, at: u64) -> Result<Tile, ExportError> {
        let size = self.checkpoint.checkpoint().size;
        Ok(Tile::at(kind, at, size).ok_or(TreeError::Beyond { size, wanted: at })?)
    }

    /// A tile's bytes. Where a short one is gone, the full one stands that it grew into.
    fn read(&self, tile: Tile) -> Result<Read, ExportError> {
        let most = if tile.kind == Kind::Entries { MAX_BUNDLE } else { MAX_HASHES };
        let path = self.folder.join(tile.to_string());
        if let Some(bytes) = bounded(&path, most)? {
            return Ok(Read { bytes, path, wanted: tile.width, width: tile.width });
        }
        let full = self.folder.join(Tile { width: WIDTH, ..tile }.to_string());
        match bounded(&full, most)? {
            Some(bytes) => Ok(Read { bytes, path: full, wanted: tile.width, width: WIDTH }),
            None => Err(ExportError::Unusable { path, error: io::ErrorKind::NotFound.into() }),
        }
    }
}

/// What a tile's file holds.
struct Read {
    bytes: Vec<u8>,
    path: PathBuf,
    /// How many hashes or entries count.
    wanted: u64,
    /// How many are there.
    width: u64,
}

impl Read {
    fn entries(&self) -> Result<impl Iterator<Item = &[u8]>, ExportError> {
        let entries = read_bundle(&self.bytes, self.width).map_err(|error| self.malformed(error))?;
        let wanted = usize::try_from(self.wanted).unwrap_or(usize::MAX);
        Ok(entries.into_iter().take(wanted))
    }

    fn hashes(&self) -> Result<HashTile, ExportError> {
        HashTile::parse(&self.bytes, self.width).map_err(|error| self.malformed(error))
    }

    fn malformed(&self, error: TileError) -> ExportError {
        ExportError::Tile { path: self.path.clone(), error }
    }
}

impl Hashes for Export {
    fn hash(&self, level: u32, index: u64) -> Result<Sha256Digest, TreeError> {
        let missing = |reason: String| TreeError::Missing { level, index, reason };
        let (kind, height) = (Kind::Hashes(level / HEIGHT), level % HEIGHT);
        let first = index.checked_mul(1 << height).ok_or_else(|| missing("far beyond".into()))?;
        let read = |tile| self.read(tile).and_then(|read| read.hashes());
        let tile = self.tile(kind, first).map_err(|error| missing(error.to_string()))?;
        let hashes = read(tile).map_err(|error| missing(error.to_string()))?;
        let within = index - (tile.start() >> height);
        hashes.subtree(height, within).ok_or_else(|| missing("not complete yet".into()))
    }
}

impl Entries for Export {
    fn entries(&self, start: u64, end: u64) -> Result<Vec<Vec<u8>>, String> {
        let mut found = Vec::new();
        let mut at = start;
        while at < end {
            let tile = self.tile(Kind::Entries, at).map_err(|error| error.to_string())?;
            let bytes = self.read(tile).map_err(|error| error.to_string())?;
            let entries = bytes.entries().map_err(|error| error.to_string())?;
            let until = end.min(tile.start() + tile.width);
            let wanted = (tile.start()..).zip(entries).filter(|(place, _)| (at..until).contains(place));
            found.extend(wanted.map(|(_, entry)| entry.to_vec()));
            at = until;
        }
        Ok(found)
    }
}

fn required(path: &Path, most: usize) -> Result<Vec<u8>, ExportError> {
    let absent = || ExportError::Unusable { path: path.to_owned(), error: io::ErrorKind::NotFound.into() };
    bounded(path, most)?.ok_or_else(absent)
}

/// A file's bytes, if there is one.
fn bounded(path: &Path, most: usize) -> Result<Option<Vec<u8>>, ExportError> {
    let unusable = |error| ExportError::Unusable { path: path.to_owned(), error };
    // A pipe in a folder from elsewhere must not keep us waiting for whoever writes into it.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(unusable)?,
    };
    if !file.metadata().map_err(unusable)?.is_file() {
        return Err(unusable(io::Error::other("not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(unusable)?;
    if bytes.len() > most {
        let error = TileError::Length { found: bytes.len(), expected: most };
        return Err(ExportError::Tile { path: path.to_owned(), error });
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests;
