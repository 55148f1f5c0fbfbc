#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use openpgp::Cert;
use openpgp::cert::{CertBuilder, CipherSuite};
use openpgp::crypto::mpi;
use openpgp::packet::Key;
use openpgp::packet::key::{PublicParts, UnspecifiedRole};
use openpgp::serialize::SerializeInto as _;
use sequoia_openpgp as openpgp;
use virtual_openpgp_card::attestation::{Authority, Chain, ChainShape, Flaw, Source, Statement as Said};
use virtual_openpgp_card::{Algorithm, Firmware, PublicKey, Slot, TouchPolicy};

use super::*;
use crate::card::attestation::{Anchor, ConfiguredRoot, Root, YubicoRoot, write_pem};
use crate::challenge::{Challenge, Terms};
use crate::request::Request;
use crate::response::Response;
use crate::sign;
use crate::statement::Decision;
use crate::trust::roster::RosterError;
use crate::trust::{Files, Trust, TrustError};
use crate::unix_time::UnixTime;
use crate::verify::{OpenRequests, Rejection, Verified, response};

const SERIAL: &str = "12345678";

fn at(text: &str) -> UnixTime {
    text.parse().unwrap()
}

fn now() -> UnixTime {
    at("2026-11-20T04:10:00Z")
}

/// A certificate whose subkey signs, as if it were on the token.
fn cert(suite: CipherSuite) -> Cert {
    let made: SystemTime = at("2026-10-01T00:00:00Z").into();
    let builder = CertBuilder::new().set_cipher_suite(suite).set_creation_time(made).add_userid("alice");
    builder.add_signing_subkey().generate().unwrap().0
}

fn alice() -> &'static Cert {
    static ALICE: LazyLock<Cert> = LazyLock::new(|| cert(CipherSuite::Cv25519));
    &ALICE
}

fn subkey(cert: &Cert) -> Key<PublicParts, UnspecifiedRole> {
    cert.keys().subkeys().next().unwrap().key().clone().role_into_unspecified()
}

/// The key as a card would give it out.
fn on_card(key: &Key<PublicParts, UnspecifiedRole>) -> PublicKey {
    let curve = |algorithm, point: &[u8]| PublicKey::Curve { algorithm, point: point.to_vec() };
    match key.mpis() {
        mpi::PublicKey::EdDSA { q, .. } => curve(Algorithm::Ed25519, &q.value()[1..]),
        mpi::PublicKey::Ed25519 { a } => curve(Algorithm::Ed25519, a),
        mpi::PublicKey::ECDSA { q, .. } => curve(Algorithm::NistP256, q.value()),
        other => panic!("{other:?}"),
    }
}

/// Takes the test authority for Yubico.
fn roots() -> Vec<Anchor> {
    let of = |(shape, root)| {
        let certificate = Authority::new(shape).root();
        let certificate = rustls_pki_types::CertificateDer::from(certificate.der());
        let anchor = webpki::anchor_from_trusted_cert(&certificate).unwrap().to_owned();
        Anchor { root: Root::Yubico(root), anchor, path_length: None }
    };
    let old = (ChainShape::TwoBelowRoot, YubicoRoot::OpenPgpCa);
    [old, (ChainShape::FourBelowRoot, YubicoRoot::Root1)].map(of).to_vec()
}

fn pem(chain: &Chain) -> Vec<u8> {
    let all = [&chain.leaf, &chain.device].into_iter().chain(&chain.intermediates);
    all.map(|certificate| write_pem(certificate.der())).collect::<String>().into_bytes()
}

