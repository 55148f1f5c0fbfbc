//! Whatever somebody with the file could change, leave out, add or exchange, and the step that stops it.

use serde_json::{Value, json};
use touchgate::audit::entry::Outcome;
use touchgate::audit::proof::Hashes;
use touchgate::audit::{Entry, LogProof};
use touchgate::challenge::{Challenge, TrustVersion};
use touchgate::digest::Sha256Digest;
use touchgate::evidence::{Against, Answered, Evidence, judge};
use touchgate::response::Response;
use touchgate::statement::Decision;
use touchgate::text::Text;
use touchgate::trust::manifest::FileProof;
use touchgate::unix_time::UnixTime;

use crate::log::Log;
use crate::scene::{
    Version, after, answer, answered, approval, approved, bare, bare_under, challenge_of, decided, grant,
    issued, judged, next_trust, now, request, team, version,
};

/// Evidence that was tampered with, and what the reader holds against it.
struct Attack {
    evidence: Evidence,
    pin: TrustVersion,
    next: Option<LogProof>,
    now: UnixTime,
}

impl Attack {
    fn outcome(&self) -> Result<(), &'static str> {
        let against = Against { next: self.next.as_ref(), ..Against::pin(self.pin) };
        let read = Evidence::parse(self.evidence.to_json().as_bytes()).map_err(|error| error.code())?;
        judge(&read, &against, self.now).map(|_| ()).map_err(|error| error.code())
    }

    /// Logs this entry instead, in an otherwise genuine log.
    fn log(&mut self, entry: &Entry) {
        let mut log = Log::new();
        let index = log.append(entry);
        self.evidence.log = Some(log.proof(index, &[(0, after(65))]));
    }

    /// The genuine entry, changed.
    fn entry(&mut self, change: impl Fn(&mut Value)) {
        let line = self.evidence.log.as_ref().unwrap().entry.clone();
        let mut value: Value = serde_json::from_str(&line).unwrap();
        change(&mut value);
        self.log(&Entry::parse(value.to_string().as_bytes()).unwrap());
    }

    fn log_proof(&mut self) -> &mut LogProof {
        self.evidence.log.as_mut().unwrap()
    }

    fn file(&mut self, path: &str) -> &mut FileProof {
        self.evidence.trust.files.iter_mut().find(|file| file.path == path).unwrap()
    }

    fn remove(&mut self, paths: &[&str]) {
        self.evidence.trust.files.retain(|file| !paths.contains(&file.path.as_str()));
    }

    fn claim(&mut self, name: &str, value: Value) {
        self.evidence.grant.as_mut().unwrap().insert(name.into(), value);
    }

    /// The same with other answers, to the same challenge, without grant and log.
    fn answers(&mut self, answers: Vec<Answered>) {
        let old = bare();
        let mut new = Evidence::new(old.challenge.clone(), answers, old.trust.clone()).unwrap();
        new.decision = old.decision;
        self.evidence = new;
    }

    fn challenge(&self) -> Challenge {
        self.evidence.challenge.clone()
    }
}

/// Name, code, what is done to genuine evidence.
type Row = (&'static str, &'static str, fn(&mut Attack));

