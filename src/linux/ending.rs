//! The signals that end a freeze; and the command that only waits for one that its child makes.
#![allow(unsafe_code)]

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// SIGINT, SIGTERM and SIGHUP; the last not where it is ignored: `nohup` says so of a command that is
/// to outlive its terminal, and what is blocked would come all the same.
pub fn signals() -> SigSet {
    let ends = |signal: &Signal| *signal != Signal::SIGHUP || !is_ignored(Signal::SIGHUP);
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().filter(ends).collect()
}

fn is_ignored(signal: Signal) -> bool {
    // SAFETY: the kernel fills the action, which is plain data; nothing is set.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal as libc::c_int, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// In a child, before it becomes the command: as if we had never blocked them.
pub fn unblock_in_child() -> io::Result<()> {
    signals().thread_unblock().map_err(io::Error::from)
}

/// They wait here until they are asked for, to the end of this process.
pub struct Waiting {
    before: SigSet,
    signals: SignalFd,
}

impl Waiting {
    /// From now on.
    pub fn block() -> io::Result<Waiting> {
        let before = signals().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        match SignalFd::with_flags(&signals(), flags) {
            Ok(signals) => Ok(Waiting { before, signals }),
            Err(e) => {
                let _ = before.thread_set_mask();
                Err(e.into())
            }
        }
    }

    /// In a child that has its own way with them: as it was before.
    pub fn leave_in_child(&self) {
        let _ = self.before.thread_set_mask();
    }

    /// The next of them that came, if one did.
    pub fn taken(&self) -> Option<Signal> {
        let info = self.signals.read_signal().ok().flatten()?;
        Signal::try_from(info.ssi_signo as i32).ok()
    }

    /// Is readable when one came.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
