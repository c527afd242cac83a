//! Bringing processes that no preload reaches to rest: the tracer's state machine.
//!
//! Such a process has no words. It is stopped or it runs, and only the kernel knows its locks. It is at
//! rest when all its threads are stopped (each at the end of a system call, or between two) and no
//! lock of it guards writing. The stop is not atomic over threads and processes, hence the order:
//!
//! 1. all that are known are stopped, 2. they are listed again until nobody is new, 3. only then the
//!    locks are read. Who holds one is let run and stopped again, with all others at rest.
//!
//! A process of many threads may never be without a lock: while one gives its last one up another takes
//! the next. So no thread of it takes a new one in every other round. In the rounds between it may, for who
//! holds a lock may need a second one first.
//!
//! Who holds a lock may wait for somebody who is at rest (a child, a reader, the other end of a pipe):
//! when letting it go alone has not helped for some rounds, all are let go for a moment. Who has no lock
//! takes none then, or there would always be somebody who has just begun; in every other such moment it
//! may, for that may be what the holder waits for.
//!
//! `tests/protocol/model_hold.rs` explores it, and what goes wrong without each rule.

/// How long it may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Limits {
    /// Give up at this time, ns.
    pub until: u64,
    /// First pause after some were let go, ns; it grows with each round that has not helped.
    pub pause: u64,
}

/// What the tracer is to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Action {
    /// Find all threads of all processes, make those ours that are not, ask all that run to stop.
    Stop,
    /// Wait a moment for one that was asked.
    Await,
    /// Find all threads of all processes again, and make those ours that are new.
    List,
    /// Read the kernel's locks of all.
    Locks,
    /// Let those run that hold a guarding lock, until they have given up their last, and those that they
    /// are seen to wait for; with new locks or without: whether a thread of theirs may take another.
    LetGo(NewLocks),
    /// Let all run, each until it has given up its last lock: those that hold one wait for something that
    /// is not seen. With new locks or without: whether one that has none may take one.
    LetAll(NewLocks),
    /// Wait so long, ns, or until all of those have.
    Pause(u64),
    /// It is over.
    Done(Outcome),
}

