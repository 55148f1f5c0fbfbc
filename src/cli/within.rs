//! Whether this process runs inside the command that `run` started with a grant.
//!
//! `run` counts the first use and then becomes the command. Before that it notes which process it is:
//! `~/.local/state/touchgate/runs/01KA8Y3V0GQ4M7ZT6XWB1HJ5C9`, one line. Whoever descends from that very process is
//! inside. A process that was cut loose from its ancestors, or is in another container, is not: it needs a use of its
//! own. The token alone shows nothing; it can be copied.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use crate::challenge::RequestId;
use crate::cli::place;
use crate::cli::report::Failure;

/// The most ancestors that are looked at.
const MAX_ANCESTORS: usize = 1024;
/// The most bytes in a note.
const MAX_NOTE: u64 = 256;

/// One process of this boot, whatever becomes of its number afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    number: u32,
    parent: u32,
    /// In clock ticks since the boot; stays the same when the process becomes another program.
    started: u64,
}

/// Notes that this process is about to become the command that this grant's counted use is for.
///
/// # Errors
/// If that cannot be noted. The command can be started all the same, and needs another use then.
pub(super) fn note(grant: &RequestId) -> Result<(), Failure> {
    let path = path(grant)?;
    let failed = |error: io::Error| place::unwritable(&path, &error);
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        forget(directory);
    }
    let own = Process::read(std::process::id()).map_err(failed)?;
    let line = format!("{} {} {}\n", own.number, own.started, here().map_err(failed)?);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(line.as_bytes()).map_err(failed)
}

/// Whether this process is, or descends from, the command that this grant's counted use was for.
///
/// # Errors
/// If that cannot be told.
pub(super) fn is_within(grant: &RequestId) -> Result<bool, Failure> {
    let path = path(grant)?;
    let bytes = match place::read_bounded(&path, MAX_NOTE) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        read => read.map_err(|error| place::unreadable(&path, &error))?,
    };
    let unreadable = |error: io::Error| place::unreadable(&path, &error);
    let line = String::from_utf8_lossy(&bytes).into_owned();
    let Some((number, started)) = live(&line).map_err(unreadable)? else { return Ok(false) };
    let mut next = std::process::id();
    for _ in 0..MAX_ANCESTORS {
        // An ancestor that has ended meanwhile leads nowhere.
        let Ok(process) = Process::read(next) else { return Ok(false) };
        if (process.number, process.started) == (number, started) {
            return Ok(true);
        }
        if process.parent == 0 {
            return Ok(false);
        }
        next = process.parent;
    }
    Ok(false)
}

fn path(grant: &RequestId) -> Result<PathBuf, Failure> {
    Ok(place::state()?.join("runs").join(grant.to_string()))
}

/// The process that a note names, if the note is of this boot and this container.
fn live(line: &str) -> io::Result<Option<(u32, u64)>> {
    let mut words = line.trim_end().splitn(3, ' ');
    let (Some(number), Some(started), Some(place)) = (words.next(), words.next(), words.next()) else {
        return Ok(None);
    };
    if place != here()? {
        return Ok(None);
    }
    Ok(number.parse().ok().zip(started.parse().ok()))
}

/// This boot, and the name space of process numbers.
fn here() -> io::Result<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let space = fs::read_link("/proc/self/ns/pid")?;
    Ok(format!("{} {}", boot.trim_end(), space.display()))
}

/// Removes the notes of processes that have ended. What cannot be removed stays.
fn forget(directory: &std::path::Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(bytes) = place::read_bounded(&path, MAX_NOTE) else { continue };
        let there = live(&String::from_utf8_lossy(&bytes)).ok().flatten().is_some_and(|(number, started)| {
            Process::read(number).is_ok_and(|process| process.started == started)
        });
        if !there {
            let _ = fs::remove_file(path);
        }
    }
}

impl Process {
    /// # Source
    /// proc_pid_stat(5): the name stands in parentheses and may hold any character; after it, field 4 is the parent
    /// and field 22 the start.
    fn read(number: u32) -> io::Result<Self> {
        let stat = fs::read(format!("/proc/{number}/stat"))?;
        let stat = String::from_utf8_lossy(&stat).into_owned();
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
        let field = |index: usize| fields.as_ref().and_then(|fields| fields.get(index)?.parse::<u64>().ok());
        let (parent, started) = (field(1).and_then(|parent| u32::try_from(parent).ok()), field(19));
        match (parent, started) {
            (Some(parent), Some(started)) => Ok(Self { number, parent, started }),
            _ => Err(io::Error::new(ErrorKind::InvalidData, format!("/proc/{number}/stat cannot be read"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_its_number_and_its_start() {
        let own = Process::read(std::process::id()).unwrap();
        assert_eq!(own, Process::read(std::process::id()).unwrap());
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let started = Process::read(child.id()).unwrap();
        assert_eq!(started.parent, std::process::id());
        assert!(started.started >= own.started);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_note_of_another_boot_or_container_names_nobody() {
        let here = here().unwrap();
        assert_eq!(live(&format!("4 5 {here}\n")).unwrap(), Some((4, 5)));
        assert_eq!(live(&format!("4 5 {}\n", here.replace("pid", "dip"))).unwrap(), None);
        for bad in ["", "4", "4 5", &format!("x 5 {here}"), &format!("4 -5 {here}")] {
            assert_eq!(live(bad).unwrap(), None, "{bad}");
        }
    }
}
