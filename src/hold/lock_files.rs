//! Locks that are only files (`lock-file` lines that name a directory): while one is there its maker's
//! set of writes is open.
//!
//! The kernel knows no holder of it, so it is looked for when all are at rest. By the freezer's helper: a
//! directory may lie on a disk that hangs, and the tracer waits for none. Where the processes see it: in
//! each mount namespace and below each root that they have. What could not be looked at may be a lock.

use crate::linux::directory::FileId;
use crate::linux::helper::owner::Helper;
use crate::linux::helper::protocol::LockFile;
use crate::linux::look::{Look, WhyNot};
use crate::linux::procfs;
use crate::outcome::held::{NotHeld, Obstacle};
use gate::profile::{self, Key};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

/// Which are looked for.
pub struct LockFiles {
    patterns: Vec<String>,
    /// Those whose makers' own words tell.
    accounted: HashSet<FileId>,
    /// Processes that are not held and see files of the service.
    beside: Vec<i32>,
}

impl LockFiles {
    /// Those that a profile names.
    pub fn of_profile(profile: &str) -> LockFiles {
        let named = profile::values(profile, Key::LockFile);
        let patterns = named.filter(|pattern| pattern.starts_with('/')).map(str::to_owned);
        LockFiles { patterns: patterns.collect(), accounted: HashSet::new(), beside: Vec::new() }
    }

    /// Where these gated processes see them too, but for those that they account for themselves.
    pub fn beside(
        self,
        processes: impl Iterator<Item = i32>,
        accounted: impl Iterator<Item = FileId>,
    ) -> LockFiles {
        LockFiles { beside: processes.collect(), accounted: accounted.collect(), ..self }
    }

    /// One that is there now, or may be, while these are at rest; none: there is none.
    pub fn in_the_way(
        &self,
        held: impl Iterator<Item = i32>,
        helper: &mut Helper,
    ) -> Option<NotHeld> {
        if self.patterns.is_empty() {
            return None;
        }
        let views = match views(held.chain(self.beside.iter().copied())) {
            Ok(views) => views,
            Err((pid, why)) => return Some(not_seen(pid, why)),
        };
        views.into_iter().find_map(|view| match helper.lock_files(view, &self.patterns) {
            Look::Seen(found) => {
                let is_in_the_way =
                    |lock: &&LockFile| !self.accounted.contains(&(lock.dev, lock.ino));
                found.iter().find(is_in_the_way).map(|lock| in_the_way(lock, view))
            }
            // It was killed meanwhile: another that has its root is asked the next time.
            Look::Gone(_) => Some(not_seen(view, WhyNot::Changing)),
            Look::NotSeen(why) => Some(not_seen(view, why)),
        })
    }
}

/// A process of each mount namespace and root; 0: it sees what we see.
fn views(processes: impl Iterator<Item = i32>) -> Result<Vec<i32>, (i32, WhyNot)> {
    let mut views: BTreeMap<(PathBuf, PathBuf), i32> = BTreeMap::new();
    for pid in processes {
        match procfs::root_and_namespace(pid) {
            Look::Seen(view) => drop(views.entry(view).or_insert(pid)),
            Look::Gone(_) => {}
            Look::NotSeen(why) => return Err((pid, why)),
        }
    }
    let ours = procfs::root_and_namespace(std::process::id() as i32);
    let is_ours = |view: &(PathBuf, PathBuf)| matches!(&ours, Look::Seen(ours) if ours == view);
    Ok(views.iter().map(|(view, pid)| if is_ours(view) { 0 } else { *pid }).collect())
}

/// `view`: the process that sees it. Where that has process numbers of its own, the number in the lock
/// names nobody here.
fn in_the_way(lock: &LockFile, view: i32) -> NotHeld {
    let same_numbers = view == 0 || procfs::innermost_pid(&view.to_string()) == Some(view);
    let pid = lock.owner.filter(|_| same_numbers).unwrap_or(0);
    let program = procfs::stat(pid).map(|stat| stat.comm).unwrap_or_default();
    let path = String::from_utf8_lossy(&lock.path).as_ref().into();
    NotHeld { pid, program, why: Obstacle::Dotlock(path) }
}

fn not_seen(pid: i32, why: WhyNot) -> NotHeld {
    let program = procfs::stat(pid).map(|stat| stat.comm).unwrap_or_default();
    NotHeld { pid, program, why: Obstacle::LockFilesNotSeen(why) }
}
