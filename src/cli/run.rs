//! `run`: ask, gather approvals here and from elsewhere, and only then become the command.

mod gather;
mod handover;
mod judge;
mod seen;
mod view;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::audit::Witnesses;
use crate::challenge::Challenge;
use crate::cli::audit::kept;
use crate::cli::authorities::Authorities;
use crate::cli::commit::{self, Checkout};
use crate::cli::counter;
use crate::cli::exchange::{Exchange, Told};
use crate::cli::grant::GRANT_FILE;
use crate::cli::program::Program;
use crate::cli::report::{Failure, Report, Verdict, exit, printable, say};
use crate::cli::sealed::{SealedFiles, is_variable};
use crate::cli::witnesses::{self, Folder, names};
use crate::cli::work::{self, Desk};
use crate::cli::{Common, ask, local, pin, place, revoked, verifier, within};
use crate::request::{Parameters, Request, Resource, command_value};
use crate::text::Text;
use crate::trust::Trust;
use crate::trust::debt::Debt;
use crate::trust::policy::Rule;
use crate::trust::quorum::{self, Circumstances};
use crate::unix_time::UnixTime;
use crate::verifier::{Granted, debts};
use crate::verify::Counted;
use gather::Gathering;
use handover::Held;
use judge::Judge;

const EXAMPLE: &str = "\
Example:
  touchgate run deploy payments/prod -- ./deploy.sh --region eu
  touchgate run deploy payments/prod --with image=@app.tar -- ./deploy.sh {image}
  touchgate run deploy payments/prod --exchange /mnt/share -- ./deploy.sh    approvers elsewhere

The command gets the terminal, the signals and the exit code, as if it had been started by itself.";

/// How long a full pipe is waited for to say why nothing ran.
const READING: Duration = Duration::from_secs(5);

// Arguments of `run`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(super) struct Arguments {
    #[command(flatten)]
    asked: ask::Asked,
    /// Ask others too: the request goes into this directory, their answers are taken from it
    #[arg(long, value_name = "DIR")]
    exchange: Option<PathBuf>,
    /// Write the log into this directory, and wait there for the witnesses that trust demands
    #[arg(long, value_name = "DIR", env = "TOUCHGATE_WITNESSES")]
    witnesses: Option<PathBuf>,
    /// Where CODE.evidence.json goes, instead of ~/.local/state/touchgate/evidence
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
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
        Ok(Passed::Approved(ready, held)) => stopped(common, &held.take_back(common, start(&ready, &held))),
        Err(failure) => failed(common, arguments, &failure),
    }
}

