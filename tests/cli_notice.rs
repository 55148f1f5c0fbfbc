//! The notification while a touch is awaited, on a real desktop's parts: a session bus, a display, and dunst,
//! which shows what it gets and keeps it in its history once it is gone.
#![cfg(all(
    feature = "desktop-notification",
    feature = "pcsc",
    feature = "virtual-card",
    target_os = "linux"
))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use support::{PIN, Ran, Running, World, need, run, signal, wait_until};

const ADDRESS: &str = "DBUS_SESSION_BUS_ADDRESS";

/// Programs, ended with this in the order in which they depend on each other.
#[derive(Default)]
struct Desktop {
    programs: Vec<Child>,
    address: String,
}

impl Desktop {
    /// A session bus with nobody on it.
    fn bus(world: &World) -> Self {
        need(&["dbus-daemon", "dbus-send"]);
        let mut desktop = Self::default();
        let listen = format!("--address=unix:path={}", world.home.join("bus").display());
        let mut daemon = world.command("dbus-daemon");
        daemon.args(["--session", "--nofork", "--nopidfile", "--print-address=1", &listen]);
        desktop.address = desktop.start(daemon);
        desktop
    }

    /// One that shows notifications.
    fn new(world: &World) -> Self {
        need(&["Xvfb", "dunst", "dunstctl"]);
        let mut desktop = Self::bus(world);
        let mut display = world.command("Xvfb");
        display.args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "640x480x24"]);
        let display = desktop.start(display);
        let mut dunst = world.command("dunst");
        dunst.env(ADDRESS, &desktop.address).env("DISPLAY", format!(":{display}"));
        dunst.stdout(Stdio::null()).stderr(Stdio::null());
        desktop.programs.push(dunst.spawn().unwrap());
        wait_until("dunst is there", || desktop.shown(world).is_some());
        desktop
    }

    /// Starts a program that tells where it is in its first line.
    fn start(&mut self, mut command: Command) -> String {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.programs.push(child);
        assert!(!line.is_empty(), "{command:?} says nothing");
        line.trim().to_owned()
    }

    fn dunstctl(&self, world: &World, arguments: &[&str]) -> Ran {
        run(world.command("dunstctl").args(arguments).env(ADDRESS, &self.address))
    }

    /// How many notifications are on the screen.
    fn shown(&self, world: &World) -> Option<u32> {
        let ran = self.dunstctl(world, &["count", "displayed"]);
        if ran.code == 0 { ran.out.trim().parse().ok() } else { None }
    }

    /// Summaries and texts of those that were there.
    fn history(&self, world: &World) -> Vec<(String, String)> {
        let history: Value =
            serde_json::from_str(&self.dunstctl(world, &["history"]).succeeded().out).unwrap();
        let text = |entry: &Value, name: &str| entry[name]["data"].as_str().unwrap().to_owned();
        let entries = history["data"][0].as_array().unwrap();
        entries.iter().map(|entry| (text(entry, "summary"), text(entry, "body"))).collect()
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for program in self.programs.iter_mut().rev() {
            program.kill().unwrap();
            program.wait().unwrap();
        }
    }
}

/// A token that waits for `press`, and a request for it with a code.
fn waiting_world() -> (World, String, String) {
    let world = World::new("--touch=ask");
    let request = world.request();
    let code = PathBuf::from(&request).file_stem().unwrap().to_str().unwrap().to_owned();
    (world, request, code)
}

fn start(world: &World, address: &str, words: &[&str]) -> Running {
    let mut command = world.touchgate(words);
    command.args(["--no-input", "--pin-fd", "0"]).env(ADDRESS, address);
    Running::start(&mut command, Some(PIN))
}

#[test]
fn it_says_what_for_as_long_as_the_touch_is_awaited() {
    let (world, request, code) = waiting_world();
    let desktop = Desktop::new(&world);
    for word in ["approve", "refuse"] {
        let running = start(&world, &desktop.address, &[word, &request]);
        world.tell("await-touch 120s");
        wait_until("it is shown", || desktop.shown(&world) == Some(1));
        world.tell("press");
        running.finish().succeeded();
        assert_eq!(desktop.shown(&world), Some(0));
        let user = run(Command::new("id").arg("-un")).out.trim().to_owned();
        let host = run(Command::new("uname").arg("-n")).out.trim().to_ascii_lowercase();
        let (summary, body) = desktop.history(&world).remove(0);
        assert_eq!(summary, "Touch token 12345678 now");
        let expected =
            format!("to {word} deploy on payments/prod\nasked by os:{user}@{host}\nrequest {code}");
        assert_eq!(body, expected);
    }
    assert_eq!(desktop.history(&world).len(), 2);
}

#[test]
fn it_is_gone_when_nobody_touches_and_when_it_is_stopped() {
    let (world, request, _) = waiting_world();
    let desktop = Desktop::new(&world);
    let running = start(&world, &desktop.address, &["approve", &request]);
    world.tell("await-touch 120s");
    wait_until("it is shown", || desktop.shown(&world) == Some(1));
    signal("INT", running.id());
    running.finish().exits(130);
    assert_eq!(desktop.shown(&world), Some(0));

    world.tell("finger never");
    let running = start(&world, &desktop.address, &["approve", &request]);
    wait_until("it is shown", || desktop.shown(&world) == Some(1));
    running.finish().exits(4);
    assert_eq!(desktop.shown(&world), Some(0));
}

#[test]
fn no_touch_no_notification() {
    let world = World::new("--touch-policy=off");
    let desktop = Desktop::new(&world);
    start(&world, &desktop.address, &["approve", &world.request()]).finish().succeeded();
    assert_eq!(desktop.history(&world), []);
}

#[test]
fn without_a_desktop_nothing_is_said_and_nothing_waits() {
    let world = World::new("--touch=now");
    let bus = Desktop::bus(&world);
    let hangs = world.home.join("hangs");
    let _listener = UnixListener::bind(&hangs).unwrap();
    let gone = world.home.join("gone");
    let said = |address: &str| {
        let request = world.request();
        let mut err = start(&world, address, &["approve", &request]).finish().succeeded().err;
        world.normal(&mut [&mut err]);
        err
    };
    let expected = said("");
    assert!(expected.contains("touch token 12345678 now"), "{expected}");
    for address in [
        // Nobody on it who shows notifications.
        bus.address.clone(),
        format!("unix:path={}", gone.display()),
        // Accepts, and never answers.
        format!("unix:path={}", hangs.display()),
        "nonsense".to_owned(),
    ] {
        assert_eq!(said(&address), expected, "{address}");
    }
}
