//! The store: an answer, the decision, its grant and both lines of the log as one durable change, beside the disk's
//! own rate of flushes.
//!
//! Wall clock, since it is the disk that is waited for; what is compared is taken in turns, in slices of one run.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use touchgate::audit::entry::Outcome;
use touchgate::audit::{Entry, LogSigner, Witnesses};
use touchgate::challenge::{Challenge, Terms};
use touchgate::digest::Sha256Digest;
use touchgate::request::Request;
use touchgate::response::{Response, armored};
use touchgate::statement::Decision;
use touchgate::store::sqlite::Sqlite;
use touchgate::store::{AnswerRecord, GrantRecord, Op, Position, Store as _};
use touchgate::unix_time::UnixTime;

use crate::keys::{Algorithm, random};
use crate::library::resident;
use crate::scene::{Scene, Shape};
use crate::stats::{median, micros_each, ratio};
use crate::table::{Target, print, row};
use crate::{Anyhow, Effort};

/// Of the disk's own rate, what one client must reach.
const OF_FLUSHES: Target = Target::Least(0.7);
/// How many times one client's rate many must reach.
const MANY: Target = Target::Least(7.0);
/// KiB by which a long run may grow: what the allocator and the library's page caches do not give back.
const GROWTH: Target = Target::Most(4096.0);
/// Clients at once.
const CLIENTS: usize = 128;
/// Requests asked in a second, by whose time they stand in order.
const PER_SECOND: u64 = 10;

/// Requests that are open, and what approves them.
struct Desk {
    store: Sqlite,
    sample: Sample,
    next: u64,
}

/// What every request and answer here has in common.
struct Sample {
    request: Request,
    terms: Terms,
    signature: Vec<u8>,
    start: UnixTime,
}

impl Sample {
    fn new() -> Anyhow<Self> {
        let mut scene = Scene::new(Algorithm::Ed25519, Shape::Subkey)?;
        let challenge = scene.challenge()?;
        let answer_within = challenge.expires.since(challenge.issued);
        let terms = Terms { audience: challenge.audience.clone(), trust: challenge.trust, answer_within };
        let request = challenge.request.clone();
        let signature = scene.approve(challenge)?.signature;
        Ok(Self { request, terms, signature, start: UnixTime::now() })
    }

    fn challenge(&self, number: u64) -> Anyhow<Challenge> {
        let at = self.start.plus(Duration::from_secs(number / PER_SECOND));
        let mut randomness = random()?;
        // In short codes no two are alike, as a verifier sees to by asking again.
        if let Some((_, code)) = randomness.split_at_mut(10).0.split_last_chunk_mut() {
            *code = u32::try_from(number)?.to_be_bytes();
        }
        Ok(Challenge::issue(self.request.clone(), self.terms.clone(), at, randomness)?)
    }

    /// As the last approval that was needed has it.
    fn approved(&self, challenge: Challenge) -> Anyhow<Vec<Op>> {
        let (request, at) = (challenge.id, challenge.issued);
        let statement = challenge.decided(Decision::Approve).to_text();
        let signature = armored(&self.signature);
        let person = "alice".to_owned();
        let answer = AnswerRecord {
            person: person.clone(),
            decision: Decision::Approve.word(),
            response: Response { statement: statement.clone().into(), signature: signature.clone().into() },
            counter: None,
            at,
        };
        let answered = Entry::Answered {
            at,
            request,
            person: person.clone(),
            decision: answer.decision.to_owned(),
            key: "1D9BD4B7C989BC7A2F8E8E19BF68CFB7F8F830A9".to_owned(),
            serial: "12345678".to_owned(),
            acr: "touch-attested".to_owned(),
            statement,
            signature,
            counter: None,
            signatures: None,
            unseen: None,
        };
        let expires = at.plus(Duration::from_secs(900));
        let claims = serde_json::json!({
            "iss": "approve.example.com", "aud": "approve.example.com", "sub": "github:alice",
            "jti": request.to_string(), "iat": at.seconds(), "nbf": at.seconds(), "exp": expires.seconds(),
            "auth_time": at.seconds(), "acr": "touch-attested", "amr": ["hwk", "user"],
            "authorization_details": [{
                "type": "touchgate", "action": "deploy", "resource": "payments/prod",
                "parameters": {
                    "command": "./deploy.sh --region eu",
                    "commit": "git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e",
                },
            }],
            "evidence": Sha256Digest::of(&request.to_bytes()).to_string(),
        });
        let grant = claims.as_object().cloned();
        let decided = Entry::Decided {
            at,
            request,
            outcome: Outcome::Approved,
            by: vec![person],
            evidence: Some(Sha256Digest::of(&request.to_bytes())),
            grant,
        };
        let claims = claims.to_string();
        Ok(vec![
            Op::Step { request, revision: 0, answer: Box::new(answer) },
            Op::Log(answered),
            Op::Close { request, revision: 1, outcome: Outcome::Approved },
            Op::Grant(GrantRecord { request, claims, expires, uses: 1, used: 0, revoked: None }),
            Op::Log(decided),
        ])
    }
}

