//! A real card stack for a test, and the test program itself as its client.
//!
//! The PC/SC library takes its socket from the environment, once for a process, and changing the
//! environment is unsafe. So each test starts its own executable again: the ignored test `probe` does
//! what the `PROBE_…` variables say and reports on standard output.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use sequoia_openpgp::cert::Cert;
use sequoia_openpgp::parse::Parse;
use sequoia_openpgp::serialize::Serialize;
use touchgate::card::certificate::{self, Settings};
use touchgate::card::select::{CardPath, ReaderState, list, open};
use touchgate::card::{CardKeys, CardSigner, Patience};
use touchgate::sign;
use virtual_openpgp_card::control;
use virtual_openpgp_card::stage::{Builder, Stage};

use super::{Person, STATEMENT};

/// The program that hosts the stage's helper processes: ours.
pub fn host() -> &'static str {
    env!("CARGO_BIN_EXE_touchgate")
}

/// A stack with one card.
pub fn stage(options: &str) -> Stage {
    start(Builder::new(host()).card(options.split_whitespace()))
}

pub fn start(builder: Builder) -> Stage {
    builder.start().unwrap_or_else(|error| panic!("{error}; hint: {:?}", error.hint()))
}

pub fn tell(stage: &Stage, line: &str) -> String {
    control::ask(&stage.control(), line).unwrap()
}

/// Commands that the card has seen.
pub fn apdus(stage: &Stage) -> u32 {
    tell(stage, "trace count").parse().unwrap()
}

/// What one run of the probe is to do.
#[derive(Clone, Default)]
pub struct Probe {
    variables: Vec<(&'static str, String)>,
}

impl Probe {
    /// Signs by way of `path` with these PINs, comma-separated.
    pub fn sign(path: &str, pins: &str) -> Self {
        Self::default().with("PROBE_DO", "sign").with("PROBE_PATH", path).with("PROBE_PINS", pins)
    }

    pub fn of(what: &str, path: &str) -> Self {
        Self::default().with("PROBE_DO", what).with("PROBE_PATH", path)
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    pub fn spawn(&self, stage: &Stage) -> Running {
        let mut command = stage.command(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "probe", "--nocapture"]);
        command.envs(self.variables.iter().map(|(name, value)| (name, value.as_str())));
        Running::new(command)
    }

    /// Runs to the end and gives the reports.
    pub fn run(&self, stage: &Stage) -> Reports {
        self.spawn(stage).finish()
    }
}

/// A probe at work.
pub struct Running {
    pub child: Child,
    lines: BufReader<ChildStdout>,
    seen: Vec<String>,
}

impl Running {
    fn new(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines, seen: Vec::new() }
    }

    /// Reads until a report begins with `word`.
    pub fn until(&mut self, word: &str) {
        while !self.seen.last().is_some_and(|line| line.starts_with(word)) {
            assert!(self.read(), "no {word:?} in {:?}", self.seen);
        }
    }

    /// Lets a probe go on that waits.
    pub fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    pub fn finish(mut self) -> Reports {
        while self.read() {}
        assert!(self.child.wait().unwrap().success(), "{:?}", self.seen);
        Reports(self.seen)
    }

    fn read(&mut self) -> bool {
        let mut line = String::new();
        if self.lines.read_line(&mut line).unwrap() == 0 {
            return false;
        }
        // The test runner's own lines come in between.
        if let Some((_, report)) = line.trim_end().split_once("REPORT ") {
            self.seen.push(report.to_owned());
        }
        true
    }
}

/// What a probe said.
#[derive(Debug)]
pub struct Reports(pub Vec<String>);

impl Reports {
    pub fn has(&self, beginning: &str) -> bool {
        self.0.iter().any(|line| line.starts_with(beginning))
    }

    /// The outcome: `ok`, or an error's debug form.
    pub fn outcome(&self) -> &str {
        self.0.iter().find_map(|line| line.strip_prefix("outcome ")).unwrap_or_else(|| panic!("{self:?}"))
    }

