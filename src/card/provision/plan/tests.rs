use std::path::Path;

use super::*;
use crate::card::ident::Ident;

/// A YubiKey 5.7.4 as delivered.
fn blank() -> Observed {
    let slot = || SlotState {
        algorithm: Some(KeyAlgorithm::Rsa2048),
        origin: Origin::Absent,
        fingerprint: [0; 20],
        created: 0,
        touch: TouchPolicy::Off,
        attributes: vec![1, 8, 0, 0, 0x11, 0],
        public: None,
    };
    Observed {
        ident: Ident { manufacturer: 6, serial: 0x1234_5678 },
        firmware: Some([5, 7, 4]),
        tries: [3, 0, 3],
        longest: [127; 3],
        pin_for_each_signature: false,
        kdf_supported: true,
        kdf: Some(vec![0x81, 1, 0]),
        slots: [slot(), slot(), slot()],
        attestation_touch: Some(TouchPolicy::Off),
        attests: true,
        holder: Default::default(),
        offered: None,
    }
}

fn profile(text: &str) -> Profile {
    Profile::parse(text, Path::new("p.toml")).unwrap()
}

fn position(plan: &Plan, wanted: impl Fn(&Step) -> bool) -> usize {
    plan.steps.iter().position(|planned| wanted(&planned.step)).unwrap()
}

#[test]
fn what_resets_comes_first_and_what_stays_comes_last() {
    let text = "[keys]\nsignature = { algorithm = \"ed25519\" }\ndecryption = { algorithm = \"cv25519\" }\n\
                [pin]\nkdf = true\ntries = { user = 5, resetting_code = 4, admin = 6 }\nresetting_code = \"random\"\n\
                [holder]\nname = \"Alice Example\"\n";
    let plan = plan(&profile(text), &blank(), &Memory::default(), &Imports::new());
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    assert!(plan.erases.is_empty());
    let order = [
        position(&plan, |step| matches!(step, Step::Tries(_))),
        position(&plan, |step| matches!(step, Step::Kdf(true))),
        position(&plan, |step| matches!(step, Step::AdminPin)),
        position(&plan, |step| matches!(step, Step::UserPin)),
        position(&plan, |step| matches!(step, Step::ResettingCode(true))),
        position(&plan, |step| matches!(step, Step::Algorithm { slot: KeySlot::Signature, .. })),
        position(&plan, |step| matches!(step, Step::Generate { slot: KeySlot::Signature, .. })),
        position(&plan, |step| matches!(step, Step::Label { slot: KeySlot::Signature })),
        position(&plan, |step| matches!(step, Step::PinForEachSignature(true))),
        position(&plan, |step| matches!(step, Step::Holder { .. })),
        position(&plan, |step| matches!(step, Step::Touch { slot: Some(KeySlot::Decryption), .. })),
        position(&plan, |step| matches!(step, Step::Touch { slot: Some(KeySlot::Signature), .. })),
        position(&plan, |step| matches!(step, Step::Attest { slot: KeySlot::Signature })),
        position(&plan, |step| matches!(step, Step::Prove)),
    ];
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(order.last(), Some(&(plan.steps.len() - 1)));
    assert!(plan.has(|step| matches!(step, Step::Holder { text, .. } if text == "Alice<Example")));
}

#[test]
fn keys_that_would_go_are_named() {
    let wants = profile("[keys]\nsignature = { algorithm = \"ed25519\" }\n");
    let mut now = blank();
    now.slots[0].origin = Origin::Generated;
    let erasing = plan(&wants, &now, &Memory::default(), &Imports::new());
    assert_eq!(erasing.erases, [KeySlot::Signature]);
    // Not again for what an interrupted run had begun.
    let memory = Memory { begun: [true, false, false], ..Memory::default() };
    assert!(plan(&wants, &now, &memory, &Imports::new()).erases.is_empty());
    // A slot that the profile does not name is left alone.
    assert!(plan(&profile(""), &now, &Memory::default(), &Imports::new()).erases.is_empty());
}

#[test]
fn what_a_card_cannot_become_is_said_before_anything_is_done() {
    let problem = |text: &str, now: &Observed| {
        let plan = plan(&profile(text), now, &Memory::default(), &Imports::new());
        plan.problems.join("; ")
    };
    let mut plain = blank();
    plain.firmware = None;
    plain.attests = false;
    plain.kdf_supported = false;
    plain.slots[0].touch = TouchPolicy::None;
    for (text, words) in [
        ("[pin]\ntries = { user = 5, resetting_code = 5, admin = 5 }", "cannot change how many tries"),
        ("[pin]\nkdf = true", "no KDF object"),
        ("[keys]\nsignature = { algorithm = \"ed25519\" }", "no touch policy"),
        ("[keys]\nauthentication = { algorithm = \"ed25519\", touch = \"cached\" }", "no cached touch"),
    ] {
        assert!(problem(text, &plain).contains(words), "{text}: {}", problem(text, &plain));
        assert_eq!(problem(text, &blank()), "", "{text}");
    }
    let mut offered = blank();
    offered.offered = Some(vec![0xc1, 6, 1, 8, 0, 0, 0x11, 0]);
    let ed25519 = "[keys]\nsignature = { algorithm = \"ed25519\" }";
    assert!(problem(ed25519, &offered).contains("no ed25519"));
    let mut fixed = blank();
    fixed.attestation_touch = Some(TouchPolicy::Fixed);
    assert!(problem("[keys]\nattestation = { touch = \"off\" }", &fixed).contains("another key"));
}

#[test]
fn pins_are_set_once_unless_something_resets_them() {
    let memory =
        Memory { admin_set: true, user_set: true, proved: true, tries: Some([3; 3]), ..Memory::default() };
    let mut now = blank();
    now.pin_for_each_signature = true;
    assert!(plan(&profile(""), &now, &memory, &Imports::new()).is_done());
    for text in ["[pin]\nkdf = true", "[pin]\ntries = { user = 4, resetting_code = 4, admin = 4 }"] {
        let plan = plan(&profile(text), &now, &memory, &Imports::new());
        assert!(plan.has(|step| *step == Step::AdminPin) && plan.has(|step| *step == Step::UserPin));
        assert!(plan.has(|step| *step == Step::Prove));
    }
    now.tries = [3, 2, 3];
    let plan = plan(&profile(""), &now, &memory, &Imports::new());
    assert!(plan.has(|step| *step == Step::ResettingCode(false)));
}
