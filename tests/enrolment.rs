//! Enrolment files: what the token signs is what counts, and nothing else passes.
#![cfg(feature = "virtual-card")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod card_support;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use card_support::*;
use proptest::prelude::*;
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::serialize::{Serialize as _, SerializeInto as _};
use serde_json::{Map, Value};
use touchgate::card::certificate::{self, Settings};
use touchgate::card::{CardError, CardKeys, CardSigner, KeptPin, KeySlot, Token};
use touchgate::digest::Sha256Digest;
use touchgate::enrolment::possession::{MAX_POSSESSION, Name, Possession, PossessionError};
use touchgate::enrolment::{
    Enrolment, EnrolmentError, MAX_ATTESTATION, MAX_CERTIFICATE, MAX_ENROLMENT, MAX_REPORT, Parts, pem,
};
use touchgate::sign;
use touchgate::unix_time::UnixTime;
use touchgate::verify::Rejection;
use virtual_openpgp_card::{Algorithm, Effect, Fault, Slot, TouchPolicy, VirtualCard};

fn today() -> UnixTime {
    now().into()
}

fn member(seed: u8) -> VirtualCard {
    let card = card(VirtualCard::builder().seed([seed; 32]).serial(10_000_000 + u32::from(seed)));
    card.set_touch_policy(Slot::Signature, TouchPolicy::Fixed);
    card
}

/// What `enrol` does, with a chance to change what is signed before the touch.
struct Making {
    card: VirtualCard,
    parts: Parts,
    possession: Possession,
}

impl Making {
    fn of(card: VirtualCard) -> Self {
        let mut token = look(&card).unwrap();
        let (mut person, mut kept) = (Person::with_pins(&[PIN]), KeptPin::default());
        let keys = token.keys(&patience()).unwrap();
        let made = {
            let mut attendant = kept.with(&mut person);
            let mut signer =
                CardSigner::new(&mut token, keys.signature.clone(), &mut attendant, patience()).unwrap();
            certificate::make(&keys, "Alice <alice@example.org>", &Settings::default(), &mut signer).unwrap()
        };
        let attested =
            token.attest(KeySlot::Signature, false, &mut kept.with(&mut person), &patience()).unwrap();
        let chain = [attested.attestation, attested.device];
        let parts = Parts::new(&made.cert, &chain, Some("{\"serial\":\"x\"}\n".into())).unwrap();
        let possession = Self::possession(&token, &keys, &parts);
        Self { card, parts, possession }
    }

    fn possession(token: &Token, keys: &CardKeys, parts: &Parts) -> Possession {
        let (certificate, attestation, report) = parts.digests();
        Possession {
            name: "alice".parse().unwrap(),
            ident: token.info().ident,
            key: keys.signature.fingerprint(),
            touch: token.info().touch.word(),
            certificate,
            attestation,
            profile: Some(Sha256Digest::of(b"profile")),
            report,
            signed: today(),
        }
    }

    fn signed(self) -> Enrolment {
        let card = self.card.clone();
        self.signed_by(&card, now())
    }

    fn signed_by(self, card: &VirtualCard, time: SystemTime) -> Enrolment {
        let mut token = look(card).unwrap();
        let text = self.possession.to_text();
        let mut person = Person::with_pins(&[PIN]);
        let mut signer = CardSigner::new(&mut token, key(card), &mut person, patience()).unwrap();
        let signature = sign::detached(&mut signer, text.as_bytes(), time).unwrap();
        self.parts.signed(text, &signature)
    }
}

fn good() -> Enrolment {
    Making::of(member(1)).signed()
}

fn code(enrolment: &Enrolment) -> &'static str {
    enrolment.verify(today()).unwrap_err().code()
}

