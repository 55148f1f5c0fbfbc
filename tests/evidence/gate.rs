//! Evidence at a gate: whose it is, for how long, and what it must have beside what an auditor wants.

use touchgate::audit::entry::Outcome;
use touchgate::digest::Sha256Digest;
use touchgate::evidence::{Against, Attempt, Evidence, Passable, gate};
use touchgate::request::{Mode, Request};
use touchgate::statement::Decision;
use touchgate::text::Text;
use touchgate::trust::debt::Debt;
use touchgate::trust::quorum::Circumstances;
use touchgate::trust::{Files, Trust};
use touchgate::unix_time::UnixTime;

use crate::log::Log;
use crate::people;
use crate::scene::{
    Version, after, answered, approval, approved, challenge_of, decided, grant, grant_amid, request, team,
    version,
};

fn at(evidence: &Evidence, version: &Version, key: &[u8], now: UnixTime) -> Result<Passable, &'static str> {
    pass(evidence, &request(), key, &Against { newest: Some(&version.trust), ..version.against() }, now)
}

/// To do what `request` asks for.
fn pass(
    evidence: &Evidence,
    request: &Request,
    key: &[u8],
    against: &Against<'_>,
    now: UnixTime,
) -> Result<Passable, &'static str> {
    let Request { action, resource, parameters, .. } = request;
    let presenter = &Sha256Digest::of(key);
    gate(evidence, &Attempt { action, resource, parameters, presenter }, against, now)
        .map_err(|error| error.code())
}

/// With this trust as the newest that is known.
fn since(newest: &Trust) -> Result<Passable, &'static str> {
    let against = Against { newest: Some(newest), ..team().against() };
    pass(&approved(), &request(), PRESENTER, &against, after(61))
}

fn edit(files: &mut Files, path: &str, from: &str, to: &str) {
    let text = String::from_utf8(files[path].clone()).unwrap();
    assert!(text.contains(from), "{path}: {from}");
    files.insert(path.into(), text.replacen(from, to, 1).into_bytes());
}

const PRESENTER: &[u8] = b"the presenter's key";

fn logged(mut evidence: Evidence, version: &Version) -> Evidence {
    let entry = grant(&mut evidence, version);
    let mut log = Log::new();
    let index = log.append(&entry);
    evidence.log = Some(log.proof(index, &[(0, after(65))]));
    evidence
}

#[test]
fn it_passes_from_the_decision_until_the_grant_ends() {
    let evidence = approved();
    let lasts = 15 * 60;
    for (seconds, code) in
        [(60, None), (60 + lasts - 1, None), (60 + lasts, Some("ended")), (59, Some("ended"))]
    {
        let found = at(&evidence, team(), PRESENTER, after(seconds));
        assert_eq!(found.err(), code, "{seconds}");
    }
    let passable = at(&evidence, team(), PRESENTER, after(61)).unwrap();
    assert_eq!((passable.request(), passable.uses()), (evidence.challenge.id, 1));
    assert_eq!(passable.ends(), after(60 + lasts));
}

#[test]
fn only_who_asked_may_present_it() {
    assert_eq!(at(&approved(), team(), b"another key", after(61)).unwrap_err(), "requester-key-differs");
    let challenge = challenge_of(team(), Request { requester_key: None, ..request() });
    let answers = ["bob", "carol", "dave"].map(|name| approval(&challenge, name)).to_vec();
    let anybodys = logged(decided(team(), &challenge, answers, Outcome::Approved), team());
    assert_eq!(at(&anybodys, team(), PRESENTER, after(61)).unwrap_err(), "no-requester-key");
}

#[test]
fn what_was_approved_opens_nothing_else() {
    let other = |change: &dyn Fn(&mut Request)| {
        let mut request = request();
        change(&mut request);
        let against = Against { newest: Some(&team().trust), ..team().against() };
        pass(&approved(), &request, PRESENTER, &against, after(61)).map(|_| ())
    };
    assert_eq!(other(&|request| request.action = "rollback".parse().unwrap()), Err("grant-action"));
    assert_eq!(other(&|request| request.resource = "payments/test".parse().unwrap()), Err("grant-resource"));
    let set = |request: &mut Request, name: &str, value: &str| {
        request.parameters.insert(name.parse().unwrap(), Text::new(value).unwrap());
    };
    assert_eq!(other(&|request| set(request, "commit", "git:0")), Err("grant-parameter"));
    assert_eq!(other(&|request| set(request, "image", "sha256:0")), Err("grant-parameter"));
    // What the gate does not know may have been approved as well.
    assert_eq!(other(&|request| request.parameters.clear()), Ok(()));
}

