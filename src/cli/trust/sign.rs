//! `trust sign`: the people of one version sign the next one, each on their own machine, after it compared both.

mod gathered;
mod old;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::card::KeptPin;
use crate::challenge::Challenge;
use crate::cli::report::{Failure, Outcome, Report, Verdict, exit, printable};
use crate::cli::work::{self, Desk};
use crate::cli::{Common, ask, place};
use crate::evidence::Answered;
use crate::statement::Decision;
use crate::text::Text;
use crate::trust::chain::{self, Reduced, UpdateError};
use crate::trust::quorum::{NotMet, may_fill};
use crate::trust::{Diff, Files, Trust, diff};
use crate::unix_time::UnixTime;
use gathered::Gathered;

const EXAMPLE: &str = "\
Example:
  touchgate trust sign                     ./trust, against the trust of this machine
  touchgate trust sign --merge other.json  with what others signed meanwhile in versions/N.partial.json";

// Arguments of `trust sign`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {
    /// The directory that is worked on [./trust]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The directory of the version before [the trust of this machine]
    #[arg(long, value_name = "DIR")]
    old: Option<PathBuf>,
    /// Another versions/N.partial.json of the same update, to be joined with the one here
    #[arg(long, value_name = "FILE")]
    merge: Vec<PathBuf>,
    /// Begin anew, without what was signed so far
    #[arg(long)]
    again: bool,
    /// Sign that this must not be, instead
    #[arg(long)]
    refuse: bool,
    /// Why not
    #[arg(long, value_name = "TEXT", requires = "refuse")]
    because: Option<String>,
    /// Read the PIN from this descriptor
    #[arg(long, value_name = "N")]
    pin_fd: Option<u32>,
}

/// Both versions and what lies between them.
struct Step {
    directory: PathBuf,
    old: Trust,
    old_files: Files,
    new: Trust,
    new_files: Files,
    diff: Diff,
    reduced: Reduced,
}

/// Signs an update, or says how far it is.
pub(super) fn sign(common: &Common, arguments: &Arguments) -> Outcome {
    let because = arguments.because.as_deref().map(Text::new).transpose();
    let because = because.map_err(|error| Failure::usage(format!("--because: {error}")))?;
    let decision = if arguments.refuse { Decision::Refuse { because } } else { Decision::Approve };
    let directory = super::working_directory(common, arguments.directory.as_deref())?;
    let step = Step::new(arguments, directory)?;
    let now = UnixTime::now();
    if now >= step.old.valid_until {
        return Err(Failure::failed(
            "trust-expired",
            "the version before has ended: nobody can go on from it",
        )
        .fact("ended", step.old.valid_until.to_string())
        .fact("now", now.to_string())
        .hint("have an administrator tell every verifier the new version: `touchgate trust pin`"));
    }
    let mut gathered = Gathered::read(&step, arguments.again, now)?;
    for path in &arguments.merge {
        gathered.merge(path, &step, now)?;
    }
    let mut desk = Desk::new(common, arguments.pin_fd)?;
    step.show(&desk, &gathered);
    let answer = signed(common, &mut desk, &step, &gathered, decision)?;
    finish(&step, gathered.challenge, answer, &arguments.merge, arguments.again)
}

impl Step {
    fn new(arguments: &Arguments, directory: PathBuf) -> Result<Self, Failure> {
        let (old, old_files) = old::find(arguments.old.as_deref(), &directory)?;
        let (new, new_files) = old::raised(&old, &old_files, &directory)?;
        chain::check_after(&old, &new).map_err(|error| {
            Failure::failed(error.code(), error.to_string())
                .fact("before", old.audience.to_string())
                .fact("after", new.audience.to_string())
                .hint("a verifier keeps its name; set up another one with `touchgate init`")
        })?;
        let diff = diff(&old, &old_files, &new, &new_files);
        let reduced = chain::reduced(&old, &old_files, &new, &new_files);
        Ok(Self { directory, old, old_files, new, new_files, diff, reduced })
    }

    /// What this machine found that the update changes, before anything is asked.
    fn show(&self, desk: &Desk, gathered: &Gathered) {
        let mut text = format!(
            "this machine compared both directories: {} changes\n  from {}\n  to   {}\n",
            self.directory.display(),
            self.old.version,
            self.new.version
        );
        for line in self.diff.to_string().lines() {
            text.push_str(&format!("  {}\n", printable(line)));
        }
        let by: Vec<&str> = gathered.by.iter().map(String::as_str).collect();
        if !by.is_empty() {
            text.push_str(&format!("signed so far by {} (not part of what you sign)\n", by.join(", ")));
        }
        desk.show(&text);
    }

    fn partial(&self) -> PathBuf {
        self.directory.join(format!("versions/{}.partial.json", self.new.version.number))
    }

    fn signed(&self) -> PathBuf {
        self.directory.join(format!("versions/{}.json", self.new.version.number))
    }
}

