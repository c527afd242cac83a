//! Handles on processes, signals to them, and what two of them share.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// `kcmp`'s question whether two processes share their memory (linux/kcmp.h).
const KCMP_VM: i32 = 1;

/// A handle on a process: it cannot come to mean another. Readable when it is dead.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made this descriptor, and nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Does the kernel know a process of this number? Not by `/proc`, which hides some.
pub fn is_there(pid: i32) -> bool {
    nix::sys::signal::kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Does the kernel know this thread of this process?
pub fn has_thread(pid: i32, tid: i32) -> bool {
    // SAFETY: takes numbers only; signal 0 is sent to nobody.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, 0) };
    // EINVAL: no process has such a number.
    sent == 0 || !matches!(Errno::last(), Errno::ESRCH | Errno::EINVAL)
}

/// Do these two processes share their memory (vfork, clone with CLONE_VM)?
pub fn share_memory(a: i32, b: i32) -> bool {
    // SAFETY: takes numbers only.
    unsafe { libc::syscall(libc::SYS_kcmp, a, b, KCMP_VM, 0, 0) == 0 }
}

/// Sends a signal; an error means that the process is there no more.
pub fn kill(pid: i32, signal: Signal) {
    let _ = nix::sys::signal::kill(Pid::from_raw(pid), signal);
}

/// Kills a child and takes its status if it is there already. It may be stuck in the kernel, and
/// is never waited for: what it leaves ends with us.
pub fn abandon_child(pid: i32) {
    kill(pid, Signal::SIGKILL);
    let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
}

/// Waits for a child that has ended, or is about to.
pub fn reap_child(pid: i32) {
    let _ = waitpid(Pid::from_raw(pid), None);
}
