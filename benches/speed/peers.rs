//! `touchgate verify` as a process, beside the verifiers that people have.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use openpgp::serialize::SerializeInto as _;
use sequoia_openpgp as openpgp;
use tempfile::TempDir;

use touchgate::response::armored;

use crate::keys::Algorithm;
use crate::process::{Run, version_line, which};
use crate::race::{Runner, race};
use crate::scene::{Scene, Shape};
use crate::table::Target;
use crate::{Anyhow, Effort};

/// Peak memory in MiB.
const MEMORY: Target = Target::Most(8.0);

/// A tool that checks signatures.
struct Tool {
    program: &'static str,
    /// Debian's name of the package.
    package: &'static str,
    version: &'static [&'static str],
    /// How many times its processor time ours may take.
    target: fn(Algorithm) -> Target,
    /// The command that checks approval number `n` below the directory.
    check: fn(&Path, &Path, usize) -> Run,
}

const TOOLS: [Tool; 4] = [
    Tool {
        program: "sqv",
        package: "sqv",
        version: &["--version"],
        target: |algorithm| Target::Most(if algorithm == Algorithm::Rsa2048 { 1.0 } else { 0.9 }),
        check: |program, _, n| {
            Run::new(program, ["--keyring", "alice.pgp", &format!("{n}.asc"), &format!("{n}")])
        },
    },
    Tool {
        program: "gpgv",
        package: "gpgv",
        version: &["--version"],
        target: |_| Target::Reported,
        check: |program, _, n| {
            // A name without a slash would be looked for in ~/.gnupg.
            Run::new(program, ["--keyring", "./alice.pgp", &format!("{n}.asc"), &format!("{n}")])
        },
    },
    Tool {
        program: "gpg",
        package: "gpg",
        version: &["--version"],
        target: |_| Target::Reported,
        check: |program, at, n| {
            let home = at.join("gnupg").display().to_string();
            let words = ["--homedir", &home, "--batch", "--trust-model", "always", "--verify"];
            let files = [format!("{n}.asc"), format!("{n}")];
            Run::new(program, words.into_iter().chain(files.iter().map(String::as_str)))
        },
    },
    Tool {
        program: "ssh-keygen",
        package: "openssh-client",
        version: &["-V"],
        target: |_| Target::Reported,
        check: |program, at, n| {
            let signature = format!("{n}.sig");
            let words = ["-Y", "verify", "-f", "signers", "-I", "alice", "-n", "touchgate", "-s", &signature];
            Run::new(program, words).reading(at.join(n.to_string()))
        },
    },
];

/// Measures all tools on all algorithms.
pub(crate) fn run(effort: Effort) -> Anyhow<()> {
    println!("`touchgate verify` beside other verifiers, another approval in every run:");
    println!("  touchgate   {}", version_line(Path::new(env!("CARGO_BIN_EXE_touchgate")), &["--version"]));
    for tool in &TOOLS {
        let (program, package) = (tool.program, tool.package);
        match which(program) {
            // ssh-keygen does not say; ssh comes with it.
            Some(path) if program == "ssh-keygen" => {
                println!("  {program:<11} {}", version_line(&path.with_file_name("ssh"), tool.version));
            }
            Some(path) => println!("  {program:<11} {}", version_line(&path, tool.version)),
            None => println!("  {program:<11} missing: not measured (apt install {package})"),
        }
    }
    for algorithm in [Algorithm::Ed25519, Algorithm::P256, Algorithm::Rsa2048] {
        for shape in [Shape::Subkey, Shape::Alone] {
            compare(algorithm, shape, effort)?;
        }
    }
    Ok(())
}

fn compare(algorithm: Algorithm, shape: Shape, effort: Effort) -> Anyhow<()> {
    let place = place(algorithm, shape, effort.rounds)?;
    let at = place.path();
    let ours = |n: usize| {
        let words = ["verify", "--trust", "trust", "--unpinned", "--no-input", &format!("{n}.approval")];
        Run::new(env!("CARGO_BIN_EXE_touchgate"), words)
    };
    let ours = Runner { name: "touchgate verify", run: Box::new(ours), target: MEMORY };
    let theirs = TOOLS.iter().filter_map(|tool| {
        let path = which(tool.program)?;
        let run = Box::new(move |n| (tool.check)(&path, at, n));
        Some(Runner { name: tool.program, run, target: (tool.target)(algorithm) })
    });
    let shape = match shape {
        Shape::Alone => "certificate of one key",
        Shape::Subkey => "signing subkey, two more keys",
    };
    let title = format!("{}, {shape}", algorithm.name());
    race(&title, &ours, &theirs.collect::<Vec<_>>(), effort.rounds, at)
}

/// Makes a directory with everything that the tools read.
fn place(algorithm: Algorithm, shape: Shape, approvals: usize) -> Anyhow<TempDir> {
    let mut scene = Scene::new(algorithm, shape)?;
    let directory = tempfile::Builder::new().prefix("touchgate-bench-").tempdir()?;
    let at = directory.path();
    for (path, bytes) in &scene.files {
        let path = at.join("trust").join(path);
        fs::create_dir_all(path.parent().unwrap_or(at))?;
        fs::write(path, bytes)?;
    }
    fs::write(at.join("alice.pgp"), scene.cert.to_vec()?)?;
    for n in 0..approvals {
        let challenge = scene.challenge()?;
        let response = scene.approve(challenge)?;
        fs::write(at.join(format!("{n}.approval")), response.to_file())?;
        fs::write(at.join(n.to_string()), &response.statement)?;
        fs::write(at.join(format!("{n}.asc")), armored(&response.signature))?;
    }
    if which("gpg").is_some() {
        let home = at.join("gnupg");
        fs::DirBuilder::new().create(&home)?;
        fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        // No agent: a keyring and a signature need none.
        fs::write(home.join("gpg.conf"), "no-autostart\n")?;
        quiet(
            Command::new("gpg")
                .arg("--homedir")
                .arg(&home)
                .args(["--batch", "--import"])
                .arg(at.join("alice.pgp")),
        )?;
    }
    if which("ssh-keygen").is_some() {
        ssh_signatures(algorithm, at, approvals)?;
    }
    Ok(directory)
}

/// The same statements signed by an ssh key of the same algorithm.
fn ssh_signatures(algorithm: Algorithm, at: &Path, approvals: usize) -> Anyhow<()> {
    let (kind, bits) = match algorithm {
        Algorithm::Ed25519 => ("ed25519", "256"),
        Algorithm::P256 => ("ecdsa", "256"),
        Algorithm::Rsa2048 => ("rsa", "2048"),
        Algorithm::Rsa4096 => ("rsa", "4096"),
    };
    let key = at.join("ssh");
    quiet(Command::new("ssh-keygen").args(["-q", "-t", kind, "-b", bits, "-N", "", "-f"]).arg(&key))?;
    let public = fs::read_to_string(key.with_extension("pub"))?;
    fs::write(at.join("signers"), format!("alice {public}"))?;
    let statements = (0..approvals).map(|n| at.join(n.to_string()));
    quiet(
        Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", "touchgate", "-f"])
            .arg(&key)
            .args(statements),
    )
}

fn quiet(command: &mut Command) -> Anyhow<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", command.get_program().to_string_lossy(), said.trim()).into())
}
