//! A client that knows the PINs, and does whatever the input says.

use std::time::Duration;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use virtual_openpgp_card::{Effect, Finger, PublicKey, Slot};

use crate::values::{
    ATTRIBUTES, CERTIFICATE, CRT, CRYPTOGRAM, MODULUS, PASSWORDS, PRIMES, READABLE, WRITABLE, object,
};
use crate::watched::{SELECT, Watched};

/// Bytes of a value that the input brings itself, at most.
const LONGEST_VALUE: usize = 300;

/// A client and its card.
pub struct Client {
    pub watched: Watched,
    pw1: Vec<u8>,
    pw3: Vec<u8>,
    code: Vec<u8>,
}

/// How a command goes out.
#[derive(Clone, Copy)]
struct Form {
    extended: bool,
    /// Sent in parts of so many bytes.
    part: Option<usize>,
    le: Le,
    /// Fetches the rest of an answer.
    fetch: bool,
}

#[derive(Clone, Copy)]
enum Le {
    None,
    Everything,
    Some(u8),
}

const PLAIN: Form = Form { extended: false, part: None, le: Le::Everything, fetch: false };

type Input<'a, 'b> = &'a mut Unstructured<'b>;

impl Client {
    /// The card is selected already: most of what is worth trying comes after that.
    pub fn new(choice: u8) -> Self {
        let mut watched = Watched::new(choice);
        watched.send(SELECT);
        Self { watched, pw1: b"123456".to_vec(), pw3: b"12345678".to_vec(), code: Vec::new() }
    }

