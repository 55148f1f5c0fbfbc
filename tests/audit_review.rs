//! The whole log judged again: a true one is found true, and each thing that is wrong with another is named.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/case.rs"]
#[allow(dead_code)]
mod case;
#[path = "support/packets.rs"]
#[allow(dead_code)]
mod packets;
#[path = "support/people.rs"]
#[allow(dead_code)]
mod people;

use std::num::NonZeroUsize;

use case::fixtures;
use packets::Recipe;
use tempfile::TempDir;
use touchgate::audit::entry::{Entry, Outcome};
use touchgate::audit::review::{Against, Review, Wrong, check_beginning, review};
use touchgate::audit::{LogKey, LogSigner, SignedCheckpoint};
use touchgate::challenge::{Challenge, RequestId, Terms, TrustVersion};
use touchgate::digest::Sha256Digest;
use touchgate::evidence::{self, Evidence};
use touchgate::grant::SealedGrant;
use touchgate::request::{Mode, Request};
use touchgate::response::{Response, armored};
use touchgate::statement::Decision;
use touchgate::store::sqlite::Sqlite;
use touchgate::store::{AnswerRecord, Op, Store};
use touchgate::text::Text;
use touchgate::trust::manifest::Manifest;
use touchgate::trust::quorum::{self, Circumstances};
use touchgate::trust::{Files, Trust, read_directory};
use touchgate::unix_time::UnixTime;
use touchgate::verify::{self, Approval, OpenRequests, Verified};

const ENOUGH: [&str; 3] = ["bob", "carol", "dave"];

fn at(offset: u64) -> UnixTime {
    UnixTime::from_seconds("2026-11-20T04:07:00Z".parse::<UnixTime>().unwrap().seconds() + offset).unwrap()
}

/// A verifier of this test's own: writes what one writes, and anything else that it is told to.
struct Gate {
    directory: TempDir,
    store: Sqlite,
    key: LogKey,
    trust: Trust,
    files: Files,
    asked: u8,
}

/// A request under way.
struct Case {
    challenge: Challenge,
    revision: u32,
    approvals: Vec<Approval>,
    answers: Vec<evidence::Answered>,
}

