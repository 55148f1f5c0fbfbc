//! What the decorator has to know about the bytes of commands and of an answer to reset.

/// Header of SELECT by application identifier.
pub(crate) const SELECT: [u8; 4] = [0x00, 0xa4, 0x04, 0x00];

/// Commands after which DO 6E may say something else: PIN tries, keys, settings.
pub(crate) fn changes_application_data(header: &[u8]) -> bool {
    matches!(header.get(1), Some(0x20 | 0x24 | 0x2c | 0x44 | 0x47 | 0xda | 0xdb | 0xe6 | 0xf2))
}

/// The part of a command that may be kept, and whether that is not all of it.
pub(crate) fn mask(command: &[u8]) -> (&[u8], bool) {
    // PINs; the resetting code (PUT DATA D3); a private key (PUT DATA 3FFF).
    let secret = match command {
        [_, 0x20 | 0x24 | 0x2c | 0xdb, ..] | [_, 0xda, 0x00, 0xd3, ..] => command.len() > 5,
        _ => false,
    };
    match command.get(..4) {
        Some(header) if secret => (header, true),
        _ => (command, false),
    }
}

/// Whether a command changes what a token keeps, PINs and counters of tries apart from VERIFY.
pub(crate) fn writes(command: &[u8]) -> bool {
    match command {
        // GENERATE ASYMMETRIC KEY PAIR also reads; so does READ of any other kind.
        [_, 0x47, p1, ..] => *p1 == 0x80,
        [_, 0x24 | 0x2a | 0x2c | 0x44 | 0xda | 0xdb | 0xe6 | 0xf2 | 0xfb, ..] => true,
        _ => false,
    }
}

/// The short command with another Le.
pub(crate) fn with_le(command: &[u8], le: u8) -> Vec<u8> {
    let without = match command {
        [_, _, _, _, _] | [_, _, _, _, 0, _, _] => 4,
        [_, _, _, _, lc, ..] if *lc != 0 => 5 + usize::from(*lc),
        _ => command.len(),
    };
    let mut changed = command.get(..without).unwrap_or(command).to_vec();
    changed.push(le);
    changed
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the ATR's historical bytes promise extended Lc and Le.
///
/// # Source
/// ISO 7816-4, card capabilities (compact TLV 7x, third byte, bit 7); ATR layout of ISO 7816-3.
pub(crate) fn extended_length(atr: &[u8]) -> bool {
    historical(atr).and_then(capabilities).is_some_and(|third| third & 0x40 != 0)
}

fn historical(atr: &[u8]) -> Option<&[u8]> {
    let t0 = *atr.get(1)?;
    let mut indicator = t0 >> 4;
    let mut at = 2;
    // TD bytes chain further interface bytes; ISO allows 32 bytes in all, so the chain is short.
    while indicator != 0 {
        at += usize::try_from((indicator & 0x7).count_ones()).ok()?;
        if indicator & 0x8 == 0 {
            break;
        }
        indicator = *atr.get(at)? >> 4;
        at += 1;
    }
    atr.get(at..at + usize::from(t0 & 0x0f))
}

fn capabilities(historical: &[u8]) -> Option<u8> {
    let mut rest = match historical.split_first()? {
        (0x80, rest) => rest,
        // Category 00 ends with three status bytes.
        (0x00, rest) => rest.get(..rest.len().checked_sub(3)?)?,
        _ => return None,
    };
    while let Some((tag, tail)) = rest.split_first() {
        let value = tail.get(..usize::from(tag & 0x0f))?;
        if tag >> 4 == 7 {
            return value.get(2).copied();
        }
        rest = tail.get(value.len()..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    const YUBIKEY_5: &str = "3BFD1300008131FE158073C021C057597562694B657940";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn extended_length_is_read_from_the_atr() {
        assert!(extended_length(&bytes(YUBIKEY_5)));
        let mut short_only = bytes(YUBIKEY_5);
        let at = short_only.windows(3).position(|w| w == [0x73, 0xc0, 0x21]).unwrap();
        short_only[at + 3] = 0x80;
        assert!(!extended_length(&short_only));
        // Whatever an ATR holds, the answer is an answer.
        for cut in 0..short_only.len() {
            assert!(!extended_length(&short_only[..cut]));
        }
        for first in 0..=255u8 {
            extended_length(&[0x3b, first, first, first, first]);
        }
    }

    #[test]
    fn pin_commands_keep_their_header_only() {
        assert_eq!(mask(&[0, 0x20, 0, 0x81, 2, 0x31, 0x32]), (&[0u8, 0x20, 0, 0x81][..], true));
        assert_eq!(mask(&[0x10, 0x24, 0, 0x81, 0, 0, 1, 0x31]), (&[0x10u8, 0x24, 0, 0x81][..], true));
        assert_eq!(mask(&[0, 0x2c, 2, 0x81, 1, 0x31]), (&[0u8, 0x2c, 2, 0x81][..], true));
        assert_eq!(mask(&[0, 0x20, 0, 0x81]), (&[0u8, 0x20, 0, 0x81][..], false));
        assert_eq!(mask(&[0, 0xda, 0, 0xd3, 1, 0x31]), (&[0u8, 0xda, 0, 0xd3][..], true));
        assert_eq!(mask(&[0x10, 0xdb, 0x3f, 0xff, 1, 0x31]), (&[0x10u8, 0xdb, 0x3f, 0xff][..], true));
        assert_eq!(mask(&[0, 0xda, 0, 0x5e, 1, 0x31]), (&[0u8, 0xda, 0, 0x5e, 1, 0x31][..], false));
        assert_eq!(
            mask(&[0, 0x2a, 0x9e, 0x9a, 1, 0x31, 0]),
            (&[0u8, 0x2a, 0x9e, 0x9a, 1, 0x31, 0][..], false)
        );
    }

    #[test]
    fn another_le_replaces_le_only() {
        assert_eq!(with_le(&[0, 0xca, 0, 0x5e], 7), [0, 0xca, 0, 0x5e, 7]);
        assert_eq!(with_le(&[0, 0xca, 0, 0x5e, 0], 7), [0, 0xca, 0, 0x5e, 7]);
        assert_eq!(with_le(&[0, 0xca, 0, 0x6e, 0, 0, 0], 7), [0, 0xca, 0, 0x6e, 7]);
        assert_eq!(with_le(&[0, 0x2a, 0x9e, 0x9a, 2, 8, 9], 7), [0, 0x2a, 0x9e, 0x9a, 2, 8, 9, 7]);
        assert_eq!(with_le(&[0, 0x2a, 0x9e, 0x9a, 2, 8, 9, 0], 7), [0, 0x2a, 0x9e, 0x9a, 2, 8, 9, 7]);
    }
}
