//! The locks that keep a process from being at rest: those that guard writing and are not held for
//! life, on every table of descriptors that it has.

use crate::foreign_text::ForeignText;
use crate::linux::look::Look;
use crate::linux::procfs::locks::{self, DescriptorLock};
use crate::linux::ptrace::calls;
use gate::profile::{self, Key};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What a look at a process's locks has shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Locks {
    /// None that guards writing.
    None,
    /// One that does: on this file.
    Guarding(ForeignText),
    /// They could not be seen.
    NotSeen,
}

/// The locks of a process whose threads are these. Only what is stopped does not change meanwhile.
pub fn of(pid: i32, threads: impl Iterator<Item = i32>, profile: &str) -> Locks {
    // The first thread may have ended, and its descriptors with it: each table is asked through a thread
    // that is there.
    let mut tables: Vec<i32> = Vec::new();
    for tid in threads {
        if !tables.iter().any(|other| calls::share_descriptors(*other, tid)) {
            tables.push(tid);
        }
    }
    for tid in tables {
        let of = format!("{pid}/task/{tid}");
        let found = match locks::on_descriptors(&of) {
            Look::Seen(found) => found,
            Look::Gone(_) => continue,
            Look::NotSeen(_) => return Locks::NotSeen,
        };
        for on in found.iter().filter(|on| on.guards) {
            let Ok(path) = fs::read_link(format!("/proc/{of}/fd/{}", on.fd)) else {
                return Locks::NotSeen;
            };
            if !profile::matches(profile, Key::LifetimeLock, path.as_os_str().as_bytes()) {
                return Locks::Guarding(ForeignText::of_path(&path));
            }
        }
    }
    Locks::None
}

/// The files on which this process holds locks, as far as they can be seen.
pub fn files_of(pid: i32, mut threads: impl Iterator<Item = i32>) -> BTreeSet<PathBuf> {
    let Some(of) = threads.next().map(|tid| format!("{pid}/task/{tid}")) else {
        return BTreeSet::new();
    };
    let Look::Seen(found) = locks::on_descriptors(&of) else { return BTreeSet::new() };
    let path = |fd: &DescriptorLock| fs::read_link(format!("/proc/{of}/fd/{}", fd.fd)).ok();
    found.iter().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::file::try_lock;

    #[test]
    fn a_lock_held_for_life_is_none() {
        let me = std::process::id() as i32;
        let path = std::env::temp_dir().join(format!("writegate-test-hold-{me}"));
        let look = |profile: &str| of(me, [nix::unistd::gettid().as_raw()].into_iter(), profile);
        let lock = try_lock(fs::File::create(&path).unwrap()).unwrap();
        assert_eq!(look("lifetime-lock = *writegate-test-*"), Locks::None);
        assert!(matches!(look(""), Locks::Guarding(_)));
        drop(lock);
        fs::remove_file(path).unwrap();
        assert_eq!(of(me, [-1].into_iter(), ""), Locks::None, "a thread that is gone has none");
    }
}