impl Gate {
    /// With no trust in force yet.
    fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (signer, _) = LogSigner::generate("approve.example.com").unwrap();
        let key = signer.key().clone();
        let store = Sqlite::open(&directory.path().join("store.db"), signer).unwrap();
        let files = read_directory(&fixtures("trust/team")).unwrap();
        let trust = Trust::from_files(&files).unwrap();
        Self { directory, store, key, trust, files, asked: 0 }
    }

    fn new() -> Self {
        let gate = Self::empty();
        let version = gate.trust.version;
        gate.write(&[
            Op::Trust { version, before: None, files: gate.files.clone() },
            Op::Log(Entry::Trust { at: at(0), version }),
        ]);
        gate
    }

    fn write(&self, change: &[Op]) {
        self.store.commit(change).unwrap();
    }

    fn log(&self, entry: Entry) {
        self.write(&[Op::Log(entry)]);
    }

    fn challenge(&mut self) -> Challenge {
        self.asked += 1;
        let commit = Text::new("git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e").unwrap();
        let request = Request {
            action: "deploy".parse().unwrap(),
            resource: "payments/prod".parse().unwrap(),
            parameters: [("commit".parse().unwrap(), commit)].into(),
            requester: "github:alice".parse().unwrap(),
            via: None,
            requester_key: None,
            reason: None,
            mode: Mode::Ordinary,
        };
        let terms = Terms {
            audience: self.trust.audience.clone(),
            trust: self.trust.version,
            answer_within: std::time::Duration::from_secs(900),
        };
        Challenge::issue(request, terms, at(1), [self.asked; 42]).unwrap()
    }

    fn ask(&mut self) -> Case {
        let challenge = self.challenge();
        self.write(&[
            Op::Open(Box::new(challenge.clone())),
            Op::Log(Entry::Asked { at: at(1), challenge: challenge.to_text() }),
        ]);
        Case { challenge, revision: 0, approvals: Vec::new(), answers: Vec::new() }
    }

    /// What `name` signs, judged, and the entry for it.
    fn judged(&self, challenge: &Challenge, name: &str, decision: Decision) -> (Verified, Entry) {
        let statement = challenge.clone().decided(decision).to_text().into_bytes();
        let mut key = people::signer(name);
        let created = u32::try_from(at(2).seconds()).unwrap();
        let signature = Recipe::plain(&key, created).sign(&mut key, &statement);
        let response = Response { statement, signature };
        let mut ledger = OpenRequests::default();
        ledger.open(challenge.clone());
        let verified = verify::response(&response, &self.trust, &mut ledger, at(2)).unwrap();
        let answer = match &verified {
            Verified::Approved(approval) => approval.answer(),
            Verified::Refused(refusal) => refusal.answer(),
        };
        let entry = Entry::Answered {
            at: at(2),
            request: challenge.id,
            person: answer.person().to_owned(),
            decision: answer.decision().word().to_owned(),
            key: answer.key().to_hex(),
            serial: answer.serial().to_owned(),
            acr: answer.tier().acr().to_owned(),
            statement: String::from_utf8(response.statement.clone()).unwrap(),
            signature: armored(&response.signature),
            counter: None,
            signatures: None,
            unseen: None,
        };
        (verified, entry)
    }

    fn answer(&self, case: &mut Case, name: &str, decision: Decision) {
        let (verified, entry) = self.judged(&case.challenge, name, decision);
        let answer = match &verified {
            Verified::Approved(approval) => approval.answer(),
            Verified::Refused(refusal) => refusal.answer(),
        };
        let response = answer.response().clone();
        let record = AnswerRecord {
            person: name.to_owned(),
            decision: answer.decision().word(),
            response: response.clone(),
            counter: None,
            at: at(2),
        };
        let (request, revision) = (case.challenge.id, case.revision);
        self.write(&[Op::Step { request, revision, answer: Box::new(record) }, Op::Log(entry)]);
        case.revision += 1;
        case.answers.push(evidence::Answered::new(&response, None, Some(at(2))).unwrap());
        if let Verified::Approved(approval) = verified {
            case.approvals.push(approval);
        }
    }

    /// What an approval comes to.
    fn sealed(&self, case: &Case) -> SealedGrant {
        let approvals = case.approvals.clone();
        let met =
            quorum::decide(&self.trust, &case.challenge, approvals, Circumstances::default(), at(3)).unwrap();
        let manifest = Manifest::new(&self.files);
        let shown = Evidence::collect(
            case.challenge.clone(),
            case.answers.clone(),
            &self.trust,
            &self.files,
            &manifest,
        );
        SealedGrant::new(met, shown.unwrap().digest(), at(3))
    }

    fn decide(&self, case: &Case, entry: Entry) {
        let close = self.close(case, Outcome::Approved);
        self.write(&[close, Op::Grant(self.sealed(case).record()), Op::Log(entry)]);
    }

    fn close(&self, case: &Case, outcome: Outcome) -> Op {
        Op::Close { request: case.challenge.id, revision: case.revision, outcome }
    }

    /// Asked, approved by enough people and granted.
    fn grant(&mut self) -> Case {
        let mut case = self.ask();
        ENOUGH.iter().for_each(|name| self.answer(&mut case, name, Decision::Approve));
        self.decide(&case, self.sealed(&case).entry());
        case
    }

    fn use_once(&self, grant: RequestId) {
        let entry = Entry::Used { at: at(4), grant, count: 1 };
        self.write(&[Op::Use { grant, count: 1, at: at(4) }, Op::Log(entry)]);
    }

    /// Every ending there is.
    fn busy() -> Self {
        let mut gate = Self::new();
        let used = gate.grant();
        gate.use_once(used.challenge.id);
        let revoked = gate.grant().challenge.id;
        gate.write(&[
            Op::Revoke { grant: revoked, used: 0, at: at(4) },
            Op::Log(Entry::Revoked { at: at(4), grant: revoked, by: "bob".into(), because: None }),
        ]);
        let mut refused = gate.ask();
        gate.answer(&mut refused, "carol", Decision::Refuse { because: None });
        gate.write(&[
            gate.close(&refused, Outcome::Refused),
            Op::Log(gate.ended(&refused, Outcome::Refused, &["carol"], at(3))),
        ]);
        let expired = gate.ask();
        gate.write(&[
            gate.close(&expired, Outcome::Expired),
            Op::Log(gate.ended(&expired, Outcome::Expired, &[], at(2000))),
        ]);
        let mut open = gate.ask();
        gate.answer(&mut open, "bob", Decision::Approve);
        let rejected = Entry::Rejected {
            at: at(3),
            request: open.challenge.id,
            person: "pam".into(),
            code: "tier".into(),
        };
        gate.log(rejected);
        gate
    }

    fn ended(&self, case: &Case, outcome: Outcome, by: &[&str], at: UnixTime) -> Entry {
        let by = by.iter().map(|&name| name.to_owned()).collect();
        Entry::Decided { at, request: case.challenge.id, outcome, by, evidence: None, grant: None }
    }

    fn review(&self) -> Review {
        self.against(&[])
    }

    fn against(&self, kept: &[SignedCheckpoint]) -> Review {
        let threads = NonZeroUsize::new(2).unwrap();
        review(&self.store, &Against { key: &self.key, kept, threads }, |_, _| {}).unwrap()
    }

    /// The codes of what is found, each once, in their order.
    fn codes(&self) -> Vec<&'static str> {
        let mut codes: Vec<_> = self.review().findings.iter().map(|finding| finding.wrong.code()).collect();
        codes.dedup();
        codes
    }

    /// Whether the one finding at the last entry says this.
    fn assert_order(&self, words: &str) {
        let found = self.review();
        let last = found.entries - 1;
        let at_last = found.findings.iter().find(|finding| finding.index == Some(last));
        let text = at_last.map(|finding| finding.to_string()).unwrap_or_default();
        assert!(text.contains(words), "{words:?} not in {:?}", found.findings);
        assert_eq!(at_last.unwrap().wrong.code(), "log-order", "{text}");
    }

    /// Changes the file below the store.
    fn tamper(&self, sql: &str) {
        let db = rusqlite::Connection::open(self.directory.path().join("store.db")).unwrap();
        assert!(db.execute(sql, []).unwrap() > 0, "{sql}");
    }
}

