//! `trust sign` and `trust pin` over real pcscd: two people sign the next version, and verifiers go there by themselves.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::{Home, PIN, PROGRAM, Ran, SERIAL, World, card_arguments, run, run_with, wait_until};
use touchgate::audit::review::{Against, review};
use touchgate::audit::{Entry, LogSigner};
use touchgate::store::sqlite::Sqlite;
use touchgate::store::{Op, Store as _};
use touchgate::trust::{Trust, chain, read_directory};
use touchgate::unix_time::UnixTime;

/// The number of bob's token.
const BOB: &str = "87654321";

/// What this machine's user is called as a requester.
fn requester() -> String {
    let host = run(Command::new("uname").arg("-n")).out.trim().to_ascii_lowercase();
    let user = run(Command::new("id").arg("-un")).out.trim().to_owned();
    format!("os:{user}@{host}")
}

/// The fingerprint of the key in a certificate that the virtual card wrote.
fn fingerprint(world: &World, certificate: &Path) -> String {
    let mut gpg = world.gpg(&["--show-keys", "--with-colons"]);
    let shown = run(gpg.arg(certificate)).succeeded();
    shown
        .out
        .lines()
        .find_map(|line| line.strip_prefix("fpr:::::::::"))
        .unwrap()
        .trim_end_matches(':')
        .to_owned()
}

/// Alice and bob, each with a token, both admins and both needed for an update; version 1 is pinned and installed.
struct Team(World);

