//! The freezer's state machine, from raising the barrier to "nothing is in flight".
//!
//! It makes no system call. The caller (the command, or a model) does what
//! [`Drain::next`] asks for and tells it what came of it:
//!
//! ```text
//!   Close ─> Fence ─> Pass ──quiet twice, same digest──> Rescan ─no newcomer─> Pass ─the same─> Done(Drained)
//!              ^       │ ^                                  │                    │
//!              │       │ └──────────── newcomers ───────────┘                    │
//!              │       │ └──────────────────────── not the same ─────────────────┘
//!              │       ├─ blocked behind someone held ─> Admit ─┐
//!              │       ├─ owner of an admitted child done ─> Revoke ─> Pass
//!              │       ├─ nothing moves, someone is held ─> Open ─> AwaitMoved ─> Close
//!              │       ├─ nothing moves ─> Pause ─> Rescan ─> Pass
//!              │       └─ drain time up ─> Done(NotDrained)
//! ```
//!
//! Every `Close` is followed by a `Fence`, and what was seen before it counts
//! for nothing. The last pass comes after the listing: what a process has changed that
//! was born and died without being listed is counted by then ([`crate::standing::settled`]).
//!
//! Where a profile names programs that are held `first`, each `Close` has a prelude:
//! close for those alone, drain them, then wait until everybody else has come to rest
//! (whoever has an answer of theirs puts down what follows from it). If that is not bounded
//! ([`Order`]), all news of theirs has been acted on by then ([`crate::rest`]); else nothing is
//! promised by it. What counts is seen after the `Close` for all.
//!
//! ```text
//!   CloseFirst ─> Fence ─> Pass ─first ones at rest, twice─> Rescan ─> Pass ─calm─> Close ─> ...
//!                           ^ └─ not yet ─> as below, without openings            (both bounded)
//! ```
//!
//! Those of them that hand something over to other processes are closed for and drained
//! before that, for the makers may be the ones that must take it.

use crate::control::Rank;

/// What one pass over all regions saw. See [`crate::standing`] for how it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Summary {
    /// Over the entries that passed, of every thread of every region: equal
    /// digests mean that nobody passed.
    pub digest: u64,
    /// Over every word of those in flight: equal means that they are stuck.
    pub motion: u64,
    /// Processes in flight.
    pub in_flight: u32,
    /// Those of them that are held first, senders included.
    pub first_in_flight: u32,
    /// Those that hand over and are held before all.
    pub senders_in_flight: u32,
    /// Over every word of all others: equal means that none of them has done anything.
    pub stir: u64,
    /// All others have come to rest one by one since the first ones did (the caller's
    /// judgement, by [`crate::rest`]: no word shows that somebody is on its way to a call).
    pub at_rest: bool,
    /// Processes inside a call, or about to be.
    pub calling: u32,
    /// Threads held at the barrier.
    pub held: u32,
    /// Admissions given that still hold (see [`crate::control::Admission`]).
    pub outstanding: u32,
    /// Some outstanding admission is a child's whose owner's section is over.
    pub revocable: bool,
    /// Somebody held whom something in flight waits for.
    pub candidate: Option<Candidate>,
}

/// Whom to let pass: the region's nonce, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Candidate {
    /// The region that may pass.
    pub nonce: u64,
    /// While its lock sequence is this, or [`crate::control::ANY_SEQUENCE`].
    pub lock_sequence: u64,
}

/// What the caller must do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Ask {
    /// Store this deadline in the words of those that are held so early, or earlier.
    CloseFirst(Rank, u64),
    /// Store this deadline in the barrier word.
    Close(u64),
    /// `membarrier`, so that every entry older than the closing is visible.
    Fence,
    /// Look at every word of every region.
    Pass,
    /// Look for processes that are not in the list yet, and add them.
    Rescan,
    /// Let this one pass, and wake it.
    Admit(Candidate),
    /// Take back the admissions of children whose owner is done; full fence.
    Revoke,
    /// Store 0 in the barrier word and wake all.
    Open,
    /// Wait until everyone who was held at the opening has moved (bounded).
    AwaitMoved,
    /// Wait a moment, then say what the time is.
    Pause,
    /// The end.
    Done(Outcome),
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Told {
    /// Done; the clock now, ns.
    Done(u64),
    /// A pass was made; the clock now, ns.
    Seen(Summary, u64),
    /// The list was brought up to date; this many processes are new.
    Newcomers(u32),
}

