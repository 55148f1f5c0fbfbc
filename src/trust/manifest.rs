//! The manifest of a version: a line for each file, and proofs that a file stands in it.
//!
//! ```text
//! 4f2c9d…e6 1312 people/alice.toml
//! 9f86d0…08 742 policy.toml
//! b5bb9d…3c 1890 tokens/12345678.asc
//! ```
//!
//! A line is the SHA-256 of the file in lower-case hexadecimal, its size in bytes and its path; the lines are sorted
//! by bytes. The digest of a version is the RFC 6962 root over them, each without a line feed. Whoever has only the
//! pin can so be shown the few files that matter, however many there are.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};

use crate::challenge::TrustVersion;
use crate::digest::Sha256Digest;
use crate::trust::{Files, MAX_FILE, is_path};

/// The most hashes in one proof: a tree that needs more has more leaves than can be counted in 64 bits.
pub const MAX_PROOF: usize = 64;
/// The most files that are proved at once: policy, person, certificate and attestation of 300 people.
pub const MAX_PROVED: usize = 1024;

type Hash = [u8; 32];

/// One file, and what shows that it stands in a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProof {
    /// Below the directory.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// The place of its line in the manifest, counted from 0.
    pub index: u64,
    /// The hashes beside the way from its line to the root, from the line upwards.
    pub proof: Vec<Sha256Digest>,
}

/// Files that were seen to stand in a version. Only [`check`] makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    version: TrustVersion,
    files: Files,
}

impl Proved {
    /// The version in which they stand.
    pub fn version(&self) -> &TrustVersion {
        &self.version
    }

    /// The files. That one is not among them says nothing about the version.
    pub fn files(&self) -> &Files {
        &self.files
    }
}

/// Why files are not shown to stand in a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Its proof does not lead to the digest of the version.
    #[error("{path} does not stand in trust {version}")]
    NotInVersion {
        /// Which file.
        path: String,
        /// Where it should stand.
        version: TrustVersion,
    },
    /// A path that no file of trust has.
    #[error("{path:?} is not the path of a file of trust")]
    Path {
        /// As it stands there, cut to 128 characters.
        path: String,
    },
    /// A file is longer than one of trust may be, or there are more than [`MAX_PROVED`] of them.
    #[error("{path} is one too many, or too large")]
    TooLarge {
        /// Which file.
        path: String,
    },
    /// A file is given twice.
    #[error("{path} is given twice")]
    Twice {
        /// Which file.
        path: String,
    },
    /// There is no such file to prove.
    #[error("there is no {path}")]
    Unknown {
        /// Which file.
        path: String,
    },
}

/// The lines of one version and the tree over them.
#[derive(Debug)]
pub struct Manifest {
    lines: Vec<String>,
    /// Path to the place of its line.
    places: BTreeMap<String, usize>,
    /// The leaves, and above them each level up to the root.
    levels: Vec<Vec<Hash>>,
}

impl Manifest {
    /// Hashes every file.
    pub fn new(files: &Files) -> Self {
        let mut lines: Vec<(String, &String)> =
            files.iter().map(|(path, bytes)| (line(path, bytes), path)).collect();
        lines.sort();
        let places = lines.iter().enumerate().map(|(at, (_, path))| ((*path).clone(), at)).collect();
        let lines: Vec<String> = lines.into_iter().map(|(line, _)| line).collect();
        let levels = levels(lines.iter().map(|line| leaf(line)).collect());
        Self { lines, places, levels }
    }

    /// The lines, sorted.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// How many lines there are.
    pub fn size(&self) -> u64 {
        self.lines.len() as u64
    }

    /// The root over the lines: the digest of the version.
    pub fn digest(&self) -> Sha256Digest {
        match self.levels.last().and_then(|root| root.first()) {
            Some(root) => (*root).into(),
            None => hash(&[]).into(),
        }
    }

