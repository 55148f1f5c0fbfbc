//! What the tests of the command line share: a home of its own, a virtual token on real pcscd, gpg, a terminal.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use regex::{Captures, Regex};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use tempfile::TempDir;
use touchgate::audit::LogSigner;
use touchgate::store::sqlite::Sqlite;
use touchgate::trust::Trust;
use virtual_openpgp_card::control;
use virtual_openpgp_card::stage::{Builder, Stage};

/// The program under test, which is also the stage's host.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_touchgate");
/// The PINs that every virtual card begins with.
pub const PIN: &str = "123456";
pub const ADMIN_PIN: &str = "12345678";
/// The number of the first token.
pub const SERIAL: &str = "12345678";
/// Longer than any step takes, shorter than a hang.
pub const LONG: Duration = Duration::from_secs(120);

const INSTALL: &str = "apt-get install -y --no-install-recommends pcscd vsmartcard-vpcd scdaemon gnupg gpg-agent gpgv sqv \
                       opensc pinentry-tty util-linux procps git man-db";

/// Fails, rather than skips, where a program of the card stack is not installed.
pub fn need(programs: &[&str]) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/lib/gnupg", "/usr/libexec"].map(PathBuf::from));
    let missing: Vec<_> =
        programs.iter().filter(|program| !folders.iter().any(|f| f.join(program).exists())).collect();
    assert!(missing.is_empty(), "not installed: {missing:?}; run: {INSTALL}");
}

/// A person's home directory, short enough for gpg-agent's sockets, with a GnuPG home and a place to work in.
pub struct Home(TempDir);

