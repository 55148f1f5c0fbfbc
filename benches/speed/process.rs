//! Running commands: wall time, processor time, peak memory.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::Anyhow;

/// The word by which this program calls itself to measure one command's memory.
pub(crate) const PEAK: &str = "--peak-of";

/// How often peak memory is measured; the largest counts.
const PEAK_RUNS: usize = 5;

/// A command line, and what it reads.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) input: Option<PathBuf>,
}

impl Run {
    pub(crate) fn new<A: AsRef<OsStr>>(
        program: impl AsRef<Path>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        Self { program: program.as_ref().to_owned(), arguments, input: None }
    }

    pub(crate) fn reading(self, input: impl Into<PathBuf>) -> Self {
        Self { input: Some(input.into()), ..self }
    }

    fn command(&self, home: &Path) -> Anyhow<Command> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        self.prepare(&mut command, home)?;
        Ok(command)
    }

    /// Nothing of the caller's configuration, and nothing on the terminal.
    fn prepare(&self, command: &mut Command, home: &Path) -> Anyhow<()> {
        command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(home).stdout(Stdio::null()).stderr(Stdio::null());
        match &self.input {
            Some(path) => command.stdin(File::open(path)?),
            None => command.stdin(Stdio::null()),
        };
        Ok(())
    }

    /// Milliseconds of wall time and of processor time.
    pub(crate) fn time(&self, home: &Path) -> Anyhow<Times> {
        let mut command = self.command(home)?;
        let before = processor_time()?;
        let start = Instant::now();
        let status = command.status().map_err(|error| format!("{}: {error}", self.program.display()))?;
        let wall = start.elapsed();
        let processor = processor_time()?.saturating_sub(before);
        if !status.success() {
            // Again, to hear why.
            let said = self.command(home)?.stderr(Stdio::piped()).output()?.stderr;
            let words: Vec<_> = self.arguments.iter().map(|word| word.to_string_lossy()).collect();
            let (program, words) = (self.program.display(), words.join(" "));
            return Err(format!("{program} {words}: {status}: {}", String::from_utf8_lossy(&said)).into());
        }
        Ok(Times { wall: wall.as_secs_f64() * 1e3, processor: processor.as_secs_f64() * 1e3 })
    }

    /// Mebibytes that were resident at the most.
    ///
    /// Taken by a fresh copy of this program, because the system keeps one maximum for all children,
    /// and counts into it what the parent held before the child became another program.
    pub(crate) fn peak(&self, home: &Path) -> Anyhow<f64> {
        let mut largest = 0.0_f64;
        for _ in 0..PEAK_RUNS {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg(PEAK).arg(&self.program).args(&self.arguments);
            self.prepare(&mut command, home)?;
            let output = command.stdout(Stdio::piped()).output()?;
            let kibibytes: u32 = String::from_utf8_lossy(&output.stdout).trim().parse()?;
            largest = largest.max(f64::from(kibibytes) / 1024.0);
        }
        Ok(largest)
    }
}

/// What one run took, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) wall: f64,
    pub(crate) processor: f64,
}

/// Prints the peak memory of the command in `arguments` in KiB.
pub(crate) fn report_peak(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(program) = arguments.next() else { return ExitCode::FAILURE };
    let ran = Command::new(program).args(arguments).stdout(Stdio::null()).status();
    match (ran, usage()) {
        (Ok(status), Ok(usage)) if status.success() => {
            println!("{}", usage.max_rss());
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

fn usage() -> Anyhow<Usage> {
    Ok(getrusage(UsageWho::RUSAGE_CHILDREN)?)
}

fn processor_time() -> Anyhow<Duration> {
    let usage = usage()?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.try_into()?))
}

/// Where a program lies, if it is installed.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}

/// The first line that `program` says about itself.
pub(crate) fn version_line(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let said = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&said).lines().next().unwrap_or("does not say").trim().to_owned()
}
