//! One thread's word: what it is doing, at which call, on which descriptor.

use super::bits::{CALL_MASK, CALL_SHIFT, DOING_MASK, DOING_SHIFT, FD_MASK, SEQUENCE_SHIFT};
use crate::abi::values;

values! {
    /// What a thread is doing, as its word shows it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub enum Doing {
        /// Not inside any hooked call that matters.
        Idle = 0,
        /// Inside a call that may change a file: in flight.
        Call = 1,
        /// Stopped at the closed barrier: has retracted, is not in flight.
        Held = 2,
        /// Inside a call that waits for a lock: in flight only if a section is open.
        LockWait = 3,
        /// Has announced a call and not been let pass yet. In flight for the freezer
        /// like [`Doing::Call`]; but a call made meanwhile by a signal handler finds
        /// no permission here: this one has none itself so far.
        Asking = 4,
    }
}

/// One thread's call: sequence, state, call number, descriptor.
///
/// ```
/// use gate::word::{Doing, ThreadWord};
/// let idle = ThreadWord::default();
/// let busy = idle.enter(Doing::Call, 7, Some(3));
/// assert_eq!(busy.doing(), Doing::Call);
/// assert_eq!((busy.call(), busy.fd()), (7, Some(3)));
/// assert_eq!(busy.sequence(), idle.sequence() + 1);
/// assert_eq!(busy.leave().doing(), Doing::Idle);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct ThreadWord(pub u64);

impl ThreadWord {
    /// The word of a thread that enters: sequence raised, `doing` shown.
    ///
    /// Waiting for a lock changes nothing and so raises nothing.
    ///
    /// Descriptors above 2^20 - 2 and calls without one show none.
    #[inline(always)]
    pub fn enter(self, doing: Doing, call: u16, fd: Option<i32>) -> Self {
        let fd = match fd {
            Some(fd) if fd >= 0 && (fd as u64) < FD_MASK => fd as u64 + 1,
            _ => 0,
        };
        let acts = matches!(doing, Doing::Call | Doing::Asking) as u32;
        let sequence = self.sequence().wrapping_add(acts) as u64;
        ThreadWord(
            sequence << SEQUENCE_SHIFT
                | (doing as u64) << DOING_SHIFT
                | (call as u64 & CALL_MASK) << CALL_SHIFT
                | fd,
        )
    }

    /// The same entry, shown in another state. The sequence stays: nothing new
    /// was begun.
    #[inline(always)]
    pub fn show(self, doing: Doing) -> Self {
        ThreadWord(self.0 & !(DOING_MASK << DOING_SHIFT) | (doing as u64) << DOING_SHIFT)
    }

    /// This entry was not let pass: it waits (`Held`), or turned out to be none
    /// (`Idle`: a call on a socket). The number that it raised is taken back.
    ///
    /// ```
    /// use gate::word::{Doing, ThreadWord};
    /// let idle = ThreadWord::default();
    /// let held = idle.enter(Doing::Call, 7, Some(3)).retract(Doing::Held);
    /// assert_eq!(held.sequence(), idle.sequence());
    /// ```
    #[inline(always)]
    pub fn retract(self, doing: Doing) -> Self {
        let sequence = self.sequence().wrapping_sub(1) as u64;
        let low = self.0 & !(!0 << SEQUENCE_SHIFT);
        ThreadWord(sequence << SEQUENCE_SHIFT | low).show(doing)
    }

    /// This word as the last pass of a freeze counts it, read after a fence: a
    /// thread that asks has not been let pass so far, and the snapshot is made.
    ///
    /// Without the fence it may have been let pass, have changed something, and its
    /// store of that not be visible.
    pub fn not_let_pass(self) -> Self {
        if self.doing() == Doing::Asking { self.retract(Doing::Held) } else { self }
    }

    /// What lay around this call is shown again, under the number that has come
    /// since: a number that fell back could hide what was done in between.
    #[inline(always)]
    pub fn resume(self, outer: ThreadWord) -> Self {
        ThreadWord(self.0 & !0 << SEQUENCE_SHIFT | outer.0 & !(!0 << SEQUENCE_SHIFT))
    }

    /// The word of a thread that has left its call. The sequence stays.
    #[inline(always)]
    pub fn leave(self) -> Self {
        ThreadWord(self.0 & !0 << SEQUENCE_SHIFT)
    }

    /// The bits that say what the thread is doing; none set: idle.
    pub const DOING: u64 = DOING_MASK << DOING_SHIFT;

    /// What [`ThreadWord::enter`] puts under the number for a call that asks and
    /// shows no descriptor.
    pub const fn asking(call: u16) -> u64 {
        (Doing::Asking as u64) << DOING_SHIFT | (call as u64 & CALL_MASK) << CALL_SHIFT
    }

    /// What added to a word that asks lets it show the call that it is let make:
    /// one instruction, so that a signal handler's entries in between stay counted.
    pub const GRANT: u64 =
        ((Doing::Call as u64) << DOING_SHIFT).wrapping_sub((Doing::Asking as u64) << DOING_SHIFT);

    /// What added to a word that asks is its [`ThreadWord::retract`]`(Held)`.
    pub const HOLD: u64 = ((Doing::Held as u64) << DOING_SHIFT)
        .wrapping_sub((Doing::Asking as u64) << DOING_SHIFT)
        .wrapping_sub(1 << SEQUENCE_SHIFT);

    /// What anded with a word is its [`ThreadWord::leave`].
    pub const LEAVE: u64 = !0 << SEQUENCE_SHIFT;

