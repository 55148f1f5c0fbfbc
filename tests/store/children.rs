//! Processes that write a store: this very program, started once more by a test to run one test that is none.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use touchgate::store::sqlite::Sqlite;
use touchgate::store::{CommitError, Op, Store as _};

use super::races::{self, KINDS};
use super::world::*;

/// What the process is to do.
const ROLE: &str = "TOUCHGATE_TEST_ROLE";
/// In which store.
const STORE: &str = "TOUCHGATE_TEST_STORE";
/// From which request on.
const FIRST: &str = "TOUCHGATE_TEST_FIRST";
/// How many requests each thread of a writer may open.
pub(crate) const EACH: u64 = 10_000;

/// The command that runs [`child`].
pub(crate) fn command(role: &str, store: &Path, first: u64) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "children::child", "--ignored", "--nocapture"]);
    command.env(ROLE, role).env(STORE, store).env(FIRST, first.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// A process, and what it has said so far.
pub(crate) struct Running {
    process: Child,
    said: Arc<Mutex<Vec<String>>>,
    count: Arc<AtomicUsize>,
    reader: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut process = command.spawn().unwrap();
        let (said, count) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        let output = BufReader::new(process.stdout.take().unwrap());
        let reader = thread::spawn({
            let (said, count) = (said.clone(), count.clone());
            move || {
                // The last line may be half a line.
                for line in output.lines().map_while(Result::ok) {
                    if let Some(line) = line.strip_prefix("@ ").and_then(|line| line.strip_suffix(" .")) {
                        said.lock().unwrap().push(line.to_owned());
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        });
        Self { process, said, count, reader }
    }

    /// Waits until it has said so much, or has ended.
    pub(crate) fn wait_for(&mut self, lines: usize) {
        while self.count.load(Ordering::SeqCst) < lines && self.process.try_wait().unwrap().is_none() {
            thread::yield_now();
        }
    }

    pub(crate) fn go(&mut self) {
        self.process.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }

    pub(crate) fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.end()
    }

    /// All that it said until its end.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.process.wait().unwrap();
        self.reader.join().unwrap();
        Arc::into_inner(self.said).unwrap().into_inner().unwrap()
    }
}

fn say(line: &str) {
    // In one piece: several threads speak.
    let mut output = std::io::stdout().lock();
    output.write_all(format!("\n@ {line} .\n").as_bytes()).unwrap();
    output.flush().unwrap();
}

#[test]
#[ignore = "no test: what other tests start as a process of its own"]
fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    let path = PathBuf::from(env::var_os(STORE).unwrap());
    let first: u64 = env::var(FIRST).unwrap().parse().unwrap();
    let store = match Sqlite::open(&path, signer(&path)) {
        Ok(store) => store,
        Err(error) => return say(&format!("refused {error}")),
    };
    match role.as_str() {
        "write" => thread::scope(|scope| {
            for first in [first, first + EACH] {
                let store = &store;
                scope.spawn(move || write(store, first));
            }
        }),
        "race" => {
            say("ready");
            std::io::stdin().read_line(&mut String::new()).unwrap();
            for number in first..first + races::ROUNDS {
                for (kind, change) in KINDS {
                    match store.commit(&change(number)) {
                        Ok(_) => say(&format!("{number} {kind}")),
                        Err(CommitError::Store(error)) => say(&format!("failed {error}")),
                        Err(_) => {}
                    }
                }
            }
        }
        other => panic!("no role {other}"),
    }
}

/// Commits as fast as it can and tells what it was told: the request and where its entries stand.
fn write(store: &Sqlite, first: u64) {
    for number in first..first + EACH {
        let mut counted = vec![spend(number, 1), used(number, 1)];
        let before = store.counter(&key(first)).unwrap();
        let after = counter(before.map_or(0, |before| before.highest + 1));
        counted.push(Op::Counter { key: key(first), before, after });
        for change in [vec![open(number), asked(number)], approved(number, 1), counted] {
            match store.commit(&change) {
                Ok(positions) => {
                    let positions: Vec<String> =
                        positions.iter().map(|position| position.0.to_string()).collect();
                    say(&format!("{number} {}", positions.join(" ")));
                }
                Err(error) => return say(&format!("failed {error}")),
            }
        }
    }
}
