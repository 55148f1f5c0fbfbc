//! Who else talks to the card service, as far as the system shows it.
//!
//! The kernel knows for each end of a local socket which other end it belongs to (socket diagnosis
//! over netlink), and `/proc` shows which process has which end. Both together name the clients of
//! pcscd exactly. Other users' processes stay hidden unless we are root.

use std::path::{Path, PathBuf};

use super::error::{Holder, Process};

/// Where Debian's pcscd listens; `PCSCLITE_CSOCK_NAME` names another place, to clients and to us.
const PCSCD_SOCKET: &str = "/run/pcscd/pcscd.comm";

/// Who may hold a card that PC/SC says is taken. Never a guess: programs connected to this very service.
pub(crate) fn holder() -> Holder {
    let socket = std::env::var_os("PCSCLITE_CSOCK_NAME").map_or_else(|| PCSCD_SOCKET.into(), PathBuf::from);
    let clients = clients_of(&socket);
    let scdaemons: Vec<Process> =
        clients.iter().filter(|process| process.name == "scdaemon").cloned().collect();
    if !scdaemons.is_empty() {
        Holder::Scdaemon(scdaemons)
    } else if clients.is_empty() {
        Holder::Unknown
    } else {
        Holder::Programs(clients)
    }
}

/// The processes, except this one, with a connection to the local socket at `path`.
#[cfg(target_os = "linux")]
pub(crate) fn clients_of(path: &Path) -> Vec<Process> {
    let Some(inodes) = linux::peers(path) else { return Vec::new() };
    let mut found: Vec<Process> = linux::owners(&inodes);
    found.retain(|process| process.pid != std::process::id());
    found.sort();
    found
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn clients_of(_: &Path) -> Vec<Process> {
    Vec::new()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashSet;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

    use super::Process;

    /// Answers read at most; a machine with more local sockets than fit is searched in part.
    const MAX_MESSAGES: usize = 4096;
    /// Netlink dumps come in pieces of at most 32 KiB.
    const BUFFER: usize = 64 * 1024;
    /// Processes looked at, and open files of each.
    const MAX_PROCESSES: usize = 65_536;
    const MAX_FILES: usize = 4096;

    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NLM_F_REQUEST_DUMP: u16 = 0x301;
    const NLMSG_DONE: u16 = 3;
    const AF_UNIX: u8 = 1;
    const SHOW_NAME_AND_PEER: u32 = 0x1 | 0x4;
    const ATTRIBUTE_NAME: u16 = 0;
    const ATTRIBUTE_PEER: u16 = 2;

    /// Inode numbers of the client ends of every connection to the socket at `path`.
    ///
    /// # Source
    /// Linux, `unix_diag.h`, `sock_diag(7)`.
    pub(super) fn peers(path: &Path) -> Option<HashSet<u32>> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            Some(netlink::SOCK_DIAG),
        )
        .ok()?;
        rustix::net::send(&socket, &request(), SendFlags::empty()).ok()?;
        let mut buffer = vec![0u8; BUFFER];
        let mut found = HashSet::new();
        for _ in 0..MAX_MESSAGES {
            // A dump is ready as soon as it is asked for; nothing to read means that it is over.
            let Ok((length, _)) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())
            else {
                break;
            };
            let mut rest = buffer.get(..length)?;
            while let Some((kind, body, tail)) = message(rest) {
                match kind {
                    NLMSG_DONE => return Some(found),
                    SOCK_DIAG_BY_FAMILY => found.extend(peer_if_named(body, path)),
                    _ => return None,
                }
                rest = tail;
            }
        }
        Some(found)
    }

    fn request() -> Vec<u8> {
        let mut bytes = Vec::with_capacity(40);
        bytes.extend(40u32.to_ne_bytes());
        bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        bytes.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend([AF_UNIX, 0, 0, 0]);
        bytes.extend(u32::MAX.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(SHOW_NAME_AND_PEER.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes
    }

    /// Takes one netlink message off: kind, body, rest.
    fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let body = bytes.get(16..length)?;
        Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
    }

    fn peer_if_named(body: &[u8], path: &Path) -> Option<u32> {
        let (mut named, mut peer) = (false, None);
        let mut rest = body.get(16..)?;
        while let Some(length) = rest.first_chunk().map(|bytes| usize::from(u16::from_ne_bytes(*bytes))) {
            let (Some(kind), Some(value)) =
                (rest.get(2..).and_then(<[u8]>::first_chunk), rest.get(4..length))
            else {
                break;
            };
            match u16::from_ne_bytes(*kind) {
                ATTRIBUTE_NAME => {
                    named = value.split(|b| *b == 0).next() == Some(path.as_os_str().as_bytes())
                }
                ATTRIBUTE_PEER => peer = value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)),
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        peer.filter(|_| named)
    }

    /// The processes that have one of these sockets open.
    pub(super) fn owners(inodes: &HashSet<u32>) -> Vec<Process> {
        if inodes.is_empty() {
            return Vec::new();
        }
        let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
        processes
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .take(MAX_PROCESSES)
            .filter(|pid| has_one(*pid, inodes))
            .map(|pid| Process { pid, name: name(pid) })
            .collect()
    }

    fn has_one(pid: u32, inodes: &HashSet<u32>) -> bool {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files.flatten().take(MAX_FILES).any(|file| {
            fs::read_link(file.path())
                .ok()
                .and_then(|target| {
                    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u32>().ok()
                })
                .is_some_and(|inode| inodes.contains(&inode))
        })
    }

    fn name(pid: u32) -> String {
        fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(
            |_| "a program".to_owned(),
            |name| name.trim_end().chars().filter(|c| !c.is_control()).take(15).collect(),
        )
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn finds_the_client_of_a_socket_and_not_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let _ours = UnixStream::connect(&path).unwrap();
        let _accepted = listener.accept().unwrap();
        assert_eq!(clients_of(&path), []);

        // A second process that inherits a connection as its standard input and sits on it.
        let theirs = UnixStream::connect(&path).unwrap();
        let mut child = Command::new("cat")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let held = listener.accept().unwrap();
        let found = clients_of(&path);
        drop(held);
        child.wait().unwrap();
        assert_eq!(found, [Process { pid: child.id(), name: "cat".to_owned() }]);
    }
}
