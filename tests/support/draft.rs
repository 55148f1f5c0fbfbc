//! One case before it is put together: what is right, and the one thing that is not.

use std::fmt::Write as _;
use std::fs;

use sequoia_openpgp as openpgp;

use openpgp::Fingerprint;
use touchgate::unix_time::UnixTime;

use crate::case::fixtures;
use crate::packets::{Recipe, armor, body};
use crate::people::{self, Tree};

/// When most cases are judged and signed; issued at 04:07, expiring at 04:22.
pub(crate) const NOW: &str = "2026-11-20T04:12:00Z";
pub(crate) const SIGNED: &str = "2026-11-20T04:11:30Z";

/// How the signature stands in the file.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// Armored, 64 columns, with or without the CRC.
    Armored { crc: bool },
    /// Hexadecimal, as binary bytes would not survive an editor.
    Binary,
}

/// A change made to what would otherwise be right.
pub(crate) type Change<T> = Box<dyn Fn(T) -> T>;

/// One case before it is put together.
pub(crate) struct Draft {
    name: &'static str,
    what: &'static str,
    section: &'static str,
    expect: &'static str,
    now: &'static str,
    signed: &'static str,
    judged: &'static str,
    issued: Option<Change<String>>,
    signer: &'static str,
    statement: Change<String>,
    message: Change<Vec<u8>>,
    recipe: Change<Recipe>,
    packet: Change<Vec<u8>>,
    form: Form,
    armor: Change<String>,
    file: Option<Change<Vec<u8>>>,
}

pub(crate) fn draft(
    name: &'static str,
    what: &'static str,
    section: &'static str,
    expect: &'static str,
) -> Draft {
    Draft {
        name,
        what,
        section,
        expect,
        now: NOW,
        signed: SIGNED,
        judged: "ledger",
        issued: None,
        signer: "bob",
        statement: Box::new(|s| s),
        message: Box::new(|m| m),
        recipe: Box::new(|r| r),
        packet: Box::new(|p| p),
        form: Form::Armored { crc: true },
        armor: Box::new(|a| a),
        file: None,
    }
}

impl Draft {
    pub(crate) fn by(mut self, signer: &'static str) -> Self {
        self.signer = signer;
        self
    }

    pub(crate) fn now(mut self, now: &'static str) -> Self {
        self.now = now;
        self
    }

    pub(crate) fn signed(mut self, signed: &'static str) -> Self {
        self.signed = signed;
        self
    }

    /// `ledger`, `failing-ledger`, `replay` (the same answer was recorded before), `unknown` (never issued),
    /// `revoked` (bob's token was lost), `alone`.
    pub(crate) fn judged(mut self, judged: &'static str) -> Self {
        self.judged = judged;
        self
    }

    /// The statement with one line replaced (or removed: empty), before anybody signs.
    pub(crate) fn line(self, from: &'static str, to: &'static str) -> Self {
        let before = self.statement;
        let statement = move |s: String| {
            let s = before(s);
            let out: String =
                s.split_inclusive('\n').map(|line| if line.trim_end() == from { to } else { line }).collect();
            assert_ne!(s, out, "{from:?} is not in the statement");
            out
        };
        Self { statement: Box::new(statement), ..self }
    }

    pub(crate) fn statement(mut self, change: impl Fn(String) -> String + 'static) -> Self {
        self.statement = Box::new(change);
        self
    }

    /// What the verifier issued differs from what was signed.
    pub(crate) fn issued(mut self, change: impl Fn(String) -> String + 'static) -> Self {
        self.issued = Some(Box::new(change));
        self
    }

    /// What is hashed differs from the statement's bytes.
    pub(crate) fn message(mut self, change: impl Fn(Vec<u8>) -> Vec<u8> + 'static) -> Self {
        self.message = Box::new(change);
        self
    }

    pub(crate) fn recipe(mut self, change: impl Fn(Recipe) -> Recipe + 'static) -> Self {
        self.recipe = Box::new(change);
        self
    }

    /// One more subpacket in the hashed area.
    pub(crate) fn hashed(self, subpacket: Vec<u8>) -> Self {
        self.recipe(move |mut r| {
            r.hashed.push(subpacket.clone());
            r
        })
    }

