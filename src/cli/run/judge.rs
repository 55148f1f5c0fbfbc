//! What this process remembers of one request, and the decision on it.

use crate::challenge::Challenge;
use crate::cli::memory::Memory;
use crate::cli::report::Failure;
use crate::cli::run::view::Standing;
use crate::response::Response;
use crate::trust::Trust;
use crate::trust::quorum::{self, CannotHelp, Circumstances, QuorumMet};
use crate::unix_time::UnixTime;
use crate::verify::{self, Answer, Approval, Presented, Rejection, Verified};

/// What came of an answer.
pub(super) enum Step {
    /// It was the last one that was needed.
    Met(Box<QuorumMet>, Box<Answer>),
    /// It ends the request.
    Refused(Box<Answer>),
    /// It counts, and more are needed.
    Waiting(Box<Answer>),
}

/// The verifier of one request.
pub(super) struct Judge<'a> {
    trust: &'a Trust,
    memory: Memory,
    approvals: Vec<Approval>,
}

impl<'a> Judge<'a> {
    /// Remembers the challenge.
    ///
    /// # Errors
    /// If what earlier requests left cannot be read.
    pub(super) fn new(trust: &'a Trust, challenge: &Challenge) -> Result<Self, Failure> {
        let mut memory = Memory::new()?;
        memory.open(challenge.clone());
        Ok(Self { trust, memory, approvals: Vec::new() })
    }

    /// Judges one answer, and decides.
    ///
    /// # Errors
    /// The first check that failed.
    pub(super) fn answer(
        &mut self,
        response: &Response,
        presented: Option<&Presented>,
    ) -> Result<Step, Rejection> {
        let (trust, now) = (self.trust, UnixTime::now());
        let verified = match presented {
            None => verify::response(response, trust, &mut self.memory, now),
            Some(presented) => {
                verify::response_with_counter(response, presented, trust, &mut self.memory, now)
            }
        };
        let approval = match verified? {
            Verified::Refused(refusal) => return Ok(Step::Refused(Box::new(refusal.answer().clone()))),
            Verified::Approved(approval) => approval,
        };
        let last = Box::new(approval.answer().clone());
        self.approvals.push(approval);
        let challenge = last.challenge();
        match quorum::decide(trust, challenge, self.approvals.clone(), Circumstances::default(), now) {
            Ok(met) => Ok(Step::Met(Box::new(met), last)),
            // Whatever else is in the way is said where the time and the standing are looked at.
            Err(_) => Ok(Step::Waiting(last)),
        }
    }

    /// The tokens that have answered.
    pub(super) fn serials(&self) -> Vec<String> {
        self.approvals.iter().map(|approval| approval.answer().serial().to_owned()).collect()
    }

    /// Whether this person has approved.
    pub(super) fn has_approved(&self, person: &str) -> bool {
        self.approvals.iter().any(|approval| approval.answer().person() == person)
    }

    /// How far it has come.
    ///
    /// # Errors
    /// If it cannot be decided any more.
    pub(super) fn standing(&self, challenge: &Challenge) -> Result<Standing, Failure> {
        let answer = |approval: &Approval| {
            let answer = approval.answer();
            format!("{} (token {}, {})", answer.person(), answer.serial(), answer.tier())
        };
        let approved = self.approvals.iter().map(answer).collect();
        let (none, now) = (Circumstances::default(), UnixTime::now());
        let standing = quorum::standing(self.trust, &challenge.request, &self.approvals, none, now)?;
        Ok(Standing {
            code: challenge.id.short_code(),
            approved,
            needed: format!("{} more, from {}", standing.missing, standing.from.join(" or ")),
            can: standing.can.iter().map(ToString::to_string).collect(),
            cannot: standing
                .cannot
                .iter()
                .filter(|(_, why)| *why != CannotHelp::Approved)
                .map(|(name, why)| format!("{name} {why}"))
                .collect(),
        })
    }
}
