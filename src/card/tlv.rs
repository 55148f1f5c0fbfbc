//! BER-TLV as OpenPGP cards use it: tags of one or two bytes, lengths up to 65 535.
//!
//! The card wrote what is read here, so whatever is cut short or lies about its length is `None`.

/// Writes one data object.
///
/// # Source
/// OpenPGP card 3.4.1, section 4.4.4 (length field of DOs).
pub(crate) fn object(tag: u16, value: &[u8]) -> Vec<u8> {
    let mut out = header(tag, value.len());
    out.extend_from_slice(value);
    out
}

/// Tag and length alone: the form in which a private key's parts are announced.
pub(crate) fn header(tag: u16, length: usize) -> Vec<u8> {
    let [high, low] = tag.to_be_bytes();
    let mut out = if high == 0 { vec![low] } else { vec![high, low] };
    // No object that we write is longer than a key, which 16 bits hold.
    match u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes() {
        [0, short] if short < 0x80 => out.push(short),
        [0, short] => out.extend([0x81, short]),
        [high, low] => out.extend([0x82, high, low]),
    }
    out
}

/// Reads one data object: tag, value, and what follows.
pub(crate) fn read(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (tag, rest) = match bytes {
        [first, second, rest @ ..] if first & 0x1f == 0x1f => (u16::from_be_bytes([*first, *second]), rest),
        [first, rest @ ..] if first & 0x1f != 0x1f => (u16::from(*first), rest),
        _ => return None,
    };
    let (length, rest) = match rest {
        [short, rest @ ..] if *short < 0x80 => (usize::from(*short), rest),
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

/// The value of the first object of that tag, on this level.
pub(crate) fn find(mut bytes: &[u8], tag: u16) -> Option<&[u8]> {
    while !bytes.is_empty() {
        let (found, value, rest) = read(bytes)?;
        if found == tag {
            return Some(value);
        }
        bytes = rest;
    }
    None
}

/// The content of a constructed object: some cards give it with its own tag around it, some without.
pub(crate) fn inside(bytes: &[u8], tag: u16) -> &[u8] {
    match read(bytes) {
        Some((found, value, [])) if found == tag => value,
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for length in [0, 1, 127, 128, 255, 256, 3000] {
            for tag in [0x4f, 0x5f52, 0x7f49] {
                let value = vec![7; length];
                let bytes = object(tag, &value);
                assert_eq!(read(&bytes), Some((tag, &value[..], &[][..])));
                assert_eq!(find(&bytes, tag), Some(&value[..]));
                assert_eq!(inside(&bytes, tag), &value[..]);
            }
        }
    }

    #[test]
    fn finds_on_its_own_level_only() {
        let inner = object(0x73, &object(0xc0, b"inner"));
        let bytes = [inner, object(0xc4, b"outer")].concat();
        assert_eq!(find(&bytes, 0xc4), Some(&b"outer"[..]));
        assert_eq!(find(&bytes, 0xc0), None);
        assert_eq!(inside(&bytes, 0x6e), &bytes[..]);
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        for bytes in
            [&[][..], &[0x5f], &[0x4f], &[0x4f, 2, 1], &[0x4f, 0x80], &[0x4f, 0x83, 0, 0, 0], &[0x4f, 0x81]]
        {
            assert_eq!(read(bytes), None);
        }
    }
}
