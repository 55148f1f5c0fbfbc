//! In process, the certificate known: our check beside bare arithmetic, on threads, and for long.
//!
//! Times are the thread's own processor time, because the machine has other work.

use std::hint::black_box;
use std::sync::Barrier;

use openpgp::Packet;
use openpgp::crypto::hash::Hash as _;
use openpgp::packet::Signature;
use openpgp::packet::signature::Signature4;
use openpgp::parse::Parse as _;
use openpgp::types::HashAlgorithm;
use sequoia_openpgp as openpgp;

use touchgate::response::{Response, armored};
use touchgate::unix_time::UnixTime;
use touchgate::verify::{self, OpenRequests, SigningKey, Verified};

use crate::keys::{Algorithm, Raw};
use crate::scene::{Scene, Shape};
use crate::stats::{median, micros_each, ratio};
use crate::table::{Target, print, row};
use crate::{Anyhow, Effort};

/// How many times the raw check a whole check may take.
const AGAINST_RAW: Target = Target::Most(1.3);
/// How many times the work of one thread two must do.
const TWO_THREADS: Target = Target::Least(1.85);
/// KiB by which a long run may grow: what the allocator keeps for itself moves by a few pages.
const GROWTH: Target = Target::Most(256.0);

/// One approval in every form that a row needs.
struct Sample {
    response: Response,
    armored: Response,
    parsed: Signature4,
    digest: Vec<u8>,
    raw: Vec<u8>,
}

impl Sample {
    fn new(scene: &mut Scene, raw: &Raw, requests: &mut OpenRequests) -> Anyhow<Self> {
        let challenge = scene.challenge()?;
        requests.open(challenge.clone());
        let response = scene.approve(challenge)?;
        let Packet::Signature(Signature::V4(parsed)) = Packet::from_bytes(&response.signature)? else {
            return Err("not a signature".into());
        };
        let mut context = HashAlgorithm::SHA512.context()?.for_signature(4);
        context.update(&response.statement);
        parsed.hash(&mut context)?;
        let digest = context.into_digest()?;
        let raw = raw.prepare(parsed.mpis())?;
        let armored = Response { signature: armored(&response.signature).into_bytes(), ..response.clone() };
        Ok(Self { response, armored, parsed, digest, raw })
    }
}

fn signing_key(scene: &Scene) -> Anyhow<&SigningKey> {
    let (_, token) = scene.trust.roster.holder(&scene.key.fingerprint()).ok_or("nobody holds the key")?;
    Ok(&token.key)
}

/// Our check and a whole response beside the raw check, for each algorithm.
pub(crate) fn arithmetic(effort: Effort) -> Anyhow<()> {
    let head = ["", "us", "x raw", "target", ""];
    for algorithm in [Algorithm::Ed25519, Algorithm::P256, Algorithm::Rsa2048, Algorithm::Rsa4096] {
        let mut scene = Scene::new(algorithm, Shape::Subkey)?;
        let raw = scene.key.raw()?;
        let mut times: [Vec<f64>; 6] = Default::default();
        // The first batch warms caches and does not count.
        for batch in 0..=effort.batches {
            let mut requests = OpenRequests::default();
            let samples = (0..effort.batch)
                .map(|_| Sample::new(&mut scene, &raw, &mut requests))
                .collect::<Anyhow<Vec<Sample>>>()?;
            let measured = measure(&scene, &raw, &samples, requests)?;
            if batch > 0 {
                times.iter_mut().zip(measured).for_each(|(times, time)| times.push(time));
            }
        }
        let [raw, hashed, check, anew, whole, sequoia] = &times;
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for (name, times, target) in [
            ("raw check: aws-lc, key parsed, digest given", raw, Target::Reported),
            ("the same with the statement hashed", hashed, Target::Reported),
            ("SigningKey::check", check, AGAINST_RAW),
            ("the same, certificate judged anew each time", anew, Target::Reported),
            ("verify::response, armored, at the verifier", whole, Target::Reported),
            ("sequoia alone, signature parsed, certificate not judged", sequoia, Target::Reported),
        ] {
            let found = ratio(times, raw);
            let [target, verdict] = target.judge(found);
            rows.push(row([
                &name,
                &format!("{:.1}", median(times)),
                &format!("{found:.2}"),
                &target,
                &verdict,
            ]));
        }
        let count = effort.batches * effort.batch;
        print(&format!("{} in process, {count} distinct signatures", algorithm.name()), &rows);
    }
    Ok(())
}

