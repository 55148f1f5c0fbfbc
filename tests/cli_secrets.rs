//! A known PIN is nowhere: not in any output at the loudest setting, not in what the system shows of a
//! process, not in a file, not with the command that `run` starts.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use support::{ADMIN_PIN, Home, Ran, Running, Terminal, World, need, run, run_with, wait_until};

/// Digits that nothing else here happens to hold.
const RIGHT: &str = "27182818";
const WRONG: &str = "16180339";

/// Every card that differs in how a PIN gets to it.
const CARDS: [&str; 4] = [
    "--command-chaining=yes --extended-length=yes",
    "--command-chaining=no --extended-length=no",
    "--personality=plain --command-chaining=yes --extended-length=no",
    "--personality=plain --command-chaining=no --extended-length=yes",
];

/// All that is loud in the environment, for us and for what we link and start.
fn loudest(command: &mut Command) -> &mut Command {
    command.envs([("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")])
}

/// The forms in which bytes get into texts: as they are, hexadecimal, decimal; separators are left out.
fn forms(pin: &str) -> [String; 3] {
    let joined = |format: &dyn Fn(u8) -> String| pin.bytes().map(format).collect::<String>();
    [pin.to_owned(), joined(&|byte| format!("{byte:02x}")), joined(&|byte| byte.to_string())]
}

#[track_caller]
fn assert_nowhere(pins: &[&str], what: &str, text: &[u8]) {
    let joined: String = text
        .iter()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect();
    for pin in pins {
        for form in forms(pin) {
            assert!(!joined.contains(&form), "{form} in {what}: {}", String::from_utf8_lossy(text));
        }
    }
}

/// Output of a run at the loudest: it is loud, and there is no PIN in it.
#[track_caller]
fn assert_silent_about_pins(ran: &Ran, loud: bool) {
    assert_eq!(loud, ran.err.contains("trace: "), "{ran:#?}");
    assert_nowhere(&[RIGHT, WRONG], "standard error", ran.err.as_bytes());
    assert_nowhere(&[RIGHT, WRONG], "standard output", ran.out.as_bytes());
}

fn assert_in_no_file(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            assert_in_no_file(&entry.path());
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            assert_nowhere(&[RIGHT, WRONG], &entry.path().display().to_string(), &bytes);
        }
    }
}

#[test]
fn no_output_holds_a_pin() {
    for card in CARDS {
        let world = World::bare(&format!("{card} --touch=now"));
        let (serial, init) = (serial(&world), ["init", "--no-input", "--touch", "keep", "--certificate"]);
        run(world.touchgate(init).arg(world.home.certificate())).succeeded();
        world.change_pin(RIGHT);
        let request = world.request();
        let approve = ["approve", "-vv", "--no-input", "--pin-fd", "0", &request];
        for (pin, code) in [(WRONG, 5), (RIGHT, 0)] {
            let ran = run_with(loudest(&mut world.touchgate(approve)), pin).exits(code);
            assert!(ran.err.contains("data hidden"), "the exchanges are shown: {ran:#?}");
            assert_silent_about_pins(&ran, true);
        }
        let run_it = ["run", "-vv", "deploy", "payments/prod", "--no-input", "--pin-fd", "0", "--", "true"];
        assert_silent_about_pins(&run_with(loudest(&mut world.touchgate(run_it)), RIGHT).succeeded(), true);

        let enrol = ["enrol", "-vv", "--no-input", "--pin-fd", "0", "--name", "alice"];
        for (pin, code) in [(WRONG, 5), (RIGHT, 0)] {
            assert_silent_about_pins(&run_with(loudest(&mut world.touchgate(enrol)), pin).exits(code), true);
        }

        // At a terminal.
        let mut terminal = Terminal::new();
        let arguments = ["run", "-vv", "deploy", "payments/prod", "--", "true"];
        let running = Running::start(loudest(&mut world.touchgate_at(&terminal, arguments)), None);
        for pin in [WRONG, RIGHT] {
            terminal.wait_for(&format!("PIN of token {serial} to approve deploy on payments/prod"));
            terminal.wait_for(": ");
            terminal.type_line(pin);
        }
        assert_silent_about_pins(&running.finish().succeeded(), true);
        assert_nowhere(&[RIGHT, WRONG], "the terminal", terminal.last_screen().as_bytes());

        // Through scdaemon.
        run(&mut world.gpg(&["--card-status"])).succeeded();
        let ran = run_with(loudest(&mut world.touchgate(run_it)), RIGHT).succeeded();
        assert!(ran.err.contains("scdaemon has the card"), "{ran:#?}");
        assert_silent_about_pins(&ran, true);
        assert_in_no_file(world.home.path());
    }
}

/// The token as Touchgate names it.
fn serial(world: &World) -> String {
    let info = run(&mut world.touchgate(["card", "info", "--json"])).succeeded().json();
    info["serial"].as_str().unwrap().to_owned()
}

