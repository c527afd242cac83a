//! The two words that decide.
//!
//! A [`ThreadWord`] says what one thread is doing in libc; only that thread
//! writes it. A [`ProcessWord`] says how many locks that guard writing the
//! process holds and whether its section is open; its threads share it.
//!
//! Both carry a sequence number that every entry raises *before* it acts, so
//! that two passes of the freezer which saw the same numbers know that nothing
//! happened in between. An entry that is not let pass takes its number back: a
//! thread's number counts what it did, not what it tried, and those who arrive
//! at a closed barrier do not look like somebody who passed it. 32 bits of
//! sequence wrap after 2^32 entries of one thread; between two passes
//! (microseconds) that cannot happen.

/// What a thread is doing, as its word shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Doing {
    /// Not inside any hooked call that matters.
    Idle,
    /// Inside a call that may change a file: in flight.
    Call,
    /// Stopped at the closed barrier: has retracted, is not in flight.
    Held,
    /// Inside a call that waits for a lock: in flight only if a section is open.
    LockWait,
    /// Has announced a call and not been let pass yet. In flight for the freezer
    /// like [`Doing::Call`]; but a call made meanwhile by a signal handler finds
    /// no permission here: this one has none itself so far.
    Asking,
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

const FD_BITS: u32 = 20;
/// Bits of a thread's word that name its call...
pub const CALL_BITS: u32 = 9;
const FD_MASK: u64 = (1 << FD_BITS) - 1;
/// ... and where they lie.
pub const CALL_SHIFT: u32 = FD_BITS;
const CALL_MASK: u64 = (1 << CALL_BITS) - 1;
const DOING_SHIFT: u32 = FD_BITS + CALL_BITS;
const DOING_MASK: u64 = 7;
const SEQUENCE_SHIFT: u32 = 32;

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

    /// This word as the last pass of a freeze counts it, read after a fence: whoever
    /// asks has not been let pass so far, and the snapshot is made.
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
            // Nobody writes 5 to 7; a word that lies is in flight.
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

/// One process's locks and section: sequence, number of guarding locks, flags.
///
/// ```
/// use gate::word::ProcessWord;
/// let held = ProcessWord::default().with_locks(1);
/// assert!(!held.section_open());              // lazy start: nothing changed yet
/// let open = held.section_begun();
/// assert!(open.section_open());
/// assert!(!open.with_locks(0).section_open()); // the last lock ends it
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct ProcessWord(pub u64);

const LOCKS_MASK: u64 = 0xffff;
const SECTION: u64 = 1 << 16;
const UNTIL_WAIT: u64 = 1 << 17;
const DOTLOCK_ONLY: u64 = 1 << 18;
const RECORDED: u64 = 1 << 19;
const UNTIL_EXIT: u64 = 1 << 20;

impl ProcessWord {
    #[inline(always)]
    fn next(self, low: u64) -> Self {
        let sequence = (self.sequence()).wrapping_add(1) as u64;
        ProcessWord(sequence << SEQUENCE_SHIFT | low & 0xffff_ffff)
    }

    /// The process now holds `count` locks that guard writing; with none left,
    /// its section is over.
    #[must_use]
    pub fn with_locks(self, count: u16) -> Self {
        let mut low = self.0 & !LOCKS_MASK | count as u64;
        if count == 0 {
            low &= !(DOTLOCK_ONLY | RECORDED);
            if low & (UNTIL_WAIT | UNTIL_EXIT) == 0 {
                low &= !SECTION;
            }
        }
        self.next(low)
    }

    /// The first change under a lock: the section is open.
    pub fn section_begun(self) -> Self {
        self.next(self.0 & !(DOTLOCK_ONLY | RECORDED) | SECTION)
    }

    /// A fork under a lock begins the section, and it lasts until the parent's
    /// last lock is gone: the child may change things and be gone before its
    /// parent records them.
    ///
    /// `recorded`: see [`recorded_at_fork`]; the owner gives up its right to
    /// pass until its next change, so that the freezer may count the section as
    /// over ([`crate::settled::settled`]).
    pub fn forked(self, recorded: bool) -> Self {
        let begun = self.0 & !(DOTLOCK_ONLY | RECORDED) | SECTION;
        self.next(if recorded { begun | RECORDED } else { begun })
    }

    /// A dotlock was made: a section that so far consists of it alone.
    pub fn dotlock_begun(self) -> Self {
        if self.section_open() {
            return self.next(self.0);
        }
        self.next(self.0 | SECTION | DOTLOCK_ONLY)
    }

    /// A change by a program whose sections last until it waits.
    pub fn until_wait_begun(self) -> Self {
        self.next(self.0 & !(DOTLOCK_ONLY | RECORDED) | SECTION | UNTIL_WAIT)
    }

    /// A change by a program whose sections last until it ends: only its death closes this one.
    pub fn until_exit_begun(self) -> Self {
        self.next(self.0 & !(DOTLOCK_ONLY | RECORDED) | SECTION | UNTIL_EXIT)
    }

