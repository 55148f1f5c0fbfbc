//! The digest of a version of trust, and the pin that says which one to believe.

use aws_lc_rs::digest::{Context, SHA256};

use crate::challenge::TrustVersion;
use crate::digest::Sha256Digest;
use crate::trust::Files;

/// The RFC 6962 root over the manifest: a line `<sha256> <size> <path>` for each file, sorted by bytes.
///
/// # Source
/// RFC 6962, section 2.1 (Merkle Tree Hash). A line is hashed without its line feed.
pub fn digest(files: &Files) -> Sha256Digest {
    let line = |(path, bytes): (&String, &Vec<u8>)| {
        let hash = Sha256Digest::of(bytes).to_string();
        format!("{} {} {path}", hash.trim_start_matches("sha256:"), bytes.len())
    };
    let mut manifest: Vec<String> = files.iter().map(line).collect();
    manifest.sort();
    let leaves: Vec<[u8; 32]> = manifest.iter().map(|line| hash(&[&[0], line.as_bytes()])).collect();
    root(&leaves).into()
}

fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => hash(&[]),
        [leaf] => *leaf,
        _ => {
            // The largest power of two below the number of leaves.
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            hash(&[&[1], &root(left), &root(right)])
        }
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().expect("SHA-256 yields 32 bytes")
}

/// The pin is not a number and a digest in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pin is not a version's number and digest in one line")]
pub struct NotAPin;

/// Reads a pin: the one line that [`write_pin`] writes.
///
/// # Errors
/// [`NotAPin`].
pub fn read_pin(bytes: &[u8]) -> Result<TrustVersion, NotAPin> {
    let line = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n'));
    line.and_then(|line| line.parse().ok()).ok_or(NotAPin)
}

/// A pin as it lies in its file.
pub fn write_pin(version: &TrustVersion) -> String {
    format!("{version}\n")
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
        let leaves: Vec<[u8; 32]> = inputs.iter().map(|input| hash(&[&[0], input])).collect();
        for (size, expected) in roots.iter().enumerate() {
            assert_eq!(
                Sha256Digest::from(root(&leaves[..size])).to_string(),
                format!("sha256:{expected}"),
                "{size} leaves"
            );
        }
    }

    #[test]
    fn a_pin_is_one_line() {
        let version = TrustVersion { number: 7, digest: Sha256Digest::of(b"x") };
        assert_eq!(read_pin(write_pin(&version).as_bytes()), Ok(version));
        for bad in
            ["", "\n", "7\n", &version.to_string(), &format!("{version}\n\n"), &format!(" {version}\n")]
        {
            assert_eq!(read_pin(bad.as_bytes()), Err(NotAPin), "{bad:?}");
        }
    }
}