/// Microseconds for each of the six rows.
fn measure(scene: &Scene, raw: &Raw, samples: &[Sample], mut requests: OpenRequests) -> Anyhow<[f64; 6]> {
    let key = signing_key(scene)?;
    let count = samples.len();
    let (raw_time, done) = micros_each(count, || {
        samples.iter().try_for_each(|sample| raw.check(black_box(&sample.digest), &sample.raw))
    });
    done?;
    let (hashed_time, done) = micros_each(count, || {
        samples.iter().try_for_each(|sample| {
            let digest =
                aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, black_box(&sample.response.statement));
            // Of the same length as the one that was signed, but without what OpenPGP appends.
            black_box(digest);
            raw.check(&sample.digest, &sample.raw)
        })
    });
    done?;
    let (check_time, done) = micros_each(count, || {
        samples.iter().try_for_each(|Sample { response, .. }| {
            key.check(&response.signature, &response.statement, UnixTime::now()).map(drop)
        })
    });
    done?;
    let (anew_time, done) = micros_each(count, || {
        samples.iter().zip(1..).try_for_each(|(Sample { response, .. }, later)| {
            let time = UnixTime::now().plus(std::time::Duration::from_secs(later));
            key.check(&response.signature, &response.statement, time).map(drop)
        })
    });
    done?;
    let (whole_time, done) = micros_each(count, || -> Anyhow<()> {
        for Sample { armored, .. } in samples {
            let verified = verify::response(armored, &scene.trust, &mut requests, UnixTime::now())?;
            if !matches!(verified, Verified::Approved(_)) {
                return Err("an approval was taken for a refusal".into());
            }
        }
        Ok(())
    });
    done?;
    // Last, because these fill sequoia's cache of good signatures.
    let (sequoia_time, done) = micros_each(count, || {
        samples.iter().try_for_each(|sample| {
            key.check_signature_with_sequoia(&sample.parsed, &sample.response.statement)
        })
    });
    done?;
    Ok([raw_time, hashed_time, check_time, anew_time, whole_time, sequoia_time])
}

/// What two threads do beside each other, in processor time of each, against one alone.
pub(crate) fn threads(effort: Effort) -> Anyhow<()> {
    let mut scene = Scene::new(Algorithm::Ed25519, Shape::Subkey)?;
    let count = effort.batch * 40;
    let mut approvals = || -> Anyhow<Vec<Response>> {
        (0..count).map(|_| scene.challenge().and_then(|challenge| scene.approve(challenge))).collect()
    };
    let (first, second) = (approvals()?, approvals()?);
    let key = signing_key(&scene)?;
    let check = |responses: &[Response], start: &Barrier| -> Anyhow<f64> {
        start.wait();
        let (time, done) = micros_each(responses.len(), || {
            responses.iter().try_for_each(|Response { statement, signature }| {
                key.check(signature, statement, UnixTime::now()).map(drop)
            })
        });
        done?;
        Ok(time)
    };
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..effort.rounds {
        one.push(check(&first, &Barrier::new(1))?);
        let start = Barrier::new(2);
        let both = std::thread::scope(|scope| {
            let threads = [&first, &second].map(|part| scope.spawn(|| check(part, &start)));
            threads.map(|thread| thread.join().map_err(|_| "a thread panicked")?)
        });
        let [a, b] = both;
        two.push((a? + b?) / 2.0);
    }
    let scaling = 2.0 * ratio(&one, &two);
    let [target, verdict] = TWO_THREADS.judge(scaling);
    let rows = vec![
        ["", "us each", "x one", "target", ""].map(str::to_owned).to_vec(),
        row([&"SigningKey::check on one thread", &format!("{:.1}", median(&one)), &"1.00"]),
        row([&"on two", &format!("{:.1}", median(&two)), &format!("{scaling:.2}"), &target, &verdict]),
    ];
    print("Ed25519 on two threads, one key between them", &rows);
    Ok(())
}

/// Memory before and after many verifications of distinct signatures.
pub(crate) fn memory(effort: Effort) -> Anyhow<()> {
    let mut scene = Scene::new(Algorithm::Ed25519, Shape::Subkey)?;
    let mut verify = |count: usize| -> Anyhow<()> {
        for _ in 0..count {
            let challenge = scene.challenge()?;
            let response = scene.approve(challenge)?;
            let response = Response { signature: armored(&response.signature).into_bytes(), ..response };
            verify::alone(&response, &scene.trust, UnixTime::now())?;
        }
        Ok(())
    };
    verify(effort.soak / 20)?;
    let before = resident()?;
    verify(effort.soak)?;
    let growth = resident()? - before;
    let [target, verdict] = GROWTH.judge(growth);
    let rows = vec![
        ["", "KiB before", "KiB more", "target", ""].map(str::to_owned).to_vec(),
        row([&"verify::response", &format!("{before:.0}"), &format!("{growth:.0}"), &target, &verdict]),
    ];
    print(&format!("Memory over {} verifications of distinct signatures", effort.soak), &rows);
    Ok(())
}

/// KiB that are resident.
///
/// # Source
/// proc_pid_status(5), `VmRSS`.
pub(crate) fn resident() -> Anyhow<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kibibytes: u32 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes.into())
}
