//! The counter beside an approval, over real pcscd: made by a token, with gpg signing behind our back.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;

use serde_json::{Value, json};
use support::{ADMIN_PIN, PIN, PROGRAM, Ran, SERIAL, World, need, run};
use virtual_openpgp_card::Firmware;
use virtual_openpgp_card::attestation::{Authority, Certificate, ChainShape};
use virtual_openpgp_card::stage::Builder;

const YUBIKEYS: [(&str, Firmware); 2] = [("5.2.7", Firmware::V5_2_7), ("5.7.4", Firmware::V5_7_4)];
const ROOT: [&str; 2] = ["--root", "root.pem"];

/// A set-up token of this firmware; the test authority's root in `root.pem`, its intermediates beside the
/// configuration.
fn world(firmware: (&str, Firmware), options: &str) -> World {
    let world = World::new(&format!("--firmware={} --touch-policy=fixed {options}", firmware.0));
    let authority = Authority::new(ChainShape::of(firmware.1));
    world.write("root.pem", &authority.root().pem());
    let between: String = authority.intermediates().iter().map(Certificate::pem).collect();
    let folder = world.home.config().join("attestation.intermediates");
    fs::create_dir(&folder).unwrap();
    if !between.is_empty() {
        fs::write(folder.join("between.pem"), between).unwrap();
    }
    world
}

/// Asks and approves with the counter; gives the short code.
fn approve(world: &World) -> String {
    let request = world.request();
    let code = request.strip_suffix(".request").unwrap().to_owned();
    let ran = world.approve(&[&request, "--with-counter"]).succeeded();
    assert_eq!(
        ran.out,
        format!(
            "approved: {code}, deploy on payments/prod; written to {code}.approval, its counter to {code}.counter.pem\n"
        )
    );
    code
}

/// `verify` of these approvals with their counters, in this order.
fn verify(world: &World, codes: &[&str], options: &[&str]) -> Ran {
    let mut command = world.touchgate(["verify"]);
    command.args(options).args(codes.iter().map(|code| format!("{code}.approval")));
    for code in codes {
        command.args(["--counter", &format!("{code}.counter.pem")]);
    }
    run(&mut command)
}

