//! `card provision --batch`: one token after the other, for the people in a table.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::card::provision::fleet::{
    self, Chosen, Entry, Finished, FleetError, Hall, Ledger, Plugged, Row, State, Trouble, TroubleKind, Wait,
    people,
};
use crate::card::provision::{self, Person, Profile};
use crate::card::{CardError, CardPath, Ident, ReaderState, Tape, list};
use crate::cli::prompt::Typed;
use crate::cli::provision::{Arguments, Given, One, Place};
use crate::cli::report::{Failure, Outcome, Report, Verdict, exit, printable, say};
use crate::cli::work::Desk;
use crate::cli::{Common, pin, read_input};
use crate::unix_time::UnixTime;

/// How often the readers are looked into while a token is awaited: soon enough for whoever plugs it in.
const LOOK: Duration = Duration::from_millis(700);
/// How long one token may take, from its first step to its last: RSA 4096 can last minutes.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// Marks of the progress bar.
const BAR: usize = 24;

/// Provisions a token for everybody in the table.
pub(super) fn batch(common: &Common, arguments: &Arguments, table: &Path, profile: Profile) -> Outcome {
    let text = String::from_utf8(read_input(table, people::MAX_PEOPLE)?)
        .map_err(|_| Failure::usage(format!("{}: expected UTF-8", table.display())))?;
    let rows = people::read(&text).map_err(|error| {
        let message = format!("{}: {error}", table.display());
        Failure { exit: exit::USAGE, ..Failure::failed("bad-people", message) }
            .hint("docs/provisioning.md has the columns: name,user_id,email,serial")
    })?;
    let desk = Desk::new(common, None)?;
    let place = Place::find(arguments.show_fd, &desk)?;
    let mut ledger = Ledger::open(&arguments.out)?;
    let mut hall = Table {
        path: common.card_path,
        one: One::new(&desk, profile, None)?,
        place,
        wait: arguments.wait.map(Duration::from_secs),
        unreadable: None,
        shown: None,
    };
    let went_through = fleet::run(&rows, &mut ledger, &mut hall)?;
    Ok(summary(&rows, &ledger, went_through))
}

/// Tokens in readers, and a person at a terminal, if there is one.
struct Table<'a> {
    path: CardPath,
    one: One<'a>,
    place: Place<'a>,
    /// How long a token is awaited; without a terminal and without this, not at all.
    wait: Option<Duration>,
    /// Why a reader could not be looked into.
    unreadable: Option<String>,
    /// The tokens that were there when waiting began.
    shown: Option<Vec<Ident>>,
}

impl Table<'_> {
    fn person(row: &Row, profile: &Profile) -> Person {
        let offline = profile.certificate.as_ref().is_some_and(|wish| wish.primary.is_some());
        let user_id = (!offline).then(|| row.user_id.clone());
        Person { name: Some(row.name.clone()), user_id, passphrase: None }
    }

    /// Waits until other tokens are there, or `ended` says that it is enough.
    fn changes(&mut self, mut ended: impl FnMut() -> bool) -> bool {
        let before = self.shown.clone().unwrap_or_default();
        while !ended() {
            std::thread::sleep(LOOK);
            let Ok(tokens) = self.tokens() else { return true };
            let mut now: Vec<Ident> = tokens.iter().map(|(ident, _)| *ident).collect();
            now.sort();
            if now != before {
                return true;
            }
        }
        false
    }
}

