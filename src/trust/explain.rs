//! Which rule decides about a request, why that one, and who can still approve it. For people who ask before they ask.

use serde::Serialize;

use crate::request::{Mode, Request, is_immutable};
use crate::trust::assignment::{Vote, assign};
use crate::trust::check::Hindrance;
use crate::trust::check::reach::Able;
use crate::trust::meant::meant;
use crate::trust::place::{Place, Source};
use crate::trust::policy::{Approvers, Fit, Need, Rule};
use crate::trust::roster::Person;
use crate::trust::{Files, NotAdmitted, Trust};
use crate::unix_time::UnixTime;

/// What trust says about one request.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// The rule that decides, if one covers it.
    pub rule: Option<&'a Rule>,
    /// Where it stands.
    pub place: Option<Place>,
    /// The other rules that are near, and why it is not they who decide.
    pub others: Vec<Other>,
    /// The person who asks, if somebody's record names them.
    pub requester: Option<&'a Person>,
    /// Why it may not be asked, if it may not.
    pub not_admitted: Option<NotAdmitted>,
    /// The parameters that the rule pins and that are missing, or could change later.
    pub unpinned: Vec<String>,
    /// An action that was probably meant, where no rule covers this one.
    pub meant: Option<String>,
    /// What the rule needs, entry by entry.
    pub slots: Vec<Slots>,
    /// How many approvals are missing.
    pub missing: usize,
    /// Whether those who can still approve are enough.
    pub possible: bool,
}

/// A rule that does not decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    /// Action, resource, mode.
    pub rule: String,
    /// Where it stands.
    pub place: Option<Place>,
    /// Why it does not.
    pub why: &'static str,
}

/// One entry of `need`: as many slots as it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Whose approvals.
    pub from: Approvers,
    /// How many.
    pub count: u32,
    /// By whom they are filled.
    pub filled: Vec<String>,
    /// Who can fill one, and has not approved.
    pub can: Vec<String>,
    /// Who would, and why they cannot.
    pub cannot: Vec<(String, Hindrance)>,
}

/// Explains a request as it stands at `now`, with these people's approvals given.
pub fn explain<'a>(
    trust: &'a Trust,
    files: &Files,
    request: &Request,
    approved: &[String],
    now: UnixTime,
) -> Explanation<'a> {
    let policy = Source::new(files, "policy.toml");
    let place = |index: usize| policy.as_ref().and_then(|policy| policy.rule(index));
    let rule = trust.rule(request);
    let index = rule.and_then(|rule| trust.rules().iter().position(|other| std::ptr::eq(other, rule)));
    let loose =
        |name: &&crate::request::ParameterName| !request.parameters.get(*name).is_some_and(is_immutable);
    let unpinned = rule.into_iter().flat_map(|rule| rule.pinned.iter().filter(loose));
    let literal: Vec<String> = trust.rules().iter().map(Rule::action).collect();
    let near = meant(request.action.as_str(), literal.iter().map(String::as_str));
    let mut explanation = Explanation {
        rule,
        place: index.and_then(place),
        others: others(trust, request, index, &place),
        requester: trust.requester(request),
        not_admitted: trust.admit(request).err(),
        unpinned: unpinned.map(ToString::to_string).collect(),
        meant: near.filter(|_| rule.is_none()).map(str::to_owned),
        slots: Vec::new(),
        missing: 0,
        possible: false,
    };
    if let Some(rule) = rule {
        let able = Able::all(trust, now);
        seats(&mut explanation, trust, request, rule, &able, approved);
    }
    explanation
}

/// Rules that cover it too, or would but for the mode or the resource.
fn others(
    trust: &Trust,
    request: &Request,
    decides: Option<usize>,
    place: &dyn Fn(usize) -> Option<Place>,
) -> Vec<Other> {
    let why = |rule: &Rule| match rule.fit(request) {
        Fit::Covers => Some("covers it too, and is less specific"),
        Fit::OtherAction => None,
        Fit::OtherMode if request.mode == Mode::Ordinary => Some("is for break-glass"),
        Fit::OtherMode => Some("is for every day, and break-glass was asked"),
        Fit::OtherResource => Some("covers other resources"),
        Fit::Reserved => Some("covers what is Touchgate's own only where it is spelt out"),
    };
    let rules = trust.rules().iter().enumerate().filter(|(index, _)| Some(*index) != decides);
    let other = |(index, rule): (usize, &Rule)| {
        Some(Other { rule: rule.to_string(), place: place(index), why: why(rule)? })
    };
    rules.filter_map(other).collect()
}

/// Who fills what, and who could.
fn seats(
    explanation: &mut Explanation<'_>,
    trust: &Trust,
    request: &Request,
    rule: &Rule,
    able: &[Able<'_>],
    approved: &[String],
) {
    let askers = trust.askers(request);
    let mut slots: Vec<(usize, &Need)> = rule
        .need
        .iter()
        .enumerate()
        .flat_map(|(entry, need)| (0..need.count).map(move |_| (entry, need)))
        .collect();
    // Scarce ones first: whoever could sit in two sits where few others can.
    let fitting =
        |need: &Need| able.iter().filter(|able| able.hindrance(rule, need, askers).is_none()).count();
    let fitting: Vec<usize> = rule.need.iter().map(fitting).collect();
    slots.sort_by_key(|(entry, _)| (fitting.get(*entry).copied(), *entry));
    let assigned = |people: &[&Able<'_>]| {
        let votes: Vec<Vote> =
            (0..people.len()).map(|index| Vote { person: index, key: index, token: index }).collect();
        let fits = |person: usize, slot: usize| match (people.get(person), slots.get(slot)) {
            (Some(able), Some((_, need))) => able.hindrance(rule, need, askers).is_none(),
            _ => false,
        };
        assign(&votes, slots.len(), &fits)
    };
    let has_approved = |able: &&Able<'_>| approved.contains(&able.person.name);
    let given: Vec<&Able<'_>> = able.iter().filter(has_approved).collect();
    let now = assigned(&given);
    explanation.missing = now.missing();
    // Enough of those who can for every slot: one entry needs no more than all slots together.
    let mut all = given.clone();
    for (entry, need) in rule.need.iter().enumerate() {
        let fits = |able: &&Able<'_>| able.hindrance(rule, need, askers).is_none();
        for able in able.iter().filter(|able| !has_approved(able)).filter(fits).take(slots.len()) {
            if !all.iter().any(|other| other.person.name == able.person.name) {
                all.push(able);
            }
        }
        let seated = slots.iter().zip(&now.filled).filter(|((of, _), _)| *of == entry);
        let filled = seated.filter_map(|(_, vote)| given.get((*vote)?));
        let waiting = able.iter().filter(|able| !has_approved(able));
        let mut entry = Slots {
            from: need.from.clone(),
            count: need.count,
            filled: filled.map(|able| able.person.name.clone()).collect(),
            can: Vec::new(),
            cannot: Vec::new(),
        };
        for able in waiting {
            match able.hindrance(rule, need, askers) {
                None => entry.can.push(able.person.name.clone()),
                Some(Hindrance::DoesNotAsk | Hindrance::NotInGroup) => {}
                Some(why) => entry.cannot.push((able.person.name.clone(), why)),
            }
        }
        for able in &given {
            match able.hindrance(rule, need, askers) {
                None | Some(Hindrance::DoesNotAsk | Hindrance::NotInGroup) => {}
                Some(why) => entry.cannot.push((able.person.name.clone(), why)),
            }
        }
        explanation.slots.push(entry);
    }
    explanation.possible = assigned(&all).missing() == 0;
}
