//! `card simulate`: a virtual token on a real card stack, with a key and a certificate if wanted.
//!
//! The card, its reader and its pcscd are the virtual card's crate's; what is added here is the
//! certificate, which takes an OpenPGP library.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use sequoia_openpgp::serialize::SerializeInto as _;
use virtual_openpgp_card::attestation::published;
use virtual_openpgp_card::options::{CardOptions, OptionError};
use virtual_openpgp_card::script::Script;
use virtual_openpgp_card::serve;
use virtual_openpgp_card::stage::{self, StageError};
use virtual_openpgp_card::{Algorithm, Slot, TouchPolicy, VirtualCard};

use crate::card::certificate::{self, Settings};
use crate::card::{
    Attendant, CardError, CardSigner, InProcess, Patience, Pin, PinEntry, PinRequest, Token, TokenInfo,
    TouchNeed,
};
use crate::cli::place;
use crate::cli::report::{Failure, exit, say};
use crate::unix_time::UnixTime;

const EXAMPLE: &str = "\
Example:
  touchgate card simulate --with-key \"Alice <alice@example.org>\" --certificate-out alice.asc \\
      --touch after=3s -- gpg --card-status

The command finds the token by PCSCLITE_CSOCK_NAME and has a GNUPGHOME of its own, unless you set one.
Everything is gone when it ends; its exit code is ours. User PIN 123456, admin PIN 12345678.
Not a signing key for production.";

/// The factory PIN of every OpenPGP card.
const PIN: &str = "123456";

// Arguments of `card simulate`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(super) struct Arguments {
    /// Put a key and a certificate for this user id on the token
    #[arg(long, value_name = "USERID")]
    with_key: Option<String>,
    /// Write that certificate here
    #[arg(long, value_name = "FILE", requires = "with_key")]
    certificate_out: Option<PathBuf>,
    /// Write the test roots here that its attestations lead to, for `card attest --root`; nobody else trusts them
    #[arg(long, value_name = "FILE")]
    roots_out: Option<PathBuf>,
    /// Write what stands between here, for `card attest --intermediates`
    #[arg(long, value_name = "FILE")]
    intermediates_out: Option<PathBuf>,
    /// The key's algorithm: ed25519, p256, p384, p521, rsa2048, rsa3072, rsa4096
    #[arg(long, value_name = "ALGORITHM", default_value = "ed25519")]
    key: String,
    /// Who touches: now, never, after=3s, or ask (`card control press`)
    #[arg(long, value_name = "FINGER")]
    touch: Option<String>,
    /// When the signature key wants a touch: off, on, fixed, cached, cached-fixed [on with --touch or --with-key]
    #[arg(long, value_name = "POLICY")]
    touch_policy: Option<String>,
    /// The number on the token
    #[arg(long, value_name = "N")]
    serial: Option<String>,
    /// A second token like the first, in the reader's other slot
    #[arg(long, value_name = "N")]
    second_serial: Option<String>,
    /// yubikey or plain
    #[arg(long, value_name = "WHICH")]
    personality: Option<String>,
    /// The YubiKey's firmware
    #[arg(long, value_name = "N.N.N")]
    firmware: Option<String>,
    /// The YubiKey's shape: a-keychain, a-nano, c-keychain, c-nano, c-lightning
    #[arg(long, value_name = "SHAPE")]
    form_factor: Option<String>,
    /// 32 bytes that decide all keys and random numbers
    #[arg(long, value_name = "HEX")]
    seed: Option<String>,
    /// The token's memory: the same token again next time; key and certificate are made for a new one only
    #[arg(long, value_name = "FILE", conflicts_with = "second_serial")]
    state: Option<String>,
    /// What goes wrong, and who touches: a line such as `on 2A9E9A after 1 removed-before`
    #[arg(long, value_name = "FILE")]
    faults: Option<String>,
    /// Each command and answer, PINs left out
    #[arg(long, value_name = "FILE", conflicts_with = "second_serial")]
    trace: Option<String>,
    /// The reader's name
    #[arg(long, value_name = "NAME")]
    reader: Option<String>,
    /// Keep pcscd's log here, with every APDU in full, PINs included
    #[arg(long, value_name = "FILE")]
    pcscd_log: Option<PathBuf>,
    /// Put the token into a virtual reader that is already there, until stopped
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["command", "second_serial", "reader", "pcscd_log"])]
    vpcd: Option<String>,
    /// Where to create the control socket, with --vpcd
    #[arg(long, value_name = "SOCKET", conflicts_with = "command")]
    control: Option<PathBuf>,
    /// The command, after --
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "vpcd")]
    command: Vec<OsString>,
}

/// Serves the stack's helper processes, if this process was started as one. To be called before anything else.
pub(super) fn stage_entry(arguments: &[OsString]) -> Option<ExitCode> {
    stage::enter(arguments.get(1..).unwrap_or_default(), &mut make)
}

