//! A moment that suits (`--wait-quiet`): before the barrier goes up, wait until little
//! is in flight, so that the drain is short and few are held for it.
//!
//! *Quiet* means, in two looks in a row: no section is open in any process of any
//! gate, and no more than [`CALLS`] calls are in flight altogether. A single call is
//! over in microseconds, and on a busy server there is always one.
//!
//! Nobody is held meanwhile, and nothing is decided by it: the drain asks anew.

use crate::drive::engine::Session;
use crate::drive::run::Run;
use crate::linux::sys;
use serde::{Deserialize, Serialize};

/// Calls in flight that are still called quiet.
pub const CALLS: u32 = 2;
/// Looks in a row that must see it.
const LOOKS: u32 = 2;
/// Between two looks.
const BETWEEN_NS: u64 = 5_000_000;
/// Between two listings of who was born.
const LISTED_EVERY_NS: u64 = 100_000_000;

/// What came of waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quiet {
    /// It became quiet before the end of the wait.
    pub reached: bool,
    /// How long that took, all attempts together, ms.
    pub waited_ms: f64,
    /// Processes with a section open, at the last look.
    pub sections: u32,
    /// Calls in flight, at the last look.
    pub calls: u32,
}

impl Quiet {
    fn is_quiet(&self) -> bool {
        self.sections == 0 && self.calls <= CALLS
    }
}

impl Session {
    /// Waits until it is quiet, at most until `until`. None: a signal came.
    pub fn wait_quiet(&mut self, until: u64) -> Option<Quiet> {
        let begun = sys::now_ns();
        let mut runs: Vec<Run> = self.gates.iter().map(|_| Run::new(0, u64::MAX, None)).collect();
        let (mut in_a_row, mut listed_at) = (0, begun);
        loop {
            if self.signals.came().is_some() {
                return None;
            }
            let mut quiet = self.look_at_all(&mut runs);
            let now = sys::now_ns();
            in_a_row = if quiet.is_quiet() { in_a_row + 1 } else { 0 };
            if in_a_row >= LOOKS || now >= listed_at.saturating_add(LISTED_EVERY_NS) {
                // It is quiet only if it is so with those who came meanwhile.
                listed_at = now;
                self.census.rescan(&mut self.helper, true, false);
                self.census.newcomers.fill(0);
                quiet = self.look_at_all(&mut runs);
            }
            quiet.reached = in_a_row >= LOOKS && quiet.is_quiet();
            let now = sys::now_ns();
            quiet.waited_ms = now.saturating_sub(begun) as f64 / 1e6;
            if quiet.reached || now >= until {
                return Some(quiet);
            }
            sys::sleep_ns(BETWEEN_NS.min(until.saturating_sub(now)));
            self.census.remove_dead();
            for (at, run) in runs.iter().enumerate() {
                self.disregard_sleepers(at, run);
                self.census.look_again(&mut self.helper, at);
            }
        }
    }

    /// One look at all gates.
    fn look_at_all(&mut self, runs: &mut [Run]) -> Quiet {
        let mut quiet = Quiet::default();
        for (at, run) in runs.iter_mut().enumerate() {
            self.pass(at, run);
            for process in run.reading().views() {
                let calls = process.threads.iter().filter(|t| t.is_calling()).count() as u32;
                quiet.calls += calls + process.overflow;
                // In flight without a call: a section, or one that cannot be read.
                let other = process.in_flight() && calls == 0 && process.overflow == 0;
                quiet.sections += (process.in_section() || other) as u32;
            }
        }
        quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_never_quiet_and_a_few_calls_are() {
        let of = |sections, calls| Quiet { sections, calls, ..Quiet::default() }.is_quiet();
        assert!(of(0, 0) && of(0, CALLS));
        assert!(!of(1, 0) && !of(0, CALLS + 1));
    }
}
