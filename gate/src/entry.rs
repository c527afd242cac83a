//! What a worker may do when it meets the barrier.
//!
//! The order of an outermost entry (the preloaded library does the stores, this
//! module the deciding; the models run the same functions):
//!
//! 1. announce: own word shows the call (plain store; the freezer's `membarrier`
//!    is the fence);
//! 2. look at the barrier ([`Patience::look`]): open, or its lease is over: go on;
//! 3. closed: announce again with a *locked* store, then [`may_pass`];
//! 4. else retract (the word shows *held*), sleep, and begin again.

use crate::control::BOUND_MAX_NS;
use crate::word::ProcessWord;

/// What a look at the barrier tells one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Look {
    /// No barrier.
    Open,
    /// There is one, but its deadline has come: the lease is over.
    LeaseOver,
    /// There is one, but this call has waited as long as it ever will.
    Overdue,
    /// Wait, unless [`may_pass`].
    Closed,
}

/// How long one call has waited, across barriers.
///
/// A call's bound is the *first* deadline it met: freezes that follow one
/// another cannot add up in one wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Patience {
    /// The bound, CLOCK_MONOTONIC ns; 0: has not waited yet.
    pub until: u64,
}

impl Patience {
    /// Judges a barrier word at a time. A clock is read only for a raised barrier.
    pub fn look(&mut self, barrier: u64, now: impl FnOnce() -> u64) -> Look {
        if barrier == 0 {
            return Look::Open;
        }
        let now = now();
        if now >= barrier {
            return Look::LeaseOver;
        }
        if self.until == 0 {
            self.until = barrier.min(now.saturating_add(BOUND_MAX_NS));
        }
        if now >= self.until {
            return Look::Overdue;
        }
        Look::Closed
    }
}

/// How long one call has waited where no clock can be read.
///
/// The page says when the barrier was raised, and a sleep *until* some moment after that ends when
/// that moment has come: so the time is known that has passed for certain. Where there are only
/// sleeps that last for some time, they are added up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct BlindPatience {
    /// The bound, as of [`Patience`].
    until: u64,
    /// The latest moment that has passed for certain, CLOCK_MONOTONIC ns.
    passed: u64,
    /// What was slept beside, ns.
    slept: u64,
}

/// A sleep of a call that has no clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlindSleep {
    /// Until then, CLOCK_MONOTONIC ns, ...
    pub until: u64,
    /// ... or so long, ns, where one can only be asked for that.
    pub lasts: u64,
}

impl BlindPatience {
    /// How to sleep next at a barrier that was raised at `closed_at`, at most for `slice`.
    pub fn next(&self, closed_at: u64, slice: u64) -> BlindSleep {
        let begun = self.passed.max(closed_at);
        let bound = self.until.saturating_sub(closed_at);
        BlindSleep {
            until: begun.saturating_add(slice).min(self.until),
            lasts: bound.saturating_sub(self.slept).min(slice),
        }
    }

    /// The moment of a sleep has come.
    pub fn came_to(&mut self, moment: u64) {
        self.passed = self.passed.max(moment);
    }

    /// So long, ns, a sleep was meant to be. One that was interrupted counts too: the call
    /// then goes on early, which the freezer sees, and never late.
    pub fn slept(&mut self, ns: u64) {
        self.slept = self.slept.saturating_add(ns);
    }

    /// It cannot even sleep.
    pub fn give_up(&mut self) {
        self.slept = u64::MAX;
    }

    /// Judges a barrier word that was raised at `closed_at`.
    pub fn look(&mut self, barrier: u64, closed_at: u64) -> Look {
        if barrier == 0 {
            return Look::Open;
        }
        if self.passed >= barrier {
            return Look::LeaseOver;
        }
        let limit = barrier.saturating_sub(closed_at).min(BOUND_MAX_NS);
        if self.until == 0 {
            self.until = closed_at.saturating_add(limit);
        }
        if self.passed >= self.until || self.slept >= limit {
            return Look::Overdue;
        }
        Look::Closed
    }
}

/// What lies around a call that was made from a signal handler or by libc itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Enclosing {
    /// Nothing: an outermost call.
    Nothing,
    /// A call on a protected file, announced and under way. To hold the inner
    /// call would hold that one, and the drain with it.
    ProtectedCall,
    /// A call on a socket, a pipe or the like: encloses nothing.
    OtherCall,
}

/// May this entry pass a closed barrier?
///
/// Asked only after the entry was announced with a locked store.
pub fn may_pass(process: ProcessWord, admitted: bool, enclosing: Enclosing) -> bool {
    process.gives_right() || admitted || enclosing == Enclosing::ProtectedCall
}