/// Runs the command with a token, or holds a token in a reader.
pub(super) fn simulate(arguments: Arguments, json: bool) -> ExitCode {
    match carry_out(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print(json);
            ExitCode::from(failure.exit)
        }
    }
}

fn carry_out(arguments: Arguments) -> Result<u8, Failure> {
    let first = arguments.card(arguments.serial.as_deref(), true);
    CardWishes::parse(&first).map_err(|error| Failure::usage(error.to_string()))?;
    for (path, text) in [
        (&arguments.roots_out, published::roots as fn() -> String),
        (&arguments.intermediates_out, published::intermediates),
    ] {
        if let Some(path) = path {
            place::write_new(path, text().as_bytes()).map_err(|error| place::unwritable(path, &error))?;
        }
    }
    if let Some(address) = &arguments.vpcd {
        let failed =
            |error: Box<dyn Error>| Failure::failed("vpcd", format!("{address}: {}", stage::chain(&*error)));
        let card = make(&first).map_err(failed)?;
        serve::in_reader(card, address, arguments.control.as_deref()).map_err(failed)?;
        return Ok(exit::YES);
    }
    let Some((program, rest)) = arguments.command.split_first() else {
        return Err(Failure::usage("no command"));
    };
    let mut builder = stage::Builder::new("/proc/self/exe").card(first);
    if let Some(serial) = arguments.second_serial.as_deref() {
        builder = builder.second_card(arguments.card(Some(serial), false));
    }
    if let Some(name) = &arguments.reader {
        builder = builder.reader(name);
    }
    if let Some(log) = &arguments.pcscd_log {
        builder = builder.pcscd_log(log);
    }
    let stage = builder.start().map_err(stage_failure)?;
    if arguments.touch.as_deref() == Some("ask") {
        let socket = stage.control();
        say(&format!(
            "press from another terminal: touchgate card control --socket {} press\n",
            socket.display()
        ));
    }
    let gnupg = GnupgHome::new()?;
    let mut command = stage.command(program);
    command.args(rest).envs(gnupg.environment());
    let failed = |error: std::io::Error| {
        Failure::failed("not-started", format!("{}: {error}", program.to_string_lossy()))
            .hint("check its path")
    };
    let mut child = command.spawn().map_err(failed)?;
    let status = stage::wait_forwarding_signals(&mut child);
    if status.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    drop(gnupg);
    Ok(stage::exit_code(status.map_err(failed)?))
}

/// A GnuPG home for the command, so that no scdaemon of the person's own is left holding a card that is
/// gone; none if they chose one themselves.
struct GnupgHome(Option<tempfile::TempDir>);

impl GnupgHome {
    fn new() -> Result<Self, Failure> {
        if std::env::var_os(GNUPGHOME).is_some() {
            return Ok(Self(None));
        }
        let failed =
            |error: std::io::Error| Failure::failed("gnupg-home", error.to_string()).hint("set GNUPGHOME");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        // Below /tmp, since the sockets in it may have no longer names.
        let home = tempfile::Builder::new()
            .prefix("touchgate-gnupg-")
            .permissions(private)
            .tempdir_in("/tmp")
            .map_err(failed)?;
        std::fs::write(home.path().join("scdaemon.conf"), "disable-ccid\n").map_err(failed)?;
        Ok(Self(Some(home)))
    }

    fn environment(&self) -> Option<(&'static str, PathBuf)> {
        self.0.as_ref().map(|home| (GNUPGHOME, home.path().to_owned()))
    }
}

impl Drop for GnupgHome {
    fn drop(&mut self) {
        if let Some(home) = &self.0 {
            // Where there is no gpg there is nothing to end.
            let _ = std::process::Command::new("gpgconf")
                .args(["--kill", "all"])
                .env(GNUPGHOME, home.path())
                .stdin(std::process::Stdio::null())
                .output();
        }
    }
}

const GNUPGHOME: &str = "GNUPGHOME";

