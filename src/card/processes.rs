//! Which processes have a file or a socket open, by `/proc`. Other users' stay hidden unless we are root.

use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::contention::SCDAEMON;
use super::error::Process;

/// Processes looked at, and open files of each.
const MAX_PROCESSES: usize = 65_536;
const MAX_FILES: usize = 4096;
/// How much of a command line is read: more than the path of a GnuPG home can need.
const MAX_COMMAND_LINE: u64 = 16 * 1024;

/// The processes, except this one, that have something open whose link in `/proc/PID/fd` is `wanted`.
pub(super) fn that_have(wanted: impl Fn(&Path) -> bool) -> Vec<Process> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found: Vec<Process> = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .take(MAX_PROCESSES)
        .filter(|pid| *pid != std::process::id() && has(*pid, &wanted))
        .map(process)
        .collect();
    found.sort();
    found
}

fn has(pid: u32, wanted: impl Fn(&Path) -> bool) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().take(MAX_FILES).any(|file| fs::read_link(file.path()).is_ok_and(|target| wanted(&target)))
}

fn process(pid: u32) -> Process {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(
        |_| "a program".to_owned(),
        |name| name.trim_end().chars().filter(|c| !c.is_control()).take(15).collect(),
    );
    let own = rustix::process::geteuid().as_raw();
    let owner = fs::metadata(format!("/proc/{pid}")).ok().map(|metadata| metadata.uid());
    let gnupg_home = if name == SCDAEMON { gnupg_home(pid) } else { None };
    Process { pid, name, other_user: owner.filter(|owner| *owner != own), gnupg_home }
}

/// The GnuPG home that a process was started for, if it is not the one that gpg would take if we started it.
fn gnupg_home(pid: u32) -> Option<PathBuf> {
    let mut line = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/cmdline")).ok()?;
    file.take(MAX_COMMAND_LINE).read_to_end(&mut line).ok()?;
    let home = named_home(&line)?;
    let ours = std::env::var_os("GNUPGHOME").map(PathBuf::from);
    (ours.as_ref() != Some(&home)).then_some(home)
}

/// gpg passes a home on with this option unless it is the default one.
fn named_home(command_line: &[u8]) -> Option<PathBuf> {
    let mut arguments = command_line.split(|byte| *byte == 0).skip_while(|word| *word != b"--homedir");
    let home = arguments.nth(1).filter(|home| home.starts_with(b"/"))?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(home.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_stands_behind_its_option() {
        let home = |line: &[u8]| named_home(line);
        assert_eq!(home(b"scdaemon\0--multi-server\0--homedir\0/tmp/g\0"), Some("/tmp/g".into()));
        for none in [&b"scdaemon\0--multi-server\0"[..], b"scdaemon\0--homedir", b"x\0--homedir\0g\0", b""] {
            assert_eq!(home(none), None);
        }
    }
}
