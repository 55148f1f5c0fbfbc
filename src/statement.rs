//! The text that is shown, signed and stored: one grammar, one writer, one parser.
//!
//! ```text
//! touchgate v1 approve
//! audience: approve.example.com
//! request: 01KA8Y3V0GQ4M7ZT6XWB1HJ5C9
//! action: deploy
//! resource: payments/prod
//! param.command: ./deploy.sh --region eu
//! requester: github:alice
//! trust: 7 sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
//! nonce: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8
//! issued: 2026-11-20T04:07:00Z
//! expires: 2026-11-20T04:22:00Z
//! ```
//!
//! `docs/protocol.md` specifies it for other implementations.

use std::fmt::Write as _;
use std::str::FromStr;

use crate::challenge::Challenge;
use crate::digest::NotADigest;
use crate::request::{Mode, NameError, ParameterName, Parameters, Request};
use crate::text::{MAX_VALUE, Text, TextError};
use crate::unix_time::NotATime;

/// The most bytes in a statement: what a person may be asked to read, about one page.
pub const MAX_STATEMENT: usize = 4096;

/// The most parameters in a statement: with the lines that always stand it still fits two small screens.
pub const MAX_PARAMETERS: usize = 32;

/// What a refusal may add to a challenge: `because: `, a value and the end of its line.
const MAX_BECAUSE_LINE: usize = "because: ".len() + MAX_VALUE + 1;

/// The most bytes in a challenge that is issued, so that every refusal of it still fits a statement.
pub const MAX_CHALLENGE: usize = MAX_STATEMENT - MAX_BECAUSE_LINE;

/// What the approver's client wrote into the first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may run.
    Approve,
    /// It may not.
    Refuse {
        /// Why not, if the person said.
        because: Option<Text>,
    },
}

impl Decision {
    /// `approve` or `refuse`, as in the first line.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Refuse { .. } => "refuse",
        }
    }
}

/// A challenge together with an approver's decision: the bytes that a card signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What the person decided.
    pub decision: Decision,
    /// What was asked.
    pub challenge: Challenge,
}

/// Why bytes are not a statement or a challenge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// A carriage return: the lines end in LF alone.
    #[error("line {line} holds a carriage return")]
    CarriageReturn {
        /// Counted from 1.
        line: usize,
    },
    /// A control character other than the LF that ends a line.
    #[error("line {line} holds control character {byte:#04x}")]
    ControlCharacter {
        /// Counted from 1.
        line: usize,
        /// The byte.
        byte: u8,
    },
    /// A line that may stand once stands twice.
    #[error("line {line} repeats {name:?}")]
    DuplicateLine {
        /// Counted from 1.
        line: usize,
        /// What stands before its colon.
        name: String,
    },
    /// A line without content.
    #[error("line {line} is empty")]
    EmptyLine {
        /// Counted from 1.
        line: usize,
    },
    /// A value that is not what its line calls for.
    #[error("line {line}: {error}")]
    Field {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        error: FieldError,
    },
    /// The first line is not the one expected.
    #[error("the first line is {found:?}, not `touchgate v1` and {expected}")]
    FirstLine {
        /// The words that may follow.
        expected: &'static str,
        /// The line, cut to 64 characters.
        found: String,
    },
    /// `expires` does not lie after `issued`.
    #[error("it expires before it is valid")]
    Lifetime,
    /// The last line does not end in LF.
    #[error("the last line does not end in a line feed")]
    MissingFinalNewline,
    /// A line that must stand does not.
    #[error("the line {name:?} is missing")]
    MissingLine {
        /// What stands before its colon.
        name: &'static str,
    },
    /// A known line after one that it must precede.
    #[error("line {line}: {name:?} is out of order")]
    MisorderedLine {
        /// Counted from 1.
        line: usize,
        /// What stands before its colon.
        name: String,
    },
    /// A byte of 0x80 or above.
    #[error("line {line} holds byte {byte:#04x}, which is not ASCII")]
    NotAscii {
        /// Counted from 1.
        line: usize,
        /// The byte.
        byte: u8,
    },
    /// More than [`MAX_STATEMENT`] bytes.
    #[error("{length} bytes, {MAX_STATEMENT} are allowed")]
    TooLarge {
        /// How many came.
        length: usize,
    },
    /// More than [`MAX_PARAMETERS`] parameters.
    #[error("more than {MAX_PARAMETERS} parameters")]
    TooManyParameters,
    /// A line that the grammar does not know here.
    #[error("line {line} is unknown: {name:?}")]
    UnknownLine {
        /// Counted from 1.
        line: usize,
        /// What stands before its colon, or the line without one, cut to 64 characters.
        name: String,
    },
}

