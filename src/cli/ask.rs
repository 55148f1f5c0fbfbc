//! `request`: ask without running. And how every command makes a challenge of words.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use crate::challenge::{Challenge, Randomness, Terms};
use crate::cli::place::{self, Chosen};
use crate::cli::report::{Failure, Outcome, Report, Verdict};
use crate::cli::sealed::{Sealed, SealedFiles};
use crate::cli::{Common, failure};
use crate::request::{Action, Identity, Mode, ParameterName, Parameters, Request, Resource};
use crate::text::Text;
use crate::trust::policy::Rule;
use crate::unix_time::UnixTime;
use crate::verify::Rejection;

/// What `run` states of its own knowledge.
const OWN: [&str; 2] = ["command", "commit"];

// Arguments of `request`.
#[derive(Args, Debug)]
#[command(
    before_help = "Example:\n  touchgate request deploy payments/prod --with image=@app.tar   writes HJ5C9.request"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) asked: Asked,
    /// Write here instead of CODE.request; - for standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

// What is asked, as every command takes it.
#[derive(Args, Debug)]
pub(super) struct Asked {
    /// What is to be done, as in deploy
    pub(super) action: Action,
    /// What it is to be done to, as in payments/prod
    pub(super) resource: Resource,
    /// A fact to be approved with it, as in image=sha256:…; of a file, image=@FILE, its content
    #[arg(long = "with", value_name = "NAME=VALUE|NAME=@FILE")]
    pub(super) with: Vec<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Under the emergency rule: loud in the log, and a debt until two others have countersigned
    #[arg(long, requires = "reason")]
    pub(super) break_glass: bool,
}

/// Writes a request for others to approve.
pub(super) fn request(common: &Common, arguments: &Arguments) -> Outcome {
    let chosen = place::trust(common.trust.as_deref(), common.unpinned)?;
    let files = arguments.asked.files()?;
    let request = arguments.asked.request(Parameters::new(), &files)?;
    drop(files);
    let (challenge, _) = issue(&chosen, request)?;
    let code = challenge.id.short_code();
    let text = challenge.to_text();
    let path = arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("{code}.request")));
    let report = |text: String| Report::decided(Verdict::Pending, text).with("code", "waiting");
    let report = if path.as_os_str() == "-" && !common.json {
        report(text)
    } else if path.as_os_str() == "-" {
        report(String::new()).with("challenge", text)
    } else {
        place::write_new(&path, text.as_bytes()).map_err(|error| place::unwritable(&path, &error))?;
        let name = path.display().to_string();
        report(format!("asked: {code}; `touchgate approve {name}` answers it")).with("file", name)
    };
    Ok(report
        .with("request", challenge.id.to_string())
        .with("short_code", code)
        .with("expires", challenge.expires.to_string()))
}

impl Asked {
    /// The files among the facts, copied now: whatever becomes of them, their copies stay what is stated.
    ///
    /// # Errors
    /// One that cannot be copied, or a name that is given twice.
    pub(super) fn files(&self) -> Result<SealedFiles, Failure> {
        let mut files = SealedFiles::default();
        for said in &self.with {
            let Some((name, path)) = said.split_once("=@") else { continue };
            // An equals sign before it: `k=a=@b` is a fact like any other.
            let Ok(name) = name.parse::<ParameterName>() else { continue };
            let copy = Sealed::copy(Path::new(path)).map_err(|error| {
                Failure::failed("no-file", format!("--with {said}: {error}"))
                    .hint("nothing was asked; NAME=@FILE takes a regular file that you may read")
            })?;
            if !files.insert(name.clone(), copy) {
                return Err(twice(said, &name));
            }
        }
        if let Some((one, other)) = files.collision() {
            let same = format!("--with: {one} and {other} would be one variable of the command");
            return Err(Failure::usage(same).hint("name one of them otherwise"));
        }
        Ok(files)
    }

