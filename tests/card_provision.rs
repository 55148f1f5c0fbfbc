//! Provisioning on the virtual card: what comes of it, what it refuses, and what its proof would notice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![cfg(all(unix, feature = "virtual-card"))]

mod provision_support;

use provision_support::{
    Desk, PERSONALITIES, Secrets, everything, finish, ident, patience, pin, run, security, slot,
};
use sequoia_openpgp::cert::{CertBuilder, CipherSuite};
use sequoia_openpgp::serialize::SerializeInto;
use touchgate::card::provision::{
    FACTORY_ADMIN, FACTORY_USER, Job, Origin, Pins, ProofError, ProvisionError, Step, UserPinNeed, prove_pins,
};
use touchgate::card::{CardError, KeySlot, Tape, TouchPolicy};
use virtual_openpgp_card::{Algorithm, Effect, Fault, Finger, Pattern, Slot, SteppedClock, VirtualCard};

#[test]
fn a_blank_token_becomes_what_the_profile_says_and_stays_so() {
    let security = security();
    for personality in PERSONALITIES {
        let card = VirtualCard::builder().personality(personality).build();
        let desk = Desk::with(&everything(personality), &security);
        let done = desk.run(&card).unwrap();
        assert!(done.writes > 0);
        let secrets = Secrets::of(&done, &security);
        let signature = done.observed.slot(KeySlot::Signature);
        assert_eq!((signature.origin, signature.touch), (Origin::Generated, TouchPolicy::Fixed));
        assert_eq!(done.observed.slot(KeySlot::Decryption).touch, TouchPolicy::On);
        for slot in KeySlot::ALL {
            assert!(done.observed.slot(slot).labelled(slot), "{slot}");
        }
        assert!(done.observed.pin_for_each_signature && done.observed.kdf_on());
        assert_eq!(done.observed.holder, ["Alice<Example", "alice", "https://example.org/alice.asc", "en"]);
        secrets.assert_work(&card);
        finish(done);
        assert!(!desk.place().join("pending.json").exists());

        let commands = card.command_count();
        let again = desk.run(&card).unwrap();
        println!(
            "{personality:?}: again {} commands, {} writes",
            card.command_count() - commands,
            again.writes
        );
        assert_eq!((again.writes, again.steps.len(), again.tell.len()), (0, 0, 0));
        let verifies = |header: &[u8]| header[1] == 0x20;
        let since = usize::try_from(card.command_count() - commands).unwrap();
        let trace = card.trace();
        assert!(!trace[trace.len() - since..].iter().any(|exchange| verifies(&exchange.command)));
        secrets.assert_work(&card);
    }
}

#[test]
fn looking_changes_nothing() {
    let card = VirtualCard::builder().build();
    let desk = Desk::new(&everything(PERSONALITIES[2]));
    let survey = desk.survey(&card);
    assert!(!survey.plan.is_done() && !survey.resumes);
    assert!(!card.trace().iter().any(|exchange| writes(&exchange.command)));
    assert!(!desk.place().exists());
    // And of a token that is as the profile says.
    finish(desk.run(&card).unwrap());
    assert!(desk.survey(&card).plan.is_done());
    // Of PINs nothing but the record tells: without it they count as not set.
    std::fs::remove_file(desk.place().join("provisioned.json")).unwrap();
    assert!(desk.survey(&card).plan.has(|step| *step == Step::AdminPin));
}

#[test]
fn a_token_that_was_set_back_is_a_blank_one() {
    let card = VirtualCard::builder().build();
    let desk = Desk::new(&everything(PERSONALITIES[2]));
    let old = desk.run(&card).unwrap();
    let old_secrets = Secrets::of(&old, &desk.security);
    finish(old);
    // As ykman does it: both PINs blocked, then TERMINATE DF and ACTIVATE FILE.
    card.transmit(&[0x00, 0xa4, 0x04, 0x00, 6, 0xd2, 0x76, 0x00, 0x01, 0x24, 0x01]).unwrap();
    for reference in [0x81, 0x83] {
        for _ in 0..6 {
            let wrong = [&[0x00, 0x20, 0x00, reference, 32][..], &[7; 32]].concat();
            card.transmit(&wrong).unwrap();
        }
    }
    assert_eq!(card.transmit(&[0x00, 0xe6, 0x00, 0x00]).unwrap(), [0x90, 0x00]);
    assert_eq!(card.transmit(&[0x00, 0x44, 0x00, 0x00]).unwrap(), [0x90, 0x00]);
    let survey = desk.survey(&card);
    assert!(survey.plan.has(|step| *step == Step::AdminPin) && !survey.needs_admin_pin);
    let done = desk.run(&card).unwrap();
    let secrets = Secrets::of(&done, &desk.security);
    assert_ne!(secrets.admin, old_secrets.admin);
    secrets.assert_work(&card);
}

