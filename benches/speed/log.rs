//! The log: appending and proving beside bare SHA-256, and a whole log judged again beside its bare checks.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use openpgp::Packet;
use openpgp::crypto::hash::Hash as _;
use openpgp::packet::Signature;
use openpgp::parse::Parse as _;
use openpgp::types::HashAlgorithm;
use sequoia_openpgp as openpgp;

use touchgate::audit::LogSigner;
use touchgate::audit::entry::Entry;
use touchgate::audit::review::{Against, review};
use touchgate::audit::tree::{Edge, Tree, inclusion, leaf_hash, verify_inclusion};
use touchgate::evidence::{self, Evidence};
use touchgate::grant::SealedGrant;
use touchgate::response::armored;
use touchgate::store::sqlite::Sqlite;
use touchgate::store::{AnswerRecord, Op, Store as _};
use touchgate::trust::manifest::Manifest;
use touchgate::trust::quorum::{Circumstances, decide};
use touchgate::unix_time::UnixTime;
use touchgate::verify::{OpenRequests, Verified, response};

use crate::keys::Algorithm;
use crate::library::resident;
use crate::scene::{Scene, Shape};
use crate::stats::{median, micros_each, ratio, thread_time};
use crate::table::{Target, print, row};
use crate::{Anyhow, Effort};

/// How many times two bare hashes an append may take.
const APPEND: Target = Target::Most(1.25);
/// How many times what it takes at a million entries it may take at ten million.
const FLAT: Target = Target::Most(1.15);
/// How many times the bare hashes of its length a proof's check may take.
const PROOF: Target = Target::Most(1.3);
/// Entries appended in one batch.
const BATCH: usize = 50_000;
/// Bytes of an entry, as in `facts` of other logs: so that the two are compared over the same.
const ENTRY: usize = 64;
/// Requests to a commit while a log is filled.
const TOGETHER: usize = 50;

/// Appending and proving, at a million entries and at ten.
pub(crate) fn tree(effort: Effort) -> Anyhow<()> {
    let sizes: [usize; 2] =
        if effort.soak > 100_000 { [1_000_000, 10_000_000] } else { [100_000, 1_000_000] };
    let (mut tree, mut edge, mut kept) = (Tree::default(), Edge::default(), Vec::new());
    let mut first = None;
    for size in sizes {
        grow(&mut tree, size - effort.batches * BATCH.min(size / effort.batches / 2));
        keep(&mut kept, tree.size());
        let (mut own, mut edges, mut raw, mut room) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let batch = BATCH.min(size / effort.batches / 2);
        for _ in 0..effort.batches {
            let start = tree.size();
            raw.push(two_hashes(start, batch));
            own.push(micros_each(batch, || grow(&mut tree, usize::try_from(start).unwrap_or(0) + batch)).0);
            edges.push(appended(&mut edge, batch));
            room.push(micros_each(batch, || keep(&mut kept, tree.size())).0);
        }
        let found = ratio(&own, &raw);
        let mut rows = vec![["", "us", "x raw", "target", ""].map(str::to_owned).to_vec()];
        let mut add = |name: &str, times: &[f64], raw: &[f64], target: Target| {
            let found = ratio(times, raw);
            let [target, verdict] = target.judge(found);
            rows.push(row([
                &name,
                &format!("{:.3}", median(times)),
                &format!("{found:.2}"),
                &target,
                &verdict,
            ]));
        };
        add("two bare hashes of 65 bytes", &raw, &raw, Target::Reported);
        add("Tree::append, leaf hashed", &own, &raw, APPEND);
        add("of it, room for its 64 bytes: memory first touched", &room, &raw, Target::Reported);
        add("Edge::append, leaf hashed", &edges, &raw, APPEND);
        let Proofs { made, checked, bare, chained, bytes } = proofs(&tree, effort)?;
        add("inclusion proof made", &made, &raw, Target::Reported);
        add("as many bare hashes as it has", &bare, &bare, Target::Reported);
        add("the same, each of what came of the one before", &chained, &bare, Target::Reported);
        add("inclusion proof checked, leaf hashed", &checked, &bare, PROOF);
        if let Some(first) = first {
            let [target, verdict] = FLAT.judge(found / first);
            rows.push(row([
                &"append against the first size",
                &"",
                &format!("{:.2}", found / first),
                &target,
                &verdict,
            ]));
        }
        first = first.or(Some(found));
        let most = usize::try_from(usize::BITS - (size - 1).leading_zeros())? * 32;
        let [target, verdict] = Target::Most(most as f64).judge(bytes as f64);
        rows.push(row([&"bytes of the longest proof", &bytes, &"", &target, &verdict]));
        print(&format!("the log's tree, {size} entries of {ENTRY} bytes"), &rows);
    }
    Ok(())
}

