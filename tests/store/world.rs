//! A store in a directory of its own, and what may be written into it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sequoia_openpgp::Fingerprint;
use tempfile::TempDir;
use touchgate::audit::entry::Outcome;
use touchgate::audit::{Entry, LogSigner};
use touchgate::challenge::{Challenge, RequestId, Terms, TrustVersion};
use touchgate::digest::Sha256Digest;
use touchgate::request::{Mode, Parameters, Request};
use touchgate::response::Response;
use touchgate::statement::Decision;
use touchgate::store::sqlite::Sqlite;
use touchgate::store::{AnswerRecord, GrantRecord, Op, StoreError};
use touchgate::unix_time::UnixTime;
use touchgate::verify::Counter;

pub(crate) const ORIGIN: &str = "approve.example.com";

/// A directory with a store and the key of its log.
pub(crate) struct Home {
    directory: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self { directory: tempfile::tempdir().unwrap() };
        let (_, pkcs8) = LogSigner::generate(ORIGIN).unwrap();
        fs::write(home.directory.path().join("log.pk8"), &*pkcs8).unwrap();
        home
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("store.db")
    }

    pub(crate) fn signer(&self) -> LogSigner {
        signer(&self.path())
    }

    pub(crate) fn try_open(&self) -> Result<Sqlite, StoreError> {
        Sqlite::open(&self.path(), self.signer())
    }

    pub(crate) fn open(&self) -> Sqlite {
        self.try_open().unwrap()
    }
}

/// The signer whose key lies beside a store.
pub(crate) fn signer(store: &Path) -> LogSigner {
    let pkcs8 = fs::read(store.with_file_name("log.pk8")).unwrap();
    LogSigner::from_pkcs8(ORIGIN, &pkcs8).unwrap()
}

pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(1_795_000_000 + seconds).unwrap()
}

/// The challenge of this number; the number is also its short code.
pub(crate) fn challenge(number: u64) -> Challenge {
    let request = Request {
        action: "deploy".parse().unwrap(),
        resource: "payments/prod".parse().unwrap(),
        parameters: Parameters::new(),
        requester: "github:alice".parse().unwrap(),
        via: None,
        requester_key: None,
        reason: None,
        mode: Mode::Ordinary,
    };
    let terms = Terms {
        audience: ORIGIN.parse().unwrap(),
        trust: TrustVersion { number: 1, digest: Sha256Digest::of(b"trust") },
        answer_within: Duration::from_secs(900),
    };
    let mut randomness = [0; 42];
    randomness[2..10].copy_from_slice(&number.to_be_bytes());
    randomness[10..18].copy_from_slice(&number.to_be_bytes());
    Challenge::issue(request, terms, at(0), randomness).unwrap()
}

pub(crate) fn id(number: u64) -> RequestId {
    challenge(number).id
}

pub(crate) fn open(number: u64) -> Op {
    Op::Open(Box::new(challenge(number)))
}

pub(crate) fn asked(number: u64) -> Op {
    Op::Log(Entry::Asked { at: at(0), challenge: challenge(number).to_text() })
}

/// What `person` answered.
pub(crate) fn answer(number: u64, person: &str, decision: &Decision) -> AnswerRecord {
    let statement = challenge(number).decided(decision.clone()).to_text().into_bytes();
    let signature = b"-----BEGIN PGP SIGNATURE-----\n".repeat(8);
    AnswerRecord {
        person: person.to_owned(),
        decision: decision.word(),
        response: Response { statement, signature },
        counter: None,
        at: at(60),
    }
}

pub(crate) fn step(number: u64, revision: u32, person: &str) -> Op {
    let answer = Box::new(answer(number, person, &Decision::Approve));
    Op::Step { request: id(number), revision, answer }
}

pub(crate) fn answered(number: u64, person: &str) -> Op {
    let AnswerRecord { decision, response, .. } = answer(number, person, &Decision::Approve);
    Op::Log(Entry::Answered {
        at: at(60),
        request: id(number),
        person: person.to_owned(),
        decision: decision.to_owned(),
        key: "1D9BD4B7C989BC7A2F8E8E19BF68CFB7F8F830A9".to_owned(),
        serial: "12345678".to_owned(),
        acr: "touch-attested".to_owned(),
        statement: String::from_utf8(response.statement).unwrap(),
        signature: String::from_utf8(response.signature).unwrap(),
        counter: None,
        signatures: None,
        unseen: None,
    })
}

pub(crate) fn close(number: u64, revision: u32, outcome: Outcome) -> Op {
    Op::Close { request: id(number), revision, outcome }
}

pub(crate) fn decided(number: u64, outcome: Outcome) -> Op {
    let by = vec!["alice".to_owned()];
    Op::Log(Entry::Decided { at: at(60), request: id(number), outcome, by, evidence: None, grant: None })
}

pub(crate) fn record(number: u64, uses: u32) -> GrantRecord {
    let claims = format!("{{\"jti\":\"{}\",\"iss\":\"{ORIGIN}\"}}", id(number));
    GrantRecord { request: id(number), claims, expires: at(1000), uses, used: 0, revoked: None }
}

pub(crate) fn spend(number: u64, count: u32) -> Op {
    Op::Use { count, grant: id(number), at: at(100) }
}

pub(crate) fn used(number: u64, count: u32) -> Op {
    Op::Log(Entry::Used { at: at(100), grant: id(number), count })
}

/// Answered, decided and granted at once, as the last approval does it.
pub(crate) fn approved(number: u64, uses: u32) -> Vec<Op> {
    vec![
        step(number, 0, "alice"),
        answered(number, "alice"),
        close(number, 1, Outcome::Approved),
        Op::Grant(record(number, uses)),
        decided(number, Outcome::Approved),
    ]
}

pub(crate) fn key(number: u64) -> Fingerprint {
    let mut bytes = [7; 20];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Fingerprint::from_bytes(4, &bytes).unwrap()
}

pub(crate) fn counter(highest: u32) -> Counter {
    Counter { highest, unseen: -2, reported: 7, at: at(60) }
}
