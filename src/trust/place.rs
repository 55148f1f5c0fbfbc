//! Where something stands in a file of trust: line and column. Looked up once it is known to be wrong, so that loading
//! what is right costs nothing more.

use std::fmt;
use std::ops::Range;

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::trust::Files;
use crate::trust::TrustError;
use crate::trust::keys::KeyError;
use crate::trust::meant::meant;
use crate::trust::policy::{COUNTERSIGN_ACTION, PolicyError, UPDATE_ACTION};
use crate::trust::roster::RosterError;

/// A place in a file of trust.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The file, below the directory.
    #[serde(rename = "file")]
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

impl Place {
    /// The place of the byte `at` of `text`.
    pub(crate) fn of(path: &str, text: &str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
        Self { path: path.to_owned(), line, column }
    }
}

/// A TOML file with its places.
pub(crate) struct Source<'a> {
    path: &'a str,
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

impl<'a> Source<'a> {
    /// Reads one of the files, if it is TOML.
    pub(crate) fn new(files: &'a Files, path: &'a str) -> Option<Self> {
        let text = std::str::from_utf8(files.get(path)?).ok()?;
        Some(Self { path, text, root: DeTable::parse(text).ok()? })
    }

    fn place(&self, span: &Range<usize>) -> Place {
        Place::of(self.path, self.text, span.start)
    }

    /// The key at the top.
    pub(crate) fn key(&self, key: &str) -> Option<Place> {
        let value = self.root.get_ref().get(key)?;
        Some(self.place(&value.span()))
    }

    /// The head of the rule with this number, counted from 0.
    pub(crate) fn rule(&self, index: usize) -> Option<Place> {
        Some(self.place(&self.rules().nth(index)?.span()))
    }

    /// Below `key` in the rule with this number, the value `found`, else the key's.
    pub(crate) fn in_rule(&self, index: usize, key: &str, found: &str) -> Option<Place> {
        let value = self.rules().nth(index)?.get_ref().get(key)?;
        Some(self.place(&search(value, found, false).unwrap_or_else(|| value.span())))
    }

    /// Whether `found` stands below `key` in the rule with this number.
    fn writes(&self, index: usize, key: &str, found: &str) -> bool {
        let value = self.rules().nth(index).and_then(|rule| rule.get_ref().get(key));
        value.is_some_and(|value| search(value, found, false).is_some())
    }

    /// Anywhere below `key` at the top, the first value `found`, or the last.
    pub(crate) fn value(&self, key: &str, found: &str, last: bool) -> Option<Place> {
        Some(self.place(&search(self.root.get_ref().get(key)?, found, last)?))
    }

    fn rules(&self) -> impl Iterator<Item = &Spanned<DeValue<'a>>> {
        let rules = self.root.get_ref().get("rule").and_then(|rules| rules.get_ref().as_array());
        rules.into_iter().flatten()
    }

    /// Action and resource of each rule, as they are written.
    fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules().map(|rule| {
            let text = |key, default| {
                rule.get_ref().get(key).and_then(|value| value.get_ref().as_str()).unwrap_or(default)
            };
            (text("action", ""), text("resource", "**"))
        })
    }
}

/// The value that is written so, in whatever depth, upper and lower case alike.
fn search(value: &Spanned<DeValue<'_>>, found: &str, last: bool) -> Option<Range<usize>> {
    let pick = |mut spans: Vec<Range<usize>>| if last { spans.pop() } else { spans.into_iter().next() };
    match value.get_ref() {
        DeValue::String(text) => text.eq_ignore_ascii_case(found).then(|| value.span()),
        DeValue::Integer(number) => (number.as_str() == found).then(|| value.span()),
        DeValue::Array(values) => {
            pick(values.iter().filter_map(|value| search(value, found, last)).collect())
        }
        DeValue::Table(table) => {
            pick(table.iter().filter_map(|(_, value)| search(value, found, last)).collect())
        }
        _ => None,
    }
}

/// The error with the place that it is about, and what was probably meant there.
pub(crate) fn pinpoint(error: TrustError, files: &Files) -> TrustError {
    let (place, note) = match &error {
        TrustError::Malformed { path, message } if path == "policy.toml" => {
            let key = if message.starts_with("valid_until") { "valid_until" } else { "audience" };
            (Source::new(files, "policy.toml").and_then(|source| source.key(key)), None)
        }
        TrustError::Key(error) => (in_keys(error, files), None),
        TrustError::Policy(error) => in_policy(error, files),
        TrustError::Roster(error) => in_roster(error, files),
        _ => (None, None),
    };
    match place {
        None => error,
        Some(place) => TrustError::At { place, note, error: Box::new(error) },
    }
}

fn in_keys(error: &KeyError, files: &Files) -> Option<Place> {
    let source = Source::new(files, "policy.toml")?;
    match error {
        KeyError::Grant { kid, .. } => {
            source.value("grant_key", kid, false).or_else(|| source.key("grant_key"))
        }
        KeyError::Issuer { found, .. } => source.value("issuers", found, false),
        KeyError::Log { .. } => source.key("log_key"),
        KeyError::Witness { .. } => source.key("witness").or_else(|| source.key("witnesses_needed")),
    }
}

