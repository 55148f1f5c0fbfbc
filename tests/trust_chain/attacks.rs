//! Attacks on the chain of versions, each with the code of the step that stops it.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use touchgate::audit::entry::Outcome;
use touchgate::challenge::TrustVersion;
use touchgate::evidence::{Decided, Evidence};
use touchgate::statement::Decision;
use touchgate::trust::chain::{self, ChainError, Seen, Update, UpdateError};
use touchgate::trust::{Trust, read_directory};
use touchgate::verify;

use crate::world::{
    DECIDED, Directory, NOW, SIGNED, Version, answer, approvals, asked, time, update, update_of,
};

/// Three versions and the updates between them.
struct Story {
    seven: Version,
    eight: Version,
    nine: Version,
    to_eight: Vec<u8>,
    to_nine: Vec<u8>,
}

impl Story {
    /// Version 8 makes dave an admin, version 9 is signed by him.
    fn new() -> Self {
        let seven = Version::first();
        let eight = seven.next().groups("dave", "\"admins\"");
        let nine = eight.next();
        let to_eight = update(&seven, &eight, &["alice", "bob"]).to_json().into_bytes();
        let to_nine = update(&eight, &nine, &["carol", "dave"]).to_json().into_bytes();
        Self { seven, eight, nine, to_eight, to_nine }
    }

    fn updates(&self) -> [(&str, &[u8]); 2] {
        [("8.json", &self.to_eight), ("9.json", &self.to_nine)]
    }
}

fn judged(from: &Version, evidence: &Evidence) -> Result<Update, UpdateError> {
    chain::judge(&from.version(), evidence, time(NOW))
}

#[track_caller]
fn stopped<T: std::fmt::Debug>(result: Result<T, UpdateError>, code: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
}

#[track_caller]
fn rejected(result: Result<Vec<u64>, ChainError>, code: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
}

#[test]
fn the_chain_is_followed_from_every_pin() {
    let story = Story::new();
    let directory = Directory::new(&story.nine, &story.updates());
    assert_eq!(directory.follow(&story.seven.version()).unwrap(), [7, 8, 9]);
    assert_eq!(directory.follow(&story.eight.version()).unwrap(), [8, 9]);
    assert_eq!(directory.follow(&story.nine.version()).unwrap(), [9]);
    let only = Directory::new(&story.seven, &[]);
    assert_eq!(only.follow(&story.seven.version()).unwrap(), [7]);
    let update = judged(&story.seven, &Evidence::parse(&story.to_eight).unwrap()).unwrap();
    assert_eq!((update.to(), update.at()), (&story.eight.version(), time(DECIDED)));
    assert_eq!(update.by(), ["alice", "bob"]);
}

/// A version that was replaced, shown to somebody who never saw the newer one, ends by itself; and nobody goes on from
/// one that has ended.
#[test]
fn freeze() {
    let story = Story::new();
    let only = Directory::new(&story.seven, &[]);
    assert_eq!(only.follow(&story.seven.version()).unwrap(), [7]);
    let trust = Trust::load(only.path()).unwrap();
    let challenge = asked(&story.seven, &story.eight);
    let answer = approvals(&challenge, &["alice"])[0].response();
    let late = verify::alone(&answer, &trust, trust.valid_until).unwrap_err();
    assert_eq!(late.code(), "trust-expired");
    let short = story.seven.edit("policy.toml", "2027-03-01T00:00:00Z", DECIDED);
    stopped(judged(&short, &update(&short, &short.next(), &["alice", "bob"])), "update-ended");
    let longer = story.seven.edit("policy.toml", "2027-03-01T00:00:00Z", "2026-11-22T10:00:01Z");
    assert!(judged(&longer, &update(&longer, &longer.next(), &["alice", "bob"])).is_ok());
}

