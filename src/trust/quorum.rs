//! Whether the approvals at hand suffice: an assignment of distinct people, keys and tokens to slots.
//!
//! All of it is pure: who is set aside and which debts are open comes in [`Circumstances`].

mod standing;
mod table;

use crate::challenge::{Challenge, RequestId, TrustVersion};
use crate::request::Request;
use crate::statement::Decision;
use crate::trust::debt::Debt;
use crate::trust::policy::{Approvers, GrantTerms, Need};
use crate::trust::roster::Person;
use crate::trust::{NotAdmitted, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{Answer, Approval, Refusal, Tier, Verified};
use table::Table;

pub use crate::trust::debt::{check_debts, settles};
pub use standing::{CannotHelp, MAX_NAMED, Standing, standing};

/// Everybody on record who asks for something. None of them fills a slot of a group.
#[derive(Clone, Copy, Debug)]
pub struct Askers<'a> {
    pub(super) requester: Option<&'a Person>,
    pub(super) via: Option<&'a Person>,
}

impl<'a> Askers<'a> {
    /// Whether this person is one of them.
    pub fn includes(&self, person: &Person) -> bool {
        self.names().any(|name| name == person.name)
    }

    /// Their names in the roster.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.requester.into_iter().chain(self.via).map(|person| person.name.as_str())
    }
}

/// What bears on a decision beside trust and approvals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances<'a> {
    /// People, by name, who neither count nor refuse: whom an update of trust would take tokens or groups from.
    pub set_aside: &'a [String],
    /// The debts that are open on the resource.
    pub debts: &'a [Debt],
}

/// Enough approvals for one challenge. Only [`decide`] makes one.
#[derive(Debug)]
pub struct QuorumMet {
    challenge: Challenge,
    approvals: Vec<Approval>,
    seats: Vec<Seat>,
    grant: GrantTerms,
    tier: Tier,
}

/// One slot of the rule, and who fills it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Who could.
    pub from: Approvers,
    /// Who does, by their name in the roster.
    pub person: String,
    /// How strong the evidence of their touch is.
    pub tier: Tier,
}

impl QuorumMet {
    /// What was approved.
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// By whom, each person once: every approval that could count, needed or not, in the order in which they were
    /// handed in.
    pub fn approvals(&self) -> &[Approval] {
        &self.approvals
    }

    /// The slots of the rule, and who fills them.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// What the rule gives for it.
    pub fn grant(&self) -> GrantTerms {
        self.grant
    }

    /// The weakest touch evidence among those who fill the slots: what the whole is worth, as `acr`.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// The break-glass request whose debt is settled by this.
    pub fn settles(&self) -> Option<RequestId> {
        settles(&self.challenge.request)
    }
}

/// Why there is no decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMet {
    /// It waits until a break-glass request on its resource is countersigned.
    #[error("it waits for two others to countersign the break-glass request {request}")]
    Debt {
        /// The oldest of them.
        request: RequestId,
        /// The approvals that were handed in.
        approvals: Vec<Approval>,
    },
    /// Too late to decide.
    #[error("the request expired at {expires}; it is {now}")]
    Expired {
        /// The verifier's clock.
        now: UnixTime,
        /// Valid until just before.
        expires: UnixTime,
    },
    /// The approvals do not suffice, and there are not enough people who could still give one.
    #[error("{missing} more approval(s) needed, from {}: more than there are people who could", words(from))]
    Never {
        /// How many slots are empty.
        missing: usize,
        /// Who could fill them: a group or @requester each.
        from: Vec<String>,
        /// The approvals that were handed in.
        approvals: Vec<Approval>,
    },
    /// Under this trust it could not even be asked.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The approvals do not suffice yet.
    #[error("{missing} more approval(s) needed, from {}", words(from))]
    Open {
        /// How many slots are empty.
        missing: usize,
        /// Whose approval would help, each kind once: a group, @requester.
        from: Vec<String>,
        /// The approvals that were handed in.
        approvals: Vec<Approval>,
    },
    /// It was asked under another version of trust.
    #[error("asked under trust {asked}; {current} is in force")]
    OtherTrust {
        /// What the challenge names.
        asked: TrustVersion,
        /// What the verifier uses.
        current: TrustVersion,
    },
    /// The trust itself is past its date.
    #[error("trust was valid until {valid_until}; it is {now}")]
    TrustExpired {
        /// The verifier's clock.
        now: UnixTime,
        /// From policy.toml.
        valid_until: UnixTime,
    },
}

fn words(from: &[String]) -> String {
    from.join(" or ")
}

/// Whether this person may fill a slot of that kind.
pub fn may_fill(need: &Need, person: &Person, askers: Askers<'_>) -> bool {
    match &need.from {
        Approvers::Requester => askers.requester.is_some_and(|requester| requester.name == person.name),
        groups => {
            !askers.includes(person) && groups.groups().any(|group| person.groups.iter().any(|g| g == group))
        }
    }
}