#[test]
fn a_gate_must_know_what_became_of_it_since() {
    let unknown =
        |against: &Against<'_>| pass(&approved(), &request(), PRESENTER, against, after(61)).unwrap_err();
    assert_eq!(unknown(&team().against()), "later-unknown");
    // Older trust says nothing about it, and another of the same number even less.
    let older = version(6, &Log::keys()).trust;
    let (before, behind) = Log::keys();
    let fork = version(7, &(before, behind + "# another\n")).trust;
    assert_eq!(since(&older).unwrap_err(), "later-unknown");
    assert_eq!(since(&fork).unwrap_err(), "later-unknown");
    assert!(since(&version(8, &Log::keys()).trust).is_ok());
}

#[test]
fn what_newer_trust_would_not_give_opens_nothing() {
    type Change = fn(&mut Files);
    let changes: [(&str, Change); 4] = [
        ("bob has no token any more", |files| {
            let bare = "groups = [\"release\", \"security\"]\nidentities = [\"github:bob\"]\n";
            files.insert("people/bob.toml".into(), bare.into());
            files.remove("tokens/1002.asc");
        }),
        ("bob is gone", |files| {
            files.remove("people/bob.toml");
            files.remove("tokens/1002.asc");
        }),
        ("bob has left the group", |files| edit(files, "people/bob.toml", "security", "others")),
        ("the rule needs more", |files| edit(files, "policy.toml", "count = 2", "count = 3")),
    ];
    for (what, change) in changes {
        let mut files = version(8, &Log::keys()).files;
        change(&mut files);
        let found = since(&Trust::from_files(&files).unwrap());
        assert_eq!(found.err(), Some("no-longer-given"), "{what}");
    }
}

#[test]
fn what_newer_trust_gives_less_of_opens_nothing() {
    let giving = |number: u64, lasts: &str, uses: u32, narrow: bool| {
        let mut files = version(number, &Log::keys()).files;
        let given = format!("grant = {{ lasts = \"{lasts}\", uses = {uses}, narrow = {narrow} }}\npinned ");
        edit(&mut files, "policy.toml", "pinned ", &given);
        Version::new(files)
    };
    let old = giving(7, "15m", 3, true);
    let evidence = logged(crate::scene::bare_under(&old), &old);
    for (lasts, uses, narrow, enough) in [
        ("15m", 3, true, true),
        ("20m", 4, true, true),
        ("10m", 3, true, false),
        ("15m", 2, true, false),
        ("15m", 3, false, false),
    ] {
        let newest = giving(8, lasts, uses, narrow);
        let against = Against { newest: Some(&newest.trust), ..old.against() };
        let found = pass(&evidence, &request(), PRESENTER, &against, after(61)).err();
        assert_eq!(found, (!enough).then_some("no-longer-given"), "{lasts} {uses} {narrow}");
    }
}