/// Trust with alice alone, who may approve what she asks for where her tier is `needed`.
fn files(cert: &Cert, needed: Tier, declared: bool, attestation: Option<Vec<u8>>) -> Files {
    let policy = format!(
        "audience = \"a.example\"\nversion = 1\nvalid_until = \"2027-03-01T00:00:00Z\"\n\
         [[rule]]\naction = \"deploy\"\nresource = \"**\"\nneed = [{{ from = \"@requester\" }}]\ntier = \"{needed}\"\n\
         [[rule]]\naction = \"touchgate.trust.update\"\nneed = [{{ from = \"@requester\" }}]\n"
    );
    let touch = if declared { "touch = \"declared\"\n" } else { "" };
    let key = subkey(cert).fingerprint().to_hex();
    let person = format!(
        "identities = [\"os:alice@host\"]\n[[token]]\nserial = \"{SERIAL}\"\nkey = \"{key}\"\n{touch}"
    );
    let mut files = Files::from([
        ("policy.toml".to_owned(), policy.into_bytes()),
        ("people/alice.toml".to_owned(), person.into_bytes()),
        (format!("tokens/{SERIAL}.asc"), cert.to_vec().unwrap()),
    ]);
    files.extend(attestation.map(|bytes| (format!("tokens/{SERIAL}.attestation.pem"), bytes)));
    files
}

/// Tier and the codes of what stands between it and `attested`.
fn found(trust: &Trust) -> (Tier, Vec<&'static str>) {
    match tier(&trust.roster.people()[0].tokens[0]) {
        (tier, None) => (tier, Vec::new()),
        (tier, Some(NotAttested::NotRecorded)) => (tier, vec!["not-recorded"]),
        (tier, Some(NotAttested::NotBelieved(error))) => (tier, vec![error.code()]),
        (tier, Some(NotAttested::FallsShort(short))) => (tier, short.iter().map(Shortfall::code).collect()),
    }
}

/// Asks, signs with the subkey and judges, all under `trust`.
fn answer(trust: &Trust, cert: &Cert) -> Result<Verified, Rejection> {
    let issued = at("2026-11-20T04:07:00Z");
    let request = Request::plain("deploy", "payments/prod", "os:alice@host");
    let terms = Terms {
        audience: trust.audience.clone(),
        trust: trust.version,
        answer_within: Duration::from_secs(900),
    };
    let challenge = Challenge::issue(request, terms, issued, [7; 42]).unwrap();
    let mut ledger = OpenRequests::default();
    ledger.open(challenge.clone());
    let statement = challenge.decided(Decision::Approve).to_text().into_bytes();
    let key = cert.keys().subkeys().next().unwrap().key().clone().parts_into_secret().unwrap();
    let mut signer = key.into_keypair().unwrap();
    let signature = sign::detached(&mut signer, &statement, now().into()).unwrap();
    response(&Response { statement, signature }, trust, &mut ledger, now())
}

