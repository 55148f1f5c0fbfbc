//! Commands side by side: ours, theirs, ours, theirs, and so on, and the table of it.

use std::path::Path;

use crate::Anyhow;
use crate::process::{Run, Times};
use crate::stats::{median, ratio};
use crate::table::{Target, print, row};

/// A command, and what is asked of it.
pub(crate) struct Runner<'a> {
    pub(crate) name: &'a str,
    /// The command line of round number `n`.
    pub(crate) run: Box<dyn Fn(usize) -> Run + 'a>,
    /// How many times its processor time ours may take; of ours, how many MiB it may hold.
    pub(crate) target: Target,
}

/// Runs all in turns and prints a table; targets are held against processor time, which other work
/// on the machine touches least.
pub(crate) fn race(
    title: &str,
    ours: &Runner<'_>,
    theirs: &[Runner<'_>],
    rounds: usize,
    home: &Path,
) -> Anyhow<()> {
    let mut our_times: Vec<Times> = Vec::new();
    let mut their_times: Vec<Vec<Times>> = vec![Vec::new(); theirs.len()];
    // The first round warms the page cache and does not count.
    for round in std::iter::once(0).chain(0..rounds) {
        our_times.push((ours.run)(round).time(home)?);
        for (runner, times) in theirs.iter().zip(&mut their_times) {
            times.push((runner.run)(round).time(home)?);
        }
    }
    let wall = |times: &[Times]| times.iter().skip(1).map(|t| t.wall).collect::<Vec<_>>();
    let processor = |times: &[Times]| times.iter().skip(1).map(|t| t.processor).collect::<Vec<_>>();
    let (our_wall, our_processor) = (wall(&our_times), processor(&our_times));
    let number = |value: f64| format!("{value:.2}");
    let mebibytes = |value: f64| format!("{value:.1}");
    let peak = (ours.run)(0).peak(home)?;
    let [target, verdict] = ours.target.judge(peak);
    let target = if target == "-" { target } else { format!("{target} MiB") };
    let head = ["", "wall ms", "cpu ms", "peak MiB", "ours: wall", "ours: cpu", "target", ""];
    let (wall_ms, cpu_ms) = (number(median(&our_wall)), number(median(&our_processor)));
    let mut rows = vec![
        head.map(str::to_owned).to_vec(),
        row([&ours.name, &wall_ms, &cpu_ms, &mebibytes(peak), &"", &"", &target, &verdict]),
    ];
    for (runner, times) in theirs.iter().zip(&their_times) {
        let (their_wall, their_processor) = (wall(times), processor(times));
        let found = ratio(&our_processor, &their_processor);
        let [target, verdict] = runner.target.judge(found);
        rows.push(row([
            &runner.name,
            &number(median(&their_wall)),
            &number(median(&their_processor)),
            &mebibytes((runner.run)(0).peak(home)?),
            &number(ratio(&our_wall, &their_wall)),
            &number(found),
            &target,
            &verdict,
        ]));
    }
    print(&format!("{title}, {rounds} interleaved runs"), &rows);
    Ok(())
}
