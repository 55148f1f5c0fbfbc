//! What the roster takes: each key once, by whatever name, and only keys that verify alike everywhere.

use std::fs;

use sequoia_openpgp as openpgp;

use openpgp::crypto::mpi::{MPI, PublicKey};
use openpgp::packet::Key;
use openpgp::packet::key::{Key4, PrimaryRole, PublicParts};
use openpgp::serialize::MarshalInto as _;
use openpgp::types::{Curve, PublicKeyAlgorithm};
use openpgp::{Cert, Packet};
use touchgate::trust::roster::{RosterError, read_certificate};
use touchgate::trust::{Files, Trust, TrustError};
use touchgate::verify::{KeyError, SigningKey};

use crate::case::fixtures;
use crate::people;

/// The team's files, to be changed.
pub(crate) fn team() -> Files {
    let mut files = Files::new();
    for folder in ["", "people/", "tokens/"] {
        for entry in fs::read_dir(fixtures("trust/team").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                files.insert(format!("{folder}{name}"), fs::read(path).unwrap());
            }
        }
    }
    files
}

/// A certificate that is nothing but this public key, made on 2026-01-01.
fn bare(algorithm: PublicKeyAlgorithm, mpis: PublicKey) -> Cert {
    let made = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_767_225_600);
    let key: Key<PublicParts, PrimaryRole> = Key4::new(made, algorithm, mpis).unwrap().into();
    Cert::from_packets([Packet::from(key)].into_iter()).unwrap()
}

/// The team with one more person, zed, who holds this key.
fn with_zed(cert: &Cert, serial: &str) -> Result<Trust, TrustError> {
    let mut files = team();
    let (key, file) = (cert.fingerprint().to_hex(), serial.replace(':', "-").to_ascii_lowercase());
    let person = format!("identities = []\n[[token]]\nserial = \"{serial}\"\nkey = \"{key}\"\n");
    files.insert("people/zed.toml".into(), person.into_bytes());
    files.insert(format!("tokens/{file}.asc"), cert.to_vec().unwrap());
    Trust::from_files(&files)
}

fn public(name: &str) -> PublicKey {
    people::primary(name).public().mpis().clone()
}

#[test]
fn a_new_key_is_taken() {
    let mallory = bare(PublicKeyAlgorithm::EdDSA, public("mallory"));
    let trust = with_zed(&mallory, "2000").unwrap();
    assert_eq!(trust.roster.holder(&mallory.fingerprint()).unwrap().0.name, "zed");
}

/// One key is one key, whatever algorithm, creation time or exponent it is written with.
#[test]
fn the_same_key_in_another_dress_is_a_duplicate() {
    let PublicKey::Ed25519 { a } = public("tina") else { panic!("tina's key") };
    let as_22 = PublicKey::EdDSA { curve: Curve::Ed25519, q: MPI::new(&[&[0x40], &a[..]].concat()) };
    let PublicKey::EdDSA { q, .. } = public("bob") else { panic!("bob's key") };
    let as_27 = PublicKey::Ed25519 { a: q.value()[1..].try_into().unwrap() };
    let PublicKey::RSA { n, .. } = public("frank") else { panic!("frank's key") };
    let exponent = PublicKey::RSA { e: MPI::new(&[3]), n };
    for (dress, cert) in [
        ("27 as 22", bare(PublicKeyAlgorithm::EdDSA, as_22)),
        ("22 as 27", bare(PublicKeyAlgorithm::Ed25519, as_27)),
        ("another exponent", bare(PublicKeyAlgorithm::RSAEncryptSign, exponent)),
        ("another creation time", bare(PublicKeyAlgorithm::EdDSA, public("rita"))),
    ] {
        let error = with_zed(&cert, "2000").map(|_| ()).unwrap_err();
        assert!(
            matches!(
                error.cause(),
                TrustError::Roster(RosterError::Duplicate { what: "key material of", .. })
            ),
            "{dress}: {error}"
        );
    }
}

