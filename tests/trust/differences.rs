//! What `trust::diff` says, and of whom it says that the update takes something.

use openpgp::cert::{Cert, CertRevocationBuilder};
use openpgp::parse::Parse as _;
use openpgp::serialize::SerializeInto as _;
use openpgp::types::ReasonForRevocation;
use sequoia_openpgp as openpgp;
use touchgate::trust::{Diff, Files, diff};

use crate::{files, load};

fn compare(new: &Files) -> Diff {
    let old = files(&[]);
    diff(&load(&old), &old, &load(new), new)
}

/// The lines of an update, and who is reduced by it.
fn said(edits: &[(&str, &str, &str)]) -> (String, Vec<String>) {
    let found = compare(&files(edits));
    (found.to_string(), found.all_reduced().map(str::to_owned).collect())
}

const ALICE: &str = "people/alice.toml";
const POLICY: &str = "policy.toml";

#[test]
fn each_change_is_named_with_what_it_means() {
    let payments = "need     = [{ from = \"release\", count = 2 }, { from = \"security\" }]";
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (POLICY, "version     = 7", "version     = 8", &["version: 7 -> 8"]),
        (
            POLICY,
            "2027-03-01",
            "2027-04-01",
            &["valid_until: \"2027-03-01T00:00:00Z\" -> \"2027-04-01T00:00:00Z\""],
        ),
        (
            POLICY,
            "approve.example.com\"",
            "gate.example.com\"",
            &["audience: \"approve.example.com\" -> \"gate.example.com\""],
        ),
        (POLICY, "# The policy", "# A policy", &["policy.toml: other bytes that say the same"]),
        (
            POLICY,
            payments,
            "need = [{ from = \"release\" }, { from = \"security\" }]",
            &[
                "rule deploy on payments/*: needs 2 of release and 1 of security -> 1 of release and 1 of security (weaker)",
            ],
        ),
        (
            POLICY,
            payments,
            "need = [{ from = \"release\", count = 3 }, { from = \"security\" }]",
            &[
                "rule deploy on payments/*: needs 2 of release and 1 of security -> 3 of release and 1 of security\n",
            ],
        ),
        (
            POLICY,
            "pinned   = [\"commit\"]",
            "pinned = []",
            &["rule deploy on payments/*: pinned [commit] -> [] (weaker)"],
        ),
        (
            POLICY,
            "resource = \"vault/**\"\nneed     = [{ from = \"release\" }]",
            "resource = \"vault/**\"\nneed = [{ from = \"admins\" }]\ntier = \"signed\"",
            &[
                "rule deploy on vault/**: needs 1 of release -> 1 of admins (weaker); tier attested -> signed (weaker)",
                "so deploy on vault/**: alice may approve from now on",
            ],
        ),
        (
            POLICY,
            "unattended = true",
            "unattended = false",
            &["rule deploy on night/**: unattended true -> false\n"],
        ),
        (
            POLICY,
            "[[rule]]\naction = \"login\"",
            "[[rule]]\naction = \"deploy\"\nresource = \"payments/test\"\nneed = [{ from = \"admins\" }]\ntier = \"signed\"\n\n[[rule]]\naction = \"login\"",
            &[
                "rule deploy on payments/test: new; needs 1 of admins, signed",
                "so deploy on payments/test: this rule decides instead of deploy on payments/*; ",
                "deploy on payments/*; bob, carol, ",
            ],
        ),
        (
            POLICY,
            "action = \"login\"",
            "action = \"logout\"",
            &[
                "rule login on **: removed",
                "rule logout on **: new; needs the requester, declared",
                "so login on **: nobody may ask for it any more; ",
            ],
        ),
        (
            ALICE,
            "\"release\", ",
            "",
            &["alice: leaves group release", "so deploy on payments/*: alice may approve no longer"],
        ),
        (
            ALICE,
            "\"release\", ",
            "\"release\", \"security\", ",
            &[
                "alice: joins group security",
                "so deploy on payments/* (break-glass): alice may approve from now on",
            ],
        ),
        (
            ALICE,
            "\"github:alice\"",
            "\"github:alice2\"",
            &["alice: may also ask as github:alice2", "alice: asks as github:alice no longer"],
        ),
        (
            ALICE,
            "touch  = \"declared\"",
            "",
            &[
                "alice: token 1001: touch no longer declared; evidence declared -> signed",
                "so login on **: alice may approve no longer",
            ],
        ),
        (ALICE, "groups", "# Who\ngroups", &["people/alice.toml: other bytes that say the same"]),
    ];
    for (path, from, to, expected) in cases {
        let (lines, _) = said(&[(path, from, to)]);
        for line in *expected {
            assert!(lines.contains(line), "{from} -> {to}: expected {line:?} in\n{lines}");
        }
    }
}

