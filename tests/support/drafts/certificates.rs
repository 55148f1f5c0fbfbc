//! Keys, certificates, arithmetic and the times that a signature names.

use sequoia_openpgp::Fingerprint;
use sequoia_openpgp::types::HashAlgorithm;

use crate::draft::{Draft, draft, fingerprint};
use crate::packets::{Recipe, body, issuer_fingerprint, packet, subpacket};
use crate::people;

/// Keys, certificates, arithmetic.
pub(crate) fn keys() -> Vec<Draft> {
    let certificate = "Certificate";
    let arithmetic = "Arithmetic";
    let subkey = |by: &'static str| {
        // The primary key's fingerprint stands as the issuer, the subkey signs.
        move |mut r: Recipe| {
            r.hashed[1] = issuer_fingerprint(&people::primary(by).public().fingerprint());
            r
        }
    };
    let claim = |fingerprint: Fingerprint| {
        move |mut r: Recipe| {
            r.hashed[1] = issuer_fingerprint(&fingerprint);
            r
        }
    };
    vec![
        draft(
            "unknown-signer",
            "A good signature by a key on nobody's record.",
            certificate,
            "unknown-signer",
        )
        .by("mallory"),
        draft(
            "unknown-signer-primary",
            "The roster names the subkey; the primary key is nobody's.",
            certificate,
            "unknown-signer",
        )
        .by("alice")
        .recipe(subkey("alice")),
        draft(
            "unknown-signer-version-6",
            "An issuer fingerprint of version 6.",
            certificate,
            "unknown-signer",
        )
        .recipe(|mut r| {
            r.hashed[1] = subpacket(33, &[&[6][..], &[1; 32]].concat());
            r
        }),
        draft(
            "certificate-expired",
            "The certificate expired on 31 January.",
            certificate,
            "certificate-expired",
        )
        .by("ivan"),
        draft(
            "certificate-expired-subkey",
            "The signing subkey expired on 31 January.",
            certificate,
            "certificate-expired",
        )
        .by("judy"),
        draft(
            "certificate-expired-over-subkey",
            "The certificate expired, the signing subkey did not.",
            certificate,
            "certificate-expired",
        )
        .by("wanda"),
        draft(
            "certificate-expired-since",
            "Good when it was signed, expired when it is judged.",
            certificate,
            "certificate-expired",
        )
        .by("vera")
        .now("2026-12-20T00:00:00Z")
        .statement(|s| s.replace("expires: 2026-11-20", "expires: 2026-12-20")),
        draft(
            "certificate-revoked",
            "The certificate is revoked: its key is compromised.",
            certificate,
            "certificate-revoked",
        )
        .by("kim"),
        draft(
            "certificate-revoked-alone",
            "A compromised key is revoked for all time.",
            certificate,
            "certificate-revoked",
        )
        .by("kim")
        .judged("alone"),
        draft(
            "certificate-revoked-over-subkey",
            "The certificate is revoked, the signing subkey is not.",
            certificate,
            "certificate-revoked",
        )
        .by("xena"),
        draft(
            "certificate-revoked-subkey",
            "The signing subkey is revoked.",
            certificate,
            "certificate-revoked",
        )
        .by("leo"),
        draft("not-for-signing", "A subkey for authentication.", certificate, "not-for-signing").by("mike"),
        draft(
            "no-back-signature",
            "The subkey never confirmed that it belongs to this primary key.",
            certificate,
            "no-back-signature",
        )
        .by("nina"),
        draft("certificate-invalid", "The binding signatures use SHA-1.", certificate, "certificate-invalid")
            .by("olaf"),
        draft("hash-sha1", "SHA-1.", arithmetic, "hash-algorithm")
            .recipe(|r| Recipe { hash: HashAlgorithm::SHA1, ..r }),
        draft("hash-sha224", "SHA-224.", arithmetic, "hash-algorithm")
            .recipe(|r| Recipe { hash: HashAlgorithm::SHA224, ..r }),
        draft("hash-short-p384", "SHA-256 is too short for P-384.", arithmetic, "hash-algorithm")
            .by("dave")
            .recipe(|r| Recipe { hash: HashAlgorithm::SHA256, ..r }),
        draft("hash-short-p521", "SHA-384 is too short for P-521.", arithmetic, "hash-algorithm")
            .by("erin")
            .recipe(|r| Recipe { hash: HashAlgorithm::SHA384, ..r }),
        draft(
            "bad-signature-other-key",
            "Signed by one key, issued in the name of another.",
            arithmetic,
            "bad-signature",
        )
        .by("mallory")
        .recipe(claim(fingerprint("bob"))),
        draft(
            "bad-signature-other-algorithm",
            "An RSA signature in the name of an Ed25519 key.",
            arithmetic,
            "bad-signature",
        )
        .by("frank")
        .recipe(claim(fingerprint("bob"))),
        draft(
            "bad-signature-algorithm-27",
            "A signature under algorithm 27 by a key under algorithm 22.",
            arithmetic,
            "bad-signature",
        )
        .recipe(|r| Recipe { algorithm: 27, ..r }),
        draft("bad-signature-message", "A good signature over another text.", arithmetic, "bad-signature")
            .message(|m| [&m[..], b"\n"].concat()),
        draft(
            "bad-signature-challenge",
            "A good signature over the challenge, which is no decision.",
            arithmetic,
            "bad-signature",
        )
        .message(|m| String::from_utf8(m).unwrap().replace("v1 approve", "v1 challenge").into_bytes()),
        draft(
            "bad-signature-prefix",
            "The first two octets of the digest are wrong.",
            arithmetic,
            "bad-signature",
        )
        .packet(|p| {
            let (before, numbers) = body(&p).split_at(body(&p).len() - 68 - 2);
            packet(2, &[before, &[numbers[0] ^ 1], &numbers[1..]].concat())
        }),
        draft(
            "bad-signature-older-than-key",
            "The key did not exist when it says that it signed.",
            arithmetic,
            "bad-signature",
        )
        .by("rita")
        .signed("2026-11-20T04:09:59Z"),
        draft(
            "bad-signature-refusal",
            "An approval's signature under a refusal.",
            arithmetic,
            "bad-signature",
        )
        .line("touchgate v1 approve", "touchgate v1 refuse\n")
        .message(|m| String::from_utf8(m).unwrap().replace("v1 refuse", "v1 approve").into_bytes()),
        draft(
            "signature-expired",
            "The signature's own expiry, at the very second.",
            "Time",
            "signature-expired",
        )
        .signed("2026-11-20T04:11:00Z")
        .hashed(subpacket(3, &60_u32.to_be_bytes())),
        draft(
            "creation-time-early",
            "One second more than five minutes before the challenge was issued.",
            "Time",
            "creation-time",
        )
        .signed("2026-11-20T04:01:59Z"),
        draft(
            "creation-time-late",
            "One second more than five minutes ahead of the verifier.",
            "Time",
            "creation-time",
        )
        .signed("2026-11-20T04:17:01Z"),
        draft("creation-time-months-early", "Months before.", "Time", "creation-time")
            .signed("2026-02-01T00:00:00Z"),
        draft("creation-time-year-late", "A year ahead.", "Time", "creation-time")
            .signed("2027-11-20T04:12:00Z"),
        draft(
            "creation-time-alone",
            "Alone: made longer than five minutes after it expired.",
            "Time",
            "creation-time",
        )
        .judged("alone")
        .now("2026-12-01T00:00:00Z")
        .signed("2026-11-20T04:27:01Z"),
        draft(
            "creation-time-alone-future",
            "Alone: made ahead of the clock of who judges it.",
            "Time",
            "creation-time",
        )
        .judged("alone")
        .now("2026-11-20T04:08:00Z")
        .signed("2026-11-20T04:14:00Z"),
    ]
}