fn stage_failure(error: StageError) -> Failure {
    let failure = Failure::failed("card-stack", stage::chain(&error));
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

impl Arguments {
    /// The options from which a helper process makes the card: see [`make`].
    fn card(&self, serial: Option<&str>, certified: bool) -> Vec<OsString> {
        let policy = self
            .touch_policy
            .as_deref()
            .or((self.touch.is_some() || self.with_key.is_some()).then_some("on"));
        let options = [
            ("--personality", self.personality.as_deref()),
            ("--firmware", self.firmware.as_deref()),
            ("--form-factor", self.form_factor.as_deref()),
            ("--serial", serial),
            ("--seed", self.seed.as_deref()),
            ("--touch", self.touch.as_deref()),
            ("--touch-policy", policy),
            ("--key", self.with_key.as_ref().map(|_| self.key.as_str())),
            ("--with-key", self.with_key.as_deref()),
            ("--state", self.state.as_deref()),
            ("--faults", self.faults.as_deref()),
            ("--trace", self.trace.as_deref()),
        ];
        let mut arguments: Vec<OsString> = Vec::new();
        for (option, value) in options {
            arguments.extend(value.map(|value| OsString::from(format!("{option}={value}"))));
        }
        if let Some(path) = self.certificate_out.as_ref().filter(|_| certified) {
            let mut argument = OsString::from("--certificate-out=");
            argument.push(path);
            arguments.push(argument);
        }
        arguments
    }
}

/// What a card is to be, its certificate included.
struct CardWishes {
    card: CardOptions,
    user_id: Option<String>,
    certificate: Option<PathBuf>,
}

impl CardWishes {
    fn parse(arguments: &[OsString]) -> Result<Self, OptionError> {
        let mut wishes = Self { card: CardOptions::default(), user_id: None, certificate: None };
        let mut cards: Vec<OsString> = Vec::new();
        for argument in arguments {
            let text = argument.to_string_lossy();
            match text.split_once('=') {
                Some(("--with-key", user_id)) => wishes.user_id = Some(user_id.to_owned()),
                Some(("--certificate-out", _)) => {
                    use std::os::unix::ffi::OsStrExt as _;
                    let path = argument.as_bytes().get("--certificate-out=".len()..).unwrap_or_default();
                    wishes.certificate = Some(std::ffi::OsStr::from_bytes(path).into());
                }
                _ => cards.push(argument.clone()),
            }
        }
        wishes.card = CardOptions::parse(&cards)?;
        Ok(wishes)
    }
}

/// Makes the card in the process that will hold it.
fn make(arguments: &[OsString]) -> Result<VirtualCard, Box<dyn Error>> {
    let wishes = CardWishes::parse(arguments)?;
    let Some(user_id) = wishes.user_id else { return wishes.card.build() };
    // A token that comes from its file has its key, and whoever made it its certificate.
    if wishes.card.state.as_ref().is_some_and(|file| file.exists()) {
        return wishes.card.build();
    }
    let (policy, algorithm) = (wishes.card.touch_policy, wishes.card.key.unwrap_or(Algorithm::Ed25519));
    // Its own certificate needs no finger; the touch policy comes afterwards.
    // Nor does it suffer the faults, which are for clients.
    let (faults, trace) = (wishes.card.faults, wishes.card.trace);
    let bare = CardOptions {
        touch_policy: TouchPolicy::Off,
        key: Some(algorithm),
        faults: None,
        trace: None,
        ..wishes.card
    };
    let script = faults.as_deref().map(Script::load).transpose()?;
    let card = bare.build()?;
    let armored = certify(&card, &user_id)?;
    card.set_touch_policy(Slot::Signature, policy);
    card.reset();
    if let Some(path) = wishes.certificate {
        std::fs::write(&path, armored).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(script) = script {
        script.apply(&card);
    }
    if let Some(path) = trace {
        card.trace_to(std::fs::File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    Ok(card)
}

fn certify(card: &VirtualCard, user_id: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let patience = Patience::lasting(Duration::from_secs(60));
    let mut token = Token::look(Arc::new(InProcess::virtual_card(card)), &patience)?;
    let keys = token.keys(&patience)?;
    let mut holder = Holder;
    let mut signer = CardSigner::new(&mut token, keys.signature.clone(), &mut holder, patience)?;
    let settings = Settings { made: Some(UnixTime::now()), ..Settings::default() };
    let made = certificate::make(&keys, user_id, &settings, &mut signer)?;
    Ok(made.cert.armored().to_vec()?)
}

/// Whoever made the card knows its factory PIN.
struct Holder;

impl Attendant for Holder {
    fn pin(&mut self, request: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
        match request.refused {
            Some(_) => Ok(None),
            None => Pin::new(PIN.as_bytes().to_vec().into()).map(|pin| Some(PinEntry::Typed(pin))),
        }
    }

    fn touch_needed(&mut self, _: &TokenInfo, _: TouchNeed) {}

    fn not_touched(&mut self, _: Duration) -> bool {
        false
    }
}

/// `card control`: one word to a virtual token that is running.
pub(super) fn control(socket: Option<&Path>, words: &[String]) -> Result<String, Failure> {
    let socket = match socket {
        Some(socket) => socket.to_owned(),
        None => std::env::var_os(stage::CONTROL_VARIABLE).map(PathBuf::from).ok_or_else(|| {
            Failure::usage("no virtual token is near")
                .hint("run it below `card simulate`, or name the socket with --socket")
        })?,
    };
    virtual_openpgp_card::control::ask(&socket, &words.join(" "))
        .map_err(|error| Failure::failed("control", stage::chain(&error)))
}
