//! The system calls that the library makes itself: raw, errno untouched.

use crate::arch::{nr, syscall};

/// Current directory, as the *at calls take it.
pub const AT_FDCWD: i32 = -100;
const O_CLOEXEC: usize = 0o2000000;
/// Do not follow a symbolic link.
pub const O_NOFOLLOW: usize = 0o400000;
/// Directory only.
pub const O_DIRECTORY: usize = 0o200000;
/// `errno`
pub const ENOENT: isize = -2;
const EFAULT: isize = -14;
/// `errno`
pub const ENOSYS: i32 = 38;

macro_rules! call {
    ($number:expr $(, $arg:expr)*) => {{
        let given: &[usize] = &[$($arg as usize),*];
        let mut args = [0usize; 6];
        args[..given.len()].copy_from_slice(given);
        // SAFETY: each wrapper below passes pointers to live buffers of the sizes
        // that it names, or none.
        unsafe { syscall($number, args) }
    }};
}

/// What stat says, in the kernel's layout.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Stat {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    nlink: u64,
    /// Type and mode.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    gid: u32,
    _pad: u32,
    rdev: u64,
    /// Size in bytes.
    pub size: i64,
    _times: [u64; 6],
    /// Time of the last change of the inode, s.
    pub changed: i64,
    _rest: [u64; 4],
}

const _: () = assert!(core::mem::size_of::<Stat>() == 144);
const _: () = assert!(core::mem::offset_of!(Stat, changed) == 104);

impl Stat {
    const fn zero() -> Self {
        Stat {
            dev: 0,
            ino: 0,
            nlink: 0,
            mode: 0,
            uid: 0,
            gid: 0,
            _pad: 0,
            rdev: 0,
            size: 0,
            _times: [0; 6],
            changed: 0,
            _rest: [0; 4],
        }
    }

    /// A regular file?
    pub fn is_file(&self) -> bool {
        self.mode & 0o170000 == 0o100000
    }

    /// A socket?
    pub fn is_socket(&self) -> bool {
        self.mode & 0o170000 == 0o140000
    }

    /// A regular file or a directory?
    pub fn is_file_or_directory(&self) -> bool {
        self.is_file() || self.mode & 0o170000 == 0o040000
    }
}

/// fstat.
pub fn fstat(fd: i32) -> Option<Stat> {
    let mut stat = Stat::zero();
    (call!(nr::FSTAT, fd, &raw mut stat) == 0).then_some(stat)
}

/// fstatat, following links.
///
/// # Safety
/// `path` is a C string, or null (the kernel says EFAULT).
pub unsafe fn stat_at(dir: i32, path: *const u8) -> Option<Stat> {
    let mut stat = Stat::zero();
    (call!(nr::NEWFSTATAT, dir, path, &raw mut stat, 0) == 0).then_some(stat)
}

/// fstatat of the name itself.
///
/// # Safety
/// As [`stat_at`].
pub unsafe fn lstat_at(dir: i32, path: *const u8) -> Option<Stat> {
    let mut stat = Stat::zero();
    (call!(nr::NEWFSTATAT, dir, path, &raw mut stat, 0x100) == 0).then_some(stat)
}

#[repr(C)]
struct StatFs {
    kind: i64,
    _rest: [u64; 14],
}

/// The file system's magic number, of a descriptor.
pub fn fs_type(fd: i32) -> Option<u64> {
    let mut fs = StatFs { kind: 0, _rest: [0; 14] };
    (call!(nr::FSTATFS, fd, &raw mut fs) == 0).then_some(fs.kind as u32 as u64)
}

/// Opens for reading, close-on-exec; negative errno on failure.
///
/// # Safety
/// As [`stat_at`].
pub unsafe fn open(dir: i32, path: *const u8, flags: usize) -> isize {
    call!(nr::OPENAT, dir, path, flags | O_CLOEXEC, 0)
}

