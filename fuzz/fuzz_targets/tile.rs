//! Tiles of hashes and of entries. The first byte says how wide the tile is to be, less one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchgate::audit::tiles::{HashTile, read_bundle, write_bundle};

fuzz_target!(|input: &[u8]| {
    let Some((width, bytes)) = input.split_first() else { return };
    let width = u64::from(*width) + 1;
    if let Ok(entries) = read_bundle(bytes, width) {
        assert_eq!(entries.len() as u64, width);
        assert_eq!(write_bundle(&entries).as_deref(), Ok(bytes));
    }
    if let Ok(tile) = HashTile::parse(bytes, width) {
        for height in 0..9 {
            let there = (0..=width).filter(|index| tile.subtree(height, *index).is_some()).count() as u64;
            assert_eq!(there, width >> height);
        }
        assert_eq!(tile.subtree(64, u64::MAX), None);
    }
});