const WHAT_IS_JUDGED_BY: &[Row] = &[
    ("another digest is pinned for that number", "trust-pin-differs", |a| {
        a.pin.digest = Sha256Digest::of(b"fork")
    }),
    ("an older version is pinned", "pin-older", |a| a.pin.number = 6),
    ("a newer version is pinned", "pin-newer", |a| a.pin.number = 8),
    ("files of another version than it was asked under", "trust-version", |a| {
        let other = bare_under(&version(8, &Log::keys()));
        (a.evidence.trust, a.pin) = (other.trust.clone(), other.trust.version);
    }),
    ("files of another version under this one's name", "file-not-proved", |a| {
        let name = a.evidence.trust.version;
        a.evidence.trust = bare_under(&version(8, &Log::keys())).trust;
        a.evidence.trust.version = name;
    }),
    ("a weaker policy", "file-not-proved", |a| {
        let file = a.file("policy.toml");
        let text = String::from_utf8(file.bytes.clone()).unwrap();
        file.bytes = text.replace("count = 2", "count = 1").into_bytes();
    }),
    ("a person in one more group", "file-not-proved", |a| {
        let file = a.file("people/carol.toml");
        let text = String::from_utf8(file.bytes.clone()).unwrap();
        file.bytes = text.replace("\"release\"", "\"release\", \"security\"").into_bytes();
    }),
    ("another certificate", "file-not-proved", |a| {
        let other = a.file("tokens/1003.asc").bytes.clone();
        a.file("tokens/1002.asc").bytes = other;
    }),
    ("two files under each other's names", "file-not-proved", |a| {
        let (bob, carol) = (a.file("people/bob.toml").clone(), a.file("people/carol.toml").clone());
        *a.file("people/bob.toml") = FileProof { path: bob.path.clone(), ..carol.clone() };
        *a.file("people/carol.toml") = FileProof { path: carol.path, ..bob };
    }),
    ("a file at another place", "file-not-proved", |a| a.file("people/bob.toml").index += 1),
    ("a file beyond the end", "file-not-proved", |a| a.file("people/bob.toml").index = u64::MAX),
    ("a version of no files", "file-not-proved", |a| a.evidence.trust.size = 0),
    ("a version of one file", "file-not-proved", |a| a.evidence.trust.size = 1),
    ("a version of more files than can be counted", "file-not-proved", |a| a.evidence.trust.size = u64::MAX),
    ("a proof with a hash less", "file-not-proved", |a| a.file("policy.toml").proof.truncate(2)),
    ("a proof with a hash more", "file-not-proved", |a| {
        a.file("policy.toml").proof.push(Sha256Digest::of(b""));
    }),
    ("a proof with other hashes", "file-not-proved", |a| {
        a.file("policy.toml").proof[0] = Sha256Digest::of(b"");
    }),
    ("a proof with two hashes exchanged", "file-not-proved", |a| a.file("policy.toml").proof.swap(0, 1)),
    ("another file's proof", "file-not-proved", |a| {
        a.file("policy.toml").proof = a.file("people/bob.toml").proof.clone();
    }),
    ("a file that is none of trust", "file-not-proved", |a| {
        a.file("tokens/1004.asc").path = "versions/7.json".into();
    }),
    ("a file outside", "file-not-proved", |a| {
        a.file("tokens/1004.asc").path = "tokens/1004/../../policy.toml".into()
    }),
    ("a file larger than any", "file-not-proved", |a| a.file("policy.toml").bytes.resize(1 << 20 | 1, b'#')),
    ("no policy", "bad-trust", |a| a.remove(&["policy.toml"])),
    ("no files", "bad-trust", |a| a.evidence.trust.files.clear()),
    ("without the requester's record", "unknown-requester", |a| a.remove(&["people/sam.toml"])),
    ("without a certificate", "unknown-signer", |a| a.remove(&["tokens/1002.asc"])),
    ("without a record, but for its certificate", "bad-trust", |a| a.remove(&["people/bob.toml"])),
    ("without record and certificate", "unknown-signer", |a| {
        a.remove(&["people/bob.toml", "tokens/1002.asc"]);
    }),
    ("a trust that had ended", "trust-expired", |a| {
        let mut files = team().files.clone();
        let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
        let policy = policy.replace("2027-03-01T00:00:00Z", "2026-11-20T04:07:30Z");
        files.insert("policy.toml".into(), policy.into_bytes());
        let version = Version::new(files);
        (a.evidence, a.pin) = (bare_under(&version), version.trust.version);
    }),
];

