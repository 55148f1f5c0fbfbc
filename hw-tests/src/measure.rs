//! What nobody knows without the card at hand: what it says when a touch does not come, whether attesting counts as a
//! signature, how long commands take, how much a key takes at once. Measured, not judged: results go to `RESULTS.md`.

use std::fmt;
use std::time::{Duration, Instant};

use crate::apdu::{Apdu, Link, LinkError};
use crate::card::{CardFailure, TestCard};
use crate::factory;
use crate::script::{Form, Touching};
use crate::tlv;

/// Commands and signatures that a time is the median of.
const COMMANDS: usize = 51;
const SIGNATURES: usize = 11;
/// Bytes of input that are tried: digests, DigestInfo of them, the ends of one-byte fields, and beyond.
const LENGTHS: [usize; 16] = [1, 19, 20, 32, 35, 48, 51, 64, 65, 83, 128, 254, 255, 256, 1024, 2048];

const USER: &[u8] = b"123456";
const ADMIN: &[u8] = b"12345678";
const OK: u16 = 0x9000;

/// The slots that take input of any length: name, reference in GENERATE, tag of the algorithm, the command, P2 of VERIFY.
const SLOTS: [(&str, u8, u8, [u8; 4], u8); 2] = [
    ("signature", 0xb6, 0xc1, [0x00, 0x2a, 0x9e, 0x9a], 0x81),
    ("authentication", 0xa4, 0xc3, [0x00, 0x88, 0x00, 0x00], 0x82),
];

/// Algorithms as a card writes them; RSA with the exponent's length and the format that all cards have.
const ALGORITHMS: [(&str, &[u8]); 3] = [
    ("Ed25519", &[0x16, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01]),
    ("NIST P-256", &[0x13, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
    ("RSA 2048", &[0x01, 0x08, 0x00, 0x00, 0x11, 0x00]),
];

/// What was measured on one card.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Status of a signature for which nobody touched, and how long that took; `None` if the card has no touch policy.
    pub missed_touch: Option<(u16, Duration)>,
    /// How far the signature counter moved when a key was attested; `None` if the card does not attest.
    pub attesting_counts: Option<u32>,
    /// GET DATA of the application identifier.
    pub command: Duration,
    /// An Ed25519 signature: VERIFY and PSO.
    pub signature: Duration,
    /// How much the keys take at once.
    pub inputs: Vec<Input>,
}

/// What a key said to input of each length.
#[derive(Clone, Debug)]
pub struct Input {
    /// The key's slot.
    pub slot: &'static str,
    /// The key's algorithm.
    pub algorithm: &'static str,
    /// Bytes of input, and the status that came.
    pub said: Vec<(usize, u16)>,
}

/// Measures. The card is made new before and after, and forgets everything.
///
/// # Errors
/// [`CardFailure`] where the card cannot be reached.
pub fn measure(card: &mut dyn TestCard) -> Result<Measured, CardFailure> {
    card.finger(Touching::Never)?;
    card.renew()?;
    let mut link = Link::new(card.connect()?);
    link.transmit(&factory::SELECT)?;
    verify(&mut link, 0x83, ADMIN)?;
    let (_, _, tag, _, _) = SLOTS[0];
    let [(_, ed25519), ..] = ALGORITHMS;
    make(&mut link, 0xb6, tag, ed25519)?;
    let command = median(COMMANDS, || ask(&mut link, [0x00, 0xca, 0x00, 0x4f], &[]).map(drop))?;
    let signature = median(SIGNATURES, || sign(&mut link).map(drop))?;
    let before = counter(&mut link)?;
    verify(&mut link, 0x81, USER)?;
    let attested = ask(&mut link, [0x80, 0xfb, 0x01, 0x00], &[])? == OK;
    let after = counter(&mut link)?;
    let attesting_counts = attested.then(|| after.saturating_sub(before));
    let touch = write(&mut link, [0x00, 0xda, 0x00, 0xd6], &[1, 0x20])?;
    let missed_touch = if touch == OK {
        let began = Instant::now();
        let status = sign(&mut link)?;
        Some((status, began.elapsed()))
    } else {
        None
    };
    drop(link);
    let mut inputs = Vec::new();
    for (slot, reference, tag, header, p2) in SLOTS {
        for (name, algorithm) in ALGORITHMS {
            card.renew()?;
            let mut link = Link::new(card.connect()?);
            link.transmit(&factory::SELECT)?;
            verify(&mut link, 0x83, ADMIN)?;
            if !make(&mut link, reference, tag, algorithm)? {
                continue;
            }
            let mut said = Vec::new();
            for length in LENGTHS {
                verify(&mut link, p2, USER)?;
                said.push((length, ask(&mut link, header, &vec![0x5a; length])?));
            }
            inputs.push(Input { slot, algorithm: name, said });
        }
    }
    card.renew()?;
    Ok(Measured { missed_touch, attesting_counts, command, signature, inputs })
}

impl fmt::Display for Measured {
    /// As it goes into `RESULTS.md`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missed = self.missed_touch.map_or("no touch policy".to_owned(), |(status, time)| {
            format!("{status:04X} after {:.1} s", time.as_secs_f64())
        });
        writeln!(f, "| status of a missed touch | {missed} |")?;
        let counts = self.attesting_counts.map_or("does not attest".to_owned(), |by| format!("by {by}"));
        writeln!(f, "| attesting moves the signature counter | {counts} |")?;
        let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
        writeln!(f, "| one command (GET DATA 4F), median of {COMMANDS} | {} |", ms(self.command))?;
        writeln!(
            f,
            "| Ed25519 signature with its VERIFY, median of {SIGNATURES} | {} |",
            ms(self.signature)
        )?;
        for Input { slot, algorithm, said } in &self.inputs {
            let taken: Vec<String> = said
                .iter()
                .filter(|(_, status)| *status == OK)
                .map(|(length, _)| length.to_string())
                .collect();
            let mut refused: Vec<u16> =
                said.iter().map(|(_, status)| *status).filter(|status| *status != OK).collect();
            refused.sort_unstable();
            refused.dedup();
            let refused: Vec<String> = refused.iter().map(|status| format!("{status:04X}")).collect();
            let (taken, refused) = (taken.join(" "), refused.join(" "));
            let others = if refused.is_empty() { String::new() } else { format!("; others {refused}") };
            writeln!(f, "| bytes that the {slot} key takes, {algorithm} | {taken}{others} |")?;
        }
        Ok(())
    }
}

