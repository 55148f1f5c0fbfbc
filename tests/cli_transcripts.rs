//! Every outcome of a decision at the card as a person and a program meet it: all of standard error and
//! output, the exit code, over real pcscd.
//!
//! A file in `fixtures/transcripts` describes a situation and what comes of some commands in it:
//!
//! ```text
//! # What it is about.
//! card: --touch=ask                   options of the virtual card
//! second: 87654321 --touch=now        another one in the reader's second slot: serial and options
//! given: the PIN is blocked           what was done before; see `given` below
//! pin: 123456                         on standard input; \n ends the first of two lines
//! terminal: wait PIN of token          or at a terminal: what to wait for there and what to do then
//! terminal: type 123456
//! at touch: pull                      what happens when the card begins to wait
//! statement: in full                  otherwise a well-formed statement stands as STATEMENT
//!
//! $ touchgate approve REQUEST         each command in a world of its own
//! exit 5
//! 2| standard error
//! 1| standard output
//! t| the terminal
//! ```
//!
//! `MACHINE` in a command is a folder with the files of a machine that has a YubiKey, for `doctor --root`.
//! What differs from run to run stands as a word in capitals. After each command, as soon as the card has
//! answered what was sent to it, gpg must see the card at its first attempt; and what `run` was given to run has
//! run only if the code is 0.
//!
//! `TRANSCRIPT=name` runs those whose name contains it; `TRANSCRIPT_WRITE=1` writes what came of the
//! commands into the files, to be read before it is committed.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/machine.rs"]
mod machine;
#[path = "support/cli.rs"]
mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use touchgate::statement::Statement;

use machine::Machine;
use support::{PIN, Ran, Running, SERIAL, Terminal, World, card_arguments, need, run, signal};

/// More than there are processors: most of the time is spent waiting.
const WORKERS: usize = 6;
/// How the commands name the PINs that every card is delivered with.
const FACTORY: &str = "(123456 and 12345678)";
/// What `run` is given to run creates this.
const EVIDENCE: &str = "ran";

