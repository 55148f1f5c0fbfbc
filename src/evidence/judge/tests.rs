#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::time::{Duration, SystemTime};

use openpgp::Cert;
use openpgp::cert::CertBuilder;
use openpgp::crypto::mpi;
use openpgp::serialize::SerializeInto as _;
use sequoia_openpgp as openpgp;
use virtual_openpgp_card::attestation::{Authority, Chain, ChainShape, Flaw, Statement as Said};
use virtual_openpgp_card::{Algorithm, PublicKey, Slot};

use super::*;
use crate::card::attestation::{Root, YubicoRoot, write_pem};
use crate::challenge::{Challenge, Terms};
use crate::request::Request;
use crate::response::Response;
use crate::sign;
use crate::statement;
use crate::trust::Files;
use crate::trust::manifest::Manifest;

const ATTESTATION: &str = "tokens/12345678.attestation.pem";

fn at(text: &str) -> UnixTime {
    text.parse().unwrap()
}

/// Takes the test authority for Yubico.
fn roots() -> Vec<Anchor> {
    let certificate = Authority::new(ChainShape::FourBelowRoot).root();
    let certificate = rustls_pki_types::CertificateDer::from(certificate.der());
    let anchor = webpki::anchor_from_trusted_cert(&certificate).unwrap().to_owned();
    vec![Anchor { root: Root::Yubico(YubicoRoot::Root1), anchor, path_length: None }]
}

fn pem(chain: &Chain) -> Vec<u8> {
    let all = [&chain.leaf, &chain.device].into_iter().chain(&chain.intermediates);
    all.map(|certificate| write_pem(certificate.der())).collect::<String>().into_bytes()
}

/// A certificate whose only key signs, and the attestation of that key on the token 12345678.
fn alice(said: &Said, flaws: &[Flaw]) -> (Cert, Vec<u8>) {
    let made: SystemTime = at("2026-10-01T00:00:00Z").into();
    let (cert, _) = CertBuilder::new()
        .set_creation_time(made)
        .add_userid("alice")
        .add_signing_subkey()
        .generate()
        .unwrap();
    let attested = attested(&cert, ChainShape::FourBelowRoot, said, flaws);
    (cert, attested)
}

/// What the authority says of her key.
fn attested(cert: &Cert, by: ChainShape, said: &Said, flaws: &[Flaw]) -> Vec<u8> {
    let key = cert.keys().subkeys().next().unwrap().key().clone();
    let point = match key.mpis() {
        mpi::PublicKey::EdDSA { q, .. } => q.value()[1..].to_vec(),
        mpi::PublicKey::Ed25519 { a } => a.to_vec(),
        other => panic!("{other:?}"),
    };
    let key = PublicKey::Curve { algorithm: Algorithm::Ed25519, point };
    pem(&Authority::new(by).attest_wrongly(&key, said, flaws))
}

/// Alice steps up by a touch that her token must attest.
fn evidence(cert: &Cert, attestation: Vec<u8>) -> Evidence {
    let policy = "audience = \"a.example\"\nversion = 1\nvalid_until = \"2027-03-01T00:00:00Z\"\n\
         [[rule]]\naction = \"login\"\nneed = [{ from = \"@requester\" }]\ntier = \"attested\"\n\
         [[rule]]\naction = \"touchgate.trust.update\"\nneed = [{ from = \"@requester\" }]\n";
    let key = cert.keys().subkeys().next().unwrap().key().clone();
    let person = format!(
        "identities = [\"os:alice@host\"]\n[[token]]\nserial = \"12345678\"\nkey = \"{}\"\ntouch = \"declared\"\n",
        key.fingerprint().to_hex()
    );
    let files = Files::from([
        ("policy.toml".to_owned(), policy.into()),
        ("people/alice.toml".to_owned(), person.into_bytes()),
        ("tokens/12345678.asc".to_owned(), cert.to_vec().unwrap()),
        (ATTESTATION.to_owned(), attestation),
    ]);
    let trust = Trust::under(&files, &roots()).unwrap();
    let request = Request::plain("login", "host", "os:alice@host");
    let (audience, answer_within) = (trust.audience.clone(), Duration::from_secs(900));
    let terms = Terms { audience, trust: trust.version, answer_within };
    let challenge = Challenge::issue(request, terms, at("2026-11-20T04:07:00Z"), [7; 42]).unwrap();
    let statement = challenge.clone().decided(statement::Decision::Approve).to_text().into_bytes();
    let mut signer = key.parts_into_secret().unwrap().into_keypair().unwrap();
    let signature = sign::detached(&mut signer, &statement, at("2026-11-20T04:08:00Z").into()).unwrap();
    let answer = Answered::new(&Response { statement, signature }, None, None).unwrap();
    let mut evidence = Evidence::collect(challenge, vec![answer], &trust, &Manifest::new(files)).unwrap();
    evidence.decision = Some(Decided { outcome: Outcome::Approved, at: at("2026-11-20T04:09:00Z") });
    evidence
}

