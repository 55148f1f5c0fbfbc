//! Chains that the test authority does not make, made by openssl.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::card::attestation::read_certificates;

/// What an attestation of an Ed25519 key says, apart from what a case adds.
const SAID: &str = "\
1.3.6.1.4.1.41482.5.3=DER:04:03:05:07:04
1.3.6.1.4.1.41482.5.7=DER:02:01:07
1.3.6.1.4.1.41482.5.8=DER:04:01:02
1.3.6.1.4.1.41482.5.9=DER:04:01:01
1.3.6.1.4.1.41482.5.1=DER:0C:00
1.3.6.1.4.1.41482.5.4=DER:04:14:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00
1.3.6.1.4.1.41482.5.5=DER:04:04:00:00:00:00
1.3.6.1.4.1.41482.5.6=DER:02:01:01
1.3.6.1.4.1.41482.5.2=DER:02:01:01
";
const SIG: &str = "/CN=YubiKey OPGP Attestation SIG";
const DEVICE: &str = "/CN=YubiKey OPGP Attestation";
const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE";

/// What was just issued is certainly valid then.
fn tomorrow() -> UnixTime {
    UnixTime::now().plus(Duration::from_secs(24 * 3600))
}

/// A folder in which openssl issues certificates, each with a key of its own.
struct Office(tempfile::TempDir);

