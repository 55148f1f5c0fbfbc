//! A card that gpg's scdaemon holds, used through scdaemon instead of taken from it.
//!
//! gpg keeps its exclusive connection to a card until scdaemon ends, and killing it loses cached
//! passphrases or breaks gpg for seconds. So commands go through gpg-agent: `SCD LOCK` while we work,
//! `SCD APDU` for each command, and at the end `SCD RESET`, which closes the PIN and has scdaemon
//! select the card anew before its next use.
//!
//! The PIN passes gpg-agent and scdaemon on the way; either writes it to its log if its owner has
//! switched on debugging of this traffic.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use card_backend::{CardBackend, CardCaps, CardTransaction, PinType, SmartcardError};
use zeroize::{Zeroize, Zeroizing};

use super::assuan::{self, Assuan, AssuanError};
use super::error::CardError;
use super::slot::{Connection, Presence, Purpose, Route, Slot};

/// Short APDUs only: `SCD APDU` takes one line of 1000 bytes, two for each byte of the command.
const MAX_DATA: u16 = 255;
/// gpg's error codes for a card that is not there: removed, not present, no such device; and scdaemon's
/// own numbers for no card and no reader.
const GONE: [u32; 5] = [110, 112, 32_848, 0x1_0008, 0x1_000c];
/// How long scdaemon may take to notice that a card is gone, and how often it is asked.
const NOTICE: Duration = Duration::from_millis(2000);
const ASK_EVERY: Duration = Duration::from_millis(200);
/// GET DATA for the AID: harmless, and only a card that is there answers.
const ARE_YOU_THERE: &str = "SCD APDU 00CA004F00";
/// What a failed exchange says of a card that is gone.
const REMOVED: &str = "the card was removed";
/// How long the reset at the end may take: scdaemon answers it after a second.
const RESET_TIME: Duration = Duration::from_secs(10);
/// INS of the command that carries a PIN.
const VERIFY: u8 = 0x20;
/// The answer of a `gpgconf` that is one path; more is not an answer.
const MAX_PATH: usize = 4096;

/// The card that scdaemon holds, reached through gpg-agent.
pub struct ScdaemonSlot {
    agent: PathBuf,
}

impl ScdaemonSlot {
    /// Finds the agent of this user's gpg (`GNUPGHOME` respected) and makes sure that it has a scdaemon
    /// running. None is started.
    ///
    /// # Errors
    /// [`CardError::NoScdaemon`] saying what is missing.
    pub fn running() -> Result<Arc<Self>, CardError> {
        let agent = agent_socket()?;
        let missing = |why: String| CardError::NoScdaemon { why };
        let mut connection = Assuan::connect(&agent)
            .map_err(|error| missing(format!("no gpg-agent at {}: {error}", agent.display())))?;
        connection
            .command("GETINFO scd_running")
            .map_err(|_| missing(format!("the gpg-agent at {} has none running", agent.display())))?;
        Ok(Arc::new(Self { agent }))
    }

    fn agent(&self) -> Result<Assuan, CardError> {
        Assuan::connect(&self.agent).map_err(|error| scdaemon(&error))
    }
}

impl Slot for ScdaemonSlot {
    fn name(&self) -> &str {
        "scdaemon"
    }

    fn route(&self) -> Route {
        Route::Scdaemon
    }

    fn connect(&self, _: Purpose) -> Result<Connection, CardError> {
        let mut agent = self.agent()?;
        // First the lock, so that nobody changes the card between finding and using it.
        agent.command("SCD LOCK --wait").map_err(|error| scdaemon(&error))?;
        let mut held = Held { agent, serial: String::new(), presented: false };
        held.serial = serial(&mut held.agent)?;
        let presence = Some(Presence(format!("scdaemon {}", held.serial)));
        Ok(Connection { backend: Box::new(held), atr: Vec::new(), presence, pinpad: false })
    }

    fn diagnose(&self, message: &str, _: Option<&Presence>) -> Option<CardError> {
        // Asked where it failed already: from here the lock of that connection would be in the way.
        Some(match message {
            message if message.ends_with(REMOVED) => CardError::Removed,
            message => CardError::Scdaemon { message: message.to_owned() },
        })
    }
}

/// `SCD SERIALNO`: has scdaemon look for the card, and gives the AID.
fn serial(agent: &mut Assuan) -> Result<String, CardError> {
    let answer = agent.command("SCD SERIALNO openpgp").map_err(|error| scdaemon(&error))?;
    answer
        .status
        .iter()
        .find_map(|line| line.strip_prefix("SERIALNO ")?.split(' ').next().map(str::to_owned))
        .ok_or_else(|| CardError::Scdaemon { message: "it names no card".to_owned() })
}

fn scdaemon(error: &AssuanError) -> CardError {
    match error {
        AssuanError::Refused { code, .. } if GONE.contains(code) => {
            CardError::NoCard { readers: vec!["scdaemon".to_owned()] }
        }
        other => CardError::Scdaemon { message: other.to_string() },
    }
}