fn objects(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// gpg signs with the key on the card, by itself.
fn sign_with_gpg(world: &World) {
    need(&["gpg"]);
    run(world.gpg(&["--import"]).arg(world.home.certificate())).succeeded();
    world.assert_gpg_works();
    world.write("anything", "anything\n");
    let mut gpg = world.gpg(&["--pinentry-mode", "loopback", "--passphrase", PIN, "-u", "alice@example.org"]);
    run(gpg.args(["--detach-sign", "anything"])).succeeded();
}

#[test]
fn what_gpg_signs_behind_our_back_is_a_gap_of_one() {
    for firmware in YUBIKEYS {
        let world = world(firmware, "--touch=now");
        let before = approve(&world);
        sign_with_gpg(&world);
        // With gpg's scdaemon on the card, which shares it.
        let after = approve(&world);
        let next = approve(&world);
        let ran = verify(&world, &[&before, &after, &next], &[&["--json"][..], &ROOT].concat()).succeeded();
        let mut found = objects(&ran);
        found.sort_by_key(|object| object["counter"]["signatures"].as_u64());
        let told: Vec<Value> = found
            .iter()
            .map(|object| json!([object["counter"]["advance"], object["counter"]["unseen"]]))
            .collect();
        assert_eq!(told, [json!(["first", null]), json!(["gap", 1]), json!(["seen", 0])], "{ran:?}");
        // Nobody takes the test authority for Yubico, and it says so.
        assert!(found.iter().all(|object| object["counter"]["root_is"] == "configured"), "{ran:?}");
        let (since, until) = (&found[0]["signed_at"], &found[1]["signed_at"]);
        let text = verify(&world, &[&before, &after, &next], &ROOT).succeeded().out;
        let gap = format!(
            ", 1 signature by this key that nobody here saw between {} and {} (on the word of root.pem, not Yubico's)\n",
            since.as_str().unwrap(),
            until.as_str().unwrap()
        );
        assert_eq!(text.matches(&gap).count(), 1, "{text}");
        assert_eq!(text.matches("the first of this key here, nothing to compare it with").count(), 1);
        assert_eq!(text.matches("every signature since the last one was seen here").count(), 1);

        // Handed in the other way round the counter goes back.
        let ran = verify(&world, &[&after, &before], &ROOT).exits(3);
        let first = format!("error: rejected (counter-went-back): {before}.approval: the counter is ");
        assert!(ran.err.starts_with(&first) && ran.err.contains("\nhint: "), "{ran:?}");
        // One counter for two approvals.
        fs::copy(
            world.home.work().join(format!("{before}.counter.pem")),
            world.home.work().join(format!("{after}.counter.pem")),
        )
        .unwrap();
        let ran = verify(&world, &[&before, &after], &[&["--json"][..], &ROOT].concat()).exits(3);
        assert_eq!(objects(&ran)[1]["code"], "counter-before-signature", "{ran:?}");
    }
}

#[test]
fn a_counter_from_elsewhere_is_none() {
    let world = world(YUBIKEYS[1], "--touch=now");
    let code = approve(&world);
    let one = |options: &[&str], exit| {
        verify(&world, &[&code], &[&["--json"], options].concat()).exits(exit).json()
    };
    assert_eq!(one(&[], 3)["code"], "counter-not-believed");
    assert_eq!(one(&ROOT, 0)["counter"]["signatures"], 2);
    // Without being asked for, it is not looked at.
    let bare = run(&mut world.touchgate(["verify", "--json", &format!("{code}.approval")])).succeeded();
    assert_eq!(bare.json().get("counter"), None);
    for (name, text) in [("empty", String::new()), ("approval", world.read(&format!("{code}.approval")))] {
        world.write(&format!("{code}.counter.pem"), &text);
        let object = one(&ROOT, 3);
        assert_eq!(object["code"], "counter-not-believed", "{name}: {object}");
    }
    fs::remove_file(world.home.work().join(format!("{code}.counter.pem"))).unwrap();
    assert_eq!(one(&ROOT, 1)["code"], "unreadable");
    let approval = format!("{code}.approval");
    let two = ["verify", &approval, &approval, "--counter", "root.pem"];
    run(&mut world.touchgate(two)).exits(2);
    run(&mut world.touchgate(["verify", &approval, "--root", "root.pem"])).exits(2);
}

#[test]
fn nothing_is_overwritten_and_the_signature_stays_what_it_was() {
    let world = world(YUBIKEYS[1], "--touch=now");
    run(world.gpg(&["--import"]).arg(world.home.certificate())).succeeded();
    let request = world.request();
    let before = world.tell("trace count");
    world.write("ok.counter.pem", "something");
    let object = world.approve(&["--json", &request, "--detached", "ok", "--with-counter"]).exits(1).json();
    assert_eq!((&object["code"], world.tell("trace count")), (&json!("write"), before.clone()));
    // From standard input there is no place for it.
    let mut piped = world.touchgate(["approve", "-", "--json", "--no-input", "--with-counter"]);
    let object = run(piped.stdin(fs::File::open(world.home.work().join(&request)).unwrap())).exits(2).json();
    assert!(object["hint"].as_str().unwrap().contains("--detached"), "{object}");
    assert_eq!(world.tell("trace count"), before);
    fs::remove_file(world.home.work().join("ok.counter.pem")).unwrap();
    world.approve(&[&request, "--detached", "ok", "--with-counter"]).succeeded();
    run(&mut world.gpg(&["--verify", "ok.asc", "ok"])).succeeded();
    let mut verify = world.touchgate(["verify", "ok", "--counter", "ok.counter.pem"]);
    run(verify.args(ROOT)).succeeded();
}

#[test]
fn what_cannot_be_attested_is_found_out_before_the_pin() {
    let world = World::new("--touch=now --personality=plain");
    let request = world.request();
    let object = world.approve(&["--json", &request, "--with-counter"]).exits(1).json();
    assert_eq!(object["code"], "not-attested");
    assert!(!world.exists(&request.replace(".request", ".approval")));
    world.approve(&[&request]).succeeded();
}

/// Pulled after the signature: the approval is there, says so, and the counter can still be made.
#[test]
fn an_approval_outlives_its_counter() {
    let world = world(YUBIKEYS[1], "--touch=now");
    let request = world.request();
    let (approval, counter) =
        (request.replace(".request", ".approval"), request.replace(".request", ".counter.pem"));
    world.tell("pull-before 15");
    let ran = world.approve(&["--json", &request, "--with-counter"]).exits(5);
    let object = ran.json();
    assert_eq!((&object["code"], &object["file"]), (&json!("removed"), &json!(approval)), "{ran:?}");
    assert!(object["hint"].as_str().unwrap().contains(&format!("card attest --out {counter}")), "{ran:?}");
    assert!(world.exists(&approval) && !world.exists(&counter));
    world.tell("insert");
    let mut attest = world.touchgate(["card", "attest", "--no-input", "--pin-fd", "0", "--out", &counter]);
    support::run_with(attest.args(ROOT), PIN).succeeded();
    let code = approval.strip_suffix(".approval").unwrap();
    verify(&world, &[code], &ROOT).succeeded();
}

/// From the PIN on at every command, and after the two that make something: an approval is there from the signature on,
/// a counter never, and no try of the PIN is lost.
#[test]
fn a_token_may_be_pulled_at_any_command() {
    const COMMANDS: u32 = 18;
    const SIGNATURE: u32 = 11;
    let world = world(YUBIKEYS[1], "--touch=now");
    let before = (SIGNATURE - 1..=COMMANDS).map(|number| ("pull-before", number));
    for (order, number) in before.chain([SIGNATURE, COMMANDS].map(|number| ("pull-after", number))) {
        let request = world.request();
        let code = request.strip_suffix(".request").unwrap();
        world.tell(&format!("{order} {number}"));
        let ran = world.approve(&["--json", &request, "--with-counter"]).exits(5);
        assert!(!ran.err.contains("panicked"), "{order} {number}: {ran:#?}");
        let signed = number > SIGNATURE;
        assert_eq!(world.exists(&format!("{code}.approval")), signed, "{order} {number}: {ran:#?}");
        assert!(!world.exists(&format!("{code}.counter.pem")), "{order} {number}: {ran:#?}");
        assert_eq!(ran.json().get("file").is_some(), signed, "{order} {number}: {ran:#?}");
        world.tell("insert");
        let info = run(&mut world.touchgate(["card", "info", "--json"])).succeeded().json();
        assert_eq!(info["pin_tries_left"], 3, "{order} {number}");
    }
    approve(&world);
}

/// The attestation key's own touch policy (DO D9): a second touch, announced as what it is.
#[test]
fn the_attestation_key_may_want_a_touch_of_its_own() {
    need(&["opensc-tool"]);
    let world = world(YUBIKEYS[1], "--touch=now");
    let pin: String = ADMIN_PIN.bytes().map(|byte| format!("{byte:02X}")).collect();
    let mut tool = world.command("opensc-tool");
    tool.args(["--reader=0", "--send-apdu=00A4040006D27600012401"]);
    tool.arg(format!("--send-apdu=0020008308{pin}")).arg("--send-apdu=00DA00D9020120");
    let done = run(&mut tool).succeeded();
    assert_eq!(done.out.matches("SW1=0x90, SW2=0x00").count(), 3, "{done:?}");
    let request = world.request();
    let ran = world.approve(&[&request, "--with-counter"]).succeeded();
    let touches: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("touch token")).collect();
    assert_eq!(
        touches,
        [
            "touch token 12345678 now to approve deploy on payments/prod",
            "touch token 12345678 now to attest its signature key"
        ],
        "{ran:?}"
    );
}

