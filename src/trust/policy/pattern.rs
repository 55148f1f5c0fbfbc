//! Which actions or resources a rule covers: segments, and what may stand for any of them.

use std::fmt;

use crate::request::{Action, Resource};
use crate::trust::index::Segments;
use crate::trust::policy::RESERVED;

/// `payments/*`, `payments/**`: segments, and whether any number may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// `None` is `*`.
    segments: Vec<Option<String>>,
    open: bool,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (text, open) = match text.strip_suffix("**") {
            Some("") => return Some(Self::all()),
            Some(rest) => (rest.strip_suffix('/')?, true),
            None => (text, false),
        };
        let segment = |part: &str| match part {
            "*" => Some(None),
            _ => part.parse::<Resource>().ok().map(|_| Some(part.to_owned())),
        };
        Some(Self { segments: text.split('/').map(segment).collect::<Option<_>>()?, open })
    }

    pub(super) fn segments(&self) -> Segments<'_> {
        (&self.segments, self.open)
    }

    /// Everything.
    pub(super) fn all() -> Self {
        Self { segments: Vec::new(), open: true }
    }

    /// Exactly this path.
    pub(super) fn literal(path: &str) -> Self {
        Self { segments: path.split('/').map(|segment| Some(segment.to_owned())).collect(), open: false }
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        Self::literal(path).within(self)
    }

    pub(super) fn matches_action(&self, action: &Action) -> bool {
        if action.as_str().starts_with(RESERVED) {
            self.to_string() == action.as_str()
        } else {
            self.matches(action.as_str())
        }
    }

    pub(super) fn within(&self, other: &Self) -> bool {
        let (own, others) = (self.segments.len(), other.segments.len());
        let long_enough = if other.open { own >= others } else { own == others && !self.open };
        let covered = |(a, b): (&Option<String>, &Option<String>)| b.is_none() || a == b;
        long_enough && self.segments.iter().zip(&other.segments).all(covered)
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let (own, others) = (self.segments.len(), other.segments.len());
        let lengths = own == others || (self.open && own < others) || (other.open && others < own);
        let meet = |(a, b): (&Option<String>, &Option<String>)| a.is_none() || b.is_none() || a == b;
        lengths && self.segments.iter().zip(&other.segments).all(meet)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = self.segments.iter().map(|segment| segment.as_deref().unwrap_or("*"));
        let all: Vec<&str> = segments.chain(self.open.then_some("**")).collect();
        f.write_str(&all.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn patterns_match_whole_segments() {
        let cases = [
            ("payments/*", "payments/prod", true),
            ("payments/*", "payments", false),
            ("payments/*", "payments/prod/eu", false),
            ("payments/**", "payments", true),
            ("payments/**", "payments/prod/eu", true),
            ("payments/**", "paymentsx", false),
            ("**", "a/b/c", true),
            ("*", "a", true),
            ("*", "a/b", false),
            ("*/prod", "payments/prod", true),
        ];
        for (text, path, expected) in cases {
            assert_eq!(pattern(text).matches(path), expected, "{text} {path}");
            assert_eq!(pattern(text).to_string(), text);
        }
        for bad in ["", "/", "**/a", "a/**/b", "a*", "a/***", "A", "a//b", "a/"] {
            assert_eq!(Pattern::parse(bad), None, "{bad}");
        }
    }
}