/// How a drain ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Outcome {
    /// Nothing is in flight, nothing moves; the barrier is up.
    Drained,
    /// The time for draining was up; the barrier is down.
    NotDrained,
}

/// The limits of one freeze, CLOCK_MONOTONIC ns unless said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Limits {
    /// When every writer goes on, whatever happens. Not 0, never used before.
    pub deadline: u64,
    /// When draining is given up.
    pub drain_until: u64,
    /// Nothing moved for this long: it is stuck (ns).
    pub stuck_after: u64,
    /// How many openings a drain may make.
    pub openings: u32,
    /// Some programs are held before all others.
    pub order: Option<Order>,
}

/// Who is held first, and how long they may keep the rest waiting (ns; `u64::MAX`: as long
/// as it takes, [`Summary::at_rest`], or the drain has failed).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Order {
    /// Senders before the other first ones, or all of these at once.
    pub from: Rank,
    /// To come to rest themselves.
    pub drain: u64,
    /// Nobody else has done anything for this long: it is calm ([`Summary::at_rest`]
    /// says it earlier).
    pub calm_after: u64,
    /// The calm is not waited for longer than this.
    pub calm_within: u64,
}

/// Whom the drain is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Stage {
    /// Those that are held so early, or earlier, and until when (ns; 0: yet to be said).
    First(Rank, u64),
    /// The rest, which is not held yet: what it showed, since when, and until when
    /// that is waited for.
    Calm(Option<(u64, u64, u64)>),
    /// All.
    All,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Phase {
    Begin,
    Closing,
    Fencing,
    Passing,
    Rescanning,
    Pausing,
    Seeking,
    Sought,
    Opening,
    Moving,
    GivingUp,
    Over(Outcome),
}

/// One drain. Two are equal if they will do the same: what they have counted for
/// the report is left out of the comparison.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    limits: Limits,
    phase: Phase,
    stage: Stage,
    /// The digest of the pass before, if that one was quiet and since the fence.
    quiet: Option<u64>,
    /// Since that pass everybody was listed, and nobody was new.
    listed: bool,
    /// For telling "stuck": what those in flight showed, and since when it has
    /// not changed.
    motion: Option<u64>,
    moved_at: u64,
    openings: u32,
    admitted: u32,
    passes: u32,
}

impl PartialEq for Drain {
    fn eq(&self, other: &Self) -> bool {
        self.decides() == other.decides()
    }
}

impl Eq for Drain {}

impl core::hash::Hash for Drain {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.decides().hash(state);
    }
}

impl Drain {
    /// All that its next steps depend on.
    fn decides(&self) -> impl Eq + core::hash::Hash + use<> {
        // When it last moved matters only for another opening.
        let may_open = self.openings < self.limits.openings;
        let moved_at = if may_open { self.moved_at } else { 0 };
        let quiet = (self.quiet, self.listed);
        (self.limits, self.phase, self.stage, quiet, self.motion, moved_at, self.openings)
    }

    /// A drain that has yet to begin.
    pub fn new(limits: Limits) -> Self {
        Drain {
            limits,
            phase: Phase::Begin,
            stage: Stage::All,
            quiet: None,
            listed: false,
            motion: None,
            moved_at: 0,
            openings: 0,
            admitted: 0,
            passes: 0,
        }
    }

    /// The deadline in force: a reopened barrier gets one that was never used.
    pub fn deadline(&self) -> u64 {
        self.limits.deadline + self.openings as u64
    }

    /// How many times the barrier was opened for a moment.
    pub fn openings(&self) -> u32 {
        self.openings
    }

    /// How many admissions were given.
    pub fn admitted(&self) -> u32 {
        self.admitted
    }

    /// How many passes were made.
    pub fn passes(&self) -> u32 {
        self.passes
    }

    /// Does it wait for those who are not held yet to come to rest?
    pub fn awaits_calm(&self) -> bool {
        matches!(self.stage, Stage::Calm(_))
    }

    /// Are only those held so far that are held first?
    pub fn holds_first_alone(&self) -> bool {
        self.stage != Stage::All
    }

