//! Every byte of the file: cut, flipped, in every place; and files larger than any that is read.

use touchgate::audit::entry::Outcome;
use touchgate::evidence::{Evidence, MAX_EVIDENCE, Verdict, judge};
use touchgate::request::Request;

use crate::log::Log;
use crate::scene::{after, approval, approved, challenge_of, decided, grant, now, request, team};

/// What an auditor finds in these bytes.
fn found(bytes: &[u8]) -> Result<Verdict, &'static str> {
    let evidence = Evidence::parse(bytes).map_err(|error| error.code())?;
    judge(&evidence, &team().against(), now()).map_err(|error| error.code())
}

/// Of one approval, so that there are fewer bytes.
fn short() -> Vec<u8> {
    let challenge = challenge_of(team(), Request { resource: "staging/web".parse().unwrap(), ..request() });
    let answers = vec![approval(&challenge, "bob")];
    let mut evidence = decided(team(), &challenge, answers, Outcome::Approved);
    let entry = grant(&mut evidence, team());
    let mut log = Log::new();
    let index = log.append(&entry);
    evidence.log = Some(log.proof(index, &[(0, after(65))]));
    evidence.to_json().into_bytes()
}

#[test]
fn cut_anywhere_it_is_no_evidence() {
    let whole = short();
    for length in 0..whole.len() - 1 {
        assert_eq!(found(&whole[..length]).unwrap_err(), "evidence-malformed", "{length}");
    }
    // Its last line feed says nothing.
    assert!(found(&whole[..whole.len() - 1]).is_ok());
}

/// A byte that is changed and lets it hold changed nothing that anybody is told.
#[test]
fn no_byte_can_be_changed_to_any_effect() {
    let whole = short();
    let genuine = found(&whole).unwrap();
    let mut accepted = 0;
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= [0x01, 0x02, 0x20][at % 3];
        if let Ok(verdict) = found(&changed) {
            assert!(verdict == genuine, "byte {at}: {}", String::from_utf8_lossy(&changed));
            accepted += 1;
        }
    }
    // How many files there are, where the shape of the tree stays; when an answer came; the spaces between tokens.
    assert!(accepted * 20 < whole.len(), "{accepted} of {}", whole.len());
}

/// A part that stands twice, whichever of the two a reader would believe.
#[test]
fn nothing_stands_twice() {
    let text = approved().to_json();
    let mut twice: serde_json::Value = serde_json::from_str(&text).unwrap();
    for list in ["/answers", "/trust/files"] {
        let mut twice = twice.clone();
        let items = twice.pointer_mut(list).unwrap().as_array_mut().unwrap();
        let first = items[0].clone();
        items.insert(0, first);
        assert_eq!(found(twice.to_string().as_bytes()).unwrap_err(), "evidence-malformed", "{list}");
    }
    // Another signature by the same key over the same statement is the same answer.
    let other = approval(&challenge_of(team(), request()), "carol");
    let signature = touchgate::response::armored(&other.response().signature);
    let answers = twice["answers"].as_array_mut().unwrap();
    let mut again = answers.iter().find(|answer| answer["signature"] != signature.as_str()).unwrap().clone();
    again["signature"] = signature.into();
    answers.push(again);
    assert_eq!(found(twice.to_string().as_bytes()).unwrap_err(), "evidence-malformed");
}

#[test]
fn nothing_huge_is_read() {
    let mut large = approved().to_json().into_bytes();
    large.resize(MAX_EVIDENCE + 1, b' ');
    assert_eq!(found(&large).unwrap_err(), "evidence-too-large");
    large.pop();
    assert!(found(&large).is_ok());
    let text = approved().to_json();
    for (from, to) in [
        ("\"answers\": [", format!("\"answers\": [{}", "{},".repeat(100_000))),
        ("\"files\": [", format!("\"files\": [{}", "[],".repeat(100_000))),
        ("\"grant\": {", format!("\"grant\": {{\"a\": {}", "[".repeat(1_000_000))),
        ("\"size\": ", "\"size\": 9999999999999999999999".to_owned()),
        ("\"index\": ", "\"index\": -".to_owned()),
    ] {
        assert!(text.contains(from), "{from}");
        assert_eq!(
            found(text.replacen(from, &to, 1).as_bytes()).unwrap_err(),
            "evidence-malformed",
            "{from}"
        );
    }
}
