//! A small client for the Assuan protocol, as far as gpg-agent needs it.
//!
//! Lines of at most 1000 bytes: `D` lines carry data with `%XX` escapes, `S` lines status, `OK` and
//! `ERR code text` end an answer. Whatever the agent sends is bounded here.
//!
//! # Source
//! libassuan's manual, "Server responses"; GnuPG's manual, "Agent protocol".

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroize;

/// The longest line of the protocol, its end not counted.
pub(crate) const MAX_LINE: usize = 1000;
/// Lines accepted as one answer: more than an APDU's answer can need, status lines included.
const MAX_LINES: usize = 1024;
/// How long one read may take. A touch is awaited for some 15 s, a card locked by another session for a touch.
const READ_TIME: Duration = Duration::from_secs(120);
/// How long the agent may take to accept a line.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// What an exchange can end with besides an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AssuanError {
    /// The agent said no: gpg's error code without its source, and its words.
    Refused { code: u32, text: String },
    /// The connection or the protocol broke.
    Broken(String),
}

/// An answer that ended with OK.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The `D` lines, unescaped and joined.
    pub(crate) data: Vec<u8>,
    /// The `S` lines, without the `S`.
    pub(crate) status: Vec<String>,
}

/// A connection to an agent.
pub(crate) struct Assuan {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl std::fmt::Display for AssuanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { text, .. } => f.write_str(text),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl Assuan {
    /// Connects and waits for the greeting.
    pub(crate) fn connect(socket: &Path) -> Result<Self, AssuanError> {
        let stream = UnixStream::connect(socket).map_err(broken)?;
        stream.set_read_timeout(Some(READ_TIME)).map_err(broken)?;
        stream.set_write_timeout(Some(WRITE_TIME)).map_err(broken)?;
        let mut connection = Self { stream, buffer: Vec::with_capacity(MAX_LINE + 2) };
        connection.answer()?;
        Ok(connection)
    }

    /// Sends one command line and waits for its answer. The caller escapes what needs it.
    pub(crate) fn command(&mut self, line: &str) -> Result<Answer, AssuanError> {
        if line.len() > MAX_LINE || line.contains('\n') {
            return Err(AssuanError::Broken(format!("a command of {} bytes fits no line", line.len())));
        }
        // One write, from memory that is wiped: the line may carry a PIN.
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        let sent = self.stream.write_all(&bytes).map_err(broken);
        bytes.zeroize();
        sent?;
        self.answer()
    }

    /// Sends a last command and waits until it is done, but no longer than `patience`.
    pub(crate) fn leave_with(&mut self, line: &str, patience: Duration) {
        // Nobody is left to be told of an error: without a connection there is nothing to give back.
        drop(self.stream.set_read_timeout(Some(patience)));
        drop(self.command(line));
    }

    fn answer(&mut self) -> Result<Answer, AssuanError> {
        let mut answer = Answer::default();
        for _ in 0..MAX_LINES {
            let line = self.line()?;
            let (word, rest) = match line.iter().position(|b| *b == b' ') {
                Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default()),
                None => (line.as_slice(), &[][..]),
            };
            match word {
                b"OK" => return Ok(answer),
                b"ERR" => return Err(refused(&String::from_utf8_lossy(rest))),
                b"D" => answer.data.extend(unescape(rest)),
                b"S" => answer.status.push(String::from_utf8_lossy(rest).into_owned()),
                // We have nothing to tell; the command then ends with an error of its own.
                b"INQUIRE" => self.stream.write_all(b"CAN\n").map_err(broken)?,
                // Comments.
                word if word.starts_with(b"#") => {}
                other => {
                    let other = String::from_utf8_lossy(other).into_owned();
                    return Err(AssuanError::Broken(format!("unexpected line {other:?}")));
                }
            }
        }
        Err(AssuanError::Broken(format!("an answer of more than {MAX_LINES} lines")))
    }