/// The entry at this place.
fn entry(at: u64) -> [u8; ENTRY] {
    let mut entry = [7; ENTRY];
    if let Some(room) = entry.first_chunk_mut() {
        *room = at.to_be_bytes();
    }
    entry
}

fn grow(tree: &mut Tree, size: usize) {
    for at in tree.size()..size as u64 {
        tree.append(leaf_hash(black_box(&entry(at))));
    }
}

/// What an append cannot do without beside its hashes: 64 bytes that nobody used before.
fn keep(kept: &mut Vec<[u8; 64]>, size: u64) {
    for at in kept.len() as u64..size {
        kept.push(black_box(entry(at)));
    }
}

fn appended(edge: &mut Edge, batch: usize) -> f64 {
    let start = edge.size();
    micros_each(batch, || {
        for at in start..start + batch as u64 {
            edge.append(leaf_hash(black_box(&entry(at))), |node| {
                black_box(node);
            });
        }
    })
    .0
}

fn two_hashes(start: u64, batch: usize) -> f64 {
    let mut input = [0; ENTRY + 1];
    micros_each(batch, || {
        for at in start..start + batch as u64 {
            if let Some(room) = input.last_chunk_mut() {
                *room = entry(at);
            }
            black_box(digest(&SHA256, black_box(&input)));
            black_box(digest(&SHA256, black_box(&input)));
        }
    })
    .0
}

/// Microseconds a proof, and the bytes of the longest.
struct Proofs {
    made: Vec<f64>,
    checked: Vec<f64>,
    bare: Vec<f64>,
    /// Bare hashes that cannot overlap in the processor, as those of a proof cannot.
    chained: Vec<f64>,
    bytes: usize,
}

fn proofs(tree: &Tree, effort: Effort) -> Anyhow<Proofs> {
    let (size, root, count) = (tree.size(), tree.root(), 2000);
    let mut found =
        Proofs { made: Vec::new(), checked: Vec::new(), bare: Vec::new(), chained: Vec::new(), bytes: 0 };
    for batch in 0..effort.batches as u64 {
        // Far apart from each other, so that no cache holds them.
        let indices: Vec<u64> =
            (0..count).map(|at| (batch * count + at).wrapping_mul(0x9E37_79B9_7F4A_7C15) % size).collect();
        let (made, proofs) = micros_each(indices.len(), || {
            indices.iter().map(|index| inclusion(tree, *index, size)).collect::<Result<Vec<_>, _>>()
        });
        let proofs = proofs?;
        let hashes: usize = proofs.iter().map(|proof| proof.len() + 1).sum();
        let input = [0; 65];
        let (bare, ()) = micros_each(indices.len(), || {
            for _ in 0..hashes {
                black_box(digest(&SHA256, black_box(&input)));
            }
        });
        let mut chain = input;
        let (chained, ()) = micros_each(indices.len(), || {
            for _ in 0..hashes {
                let hash = digest(&SHA256, black_box(&chain));
                if let Some((room, hash)) = chain.first_chunk_mut().zip(hash.as_ref().first_chunk::<32>()) {
                    *room = *hash;
                }
            }
        });
        let (checked, done) = micros_each(indices.len(), || {
            indices.iter().zip(&proofs).try_for_each(|(index, proof)| {
                let leaf = leaf_hash(black_box(&entry(*index)));
                verify_inclusion(&leaf, *index, size, proof, &root)
            })
        });
        done?;
        found.made.push(made);
        found.checked.push(checked);
        found.bare.push(bare);
        found.chained.push(chained);
        found.bytes = proofs.iter().map(|proof| proof.len() * 32).max().unwrap_or(0).max(found.bytes);
    }
    Ok(found)
}

