//! What a command tells: the same result as text for people and as one JSON object for machines.

use std::io::{self, Write as _};
use std::process::ExitCode;

use serde_json::{Map, Value, json};

/// The result in one word, the same in every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Yes.
    Approved,
    /// The person at this end stopped it.
    Cancelled,
    /// Nobody acted in time.
    Expired,
    /// It could not be done.
    Failed,
    /// Waiting for an answer.
    Pending,
    /// A person said no.
    Refused,
    /// The verifier said no.
    Rejected,
}

impl Verdict {
    /// As it stands in JSON.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
        }
    }
}

/// Exit codes, as in `touchgate help`.
pub(super) mod exit {
    /// Yes, or done.
    pub(crate) const YES: u8 = 0;
    /// It could not be done.
    pub(crate) const FAILED: u8 = 1;
    /// The command line is wrong.
    pub(crate) const USAGE: u8 = 2;
    /// A clear no: refused or rejected.
    pub(crate) const NO: u8 = 3;
    /// Nobody acted in time.
    pub(crate) const NOBODY: u8 = 4;
    /// The card is missing or busy, its PIN wrong or blocked.
    pub(crate) const CARD: u8 = 5;
    /// Interrupted.
    pub(crate) const INTERRUPTED: u8 = 130;
    /// What `run` adds to ours, so that they stand apart from the command's own.
    pub(crate) const RUN_OFFSET: u8 = 120;
}

/// A result: text for people, fields for machines.
#[derive(Debug)]
pub(super) struct Report {
    /// In one word, if something was decided.
    pub verdict: Option<Verdict>,
    /// For people: whole lines, the first of which says it all.
    pub text: String,
    /// For machines, beside the verdict.
    pub fields: Map<String, Value>,
    /// The exit code.
    pub exit: u8,
}

impl Report {
    /// Something that was done or looked up.
    pub(super) fn done(text: impl Into<String>) -> Self {
        Self { verdict: None, text: text.into(), fields: Map::new(), exit: exit::YES }
    }

    /// Something that was decided.
    pub(super) fn decided(verdict: Verdict, text: impl Into<String>) -> Self {
        Self { verdict: Some(verdict), ..Self::done(text) }
    }

    /// The same with one field more.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// The one JSON object.
    pub(super) fn json(&self) -> Value {
        let mut object = Map::new();
        if let Some(verdict) = self.verdict {
            object.insert("verdict".into(), json!(verdict.word()));
        }
        object.extend(self.fields.clone());
        Value::Object(object)
    }

    /// Writes the result to standard output.
    ///
    /// # Errors
    /// Whatever standard output gives, a closed pipe included.
    pub(super) fn print(&self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            writeln!(out, "{}", self.json())?;
        } else if !self.text.is_empty() {
            writeln!(out, "{}", self.text.trim_end_matches('\n'))?;
        }
        out.flush()
    }
}

