//! The files that descriptors and locks of a member are about.

use crate::census::member::Member;
use crate::linux::file::{CachedStat, cached_stat};
use gate::locks::{Lock, LockKind};
use gate::region::Header;
use std::fs;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// Where a lock's file lies; by number where that cannot be told.
pub fn path_of_lock(member: &Member, lock: &Lock) -> String {
    let noted = || member.view.as_ref().and_then(|view| noted_dotlock(view.header(), lock));
    let path = match lock.kind {
        LockKind::Dot => noted().or_else(|| path_of_file(member.pid, lock.dev, lock.ino)),
        _ => path_of_file(member.pid, lock.dev, lock.ino),
    };
    path.unwrap_or_else(|| format!("inode {} on {:#x}", lock.ino, lock.dev))
}

/// The path of a dotlock as its maker put it down, if it is the one that it made last.
fn noted_dotlock(header: &Header, lock: &Lock) -> Option<String> {
    let len = header.dotlock_len.load(Acquire) as usize;
    let path = header.dotlock_path.get(..len).filter(|path| !path.is_empty())?;
    let path: Vec<u8> = path.iter().map(|byte| byte.load(Relaxed)).collect();
    let same = header.dotlock_ino.load(Relaxed) == lock.ino;
    same.then(|| String::from_utf8_lossy(&path).into_owned())
}

/// The path of a descriptor, for messages.
pub fn path_of(pid: i32, fd: i32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    Some(path.to_string_lossy().into_owned())
}

/// The path of a file that this process has open, by device and inode.
pub fn path_of_file(pid: i32, dev: u64, ino: u64) -> Option<String> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let is_it = |file: CachedStat| (file.dev, file.ino) == (dev, ino);
    fds.filter(|fd| cached_stat(&fd.path()).is_some_and(is_it))
        .find_map(|fd| fs::read_link(fd.path()).ok())
        .map(|path| path.to_string_lossy().into_owned())
}
