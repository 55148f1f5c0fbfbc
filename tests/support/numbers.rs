//! Arithmetic on big-endian numbers of any length, enough to bend signatures.

use std::cmp::Ordering;

pub(crate) fn trimmed(a: &[u8]) -> &[u8] {
    &a[a.iter().position(|&b| b != 0).unwrap_or(a.len())..]
}

pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (trimmed(a), trimmed(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

pub(crate) fn add(a: &[u8], b: &[u8]) -> Vec<u8> {
    let (mut sum, mut carry) = (Vec::new(), 0_u16);
    for at in 0..=a.len().max(b.len()) {
        let digit = |n: &[u8]| n.iter().rev().nth(at).map_or(0, |&d| u16::from(d));
        carry += digit(a) + digit(b);
        sum.push(u8::try_from(carry & 0xFF).unwrap());
        carry >>= 8;
    }
    sum.reverse();
    trimmed(&sum).to_vec()
}

/// `a - b`, for `a` not below `b`.
pub(crate) fn subtract(a: &[u8], b: &[u8]) -> Vec<u8> {
    let (mut difference, mut borrow) = (Vec::new(), 0_i16);
    for at in 0..a.len() {
        let digit = |n: &[u8]| n.iter().rev().nth(at).map_or(0, |&d| i16::from(d));
        let value = digit(a) - digit(b) - borrow;
        borrow = i16::from(value < 0);
        difference.push(u8::try_from(value.rem_euclid(256)).unwrap());
    }
    assert_eq!(borrow, 0);
    difference.reverse();
    trimmed(&difference).to_vec()
}

/// `a * b` modulo `m`, bit by bit.
pub(crate) fn multiply_modulo(a: &[u8], b: &[u8], m: &[u8]) -> Vec<u8> {
    let reduced = |n: Vec<u8>| if compare(&n, m) == Ordering::Less { n } else { subtract(&n, m) };
    let mut product = Vec::new();
    for byte in a {
        for bit in (0..8).rev() {
            product = reduced(add(&product, &product));
            if byte >> bit & 1 == 1 {
                product = reduced(add(&product, b));
            }
        }
    }
    product
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digit = |b: u8| u8::try_from(char::from(b).to_digit(16).unwrap()).unwrap();
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
