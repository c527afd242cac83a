//! The few raw system calls that neither std nor a safe crate offers.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::AtomicU64;

/// CLOCK_MONOTONIC, ns.
pub fn now_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// CLOCK_REALTIME, ns.
pub fn wall_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Sleeps; a signal may end it early.
pub fn sleep_ns(ns: u64) {
    let time = libc::timespec {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: `time` is valid; the rest is not asked for.
    unsafe { libc::nanosleep(&time, std::ptr::null_mut()) };
}

/// A shared mapping of a whole file, unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    len: usize,
}

// SAFETY: it is plain shared memory, read and written through atomics only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `fd` from its beginning.
    pub fn new(fd: RawFd, len: usize, writable: bool) -> io::Result<Mapping> {
        Mapping::with(fd, len, writable, libc::MAP_SHARED)
    }

    /// The same to look at only, in a way that does not look like a gated process:
    /// those map their control page shared. It shows what is stored later, too.
    pub fn to_look_at(fd: RawFd, len: usize) -> io::Result<Mapping> {
        Mapping::with(fd, len, false, libc::MAP_PRIVATE)
    }

    fn with(fd: RawFd, len: usize, writable: bool, flags: i32) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | if writable { libc::PROT_WRITE } else { 0 };
        // SAFETY: a new mapping at a place of the kernel's choice.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { start: start.cast(), len })
    }

    /// To read, where another process writes.
    pub fn foreign(&self) -> gate::abi::Foreign<'_> {
        // SAFETY: `len` bytes from `start` stay mapped and readable until `self` is dropped;
        // what this process writes there, it writes through atomics and system calls.
        unsafe { gate::abi::Foreign::new(self.start, self.len) }
    }

    /// Where it begins.
    pub fn start(&self) -> *mut u8 {
        self.start
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nothing borrowed from it outlives `self`.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// Wakes every waiter of this word whose bits meet `bits`; how many woke.
pub fn futex_wake(word: &AtomicU64, bits: u32) -> i64 {
    // Waiters sleep on the low half; every architecture we build for is little-endian.
    let low = word.as_ptr().cast::<u32>();
    // SAFETY: `low` lies in a mapping that is alive; FUTEX_WAKE reads nothing there.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            low,
            libc::FUTEX_WAKE_BITSET,
            i32::MAX,
            std::ptr::null::<libc::timespec>(),
            std::ptr::null::<u32>(),
            bits,
        )
    }
}

/// How this kernel can make every gated process's plain stores visible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Membarrier {
    /// MEMBARRIER_CMD_GLOBAL_EXPEDITED: µs, for registered processes.
    Expedited,
    /// MEMBARRIER_CMD_GLOBAL: ms, for all.
    Global,
    /// Neither: only regions that announce by `xchg` can be read safely.
    None,
}

const MEMBARRIER_GLOBAL: i32 = 1;
const MEMBARRIER_GLOBAL_EXPEDITED: i32 = 2;

fn membarrier_call(command: i32) -> i64 {
    // SAFETY: takes numbers only.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
}

impl Membarrier {
    /// What there is.
    pub fn find() -> Membarrier {
        match membarrier_call(0) {
            bits if bits < 0 => Membarrier::None,
            bits if bits & MEMBARRIER_GLOBAL_EXPEDITED as i64 != 0 => Membarrier::Expedited,
            bits if bits & MEMBARRIER_GLOBAL as i64 != 0 => Membarrier::Global,
            _ => Membarrier::None,
        }
    }

    /// Issues it; false if it failed.
    pub fn fence(self) -> bool {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        let ok = match self {
            Membarrier::Expedited => membarrier_call(MEMBARRIER_GLOBAL_EXPEDITED) == 0,
            Membarrier::Global => membarrier_call(MEMBARRIER_GLOBAL) == 0,
            Membarrier::None => true,
        };
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        ok
    }
}

/// A handle on a process: it cannot come to mean another.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Which of these descriptors are readable now (a dead process's pidfd is).
pub fn readable(fds: &[RawFd]) -> Vec<bool> {
    let mut polls: Vec<libc::pollfd> =
        fds.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: `polls` is a valid array of that length.
    unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, 0) };
    polls.iter().map(|p| p.revents & libc::POLLIN != 0).collect()
}

/// Waits until one of these descriptors is readable, at most `ms`.
pub fn wait_readable(fds: &[RawFd], ms: i32) -> bool {
    let mut polls: Vec<libc::pollfd> =
        fds.iter().map(|&fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
    // SAFETY: `polls` is a valid array of that length.
    unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, ms) > 0 }
}

/// Do these two processes share their memory (vfork, clone with CLONE_VM)?
pub fn share_memory(a: i32, b: i32) -> bool {
    const KCMP_VM: i32 = 1;
    // SAFETY: takes numbers only.
    unsafe { libc::syscall(libc::SYS_kcmp, a, b, KCMP_VM, 0, 0) == 0 }
}

