//! The freezer's state machine, from raising the barrier to "nothing is in flight".
//!
//! It makes no system call. The caller (the command, or a model) does what
//! [`Drain::next`] asks for and tells it what came of it:
//!
//! ```text
//!   Close ─> Fence ─> Pass ──idle twice, same digest──> Rescan ─no newcomer─> Pass ─the same─> Done(Drained)
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
//! was born and died without being listed is counted by then ([`crate::settled::settled`]).
//!
//! Where a profile names programs that are held `first`, each `Close` has a prelude:
//! close for those alone, drain them, then wait until everybody else has come to rest
//! (whoever has an answer of theirs puts down what follows from it). If that is not bounded
//! ([`Order`]), all news of theirs has been acted on by then ([`crate::quiesce`]); else nothing is
//! promised by it. What counts is seen after the `Close` for all.
//!
//! ```text
//!   CloseFirst ─> Fence ─> Pass ─first ones at rest, twice─> Rescan ─> Pass ─calm─> Close ─> ...
//!                           ^ └─ not yet ─> as below, without openings            (both bounded)
//! ```
//!
//! Those of them that hand something over to other processes are closed for and drained
//! before that, for the makers may be the ones that must take it.

use crate::admission::Admission;
use crate::control::Rank;
use crate::summary::Summary;

/// What the caller must do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Action {
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
    Admit(Admission),
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
pub enum Answer {
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
/// as it takes, [`Summary::quiesced`], or the drain has failed).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Order {
    /// Senders before the other first ones, or all of these at once.
    pub from: Rank,
    /// To come to rest themselves.
    pub drain: u64,
    /// Nobody else has done anything for this long: it is calm ([`Summary::quiesced`]
    /// says it earlier).
    pub quiesced_after: u64,
    /// The calm is not waited for longer than this.
    pub quiesced_within: u64,
}

