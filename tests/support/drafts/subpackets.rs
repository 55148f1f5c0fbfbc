//! The two areas of subpackets.

use sequoia_openpgp::KeyID;

use crate::draft::{Draft, NOW, SIGNED, draft, fingerprint, seconds};
use crate::packets::{
    Recipe, body, creation_time, issuer_fingerprint, issuer_key_id, notation, our_notation, subpacket,
};
use crate::people;

/// The two areas of subpackets.
pub(crate) fn areas() -> Vec<Draft> {
    let section = "Subpackets";
    let without = |at: usize| {
        move |mut r: Recipe| {
            r.hashed.remove(at);
            r
        }
    };
    let other_notation = |subpackets: Vec<Vec<u8>>| {
        move |mut r: Recipe| {
            r.hashed.pop();
            r.hashed.extend(subpackets.clone());
            r
        }
    };
    let bob = fingerprint("bob");
    let carol = fingerprint("carol");
    let ours = subpacket(20, &our_notation(b"v1"));
    let critical = subpacket(20 | 0x80, &our_notation(b"v1"));
    let embedded = || {
        let mut key = people::signer("bob");
        let recipe = Recipe::plain(&key, u32::try_from(seconds(SIGNED)).unwrap());
        let small = Recipe { hashed: vec![creation_time(recipe.created)], ..recipe };
        body(&small.sign(&mut key, b"inner")).to_vec()
    };
    vec![
        draft(
            "notation-missing",
            "An ordinary signature over a file, not made for us.",
            section,
            "notation-missing",
        )
        .recipe(without(2)),
        draft("notation-value", "Another version of the notation.", section, "notation-missing")
            .recipe(other_notation(vec![subpacket(20, &our_notation(b"v2"))])),
        draft(
            "notation-value-longer",
            "The right value and something after it.",
            section,
            "notation-missing",
        )
        .recipe(other_notation(vec![subpacket(20, &our_notation(b"v1 "))])),
        draft("notation-name", "A name that differs in case.", section, "notation-missing").recipe(
            other_notation(vec![subpacket(20, &notation(0x80, b"Statement@touchgate.invalid", b"v1"))]),
        ),
        draft(
            "notation-critical",
            "Critical: gpg would call such a signature bad.",
            section,
            "notation-missing",
        )
        .recipe(other_notation(vec![critical.clone()])),
        draft("notation-binary", "Not marked as human-readable.", section, "notation-missing")
            .recipe(other_notation(vec![subpacket(20, &notation(0, b"statement@touchgate.invalid", b"v1"))])),
        draft("notation-unhashed", "Where nothing protects it.", section, "notation-missing").recipe({
            let ours = ours.clone();
            move |mut r| {
                r.hashed.pop();
                r.unhashed.push(ours.clone());
                r
            }
        }),
        draft("notation-duplicate", "The notation twice.", section, "notation-duplicate")
            .hashed(ours.clone()),
        draft(
            "notation-duplicate-value",
            "Once as it should be, once with another value.",
            section,
            "notation-duplicate",
        )
        .hashed(subpacket(20, &our_notation(b"v2"))),
        draft("critical-unknown", "An unknown critical subpacket.", section, "critical-subpacket")
            .hashed(subpacket(101 | 0x80, b"x")),
        draft("critical-policy-uri", "A known subpacket made critical.", section, "critical-subpacket")
            .hashed(subpacket(26 | 0x80, b"https://example.org/policy")),
        draft(
            "critical-other-notation",
            "A critical notation of somebody else.",
            section,
            "critical-subpacket",
        )
        .hashed(subpacket(20 | 0x80, &notation(0x80, b"note@example.org", b"hello"))),
        draft("critical-expiry-past", "A critical expiry is acted on as any.", section, "signature-expired")
            .signed("2026-11-20T04:11:00Z")
            .hashed(subpacket(3 | 0x80, &60_u32.to_be_bytes())),
        draft("duplicate-creation-time", "Two creation times.", section, "duplicate-subpacket")
            .hashed(creation_time(u32::try_from(seconds(NOW)).unwrap())),
        draft("duplicate-issuer-fingerprint", "Two issuers.", section, "duplicate-subpacket")
            .hashed(issuer_fingerprint(&carol)),
        draft("duplicate-information", "Two policy URIs.", section, "duplicate-subpacket").recipe(|mut r| {
            r.hashed
                .extend([subpacket(26, b"https://example.org/a"), subpacket(26, b"https://example.org/b")]);
            r
        }),
        draft("duplicate-other-notation", "Somebody else's notation twice.", section, "duplicate-subpacket")
            .recipe(|mut r| {
                r.hashed.extend([
                    subpacket(20, &notation(0x80, b"note@example.org", b"a")),
                    subpacket(20, &notation(0x80, b"note@example.org", b"b")),
                ]);
                r
            }),
        draft("embedded-signature", "A signature inside the signature.", section, "embedded-signature")
            .hashed(subpacket(32, &embedded())),
        draft(
            "embedded-signature-malformed",
            "Something that should be one.",
            section,
            "malformed-signature",
        )
        .hashed(subpacket(32, b"x")),
        draft("missing-creation-time", "No creation time.", section, "missing-subpacket").recipe(without(0)),
        draft("missing-creation-time-unhashed", "Where nothing protects it.", section, "missing-subpacket")
            .recipe(|mut r| {
                let time = r.hashed.remove(0);
                r.unhashed.push(time);
                r
            }),
        draft(
            "missing-issuer-fingerprint",
            "The Key ID alone does not name a key.",
            section,
            "missing-subpacket",
        )
        .recipe({
            let bob = bob.clone();
            move |mut r| {
                r.hashed[1] = issuer_key_id(&bob);
                r
            }
        }),
        draft(
            "malformed-creation-time",
            "A creation time of three octets is none.",
            section,
            "malformed-signature",
        )
        .recipe(|mut r| {
            r.hashed[0] = subpacket(2, &[1, 2, 3]);
            r
        }),
        draft(
            "issuer-key-id-differs",
            "Key ID and fingerprint in the hashed area name two keys.",
            section,
            "malformed-signature",
        )
        .hashed(issuer_key_id(&carol)),
        draft("unhashed-other-key-id", "Another key's Key ID.", section, "unhashed-subpacket")
            .unhashed(issuer_key_id(&carol)),
        draft("unhashed-other-fingerprint", "Another key's fingerprint.", section, "unhashed-subpacket")
            .unhashed(issuer_fingerprint(&carol)),
        draft("unhashed-both", "Key ID and fingerprint.", section, "unhashed-subpacket").recipe({
            let bob = bob.clone();
            move |mut r| {
                r.unhashed.extend([issuer_key_id(&bob), issuer_fingerprint(&bob)]);
                r
            }
        }),
        draft("unhashed-creation-time", "A second creation time.", section, "unhashed-subpacket")
            .unhashed(creation_time(1_795_147_890)),
        draft("unhashed-notation", "A second notation.", section, "unhashed-subpacket").unhashed(ours),
        draft("unhashed-unknown", "A smuggled byte.", section, "unhashed-subpacket")
            .unhashed(subpacket(101, b"x")),
        draft("unhashed-critical", "The matching Key ID, critical.", section, "unhashed-subpacket")
            .unhashed(subpacket(16 | 0x80, KeyID::from(&bob).as_bytes())),
        draft(
            "unhashed-long-length",
            "The matching Key ID with its length in five octets.",
            section,
            "unhashed-subpacket",
        )
        .unhashed([&[255, 0, 0, 0, 9, 16], KeyID::from(&bob).as_bytes()].concat()),
        draft(
            "unhashed-embedded-signature",
            "A signature where nothing protects it.",
            section,
            "unhashed-subpacket",
        )
        .unhashed(subpacket(32, &embedded())),
    ]
}
