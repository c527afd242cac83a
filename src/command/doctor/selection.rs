//! Which processes are looked at.

use super::observe;
use crate::command::servers::{SERVERS, Server, names};
use crate::command::unit_files;
use crate::gatedir;
use crate::linux::procfs;
use crate::outcome::fault::{Fault, NO_PROCESS, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What was asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// A systemd unit, or a server by its name.
    Unit(String),
    /// A process with its descendants.
    Tree(i32),
    /// All that have to do with the gate.
    Gate,
}

impl Selection {
    /// The server that is meant by its name.
    pub fn server(&self) -> Option<&'static Server> {
        let Selection::Unit(name) = self else { return None };
        SERVERS.iter().find(|server| server.name == name)
    }
}

/// Does it run one of the server's programs?
pub fn runs(pid: i32, server: &Server) -> bool {
    procfs::exe(pid).is_some_and(|exe| server.runs(&exe))
}

/// The processes of a unit or a tree, in order; of a gate see `around`. Unit files lie below `root`.
pub fn pids(selection: &Selection, root: &Path) -> Result<BTreeSet<i32>> {
    match selection {
        Selection::Gate => Ok(BTreeSet::new()),
        Selection::Tree(pid) => {
            if procfs::stat(*pid).is_none() {
                return Err(Fault::new(NO_PROCESS, format!("there is no process {pid}")));
            }
            Ok(with_descendants(BTreeSet::from([*pid])))
        }
        Selection::Unit(name) => {
            let units = match selection.server() {
                Some(server) => server.units.iter().map(|unit| (*unit).to_owned()).collect(),
                None => vec![unit_of(name)],
            };
            let mut found: BTreeSet<i32> = units.iter().flat_map(|unit| of_unit(unit)).collect();
            if found.is_empty() {
                found = of_server(name.trim_end_matches(".service"));
            }
            if found.is_empty() { Err(nobody(selection, name, root)) } else { Ok(found) }
        }
    }
}

fn unit_of(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{name}.service") }
}

/// Why nobody was found, and what to do.
fn nobody(selection: &Selection, name: &str, root: &Path) -> Fault {
    let without_systemd = "Without systemd: `writegate doctor --pid PID-OF-ITS-MASTER`";
    let unit = unit_of(name);
    let message = if let Some(server) = selection.server() {
        let unit = server.unit(root);
        format!(
            "no process of {} is there: is it running? `systemctl status {unit}` says. {without_systemd}",
            server.title
        )
    } else if gatedir::names().iter().any(|gate| gate == name) {
        format!("`{name}` is a gate, and no unit: `writegate doctor -g {name}`")
    } else if unit_files::files(root, &unit).is_empty() {
        format!(
            "there is no unit {unit} here, and {name} is no server that is known ({}). {without_systemd}",
            names(&SERVERS)
        )
    } else {
        format!(
            "no process is in a control group of {unit}: is it running? `systemctl status {unit}` says. \
             {without_systemd}"
        )
    };
    Fault::new(NO_PROCESS, message)
}

fn of_unit(unit: &str) -> BTreeSet<i32> {
    let is_in = |pid: &i32| {
        procfs::cgroup(*pid).is_some_and(|path| path.split('/').any(|part| part == unit))
    };
    procfs::pids().into_iter().flatten().filter(is_in).collect()
}

/// By their programs, for machines without systemd. `exim4` is Exim too.
fn of_server(name: &str) -> BTreeSet<i32> {
    let Some(server) = SERVERS.iter().find(|server| name.starts_with(server.name)) else {
        return BTreeSet::new();
    };
    with_descendants(
        procfs::pids().into_iter().flatten().filter(|pid| runs(*pid, server)).collect(),
    )
}

/// These and all below them, but for ourselves.
fn with_descendants(mut set: BTreeSet<i32>) -> BTreeSet<i32> {
    let parents: BTreeMap<i32, i32> = procfs::pids()
        .into_iter()
        .flatten()
        .filter_map(|pid| Some((pid, procfs::stat(pid)?.ppid)))
        .collect();
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

/// These, their descendants, and the others of their systemd units.
pub fn around(pids: impl Iterator<Item = i32>) -> BTreeSet<i32> {
    let set: BTreeSet<i32> = pids.collect();
    let units: BTreeSet<String> = set
        .iter()
        .filter_map(|pid| procfs::cgroup(*pid))
        .filter(|path| path.ends_with(".service"))
        .collect();
    let mut set = with_descendants(set);
    let others = procfs::pids().into_iter().flatten().filter(|pid| {
        procfs::stat(*pid).is_some_and(|stat| !stat.kernel && stat.state != 'Z')
            && procfs::cgroup(*pid).is_some_and(|path| units.contains(&path))
    });
    set.extend(others);
    set.remove(&(std::process::id() as i32));
    set
}

/// The gate that a process's environment names.
fn named_gate(pid: i32) -> Option<String> {
    observe::environment(pid)?.remove("WRITEGATE_GATE")
}

/// The gate whose page most of these map, or that they name in their environment: a program that
/// sets its title (Dovecot) has overwritten what it was started with.
pub fn gate_of(pids: &BTreeSet<i32>) -> Option<String> {
    let mut votes: BTreeMap<String, usize> = BTreeMap::new();
    let gate_of_one = |pid: &i32| observe::mapped_gate(*pid).or_else(|| named_gate(*pid));
    for gate in pids.iter().filter_map(gate_of_one) {
        *votes.entry(gate).or_default() += 1;
    }
    votes.into_iter().max_by_key(|(_, count)| *count).map(|(gate, _)| gate)
}