#[test]
fn rollback() {
    let story = Story::new();
    let mut seen = Seen::default();
    let way = [story.seven.version(), story.eight.version(), story.nine.version()];
    seen.remember(&way).unwrap();
    // The directory of the version before, with its own chain.
    let before = Directory::new(&story.eight, &story.updates()[..1]);
    assert_eq!(before.follow(&story.seven.version()).unwrap(), [7, 8]);
    let error = seen.remember(&way[..2]).unwrap_err();
    assert_eq!(error.code(), "trust-rollback", "{error}");
    // The files of the version before under a pin that is past it.
    let error = seen.explain(before.follow(&story.nine.version()).unwrap_err());
    assert_eq!(error.code(), "trust-rollback", "{error}");
    rejected(before.follow(&story.nine.version()), "trust-pin-differs");
    // Old files beside new updates.
    for old in [&story.seven, &story.eight] {
        let behind = Directory::new(old, &story.updates());
        rejected(behind.follow(&story.seven.version()), "trust-behind");
    }
}

#[test]
fn fork() {
    let story = Story::new();
    let other = story.eight.next().groups("erin", "\"admins\"");
    let to_other = update(&story.eight, &other, &["alice", "bob"]).to_json().into_bytes();
    let forked = Directory::new(&other, &[("8.json", &story.to_eight), ("9.json", &to_other)]);
    assert_eq!(forked.follow(&story.seven.version()).unwrap(), [7, 8, 9]);
    let mut seen = Seen::default();
    seen.remember(&[story.eight.version(), story.nine.version()]).unwrap();
    let error = seen.remember(&[story.eight.version(), other.version()]).unwrap_err();
    assert_eq!(error.code(), "trust-fork", "{error}");
    // One that went on from there.
    let ten = other.next().version();
    let error = seen.remember(&[story.eight.version(), other.version(), ten]).unwrap_err();
    assert_eq!(error.code(), "trust-fork", "{error}");
    // The files of one beside the update to the other.
    let mixed = Directory::new(&other, &story.updates());
    rejected(mixed.follow(&story.seven.version()), "trust-pin-differs");
}

#[test]
fn gap() {
    let story = Story::new();
    let without_eight = Directory::new(&story.nine, &[("9.json", &story.to_nine)]);
    rejected(without_eight.follow(&story.seven.version()), "trust-gap");
    assert_eq!(without_eight.follow(&story.eight.version()).unwrap(), [8, 9]);
    let without_nine = Directory::new(&story.nine, &[("8.json", &story.to_eight)]);
    rejected(without_nine.follow(&story.seven.version()), "trust-pin-differs");
    let far = Directory::new(&story.nine, &[("8.json", &story.to_eight), ("10.json", &story.to_nine)]);
    rejected(far.follow(&story.seven.version()), "trust-gap");
}

#[test]
fn replay() {
    let story = Story::new();
    let twice = Directory::new(&story.nine, &[("8.json", &story.to_eight), ("9.json", &story.to_eight)]);
    rejected(twice.follow(&story.seven.version()), "update-other-version");
    let swapped = Directory::new(&story.nine, &[("8.json", &story.to_nine), ("9.json", &story.to_eight)]);
    rejected(swapped.follow(&story.seven.version()), "update-other-version");
}

/// Of the next version's people, who are nobody yet; of the version before, who are nobody any more.
#[test]
fn signed_by_people_of_another_version() {
    let story = Story::new();
    stopped(judged(&story.seven, &update(&story.seven, &story.eight, &["dave", "alice"])), "not-allowed");
    // The files of version 8 under the name of version 7, and under their own.
    let mut evidence = update(&story.seven, &story.eight, &["alice", "bob"]);
    let own = update(&story.eight, &story.nine, &["alice", "dave"]).trust;
    evidence.trust = own.clone();
    stopped(judged(&story.seven, &evidence), "update-other-version");
    evidence.trust.version = story.seven.version();
    stopped(judged(&story.seven, &evidence), "update-file");
    // Asked under version 8 for version 8.
    let mut challenge = asked(&story.seven, &story.eight);
    challenge.trust = story.eight.version();
    let answers = approvals(&challenge, &["alice", "dave"]);
    stopped(
        judged(&story.seven, &update_of(&story.seven, &story.eight, challenge, answers)),
        "update-other-version",
    );
}

