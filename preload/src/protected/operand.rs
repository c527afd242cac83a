//! Does a call change a protected file?
//!
//! Asked on slow paths only: under a closed barrier, and for the first change
//! under a lock. Either is enough: the device of a protected file system, or a
//! path below a protected directory (an overlay shows several devices for one
//! directory, a chroot other paths). What is in doubt is protected; so is what must not be
//! asked, in a process that has confined itself.

use super::paths::{absolute, with_path_of};
use super::remembered::PROTECTED;
use super::streams::any_pending;
use super::{hand_over, unasked};
use crate::linux::confined;
use crate::linux::files::{Stat, close, fs_type, fstat, lstat_at, open, stat_at};
use crate::program_memory::program_string;
use crate::resolve::libc::fileno;
use crate::text::Path;
use crate::this_process::settings::settings;
use gate::profile::{self, Key};
use linux_raw_sys::general::{
    ANON_INODE_FS_MAGIC, BINFMTFS_MAGIC, BPF_FS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
    DEBUGFS_MAGIC, DEVPTS_SUPER_MAGIC, EFIVARFS_MAGIC, HUGETLBFS_MAGIC, O_PATH, PIPEFS_MAGIC,
    PROC_SUPER_MAGIC, PSTOREFS_MAGIC, RAMFS_MAGIC, SECURITYFS_MAGIC, SELINUX_MAGIC, SOCKFS_MAGIC,
    SYSFS_MAGIC, TMPFS_MAGIC, TRACEFS_MAGIC,
};

/// Of the kernel's own header only (it is not in linux/magic.h).
const MQUEUE_MAGIC: u32 = 0x19800202;
/// Of the kernel's own header only (it is not in linux/magic.h).
const CONFIGFS_MAGIC: u32 = 0x62656570;

/// File systems that do not lie on storage.
const IN_MEMORY: [u32; 21] = [
    TMPFS_MAGIC,
    RAMFS_MAGIC,
    PROC_SUPER_MAGIC,
    SYSFS_MAGIC,
    DEVPTS_SUPER_MAGIC,
    CGROUP_SUPER_MAGIC,
    CGROUP2_SUPER_MAGIC,
    DEBUGFS_MAGIC,
    TRACEFS_MAGIC,
    SECURITYFS_MAGIC,
    PIPEFS_MAGIC,
    SOCKFS_MAGIC,
    ANON_INODE_FS_MAGIC,
    MQUEUE_MAGIC,
    HUGETLBFS_MAGIC,
    BPF_FS_MAGIC,
    CONFIGFS_MAGIC,
    SELINUX_MAGIC,
    EFIVARFS_MAGIC,
    PSTOREFS_MAGIC,
    BINFMTFS_MAGIC,
];

/// The file, or files, that a call is about to change.
#[derive(Clone, Copy)]
pub enum Operand {
    /// The file of a descriptor.
    Fd(i32),
    /// How a descriptor's file is owned and allowed: that of a pipe or device too.
    Attributes(i32),
    /// A name: directory descriptor, path.
    Name(i32, *const u8),
    /// The file of a name, to be made or emptied: a pipe or device is neither.
    Opened(i32, *const u8),
    /// Two names.
    Names(i32, *const u8, i32, *const u8),
    /// A stream's file.
    Stream(u64),
    /// All streams with something to write.
    Streams,
    /// Something protected, without a look (fork under a lock).
    Anything,
}

/// Does the call change a protected file?
///
/// # Safety
/// Paths in `operand` are what the program passed: C strings or null.
pub unsafe fn protected(operand: &Operand) -> bool {
    // SAFETY: the paths in `operand` are the program's, by the caller's promise.
    unsafe {
        match *operand {
            Operand::Fd(fd) => descriptor(fd),
            Operand::Attributes(fd) => of_descriptor(fd, true),
            Operand::Name(dir, path) => name(dir, path, true),
            Operand::Opened(dir, path) => name(dir, path, false),
            Operand::Names(a, path_a, b, path_b) => name(a, path_a, true) || name(b, path_b, true),
            Operand::Stream(stream) => descriptor(fileno(stream)),
            Operand::Streams => any_stream(),
            Operand::Anything => true,
        }
    }
}

/// Has any stream something to write to a protected file?
pub fn any_stream() -> bool {
    any_pending(descriptor)
}

/// Is a descriptor's file protected?
pub fn descriptor(fd: i32) -> bool {
    of_descriptor(fd, false)
}

/// `special`: also that of a pipe, socket or device. What is written to one goes
/// elsewhere, but its name, mode and owner lie on storage like those of any file.
fn of_descriptor(fd: i32, special: bool) -> bool {
    if confined::by_itself() {
        return unasked::may_be_protected(fd);
    }
    let Some(stat) = fstat(fd) else { return false };
    if !special && !stat.is_file_or_directory() {
        return stat.is_socket() && hand_over::is_one(fd);
    }
    if PROTECTED.has(stat.dev, stat.ino) {
        return true;
    }
    let by_device = on_protected_device(&stat, || fs_type(fd));
    let protected = with_path_of(fd, true, |path| is_protected_path(by_device, path));
    if protected {
        PROTECTED.put(stat.dev, stat.ino);
    }
    protected
}

