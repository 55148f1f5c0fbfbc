//! Whole ceremonies over the real store, two verifiers at once, killed at any moment: nothing is granted without its
//! entry, nothing is answered or used twice, and the log is one.
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

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use case::fixtures;
use packets::Recipe;
use touchgate::audit::entry::Outcome;
use touchgate::audit::note::Signature;
use touchgate::audit::tree::{Tree, leaf_hash};
use touchgate::audit::{Entry, LogSigner, SignedCheckpoint, WitnessKey};
use touchgate::challenge::{Challenge, RequestId};
use touchgate::grant::{Algorithm, GrantSigner};
use touchgate::request::{Mode, Request};
use touchgate::response::Response;
use touchgate::statement::Decision;
use touchgate::store::Store as _;
use touchgate::store::sqlite::Sqlite;
use touchgate::text::Text;
use touchgate::trust::manifest::Manifest;
use touchgate::trust::{Trust, read_directory};
use touchgate::unix_time::UnixTime;
use touchgate::verifier::{Answered, Verifier, VerifierError};

/// Ceremonies that begin: `CEREMONIES=10000` for a night.
const CEREMONIES: usize = 500;
/// Tells the child where the store is.
const STORE: &str = "TOUCHGATE_TEST_CEREMONIES";
const NAME: &str = "approve.example.com";

fn now() -> UnixTime {
    "2026-11-20T04:12:00Z".parse().unwrap()
}

fn random(end: u64) -> u64 {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).unwrap();
    u64::from_be_bytes(bytes) % end
}

/// A folder with a store's keys in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        std::fs::write(home.0.path().join("log.pk8"), LogSigner::generate(NAME).unwrap().1).unwrap();
        let grant = GrantSigner::generate(Algorithm::Es256).unwrap();
        std::fs::write(home.0.path().join("grant.pk8"), grant).unwrap();
        home
    }

    fn store(path: &Path) -> Sqlite {
        let key = std::fs::read(path.join("log.pk8")).unwrap();
        Sqlite::open(&path.join("store.db"), LogSigner::from_pkcs8(NAME, &key).unwrap()).unwrap()
    }

    fn verifier<'a>(store: &'a Sqlite, path: &Path) -> Verifier<'a> {
        let files = read_directory(&fixtures("trust/team")).unwrap();
        let trust = Trust::from_files(&files).unwrap();
        let key = std::fs::read(path.join("grant.pk8")).unwrap();
        let signer = GrantSigner::from_pkcs8("1", &key).unwrap();
        Verifier::new(store, trust, Manifest::new(files), signer, now()).unwrap()
    }
}

fn request() -> Request {
    let commit = Text::new("git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e").unwrap();
    Request {
        action: "deploy".parse().unwrap(),
        resource: "payments/prod".parse().unwrap(),
        parameters: [("commit".parse().unwrap(), commit)].into(),
        requester: "github:alice".parse().unwrap(),
        via: None,
        requester_key: None,
        reason: None,
        mode: Mode::Ordinary,
    }
}

fn signed(challenge: &Challenge, name: &str, refuses: bool) -> Response {
    let decision = if refuses { Decision::Refuse { because: None } } else { Decision::Approve };
    let statement = challenge.clone().decided(decision).to_text().into_bytes();
    let mut key = people::signer(name);
    let signature = Recipe::plain(&key, u32::try_from(now().seconds()).unwrap()).sign(&mut key, &statement);
    Response { statement, signature }
}

