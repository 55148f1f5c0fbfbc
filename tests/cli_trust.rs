//! Trust from the command line: begun for a team, extended by enrolments, checked, compared, explained.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use support::{PIN, Ran, Running, SERIAL, World, card_arguments, run, run_with};

/// Bob's token, in the second reader.
const BOBS: &str = "87654321";

/// Alice's machine with two tokens in it, the second of which is Bob's.
fn two() -> World {
    World::with("--touch=now", |home, builder| {
        builder.second_card(card_arguments(BOBS, "--touch=now", Some(&home.join("bob.asc"))))
    })
}

fn init(world: &World, arguments: &[&str]) -> Ran {
    let mut init = world.touchgate(["init", "--no-input", "--touch", "keep", "--card", SERIAL]);
    run(init.arg("--certificate").arg(world.home.certificate()).args(arguments))
}

/// Bob's token in a file.
fn enrol(world: &World, name: &str, arguments: &[&str]) {
    let mut enrol = world.touchgate(["enrol", "--no-input", "--pin-fd", "0", "--name", name]);
    enrol.args(["--card", BOBS, "--certificate"]).arg(world.home.join("bob.asc")).args(arguments);
    run_with(&mut enrol, PIN).succeeded();
}

fn trust(world: &World, arguments: &[&str]) -> Ran {
    run(world.touchgate(["trust"]).args(arguments))
}

/// Every file below the directory, for seeing that nothing changed.
fn snapshot(world: &World) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![world.home.work().join("trust")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => found.push((path.display().to_string(), fs::read(&path).unwrap())),
            }
        }
    }
    found.sort();
    found
}

