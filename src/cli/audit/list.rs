//! `audit list`: the entries, a line each, as they are read.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::audit::Entry;
use crate::challenge::{Challenge, RequestId};
use crate::cli::audit::Log;
use crate::cli::report::{Failure, exit, finish, printable};
use crate::cli::{Common, local};
use crate::request::{Action, Mode, Resource};
use crate::store::Store as _;
use crate::unix_time::UnixTime;

const EXAMPLE: &str = "\
Example:
  touchgate audit list --since 2026-11-20T00:00:00Z
  touchgate audit list --action deploy --resource payments/prod --type decided
  touchgate audit list --person bob --json                an object a line";

// Arguments of `audit list`.
#[derive(Args, Debug)]
#[command(before_help = EXAMPLE)]
pub(in crate::cli) struct Arguments {
    /// Only what is about this action
    #[arg(long)]
    action: Option<Action>,
    /// Only what is about this resource
    #[arg(long)]
    resource: Option<Resource>,
    /// Only what this person did, by name or identity
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// Only what happened then or later
    #[arg(long, value_name = "TIME")]
    since: Option<UnixTime>,
    /// Only entries of this kind
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Kind>,
}

/// The kinds of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Answered,
    Asked,
    Countersigned,
    Decided,
    Rejected,
    Revoked,
    TokenRevoked,
    Trust,
    Used,
}

impl Kind {
    fn of(entry: &Entry) -> Self {
        match entry {
            Entry::Answered { .. } => Self::Answered,
            Entry::Asked { .. } => Self::Asked,
            Entry::Countersigned { .. } => Self::Countersigned,
            Entry::Decided { .. } => Self::Decided,
            Entry::Rejected { .. } => Self::Rejected,
            Entry::Revoked { .. } => Self::Revoked,
            Entry::TokenRevoked { .. } => Self::TokenRevoked,
            Entry::Trust { .. } => Self::Trust,
            Entry::Used { .. } => Self::Used,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Asked => "asked",
            Self::Countersigned => "countersigned",
            Self::Decided => "decided",
            Self::Rejected => "rejected",
            Self::Revoked => "revoked",
            Self::TokenRevoked => "token-revoked",
            Self::Trust => "trust",
            Self::Used => "used",
        }
    }
}

/// Prints them, and ends.
pub(in crate::cli) fn list(common: &Common, arguments: &Arguments) -> ExitCode {
    match print(common, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has had enough.
        Err(None) => ExitCode::from(exit::FAILED),
        Err(Some(failure)) => finish(&Err(failure), common.json),
    }
}

fn print(common: &Common, arguments: &Arguments) -> Result<(), Option<Failure>> {
    let log = Log::open(common)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut asked = Asked { log: &log, known: BTreeMap::new() };
    let mut stopped = false;
    log.read(0, |index, line, entry| {
        if arguments.since.is_some_and(|since| entry.at() < since) {
            return Ok(true);
        }
        let about = match entry.request() {
            Some(id) => asked.about(id, &entry)?,
            None => None,
        };
        if arguments.wants(&entry, about.as_ref()) {
            let written = match common.json {
                // The line is JSON: its place is put in front of its own members.
                true => writeln!(out, "{{\"index\":{index},{}", line.get(1..).unwrap_or_default()),
                false => writeln!(out, "{}", row(index, &entry, about.as_ref())),
            };
            stopped = written.is_err();
        }
        Ok(!stopped)
    })?;
    if stopped || out.flush().is_err() { Err(None) } else { Ok(()) }
}

/// What a request was about.
#[derive(Clone)]
struct About {
    action: Action,
    resource: Resource,
    requester: String,
    /// Why the glass was broken, if it was.
    glass: Option<String>,
}

/// The requests, looked up once each.
struct Asked<'a> {
    log: &'a Log,
    known: BTreeMap<RequestId, Option<About>>,
}