impl Desk {
    fn new(directory: &Path) -> Anyhow<Self> {
        let (signer, _) = LogSigner::generate("approve.example.com")?;
        let store = Sqlite::open(&directory.join("state").join("store.db"), signer)?;
        Ok(Self { store, sample: Sample::new()?, next: 0 })
    }

    /// Opens so many requests, and gives what approves them.
    fn asked(&mut self, count: usize) -> Anyhow<Vec<Vec<Op>>> {
        let mut approvals = Vec::with_capacity(count);
        let mut opened = Vec::new();
        for _ in 0..count {
            let challenge = self.sample.challenge(self.next)?;
            self.next += 1;
            opened.push(Op::Open(Box::new(challenge.clone())));
            opened.push(Op::Log(Entry::Asked { at: challenge.issued, challenge: challenge.to_text() }));
            approvals.push(self.sample.approved(challenge)?);
            if opened.len() >= 512 {
                self.store.commit(&std::mem::take(&mut opened))?;
            }
        }
        self.store.commit(&opened)?;
        Ok(approvals)
    }

    /// Seconds that so many clients take for their approvals, each one after the other.
    fn time(&self, clients: usize, approvals: &[Vec<Op>]) -> Anyhow<f64> {
        let start = Barrier::new(clients + 1);
        std::thread::scope(|scope| {
            let threads: Vec<_> = approvals
                .chunks(approvals.len().div_ceil(clients))
                .map(|own| {
                    let (store, start) = (&self.store, &start);
                    scope.spawn(move || {
                        start.wait();
                        own.iter().try_for_each(|change| store.commit(change).map(drop))
                    })
                })
                .collect();
            // Fewer chunks than clients would wait for ever.
            if threads.len() != clients {
                return Err("fewer approvals than clients".into());
            }
            start.wait();
            let before = Instant::now();
            for thread in threads {
                thread.join().map_err(|_| "a client panicked")??;
            }
            Ok(before.elapsed().as_secs_f64())
        })
    }
}

/// Flushes in a second: a page written in place, and `fdatasync`.
fn flushes(directory: &Path, count: usize) -> Anyhow<f64> {
    const PAGE: [u8; 4096] = [0x55; 4096];
    const PAGES: u64 = 4096;
    let path = directory.join("floor");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.len() == 0 {
        for page in 0..PAGES {
            file.write_all_at(&PAGE, page * 4096)?;
        }
        file.sync_all()?;
    }
    let before = Instant::now();
    for number in 0..count as u64 {
        file.write_all_at(&PAGE, number * 7919 % PAGES * 4096)?;
        file.sync_data()?;
    }
    Ok(count as f64 / before.elapsed().as_secs_f64())
}