/// Makes a file that must not exist yet; negative errno on failure.
///
/// # Safety
/// As [`stat_at`].
pub unsafe fn create(path: *const u8, mode: usize) -> isize {
    call!(nr::OPENAT, AT_FDCWD, path, 0o102 | 0o200 | O_NOFOLLOW | O_CLOEXEC, mode)
}

/// close.
pub fn close(fd: i32) {
    call!(nr::CLOSE, fd);
}

/// read; negative errno on failure.
pub fn read(fd: i32, into: &mut [u8]) -> isize {
    call!(nr::READ, fd, into.as_mut_ptr(), into.len())
}

/// pread from the beginning.
pub fn read_start(fd: i32, into: &mut [u8]) -> isize {
    call!(nr::PREAD64, fd, into.as_mut_ptr(), into.len(), 0)
}

/// The current file offset.
pub fn tell(fd: i32) -> i64 {
    call!(nr::LSEEK, fd, 0, 1) as i64
}

/// The flags of an open file description (F_GETFL).
pub fn file_flags(fd: i32) -> isize {
    call!(nr::FCNTL, fd, 3, 0)
}

/// ftruncate.
pub fn truncate(fd: i32, size: usize) -> isize {
    call!(nr::FTRUNCATE, fd, size)
}

/// mkdir; the result does not matter to anybody here.
///
/// # Safety
/// As [`stat_at`].
pub unsafe fn mkdir(path: *const u8) {
    call!(nr::MKDIR, path, 0o755);
}

/// link.
///
/// # Safety
/// As [`stat_at`], both.
pub unsafe fn link(old: *const u8, new: *const u8) -> isize {
    call!(nr::LINK, old, new)
}

/// unlink.
///
/// # Safety
/// As [`stat_at`].
pub unsafe fn unlink(path: *const u8) {
    call!(nr::UNLINK, path);
}

/// A socket's address (`peer`: that of the other end) as the kernel gives it; its
/// length, or negative errno.
pub fn address(fd: i32, peer: bool, into: &mut [u8; 128]) -> isize {
    let mut len = into.len() as u32;
    let number = if peer { nr::GETPEERNAME } else { nr::GETSOCKNAME };
    match call!(number, fd, into.as_mut_ptr(), &raw mut len) {
        0 => len as isize,
        error => error,
    }
}

/// getcwd; the length with its NUL, or negative errno.
pub fn getcwd(into: &mut [u8]) -> isize {
    call!(nr::GETCWD, into.as_mut_ptr(), into.len())
}

/// readlink; the length, or negative errno.
///
/// # Safety
/// As [`stat_at`].
pub unsafe fn readlink(path: *const u8, into: &mut [u8]) -> isize {
    call!(nr::READLINK, path, into.as_mut_ptr(), into.len())
}

/// getdents64.
pub fn list(fd: i32, into: &mut [u8]) -> isize {
    call!(nr::GETDENTS64, fd, into.as_mut_ptr(), into.len())
}

/// A new mapping; null on failure. `fd` -1: anonymous, shared, no swap reserved.
pub fn map(size: usize, writable: bool, fd: i32) -> *mut u8 {
    let protection = if writable { 3 } else { 1 };
    let flags = if fd < 0 { 0x1 | 0x20 | 0x4000 } else { 0x1 };
    let at = call!(nr::MMAP, 0, size, protection, flags, fd, 0);
    if at < 0 { core::ptr::null_mut() } else { at as *mut u8 }
}

/// munmap.
pub fn unmap(at: *mut u8, size: usize) {
    call!(nr::MUNMAP, at, size);
}

/// Moves a mapping over another in one step; false: nothing was moved.
pub fn move_mapping(from: *mut u8, size: usize, to: *mut u8) -> bool {
    // MREMAP_MAYMOVE | MREMAP_FIXED
    call!(nr::MREMAP, from, size, size, 3, to) == to as isize
}

