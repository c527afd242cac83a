//! The end of a freeze: did it hold until the barrier was down?

use crate::drain::Answer;
use crate::summary::Summary;

/// How a freeze may be judged once its barrier is down.
///
/// `opened_at` was read *after* the barrier went down: a clock read before could
/// be in time while the lowering was not.
///
/// Of the last pass only calls that passed count. Sections are as they were: one
/// begins by passing, and one that counted as over at the drain (settled) may
/// look otherwise by now without a change having been made.
pub fn held_to_the_end(
    drained: Summary,
    before_opening: Summary,
    deadline: u64,
    opened_at: u64,
) -> Result<(), Broken> {
    if opened_at >= deadline {
        return Err(Broken::Expired);
    }
    if before_opening.digest != drained.digest || before_opening.calling != 0 {
        return Err(Broken::Moved);
    }
    Ok(())
}

/// The end of a drained freeze: a last pass, the opening, *then* the clock.
///
/// ```text
///   Fence ─> Pass ─none calls─> Open ─> Done
///             ^ └─ one does ─> Pause
///             └──────────────────────┘
/// ```
///
/// After the fence a thread that asks was not let pass while the snapshot was made
/// ([`crate::word::ThreadWord::not_let_pass`]). Where the fence does not reach, one that has just
/// announced itself and not yet retracted looks like one that passed: it is given a
/// moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Thaw {
    drained: Summary,
    deadline: u64,
    give_up: u64,
    phase: ThawPhase,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum ThawPhase {
    Begin,
    Fencing,
    Passing,
    Pausing,
    Opening(Summary),
    Over(Result<(), Broken>),
}

/// What the caller must do next for a [`Thaw`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ThawAction {
    /// `membarrier`: a thread that was let pass before shows it.
    Fence,
    /// Look at every word of every region that was looked at for the drain.
    Pass,
    /// Wait a moment.
    Pause,
    /// Store 0 in the barrier word with a full fence, wake all, *then* read the clock.
    Open,
    /// The end.
    Done(Result<(), Broken>),
}

impl Thaw {
    /// Ends the freeze that drained with `drained` under `deadline`; threads that
    /// seem to pass are looked at again until `give_up` (ns).
    pub fn new(drained: Summary, deadline: u64, give_up: u64) -> Self {
        Thaw { drained, deadline, give_up: give_up.min(deadline), phase: ThawPhase::Begin }
    }

    /// The next step.
    pub fn next(&mut self, answer: Answer) -> ThawAction {
        let (phase, ask) = match (self.phase, answer) {
            (ThawPhase::Passing, Answer::Seen(seen, now)) => {
                if seen.calling != 0 && now < self.give_up {
                    (ThawPhase::Pausing, ThawAction::Pause)
                } else {
                    (ThawPhase::Opening(seen), ThawAction::Open)
                }
            }
            (ThawPhase::Opening(seen), Answer::Done(opened_at)) => {
                let result = held_to_the_end(self.drained, seen, self.deadline, opened_at);
                (ThawPhase::Over(result), ThawAction::Done(result))
            }
            (ThawPhase::Over(result), _) => (self.phase, ThawAction::Done(result)),
            (ThawPhase::Opening(_), _) => (self.phase, ThawAction::Open),
            (ThawPhase::Begin, _) => (ThawPhase::Fencing, ThawAction::Fence),
            (ThawPhase::Fencing | ThawPhase::Passing | ThawPhase::Pausing, _) => {
                (ThawPhase::Passing, ThawAction::Pass)
            }
        };
        self.phase = phase;
        ask
    }
}

/// Why a drained freeze did not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Broken {
    /// The limit passed before the barrier was lowered.
    Expired,
    /// Some word had moved: a call passed.
    Moved,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(digest: u64) -> Summary {
        Summary { digest, stuck_digest: digest, ..Summary::default() }
    }

    #[test]
    fn the_clock_is_judged_after_the_opening() {
        assert_eq!(held_to_the_end(idle(1), idle(1), 1000, 999), Ok(()));
        assert_eq!(held_to_the_end(idle(1), idle(1), 1000, 1000), Err(Broken::Expired));
        assert_eq!(held_to_the_end(idle(1), idle(2), 1000, 10), Err(Broken::Moved));
        let calling = Summary { calling: 1, ..idle(1) };
        assert_eq!(held_to_the_end(idle(1), calling, 1000, 10), Err(Broken::Moved));
    }

    #[test]
    fn one_who_just_announced_itself_gets_a_moment_and_no_more() {
        let calling = Summary { calling: 1, ..idle(1) };
        let mut thaw = Thaw::new(idle(1), 1000, 20);
        assert_eq!(thaw.next(Answer::Done(0)), ThawAction::Fence);
        assert_eq!(thaw.next(Answer::Done(0)), ThawAction::Pass);
        assert_eq!(thaw.next(Answer::Seen(calling, 1)), ThawAction::Pause);
        assert_eq!(thaw.next(Answer::Done(2)), ThawAction::Pass);
        let mut slow = thaw;
        assert_eq!(thaw.next(Answer::Seen(idle(1), 3)), ThawAction::Open);
        assert_eq!(thaw.next(Answer::Done(4)), ThawAction::Done(Ok(())));
        assert_eq!(slow.next(Answer::Seen(calling, 20)), ThawAction::Open);
        assert_eq!(slow.next(Answer::Done(21)), ThawAction::Done(Err(Broken::Moved)));
    }

    #[test]
    fn nobody_is_given_a_moment_beyond_the_deadline() {
        let calling = Summary { calling: 1, ..idle(1) };
        let mut thaw = Thaw::new(idle(1), 1000, 5000);
        thaw.next(Answer::Done(0));
        thaw.next(Answer::Done(0));
        let mut again = thaw;
        assert_eq!(thaw.next(Answer::Seen(calling, 999)), ThawAction::Pause);
        assert_eq!(again.next(Answer::Seen(calling, 1000)), ThawAction::Open);
        assert_eq!(again.next(Answer::Newcomers(0)), ThawAction::Open, "no answer to that");
        let over = ThawAction::Done(Err(Broken::Expired));
        assert_eq!(again.next(Answer::Done(1000)), over);
        assert_eq!(again.next(Answer::Done(1001)), over, "and stays so");
    }
}
