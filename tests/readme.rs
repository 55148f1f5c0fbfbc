//! The README's five minutes, word by word, at a terminal, in an empty home.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::{Home, PIN, PROGRAM, Terminal, need};

/// The prompt says how the command before it ended.
const PROMPT: &str = "README $? > ";
/// What a person waits for a command at most, on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// The commands of the section, in their order.
fn commands() -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = text.split_once("## Two people, in five minutes").unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    section.lines().filter_map(|line| line.strip_prefix("    $ ").map(str::to_owned)).collect()
}

/// What a person does when it is on the screen.
enum Seen {
    Ended(i32),
    Enter,
    Pin,
}

/// Waits for something that a person acts on, behind `from`; gives where that ends.
fn next(terminal: &Terminal, from: usize) -> (Seen, usize) {
    let begun = Instant::now();
    loop {
        let screen = terminal.screen();
        let rest = &screen[from..];
        let mut found: Option<(usize, usize, Seen)> = None;
        let mut see = |at: Option<usize>, length: usize, seen: Seen| {
            if let Some(at) = at
                && found.as_ref().is_none_or(|(other, ..)| at < *other)
            {
                found = Some((at, length, seen));
            }
        };
        for (text, pin) in [("PIN of token", true), ("Enter: approve with a token here", false)] {
            see(rest.find(text), text.len(), if pin { Seen::Pin } else { Seen::Enter });
        }
        // The prompt with its number, whole; not the assignment of it.
        let prompt = rest.match_indices("README ").find_map(|(at, word)| {
            let (code, _) = rest[at + word.len()..].split_once(" > ")?;
            Some((at, word.len() + code.len() + 3, code.parse().ok()?))
        });
        if let Some((at, length, code)) = prompt {
            see(Some(at), length, Seen::Ended(code));
        }
        if let Some((at, length, seen)) = found {
            return (seen, from + at + length);
        }
        assert!(begun.elapsed() < LONG, "waited in vain on:\n{screen}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_five_minutes_work_word_by_word() {
    need(&["pcscd", "bash", "setsid"]);
    let home = Home::new();
    let mut terminal = Terminal::new();
    let commands = commands();
    assert!(commands.len() > 10 && commands[0].starts_with("touchgate card simulate"), "{commands:#?}");
    let bin = Path::new(PROGRAM).parent().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let path =
        std::env::join_paths([bin.to_owned()].into_iter().chain(std::env::split_paths(&path))).unwrap();
    let mut shell = Command::new("setsid");
    home.environment(&mut shell);
    shell
        .args(["--ctty", "bash", "--norc", "--noprofile", "-i"])
        .env("PATH", path)
        .env("PS1", PROMPT)
        .env("TERM", "dumb")
        .stdin(terminal.slave())
        .stdout(terminal.slave())
        .stderr(terminal.slave());
    let mut shell = shell.spawn().unwrap();
    let (_, mut seen) = next(&terminal, 0);
    for command in commands {
        terminal.type_line(&command);
        if command.ends_with("-- bash") {
            // The distribution's own settings gave the shell in there another prompt.
            terminal.type_line(&format!("PS1='{PROMPT}'"));
        }
        loop {
            let (what, at) = next(&terminal, seen);
            seen = at;
            match what {
                Seen::Ended(0) => break,
                Seen::Ended(code) => panic!("{command}: exit code {code}\n{}", terminal.screen()),
                Seen::Enter => terminal.type_line(""),
                Seen::Pin => {
                    support::wait_until("the PIN is not shown", || !terminal.echoes());
                    terminal.type_line(PIN);
                }
            }
        }
    }
    let screen = terminal.screen();
    for part in ["release 2.4.1 is live", "approved", "version 2", "bob"] {
        assert!(screen.contains(part), "no {part:?} on:\n{screen}");
    }
    // Out of the simulation, and out of the shell.
    terminal.type_line("exit");
    let _ = next(&terminal, seen);
    terminal.type_line("exit");
    support::wait_until("the shell has ended", || shell.try_wait().unwrap().is_some());
}
