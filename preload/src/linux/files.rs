//! Files, descriptors, directories, and the addresses of sockets.

use super::call::call;
use super::confined;
use super::signals::Blocked;
use crate::text::Path;
use linux_raw_sys::errno::{EINVAL, ENOENT, ENOTDIR};
use linux_raw_sys::general as nr;
use linux_raw_sys::general::{
    AT_EMPTY_PATH, AT_FDCWD, O_CLOEXEC, O_CREAT, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_WRONLY,
};

/// What stat says, in the kernel's layout.
#[repr(C)]
#[derive(Default)]
struct KernelStat {
    dev: u64,
    ino: u64,
    links: u64,
    mode: u32,
    uid: u32,
    _gid: u32,
    _pad: u32,
    _rdev: u64,
    size: i64,
    _times: [u64; 6],
    changed: i64,
    changed_ns: i64,
    _rest: [u64; 3],
}

const _: () = assert!(core::mem::size_of::<KernelStat>() == 144);
const _: () = assert!(core::mem::offset_of!(KernelStat, changed) == 104);

/// What matters of it: the rest is on the stack only while the kernel is asked.
#[derive(Clone, Copy)]
pub struct Stat {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    links: u64,
    /// Type and mode.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Size in bytes.
    pub size: i64,
    /// Time of the last change of the inode, s.
    pub changed: i64,
    /// The ns of it.
    pub changed_ns: i64,
}

/// `ask` is the question: 0 if the kernel has filled in the answer.
#[inline(always)]
fn answer(ask: impl FnOnce(*mut KernelStat) -> isize) -> Option<Stat> {
    let mut stat = KernelStat::default();
    (ask(&raw mut stat) == 0).then(|| {
        let KernelStat { dev, ino, links, mode, uid, size, changed, changed_ns, .. } = stat;
        Stat { dev, ino, links, mode, uid, size, changed, changed_ns }
    })
}

impl Stat {
    pub fn is_file(&self) -> bool {
        self.mode & nr::S_IFMT == nr::S_IFREG
    }

    pub fn is_socket(&self) -> bool {
        self.mode & nr::S_IFMT == nr::S_IFSOCK
    }

    pub fn is_file_or_directory(&self) -> bool {
        self.is_file() || self.mode & nr::S_IFMT == nr::S_IFDIR
    }

    /// A file that can be reached under more than one name.
    pub fn has_other_names(&self) -> bool {
        self.is_file() && self.links > 1
    }

    pub fn is_symbolic_link(&self) -> bool {
        self.mode & nr::S_IFMT == nr::S_IFLNK
    }
}

/// None too in a process that has confined itself: the question may be deadly.
#[inline(never)]
pub fn fstat(fd: i32) -> Option<Stat> {
    if confined::by_itself() {
        return None;
    }
    answer(|stat| call!(nr::__NR_fstat, fd, stat))
}

/// fstat at the start: under a filter by the call that the loader makes for it.
#[inline(never)]
pub fn fstat_at_start(fd: i32) -> Option<Stat> {
    if !confined::at_all() {
        return fstat(fd);
    }
    let none = c"".as_ptr();
    answer(|stat| call!(nr::__NR_newfstatat, fd, none, stat, AT_EMPTY_PATH))
}

/// fstatat, following links.
///
/// # Safety
/// `path` is a C string, or null (the kernel says EFAULT).
#[inline(never)]
pub unsafe fn stat_at(dir: i32, path: *const u8) -> Option<Stat> {
    answer(|stat| call!(nr::__NR_newfstatat, dir, path, stat, 0))
}

/// fstatat of the name itself.
///
/// # Safety
/// As [`stat_at`].
#[inline(never)]
pub unsafe fn lstat_at(dir: i32, path: *const u8) -> Option<Stat> {
    answer(|stat| call!(nr::__NR_newfstatat, dir, path, stat, nr::AT_SYMLINK_NOFOLLOW))
}

/// Is this file (device, inode) there under this name? Where the kernel does not tell (a process that
/// has given up its rights may not look there any more), it may be.
///
/// # Safety
/// As [`stat_at`].
#[inline(never)]
pub unsafe fn may_be_at(path: *const u8, file: (u64, u64)) -> bool {
    let mut error = 0;
    let stat = answer(|stat| {
        error = call!(nr::__NR_newfstatat, AT_FDCWD, path, stat, nr::AT_SYMLINK_NOFOLLOW);
        error
    });
    match stat {
        Some(stat) => (stat.dev, stat.ino) == file,
        None => ![ENOENT, ENOTDIR].iter().any(|errno| error == -(*errno as isize)),
    }
}

#[repr(C)]
struct StatFs {
    kind: i64,
    _rest: [u64; 14],
}

/// The file system's magic number, of a descriptor.
#[inline(never)]
pub fn fs_type(fd: i32) -> Option<u32> {
    let mut fs = StatFs { kind: 0, _rest: [0; 14] };
    (call!(nr::__NR_fstatfs, fd, &raw mut fs) == 0).then_some(fs.kind as u32)
}

/// Does it lie in a file system that is gone with the machine's boot?
pub fn lives_in_memory(fd: i32) -> bool {
    matches!(fs_type(fd), Some(nr::TMPFS_MAGIC | nr::RAMFS_MAGIC))
}

/// Opens for reading, close-on-exec; negative errno on failure.
///
/// # Safety
/// As [`stat_at`].
pub unsafe fn open(dir: i32, path: *const u8, flags: u32) -> isize {
    call!(nr::__NR_openat, dir, path, flags | O_CLOEXEC, 0)
}

