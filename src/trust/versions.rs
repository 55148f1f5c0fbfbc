//! The digest of a version of trust, and the pin that says which one to believe.

use crate::challenge::TrustVersion;
pub use crate::trust::manifest::digest;

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
    use crate::digest::Sha256Digest;
    use crate::trust::Files;

    #[test]
    fn the_digest_is_the_root_over_the_sorted_manifest() {
        let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
        let files = Files::from([file("policy.toml", "b"), file("people/a.toml", "a")]);
        let line = |path: &str, text: &str| {
            let hash = Sha256Digest::of(text.as_bytes()).to_string();
            Sha256Digest::of_parts(&[&[0], &hash.as_bytes()[7..], b" 1 ", path.as_bytes()])
        };
        // "3e…" is the hash of `b`, "ca…" that of `a`.
        let (first, second) = (line("policy.toml", "b"), line("people/a.toml", "a"));
        let root = Sha256Digest::of_parts(&[&[1], first.as_bytes(), second.as_bytes()]);
        assert_eq!(digest(&files), root);
        assert_eq!(digest(&Files::new()), Sha256Digest::of(b""));
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
