//! `card provision`: one token from what it is to what a profile says.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustix::fs::OFlags;
use sequoia_openpgp::Fingerprint;
use sequoia_openpgp::crypto::Password;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::card::provision::fleet::folder;
use crate::card::provision::{
    self, Done, Job, MAX_PROFILE, Person, Plan, Profile, Progress, ProvisionError, Step, Survey, UserPin,
    UserPinNeed, Vouched,
};
use crate::card::{
    Attendant, CardError, Ident, KeySlot, Pin, PinEntry, PinRequest, Slot, Tape, TokenInfo, TouchNeed,
    TouchPolicy,
};
use crate::cli::authorities::Authorities;
use crate::cli::prompt::{Terminal, Typed};
use crate::cli::report::{Failure, Outcome, Report, exit, printable, say};
use crate::cli::secret::typed;
use crate::cli::work::{self, Desk};
use crate::cli::{Common, fleet, pin, place, read_input};
use crate::enrolment::possession::Name;
use crate::unix_time::UnixTime;

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
            let mut attendant = AtToken { terminal: desk.terminal.as_ref(), what: String::new() };
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

fn passphrase(
    given: Option<u32>,
    desk: &Desk,
    needed: Option<&Fingerprint>,
) -> Result<Option<Password>, Failure> {
    let Some(fingerprint) = needed else { return Ok(None) };
    let line = match (given, &desk.terminal) {
        (Some(number), _) => Some(pin::line_from_descriptor(number, &desk.cancel)?),
        (None, Some(terminal)) => {
            typed(terminal.ask_secret(&format!("passphrase of primary key {}: ", fingerprint.to_hex())))?
        }
        (None, None) => None,
    };
    let none = || {
        Failure::usage("the primary key needs its passphrase, and nobody may be asked")
            .hint("hand it over with --passphrase-fd N")
    };
    line.map(|line| Some(Password::from(line.as_slice()))).ok_or_else(none)
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

fn describe(plan: &Plan) -> String {
    let mut text = String::new();
    for planned in &plan.steps {
        text.push_str(&format!("  {}\n      because {}\n", planned.step, planned.why));
    }
    for note in &plan.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    for problem in &plan.problems {
        text.push_str(&format!("  NOT POSSIBLE: {problem}\n"));
    }
    for slot in &plan.erases {
        text.push_str(&format!("  ERASES the {slot} key that is there\n"));
    }
    text
}

fn fields(ident: Ident, plan: &Plan) -> [(&'static str, Value); 5] {
    let steps: Vec<Value> =
        plan.steps.iter().map(|it| json!({ "step": it.step.to_string(), "why": it.why })).collect();
    let erases: Vec<&str> = plan.erases.iter().map(|slot| slot.word()).collect();
    [
        ("serial", json!(ident.to_string())),
        ("steps", json!(steps)),
        ("problems", json!(plan.problems)),
        ("notes", json!(plan.notes)),
        ("erases", json!(erases)),
    ]
}

fn check(ident: Ident, survey: &Survey) -> Outcome {
    let plan = &survey.plan;
    let text = if plan.is_done() {
        let when = survey.record.as_ref().and_then(|record| UnixTime::from_seconds(record.finished));
        let when = when.map_or(String::new(), |when| format!("; it proved that on {when}"));
        format!("token {ident} is as the profile says{when}\n")
    } else {
        format!("token {ident} differs from the profile:\n{}", describe(plan))
    };
    let mut report = Report::done(text).with("differs", !plan.is_done());
    report.exit = if plan.is_done() { exit::YES } else { exit::NO };
    Ok(fields(ident, plan).into_iter().fold(report, |report, (name, value)| report.with(name, value)))
}

fn dry_run(ident: Ident, survey: &Survey) -> Outcome {
    let plan = &survey.plan;
    let resumes = if survey.resumes { ", going on where an earlier run was cut off" } else { "" };
    let text = if plan.is_done() {
        format!("token {ident} is as the profile says: nothing would change\n")
    } else {
        format!("token {ident} would change{resumes}:\n{}", describe(plan))
    };
    let mut report = Report::done(text);
    report.exit = if plan.problems.is_empty() { exit::YES } else { exit::FAILED };
    Ok(fields(ident, plan).into_iter().fold(report, |report, (name, value)| report.with(name, value)))
}

/// Has the serial typed back where keys would be erased.
fn settle_erase(
    erase: Option<Ident>,
    desk: &Desk,
    ident: Ident,
    plan: &Plan,
) -> Result<Option<Ident>, Failure> {
    let (true, None, Some(terminal)) =
        (!plan.erases.is_empty() && plan.problems.is_empty(), erase, &desk.terminal)
    else {
        return Ok(erase);
    };
    let line = typed(terminal.ask("Keys would be ERASED for good. Type the token's number to go on: "))?;
    let text =
        line.as_deref().map(|line| String::from_utf8_lossy(line).trim().to_owned()).unwrap_or_default();
    if text.parse() == Ok(ident) {
        return Ok(Some(ident));
    }
    Err(Failure::failed("would-erase", "that is not the token's number; nothing was changed")
        .hint("look at the token, and run the command again"))
}

fn given_admin_pin(
    given: Option<u32>,
    desk: &Desk,
    ident: Ident,
    needed: bool,
) -> Result<Option<Pin>, Failure> {
    match given {
        Some(number) => Ok(Some(pin::from_descriptor(number, &desk.cancel)?)),
        None if needed => ask_pin(desk, &format!("ADMIN PIN of token {ident}: ")),
        None => Ok(None),
    }
}

fn user_pin(
    given: Option<u32>,
    desk: &Desk,
    ident: Ident,
    need: Option<UserPinNeed>,
) -> Result<Option<Pin>, Failure> {
    match (given, need) {
        (_, None) => Ok(None),
        (Some(number), Some(_)) => Ok(Some(pin::from_descriptor(number, &desk.cancel)?)),
        (None, Some(UserPinNeed::Present)) => ask_pin(desk, &format!("PIN of token {ident}: ")),
        (None, Some(UserPinNeed::New)) => loop {
            let Some(new) = ask_pin(desk, &format!("NEW PIN for token {ident}: "))? else { return Ok(None) };
            let again = ask_pin(desk, "the same once more: ")?;
            if again.is_some_and(|again| again.same(&new)) {
                return Ok(Some(new));
            }
            desk.show("those were two different PINs\n");
        },
    }
}

/// Asks at the terminal; `None` if there is none, or nothing was typed.
fn ask_pin(desk: &Desk, prompt: &str) -> Result<Option<Pin>, Failure> {
    let Some(terminal) = &desk.terminal else { return Ok(None) };
    loop {
        let Some(line) = typed(terminal.ask_secret(prompt))?.filter(|line| !line.is_empty()) else {
            return Ok(None);
        };
        // Too short or too long for any card: it was not sent, so no try is lost.
        match Pin::new(line) {
            Ok(pin) => return Ok(Some(pin)),
            Err(error) => terminal.say(&format!("{error}\n")),
        }
    }
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

fn files_by_name(done: &Done) -> [(&'static str, Option<&Path>); 4] {
    let files = &done.files;
    [
        ("certificate", files.certificate.as_deref()),
        ("revocation", files.revocation.as_deref()),
        ("report", files.report.as_deref()),
        ("enrolment", files.enrolment.as_deref()),
    ]
}

fn report(done: &Done, directory: &Path) -> Report {
    let ident = done.observed.ident;
    let mut text = if done.steps.is_empty() {
        format!("token {ident} is as the profile says; nothing was changed\n")
    } else {
        format!("token {ident} is as the profile says, and proved it ({} changes sent)\n", done.writes)
    };
    let mut keys = serde_json::Map::new();
    for slot in KeySlot::ALL {
        let state = done.observed.slot(slot);
        if let Some(key) = state.key(slot) {
            let fingerprint = key.fingerprint().to_hex();
            text.push_str(&format!("  {:<15}{fingerprint}, touch {}\n", slot.word(), state.touch.word()));
            keys.insert(slot.word().to_owned(), json!(fingerprint));
        }
    }
    let files = &done.files;
    for attested in &files.attested {
        text.push_str(&format!("  attested       {} key, {}\n", attested.slot, attested.vouched));
    }
    for (what, file) in files_by_name(done) {
        if let Some(file) = file {
            text.push_str(&format!("  {what:<15}{}\n", printable(&file.display().to_string())));
        }
    }
    if let Some(escrow) = &done.escrow {
        text.push_str(&format!("  escrowed       {}\n", escrow.display()));
    }
    text.push_str(&format!("  record         {}\n", directory.display()));
    let steps: Vec<String> = done.steps.iter().map(|planned| planned.step.to_string()).collect();
    let attested: Vec<Value> = files
        .attested
        .iter()
        .map(|it| {
            let file = match &it.vouched {
                Vouched::Yubico(name) => json!({ "yubico": name }),
                Vouched::Configured(name) => json!({ "configured": name }),
                Vouched::Nobody => Value::Null,
            };
            json!({ "slot": it.slot.word(), "root": file, "falls_short": it.short })
        })
        .collect();
    let report = Report::done(text).with("attested", attested);
    let report = files_by_name(done)
        .into_iter()
        .fold(report, |report, (what, file)| report.with(what, file.map(|file| file.display().to_string())));
    report
        .with("serial", ident.to_string())
        .with("steps", steps)
        .with("writes", done.writes)
        .with("keys", Value::Object(keys))
        .with("escrow", done.escrow.as_ref().map(|path| path.display().to_string()))
        .with("directory", directory.display().to_string())
}

/// The person at the token. Its PIN is known here, so only the finger is asked for.
struct AtToken<'a> {
    terminal: Option<&'a Terminal>,
    /// What the next signature is for.
    what: String,
}

impl Attendant for AtToken<'_> {
    fn pin(&mut self, _: &PinRequest<'_>) -> Result<Option<PinEntry>, CardError> {
        Ok(None)
    }

    fn about_to(&mut self, what: &str) {
        what.clone_into(&mut self.what);
    }

    fn touch_needed(&mut self, token: &TokenInfo, need: TouchNeed) {
        let what = &self.what;
        match need {
            TouchNeed::Always => say(&format!("touch token {} now to {what}\n", token.ident)),
            TouchNeed::Perhaps => say(&format!("if it blinks, touch token {} now to {what}\n", token.ident)),
            TouchNeed::Never => {}
        }
    }

    fn not_touched(&mut self, waited: Duration) -> bool {
        let Some(terminal) = self.terminal else { return false };
        let prompt = format!("not touched within {} s; Enter tries again, Ctrl-C stops: ", waited.as_secs());
        matches!(terminal.ask(&prompt), Ok(Typed::Line(_)))
    }
}
