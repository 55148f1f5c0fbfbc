//! A behaviour script: what is sent to a card and what must come back, in readable verbs.
//!
//! ```text
//! # A wrong PIN costs a try, the right one gives all of them back.
//! source: OpenPGP card 3.4.1, section 7.2.2
//!
//! select                     -> 9000
//! verify pw1-sign wrong      -> 6982 | plain 63C2
//! tries are 2 0 3
//! verify pw1-sign right      -> 9000
//! from 5.6.0: verify pw1-sign forget -> 9000
//! ```
//!
//! The first line says what the script shows, `source:` where the rule stands, `only:` on which cards it runs,
//! `recorded:` of which cards there is a recording. Then a step a line; `#` begins a comment. What is not understood
//! to its last word does not parse.
//!
//! A **condition** is `plain`, `yubikey`, `from 5.4.3` or `before 5.4.3` (YubiKeys of that firmware or later, or
//! earlier). Before a step it says where the step is done; after `|` it says where another answer is expected.
//!
//! An **expectation** is SW1-SW2, `x` for any digit, and what the data must be: nothing said (anything), `empty`,
//! `length N`, `starts VALUE`, `has TAG[/TAG] [VALUE]` (an object within objects; an outermost tag may be there or
//! not), or a value. A **value** is hexadecimal, `"text"`, `empty`, `bytes N` (N bytes 5A) or `zeros N`.
//!
//! | step | what it is |
//! | --- | --- |
//! | `select` | SELECT of the OpenPGP application |
//! | `get TAG`, `get next TAG` | GET DATA, GET NEXT DATA |
//! | `put TAG VALUE` | PUT DATA |
//! | `select data SLOT` | SELECT DATA of that key's cardholder certificate |
//! | `verify PW right\|wrong\|status\|forget\|VALUE` | VERIFY; PW is `pw1-sign` (81), `pw1` (82) or `pw3` (83); a value goes out as it stands, past a KDF |
//! | `change PW right\|wrong to VALUE` | CHANGE REFERENCE DATA; PW is `pw1` or `pw3` |
//! | `code VALUE` | PUT DATA of the resetting code |
//! | `unblock by code right\|wrong to VALUE`, `unblock by pw3 to VALUE` | RESET RETRY COUNTER |
//! | `kdf on\|off` | PUT DATA of a KDF object; what a PIN is changes with it |
//! | `retries N N N` | Yubico's SET PIN RETRIES |
//! | `algorithm SLOT NAME` | PUT DATA of the algorithm attributes |
//! | `generate SLOT`, `public SLOT` | GENERATE ASYMMETRIC KEY PAIR, making the key or reading it |
//! | `import SLOT NAME` | PUT DATA of a private key of `keys.txt`; the attributes come first |
//! | `sign "TEXT"`, `authenticate "TEXT"` | PSO: COMPUTE DIGITAL SIGNATURE, INTERNAL AUTHENTICATE; with 9000 the signature must verify under the slot's key |
//! | `decipher "TEXT" [for SLOT]` | PSO: DECIPHER of that text (RSA) or of a key agreement; with 9000 the plain text must come back |
//! | `uif SLOT POLICY` | PUT DATA of the User Interaction Flag: off, on, fixed, cached, cached-fixed |
//! | `attest SLOT` | Yubico's ATTEST |
//! | `challenge N` | GET CHALLENGE |
//! | `version` | Yubico's GET VERSION |
//! | `terminate`, `activate` | TERMINATE DF, ACTIVATE FILE |
//! | `raw HEX` | these bytes; nothing is added and 61xx is not followed |
//! | `chained STEP`, `extended STEP` | one of the above as chained commands, or with extended length fields |
//!
//! and, without an expectation:
//!
//! | step | what it is |
//! | --- | --- |
//! | `touch`, `no touch` | the finger from here on; nobody touches until a script says so |
//! | `wait TIME` | lets time pass, at most 20 s a script |
//! | `reset` | disconnects, which resets the card, and connects again |
//! | `counter is N` | the digital signature counter says so |
//! | `tries are N N N` | the PW Status Bytes count that many tries of PW1, resetting code and PW3 |
//! | `attested SLOT touch POLICY [counter N]` | the attestation in the slot's certificate is the token's, for that key, and says that |

mod parse;
#[cfg(test)]
mod tests;
mod verbs;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use virtual_openpgp_card::{Algorithm, Firmware, Personality, Slot, TouchPolicy};

pub use words::{BadScript, Reason};

pub(crate) use words::unhex as hexadecimal;

/// The longest that a script may let a real card wait.
pub const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Where the scripts are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/cards/behaviour")
}

/// One script.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its file's name without `.script`.
    pub name: String,
    /// What it shows, in a sentence.
    pub title: String,
    /// Where the rule stands.
    pub source: String,
    /// On which cards it runs.
    pub only: Condition,
    /// The cards of which there is a recording.
    pub recorded: Vec<Personality>,
    /// What is done.
    pub steps: Vec<Step>,
}

/// One line of a script.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its line, counted from 1.
    pub line: usize,
    /// The line without its comment, single spaces between its words.
    pub text: String,
    /// Where it is done.
    pub when: Condition,
    /// What is done.
    pub action: Action,
}