#[test]
fn what_the_token_signed_is_what_comes_out() {
    let enrolment = good();
    let read = Enrolment::parse(enrolment.to_json().as_bytes()).unwrap();
    assert_eq!(read, enrolment);
    let enrolled = read.verify(today().plus(Duration::from_secs(90))).unwrap();
    assert_eq!(enrolled.possession.name.to_string(), "alice");
    assert_eq!(enrolled.possession.ident.to_string(), "10000001");
    assert_eq!(enrolled.possession.touch, "fixed");
    assert_eq!(enrolled.key.fingerprint(), &key(&member(1)).fingerprint());
    assert_eq!(enrolled.possession.profile, Some(Sha256Digest::of(b"profile")));
    assert_eq!(enrolled.attestation.len(), 2);
    assert_eq!(enrolled.report.as_deref(), Some("{\"serial\":\"x\"}\n"));
    assert_eq!(enrolled.age, Duration::from_secs(90));
}

#[test]
fn a_token_without_attestation_enrols_too() {
    let mut making = Making::of(member(1));
    making.parts.attestation = None;
    making.parts.report = None;
    (making.possession.attestation, making.possession.report, making.possession.profile) = (None, None, None);
    let enrolment = making.signed();
    assert!(!enrolment.to_json().contains("attestation") && !enrolment.to_json().contains("report"));
    let enrolled = Enrolment::parse(enrolment.to_json().as_bytes()).unwrap().verify(today()).unwrap();
    assert!(enrolled.attestation.is_empty() && enrolled.report.is_none());
}

#[test]
fn every_changed_byte_is_noticed() {
    let json = good().to_json().into_bytes();
    let mut codes = BTreeSet::new();
    let mut tried = 0;
    for at in 0..json.len() {
        // The last turns a line feed into a space.
        for flip in [0x01, 0x20, 0x80, 0x2a] {
            let mut altered = json.clone();
            altered[at] ^= flip;
            tried += 1;
            let error = Enrolment::parse(&altered).and_then(|read| read.verify(today()).map(drop));
            codes.insert(error.expect_err("a changed byte passed").code());
        }
    }
    println!("{tried} changed files, none passed: {codes:?}");
    assert!(tried > 10_000);
    for code in ["bad-enrolment", "enrolment-not-canonical", "enrolment-altered", "bad-signature"] {
        assert!(codes.contains(code), "{code} is not among {codes:?}");
    }
    // Cut anywhere, it is none.
    for length in (0..json.len()).step_by(37) {
        assert!(Enrolment::parse(&json[..length]).is_err());
    }
}

/// Two members' files with one part exchanged.
#[test]
fn no_part_of_anothers_file_passes() {
    let (one, other) = (good(), Making::of(member(2)).signed());
    assert!(other.verify(today()).is_ok());
    let swapped = |change: fn(&mut Enrolment, &Enrolment)| {
        let mut mixed = one.clone();
        change(&mut mixed, &other);
        code(&mixed)
    };
    assert_eq!(swapped(|mixed, other| mixed.certificate.clone_from(&other.certificate)), "enrolment-altered");
    assert_eq!(swapped(|mixed, other| mixed.attestation.clone_from(&other.attestation)), "enrolment-altered");
    assert_eq!(swapped(|mixed, _| mixed.attestation = None), "enrolment-altered");
    assert_eq!(swapped(|mixed, _| mixed.report = None), "enrolment-altered");
    assert_eq!(swapped(|mixed, _| mixed.report = Some(String::new())), "enrolment-altered");
    assert_eq!(swapped(|mixed, other| mixed.signature.clone_from(&other.signature)), "unknown-signer");
    assert_eq!(swapped(|mixed, other| mixed.statement.clone_from(&other.statement)), "enrolment-altered");
    let both = swapped(|mixed, other| {
        mixed.statement.clone_from(&other.statement);
        mixed.certificate.clone_from(&other.certificate);
        mixed.attestation.clone_from(&other.attestation);
    });
    assert_eq!(both, "unknown-signer");
}

