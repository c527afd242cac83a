//! The signals that end a freeze.

use nix::sys::signal::{SigSet, Signal};
use std::io;

/// SIGINT, SIGTERM and SIGHUP.
pub fn signals() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect()
}

/// In a child, before it becomes the command: as if we had never blocked them.
pub fn unblock_in_child() -> io::Result<()> {
    signals().thread_unblock().map_err(io::Error::from)
}