impl Home {
    pub fn new() -> Self {
        let home = Self(tempfile::Builder::new().prefix("tg").tempdir_in("/tmp").unwrap());
        for folder in [home.work(), home.gnupg()] {
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        }
        // Without it scdaemon looks at USB itself, past pcscd, for a token of the person who runs the tests.
        fs::write(home.gnupg().join("scdaemon.conf"), "disable-ccid\n").unwrap();
        home
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Where commands run.
    pub fn work(&self) -> PathBuf {
        self.join("work")
    }

    pub fn gnupg(&self) -> PathBuf {
        self.join("g")
    }

    /// Where `init` puts trust and pin.
    pub fn config(&self) -> PathBuf {
        self.join(".config/touchgate")
    }

    /// The certificate of the first token's key.
    pub fn certificate(&self) -> PathBuf {
        self.join("alice.asc")
    }

    /// Nothing of the environment of these tests, and a person without any settings.
    pub fn environment(&self, command: &mut Command) {
        command.env_clear().current_dir(self.work());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("HOME", self.path())
            .env("GNUPGHOME", self.gnupg())
            .env("LC_ALL", "C")
            .env("TERM", "dumb");
        // No configuration of git's but the tree's own.
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.gnupg().join("S.gpg-agent").exists() {
            let mut kill = Command::new("gpgconf");
            self.environment(&mut kill);
            let _ = kill.args(["--kill", "all"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

/// A person at a machine with a token. The stage falls before the home does.
pub struct World {
    pub stage: Stage,
    pub home: Home,
}

impl World {
    /// A token that Touchgate has been set up for. `options` are the virtual card's.
    pub fn new(options: &str) -> Self {
        Self::bare(options).initialised()
    }

    /// A token, and nothing set up.
    pub fn bare(options: &str) -> Self {
        Self::with(options, |_, builder| builder)
    }

    /// The same on a stage that is built further.
    pub fn with(options: &str, further: impl FnOnce(&Home, Builder) -> Builder) -> Self {
        need(&["pcscd", "gpg", "gpg-agent", "scdaemon", "gpgconf"]);
        let home = Home::new();
        let first = card_arguments(SERIAL, options, Some(&home.certificate()));
        let builder = further(&home, Builder::new(PROGRAM).card(first));
        let stage = builder
            .start()
            .unwrap_or_else(|error| panic!("{error}; hint: {:?}; on Debian: {INSTALL}", error.hint()));
        Self { stage, home }
    }

    /// Sets it up as a person would.
    pub fn initialised(self) -> Self {
        let mut init = self.touchgate(["init", "--no-input", "--touch", "keep", "--certificate"]);
        run(init.arg(self.home.certificate())).succeeded();
        self
    }

    /// A program in this person's home that sees this token and ends with the test.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        // Whoever started these tests may ignore signals, as `nohup` and a shell's `&` have it: what is started here
        // must not, since tests send them.
        let mut command = self.stage.command("env");
        command.arg("--default-signal=INT,HUP,QUIT,TERM").arg(program);
        self.home.environment(&mut command);
        command.envs(self.stage.environment()).stdin(Stdio::null());
        command
    }

    pub fn touchgate<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command(PROGRAM);
        command.args(arguments);
        command
    }

    /// `touchgate` with `terminal` as its controlling terminal and standard input.
    pub fn touchgate_at<A: AsRef<OsStr>>(
        &self,
        terminal: &Terminal,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        need(&["setsid"]);
        let mut command = self.command("setsid");
        command.arg("--ctty").arg(PROGRAM).args(arguments).stdin(terminal.slave());
        command
    }

    /// `touchgate` in a session without a terminal.
    pub fn touchgate_detached<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        need(&["setsid"]);
        let mut command = self.command("setsid");
        command.arg(PROGRAM).args(arguments);
        command
    }

    pub fn gpg(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("gpg");
        command.args(["--no-tty", "--batch", "--yes"]).args(arguments);
        command
    }

    /// Tells the virtual card.
    pub fn tell(&self, line: &str) -> String {
        control::ask(&self.stage.control(), line).unwrap()
    }

    /// Asks for a deploy; gives the name of the request's file in the working directory.
    pub fn request(&self) -> String {
        let mut command = self.touchgate(["request", "deploy", "payments/prod", "--json"]);
        let asked = run(command.args(["--reason", "Release 2.4.1"])).succeeded();
        asked.json()["file"].as_str().unwrap().to_owned()
    }

    /// Changes the user PIN, as any client can.
    pub fn change_pin(&self, to: &str) {
        need(&["opensc-tool"]);
        let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02X}")).collect::<String>();
        let change = format!("00240081{:02X}{}{}", PIN.len() + to.len(), hex(PIN), hex(to));
        let mut tool = self.command("opensc-tool");
        tool.args(["--reader=0", "--send-apdu=00A4040006D27600012401"]).arg(format!("--send-apdu={change}"));
        let done = run(&mut tool).succeeded();
        assert_eq!(done.out.matches("SW1=0x90, SW2=0x00").count(), 2, "{done:?}");
    }

    /// The PIN to a command that reads it at descriptor 0.
    pub fn approve(&self, arguments: &[&str]) -> Ran {
        let mut command = self.touchgate(["approve", "--no-input", "--pin-fd", "0"]);
        run_with(command.args(arguments), PIN)
    }

    /// The store of this machine's verifier, as it is by now.
    pub fn store(&self) -> Sqlite {
        let state = self.home.join(".local/state/touchgate");
        let trust = Trust::load(&self.home.config().join("trust")).unwrap();
        let key = fs::read(state.join("keys/log.pk8")).unwrap();
        let signer = LogSigner::from_pkcs8(trust.audience.as_str(), &key).unwrap();
        Sqlite::open(&state.join("store.db"), signer).unwrap()
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.home.work().join(name)).unwrap()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.home.work().join(name), text).unwrap();
    }

    pub fn exists(&self, name: &str) -> bool {
        self.home.work().join(name).exists()
    }

    /// Waits until the card can be had alone, as gpg wants it: after a program that ended in the middle of an exchange.
    ///
    /// pcscd serves a client that has gone until the card answers. Then (pcsc-lite 1.9.9, seen in its log) it gives
    /// up that client's transaction before it disconnects it, which takes as long as a reset. Who waited for the end
    /// of the transaction looks once and may look in between: gpg is refused then, and calls that "No such device".
    pub fn wait_until_card_is_free(&self) {
        need(&["opensc-tool"]);
        let settings = self.home.join("opensc.conf");
        fs::write(&settings, "app default { reader_driver pcsc { connect_exclusive = true; } }").unwrap();
        wait_until("the card can be had alone", || {
            // A command, for it connects to none without.
            let mut tool = self.command("opensc-tool");
            tool.args(["--reader=0", "--send-apdu=00A4040006D27600012401"]);
            run(tool.env("OPENSC_CONF", &settings)).code == 0
        });
    }

    /// gpg sees the card, now and at the first attempt.
    pub fn assert_gpg_works(&self) {
        let status = run(&mut self.gpg(&["--card-status"])).succeeded();
        assert!(status.out.contains(&format!("Serial number ....: {SERIAL}")), "{status:?}");
    }

