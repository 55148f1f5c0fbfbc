//! The other commands over real pcscd: what they print, as text and as JSON, and their exit codes.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use support::{Home, PIN, PROGRAM, Ran, SERIAL, World, need, run, run_with};

/// The field names of an object, sorted.
fn fields(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

fn refuse(world: &World, arguments: &[&str]) -> Ran {
    run_with(world.touchgate(["refuse", "--no-input", "--pin-fd", "0"]).args(arguments), PIN)
}

// Files, from the request to the verdict.

#[test]
fn a_request_goes_by_file_and_its_answer_is_verified() {
    let world = World::new("--touch=now");
    let asked =
        run(&mut world.touchgate(["request", "deploy", "payments/prod", "--reason", "why"])).succeeded();
    let code = asked.out.strip_prefix("asked: ").unwrap().split(';').next().unwrap().to_owned();
    let (request, approval) = (format!("{code}.request"), format!("{code}.approval"));
    assert_eq!(asked.out, format!("asked: {code}; `touchgate approve {request}` answers it\n"));
    assert!(world.read(&request).starts_with("touchgate v1 challenge\naudience: "));

    // By its code alone, and then as the only one that waits here.
    let ran = world.approve(&[&code]).succeeded();
    assert_eq!(ran.out, format!("approved: {code}, deploy on payments/prod; written to {approval}\n"));
    let again = world.approve(&["--json"]).exits(2).json();
    assert_eq!(again["verdict"], "failed");
    // An answer is not overwritten.
    let kept = world.read(&approval);
    let twice = world.approve(&["--json", &request]).exits(1).json();
    assert_eq!(twice["code"], "write");
    assert_eq!(world.read(&approval), kept);

    let verified = run(&mut world.touchgate(["verify", &approval])).succeeded();
    assert!(
        verified.out.starts_with(&format!("approved: {approval}: deploy on payments/prod, by ")),
        "{verified:?}"
    );
    assert!(verified.out.contains("not checked: "), "{verified:?}");
    let alone = run(&mut world.touchgate(["verify", "--json", &approval])).succeeded().json();
    let against =
        run(&mut world.touchgate(["verify", "--json", &approval, "--request", &request])).succeeded().json();
    let names = [
        "acr",
        "because",
        "file",
        "key",
        "person",
        "pinned",
        "request",
        "serial",
        "signed_at",
        "unchecked",
        "verdict",
    ];
    assert_eq!((fields(&alone), fields(&against)), (names.to_vec(), names.to_vec()));
    assert_eq!(alone["unchecked"], json!(["issued", "freshness", "certificate-time", "single-use"]));
    assert_eq!(against["unchecked"], json!(["single-use"]));
    assert_eq!(against["acr"], "urn:touchgate:touch-declared");
    assert_eq!((&against["serial"], &against["pinned"]), (&SERIAL.into(), &true.into()));
}

#[test]
fn a_request_goes_by_pipe_too() {
    let world = World::new("--touch=now");
    // The PIN comes through descriptor 3, the request through standard input, the answer goes out.
    let script = format!(
        "\"$0\" request deploy payments/prod --out - >asked
         printf '{PIN}\\n' | {{ exec 3<&0; \"$0\" approve - --no-input --pin-fd 3 <asked; }} >answer
         \"$0\" verify - --request asked <answer"
    );
    let ran = run(world.command("sh").args(["-ec", &script, PROGRAM])).succeeded();
    assert!(ran.out.starts_with("approved: -: deploy on payments/prod"), "{ran:?}");
    assert!(world.read("asked").starts_with("touchgate v1 challenge\n"));
    assert!(world.read("answer").starts_with("touchgate v1 approve\n"));
    assert!(world.read("answer").ends_with("-----END PGP SIGNATURE-----\n"));
    let asked =
        run(&mut world.touchgate(["request", "deploy", "x", "--out", "-", "--json"])).succeeded().json();
    assert!(asked["challenge"].as_str().unwrap().starts_with("touchgate v1 challenge\n"), "{asked}");
}

#[test]
fn a_refusal_is_a_no_with_its_reason() {
    let world = World::new("--touch=now");
    let request = world.request();
    let code = request.trim_end_matches(".request");
    let ran = refuse(&world, &[&request, "--because", "not on a Friday"]).succeeded();
    assert!(ran.err.contains("│ because: not on a Friday\n"), "{ran:?}");
    assert_eq!(ran.out, format!("refused: {code}, deploy on payments/prod; written to {code}.refusal\n"));
    let verified =
        run(&mut world.touchgate(["verify", &format!("{code}.refusal"), "--json"])).exits(3).json();
    assert_eq!((&verified["verdict"], &verified["code"]), (&"refused".into(), &"refused".into()));
    assert_eq!(verified["because"], "not on a Friday");
    let text = run(&mut world.touchgate(["verify", &format!("{code}.refusal")])).exits(3);
    assert!(text.out.contains("not on a Friday"), "{text:?}");
}

#[test]
fn detached_files_are_what_other_tools_want() {
    let world = World::new("--touch=now");
    let request = world.request();
    let ran = world.approve(&["--detached", "ok", "--json", &request]).succeeded().json();
    assert_eq!(ran["file"], "ok.asc");
    assert!(world.read("ok").starts_with("touchgate v1 approve\n"));
    assert!(world.read("ok.asc").starts_with("-----BEGIN PGP SIGNATURE-----\n"));
    run(&mut world.touchgate(["verify", "ok"])).succeeded();
    // Binary and by gpg's other name it is the same.
    need(&["gpg"]);
    run(&mut world.gpg(&["--dearmor", "--output", "ok.sig", "ok.asc"])).succeeded();
    fs::remove_file(world.home.work().join("ok.asc")).unwrap();
    run(&mut world.touchgate(["verify", "ok"])).succeeded();
    fs::remove_file(world.home.work().join("ok.sig")).unwrap();
    let without = run(&mut world.touchgate(["verify", "ok", "--json"])).exits(3).json();
    assert_eq!((&without["verdict"], &without["code"]), (&"rejected".into(), &"no-signature".into()));
}

#[test]
fn a_changed_approval_is_rejected_with_both_sides() {
    let world = World::new("--touch=now");
    let request = world.request();
    let approval = request.replace(".request", ".approval");
    world.approve(&[&request]).succeeded();
    world.write("changed", &world.read(&approval).replace("Release 2.4.1", "Release 2.4.9"));
    let against = run(&mut world.touchgate(["verify", "changed", "--request", &request])).exits(3);
    assert!(against.err.starts_with("error: rejected (altered): changed: "), "{against:?}");
    assert!(against.err.contains("  asked     reason: Release 2.4.1\n"), "{against:?}");
    assert!(against.err.contains("  signed    reason: Release 2.4.9\n"), "{against:?}");
    let alone = run(&mut world.touchgate(["verify", "changed", "--json"])).exits(3).json();
    assert_eq!((&alone["verdict"], &alone["code"]), (&"rejected".into(), &"bad-signature".into()));

    // Of several files the worst counts, and each has its own verdict.
    let both = run(&mut world.touchgate(["verify", "changed", &approval])).exits(3);
    assert!(both.out.contains("approved: ") && both.err.contains("bad-signature"), "{both:?}");
    let both = run(&mut world.touchgate(["verify", "--json", &approval, "changed", &approval])).exits(3);
    let verdicts: Vec<Value> = both.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verdicts.iter().filter(|object| object["verdict"] == "approved").count(), 2, "{both:?}");
    assert_eq!(verdicts.len(), 3);
}

#[test]
fn an_answer_for_another_request_is_none_for_this_one() {
    let world = World::new("--touch=now");
    let (one, other) = (world.request(), world.request());
    world.approve(&[&one]).succeeded();
    let mixed = run(&mut world.touchgate([
        "verify",
        "--json",
        &one.replace(".request", ".approval"),
        "--request",
        &other,
    ]));
    assert_eq!(mixed.exits(3).json()["code"], "unknown-request");
}

#[test]
fn what_is_no_file_of_ours_says_why_not() {
    let world = World::new("--touch=now");
    let request = world.request();
    let text = world.read(&request);
    world.write("crlf.request", &text.replace('\n', "\r\n"));
    world.write("long.request", &format!("{text}{}", "x".repeat(5000)));
    world.write("empty.request", "");
    for (name, code) in
        [("crlf.request", 1), ("long.request", 1), ("empty.request", 1), ("absent.request", 1)]
    {
        let ran = world.approve(&["--json", name]).exits(code);
        assert_eq!(ran.json()["verdict"], "failed", "{name}");
        assert!(ran.json()["hint"].is_string(), "{name}: {ran:?}");
    }
    for name in ["crlf.request", "long.request", "empty.request"] {
        let ran = run(&mut world.touchgate(["verify", "--json", name])).exits(3).json();
        assert_eq!(ran["verdict"], "rejected", "{name}");
    }
    let absent = run(&mut world.touchgate(["verify", "--json", "absent"])).exits(1).json();
    assert_eq!((&absent["verdict"], &absent["code"]), (&"failed".into(), &"unreadable".into()));
}

#[test]
fn a_machine_without_trust_signs_for_a_verifier_that_is_named() {
    let world = World::new("--touch=now");
    let request = world.request();
    let audience = world.read(&request).lines().nth(1).unwrap().replace("audience: ", "");
    let away = world.home.join("away");
    fs::rename(world.home.config(), &away).unwrap();
    assert_eq!(world.approve(&["--json", &request]).exits(1).json()["code"], "no-trust");
    let certificate = world.home.certificate();
    let signing = ["--audience", &audience, "--certificate", certificate.to_str().unwrap(), &request];
    world.approve(&signing).succeeded();
    let trust = away.join("trust");
    let approval = request.replace(".request", ".approval");
    let mut verify = world.touchgate(["verify", "--json", &approval, "--trust"]);
    assert_eq!(run(verify.arg(&trust)).exits(1).json()["code"], "no-trust-pin");
    let unpinned = run(verify.arg("--unpinned")).succeeded().json();
    assert_eq!(unpinned["pinned"], false);
}

// Cards.

#[test]
fn card_list_shows_every_reader() {
    let world = World::new("--touch=now");
    let list = run(&mut world.touchgate(["card", "list"])).succeeded();
    let key = run(&mut world.touchgate(["card", "info", "--json"])).succeeded().json()["key"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        list.out,
        format!(
            "Yubico YubiKey OTP+FIDO+CCID 00 00: token {SERIAL}, key {key} (Ed25519), touch on\n\
             Yubico YubiKey OTP+FIDO+CCID 00 01: no card\n"
        )
    );
    let json = run(&mut world.touchgate(["card", "list", "--json"])).succeeded().json();
    let readers = json["readers"].as_array().unwrap();
    assert_eq!(readers.len(), 2);
    assert_eq!((&readers[0]["state"], &readers[1]["state"]), (&"present".into(), &"empty".into()));
    assert_eq!((&readers[0]["serial"], &readers[0]["through"]), (&SERIAL.into(), &"reader".into()));

    world.assert_gpg_works();
    let held = run(&mut world.touchgate(["card", "list", "--json"])).succeeded().json();
    assert_eq!(
        (&held["readers"][0]["state"], &held["readers"][0]["through"]),
        (&"present".into(), &"scdaemon".into())
    );
    let direct =
        run(&mut world.touchgate(["card", "list", "--json", "--card-path", "direct"])).succeeded().json();
    assert_eq!(direct["readers"][0]["state"], "in-use");
    let text = run(&mut world.touchgate(["card", "list", "--card-path", "direct"])).succeeded();
    assert!(text.out.contains("in use by scdaemon (process "), "{text:?}");
    world.assert_gpg_works();
}

#[test]
fn card_info_tells_what_gpg_tells() {
    for (options, serial) in [("--touch=now", SERIAL), ("--touch=now --personality=plain", "000f:00bc614e")] {
        let world = World::bare(options);
        let json = run(&mut world.touchgate(["card", "info", "--json"])).succeeded().json();
        let names = [
            "algorithm",
            "attestation_touch",
            "cardholder",
            "kdf",
            "key",
            "pin_for_each_signature",
            "pin_tries_left",
            "pinpad",
            "reader",
            "serial",
            "signatures",
            "through",
            "touch",
        ];
        assert_eq!(fields(&json), names);
        assert_eq!((json["serial"].as_str(), json["touch"].as_str()), (Some(serial), Some("on")));
        let text = run(&mut world.touchgate(["card", "info", "--card", serial])).succeeded();
        assert!(text.out.starts_with(&format!("token {serial} in Yubico YubiKey")), "{text:?}");
        let status = run(&mut world.gpg(&["--card-status", "--with-colons"])).succeeded().out;
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
            line.split(':').skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(of("fpr")[0], json["key"].as_str().unwrap());
        assert_eq!(of("pinretry")[0], json["pin_tries_left"].to_string());
        assert_eq!(of("sigcount")[0], json["signatures"].to_string());
        assert_eq!(of("forcepin")[0] == "1", json["pin_for_each_signature"].as_bool().unwrap());
        run(&mut world.gpg(&["--card-status"])).succeeded();
    }
}

// doctor.

fn doctor(world: &World, arguments: &[&str]) -> Ran {
    run(world.touchgate(["doctor"]).args(arguments))
}

/// The link that is broken, by the JSON.
#[track_caller]
fn broken(ran: Ran, link: &str, code: &str) -> String {
    assert_ne!(ran.code, 0, "{ran:#?}");
    let json = ran.json();
    assert_eq!((&json["link"], &json["code"]), (&link.into(), &code.into()), "{ran:#?}");
    json["hint"].as_str().unwrap_or_else(|| panic!("no cure: {ran:#?}")).to_owned()
}

#[test]
fn doctor_finds_nothing_wrong_where_nothing_is() {
    let world = World::new("--touch=now");
    let ran = doctor(&world, &[]).succeeded();
    let links: Vec<&str> =
        ran.out.lines().filter_map(|line| line.strip_prefix("ok   ")?.split(' ').next()).collect();
    let expected = [
        "device",
        "udev",
        "pcscd",
        "reader",
        "card",
        "application",
        "PIN",
        "key",
        "certificate",
        "touch",
        "attestation",
        "contention",
        "trust",
        "trust-pin",
        "enrolled",
    ];
    assert_eq!(links, expected, "{}", ran.out);
    assert!(ran.out.ends_with("everything is in order\n"), "{}", ran.out);
    let json = doctor(&world, &["--json"]).succeeded().json();
    let of_json: Vec<&str> =
        json["links"].as_array().unwrap().iter().map(|link| link["link"].as_str().unwrap()).collect();
    assert_eq!(of_json, expected);
    // Held by gpg it is in order too, and says so.
    world.assert_gpg_works();
    assert!(doctor(&world, &[]).succeeded().out.contains("through scdaemon, which holds the card"));
    world.assert_gpg_works();
}

#[test]
fn doctor_names_the_first_broken_link_and_its_cure() {
    let world = World::new("--touch=now");
    let json = || doctor(&world, &["--json"]);
    let config = world.home.config();

    let mut no_pcscd = world.touchgate(["doctor", "--json"]);
    let cure = broken(run(no_pcscd.env("PCSCLITE_CSOCK_NAME", "/nonexistent")), "pcscd", "no-pcscd");
    assert!(cure.contains("systemctl enable --now pcscd.socket"), "{cure}");

    world.tell("pull");
    broken(json(), "card", "no-card");
    let text = doctor(&world, &[]).exits(5);
    assert!(text.out.is_empty() && text.err.contains("ok   reader "), "{text:?}");
    assert!(text.err.contains("\nerror: no card in "), "{text:?}");
    world.tell("insert");
    broken(doctor(&world, &["--json", "--card", "1"]), "card", "card-not-found");

    fs::rename(config.join("pin"), config.join("away")).unwrap();
    broken(json(), "trust", "no-trust-pin");
    assert!(doctor(&world, &["--unpinned"]).succeeded().out.contains("ok   trust-pin    NONE"));
    fs::write(config.join("pin"), format!("1 sha256:{}\n", "0".repeat(64))).unwrap();
    broken(json(), "trust", "trust-pin-differs");
    fs::rename(config.join("away"), config.join("pin")).unwrap();

    let policy = config.join("trust/policy.toml");
    let good = fs::read_to_string(&policy).unwrap();
    let over = good.lines().map(|line| match line.starts_with("valid_until") {
        true => "valid_until = \"2020-01-01T00:00:00Z\"",
        false => line,
    });
    let over = over.collect::<Vec<_>>().join("\n") + "\n";
    for (text, code) in [("nonsense", "bad-trust"), (over.as_str(), "trust-expired")] {
        fs::write(&policy, text).unwrap();
        // What is not what was pinned is not even read.
        broken(json(), "trust", "trust-pin-differs");
        fs::rename(config.join("pin"), config.join("away")).unwrap();
        broken(doctor(&world, &["--json", "--unpinned"]), "trust", code);
        fs::rename(config.join("away"), config.join("pin")).unwrap();
    }
    fs::write(&policy, good).unwrap();
    json().succeeded();

    fs::rename(&config, world.home.join("away")).unwrap();
    broken(json(), "certificate", "no-certificate");
    run(world.gpg(&["--import"]).arg(world.home.certificate())).succeeded();
    broken(json(), "trust", "no-trust");
    fs::rename(world.home.join("away"), &config).unwrap();

    // Three wrong PINs.
    for left in [2, 1, 0] {
        let ran = run_with(
            &mut world.touchgate([
                "run",
                "deploy",
                "x",
                "--json",
                "--no-input",
                "--pin-fd",
                "0",
                "--",
                "true",
            ]),
            "654321",
        );
        let code = if left == 0 { "pin-blocked" } else { "wrong-pin" };
        assert_eq!(ran.exits(125).json()["code"], code);
    }
    assert!(broken(json(), "PIN", "pin-blocked").contains("admin PIN"));
}

#[test]
fn doctor_sees_an_empty_slot_a_weak_touch_and_a_stranger() {
    let world = World::with("", |_, builder| builder.card(["--serial=12345678"]));
    broken(doctor(&world, &["--json"]), "key", "no-signature-key");

    let world = World::new("--personality=plain");
    assert!(doctor(&world, &[]).succeeded().out.contains("ok   attestation  the token has none"));

    let world = World::new("--touch-policy=off");
    assert!(doctor(&world, &[]).succeeded().out.contains("ok   touch        off: WEAK"));

    // Another token than the one that is enrolled, known to gpg.
    let enrolled = World::new("--touch=now");
    let other = World::bare(&format!("--touch=now --seed={}", "01".repeat(32)));
    run(other.gpg(&["--import"]).arg(other.home.certificate())).succeeded();
    fs::create_dir_all(other.home.config().parent().unwrap()).unwrap();
    run(Command::new("cp").arg("-r").args([enrolled.home.config(), other.home.config()])).succeeded();
    broken(doctor(&other, &["--json"]), "enrolled", "unknown-signer");
}

// What needs no card.

#[test]
fn completions_and_the_manual_are_what_their_readers_take() {
    need(&["bash", "man"]);
    let home = Home::new();
    let touchgate = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        home.environment(&mut command);
        run(command.args(arguments)).succeeded().out
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(touchgate(&["completions", shell]).contains("touchgate"), "{shell}");
    }
    fs::write(home.join("completions"), touchgate(&["completions", "bash"])).unwrap();
    let script = "set -e; . ./completions; COMP_WORDS=(touchgate app); COMP_CWORD=1; _touchgate touchgate app touchgate; echo ${COMPREPLY[*]}";
    let completed = run(Command::new("bash").args(["-c", script]).current_dir(home.path())).succeeded();
    assert_eq!(completed.out, "approve\n");

    fs::write(home.join("touchgate.1"), touchgate(&["man"])).unwrap();
    let mut man = Command::new("man");
    let page =
        run(man.args(["--warnings", "-l", "touchgate.1"]).env("LC_ALL", "C.UTF-8").current_dir(home.path()));
    assert!(page.err.is_empty(), "{page:?}");
    for word in ["NAME", "approve", "--card-path"] {
        assert!(page.succeeded_with(word), "{word}");
    }
}

trait Has {
    fn succeeded_with(&self, word: &str) -> bool;
}

impl Has for Ran {
    fn succeeded_with(&self, word: &str) -> bool {
        self.code == 0 && self.out.replace('\u{2010}', "-").contains(word)
    }
}

#[test]
fn help_and_usage_have_their_codes() {
    let home = Home::new();
    let touchgate = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        home.environment(&mut command);
        run(command.args(arguments))
    };
    for arguments in [&["--help"][..], &["run", "--help"], &["card", "list", "--help"], &["--version"]] {
        touchgate(arguments).succeeded();
    }
    assert!(touchgate(&["--help"]).out.starts_with("Example:\n"));
    let commands =
        ["init", "run", "approve", "refuse", "request", "verify", "demo", "card touch", "card reset"];
    for command in commands.into_iter().chain([
        "card pin change",
        "card pin unblock",
        "card pin set-retries",
        "card provision",
        "trust add",
        "trust check",
        "trust diff",
        "trust explain",
        "trust show",
    ]) {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = touchgate(&words).succeeded();
        assert!(help.out.starts_with("Example"), "{command}: {}", help.out);
    }
    for arguments in [&[][..], &["juggle"], &["approve", "--no-such"], &["--card", "abc", "card", "list"]] {
        let ran = touchgate(arguments).exits(2);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{ran:?}");
    }
    let json = touchgate(&["--json", "juggle"]).exits(2).json();
    assert_eq!((&json["verdict"], &json["code"]), (&"failed".into(), &"usage".into()));
    // No home is no reason to look elsewhere.
    let mut homeless = Command::new(PROGRAM);
    homeless.env_clear().env("HOME", "relative").args(["trust", "show", "--json"]);
    assert_eq!(run(&mut homeless).exits(1).json()["code"], "no-home");
}

#[test]
fn demo_tells_its_story_and_keeps_only_what_it_is_told_to() {
    let home = Home::new();
    let demo = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        home.environment(&mut command);
        command.args(["demo"]).args(arguments);
        run(&mut command).succeeded()
    };
    let told = demo(&[]);
    for part in [
        "touchgate v1 approve",
        "rejected (altered)",
        "rejected (replayed)",
        "was not touched",
        "nothing ran",
        "rejected (not-allowed)",
        "approved: ",
        "error: the grant was used as often as it may be (1)",
        "files, statements, signatures, touch, quorum, grant, log",
        "every hash, signature and decision in it verifies again",
        "error: entry 3: the answer does not verify",
    ] {
        assert!(told.out.contains(part) || told.err.contains(part), "{part}: {told:#?}");
    }
    assert_eq!(fs::read_dir(home.work()).unwrap().count(), 0);
    demo(&["--keep", "kept"]);
    assert!(fs::read_dir(home.work().join("kept")).unwrap().count() > 2);
}
