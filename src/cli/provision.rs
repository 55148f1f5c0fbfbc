//! `card provision`: one token from what it is to what a profile says.

mod asked;
mod told;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::card::provision::fleet::folder;
use crate::card::provision::{
    self, Done, Job, MAX_PROFILE, Person, Profile, Progress, ProvisionError, Step, Survey, UserPin,
};
use crate::card::{CardError, Ident, Slot, Tape, TouchPolicy};
use crate::cli::authorities::Authorities;
use crate::cli::prompt::Terminal;
use crate::cli::report::{Failure, Outcome, say};
use crate::cli::work::{self, Desk};
use crate::cli::{Common, fleet, place, read_input};
use crate::enrolment::possession::Name;
use crate::unix_time::UnixTime;
use asked::{AtToken, ask_pin, given_admin_pin, passphrase, settle_erase, user_pin};
use told::{check, describe, dry_run, report};

const EXAMPLE: &str = "\
Example:
  touchgate card provision --dry-run             what would change, and why
  touchgate card provision team.toml             see docs/provisioning.md for such a file
  touchgate card provision team.toml --check     exit code 3 if the token differs
  touchgate card provision team.toml --batch people.csv";

/// How long a person may take, and a card over its keys: RSA 4096 can last minutes.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

// Arguments of `card provision`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(super) struct Arguments {
    /// What the token is to be [the recommended profile]
    #[arg(value_name = "PROFILE.toml")]
    profile: Option<PathBuf>,
    /// Say what would change, and why; change nothing
    #[arg(long, conflicts_with = "check")]
    dry_run: bool,
    /// Only compare; exit code 3 if the token differs
    #[arg(long)]
    check: bool,
    /// Where each token gets a folder named after its number: escrowed secrets, attestations, the record
    #[arg(long, value_name = "DIR", default_value = "tokens")]
    pub(super) out: PathBuf,
    /// Keys of the token with this number may be erased
    #[arg(long, value_name = "SERIAL")]
    erase: Option<Ident>,
    /// One token after the other, for the people in this table (CSV: name,user_id,email,serial)
    #[arg(long, value_name = "people.csv",
          conflicts_with_all = ["check", "dry_run", "erase", "name", "user_id", "pin_fd", "admin_pin_fd", "passphrase_fd"])]
    pub(super) batch: Option<PathBuf>,
    /// With --batch: how long to wait for each token, in seconds [at a terminal: until Enter skips it; else not at all]
    #[arg(long, value_name = "SECONDS", requires = "batch")]
    pub(super) wait: Option<u64>,
    /// The name of whoever gets the token, in trust: writes NAME.enrol [the profile's holder.login]
    #[arg(long)]
    name: Option<Name>,
    /// The user id in the certificate, as in "Alice <alice@example.org>"
    #[arg(long, value_name = "TEXT")]
    user_id: Option<String>,
    /// Read the passphrase of the profile's primary key from this descriptor
    #[arg(long, value_name = "N")]
    passphrase_fd: Option<u32>,
    /// Read the user PIN from this descriptor
    #[arg(long, value_name = "N")]
    pin_fd: Option<u32>,
    /// Read the present admin PIN from this descriptor [that of the factory]
    #[arg(long, value_name = "N")]
    admin_pin_fd: Option<u32>,
    /// Write secrets that are told once to this descriptor instead of the terminal
    #[arg(long, value_name = "N")]
    pub(super) show_fd: Option<u32>,
}

/// Provisions one token, or one for everybody in a table.
pub(super) fn provision(common: &Common, arguments: &Arguments) -> Outcome {
    let profile = profile(arguments)?;
    if let Some(table) = &arguments.batch {
        return fleet::batch(common, arguments, table, profile);
    }
    let desk = Desk::new(common, None)?;
    let patience = desk.patience(UnixTime::now().plus(PATIENCE));
    let token = work::find_token(common, &patience)?;
    let (slot, ident) = (token.slot(), token.info().ident);
    let directory = folder(&arguments.out, ident);
    let person = person(arguments, &profile);
    if arguments.check || arguments.dry_run {
        let survey = provision::survey(&slot, &profile, &person, &directory, &Tape::default(), &patience)?;
        return if arguments.check { check(ident, &survey) } else { dry_run(ident, &survey) };
    }
    let mut place = Place::find(arguments.show_fd, &desk)?;
    let given = Given {
        pin: arguments.pin_fd,
        admin_pin: arguments.admin_pin_fd,
        passphrase: arguments.passphrase_fd,
    };
    let one = One::new(&desk, profile, arguments.erase)?;
    let done = one.token(&slot, ident, person, &directory, &given, &place)?;
    let report = report(&done, &directory);
    place.tell(&done, "")?;
    done.finish(UnixTime::now())?;
    Ok(report)
}