/// Decides at `now` whether `approvals` of `challenge` fill every slot of the rule that covers it.
///
/// Each slot takes a person of its own, a key of its own and a token of its own. Approvals of anything else, by anybody
/// who may not fill a slot, is set aside or whose certificate has run out since, and more than one of a person do not
/// count. The order in which they came never matters, and one more never undoes a yes.
///
/// # Errors
/// Any [`NotMet`]; those that only lack something give the approvals back.
pub fn decide(
    trust: &Trust,
    challenge: &Challenge,
    approvals: Vec<Approval>,
    circumstances: Circumstances<'_>,
    now: UnixTime,
) -> Result<QuorumMet, NotMet> {
    if challenge.trust != trust.version {
        return Err(NotMet::OtherTrust { asked: challenge.trust, current: trust.version });
    }
    if now >= trust.valid_until {
        return Err(NotMet::TrustExpired { now, valid_until: trust.valid_until });
    }
    if now >= challenge.expires {
        return Err(NotMet::Expired { now, expires: challenge.expires });
    }
    let table = Table::new(trust, &challenge.request, circumstances, now)?;
    match circumstances.check(&challenge.request) {
        Err(NotAdmitted::Debt { request }) => return Err(NotMet::Debt { request, approvals }),
        checked => checked?,
    }
    let found = table.seat(approvals.iter().map(Approval::answer), &|answer| answer.challenge() == challenge);
    let missing = found.assignment.missing();
    if missing > 0 {
        let from = table.open_kinds(&found.assignment);
        return Err(match table.can_be_met(&found) {
            true => NotMet::Open { missing, from, approvals },
            false => NotMet::Never { missing, from, approvals },
        });
    }
    let seats = found.seats(&table);
    let tier = seats.iter().map(|seat| seat.tier).min().unwrap_or(Tier::Signed);
    let grant = table.rule.grant;
    let counting = found.one_each();
    let mut at = 0..;
    let mut approvals = approvals;
    approvals.retain(|_| at.next().is_some_and(|at| counting.contains(&at)));
    Ok(QuorumMet { challenge: challenge.clone(), approvals, seats, grant, tier })
}

/// Whether the approvals among answers that once sufficed for `challenge` would still do so at `now` by trust as it has
/// become: its rule, its groups, its tokens and what it knows of their keys. When it was asked and decided does not
/// matter any more.
pub fn still_given<'b>(
    new: &Trust,
    challenge: &Challenge,
    answers: impl Iterator<Item = &'b Answer>,
    circumstances: Circumstances<'_>,
    now: UnixTime,
) -> bool {
    if now >= new.valid_until || challenge.audience != new.audience {
        return false;
    }
    let Ok(table) = Table::new(new, &challenge.request, circumstances, now) else { return false };
    let counts = |answer: &Answer| *answer.decision() == Decision::Approve && answer.challenge() == challenge;
    table.seat(answers, &counts).assignment.missing() == 0
}

/// Whether a refusal ends the request: it is of this challenge, at the rule's tier, by somebody who could fill a slot.
pub fn refusal_ends(
    trust: &Trust,
    challenge: &Challenge,
    refusal: &Refusal,
    circumstances: Circumstances<'_>,
    now: UnixTime,
) -> bool {
    let answer = refusal.answer();
    challenge.trust == trust.version
        && answer.challenge() == challenge
        && Table::new(trust, &challenge.request, circumstances, now)
            .is_ok_and(|table| table.ballot(0, answer).is_some())
}

/// Answers to one request, as far as they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    /// Of those who never refused.
    pub approvals: Vec<Approval>,
    /// All of them.
    pub refusals: Vec<Refusal>,
}

/// What holds of all answers that came before a decision, in whatever order: a refusal overrides one's own approval.
pub fn effective(answers: impl IntoIterator<Item = Verified>) -> Effective {
    let mut found = Effective::default();
    for answer in answers {
        match answer {
            Verified::Approved(approval) => found.approvals.push(approval),
            Verified::Refused(refusal) => found.refusals.push(refusal),
        }
    }
    let Effective { approvals, refusals } = &mut found;
    let same = |a: &Answer, b: &Answer| a.person() == b.person() && a.challenge() == b.challenge();
    approvals.retain(|yes| !refusals.iter().any(|no| same(yes.answer(), no.answer())));
    found
}

impl Circumstances<'_> {
    /// Whether the debts among them stand in the way of a request on their resource.
    fn check(&self, request: &Request) -> Result<(), NotAdmitted> {
        let here = self.debts.iter().filter(|debt| debt.challenge().request.resource == request.resource);
        check_debts(request, &here.map(|debt| *debt.request()).collect::<Vec<_>>())
    }
}