#[test]
fn every_transcript_holds() {
    need(&["opensc-tool", "setsid", "setpriv", "unshare"]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/transcripts");
    let wanted = std::env::var("TRANSCRIPT").unwrap_or_default();
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    files.retain(|path| path.file_stem().unwrap().to_string_lossy().contains(&wanted));
    assert!(!files.is_empty());
    files.sort();
    let (queue, wrong) = (Mutex::new(files), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(path) = { queue.lock().unwrap().pop() } {
                    let held = std::panic::catch_unwind(|| hold(&path));
                    let problem = held.unwrap_or_else(|_| Some("panicked, see above".into()));
                    wrong
                        .lock()
                        .unwrap()
                        .extend(problem.map(|problem| format!("{}: {problem}", path.display())));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Plays one file; says what is different.
fn hold(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).unwrap();
    let case = Case::parse(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let played =
        case.commands.iter().fold(case.head.clone(), |text, command| text + "\n" + &case.play(command));
    if played == text {
        return None;
    }
    if std::env::var_os("TRANSCRIPT_WRITE").is_some() {
        fs::write(path, played).unwrap();
        return None;
    }
    let same = text.lines().zip(played.lines()).take_while(|(a, b)| a == b).count();
    let from = |text: &str| text.lines().skip(same).take(4).collect::<Vec<_>>().join("\n");
    Some(format!("from line {} on expected\n{}\nand got\n{}", same + 1, from(&text), from(&played)))
}

#[derive(Default)]
struct Case {
    /// Everything before the first command, as it stands in the file.
    head: String,
    card: String,
    second: Option<String>,
    given: Vec<String>,
    pin: Option<String>,
    terminal: Vec<(String, String)>,
    at_touch: Option<String>,
    statement_in_full: bool,
    commands: Vec<String>,
}

impl Case {
    fn parse(text: &str) -> Result<Self, String> {
        let mut case = Self::default();
        for line in text.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                case.commands.push(command.to_owned());
            }
            if !case.commands.is_empty() || line.is_empty() {
                continue;
            }
            case.head += &format!("{line}\n");
            if line.starts_with("# ") {
                continue;
            }
            let (key, value) = line.split_once(": ").ok_or_else(|| format!("what is {line:?}?"))?;
            match key {
                "card" => case.card = value.to_owned(),
                "second" => case.second = Some(value.to_owned()),
                "given" => case.given.push(value.to_owned()),
                "pin" => case.pin = Some(value.replace("\\n", "\n")),
                "terminal" => {
                    let (verb, rest) = value.split_once(' ').ok_or("wait, type, control or enter")?;
                    case.terminal.push((verb.to_owned(), rest.to_owned()));
                }
                "statement" => case.statement_in_full = value == "in full",
                "at touch" => case.at_touch = Some(value.to_owned()),
                _ => return Err(format!("what is {key:?}?")),
            }
        }
        if case.commands.is_empty() { Err("no command".to_owned()) } else { Ok(case) }
    }

    /// One command in a world of its own, as it stands in the file.
    fn play(&self, line: &str) -> String {
        let mut world = World::with(&self.card, |_, builder| match &self.second {
            Some(second) => {
                let (serial, options) = second.split_once(' ').unwrap_or((second, ""));
                builder.second_card(card_arguments(serial, options, None))
            }
            None => builder,
        });
        let init = ["init", "--no-input", "--touch", "keep", "--card", SERIAL, "--certificate"];
        run(world.touchgate(init).arg(world.home.certificate())).succeeded();
        let request = world.request();
        let mut changes = Changes::default();
        for given in &self.given {
            changes.make(given, &world, &request);
        }
        let machine = changes.machine.as_ref().map(|machine| machine.0.display().to_string());
        let words: Vec<&str> = line
            .split_whitespace()
            .map(|word| match word {
                "REQUEST" => request.as_str(),
                "MACHINE" => machine.as_deref().unwrap(),
                word => word,
            })
            .collect();
        let (program, arguments) = words.split_first().unwrap();
        assert_eq!(*program, "touchgate");
        let mut terminal = (!self.terminal.is_empty()).then(Terminal::new);
        let mut command = match &terminal {
            Some(terminal) => world.touchgate_at(terminal, arguments),
            None => match changes.bound.split_first() {
                Some((first, rest)) => {
                    let mut command = world.command(first);
                    command.args(rest).arg(support::PROGRAM).args(arguments);
                    command
                }
                None => world.touchgate(arguments),
            },
        };
        command.envs(changes.environment.iter().cloned());
        let line_in = self.pin.as_deref().filter(|_| terminal.is_none());
        let running = Running::start(&mut command, line_in);
        for (verb, rest) in &self.terminal {
            let terminal = terminal.as_mut().unwrap();
            match verb.as_str() {
                "wait" => terminal.wait_for(rest),
                "type" => terminal.type_line(rest),
                "press" if rest == "Enter" => terminal.type_line(""),
                "press" if rest == "Ctrl-C" => terminal.control(b'c'),
                "press" if rest == "Ctrl-D" => terminal.control(b'd'),
                "tell" => drop(world.tell(rest)),
                _ => panic!("what is {verb} {rest}?"),
            }
        }
        if let Some(event) = &self.at_touch {
            world.tell("await-touch 120s");
            running.wait_for_stderr("touch token");
            match event.as_str() {
                "kill pcscd" => signal("KILL", world.stage.pcscd_pid()),
                "interrupt" => signal("INT", running.id()),
                "Ctrl-C" => terminal.as_mut().unwrap().control(b'c'),
                word => drop(world.tell(word)),
            }
        }
        let ran = running.finish();
        let screen = terminal.as_ref().map(Terminal::last_screen).unwrap_or_default();
        assert_eq!(world.exists(EVIDENCE), words.contains(&"run") && ran.code == 0, "{line}: {ran:#?}");
        self.assert_no_pin(&[&ran.out, &ran.err, &screen]);

        drop(changes);
        if self.given.iter().any(|given| given.starts_with(TOLD)) {
            world.tell("faults clear");
        }
        if self.given.iter().any(|given| given == SCDAEMON_SEES_NOTHING) {
            run(world.command("gpgconf").args(["--kill", "gpg-agent"])).succeeded();
        }
        if self.at_touch.as_deref() == Some("kill pcscd") {
            world.stage.restart_pcscd().unwrap();
        }
        if self.at_touch.as_deref() == Some("pull")
            || self.given.iter().any(|g| g == "the reader is empty" || g.ends_with(" removed-after"))
        {
            world.tell("insert");
        }
        if matches!(self.at_touch.as_deref(), Some("interrupt" | "Ctrl-C")) {
            world.wait_until_card_is_free();
        }
        world.assert_gpg_works();
        self.written(&world, line, ran, screen)
    }

    /// The PINs that were typed are nowhere.
    fn assert_no_pin(&self, texts: &[&str]) {
        let typed = self.terminal.iter().filter(|(verb, _)| verb == "type").map(|(_, text)| text.as_str());
        for pin in
            typed.chain(self.pin.iter().flat_map(|pin| pin.lines())).chain([PIN]).filter(|pin| pin.len() >= 6)
        {
            // The PINs of the factory are no secret, and the first token's number holds one of them.
            let found = texts.iter().any(|text| text.replace(FACTORY, "").replace(SERIAL, "").contains(pin));
            assert!(!found, "{pin} stands in {texts:?}");
        }
    }

    fn written(&self, world: &World, line: &str, ran: Ran, mut screen: String) -> String {
        let (mut out, mut err) = (ran.out, ran.err);
        assert_statement(&err);
        assert_statement(&screen);
        world.normal(&mut [&mut out, &mut err, &mut screen]);
        if !self.statement_in_full {
            fold_statement(&mut err);
            fold_statement(&mut screen);
        }
        let mut text = format!("$ {line}\nexit {}\n", ran.code);
        for (mark, part) in [("2|", err), ("1|", out), ("t|", screen)] {
            for line in part.lines() {
                writeln!(text, "{}", format!("{mark} {line}").trim_end()).unwrap();
            }
        }
        text
    }
}

/// What stands before each line of the statement that is shown.
const BAR: &str = "│ ";

/// What is shown for signing is a statement.
fn assert_statement(text: &str) {
    let text = text.replace('\r', "");
    let lines = text.lines().filter_map(|line| line.strip_prefix(BAR)).map(|line| format!("{line}\n"));
    let statement: String = lines.collect();
    assert!(statement.is_empty() || Statement::parse(statement.as_bytes()).is_ok(), "{text}");
}

/// Puts one word in its place.
fn fold_statement(text: &mut String) {
    let mut folded = String::new();
    let mut inside = false;
    for line in text.lines() {
        let was_inside = std::mem::replace(&mut inside, line.starts_with(BAR));
        match (was_inside, inside) {
            (false, true) => folded.push_str("│ STATEMENT\n"),
            (true, true) => {}
            (_, false) => folded.extend([line, "\n"]),
        }
    }
    *text = folded;
}

/// What was done to the world before the command.
#[derive(Default)]
struct Changes {
    environment: Vec<(&'static str, PathBuf)>,
    /// Other programs, ended with this.
    others: Vec<Child>,
    machine: Option<Machine>,
    /// What makes the command be bound by modes of files.
    bound: Vec<&'static str>,
}

impl Changes {
    fn make(&mut self, given: &str, world: &World, request: &str) {
        let config = world.home.config();
        let edit = |from: &str, to: &str| {
            let line = |line: &str| if line.starts_with(from) { to.to_owned() } else { line.to_owned() };
            let text: Vec<String> = world.read(request).lines().map(line).collect();
            world.write(request, &(text.join("\n") + "\n"));
        };
        match given {
            "scdaemon holds the card" => world.assert_gpg_works(),
            "another program holds the card" => self.others.push(hold_card(world)),
            "the PIN is blocked" => send(world, &[WRONG_PW1; 3]),
            "both PINs are blocked" => send(world, &[[WRONG_PW1; 3], [WRONG_PW3; 3]].concat()),
            "the token was reset" => {
                send(world, &[[WRONG_PW1; 3], [WRONG_PW3; 3]].concat());
                send(world, &["00E60000", "00440000"]);
            }
            "the touch was switched off" => send(world, &["00200083083132333435363738", "00DA00D6020020"]),
            "the reader is empty" => drop(world.tell("pull")),
            "pcscd is not running" => self.set_socket("/nonexistent/pcscd".into()),
            "a YubiKey is on USB" => self.machine = Some(Machine::new(world.home.join("machine"))),
            "nothing is on USB" => {
                let machine = Machine::new(world.home.join("machine"));
                machine.unplug();
                self.machine = Some(machine);
            }
            "it was unplugged" => self.machine().unplug(),
            "its smart card side is off" => self.machine().switch_smart_card_off(),
            "there is no file to open it by" => self.machine().remove_node(),
            "the device rules are installed" => self.machine().install_rules(),
            "it may not be opened" => {
                self.machine().forbid_node();
                self.bound = machine::bound_by_modes();
            }
            SCDAEMON_SEES_NOTHING => {
                let mut agent = world.command("gpg-connect-agent");
                agent.env("PCSCLITE_CSOCK_NAME", "/nonexistent/pcscd");
                run(agent.args(["SCD GETINFO version", "/bye"])).succeeded();
            }
            "scdaemon has it open" => self.others.push(hold_device(world, &self.machine().node())),
            "pcscd is not installed" => self.machine().uninstall("pcscd"),
            "libccid is not installed" => self.machine().uninstall("libccid"),
            "pcscd was killed" => {
                let socket = self.socket_in(world);
                machine::dead_socket(&socket);
            }
            "polkit denies pcscd" => {
                let socket = self.socket_in(world);
                machine::closing_socket(&socket);
            }
            "pcscd's socket may not be opened" => {
                let socket = self.socket_in(world);
                machine::dead_socket(&socket);
                machine::forbid(&socket);
                self.bound = machine::bound_by_modes();
            }
            "pcscd has no reader" => {
                let socket = self.socket_in(world);
                let empty = world.home.join("no-readers");
                fs::create_dir(&empty).unwrap();
                let pcscd = machine::pcscd_without_reader(&mut world.command("unshare"), &socket, &empty);
                self.others.push(pcscd);
            }
            "nothing was set up" => fs::remove_dir_all(config).unwrap(),
            "trust is not pinned" => fs::remove_file(config.join("pin")).unwrap(),
            "another version is pinned" => {
                fs::write(config.join("pin"), format!("2 sha256:{}\n", "0".repeat(64))).unwrap();
            }
            "the request has expired" => {
                edit("issued: ", "issued: 2020-01-01T00:00:00Z");
                edit("expires: ", "expires: 2020-01-01T00:15:00Z");
            }
            "the request is for another verifier" => edit("audience: ", "audience: other.example"),
            other => match other.strip_prefix(TOLD) {
                Some(line) => drop(world.tell(line)),
                None => panic!("what is {given:?}?"),
            },
        }
    }

    fn machine(&self) -> &Machine {
        self.machine.as_ref().unwrap()
    }

    /// Another card service than the stage's.
    fn set_socket(&mut self, socket: PathBuf) {
        self.environment.push(("PCSCLITE_CSOCK_NAME", socket));
    }

    fn socket_in(&mut self, world: &World) -> PathBuf {
        let socket = world.home.join("pcscd.comm");
        self.set_socket(socket.clone());
        socket
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        for mut other in self.others.drain(..) {
            other.kill().unwrap();
            other.wait().unwrap();
        }
    }
}

/// Words for the virtual card, undone afterwards.
const TOLD: &str = "the card is told ";
/// A scdaemon that runs without pcscd and may not open USB devices either.
const SCDAEMON_SEES_NOTHING: &str = "scdaemon runs and sees no card";

/// VERIFY with PINs that are not the card's.
const WRONG_PW1: &str = "0020008106363534333231";
const WRONG_PW3: &str = "00200083083837363534333231";

/// Sends commands to the first card's OpenPGP application, whatever it says to them.
fn send(world: &World, commands: &[&str]) {
    let mut tool = world.command("opensc-tool");
    tool.args(["--reader=0", "--send-apdu=00A4040006D27600012401"]);
    run(tool.args(commands.iter().map(|command| format!("--send-apdu={command}")))).succeeded();
}

/// A scdaemon with a USB device open, as one has that drives a token itself.
fn hold_device(world: &World, node: &Path) -> Child {
    let mut command = world.command("sh");
    command.args(["-c", "exec 9<>\"$0\" && exec /usr/lib/gnupg/scdaemon --server"]).arg(node);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // Its greeting.
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("OK"), "{line}");
    child
}

/// Another program with an exclusive connection to the first card: this one, started again.
fn hold_card(world: &World) -> Child {
    let mut command: Command = world.command(std::env::current_exe().unwrap());
    command.args(["--exact", "holds_a_card_until_killed", "--ignored", "--nocapture"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("holding")));
    child
}

#[test]
#[ignore = "the other program of `another program holds the card`, not a test"]
fn holds_a_card_until_killed() {
    let context = pcsc::Context::establish(pcsc::Scope::User).unwrap();
    let readers = context.list_readers_owned().unwrap();
    let card = context.connect(&readers[0], pcsc::ShareMode::Exclusive, pcsc::Protocols::ANY).unwrap();
    println!("holding");
    std::thread::sleep(support::LONG);
    drop(card);
}
