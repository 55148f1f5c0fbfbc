//! Reading scripts: to the last word, or not at all.

use std::fs;
use std::path::Path;
use std::time::Duration;

use virtual_openpgp_card::Personality;

use super::verbs::{command, parse_tag, policy, slot, three};
use super::words::{BadScript, Reason, Words};
use super::{
    Action, Answer, Condition, Data, Expect, Form, LONGEST_WAIT, Script, StatusPattern, Step, Touching,
};

impl Script {
    /// Reads every script of a folder, sorted by name.
    ///
    /// # Errors
    /// [`BadScript`] for the first that does not parse; a file that cannot be read is one of them.
    pub fn load(folder: &Path) -> Result<Vec<Script>, BadScript> {
        let unreadable = |path: &Path, error: std::io::Error| BadScript {
            file: path.display().to_string(),
            line: 1,
            reason: Reason::Unknown { what: "readable file", word: error.to_string() },
        };
        let mut scripts = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
            let path = entry.map_err(|error| unreadable(folder, error))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".script")) else {
                continue;
            };
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            scripts.push(Script::parse(name, &text)?);
        }
        scripts.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(scripts)
    }

    /// Reads one script.
    ///
    /// # Errors
    /// [`BadScript`] for the first line that is not understood to its end.
    pub fn parse(name: &str, text: &str) -> Result<Script, BadScript> {
        let mut script = Script {
            name: name.to_owned(),
            title: String::new(),
            source: String::new(),
            only: Condition::Always,
            recorded: Vec::new(),
            steps: Vec::new(),
        };
        let mut in_header = true;
        for (index, line) in text.lines().enumerate() {
            let bad = |reason| BadScript { file: format!("{name}.script"), line: index + 1, reason };
            if in_header && script.header(line).map_err(bad)? {
                continue;
            }
            in_header = false;
            let (words, text) = Words::of(line).map_err(bad)?;
            if !words.is_empty() {
                let (when, action) = step(words).map_err(bad)?;
                let line = index + 1;
                script.steps.push(Step { line, text: one_space(text), when, action });
                script.check_waits().map_err(bad)?;
            }
        }
        let missing = [
            (script.title.is_empty(), "a first line `# What it shows.`"),
            (script.source.is_empty(), "`source:`"),
            (script.steps.is_empty(), "a step"),
        ];
        match missing.into_iter().find(|(is_missing, _)| *is_missing) {
            None => Ok(script),
            Some((_, what)) => Err(BadScript {
                file: format!("{name}.script"),
                line: text.lines().count(),
                reason: Reason::Missing { what },
            }),
        }
    }

    /// Takes a line of the header; `false` where the steps begin.
    fn header(&mut self, line: &str) -> Result<bool, Reason> {
        if let Some(comment) = line.strip_prefix('#') {
            if self.title.is_empty() {
                self.title = comment.trim().to_owned();
            }
            return Ok(true);
        }
        let Some((field, value)) = line.split_once(": ").filter(|_| !line.starts_with(' ')) else {
            return Ok(line.is_empty() && self.steps.is_empty() && self.source.is_empty());
        };
        match field {
            "source" if self.source.is_empty() => self.source = value.trim().to_owned(),
            "only" if self.only == Condition::Always => {
                let (mut words, _) = Words::of(value)?;
                self.only = condition(&mut words)?.ok_or(Reason::Missing { what: "a condition" })?;
                words.end()?;
            }
            "recorded" if self.recorded.is_empty() => {
                self.recorded = value.split_whitespace().map(card).collect::<Result<_, _>>()?;
            }
            // A step with a condition looks like a header too, but comes after an empty line.
            _ => return Err(Reason::Unknown { what: "header", word: field.to_owned() }),
        }
        Ok(true)
    }

    fn check_waits(&self) -> Result<(), Reason> {
        let waits = self.steps.iter().map(|step| match step.action {
            Action::Wait(time) => time,
            _ => Duration::ZERO,
        });
        let all: Duration = waits.sum();
        if all <= LONGEST_WAIT {
            return Ok(());
        }
        Err(Reason::TooLong { seconds: all.as_secs(), most: LONGEST_WAIT.as_secs() })
    }
}

/// The line without what aligned it.
fn one_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `plain` or a firmware.
fn card(word: &str) -> Result<Personality, Reason> {
    if word == "plain" {
        return Ok(Personality::Plain);
    }
    let firmware = word.parse().map_err(|_| Reason::Unknown { what: "card", word: word.to_owned() })?;
    Ok(Personality::Yubikey(firmware))
}

