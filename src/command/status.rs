//! `writegate status`: the gate, its processes, who is in flight and who waits.

use super::print;
use super::prom::{self, Figures};
use crate::host::blockers::{self, Blocker};
use crate::host::fault::Result;
use crate::host::gatedir::{self, Gate};
use crate::host::session::look_around;
use crate::host::{stats, sys};
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::Ordering::Acquire;

/// Show each gate, its processes, who is in flight and who waits
#[derive(clap::Args)]
pub struct Args {
    /// Gate to show (default: all there are)
    #[arg(short, long = "gate", value_name = "GATE")]
    gate: Vec<String>,
    /// As JSON (schema 1)
    #[arg(long)]
    json: bool,
    /// In Prometheus' text format, for the node exporter's textfile collector
    #[arg(long, conflicts_with = "json")]
    prom: bool,
}

/// One gate, as it is now.
#[derive(Serialize)]
struct State {
    gate: String,
    directory: String,
    /// `open`, `closed`, or `lease-over`: raised, and its deadline has passed.
    barrier: &'static str,
    /// Until writers go on by themselves, ms.
    left_ms: Option<f64>,
    /// A freezer holds the lock; null: may not be looked at.
    freezer: Option<bool>,
    freezes: u64,
    processes: Vec<Shown>,
    /// Have mapped a control page that was replaced: deaf until restarted.
    old_page: Vec<Named>,
    /// Could not be looked into.
    unseen: usize,
}

#[derive(Serialize)]
struct Named {
    pid: i32,
    program: String,
}

#[derive(Serialize)]
struct Shown {
    pid: i32,
    program: String,
    uid: Option<u32>,
    parent: Option<i32>,
    /// `idle`, `in-flight`, `held`, `waits-for-lock`.
    state: String,
    threads: usize,
    locks: u16,
    details: Vec<Blocker>,
}

#[derive(Serialize)]
struct Everything {
    schema: u32,
    gates: Vec<State>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<u8> {
    let names = if args.gate.is_empty() { gatedir::names() } else { args.gate.clone() };
    let mut states = Vec::new();
    for name in &names {
        match state(name) {
            Ok(state) => states.push(state),
            Err(fault) if args.gate.is_empty() => super::say(&fault.message),
            Err(fault) => return Err(fault),
        }
    }
    if args.json {
        let all = Everything { schema: 1, gates: states };
        print(&serde_json::to_string_pretty(&all).unwrap_or_default());
        return Ok(0);
    }
    if args.prom {
        let figures: Vec<Figures> = states.iter().map(figures).collect();
        print(prom::text(&figures).trim_end());
        return Ok(0);
    }
    if states.is_empty() {
        print(&format!("no gates in {}", gatedir::root().display()));
    }
    for state in &states {
        table(state);
    }
    Ok(0)
}

fn state(name: &str) -> Result<State> {
    let gates = [Gate::open_to_read(name)?];
    let (_helper, census) = look_around(&gates)?;
    let [gate] = gates;
    let page = gate.page.get();
    let (barrier, now) = (page.barrier.load(Acquire), sys::now_ns());
    let processes = census
        .alive(0)
        .map(|member| {
            let blocking = blockers::of(member);
            let waiting = blockers::waiting(member);
            let state = match (blocking.first(), waiting.first()) {
                (Some(_), _) => "in-flight".to_owned(),
                (None, Some(waits)) => waits.state.clone(),
                (None, None) => "idle".to_owned(),
            };
            let view = member.view.as_ref();
            Shown {
                pid: member.pid,
                program: member.stat.comm.clone(),
                uid: crate::host::procfs::uid(member.pid),
                parent: member.parent.map(|at| census.gates[0][at].pid),
                state,
                threads: view
                    .map_or(0, |v| v.slots().iter().filter(|s| s.tid.load(Acquire) != 0).count()),
                locks: view.map_or(0, |v| {
                    gate::word::ProcessWord(v.header().process.load(Acquire)).locks()
                }),
                details: blocking.into_iter().chain(waiting).collect(),
            }
        })
        .collect();
    let old = census.deaf.values().filter(|d| d.old_page.is_some());
    Ok(State {
        gate: name.into(),
        directory: gate.dir.display().to_string(),
        barrier: match barrier {
            0 => "open",
            deadline if deadline <= now => "lease-over",
            _ => "closed",
        },
        left_ms: (barrier > now).then(|| (barrier - now) as f64 / 1e6),
        freezer: gate.is_locked(),
        freezes: page.freezes.load(Acquire),
        processes,
        old_page: old.map(|d| Named { pid: d.pid, program: d.comm.clone() }).collect(),
        unseen: census.denied.len(),
    })
}

fn figures(state: &State) -> Figures<'_> {
    let count = |name: &str| state.processes.iter().filter(|p| p.state == name).count() as f64;
    Figures {
        gate: &state.gate,
        gauges: vec![
            ("writegate_barrier_closed", (state.barrier == "closed") as u8 as f64),
            ("writegate_processes", state.processes.len() as f64),
            ("writegate_processes_in_flight", count("in-flight")),
            ("writegate_held_writers", count("held")),
            ("writegate_deaf_processes", state.old_page.len() as f64),
            ("writegate_unseen_processes", state.unseen as f64),
        ],
        stats: stats::read(Path::new(&state.directory)),
    }
}

fn table(state: &State) {
    let left = state.left_ms.map(|ms| format!(", {ms:.0} ms left")).unwrap_or_default();
    let freezer = if state.freezer == Some(true) { ", a freezer holds it" } else { "" };
    print(&format!(
        "gate {}: {}{left}{freezer}; {} freezes, {} processes, {} in flight, {} held",
        state.gate,
        state.barrier,
        state.freezes,
        state.processes.len(),
        state.processes.iter().filter(|p| p.state == "in-flight").count(),
        state.processes.iter().filter(|p| p.state == "held").count(),
    ));
    if !state.processes.is_empty() {
        print(&format!(
            "  {:>8} {:<16} {:>6} {:<15} {:>5} {:>5}  DETAILS",
            "PID", "PROGRAM", "USER", "STATE", "THRDS", "LOCKS"
        ));
    }
    for p in &state.processes {
        let uid = p.uid.map_or("?".into(), |uid| uid.to_string());
        let details: Vec<String> = p.details.iter().map(detail).collect();
        print(&format!(
            "  {:>8} {:<16} {uid:>6} {:<15} {:>5} {:>5}  {}",
            p.pid,
            p.program,
            p.state,
            p.threads,
            p.locks,
            details.join("; ")
        ));
    }
    for deaf in &state.old_page {
        print(&format!(
            "  pid {} ({}) maps a control page that was replaced: restart it",
            deaf.pid, deaf.program
        ));
    }
    if state.unseen > 0 {
        print(&format!("  {} processes could not be looked into", state.unseen));
    }
}

/// What a process does, without its name.
fn detail(blocker: &Blocker) -> String {
    let mut text = blocker.call.clone().unwrap_or_default();
    for part in [blocker.path.as_deref(), Some(blocker.why.as_str())].into_iter().flatten() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(part);
    }
    if let Some(age) = blocker.age_ms {
        text += &format!(" ({age:.0} ms)");
    }
    text
}
