//! The text that a member's token signs to enrol: who holds which key, and what goes with it.
//!
//! ```text
//! touchgate v1 enrol
//! name: alice
//! serial: 12345678
//! key: A8E1B45E925114DD0106BF5AAAFC2C59A8FD2137
//! touch: fixed
//! certificate: sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
//! attestation: sha256:248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1
//! profile: sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0
//! report: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//! signed: 2026-11-20T04:07:00Z
//! ```
//!
//! One grammar, one writer, one parser, as for statements; the first line keeps the two apart. The lines
//! stand in this order; attestation, profile and report may be absent.

use std::fmt::Write as _;
use std::str::FromStr;

use sequoia_openpgp::Fingerprint;

use crate::card::Ident;
use crate::digest::Sha256Digest;
use crate::trust::is_name;
use crate::unix_time::UnixTime;

/// The most bytes in this text: every line at its longest takes half of it.
pub const MAX_POSSESSION: usize = 1024;

/// The most bytes in a name.
const MAX_NAME: usize = 64;

const FIRST: &str = "touchgate v1 enrol";

/// The touch policies that a card can say it has, as [`crate::card::TouchPolicy::word`] writes them.
const TOUCH: [&str; 7] = ["none", "off", "on", "fixed", "cached", "cached-fixed", "unknown"];

/// What a member says with a touch. All of it is theirs to say; what of it is true, others find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Possession {
    /// Under which name the member is to be known: the name of their file in trust.
    pub name: Name,
    /// The token, by its own account.
    pub ident: Ident,
    /// The key on it that signs.
    pub key: Fingerprint,
    /// The touch policy of that key, as the member's machine read it.
    pub touch: &'static str,
    /// Of the certificate, in its armored form.
    pub certificate: Sha256Digest,
    /// Of the attestation chain, in its PEM form.
    pub attestation: Option<Sha256Digest>,
    /// Of the profile that the token was provisioned by.
    pub profile: Option<Sha256Digest>,
    /// Of the provisioning report.
    pub report: Option<Sha256Digest>,
    /// When this was signed, by the clock of the member's machine.
    pub signed: UnixTime,
}

/// A member's name: 1 to 64 of `a-z 0-9 . _ -`, not beginning with a dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        if is_name(text) && text.len() <= MAX_NAME { Ok(Self(text.to_owned())) } else { Err(NotAName) }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {MAX_NAME} of a-z 0-9 . _ - and does not begin with a dot")]
pub struct NotAName;

/// Why bytes are not such a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PossessionError {
    /// The first line is another.
    #[error("the first line is not `{FIRST}`")]
    FirstLine,
    /// A line that is not what belongs there, or is not written the one way that it may be.
    #[error("line {line} is not `{name}: ` and {expected}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What the line that belongs there begins with.
        name: &'static str,
        /// What follows.
        expected: &'static str,
    },
    /// More than [`MAX_POSSESSION`] bytes.
    #[error("{length} bytes, {MAX_POSSESSION} are allowed")]
    TooLarge {
        /// How many came.
        length: usize,
    },
    /// Something stands after the last line, or that does not end in a line feed.
    #[error("it does not end with the line `signed: ` and a line feed")]
    End,
}

impl Possession {
    /// The bytes that are signed.
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST}\n");
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            writeln!(text, "{name}: {value}").expect("writing to a String cannot fail");
        };
        line("name", &self.name);
        line("serial", &self.ident);
        line("key", &self.key.to_hex());
        line("touch", &self.touch);
        line("certificate", &self.certificate);
        for (name, digest) in
            [("attestation", &self.attestation), ("profile", &self.profile), ("report", &self.report)]
        {
            if let Some(digest) = digest {
                line(name, digest);
            }
        }
        line("signed", &self.signed);
        text
    }

    /// Reads this text, and only the bytes that [`Possession::to_text`] writes.
    ///
    /// # Errors
    /// The first thing wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, PossessionError> {
        if bytes.len() > MAX_POSSESSION {
            return Err(PossessionError::TooLarge { length: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).ok();
        let rest = text.and_then(|text| text.strip_prefix(FIRST)).and_then(|rest| rest.strip_prefix('\n'));
        let mut lines = Lines { rest: rest.ok_or(PossessionError::FirstLine)?, line: 1 };
        let read = Self {
            name: lines.required("name", "a name", |value| value.parse().ok())?,
            ident: lines.required("serial", "a token's number", |value| {
                value.parse().ok().filter(|ident: &Ident| ident.to_string() == value)
            })?,
            key: lines.required("key", "a fingerprint of 40 digits in upper case", fingerprint)?,
            touch: lines
                .required("touch", "a touch policy", |value| TOUCH.into_iter().find(|word| *word == value))?,
            certificate: lines.required("certificate", DIGEST, |value| value.parse().ok())?,
            attestation: lines.optional("attestation")?,
            profile: lines.optional("profile")?,
            report: lines.optional("report")?,
            signed: lines.required("signed", "a time as 2026-11-20T04:07:00Z", |value| value.parse().ok())?,
        };
        if lines.rest.is_empty() { Ok(read) } else { Err(PossessionError::End) }
    }
}

const DIGEST: &str = "sha256: and 64 hexadecimal digits in lower case";

fn fingerprint(text: &str) -> Option<Fingerprint> {
    let plain = text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    if plain { text.parse().ok() } else { None }
}

struct Lines<'a> {
    rest: &'a str,
    /// The last line that was taken.
    line: usize,
}

impl Lines<'_> {
    fn required<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, PossessionError> {
        let wrong = PossessionError::Line { line: self.line + 1, name, expected };
        let Some((line, rest)) = self.rest.split_once('\n') else {
            return Err(if self.rest.starts_with(name) { PossessionError::End } else { wrong });
        };
        let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
        let value = value.and_then(parse).ok_or(wrong)?;
        self.rest = rest;
        self.line += 1;
        Ok(value)
    }

    fn optional(&mut self, name: &'static str) -> Result<Option<Sha256Digest>, PossessionError> {
        let there = self.rest.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
        if there { self.required(name, DIGEST, |value| value.parse().ok()).map(Some) } else { Ok(None) }
    }
}
