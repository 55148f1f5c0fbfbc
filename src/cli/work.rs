//! One decision at the card: show the statement, find token and key, ask for PIN and touch, sign.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use sequoia_openpgp::Cert;

use crate::card::KeySlot;
use crate::card::select;
use crate::card::{
    Attendant, Attestable, Attested, CardError, CardSigner, Doing, KeptPin, Patience, PinEntry, PinRequest,
    Route, Token, TokenInfo, TouchNeed, Waiting,
};
use crate::cli::Common;
use crate::cli::pin::{self, PinSource, Shown};
use crate::cli::place;
use crate::cli::prompt::{Terminal, Typed};
use crate::cli::report::{Failure, say};
use crate::cli::secret::typed;
use crate::response::Response;
use crate::sign;
use crate::statement::Statement;
use crate::trust::roster::read_certificate;
use crate::trust::{MAX_FILE, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{Tier, tier};

/// How long a person may take over one command that changes a token.
const UNHURRIED: Duration = Duration::from_secs(10 * 60);
/// How long nothing may be said while a card is looked at.
const LONG_ENOUGH_TO_WONDER: Duration = Duration::from_secs(2);

/// The person at this end, and how to reach them.
pub(super) struct Desk {
    /// Raised by the signals that end a program.
    pub cancel: Arc<AtomicBool>,
    /// The controlling terminal, if there is one and it may be used.
    pub terminal: Option<Terminal>,
    source: PinSource,
}

impl Desk {
    /// Settles who can be asked, before anything else happens.
    ///
    /// # Errors
    /// If a PIN was to be handed over and was not, or signals cannot be caught.
    pub(super) fn new(common: &Common, pin_fd: Option<u32>) -> Result<Self, Failure> {
        let cancel = Arc::new(AtomicBool::new(false));
        catch_signals(&cancel)?;
        let terminal = if common.no_input { None } else { Terminal::open(Arc::clone(&cancel)) };
        let source = match (pin_fd, &terminal) {
            (Some(number), _) => PinSource::Given(Some(pin::from_descriptor(number, &cancel)?)),
            (None, Some(_)) => PinSource::Terminal,
            (None, None) if common.no_input => PinSource::Nobody,
            (None, None) => PinSource::Pinentry,
        };
        Ok(Self { cancel, terminal, source })
    }

    /// Says so if somebody interrupted.
    ///
    /// # Errors
    /// [`CardError::Cancelled`].
    pub(super) fn check_interrupted(&self) -> Result<(), Failure> {
        match self.cancel.load(Ordering::SeqCst) {
            true => Err(CardError::Cancelled { waited: Duration::ZERO }.into()),
            false => Ok(()),
        }
    }

    /// Whether a PIN was handed over that was not used.
    pub(super) fn has_given_pin(&self) -> bool {
        matches!(self.source, PinSource::Given(Some(_)))
    }

    /// Has whoever comes next asked at the terminal: a PIN that was handed over was one person's.
    pub(super) fn ask_here_from_now_on(&mut self) {
        if matches!(self.source, PinSource::Given(_)) && self.terminal.is_some() {
            self.source = PinSource::Terminal;
        }
    }

    /// Shows text to the person: at the terminal if there is one, else on standard error.
    pub(super) fn show(&self, text: &str) {
        match &self.terminal {
            Some(terminal) => terminal.say(text),
            None => say(text),
        }
    }

    /// Says what will be done, and has it confirmed unless that was done already by `--yes`.
    ///
    /// # Errors
    /// If it was not.
    pub(super) fn confirm(&self, what: &str, yes: bool) -> Result<(), Failure> {
        self.show(what);
        if yes {
            return Ok(());
        }
        let Some(terminal) = &self.terminal else {
            return Err(Failure::usage("somebody must confirm this, and nobody may be asked")
                .hint("nothing was changed; if it is what you want, say --yes"));
        };
        let line = typed(terminal.ask("Type yes to go on: "))?;
        match line.as_ref().map(|line| line.trim_ascii()) {
            Some(b"yes") => Ok(()),
            _ => Err(Failure::failed("not-confirmed", "that was not yes").hint("nothing was changed")),
        }
    }

    /// Patience until `deadline` by the clock.
    pub(super) fn patience(&self, deadline: UnixTime) -> Patience {
        let left = deadline.since(UnixTime::now());
        let now = Instant::now();
        Patience {
            deadline: now.checked_add(left).unwrap_or(now),
            cancel: Arc::clone(&self.cancel),
            waiting: patient(),
        }
    }
}

/// Has `cancel` raised by the signals that end a program.
///
/// # Errors
/// If they cannot be caught.
pub(super) fn catch_signals(cancel: &Arc<AtomicBool>) -> Result<(), Failure> {
    let ignored = ignored_signals();
    let signals = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];
    // What we were started to ignore stays ignored, for the command too: `nohup touchgate run …`.
    for signal in signals.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0) {
        signal_hook::flag::register(signal, Arc::clone(cancel))
            .map_err(|error| Failure::failed("signals", error.to_string()))?;
    }
    Ok(())
}

