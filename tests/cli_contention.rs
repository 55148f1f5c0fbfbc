//! Every command that needs the card while somebody else has it: through gpg's scdaemon it works and gpg is
//! none the worse; of any other program it says which process that is.
#![cfg(all(feature = "cli", feature = "pcsc", feature = "virtual-card", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/cli.rs"]
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use support::{ADMIN_PIN, Home, PIN, Ran, World, need, run, run_with};

/// A command that needs the card. `REQUEST` stands for a request that waits.
struct Case {
    line: &'static str,
    /// On standard input: the PIN as a rule.
    input: &'static str,
    /// Its exit code.
    code: i32,
    /// Whether it begins on a machine where nothing is set up.
    unset: bool,
    /// Whether it signs.
    signs: bool,
    /// What is added to the exit code.
    offset: i32,
}

const fn case(line: &'static str) -> Case {
    Case { line, input: PIN, code: 0, unset: false, signs: false, offset: 0 }
}

/// Every command that needs a card: a new one belongs here.
const CASES: [Case; 12] = [
    case("card list"),
    case("card info"),
    case("doctor"),
    Case { signs: true, ..case("approve REQUEST --no-input --pin-fd 0") },
    Case { signs: true, ..case("refuse REQUEST --no-input --pin-fd 0 --because no") },
    Case { signs: true, offset: 120, ..case("run deploy payments/prod --no-input --pin-fd 0 -- touch ran") },
    Case { unset: true, ..case("init --no-input --touch keep --certificate CERTIFICATE") },
    case("card touch"),
    Case { input: ADMIN_PIN, ..case("card touch --slot decryption on --no-input --admin-pin-fd 0") },
    Case { input: ADMIN_PIN, ..case("card touch --slot attestation cached --no-input --admin-pin-fd 0") },
    // It attests, and nobody believes the test authority.
    Case { code: 3, ..case("card attest --no-input --pin-fd 0 --out held.pem") },
    Case { signs: true, ..case("enrol --no-input --pin-fd 0 --out held.enrol") },
];

/// Commands that leave other PINs or keys behind, in this order, each with the PIN with which gpg then signs; with
/// none where there is no key any more that gpg knows.
const CHANGES: [(Case, Option<&str>); 8] = [
    (
        Case { input: "123456\n271828", ..case("card pin change --no-input --pin-fd 0 --new-pin-fd 0") },
        Some("271828"),
    ),
    (
        Case {
            input: "12345678\n27182818",
            ..case("card pin change --admin --no-input --admin-pin-fd 0 --new-pin-fd 0")
        },
        Some("271828"),
    ),
    (
        Case {
            input: "27182818\n31415926",
            ..case("card pin change --resetting-code --no-input --admin-pin-fd 0 --new-pin-fd 0")
        },
        Some("271828"),
    ),
    (
        Case {
            input: "31415926\n161803",
            ..case("card pin unblock --no-input --resetting-code-fd 0 --new-pin-fd 0")
        },
        Some("161803"),
    ),
    (
        Case { input: "27182818", ..case("card pin set-retries 5 4 6 --yes --no-input --admin-pin-fd 0") },
        Some(PIN),
    ),
    (Case { input: ADMIN_PIN, ..case("card touch fixed --yes --no-input --admin-pin-fd 0") }, Some(PIN)),
    // It erases: gpg has nothing of the new keys.
    (
        Case {
            input: "271828",
            ..case("card provision --no-input --pin-fd 0 --show-fd 2 --erase 12345678 --out held")
        },
        None,
    ),
    (case("card reset --no-input --erase 12345678"), None),
];

