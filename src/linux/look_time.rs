//! How long a look may take whose length another process decides.
//!
//! Counted is the time for which we were at work: on a busy machine most of what passes is the time of
//! others, and a process that has no more than any other would be one of which there is too much.

use crate::linux::clock;

/// For so many times as long a look may wait for a processor.
const WAITS: u64 = 6;

/// The time of one look.
pub struct LookTime {
    ns: u64,
    began: Moment,
}

/// Both clocks, ns.
#[derive(Clone, Copy)]
struct Moment {
    now: u64,
    at_work: u64,
}

impl LookTime {
    /// It begins now.
    pub fn of(ns: u64) -> LookTime {
        LookTime { ns, began: Moment { now: clock::now_ns(), at_work: clock::at_work_ns() } }
    }

    /// Is it over?
    pub fn is_over(&self) -> bool {
        let now = clock::now_ns();
        // The other clock costs more.
        now.saturating_sub(self.began.now) >= self.ns
            && self.is_over_at(Moment { now, at_work: clock::at_work_ns() })
    }

    fn is_over_at(&self, at: Moment) -> bool {
        at.at_work.saturating_sub(self.began.at_work) >= self.ns
            || at.now.saturating_sub(self.began.now) >= self.ns.saturating_mul(WAITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_others_counts_less() {
        let look = LookTime { ns: 10, began: Moment { now: 100, at_work: 5 } };
        let is_over = |now, at_work| look.is_over_at(Moment { now, at_work });
        assert!(!is_over(150, 14), "it waited for a processor");
        assert!(is_over(110, 15), "it worked all the time");
        assert!(is_over(160, 6), "it waited too long");
    }

    #[test]
    fn who_works_uses_it_up() {
        let look = LookTime::of(2_000_000);
        let mut turns = 0u64;
        while !look.is_over() {
            turns += 1;
        }
        assert!(turns > 0 && LookTime::of(0).is_over());
    }
}