/// A condition, if one comes next; its last word may end in a colon, which is taken off.
fn condition(words: &mut Words) -> Result<Option<Condition>, Reason> {
    Ok(Some(if words.take("plain") {
        Condition::Plain
    } else if words.take("yubikey") {
        Condition::Yubikey
    } else if words.take("from") {
        Condition::From(words.read("firmware")?)
    } else if words.take("before") {
        Condition::Before(words.read("firmware")?)
    } else {
        return Ok(None);
    }))
}

/// The condition before a step: its last word ends in a colon.
fn prefix(words: &mut Words) -> Result<Condition, Reason> {
    if words.take("plain:") {
        return Ok(Condition::Plain);
    }
    if words.take("yubikey:") {
        return Ok(Condition::Yubikey);
    }
    let (from, before) = (words.take("from"), words.take("before"));
    if !from && !before {
        return Ok(Condition::Always);
    }
    let word = words.word("firmware and a colon")?;
    let firmware = word.strip_suffix(':').and_then(|firmware| firmware.parse().ok());
    let firmware = firmware.ok_or(Reason::Unknown { what: "firmware and a colon", word })?;
    Ok(if from { Condition::From(firmware) } else { Condition::Before(firmware) })
}

fn step(mut words: Words) -> Result<(Condition, Action), Reason> {
    let when = prefix(&mut words)?;
    let action = action(&mut words)?;
    words.end()?;
    Ok((when, action))
}

fn action(words: &mut Words) -> Result<Action, Reason> {
    if words.take("touch") {
        return Ok(Action::Finger(Touching::Now));
    }
    if words.take("no") {
        words.expect("touch")?;
        return Ok(Action::Finger(Touching::Never));
    }
    if words.take("wait") {
        let word = words.word("time")?;
        let seconds = word.strip_suffix('s').and_then(|seconds| seconds.parse().ok());
        return seconds
            .map(|seconds| Action::Wait(Duration::from_secs(seconds)))
            .ok_or(Reason::Unknown { what: "time such as 15s", word });
    }
    if words.take("reset") {
        return Ok(Action::Reset);
    }
    if words.take("counter") {
        words.expect("is")?;
        return Ok(Action::Counter(words.read("counter")?));
    }
    if words.take("tries") {
        words.expect("are")?;
        return Ok(Action::Tries(three(words)?));
    }
    if words.take("attested") {
        let slot = slot(words)?;
        words.expect("touch")?;
        let touch = policy(words)?;
        let counter = if words.take("counter") { Some(words.read("counter")?) } else { None };
        return Ok(Action::Attested { slot, touch, counter });
    }
    let form = if words.take("chained") {
        Form::Chained
    } else if words.take("extended") {
        Form::Extended
    } else {
        Form::Usual
    };
    let command = command(words)?;
    words.expect("->")?;
    let usual = answer(words)?;
    let mut except = Vec::new();
    while words.take("|") {
        let condition = condition(words)?.ok_or(Reason::Missing { what: "a condition" })?;
        except.push((condition, answer(words)?));
    }
    Ok(Action::Command { form, command, expect: Expect { usual, except } })
}

fn answer(words: &mut Words) -> Result<Answer, Reason> {
    let word = words.word("status")?;
    let status = status(&word).ok_or(Reason::Unknown { what: "status", word })?;
    let data = if words.is_empty() || words.next_is("|") {
        Data::Any
    } else if words.take("length") {
        Data::Length(words.length()?)
    } else if words.take("starts") {
        Data::Starts(words.value()?)
    } else if words.take("has") {
        let word = words.word("tag")?;
        let path: Option<Vec<u16>> = word.split('/').map(parse_tag).collect();
        let path = path.ok_or(Reason::Unknown { what: "tag", word })?;
        let value = if words.is_empty() || words.next_is("|") { None } else { Some(words.value()?) };
        Data::Has(path, value)
    } else {
        Data::Exactly(words.value()?)
    };
    Ok(Answer { status, data })
}

fn status(word: &str) -> Option<StatusPattern> {
    let digit = |letter: char| match letter {
        'x' => Some(None),
        other => other.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).map(Some),
    };
    let digits: Vec<Option<u8>> = word.chars().map(digit).collect::<Option<_>>()?;
    digits.try_into().ok().map(StatusPattern)
}
