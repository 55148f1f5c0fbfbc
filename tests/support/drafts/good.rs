//! Responses that are as they should be.

use sequoia_openpgp::types::HashAlgorithm;

use crate::draft::{Draft, Form, draft, fingerprint};
use crate::packets::{Recipe, body, issuer_fingerprint, issuer_key_id, notation, subpacket};

/// Responses that are as they should be.
pub(crate) fn responses() -> Vec<Draft> {
    let section = "Signature";
    let mut drafts = vec![
        draft(
            "good-ed25519",
            "Ed25519 under algorithm 22, as cards make it.",
            section,
            "approved bob declared",
        ),
        draft("good-ed25519-27", "Ed25519 under algorithm 27.", section, "approved tina declared").by("tina"),
        draft("good-p256", "NIST P-256.", section, "approved carol declared").by("carol"),
        draft("good-p384", "NIST P-384.", section, "approved dave declared").by("dave"),
        draft("good-p521", "NIST P-521.", section, "approved erin declared").by("erin"),
        draft("good-rsa2048", "RSA of 2048 bits.", section, "approved frank declared").by("frank"),
        draft("good-rsa3072", "RSA of 3072 bits.", section, "approved grace declared").by("grace"),
        draft("good-rsa4096", "RSA of 4096 bits.", section, "approved heidi declared").by("heidi"),
        draft(
            "good-subkey",
            "A P-256 signing subkey under an RSA primary key.",
            section,
            "approved uma declared",
        )
        .by("uma"),
        draft("good-binary", "The packet as it is, not armored.", section, "approved bob declared")
            .form(Form::Binary),
        draft("good-binary-p256", "The same of NIST P-256.", section, "approved carol declared")
            .by("carol")
            .form(Form::Binary),
        draft("good-binary-rsa2048", "The same of RSA.", section, "approved frank declared")
            .by("frank")
            .form(Form::Binary),
        draft(
            "good-armor-no-crc",
            "Armor without the CRC-24, as RFC 9580 has it.",
            "Armor",
            "approved bob declared",
        )
        .form(Form::Armored { crc: false }),
        draft(
            "good-alone",
            "Judged without the issued challenge, months later.",
            "Verification",
            "approved bob declared",
        )
        .judged("alone")
        .now("2027-02-28T23:59:59Z"),
        draft("good-refusal", "A refusal with its reason.", "Verification", "refused bob declared")
            .line("touchgate v1 approve", "touchgate v1 refuse\n")
            .line(
                "expires: 2026-11-20T04:22:00Z",
                "expires: 2026-11-20T04:22:00Z\nbecause: not before the backup\n",
            ),
        draft("good-sha256", "SHA-256.", section, "approved bob declared")
            .recipe(|r| Recipe { hash: HashAlgorithm::SHA256, ..r }),
        draft("good-sha384", "SHA-384.", section, "approved bob declared")
            .recipe(|r| Recipe { hash: HashAlgorithm::SHA384, ..r }),
        draft("good-p384-sha384", "A hash as long as the curve.", section, "approved dave declared")
            .by("dave")
            .recipe(|r| Recipe { hash: HashAlgorithm::SHA384, ..r }),
        draft(
            "good-old-header",
            "A header in the form of RFC 1991, as gpg writes it.",
            "Packet",
            "approved bob declared",
        )
        .packet(|p| [&[0x88, u8::try_from(body(&p).len()).unwrap()], body(&p)].concat()),
        draft(
            "good-old-header-two-octets",
            "The same with two octets of length.",
            "Packet",
            "approved bob declared",
        )
        .packet(|p| [&[0x89, 0, u8::try_from(body(&p).len()).unwrap()], body(&p)].concat()),
        draft(
            "good-unhashed-key-id",
            "The matching Key ID in the unhashed area, as gpg writes it.",
            "Subpackets",
            "approved bob declared",
        )
        .unhashed(issuer_key_id(&fingerprint("bob"))),
        draft(
            "good-unhashed-fingerprint",
            "The matching fingerprint in the unhashed area.",
            "Subpackets",
            "approved bob declared",
        )
        .unhashed(issuer_fingerprint(&fingerprint("bob"))),
        draft(
            "good-hashed-key-id",
            "The matching Key ID in the hashed area.",
            "Subpackets",
            "approved bob declared",
        )
        .hashed(issuer_key_id(&fingerprint("bob"))),
        draft(
            "good-salt",
            "Sequoia's salt in front of what is hashed.",
            "Subpackets",
            "approved bob declared",
        )
        .recipe(|mut r| {
            r.hashed.insert(0, subpacket(20, &notation(0, b"salt@notations.sequoia-pgp.org", &[7; 32])));
            r
        }),
        draft("good-other-notation", "A notation of somebody else.", "Subpackets", "approved bob declared")
            .hashed(subpacket(20, &notation(0x80, b"note@example.org", b"hello"))),
        draft(
            "good-information",
            "Preferences and information that nobody asked for: policy URI, user id.",
            "Subpackets",
            "approved bob declared",
        )
        .recipe(|mut r| {
            r.hashed.extend([
                subpacket(26, b"https://example.org/policy"),
                subpacket(28, b"bob@touchgate.invalid"),
            ]);
            r
        }),
        draft(
            "good-unknown-subpacket",
            "An unknown subpacket that is not critical.",
            "Subpackets",
            "approved bob declared",
        )
        .hashed(subpacket(101, b"x")),
        draft(
            "good-critical-creation-time",
            "Critical subpackets that everybody knows.",
            "Subpackets",
            "approved bob declared",
        )
        .recipe(|mut r| {
            r.hashed[0][1] |= 0x80;
            r.hashed[1][1] |= 0x80;
            r
        }),
        draft("good-last-second", "One second before it expires.", "Time", "approved bob declared")
            .now("2026-11-20T04:21:59Z"),
        draft("good-first-second", "At the second from which it is valid.", "Time", "approved bob declared")
            .now("2026-11-20T04:07:00Z")
            .signed("2026-11-20T04:07:00Z"),
        draft(
            "good-created-earliest",
            "Five minutes before the challenge was issued: the approver's clock is slow.",
            "Time",
            "approved bob declared",
        )
        .signed("2026-11-20T04:02:00Z"),
        draft(
            "good-created-latest",
            "Five minutes ahead of the verifier: the approver's clock is fast.",
            "Time",
            "approved bob declared",
        )
        .signed("2026-11-20T04:17:00Z"),
        draft(
            "good-created-latest-alone",
            "Alone: five minutes after it expired, and no later.",
            "Time",
            "approved bob declared",
        )
        .judged("alone")
        .now("2026-12-01T00:00:00Z")
        .signed("2026-11-20T04:27:00Z"),
        draft(
            "good-own-expiry-open",
            "The signature's own expiry, one second ahead.",
            "Time",
            "approved bob declared",
        )
        .signed("2026-11-20T04:11:00Z")
        .hashed(subpacket(3, &61_u32.to_be_bytes())),
        draft(
            "good-own-expiry-critical",
            "A critical expiry, as gpg writes it.",
            "Time",
            "approved bob declared",
        )
        .hashed(subpacket(3 | 0x80, &3600_u32.to_be_bytes())),
        draft(
            "good-own-expiry-never",
            "An expiry of zero seconds means none.",
            "Time",
            "approved bob declared",
        )
        .hashed(subpacket(3, &[0; 4])),
    ];
    drafts.push(
        draft(
            "good-certificate-expired-later",
            "Alone: the certificate expired after the signature was made.",
            "Certificate",
            "approved vera declared",
        )
        .by("vera")
        .judged("alone")
        .now("2027-01-15T00:00:00Z"),
    );
    drafts
}
