//! Writes `fixtures/signature` and `fixtures/trust`: every case below, from keys that never change.

use std::fmt::Write as _;
use std::fs;

use sequoia_openpgp as openpgp;

use openpgp::Fingerprint;
use openpgp::types::HashAlgorithm;
use touchgate::trust::{Files, versions};
use touchgate::unix_time::UnixTime;

use crate::case::fixtures;
use crate::packets::{
    Recipe, armor, body, creation_time, issuer_fingerprint, issuer_key_id, notation, our_notation, packet,
    subpacket,
};
use crate::people::{self, Tree};

/// When most cases are judged and signed; issued at 04:07, expiring at 04:22.
const NOW: &str = "2026-11-20T04:12:00Z";
const SIGNED: &str = "2026-11-20T04:11:30Z";

/// How the signature stands in the file.
#[derive(Clone, Copy)]
enum Form {
    /// Armored, 64 columns, with or without the CRC.
    Armored { crc: bool },
    /// Hexadecimal, as binary bytes would not survive an editor.
    Binary,
}

/// A change made to what would otherwise be right.
type Change<T> = Box<dyn Fn(T) -> T>;

/// One case before it is put together.
struct Draft {
    name: &'static str,
    what: &'static str,
    section: &'static str,
    expect: &'static str,
    now: &'static str,
    signed: &'static str,
    judged: &'static str,
    issued: Option<Change<String>>,
    signer: &'static str,
    statement: Change<String>,
    message: Change<Vec<u8>>,
    recipe: Change<Recipe>,
    packet: Change<Vec<u8>>,
    form: Form,
    armor: Change<String>,
    file: Option<Change<Vec<u8>>>,
}

fn draft(name: &'static str, what: &'static str, section: &'static str, expect: &'static str) -> Draft {
    Draft {
        name,
        what,
        section,
        expect,
        now: NOW,
        signed: SIGNED,
        judged: "ledger",
        issued: None,
        signer: "bob",
        statement: Box::new(|s| s),
        message: Box::new(|m| m),
        recipe: Box::new(|r| r),
        packet: Box::new(|p| p),
        form: Form::Armored { crc: true },
        armor: Box::new(|a| a),
        file: None,
    }
}

impl Draft {
    fn by(mut self, signer: &'static str) -> Self {
        self.signer = signer;
        self
    }

    fn now(mut self, now: &'static str) -> Self {
        self.now = now;
        self
    }

    fn signed(mut self, signed: &'static str) -> Self {
        self.signed = signed;
        self
    }

    /// `ledger`, `failing-ledger`, `replay` (the same answer was recorded before), `unknown` (never issued), `alone`.
    fn judged(mut self, judged: &'static str) -> Self {
        self.judged = judged;
        self
    }

    /// The statement with one line replaced (or removed: empty), before anybody signs.
    fn line(self, from: &'static str, to: &'static str) -> Self {
        let before = self.statement;
        let statement = move |s: String| {
            let s = before(s);
            let out: String =
                s.split_inclusive('\n').map(|line| if line.trim_end() == from { to } else { line }).collect();
            assert_ne!(s, out, "{from:?} is not in the statement");
            out
        };
        Self { statement: Box::new(statement), ..self }
    }

    fn statement(mut self, change: impl Fn(String) -> String + 'static) -> Self {
        self.statement = Box::new(change);
        self
    }

    /// What the verifier issued differs from what was signed.
    fn issued(mut self, change: impl Fn(String) -> String + 'static) -> Self {
        self.issued = Some(Box::new(change));
        self
    }

    /// What is hashed differs from the statement's bytes.
    fn message(mut self, change: impl Fn(Vec<u8>) -> Vec<u8> + 'static) -> Self {
        self.message = Box::new(change);
        self
    }

    fn recipe(mut self, change: impl Fn(Recipe) -> Recipe + 'static) -> Self {
        self.recipe = Box::new(change);
        self
    }

    /// One more subpacket in the hashed area.
    fn hashed(self, subpacket: Vec<u8>) -> Self {
        self.recipe(move |mut r| {
            r.hashed.push(subpacket.clone());
            r
        })
    }

    fn unhashed(self, subpacket: Vec<u8>) -> Self {
        self.recipe(move |mut r| {
            r.unhashed.push(subpacket.clone());
            r
        })
    }

    fn packet(mut self, change: impl Fn(Vec<u8>) -> Vec<u8> + 'static) -> Self {
        self.packet = Box::new(change);
        self.form = Form::Binary;
        self
    }

    fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    fn armor(mut self, change: impl Fn(String) -> String + 'static) -> Self {
        self.armor = Box::new(change);
        self
    }

    /// The case is a whole approval file.
    fn file(mut self, change: impl Fn(Vec<u8>) -> Vec<u8> + 'static) -> Self {
        self.file = Some(Box::new(change));
        self
    }