fn person<'a>(shown: &'a Value, name: &str) -> &'a Value {
    shown["people"].as_array().unwrap().iter().find(|person| person["name"] == name).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn init_makes_keys_once_and_lists_them() {
    let world = World::bare("--touch=now");
    init(&world, &[]).succeeded();
    let keys = world.home.join(".local/state/touchgate/keys");
    let policy = || fs::read_to_string(world.home.config().join("trust/policy.toml")).unwrap();
    let listed = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains("key ")).map(str::to_owned).collect()
    };
    assert_eq!(
        (mode(&keys), mode(&keys.join("log.pk8")), mode(&keys.join("grant.pk8"))),
        (0o700, 0o600, 0o600)
    );
    let first = policy();
    assert!(
        first.contains("\nlog_key     = \"")
            && first.contains("\n[[grant_key]]\nkid = \"1\"\nalg = \"ES256\"")
    );

    // Set up anew, the log goes on under the same key.
    fs::rename(world.home.config(), world.home.join("before")).unwrap();
    init(&world, &[]).succeeded();
    assert_eq!(listed(&policy()), listed(&first));

    // What others could read is not taken, and nothing is set up.
    fs::rename(world.home.config(), world.home.join("before-that")).unwrap();
    fs::set_permissions(keys.join("log.pk8"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(init(&world, &["--json"]).exits(1).json()["code"], "unsafe-permissions");
    fs::set_permissions(keys.join("log.pk8"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(keys.join("log.pk8"), "no key").unwrap();
    assert_eq!(init(&world, &["--json"]).exits(1).json()["code"], "bad-key");
    assert!(!world.home.config().join("pin").exists());
}

#[test]
fn a_team_begins_with_one() {
    let world = two();
    let ran = init(&world, &["--team", "--audience", "approve.example.com"]).succeeded();
    assert!(ran.out.contains("  written  trust, to be kept in git and worked on there\n"), "{}", ran.out);
    // What is worked on and what this machine goes by are the same, and two things.
    for path in ["policy.toml", &format!("tokens/{SERIAL}.asc")] {
        let installed = fs::read(world.home.config().join("trust").join(path)).unwrap();
        assert_eq!(fs::read(world.home.work().join("trust").join(path)).unwrap(), installed);
    }
    let shown = run(&mut world.touchgate(["trust", "show", "--json"])).succeeded().json();
    assert_eq!((&shown["audience"], &shown["pinned"]), (&"approve.example.com".into(), &true.into()));
    assert_eq!(shown["people"][0]["groups"], serde_json::json!(["admins", "release"]));
    let again = init(&world, &["--team", "--json"]).exits(1).json();
    assert_eq!(again["code"], "already-set-up");
}

#[test]
fn an_enrolment_becomes_part_of_trust() {
    let world = two();
    init(&world, &["--team"]).succeeded();
    enrol(&world, "bob", &[]);
    let before = snapshot(&world);
    // A virtual token's attestation leads to test roots, so it is not what it says.
    let refused = trust(&world, &["add", "bob.enrol", "--json"]).exits(1).json();
    assert_eq!(refused["code"], "not-attested");
    assert_eq!(snapshot(&world), before);

    let options =
        ["--group", "release", "--group", "admns", "--identity", "github:bob", "--touch", "declared"];
    let added = trust(&world, &[&["add", "bob.enrol"], &options[..]].concat()).succeeded();
    assert!(
        added.out.starts_with("added 1 token to trust; this machine goes by its own copy as before\n"),
        "{}",
        added.out
    );
    assert!(added.out.contains("evidence  declared (its attestation is not believed: "), "{}", added.out);
    assert!(
        added.out.contains("note: no rule names the group \"admns\"; did you mean \"admins\"?"),
        "{}",
        added.out
    );
    let shown = trust(&world, &["show", "trust", "--json"]).succeeded().json();
    let bob = person(&shown, "bob");
    assert_eq!((&bob["name"], &bob["tokens"][0]["serial"]), (&"bob".into(), &BOBS.into()));
    assert_eq!(bob["tokens"][0]["evidence"], "declared");
    assert_eq!(bob["identities"], serde_json::json!(["github:bob"]));
    // No attestation is kept that shows nothing, and nothing lies around.
    assert!(!world.exists(&format!("trust/tokens/{BOBS}.attestation.pem")));
    let names = fs::read_dir(world.home.work()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.map(|name| name.to_string_lossy().into_owned()).all(|name| !name.starts_with(".trust")));
    // This machine goes by what it did.
    let installed = trust(&world, &["show", "--json"]).succeeded().json();
    assert_eq!(installed["people"].as_array().unwrap().len(), 1);
    let difference = trust(&world, &["diff", "trust"]).succeeded().out;
    assert!(
        difference
            .contains("  bob: new; groups release, admns; asks as github:bob; tokens 87654321 (declared)\n"),
        "{difference}"
    );

    // Twice is refused, also under another name, and changes nothing.
    let before = snapshot(&world);
    let again = trust(&world, &["add", "bob.enrol", "--touch", "declared", "--json"]).exits(1).json();
    assert_eq!(
        (&again["code"], &again["message"]),
        (&"held".into(), &"token 87654321 is bob's already".into())
    );
    let other = trust(&world, &["add", "bob.enrol", "--person", "eve", "--touch", "declared", "--json"]);
    assert_eq!(other.exits(1).json()["code"], "held");
    assert_eq!(snapshot(&world), before);
}

#[test]
fn what_stands_in_a_persons_file_stays() {
    let world = two();
    init(&world, &["--team"]).succeeded();
    let files: Vec<String> = snapshot(&world).into_iter().map(|(path, _)| path).collect();
    let alice = files.iter().find(|path| path.contains("/people/")).unwrap();
    let name = Path::new(alice).file_stem().unwrap().to_str().unwrap().to_owned();
    let text = fs::read_to_string(alice).unwrap();
    let commented = text.replace("groups     =", "# Since the first day\ngroups     =") + "# the end\n";
    fs::write(alice, &commented).unwrap();
    fs::create_dir(world.home.work().join("trust/versions")).unwrap();
    world.write("trust/versions/1.partial.json", "{}");
    enrol(&world, "second", &["--no-attestation"]);
    let options = ["--person", &name, "--identity", "github:alice", "--group", "release"];
    let added = trust(&world, &[&["add", "second.enrol"], &options[..]].concat()).succeeded();
    assert!(added.out.contains("evidence  signed (trust holds no attestation of it)"), "{}", added.out);
    let now = fs::read_to_string(alice).unwrap();
    assert!(
        now.starts_with("# Since the first day\ngroups     = [\"admins\", \"release\"]\nidentities = [\"os:"),
        "{now}"
    );
    assert!(now.contains(", \"github:alice\"]\n") && now.contains("# the end\n"), "{now}");
    assert_eq!(now.matches("[[token]]").count(), 2, "{now}");
    assert_eq!(world.read("trust/versions/1.partial.json"), "{}");
}

#[test]
fn nothing_is_added_to_what_this_machine_goes_by_or_to_nothing() {
    let world = two();
    init(&world, &[]).succeeded();
    enrol(&world, "bob", &[]);
    assert_eq!(trust(&world, &["add", "bob.enrol", "--json"]).exits(2).json()["code"], "usage");
    let installed = world.home.config().join("trust");
    let into = installed.to_str().unwrap();
    let ran = trust(&world, &["add", "bob.enrol", "--touch", "declared", "--json", "--trust", into]).exits(1);
    assert_eq!(ran.json()["code"], "installed-trust");
}

/// Two at once: each takes effect as a whole, or says that it did not.
#[test]
fn two_at_once_do_not_mix() {
    let world = two();
    init(&world, &["--team"]).succeeded();
    enrol(&world, "bob", &["--no-attestation"]);
    let lock = fs::File::open(world.home.work().join("trust")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(trust(&world, &["add", "bob.enrol", "--json"]).exits(1).json()["code"], "locked");
    drop(lock);
    let outcomes: Vec<i32> = std::thread::scope(|scope| {
        let one = |group: &'static str| {
            let world = &world;
            scope.spawn(move || trust(world, &["add", "bob.enrol", "--group", group, "--json"]).code)
        };
        let all = [one("release"), one("admins"), one("release"), one("admins")];
        all.map(|running| running.join().unwrap()).to_vec()
    });
    assert_eq!(outcomes.iter().filter(|code| **code == 0).count(), 1, "{outcomes:?}");
    let shown = trust(&world, &["show", "trust", "--json"]).succeeded().json();
    assert_eq!(person(&shown, "bob")["groups"].as_array().unwrap().len(), 1, "{shown}");
}

#[test]
fn a_directory_is_looked_over_before_it_is_signed() {
    let world = two();
    init(&world, &["--team"]).succeeded();
    // With one person there is nobody else to approve a deploy.
    let alone = trust(&world, &["check", "--json"]).exits(3).json();
    assert_eq!((&alone["verdict"], &alone["code"]), (&"rejected".into(), &"unmeetable-rule".into()));
    assert_eq!(alone["findings"][0]["place"]["file"], "policy.toml");
    enrol(&world, "bob", &[]);
    let options =
        ["--group", "release", "--group", "admins", "--identity", "github:bob", "--touch", "declared"];
    trust(&world, &[&["add", "bob.enrol"], &options[..]].concat()).succeeded();
    let both = trust(&world, &["check"]).succeeded().out;
    assert!(both.starts_with("trust: 0 errors, 1 warning\n  policy.toml:"), "{both}");
    assert!(both.contains(": warning (one-person-updates): bob or "), "{both}");

    let policy = world.read("trust/policy.toml");
    world.write("trust/policy.toml", &policy.replacen("from = \"release\"", "form = \"release\"", 1));
    let broken = trust(&world, &["check", "--json"]).exits(3).json();
    assert_eq!((&broken["code"], &broken["reason"]), (&"bad-trust".into(), &"malformed".into()));
    assert!(
        broken["place"]["line"].as_u64().unwrap() > 1
            && broken["message"].as_str().unwrap().ends_with("did you mean \"from\"?"),
        "{broken}"
    );
}

#[test]
fn a_request_is_explained_before_it_is_made() {
    let world = two();
    init(&world, &["--team"]).succeeded();
    let ran = trust(&world, &["explain", "deploy", "payments/prod"]).exits(3);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("deploy on payments/prod, asked by os:"), "{}", ran.out);
    assert!(lines[1].starts_with("  rule      deploy on ** at policy.toml:"), "{}", ran.out);
    assert!(ran.out.contains("            1 of release: nobody else can; not "), "{}", ran.out);
    assert!(ran.out.ends_with("too few\n"), "{}", ran.out);
    enrol(&world, "bob", &[]);
    let options = ["--group", "release", "--identity", "github:bob", "--touch", "declared"];
    trust(&world, &[&["add", "bob.enrol"], &options[..]].concat()).succeeded();
    let ask = ["explain", "deploy", "payments/prod", "--in", "trust", "--requester", "github:bob", "--json"];
    let bobs = trust(&world, &ask).succeeded().json();
    assert_eq!(
        (&bobs["requester"], &bobs["missing"], &bobs["possible"]),
        (&"bob".into(), &2.into(), &true.into())
    );
    let given = trust(&world, &[&ask[..], &["--approved-by", "bob"]].concat()).succeeded().json();
    assert_eq!((&given["missing"], &given["slots"][0]["filled"][0]), (&1.into(), &"bob".into()));
    let who = trust(&world, &[&ask[..], &["--approved-by", "bbo"]].concat()).exits(2).json();
    assert!(who["message"].as_str().unwrap().ends_with("did you mean \"bob\"?"), "{who}");
    let other = trust(&world, &["explain", "deplyo", "payments/prod", "--json"]).exits(3).json();
    assert_eq!((&other["code"], &other["did_you_mean"]), (&"no-rule".into(), &"deploy".into()));
    let update = trust(&world, &["explain", "touchgate.trust.update", "trust", "--json"]).succeeded().json();
    assert_eq!((&update["requester"], &update["possible"]), (&Value::Null, &true.into()));
}

#[test]
fn a_team_goes_from_one_person_to_a_second_version() {
    let world = two();
    init(&world, &["--team"]).succeeded();
    enrol(&world, "bob", &[]);
    let options =
        ["--group", "release", "--group", "admins", "--identity", "github:bob", "--touch", "declared"];
    trust(&world, &[&["add", "bob.enrol"], &options[..]].concat()).succeeded();
    trust(&world, &["check"]).succeeded();
    let mut sign = world.touchgate(["trust", "sign", "--no-input", "--pin-fd", "0", "--card", SERIAL]);
    let signed = run_with(&mut sign, PIN).succeeded();
    assert!(signed.out.starts_with("signed: version 2, by "), "{}", signed.out);
    // What the signer was shown is what `trust diff` says.
    assert!(signed.err.contains("  so deploy on **: bob may approve from now on\n"), "{}", signed.err);
    // The copy that is worked on is followed from the pin; this machine's own is put in place by hand.
    let followed = trust(&world, &["show", "--trust", "trust", "--json"]).succeeded().json();
    assert!(followed["trust"].as_str().unwrap().starts_with("2 "), "{followed}");
    trust(&world, &["pin", "--install", "trust"]).succeeded();
    let installed = trust(&world, &["show", "--json"]).succeeded().json();
    assert_eq!((&installed["trust"], &installed["pinned"]), (&followed["trust"], &true.into()));
    assert_eq!(trust(&world, &["diff", "trust"]).succeeded().out.lines().last(), Some("  no difference"));
    let explained = trust(&world, &["explain", "deploy", "payments/prod", "--json"]).succeeded().json();
    assert_eq!((&explained["missing"], &explained["slots"][1]["can"][0]), (&2.into(), &"bob".into()));
    // And on to the next one: what was signed stays beside it.
    world.write(
        "trust/policy.toml",
        &world.read("trust/policy.toml").replace("answer_within = \"1h\"", "answer_within = \"2h\""),
    );
    let mut sign = world.touchgate(["trust", "sign", "--no-input", "--pin-fd", "0", "--card", BOBS]);
    assert!(run_with(&mut sign, PIN).succeeded().out.starts_with("signed: version 3, by bob"));
    assert!(world.exists("trust/versions/2.json") && world.exists("trust/versions/3.json"));
}

/// From nothing to a deploy that two people approved, as docs/trust.md has it.
#[test]
fn a_team_of_two_deploys() {
    let world = two();
    init(&world, &["--team"]).succeeded();
    enrol(&world, "bob", &[]);
    let options = ["--group", "release", "--identity", "github:bob", "--touch", "declared"];
    trust(&world, &[&["add", "bob.enrol"], &options[..]].concat()).succeeded();
    trust(&world, &["check"]).succeeded();
    let mut sign = world.touchgate(["trust", "sign", "--no-input", "--pin-fd", "0", "--card", SERIAL]);
    run_with(&mut sign, PIN).succeeded();
    trust(&world, &["pin", "--install", "trust"]).succeeded();
    let exchange = world.home.work().join("exchange");
    fs::create_dir(&exchange).unwrap();
    let mut deploy = world.touchgate(["run", "deploy", "payments/prod", "--no-input", "--pin-fd", "0"]);
    deploy.args(["--card", SERIAL, "--exchange", "exchange", "--", "echo", "deployed"]);
    let running = Running::start(&mut deploy, Some(PIN));
    running.wait_for_stderr("needed    1 more, from release");
    let request = fs::read_dir(&exchange)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "request"))
        .unwrap();
    let mut approve = world.touchgate(["approve", "--no-input", "--pin-fd", "0", "--card", BOBS]);
    run_with(approve.arg(request).current_dir(exchange), PIN).succeeded();
    assert_eq!(running.finish().succeeded().out, "deployed\n");
}