#[test]
fn pinentry_adds_none() {
    need(&["pinentry-tty"]);
    let world = World::new("--touch=now");
    world.change_pin(RIGHT);
    let mut terminal = Terminal::new();
    let folder = world.home.join("bin");
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink("/usr/bin/pinentry-tty", folder.join("pinentry")).unwrap();
    let mut command = world.touchgate_detached(["run", "-vv", "deploy", "payments/prod", "--", "true"]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.display())).env("GPG_TTY", terminal.path());
    let running = Running::start(loudest(&mut command), None);
    for pin in [WRONG, RIGHT] {
        terminal.wait_for("PIN of token");
        terminal.wait_for("PIN: ");
        terminal.type_line(pin);
    }
    assert_silent_about_pins(&running.finish().succeeded(), true);
    assert_nowhere(&[RIGHT, WRONG], "the terminal", terminal.last_screen().as_bytes());
}

#[test]
fn the_admin_pin_is_in_no_output_either() {
    let world = World::bare("--touch-policy=off");
    let certificate = world.home.certificate();
    // Eight digits that are not the token's own number.
    let change = format!("--send-apdu=0024008310{}{}", hex(ADMIN_PIN), hex(RIGHT));
    let select = "--send-apdu=00A4040006D27600012401";
    run(world.command("opensc-tool").args(["--reader=0", select, &change])).succeeded();
    let mut init = world.touchgate(["init", "-vv", "--no-input", "--touch", "on", "--admin-pin-fd", "0"]);
    let ran = run_with(loudest(init.arg("--certificate").arg(certificate)), RIGHT).succeeded();
    assert_silent_about_pins(&ran, true);
    assert!(ran.out.contains("touch    on"), "{ran:#?}");
    assert_in_no_file(world.home.path());
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect()
}

#[test]
fn the_system_shows_no_pin_of_the_process_or_its_command() {
    let world = World::new("--touch=ask");
    world.change_pin(RIGHT);
    let script = "tr '\\0' ' ' </proc/self/environ; tr '\\0' ' ' </proc/$$/cmdline; cat <&3; echo end";
    // The PIN comes through descriptor 3, and what is behind it is not the command's to read.
    let shell = format!("printf '{RIGHT}\\nrest\\n' | {{ exec 3<&0 </dev/null; exec \"$@\"; }}");
    let mut command = world.command("sh");
    command.args(["-c", &shell, "sh", support::PROGRAM, "run", "deploy", "payments/prod", "--no-input"]);
    command.args(["--pin-fd", "3", "--", "sh", "-c", script]);
    // The shell's own command line holds the PIN; that is this test's doing.
    let running = Running::start(&mut command, None);
    world.tell("await-touch 120s");
    let mut looked_at = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        if !line.starts_with(support::PROGRAM.as_bytes())
            || !line.windows(8).any(|bytes| bytes == b"payments")
        {
            continue;
        }
        looked_at += 1;
        assert_nowhere(&[RIGHT], "the command line", &line);
        // Root alone may look further into a process that nobody may debug.
        for name in ["environ", "comm", "status", "stat", "maps"] {
            let shown = fs::read(entry.path().join(name)).unwrap_or_default();
            assert_nowhere(&[RIGHT], name, &shown);
        }
    }
    assert!(looked_at > 0);
    world.tell("press");
    let ran = running.finish().succeeded();
    assert!(ran.out.contains("HOME=") && ran.out.ends_with("end\n") && !ran.out.contains("rest"), "{ran:#?}");
    assert_nowhere(&[RIGHT], "what the command can see", ran.out.as_bytes());
}

/// The kernel gives what belongs to a process that may not be dumped to root, so that not even other
/// processes of the same user can read its memory.
#[test]
fn nobody_of_the_same_user_may_look_into_the_process() {
    let home = Home::new();
    let copy = home.join("touchgate");
    fs::copy(support::PROGRAM, &copy).unwrap();
    for path in [home.path().to_owned(), home.work(), copy.clone()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = if rustix::process::geteuid().is_root() {
        need(&["setpriv"]);
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
        command
    } else {
        Command::new(copy)
    };
    home.environment(&mut command);
    command.args(["run", "deploy", "payments/prod", "--pin-fd", "0", "--", "true"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let shown = format!("/proc/{}", child.id());
    let owner = |name: &str| fs::metadata(format!("{shown}/{name}")).map(|data| data.uid()).ok();
    // It waits for the PIN now, or is about to.
    wait_until("it has closed itself", || {
        let status = fs::read_to_string(format!("{shown}/status")).unwrap();
        status.starts_with("Name:\ttouchgate\n")
            && !status.contains("Uid:\t0\t")
            && [owner("mem"), owner("environ")] == [Some(0), Some(0)]
    });
    drop(child.stdin.take());
    assert_ne!(child.wait().unwrap().code(), Some(0));
}
