//! Whether the approvals at hand suffice: an assignment of distinct people, keys and tokens to slots.
//!
//! All of it is pure: who is set aside and which debts are open comes in [`Circumstances`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::challenge::{Challenge, RequestId, TrustVersion};
use crate::request::Request;
use crate::statement::Decision;
use crate::trust::assignment::{Assignment, Vote, assign};
use crate::trust::debt::Debt;
use crate::trust::policy::{Approvers, GrantTerms, Need, Rule};
use crate::trust::roster::{Person, Token};
use crate::trust::{NotAdmitted, Trust};
use crate::unix_time::UnixTime;
use crate::verify::{Answer, Approval, Refusal, Tier, Verified, tier};

pub use crate::trust::debt::{check_debts, settles};

/// The most names in each list of [`Standing`]: what a screen shows, and what it costs to find out.
pub const MAX_NAMED: usize = 100;

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
    now: UnixTime,
) -> bool {
    if now >= new.valid_until || challenge.audience != new.audience {
        return false;
    }
    let Ok(table) = Table::new(new, &challenge.request, Circumstances::default(), now) else { return false };
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

/// How far a request has come, for people to look at. It decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The slots that are filled, and by whom.
    pub seats: Vec<Seat>,
    /// How many are not.
    pub missing: usize,
    /// Whose approval would help, each kind once: a group, @requester.
    pub from: Vec<String>,
    /// People whose approval would fill one more slot, by name; [`MAX_NAMED`] at most.
    pub can: Vec<&'a str>,
    /// People whom the rule names and whose approval would not, by name; [`MAX_NAMED`] at most.
    pub cannot: Vec<(&'a str, CannotHelp)>,
    /// Whether there are people enough.
    pub can_be_met: bool,
}

/// Why somebody's approval would fill no slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotHelp {
    /// They approved.
    #[error("has approved")]
    Approved,
    /// They asked for it.
    #[error("asked for it")]
    Asked,
    /// None of their certificates is valid.
    #[error("{0}")]
    Certificate(String),
    /// There is somebody in each of the slots that they could fill.
    #[error("is not needed")]
    NotNeeded,
    /// They hold no token.
    #[error("holds no token")]
    NoToken,
    /// Their answers do not count here.
    #[error("does not count here")]
    SetAside,
    /// None of their tokens reaches the rule's tier.
    #[error("has a token that gives {found}, the rule demands {needed}")]
    Tier {
        /// The best that they have.
        found: Tier,
        /// What the rule demands.
        needed: Tier,
    },
}

/// How far `request` has come with these approvals of it, and who could take it further at `now`.
///
/// # Errors
/// [`NotAdmitted`]; what waits for a debt is shown all the same.
pub fn standing<'a>(
    trust: &'a Trust,
    request: &'a Request,
    approvals: &[Approval],
    circumstances: Circumstances<'a>,
    now: UnixTime,
) -> Result<Standing<'a>, NotAdmitted> {
    let table = Table::new(trust, request, circumstances, now)?;
    let of_this =
        |answer: &Answer| answer.challenge().request == *request && answer.challenge().trust == trust.version;
    let found = table.seat(approvals.iter().map(Approval::answer), &of_this);
    let mut standing = Standing {
        seats: found.seats(&table),
        missing: found.assignment.missing(),
        from: table.open_kinds(&found.assignment),
        can: Vec::new(),
        cannot: Vec::new(),
        can_be_met: table.can_be_met(&found),
    };
    let open: Vec<&Need> = table.open(&found.assignment).collect();
    let mut seen = BTreeSet::new();
    let people = table.rule.need.iter().flat_map(|need| table.named(need));
    for person in people.filter(|person| seen.insert(person.name.as_str())) {
        let fits = |needs: &[&Need]| needs.iter().any(|need| may_fill(need, person, table.askers));
        let cannot = match table.usable(person) {
            _ if found.ballots.iter().any(|ballot| ballot.person.name == person.name) => {
                Some(CannotHelp::Approved)
            }
            _ if !fits(&table.slots) => Some(CannotHelp::Asked),
            Err(why) => Some(why),
            Ok(()) if !fits(&open) => Some(CannotHelp::NotNeeded),
            Ok(()) => None,
        };
        match cannot {
            None if standing.can.len() < MAX_NAMED => standing.can.push(&person.name),
            None => break,
            Some(why) if standing.cannot.len() < MAX_NAMED => standing.cannot.push((&person.name, why)),
            Some(_) => {}
        }
    }
    standing.can.sort_unstable();
    standing.cannot.sort_unstable_by_key(|(name, _)| *name);
    Ok(standing)
}

