//! Between decision and start: as many witnesses as trust demands see the decision in the log.
//!
//! ```text
//! HJ5C9 is approved; waiting for 1 of 2 witnesses until 2026-11-20T04:22:00Z
//!   log       /srv/log, 27 entries
//!   awaited   witness.example/w1: the checkpoint with its cosignature as /srv/log/cosigned/a1b2c3d4
//!   awaited   other.example: the checkpoint with its cosignature as /srv/log/cosigned/99e8d7c6
//! ```

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::Instant;

use crate::audit::WitnessKey;
use crate::audit::cosigned::Cosigned;
use crate::cli::approve::LOOK_EVERY;
use crate::cli::exchange::{Found, Published};
use crate::cli::report::{Failure, Verdict, exit, printable, say};
use crate::cli::run::gather::{Gathering, LOOK_ROUND};
use crate::cli::witnesses::{Folder, names};
use crate::statement::{Decision, Statement};
use crate::unix_time::UnixTime;
use crate::verifier::Approved;

impl Gathering<'_> {
    /// Puts the log where witnesses follow it, and waits until enough of them saw the decision there.
    ///
    /// The time ends with the request, or with the grant if that is sooner: what is seen later does not show that it
    /// was decided in time.
    ///
    /// # Errors
    /// The end of that time, an interruption, a late refusal, a revocation; if the directory cannot be written to, or
    /// shows that the log was forked. The grant is still sealed then.
    pub(super) fn seen(&mut self, folder: &mut Folder<'_>, approved: &Approved) -> Result<(), Failure> {
        self.published.iter().for_each(Published::take_away);
        let until = self.challenge.expires.min(approved.expires());
        let (from, to) = approved.seen_within();
        let mut awaited = folder.awaited(approved.position(), from, to);
        let size = folder.bring_up(|| self.check_goes_on(until, &awaited))?;
        if self.trust.witnesses.needed() == 0 {
            return Ok(());
        }
        let (mut shown, mut round) = (None, Instant::now());
        loop {
            self.check_goes_on(until, &awaited)?;
            let came = folder.look(&mut awaited)?;
            let again = round.elapsed() >= LOOK_ROUND;
            if again {
                self.judge.check_stands()?;
                round = Instant::now();
            }
            // What witnesses signed may have come into the store by another process, too.
            if (came || again)
                && let Some(receipt) = self.judge.receipt(approved)?
            {
                let seen = receipt.checkpoint().seen().iter();
                let seen: Vec<String> =
                    seen.map(|seen| format!("{} at {}", printable(&seen.by), seen.at)).collect();
                let code = self.challenge.id.short_code();
                say(&format!("seen: {code}, entry {} of the log, by {}\n", receipt.index(), seen.join(", ")));
                return Ok(());
            }
            let seen = awaited.seen().len();
            if shown != Some(seen) {
                self.desk.show(&self.text(folder, &awaited, size, until));
                shown = Some(seen);
            }
            self.late_refusals()?;
            sleep(LOOK_EVERY);
        }
    }

    fn check_goes_on(&self, until: UnixTime, awaited: &Cosigned) -> Result<(), Failure> {
        self.desk.check_interrupted()?;
        if UnixTime::now() < until {
            return Ok(());
        }
        let code = self.challenge.id.short_code();
        let failure = Failure::failed(
            "not-seen",
            format!("{code} was approved, but too few witnesses saw that in time"),
        );
        let missing = self.trust.witnesses.needed().saturating_sub(awaited.seen().len());
        Err(Failure { verdict: Verdict::Expired, exit: exit::NOBODY, ..failure }
            .fact("missing", format!("{missing} of {}", names(self.unseen(awaited))))
            .fact("expired", until.to_string())
            .hint("nothing was run and the grant was revoked; see that the witnesses follow, then ask again"))
    }

    fn unseen(&self, awaited: &Cosigned) -> impl Iterator<Item = &WitnessKey> {
        let seen: Vec<String> = awaited.seen().into_iter().map(str::to_owned).collect();
        let keys = self.trust.witnesses.keys().iter();
        keys.filter(move |key| !seen.iter().any(|name| name == key.name()))
    }

    /// A refusal that was on its way when it was decided still takes the grant back. An approval changes nothing.
    fn late_refusals(&mut self) -> Result<(), Failure> {
        let found = self.published.as_mut().map(Published::collect).unwrap_or_default();
        let refusal = |found: &Found| match found {
            Found::Answer { response, .. } => Statement::parse(&response.statement)
                .is_ok_and(|statement| matches!(statement.decision, Decision::Refuse { .. })),
            Found::Bad { .. } => false,
        };
        found.into_iter().filter(refusal).try_for_each(|found| self.file(found).map(drop))
    }

    fn text(&self, folder: &Folder<'_>, awaited: &Cosigned, size: u64, until: UnixTime) -> String {
        let (code, seen) = (self.challenge.id.short_code(), awaited.seen());
        let missing = self.trust.witnesses.needed().saturating_sub(seen.len());
        let left: Vec<&WitnessKey> = self.unseen(awaited).collect();
        let mut text =
            format!("{code} is approved; waiting for {missing} of {} witnesses until {until}\n", left.len());
        if !seen.is_empty() {
            let _ = writeln!(text, "  seen by   {}", printable(&seen.join(", ")));
        }
        let _ = writeln!(text, "  log       {}, {size} entries", folder.path().display());
        for key in left {
            let (name, place) = (printable(key.name()), folder.place(key));
            let place = place.display();
            let _ = writeln!(text, "  awaited   {name}: the checkpoint with its cosignature as {place}");
        }
        text
    }
}
