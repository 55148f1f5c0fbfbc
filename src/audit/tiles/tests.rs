//! The specification's own examples, and every byte too few or too many.

use super::*;
use crate::audit::tree::{Tree, leaf_hash};

fn path(kind: Kind, index: u64, width: u64) -> String {
    Tile { kind, index, width }.to_string()
}

/// From C2SP tlog-tiles: "index 1234067 will be encoded as x001/x234/067".
#[test]
fn tiles_are_named_as_published() {
    assert_eq!(path(Kind::Hashes(0), 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(path(Kind::Hashes(0), 0, 256), "tile/0/000");
    assert_eq!(path(Kind::Hashes(7), 999, 255), "tile/7/999.p/255");
    assert_eq!(path(Kind::Entries, 1000, 1), "tile/entries/x001/000.p/1");
    assert_eq!(path(Kind::Entries, u64::MAX, 256), "tile/entries/x018/x446/x744/x073/x709/x551/615");
    assert_eq!(Tile { kind: Kind::Hashes(0), index: 1000, width: 7 }.partial_folder(), "tile/0/x001/000.p");
}

/// From C2SP tlog-tiles: the trees of 70 000 and of 256 leaves.
#[test]
fn trees_have_the_published_tiles() {
    let count = |size: u64, kind: Kind, full: bool| {
        Tile::between(0, size).filter(|tile| tile.kind == kind && tile.is_full() == full).count()
    };
    let width = |size: u64, kind: Kind| {
        Tile::between(0, size).find(|tile| tile.kind == kind && !tile.is_full()).map(|tile| tile.width)
    };
    for (kind, full, partial) in [
        (Kind::Entries, 273, Some(112)),
        (Kind::Hashes(0), 273, Some(112)),
        (Kind::Hashes(1), 1, Some(17)),
        (Kind::Hashes(2), 0, Some(1)),
        (Kind::Hashes(3), 0, None),
    ] {
        assert_eq!((count(70_000, kind, true), width(70_000, kind)), (full, partial), "{kind:?}");
    }
    let names: Vec<_> = Tile::between(0, 256).map(|tile| tile.to_string()).collect();
    assert_eq!(names, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(Tile::between(0, 0).count(), 0);
    assert_eq!(Tile::between(70_000, 70_000).count(), 0);
}

#[test]
fn growth_touches_only_what_is_new() {
    let names: Vec<_> = Tile::between(255, 258).map(|tile| tile.to_string()).collect();
    let expected =
        ["tile/entries/000", "tile/entries/001.p/2", "tile/0/000", "tile/0/001.p/2", "tile/1/000.p/1"];
    assert_eq!(names, expected);
    let names: Vec<_> = Tile::between(512, 513).map(|tile| tile.to_string()).collect();
    assert_eq!(names, ["tile/entries/002.p/1", "tile/0/002.p/1"]);
    // Whatever the steps, they add up to the tiles of the whole.
    for size in [1, 255, 256, 257, 600, 66_000] {
        let whole: Vec<_> = Tile::between(0, size).filter(Tile::is_full).collect();
        let mut steps: Vec<_> = Vec::new();
        let mut at = 0;
        while at < size {
            let next = size.min(at + 97);
            steps.extend(Tile::between(at, next).filter(Tile::is_full));
            at = next;
        }
        steps.sort_by_key(|tile| whole.iter().position(|other| other == tile));
        assert_eq!(steps, whole, "{size}");
    }
}

#[test]
fn entries_are_read_as_they_were_written() {
    let entries: Vec<Vec<u8>> = vec![b"".to_vec(), b"a".to_vec(), vec![b'x'; MAX_ENTRY]];
    let bytes = write_bundle(&entries).unwrap();
    assert_eq!(bytes[..5], [0, 0, 0, 1, b'a']);
    assert_eq!(read_bundle(&bytes, 3), Ok(entries.iter().map(Vec::as_slice).collect()));
    assert_eq!(write_bundle(&[vec![0; MAX_ENTRY], vec![0; MAX_ENTRY + 1]]), Err(1));
    assert_eq!(read_bundle(&bytes, 2), Err(TileError::Trailing { more: 2 + MAX_ENTRY }));
    assert_eq!(read_bundle(&bytes, 4), Err(TileError::Short { at: 3 }));
    for length in [0, 1, 2, 3, 4, 6, bytes.len() - 1] {
        assert!(matches!(read_bundle(&bytes[..length], 3), Err(TileError::Short { .. })), "{length}");
    }
}

#[test]
fn a_tile_of_hashes_has_the_subtrees_that_the_tree_has() {
    let mut tree = Tree::default();
    (0..200_u32).for_each(|leaf| tree.append(leaf_hash(&leaf.to_be_bytes())));
    let bytes = Tile::hashes(0, 0, 200, &tree).unwrap();
    let tile = HashTile::parse(&bytes, 200).unwrap();
    for height in 0..8 {
        for index in 0..256 >> height {
            let there = (index + 1) << height <= 200;
            assert_eq!(tile.subtree(height, index), tree.hash(height, index).ok().filter(|_| there));
        }
    }
    assert_eq!(tile.subtree(0, u64::MAX), None);
    assert_eq!(tile.subtree(63, 2), None);
    for width in [199, 201, u64::MAX] {
        assert!(HashTile::parse(&bytes, width).is_err());
    }
    assert!(HashTile::parse(&bytes[..6399], 200).is_err());
}