/// Descriptors at which secrets are handed over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given {
    pin: Option<u32>,
    admin_pin: Option<u32>,
    passphrase: Option<u32>,
}

/// One token after the other, with one profile and one person to ask.
pub(super) struct One<'a> {
    pub(super) desk: &'a Desk,
    pub(super) profile: Profile,
    /// The serial that was typed back on the command line.
    erase: Option<Ident>,
    /// Those that lie beside the configuration.
    intermediates: Vec<Vec<u8>>,
}

impl<'a> One<'a> {
    /// Ready for any number of tokens.
    ///
    /// # Errors
    /// If an intermediate beside the configuration cannot be read.
    pub(super) fn new(desk: &'a Desk, profile: Profile, erase: Option<Ident>) -> Result<Self, Failure> {
        let intermediates = Authorities::read(&[], &[])?.intermediates;
        Ok(Self { desk, profile, erase, intermediates })
    }

    /// Makes a token what the profile says, asking for what that needs.
    ///
    /// # Errors
    /// Everything that can be found out is, before anything is changed.
    pub(super) fn token(
        &self,
        slot: &Arc<dyn Slot>,
        ident: Ident,
        mut person: Person,
        directory: &Path,
        given: &Given,
        place: &Place<'_>,
    ) -> Result<Done, Failure> {
        let Self { desk, profile, .. } = self;
        let tape = Tape::default();
        let patience = desk.patience(UnixTime::now().plus(PATIENCE));
        let survey = provision::survey(slot, profile, &person, directory, &tape, &patience)?;
        if survey.observed.ident != ident {
            let (before, now) = (format!("card {ident}"), format!("card {}", survey.observed.ident));
            return Err(CardError::Changed { before, now }.into());
        }
        // Before anything is changed: a secret that cannot be told would be lost to its holder.
        if will_tell(profile, &survey) && matches!(place, Place::Nowhere) {
            return Err(Failure::usage("secrets have to be told once, and there is no terminal")
                .hint("hand over a pipe for them with --show-fd N"));
        }
        if !survey.plan.is_done() {
            desk.show(&format!("token {ident}:\n{}", describe(&survey.plan)));
        }
        let erase = settle_erase(self.erase, desk, ident, &survey.plan)?;
        let admin_pin = given_admin_pin(given.admin_pin, desk, ident, survey.needs_admin_pin)?;
        let user_pin = user_pin(given.pin, desk, ident, survey.needs_user_pin)?;
        person.passphrase = passphrase(given.passphrase, desk, survey.needs_passphrase.as_ref())?;
        let mut job = Job {
            ident,
            profile: profile.clone(),
            directory: directory.to_owned(),
            admin_pin,
            user_pin,
            erase,
            person,
            intermediates: self.intermediates.clone(),
            progress: progress(ident, attesting_takes_a_touch(&survey)),
        };
        loop {
            let mut attendant = AtToken::new(desk.terminal.as_ref());
            match provision::provision(slot, &job, &mut attendant, &tape, &patience) {
                // It was not the one of the factory. Whoever sits here may know it.
                Err(ProvisionError::AdminPinUnknown { left, .. }) if left > 1 && desk.terminal.is_some() => {
                    desk.show(&format!("the admin PIN is none that is known here; {left} tries are left\n"));
                    job.admin_pin = ask_pin(desk, &format!("ADMIN PIN of token {ident}: "))?;
                }
                other => return Ok(other?),
            }
        }
    }
}

