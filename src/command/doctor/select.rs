//! Which processes a service consists of.

use super::reason::RegionSeen;
use crate::linux::procfs::{self, environ};
use crate::outcome::fault::{Fault, NO_PROCESS, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What was asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A systemd unit, or a server by its name.
    Unit(String),
    /// A process with its descendants.
    Tree(i32),
    /// Whoever has to do with the gate.
    Gate,
}

/// Where the servers' programs lie, for machines without systemd.
const SERVERS: [(&str, &[&str]); 4] = [
    ("cyrus", &["/cyrus/bin/", "/cyrmaster"]),
    ("dovecot", &["/dovecot"]),
    ("postfix", &["/postfix/"]),
    ("exim", &["/exim"]),
];

/// The processes of a unit or a tree, in order.
pub fn pids(target: &Target) -> Result<BTreeSet<i32>> {
    match target {
        Target::Gate => Ok(BTreeSet::new()),
        Target::Tree(pid) => {
            if procfs::stat(*pid).is_none() {
                return Err(Fault::new(NO_PROCESS, format!("there is no process {pid}")));
            }
            Ok(with_descendants(BTreeSet::from([*pid])))
        }
        Target::Unit(name) => {
            let unit = if name.contains('.') { name.clone() } else { format!("{name}.service") };
            let mut found: BTreeSet<i32> = procfs::pids()
                .into_iter()
                .filter(|pid| {
                    procfs::cgroup(*pid)
                        .is_some_and(|path| path.split('/').any(|part| part == unit))
                })
                .collect();
            if found.is_empty() {
                found = by_program(name.trim_end_matches(".service"));
            }
            if found.is_empty() {
                return Err(Fault::new(
                    NO_PROCESS,
                    format!(
                        "no process is in a control group of {unit}: is it running? Without \
                         systemd: `writegate doctor --pid PID-OF-ITS-MASTER`"
                    ),
                ));
            }
            Ok(found)
        }
    }
}

fn by_program(name: &str) -> BTreeSet<i32> {
    let Some((_, parts)) = SERVERS.iter().find(|(server, _)| name.starts_with(server)) else {
        return BTreeSet::new();
    };
    let runs = |pid: &i32| {
        procfs::exe(*pid)
            .is_some_and(|exe| parts.iter().any(|part| exe.to_string_lossy().contains(part)))
    };
    with_descendants(procfs::pids().into_iter().filter(runs).collect())
}

/// These and everybody below them, but for ourselves.
fn with_descendants(mut set: BTreeSet<i32>) -> BTreeSet<i32> {
    let parents: BTreeMap<i32, i32> =
        procfs::pids().into_iter().filter_map(|pid| Some((pid, procfs::stat(pid)?.ppid))).collect();
    loop {
        let more: Vec<i32> = parents
            .iter()
            .filter(|(pid, parent)| set.contains(parent) && !set.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            break;
        }
        set.extend(more);
    }
    set.remove(&(std::process::id() as i32));
    set
}

/// Whoever maps the gate's page or an old one of it, their descendants, and the
/// others of their systemd units.
pub fn of_gate(regions: &BTreeMap<i32, RegionSeen>, detached: &[i32]) -> BTreeSet<i32> {
    let set: BTreeSet<i32> = regions.keys().copied().chain(detached.iter().copied()).collect();
    let units: BTreeSet<String> = set
        .iter()
        .filter_map(|pid| procfs::cgroup(*pid))
        .filter(|path| path.ends_with(".service"))
        .collect();
    let mut set = with_descendants(set);
    let others = procfs::pids().into_iter().filter(|pid| {
        procfs::stat(*pid).is_some_and(|stat| !stat.kernel && stat.state != 'Z')
            && procfs::cgroup(*pid).is_some_and(|path| units.contains(&path))
    });
    set.extend(others);
    set.remove(&(std::process::id() as i32));
    set
}

fn variable(pid: i32, name: &'static str) -> Option<String> {
    crate::linux::apart::run(Duration::from_millis(500), move || environ::read(pid).remove(name))?
}

/// The gate that most of these name in their environment.
pub fn gate_of(pids: &BTreeSet<i32>) -> Option<String> {
    let mut votes: BTreeMap<String, usize> = BTreeMap::new();
    for gate in pids.iter().filter_map(|pid| variable(*pid, "WRITEGATE_GATE")) {
        *votes.entry(gate).or_default() += 1;
    }
    votes.into_iter().max_by_key(|(_, count)| *count).map(|(gate, _)| gate)
}

/// Does this process's environment name the gate? `default` is asked for by silence.
pub fn asks_for(pid: i32, gate: &str) -> bool {
    variable(pid, "WRITEGATE_GATE").map_or(gate == "default", |named| named == gate)
}