fn in_policy(error: &PolicyError, files: &Files) -> (Option<Place>, Option<String>) {
    let Some(source) = Source::new(files, "policy.toml") else { return (None, None) };
    let named = |rule: &str, from: usize| {
        let same = |(_, (action, resource)): &(usize, (&str, &str))| {
            let name = format!("{action} on {resource}");
            rule == name || rule.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with(" ("))
        };
        source.names().enumerate().skip(from).find(same).map(|(index, _)| index)
    };
    match error {
        PolicyError::Ambiguous { first, second } => {
            let one = named(first, 0);
            let other = named(second, one.map_or(0, |index| index + 1)).or_else(|| named(second, 0));
            let note =
                one.and_then(|index| source.rule(index)).map(|place| format!("the other stands at {place}"));
            (other.and_then(|index| source.rule(index)), note)
        }
        PolicyError::BadValue { rule, key, found, .. } => {
            let below = if matches!(*key, "lasts" | "uses") { "grant" } else { *key };
            let named: Vec<usize> =
                (0..source.rules().count()).filter(|index| named(rule, *index) == Some(*index)).collect();
            // Two rules may differ in their mode alone.
            let written = named.iter().find(|index| source.writes(**index, below, found));
            let index = written.or(named.first()).copied();
            let place =
                index.and_then(|index| source.in_rule(index, below, found).or_else(|| source.rule(index)));
            (place, did_you_mean(key, found))
        }
        PolicyError::FewCountersigners { resource, .. } => {
            let index = named(&format!("{COUNTERSIGN_ACTION} on {resource}"), 0);
            (index.and_then(|index| source.rule(index)), None)
        }
        PolicyError::NoUpdateRule => {
            let actions: Vec<&str> = source.names().map(|(action, _)| action).collect();
            let near = actions.iter().position(|action| meant(action, [UPDATE_ACTION]).is_some());
            let place = near.and_then(|index| source.in_rule(index, "action", actions.get(index)?));
            (place, Some(format!("did you mean {UPDATE_ACTION:?}?")))
        }
        PolicyError::TooManyRules { .. } => (None, None),
        PolicyError::VersionZero => (source.key("version"), None),
    }
}

fn in_roster(error: &RosterError, files: &Files) -> (Option<Place>, Option<String>) {
    match error {
        RosterError::BadValue { path, key, found, .. } => {
            let below = if matches!(*key, "groups" | "identities") { *key } else { "token" };
            let place = Source::new(files, path).and_then(|source| source.value(below, found, false));
            (place, did_you_mean(key, found))
        }
        RosterError::Duplicate { path, what, value, holder } => {
            let below = if *what == "identity" { "identities" } else { "token" };
            let own =
                path.strip_prefix("people/").and_then(|name| name.strip_suffix(".toml")) == Some(holder);
            let place = Source::new(files, path).and_then(|source| source.value(below, value, own));
            let there = format!("people/{holder}.toml");
            let other = Source::new(files, &there).and_then(|source| source.value(below, value, false));
            (place, other.map(|place| format!("it stands at {place} already")))
        }
        RosterError::Attestation { path, .. } | RosterError::Certificate { path, .. } => {
            let serial =
                path.strip_prefix("tokens/").and_then(|name| name.split('.').next()).unwrap_or_default();
            let serial = serial.replace('-', ":");
            let people = files.keys().filter(|path| path.starts_with("people/"));
            let mut places =
                people.filter_map(|path| Source::new(files, path)?.value("token", &serial, false));
            (places.next(), None)
        }
        RosterError::Unused { .. } => (None, None),
    }
}

/// The words that a key takes, where it takes only some.
fn did_you_mean(key: &str, found: &str) -> Option<String> {
    let words: &[&str] = match key {
        "mode" => &["break-glass"],
        "need" => &["@requester"],
        "tier" => &["attested", "declared", "signed"],
        "touch" => &["declared"],
        _ => &[],
    };
    meant(found, words.iter().copied()).map(|word| format!("did you mean {word:?}?"))
}

/// A file that is not TOML of the right shape: where, and in which words.
pub(crate) fn malformed(path: &str, text: &str, error: &toml::de::Error) -> TrustError {
    let (message, note) = unknown_key(error.message()).unwrap_or((error.message().to_owned(), None));
    let place = Place::of(path, text, error.span().map_or(0, |span| span.start));
    let malformed = TrustError::Malformed { path: path.to_owned(), message };
    TrustError::At { place, note, error: Box::new(malformed) }
}

/// Serde's words for a key that is none: ``unknown field `adience`, expected one of `audience`, `version` ``.
fn unknown_key(message: &str) -> Option<(String, Option<String>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (found, rest) = rest.split_once('`')?;
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let note = match meant(found, known.iter().copied()) {
        Some(word) => format!("did you mean {word:?}?"),
        None => format!("expected {}", known.join(", ")),
    };
    Some((format!("unknown key {found:?}"), Some(note)))
}
