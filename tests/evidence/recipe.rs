//! The shell recipe of docs/evidence.md, run exactly as it stands there.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use touchgate::card::attestation::write_pem;
use touchgate::evidence::Evidence;
use virtual_openpgp_card::attestation::{Authority, ChainShape, Statement};
use virtual_openpgp_card::{Algorithm, Firmware, PublicKey, Slot};

use crate::cli::Home;
use crate::document::{block, document, example};
use crate::people;
use crate::scene::{Version, approved, team};

/// A directory with unpacked evidence in it, and the recipe beside it.
struct Bench {
    home: Home,
    pin: String,
    root: Option<String>,
}

impl Bench {
    fn new(version: &Version, evidence: &Evidence) -> Self {
        let home = Home::new();
        home.write("e.json", evidence.to_json().as_bytes());
        home.write("recipe.sh", block(&document(), "sh").as_bytes());
        let output = home.verify(&["e.json", "--unpinned", "--unpack", "out"]);
        assert!(output.status.success(), "{output:?}");
        Self { home, pin: version.trust.version.to_string(), root: None }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join("out").join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn change(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path}: {text}");
        fs::write(self.path(path), text.replacen(from, to, 1)).unwrap();
    }

    fn run(&self) -> Output {
        let mut command = Command::new("sh");
        command.current_dir(self.home.path()).args(["recipe.sh", "out", &self.pin]);
        command.args(self.root.iter()).env("HOME", self.home.path()).output().unwrap()
    }

    fn shown(&self) -> String {
        let output = self.run();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("SHOWN: approved"), "{text}{output:?}");
        text
    }

    /// Which step stops it.
    fn stopped(&self, step: usize, name: &str) {
        let output = self.run();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success() && !text.contains("SHOWN: "), "{name}: {text}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("NOT SHOWN: "), "{name}: {output:?}");
        let last = text.lines().rfind(|line| !line.starts_with(' ')).unwrap_or_default();
        assert!(last.starts_with(&format!("{step}. ")), "{name}: {text}{output:?}");
    }
}

fn packages() {
    for tool in ["gpg", "openssl", "sha256sum", "basenc"] {
        let found = Command::new(tool).arg("--version").output();
        assert!(found.is_ok(), "{tool} is not there: `make packages` installs it");
    }
}

#[test]
fn it_shows_what_is_good() {
    packages();
    let bench = Bench::new(team(), &approved());
    let text = bench.shown();
    for name in ["approve: bob", "approve: carol", "approve: dave", "resource: payments/prod"] {
        assert!(text.contains(name), "{text}");
    }
    let (version, evidence) = example(&[]);
    Bench::new(&version, &evidence).shown();
}

