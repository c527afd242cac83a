//! The files that descriptors and locks of a member are about.

use crate::census::member::Member;
use crate::foreign_text::ForeignText;
use crate::linux::file::{CachedStat, cached_stat};
use gate::locks::{Lock, LockKind, NO_DEVICE};
use std::fs;

/// Where a lock's file lies; by number where that cannot be told.
pub fn path_of_lock(member: &Member, lock: &Lock) -> ForeignText {
    let noted = || {
        // As its maker put it down.
        let path = member.view.as_ref()?.claimed().dotlock_path(lock.dev, lock.ino)?;
        Some(String::from_utf8_lossy(path.bytes()).into_owned().into())
    };
    let path = match lock.kind {
        LockKind::Dot => noted().or_else(|| path_of_file(member.pid, lock.dev, lock.ino)),
        // It must not ask which file that is.
        _ if lock.dev == NO_DEVICE => path_of(member.pid, lock.fd),
        _ => path_of_file(member.pid, lock.dev, lock.ino),
    };
    path.unwrap_or_else(|| format!("inode {} on {:#x}", lock.ino, lock.dev).into())
}

/// The path of a descriptor, for messages.
pub fn path_of(pid: i32, fd: i32) -> Option<ForeignText> {
    let path = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    Some(ForeignText::of_path(&path))
}

/// The path of a file that this process has open, by device and inode.
pub fn path_of_file(pid: i32, dev: u64, ino: u64) -> Option<ForeignText> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let is_it = |file: CachedStat| (file.dev, file.ino) == (dev, ino);
    fds.filter(|fd| cached_stat(&fd.path()).is_some_and(is_it))
        .find_map(|fd| fs::read_link(fd.path()).ok())
        .map(|path| ForeignText::of_path(&path))
}