/// Whom the drain is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Stage {
    /// Those that are held so early, or earlier, and until when (ns; 0: yet to be said).
    First(Rank, u64),
    /// The rest, which is not held yet: what it showed, since when, and until when
    /// that is waited for.
    Quiescing(Option<(u64, u64, u64)>),
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
    /// The digest of the pass before, if that one was idle and since the fence.
    idle: Option<u64>,
    /// Since that pass everybody was listed, and nobody was new.
    listed: bool,
    /// For telling "stuck": what those in flight showed, and since when it has
    /// not changed.
    stuck_digest: Option<u64>,
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
        let idle = (self.idle, self.listed);
        (self.limits, self.phase, self.stage, idle, self.stuck_digest, moved_at, self.openings)
    }

    /// A drain that has yet to begin.
    pub fn new(limits: Limits) -> Self {
        Drain {
            limits,
            phase: Phase::Begin,
            stage: Stage::All,
            idle: None,
            listed: false,
            stuck_digest: None,
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
    pub fn awaits_quiesced(&self) -> bool {
        matches!(self.stage, Stage::Quiescing(_))
    }

    /// Are only those held so far that are held first?
    pub fn holds_first_alone(&self) -> bool {
        self.stage != Stage::All
    }

    fn close(&mut self) -> (Phase, Action) {
        match self.limits.order {
            Some(order) => self.close_first(order.from, 0),
            None => (Phase::Closing, Action::Close(self.deadline())),
        }
    }

    fn close_first(&mut self, rank: Rank, until: u64) -> (Phase, Action) {
        self.stage = Stage::First(rank, until);
        (Phase::Closing, Action::CloseFirst(rank, self.deadline()))
    }

    /// The next step.
    pub fn next(&mut self, answer: Answer) -> Action {
        let (phase, ask) = match (self.phase, answer) {
            (Phase::Begin, _) => self.close(),
            (Phase::Closing, _) => {
                (self.idle, self.listed) = (None, false);
                (Phase::Fencing, Action::Fence)
            }
            (Phase::Fencing, Answer::Done(now)) => {
                self.moved_at = now;
                if let (Stage::First(rank, 0), Some(order)) = (self.stage, self.limits.order) {
                    self.stage = Stage::First(rank, now.saturating_add(order.drain).max(1));
                }
                (Phase::Passing, Action::Pass)
            }
            (Phase::Passing, Answer::Seen(summary, now)) => self.judge(summary, now),
            (Phase::Rescanning, Answer::Newcomers(0)) if self.stage != Stage::All => {
                self.stage = Stage::Quiescing(None);
                (Phase::Passing, Action::Pass)
            }
            (Phase::Rescanning, Answer::Newcomers(0)) => {
                self.listed = true;
                (Phase::Passing, Action::Pass)
            }
            (Phase::Rescanning, _) => {
                (self.idle, self.listed) = (None, false);
                (Phase::Passing, Action::Pass)
            }
            (Phase::Pausing, _) => (Phase::Passing, Action::Pass),
            (Phase::Seeking, _) => (Phase::Sought, Action::Rescan),
            (Phase::Sought, _) => (Phase::Passing, Action::Pass),
            (Phase::Opening, _) => (Phase::Moving, Action::AwaitMoved),
            (Phase::Moving, Answer::Done(now)) if now >= self.limits.drain_until => {
                (Phase::Over(Outcome::NotDrained), Action::Done(Outcome::NotDrained))
            }
            (Phase::Moving, _) => {
                self.openings += 1;
                self.close()
            }
            (Phase::GivingUp, _) => {
                (Phase::Over(Outcome::NotDrained), Action::Done(Outcome::NotDrained))
            }
            (Phase::Over(outcome), _) => (self.phase, Action::Done(outcome)),
            // An answer that does not fit the question: ask again.
            (Phase::Fencing, _) => (Phase::Fencing, Action::Fence),
            (Phase::Passing, _) => (Phase::Passing, Action::Pass),
        };
        self.phase = phase;
        ask
    }

    fn judge(&mut self, seen: Summary, now: u64) -> (Phase, Action) {
        self.passes += 1;
        if now >= self.limits.drain_until {
            return (Phase::GivingUp, Action::Open);
        }
        let moved = self.stuck_digest != Some(seen.stuck_digest);
        if moved {
            self.stuck_digest = Some(seen.stuck_digest);
            self.moved_at = now;
        }
        let in_flight = match self.stage {
            Stage::Quiescing(since) => return self.await_quiesced(since, seen, now),
            Stage::First(_, until) if now >= until => return self.await_quiesced(None, seen, now),
            // What they had sent was taken, and they have put it down: now the makers.
            Stage::First(Rank::Sender, until) if seen.senders_in_flight == 0 => {
                return self.close_first(Rank::First, until);
            }
            Stage::First(Rank::Sender, _) => seen.senders_in_flight,
            // Their own calls are over or held: another pass would show the same.
            Stage::First(..) if seen.first_in_flight == 0 && self.idle.is_some() => {
                return (Phase::Rescanning, Action::Rescan);
            }
            Stage::First(..) => seen.first_in_flight,
            Stage::All => seen.in_flight,
        };
        if in_flight == 0 && (seen.outstanding == 0 || self.stage != Stage::All) {
            if self.idle == Some(seen.digest) {
                if self.listed {
                    return (Phase::Over(Outcome::Drained), Action::Done(Outcome::Drained));
                }
                return (Phase::Rescanning, Action::Rescan);
            }
            (self.idle, self.listed) = (Some(seen.digest), false);
            return (Phase::Passing, Action::Pass);
        }
        (self.idle, self.listed) = (None, false);
        if seen.revocable {
            return (Phase::Pausing, Action::Revoke);
        }
        if let Some(candidate) = seen.candidate {
            self.admitted += 1;
            return (Phase::Pausing, Action::Admit(candidate));
        }
        let all = self.stage == Stage::All;
        let stuck = all && !moved && now.saturating_sub(self.moved_at) >= self.limits.stuck_after;
        if stuck && seen.held > 0 && self.openings < self.limits.openings {
            self.moved_at = now;
            return (Phase::Opening, Action::Open);
        }
        // What it waits for may be a child that is not in the list yet: forked
        // by an open section after the barrier went up, held, and to be admitted.
        (if moved { Phase::Pausing } else { Phase::Seeking }, Action::Pause)
    }

    /// The first ones are held: now all others, as soon as they have come to rest.
    fn await_quiesced(
        &mut self,
        was: Option<(u64, u64, u64)>,
        seen: Summary,
        now: u64,
    ) -> (Phase, Action) {
        let others = seen.others;
        let Some(order) = self.limits.order else { return self.close() };
        let (since, until) = match was {
            Some((before, since, until)) if before == others => (since, until),
            Some((_, _, until)) => (now, until),
            None => (now, now.saturating_add(order.quiesced_within)),
        };
        if seen.quiesced || now - since >= order.quiesced_after || now >= until {
            self.stage = Stage::All;
            return (Phase::Closing, Action::Close(self.deadline()));
        }
        self.stage = Stage::Quiescing(Some((others, since, until)));
        (Phase::Pausing, Action::Pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { deadline: 1000, drain_until: 600, stuck_after: 50, openings: 2, order: None };

    fn to_first_pass(drain: &mut Drain) {
        assert_eq!(drain.next(Answer::Done(0)), Action::Close(1000));
        assert_eq!(drain.next(Answer::Done(0)), Action::Fence);
        assert_eq!(drain.next(Answer::Done(0)), Action::Pass);
    }

    fn idle(digest: u64) -> Summary {
        Summary { digest, stuck_digest: digest, ..Summary::default() }
    }

    #[test]
    fn one_quiet_pass_is_not_enough() {
        let mut drain = Drain::new(LIMITS);
        to_first_pass(&mut drain);
        assert_eq!(drain.next(Answer::Seen(idle(7), 1)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(idle(8), 2)), Action::Pass, "something moved");
        assert_eq!(drain.next(Answer::Seen(idle(8), 3)), Action::Rescan);
        assert_eq!(drain.next(Answer::Newcomers(1)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(idle(9), 4)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(idle(9), 5)), Action::Rescan);
        assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(idle(9), 6)), Action::Done(Outcome::Drained));
    }

    #[test]
    fn what_the_pass_after_the_listing_sees_decides() {
        let mut drain = Drain::new(LIMITS);
        to_first_pass(&mut drain);
        assert_eq!(drain.next(Answer::Seen(idle(7), 1)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(idle(7), 2)), Action::Rescan);
        assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
        let unsettled = Summary { in_flight: 1, stuck_digest: 3, ..idle(7) };
        assert_eq!(drain.next(Answer::Seen(unsettled, 3)), Action::Pause);
        assert_eq!(drain.next(Answer::Done(4)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(idle(8), 4)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(idle(8), 5)), Action::Rescan, "listed anew");
        assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(idle(9), 6)), Action::Pass, "somebody passed");
        assert_eq!(drain.next(Answer::Seen(idle(9), 7)), Action::Rescan);
    }

    const ORDERED: Limits = Limits {
        order: Some(Order {
            from: Rank::First,
            drain: 100,
            quiesced_after: 5,
            quiesced_within: 20,
        }),
        ..LIMITS
    };

    #[test]
    fn the_first_ones_are_drained_then_the_rest_comes_to_rest_then_all_are_held() {
        let mut drain = Drain::new(ORDERED);
        assert_eq!(drain.next(Answer::Done(0)), Action::CloseFirst(Rank::First, 1000));
        assert_eq!(drain.next(Answer::Done(0)), Action::Fence);
        assert_eq!(drain.next(Answer::Done(0)), Action::Pass);
        let busy = Summary { first_in_flight: 1, in_flight: 4, others: 1, ..idle(7) };
        assert_eq!(drain.next(Answer::Seen(busy, 1)), Action::Pause);
        assert_eq!(drain.next(Answer::Done(2)), Action::Pass);
        // Others are in flight all the time, and may be.
        let done = Summary { first_in_flight: 0, ..busy };
        assert_eq!(drain.next(Answer::Seen(done, 2)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(done, 3)), Action::Rescan);
        assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(done, 4)), Action::Pause);
        assert_eq!(drain.next(Answer::Done(6)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(Summary { others: 2, ..done }, 8)), Action::Pause);
        assert_eq!(drain.next(Answer::Done(12)), Action::Pass);
        assert_eq!(
            drain.next(Answer::Seen(Summary { others: 2, ..done }, 13)),
            Action::Close(1000)
        );
        assert_eq!(
            drain.next(Answer::Done(13)),
            Action::Fence,
            "what was seen before counts for nothing"
        );
        assert_eq!(drain.next(Answer::Done(13)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(idle(7), 14)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(idle(7), 14)), Action::Rescan);
        assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(idle(7), 15)), Action::Done(Outcome::Drained));
    }

    #[test]
    fn senders_are_drained_before_the_makers_are_held() {
        let order =
            Order { from: Rank::Sender, drain: 100, quiesced_after: 5, quiesced_within: 20 };
        let mut drain = Drain::new(Limits { order: Some(order), ..LIMITS });
        assert_eq!(drain.next(Answer::Done(0)), Action::CloseFirst(Rank::Sender, 1000));
        assert_eq!(drain.next(Answer::Done(0)), Action::Fence);
        assert_eq!(drain.next(Answer::Done(7)), Action::Pass);
        let makers = Summary { first_in_flight: 3, in_flight: 4, ..idle(7) };
        let busy = Summary { senders_in_flight: 1, ..makers };
        assert_eq!(drain.next(Answer::Seen(busy, 8)), Action::Pause);
        assert_eq!(drain.next(Answer::Done(9)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(makers, 50)), Action::CloseFirst(Rank::First, 1000));
        assert_eq!(drain.next(Answer::Done(50)), Action::Fence);
        assert_eq!(drain.next(Answer::Done(50)), Action::Pass);
        // All the first ones together have one time.
        assert_eq!(drain.next(Answer::Seen(makers, 106)), Action::Pause);
        while drain.next(Answer::Newcomers(0)) != Action::Pass {}
        assert_eq!(drain.next(Answer::Seen(makers, 107)), Action::Pause, "not calm yet");
        assert_eq!(drain.next(Answer::Done(112)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(makers, 112)), Action::Close(1000));
    }

    #[test]
    fn a_rest_that_was_seen_to_sleep_once_is_not_waited_for() {
        let mut drain = Drain::new(ORDERED);
        for _ in 0..3 {
            drain.next(Answer::Done(0));
        }
        let done = Summary { in_flight: 4, others: 1, ..idle(7) };
        assert_eq!(drain.next(Answer::Seen(done, 2)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(done, 3)), Action::Rescan);
        assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(done, 4)), Action::Pause);
        assert_eq!(drain.next(Answer::Done(5)), Action::Pass);
        let rested = Summary { others: 2, quiesced: true, ..done };
        assert_eq!(drain.next(Answer::Seen(rested, 6)), Action::Close(1000));
    }

    #[test]
    fn without_a_time_for_it_only_rest_lets_the_others_be_held() {
        let order = Order {
            from: Rank::First,
            drain: u64::MAX,
            quiesced_after: u64::MAX,
            quiesced_within: u64::MAX,
        };
        let mut drain = Drain::new(Limits { order: Some(order), ..LIMITS });
        for _ in 0..3 {
            drain.next(Answer::Done(0));
        }
        let busy = Summary { first_in_flight: 1, in_flight: 4, ..idle(7) };
        assert_eq!(drain.next(Answer::Seen(busy, 590)), Action::Pause, "the first ones first");
        assert_eq!(drain.next(Answer::Done(590)), Action::Pass);
        let done = Summary { first_in_flight: 0, ..busy };
        assert_eq!(drain.next(Answer::Seen(done, 591)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(done, 591)), Action::Rescan);
        assert_eq!(drain.next(Answer::Newcomers(0)), Action::Pass);
        let mut late = drain;
        assert_eq!(drain.next(Answer::Seen(done, 599)), Action::Pause, "though nobody moved");
        assert_eq!(drain.next(Answer::Done(599)), Action::Pass);
        let rested = Summary { quiesced: true, ..done };
        assert_eq!(drain.next(Answer::Seen(rested, 599)), Action::Close(1000));
        assert_eq!(late.next(Answer::Seen(done, 600)), Action::Open, "or not at all");
        assert_eq!(late.next(Answer::Done(600)), Action::Done(Outcome::NotDrained));
    }

    #[test]
    fn first_ones_that_never_rest_and_a_rest_that_never_calms_hold_nobody_up() {
        let mut drain = Drain::new(ORDERED);
        drain.next(Answer::Done(0));
        drain.next(Answer::Done(0));
        assert_eq!(drain.next(Answer::Done(0)), Action::Pass);
        let busy =
            |others| Summary { first_in_flight: 1, in_flight: 4, held: 2, others, ..idle(7) };
        let mut now = 0;
        let ask = loop {
            now += 3;
            match drain.next(Answer::Seen(busy(now), now)) {
                Action::Pause => while drain.next(Answer::Newcomers(0)) != Action::Pass {},
                ask => break ask,
            }
        };
        assert_eq!(ask, Action::Close(1000), "and no opening before");
        assert!((120..130).contains(&now), "{now}");
    }

    #[test]
    fn an_outstanding_admission_is_not_quiet() {
        let mut drain = Drain::new(LIMITS);
        to_first_pass(&mut drain);
        let seen = Summary { outstanding: 1, ..idle(7) };
        assert_eq!(drain.next(Answer::Seen(seen, 1)), Action::Pause);
        let seen = Summary { outstanding: 1, revocable: true, ..idle(7) };
        assert_eq!(drain.next(Answer::Done(2)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(seen, 2)), Action::Revoke);
    }

    #[test]
    fn stuck_behind_someone_held_opens_and_closes_under_a_new_deadline_with_a_fence() {
        let mut drain = Drain::new(LIMITS);
        to_first_pass(&mut drain);
        let seen = Summary { in_flight: 1, held: 3, ..idle(7) };
        assert_eq!(drain.next(Answer::Seen(seen, 1)), Action::Pause);
        assert_eq!(drain.next(Answer::Done(2)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(seen, 60)), Action::Open);
        assert_eq!(drain.next(Answer::Done(60)), Action::AwaitMoved);
        assert_eq!(drain.next(Answer::Done(70)), Action::Close(1001));
        assert_eq!(drain.next(Answer::Done(70)), Action::Fence);
    }

    #[test]
    fn drain_time_up_opens_before_it_reports() {
        let mut drain = Drain::new(LIMITS);
        to_first_pass(&mut drain);
        let seen = Summary { in_flight: 1, ..idle(7) };
        assert_eq!(drain.next(Answer::Seen(seen, 600)), Action::Open);
        assert_eq!(drain.next(Answer::Done(600)), Action::Done(Outcome::NotDrained));
    }

    #[test]
    fn stuck_without_anybody_held_looks_for_a_child_that_is_not_in_the_list() {
        let mut drain = Drain::new(LIMITS);
        to_first_pass(&mut drain);
        let seen = Summary { in_flight: 1, ..idle(7) };
        assert_eq!(drain.next(Answer::Seen(seen, 1)), Action::Pause);
        assert_eq!(drain.next(Answer::Done(2)), Action::Pass);
        assert_eq!(drain.next(Answer::Seen(seen, 3)), Action::Pause);
        assert_eq!(drain.next(Answer::Done(4)), Action::Rescan);
        assert_eq!(drain.next(Answer::Newcomers(1)), Action::Pass);
    }
}
