//! Published vectors, the definition itself as an oracle, and every proof of every small tree.

use super::*;

/// Inputs, roots and proofs of the reference trees of certificate-transparency: `rfc6962_test.go`, `testonly/`
/// and `proof/verify_test.go` of github.com/transparency-dev/merkle (Apache-2.0).
const INPUTS: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const INCLUSION: [(u64, u64, &[&str]); 5] = [
    (0, 1, &[]),
    (
        0,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

const CONSISTENCY: [(u64, u64, &[&str]); 5] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
    (
        6,
        7,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
];

/// One more than a power of two above it, so that every shape of right edge occurs.
const MOST: u64 = 130;

fn parse(hex: &str) -> Sha256Digest {
    format!("sha256:{hex}").parse().unwrap()
}

fn leaves(size: u64) -> Vec<Sha256Digest> {
    (0..size).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

fn tree(leaves: &[Sha256Digest]) -> Tree {
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.append(*leaf));
    tree
}

/// RFC 6962's definition as it stands: the largest power of two below the number of leaves splits them.
fn defined_root(leaves: &[Sha256Digest]) -> Sha256Digest {
    match leaves {
        [] => Sha256Digest::of(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Sha256Digest::of_parts(&[&[1], defined_root(left).as_bytes(), defined_root(right).as_bytes()])
        }
    }
}

/// Every single bit of a small proof, one bit of each hash of a large one: `turn` says which.
fn flips(proof: &[Sha256Digest], all: bool, turn: usize) -> impl Iterator<Item = Vec<Sha256Digest>> + '_ {
    let bits = move |at: usize| if all { 0..256 } else { (turn + at) * 37 % 256..(turn + at) * 37 % 256 + 1 };
    (0..proof.len()).flat_map(move |at| bits(at).map(move |bit| (at, bit))).map(|(at, bit)| {
        let mut flipped = proof.to_vec();
        flipped[at] = flip(&proof[at], bit);
        flipped
    })
}

fn flip(hash: &Sha256Digest, bit: usize) -> Sha256Digest {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes.into()
}

/// The proof without each of its hashes, and with one more at either end.
fn misfits(proof: &[Sha256Digest]) -> Vec<Vec<Sha256Digest>> {
    let without = |at: usize| [&proof[..at], &proof[at + 1..]].concat();
    let more = leaf_hash(b"more");
    let mut misfits: Vec<_> = (0..proof.len()).map(without).collect();
    misfits.push([proof, &[more]].concat());
    misfits.push([&[more], proof].concat());
    misfits.push([proof, proof, &[more]].concat());
    misfits
}

#[test]
fn roots_and_proofs_agree_with_published_vectors() {
    let leaves: Vec<_> = INPUTS.iter().map(|input| leaf_hash(input)).collect();
    let tree = tree(&leaves);
    for (size, expected) in ROOTS.iter().enumerate() {
        assert_eq!(root(&tree, size as u64), Ok(parse(expected)), "{size} leaves");
    }
    let at = |size: u64| parse(ROOTS[usize::try_from(size).unwrap()]);
    for (index, size, hashes) in INCLUSION {
        let proof: Vec<_> = hashes.iter().map(|hash| parse(hash)).collect();
        assert_eq!(inclusion(&tree, index, size), Ok(proof.clone()), "{index} in {size}");
        let leaf = &leaves[usize::try_from(index).unwrap()];
        assert_eq!(verify_inclusion(leaf, index, size, &proof, &at(size)), Ok(()), "{index} in {size}");
    }
    for (old, new, hashes) in CONSISTENCY {
        let proof: Vec<_> = hashes.iter().map(|hash| parse(hash)).collect();
        assert_eq!(consistency(&tree, old, new), Ok(proof.clone()), "{old} to {new}");
        assert_eq!(verify_consistency(old, &at(old), new, &at(new), &proof), Ok(()), "{old} to {new}");
    }
}

#[test]
fn a_leaf_is_hashed_alike_however_long_it_is() {
    for length in [0, 1, SHORT - 2, SHORT - 1, SHORT, SHORT + 1, 65_535] {
        let entry = vec![7; length];
        assert_eq!(leaf_hash(&entry), Sha256Digest::of_parts(&[&[0], &entry]), "{length} bytes");
    }
}

#[test]
fn every_small_tree_has_the_root_that_the_definition_gives() {
    let leaves = leaves(MOST);
    let full = tree(&leaves);
    let mut growing = Tree::default();
    let mut edge = Edge::default();
    let mut kept = Vec::new();
    for size in 0..=MOST {
        let expected = defined_root(&leaves[..usize::try_from(size).unwrap()]);
        assert_eq!(root(&full, size), Ok(expected), "{size}");
        assert_eq!((growing.root(), growing.size()), (expected, size));
        assert_eq!((edge.root(), edge.size()), (expected, size));
        assert_eq!(Edge::load(&full, size), Ok(edge.clone()), "{size}");
        if let Some(leaf) = usize::try_from(size).ok().and_then(|at| leaves.get(at)) {
            growing.append(*leaf);
            edge.append(*leaf, |node| kept.push(node));
        }
    }
    // What the edge gave to keep is all that the tree has.
    assert_eq!(kept.len(), full.levels.iter().map(Vec::len).sum::<usize>());
    for node in kept {
        assert_eq!(full.hash(node.level, node.index), Ok(node.hash));
    }
}

#[test]
fn every_inclusion_proof_of_every_small_tree_verifies_and_no_other() {
    let leaves = leaves(MOST);
    let full = tree(&leaves);
    for size in 1..=MOST {
        let expected = root(&full, size).unwrap();
        for index in 0..size {
            let leaf = &leaves[usize::try_from(index).unwrap()];
            let proof = inclusion(&full, index, size).unwrap();
            assert!(proof.len() <= usize::try_from(size.next_power_of_two().trailing_zeros()).unwrap());
            let check = |leaf: &Sha256Digest, index: u64, proof: &[Sha256Digest]| {
                verify_inclusion(leaf, index, size, proof, &expected)
            };
            assert_eq!(check(leaf, index, &proof), Ok(()), "{index} in {size}");
            let turn = usize::try_from(index + size).unwrap();
            for flipped in flips(&proof, size <= 17, turn) {
                assert!(matches!(check(leaf, index, &flipped), Err(ProofError::Root { .. })));
            }
            assert!(check(&flip(leaf, turn % 256), index, &proof).is_err());
            assert!(verify_inclusion(leaf, index, size, &proof, &flip(&expected, turn % 256)).is_err());
            for misfit in misfits(&proof) {
                assert!(matches!(check(leaf, index, &misfit), Err(ProofError::Length { .. })));
            }
            for other in (0..=size).chain([u64::MAX]).filter(|other| *other != index) {
                assert!(check(leaf, other, &proof).is_err(), "{index} as {other} in {size}");
            }
        }
    }
}

#[test]
fn every_pair_of_small_trees_is_consistent_and_no_proof_shows_more() {
    let leaves = leaves(MOST);
    let full = tree(&leaves);
    let roots: Vec<_> = (0..=MOST).map(|size| root(&full, size).unwrap()).collect();
    let at = |size: u64| &roots[usize::try_from(size).unwrap()];
    for new in 0..=MOST {
        for old in 0..=new {
            let proof = consistency(&full, old, new).unwrap();
            let check = |old_root: &Sha256Digest, new_root: &Sha256Digest, proof: &[Sha256Digest]| {
                verify_consistency(old, old_root, new, new_root, proof)
            };
            assert_eq!(check(at(old), at(new), &proof), Ok(()), "{old} to {new}");
            let turn = usize::try_from(old + new).unwrap();
            for flipped in flips(&proof, new <= 17, turn) {
                assert!(matches!(check(at(old), at(new), &flipped), Err(ProofError::Root { .. })));
            }
            assert!(check(&flip(at(old), turn % 256), at(new), &proof).is_err(), "{old} to {new}");
            // Of nothing, any tree is the continuation.
            if old != 0 {
                assert!(check(at(old), &flip(at(new), turn % 256), &proof).is_err(), "{old} to {new}");
            }
            for misfit in misfits(&proof) {
                assert!(matches!(check(at(old), at(new), &misfit), Err(ProofError::Length { .. })));
            }
            assert!(old == new || verify_consistency(new, at(new), old, at(old), &proof).is_err());
        }
    }
}

/// A log that was rewritten has no proof, whatever its hashes say.
#[test]
fn a_rewritten_log_is_not_consistent() {
    let honest = leaves(40);
    let full = tree(&honest);
    for changed in 0..20_usize {
        let mut leaves = honest.clone();
        leaves[changed] = leaf_hash(b"other");
        let rewritten = tree(&leaves);
        for old in changed as u64 + 1..=20 {
            let proof = consistency(&rewritten, old, 40).unwrap();
            let (old_root, new_root) = (root(&full, old).unwrap(), rewritten.root());
            assert!(verify_consistency(old, &old_root, 40, &new_root, &proof).is_err(), "{changed} in {old}");
        }
    }
}

#[test]
fn what_is_not_in_the_tree_has_no_proof() {
    let tree = tree(&leaves(5));
    assert_eq!(inclusion(&tree, 5, 5), Err(TreeError::Beyond { size: 5, wanted: 6 }));
    assert_eq!(consistency(&tree, 6, 5), Err(TreeError::Beyond { size: 5, wanted: 6 }));
    assert!(matches!(root(&tree, 6), Err(TreeError::Missing { level: 1, index: 2, .. })));
    assert!(matches!(inclusion(&tree, 0, 6), Err(TreeError::Missing { .. })));
    assert!(matches!(Edge::load(&tree, 8), Err(TreeError::Missing { level: 3, index: 0, .. })));
    for size in [u64::MAX, 1 << 63, (1 << 63) + 1] {
        assert!(root(&tree, size).is_err());
        assert!(inclusion(&tree, size - 1, size).is_err());
        assert!(consistency(&tree, 1, size).is_err());
        assert!(consistency(&tree, size - 1, size).is_err());
    }
}

/// The largest trees that 64 bits can count are as deep as a proof may be long.
#[test]
fn the_deepest_proof_is_the_longest_allowed() {
    let leaf = leaf_hash(b"");
    let expected = leaf_hash(b"root");
    for index in [0, 1, u64::MAX - 2, 1 << 63, (1 << 63) - 1] {
        for length in 0..=MAX_PROOF + 1 {
            let proof = vec![leaf; length];
            match verify_inclusion(&leaf, index, u64::MAX, &proof, &expected) {
                Err(ProofError::Length { expected, .. }) => assert!(expected <= MAX_PROOF),
                Err(ProofError::Root { .. }) => assert!(length <= MAX_PROOF),
                other => panic!("{other:?}"),
            }
            assert!(verify_consistency(index, &leaf, u64::MAX, &expected, &proof).is_err());
        }
    }
}
