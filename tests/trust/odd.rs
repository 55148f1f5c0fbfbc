//! What `trust::check` finds odd, and where.

use touchgate::trust::check::{Finding, Severity, check};
use touchgate::trust::{Files, Trust};
use touchgate::unix_time::UnixTime;

use crate::{files, load};

const ALICE: &str = "people/alice.toml";
const BOB: &str = "people/bob.toml";
const POLICY: &str = "policy.toml";

fn now() -> UnixTime {
    "2026-11-20T04:07:00Z".parse().unwrap()
}

fn found(files: &Files) -> Vec<Finding> {
    check(&load(files), files, now())
}

/// A team of three with a sound policy: nothing is odd about it.
fn sound() -> Files {
    let mut all = files(&[]);
    let kept = ["alice", "bob", "carol"];
    all.retain(|path, _| {
        let name = path.rsplit('/').next().unwrap().split('.').next().unwrap();
        path == POLICY || kept.contains(&name) || ["1001", "1002", "1003"].contains(&name)
    });
    let policy = r#"audience    = "approve.example.com"
version     = 7
valid_until = "2027-11-20T00:00:00Z"
log_key     = "approve.example.com+KEYID+KEY"

[[grant_key]]
kid = "1"
alg = "ES256"
key = "SPKI"

[[rule]]
action = "deploy"
need   = [{ from = "@requester" }, { from = "release" }]
tier   = "declared"

[[rule]]
action = "touchgate.trust.update"
need   = [{ from = "admins", count = 2 }]
tier   = "declared"

[[rule]]
action = "touchgate.trust.revoke"
need   = [{ from = "admins" }]
tier   = "declared"
"#;
    let signer = touchgate::audit::LogSigner::generate("approve.example.com").unwrap().0;
    let pkcs8 = touchgate::grant::GrantSigner::generate(touchgate::grant::Algorithm::Es256).unwrap();
    let grant = touchgate::grant::GrantSigner::from_pkcs8("1", &pkcs8).unwrap();
    let policy = policy
        .replace("approve.example.com+KEYID+KEY", &signer.key().to_string())
        .replace("SPKI", &grant.key().to_base64());
    all.insert(POLICY.to_owned(), policy.into_bytes());
    for name in kept {
        let path = format!("people/{name}.toml");
        let text = String::from_utf8(all[&path].clone()).unwrap();
        let groups = text.lines().find(|line| line.starts_with("groups")).unwrap();
        let text = text.replace(groups, "groups     = [\"release\", \"admins\"]");
        all.insert(path, text.into_bytes());
    }
    all
}

fn edited(edits: &[(&str, &str, &str)]) -> Files {
    let mut files = sound();
    for (path, from, to) in edits {
        let text = String::from_utf8(files[*path].clone()).unwrap();
        assert!(text.contains(from), "{path} does not hold {from:?}:\n{text}");
        files.insert((*path).to_owned(), text.replacen(from, to, 1).into_bytes());
    }
    files
}

#[test]
fn nothing_is_odd_about_a_sound_team() {
    assert_eq!(found(&sound()), []);
}

/// What is changed in the sound team; each line that comes of it, from its beginning.
type Case = (&'static [(&'static str, &'static str, &'static str)], &'static [&'static str]);