/// Sets the algorithm, makes a key; whether the card did both.
fn make(link: &mut Link, reference: u8, tag: u8, algorithm: &[u8]) -> Result<bool, LinkError> {
    Ok(write(link, [0x00, 0xda, 0x00, tag], algorithm)? == OK
        && ask(link, [0x00, 0x47, 0x80, 0x00], &[reference, 0])? == OK)
}

fn sign(link: &mut Link) -> Result<u16, LinkError> {
    verify(link, 0x81, USER)?;
    ask(link, [0x00, 0x2a, 0x9e, 0x9a], &[0x5a; 64])
}

fn verify(link: &mut Link, p2: u8, pin: &[u8]) -> Result<u16, LinkError> {
    write(link, [0x00, 0x20, 0x00, p2], pin)
}

/// The signature counter, DO 93 in DO 7A.
fn counter(link: &mut Link) -> Result<u32, LinkError> {
    let template = link.send(Form::Usual, &Apdu::ask([0x00, 0xca, 0x00, 0x7a], []))?.data;
    let inside = tlv::find_path(&template, &[0x7a, 0x93]).or_else(|| tlv::find(&template, 0x93));
    let bytes = inside.unwrap_or_default();
    Ok(bytes.iter().fold(0, |count, byte| count << 8 | u32::from(*byte)))
}

fn write(link: &mut Link, header: [u8; 4], data: &[u8]) -> Result<u16, LinkError> {
    Ok(link.send(Form::Usual, &Apdu::write(header, data))?.status)
}

fn ask(link: &mut Link, header: [u8; 4], data: &[u8]) -> Result<u16, LinkError> {
    Ok(link.send(Form::Usual, &Apdu::ask(header, data))?.status)
}

fn median(times: usize, mut act: impl FnMut() -> Result<(), LinkError>) -> Result<Duration, LinkError> {
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let began = Instant::now();
        act()?;
        taken.push(began.elapsed());
    }
    taken.sort_unstable();
    Ok(taken.get(times / 2).copied().unwrap_or_default())
}