/// Is a word that is still in flight at a new entry an enclosing call, or was it
/// left behind by siglongjmp or cancellation?
///
/// The stack grows down: an enclosing call lies deeper in time and higher in
/// memory than the call it encloses. On an alternate signal stack addresses say
/// nothing, and the word is taken for an enclosing call (the safe side: it stays
/// announced).
pub fn left_behind(outer_stack: u64, this_stack: u64, on_alternate_stack: bool) -> bool {
    !on_alternate_stack && this_stack >= outer_stack
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_deadline_met_is_the_bound_whatever_follows() {
        let mut patience = Patience::default();
        assert_eq!(patience.look(100, || 10), Look::Closed);
        assert_eq!(patience.look(0, || panic!("no clock while open")), Look::Open);
        assert_eq!(patience.look(250, || 99), Look::Closed);
        assert_eq!(patience.look(250, || 100), Look::Overdue);
        assert_eq!(patience.look(250, || 250), Look::LeaseOver);
    }

    #[test]
    fn a_page_that_asks_for_an_hour_gets_a_minute() {
        let mut patience = Patience::default();
        assert_eq!(patience.look(3_600_000_000_000, || 0), Look::Closed);
        assert_eq!(patience.until, BOUND_MAX_NS);
    }

    #[test]
    fn without_a_clock_a_call_waits_until_moments_and_no_longer_than_to_the_deadline() {
        let mut patience = BlindPatience::default();
        assert_eq!(patience.look(0, 0), Look::Open);
        assert_eq!(patience.look(1_000, 400), Look::Closed);
        assert_eq!(patience.next(400, 350), BlindSleep { until: 750, lasts: 350 });
        // Woken before: nothing has passed, and the same moment is waited for.
        assert_eq!(patience.look(1_000, 400), Look::Closed);
        patience.came_to(750);
        assert_eq!(patience.look(1_000, 400), Look::Closed);
        assert_eq!(patience.next(400, 350).until, 1_000, "not beyond the deadline");
        patience.came_to(1_000);
        assert_eq!(patience.look(1_000, 400), Look::LeaseOver);
        // A freeze that follows: the first deadline that was met is the bound.
        let mut patience = BlindPatience::default();
        assert_eq!(patience.look(1_000, 400), Look::Closed);
        patience.came_to(900);
        assert_eq!(patience.look(2_000, 950), Look::Closed);
        assert_eq!(patience.next(950, 350).until, 1_000);
        patience.came_to(1_000);
        assert_eq!(patience.look(2_000, 950), Look::Overdue);
    }

    #[test]
    fn where_sleeps_can_only_be_counted_they_add_up_to_the_limit() {
        let mut patience = BlindPatience::default();
        assert_eq!(patience.look(1_000, 400), Look::Closed);
        patience.slept(599);
        assert_eq!(patience.look(1_000, 400), Look::Closed);
        assert_eq!(patience.next(400, 350).lasts, 1, "the last one is short");
        patience.slept(1);
        assert_eq!(patience.look(1_000, 400), Look::Overdue);
        let mut fresh = BlindPatience::default();
        assert_eq!(fresh.look(1_000, 1_001), Look::Overdue, "a page with nonsense holds nobody");
        let mut patience = BlindPatience::default();
        patience.slept(BOUND_MAX_NS);
        assert_eq!(patience.look(u64::MAX, 0), Look::Overdue, "nor longer than a minute");
        let mut patience = BlindPatience::default();
        assert_eq!(patience.look(u64::MAX, 5), Look::Closed);
        assert_eq!(patience.next(5, u64::MAX).until, 5 + BOUND_MAX_NS);
        patience.give_up();
        patience.slept(1);
        assert_eq!(patience.look(u64::MAX, 5), Look::Overdue);
    }

    #[test]
    fn a_write_to_a_socket_encloses_nothing() {
        let idle = ProcessWord::default();
        assert!(!may_pass(idle, false, Enclosing::OtherCall));
        assert!(may_pass(idle, false, Enclosing::ProtectedCall));
        assert!(may_pass(idle, true, Enclosing::Nothing));
        assert!(!may_pass(idle.with_locks(1), false, Enclosing::Nothing), "lazy start");
        assert!(may_pass(idle.with_locks(1).section_begun(), false, Enclosing::Nothing));
    }

    #[test]
    fn a_word_left_behind_is_told_from_an_enclosing_call_by_its_place_on_the_stack() {
        assert!(!left_behind(1_000, 900, false), "deeper: the outer call is under way");
        assert!(left_behind(1_000, 1_000, false), "the same depth again: it was left");
        assert!(left_behind(1_000, 1_100, false));
        assert!(!left_behind(1_000, 1_100, true), "on another stack addresses say nothing");
    }
}
