//! Commands on their way to the card and answers on their way back.

use card_backend::{CardBackend, SmartcardError};

use crate::script::Form;

/// The longest answer of any card here, in bytes, with room to spare.
const LONGEST_ANSWER: usize = 4096;

/// The most data in a command with one-byte length fields.
const SHORT: usize = 255;

/// The data of one part of a chained command: what GnuPG and OpenSC send.
const PART: usize = 254;

/// GET RESPONSE after GET RESPONSE: more than the longest answer has parts.
const MOST_PARTS: usize = 64;

/// A command without its length fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apdu {
    /// CLA, INS, P1, P2.
    pub header: [u8; 4],
    /// The data field.
    pub data: Vec<u8>,
    /// How many bytes are asked for, where an answer is; 0 for whatever there is.
    pub expected: Option<u8>,
}

impl Apdu {
    /// A command with data that is answered by a status alone.
    pub fn write(header: [u8; 4], data: impl Into<Vec<u8>>) -> Self {
        Self { header, data: data.into(), expected: None }
    }

    /// A command that is answered by whatever there is.
    pub fn ask(header: [u8; 4], data: impl Into<Vec<u8>>) -> Self {
        Self { header, data: data.into(), expected: Some(0) }
    }

    fn short(&self, class: u8, data: &[u8], expected: Option<u8>) -> Vec<u8> {
        let [_, rest @ ..] = self.header;
        let mut bytes = [&[class], &rest[..]].concat();
        if !data.is_empty() {
            bytes.extend(u8::try_from(data.len()));
            bytes.extend(data);
        }
        bytes.extend(expected);
        bytes
    }

    fn extended(&self) -> Vec<u8> {
        let mut bytes = self.header.to_vec();
        if !self.data.is_empty() {
            bytes.push(0);
            bytes.extend(u16::try_from(self.data.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(&self.data);
        }
        if let Some(expected) = self.expected {
            let field = [0, 0, expected];
            let used = if self.data.is_empty() { 0 } else { 1 };
            bytes.extend(field.iter().skip(used));
        }
        bytes
    }
}

/// What a card answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Everything before SW1-SW2.
    pub data: Vec<u8>,
    /// SW1-SW2.
    pub status: u16,
}

/// What came instead of an answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The reader or the card failed.
    #[error("the card cannot be reached: {0}")]
    Card(#[from] SmartcardError),
    /// The connection was ended before.
    #[error("the connection was ended")]
    Closed,
    /// The card goes on announcing more.
    #[error("the card announced more data {MOST_PARTS} times")]
    Endless,
    /// Somebody else reset the card.
    #[error("the card was reset by somebody else")]
    Reset,
    /// There is no SW1-SW2.
    #[error("the answer has {0} bytes, fewer than SW1-SW2")]
    Short(usize),
}

/// A connection that commands go over.
pub struct Link(Option<Box<dyn CardBackend + Send + Sync>>);

impl Link {
    /// Over that connection.
    pub fn new(backend: impl Into<Box<dyn CardBackend + Send + Sync>>) -> Self {
        Self(Some(backend.into()))
    }

    /// Ends the connection; nothing can be sent any more.
    pub fn close(&mut self) {
        self.0 = None;
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// [`LinkError`] where no answer comes.
    pub fn transmit(&mut self, bytes: &[u8]) -> Result<Response, LinkError> {
        let mut transaction = self.0.as_mut().ok_or(LinkError::Closed)?.transaction(None)?;
        if transaction.was_reset() {
            return Err(LinkError::Reset);
        }
        let mut data = transaction.transmit(bytes, LONGEST_ANSWER)?;
        let length = data.len();
        let (Some(sw2), Some(sw1)) = (data.pop(), data.pop()) else { return Err(LinkError::Short(length)) };
        Ok(Response { data, status: u16::from_be_bytes([sw1, sw2]) })
    }

    /// Sends a command and fetches all of its answer.
    ///
    /// # Errors
    /// [`LinkError`] where no answer comes, or no end of it.
    pub fn send(&mut self, form: Form, command: &Apdu) -> Result<Response, LinkError> {
        let [class, ..] = command.header;
        let mut response = match form {
            Form::Chained => {
                let mut parts = command.data.chunks(PART).peekable();
                loop {
                    let part = parts.next().unwrap_or_default();
                    if parts.peek().is_none() {
                        break self.transmit(&command.short(class, part, command.expected))?;
                    }
                    let response = self.transmit(&command.short(class | CHAINING, part, None))?;
                    if response.status != 0x9000 {
                        return Ok(response);
                    }
                }
            }
            Form::Usual if command.data.len() <= SHORT => {
                self.transmit(&command.short(class, &command.data, command.expected))?
            }
            Form::Extended | Form::Usual => self.transmit(&command.extended())?,
        };
        for _ in 0..MOST_PARTS {
            let [0x61, more] = response.status.to_be_bytes() else { return Ok(response) };
            let rest = self.transmit(&[0x00, 0xC0, 0x00, 0x00, more])?;
            response.data.extend(rest.data);
            response.status = rest.status;
        }
        Err(LinkError::Endless)
    }
}

/// The bit of CLA that says that more parts follow.
const CHAINING: u8 = 0x10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_fields_are_written_as_iso_7816_4_says() {
        let ask = Apdu::ask([0, 0xCA, 0, 0x6E], []);
        assert_eq!(ask.short(0, &[], ask.expected), [0, 0xCA, 0, 0x6E, 0]);
        assert_eq!(ask.extended(), [0, 0xCA, 0, 0x6E, 0, 0, 0]);
        let write = Apdu::write([0, 0x20, 0, 0x81], *b"12");
        assert_eq!(write.extended(), *b"\x00\x20\x00\x81\x00\x00\x0212");
        let both = Apdu::ask([0, 0x88, 0, 0], *b"x");
        assert_eq!(both.short(0, &both.data, both.expected), *b"\x00\x88\x00\x00\x01x\x00");
        assert_eq!(both.extended(), *b"\x00\x88\x00\x00\x00\x00\x01x\x00\x00");
    }
}