/// Is what this name stands for, or the directory that it is in, protected?
///
/// # Safety
/// `path` is a C string or null.
unsafe fn name(dir: i32, path: *const u8, special: bool) -> bool {
    if confined::by_itself() {
        return true;
    }
    if path.is_null() {
        // utimensat(fd, NULL): the descriptor itself.
        return of_descriptor(dir, special);
    }
    // SAFETY: the program's path, which it leaves as it is until its call has returned.
    let Some(text) = (unsafe { program_string(path) }) else { return false };
    if text.is_empty() {
        // AT_EMPTY_PATH: the descriptor itself.
        return of_descriptor(dir, special);
    }
    // One buffer for both: threads with the smallest stacks come here too.
    let mut buffer = Path::new();
    // `mkdir("new/")`: what stands before the last slash is not there yet.
    let last = text.iter().rposition(|c| *c != b'/').unwrap_or(0);
    match text.iter().take(last).rposition(|c| *c == b'/') {
        Some(0) => buffer.push(b"/"),
        Some(at) => buffer.push(text.get(..at).unwrap_or(b".")),
        None => buffer.push(b"."),
    }
    if buffer.too_long {
        return true;
    }
    // SAFETY: `buffer` always ends with a NUL; `path` is the program's, and was read to its
    // end just now.
    let by_device = unsafe {
        let file = stat_at(dir, path);
        if !special && file.is_some_and(|stat| !stat.is_file_or_directory()) {
            return false;
        }
        let parent = buffer.c();
        stat_at(dir, parent).is_some_and(|stat| by_path(dir, parent, &stat))
            || file.map_or_else(|| is_link(dir, path), |stat| by_path(dir, path, &stat))
    };
    absolute(dir, text, &mut buffer);
    buffer.too_long || is_protected_path(by_device, buffer.bytes())
}

/// A symbolic link to nothing: an open makes a file, at a place that is not known here.
///
/// # Safety
/// `path` is a C string.
unsafe fn is_link(dir: i32, path: *const u8) -> bool {
    // SAFETY: a C string, by the caller's promise.
    unsafe { lstat_at(dir, path) }.is_some_and(|stat| stat.is_symbolic_link())
}

/// # Safety
/// `path` is a C string.
unsafe fn by_path(dir: i32, path: *const u8, stat: &Stat) -> bool {
    on_protected_device(stat, || {
        // O_PATH: opens nothing, and its close ends no lock that is held on the file.
        // SAFETY: a C string, by the caller's promise.
        let fd = unsafe { open(dir, path, O_PATH) };
        if fd < 0 {
            return None;
        }
        let kind = fs_type(fd as i32);
        close(fd as i32);
        kind
    })
}

fn on_protected_device(stat: &Stat, file_system: impl FnOnce() -> Option<u32>) -> bool {
    let settings = settings();
    if settings.paths().is_empty() {
        return file_system().is_none_or(|kind| !IN_MEMORY.contains(&kind));
    }
    settings.devices().contains(&stat.dev)
}

fn is_protected_path(by_device: bool, path: &[u8]) -> bool {
    let settings = settings();
    let below = |directory: &[u8]| {
        let directory = directory.strip_suffix(b"/").unwrap_or(directory);
        path.strip_prefix(directory).is_some_and(|rest| rest.first().is_none_or(|c| *c == b'/'))
    };
    let mut paths = settings.paths().split(|c| *c == b':').filter(|p| !p.is_empty());
    let named = paths.any(below);
    if !by_device && !named {
        return false;
    }
    // What is excluded everywhere (/dev, /var/log) is not excluded below a directory
    // that was named.
    let excluded = if named {
        settings.given(Key::Exclude, path)
    } else {
        settings.matches(Key::Exclude, path)
    };
    !(excluded || listed(settings.exclude(), path))
}

fn listed(patterns: &[u8], path: &[u8]) -> bool {
    patterns.split(|c| *c == b':').any(|p| !p.is_empty() && profile::glob(p, path))
}

/// Is this the content of a file whose writer may be stopped half-way?
pub fn parkable(operand: &Operand) -> bool {
    let by_path = |path: &[u8]| settings().given(Key::Parkable, path);
    match *operand {
        Operand::Fd(fd) | Operand::Attributes(fd) => with_path_of(fd, false, by_path),
        Operand::Stream(stream) => with_path_of(fileno(stream), false, by_path),
        Operand::Name(_, name) | Operand::Opened(_, name) => {
            // SAFETY: the program's path, which it leaves as it is until its call has returned.
            unsafe { program_string(name) }.is_some_and(by_path)
        }
        _ => false,
    }
}