    pub(crate) fn unhashed(self, subpacket: Vec<u8>) -> Self {
        self.recipe(move |mut r| {
            r.unhashed.push(subpacket.clone());
            r
        })
    }

    pub(crate) fn packet(mut self, change: impl Fn(Vec<u8>) -> Vec<u8> + 'static) -> Self {
        self.packet = Box::new(change);
        self.form = Form::Binary;
        self
    }

    pub(crate) fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    pub(crate) fn armor(mut self, change: impl Fn(String) -> String + 'static) -> Self {
        self.armor = Box::new(change);
        self
    }

    /// The case is a whole approval file.
    pub(crate) fn file(mut self, change: impl Fn(Vec<u8>) -> Vec<u8> + 'static) -> Self {
        self.file = Some(Box::new(change));
        self
    }

    pub(crate) fn write(&self, base: &str, tree: &mut Tree) {
        let statement = (self.statement)(base.to_owned());
        let mut key = people::signer(self.signer);
        let created = u32::try_from(seconds(self.signed)).unwrap();
        let recipe = (self.recipe)(Recipe::plain(&key, created));
        let message = (self.message)(statement.clone().into_bytes());
        let put_together = |packet: &[u8]| self.put_together(&statement, packet);
        let path = format!("signature/{}.case", self.name);
        let mut file = put_together(&recipe.sign(&mut key, &message));
        // ECDSA takes another random number each time: what stands there stays if all else is equal.
        if matches!(self.signer, "carol" | "dave" | "erin" | "uma")
            && let Ok(old) = fs::read(fixtures(&path))
        {
            let old_packet = old_packet(&old);
            let start = recipe.before_numbers(&message).0;
            if let Some(numbers) = body(&old_packet).strip_prefix(&start[..])
                && put_together(&recipe.with_numbers(&message, numbers)) == old
            {
                file = old;
            }
        }
        assert!(tree.insert(path, file).is_none(), "{}: two cases of this name", self.name);
    }

    fn put_together(&self, statement: &str, packet: &[u8]) -> Vec<u8> {
        let packet = (self.packet)(packet.to_vec());
        let mut text = format!("# {}\nsource: docs/protocol.md, {}\n", self.what, self.section);
        writeln!(text, "trust: team\nnow: {}\njudged: {}\nexpect: {}", self.now, self.judged, self.expect)
            .unwrap();
        if let Some(change) = &self.issued {
            let tail = statement.split_once('\n').unwrap().1;
            let challenge = change(format!("touchgate v1 challenge\n{tail}"));
            write!(text, "--- challenge\n{challenge}").unwrap();
        }
        if let Some(change) = &self.file {
            let whole = [statement.as_bytes(), b"\n", armor(&packet, 64, true).as_bytes()].concat();
            return [text.as_bytes(), b"--- file\n", &change(whole)].concat();
        }
        write!(text, "--- statement\n{statement}").unwrap();
        match self.form {
            Form::Armored { crc } => {
                write!(text, "--- signature\n{}", (self.armor)(armor(&packet, 64, crc))).unwrap();
            }
            Form::Binary => {
                text.push_str("--- signature in hexadecimal\n");
                for line in packet.chunks(40) {
                    line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
                    text.push('\n');
                }
            }
        }
        text.into_bytes()
    }
}

/// The packet in a case that stands on disk, to be compared.
fn old_packet(file: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let text = String::from_utf8_lossy(file);
    let packet = match text.split_once("--- signature in hexadecimal\n") {
        Some((_, hex)) => {
            let hex: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
            let digit = |b: u8| u8::try_from(char::from(b).to_digit(16).unwrap()).unwrap();
            hex.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
        }
        None => {
            let block = text.split_once("-----BEGIN PGP SIGNATURE-----\n\n").map_or("", |(_, block)| block);
            let lines = block.lines().take_while(|line| !line.starts_with('-') && !line.starts_with('='));
            let base64 = base64::engine::general_purpose::STANDARD.decode(lines.collect::<String>());
            base64.unwrap_or_default()
        }
    };
    if packet.len() < 3 { vec![0xC2, 0] } else { packet }
}

pub(crate) fn seconds(time: &str) -> u64 {
    time.parse::<UnixTime>().unwrap().seconds()
}

pub(crate) fn fingerprint(name: &str) -> Fingerprint {
    people::signer(name).public().fingerprint()
}
