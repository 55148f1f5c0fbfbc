//! The state machine: random events, late, doubled, reordered, replayed, taken back, refused, expired, under changing
//! trust and with others who are faster, never reach a grant that a plain reading of the rules denies.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/case.rs"]
#[allow(dead_code)]
mod case;
#[path = "support/model_store.rs"]
mod model_store;
#[path = "support/packets.rs"]
#[allow(dead_code)]
mod packets;
#[path = "support/people.rs"]
#[allow(dead_code)]
mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use case::fixtures;
use model_store::Model;
use packets::Recipe;
use touchgate::audit::Entry;
use touchgate::audit::entry::Outcome;
use touchgate::ceremony::{self, BadRecord, Ceremony, Context, Event, Said};
use touchgate::challenge::{Challenge, Terms};
use touchgate::request::{Mode, Request};
use touchgate::response::Response;
use touchgate::statement::Decision;
use touchgate::store::{CommitError, GrantRecord, Op};
use touchgate::trust::manifest::Manifest;
use touchgate::trust::{Files, Trust, read_directory};
use touchgate::unix_time::UnixTime;

/// How many sequences: `CEREMONIES=100000` for a night.
const SEQUENCES: u64 = 2000;
/// Who answers. Mallory is on nobody's record, pam's evidence is too weak, alice asks, ivan's certificate has expired.
const PEOPLE: [&str; 8] = ["bob", "carol", "dave", "tina", "pam", "alice", "ivan", "mallory"];
/// Who may fill a slot of the rule, and bob alone the one of security.
const ABLE: [&str; 4] = ["bob", "carol", "dave", "tina"];

fn at(offset: u64) -> UnixTime {
    UnixTime::from_seconds("2026-11-20T04:07:00Z".parse::<UnixTime>().unwrap().seconds() + offset).unwrap()
}

fn files() -> &'static Files {
    static FILES: LazyLock<Files> = LazyLock::new(|| read_directory(&fixtures("trust/team")).unwrap());
    &FILES
}

fn team() -> &'static Trust {
    static TEAM: LazyLock<Trust> = LazyLock::new(|| Trust::from_files(files()).unwrap());
    &TEAM
}

/// The next version: the same, or without carol.
fn next(without_carol: bool) -> &'static Trust {
    static SAME: LazyLock<Trust> = LazyLock::new(|| Trust::from_files(&raised()).unwrap());
    static LESS: LazyLock<Trust> = LazyLock::new(|| {
        let mut files = raised();
        files.remove("people/carol.toml");
        files.remove("tokens/1003.asc");
        Trust::from_files(&files).unwrap()
    });
    if without_carol { &LESS } else { &SAME }
}

/// What a version was made of.
fn made_of(trust: &Trust) -> &'static Manifest {
    static OLD: LazyLock<Manifest> = LazyLock::new(|| Manifest::new(files().clone()));
    static NEW: LazyLock<Manifest> = LazyLock::new(|| Manifest::new(raised()));
    // Under the new version nothing of the old one is decided, so it does not matter which new one.
    if trust.version == team().version { &OLD } else { &NEW }
}

fn raised() -> Files {
    let mut files = files().clone();
    let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
    files.insert("policy.toml".into(), policy.replace("version     = 7", "version     = 8").into_bytes());
    files
}

fn request(resource: &str) -> Request {
    Request {
        action: "deploy".parse().unwrap(),
        resource: resource.parse().unwrap(),
        parameters: [(
            "commit".parse().unwrap(),
            touchgate::text::Text::new("git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e").unwrap(),
        )]
        .into(),
        requester: "github:alice".parse().unwrap(),
        via: None,
        requester_key: None,
        reason: None,
        mode: Mode::Ordinary,
    }
}

fn challenge(seed: u8) -> Challenge {
    let terms = Terms {
        audience: team().audience.clone(),
        trust: team().version,
        answer_within: std::time::Duration::from_secs(900),
    };
    Challenge::issue(request("payments/prod"), terms, at(0), [seed; 42]).unwrap()
}

