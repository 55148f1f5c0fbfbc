//! Packets, what stands around them, and armor.

use crate::draft::{Draft, Form, draft};
use crate::packets::{Recipe, body, packet};

/// Packets and what stands around them.
pub(crate) fn packets() -> Vec<Draft> {
    let section = "Packet";
    let typed = |name, what, typ: u8| {
        draft(name, what, section, "signature-type").recipe(move |r| Recipe { typ, ..r })
    };
    let crlf = |m: Vec<u8>| String::from_utf8(m).unwrap().replace('\n', "\r\n").into_bytes();
    vec![
        typed("signature-type-text", "A signature over text, line ends as the standard wants them.", 0x01)
            .message(crlf),
        typed("signature-type-standalone", "Over nothing but itself.", 0x02).message(|_| Vec::new()),
        typed("signature-type-certification", "A certification.", 0x10),
        typed("signature-type-timestamp", "A time stamp.", 0x40),
        draft("signature-version-3", "Version 3: no subpackets at all.", section, "signature-version")
            .recipe(|r| Recipe { version: 3, ..r })
            .form(Form::Binary),
        draft("signature-version-5", "Version 5, of LibrePGP.", section, "signature-version")
            .recipe(|r| Recipe { version: 5, ..r })
            .form(Form::Binary),
        draft("signature-version-6", "Version 6 by a version 4 key.", section, "signature-version")
            .by("tina")
            .recipe(|r| Recipe { version: 6, ..r })
            .form(Form::Binary),
        draft("several-packets", "The same signature twice.", section, "several-packets")
            .packet(|p| [&p[..], &p].concat()),
        draft(
            "several-packets-other",
            "A literal data packet after the signature.",
            section,
            "several-packets",
        )
        .packet(|p| [&p[..], &packet(11, b"b\0\0\0\0\0x")].concat()),
        draft(
            "several-packets-marker",
            "A marker packet, which others ignore, after the signature.",
            section,
            "several-packets",
        )
        .packet(|p| [&p[..], &packet(10, b"PGP")].concat()),
        draft("marker-first", "A marker packet before the signature.", section, "malformed-signature")
            .packet(|p| [&packet(10, b"PGP")[..], &p].concat()),
        draft("several-packets-armored", "Two signatures in one armor block.", section, "several-packets")
            .packet(|p| [&p[..], &p].concat())
            .form(Form::Armored { crc: true }),
        draft("trailing-data", "One byte after the packet.", section, "trailing-data")
            .packet(|p| [&p[..], b"\n"].concat()),
        draft("trailing-data-text", "Text after the packet.", section, "trailing-data")
            .packet(|p| [&p[..], b"approved by all"].concat()),
        draft(
            "trailing-in-packet",
            "Bytes after the signature's numbers, inside the packet.",
            section,
            "malformed-signature",
        )
        .packet(|p| packet(2, &[body(&p), b"xyz"].concat())),
        draft("cut-short", "The last byte is missing.", section, "malformed-signature")
            .packet(|p| p[..p.len() - 1].to_vec()),
        draft(
            "cut-short-in-packet",
            "The last byte is missing; the length says so.",
            section,
            "malformed-signature",
        )
        .packet(|p| packet(2, &body(&p)[..body(&p).len() - 1])),
        draft("empty-signature", "No signature at all.", section, "malformed-signature")
            .packet(|_| Vec::new()),
        draft("empty-packet", "A signature packet of no bytes.", section, "malformed-signature")
            .packet(|_| packet(2, b"")),
        draft("not-openpgp", "Some text.", section, "malformed-signature")
            .packet(|_| b"approved, Bob\n".to_vec()),
        draft("another-packet", "A literal data packet.", section, "malformed-signature")
            .packet(|_| packet(11, b"b\0\0\0\0\0x")),
        draft(
            "one-pass-packet",
            "The one-pass packet of an inline-signed message.",
            section,
            "malformed-signature",
        )
        .packet(|p| [&packet(4, &[3, 0, 10, 22, 1, 2, 3, 4, 5, 6, 7, 8, 1])[..], &p].concat()),
        draft(
            "partial-length",
            "A partial length, made for data that streams.",
            section,
            "malformed-signature",
        )
        .packet(|p| [&[0xC2, 0xE0], &body(&p)[..1], &[0], &body(&p)[1..]].concat()),
        draft("five-octet-length", "A length in five octets.", section, "malformed-signature").packet(|p| {
            let length = u32::try_from(body(&p).len()).unwrap().to_be_bytes();
            [&[0xC2, 0xFF], &length[..], body(&p)].concat()
        }),
        draft(
            "integer-leading-zero",
            "A number with eight bits of zero in front.",
            section,
            "malformed-signature",
        )
        .packet(|p| {
            let last = body(&p);
            let (head, s) = last.split_at(last.len() - 34);
            let bits = u16::from_be_bytes([s[0], s[1]]);
            packet(2, &[head, &(bits.div_ceil(8) * 8 + 8).to_be_bytes(), &[0], &s[2..]].concat())
        }),
        draft("signature-too-large", "4097 bytes.", section, "signature-too-large").packet(|mut p| {
            p.resize(4097, 0);
            p
        }),
    ]
}