fn failed(common: &Common, arguments: &Arguments, failure: &Failure) -> ExitCode {
    // The descriptor is a copy of what the exit code says; if it is gone, that must do.
    let begun = Instant::now();
    let _ = status(arguments, &failure.json(), || begun.elapsed() >= READING);
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
    Approved(Box<Ready>, Held),
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
    if let Some(number) = arguments.pin_fd {
        pin::discard_rest(number, &desk.cancel)?;
    }
    let chosen = place::trust(common.trust.as_deref(), common.unpinned)?;
    check_status(arguments)?;
    let files = arguments.asked.files()?;
    let checkout = commit::checked_out(&arguments.command);
    let request = arguments.asked.request(known(arguments, &checkout)?, &files)?;
    let ready = Ready::new(arguments, files, &request.parameters)?;
    if let Checkout::Unstated(why) = &checkout {
        say(&format!("note: no commit is stated: {why}\n"));
    }
    if arguments.dry_run {
        let (challenge, rule) = ask::issue(&chosen, request)?;
        let debts = owed(&chosen.trust, &challenge.request.resource)?;
        return Ok(Passed::Explained(explained(&chosen.trust, &challenge, rule, &debts, &ready)?));
    }
    let rule = chosen.trust.admit(&request)?;
    witnesses::check_named(&chosen.trust, arguments.witnesses.as_deref())?;
    let exchange = arguments.exchange.as_deref().map(Exchange::open).transpose()?;
    check_enough(rule, exchange.is_some() || desk.terminal.is_some())?;
    let others = exchange.is_some() || slots(rule) > 1;
    let authorities =
        arguments.with_counter.then(|| Authorities::read(&arguments.intermediates, &arguments.root));
    let authorities = authorities.transpose()?;
    let evidence = handover::evidence_directory(arguments.evidence.as_deref())?;
    handover::check_not_nested(&chosen, &request)?;
    let store = local::store_or_new(&chosen.trust)?;
    let verifier = verifier::start(&store, chosen.trust, chosen.manifest)?;
    check_people(verifier.trust(), &request, &verifier.debts(&request.resource)?)?;
    let folder = arguments.witnesses.as_deref();
    let folder =
        folder.map(|folder| Folder::open(folder, &store, verifier.trust(), || desk.check_interrupted()));
    let mut folder = folder.transpose()?;
    let challenge = verifier::issue(&verifier, &request)?;
    let judge = Judge::new(&verifier, &store, &challenge, &chosen.lost);
    let published = exchange.map(|exchange| exchange.publish(&challenge)).transpose()?;
    // Who asks others is not asked at once, unless a PIN says that they will be.
    let here = published.is_none() || desk.has_given_pin();
    let mut gathering = Gathering {
        common,
        desk: &mut desk,
        trust: verifier.trust(),
        challenge: &challenge,
        judge,
        others,
        published,
        authorities,
        apart: digested(arguments, &challenge),
        told: Told::default(),
    };
    let decided = gathering.decision(here).and_then(|(approved, counted)| {
        folder.as_mut().map_or(Ok(()), |folder| gathering.seen(folder, &approved))?;
        Ok((approved, counted))
    });
    drop(gathering);
    let outcome = || -> Result<Held, Failure> {
        let (approved, counted) = decided?;
        let granted = verifier.open(*approved, UnixTime::now())?;
        if commit::checked_out(&arguments.command) != checkout {
            return Err(Failure::failed(
                "tree-changed",
                "the git tree changed while the approval was awaited",
            )
            .hint("run it again"));
        }
        ready.program.check()?;
        let evidence = handover::write_evidence(&evidence, &challenge, &granted.evidence)?;
        let held = Held::new(&granted.grant, &challenge, &desk.cancel);
        let held = held.map_err(|error| not_handed_over(&ready, &error))?;
        // Whoever interrupted meanwhile does not want the command, nor its use counted.
        held.check()?;
        // Who approved with a token that is lost by now has not approved.
        revoked::check_unchanged(&chosen.lost)?;
        // The command's own use is counted before it starts, or it does not start.
        verifier::use_grant(&verifier, &granted.grant)?;
        // Where witnesses and monitors see the decision, they find that it was made use of.
        if let Some(folder) = &folder {
            folder.bring_up(|| held.check())?;
        }
        if let Err(failure) = within::note(&challenge.id) {
            // Then what the command starts does not count as part of it, and needs a use of its own.
            say(&failure.text());
        }
        let ceremony = verifier.ceremony(&challenge.id)?.0;
        let by = ceremony.approvals().iter().map(|approval| approval.answer().person()).collect();
        let verdict = verdict(&challenge, by, &granted, counted.as_ref(), &evidence).json();
        // The store may have been waited for.
        held.check()?;
        status(arguments, &verdict, || held.check().is_err()).map_err(|error| {
            // Why it was not waited for any longer, if it was not.
            held.check().err().unwrap_or_else(|| no_status(&error))
        })?;
        Ok(held)
    };
    match outcome() {
        Ok(held) => Ok(Passed::Approved(Box::new(ready), held)),
        Err(failure) => {
            // If there is a grant, nobody has it, and nobody shall.
            let by = challenge.request.requester.as_str();
            let _ = verifier.revoke_grant(&challenge.id, by, Some(failure.code), UnixTime::now());
            Err(failure)
        }
    }
}