#[test]
fn people_whom_the_update_reduces_neither_count_nor_refuse() {
    let seven = Version::first();
    let without_alice = seven.next().groups("alice", "");
    let shorter = seven.next().edit("people/alice.toml", "touch  = \"declared\"\n", "");
    let mut gone = seven.next();
    gone.0.remove("people/alice.toml");
    gone.0.remove("tokens/1001.asc");
    for new in [&without_alice, &shorter, &gone] {
        stopped(judged(&seven, &update(&seven, new, &["alice", "bob"])), "update-not-met");
        assert_eq!(judged(&seven, &update(&seven, new, &["bob", "carol"])).unwrap().by(), ["bob", "carol"]);
        let challenge = asked(&seven, new);
        let refuses = |name| answer(&challenge, name, Decision::Refuse { because: None }, SIGNED);
        let with = |refusal| {
            let answers = [approvals(&challenge, &["bob", "carol"]), vec![refusal]].concat();
            judged(&seven, &update_of(&seven, new, challenge.clone(), answers))
        };
        assert_eq!(with(refuses("alice")).unwrap().by(), ["bob", "carol"]);
        stopped(with(refuses("grace")), "update-refused");
    }
}

/// A token that the update takes away, left out of what is shown, so that it would not be missed.
#[test]
fn a_loss_cannot_be_hidden() {
    let seven = Version::first().second_token("alice", "2001");
    let mut eight = Version::first().next();
    assert!(!eight.0.contains_key("tokens/2001.asc"));
    let evidence = update(&seven, &eight, &["alice", "bob"]);
    stopped(judged(&seven, &evidence), "update-not-met");
    let mut hidden = evidence.clone();
    hidden.trust.files.retain(|file| file.path != "tokens/2001.asc");
    stopped(judged(&seven, &hidden), "update-not-met");
    // What is not shown of the version after counts as gone.
    let seven = Version::first();
    eight = seven.next();
    let whole = update(&seven, &eight, &["alice", "bob"]);
    assert!(judged(&seven, &whole).is_ok());
    for path in ["people/alice.toml", "tokens/1001.asc"] {
        let mut without = whole.clone();
        without.after.as_mut().unwrap().files.retain(|file| file.path != path);
        let error = judged(&seven, &without).unwrap_err();
        assert!(matches!(error.code(), "update-not-met" | "update-bad-trust"), "{path}: {error}");
    }
}

#[test]
fn one_person_is_one_vote() {
    let seven = Version::first().second_token("alice", "2001");
    let eight = seven.next();
    stopped(judged(&seven, &update(&seven, &eight, &["alice", "mallory"])), "replayed");
    stopped(judged(&seven, &update(&seven, &eight, &["alice"])), "update-not-met");
    stopped(judged(&seven, &update(&seven, &eight, &[])), "update-not-met");
    // Two signatures by one key.
    let challenge = asked(&seven, &eight);
    let mut answers = approvals(&challenge, &["alice"]);
    answers.push(answer(&challenge, "alice", Decision::Approve, DECIDED));
    let evidence = update_of(&seven, &eight, challenge, answers);
    let error = judged(&seven, &evidence).unwrap_err();
    assert!(matches!(error.code(), "replayed" | "update-not-met"), "{error}");
    assert!(judged(&seven, &update(&seven, &eight, &["mallory", "bob"])).is_ok());
}

/// Under the rule of the version before, whatever the one after says.
#[test]
fn the_old_rule_decides() {
    let seven = Version::first();
    let eight = seven.next().edit("policy.toml", "\"admins\", count = 2", "\"admins\"");
    stopped(judged(&seven, &update(&seven, &eight, &["alice"])), "update-not-met");
    assert!(judged(&seven, &update(&seven, &eight, &["alice", "bob"])).is_ok());
    assert!(judged(&eight, &update(&eight, &eight.next(), &["alice"])).is_ok());
    // And its tier.
    let loose = seven.edit("people/alice.toml", "touch  = \"declared\"\n", "");
    stopped(judged(&loose, &update(&loose, &loose.next(), &["alice", "bob"])), "tier");
    let strangers = update(&seven, &eight, &["alice", "bob"]);
    let mut answers = strangers.answers().to_vec();
    answers.push(answer(&strangers.challenge, "mallory", Decision::Approve, SIGNED));
    stopped(judged(&seven, &update_of(&seven, &eight, strangers.challenge, answers)), "unknown-signer");
}