    fn close(&mut self) -> (Phase, Ask) {
        match self.limits.order {
            Some(order) => self.close_first(order.from, 0),
            None => (Phase::Closing, Ask::Close(self.deadline())),
        }
    }

    fn close_first(&mut self, rank: Rank, until: u64) -> (Phase, Ask) {
        self.stage = Stage::First(rank, until);
        (Phase::Closing, Ask::CloseFirst(rank, self.deadline()))
    }

    /// The next step.
    pub fn next(&mut self, told: Told) -> Ask {
        let (phase, ask) = match (self.phase, told) {
            (Phase::Begin, _) => self.close(),
            (Phase::Closing, _) => {
                (self.quiet, self.listed) = (None, false);
                (Phase::Fencing, Ask::Fence)
            }
            (Phase::Fencing, Told::Done(now)) => {
                self.moved_at = now;
                if let (Stage::First(rank, 0), Some(order)) = (self.stage, self.limits.order) {
                    self.stage = Stage::First(rank, now.saturating_add(order.drain).max(1));
                }
                (Phase::Passing, Ask::Pass)
            }
            (Phase::Passing, Told::Seen(summary, now)) => self.judge(summary, now),
            (Phase::Rescanning, Told::Newcomers(0)) if self.stage != Stage::All => {
                self.stage = Stage::Calm(None);
                (Phase::Passing, Ask::Pass)
            }
            (Phase::Rescanning, Told::Newcomers(0)) => {
                self.listed = true;
                (Phase::Passing, Ask::Pass)
            }
            (Phase::Rescanning, _) => {
                (self.quiet, self.listed) = (None, false);
                (Phase::Passing, Ask::Pass)
            }
            (Phase::Pausing, _) => (Phase::Passing, Ask::Pass),
            (Phase::Seeking, _) => (Phase::Sought, Ask::Rescan),
            (Phase::Sought, _) => (Phase::Passing, Ask::Pass),
            (Phase::Opening, _) => (Phase::Moving, Ask::AwaitMoved),
            (Phase::Moving, Told::Done(now)) if now >= self.limits.drain_until => {
                (Phase::Over(Outcome::NotDrained), Ask::Done(Outcome::NotDrained))
            }
            (Phase::Moving, _) => {
                self.openings += 1;
                self.close()
            }
            (Phase::GivingUp, _) => {
                (Phase::Over(Outcome::NotDrained), Ask::Done(Outcome::NotDrained))
            }
            (Phase::Over(outcome), _) => (self.phase, Ask::Done(outcome)),
            // An answer that does not fit the question: ask again.
            (Phase::Fencing, _) => (Phase::Fencing, Ask::Fence),
            (Phase::Passing, _) => (Phase::Passing, Ask::Pass),
        };
        self.phase = phase;
        ask
    }

    fn judge(&mut self, seen: Summary, now: u64) -> (Phase, Ask) {
        self.passes += 1;
        if now >= self.limits.drain_until {
            return (Phase::GivingUp, Ask::Open);
        }
        let moved = self.motion != Some(seen.motion);
        if moved {
            self.motion = Some(seen.motion);
            self.moved_at = now;
        }
        let in_flight = match self.stage {
            Stage::Calm(since) => return self.await_calm(since, seen, now),
            Stage::First(_, until) if now >= until => return self.await_calm(None, seen, now),
            // What they had sent was taken, and they have put it down: now the makers.
            Stage::First(Rank::Sender, until) if seen.senders_in_flight == 0 => {
                return self.close_first(Rank::First, until);
            }
            Stage::First(Rank::Sender, _) => seen.senders_in_flight,
            // Their own calls are over or held: another pass would show the same.
            Stage::First(..) if seen.first_in_flight == 0 && self.quiet.is_some() => {
                return (Phase::Rescanning, Ask::Rescan);
            }
            Stage::First(..) => seen.first_in_flight,
            Stage::All => seen.in_flight,
        };
        if in_flight == 0 && (seen.outstanding == 0 || self.stage != Stage::All) {
            if self.quiet == Some(seen.digest) {
                if self.listed {
                    return (Phase::Over(Outcome::Drained), Ask::Done(Outcome::Drained));
                }
                return (Phase::Rescanning, Ask::Rescan);
            }
            (self.quiet, self.listed) = (Some(seen.digest), false);
            return (Phase::Passing, Ask::Pass);
        }
        (self.quiet, self.listed) = (None, false);
        if seen.revocable {
            return (Phase::Pausing, Ask::Revoke);
        }
        if let Some(candidate) = seen.candidate {
            self.admitted += 1;
            return (Phase::Pausing, Ask::Admit(candidate));
        }
        let all = self.stage == Stage::All;
        let stuck = all && !moved && now.saturating_sub(self.moved_at) >= self.limits.stuck_after;
        if stuck && seen.held > 0 && self.openings < self.limits.openings {
            self.moved_at = now;
            return (Phase::Opening, Ask::Open);
        }
        // What it waits for may be a child that is not in the list yet: forked
        // by an open section after the barrier went up, held, and to be admitted.
        (if moved { Phase::Pausing } else { Phase::Seeking }, Ask::Pause)
    }

