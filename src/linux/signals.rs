//! SIGINT, SIGTERM and SIGHUP as a descriptor: they are asked for between steps
//! and can never end us with the barrier up.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The signals that end a freeze.
pub struct Signals {
    fd: SignalFd,
    received: Option<i32>,
}

fn ours() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect()
}

impl Signals {
    /// From now on they wait to be asked for.
    pub fn block() -> io::Result<Signals> {
        ours().thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Signals { fd: SignalFd::with_flags(&ours(), flags)?, received: None })
    }

    /// The first of them that was received, if one was. Stays.
    pub fn received(&mut self) -> Option<i32> {
        if self.received.is_none()
            && let Ok(Some(info)) = self.fd.read_signal()
        {
            self.received = Some(info.ssi_signo as i32);
        }
        self.received
    }

    /// Becomes readable when one is received.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// In a child, before it becomes the command: as if we had never blocked them.
pub fn unblock_in_child() -> io::Result<()> {
    ours().thread_unblock().map_err(io::Error::from)
}