/// What a step does.
#[expect(missing_docs, reason = "the table of the module says what each is")]
#[derive(Clone, Debug)]
pub enum Action {
    /// The attestation in a slot's certificate says that.
    Attested { slot: Slot, touch: TouchPolicy, counter: Option<u32> },
    /// A command goes out, and its answer is expected.
    Command { form: Form, command: Command, expect: Expect },
    /// The digital signature counter says so.
    Counter(u32),
    /// Who touches from here on.
    Finger(Touching),
    /// Disconnects and connects.
    Reset,
    /// Tries of PW1, resetting code and PW3.
    Tries([u8; 3]),
    /// Lets time pass.
    Wait(Duration),
}

/// Whether somebody touches a card that asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Touching {
    /// Nobody.
    #[default]
    Never,
    /// At once.
    Now,
}

/// How a command's length fields are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In parts of 254 bytes.
    Chained,
    /// Three-byte fields.
    Extended,
    /// One-byte fields where the data fits, and 61xx is followed.
    Usual,
}

/// A command to the card.
#[expect(missing_docs, reason = "the table of the module says what each is")]
#[derive(Clone, Debug)]
pub enum Command {
    Activate,
    Algorithm(Slot, Algorithm),
    Attest(Slot),
    Authenticate(Vec<u8>),
    Challenge(usize),
    Change { password: Password, old: Pin, new: Vec<u8> },
    Code(Vec<u8>),
    Decipher { text: Vec<u8>, slot: Slot },
    Generate(Slot),
    Get(u16),
    GetNext(u16),
    Import(Slot, Algorithm),
    Kdf(bool),
    Public(Slot),
    Put(u16, Vec<u8>),
    Raw(Vec<u8>),
    Retries([u8; 3]),
    Select,
    SelectData(Slot),
    Sign(Vec<u8>),
    Terminate,
    Uif(Slot, TouchPolicy),
    UnblockByCode { code: Pin, new: Vec<u8> },
    UnblockByPw3 { new: Vec<u8> },
    Verify(Reference, Presented),
    Version,
}

/// A password of the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password {
    /// The user's.
    Pw1,
    /// The administrator's.
    Pw3,
    /// The resetting code.
    ResettingCode,
}

/// What VERIFY verifies: its P2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// 81: PW1 for a signature.
    Pw1Sign = 0x81,
    /// 82: PW1 for everything else.
    Pw1 = 0x82,
    /// 83.
    Pw3 = 0x83,
}

impl Reference {
    /// The password behind it.
    pub fn password(self) -> Password {
        match self {
            Self::Pw1 | Self::Pw1Sign => Password::Pw1,
            Self::Pw3 => Password::Pw3,
        }
    }
}

/// A password that is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The one in force.
    Right,
    /// Another of the same length.
    Wrong,
}

/// What VERIFY is told.
#[derive(Clone, Debug)]
pub enum Presented {
    /// These bytes.
    Bytes(Vec<u8>),
    /// P1 = FF.
    Forget,
    /// A password.
    Pin(Pin),
    /// Nothing: how things stand.
    Status,
}

/// On which cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// All.
    Always,
    /// YubiKeys with an earlier firmware.
    Before(Firmware),
    /// YubiKeys with that firmware or a later one.
    From(Firmware),
    /// Cards that are no YubiKeys.
    Plain,
    /// YubiKeys.
    Yubikey,
}

impl Condition {
    /// Whether it holds for that card.
    pub fn holds(self, card: Personality) -> bool {
        match (self, card) {
            (Self::Always, _)
            | (Self::Plain, Personality::Plain)
            | (Self::Yubikey, Personality::Yubikey(_)) => true,
            (Self::From(first), Personality::Yubikey(firmware)) => firmware >= first,
            (Self::Before(first), Personality::Yubikey(firmware)) => firmware < first,
            _ => false,
        }
    }
}

/// The answers that are expected: one for most cards, and others where a condition holds.
#[derive(Clone, Debug)]
pub struct Expect {
    pub(crate) usual: Answer,
    pub(crate) except: Vec<(Condition, Answer)>,
}

impl Expect {
    /// What is expected of that card: the first exception that holds, or the usual.
    pub fn of(&self, card: Personality) -> &Answer {
        let exception = self.except.iter().find(|(condition, _)| condition.holds(card));
        exception.map_or(&self.usual, |(_, answer)| answer)
    }
}

/// One expected answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// SW1-SW2.
    pub status: StatusPattern,
    /// What the data must be.
    pub data: Data,
}

/// SW1-SW2 in four digits, `None` for any.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StatusPattern(pub(crate) [Option<u8>; 4]);

impl StatusPattern {
    /// Whether it is met.
    pub fn is_met_by(self, status: u16) -> bool {
        let digits = [12, 8, 4, 0].map(|shift| (status >> shift) & 0xF);
        self.0
            .into_iter()
            .zip(digits)
            .all(|(wanted, digit)| wanted.is_none_or(|wanted| u16::from(wanted) == digit))
    }
}

impl fmt::Display for StatusPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| match digit {
            Some(digit) => write!(f, "{digit:X}"),
            None => f.write_str("x"),
        })
    }
}

impl fmt::Debug for StatusPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the data of an answer must be.
#[derive(Clone, Debug)]
pub enum Data {
    /// Anything.
    Any,
    /// Exactly this.
    Exactly(Vec<u8>),
    /// An object, found by tags from the outermost inwards, and its value if that matters.
    Has(Vec<u16>, Option<Vec<u8>>),
    /// So many bytes.
    Length(usize),
    /// This, and perhaps more.
    Starts(Vec<u8>),
}

/// How conditions and recordings name a card: `plain`, or a YubiKey's firmware.
pub fn card_name(card: Personality) -> String {
    match card {
        Personality::Plain => "plain".to_owned(),
        Personality::Yubikey(firmware) => firmware.to_string(),
    }
}
