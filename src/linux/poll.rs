//! Which descriptors are ready.

use crate::linux::clock;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::os::fd::BorrowedFd;

fn asked<'a>(fds: &[BorrowedFd<'a>]) -> Vec<PollFd<'a>> {
    fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect()
}

/// Which of these descriptors are readable now (a dead process's pidfd is).
pub fn readable(fds: &[BorrowedFd<'_>]) -> Vec<bool> {
    let mut polls = asked(fds);
    let _ = nix::poll::poll(&mut polls, PollTimeout::ZERO);
    let is_readable =
        |poll: &PollFd<'_>| poll.revents().is_some_and(|events| events.contains(PollFlags::POLLIN));
    polls.iter().map(is_readable).collect()
}

/// Has this descriptor certainly nothing to say now? (A pidfd: its process lives.)
pub fn is_quiet(fd: BorrowedFd<'_>) -> bool {
    nix::poll::poll(&mut asked(&[fd]), PollTimeout::ZERO) == Ok(0)
}

/// Has this descriptor something urgent to say (a list of mounts: it has changed)? It is said once. Also if
/// that cannot be told.
pub fn is_urgent(fd: BorrowedFd<'_>) -> bool {
    nix::poll::poll(&mut [PollFd::new(fd, PollFlags::POLLPRI)], PollTimeout::ZERO) != Ok(0)
}

/// Waits until one of these descriptors is readable, at most `ms`; a signal does not end it.
pub fn wait_readable(fds: &[BorrowedFd<'_>], ms: u64) -> bool {
    wait(fds, &[], ms)
}

/// The same; or until one of the others has something urgent to say.
pub fn wait(fds: &[BorrowedFd<'_>], urgent: &[BorrowedFd<'_>], ms: u64) -> bool {
    let all = || {
        let mut polls = asked(fds);
        polls.extend(urgent.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLPRI)));
        polls
    };
    let until = clock::now_ns().saturating_add(ms.saturating_mul(1_000_000));
    let mut left = ms;
    loop {
        let most = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match nix::poll::poll(&mut all(), most) {
            Err(Errno::EINTR) => {}
            done => return done.is_ok_and(|ready| ready > 0),
        }
        left = until.saturating_sub(clock::now_ns()).div_ceil(1_000_000);
    }
}
