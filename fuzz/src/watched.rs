//! A card whose every answer is checked.

use std::time::Duration;

use virtual_openpgp_card::{
    Algorithm, Effect, Fault, Finger, Firmware, Personality, Slot, SteppedClock, VirtualCard,
};

/// Longest answer: what the cards announce in DO 7F66, and SW1-SW2.
const LONGEST_ANSWER: usize = 3072 + 2;

/// SELECT of the OpenPGP application.
pub const SELECT: &[u8] = b"\x00\xA4\x04\x00\x06\xD2\x76\x00\x01\x24\x01\x00";

/// Answers that take milliseconds, in one input: RSA and attestations. More teach nothing.
const COSTLY_ANSWERS: u32 = 4;

/// A card on a stepped clock: whatever it waits for costs no time.
pub struct Watched {
    pub card: VirtualCard,
    pub clock: SteppedClock,
    powered: bool,
    costly: u32,
}

/// One of five cards.
pub fn personality(choice: u8) -> Personality {
    match choice % 5 {
        0 => Personality::Plain,
        1 => Personality::Yubikey(Firmware::new(5, 1, 2)),
        2 => Personality::Yubikey(Firmware::V5_2_7),
        3 => Personality::Yubikey(Firmware::V5_4_3),
        _ => Personality::Yubikey(Firmware::V5_7_4),
    }
}

impl Watched {
    /// Three bits of `choice` say which card it is, the others switch what any card may lack.
    ///
    /// Its algorithm attributes are those of curves where it has curves: RSA keys take too long to make.
    pub fn new(choice: u8) -> Self {
        let clock = SteppedClock::new();
        let bit = |number: u8| choice >> number & 1 == 1;
        let card = VirtualCard::builder()
            .personality(personality(choice & 7))
            .clock(clock.clone())
            .command_chaining(!bit(3))
            .extended_length(!bit(4))
            .button(!bit(5))
            .pin_complexity(bit(6))
            .finger(if bit(7) { Finger::EveryNth(2) } else { Finger::Now })
            .build();
        for (slot, algorithm) in [
            (Slot::Signature, Algorithm::Ed25519),
            (Slot::Decryption, Algorithm::X25519),
            (Slot::Authentication, Algorithm::Ed25519),
        ] {
            // The oldest card has no curves.
            let _ = card.generate(slot, algorithm, 7);
        }
        Self { card, clock, powered: true, costly: 0 }
    }

    /// Sends a command and checks the answer; data and status, nothing where the card has no power or where the
    /// command would take too long.
    pub fn send(&mut self, command: &[u8]) -> Option<(Vec<u8>, u16)> {
        if self.costly >= COSTLY_ANSWERS || self.makes_slow_key(command) {
            return None;
        }
        let tries = self.card.pin_tries();
        let signatures = self.card.signature_count();
        let Ok(mut data) = self.card.transmit(command) else {
            assert!(!self.powered, "a card with power gave no answer to {command:02X?}");
            return None;
        };
        assert!(self.powered, "a card without power answered {command:02X?}");
        let status = check(command, &mut data);
        let (instruction, first, second) = match command {
            [_, instruction, p1, p2, ..] => (*instruction, *p1, *p2),
            _ => (0, 0, 0),
        };
        if matches!(instruction, 0x20 | 0x24 | 0x2C) {
            let lost: u8 =
                tries.iter().zip(self.card.pin_tries()).map(|(old, new)| old.saturating_sub(new)).sum();
            assert!(lost <= 1, "{command:02X?} cost {lost} tries");
        }
        if self.card.signature_count() > signatures {
            assert!(
                (instruction, first, second) == (0x2A, 0x9E, 0x9A)
                    && self.card.signature_count() == signatures + 1
                    && (status == 0x9000 || status >> 8 == 0x61),
                "{command:02X?} was counted as a signature"
            );
        }
        let attested = instruction == 0xFB && status == 0x9000;
        let rsa = matches!(instruction, 0x2A | 0x88) && data.len() >= 256;
        self.costly += u32::from(attested || rsa);
        Some((data, status))
    }

