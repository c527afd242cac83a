//! Does a call change a protected file?
//!
//! Asked on slow paths only: under a closed barrier, and for the first change
//! under a lock. Either is enough: the device of a protected file system, or a
//! path below a protected directory (an overlay shows several devices for one
//! directory, a chroot other paths). What is in doubt is protected.

use crate::state::{FOR_A_TIME, PROTECTED, settings};
use crate::sys::{self, AT_FDCWD, Stat};
use crate::text::{self, Path, program_string};
use core::sync::atomic::Ordering::{Relaxed, Release};
use gate::locks::Lock;
use gate::profile::{self, Key};
use gate::region::Header;

/// File systems that do not lie on storage: tmpfs, ramfs, proc, sysfs, devpts,
/// cgroup, cgroup2, debugfs, tracefs, securityfs, pipefs, sockfs, anon_inode,
/// mqueue, hugetlbfs, bpf, configfs, selinuxfs, efivarfs, pstore, binfmt_misc.
const IN_MEMORY: [u64; 21] = [
    0x0102_1994,
    0x8584_58f6,
    0x9fa0,
    0x6265_6572,
    0x1cd1,
    0x27_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x5049_5045,
    0x534f_434b,
    0x0904_1934,
    0x1980_0202,
    0x9584_58f6,
    0xcafe_4a11,
    0x6265_6570,
    0xf97c_ff8c,
    0xde5e_81e4,
    0x6165_676c,
    0x4249_4e4d,
];