    /// The record that completes the set was written: the section is over, though
    /// its lock is still held (a profile's rule).
    pub fn record_written(self) -> Self {
        self.next(self.0 & !(SECTION | UNTIL_WAIT | UNTIL_EXIT | DOTLOCK_ONLY | RECORDED))
    }

    /// Such a program is about to wait: its section is over unless locks hold it.
    pub fn waits(self) -> Self {
        let mut low = self.0 & !UNTIL_WAIT;
        if self.locks() == 0 && !self.until_exit() {
            low &= !SECTION;
        }
        self.next(low)
    }

    /// How many locks that guard writing are held.
    #[inline(always)]
    pub fn locks(self) -> u16 {
        (self.0 & LOCKS_MASK) as u16
    }

    /// Is a section open: may it not be cut in two?
    #[inline(always)]
    pub fn section_open(self) -> bool {
        self.0 & SECTION != 0
    }

    /// Does the section consist of a dotlock alone?
    pub fn dotlock_only(self) -> bool {
        self.0 & DOTLOCK_ONLY != 0
    }

    /// Does the section last until the process waits?
    pub fn until_wait(self) -> bool {
        self.0 & UNTIL_WAIT != 0
    }

    /// Does the section last until the process ends?
    pub fn until_exit(self) -> bool {
        self.0 & UNTIL_EXIT != 0
    }

    /// Is everything that was changed in this section on record, synced, and the
    /// rest left to a child ([`ProcessWord::forked`])?
    pub fn recorded(self) -> bool {
        self.0 & RECORDED != 0
    }

    /// These bits of a word under locks ...
    pub const BEGUN_MASK: u64 = SECTION | DOTLOCK_ONLY | RECORDED;
    /// ... read so if a change begins nothing any more.
    pub const BEGUN: u64 = SECTION;

    /// Would a change now begin a section, or take up one that was left to a child?
    #[inline(always)]
    pub fn would_begin(self) -> bool {
        self.0 & LOCKS_MASK != 0 && self.0 & Self::BEGUN_MASK != Self::BEGUN
    }

    /// How many steps this process has made (wrapping).
    #[inline(always)]
    pub fn sequence(self) -> u32 {
        (self.0 >> SEQUENCE_SHIFT) as u32
    }
}

/// At a fork under a lock, in a program whose profile says `settled`: is all
/// that its owner changed on record, so that what follows is the child's alone?
///
/// The arguments are the owner's count of its own changes, up to which of them all
/// was fsynced, and the count of its whole family now and at that fsync: a child may
/// have changed something since which is on no record yet. An owner that has changed
/// nothing has nothing to record.
pub fn recorded_at_fork(changes: u64, synced: u64, family: u64, family_synced: u64) -> bool {
    synced == changes && family == family_synced
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
        for fd in [-1, 1 << 20, i32::MAX] {
            assert_eq!(ThreadWord::default().enter(Doing::Call, 511, Some(fd)).fd(), None);
        }
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
    fn whoever_asks_has_done_nothing_yet() {
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
    }

    #[test]
    fn a_record_is_trusted_as_long_as_no_child_has_changed_anything_since() {
        assert!(recorded_at_fork(3, 3, 7, 7));
        assert!(!recorded_at_fork(3, 2, 7, 7), "not synced");
        assert!(!recorded_at_fork(3, 3, 8, 7), "a child before this one has changed something");
        assert!(recorded_at_fork(0, 0, 0, 0), "nothing was changed at all");
        let open = ProcessWord::default().with_locks(1).section_begun().forked(true);
        assert!(open.recorded() && open.would_begin());
        assert!(!open.forked(false).recorded() && !open.section_begun().recorded());
    }

    #[test]
    fn a_section_outlives_all_but_the_last_lock() {
        let word = ProcessWord::default().with_locks(2).section_begun();
        assert!(word.with_locks(1).section_open());
        assert!(!word.with_locks(0).section_open());
    }

    #[test]
    fn a_change_under_a_dotlock_makes_it_a_full_section() {
        let dot = ProcessWord::default().with_locks(1).dotlock_begun();
        assert!(dot.section_open() && dot.dotlock_only() && dot.would_begin());
        assert!(!dot.section_begun().dotlock_only());
    }

    #[test]
    fn a_record_ends_the_section_and_the_next_change_begins_another() {
        let word = ProcessWord::default().with_locks(1).section_begun().record_written();
        assert!(!word.section_open() && word.would_begin() && word.locks() == 1);
    }

    #[test]
    fn until_wait_ends_at_the_wait_but_not_under_a_lock() {
        let word = ProcessWord::default().until_wait_begun();
        assert!(word.section_open() && !word.waits().section_open());
        assert!(word.with_locks(1).waits().section_open());
        assert!(word.with_locks(1).with_locks(0).section_open());
    }

    #[test]
    fn until_exit_neither_a_wait_nor_the_last_lock_ends_it() {
        let word = ProcessWord::default().until_exit_begun();
        assert!(word.waits().section_open() && !word.until_wait());
        assert!(word.with_locks(1).waits().with_locks(0).section_open());
    }
}