/// What is wrong with one value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Not a digest.
    #[error(transparent)]
    Digest(#[from] NotADigest),
    /// Not a mode.
    #[error("the only mode that is written is break-glass")]
    Mode,
    /// A name out of its grammar.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Bad free text.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Not a time.
    #[error(transparent)]
    Time(#[from] NotATime),
}

impl StatementError {
    /// The stable name of this error, explained in `docs/rejections.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::CarriageReturn { .. } => "carriage-return",
            Self::ControlCharacter { .. } => "control-character",
            Self::DuplicateLine { .. } => "duplicate-line",
            Self::EmptyLine { .. } => "empty-line",
            Self::Field { error, .. } => match error {
                FieldError::Digest(_) => "bad-digest",
                FieldError::Mode => "bad-mode",
                FieldError::Name(_) => "bad-name",
                FieldError::Time(_) => "bad-time",
                FieldError::Text(TextError::Empty) => "empty-value",
                FieldError::Text(TextError::MalformedEscape) => "malformed-escape",
                FieldError::Text(TextError::NeedlessEscape { .. }) => "needless-escape",
                FieldError::Text(TextError::Spacing) => "spacing",
                FieldError::Text(TextError::TooLong { .. }) => "value-too-long",
                FieldError::Text(TextError::Unprintable { .. }) => "control-character",
            },
            Self::FirstLine { .. } => "first-line",
            Self::Lifetime => "bad-lifetime",
            Self::MissingFinalNewline => "missing-final-newline",
            Self::MissingLine { .. } => "missing-line",
            Self::MisorderedLine { .. } => "misordered-line",
            Self::NotAscii { .. } => "not-ascii",
            Self::TooLarge { .. } => "statement-too-large",
            Self::TooManyParameters => "too-many-parameters",
            Self::UnknownLine { .. } => "unknown-line",
        }
    }
}

impl Statement {
    /// The bytes that are signed.
    pub fn to_text(&self) -> String {
        let because = match &self.decision {
            Decision::Refuse { because } => because.as_ref(),
            Decision::Approve => None,
        };
        write(self.decision.word(), &self.challenge, because)
    }

    /// Reads a statement, and only the bytes that [`Statement::to_text`] writes.
    ///
    /// # Errors
    /// The first thing wrong, in the order size, bytes, first line, other lines, values.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let (refused, lines) = Lines::read(bytes, "approve or refuse", |first| match first {
            "touchgate v1 approve" => Some(false),
            "touchgate v1 refuse" => Some(true),
            _ => None,
        })?;
        let (challenge, because) = lines.challenge(refused)?;
        let decision = if refused { Decision::Refuse { because } } else { Decision::Approve };
        Ok(Self { decision, challenge })
    }
}

impl Challenge {
    /// The challenge as it is issued.
    pub fn to_text(&self) -> String {
        write("challenge", self, None)
    }

    /// Reads a challenge, and only the bytes that [`Challenge::to_text`] writes.
    ///
    /// # Errors
    /// The first thing wrong, in the order size, bytes, first line, other lines, values.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let issued = |first: &str| (first == "touchgate v1 challenge").then_some(());
        let ((), lines) = Lines::read(bytes, "challenge", issued)?;
        Ok(lines.challenge(false)?.0)
    }

    /// The statement that a person who decided so signs.
    pub fn decided(self, decision: Decision) -> Statement {
        Statement { decision, challenge: self }
    }
}