/// Each field of the statement changed by somebody who cannot sign.
#[test]
fn every_field_is_bound_by_the_signature() {
    let enrolment = good();
    type Change = (&'static str, fn(&mut Possession));
    let changes: [Change; 7] = [
        ("name", |p| p.name = "bob".parse().unwrap()),
        ("serial", |p| p.ident = "10000002".parse().unwrap()),
        ("touch", |p| p.touch = "off"),
        ("profile", |p| p.profile = Some(Sha256Digest::of(b"another"))),
        ("no profile", |p| p.profile = None),
        ("signed", |p| p.signed = p.signed.plus(Duration::from_secs(1))),
        ("day", |p| p.signed = p.signed.plus(Duration::from_secs(86_400))),
    ];
    for (what, change) in changes {
        let mut possession = Possession::parse(enrolment.statement.as_bytes()).unwrap();
        change(&mut possession);
        let altered = Enrolment { statement: possession.to_text(), ..enrolment.clone() };
        assert_eq!(code(&altered), "bad-signature", "{what}");
    }
}

#[test]
fn a_key_that_is_not_on_the_token_enrols_nobody() {
    // Somebody else's certificate, signed by one's own key: the statement names the one, the other signs.
    let mallory = member(9);
    let stolen = Making::of(member(1)).signed_by(&mallory, now());
    assert_eq!(code(&stolen), "unknown-signer");
    // The same, naming the key that signs: it is not in the certificate.
    let mut making = Making::of(member(1));
    making.possession.key = key(&mallory).fingerprint();
    assert_eq!(code(&making.signed_by(&mallory, now())), "key-absent");
}

#[test]
fn a_signature_over_something_else_is_none() {
    // An approval by the very key: same notation, other words.
    let making = Making::of(member(1));
    let mut token = look(&making.card).unwrap();
    let mut person = Person::with_pins(&[PIN]);
    let signature = sign_with(&mut token, &key(&making.card), &mut person, patience()).unwrap();
    let text = making.possession.to_text();
    assert_eq!(code(&making.parts.clone().signed(text, &signature)), "bad-signature");
    let approval = String::from_utf8(STATEMENT.to_vec()).unwrap();
    assert_eq!(code(&making.parts.signed(approval, &signature)), "bad-enrolment-statement");
    // And the other way round: what enrols can be no decision.
    assert!(touchgate::statement::Statement::parse(good().statement.as_bytes()).is_err());
}

#[test]
fn the_moment_is_the_signatures_and_not_in_the_future() {
    let late = Making::of(member(1));
    let card = late.card.clone();
    assert_eq!(code(&late.signed_by(&card, now() - Duration::from_secs(301))), "enrolment-time");
    let near = Making::of(member(1)).signed_by(&card, now() - Duration::from_secs(300));
    assert_eq!(near.verify(today()).unwrap().age, Duration::from_secs(300));
    let enrolment = good();
    let before = |seconds: u64| UnixTime::from_seconds(today().seconds() - seconds).unwrap();
    assert!(enrolment.verify(before(300)).is_ok());
    let error = enrolment.verify(before(301)).unwrap_err();
    assert!(matches!(error, EnrolmentError::Future { .. }), "{error}");
    // Old is not wrong; how old is told.
    let year = Duration::from_secs(365 * 86_400);
    assert_eq!(enrolment.verify(today().plus(year)).unwrap().age, year);
}

#[test]
fn certificates_that_are_not_valid() {
    let card = member(1);
    let keys = CardKeys::signing(key(&card));
    let expires = UnixTime::from_seconds(u64::from(CREATED) + 1000);
    let with = |settings: Settings| {
        let mut token = look(&card).unwrap();
        let mut person = Person::with_pins(&[PIN; 2]);
        let mut signer =
            CardSigner::new(&mut token, keys.signature.clone(), &mut person, patience()).unwrap();
        let made = certificate::make(&keys, "Alice", &settings, &mut signer).unwrap();
        let mut cert = made.cert;
        if let Some(block) = made.revocation {
            use sequoia_openpgp::parse::Parse as _;
            let packets = sequoia_openpgp::PacketPile::from_bytes(&block).unwrap();
            cert = cert.insert_packets(packets.into_children()).unwrap().0;
        }
        let parts = Parts::new(&cert, &[], None).unwrap();
        let mut making = Making {
            possession: Making::possession(&look(&card).unwrap(), &keys, &parts),
            parts,
            card: card.clone(),
        };
        making.possession.profile = None;
        making.signed()
    };
    assert!(with(Settings::default()).verify(today()).is_ok());
    assert_eq!(code(&with(Settings { expires, ..Settings::default() })), "certificate-expired");
    assert_eq!(code(&with(Settings { revocation: true, ..Settings::default() })), "certificate-revoked");
}

#[test]
fn what_stands_where_the_certificate_belongs() {
    let making = || Making::of(member(1));
    let with = |certificate: String| {
        let mut making = making();
        making.possession.certificate = Sha256Digest::of(certificate.as_bytes());
        making.parts.certificate = certificate;
        code(&making.signed())
    };
    let (cert, _) = CertBuilder::general_purpose(Some("Bob")).generate().unwrap();
    let public = Parts::new(&cert, &[], None).unwrap().certificate;
    assert_eq!(with(public.clone()), "key-absent");
    assert_eq!(with(format!("{public}{public}")), "bad-certificate");
    assert_eq!(with(format!(" {public}")), "bad-certificate");
    assert_eq!(with(String::new()), "bad-certificate");
    assert_eq!(with(public.replace("PUBLIC", "PRIVATE")), "bad-certificate");
    // A secret key under a public key's label.
    let mut secret = Vec::new();
    cert.as_tsk().serialize(&mut secret).unwrap();
    assert_eq!(with(armored(&secret)), "secret-key");
    let two = [cert.to_vec().unwrap(), cert.to_vec().unwrap()].concat();
    assert_eq!(with(armored(&two)), "bad-certificate");
    assert_eq!(with(armored(b"no packets")), "bad-certificate");
    assert_eq!(with(armored(b"-----BEGIN PGP")), "bad-certificate");
}

/// Any bytes in a plain block of a certificate.
fn armored(bytes: &[u8]) -> String {
    use sequoia_openpgp::armor::{Kind, Writer};
    let mut writer = Writer::new(Vec::new(), Kind::PublicKey).unwrap();
    std::io::Write::write_all(&mut writer, bytes).unwrap();
    String::from_utf8(writer.finalize().unwrap()).unwrap()
}

#[test]
fn what_stands_where_the_attestation_belongs() {
    let with = |attestation: &str| {
        let mut making = Making::of(member(1));
        making.possession.attestation = Some(Sha256Digest::of(attestation.as_bytes()));
        making.parts.attestation = Some(attestation.to_owned());
        making.signed().verify(today()).map(|enrolled| enrolled.attestation.len())
    };
    let chain = |count: usize| pem::write(vec![[7u8; 100]; count]);
    assert_eq!(with(&chain(1)), Ok(1));
    assert_eq!(with(&chain(8)), Ok(8));
    for wrong in [
        &chain(9)[..],
        "",
        "no certificate",
        &chain(1).replace('\n', "\r\n"),
        &format!("Subject: Alice\n{}", chain(1)),
        &format!("{}\n", chain(2)),
        &chain(1).replace("CERTIFICATE", "PRIVATE KEY"),
        &chain(1).replacen("BwcH", "Bwc=", 1),
        chain(1).trim_end(),
    ] {
        assert_eq!(with(wrong), Err(EnrolmentError::Attestation), "{wrong:?}");
    }
}

fn fields(enrolment: &Enrolment) -> Map<String, Value> {
    serde_json::from_str(&enrolment.to_json()).unwrap()
}

#[test]
fn json_that_is_not_the_one() {
    let enrolment = good();
    let json = enrolment.to_json();
    let refused = |text: &str| match Enrolment::parse(text.as_bytes()) {
        Err(EnrolmentError::Malformed { reason }) => reason,
        other => panic!("{other:?}"),
    };
    // Twice, whichever and wherever.
    for name in fields(&enrolment).keys() {
        for value in ["\"x\"", "null", &fields(&enrolment)[name].to_string()] {
            let twice = json.replacen("{\n", &format!("{{\n  \"{name}\": {value},\n"), 1);
            let reason = refused(&twice);
            assert!(
                reason.contains("duplicate field")
                    || reason.contains("expected a string")
                    || reason.contains("the format"),
                "{reason}"
            );
            let last = json.replacen("\n}", &format!(",\n  \"{name}\": {value}\n}}"), 1);
            assert!(refused(&last).contains("duplicate field"));
        }
    }
    assert!(refused(&json.replacen("{\n", "{\n  \"comment\": \"\",\n", 1)).contains("unknown field"));
    assert!(refused(&json.replacen("\"report\"", "\"Report\"", 1)).contains("unknown field"));
    assert!(refused(&json.replacen("enrolment v1", "enrolment v2", 1)).contains("the format is not"));
    // Missing, null, another type.
    for name in fields(&enrolment).keys() {
        let optional = matches!(name.as_str(), "attestation" | "report");
        let mut without = fields(&enrolment);
        without.remove(name);
        let text = Value::Object(without.clone()).to_string();
        if !optional {
            assert!(refused(&text).contains("missing field"), "{name}");
        }
        for value in [Value::Null, Value::Bool(true), Value::Array(vec![]), Value::Object(Map::new())] {
            without.insert(name.clone(), value);
            refused(&Value::Object(without.clone()).to_string());
        }
    }
    for text in
        ["", "{}", "[]", "null", "\"\"", &"[".repeat(100_000), &format!("{json}{json}"), &format!("{json}x")]
    {
        refused(text);
    }
    // The same values in another spelling.
    let canonical = |text: &str| match Enrolment::parse(text.as_bytes()) {
        Err(EnrolmentError::NotCanonical { at }) => at,
        other => panic!("{other:?}"),
    };
    assert_eq!(canonical(&format!(" {json}")), 0);
    assert_eq!(canonical(json.trim_end()), json.len() - 1);
    canonical(&serde_json::to_string(&enrolment).unwrap());
    canonical(&json.replacen("touchgate v1 enrol", "\\u0074ouchgate v1 enrol", 1));
    canonical(&json.replace('\n', "\r\n"));
}

#[test]
fn larger_than_allowed() {
    let enrolment = good();
    let too_large = |enrolment: &Enrolment| match Enrolment::parse(enrolment.to_json().as_bytes()) {
        Err(EnrolmentError::TooLarge { part, most, .. }) => (part, most),
        other => panic!("{other:?}"),
    };
    let text = |length: usize| "a".repeat(length);
    let part = |change: &dyn Fn(&mut Enrolment)| {
        let mut large = enrolment.clone();
        change(&mut large);
        too_large(&large)
    };
    assert_eq!(part(&|e| e.certificate = text(MAX_CERTIFICATE + 1)), ("certificate", MAX_CERTIFICATE));
    assert_eq!(part(&|e| e.attestation = Some(text(MAX_ATTESTATION + 1))), ("attestation", MAX_ATTESTATION));
    assert_eq!(part(&|e| e.report = Some(text(MAX_REPORT + 1))), ("report", MAX_REPORT));
    assert_eq!(part(&|e| e.statement = text(MAX_ENROLMENT)), ("file", MAX_ENROLMENT));
    let full = Enrolment { report: Some(text(MAX_REPORT)), ..enrolment.clone() };
    assert!(Enrolment::parse(full.to_json().as_bytes()).is_ok());
    let long = Enrolment { statement: text(MAX_POSSESSION + 1), ..enrolment.clone() };
    assert_eq!(code(&long), "bad-enrolment-statement");
    let signature = Enrolment { signature: text(5000), ..enrolment };
    assert!(matches!(
        signature.verify(today()),
        Err(EnrolmentError::Signature(Rejection::SignatureTooLarge { .. }))
    ));
}

#[test]
fn statements_that_are_not_the_text() {
    let text = good().statement;
    let possession = Possession::parse(text.as_bytes()).unwrap();
    assert_eq!(possession.to_text(), text);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 10);
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let refused = |text: &str| Possession::parse(text.as_bytes()).unwrap_err();
    for at in 0..lines.len() {
        let mut without = lines.clone();
        let line = without.remove(at);
        // The three digests may be absent.
        if !(6..9).contains(&at) {
            refused(&joined(&without));
        }
        let mut twice = lines.clone();
        twice.insert(at, line);
        refused(&joined(&twice));
        if at + 1 < lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(at, at + 1);
            refused(&joined(&swapped));
        }
        for (from, to) in [(": ", ":"), (": ", ":  "), (": ", " : "), ("", " ")] {
            let changed = lines[at].replacen(from, to, 1);
            if changed != lines[at] {
                let mut other = lines.clone();
                other[at] = &changed;
                refused(&joined(&other));
            }
        }
    }
    assert_eq!(refused(text.trim_end()), PossessionError::End);
    assert_eq!(refused(&format!("{text}\n")), PossessionError::End);
    assert_eq!(refused(&format!("{text}because: x\n")), PossessionError::End);
    assert_eq!(refused(&text.replacen("enrol", "approve", 1)), PossessionError::FirstLine);
    refused(&text.replace('\n', "\r\n"));
    for (from, to) in [
        ("serial: 10000001", "serial: 010000001"),
        ("serial: 10000001", "serial: 0006:10000001"),
        ("touch: fixed", "touch: Fixed"),
        ("touch: fixed", "touch: "),
        ("name: alice", "name: ../alice"),
        ("name: alice", "name: .alice"),
        ("name: alice", "name: Alice"),
        ("certificate: sha256:", "certificate: sha512:"),
    ] {
        assert!(text.contains(from));
        refused(&text.replacen(from, to, 1));
    }
    let lower = format!("key: {}", possession.key.to_hex().to_lowercase());
    refused(&text.replacen(lines[3], &lower, 1));
    assert!("a".repeat(64).parse::<Name>().is_ok() && "a".repeat(65).parse::<Name>().is_err());
}