/// `audit verify` of a log with signatures, on both cores, beside the bare checks of what is in it.
pub(crate) fn audit(effort: Effort) -> Anyhow<()> {
    let requests = if effort.soak > 100_000 { 250_000 } else { 10_000 };
    let folder = tempfile::tempdir()?;
    let (signer, _) = LogSigner::generate("approve.example.com")?;
    let key = signer.key().clone();
    let store = Sqlite::open(&folder.path().join("store.db"), signer)?;
    let mut scene = Scene::new(Algorithm::Ed25519, Shape::Subkey)?;
    let samples = fill(&store, &mut scene, requests)?;
    let entries = store.checkpoint()?.checkpoint().size;

    // What cannot be avoided: each line hashed twice over, each signature checked by the fastest there is.
    let raw_key = scene.key.raw()?;
    let before = thread_time();
    for sample in &samples {
        raw_key.check(black_box(&sample.digest), &sample.signature)?;
    }
    let checks = thread_time().saturating_sub(before).as_secs_f64();
    let mut hashes = 0.0;
    for from in (0..entries).step_by(TOGETHER) {
        let lines = store.lines(from, TOGETHER)?;
        let before = thread_time();
        for line in &lines {
            black_box(digest(&SHA256, black_box(line.as_bytes())));
            black_box(digest(&SHA256, black_box(&[0; 65])));
        }
        hashes += thread_time().saturating_sub(before).as_secs_f64();
    }
    let raw = checks + hashes;

    let mut rows = vec![
        [
            "",
            "s",
            "us an entry",
            "x raw on as many cores",
            "by the busier core's time",
            "cpu x raw",
            "MiB more",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    rows.push(row([
        &"bare signature checks and hashes, one core",
        &format!("{raw:.2}"),
        &each(raw, entries),
        &"",
        &"",
        &"",
        &"",
    ]));
    let mut one = None;
    for threads in [1, 2] {
        let threads = NonZeroUsize::new(threads).ok_or("no thread")?;
        let against = Against::key(&key, threads);
        let mut peak = Peak::new()?;
        let (start, cpu, own) = (Instant::now(), process_time(), thread_time());
        let found = review(&store, &against, |_, _| peak.look())?;
        let (wall, cpu) = (start.elapsed().as_secs_f64(), process_time() - cpu);
        let own = thread_time().saturating_sub(own).as_secs_f64();
        // Of two threads: what it would take where nobody else wants a core.
        let busiest = own.max(cpu - own);
        if found.found > 0 || usize::try_from(found.signatures)? != samples.len() {
            return Err(format!("the log is not what it should be: {:?}", found.findings.first()).into());
        }
        let cores = threads.get() as f64;
        rows.push(row([
            &format!("audit verify, {threads} core(s)"),
            &format!("{wall:.2}"),
            &each(wall, entries),
            &format!("{:.2}", wall * cores / raw),
            &format!("{:.2}", busiest * cores / raw),
            &format!("{:.2}", cpu / raw),
            &format!("{:.0}", peak.more()),
        ]));
        let (first, alone) = *one.get_or_insert((wall, cpu));
        if threads.get() == 2 {
            let [faster, busier] = [first / wall, alone / busiest].map(|faster| format!("{faster:.2}"));
            rows.push(row([&"two cores against one", &"", &"", &faster, &busier, &"", &""]));
        }
    }
    let title =
        format!("{entries} entries with {} signatures and as many decisions judged again", samples.len());
    print(&title, &rows);
    Ok(())
}

/// The most that was resident of all that was looked at, in KiB.
struct Peak {
    before: f64,
    most: f64,
}

impl Peak {
    fn new() -> Anyhow<Self> {
        let before = resident()?;
        Ok(Self { before, most: before })
    }

    fn look(&mut self) {
        self.most = self.most.max(resident().unwrap_or(f64::INFINITY));
    }

    /// How many MiB that is more than at the beginning.
    fn more(&self) -> f64 {
        (self.most - self.before) / 1024.0
    }
}

fn each(seconds: f64, entries: u64) -> String {
    format!("{:.1}", seconds * 1e6 / entries as f64)
}

/// Processor time of all threads, in seconds.
fn process_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default().as_secs_f64()
}

/// A signature, and the digest that it was made over.
struct Sample {
    digest: Vec<u8>,
    signature: Vec<u8>,
}

/// Asked, answered, decided and used, so many times: each in a second of its own, the last just now.
fn fill(store: &Sqlite, scene: &mut Scene, requests: usize) -> Anyhow<Vec<Sample>> {
    let version = scene.trust.version;
    let manifest = Manifest::new(scene.files.clone());
    let mut seconds = SystemTime::now() - Duration::from_secs(requests as u64 + 1);
    store.commit(&[
        Op::Trust { version, before: None, files: scene.files.clone() },
        Op::Log(Entry::Trust { at: seconds.into(), version }),
    ])?;
    let raw = scene.key.raw()?;
    let mut samples = Vec::with_capacity(requests);
    let mut change = Vec::new();
    for number in 0..requests {
        seconds += Duration::from_secs(1);
        let at = UnixTime::from(seconds);
        let challenge = scene.challenge_at(at)?;
        let id = challenge.id;
        let answer = scene.approve_at(challenge.clone(), seconds)?;
        let Packet::Signature(Signature::V4(parsed)) = Packet::from_bytes(&answer.signature)? else {
            return Err("not a signature".into());
        };
        let mut context = HashAlgorithm::SHA512.context()?.for_signature(4);
        context.update(&answer.statement);
        parsed.hash(&mut context)?;
        samples.push(Sample { digest: context.into_digest()?, signature: raw.prepare(parsed.mpis())? });
        let mut ledger = OpenRequests::default();
        ledger.open(challenge.clone());
        let Verified::Approved(approval) = response(&answer, &scene.trust, &mut ledger, at)? else {
            return Err("not an approval".into());
        };
        let said = approval.answer().clone();
        let record = AnswerRecord {
            person: said.person().into(),
            decision: "approve",
            response: answer.clone(),
            counter: None,
            at,
        };
        let answered = Entry::Answered {
            at,
            request: id,
            person: said.person().into(),
            decision: "approve".into(),
            key: said.key().to_hex(),
            serial: said.serial().into(),
            acr: said.tier().acr().into(),
            statement: String::from_utf8(answer.statement.clone())?,
            signature: armored(&answer.signature),
            counter: None,
            signatures: None,
            unseen: None,
        };
        let shown = vec![evidence::Answered::new(&answer, None, Some(at))?];
        let digest = Evidence::collect(challenge.clone(), shown, &scene.trust, &manifest)?.digest();
        let met = decide(&scene.trust, &challenge, vec![approval], Circumstances::default(), at)?;
        let sealed = SealedGrant::new(met, digest, at);
        change.extend([
            Op::Open(Box::new(challenge.clone())),
            Op::Log(Entry::Asked { at, challenge: challenge.to_text() }),
            Op::Step { request: id, revision: 0, answer: Box::new(record) },
            Op::Log(answered),
            Op::Close { request: id, revision: 1, outcome: touchgate::audit::entry::Outcome::Approved },
            Op::Grant(sealed.record()),
            Op::Log(sealed.entry()),
            Op::Use { grant: id, count: 1, at },
            Op::Log(Entry::Used { at, grant: id, count: 1 }),
        ]);
        if number % TOGETHER == TOGETHER - 1 {
            store.commit(&std::mem::take(&mut change))?;
        }
    }
    if !change.is_empty() {
        store.commit(&change)?;
    }
    Ok(samples)
}