// Inline, and from one run to the next.

/// `run` with the counter.
fn run_counting(world: &World, options: &[&str]) -> Ran {
    let mut command = world.touchgate(["run", "deploy", "payments/prod", "--no-input", "--pin-fd", "0"]);
    support::run_with(command.args(options).args(["--", "touch", "ran"]), PIN)
}

/// What `run` says about the counter.
fn said(ran: &Ran) -> Option<&str> {
    ran.err.lines().find_map(|line| line.strip_prefix("counter: "))
}

#[test]
fn run_remembers_the_counter_from_one_to_the_next() {
    let world = world(YUBIKEYS[0], "--touch=now");
    let kept = world.home.join(".local/state/touchgate/store.db");
    let counting = [&["--with-counter"][..], &ROOT].concat();
    // As long as no counter came, none is kept.
    run_counting(&world, &[]).succeeded();
    let ran = run_counting(&world, &counting).succeeded();
    let weaker = "(on the word of root.pem, not Yubico's)";
    let first = format!("3, the first of this key here, nothing to compare it with {weaker}");
    assert_eq!(said(&ran), Some(first.as_str()), "{ran:?}");
    // Those without a counter are known all the same.
    let ran = run_counting(&world, &[]).succeeded();
    assert_eq!(said(&ran), None);
    let ran = run_counting(&world, &counting).succeeded();
    let seen = format!("5, every signature since the last one was seen here {weaker}");
    assert_eq!(said(&ran), Some(seen.as_str()), "{ran:?}");
    sign_with_gpg(&world);
    let ran = run_counting(&world, &counting).succeeded();
    assert!(
        said(&ran).unwrap().starts_with("7, 1 signature by this key that nobody here saw between "),
        "{ran:?}"
    );

    // The log has all of it, and it is judged again there; without the root nothing can be said of the counters.
    let judged = |options: &[&str]| {
        let object = run(world.touchgate(["audit", "verify", "--json"]).args(options)).succeeded().json();
        [&object["signatures"], &object["counters"], &object["unchecked"]].map(Value::clone)
    };
    assert_eq!(judged(&ROOT), [json!(5), json!(3), json!([])]);
    assert_eq!(judged(&[]), [json!(5), json!(0), json!(["counter"])]);

    // What cannot be read is found out before the PIN, also where no counter was asked for.
    fs::write(&kept, "something else\n").unwrap();
    fs::remove_file(world.home.work().join("ran")).unwrap();
    let before = world.tell("trace count");
    for options in [&["--json"][..], &["--json", "--with-counter"]] {
        let object = run_counting(&world, options).exits(121).json();
        assert_eq!(object["code"], "store", "{object}");
    }
    assert_eq!(world.tell("trace count"), before);
    assert!(!world.exists("ran"), "nothing was started");
}

