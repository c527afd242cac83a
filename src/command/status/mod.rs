//! `writegate status`: the gate, its processes, who is in flight and who waits.

mod prom;
mod table;
mod watch;

use super::print;
use crate::census::blockers::{self, Blocker};
use crate::duration;
use crate::evidence::coverage;
use crate::freeze::session::look_around;
use crate::gatedir::stats;
use crate::gatedir::{self, Gate};
use crate::linux::sys;
use crate::outcome::fault::Result;
use gate::layout::LAYOUT;
use prom::Figures;
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;
use table::Paint;

/// Show each gate, its processes, who is in flight and who waits
#[derive(clap::Args)]
#[command(after_help = "Examples:
  writegate status -g mail
  writegate status --watch 1s
  writegate status --prom > writegate.prom.new && mv writegate.prom.new writegate.prom")]
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
    /// Look again every so often, until Ctrl-C: a live screen on a terminal, else lines with the time
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        default_missing_value = "2s",
        value_parser = duration::parse,
        conflicts_with_all = ["json", "prom"]
    )]
    watch: Option<Duration>,
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
    /// Of the page, the gated processes and this command.
    layout: String,
    processes: Vec<Shown>,
    /// Have mapped a control page that was replaced: detached until restarted.
    old_page: Vec<Named>,
    /// Belong to the service, and run a library of another layout: not gated.
    other_layout: Vec<OfLayout>,
    /// Belong to the service, by unit, program or parent, and are not gated.
    ungated: Vec<Named>,
    /// Could not be looked into.
    unseen: usize,
}

#[derive(Serialize)]
struct Named {
    pid: i32,
    program: String,
}

#[derive(Serialize)]
struct OfLayout {
    pid: i32,
    program: String,
    layout: String,
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
    if let Some(every) = args.watch {
        return watch::run(&args.gate, every);
    }
    let mut states = Vec::new();
    for state in all(&args.gate) {
        match state {
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
        print(&no_gates());
    }
    let lines = states.iter().flat_map(|state| table::lines(state, Paint::for_stdout()));
    lines.for_each(|line| print(&line));
    Ok(0)
}

/// The gates that were named, else all there are, as they are now.
fn all(named: &[String]) -> Vec<Result<State>> {
    let names = if named.is_empty() { gatedir::names() } else { named.to_vec() };
    names.iter().map(|name| state(name)).collect()
}

fn no_gates() -> String {
    format!("no gates in {}", gatedir::root().display())
}

impl State {
    fn count(&self, state: &str) -> usize {
        self.processes.iter().filter(|p| p.state == state).count()
    }
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
                uid: crate::linux::procfs::uid(member.pid),
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
    let ungated = coverage::ungated(&census, 0);
    let others = coverage::other_layouts(&census, 0, page.profile_text());
    let old = census.detached.values().filter(|d| d.old_page.is_some());
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
        layout: format!("{LAYOUT:08x}"),
        processes,
        old_page: old.map(|d| Named { pid: d.pid, program: d.comm.clone() }).collect(),
        other_layout: others
            .into_iter()
            .map(|(d, layout)| OfLayout {
                pid: d.pid,
                program: d.comm.clone(),
                layout: layout.name(),
            })
            .collect(),
        ungated: ungated.into_iter().map(|u| Named { pid: u.pid, program: u.program }).collect(),
        unseen: census.denied.len(),
    })
}

fn figures(state: &State) -> Figures<'_> {
    Figures {
        gate: &state.gate,
        gauges: vec![
            ("writegate_barrier_closed", (state.barrier == "closed") as u8 as f64),
            ("writegate_processes", state.processes.len() as f64),
            ("writegate_processes_in_flight", state.count("in-flight") as f64),
            ("writegate_held_writers", state.count("held") as f64),
            (
                "writegate_ungated_processes",
                (state.ungated.len() + state.other_layout.len()) as f64,
            ),
            ("writegate_deaf_processes", state.old_page.len() as f64),
            ("writegate_unseen_processes", state.unseen as f64),
        ],
        stats: stats::read(Path::new(&state.directory)),
    }
}
