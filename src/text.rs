//! Free text as statements carry it: printable ASCII, everything else escaped, one spelling each.

use std::fmt;

/// The most bytes that one value may take in a statement, counted escaped: one screen of a terminal.
pub const MAX_VALUE: usize = 512;

/// Free text of 1 to [`MAX_VALUE`] bytes once escaped: a reason, a parameter's value.
///
/// Any Unicode text can be carried; what a terminal could be fooled by is shown as `\u{202e}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(String);

/// Why a value cannot stand in a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing stands after the name.
    #[error("the value is empty")]
    Empty,
    /// A backslash that does not begin `\u{…}` with one to six lower-case digits of a scalar value.
    #[error("malformed escape; write \\u{{hex}} in lower case without leading zeros")]
    MalformedEscape,
    /// An escape for something that stands for itself.
    #[error("needless escape {found}")]
    NeedlessEscape {
        /// The escape as it stands.
        found: String,
    },
    /// A space at the start, at the end, or beside another.
    #[error("a space at the start, at the end or beside another")]
    Spacing,
    /// Longer than [`MAX_VALUE`].
    #[error("the value takes {length} bytes, {MAX_VALUE} are allowed")]
    TooLong {
        /// Its length in bytes, escaped.
        length: usize,
    },
    /// A byte outside printable ASCII that is not escaped.
    #[error("byte {byte:#04x} outside printable ASCII")]
    Unprintable {
        /// The byte.
        byte: u8,
    },
}

impl Text {
    /// Takes `text` as it is meant, unescaped.
    ///
    /// # Errors
    /// [`TextError::Empty`] and [`TextError::TooLong`].
    pub fn new(text: impl Into<String>) -> Result<Self, TextError> {
        let text = Self(text.into());
        // An escape is longer than what it stands for, so this also bounds the work below.
        if text.0.is_empty() {
            return Err(TextError::Empty);
        }
        // No byte takes more than six once escaped, as in `\u{5c}`: short texts need no counting.
        if text.0.len() <= MAX_VALUE / 6 {
            return Ok(text);
        }
        let length = if text.0.len() > MAX_VALUE { text.0.len() } else { text.to_string().len() };
        if length > MAX_VALUE { Err(TextError::TooLong { length }) } else { Ok(text) }
    }

    /// Reads the escaped form, and only the one that [`Text`]'s `Display` writes.
    ///
    /// # Errors
    /// Any [`TextError`].
    pub fn parse(escaped: &str) -> Result<Self, TextError> {
        if escaped.len() > MAX_VALUE {
            return Err(TextError::TooLong { length: escaped.len() });
        }
        if let Some(byte) = escaped.bytes().find(|b| !(0x20..0x7f).contains(b)) {
            return Err(TextError::Unprintable { byte });
        }
        if escaped.is_empty() {
            return Err(TextError::Empty);
        }
        if escaped.starts_with(' ') || escaped.ends_with(' ') || escaped.contains("  ") {
            return Err(TextError::Spacing);
        }
        let text = Self(unescape(escaped).ok_or(TextError::MalformedEscape)?);
        let canonical = text.to_string();
        if canonical == escaped {
            return Ok(text);
        }
        let same = canonical.bytes().zip(escaped.bytes()).take_while(|(a, b)| a == b).count();
        // The two part ways inside or at an escape: name the one in what was given.
        let from =
            escaped.get(..same).and_then(|s| s.rfind('\\')).filter(|&at| !escaped[at..same].contains('}'));
        let found = escaped.get(from.unwrap_or(same)..).unwrap_or_default();
        let found = found.split_inclusive('}').next().unwrap_or_default().to_owned();
        Err(TextError::NeedlessEscape { found })
    }

    /// The text as it is meant, unescaped. Never print this to a terminal; print `Display`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The escaped form. A space is escaped where it would be first, last, or follow a space that is not.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut after_space = true;
        // What stands for itself is written in one piece: logs are full of it.
        let mut written = 0;
        let mut chars = self.0.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let plain = match c {
                ' ' => !after_space && chars.peek().is_some(),
                '\\' => false,
                _ => c.is_ascii_graphic(),
            };
            if !plain {
                f.write_str(self.0.get(written..at).unwrap_or_default())?;
                write!(f, "\\u{{{:x}}}", u32::from(c))?;
                written = at + c.len_utf8();
            }
            after_space = plain && c == ' ';
        }
        f.write_str(self.0.get(written..).unwrap_or_default())
    }
}

fn unescape(escaped: &str) -> Option<String> {
    let mut text = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let (hex, after) = after.strip_prefix("u{")?.split_once('}')?;
        let lower = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let shortest = hex == "0" || !hex.starts_with('0');
        if hex.is_empty() || hex.len() > 6 || !lower || !shortest {
            return None;
        }
        text.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?);
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_what_must_be_and_nothing_else() {
        let pairs = [
            ("Release 2.4.1", "Release 2.4.1"),
            (" a", "\\u{20}a"),
            ("a ", "a\\u{20}"),
            ("a  b", "a \\u{20}b"),
            ("a   b", "a \\u{20} b"),
            (" ", "\\u{20}"),
            ("C:\\x", "C:\\u{5c}x"),
            ("é\n", "\\u{e9}\\u{a}"),
            ("\u{202e}", "\\u{202e}"),
            ("🔑", "\\u{1f511}"),
        ];
        for (text, escaped) in pairs {
            assert_eq!(Text::new(text).unwrap().to_string(), escaped);
            assert_eq!(Text::parse(escaped).unwrap().as_str(), text);
        }
    }

    #[test]
    fn names_what_is_wrong() {
        use TextError::*;
        let needless = |s: &str| NeedlessEscape { found: s.into() };
        let cases = [
            ("", Empty),
            (" a", Spacing),
            ("a ", Spacing),
            ("a  b", Spacing),
            ("a\tb", Unprintable { byte: 9 }),
            ("é", Unprintable { byte: 0xc3 }),
            ("a\\u{61}b", needless("\\u{61}")),
            ("a\\u{20}b", needless("\\u{20}")),
            ("\\u{5c}\\u{41}", needless("\\u{41}")),
            ("\\n", MalformedEscape),
            ("\\u{D}", MalformedEscape),
            ("\\u{0a}", MalformedEscape),
            ("\\u{d800}", MalformedEscape),
            ("\\u{110000}", MalformedEscape),
            ("\\u{}", MalformedEscape),
            ("\\u{a", MalformedEscape),
            ("\\", MalformedEscape),
            ("\\u{0000041}", MalformedEscape),
            ("\\u{+41}", MalformedEscape),
        ];
        for (escaped, error) in cases {
            assert_eq!(Text::parse(escaped), Err(error), "{escaped}");
        }
        assert_eq!(Text::parse(&"a".repeat(513)), Err(TooLong { length: 513 }));
        assert_eq!(Text::new("é".repeat(86)), Err(TooLong { length: 516 }));
    }

    proptest! {
        #[test]
        fn any_text_has_one_spelling(text in "\\PC{1,40}|[ \\\\a]{1,20}|(?s).{1,40}") {
            let text = Text::new(text).unwrap();
            prop_assert_eq!(&Text::parse(&text.to_string()).unwrap(), &text);
        }

        #[test]
        fn what_parses_is_written_the_same(escaped in "([a \\\\]|\\\\u\\{[0-9a-f]{1,6}\\}){0,12}") {
            if let Ok(text) = Text::parse(&escaped) {
                prop_assert_eq!(text.to_string(), escaped);
            }
        }
    }
}
