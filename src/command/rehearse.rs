//! `writegate rehearse`: drains and lets go again, many times, without a snapshot:
//! what a freeze would cost here, before one is needed.

use super::{gates, print, say};
use crate::drive::drain::DrainEnd;
use crate::duration::{self, show_ms};
use crate::freeze::attempt::Freeze;
use crate::freeze::options::Options;
use crate::outcome::fault::{self, Fault, Result};
use std::io::IsTerminal;
use std::time::Duration;

/// Drain and release again without a snapshot: how long would a freeze take here?
#[derive(clap::Args)]
pub struct Args {
    /// Gate to rehearse on
    #[arg(short, long = "gate", value_name = "GATE")]
    gate: Vec<String>,
    /// How many times
    #[arg(short, long, default_value_t = 20, value_name = "N")]
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
    /// As JSON (schema 1)
    #[arg(long)]
    json: bool,
}

/// One rehearsed drain.
struct Try {
    drained: bool,
    drain_ns: u64,
    /// Raised to lowered: what a writer can have waited, without the command's time.
    held_ns: u64,
    waiters: u32,
    admitted: u32,
    openings: u32,
    /// Who was in flight when it was given up.
    last: Option<String>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<u8> {
    if args.n == 0 {
        return Err(Fault::new(fault::USAGE, "-n must be at least 1"));
    }
    let mut tries = Vec::new();
    for number in 1..=args.n {
        // All anew each time: the lock is not ours for longer than one drain.
        let (ended, one) = once(args)?;
        if let DrainEnd::Interrupted(signal) = ended {
            return Ok(128 + signal as u8);
        }
        if !args.json && std::io::stderr().is_terminal() {
            say(&format!("{number}/{}: {}", args.n, show(&one)));
        }
        tries.push(one);
        if number < args.n {
            std::thread::sleep(args.every);
        }
    }
    let failed = tries.iter().filter(|t| !t.drained).count();
    report(args, &tries);
    Ok(if failed == 0 { 0 } else { fault::NOT_DRAINED })
}

fn once(args: &Args) -> Result<(DrainEnd, Try)> {
    let mut freeze = Freeze::prepare(Options {
        gates: gates(&args.gate),
        limit_ns: duration::ns(args.limit),
        drain_ns: duration::ns(args.drain),
        queue_ns: 60_000_000_000,
        ..Options::default()
    })?;
    let ended = freeze.begin();
    let thawed = if ended == DrainEnd::Drained { freeze.thaw() } else { Vec::new() };
    let drains = &freeze.drains;
    let held =
        thawed.iter().zip(drains).map(|(t, drain)| t.opened_at.saturating_sub(drain.closed_at));
    let held_ns = held.max().unwrap_or(0);
    let blocker = drains.iter().flat_map(|r| &r.blockers).next().map(ToString::to_string);
    let drain_ns = drains.iter().map(|r| r.ended_at.saturating_sub(r.closed_at)).max();
    let one = Try {
        drained: ended == DrainEnd::Drained,
        drain_ns: drain_ns.unwrap_or(0),
        held_ns,
        waiters: drains.iter().map(|r| r.waiters).sum(),
        admitted: drains.iter().map(|r| r.admitted).sum(),
        openings: drains.iter().map(|r| r.openings).sum(),
        last: blocker,
    };
    Ok((ended, one))
}

fn show(one: &Try) -> String {
    let state = if one.drained { "drained" } else { "NOT drained" };
    let who = one.last.as_ref().map(|who| format!("; {who}")).unwrap_or_default();
    format!("{state} in {}, {} waited{who}", show_ms(one.drain_ns), one.waiters)
}

/// The value below which this share of them lies.
fn percentile(sorted: &[u64], share: f64) -> u64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0)
}

fn report(args: &Args, tries: &[Try]) {
    let of_drained = |what: fn(&Try) -> u64| -> Vec<u64> {
        tries.iter().filter(|t| t.drained).map(what).collect()
    };
    let in_turn = of_drained(|t| t.drain_ns);
    let helds = of_drained(|t| t.held_ns);
    let mut drains = in_turn.clone();
    drains.sort();
    let failed = tries.len() - drains.len();
    let [p50, p99, max] = [0.50, 0.99, 1.0].map(|share| percentile(&drains, share));
    let (limit, drain) = recommend(max);
    if args.json {
        let ms = |ns: u64| ns as f64 / 1e6;
        let value = serde_json::json!({
            "schema": 1,
            "n": tries.len(),
            "not_drained": failed,
            "drain_ms": { "p50": ms(p50), "p99": ms(p99), "max": ms(max) },
            "drains_ms": in_turn.iter().map(|d| ms(*d)).collect::<Vec<_>>(),
            "helds_ms": helds.iter().map(|h| ms(*h)).collect::<Vec<_>>(),
            "waiters_max": tries.iter().map(|t| t.waiters).max(),
            "admitted": tries.iter().map(|t| t.admitted).sum::<u32>(),
            "openings": tries.iter().map(|t| t.openings).sum::<u32>(),
            "blockers": tries.iter().filter_map(|t| t.last.as_deref()).collect::<Vec<_>>(),
            "recommended": { "limit_ms": limit, "drain_ms": drain },
        });
        print(&serde_json::to_string_pretty(&value).unwrap_or_default());
        return;
    }
    histogram(&drains);
    for one in tries.iter().filter(|t| !t.drained) {
        print(&format!("  {}", show(one)));
    }
    print(&format!(
        "{} of {} drained: p50 {}, p99 {}, max {}",
        drains.len(),
        tries.len(),
        show_ms(p50),
        show_ms(p99),
        show_ms(max)
    ));
    if let Some(held) = helds.iter().max() {
        print(&format!(
            "writers would have been held up to {}, and what the snapshot command takes; {} waited \
             at most",
            show_ms(*held),
            tries.iter().map(|t| t.waiters).max().unwrap_or(0)
        ));
        print(&format!(
            "recommended: --drain {drain}ms, and -t {limit}ms plus what the snapshot command takes"
        ));
    }
}

/// Four times the worst seen to drain, and as much again for the lease.
fn recommend(max_ns: u64) -> (u64, u64) {
    let drain = (max_ns.saturating_mul(4) / 1_000_000).next_multiple_of(100).max(500);
    (drain * 2, drain)
}

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
