//! What is odd about trust that loads: rules that nobody can meet, people who can do less than it seems, ends that
//! are near. For whoever keeps it; nothing here decides about a request.

pub(crate) mod people;
pub(crate) mod reach;
pub(crate) mod rules;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::trust::place::{Place, Source};
use crate::trust::{Files, Trust};
use crate::unix_time::UnixTime;

pub use reach::Hindrance;

/// An end that is nearer than this is near.
pub(crate) const NEAR: Duration = Duration::from_secs(30 * 24 * 3600);

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something that the policy promises cannot happen, or everybody may change it.
    Error,
    /// Worth a look.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Error { "error" } else { "warning" })
    }
}

/// One thing that is odd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable, explained in `docs/trust.md`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Where, if it stands somewhere.
    pub place: Option<Place>,
    /// What, in one line.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{} ({}): {}", self.severity, self.code, self.message)
    }
}

/// Looks a version of trust over, with the files that it was made of, as it is at `now`. By file and line.
pub fn check(trust: &Trust, files: &Files, now: UnixTime) -> Vec<Finding> {
    let mut findings = Findings { list: Vec::new(), policy: Source::new(files, "policy.toml") };
    settings(trust, now, &mut findings);
    let able = reach::Able::all(trust, now);
    rules::check(trust, &able, &mut findings);
    people::check(trust, files, now, &able, &mut findings);
    findings.list.sort_by(|a, b| (&a.place, a.severity, a.code).cmp(&(&b.place, b.severity, b.code)));
    findings.list
}

/// What was found so far.
pub(crate) struct Findings<'a> {
    pub(crate) list: Vec<Finding>,
    pub(crate) policy: Option<Source<'a>>,
}

impl Findings<'_> {
    pub(crate) fn error(&mut self, code: &'static str, place: Option<Place>, message: String) {
        self.list.push(Finding { code, severity: Severity::Error, place, message });
    }

    pub(crate) fn warning(&mut self, code: &'static str, place: Option<Place>, message: String) {
        self.list.push(Finding { code, severity: Severity::Warning, place, message });
    }

    fn key(&self, key: &str) -> Option<Place> {
        self.policy.as_ref().and_then(|policy| policy.key(key))
    }
}

fn settings(trust: &Trust, now: UnixTime, findings: &mut Findings<'_>) {
    let ends = findings.key("valid_until");
    if now >= trust.valid_until {
        let message = format!("it ended at {}; no verifier uses it any more", trust.valid_until);
        findings.error("expired", ends, message);
    } else if now.plus(NEAR) >= trust.valid_until {
        let days = trust.valid_until.since(now).as_secs() / (24 * 3600);
        let message = format!("it ends at {}, in {days} day(s)", trust.valid_until);
        findings.warning("expires-soon", ends, message);
    }
    if trust.log_key.is_none() {
        let message = "no log_key, so nothing can be logged and nothing granted; `touchgate init` makes one";
        findings.error("no-log-key", None, message.to_owned());
    }
    if trust.grant_keys.is_empty() {
        let message = "no [[grant_key]], so no grant is believed; `touchgate init` makes one";
        findings.error("no-grant-key", None, message.to_owned());
    }
}
