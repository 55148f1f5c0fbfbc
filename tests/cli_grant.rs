//! `grant check`, `list`, `narrow` and `revoke` at the store of a verifier: the program itself, in a home of its own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/case.rs"]
#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod case;
#[path = "support/packets.rs"]
#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod packets;
#[path = "support/people.rs"]
#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod people;
#[path = "grant/world.rs"]
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
mod world;

use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use touchgate::audit::entry::Outcome;
use touchgate::audit::{Entry, LogSigner, Witnesses};
use touchgate::challenge::{Challenge, Terms};
use touchgate::digest::Sha256Digest;
use touchgate::grant::{Grant, GrantSigner, SealedGrant, write_private};
use touchgate::request::Request;
use touchgate::response::Response;
use touchgate::statement::Decision;
use touchgate::store::sqlite::Sqlite;
use touchgate::store::{AnswerRecord, Op, Store as _};
use touchgate::text::Text;
use touchgate::trust::Trust;
use touchgate::unix_time::UnixTime;
use world::{AUDIENCE, World, request};

const PROGRAM: &str = env!("CARGO_BIN_EXE_touchgate");

/// A verifier's home: trust, its pin, the keys and the store.
struct Home {
    directory: TempDir,
    world: World,
}

impl Home {
    /// By today's clock, since the program goes by it.
    fn new() -> Self {
        let world = World::at(UnixTime::now());
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join(".config/touchgate");
        for (path, bytes) in &world.files {
            let path = config.join("trust").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        fs::write(config.join("pin"), format!("{}\n", world.trust.version)).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o700)).unwrap();
        let home = Self { directory, world };
        write_private(&home.state().join("keys/log.pk8"), &home.world.log_secret).unwrap();
        write_private(&home.state().join("keys/grant.pk8"), &home.world.es_secret).unwrap();
        home
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn state(&self) -> PathBuf {
        self.path().join(".local/state/touchgate")
    }

    fn store(&self) -> Sqlite {
        let signer = LogSigner::from_pkcs8(AUDIENCE, &self.world.log_secret).unwrap();
        Sqlite::open(&self.state().join("store.db"), signer).unwrap()
    }

    /// Asks, decides and records, as the ceremony does.
    fn grant(&self, request: Request) -> Grant {
        let challenge = self.world.challenge(request);
        let met = self.world.met(&challenge);
        let answer = Box::new(AnswerRecord {
            person: "bob".to_owned(),
            decision: Decision::Approve.word(),
            response: met.approvals()[0].answer().response().clone(),
            counter: None,
            at: self.world.now,
        });
        let sealed = SealedGrant::new(met, Sha256Digest::of(b"evidence"), self.world.now);
        let (id, at, text) = (challenge.id, challenge.issued, challenge.to_text());
        let change = [
            Op::Open(Box::new(challenge)),
            Op::Log(Entry::Asked { at, challenge: text }),
            Op::Step { request: id, revision: 0, answer },
            Op::Close { request: id, revision: 1, outcome: Outcome::Approved },
            Op::Grant(sealed.record()),
            Op::Log(sealed.entry()),
        ];
        let store = self.store();
        if store.trust().unwrap().is_none() {
            let (version, files) = (self.world.trust.version, self.world.files.clone());
            let entry = Entry::Trust { at: self.world.now, version };
            store.commit(&[Op::Trust { version, before: None, files }, Op::Log(entry)]).unwrap();
        }
        let positions = store.commit(&change).unwrap();
        let receipt = store.receipt(positions[1], &Witnesses::default()).unwrap();
        sealed.open(&receipt, &self.world.es).unwrap()
    }

    /// Puts another policy, under the next number, into force here.
    fn install(&self, change: impl FnOnce(String) -> String) {
        let mut files = self.world.files.clone();
        let policy = String::from_utf8(files["policy.toml"].clone()).unwrap();
        let policy = change(policy.replace("version     = 7", "version     = 8"));
        files.insert("policy.toml".into(), policy.clone().into_bytes());
        let next = Trust::from_files(&files).unwrap().version;
        let config = self.path().join(".config/touchgate");
        fs::write(config.join("trust/policy.toml"), policy).unwrap();
        fs::write(config.join("pin"), format!("{next}\n")).unwrap();
    }