fn write(word: &str, challenge: &Challenge, because: Option<&Text>) -> String {
    let Challenge { audience, id, request, trust, nonce, issued, expires } = challenge;
    let Request { action, resource, parameters, requester, via, requester_key, reason, mode } = request;
    let mut text = format!("touchgate v1 {word}\n");
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        writeln!(text, "{name}: {value}").expect("writing to a String cannot fail");
    };
    line("audience", audience);
    line("request", id);
    line("action", action);
    line("resource", resource);
    for (name, value) in parameters {
        line(&format!("param.{name}"), value);
    }
    line("requester", requester);
    if let Some(via) = via {
        line("via", via);
    }
    if let Some(key) = requester_key {
        line("requester-key", key);
    }
    if let Some(reason) = reason {
        line("reason", reason);
    }
    if *mode == Mode::BreakGlass {
        line("mode", &"break-glass");
    }
    line("trust", trust);
    line("nonce", nonce);
    line("issued", issued);
    line("expires", expires);
    if let Some(because) = because {
        line("because", because);
    }
    text
}

/// The names of the lines after the first, in their order; `param.` stands for all parameters.
const ORDER: [&str; 15] = [
    "audience",
    "request",
    "action",
    "resource",
    "param.",
    "requester",
    "via",
    "requester-key",
    "reason",
    "mode",
    "trust",
    "nonce",
    "issued",
    "expires",
    "because",
];

/// The lines after the first, known to be in order and at most once each.
struct Lines<'a> {
    /// Number of the line, name, value.
    lines: std::iter::Peekable<std::vec::IntoIter<(usize, &'a str, &'a str)>>,
}

impl<'a> Lines<'a> {
    /// Checks bytes, line ends, names and order; gives what `accept` makes of the first line apart.
    ///
    /// The first line is judged before the others, whose names another version may well have changed.
    fn read<T>(
        bytes: &'a [u8],
        expected: &'static str,
        accept: impl Fn(&str) -> Option<T>,
    ) -> Result<(T, Self), StatementError> {
        let text = clean(bytes)?;
        let text = text.strip_suffix('\n').ok_or(StatementError::MissingFinalNewline)?;
        let mut numbered = (1..).zip(text.split('\n'));
        let (_, first) = numbered.next().expect("split yields one piece at least");
        if first.is_empty() {
            return Err(StatementError::EmptyLine { line: 1 });
        }
        let first = accept(first).ok_or_else(|| StatementError::FirstLine { expected, found: cut(first) })?;
        let mut lines: Vec<(usize, &str, &str)> = Vec::new();
        let mut before: Option<(usize, &str)> = None;
        for (line, content) in numbered {
            if content.is_empty() {
                return Err(StatementError::EmptyLine { line });
            }
            let (name, value) =
                content.split_once(": ").unwrap_or((content.strip_suffix(':').unwrap_or(content), ""));
            let family = if name.starts_with("param.") { "param." } else { name };
            let Some(rank) = ORDER.iter().position(|known| *known == family) else {
                return Err(StatementError::UnknownLine { line, name: cut(name) });
            };
            if lines.iter().any(|(_, other, _)| *other == name) {
                return Err(StatementError::DuplicateLine { line, name: cut(name) });
            }
            // Within one rank (the parameters) the names themselves are compared, byte by byte.
            if before.is_some_and(|before| before > (rank, name)) {
                return Err(StatementError::MisorderedLine { line, name: cut(name) });
            }
            before = Some((rank, name));
            lines.push((line, name, value));
        }
        Ok((first, Self { lines: lines.into_iter().peekable() }))
    }