#[test]
fn keys_are_erased_only_for_the_serial_typed_back() {
    let card = VirtualCard::builder().build();
    card.generate(Slot::Signature, Algorithm::NistP256, 1_700_000_000).unwrap();
    let before = card.public_key(Slot::Signature);
    let desk = Desk::new(&everything(PERSONALITIES[2]));
    let error = desk.run(&card).unwrap_err();
    assert!(
        matches!(&error, ProvisionError::Erases { slots, .. } if slots == &[KeySlot::Signature]),
        "{error}"
    );
    let other = Job { erase: Some("87654321".parse().unwrap()), ..desk.job(&card) };
    assert!(matches!(run(&card, &other), Err(ProvisionError::Erases { .. })));
    assert!(!card.trace().iter().any(|exchange| writes(&exchange.command)));
    assert_eq!(card.public_key(Slot::Signature), before);
    let typed = Job { erase: Some(ident(&card)), ..desk.job(&card) };
    finish(run(&card, &typed).unwrap());
    assert_ne!(card.public_key(Slot::Signature), before);
}

#[test]
fn the_job_is_for_one_token() {
    let card = VirtualCard::builder().serial(1111).build();
    let other = VirtualCard::builder().serial(2222).build();
    let desk = Desk::new("[pin]\nuser = \"random\"\n");
    let error = run(&other, &desk.job(&card)).unwrap_err();
    assert!(matches!(error, ProvisionError::Card(CardError::Changed { .. })), "{error}");
    assert!(!other.trace().iter().any(|exchange| writes(&exchange.command)));
    // A folder that holds another token's secrets is not written to.
    finish(run(&card, &desk.job(&card)).unwrap());
    let error = run(&other, &desk.job(&other)).unwrap_err();
    assert!(matches!(error, ProvisionError::OtherToken { .. }), "{error}");
}

#[test]
fn an_admin_pin_that_is_not_the_factorys_costs_one_try_once() {
    let card = VirtualCard::builder().build();
    let desk = Desk::new("[pin]\nuser = \"random\"\n");
    let first = desk.run(&card).unwrap();
    let old = first.tell.iter().find(|told| told.what == "admin PIN").unwrap().secret.to_string();
    finish(first);
    // Somebody else's token now: nothing is known of it.
    let desk = Desk::new("[pin]\nuser = \"random\"\nresetting_code = \"random\"\n");
    for _ in 0..3 {
        let error = desk.run(&card).unwrap_err();
        assert!(matches!(error, ProvisionError::AdminPinUnknown { left: 2, .. }), "{error}");
        assert_eq!(card.pin_tries()[2], 2);
    }
    let told = Job { admin_pin: Some(pin(&old)), ..desk.job(&card) };
    let done = run(&card, &told).unwrap();
    let secrets = Secrets::of(&done, &desk.security);
    assert!(secrets.admin != old && secrets.code.is_some());
    secrets.assert_work(&card);
}

#[test]
fn a_provisioned_token_changes_with_its_admin_pin_alone() {
    let card = VirtualCard::builder().build();
    let mut desk = Desk::new(&everything(PERSONALITIES[2]));
    let done = desk.run(&card).unwrap();
    let secrets = Secrets::of(&done, &desk.security);
    finish(done);
    desk.profile.holder.login = Some("bob".to_owned());
    let before = card.pin_tries();
    assert!(matches!(desk.run(&card), Err(ProvisionError::AdminPinNeeded { .. })));
    assert_eq!(card.pin_tries(), before);
    let done = run(&card, &Job { admin_pin: Some(pin(&secrets.admin)), ..desk.job(&card) }).unwrap();
    assert_eq!((done.writes, done.observed.holder[1].as_str()), (1, "bob"));
    assert!(done.tell.is_empty());
    finish(done);
    secrets.assert_work(&card);
    // What resets the PINs sets new ones.
    desk.profile.pin.kdf = Some(false);
    let job = Job { admin_pin: Some(pin(&secrets.admin)), ..desk.job(&card) };
    let done = run(&card, &job).unwrap();
    let newer = Secrets::of(&done, &desk.security);
    assert!(newer.admin != secrets.admin && newer.user != secrets.user);
    finish(done);
    newer.assert_work(&card);
}

