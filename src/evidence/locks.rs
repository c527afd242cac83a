//! Is every kernel lock of a gated process known to its region?
//!
//! A lock that was taken past the library (a raw system call, before the library
//! was there) makes a set of writes that the gate does not see as one. Asked while
//! the snapshot command runs, so that it lengthens nobody's wait.

use crate::census::Member;
use crate::linux::sys;
use crate::outcome::report::{Finding, FindingKind};
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::Acquire;

/// Locks that guard writing, of this process, that its region does not list.
/// None: could not be asked.
pub fn unknown_locks(member: &Member) -> Option<Vec<Finding>> {
    let view = member.view.as_ref()?;
    let header = view.header();
    // It may lock and unlock while it is held elsewhere: only what stands still
    // between two looks is believed.
    for _ in 0..3 {
        let before = (header.process.load(Acquire), header.lock_sequence.load(Acquire));
        let found = look(member)?;
        if before == (header.process.load(Acquire), header.lock_sequence.load(Acquire)) {
            return Some(found);
        }
    }
    Some(Vec::new())
}

fn look(member: &Member) -> Option<Vec<Finding>> {
    let pid = member.pid;
    let known: Vec<(u64, u64)> = member
        .view
        .as_ref()?
        .header()
        .locks
        .iter()
        .filter_map(|place| place.get())
        .map(|lock| (lock.dev, lock.ino))
        .collect();
    let mut found = Vec::new();
    for info in fs::read_dir(format!("/proc/{pid}/fdinfo")).ok()?.flatten() {
        let Ok(text) = fs::read_to_string(info.path()) else { continue };
        let guards = |line: &str| line.starts_with("lock:") && line.contains(" WRITE ");
        if !text.lines().any(guards) {
            continue;
        }
        let fd = format!("/proc/{pid}/fd/{}", info.file_name().to_string_lossy());
        let Some(file) = sys::known(Path::new(&fd)) else { continue };
        if known.contains(&(file.dev, file.ino)) {
            continue;
        }
        let path = fs::read_link(&fd).ok().map(|p| p.to_string_lossy().into_owned());
        found.push(Finding {
            kind: FindingKind::Uncovered,
            pid: Some(pid),
            program: Some(member.stat.comm.clone()),
            path,
            what: "holds a lock that its region does not know of".into(),
        });
    }
    Some(found)
}