    fn write(&self, base: &str, tree: &mut Tree) {
        let statement = (self.statement)(base.to_owned());
        let mut key = people::signer(self.signer);
        let created = u32::try_from(seconds(self.signed)).unwrap();
        let recipe = (self.recipe)(Recipe::plain(&key, created));
        let message = (self.message)(statement.clone().into_bytes());
        let put_together = |packet: &[u8]| self.put_together(&statement, packet);
        let path = format!("signature/{}.case", self.name);
        let mut file = put_together(&recipe.sign(&mut key, &message));
        // ECDSA takes another random number each time: what stands there stays if all else is equal.
        if matches!(self.signer, "carol" | "dave" | "erin" | "uma")
            && let Ok(old) = fs::read(fixtures(&path))
        {
            let old_packet = old_packet(&old);
            let start = recipe.before_numbers(&message).0;
            if let Some(numbers) = body(&old_packet).strip_prefix(&start[..])
                && put_together(&recipe.with_numbers(&message, numbers)) == old
            {
                file = old;
            }
        }
        assert!(tree.insert(path, file).is_none(), "{}: two cases of this name", self.name);
    }

    fn put_together(&self, statement: &str, packet: &[u8]) -> Vec<u8> {
        let packet = (self.packet)(packet.to_vec());
        let mut text = format!("# {}\nsource: docs/protocol.md, {}\n", self.what, self.section);
        writeln!(text, "trust: team\nnow: {}\njudged: {}\nexpect: {}", self.now, self.judged, self.expect)
            .unwrap();
        if let Some(change) = &self.issued {
            let tail = statement.split_once('\n').unwrap().1;
            let challenge = change(format!("touchgate v1 challenge\n{tail}"));
            write!(text, "--- challenge\n{challenge}").unwrap();
        }
        if let Some(change) = &self.file {
            let whole = [statement.as_bytes(), b"\n", armor(&packet, 64, true).as_bytes()].concat();
            return [text.as_bytes(), b"--- file\n", &change(whole)].concat();
        }
        write!(text, "--- statement\n{statement}").unwrap();
        match self.form {
            Form::Armored { crc } => {
                write!(text, "--- signature\n{}", (self.armor)(armor(&packet, 64, crc))).unwrap();
            }
            Form::Binary => {
                text.push_str("--- signature in hexadecimal\n");
                for line in packet.chunks(40) {
                    line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
                    text.push('\n');
                }
            }
        }
        text.into_bytes()
    }
}

/// The packet in a case that stands on disk, to be compared.
fn old_packet(file: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let text = String::from_utf8_lossy(file);
    let packet = match text.split_once("--- signature in hexadecimal\n") {
        Some((_, hex)) => {
            let hex: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
            let digit = |b: u8| u8::try_from(char::from(b).to_digit(16).unwrap()).unwrap();
            hex.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
        }
        None => {
            let block = text.split_once("-----BEGIN PGP SIGNATURE-----\n\n").map_or("", |(_, block)| block);
            let lines = block.lines().take_while(|line| !line.starts_with('-') && !line.starts_with('='));
            let base64 = base64::engine::general_purpose::STANDARD.decode(lines.collect::<String>());
            base64.unwrap_or_default()
        }
    };
    if packet.len() < 3 { vec![0xC2, 0] } else { packet }
}

fn seconds(time: &str) -> u64 {
    time.parse::<UnixTime>().unwrap().seconds()
}

/// Every file below `fixtures/` that the keys and this program determine.
pub(crate) fn all() -> Tree {
    let mut tree = people::trust_directory();
    let below = |(path, bytes): (&String, &Vec<u8>)| {
        (path.strip_prefix("trust/team/").unwrap().to_owned(), bytes.clone())
    };
    let digest = versions::digest(&tree.iter().map(below).collect::<Files>());
    let statement = format!(
        "touchgate v1 approve\n\
         audience: approve.example.com\n\
         request: 01KA8Y3V0GQ4M7ZT6XWB1HJ5C9\n\
         action: deploy\n\
         resource: payments/prod\n\
         param.command: ./deploy.sh --region eu\n\
         param.commit: git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e\n\
         requester: github:alice\n\
         reason: Release 2.4.1\n\
         trust: 7 {digest}\n\
         nonce: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n\
         issued: 2026-11-20T04:07:00Z\n\
         expires: 2026-11-20T04:22:00Z\n"
    );
    let mut drafts = good();
    drafts.extend(
        [context(), people_and_rules(), areas(), packets(), armors(), keys(), files()].into_iter().flatten(),
    );
    for draft in drafts {
        draft.write(&statement, &mut tree);
    }
    tree
}