/// May a thread that is let run take another lock?
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum NewLocks {
    /// It may.
    Taken,
    /// It stops where it would, if its process had none, or has other threads that go on.
    KeptBack,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Answer {
    /// It was done, at this time.
    Done(u64),
    /// So many threads have not stopped yet, at this time.
    Running(u32, u64),
    /// So many threads were new.
    New(u32, u64),
    /// So many processes hold a guarding lock, or may hold one.
    Holding(u32, u64),
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Outcome {
    /// All are at rest.
    AtRest,
    /// Some thread did not stop in time.
    NotStopped,
    /// Some process was never seen without a guarding lock.
    UnderLock,
    /// New threads came as fast as they were found.
    Multiplying,
}

/// After so many rounds that have not helped, all are let go instead of the holders alone.
const ALONE: u32 = 4;
/// The pause doubles so often at most: one that holds a lock may sleep for a second. It is over as soon
/// as nobody has one any more.
const DOUBLED: u32 = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Phase {
    Begin,
    Stopping,
    Awaiting,
    Listing,
    Reading,
    Letting,
    Pausing,
    Over(Outcome),
}

/// The machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Hold {
    limits: Limits,
    phase: Phase,
    /// Rounds in which somebody was let go; of many, as far as they make a difference.
    rounds: u32,
}

impl Hold {
    /// One that has yet to begin.
    pub fn new(limits: Limits) -> Hold {
        Hold { limits, phase: Phase::Begin, rounds: 0 }
    }

    /// What to do next, after this came of the last.
    pub fn next(&mut self, answer: Answer) -> Action {
        let (phase, action) = self.decide(answer);
        self.phase = phase;
        action
    }

    fn decide(&mut self, answer: Answer) -> (Phase, Action) {
        match (self.phase, answer) {
            (Phase::Begin | Phase::Pausing, _) => (Phase::Stopping, Action::Stop),
            (Phase::Stopping, _) => (Phase::Awaiting, Action::Await),
            (Phase::Awaiting, Answer::Running(0, _)) => (Phase::Listing, Action::List),
            (Phase::Awaiting, Answer::Running(_, now)) if now >= self.limits.until => {
                // Who was let go again and again for a lock is late because of that.
                over(if self.rounds > 0 { Outcome::UnderLock } else { Outcome::NotStopped })
            }
            (Phase::Awaiting, _) => (Phase::Awaiting, Action::Await),
            (Phase::Listing, Answer::New(0, _)) => (Phase::Reading, Action::Locks),
            (Phase::Listing, Answer::New(_, now)) if now >= self.limits.until => {
                over(Outcome::Multiplying)
            }
            (Phase::Listing, _) => (Phase::Stopping, Action::Stop),
            (Phase::Reading, Answer::Holding(0, _)) => over(Outcome::AtRest),
            (Phase::Reading, Answer::Holding(_, now)) if now >= self.limits.until => {
                over(Outcome::UnderLock)
            }
            (Phase::Reading, _) => {
                // It goes on as it does from here, for as many rounds as there are.
                self.rounds =
                    if self.rounds == 4 * ALONE { 2 * ALONE + 1 } else { self.rounds + 1 };
                let letting = match self.rounds {
                    round if round.is_multiple_of(2 * ALONE) => Action::LetAll(NewLocks::Taken),
                    round if round.is_multiple_of(ALONE) => Action::LetAll(NewLocks::KeptBack),
                    round if round.is_multiple_of(2) => Action::LetGo(NewLocks::Taken),
                    _ => Action::LetGo(NewLocks::KeptBack),
                };
                (Phase::Letting, letting)
            }
            (Phase::Letting, Answer::Done(now)) => {
                let doubled = self.limits.pause << (self.rounds - 1).min(DOUBLED);
                // When the time is up all are stopped once more: who is at rest by then is.
                (Phase::Pausing, Action::Pause(doubled.min(self.limits.until.saturating_sub(now))))
            }
            (Phase::Letting, _) => (Phase::Pausing, Action::Pause(self.limits.pause)),
            (Phase::Over(outcome), _) => over(outcome),
        }
    }
}

fn over(outcome: Outcome) -> (Phase, Action) {
    (Phase::Over(outcome), Action::Done(outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Hold {
        Hold::new(Limits { until: 100, pause: 1 })
    }

    fn after(hold: &mut Hold, answers: &[Answer]) -> Action {
        let mut last = Action::Done(Outcome::AtRest);
        for answer in answers {
            last = hold.next(*answer);
        }
        last
    }

    const STOPPED: [Answer; 4] =
        [Answer::Done(0), Answer::Done(1), Answer::Running(0, 2), Answer::New(0, 3)];

    #[test]
    fn locks_are_read_after_all_have_stopped_and_nobody_was_new() {
        let mut hold = machine();
        assert_eq!(hold.next(Answer::Done(0)), Action::Stop);
        assert_eq!(hold.next(Answer::Done(1)), Action::Await);
        assert_eq!(hold.next(Answer::Running(2, 2)), Action::Await);
        assert_eq!(hold.next(Answer::Running(0, 3)), Action::List);
        assert_eq!(hold.next(Answer::New(1, 4)), Action::Stop, "one more");
        assert_eq!(after(&mut hold, &[Answer::Done(5), Answer::Running(0, 6)]), Action::List);
        assert_eq!(hold.next(Answer::New(0, 7)), Action::Locks);
        assert_eq!(hold.next(Answer::Holding(0, 8)), Action::Done(Outcome::AtRest));
    }

    #[test]
    fn a_holder_is_let_run_and_stopped_again_and_in_the_end_all_are() {
        let mut hold = machine();
        let mut letting = std::vec::Vec::new();
        for _ in 0..9 {
            assert_eq!(after(&mut hold, &STOPPED), Action::Locks);
            letting.push(hold.next(Answer::Holding(1, 4)));
            assert!(matches!(hold.next(Answer::Done(4)), Action::Pause(_)));
        }
        let kept = Action::LetGo(NewLocks::KeptBack);
        let taken = Action::LetGo(NewLocks::Taken);
        let (all_kept, all) = (Action::LetAll(NewLocks::KeptBack), Action::LetAll(NewLocks::Taken));
        assert_eq!(letting, [kept, taken, kept, all_kept, kept, taken, kept, all, kept]);
    }

    #[test]
    fn no_pause_goes_on_when_the_time_is_up() {
        let mut hold = Hold::new(Limits { until: 100, pause: 64 });
        let mut pauses = std::vec::Vec::new();
        for now in [10, 70, 100] {
            after(&mut hold, &STOPPED);
            hold.next(Answer::Holding(1, now.min(99)));
            pauses.push(hold.next(Answer::Done(now)));
        }
        assert_eq!(pauses, [64, 30, 0].map(Action::Pause));
    }

    #[test]
    fn it_gives_up_in_time_and_says_why() {
        let mut hold = machine();
        after(&mut hold, &STOPPED[..2]);
        assert_eq!(hold.next(Answer::Running(1, 100)), Action::Done(Outcome::NotStopped));
        let mut hold = machine();
        after(&mut hold, &STOPPED);
        assert_eq!(hold.next(Answer::Holding(1, 100)), Action::Done(Outcome::UnderLock));
        let mut hold = machine();
        after(&mut hold, &STOPPED[..3]);
        assert_eq!(hold.next(Answer::New(1, 100)), Action::Done(Outcome::Multiplying));
        assert_eq!(hold.next(Answer::Done(101)), Action::Done(Outcome::Multiplying));
    }

    #[test]
    fn one_that_is_late_after_it_was_let_go_is_late_because_of_its_lock() {
        let mut hold = machine();
        after(&mut hold, &STOPPED);
        hold.next(Answer::Holding(1, 4));
        after(&mut hold, &[Answer::Done(5), Answer::Done(6), Answer::Done(7)]);
        assert_eq!(hold.next(Answer::Running(1, 100)), Action::Done(Outcome::UnderLock));
    }

    #[test]
    fn a_hold_of_many_rounds_goes_on_as_it_did_and_its_pauses_are_bounded() {
        let mut hold = Hold::new(Limits { until: u64::MAX, pause: 3 });
        let mut rounds = std::vec::Vec::new();
        for _ in 0..40 {
            assert_eq!(after(&mut hold, &STOPPED), Action::Locks);
            rounds.push((hold.next(Answer::Holding(1, 4)), hold.next(Answer::Done(4))));
        }
        let (kept, taken) = (NewLocks::KeptBack, NewLocks::Taken);
        for (at, (letting, pause)) in rounds.iter().enumerate() {
            let expected = match at + 1 {
                round if round % 8 == 0 => Action::LetAll(taken),
                round if round % 4 == 0 => Action::LetAll(kept),
                round if round % 2 == 0 => Action::LetGo(taken),
                _ => Action::LetGo(kept),
            };
            assert_eq!(*letting, expected, "round {}", at + 1);
            assert_eq!(*pause, Action::Pause(3 << at.min(8)), "round {}", at + 1);
        }
        assert!(hold.rounds <= 4 * ALONE, "as many as make a difference");
    }
}
