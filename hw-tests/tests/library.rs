//! What runs on real tokens beside the scripts, on the virtual card: Touchgate's own functions, and the measurements.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use hw_tests::card::InProcess;
use hw_tests::library::go_through;
use hw_tests::measure::measure;
use touchgate::card::slot::Slot;
use virtual_openpgp_card::{Firmware, Personality, VirtualCard};

const PERSONALITIES: [Personality; 4] = [
    Personality::Plain,
    Personality::Yubikey(Firmware::V5_2_7),
    Personality::Yubikey(Firmware::V5_4_3),
    Personality::Yubikey(Firmware::V5_7_4),
];

#[test]
fn every_function_works_on_every_card() {
    for personality in PERSONALITIES {
        let card = VirtualCard::builder().personality(personality).build();
        let slot: Arc<dyn Slot> = Arc::new(touchgate::card::InProcess::virtual_card(&card));
        go_through(&slot, tempfile::tempdir().unwrap().path())
            .unwrap_or_else(|error| panic!("{personality:?}: {error}"));
        assert_eq!(card.pin_tries(), [3, 0, 3]);
    }
}

#[test]
fn what_is_measured_is_what_the_card_does() {
    for personality in PERSONALITIES {
        let measured = measure(&mut InProcess::new(personality)).unwrap();
        println!("{personality:?}\n{measured}");
        let (status, _) = measured.missed_touch.unwrap();
        let (missed, attests) = match personality {
            Personality::Plain => (0x6982, None),
            Personality::Yubikey(_) => (0x6600, Some(0)),
        };
        assert_eq!((status, measured.attesting_counts), (missed, attests), "{personality:?}");
        assert_eq!(measured.inputs.len(), 6);
        for input in &measured.inputs {
            assert!(input.said.iter().any(|(_, status)| *status == 0x9000), "{input:04x?}");
        }
    }
}