    /// One thing that a client does.
    ///
    /// # Errors
    /// Where the input ends before the command is whole.
    pub fn step(&mut self, input: Input<'_, '_>) -> Result<()> {
        match input.int_in_range(0..=31u8)? {
            0 => self.put(0, 0xA4, 0x0400, &SELECT[5..11], PLAIN),
            1 => self.put(0, 0xA4, 0x0400, b"\xA0\x00\x00\x05\x27\x47\x11\x17", PLAIN),
            2 => self.verify(*input.choose(&[0x81, 0x82, 0x83])?),
            // Past all PINs at once.
            3 => [0x81, 0x82, 0x83].into_iter().for_each(|p2| self.verify(p2)),
            4 => {
                let (p2, value) = (*input.choose(&[0x81, 0x82, 0x83])?, password(input)?);
                self.put(0, 0x20, p2, &value, PLAIN);
            }
            5 => {
                let p1p2 = *input.choose(&[0x81, 0x82, 0x83, 0xFF81, 0xFF82, 0xFF83])?;
                self.put(0, 0x20, p1p2, b"", Form { le: Le::None, ..PLAIN });
            }
            6 => self.change(input)?,
            7 => self.reset_retry_counter(input)?,
            8 => {
                let (tag, value, form) = (*input.choose(&WRITABLE)?, bytes(input)?, form(input)?);
                self.put(0, 0xDA, tag, value, form);
            }
            9 => {
                let (tag, form) = (*input.choose(&READABLE)?, form(input)?);
                self.put(0, 0xCA, tag, b"", form);
            }
            10 => self.select_data(input)?,
            11 => {
                let (slot, wire) = (*input.choose(&[0xC1, 0xC2, 0xC3, 0xDA])?, *input.choose(&ATTRIBUTES)?);
                let end: &[u8] = if input.ratio(1, 4u8)? { &[0xFF] } else { &[] };
                self.put(0, 0xDA, slot, &[wire, end].concat(), PLAIN);
            }
            12 => self.generate(input)?,
            13 => self.import_scalar(input)?,
            14 => self.import_rsa(input)?,
            15 => {
                let (data, form) = (bytes(input)?, form(input)?);
                self.put(0, 0x2A, 0x9E9A, data, form);
            }
            16 => self.decipher(input)?,
            17 => {
                let (data, form) = (bytes(input)?, form(input)?);
                self.put(0, 0x88, 0, data, form);
            }
            18 => {
                let data = bytes(input)?;
                self.put(0, 0x2A, 0x8680, data, PLAIN);
            }
            19 => {
                let (p1p2, key) = (*input.choose(&[0x41A4, 0x41B8])?, input.int_in_range(1..=4u8)?);
                self.put(0, 0x22, p1p2, &[0x83, 0x01, key], PLAIN);
            }
            20 => {
                let p1 = input.int_in_range(0..=4u16)?;
                self.put(0x80, 0xFB, p1 << 8, b"", Form { le: Le::None, ..PLAIN });
            }
            21 => {
                let form = form(input)?;
                self.put(0, 0x84, 0, b"", form);
            }
            22 => {
                let form = form(input)?;
                self.put(0, 0xC0, 0, b"", form);
            }
            23 => self.put(0, 0xE6, 0, b"", PLAIN),
            24 => {
                self.put(0, 0x44, 0, b"", PLAIN);
                self.default_passwords();
            }
            25 => {
                let tries: [u8; 3] = input.arbitrary()?;
                if self.sent(0, 0xF2, 0, &tries, PLAIN) == Some(0x9000) {
                    self.default_passwords();
                }
            }
            26 => {
                let (tag, policy) = (input.int_in_range(0xD6..=0xD9u16)?, input.int_in_range(0..=5u8)?);
                self.put(0, 0xDA, tag, &[policy, 0x20], PLAIN);
                self.finger(input)?;
            }
            27 => self.kdf(input)?,
            28 => self.surroundings(input)?,
            29 => {
                let (command, fault) = (bytes(input)?, input.ratio(1, 4u8)?);
                if fault {
                    let effect = effect(input)?;
                    self.watched.send_with_fault(effect, command);
                } else {
                    self.watched.send(command);
                }
            }
            // Any instruction with any parameters.
            30 => {
                let (class, instruction, p1p2) = (input.arbitrary()?, input.arbitrary()?, input.arbitrary()?);
                let (data, form) = (bytes(input)?, form(input)?);
                self.put(class, instruction, p1p2, data, form);
            }
            _ => {
                let instruction = *input.choose(&[0xF1, 0x1D, 0xCC])?;
                let p1p2 = if instruction == 0xCC { 0x7F21 } else { 0 };
                self.put(0, instruction, p1p2, b"", PLAIN);
            }
        }
        Ok(())
    }

    fn verify(&mut self, p2: u16) {
        let value = if p2 == 0x83 { self.pw3.clone() } else { self.pw1.clone() };
        self.put(0, 0x20, p2, &value, PLAIN);
    }

    fn change(&mut self, input: Input<'_, '_>) -> Result<()> {
        let (p2, new) = (*input.choose(&[0x81, 0x83])?, password(input)?);
        let old = if p2 == 0x83 { &self.pw3 } else { &self.pw1 };
        let both = [old.as_slice(), &new].concat();
        if self.sent(0, 0x24, p2, &both, PLAIN) == Some(0x9000) {
            *(if p2 == 0x83 { &mut self.pw3 } else { &mut self.pw1 }) = new;
        }
        Ok(())
    }

    /// Sets the resetting code, or resets PW1 with it, or with PW3.
    fn reset_retry_counter(&mut self, input: Input<'_, '_>) -> Result<()> {
        let (way, new) = (input.int_in_range(0..=2u8)?, password(input)?);
        let status = match way {
            0 => self.sent(0, 0xDA, 0xD3, &new, PLAIN),
            1 => self.sent(0, 0x2C, 0x81, &[self.code.as_slice(), &new].concat(), PLAIN),
            _ => self.sent(0, 0x2C, 0x0281, &new, PLAIN),
        };
        if status == Some(0x9000) {
            *(if way == 0 { &mut self.code } else { &mut self.pw1 }) = new;
        }
        Ok(())
    }

