//! Where the PIN comes from: a descriptor, the reader's keys, the terminal, or pinentry.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use crate::card::{CardError, Pin, PinEntry, PinRequest, TokenInfo};
use crate::cli::place;
use crate::cli::prompt::{TICK, Terminal, Typed};

/// How long pinentry may take to give the terminal back.
const LEAVING: Duration = Duration::from_secs(1);

/// How long the end of a pipe is waited for once the PIN was read.
const ENDING: Duration = Duration::from_secs(1);
/// As much as the system lets a pipe hold, unless somebody raised that.
const MAX_REST: usize = 1024 * 1024;

/// What one line to pinentry can hold beside its command: an Assuan line has 1000 bytes, and the crate does
/// not part longer ones.
const MAX_DESCRIPTION: usize = 980;

/// What the person is told while they are asked.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    /// In a few words: `approve deploy on payments/prod`.
    pub(super) what: &'a str,
    /// What will be signed, in full. A window of its own shows it again.
    pub(super) statement: &'a str,
}

/// One way to get a PIN, settled before the card is opened.
#[derive(Debug)]
pub(super) enum PinSource {
    /// Read already; good for one try.
    Given(Option<Pin>),
    /// Nobody may be asked.
    Nobody,
    /// A window, or another terminal.
    Pinentry,
    /// The terminal.
    Terminal,
}

impl PinSource {
    /// Asks for the PIN that `request` is about. `None` gives up.
    ///
    /// # Errors
    /// [`CardError::NoPin`], [`CardError::Cancelled`].
    pub(super) fn pin(
        &mut self,
        request: &PinRequest<'_>,
        shown: &Shown<'_>,
        terminal: Option<&Terminal>,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Option<PinEntry>, CardError> {
        match self {
            Self::Given(pin) => Ok(pin.take().map(PinEntry::Typed)),
            _ if request.token.pinpad && request.refused.is_none() => Ok(Some(PinEntry::Pinpad)),
            Self::Nobody => {
                Err(CardError::NoPin { why: "nobody may be asked, and --pin-fd was not given".into() })
            }
            Self::Terminal => match terminal {
                Some(terminal) => at_terminal(terminal, request, shown),
                None => Err(CardError::NoPin { why: "there is no terminal".into() }),
            },
            Self::Pinentry => with_pinentry(request, shown, cancel),
        }
    }
}

/// How many tries are left, if that is worth saying.
fn tries(token: &TokenInfo) -> String {
    match token.pin_tries_left {
        1 => " (LAST try: a wrong PIN blocks it)".into(),
        2 => " (2 tries left)".into(),
        _ => String::new(),
    }
}

fn at_terminal(
    terminal: &Terminal,
    request: &PinRequest<'_>,
    shown: &Shown<'_>,
) -> Result<Option<PinEntry>, CardError> {
    if let Some(refused) = request.refused {
        terminal.say(&format!("{refused}\n"));
    }
    let prompt = format!("PIN of token {} to {}{}: ", request.token.ident, shown.what, tries(request.token));
    loop {
        match terminal.ask_secret(&prompt) {
            Ok(Typed::Line(line)) if line.is_empty() => return Ok(None),
            // Too short or too long for any card: it was not sent, so no try is lost.
            Ok(Typed::Line(line)) => match Pin::new(line) {
                Ok(pin) => return Ok(Some(PinEntry::Typed(pin))),
                Err(error) => terminal.say(&format!("{error}\n")),
            },
            Ok(Typed::Ended) => return Ok(None),
            Ok(Typed::Cancelled) => return Err(CardError::Cancelled { waited: Duration::ZERO }),
            Err(error) => return Err(CardError::NoPin { why: format!("the terminal: {error}") }),
        }
    }
}

/// Asks through pinentry what `request` is about.
fn with_pinentry(
    request: &PinRequest<'_>,
    shown: &Shown<'_>,
    cancel: &AtomicBool,
) -> Result<Option<PinEntry>, CardError> {
    let question = format!("PIN of token {} to {}{}", request.token.ident, shown.what, tries(request.token));
    let refused = request.refused.map(ToString::to_string);
    let typed = through_pinentry(description(shown.statement, &question), "PIN", refused, cancel)?;
    Pin::new(typed).map(|pin| Some(PinEntry::Typed(pin)))
}

/// Asks through pinentry, in a thread, since it does not listen to us while it asks.
///
/// # Errors
/// [`CardError::NoPin`] if it cannot ask, [`CardError::Cancelled`].
pub(super) fn through_pinentry(
    description: String,
    prompt: &'static str,
    refused: Option<String>,
    cancel: &AtomicBool,
) -> Result<Zeroizing<Vec<u8>>, CardError> {
    // gpg's way to name the terminal on which pinentry may ask; without it, it looks for one of its own.
    let terminal = std::env::var("GPG_TTY").ok().filter(|name| !name.is_empty());
    let (answer, asked) = mpsc::channel();
    thread::spawn(move || {
        let result = match pinentry::PassphraseInput::with_default_binary() {
            None => Err("no terminal, and no pinentry is installed".to_owned()),
            Some(mut input) => {
                input.with_description(&description).with_prompt(prompt);
                if let Some(terminal) = &terminal {
                    let options = pinentry::unix::Options::builder().tty_name(terminal);
                    input.with_unix_options(options.build());
                }
                if let Some(refused) = &refused {
                    input.with_error(refused);
                }
                match input.interact() {
                    Ok(secret) => Ok(Some(Zeroizing::new(secret.expose_secret().as_bytes().to_vec()))),
                    Err(pinentry::Error::Cancelled) => Ok(None),
                    Err(error) => Err(format!("pinentry: {error}")),
                }
            }
        };
        // The caller may have been cancelled; then nobody wants the PIN any more.
        let _ = answer.send(result);
    });
    loop {
        if cancel.load(Ordering::SeqCst) {
            // Left to itself it would go on reading the terminal. Of SIGINT it knows how to end properly.
            interrupt_children();
            let _ = asked.recv_timeout(LEAVING);
            return Err(CardError::Cancelled { waited: Duration::ZERO });
        }
        match asked.recv_timeout(Duration::from_millis(100)) {
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(CardError::NoPin { why: "pinentry failed".into() });
            }
            Ok(Ok(Some(typed))) => return Ok(typed),
            Ok(Ok(None)) => return Err(CardError::Cancelled { waited: Duration::ZERO }),
            Ok(Err(why)) => return Err(CardError::NoPin { why }),
        }
    }
}

