//! Children of our own, that do one piece of work and end.
#![allow(unsafe_code)]

use nix::sys::prctl;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal};
use nix::unistd::{ForkResult, Pid};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Descriptors below this one are the standard streams.
const FIRST_OWN_FD: u32 = 3;

/// Ends the process when it goes out of scope, by a panic too.
struct ExitOnDrop;

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        // SAFETY: takes a number; ends this process without running what belongs to its parent.
        unsafe { libc::_exit(0) }
    }
}

/// Forks a child that does `work` and ends; its process id.
pub fn child(work: impl FnOnce()) -> io::Result<i32> {
    // SAFETY: the child runs `work` on its own copy of the memory and ends by `_exit`, also if
    // `work` panics; glibc and musl keep their allocator usable in the child of a process that has
    // other threads, and no other lock is shared between ours.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => {
            let end = ExitOnDrop;
            work();
            drop(end);
            unreachable!("the child has ended")
        }
        ForkResult::Parent { child } => Ok(child.as_raw()),
    }
}

/// In a child: closes what it has inherited, but for the standard streams and `keep`.
pub fn keep_only(keep: BorrowedFd<'_>) {
    let keep = keep.as_raw_fd() as u32;
    let close = |first: u32, last: u32| {
        if first <= last {
            // SAFETY: takes numbers; the child's work is given `keep` alone, and uses no descriptor
            // of its parent's.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    };
    close(FIRST_OWN_FD, keep.saturating_sub(1));
    close(keep + 1, u32::MAX);
}

/// In a child that may hang in the kernel for hours: it ends with its owner, answers no signal to
/// the whole group (that is the owner's to do), and holds nothing of the owner's: not the gate's
/// lock, for one, nor its output.
pub fn serve_owner(owner: i32, link: BorrowedFd<'_>) {
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    if nix::unistd::getppid() != Pid::from_raw(owner) {
        drop(ExitOnDrop);
    }
    let _ = nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: no handler of ours runs, the kernel drops the signal.
        let _ = unsafe { nix::sys::signal::sigaction(signal, &ignore) };
    }
    give_back_streams();
    keep_only(link);
}

/// In a child: whoever waits for the end of its parent's output does not wait for it.
fn give_back_streams() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdin(null.as_fd());
        let _ = nix::unistd::dup2_stdout(null.as_fd());
        let _ = nix::unistd::dup2_stderr(null.as_fd());
    }
}

/// In a child that outlives its parent: no terminal, no working directory, no borrowed stream,
/// and no descriptor but `keep`.
pub fn leave_parent(name: &CStr, keep: BorrowedFd<'_>) {
    let _ = nix::unistd::setsid();
    let _ = nix::unistd::chdir(c"/");
    give_back_streams();
    keep_only(keep);
    let _ = prctl::set_name(name);
}