/// Not a test: what the processes do that are killed. A ceremony after the other, each answer by two threads at once.
#[test]
#[ignore = "started by the test below"]
fn child() {
    let Some(path) = std::env::var_os(STORE).map(PathBuf::from) else { return };
    let store = Home::store(&path);
    let verifier = Home::verifier(&store, &path);
    let say = |words: String| {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "\n@ {words} .").and_then(|()| out.flush());
    };
    loop {
        let mut seed = || {
            let mut bytes = [0; 42];
            rand::fill(&mut bytes).unwrap();
            bytes
        };
        let challenge = verifier.issue(&request(), now(), &mut seed).unwrap();
        say(format!("asked {}", challenge.id));
        let refuses = random(8) == 0;
        for (name, refuses) in [("carol", false), ("bob", false), ("dave", refuses)] {
            let response = signed(&challenge, name, refuses);
            let answer = || verifier.answer(&response, None, None, now()).unwrap();
            let both = thread::scope(|scope| {
                let other = scope.spawn(answer);
                [answer(), other.join().unwrap()]
            });
            let counted =
                both.iter().filter(|a| !matches!(a, Answered::Rejected(_) | Answered::Late(_))).count();
            assert_eq!(counted, 1, "one answer counted {counted} times");
            let approved = both.into_iter().find_map(|answered| match answered {
                Answered::Approved(approved) => Some(approved),
                _ => None,
            });
            if let Some(approved) = approved {
                let grant = verifier.open(*approved, now()).unwrap().grant;
                say(format!("granted {}", challenge.id));
                let uses = thread::scope(|scope| {
                    let again = || verifier.use_grant(&grant, now()).is_ok();
                    let other = scope.spawn(again);
                    usize::from(again()) + usize::from(other.join().unwrap())
                });
                assert_eq!(uses, 1, "a grant for one use was used {uses} times");
                say(format!("used {}", challenge.id));
            }
        }
    }
}

/// The child and what it says.
struct Running(Child, JoinHandle<Vec<String>>);

