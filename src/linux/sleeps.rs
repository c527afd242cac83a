//! The system calls in which a thread may sleep, by what ends the sleep: one table.

/// What a sleeping thread waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// Some time has passed.
    Time,
    /// A child ends or stops.
    Child,
    /// Something comes at one of several descriptors, or time passes.
    Events,
    /// Something comes at the descriptor that is the first argument.
    Input,
    /// A signal.
    Signal,
    /// Another thread or process changes memory that they share.
    Memory,
    /// A message in a queue.
    Message,
    /// What it waited for when a stop came in between (time, events or memory): the kernel goes on with such a
    /// sleep by a call that does not say which.
    Again,
}

const CALLS: [(i64, Until); 28] = [
    (libc::SYS_nanosleep, Until::Time),
    (libc::SYS_clock_nanosleep, Until::Time),
    (libc::SYS_wait4, Until::Child),
    (libc::SYS_waitid, Until::Child),
    (libc::SYS_poll, Until::Events),
    (libc::SYS_ppoll, Until::Events),
    (libc::SYS_select, Until::Events),
    (libc::SYS_pselect6, Until::Events),
    (libc::SYS_epoll_wait, Until::Events),
    (libc::SYS_epoll_pwait, Until::Events),
    (libc::SYS_epoll_pwait2, Until::Events),
    (libc::SYS_accept, Until::Input),
    (libc::SYS_accept4, Until::Input),
    (libc::SYS_connect, Until::Input),
    (libc::SYS_read, Until::Input),
    (libc::SYS_readv, Until::Input),
    (libc::SYS_recvfrom, Until::Input),
    (libc::SYS_recvmsg, Until::Input),
    (libc::SYS_recvmmsg, Until::Input),
    (libc::SYS_pause, Until::Signal),
    (libc::SYS_rt_sigsuspend, Until::Signal),
    (libc::SYS_rt_sigtimedwait, Until::Signal),
    (libc::SYS_futex, Until::Memory),
    (libc::SYS_semop, Until::Memory),
    (libc::SYS_semtimedop, Until::Memory),
    (libc::SYS_msgrcv, Until::Message),
    (libc::SYS_mq_timedreceive, Until::Message),
    (libc::SYS_restart_syscall, Until::Again),
];

/// What ends a sleep in this call; none: it is no call to sleep in.
pub fn until(call: i64) -> Option<Until> {
    CALLS.iter().find(|(number, _)| *number == call).map(|(_, until)| *until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_stands_there_once() {
        for (at, (call, _)) in CALLS.iter().enumerate() {
            assert!(CALLS[..at].iter().all(|(other, _)| other != call), "{call}");
        }
        assert_eq!(until(libc::SYS_epoll_pwait2), Some(Until::Events));
        assert_eq!(
            until(libc::SYS_write),
            None,
            "it waits for room, and has begun to change something"
        );
    }
}