/// When a command that changes a token gives up.
pub(super) fn soon() -> UnixTime {
    UnixTime::now().plus(UNHURRIED)
}

/// Says once that somebody else has the card, if looking at it takes long enough to wonder.
pub(super) fn patient() -> Arc<Waiting> {
    let said = AtomicBool::new(false);
    Arc::new(move |doing, waited, left| {
        if waited >= LONG_ENOUGH_TO_WONDER && !said.swap(true, Ordering::SeqCst) {
            say(&format!("{doing}, for {} at most\n", in_words(left)));
        }
    })
}

/// Finds the token that was named, or the only one there is.
///
/// # Errors
/// Every outcome is its own [`CardError`].
pub(super) fn find_token(common: &Common, patience: &Patience) -> Result<Token, Failure> {
    found(select::open(common.card_path, common.card, patience), patience)
}

fn found(opened: Result<Token, CardError>, patience: &Patience) -> Result<Token, Failure> {
    let token = opened.map_err(|error| {
        // A signal also breaks into the wait for the card, and what comes of that is not the reason.
        if patience.cancel.load(Ordering::SeqCst) {
            CardError::Cancelled { waited: Duration::ZERO }
        } else {
            error
        }
    })?;
    if token.route() == Route::Scdaemon {
        say("note: scdaemon has the card; going through it\n");
    }
    Ok(token)
}

/// The same where several people come one after the other: of several tokens the one that has not answered yet.
///
/// # Errors
/// As [`find_token`].
pub(super) fn find_other_token(
    common: &Common,
    patience: &Patience,
    answered: &[String],
) -> Result<Token, Failure> {
    let named = common.card.filter(|card| !answered.contains(&card.to_string()));
    match select::open(common.card_path, named, patience) {
        Err(CardError::Several { list }) => {
            let mut others = list.iter().filter(|card| !answered.contains(&card.to_string()));
            match (others.next(), others.next()) {
                (Some(one), None) => found(select::open(common.card_path, Some(*one), patience), patience),
                _ => Err(CardError::Several { list }.into()),
            }
        }
        opened => found(opened, patience),
    }
}

/// The certificate of a token's signature key: from trust, from `given`, or from gpg's keyring.
///
/// # Errors
/// If nowhere is one with that key.
pub(super) fn certificate(
    token: &TokenInfo,
    trust: Option<&Trust>,
    given: Option<Cert>,
) -> Result<Cert, Failure> {
    let key = token.signature_key.as_ref().ok_or(CardError::NoSignatureKey { ident: token.ident })?;
    let fingerprint = key.fingerprint.to_hex();
    let has_key = |cert: &Cert| cert.keys().any(|k| k.key().fingerprint() == key.fingerprint);
    if let Some(cert) = given {
        let mismatch = || {
            Failure::failed("key-mismatch", "the certificate that was given is not this token's")
                .fact("on token", fingerprint.clone())
                .fact(
                    "in file",
                    cert.keys().map(|k| k.key().fingerprint().to_hex()).collect::<Vec<_>>().join(" "),
                )
                .hint(format!("export the right one: `gpg --export --armor {fingerprint}`"))
        };
        return if has_key(&cert) { Ok(cert) } else { Err(mismatch()) };
    }
    if let Some((_, token)) = trust.and_then(|trust| trust.roster.holder(&key.fingerprint)) {
        return Ok(token.key.certificate().clone());
    }
    from_gpg(&fingerprint).filter(has_key).ok_or_else(|| {
        Failure::failed("no-certificate", format!("no certificate for key {fingerprint} of token {}", token.ident)).hint(format!(
            "where the key is known: `gpg --export --armor {fingerprint} > key.asc`, then pass --certificate key.asc"
        ))
    })
}

