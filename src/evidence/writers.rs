//! Processes that are not gated and hold a protected file open for writing.

use super::coverage::is_kin;
use super::places::Places;
use crate::census::{Census, ProcessKind as Seen};
use crate::outcome::report::{Finding, FindingKind};
use std::fs;

/// Finds them; each process and file once.
pub fn ungated_writers(census: &Census, places: &Places) -> Vec<Finding> {
    if places.dirs.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<Finding> = Vec::new();
    for (&pid, seen) in &census.seen {
        if seen.kind != Seen::Other || census.elsewhere.contains(&pid) {
            continue;
        }
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for fd in fds {
            let Ok(path) = fs::read_link(fd.path()) else { continue };
            if !places.holds(&path) || !open_for_writing(pid, &fd.file_name()) {
                continue;
            }
            let path = path.to_string_lossy().into_owned();
            let known = |f: &Finding| f.pid == Some(pid) && f.path.as_ref() == Some(&path);
            if found.iter().any(known) || is_kin(pid, census) || is_dying(pid) {
                continue;
            }
            found.push(Finding {
                kind: FindingKind::UngatedWriter,
                pid: Some(pid),
                program: crate::linux::procfs::stat(pid).map(|s| s.comm),
                path: Some(path),
                what: "is not gated and has a protected file open for writing".into(),
            });
        }
    }
    found
}

/// Has every thread begun to exit? Such a process has lost its memory, so nothing says
/// any more that it was gated, and still has its files; it makes no call again.
fn is_dying(pid: i32) -> bool {
    const PF_EXITING: u64 = 4;
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| fs::read_to_string(task.path().join("stat"))).all(|stat| {
        let flags = stat.ok().and_then(|text| {
            let after_name = text.get(text.rfind(") ")? + 2..)?;
            after_name.split(' ').nth(6)?.parse::<u64>().ok()
        });
        // No longer there: gone.
        flags.is_none_or(|flags| flags & PF_EXITING != 0)
    })
}

fn open_for_writing(pid: i32, fd: &std::ffi::OsStr) -> bool {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", fd.to_string_lossy()));
    let flags = info.ok().and_then(|text| {
        let line = text.lines().find_map(|l| l.strip_prefix("flags:").map(str::trim))?.to_owned();
        i32::from_str_radix(&line, 8).ok()
    });
    // A directory, or O_PATH, is never open for writing.
    flags.is_some_and(|f| f & libc::O_PATH == 0 && f & libc::O_ACCMODE != libc::O_RDONLY)
}