    /// Keeps that bob's token is lost, as `trust revoke` does.
    fn revoke_bob(&self) {
        let request = Request {
            parameters: [
                ("keys", people::signer("bob").public().fingerprint().to_hex().as_str()),
                ("person", "bob"),
                ("tokens", "1"),
            ]
            .map(|(name, value)| (name.parse().unwrap(), Text::new(value).unwrap()))
            .into(),
            ..request("touchgate.trust.revoke", "trust")
        };
        let terms = Terms {
            audience: self.world.trust.audience.clone(),
            trust: self.world.trust.version,
            answer_within: Duration::from_secs(900),
        };
        let challenge = Challenge::issue(request, terms, self.world.now, [1; 42]).unwrap();
        let statement = challenge.decided(Decision::Approve).to_text().into_bytes();
        // Judged when it was signed, not when it is read.
        let answer = Response { statement, signature: b"signature".to_vec() };
        let directory = self.state().join("revoked");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("1.approval"), answer.to_file()).unwrap();
    }

    /// For the bearer, three uses.
    fn unbound(&self) -> Grant {
        let mut request = request("deploy", "payroll");
        request.requester_key = None;
        self.grant(request)
    }

    fn file(&self, name: &str, token: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, format!("{token}\n")).unwrap();
        path
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.path()).stdin(Stdio::null());
        command.env("HOME", self.path()).env("PATH", std::env::var_os("PATH").unwrap());
        command
    }

    /// `touchgate grant …` with `--json`: exit code and object.
    fn run(&self, arguments: &[&str], grant: Option<&Path>) -> (i32, Value) {
        let mut command = self.command(PROGRAM);
        command.arg("grant").args(arguments).arg("--json");
        if let Some(grant) = grant {
            command.env("TOUCHGATE_GRANT_FILE", grant);
        }
        outcome(&command.output().unwrap())
    }

    /// The code of a failure, or the uses that are left, beside the exit code.
    fn check(&self, arguments: &[&str], grant: &Path) -> (i32, String) {
        let (exit, object) = self.run(&[&["check"], arguments].concat(), Some(grant));
        let word = match object.get("code") {
            Some(code) => code.as_str().unwrap().to_owned(),
            None => format!("{} left", object["uses_left"]),
        };
        (exit, word)
    }
}

fn outcome(output: &Output) -> (i32, Value) {
    let object = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), object)
}

fn says(exit: i32, word: &str) -> (i32, String) {
    (exit, word.to_owned())
}

#[test]
fn each_check_counts_a_use_until_none_is_left() {
    let home = Home::new();
    let grant = home.unbound();
    let file = home.file("token", grant.token());
    let at_hand = ["deploy", "payroll"];
    assert_eq!(home.run(&["check", "deploy", "payroll"], None).1["code"], "no-grant");
    assert_eq!(home.check(&at_hand, &home.path().join("nothing")), says(3, "no-grant"));
    // What is rejected for another reason costs nothing.
    assert_eq!(home.check(&["deploy", "payroll/prod"], &file), says(3, "grant-resource"));
    assert_eq!(home.check(&["migrate", "payroll"], &file), says(3, "grant-action"));
    assert_eq!(home.check(&["deploy", "payroll", "--with", "image=x"], &file), says(3, "grant-parameter"));
    fs::write(home.path().join("app.tar"), "app.tar").unwrap();
    fs::write(home.path().join("other.tar"), "other").unwrap();
    assert_eq!(
        home.check(&["deploy", "payroll", "--with", "image=@other.tar"], &file),
        says(3, "grant-parameter")
    );
    assert_eq!(home.check(&["deploy", "payroll", "--with", "image=@app.tar"], &file), says(0, "2 left"));
    assert_eq!(home.check(&["deploy", "payroll", "--uses", "3"], &file), says(3, "grant-spent"));
    assert_eq!(home.check(&["deploy", "payroll", "--uses", "2"], &file), says(0, "0 left"));
    assert_eq!(home.check(&at_hand, &file), says(3, "grant-spent"));
    // Each use is in the log, in its place.
    let lines = home.store().lines(0, 100).unwrap();
    let used: Vec<_> = lines.iter().filter(|line| line.contains("\"type\":\"used\"")).collect();
    assert_eq!(used.len(), 3);
    for (count, line) in (1..).zip(used) {
        assert!(line.contains(&format!("\"count\":{count},\"grant\":\"{}\"", grant.id())), "{line}");
    }
}