#[test]
fn another_version_than_the_one_shown() {
    let story = Story::new();
    let other = story.seven.next().groups("mike", "\"admins\"");
    // The files of another version 8 under the signatures over this one.
    let mut evidence = update(&story.seven, &story.eight, &["alice", "bob"]);
    let theirs = update(&story.seven, &other, &["alice", "bob"]);
    evidence.after = theirs.after.clone();
    stopped(judged(&story.seven, &evidence), "update-other-request");
    evidence.after.as_mut().unwrap().version = story.eight.version();
    stopped(judged(&story.seven, &evidence), "update-file");
    evidence.after = None;
    stopped(judged(&story.seven, &evidence), "update-other-request");
    // The request changed after it was signed.
    let mut evidence = update(&story.seven, &story.eight, &["alice", "bob"]);
    evidence.challenge = theirs.challenge;
    evidence.after = theirs.after;
    stopped(judged(&story.seven, &evidence), "unknown-request");
    let mut evidence = update(&story.seven, &story.eight, &["alice", "bob"]);
    evidence.challenge.expires = time(NOW);
    stopped(judged(&story.seven, &evidence), "altered");
}

/// Statements that admins signed, and that say something else.
#[test]
fn other_requests_are_no_updates() {
    let story = Story::new();
    let changed = |change: &dyn Fn(&mut touchgate::challenge::Challenge)| {
        let mut challenge = asked(&story.seven, &story.eight);
        change(&mut challenge);
        let answers = approvals(&challenge, &["alice", "bob"]);
        judged(&story.seven, &update_of(&story.seven, &story.eight, challenge, answers))
    };
    assert!(changed(&|_| {}).is_ok());
    stopped(changed(&|c| c.request.action = "deploy".parse().unwrap()), "update-other-request");
    stopped(
        changed(&|c| c.request.action = "touchgate.trust.revoke".parse().unwrap()),
        "update-other-request",
    );
    stopped(changed(&|c| c.request.resource = "other".parse().unwrap()), "update-other-request");
    stopped(changed(&|c| c.request.mode = touchgate::request::Mode::BreakGlass), "update-other-request");
    stopped(
        changed(&|c| c.request.reason = Some(touchgate::text::Text::new("a").unwrap())),
        "update-other-request",
    );
    stopped(changed(&|c| c.request.via = Some("ci:a".parse().unwrap())), "update-other-request");
    let value = |text: &str| touchgate::text::Text::new(text).unwrap();
    for (name, text) in
        [("version", "9"), ("version", "08"), ("version", "7"), ("digest", "x"), ("also", "x")]
    {
        let change = |c: &mut touchgate::challenge::Challenge| {
            c.request.parameters.insert(name.parse().unwrap(), value(text));
        };
        stopped(changed(&change), "update-other-request");
    }
    stopped(changed(&|c| c.request.parameters.clear()), "update-other-request");
    stopped(changed(&|c| c.audience = "other.example.com".parse().unwrap()), "wrong-audience");
    // Somebody on nobody's record asks, and somebody who then cannot sign.
    stopped(changed(&|c| c.request.requester = "os:x@y".parse().unwrap()), "unknown-requester");
    stopped(changed(&|c| c.request.requester = "github:alice".parse().unwrap()), "not-allowed");
    let elsewhere = story.seven.next().edit("policy.toml", "approve.example.com", "other.example.com");
    stopped(
        judged(&story.seven, &update(&story.seven, &elsewhere, &["alice", "bob"])),
        "update-other-request",
    );
}