impl Team {
    fn new(within: &str) -> Self {
        let world = World::with("--touch=now", |home, builder| {
            builder.second_card(card_arguments(BOB, "--touch=now", Some(&home.join("bob.asc"))))
        });
        let team = Self(world);
        let person = |name: &str, serial: &str, identity: &str| {
            let certificate = team.0.home.join(&format!("{name}.asc"));
            let key = fingerprint(&team.0, &certificate);
            team.write(&format!("tokens/{serial}.asc"), &fs::read_to_string(certificate).unwrap());
            team.write(
                &format!("people/{name}.toml"),
                &format!(
                    "groups = [\"admins\", \"release\"]\nidentities = [\"{identity}\"]\n[[token]]\n\
                     serial = \"{serial}\"\nkey = \"{key}\"\ntouch = \"declared\"\n"
                ),
            );
        };
        person("alice", SERIAL, &requester());
        person("bob", BOB, "os:bob@elsewhere");
        team.write(
            "policy.toml",
            &format!(
                "audience = \"approve.example.com\"\nversion = 1\nvalid_until = \"2096-03-01T00:00:00Z\"\n\n\
                 [[rule]]\naction = \"deploy\"\ntier = \"declared\"\nneed = [{{ from = \"@requester\" }}]\n\n\
                 [[rule]]\naction = \"touchgate.trust.update\"\ntier = \"declared\"\n\
                 need = [{{ from = \"admins\", count = 2 }}]\nanswer_within = \"{within}\"\n\n\
                 [[rule]]\naction = \"touchgate.trust.revoke\"\ntier = \"declared\"\nneed = [{{ from = \"admins\" }}]\n"
            ),
        );
        team.pin(&["--install", "trust", "--yes"]).succeeded();
        team
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.home.work().join("trust").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A rule more, in the directory that is worked on.
    fn change(&self) {
        let policy = self.read("policy.toml");
        let rule = "\n[[rule]]\naction = \"restart\"\ntier = \"declared\"\nneed = [{ from = \"release\" }]\n";
        self.write("policy.toml", &format!("{policy}{rule}"));
    }

    fn pin(&self, arguments: &[&str]) -> Ran {
        run(self.0.touchgate(["trust", "pin", "--no-input"]).args(arguments))
    }

    fn sign(&self, serial: &str, arguments: &[&str]) -> Ran {
        let mut command =
            self.0.touchgate(["trust", "sign", "--no-input", "--pin-fd", "0", "--card", serial]);
        run_with(command.args(arguments), PIN)
    }

    /// What a machine says that has the directory that is worked on.
    fn show(&self) -> Ran {
        run(&mut self.0.touchgate(["--trust", "trust", "trust", "show", "--json"]))
    }
}

#[track_caller]
fn code(ran: &Ran) -> String {
    ran.json()["code"].as_str().unwrap().to_owned()
}

#[test]
fn two_people_sign_and_verifiers_follow() {
    let team = Team::new("7d");
    let nothing = team.sign(SERIAL, &["--json"]).exits(1);
    assert_eq!(code(&nothing), "nothing-changed");
    let first = team.show().succeeded().json();
    team.change();
    // Unsigned it is nobody's trust.
    assert_eq!(code(&team.show().exits(1)), "trust-pin-differs");

    let alice = team.sign(SERIAL, &["--json"]).succeeded();
    let waiting = alice.json();
    assert_eq!((&waiting["verdict"], &waiting["missing"]), (&"pending".into(), &1.into()), "{waiting}");
    assert_eq!(waiting["by"], serde_json::json!(["alice"]));
    for line in [
        "this machine compared both directories",
        "restart",
        "│ action: touchgate.trust.update",
        "│ param.version: 2",
    ] {
        assert!(alice.err.contains(line), "{line}: {alice:?}");
    }
    assert!(team.read("policy.toml").contains("version = 2\n"));
    let partial = team.read("versions/2.partial.json");
    // Once is enough; nothing is touched or changed then.
    let again = team.sign(SERIAL, &["--json"]).succeeded();
    assert_eq!(again.json()["missing"], 1);
    assert!(!again.err.contains("touch token"), "{again:?}");
    assert_eq!(team.read("versions/2.partial.json"), partial);
    assert_eq!(code(&team.show().exits(1)), "trust-pin-differs");

    let bob = team.sign(BOB, &["--json"]).succeeded();
    let signed = bob.json();
    assert_eq!(
        (&signed["verdict"], &signed["by"]),
        (&"approved".into(), &serde_json::json!(["alice", "bob"]))
    );
    assert!(bob.err.contains("signed so far by alice"), "{bob:?}");
    assert!(!team.path("versions/2.partial.json").exists());

    // The pin is still the first version's, and the chain leads on.
    let second = team.show().succeeded().json();
    assert_eq!((&second["pinned"], &second["trust"]), (&true.into(), &signed["trust"]));
    // From there nothing goes back: neither the directory of the first version, nor by a pin that nobody typed.
    let installed = run(&mut team.0.touchgate(["trust", "show", "--json"])).exits(1);
    assert_eq!(code(&installed), "trust-rollback");
    let back = team.pin(&["--json", "--yes"]).exits(1);
    assert_eq!(code(&back), "would-go-back");
    let first = first["trust"].as_str().unwrap();
    team.pin(&[first]).succeeded();
    run(&mut team.0.touchgate(["trust", "show"])).succeeded();
    // And on again, by installing what was signed: nobody needs to say yes to that.
    let installed = team.pin(&["--install", "trust", "--json"]).succeeded().json();
    assert_eq!((&installed["followed"], &installed["before"]), (&true.into(), &first.into()));
    let shown = run(&mut team.0.touchgate(["trust", "show", "--json"])).succeeded().json();
    assert_eq!(shown["trust"], signed["trust"]);
    // What was signed is tampered with; the pin that stands there needs it no more, another one does.
    team.pin(&[first]).succeeded();
    let update = team.read("versions/2.json");
    team.write("versions/2.json", &update.replace("param.version: 2", "param.version: 3"));
    assert_ne!(team.show().code, 0);
    team.write("versions/2.json", &update);
    team.show().succeeded();
    fs::write(team.path("versions/notes.txt"), "x").unwrap();
    assert_eq!(code(&team.show().exits(1)), "trust-stray");
}

#[test]
fn what_others_signed_is_looked_at_before_anybody_signs() {
    let team = Team::new("7d");
    team.change();
    team.sign(SERIAL, &[]).succeeded();
    let partial = team.read("versions/2.partial.json");
    let refused = |text: &str| {
        team.write("versions/2.partial.json", text);
        let ran = team.sign(BOB, &["--json"]).exits(1);
        assert!(!ran.err.contains("touch token"), "{ran:?}");
        assert_eq!(team.read("versions/2.partial.json"), text, "it was changed");
        code(&ran)
    };
    assert_eq!(refused(&partial[..partial.len() / 2]), "evidence-malformed");
    assert_eq!(
        refused(&format!("<<<<<<< HEAD\n{partial}=======\n{partial}>>>>>>> other\n")),
        "evidence-malformed"
    );
    let value: Value = serde_json::from_str(&partial).unwrap();
    let edited = |edit: &dyn Fn(&mut Value)| {
        let mut value = value.clone();
        edit(&mut value);
        value.to_string()
    };
    let replaced = |of: &Value, from: &str, to: &str| Value::from(of.as_str().unwrap().replace(from, to));
    // Another request than the one that this machine makes of the two directories.
    for (from, to) in [
        ("nonce: ", "nonce: A"),
        ("param.version: 2", "param.version: 3"),
        ("resource: trust", "resource: other"),
        ("requester: touchgate:trust", "requester: os:bob@elsewhere"),
    ] {
        let text = edited(&|value| value["challenge"] = replaced(&value["challenge"], from, to));
        let found = refused(&text);
        assert!(matches!(found.as_str(), "update-other-request" | "bad-name"), "{from}: {found}");
    }
    // Somebody else's words under alice's signature.
    let text = edited(&|value| {
        value["answers"][0]["statement"] =
            replaced(&value["answers"][0]["statement"], "approve\n", "refuse\n")
    });
    assert_eq!(refused(&text), "bad-signature");
    // The directory changed after alice signed.
    team.write("versions/2.partial.json", &partial);
    team.change();
    let ran = team.sign(BOB, &["--json"]);
    assert_ne!(ran.code, 0, "{ran:?}");
}

/// Begun long ago, and signed by nobody: what a person finds who comes back to an old branch.
#[test]
fn an_update_that_expired_is_begun_anew_on_request() {
    let team = Team::new("7d");
    let old_files = read_directory(&team.path("")).unwrap();
    let old = Trust::from_files(&old_files).unwrap();
    team.change();
    let policy = team.read("policy.toml").replace("version = 1", "version = 2");
    team.write("policy.toml", &policy);
    let new_files = read_directory(&team.path("")).unwrap();
    let new = Trust::from_files(&new_files).unwrap();
    let nobody = "os:nobody@here".parse().unwrap();
    let issued = "2026-01-02T00:00:00Z".parse().unwrap();
    let challenge = chain::challenge(&old, &new.version, &nobody, issued).unwrap();
    let begun = chain::begin(&old, &old_files, &new, &new_files, challenge, Vec::new()).unwrap();
    let before = begun.to_json();
    team.write("versions/2.partial.json", &before);
    let late = team.sign(SERIAL, &["--json"]).exits(4).json();
    assert_eq!((&late["verdict"], &late["code"]), (&"expired".into(), &"expired".into()));
    assert_eq!(late["expired"], "2026-01-09T00:00:00Z");
    assert_eq!(team.read("versions/2.partial.json"), before);
    let again = team.sign(SERIAL, &["--again", "--json"]).succeeded().json();
    assert_eq!((&again["verdict"], &again["missing"]), (&"pending".into(), &1.into()));
    assert_ne!(team.read("versions/2.partial.json"), before);
    assert_eq!(team.sign(BOB, &["--json"]).succeeded().json()["verdict"], "approved");
}

#[test]
fn branches_are_joined_and_a_refusal_ends_it() {
    let team = Team::new("7d");
    // Both must begin it on the same day.
    wait_until("midnight is past, or a minute away", || UnixTime::now().seconds() % 86_400 < 86_340);
    team.change();
    team.sign(SERIAL, &[]).succeeded();
    // On bob's branch nobody signed before.
    let alices = team.0.home.work().join("alices.json");
    fs::rename(team.path("versions/2.partial.json"), &alices).unwrap();
    let alone = team.sign(BOB, &["--json"]).succeeded().json();
    assert_eq!(alone["by"], serde_json::json!(["bob"]));
    let joined = team.sign(BOB, &["--merge", "alices.json", "--json"]).succeeded();
    assert_eq!(joined.json()["verdict"], "approved", "{joined:?}");
    assert!(!joined.err.contains("touch token"), "{joined:?}");
    team.show().succeeded();

    let team = Team::new("7d");
    team.change();
    team.sign(SERIAL, &[]).succeeded();
    let refused = team.sign(BOB, &["--refuse", "--because", "no", "--json"]).exits(3).json();
    assert_eq!((&refused["verdict"], &refused["person"]), (&"refused".into(), &"bob".into()));
    assert_eq!(code(&team.sign(SERIAL, &["--json"]).exits(1)), "update-refused");
}

#[test]
fn people_whom_it_reduces_are_not_asked() {
    let team = Team::new("7d");
    let bob = team.read("people/bob.toml").replace("\"admins\", ", "");
    team.write("people/bob.toml", &bob);
    let ran = team.sign(BOB, &["--json"]).exits(1);
    assert_eq!(code(&ran), "reduced");
    assert!(ran.err.contains("bob neither approves this update nor refuses it"), "{ran:?}");
}

#[test]
fn one_person_alone_signs_where_the_rule_says_so() {
    let world = World::new("--touch=now");
    let copy =
        "cp -r \"$HOME/.config/touchgate/trust\" trust && printf '\\n# looked at\\n' >>trust/policy.toml";
    run(world.command("sh").args(["-ec", copy])).succeeded();
    let mut sign = world.touchgate(["trust", "sign", "--no-input", "--pin-fd", "0", "--json"]);
    let signed = run_with(&mut sign, PIN).succeeded().json();
    assert_eq!(signed["verdict"], "approved", "{signed}");
    run(&mut world.touchgate(["trust", "pin", "--install", "trust", "--no-input"])).succeeded();
    let request = world.request();
    world.approve(&[&request]).succeeded();
    assert!(world.read(&request).contains("\ntrust: 2 sha256:"));
}

#[test]
fn a_pin_needs_no_directory_and_no_second_word_only_forward() {
    let home = Home::new();
    let pin = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        home.environment(&mut command);
        run(command.args(["trust", "pin", "--no-input", "--json"]).args(arguments))
    };
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    assert_eq!(code(&pin(&[]).exits(1)), "no-trust");
    for bad in [&["7"][..], &["seven", "sha256:x"], &["0", &digest("a")], &["07", &digest("a")]] {
        assert_eq!(code(&pin(bad).exits(2)), "usage", "{bad:?}");
    }
    assert!(!home.config().exists());
    let set = pin(&["7", &digest("a")]).succeeded().json();
    assert_eq!(set["pinned"], format!("7 {}", digest("a")));
    let file = home.config().join("pin");
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("7 {}\n", digest("a")));
    // As one word, as it is printed; and back, by the whole of it.
    let set = pin(&[&format!("6 {}", digest("b"))]).succeeded().json();
    assert_eq!(
        (&set["pinned"], &set["before"]),
        (&format!("6 {}", digest("b")).into(), &format!("7 {}", digest("a")).into())
    );
    // A directory that is not that version is not installed as it.
    let world = World::new("");
    let mut install = world.touchgate(["trust", "pin", "--no-input", "--json", "--install"]);
    let ran = run(install.arg(world.home.config().join("trust")).args(["7", &digest("a")])).exits(1);
    assert_eq!(code(&ran), "trust-pin-differs");
    // What nobody signed is pinned only after somebody said so.
    fs::remove_file(world.home.config().join("pin")).unwrap();
    let asked = run(&mut world.touchgate(["trust", "pin", "--no-input", "--json"])).exits(2);
    assert_eq!(code(&asked), "usage");
    assert!(asked.err.contains("Nothing is pinned yet"), "{asked:?}");
    run(&mut world.touchgate(["trust", "pin", "--no-input", "--yes"])).succeeded();
    run(&mut world.touchgate(["trust", "show"])).succeeded();
}