impl Office {
    fn new() -> Self {
        let office = Self(tempfile::tempdir().unwrap());
        office.key("root", "EC -pkeyopt ec_paramgen_curve:P-256");
        let root = "req -x509 -new -key root.key -out root.pem -days 20000";
        office.openssl(root, &["-subj", "/CN=Root of these tests"]);
        office
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn openssl(&self, words: &str, more: &[&str]) {
        let output = Command::new("openssl")
            .current_dir(self.path())
            .args(words.split(' '))
            .args(more)
            .output()
            .expect("openssl is not there: apt-get install openssl");
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn key(&self, name: &str, algorithm: &str) {
        self.openssl(&format!("genpkey -algorithm {algorithm} -out {name}.key"), &[]);
    }

    /// Issues `name`, signed by `issuer`, with these extensions.
    fn issue(&self, name: &str, subject: &str, algorithm: &str, issuer: &str, extensions: &str, hash: &str) {
        self.key(name, algorithm);
        self.openssl(&format!("req -new -key {name}.key -out {name}.csr"), &["-subj", subject]);
        fs::write(self.path().join("extensions"), extensions).unwrap();
        let issue = format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -set_serial 7 -days 10000 -out {name}.pem \
             -extfile extensions{hash}"
        );
        self.openssl(&issue, &[]);
    }

    fn read(&self, name: &str) -> Vec<u8> {
        read_certificates(&fs::read(self.path().join(format!("{name}.pem"))).unwrap()).unwrap().remove(0)
    }

    /// Judges `leaf` with these others beside it, under the root as if it were Yubico's or as a configured one.
    fn judge(&self, others: &[&str], yubico: bool, time: UnixTime) -> String {
        let certificate = CertificateDer::from(self.read("root"));
        let anchor = webpki::anchor_from_trusted_cert(&certificate).unwrap().to_owned();
        let root = match yubico {
            true => Root::Yubico(YubicoRoot::OpenPgpCa),
            false => Root::Configured { name: "test".into() },
        };
        let anchor = Anchor { root, anchor, path_length: yubico.then_some(1) };
        let others: Vec<Vec<u8>> = others.iter().map(|name| self.read(name)).collect();
        match verify_under(&self.read("leaf"), &others, &[anchor], time) {
            Ok(_) => "holds".into(),
            Err(error) => error.code().into(),
        }
    }
}

/// One chain: the token's certificate and the attestation under it, and what becomes of it.
struct Case {
    name: &'static str,
    device: [&'static str; 3],
    leaf: [&'static str; 3],
    hash: &'static str,
    yubico: &'static str,
    configured: &'static str,
}

const P256: &str = "EC -pkeyopt ec_paramgen_curve:P-256";
const GOOD: Case = Case {
    name: "as it should be",
    device: [DEVICE, P256, AUTHORITY],
    leaf: [SIG, "ED25519", ""],
    hash: "",
    yubico: "holds",
    configured: "holds",
};

#[test]
fn rules_of_the_path_have_their_reasons() {
    let both = |verdict| Case { yubico: verdict, configured: verdict, ..GOOD };
    let cases = [
        GOOD,
        Case {
            name: "another product's attestation key",
            device: ["/CN=YubiKey PIV Attestation", P256, AUTHORITY],
            yubico: "foreign-issuer",
            ..GOOD
        },
        Case {
            name: "the attestation is an authority",
            leaf: [SIG, "ED25519", AUTHORITY],
            ..both("invalid-path")
        },
        Case {
            name: "for servers alone",
            leaf: [SIG, "ED25519", "extendedKeyUsage=serverAuth"],
            ..both("invalid-path")
        },
        Case { name: "for clients", leaf: [SIG, "ED25519", "extendedKeyUsage=clientAuth"], ..GOOD },
        Case {
            name: "a critical extension that nobody knows",
            leaf: [SIG, "ED25519", "1.3.6.1.4.1.41482.5.12=critical,DER:05:00"],
            ..both("invalid-path")
        },
        Case {
            name: "an extension of Yubico's that is new",
            leaf: [SIG, "ED25519", "1.3.6.1.4.1.41482.5.12=DER:05:00"],
            ..GOOD
        },
        Case { name: "signed with SHA-1", hash: " -sha1", ..both("unsupported-signature-algorithm") },
        Case {
            name: "signed with Ed25519",
            device: [DEVICE, "ED25519", AUTHORITY],
            ..both("unsupported-signature-algorithm")
        },
        Case { name: "an Ed448 key", leaf: [SIG, "ED448", ""], ..both("unsupported-key") },
        Case {
            name: "a P-224 key",
            leaf: [SIG, "EC -pkeyopt ec_paramgen_curve:P-224", ""],
            ..both("unsupported-key")
        },
        Case {
            name: "a subject with more in it",
            leaf: ["/O=x/CN=YubiKey OPGP Attestation SIG", "ED25519", ""],
            ..both("foreign-subject")
        },
        Case {
            name: "a subject with more after it",
            leaf: ["/CN=YubiKey OPGP Attestation SIG 2", "ED25519", ""],
            ..both("foreign-subject")
        },
    ];
    let office = Office::new();
    let now = tomorrow();
    for case in cases {
        let [subject, algorithm, extensions] = case.device;
        office.issue("device", subject, algorithm, "root", extensions, "");
        let [subject, algorithm, extensions] = case.leaf;
        office.issue("leaf", subject, algorithm, "device", &format!("{SAID}{extensions}\n"), case.hash);
        assert_eq!(office.judge(&["device"], true, now), case.yubico, "{}, Yubico's", case.name);
        assert_eq!(office.judge(&["device"], false, now), case.configured, "{}, configured", case.name);
    }
    let past = "2000-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(office.judge(&["device"], false, past), "certificate-not-yet-valid");
}

/// The root's own limit, which a trust anchor does not carry, and that of an authority in the path.
#[test]
fn no_path_is_longer_than_its_authorities_allow() {
    let office = Office::new();
    let now = tomorrow();
    for (limit, configured) in [("", "holds"), (",pathlen:1", "holds"), (",pathlen:0", "path-too-long")] {
        office.issue("between", "/CN=Between", P256, "root", &format!("{AUTHORITY}{limit}"), "");
        office.issue("device", DEVICE, P256, "between", AUTHORITY, "");
        office.issue("leaf", SIG, "ED25519", "device", SAID, "");
        assert_eq!(office.judge(&["device", "between"], true, now), "path-too-long", "one below this root");
        assert_eq!(office.judge(&["device", "between"], false, now), configured, "{limit}");
    }
}
