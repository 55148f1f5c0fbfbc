//! The words of a line, and what can be wrong with them.

use std::collections::VecDeque;
use std::str::FromStr;

/// A script that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {reason}")]
pub struct BadScript {
    /// The file's name.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: Reason,
}

/// What is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The step would harm what a factory reset does not bring back.
    #[error("a factory reset does not bring back {what}")]
    CannotBeUndone {
        /// What it would harm.
        what: &'static str,
    },
    /// Something was needed where there is nothing more.
    #[error("{what} is missing")]
    Missing {
        /// What is missing.
        what: &'static str,
    },
    /// Words are left after everything was understood.
    #[error("{word:?} is left over")]
    Over {
        /// The first of them.
        word: String,
    },
    /// The waits of the script are too long for a real card.
    #[error("the script waits {seconds} s so far, more than {most} s")]
    TooLong {
        /// All waits together.
        seconds: u64,
        /// The most.
        most: u64,
    },
    /// A word is not one of those that can stand there.
    #[error("{word:?} is no {what}")]
    Unknown {
        /// What was wanted.
        what: &'static str,
        /// What is there.
        word: String,
    },
}

/// A word, or a text in quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Bare(String),
    Quoted(String),
}

impl Word {
    fn into_text(self) -> String {
        match self {
            Self::Bare(text) | Self::Quoted(text) => text,
        }
    }
}

/// The words of a line that are not yet understood.
#[derive(Debug)]
pub(super) struct Words(VecDeque<Word>);

impl Words {
    /// Cuts a line into words; `#` outside quotes ends it. Gives the line without its comment too.
    pub(super) fn of(line: &str) -> Result<(Words, &str), Reason> {
        let mut words = VecDeque::new();
        let mut rest = line;
        loop {
            rest = rest.trim_start();
            if rest.is_empty() || rest.starts_with('#') {
                let used = line.len() - rest.len();
                return Ok((Words(words), line.get(..used).unwrap_or(line).trim_end()));
            }
            if let Some(quoted) = rest.strip_prefix('"') {
                let (text, after) =
                    quoted.split_once('"').ok_or(Reason::Missing { what: "a closing quote" })?;
                words.push_back(Word::Quoted(text.to_owned()));
                rest = after;
            } else {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                words.push_back(Word::Bare(word.to_owned()));
                rest = after;
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next word as it stands.
    pub(super) fn word(&mut self, what: &'static str) -> Result<String, Reason> {
        match self.0.pop_front() {
            Some(Word::Bare(word)) => Ok(word),
            Some(Word::Quoted(word)) => Err(Reason::Unknown { what, word }),
            None => Err(Reason::Missing { what }),
        }
    }

    /// The next word read as a `T`.
    pub(super) fn read<T: FromStr>(&mut self, what: &'static str) -> Result<T, Reason> {
        let word = self.word(what)?;
        word.parse().map_err(|_| Reason::Unknown { what, word })
    }

    /// Takes that word if it comes next.
    pub(super) fn take(&mut self, wanted: &str) -> bool {
        let is_next = self.next_is(wanted);
        if is_next {
            self.0.pop_front();
        }
        is_next
    }

    /// Whether that word comes next.
    pub(super) fn next_is(&self, wanted: &str) -> bool {
        matches!(self.0.front(), Some(Word::Bare(word)) if word == wanted)
    }

    /// The next word must be that one.
    pub(super) fn expect(&mut self, wanted: &'static str) -> Result<(), Reason> {
        if self.take(wanted) {
            return Ok(());
        }
        Err(match self.0.pop_front() {
            Some(word) => Reason::Unknown { what: wanted, word: word.into_text() },
            None => Reason::Missing { what: wanted },
        })
    }

    /// A text in quotes.
    pub(super) fn text(&mut self) -> Result<String, Reason> {
        match self.0.pop_front() {
            Some(Word::Quoted(text)) => Ok(text),
            Some(Word::Bare(word)) => Err(Reason::Unknown { what: "text in quotes", word }),
            None => Err(Reason::Missing { what: "a text in quotes" }),
        }
    }

    /// A value: hexadecimal, a text in quotes, `empty`, `bytes N` or `zeros N`.
    pub(super) fn value(&mut self) -> Result<Vec<u8>, Reason> {
        if let Some(Word::Quoted(_)) = self.0.front() {
            return self.text().map(String::into_bytes);
        }
        let word = self.word("value")?;
        match word.as_str() {
            "empty" => Ok(Vec::new()),
            "bytes" => Ok(vec![FILLER; self.length()?]),
            "zeros" => Ok(vec![0; self.length()?]),
            _ => unhex(&word).ok_or(Reason::Unknown { what: "value", word }),
        }
    }

    pub(super) fn length(&mut self) -> Result<usize, Reason> {
        let length: usize = self.read("length")?;
        if length > LONGEST_VALUE {
            return Err(Reason::Unknown { what: "length", word: length.to_string() });
        }
        Ok(length)
    }

    /// Nothing may be left.
    pub(super) fn end(mut self) -> Result<(), Reason> {
        match self.0.pop_front() {
            None => Ok(()),
            Some(word) => Err(Reason::Over { word: word.into_text() }),
        }
    }
}

/// What `bytes N` is made of.
const FILLER: u8 = 0x5A;

/// Longest value that a script can name, in bytes: more than any card takes.
const LONGEST_VALUE: usize = 4096;

/// Reads hexadecimal digits, two a byte.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return None;
    }
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