/// Reads the certificate that the person gave as a file.
///
/// # Errors
/// If it cannot be read, or is not one certificate.
pub(super) fn given_certificate(path: &Path) -> Result<Cert, Failure> {
    let bytes = place::read_bounded(path, MAX_FILE).map_err(|error| place::unreadable(path, &error))?;
    read_certificate(&bytes)
        .map_err(|error| Failure::failed("bad-certificate", format!("{}: {error}", path.display())))
}

/// What gpg's keyring has under this fingerprint. No gpg, no key and a failing gpg are all nothing.
fn from_gpg(fingerprint: &str) -> Option<Cert> {
    let mut gpg = Command::new("gpg");
    gpg.args(["--batch", "--no-tty", "--export", fingerprint]).stdin(Stdio::null());
    let output = gpg.output().ok()?;
    if !output.status.success() || output.stdout.len() as u64 > MAX_FILE {
        return None;
    }
    read_certificate(&output.stdout).ok()
}

/// Signs a statement that was shown: PIN, touch, signature.
///
/// # Errors
/// Every outcome of the card; a certificate that is not the card's.
pub(super) fn sign(
    desk: &mut Desk,
    token: &mut Token,
    cert: &Cert,
    statement: &Statement,
    kept: &mut KeptPin,
) -> Result<Response, Failure> {
    let patience = desk.patience(statement.challenge.expires);
    let ident = token.info().ident;
    let key = sign::key_on_card(cert, token).ok_or(CardError::NoSignatureKey { ident })?;
    let request = &statement.challenge.request;
    let what = format!("{} {} on {}", statement.decision.word(), request.action, request.resource);
    let text = statement.to_text();
    let mut person = AtDesk::new(desk, what, text.clone());
    #[cfg(feature = "desktop-notification")]
    {
        person.asked = asked(&statement.challenge);
    }
    let mut attendant = kept.with(&mut person);
    let mut signer = CardSigner::new(token, key, &mut attendant, patience)?;
    let signature = sign::detached(&mut signer, text.as_bytes(), SystemTime::now());
    drop(signer);
    drop(attendant);
    person.stop_waiting();
    let signature = signature?;
    Ok(Response { statement: text.into_bytes(), signature })
}

/// Has the token attest a key: PIN, touch if it wants one, attestation.
///
/// # Errors
/// Every outcome of the card.
pub(super) fn attest(
    desk: &mut Desk,
    token: &mut Token,
    slot: KeySlot,
    overwrite: bool,
    kept: &mut KeptPin,
    patience: &Patience,
) -> Result<Attested, CardError> {
    let attestable = token.attestable(slot, overwrite, patience)?;
    attest_now(desk, token, attestable, kept, patience)
}

/// The same after it was found that nothing is in the way.
///
/// # Errors
/// Every outcome of the card.
pub(super) fn attest_now(
    desk: &mut Desk,
    token: &mut Token,
    attestable: Attestable,
    kept: &mut KeptPin,
    patience: &Patience,
) -> Result<Attested, CardError> {
    let slot = attestable.slot();
    let what = format!("attest its {slot} key");
    let text = format!("token {} attests its {slot} key; nothing is signed\n", token.info().ident);
    let mut person = AtDesk::new(desk, what, text);
    let attested = token.attest_now(attestable, &mut kept.with(&mut person), patience);
    person.stop_waiting();
    attested
}

/// The signals that this process was started to ignore, the first in the lowest bit; none where the system does not tell.
///
/// # Source
/// Linux, proc(5), `SigIgn` of /proc/PID/status.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}

/// Shows the statement, exactly as it will be signed, every line behind a bar: what a narrow terminal
/// wraps stands before the bar and cannot pass for a line of its own.
pub(super) fn show_statement(desk: &Desk, statement: &Statement) {
    let left = in_words(statement.challenge.expires.since(UnixTime::now()));
    show_signed(desk, &statement.to_text(), &format!(" {left} left to answer"));
}

/// The same of any text that is signed.
pub(super) fn show_signed(desk: &Desk, text: &str, below: &str) {
    let lines: String = text.lines().map(|line| format!("│ {line}\n")).collect();
    desk.show(&format!("┌ this is what you sign\n{lines}└{below}\n"));
}

