//! Prompts at a real pseudo-terminal, over real pcscd: what is shown, what is not, and the terminal afterwards.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use support::{ADMIN_PIN, PIN, Ran, Running, Terminal, World, need, run, signal, wait_until};

const PROMPT: &str = "PIN of token 12345678 to approve deploy on payments/prod: ";

/// `touchgate` with all its streams at the terminal, as a person has it.
fn sit_down(world: &World, terminal: &Terminal, arguments: &[&str]) -> std::process::Child {
    let mut command: Command = world.touchgate_at(terminal, arguments);
    command.stdout(terminal.slave()).stderr(terminal.slave()).spawn().unwrap()
}

fn code(mut child: std::process::Child) -> i32 {
    i32::from(virtual_openpgp_card::stage::exit_code(child.wait().unwrap()))
}

#[test]
fn the_pin_is_not_shown_and_the_terminal_is_as_before() {
    let world = World::new("--touch=now");
    let mut terminal = Terminal::new();
    let (request, before) = (world.request(), terminal.settings());
    assert!(terminal.echoes());
    let child = sit_down(&world, &terminal, &["approve", &request]);
    terminal.wait_for(PROMPT);
    assert!(!terminal.echoes());
    terminal.type_line(PIN);
    terminal.wait_for("written to ");
    assert_eq!(code(child), 0);
    assert_eq!(terminal.settings(), before);
    assert!(!terminal.last_screen().replace(support::SERIAL, "").contains(PIN), "{}", terminal.screen());
}

#[test]
fn whatever_ends_the_program_at_the_prompt_gives_the_terminal_back() {
    let world = World::new("--touch=now");
    let request = world.request();
    for how in ["Ctrl-C", "INT", "TERM", "HUP"] {
        let mut terminal = Terminal::new();
        let before = terminal.settings();
        let child = sit_down(&world, &terminal, &["approve", &request]);
        terminal.wait_for(PROMPT);
        assert!(!terminal.echoes());
        match how {
            "Ctrl-C" => terminal.control(b'c'),
            name => signal(name, child.id()),
        }
        assert_eq!(code(child), 130, "{how}: {}", terminal.screen());
        terminal.wait_for("error: cancelled");
        assert_eq!(terminal.settings(), before, "{how}");
        assert!(!world.exists(&request.replace(".request", ".approval")));
    }
    world.assert_gpg_works();
}

#[test]
fn what_was_typed_before_the_prompt_is_no_pin() {
    let world = World::new("--touch=now");
    let mut terminal = Terminal::new();
    let request = world.request();
    terminal.type_line("654321");
    let child = sit_down(&world, &terminal, &["approve", &request]);
    terminal.wait_for(PROMPT);
    terminal.type_line(PIN);
    assert_eq!(code(child), 0, "{}", terminal.screen());
    let info = run(&mut world.touchgate(["card", "info", "--json"])).succeeded().json();
    assert_eq!(info["pin_tries_left"], 3);
}

#[test]
fn a_countdown_runs_while_the_touch_is_awaited_and_leaves_its_line() {
    let world = World::new("--touch=ask");
    let mut terminal = Terminal::new();
    let request = world.request();
    let child = sit_down(&world, &terminal, &["approve", &request]);
    terminal.wait_for(PROMPT);
    terminal.type_line(PIN);
    terminal.wait_for("touch token 12345678 now to approve deploy on payments/prod\r\n");
    terminal.wait_for("\rwaiting for the touch: ");
    terminal.wait_for("\rwaiting for the touch: ");
    world.tell("press");
    terminal.wait_for("\r\napproved: ");
    assert_eq!(code(child), 0, "{}", terminal.screen());
}

#[test]
fn a_touch_that_was_missed_for_long_costs_the_pin_a_second_try_but_not_the_person() {
    // Longer than the card is held for an answer: it is presented again, and not asked for again.
    let world = World::new("--touch=never --touch-window=200ms");
    let mut terminal = Terminal::new();
    let request = world.request();
    let child = sit_down(&world, &terminal, &["approve", &request]);
    terminal.wait_for(PROMPT);
    terminal.type_line(PIN);
    for _ in 0..2 {
        terminal.wait_for("Enter tries again, Ctrl-C stops: ");
        std::thread::sleep(std::time::Duration::from_secs(5));
        terminal.type_line("");
    }
    terminal.wait_for("Enter tries again, Ctrl-C stops: ");
    world.tell("finger now");
    terminal.type_line("");
    assert_eq!(code(child), 0, "{}", terminal.screen());
    assert_eq!(terminal.last_screen().matches("PIN of token").count(), 1);
}