#[test]
fn a_true_log_is_found_true() {
    let gate = Gate::busy();
    let found = gate.review();
    assert_eq!(found.findings, []);
    assert_eq!((found.signatures, found.decisions, found.uses, found.trusts), (8, 2, 1, 1));
    assert_eq!(found.entries, 21);
    let newest = gate.store.checkpoint().unwrap();
    assert_eq!(found.root, Some(newest.checkpoint().root));
    assert_eq!(found.checkpoints, u64::try_from(gate.store.checkpoints(0, 100).unwrap().len()).unwrap());
    assert_eq!(Gate::empty().review().found, 0);
}

#[test]
fn what_others_kept_must_be_the_beginning() {
    let mut gate = Gate::new();
    let older = gate.store.checkpoint().unwrap();
    gate.grant();
    let newest = gate.store.checkpoint().unwrap();
    let found = gate.against(&[older.clone(), newest.clone()]);
    assert_eq!((found.kept, found.findings.len()), (2, 0));

    // The same key over another past, or over more than there is.
    let other = Gate::busy();
    let theirs = other.store.checkpoint().unwrap();
    let codes = |kept: &SignedCheckpoint| {
        let found = gate.against(std::slice::from_ref(kept));
        found.findings.iter().map(|finding| finding.wrong.code()).collect::<Vec<_>>()
    };
    assert_eq!(codes(&theirs), ["log-behind"]);
    let wrong = check_beginning(&gate.store, &theirs, newest.checkpoint());
    assert!(matches!(wrong, Err(Wrong::Behind { kept: 21, size: 6 })));
    let another = Gate::new();
    another.log(Entry::Trust { at: at(9), version: another.trust.version });
    assert_eq!(codes(&another.store.checkpoint().unwrap()), ["log-fork"]);
    assert!(check_beginning(&gate.store, &older, newest.checkpoint()).is_ok());
}

