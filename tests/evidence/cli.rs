//! `touchgate verify` on a machine that has nothing but a pin.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use touchgate::audit::entry::Outcome;
use touchgate::challenge::TrustVersion;
use touchgate::statement::Decision;
use touchgate::trust::versions::write_pin;

use crate::log::Log;
use crate::scene::{
    after, answer, answered, approved, challenge_of, decided, next_trust, request, team, update, version,
};

/// A home with nothing in it but what is put there.
pub(crate) struct Home(pub(crate) TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn pinned(version: &TrustVersion) -> Self {
        let home = Self::new();
        home.write(".config/touchgate/pin", write_pin(version).as_bytes());
        home
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn verify(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_touchgate"));
        command.env_clear().env("HOME", self.path()).current_dir(self.path());
        command.arg("verify").args(arguments).output().unwrap()
    }

    /// Exit code and JSON.
    fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.verify(&[arguments, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{output:?}"));
        (output.status.code().unwrap(), value)
    }

    fn code(&self, arguments: &[&str]) -> (i32, String) {
        let (exit, value) = self.json(arguments);
        (exit, value["code"].as_str().unwrap_or("none").to_owned())
    }
}

fn home() -> Home {
    let home = Home::pinned(&team().trust.version);
    home.write("e.evidence.json", approved().to_json().as_bytes());
    home
}

#[test]
fn an_empty_home_with_a_pin_is_enough() {
    let home = home();
    let (exit, value) = home.json(&["e.evidence.json"]);
    assert_eq!(exit, 0, "{value}");
    for (key, expected) in [
        ("verdict", json!("approved")),
        ("action", json!("deploy")),
        ("resource", json!("payments/prod")),
        ("requester", json!("github:sam")),
        ("decided_at", json!("2026-11-20T04:08:00Z")),
        ("time", json!({ "word": "witness", "by": "witness0.example", "seen_at": "2026-11-20T04:08:05Z" })),
        ("acr", json!("urn:touchgate:touch-declared")),
        ("log_index", json!(5)),
        ("pinned", json!(true)),
        ("unchecked", json!(["debts", "later", "other-answers", "single-use", "superseded"])),
    ] {
        assert_eq!(value[key], expected, "{key}");
    }
    assert_eq!(value["answers"].as_array().unwrap().len(), 3);
    let text = String::from_utf8(home.verify(&["e.evidence.json"]).stdout).unwrap();
    assert!(
        text.starts_with("approved: e.evidence.json: deploy on payments/prod, for github:sam\n"),
        "{text}"
    );
    for code in ["(files)", "(log)", "(witnesses)", "(other-answers)"] {
        assert!(text.contains(code), "{text}");
    }
    // Nothing was left in the home.
    assert!(!home.path().join(".local").exists());
}

#[test]
fn without_a_pin_nothing_is_believed() {
    let home = Home::new();
    home.write("e.json", approved().to_json().as_bytes());
    assert_eq!(home.code(&["e.json"]), (1, "no-trust-pin".into()));
    let (exit, value) = home.json(&["e.json", "--unpinned"]);
    assert_eq!((exit, &value["pinned"]), (0, &json!(false)));
    let text = String::from_utf8(home.verify(&["e.json", "--unpinned"]).stdout).unwrap();
    assert!(text.contains("not pinned"), "{text}");
}

/// "No" and "cannot tell" are different answers.
#[test]
fn another_pin_is_no_answer_about_the_evidence() {
    let home = home();
    let mut pin = team().trust.version;
    for (number, digest, code) in [
        (6, pin.digest, "pin-older"),
        (8, pin.digest, "pin-newer"),
        (7, touchgate::digest::Sha256Digest::of(b"fork"), "trust-pin-differs"),
    ] {
        (pin.number, pin.digest) = (number, digest);
        home.write(".config/touchgate/pin", write_pin(&pin).as_bytes());
        let (exit, value) = home.json(&["e.evidence.json"]);
        assert_eq!((exit, value["code"].as_str().unwrap()), (1, code));
        assert!(value["hint"].is_string());
        // Whatever was said on the command line.
        assert_eq!(home.code(&["e.evidence.json", "--unpinned"]).0, 1);
    }
}

/// All of standard error, with the next step.
#[test]
fn each_error_says_what_to_do() {
    let home = home();
    home.write("moved.json", approved().to_json().replace("payments/prod", "payments/test").as_bytes());
    home.write("cut.json", b"{");
    let digest = team().trust.version.digest.to_string();
    let said = |arguments: &[&str]| {
        let output = home.verify(arguments);
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap().replace(&digest, "DIGEST")
    };
    assert_eq!(
        said(&["moved.json"]),
        "error: rejected (bad-signature): moved.json: answer 0: the signature does not match the statement\n\
         hint: do not act on it: it is not what was decided\n"
    );
    assert_eq!(
        said(&["cut.json"]),
        "error: rejected (evidence-malformed): cut.json: not evidence: EOF while parsing an object at line 1 column 1\n\
         hint: fetch the file again, whole and unchanged\n"
    );
    let older = TrustVersion { number: 6, ..team().trust.version };
    home.write(".config/touchgate/pin", write_pin(&older).as_bytes());
    let path = home.path().join(".config/touchgate/pin");
    assert_eq!(
        said(&["e.evidence.json"]),
        format!(
            "error: e.evidence.json: decided under trust 7 DIGEST; 6 DIGEST is pinned\n  \
             pinned    6 DIGEST\n  decided   7 DIGEST\n  pin       {}\n\
             hint: give the signed updates in between: --updates trust/versions\n",
            path.display()
        )
    );
    fs::remove_file(path).unwrap();
    assert_eq!(
        said(&["e.evidence.json"]),
        "error: nothing says which trust to believe\n\
         hint: pin the version whose digest you have from its administrators: `touchgate trust pin 'N sha256:…'`; \
         or pass --unpinned for this once\n"
    );
}

#[test]
fn signed_updates_lead_from_an_older_pin() {
    let (old, new) = (version(6, &Log::keys()), team());
    let home = Home::pinned(&old.trust.version);
    home.write("e.json", approved().to_json().as_bytes());
    home.write("trust/versions/7.json", update(&old, new).to_json().as_bytes());
    home.write("trust/versions/8.partial.json", b"half");
    assert_eq!(home.code(&["e.json"]), (1, "pin-older".into()));
    assert_eq!(home.code(&["e.json", "--updates", "trust/versions"]).0, 0);
    assert_eq!(home.code(&["e.json", "--updates", "trust/versions/7.json"]).0, 0);
    // As it does from the trust that is installed here, which is nothing but what its pin leads to.
    home.write(".config/touchgate/trust/versions/7.json", update(&old, new).to_json().as_bytes());
    assert_eq!(home.code(&["e.json"]).0, 0);
    fs::remove_dir_all(home.path().join(".config/touchgate/trust")).unwrap();
    // The update is evidence itself, and leads on when it is judged along with others.
    let (exit, value) = home.json(&["trust/versions/7.json"]);
    assert_eq!((exit, &value["action"]), (0, &json!("touchgate.trust.update")));
    assert!(value["checked"].as_array().unwrap().contains(&json!("update")));
    assert_eq!(home.verify(&["trust/versions/7.json", "e.json"]).status.code(), Some(0));
    // An update to another version 7 leads elsewhere.
    let other = version(7, &(String::new(), String::new()));
    home.write("trust/versions/7.json", update(&old, &other).to_json().as_bytes());
    assert_eq!(home.code(&["e.json", "--updates", "trust/versions"]), (1, "trust-pin-differs".into()));
    // One that nobody approved leads nowhere.
    let mut unsigned = update(&old, new);
    unsigned = touchgate::evidence::Evidence::new(unsigned.challenge, Vec::new(), unsigned.trust).unwrap();
    unsigned.after = update(&old, new).after;
    unsigned.decision = update(&old, new).decision;
    home.write("trust/versions/7.json", unsigned.to_json().as_bytes());
    let (exit, code) = home.code(&["e.json", "--updates", "trust/versions"]);
    assert_eq!((exit, code.as_str()), (3, "update-not-met"));
}

#[test]
fn what_does_not_hold_is_a_clear_no() {
    let home = home();
    let whole = approved().to_json();
    for (name, text, code) in [
        ("cut", whole[..whole.len() / 2].to_owned(), "evidence-malformed"),
        ("moved", whole.replace("resource: payments/prod", "resource: payments/test"), "bad-signature"),
        ("policy", whole.replace("count = 2", "count = 1"), "file-not-proved"),
        ("huge", whole + &" ".repeat(5 << 20), "evidence-too-large"),
    ] {
        home.write(name, text.as_bytes());
        assert_eq!(home.code(&[name]), (3, code.into()), "{name}");
    }
    let challenge = challenge_of(team(), request());
    let refusal = answered(&challenge, "bob", Decision::Refuse { because: None });
    let refused = decided(team(), &challenge, vec![refusal], Outcome::Refused);
    home.write("refused", refused.to_json().as_bytes());
    assert_eq!(home.code(&["refused"]), (3, "refused".into()));
    assert_eq!(home.code(&["missing"]), (1, "unreadable".into()));
    // The worst counts.
    assert_eq!(home.verify(&["e.evidence.json", "cut"]).status.code(), Some(3));
}

#[test]
fn a_decision_is_held_against_the_next_version() {
    let home = home();
    let mut log = Log::new();
    let evidence = approved();
    home.write("e.evidence.json", evidence.to_json().as_bytes());
    log.append_line(&evidence.log.unwrap().entry);
    let next = log.append(&next_trust());
    let proof = log.proof(next, &[(0, after(130))]);
    home.write("next.json", serde_json::to_string(&proof).unwrap().as_bytes());
    let (exit, value) = home.json(&["e.evidence.json", "--next", "next.json"]);
    assert_eq!(exit, 0, "{value}");
    assert!(value["checked"].as_array().unwrap().contains(&json!("order")), "{value}");
    home.write("next.json", b"{}");
    assert_eq!(home.code(&["e.evidence.json", "--next", "next.json"]), (1, "log-proof".into()));
}

#[test]
fn what_became_of_the_keys_is_reported_where_it_is_asked_for() {
    let home = home();
    let mut files = version(8, &Log::keys()).files;
    files.remove("people/bob.toml");
    files.remove("tokens/1002.asc");
    let newer = crate::scene::Version::new(files);
    for (path, bytes) in &newer.files {
        home.write(&format!(".config/touchgate/trust/{path}"), bytes);
    }
    // Without being asked, nothing of what lies here is looked at.
    assert_eq!(home.json(&["e.evidence.json"]).1["later"], json!([]));
    assert_eq!(home.code(&["e.evidence.json", "--later"]).0, 1);
    home.write(".config/touchgate/trust/versions/8.json", update(team(), &newer).to_json().as_bytes());
    let (exit, value) = home.json(&["e.evidence.json", "--later"]);
    assert_eq!(exit, 0, "{value}");
    let [later] = &value["later"].as_array().unwrap()[..] else { panic!("{value}") };
    assert_eq!(
        (&later["person"], &later["trust"], &later["code"]),
        (&json!("bob"), &json!(8), &json!("gone"))
    );
    assert!(!value["unchecked"].as_array().unwrap().contains(&json!("later")));
}

#[test]
fn it_is_unpacked_once_and_nothing_is_overwritten() {
    let home = home();
    let (exit, value) = home.json(&["e.evidence.json", "--unpack", "out"]);
    assert_eq!((exit, &value["unpacked"]), (0, &json!("out")));
    let read = |path: &str| fs::read(home.path().join("out").join(path)).unwrap_or_else(|_| panic!("{path}"));
    let evidence =
        touchgate::evidence::Evidence::parse(&fs::read(home.path().join("e.evidence.json")).unwrap());
    let evidence = evidence.unwrap();
    assert_eq!(read("challenge"), evidence.challenge.to_text().into_bytes());
    assert_eq!(read("answers/1"), evidence.answers()[0].response().statement);
    assert_eq!(read("trust/policy.toml"), team().files["policy.toml"]);
    assert_eq!(read("trust/tokens/1002.asc"), team().files["tokens/1002.asc"]);
    assert_eq!(read("decision"), b"approved 2026-11-20T04:08:00Z\n");
    assert_eq!(read("log/index"), b"5\n");
    for path in
        ["answers/3.asc", "trust.version", "trust.proofs/policy.toml", "grant.json", "log/checkpoint.note"]
    {
        read(path);
    }
    assert_eq!(home.code(&["e.evidence.json", "--unpack", "out"]), (1, "write".into()));
    home.write("file", b"mine");
    assert_eq!(home.verify(&["e.evidence.json", "--unpack", "file"]).status.code(), Some(1));
    assert_eq!(fs::read(home.path().join("file")).unwrap(), b"mine");
}

#[test]
fn no_name_in_it_leads_out_of_the_directory() {
    let home = home();
    for bad in ["../escaped", "/tmp/escaped", "people/../../escaped", "people/a/b", "tokens/.hidden", "x"] {
        let mut evidence = approved();
        evidence.trust.files.truncate(1);
        evidence.trust.files[0].path = bad.into();
        home.write("bad.json", evidence.to_json().as_bytes());
        let (exit, _) = home.code(&["bad.json", "--unpack", "out"]);
        assert_ne!(exit, 0);
        assert!(!home.path().join("out").exists() && !home.path().join("escaped").exists(), "{bad}");
    }
}

#[test]
fn options_for_approvals_are_not_for_evidence() {
    let home = home();
    home.write("asked", approved().challenge.to_text().as_bytes());
    assert_eq!(home.verify(&["e.evidence.json", "--request", "asked"]).status.code(), Some(2));
    let approval = answer(&approved().challenge, "bob", Decision::Approve, 30).to_file();
    home.write("bob.approval", &approval);
    assert_eq!(home.verify(&["bob.approval", "--unpack", "out"]).status.code(), Some(2));
    // Approvals still take a directory of trust.
    assert_eq!(home.code(&["bob.approval"]), (1, "no-trust".into()));
    for (path, bytes) in &team().files {
        home.write(&format!(".config/touchgate/trust/{path}"), bytes);
    }
    let output = home.verify(&["bob.approval", "e.evidence.json", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
}

#[test]
fn a_countersignature_needs_what_it_settles() {
    let version = team();
    let broken = {
        let glass = touchgate::request::Request {
            mode: touchgate::request::Mode::BreakGlass,
            reason: Some(touchgate::text::Text::new("down").unwrap()),
            ..request()
        };
        let challenge = challenge_of(version, glass);
        decided(version, &challenge, vec![crate::scene::approval(&challenge, "bob")], Outcome::Approved)
    };
    let debt = touchgate::trust::debt::Debt::new(broken.challenge.clone(), ["bob".to_owned()]).unwrap();
    let mut asked = debt.countersign("github:sam".parse().unwrap());
    asked.requester = "github:judy".parse().unwrap();
    let challenge = challenge_of(version, asked);
    let answers = ["carol", "dave"].map(|name| crate::scene::approval(&challenge, name)).to_vec();
    let settled = decided(version, &challenge, answers, Outcome::Approved);
    let home = home();
    home.write("broken.json", broken.to_json().as_bytes());
    home.write("settled.json", settled.to_json().as_bytes());
    assert_eq!(home.code(&["broken.json"]).0, 0);
    let (exit, value) = home.json(&["settled.json"]);
    assert_eq!((exit, value["code"].as_str().unwrap()), (3, "quorum-not-met"));
    assert!(value["hint"].as_str().unwrap().contains("break-glass"), "{value}");
    let output = home.verify(&["settled.json", "broken.json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