/// Size of a page.
pub const PAGE: usize = 4096;

/// Maps the beginning of a shared mapping a second time; null: no memory.
pub fn map_again(from: *mut u8, size: usize) -> *mut u8 {
    // An old size of 0 with MREMAP_MAYMOVE leaves the old mapping where it is.
    let at = call!(nr::MREMAP, from, 0, size, 1, 0);
    if at < 0 && at > -4096 { core::ptr::null_mut() } else { at as *mut u8 }
}

/// Lets a page read as zero in every forked child; false before Linux 4.14.
pub fn wipe_on_fork(at: *const u8, size: usize) -> bool {
    call!(nr::MADVISE, at, size, 18) == 0
}

/// Is there readable memory at this address, in this page? Asked of the kernel in
/// the cheapest way that changes nothing: a signal mask with a nonsensical `how`
/// is read first (EFAULT) and refused then (EINVAL).
pub fn readable(at: *const u8) -> bool {
    // Eight bytes that do not reach into the next page.
    let at = (at as usize & !7) as *const u8;
    !at.is_null() && call!(nr::RT_SIGPROCMASK, 99, at, 0, 8) != EFAULT
}

/// getpid: never cached, so it tells a child that shares memory from its parent.
pub fn pid() -> i32 {
    call!(nr::GETPID) as i32
}

/// gettid.
pub fn tid() -> i32 {
    call!(nr::GETTID) as i32
}

/// geteuid.
pub fn euid() -> u32 {
    call!(nr::GETEUID) as u32
}

/// Is this thread of this process gone?
pub fn thread_gone(pid: i32, tid: i32) -> bool {
    call!(nr::TGKILL, pid, tid, 0) == -3
}

/// CLOCK_MONOTONIC in ns: the system call itself, which no other preload replaces.
pub fn now() -> u64 {
    let mut time = [0u64; 2];
    call!(nr::CLOCK_GETTIME, 1, &raw mut time);
    time[0] * 1_000_000_000 + time[1]
}

/// When this machine was booted, s since the epoch, by the present clock.
pub fn boot_time() -> i64 {
    let (mut real, mut boot) = ([0u64; 2], [0u64; 2]);
    call!(nr::CLOCK_GETTIME, 0, &raw mut real);
    call!(nr::CLOCK_GETTIME, 7, &raw mut boot);
    real[0] as i64 - boot[0] as i64
}

/// Is the thread running on its alternate signal stack?
pub fn on_alternate_stack() -> bool {
    let mut stack = [0u64; 3];
    call!(nr::SIGALTSTACK, 0, &raw mut stack) == 0 && stack[1] & 1 != 0
}

/// Sleeps on the low half of the barrier while it is `seen`, at most 50 ms: any
/// reader of the page could move waiters to another futex.
pub fn wait_on(barrier: *const u64, seen: u64, bits: u32) {
    let slice = [0u64, 50_000_000];
    let until = now() + slice[1];
    let until = [until / 1_000_000_000, until % 1_000_000_000];
    // FUTEX_WAIT_BITSET (absolute, CLOCK_MONOTONIC); little-endian low half.
    call!(nr::FUTEX, barrier, 9, seen as u32, &raw const until, 0, bits);
}

/// Registers for the freezer's membarrier; false: announce by a locked store.
pub fn register_membarrier() -> bool {
    call!(nr::MEMBARRIER, 4, 0, 0) == 0
}

/// Eight random bytes, or what the clock and the stack give.
pub fn random() -> u64 {
    let mut bytes = 0u64;
    if call!(nr::GETRANDOM, &raw mut bytes, 8, 1) == 8 {
        return bytes;
    }
    now() ^ (&raw const bytes as u64).rotate_left(32) ^ (pid() as u64) << 48
}

/// Ends the process at once.
pub fn die() -> ! {
    loop {
        call!(nr::EXIT_GROUP, 134);
    }
}
