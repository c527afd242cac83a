//! This process, its threads and children.

use super::call::call;
use super::confined;
use super::lines::each_line;
use super::signals::Blocked;
use super::time::now;
use crate::text::{Buffer, number};
use linux_raw_sys::errno::{EINTR, ESRCH};
use linux_raw_sys::general as nr;
use linux_raw_sys::general::membarrier_cmd::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED;
use linux_raw_sys::general::{__WALL, GRND_NONBLOCK, SS_ONSTACK};

/// Never cached, so it tells a child that shares memory from its parent.
pub fn pid() -> i32 {
    call!(nr::__NR_getpid) as i32
}

pub fn tid() -> i32 {
    call!(nr::__NR_gettid) as i32
}

/// Is this thread of this process gone?
pub fn thread_gone(pid: i32, tid: i32) -> bool {
    call!(nr::__NR_tgkill, pid, tid, 0) == -(ESRCH as isize)
}

/// The id of the process that this descriptor (pidfd_open) stands for; 0: it cannot be told.
pub fn process_of(descriptor: i32) -> i32 {
    let mut path = Buffer::<32>::new();
    path.push(b"/proc/self/fdinfo/");
    path.push_number(descriptor as u64);
    let mut pid = 0;
    let blocked = Blocked::all();
    // SAFETY: a `Buffer` always ends with a NUL.
    unsafe {
        each_line(&blocked, path.c(), |line| {
            let value = line.strip_prefix(b"Pid:").map(<[u8]>::trim_ascii);
            pid = value.and_then(number).map_or(pid, |(value, _)| value as i32);
            value.is_none()
        })
    };
    pid
}

/// Is the thread running on its alternate signal stack? Where it must not be asked: perhaps,
/// which is yes.
pub fn on_alternate_stack() -> bool {
    if confined::by_itself() {
        return true;
    }
    let mut stack = [0u64; 3];
    call!(nr::__NR_sigaltstack, 0, &raw mut stack) == 0 && stack[1] & SS_ONSTACK as u64 != 0
}

/// Registers for the freezer's membarrier; false: announce by a locked store.
pub fn register_membarrier() -> bool {
    call!(nr::__NR_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) == 0
}

/// Eight random bytes, or what the clock and the stack give.
pub fn random() -> u64 {
    let mut bytes = 0u64;
    if !confined::at_all()
        && call!(nr::__NR_getrandom, &raw mut bytes, size_of::<u64>(), GRND_NONBLOCK) == 8
    {
        return bytes;
    }
    now() ^ (&raw const bytes as u64).rotate_left(32)
}

/// Has the limit on the size of files a process writes (RLIMIT_FSIZE) room for this? Beyond it
/// there is a deadly signal.
pub fn may_write(size: u64) -> bool {
    const RLIMIT_FSIZE: u32 = 1;
    let mut limit = [0u64; 2];
    call!(nr::__NR_prlimit64, 0, RLIMIT_FSIZE, 0, &raw mut limit) == 0 && limit[0] >= size
}

/// Lets a child of its own do this, in a copy of the memory, and waits for its end, whatever
/// that is: false too if it is a filter's doing. The program never sees that child: its end sends
/// no signal, and no wait of the program's finds it.
pub fn in_a_child(work: impl FnOnce() -> bool) -> bool {
    let child = call!(nr::__NR_clone, 0, 0, 0, 0, 0);
    if child == 0 {
        exit(if work() { 0 } else { 1 });
    }
    let mut status = -1i32;
    while child > 0 && call!(nr::__NR_wait4, child, &raw mut status, __WALL, 0) == -(EINTR as isize)
    {
    }
    child > 0 && status == 0
}

/// By a fault, where a filter refuses even that.
fn exit(code: i32) -> ! {
    call!(nr::__NR_exit_group, code);
    call!(nr::__NR_exit, code);
    crate::arch::instructions::fault()
}

/// Ends the process at once.
pub fn die() -> ! {
    /// As a shell shows a death by SIGABRT.
    const ABORTED: i32 = 128 + 6;
    exit(ABORTED)
}
