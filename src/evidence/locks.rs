//! Is every kernel lock of a gated process known to its region?
//!
//! A lock that was taken past the library (a raw system call, before the library
//! was there) makes a set of writes that the gate does not see as one. Asked while
//! the snapshot command runs, so that no process waits longer for it.

use crate::census::member::Member;
use crate::foreign_text::ForeignText;
use crate::linux::file::cached_stat;
use crate::linux::procfs::locks;
use crate::outcome::finding::{Cause, Finding};
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Acquire;

/// How often it is looked until two looks agree.
const LOOKS: usize = 3;

/// Locks that guard writing, of this process, that its region does not list.
/// None: could not be asked.
pub fn unknown_locks(member: &Member) -> Option<Vec<Finding>> {
    let header = member.view.as_ref()?.header();
    // It may lock and unlock while it is held elsewhere: only what stands still
    // between two looks is believed.
    let words = || (header.process.load(Acquire), header.lock_sequence.load(Acquire));
    for _ in 0..LOOKS {
        let before = words();
        let found = look(member)?;
        if before == words() {
            return Some(found);
        }
    }
    Some(Vec::new())
}

fn look(member: &Member) -> Option<Vec<Finding>> {
    let pid = member.pid;
    let entries = &member.view.as_ref()?.header().locks;
    let listed = entries.iter().filter_map(|place| place.get());
    let listed: Vec<(u64, u64)> = listed.map(|lock| (lock.dev, lock.ino)).collect();
    let mut found = Vec::new();
    for fd in locks::write_locked_fds(pid)? {
        let link = format!("/proc/{pid}/fd/{}", fd.to_string_lossy());
        let Some(file) = cached_stat(Path::new(&link)) else { continue };
        if listed.contains(&(file.dev, file.ino)) {
            continue;
        }
        let mut finding = Finding::of(Cause::UnlistedLock, pid, Some(member.stat.comm.clone()));
        finding.path = fs::read_link(&link).ok().map(|path| ForeignText::of_path(&path));
        found.push(finding);
    }
    Some(found)
}
