//! Our arithmetic against sequoia's: what we accept, it accepts.

/// The encodings of the points of order 1, 2, 4 and 8 on edwards25519, aliases included.
///
/// Source: "Taming the many EdDSAs" (IACR ePrint 2020/1244), table 1, and the two signs of each.
pub(crate) fn small_order_points() -> Vec<[u8; 32]> {
    let hex = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let point = |text: &str| -> [u8; 32] {
        let digits: Vec<u8> =
            text.bytes().map(|b| u8::try_from(char::from(b).to_digit(16).unwrap()).unwrap()).collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        bytes.try_into().unwrap()
    };
    let positive = hex.map(point);
    let negative = positive.map(|mut point| {
        point[31] |= 0x80;
        point
    });
    [positive, negative].concat()
}