    /// Shows that one file stands in it.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`].
    ///
    /// # Source
    /// RFC 6962, section 2.1.1 (Merkle Audit Paths).
    pub fn prove(&self, files: &Files, path: &str) -> Result<FileProof, ManifestError> {
        let unknown = || ManifestError::Unknown { path: path.into() };
        let (index, bytes) = self.places.get(path).zip(files.get(path)).ok_or_else(unknown)?;
        // The last of an odd number is carried up as it is and has nobody beside it there.
        let beside = |(height, level): (usize, &Vec<Hash>)| level.get((index >> height) ^ 1).copied();
        let proof = self.levels.iter().enumerate().filter_map(beside).map(Into::into).collect();
        Ok(FileProof { path: path.into(), bytes: bytes.clone(), index: *index as u64, proof })
    }
}

/// Shows that each of `paths` stands in the version that `files` are. Gives the number of its files, too,
/// without which nobody can [`check`].
///
/// # Errors
/// [`ManifestError::Unknown`].
pub fn prove(files: &Files, paths: &[&str]) -> Result<(u64, Vec<FileProof>), ManifestError> {
    let manifest = Manifest::new(files);
    let proofs = paths.iter().map(|path| manifest.prove(files, path)).collect::<Result<_, _>>()?;
    Ok((manifest.size(), proofs))
}

/// Sees that every file stands in `version`, which has `size` files; all of them or none.
///
/// # Errors
/// The first of them that is not shown.
///
/// # Source
/// RFC 9162, section 2.1.3.2 (Verifying an Inclusion Proof).
pub fn check(
    version: &TrustVersion,
    size: u64,
    files: impl IntoIterator<Item = FileProof>,
) -> Result<Proved, ManifestError> {
    let mut proved = Files::new();
    for FileProof { path, bytes, index, proof } in files {
        if !is_path(&path) {
            return Err(ManifestError::Path { path: path.chars().take(128).collect() });
        }
        if proved.len() >= MAX_PROVED || bytes.len() as u64 > MAX_FILE {
            return Err(ManifestError::TooLarge { path });
        }
        if root_of(leaf(&line(&path, &bytes)), index, size, &proof) != Some(*version.digest.as_bytes()) {
            return Err(ManifestError::NotInVersion { path, version: *version });
        }
        if proved.insert(path.clone(), bytes).is_some() {
            return Err(ManifestError::Twice { path });
        }
    }
    Ok(Proved { version: *version, files: proved })
}

/// The line of one file. No path holds a space, so that two files have never the same line.
fn line(path: &str, bytes: &[u8]) -> String {
    let hash = Sha256Digest::of(bytes).to_string();
    format!("{} {} {path}", hash.trim_start_matches("sha256:"), bytes.len())
}

fn leaf(line: &str) -> Hash {
    hash(&[&[0], line.as_bytes()])
}

fn node(left: &Hash, right: &Hash) -> Hash {
    hash(&[&[1], left, right])
}

/// Every level of the tree, from the leaves to the root; none if there are no leaves.
fn levels(leaves: Vec<Hash>) -> Vec<Vec<Hash>> {
    let mut levels = Vec::new();
    let mut level = leaves;
    while level.len() > 1 {
        let pair = |pair: &[Hash]| match pair {
            [left, right] => Some(node(left, right)),
            [alone] => Some(*alone),
            _ => None,
        };
        let above = level.chunks(2).filter_map(pair).collect();
        levels.push(std::mem::replace(&mut level, above));
    }
    if !level.is_empty() {
        levels.push(level);
    }
    levels
}

