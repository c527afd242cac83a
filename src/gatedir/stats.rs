//! What a gate's freezes have come to so far: `NAME/stats`, for `status --prom`.
//!
//! Written after the thaw, by the freezer that holds the gate's lock; lost with
//! the gate's directory at a reboot, as counters are.

use crate::linux::replace::{READABLE, replace};
use crate::outcome::record::VerdictLine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Upper bounds of the histograms, ms.
pub const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

/// One histogram: how many lay at or below each bound, not cumulative.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Histogram {
    /// One for each of [`BOUNDS_MS`], and one for what lies above.
    pub counts: [u64; 13],
    /// Sum, ms.
    pub sum_ms: f64,
}

impl Histogram {
    fn add(&mut self, ns: u64) {
        let ms = ns as f64 / 1e6;
        let at = BOUNDS_MS.iter().position(|bound| ms <= *bound as f64);
        self.counts[at.unwrap_or(BOUNDS_MS.len())] += 1;
        self.sum_ms += ms;
    }
}

/// All of it, for one gate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Freezes by verdict.
    pub verdicts: BTreeMap<String, u64>,
    /// Drains that succeeded.
    pub drain: Histogram,
    /// From raising the barrier to lowering it, where the drain succeeded.
    pub held: Histogram,
}

/// Reads a gate's; nothing yet is all zero.
pub fn read(dir: &Path) -> Stats {
    let text = fs::read_to_string(dir.join("stats")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Adds one freeze. Not worth a message if it cannot be written.
pub fn add(dir: &Path, line: &VerdictLine) {
    // Counters that cannot be read are left as they are; those of which nothing can be made begin anew.
    let mut stats: Stats = match fs::read(dir.join("stats")) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Stats::default(),
        Err(_) => return,
    };
    *stats.verdicts.entry(line.verdict.name().into()).or_default() += 1;
    if line.verdict.had_drained() {
        stats.drain.add(line.drain_ns);
        stats.held.add(line.held_ns);
    }
    let text = serde_json::to_vec(&stats).unwrap_or_default();
    let _ = replace(&dir.join("stats"), &text, READABLE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let mut histogram = Histogram::default();
        for ns in [1_000_000, 1_000_001, 6_000_000_000] {
            histogram.add(ns);
        }
        assert_eq!((histogram.counts[0], histogram.counts[1], histogram.counts[12]), (1, 1, 1));
    }
}