/// What a call is about to change.
#[derive(Clone, Copy)]
pub enum Target {
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
/// Paths in `target` are what the program passed: C strings or null.
pub unsafe fn protected(target: &Target) -> bool {
    // SAFETY: as for us.
    unsafe {
        match *target {
            Target::Fd(fd) => descriptor(fd),
            Target::Attributes(fd) => of_descriptor(fd, true),
            Target::Name(dir, path) => name(dir, path, true),
            Target::Opened(dir, path) => name(dir, path, false),
            Target::Names(a, path_a, b, path_b) => name(a, path_a, true) || name(b, path_b, true),
            Target::Stream(stream) => descriptor(crate::resolve::fileno(stream)),
            Target::Streams => crate::rules::stdio::any_pending(),
            Target::Anything => true,
        }
    }
}

/// Is a descriptor's file protected?
pub fn descriptor(fd: i32) -> bool {
    of_descriptor(fd, false)
}

/// `special`: also that of a pipe, socket or device. What is written to one goes
/// elsewhere, but its name, mode and owner lie on storage like anybody's.
fn of_descriptor(fd: i32, special: bool) -> bool {
    let Some(stat) = sys::fstat(fd) else { return false };
    if !special && !stat.is_file_or_directory() {
        return stat.is_socket() && crate::hand_over::is_one(fd);
    }
    if PROTECTED.has(stat.dev, stat.ino) {
        return true;
    }
    let by_device = on_protected_device(&stat, || sys::fs_type(fd));
    let protected = with_path_of(fd, |path| judge(by_device, path));
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
    if path.is_null() {
        // utimensat(fd, NULL): the descriptor itself.
        return of_descriptor(dir, special);
    }
    // SAFETY: as for us.
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
    // SAFETY: `buffer` is NUL-terminated, `path` the program's.
    let by_device = unsafe {
        let file = sys::stat_at(dir, path);
        if !special && file.is_some_and(|stat| !stat.is_file_or_directory()) {
            return false;
        }
        let parent = buffer.c();
        sys::stat_at(dir, parent).is_some_and(|stat| by_path(dir, parent, &stat))
            || file.map_or_else(|| is_link(dir, path), |stat| by_path(dir, path, &stat))
    };
    absolute(dir, text, &mut buffer);
    buffer.too_long || judge(by_device, buffer.bytes())
}

/// Makes a name absolute.
fn absolute(dir: i32, text: &[u8], buffer: &mut Path) {
    buffer.clear();
    if !text.starts_with(b"/") {
        if dir == AT_FDCWD {
            buffer.fill(sys::getcwd);
            buffer.trim_end(0);
        } else {
            fill_path_of(dir, buffer);
        }
        buffer.push(b"/");
    }
    buffer.push(text.strip_prefix(b"./").unwrap_or(text));
}

/// The same of a dotlock whose name may be relative.
#[inline(never)]
pub fn note_dotlock_name(header: &Header, ino: u64, dir: i32, name: &[u8]) {
    let mut path = Path::new();
    absolute(dir, name, &mut path);
    note_dotlock(header, ino, if path.too_long { &[] } else { path.bytes() });
}

/// Puts down where a dotlock lies, for the report: it has no descriptor that would tell.
pub fn note_dotlock(header: &Header, ino: u64, bytes: &[u8]) {
    let len = if bytes.len() <= header.dotlock_path.len() { bytes.len() } else { 0 };
    header.dotlock_len.store(0, Release);
    for (to, from) in header.dotlock_path.iter().zip(bytes) {
        to.store(*from, Relaxed);
    }
    header.dotlock_ino.store(ino, Relaxed);
    header.dotlock_len.store(len as u32, Release);
}

/// A symbolic link to nothing: an open makes a file, who knows where.
unsafe fn is_link(dir: i32, path: *const u8) -> bool {
    // SAFETY: as for the caller.
    unsafe { sys::lstat_at(dir, path) }.is_some_and(|stat| stat.mode & 0o170000 == 0o120000)
}

unsafe fn by_path(dir: i32, path: *const u8, stat: &Stat) -> bool {
    on_protected_device(stat, || {
        // SAFETY: as for the caller. O_PATH: opens nothing, closes no lock that
        // anybody could hold on it.
        let fd = unsafe { sys::open(dir, path, 0o10000000) };
        if fd < 0 {
            return None;
        }
        let kind = sys::fs_type(fd as i32);
        sys::close(fd as i32);
        kind
    })
}

fn on_protected_device(stat: &Stat, fs_type: impl FnOnce() -> Option<u64>) -> bool {
    let settings = settings();
    if settings.paths.bytes().is_empty() {
        return fs_type().is_none_or(|kind| !IN_MEMORY.contains(&kind));
    }
    settings.devices.iter().take(settings.device_count).any(|device| *device == stat.dev)
}

fn judge(by_device: bool, path: &[u8]) -> bool {
    let settings = settings();
    let below = |directory: &[u8]| {
        let directory = directory.strip_suffix(b"/").unwrap_or(directory);
        path.strip_prefix(directory).is_some_and(|rest| rest.first().is_none_or(|c| *c == b'/'))
    };
    let mut paths = settings.paths.bytes().split(|c| *c == b':').filter(|p| !p.is_empty());
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
    !(excluded || listed(settings.exclude.bytes(), path))
}

fn listed(patterns: &[u8], path: &[u8]) -> bool {
    patterns.split(|c| *c == b':').any(|p| !p.is_empty() && profile::glob(p, path))
}

/// Is this the content of a file whose writer may be stopped half-way?
pub fn parkable(target: &Target) -> bool {
    let by_path = |path: &[u8]| settings().given(Key::Parkable, path);
    match *target {
        Target::Fd(fd) | Target::Attributes(fd) => with_path_of(fd, by_path),
        Target::Stream(stream) => with_path_of(crate::resolve::fileno(stream), by_path),
        Target::Name(_, name) | Target::Opened(_, name) => {
            // SAFETY: the program's own path, as it passed it to the call.
            unsafe { program_string(name) }.is_some_and(by_path)
        }
        _ => false,
    }
}

/// What `judge` says to the path of a descriptor as the kernel shows it; empty where
/// /proc is not there. The buffer is on the stack here only, once.
#[inline(never)]
pub fn with_path_of(fd: i32, judge: impl FnOnce(&[u8]) -> bool) -> bool {
    let mut path = Path::new();
    fill_path_of(fd, &mut path);
    judge(path.bytes())
}

fn fill_path_of(fd: i32, path: &mut Path) {
    if fd < 0 {
        return;
    }
    let mut link = text::Buffer::<32>::new();
    link.push(b"/proc/self/fd/");
    link.push_number(fd as u64);
    // SAFETY: `link` is NUL-terminated.
    path.fill(|buffer| unsafe { sys::readlink(link.c(), buffer) });
}

/// Is a lock with this path held for life, by the profile's patterns?
pub fn path_for_life(path: &[u8]) -> bool {
    !path.is_empty() && settings().matches(Key::LifetimeLock, path)
}

/// Is this lock one that its program holds for life, by the profile's patterns?
pub fn lock_for_life(lock: &Lock) -> bool {
    if FOR_A_TIME.has(lock.dev, lock.ino) {
        return false;
    }
    let for_life = with_path_of(lock.fd, path_for_life);
    if !for_life {
        FOR_A_TIME.put(lock.dev, lock.ino);
    }
    for_life
}

/// Is the locked file a pid file, because it contains this process's id and
/// nothing else? Looked at before a fork: daemons fork their services under it.
pub fn is_pid_file(lock: &Lock) -> bool {
    let mut content = [0u8; 24];
    let len = sys::read_start(lock.fd, &mut content);
    if !(1..=16).contains(&len) {
        return false;
    }
    let text = content.get(..len as usize).unwrap_or(&[]).trim_ascii();
    crate::text::number(text).is_some_and(|(pid, rest)| rest.is_empty() && pid == sys::pid() as u64)
}