const WHAT_WAS_ANSWERED: &[Row] = &[
    ("an approval less", "quorum-not-met", |a| {
        let challenge = a.challenge();
        a.answers(vec![approval(&challenge, "bob"), approval(&challenge, "carol")]);
    }),
    ("no answers", "quorum-not-met", |a| a.answers(Vec::new())),
    ("one person with two tokens instead of two", "replayed", |a| {
        let mut files = team().files.clone();
        let carol = String::from_utf8(files.remove("people/carol.toml").unwrap()).unwrap();
        let token = carol.split_once("[[token]]").unwrap().1;
        files.get_mut("people/bob.toml").unwrap().extend(format!("\n[[token]]{token}").into_bytes());
        let version = Version::new(files);
        let challenge = challenge_of(&version, request());
        let answers = ["bob", "carol", "dave"].map(|name| approval(&challenge, name)).to_vec();
        a.evidence = decided(&version, &challenge, answers, Outcome::Approved);
        a.pin = version.trust.version;
    }),
    ("a signature over a refusal under an approval", "bad-signature", |a| {
        let challenge = a.challenge();
        let refusal = answer(&challenge, "bob", Decision::Refuse { because: None }, 30);
        let mut yes = answer(&challenge, "bob", Decision::Approve, 30);
        yes.signature = refusal.signature;
        let yes = Answered::new(&yes, None, None).unwrap();
        a.answers(vec![yes, approval(&challenge, "carol"), approval(&challenge, "dave")]);
    }),
    ("a statement of another request among them", "unknown-request", |a| {
        let mut other = a.challenge();
        other.id = "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9".parse().unwrap();
        let challenge = a.challenge();
        let answers =
            vec![approval(&other, "bob"), approval(&challenge, "carol"), approval(&challenge, "dave")];
        a.answers(answers);
    }),
    ("a statement with another parameter", "altered", |a| {
        let mut other = a.challenge();
        let commit = "git:91ab77c06b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e".to_owned();
        other.request.parameters.insert("commit".parse().unwrap(), Text::new(commit).unwrap());
        let challenge = a.challenge();
        let answers =
            vec![approval(&other, "bob"), approval(&challenge, "carol"), approval(&challenge, "dave")];
        a.answers(answers);
    }),
    ("statements of another nonce", "altered", |a| {
        let mut other = a.challenge();
        other.nonce = "A".repeat(43).parse().unwrap();
        let answers = ["bob", "carol", "dave"].map(|name| approval(&other, name)).to_vec();
        a.answers(answers);
    }),
    ("another resource, in challenge and statements", "bad-signature", |a| {
        let from = a.evidence.to_json();
        let to = from.replace("resource: payments/prod", "resource: payments/test");
        a.evidence = Evidence::parse(to.as_bytes()).unwrap();
    }),
    ("another resource, in the challenge alone", "altered", |a| {
        a.evidence.challenge.request.resource = "payments/test".parse().unwrap();
    }),
    ("another audience", "wrong-audience", |a| {
        let mut challenge = a.challenge();
        challenge.audience = "other.example.com".parse().unwrap();
        let answers = ["bob", "carol", "dave"].map(|name| approval(&challenge, name)).to_vec();
        a.answers(answers);
        a.evidence.challenge = challenge;
    }),
    ("open for longer than the rule allows", "lifetime", |a| {
        let mut challenge = a.challenge();
        challenge.expires = after(16 * 60);
        let answers = ["bob", "carol", "dave"].map(|name| approval(&challenge, name)).to_vec();
        a.answers(answers);
        a.evidence.challenge = challenge;
    }),
    ("somebody on nobody's record", "unknown-signer", |a| more(a, "mallory")),
    ("somebody in none of the groups", "not-allowed", |a| more(a, "quinn")),
    ("somebody whose touch nobody vouches for", "tier", |a| more(a, "pam")),
    ("a key that was revoked", "certificate-revoked", |a| more(a, "kim")),
    ("a key that had expired", "certificate-expired", |a| more(a, "ivan")),
    ("a subkey that never signed back", "no-back-signature", |a| more(a, "nina")),
    ("a certificate with a broken hash", "certificate-invalid", |a| more(a, "olaf")),
    ("the requester's own approval", "not-allowed", |a| {
        let own = touchgate::request::Request { requester: "os:bob@build1".parse().unwrap(), ..request() };
        let challenge = challenge_of(team(), own);
        let answers = ["bob", "carol", "dave"].map(|name| approval(&challenge, name)).to_vec();
        a.evidence = decided(team(), &challenge, answers, Outcome::Approved);
    }),
    ("signed long before it was asked", "creation-time", |a| {
        let mut early = a.challenge();
        early.issued = after(0);
        let mut response = answer(&early, "bob", Decision::Approve, 0);
        let key = crate::people::signer("bob");
        let created = u32::try_from(issued().seconds() - 301).unwrap();
        response.signature =
            crate::packets::Recipe::plain(&key, created).sign(&mut key.clone(), &response.statement);
        with(a, &response);
    }),
    ("signed long after it was decided", "creation-time", |a| {
        let response = answer(&a.challenge(), "bob", Decision::Approve, 60 + 301);
        with(a, &response);
    }),
    ("received before it was asked", "answer-time", |a| received(a, issued().seconds() - 1)),
    ("received after it was decided", "answer-time", |a| received(a, after(61).seconds())),
    ("a counter that is none", "counter-not-believed", |a| {
        let challenge = a.challenge();
        let response = answer(&challenge, "bob", Decision::Approve, 30);
        let counter = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
        let bob = Answered::new(&response, Some(counter), None).unwrap();
        a.answers(vec![bob, approval(&challenge, "carol"), approval(&challenge, "dave")]);
    }),
];

