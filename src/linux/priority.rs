//! How urgently the kernel runs us.
//!
//! Real-time never without a limit of its own: whatever takes the processor for so long without
//! sleeping once ([`REAL_TIME_US`]) is an ordinary process again, and others run.
#![allow(unsafe_code)]

use crate::linux::{descriptors, ending};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// The nice value of a freezer that may not be real-time.
const URGENT_NICE: i32 = -15;

/// Processor time without a sleep after which real-time ends. A pass over 1,000 processes takes
/// some ms.
const REAL_TIME_US: libc::rlim_t = 200_000;
/// The freezer's real-time priority ...
const FREEZER: i32 = 1;
/// ... and that of the thread that ends it.
const ABOVE: i32 = 2;

/// Policy, real-time priority, nice value, and the limit of real-time.
#[derive(Clone, Copy, Debug)]
pub struct Priority {
    policy: i32,
    real_time: i32,
    nice: i32,
    limit: libc::rlim_t,
}

impl Priority {
    /// As we are run now.
    pub fn now() -> Priority {
        let mut real_time: libc::c_int = 0;
        // SAFETY: numbers only, but for the sched_param, which is one int for the kernel to fill.
        unsafe {
            let policy = libc::syscall(libc::SYS_sched_getscheduler, 0) as i32;
            libc::syscall(libc::SYS_sched_getparam, 0, &mut real_time);
            let nice = libc::getpriority(libc::PRIO_PROCESS, 0);
            Priority { policy, real_time, nice, limit: limits().rlim_cur }
        }
    }

    /// Held writers wait for us, also on a busy machine: before all that is not
    /// real-time itself, where we may, else by a nice value, else as we are.
    pub fn raise(self) {
        let nice = self.nice.min(URGENT_NICE);
        let ordinary = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE];
        if ordinary.contains(&self.policy) {
            let limit = REAL_TIME_US.min(limits().rlim_max);
            give_real_time_up_at_its_limit();
            Priority { policy: libc::SCHED_RR, real_time: FREEZER, nice, limit }.restore();
        }
    }

    /// As it was. Only system calls are made: it may stand between fork and exec.
    pub fn restore(self) {
        let limit = libc::rlimit { rlim_cur: self.limit, ..limits() };
        // SAFETY: numbers only, but for the rlimit, and the sched_param, which is one int, for the
        // kernel to read. The call itself, for musl's function of that name does nothing.
        unsafe {
            libc::setrlimit(libc::RLIMIT_RTTIME, &limit);
            libc::syscall(libc::SYS_sched_setscheduler, 0, self.policy, &self.real_time);
            libc::setpriority(libc::PRIO_PROCESS, 0, self.nice);
        }
    }

    /// Starts a command with this priority, and with our signals as if they had never been blocked.
    pub fn spawn(self, command: &mut Command) -> io::Result<Child> {
        // SAFETY: between fork and exec these two make system calls and nothing else.
        unsafe {
            command.pre_exec(move || {
                self.restore();
                descriptors::restore();
                ending::unblock_in_child()
            })
        };
        command.spawn()
    }
}

/// The limits of real-time.
fn limits() -> libc::rlimit {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: one rlimit for the kernel to fill.
    unsafe { libc::getrlimit(libc::RLIMIT_RTTIME, &mut limits) };
    limits
}

/// From now on the kernel's word that the limit is reached makes the thread ordinary.
fn give_real_time_up_at_its_limit() {
    let action =
        SigAction::new(SigHandler::Handler(be_ordinary), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler makes one system call and keeps errno.
    let _ = unsafe { nix::sys::signal::sigaction(Signal::SIGXCPU, &action) };
}

extern "C" fn be_ordinary(_: libc::c_int) {
    let before = Errno::last_raw();
    let real_time: libc::c_int = 0;
    // SAFETY: numbers, and one int for the kernel to read. 0 is the thread that was interrupted, the
    // only one that has not blocked this signal.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_OTHER, &real_time) };
    Errno::set_raw(before);
}

/// The calling thread runs before the freezer's, if that is real-time: else one processor alone
/// would be the freezer's.
pub fn above_the_freezer() {
    let now = Priority::now();
    if now.policy == libc::SCHED_RR && now.real_time == FREEZER {
        // SAFETY: numbers, and one int for the kernel to read; 0 is the calling thread.
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_RR, &ABOVE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn real_time_ends_where_nothing_sleeps() {
        let child = crate::linux::fork::child(|| {
            Priority::now().raise();
            let begun = Instant::now();
            let real_time = Priority::now().policy == libc::SCHED_RR;
            while begun.elapsed() < Duration::from_secs(3)
                && Priority::now().policy == libc::SCHED_RR
            {}
            let ordinary = Priority::now().policy == libc::SCHED_OTHER;
            // SAFETY: takes a number. 0: it was, and is no more; 1: it may not be.
            unsafe { libc::_exit(if !real_time { 1 } else { !ordinary as i32 * 2 }) }
        });
        let ended = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child.unwrap()), None);
        let nix::sys::wait::WaitStatus::Exited(_, code) = ended.unwrap() else { panic!("killed") };
        assert!(code != 2, "still real-time after so long");
    }
}
