//! Attestations of real tokens, published by their owners. They are not ours to copy: set `REAL_ATTESTATIONS`
//! to a folder with `fw-pre-5.7.4/{leaf-sig,device-att}.pem`, `fw-5.7.4/leaf-*.pem` and Yubico's published
//! `yubico-pki/*.pem`.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use openpgp::crypto::mpi::PublicKey as Mpis;
use openpgp::packet::Key;
use openpgp::packet::key::{Key4, PrimaryRole, PublicParts};
use openpgp::serialize::SerializeInto as _;
use openpgp::types::PublicKeyAlgorithm;
use openpgp::{Cert, Packet};
use sequoia_openpgp as openpgp;
use touchgate::card::attestation::{
    ConfiguredRoot, Firmware, FormFactor, PublicKey, Root, Source, Statement, YubicoRoot, read_certificates,
    verify,
};
use touchgate::card::{KeySlot, TouchPolicy};
use touchgate::trust::{Files, Trust};
use touchgate::verify::{NotAttested, Tier, tier};

use crate::now;

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("REAL_ATTESTATIONS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: REAL_ATTESTATIONS names no folder with genuine attestations");
    }
    folder
}

#[test]
fn the_chain_of_firmware_5_2_7_holds() {
    let Some(folder) = folder() else { return };
    let read = |name: &str| read_certificates(&fs::read(folder.join(name)).unwrap()).unwrap();
    let leaf = read("fw-pre-5.7.4/leaf-sig.pem").remove(0);
    let device = read("fw-pre-5.7.4/device-att.pem");
    let attestation = verify(&leaf, &device, &[], now()).unwrap();
    assert_eq!(attestation.root(), &Root::Yubico(YubicoRoot::OpenPgpCa));
    assert_eq!(attestation.chain(), [leaf.clone(), device[0].clone()]);
    assert_eq!(attestation.shortfalls(), [], "Ed25519, generated, touch fixed");
    let said = attestation.statement();
    assert_eq!(said, &Statement::read(&leaf).unwrap());
    assert_eq!(
        (said.slot, said.source, said.touch),
        (KeySlot::Signature, Source::Generated, TouchPolicy::Fixed)
    );
    assert_eq!((said.firmware, said.form_factor), (Firmware::new(5, 2, 7), FormFactor::CKeychain));
    assert_eq!((said.signatures, &said.fips, &said.cspn), (Some(1), &None, &None));
    // Configuring Yubico's own root makes nothing weaker.
    let root = read("yubico-pki/yubico-opgp-ca-1.pem").remove(0);
    let configured = ConfiguredRoot::new("own", &root).unwrap();
    assert_eq!(verify(&leaf, &device, &[configured], now()).unwrap(), attestation);
    // Without the token's certificate, or with all that is published instead, there is no path.
    let published = read("yubico-pki/yubico-intermediate.pem");
    assert_eq!(published.len(), 15);
    for others in [Vec::new(), published] {
        assert_eq!(verify(&leaf, &others, &[], now()).unwrap_err().code(), "unknown-issuer");
    }
    for at in (0..leaf.len()).chain([0]) {
        let mut bad = leaf.clone();
        bad[at] ^= 1;
        assert!(verify(&bad, &device, &[], now()).is_err(), "byte {at}");
    }
    let late = verify(&leaf, &device, &[], "2046-12-18T00:00:00Z".parse().unwrap());
    assert_eq!(late.unwrap_err().code(), "certificate-expired");
}

