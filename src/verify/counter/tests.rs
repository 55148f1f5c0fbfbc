#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use openpgp::serialize::SerializeInto as _;
use sequoia_openpgp as openpgp;
use virtual_openpgp_card::attestation::{Authority, Chain, ChainShape, Flaw, Statement as Said};
use virtual_openpgp_card::{Algorithm, Firmware, Personality, Slot, TouchPolicy, VirtualCard};

use super::*;
use crate::card::attestation::{YubicoRoot, write_pem};
use crate::card::certificate::{self, Settings};
use crate::card::{
    Attendant, CardError, CardKeys, CardSigner, InProcess, KeySlot, Patience, Pin, PinEntry, PinRequest,
    Token as Card, TokenInfo, TouchNeed,
};
use crate::challenge::{Challenge, RequestId, Terms};
use crate::request::Request;
use crate::response::Response;
use crate::sign;
use crate::statement::Decision;
use crate::trust::Files;
use crate::verify::{Entry, Ledger, OpenRequests, Recorded, Tier, Verified, response, response_with_counter};

const PIN: &[u8] = b"123456";
const SERIAL: &str = "12345678";
const FIRMWARES: [Firmware; 2] = [Firmware::V5_2_7, Firmware::V5_7_4];

/// Somebody who knows the PIN.
struct Person;

impl Attendant for Person {
    fn pin(&mut self, _: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
        Ok(Some(PinEntry::Typed(Pin::new(PIN.to_vec().into()).unwrap())))
    }

    fn touch_needed(&mut self, _: &TokenInfo, _: TouchNeed) {}

    fn not_touched(&mut self, _: Duration) -> bool {
        false
    }
}

fn patience() -> Patience {
    Patience::lasting(Duration::from_secs(300))
}

fn now() -> UnixTime {
    "2026-11-20T04:10:00Z".parse().unwrap()
}

/// The test authority's root as somebody calls it.
fn roots(shape: ChainShape, root: Root) -> Vec<Anchor> {
    let certificate = Authority::new(shape).root();
    let certificate = rustls_pki_types::CertificateDer::from(certificate.der());
    let anchor = webpki::anchor_from_trusted_cert(&certificate).unwrap().to_owned();
    vec![Anchor { root, anchor, path_length: None }]
}

fn yubico() -> Root {
    Root::Yubico(YubicoRoot::Root1)
}

fn own() -> Root {
    Root::Configured { name: "own".into() }
}

fn all(chain: &Chain) -> Vec<Vec<u8>> {
    let all = [&chain.leaf, &chain.device].into_iter().chain(&chain.intermediates);
    all.map(|certificate| certificate.der().to_vec()).collect()
}

/// A virtual YubiKey, its holder alice, the trust that knows her, and a verifier.
struct World {
    shape: ChainShape,
    card: VirtualCard,
    cert: openpgp::Cert,
    trust: Trust,
    ledger: OpenRequests,
    asked: u8,
}

/// How the attestation that trust holds is made.
enum Enrolled {
    ByTheCard,
    Not,
    /// It attests another key, or says that it comes from another token.
    Other(Said, bool),
}

impl World {
    /// The test authority is taken for `root`.
    fn new(firmware: Firmware, enrolled: &Enrolled, root: Root) -> Self {
        let card = VirtualCard::builder().personality(Personality::Yubikey(firmware)).build();
        card.generate(Slot::Signature, Algorithm::Ed25519, 1_700_000_000).unwrap();
        card.set_touch_policy(Slot::Signature, TouchPolicy::Fixed);
        let mut token = look(&card);
        let key = token.signature_key(&patience()).unwrap();
        let mut person = Person;
        let mut signer = CardSigner::new(&mut token, key.clone(), &mut person, patience()).unwrap();
        let keys = CardKeys::signing(key);
        let cert = certificate::make(&keys, "alice", &Settings::default(), &mut signer).unwrap().cert;
        drop(signer);
        let shape = ChainShape::of(firmware);
        let attestation = match enrolled {
            Enrolled::ByTheCard => Some(attested(&card, shape)),
            Enrolled::Not => None,
            Enrolled::Other(said, other_key) => {
                let other = other_card().public_key(Slot::Signature).unwrap();
                let own = card.public_key(Slot::Signature).unwrap();
                Some(all(&Authority::new(shape).attest(if *other_key { &other } else { &own }, said)))
            }
        };
        let trust = trust(&cert, attestation, &roots(shape, root));
        Self { shape, card, cert, trust, ledger: OpenRequests::default(), asked: 0 }
    }

