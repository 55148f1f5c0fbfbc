//! The command line: words in, one call, words or JSON out. It decides nothing.

mod admin_failure;
mod approve;
mod ask;
mod attest;
mod audit;
mod authorities;
mod card;
mod certify;
mod commit;
mod counter;
#[cfg(feature = "virtual-card")]
mod demo;
mod doctor;
mod enrol;
mod exchange;
mod failure;
mod fleet;
mod grant;
mod init;
mod local;
mod log;
#[cfg(feature = "desktop-notification")]
mod notice;
mod pin;
mod pinned;
mod pins;
mod place;
mod program;
mod prompt;
mod provision;
mod report;
mod reset;
mod revoked;
mod run;
mod sealed;
mod secret;
#[cfg(feature = "virtual-card")]
mod simulate;
mod touch;
mod trust;
mod verifier;
mod verify;
mod within;
mod witnesses;
mod work;

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::card::Ident;
use crate::card::select::CardPath;
use report::{Failure, Outcome, Report, exit, finish, say};

const EXAMPLE: &str = "\
Example:
  touchgate demo                                       see the whole story, no hardware needed
  touchgate init                                       set this machine up for your token
  touchgate run deploy payments/prod -- ./deploy.sh    runs after you have read, touched and signed";

const CODES: &str = "\
Exit codes:
  0 yes · 1 failed · 2 usage · 3 a clear no · 4 nobody acted in time
  5 card missing, busy, PIN wrong or blocked · 130 interrupted
  `run` gives the command's own code, and 120 + ours (121 to 125) if the command was not started";

/// What clap says to `--version`.
const VERSION: &str = concat!("touchgate ", env!("CARGO_PKG_VERSION"));

/// Lets something dangerous run only after a person has read what it is and touched their token.
#[derive(Parser, Debug)]
#[command(name = "touchgate", version, before_help = EXAMPLE, after_help = CODES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, infer_subcommands = false)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Debug)]
struct Common {
    /// Trust to use instead of ~/.config/touchgate/trust or /etc/touchgate/trust
    #[arg(long, global = true, value_name = "DIR", env = "TOUCHGATE_TRUST")]
    trust: Option<PathBuf>,
    /// Accept trust that nothing pins
    #[arg(long, global = true)]
    unpinned: bool,
    /// The token to use, by the number printed on it (other makers: 000f:00c0ffe1)
    #[arg(long, global = true, value_name = "SERIAL", env = "TOUCHGATE_CARD")]
    card: Option<Ident>,
    /// The way to the card: auto, direct (the reader), or scdaemon
    #[arg(long, global = true, value_name = "PATH", env = "TOUCHGATE_CARD_PATH", default_value = "auto")]
    card_path: CardPath,
    /// One JSON object on standard output
    #[arg(long, global = true)]
    json: bool,
    /// Ask nothing; fail and name the option that is missing
    #[arg(long, global = true)]
    no_input: bool,
    /// Say more on standard error; twice: every exchange with the card, PINs masked
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

// Deferred: a command's options are built only once it is the one that was asked for. Building all of
// them takes as long as verifying a signature.
#[derive(Subcommand, Debug)]
#[command(defer = true)]
enum Command {
    /// The whole story on a virtual card: no hardware, no packages, under a minute
    #[cfg(feature = "virtual-card")]
    Demo(demo::Arguments),
    /// Set this machine up: this person, this token, one rule, pinned
    Init(init::Arguments),
    /// Run a command once it has been approved by touch
    Run(run::Arguments),
    /// Show a request, ask for PIN and touch, sign the approval
    Approve(approve::Arguments),
    /// Show a request, ask for PIN and touch, sign the refusal
    Refuse(approve::RefuseArguments),
    /// Ask without running: writes CODE.request
    Request(ask::Arguments),
    /// Judge approvals offline, with reasons
    Verify(verify::Arguments),
    /// Certificate, attestation and one touch in a file, for whoever keeps trust
    Enrol(enrol::Arguments),
    /// Find the first broken link from reader to key, and its cure
    Doctor(doctor::Arguments),
    /// Check, list, narrow and revoke what was granted
    #[command(subcommand)]
    Grant(grant::Command),
    /// Look at tokens; simulate one
    #[command(subcommand)]
    Card(card::Command),
    /// Who may approve what: look at it, change it, compare, ask
    #[command(subcommand)]
    Trust(trust::Command),
    /// What the verifier did: read it, judge it again, prove it, hand it to others
    #[command(subcommand)]
    Audit(audit::Command),
    /// Print completions for a shell
    #[command(before_help = "Example:\n  touchgate completions bash > /etc/bash_completion.d/touchgate")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, of everything or of one command
    #[command(before_help = "Example:\n  touchgate man run | man -l -")]
    Man {
        /// Which command, as in `run` or `card simulate`
        #[arg(value_name = "COMMAND")]
        command: Vec<String>,
    },
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    #[cfg(feature = "virtual-card")]
    if let Some(code) = simulate::stage_entry(&arguments) {
        return code;
    }
    // No core dump and no debugger of the same user may read a PIN out of this process.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    // Scripts ask this often, and building the options takes longer than everything else here.
    if matches!(arguments.as_slice(), [_, only] if only == "--version" || only == "-V") {
        let printed = writeln!(io::stdout(), "{VERSION}");
        return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) };
    }
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &arguments),
    };
    log::start(cli.common.verbose);
    let json = cli.common.json;
    let command = match cli.command {
        Command::Run(arguments) => return run::main(&cli.common, &arguments),
        #[cfg(feature = "virtual-card")]
        Command::Card(card::Command::Simulate(arguments)) => return simulate::simulate(*arguments, json),
        Command::Audit(audit::Command::List(arguments)) => return audit::list::list(&cli.common, &arguments),
        command => command,
    };
    finish(&dispatch(&cli.common, command), json)
}

