//! Reading scripts: to the last word, or not at all.

use std::fs;
use std::path::Path;
use std::time::Duration;

use virtual_openpgp_card::{Personality, Slot, TouchPolicy};

use super::words::{BadScript, Reason, Words, unhex};
use super::{
    Action, Answer, Command, Condition, Data, Expect, Form, LONGEST_WAIT, Password, Pin, Presented,
    Reference, Script, StatusPattern, Step, Touching,
};

/// Objects of the attestation key: attributes, fingerprints, date, touch policy, and its certificate.
const ATTESTATION_OBJECTS: [u16; 6] = [0xDA, 0xDB, 0xDC, 0xDD, 0xD9, 0xFC];

/// CLA, INS, P1 and P2, in bytes. Less does not reach a card: readers refuse it, and the virtual reader takes a single
/// byte for an order to itself.
const SHORTEST_COMMAND: usize = 4;

/// What harms the attestation key cannot be made good.
const THE_ATTESTATION_KEY: Reason = Reason::CannotBeUndone { what: "the attestation key and its objects" };

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
                script.steps.push(Step { line, text: text.trim_start().to_owned(), when, action });
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

fn command(words: &mut Words) -> Result<Command, Reason> {
    let verb = words.word("verb")?;
    Ok(match verb.as_str() {
        "activate" => Command::Activate,
        "algorithm" => Command::Algorithm(slot(words)?, words.read("algorithm")?),
        "attest" => Command::Attest(slot(words)?),
        "authenticate" => Command::Authenticate(words.text()?.into_bytes()),
        "challenge" => Command::Challenge(words.length()?),
        "change" => {
            let password = if words.take("pw3") {
                Password::Pw3
            } else {
                words.expect("pw1")?;
                Password::Pw1
            };
            Command::Change { password, old: pin(words)?, new: new(words)? }
        }
        "code" => Command::Code(words.value()?),
        "decipher" => {
            let text = words.text()?.into_bytes();
            let slot = if words.take("for") { slot(words)? } else { Slot::Decryption };
            Command::Decipher { text, slot }
        }
        "generate" => Command::Generate(slot(words)?),
        "get" if words.take("next") => Command::GetNext(tag(words)?),
        "get" => Command::Get(tag(words)?),
        "import" => Command::Import(slot(words)?, words.read("algorithm")?),
        "kdf" if words.take("off") => Command::Kdf(false),
        "kdf" => {
            words.expect("on")?;
            Command::Kdf(true)
        }
        "public" => Command::Public(slot(words)?),
        "put" => {
            let tag = tag(words)?;
            if ATTESTATION_OBJECTS.contains(&tag) {
                return Err(THE_ATTESTATION_KEY);
            }
            Command::Put(tag, words.value()?)
        }
        "raw" => {
            let bytes = words.value()?;
            if bytes.len() < SHORTEST_COMMAND {
                return Err(Reason::Missing { what: "a header of four bytes" });
            }
            harmless(&bytes)?;
            Command::Raw(bytes)
        }
        "retries" => Command::Retries(three(words)?),
        "select" if words.take("data") => Command::SelectData(slot(words)?),
        "select" => Command::Select,
        "sign" => Command::Sign(words.text()?.into_bytes()),
        "terminate" => Command::Terminate,
        "uif" => {
            if words.take("attestation") {
                let policy = policy(words)?;
                // The factory reset of the suite sets others back to off.
                if matches!(policy, TouchPolicy::Fixed | TouchPolicy::CachedFixed) {
                    return Err(THE_ATTESTATION_KEY);
                }
                return Ok(Command::Uif(Slot::Attestation, policy));
            }
            Command::Uif(slot(words)?, policy(words)?)
        }
        "unblock" => {
            words.expect("by")?;
            if words.take("pw3") {
                Command::UnblockByPw3 { new: new(words)? }
            } else {
                words.expect("code")?;
                Command::UnblockByCode { code: pin(words)?, new: new(words)? }
            }
        }
        "verify" => {
            let reference = if words.take("pw1-sign") {
                Reference::Pw1Sign
            } else if words.take("pw3") {
                Reference::Pw3
            } else {
                words.expect("pw1")?;
                Reference::Pw1
            };
            Command::Verify(reference, presented(words)?)
        }
        "version" => Command::Version,
        _ => return Err(Reason::Unknown { what: "verb", word: verb }),
    })
}

