//! A verifier of the tests' own, in a home of its own: writes what one writes, and anything else that it is told to.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;
use touchgate::audit::entry::{Entry, Outcome};
use touchgate::audit::review::{Against, Review, review};
use touchgate::audit::{LogKey, LogSigner, SignedCheckpoint};
use touchgate::challenge::{Challenge, RequestId, Terms, TrustVersion};
use touchgate::evidence::{self, Evidence};
use touchgate::grant::{SealedGrant, write_private};
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

use crate::case::fixtures;
use crate::packets::Recipe;
use crate::people;

pub(crate) const ENOUGH: [&str; 3] = ["bob", "carol", "dave"];

pub(crate) fn at(offset: u64) -> UnixTime {
    UnixTime::from_seconds("2026-11-20T04:07:00Z".parse::<UnixTime>().unwrap().seconds() + offset).unwrap()
}

/// A verifier of this test's own: writes what one writes, and anything else that it is told to.
pub(crate) struct Gate {
    pub(crate) directory: TempDir,
    pub(crate) store: Sqlite,
    pub(crate) key: LogKey,
    pub(crate) trust: Trust,
    pub(crate) files: Files,
    pub(crate) asked: u8,
}

/// A request under way.
pub(crate) struct Case {
    pub(crate) challenge: Challenge,
    pub(crate) revision: u32,
    pub(crate) approvals: Vec<Approval>,
    pub(crate) answers: Vec<evidence::Answered>,
}