/// All that `enrol` does with a blank token.
fn whole(card: &VirtualCard) -> Result<Enrolment, CardError> {
    let mut token = look(card)?;
    let (mut person, mut kept) = (Person::with_pins(&[PIN]), KeptPin::default());
    let keys = token.keys(&patience())?;
    let mut attendant = kept.with(&mut person);
    let mut signer = CardSigner::new(&mut token, keys.signature.clone(), &mut attendant, patience())?;
    let settings = Settings { revocation: true, ..Settings::default() };
    let cert = certified(certificate::make(&keys, "Alice <alice@example.org>", &settings, &mut signer))?.cert;
    drop(signer);
    let attested = token.attest(KeySlot::Signature, false, &mut attendant, &patience())?;
    let chain = [attested.attestation, attested.device];
    let parts = Parts::new(&cert, &chain, None).unwrap();
    let text = Making::possession(&token, &keys, &parts).to_text();
    let mut signer = CardSigner::new(&mut token, keys.signature.clone(), &mut attendant, patience())?;
    let signature = sign::detached(&mut signer, text.as_bytes(), now()).map_err(card_error)?;
    Ok(parts.signed(text, &signature))
}

#[test]
fn pulled_or_without_power_at_any_command_and_enrolled_the_next_time() {
    let card = member(1);
    card.generate(Slot::Decryption, Algorithm::X25519, CREATED).unwrap();
    let before = card.command_count();
    whole(&card).unwrap();
    let commands = card.command_count() - before;
    let mut positions = 0;
    for at in 0..commands {
        for effect in [Effect::RemovedBefore, Effect::PowerLostAfterWrite] {
            card.add_fault(Fault::at(card.command_count() + at, effect.clone()));
            // The last command's answer may have been all that was missing; nobody may take half for whole.
            if let Ok(enrolment) = whole(&card) {
                assert!(enrolment.verify(today()).is_ok(), "{effect:?} at {at} of {commands}");
            }
            card.clear_faults();
            card.insert();
            card.reset();
            assert!(whole(&card).unwrap().verify(today()).is_ok(), "after {effect:?} at {at} of {commands}");
            positions += 1;
        }
    }
    println!("{positions} interruptions over {commands} commands, enrolled after each");
    assert!(commands > 20 && card.pin_tries()[0] == 3, "{commands}");
}