type Row = (&'static str, usize, fn(&Bench));

const TAMPERED: &[Row] = &[
    ("policy", 1, |bench| bench.change("trust/policy.toml", "[[rule]]", "[[rule]] ")),
    ("record", 1, |bench| bench.change("trust/people/bob.toml", "release", "admins")),
    ("certificate", 1, |bench| {
        fs::copy(bench.path("trust/tokens/1003.asc"), bench.path("trust/tokens/1002.asc")).unwrap();
    }),
    ("proof", 1, |bench| {
        let proof = bench.read("trust.proofs/policy.toml");
        let last = proof.lines().last().unwrap();
        bench.change("trust.proofs/policy.toml", last, &"0".repeat(64));
    }),
    ("proof cut short", 1, |bench| {
        let proof = bench.read("trust.proofs/policy.toml");
        let last = format!("{}\n", proof.lines().last().unwrap());
        bench.change("trust.proofs/policy.toml", &last, "");
    }),
    ("index", 1, |bench| {
        let proof = bench.read("trust.proofs/policy.toml");
        fs::write(
            bench.path("trust.proofs/policy.toml"),
            proof.replacen(|c: char| c.is_ascii_digit(), "9", 1),
        )
        .unwrap();
    }),
    ("version", 1, |bench| bench.change("trust.version", "7 ", "8 ")),
    ("challenge", 2, |bench| bench.change("challenge", "payments/prod", "payments/test")),
    ("statement", 2, |bench| bench.change("answers/1", "payments/prod", "payments/test")),
    ("everything that is said", 3, |bench| {
        for path in ["challenge", "answers/1", "answers/2", "answers/3"] {
            bench.change(path, "payments/prod", "payments/test");
        }
    }),
    ("decision", 3, |bench| bench.change("answers/2", "approve\n", "refuse\n")),
    ("another's signature", 3, |bench| {
        bench.change("answers/1", "approve\n", "refuse\n");
        fs::copy(bench.path("answers/2.asc"), bench.path("answers/1.asc")).unwrap();
    }),
    ("an approval less", 6, |bench| {
        for path in ["answers/3", "answers/3.asc"] {
            fs::remove_file(bench.path(path)).unwrap();
        }
    }),
    ("one approval twice", 6, |bench| {
        fs::copy(bench.path("answers/2.asc"), bench.path("answers/1.asc")).unwrap();
    }),
    ("entry", 5, |bench| bench.change("log/entry", "approved", "refused")),
    ("place in the log", 5, |bench| bench.change("log/index", "5", "4")),
    ("place beyond the log", 5, |bench| bench.change("log/index", "5", "55")),
    ("proof of the log", 5, |bench| {
        let proof = bench.read("log/proof");
        bench.change("log/proof", proof.lines().next().unwrap(), &"0".repeat(64));
    }),
    ("checkpoint", 5, |bench| bench.change("log/checkpoint", "\n7\n", "\n8\n")),
    ("origin", 5, |bench| bench.change("log/checkpoint", "approve.example.com", "other.example.com")),
    ("the checkpoint's signature", 5, |bench| {
        let note = bench.read("log/checkpoint.note");
        let line = note.lines().find(|line| line.starts_with("— approve")).unwrap();
        let mut changed = line.to_owned().into_bytes();
        let at = changed.len() - 10;
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        bench.change("log/checkpoint.note", line, &String::from_utf8(changed).unwrap());
    }),
    ("time", 6, |bench| bench.change("decision", "04:08:00", "04:08:01")),
    ("outcome", 6, |bench| bench.change("decision", "approved", "refused")),
    ("grant", 6, |bench| bench.change("grant.json", "\"uses\":1", "\"uses\":2")),
];

#[test]
fn it_stops_what_was_tampered_with() {
    packages();
    let (version, evidence) = (team(), approved());
    for (name, step, change) in TAMPERED {
        let bench = Bench::new(version, &evidence);
        change(&bench);
        bench.stopped(*step, name);
    }
    let mut bench = Bench::new(version, &evidence);
    bench.pin = bench.pin.replacen('7', "8", 1);
    bench.stopped(1, "pin");
}

/// The key of bob's token, as a card would give it out.
fn bobs() -> PublicKey {
    match people::signer("bob").public().mpis() {
        sequoia_openpgp::crypto::mpi::PublicKey::EdDSA { q, .. } => {
            PublicKey::Curve { algorithm: Algorithm::Ed25519, point: q.value()[1..].to_vec() }
        }
        other => panic!("{other:?}"),
    }
}

/// The file of an attestation of this key, and the root that it leads to.
fn attestation(key: &PublicKey) -> (Vec<u8>, String) {
    let authority = Authority::new(ChainShape::of(Firmware::V5_7_4));
    let statement = Statement { serial: 1002, ..Statement::about(Slot::Signature) };
    let chain = authority.attest(key, &statement);
    let all = [&chain.leaf, &chain.device].into_iter().chain(&chain.intermediates);
    let pem: String = all.map(|certificate| write_pem(certificate.der())).collect();
    (pem.into_bytes(), write_pem(authority.root().der()))
}

#[test]
fn it_follows_attestations_to_a_root() {
    packages();
    let path = "tokens/1002.attestation.pem".to_owned();
    let (pem, root) = attestation(&bobs());
    let (version, evidence) = example(&[(path.clone(), pem)]);
    let mut bench = Bench::new(&version, &evidence);
    assert!(bench.shown().contains("not checked"));
    bench.home.write("root.pem", root.as_bytes());
    bench.root = Some("root.pem".into());
    assert!(!bench.shown().contains("not checked"));
    // Another root, and an attestation of another key, both in a version that was pinned so.
    let other = Authority::new(ChainShape::TwoBelowRoot).root();
    bench.home.write("root.pem", write_pem(other.der()).as_bytes());
    bench.stopped(4, "another root");
    let stranger = PublicKey::Curve { algorithm: Algorithm::Ed25519, point: vec![9; 32] };
    let (version, evidence) = example(&[(path, attestation(&stranger).0)]);
    let mut bench = Bench::new(&version, &evidence);
    bench.home.write("root.pem", root.as_bytes());
    bench.root = Some("root.pem".into());
    bench.stopped(4, "another key");
}