/// A token that is set back to what it was, counter and all, as no genuine one can be.
#[test]
fn a_token_that_was_set_back_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let (state, old) = (folder.path().join("state"), folder.path().join("old"));
    let options = format!("--touch=now --state={}", state.display());
    let world = world(YUBIKEYS[1], &options);
    let counting = [&["--json", "--with-counter"][..], &ROOT].concat();
    run_counting(&world, &counting).succeeded();
    fs::copy(&state, &old).unwrap();
    for _ in 0..2 {
        run_counting(&world, &counting).succeeded();
    }
    fs::remove_file(world.home.work().join("ran")).unwrap();
    let options = format!("--firmware={} --touch-policy=fixed {options}", YUBIKEYS[1].0);
    let again = Builder::new(PROGRAM).card(support::card_arguments(SERIAL, &options, None));
    let World { stage, home } = world;
    drop(stage);
    fs::copy(&old, &state).unwrap();
    let world = World { stage: again.start().unwrap(), home };
    for code in ["counter-went-back", "counter-before-signature"] {
        let ran = run_counting(&world, &counting).exits(123);
        assert_eq!(ran.json()["code"], code, "{ran:?}");
        assert!(!world.exists("ran"), "nothing was started");
    }
}

/// In this process and for nobody to see: still not believed without its root, and then nothing is started.
#[test]
fn run_starts_nothing_on_a_counter_that_is_not_believed() {
    let world = world(YUBIKEYS[1], "--touch=now");
    let ran = run_counting(&world, &["--json", "--with-counter"]).exits(123);
    assert_eq!(ran.json()["code"], "counter-not-believed", "{ran:?}");
    assert!(!world.exists("ran"));
}
