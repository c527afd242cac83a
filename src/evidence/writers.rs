//! Processes that are not gated and hold a protected file open for writing.

use super::ancestry::is_kin;
use super::places::Places;
use crate::census::list::Census;
use crate::foreign_text::ForeignText;
use crate::linux::clock;
use crate::linux::helper::patience::Patience;
use crate::linux::procfs::{self, locks};
use crate::outcome::finding::{Cause, Finding};
use std::fs;

/// A process may have a million descriptors: what this time does not suffice for is not looked at.
const LOOK_NS: u64 = 300_000_000;

/// Finds them; each process and file once. Also those that could not be looked through.
pub fn ungated_writers(census: &Census, places: &Places) -> Vec<Finding> {
    if places.dirs.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<Finding> = Vec::new();
    let mut patience = Patience::default();
    for (&pid, seen) in &census.seen {
        if !seen.kind.is_ungated() || census.elsewhere.contains(&pid) {
            continue;
        }
        let begun = clock::now_ns();
        let mut cut_off = patience.is_spent(pid);
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for fd in fds {
            cut_off |= clock::now_ns() >= begun + LOOK_NS;
            if cut_off {
                break;
            }
            let Ok(path) = fs::read_link(fd.path()) else { continue };
            if !places.holds(&path) || !locks::open_for_writing(pid, &fd.file_name()) {
                continue;
            }
            let path = ForeignText::of_path(&path);
            let known = |f: &Finding| f.pid == Some(pid) && f.path.as_ref() == Some(&path);
            // One that exits has lost its memory, so nothing says any more that it was gated,
            // and still has its files; it makes no call again.
            if found.iter().any(known) || is_kin(pid, census) || procfs::is_exiting(pid) {
                continue;
            }
            let program = procfs::stat(pid).map(|s| s.comm);
            found.push(Finding::of(Cause::OpenForWriting, pid, program).at(path));
        }
        patience.spend(pid, clock::now_ns() - begun);
        if cut_off {
            found.push(Finding::of(Cause::Unseen, pid, procfs::stat(pid).map(|s| s.comm)));
        }
    }
    found
}
