//! `writegate rehearse`: drains and lets go again, many times, without a snapshot:
//! what a freeze would cost here, before one is needed.

use super::arguments::{gates, program, whole_number};
use super::output::{print, print_json, say};
use crate::drive::drain::DrainEnd;
use crate::duration::{self, show_ms};
use crate::evidence::wanted::Wanted;
use crate::freeze::attempt::Freeze;
use crate::freeze::options::Options;
use crate::outcome::blocker::{Blocker, BlockerState};
use crate::outcome::fault::{self, Fault, Result};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::Duration;

/// Drain and release again without a snapshot: how long would a freeze take here?
#[derive(clap::Args)]
pub struct Args {
    /// Gate to rehearse on
    #[arg(short, long = "gate", value_name = "GATE")]
    gate: Vec<String>,
    /// How many times
    #[arg(short, long, default_value_t = 20, value_name = "N", value_parser = whole_number::<u32>)]
    n: u32,
    /// No writer waits longer than this, whatever happens
    #[arg(short = 't', long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    limit: Duration,
    /// How long one drain may take
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse)]
    drain: Duration,
    /// Between two of them
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = duration::parse)]
    every: Duration,
    /// Also stop those at rest that the gate cannot hold, as `freeze --hold-ungated` does
    #[arg(long)]
    hold_ungated: bool,
    /// The same, and gated processes of this program, as `freeze --hold-program` does
    #[arg(long, value_name = "PATH", value_parser = program)]
    hold_program: Vec<String>,
    /// As JSON (schema 1)
    #[arg(long)]
    json: bool,
}

/// After so many that all did not drain, more would show nothing new, and hold writers up.
const HOPELESS: u32 = 3;

/// One rehearsed drain.
struct Rehearsal {
    drained: bool,
    drain_ns: u64,
    /// Raised to lowered: what a writer can have waited, without the command's time.
    held_ns: u64,
    waiters: u32,
    admitted: u32,
    openings: u32,
    /// What was in flight when it was given up.
    blocker: Option<String>,
    /// The locks that kept sections open then: program and lock file.
    locks: BTreeSet<(String, String)>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<u8> {
    if args.n == 0 {
        return Err(Fault::new(fault::USAGE, "-n must be at least 1"));
    }
    let mut drains = Vec::new();
    for number in 1..=args.n {
        // All anew each time: the lock is not ours for longer than one drain.
        let (ended, one) = once(args)?;
        if let DrainEnd::Interrupted(signal) = ended {
            return Ok(128 + signal as u8);
        }
        if !args.json && std::io::stderr().is_terminal() {
            say(&format!("{number}/{}: {}", args.n, in_words(&one)));
        }
        drains.push(one);
        if number == HOPELESS && drains.iter().all(|drain| !drain.drained) {
            say(&format!("{number} of {number} did not drain: the others are not tried"));
            break;
        }
        if number < args.n {
            std::thread::sleep(args.every);
        }
    }
    if args.json {
        json(&drains);
    } else {
        table(&drains);
    }
    Ok(if drains.iter().all(|drain| drain.drained) { 0 } else { fault::NOT_DRAINED })
}

fn once(args: &Args) -> Result<(DrainEnd, Rehearsal)> {
    let mut freeze = Freeze::prepare(Options {
        gates: gates(&args.gate)?,
        limit_ns: duration::ns(args.limit),
        drain_ns: duration::ns(args.drain),
        queue_ns: 60_000_000_000,
        evidence: Wanted {
            hold_ungated: args.hold_ungated,
            hold_programs: args.hold_program.clone(),
            ..Wanted::default()
        },
        ..Options::default()
    })?;
    let ended = freeze.begin();
    let thawed = if ended == DrainEnd::Drained { freeze.thaw() } else { Vec::new() };
    let runs = &freeze.drains;
    let held = thawed.iter().zip(runs).map(|(t, run)| t.opened_at.saturating_sub(run.closed_at));
    let held_ns = held.max().unwrap_or(0);
    let blockers = || runs.iter().flat_map(|run| &run.blockers);
    let lock = |blocker: &Blocker| {
        let path = blocker.path.as_ref().filter(|_| blocker.call.is_none())?;
        let in_flight = blocker.state == BlockerState::InFlight;
        in_flight.then(|| (blocker.program.to_string(), path.to_string()))
    };
    let locks = blockers().filter_map(lock).collect();
    let blocker = runs.iter().flat_map(|r| &r.blockers).next().map(ToString::to_string);
    let drain_ns = runs.iter().map(|r| r.ended_at.saturating_sub(r.closed_at)).max();
    let one = Rehearsal {
        drained: ended == DrainEnd::Drained,
        drain_ns: drain_ns.unwrap_or(0),
        held_ns,
        waiters: runs.iter().map(|r| r.waiters).sum(),
        admitted: runs.iter().map(|r| r.admitted).sum(),
        openings: runs.iter().map(|r| r.openings).sum(),
        blocker,
        locks,
    };
    Ok((ended, one))
}

/// The locks that no rehearsal has seen the end of, and that kept each from draining.
fn never_ended(drains: &[Rehearsal]) -> BTreeSet<(String, String)> {
    let mut held = drains.iter().map(|drain| if drain.drained { None } else { Some(&drain.locks) });
    let (Some(first), true) = (held.next().flatten(), drains.len() > 1) else {
        return BTreeSet::new();
    };
    let each = |all: BTreeSet<_>, one: Option<&BTreeSet<_>>| {
        one.map_or_else(BTreeSet::new, |one| all.intersection(one).cloned().collect())
    };
    held.fold(first.clone(), each)
}

fn in_words(one: &Rehearsal) -> String {
    let state = if one.drained { "drained" } else { "NOT drained" };
    let blocker = one.blocker.as_ref().map(|text| format!("; {text}")).unwrap_or_default();
    format!("{state} in {}, {} waited{blocker}", show_ms(one.drain_ns), one.waiters)
}

/// The value below which this share of them lies.
fn percentile(sorted: &[u64], share: f64) -> u64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0)
}

