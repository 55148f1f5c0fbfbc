//! One request at this machine's verifier: answers go in, steps come out.

use sequoia_openpgp::Fingerprint;

use crate::audit::entry::Outcome;
use crate::audit::{Receipt, Witnesses};
use crate::challenge::{Challenge, RequestId};
use crate::cli::audit::kept;
use crate::cli::counter::Made;
use crate::cli::report::{Failure, Verdict, exit};
use crate::cli::run::view::Standing;
use crate::cli::{failure, local, revoked};
use crate::response::Response;
use crate::statement::Statement;
use crate::store::Store as _;
use crate::store::sqlite::Sqlite;
use crate::trust::debt::Debt;
use crate::trust::quorum::{self, CannotHelp, Circumstances};
use crate::trust::revocation::Revocation;
use crate::trust::{NotAdmitted, Trust};
use crate::unix_time::UnixTime;
use crate::verifier::{Answered, Approved, Verifier};
use crate::verify::{self, Answer, Approval, Counted, Rejection};

/// What came of an answer.
pub(super) enum Step {
    /// It was the last one that was needed.
    Met(Box<Approved>, Counting),
    /// It does not count; the failure says why, by this name.
    Rejected(Failure),
    /// It ends the request.
    Refused(Box<Answer>),
    /// It counts, and more are needed.
    Waiting(Counting),
}

/// An approval that counts, and what its counter says.
pub(super) struct Counting {
    pub(super) answer: Answer,
    pub(super) counted: Option<Counted>,
}

/// One request, which is taken back if it is let go of undecided.
pub(super) struct Judge<'a> {
    verifier: &'a Verifier<'a>,
    store: &'a Sqlite,
    challenge: &'a Challenge,
    /// What was revoked when trust was read: who is revoked later is not revoked in it.
    lost: &'a [Revocation],
    ended: bool,
}

impl Drop for Judge<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // If it fails, the request ends by itself: it expires, and nobody waits for it.
            let Challenge { id, request, expires, .. } = self.challenge;
            let now = UnixTime::now();
            let _ = if now < *expires {
                self.verifier.withdraw(id, &request.requester, now).map(drop)
            } else {
                self.verifier.look(id, now).map(drop)
            };
        }
    }
}

impl<'a> Judge<'a> {
    /// The judge of a request that `verifier` issued.
    pub(super) fn new(
        verifier: &'a Verifier<'a>,
        store: &'a Sqlite,
        challenge: &'a Challenge,
        lost: &'a [Revocation],
    ) -> Self {
        Self { verifier, store, challenge, lost, ended: false }
    }

    /// Judges one answer, which people know by `name`, and decides. A counter comes with the key that it is of.
    ///
    /// # Errors
    /// If the verifier could not, the request had ended, or a token was revoked meanwhile.
    pub(super) fn answer(
        &mut self,
        response: &Response,
        made: Option<(&Made, &Fingerprint)>,
        name: &str,
    ) -> Result<Step, Failure> {
        let now = UnixTime::now();
        // Another request's answer is for whoever waits for it.
        if let Ok(statement) = Statement::parse(&response.statement)
            && statement.challenge.id != self.challenge.id
        {
            let request = statement.challenge.id.to_string();
            return Ok(Step::Rejected(failure::rejected(&Rejection::UnknownRequest { request }, name)));
        }
        let presented = match made.map(|(made, _)| made.presented()).transpose() {
            Ok(presented) => presented,
            Err(rejection) => return Ok(Step::Rejected(failure::rejected(&rejection, name))),
        };
        revoked::check_unchanged(self.lost)?;
        let counter = made.map(|(made, _)| made.pem.as_str());
        // What was known before it, to say what it changed.
        let before = made.and_then(|(_, key)| self.store.counter(key).ok().flatten());
        let answered = self.verifier.answer(response, presented.as_ref(), counter, now)?;
        kept::keep(self.store, self.verifier.trust())?;
        let counting = |answer: Answer| {
            let counted = presented.as_ref().and_then(|presented| {
                verify::count(&answer, presented, self.verifier.trust(), before, now).ok()
            });
            Counting { answer, counted: counted.map(|(counted, _)| counted) }
        };
        match answered {
            Answered::Approved(approved) => {
                self.ended = true;
                let own = |approval: &&Approval| approval.answer().response() == response;
                let approvals = self.approvals()?;
                let last = approvals.iter().find(own).ok_or_else(|| {
                    Failure::failed("bad-record", "the approval that was counted is not in the record")
                })?;
                let counting = counting(last.answer().clone());
                Ok(Step::Met(approved, counting))
            }
            Answered::Late(outcome) => {
                self.ended = true;
                Err(late(self.challenge, outcome))
            }
            Answered::Refused(answer) => {
                self.ended = true;
                Ok(Step::Refused(answer))
            }
            Answered::Rejected(rejection) => Ok(Step::Rejected(failure::rejected(&rejection, name))),
            Answered::Waiting { answer, .. } => Ok(Step::Waiting(counting(*answer))),
        }
    }