    fn line(&mut self) -> Result<Vec<u8>, AssuanError> {
        loop {
            if let Some(at) = self.buffer.iter().position(|b| *b == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=at).collect();
                line.pop();
                return Ok(line);
            }
            if self.buffer.len() > MAX_LINE {
                return Err(AssuanError::Broken(format!("a line of more than {MAX_LINE} bytes")));
            }
            let mut piece = [0; MAX_LINE];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(AssuanError::Broken("the agent closed the connection".to_owned())),
                Ok(length) => self.buffer.extend_from_slice(piece.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
    }
}

/// `100663404 Card error <SCD>`: the upper byte names the source. The code has 16 bits, but scdaemon
/// also passes on its own numbers, which begin at 0x10001.
fn refused(rest: &str) -> AssuanError {
    let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let code = code.parse::<u32>().unwrap_or_default() & 0xff_ffff;
    AssuanError::Refused { code, text: text.chars().filter(|c| !c.is_control()).collect() }
}

fn broken(error: std::io::Error) -> AssuanError {
    AssuanError::Broken(error.to_string())
}

/// Undoes `%XX`. What is no escape stays as it is.
pub(crate) fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((byte, tail)) = rest.split_first() {
        let escape = match (byte, tail) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                plain.push(high << 4 | low);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                plain.push(*byte);
                rest = tail;
            }
        }
    }
    plain
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::io::BufRead;
    use std::os::unix::net::UnixListener;

    use super::*;

    /// An agent that says `greeting`, then `reply` to whatever comes.
    fn talk(greeting: &[u8], reply: &[u8]) -> Result<Answer, AssuanError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("S");
        let listener = UnixListener::bind(&path).unwrap();
        let (greeting, reply) = (greeting.to_vec(), reply.to_vec());
        let agent = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
            // The other side may hang up on what it gets.
            let _ = stream.write_all(&greeting);
            while let Some(Ok(_)) = lines.next() {
                if stream.write_all(&reply).is_err() {
                    break;
                }
            }
        });
        let answer = Assuan::connect(&path).and_then(|mut agent| agent.command("SCD APDU 00"));
        agent.join().unwrap();
        answer
    }

    #[test]
    fn the_last_command_is_over_before_the_connection_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("S");
        let listener = UnixListener::bind(&path).unwrap();
        let agent = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"OK\n").unwrap();
            let mut line = String::new();
            std::io::BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            // Somebody who does not wait for the answer has closed the connection by now.
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let left_early = matches!(stream.read(&mut [0]), Ok(0));
            // Who left does not get it.
            let _ = stream.write_all(b"OK\n");
            (line, left_early)
        });
        let mut connection = Assuan::connect(&path).unwrap();
        connection.leave_with("SCD RESET", READ_TIME);
        drop(connection);
        assert_eq!(agent.join().unwrap(), ("SCD RESET\n".to_owned(), false));
    }

    #[test]
    fn data_lines_are_joined_and_unescaped() {
        let answer = talk(b"OK hello\n", b"# note\nS SERIALNO D2\nD a%0Ab%25\nD %zz\x80\nOK\n").unwrap();
        assert_eq!(answer.data, b"a\nb%%zz\x80");
        assert_eq!(answer.status, ["SERIALNO D2"]);
    }

    #[test]
    fn refusals_carry_gpgs_code() {
        let refused = talk(b"OK\n", b"ERR 100663408 Card removed <SCD>\n").unwrap_err();
        assert_eq!(refused, AssuanError::Refused { code: 112, text: "Card removed <SCD>".to_owned() });
        assert!(matches!(
            talk(b"OK\n", b"INQUIRE PIN\nERR 99 x\n"),
            Err(AssuanError::Refused { code: 99, .. })
        ));
    }

    #[test]
    fn nothing_is_unbounded() {
        assert!(matches!(talk(&[b'x'; 5000], b""), Err(AssuanError::Broken(_))));
        assert!(matches!(talk(b"OK\n", &[b'D'; 5000]), Err(AssuanError::Broken(_))));
        assert!(matches!(talk(b"OK\n", &b"S x\n".repeat(2000)), Err(AssuanError::Broken(_))));
        assert!(matches!(talk(b"OK\n", b"WHAT\n"), Err(AssuanError::Broken(_))));
    }

    #[test]
    fn escapes_at_the_end_of_a_line() {
        assert_eq!(unescape(b"%"), b"%");
        assert_eq!(unescape(b"%4"), b"%4");
        assert_eq!(unescape(b"%41"), b"A");
    }
}
