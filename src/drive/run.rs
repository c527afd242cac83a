//! One gate's drain under way, and what is remembered of it.

use crate::census::blockers::Blocker;
use crate::drive::pass::Reading;
use crate::linux::sys;
use crate::outcome::report::Finding;
use gate::admission::Grant;
use gate::drain::{Answer, Drain, Limits, Order, Outcome};
use gate::quiesce::Rounds;
use gate::summary::Summary;
use std::collections::HashSet;

/// Nothing moves for this long: something in flight waits for something held.
const STUCK_AFTER_NS: u64 = 15_000_000;
/// Short openings that one drain may make.
const OPENINGS: u32 = 8;
/// Pauses between passes grow from this, half as long again each time.
pub(super) const PAUSE_MIN_NS: u64 = 100_000;

/// One gate's drain, and what is remembered of it.
pub struct Run {
    pub(super) drain: Drain,
    pub(super) answer: Answer,
    pub(super) reading: Reading,
    pub(super) given: Vec<Grant>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The last pass.
    pub last: Summary,
    /// When the barrier was first raised.
    pub closed_at: u64,
    /// When it was drained, or given up.
    pub ended_at: u64,
    /// Openings and admissions, also of a drain that had to begin again.
    pub openings: u32,
    /// See `openings`.
    pub admitted: u32,
    /// The highest number of threads seen waiting.
    pub waiters: u32,
    /// Who was in flight when draining was given up.
    pub blockers: Vec<Blocker>,
    /// Who was in flight when that was last put down, and when it was.
    pub(super) named: Vec<Blocker>,
    pub(super) named_at: u64,
    /// What those in flight showed then.
    pub(super) named_motion: u64,
    /// Lock files that lie in the snapshot.
    pub dotlocks: Vec<Finding>,
    pub(super) deadline: u64,
    pub(super) drain_until: u64,
    pub(super) raised: bool,
    pub(super) images_checked: bool,
    pub(super) pause_ns: u64,
    pub(super) born_next: u64,
    pub(super) activity: u64,
    pub(super) moved_at: u64,
    pub(super) rounds: Rounds,
    pub(super) rested: HashSet<usize>,
    pub(super) held_at_opening: Vec<(usize, usize, u64)>,
    /// Every thread's word (member, slot, word) as the last pass before the snapshot
    /// saw it: tells afterwards who passed.
    pub drained_words: Vec<(usize, usize, u64)>,
}

impl Run {
    pub(super) fn new(deadline: u64, drain_until: u64, order: Option<Order>) -> Run {
        Run {
            drain: Drain::new(limits(deadline, drain_until, order)),
            answer: Answer::Done(0),
            reading: Reading::default(),
            given: Vec::new(),
            outcome: None,
            last: Summary::default(),
            closed_at: 0,
            ended_at: 0,
            openings: 0,
            admitted: 0,
            waiters: 0,
            blockers: Vec::new(),
            named: Vec::new(),
            named_at: 0,
            named_motion: 0,
            dotlocks: Vec::new(),
            deadline,
            drain_until,
            raised: false,
            images_checked: false,
            pause_ns: PAUSE_MIN_NS,
            born_next: 0,
            activity: 0,
            moved_at: 0,
            rounds: Rounds::default(),
            rested: HashSet::new(),
            held_at_opening: Vec::new(),
            drained_words: Vec::new(),
        }
    }

    /// The deadline in force.
    pub fn deadline(&self) -> u64 {
        self.drain.deadline()
    }

    /// From now on only those count who passed. `fenced`: whoever had passed by now
    /// shows it.
    pub fn at_thaw(&mut self, fenced: bool) {
        self.reading.exec_is_past = true;
        self.reading.asking_is_waiting = fenced;
    }

    /// The last pass, as it was read.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Begins again behind a barrier that is up: somebody came late.
    pub(super) fn again(&mut self) {
        self.openings += self.drain.openings();
        self.admitted += self.drain.admitted();
        self.deadline = self.drain.deadline() + 1;
        // Behind a barrier that is up there is no order any more.
        self.drain = Drain::new(limits(self.deadline, self.drain_until, None));
        self.outcome = None;
        self.answer = Answer::Done(sys::now_ns());
    }
}

fn limits(deadline: u64, drain_until: u64, order: Option<Order>) -> Limits {
    Limits { deadline, drain_until, stuck_after: STUCK_AFTER_NS, openings: OPENINGS, order }
}