/// The one place where a genuine attestation meets trust: the key that it attests, made into a certificate.
#[test]
fn a_genuine_token_in_trust_is_attested() {
    let Some(folder) = folder() else { return };
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let pem = [read("fw-pre-5.7.4/leaf-sig.pem"), read("fw-pre-5.7.4/device-att.pem")].concat();
    let said = Statement::read(&read_certificates(pem.as_bytes()).unwrap()[0]).unwrap();
    let PublicKey::Ed25519(point) = said.key else { panic!("{}", said.key) };
    let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let key: Key<PublicParts, PrimaryRole> =
        Key4::new(made, PublicKeyAlgorithm::Ed25519, Mpis::Ed25519 { a: point }).unwrap().into();
    let cert = Cert::from_packets([Packet::from(key)].into_iter()).unwrap();
    let found = |serial: &str, pem: &str| {
        let person = format!(
            "identities = []\n[[token]]\nserial = \"{serial}\"\nkey = \"{}\"\n",
            cert.fingerprint().to_hex()
        );
        let policy = "audience = \"a\"\nversion = 1\nvalid_until = \"2027-03-01T00:00:00Z\"\n\
                      [[rule]]\naction = \"touchgate.trust.update\"\nneed = [{ from = \"@requester\" }]\n";
        let files = Files::from([
            ("policy.toml".to_owned(), policy.as_bytes().to_vec()),
            ("people/owner.toml".to_owned(), person.into_bytes()),
            (format!("tokens/{serial}.asc"), cert.to_vec().unwrap()),
            (format!("tokens/{serial}.attestation.pem"), pem.as_bytes().to_vec()),
        ]);
        tier(&Trust::from_files(&files).unwrap().roster.people()[0].tokens[0])
    };
    assert_eq!(found(&said.serial.to_string(), &pem), (Tier::Attested, None));
    let (less, why) = found("12345678", &pem);
    assert_eq!(less, Tier::Signed);
    assert!(
        matches!(&why, Some(NotAttested::FallsShort(short)) if short[0].code() == "other-serial"),
        "{why:?}"
    );
    let (less, why) = found(&said.serial.to_string(), &read("fw-pre-5.7.4/leaf-sig.pem"));
    assert_eq!(less, Tier::Signed);
    assert!(
        matches!(&why, Some(NotAttested::NotBelieved(error)) if error.code() == "unknown-issuer"),
        "{why:?}"
    );
}

/// The certificate of their token was never published, so they lead nowhere.
#[test]
fn the_attestations_of_firmware_5_7_4_are_read() {
    let Some(folder) = folder() else { return };
    let published = fs::read(folder.join("yubico-pki/yubico-intermediate.pem")).unwrap();
    let published = read_certificates(&published).unwrap();
    for (name, slot, touch, signatures) in [
        ("leaf-sig-touch-off.pem", KeySlot::Signature, TouchPolicy::Off, true),
        ("leaf-sig-touch-fixed.pem", KeySlot::Signature, TouchPolicy::Fixed, true),
        ("leaf-dec.pem", KeySlot::Decryption, TouchPolicy::Off, false),
        ("leaf-aut.pem", KeySlot::Authentication, TouchPolicy::Off, false),
    ] {
        let leaf = fs::read(folder.join("fw-5.7.4").join(name)).unwrap();
        let leaf = read_certificates(&leaf).unwrap().remove(0);
        let said = Statement::read(&leaf).unwrap();
        assert_eq!((said.slot, said.touch), (slot, touch), "{name}");
        assert_eq!((said.source, said.firmware), (Source::Generated, Firmware::new(5, 7, 4)), "{name}");
        assert_eq!(said.signatures.is_some(), signatures, "{name}");
        assert_eq!(verify(&leaf, &published, &[], now()).unwrap_err().code(), "unknown-issuer", "{name}");
    }
}

/// A root of preview devices is published too and is not trusted.
#[test]
fn a_published_certificate_is_no_attestation() {
    let Some(folder) = folder() else { return };
    let mut judged = 0;
    for entry in fs::read_dir(folder.join("yubico-pki")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(certificates) = read_certificates(&fs::read(&path).unwrap()) else { continue };
        for certificate in &certificates {
            assert!(verify(certificate, &certificates, &[], now()).is_err(), "{}", path.display());
            judged += 1;
        }
    }
    assert!(judged >= 19, "{judged}");
}