impl Asked<'_> {
    fn about(&mut self, id: RequestId, entry: &Entry) -> Result<Option<About>, Failure> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        let challenge = match entry {
            Entry::Asked { challenge, .. } => Challenge::parse(challenge.as_bytes()).ok(),
            _ => {
                let record = self.log.store.request(&id).map_err(|error| local::store_failed(&error))?;
                record.map(|record| record.challenge)
            }
        };
        let about = challenge.map(|challenge| About {
            action: challenge.request.action,
            resource: challenge.request.resource,
            requester: challenge.request.requester.to_string(),
            glass: (challenge.request.mode == Mode::BreakGlass)
                .then(|| challenge.request.reason.map(|reason| reason.to_string()).unwrap_or_default()),
        });
        self.known.insert(id, about.clone());
        Ok(about)
    }
}

impl Arguments {
    fn wants(&self, entry: &Entry, about: Option<&About>) -> bool {
        let same = |kind: &Kind| Kind::of(entry) == *kind;
        self.kind.as_ref().is_none_or(same)
            && self.action.as_ref().is_none_or(|action| about.is_some_and(|about| about.action == *action))
            && self
                .resource
                .as_ref()
                .is_none_or(|resource| about.is_some_and(|about| about.resource == *resource))
            && self.person.as_ref().is_none_or(|person| did(entry, about, person))
    }
}

/// Whether this person did it.
fn did(entry: &Entry, about: Option<&About>, name: &str) -> bool {
    match entry {
        Entry::Answered { person, .. } | Entry::Rejected { person, .. } => person == name,
        Entry::Asked { .. } => about.is_some_and(|about| about.requester == name),
        Entry::Decided { by, .. } => by.iter().any(|by| by == name),
        Entry::Revoked { by, .. } => by == name,
        Entry::TokenRevoked { by, person, .. } => by == name || person == name,
        Entry::Countersigned { .. } | Entry::Trust { .. } | Entry::Used { .. } => false,
    }
}

/// `   17  2026-11-20T04:07:00Z  answered  HJ5C9  deploy payments/prod  bob: approve`
fn row(index: u64, entry: &Entry, about: Option<&About>) -> String {
    let what = about.map_or("-".to_owned(), |about| {
        let loud = if about.glass.is_some() { "  BREAK-GLASS" } else { "" };
        format!("{} {}{loud}", about.action, about.resource)
    });
    let code = entry.request().map_or("-".to_owned(), |id| id.short_code());
    let text = format!("{what}  {}", words(entry, about));
    format!("{index:>8}  {}  {:<13}  {code:<5}  {}", entry.at(), Kind::of(entry).word(), printable(&text))
}

/// What happened, in a few words.
fn words(entry: &Entry, about: Option<&About>) -> String {
    match entry {
        Entry::Answered { person, decision, unseen, .. } => {
            let gap = match unseen {
                Some(more @ 1..) => format!(" ({more} signatures before it that nobody here saw)"),
                _ => String::new(),
            };
            format!("{person}: {decision}{gap}")
        }
        Entry::Asked { .. } => {
            let why = about.and_then(|about| about.glass.as_deref());
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            format!("by {}{why}", about.map_or("-", |about| about.requester.as_str()))
        }
        Entry::Countersigned { settled_by, .. } => format!("by {}", settled_by.short_code()),
        Entry::Decided { outcome, by, .. } => {
            let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
            format!("{}{by}", outcome.words())
        }
        Entry::Rejected { person, code, .. } => format!("{person}: {code}"),
        Entry::Revoked { by, because, .. } => match because {
            Some(because) => format!("by {by}: {because}"),
            None => format!("by {by}"),
        },
        Entry::TokenRevoked { person, keys, by, .. } => {
            format!("{person}: {} key(s), by {by}", keys.len())
        }
        Entry::Trust { version, .. } => version.to_string(),
        Entry::Used { count, .. } => format!("use {count}"),
    }
}
