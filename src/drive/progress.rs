//! One gate's drain under way, and what is remembered of it.

use crate::census::files::LockPaths;
use crate::drive::kernel_locks::KernelLocks;
use crate::drive::reading::{Reading, ShownWord};
use crate::drive::room::Room;
use crate::linux::clock;
use crate::linux::directory::FileId;
use crate::outcome::blocker::Blocker;
use crate::outcome::drain_parts::DrainParts;
use crate::outcome::finding::Finding;
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
/// While nothing moves for longer than this, processes are listed, and those in flight are asked
/// whether they work.
pub(super) const LIST_AFTER_NS: u64 = 2_000_000;
/// What one activity more adds: odd, with bits set all over, so that digests that it is mixed
/// into do not come back.
const ACTIVITY: u64 = 0x9e37_79b9_7f4a_7c15;

/// One gate's drain, and what is remembered of it.
pub struct GateDrain {
    pub(super) machine: Drain,
    pub(super) answer: Answer,
    pub(super) reading: Reading,
    pub(super) room: Room,
    /// At which member the next judgement of what it shows begins.
    pub(super) judged_from: usize,
    pub(super) grants: Vec<Grant>,
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
    /// What was in flight when draining was given up.
    pub blockers: Vec<Blocker>,
    /// What was in flight when that was last put down, ...
    pub(super) named: Vec<Blocker>,
    /// ... when it was, ...
    pub(super) named_at: u64,
    /// ... and the digest of its words then.
    pub(super) named_digest: u64,
    /// The files of the locks that were named.
    pub(super) lock_paths: LockPaths,
    /// Where the time goes.
    pub parts: DrainParts,
    /// When something was last seen in flight (0: never).
    pub(super) in_flight_at: u64,
    pub(super) kernel_locks: KernelLocks,
    /// What the kernel's locks left unexplained at the end.
    pub unexplained: Vec<Finding>,
    /// Lock files that lie in the snapshot, ...
    pub dotlocks: Vec<Finding>,
    /// ... and by what they are known.
    pub lock_files: Vec<FileId>,
    pub(super) deadline: u64,
    pub(super) drain_until: u64,
    pub(super) raised: bool,
    pub(super) images_checked: bool,
    pub(super) pause_ns: u64,
    /// When the processes are listed again.
    pub(super) list_next: u64,
    /// When the list of the kernel's locks is asked for again.
    pub(super) locks_next: u64,
    /// Another number each time that something was seen at work.
    pub(super) activity: u64,
    /// When something in flight was last seen to move.
    pub(super) moved_at: u64,
    pub(super) rounds: Rounds,
    /// Members that have quiesced in the present round.
    pub(super) quiesced: HashSet<usize>,
    pub(super) held_at_opening: Vec<ShownWord>,
    /// Every thread's word as the last pass before the snapshot saw it: tells afterwards which
    /// passed.
    pub drained_words: Vec<ShownWord>,
}

impl GateDrain {
    pub(super) fn new(deadline: u64, drain_until: u64, order: Option<Order>) -> GateDrain {
        GateDrain {
            machine: Drain::new(limits(deadline, drain_until, order)),
            answer: Answer::Done(0),
            reading: Reading::default(),
            room: Room::default(),
            judged_from: 0,
            grants: Vec::new(),
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
            named_digest: 0,
            lock_paths: LockPaths::default(),
            dotlocks: Vec::new(),
            lock_files: Vec::new(),
            parts: DrainParts::default(),
            in_flight_at: 0,
            kernel_locks: KernelLocks::default(),
            unexplained: Vec::new(),
            deadline,
            drain_until,
            raised: false,
            images_checked: false,
            pause_ns: PAUSE_MIN_NS,
            list_next: 0,
            locks_next: 0,
            activity: 0,
            moved_at: 0,
            rounds: Rounds::default(),
            quiesced: HashSet::new(),
            held_at_opening: Vec::new(),
            drained_words: Vec::new(),
        }
    }

    /// The deadline in force.
    pub fn deadline(&self) -> u64 {
        self.machine.deadline()
    }

    /// The last pass, as it was read.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// After a fence: passes begin anew.
    pub(super) fn begin_passes(&mut self, now: u64) {
        self.pause_ns = PAUSE_MIN_NS;
        self.moved_at = now;
        self.list_next = now + LIST_AFTER_NS;
    }

    /// Something was seen at work, though no word moved.
    pub(super) fn note_activity(&mut self) {
        self.activity = self.activity.wrapping_add(ACTIVITY);
    }

    /// Begins again behind a barrier that is up: a process came late.
    pub(super) fn again(&mut self) {
        self.count_machine();
        self.deadline = self.machine.deadline() + 1;
        // Behind a barrier that is up there is no order any more.
        self.machine = Drain::new(limits(self.deadline, self.drain_until, None));
        self.outcome = None;
        self.answer = Answer::Done(clock::now_ns());
    }

    /// It is over, for better or worse.
    pub(super) fn close(&mut self, now: u64) {
        if self.ended_at == 0 {
            self.ended_at = now;
        }
        if self.in_flight_at != 0 {
            self.parts.tail_ns = self.ended_at.saturating_sub(self.in_flight_at);
        }
        self.count_machine();
    }

    fn count_machine(&mut self) {
        self.parts.passes += self.machine.passes();
        self.openings += self.machine.openings();
        self.admitted += self.machine.admitted();
    }
}

fn limits(deadline: u64, drain_until: u64, order: Option<Order>) -> Limits {
    Limits { deadline, drain_until, stuck_after: STUCK_AFTER_NS, openings: OPENINGS, order }
}