/// What is not known must not count as nothing: only a version that is typed goes over it.
#[test]
fn a_pin_or_a_memory_that_cannot_be_read_is_not_none() {
    let world = World::new("");
    let pin =
        |arguments: &[&str]| run(world.touchgate(["trust", "pin", "--no-input", "--json"]).args(arguments));
    let file = world.home.config().join("pin");
    let pinned = fs::read_to_string(&file).unwrap();
    let words: Vec<&str> = pinned.split_whitespace().collect();
    let state = world.home.join(".local/state/touchgate");
    fs::create_dir_all(&state).unwrap();
    for (file, broken) in [(file, "bad-trust-pin"), (state.join("trust-seen"), "bad-trust-seen")] {
        fs::write(&file, "7 sha256:x\n").unwrap();
        let refused = pin(&["--yes"]).exits(1);
        assert_eq!(code(&refused), broken);
        assert!(refused.out.contains("`touchgate trust pin VERSION DIGEST`"), "{refused:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "7 sha256:x\n");
        pin(&words).succeeded();
        pin(&["--yes"]).succeeded();
    }
}

#[test]
fn a_lost_token_is_revoked_at_once() {
    let team = Team::new("7d");
    let request = team.0.request();
    let approval = request.replace(".request", ".approval");
    team.0.approve(&["--card", SERIAL, &request]).succeeded();
    run(&mut team.0.touchgate(["verify", &approval])).succeeded();
    let revoke = |serial: &str, whose: &str| {
        let mut command =
            team.0.touchgate(["trust", "revoke", whose, "--because", "left in a taxi", "--json"]);
        run_with(command.args(["--no-input", "--pin-fd", "0", "--card", serial]), PIN)
    };
    assert_eq!(code(&revoke(BOB, "mallory").exits(1)), "no-such-token");
    let revoked = revoke(BOB, SERIAL).succeeded();
    for line in ["│ action: touchgate.trust.revoke", "│ param.person: alice", "│ reason: left in a taxi"]
    {
        assert!(revoked.err.contains(line), "{line}: {revoked:?}");
    }
    let told = revoked.json();
    assert_eq!(
        (&told["person"], &told["by"], &told["logged"]),
        (&"alice".into(), &"bob".into(), &false.into())
    );
    assert_eq!(told["others_by"], "2096-03-01T00:00:00Z");
    assert_eq!(told["short"][0]["group"], "admins");
    assert_eq!((&told["short"][0]["left"], &told["short"][0]["needs"]), (&1.into(), &2.into()));
    let rejected = run(&mut team.0.touchgate(["verify", "--json", &approval])).exits(3);
    assert_eq!(code(&rejected), "token-revoked");
    // It cannot answer in kind, and is not revoked twice.
    assert_eq!(code(&revoke(SERIAL, "bob").exits(3)), "token-revoked");
    assert_eq!(code(&revoke(BOB, "alice").exits(1)), "no-such-token");
    // Nor does it count for an update, where the version before lies beside the one that is worked on.
    let config = team.0.home.config();
    run(team.0.command("cp").arg("-r").arg(config.join("trust")).arg(config.join("trust-1"))).succeeded();
    let policy = config.join("trust/policy.toml");
    fs::write(&policy, format!("{}\n# changed\n", fs::read_to_string(&policy).unwrap())).unwrap();
    let signed = team.sign(SERIAL, &["--json", policy.parent().unwrap().to_str().unwrap()]);
    assert_eq!(code(&signed.exits(1)), "update-not-met");
    fs::remove_dir_all(config.join("trust")).unwrap();
    fs::rename(config.join("trust-1"), config.join("trust")).unwrap();
    // What cannot be read is not nothing.
    let kept = fs::read_dir(team.0.home.join(".local/state/touchgate/revoked")).unwrap();
    let kept = kept.map(|entry| entry.unwrap().path()).next().unwrap();
    fs::write(kept, "x").unwrap();
    let broken = run(&mut team.0.touchgate(["trust", "show", "--json"])).exits(1);
    assert_eq!(code(&broken), "bad-revocation");
}

/// On the machine of a verifier it stands in its log, and the log is judged with it.
#[test]
fn a_revocation_stands_in_the_log() {
    let world = World::bare("--touch=now");
    let mut init = world.touchgate(["init", "--team", "--no-input", "--touch", "keep", "--certificate"]);
    run(init.arg(world.home.certificate())).succeeded();
    let trust_directory = [world.home.work().join("trust"), world.home.config().join("trust")];
    let files = trust_directory.iter().find_map(|directory| read_directory(directory).ok()).unwrap();
    let trust = Trust::from_files(&files).unwrap();
    let state = world.home.join(".local/state/touchgate");
    let key = fs::read(state.join("keys/log.pk8")).unwrap();
    let open = || {
        let signer = LogSigner::from_pkcs8(trust.audience.as_str(), &key).unwrap();
        Sqlite::open(&state.join("store.db"), signer).unwrap()
    };
    // No version came into force here yet: that of the revocation does, before it.
    drop(open());
    let mut revoke = world.touchgate(["trust", "revoke", SERIAL, "--json", "--no-input", "--pin-fd", "0"]);
    let told = run_with(&mut revoke, PIN).succeeded().json();
    assert_eq!(told["logged"], true, "{told}");
    let store = open();
    let lines = store.lines(0, 10).unwrap();
    assert!(lines[1].contains("\"type\":\"token-revoked\""), "{lines:?}");
    let judged = |store: &Sqlite| {
        let key = trust.log_key.clone().unwrap();
        let against = Against::key(&key, NonZeroUsize::MIN);
        review(store, &against, |_, _| {}).unwrap().findings
    };
    assert_eq!(judged(&store), []);
    // Whoever writes another person into it is found out.
    let Ok(Entry::TokenRevoked { at, keys, by, statement, signature, .. }) =
        Entry::parse(lines[1].as_bytes())
    else {
        panic!("{lines:?}")
    };
    let person = "somebody".to_owned();
    let other = Entry::TokenRevoked { at, person, keys, by, statement, signature };
    store.commit(&[Op::Log(other)]).unwrap();
    let found: Vec<String> = judged(&store).iter().map(ToString::to_string).collect();
    assert!(found.len() == 1 && found[0].contains("otherwise than the entry"), "{found:?}");
}