/// Refuses to go on where the roster says that a key needs a touch and the token says that it does not.
///
/// # Errors
/// Both sides of it.
pub(super) fn check_touch(token: &TokenInfo, trust: &Trust) -> Result<(), Failure> {
    let holder = token.signature_key.as_ref().and_then(|key| trust.roster.holder(&key.fingerprint));
    match holder {
        Some((person, enrolled))
            if tier(enrolled).0 > Tier::Signed && token.touch.need() != TouchNeed::Always =>
        {
            let hint = "turn it on again: `touchgate card touch on`";
            Err(Failure::failed("touch-off", format!("token {} signs without a touch", token.ident))
                .fact("roster", format!("{}'s key needs a touch", person.name))
                .fact("token", format!("touch policy {}", token.touch.word()))
                .hint(hint))
        }
        _ => Ok(()),
    }
}

/// A duration as people say it: `14 min 3 s`, `6 d 2 h`.
pub(super) fn in_words(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

/// Who asks, and by which code to find it on the screen, as the statement has them.
#[cfg(feature = "desktop-notification")]
fn asked(challenge: &crate::challenge::Challenge) -> String {
    let request = &challenge.request;
    let via = request.via.as_ref().map(|via| format!(" via {via}")).unwrap_or_default();
    let urgent = if request.mode == crate::request::Mode::BreakGlass { ", break-glass" } else { "" };
    format!("asked by {}{via}{urgent}\nrequest {}", request.requester, challenge.id.short_code())
}

/// The person, asked by the card.
pub(super) struct AtDesk<'a> {
    desk: &'a mut Desk,
    what: String,
    statement: String,
    /// Whether the countdown stands on the last line.
    counting: bool,
    #[cfg(feature = "desktop-notification")]
    asked: String,
    #[cfg(feature = "desktop-notification")]
    notice: Option<crate::cli::notice::Notice>,
}

impl<'a> AtDesk<'a> {
    /// Somebody who is asked to do `what`, in a few words, and is shown `statement`.
    pub(super) fn new(desk: &'a mut Desk, what: String, statement: String) -> Self {
        Self {
            desk,
            what,
            statement,
            counting: false,
            #[cfg(feature = "desktop-notification")]
            asked: String::new(),
            #[cfg(feature = "desktop-notification")]
            notice: None,
        }
    }

    /// Ends what is shown only while something is awaited.
    pub(super) fn stop_waiting(&mut self) {
        if self.counting {
            say("\n");
            self.counting = false;
        }
        #[cfg(feature = "desktop-notification")]
        {
            self.notice = None;
        }
    }
}

impl Attendant for AtDesk<'_> {
    fn pin(&mut self, request: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
        self.stop_waiting();
        let Desk { source, terminal, cancel } = &mut *self.desk;
        let shown = Shown { what: &self.what, statement: &self.statement };
        source.pin(request, &shown, terminal.as_ref(), cancel)
    }

    fn pinpad(&mut self, token: &TokenInfo) {
        say(&format!("enter the PIN of token {} at the reader to {}\n", token.ident, self.what));
    }

    fn touch_needed(&mut self, token: &TokenInfo, need: TouchNeed) {
        let when = match need {
            TouchNeed::Always => "touch token",
            TouchNeed::Perhaps => "if it blinks, touch token",
            TouchNeed::Never => return,
        };
        self.stop_waiting();
        say(&format!("{when} {} now to {}\n", token.ident, self.what));
        #[cfg(feature = "desktop-notification")]
        {
            let heading = if need == TouchNeed::Always { "Touch token" } else { "If it blinks, touch token" };
            let heading = format!("{heading} {} now", token.ident);
            self.notice =
                crate::cli::notice::Notice::show(heading, format!("to {}\n{}", self.what, self.asked));
        }
    }

    fn waiting(&mut self, doing: Doing, waited: Duration, left: Duration) {
        if !pin::rewritable() || waited < Duration::from_secs(1) {
            return;
        }
        say(&format!("\r{doing}: {} s, {} left \u{8}", waited.as_secs(), in_words(left)));
        self.counting = true;
    }

    fn not_touched(&mut self, waited: Duration) -> bool {
        self.stop_waiting();
        let Some(terminal) = &self.desk.terminal else { return false };
        let prompt = format!("not touched within {} s; Enter tries again, Ctrl-C stops: ", waited.as_secs());
        matches!(terminal.ask(&prompt), Ok(Typed::Line(_)))
    }
}
