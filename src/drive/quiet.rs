//! A moment that suits (`--wait-quiet`): before the barrier goes up, wait until little
//! is in flight, so that the drain is short and few are held for it.
//!
//! *Quiet* means, in two looks in a row: no section is open in any process of any
//! gate, and no more than [`CALLS`] calls are in flight altogether. A single call is
//! over in microseconds, and on a busy server there is always one.
//!
//! No process is held meanwhile, and nothing is decided by it: the drain asks anew.

use crate::drive::progress::GateDrain;
use crate::drive::session::Session;
use crate::linux::clock;
use crate::outcome::record::QuietWait;

/// Calls in flight that are still called quiet.
pub const CALLS: u32 = 2;
/// Looks in a row that must see it.
const LOOKS_IN_A_ROW: u32 = 2;
/// Between two looks.
const BETWEEN_NS: u64 = 5_000_000;
/// Between two listings of those that were born.
const LISTED_EVERY_NS: u64 = 100_000_000;

fn is_quiet(look: &QuietWait) -> bool {
    look.sections == 0 && look.calls <= CALLS
}

impl Session {
    /// Waits until it is quiet, at most until `until`. None: a signal came.
    pub fn wait_quiet(&mut self, until: u64) -> Option<QuietWait> {
        let begun = clock::now_ns();
        let mut drains: Vec<GateDrain> =
            self.gates.iter().map(|_| GateDrain::new(0, u64::MAX, None)).collect();
        let (mut in_a_row, mut listed_at) = (0, begun);
        loop {
            if self.signals.received().is_some() {
                return None;
            }
            let mut quiet = self.look_at_all(&mut drains);
            let now = clock::now_ns();
            in_a_row = if is_quiet(&quiet) { in_a_row + 1 } else { 0 };
            if in_a_row >= LOOKS_IN_A_ROW || now >= listed_at.saturating_add(LISTED_EVERY_NS) {
                // It is quiet only if it is so with those that came meanwhile.
                listed_at = now;
                self.census.rescan(&mut self.helper, true, false);
                self.census.newcomers.fill(0);
                quiet = self.look_at_all(&mut drains);
            }
            quiet.reached = in_a_row >= LOOKS_IN_A_ROW && is_quiet(&quiet);
            let now = clock::now_ns();
            quiet.waited_ms = now.saturating_sub(begun) as f64 / 1e6;
            if quiet.reached || now >= until {
                return Some(quiet);
            }
            clock::sleep_ns(BETWEEN_NS.min(until.saturating_sub(now)));
            self.census.remove_dead();
            for (at, drain) in drains.iter_mut().enumerate() {
                self.disregard_sleepers(at, drain);
                self.census.look_again(&mut self.helper, at);
            }
        }
    }

    /// One look at all gates.
    fn look_at_all(&mut self, drains: &mut [GateDrain]) -> QuietWait {
        let mut quiet = QuietWait::default();
        for (at, drain) in drains.iter_mut().enumerate() {
            self.pass(at, drain);
            for process in drain.reading().views() {
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
        let of = |sections, calls| is_quiet(&QuietWait { sections, calls, ..QuietWait::default() });
        assert!(of(0, 0) && of(0, CALLS));
        assert!(!of(1, 0) && !of(0, CALLS + 1));
    }
}