const HOW_IT_ENDED: &[Row] = &[
    ("no decision yet", "undecided", |a| a.evidence.decision = None),
    ("expired", "nobodys-decision", |a| outcome(a, Outcome::Expired)),
    ("withdrawn", "nobodys-decision", |a| outcome(a, Outcome::Withdrawn)),
    ("superseded", "nobodys-decision", |a| outcome(a, Outcome::Superseded)),
    ("refused by nobody", "no-refusal", |a| {
        a.evidence.grant = None;
        outcome(a, Outcome::Refused);
    }),
    ("approved over a refusal", "refused-too", |a| {
        let challenge = a.challenge();
        let mut answers: Vec<Answered> = bare().answers().to_vec();
        answers.push(answered(&challenge, "tina", Decision::Refuse { because: None }));
        let evidence = decided(team(), &challenge, answers, Outcome::Approved);
        a.evidence = evidence;
    }),
    ("approved over one's own refusal", "refused-too", |a| {
        let challenge = a.challenge();
        let mut answers: Vec<Answered> = bare().answers().to_vec();
        answers.push(answered(&challenge, "bob", Decision::Refuse { because: None }));
        a.evidence = decided(team(), &challenge, answers, Outcome::Approved);
    }),
    ("decided before it was asked", "decision-time", |a| decided_at(a, issued().seconds() - 1)),
    ("decided when it had expired", "decision-time", |a| {
        decided_at(a, a.evidence.challenge.expires.seconds());
    }),
    ("decided in the future", "decision-time", |a| {
        a.now = UnixTime::from_seconds(after(60).seconds() - 301).unwrap()
    }),
    ("decided before the last answer", "answer-time", |a| decided_at(a, after(39).seconds())),
    ("decided at another second", "grant-differs", |a| decided_at(a, after(59).seconds())),
];

const WHAT_IT_PERMITS: &[Row] = &[
    ("for longer", "grant-differs", |a| a.claim("exp", json!(now().seconds() + 100))),
    ("for shorter", "grant-differs", |a| a.claim("exp", json!(after(61).seconds()))),
    ("from earlier", "grant-differs", |a| a.claim("nbf", json!(after(0).seconds()))),
    ("made earlier", "grant-differs", |a| a.claim("iat", json!(after(0).seconds()))),
    ("touched later", "grant-differs", |a| a.claim("auth_time", json!(after(60).seconds()))),
    ("for somebody else", "grant-differs", |a| a.claim("sub", json!("github:mallory"))),
    ("for another gate", "grant-differs", |a| a.claim("aud", json!("other.example.com"))),
    ("by another verifier", "grant-differs", |a| a.claim("iss", json!("https://other.example.com"))),
    ("under another name", "grant-differs", |a| a.claim("jti", json!("01KA8Y3V0GQ4M7ZT6XWB1HJ5C9"))),
    ("of a stronger tier", "grant-differs", |a| a.claim("acr", json!("urn:touchgate:touch-attested"))),
    ("by other means", "grant-differs", |a| a.claim("amr", json!(["hwk", "user", "pin"]))),
    ("with another key", "grant-differs", |a| a.claim("cnf", json!({ "jkt": "A".repeat(43) }))),
    ("of other evidence", "grant-differs", |a| a.claim("evidence", json!(Sha256Digest::of(b"")))),
    ("more often", "grant-differs", |a| a.evidence.grant.as_mut().unwrap()["step_up"]["uses"] = json!(2)),
    ("for parts", "grant-differs", |a| a.evidence.grant.as_mut().unwrap()["step_up"]["narrow"] = json!(true)),
    ("on another resource", "grant-differs", |a| {
        a.evidence.grant.as_mut().unwrap()["authorization_details"][0]["resource"] = json!("payments/test");
    }),
    ("with another parameter", "grant-differs", |a| {
        a.evidence.grant.as_mut().unwrap()["authorization_details"][0]["parameters"]["commit"] =
            json!("git:00");
    }),
    ("with one claim more", "grant-differs", |a| a.claim("admin", json!(true))),
    ("with one claim less", "grant-differs", |a| drop(a.evidence.grant.as_mut().unwrap().remove("cnf"))),
    ("with no claims", "grant-differs", |a| a.evidence.grant.as_mut().unwrap().clear()),
    ("though it was refused", "grant-differs", |a| {
        let challenge = a.challenge();
        let refusal = answered(&challenge, "bob", Decision::Refuse { because: None });
        let grant = a.evidence.grant.take();
        a.evidence = decided(team(), &challenge, vec![refusal], Outcome::Refused);
        a.evidence.grant = grant;
    }),
];

