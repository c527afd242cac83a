//! `/proc/PID/fdinfo` and `/proc/locks`: the kernel's locks, and how descriptors are open.

use crate::linux::clock;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;

/// The kinds of locks that the kernel tells apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum KernelLockKind {
    /// fcntl F_SETLK, lockf.
    Posix,
    /// flock.
    Flock,
    /// fcntl F_OFD_SETLK.
    Ofd,
    /// fcntl F_SETLEASE.
    Lease,
}

/// One lock, as the kernel shows it.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct KernelLock {
    /// Its kind.
    pub kind: KernelLockKind,
    /// For writing. (A lease that is being broken counts as one until it is given up.)
    pub write: bool,
    /// The process that took it; -1: of a description, 0: not in our PID namespace, or dead.
    pub pid: i32,
    /// `MAJOR:MINOR:INODE`. Good for comparing with what the kernel prints elsewhere: `stat` may
    /// show another device.
    pub file: String,
    /// First and last byte, as printed.
    pub range: String,
}

impl KernelLock {
    /// Inode of the locked file.
    pub fn ino(&self) -> u64 {
        self.file.rsplit(':').next().and_then(|ino| ino.parse().ok()).unwrap_or(0)
    }
}

/// A lock on a descriptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescriptorLock {
    /// Number of the descriptor.
    pub fd: i32,
    /// What the kernel says of it.
    pub lock: KernelLock,
    /// Guards writing: for writing, or an flock shared on a descriptor open for writing.
    pub guards: bool,
}

/// `1: POSIX  ADVISORY  WRITE 1234 08:02:5678 0 EOF`; none for one that only waits (`->`).
fn parse(line: &str) -> Option<KernelLock> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let kind = match fields.next()? {
        "POSIX" => KernelLockKind::Posix,
        "FLOCK" => KernelLockKind::Flock,
        "OFDLCK" => KernelLockKind::Ofd,
        "LEASE" => KernelLockKind::Lease,
        _ => return None,
    };
    let breaking = fields.next()? == "BREAKING";
    let write = fields.next()? == "WRITE" || breaking;
    let pid = fields.next()?.parse().ok()?;
    let file = fields.next()?.to_owned();
    let range = format!("{} {}", fields.next()?, fields.next()?);
    Some(KernelLock { kind, write, pid, file, range })
}

/// Every lock that the kernel shows us (`/proc/locks`).
pub fn all() -> Vec<KernelLock> {
    fs::read_to_string("/proc/locks").unwrap_or_default().lines().filter_map(parse).collect()
}

/// The locks on all descriptors of a process, or of a thread (`PID/task/TID`). None: they may not
/// be seen, or there are more than can be looked at in time.
pub fn on_descriptors(of: &str) -> Option<Vec<DescriptorLock>> {
    let until = clock::now_ns() + LOOK_NS;
    let mut found = Vec::new();
    for info in fdinfos(of)? {
        if clock::now_ns() >= until {
            return None;
        }
        found.extend(info.locks_on());
    }
    Some(found)
}

/// One descriptor of a process, as `fdinfo` shows it.
struct FdInfo {
    /// Its number, as the directory names it.
    fd: OsString,
    text: String,
}

impl FdInfo {
    fn locks(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter(|line| line.starts_with("lock:"))
    }

    fn has_write_lock(&self) -> bool {
        self.locks().any(|line| line.contains(" WRITE "))
    }

    /// The locks on it.
    fn locks_on(&self) -> Vec<DescriptorLock> {
        let Some(fd) = self.fd.to_str().and_then(|fd| fd.parse().ok()) else { return Vec::new() };
        let locks = self.locks().filter_map(|line| parse(line.strip_prefix("lock:")?));
        let guarded = |lock: KernelLock| {
            let shared = lock.kind == KernelLockKind::Flock && self.is_open_for_writing();
            DescriptorLock { fd, guards: lock.write || shared, lock }
        };
        locks.map(guarded).collect()
    }

    /// A directory, or O_PATH, never is.
    fn is_open_for_writing(&self) -> bool {
        let digits = self.text.lines().find_map(|line| line.strip_prefix("flags:"));
        digits
            .and_then(|digits| i32::from_str_radix(digits.trim(), 8).ok())
            .is_some_and(|f| f & libc::O_PATH == 0 && f & libc::O_ACCMODE != libc::O_RDONLY)
    }
}

/// A process may have a million descriptors, and no server has as many thousands: what this time does
/// not suffice for is not looked at.
const LOOK_NS: u64 = 50_000_000;

/// None: they may not be seen. A descriptor that cannot be read is left out.
fn fdinfos(of: &str) -> Option<impl Iterator<Item = FdInfo> + use<>> {
    let infos = fs::read_dir(format!("/proc/{of}/fdinfo")).ok()?.flatten();
    Some(infos.filter_map(|info| {
        let text = fs::read_to_string(info.path()).ok()?;
        Some(FdInfo { fd: info.file_name(), text })
    }))
}

/// Does the kernel know a lock of this process that guards writing, on a file that it has open?
pub fn holds_a_guarding_lock(pid: i32) -> bool {
    let until = clock::now_ns() + LOOK_NS;
    // What could not be looked at in time may hold one.
    let found =
        |info: FdInfo| info.locks_on().iter().any(|lock| lock.guards) || clock::now_ns() >= until;
    fdinfos(&pid.to_string()).is_some_and(|mut infos| infos.any(found))
}

/// The descriptors on which this process holds a write lock. None: they may not be seen.
pub fn write_locked_fds(pid: i32) -> Option<Vec<OsString>> {
    let until = clock::now_ns() + LOOK_NS;
    let infos = fdinfos(&pid.to_string())?.take_while(|_| clock::now_ns() < until);
    Some(infos.filter(FdInfo::has_write_lock).map(|info| info.fd).collect())
}