fn dispatch(common: &Common, command: Command) -> Outcome {
    match command {
        #[cfg(feature = "virtual-card")]
        Command::Demo(arguments) => demo::demo(common, &arguments),
        Command::Init(arguments) => init::init(common, &arguments),
        Command::Run(_) => Err(Failure::failed("internal", "`run` ends the process itself")),
        Command::Approve(arguments) => approve::approve(common, &arguments),
        Command::Refuse(arguments) => approve::refuse(common, &arguments),
        Command::Request(arguments) => ask::request(common, &arguments),
        Command::Verify(arguments) => verify::verify(common, &arguments),
        Command::Enrol(arguments) => enrol::enrol(common, &arguments),
        Command::Doctor(arguments) => doctor::doctor(common, &arguments),
        Command::Card(command) => card::card(common, command),
        Command::Grant(command) => grant::grant(common, command),
        Command::Trust(command) => trust::trust(common, command),
        Command::Audit(command) => audit::audit(common, &command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "touchgate", &mut script);
            Ok(Report::done(String::from_utf8_lossy(&script)))
        }
        Command::Man { command } => manual(&command),
    }
}

/// The manual page of the program or of one command.
fn manual(path: &[String]) -> Outcome {
    let mut program = Cli::command();
    program.build();
    let mut command = &program;
    for name in path {
        let unknown = || Failure::usage(format!("there is no command {}", path.join(" "))).hint("see --help");
        command = command.find_subcommand(name).ok_or_else(unknown)?;
    }
    let name = [&["touchgate".to_owned()], path].concat().join("-");
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().display_name(name))
        .render(&mut page)
        .map_err(|error| Failure::failed("man", error.to_string()))?;
    Ok(Report::done(String::from_utf8_lossy(&page)))
}

/// clap's own words, with our exit codes: 0 for help and version, 2 otherwise, 122 for `run`.
fn usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if error.exit_code() == 0 {
        return if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) };
    }
    let guessed = Cli::command().ignore_errors(true).try_get_matches_from(arguments).ok();
    let run = guessed.as_ref().and_then(clap::ArgMatches::subcommand_name) == Some("run");
    if guessed.is_some_and(|guessed| guessed.get_flag("json")) {
        let words = error.render().to_string();
        let lines: Vec<&str> = words.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        Failure::usage(lines.join(" ").trim_start_matches("error: ")).hint("see --help").print(true);
    } else {
        say(&error.render().to_string());
    }
    ExitCode::from(exit::USAGE + if run { exit::RUN_OFFSET } else { 0 })
}

/// The first `most` bytes of a file, or of standard input for `-`, and one more if there are more, so that
/// whoever reads them sees that they are too many.
fn read_input(path: &std::path::Path, most: usize) -> Result<Vec<u8>, Failure> {
    let read = |source: &mut dyn io::Read| {
        let mut bytes = Vec::new();
        source.take(most as u64 + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    let bytes = match path.as_os_str() == "-" {
        true => read(&mut io::stdin().lock()),
        false => std::fs::File::open(path).and_then(|mut file| read(&mut file)),
    };
    bytes.map_err(|error| place::unreadable(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_clap_would_say() {
        assert_eq!(Cli::command().render_version(), format!("{VERSION}\n"));
    }

    /// Deferred commands are checked only where they are built.
    #[test]
    fn every_command_can_be_built() {
        Cli::command().build();
        Cli::command().debug_assert();
    }
}