/// Sends SIGINT to the processes that this one has started and not yet collected: pinentry alone, while it asks.
fn interrupt_children() {
    let own = rustix::process::getpid().as_raw_pid().to_string();
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        // proc_pid_stat(5): after the name in brackets come the state and the parent.
        let parent = stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(1));
        if let (Some(pid), true) = (pid, parent == Some(own.as_str())) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::INT);
        }
    }
}

/// What pinentry shows: the statement in full and the question, or where the statement is to be found.
fn description(statement: &str, question: &str) -> String {
    let whole = format!("{statement}\n{question}");
    // Line feeds and percent signs take three bytes on the way.
    let length =
        whole.bytes().map(|byte| if matches!(byte, b'\n' | b'\r' | b'%') { 3 } else { 1 }).sum::<usize>();
    if length <= MAX_DESCRIPTION {
        return whole;
    }
    let bytes = statement.len();
    format!(
        "The statement has {bytes} bytes, too many for this window. It stands where Touchgate was started.\n{question}"
    )
}

/// Reads the PIN that a script hands over through the pipe at descriptor `number`: the first line.
///
/// # Errors
/// [`CardError::NoPin`], [`CardError::Cancelled`], and the length errors of a PIN.
pub(super) fn from_descriptor(number: u32, cancel: &AtomicBool) -> Result<Pin, CardError> {
    through_pipe(number, cancel, |pipe| Pin::from_reader(pipe))
}

