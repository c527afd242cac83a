//! `/proc/PID/fdinfo` and `/proc/locks`: the kernel's locks, and how descriptors are open.

use crate::linux::look::{Look, Proof, WhyNot};
use crate::linux::process;
use crate::linux::procfs::seen_by;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;

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

/// How often it is looked until the thread by which that is done stays the same.
const LOOKS: usize = 5;

/// All of them. A descriptor that is closed meanwhile is none. A main thread that exits loses them,
/// and the process keeps them as long as another thread lives.
fn fdinfos(pid: i32) -> Look<Vec<FdInfo>> {
    let mut by = seen_by(pid);
    for _ in 0..LOOKS {
        let look = fdinfos_by(by);
        let now = seen_by(pid);
        if now == by {
            return look;
        }
        by = now;
    }
    Look::NotSeen(WhyNot::Changing)
}

fn fdinfos_by(pid: i32) -> Look<Vec<FdInfo>> {
    let read = || -> io::Result<Vec<FdInfo>> {
        let mut infos = Vec::new();
        for info in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            let info = info?;
            match fs::read(info.path()) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    infos.push(FdInfo { fd: info.file_name(), text });
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(infos)
    };
    match read() {
        Ok(infos) => Look::Seen(infos),
        Err(_) if !process::is_there(pid) => Look::Gone(Proof::NoProcess),
        Err(e) => Look::NotSeen(WhyNot::of(&e)),
    }
}

/// Does the kernel know a write lock of this process, on a file that it has open?
pub fn holds_a_write_lock(pid: i32) -> Look<bool> {
    fdinfos(pid).map(|infos| infos.iter().any(FdInfo::has_write_lock))
}

/// The descriptors on which this process holds a write lock.
pub fn write_locked_fds(pid: i32) -> Look<Vec<OsString>> {
    let locked = |infos: Vec<FdInfo>| {
        infos.into_iter().filter(FdInfo::has_write_lock).map(|info| info.fd).collect()
    };
    fdinfos(pid).map(locked)
}

/// Does the kernel know no lock at all of this process? False if that cannot be told.
pub fn holds_none(pid: i32) -> bool {
    match fdinfos(pid) {
        Look::Seen(infos) => infos.iter().all(|info| info.locks().next().is_none()),
        Look::Gone(_) | Look::NotSeen(_) => false,
    }
}

/// Is this descriptor (as the directory `fd` names it) open for writing? A directory, or
/// O_PATH, never is.
pub fn open_for_writing(pid: i32, fd: &std::ffi::OsStr) -> Look<bool> {
    let bytes = match fs::read(format!("/proc/{pid}/fdinfo/{}", fd.to_string_lossy())) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound && process::is_there(pid) => {
            // Closed meanwhile.
            return Look::Seen(false);
        }
        Err(_) if !process::is_there(pid) => return Look::Gone(Proof::NoProcess),
        Err(e) => return Look::NotSeen(WhyNot::of(&e)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let digits = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = digits.and_then(|digits| i32::from_str_radix(digits.trim(), 8).ok());
    match flags {
        Some(f) => Look::Seen(f & libc::O_PATH == 0 && f & libc::O_ACCMODE != libc::O_RDONLY),
        None => Look::NotSeen(WhyNot::Malformed),
    }
}

/// Process and file (`MAJOR:MINOR:INODE`) of every write lock that the kernel knows; each
/// process once.
pub fn write_lock_owners() -> Look<Vec<(i32, String)>> {
    match fs::read("/proc/locks") {
        Ok(bytes) => Look::Seen(owners(&String::from_utf8_lossy(&bytes))),
        Err(e) => Look::NotSeen(WhyNot::of(&e)),
    }
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
        assert!(holds_a_write_lock(pid) == Look::Seen(true) && !holds_none(pid));
        let Look::Seen(owners) = write_lock_owners() else { panic!("no /proc/locks") };
        assert!(owners.iter().any(|(owner, _)| *owner == pid));
        let Look::Seen(fds) = write_locked_fds(pid) else { panic!("no descriptors") };
        assert!(fds.iter().any(|fd| open_for_writing(pid, fd) == Look::Seen(true)));
        drop(lock);
        let _ = fs::remove_file(&path);
        assert!(!holds_none(-1));
        assert_eq!(holds_a_write_lock(i32::MAX), Look::Gone(Proof::NoProcess));
    }
}
