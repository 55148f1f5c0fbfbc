//! Evidence as a file: JSON with exactly these keys, each at most once; any layout is read, one is written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::audit::LogProof;
use crate::audit::entry::Outcome;
use crate::audit::tree::MAX_PROOF;
use crate::challenge::{Challenge, TrustVersion};
use crate::digest::Sha256Digest;
use crate::evidence::{
    Answered, Carried, Decided, Evidence, EvidenceError, MAX_ANSWERS, MAX_EVIDENCE, strict,
};
use crate::response::{Response, armored};
use crate::trust::manifest::{FileProof, MAX_PROVED};
use crate::unix_time::UnixTime;
use crate::wire::present;

/// What stands under `touchgate`: the format and its version.
const FORMAT: &str = "evidence v1";

/// The whole file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EvidenceFile {
    touchgate: String,
    challenge: String,
    answers: Vec<AnswerFile>,
    trust: TrustFile,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    after: Option<TrustFile>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    decision: Option<DecisionFile>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "strict::object")]
    grant: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    log: Option<LogProof>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerFile {
    statement: String,
    signature: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    counter: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    received: Option<UnixTime>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    version: TrustVersion,
    size: u64,
    files: Vec<ProvedFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvedFile {
    path: String,
    index: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    base64: Option<String>,
    proof: Vec<Sha256Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionFile {
    outcome: Outcome,
    at: UnixTime,
}

impl Evidence {
    /// Reads a file, and believes nothing of it.
    ///
    /// # Errors
    /// [`EvidenceError::TooLarge`], `Malformed`, `TooMany`, `Answer` and `Challenge`.
    pub fn parse(bytes: &[u8]) -> Result<Self, EvidenceError> {
        if bytes.len() > MAX_EVIDENCE {
            return Err(EvidenceError::TooLarge { length: bytes.len() });
        }
        let file: EvidenceFile = serde_json::from_slice(bytes).map_err(malformed)?;
        if file.touchgate != FORMAT {
            return Err(malformed(format!("touchgate: {:?}, not {FORMAT:?}", file.touchgate)));
        }
        bounded("answers", file.answers.len(), MAX_ANSWERS)?;
        let challenge = Challenge::parse(file.challenge.as_bytes()).map_err(EvidenceError::Challenge)?;
        let mut evidence = Self {
            challenge,
            answers: Vec::new(),
            trust: carried_of(file.trust)?,
            after: file.after.map(carried_of).transpose()?,
            decision: file.decision.map(|DecisionFile { outcome, at }| Decided { outcome, at }),
            grant: file.grant,
            log: file.log,
        };
        for (index, answer) in file.answers.into_iter().enumerate() {
            let response =
                Response { statement: answer.statement.into(), signature: answer.signature.into() };
            let answer = Answered::new(&response, answer.counter, answer.received)
                .map_err(|rejection| EvidenceError::Answer { index, rejection })?;
            let before = evidence.answers.len();
            evidence.add(answer)?;
            if evidence.answers.len() == before {
                return Err(malformed(format!("answer {index} stands twice")));
            }
        }
        Ok(evidence)
    }

    /// The file: two spaces a level, keys in the order of the format, ending in a line feed.
    pub fn to_json(&self) -> String {
        let answer = |answer: &Answered| AnswerFile {
            statement: answer.text.clone(),
            signature: armored(&answer.signature),
            counter: answer.counter.clone(),
            received: answer.received,
        };
        let file = |file: &FileProof| {
            let text = std::str::from_utf8(&file.bytes).ok();
            ProvedFile {
                path: file.path.clone(),
                index: file.index,
                text: text.map(str::to_owned),
                base64: text.is_none().then(|| STANDARD.encode(&file.bytes)),
                proof: file.proof.clone(),
            }
        };
        let trust = |Carried { version, size, files }: &Carried| TrustFile {
            version: *version,
            size: *size,
            files: files.iter().map(file).collect(),
        };
        let whole = EvidenceFile {
            touchgate: FORMAT.into(),
            challenge: self.challenge.to_text(),
            answers: self.answers.iter().map(answer).collect(),
            trust: trust(&self.trust),
            after: self.after.as_ref().map(trust),
            decision: self.decision.map(|Decided { outcome, at }| DecisionFile { outcome, at }),
            grant: self.grant.clone(),
            log: self.log.clone(),
        };
        let mut text = serde_json::to_string_pretty(&whole).expect("strings and numbers are always JSON");
        text.push('\n');
        text
    }
}

fn carried_of(file: TrustFile) -> Result<Carried, EvidenceError> {
    let TrustFile { version, size, files } = file;
    bounded("files of trust", files.len(), MAX_PROVED)?;
    let mut proofs: Vec<FileProof> = Vec::new();
    for file in files {
        let file = carried(file)?;
        if proofs.last().is_some_and(|before| before.path >= file.path) {
            return Err(malformed(format!("the files of trust are not in order at {:?}", file.path)));
        }
        proofs.push(file);
    }
    Ok(Carried { version, size, files: proofs })
}

fn carried(file: ProvedFile) -> Result<FileProof, EvidenceError> {
    let ProvedFile { path, index, text, base64, proof } = file;
    bounded("hashes in a file's proof", proof.len(), MAX_PROOF)?;
    let bytes = match (text, base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => STANDARD
            .decode(base64)
            .map_err(|error| malformed(format!("trust file {path:?}: base64: {error}")))?,
        _ => return Err(malformed(format!("trust file {path:?} has not one of text and base64"))),
    };
    Ok(FileProof { path, bytes, index, proof })
}

fn bounded(what: &'static str, found: usize, most: usize) -> Result<(), EvidenceError> {
    if found > most { Err(EvidenceError::TooMany { what, most }) } else { Ok(()) }
}

fn malformed(reason: impl ToString) -> EvidenceError {
    EvidenceError::Malformed { reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::proof::Hashes;

    const CHALLENGE: &str = "touchgate v1 challenge\naudience: approve.example.com\n\
        request: 01KA8Y3V0GQ4M7ZT6XWB1HJ5C9\naction: deploy\nresource: payments/prod\n\
        requester: github:alice\n\
        trust: 7 sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\n\
        nonce: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n\
        issued: 2026-11-20T04:07:00Z\nexpires: 2026-11-20T04:22:00Z\n";

    /// Without answers, for those take keys: `tests/evidence.rs` has them.
    fn evidence() -> Evidence {
        let challenge = Challenge::parse(CHALLENGE.as_bytes()).unwrap();
        let file = |path: &str, bytes: &[u8]| FileProof {
            path: path.into(),
            bytes: bytes.to_vec(),
            index: 1,
            proof: vec![Sha256Digest::of(b"x"); MAX_PROOF],
        };
        let files = vec![file("policy.toml", b"audience = \"\xc3\xa4\"\n"), file("tokens/1.asc", b"\xff\0")];
        let trust = Carried { version: challenge.trust, size: 5, files };
        let mut evidence = Evidence::new(challenge, Vec::new(), trust).unwrap();
        let at = "2026-11-20T04:09:30Z".parse().unwrap();
        evidence.decision = Some(Decided { outcome: Outcome::Approved, at });
        evidence.grant = serde_json::from_str("{\"a\":[1,{\"b\":null}],\"c\":-1,\"d\":true}").unwrap();
        let proof = Hashes(vec![Sha256Digest::of(b"y")]);
        evidence.log = Some(LogProof { index: 0, entry: "{}".into(), proof, checkpoint: "note\n".into() });
        evidence
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut evidence = evidence();
        for _ in 0..2 {
            let text = evidence.to_json();
            assert_eq!(Evidence::parse(text.as_bytes()).unwrap(), evidence);
            // Any layout is read.
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(Evidence::parse(value.to_string().as_bytes()).unwrap(), evidence);
            (evidence.decision, evidence.grant, evidence.log) = (None, None, None);
        }
    }

    #[test]
    fn no_key_is_unknown_missing_null_or_there_twice() {
        let whole = evidence().to_json();
        let code = |text: &str| Evidence::parse(text.as_bytes()).unwrap_err().code();
        // One more key, or one of its keys once more, at the beginning of each object.
        for (at, _) in whole.match_indices('{').filter(|(at, _)| !whole[*at..].starts_with("{}")) {
            let (before, after) = whole.split_at(at + 1);
            let key = &after[after.find('"').unwrap()..=after.find(':').unwrap()];
            let inside_grant = whole[..at].contains("\"grant\"") && !whole[..at].contains("\"log\": ");
            if !inside_grant {
                assert_eq!(code(&format!("{before}\"unknown\": 1,{after}")), "evidence-malformed");
            }
            for value in ["1", "\"\"", "null", "{}", "[]"] {
                let twice = format!("{before}{key} {value},{after}");
                assert_eq!(code(&twice), "evidence-malformed", "{twice}");
            }
        }
        let value: Value = serde_json::from_str(&whole).unwrap();
        for key in value.as_object().unwrap().keys() {
            let mut null = value.clone();
            null[key] = Value::Null;
            assert_eq!(code(&null.to_string()), "evidence-malformed", "{key}");
        }
        for key in ["touchgate", "challenge", "answers", "trust"] {
            let mut less = value.clone();
            less.as_object_mut().unwrap().remove(key);
            assert_eq!(code(&less.to_string()), "evidence-malformed", "{key}");
        }
        for (old, new) in [
            ("evidence v1", "evidence v2"),
            ("\"c\": -1", "\"c\": 1.5"),
            ("\"c\": -1", "\"c\": 1e400"),
            ("\"size\": 5", "\"size\": -5"),
            ("\"base64\": \"/wA=\"", "\"base64\": \"/wA\""),
            ("\"base64\": \"/wA=\"", "\"base64\": \"/wB=\""),
            ("\"base64\": \"/wA=\"", "\"base64\": \"/wA=\", \"text\": \"a\""),
            ("\"base64\": \"/wA=\",", ""),
            ("tokens/1.asc", "policy.toml"),
            ("tokens/1.asc", "a"),
            ("\"approved\"", "\"granted\""),
        ] {
            assert!(whole.contains(old), "{old}");
            assert_eq!(code(&whole.replace(old, new)), "evidence-malformed", "{old} {new}");
        }
        assert_eq!(code(&whole.replace("requester:", "request:")), "duplicate-line");
        assert_eq!(code(&format!("{whole}x")), "evidence-malformed");
    }

    #[test]
    fn nothing_is_longer_than_its_bound() {
        let code = |evidence: &Evidence| {
            Evidence::parse(evidence.to_json().as_bytes()).map(|_| ()).map_err(|error| error.code())
        };
        let hash = Sha256Digest::of(b"");
        let mut file_proof = evidence();
        file_proof.trust.files[0].proof.push(hash);
        assert_eq!(code(&file_proof), Err("evidence-too-many"));
        let mut log_proof = evidence();
        log_proof.log.as_mut().unwrap().proof = Hashes(vec![hash; MAX_PROOF]);
        assert_eq!(code(&log_proof), Ok(()));
        log_proof.log.as_mut().unwrap().proof.0.push(hash);
        assert_eq!(code(&log_proof), Err("evidence-malformed"));
        let mut files = evidence();
        files.trust.files = (0..=MAX_PROVED)
            .map(|at| FileProof {
                path: format!("people/{at:05}"),
                bytes: Vec::new(),
                index: 0,
                proof: Vec::new(),
            })
            .collect();
        assert_eq!(code(&files), Err("evidence-too-many"));
        files.trust.files.pop();
        assert_eq!(code(&files), Ok(()));
        let mut large = evidence().to_json().into_bytes();
        large.resize(MAX_EVIDENCE, b' ');
        assert!(Evidence::parse(&large).is_ok());
        large.push(b' ');
        assert_eq!(Evidence::parse(&large).unwrap_err().code(), "evidence-too-large");
        let deep = evidence().to_json().replace("[\n      1,", &"[".repeat(100_000));
        assert_eq!(Evidence::parse(deep.as_bytes()).unwrap_err().code(), "evidence-malformed");
    }
}