impl Circumstances<'_> {
    /// Whether the debts among them stand in the way of a request on their resource.
    fn check(&self, request: &Request) -> Result<(), NotAdmitted> {
        let here = self.debts.iter().filter(|debt| debt.challenge().request.resource == request.resource);
        check_debts(request, &here.map(|debt| *debt.request()).collect::<Vec<_>>())
    }
}

/// The slots of the rule for one request, and what makes an approval count.
struct Table<'a> {
    trust: &'a Trust,
    rule: &'a Rule,
    /// Each need as often as it is there.
    slots: Vec<&'a Need>,
    askers: Askers<'a>,
    set_aside: BTreeSet<&'a str>,
    now: UnixTime,
}

/// An approval that may count.
struct Ballot<'a> {
    /// Its place among those handed in.
    at: usize,
    person: &'a Person,
    token: &'a Token,
    tier: Tier,
}

/// The approvals that may count, and the seats that they take.
struct Found<'a> {
    ballots: Vec<Ballot<'a>>,
    votes: Vec<Vote>,
    assignment: Assignment,
}

impl<'a> Table<'a> {
    fn new(
        trust: &'a Trust,
        request: &Request,
        circumstances: Circumstances<'a>,
        now: UnixTime,
    ) -> Result<Self, NotAdmitted> {
        let rule = trust.admit(request)?;
        let mut set_aside: BTreeSet<&str> = circumstances.set_aside.iter().map(String::as_str).collect();
        if let Some(id) = settles(request) {
            let debt = circumstances.debts.iter().find(|debt| debt.is_settled_by(request));
            let debt = debt.ok_or(NotAdmitted::NoDebt { request: Some(id.to_string()) })?;
            set_aside.extend(debt.parties(trust));
        }
        let slots = rule.need.iter().flat_map(|need| (0..need.count).map(move |_| need)).collect();
        Ok(Self { trust, rule, slots, askers: trust.askers(request), set_aside, now })
    }