    fn select_data(&mut self, input: Input<'_, '_>) -> Result<()> {
        let (occurrence, length_byte) = (input.int_in_range(0..=3u16)?, input.arbitrary()?);
        let list = b"\x60\x04\x5C\x02\x7F\x21";
        let data = if length_byte { [&[6], &list[..]].concat() } else { list.to_vec() };
        self.put(0, 0xA5, occurrence << 8 | 4, &data, PLAIN);
        if input.arbitrary()? {
            self.put(0, 0xDA, 0x7F21, CERTIFICATE, PLAIN);
        }
        Ok(())
    }

    fn generate(&mut self, input: Input<'_, '_>) -> Result<()> {
        let (p1p2, template, form) = (*input.choose(&[0x8000, 0x8100])?, template(input)?, form(input)?);
        // In parts nobody would notice that it makes an RSA key.
        self.put(0, 0x47, p1p2, template, Form { part: None, ..form });
        Ok(())
    }

    fn import_scalar(&mut self, input: Input<'_, '_>) -> Result<()> {
        let template = template(input)?;
        let length = *input.choose(&[32, 48, 56, 57, 64, 66, 0, 1, 31, 33, 67])?;
        let fill: u8 = input.arbitrary()?;
        let mut scalar = vec![fill; length];
        if let (true, Some(first)) = (input.arbitrary()?, scalar.first_mut()) {
            *first = 0;
        }
        let coded = object(0x92, &scalar);
        let mut lengths = coded[..coded.len() - scalar.len()].to_vec();
        // The public key may come too.
        if input.ratio(1, 4u8)? {
            lengths.extend([0x99, 32]);
            scalar.extend([9; 32]);
        }
        let list = [template, &object(0x7F48, &lengths), &object(0x5F48, &scalar)].concat();
        let mut value = object(0x4D, &list);
        // A length that lies, among others.
        if input.ratio(1, 4u8)? {
            let place = input.choose_index(value.len() - scalar.len())?;
            value[place] = input.arbitrary()?;
        }
        let form = form(input)?;
        self.put(0, 0xDB, 0x3FFF, &value, form);
        Ok(())
    }

    /// An RSA key in one of the four formats, with one byte of it changed at will.
    fn import_rsa(&mut self, input: Input<'_, '_>) -> Result<()> {
        let (template, format) = (template(input)?, input.int_in_range(0..=3u8)?);
        let exponent = *input.choose(&[
            &b"\x01\x00\x01"[..],
            b"\x00\x01\x00\x01",
            b"\x03",
            b"\x00",
            b"\x02",
            b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        ])?;
        let [p, q] = PRIMES;
        let mut elements = vec![(0x91, exponent), (0x92, p), (0x93, q)];
        if format & 2 != 0 {
            elements.extend([0x94, 0x95, 0x96].into_iter().zip(CRT));
        }
        if format & 1 != 0 {
            elements.push((0x97, MODULUS));
        }
        let mut lengths = Vec::new();
        let mut data = Vec::new();
        for (tag, element) in elements {
            let coded = object(tag, element);
            lengths.extend(&coded[..coded.len() - element.len()]);
            data.extend(element);
        }
        if input.ratio(1, 4u8)? {
            let (place, value) = (input.choose_index(data.len())?, input.arbitrary()?);
            data[place] = value;
        }
        let list = [template, &object(0x7F48, &lengths), &object(0x5F48, &data)].concat();
        self.put(0, 0xDB, 0x3FFF, &object(0x4D, &list), Form { extended: true, ..PLAIN });
        Ok(())
    }