#[test]
fn at_its_own_time_and_no_other() {
    let story = Story::new();
    let at = |at: &str, outcome| {
        let mut evidence = update(&story.seven, &story.eight, &["alice", "bob"]);
        evidence.decision = Some(Decided { outcome, at: time(at) });
        judged(&story.seven, &evidence)
    };
    assert!(at("2026-11-26T23:59:59Z", Outcome::Approved).is_ok());
    stopped(at("2026-11-27T00:00:00Z", Outcome::Approved), "update-not-met");
    stopped(at("2026-12-02T00:00:00Z", Outcome::Approved), "update-future");
    stopped(at("2026-11-21T09:00:00Z", Outcome::Approved), "update-future");
    for outcome in [Outcome::Refused, Outcome::Expired, Outcome::Superseded, Outcome::Withdrawn] {
        stopped(at(DECIDED, outcome), "update-not-approved");
    }
    let mut partial = update(&story.seven, &story.eight, &["alice", "bob"]);
    partial.decision = None;
    stopped(judged(&story.seven, &partial), "update-not-approved");
    // Signed long before it was begun, and after it expired.
    let challenge = asked(&story.seven, &story.eight);
    for (signed, code) in
        [("2026-11-19T00:00:00Z", "not-yet-valid"), ("2026-11-27T00:00:01Z", "update-future")]
    {
        let answers = vec![answer(&challenge, "alice", Decision::Approve, signed)];
        stopped(
            judged(&story.seven, &update_of(&story.seven, &story.eight, challenge.clone(), answers)),
            code,
        );
    }
}