#[test]
fn only_points_in_their_one_plain_form_are_taken() {
    let new = |cert: Cert| SigningKey::new(cert.clone(), &cert.fingerprint()).map(|_| ());
    let p256 = |q: &[u8]| {
        bare(PublicKeyAlgorithm::ECDSA, PublicKey::ECDSA { curve: Curve::NistP256, q: MPI::new(q) })
    };
    let PublicKey::ECDSA { q, .. } = public("carol") else { panic!("carol's key") };
    assert_eq!(new(p256(q.value())), Ok(()));
    let (x, y) = (&q.value()[1..33], &q.value()[33..]);
    let odd = y[31] & 1;
    let off_curve = [&q.value()[..64], &[y[31] ^ 1]].concat();
    for (form, point) in [
        ("compressed", [&[2 + odd], x].concat()),
        ("hybrid", [&[6 + odd], x, y].concat()),
        ("off the curve", off_curve),
        ("at infinity", vec![0]),
        ("cut short", q.value()[..64].to_vec()),
    ] {
        let cert = p256(&point);
        assert_eq!(new(cert.clone()), Err(KeyError::Unsupported(cert.fingerprint())), "{form}");
    }
}

/// Of an Ed25519 key of small order some signature holds over every message.
#[test]
fn no_key_of_small_order_is_taken() {
    for point in crate::differential::small_order_points() {
        let q = MPI::new(&[&[0x40], &point[..]].concat());
        for cert in [
            bare(PublicKeyAlgorithm::EdDSA, PublicKey::EdDSA { curve: Curve::Ed25519, q }),
            bare(PublicKeyAlgorithm::Ed25519, PublicKey::Ed25519 { a: point }),
        ] {
            let error = SigningKey::new(cert.clone(), &cert.fingerprint()).map(|_| ());
            assert_eq!(error, Err(KeyError::Unsupported(cert.fingerprint())), "{point:02x?}");
        }
    }
}

#[test]
fn a_file_that_does_not_belong_is_an_error_wherever_the_files_come_from() {
    let strays = [
        "notes.txt",
        "policy.toml.orig",
        "people/people/bob.toml",
        "people/.toml",
        "people/Zed.toml",
        "people/a/b.toml",
        "people/zed",
        "tokens/sub/1.asc",
        "versions/7.json",
        "../policy.toml",
        "/policy.toml",
        "",
    ];
    for path in strays {
        let mut files = team();
        files.insert(path.into(), b"identities = []\n".to_vec());
        let error = Trust::from_files(&files).map(|_| ()).unwrap_err();
        assert!(matches!(&error, TrustError::Stray { path: found, .. } if found == path), "{path}: {error}");
    }
}

#[test]
fn a_serial_has_one_spelling() {
    let mallory = bare(PublicKeyAlgorithm::EdDSA, public("mallory"));
    // A YubiKey's AID says maker 0006 and the digits; its serial is the number printed on it.
    for serial in ["0006:12345678", "0002000", "000F:0badcafe", "000f:badcafe", "12345678901"] {
        let error = with_zed(&mallory, serial).map(|_| ()).unwrap_err();
        assert!(
            matches!(error.cause(), TrustError::Roster(RosterError::BadValue { key: "serial", .. })),
            "{serial}: {error}"
        );
    }
    let mut files = team();
    let bobs = String::from_utf8(files["people/bob.toml"].clone()).unwrap();
    files.insert("people/zed.toml".into(), bobs.replace(":bob", ":zed").into_bytes());
    let error = Trust::from_files(&files).map(|_| ()).unwrap_err();
    assert!(
        matches!(error.cause(), TrustError::Roster(RosterError::Duplicate { what: "serial", .. })),
        "{error}"
    );
}

#[test]
fn the_test_keys_hold_what_their_names_say() {
    for name in ["alice", "bob", "heidi", "uma"] {
        let path = fixtures("signature/keys").join(format!("{name}.asc"));
        let cert = read_certificate(&fs::read(path).unwrap()).unwrap();
        assert!(!cert.is_tsk(), "the secret half is dropped on reading");
        let key = people::signer(name).public().fingerprint();
        let trust = Trust::from_files(&team()).unwrap();
        assert_eq!(trust.roster.holder(&key).unwrap().0.name, name);
    }
}