const WHAT_THE_LOG_SAYS: &[Row] = &[
    ("its grant left out", "log-entry-differs", |a| a.evidence.grant = None),
    ("an approval that came too late to be needed", "log-entry-differs", |a| {
        let (log, challenge) = (a.evidence.log.take(), a.challenge());
        let mut answers: Vec<Answered> = a.evidence.answers().to_vec();
        answers.push(approval(&challenge, "erin"));
        a.evidence = decided(team(), &challenge, answers, Outcome::Approved);
        grant(&mut a.evidence, team());
        a.evidence.log = log;
    }),
    ("another signature by the same key", "log-entry-differs", |a| {
        let (log, challenge) = (a.evidence.log.take(), a.challenge());
        let again = Answered::new(&answer(&challenge, "bob", Decision::Approve, 31), None, None).unwrap();
        let answers = vec![again, approval(&challenge, "carol"), approval(&challenge, "dave")];
        a.evidence = decided(team(), &challenge, answers, Outcome::Approved);
        grant(&mut a.evidence, team());
        a.evidence.log = log;
    }),
    ("refused, in the log", "log-entry-differs", |a| {
        let at = after(60);
        let request = a.evidence.challenge.id;
        let by = vec!["tina".to_owned()];
        a.log(&Entry::Decided { at, request, outcome: Outcome::Refused, by, evidence: None, grant: None });
    }),
    ("withdrawn, in the log", "log-entry-differs", |a| {
        a.entry(|entry| entry["outcome"] = json!("withdrawn"))
    }),
    ("the entry of another request", "log-entry-differs", |a| {
        a.entry(|entry| entry["request"] = json!("01KA8Y3V0GQ4M7ZT6XWB1HJ5C9"));
    }),
    ("the entry of another moment", "log-entry-differs", |a| a.entry(|entry| entry["at"] = json!(after(61)))),
    ("the entry of other people", "log-entry-differs", |a| {
        a.entry(|entry| entry["by"] = json!(["bob", "carol", "tina"]));
    }),
    ("the entry with one more of them", "log-entry-differs", |a| {
        a.entry(|entry| entry["by"] = json!(["bob", "carol", "carol", "dave"]));
    }),
    ("the entry of other answers", "log-entry-differs", |a| {
        a.entry(|entry| entry["evidence"] = json!(Sha256Digest::of(b"")));
    }),
    ("the entry without their digest", "log-entry-differs", |a| {
        a.entry(|entry| drop(entry.as_object_mut().unwrap().remove("evidence")));
    }),
    ("the entry of another grant", "log-entry-differs", |a| {
        a.entry(|entry| entry["grant"]["step_up"]["uses"] = json!(2));
    }),
    ("the entry without grant", "log-entry-differs", |a| {
        a.entry(|entry| drop(entry.as_object_mut().unwrap().remove("grant")));
    }),
    ("an entry of another kind", "log-entry-differs", |a| a.log(&next_trust())),
    ("an entry in another spelling", "log-proof", |a| {
        let line = a.evidence.log.as_ref().unwrap().entry.replacen(':', ": ", 1);
        let mut log = Log::new();
        let index = log.append_line(&line);
        a.evidence.log = Some(log.proof(index, &[(0, after(65))]));
    }),
    ("an entry that is not what was proved", "log-proof", |a| {
        a.log_proof().entry = next_trust().to_line().unwrap();
    }),
    ("an entry at another place", "log-proof", |a| a.log_proof().index -= 1),
    ("an entry beyond the end", "log-proof", |a| a.log_proof().index = u64::MAX),
    ("a proof with a hash less", "log-proof", |a| a.log_proof().proof.0.truncate(1)),
    ("a proof with a hash more", "log-proof", |a| a.log_proof().proof.0.push(Sha256Digest::of(b""))),
    ("a proof of nothing", "log-proof", |a| a.log_proof().proof = Hashes::default()),
    ("a log of another key", "log-proof", |a| relog(a, Log::of("approve.example.com", 2))),
    ("a log of another verifier", "log-proof", |a| relog(a, Log::of("other.example.com", 1))),
    ("a checkpoint with another root", "log-proof", |a| {
        let note = a.log_proof().checkpoint.clone();
        let root = note.lines().nth(2).unwrap();
        a.log_proof().checkpoint = note.replace(root, &root.replacen(|c: char| c != 'A', "A", 1));
    }),
    ("a checkpoint with another size", "log-proof", |a| {
        a.log_proof().checkpoint = a.log_proof().checkpoint.replacen("\n7\n", "\n8\n", 1);
    }),
    ("a checkpoint that no witness saw", "log-proof", |a| seen(a, &[])),
    ("a witness's signature over another time", "log-proof", |a| {
        let (one, other) = (with_seen(a, &[(0, after(65))]), with_seen(a, &[(1, after(66))]));
        // The second witness's line with the first one's name and signature cannot hold.
        let line = |note: &str| note.lines().last().unwrap().to_owned();
        let forged = line(&one).replacen("witness0", "witness1", 1);
        a.log_proof().checkpoint = other.replace(&line(&other), &forged);
    }),
    ("a checkpoint without signature", "log-proof", |a| {
        let note = a.log_proof().checkpoint.clone();
        let lines: Vec<&str> = note.lines().filter(|line| !line.contains("approve.example.com ")).collect();
        a.log_proof().checkpoint = lines.join("\n") + "\n";
    }),
    ("a checkpoint that is none", "log-proof", |a| a.log_proof().checkpoint = String::new()),
    ("seen before it was decided", "decision-time", |a| {
        seen(a, &[(0, UnixTime::from_seconds(after(60).seconds() - 301).unwrap())])
    }),
    ("after the next version of trust", "superseded", |a| {
        let mut log = Log::new();
        let next = log.append(&next_trust());
        let entry = Entry::parse(a.evidence.log.as_ref().unwrap().entry.as_bytes()).unwrap();
        let index = log.append(&entry);
        a.evidence.log = Some(log.proof(index, &[(0, after(65))]));
        a.next = Some(log.proof(next, &[(0, after(130))]));
    }),
    ("held against the version after the next", "not-next-trust", |a| {
        next(a, &Entry::Trust { at: after(1), version: TrustVersion { number: 9, ..team().trust.version } });
    }),
    ("held against another entry", "not-next-trust", |a| {
        next(
            a,
            &Entry::Used { at: after(70), grant: "01KA8Y3V0GQ4M7ZT6XWB1HJ5C9".parse().unwrap(), count: 1 },
        );
    }),
    ("held against another log's", "log-proof", |a| {
        let mut log = Log::of("approve.example.com", 2);
        let index = log.append(&next_trust());
        a.next = Some(log.proof(index, &[(0, after(130))]));
    }),
    ("held against the same log, forked", "log-forked", |a| {
        let mut log = Log::new();
        log.append(&Entry::Used { at: after(70), grant: a.evidence.challenge.id, count: 1 });
        let index = log.append(&next_trust());
        a.next = Some(log.proof(index, &[(0, after(130))]));
    }),
    ("not in the log, where order is asked for", "not-logged", |a| {
        next(a, &next_trust());
        a.evidence.log = None;
    }),
    ("in a log that its trust does not name", "no-log-key", |a| {
        let silent = version(7, &(String::new(), String::new()));
        let log = a.evidence.log.take();
        a.evidence = bare_under(&silent);
        a.pin = silent.trust.version;
        a.evidence.log = log;
    }),
];

