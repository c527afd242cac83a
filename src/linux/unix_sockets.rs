//! Which local sockets are connected with which (`sock_diag`), in our network namespace.

use crate::linux::{clock, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// linux/sock_diag.h, linux/netlink.h, linux/unix_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST_DUMP: u16 = 0x301;
const SHOW_PEER: u32 = 4;
const SHOW_ICONS: u32 = 8;
const ATTRIBUTE_PEER: u16 = 2;
const ATTRIBUTE_ICONS: u16 = 3;
/// Lengths of a netlink header, of the answer about a socket behind it, of an attribute's header.
const HEADER: usize = 16;
const ANSWER: usize = 16;
const ATTRIBUTE: usize = 4;

/// The kernel answers at once; what is not there by then will not come.
const PATIENCE_NS: u64 = 100_000_000;
const PATIENCE_MS: u64 = 20;

/// By inode: the inodes at the other end. Of a connection that nobody has accepted yet that is the
/// socket that listens.
pub fn peers() -> io::Result<BTreeMap<u64, u64>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkSockDiag,
    )?;
    send(socket.as_raw_fd(), &request(), MsgFlags::empty())?;
    let (mut peers, until) = (BTreeMap::new(), clock::now_ns() + PATIENCE_NS);
    let mut buffer = vec![0; 64 * 1024];
    while clock::now_ns() < until {
        poll::wait_readable(&[socket.as_fd()], PATIENCE_MS);
        let got = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(nix::errno::Errno::EAGAIN) => continue,
            got => got?,
        };
        if take(&buffer[..got], &mut peers) {
            return Ok(peers);
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn request() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + 24);
    bytes.extend((HEADER as u32 + 24).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST_DUMP.to_ne_bytes());
    // Number, port.
    bytes.extend([0; 8]);
    bytes.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    // In all states, with any inode.
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend((SHOW_PEER | SHOW_ICONS).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes
}

/// Takes the messages of one datagram; true: that was the last.
fn take(mut rest: &[u8], peers: &mut BTreeMap<u64, u64>) -> bool {
    while let (Some(length), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) {
        let length = length as usize;
        let Some(message) = rest.get(HEADER..length) else { return true };
        match kind {
            NLMSG_DONE | NLMSG_ERROR => return true,
            SOCK_DIAG_BY_FAMILY => take_socket(message, peers),
            _ => {}
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    false
}

fn take_socket(message: &[u8], peers: &mut BTreeMap<u64, u64>) {
    let Some(inode) = u32_at(message, 4) else { return };
    let mut rest = message.get(ANSWER..).unwrap_or_default();
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let length = length as usize;
        let Some(value) = rest.get(ATTRIBUTE..length) else { return };
        match kind {
            ATTRIBUTE_PEER => match u32_at(value, 0) {
                Some(peer) if peer != 0 => _ = peers.insert(inode.into(), peer.into()),
                _ => {}
            },
            // Those that have connected to it and wait.
            ATTRIBUTE_ICONS => {
                for at in (0..value.len()).step_by(4) {
                    if let Some(waiting) = u32_at(value, at) {
                        peers.insert(waiting.into(), inode.into());
                    }
                }
            }
            _ => {}
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    fn inode(of: &impl AsRawFd) -> u64 {
        std::fs::metadata(format!("/proc/self/fd/{}", of.as_raw_fd())).unwrap().ino()
    }

    #[test]
    fn a_pair_is_each_others_peer_and_one_that_waits_has_the_listener() {
        let (a, b) = UnixStream::pair().unwrap();
        let path =
            std::env::temp_dir().join(format!("writegate-test-peers-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let waits = UnixStream::connect(&path).unwrap();
        let peers = peers().unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(peers.get(&inode(&a)), Some(&inode(&b)));
        assert_eq!(peers.get(&inode(&b)), Some(&inode(&a)));
        assert_eq!(peers.get(&inode(&waits)), Some(&inode(&listener)));
    }

    #[test]
    fn what_is_cut_off_or_makes_no_sense_ends_it() {
        let mut peers = BTreeMap::new();
        let full = |length: u32, kind: u16, rest: &[u8]| {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(rest);
            bytes
        };
        assert!(!take(&[], &mut peers) && take(&full(9, 20, &[]), &mut peers));
        assert!(take(&full(0, 20, &[1; 40]), &mut peers));
        assert!(take(&full(999, 20, &[1; 40]), &mut peers));
        assert!(!take(&full(56, 20, &[0; 40]), &mut peers), "an attribute of no length");
        assert!(take(&full(16, NLMSG_DONE, &[]), &mut peers) && peers.is_empty());
    }
}