/// Opens for reading what may be anything: no FIFO holds it up, no terminal becomes this
/// process's own. Negative errno on failure.
///
/// # Safety
/// As [`stat_at`].
pub unsafe fn open_carefully(path: *const u8, flags: u32) -> isize {
    // SAFETY: the caller's promise about `path`.
    unsafe { open(AT_FDCWD, path, flags | O_NONBLOCK | O_NOCTTY) }
}

/// Makes a file that must not exist yet; negative errno on failure.
///
/// # Safety
/// As [`stat_at`].
pub unsafe fn create(path: *const u8, mode: usize) -> isize {
    call!(
        nr::__NR_openat,
        AT_FDCWD,
        path,
        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
        mode
    )
}

pub fn close(fd: i32) {
    call!(nr::__NR_close, fd);
}

/// read; negative errno on failure.
pub fn read(fd: i32, into: &mut [u8]) -> isize {
    call!(nr::__NR_read, fd, into.as_mut_ptr(), into.len())
}

/// pread; negative errno on failure.
pub fn read_at(fd: i32, into: &mut [u8], offset: usize) -> isize {
    call!(nr::__NR_pread64, fd, into.as_mut_ptr(), into.len(), offset)
}

/// write; negative errno on failure.
pub fn write(fd: i32, bytes: &[u8]) -> isize {
    call!(nr::__NR_write, fd, bytes.as_ptr(), bytes.len())
}

/// fchmod: the mode as it is given, whatever the umask.
pub fn set_mode(fd: i32, mode: usize) {
    call!(nr::__NR_fchmod, fd, mode);
}

/// Locks one byte for reading, for as long as the open file lasts; false: that could not be.
pub fn lock_byte_for_reading(fd: i32, at: u64) -> bool {
    let lock = nr::flock {
        l_type: nr::F_RDLCK as i16,
        l_whence: nr::SEEK_SET as i16,
        l_start: at as i64,
        l_len: 1,
        l_pid: 0,
    };
    call!(nr::__NR_fcntl, fd, nr::F_OFD_SETLK, &raw const lock) == 0
}

/// The current file offset.
pub fn tell(fd: i32) -> i64 {
    call!(nr::__NR_lseek, fd, 0, nr::SEEK_CUR) as i64
}

/// Was this descriptor's file opened for writing? Where that must not be asked, it was.
pub fn opened_for_writing(fd: i32) -> bool {
    confined::by_itself()
        || call!(nr::__NR_fcntl, fd, nr::F_GETFL, 0) as usize & nr::O_ACCMODE as usize > 0
}

/// mkdir, with this mode whatever the umask; the result does not matter here.
///
/// # Safety
/// As [`stat_at`].
pub unsafe fn mkdir(path: *const u8) {
    const MODE: usize = 0o755;
    if call!(nr::__NR_mkdir, path, MODE) == 0 {
        call!(nr::__NR_chmod, path, MODE);
    }
}

/// # Safety
/// As [`stat_at`], both.
pub unsafe fn link(old: *const u8, new: *const u8) -> isize {
    call!(nr::__NR_link, old, new)
}

/// # Safety
/// As [`stat_at`].
pub unsafe fn unlink(path: *const u8) {
    call!(nr::__NR_unlink, path);
}

/// A socket's address (`peer`: that of the other end) as the kernel gives it; its
/// length, or negative errno.
pub fn address(fd: i32, peer: bool, into: &mut [u8; 128]) -> isize {
    let mut len = into.len() as u32;
    let number = if peer { nr::__NR_getpeername } else { nr::__NR_getsockname };
    match call!(number, fd, into.as_mut_ptr(), &raw mut len) {
        0 => len as isize,
        error => error,
    }
}

/// getcwd; the length with its NUL, or negative errno.
pub fn getcwd(into: &mut [u8]) -> isize {
    call!(nr::__NR_getcwd, into.as_mut_ptr(), into.len())
}

/// readlink; the length, or negative errno.
///
/// # Safety
/// As [`stat_at`].
pub unsafe fn readlink(path: *const u8, into: &mut [u8]) -> isize {
    call!(nr::__NR_readlink, path, into.as_mut_ptr(), into.len())
}

/// Directory entries as getdents64 gives them; 0 at the end, or negative errno.
pub fn list(fd: i32, into: &mut [u8]) -> isize {
    call!(nr::__NR_getdents64, fd, into.as_mut_ptr(), into.len())
}

/// The beginning of a small file; its length, or negative errno; of what is no regular file,
/// nothing is read (EINVAL).
///
/// # Safety
/// As [`stat_at`].
pub unsafe fn read_file(_open: &Blocked, path: *const u8, into: &mut [u8]) -> Result<usize, isize> {
    // SAFETY: the caller's promise about `path`.
    let fd = unsafe { open_carefully(path, 0) };
    if fd < 0 {
        return Err(fd);
    }
    let fd = fd as i32;
    let is_file = fstat_at_start(fd).is_some_and(|stat| stat.is_file());
    let mut len = if is_file { Ok(0) } else { Err(-(EINVAL as isize)) };
    while let Ok(read_so_far) = len
        && let Some(room) = into.get_mut(read_so_far..).filter(|room| !room.is_empty())
    {
        let got = read(fd, room);
        if got == 0 {
            break;
        }
        len = if got < 0 { Err(got) } else { Ok(read_so_far + got as usize) };
    }
    close(fd);
    len
}

/// The path of the program that this process runs.
pub fn executable() -> Path {
    let mut path = Path::new();
    // SAFETY: the link's name is a literal C string.
    path.fill(|buffer| unsafe { readlink(c"/proc/self/exe".as_ptr().cast(), buffer) });
    path
}