/// What `--status-fd` is told before the command starts.
fn verdict(
    challenge: &Challenge,
    by: Vec<&str>,
    granted: &Granted,
    counted: Option<&Counted>,
    evidence: &Path,
) -> Report {
    let claims = granted.grant.claims();
    let seen: Vec<&str> = granted.receipt.checkpoint().seen().iter().map(|seen| seen.by.as_str()).collect();
    let report = Report::decided(Verdict::Approved, "")
        .with("request", challenge.id.to_string())
        .with("approved_by", by)
        .with("statement", challenge.to_text())
        .with("expires", claims.exp.to_string())
        .with("uses", claims.step_up.uses)
        .with("evidence", evidence.display().to_string())
        .with("witnesses", seen);
    match counted {
        Some(counted) => report.with("counter", counter::fields(counted)),
        None => report,
    }
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

/// What this machine's verifier knows to be owed on a resource, only looked up.
fn owed(trust: &Trust, resource: &Resource) -> Result<Vec<Debt>, Failure> {
    let store = trust.log_key.as_ref().map(local::store_to_read).transpose()?.flatten();
    let Some(store) = store else { return Ok(Vec::new()) };
    kept::check(&store, trust)?;
    debts(&store, resource).map_err(|error| local::store_failed(&error))
}

fn explained(
    trust: &Trust,
    challenge: &Challenge,
    rule: &Rule,
    debts: &[Debt],
    ready: &Ready,
) -> Result<Report, Failure> {
    let standing = judge::standing(trust, challenge, &[], debts)?;
    let text = format!(
        "{}\nprogram: {}\nneeds: {}, tier {}, within {}\n{}{}nothing was asked and nothing was run",
        challenge.to_text(),
        printable(&ready.program.path().to_string_lossy()),
        needs(rule),
        rule.tier,
        work::in_words(rule.answer_within),
        demanded(&trust.witnesses),
        standing.who(),
    );
    Ok(Report::decided(Verdict::Pending, text)
        .with("code", "dry-run")
        .with("challenge", challenge.to_text())
        .with("can", standing.can)
        .with("cannot", standing.cannot)
        .with("witnesses_needed", trust.witnesses.needed()))
}

/// The witnesses that trust demands, in a line if it does.
fn demanded(witnesses: &Witnesses) -> String {
    match witnesses.needed() {
        0 => String::new(),
        needed => format!("witnesses: {needed} of {}, by way of --witnesses DIR\n", names(witnesses.keys())),
    }
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

/// Says before anybody is asked that there are not people enough.
fn check_people(trust: &Trust, request: &Request, debts: &[Debt]) -> Result<(), Failure> {
    let rule = trust.admit(request)?;
    let circumstances = Circumstances { debts, ..Circumstances::default() };
    let standing = quorum::standing(trust, request, &[], circumstances, UnixTime::now())?;
    // Where one is enough, they learn at their own token why it does not count.
    if slots(rule) == 1 || standing.can_be_met {
        return Ok(());
    }
    let Request { action, resource, .. } = request;
    let failure =
        Failure::failed("quorum", format!("the rule needs {}, and fewer people could", needs(rule)));
    let failure = standing
        .cannot
        .iter()
        .fold(failure, |failure, (name, why)| failure.fact("cannot", format!("{name} {why}")));
    Err(failure
        .hint(format!("`touchgate trust explain {action} {resource}` says who could and who could not")))
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

fn not_handed_over(ready: &Ready, error: &std::io::Error) -> Failure {
    let program = printable(&ready.program.path().to_string_lossy());
    Failure::failed("not-started", format!("{program}: what it is to get cannot be handed over: {error}"))
        .hint("nothing was run")
}

/// Replaces this process by the command: terminal, signals and exit code are then its own. Returns
/// only if that failed.
fn start(ready: &Ready, held: &Held) -> Failure {
    let grant = &held.sealed;
    if let Err(error) = ready.files.hand_over().and_then(|()| grant.hand_over()) {
        return not_handed_over(ready, &error);
    }
    // Last of all.
    if let Err(failure) = held.check() {
        return failure;
    }
    let error = ready.program.start(&ready.command, |command| {
        // None of whoever started us passes for a copy.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_variable(name)) {
            command.env_remove(name);
        }
        command.envs(ready.files.variables()).env(GRANT_FILE, grant.path());
    });
    let program = printable(&ready.program.path().to_string_lossy());
    Failure::failed("not-started", format!("{program}: {error}"))
        .hint("it was approved but could not be started; check its path and its x permission")
}

fn status(arguments: &Arguments, object: &Value, enough: impl Fn() -> bool) -> std::io::Result<()> {
    match arguments.status_fd {
        Some(number) => place::write_pipe(number, format!("{object}\n").as_bytes(), enough),
        None => Ok(()),
    }
}
