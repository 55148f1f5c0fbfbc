//! `run`: ask, gather approvals here and from elsewhere, and only then become the command.

mod gather;
mod judge;
mod view;

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::card::CardError;
use crate::challenge::Challenge;
use crate::cli::authorities::Authorities;
use crate::cli::commit::{self, Checkout};
use crate::cli::counter;
use crate::cli::exchange::Exchange;
use crate::cli::program::Program;
use crate::cli::report::{Failure, Report, Verdict, exit, printable, say};
use crate::cli::sealed::{SealedFiles, is_variable};
use crate::cli::work::{self, Desk};
use crate::cli::{Common, ask, place};
use crate::request::{Parameters, command_value};
use crate::text::Text;
use crate::trust::policy::Rule;
use crate::trust::quorum::QuorumMet;
use gather::Gathering;
use judge::Judge;

const EXAMPLE: &str = "\
Example:
  touchgate run deploy payments/prod -- ./deploy.sh --region eu
  touchgate run deploy payments/prod --with image=@app.tar -- ./deploy.sh {image}
  touchgate run deploy payments/prod --exchange /mnt/share -- ./deploy.sh    approvers elsewhere

The command gets the terminal, the signals and the exit code, as if it had been started by itself.";

// Arguments of `run`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(super) struct Arguments {
    #[command(flatten)]
    asked: ask::Asked,
    /// Ask others too: the request goes into this directory, their answers are taken from it
    #[arg(long, value_name = "DIR")]
    exchange: Option<PathBuf>,
    /// Read the PIN from this descriptor
    #[arg(long, value_name = "N")]
    pin_fd: Option<u32>,
    /// Write the verdict as one JSON object to this descriptor before the command starts
    #[arg(long, value_name = "N")]
    status_fd: Option<u32>,
    /// Have the token attest its signature counter afterwards, and say what else it signed since the last time
    #[arg(long)]
    with_counter: bool,
    /// More certificates between the counter and its root, PEM or DER; a directory gives every file in it
    #[arg(long, value_name = "FILE", requires = "with_counter")]
    intermediates: Vec<PathBuf>,
    /// A root for counters beside Yubico's; what it vouches for is its word
    #[arg(long, value_name = "FILE", requires = "with_counter")]
    root: Vec<PathBuf>,
    /// Show what would be asked, and of whom, and stop
    #[arg(long)]
    dry_run: bool,
    /// The command, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the command in place of this process, or says why not.
pub(super) fn main(common: &Common, arguments: &Arguments) -> ExitCode {
    match gate(common, arguments) {
        Ok(Passed::Explained(report)) => match report.print(common.json) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(exit::RUN_OFFSET + exit::FAILED),
        },
        // The verdict was written before the start: one object, whatever becomes of the command.
        Ok(Passed::Approved(met, ready)) => stopped(common, &start(arguments, &met, &ready)),
        Err(failure) => failed(common, arguments, &failure),
    }
}

fn failed(common: &Common, arguments: &Arguments, failure: &Failure) -> ExitCode {
    // The descriptor is a copy of what the exit code says; if it is gone, that must do.
    let _ = status(arguments, &failure.json());
    stopped(common, failure)
}

fn stopped(common: &Common, failure: &Failure) -> ExitCode {
    failure.print(common.json);
    match failure.exit {
        exit::INTERRUPTED => ExitCode::from(exit::INTERRUPTED),
        code => ExitCode::from(exit::RUN_OFFSET + code),
    }
}

enum Passed {
    Approved(Box<QuorumMet>, Ready),
    Explained(Report),
}

/// What is to run, fixed before anybody is asked.
struct Ready {
    program: Program,
    /// The command line with the paths of the copies in it.
    command: Vec<OsString>,
    files: SealedFiles,
}

impl Ready {
    /// Finds the program and fills in the copies.
    fn new(arguments: &Arguments, files: SealedFiles, stated: &Parameters) -> Result<Self, Failure> {
        if let Some(name) = files.mistaken(&arguments.command, stated) {
            return Err(Failure::usage(format!("the command has {{{name}}}, and {name} is no file"))
                .hint(format!("--with {name}=@FILE gives the command a file there")));
        }
        let command = files.fill_in(&arguments.command);
        let Some(word) = command.first() else { return Err(Failure::usage("no command")) };
        Ok(Self { program: Program::find(word)?, command, files })
    }
}

/// Everything before the command may start. Every error leaves it unstarted.
fn gate(common: &Common, arguments: &Arguments) -> Result<Passed, Failure> {
    // First of all: a PIN that lies in a pipe must not be inherited by the programs that are asked below.
    let mut desk = Desk::new(common, arguments.pin_fd)?;
    let chosen = place::trust(common.trust.as_deref(), common.unpinned)?;
    check_status(arguments)?;
    let files = arguments.asked.files()?;
    let checkout = commit::checked_out(&arguments.command);
    let request = arguments.asked.request(known(arguments, &checkout)?, &files)?;
    let ready = Ready::new(arguments, files, &request.parameters)?;
    let (challenge, rule) = ask::issue(&chosen, request)?;
    if let Checkout::Unstated(why) = &checkout {
        say(&format!("note: no commit is stated: {why}\n"));
    }
    if arguments.dry_run {
        return Ok(Passed::Explained(explained(&challenge, rule, &ready)));
    }
    let exchange = arguments.exchange.as_deref().map(Exchange::open).transpose()?;
    check_enough(rule, exchange.is_some() || desk.terminal.is_some())?;
    let judge = Judge::new(&chosen.trust, &challenge)?;
    let authorities =
        arguments.with_counter.then(|| Authorities::read(&arguments.intermediates, &arguments.root));
    let authorities = authorities.transpose()?;
    let published = exchange.map(|exchange| exchange.publish(&challenge)).transpose()?;
    // Who asks others is not asked at once, unless a PIN says that they will be.
    let here = published.is_none() || desk.has_given_pin();
    let gathering = Gathering {
        common,
        desk: &mut desk,
        chosen: &chosen,
        challenge: &challenge,
        judge,
        published,
        authorities,
        apart: digested(arguments, &challenge),
        told: 0,
    };
    let met = gathering.decision(here)?;
    if commit::checked_out(&arguments.command) != checkout {
        return Err(Failure::failed("tree-changed", "the git tree changed while the approval was awaited")
            .hint("run it again"));
    }
    ready.program.check()?;
    // Last of all: whoever interrupted meanwhile does not want the command.
    if desk.cancel.load(Ordering::SeqCst) {
        return Err(CardError::Cancelled { waited: Duration::ZERO }.into());
    }
    Ok(Passed::Approved(met, ready))
}

