//! Evidence, parsed and judged again: with one person enrolled, and with a hundred thousand beside them.

use std::collections::BTreeMap;
use std::hint::black_box;

use touchgate::audit::entry::Outcome;
use touchgate::challenge::TrustVersion;
use touchgate::evidence::{Against, Answered, Carried, Decided, Evidence, judge};
use touchgate::trust::manifest::Manifest;
use touchgate::unix_time::UnixTime;

use crate::keys::Algorithm;
use crate::scene::{Scene, Shape};
use crate::stats::{median, micros_each, ratio};
use crate::table::{Target, print, row};
use crate::{Anyhow, Effort};

/// How many others are enrolled, two files each.
const OTHERS: usize = 100_000;
/// How many times what it takes with one person it may take with all of them.
const AGAINST_ONE: Target = Target::Most(1.2);

/// Evidence of an approval in a version with this many others in it.
fn evidence(scene: &mut Scene, others: usize) -> Anyhow<(TrustVersion, String)> {
    let mut files = scene.files.clone();
    // They are hashed and never loaded: whoever judges evidence sees the few files that it carries.
    files.extend((0..others).map(|at| (format!("people/p{at}.toml"), format!("# {at}\n").into_bytes())));
    files.extend((0..others).map(|at| (format!("tokens/2{at:06}.asc"), format!("{at}\n").into_bytes())));
    let manifest = Manifest::new(files);
    let version = TrustVersion { number: scene.trust.version.number, digest: manifest.digest() };
    let mut challenge = scene.challenge()?;
    challenge.trust = version;
    let answer = Answered::new(&scene.approve(challenge.clone())?, None, None)?;
    let proved: BTreeMap<_, _> = scene.files.keys().map(|path| (path, manifest.prove(path))).collect();
    let proved = proved.into_values().collect::<Result<_, _>>()?;
    let carried = Carried { version, size: manifest.size(), files: proved };
    let mut evidence = Evidence::new(challenge, vec![answer], carried)?;
    evidence.decision = Some(Decided { outcome: Outcome::Approved, at: UnixTime::now() });
    Ok((version, evidence.to_json()))
}

/// Both side by side, in batches that alternate.
pub(crate) fn run(effort: Effort) -> Anyhow<()> {
    let mut scene = Scene::new(Algorithm::Ed25519, Shape::Subkey)?;
    let kinds = [evidence(&mut scene, 0)?, evidence(&mut scene, OTHERS)?];
    let mut times: [Vec<f64>; 2] = Default::default();
    for batch in 0..=effort.batches {
        for ((version, json), times) in kinds.iter().zip(&mut times) {
            let (time, done) = micros_each(effort.batch, || -> Anyhow<()> {
                for _ in 0..effort.batch {
                    let read = Evidence::parse(black_box(json.as_bytes()))?;
                    judge(&read, &Against::pin(*version), UnixTime::now())?;
                }
                Ok(())
            });
            done?;
            // The first batch warms caches and does not count.
            if batch > 0 {
                times.push(time);
            }
        }
    }
    let [one, many] = &times;
    let found = ratio(many, one);
    let [target, verdict] = AGAINST_ONE.judge(found);
    let bytes = |at: usize| kinds.get(at).map_or(0, |(_, json)| json.len());
    let rows = vec![
        ["", "us", "bytes", "x one", "target", ""].map(str::to_owned).to_vec(),
        row([&"one person enrolled", &format!("{:.1}", median(one)), &bytes(0), &"1.00"]),
        row([
            &format!("{OTHERS} more"),
            &format!("{:.1}", median(many)),
            &bytes(1),
            &format!("{found:.2}"),
            &target,
            &verdict,
        ]),
    ];
    print("Evidence of one approval, parsed and judged again", &rows);
    Ok(())
}
