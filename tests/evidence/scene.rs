//! A decision as a verifier makes it: asked, answered, decided, collected.

use std::sync::LazyLock;

use touchgate::audit::Entry;
use touchgate::audit::entry::Outcome;
use touchgate::challenge::{Challenge, Terms, TrustVersion};
use touchgate::digest::Sha256Digest;
use touchgate::evidence::{Against, Answered, Decided, Evidence, Verdict, judge};
use touchgate::grant::SealedGrant;
use touchgate::request::{Mode, Request};
use touchgate::response::Response;
use touchgate::statement::Decision;
use touchgate::trust::chain;
use touchgate::trust::manifest::Manifest;
use touchgate::trust::quorum::{Circumstances, decide};
use touchgate::trust::{Files, Trust, read_directory};
use touchgate::unix_time::UnixTime;
use touchgate::verify::{OpenRequests, Verified, response};

use crate::case::fixtures;
use crate::log::Log;
use crate::packets::Recipe;
use crate::people;

/// A version of trust, whole.
pub(crate) struct Version {
    pub(crate) files: Files,
    pub(crate) trust: Trust,
    pub(crate) manifest: Manifest,
}

impl Version {
    pub(crate) fn new(files: Files) -> Self {
        let trust = Trust::from_files(&files).unwrap();
        let manifest = Manifest::new(files.clone());
        Self { files, trust, manifest }
    }

    /// What evidence decided under it is judged against.
    pub(crate) fn against(&self) -> Against<'static> {
        Against::pin(self.trust.version)
    }
}

/// Version 7, the team of the fixtures, with a log that one of two witnesses must see.
pub(crate) fn team() -> &'static Version {
    static TEAM: LazyLock<Version> = LazyLock::new(|| version(7, &Log::keys()));
    &TEAM
}

/// The team as version `number`, with these lines before and after the rules of its policy.
pub(crate) fn version(number: u64, (before, behind): &(String, String)) -> Version {
    let mut files = read_directory(&fixtures("trust/team")).unwrap();
    let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
    let before = format!("version = {number}\n{before}");
    let policy = policy.replace("version     = 7\n", &before) + "tier = \"declared\"\n" + behind;
    files.insert("policy.toml".into(), policy.into_bytes());
    Version::new(files)
}

/// When the request was issued.
pub(crate) fn issued() -> UnixTime {
    "2026-11-20T04:07:00Z".parse().unwrap()
}

/// That many seconds later.
pub(crate) fn after(seconds: u64) -> UnixTime {
    UnixTime::from_seconds(issued().seconds() + seconds).unwrap()
}

/// Years later.
pub(crate) fn now() -> UnixTime {
    "2031-11-20T00:00:00Z".parse().unwrap()
}

/// sam asks to deploy on payments/prod, which takes two of release and one of security.
pub(crate) fn request() -> Request {
    let commit = "git:4f2c9d0e6b1a8c7f3e5d2b4a9c8e7f6d5b4a3c2e".to_owned();
    Request {
        action: "deploy".parse().unwrap(),
        resource: "payments/prod".parse().unwrap(),
        parameters: [("commit".parse().unwrap(), touchgate::text::Text::new(commit).unwrap())].into(),
        requester: "github:sam".parse().unwrap(),
        via: None,
        requester_key: Some(Sha256Digest::of(b"the presenter's key")),
        reason: None,
        mode: Mode::Ordinary,
    }
}

pub(crate) fn challenge_of(version: &Version, request: Request) -> Challenge {
    let terms = Terms {
        audience: version.trust.audience.clone(),
        trust: version.trust.version,
        answer_within: version.trust.admit(&request).unwrap().answer_within,
    };
    Challenge::issue(request, terms, issued(), [7; 42]).unwrap()
}

/// What `name` signs `seconds` after the request was issued.
pub(crate) fn answer(challenge: &Challenge, name: &str, decision: Decision, seconds: u64) -> Response {
    let statement = challenge.clone().decided(decision).to_text().into_bytes();
    let mut key = people::signer(name);
    let created = u32::try_from(after(seconds).seconds()).unwrap();
    let signature = Recipe::plain(&key, created).sign(&mut key, &statement);
    Response { statement, signature }
}

