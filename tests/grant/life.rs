//! From the decision to the last use: what opens a seal, what a gate permits, narrowing, counting.

use std::sync::Barrier;

use touchgate::audit::entry::Outcome;
use touchgate::audit::{Entry, LogSigner};
use touchgate::digest::Sha256Digest;
use touchgate::grant::{Claims, GrantRejection, OpenError, UsesDirectory, check, narrow};
use touchgate::request::{Mode, Parameters};
use touchgate::text::Text;

use crate::world::{AUDIENCE, World, later, logged, now, part, presenter, request};

#[test]
fn a_token_says_what_was_decided_and_nothing_else() {
    let world = World::new();
    let challenge = world.challenge(request("deploy", "payroll"));
    let sealed =
        touchgate::grant::SealedGrant::new(world.met(&challenge), Sha256Digest::of(b"evidence"), now());
    let (record, entry) = (sealed.record(), sealed.entry());
    assert_eq!((record.request, record.uses, record.used, record.revoked), (challenge.id, 3, 0, None));
    assert_eq!(record.expires, later(600));
    let grant = sealed.open(&world.receipt(&entry), &world.es).unwrap();
    assert_eq!(part(grant.token(), 1), record.claims.as_bytes());
    assert_eq!(part(grant.token(), 0), br#"{"alg":"ES256","kid":"es","typ":"touchgate-grant+jwt"}"#);
    let claims = grant.claims();
    assert_eq!(claims.iss.to_string(), format!("https://{AUDIENCE}"));
    assert_eq!((claims.aud.as_str(), claims.sub.as_str()), (AUDIENCE, "github:alice"));
    assert_eq!((claims.iat, claims.nbf, claims.exp), (now(), now(), later(600)));
    // The touch cannot lie before the question.
    assert_eq!(claims.auth_time, challenge.issued);
    assert_eq!((claims.acr.acr(), claims.amr.join(" ")), ("urn:touchgate:touch-declared", "hwk user".into()));
    assert_eq!(claims.detail().parameters, challenge.request.parameters);
    assert_eq!(claims.cnf.unwrap().jkt, presenter());
    assert_eq!(claims.step_up.request, Sha256Digest::of(challenge.to_text().as_bytes()));
    assert_eq!((claims.step_up.trust, claims.step_up.mode), (world.trust.version, Mode::Ordinary));
    assert_eq!(Claims::parse(record.claims.as_bytes()).as_ref(), Ok(claims));
}

#[test]
fn only_the_decision_in_the_right_log_opens_a_seal() {
    let world = World::new();
    let altered = |change: &dyn Fn(&mut Entry)| {
        let sealed = world.sealed(request("deploy", "payroll"));
        let mut entry = sealed.entry();
        change(&mut entry);
        sealed.open(&world.receipt(&entry), &world.es)
    };
    assert!(altered(&|_| {}).is_ok());
    let other = world.sealed(request("deploy", "payroll/test")).entry();
    let changes: [&dyn Fn(&mut Entry); 6] = [
        &|entry| *entry = other.clone(),
        &|entry| {
            let Entry::Decided { outcome, .. } = entry else { panic!() };
            *outcome = Outcome::Refused;
        },
        &|entry| {
            let Entry::Decided { grant, .. } = entry else { panic!() };
            *grant = None;
        },
        &|entry| {
            let Entry::Decided { grant: Some(grant), .. } = entry else { panic!() };
            grant.insert("exp".into(), 1.into());
        },
        &|entry| {
            let Entry::Decided { evidence, .. } = entry else { panic!() };
            *evidence = Some(Sha256Digest::of(b"other evidence"));
        },
        &|entry| {
            let Entry::Decided { request, .. } = entry else { panic!() };
            *entry = Entry::Used { at: now(), grant: *request, count: 1 };
        },
    ];
    for (at, change) in changes.iter().enumerate() {
        assert_eq!(altered(change), Err(OpenError::OtherEntry { index: 0 }), "{at}");
    }
    let sealed = world.sealed(request("deploy", "payroll"));
    let (elsewhere, _) = LogSigner::generate("other.example.com").unwrap();
    let receipt = logged(&elsewhere, &sealed.entry());
    assert!(matches!(sealed.open(&receipt, &world.es), Err(OpenError::OtherLog { .. })));
}

#[test]
fn a_gate_permits_exactly_what_was_approved_and_knows() {
    let world = World::new();
    let genuine = world.gate(world.grant(request("deploy", "payroll"), &world.ed).token()).unwrap();
    let asked = request("deploy", "payroll");
    let parameters = |list: &[(&str, &str)]| -> Parameters {
        list.iter().map(|(name, value)| (name.parse().unwrap(), Text::new(*value).unwrap())).collect()
    };
    let permits = |action: &str, resource: &str, parameters: &Parameters| {
        let (action, resource) = (action.parse().unwrap(), resource.parse().unwrap());
        genuine.permits(&action, &resource, parameters).map_err(|error| error.code())
    };
    assert_eq!(permits("deploy", "payroll", &asked.parameters), Ok(()));
    assert_eq!(permits("deploy", "payroll", &parameters(&[])), Ok(()));
    assert_eq!(permits("migrate", "payroll", &asked.parameters), Err("grant-action"));
    // Neither narrowed nor widened by whoever checks.
    for resource in ["payroll/test", "pay", "payroll2", "payments"] {
        assert_eq!(permits("deploy", resource, &asked.parameters), Err("grant-resource"), "{resource}");
    }
    for wrong in [("image", "sha256:00"), ("commit", "x"), ("command", "./deploy.sh  --region eu")] {
        assert_eq!(permits("deploy", "payroll", &parameters(&[wrong])), Err("grant-parameter"), "{wrong:?}");
    }
}

#[test]
fn it_is_valid_from_its_first_second_to_before_its_last() {
    let world = World::new();
    let grant = world.grant(request("deploy", "payroll"), &world.ed);
    let at = |seconds: i64| {
        let now =
            touchgate::unix_time::UnixTime::from_seconds(now().seconds().saturating_add_signed(seconds));
        let presenter = presenter();
        check(grant.token(), &world.trust.grant_keys, &world.trust.audience, now.unwrap(), Some(&presenter))
            .map(drop)
            .map_err(|error| error.code())
    };
    assert_eq!(at(-1), Err("grant-not-yet-valid"));
    assert_eq!((at(0), at(599)), (Ok(()), Ok(())));
    assert_eq!(at(600), Err("grant-expired"));
    assert_eq!(at(601), Err("grant-expired"));
}

#[test]
fn it_is_worth_nothing_in_other_hands() {
    let world = World::new();
    let grant = world.grant(request("deploy", "payroll"), &world.ed);
    let (other, own) = (Sha256Digest::of(b"another key"), presenter());
    let by = |presenter| {
        check(grant.token(), &world.trust.grant_keys, &world.trust.audience, now(), presenter)
            .map(drop)
            .map_err(|error| error.code())
    };
    assert_eq!(by(None), Err("grant-presenter"));
    assert_eq!(by(Some(&other)), Err("grant-presenter"));
    assert_eq!(by(Some(&own)), Ok(()));
    // Bound to nobody's key, it is its bearer's.
    let mut unbound = request("deploy", "payroll");
    unbound.requester_key = None;
    let grant = world.grant(unbound, &world.ed);
    assert!(check(grant.token(), &world.trust.grant_keys, &world.trust.audience, now(), None).is_ok());
}

#[test]
fn narrowing_gives_less_of_the_same_grant() {
    let world = World::new();
    let whole = world.gate(world.grant(request("deploy", "payroll"), &world.es).token()).unwrap();
    let to = |from: &touchgate::grant::Genuine, part: &str| {
        narrow(from, &part.parse().unwrap(), &world.trust, &[], &world.es)
    };
    let test = world.gate(to(&whole, "payroll/test").unwrap().token()).unwrap();
    let deploy = "deploy".parse().unwrap();
    let permits = |resource: &str| {
        test.permits(&deploy, &resource.parse().unwrap(), &Parameters::new()).map_err(|error| error.code())
    };
    assert_eq!(permits("payroll/test"), Ok(()));
    assert_eq!(permits("payroll"), Err("grant-resource"));
    assert_eq!(permits("payroll/test/eu"), Err("grant-resource"));
    let (narrowed, claims) = (test.claims(), whole.claims());
    assert_eq!((narrowed.jti, narrowed.exp, narrowed.cnf), (claims.jti, claims.exp, claims.cnf));
    assert_eq!(narrowed.step_up.uses, claims.step_up.uses);
    assert_eq!(narrowed.step_up.narrowed_from.as_ref().unwrap().as_str(), "payroll");
    let eu = to(&test, "payroll/test/eu").unwrap();
    assert_eq!(eu.claims().step_up.narrowed_from.as_ref().unwrap().as_str(), "payroll");

    let refused = |from, part| match to(from, part) {
        Err(GrantRejection::Narrow { reason, .. }) => reason,
        other => panic!("{part}: {other:?}"),
    };
    // Others have the say there, whose approval nobody asked for.
    assert_eq!(refused(&whole, "payroll/prod"), "another rule covers that");
    assert_eq!(refused(&whole, "payroll/prod/eu"), "another rule covers that");
    for elsewhere in ["payroll", "payrolls", "payments/test", "pay"] {
        assert_eq!(refused(&whole, elsewhere), "that does not lie below what was granted", "{elsewhere}");
    }
    assert_eq!(refused(&test, "payroll/other"), "that does not lie below what was granted");
    let fixed = world.gate(world.grant(request("deploy", "staging/web"), &world.es).token()).unwrap();
    assert_eq!(refused(&fixed, "staging/web/eu"), "its rule does not say narrow = true");
    let debt = [claims.jti];
    let held = narrow(&whole, &"payroll/test".parse().unwrap(), &world.trust, &debt, &world.es);
    assert!(matches!(held, Err(GrantRejection::Narrow { .. })));
    // Under the next version of trust the rule may be another.
    let other = World::new();
    let moved = narrow(&whole, &"payroll/test".parse().unwrap(), &other.trust, &[], &world.es);
    assert!(matches!(moved, Err(GrantRejection::Narrow { .. })));
}

#[test]
fn a_directory_counts_each_use_once_and_remembers() {
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("uses");
    let uses = UsesDirectory::open(&path).unwrap();
    let grant = world.grant(request("deploy", "payroll"), &world.es);
    let whole = world.gate(grant.token()).unwrap();
    let narrowed = narrow(&whole, &"payroll/test".parse().unwrap(), &world.trust, &[], &world.es).unwrap();
    let part = world.gate(narrowed.token()).unwrap();
    let code = |result: Result<u32, GrantRejection>| result.map_err(|error| error.code());
    assert_eq!(code(uses.count(&whole, 4, now())), Err("grant-spent"));
    assert_eq!(code(uses.count(&whole, 1, now())), Ok(2));
    // Of the same grant, so of the same uses; and the directory opened anew knows them.
    let again = UsesDirectory::open(&path).unwrap();
    assert_eq!(code(again.count(&part, 2, now())), Ok(0));
    assert_eq!(code(uses.count(&whole, 1, now())), Err("grant-spent"));
    assert_eq!(code(again.count(&part, 1, later(599))), Err("grant-spent"));
    // Another grant has its own.
    let other = world.gate(world.grant(request("deploy", "payroll"), &world.ed).token()).unwrap();
    assert_eq!(code(uses.count(&other, 1, now())), Ok(2));
    // Long after their end they are forgotten, at the next use of any.
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 4);
    assert_eq!(code(uses.count(&other, 1, later(8 * 24 * 3600))), Ok(2));
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
}

#[test]
fn of_many_who_race_for_the_uses_as_many_win() {
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("uses");
    for _ in 0..20 {
        let grant = world.gate(world.grant(request("deploy", "payroll"), &world.ed).token()).unwrap();
        let start = Barrier::new(8);
        let won = std::thread::scope(|scope| {
            let racer = || {
                let uses = UsesDirectory::open(&path).unwrap();
                start.wait();
                uses.count(&grant, 1, now())
            };
            let racers: Vec<_> = (0..8).map(|_| scope.spawn(racer)).collect();
            let results: Vec<_> = racers.into_iter().map(|racer| racer.join().unwrap()).collect();
            results.iter().filter(|result| result.is_ok()).count()
        });
        assert_eq!(won, 3);
    }
}

#[test]
fn a_directory_that_others_can_write_counts_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(UsesDirectory::open(directory.path()).is_err());
    assert!(UsesDirectory::open(&directory.path().join("no/such")).is_err());
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("/tmp", &link).unwrap();
    assert!(UsesDirectory::open(&link).is_err());
}