/// What all of them came to.
struct Summary {
    /// Of those that drained, in their order.
    drains_ns: Vec<u64>,
    helds_ns: Vec<u64>,
    /// Percentiles of the drains: 50, 99, 100.
    p50: u64,
    p99: u64,
    max: u64,
    waiters_max: u32,
    limit_ms: u64,
    drain_ms: u64,
}

fn summary(drains: &[Rehearsal]) -> Summary {
    let of_drained = |what: fn(&Rehearsal) -> u64| -> Vec<u64> {
        drains.iter().filter(|drain| drain.drained).map(what).collect()
    };
    let drains_ns = of_drained(|drain| drain.drain_ns);
    let mut sorted = drains_ns.clone();
    sorted.sort();
    let [p50, p99, max] = [0.50, 0.99, 1.0].map(|share| percentile(&sorted, share));
    let (limit_ms, drain_ms) = recommend(max);
    Summary {
        drains_ns,
        helds_ns: of_drained(|drain| drain.held_ns),
        p50,
        p99,
        max,
        waiters_max: drains.iter().map(|drain| drain.waiters).max().unwrap_or(0),
        limit_ms,
        drain_ms,
    }
}

/// For machines.
fn json(drains: &[Rehearsal]) {
    let summary = summary(drains);
    let ms = |ns: u64| ns as f64 / 1e6;
    let all_ms = |all: &[u64]| all.iter().map(|ns| ms(*ns)).collect::<Vec<_>>();
    let value = serde_json::json!({
        "schema": 1,
        "n": drains.len(),
        "not_drained": drains.len() - summary.drains_ns.len(),
        "drain_ms": { "p50": ms(summary.p50), "p99": ms(summary.p99), "max": ms(summary.max) },
        "drains_ms": all_ms(&summary.drains_ns),
        "helds_ms": all_ms(&summary.helds_ns),
        "waiters_max": summary.waiters_max,
        "admitted": drains.iter().map(|drain| drain.admitted).sum::<u32>(),
        "openings": drains.iter().map(|drain| drain.openings).sum::<u32>(),
        "blockers": drains.iter().filter_map(|d| d.blocker.as_deref()).collect::<Vec<_>>(),
        "locks_that_never_ended": never_ended(drains).iter().map(|(_, path)| path).collect::<Vec<_>>(),
        "recommended": { "limit_ms": summary.limit_ms, "drain_ms": summary.drain_ms },
    });
    print_json(&value);
}

/// For persons.
fn table(drains: &[Rehearsal]) {
    let summary = summary(drains);
    histogram(&summary.drains_ns);
    for drain in drains.iter().filter(|drain| !drain.drained) {
        print(&format!("  {}", in_words(drain)));
    }
    print(&format!(
        "{} of {} drained: p50 {}, p99 {}, max {}",
        summary.drains_ns.len(),
        drains.len(),
        show_ms(summary.p50),
        show_ms(summary.p99),
        show_ms(summary.max)
    ));
    for (program, path) in never_ended(drains) {
        print(&format!(
            "{program} has held the lock on {path} all the time. If it does so as long as it runs, \
             say so in the gate's profile:"
        ));
        print(&format!("  lifetime-lock = {path}"));
    }
    if let Some(held) = summary.helds_ns.iter().max() {
        print(&format!(
            "writers would have been held up to {}, and what the snapshot command takes; {} waited \
             at most",
            show_ms(*held),
            summary.waiters_max
        ));
        print(&format!(
            "recommended: --drain {}ms, and -t {}ms plus what the snapshot command takes",
            summary.drain_ms, summary.limit_ms
        ));
    }
}

/// Four times the worst seen to drain, and as much again for the lease.
fn recommend(max_ns: u64) -> (u64, u64) {
    let drain = (max_ns.saturating_mul(4) / 1_000_000).next_multiple_of(100).max(500);
    (drain * 2, drain)
}

/// In any order.
fn histogram(drains: &[u64]) {
    let bounds = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, u64::MAX];
    let mut below = 0;
    for bound in bounds {
        let limit = bound.saturating_mul(1_000_000);
        let count = drains.iter().filter(|d| **d < limit).count() - below;
        below += count;
        if count > 0 {
            let name = if bound == u64::MAX { "more".into() } else { format!("< {bound} ms") };
            print(&format!("  {name:>10} {count:>5} {}", "#".repeat(count.min(60))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles() {
        let all: Vec<u64> = (1..=100).collect();
        assert_eq!(
            (percentile(&all, 0.5), percentile(&all, 0.99), percentile(&all, 1.0)),
            (50, 99, 100)
        );
        assert_eq!(percentile(&[], 0.5), 0);
        assert_eq!(percentile(&[7], 0.01), 7);
    }
}