#[test]
fn pins_that_anybody_would_try_are_refused_before_anything_is_done() {
    for (complexity, text) in [(false, "123456"), (true, "123456"), (true, "112233"), (false, "000000")] {
        let card = VirtualCard::builder().pin_complexity(complexity).build();
        let desk = Desk::new("[keys]\nsignature = { algorithm = \"p256\" }\n");
        assert_eq!(desk.survey(&card).needs_user_pin, Some(UserPinNeed::New));
        assert!(matches!(desk.run(&card), Err(ProvisionError::UserPinNeeded { new: true, .. })));
        let job = |text: &str| Job { user_pin: Some(pin(text)), ..desk.job(&card) };
        let error = run(&card, &job(text)).unwrap_err();
        assert!(matches!(error, ProvisionError::BadPin { .. }), "{error}");
        assert!(!card.trace().iter().any(|exchange| writes(&exchange.command)));
        let done = run(&card, &job("271828")).unwrap();
        // Whoever typed it knows it: only what was made here is told.
        assert_eq!(done.tell.iter().map(|told| told.what).collect::<Vec<_>>(), ["admin PIN"]);
    }
}

/// A token that says yes to a new PIN and keeps the old one, and one that takes both.
#[test]
fn a_factory_pin_that_still_works_is_noticed() {
    let security = security();
    let desk = || Desk::with("[pin]\nuser = \"random\"\n", &security);
    let swallowed = |instruction| Fault::on(Pattern::instruction(instruction), Effect::Status(0x9000));
    // CHANGE REFERENCE DATA of the admin PIN; RESET RETRY COUNTER for the user PIN. With three tries the last
    // ones are worth more than knowing which old PIN it is.
    let five = "[pin]\nuser = \"random\"\ntries = { user = 5, resetting_code = 5, admin = 5 }\n";
    for (instruction, name) in [(0x24, "admin"), (0x2c, "user")] {
        let card = VirtualCard::builder().fault(swallowed(instruction)).build();
        let error = Desk::with(five, &security).run(&card).map(|done| done.steps).unwrap_err();
        let ProvisionError::Proof(ProofError::FactoryPinAccepted { whose }) = &error else {
            panic!("{error}")
        };
        assert_eq!(*whose, name);
    }
    let card = VirtualCard::builder().fault(swallowed(0x2c)).build();
    let error = desk().run(&card).map(|done| done.steps).unwrap_err();
    assert!(matches!(error, ProvisionError::Proof(ProofError::NewPinRefused { whose: "user" })), "{error}");
    assert_eq!(card.pin_tries()[0], 2);
    // Whatever is presented is taken: the right PIN proves nothing then.
    for (reference, name) in [(0x81, "user"), (0x83, "admin")] {
        let takes_all = Fault::on(Pattern::header(0x20, 0, reference), Effect::Status(0x9000));
        let card = VirtualCard::builder().build();
        let done = desk().run(&card).unwrap();
        let secrets = Secrets::of(&done, &security);
        card.add_fault(takes_all.every_time());
        let pins = Pins { user: pin(&secrets.user), admin: Some(pin(&secrets.admin)), resetting_code: None };
        let error = prove_pins(&slot(&card), &pins, &Tape::default(), &patience()).unwrap_err();
        let ProvisionError::Proof(ProofError::FactoryPinAccepted { whose }) = &error else {
            panic!("{error}")
        };
        assert_eq!(*whose, name);
    }
    // Somebody says that the PINs of the factory are the new ones.
    let card = VirtualCard::builder().build();
    let pins = Pins { user: pin(FACTORY_USER), admin: Some(pin(FACTORY_ADMIN)), resetting_code: None };
    let error = prove_pins(&slot(&card), &pins, &Tape::default(), &patience()).unwrap_err();
    assert!(matches!(error, ProvisionError::Proof(ProofError::FactoryPinAccepted { .. })), "{error}");
}

#[test]
fn a_proof_never_spends_the_last_try() {
    let card = VirtualCard::builder().build();
    let desk = Desk::new("[pin]\nuser = \"random\"\n");
    let secrets = Secrets::of(&desk.run(&card).unwrap(), &desk.security);
    let wrong = Pins { user: pin("999999"), admin: None, resetting_code: None };
    for _ in 0..5 {
        let error = prove_pins(&slot(&card), &wrong, &Tape::default(), &patience()).unwrap_err();
        assert!(matches!(error, ProvisionError::Proof(_)), "{error}");
        assert!(card.pin_tries()[0] >= 1);
    }
    assert_eq!(card.pin_tries()[0], 1);
    let right = Pins { user: pin(&secrets.user), admin: Some(pin(&secrets.admin)), resetting_code: None };
    let error = prove_pins(&slot(&card), &right, &Tape::default(), &patience()).unwrap_err();
    assert!(matches!(error, ProvisionError::Proof(ProofError::TooFewTries { left: 1, .. })), "{error}");
}

