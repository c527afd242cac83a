//! Who was made by whom, as the kernel tells it of every process: its process connector.
//!
//! A process is announced before it runs, so what it did is never read before its birth. Told only to
//! root of the machine (CAP_NET_ADMIN, no container); and not all of it where more are born than are
//! read.
#![allow(unsafe_code)]

use crate::linux::look::WhyNot;
use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Of the kernel's process connector (include/uapi/linux/cn_proc.h, connector.h).
const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_CN_MCAST_IGNORE: u32 = 2;
/// Kinds of events: the answer to what we asked; a process or thread was made.
const ANSWER: u32 = 0;
const FORK: u32 = 1;
/// struct nlmsghdr and struct cn_msg, and in front of an event's own fields its kind, processor, time.
const HEADERS: usize = 16 + 20;
const EVENT: usize = HEADERS + 16;
/// So much is kept for us until we read, bytes.
const ROOM: usize = 4 << 20;
/// One message.
const MESSAGE_MAX: usize = 4096;

/// A listener.
pub struct Births(OwnedFd);

/// One process that was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Birth {
    /// By which process.
    pub parent: i32,
    /// It.
    pub child: i32,
}

impl Births {
    /// From now on all births are told. An error: not to us.
    pub fn listen() -> io::Result<Births> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: takes numbers only.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just made this descriptor, and nothing else knows it.
        let births = Births(unsafe { OwnedFd::from_raw_fd(fd) });
        // Where that is not allowed the default has to do.
        let _ = setsockopt(&births.0, sockopt::RcvBufForce, &ROOM);
        let address = address(CN_IDX_PROC);
        // SAFETY: `address` is a sockaddr_nl and lives through the call, which is told its size.
        let bound = unsafe {
            libc::bind(fd, (&raw const address).cast(), size_of::<libc::sockaddr_nl>() as u32)
        };
        if bound != 0 {
            return Err(io::Error::last_os_error());
        }
        births.say(PROC_CN_MCAST_LISTEN)?;
        // The answer is there already; none at all is given outside of the first PID namespace.
        loop {
            match births.message()? {
                Some(message) if number(&message, HEADERS) == Some(ANSWER) => {
                    return match number(&message, EVENT) {
                        Some(0) => Ok(births),
                        error => Err(io::Error::from_raw_os_error(error.unwrap_or(0) as i32)),
                    };
                }
                Some(_) => {}
                None => return Err(io::ErrorKind::Unsupported.into()),
            }
        }
    }

    fn say(&self, what: u32) -> io::Result<()> {
        let body = what.to_ne_bytes();
        let mut message = Vec::with_capacity(HEADERS + body.len());
        message.extend(((HEADERS + body.len()) as u32).to_ne_bytes());
        message.extend((libc::NLMSG_DONE as u16).to_ne_bytes());
        message.extend([0; 10]);
        message.extend([CN_IDX_PROC, CN_VAL_PROC, 0, 0].map(u32::to_ne_bytes).concat());
        message.extend((body.len() as u16).to_ne_bytes());
        message.extend([0; 2]);
        message.extend(body);
        // SAFETY: the pointer and the length are those of `message`, which lives through the call.
        let sent = unsafe {
            libc::send(
                self.0.as_raw_fd(),
                message.as_ptr().cast(),
                message.len(),
                libc::MSG_NOSIGNAL,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next message of the kernel's; none: there is none now.
    fn message(&self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let mut bytes = vec![0u8; MESSAGE_MAX];
            let mut from = address(0);
            let mut len = size_of::<libc::sockaddr_nl>() as u32;
            // SAFETY: `bytes` has as much room as is said; `from` is a sockaddr_nl, and `len` its size.
            let got = unsafe {
                libc::recvfrom(
                    self.0.as_raw_fd(),
                    bytes.as_mut_ptr().cast(),
                    bytes.len(),
                    0,
                    (&raw mut from).cast(),
                    &mut len,
                )
            };
            if got < 0 {
                let error = io::Error::last_os_error();
                match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    io::ErrorKind::Interrupted => continue,
                    _ => return Err(error),
                }
            }
            // Another process's words are none of the kernel's.
            if from.nl_pid == 0 {
                bytes.truncate(got as usize);
                return Ok(Some(bytes));
            }
        }
    }

    /// The next birth; none: there was none since. An error: some were lost.
    pub fn next(&self) -> Result<Option<Birth>, WhyNot> {
        while let Some(message) = self.message().map_err(|e| WhyNot::of(&e))? {
            if let Some(birth) = parse(&message) {
                return Ok(Some(birth));
            }
        }
        Ok(None)
    }

    /// Readable when somebody was born.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Births {
    fn drop(&mut self) {
        // Older kernels count listeners by what they say, not by who is left.
        let _ = self.say(PROC_CN_MCAST_IGNORE);
    }
}

fn address(groups: u32) -> libc::sockaddr_nl {
    // SAFETY: a sockaddr_nl is made of integers, for which zero is a value.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as u16;
    address.nl_groups = groups;
    address
}

fn number(message: &[u8], at: usize) -> Option<u32> {
    message.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// Of a process, not of a thread.
fn parse(message: &[u8]) -> Option<Birth> {
    let id = |at: usize| number(message, EVENT + 4 * at).map(|id| id as i32);
    // Parent: thread, process; child: thread, process.
    let (parent, thread, child) = (id(1)?, id(2)?, id(3)?);
    let is_birth = number(message, HEADERS) == Some(FORK) && thread == child;
    is_birth.then_some(Birth { parent, child })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_process_is_announced_and_a_thread_is_not() {
        let event = |kind: u32, ids: [u32; 4]| {
            let mut bytes = vec![0; HEADERS];
            bytes.extend([kind, 0, 0, 0].map(u32::to_ne_bytes).concat());
            bytes.extend(ids.map(u32::to_ne_bytes).concat());
            bytes
        };
        let birth = Birth { parent: 7, child: 9 };
        assert_eq!(parse(&event(FORK, [8, 7, 9, 9])), Some(birth));
        assert_eq!(parse(&event(FORK, [8, 7, 10, 9])), None, "a thread");
        assert_eq!(parse(&event(2, [8, 7, 9, 9])), None, "an exec");
        assert_eq!(parse(&event(FORK, [8, 7, 9, 9])[..EVENT + 4]), None, "cut");
    }

    #[test]
    fn a_child_that_is_gone_already_was_announced() {
        let births = match Births::listen() {
            Ok(births) => births,
            Err(why) => {
                // Not by a macro: what those print of a test that passes is kept from the reader.
                let said = format!("SKIPPED: births are told to root on its own machine: {why}\n");
                std::io::stderr().write_all(said.as_bytes()).unwrap();
                return;
            }
        };
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let birth = Birth { parent: std::process::id() as i32, child: child.id() as i32 };
        let mut all = std::iter::from_fn(|| births.next().unwrap());
        assert!(all.any(|one| one == birth));
    }
}