/// The example in the documentation is a real one, and every code of ours stands in its table.
#[test]
fn what_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/enrolment.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once("```json\n").unwrap();
    let (example, after) = rest.split_once("```").unwrap();
    let json = good().to_json();
    if std::env::var_os("RECORD").is_some() {
        std::fs::write(path, format!("{before}```json\n{json}```{after}")).unwrap();
    } else {
        assert_eq!(example, json, "made anew with RECORD=1 in the environment");
    }
    let source = include_str!("../src/enrolment/mod.rs");
    let (_, arms) = source.split_once("pub fn code(&self)").unwrap();
    let (arms, _) = arms.split_once("\n    }\n").unwrap();
    let codes: BTreeSet<&str> = arms.split("=> \"").skip(1).filter_map(|arm| arm.split('"').next()).collect();
    let rows = after.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let explained: BTreeSet<&str> =
        rows.filter(|word| word.contains('-') || *word == "bad-enrolment").collect();
    assert!(codes.len() > 10, "{codes:?}");
    assert_eq!(codes, explained);
}

proptest! {
    #[test]
    fn a_statement_is_written_as_it_is_read(
        name in "[a-z0-9_-][a-z0-9._-]{0,63}",
        serial in any::<u32>(),
        maker in any::<u16>(),
        key in any::<[u8; 20]>(),
        touch in 0..7usize,
        digests in any::<([u8; 32], Option<[u8; 32]>, Option<[u8; 32]>, Option<[u8; 32]>)>(),
        signed in 0..=253_402_300_799u64,
    ) {
        let words = ["none", "off", "on", "fixed", "cached", "cached-fixed", "unknown"];
        let possession = Possession {
            name: name.parse().unwrap(),
            ident: touchgate::card::Ident { manufacturer: maker, serial },
            key: sequoia_openpgp::Fingerprint::from_bytes(4, &key).unwrap(),
            touch: words[touch],
            certificate: digests.0.into(),
            attestation: digests.1.map(Sha256Digest::from),
            profile: digests.2.map(Sha256Digest::from),
            report: digests.3.map(Sha256Digest::from),
            signed: UnixTime::from_seconds(signed).unwrap(),
        };
        let text = possession.to_text();
        prop_assert!(text.len() <= MAX_POSSESSION);
        prop_assert_eq!(Possession::parse(text.as_bytes()).unwrap(), possession);
    }

    #[test]
    fn any_text_in_a_file_is_read_as_it_was_written(report in any::<String>(), statement in any::<String>()) {
        let parts = Parts { certificate: "c".into(), attestation: None, report: Some(report) };
        let enrolment = parts.signed(statement, b"-----BEGIN");
        prop_assert_eq!(Enrolment::parse(enrolment.to_json().as_bytes()).unwrap(), enrolment);
    }
}

#[test]
fn other_algorithms_enrol() {
    for algorithm in [Algorithm::NistP256, Algorithm::NistP384, Algorithm::Rsa2048] {
        let enrolment = Making::of(card_with(VirtualCard::builder(), algorithm)).signed();
        assert!(enrolment.verify(today()).is_ok(), "{algorithm:?}");
    }
}
