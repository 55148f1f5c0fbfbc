//! Evidence: one file that shows a decision years later, to anybody who kept one digest, without us.
//!
//! ```json
//! {
//!   "touchgate": "evidence v1",
//!   "challenge": "touchgate v1 challenge\naudience: approve.example.com\n…",
//!   "answers": [{ "statement": "touchgate v1 approve\n…", "signature": "-----BEGIN PGP SIGNATURE-----\n…" }],
//!   "trust": {
//!     "version": "7 sha256:5891b5b5…", "size": 12,
//!     "files": [{ "path": "policy.toml", "index": 3, "text": "audience = …", "proof": ["sha256:…"] }]
//!   },
//!   "after": { "version": "8 sha256:b5bb9d80…", "size": 13, "files": […] },
//!   "decision": { "outcome": "approved", "at": "2026-11-20T04:09:30Z" },
//!   "grant": { "jti": "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9" },
//!   "log": { "index": 17, "entry": "{…}", "proof": ["sha256:…"], "checkpoint": "approve.example.com\n18\n…" }
//! }
//! ```
//!
//! `after` stands in updates of trust alone: the files of the version that they lead to.
//! What is read is not believed: [`Evidence::parse`] sees to shapes and bounds alone.

mod collect;
mod error;
mod file;
mod gate;
mod judge;
mod later;
mod log;
mod strict;

use sequoia_openpgp::Fingerprint;
use serde_json::{Map, Value};

use crate::audit::LogProof;
use crate::audit::entry::Outcome;
use crate::challenge::{Challenge, TrustVersion};
use crate::digest::Sha256Digest;
use crate::response::Response;
use crate::statement::Statement;
use crate::trust::manifest::FileProof;
use crate::unix_time::UnixTime;
use crate::verify::{self, Rejection};

pub use error::EvidenceError;
pub use gate::{Attempt, Passable, gate};
pub use judge::{Against, Checked, Verdict, judge};
pub use later::{Change, Later};
pub use log::Time;

/// The most bytes in one file: what a trust update with a hundred answers takes, several times over.
pub const MAX_EVIDENCE: usize = 4 << 20;
/// The most answers in it: twice what the slots of a rule may ask for.
pub const MAX_ANSWERS: usize = 200;

/// A decision and what it was made of. Nothing in it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What was asked, as it was issued.
    pub challenge: Challenge,
    /// What people answered, by key and then by statement.
    answers: Vec<Answered>,
    /// The files of trust that it is judged by.
    pub trust: Carried,
    /// Of an update of trust, what it leads to: the same files of the version after.
    pub after: Option<Carried>,
    /// How it ended; absent as long as answers are collected.
    pub decision: Option<Decided>,
    /// The claims of the grant that came of it.
    pub grant: Option<Map<String, Value>>,
    /// That the decision stands in the log.
    pub log: Option<LogProof>,
}

/// An answer, and what the verifier adds to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    key: Fingerprint,
    statement: Statement,
    /// The statement's bytes.
    text: String,
    /// One packet, binary.
    signature: Vec<u8>,
    counter: Option<String>,
    received: Option<UnixTime>,
}

/// The files of one version of trust that were needed, each with the proof that it belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Which version.
    pub version: TrustVersion,
    /// How many files it has.
    pub size: u64,
    /// By path, each once.
    pub files: Vec<FileProof>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// How.
    pub outcome: Outcome,
    /// By the verifier's clock.
    pub at: UnixTime,
}

impl Answered {
    /// Takes an answer, the attestation of a counter that came with it (PEM), and when it came.
    ///
    /// # Errors
    /// If its statement or its signature is none.
    pub fn new(
        response: &Response,
        counter: Option<String>,
        received: Option<UnixTime>,
    ) -> Result<Self, Rejection> {
        let statement = Statement::parse(&response.statement)?;
        let (key, signature) = verify::issuer_and_packet(&response.signature)?;
        let text = statement.to_text();
        Ok(Self { key, statement, text, signature, counter, received })
    }