/// The root to which a proof leads; nothing if it is too long or too short for that place in a tree of that size.
fn root_of(leaf: Hash, index: u64, size: u64, proof: &[Sha256Digest]) -> Option<Hash> {
    if index >= size || proof.len() > MAX_PROOF {
        return None;
    }
    let (mut at, mut last, mut found) = (index, size - 1, leaf);
    for beside in proof {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            found = node(beside.as_bytes(), &found);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            found = node(&found, beside.as_bytes());
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(found)
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().expect("SHA-256 yields 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves and roots from the reference vectors of certificate-transparency
    /// (`merkle_tree_test`, inputs of RFC 6962's appendix-style test data).
    #[test]
    fn root_hashes_agree_with_published_vectors() {
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
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
        let leaves: Vec<Hash> = inputs.iter().map(|input| hash(&[&[0], input])).collect();
        for (size, expected) in roots.iter().enumerate() {
            let levels = levels(leaves[..size].to_vec());
            let root = levels.last().map_or(hash(&[]), |root| root[0]);
            assert_eq!(Sha256Digest::from(root).to_string(), format!("sha256:{expected}"), "{size} leaves");
        }
    }

    fn files(count: usize) -> Files {
        (0..count).map(|n| (format!("people/p{n}.toml"), format!("{n}\n").into_bytes())).collect()
    }

    fn version(files: &Files) -> TrustVersion {
        TrustVersion { number: 7, digest: Manifest::new(files).digest() }
    }

    #[test]
    fn every_file_of_every_small_version_is_proved_and_nowhere_else() {
        for count in 1..40 {
            let files = files(count);
            let version = version(&files);
            let paths: Vec<&str> = files.keys().map(String::as_str).collect();
            let (size, proofs) = prove(&files, &paths).unwrap();
            assert_eq!(check(&version, size, proofs.clone()).unwrap().files(), &files);
            for proof in proofs {
                let refused = |size, proof: FileProof| {
                    let path = proof.path.clone();
                    let error = check(&version, size, [proof]).unwrap_err();
                    assert_eq!(error, ManifestError::NotInVersion { path, version });
                };
                let mut other = proof.clone();
                other.bytes.push(b'\n');
                refused(size, other);
                refused(size, FileProof { path: "people/mallory.toml".into(), ..proof.clone() });
                for index in 0..size + 2 {
                    if index != proof.index {
                        refused(size, FileProof { index, ..proof.clone() });
                    }
                }
                refused(proof.index, proof.clone());
                refused(0, proof.clone());
                let mut longer = proof.clone();
                longer.proof.push(version.digest);
                refused(size, longer);
                for at in 0..proof.proof.len() {
                    let mut other = proof.clone();
                    other.proof[at] = Sha256Digest::of(b"other");
                    refused(size, other);
                    let mut shorter = proof.clone();
                    shorter.proof.remove(at);
                    refused(size, shorter);
                }
                refused(size, FileProof { proof: vec![version.digest; MAX_PROOF + 1], ..proof.clone() });
                refused(u64::MAX, FileProof { proof: vec![version.digest; MAX_PROOF], ..proof });
            }
        }
    }

    #[test]
    fn what_cannot_be_a_file_of_trust_is_not_looked_at() {
        let mut files = files(3);
        files.insert("policy.toml".into(), b"x".to_vec());
        let version = version(&files);
        let (size, proofs) = prove(&files, &["policy.toml", "policy.toml"]).unwrap();
        assert_eq!(
            check(&version, size, proofs.clone()),
            Err(ManifestError::Twice { path: "policy.toml".into() })
        );
        for path in
            ["", "people/", "../policy.toml", "people/a/b.toml", "versions/7.json", "people/.a", "a b"]
        {
            let proof = FileProof { path: path.into(), ..proofs[0].clone() };
            assert_eq!(check(&version, size, [proof]), Err(ManifestError::Path { path: path.into() }));
        }
        let large = FileProof { bytes: vec![0; 1 << 20 | 1], ..proofs[0].clone() };
        assert_eq!(
            check(&version, size, [large]),
            Err(ManifestError::TooLarge { path: "policy.toml".into() })
        );
        let unknown = prove(&files, &["people/mallory.toml"]).unwrap_err();
        assert_eq!(unknown, ManifestError::Unknown { path: "people/mallory.toml".into() });
    }
}
