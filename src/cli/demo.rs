//! `demo`: the whole story on a virtual card, with the same calls that a real token gets.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use clap::Args;
use sequoia_openpgp::Cert;
use sequoia_openpgp::serialize::SerializeInto as _;
use virtual_openpgp_card::{Algorithm, Finger, Slot, TouchPolicy as CardTouchPolicy, VirtualCard};

use crate::card::certificate::{self, Settings};
use crate::card::{
    Attendant, CardError, CardSigner, InProcess, Patience, Pin, PinEntry, PinRequest, Token, TokenInfo,
    TouchNeed,
};
use crate::challenge::{Challenge, Terms};
use crate::cli::commit::{self, Checkout};
use crate::cli::prompt::{Terminal, Typed};
use crate::cli::report::{Failure, Outcome, Report, Verdict};
use crate::cli::{Common, failure, place};
use crate::request::{Mode, Parameters, Request, command_value};
use crate::response::{Response, armored};
use crate::sign;
use crate::statement::Decision;
use crate::text::Text;
use crate::trust::quorum::{self, Circumstances};
use crate::trust::versions::write_pin;
use crate::trust::{Files, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{self, OpenRequests, Rejection, Verified};

/// How long what was kept can be looked at again.
const TRUSTED: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The factory PIN of every OpenPGP card. The demo's card dies with the demo.
const PIN: &str = "123456";
/// What the demo runs: the project's own script where it is checked out, else a copy of it.
const TRACKED: [&str; 2] = ["sh", "fixtures/demo/deploy.sh"];
const COPY: [&str; 2] = ["sh", "./deploy.sh"];
const SCRIPT: &str = include_str!("../../fixtures/demo/deploy.sh");
/// How long the demo's finger takes.
const FINGER: Duration = Duration::from_millis(1500);
/// How long the demo's card waits for a person, as a real one does.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long it waits for a finger that never comes, so that the demo stays short.
const IMPATIENCE: Duration = Duration::from_secs(2);

// Arguments of `demo`.
#[derive(Args, Debug)]
#[command(before_help = "Example:\n  touchgate demo --interactive --keep story")]
pub(super) struct Arguments {
    /// Be the finger yourself: Enter touches the token
    #[arg(long)]
    interactive: bool,
    /// Keep trust, request, approval and certificate in this directory, which must not exist yet
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Tells the story. Anything that does not end as told is an error.
pub(super) fn demo(common: &Common, arguments: &Arguments) -> Outcome {
    let mut story = Story::new(common, arguments)?;
    let (challenge, response) = story.approve_and_run()?;
    let checked = story.check_with_stock_tools(&challenge, &response)?;
    story.attack(&challenge, &response)?;
    story.tell("");
    if let Some(directory) = &arguments.keep {
        let code = challenge.id.short_code();
        let here = directory.display();
        story.tell(&format!(
            "Kept in {here}: touchgate verify --unpinned --trust {here}/trust {here}/{code}.approval"
        ));
    }
    story.tell("What ran was what was shown, signed and checked. Next, with your own token: touchgate init");
    Ok(Report::done("")
        .with("request", challenge.id.to_string())
        .with("checked_with", checked)
        .with("rejected", vec!["altered", "replayed", "not-touched"]))
}

/// Everything on stage.
struct Story {
    quiet: bool,
    card: VirtualCard,
    token: Token,
    cert: Cert,
    trust: Trust,
    cancel: Arc<AtomicBool>,
    terminal: Option<Terminal>,
    /// Where files lie: a directory that goes away, or the one to keep.
    directory: PathBuf,
    _temporary: Option<tempfile::TempDir>,
    /// What is deployed, from where, and the commit if it is one.
    deploy: [&'static str; 2],
    place: PathBuf,
    checkout: Checkout,
    requests: OpenRequests,
}

impl Story {
    fn new(common: &Common, arguments: &Arguments) -> Result<Self, Failure> {
        let failed = |error: &dyn ToString| Failure::failed("demo", error.to_string());
        let cancel = interruptible()?;
        let terminal = match arguments.interactive {
            true => Some(
                Terminal::open(Arc::clone(&cancel))
                    .ok_or_else(|| Failure::usage("--interactive needs a terminal"))?,
            ),
            false => None,
        };
        let private = fs::Permissions::from_mode(0o700);
        let (directory, temporary) = match &arguments.keep {
            Some(directory) => {
                fs::create_dir(directory).map_err(|error| place::unwritable(directory, &error))?;
                (directory.clone(), None)
            }
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("touchgate-demo-")
                    .permissions(private)
                    .tempdir()
                    .map_err(|error| failed(&error))?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let window = if arguments.interactive { PATIENCE } else { IMPATIENCE };
        let checkout = match Path::new(TRACKED[1]).is_file() {
            true => commit::checked_out(&TRACKED),
            false => Checkout::Unstated("this is not the project's own tree"),
        };
        let (deploy, place) = match &checkout {
            Checkout::Commit(_) => (TRACKED, PathBuf::from(".")),
            Checkout::Unstated(_) => (COPY, directory.clone()),
        };
        let card = VirtualCard::builder().seed(random()?).touch_window(window).build();
        let now = UnixTime::now();
        let created = u32::try_from(now.seconds()).map_err(|error| failed(&error))?;
        card.generate(Slot::Signature, Algorithm::Ed25519, created).map_err(|error| failed(&error))?;
        let patience = Patience::lasting(Duration::from_secs(60));
        let mut token = Token::look(Arc::new(InProcess::virtual_card(&card)), &patience)?;
        let keys = token.keys(&patience)?;
        let mut person = Person { terminal: None, card: &card, quiet: true };
        let mut signer = CardSigner::new(&mut token, keys.signature.clone(), &mut person, patience.clone())?;
        let made = certificate::make(&keys, "Alice <alice@example.org>", &Settings::default(), &mut signer);
        let cert = made.map_err(|error| failed(&error))?.cert;
        card.set_touch_policy(Slot::Signature, CardTouchPolicy::Fixed);
        let token = Token::look(Arc::new(InProcess::virtual_card(&card)), &patience)?;
        let files = trust_files(&token, &cert, now)?;
        let trust = Trust::from_files(&files).map_err(|error| failed(&error))?;
        let story = Self {
            quiet: common.json,
            card,
            token,
            cert,
            trust,
            cancel,
            terminal,
            directory,
            _temporary: temporary,
            deploy,
            place,
            checkout,
            requests: OpenRequests::default(),
        };
        for (path, bytes) in files {
            story.keep(&format!("trust/{path}"), &bytes)?;
        }
        story.keep("deploy.sh", SCRIPT.as_bytes())?;
        story.keep("pin", write_pin(&story.trust.version).as_bytes())?;
        let armored = story.cert.armored().to_vec().map_err(|error| failed(&error))?;
        story.keep("alice.asc", &armored)?;
        story.keep("alice.pgp", &story.cert.to_vec().map_err(|error| failed(&error))?)?;
        Ok(story)
    }

    fn tell(&self, text: &str) {
        if !self.quiet {
            tell(text);
        }
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let path = self.directory.join(name);
        let parent = path.parent().unwrap_or(&self.directory);
        fs::create_dir_all(parent)
            .and_then(|()| place::write_new(&path, bytes))
            .map_err(|error| place::unreadable(&path, &error))
    }

    /// Asks for a deploy of the commit that is checked out here.
    fn ask(&mut self) -> Result<Challenge, Failure> {
        let invalid = |error: &dyn ToString| Failure::failed("demo", error.to_string());
        let name = |name: &str| name.parse().map_err(|error: crate::request::NameError| invalid(&error));
        let mut parameters = Parameters::from([(
            name("command")?,
            command_value(&self.deploy).map_err(|error| invalid(&error))?,
        )]);
        if let Checkout::Commit(commit) = &self.checkout {
            parameters.insert(name("commit")?, Text::new(commit.as_str()).map_err(|error| invalid(&error))?);
        }
        let request = Request {
            action: "deploy".parse().map_err(|error: crate::request::NameError| invalid(&error))?,
            resource: "payments/prod".parse().map_err(|error: crate::request::NameError| invalid(&error))?,
            parameters,
            requester: "os:alice@laptop"
                .parse()
                .map_err(|error: crate::request::NameError| invalid(&error))?,
            via: None,
            requester_key: None,
            reason: Some(Text::new("Release 2.4.1").map_err(|error| invalid(&error))?),
            mode: Mode::Ordinary,
        };
        let rule = self.trust.admit(&request)?;
        let terms = Terms {
            audience: self.trust.audience.clone(),
            trust: self.trust.version,
            answer_within: rule.answer_within,
        };
        let challenge = Challenge::issue(request, terms, UnixTime::now(), random()?)?;
        self.requests.open(challenge.clone());
        Ok(challenge)
    }

    /// PIN, touch, signature: the same code as with a token in a reader.
    fn sign(&mut self, challenge: &Challenge) -> Result<Response, Failure> {
        let statement = challenge.clone().decided(Decision::Approve);
        let key = sign::key_on_card(&self.cert, &self.token)
            .ok_or(CardError::NoSignatureKey { ident: self.token.info().ident })?;
        let mut person = Person { terminal: self.terminal.as_ref(), card: &self.card, quiet: self.quiet };
        let left = challenge.expires.since(UnixTime::now());
        let patience = Patience { cancel: Arc::clone(&self.cancel), ..Patience::lasting(left) };
        let mut signer = CardSigner::new(&mut self.token, key, &mut person, patience)?;
        let text = statement.to_text();
        let signature = sign::detached(&mut signer, text.as_bytes(), SystemTime::now())?;
        Ok(Response { statement: text.into_bytes(), signature })
    }

    fn judge(&mut self, response: &Response) -> Result<Verified, Rejection> {
        verify::response(response, &self.trust, &mut self.requests, UnixTime::now())
    }

    fn approve_and_run(&mut self) -> Result<(Challenge, Response), Failure> {
        let ident = self.token.info().ident;
        self.tell(&format!(
            "Alice's token is a virtual YubiKey, number {ident}; its signature key needs a touch, for good."
        ));
        self.tell(&format!(
            "She wants to deploy:\n\n    $ touchgate run deploy payments/prod -- {}\n\n\
             This is what she reads, and what her token signs, byte for byte:\n",
            self.deploy.join(" ")
        ));
        let challenge = self.ask()?;
        let code = challenge.id.short_code();
        self.keep(&format!("{code}.request"), challenge.to_text().as_bytes())?;
        let statement = challenge.clone().decided(Decision::Approve).to_text();
        self.tell(&statement.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"));
        self.tell("");
        self.card.set_finger(if self.terminal.is_some() { Finger::Ask } else { Finger::After(FINGER) });
        let response = self.sign(&challenge)?;
        self.keep(&format!("{code}.approval"), &response.to_file())?;
        let approval = match self
            .judge(&response)
            .map_err(|rejection| failure::rejected(&rejection, &code))?
        {
            Verified::Approved(approval) => approval,
            Verified::Refused(_) => return Err(Failure::failed("demo", "an approval was read as a refusal")),
        };
        self.tell(&format!(
            "approved: {code}, by {} (token {}, {})",
            approval.answer().person(),
            approval.answer().serial(),
            approval.answer().tier()
        ));
        quorum::decide(&self.trust, &challenge, vec![approval], Circumstances::default(), UnixTime::now())?;
        self.tell("\nOnly now the command runs:\n");
        let [program, rest @ ..] = self.deploy;
        let output = Command::new(program).args(rest).current_dir(&self.place).stdin(Stdio::null()).output();
        let output = output.map_err(|error| Failure::failed("not-started", format!("{program}: {error}")))?;
        self.tell(&format!("    {}", String::from_utf8_lossy(&output.stdout).trim_end()));
        match output.status.success() {
            true => Ok((challenge, response)),
            false => Err(Failure::failed("demo", format!("the command ended with {}", output.status))),
        }
    }

    /// Has the same bytes checked by every OpenPGP tool that is installed. None of ours is involved.
    fn check_with_stock_tools(
        &self,
        challenge: &Challenge,
        response: &Response,
    ) -> Result<Vec<&'static str>, Failure> {
        let code = challenge.id.short_code();
        self.keep(&code, &response.statement)?;
        self.keep(&format!("{code}.asc"), armored(&response.signature).as_bytes())?;
        let private = fs::Permissions::from_mode(0o700);
        let home = tempfile::Builder::new().prefix("touchgate-gpg-").permissions(private).tempdir();
        let home = home.map_err(|error| Failure::failed("demo", error.to_string()))?;
        let path = |name: &str| self.directory.join(name);
        let (certificate, signature, statement) =
            (path("alice.pgp"), path(&format!("{code}.asc")), path(&code));
        let arguments = |words: &[&str], files: &[&Path]| -> Vec<std::ffi::OsString> {
            words.iter().map(Into::into).chain(files.iter().map(|file| file.as_os_str().to_owned())).collect()
        };
        let gpg = ["--batch", "--no-autostart", "--no-tty", "--trust-model", "always"];
        let import: Vec<&str> = gpg.iter().copied().chain(["--import"]).collect();
        let check: Vec<&str> = gpg.iter().copied().chain(["--verify"]).collect();
        let tools = [
            ("gpg", vec![arguments(&import, &[&certificate]), arguments(&check, &[&signature, &statement])]),
            ("gpgv", vec![arguments(&["--keyring"], &[&certificate, &signature, &statement])]),
            ("sqv", vec![arguments(&["--keyring"], &[&certificate, &signature, &statement])]),
        ];
        self.tell("\nAnybody can check the signature without us, today or in five years:\n");
        let mut checked = Vec::new();
        for (tool, calls) in tools {
            let run = |arguments: &Vec<std::ffi::OsString>| {
                Command::new(tool).args(arguments).env("GNUPGHOME", home.path()).stdin(Stdio::null()).output()
            };
            match calls.iter().map(run).collect::<Result<Vec<_>, _>>() {
                Ok(outputs) if outputs.iter().all(|output| output.status.success()) => {
                    self.tell(&format!("    {tool:<5} good signature"));
                    checked.push(tool);
                }
                Ok(outputs) => {
                    let said: String = outputs
                        .iter()
                        .map(|output| String::from_utf8_lossy(&output.stderr).into_owned())
                        .collect();
                    return Err(Failure::failed("demo", format!("{tool} does not accept the signature"))
                        .fact("it says", said));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    self.tell(&format!("    {tool:<5} (not installed)"))
                }
                Err(error) => return Err(Failure::failed("demo", format!("{tool}: {error}"))),
            }
        }
        Ok(checked)
    }

    fn attack(&mut self, challenge: &Challenge, response: &Response) -> Result<(), Failure> {
        self.tell("\nNow somebody cheats.");
        let text = String::from_utf8_lossy(&response.statement).replace("Release 2.4.1", "Release 2.4.9");
        let altered = Response { statement: text.into_bytes(), signature: response.signature.clone() };
        self.expect("One byte of the approval is changed on its way", &altered, "altered")?;
        self.expect("The same approval is sent a second time", response, "replayed")?;
        self.tell("\n- Malware knows the PIN and asks for another deploy, but no finger comes:");
        let second = self.ask()?;
        self.card.set_finger(Finger::Never);
        self.terminal = None;
        let before = self.card.signature_count();
        match self.sign(&second) {
            Err(failure) if failure.code == "not-touched" => self.tell(&indented(&failure.text())),
            Err(failure) => return Err(failure),
            Ok(_) => return Err(Failure::failed("demo", "the token signed without a touch")),
        }
        if self.card.signature_count() != before || challenge.id == second.id {
            return Err(Failure::failed("demo", "the token counted a signature that nobody touched for"));
        }
        self.tell("\n  Nothing was signed and nothing ran.");
        Ok(())
    }

    fn expect(&mut self, what: &str, response: &Response, code: &str) -> Result<(), Failure> {
        self.tell(&format!("\n- {what}:"));
        match self.judge(response) {
            Err(rejection) if rejection.code() == code => {
                self.tell(&indented(&failure::rejected(&rejection, "").text()));
                Ok(())
            }
            Err(rejection) => Err(failure::rejected(&rejection, what)),
            Ok(_) => Err(Failure {
                verdict: Verdict::Failed,
                ..Failure::failed("demo", format!("accepted: {what}"))
            }),
        }
    }
}

/// A flag that Ctrl-C raises, so that what lies in the temporary directory is cleared away.
fn interruptible() -> Result<Arc<AtomicBool>, Failure> {
    let cancel = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&cancel))
        .map_err(|error| Failure::failed("signals", error.to_string()))?;
    Ok(cancel)
}

/// A closed pipe ends the telling, not the demo.
fn tell(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Failure::failed("randomness", "the system gives no random numbers"))?;
    Ok(bytes)
}

fn trust_files(token: &Token, cert: &Cert, now: UnixTime) -> Result<Files, Failure> {
    let info = token.info();
    let key = info.signature_key.as_ref().map(|key| key.fingerprint.to_hex()).unwrap_or_default();
    let policy = format!(
        "audience    = \"demo.example\"\nversion     = 1\nvalid_until = \"{}\"\n\n\
         [[rule]]\naction   = \"deploy\"\nresource = \"payments/*\"\nneed     = [{{ from = \"@requester\" }}]\ntier     = \"declared\"\n\n\
         [[rule]]\naction   = \"touchgate.trust.update\"\nneed     = [{{ from = \"@requester\" }}]\ntier     = \"declared\"\n",
        now.plus(TRUSTED),
    );
    let alice = format!(
        "identities = [\"os:alice@laptop\"]\n\n[[token]]\nserial = \"{}\"\nkey    = \"{key}\"\ntouch  = \"declared\"\n",
        info.ident,
    );
    let armored = cert.armored().to_vec().map_err(|error| Failure::failed("demo", error.to_string()))?;
    Ok(Files::from([
        ("policy.toml".to_owned(), policy.into_bytes()),
        ("people/alice.toml".to_owned(), alice.into_bytes()),
        (format!("tokens/{}.asc", info.ident), armored),
    ]))
}

/// Alice, or the person at the terminal in her place.
struct Person<'a> {
    terminal: Option<&'a Terminal>,
    card: &'a VirtualCard,
    quiet: bool,
}

impl Attendant for Person<'_> {
    fn pin(&mut self, request: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
        if request.refused.is_some() {
            return Ok(None);
        }
        Pin::new(PIN.as_bytes().to_vec().into()).map(|pin| Some(PinEntry::Typed(pin)))
    }

    fn touch_needed(&mut self, token: &TokenInfo, _: TouchNeed) {
        match self.terminal {
            None if self.quiet => {}
            None => tell(&format!("PIN given; token {} blinks and waits for a finger …", token.ident)),
            Some(terminal) => {
                if let Ok(Typed::Line(_)) = terminal.ask("PIN given; the token blinks. Enter touches it: ") {
                    // The card may not have got the command yet.
                    self.card.wait_until_touch_awaited(Duration::from_secs(1));
                    self.card.press();
                }
            }
        }
    }

    fn not_touched(&mut self, _: Duration) -> bool {
        false
    }
}