    /// The request, with what the command itself knows and the digests of files added to what was said.
    ///
    /// # Errors
    /// A parameter that is said twice or breaks the grammar.
    pub(super) fn request(&self, known: Parameters, files: &SealedFiles) -> Result<Request, Failure> {
        let parameters = self.parameters(known, files)?;
        let reason = self.reason.as_deref().map(Text::new).transpose();
        Ok(Request {
            action: self.action.clone(),
            resource: self.resource.clone(),
            parameters,
            requester: requester()?,
            via: None,
            requester_key: None,
            reason: reason.map_err(|error| Failure::usage(format!("--reason: {error}")))?,
            mode: if self.break_glass { Mode::BreakGlass } else { Mode::Ordinary },
        })
    }

    /// Its facts alone.
    ///
    /// # Errors
    /// A parameter that is said twice or breaks the grammar.
    pub(super) fn parameters(&self, known: Parameters, files: &SealedFiles) -> Result<Parameters, Failure> {
        let mut parameters = known.clone();
        let of_files = files.parameters();
        for said in &self.with {
            let usage = |why: String| Failure::usage(format!("--with {said}: {why}"));
            let (name, value) = said.split_once('=').ok_or_else(|| usage("expected NAME=VALUE".into()))?;
            let name: ParameterName = name.parse().map_err(|error| usage(format!("{error}")))?;
            let value = match of_files.get(&name) {
                Some(digest) if value.starts_with('@') => digest.clone(),
                _ => Text::new(value).map_err(|error| usage(error.to_string()))?,
            };
            if OWN.contains(&name.as_str()) && !known.is_empty() {
                return Err(usage(format!("`run` states {name} itself, and only where it is true")));
            }
            if parameters.insert(name.clone(), value).is_some() {
                return Err(twice(said, &name));
            }
        }
        Ok(parameters)
    }
}

fn twice(said: &str, name: &ParameterName) -> Failure {
    Failure::usage(format!("--with {said}: {name} is given twice"))
}

/// Issues a challenge for a request that this trust admits.
///
/// # Errors
/// If no rule admits it, trust has run out, or it is too large.
pub(super) fn issue(chosen: &Chosen, request: Request) -> Result<(Challenge, &Rule), Failure> {
    let trust = &chosen.trust;
    let now = UnixTime::now();
    if now >= trust.valid_until {
        return Err(failure::rejected(&Rejection::TrustExpired { now, valid_until: trust.valid_until }, ""));
    }
    let rule = trust.admit(&request)?;
    let terms =
        Terms { audience: trust.audience.clone(), trust: trust.version, answer_within: rule.answer_within };
    Ok((Challenge::issue(request, terms, now, randomness()?)?, rule))
}

/// Fresh random bytes for one challenge.
///
/// # Errors
/// If the system gives none.
pub(super) fn randomness() -> Result<Randomness, Failure> {
    let mut bytes: Randomness = [0; 42];
    let failed = |_| Failure::failed("randomness", "the system gives no random numbers");
    aws_lc_rs::rand::fill(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Who asks: the user of this process on this machine.
///
/// # Errors
/// If the system does not know the user.
pub(super) fn requester() -> Result<Identity, Failure> {
    let (user, host) = (user()?, host());
    let identity = format!("os:{user}@{host}");
    identity.parse().map_err(|error| Failure::failed("requester", format!("{error}")))
}

/// The login name of this process's user, by its number, not by what the environment says.
///
/// # Errors
/// If the system has no name for it.
pub(super) fn user() -> Result<String, Failure> {
    // By its full path and without the environment, so that nothing in between answers instead.
    let number = rustix::process::getuid().as_raw().to_string();
    let output = Command::new("/usr/bin/id").args(["-un", &number]).env_clear().stdin(Stdio::null()).output();
    let name = output
        .ok()
        .filter(|o| o.status.success())
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned());
    let unknown = || {
        Failure::failed("requester", "the system has no name for this user").hint("`id -un` must print one")
    };
    name.filter(|name| !name.is_empty()).ok_or_else(unknown)
}

/// This machine's name in lower case.
pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase()
}