    /// The first ones are held: now all others, as soon as they have come to rest.
    fn await_calm(
        &mut self,
        was: Option<(u64, u64, u64)>,
        seen: Summary,
        now: u64,
    ) -> (Phase, Ask) {
        let stir = seen.stir;
        let Some(order) = self.limits.order else { return self.close() };
        let (since, until) = match was {
            Some((before, since, until)) if before == stir => (since, until),
            Some((_, _, until)) => (now, until),
            None => (now, now.saturating_add(order.calm_within)),
        };
        if seen.at_rest || now - since >= order.calm_after || now >= until {
            self.stage = Stage::All;
            return (Phase::Closing, Ask::Close(self.deadline()));
        }
        self.stage = Stage::Calm(Some((stir, since, until)));
        (Phase::Pausing, Ask::Pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { deadline: 1000, drain_until: 600, stuck_after: 50, openings: 2, order: None };

    fn to_first_pass(drain: &mut Drain) {
        assert_eq!(drain.next(Told::Done(0)), Ask::Close(1000));
        assert_eq!(drain.next(Told::Done(0)), Ask::Fence);
        assert_eq!(drain.next(Told::Done(0)), Ask::Pass);
    }

    fn quiet(digest: u64) -> Summary {
        Summary { digest, motion: digest, ..Summary::default() }
    }

    #[test]
    fn one_quiet_pass_is_not_enough() {
        let mut drain = Drain::new(LIMITS);
        to_first_pass(&mut drain);
        assert_eq!(drain.next(Told::Seen(quiet(7), 1)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(quiet(8), 2)), Ask::Pass, "something moved");
        assert_eq!(drain.next(Told::Seen(quiet(8), 3)), Ask::Rescan);
        assert_eq!(drain.next(Told::Newcomers(1)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(quiet(9), 4)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(quiet(9), 5)), Ask::Rescan);
        assert_eq!(drain.next(Told::Newcomers(0)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(quiet(9), 6)), Ask::Done(Outcome::Drained));
    }

    #[test]
    fn what_the_pass_after_the_listing_sees_decides() {
        let mut drain = Drain::new(LIMITS);
        to_first_pass(&mut drain);
        assert_eq!(drain.next(Told::Seen(quiet(7), 1)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(quiet(7), 2)), Ask::Rescan);
        assert_eq!(drain.next(Told::Newcomers(0)), Ask::Pass);
        let unsettled = Summary { in_flight: 1, motion: 3, ..quiet(7) };
        assert_eq!(drain.next(Told::Seen(unsettled, 3)), Ask::Pause);
        assert_eq!(drain.next(Told::Done(4)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(quiet(8), 4)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(quiet(8), 5)), Ask::Rescan, "listed anew");
        assert_eq!(drain.next(Told::Newcomers(0)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(quiet(9), 6)), Ask::Pass, "somebody passed");
        assert_eq!(drain.next(Told::Seen(quiet(9), 7)), Ask::Rescan);
    }

    const ORDERED: Limits = Limits {
        order: Some(Order { from: Rank::First, drain: 100, calm_after: 5, calm_within: 20 }),
        ..LIMITS
    };

    #[test]
    fn the_first_ones_are_drained_then_the_rest_comes_to_rest_then_all_are_held() {
        let mut drain = Drain::new(ORDERED);
        assert_eq!(drain.next(Told::Done(0)), Ask::CloseFirst(Rank::First, 1000));
        assert_eq!(drain.next(Told::Done(0)), Ask::Fence);
        assert_eq!(drain.next(Told::Done(0)), Ask::Pass);
        let busy = Summary { first_in_flight: 1, in_flight: 4, stir: 1, ..quiet(7) };
        assert_eq!(drain.next(Told::Seen(busy, 1)), Ask::Pause);
        assert_eq!(drain.next(Told::Done(2)), Ask::Pass);
        // Others are in flight all the time, and may be.
        let done = Summary { first_in_flight: 0, ..busy };
        assert_eq!(drain.next(Told::Seen(done, 2)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(done, 3)), Ask::Rescan);
        assert_eq!(drain.next(Told::Newcomers(0)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(done, 4)), Ask::Pause);
        assert_eq!(drain.next(Told::Done(6)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(Summary { stir: 2, ..done }, 8)), Ask::Pause);
        assert_eq!(drain.next(Told::Done(12)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(Summary { stir: 2, ..done }, 13)), Ask::Close(1000));
        assert_eq!(
            drain.next(Told::Done(13)),
            Ask::Fence,
            "what was seen before counts for nothing"
        );
        assert_eq!(drain.next(Told::Done(13)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(quiet(7), 14)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(quiet(7), 14)), Ask::Rescan);
        assert_eq!(drain.next(Told::Newcomers(0)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(quiet(7), 15)), Ask::Done(Outcome::Drained));
    }

    #[test]
    fn senders_are_drained_before_the_makers_are_held() {
        let order = Order { from: Rank::Sender, drain: 100, calm_after: 5, calm_within: 20 };
        let mut drain = Drain::new(Limits { order: Some(order), ..LIMITS });
        assert_eq!(drain.next(Told::Done(0)), Ask::CloseFirst(Rank::Sender, 1000));
        assert_eq!(drain.next(Told::Done(0)), Ask::Fence);
        assert_eq!(drain.next(Told::Done(7)), Ask::Pass);
        let makers = Summary { first_in_flight: 3, in_flight: 4, ..quiet(7) };
        let busy = Summary { senders_in_flight: 1, ..makers };
        assert_eq!(drain.next(Told::Seen(busy, 8)), Ask::Pause);
        assert_eq!(drain.next(Told::Done(9)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(makers, 50)), Ask::CloseFirst(Rank::First, 1000));
        assert_eq!(drain.next(Told::Done(50)), Ask::Fence);
        assert_eq!(drain.next(Told::Done(50)), Ask::Pass);
        // All the first ones together have one time.
        assert_eq!(drain.next(Told::Seen(makers, 106)), Ask::Pause);
        while drain.next(Told::Newcomers(0)) != Ask::Pass {}
        assert_eq!(drain.next(Told::Seen(makers, 107)), Ask::Pause, "not calm yet");
        assert_eq!(drain.next(Told::Done(112)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(makers, 112)), Ask::Close(1000));
    }

    #[test]
    fn a_rest_that_was_seen_to_sleep_once_is_not_waited_for() {
        let mut drain = Drain::new(ORDERED);
        for _ in 0..3 {
            drain.next(Told::Done(0));
        }
        let done = Summary { in_flight: 4, stir: 1, ..quiet(7) };
        assert_eq!(drain.next(Told::Seen(done, 2)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(done, 3)), Ask::Rescan);
        assert_eq!(drain.next(Told::Newcomers(0)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(done, 4)), Ask::Pause);
        assert_eq!(drain.next(Told::Done(5)), Ask::Pass);
        let rested = Summary { stir: 2, at_rest: true, ..done };
        assert_eq!(drain.next(Told::Seen(rested, 6)), Ask::Close(1000));
    }

    #[test]
    fn without_a_time_for_it_only_rest_lets_the_others_be_held() {
        let order = Order {
            from: Rank::First,
            drain: u64::MAX,
            calm_after: u64::MAX,
            calm_within: u64::MAX,
        };
        let mut drain = Drain::new(Limits { order: Some(order), ..LIMITS });
        for _ in 0..3 {
            drain.next(Told::Done(0));
        }
        let busy = Summary { first_in_flight: 1, in_flight: 4, ..quiet(7) };
        assert_eq!(drain.next(Told::Seen(busy, 590)), Ask::Pause, "the first ones first");
        assert_eq!(drain.next(Told::Done(590)), Ask::Pass);
        let done = Summary { first_in_flight: 0, ..busy };
        assert_eq!(drain.next(Told::Seen(done, 591)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(done, 591)), Ask::Rescan);
        assert_eq!(drain.next(Told::Newcomers(0)), Ask::Pass);
        let mut late = drain;
        assert_eq!(drain.next(Told::Seen(done, 599)), Ask::Pause, "though nobody moved");
        assert_eq!(drain.next(Told::Done(599)), Ask::Pass);
        let rested = Summary { at_rest: true, ..done };
        assert_eq!(drain.next(Told::Seen(rested, 599)), Ask::Close(1000));
        assert_eq!(late.next(Told::Seen(done, 600)), Ask::Open, "or not at all");
        assert_eq!(late.next(Told::Done(600)), Ask::Done(Outcome::NotDrained));
    }

    #[test]
    fn first_ones_that_never_rest_and_a_rest_that_never_calms_hold_nobody_up() {
        let mut drain = Drain::new(ORDERED);
        drain.next(Told::Done(0));
        drain.next(Told::Done(0));
        assert_eq!(drain.next(Told::Done(0)), Ask::Pass);
        let busy = |stir| Summary { first_in_flight: 1, in_flight: 4, held: 2, stir, ..quiet(7) };
        let mut now = 0;
        let ask = loop {
            now += 3;
            match drain.next(Told::Seen(busy(now), now)) {
                Ask::Pause => while drain.next(Told::Newcomers(0)) != Ask::Pass {},
                ask => break ask,
            }
        };
        assert_eq!(ask, Ask::Close(1000), "and no opening before");
        assert!((120..130).contains(&now), "{now}");
    }

    #[test]
    fn an_outstanding_admission_is_not_quiet() {
        let mut drain = Drain::new(LIMITS);
        to_first_pass(&mut drain);
        let seen = Summary { outstanding: 1, ..quiet(7) };
        assert_eq!(drain.next(Told::Seen(seen, 1)), Ask::Pause);
        let seen = Summary { outstanding: 1, revocable: true, ..quiet(7) };
        assert_eq!(drain.next(Told::Done(2)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(seen, 2)), Ask::Revoke);
    }

    #[test]
    fn stuck_behind_someone_held_opens_and_closes_under_a_new_deadline_with_a_fence() {
        let mut drain = Drain::new(LIMITS);
        to_first_pass(&mut drain);
        let seen = Summary { in_flight: 1, held: 3, ..quiet(7) };
        assert_eq!(drain.next(Told::Seen(seen, 1)), Ask::Pause);
        assert_eq!(drain.next(Told::Done(2)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(seen, 60)), Ask::Open);
        assert_eq!(drain.next(Told::Done(60)), Ask::AwaitMoved);
        assert_eq!(drain.next(Told::Done(70)), Ask::Close(1001));
        assert_eq!(drain.next(Told::Done(70)), Ask::Fence);
    }

    #[test]
    fn drain_time_up_opens_before_it_reports() {
        let mut drain = Drain::new(LIMITS);
        to_first_pass(&mut drain);
        let seen = Summary { in_flight: 1, ..quiet(7) };
        assert_eq!(drain.next(Told::Seen(seen, 600)), Ask::Open);
        assert_eq!(drain.next(Told::Done(600)), Ask::Done(Outcome::NotDrained));
    }

    #[test]
    fn stuck_without_anybody_held_looks_for_a_child_that_is_not_in_the_list() {
        let mut drain = Drain::new(LIMITS);
        to_first_pass(&mut drain);
        let seen = Summary { in_flight: 1, ..quiet(7) };
        assert_eq!(drain.next(Told::Seen(seen, 1)), Ask::Pause);
        assert_eq!(drain.next(Told::Done(2)), Ask::Pass);
        assert_eq!(drain.next(Told::Seen(seen, 3)), Ask::Pause);
        assert_eq!(drain.next(Told::Done(4)), Ask::Rescan);
        assert_eq!(drain.next(Told::Newcomers(1)), Ask::Pass);
    }
}