    /// For the key that is there: its own point, or a number below its modulus; or whatever the input brings.
    fn decipher(&mut self, input: Input<'_, '_>) -> Result<()> {
        let slot = *input.choose(&[Slot::Decryption, Slot::Authentication])?;
        let data = match (input.int_in_range(0..=3u8)?, self.watched.card.public_key(slot)) {
            (0 | 1, Some(PublicKey::Curve { mut point, .. })) => {
                if input.ratio(1, 4u8)? {
                    let place = input.choose_index(point.len())?;
                    point[place] ^= 1;
                } else if input.ratio(1, 4u8)? {
                    // In front of a point that needs none.
                    point.insert(0, 0x40);
                }
                cipher(&point)
            }
            (0, Some(PublicKey::Rsa { .. })) => [&[0], CRYPTOGRAM].concat(),
            (1, Some(PublicKey::Rsa { modulus, .. })) => {
                let mut number = vec![input.arbitrary()?; modulus.len()];
                number[0] = 0;
                [&[0], number.as_slice()].concat()
            }
            (2, _) => cipher(bytes(input)?),
            _ => bytes(input)?.to_vec(),
        };
        let form = form(input)?;
        self.put(0, 0x2A, 0x8086, &data, form);
        Ok(())
    }

    fn kdf(&mut self, input: Input<'_, '_>) -> Result<()> {
        let (hash, length) = *input.choose(&[(0x08, 32), (0x0A, 64), (0x09, 48)])?;
        let off: bool = input.ratio(1, 4u8)?;
        let (pw1, pw3) = (vec![b'u'; length], vec![b'a'; length]);
        let value = if off {
            object(0x81, &[0])
        } else {
            [
                object(0x81, &[3]),
                object(0x82, &[hash]),
                object(0x83, &[0, 0, 4, 0]),
                object(0x84, b"saltsalt"),
                object(0x87, &pw1),
                object(0x88, &pw3),
            ]
            .concat()
        };
        let value = if input.arbitrary()? { object(0xF9, &value) } else { value };
        if self.sent(0, 0xDA, 0xF9, &value, PLAIN) == Some(0x9000) {
            self.default_passwords();
            if !off {
                (self.pw1, self.pw3) = (pw1, pw3);
            }
        }
        Ok(())
    }

    fn surroundings(&mut self, input: Input<'_, '_>) -> Result<()> {
        match input.int_in_range(0..=4u8)? {
            0 => self.watched.reset(),
            1 => self.watched.power_off(),
            2 => self.watched.pull_and_insert(),
            3 => return self.finger(input),
            _ => {
                self.watched.advance(input.arbitrary()?);
                return Ok(());
            }
        }
        self.watched.send(SELECT);
        Ok(())
    }

    fn finger(&mut self, input: Input<'_, '_>) -> Result<()> {
        self.watched.card.set_finger(match input.int_in_range(0..=3u8)? {
            0 => Finger::Now,
            1 => Finger::Never,
            2 => Finger::EveryNth(input.arbitrary::<u8>()?.into()),
            _ => Finger::After(Duration::from_secs(input.arbitrary::<u8>()?.into())),
        });
        Ok(())
    }

    fn default_passwords(&mut self) {
        (self.pw1, self.pw3, self.code) = (b"123456".to_vec(), b"12345678".to_vec(), Vec::new());
    }

    fn put(&mut self, class: u8, instruction: u8, p1p2: u16, data: &[u8], form: Form) {
        let _ = self.sent(class, instruction, p1p2, data, form);
    }

    /// Sends a command in that form; the last status.
    fn sent(&mut self, class: u8, instruction: u8, p1p2: u16, data: &[u8], form: Form) -> Option<u16> {
        let part = form.part.unwrap_or(if form.extended { usize::MAX } else { 255 });
        let mut parts: Vec<&[u8]> = data.chunks(part).collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            let chained = apdu([class | 0x10, instruction], p1p2, part, Form { le: Le::None, ..form });
            let (_, status) = self.watched.send(&chained)?;
            if status != 0x9000 {
                return Some(status);
            }
        }
        let (mut data, mut status) = self.watched.send(&apdu([class, instruction], p1p2, last, form))?;
        while form.fetch && status >> 8 == 0x61 {
            let (rest, next) = self.watched.send(&[0, 0xC0, 0, 0, 0])?;
            assert!(!rest.is_empty(), "GET RESPONSE brought nothing");
            data.extend(rest);
            status = next;
        }
        assert!(!form.fetch || data.len() <= 4096, "{} bytes in parts", data.len());
        Some(status)
    }
}

