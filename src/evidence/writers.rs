//! Processes that are not gated and hold a protected file open for writing.

use super::ancestry::is_kin;
use super::concern;
use super::coverage::Service;
use crate::census::list::Census;
use crate::foreign_text::ForeignText;
use crate::linux::clock;
use crate::linux::file::cached_stat;
use crate::linux::helper::patience::Patience;
use crate::linux::look::{Look, WhyNot};
use crate::linux::look_time::LookTime;
use crate::linux::procfs::{self, locks};
use crate::outcome::cause::{Cause, Subject};
use crate::outcome::finding::Finding;
use crate::places::Places;
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

/// A process may have a million descriptors: what this time does not suffice for is not looked at.
const LOOK_NS: u64 = 300_000_000;

/// Finds them; each process and file once. Also those that could not be looked through. A process of
/// another gate is one of them: this gate does not hold it.
pub fn ungated_writers(census: &Census, service: &Service, places: &Places) -> Vec<Finding> {
    if places.dirs.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<Finding> = Vec::new();
    let mut patience = Patience::default();
    for (&pid, seen) in &census.seen {
        if !seen.kind.is_ungated() {
            continue;
        }
        let begun = clock::now_ns();
        let time = LookTime::of(LOOK_NS);
        let look = match patience.is_spent(pid) {
            true => Err(WhyNot::TooMuch),
            false => look_through(pid, places, &time, &mut found),
        };
        patience.spend(pid, clock::now_ns() - begun);
        if let Err(why) = look
            && census.is_still(pid)
            && !is_kin(pid, census)
            && !procfs::is_exiting(pid)
        {
            found.extend(concern::not_seen(census, service, pid, Subject::Descriptors, why));
        }
    }
    // One that exits has lost its memory, so nothing says any more that it was gated, and still has
    // its files; it makes no call again.
    let counts = |pid: i32| !is_kin(pid, census) && !procfs::is_exiting(pid);
    found.retain(|finding| finding.path.is_none() || finding.pid.is_some_and(counts));
    found
}

/// How often a process is looked through whose threads come and go.
const LOOKS: usize = 4;

/// Notes which protected files this process has open for writing; or why that cannot be told.
fn look_through(
    pid: i32,
    places: &Places,
    time: &LookTime,
    found: &mut Vec<Finding>,
) -> Result<(), WhyNot> {
    let mut by = pid;
    for _ in 0..LOOKS {
        // The thread by which it is looked at may end meanwhile, and its descriptors with it.
        let look = look_by(pid, by, places, time, found);
        let now = procfs::seen_by(pid);
        if by == now {
            return look;
        }
        by = now;
    }
    Err(WhyNot::Changing)
}

fn look_by(
    pid: i32,
    by: i32,
    places: &Places,
    time: &LookTime,
    found: &mut Vec<Finding>,
) -> Result<(), WhyNot> {
    let by = by.to_string();
    // Found not to be protected: one may have it open a million times.
    let mut elsewhere: HashSet<PathBuf> = HashSet::new();
    for fd in fs::read_dir(format!("/proc/{by}/fd")).map_err(|e| WhyNot::of(&e))? {
        if time.is_over() {
            return Err(WhyNot::TooMuch);
        }
        let fd = fd.map_err(|e| WhyNot::of(&e))?;
        let link = fd.path();
        // What most descriptors stand for is told by this alone.
        let file = cached_stat(&link);
        if !places.may_hold_open_file(file.as_ref()) {
            continue;
        }
        let path = match fs::read_link(&link) {
            Ok(path) => path,
            // Closed meanwhile.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(WhyNot::of(&e)),
        };
        if !path.is_absolute() || elsewhere.contains(&path) {
            continue;
        }
        match locks::open_for_writing(&link) {
            Look::Seen(true) => {}
            Look::Seen(false) | Look::Gone(_) => continue,
            Look::NotSeen(why) => return Err(why),
        }
        if !places.hold_open_file(pid, file.as_ref(), &path) {
            elsewhere.insert(path);
            continue;
        }
        let path = ForeignText::of_path(&path);
        let known = |f: &Finding| f.pid == Some(pid) && f.path.as_ref() == Some(&path);
        if !found.iter().any(known) {
            let program = procfs::stat(pid).map(|s| s.comm);
            found.push(Finding::of(Cause::OpenForWriting, pid, program).at(path));
        }
    }
    Ok(())
}
