//! The papers of a provisioned token: certificate, revocation, attestations, report, enrolment.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![cfg(all(unix, feature = "virtual-card"))]

mod provision_support;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use provision_support::{
    Desk, PERSONALITIES, Secrets, escrowed_text, finish, patience, pin, security, slot, whole,
};
use sequoia_openpgp::Cert;
use sequoia_openpgp::cert::CertBuilder;
use sequoia_openpgp::crypto::Password;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::policy::StandardPolicy;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::RevocationStatus;
use touchgate::card::provision::{Done, Job, Profile, ProofError, ProvisionError, Step, Vouched, provision};
use touchgate::card::{Attendant, CardError, KeySlot, PinEntry, PinRequest, Tape, TokenInfo, TouchNeed};
use touchgate::enrolment::Enrolment;
use touchgate::unix_time::UnixTime;
use virtual_openpgp_card::{Finger, Personality, SteppedClock, VirtualCard};

/// Somebody who remembers what they were asked to touch for.
struct Asked(Arc<Mutex<Vec<String>>>, String);

impl Attendant for Asked {
    fn pin(&mut self, _: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
        panic!("provisioning knows the PIN")
    }

    fn about_to(&mut self, what: &str) {
        what.clone_into(&mut self.1);
    }

    fn touch_needed(&mut self, _: &TokenInfo, _: TouchNeed) {
        self.0.lock().unwrap().push(self.1.clone());
    }

    fn not_touched(&mut self, _: Duration) -> bool {
        false
    }
}

/// Runs, and gives what touches were asked for.
fn touches(card: &VirtualCard, job: &Job) -> (Result<Done, ProvisionError>, Vec<String>) {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let mut person = Asked(Arc::clone(&asked), String::new());
    let done = provision(&slot(card), job, &mut person, &Tape::default(), &patience());
    let asked = asked.lock().unwrap().clone();
    (done, asked)
}

fn card(personality: Personality) -> VirtualCard {
    VirtualCard::builder().personality(personality).build()
}

fn read(path: Option<&PathBuf>) -> Vec<u8> {
    fs::read(path.unwrap()).unwrap()
}

#[test]
fn one_touch_makes_a_blank_token_one_that_can_be_enrolled() {
    let security = security();
    for personality in PERSONALITIES {
        let card = card(personality);
        let desk = Desk::with(&whole(personality), &security);
        let (done, asked) = touches(&card, &desk.job(&card));
        let done = done.unwrap();
        // The certificate's own signatures were made before the key wanted a touch.
        assert_eq!(asked, ["prove its key and enrol alice"], "{personality:?}");

        let cert = Cert::from_bytes(&read(done.files.certificate.as_ref())).unwrap();
        let key = done.observed.slot(KeySlot::Signature).key(KeySlot::Signature).unwrap();
        assert_eq!(cert.fingerprint(), key.fingerprint());
        assert_eq!(cert.userids().next().unwrap().userid().value(), b"Alice <alice@example.org>");
        assert_eq!(cert.keys().count(), 3);
        let policy = StandardPolicy::new();
        let expires = cert.with_policy(&policy, None).unwrap().primary_key().key_expiration_time().unwrap();
        assert_eq!(UnixTime::from(expires).to_string(), "2046-11-20T00:00:00Z");

        // Only whoever it was escrowed to can revoke.
        let revocation = done.files.revocation.as_ref().unwrap();
        let text = escrowed_text(revocation, &security);
        let packets = sequoia_openpgp::PacketPile::from_bytes(text.as_bytes()).unwrap();
        let (revoked, _) = cert.clone().insert_packets(packets.into_children()).unwrap();
        assert!(matches!(revoked.revocation_status(&policy, None), RevocationStatus::Revoked(_)));

        let enrolment = Enrolment::parse(&read(done.files.enrolment.as_ref())).unwrap();
        let enrolled = enrolment.verify(UnixTime::now()).unwrap();
        assert_eq!(enrolled.possession.name.to_string(), "alice");
        assert_eq!(enrolled.possession.ident, done.observed.ident);
        assert_eq!(enrolled.possession.profile, Some(desk.profile.file_digest()));
        let report = read(done.files.report.as_ref());
        assert_eq!(enrolment.report.as_deref(), std::str::from_utf8(&report).ok());
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(report["pin"]["factory_pins_refused"], true);
        assert_eq!(report["keys"]["signature"]["touch"], "fixed");

        if personality == Personality::Plain {
            assert!(done.files.attested.is_empty() && enrolled.attestation.is_empty());
        } else {
            assert_eq!(done.files.attested.len(), 3);
            for attested in &done.files.attested {
                // The test authority's root is nobody's but the profile's.
                assert_eq!(attested.vouched, Vouched::Configured("roots.pem".to_owned()));
            }
            assert_eq!(done.files.attested[0].short, ["other-root"]);
            assert_eq!(enrolled.attestation, done.files.attested[0].chain);
            assert_eq!(
                report["keys"]["signature"]["attestation"]["root"],
                serde_json::json!({ "configured": "roots.pem" })
            );
        }
        let secrets = Secrets::of(&done, &security);
        let files: Vec<PathBuf> =
            fs::read_dir(desk.place()).unwrap().map(|entry| entry.unwrap().path()).collect();
        finish(done);
        secrets.assert_work(&card);

        // Again: nothing is sent that changes anything, nothing is made anew, nobody is asked.
        let before: Vec<_> =
            files.iter().filter(|file| file.exists()).map(|f| fs::read(f).unwrap()).collect();
        let count = card.signature_count();
        let (again, asked) = touches(&card, &desk.job(&card));
        let again = again.unwrap();
        assert_eq!((again.writes, again.steps.len(), asked.len()), (0, 0, 0));
        assert_eq!(card.signature_count(), count);
        assert!(again.files.enrolment.is_some());
        let after: Vec<_> = files.iter().filter(|file| file.exists()).map(|f| fs::read(f).unwrap()).collect();
        assert_eq!(before, after);
    }
}