/// Asks gpg itself where its agent listens; without `gpgconf`, the places where it does by default.
fn agent_socket() -> Result<PathBuf, CardError> {
    let asked = Command::new("gpgconf")
        .args(["--list-dirs", "agent-socket"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    if let Ok(output) = asked
        && output.status.success()
        && output.stdout.len() <= MAX_PATH
        && let Ok(path) = String::from_utf8(assuan::unescape(output.stdout.trim_ascii_end()))
        && path.starts_with('/')
    {
        return Ok(path.into());
    }
    let home = std::env::var_os("GNUPGHOME").map(PathBuf::from);
    let default = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".gnupg"));
    let run = PathBuf::from(format!("/run/user/{}/gnupg", rustix::process::getuid().as_raw()));
    let places = if home.is_some() { [home, None] } else { [Some(run), default()] };
    places
        .into_iter()
        .flatten()
        .map(|place| place.join("S.gpg-agent"))
        .find(|socket| socket.exists())
        .ok_or_else(|| CardError::NoScdaemon { why: "no gpg-agent socket was found".to_owned() })
}

/// The locked card. Dropping it gives it back.
struct Held {
    agent: Assuan,
    /// The AID that scdaemon gave.
    serial: String,
    /// Whether a PIN was presented: then the card may be open, and scdaemon's account of it wrong.
    presented: bool,
}

impl Held {
    /// Whether the card was pulled. scdaemon's words for that are those for any failure, and for a moment
    /// it still names the card that it had.
    fn is_gone(&mut self) -> bool {
        let until = Instant::now() + NOTICE;
        loop {
            match serial(&mut self.agent) {
                Ok(serial) if serial != self.serial => return true,
                Err(CardError::NoCard { .. }) => return true,
                Ok(_) | Err(_) => {}
            }
            let there = self.agent.command(ARE_YOU_THERE).is_ok_and(|answer| answer.data.len() >= 2);
            if there || Instant::now() >= until {
                return false;
            }
            thread::sleep(ASK_EVERY);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Unlocked first, or gpg's commands meanwhile would be refused as locked. scdaemon resets the card
        // at once, then closes the reader in its main loop and gives that a second before it
        // answers (GnuPG 2.2.40, scd/app.c, app_reset). In that second its other clients are told "No such
        // device": ours, who use gpg next, shall not be. Nobody is left to be told of an error.
        drop(self.agent.command("SCD UNLOCK"));
        if self.presented {
            self.agent.leave_with("SCD RESET", RESET_TIME);
        }
    }
}

impl CardBackend for Held {
    fn limit_card_caps(&self, caps: CardCaps) -> CardCaps {
        CardCaps::new(
            false,
            caps.chaining_support(),
            MAX_DATA,
            MAX_DATA,
            caps.pw1_max_len(),
            caps.pw3_max_len(),
        )
    }

    fn transaction(
        &mut self,
        _: Option<&[u8]>,
    ) -> Result<Box<dyn CardTransaction + Send + Sync + '_>, SmartcardError> {
        Ok(Box::new(HeldTransaction(self)))
    }
}

struct HeldTransaction<'a>(&'a mut Held);

impl CardTransaction for HeldTransaction<'_> {
    fn transmit(&mut self, command: &[u8], _: usize) -> Result<Vec<u8>, SmartcardError> {
        // scdaemon has selected the application and keeps an account of what is verified in it;
        // selecting again could end that without its knowing.
        if command.starts_with(&[0x00, 0xa4, 0x04, 0x00]) {
            return Ok(vec![0x90, 0x00]);
        }
        let mut line = Zeroizing::new(String::with_capacity(assuan::MAX_LINE));
        line.push_str("SCD APDU ");
        for byte in command {
            for nibble in [byte >> 4, byte & 0xf] {
                line.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
            }
        }
        self.0.presented |= command.get(1) == Some(&VERIFY);
        let answer = self.0.agent.command(&line);
        line.zeroize();
        answer.map(|answer| answer.data).map_err(|error| {
            SmartcardError::Error(if self.0.is_gone() { REMOVED.to_owned() } else { error.to_string() })
        })
    }

    fn feature_pinpad_verify(&self) -> bool {
        false
    }

    fn feature_pinpad_modify(&self) -> bool {
        false
    }

    fn pinpad_verify(&mut self, _: PinType, _: &Option<CardCaps>) -> Result<Vec<u8>, SmartcardError> {
        Err(SmartcardError::Error("no PIN pad through scdaemon".to_owned()))
    }

    fn pinpad_modify(&mut self, _: PinType, _: &Option<CardCaps>) -> Result<Vec<u8>, SmartcardError> {
        Err(SmartcardError::Error("no PIN pad through scdaemon".to_owned()))
    }

    fn was_reset(&self) -> bool {
        false
    }
}