fn apdu(head: [u8; 2], p1p2: u16, data: &[u8], form: Form) -> Vec<u8> {
    let mut out = [&head[..], &p1p2.to_be_bytes()].concat();
    let long = form.extended || data.len() > 255;
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    match (long, data) {
        (_, []) => {}
        (false, _) => out.push(length as u8),
        (true, _) => {
            out.push(0);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend(data);
    match (form.le, long) {
        (Le::None, _) => {}
        (Le::Everything, false) => out.push(0),
        (Le::Some(le), false) => out.push(le),
        (le, true) => {
            if data.is_empty() {
                out.push(0);
            }
            out.extend([0, if let Le::Some(le) = le { le } else { 0 }]);
        }
    }
    out
}

fn form(input: Input<'_, '_>) -> Result<Form> {
    let bits: u8 = input.arbitrary()?;
    let le = match bits >> 1 & 3 {
        0 | 1 => Le::Everything,
        2 => Le::None,
        _ => Le::Some(input.arbitrary()?),
    };
    let part = if bits & 0x18 == 0x18 { Some(input.int_in_range(1..=255usize)?) } else { None };
    Ok(Form { extended: bits & 1 == 1, part, le, fetch: bits & 0x20 == 0 })
}

/// Bytes that the input brings, after their number.
fn bytes<'b>(input: Input<'_, 'b>) -> Result<&'b [u8]> {
    let length = input.int_in_range(0..=LONGEST_VALUE)?;
    input.bytes(length.min(input.len()))
}

/// A password of any kind.
fn password(input: Input<'_, '_>) -> Result<Vec<u8>> {
    Ok(match input.choose_index(PASSWORDS.len() + 3)? {
        0 => vec![b'u'; 32],
        1 => vec![b'a'; 64],
        2 => bytes(input)?.to_vec(),
        known => PASSWORDS[known - 3].to_vec(),
    })
}

/// A control reference template: which key is meant.
fn template(input: Input<'_, '_>) -> Result<&'static [u8]> {
    input
        .choose(&[
            &b"\xB6\x00"[..],
            b"\xB8\x00",
            b"\xA4\x00",
            b"\xB6\x03\x84\x01\x81",
            b"\xB6\x03\x84\x01\x01",
            b"\xB8\x03\x84\x01\x02",
            b"\xA4\x03\x84\x01\x03",
            b"\xA4\x03\x84\x01\x81",
        ])
        .copied()
}

fn cipher(point: &[u8]) -> Vec<u8> {
    object(0xA6, &object(0x7F49, &object(0x86, point)))
}

fn effect(input: Input<'_, '_>) -> Result<Effect> {
    Ok(match input.int_in_range(0..=12u8)? {
        0 => Effect::Delay(Duration::from_secs(input.arbitrary::<u8>()?.into())),
        1 => Effect::DuplicateAnswer,
        2 => Effect::EmptyAnswer,
        3 => Effect::Garbage,
        4 => Effect::InflatedLength,
        5 => Effect::NoAnswer,
        6 => Effect::PowerLostAfterWrite,
        7 => Effect::PowerLostBeforeWrite,
        8 => Effect::RemovedAfter,
        9 => Effect::RemovedBefore,
        10 => Effect::Status(input.arbitrary()?),
        11 => Effect::Replace(bytes(input)?.to_vec()),
        _ => Effect::Truncated(input.arbitrary::<u8>()?.into()),
    })
}
