//! BER-TLV objects as cards use them: tags of one or two bytes.

/// One object with its tag and length.
pub fn object(tag: u16, value: &[u8]) -> Vec<u8> {
    [header(tag, value.len()).as_slice(), value].concat()
}

/// Tag and length alone, as the template of a private key lists them.
pub fn header(tag: u16, length: usize) -> Vec<u8> {
    let [high, low] = tag.to_be_bytes();
    let mut out = if high == 0 { vec![low] } else { vec![high, low] };
    match u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes() {
        [0, short @ 0..=0x7F] => out.push(short),
        [0, long] => out.extend([0x81, long]),
        [high, low] => out.extend([0x82, high, low]),
    }
    out
}

/// The first object: tag, value, and what follows.
pub fn read(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (tag, rest) = match bytes {
        [first, second, rest @ ..] if first & 0x1F == 0x1F => (u16::from_be_bytes([*first, *second]), rest),
        [first, rest @ ..] => (u16::from(*first), rest),
        [] => return None,
    };
    let (length, rest) = match rest {
        [length @ 0..=0x7F, rest @ ..] => (usize::from(*length), rest),
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((tag, value, rest))
}

/// The value of the first object with that tag.
pub fn find(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    while !bytes.is_empty() {
        let (tag, value, rest) = read(bytes)?;
        if tag == wanted {
            return Some(value);
        }
        bytes = rest;
    }
    None
}

/// What follows tags from the outermost inwards, and whether all of it was well formed on the way.
pub fn find_path<'a>(bytes: &'a [u8], path: &[u16]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, tag| find(bytes, *tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_written_and_found() {
        for length in [0, 1, 0x7F, 0x80, 0xFF, 0x100] {
            let value = vec![7; length];
            let inner = [object(0x81, b"x"), object(0x5F2D, &value)].concat();
            let outer = object(0x73, &inner);
            assert_eq!(find_path(&outer, &[0x73, 0x5F2D]), Some(value.as_slice()), "{length}");
            assert_eq!(find_path(&outer, &[0x73, 0x82]), None);
        }
        assert_eq!(read(&[0x81]), None);
        assert_eq!(find(&[0x81, 5, 0], 0x81), None);
    }
}