#[test]
fn run_asks_at_the_terminal_though_its_streams_are_the_commands() {
    let world = World::new("--touch=now");
    let mut terminal = Terminal::new();
    world.write("input", "for the command alone\n");
    let mut command = world.command("setsid");
    // setsid takes standard input for the terminal; the shell puts a file in its place.
    command.args(["--ctty", "sh", "-c", "exec \"$@\" <input", "sh", support::PROGRAM]);
    command.args(["run", "deploy", "payments/prod", "--", "cat"]).stdin(terminal.slave());
    let running = Running::start(&mut command, None);
    terminal.wait_for(PROMPT);
    terminal.type_line(PIN);
    let ran = running.finish().succeeded();
    assert_eq!(ran.out, "for the command alone\n");
    assert!(!terminal.last_screen().contains("for the command"), "{}", terminal.screen());
}

/// The token's touch policy as another program sees it, and the evidence that the roster promises.
fn touch(world: &World) -> (String, bool) {
    let info = run(&mut world.touchgate(["card", "info", "--json"])).succeeded().json();
    let policy = std::fs::read_to_string(world.home.config().join("trust/policy.toml"));
    (info["touch"].as_str().unwrap().to_owned(), policy.is_ok_and(|text| text.contains("\"declared\"")))
}

fn init(world: &World, terminal: &Terminal) -> std::process::Child {
    let certificate = world.home.certificate();
    sit_down(world, terminal, &["init", "--certificate", certificate.to_str().unwrap()])
}

#[test]
fn init_turns_touch_on_if_the_person_says_so() {
    let world = World::bare("--touch-policy=off");
    let mut terminal = Terminal::new();
    let child = init(&world, &terminal);
    terminal.wait_for("EVERY signature by this key");
    terminal.wait_for("git commits");
    terminal.wait_for("[y/N] ");
    assert!(terminal.echoes());
    terminal.type_line("y");
    terminal.wait_for("ADMIN PIN of token 12345678: ");
    assert!(!terminal.echoes());
    terminal.type_line(ADMIN_PIN);
    terminal.wait_for("touch is on");
    terminal.wait_for("next: touchgate run");
    assert_eq!(code(child), 0, "{}", terminal.screen());
    assert!(terminal.echoes());
    assert_eq!(touch(&world), ("on".to_owned(), true));
    world.assert_gpg_works();

    // Once is enough: the second time says so and changes nothing.
    let again = run(&mut world.touchgate(["init", "--no-input", "--json"])).exits(1);
    assert_eq!(again.json()["code"], "already-set-up");
}

#[test]
fn init_leaves_the_token_as_it_is_unless_told_otherwise() {
    for answer in ["", "n", "no", "yikes"] {
        let world = World::bare("--touch-policy=off");
        let mut terminal = Terminal::new();
        let child = init(&world, &terminal);
        terminal.wait_for("[y/N] ");
        terminal.type_line(answer);
        terminal.wait_for("next: touchgate run");
        assert_eq!(code(child), 0, "{}", terminal.screen());
        assert_eq!(touch(&world), ("off".to_owned(), false), "{answer:?}");
    }
}

#[test]
fn init_that_is_stopped_sets_nothing_up() {
    for how in ["Ctrl-C at the question", "Ctrl-C at the PIN", "wrong PIN"] {
        let world = World::bare("--touch-policy=off");
        let mut terminal = Terminal::new();
        let before = terminal.settings();
        let child = init(&world, &terminal);
        terminal.wait_for("[y/N] ");
        let expected = match how {
            "Ctrl-C at the question" => {
                terminal.control(b'c');
                130
            }
            "Ctrl-C at the PIN" => {
                terminal.type_line("y");
                terminal.wait_for("ADMIN PIN of token 12345678: ");
                terminal.control(b'c');
                130
            }
            _ => {
                terminal.type_line("y");
                terminal.wait_for("ADMIN PIN of token 12345678: ");
                terminal.type_line("87654321");
                5
            }
        };
        assert_eq!(code(child), expected, "{how}: {}", terminal.screen());
        assert_eq!(terminal.settings(), before, "{how}");
        assert_eq!(touch(&world), ("off".to_owned(), false), "{how}");
        assert!(!world.home.config().join("trust").exists() && !world.home.config().join("pin").exists());
        let status = run(&mut world.gpg(&["--card-status"])).succeeded();
        let left = if how == "wrong PIN" { 2 } else { 3 };
        assert!(status.out.contains(&format!("PIN retry counter : 3 0 {left}")), "{how}: {}", status.out);
    }
}