    pub fn value(&self, name: &str) -> &str {
        let found = self.0.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

fn report(line: &str) {
    println!("REPORT {line}");
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The body of the ignored test `probe`.
pub fn probe() {
    // Somebody runs all ignored tests: there is nothing to do.
    if variable("PROBE_DO").is_none() {
        return;
    }
    let path: CardPath = variable("PROBE_PATH").unwrap().parse().unwrap();
    let patience = Patience::lasting(Duration::from_secs(
        variable("PROBE_SECONDS").map_or(300, |seconds| seconds.parse().unwrap()),
    ));
    match variable("PROBE_DO").as_deref() {
        Some("list") => match list(path, &patience) {
            Ok(readers) => {
                for reader in readers {
                    let state = match &reader.state {
                        ReaderState::Present(token) => format!("Present {}", token.info().ident),
                        other => format!("{other:?}"),
                    };
                    report(&format!("reader {}: {state}", reader.name));
                }
                report("outcome ok");
            }
            Err(error) => report(&format!("outcome {error:?}")),
        },
        Some("hold") => hold(),
        Some("sign") => match signed(path, &patience) {
            Ok(()) => report("outcome ok"),
            Err(error) => report(&format!("outcome {error:?}")),
        },
        other => panic!("{other:?}"),
    }
}

/// Another program that has the card to itself until told to go on.
fn hold() {
    let context = pcsc::Context::establish(pcsc::Scope::User).unwrap();
    let reader = context.list_readers_owned().unwrap().remove(0);
    let card = context.connect(&reader, pcsc::ShareMode::Exclusive, pcsc::Protocols::ANY).unwrap();
    report("holding");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    drop(card);
    report("outcome ok");
}

fn signed(path: CardPath, patience: &Patience) -> Result<(), touchgate::card::CardError> {
    let wanted = variable("PROBE_CARD").map(|ident| ident.parse().unwrap());
    let mut token = open(path, wanted, patience)?;
    report(&format!("route {:?}", token.route()));
    report(&format!("ident {}", token.info().ident));
    let folder = variable("PROBE_FOLDER").map(PathBuf::from);
    let pins = variable("PROBE_PINS").unwrap_or_default();
    let pins: Vec<&str> = pins.split(',').filter(|pin| !pin.is_empty()).collect();
    let mut person = Person::with_pins(&pins);
    person.retries = variable("PROBE_RETRIES").map_or(0, |retries| retries.parse().unwrap());
    person.on_touch = Some(Box::new(|| report("touch")));
    if let Some(seconds) = variable("PROBE_CANCEL_AFTER") {
        let cancel = patience.cancel.clone();
        person.on_touch = Some(Box::new(move || {
            let (cancel, wait) = (cancel.clone(), Duration::from_secs_f64(seconds.parse().unwrap()));
            std::thread::spawn(move || {
                std::thread::sleep(wait);
                cancel.store(true, Ordering::Relaxed);
            });
        }));
    }
    if variable("PROBE_WAIT").is_some() {
        report("looked");
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }
    let certificate = folder.as_ref().map(|folder| folder.join("alice.pgp"));
    match certificate {
        // The first run makes the certificate, the second signs with it.
        Some(file) if !file.exists() => {
            let keys = CardKeys::signing(token.signature_key(patience)?);
            let key = keys.signature.clone();
            let mut signer = CardSigner::new(&mut token, key, &mut person, patience.clone())?;
            let made =
                certificate::make(&keys, "Alice <alice@example.org>", &Settings::default(), &mut signer);
            let cert = super::certified(made)?.cert;
            drop(signer);
            cert.serialize(&mut std::fs::File::create(file).unwrap()).unwrap();
        }
        certificate => {
            let key = match certificate {
                Some(file) => sign::key_on_card(&Cert::from_file(file).unwrap(), &token).unwrap(),
                None => token.signature_key(patience)?,
            };
            let mut signer = CardSigner::new(&mut token, key, &mut person, patience.clone())?;
            let signature = sign::detached(&mut signer, STATEMENT, std::time::SystemTime::now())
                .map_err(super::card_error)?;
            drop(signer);
            if let Some(folder) = folder {
                std::fs::write(folder.join("statement"), STATEMENT).unwrap();
                std::fs::write(folder.join("statement.sig"), signature).unwrap();
            }
        }
    }
    report(&format!("apdus {}", token.apdus()));
    Ok(())
}

/// A GnuPG home of its own whose agent talks to one stage only.
pub struct Gpg<'a> {
    stage: &'a Stage,
    home: tempfile::TempDir,
}

impl<'a> Gpg<'a> {
    pub fn new(stage: &'a Stage) -> Self {
        // Short: gpg-agent's sockets lie in it.
        let home = tempfile::Builder::new().prefix("tgh").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        // Without it scdaemon looks at USB itself, for a token of the person who runs the tests.
        std::fs::write(home.path().join("scdaemon.conf"), "disable-ccid\n").unwrap();
        Self { stage, home }
    }

    pub fn home(&self) -> String {
        self.home.path().display().to_string()
    }

    pub fn command(&self, program: &str) -> Command {
        let mut command = self.stage.command(program);
        command.env("GNUPGHOME", self.home.path()).env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    /// Runs a program that must succeed; standard output and error.
    pub fn ok(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {text}");
        text
    }

    /// `gpg --card-status`, which must work at once; gives the signature counter.
    pub fn card_status(&self) -> u32 {
        let text = self.ok("gpg", &["--batch", "--card-status"]);
        let counter = text.lines().find_map(|line| line.strip_prefix("Signature counter : "));
        counter.unwrap_or_else(|| panic!("{text}")).trim().parse().unwrap()
    }
}

impl Drop for Gpg<'_> {
    fn drop(&mut self) {
        let _ = self.command("gpgconf").args(["--kill", "all"]).status();
    }
}