/// What the token says, what is wrong with the chain, and what stands between it and `attested`.
fn cases() -> Vec<(&'static str, Said, Vec<Flaw>, &'static [&'static str])> {
    let said = || Said::about(Slot::Signature);
    let touch = |touch| Said { touch, ..said() };
    vec![
        ("as it should be", said(), vec![], &[]),
        ("imported", Said { source: Source::Imported, ..said() }, vec![], &["not-generated"]),
        ("touch off", touch(TouchPolicy::Off), vec![], &["touch-not-fixed"]),
        ("touch on", touch(TouchPolicy::On), vec![], &["touch-not-fixed"]),
        ("touch cached", touch(TouchPolicy::Cached), vec![], &["touch-not-fixed"]),
        ("touch cached-fixed", touch(TouchPolicy::CachedFixed), vec![], &["touch-not-fixed"]),
        ("another token's", Said { serial: 12_345_679, ..said() }, vec![], &["other-serial"]),
        // 12345678 in hexadecimal digits, as an AID holds it, read as a number.
        ("the AID's digits", Said { serial: 0x1234_5678, ..said() }, vec![], &["other-serial"]),
        ("of another slot", Said::about(Slot::Authentication), vec![], &["other-slot"]),
        (
            "everything at once",
            Said { source: Source::Imported, serial: 1, ..touch(TouchPolicy::On) },
            vec![],
            &["not-generated", "touch-not-fixed", "other-serial"],
        ),
        ("an attested key as authority", said(), vec![Flaw::AttestedKeyAsCa], &["not-an-authority"]),
        ("the owner's own attestation key", said(), vec![Flaw::DeviceReplaced], &["unknown-issuer"]),
        ("a stranger's root", said(), vec![Flaw::RootOfStranger], &["bad-signature"]),
        ("a stranger's signature", said(), vec![Flaw::LeafSignedByStranger], &["bad-signature"]),
        ("ended", said(), vec![Flaw::LeafExpired], &["certificate-expired"]),
        ("no touch policy", said(), vec![Flaw::ExtensionMissing(8)], &["extension-missing"]),
        ("two touch policies", said(), vec![Flaw::ExtensionDoubled(8)], &["extension-duplicate"]),
    ]
}

#[test]
fn only_the_whole_proof_is_attested() {
    for shape in [ChainShape::TwoBelowRoot, ChainShape::FourBelowRoot] {
        for (name, said, flaws, expected) in cases() {
            let chain = Authority::new(shape).attest_wrongly(&on_card(&subkey(alice())), &said, &flaws);
            for declared in [true, false] {
                let files = files(alice(), Tier::Attested, declared, Some(pem(&chain)));
                let trust = Trust::under(&files, &roots()).unwrap();
                let less = if declared { Tier::Declared } else { Tier::Signed };
                let tier = if expected.is_empty() { Tier::Attested } else { less };
                assert_eq!(found(&trust), (tier, expected.to_vec()), "{shape:?}, {name}");
                match answer(&trust, alice()) {
                    Ok(Verified::Approved(yes)) => {
                        assert_eq!((yes.answer().tier(), tier), (tier, Tier::Attested))
                    }
                    Err(Rejection::Tier { found, needed: Tier::Attested, .. }) => {
                        assert_eq!((found, expected.is_empty()), (less, false), "{shape:?}, {name}");
                    }
                    other => panic!("{shape:?}, {name}: {other:?}"),
                }
            }
        }
    }
}

/// What is attested is the key that signs: not another of the same certificate, nor the same kind of key.
#[test]
fn another_key_of_the_certificate_is_another_key() {
    let primary = alice().primary_key().key().clone().role_into_unspecified();
    for other in [on_card(&primary), on_card(&subkey(&cert(CipherSuite::Cv25519)))] {
        let chain = Authority::new(ChainShape::FourBelowRoot).attest(&other, &Said::about(Slot::Signature));
        let files = files(alice(), Tier::Attested, true, Some(pem(&chain)));
        let trust = Trust::under(&files, &roots()).unwrap();
        assert_eq!(found(&trust), (Tier::Declared, vec!["other-key"]));
    }
}

#[test]
fn old_firmware_makes_good_keys_of_some_kinds() {
    let cases = [
        (CipherSuite::Cv25519, Firmware::V5_2_7, Tier::Attested),
        (CipherSuite::P256, Firmware::V5_4_3, Tier::Signed),
        (CipherSuite::P256, Firmware::new(5, 7, 0), Tier::Attested),
    ];
    for (suite, firmware, expected) in cases {
        let cert = cert(suite);
        let said = Said { firmware, ..Said::about(Slot::Signature) };
        let chain = Authority::new(ChainShape::TwoBelowRoot).attest(&on_card(&subkey(&cert)), &said);
        let files = files(&cert, Tier::Attested, false, Some(pem(&chain)));
        let trust = Trust::under(&files, &roots()).unwrap();
        let why = if expected == Tier::Attested { vec![] } else { vec!["firmware-floor"] };
        assert_eq!(found(&trust), (expected, why), "{firmware}");
        assert_eq!(answer(&trust, &cert).is_ok(), expected == Tier::Attested, "{firmware}");
    }
}

/// The attestation counts in the version of trust that holds it, and an answer under the one before is none.
#[test]
fn an_attestation_counts_from_its_version_on() {
    let chain = Authority::new(ChainShape::FourBelowRoot)
        .attest(&on_card(&subkey(alice())), &Said::about(Slot::Signature));
    let load =
        |attestation| Trust::under(&files(alice(), Tier::Declared, true, attestation), &roots()).unwrap();
    let (before, after) = (load(None), load(Some(pem(&chain))));
    assert_eq!(found(&before), (Tier::Declared, vec!["not-recorded"]));
    assert_eq!(found(&after), (Tier::Attested, vec![]));
    assert_ne!(before.version.digest, after.version.digest);
    let Ok(Verified::Approved(old)) = answer(&before, alice()) else { panic!("declared suffices") };
    assert_eq!(old.answer().tier(), Tier::Declared);
    let again = crate::verify::alone(old.answer().response(), &after, now());
    assert!(matches!(again, Err(Rejection::TrustVersion { .. })), "{again:?}");
}

/// The chain is judged at the moment at which trust ends, whatever the clock says.
#[test]
fn the_chain_holds_as_long_as_trust_does() {
    let chain = Authority::new(ChainShape::TwoBelowRoot)
        .attest(&on_card(&subkey(alice())), &Said::about(Slot::Signature));
    for (ends, expected) in [
        ("2046-12-16T00:00:00Z", (Tier::Attested, vec![])),
        ("2046-12-18T00:00:00Z", (Tier::Signed, vec!["certificate-expired"])),
    ] {
        let mut files = files(alice(), Tier::Attested, false, Some(pem(&chain)));
        let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
        files.insert("policy.toml".into(), policy.replace("2027-03-01T00:00:00Z", ends).into_bytes());
        assert_eq!(found(&Trust::under(&files, &roots()).unwrap()), expected);
    }
}

/// An own root never makes a key attested, and trust that anybody can load has Yubico's alone.
#[test]
fn no_other_root_is_yubicos() {
    let authority = Authority::new(ChainShape::FourBelowRoot);
    let chain = authority.attest(&on_card(&subkey(alice())), &Said::about(Slot::Signature));
    let files = files(alice(), Tier::Attested, true, Some(pem(&chain)));
    assert_eq!(found(&Trust::from_files(&files).unwrap()), (Tier::Declared, vec!["unknown-issuer"]));
    assert!(ConfiguredRoot::new("own", authority.root().der()).is_ok());
    let own: Vec<Anchor> = roots()
        .into_iter()
        .map(|anchor| Anchor { root: Root::Configured { name: "own".into() }, ..anchor })
        .collect();
    assert_eq!(found(&Trust::under(&files, &own).unwrap()), (Tier::Declared, vec!["other-root"]));
}

#[test]
fn a_file_that_is_no_attestation_is_no_trust() {
    for (bytes, code) in
        [(&b"-----BEGIN CERTIFICATE-----\n"[..], "malformed-certificate"), (b"", "no-certificate")]
    {
        let files = files(alice(), Tier::Attested, true, Some(bytes.to_vec()));
        match Trust::from_files(&files).as_ref().map_err(TrustError::cause) {
            Err(TrustError::Roster(RosterError::Attestation { path, error })) => {
                assert_eq!((path.as_str(), error.code()), ("tokens/12345678.attestation.pem", code));
            }
            other => panic!("{other:?}"),
        }
    }
    // Of a token that nobody holds it is a stray, as a certificate is.
    let mut stray = files(alice(), Tier::Attested, true, None);
    stray.insert("tokens/12345679.attestation.pem".into(), b"x".to_vec());
    let error = Trust::from_files(&stray).unwrap_err();
    assert!(matches!(error.cause(), TrustError::Roster(RosterError::Unused { .. })), "{error}");
}

#[test]
fn tiers_have_their_order_and_names() {
    assert!(Tier::Signed < Tier::Declared && Tier::Declared < Tier::Attested);
    for tier in [Tier::Signed, Tier::Declared, Tier::Attested] {
        assert_eq!(tier.to_string().parse(), Ok(tier));
    }
    assert_eq!("Attested".parse::<Tier>(), Err(()));
}