/// What it settles is given along, and whoever owes it still does not count.
#[test]
fn a_countersignature_is_judged_by_its_debt_under_newer_trust_too() {
    let glass = Request { mode: Mode::BreakGlass, reason: Some(Text::new("down").unwrap()), ..request() };
    let broken = challenge_of(team(), glass);
    let debts = |signer: &str| [Debt::new(broken.clone(), [signer.to_owned()]).unwrap()];
    let own = debts("bob");
    let asked = Request { requester_key: request().requester_key, ..own[0].countersign(request().requester) };
    let asked = Request { requester: "github:judy".parse().unwrap(), ..asked };
    let challenge = challenge_of(team(), asked.clone());
    let answers = ["carol", "dave"].map(|name| approval(&challenge, name)).to_vec();
    let mut evidence = decided(team(), &challenge, answers, Outcome::Approved);
    let circumstances = Circumstances { debts: &own, ..Circumstances::default() };
    let entry = grant_amid(&mut evidence, team(), circumstances);
    let mut log = Log::new();
    let index = log.append(&entry);
    evidence.log = Some(log.proof(index, &[(0, after(65))]));
    let newer = version(8, &Log::keys()).trust;
    let against = Against { newest: Some(&newer), circumstances, ..team().against() };
    assert_eq!(pass(&evidence, &asked, PRESENTER, &against, after(61)).err(), None);
    let mut less = version(8, &Log::keys()).files;
    edit(&mut less, "people/carol.toml", "release", "others");
    let newer = Trust::from_files(&less).unwrap();
    let against = Against { newest: Some(&newer), ..against };
    assert_eq!(pass(&evidence, &asked, PRESENTER, &against, after(61)).err(), Some("no-longer-given"));
}

#[test]
fn a_token_that_was_lost_since_opens_nothing_where_it_was_needed() {
    let challenge = challenge_of(team(), request());
    let answers = ["bob", "carol", "dave", "tina"].map(|name| approval(&challenge, name)).to_vec();
    let evidence = logged(decided(team(), &challenge, answers, Outcome::Approved), team());
    for number in [7, 8] {
        let lost = |name| {
            let mut trust = version(number, &Log::keys()).trust;
            trust.revoke([people::signer(name).public().fingerprint()]);
            let against = Against { newest: Some(&trust), ..team().against() };
            pass(&evidence, &request(), PRESENTER, &against, after(61)).map(|_| ())
        };
        assert_eq!(lost("bob"), Err("no-longer-given"), "nobody else is of security");
        assert_eq!(lost("tina"), Ok(()), "two others of release are left");
    }
}

#[test]
fn it_must_stand_in_the_log() {
    let mut evidence = approved();
    evidence.log = None;
    assert_eq!(at(&evidence, team(), PRESENTER, after(61)).unwrap_err(), "not-logged");
}

#[test]
fn a_refusal_opens_nothing() {
    let challenge = challenge_of(team(), request());
    let refusal = answered(&challenge, "bob", Decision::Refuse { because: None });
    let evidence = decided(team(), &challenge, vec![refusal], Outcome::Refused);
    assert_eq!(at(&evidence, team(), PRESENTER, after(61)).unwrap_err(), "not-approved");
}

#[test]
fn an_approval_without_grant_opens_nothing() {
    let mut evidence = approved();
    let mut entry: serde_json::Value = serde_json::from_str(&evidence.log.as_ref().unwrap().entry).unwrap();
    entry.as_object_mut().unwrap().remove("grant");
    let mut log = Log::new();
    let index = log.append_line(&entry.to_string());
    evidence.grant = None;
    evidence.log = Some(log.proof(index, &[(0, after(65))]));
    assert_eq!(at(&evidence, team(), PRESENTER, after(61)).unwrap_err(), "no-grant");
}

/// The newest version decides: what the pinned one said of its own end does not matter once another replaced it.
#[test]
fn a_gate_refuses_trust_that_has_ended() {
    let ends = after(120);
    let until = |number: u64, ends: Option<UnixTime>| {
        let mut files = version(number, &Log::keys()).files;
        ends.inspect(|ends| edit(&mut files, "policy.toml", "2027-03-01T00:00:00Z", &ends.to_string()));
        Version::new(files)
    };
    for (pinned, newest, now, code) in [
        (until(7, Some(ends)), until(7, Some(ends)), after(119), None),
        (until(7, Some(ends)), until(7, Some(ends)), ends, Some("trust-expired")),
        (until(7, Some(ends)), until(8, None), ends, None),
        (until(7, None), until(8, Some(ends)), ends, Some("trust-expired")),
    ] {
        let evidence = logged(crate::scene::bare_under(&pinned), &pinned);
        let against = Against { newest: Some(&newest.trust), ..pinned.against() };
        let found = pass(&evidence, &request(), PRESENTER, &against, now);
        assert_eq!(
            found.err(),
            code,
            "{} {} {now}",
            pinned.trust.version.number,
            newest.trust.version.number
        );
    }
}
