//! Audience, trust, challenge, time, bytes; and whole approval files.

use crate::draft::{Draft, draft};

/// Audience, trust, challenge, time, bytes.
pub(crate) fn statements() -> Vec<Draft> {
    let section = "Verification";
    let later = |s: String| s.replace("expires: 2026-11-20T04:22:00Z", "expires: 2026-11-20T04:21:00Z");
    vec![
        draft("wrong-audience", "Issued by another verifier.", section, "wrong-audience")
            .line("audience: approve.example.com", "audience: approve.example.org\n"),
        draft(
            "wrong-audience-alone",
            "The audience is checked without the challenge too.",
            section,
            "wrong-audience",
        )
        .judged("alone")
        .line("audience: approve.example.com", "audience: approve.example.com.evil.example\n"),
        draft("trust-expired", "The trust is past its date.", section, "trust-expired")
            .judged("alone")
            .now("2027-03-01T00:00:00Z"),
        draft("trust-version-older", "Made under the version before.", section, "trust-version")
            .statement(|s| s.replace("trust: 7 ", "trust: 6 ")),
        draft(
            "trust-version-newer",
            "Made under a version that this verifier does not have.",
            section,
            "trust-version",
        )
        .statement(|s| s.replace("trust: 7 ", "trust: 8 ")),
        draft("trust-version-fork", "The same number, another digest.", section, "trust-version").statement(
            |s| {
                let (before, after) = s.split_once("sha256:").unwrap();
                format!("{before}sha256:{}{}", "0".repeat(64), &after[64..])
            },
        ),
        draft("unknown-request", "No such request was issued here.", section, "unknown-request")
            .judged("unknown"),
        draft(
            "unknown-request-future",
            "Whether it is known comes before whether it is valid yet.",
            section,
            "unknown-request",
        )
        .judged("unknown")
        .now("2026-11-20T04:06:59Z"),
        draft("expired", "At the very second at which it expires.", "Time", "expired")
            .now("2026-11-20T04:22:00Z"),
        draft("expired-long-ago", "A day later.", "Time", "expired").now("2026-11-21T04:22:00Z"),
        draft(
            "expired-stretched",
            "The signer moved the expiry; the challenge as issued decides.",
            "Time",
            "expired",
        )
        .now("2026-11-20T04:21:30Z")
        .issued(later),
        draft(
            "not-yet-valid",
            "One second before it was issued: the verifier's clock went back.",
            "Time",
            "not-yet-valid",
        )
        .now("2026-11-20T04:06:59Z"),
        draft("not-yet-valid-alone", "The same without the challenge.", "Time", "not-yet-valid")
            .judged("alone")
            .now("2026-11-20T04:06:59Z"),
        draft("altered-commit", "Another commit was signed.", section, "altered")
            .issued(|s| s.replace("git:4f2c", "git:91ab")),
        draft("altered-line-added", "A reason that was not asked.", section, "altered")
            .issued(|s| s.replace("reason: Release 2.4.1\n", "")),
        draft("altered-line-removed", "A parameter is missing.", section, "altered")
            .line("param.command: ./deploy.sh --region eu", "")
            .issued(|s| s.replace("param.commit", "param.command: ./deploy.sh --region eu\nparam.commit")),
        draft("altered-nonce", "The nonce of another challenge.", section, "altered")
            .issued(|s| s.replace("nonce: AAEC", "nonce: BAEC")),
        draft("altered-expires", "Valid for longer than was asked.", section, "altered").issued(later),
        draft("altered-requester", "Asked for by somebody else.", section, "altered")
            .issued(|s| s.replace("github:alice", "github:bob")),
        draft(
            "altered-and-bad-signature",
            "What was altered is said before anything about the signature.",
            section,
            "altered",
        )
        .issued(|s| s.replace("git:4f2c", "git:91ab"))
        .message(|m| m.to_ascii_uppercase()),
        draft(
            "statement-before-all",
            "A malformed statement is answered first, whatever else is wrong.",
            section,
            "unknown-line",
        )
        .line("reason: Release 2.4.1", "note: x\n")
        .now("2030-01-01T00:00:00Z"),
        draft("token-revoked", "By a token that was lost.", "Certificate", "token-revoked").judged("revoked"),
        draft("replayed", "The same answer, given before.", section, "replayed").judged("replay"),
        draft("unrecorded", "The answer could not be recorded, so it does not count.", section, "unrecorded")
            .judged("failing-ledger"),
    ]
}

/// Whole approval files.
pub(crate) fn files() -> Vec<Draft> {
    let section = "Files";
    let text =
        |change: fn(String) -> String| move |f: Vec<u8>| change(String::from_utf8(f).unwrap()).into_bytes();
    vec![
        draft("file", "An approval file as it should be.", section, "approved bob declared").file(|f| f),
        draft(
            "file-cleartext",
            "The statement in the cleartext signature framework.",
            section,
            "cleartext-form",
        )
        .message(|m| m[..m.len() - 1].to_vec())
        .file(text(|f| {
            let (statement, signature) = f.split_once("\n\n").unwrap();
            format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{statement}\n{signature}")
        })),
        draft("file-no-signature", "The statement alone.", section, "no-signature")
            .file(text(|f| f.split_once("\n\n").unwrap().0.to_owned() + "\n")),
        draft(
            "file-no-blank-line",
            "No blank line between statement and signature.",
            section,
            "no-signature",
        )
        .file(text(|f| f.replacen("\n\n", "\n", 1).replace("-\n\n", "-\n"))),
        draft(
            "file-crlf",
            "A file that went through a mail program: CR LF throughout.",
            section,
            "carriage-return",
        )
        .file(text(|f| f.replace('\n', "\r\n"))),
        draft(
            "file-two-blank-lines",
            "Two blank lines: the second is not part of an armor block.",
            section,
            "malformed-signature",
        )
        .file(text(|f| f.replacen("\n\n", "\n\n\n", 1))),
        draft(
            "file-too-large",
            "More than any statement and signature take together.",
            section,
            "response-too-large",
        )
        .file(|mut f| {
            f.resize(4096 + 1 + 4096 + 1, b'\n');
            f
        }),
        draft("file-text-after", "Text after the armor block.", section, "malformed-signature")
            .file(text(|f| f + "Regards, Bob\n")),
    ]
}
