//! Gathers answers until there is a decision: from people at this machine, one after the other, and from files.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::card::{CardError, KeptPin};
use crate::challenge::Challenge;
use crate::cli::approve::LOOK_EVERY;
use crate::cli::authorities::Authorities;
use crate::cli::counter::{self, Planned};
use crate::cli::exchange::{Found, Published, Told};
use crate::cli::prompt::Typed;
use crate::cli::report::{Failure, Verdict, exit, say};
use crate::cli::run::judge::{Counting, Judge, Step};
use crate::cli::run::view::View;
use crate::cli::work::{self, Desk};
use crate::cli::{Common, revoked};
use crate::statement::Decision;
use crate::trust::Trust;
use crate::unix_time::UnixTime;
use crate::verifier::Approved;
use crate::verify::Counted;

/// A decision, and what the last counter said that came with an approval.
pub(super) type Decided = (Box<Approved>, Option<Counted>);

/// How often the verifier is asked whether somebody else ended or decided it.
pub(super) const LOOK_ROUND: Duration = Duration::from_secs(5);

/// Everything that a decision is awaited with.
pub(super) struct Gathering<'a> {
    pub(super) common: &'a Common,
    pub(super) desk: &'a mut Desk,
    pub(super) trust: &'a Trust,
    pub(super) challenge: &'a Challenge,
    pub(super) judge: Judge<'a>,
    /// Whether somebody else than the first person here could answer.
    pub(super) others: bool,
    /// The request in a directory, if others are asked by files.
    pub(super) published: Option<Published>,
    /// Whose word on counters is believed, if counters are wanted.
    pub(super) authorities: Option<Authorities>,
    /// What is shown before each statement.
    pub(super) apart: String,
    pub(super) told: Told,
}

