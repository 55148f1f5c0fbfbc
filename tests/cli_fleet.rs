//! `card provision --batch` over real pcscd: two readers, tokens that come and go, a person or nobody to ask.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;

use serde_json::{Value, json};
use support::{Ran, Running, Terminal, World, need, run, signal};
use virtual_openpgp_card::stage::exit_code;

const FIRST: &str = "11111111";
const SECOND: &str = "22222222";

const PROFILE: &str = r#"[keys]
signature = { algorithm = "ed25519" }

[pin]
user = "random"

[certificate]
"#;

/// Two blank tokens in two readers.
fn world() -> World {
    let blank = |serial: &str| [format!("--serial={serial}"), "--touch=now".to_owned()];
    let world = World::with("", |_, builder| builder.card(blank(FIRST)).second_card(blank(SECOND)));
    world.write("team.toml", PROFILE);
    world
}

fn people(world: &World, rows: &str) {
    world.write("people.csv", &format!("name,user_id,email,serial\n{rows}"));
}

const BATCH: [&str; 5] = ["card", "provision", "team.toml", "--batch", "people.csv"];

/// Nobody is asked; secrets go to standard error.
fn batch(world: &World, further: &[&str]) -> Ran {
    let mut command = world.touchgate(BATCH);
    run(command.args(["--no-input", "--json", "--show-fd", "2"]).args(further))
}

fn states(ran: &Ran) -> Vec<(Value, Value)> {
    let people = ran.json()["people"].as_array().unwrap().clone();
    people.iter().map(|person| (person["serial"].clone(), person["state"].clone())).collect()
}

#[test]
fn with_nobody_to_ask_only_what_is_clear_is_done() {
    let world = world();
    people(&world, "alice,Alice Example,alice@example.org,\n");
    // Two tokens could be hers.
    let asked = batch(&world, &[]).exits(1);
    assert_eq!(states(&asked), [(Value::Null, json!("several"))]);
    assert!(asked.err.contains("11111111, 22222222; unplug the others"), "{asked:?}");

    // Bob's is named, so alice's is clear. Carol's is not there, and nobody waits for it.
    let rows = "alice,Alice Example,alice@example.org,\nbob,Bob <bob@example.org>,,22222222\n\
                carol,Carol,,33333333\n";
    people(&world, rows);
    world.tell("2 pull-before 60");
    let pulled = batch(&world, &[]).exits(1);
    let expected =
        [(json!(FIRST), json!("done")), (json!(SECOND), json!("pulled")), (Value::Null, json!("absent"))];
    assert_eq!(states(&pulled), expected);
    let told = |ran: &Ran, person: &str| ran.err.contains(&format!("{person}: user PIN: "));
    assert!(told(&pulled, "alice 11111111") && !told(&pulled, "bob 22222222"), "{pulled:?}");

    // The same again: hers is left alone, his is continued.
    world.tell("2 insert");
    let again = batch(&world, &["--wait", "1"]).exits(4);
    let expected =
        [(json!(FIRST), json!("already")), (json!(SECOND), json!("done")), (Value::Null, json!("absent"))];
    assert_eq!(states(&again), expected);
    assert_eq!(again.json()["people"][0]["writes"], 0);
    assert!(told(&again, "bob 22222222") && !told(&again, "alice 11111111"), "{again:?}");
    let files = "tokens/11111111/alice.enrol tokens/22222222/bob.enrol";
    assert_eq!(again.json()["trust_add"], format!("touchgate trust add {files}"));
    the_line_works(&world, again.json()["trust_add"].as_str().unwrap());
    assert_eq!(again.json()["people"][1]["label"], json!(["bob", SECOND]));
    for (serial, name, id) in
        [(FIRST, "alice", "Alice Example <alice@example.org>"), (SECOND, "bob", "Bob <bob@example.org>")]
    {
        let place = world.home.work().join("tokens").join(serial);
        let enrolment: Value =
            serde_json::from_slice(&fs::read(place.join(format!("{name}.enrol"))).unwrap()).unwrap();
        let statement = enrolment["statement"].as_str().unwrap();
        assert!(statement.contains(&format!("name: {name}\nserial: {serial}\n")), "{statement}");
        let shown =
            run(&mut world.gpg(&["--show-keys", place.join(format!("{serial}.asc")).to_str().unwrap()]));
        assert!(shown.succeeded().out.contains(id));
    }
    // Nobody's token moves to somebody else.
    people(&world, "dave,Dave,,11111111\n");
    let moved = batch(&world, &[]).exits(1);
    assert_eq!(moved.json()["code"], "other-owner");
}

