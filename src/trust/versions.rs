//! The digest of a version of trust, and the pin that says which one to believe.

use crate::challenge::TrustVersion;
use crate::digest::Sha256Digest;
use crate::trust::Files;
use crate::trust::manifest::Manifest;

/// The digest of a version: the root over its [`Manifest`].
pub fn digest(files: &Files) -> Sha256Digest {
    Manifest::new(files).digest()
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