/// Raw bytes could write what no reset brings back: what looks like it is refused.
fn harmless(bytes: &[u8]) -> Result<(), Reason> {
    let harmful = match bytes {
        [_, 0xDA, p1, p2, _, ..] => ATTESTATION_OBJECTS.contains(&u16::from_be_bytes([*p1, *p2])),
        // Import of a key, and making one: a reference to key 81 anywhere.
        [_, 0xDB | 0x47, ..] => bytes.windows(3).any(|window| window == [0x84, 0x01, 0x81]),
        _ => false,
    };
    if harmful { Err(THE_ATTESTATION_KEY) } else { Ok(()) }
}

fn presented(words: &mut Words) -> Result<Presented, Reason> {
    if words.take("status") {
        return Ok(Presented::Status);
    }
    if words.take("forget") {
        return Ok(Presented::Forget);
    }
    if words.take("right") {
        return Ok(Presented::Pin(Pin::Right));
    }
    if words.take("wrong") {
        return Ok(Presented::Pin(Pin::Wrong));
    }
    words.value().map(Presented::Bytes)
}

fn pin(words: &mut Words) -> Result<Pin, Reason> {
    if words.take("right") {
        return Ok(Pin::Right);
    }
    words.expect("wrong")?;
    Ok(Pin::Wrong)
}

fn new(words: &mut Words) -> Result<Vec<u8>, Reason> {
    words.expect("to")?;
    words.value()
}

fn three<T: std::str::FromStr>(words: &mut Words) -> Result<[T; 3], Reason> {
    Ok([words.read("number")?, words.read("number")?, words.read("number")?])
}

fn tag(words: &mut Words) -> Result<u16, Reason> {
    let word = words.word("tag")?;
    parse_tag(&word).ok_or(Reason::Unknown { what: "tag", word })
}

