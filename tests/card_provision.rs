//! Provisioning on the virtual card: what comes of it, what it refuses, and what its proof would notice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
#![cfg(all(unix, feature = "virtual-card"))]

mod provision_support;

use provision_support::*;
use touchgate::card::KeySlot;
use touchgate::card::TouchPolicy;
use touchgate::card::provision::Origin;
use virtual_openpgp_card::VirtualCard;

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