/// Why a command did not do what it was asked: a fact, both sides of it, and the next step.
#[derive(Debug)]
pub(super) struct Failure {
    /// In one word.
    pub verdict: Verdict,
    /// Stable, for machines and for searching.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// Both sides of it, a name and a text each.
    pub facts: Vec<(&'static str, String)>,
    /// For machines only.
    pub fields: Vec<(&'static str, Value)>,
    /// What to do next.
    pub hint: Option<String>,
    /// The exit code.
    pub exit: u8,
}

impl Failure {
    /// Something that could not be done.
    pub(super) fn failed(code: &'static str, message: impl Into<String>) -> Self {
        let (facts, fields, hint, exit) = (Vec::new(), Vec::new(), None, exit::FAILED);
        Self { verdict: Verdict::Failed, code, message: message.into(), facts, fields, hint, exit }
    }

    /// A command line that asks for nothing that can be done.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { exit: exit::USAGE, ..Self::failed("usage", message) }
    }

    /// The same with a next step.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with other words in the hint, for a command that signs nothing.
    pub(super) fn instead(mut self, of: &str, words: &str) -> Self {
        self.hint = self.hint.map(|hint| hint.replace(of, words));
        self
    }

    /// The same with one side of the fact more.
    pub(super) fn fact(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.facts.push((name, text.into()));
        self
    }

    /// The same with one field more for machines, who cannot read it out of the message.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The one JSON object.
    pub(super) fn json(&self) -> Value {
        let mut object =
            json!({ "verdict": self.verdict.word(), "code": self.code, "message": self.message });
        if let Some(object) = object.as_object_mut() {
            for (name, text) in &self.facts {
                // A name that is there already has several texts.
                match object.entry(name.replace(' ', "_")).or_insert(Value::Null) {
                    first @ Value::Null => *first = json!(text),
                    Value::Array(texts) => texts.push(json!(text)),
                    first => *first = json!([first, text]),
                }
            }
            object.extend(self.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            if let Some(hint) = &self.hint {
                object.insert("hint".into(), json!(hint));
            }
        }
        object
    }

    /// The words for people, each part on a line of its own.
    pub(super) fn text(&self) -> String {
        let head = match self.verdict {
            Verdict::Rejected => format!("rejected ({}): ", self.code),
            _ => String::new(),
        };
        // Line by line, since a parser's message shows the place below itself; only the first line of
        // a part may stand where ours stand.
        let part = |text: &str| text.lines().map(printable).collect::<Vec<_>>().join("\n    ");
        let mut text = format!("error: {head}{}\n", part(&self.message));
        for (name, fact) in &self.facts {
            text.push_str(&format!("  {name:<9} {}\n", part(fact)));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {}\n", part(hint)));
        }
        text
    }

    /// Writes text to standard error, or the object to standard output.
    pub(super) fn print(&self, json: bool) {
        // With neither stream left there is nobody to tell; the exit code still says it.
        let _ = if json {
            writeln!(io::stdout(), "{}", self.json())
        } else {
            io::stderr().write_all(self.text().as_bytes())
        };
    }
}

/// Writes to standard error. With that gone there is nobody to tell, and nothing else depends on it.
pub(super) fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// What a command ends with.
pub(super) type Outcome = Result<Report, Failure>;

/// Prints an outcome and gives its exit code.
pub(super) fn finish(outcome: &Outcome, json: bool) -> ExitCode {
    match outcome {
        Ok(report) => match report.print(json) {
            Ok(()) => ExitCode::from(report.exit),
            Err(_) => ExitCode::from(exit::FAILED),
        },
        Err(failure) => {
            failure.print(json);
            ExitCode::from(failure.exit)
        }
    }
}

/// Prints all outcomes but the worst, which is the command's; of equals the first.
pub(super) fn worst(mut outcomes: Vec<Outcome>, json: bool) -> Outcome {
    let worst = outcomes.iter().enumerate().rev().max_by_key(|(_, outcome)| match outcome {
        Ok(report) => report.exit,
        Err(failure) => failure.exit,
    });
    let worst = outcomes.remove(worst.map_or(0, |(at, _)| at));
    for outcome in &outcomes {
        finish(outcome, json);
    }
    worst
}

/// Text from outside, with everything escaped that could move a terminal's cursor or turn its text.
pub(super) fn printable(text: &str) -> String {
    let escape = |c: char| match c {
        c if c.is_control() || is_invisible(c) => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// Characters that change what others look like: bidirectional controls, joiners, fillers.
///
/// # Source
/// Unicode 16, general category Cf and the default-ignorable blocks.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_names_both_sides_and_the_next_step() {
        let failure = Failure {
            verdict: Verdict::Rejected,
            code: "altered",
            message: "HJ5C9, bob".into(),
            facts: vec![
                ("asked", "param.commit: git:4f2c".into()),
                ("signed", "param.commit: git:91ab\u{1b}[2J".into()),
            ],
            fields: Vec::new(),
            hint: Some("ask anew".into()),
            exit: exit::NO,
        };
        let expected = "error: rejected (altered): HJ5C9, bob\n  asked     param.commit: git:4f2c\n  \
                        signed    param.commit: git:91ab\\u{1b}[2J\nhint: ask anew\n";
        assert_eq!(failure.text(), expected);
        assert_eq!(failure.json()["asked"], "param.commit: git:4f2c");
    }
}
