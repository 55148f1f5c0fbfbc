//! What starting costs: `touchgate --version` beside an empty Rust program of the same profile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{Run, which};
use crate::race::{Runner, race};
use crate::table::Target;
use crate::{Anyhow, Effort};

/// Starting is short, so there can be more rounds of it.
const ROUNDS_FACTOR: usize = 5;

/// Measures all programs that are there.
pub(crate) fn run(effort: Effort) -> Anyhow<()> {
    let directory = tempfile::Builder::new().prefix("touchgate-bench-").tempdir()?;
    let at = directory.path();
    let version = Run::new(env!("CARGO_BIN_EXE_touchgate"), ["--version"]);
    let ours =
        Runner { name: "touchgate --version", run: Box::new(|_| version.clone()), target: Target::Reported };
    let empty = Run::new(empty_program(at)?, [] as [&str; 0]);
    let mut others = vec![Runner {
        name: "an empty Rust program",
        run: Box::new(|_| empty.clone()),
        target: Target::Most(1.3),
    }];
    for (name, program) in [("sqv --version", "sqv"), ("gpgv --version", "gpgv"), ("gpg --version", "gpg")] {
        match which(program) {
            Some(path) => {
                let run = Run::new(path, ["--version"]);
                others.push(Runner { name, run: Box::new(move |_| run.clone()), target: Target::Reported });
            }
            None => println!("  {program} missing: not measured (apt install {program})"),
        }
    }
    race("Start-up", &ours, &others, effort.rounds * ROUNDS_FACTOR, at)
}

/// Builds `fn main() {}` with this crate's release profile.
fn empty_program(at: &Path) -> Anyhow<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(ours.join("Cargo.toml"))?;
    let profile: Vec<&str> = manifest
        .lines()
        .skip_while(|line| line.trim() != "[profile.release]")
        .enumerate()
        .take_while(|(n, line)| *n == 0 || !line.starts_with('['))
        .map(|(_, line)| line)
        .collect();
    let package = "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
    let package_at = at.join("empty");
    fs::create_dir_all(package_at.join("src"))?;
    fs::write(package_at.join("Cargo.toml"), format!("{package}{}\n", profile.join("\n")))?;
    fs::write(package_at.join("src/main.rs"), "fn main() {}\n")?;
    // From our own directory, so that its cargo configuration holds for this build too.
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--offline", "--quiet", "--manifest-path"])
        .arg(package_at.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(package_at.join("target"))
        .current_dir(ours)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(package_at.join("target/release/empty"))
}