#[test]
fn each_oddity_is_found_at_its_place_and_nothing_else() {
    const IN_RELEASE: &str = "groups     = [\"release\", \"admins\"]";
    const DEPLOY: &str = "need   = [{ from = \"@requester\" }, { from = \"release\" }]";
    let cases: &[Case] = &[
        (
            &[(POLICY, "from = \"release\" }", "from = \"release\", count = 4 }")],
            &[
                "policy.toml:13:45: error (group-too-small): deploy on ** needs 4 of release, and 3 can approve it",
            ],
        ),
        (
            &[(POLICY, "from = \"release\" }", "from = \"release\", count = 3 }")],
            &[
                "policy.toml:11:1: error (unmeetable-rule): deploy on ** needs the requester and 3 of release, and nobody can ask so that different people fill all of it",
            ],
        ),
        (
            &[(POLICY, DEPLOY, "need = [{ from = \"release\", count = 3 }]")],
            &[
                "policy.toml:11:1: error (unmeetable-rule): deploy on ** needs 3 of release, and nobody can ask",
            ],
        ),
        (
            &[
                (POLICY, DEPLOY, "need = [{ from = \"release\", count = 2 }]"),
                (ALICE, IN_RELEASE, "groups = [\"admins\"]"),
            ],
            &[
                "policy.toml:11:1: warning (too-few-left): deploy on **: if bob or carol asks, too few are left to approve it",
            ],
        ),
        (
            &[(POLICY, "from = \"release\"", "from = \"relaese\"")],
            &[
                "people/alice.toml:2:15: warning (unused-group): no rule names the group \"release\"; did you mean \"relaese\"?",
                "people/bob.toml:2:15: warning (unused-group): ",
                "people/carol.toml:2:15: warning (unused-group): ",
                "policy.toml:13:45: error (unknown-group): nobody belongs to \"relaese\"; did you mean \"release\"?",
            ],
        ),
        (
            &[(POLICY, "from = \"admins\", count = 2", "from = \"admins\"")],
            &[
                "policy.toml:16:1: warning (one-person-updates): alice, bob or carol may change every rule alone",
            ],
        ),
        (
            &[(POLICY, "from = \"admins\", count = 2", "from = \"@requester\"")],
            &[
                "policy.toml:16:1: error (requester-only): touchgate.trust.update on ** takes nobody but the requester, and there are 3 people: each of them may change every rule alone",
            ],
        ),
        (
            &[(POLICY, ", { from = \"release\" }]", "]")],
            &[
                "people/alice.toml:2:15: warning (unused-group)",
                "people/bob.toml:2:15: warning (unused-group)",
                "people/carol.toml:2:15: warning (unused-group)",
                "policy.toml:11:1: warning (requester-only): deploy on ** takes nobody but the requester, and there are 3 people",
            ],
        ),
        (
            &[(POLICY, "tier   = \"declared\"", "tier   = \"attested\"")],
            &[
                "people/alice.toml:6:10: warning (weak-token): alice's evidence is declared, and deploy on ** wants attested: trust holds no attestation of it",
                "people/bob.toml:6:10: warning (weak-token)",
                "people/carol.toml:6:10: warning (weak-token)",
                "policy.toml:13:45: error (group-too-small): deploy on ** needs 1 of release, and 0 can approve it; not alice (evidence declared, attested is needed), bob (",
                "policy.toml:16:1: warning (weak-update-rule): touchgate.trust.update on ** takes evidence declared, and deploy on ** attested",
            ],
        ),
        (&[(POLICY, "log_key", "# log_key")], &["error (no-log-key): "]),
        (
            &[
                (POLICY, "[[grant_key]]\nkid", "[issuers]\n# kid"),
                (POLICY, "alg =", "# alg ="),
                (POLICY, "key = ", "# key = "),
            ],
            &["error (no-grant-key): "],
        ),
        (
            &[(POLICY, "2027-11-20", "2026-11-20")],
            &[
                "policy.toml:3:15: error (expired): it ended at 2026-11-20T00:00:00Z; no verifier uses it any more",
            ],
        ),
        (
            &[(POLICY, "2027-11-20", "2026-11-30")],
            &["policy.toml:3:15: warning (expires-soon): it ends at 2026-11-30T00:00:00Z, in 9 day(s)"],
        ),
        (
            &[(POLICY, "touchgate.trust.revoke", "touchgate.trust.revok")],
            &[
                "warning (no-revoke-rule): ",
                "policy.toml:22:10: error (unknown-action): Touchgate asks for nothing called \"touchgate.trust.revok\"; did you mean \"touchgate.trust.revoke\"?",
            ],
        ),
        (
            &[(
                POLICY,
                "[[rule]]\naction = \"touchgate.trust.update\"",
                "[[rule]]\naction = \"deploy\"\nresource = \"a/*\"\npinned = [\"image\"]\nneed = [{ from = \"release\" }]\ntier = \"declared\"\n\n[[rule]]\naction = \"touchgate.trust.update\"",
            )],
            &[
                "policy.toml:11:1: warning (nothing-pinned): deploy on ** pins nothing, and deploy on a/* pins image",
            ],
        ),
        (
            &[(ALICE, "\"admins\"]", "\"admins\", \"securty\"]")],
            &["people/alice.toml:2:36: warning (unused-group): no rule names the group \"securty\""],
        ),
        (
            &[(ALICE, "[\"github:alice\", \"os:alice@build1\"]", "[]")],
            &["people/alice.toml:1:1: warning (no-identity): alice has no identity"],
        ),
        (
            &[(ALICE, "touch  = \"declared\"", "")],
            &[
                "people/alice.toml:6:10: warning (weak-token): alice's evidence is signed, and deploy on ** wants declared",
                "policy.toml:11:1: warning (too-few-left): deploy on **: if alice asks, too few are left to approve it",
            ],
        ),
        (
            &[(BOB, IN_RELEASE, "groups = [\"release\"]"), (ALICE, IN_RELEASE, "groups = [\"release\"]")],
            &[
                "policy.toml:18:20: error (group-too-small): touchgate.trust.update on ** needs 2 of admins, and 1 can approve it",
            ],
        ),
    ];
    let mut wrong: Vec<String> = Vec::new();
    for (edits, expected) in cases {
        let lines: Vec<String> = found(&edited(edits)).iter().map(ToString::to_string).collect();
        let fits = lines.len() == expected.len()
            && lines.iter().zip(*expected).all(|(line, beginning)| line.starts_with(beginning));
        if !fits {
            wrong.push(format!(
                "{edits:?}: expected\n{}\nand got\n{}",
                expected.join("\n"),
                lines.join("\n")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_token_is_missing_or_its_certificate_at_its_end() {
    let mut bare = sound();
    bare.remove("tokens/1001.asc");
    let text = String::from_utf8(bare[ALICE].clone()).unwrap();
    bare.insert(ALICE.to_owned(), text.as_bytes()[..text.find("[[token]]").unwrap()].to_vec());
    let lines: Vec<String> = found(&bare).iter().map(ToString::to_string).collect();
    let expected = [
        "people/alice.toml:1:1: warning (no-token): alice holds no token",
        "policy.toml:11:1: warning (too-few-left): deploy on **: if alice asks, too few are left to approve it",
    ];
    assert_eq!(lines, expected);

    // The whole test team has certificates of every kind.
    let all = files(&[]);
    let of = |code: &str| -> Vec<String> {
        let list = found(&all).into_iter().filter(|finding| finding.code == code);
        list.map(|finding| finding.to_string()).collect()
    };
    for code in ["certificate-expired", "certificate-unusable"] {
        let lines = of(code);
        assert!(
            !lines.is_empty() && lines.iter().all(|line| line.starts_with("people/")),
            "{code}: {lines:?}"
        );
    }
    assert!(found(&all).iter().any(|finding| finding.severity == Severity::Error));
}

/// A big roster with big counts is looked over without looking at every pair of people.
#[test]
fn one_person_in_every_group_does_not_fill_two_slots() {
    let both = edited(&[
        (
            POLICY,
            "need   = [{ from = \"@requester\" }, { from = \"release\" }]",
            "need = [{ from = \"release\" }, { from = \"security\" }]",
        ),
        (ALICE, "\"release\", \"admins\"", "\"release\", \"security\", \"admins\""),
        (BOB, "\"release\", \"admins\"", "\"admins\""),
        ("people/carol.toml", "\"release\", \"admins\"", "\"admins\""),
    ]);
    let lines: Vec<String> = found(&both).iter().map(ToString::to_string).collect();
    let expected = "policy.toml:11:1: error (unmeetable-rule): deploy on ** needs 1 of release and 1 of security, and nobody can ask";
    assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}");
    assert!(Trust::from_files(&both).is_ok());
}
