//! `run`: two at once, and what is left of one that is interrupted, at whatever moment.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;
#[path = "support/team.rs"]
mod team;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use touchgate::audit::entry::Outcome;
use touchgate::challenge::Challenge;
use touchgate::store::Store as _;
use touchgate::unix_time::UnixTime;

use support::{PIN, Running, SERIAL, Terminal, World, run, wait_until};
use team::{BOBS, as_holder, team, team_with};

/// The requests that lie in the directory, each as it was asked.
fn requests(world: &World) -> Vec<Challenge> {
    let share = world.home.work().join("share");
    fs::create_dir_all(&share).unwrap();
    let paths = fs::read_dir(share).unwrap().flatten().map(|entry| entry.path());
    let requests = paths.filter(|path: &PathBuf| path.extension().is_some_and(|ending| ending == "request"));
    requests.filter_map(|path| Challenge::parse(&fs::read(path).ok()?).ok()).collect()
}

#[test]
fn two_at_once_on_one_resource_are_two_requests() {
    let world = team("--touch=now", "15m");
    requests(&world);
    let start = |word: &str| {
        let mut touchgate = world.touchgate(["run", "deploy", "payments/prod", "--exchange", "share"]);
        let script = format!("echo {word}; echo {word} >>ran");
        Running::start(touchgate.args(["--no-input", "--", "sh", "-c", &script]), None)
    };
    let running = ["one", "two"].map(start);
    wait_until("both are asked", || requests(&world).len() == 2);
    let code = |word: &str| {
        let asked = requests(&world);
        let of = |asked: &&Challenge| asked.to_text().contains(&format!("echo {word};"));
        asked.iter().find(of).unwrap().id.short_code()
    };
    let (one, two) = (code("one"), code("two"));
    let approve =
        |serial: &str, code: &str| as_holder(&world, serial, &["approve", "--exchange", "share", code]);
    // An approval of each is none of the other, whatever name it is given.
    approve(SERIAL, &one).succeeded();
    approve(BOBS, &two).succeeded();
    let share = world.home.work().join("share");
    fs::copy(share.join(format!("{two}.bob.approval")), share.join(format!("{one}.bob.approval"))).unwrap();
    running[0].wait_for_stderr("rejected (unknown-request)");
    fs::remove_file(share.join(format!("{one}.bob.approval"))).unwrap();
    running[1].wait_for_stderr("by bob (");
    assert!(!world.exists("ran"));
    // The second is decided first.
    approve(SERIAL, &two).succeeded();
    let [first, second] = running;
    assert_eq!(second.finish().succeeded().out, "two\n");
    assert_eq!(world.read("ran"), "two\n");
    approve(BOBS, &one).succeeded();
    assert_eq!(first.finish().succeeded().out, "one\n");
    assert_eq!(world.read("ran"), "two\none\n");
    let store = world.store();
    assert_eq!(store.open_requests().unwrap(), []);
    assert!(store.live_grants(UnixTime::now()).unwrap().is_empty());
    run(&mut world.touchgate(["audit", "verify"])).succeeded();
}

#[test]
fn ctrl_c_at_any_moment_leaves_nothing_open() {
    let world = team_with("--touch=ask", "--touch=now", "15m");
    requests(&world);
    run(Command::new("mkfifo").arg(world.home.work().join("fifo"))).succeeded();
    // Its own reader, and full: the verdict waits.
    let full = "exec 4<>fifo; dd if=/dev/zero of=/dev/fd/4 oflag=nonblock bs=4096 2>/dev/null; exec \"$@\"";
    for phase in ["nobody has answered", "one has approved", "the PIN", "the touch", "the verdict"] {
        let mut terminal = Terminal::new();
        let before = terminal.settings();
        let mut command = world.command("setsid");
        command.args([
            "--ctty",
            "bash",
            "-c",
            full,
            "sh",
            support::PROGRAM,
            "run",
            "deploy",
            "payments/prod",
        ]);
        command.args(["--card", SERIAL, "--exchange", "share", "--status-fd", "4", "--", "touch", "ran"]);
        let running = Running::start(command.stdin(terminal.slave()), None);
        terminal.wait_for("Enter: approve with a token here");
        let asked = requests(&world).remove(0);
        if phase != "nobody has answered" {
            as_holder(&world, BOBS, &["approve", "--exchange", "share"]).succeeded();
            terminal.wait_for("approved  bob (token 87654321");
            terminal.wait_for("Enter: approve with a token here");
        }
        if ["the PIN", "the touch", "the verdict"].contains(&phase) {
            terminal.type_line("");
            terminal.wait_for("PIN of token 12345678");
        }
        if ["the touch", "the verdict"].contains(&phase) {
            terminal.type_line(PIN);
            world.tell("await-touch 120s");
        }
        if phase == "the verdict" {
            world.tell("press");
            running.wait_for_stderr("by alice (");
        }
        terminal.control(b'c');
        let ended = running.finish().exits(130);
        assert!(ended.err.contains("error: cancelled"), "{phase}: {ended:#?}");
        assert_eq!(terminal.settings(), before, "{phase}");
        assert!(!world.exists("ran") && requests(&world).is_empty(), "{phase}");
        let store = world.store();
        assert_eq!(store.open_requests().unwrap(), [], "{phase}");
        assert!(store.live_grants(UnixTime::now()).unwrap().is_empty(), "{phase}");
        let outcome = store.request(&asked.id).unwrap().unwrap().outcome;
        let revoked = store.grant(&asked.id).unwrap().map(|grant| grant.revoked.is_some());
        match phase {
            "the verdict" => assert_eq!((outcome, revoked), (Some(Outcome::Approved), Some(true))),
            _ => assert_eq!((outcome, revoked), (Some(Outcome::Withdrawn), None), "{phase}"),
        }
        if phase == "the touch" {
            world.tell("press");
        }
    }
    run(&mut world.touchgate(["audit", "verify"])).succeeded();
    world.assert_gpg_works();
}