#[test]
fn whoever_loses_a_token_or_a_group_is_reduced_and_nobody_else() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (ALICE, "\"release\", ", "", &["alice"]),
        (ALICE, "\"release\", ", "\"security\", \"release\", ", &[]),
        (ALICE, "touch  = \"declared\"", "", &["alice"]),
        (ALICE, "\"github:alice\", ", "", &[]),
        (POLICY, "version     = 7", "version     = 8", &[]),
        (POLICY, "from = \"admins\"", "from = \"release\"", &[]),
        ("people/pam.toml", "[[token]]", "[[token]]\ntouch = \"declared\"", &[]),
    ];
    for (path, from, to, expected) in cases {
        assert_eq!(said(&[(path, from, to)]).1, *expected, "{from} -> {to}");
    }
}

#[test]
fn a_person_who_goes_and_a_token_that_passes_on_are_seen() {
    let mut new = files(&[]);
    new.remove("people/alice.toml");
    new.remove("tokens/1001.asc");
    let found = compare(&new);
    assert!(found.to_string().starts_with("alice: removed, with tokens 1001\n"), "{found}");
    assert!(found.reduced("alice") && !found.reduced("bob"));

    // Bob gets hers: both records change, the file of the token does not.
    let mut new = files(&[]);
    let alice = String::from_utf8(new["people/alice.toml"].clone()).unwrap();
    let (person, token) = alice.split_at(alice.find("[[token]]").unwrap());
    let bob = String::from_utf8(new["people/bob.toml"].clone()).unwrap() + "\n" + token;
    new.insert("people/alice.toml".into(), person.as_bytes().to_vec());
    new.insert("people/bob.toml".into(), bob.into_bytes());
    let found = compare(&new);
    let lines = found.to_string();
    assert!(lines.contains("alice: token 1001 removed\nbob: token 1001 added, declared\n"), "{lines}");
    assert_eq!(found.all_reduced().collect::<Vec<_>>(), ["alice"]);
}

/// A certificate may be exchanged for one that is good for less; that takes something too.
#[test]
fn a_certificate_that_ends_sooner_takes_something() {
    let mut new = files(&[]);
    // Of a key that is the same, with a revocation.
    let revoked = revoked(&new["tokens/1001.asc"]);
    new.insert("tokens/1001.asc".into(), revoked);
    let found = compare(&new);
    let expected = "alice: token 1001: certificate without end -> of no use (certificate-revoked)\n";
    assert!(found.to_string().starts_with(expected), "{found}");
    assert!(found.reduced("alice"));
    // Coming back from there gives something.
    let old = files(&[]);
    assert!(!diff(&load(&new), &new, &load(&old), &old).reduced("alice"));
}

/// The certificate, revoked with the published secret half of its primary key.
fn revoked(armored: &[u8]) -> Vec<u8> {
    let keys = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/signature/keys/alice.asc");
    let secret = Cert::from_file(keys).unwrap();
    let cert = Cert::from_bytes(armored).unwrap();
    let key = secret.primary_key().key().clone().parts_into_secret().unwrap();
    let revocation = CertRevocationBuilder::new()
        .set_reason_for_revocation(ReasonForRevocation::KeyCompromised, b"")
        .unwrap()
        .build(&mut key.into_keypair().unwrap(), &cert, None)
        .unwrap();
    let (cert, _) = cert.insert_packets(Some(openpgp::Packet::from(revocation))).unwrap();
    cert.armored().to_vec().unwrap()
}

/// Whatever is in no line would be signed unseen.
#[test]
fn no_byte_changes_without_a_line() {
    let old = files(&[]);
    let trust = load(&old);
    for path in old.keys() {
        let mut new = old.clone();
        new.get_mut(path).unwrap().push(b'\n');
        let Ok(after) = touchgate::trust::Trust::from_files(&new) else { continue };
        let found = diff(&trust, &old, &after, &new);
        assert_eq!(found.changes.len(), 1, "{path}: {found}");
        assert!(!found.is_empty() && found.effects.is_empty(), "{path}: {found}");
    }
    assert!(diff(&trust, &old, &load(&old), &old).is_empty());
}
