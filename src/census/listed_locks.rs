//! Whose descriptors need not be read to know that they have no lock that guards writing: by the kernel's
//! list of locks, which is short where tables of descriptors are long.

use crate::census::kernel_locks::{LocksLook, Version, may_guard, version};
use crate::census::member::Member;
use crate::linux::file::cached_stat;
use crate::linux::look::Look;
use crate::linux::look_time::LookTime;
use crate::linux::process::is_there;
use crate::linux::procfs;
use crate::linux::procfs::inodes_told::InodesTold;
use crate::linux::procfs::locks::{self, KernelLock, KernelLockKind};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

/// A process may have a million descriptors.
const LOOK_NS: u64 = 50_000_000;

/// What the accounts of some members say, and the guarding locks that the kernel listed after that: by
/// these it is known whose descriptors need be read. (Only in the machine's first PID namespace does the
/// kernel list all.)
pub struct Listed {
    /// By place.
    before: HashMap<usize, Version>,
    /// Processes that took a POSIX lock: it is theirs, and nobody's else.
    takers: HashSet<i32>,
    /// The files of all other locks, which whoever has the description may hold: by inode, for the list
    /// may show another device than `stat`.
    inodes: HashSet<u64>,
    /// That is not known of all of them.
    untold: bool,
}

impl Listed {
    /// Reads the list.
    pub fn read<'a>(members: impl Iterator<Item = (usize, &'a Member)>) -> Look<Listed> {
        let before = members.map(|(place, member)| (place, version(member))).collect();
        locks::all().map(|mut lines| {
            lines.retain(may_guard);
            let has_taker = |line: &KernelLock| {
                line.kind == KernelLockKind::Posix && line.pid > 0 && is_there(line.pid)
            };
            let (taken, shared): (Vec<KernelLock>, Vec<KernelLock>) =
                lines.into_iter().partition(has_taker);
            let told = InodesTold::by(shared.iter());
            let inodes: Option<HashSet<u64>> = shared.iter().map(|line| told.inode(line)).collect();
            Listed {
                before,
                takers: taken.iter().map(|line| line.pid).collect(),
                untold: inodes.is_none(),
                inodes: inodes.unwrap_or_default(),
            }
        })
    }

    /// A member that has none of these locks; none: its descriptors must be read to know that.
    pub fn holds_none(&self, place: usize, member: &Member) -> Option<LocksLook> {
        let before = *self.before.get(&place)?;
        let holds_none = !self.untold
            && !self.takers.contains(&member.pid)
            && (self.inodes.is_empty() || has_none_open(member.pid, &self.inodes));
        let stood = before.0 != 0 && before == version(member);
        (holds_none && stood).then(|| LocksLook::none(before))
    }
}

/// Has a process none of these files open? Not if that cannot be told, or takes long.
fn has_none_open(pid: i32, inodes: &HashSet<u64>) -> bool {
    let time = LookTime::of(LOOK_NS);
    let Ok(mut fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let is_another = |fd: io::Result<fs::DirEntry>| {
        let file = fd.ok().and_then(|fd| cached_stat(&fd.path()));
        !time.is_over() && file.is_some_and(|file| !inodes.contains(&file.ino))
    };
    // Where the first thread has ended, another one has the descriptors.
    fds.all(is_another) && procfs::seen_by(pid) == pid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::procfs::sleeper::Sleeper;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn who_has_the_file_open_must_be_read() {
        let me = std::process::id() as i32;
        let path = std::env::temp_dir().join(format!("writegate-test-listed-{me}"));
        let file = fs::File::create(&path).unwrap();
        let inode = HashSet::from([file.metadata().unwrap().ino()]);
        assert!(!has_none_open(me, &inode));
        fs::remove_file(&path).unwrap();
        assert!(!has_none_open(me, &inode), "it is open still");
        // Other tests open and close files of this process.
        let child = Sleeper::new();
        let pid = child.pid();
        // On a busy machine a look may be cut off.
        let has_none = (0..100).any(|_| has_none_open(pid, &inode));
        child.end();
        assert!(has_none && !has_none_open(i32::MAX, &inode), "that cannot be told");
    }
}