/// Else whoever withholds newer trust from a gate could go on with a key that was taken out of it.
#[test]
fn a_gate_goes_by_no_trust_that_has_ended() {
    let home = Home::new();
    let file = home.file("token", home.unbound().token());
    let ended = home.world.now.plus(Duration::from_secs(1));
    home.install(|policy| {
        let line = policy.lines().find(|line| line.starts_with("valid_until")).unwrap().to_owned();
        policy.replace(&line, &format!("valid_until = \"{ended}\""))
    });
    while UnixTime::now() <= ended {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(home.check(&["deploy", "payroll"], &file), says(3, "trust-expired"));
    let (exit, narrowed) = home.run(&["narrow", "payroll/prod"], Some(&file));
    assert_eq!((exit, &narrowed["code"]), (3, &"trust-expired".into()));
    // Nor one without the verifier's store.
    fs::remove_file(home.state().join("store.db")).unwrap();
    let uses = home.path().join("uses");
    fs::create_dir(&uses).unwrap();
    let counted = ["deploy", "payroll", "--uses-in", uses.to_str().unwrap()];
    assert_eq!(home.check(&counted, &file), says(3, "trust-expired"));
}

#[test]
fn of_many_processes_one_gets_the_last_use() {
    let home = Home::new();
    let file = home.file("token", home.unbound().token());
    assert_eq!(home.check(&["deploy", "payroll", "--uses", "2"], &file), says(0, "1 left"));
    let racers: Vec<_> = (0..6)
        .map(|_| {
            let mut command = home.command(PROGRAM);
            command.args(["grant", "check", "deploy", "payroll", "--json"]);
            command.env("TOUCHGATE_GRANT_FILE", &file).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    let mut codes: Vec<i32> =
        racers.into_iter().map(|racer| outcome(&racer.wait_with_output().unwrap()).0).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 3, 3, 3, 3, 3]);
}

#[test]
fn a_revoked_grant_is_worth_nothing_at_once() {
    let home = Home::new();
    let grant = home.unbound();
    let file = home.file("token", grant.token());
    let (_, listed) = home.run(&["list"], None);
    let code = grant.id().short_code();
    assert_eq!(listed["grants"][0]["short_code"], code.as_str());
    assert_eq!(listed["grants"][0]["uses_left"], 3);
    assert_eq!(home.run(&["revoke", "AAAAA"], None).1["code"], "grant-unknown");
    let revoked = home.run(&["revoke", &code.to_lowercase(), "--because", "wrong window"], None);
    assert_eq!((revoked.0, &revoked.1["request"]), (0, &Value::from(grant.id().to_string())));
    assert_eq!(home.check(&["deploy", "payroll"], &file), says(3, "grant-revoked"));
    assert_eq!(home.run(&["revoke", &grant.id().to_string()], None).1["code"], "grant-revoked");
    assert_eq!(home.run(&["list"], None).1["grants"], Value::from(Vec::<Value>::new()));
    let last = home.store().lines(0, 100).unwrap().pop().unwrap();
    assert!(last.contains("\"because\":\"wrong window\"") && last.contains("\"type\":\"revoked\""), "{last}");
}

#[test]
fn whoever_has_the_key_alone_cannot_make_more_of_it() {
    let home = Home::new();
    // In the log of this verifier is another decision.
    home.unbound();
    let mut other = request("deploy", "payroll/test");
    other.requester_key = None;
    let unknown = home.file("unknown", home.world.grant(other, &home.world.es).token());
    assert_eq!(home.check(&["deploy", "payroll/test"], &unknown), says(3, "grant-unknown"));
    // A real grant, and claims beside it that say more.
    let grant = home.unbound();
    let claims = String::from_utf8(world::part(grant.token(), 1)).unwrap();
    let forged = forge(&home, &claims.replace("\"uses\":3", "\"uses\":300"));
    assert_eq!(home.check(&["deploy", "payroll"], &home.file("forged", &forged)), says(3, "grant-differs"));
    let wide = forge(&home, &claims.replace("\"resource\":\"payroll\"", "\"resource\":\"payments\""));
    assert_eq!(home.check(&["deploy", "payments"], &home.file("wide", &wide)), says(3, "grant-differs"));
}

/// The next version of trust leaves payroll to security: whoever asks for the grant has that come into force.
#[test]
fn a_new_version_of_trust_ends_what_it_would_not_give() {
    let home = Home::new();
    let file = home.file("token", home.unbound().token());
    home.install(|policy| {
        policy.replace(
            "resource = \"payroll/**\"\nneed     = [{ from = \"release\" }]",
            "resource = \"payroll/**\"\nneed     = [{ from = \"admins\", count = 2 }]",
        )
    });
    let config = home.path().join(".config/touchgate");
    assert_eq!(home.check(&["deploy", "payroll"], &file), says(3, "grant-revoked"));
    let lines = home.store().lines(0, 100).unwrap();
    assert!(lines.iter().any(|line| line.contains("\"type\":\"revoked\"")), "{lines:?}");
    // And the version before it is none any more.
    fs::write(config.join("trust/policy.toml"), &home.world.files["policy.toml"]).unwrap();
    fs::write(config.join("pin"), format!("{}\n", home.world.trust.version)).unwrap();
    assert_eq!(home.check(&["deploy", "payroll"], &file).0, 1);
}

/// Not as often, not as long, not in parts.
#[test]
fn a_new_version_of_trust_ends_what_it_would_give_less_of() {
    for (from, to, expected) in [
        ("uses = 3", "uses = 4", says(0, "2 left")),
        ("uses = 3", "uses = 2", says(3, "grant-revoked")),
        ("lasts = \"10m\"", "lasts = \"9m\"", says(3, "grant-revoked")),
        ("narrow = true", "narrow = false", says(3, "grant-revoked")),
    ] {
        let home = Home::new();
        let file = home.file("token", home.unbound().token());
        home.install(|policy| policy.replace(from, to));
        assert_eq!(home.check(&["deploy", "payroll"], &file), expected, "{to}");
    }
}

/// What a lost token signed is not given again under the next version.
#[test]
fn a_new_version_of_trust_ends_what_a_lost_token_gave() {
    for lost in [false, true] {
        let home = Home::new();
        let file = home.file("token", home.unbound().token());
        if lost {
            home.revoke_bob();
        }
        home.install(|policy| policy);
        let expected = if lost { says(3, "grant-revoked") } else { says(0, "2 left") };
        assert_eq!(home.check(&["deploy", "payroll"], &file), expected);
    }
}

/// Signs claims with the verifier's own key, past everything that makes grants.
fn forge(home: &Home, claims: &str) -> String {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let header = r#"{"alg":"ES256","kid":"es","typ":"touchgate-grant+jwt"}"#;
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &home.world.es_secret).unwrap();
    let signature = pair.sign(&aws_lc_rs::rand::SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// What `run` writes before it becomes its command, written by a shell for itself.
const NOTE: &str = r#"
me=$$ && set -- $(sed 's/.*) //' /proc/$me/stat) && mkdir -p "$RUNS" &&
printf '%s %s %s %s\n' $me ${20} $(cat /proc/sys/kernel/random/boot_id) "$(readlink /proc/self/ns/pid)" > "$RUNS/$ID" &&
"#;

#[test]
fn inside_its_run_a_grant_is_used_already_and_outside_it_is_not() {
    let home = Home::new();
    let grant = home.unbound();
    let file = home.file("token", grant.token());
    let shell = |script: &str| {
        let mut command = home.command("sh");
        command.args(["-c", script]).env("TOUCHGATE", PROGRAM);
        command.env("TOUCHGATE_GRANT_FILE", &file);
        command.env("RUNS", home.state().join("runs")).env("ID", grant.id().to_string());
        command.output().unwrap()
    };
    let check = r#""$TOUCHGATE" grant check deploy payroll --json"#;
    // A note without a counted use is worth nothing: this check counts it.
    let first = outcome(&shell(&format!("{NOTE} {check}")));
    assert_eq!((first.0, &first.1["counted"], &first.1["uses_left"]), (0, &1.into(), &2.into()));
    // Now as `run` does it: counted before. By the process itself, its children, and theirs, as often as they like.
    for inner in [check.to_owned(), format!("sh -c '{check}; exit $?'"), format!("( {check} )")] {
        let inside = outcome(&shell(&format!("{NOTE} {inner}")));
        assert_eq!((inside.0, &inside.1["counted"], &inside.1["uses_left"]), (0, &0.into(), &2.into()));
    }
    // An own use is counted where one is asked for.
    let own = outcome(&shell(&format!("{NOTE} {check} --uses 1")));
    assert_eq!((own.0, &own.1["counted"], &own.1["uses_left"]), (0, &1.into(), &1.into()));
    // Outside: that process has ended. The note lies there still, and the same token.
    let outside = outcome(&shell(check));
    assert_eq!((outside.0, &outside.1["counted"], &outside.1["uses_left"]), (0, &1.into(), &0.into()));
    assert_eq!(outcome(&shell(check)).1["code"], "grant-spent");
    // Another resource is not what is running.
    let other = outcome(&shell(&format!("{NOTE} {}", check.replace("payroll", "payments"))));
    assert_eq!((other.0, &other.1["code"]), (3, &"grant-resource".into()));
    // Inside, it holds although no use is left, until it is revoked.
    assert_eq!(outcome(&shell(&format!("{NOTE} {check}"))).0, 0);
    assert_eq!(home.run(&["revoke", &grant.id().to_string()], None).0, 0);
    assert_eq!(outcome(&shell(&format!("{NOTE} {check}"))).1["code"], "grant-revoked");
}

/// Cut loose from its ancestors a process is nobody's: it needs a use of its own.
#[test]
fn a_process_that_was_cut_loose_is_outside() {
    let home = Home::new();
    let grant = home.unbound();
    let file = home.file("token", grant.token());
    assert_eq!(home.check(&["deploy", "payroll", "--uses", "3"], &file), says(0, "0 left"));
    let result = home.path().join("result");
    let script = format!(
        "{NOTE} (sh -c 'while [ \"$(sed \"s/.*) . //; s/ .*//\" /proc/$$/stat)\" = '$me' ]; do sleep 0.05; done; \
         \"$TOUCHGATE\" grant check deploy payroll --json > {0}.part; mv {0}.part {0}' &)",
        result.display()
    );
    let mut command = home.command("setsid");
    command.args(["sh", "-c", &script]).env("TOUCHGATE", PROGRAM).env("TOUCHGATE_GRANT_FILE", &file);
    command.env("RUNS", home.state().join("runs")).env("ID", grant.id().to_string());
    assert!(command.status().unwrap().success());
    while !result.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let object: Value = serde_json::from_slice(&fs::read(&result).unwrap()).unwrap();
    assert_eq!(object["code"], "grant-spent");
}

/// The line at the top of a script: outside it asks, inside it goes on.
#[test]
fn a_script_can_ask_for_itself() {
    let home = Home::new();
    let grant = home.unbound();
    let script = home.path().join("deploy.sh");
    let line = "#!/bin/sh\n\"$TOUCHGATE\" grant check deploy payroll >/dev/null || exec ./run \"$0\" \"$@\"\necho \"deployed $*\"\n";
    // What `run` does after the touch: count, note, hand over by descriptor, become the command.
    let run = format!(
        "#!/bin/sh\n\"$TOUCHGATE\" grant check deploy payroll --grant token >/dev/null || exit 9\n{}true\nexport TOUCHGATE_GRANT_FILE=/proc/self/fd/5\nexec \"$@\" 5< token\n",
        NOTE.replace("set --", "set -- \"$@\" --")
            .replace("${20}", "$(sed 's/.*) //' /proc/$$/stat | cut -d' ' -f20)")
            .replace("set -- \"$@\" -- $(sed 's/.*) //' /proc/$me/stat) && ", "")
    );
    home.file("token", grant.token());
    for (path, text) in [(&script, line), (&home.path().join("run"), run.as_str())] {
        use std::io::Write as _;
        let mut options = fs::OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }
    let mut command = home.command("./deploy.sh");
    command.args(["--region", "eu"]).env("TOUCHGATE", PROGRAM);
    command.env("RUNS", home.state().join("runs")).env("ID", grant.id().to_string());
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "deployed --region eu\n", "{output:?}");
    assert_eq!(home.store().grant(&grant.id()).unwrap().unwrap().used, 1);
}

#[test]
fn where_no_store_is_nothing_is_permitted_unless_a_directory_counts() {
    let home = Home::new();
    let mut request = request("deploy", "payroll");
    request.requester_key = None;
    let file = home.file("token", home.world.grant(request, &home.world.es).token());
    let asked = ["deploy", "payroll"];
    assert_eq!(home.check(&asked, &file), says(3, "grant-offline"));
    let counting = ["deploy", "payroll", "--uses-in", "uses"];
    assert_eq!(home.check(&counting, &file), says(0, "2 left"));
    assert_eq!(
        home.check(&["deploy", "payroll", "--uses-in", "uses", "--uses", "2"], &file),
        says(0, "0 left")
    );
    assert_eq!(home.check(&counting, &file), says(3, "grant-spent"));
    assert_eq!(home.run(&["list"], None).1["grants"], Value::from(Vec::<Value>::new()));
    // Beside the store it would count the same uses again.
    let file = home.file("other", home.unbound().token());
    assert_eq!(home.check(&counting, &file), says(2, "usage"));
}

#[test]
fn a_part_of_it_shares_its_uses() {
    let home = Home::new();
    let grant = home.unbound();
    let file = home.file("token", grant.token());
    assert_eq!(home.run(&["narrow", "payroll/prod"], Some(&file)).1["code"], "grant-narrow");
    assert_eq!(home.run(&["narrow", "payments"], Some(&file)).1["code"], "grant-narrow");
    let (exit, object) = home.run(&["narrow", "payroll/test", "--out", "test.grant"], Some(&file));
    assert_eq!((exit, &object["file"]), (0, &"test.grant".into()));
    let part = home.path().join("test.grant");
    assert_eq!(fs::metadata(&part).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(home.check(&["deploy", "payroll"], &part), says(3, "grant-resource"));
    assert_eq!(home.check(&["deploy", "payroll/test"], &part), says(0, "2 left"));
    assert_eq!(home.check(&["deploy", "payroll", "--uses", "2"], &file), says(0, "0 left"));
    assert_eq!(home.check(&["deploy", "payroll/test"], &part), says(3, "grant-spent"));
    assert_eq!(home.run(&["revoke", &grant.id().to_string()], None).0, 0);
    assert_eq!(home.run(&["narrow", "payroll/other"], Some(&file)).1["code"], "grant-revoked");
}

#[test]
fn a_bound_grant_wants_its_key() {
    let home = Home::new();
    let file = home.file("token", home.grant(request("deploy", "payroll")).token());
    let (own, other) = (world::presenter().to_string(), Sha256Digest::of(b"x").to_string());
    assert_eq!(home.check(&["deploy", "payroll"], &file), says(3, "grant-presenter"));
    assert_eq!(home.check(&["deploy", "payroll", "--presenter", &other], &file), says(3, "grant-presenter"));
    assert_eq!(home.check(&["deploy", "payroll", "--presenter", &own], &file), says(0, "2 left"));
}

#[test]
fn keys_that_trust_does_not_list_do_nothing() {
    let home = Home::new();
    let grant = home.unbound();
    let file = home.file("token", grant.token());
    let keys = home.state().join("keys");
    let replace = |name: &str, bytes: &[u8]| {
        fs::remove_file(keys.join(name)).unwrap();
        write_private(&keys.join(name), bytes).unwrap();
    };
    let other = GrantSigner::generate(touchgate::grant::Algorithm::EdDsa).unwrap();
    replace("grant.pk8", &other);
    assert_eq!(home.run(&["narrow", "payroll/test"], Some(&file)).1["code"], "key-not-in-trust");
    replace("log.pk8", &other);
    assert_eq!(home.check(&["deploy", "payroll"], &file), says(1, "key-not-in-trust"));
    replace("log.pk8", &home.world.log_secret);
    fs::set_permissions(keys.join("log.pk8"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(home.check(&["deploy", "payroll"], &file), says(1, "unsafe-permissions"));
    fs::remove_file(keys.join("log.pk8")).unwrap();
    assert_eq!(home.check(&["deploy", "payroll"], &file), says(1, "unreadable"));
}

#[test]
fn hostile_files_are_no_grants() {
    let home = Home::new();
    let grant = home.unbound();
    for (name, bytes, code) in [
        ("empty", Vec::new(), "grant-form"),
        ("binary", vec![0xff; 100], "grant-form"),
        ("long", vec![b'a'; 1 << 20], "grant-too-large"),
        ("two", format!("{0}\n{0}\n", grant.token()).into_bytes(), "grant-form"),
        ("spaces", format!(" {}", grant.token()).into_bytes(), "grant-form"),
        ("crlf", format!("{}\r\n", grant.token()).into_bytes(), "grant-form"),
    ] {
        fs::write(home.path().join(name), bytes).unwrap();
        assert_eq!(home.check(&["deploy", "payroll"], &home.path().join(name)), says(3, code), "{name}");
    }
    assert_eq!(home.check(&["deploy", "payroll"], home.path()), says(3, "no-grant"));
}