/// Copies another process's memory to `to`; all or an error.
///
/// # Safety
/// `to` must be writable for `len` bytes.
pub unsafe fn read_memory(pid: i32, from: u64, to: *mut u8, len: usize) -> io::Result<()> {
    let local = libc::iovec { iov_base: to.cast(), iov_len: len };
    let remote = libc::iovec { iov_base: from as *mut libc::c_void, iov_len: len };
    // SAFETY: `local` is writable by the caller's word; `remote` is checked by the kernel.
    match unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) } {
        n if n as usize == len => Ok(()),
        n if n < 0 => Err(io::Error::last_os_error()),
        _ => Err(io::Error::from_raw_os_error(libc::EFAULT)),
    }
}

/// An anonymous file of this size.
pub fn memfd(len: usize) -> io::Result<OwnedFd> {
    // SAFETY: the name is a valid C string.
    let fd = unsafe { libc::memfd_create(c"writegate".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given it to us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: takes numbers only.
    if unsafe { libc::ftruncate(fd.as_raw_fd(), len as libc::off_t) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}

/// Takes an exclusive flock without waiting; false if somebody has it.
pub fn try_lock(fd: RawFd) -> io::Result<bool> {
    // SAFETY: takes numbers only.
    if unsafe { libc::flock(fd, libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        e if e.raw_os_error() == Some(libc::EWOULDBLOCK) => Ok(false),
        e => Err(e),
    }
}

/// Our effective user.
pub fn euid() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() }
}

/// A path for the kernel.
pub fn c_path(path: &Path) -> CString {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// Sends a signal; errors mean that nobody is there any more.
pub fn kill(pid: i32, signal: i32) -> bool {
    // SAFETY: takes numbers only.
    unsafe { libc::kill(pid, signal) == 0 }
}

/// How urgently the kernel runs us: policy, real-time priority, nice value.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    policy: i32,
    priority: i32,
    nice: i32,
}

/// The nice value of whoever is in a hurry and may not be real-time.
const HURRY: i32 = -15;

impl Pace {
    /// As we are run now.
    pub fn now() -> Pace {
        let mut priority: libc::c_int = 0;
        // SAFETY: numbers only, but for the one that the kernel writes.
        unsafe {
            let policy = libc::syscall(libc::SYS_sched_getscheduler, 0) as i32;
            libc::syscall(libc::SYS_sched_getparam, 0, &mut priority);
            Pace { policy, priority, nice: libc::getpriority(libc::PRIO_PROCESS, 0) }
        }
    }

    /// Held writers wait for us, also on a busy machine: before all that is not
    /// real-time itself, where we may, else by a nice value, else as we are.
    pub fn hurry(self) {
        let nice = self.nice.min(HURRY);
        let ordinary = [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE];
        if ordinary.contains(&self.policy) {
            Pace { policy: libc::SCHED_RR, priority: 1, nice }.resume();
        }
    }

    /// As it was. Only system calls are made: it may stand between fork and exec.
    pub fn resume(self) {
        // SAFETY: numbers only, but for the one that the kernel reads. The call itself,
        // for musl's function of that name does nothing.
        unsafe {
            libc::syscall(libc::SYS_sched_setscheduler, 0, self.policy, &self.priority);
            libc::setpriority(libc::PRIO_PROCESS, 0, self.nice);
        }
    }
}

/// Rows and columns of the terminal that stdout is.
pub fn window() -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one winsize, which this is.
    let got = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) };
    (got == 0 && size.ws_row > 0 && size.ws_col > 0)
        .then_some((size.ws_row.into(), size.ws_col.into()))
}

/// What a file is, without asking a file system that may answer no more (a hung
/// FUSE server, NFS): as the kernel remembers it.
pub struct Known {
    /// Type and permissions.
    pub mode: u32,
    /// Device, as `stat` says it.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
}

impl Known {
    /// Is it of this type (`S_IFREG`, ...)?
    pub fn is(&self, kind: u32) -> bool {
        self.mode & libc::S_IFMT == kind
    }
}

/// Looks at a path's target that way; for links like /proc/PID/fd/N.
pub fn known(path: &std::path::Path) -> Option<Known> {
    let path = c_path(path);
    // SAFETY: all zero bytes are a valid statx.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let flags = libc::AT_STATX_DONT_SYNC;
    let wanted = libc::STATX_TYPE | libc::STATX_MODE | libc::STATX_INO;
    // SAFETY: `path` is a C string, `found` is writable.
    let done = unsafe { libc::statx(libc::AT_FDCWD, path.as_ptr(), flags, wanted, &mut found) };
    (done == 0).then(|| Known {
        mode: found.stx_mode as u32,
        dev: libc::makedev(found.stx_dev_major, found.stx_dev_minor),
        ino: found.stx_ino,
    })
}
