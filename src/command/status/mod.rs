//! `writegate status`: the gates, their processes, which of them are in flight and which
//! wait.
//!
//! | module | duty |
//! |---|---|
//! | [`gate_status`] | a gate and its processes, as they are now |
//! | [`table`], [`prom`] | as lines for persons; in Prometheus' format |
//! | [`watch`] | again and again |

mod gate_status;
mod prom;
mod table;
mod watch;

use super::doctor::own_rights;
use super::output::{Paint, print, print_json, print_lines, say};
use crate::duration;
use crate::gatedir::{self, stats};
use crate::outcome::fault::Result;
use gate_status::{GateStatus, all, no_gates};
use prom::Figures;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// Show each gate, its processes, which of them are in flight and which wait
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

#[derive(Serialize)]
struct StatusJson {
    schema: u32,
    gates: Vec<GateStatus>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<u8> {
    if let Some(every) = args.watch {
        return watch::run(&args.gate, every);
    }
    for right in own_rights::missing() {
        say(&format!("{}, and what is not seen is not shown; {}", right.what, right.cure));
    }
    let mut statuses = Vec::new();
    for status in all(&args.gate) {
        match status {
            Ok(status) => statuses.push(status),
            Err(fault) if args.gate.is_empty() => say(&fault.message),
            Err(fault) => return Err(fault),
        }
    }
    if args.json {
        let all = StatusJson { schema: 1, gates: statuses };
        print_json(&all);
        return Ok(0);
    }
    if args.prom {
        let figures: Vec<Figures> = statuses.iter().map(figures).collect();
        print_lines(prom::text(&figures).trim_end());
        return Ok(0);
    }
    if statuses.is_empty() && gatedir::names().is_empty() {
        print(&no_gates());
    }
    let lines = statuses.iter().flat_map(|status| table::lines(status, Paint::for_stdout()));
    lines.for_each(|line| print(&line));
    Ok(0)
}

fn figures(status: &GateStatus) -> Figures<'_> {
    Figures {
        gate: &status.gate,
        gauges: vec![
            ("writegate_barrier_closed", (status.barrier == "closed") as u8 as f64),
            ("writegate_processes", status.processes.len() as f64),
            ("writegate_processes_in_flight", status.count("in-flight") as f64),
            ("writegate_held_writers", status.count("held") as f64),
            (
                "writegate_ungated_processes",
                (status.ungated.len() + status.other_layout.len()) as f64,
            ),
            ("writegate_deaf_processes", status.old_page.len() as f64),
            ("writegate_unseen_processes", status.unseen as f64),
            ("writegate_last_freeze_timestamp_seconds", status.last_freeze.unwrap_or(0) as f64),
            (
                "writegate_last_consistent_timestamp_seconds",
                status.last_consistent.unwrap_or(0) as f64,
            ),
        ],
        stats: stats::read(Path::new(&status.directory)),
    }
}