#[test]
fn a_table_that_is_wrong_is_refused_with_its_line() {
    let world = world();
    people(&world, "alice,Alice,,\nalice,Alice,,\n");
    let before = world.tell("trace count");
    let refused = batch(&world, &[]).exits(2);
    assert_eq!(refused.json()["message"], "people.csv: line 3: alice stands there twice");
    assert_eq!(world.tell("trace count"), before);
    people(&world, "alice,Alice,,11111111\n");
    let mut command = world.touchgate(BATCH);
    let both = run(command.args(["--erase", FIRST]));
    assert_eq!(both.code, 2, "{both:?}");
}

#[test]
fn a_person_plugs_in_one_token_after_the_other() {
    need(&["setsid"]);
    let world = world();
    world.tell("pull");
    world.tell("2 pull");
    people(&world, "alice,Alice,alice@example.org,\nbob,Bob,bob@example.org,\ncarol,Carol,,\n");
    let mut terminal = Terminal::new();
    let mut command = world.touchgate_at(&terminal, BATCH);
    let mut child = command.stdout(terminal.slave()).stderr(terminal.slave()).spawn().unwrap();
    terminal.wait_for("plug in a new token for alice");
    terminal.wait_for("Enter skips this person: ");
    world.tell("2 insert");
    terminal.wait_for("label  alice  22222222");
    terminal.wait_for("plug in a new token for bob (there: 22222222)");
    world.tell("insert");
    terminal.wait_for("label  bob  11111111");
    terminal.wait_for("plug in a new token for carol (there: 11111111, 22222222)");
    terminal.wait_for("Enter skips this person: ");
    terminal.type_line("");
    terminal.wait_for("report  tokens/fleet.json");
    assert_eq!(exit_code(child.wait().unwrap()), 4, "{}", terminal.screen());
    let screen = terminal.screen();
    assert!(screen.contains("2 of 3 tokens are as the profile says"), "{screen}");
    assert!(screen.contains("[########################] 3 of 3  carol  not there"), "{screen}");
    assert!(
        screen.contains("touchgate trust add tokens/22222222/alice.enrol tokens/11111111/bob.enrol"),
        "{screen}"
    );
    // One touch for each.
    assert_eq!(screen.matches("now to prove its key and enrol").count(), 2, "{screen}");
}

/// Killed while a touch is awaited: whose the token is stands there already, and the next run goes on with it. Stopped
/// while a token is awaited: nothing is lost.
#[test]
fn killed_or_stopped_it_goes_on_with_the_same_tokens() {
    let world = world();
    people(&world, "alice,Alice,,22222222\nbob,Bob,,33333333\n");
    let arguments = ["--no-input", "--json", "--show-fd", "2", "--wait", "600"];
    let start = || Running::start(world.touchgate(BATCH).args(arguments), None);
    world.tell("2 finger ask");
    let running = start();
    running.wait_for_stderr("touch token 22222222 now to prove its key and enrol alice");
    signal("KILL", running.id());
    assert_eq!(running.finish().code, 137);
    let ledger: Value = serde_json::from_str(&world.read("tokens/fleet.json")).unwrap();
    assert_eq!(
        (&ledger["people"][0]["serial"], &ledger["people"][0]["state"]),
        (&json!(SECOND), &json!("begun"))
    );

    world.tell("2 finger now");
    let running = start();
    running.wait_for_stderr("plug in token 33333333 for bob (there: 11111111, 22222222)");
    signal("INT", running.id());
    let stopped = running.finish().exits(130);
    assert_eq!(stopped.json()["verdict"], "cancelled");
    assert_eq!(states(&stopped)[0], (json!(SECOND), json!("done")));
    // The token of nobody was left alone.
    assert!(!world.exists("tokens/11111111"));
}

/// The line that it ends with, as somebody who keeps trust runs it. These tokens are attested by a test authority, for
/// which an administrator has to stand in.
fn the_line_works(world: &World, line: &str) {
    let team = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trust/team");
    run(world.command("cp").arg("-r").arg(team).arg("trust")).succeeded();
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    let refused = run(world.touchgate(&words).arg("--json")).exits(1).json();
    assert_eq!(refused["code"], "not-attested");
    let added = run(world.touchgate(&words).args(["--touch", "declared", "--json"])).succeeded().json();
    let rows = added["added"].as_array().unwrap();
    let added: Vec<_> = rows.iter().map(|row| (row["person"].clone(), row["serial"].clone())).collect();
    assert_eq!(added, [(json!("alice"), json!(FIRST)), (json!("bob"), json!(SECOND))]);
}
