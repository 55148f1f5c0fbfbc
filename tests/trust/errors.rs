//! What is said about files that are wrong: which file, which line and column, what was probably meant.

use touchgate::trust::Trust;

use crate::files;

const ALICE: &str = "people/alice.toml";
const BOB: &str = "people/bob.toml";
const POLICY: &str = "policy.toml";
const UPDATE: &str = "action        = \"touchgate.trust.update\"";

/// File, what stands there, what stands there instead; the code; the words.
type Case = (&'static str, &'static str, &'static str, &'static str, &'static str);

#[test]
fn an_error_names_the_place_and_what_was_meant() {
    let cases: &[Case] = &[
        (
            POLICY,
            "audience    =",
            "adience    =",
            "malformed",
            "policy.toml:2:1: unknown key \"adience\"; did you mean \"audience\"?",
        ),
        (
            POLICY,
            "version     = 7",
            "version = \"7\"",
            "malformed",
            "policy.toml:3:11: invalid type: string \"7\", expected u64",
        ),
        (
            POLICY,
            "version     = 7",
            "version = 0",
            "version-zero",
            "policy.toml:3:11: version is 0; versions count from 1",
        ),
        (
            POLICY,
            "version     = 7",
            "version = 7\nversion = 8",
            "malformed",
            "policy.toml:4:1: duplicate key",
        ),
        (POLICY, "version     = 7", "version = ", "malformed", "policy.toml:3:1"),
        (
            POLICY,
            "approve.example.com\"",
            "Approve!\"",
            "malformed",
            "policy.toml:2:15: \"Approve!\" is not ",
        ),
        (
            POLICY,
            "2027-03-01T",
            "2027-3-01T",
            "malformed",
            "policy.toml:4:15: valid_until: not a time of the form 2026-11-20T04:07:00Z",
        ),
        (
            POLICY,
            "tier     = \"signed\"",
            "tier     = \"singed\"",
            "bad-value",
            "policy.toml:29:12: rule for deploy on staging/**: tier = \"singed\": expected signed, declared or attested; did you mean \"signed\"?",
        ),
        (
            POLICY,
            "mode     = \"break-glass\"",
            "mode     = \"breakglass\"",
            "bad-value",
            "policy.toml:18:12: rule for deploy on payments/*: mode = \"breakglass\": expected break-glass, and not for touchgate.*; did you mean \"break-glass\"?",
        ),
        (
            POLICY,
            "\"@requester\"",
            "\"@requestor\"",
            "bad-value",
            "policy.toml:40:20: rule for login on **: need = \"@requestor\": expected a group or @requester; did you mean \"@requester\"?",
        ),
        (
            POLICY,
            "count = 2",
            "count = 200",
            "bad-value",
            "policy.toml:9:41: rule for deploy on payments/*: need = \"200\": expected a count from 1 to 100, and 1 for @requester",
        ),
        (
            POLICY,
            "from = \"release\", count",
            "form = \"release\", count",
            "malformed",
            "policy.toml:9:15: unknown key \"form\"; did you mean \"from\"?",
        ),
        (
            POLICY,
            "resource = \"vault/**\"",
            "resource = \"vault/**/x\"",
            "bad-value",
            "policy.toml:22:12: rule for deploy on vault/**/x: resource = \"vault/**/x\": expected segments",
        ),
        (
            POLICY,
            "pinned   = [\"commit\"]",
            "pinned   = [\"image\", \"Commit\"]",
            "bad-value",
            "policy.toml:11:22: rule for deploy on payments/*: pinned = \"Commit\": expected a parameter's name",
        ),
        (
            POLICY,
            "answer_within = \"7d\"",
            "answer_within = \"7w\"",
            "bad-value",
            "policy.toml:46:17: rule for touchgate.trust.update on **: answer_within = \"7w\"",
        ),
        (
            POLICY,
            "resource = \"vault/**\"",
            "resource = \"*/prod\"",
            "ambiguous-rules",
            "policy.toml:20:1: two rules cover the same requests, and neither is more specific: deploy on payments/* and deploy on */prod; the other stands at policy.toml:6:1",
        ),
        (
            POLICY,
            UPDATE,
            "action = \"touchgate.trust.updat\"",
            "no-update-rule",
            "policy.toml:44:10: no rule for touchgate.trust.update; without one nobody could ever change this trust; did you mean \"touchgate.trust.update\"?",
        ),
        (
            POLICY,
            UPDATE,
            "action = \"other\"",
            "no-update-rule",
            "policy.toml: no rule for touchgate.trust.update; without one nobody could ever change this trust",
        ),
        (
            POLICY,
            "\n[[rule]]",
            "\n[issuers]\ngithub = \"http://x\"\n\n[[rule]]",
            "bad-key",
            "policy.toml:7:10: issuers: github = \"http://x\": expected a name",
        ),
        (
            POLICY,
            "\n[[rule]]",
            "\n[[grant_key]]\nkid = \"1\"\nalg = \"ES256\"\nkey = \"AA\"\n\n[[rule]]",
            "bad-key",
            "policy.toml:7:7: grant_key \"1\": ",
        ),
        (
            ALICE,
            "\"admins\"",
            "\"admins\\nbob: removed\"",
            "bad-value",
            "people/alice.toml:2:26: groups = \"admins\\nbob: removed\": expected words of printable ASCII",
        ),
        (
            POLICY,
            "from = \"admins\"",
            "from = \"ad mins\"",
            "bad-value",
            "policy.toml:45:27: rule for touchgate.trust.update on **: need = \"ad mins\": expected a group or @requester",
        ),
        (
            ALICE,
            "groups     =",
            "group      =",
            "malformed",
            "people/alice.toml:2:1: unknown key \"group\"; did you mean \"groups\"?",
        ),
        (
            ALICE,
            "serial = \"1001\"",
            "serial = \"01001\"",
            "bad-value",
            "people/alice.toml:6:10: serial = \"01001\": expected the number printed on a YubiKey",
        ),
        (
            ALICE,
            "\"declared\"",
            "\"declare\"",
            "bad-value",
            "people/alice.toml:8:10: touch = \"declare\": expected declared, or no such line; did you mean \"declared\"?",
        ),
        (
            ALICE,
            "\"os:alice@build1\"",
            "\"alice@build1\"",
            "bad-value",
            "people/alice.toml:3:31: identities = \"alice@build1\": expected issuer:subject",
        ),
        (
            ALICE,
            "A4A914437386C5FF97BD66BDE16F6FDD2DA17C12",
            "A4A9",
            "bad-value",
            "people/alice.toml:7:10: key = \"A4A9\": expected a fingerprint",
        ),
        (
            ALICE,
            "A4A914437386C5FF97BD66BDE16F6FDD2DA17C12",
            "A4A914437386C5FF97BD66BDE16F6FDD2DA17C13",
            "bad-certificate",
            "tokens/1001.asc: key A4A914437386C5FF97BD66BDE16F6FDD2DA17C13 is not in the certificate, named at people/alice.toml:6:10",
        ),
        (
            ALICE,
            "serial = \"1001\"",
            "serial = \"1000\"",
            "bad-certificate",
            "tokens/1000.asc: is missing, named at people/alice.toml:6:10",
        ),
        (
            BOB,
            "serial = \"1002\"",
            "serial = \"1001\"",
            "duplicate",
            "people/bob.toml:6:10: serial 1001 is listed before, for alice; it stands at people/alice.toml:6:10 already",
        ),
        (
            BOB,
            "github:bob",
            "github:alice",
            "duplicate",
            "people/bob.toml:3:15: identity github:alice is listed before, for alice; it stands at people/alice.toml:3:15 already",
        ),
        (
            ALICE,
            "\"os:alice@build1\"",
            "\"github:alice\"",
            "duplicate",
            "people/alice.toml:3:31: identity github:alice is listed before, for alice; it stands at people/alice.toml:3:15 already",
        ),
    ];
    let mut wrong = Vec::new();
    for (path, from, to, code, words) in cases {
        let error = Trust::from_files(&files(&[(path, from, to)])).unwrap_err();
        if !error.to_string().starts_with(words) {
            wrong.push(format!("{from} -> {to}: expected\n{words}\nand got\n{error}"));
        }
        assert_eq!(error.code(), *code, "{error}");
        assert_eq!(
            error.place().is_some(),
            words.split(' ').any(|word| word.matches(':').count() >= 2),
            "{error}"
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn no_cut_of_a_file_panics_or_is_loaded_in_part() {
    let whole = files(&[]);
    for path in [POLICY, ALICE] {
        let bytes = &whole[path];
        for end in 0..bytes.len() {
            let mut cut = whole.clone();
            cut.insert(path.to_owned(), bytes[..end].to_vec());
            if let Err(error) = Trust::from_files(&cut) {
                assert!(!error.to_string().is_empty() && !error.code().is_empty());
            }
        }
    }
    for bytes in [&b"\xff"[..], b"\0", "\u{feff}".as_bytes(), b"[[[", b"a = \"\n"] {
        let mut odd = whole.clone();
        odd.insert(POLICY.to_owned(), bytes.to_vec());
        assert_eq!(Trust::from_files(&odd).unwrap_err().code(), "malformed");
    }
}
