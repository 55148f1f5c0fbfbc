//! `trust explain`: which rule decides about a request, why that one, and who can still approve it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::ask::Asked;
use crate::cli::report::{Failure, Outcome, Report, Verdict, exit, printable};
use crate::cli::{Common, place};
use crate::request::{Identity, Mode, Parameters, Request};
use crate::text::Text;
use crate::trust::explain::{Explanation, Slots, explain as explain_request};
use crate::trust::policy::{Approvers, REVOKE_ACTION, UPDATE_ACTION, WHOEVER_SIGNS};
use crate::trust::{NotAdmitted, Trust};
use crate::unix_time::UnixTime;

const EXAMPLE: &str = "\
Example:
  touchgate trust explain deploy payments/prod
  touchgate trust explain deploy payments/prod --requester github:alice --approved-by bob
  touchgate trust explain deploy payments/prod --in ./trust     by a directory that is worked on";

/// How many people one line names.
const NAMED: usize = 12;

// Arguments of `trust explain`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    asked: Asked,
    /// Who would ask [this person, at this machine]
    #[arg(long, value_name = "IDENTITY")]
    requester: Option<Identity>,
    /// The workload that would ask for them
    #[arg(long, value_name = "IDENTITY")]
    via: Option<Identity>,
    /// Somebody who would have approved
    #[arg(long = "approved-by", value_name = "PERSON")]
    approved_by: Vec<String>,
    /// The emergency rule
    #[arg(long, value_name = "MODE")]
    mode: Option<Glass>,
    /// A directory, pinned or not [the trust of this machine]
    #[arg(long = "in", value_name = "DIR")]
    directory: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Glass {
    /// Loud, and a debt until two others have countersigned
    BreakGlass,
}

/// Explains it.
pub(super) fn explain(common: &Common, arguments: &Arguments) -> Outcome {
    let directory = match &arguments.directory {
        Some(directory) => directory.clone(),
        None => place::trust(common.trust.as_deref(), common.unpinned)?.directory,
    };
    let (trust, files) = super::load(&directory)?;
    let unknown = |name: &&String| trust.roster.people().iter().all(|person| person.name != **name);
    if let Some(name) = arguments.approved_by.iter().find(unknown) {
        let people = trust.roster.people().iter().map(|person| person.name.as_str());
        let guess = crate::trust::meant::meant(name, people);
        let guess = guess.map(|word| format!("; did you mean {word:?}?")).unwrap_or_default();
        return Err(Failure::usage(format!("--approved-by {name}: there is nobody of that name{guess}")));
    }
    let request = request(arguments, &trust)?;
    let found = explain_request(&trust, &files, &request, &arguments.approved_by, UnixTime::now());
    Ok(report(&found, &request))
}

fn request(arguments: &Arguments, trust: &Trust) -> Result<Request, Failure> {
    let mut request = arguments.asked.request(Parameters::new(), &arguments.asked.files()?)?;
    request.via = arguments.via.clone();
    if arguments.mode == Some(Glass::BreakGlass) {
        request.mode = Mode::BreakGlass;
        // That one is needed is said of the rule; which one, no rule asks.
        let said = request.reason.take();
        let some = Text::new("an emergency").map_err(|error| Failure::usage(error.to_string()))?;
        request.reason = Some(said.unwrap_or(some));
    }
    if let Some(requester) = &arguments.requester {
        request.requester = requester.clone();
    } else if matches!(request.action.as_str(), UPDATE_ACTION | REVOKE_ACTION) {
        let of_requester = |rule: &crate::trust::policy::Rule| {
            rule.need.iter().any(|need| need.from == Approvers::Requester)
        };
        if !trust.rule(&request).is_some_and(of_requester) {
            request.requester = WHOEVER_SIGNS
                .parse()
                .map_err(|error: crate::request::NameError| Failure::usage(error.to_string()))?;
        }
    }
    Ok(request)
}