/// A verdict that cannot be delivered is found out before the touch.
fn check_status(arguments: &Arguments) -> Result<(), Failure> {
    match arguments.status_fd {
        None => Ok(()),
        Some(number) => place::inherited_pipe(number, true).map(drop).map_err(|error| no_status(&error)),
    }
}

fn no_status(error: &std::io::Error) -> Failure {
    Failure::failed("status-fd", format!("the verdict cannot be written: {error}"))
        .hint("--status-fd takes a pipe")
}

fn explained(challenge: &Challenge, rule: &Rule, ready: &Ready) -> Report {
    let text = format!(
        "{}\nprogram: {}\nneeds: {}, tier {}, within {}\nnothing was asked and nothing was run",
        challenge.to_text(),
        printable(&ready.program.path().to_string_lossy()),
        needs(rule),
        rule.tier,
        work::in_words(rule.answer_within)
    );
    Report::decided(Verdict::Pending, text).with("code", "dry-run").with("challenge", challenge.to_text())
}

/// The approvals that a rule needs: `2 from release and 1 from security`.
fn needs(rule: &Rule) -> String {
    let each: Vec<String> =
        rule.need.iter().map(|need| format!("{} from {}", need.count, need.from)).collect();
    each.join(" and ")
}

fn slots(rule: &Rule) -> u32 {
    rule.need.iter().map(|need| need.count).sum()
}

/// Says before anybody is asked that one token cannot be enough, and nobody else would be asked.
fn check_enough(rule: &Rule, others: bool) -> Result<(), Failure> {
    if slots(rule) == 1 || others {
        return Ok(());
    }
    Err(Failure::failed("quorum", format!("the rule needs {} approvals: {}", slots(rule), needs(rule))).hint(
        "run it at a terminal, where one after the other can approve, or ask others with --exchange DIR",
    ))
}

/// A command line that is too long to be signed as it is: shown apart, for it is not in the statement.
fn digested(arguments: &Arguments, challenge: &Challenge) -> String {
    let digested = challenge
        .request
        .parameters
        .iter()
        .any(|(name, value)| name.as_str() == "command" && value.as_str().starts_with("sha256:"));
    if !digested {
        return String::new();
    }
    let words: String =
        arguments.command.iter().map(|word| format!("  {}\n", printable(&word.to_string_lossy()))).collect();
    format!("not signed itself, but by its digest, param.command below:\n{words}")
}

/// What `run` itself knows of the request: the command line, and the commit of a clean tree.
fn known(arguments: &Arguments, checkout: &Checkout) -> Result<Parameters, Failure> {
    let argv: Vec<&[u8]> = arguments.command.iter().map(|argument| argument.as_bytes()).collect();
    let invalid = |error: crate::text::TextError| Failure::usage(format!("the command: {error}"));
    let name = |name: &str| name.parse().map_err(|error| Failure::usage(format!("{error}")));
    let mut parameters = Parameters::from([(name("command")?, command_value(&argv).map_err(invalid)?)]);
    if let Checkout::Commit(commit) = checkout {
        parameters.insert(name("commit")?, Text::new(commit.as_str()).map_err(invalid)?);
    }
    Ok(parameters)
}

/// Replaces this process by the command: terminal, signals and exit code are then its own. Returns
/// only if that failed.
fn start(arguments: &Arguments, met: &QuorumMet, ready: &Ready) -> Failure {
    let approvals =
        met.approvals().iter().map(|approval| approval.answer().person().to_owned()).collect::<Vec<_>>();
    let challenge = met.challenge();
    let mut report = Report::decided(Verdict::Approved, "")
        .with("request", challenge.id.to_string())
        .with("approved_by", approvals)
        .with("statement", challenge.to_text());
    if let Some(counted) = met.approvals().iter().find_map(|approval| approval.answer().counter()) {
        report = report.with("counter", counter::fields(counted));
    }
    if let Err(error) = status(arguments, &report.json()) {
        return no_status(&error);
    }
    let program = printable(&ready.program.path().to_string_lossy());
    if let Err(error) = ready.files.hand_over() {
        return Failure::failed(
            "not-started",
            format!("{program}: its files cannot be handed over: {error}"),
        );
    }
    let error = ready.program.start(&ready.command, |command| {
        // None of whoever started us passes for a copy.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_variable(name)) {
            command.env_remove(name);
        }
        command.envs(ready.files.variables());
    });
    Failure::failed("not-started", format!("{program}: {error}"))
        .hint("it was approved but could not be started; check its path and its x permission")
}

fn status(arguments: &Arguments, object: &Value) -> std::io::Result<()> {
    match arguments.status_fd {
        Some(number) => place::inherited_pipe(number, true)?.write_all(format!("{object}\n").as_bytes()),
        None => Ok(()),
    }
}
