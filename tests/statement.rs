//! The statement's grammar against its vectors, and the properties that hold for every statement.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/case.rs"]
mod case;

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;
use touchgate::challenge::{Challenge, Terms, TrustVersion};
use touchgate::request::{Mode, Request};
use touchgate::statement::{Decision, MAX_STATEMENT, Statement, StatementError};
use touchgate::text::Text;
use touchgate::unix_time::UnixTime;

/// Reads the bytes as what they claim to be and gives back what the writer makes of them.
fn reread(form: &str, bytes: &[u8]) -> Result<String, StatementError> {
    match form {
        "challenge" => Challenge::parse(bytes).map(|challenge| challenge.to_text()),
        "statement" => Statement::parse(bytes).map(|statement| statement.to_text()),
        other => panic!("no such form: {other}"),
    }
}

#[test]
fn every_case_is_judged_as_it_says() {
    let mut wrong = Vec::new();
    for case in case::cases("statement") {
        let [(form, bytes)] = &case.sections[..] else { panic!("{}: not one section", case.name) };
        let outcome = reread(form, bytes);
        let code = outcome.as_ref().map_or_else(StatementError::code, |_| "ok");
        if code != case.header("expect") {
            wrong.push(format!("{}: {} expected, found {outcome:?}", case.name, case.header("expect")));
        }
        if let Ok(written) = outcome {
            assert_eq!(written.as_bytes(), bytes, "{}", case.name);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_has_a_case() {
    let expected: BTreeSet<String> =
        case::cases("statement").iter().map(|case| case.header("expect").to_owned()).collect();
    let codes = case::codes("statement.rs").into_iter().chain(["ok".to_owned()]).collect();
    assert_eq!(expected, codes);
}

/// The valid statements among the cases, with their forms.
fn valid() -> &'static [(String, Vec<u8>)] {
    static VALID: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
        let valid = case::cases("statement").into_iter().filter(|case| case.header("expect") == "ok");
        valid.flat_map(|case| case.sections).collect()
    });
    &VALID
}

#[test]
fn every_flipped_bit_shows() {
    // The few longest only repeat what the others hold.
    for (form, bytes) in valid().iter().filter(|(_, bytes)| bytes.len() <= 1000) {
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            // Either it is no statement any more, or it is another one, and writes itself.
            if let Ok(written) = reread(form, &flipped) {
                assert_eq!(written.as_bytes(), flipped);
            }
        }
    }
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-z0-9][a-z0-9._-]{0,12}", 1..5).prop_map(|segments| segments.join("/"))
}

fn identity() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_-]{0,12}:[!-\\[\\]-~]{1,60}"
}

fn value() -> impl Strategy<Value = Text> {
    "\\PC{1,30}|[ \\\\a]{1,20}|(?s).{1,30}".prop_map(|text| Text::new(text).unwrap())
}

prop_compose! {
    fn request()(
        names in (path(), path(), identity(), prop::option::of(identity())),
        parameters in prop::collection::btree_map("[a-z][a-z0-9_-]{0,31}", value(), 0..5),
        key in prop::option::of(any::<[u8; 32]>()),
        reason in prop::option::of(value()),
        break_glass in any::<bool>(),
    ) -> Request {
        let (action, resource, requester, via) = names;
        Request {
            action: action.parse().unwrap(),
            resource: resource.parse().unwrap(),
            parameters: parameters.into_iter().map(|(name, value)| (name.parse().unwrap(), value)).collect(),
            requester: requester.parse().unwrap(),
            via: via.map(|via| via.parse().unwrap()),
            requester_key: key.map(Into::into),
            reason,
            mode: if break_glass { Mode::BreakGlass } else { Mode::Ordinary },
        }
    }
}

prop_compose! {
    fn challenge()(
        request in request(),
        audience in "[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\\.[a-z0-9]{1,10}){0,3}",
        version in (1..u64::MAX, any::<[u8; 32]>()),
        now in 0..250_000_000_000_u64,
        seconds in 1..3_000_000_u64,
        random in (any::<[u8; 32]>(), any::<[u8; 10]>()),
    ) -> Challenge {
        let trust = TrustVersion { number: version.0, digest: version.1.into() };
        let answer_within = Duration::from_secs(seconds);
        let mut randomness = [0; 42];
        randomness[..32].copy_from_slice(&random.0);
        randomness[32..].copy_from_slice(&random.1);
        let terms = Terms { audience: audience.parse().unwrap(), trust, answer_within };
        Challenge::issue(request, terms, UnixTime::from_seconds(now).unwrap(), randomness).unwrap()
    }
}

fn decision() -> impl Strategy<Value = Decision> {
    prop_oneof![
        Just(Decision::Approve),
        prop::option::of(value()).prop_map(|because| Decision::Refuse { because }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_parses_to_the_same(challenge in challenge(), decision in decision()) {
        let text = challenge.to_text();
        prop_assert_eq!(&Challenge::parse(text.as_bytes()).unwrap(), &challenge);
        let statement = challenge.decided(decision);
        let text = statement.to_text();
        prop_assert!(text.len() <= MAX_STATEMENT);
        prop_assert_eq!(Statement::parse(text.as_bytes()).unwrap(), statement);
    }

    /// Only the first line and `because` tell a statement from its challenge.
    #[test]
    fn a_decision_changes_nothing_else(challenge in challenge(), decision in decision()) {
        let issued = challenge.to_text();
        let decided = challenge.decided(decision).to_text();
        let tail = issued.strip_prefix("touchgate v1 challenge\n").unwrap();
        let rest = decided.split_once('\n').unwrap().1.strip_prefix(tail).unwrap();
        prop_assert!(rest.is_empty() || rest.starts_with("because: "));
    }

    /// Bytes replaced, removed, repeated, moved: never a panic, and what parses writes itself.
    #[test]
    fn mutations_never_panic(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 1..6),
    ) {
        let (_, mut bytes) = which.get(valid()).clone();
        for (at, kind, byte) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                _ => bytes.extend_from_within(at..),
            }
            if bytes.is_empty() {
                bytes.push(byte);
            }
        }
        for form in ["challenge", "statement"] {
            if let Ok(written) = reread(form, &bytes) {
                prop_assert_eq!(written.as_bytes(), &bytes[..]);
            }
        }
    }

    #[test]
    fn lines_in_any_order_never_panic(
        order in Just(()).prop_flat_map(|()| Just((0..20).collect::<Vec<usize>>()).prop_shuffle()),
        keep in 0..20_usize,
    ) {
        for (form, bytes) in valid() {
            let lines: Vec<&[u8]> = bytes.split_inclusive(|&b| b == b'\n').collect();
            let picked: Vec<&[u8]> =
                order.iter().take(keep).filter_map(|&at| lines.get(at).copied()).collect();
            let bytes = picked.concat();
            if let Ok(written) = reread(form, &bytes) {
                prop_assert_eq!(written.as_bytes(), &bytes[..]);
            }
        }
    }
}