#[test]
fn init_finds_the_certificate_in_gpgs_keyring() {
    let world = World::bare("");
    let init = ["init", "--no-input", "--json"];
    let without = run(&mut world.touchgate(init)).exits(1);
    assert_eq!(without.json()["code"], "no-certificate");
    assert!(without.json()["hint"].as_str().unwrap().contains("gpg --export --armor "), "{without:?}");
    run(world.gpg(&["--import"]).arg(world.home.certificate())).succeeded();
    let with = run(&mut world.touchgate(init)).succeeded().json();
    assert_eq!((with["touch"].as_str(), with["serial"].as_str()), (Some("on"), Some(support::SERIAL)));
    // And through the scdaemon that holds the card, without its certificate being given.
    let world = World::bare("");
    run(world.gpg(&["--import"]).arg(world.home.certificate())).succeeded();
    world.assert_gpg_works();
    let with = run(&mut world.touchgate(init)).succeeded();
    assert!(with.err.contains("scdaemon has the card"), "{with:?}");
}

/// A session without a terminal whose pinentry is the one for terminals, and a terminal for it.
fn with_pinentry(world: &World, terminal: &Terminal, arguments: &[&str]) -> Command {
    need(&["pinentry-tty"]);
    let folder = world.home.join("bin");
    if !folder.exists() {
        std::fs::create_dir(&folder).unwrap();
        symlink("/usr/bin/pinentry-tty", folder.join("pinentry")).unwrap();
    }
    let mut command = world.touchgate_detached(arguments);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.display()));
    command.env("GPG_TTY", terminal.path()).stdin(Stdio::null());
    command
}

#[test]
fn without_a_terminal_of_its_own_it_asks_through_pinentry() {
    let world = World::new("--touch=now");
    let mut terminal = Terminal::new();
    let request = world.request();
    let running = Running::start(&mut with_pinentry(&world, &terminal, &["approve", &request]), None);
    terminal.wait_for("deploy on payments/prod");
    terminal.wait_for("PIN");
    terminal.type_line("654321");
    // A wrong one is asked for again, with the reason.
    terminal.wait_for("wrong PIN, 2 tries left");
    terminal.type_line(PIN);
    let ran: Ran = running.finish().succeeded();
    assert!(ran.out.contains("approved: "), "{ran:?}");
    assert!(!terminal.last_screen().replace(support::SERIAL, "").contains(PIN), "{}", terminal.screen());
}

#[test]
fn pinentry_asks_for_long_statements_too() {
    let world = World::new("--touch=now");
    let mut terminal = Terminal::new();
    let reason = "a reason of many words, ".repeat(20);
    let arguments = [
        "run",
        "deploy",
        "payments/prod",
        "--reason",
        reason.trim(),
        "--with",
        &format!("note={}", "ü".repeat(60)),
        "--",
        "true",
    ];
    let running = Running::start(&mut with_pinentry(&world, &terminal, &arguments), None);
    terminal.wait_for("too many for this window");
    terminal.wait_for("deploy on payments/prod");
    terminal.wait_for("PIN");
    terminal.type_line(PIN);
    let ran = running.finish().succeeded();
    assert!(ran.err.contains("│ reason: a reason of many words"), "{ran:?}");
}

#[test]
fn ctrl_c_while_pinentry_asks_ends_both() {
    let world = World::new("--touch=now");
    let mut terminal = Terminal::new();
    let request = world.request();
    let running = Running::start(&mut with_pinentry(&world, &terminal, &["approve", &request]), None);
    terminal.wait_for("deploy on payments/prod");
    terminal.wait_for("PIN");
    wait_until("pinentry hides what is typed", || !terminal.echoes());
    signal("INT", running.id());
    // It ends only when nobody has standard error any more: pinentry has gone too.
    let ran = running.finish().exits(130);
    assert!(ran.err.contains("error: cancelled"), "{ran:?}");
    assert!(terminal.echoes());
    world.assert_gpg_works();
}
