//! Is every kernel lock of a gated process known to its region?
//!
//! A lock that was taken past the library (a raw system call, before the library
//! was there) makes a set of writes that the gate does not see as one. Asked while
//! the snapshot command runs, so that no process waits longer for it.

use crate::census::member::Member;
use crate::linux::file::cached_stat;
use crate::linux::look::{Look, WhyNot};
use crate::linux::procfs::{self, locks};
use crate::outcome::finding::{Cause, Finding};
use gate::locks::LockEntry;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Acquire;

/// How often it is looked until two looks agree.
const LOOKS: usize = 30;

/// Locks that guard writing, of this process, that its region does not list.
pub fn unknown_locks(member: &Member) -> Look<Vec<Finding>> {
    // Without a region it is in flight: no snapshot.
    let Some(view) = &member.view else { return Look::Seen(Vec::new()) };
    let header = view.header();
    // It may lock and unlock while it is held elsewhere: only what stands still
    // between two looks is believed.
    let words = || (header.process.load(Acquire), header.lock_sequence.load(Acquire));
    for _ in 0..LOOKS {
        let before = words();
        let found = match look(member, &header.locks) {
            Look::Seen(found) => found,
            failed => return failed,
        };
        if before == words() {
            return Look::Seen(found);
        }
    }
    Look::NotSeen(WhyNot::Changing)
}

fn look(member: &Member, entries: &[LockEntry]) -> Look<Vec<Finding>> {
    let pid = procfs::seen_by(member.pid);
    let listed = entries.iter().filter_map(|place| place.get());
    let listed: Vec<(u64, u64)> = listed.map(|lock| (lock.dev, lock.ino)).collect();
    let mut found = Vec::new();
    let fds = match locks::write_locked_fds(pid) {
        Look::Seen(fds) => fds,
        Look::Gone(proof) => return Look::Gone(proof),
        Look::NotSeen(why) => return Look::NotSeen(why),
    };
    for fd in fds {
        let link = format!("/proc/{pid}/fd/{}", fd.to_string_lossy());
        let Some(file) = cached_stat(Path::new(&link)) else {
            // Closed since, or not to be had.
            if fs::symlink_metadata(&link).is_ok() {
                return Look::NotSeen(WhyNot::Malformed);
            }
            continue;
        };
        if listed.contains(&(file.dev, file.ino)) {
            continue;
        }
        let mut finding =
            Finding::of(Cause::UnlistedLock, member.pid, Some(member.stat.comm.clone()));
        finding.path = fs::read_link(&link).ok().map(|p| p.to_string_lossy().into_owned());
        found.push(finding);
    }
    Look::Seen(found)
}
