//! SIGINT, SIGTERM and SIGHUP as a descriptor: they are asked for between steps
//! and can never end us with the barrier up.

use crate::outcome::fault::{CONFIG, Fault, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsRawFd, RawFd};

/// The signals that end a freeze.
pub struct Signals {
    fd: SignalFd,
    taken: Option<i32>,
}

fn ours() -> SigSet {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set
}

impl Signals {
    /// From now on they wait to be asked for.
    pub fn block() -> Result<Signals> {
        let made = ours()
            .thread_block()
            .and_then(|()| {
                SignalFd::with_flags(&ours(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            })
            .map_err(|e| Fault::new(CONFIG, format!("cannot hold signals back: {e}")))?;
        Ok(Signals { fd: made, taken: None })
    }

    /// The first of them that came, if one did. Stays.
    pub fn came(&mut self) -> Option<i32> {
        if self.taken.is_none()
            && let Ok(Some(info)) = self.fd.read_signal()
        {
            self.taken = Some(info.ssi_signo as i32);
        }
        self.taken
    }

    /// Becomes readable when one comes.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// In a child, before it becomes the command: as if we had never blocked them.
pub fn unblock_in_child() -> std::io::Result<()> {
    ours().thread_unblock().map_err(std::io::Error::from)
}