impl Hall for Table<'_> {
    fn tokens(&mut self) -> Result<Vec<Plugged>, CardError> {
        let patience = self.one.desk.patience(UnixTime::now().plus(PATIENCE));
        let mut found = Vec::new();
        self.unreadable = None;
        for reader in list(self.path, &patience)? {
            match reader.state {
                ReaderState::Present(token) => found.push((token.info().ident, token.slot())),
                ReaderState::Empty => {}
                ReaderState::InUse(by) => {
                    self.unreadable = Some(CardError::InUse { reader: reader.name, by }.to_string());
                }
                ReaderState::Unreadable(error) => self.unreadable = Some(error.to_string()),
            }
        }
        Ok(found)
    }

    fn wait(&mut self, row: &Row, wanted: Option<Ident>, strangers: &[Ident]) -> Wait {
        let which = wanted.map_or("a new token".to_owned(), |ident| format!("token {ident}"));
        if self.one.desk.cancel.load(std::sync::atomic::Ordering::SeqCst) {
            return Wait::Stop;
        }
        let desk = self.one.desk;
        if self.shown.as_deref() != Some(strangers) {
            let there: Vec<String> = strangers.iter().map(ToString::to_string).collect();
            let there =
                if there.is_empty() { String::new() } else { format!(" (there: {})", there.join(", ")) };
            let why = self.unreadable.take().map_or(String::new(), |why| format!("; {why}"));
            desk.show(&format!("plug in {which} for {}{there}{why}\n", row.name));
        }
        self.shown = Some(strangers.to_vec());
        let until = self.wait.and_then(|wait| Instant::now().checked_add(wait));
        let over = |desk: &Desk| {
            desk.cancel.load(std::sync::atomic::Ordering::SeqCst)
                || until.is_some_and(|until| Instant::now() >= until)
        };
        let changed = match (&desk.terminal, self.wait) {
            (None, None) => false,
            (None, Some(_)) => self.changes(|| over(desk)),
            (Some(terminal), _) => {
                let mut changed = false;
                let mut next = Instant::now();
                let typed = terminal.ask_until("Enter skips this person: ", &mut || {
                    if over(desk) {
                        return true;
                    }
                    if Instant::now() >= next {
                        changed = self.changes(single());
                        next = Instant::now() + LOOK;
                    }
                    changed
                });
                match typed {
                    Ok(Some(Typed::Line(_))) => return Wait::Skip,
                    Ok(Some(Typed::Cancelled | Typed::Ended)) | Err(_) => return Wait::Stop,
                    Ok(None) => terminal.say("\n"),
                }
                changed
            }
        };
        match changed {
            true => {
                self.shown = None;
                Wait::Again
            }
            false if desk.cancel.load(std::sync::atomic::Ordering::SeqCst) => Wait::Stop,
            false => Wait::Skip,
        }
    }

    fn choose(&mut self, row: &Row, candidates: &[Ident]) -> Option<Ident> {
        let there: Vec<String> = candidates.iter().map(ToString::to_string).collect();
        let there = there.join(", ");
        let Some(terminal) = &self.one.desk.terminal else {
            say(&format!(
                "several tokens could be {}'s: {there}; unplug the others, or say which in the table\n",
                row.name
            ));
            return None;
        };
        let prompt = format!("several tokens are there: {there}. Type the number of {}'s: ", row.name);
        match terminal.ask(&prompt) {
            Ok(Typed::Line(line)) => String::from_utf8_lossy(&line).trim().parse().ok(),
            _ => None,
        }
    }

    fn check(&mut self, row: &Row, token: &Chosen) -> Result<(), Trouble> {
        let patience = self.one.desk.patience(UnixTime::now().plus(PATIENCE));
        let person = Self::person(row, &self.one.profile);
        let survey = provision::survey(
            &token.slot,
            &self.one.profile,
            &person,
            &token.directory,
            &Tape::default(),
            &patience,
        )
        .map_err(|error| {
            let kind = TroubleKind::of(&error);
            trouble(error.into(), kind)
        })?;
        let (ident, plan) = (token.ident, survey.plan);
        let error = if !plan.problems.is_empty() {
            provision::ProvisionError::Impossible { ident, problems: plan.problems }
        } else if !plan.erases.is_empty() {
            provision::ProvisionError::Erases { ident, slots: plan.erases }
        } else {
            return Ok(());
        };
        Err(trouble(error.into(), TroubleKind::Failed))
    }

    fn provision(&mut self, row: &Row, token: &Chosen) -> Result<Finished, Trouble> {
        let person = Self::person(row, &self.one.profile);
        let label = format!("{} {}: ", row.name, token.ident);
        let given = Given::default();
        let done = self.one.token(&token.slot, token.ident, person, &token.directory, &given, &self.place);
        let done = done.map_err(|failure| {
            let kind = match failure.code {
                "removed" | "transport" | "card-changed" | "no-card" => TroubleKind::Pulled,
                _ if failure.exit == exit::INTERRUPTED => TroubleKind::Stopped,
                _ => TroubleKind::Failed,
            };
            trouble(failure, kind)
        })?;
        let finished = Finished {
            already: done.steps.is_empty(),
            writes: done.writes,
            enrolment: done.files.enrolment.clone(),
        };
        self.place.tell(&done, &label).map_err(|failure| trouble(failure, TroubleKind::Failed))?;
        done.finish(UnixTime::now()).map_err(|error| trouble(error.into(), TroubleKind::Failed))?;
        Ok(finished)
    }

    fn begins(&mut self, number: usize, of: usize, row: &Row) {
        self.shown = None;
        let bar = if pin::rewritable() { bar(number - 1, of) } else { String::new() };
        say(&format!("{bar}{number} of {of}  {}\n", row.name));
    }

    fn ended(&mut self, number: usize, of: usize, entry: &Entry) {
        let bar = if pin::rewritable() { bar(number, of) } else { String::new() };
        let serial = entry.serial.map_or(String::new(), |serial| format!("  token {serial}"));
        let why = entry.message.as_ref().map_or(String::new(), |why| format!(": {}", printable(why)));
        say(&format!("{bar}{number} of {of}  {}{serial}  {}{why}\n", entry.name, entry.state.word()));
        if entry.state == State::Done {
            say(&format!("label  {}\n", label(entry).join("  ")));
        }
    }
}