pub(crate) fn approval(challenge: &Challenge, name: &str) -> Answered {
    answered(challenge, name, Decision::Approve)
}

pub(crate) fn answered(challenge: &Challenge, name: &str, decision: Decision) -> Answered {
    Answered::new(&answer(challenge, name, decision, 30), None, Some(after(40))).unwrap()
}

/// A decision on `challenge` by these answers, a minute after it was issued.
pub(crate) fn decided(
    version: &Version,
    challenge: &Challenge,
    answers: Vec<Answered>,
    outcome: Outcome,
) -> Evidence {
    let Version { trust, manifest, .. } = version;
    let mut evidence = Evidence::collect(challenge.clone(), answers, trust, manifest).unwrap();
    evidence.decision = Some(Decided { outcome, at: after(60) });
    evidence
}

/// Approved by bob, carol and dave; without grant and log.
pub(crate) fn bare() -> Evidence {
    bare_under(team())
}

pub(crate) fn bare_under(version: &Version) -> Evidence {
    let challenge = challenge_of(version, request());
    let answers = ["bob", "carol", "dave"].iter().map(|name| approval(&challenge, name)).collect();
    decided(version, &challenge, answers, Outcome::Approved)
}

/// Everything that there can be: approved by bob, carol and dave, with a grant, in the log, seen by a witness.
pub(crate) fn approved() -> Evidence {
    let mut evidence = bare();
    let entry = grant(&mut evidence, team());
    let mut log = Log::new();
    let index = log.append(&entry);
    log.append(&next_trust());
    evidence.log = Some(log.proof(index, &[(0, after(65))]));
    evidence
}

/// Puts into approving evidence the grant that comes of it; gives the entry of the decision.
pub(crate) fn grant(evidence: &mut Evidence, version: &Version) -> Entry {
    grant_amid(evidence, version, Circumstances::default())
}

pub(crate) fn grant_amid(
    evidence: &mut Evidence,
    version: &Version,
    circumstances: Circumstances<'_>,
) -> Entry {
    let at = evidence.decision.unwrap().at;
    let mut ledger = OpenRequests::default();
    ledger.open(evidence.challenge.clone());
    let judge = |answer: &Answered| match response(&answer.response(), &version.trust, &mut ledger, after(40))
    {
        Ok(Verified::Approved(approval)) => approval,
        other => panic!("{other:?}"),
    };
    let approvals = evidence.answers().iter().map(judge).collect();
    let met = decide(&version.trust, &evidence.challenge, approvals, circumstances, at).unwrap();
    let sealed = SealedGrant::new(met, evidence.digest(), at);
    evidence.grant = Some(sealed.claims().to_map());
    sealed.entry()
}

/// The update from `old` to `new`, as alice approves it.
pub(crate) fn update(old: &Version, new: &Version) -> Evidence {
    let nobody = "os:nobody@here".parse().unwrap();
    let asked = chain::challenge(&old.trust, &new.trust.version, &nobody, issued()).unwrap();
    let answers = vec![approval(&asked, "alice")];
    let mut update = chain::begin(&old.trust, &old.files, &new.trust, &new.files, asked, answers).unwrap();
    update.decision = Some(Decided { outcome: Outcome::Approved, at: after(60) });
    update
}

/// The entry by which version 8 comes into force.
pub(crate) fn next_trust() -> Entry {
    let version = TrustVersion { number: 8, digest: Sha256Digest::of(b"version 8") };
    Entry::Trust { at: after(120), version }
}

/// What an auditor finds, or the code of what failed, after the evidence went through a file.
pub(crate) fn judged(evidence: &Evidence, against: &Against<'_>) -> Result<Verdict, &'static str> {
    let read = Evidence::parse(evidence.to_json().as_bytes()).map_err(|error| error.code())?;
    assert_eq!(&read, evidence);
    judge(&read, against, now()).map_err(|error| error.code())
}
