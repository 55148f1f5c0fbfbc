//! Many people and many rules: what loading them takes, and that one request notices neither.

use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime};

use openpgp::serialize::SerializeInto as _;
use rustix::time::{ClockId, clock_gettime};
use sequoia_openpgp as openpgp;

use touchgate::challenge::{Challenge, Terms};
use touchgate::request::{Mode, Parameters, Request};
use touchgate::response::Response;
use touchgate::sign;
use touchgate::statement::Decision;
use touchgate::trust::quorum::{Circumstances, decide};
use touchgate::trust::{Files, Trust};
use touchgate::unix_time::UnixTime;
use touchgate::verify::{self, Approval, OpenRequests, Verified};

use crate::keys::{Algorithm, SoftwareKey, random};
use crate::library::resident;
use crate::scene::{AGE, Scene, Shape};
use crate::stats::{median, micros_each, ratio};
use crate::table::{Target, print, row};
use crate::{Anyhow, Effort};

/// How many times slower it may be with many than with few.
const MANY_AGAINST_FEW: Target = Target::Most(1.2);
/// Seconds of processor time, of all threads, in which the largest directory that is taken must be loaded.
const LOADING: Target = Target::Most(10.0);
/// KiB by which judging answers may grow the process.
const GROWTH: Target = Target::Most(256.0);

/// People and rules of a decision: a start-up, and a large company.
const FEW: (usize, usize) = (10, 10);
const MANY: (usize, usize) = (10_000, 1000);

/// A record and a certificate each, for people whose names begin with `p`; and the keys of the first few.
fn people(count: usize, groups: &str, keep: usize) -> Anyhow<(Files, Vec<SoftwareKey>)> {
    let one = |number: usize| -> Anyhow<(Files, SoftwareKey)> {
        let created = SystemTime::now() - AGE;
        let mut key = SoftwareKey::generate(Algorithm::Ed25519, created)?;
        let certificate = key.certificate(created)?.armored().to_vec()?;
        let (serial, fingerprint) = (20_000_000 + number, key.fingerprint().to_hex());
        let record = format!(
            "groups = [{groups}]\nidentities = [\"github:p{number}\", \"os:p{number}@build1\"]\n\
             [[token]]\nserial = \"{serial}\"\nkey = \"{fingerprint}\"\ntouch = \"declared\"\n"
        );
        let files = [
            (format!("people/p{number}.toml"), record.into_bytes()),
            (format!("tokens/{serial}.asc"), certificate),
        ];
        Ok((files.into(), key))
    };
    let made = std::thread::scope(|scope| {
        let one = &one;
        let part = move |first: usize| (first..count).step_by(2).map(one).collect::<Anyhow<Vec<_>>>();
        let other = scope.spawn(move || part(1));
        let own = part(0);
        [own, other.join().unwrap_or_else(|_| Err("a thread panicked".into()))]
    });
    let [even, odd] = made;
    let (mut files, mut keys) = (Files::new(), Vec::new());
    let mut odd = odd?.into_iter();
    // In the order of their numbers.
    for pair in even?.into_iter().map(|one| std::iter::once(one).chain(odd.next())) {
        for (more, key) in pair {
            files.extend(more);
            if keys.len() < keep {
                keys.push(key);
            }
        }
    }
    Ok((files, keys))
}

/// One answer judged with one person enrolled, and with a hundred thousand.
pub(crate) fn crowd(effort: Effort) -> Anyhow<()> {
    let mut alone = Scene::new(Algorithm::Ed25519, Shape::Subkey)?;
    let mut among = Scene::new(Algorithm::Ed25519, Shape::Subkey)?;
    let (crowd, _) = people(effort.crowd, "\"everybody\"", 0)?;
    among.files.extend(crowd);
    let (before, start, spent) = (resident()?, Instant::now(), process_time());
    among.trust = Trust::from_files(&among.files)?;
    let (wall, spent) = (start.elapsed().as_secs_f64(), process_time().saturating_sub(spent).as_secs_f64());
    let kibibytes = resident()? - before;
    let mut times: [Vec<f64>; 2] = Default::default();
    for batch in 0..=effort.batches {
        for (scene, times) in [&mut alone, &mut among].into_iter().zip(&mut times) {
            let mut requests = OpenRequests::default();
            let mut responses = Vec::new();
            for _ in 0..effort.batch {
                let challenge = scene.challenge()?;
                requests.open(challenge.clone());
                responses.push(scene.approve(challenge)?);
            }
            let (time, done) = micros_each(effort.batch, || {
                responses.iter().try_for_each(|response| {
                    verify::response(response, &scene.trust, &mut requests, UnixTime::now()).map(drop)
                })
            });
            done?;
            // The first batch warms caches and does not count.
            if batch > 0 {
                times.push(time);
            }
        }
    }
    let before = resident()?;
    for _ in 0..effort.soak / 20 {
        let challenge = among.challenge()?;
        let response = among.approve(challenge)?;
        verify::alone(&response, &among.trust, UnixTime::now())?;
    }
    let growth = resident()? - before;
    let [one, many] = &times;
    let found = ratio(many, one);
    let [loading_target, loading_verdict] = LOADING.judge(spent);
    let [target, verdict] = MANY_AGAINST_FEW.judge(found);
    let [growth_target, growth_verdict] = GROWTH.judge(growth);
    let rows = vec![
        ["", "", "x one", "target", ""].map(str::to_owned).to_vec(),
        row([
            &"Trust::from_files, processor s",
            &format!("{spent:.2}"),
            &"",
            &loading_target,
            &loading_verdict,
        ]),
        row([&"by the clock, s", &format!("{wall:.2}"), &"", &"-", &"reported"]),
        row([
            &"what it holds, KiB each",
            &format!("{:.2}", kibibytes / effort.crowd as f64),
            &"",
            &"-",
            &"reported",
        ]),
        row([&"verify::response with one enrolled, us", &format!("{:.1}", median(one)), &"1.00"]),
        row([
            &"with all of them, us",
            &format!("{:.1}", median(many)),
            &format!("{found:.2}"),
            &target,
            &verdict,
        ]),
        row([&"growth while judging, KiB", &format!("{growth:.0}"), &"", &growth_target, &growth_verdict]),
    ];
    print(&format!("{} people enrolled, {} files", effort.crowd, among.files.len()), &rows);
    Ok(())
}