    /// The same of an answer that was verified, which need not be read again.
    pub(crate) fn verified(answer: &verify::Answer, counter: Option<String>, received: UnixTime) -> Self {
        let Response { statement, signature } = answer.response();
        Self {
            key: answer.key().clone(),
            statement: answer.challenge().clone().decided(answer.decision().clone()),
            // What was read as a statement is ASCII.
            text: String::from_utf8_lossy(statement).into_owned(),
            signature: verify::binary(signature),
            counter,
            received: Some(received),
        }
    }

    /// The key that the signature names.
    pub fn key(&self) -> &Fingerprint {
        &self.key
    }

    /// Statement and signature.
    pub fn response(&self) -> Response {
        Response { statement: self.text.clone().into_bytes(), signature: self.signature.clone() }
    }

    /// What was signed.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The attestation of the key's counter that came with it, PEM.
    pub fn counter(&self) -> Option<&str> {
        self.counter.as_deref()
    }

    /// When it came, by the verifier's clock.
    pub fn received(&self) -> Option<UnixTime> {
        self.received
    }
}

impl Evidence {
    /// Puts together what is to be shown; the order of the answers does not matter, and none stands twice.
    ///
    /// # Errors
    /// [`EvidenceError::TooMany`].
    pub fn new(challenge: Challenge, answers: Vec<Answered>, trust: Carried) -> Result<Self, EvidenceError> {
        let mut evidence = Self {
            challenge,
            answers: Vec::new(),
            trust,
            after: None,
            decision: None,
            grant: None,
            log: None,
        };
        for answer in answers {
            evidence.add(answer)?;
        }
        Ok(evidence)
    }

    /// Adds an answer; one that is there already changes nothing.
    ///
    /// # Errors
    /// [`EvidenceError::TooMany`].
    pub fn add(&mut self, answer: Answered) -> Result<(), EvidenceError> {
        let place = self.answers.binary_search_by(|other| order(other).cmp(&order(&answer)));
        let Err(at) = place else { return Ok(()) };
        if self.answers.len() >= MAX_ANSWERS {
            return Err(EvidenceError::TooMany { what: "answers", most: MAX_ANSWERS });
        }
        self.answers.insert(at, answer);
        Ok(())
    }

    /// What people answered, by key and then by statement.
    pub fn answers(&self) -> &[Answered] {
        &self.answers
    }

    /// What the log's entry names: a digest over statements, signatures and attestations, so that nothing of them can
    /// be left out, added or exchanged afterwards. Proofs, decision and grant are not in it.
    ///
    /// SHA-256 over the line `touchgate evidence v1`, then part by part a line of name and length in bytes, and the
    /// bytes themselves: for each answer, by fingerprint of its key and then by statement, `statement`, `signature`
    /// (the packet, binary) and, if there is one, `counter` (PEM); then for each `tokens/*.attestation.pem`, by path,
    /// `attestation`. Every line ends in LF.
    pub fn digest(&self) -> Sha256Digest {
        let mut bytes = b"touchgate evidence v1\n".to_vec();
        let mut part = |name: &str, content: &[u8]| {
            bytes.extend_from_slice(format!("{name} {}\n", content.len()).as_bytes());
            bytes.extend_from_slice(content);
        };
        for answer in &self.answers {
            part("statement", answer.text.as_bytes());
            part("signature", &answer.signature);
            if let Some(counter) = &answer.counter {
                part("counter", counter.as_bytes());
            }
        }
        for file in self.trust.files.iter().filter(|file| is_attestation(&file.path)) {
            part("attestation", &file.bytes);
        }
        Sha256Digest::of(&bytes)
    }
}

fn order(answer: &Answered) -> (&[u8], &str) {
    (answer.key.as_bytes(), &answer.text)
}

fn is_attestation(path: &str) -> bool {
    path.starts_with("tokens/") && path.ends_with(".attestation.pem")
}