/// Reads a passphrase in the same way, of at most 255 bytes.
///
/// # Errors
/// [`CardError::NoPin`], [`CardError::Cancelled`].
pub(super) fn line_from_descriptor(
    number: u32,
    cancel: &AtomicBool,
) -> Result<Zeroizing<Vec<u8>>, CardError> {
    const MOST: usize = 255;
    through_pipe(number, cancel, |mut pipe| {
        // Allocated once, so that no copy stays behind.
        let mut line = Zeroizing::new(Vec::with_capacity(MOST + 1));
        let mut byte = Zeroizing::new([0u8; 1]);
        while line.len() <= MOST {
            match pipe.read(byte.as_mut_slice()) {
                Ok(0) => return Ok(line),
                Ok(_) if byte.as_slice() == b"\n" => return Ok(line),
                Ok(_) => line.extend_from_slice(byte.as_slice()),
                Err(error) => return Err(CardError::NoPin { why: error.to_string() }),
            }
        }
        Err(CardError::NoPin { why: format!("the line is longer than {MOST} bytes") })
    })
}

/// Reads what follows in the pipe at descriptor `number` and forgets it: the programs that are started later inherit
/// the pipe. The end is waited for, but not for long; as standard input it is replaced.
///
/// # Errors
/// [`CardError::NoPin`], [`CardError::Cancelled`].
pub(super) fn discard_rest(number: u32, cancel: &AtomicBool) -> Result<(), CardError> {
    let no_pin = |error: io::Error| CardError::NoPin { why: format!("descriptor {number}: {error}") };
    let mut pipe = place::inherited_pipe(number, false).map_err(no_pin)?;
    let mut bytes = Zeroizing::new([0u8; 4096]);
    let (begun, mut discarded) = (Instant::now(), 0);
    while discarded < MAX_REST {
        match pipe.read(bytes.as_mut_slice()) {
            Ok(0) => break,
            Ok(read) => discarded += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(no_pin(error)),
            Err(_) if cancel.load(Ordering::SeqCst) => {
                return Err(CardError::Cancelled { waited: Duration::ZERO });
            }
            Err(_) if begun.elapsed() >= ENDING => break,
            Err(_) => match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&TICK)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(no_pin(error.into())),
            },
        }
    }
    if discarded >= MAX_REST {
        return Err(no_pin(io::Error::other("too much follows the PIN")));
    }
    if number == 0 {
        let nothing = File::open("/dev/null").map_err(no_pin)?;
        rustix::stdio::dup2_stdin(nothing).map_err(|error| no_pin(error.into()))?;
    }
    Ok(())
}

fn through_pipe<T>(
    number: u32,
    cancel: &AtomicBool,
    read: impl FnOnce(Patient<'_>) -> Result<T, CardError>,
) -> Result<T, CardError> {
    let no_pin = |error: io::Error| {
        let how =
            format!("hand it over through a pipe, as in --pin-fd {number} {number}< <(pass show token)");
        CardError::NoPin { why: format!("descriptor {number}: {error}; {how}") }
    };
    let pipe = place::inherited_pipe(number, false).map_err(no_pin)?;
    read(Patient { pipe, cancel }).map_err(|error| match error {
        CardError::NoPin { .. } if cancel.load(Ordering::SeqCst) => {
            CardError::Cancelled { waited: Duration::ZERO }
        }
        CardError::NoPin { why } => no_pin(io::Error::other(why)),
        other => other,
    })
}

/// A pipe that is waited for, but not longer than until the cancel flag is raised.
struct Patient<'a> {
    pipe: File,
    cancel: &'a AtomicBool,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.cancel.load(Ordering::SeqCst) {
            let mut fds = [PollFd::new(&self.pipe, PollFlags::IN)];
            match poll(&mut fds, Some(&TICK)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return self.pipe.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::Error::other("interrupted"))
    }
}

/// Whether standard error is a terminal, where lines may be rewritten.
pub(super) fn rewritable() -> bool {
    io::IsTerminal::is_terminal(&io::stderr())
}