    /// What an answer is worth here; nothing, unless whoever gave it could fill a slot.
    fn ballot(&self, at: usize, answer: &Answer) -> Option<Ballot<'a>> {
        let (person, token) = self.trust.roster.holder(answer.key())?;
        // What was seen when it was judged, and what this trust says: it may be another version.
        let tier = answer.tier().min(tier(token).0);
        let counts = tier >= self.rule.tier
            && !self.trust.is_revoked(answer.key())
            && !self.set_aside.contains(person.name.as_str())
            && self.rule.need.iter().any(|need| may_fill(need, person, self.askers))
            && token.key.check_valid(self.now).is_ok();
        counts.then_some(Ballot { at, person, token, tier })
    }

    /// Seats those answers that count.
    fn seat<'b>(
        &self,
        answers: impl Iterator<Item = &'b Answer>,
        is_of_this: &dyn Fn(&Answer) -> bool,
    ) -> Found<'a> {
        let here = answers.enumerate().filter(|(_, answer)| is_of_this(answer));
        let mut ballots: Vec<Ballot<'a>> = here.filter_map(|(at, answer)| self.ballot(at, answer)).collect();
        // By what they are and not by when they came; the stronger evidence first, so that it is what sits.
        ballots.sort_by_key(|ballot| {
            (Reverse(ballot.tier), &ballot.person.name, ballot.token.key.material(), &ballot.token.serial)
        });
        // The roster lists no key and no serial twice. That is looked at here again: a quorum stands on it.
        let people = numbers(ballots.iter().map(|ballot| ballot.person.name.as_str()));
        let keys = numbers(ballots.iter().map(|ballot| ballot.token.key.material()));
        let tokens = numbers(ballots.iter().map(|ballot| ballot.token.serial.as_str()));
        let votes: Vec<Vote> = people
            .into_iter()
            .zip(keys)
            .zip(tokens)
            .map(|((person, key), token)| Vote { person, key, token })
            .collect();
        let voters: Vec<&Person> = ballots.iter().map(|ballot| ballot.person).collect();
        let assignment = self.assign(&votes, &voters);
        Found { ballots, votes, assignment }
    }

    /// `people` are the voters, in the order of the votes.
    fn assign(&self, votes: &[Vote], people: &[&Person]) -> Assignment {
        let by_number: BTreeMap<usize, &Person> =
            votes.iter().zip(people).map(|(vote, person)| (vote.person, *person)).collect();
        let fits = |person: usize, slot: usize| match (by_number.get(&person), self.slots.get(slot)) {
            (Some(person), Some(need)) => may_fill(need, person, self.askers),
            _ => false,
        };
        assign(votes, self.slots.len(), &fits)
    }

    /// The slots that one more could fill.
    fn open(&self, assignment: &Assignment) -> impl Iterator<Item = &'a Need> {
        self.slots.iter().zip(assignment.open.clone()).filter(|(_, open)| *open).map(|(need, _)| *need)
    }

    fn open_kinds(&self, assignment: &Assignment) -> Vec<String> {
        let mut kinds = Vec::new();
        for kind in self.open(assignment).map(|need| need.from.to_string()) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    /// Everybody whom a slot names, whether or not they may fill it.
    fn named(&self, need: &'a Need) -> impl Iterator<Item = &'a Person> + use<'a> {
        let requester = self.askers.requester.filter(|_| need.from == Approvers::Requester);
        let roster = &self.trust.roster;
        requester.into_iter().chain(need.from.groups().flat_map(|group| roster.members(group)))
    }

    /// Whether somebody could give an approval that counts, as far as their tokens go.
    fn usable(&self, person: &Person) -> Result<(), CannotHelp> {
        if self.set_aside.contains(person.name.as_str()) {
            return Err(CannotHelp::SetAside);
        }
        let mut best = CannotHelp::NoToken;
        for token in person.tokens.iter().filter(|token| !self.trust.is_revoked(token.key.fingerprint())) {
            let found = tier(token).0;
            // The cheaper question first: there may be ten thousand to be asked.
            best = match (found >= self.rule.tier, &best) {
                (true, _) => match token.key.check_valid(self.now) {
                    Ok(()) => return Ok(()),
                    Err(rejection) => CannotHelp::Certificate(rejection.to_string()),
                },
                (false, CannotHelp::Certificate(_)) => best,
                (false, CannotHelp::Tier { found: other, .. }) if *other >= found => best,
                (false, _) => CannotHelp::Tier { found, needed: self.rule.tier },
            };
        }
        Err(best)
    }

    /// Whether those who have not approved could fill what is empty.
    fn can_be_met(&self, found: &Found<'a>) -> bool {
        let mut votes = found.votes.clone();
        let mut people: Vec<&Person> = found.ballots.iter().map(|ballot| ballot.person).collect();
        let voted: BTreeSet<&str> = people.iter().map(|person| person.name.as_str()).collect();
        let mut added = BTreeSet::new();
        for need in &self.rule.need {
            let could = self.named(need).filter(|person| {
                !voted.contains(person.name.as_str())
                    && may_fill(need, person, self.askers)
                    && self.usable(person).is_ok()
            });
            // More than there are slots never help: whoever else sits, one of these is left for this need.
            for person in could.take(self.slots.len()) {
                if added.insert(&person.name) {
                    let number = usize::MAX - added.len();
                    votes.push(Vote { person: number, key: number, token: number });
                    people.push(person);
                }
            }
        }
        self.assign(&votes, &people).missing() == 0
    }
}

impl Found<'_> {
    fn seats(&self, table: &Table<'_>) -> Vec<Seat> {
        let filled = table.slots.iter().zip(&self.assignment.filled);
        let seat = |(need, vote): (&&Need, &Option<usize>)| {
            let ballot = self.ballots.get((*vote)?)?;
            Some(Seat { from: need.from.clone(), person: ballot.person.name.clone(), tier: ballot.tier })
        };
        filled.filter_map(seat).collect()
    }

    /// The places of one approval of each person: the one with the strongest evidence.
    fn one_each(&self) -> BTreeSet<usize> {
        let mut people = BTreeSet::new();
        let first = self.ballots.iter().filter(|ballot| people.insert(ballot.person.name.as_str()));
        first.map(|ballot| ballot.at).collect()
    }
}

/// A number for each, the same for those that are equal.
fn numbers<K: Ord>(items: impl Iterator<Item = K>) -> Vec<usize> {
    let mut known = BTreeMap::new();
    items
        .map(|item| {
            let next = known.len();
            *known.entry(item).or_insert(next)
        })
        .collect()
}