impl Gate {
    /// With no trust in force yet.
    pub(crate) fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (signer, secret) = LogSigner::generate("approve.example.com").unwrap();
        let key = signer.key().clone();
        let mut files = read_directory(&fixtures("trust/team")).unwrap();
        let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
        let listed = format!("log_key = \"{key}\"\n{policy}tier = \"declared\"\n");
        files.insert("policy.toml".into(), listed.into_bytes());
        let trust = Trust::from_files(&files).unwrap();
        let config = directory.path().join(".config/touchgate");
        for (path, bytes) in &files {
            let path = config.join("trust").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        fs::write(config.join("pin"), format!("{}\n", trust.version)).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o700)).unwrap();
        let state = directory.path().join(".local/state/touchgate");
        write_private(&state.join("keys/log.pk8"), &secret).unwrap();
        let store = Sqlite::open(&state.join("store.db"), signer).unwrap();
        Self { directory, store, key, trust, files, asked: 0 }
    }

    pub(crate) fn new() -> Self {
        let gate = Self::empty();
        gate.trust_in_force(&gate.files, None);
        gate
    }

    /// Puts a version into force.
    pub(crate) fn trust_in_force(&self, files: &Files, before: Option<TrustVersion>) {
        let version = Trust::from_files(files).unwrap().version;
        self.write(&[
            Op::Trust { version, before, files: files.clone() },
            Op::Log(Entry::Trust { at: at(0), version }),
        ]);
    }

    pub(crate) fn write(&self, change: &[Op]) {
        self.store.commit(change).unwrap();
    }

    pub(crate) fn log(&self, entry: Entry) {
        self.write(&[Op::Log(entry)]);
    }

    pub(crate) fn challenge(&mut self) -> Challenge {
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

    pub(crate) fn ask(&mut self) -> Case {
        let challenge = self.challenge();
        self.write(&[
            Op::Open(Box::new(challenge.clone())),
            Op::Log(Entry::Asked { at: at(1), challenge: challenge.to_text() }),
        ]);
        Case { challenge, revision: 0, approvals: Vec::new(), answers: Vec::new() }
    }

    /// What `name` signs, judged, and the entry for it.
    pub(crate) fn judged(&self, challenge: &Challenge, name: &str, decision: Decision) -> (Verified, Entry) {
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

    pub(crate) fn answer(&self, case: &mut Case, name: &str, decision: Decision) {
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
    pub(crate) fn sealed(&self, case: &Case) -> SealedGrant {
        let approvals = case.approvals.clone();
        let met =
            quorum::decide(&self.trust, &case.challenge, approvals, Circumstances::default(), at(3)).unwrap();
        let manifest = Manifest::new(self.files.clone());
        let shown = Evidence::collect(case.challenge.clone(), case.answers.clone(), &self.trust, &manifest);
        SealedGrant::new(met, shown.unwrap().digest(), at(3))
    }

    pub(crate) fn decide(&self, case: &Case, entry: Entry) {
        let close = self.close(case, Outcome::Approved);
        self.write(&[close, Op::Grant(self.sealed(case).record()), Op::Log(entry)]);
    }

    pub(crate) fn close(&self, case: &Case, outcome: Outcome) -> Op {
        Op::Close { request: case.challenge.id, revision: case.revision, outcome }
    }

    /// Asked, approved by enough people and granted.
    pub(crate) fn grant(&mut self) -> Case {
        let mut case = self.ask();
        ENOUGH.iter().for_each(|name| self.answer(&mut case, name, Decision::Approve));
        self.decide(&case, self.sealed(&case).entry());
        case
    }

    pub(crate) fn use_once(&self, grant: RequestId) {
        let entry = Entry::Used { at: at(4), grant, count: 1 };
        self.write(&[Op::Use { grant, count: 1, at: at(4) }, Op::Log(entry)]);
    }

    /// Every ending there is.
    pub(crate) fn busy() -> Self {
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

    /// More entries than are judged at a time, several times over: what ended before is put away.
    pub(crate) fn go_on(&self) {
        let open = self.store.open_requests().unwrap();
        let rejected =
            Entry::Rejected { at: at(4), request: open[0], person: "pam".into(), code: "tier".into() };
        self.write(&vec![Op::Log(rejected); 7000]);
    }

    pub(crate) fn ended(&self, case: &Case, outcome: Outcome, by: &[&str], at: UnixTime) -> Entry {
        let by = by.iter().map(|&name| name.to_owned()).collect();
        Entry::Decided { at, request: case.challenge.id, outcome, by, evidence: None, grant: None }
    }

    pub(crate) fn review(&self) -> Review {
        self.against(&[])
    }

    pub(crate) fn against(&self, kept: &[SignedCheckpoint]) -> Review {
        let threads = NonZeroUsize::new(2).unwrap();
        let against = Against { kept, ..Against::key(&self.key, threads) };
        review(&self.store, &against, |_, _| {}).unwrap()
    }

    /// Judged by a pin and the updates from there.
    pub(crate) fn along(&self, way: &[TrustVersion]) -> Review {
        let against = Against { way, ..Against::key(&self.key, NonZeroUsize::MIN) };
        review(&self.store, &against, |_, _| {}).unwrap()
    }

    /// The codes of what is found, each once, in their order.
    pub(crate) fn codes(&self) -> Vec<&'static str> {
        let mut codes: Vec<_> = self.review().findings.iter().map(|finding| finding.wrong.code()).collect();
        codes.dedup();
        codes
    }

    /// Whether the one finding at the last entry says this.
    pub(crate) fn assert_order(&self, words: &str) {
        let found = self.review();
        let last = found.entries - 1;
        let at_last = found.findings.iter().find(|finding| finding.index == Some(last));
        let text = at_last.map(|finding| finding.to_string()).unwrap_or_default();
        assert!(text.contains(words), "{words:?} not in {:?}", found.findings);
        assert_eq!(at_last.unwrap().wrong.code(), "log-order", "{text}");
    }

    /// What the verifier keeps.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join(".local/state/touchgate")
    }

    /// Changes the file below the store.
    pub(crate) fn tamper(&self, sql: &str) {
        let db = rusqlite::Connection::open(self.state().join("store.db")).unwrap();
        assert!(db.execute(sql, []).unwrap() > 0, "{sql}");
    }
}