/// Replaces everything that was generated before.
pub(crate) fn write_all() {
    people::make_missing_keys();
    let tree = all();
    let _ = fs::remove_dir_all(fixtures("trust/team"));
    for entry in fs::read_dir(fixtures("signature")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "case") {
            fs::remove_file(path).unwrap();
        }
    }
    for (path, bytes) in tree {
        let path = fixtures(&path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Responses that are as they should be.
fn good() -> Vec<Draft> {
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

/// Audience, trust, challenge, time, bytes.
fn context() -> Vec<Draft> {
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
        draft("replayed", "The same answer, given before.", section, "replayed").judged("replay"),
        draft("unrecorded", "The answer could not be recorded, so it does not count.", section, "unrecorded")
            .judged("failing-ledger"),
    ]
}

/// Who may decide what.
fn people_and_rules() -> Vec<Draft> {
    let section = "Person and rule";
    let to = |draft: Draft, resource: &'static str| draft.line("resource: payments/prod", resource);
    let from = |draft: Draft, requester: &'static str| draft.line("requester: github:alice", requester);
    let login = |draft: Draft| draft.line("action: deploy", "action: login\n");
    vec![
        draft("no-rule-action", "No rule for the action.", section, "no-rule")
            .line("action: deploy", "action: unlock\n"),
        to(
            draft("no-rule-resource", "`payments/*` is one segment.", section, "no-rule"),
            "resource: payments/prod/eu\n",
        ),
        draft(
            "no-rule-update-literal",
            "Only a rule that spells out `touchgate.` actions covers them.",
            section,
            "no-rule",
        )
        .line("action: deploy", "action: touchgate.trust.revoke\n"),
        to(
            draft("no-rule-break-glass", "An ordinary rule does not serve an emergency.", section, "no-rule"),
            "resource: staging/web\n",
        )
        .line("reason: Release 2.4.1", "reason: fire\nmode: break-glass\n"),
        draft(
            "break-glass",
            "The emergency rule has a quorum of its own: security.",
            section,
            "approved bob declared",
        )
        .line("reason: Release 2.4.1", "reason: fire\nmode: break-glass\n"),
        draft("break-glass-other-group", "Release engineers may not.", section, "not-allowed")
            .by("carol")
            .line("reason: Release 2.4.1", "reason: fire\nmode: break-glass\n"),
        draft("not-pinned-missing", "The rule pins `commit`, the request has none.", section, "not-pinned")
            .line("param.commit: git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e", ""),
        draft("not-pinned-branch", "A branch moves.", section, "not-pinned")
            .line("param.commit: git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e", "param.commit: main\n"),
        draft("not-pinned-short", "A short commit id is not one commit for ever.", section, "not-pinned")
            .line(
                "param.commit: git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e",
                "param.commit: git:4f2c9d0\n",
            ),
        from(
            draft("unknown-requester", "Nobody's record names the requester.", section, "unknown-requester"),
            "requester: github:zoe\n",
        ),
        from(
            draft(
                "unknown-requester-issuer",
                "The same subject under another issuer is somebody else.",
                section,
                "unknown-requester",
            ),
            "requester: gitlab:alice\n",
        ),
        from(
            to(
                draft(
                    "unattended",
                    "A rule that lets unknown requesters ask.",
                    section,
                    "approved bob declared",
                ),
                "resource: night/build\n",
            ),
            "requester: github:zoe\n",
        ),
        to(
            draft("tier-declared", "The rule demands the default, attested.", section, "tier"),
            "resource: vault/keys\n",
        ),
        draft("tier-signed", "Nobody declares that this key needs a touch.", section, "tier").by("pam"),
        to(
            draft("tier-signed-enough", "A rule that a signature satisfies.", section, "approved pam signed")
                .by("pam"),
            "resource: staging/web\n",
        ),
        draft("not-allowed-group", "In no group that the rule names.", section, "not-allowed").by("quinn"),
        draft("not-allowed-self", "The requester approves their own request.", section, "not-allowed")
            .by("alice"),
        from(
            draft(
                "not-allowed-self-other-name",
                "The same under another name of theirs.",
                section,
                "not-allowed",
            )
            .by("alice"),
            "requester: os:alice@build1\n",
        ),
        from(
            draft("not-allowed-self-refusal", "Nor may they refuse it.", section, "not-allowed").by("alice"),
            "requester: os:alice@build1\n",
        )
        .line("touchgate v1 approve", "touchgate v1 refuse\n"),
        from(
            draft(
                "requester-without-token",
                "Somebody who holds no token may ask.",
                section,
                "approved alice declared",
            )
            .by("alice"),
            "requester: github:sam\n",
        ),
        login(
            draft("step-up", "Only the requester fills `@requester`.", section, "approved alice declared")
                .by("alice"),
        ),
        login(draft("not-allowed-step-up", "Nobody else does.", section, "not-allowed")),
    ]
}

/// The two areas of subpackets.
fn areas() -> Vec<Draft> {
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
            .unhashed(subpacket(16 | 0x80, openpgp::KeyID::from(&bob).as_bytes())),
        draft(
            "unhashed-long-length",
            "The matching Key ID with its length in five octets.",
            section,
            "unhashed-subpacket",
        )
        .unhashed([&[255, 0, 0, 0, 9, 16], openpgp::KeyID::from(&bob).as_bytes()].concat()),
        draft(
            "unhashed-embedded-signature",
            "A signature where nothing protects it.",
            section,
            "unhashed-subpacket",
        )
        .unhashed(subpacket(32, &embedded())),
    ]
}

/// Packets and what stands around them.
fn packets() -> Vec<Draft> {
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
fn armors() -> Vec<Draft> {
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

/// Keys, certificates, arithmetic.
fn keys() -> Vec<Draft> {
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

/// Whole approval files.
fn files() -> Vec<Draft> {
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

fn fingerprint(name: &str) -> Fingerprint {
    people::signer(name).public().fingerprint()
}
