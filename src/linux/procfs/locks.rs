//! `/proc/PID/fdinfo` and `/proc/locks`: the kernel's locks, and how descriptors are open.

use crate::linux::clock;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;

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
}

/// A process may have a million descriptors, and no server has as many thousands: what this time does
/// not suffice for is not looked at.
const LOOK_NS: u64 = 50_000_000;

/// None: they may not be seen. A descriptor that cannot be read is left out.
fn fdinfos(pid: i32) -> Option<impl Iterator<Item = FdInfo>> {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).ok()?.flatten();
    Some(infos.filter_map(|info| {
        let text = fs::read_to_string(info.path()).ok()?;
        Some(FdInfo { fd: info.file_name(), text })
    }))
}

/// Does the kernel know a write lock of this process, on a file that it has open?
pub fn holds_a_write_lock(pid: i32) -> bool {
    let until = clock::now_ns() + LOOK_NS;
    // What could not be looked at may hold one.
    let found = |info: FdInfo| info.has_write_lock() || clock::now_ns() >= until;
    fdinfos(pid).is_some_and(|mut infos| infos.any(found))
}

/// The descriptors on which this process holds a write lock. None: they may not be seen.
pub fn write_locked_fds(pid: i32) -> Option<Vec<OsString>> {
    let until = clock::now_ns() + LOOK_NS;
    let infos = fdinfos(pid)?.take_while(|_| clock::now_ns() < until);
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

/// Is this descriptor (as the directory `fd` names it) open for writing? A directory, or
/// O_PATH, never is.
pub fn open_for_writing(pid: i32, fd: &std::ffi::OsStr) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", fd.to_string_lossy()));
    let flags = info.ok().and_then(|text| {
        let digits = text.lines().find_map(|line| line.strip_prefix("flags:"))?.trim();
        i32::from_str_radix(digits, 8).ok()
    });
    flags.is_some_and(|f| f & libc::O_PATH == 0 && f & libc::O_ACCMODE != libc::O_RDONLY)
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
    fn a_lock_of_our_own_is_seen() {
        let pid = std::process::id() as i32;
        let path = std::env::temp_dir().join(format!("writegate-test-lock-{pid}"));
        let file = fs::File::create(&path).unwrap();
        let lock = crate::linux::file::try_lock(file).unwrap().unwrap();
        assert!(holds_a_write_lock(pid) && !holds_none(pid));
        assert!(write_lock_owners().iter().any(|(owner, _)| *owner == pid));
        let fds = write_locked_fds(pid).unwrap();
        assert!(fds.iter().any(|fd| open_for_writing(pid, fd)));
        drop(lock);
        let _ = fs::remove_file(&path);
        assert!(!holds_none(-1));
    }
}
