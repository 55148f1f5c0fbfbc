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

use crate::audit::tree::{Tree, inclusion, leaf_hash, verify_inclusion};
use crate::challenge::TrustVersion;
use crate::digest::Sha256Digest;
use crate::trust::{Files, MAX_FILE, is_path};

/// The most files that are proved at once: policy, person, certificate and attestation of 300 people.
pub const MAX_PROVED: usize = 1024;

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

/// The files of one version, hashed: what is hashed once need not be again.
#[derive(Clone, Debug)]
pub struct Manifest {
    files: Files,
    hashed: Hashed,
}

impl Manifest {
    /// Hashes every file.
    pub fn new(files: Files) -> Self {
        Self { hashed: Hashed::new(&files), files }
    }

    /// The files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The same without what was found out about them.
    pub fn into_files(self) -> Files {
        self.files
    }

    /// How many there are.
    pub fn size(&self) -> u64 {
        self.hashed.tree.size()
    }

    /// The root over the lines: the digest of the version.
    pub fn digest(&self) -> Sha256Digest {
        self.hashed.tree.root()
    }

    /// Shows that one file stands in it.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`].
    pub fn prove(&self, path: &str) -> Result<FileProof, ManifestError> {
        self.hashed.prove(&self.files, path)
    }
}

/// The tree over the lines of some files.
#[derive(Clone, Debug)]
struct Hashed {
    /// Path to the place of its line.
    places: BTreeMap<String, usize>,
    tree: Tree,
}

impl Hashed {
    fn new(files: &Files) -> Self {
        let mut lines: Vec<(String, &String)> =
            files.iter().map(|(path, bytes)| (line(path, bytes), path)).collect();
        lines.sort();
        let places = lines.iter().enumerate().map(|(at, (_, path))| ((*path).clone(), at)).collect();
        let mut tree = Tree::default();
        lines.iter().for_each(|(line, _)| tree.append(leaf_hash(line.as_bytes())));
        Self { places, tree }
    }

    fn prove(&self, files: &Files, path: &str) -> Result<FileProof, ManifestError> {
        let unknown = || ManifestError::Unknown { path: path.into() };
        let (index, bytes) = self.places.get(path).zip(files.get(path)).ok_or_else(unknown)?;
        let index = *index as u64;
        let proof = inclusion(&self.tree, index, self.tree.size()).map_err(|_| unknown())?;
        Ok(FileProof { path: path.into(), bytes: bytes.clone(), index, proof })
    }
}

/// The digest of the version that `files` are.
pub fn digest(files: &Files) -> Sha256Digest {
    Hashed::new(files).tree.root()
}

/// Shows that each of `paths` stands in the version that `files` are. Gives the number of its files, too,
/// without which nobody can [`check`].
///
/// # Errors
/// [`ManifestError::Unknown`].
pub fn prove(files: &Files, paths: &[&str]) -> Result<(u64, Vec<FileProof>), ManifestError> {
    let hashed = Hashed::new(files);
    let proofs = paths.iter().map(|path| hashed.prove(files, path)).collect::<Result<_, _>>()?;
    Ok((hashed.tree.size(), proofs))
}

/// Sees that every file stands in `version`, which has `size` files; all of them or none.
///
/// # Errors
/// The first of them that is not shown.
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
        let leaf = leaf_hash(line(&path, &bytes).as_bytes());
        if verify_inclusion(&leaf, index, size, &proof, &version.digest).is_err() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tree::MAX_PROOF;

    fn files(count: usize) -> Files {
        (0..count).map(|n| (format!("people/p{n}.toml"), format!("{n}\n").into_bytes())).collect()
    }

    fn version(files: &Files) -> TrustVersion {
        TrustVersion { number: 7, digest: digest(files) }
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