#[test]
fn a_changed_line_is_named() {
    for (sql, index) in [
        ("UPDATE entry SET line = replace(line, 'bob', 'rob') WHERE position = 2", 2),
        ("UPDATE entry SET line = line || ' ' WHERE position = 6", 6),
        ("UPDATE entry SET line = '{}' WHERE position = 0", 0),
    ] {
        let gate = Gate::busy();
        gate.tamper(sql);
        let found = gate.review();
        let named = |finding: &&touchgate::audit::review::Finding| finding.wrong == Wrong::Leaf;
        let lines: Vec<_> = found.findings.iter().filter(named).map(|finding| finding.index).collect();
        assert_eq!(lines, [Some(index)], "{sql}: {:?}", found.findings);
        assert!(found.findings.iter().any(|finding| finding.wrong.code() == "log-root"));
    }
}

#[test]
fn changed_tables_are_noticed() {
    for (sql, code) in [
        ("UPDATE hash SET hash = zeroblob(32) WHERE number = (SELECT max(number) FROM hash)", "log-tables"),
        ("UPDATE checkpoint SET note = replace(note, 'a', 'b') WHERE size = 3", "log-checkpoint"),
        (
            "UPDATE checkpoint SET note = (SELECT note FROM checkpoint WHERE size = 4) WHERE size = 3",
            "log-checkpoint",
        ),
        ("UPDATE granted SET used = 0", "log-store"),
        ("UPDATE granted SET revoked = NULL", "log-store"),
        ("UPDATE granted SET expires = expires + 900", "log-store"),
        ("DELETE FROM granted WHERE used = 1", "log-store"),
        ("UPDATE request SET outcome = 'approved' WHERE outcome = 'refused'", "log-store"),
        ("UPDATE request SET outcome = NULL WHERE outcome = 'refused'", "log-store"),
        ("UPDATE trust SET digest = zeroblob(32)", "log-store"),
        ("UPDATE content SET bytes = zeroblob(9)", "log-trust"),
    ] {
        let gate = Gate::busy();
        gate.tamper(&format!("{sql};"));
        let codes = gate.codes();
        assert!(codes.contains(&code), "{sql}: {codes:?}");
    }
}

#[test]
fn a_grant_without_its_entry_is_noticed() {
    let mut gate = Gate::new();
    let mut case = gate.ask();
    ENOUGH.iter().for_each(|name| gate.answer(&mut case, name, Decision::Approve));
    gate.write(&[gate.close(&case, Outcome::Approved), Op::Grant(gate.sealed(&case).record())]);
    let found = gate.review();
    let text: Vec<_> = found.findings.iter().map(ToString::to_string).collect();
    assert!(
        text.iter().any(|text| text.contains("is open in the log, was approved in the store")),
        "{text:?}"
    );
    assert!(text.iter().any(|text| text.contains("is in the store alone")), "{text:?}");
}

#[test]
fn an_answer_is_verified_and_logged_as_it_is() {
    let mut gate = Gate::new();
    let case = gate.ask();
    let (_, good) = gate.judged(&case.challenge, "bob", Decision::Approve);
    type Change = fn(&mut serde_json::Value);
    let changes: [(&str, Change); 8] = [
        ("bad-signature", |e| {
            let text = e["statement"].as_str().unwrap().replace("approve\n", "refuse\n");
            (e["statement"], e["decision"]) = (text.into(), "refuse".into());
        }),
        ("person", |e| e["person"] = "carol".into()),
        ("decision", |e| e["decision"] = "refuse".into()),
        ("key", |e| e["key"] = "00".into()),
        ("serial", |e| e["serial"] = "7".into()),
        ("acr", |e| e["acr"] = "urn:touchgate:touch-attested".into()),
        ("request", |e| e["request"] = "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9".into()),
        ("creation-time", |e| e["at"] = "2026-11-20T04:01:30Z".into()),
    ];
    for (what, change) in changes {
        let mut value = serde_json::to_value(&good).unwrap();
        change(&mut value);
        gate.log(serde_json::from_value(value).unwrap());
        let found = gate.review();
        let last = found.findings.last().unwrap();
        assert_eq!((last.index, last.wrong.code()), (Some(found.entries - 1), "log-answer"), "{what}");
    }
    assert_eq!(gate.review().signatures, 0);
}

