//! Processes that are not gated and hold a protected file open for writing.

use super::ancestry::is_kin;
use super::places::Places;
use crate::census::kinds::ProcessKind;
use crate::census::list::Census;
use crate::linux::procfs::{self, locks};
use crate::outcome::finding::{Cause, Finding};
use std::fs;

/// Finds them; each process and file once.
pub fn ungated_writers(census: &Census, places: &Places) -> Vec<Finding> {
    if places.dirs.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<Finding> = Vec::new();
    for (&pid, seen) in &census.seen {
        if seen.kind != ProcessKind::Other || census.elsewhere.contains(&pid) {
            continue;
        }
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for fd in fds {
            let Ok(path) = fs::read_link(fd.path()) else { continue };
            if !places.holds(&path) || !locks::open_for_writing(pid, &fd.file_name()) {
                continue;
            }
            let path = path.to_string_lossy().into_owned();
            let known = |f: &Finding| f.pid == Some(pid) && f.path.as_ref() == Some(&path);
            // One that exits has lost its memory, so nothing says any more that it was gated,
            // and still has its files; it makes no call again.
            if found.iter().any(known) || is_kin(pid, census) || procfs::is_exiting(pid) {
                continue;
            }
            let program = procfs::stat(pid).map(|s| s.comm);
            found.push(Finding::of(Cause::OpenForWriting, pid, program).at(path));
        }
    }
    found
}
