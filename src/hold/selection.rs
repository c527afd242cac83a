//! Which processes are to be held.
//!
//! Read again and again while they run: a control group by its list, processes with all that descend
//! from them. Whoever is our own (the freezer, those that it descends from, all that it has started)
//! is never among them: a unit may hold the very job that takes the snapshot.

use crate::linux::look::Look;
use crate::linux::procfs::{self, Children};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// So far up is climbed at most.
const GENERATIONS: usize = 64;
/// Where control groups are mounted: version 2; the hierarchies of version 1 beside it.
const MOUNTS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];

/// Which processes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Selection {
    /// These, ...
    pub processes: BTreeSet<i32>,
    /// ... with all that descend from them.
    pub descend: bool,
    /// These too, without those that descend from them.
    pub alone: BTreeSet<i32>,
    /// None of these (which the gate holds), unless it is one of `alone`.
    pub except: BTreeSet<i32>,
    /// When processes were started that are named here, ticks: another under the same id is not meant.
    pub started: BTreeMap<i32, u64>,
    /// All in these control groups, and below.
    pub cgroups: Vec<PathBuf>,
    /// But for this process, the freezer, those that it descends from, and all that descends from it.
    pub freezer: i32,
}

impl Selection {
    /// All of them that there are now. An error: they cannot be listed. `known`: is it one of those that
    /// were listed before, and are all known that it has made?
    pub fn list(&self, known: impl Fn(i32) -> Option<bool>) -> io::Result<BTreeSet<i32>> {
        let mut found = BTreeSet::new();
        for group in &self.cgroups {
            read_group(group, &mut found)?;
        }
        let mut todo = self.meant(&self.processes)?;
        let mut listing = Children::default();
        while let Some(pid) = todo.pop() {
            if found.insert(pid) && self.descend && known(pid) != Some(true) {
                match listing.of(pid) {
                    Look::Seen(children) => todo.extend(children),
                    Look::Gone(_) => {}
                    Look::NotSeen(why) => return Err(io::Error::other(why.to_string())),
                }
            }
        }
        found.retain(|pid| !self.except.contains(pid));
        found.extend(self.meant(&self.alone)?);
        let above: Vec<i32> = ancestors(self.freezer).collect();
        let mut of_others = BTreeSet::new();
        found.retain(|pid| known(*pid).is_some() || !self.is_ours(*pid, &above, &mut of_others));
        Ok(found)
    }

    /// Those of them that are still the processes that were named.
    fn meant(&self, named: &BTreeSet<i32>) -> io::Result<Vec<i32>> {
        let mut meant = Vec::new();
        for pid in named {
            match self.started.get(pid).map(|start| (start, procfs::look_at(*pid))) {
                None => meant.push(*pid),
                Some((start, Look::Seen(stat))) if stat.start == *start => meant.push(*pid),
                Some((_, Look::Seen(_) | Look::Gone(_))) => {}
                Some((_, Look::NotSeen(why))) => return Err(io::Error::other(why.to_string())),
            }
        }
        Ok(meant)
    }

    /// `of_others`: whom this was asked of before, and who descend from nobody of ours.
    fn is_ours(&self, pid: i32, above: &[i32], of_others: &mut BTreeSet<i32>) -> bool {
        let mut climbed = Vec::new();
        for at in ancestors(pid) {
            if at == self.freezer {
                return true;
            }
            if of_others.contains(&at) {
                break;
            }
            climbed.push(at);
        }
        of_others.extend(climbed);
        above.contains(&pid)
    }
}

/// This process, and those that it descends from.
fn ancestors(pid: i32) -> impl Iterator<Item = i32> {
    let parent = |pid: &i32| procfs::stat(*pid).map(|stat| stat.ppid).filter(|parent| *parent > 1);
    std::iter::successors(Some(pid), parent).take(GENERATIONS)
}

/// A group that is gone has no process.
fn read_group(group: &Path, found: &mut BTreeSet<i32>) -> io::Result<()> {
    match fs::read_to_string(group.join("cgroup.procs")) {
        Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
        Err(e) => return Err(e),
    }
    // 0: a process outside our PID namespace. It cannot be named, and is not held.
    if found.contains(&0) {
        return Err(io::Error::other("it has processes outside our PID namespace"));
    }
    for below in fs::read_dir(group)?.flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            read_group(&below.path(), found)?;
        }
    }
    Ok(())
}

/// The control group of this unit, wherever it lies; none: no process is in one.
pub fn group_of_unit(unit: &str) -> Option<PathBuf> {
    let path = procfs::pids().ok()?.into_iter().find_map(|pid| {
        let path = procfs::cgroup(pid)?;
        let depth = path.split('/').position(|part| part == unit)?;
        Some(path.split('/').take(depth + 1).collect::<Vec<_>>().join("/"))
    })?;
    let beneath = |mount: &&str| PathBuf::from(format!("{mount}{path}"));
    MOUNTS.iter().map(beneath).find(|group| group.join("cgroup.procs").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_listed_and_our_own_are_not() {
        let mut child =
            std::process::Command::new("sh").args(["-c", "sleep 9 & wait"]).spawn().unwrap();
        let pid = child.id() as i32;
        let sleeps = loop {
            match Children::default().of(pid) {
                Look::Seen(children) if !children.is_empty() => break children[0],
                _ => crate::linux::clock::sleep_ns(1_000_000),
            }
        };
        let freezer = std::process::id() as i32;
        let of = |descend| Selection {
            processes: [pid].into(),
            descend,
            freezer,
            ..Selection::default()
        };
        assert_eq!(of(true).list(|_| Some(false)).unwrap().len(), 2);
        assert_eq!(of(false).list(|_| Some(false)).unwrap().len(), 1);
        assert!(of(true).list(|_| None).unwrap().is_empty(), "what a freezer has started");
        crate::linux::process::kill(sleeps, nix::sys::signal::Signal::SIGKILL);
        child.wait().unwrap();
    }

    #[test]
    fn a_group_that_is_gone_is_empty() {
        let gone = Selection {
            cgroups: vec!["/sys/fs/cgroup/writegate-none".into()],
            ..Selection::default()
        };
        assert!(gone.list(|_| None).unwrap().is_empty());
    }
}