fn judged(evidence: &Evidence, roots: &[Anchor]) -> Result<Tier, &'static str> {
    let read = Evidence::parse(evidence.to_json().as_bytes()).unwrap();
    let against = Against::pin(read.trust.version);
    let verdict = judge_under(&read, &against, at("2031-01-01T00:00:00Z"), roots);
    verdict.map(|verdict| verdict.tier).map_err(|error| error.code())
}

/// By the files that evidence carries, years later.
#[test]
fn an_attested_touch_is_shown_years_later() {
    let (cert, attestation) = alice(&Said::about(Slot::Signature), &[]);
    let evidence = evidence(&cert, attestation);
    assert!(evidence.trust.files.iter().any(|file| file.path == ATTESTATION));
    assert_eq!(judged(&evidence, &roots()), Ok(Tier::Attested));
    // Under Yubico's own roots the test authority is nobody.
    assert_eq!(judged(&evidence, &Anchor::yubico()), Err("tier"));
}

#[test]
fn an_attestation_cannot_be_left_out_or_exchanged() {
    let (cert, attestation) = alice(&Said::about(Slot::Signature), &[]);
    let genuine = evidence(&cert, attestation);
    let mut without = genuine.clone();
    without.trust.files.retain(|file| file.path != ATTESTATION);
    assert_eq!(judged(&without, &roots()), Err("tier"));
    assert_ne!(without.digest(), genuine.digest());
    let mut other = genuine.clone();
    let file = other.trust.files.iter_mut().find(|file| file.path == ATTESTATION).unwrap();
    file.bytes = alice(&Said::about(Slot::Signature), &[]).1;
    assert_eq!(judged(&other, &roots()), Err("file-not-proved"));
    assert_ne!(other.digest(), genuine.digest());
}

#[test]
fn an_attestation_that_falls_short_does_not_suffice() {
    let about = Said::about(Slot::Signature);
    for (said, flaws) in [
        (Said { touch: virtual_openpgp_card::TouchPolicy::Off, ..about.clone() }, vec![]),
        (Said { serial: 1, ..about.clone() }, vec![]),
        (about.clone(), vec![Flaw::LeafSignedByStranger]),
        (about, vec![Flaw::RootOfStranger]),
    ] {
        let (cert, attestation) = alice(&said, &flaws);
        assert_eq!(judged(&evidence(&cert, attestation), &roots()), Err("tier"), "{said:?} {flaws:?}");
    }
}

/// Verifiers may know more roots, but none takes less than what trust holds.
#[test]
fn a_counter_under_a_made_up_root_is_none_of_an_attested_key() {
    let (cert, attestation) = alice(&Said::about(Slot::Signature), &[]);
    let evidence = evidence(&cert, attestation);
    let counted = Said { signature_count: Some(9), ..Said::about(Slot::Signature) };
    let cases = [
        (ChainShape::FourBelowRoot, Ok(Tier::Attested)),
        (ChainShape::TwoBelowRoot, Err("counter-not-believed")),
    ];
    for (by, found) in cases {
        let mut with = evidence.clone();
        let counter = String::from_utf8(attested(&cert, by, &counted, &[])).unwrap();
        with.answers = vec![Answered::new(&with.answers[0].response(), Some(counter), None).unwrap()];
        assert_eq!(judged(&with, &roots()), found);
    }
}