/// True from the second time on.
fn single() -> impl FnMut() -> bool {
    let mut asked = false;
    move || std::mem::replace(&mut asked, true)
}

fn bar(number: usize, of: usize) -> String {
    let full = BAR * number / of.max(1);
    format!("[{}{}] ", "#".repeat(full), ".".repeat(BAR - full.min(BAR)))
}

fn trouble(failure: Failure, kind: TroubleKind) -> Trouble {
    Trouble { code: failure.code.to_owned(), message: failure.message, kind }
}

/// The table of what became of everybody, and what comes next.
fn summary(rows: &[Row], ledger: &Ledger, went_through: bool) -> Report {
    let entries: Vec<&Entry> = ledger.entries(rows).collect();
    let width = entries.iter().map(|entry| entry.name.len()).max().unwrap_or_default().max(4);
    let good = entries.iter().filter(|entry| entry.state.is_good()).count();
    let mut text = format!("{good} of {} tokens are as the profile says\n", entries.len());
    text.push_str(&format!("  {:<width$}  {:<14}  {}\n", "name", "token", "state"));
    for entry in &entries {
        let serial = entry.serial.map_or("-".to_owned(), |serial| serial.to_string());
        let why = entry.message.as_ref().map_or(String::new(), |why| format!(": {}", printable(why)));
        text.push_str(&format!("  {:<width$}  {serial:<14}  {}{why}\n", entry.name, entry.state.word()));
    }
    let labels: Vec<&&Entry> = entries.iter().filter(|entry| entry.state.is_good()).collect();
    if !labels.is_empty() {
        text.push_str("labels\n");
    }
    for entry in labels {
        text.push_str(&format!("  {}\n", label(entry).join("  ")));
    }
    let files: Vec<&PathBuf> =
        entries.iter().filter(|entry| entry.state.is_good()).filter_map(|it| it.enrolment.as_ref()).collect();
    let trust = (!files.is_empty()).then(|| {
        let files: Vec<String> = files.iter().map(|file| quoted(&file.display().to_string())).collect();
        format!("touchgate trust add {}", files.join(" "))
    });
    if let Some(trust) = &trust {
        text.push_str(&format!("next, once all of these are to be trusted:\n  {trust}\n"));
    }
    let pulled: Vec<&str> = entries
        .iter()
        .filter(|entry| matches!(entry.state, State::Pulled | State::Begun | State::Stopped))
        .map(|entry| entry.name.as_str())
        .collect();
    if !pulled.is_empty() {
        text.push_str(&format!(
            "unfinished: {}; run the same command again, it goes on from there\n",
            pulled.join(", ")
        ));
    }
    text.push_str(&format!("report  {}\n", printable(&ledger.file().display().to_string())));
    let people: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let mut value = json!(entry);
            if let Some(object) = value.as_object_mut() {
                object.insert("label".to_owned(), json!(label(entry)));
            }
            value
        })
        .collect();
    let waits = entries.iter().any(|entry| entry.state.waits());
    let bad = entries.iter().any(|entry| !entry.state.is_good() && !entry.state.waits());
    let (verdict, exit) = match (went_through, bad, waits) {
        (false, ..) => (Some(Verdict::Cancelled), exit::INTERRUPTED),
        (true, true, _) => (Some(Verdict::Failed), exit::FAILED),
        (true, false, true) => (Some(Verdict::Expired), exit::NOBODY),
        (true, false, false) => (None, exit::YES),
    };
    let report = Report { verdict, exit, ..Report::done(text) };
    report
        .with("people", people)
        .with("good", good)
        .with("trust_add", trust)
        .with("file", ledger.file().display().to_string())
}

/// What the sticker on a token says.
fn label(entry: &Entry) -> Vec<String> {
    [Some(entry.name.clone()), entry.serial.map(|serial| serial.to_string())].into_iter().flatten().collect()
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

impl From<FleetError> for Failure {
    fn from(error: FleetError) -> Self {
        let message = error.to_string();
        match error {
            FleetError::Card(error) => error.into(),
            FleetError::File { .. } => Self::failed("write", message)
                .hint("check the path and who may write there, then run the same command again"),
            FleetError::Damaged { .. } => Self::failed("damaged", message).hint(
                "it says whose each token is: restore it from a copy, or look into each token's folder",
            ),
            FleetError::Unsafe { .. } => {
                Self::failed("unsafe-permissions", message).hint("chmod go-w it, and see that it is yours")
            }
            FleetError::Locked { .. } => {
                Self::failed("locked", message).hint("wait for the other run to end")
            }
            FleetError::Bound { .. } | FleetError::Taken { .. } => Self::failed("other-owner", message)
                .hint("nothing was changed; mend the table, or fleet.json if that token never was theirs"),
        }
    }
}