    fn optional<T>(
        &mut self,
        name: &str,
        parse: fn(&str) -> Result<T, FieldError>,
    ) -> Result<Option<T>, StatementError> {
        let Some((line, _, value)) = self.lines.next_if(|(_, found, _)| *found == name) else {
            return Ok(None);
        };
        if value.is_empty() {
            return Err(StatementError::Field { line, error: TextError::Empty.into() });
        }
        parse(value).map(Some).map_err(|error| StatementError::Field { line, error })
    }

    fn required<T>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Result<T, FieldError>,
    ) -> Result<T, StatementError> {
        self.optional(name, parse)?.ok_or(StatementError::MissingLine { name })
    }

    fn parameters(&mut self) -> Result<Parameters, StatementError> {
        let mut parameters = Parameters::new();
        while let Some((line, name, value)) = self.lines.next_if(|(_, name, _)| name.starts_with("param.")) {
            let field = |error| StatementError::Field { line, error };
            let name = name.strip_prefix("param.").unwrap_or(name);
            let name = name.parse::<ParameterName>().map_err(|error| field(error.into()))?;
            parameters.insert(name, Text::parse(value).map_err(|error| field(error.into()))?);
            if parameters.len() > MAX_PARAMETERS {
                return Err(StatementError::TooManyParameters);
            }
        }
        Ok(parameters)
    }

    /// All fields. A `because` line is known only where `refused`.
    fn challenge(mut self, refused: bool) -> Result<(Challenge, Option<Text>), StatementError> {
        let audience = self.required("audience", typed)?;
        let id = self.required("request", typed)?;
        let request = Request {
            action: self.required("action", typed)?,
            resource: self.required("resource", typed)?,
            parameters: self.parameters()?,
            requester: self.required("requester", typed)?,
            via: self.optional("via", typed)?,
            requester_key: self.optional("requester-key", typed)?,
            reason: self.optional("reason", |value| Ok(Text::parse(value)?))?,
            mode: self.optional("mode", mode)?.unwrap_or_default(),
        };
        let trust = self.required("trust", typed)?;
        let nonce = self.required("nonce", typed)?;
        let issued = self.required("issued", typed)?;
        let expires = self.required("expires", typed)?;
        if expires <= issued {
            return Err(StatementError::Lifetime);
        }
        let because = if refused { self.optional("because", |value| Ok(Text::parse(value)?))? } else { None };
        // Only `because` can be left, since every other line is known to stand in its place.
        if let Some((line, name, _)) = self.lines.next() {
            return Err(StatementError::UnknownLine { line, name: cut(name) });
        }
        Ok((Challenge { audience, id, request, trust, nonce, issued, expires }, because))
    }
}

fn typed<T: FromStr>(value: &str) -> Result<T, FieldError>
where
    FieldError: From<T::Err>,
{
    spaced(value)?;
    Ok(value.parse()?)
}

/// Spacing is a rule of the lines, so it is named as such before the field's own grammar speaks.
fn spaced(value: &str) -> Result<(), TextError> {
    let bad = value.starts_with(' ') || value.ends_with(' ') || value.contains("  ");
    if bad { Err(TextError::Spacing) } else { Ok(()) }
}

fn mode(value: &str) -> Result<Mode, FieldError> {
    spaced(value)?;
    if value == "break-glass" { Ok(Mode::BreakGlass) } else { Err(FieldError::Mode) }
}

/// The bytes as text, if there are not too many and all are printable ASCII or LF.
fn clean(bytes: &[u8]) -> Result<&str, StatementError> {
    if bytes.len() > MAX_STATEMENT {
        return Err(StatementError::TooLarge { length: bytes.len() });
    }
    let mut line = 1;
    for &byte in bytes {
        match byte {
            b'\n' => line += 1,
            b'\r' => return Err(StatementError::CarriageReturn { line }),
            0x20..=0x7e => {}
            0x80.. => return Err(StatementError::NotAscii { line, byte }),
            _ => return Err(StatementError::ControlCharacter { line, byte }),
        }
    }
    Ok(std::str::from_utf8(bytes).expect("every byte was seen to be ASCII"))
}

fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}
