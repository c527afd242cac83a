//! `writegate status --prom`: Prometheus' text format, fit for the node exporter's
//! textfile collector.

use crate::gatedir::stats::{BOUNDS_MS, Histogram, Stats};
use std::fmt::Write;

/// What is known of one gate.
pub struct Figures<'a> {
    /// Its name.
    pub gate: &'a str,
    /// Gauges by name.
    pub gauges: Vec<(&'static str, f64)>,
    /// What its freezes have come to.
    pub stats: Stats,
}

/// What each gauge means.
fn help(name: &str) -> &'static str {
    match name {
        "writegate_barrier_closed" => "1 while writers are held.",
        "writegate_processes" => "Gated processes.",
        "writegate_processes_in_flight" => "Gated processes inside a write section.",
        "writegate_held_writers" => "Gated processes that wait at the barrier.",
        "writegate_ungated_processes" => "Processes of the service that are not gated.",
        "writegate_deaf_processes" => "Processes that map a control page that was replaced.",
        "writegate_unseen_processes" => "Processes that could not be looked into.",
        "writegate_last_freeze_timestamp_seconds" => "When the last freeze ended; 0: never.",
        "writegate_last_consistent_timestamp_seconds" => {
            "When the last CONSISTENT freeze ended; 0: never."
        }
        _ => "",
    }
}

/// The whole text.
pub fn text(all: &[Figures]) -> String {
    let mut out = String::new();
    let names: Vec<&str> =
        all.first().map(|f| f.gauges.iter().map(|(name, _)| *name).collect()).unwrap_or_default();
    for name in names {
        let _ = writeln!(out, "# HELP {name} {}\n# TYPE {name} gauge", help(name));
        for figures in all {
            for (_, value) in figures.gauges.iter().filter(|(of, _)| *of == name) {
                let _ = writeln!(out, "{name}{{gate=\"{}\"}} {value}", figures.gate);
            }
        }
    }
    let _ = writeln!(
        out,
        "# HELP writegate_freezes_total Freezes by verdict.\n# TYPE writegate_freezes_total counter"
    );
    for figures in all {
        for (verdict, count) in &figures.stats.verdicts {
            let gate = figures.gate;
            let _ = writeln!(
                out,
                "writegate_freezes_total{{gate=\"{gate}\",verdict=\"{verdict}\"}} {count}"
            );
        }
    }
    histogram(
        &mut out,
        "writegate_drain_seconds",
        "From the closing to nothing in flight.",
        all,
        |s| &s.drain,
    );
    histogram(&mut out, "writegate_held_seconds", "From the closing to the opening.", all, |s| {
        &s.held
    });
    out
}

fn histogram(
    out: &mut String,
    name: &str,
    help: &str,
    all: &[Figures],
    of: impl Fn(&Stats) -> &Histogram,
) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
    for Figures { gate, stats, .. } in all {
        let histogram = of(stats);
        let mut below = 0;
        for (bound, count) in BOUNDS_MS.iter().zip(histogram.counts) {
            below += count;
            let seconds = *bound as f64 / 1e3;
            let _ = writeln!(out, "{name}_bucket{{gate=\"{gate}\",le=\"{seconds}\"}} {below}");
        }
        let count: u64 = histogram.counts.iter().sum();
        let _ = writeln!(out, "{name}_bucket{{gate=\"{gate}\",le=\"+Inf\"}} {count}");
        let _ = writeln!(out, "{name}_sum{{gate=\"{gate}\"}} {}", histogram.sum_ms / 1e3);
        let _ = writeln!(out, "{name}_count{{gate=\"{gate}\"}} {count}");
    }
}
