//! The table in `docs/attestation.md`: every wrong chain and its verdict, here and by openssl.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use touchgate::card::attestation::{ConfiguredRoot, FLOORS, Shortfall, verify, write_pem};
use virtual_openpgp_card::attestation::ChainShape;

use crate::case::codes;
use crate::rows::{Row, rows};
use crate::{SHAPES, now};

const BEGIN: &str = "<!-- made by tests/attestation/table.rs -->\n";
const END: &str = "<!-- end -->\n";

/// The rows of both shapes, signed once.
fn all() -> &'static [Vec<Row>; 2] {
    static ROWS: LazyLock<[Vec<Row>; 2]> = LazyLock::new(|| SHAPES.map(rows));
    &ROWS
}

/// The code of the reason against it, or what it falls short of.
fn verdict(row: &Row) -> String {
    let root = row.root.as_ref().map(|root| ConfiguredRoot::new("test", root.der()).unwrap());
    match verify(&row.leaf, &row.others, root.as_slice(), now()) {
        Ok(attestation) => {
            let short: Vec<&str> = attestation.shortfalls().iter().map(Shortfall::code).collect();
            assert!(short.contains(&"other-root"), "no test root is Yubico's");
            let rest: Vec<&str> = short.into_iter().filter(|code| *code != "other-root").collect();
            if rest.is_empty() { "holds".into() } else { format!("holds, but {}", rest.join(", ")) }
        }
        Err(error) => error.code().into(),
    }
}

/// Whether `openssl verify` finds a path.
fn openssl(row: &Row) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let mut command = Command::new("openssl");
    command.args(["verify", "-attime", &now().seconds().to_string(), "-no-CApath", "-no-CAstore"]);
    match &row.root {
        Some(root) => command.arg("-CAfile").arg(write("root.pem", root.pem())),
        None => command.arg("-no-CAfile"),
    };
    let others: String = row.others.iter().map(|other| write_pem(other)).collect();
    let output = command
        .arg("-untrusted")
        .arg(write("others.pem", others))
        .arg(write("leaf.pem", write_pem(&row.leaf)))
        .output()
        .expect("openssl is not there: apt-get install openssl");
    output.status.success()
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/attestation.md")
}

fn table() -> String {
    let mut text =
        String::from("| chain | before 5.7.4 | from 5.7.4 | `openssl verify` |\n| --- | --- | --- | --- |\n");
    let [old, new] = all();
    for row in new {
        let twin = old.iter().find(|twin| twin.name == row.name);
        let word = |row: Option<&Row>| row.map_or("—".to_owned(), verdict);
        let paths: Vec<bool> = [twin, Some(row)].into_iter().flatten().map(openssl).collect();
        for (row, path) in [twin, Some(row)].into_iter().flatten().zip(&paths) {
            // openssl knows nothing of what the extensions mean, but a path that it refuses is none; only
            // of two authorities by one name it tries the first alone.
            let namesakes = row.name == "a stranger's certificates among the others";
            let holds = verdict(row).starts_with("holds");
            assert!(namesakes || *path || !holds, "{}: openssl refuses it", row.name);
        }
        let path = match paths[..] {
            [true] | [true, true] => "path",
            [false] | [false, false] => "no path",
            _ => "path for the older alone",
        };
        writeln!(text, "| {} | {} | {} | {path} |", row.name, word(twin), word(Some(row))).unwrap();
    }
    assert!(old.iter().all(|row| new.iter().any(|twin| twin.name == row.name)));
    text
}

#[test]
fn every_chain_has_the_verdict_that_the_documentation_says() {
    let found = fs::read_to_string(docs()).unwrap();
    let (before, rest) = found.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let table = format!("\n{}\n", table());
    if std::env::var_os("WRITE_ATTESTATION_TABLE").is_some() {
        fs::write(docs(), format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert!(written == table, "docs/attestation.md says\n{written}\nbut it is\n{table}");
    }
}

#[test]
fn every_code_is_explained() {
    let text = fs::read_to_string(docs()).unwrap();
    for source in ["card/attestation/reason.rs", "card/attestation/evidence.rs"] {
        for code in codes(source) {
            assert!(text.contains(&format!("`{code}`")), "docs/attestation.md does not explain {code}");
        }
    }
    for floor in FLOORS {
        let firmware = format!("| {} |", floor.firmware);
        assert!(text.contains(&firmware), "{}: {firmware}", floor.algorithm);
    }
}

/// What the table must say whatever is written into it.
#[test]
fn nothing_wrong_holds() {
    for shape in SHAPES {
        for row in &all()[usize::from(shape == SHAPES[1])] {
            let found = verdict(row);
            let expected = expected(&row.name, shape);
            assert!(found == expected, "{shape:?}, {}: {found}, not {expected}", row.name);
        }
    }
}

/// Written by hand, from the rules.
fn expected(name: &str, shape: ChainShape) -> &'static str {
    let old = shape == ChainShape::TwoBelowRoot;
    let extension = |ending: &str| {
        let names = ["cardholder name", "source", "firmware", "fingerprint", "generation time"];
        let rest = ["signature counter", "serial number", "touch policy", "form factor"];
        names.iter().chain(&rest).any(|name_| name == format!("{name_}{ending}"))
    };
    match name {
        "as it should be" | "an RSA 2048 key" | "the others in another order" => "holds",
        "a stranger's certificates among the others" => "holds",
        "a NIST P-256 key" | "a NIST P-521 key" | "a brainpoolP384r1 key" | "a secp256k1 key" => {
            if old {
                "holds, but firmware-floor"
            } else {
                "holds"
            }
        }
        "Ed25519 of firmware 5.2.1" => "holds, but firmware-floor",
        "of the decryption key" | "of the authentication key" => "holds, but other-slot",
        "of the attestation key itself" | "the token's certificate in place of the attestation" => {
            if name.starts_with("of") { "foreign-subject" } else { "invalid-path" }
        }
        "a decryption key with a counter" => "extension-unexpected",
        "touch off" | "touch on" | "touch cached" | "touch cached-fixed" | "touch policy = 04 01 05" => {
            "holds, but touch-not-fixed"
        }
        "an imported key" => "holds, but not-generated",
        "form factor = 04 01 09" | "cardholder name = 0c 02 ff fe" => "holds",
        "serial number = 02 05 00 ff ff ff ff" => "holds",
        "the attestation has ended" | "the token's certificate has ended" => "certificate-expired",
        "signed by an attested key, used as an authority"
        | "the token's certificate is no authority's"
        | "no authority and no touch policy" => "not-an-authority",
        "the owner's own attestation key and certificate"
        | "the root is not configured"
        | "another root is configured"
        | "the token's certificate is not there"
        | "the intermediates are not there" => "unknown-issuer",
        "signed by a stranger's key" | "a root of the same name with another key" => "bad-signature",
        "the attestation cut short" | "a byte after the attestation" | "nothing" => "malformed-certificate",
        "5000 bytes" => "certificate-too-large",
        "65 other certificates" => "too-many-certificates",
        _ if extension(" missing") => "extension-missing",
        _ if extension(" twice, alike") || extension(" twice, differing") => "extension-duplicate",
        _ if extension(" of another type") || name.contains(" = ") => "extension-malformed",
        _ => panic!("no verdict for {name:?}"),
    }
}
