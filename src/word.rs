//! The two words that decide.
//!
//! A [`ThreadWord`] says what one thread is doing in libc; only that thread
//! writes it. A [`ProcessWord`] says how many locks that guard writing the
//! process holds and whether its section is open; its threads share it.
//!
//! Both carry a sequence number that every entry raises *before* it acts, so
//! that two passes of the freezer which saw the same numbers know that nothing
//! happened in between. 32 bits of sequence wrap after 2^32 entries of one
//! thread; between two passes (microseconds) that cannot happen.

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
const CALL_BITS: u32 = 10;
const FD_MASK: u64 = (1 << FD_BITS) - 1;
const CALL_SHIFT: u32 = FD_BITS;
const CALL_MASK: u64 = (1 << CALL_BITS) - 1;
const DOING_SHIFT: u32 = FD_BITS + CALL_BITS;
const SEQUENCE_SHIFT: u32 = 32;

impl ThreadWord {
    /// The word of a thread that enters: sequence raised, `doing` shown.
    ///
    /// Descriptors above 2^20 - 2 and calls without one show none.
    #[inline(always)]
    pub fn enter(self, doing: Doing, call: u16, fd: Option<i32>) -> Self {
        let fd = match fd {
            Some(fd) if fd >= 0 && (fd as u64) < FD_MASK => fd as u64 + 1,
            _ => 0,
        };
        let sequence = self.sequence().wrapping_add(1) as u64;
        ThreadWord(
            sequence << SEQUENCE_SHIFT
                | (doing as u64) << DOING_SHIFT
                | (call as u64 & CALL_MASK) << CALL_SHIFT
                | fd,
        )
    }

    /// The same entry, shown in another state (held, waiting for a lock, ...).
    /// The sequence stays: nothing new was begun.
    #[inline(always)]
    pub fn show(self, doing: Doing) -> Self {
        ThreadWord(self.0 & !(3 << DOING_SHIFT) | (doing as u64) << DOING_SHIFT)
    }

    /// The word of a thread that has left its call. The sequence stays.
    #[inline(always)]
    pub fn leave(self) -> Self {
        ThreadWord(self.0 & !0 << SEQUENCE_SHIFT)
    }

    /// How many entries this thread has made (wrapping).
    #[inline(always)]
    pub fn sequence(self) -> u32 {
        (self.0 >> SEQUENCE_SHIFT) as u32
    }

    /// What the thread is doing.
    #[inline(always)]
    pub fn doing(self) -> Doing {
        match self.0 >> DOING_SHIFT & 3 {
            0 => Doing::Idle,
            1 => Doing::Call,
            2 => Doing::Held,
            _ => Doing::LockWait,
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
            low &= !DOTLOCK_ONLY;
            if low & UNTIL_WAIT == 0 {
                low &= !SECTION;
            }
        }
        self.next(low)
    }

    /// The first change under a lock: the section is open.
    pub fn section_begun(self) -> Self {
        self.next(self.0 & !DOTLOCK_ONLY | SECTION)
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
        self.next(self.0 & !DOTLOCK_ONLY | SECTION | UNTIL_WAIT)
    }

    /// Such a program is about to wait: its section is over unless locks hold it.
    pub fn waits(self) -> Self {
        let mut low = self.0 & !UNTIL_WAIT;
        if self.locks() == 0 {
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

    /// Would a change now begin a section?
    #[inline(always)]
    pub fn would_begin(self) -> bool {
        self.0 & LOCKS_MASK != 0 && self.0 & (SECTION | DOTLOCK_ONLY) != SECTION
    }

    /// How many steps this process has made (wrapping).
    #[inline(always)]
    pub fn sequence(self) -> u32 {
        (self.0 >> SEQUENCE_SHIFT) as u32
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
    fn a_descriptor_too_large_to_show_shows_none() {
        for fd in [-1, 1 << 20, i32::MAX] {
            assert_eq!(ThreadWord::default().enter(Doing::Call, 1023, Some(fd)).fd(), None);
        }
        let word = ThreadWord::default().enter(Doing::Held, 1023, Some(0));
        assert_eq!((word.fd(), word.call(), word.doing()), (Some(0), 1023, Doing::Held));
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
    fn until_wait_ends_at_the_wait_but_not_under_a_lock() {
        let word = ProcessWord::default().until_wait_begun();
        assert!(word.section_open() && !word.waits().section_open());
        assert!(word.with_locks(1).waits().section_open());
        assert!(word.with_locks(1).with_locks(0).section_open());
    }
}
