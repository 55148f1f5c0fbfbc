//! Who else talks to the card service or holds a token, as far as the system shows it.
//!
//! The kernel knows for each end of a local socket which other end it belongs to (socket diagnosis
//! over netlink), and `/proc` shows which process has which end: both together name the clients of
//! pcscd exactly. A program that drives a token itself, as scdaemon can, has its USB device open.
//! Other users' processes stay hidden unless we are root.

use std::path::{Path, PathBuf};

use super::error::{Holder, Process};
use super::usb::Device;

/// Where Debian's pcscd listens; `PCSCLITE_CSOCK_NAME` names another place, to clients and to us.
const PCSCD_SOCKET: &str = "/run/pcscd/pcscd.comm";

/// The program that gpg talks to cards through, as the kernel names it.
pub(super) const SCDAEMON: &str = "scdaemon";

/// The socket of the card service.
pub(crate) fn pcscd_socket() -> PathBuf {
    std::env::var_os("PCSCLITE_CSOCK_NAME").map_or_else(|| PCSCD_SOCKET.into(), PathBuf::from)
}

/// Who may hold a card that PC/SC says is taken. Never a guess: programs connected to this very service.
pub(crate) fn holder() -> Holder {
    Holder::of(clients())
}

/// Whether a scdaemon is connected to the card service, as far as we may see.
pub(crate) fn has_scdaemon() -> bool {
    clients().iter().any(|process| process.name == SCDAEMON)
}

/// Who else is connected to the card service.
pub(crate) fn clients() -> Vec<Process> {
    clients_of(&pcscd_socket())
}

/// Who has a USB device open, if it is somebody else than pcscd, which serves everybody.
pub(crate) fn drives(device: &Device) -> Option<Holder> {
    let node = std::fs::canonicalize(&device.node).ok()?;
    let found = opened(&node);
    (!found.is_empty() && found.iter().all(|process| process.name != "pcscd")).then(|| Holder::of(found))
}

impl Holder {
    /// scdaemon, where it is among them: it keeps a card, others come and go.
    fn of(processes: Vec<Process>) -> Self {
        let scdaemons: Vec<Process> =
            processes.iter().filter(|process| process.name == SCDAEMON).cloned().collect();
        if !scdaemons.is_empty() {
            Self::Scdaemon(scdaemons)
        } else if processes.is_empty() {
            Self::Unknown
        } else {
            Self::Programs(processes)
        }
    }
}

/// The processes, except this one, with a connection to the local socket at `path`.
#[cfg(target_os = "linux")]
fn clients_of(path: &Path) -> Vec<Process> {
    let Some(inodes) = linux::peers(path).filter(|inodes| !inodes.is_empty()) else { return Vec::new() };
    let inode = |link: &Path| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u32>().ok();
    super::processes::that_have(|link| inode(link).is_some_and(|inode| inodes.contains(&inode)))
}

/// The processes, except this one, that have the file `node` open.
#[cfg(target_os = "linux")]
fn opened(node: &Path) -> Vec<Process> {
    super::processes::that_have(|link| link == node)
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
fn clients_of(_: &Path) -> Vec<Process> {
    Vec::new()
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
fn opened(_: &Path) -> Vec<Process> {
    Vec::new()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashSet;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

    /// Answers read at most; a machine with more local sockets than fit is searched in part.
    const MAX_MESSAGES: usize = 4096;
    /// Netlink dumps come in pieces of at most 32 KiB.
    const BUFFER: usize = 64 * 1024;

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
        let cat = Process { pid: child.id(), name: "cat".to_owned(), other_user: None, gnupg_home: None };
        assert_eq!(found, [cat]);
    }
}