/// One more approval than genuine evidence has.
fn more(attack: &mut Attack, name: &str) {
    let challenge = attack.challenge();
    let mut answers: Vec<Answered> = bare().answers().to_vec();
    answers.push(approval(&challenge, name));
    if name == "mallory" {
        return attack.answers(answers);
    }
    attack.evidence = decided(team(), &challenge, answers, Outcome::Approved);
}

/// With this answer as bob's.
fn with(attack: &mut Attack, response: &Response) {
    let challenge = attack.challenge();
    let bob = Answered::new(response, None, None).unwrap();
    attack.answers(vec![bob, approval(&challenge, "carol"), approval(&challenge, "dave")]);
}

fn received(attack: &mut Attack, seconds: u64) {
    let challenge = attack.challenge();
    let response = answer(&challenge, "bob", Decision::Approve, 30);
    let bob = Answered::new(&response, None, UnixTime::from_seconds(seconds)).unwrap();
    attack.answers(vec![bob, approval(&challenge, "carol"), approval(&challenge, "dave")]);
}

fn outcome(attack: &mut Attack, outcome: Outcome) {
    attack.evidence.decision.as_mut().unwrap().outcome = outcome;
}

fn decided_at(attack: &mut Attack, seconds: u64) {
    attack.evidence.decision.as_mut().unwrap().at = UnixTime::from_seconds(seconds).unwrap();
}

