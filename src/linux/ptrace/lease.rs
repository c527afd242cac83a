//! What makes the tracer end in time by itself, and its tracees run: whatever becomes of the freezer,
//! and whatever becomes of it.
#![allow(unsafe_code)]

use nix::errno::Errno;
use std::io;

/// All memory of this process is in place and stays there: nothing that it does waits for a disk.
pub fn lock_memory() -> io::Result<()> {
    // SAFETY: takes a number.
    Errno::result(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) })?;
    Ok(())
}

/// At this time of CLOCK_MONOTONIC (ns) the kernel kills this process, also if it is stopped. Made
/// anew for each lease: a timer does not come through fork.
pub fn arm(deadline_ns: u64) -> io::Result<()> {
    let mut timer: libc::timer_t = std::ptr::null_mut();
    // SAFETY: an event of zeroes is a valid one; the two fields that say what happens are set.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGKILL;
    let at = libc::itimerspec {
        it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: libc::timespec {
            tv_sec: (deadline_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (deadline_ns % 1_000_000_000) as libc::c_long,
        },
    };
    // SAFETY: the kernel reads `event` and `at` and stores a timer's id in `timer`, which the second
    // call takes; both pointers are to live values.
    unsafe {
        Errno::result(libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer))?;
        let none = std::ptr::null_mut();
        Errno::result(libc::timer_settime(timer, libc::TIMER_ABSTIME, &at, none))?;
    }
    Ok(())
}