/// Who gets the token, as far as it is known before anything is asked.
fn person(arguments: &Arguments, profile: &Profile) -> Person {
    let login = || profile.holder.login.as_ref()?.parse().ok();
    let certificate = profile.certificate.is_some() || arguments.user_id.is_some();
    let name = arguments.name.clone().or_else(|| login().filter(|_| certificate));
    Person { name, user_id: arguments.user_id.clone(), passphrase: None }
}

/// Whether the attestation key wants a touch of its own.
fn attesting_takes_a_touch(survey: &Survey) -> bool {
    let will = survey.plan.steps.iter().find_map(|planned| match &planned.step {
        Step::Touch { slot: None, touch } => Some(touch.policy()),
        _ => None,
    });
    will.or(survey.observed.attestation_touch).is_some_and(|touch| touch != TouchPolicy::Off)
}

/// Says each step; of one that takes a touch without a signature, that too.
fn progress(ident: Ident, attesting_takes_a_touch: bool) -> Arc<Progress> {
    Arc::new(move |planned| {
        say(&format!("  {}\n", planned.step));
        if let (Step::Attest { slot }, true) = (&planned.step, attesting_takes_a_touch) {
            say(&format!("touch token {ident} now to attest its {slot} key\n"));
        }
    })
}

/// Whether this run will have something to tell.
fn will_tell(profile: &Profile, survey: &Survey) -> bool {
    let (user, others) = (profile.pin.user == UserPin::Random, profile.escrow.to.is_empty());
    let made = |step: &Step| match step {
        Step::UserPin => user,
        Step::AdminPin | Step::ResettingCode(true) => others,
        _ => false,
    };
    // An earlier run may have made something that nobody was told.
    survey.plan.has(made) || survey.resumes && (user || others)
}

fn profile(arguments: &Arguments) -> Result<Profile, Failure> {
    let Some(path) = &arguments.profile else { return Ok(Profile::recommended()) };
    let most = usize::try_from(MAX_PROFILE).unwrap_or(usize::MAX);
    let bytes = read_input(path, most)?;
    let text = String::from_utf8(bytes).ok().filter(|text| text.len() <= most);
    let text = text.ok_or_else(|| {
        Failure::usage(format!("{}: expected at most {most} bytes of UTF-8", path.display()))
    })?;
    Ok(Profile::parse(&text, path).map_err(ProvisionError::from)?)
}

/// Where secrets are told.
pub(super) enum Place<'a> {
    Nowhere,
    Pipe(std::fs::File),
    Terminal(&'a Terminal),
}

impl<'a> Place<'a> {
    pub(super) fn find(show_fd: Option<u32>, desk: &'a Desk) -> Result<Self, Failure> {
        match (show_fd, &desk.terminal) {
            (Some(number), _) => place::inherited_pipe(number, true)
                // A full one is waited for.
                .and_then(|pipe| Ok(rustix::fs::fcntl_setfl(&pipe, OFlags::empty()).map(|()| pipe)?))
                .map(Self::Pipe)
                .map_err(|error| Failure::usage(format!("descriptor {number}: {error}"))),
            (None, Some(terminal)) => Ok(Self::Terminal(terminal)),
            (None, None) => Ok(Self::Nowhere),
        }
    }

    /// Tells what there is to tell, each line behind `label`.
    pub(super) fn tell(&mut self, done: &Done, label: &str) -> Result<(), Failure> {
        for told in &done.tell {
            let mut line = Zeroizing::new(String::with_capacity(256));
            for part in [label, told.what, ": ", &told.secret, "\n"] {
                line.push_str(part);
            }
            match self {
                Self::Terminal(terminal) => terminal.say(&line),
                Self::Pipe(pipe) => pipe.write_all(line.as_bytes()).map_err(|error| {
                    Failure::failed("not-told", format!("secrets could not be told: {error}"))
                        .hint("they are kept; run the same command again")
                })?,
                Self::Nowhere => {
                    return Err(Failure::usage("secrets have to be told once, and there is no terminal")
                        .hint("they are kept; run the same command again with --show-fd N"));
                }
            }
        }
        if let (Self::Terminal(terminal), false) = (&*self, done.tell.is_empty()) {
            terminal.say("these are told once; write down what has to be kept\n");
        }
        Ok(())
    }
}