#[test]
fn a_malformed_directory() {
    let story = Story::new();
    let pin = story.seven.version();
    let fresh = || Directory::new(&story.nine, &story.updates());
    for name in
        ["08.json", "1.json", "0.json", "10", "10.json.bak", "x.json", "10.JSON", ".10.json", "10.partial"]
    {
        let directory = fresh();
        directory.write(&format!("versions/{name}"), &story.to_nine);
        rejected(directory.follow(&pin), "trust-stray");
    }
    let both = fresh();
    both.write("versions/9.partial.json", &story.to_nine);
    rejected(both.follow(&pin), "trust-stray");
    let link = fresh();
    let (path, elsewhere) = (link.path().join("versions/9.json"), link.path().join("versions/8.json"));
    fs::remove_file(&path).unwrap();
    symlink(elsewhere, &path).unwrap();
    rejected(link.follow(&pin), "trust-stray");
    let folder = fresh();
    fs::create_dir(folder.path().join("versions/10.json")).unwrap();
    rejected(folder.follow(&pin), "trust-stray");
    let linked = Directory::new(&story.nine, &[]);
    symlink(folder.path().join("versions"), linked.path().join("versions")).unwrap();
    let versions = chain::Versions::read_directory(linked.path());
    assert_eq!(versions.unwrap_err().code(), "trust-stray");
    assert!(read_directory(linked.path()).is_err());
    let file = Directory::new(&story.nine, &[]);
    file.write("versions", b"");
    assert_eq!(chain::Versions::read_directory(file.path()).unwrap_err().code(), "trust-stray");
    // Nor is any other file of trust a link, whatever it leads to, or a folder.
    let files = Directory::new(&story.nine, &[]);
    let whole = read_directory(files.path()).unwrap();
    let code = || read_directory(files.path()).err().map(|error| error.code());
    for name in whole.keys() {
        let (path, away) = (files.path().join(name), folder.path().join("away"));
        fs::rename(&path, &away).unwrap();
        symlink(&away, &path).unwrap();
        assert_eq!(code(), Some("stray-file"), "{name}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(code(), Some("stray-file"), "{name}");
        fs::remove_dir(&path).unwrap();
        fs::rename(&away, &path).unwrap();
    }
    for name in ["people", "tokens"] {
        let (path, away) = (files.path().join(name), folder.path().join("away"));
        fs::rename(&path, &away).unwrap();
        symlink(&away, &path).unwrap();
        assert_eq!(code(), Some("stray-file"), "{name}");
        fs::remove_file(&path).unwrap();
        fs::rename(&away, &path).unwrap();
    }
    assert_eq!(read_directory(files.path()).unwrap(), whole);
    // A next version that is being signed is nobody's business here.
    let partial = fresh();
    partial.write("versions/10.partial.json", b"anything");
    assert_eq!(partial.follow(&pin).unwrap(), [7, 8, 9]);
    let large = fresh();
    large.write("versions/9.json", &vec![b' '; touchgate::evidence::MAX_EVIDENCE + 1]);
    rejected(large.follow(&pin), "evidence-too-large");
}

#[test]
fn an_update_that_was_cut_is_none_at_every_byte() {
    let story = Story::new();
    let whole = String::from_utf8(story.to_eight).unwrap();
    let end = whole.trim_end().len();
    assert!(Evidence::parse(&whole.as_bytes()[..end]).is_ok());
    for cut in 0..end {
        assert!(Evidence::parse(&whole.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
}

/// No byte can be another so that something else is believed.
#[test]
fn a_byte_that_was_flipped_changes_nothing_or_everything() {
    let story = Story::new();
    let (from, to) = (story.seven.version(), story.eight.version());
    let mut wrong = 0;
    for at in (0..story.to_eight.len()).step_by(97) {
        for flip in [0x01, 0x20] {
            let mut bytes = story.to_eight.clone();
            bytes[at] ^= flip;
            let Ok(evidence) = Evidence::parse(&bytes) else { continue };
            match chain::judge(&from, &evidence, time(NOW)) {
                // White space, the time of the decision, when an answer came.
                Ok(update) => assert_eq!((update.to(), update.by().len()), (&to, 2), "flipped at {at}"),
                Err(_) => wrong += 1,
            }
        }
    }
    assert!(wrong > 20, "{wrong}");
}

/// The JSON of an update with something else in it.
fn edited(story: &Story, edit: impl FnOnce(&mut Value)) -> Result<Update, UpdateError> {
    let mut value: Value = serde_json::from_slice(&story.to_eight).unwrap();
    edit(&mut value);
    let evidence = Evidence::parse(value.to_string().as_bytes())?;
    judged(&story.seven, &evidence)
}

#[test]
fn whoever_writes_the_file_gains_nothing() {
    let story = Story::new();
    assert!(edited(&story, |_| {}).is_ok());
    let files = |value: &mut Value, of: &str| value[of]["files"].as_array_mut().unwrap().clone();
    for of in ["trust", "after"] {
        let count =
            serde_json::from_slice::<Value>(&story.to_eight).unwrap()[of]["files"].as_array().unwrap().len();
        for index in 0..count {
            let without = edited(&story, |value| {
                let mut left = files(value, of);
                left.remove(index);
                value[of]["files"] = json!(left);
            });
            assert!(without.is_err(), "{of} without file {index}");
            let moved = edited(&story, |value| value[of]["files"][index]["index"] = json!(0));
            let zero = serde_json::from_slice::<Value>(&story.to_eight).unwrap()[of]["files"][index]["index"]
                == json!(0);
            assert!(zero || moved.is_err(), "{of} with file {index} elsewhere");
            let twice = edited(&story, |value| {
                let mut left = files(value, of);
                left.insert(index, left[index].clone());
                value[of]["files"] = json!(left);
            });
            assert!(twice.is_err(), "{of} with file {index} twice");
        }
        stopped(edited(&story, |value| value[of]["size"] = json!(1)), "update-file");
    }
    let dave = edited(&story, |value| {
        let person = value["trust"]["files"].as_array_mut().unwrap();
        let alice = person.iter_mut().find(|file| file["path"] == "people/alice.toml").unwrap();
        alice["text"] = json!(alice["text"].as_str().unwrap().replace("\"admins\"", "\"admins\", \"x\""));
    });
    stopped(dave, "update-file");
    stopped(edited(&story, |value| value["more"] = json!(1)), "evidence-malformed");
    stopped(edited(&story, |value| drop(value["answers"][0].take())), "evidence-malformed");
}

/// A pin to a number that is not the version's: the policy says which one it is, and the two must agree.
#[test]
fn a_pin_to_another_number() {
    let story = Story::new();
    let wrong = TrustVersion { number: 6, digest: story.seven.digest() };
    let evidence = Evidence::parse(&story.to_eight).unwrap();
    stopped(chain::judge(&wrong, &evidence, time(NOW)), "update-other-version");
    let mut evidence = evidence;
    evidence.trust.version = wrong;
    evidence.challenge.trust = wrong;
    stopped(chain::judge(&wrong, &evidence, time(NOW)), "update-bad-trust");
}
