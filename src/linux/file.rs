//! Locks on files, their cached attributes, random bytes.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An exclusive flock, without waiting. The file comes back if another has it.
pub fn try_lock(file: File) -> io::Result<Result<Flock<File>, File>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Ok(lock)),
        Err((file, Errno::EWOULDBLOCK)) => Ok(Err(file)),
        Err((_, e)) => Err(e.into()),
    }
}

/// Locks one byte of a file, which may be open for reading only, until its description is closed for
/// good. An error: another has it for writing, or the kernel knows no such locks.
#[cfg(test)]
pub fn lock_byte_for_reading(file: &File, at: u64) -> io::Result<()> {
    let lock = libc::flock {
        l_type: libc::F_RDLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: at as libc::off_t,
        l_len: 1,
        l_pid: 0,
    };
    let ask = nix::fcntl::FcntlArg::F_OFD_SETLK(&lock);
    nix::fcntl::fcntl(file, ask).map(drop).map_err(io::Error::from)
}

/// ramfs has no constant in libc (linux/magic.h).
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Does it lie in a file system that is gone with the machine's boot?
pub fn lives_in_memory(file: &File) -> bool {
    fstatfs(file).is_ok_and(|fs| [TMPFS_MAGIC, RAMFS_MAGIC].contains(&fs.filesystem_type()))
}

/// A path for the kernel.
pub fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// Bytes that cannot be guessed; none if the kernel has none.
pub fn random() -> Option<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: `bytes` is writable for the length that is given.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    (got == bytes.len() as isize).then(|| u64::from_ne_bytes(bytes))
}

/// What a file is, as the kernel remembers it: without asking a file system that may answer
/// no more (a hung FUSE server, NFS).
pub struct CachedStat {
    /// Type and permissions.
    pub mode: u32,
    /// Device, as `stat` says it.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// How many names it has; a mount of this file alone is one more. 0: it was removed.
    pub names: u32,
}

impl CachedStat {
    /// Is it of this type (`S_IFREG`, ...)?
    pub fn is(&self, kind: u32) -> bool {
        self.mode & libc::S_IFMT == kind
    }
}

/// Looks at a path's target that way; for links like /proc/PID/fd/N.
pub fn cached_stat(path: &Path) -> Option<CachedStat> {
    statx(libc::AT_FDCWD, path, 0).map(|found| CachedStat {
        mode: found.stx_mode as u32,
        dev: libc::makedev(found.stx_dev_major, found.stx_dev_minor),
        ino: found.stx_ino,
        names: found.stx_nlink + (found.stx_attributes & MOUNT_ROOT != 0) as u32,
    })
}

/// Is this name in this directory the only one that the file (device and inode) has, and no mount of it?
/// False: it is not, or that cannot be told (before Linux 5.8).
pub fn is_its_only_name(dir: BorrowedFd<'_>, name: &OsStr, (dev, ino): (u64, u64)) -> bool {
    statx(dir.as_raw_fd(), Path::new(name), libc::AT_SYMLINK_NOFOLLOW).is_some_and(|found| {
        (libc::makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino) == (dev, ino)
            && found.stx_nlink == 1
            && found.stx_attributes_mask & MOUNT_ROOT != 0
            && found.stx_attributes & MOUNT_ROOT == 0
    })
}

/// It is the top of a mount.
const MOUNT_ROOT: u64 = libc::STATX_ATTR_MOUNT_ROOT as u64;

fn statx(dir: i32, path: &Path, flags: i32) -> Option<libc::statx> {
    let path = c_path(path);
    // SAFETY: a statx consists of integers, for which zero is valid.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let flags = flags | libc::AT_STATX_DONT_SYNC;
    let wanted = libc::STATX_TYPE | libc::STATX_MODE | libc::STATX_INO | libc::STATX_NLINK;
    // SAFETY: `path` ends with a NUL, and `found` is one statx for the kernel to fill.
    let done = unsafe { libc::statx(dir, path.as_ptr(), flags, wanted, &mut found) };
    (done == 0).then_some(found)
}