/// This person's answer: the one that they gave before, or a new one.
fn signed(
    common: &Common,
    desk: &mut Desk,
    step: &Step,
    gathered: &Gathered,
    decision: Decision,
) -> Result<Option<Answered>, Failure> {
    let challenge = &gathered.challenge;
    let mut token = work::find_token(common, &desk.patience(challenge.expires))?;
    let key = token.info().signature_key.as_ref().map(|key| key.fingerprint.clone());
    let holder = key.as_ref().and_then(|key| step.old.roster.holder(key));
    let Some((person, enrolled)) = holder else {
        return Err(Failure::failed(
            "unknown-signer",
            format!("token {} is nobody's in the version before", token.info().ident),
        )
        .fact("version", step.old.version.to_string())
        .hint("its own people sign an update, not those whom it adds"));
    };
    let again = gathered.answers.iter().any(|answer| {
        answer.statement().decision == decision
            && step.old.roster.holder(answer.key()).is_some_and(|(other, _)| other.name == person.name)
    });
    if again {
        return Ok(None);
    }
    if step.reduced.contains(&person.name) {
        return Err(Failure::failed(
            "reduced",
            format!("the update takes something from {}, who neither signs nor refuses it", person.name),
        )
        .hint("others sign it"));
    }
    let rule = step.old.admit(&challenge.request)?;
    let askers = step.old.askers(&challenge.request);
    if !rule.need.iter().any(|need| may_fill(need, person, askers)) {
        let needs: Vec<String> = rule.need.iter().map(|need| need.from.to_string()).collect();
        return Err(Failure::failed("not-allowed", format!("{} does not sign updates", person.name))
            .fact("rule", needs.join(", "))
            .hint("have those sign it whom the version before names"));
    }
    work::check_touch(token.info(), &step.old)?;
    let cert = enrolled.key.certificate().clone();
    let statement = challenge.clone().decided(decision);
    work::show_statement(desk, &statement);
    let response = work::sign(desk, &mut token, &cert, &statement, &mut KeptPin::default())?;
    let answered = Answered::new(&response, None, Some(UnixTime::now()));
    Ok(Some(answered.map_err(|rejection| crate::cli::failure::rejected(&rejection, "the new signature"))?))
}

/// Adds the answer to what lies there by now, and ends the update if that is enough.
fn finish(
    step: &Step,
    challenge: Challenge,
    answer: Option<Answered>,
    merge: &[PathBuf],
    again: bool,
) -> Outcome {
    let unwritable = |path: &Path, error: std::io::Error| place::unwritable(path, &error);
    let (partial, signed) = (step.partial(), step.signed());
    let _lock = gathered::lock(&step.directory).map_err(|error| unwritable(&partial, error))?;
    let now = UnixTime::now();
    // Somebody may have signed while this person read and touched.
    let mut gathered = Gathered { challenge, answers: Vec::new(), by: BTreeSet::new() };
    if place::exists(&partial) && !again {
        gathered.merge(&partial, step, now)?;
    }
    for path in merge {
        gathered.merge(path, step, now)?;
    }
    gathered.answers.extend(answer);
    let mut evidence = gathered.evidence(step)?;
    match chain::decide(&step.old, &gathered.challenge, evidence.answers(), &step.reduced, now) {
        Ok(by) => {
            evidence.decision =
                Some(crate::evidence::Decided { outcome: crate::audit::entry::Outcome::Approved, at: now });
            // As every other machine will: what does not hold there must not be written here.
            chain::judge(&step.old.version, &evidence, now).map_err(|error| failed(&error))?;
            place::write_new(&signed, evidence.to_json().as_bytes())
                .map_err(|error| unwritable(&signed, error))?;
            if place::exists(&partial) {
                std::fs::remove_file(&partial).map_err(|error| unwritable(&partial, error))?;
            }
            Ok(complete(step, &by, &signed))
        }
        Err(UpdateError::NotMet(NotMet::Open { missing, from, .. })) => {
            place::replace(&partial, evidence.to_json().as_bytes())
                .map_err(|error| unwritable(&partial, error))?;
            Ok(waiting(step, &gathered, missing, &from, &partial))
        }
        Err(UpdateError::Refused { person }) => {
            place::replace(&partial, evidence.to_json().as_bytes())
                .map_err(|error| unwritable(&partial, error))?;
            let text = format!(
                "refused: version {}, by {person}; written to {}",
                step.new.version.number,
                partial.display()
            );
            Ok(Report { exit: exit::NO, ..Report::decided(Verdict::Refused, text) }
                .with("code", "refused")
                .with("person", person)
                .with("file", partial.display().to_string()))
        }
        Err(error) => Err(failed(&error)),
    }
}

fn complete(step: &Step, by: &[String], signed: &Path) -> Report {
    let (number, directory) = (step.new.version.number, step.directory.display());
    let text = format!(
        "signed: version {number}, by {}; written to {}\n  digest {}\n\
         next: publish {directory}; a verifier that has it goes from version {} to {number} by itself.\n      \
         Here: touchgate trust pin --install {directory}",
        by.join(", "),
        signed.display(),
        step.new.version.digest,
        step.old.version.number,
    );
    Report::decided(Verdict::Approved, text)
        .with("trust", step.new.version.to_string())
        .with("before", step.old.version.to_string())
        .with("by", by)
        .with("file", signed.display().to_string())
}

fn waiting(step: &Step, gathered: &Gathered, missing: usize, from: &[String], partial: &Path) -> Report {
    let by: Vec<&str> = gathered.people(&step.old).into_iter().collect();
    let text = format!(
        "waiting: version {}, {missing} more needed from {}; signed by {}, until {}\n\
         next: commit {} and have the others run `touchgate trust sign` where they have it",
        step.new.version.number,
        from.join(" or "),
        if by.is_empty() { "nobody".to_owned() } else { by.join(", ") },
        gathered.challenge.expires,
        partial.display(),
    );
    Report::decided(Verdict::Pending, text)
        .with("code", "waiting")
        .with("trust", step.new.version.to_string())
        .with("before", step.old.version.to_string())
        .with("by", by)
        .with("missing", missing)
        .with("from", from)
        .with("expires", gathered.challenge.expires.to_string())
        .with("file", partial.display().to_string())
}

fn failed(error: &UpdateError) -> Failure {
    Failure::failed(error.code(), error.to_string())
        .hint("look at what lies in versions/; `touchgate trust sign --again` begins anew")
}

/// Who asks, where the rule has a slot for that.
fn asks() -> Result<crate::request::Identity, Failure> {
    ask::requester()
}