#[test]
fn what_was_not_decided_so_is_noticed() {
    type Change = fn(&mut serde_json::Value);
    let changes: [Change; 7] = [
        |e| e["by"] = serde_json::json!(["bob", "carol"]),
        |e| e["at"] = "2026-11-20T04:07:04Z".into(),
        |e| e["evidence"] = Sha256Digest::of(b"other").to_string().into(),
        |e| e["grant"]["exp"] = (e["grant"]["exp"].as_u64().unwrap() + 1).into(),
        |e| e["grant"]["step_up"]["uses"] = 2.into(),
        |e| e["grant"]["authorization_details"][0]["resource"] = "payments/test".into(),
        |e| e["grant"]["sub"] = "github:mallory".into(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut gate = Gate::new();
        let mut case = gate.ask();
        ENOUGH.iter().for_each(|name| gate.answer(&mut case, name, Decision::Approve));
        let mut value = serde_json::to_value(gate.sealed(&case).entry()).unwrap();
        change(&mut value);
        gate.decide(&case, serde_json::from_value(value).unwrap());
        assert!(gate.codes().contains(&"log-decision"), "change {number}: {:?}", gate.review().findings);
    }
    // Too few.
    let mut gate = Gate::new();
    let mut case = gate.ask();
    ENOUGH.iter().for_each(|name| gate.answer(&mut case, name, Decision::Approve));
    let entry = gate.sealed(&case).entry();
    let mut fewer = gate.ask();
    fewer.challenge = case.challenge.clone();
    let mut other = Gate::new();
    let mut again = other.ask();
    assert_eq!(again.challenge.id, case.challenge.id);
    ENOUGH[1..].iter().for_each(|name| other.answer(&mut again, name, Decision::Approve));
    other.log(entry);
    assert!(other.codes().contains(&"log-decision"), "{:?}", other.review().findings);
}

#[test]
fn nothing_stands_before_what_it_follows() {
    let unknown: RequestId = "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9".parse().unwrap();
    let mut gate = Gate::new();
    gate.log(Entry::Used { at: at(4), grant: unknown, count: 1 });
    gate.assert_order("nothing was granted as that before");
    gate.log(Entry::Revoked { at: at(4), grant: unknown, by: "bob".into(), because: None });
    gate.assert_order("nothing was granted");
    gate.log(Entry::Countersigned { at: at(4), request: unknown, settled_by: unknown });
    gate.assert_order("left no debt");
    gate.log(Entry::Rejected { at: at(4), request: unknown, person: "bob".into(), code: "tier".into() });
    gate.assert_order("was never asked");
    let case = Case { challenge: gate.challenge(), revision: 0, approvals: vec![], answers: vec![] };
    gate.log(gate.judged(&case.challenge, "bob", Decision::Approve).1);
    gate.assert_order("was never asked");
    gate.log(gate.ended(&case, Outcome::Withdrawn, &[], at(3)));
    gate.assert_order("was never asked");

    let mut gate = Gate::new();
    let case = gate.grant();
    let id = case.challenge.id;
    gate.log(Entry::Used { at: at(4), grant: id, count: 2 });
    gate.assert_order("it may be used 1 times");
    gate.log(gate.sealed(&case).entry());
    gate.assert_order("was decided before");
    gate.log(gate.judged(&case.challenge, "tina", Decision::Approve).1);
    gate.assert_order("was approved before this answer");
    gate.log(Entry::Asked { at: at(1), challenge: case.challenge.to_text() });
    gate.assert_order("was asked before");

    let mut gate = Gate::new();
    let id = gate.grant().challenge.id;
    gate.use_once(id);
    gate.log(Entry::Used { at: at(5), grant: id, count: 1 });
    gate.assert_order("it was used 1 times before");
    let id = gate.grant().challenge.id;
    gate.log(Entry::Used { at: at(100_000), grant: id, count: 1 });
    gate.assert_order("it expired");
    let id = gate.grant().challenge.id;
    gate.log(Entry::Revoked { at: at(4), grant: id, by: "bob".into(), because: None });
    gate.log(Entry::Used { at: at(4), grant: id, count: 1 });
    gate.assert_order("it was revoked before");
    gate.log(Entry::Revoked { at: at(4), grant: id, by: "bob".into(), because: None });
    gate.assert_order("was revoked before");
}

#[test]
fn requests_end_as_they_can_and_answers_count_once() {
    let mut gate = Gate::new();
    let mut case = gate.ask();
    gate.answer(&mut case, "bob", Decision::Approve);
    gate.log(gate.judged(&case.challenge, "bob", Decision::Approve).1);
    gate.assert_order("gave this answer");
    gate.log(gate.ended(&case, Outcome::Expired, &[], at(3)));
    gate.assert_order("it was open until");
    let case = gate.ask();
    gate.log(gate.ended(&case, Outcome::Superseded, &[], at(3)));
    gate.assert_order("no other version of trust");
    let case = gate.ask();
    gate.log(gate.ended(&case, Outcome::Refused, &["bob"], at(3)));
    gate.assert_order("nobody of that name refused");
    let case = gate.ask();
    gate.log(gate.ended(&case, Outcome::Approved, &["bob"], at(3)));
    assert!(gate.codes().contains(&"log-decision"));
    // What is answered must be what was asked.
    let case = gate.ask();
    let mut other = gate.challenge();
    other.id = case.challenge.id;
    gate.log(gate.judged(&other, "bob", Decision::Approve).1);
    gate.assert_order("something else than what was asked");
    let another = gate.challenge().to_text();
    gate.log(Entry::Asked { at: at(5), challenge: another });
    gate.assert_order("asked at 2026-11-20T04:07:05Z, issued at");
}

#[test]
fn nothing_is_done_under_trust_that_was_replaced() {
    let mut gate = Gate::new();
    let mut case = gate.ask();
    ENOUGH.iter().for_each(|name| gate.answer(&mut case, name, Decision::Approve));
    let next = TrustVersion { number: 8, digest: Sha256Digest::of(b"next") };
    gate.log(Entry::Trust { at: at(3), version: next });
    gate.decide(&case, gate.sealed(&case).entry());
    gate.assert_order("while 8 sha256:");
    gate.log(gate.judged(&case.challenge, "tina", Decision::Refuse { because: None }).1);
    gate.assert_order("while 8 sha256:");
    gate.ask();
    gate.assert_order("while 8 sha256:");
    gate.log(Entry::Trust { at: at(3), version: gate.trust.version });
    gate.assert_order("version 7 of trust after version 8");
    let text: Vec<_> = gate.review().findings.iter().map(ToString::to_string).collect();
    assert!(text.iter().any(|text| text.contains("the files of version 8 are not kept")), "{text:?}");

    let mut gate = Gate::empty();
    gate.ask();
    gate.assert_order("never came into force");
}

#[test]
fn a_log_full_of_nonsense_is_told_of_briefly() {
    let gate = Gate::new();
    let unknown: RequestId = "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9".parse().unwrap();
    let entry = |count| Op::Log(Entry::Used { at: at(4), grant: unknown, count });
    gate.write(&(1..=150).map(entry).collect::<Vec<_>>());
    let found = gate.review();
    assert_eq!((found.findings.len(), found.found), (100, 150));
}