impl Gathering<'_> {
    /// Waits for a decision. `here` has somebody at this machine asked at once.
    ///
    /// # Errors
    /// A refusal, the end of the time, an interruption; whatever went wrong at this machine's token if nobody else
    /// is asked.
    pub(super) fn decision(&mut self, here: bool) -> Result<Decided, Failure> {
        let mut view = View::default();
        if let Some(published) = &self.published {
            say(&format!("asked: {}\n", published.path().display()));
        }
        if here && let Some(met) = self.ask_here(self.others)? {
            return Ok(met);
        }
        loop {
            self.check_time()?;
            if let Some(approved) = self.judge.look()? {
                return Ok((approved, None));
            }
            view.changed(self.desk, &self.judge.standing()?);
            let mut found = Vec::new();
            let typed = self.wait(&mut view, &mut found)?;
            for file in found {
                if let Some(met) = self.file(file)? {
                    return Ok(met);
                }
            }
            if typed {
                self.desk.ask_here_from_now_on();
                if let Some(met) = self.ask_here(true)? {
                    return Ok(met);
                }
            }
        }
    }

    /// Waits until somebody presses Enter (true) or something else is to be looked at.
    fn wait(&mut self, view: &mut View, found: &mut Vec<Found>) -> Result<bool, Failure> {
        let expires = self.challenge.expires;
        let cancelled = || Failure::from(CardError::Cancelled { waited: Duration::ZERO });
        let published = &mut self.published;
        let begun = Instant::now();
        let mut look = || {
            *found = published.as_mut().map(Published::collect).unwrap_or_default();
            !found.is_empty() || UnixTime::now() >= expires || begun.elapsed() >= LOOK_ROUND
        };
        let Some(terminal) = &self.desk.terminal else {
            while !look() {
                self.desk.check_interrupted()?;
                sleep(LOOK_EVERY);
            }
            return Ok(false);
        };
        let line = view.waiting(terminal, expires);
        let mut enough = || {
            view.tick(terminal, expires);
            look()
        };
        match terminal.ask_until(&line, &mut enough) {
            Ok(Some(Typed::Line(_))) => Ok(true),
            Ok(Some(Typed::Cancelled)) => Err(cancelled()),
            // Nobody types here any more: files are waited for alone.
            Ok(Some(Typed::Ended)) | Err(_) if self.published.is_some() => {
                self.desk.terminal = None;
                Ok(false)
            }
            Ok(Some(Typed::Ended)) | Err(_) => Err(cancelled()),
            Ok(None) => {
                // What comes next stands on a line of its own; if nothing does, the line is written over itself.
                terminal.say(if found.is_empty() && UnixTime::now() < expires { "\r" } else { "\n" });
                Ok(false)
            }
        }
    }

    fn check_time(&self) -> Result<(), Failure> {
        let (now, expires) = (UnixTime::now(), self.challenge.expires);
        if now < expires {
            return Ok(());
        }
        let missing = self.judge.standing()?.needed;
        let code = self.challenge.id.short_code();
        Err(Failure {
            verdict: Verdict::Expired,
            exit: exit::NOBODY,
            ..Failure::failed("expired", format!("{code} expired before enough people had approved"))
        }
        .fact("missing", missing)
        .fact("expired", expires.to_string())
        .hint("nothing was run; ask again"))
    }

    /// An answer, or what was none, that came as a file.
    pub(super) fn file(&mut self, file: Found) -> Result<Option<Decided>, Failure> {
        let why = match file {
            Found::Bad { name, why } => {
                Failure::failed("not-an-answer", format!("{name}: {why}")).hint("it is not counted")
            }
            Found::Answer { name, response } => match self.judge.answer(&response, None, &name)? {
                Step::Rejected(why) => why,
                step => return self.after(step),
            },
        };
        self.told.not_counted(&why.text());
        Ok(None)
    }

    /// Asks somebody at this machine. What goes wrong with their token is only said where it `goes_on`: with somebody
    /// else, or with them at the next attempt.
    fn ask_here(&mut self, goes_on: bool) -> Result<Option<Decided>, Failure> {
        match self.here() {
            Err(failure) if goes_on && !is_final(&failure) => {
                say(&failure.text());
                Ok(None)
            }
            asked => asked,
        }
    }

    /// Asks somebody at this machine.
    fn here(&mut self) -> Result<Option<Decided>, Failure> {
        let trust = self.trust;
        let patience = self.desk.patience(self.challenge.expires);
        let approvals = self.judge.approvals()?;
        let serials: Vec<String> =
            approvals.iter().map(|approval| approval.answer().serial().to_owned()).collect();
        let mut token = work::find_other_token(self.common, &patience, &serials)?;
        let key = token.info().signature_key.as_ref().map(|key| key.fingerprint.clone());
        let holder = key.as_ref().and_then(|key| trust.roster.holder(key));
        if let Some((person, _)) = holder
            && approvals.iter().any(|approval| approval.answer().person() == person.name)
        {
            let again = format!("token {} is {}'s, who has approved", token.info().ident, person.name);
            return Err(Failure::failed("answered", again).hint("another person's token is needed now"));
        }
        work::check_touch(token.info(), trust)?;
        let authorities = self.authorities.clone();
        let planned =
            authorities.map(|authorities| Planned::new(&token, authorities, &patience)).transpose()?;
        let cert = work::certificate(token.info(), Some(trust), None)?;
        let statement = self.challenge.clone().decided(Decision::Approve);
        if !self.apart.is_empty() {
            self.desk.show(&self.apart);
        }
        work::show_statement(self.desk, &statement);
        let mut kept = KeptPin::default();
        let response = work::sign(self.desk, &mut token, &cert, &statement, &mut kept)?;
        let made = match planned {
            None => None,
            Some(planned) => Some(planned.make(self.desk, &mut token, &mut kept, &patience)?),
        };
        drop(kept);
        let code = self.challenge.id.short_code();
        match self.judge.answer(&response, made.as_ref().zip(key.as_ref()), &code)? {
            Step::Rejected(why) => Err(why),
            step => self.after(step),
        }
    }

    fn after(&self, step: Step) -> Result<Option<Decided>, Failure> {
        let code = self.challenge.id.short_code();
        match step {
            Step::Met(approved, last) => {
                self.say_approved(&last);
                Ok(Some((approved, last.counted)))
            }
            Step::Waiting(last) => {
                self.say_approved(&last);
                Ok(None)
            }
            Step::Rejected(why) => Err(why),
            Step::Refused(refusal) => {
                let refused = Failure {
                    verdict: Verdict::Refused,
                    exit: exit::NO,
                    ..Failure::failed("refused", format!("{} refused {code}", refusal.person()))
                };
                Err(match refusal.decision() {
                    Decision::Refuse { because: Some(because) } => {
                        refused.fact("because", because.to_string())
                    }
                    _ => refused,
                })
            }
        }
    }

    fn say_approved(&self, Counting { answer, counted }: &Counting) {
        let Challenge { id, request, .. } = self.challenge;
        say(&format!(
            "approved: {}, {} on {}, by {} (token {}, {})\n",
            id.short_code(),
            request.action,
            request.resource,
            answer.person(),
            answer.serial(),
            answer.tier()
        ));
        if let Some(counted) = counted {
            say(&format!("counter: {}\n", counter::text(counted, answer.signed_at())));
        }
    }
}

/// Whether nothing more is to be waited for.
fn is_final(failure: &Failure) -> bool {
    failure.exit == exit::INTERRUPTED
        || failure.verdict == Verdict::Refused
        || failure.code == revoked::MEANWHILE
}
