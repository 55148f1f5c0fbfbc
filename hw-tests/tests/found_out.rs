//! The runner can fail: a card that does otherwise is found out, whatever it does otherwise.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use hw_tests::card::{Backend, CardFailure, TestCard};
use hw_tests::runner::{Tools, run};
use hw_tests::script::{Script, Touching};
use virtual_openpgp_card::{Effect, Fault, Finger, Pattern, VirtualCard};

/// A card with something wrong.
struct Faulty {
    fault: Option<Fault>,
    card: VirtualCard,
}

impl TestCard for Faulty {
    fn connect(&mut self) -> Result<Backend, CardFailure> {
        self.card.reset();
        Ok(self.card.backend().into())
    }

    fn renew(&mut self) -> Result<(), CardFailure> {
        self.card = VirtualCard::builder().finger(Finger::Now).build();
        if let Some(fault) = self.fault.take() {
            self.card.add_fault(fault);
        }
        Ok(())
    }

    fn finger(&mut self, _: Touching) -> Result<(), CardFailure> {
        Ok(())
    }

    fn wait(&mut self, _: Duration) {}
}

/// What is wrong with a card that has that fault, in the eyes of that script.
fn complaint(fault: Option<Fault>, steps: &str) -> String {
    let script =
        Script::parse("test", &format!("# Shows.\nsource: nowhere\n\nselect -> 9000\n{steps}")).unwrap();
    let mut card = Faulty { fault, card: VirtualCard::builder().build() };
    run(&script, &mut card, &Tools::new().unwrap()).unwrap_err().why.to_string()
}

#[test]
fn statuses_and_data_that_differ() {
    for (steps, wanted) in [
        ("get 5B -> 6A88", "the status is 9000, expected 6A88"),
        ("get 5B -> 9000 \"Ada\"", "the data is , expected: 416461"),
        ("get 4F -> 9000 length 15", "expected: 15 bytes"),
        ("get 4F -> 9000 starts D27601", "expected: D27601…"),
        ("get 6E -> 9000 has 6E/73/D5", "expected: 6E/73/D5"),
        ("get 6E -> 9000 has 6E/73/C4 00", "expected: 6E/73/C4 00"),
        ("counter is 1", "the data is 000000, expected: 000001"),
        ("tries are 3 3 3", "the data is 030003, expected: 030303"),
        ("verify pw1 right -> 6982", "the status is 9000, expected 6982"),
        ("sign \"x\" -> 6982\npublic signature -> 9000", "the status is 6A88, expected 9000"),
        ("challenge 8 -> 9000 length 9", "expected: 9 bytes"),
        ("raw 0020008105 -> 61xx", "the status is 63C3, expected 61xx"),
    ] {
        let complaint = complaint(None, steps);
        assert!(complaint.contains(wanted), "{steps}: {complaint}");
    }
}

const SIGNS: &str = "verify pw3 right -> 9000\nimport signature ed25519 -> 9000\npublic signature -> 9000
verify pw1-sign right -> 9000\nsign \"text\" -> 9000";

#[test]
fn answers_that_lie() {
    let replaced = |header: Pattern, answer: &[u8]| Some(Fault::on(header, Effect::Replace(answer.to_vec())));
    let ok = |data: &[u8]| [data, &[0x90, 0x00]].concat();
    let signature = replaced(Pattern::header(0x2A, 0x9E, 0x9A), &ok(&[7; 64]));
    assert!(complaint(signature, SIGNS).contains("openssl pkeyutl says: "));
    let point = [&[0x7F, 0x49, 0x22, 0x86, 0x20][..], &[7; 32]].concat();
    let key = replaced(Pattern::header(0x47, 0x81, 0x00), &ok(&point));
    assert!(complaint(key, SIGNS).contains("the data is "));
    let version = replaced(Pattern::header(0xF1, 0x00, 0x00), &ok(&[5, 7]));
    assert!(complaint(version, SIGNS).contains("a version of three bytes"));
    let silent = Some(Fault::on(Pattern::header(0x2A, 0x9E, 0x9A), Effect::RemovedBefore));
    assert!(complaint(silent, SIGNS).contains("the card cannot be reached"));
    let endless = replaced(Pattern::header(0xCA, 0x00, 0x4F), &[0x61]);
    assert!(complaint(endless, SIGNS).contains("fewer than SW1-SW2"));
}

#[test]
fn a_wrong_plain_text() {
    let fault =
        Fault::on(Pattern::header(0x2A, 0x80, 0x86), Effect::Replace([&[7; 32][..], &[0x90, 0]].concat()));
    let steps = "verify pw3 right -> 9000\nimport decryption x25519 -> 9000\nverify pw1 right -> 9000
decipher \"\" -> 9000";
    assert!(complaint(Some(fault), steps).starts_with("the data is 0707"));
}

#[test]
fn an_attestation_that_says_something_else() {
    let steps = |says: &str| {
        format!(
            "verify pw3 right -> 9000\nalgorithm signature p256 -> 9000\ngenerate signature -> 9000
uif signature on -> 9000\nverify pw1-sign right -> 9000\nsign \"x\" -> 9000\nattest signature -> 9000
attested signature touch {says}\nget 5B -> 9000 \"no such name\""
        )
    };
    assert!(complaint(None, &steps("on counter 1")).starts_with("the data is"), "the last step");
    assert!(complaint(None, &steps("fixed")).contains("touch policy is 040101, not 040102"));
    assert!(complaint(None, &steps("on counter 2")).contains("counter is"));
    let unasked = "verify pw3 right -> 9000\nalgorithm signature p256 -> 9000\ngenerate signature -> 9000
attested signature touch off";
    assert!(complaint(None, unasked).contains("DO 7F21 holds no certificate"));
}