#[test]
fn what_is_gone_or_another_now_is_made_again_and_no_more() {
    let personality = PERSONALITIES[2];
    let security = security();
    let card = card(personality);
    let desk = Desk::with(&whole(personality), &security);
    let done = desk.run(&card).unwrap();
    let secrets = Secrets::of(&done, &security);
    let files = done.files.clone();
    finish(done);
    let with_pin = || Job { user_pin: Some(pin(&secrets.user)), ..desk.job(&card) };
    let (certificate, enrolment) = (files.certificate.unwrap(), files.enrolment.unwrap());

    fs::remove_file(&enrolment).unwrap();
    let survey = desk.survey(&card);
    assert_eq!(survey.plan.steps.iter().map(|it| &it.step).collect::<Vec<_>>(), [&Step::Enrol]);
    let old = fs::read(&certificate).unwrap();
    let (done, asked) = touches(&card, &with_pin());
    finish(done.unwrap());
    assert_eq!(asked, ["prove its key and enrol alice"]);
    assert_eq!(fs::read(&certificate).unwrap(), old);

    // Another expiry: the certificate is signed anew, with a touch for each signature, and each says what for.
    let later = desk.profile.clone();
    let text = whole(personality).replace("2046", "2045");
    let profile = Profile::parse(&text, &desk.folder.path().join("profile.toml")).unwrap();
    assert_ne!(profile.digest(), later.digest());
    let (done, asked) = touches(&card, &Job { profile: profile.clone(), ..with_pin() });
    let done = done.unwrap();
    assert_eq!(
        asked,
        [
            "certify the user id",
            "bind the decryption key",
            "bind the authentication key",
            "prove its key and enrol alice"
        ]
    );
    assert!(!done.steps.iter().any(|it| matches!(it.step, Step::Generate { .. } | Step::AdminPin)));
    finish(done);
    assert_ne!(fs::read(&certificate).unwrap(), old);

    // Another touch policy of another key: its attestation is made again, and with it what encloses it.
    let mut job = Job { admin_pin: Some(pin(&secrets.admin)), profile, ..with_pin() };
    let text = text.replace("touch = \"on\"", "touch = \"off\"");
    job.profile = Profile::parse(&text, &desk.folder.path().join("profile.toml")).unwrap();
    let (done, asked) = touches(&card, &job);
    let done = done.unwrap();
    assert_eq!(asked, ["prove its key and enrol alice"]);
    let attested: Vec<&Step> =
        done.steps.iter().map(|it| &it.step).filter(|it| matches!(it, Step::Attest { .. })).collect();
    assert_eq!(attested, [&Step::Attest { slot: KeySlot::Decryption }]);
    finish(done);

    // Another name: only who holds it is signed anew.
    job.person.name = Some("bob".parse().unwrap());
    let (done, asked) = touches(&card, &job);
    assert_eq!(asked, ["prove its key and enrol bob"]);
    finish(done.unwrap());
}