    /// Whether it was decided, or ended, by what is not an answer given here: a debt was settled that stood in its
    /// way, time, a newer version of trust, another process.
    ///
    /// # Errors
    /// If it ended, a token was revoked meanwhile, or the verifier cannot tell.
    pub(super) fn look(&mut self) -> Result<Option<Box<Approved>>, Failure> {
        revoked::check_unchanged(self.lost)?;
        if let Some(approved) = self.verifier.look(&self.challenge.id, UnixTime::now())? {
            self.ended = true;
            return Ok(Some(Box::new(approved)));
        }
        let record = self.store.request(&self.challenge.id).map_err(|error| local::store_failed(&error))?;
        match record.and_then(|record| record.outcome) {
            None => Ok(None),
            Some(outcome) => {
                self.ended = true;
                Err(late(self.challenge, outcome))
            }
        }
    }

    /// Whether a decision still stands whose grant is not open yet.
    ///
    /// # Errors
    /// If the grant was revoked, a token was, trust was replaced, or the verifier cannot tell.
    pub(super) fn check_stands(&self) -> Result<(), Failure> {
        revoked::check_unchanged(self.lost)?;
        Ok(self.verifier.check_stands(&self.challenge.id, UnixTime::now())?)
    }

    /// The log's receipt for a decision, if trust's witnesses saw it by now.
    ///
    /// # Errors
    /// If the store could give none for any witness.
    pub(super) fn receipt(&self, approved: &Approved) -> Result<Option<Receipt>, Failure> {
        if let Ok(receipt) = self.verifier.receipt(approved) {
            return Ok(Some(receipt));
        }
        // What fails where no witness is demanded either is not theirs to mend.
        let alone = self.store.receipt(approved.position(), &Witnesses::default());
        alone.map(|_| None).map_err(|error| local::store_failed(&error))
    }

    /// The approvals that count so far.
    ///
    /// # Errors
    /// If the verifier cannot tell.
    pub(super) fn approvals(&self) -> Result<Vec<Approval>, Failure> {
        Ok(self.verifier.ceremony(&self.challenge.id)?.0.approvals().to_vec())
    }

    /// How far it has come.
    ///
    /// # Errors
    /// If the verifier cannot tell.
    pub(super) fn standing(&self) -> Result<Standing, Failure> {
        let debts = self.verifier.debts(&self.challenge.request.resource)?;
        standing(self.verifier.trust(), self.challenge, &self.approvals()?, &debts)
    }
}

/// How far a request has come with these approvals, in words.
///
/// # Errors
/// If it may not even be asked.
pub(super) fn standing(
    trust: &Trust,
    challenge: &Challenge,
    approvals: &[Approval],
    debts: &[Debt],
) -> Result<Standing, Failure> {
    let answer = |approval: &Approval| {
        let answer = approval.answer();
        format!("{} (token {}, {})", answer.person(), answer.serial(), answer.tier())
    };
    let circumstances = Circumstances { debts, ..Circumstances::default() };
    let standing = quorum::standing(trust, &challenge.request, approvals, circumstances, UnixTime::now())?;
    let open: Vec<RequestId> = debts.iter().map(|debt| *debt.request()).collect();
    let needed = match quorum::check_debts(&challenge.request, &open) {
        Err(NotAdmitted::Debt { request }) if standing.missing == 0 => {
            format!("two others to countersign {}", request.short_code())
        }
        _ => format!("{} more, from {}", standing.missing, standing.from.join(" or ")),
    };
    let why = |(name, why): &(&str, CannotHelp)| format!("{name} {why}");
    Ok(Standing {
        code: challenge.id.short_code(),
        approved: approvals.iter().map(answer).collect(),
        needed,
        can: standing.can.iter().map(ToString::to_string).collect(),
        cannot: standing.cannot.iter().filter(|(_, why)| *why != CannotHelp::Approved).map(why).collect(),
    })
}

/// What ended a request, as a failure.
fn late(challenge: &Challenge, outcome: Outcome) -> Failure {
    let code = challenge.id.short_code();
    let (verdict, exit, name) = match outcome {
        Outcome::Approved => (Verdict::Failed, exit::FAILED, "decided"),
        Outcome::Expired => (Verdict::Expired, exit::NOBODY, "expired"),
        Outcome::Refused => (Verdict::Refused, exit::NO, "refused"),
        Outcome::Superseded => (Verdict::Failed, exit::FAILED, "superseded"),
        Outcome::Withdrawn => (Verdict::Cancelled, exit::INTERRUPTED, "withdrawn"),
    };
    let failure = Failure::failed(name, format!("{code} {} meanwhile", outcome.words()));
    Failure { verdict, exit, ..failure }.hint("nothing was run; ask again")
}
