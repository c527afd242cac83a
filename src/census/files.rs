//! The files that descriptors and locks of a member are about.

use crate::census::member::Member;
use crate::foreign_text::ForeignText;
use crate::linux::file::{CachedStat, cached_stat};
use gate::locks::{Lock, LockKind, NO_DEVICE};
use std::collections::HashMap;
use std::fs;

/// The files of locks as they were told while those were held: by process, device and inode. A lock that
/// is over has a name by that, though its file is closed and its process gone.
#[derive(Default)]
pub struct LockPaths(HashMap<(i32, u64, u64), ForeignText>);

impl LockPaths {
    /// Where the file of a lock lies that is held.
    pub fn of_held(&mut self, member: &Member, lock: &Lock) -> ForeignText {
        match told(member, lock) {
            Some(path) => {
                self.0.insert((member.pid, lock.dev, lock.ino), path.clone());
                path
            }
            None => self.of_ended(member, lock),
        }
    }

    /// The same of a lock that is over: what was told of it then, or else is told of its file now.
    pub fn of_ended(&self, member: &Member, lock: &Lock) -> ForeignText {
        let known = self.0.get(&(member.pid, lock.dev, lock.ino)).cloned();
        // A descriptor may stand for another file by now.
        let is_a_file = lock.dev != NO_DEVICE;
        let now = || told(member, lock).filter(|_| is_a_file);
        known.or_else(now).unwrap_or_else(|| by_number(lock))
    }
}

/// Where a lock's file lies; by number where that cannot be told.
pub fn path_of_lock(member: &Member, lock: &Lock) -> ForeignText {
    told(member, lock).unwrap_or_else(|| by_number(lock))
}

fn by_number(lock: &Lock) -> ForeignText {
    match lock.dev {
        NO_DEVICE => format!("descriptor {}", lock.fd).into(),
        dev => format!("inode {} on {dev:#x}", lock.ino).into(),
    }
}

fn told(member: &Member, lock: &Lock) -> Option<ForeignText> {
    let noted = || {
        // As its maker put it down.
        let path = member.view.as_ref()?.claimed().dotlock_path(lock.dev, lock.ino)?;
        Some(String::from_utf8_lossy(path.bytes()).into_owned().into())
    };
    match lock.kind {
        LockKind::Dot => noted().or_else(|| path_of_file(member.pid, lock.dev, lock.ino)),
        // It must not ask which file that is.
        _ if lock.dev == NO_DEVICE => path_of(member.pid, lock.fd),
        _ => path_of_file(member.pid, lock.dev, lock.ino),
    }
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