fn report(found: &Explanation<'_>, request: &Request) -> Report {
    let who = match found.requester {
        Some(person) => format!("{} ({})", request.requester, person.name),
        None => request.requester.to_string(),
    };
    let mut text = format!("{} on {}, asked by {who}\n", request.action, request.resource);
    let mut line = |name: &str, words: String| text.push_str(&format!("  {name:<9} {}\n", printable(&words)));
    let mut fields = Report::done(String::new());
    if let Some(rule) = found.rule {
        let place = found.place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
        let covering = found.others.iter().filter(|other| other.why.starts_with("covers it too")).count();
        let why = match covering {
            0 => "the only one that covers it".to_owned(),
            more => format!("the most specific of {} that cover it", more + 1),
        };
        line("rule", format!("{rule}{place}, {why}"));
        line("needs", format!("{}, evidence {} or stronger", rule.needs(), rule.tier));
        for slots in &found.slots {
            line("", slots_line(slots));
        }
        for name in &found.unpinned {
            line("pinned", format!("{name} is missing: --with {name}=sha256:… or git:…"));
        }
        line("answers", format!("within {}", span(rule.answer_within)));
        let uses =
            if rule.grant.uses == 1 { "once".to_owned() } else { format!("{} times", rule.grant.uses) };
        line("grant", format!("for {}, {uses}", span(rule.grant.lasts)));
        fields = fields.with("rule", super::show::rule_json(rule));
    }
    for other in &found.others {
        let place = other.place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default();
        line("not", format!("{}{place}: {}", other.rule, other.why));
    }
    let (code, verdict) = verdict(found);
    line("so", verdict);
    let slots: Vec<Value> = found.slots.iter().map(slots_json).collect();
    let mut report = fields
        .with("place", json!(found.place))
        .with("requester", found.requester.map(|person| person.name.clone()))
        .with("slots", slots)
        .with("missing", found.missing)
        .with("possible", found.possible)
        .with("unpinned", found.unpinned.clone())
        .with("others", json!(found.others))
        .with("did_you_mean", found.meant.clone());
    report.text = text;
    if let Some(code) = code {
        report.verdict = Some(Verdict::Rejected);
        report.exit = exit::NO;
        report = report.with("code", code);
    }
    report
}

/// What comes of it, and the code if that is nothing.
fn verdict(found: &Explanation<'_>) -> (Option<&'static str>, String) {
    match &found.not_admitted {
        Some(NotAdmitted::NotPinned { .. }) | None => {}
        Some(why) => {
            let guess = found.meant.as_ref().map(|word| format!("; did you mean {word:?}?"));
            let code = crate::verify::Rejection::from(why.clone()).code();
            return (Some(code), format!("it cannot be asked: {why}{}", guess.unwrap_or_default()));
        }
    }
    let pinned = match found.unpinned.is_empty() {
        true => "",
        false => ", once what is pinned is given",
    };
    match (found.missing, found.possible) {
        (0, _) => (None, format!("that is enough{pinned}")),
        (missing, true) => (None, format!("{missing} more can still be had{pinned}")),
        (missing, false) => (
            Some("unmeetable"),
            format!("{missing} more would be needed, and those who could give them are too few"),
        ),
    }
}

fn slots_line(slots: &Slots) -> String {
    let mut parts = Vec::new();
    if !slots.filled.is_empty() {
        parts.push(format!("filled by {}", names(&slots.filled)));
    }
    if usize::try_from(slots.count).is_ok_and(|count| slots.filled.len() < count) {
        match slots.can.is_empty() {
            true => parts.push("nobody else can".to_owned()),
            false => parts.push(format!("{} can", names(&slots.can))),
        }
    }
    if !slots.cannot.is_empty() {
        let cannot: Vec<String> = slots.cannot.iter().map(|(name, why)| format!("{name} ({why})")).collect();
        parts.push(format!("not {}", names(&cannot)));
    }
    format!("{} of {}: {}", slots.count, slots.from, parts.join("; "))
}

fn slots_json(slots: &Slots) -> Value {
    let cannot: Vec<Value> =
        slots.cannot.iter().map(|(name, why)| json!({ "person": name, "why": why.to_string() })).collect();
    json!({
        "from": slots.from.to_string(),
        "count": slots.count,
        "filled": slots.filled,
        "can": slots.can,
        "cannot": cannot,
    })
}

fn names(words: &[String]) -> String {
    let named: Vec<&str> = words.iter().take(NAMED).map(String::as_str).collect();
    match words.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// A duration in the largest unit that divides it, as policy.toml writes it.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(24 * 3600, "d"), (3600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}