/// The genuine entry in this log.
fn relog(attack: &mut Attack, mut log: Log) {
    let entry = Entry::parse(attack.evidence.log.as_ref().unwrap().entry.as_bytes()).unwrap();
    let index = log.append(&entry);
    attack.evidence.log = Some(log.proof(index, &[(0, after(65))]));
}

/// The genuine log's checkpoint, seen by these.
fn with_seen(attack: &Attack, seen: &[(u8, UnixTime)]) -> String {
    let mut log = Log::new();
    let entry = Entry::parse(attack.evidence.log.as_ref().unwrap().entry.as_bytes()).unwrap();
    let index = log.append(&entry);
    log.append(&next_trust());
    log.proof(index, seen).checkpoint
}

fn seen(attack: &mut Attack, seen: &[(u8, UnixTime)]) {
    let note = with_seen(attack, seen);
    attack.log_proof().checkpoint = note;
}

/// Holds the evidence against this entry of its log, as if by it the next version had come into force.
fn next(attack: &mut Attack, entry: &Entry) {
    let mut log = Log::new();
    let genuine = Entry::parse(attack.evidence.log.as_ref().unwrap().entry.as_bytes()).unwrap();
    log.append(&genuine);
    let index = log.append(entry);
    attack.next = Some(log.proof(index, &[(0, after(130))]));
}

fn held(rows: &[Row]) {
    let fresh = || Attack { evidence: approved(), pin: team().trust.version, next: None, now: now() };
    assert_eq!(fresh().outcome(), Ok(()));
    let mut wrong = Vec::new();
    for (name, code, change) in rows {
        let mut attack = fresh();
        change(&mut attack);
        let found = attack.outcome().err().unwrap_or("accepted");
        if found != *code {
            wrong.push(format!("{name}: {code} expected, found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nobody_changes_what_it_is_judged_by() {
    held(WHAT_IS_JUDGED_BY);
}

#[test]
fn nobody_changes_what_was_answered() {
    held(WHAT_WAS_ANSWERED);
}

#[test]
fn nobody_changes_how_it_ended() {
    held(HOW_IT_ENDED);
}

#[test]
fn nobody_changes_what_it_permits() {
    held(WHAT_IT_PERMITS);
}

#[test]
fn nobody_changes_what_the_log_says() {
    held(WHAT_THE_LOG_SAYS);
}

/// A refusal that is left out is not missed by whoever sees the evidence alone. The log has it, and says so with the
/// decision that came of it.
#[test]
fn a_refusal_that_was_left_out_shows_in_the_log_alone() {
    let mut evidence = bare();
    assert!(judged(&evidence, &team().against()).is_ok());
    grant(&mut evidence, team());
    let by = vec!["tina".to_owned()];
    let request = evidence.challenge.id;
    let refused =
        Entry::Decided { at: after(60), request, outcome: Outcome::Refused, by, evidence: None, grant: None };
    let mut log = Log::new();
    let index = log.append(&refused);
    evidence.log = Some(log.proof(index, &[(0, after(65))]));
    assert_eq!(judged(&evidence, &team().against()).unwrap_err(), "log-entry-differs");
}
