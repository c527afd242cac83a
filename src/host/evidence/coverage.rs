//! Who ought to be gated and is not; and what a gated process can do past the gate.

use crate::host::census::{Census, Kind as Seen};
use crate::host::procfs;
use crate::host::report::{Finding, Kind};
use gate::region;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

/// Programs that say nothing about which service runs them.
const COMMON: [&str; 14] = [
    "sh", "bash", "dash", "busybox", "env", "perl", "python", "ruby", "php", "sleep", "cat",
    "tail", "sudo", "tini",
];

/// A process that the gate does not cover.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ungated {
    /// Process.
    pub pid: i32,
    /// Start time and image: it must still be the same when it is asked again.
    pub same: (u64, u64),
    /// Its name.
    pub program: String,
    /// Why it ought to be gated.
    pub why: &'static str,
}

/// Our own ancestors and descendants are not the service's.
pub fn is_kin(pid: i32, census: &Census) -> bool {
    let me = std::process::id() as i32;
    let climbs_to = |mut from: i32, to: &dyn Fn(i32) -> bool| {
        for _ in 0..64 {
            if to(from) {
                return true;
            }
            match procfs::stat(from) {
                Some(stat) if stat.ppid > 1 => from = stat.ppid,
                _ => return false,
            }
        }
        false
    };
    climbs_to(pid, &|at| census.ours.contains(&at)) || climbs_to(me, &|at| at == pid)
}

/// Everybody who belongs to the service of a gate and is not gated.
pub fn ungated(census: &Census, at: usize) -> Vec<Ungated> {
    let mut units: HashSet<String> = HashSet::new();
    let mut programs: HashSet<PathBuf> = HashSet::new();
    let mut members: HashMap<i32, ()> = HashMap::new();
    for member in census.alive(at) {
        members.insert(member.pid, ());
        units.extend(procfs::cgroup(member.pid).filter(|unit| unit.ends_with(".service")));
        programs.extend(procfs::exe(member.pid).filter(|exe| !is_common(exe)));
    }
    let mut found = Vec::new();
    for (&pid, seen) in &census.seen {
        if seen.kind != Seen::Other || census.elsewhere.contains(&pid) {
            continue;
        }
        let Some(stat) = procfs::stat(pid) else { continue };
        if stat.start != seen.start || matches!(stat.state, 'Z' | 'X') {
            continue;
        }
        let in_unit = || procfs::cgroup(pid).is_some_and(|unit| units.contains(&unit));
        let same_program = || procfs::exe(pid).is_some_and(|exe| programs.contains(&exe));
        let why = if members.contains_key(&stat.ppid) {
            "was started by a gated process and is not gated itself"
        } else if in_unit() {
            "runs in the same unit and is not gated"
        } else if same_program() {
            "runs the same program and is not gated: not restarted since?"
        } else {
            continue;
        };
        if !is_kin(pid, census) {
            found.push(Ungated { pid, same: (stat.start, stat.image), program: stat.comm, why });
        }
    }
    found
}

fn is_common(exe: &Path) -> bool {
    let name = exe.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    COMMON.contains(&plain)
}

/// What gated processes admit that they can do past the gate.
pub fn ways_past(census: &Census, at: usize) -> Vec<Finding> {
    let ways = [
        (
            region::FLAG_MAPS_SHARED,
            "has mapped a protected file shared and writable: stores cannot be held",
        ),
        (region::FLAG_AIO, "has used aio, whose helper threads write past the gate"),
        (region::FLAG_IO_URING, "has set up an io_uring, which writes past the gate"),
        (region::FLAG_LOCKS_UNKNOWN, "has held more locks at once than its region can show"),
    ];
    let mut found = Vec::new();
    for member in census.alive(at) {
        let Some(view) = &member.view else { continue };
        let flags = view.header().flags.load(Relaxed);
        for (_, what) in ways.iter().filter(|(flag, _)| flags & flag != 0) {
            found.push(Finding {
                kind: Kind::Uncovered,
                pid: Some(member.pid),
                program: Some(member.stat.comm.clone()),
                path: None,
                what: (*what).into(),
            });
        }
    }
    found
}
