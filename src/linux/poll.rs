//! Which descriptors are ready.

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

/// Waits until one of these descriptors is readable, at most `ms`.
pub fn wait_readable(fds: &[BorrowedFd<'_>], ms: u64) -> bool {
    let most = PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX);
    nix::poll::poll(&mut asked(fds), most).is_ok_and(|ready| ready > 0)
}