fn parse_tag(word: &str) -> Option<u16> {
    match *unhex(word)?.as_slice() {
        [tag] => Some(u16::from(tag)),
        [high, low] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

/// One of the three keys that belong to the person.
fn slot(words: &mut Words) -> Result<Slot, Reason> {
    let word = words.word("slot")?;
    match word.as_str() {
        "signature" => Ok(Slot::Signature),
        "decryption" => Ok(Slot::Decryption),
        "authentication" => Ok(Slot::Authentication),
        _ => Err(Reason::Unknown { what: "slot", word }),
    }
}

fn policy(words: &mut Words) -> Result<TouchPolicy, Reason> {
    let word = words.word("touch policy")?;
    Ok(match word.as_str() {
        "off" => TouchPolicy::Off,
        "on" => TouchPolicy::On,
        "fixed" => TouchPolicy::Fixed,
        "cached" => TouchPolicy::Cached,
        "cached-fixed" => TouchPolicy::CachedFixed,
        _ => return Err(Reason::Unknown { what: "touch policy", word }),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "# It shows something.\nsource: nowhere\n\n";

    fn parse(steps: &str) -> Result<Script, Reason> {
        Script::parse("test", &format!("{HEADER}{steps}")).map_err(|bad| bad.reason)
    }

    #[test]
    fn the_example_of_the_documentation_parses() {
        let module = include_str!("../script.rs");
        let example: Vec<&str> = module
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .skip_while(|line| !line.contains("```text"))
            .skip(1)
            .take_while(|line| !line.contains("```"))
            .map(str::trim)
            .collect();
        let script = Script::parse("example", &example.join("\n")).unwrap();
        assert_eq!(script.title, "A wrong PIN costs a try, the right one gives all of them back.");
        assert_eq!(script.steps.len(), 5);
        assert_eq!(script.steps.last().map(|step| step.line), Some(8));
    }

    #[test]
    fn what_is_not_understood_to_the_end_is_refused() {
        for (line, message) in [
            ("select", "-> is missing"),
            ("select ->", "status is missing"),
            ("select -> 90", r#""90" is no status"#),
            ("select -> 9000 empty 00", r#""00" is left over"#),
            ("select -> 9000 | plain", "status is missing"),
            ("select -> 9000 | sometimes 6A82", "a condition is missing"),
            ("choose -> 9000", r#""choose" is no verb"#),
            ("get 1 -> 9000", r#""1" is no tag"#),
            ("get 6E -> 9000 has 73/C -> 1", r#""73/C" is no tag"#),
            ("put 5B -> 9000", r#""->" is no value"#),
            ("put 5B \"Ada -> 9000", "a closing quote is missing"),
            ("verify pw2 right -> 9000", r#""pw2" is no pw1"#),
            ("change pw1 right -> 9000", r#""->" is no to"#),
            ("generate thumb -> 9000", r#""thumb" is no slot"#),
            ("algorithm signature rsa1024 -> 9000", r#""rsa1024" is no algorithm"#),
            ("sometimes: select -> 9000", r#""sometimes:" is no verb"#),
            ("from 5.6: select -> 9000", r#""5.6:" is no firmware and a colon"#),
            ("raw 00CA00 -> 6700", "a header of four bytes is missing"),
            ("touch -> 9000", r#""->" is left over"#),
            ("wait 3", r#""3" is no time such as 15s"#),
            ("counter is -> 3", r#""->" is no counter"#),
            ("challenge 5000 -> 9000", r#""5000" is no length"#),
        ] {
            assert_eq!(parse(line).map(|_| ()).unwrap_err().to_string(), message, "{line}");
        }
    }

    #[test]
    fn a_script_without_its_header_or_steps_is_refused() {
        for (text, message) in [
            ("", "a first line `# What it shows.` is missing"),
            ("# Shows.\n\nselect -> 9000\n", "`source:` is missing"),
            ("# Shows.\nsource: nowhere\n", "a step is missing"),
            ("# Shows.\nsource: nowhere\nonly: cards\n", "a condition is missing"),
            ("# Shows.\nsource: nowhere\nauthor: nobody\n", r#""author" is no header"#),
            ("# Shows.\nsource: nowhere\nrecorded: 5\n", r#""5" is no card"#),
        ] {
            let bad = Script::parse("test", text).map(|_| ()).unwrap_err();
            assert_eq!(bad.reason.to_string(), message, "{text}");
        }
    }

    #[test]
    fn nothing_waits_for_long() {
        assert!(parse("wait 15s\nwait 5s").is_ok());
        assert_eq!(parse("wait 15s\nwait 6s").map(|_| ()), Err(Reason::TooLong { seconds: 21, most: 20 }));
    }

    #[test]
    fn the_attestation_key_stays_what_it_is() {
        for line in [
            "put FC empty -> 9000",
            "put DA 010800001100 -> 9000",
            "put D9 0220 -> 9000",
            "uif attestation fixed -> 9000",
            "uif attestation cached-fixed -> 9000",
            "raw 00DA00FC0100 -> 9000",
            "raw 10DA00D9020220 -> 9000",
            "raw 00478000000005B60384018100 -> 9000",
            "raw 00DB3FFF084D06B603840181FF -> 9000",
        ] {
            assert_eq!(parse(line).map(|_| ()), Err(THE_ATTESTATION_KEY), "{line}");
        }
        assert!(parse("uif attestation on -> 9000").is_ok());
        assert!(parse("generate attestation -> 9000").is_err());
        assert!(parse("import attestation p256 -> 9000").is_err());
    }

    #[test]
    fn exceptions_go_before_the_usual_answer() {
        let script = parse("verify pw1 wrong -> 6982 | plain 63C2 | before 5.0.0 63Cx empty").unwrap();
        let Action::Command { expect, .. } = &script.steps[0].action else { panic!("{script:?}") };
        let of = |card| expect.of(card).status.to_string();
        assert_eq!(of(Personality::default()), "6982");
        assert_eq!(of(Personality::Plain), "63C2");
        let old = Personality::Yubikey("4.3.5".parse().unwrap());
        assert_eq!(of(old), "63Cx");
        assert!(expect.of(old).status.is_met_by(0x63C7));
        assert!(!expect.of(old).status.is_met_by(0x63D7));
    }
}