    /// Arranges a fault for the next command and sends it: whatever comes back, or nothing.
    pub fn send_with_fault(&mut self, effect: Effect, command: &[u8]) {
        if self.costly >= COSTLY_ANSWERS || self.makes_slow_key(command) || !self.powered {
            return;
        }
        let twice = effect == Effect::DuplicateAnswer;
        self.card.add_fault(Fault::at(self.card.command_count(), effect));
        let _ = self.card.transmit(command);
        self.card.clear_faults();
        if twice {
            // Not with the answer to a command that is checked.
            let _ = self.card.transmit(b"\x00\xCA\x00\x4F\x00");
        }
        self.powered = self.card.is_inserted();
    }

    pub fn reset(&mut self) {
        self.card.reset();
        self.powered = self.card.is_inserted();
    }

    pub fn power_off(&mut self) {
        self.card.power_off();
        self.powered = false;
    }

    pub fn pull_and_insert(&mut self) {
        self.card.pull();
        assert!(self.card.transmit(SELECT).is_err(), "a card that is not there answered");
        self.card.insert();
        self.powered = true;
    }

    pub fn advance(&mut self, seconds: u8) {
        self.clock.advance(Duration::from_secs(seconds.into()));
    }

    /// Whatever happened, the card can be selected after a reset, and its trace can be written.
    pub fn finish(mut self) {
        self.card.insert();
        self.reset();
        let mut answer = self.card.transmit(SELECT).unwrap_or_default();
        let status = check(SELECT, &mut answer);
        assert!(matches!(status, 0x9000 | 0x6285), "SELECT gave {status:04X} in the end");
        for exchange in self.card.trace() {
            assert!(exchange.to_string().contains(" -> "));
        }
    }

    /// Whether the command makes an RSA key: that takes up to seconds. A chained GENERATE counts as one.
    fn makes_slow_key(&self, command: &[u8]) -> bool {
        let [class, 0x47, 0x80, _, data @ ..] = command else { return false };
        // These reads make the card forget the rest of an answer and a chain, as the command itself does.
        class & 0x10 != 0
            || [(0xB6, 0xC1), (0xB6, 0xDA), (0xB8, 0xC2), (0xA4, 0xC3)].into_iter().any(|(template, attributes)| {
                data.contains(&template)
                    && (attributes != 0xDA || data.contains(&0x81))
                    && matches!(self.card.transmit(&[0, 0xCA, 0, attributes, 0]), Ok(answer) if answer.first() == Some(&1))
            })
    }
}

/// Takes SW1-SW2 off an answer that must be one.
pub fn check(command: &[u8], answer: &mut Vec<u8>) -> u16 {
    assert!(answer.len() <= LONGEST_ANSWER, "{} bytes answer {command:02X?}", answer.len());
    let (Some(sw2), Some(sw1)) = (answer.pop(), answer.pop()) else {
        panic!("no status answers {command:02X?}");
    };
    let status = u16::from_be_bytes([sw1, sw2]);
    assert!(is_specified(status), "{status:04X} answers {command:02X?}");
    let has_data = status == 0x9000 || sw1 == 0x61;
    assert!(has_data || answer.is_empty(), "{status:04X} with data answers {command:02X?}");
    status
}

/// The status words that a card may give. 6581 (memory failure) is not among them: nothing fails here.
///
/// # Source
/// OpenPGP card 3.4.1, section 7.1; 6600 is a YubiKey's for a touch that did not come.
fn is_specified(status: u16) -> bool {
    matches!(
        status,
        0x6100..=0x61FF
            | 0x6285
            | 0x63C0..=0x63CF
            | 0x6600
            | 0x6700
            | 0x6881
            | 0x6882
            | 0x6883
            | 0x6884
            | 0x6982
            | 0x6983
            | 0x6985
            | 0x6A80
            | 0x6A82
            | 0x6A88
            | 0x6B00
            | 0x6D00
            | 0x6E00
            | 0x9000
    )
}