    /// Has a thread whose word was `held` (it waited at the barrier) gone on since?
    ///
    /// To have asked again is not enough: it may find the barrier closed again and
    /// be held as before.
    pub fn has_moved(self, held: ThreadWord) -> bool {
        match self.sequence().wrapping_sub(held.sequence()) {
            0 => !matches!(self.doing(), Doing::Held | Doing::Asking),
            1 => self.doing() != Doing::Asking,
            _ => true,
        }
    }

    /// How many entries this thread has made (wrapping).
    #[inline(always)]
    pub fn sequence(self) -> u32 {
        (self.0 >> SEQUENCE_SHIFT) as u32
    }

    /// What the thread is doing.
    #[inline(always)]
    pub fn doing(self) -> Doing {
        match self.0 >> DOING_SHIFT & DOING_MASK {
            0 => Doing::Idle,
            2 => Doing::Held,
            3 => Doing::LockWait,
            4 => Doing::Asking,
            // Nothing writes 5 to 7; a word that lies is in flight.
            _ => Doing::Call,
        }
    }

    /// The call's number in the table ([`crate::calls`]).
    pub fn call(self) -> u16 {
        (self.0 >> CALL_SHIFT & CALL_MASK) as u16
    }

    /// The descriptor it works on, if it has one.
    pub fn fd(self) -> Option<i32> {
        match self.0 & FD_MASK {
            0 => None,
            fd => Some(fd as i32 - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_raises_the_sequence_and_wraps() {
        let last = ThreadWord(u64::MAX << SEQUENCE_SHIFT);
        assert_eq!(last.enter(Doing::Call, 1, None).sequence(), 0);
    }

    #[test]
    fn the_steps_in_one_instruction_are_the_steps() {
        let asks = ThreadWord(7 << 32).enter(Doing::Asking, 300, Some(9));
        assert_eq!(ThreadWord(asks.0.wrapping_add(ThreadWord::GRANT)), asks.show(Doing::Call));
        assert_eq!(ThreadWord(asks.0.wrapping_add(ThreadWord::HOLD)), asks.retract(Doing::Held));
        assert_eq!(ThreadWord(asks.0 & ThreadWord::LEAVE), asks.leave());
        let nameless = ThreadWord::default().enter(Doing::Asking, 300, None);
        assert_eq!(nameless.0, 1 << SEQUENCE_SHIFT | ThreadWord::asking(300));
        assert_eq!(nameless.0 & ThreadWord::DOING, (Doing::Asking as u64) << DOING_SHIFT);
    }

    #[test]
    fn a_descriptor_too_large_to_show_shows_none() {
        for fd in [-1, (1 << 20) - 1, 1 << 20, i32::MAX] {
            assert_eq!(ThreadWord::default().enter(Doing::Call, 511, Some(fd)).fd(), None);
        }
        let last = ThreadWord::default().enter(Doing::Call, 0, Some((1 << 20) - 2));
        assert_eq!((last.fd(), last.call()), (Some((1 << 20) - 2), 0), "no bit of the call's");
        let word = ThreadWord::default().enter(Doing::Asking, 511, Some(0));
        assert_eq!((word.fd(), word.call(), word.doing()), (Some(0), 511, Doing::Asking));
    }

    #[test]
    fn arriving_at_a_closed_barrier_and_waiting_for_a_lock_raise_no_number() {
        let idle = ThreadWord::default().enter(Doing::Call, 1, None).leave();
        let held = idle.enter(Doing::Call, 1, Some(3)).retract(Doing::Held);
        assert_eq!((held.sequence(), held.doing()), (idle.sequence(), Doing::Held));
        assert_eq!(idle.enter(Doing::LockWait, 1, Some(3)).sequence(), idle.sequence());
        let first = ThreadWord::default();
        assert_eq!(
            first.enter(Doing::Call, 1, None).retract(Doing::Idle),
            first.show(Doing::Idle).enter(Doing::Idle, 1, None)
        );
    }

    #[test]
    fn a_thread_that_asks_has_done_nothing_yet() {
        let idle = ThreadWord::default().enter(Doing::Asking, 1, None).leave();
        let asks = idle.enter(Doing::Asking, 2, Some(3));
        assert_eq!(asks.not_let_pass(), asks.retract(Doing::Held));
        assert_eq!(asks.not_let_pass().sequence(), idle.sequence());
        for word in [idle, asks.show(Doing::Call), asks.retract(Doing::Held), asks.leave()] {
            assert_eq!(word.not_let_pass(), word);
        }
    }

    #[test]
    fn asking_again_after_an_opening_is_not_yet_moving() {
        let held = ThreadWord::default().enter(Doing::Asking, 1, None).retract(Doing::Held);
        let asking = held.enter(Doing::Asking, 1, None);
        assert!(!held.has_moved(held) && !asking.has_moved(held));
        assert!(asking.show(Doing::Call).has_moved(held) && asking.leave().has_moved(held));
        assert!(held.show(Doing::Idle).has_moved(held), "interrupted, gave up its call");
    }

    #[test]
    fn what_a_signal_handler_did_around_a_held_call_stays_counted() {
        let held = ThreadWord::default().enter(Doing::Call, 1, None).retract(Doing::Held);
        let inner = held.enter(Doing::Call, 2, None);
        let back = inner.resume(held);
        assert_eq!((back.doing(), back.call()), (Doing::Held, 1));
        assert_ne!(back.sequence(), held.sequence());
        assert_eq!(back.sequence(), inner.sequence(), "the inner call's number and no other");
        let later = inner.leave().enter(Doing::Call, 2, None);
        assert_eq!(later.resume(inner).sequence(), later.sequence());
    }
}