    /// Text with everything that differs from run to run replaced by what it is.
    pub fn normal(&self, texts: &mut [&mut String]) {
        let host = run(Command::new("uname").arg("-n")).out.trim().to_ascii_lowercase();
        let user = run(Command::new("id").arg("-un")).out.trim().to_owned();
        let id = Regex::new(r"\b01[0-9A-HJKMNP-TV-Z]{19}([0-9A-HJKMNP-TV-Z]{5})\b").unwrap();
        let codes: Vec<String> =
            texts.iter().flat_map(|text| id.captures_iter(text).map(|c| c[1].to_owned())).collect();
        let requests = fs::read_dir(self.home.work()).unwrap().flatten();
        let names = requests.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let codes: Vec<String> = codes
            .into_iter()
            .chain(names.filter_map(|name| name.strip_suffix(".request").map(str::to_owned)))
            .collect();
        let rules = [
            (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
            (r"nonce: [A-Za-z0-9_-]{43}", "nonce: NONCE"),
            (r"\bsha256:[0-9a-f]{64}\b", "sha256:DIGEST"),
            (r"\(process \d+\)", "(process PID)"),
            (r"`kill [0-9 ]+`", "`kill PID`"),
            (r"\b(within|after) \d+ s\b", "$1 N s"),
            (r"\b\d+ min \d+ s left\b", "TIME left"),
        ]
        .map(|(pattern, with)| (Regex::new(pattern).unwrap(), with));
        for text in texts {
            let mut normal = text.replace(self.home.path().to_str().unwrap(), "HOME");
            normal = normal.replace('\r', "");
            normal = id.replace_all(&normal, "REQUEST").into_owned();
            for code in &codes {
                normal = normal.replace(code.as_str(), "CODE");
            }
            for (pattern, with) in &rules {
                normal = pattern.replace_all(&normal, *with).into_owned();
            }
            for (word, with) in [(&user, "USER"), (&host, "HOST")] {
                let word = Regex::new(&format!(r"(^|[^A-Za-z0-9_/]){}\b", regex::escape(word))).unwrap();
                let with = |found: &Captures<'_>| format!("{}{with}", &found[1]);
                normal = word.replace_all(&normal, with).into_owned();
            }
            **text = normal;
        }
    }
}

/// The arguments from which the program makes a card with a certified key that asks for a touch.
pub fn card_arguments(serial: &str, options: &str, certificate: Option<&Path>) -> Vec<String> {
    let mut arguments = vec![
        format!("--serial={serial}"),
        "--key-created=1700000000".to_owned(),
        "--touch-policy=on".to_owned(),
        "--with-key=Alice <alice@example.org>".to_owned(),
    ];
    arguments.extend(certificate.map(|path| format!("--certificate-out={}", path.display())));
    arguments.extend(options.split_whitespace().map(str::to_owned));
    arguments
}

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    /// As a shell says it: 128 and more for a signal.
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    #[track_caller]
    pub fn succeeded(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// The one JSON object on standard output.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let object: serde_json::Value = serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: not one JSON object: {self:#?}"));
        assert!(object.is_object() && self.out.ends_with('\n'), "{self:#?}");
        object
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let code = i32::from(virtual_openpgp_card::stage::exit_code(output.status));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code, out: text(output.stdout), err: text(output.stderr) }
    }
}

pub fn run(command: &mut Command) -> Ran {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {INSTALL}")).into()
}

/// Runs with `line` on standard input.
pub fn run_with(command: &mut Command, line: &str) -> Ran {
    start_with(command, line).wait_with_output().unwrap().into()
}

/// `run` for a deploy, the PIN to be handed over on standard input.
pub const RUN: [&str; 6] = ["run", "deploy", "payments/prod", "--no-input", "--pin-fd", "0"];

/// The same with more options, and a command.
pub fn gated(world: &World, options: &[&str], command: &[&str]) -> Command {
    let mut touchgate = world.touchgate(RUN);
    touchgate.args(options).arg("--").args(command);
    touchgate
}

/// The same with the right PIN, until it has ended.
pub fn ran(world: &World, options: &[&str], command: &[&str]) -> Ran {
    run_with(&mut gated(world, options, command), PIN)
}