/// Armor that is not exactly one of the two forms.
pub(crate) fn armors() -> Vec<Draft> {
    let section = "Armor";
    let armored = |name, what, change: fn(String) -> String| {
        draft(name, what, section, "malformed-signature").form(Form::Armored { crc: true }).armor(change)
    };
    vec![
        armored("armor-header", "A comment, which nothing protects.", |a| {
            a.replacen("\n\n", "\nComment: approved by everybody\n\n", 1)
        }),
        armored("armor-version", "A version line.", |a| a.replacen("\n\n", "\nVersion: GnuPG v2\n\n", 1)),
        armored("armor-text-before", "Text before the block.", |a| format!("Approved:\n{a}")),
        armored("armor-blank-before", "A blank line before the block.", |a| format!("\n{a}")),
        armored("armor-text-after", "Text after the block.", |a| format!("{a}Regards, Bob\n")),
        armored("armor-blank-after", "A blank line after the block.", |a| format!("{a}\n")),
        armored("armor-two-blocks", "Two blocks.", |a| format!("{a}{a}")),
        armored("armor-bad-crc", "A CRC that does not match.", |a| {
            let (before, after) = a.rsplit_once("\n=").unwrap();
            format!("{before}\n=AAAA{}", &after[4..])
        }),
        armored("armor-no-final-newline", "No line feed at the end.", |a| a.trim_end().to_owned()),
        armored("armor-crlf", "Lines that end in CR LF.", |a| a.replace('\n', "\r\n")),
        armored("armor-no-blank", "No blank line after the first.", |a| a.replacen("\n\n", "\n", 1)),
        armored("armor-space", "A space at the end of a line.", |a| a.replacen("\n\n", "\n \n", 1)),
        armored("armor-other-kind", "Labelled as a message.", |a| a.replace("PGP SIGNATURE", "PGP MESSAGE")),
        armored("armor-long-lines", "Lines of 76 characters.", |a| {
            let base64: String = a.lines().filter(|l| !l.starts_with(['-', '='])).collect();
            let lines: Vec<&str> =
                base64.as_bytes().chunks(76).map(|l| std::str::from_utf8(l).unwrap()).collect();
            format!("-----BEGIN PGP SIGNATURE-----\n\n{}\n-----END PGP SIGNATURE-----\n", lines.join("\n"))
        }),
        armored("armor-no-padding", "Base64 without its padding, where there is some.", |a| {
            let cut = a.replacen("=\n", "\n", 1);
            if cut == a { a.replacen("\n=", "=\n=", 1) } else { cut }
        }),
        draft(
            "cleartext-signature",
            "A cleartext-signed message where the signature should be.",
            section,
            "cleartext-form",
        )
        .armor(|a| format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nx\n{a}")),
    ]
}