/// Rates of changes beside the rate of flushes; then memory.
pub(crate) fn run(effort: Effort) -> Anyhow<()> {
    // Beside the program, where there is a disk: the directory for temporary files may be memory.
    let beside = std::env::current_exe()?;
    let directory = tempfile::tempdir_in(beside.parent().ok_or("the program lies nowhere")?)?;
    let mut desk = Desk::new(directory.path())?;
    let (slices, count) = (effort.rounds, effort.batch * 10);
    let many = count * 8 / CLIENTS * CLIENTS;
    let (mut floor, mut one, mut all, mut two) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // Requests that stay open, as some always are.
    drop(desk.asked(10_000)?);
    for slice in 0..=slices {
        let (alone, pair, together) =
            (desk.asked(count)?, desk.asked(count)?, desk.asked(many.max(CLIENTS))?);
        let rates = [
            flushes(directory.path(), count)?,
            alone.len() as f64 / desk.time(1, &alone)?,
            pair.len() as f64 / desk.time(8, &pair)?,
            together.len() as f64 / desk.time(CLIENTS, &together)?,
        ];
        // The first slice warms caches and does not count.
        if slice > 0 {
            [&mut floor, &mut one, &mut two, &mut all]
                .into_iter()
                .zip(rates)
                .for_each(|(all, rate)| all.push(rate));
        }
    }
    let head = ["", "a second", "x flushes", "x one client", "target", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (name, rates, of_flushes, target) in [
        ("write in place and fdatasync", &floor, true, Target::Reported),
        ("approve, decide, grant, log: 1 client", &one, true, OF_FLUSHES),
        ("8 clients", &two, false, Target::Reported),
        (&format!("{CLIENTS} clients"), &all, false, MANY),
    ] {
        let (flushes, ones) = (ratio(rates, &floor), ratio(rates, &one));
        let [target, verdict] = target.judge(if of_flushes { flushes } else { ones });
        rows.push(row([
            &name,
            &format!("{:.0}", median(rates)),
            &format!("{flushes:.2}"),
            &format!("{ones:.2}"),
            &target,
            &verdict,
        ]));
    }
    let entries = desk.store.checkpoint()?.checkpoint().size;
    print(&format!("Store, {slices} slices in turns, {entries} entries in the log at the end"), &rows);
    receipts(&desk, effort)?;
    memory(&mut desk, effort)
}

/// What a receipt costs: the line, its proof and the checkpoint, all checked.
fn receipts(desk: &Desk, effort: Effort) -> Anyhow<()> {
    let size = desk.store.checkpoint()?.checkpoint().size;
    let mut times = Vec::new();
    for batch in 0..effort.batches as u64 {
        let (time, done) = micros_each(effort.batch, || -> Anyhow<()> {
            for number in 0..effort.batch as u64 {
                let position = Position((batch * 1009 + number * 7919) % size);
                desk.store.receipt(position, &Witnesses::default())?;
            }
            Ok(())
        });
        done?;
        times.push(time);
    }
    let rows = vec![
        ["", "us"].map(str::to_owned).to_vec(),
        row([&"receipt, its checkpoint's signature checked twice", &format!("{:.0}", median(&times))]),
    ];
    print(&format!("Receipts of a log of {size} entries"), &rows);
    Ok(())
}

/// Memory over many changes: the most that there was in the first and in the second half of them.
fn memory(desk: &mut Desk, effort: Effort) -> Anyhow<()> {
    const EACH: usize = 1000;
    let halves = effort.soak / 10 / EACH / 2;
    let mut most = || -> Anyhow<f64> {
        let mut most = 0_f64;
        for _ in 0..halves {
            let approvals = desk.asked(EACH)?;
            desk.time(8, &approvals)?;
            // With the approvals still there: what an allocator gives back of them differs each time.
            most = most.max(resident()?);
        }
        Ok(most)
    };
    // Until the caches are full.
    most()?;
    let before = most()?;
    let growth = most()? - before;
    let [target, verdict] = GROWTH.judge(growth);
    let rows = vec![
        ["", "KiB before", "KiB more", "target", ""].map(str::to_owned).to_vec(),
        row([&"Sqlite::commit", &format!("{before:.0}"), &format!("{growth:.0}"), &target, &verdict]),
    ];
    print(&format!("Memory over {} more changes", halves * EACH), &rows);
    Ok(())
}