/// Does the kernel know no lock at all of this process? False if that cannot be told.
pub fn holds_none(pid: i32) -> bool {
    let Ok(infos) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return false };
    let until = clock::now_ns() + LOOK_NS;
    for info in infos {
        if clock::now_ns() >= until {
            return false;
        }
        let Ok(text) = info.and_then(|info| fs::read_to_string(info.path())) else { return false };
        if text.lines().any(|line| line.starts_with("lock:")) {
            return false;
        }
    }
    true
}

/// Is this descriptor (as the directory `fd` names it) open for writing?
pub fn open_for_writing(pid: i32, fd: &std::ffi::OsStr) -> bool {
    let path = format!("/proc/{pid}/fdinfo/{}", fd.to_string_lossy());
    let text = fs::read_to_string(path).unwrap_or_default();
    FdInfo { fd: fd.to_owned(), text }.is_open_for_writing()
}

/// Process and file (`MAJOR:MINOR:INODE`) of every write lock that the kernel knows; each
/// process once.
pub fn write_lock_owners() -> Vec<(i32, String)> {
    owners(&fs::read_to_string("/proc/locks").unwrap_or_default())
}

fn owners(text: &str) -> Vec<(i32, String)> {
    let mut seen = HashSet::new();
    text.lines().filter_map(owner).filter(|(pid, _)| seen.insert(*pid)).collect()
}

/// `1: POSIX  ADVISORY  WRITE 1234 08:02:5678 0 EOF`; with `->` it only waits.
fn owner(line: &str) -> Option<(i32, String)> {
    let mut fields = line.split_ascii_whitespace();
    let _number = fields.next()?;
    let kind = fields.next()?;
    let _advisory = fields.next()?;
    let write = fields.next()? == "WRITE";
    let pid = fields.next()?.parse().ok()?;
    let file = fields.next()?;
    (write && kind != "->" && pid > 0).then(|| (pid, file.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_waits_or_reads_holds_no_write_lock() {
        let text = "1: POSIX  ADVISORY  WRITE 1234 08:02:56 0 EOF\n\
                    1: -> POSIX  ADVISORY  WRITE 7 08:02:56 0 EOF\n\
                    2: FLOCK  ADVISORY  WRITE 9 00:1b:3 0 EOF\n\
                    3: POSIX  ADVISORY  READ  11 08:02:57 0 EOF\n\
                    4: OFDLCK ADVISORY  WRITE -1 08:02:58 0 EOF\n\
                    5: POSIX  ADVISORY  WRITE 1234 08:02:59 0 EOF\n\
                    6: LEASE  ACTIVE    READ 12 08:02:60 0 EOF\n";
        assert_eq!(owners(text), [(1234, "08:02:56".into()), (9, "00:1b:3".into())]);
    }

    #[test]
    fn what_a_line_says() {
        let of = |line: &str| parse(line).map(|lock| (lock.kind, lock.write, lock.pid));
        assert_eq!(
            of("1: POSIX  ADVISORY  WRITE 12 08:02:56 0 EOF"),
            Some((KernelLockKind::Posix, true, 12))
        );
        assert_eq!(
            of("1: OFDLCK ADVISORY  READ  -1 08:02:56 3 9"),
            Some((KernelLockKind::Ofd, false, -1))
        );
        assert_eq!(
            of("1: LEASE  ACTIVE    WRITE 12 08:02:56 0 EOF"),
            Some((KernelLockKind::Lease, true, 12))
        );
        assert_eq!(
            of("1: LEASE  BREAKING  READ  12 08:02:56 0 EOF"),
            Some((KernelLockKind::Lease, true, 12))
        );
        assert_eq!(of("1: -> POSIX  ADVISORY  WRITE 7 08:02:56 0 EOF"), None);
        let lock = parse("1: FLOCK  ADVISORY  WRITE 9 00:1b:3 0 EOF").unwrap();
        assert_eq!((lock.ino(), lock.range.as_str()), (3, "0 EOF"));
    }

    #[test]
    fn a_shared_flock_guards_where_its_descriptor_is_open_for_writing() {
        let me = std::process::id();
        let path = std::env::temp_dir().join(format!("writegate-test-shared-{me}"));
        let writer = fs::File::create(&path).unwrap();
        let reader = fs::File::open(&path).unwrap();
        for file in [&writer, &reader] {
            file.lock_shared().unwrap();
        }
        let guards_on = |file: &fs::File| {
            let fd = std::os::fd::AsRawFd::as_raw_fd(file);
            let locks = on_descriptors(&me.to_string()).unwrap();
            locks.iter().find(|lock| lock.fd == fd).unwrap().guards
        };
        assert!(guards_on(&writer) && !guards_on(&reader));
        assert!(all().iter().any(|lock| lock.pid == me as i32 && !lock.write));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_lock_of_our_own_is_seen() {
        let pid = std::process::id() as i32;
        let path = std::env::temp_dir().join(format!("writegate-test-lock-{pid}"));
        let file = fs::File::create(&path).unwrap();
        let lock = crate::linux::file::try_lock(file).unwrap().unwrap();
        assert!(holds_a_guarding_lock(pid) && !holds_none(pid));
        assert!(write_lock_owners().iter().any(|(owner, _)| *owner == pid));
        let fds = write_locked_fds(pid).unwrap();
        assert!(fds.iter().any(|fd| open_for_writing(pid, fd)));
        drop(lock);
        let _ = fs::remove_file(&path);
        assert!(!holds_none(-1));
    }
}
