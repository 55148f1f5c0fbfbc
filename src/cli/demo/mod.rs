//! `demo`: the whole story on virtual cards, with the same calls that real tokens get.

mod member;
mod team;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use sequoia_openpgp::serialize::SerializeInto as _;
use virtual_openpgp_card::Finger;

use crate::challenge::{Challenge, Terms};
use crate::cli::commit::{self, Checkout};
use crate::cli::prompt::Terminal;
use crate::cli::report::{Failure, Outcome, Report, Verdict};
use crate::cli::{Common, failure, place};
use crate::request::{Mode, Parameters, Request, command_value};
use crate::response::{Response, armored};
use crate::statement::Decision;
use crate::text::Text;
use crate::trust::quorum::{self, Circumstances};
use crate::trust::versions::write_pin;
use crate::trust::{Files, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{self, OpenRequests, Rejection, Verified};
use member::Member;

/// How long what was kept can be looked at again.
const TRUSTED: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The factory PIN of every OpenPGP card. The demo's card dies with the demo.
const PIN: &str = "123456";
/// What the demo runs: the project's own script where it is checked out, else a copy of it.
const TRACKED: [&str; 2] = ["sh", "fixtures/demo/deploy.sh"];
const COPY: [&str; 2] = ["sh", "./deploy.sh"];
const SCRIPT: &str = include_str!("../../../fixtures/demo/deploy.sh");
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
    story.two_people()?;
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
        .with("rejected", vec!["altered", "replayed", "not-touched", "not-allowed", "spent", "log-altered"]))
}

/// Everything on stage.
struct Story {
    quiet: bool,
    alice: Member,
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
        let alice = Member::new("alice", "Alice <alice@example.org>", None, window)?;
        let now = UnixTime::now();
        let files = trust_files(&alice, now)?;
        let trust = Trust::from_files(&files).map_err(|error| failed(&error))?;
        let story = Self {
            quiet: common.json,
            alice,
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
        let armored = story.alice.cert.armored().to_vec().map_err(|error| failed(&error))?;
        story.keep("alice.asc", &armored)?;
        story.keep("alice.pgp", &story.alice.cert.to_vec().map_err(|error| failed(&error))?)?;
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

    /// What Alice wants: a deploy of the commit that is checked out here.
    fn request(&self) -> Result<Request, Failure> {
        let invalid = |error: &dyn ToString| Failure::failed("demo", error.to_string());
        let name = |name: &str| name.parse().map_err(|error: crate::request::NameError| invalid(&error));
        let mut parameters = Parameters::from([(
            name("command")?,
            command_value(&self.deploy).map_err(|error| invalid(&error))?,
        )]);
        if let Checkout::Commit(commit) = &self.checkout {
            parameters.insert(name("commit")?, Text::new(commit.as_str()).map_err(|error| invalid(&error))?);
        }
        Ok(Request {
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
        })
    }

    fn ask(&mut self) -> Result<Challenge, Failure> {
        let request = self.request()?;
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
        self.alice.sign(challenge, self.terminal.as_ref(), self.quiet, &self.cancel)
    }

    fn judge(&mut self, response: &Response) -> Result<Verified, Rejection> {
        verify::response(response, &self.trust, &mut self.requests, UnixTime::now())
    }

    fn approve_and_run(&mut self) -> Result<(Challenge, Response), Failure> {
        let ident = self.alice.token.info().ident;
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
        self.alice.card.set_finger(if self.terminal.is_some() { Finger::Ask } else { Finger::After(FINGER) });
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
        self.tell(&format!("    {}", run(&self.deploy, &self.place)?));
        Ok((challenge, response))
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
        self.alice.card.set_finger(Finger::Never);
        self.terminal = None;
        let before = self.alice.card.signature_count();
        match self.sign(&second) {
            Err(failure) if failure.code == "not-touched" => self.tell(&indented(&failure.text())),
            Err(failure) => return Err(failure),
            Ok(_) => return Err(Failure::failed("demo", "the token signed without a touch")),
        }
        if self.alice.card.signature_count() != before || challenge.id == second.id {
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

/// Runs what was approved, and gives what it says.
fn run(deploy: &[&str; 2], place: &Path) -> Result<String, Failure> {
    let [program, rest @ ..] = deploy;
    let output = Command::new(program).args(rest).current_dir(place).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::failed("not-started", format!("{program}: {error}")))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
        false => Err(Failure::failed("demo", format!("the command ended with {}", output.status))),
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

fn trust_files(alice: &Member, now: UnixTime) -> Result<Files, Failure> {
    let policy = format!(
        "audience    = \"demo.example\"\nversion     = 1\nvalid_until = \"{}\"\n\n\
         [[rule]]\naction   = \"deploy\"\nresource = \"payments/*\"\nneed     = [{{ from = \"@requester\" }}]\ntier     = \"declared\"\n\n\
         [[rule]]\naction   = \"touchgate.trust.update\"\nneed     = [{{ from = \"@requester\" }}]\ntier     = \"declared\"\n",
        now.plus(TRUSTED),
    );
    let mut files = Files::from([("policy.toml".to_owned(), policy.into_bytes())]);
    files.extend(alice.files(&[])?);
    Ok(files)
}
