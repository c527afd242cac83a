//! How urgently the kernel runs us.
#![allow(unsafe_code)]

use crate::linux::signals;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// The nice value of a freezer that may not be real-time.
const URGENT_NICE: i32 = -15;

/// Policy, real-time priority, nice value.
#[derive(Clone, Copy, Debug)]
pub struct Priority {
    policy: i32,
    real_time: i32,
    nice: i32,
}

impl Priority {
    /// As we are run now.
    pub fn now() -> Priority {
        let mut real_time: libc::c_int = 0;
        // SAFETY: numbers only, but for the sched_param, which is one int for the kernel to fill.
        unsafe {
            let policy = libc::syscall(libc::SYS_sched_getscheduler, 0) as i32;
            libc::syscall(libc::SYS_sched_getparam, 0, &mut real_time);
            Priority { policy, real_time, nice: libc::getpriority(libc::PRIO_PROCESS, 0) }
        }
    }

    /// Held writers wait for us, also on a busy machine: before all that is not
    /// real-time itself, where we may, else by a nice value, else as we are.
    pub fn raise(self) {
        let nice = self.nice.min(URGENT_NICE);
        let ordinary = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE];
        if ordinary.contains(&self.policy) {
            Priority { policy: libc::SCHED_RR, real_time: 1, nice }.restore();
        }
    }

    /// As it was. Only system calls are made: it may stand between fork and exec.
    pub fn restore(self) {
        // SAFETY: numbers only, but for the sched_param, which is one int for the kernel to read.
        // The call itself, for musl's function of that name does nothing.
        unsafe {
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
                signals::unblock_in_child()
            })
        };
        command.spawn()
    }
}