impl Case {
    fn run(&self, world: &World, further: &[&str]) -> Ran {
        let config = world.home.config();
        let away = world.home.join("away");
        if self.unset {
            fs::rename(&config, &away).unwrap();
        }
        let request = if self.line.contains("REQUEST") { world.request() } else { String::new() };
        let certificate = world.home.certificate().display().to_string();
        let words = self.line.split(' ').map(|word| match word {
            "REQUEST" => &request,
            "CERTIFICATE" => &certificate,
            word => word,
        });
        let mut command = world.touchgate(further);
        let ran = run_with(command.args(words), self.input);
        if self.unset {
            let _ = fs::remove_dir_all(&config);
            fs::rename(&away, &config).unwrap();
        }
        ran
    }
}

/// A world whose scdaemon has these lines in its configuration, and has looked at the card.
fn held_by_scdaemon(configuration: &str) -> World {
    let world = World::new("--touch=now");
    let path = world.home.gnupg().join("scdaemon.conf");
    fs::write(&path, fs::read_to_string(&path).unwrap() + configuration).unwrap();
    run(world.gpg(&["--import"]).arg(world.home.certificate())).succeeded();
    world.assert_gpg_works();
    world
}

/// gpg signs with the card, now and at the first attempt, with the PIN typed anew.
fn assert_gpg_signs(world: &World, pin: &str) {
    world.write("message", "whatever");
    let mut gpg = world.gpg(&["--pinentry-mode", "loopback", "--passphrase-fd", "0", "--detach-sign"]);
    run_with(gpg.args(["--output", "message.sig", "message"]), pin).succeeded();
    fs::remove_file(world.home.work().join("message.sig")).unwrap();
}

/// The process id of the scdaemon of this gpg.
fn scdaemon(world: &World) -> u32 {
    let asked = run(world.command("gpg-connect-agent").args(["SCD GETINFO pid", "/bye"])).succeeded();
    asked.out.lines().find_map(|line| line.strip_prefix("D ")?.parse().ok()).unwrap()
}

/// The signatures that the card has made.
fn counter(world: &World) -> u64 {
    let info = run(&mut world.touchgate(["card", "info", "--json"])).succeeded();
    info.json()["signatures"].as_u64().unwrap()
}

#[test]
fn through_scdaemon_every_command_works_and_gpg_afterwards() {
    let world = held_by_scdaemon("");
    let holder = scdaemon(&world);
    for case in &CASES {
        let before = counter(&world);
        let ran = case.run(&world, &[]).exits(case.code);
        world.assert_gpg_works();
        assert_eq!(counter(&world) - before, u64::from(case.signs), "{}: {ran:?}", case.line);
        assert_gpg_signs(&world, PIN);
        // Nothing was killed.
        assert_eq!(scdaemon(&world), holder, "{}", case.line);
    }
}

/// What changes PINs and keys, whether scdaemon holds the card or shares it.
#[test]
fn through_scdaemon_a_token_is_changed_and_gpg_works_afterwards() {
    for configuration in ["", "pcsc-shared\n"] {
        let world = held_by_scdaemon(configuration);
        let holder = scdaemon(&world);
        for (case, pin) in &CHANGES {
            case.run(&world, &[]).exits(case.code);
            world.assert_gpg_works();
            if let Some(pin) = pin {
                assert_gpg_signs(&world, pin);
            }
            assert_eq!(scdaemon(&world), holder, "{}", case.line);
        }
        let info = run(&mut world.touchgate(["card", "info", "--json"])).succeeded().json();
        assert_eq!((&info["through"], &info["key"]), (&"scdaemon".into(), &serde_json::Value::Null));
    }
}

#[test]
fn beside_a_scdaemon_that_shares_every_command_works_and_gpg_afterwards() {
    let world = held_by_scdaemon("pcsc-shared\n");
    let holder = scdaemon(&world);
    for case in &CASES {
        case.run(&world, &[]).exits(case.code);
        // At the first attempt: past scdaemon, the reset after a signature would fail gpg's next command.
        world.assert_gpg_works();
        assert_gpg_signs(&world, PIN);
        assert_eq!(scdaemon(&world), holder, "{}", case.line);
    }
    // What is different: the card can be had directly too. Looking does not disturb gpg, signing does so once.
    let info = run(&mut world.touchgate(["card", "info", "--json", "--card-path", "direct"])).succeeded();
    assert_eq!(info.json()["through"], "reader");
    world.assert_gpg_works();
    case(CASES[3].line).run(&world, &["--card-path", "direct"]).succeeded();
    assert_ne!(run(&mut world.gpg(&["--card-status"])).code, 0);
    world.assert_gpg_works();
}

