//! ASCII armor in its plain form: one block and nothing around it. Sequoia's reader takes every form
//! that was ever written, at ten times the cost.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a block of a detached signature is labelled.
pub(crate) const SIGNATURE: &str = "SIGNATURE";
/// What a block of certificates is labelled.
pub(crate) const PUBLIC_KEY_BLOCK: &str = "PUBLIC KEY BLOCK";

/// Writes a block: lines of 64, no headers, with the CRC-24 of RFC 4880 or without.
///
/// # Source
/// RFC 9580, section 6.2.
pub(crate) fn write(label: &str, bytes: &[u8], crc: bool) -> String {
    let encoded = STANDARD.encode(bytes);
    let mut text = begin(label);
    text.push('\n');
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    if crc {
        text.push_str(&sum(bytes));
        text.push('\n');
    }
    text.push_str(&end(label));
    text
}

/// Reads what [`write()`] writes and nothing else: no byte of such a block is free.
pub(crate) fn read_exact(label: &str, block: &[u8]) -> Option<Vec<u8>> {
    let (bytes, crc) = parts(label, block)?;
    (write(label, &bytes, crc).as_bytes() == block).then_some(bytes)
}

/// Reads one binary packet sequence out of a block as gpg and sequoia write it, comments included.
/// `None` says only that the block is not of this form.
pub(crate) fn read_plain(label: &str, block: &[u8]) -> Option<Vec<u8>> {
    let (bytes, _) = parts(label, block)?;
    // Every packet begins with this bit; without it the content might be armor again.
    bytes.first().is_some_and(|first| first & 0x80 != 0).then_some(bytes)
}

/// The content, and whether there was a CRC.
fn parts(label: &str, block: &[u8]) -> Option<(Vec<u8>, bool)> {
    let mut rest = std::str::from_utf8(block).ok()?.strip_prefix(&begin(label))?.strip_suffix(&end(label))?;
    while let Some(header) = rest.strip_prefix("Comment: ").or_else(|| rest.strip_prefix("Version: ")) {
        rest = header.split_once('\n')?.1;
    }
    let mut encoded = String::with_capacity(rest.len());
    let mut found = None;
    for line in rest.strip_prefix('\n')?.lines() {
        // Nothing may follow the checksum. Padding never begins a line, for a line is whole groups of four.
        if found.is_some() {
            return None;
        }
        if line.starts_with('=') { found = Some(line) } else { encoded.push_str(line) }
    }
    let bytes = STANDARD.decode(encoded).ok()?;
    found.is_none_or(|found| found == sum(&bytes)).then_some((bytes, found.is_some()))
}

fn begin(label: &str) -> String {
    format!("-----BEGIN PGP {label}-----\n")
}

fn end(label: &str) -> String {
    format!("-----END PGP {label}-----\n")
}

/// The checksum's line, without its line feed.
fn sum(bytes: &[u8]) -> String {
    let [_, sum @ ..] = crc24(bytes).to_be_bytes();
    format!("={}", STANDARD.encode(sum))
}

/// # Source
/// RFC 4880, section 6.1.
fn crc24(bytes: &[u8]) -> u32 {
    // Computed while compiling, where an index out of bounds is an error.
    #[allow(clippy::indexing_slicing)]
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at: u32 = 0;
        while at < 256 {
            let mut crc = at << 16;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x80_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x186_4CFB };
                bit += 1;
            }
            table[at as usize] = crc & 0xFF_FFFF;
            at += 1;
        }
        table
    };
    bytes.iter().fold(0xB7_04CE, |crc, &byte| {
        let [_, high, middle, low] = u32::to_be_bytes(crc);
        let step = TABLE.get(usize::from(high ^ byte)).expect("a byte counts to 255");
        u32::from_be_bytes([0, middle, low, 0]) ^ step
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;
    use sequoia_openpgp::armor::{Kind, Reader, ReaderMode, Writer};

    use super::*;

    #[test]
    fn the_checksum_is_rfc_4880s() {
        // Computed bit by bit with the program in RFC 4880, section 6.1.
        assert_eq!(crc24(b""), 0xB7_04CE);
        assert_eq!(crc24(b"123456789"), 0x21_CF02);
    }

    #[test]
    fn only_one_spelling_is_exact() {
        let bytes: Vec<u8> = (0..=200).collect();
        for crc in [true, false] {
            let block = write(SIGNATURE, &bytes, crc);
            assert_eq!(read_exact(SIGNATURE, block.as_bytes()).as_deref(), Some(&bytes[..]));
            assert_eq!(read_exact(PUBLIC_KEY_BLOCK, block.as_bytes()), None);
            for (from, to) in
                [("\n\n", "\nComment: x\n\n"), ("\n\n", "\n"), ("\n-----END", "\n\n-----END"), ("\n", "\r\n")]
            {
                let other = block.replacen(from, to, 1);
                assert_eq!(read_exact(SIGNATURE, other.as_bytes()), None, "{other}");
            }
        }
        let wrong = write(SIGNATURE, &bytes, true).replace(&sum(&bytes), "=AAAA");
        assert_eq!(read_exact(SIGNATURE, wrong.as_bytes()), None);
    }

    proptest! {
        /// Sequoia reads the same out of what we write, and we out of what it writes.
        #[test]
        fn agrees_with_sequoia(bytes in prop::collection::vec(any::<u8>(), 1..300), crc: bool) {
            let ours = write(PUBLIC_KEY_BLOCK, &bytes, crc);
            let mut read = Vec::new();
            let mode = ReaderMode::Tolerant(Some(Kind::PublicKey));
            Reader::from_bytes(ours.as_bytes(), mode).read_to_end(&mut read).unwrap();
            prop_assert_eq!(&read, &bytes);
            let mut writer =
                Writer::with_headers(Vec::new(), Kind::PublicKey, [("Comment", "a: b")]).unwrap();
            std::io::Write::write_all(&mut writer, &bytes).unwrap();
            let theirs = writer.finalize().unwrap();
            let expected = (bytes[0] & 0x80 != 0).then_some(bytes);
            prop_assert_eq!(read_plain(PUBLIC_KEY_BLOCK, &theirs), expected);
        }
    }
}