    /// Asks for something, and signs yes on the card.
    fn signed(&mut self) -> Response {
        self.asked += 1;
        let request = Request::plain("deploy", "payments/prod", "os:alice@host");
        let terms = Terms {
            audience: self.trust.audience.clone(),
            trust: self.trust.version,
            answer_within: Duration::from_secs(900),
        };
        let issued = "2026-11-20T04:07:00Z".parse().unwrap();
        let challenge = Challenge::issue(request, terms, issued, [self.asked; 42]).unwrap();
        self.ledger.open(challenge.clone());
        let statement = challenge.decided(Decision::Approve).to_text().into_bytes();
        let mut token = look(&self.card);
        let key = sign::key_on_card(&self.cert, &token).unwrap();
        let mut person = Person;
        let mut signer = CardSigner::new(&mut token, key, &mut person, patience()).unwrap();
        let signature = sign::detached(&mut signer, &statement, SystemTime::from(now())).unwrap();
        Response { statement, signature }
    }

    /// A signature that none of this sees: any program with the PIN and a finger can make one.
    fn behind_our_back(&self) {
        for command in [
            &[0x00, 0xa4, 0x04, 0x00, 6, 0xd2, 0x76, 0x00, 0x01, 0x24, 0x01][..],
            &[&[0x00, 0x20, 0x00, 0x81, 6][..], PIN].concat(),
            &[&[0x00, 0x2a, 0x9e, 0x9a, 64][..], &[7; 64], &[0]].concat(),
        ] {
            let answer = self.card.transmit(command).unwrap();
            assert!(answer.ends_with(&[0x90, 0x00]), "{command:02x?} -> {answer:02x?}");
        }
    }

    /// The counter as the card attests it now, under a root of this kind.
    fn attested(&self, root: Root) -> Presented {
        Presented::under(attested(&self.card, self.shape), roots(self.shape, root))
    }

    /// An attestation as the authority would make it of this key, with anything else said.
    fn minted(&self, said: &Said, flaws: &[Flaw]) -> Presented {
        let key = self.card.public_key(Slot::Signature).unwrap();
        let chain = Authority::new(self.shape).attest_wrongly(&key, said, flaws);
        Presented::under(all(&chain), roots(self.shape, yubico()))
    }

    fn counting(&self, signatures: u32) -> Presented {
        let said = Said { signature_count: Some(signatures), ..Said::about(Slot::Signature) };
        self.minted(&said, &[])
    }