#[test]
fn a_scdaemon_of_another_home_is_freed_by_the_command_that_is_named() {
    let world = World::new("--touch=now");
    let other = Home::new();
    let mut gpg = world.gpg(&["--card-status"]);
    run(gpg.env("GNUPGHOME", other.gnupg())).succeeded();
    let ran = run(&mut world.touchgate(["card", "info"])).exits(5);
    let home = other.gnupg();
    let cure = format!("gpgconf --homedir {} --kill gpg-agent", home.display());
    assert!(ran.err.contains(" is in use by scdaemon (process "), "{ran:?}");
    assert!(ran.err.contains(&format!("`{cure}`")), "{cure} in {ran:?}");
    run(world.command("sh").args(["-c", &cure])).succeeded();
    run(&mut world.touchgate(["card", "info"])).succeeded();
}

/// Another program, ended with this. Its output is kept open, or it would end by itself.
struct Other {
    child: Child,
    _output: Lines<BufReader<ChildStdout>>,
}

impl Other {
    /// Starts it and waits until a line of its output shows that it is connected.
    fn start(mut command: Command, sign: &str) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"echo connected\n").unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains(sign)));
        Self { child, _output: lines }
    }

    /// `opensc-explorer` at its prompt, with the card to itself.
    fn explorer(world: &World) -> Self {
        need(&["opensc-explorer"]);
        world.write("opensc.conf", "app default { reader_driver pcsc { connect_exclusive = true; } }\n");
        let mut command = world.command("opensc-explorer");
        command.args(["--reader", "0"]).env("OPENSC_CONF", world.home.work().join("opensc.conf"));
        Self::start(command, "connected")
    }

    fn named(&self, name: &str) -> String {
        format!("{name} (process {})", self.child.id())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn another_program_is_named_with_its_process_id_by_every_command() {
    let world = World::new("--touch=now");
    let mut explorer = Other::explorer(&world);
    let name = explorer.named("opensc-explorer");
    let cure = format!("`kill {}`", explorer.child.id());
    for case in CASES.iter().chain(CHANGES.iter().map(|(case, _)| case)) {
        let ran = case.run(&world, &[]);
        if case.line == "card list" {
            assert!(ran.succeeded().out.contains(&format!(": in use by {name}\n")));
        } else {
            let ran = ran.exits(5 + case.offset);
            assert!(ran.err.contains(&format!(" is in use by {name}\n")), "{}: {ran:?}", case.line);
            assert!(ran.err.contains(&cure), "{}: {ran:?}", case.line);
        }
    }
    // Nobody killed it, and when it has gone everything works.
    assert!(explorer.child.try_wait().unwrap().is_none());
    drop(explorer);
    world.approve(&[&world.request()]).succeeded();
    world.assert_gpg_works();
}

#[test]
fn of_several_programs_none_is_to_be_killed_unseen() {
    need(&["pcsc_scan"]);
    let world = World::new("--touch=now");
    let explorer = Other::explorer(&world);
    let scan = Other::start(world.command("pcsc_scan"), "Card state");
    let ran = run(&mut world.touchgate(["card", "info"])).exits(5);
    for other in [explorer.named("opensc-explorer"), scan.named("pcsc_scan")] {
        assert!(ran.err.contains(&other), "{other} in {ran:?}");
    }
    assert!(!ran.err.contains("kill"), "{ran:?}");
}