/// A decision that waits to be made again and again.
struct Decided {
    trust: Trust,
    challenge: Challenge,
    approvals: Vec<Approval>,
}

impl Decided {
    /// Three of `release`, under a rule that is one of many.
    fn new((count, rules): (usize, usize)) -> Anyhow<Self> {
        let mut policy = format!(
            "audience = \"approve.example.com\"\nversion = 1\nvalid_until = \"{}\"\n\
             [[rule]]\naction = \"touchgate.trust.update\"\nneed = [{{ from = \"@requester\" }}]\n",
            UnixTime::now().plus(AGE),
        );
        for number in 0..rules {
            policy += &format!(
                "[[rule]]\naction = \"deploy\"\nresource = \"team-{}/service-{number}/*\"\n\
                 need = [{{ from = \"release\", count = 2 }}, {{ from = \"security\" }}]\ntier = \"declared\"\n",
                number / 30,
            );
        }
        let (mut files, keys) = people(count, "\"release\", \"security\"", 4)?;
        files.insert("policy.toml".into(), policy.into_bytes());
        let trust = Trust::from_files(&files)?;
        let number = rules / 2;
        let request = Request {
            action: "deploy".parse()?,
            resource: format!("team-{}/service-{number}/prod", number / 30).parse()?,
            parameters: Parameters::new(),
            requester: "github:p0".parse()?,
            via: None,
            requester_key: None,
            reason: None,
            mode: Mode::Ordinary,
        };
        let answer_within = trust.admit(&request)?.answer_within;
        let terms = Terms { audience: trust.audience.clone(), trust: trust.version, answer_within };
        let challenge = Challenge::issue(request, terms, UnixTime::now(), random()?)?;
        let mut requests = OpenRequests::default();
        requests.open(challenge.clone());
        let mut approvals = Vec::new();
        for mut key in keys.into_iter().skip(1) {
            let statement = challenge.clone().decided(Decision::Approve).to_text().into_bytes();
            let signature = sign::detached(&mut key, &statement, SystemTime::now())?;
            let response = Response { statement, signature };
            match verify::response(&response, &trust, &mut requests, UnixTime::now())? {
                Verified::Approved(approval) => approvals.push(approval),
                Verified::Refused(_) => return Err("an approval was taken for a refusal".into()),
            }
        }
        Ok(Self { trust, challenge, approvals })
    }

    /// Microseconds for one decision: met with all approvals, still open with one less.
    fn measure(&self, count: usize) -> Anyhow<[f64; 2]> {
        let few = self.approvals.get(1..).unwrap_or_default();
        let mut times = [0.0; 2];
        for (approvals, time) in [&self.approvals[..], few].into_iter().zip(&mut times) {
            let handed: Vec<Vec<Approval>> = (0..count).map(|_| approvals.to_vec()).collect();
            let now = UnixTime::now();
            let (found, met) = micros_each(count, || {
                handed
                    .into_iter()
                    .filter_map(|approvals| {
                        let trust = black_box(&self.trust);
                        decide(trust, &self.challenge, approvals, Circumstances::default(), now).ok()
                    })
                    .count()
            });
            if met != if approvals.len() == 3 { count } else { 0 } {
                return Err("it was not decided as it should be".into());
            }
            *time = found;
        }
        Ok(times)
    }
}

/// One decision with ten people and ten rules, and with ten thousand and a thousand.
pub(crate) fn decisions(effort: Effort) -> Anyhow<()> {
    let (few, many) = (Decided::new(FEW)?, Decided::new(MANY)?);
    let mut times: [[Vec<f64>; 2]; 2] = Default::default();
    for batch in 0..=effort.batches {
        for (decided, times) in [&few, &many].into_iter().zip(&mut times) {
            let measured = decided.measure(effort.batch * 4)?;
            if batch > 0 {
                times.iter_mut().zip(measured).for_each(|(times, time)| times.push(time));
            }
        }
    }
    let [[few_met, few_open], [many_met, many_open]] = &times;
    let mut rows = vec![["", "us, few", "us, many", "x few", "target", ""].map(str::to_owned).to_vec()];
    for (name, few, many) in [("quorum::decide, met", few_met, many_met), ("still open", few_open, many_open)]
    {
        let found = ratio(many, few);
        let [target, verdict] = MANY_AGAINST_FEW.judge(found);
        let (few, many) = (format!("{:.1}", median(few)), format!("{:.1}", median(many)));
        rows.push(row([&name, &few, &many, &format!("{found:.2}"), &target, &verdict]));
    }
    let (few, many) = (FEW, MANY);
    print(
        &format!("A decision with {} people and {} rules, and with {} and {}", few.0, few.1, many.0, many.1),
        &rows,
    );
    Ok(())
}

/// Processor time of all threads of this process.
fn process_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}
