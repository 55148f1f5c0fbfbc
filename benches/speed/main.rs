//! How fast verification is: as a process beside other verifiers, in process beside bare arithmetic.
//!
//! `make bench`, or for fewer rounds `cargo bench -p touchgate -- --quick`. Every ratio is taken in
//! one run, side by side; a target that was missed is a word in a table, never a failure.

mod crowd;
mod evidence;
mod grant;
mod keys;
mod library;
mod log;
mod peers;
mod process;
mod race;
mod scene;
mod startup;
mod stats;
mod store;
mod table;

use std::error::Error;
use std::process::ExitCode;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Interleaved rounds of processes.
    rounds: usize,
    /// Interleaved batches of verifications,
    batches: usize,
    /// and how many verifications are in each.
    batch: usize,
    /// Verifications after which memory must not have grown.
    soak: usize,
    /// People who are enrolled beside the one who answers.
    crowd: usize,
}

const FULL: Effort = Effort { rounds: 40, batches: 60, batch: 50, soak: 1_000_000, crowd: 100_000 };
const QUICK: Effort = Effort { rounds: 11, batches: 15, batch: 30, soak: 50_000, crowd: 20_000 };

pub(crate) type Anyhow<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A name on the command line, and what it stands for.
type Group = (&'static str, fn(Effort) -> Anyhow<()>);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    // Called by itself, to measure one command alone.
    if arguments.next_if(|argument| argument == process::PEAK).is_some() {
        return process::report_peak(arguments);
    }
    let words: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    let effort = if words.iter().any(|word| word == "--quick") { QUICK } else { FULL };
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        println!(
            "RUST_BACKTRACE is set: what sequoia gives up on along the way walks the stack, in these figures too"
        );
    }
    let groups: &[Group] = &[
        ("process", peers::run),
        ("startup", startup::run),
        ("library", library::arithmetic),
        ("threads", library::threads),
        ("memory", library::memory),
        ("tree", log::tree),
        ("audit", log::audit),
        ("grants", grant::run),
        ("evidence", evidence::run),
        ("store", store::run),
        ("crowd", crowd::crowd),
        ("decisions", crowd::decisions),
    ];
    // Words that are no option name the groups to run.
    let named: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    for (name, group) in groups {
        if !named.is_empty() && !named.iter().any(|word| word == name) {
            continue;
        }
        if let Err(error) = group(effort) {
            println!("\n{name}: not measured: {error}");
        }
    }
    ExitCode::SUCCESS
}