impl Running {
    fn start(path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(STORE, path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let reader = thread::spawn(move || {
            // The last line may be half a line.
            let said = output.lines().map_while(Result::ok);
            said.filter_map(|l| Some(l.strip_prefix("@ ")?.strip_suffix(" .")?.to_owned())).collect()
        });
        Self(child, reader)
    }

    /// Ends it in the middle of whatever it does; a child that ended by itself failed.
    fn kill(mut self) -> Vec<String> {
        assert!(self.0.try_wait().unwrap().is_none(), "the verifier ended by itself");
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        self.1.join().unwrap()
    }
}

#[derive(Default)]
struct Told {
    answers: BTreeSet<(String, String)>,
    outcome: Option<Outcome>,
    granted: bool,
    uses: u32,
}

/// What holds of every store, whatever happened to it. Gives the log and how many ceremonies stand in it.
fn check(store: &Sqlite, before: &[String], said: &[String]) -> (Vec<String>, usize) {
    let lines = store.lines(0, usize::MAX).unwrap();
    assert!(lines.starts_with(before), "the log was rewritten");
    let mut tree = Tree::default();
    let mut told: BTreeMap<RequestId, Told> = BTreeMap::new();
    for line in &lines {
        tree.append(leaf_hash(line.as_bytes()));
        match Entry::parse(line.as_bytes()).unwrap() {
            Entry::Asked { challenge, .. } => {
                let id = Challenge::parse(challenge.as_bytes()).unwrap().id;
                assert!(told.insert(id, Told::default()).is_none());
            }
            Entry::Answered { request, person, decision, .. } => {
                assert!(told.get_mut(&request).unwrap().answers.insert((person, decision)), "twice");
            }
            Entry::Decided { request, outcome, grant, .. } => {
                let told = told.get_mut(&request).unwrap();
                assert!(told.outcome.replace(outcome).is_none(), "decided twice");
                told.granted = grant.is_some();
                let approvals = told.answers.iter().filter(|(_, decision)| decision == "approve").count();
                assert_eq!(told.granted, approvals == 3, "{request}");
            }
            Entry::Used { grant, count, .. } => {
                let told = told.get_mut(&grant).unwrap();
                assert!(told.granted && told.uses + 1 == count && count == 1, "{grant}");
                told.uses = count;
            }
            Entry::Trust { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    let checkpoint = store.checkpoint().unwrap();
    assert_eq!((checkpoint.checkpoint().size, checkpoint.checkpoint().root), (tree.size(), tree.root()));
    for (id, told) in &told {
        let record = store.request(id).unwrap().unwrap();
        assert_eq!((record.answers.len(), record.outcome), (told.answers.len(), told.outcome), "{id}");
        let grant = store.grant(id).unwrap();
        assert_eq!(grant.map(|grant| grant.used), told.granted.then_some(told.uses), "{id}");
    }
    // What anybody was told before the kill is there.
    for line in said {
        let (word, id) = line.split_once(' ').unwrap();
        let told = &told[&id.parse().unwrap()];
        match word {
            "granted" => assert!(told.granted, "{line}"),
            "used" => assert_eq!(told.uses, 1, "{line}"),
            _ => {}
        }
    }
    (lines, told.len())
}

#[test]
fn killed_at_random_moments_nothing_is_granted_that_is_not_logged() {
    let wanted = std::env::var("CEREMONIES").map_or(CEREMONIES, |text| text.parse().unwrap());
    let (mut began, mut kills) = (0, 0);
    while began < wanted {
        // A new store now and then, so that looking at all of it stays short.
        let home = Home::new();
        let mut before = Vec::new();
        for _ in 0..5 {
            let children = [Running::start(home.0.path()), Running::start(home.0.path())];
            thread::sleep(std::time::Duration::from_millis(random(900)));
            let said: Vec<String> = children.into_iter().flat_map(Running::kill).collect();
            kills += 2;
            let store = Home::store(home.0.path());
            let (lines, count) = check(&store, &before, &said);
            if before.is_empty() {
                println!("{count} ceremonies, {} entries", lines.len());
            }
            before = lines;
        }
        let count = |line: &&String| line.contains("\"type\":\"asked\"");
        began += before.iter().filter(count).count();
    }
    println!("{began} ceremonies, {kills} kills");
}

/// A verifier that goes on under trust that another process has replaced asks, decides and spends nothing any more.
#[test]
fn nothing_is_done_under_trust_that_was_replaced() {
    let home = Home::new();
    let store = Home::store(home.0.path());
    let verifier = Home::verifier(&store, home.0.path());
    let mut seed = || {
        let mut bytes = [0; 42];
        rand::fill(&mut bytes).unwrap();
        bytes
    };
    let challenge = verifier.issue(&request(), now(), &mut seed).unwrap();
    for name in ["carol", "bob"] {
        verifier.answer(&signed(&challenge, name, false), None, None, now()).unwrap();
    }
    // Two more are decided: the grant of one is open, that of the other is sealed.
    let [granted, sealed] = [(); 2].map(|()| {
        let challenge = verifier.issue(&request(), now(), &mut seed).unwrap();
        let answers = ["carol", "bob", "dave"].map(|name| signed(&challenge, name, false));
        let mut said = answers.map(|answer| verifier.answer(&answer, None, None, now()).unwrap()).into_iter();
        let Some(Answered::Approved(approved)) = said.next_back() else { panic!() };
        *approved
    });
    let granted = verifier.open(granted, now()).unwrap().grant;
    // Elsewhere version 8 comes into force: the same people, another number.
    let mut files = read_directory(&fixtures("trust/team")).unwrap();
    let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
    files.insert("policy.toml".into(), policy.replace("version     = 7", "version     = 8").into_bytes());
    let trust = Trust::from_files(&files).unwrap();
    let key = std::fs::read(home.0.path().join("grant.pk8")).unwrap();
    let elsewhere = Home::store(home.0.path());
    let signer = GrantSigner::from_pkcs8("1", &key).unwrap();
    Verifier::new(&elsewhere, trust, Manifest::new(files), signer, now()).unwrap();
    let size = store.checkpoint().unwrap().checkpoint().size;
    assert!(verifier.issue(&request(), now(), &mut seed).is_err());
    let late = verifier.answer(&signed(&challenge, "dave", false), None, None, now());
    assert!(!matches!(late, Ok(Answered::Approved(_) | Answered::Waiting { .. })), "{late:?}");
    assert!(verifier.use_grant(&granted, now()).is_err());
    assert_eq!(store.checkpoint().unwrap().checkpoint().size, size, "something was logged");
    assert_eq!(store.request(&challenge.id).unwrap().unwrap().outcome, Some(Outcome::Superseded));
    // The grant is one that version 8 would give as well.
    assert_eq!(store.grant(&granted.id()).unwrap().unwrap().revoked, None);
    // But who did not open it yet does not open it any more.
    assert!(matches!(verifier.open(sealed, now()), Err(VerifierError::Trust { .. })));
    // Nor can a verifier of the old version begin.
    let old = read_directory(&fixtures("trust/team")).unwrap();
    let signer = GrantSigner::from_pkcs8("1", &key).unwrap();
    let old = Manifest::new(old);
    let back = Verifier::new(&elsewhere, Trust::from_manifest(&old).unwrap(), old, signer, now());
    assert!(matches!(back, Err(VerifierError::Trust { .. })));
}

/// Trust that demands a witness: the decision stands in the log, and gives nothing until one saw it there.
#[test]
fn a_grant_stays_sealed_until_the_witness_saw_the_decision() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let key = WitnessKey::new("w.example", pair.public_key().as_ref().try_into().unwrap()).unwrap();
    let home = Home::new();
    let store = Home::store(home.0.path());
    let mut files = read_directory(&fixtures("trust/team")).unwrap();
    let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
    let policy = policy.replacen("version ", "witnesses_needed = 1\nversion ", 1);
    files.insert("policy.toml".into(), format!("{policy}\n[[witness]]\nkey = \"{key}\"\n").into_bytes());
    let manifest = Manifest::new(files);
    let trust = Trust::from_manifest(&manifest).unwrap();
    let signer =
        GrantSigner::from_pkcs8("1", &std::fs::read(home.0.path().join("grant.pk8")).unwrap()).unwrap();
    let verifier = Verifier::new(&store, trust, manifest, signer, now()).unwrap();
    let mut seed = || {
        let mut bytes = [0; 42];
        rand::fill(&mut bytes).unwrap();
        bytes
    };
    let mut approved = || {
        let challenge = verifier.issue(&request(), now(), &mut seed).unwrap();
        let answers = ["carol", "bob", "dave"].map(|name| signed(&challenge, name, false));
        let mut said = answers.map(|answer| verifier.answer(&answer, None, None, now()).unwrap()).into_iter();
        let Some(Answered::Approved(approved)) = said.next_back() else { panic!() };
        (challenge.id, *approved)
    };
    let see_by = |clock: fn(u64) -> u64| {
        let mut note = store.checkpoint().unwrap().note().clone();
        let seconds = clock(now().seconds());
        let made = pair.sign(format!("cosignature/v1\ntime {seconds}\n{}", note.text()).as_bytes());
        let bytes = [seconds.to_be_bytes().as_slice(), made.as_ref()].concat();
        note.add(Signature { name: key.name().to_owned(), id: key.id(), bytes }).unwrap();
        let log = store.checkpoint().unwrap().key().clone();
        let witnesses = &verifier.trust().witnesses;
        store
            .witness(&SignedCheckpoint::open(note.to_string().as_bytes(), &log, witnesses).unwrap())
            .unwrap();
    };
    let see = || see_by(|now| now);
    // Nobody saw it; then one saw what was before it.
    for _ in 0..2 {
        let (id, unseen) = approved();
        assert!(matches!(verifier.open(unseen, now()), Err(VerifierError::Store(_))));
        assert!(store.grant(&id).unwrap().unwrap().revoked.is_some());
        see();
    }
    let (id, seen) = approved();
    see();
    let granted = verifier.open(seen, now()).unwrap();
    assert_eq!(granted.receipt.checkpoint().witnessed().unwrap().by, "w.example");
    assert!(granted.evidence.log.unwrap().checkpoint.contains("— w.example "));
    verifier.use_grant(&granted.grant, now()).unwrap();
    // By a clock that shows nothing, however the cosignature came into the store; in time, and then not any more.
    for clock in [|now| now - 20 * 60, |now| now + 3600] {
        let (id, seen) = approved();
        see_by(clock);
        assert!(matches!(verifier.receipt(&seen), Err(VerifierError::SeenAt { .. })));
        assert!(matches!(verifier.open(seen, now()), Err(VerifierError::SeenAt { .. })));
        assert!(store.grant(&id).unwrap().unwrap().revoked.is_some());
    }
    let (_, seen) = approved();
    see();
    let ended = verifier.open(seen, verifier.trust().valid_until);
    assert!(matches!(ended, Err(VerifierError::TrustEnded { .. })));
    // Taken back while the witness was awaited.
    let (taken, seen) = approved();
    see();
    verifier.revoke_grant(&taken, "carol", None, now()).unwrap();
    assert!(matches!(verifier.open(seen, now()), Err(VerifierError::TakenBack(_))));
    assert!(store.grant(&id).unwrap().unwrap().revoked.is_none());
}