#[test]
fn the_keys_become_subkeys_of_a_primary_key_that_is_kept_elsewhere() {
    let security = security();
    for personality in PERSONALITIES {
        let text =
            whole(personality).replace("[certificate]\n", "[certificate]\nprimary = \"offline.asc\"\n");
        let desk = Desk::with(&text, &security);
        let (primary, _) = CertBuilder::new()
            .add_userid("Alice <alice@example.org>")
            .set_password(Some(Password::from("correct horse")))
            .generate()
            .unwrap();
        let file = desk.folder.path().join("offline.asc");
        fs::write(&file, primary.as_tsk().armored().to_vec().unwrap()).unwrap();
        let card = card(personality);
        assert_eq!(desk.survey(&card).needs_passphrase, Some(primary.fingerprint()));
        // Nothing is changed before it is known that the primary key opens.
        let error = desk.run(&card).unwrap_err();
        assert!(matches!(error, ProvisionError::Primary { .. }), "{error}");
        let mut job = desk.job(&card);
        job.person.passphrase = Some(Password::from("correct horse"));
        let (done, asked) = touches(&card, &job);
        let done = done.unwrap();
        assert_eq!(asked, ["prove its key and enrol alice"]);
        let cert = Cert::from_bytes(&read(done.files.certificate.as_ref())).unwrap();
        assert_eq!(cert.fingerprint(), primary.fingerprint());
        assert_eq!(cert.keys().count(), 4);
        finish(done);
        // Put away again: it is needed no more.
        fs::remove_file(&file).unwrap();
        assert_eq!(desk.run(&card).unwrap().writes, 0);
    }
}

#[test]
fn an_attestation_that_leads_nowhere_is_said_or_refused() {
    let personality = PERSONALITIES[2];
    let security = security();
    let (head, _) = {
        let whole = whole(personality);
        let (head, tail) = whole.split_once("[attestation]").unwrap();
        (head.to_owned(), tail.to_owned())
    };
    // The profile says nothing: it is kept, and called what it is.
    let open = Desk::with(&head, &security);
    let done = open.run(&card(personality)).unwrap();
    assert!(done.files.attested.iter().all(|attested| attested.vouched == Vouched::Nobody));
    assert_eq!(done.files.attested[0].short, ["unknown-issuer"]);
    // The profile says whom to believe: such a token is not handed out.
    let strict = Desk::with(&format!("{head}[attestation]\n"), &security);
    let error = strict.run(&card(personality)).unwrap_err();
    assert!(matches!(error, ProvisionError::Proof(ProofError::Attestation { .. })), "{error}");
}

#[test]
fn what_cannot_be_certified_is_said_before_anything_is_done() {
    let personality = PERSONALITIES[2];
    let security = security();
    for (text, user_id, words) in [
        (whole(personality), None, "no user id"),
        (whole(personality), Some("Alice\n"), "control characters"),
        (whole(personality).replace("2046", "2020"), Some("Alice"), "expired"),
        ("[certificate]\n".to_owned(), Some("Alice"), "no signature key"),
    ] {
        let card = card(personality);
        let desk = Desk::with(&text, &security);
        let mut job = desk.job(&card);
        job.person.user_id = user_id.map(str::to_owned);
        let error = touches(&card, &job).0.unwrap_err();
        let ProvisionError::Impossible { problems, .. } = &error else { panic!("{error}") };
        assert!(problems.join(" ").contains(words), "{error}");
        assert!(!card.trace().iter().any(|it| matches!(it.command[1], 0xda | 0x20 | 0x47)), "{words}");
    }
}

#[test]
fn an_attestation_key_that_wants_a_touch_is_waited_for() {
    let personality = PERSONALITIES[2];
    let text = whole(personality).replace("[pin]", "attestation = { touch = \"on\" }\n[pin]");
    let desk = Desk::with(&text, &security());
    let card = VirtualCard::builder().finger(Finger::Never).clock(SteppedClock::new()).build();
    let error = desk.run(&card).unwrap_err();
    assert!(matches!(error, ProvisionError::Card(CardError::NotTouched { .. })), "{error}");
    card.set_finger(Finger::Now);
    finish(desk.run(&card).unwrap());
    assert_eq!(desk.run(&card).unwrap().writes, 0);
}