#[test]
fn a_missed_touch_ends_the_run_and_the_next_one_proves() {
    let card = VirtualCard::builder().finger(Finger::Never).clock(SteppedClock::new()).build();
    let desk = Desk::new(&everything(PERSONALITIES[2]));
    let error = desk.run(&card).unwrap_err();
    assert!(matches!(error, ProvisionError::Card(CardError::NotTouched { .. })), "{error}");
    assert!(desk.place().join("pending.json").exists());
    card.set_finger(Finger::Now);
    let done = desk.run(&card).unwrap();
    let secrets = Secrets::of(&done, &desk.security);
    // Cut off before anybody was told: the next run tells.
    drop(done);
    let again = desk.run(&card).unwrap();
    assert_eq!(again.writes, 0);
    assert_eq!(Secrets::of(&again, &desk.security).user, secrets.user);
    finish(again);
    assert!(desk.run(&card).unwrap().tell.is_empty());
}

#[test]
fn a_key_from_a_file_is_imported_and_said() {
    let security = security();
    for personality in PERSONALITIES {
        let key = CertBuilder::new()
            .set_cipher_suite(CipherSuite::P256)
            .add_userid("Alice <alice@example.org>")
            .add_signing_subkey()
            .add_transport_encryption_subkey()
            .generate()
            .unwrap()
            .0;
        let text = "[keys]\nsignature = { algorithm = \"p256\", import = \"key.asc\" }\n\
                    decryption = { algorithm = \"p256\", import = \"key.asc\", touch = \"off\" }\n[pin]\nuser = \"random\"\n";
        let desk = Desk::with(text, &security);
        let file = desk.folder.path().join("key.asc");
        std::fs::write(&file, key.as_tsk().armored().to_vec().unwrap()).unwrap();
        let card = VirtualCard::builder().personality(personality).build();
        assert!(desk.survey(&card).plan.notes.iter().any(|note| note.contains("comes from a file")));
        let done = desk.run(&card).unwrap();
        for slot in [KeySlot::Signature, KeySlot::Decryption] {
            let state = done.observed.slot(slot);
            assert_eq!(state.origin, Origin::Imported);
            assert!(key.keys().any(|key| key.key().fingerprint().as_bytes() == state.fingerprint), "{slot}");
        }
        finish(done);
        assert_eq!(desk.run(&card).unwrap().writes, 0);
        std::fs::write(&file, key.armored().to_vec().unwrap()).unwrap();
        assert!(matches!(desk.run(&card), Err(ProvisionError::Import { .. })));
    }
}

#[test]
fn what_is_written_is_for_its_owner_alone_and_holds_no_secret_in_the_end() {
    use std::os::unix::fs::PermissionsExt;
    let card = VirtualCard::builder().build();
    let desk = Desk::new(&everything(PERSONALITIES[2]));
    card.set_finger(Finger::Never);
    let mode = |name: &str| std::fs::metadata(desk.place().join(name)).unwrap().permissions().mode() & 0o777;
    let done = desk.run(&card);
    assert!(done.is_err());
    assert_eq!((mode(""), mode("pending.json")), (0o700, 0o600));
    card.set_finger(Finger::Now);
    let done = desk.run(&card).unwrap();
    let secrets = Secrets::of(&done, &desk.security);
    finish(done);
    for entry in std::fs::read_dir(desk.place()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in [&secrets.user, &secrets.admin, secrets.code.as_ref().unwrap()] {
            assert!(!text.contains(secret.as_str()), "{}", path.display());
        }
    }
    // Others could put a PIN of theirs there.
    std::fs::set_permissions(desk.place(), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(desk.run(&card), Err(ProvisionError::Unsafe { .. })));
}

fn writes(command: &[u8]) -> bool {
    matches!(command, [_, 0x20 | 0x24 | 0x2c | 0xda | 0xdb | 0xf2 | 0xfb, ..] | [_, 0x47, 0x80, ..])
}

/// SET PIN RETRIES may leave PINs of the factory as they are typed, which a token that derives PINs never takes.
#[test]
fn tries_are_set_on_a_token_that_derives_pins() {
    for personality in &PERSONALITIES[..3] {
        let card = VirtualCard::builder().personality(*personality).build();
        let first = Desk::new(&everything(*personality));
        let done = first.run(&card).unwrap();
        let mut admin = Secrets::of(&done, &first.security).admin;
        finish(done);
        // Another desk, without a record of it.
        let desk = |kdf: &str| {
            let tries = "tries = { user = 7, resetting_code = 7, admin = 7 }";
            Desk::new(&format!("[pin]\nuser = \"random\"\n{kdf}{tries}\n"))
        };
        let error = desk("").run(&card).unwrap_err();
        assert!(matches!(error, ProvisionError::Impossible { .. }), "{error}");
        for on in [true, false] {
            let desk = desk(&format!("kdf = {on}\n"));
            let mut job = desk.job(&card);
            job.admin_pin = Some(pin(&admin));
            let done = run(&card, &job).unwrap();
            assert_eq!((done.observed.kdf_on(), card.pin_tries()), (on, [7, 0, 7]));
            let secrets = Secrets::of(&done, &desk.security);
            secrets.assert_work(&card);
            admin = secrets.admin;
            finish(done);
        }
    }
}