fn signed(challenge: &Challenge, name: &str, refuses: bool) -> Response {
    let decision = if refuses { Decision::Refuse { because: None } } else { Decision::Approve };
    let statement = challenge.clone().decided(decision).to_text().into_bytes();
    let mut key = people::signer(name);
    let created = u32::try_from(at(1).seconds()).unwrap();
    let signature = Recipe::plain(&key, created).sign(&mut key, &statement);
    Response { statement, signature }
}

/// Every answer that anybody could give, made once.
struct Answers {
    challenge: Challenge,
    right: BTreeMap<(&'static str, bool), Response>,
    /// To another request, which looks the same.
    other: BTreeMap<(&'static str, bool), Response>,
}

fn answers() -> &'static Answers {
    static ANSWERS: LazyLock<Answers> = LazyLock::new(|| {
        let (challenge, another) = (challenge(1), challenge(2));
        let all = |challenge: &Challenge| {
            let each = PEOPLE.iter().flat_map(|name| [(*name, false), (*name, true)]);
            each.map(|(name, refuses)| ((name, refuses), signed(challenge, name, refuses))).collect()
        };
        Answers { right: all(&challenge), other: all(&another), challenge }
    });
    &ANSWERS
}

/// A generator that repeats itself (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

#[derive(Clone, Copy, Debug)]
enum Happens {
    /// Who, refusing, what is wrong with it (0: nothing, 1: of another request, 2: a flipped bit).
    Answer(&'static str, bool, u8),
    Clock(u64),
    NewTrust(bool),
    Passing,
    Use,
    Withdraw(&'static str),
}

impl Happens {
    fn roll(dice: &mut Dice) -> Self {
        match dice.below(20) {
            0..=12 => {
                let name = PEOPLE[usize::try_from(dice.below(PEOPLE.len() as u64)).unwrap()];
                let wrong = if dice.below(6) == 0 { 1 + u8::try_from(dice.below(2)).unwrap() } else { 0 };
                Self::Answer(name, dice.below(9) == 0, wrong)
            }
            13 | 14 => Self::Clock(dice.below(400)),
            15 => Self::Passing,
            16 => Self::NewTrust(dice.below(2) == 0),
            17 | 18 => Self::Use,
            _ => Self::Withdraw(
                ["github:alice", "os:alice@build1", "github:bob"][usize::try_from(dice.below(3)).unwrap()],
            ),
        }
    }
}

/// The rules of DESIGN 6 and 8 as one reads them, for this one request.
#[derive(Default)]
struct Oracle {
    now: u64,
    given: BTreeSet<(&'static str, bool)>,
    approved: BTreeSet<&'static str>,
    outcome: Option<Outcome>,
    /// When it was approved: the grant lasts as long as the rule says, a quarter of an hour.
    approved_at: u64,
    new_trust: bool,
    used: bool,
    revoked: bool,
}

impl Oracle {
    fn happens(&mut self, what: Happens) {
        match what {
            Happens::Passing => self.happens(Happens::Clock(0)),
            Happens::Clock(seconds) => {
                self.now += seconds;
                if self.outcome.is_none() && self.now >= 900 {
                    self.outcome = Some(Outcome::Expired);
                }
            }
            Happens::NewTrust(without_carol) if !self.new_trust => {
                self.new_trust = true;
                match self.outcome {
                    None => self.outcome = Some(Outcome::Superseded),
                    Some(Outcome::Approved) if !self.used && !self.revoked => {
                        let mut left = self.approved.clone();
                        if without_carol {
                            left.remove("carol");
                        }
                        self.revoked = !suffice(&left);
                    }
                    Some(_) => {}
                }
            }
            Happens::NewTrust(_) => {}
            Happens::Withdraw(by) if self.outcome.is_none() && by.contains("alice") => {
                self.outcome = Some(Outcome::Withdrawn);
            }
            Happens::Withdraw(_) => {}
            Happens::Use => {
                let lasts = self.now < self.approved_at + 900;
                let live = self.outcome == Some(Outcome::Approved) && lasts && !self.revoked && !self.used;
                self.used |= live;
            }
            Happens::Answer(name, refuses, wrong) => {
                let counts = wrong == 0 && ABLE.contains(&name) && self.now < 900 && !self.new_trust;
                if !counts || self.given.contains(&(name, refuses)) {
                    return;
                }
                match (self.outcome, refuses) {
                    (None, false) => {
                        self.approved.insert(name);
                        self.approved_at = self.now;
                        self.outcome = suffice(&self.approved).then_some(Outcome::Approved);
                    }
                    (None, true) => self.outcome = Some(Outcome::Refused),
                    (Some(Outcome::Approved), true) => self.revoked |= !self.used,
                    (Some(_), _) => return,
                }
                self.given.insert((name, refuses));
            }
        }
    }
}

/// Two of release, and bob of security.
fn suffice(names: &BTreeSet<&str>) -> bool {
    names.contains("bob") && names.len() >= 3
}

/// One verifier's step: reads, judges, and lets `between` happen before it writes.
fn step(
    model: &mut Model,
    trust: &Trust,
    event: &Event<'_>,
    now: UnixTime,
    mut between: impl FnMut(&mut Model),
) {
    let id = answers().challenge.id;
    let mut first = true;
    loop {
        let record = model.requests[&id].clone();
        let grant = model.grants.get(&id).cloned();
        let manifest = made_of(trust);
        let counters = |_: &_| Ok(None);
        let grant = grant.as_ref();
        let context = Context { trust, manifest, now, counters: &counters, grant, debts: &[] };
        let step = Ceremony::resume(&record, trust).unwrap().step(event, &context);
        if std::mem::take(&mut first) {
            between(model);
        }
        match model.apply(&step.change) {
            Ok(_) => return,
            Err(CommitError::Again) if matches!(step.said, Said::Rejected(_)) => return,
            Err(CommitError::Store(error)) => panic!("{error}"),
            Err(_) => {}
        }
    }
}

fn event_of<'a>(
    what: Happens,
    response: &'a Response,
    new: &'a Trust,
    identity: &'a touchgate::request::Identity,
) -> Option<Event<'a>> {
    match what {
        Happens::Answer(..) => Some(Event::Answer { response, presented: None, counter: None }),
        Happens::Clock(_) => Some(Event::Clock),
        Happens::Passing => Some(Event::Passing),
        Happens::NewTrust(_) => Some(Event::NewTrust(new)),
        Happens::Withdraw(_) => Some(Event::Withdraw { by: identity }),
        Happens::Use => None,
    }
}

fn one_sequence(seed: u64) -> Outcomes {
    let answers = answers();
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut model = Model::default();
    let mut oracle = Oracle::default();
    model.apply(&ceremony::open(&answers.challenge, team(), &[]).unwrap()).unwrap();
    let mut told = Vec::new();
    for _ in 0..4 + dice.below(14) {
        let what = Happens::roll(&mut dice);
        told.push(what);
        let before = oracle.new_trust;
        // Under the new version the verifier judges nothing of the old one any more.
        let Happens::NewTrust(without) = what else {
            happen(&mut model, &mut oracle, what, &mut dice);
            check(&model, &oracle, &told);
            continue;
        };
        if !before {
            happen(&mut model, &mut oracle, Happens::NewTrust(without), &mut dice);
        }
        check(&model, &oracle, &told);
    }
    Outcomes { outcome: oracle.outcome, revoked: oracle.revoked, used: oracle.used }
}

struct Outcomes {
    outcome: Option<Outcome>,
    revoked: bool,
    used: bool,
}

fn happen(model: &mut Model, oracle: &mut Oracle, what: Happens, dice: &mut Dice) {
    let answers = answers();
    let trust = if oracle.new_trust { next(false) } else { team() };
    // Now and then another verifier writes between look and write: an answer of somebody else, or the same one.
    let rival = (dice.below(4) == 0).then(|| match dice.below(2) {
        0 => what,
        _ => Happens::roll(dice),
    });
    let rival = rival.filter(|rival| matches!(rival, Happens::Answer(..)));
    // The time has gone by for both.
    let what = match what {
        Happens::Clock(seconds) => {
            oracle.now += seconds;
            Happens::Clock(0)
        }
        other => other,
    };
    if let Some(rival) = rival {
        oracle.happens(rival);
    }
    oracle.happens(what);
    let now = at(oracle.now);
    let response = |what: Happens| match what {
        Happens::Answer(name, refuses, wrong) => {
            let pool = if wrong == 1 { &answers.other } else { &answers.right };
            let mut response = pool[&(name, refuses)].clone();
            if wrong == 2 {
                let last = response.signature.len() - 1;
                response.signature[last] ^= 1;
            }
            response
        }
        _ => answers.right[&("bob", false)].clone(),
    };
    let without = matches!(what, Happens::NewTrust(true));
    let by = if let Happens::Withdraw(by) = what { by } else { "github:alice" }.parse().unwrap();
    let own = response(what);
    let between = |model: &mut Model| {
        if let Some(rival) = rival {
            let response = response(rival);
            let event = Event::Answer { response: &response, presented: None, counter: None };
            step(model, trust, &event, now, |_| {});
        }
    };
    match event_of(what, &own, next(without), &by) {
        Some(event @ Event::NewTrust(_)) => step(model, team(), &event, now, between),
        Some(event) => step(model, trust, &event, now, between),
        None => {
            between(model);
            let id = answers.challenge.id;
            let count = model.grants.get(&id).map_or(1, |grant| grant.used + 1);
            let _ = model.apply(&[
                Op::Use { grant: id, count, at: now },
                Op::Log(Entry::Used { at: now, grant: id, count }),
            ]);
        }
    }
}

fn check(model: &Model, oracle: &Oracle, told: &[Happens]) {
    let id = answers().challenge.id;
    let record = &model.requests[&id];
    assert_eq!(record.outcome, oracle.outcome, "{told:?}");
    let given: BTreeSet<_> =
        record.answers.iter().map(|a| (a.person.as_str(), a.decision == "refuse")).collect();
    assert_eq!(given.len(), record.answers.len(), "answered twice: {told:?}");
    assert_eq!(given, oracle.given.iter().copied().collect(), "{told:?}");
    let grant = model.grants.get(&id);
    assert_eq!(grant.is_some(), oracle.outcome == Some(Outcome::Approved), "{told:?}");
    if let Some(grant) = grant {
        assert_eq!((grant.revoked.is_some(), grant.used > 0), (oracle.revoked, oracle.used), "{told:?}");
    }
    // Nothing without its entry, no entry twice.
    let decided = model.log.iter().filter(|entry| matches!(entry, Entry::Decided { .. })).count();
    assert_eq!(decided, usize::from(oracle.outcome.is_some()), "{told:?}");
    let answered = model.log.iter().filter(|entry| matches!(entry, Entry::Answered { .. })).count();
    assert_eq!(answered, record.answers.len(), "{told:?}");
}

#[test]
fn no_sequence_of_events_reaches_a_grant_that_the_rules_deny() {
    let sequences = std::env::var("CEREMONIES").map_or(SEQUENCES, |text| text.parse().unwrap());
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 1..=sequences {
        let Outcomes { outcome, revoked, used } = one_sequence(seed);
        *seen.entry(format!("{outcome:?} revoked {revoked} used {used}")).or_default() += 1;
    }
    println!("{seen:#?}");
    // The dice went everywhere.
    for part in [
        "None",
        "Approved) revoked false used false",
        "revoked true",
        "used true",
        "Expired",
        "Refused",
        "Superseded",
        "Withdrawn",
    ] {
        assert!(seen.keys().any(|key| key.contains(part)), "never {part}: {seen:?}");
    }
}

/// Whatever lies in the store is judged again: a record that somebody wrote there decides nothing.
#[test]
fn a_record_that_was_tampered_with_decides_nothing() {
    let answers = answers();
    let mut model = Model::default();
    model.apply(&ceremony::open(&answers.challenge, team(), &[]).unwrap()).unwrap();
    for name in ["carol", "dave"] {
        let response = &answers.right[&(name, false)];
        let event = Event::Answer { response, presented: None, counter: None };
        step(&mut model, team(), &event, at(5), |_| {});
    }
    let record = &model.requests[&answers.challenge.id];
    assert!(Ceremony::resume(record, team()).is_ok());
    let mut forged = record.clone();
    forged.answers[0].response.signature[20] ^= 1;
    assert!(Ceremony::resume(&forged, team()).is_err());
    let mut foreign = record.clone();
    foreign.answers[0].response = answers.other[&("bob", false)].clone();
    assert!(Ceremony::resume(&foreign, team()).is_err());
    let mut late = record.clone();
    late.answers[0].at = at(901);
    assert!(Ceremony::resume(&late, team()).is_err());
    let mut renamed = record.clone();
    renamed.answers[0].person = "bob".into();
    assert!(matches!(Ceremony::resume(&renamed, team()), Err(BadRecord::NotTheirs { .. })));
    let mut turned = record.clone();
    turned.answers[0].decision = "refuse";
    assert!(matches!(Ceremony::resume(&turned, team()), Err(BadRecord::NotTheirs { .. })));
    let mut twice = record.clone();
    twice.answers.push(twice.answers[0].clone());
    assert!(matches!(Ceremony::resume(&twice, team()), Err(BadRecord::Twice { .. })));
    // Whoever refused has ended it: it is not opened again by saying that it was not decided.
    let response = &answers.right[&("bob", true)];
    let event = Event::Answer { response, presented: None, counter: None };
    step(&mut model, team(), &event, at(6), |_| {});
    let mut reopened = model.requests[&answers.challenge.id].clone();
    assert_eq!(reopened.outcome.take(), Some(Outcome::Refused));
    let error = Ceremony::resume(&reopened, team()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("bob refused"), "{error}");
}

/// What an enrolled key signed and does not count all the same stands in the log, once for each reason; what nobody is
/// known to have signed does not.
#[test]
fn a_rejected_answer_is_logged_once_if_an_enrolled_key_signed_it() {
    let answers = answers();
    let mut model = Model::default();
    model.apply(&ceremony::open(&answers.challenge, team(), &[]).unwrap()).unwrap();
    let own = signed(&answers.challenge, "alice", false);
    let mut forged = signed(&answers.challenge, "bob", false);
    forged.signature = own.signature.clone();
    for response in [&own, &forged, &own] {
        let event = Event::Answer { response, presented: None, counter: None };
        step(&mut model, team(), &event, at(5), |_| {});
    }
    let mut late = signed(&answers.challenge, "carol", false);
    late.statement[0] ^= 1;
    step(
        &mut model,
        team(),
        &Event::Answer { response: &late, presented: None, counter: None },
        at(6),
        |_| {},
    );
    let rejected: Vec<&Entry> = model.log.iter().filter(|e| matches!(e, Entry::Rejected { .. })).collect();
    let expected = Entry::Rejected {
        at: at(5),
        request: answers.challenge.id,
        person: "alice".into(),
        code: "not-allowed".into(),
    };
    assert_eq!(rejected, [&expected]);
    assert!(model.requests[&answers.challenge.id].answers.is_empty());
}

/// Uses are counted by the record, so new trust lets stand only a record that says what was decided.
#[test]
fn a_grant_that_was_raised_by_hand_ends_with_the_version() {
    type Change = fn(&mut GrantRecord);
    let changes: [(Change, bool); 3] =
        [(|_| {}, false), (|grant| grant.uses = 9, true), (|grant| grant.expires = at(9000), true)];
    let answers = answers();
    let id = answers.challenge.id;
    for (number, (change, ends)) in changes.into_iter().enumerate() {
        let mut model = Model::default();
        model.apply(&ceremony::open(&answers.challenge, team(), &[]).unwrap()).unwrap();
        for name in ["carol", "dave", "bob"] {
            let response = &answers.right[&(name, false)];
            let event = Event::Answer { response, presented: None, counter: None };
            step(&mut model, team(), &event, at(5), |_| {});
        }
        change(model.grants.get_mut(&id).unwrap());
        step(&mut model, team(), &Event::NewTrust(next(false)), at(6), |_| {});
        assert_eq!(model.grants[&id].revoked, ends.then(|| at(6)), "{number}");
    }
}

/// A token that is revoked takes everything with it that it had a say in: the open request ends, and what is left of a
/// grant is revoked. Nothing else is held up by it.
#[test]
fn what_a_revoked_token_had_a_say_in_ends() {
    let answers = answers();
    let lost = || {
        let mut trust = Trust::from_files(files()).unwrap();
        let (_, carol) =
            trust.roster.people().iter().find(|p| p.name == "carol").map(|p| (p, &p.tokens[0])).unwrap();
        let key = carol.key.fingerprint().clone();
        trust.revoke([key]);
        trust
    };
    for enough in [false, true] {
        let mut model = Model::default();
        model.apply(&ceremony::open(&answers.challenge, team(), &[]).unwrap()).unwrap();
        let names: &[&str] = if enough { &["carol", "dave", "bob"] } else { &["carol", "dave"] };
        for name in names {
            let response = &answers.right[&(*name, false)];
            let event = Event::Answer { response, presented: None, counter: None };
            step(&mut model, team(), &event, at(5), |_| {});
        }
        let id = answers.challenge.id;
        assert_eq!(model.grants.contains_key(&id), enough);
        // The last one needed, or a refusal, or just the time: whatever comes first ends it.
        let response = &answers.right[&("bob", false)];
        let answer = Event::Answer { response, presented: None, counter: None };
        let event = if enough { Event::Clock } else { answer };
        step(&mut model, &lost(), &event, at(6), |_| {});
        if enough {
            assert_eq!(model.grants[&id].revoked, Some(at(6)));
        } else {
            assert_eq!(model.requests[&id].outcome, Some(Outcome::Superseded));
            assert!(model.grants.is_empty());
        }
    }
}

/// What could be decided is decided for whoever waits for it; what is over ends, whoever sees it.
#[test]
fn who_passes_by_ends_what_is_over_and_decides_nothing() {
    let answers = answers();
    let mut model = Model::default();
    model.apply(&ceremony::open(&answers.challenge, team(), &[]).unwrap()).unwrap();
    for name in ["carol", "dave", "bob"] {
        let response = &answers.right[&(name, false)];
        step(&mut model, team(), &Event::Answer { response, presented: None, counter: None }, at(5), |_| {});
    }
    let mut record = model.requests[&answers.challenge.id].clone();
    assert_eq!(record.outcome.take(), Some(Outcome::Approved));
    let ceremony = Ceremony::resume(&record, team()).unwrap();
    let counters = |_: &_| Ok(None);
    let said = |event: &Event<'_>, now| {
        let context = Context {
            trust: team(),
            manifest: made_of(team()),
            now,
            counters: &counters,
            grant: None,
            debts: &[],
        };
        let step = ceremony.step(event, &context);
        (step.said, step.change.len())
    };
    assert!(matches!(said(&Event::Clock, at(6)), (Said::Approved { .. }, 1..)));
    assert!(matches!(said(&Event::Passing, at(6)), (Said::Nothing, 0)));
    let over = answers.challenge.expires;
    assert!(matches!(said(&Event::Passing, over), (Said::Ended(Outcome::Expired), 1..)));
}

/// Of several that go through the glass at the same moment one does; the others wait for its debt.
#[test]
fn of_many_who_break_the_glass_at_once_one_gets_through() {
    let urgent = |seed: u8| {
        let mut request = request("payments/prod");
        (request.mode, request.reason) =
            (Mode::BreakGlass, Some(touchgate::text::Text::new("it burns").unwrap()));
        let terms = Terms {
            audience: team().audience.clone(),
            trust: team().version,
            answer_within: std::time::Duration::from_secs(900),
        };
        Challenge::issue(request, terms, at(0), [seed; 42]).unwrap()
    };
    let challenges = [urgent(3), urgent(4)];
    let mut model = Model::default();
    for challenge in &challenges {
        model.apply(&ceremony::open(challenge, team(), &[]).unwrap()).unwrap();
    }
    // Both were looked at before either was written.
    let manifest = made_of(team());
    let counters = |_: &_| Ok(None);
    let context =
        Context { trust: team(), manifest, now: at(5), counters: &counters, grant: None, debts: &[] };
    let steps = challenges.each_ref().map(|challenge| {
        let response = signed(challenge, "bob", false);
        let event = Event::Answer { response: &response, presented: None, counter: None };
        let step = Ceremony::resume(&model.requests[&challenge.id], team()).unwrap().step(&event, &context);
        assert!(matches!(step.said, Said::Approved { .. }), "{:?}", step.said);
        step
    });
    let [first, second] = steps.map(|step| model.apply(&step.change));
    assert!(first.is_ok() && matches!(second, Err(CommitError::Overtaken)), "{second:?}");
    assert_eq!(model.grants.len(), 1);
}
