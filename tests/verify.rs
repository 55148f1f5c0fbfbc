//! `verify::response` against its vectors, every flipped bit, another implementation and other tools.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/case.rs"]
mod case;
#[path = "verify/differential.rs"]
mod differential;
#[path = "verify/documents.rs"]
mod documents;
#[path = "support/draft.rs"]
mod draft;
#[path = "support/drafts/mod.rs"]
mod drafts;
#[path = "verify/enrolment.rs"]
mod enrolment;
#[path = "verify/flips.rs"]
mod flips;
#[path = "support/make_fixtures.rs"]
mod make_fixtures;
#[path = "support/numbers.rs"]
mod numbers;
#[path = "verify/order.rs"]
mod order;
#[path = "verify/other_tools.rs"]
mod other_tools;
#[path = "support/packets.rs"]
mod packets;
#[path = "support/people.rs"]
mod people;
#[path = "verify/quorum.rs"]
mod quorum;

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

use case::{Case, cases, codes, fixtures};
use sequoia_openpgp::Fingerprint;
use touchgate::challenge::{Challenge, RequestId};
use touchgate::response::Response;
use touchgate::statement::{Decision, Statement};
use touchgate::trust::Trust;
use touchgate::unix_time::UnixTime;
use touchgate::verify::{Counter, Entry, Ledger, OpenRequests, Recorded, Verified, alone, response};

/// A store that is there and cannot write.
struct FullDisk(OpenRequests);

impl Ledger for FullDisk {
    fn issued(&self, request: &RequestId) -> Option<Challenge> {
        self.0.issued(request)
    }

    fn counter(&self, key: &Fingerprint) -> Result<Option<Counter>, String> {
        self.0.counter(key)
    }

    fn record(&mut self, _: &Entry<'_>) -> Result<Recorded, String> {
        Err("no space left on device".into())
    }
}

/// The trust of `fixtures/trust/team`, loaded once.
fn team() -> &'static Trust {
    static TEAM: LazyLock<Trust> = LazyLock::new(|| Trust::load(&fixtures("trust/team")).unwrap());
    &TEAM
}

/// The response in a case, or why its file is none.
fn response_of(case: &Case) -> Result<Response, String> {
    let section =
        |wanted: &str| case.sections.iter().find(|(name, _)| name == wanted).map(|(_, bytes)| bytes);
    if let Some(file) = section("file") {
        return Response::parse(file).map_err(|error| error.code().to_owned());
    }
    let statement = section("statement").unwrap_or_else(|| panic!("{}: no statement", case.name)).clone();
    let signature = match (section("signature"), section("signature in hexadecimal")) {
        (Some(bytes), None) => bytes.clone(),
        (None, Some(hex)) => {
            let digits: Vec<u32> =
                hex.iter().filter(|b| **b != b'\n').map(|b| char::from(*b).to_digit(16).unwrap()).collect();
            digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
        }
        _ => panic!("{}: not one signature", case.name),
    };
    Ok(Response { statement, signature })
}

/// What a ledger holds before the case: its challenge, or the one that the statement was made of.
fn ledger_of(case: &Case, response: &Response) -> OpenRequests {
    let mut ledger = OpenRequests::default();
    let challenge = match case.sections.iter().find(|(name, _)| name == "challenge") {
        Some((_, bytes)) => Challenge::parse(bytes).ok(),
        None => Statement::parse(&response.statement).ok().map(|statement| statement.challenge),
    };
    if let Some(challenge) = challenge {
        ledger.open(challenge);
    }
    ledger
}

/// `approved bob declared`, or the code of what failed.
fn outcome(case: &Case) -> String {
    let answer = match response_of(case) {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    assert_eq!(case.header("trust"), "team", "{}", case.name);
    let trust = team();
    let now: UnixTime = case.header("now").parse().unwrap();
    let mut ledger = ledger_of(case, &answer);
    let verified = match case.header("judged") {
        "alone" => return outcome_alone(&answer, now),
        "failing-ledger" => response(&answer, trust, &mut FullDisk(ledger), now),
        "ledger" => response(&answer, trust, &mut ledger, now),
        "replay" => {
            let first = response(&answer, trust, &mut ledger, now);
            assert!(first.is_ok(), "{}: the first time: {first:?}", case.name);
            response(&answer, trust, &mut ledger, now)
        }
        "revoked" => {
            let mut trust = Trust::load(&fixtures("trust/team")).unwrap();
            trust.revoke([people::signer("bob").public().fingerprint()]);
            response(&answer, &trust, &mut ledger, now)
        }
        "unknown" => response(&answer, trust, &mut OpenRequests::default(), now),
        other => panic!("{}: judged {other:?}", case.name),
    };
    match verified {
        Ok(Verified::Approved(yes)) => format!("approved {} {}", yes.answer().person(), yes.answer().tier()),
        Ok(Verified::Refused(no)) => format!("refused {} {}", no.answer().person(), no.answer().tier()),
        Err(rejection) => rejection.code().to_owned(),
    }
}

fn outcome_alone(response: &Response, now: UnixTime) -> String {
    match alone(response, team(), now) {
        Ok(answer) => {
            let word = if *answer.decision() == Decision::Approve { "approved" } else { "refused" };
            format!("{word} {} {}", answer.person(), answer.tier())
        }
        Err(rejection) => rejection.code().to_owned(),
    }
}

#[test]
fn every_case_is_judged_as_it_says() {
    let wrong: Vec<String> = cases("signature")
        .iter()
        .map(|case| (case, outcome(case)))
        .filter(|(case, outcome)| outcome != case.header("expect"))
        .map(|(case, outcome)| format!("{}: {} expected, found {outcome}", case.name, case.header("expect")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The codes that a response can be answered with, apart from those of the statement's grammar.
fn response_codes() -> BTreeSet<String> {
    [codes("verify/rejection.rs"), codes("response.rs")].into_iter().flatten().collect()
}

#[test]
fn every_code_has_a_case() {
    let expected: BTreeSet<String> =
        cases("signature").iter().map(|case| case.header("expect").into()).collect();
    let known = |code: &String| expected.contains(code) || NOT_OF_ANSWERS.contains(&code.as_str());
    let missing: Vec<_> = response_codes().into_iter().filter(|code| !known(code)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

/// Codes of what cannot be asked yet; an answer to what was asked before is taken and counts once it may.
const NOT_OF_ANSWERS: [&str; 1] = ["debt"];

/// A malformed statement is answered with its own code, under whatever signature.
#[test]
fn a_malformed_statement_is_answered_first() {
    let trust = team();
    for case in cases("statement") {
        let [(form, bytes)] = &case.sections[..] else { panic!("{}: not one section", case.name) };
        if form == "statement" && case.header("expect") != "ok" {
            let answer = Response { statement: bytes.clone(), signature: b"no signature".to_vec() };
            let rejection = alone(&answer, trust, UnixTime::now()).unwrap_err();
            assert_eq!(rejection.code(), case.header("expect"), "{}", case.name);
        }
    }
}

#[test]
fn the_fixtures_are_what_the_generator_writes() {
    for (path, bytes) in make_fixtures::all() {
        let found = fs::read(fixtures(&path)).unwrap_or_default();
        assert!(found == bytes, "{path} is not what its generator writes; see fixtures/README.md");
    }
}

#[test]
#[ignore = "writes fixtures/signature and fixtures/trust; run by hand after a change to tests/support"]
fn make_the_fixtures() {
    make_fixtures::write_all();
}