/// Starts with `line` on standard input and both outputs piped.
pub fn start_with(command: &mut Command, line: &str) -> Child {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that ends without reading its input may have gone already.
    let _ = child.stdin.take().unwrap().write_all(format!("{line}\n").as_bytes());
    child
}

/// A program whose outputs are read while it runs.
pub struct Running {
    child: Child,
    out: Arc<Mutex<Vec<u8>>>,
    err: Arc<Mutex<Vec<u8>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Starts it, with `line` on standard input if there is one.
    pub fn start(command: &mut Command, line: Option<&str>) -> Self {
        let mut child = match line {
            Some(line) => start_with(command, line),
            None => command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(),
        };
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let sinks = [Arc::<Mutex<Vec<u8>>>::default(), Arc::default()];
        let (to_out, to_err) = (Arc::clone(&sinks[0]), Arc::clone(&sinks[1]));
        let readers = vec![
            std::thread::spawn(move || pour(&mut out, &to_out)),
            std::thread::spawn(move || pour(&mut err, &to_err)),
        ];
        let [out, err] = sinks;
        Self { child, out, err, readers }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.err.lock().unwrap()).into_owned()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    #[track_caller]
    pub fn wait_for_stderr(&self, text: &str) {
        wait_until(&format!("{text:?} is said"), || self.stderr().contains(text));
    }

    pub fn finish(mut self) -> Ran {
        let status = self.child.wait().unwrap();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        let take = |bytes: &Mutex<Vec<u8>>| std::mem::take(&mut *bytes.lock().unwrap());
        Output { status, stdout: take(&self.out), stderr: take(&self.err) }.into()
    }
}

fn pour(source: &mut dyn std::io::Read, sink: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 4096];
    // Ends when the last holder of the other side has gone; a terminal says so with an error.
    while let Ok(length @ 1..) = source.read(&mut buffer) {
        sink.lock().unwrap().extend_from_slice(&buffer[..length]);
    }
}

pub fn signal(name: &str, pid: u32) {
    run(Command::new("kill").args(["-s", name, &pid.to_string()])).succeeded();
}

#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A pseudo-terminal and what has been shown on it.
pub struct Terminal {
    master: File,
    /// Kept open, so that the terminal lives between two programs.
    slave: OwnedFd,
    path: PathBuf,
    screen: Arc<Mutex<Vec<u8>>>,
    /// How much of the screen has been waited for.
    seen: usize,
}

impl Terminal {
    pub fn new() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = PathBuf::from(ptsname(&master, Vec::new()).unwrap().into_string().unwrap());
        let slave = open_slave(&path);
        let screen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let master = File::from(master);
        let (mut source, sink) = (master.try_clone().unwrap(), Arc::clone(&screen));
        std::thread::spawn(move || pour(&mut source, &sink));
        Self { master, slave, path, screen, seen: 0 }
    }

    pub fn slave(&self) -> Stdio {
        open_slave(&self.path).into()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    /// The screen when nobody writes to it any more. A mark of our own shows when all before it has arrived.
    pub fn last_screen(&self) -> String {
        const MARK: &str = "\u{4}the end\u{4}";
        File::from(self.slave.try_clone().unwrap()).write_all(MARK.as_bytes()).unwrap();
        wait_until("the screen is whole", || self.screen().ends_with(MARK));
        self.screen().replace(MARK, "")
    }

    /// Waits until `text` is shown behind what was waited for before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let begun = Instant::now();
        loop {
            let at = {
                let screen = self.screen.lock().unwrap();
                screen[self.seen..].windows(text.len()).position(|bytes| bytes == text.as_bytes())
            };
            if let Some(at) = at {
                self.seen += at + text.len();
                return;
            }
            assert!(begun.elapsed() < LONG, "waited in vain for {text:?} on:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn type_line(&mut self, text: &str) {
        self.master.write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    /// Ctrl and a letter.
    pub fn control(&mut self, letter: u8) {
        self.master.write_all(&[letter & 0x1f]).unwrap();
    }

    /// Whether what is typed is shown.
    pub fn echoes(&self) -> bool {
        tcgetattr(self.slave.as_fd()).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Every setting, for comparison.
    pub fn settings(&self) -> String {
        format!("{:?}", tcgetattr(self.slave.as_fd()).unwrap())
    }
}

fn open_slave(path: &Path) -> OwnedFd {
    // Or it would become the terminal of whoever runs these tests without one.
    rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}
