//! The freezer's state machine, from raising the barrier to "nothing is in flight".
//!
//! It makes no system call. The caller (the command, or a model) does what
//! [`Drain::next`] asks for and tells it what came of it:
//!
//! ```text
//!   Close ─> Fence ─> Pass ──quiet twice, same digest──> Rescan ──no newcomer──> Done(Drained)
//!              ^       │ ^                                  │
//!              │       │ └──────────── newcomers ───────────┘
//!              │       ├─ blocked behind someone held ─> Admit ─┐
//!              │       ├─ owner of an admitted child done ─> Revoke ─> Pass
//!              │       ├─ nothing moves, someone is held ─> Open ─> AwaitMoved ─> Close
//!              │       └─ drain time up ─> Done(NotDrained)
//! ```
//!
//! Every `Close` is followed by a `Fence`, and what was seen before it counts
//! for nothing.

/// What one pass over all regions saw. See [`crate::standing`] for how it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Summary {
    /// Over every word of every region: equal digests mean that nothing moved.
    pub digest: u64,
    /// Processes in flight.
    pub in_flight: u32,
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
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Phase {
    Begin,
    Closing,
    Fencing,
    Passing,
    Rescanning,
    Pausing,
    Opening,
    Moving,
    GivingUp,
    Over(Outcome),
}

/// One drain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Drain {
    limits: Limits,
    phase: Phase,
    /// The digest of the pass before, if that one was quiet and since the fence.
    quiet: Option<u64>,
    /// For telling "stuck": the digest and since when it has not changed.
    digest: u64,
    moved_at: u64,
    openings: u32,
    admitted: u32,
    passes: u32,
}

impl Drain {
    /// A drain that has yet to begin.
    pub fn new(limits: Limits) -> Self {
        Drain {
            limits,
            phase: Phase::Begin,
            quiet: None,
            digest: 0,
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

    /// The next step.
    pub fn next(&mut self, told: Told) -> Ask {
        let (phase, ask) = match (self.phase, told) {
            (Phase::Begin, _) => (Phase::Closing, Ask::Close(self.deadline())),
            (Phase::Closing, _) => {
                self.quiet = None;
                (Phase::Fencing, Ask::Fence)
            }
            (Phase::Fencing, Told::Done(now)) => {
                self.moved_at = now;
                (Phase::Passing, Ask::Pass)
            }
            (Phase::Passing, Told::Seen(summary, now)) => self.judge(summary, now),
            (Phase::Rescanning, Told::Newcomers(0)) => {
                (Phase::Over(Outcome::Drained), Ask::Done(Outcome::Drained))
            }
            (Phase::Rescanning, _) => {
                self.quiet = None;
                (Phase::Passing, Ask::Pass)
            }
            (Phase::Pausing, _) => (Phase::Passing, Ask::Pass),
            (Phase::Opening, _) => (Phase::Moving, Ask::AwaitMoved),
            (Phase::Moving, Told::Done(now)) if now >= self.limits.drain_until => {
                (Phase::Over(Outcome::NotDrained), Ask::Done(Outcome::NotDrained))
            }
            (Phase::Moving, _) => {
                self.openings += 1;
                (Phase::Closing, Ask::Close(self.deadline()))
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
        if seen.digest != self.digest {
            self.digest = seen.digest;
            self.moved_at = now;
        }
        if seen.in_flight == 0 && seen.outstanding == 0 {
            if self.quiet == Some(seen.digest) {
                return (Phase::Rescanning, Ask::Rescan);
            }
            self.quiet = Some(seen.digest);
            return (Phase::Passing, Ask::Pass);
        }
        self.quiet = None;
        if seen.revocable {
            return (Phase::Pausing, Ask::Revoke);
        }
        if let Some(candidate) = seen.candidate {
            self.admitted += 1;
            return (Phase::Pausing, Ask::Admit(candidate));
        }
        let stuck = now.saturating_sub(self.moved_at) >= self.limits.stuck_after;
        if stuck && seen.held > 0 && self.openings < self.limits.openings {
            self.moved_at = now;
            return (Phase::Opening, Ask::Open);
        }
        (Phase::Pausing, Ask::Pause)
    }
}

/// How a freeze may be judged once its barrier is down.
///
/// `opened_at` was read *after* the barrier went down: a clock read before could
/// be in time while the lowering was not.
pub fn held_to_the_end(
    drained: Summary,
    before_opening: Summary,
    deadline: u64,
    opened_at: u64,
) -> Result<(), Broken> {
    if opened_at >= deadline {
        return Err(Broken::Expired);
    }
    if before_opening.digest != drained.digest || before_opening.in_flight != 0 {
        return Err(Broken::Moved);
    }
    Ok(())
}

/// Why a drained freeze did not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Broken {
    /// The limit passed before the barrier was lowered.
    Expired,
    /// Some word had moved: somebody passed.
    Moved,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { deadline: 1000, drain_until: 600, stuck_after: 50, openings: 2 };

    fn to_first_pass(drain: &mut Drain) {
        assert_eq!(drain.next(Told::Done(0)), Ask::Close(1000));
        assert_eq!(drain.next(Told::Done(0)), Ask::Fence);
        assert_eq!(drain.next(Told::Done(0)), Ask::Pass);
    }

    fn quiet(digest: u64) -> Summary {
        Summary { digest, ..Summary::default() }
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
        assert_eq!(drain.next(Told::Newcomers(0)), Ask::Done(Outcome::Drained));
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
    fn the_clock_is_judged_after_the_opening() {
        assert_eq!(held_to_the_end(quiet(1), quiet(1), 1000, 999), Ok(()));
        assert_eq!(held_to_the_end(quiet(1), quiet(1), 1000, 1000), Err(Broken::Expired));
        assert_eq!(held_to_the_end(quiet(1), quiet(2), 1000, 10), Err(Broken::Moved));
    }
}
