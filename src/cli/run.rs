//! `run`: ask, approve at this machine's own token, verify, and only then become the command.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use clap::Args;
use serde_json::Value;

use crate::cli::report::{Failure, Report, Verdict, exit};
use crate::cli::work::{self, Desk};
use crate::cli::{Common, ask, failure, place};
use crate::request::{Parameters, command_value};
use crate::statement::Decision;
use crate::text::Text;
use crate::trust::quorum::{self, QuorumMet};
use crate::unix_time::UnixTime;
use crate::verify::{self, Against, OpenRequests, Verified};

const EXAMPLE: &str = "\
Example:
  touchgate run deploy payments/prod -- ./deploy.sh --region eu

The command gets the terminal, the signals and the exit code, as if it had been started by itself.";

/// Arguments of `run`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(super) struct Arguments {
    #[command(flatten)]
    asked: ask::Asked,
    /// Read the PIN from this descriptor
    #[arg(long, value_name = "N")]
    pin_fd: Option<u32>,
    /// Write the verdict as one JSON object to this descriptor before the command starts
    #[arg(long, value_name = "N")]
    status_fd: Option<u32>,
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
        Ok(Passed::Approved(met)) => {
            let failure = start(arguments, &met);
            failed(common, arguments, &failure)
        }
        Err(failure) => failed(common, arguments, &failure),
    }
}

fn failed(common: &Common, arguments: &Arguments, failure: &Failure) -> ExitCode {
    // The descriptor is a copy of what the exit code says; if it is gone, that must do.
    let _ = status(arguments, &failure.json());
    failure.print(common.json);
    match failure.exit {
        exit::INTERRUPTED => ExitCode::from(exit::INTERRUPTED),
        code => ExitCode::from(exit::RUN_OFFSET + code),
    }
}

enum Passed {
    Approved(Box<QuorumMet>),
    Explained(Report),
}

/// Everything before the command may start. Every error leaves it unstarted.
fn gate(common: &Common, arguments: &Arguments) -> Result<Passed, Failure> {
    let chosen = place::trust(common.trust.as_deref(), common.unpinned)?;
    let commit = ask::clean_commit();
    let request = arguments.asked.request(known(arguments, commit.as_deref())?)?;
    let (challenge, rule) = ask::issue(&chosen, request)?;
    if arguments.dry_run {
        let need = rule
            .need
            .iter()
            .map(|need| format!("{} from {}", need.count, need.from))
            .collect::<Vec<_>>()
            .join(" and ");
        let text = format!(
            "{}\nneeds: {need}, tier {}, within {}\nnothing was asked and nothing was run",
            challenge.to_text(),
            rule.tier,
            work::in_words(rule.answer_within)
        );
        return Ok(Passed::Explained(
            Report { verdict: Verdict::Pending, ..Report::done(text) }.with("challenge", challenge.to_text()),
        ));
    }
    if commit.is_none() {
        eprintln!("note: {} is not a clean git tree, so no commit is stated", ask::working_directory());
    }
    let mut requests = OpenRequests::default();
    requests.open(challenge.clone());
    let mut desk = Desk::new(common, arguments.pin_fd)?;
    let mut token = work::find_token(common, &desk.patience(challenge.expires))?;
    let cert = work::certificate(token.info(), Some(&chosen.trust), None)?;
    let statement = challenge.clone().decided(Decision::Approve);
    work::show_statement(&desk, &statement);
    let response = work::sign(&mut desk, &mut token, &cert, &statement)?;
    let code = challenge.id.short_code();
    let verified =
        verify::response(&response, &chosen.trust, Against::Ledger(&mut requests), UnixTime::now());
    let approval = match verified.map_err(|rejection| failure::rejected(&rejection, &code))? {
        Verified::Approved(approval) => approval,
        Verified::Refused(refusal) => {
            let refused = format!("{} refused {code}", refusal.person());
            return Err(Failure {
                verdict: Verdict::Refused,
                exit: exit::NO,
                ..Failure::failed("refused", refused)
            });
        }
    };
    eprintln!(
        "approved: {code}, {} on {}, by {} (token {}, {})",
        challenge.request.action,
        challenge.request.resource,
        approval.person(),
        approval.serial(),
        approval.tier()
    );
    let met = quorum::decide(&chosen.trust, rule, &challenge, vec![approval])?;
    if ask::clean_commit() != commit {
        return Err(Failure::failed("tree-changed", "the git tree changed while the approval was awaited")
            .hint("run it again"));
    }
    Ok(Passed::Approved(Box::new(met)))
}

/// What `run` itself knows of the request: the command line, and the commit of a clean tree.
fn known(arguments: &Arguments, commit: Option<&str>) -> Result<Parameters, Failure> {
    let argv: Vec<&[u8]> = arguments.command.iter().map(|argument| argument.as_bytes()).collect();
    let invalid = |error: crate::text::TextError| Failure::usage(format!("the command: {error}"));
    let name = |name: &str| name.parse().map_err(|error| Failure::usage(format!("{error}")));
    let mut parameters = Parameters::from([(name("command")?, command_value(&argv).map_err(invalid)?)]);
    if let Some(commit) = commit {
        parameters.insert(name("commit")?, Text::new(commit).map_err(invalid)?);
    }
    Ok(parameters)
}

/// Replaces this process by the command: terminal, signals and exit code are then its own. Returns
/// only if that failed.
fn start(arguments: &Arguments, met: &QuorumMet) -> Failure {
    let approvals = met.approvals().iter().map(|approval| approval.person().to_owned()).collect::<Vec<_>>();
    let challenge = met.challenge();
    let report = Report::done("")
        .with("request", challenge.id.to_string())
        .with("approved_by", approvals)
        .with("statement", challenge.to_text());
    if let Err(error) = status(arguments, &report.json()) {
        return Failure::failed("status-fd", format!("the verdict could not be written: {error}"));
    }
    let Some((program, rest)) = arguments.command.split_first() else {
        return Failure::usage("no command");
    };
    let error = Command::new(program).args(rest).exec();
    Failure::failed("not-started", format!("{}: {error}", program.to_string_lossy()))
        .hint("it was approved but could not be started; check its path and its x permission")
}

fn status(arguments: &Arguments, object: &Value) -> std::io::Result<()> {
    match arguments.status_fd {
        Some(number) => place::descriptor(number)?.write_all(format!("{object}\n").as_bytes()),
        None => Ok(()),
    }
}