    fn judge(&mut self, signed: &Response, presented: &Presented) -> Result<Counted, Rejection> {
        match response_with_counter(signed, presented, &self.trust, &mut self.ledger, now())? {
            Verified::Approved(approval) => Ok(approval.answer().counter().unwrap().clone()),
            Verified::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    /// An approval with the counter attested right after it.
    fn approve(&mut self) -> Result<Counted, Rejection> {
        let signed = self.signed();
        let presented = self.attested(yubico());
        self.judge(&signed, &presented)
    }

    /// An approval without one.
    fn approve_without(&mut self) {
        let signed = self.signed();
        match response(&signed, &self.trust, &mut self.ledger, now()).unwrap() {
            Verified::Approved(approval) => assert_eq!(approval.answer().counter(), None),
            Verified::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    fn key(&self) -> Fingerprint {
        look(&self.card).info().signature_key.as_ref().unwrap().fingerprint.clone()
    }

    fn known(&self) -> Option<Counter> {
        self.ledger.counter(&self.key()).unwrap()
    }
}

/// Somebody else's, with a key of its own.
fn other_card() -> VirtualCard {
    let card = VirtualCard::builder().seed([9; 32]).build();
    card.generate(Slot::Signature, Algorithm::Ed25519, 7).unwrap();
    card
}

fn look(card: &VirtualCard) -> Card {
    Card::look(Arc::new(InProcess::virtual_card(card)), &patience()).unwrap()
}

fn attested(card: &VirtualCard, shape: ChainShape) -> Vec<Vec<u8>> {
    let made = look(card).attest(KeySlot::Signature, false, &mut Person, &patience()).unwrap();
    let between = Authority::new(shape).intermediates();
    [made.attestation, made.device].into_iter().chain(between.iter().map(|c| c.der().to_vec())).collect()
}

fn trust(cert: &openpgp::Cert, attestation: Option<Vec<Vec<u8>>>, roots: &[Anchor]) -> Trust {
    let policy = "audience = \"a.example\"\nversion = 1\nvalid_until = \"2027-03-01T00:00:00Z\"\n\
                  [[rule]]\naction = \"deploy\"\nresource = \"**\"\nneed = [{ from = \"@requester\" }]\n\
                  tier = \"declared\"\n[[rule]]\naction = \"touchgate.trust.update\"\n\
                  need = [{ from = \"@requester\" }]\n";
    let key = cert.fingerprint().to_hex();
    let person = format!(
        "identities = [\"os:alice@host\"]\n[[token]]\nserial = \"{SERIAL}\"\nkey = \"{key}\"\ntouch = \"declared\"\n"
    );
    let mut files = Files::from([
        ("policy.toml".to_owned(), policy.into()),
        ("people/alice.toml".to_owned(), person.into_bytes()),
        (format!("tokens/{SERIAL}.asc"), cert.to_vec().unwrap()),
    ]);
    let pem = |chain: Vec<Vec<u8>>| chain.iter().map(|c| write_pem(c)).collect::<String>().into_bytes();
    files.extend(attestation.map(|chain| (format!("tokens/{SERIAL}.attestation.pem"), pem(chain))));
    Trust::under(&files, roots).unwrap()
}

/// The numbers of an outcome, or the code of a rejection.
fn told(outcome: Result<Counted, Rejection>) -> Result<(u32, Advance), &'static str> {
    outcome.map(|counted| (counted.signatures, counted.advance)).map_err(|rejection| rejection.code())
}

fn gap(unseen: u64) -> Advance {
    Advance::Gap { unseen, since: now() }
}

#[test]
fn a_signature_behind_our_back_is_a_gap_of_one() {
    for firmware in FIRMWARES {
        // One for the certificate, before the enrolled attestation.
        let mut world = World::new(firmware, &Enrolled::ByTheCard, yubico());
        assert_eq!(told(world.approve()), Ok((2, Advance::First { since_enrolment: Some(1) })));
        assert_eq!(told(world.approve()), Ok((3, Advance::Seen)));
        world.behind_our_back();
        assert_eq!(told(world.approve()), Ok((5, gap(1))));
        // Said once.
        assert_eq!(told(world.approve()), Ok((6, Advance::Seen)));
        // Answers without a counter were seen all the same.
        world.approve_without();
        world.approve_without();
        assert_eq!(told(world.approve()), Ok((9, Advance::Seen)));
        world.approve_without();
        for _ in 0..3 {
            world.behind_our_back();
        }
        assert_eq!(told(world.approve()), Ok((14, gap(3))));
        assert_eq!(world.known(), Some(Counter { highest: 14, unseen: 4, reported: 4, at: now() }));
    }
}

#[test]
fn without_a_counter_nothing_is_kept() {
    let mut world = World::new(Firmware::V5_7_4, &Enrolled::ByTheCard, yubico());
    world.approve_without();
    assert_eq!(world.known(), None);
    assert_eq!(told(world.approve()), Ok((3, Advance::First { since_enrolment: Some(2) })));
}

#[test]
fn a_counter_that_went_back_is_rejected_and_so_is_its_answer() {
    for firmware in FIRMWARES {
        let mut world = World::new(firmware, &Enrolled::ByTheCard, yubico());
        for _ in 0..4 {
            world.approve().unwrap();
        }
        let (known, signed) = (world.known(), world.signed());
        for (signatures, code) in
            [(4, "counter-went-back"), (0, "counter-went-back"), (5, "counter-before-signature")]
        {
            let presented = world.counting(signatures);
            assert_eq!(told(world.judge(&signed, &presented)), Err(code), "{signatures}");
            // Nothing was recorded: neither counter nor answer.
            assert_eq!(world.known(), known);
        }
        let presented = world.attested(yubico());
        assert_eq!(told(world.judge(&signed, &presented)), Ok((6, Advance::Seen)));
        // The same once more is no news.
        assert_eq!(told(world.judge(&signed, &presented)), Err("counter-before-signature"));
    }
}

#[test]
fn the_enrolled_attestation_is_where_counting_begins() {
    let mut world = World::new(Firmware::V5_7_4, &Enrolled::ByTheCard, yubico());
    let signed = world.signed();
    for (signatures, code) in [(0, "counter-went-back"), (1, "counter-before-signature")] {
        let presented = world.counting(signatures);
        assert_eq!(told(world.judge(&signed, &presented)), Err(code));
    }
    // Where trust holds none, one that says that nothing was ever signed is still before this signature.
    let mut world = World::new(Firmware::V5_7_4, &Enrolled::Not, yubico());
    let signed = world.signed();
    let presented = world.counting(0);
    assert_eq!(told(world.judge(&signed, &presented)), Err("counter-before-signature"));
    let presented = world.counting(1);
    assert_eq!(told(world.judge(&signed, &presented)), Ok((1, Advance::First { since_enrolment: None })));
}

#[test]
fn what_trust_holds_of_another_key_or_token_is_no_beginning() {
    let said = || Said { signature_count: Some(100), ..Said::about(Slot::Signature) };
    for (said, other_key) in [(said(), true), (Said { serial: 12_345_679, ..said() }, false)] {
        let mut world = World::new(Firmware::V5_7_4, &Enrolled::Other(said, other_key), yubico());
        assert_eq!(told(world.approve()), Ok((2, Advance::First { since_enrolment: None })));
    }
}

/// What an attestation made beforehand can do, and what not: it is found out by the next one at the latest.
#[test]
fn an_attestation_made_before_the_signature_is_told_apart() {
    let mut world = World::new(Firmware::V5_7_4, &Enrolled::ByTheCard, yubico());
    world.approve().unwrap();
    let beforehand = world.attested(yubico());
    let signed = world.signed();
    assert_eq!(told(world.judge(&signed, &beforehand)), Err("counter-before-signature"));
    // After an answer without a counter one from before is higher than what is known. It hides what was signed since
    // (two: the one that was rejected above, and this) until the next counter.
    world.approve_without();
    let beforehand = world.attested(yubico());
    world.behind_our_back();
    let signed = world.signed();
    assert_eq!(told(world.judge(&signed, &beforehand)), Ok((4, Advance::Seen)));
    assert_eq!(told(world.approve()), Ok((7, gap(2))));
}

#[test]
fn answers_that_come_in_another_order_settle() {
    let mut world = World::new(Firmware::V5_7_4, &Enrolled::ByTheCard, yubico());
    world.approve().unwrap();
    // One is signed first and handed in last, without a counter.
    let late = world.signed();
    assert_eq!(told(world.approve()), Ok((4, gap(1))));
    response(&late, &world.trust, &mut world.ledger, now()).unwrap();
    assert_eq!(told(world.approve()), Ok((5, Advance::Seen)));
    // What it explained is not forgiven to another.
    world.behind_our_back();
    assert_eq!(told(world.approve()), Ok((7, gap(1))));
    // One is signed first, attested, and handed in after one without a counter.
    let signed = world.signed();
    let presented = world.attested(yubico());
    world.approve_without();
    assert_eq!(told(world.judge(&signed, &presented)), Ok((8, Advance::Seen)));
    // In doubt it is reported again.
    assert_eq!(told(world.approve()), Ok((10, gap(1))));
    assert_eq!(told(world.approve()), Ok((11, Advance::Seen)));
}

#[test]
fn a_counter_that_covers_less_than_is_known_says_so() {
    let mut world = World::new(Firmware::V5_7_4, &Enrolled::Not, yubico());
    world.approve().unwrap();
    let first = world.signed();
    let presented = world.attested(yubico());
    world.approve_without();
    world.approve_without();
    assert_eq!(told(world.judge(&first, &presented)), Ok((3, Advance::Behind { by: 2 })));
    assert_eq!(told(world.approve()), Ok((6, Advance::Seen)));
}

/// Every reason but those two of the number itself, and nothing recorded for any.
#[test]
fn what_is_not_this_keys_counter_has_its_own_code() {
    for firmware in FIRMWARES {
        let mut world = World::new(firmware, &Enrolled::ByTheCard, yubico());
        let signed = world.signed();
        let said = || Said { signature_count: Some(9), firmware, ..Said::about(Slot::Signature) };
        let other_key = {
            let key = other_card().public_key(Slot::Signature).unwrap();
            Presented::under(
                all(&Authority::new(world.shape).attest(&key, &said())),
                roots(world.shape, yubico()),
            )
        };
        let slot = Said { firmware, ..Said::about(Slot::Authentication) };
        let foreign = match world.shape {
            ChainShape::TwoBelowRoot => ChainShape::FourBelowRoot,
            ChainShape::FourBelowRoot => ChainShape::TwoBelowRoot,
        };
        let foreign = Presented::under(attested(&world.card, world.shape), roots(foreign, yubico()));
        for (presented, code) in [
            (foreign, "counter-not-believed"),
            (Presented::new(attested(&world.card, world.shape), &[]), "counter-not-believed"),
            (Presented::new(Vec::new(), &[]), "counter-not-believed"),
            (world.minted(&said(), &[Flaw::DeviceReplaced]), "counter-not-believed"),
            (world.minted(&said(), &[Flaw::ExtensionMissing(6)]), "counter-not-believed"),
            (other_key, "counter-other-key"),
            (world.minted(&Said { serial: 12_345_679, ..said() }, &[]), "counter-other-serial"),
            (world.minted(&slot, &[]), "counter-other-slot"),
            (world.attested(own()), "counter-weaker-root"),
        ] {
            assert_eq!(told(world.judge(&signed, &presented)), Err(code));
            assert_eq!(world.known(), None);
        }
        let presented = world.minted(&said(), &[]);
        assert!(world.judge(&signed, &presented).is_ok());
    }
}

/// A root of one's own can count where trust holds nothing better; the answer says whose word it is.
#[test]
fn a_configured_root_is_believed_where_nothing_stronger_is_enrolled() {
    for firmware in FIRMWARES {
        for enrolled in [Enrolled::ByTheCard, Enrolled::Not] {
            let mut world = World::new(firmware, &enrolled, own());
            let signed = world.signed();
            let presented = world.attested(own());
            let counted = world.judge(&signed, &presented).unwrap();
            assert_eq!(counted.root, own());
            world.behind_our_back();
            let signed = world.signed();
            let presented = world.attested(own());
            let verified =
                response_with_counter(&signed, &presented, &world.trust, &mut world.ledger, now()).unwrap();
            let Verified::Approved(approval) = verified else { panic!("{verified:?}") };
            assert_eq!(approval.answer().counter().unwrap().advance, gap(1));
            assert_eq!(approval.answer().tier(), Tier::Declared, "a counter changes no tier");
        }
    }
}

/// What a verifier took may have led to what is unknown here, but not where trust holds something better.
#[test]
fn what_a_verifier_took_is_believed_again() {
    fn known(world: &World) -> &Token {
        holder(&world.trust, &world.key()).unwrap()
    }
    for firmware in FIRMWARES {
        let about = Said { signature_count: Some(9), firmware, ..Said::about(Slot::Signature) };
        let world = World::new(firmware, &Enrolled::ByTheCard, yubico());
        let again = |presented| match believe_again(presented, known(&world), now()) {
            Ok(reading) => Ok(reading.map(Reading::signatures)),
            Err(error) => Err(error.code()),
        };
        // What stands above the token's certificate was the verifier's own, or is wanting.
        let mut short = world.minted(&about, &[]);
        short.certificates.truncate(2);
        assert_eq!(again(short), Ok(Some(9)));
        let elsewhere = match world.shape {
            ChainShape::TwoBelowRoot => ChainShape::FourBelowRoot,
            ChainShape::FourBelowRoot => ChainShape::TwoBelowRoot,
        };
        let key = world.card.public_key(Slot::Signature).unwrap();
        let made_up = all(&Authority::new(elsewhere).attest(&key, &about));
        assert_eq!(
            again(Presented::under(made_up, roots(world.shape, yubico()))),
            Err("counter-not-believed")
        );
        for (enrolled, root) in [(Enrolled::Not, yubico()), (Enrolled::ByTheCard, own())] {
            let world = World::new(firmware, &enrolled, root);
            let strange = Presented::new(world.minted(&about, &[]).certificates, &[]);
            assert_eq!(believe_again(strange, known(&world), now()), Ok(None));
        }
    }
}

#[test]
fn judged_alone_it_counts_alike() {
    let mut world = World::new(Firmware::V5_7_4, &Enrolled::ByTheCard, yubico());
    let signed = [world.signed()].map(|signed| (signed, world.attested(yubico())));
    world.behind_our_back();
    let later = world.signed();
    let later = (later, world.attested(yubico()));
    let mut known = None;
    let mut found = Vec::new();
    for (signed, presented) in signed.iter().chain([&later]) {
        let answer = crate::verify::alone(signed, &world.trust, now()).unwrap();
        let (counted, counter) = count(&answer, presented, &world.trust, known, now()).unwrap();
        known = Some(counter);
        found.push(counted.advance);
    }
    assert_eq!(found, [Advance::First { since_enrolment: Some(1) }, gap(1)]);
}

/// A ledger in which another verifier is faster, a number of times.
struct Race {
    ledger: OpenRequests,
    others: u32,
}

impl Ledger for Race {
    fn issued(&self, request: &RequestId) -> Option<Challenge> {
        self.ledger.issued(request)
    }

    fn counter(&self, key: &Fingerprint) -> Result<Option<Counter>, String> {
        self.ledger.counter(key)
    }

    fn record(&mut self, entry: &Entry<'_>) -> Result<Recorded, String> {
        if self.others > 0 {
            // Between look and write an answer of the same key was recorded there.
            self.others -= 1;
            let other = Entry {
                person: &format!("other {}", self.others),
                after: entry.before.map(Counter::answered),
                ..*entry
            };
            assert_eq!(self.ledger.record(&other), Ok(Recorded::Yes));
        }
        self.ledger.record(entry)
    }
}

#[test]
fn a_counter_that_changes_between_look_and_write_is_looked_at_again() {
    let mut world = World::new(Firmware::V5_7_4, &Enrolled::ByTheCard, yubico());
    world.approve().unwrap();
    for _ in 0..3 {
        world.behind_our_back();
    }
    let signed = world.signed();
    let presented = world.attested(yubico());
    let mut race = Race { ledger: std::mem::take(&mut world.ledger), others: 2 };
    let verified = response_with_counter(&signed, &presented, &world.trust, &mut race, now()).unwrap();
    let Verified::Approved(approval) = verified else { panic!("{verified:?}") };
    // Two of the three were answers at the other verifier.
    assert_eq!(approval.answer().counter().unwrap().advance, gap(1));
    assert_eq!(race.others, 0);
    // One that never comes to rest is given up, and nothing is recorded.
    world.ledger = race.ledger;
    let signed = world.signed();
    let mut race = Race { ledger: std::mem::take(&mut world.ledger), others: 1000 };
    let rejection = response(&signed, &world.trust, &mut race, now()).unwrap_err();
    assert_eq!(rejection.code(), "unrecorded");
    assert!(race.others > 900);
}
