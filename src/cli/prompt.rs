//! The controlling terminal: what a person is shown and asked, whatever standard streams are tied to.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcgetwinsize,
    tcsetattr,
};
use zeroize::Zeroizing;

/// The longest line that is read: twice the longest PIN of any card.
const MAX_LINE: usize = 256;

/// How often a raised cancel flag is noticed.
pub(super) const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The terminal that the person sits at.
#[derive(Debug)]
pub(super) struct Terminal {
    file: File,
    cancel: Arc<AtomicBool>,
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Typed {
    /// The cancel flag was raised.
    Cancelled,
    /// The end of input: Ctrl-D on an empty line, or the terminal went away.
    Ended,
    /// A line without its end.
    Line(Zeroizing<Vec<u8>>),
}

impl Terminal {
    /// Opens the controlling terminal, if there is one. Waiting ends when `cancel` is raised.
    pub(super) fn open(cancel: Arc<AtomicBool>) -> Option<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
        Some(Self { file, cancel })
    }

    /// Writes text. What cannot be shown is not asked for later either, so errors may be passed over.
    pub(super) fn say(&self, text: &str) {
        let _ = (&self.file).write_all(text.as_bytes());
    }

    /// How many characters fit into a line.
    pub(super) fn width(&self) -> usize {
        // One that does not say, or says nothing, is taken for the usual one.
        let columns = tcgetwinsize(self.file.as_fd()).map_or(0, |size| size.ws_col);
        if columns == 0 { 80 } else { usize::from(columns) }
    }

    /// Asks for one line. What was typed before the prompt is dropped.
    ///
    /// # Errors
    /// Whatever the terminal gives; a line that is too long.
    pub(super) fn ask(&self, prompt: &str) -> io::Result<Typed> {
        tcflush(self.file.as_fd(), QueueSelector::IFlush)?;
        self.say(prompt);
        self.line(&mut || Ok(()))
    }

    /// Asks for one line until `enough` says that none is needed any more; `None` then.
    ///
    /// # Errors
    /// Whatever the terminal gives; a line that is too long.
    pub(super) fn ask_until(
        &self,
        prompt: &str,
        enough: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<Typed>> {
        tcflush(self.file.as_fd(), QueueSelector::IFlush)?;
        self.say(prompt);
        let mut ended = false;
        let line = self.line(&mut || {
            ended = enough();
            if ended { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if ended { Ok(None) } else { line.map(Some) }
    }

    /// Asks for one line without showing what is typed. What was typed before the prompt is dropped.
    ///
    /// # Errors
    /// If echo cannot be switched off; then nothing is asked.
    pub(super) fn ask_secret(&self, prompt: &str) -> io::Result<Typed> {
        let silent = Silent::new(&self.file)?;
        self.say(prompt);
        // A shell that had us stopped and goes on with us gives the terminal back with echo on.
        let line = self.line(&mut || {
            if silent.undone()? {
                silent.apply()?;
                self.say(prompt);
            }
            Ok(())
        });
        drop(silent);
        if !matches!(line, Ok(Typed::Line(_))) {
            self.say("\n");
        }
        line
    }

    /// One line; `look` is called before each byte and some ten times a second.
    fn line(&self, look: &mut dyn FnMut() -> io::Result<()>) -> io::Result<Typed> {
        let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
        let mut byte = Zeroizing::new([0]);
        loop {
            if self.cancel.load(Ordering::SeqCst) {
                return Ok(Typed::Cancelled);
            }
            look()?;
            let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut fds, Some(&TICK)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            // One byte at a time, so that nothing of the next line is left in a buffer that is not wiped.
            match (&self.file).read(&mut byte[..]) {
                Ok(0) => return Ok(Typed::Ended),
                Ok(_) if *byte == [b'\n'] => return Ok(Typed::Line(line)),
                Ok(_) if line.len() == MAX_LINE => {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "the line is too long"));
                }
                Ok(_) => line.extend_from_slice(&byte[..]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Echo is off while this lives, and as it was afterwards.
struct Silent<'a> {
    file: &'a File,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn new(file: &'a File) -> io::Result<Self> {
        let silent = Self { file, before: tcgetattr(file.as_fd())? };
        silent.apply()?;
        Ok(silent)
    }

    fn apply(&self) -> io::Result<()> {
        let mut modes = self.before.clone();
        modes.local_modes.remove(LocalModes::ECHO);
        modes.local_modes.insert(LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        // No Ctrl-Z: the shell would show the rest of the PIN.
        modes.special_codes[SpecialCodeIndex::VSUSP] = DISABLED;
        Ok(tcsetattr(self.file.as_fd(), OptionalActions::Flush, &modes)?)
    }

    fn undone(&self) -> io::Result<bool> {
        Ok(tcgetattr(self.file.as_fd())?.local_modes.contains(LocalModes::ECHO))
    }
}

/// The value of a special character that no key gives (termios(3), `_POSIX_VDISABLE` on Linux).
const DISABLED: u8 = 0;

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.file.as_fd(), OptionalActions::Flush, &self.before);
    }
}
