//! `trust add`: takes what `enrol` made into a directory of trust that is worked on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::write::Locked;
use crate::card::attestation::{self, Attestation, AttestationError, write_pem};
use crate::cli::authorities::Authorities;
use crate::cli::report::{Failure, Outcome, Report, printable};
use crate::cli::{Common, place, read_input};
use crate::enrolment::possession::Name;
use crate::enrolment::{Enrolled, Enrolment, MAX_ENROLMENT};
use crate::request::Identity;
use crate::trust::add::{AddError, Addition, Membership, add as add_to};
use crate::trust::meant::meant;
use crate::trust::{Files, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{Tier, tier};

const EXAMPLE: &str = "\
Example:
  touchgate trust add bob.enrol --group release --identity github:bob
  touchgate trust add tokens/*/*.enrol                        everybody of whom `card provision --batch` made one

It changes ./trust, or the directory named with --trust, and never what this machine goes by: `touchgate trust check`
looks the result over, `touchgate trust sign` makes a version of it.";

/// An enrolment older than this may be of a token that is lost since.
const FRESH: Duration = Duration::from_secs(30 * 24 * 3600);

// Arguments of `trust add`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {
    /// What `enrol` or `card provision` wrote
    #[arg(value_name = "ENROLMENT", required = true)]
    enrolments: Vec<PathBuf>,
    /// Whose they are, instead of the name that each gives
    #[arg(long, value_name = "NAME")]
    person: Option<Name>,
    /// A group that they are to belong to
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// A name under which this person asks, as in github:bob
    #[arg(long = "identity", value_name = "IDENTITY")]
    identities: Vec<Identity>,
    /// Say yourself that these keys need a touch, where no attestation shows it
    #[arg(long, value_name = "WHAT")]
    touch: Option<Touch>,
    /// Certificates between attestation and root, a file or a folder
    #[arg(long, value_name = "PATH")]
    intermediates: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Touch {
    /// An administrator's word
    Declared,
}

/// One file that was read and verified.
struct Taken {
    path: PathBuf,
    person: Name,
    enrolment: Enrolment,
    enrolled: Enrolled,
    /// What its attestation is worth, if it holds one.
    attested: Option<Result<Attestation, AttestationError>>,
}

/// Takes them in.
pub(super) fn add(common: &Common, arguments: &Arguments) -> Outcome {
    let directory = super::working_directory(common, None)?;
    refuse_installed(&directory)?;
    let locked = Locked::open(&directory)?;
    let before = Trust::from_files(&locked.files).map_err(|error| place::bad_trust(&error, &directory))?;
    let authorities = Authorities::read(&arguments.intermediates, &[])?;
    let now = UnixTime::now();
    let taken: Vec<Taken> = arguments
        .enrolments
        .iter()
        .map(|path| take(path, arguments.person.as_ref(), &authorities, &before, now))
        .collect::<Result<_, _>>()?;
    let memberships = memberships(&taken, arguments)?;
    let declared = arguments.touch == Some(Touch::Declared);
    let (files, trust) = build(&locked.files, &taken, &memberships, declared, &directory)?;
    for one in &taken {
        check_touch(one, &trust, declared)?;
    }
    locked.replace(&files)?;
    Ok(told(&taken, &trust, &directory, &arguments.groups))
}

/// What this machine goes by is exchanged by its pin alone.
fn refuse_installed(directory: &Path) -> Result<(), Failure> {
    let real = |path: &Path| path.canonicalize().ok();
    let installed = place::installed();
    if installed.iter().any(|path| real(path).is_some() && real(path) == real(directory)) {
        let message = format!("{} is what this machine goes by", directory.display());
        return Err(Failure::failed("installed-trust", message).hint(format!(
            "work on a copy: cp -r {} trust, then the same command with --trust trust",
            directory.display()
        )));
    }
    Ok(())
}

/// Reads one file and checks all that can be checked of it.
fn take(
    path: &Path,
    person: Option<&Name>,
    authorities: &Authorities,
    trust: &Trust,
    now: UnixTime,
) -> Result<Taken, Failure> {
    let bytes = read_input(path, MAX_ENROLMENT)?;
    let named = |mut failure: Failure| {
        failure.message = format!("{}: {}", printable(&path.display().to_string()), failure.message);
        failure
    };
    let enrolment = Enrolment::parse(&bytes).map_err(|error| named(error.into()))?;
    let enrolled = enrolment.verify(now).map_err(|error| named(error.into()))?;
    let attested = enrolled.attestation.split_first().map(|(attestation, others)| {
        let others = [others.to_vec(), authorities.intermediates.clone()].concat();
        // Judged when this version ends, as whoever loads it will.
        attestation::verify(attestation, &others, &[], trust.valid_until)
    });
    let person = person.unwrap_or(&enrolled.possession.name).clone();
    Ok(Taken { path: path.to_owned(), person, enrolment, enrolled, attested })
}

/// Groups and identities for everybody who is named; the latter only for one.
fn memberships(taken: &[Taken], arguments: &Arguments) -> Result<Vec<Membership>, Failure> {
    let mut people: BTreeMap<String, &Name> = BTreeMap::new();
    people.extend(taken.iter().map(|one| (one.person.to_string(), &one.person)));
    if people.len() > 1 && !arguments.identities.is_empty() {
        return Err(Failure::usage("an identity is one person's, and these enrolments are of several")
            .hint("add them one by one"));
    }
    let membership = |person: &Name| Membership {
        person: person.clone(),
        groups: arguments.groups.clone(),
        identities: arguments.identities.clone(),
    };
    Ok(people.into_values().map(membership).collect())
}

/// The files with everybody in them. An attestation is kept where it shows the touch, and only there.
fn build(
    files: &Files,
    taken: &[Taken],
    memberships: &[Membership],
    declared: bool,
    directory: &Path,
) -> Result<(Files, Trust), Failure> {
    let addition = |one: &Taken, keep: bool| {
        let chain = one.attested.as_ref().and_then(|attested| attested.as_ref().ok()).filter(|_| keep);
        Addition {
            person: one.person.clone(),
            serial: one.enrolled.possession.ident.to_string(),
            key: one.enrolled.possession.key.clone(),
            certificate: one.enrolment.certificate.clone(),
            attestation: chain.map(|attested| attested.chain().iter().map(|it| write_pem(it)).collect()),
            declared: declared && !keep,
        }
    };
    let failed = |error: AddError| match error {
        AddError::Trust(error) => place::bad_trust(&error, directory).hint("nothing was changed"),
        error => Failure::failed(error.code(), error.to_string()).hint("nothing was changed"),
    };
    let all: Vec<Addition> = taken.iter().map(|one| addition(one, true)).collect();
    let (_, trust) = add_to(files, &all, memberships).map_err(failed)?;
    let rest: Vec<Addition> =
        taken.iter().map(|one| addition(one, evidence(one, &trust).0 == Tier::Attested)).collect();
    add_to(files, &rest, memberships).map_err(failed)
}

/// How strong the evidence of this token is now, and why it is not stronger.
fn evidence(one: &Taken, trust: &Trust) -> (Tier, Option<String>) {
    let Some((_, token)) = trust.roster.holder(&one.enrolled.possession.key) else {
        return (Tier::Signed, None);
    };
    let (tier, not_attested) = tier(token);
    let reason = match &one.attested {
        Some(Err(error)) => Some(format!("its attestation is not believed: {error}")),
        _ => not_attested.map(|reason| reason.to_string()),
    };
    (tier, reason)
}

/// Nobody's word for a touch stands against the token's own.
fn check_touch(one: &Taken, trust: &Trust, declared: bool) -> Result<(), Failure> {
    let said = one.enrolled.possession.touch;
    let serial = one.enrolled.possession.ident;
    let path = printable(&one.path.display().to_string());
    let (tier, _) = evidence(one, trust);
    if tier == Tier::Attested {
        return Ok(());
    }
    if declared && matches!(said, "off" | "cached" | "cached-fixed") {
        let message = format!("{path}: token {serial} itself says that its touch policy is {said}");
        return Err(Failure::failed("touch-off", message)
            .hint("have its holder turn it on (`touchgate card touch on`) and enrol again"));
    }
    if one.attested.is_some() && !declared {
        let reason = why(one);
        let message = format!("{path}: token {serial} is said to be attested, and is not: {reason}");
        return Err(Failure::failed("not-attested", message).hint(
            "name Yubico's intermediates with --intermediates, or say with --touch declared that you know yourself that it needs a touch",
        ));
    }
    Ok(())
}

/// Why an attestation that came along does not show the touch.
fn why(one: &Taken) -> String {
    match &one.attested {
        Some(Err(error)) => error.to_string(),
        Some(Ok(attested)) => {
            let said = attested.statement();
            let mut short: Vec<String> = attested.shortfalls().iter().map(ToString::to_string).collect();
            if !one.enrolled.key.is_attested_by(&said.key) {
                short.push("it is of another key".to_owned());
            }
            if said.serial.to_string() != one.enrolled.possession.ident.to_string() {
                short.push(format!("it is of token {}", said.serial));
            }
            short.join("; ")
        }
        None => "it holds none".to_owned(),
    }
}

fn told(taken: &[Taken], trust: &Trust, directory: &Path, groups: &[String]) -> Report {
    let tokens = if taken.len() == 1 { "1 token".to_owned() } else { format!("{} tokens", taken.len()) };
    let shown = printable(&directory.display().to_string());
    let mut text = format!("added {tokens} to {shown}; this machine goes by its own copy as before\n");
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for one in taken {
        let possession = &one.enrolled.possession;
        let (tier, reason) = evidence(one, trust);
        let found = trust.roster.people().iter().find(|person| person.name == one.person.to_string());
        let groups = found.map(|person| person.groups.clone()).unwrap_or_default();
        let identities: Vec<String> = found
            .map(|person| person.identities.iter().map(ToString::to_string).collect())
            .unwrap_or_default();
        let in_groups = if groups.is_empty() { "no group".to_owned() } else { groups.join(", ") };
        text.push_str(&format!(
            "  {}: token {}, key {}\n    groups    {in_groups}\n    evidence  {tier}{}\n    verified  certificate valid, and signed by this very key on {}\n",
            one.person,
            possession.ident,
            possession.key.to_hex(),
            reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default(),
            possession.signed,
        ));
        if possession.name != one.person {
            notes.push(format!("{}: its holder calls themselves {}", one.person, possession.name));
        }
        if identities.is_empty() {
            notes.push(format!(
                "{}: no identity, so they can approve and not ask; --identity gives one",
                one.person
            ));
        }
        if one.enrolled.age > FRESH {
            let days = one.enrolled.age.as_secs() / (24 * 3600);
            notes.push(format!("{}: enrolled {days} days ago; see that they still have it", one.person));
        }
        rows.push(json!({
            "person": one.person.to_string(),
            "serial": possession.ident.to_string(),
            "key": possession.key.to_hex(),
            "groups": groups,
            "identities": identities,
            "evidence": tier.to_string(),
            "not_attested": reason,
            "touch": possession.touch,
            "signed": possession.signed.to_string(),
            "file": one.path.display().to_string(),
        }));
    }
    notes.extend(groups.iter().filter_map(|group| unknown_group(group, trust)));
    notes.dedup();
    notes.iter().for_each(|note| text.push_str(&format!("note: {note}\n")));
    text.push_str("next: touchgate trust check, then touchgate trust sign\n");
    Report::done(text)
        .with("directory", directory.display().to_string())
        .with("added", Value::Array(rows))
        .with("notes", notes)
        .with("digest", trust.version.digest.to_string())
}

/// A word for a group that no rule names.
fn unknown_group(group: &str, trust: &Trust) -> Option<String> {
    let named: Vec<&str> =
        trust.rules().iter().flat_map(|rule| &rule.need).flat_map(|need| need.from.groups()).collect();
    if named.contains(&group) {
        return None;
    }
    let guess = meant(group, named).map(|word| format!("; did you mean {word:?}?")).unwrap_or_default();
    Some(format!("no rule names the group {group:?}{guess}"))
}
