//! What is done beside the snapshot command while it runs.

use std::os::fd::BorrowedFd;

/// Something that watches while the command runs.
pub trait Watching {
    /// Takes what was seen so far; no process waits for us.
    fn meanwhile(&mut self);
    /// Readable when something was seen.
    fn fds(&self) -> Vec<BorrowedFd<'_>>;
    /// These have something urgent to say then.
    fn urgent_fds(&self) -> Vec<BorrowedFd<'_>>;
}
