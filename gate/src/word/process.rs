//! One process's word: its locks and whether its section is open.

use super::bits::{
    CAME_OVER, DOTLOCK_ONLY, LOCK_FILE_ONLY, LOCKS_MASK, PASSED_BY, PERIOD_MASK, PERIOD_SHIFT,
    RECORDED, SECTION, SEQUENCE_SHIFT, UNTIL_EXIT, UNTIL_WAIT,
};

/// What is said of a section that a change does not leave as it is.
const OF_SECTION: u64 = DOTLOCK_ONLY | LOCK_FILE_ONLY | RECORDED | CAME_OVER;

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
            low &= !OF_SECTION;
            if low & PASSED_BY != 0 {
                let period = ((self.period() + 1) & PERIOD_MASK) << PERIOD_SHIFT;
                low = low & !(PASSED_BY | PERIOD_MASK << PERIOD_SHIFT) | period;
            }
            if low & (UNTIL_WAIT | UNTIL_EXIT) == 0 {
                low &= !SECTION;
            }
        }
        self.next(low)
    }

    /// The first change under a lock: the section is open.
    pub fn section_begun(self) -> Self {
        self.next(self.0 & !OF_SECTION | SECTION)
    }

    /// Locks came over an exec: what was done under them is not known, so their section is open.
    /// Who freezes may not have seen it yet (the program before may have had no gate): until a
    /// change has been let pass it gives no right to pass.
    pub fn came_over_exec(self) -> Self {
        self.next(self.0 & !OF_SECTION | SECTION | CAME_OVER)
    }

    /// A change of the locked file itself, which is small: the section is open, and the next
    /// change is looked at again.
    pub fn lock_file_changed(self) -> Self {
        if self.section_open() && !self.lock_file_only() {
            return self.section_begun();
        }
        self.next(self.0 & !OF_SECTION | SECTION | LOCK_FILE_ONLY)
    }

    /// A fork under locks on pid files: the process has locked them for life, and what it has
    /// put there so far is its id.
    pub fn forked_under_pid_files(self) -> Self {
        if self.section_open() && !self.lock_file_only() {
            return self.forked(false);
        }
        self.next(self.0 & !(SECTION | OF_SECTION))
    }

    /// Was only the locked file changed so far, and is it small?
    pub fn lock_file_only(self) -> bool {
        self.0 & LOCK_FILE_ONLY != 0
    }

    /// A fork under a lock begins the section, and it lasts until the parent's
    /// last lock is gone: the child may change things and be gone before its
    /// parent records them.
    ///
    /// `recorded`: see [`recorded_at_fork`]; the owner gives up its right to
    /// pass until its next change, so that the freezer may count the section as
    /// over ([`crate::settled::settled`]).
    pub fn forked(self, recorded: bool) -> Self {
        let begun = self.0 & !OF_SECTION | SECTION;
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
        self.next(self.0 & !OF_SECTION | SECTION | UNTIL_WAIT)
    }

    /// A change by a program whose sections last until it ends: only its death closes this one.
    pub fn until_exit_begun(self) -> Self {
        self.next(self.0 & !OF_SECTION | SECTION | UNTIL_EXIT)
    }

    /// The record that completes the set was written: the section is over, though
    /// its lock is still held (a profile's rule).
    pub fn record_written(self) -> Self {
        self.next(self.0 & !(SECTION | UNTIL_WAIT | UNTIL_EXIT | OF_SECTION))
    }

    /// Such a program is about to wait: its section is over unless locks hold it.
    pub fn waits(self) -> Self {
        let mut low = self.0 & !UNTIL_WAIT;
        if self.locks() == 0 && !self.until_exit() {
            low &= !SECTION;
        }
        self.next(low)
    }

    /// A change, under a lock, of a file that is not protected: its note is made
    /// ([`crate::places::note`]).
    pub fn passing_by(self) -> Self {
        self.next(self.0 | PASSED_BY)
    }

    /// Was such a change made since the first of the locks was taken?
    #[inline(always)]
    pub fn passed_by(self) -> bool {
        self.0 & PASSED_BY != 0
    }

    /// Which locks these are: another number after such a change and the last lock's end.
    #[inline(always)]
    pub fn period(self) -> u64 {
        self.0 >> PERIOD_SHIFT & PERIOD_MASK
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

    /// May its threads pass a closed barrier by the section that is open?
    ///
    /// Not where what remains of it was left to a child ([`ProcessWord::recorded`]): the freezer
    /// may have counted it as over. Nor where it came over an exec. These ask like any other.
    pub fn gives_right(self) -> bool {
        self.section_open() && self.0 & (RECORDED | CAME_OVER) == 0
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

    /// Is everything that was changed in this section on record, synced, and what
    /// is left to do, a child's ([`ProcessWord::forked`])?
    pub fn recorded(self) -> bool {
        self.0 & RECORDED != 0
    }

    /// These bits of a word under locks ...
    pub const BEGUN_MASK: u64 = SECTION | OF_SECTION;
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
    fn a_section_that_came_over_an_exec_gives_a_right_from_its_first_change_on() {
        let word = ProcessWord::default().with_locks(1).came_over_exec();
        assert!(word.section_open() && word.would_begin() && !word.gives_right());
        assert!(word.section_begun().gives_right() && word.forked(false).gives_right());
        assert!(!word.forked(true).gives_right(), "left to a child");
        assert!(!word.with_locks(0).section_open());
        assert!(!word.dotlock_begun().gives_right(), "a lock file is no change");
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
    fn a_process_id_in_the_locked_file_is_no_set_and_all_else_is() {
        let word = ProcessWord::default().with_locks(1).lock_file_changed();
        assert!(word.section_open() && word.would_begin());
        let forked = word.lock_file_changed().forked_under_pid_files();
        assert!(!forked.section_open() && forked.would_begin(), "held for life so far");
        assert!(forked.section_begun().section_open(), "and under it something is changed");
        let more = word.section_begun().lock_file_changed();
        assert!(!more.lock_file_only() && more.forked_under_pid_files().section_open());
        assert!(!word.with_locks(0).section_open() && !word.with_locks(0).lock_file_only());
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

    /// Words with every set of flags, some numbers of locks, periods and sequences.
    fn words() -> impl Iterator<Item = ProcessWord> {
        (0..256_u64).flat_map(|flags| {
            [0, 1, 0xffff].into_iter().flat_map(move |locks: u64| {
                [(0, 0), (5, 7), (0xff, u32::MAX as u64)].into_iter().map(move |(period, steps)| {
                    ProcessWord(
                        steps << SEQUENCE_SHIFT | period << PERIOD_SHIFT | flags << 16 | locks,
                    )
                })
            })
        })
    }

    #[test]
    fn each_step_is_counted_and_changes_the_bits_that_it_is_about_and_no_others() {
        type Step = fn(ProcessWord) -> ProcessWord;
        type Changes = fn(ProcessWord) -> (u64, u64);
        // (the step, what it takes away and what it puts there)
        let steps: [(Step, Changes); 12] = [
            (|w| w.section_begun(), |_| (OF_SECTION, SECTION)),
            (|w| w.came_over_exec(), |_| (OF_SECTION, SECTION | CAME_OVER)),
            (
                |w| w.lock_file_changed(),
                |w| match w.section_open() && !w.lock_file_only() {
                    true => (OF_SECTION, SECTION),
                    false => (OF_SECTION, SECTION | LOCK_FILE_ONLY),
                },
            ),
            (
                |w| w.forked_under_pid_files(),
                |w| match w.section_open() && !w.lock_file_only() {
                    true => (OF_SECTION, SECTION),
                    false => (OF_SECTION | SECTION, 0),
                },
            ),
            (|w| w.forked(false), |_| (OF_SECTION, SECTION)),
            (|w| w.forked(true), |_| (OF_SECTION, SECTION | RECORDED)),
            (
                |w| w.dotlock_begun(),
                |w| match w.section_open() {
                    true => (0, 0),
                    false => (0, SECTION | DOTLOCK_ONLY),
                },
            ),
            (|w| w.until_wait_begun(), |_| (OF_SECTION, SECTION | UNTIL_WAIT)),
            (|w| w.until_exit_begun(), |_| (OF_SECTION, SECTION | UNTIL_EXIT)),
            (|w| w.record_written(), |_| (OF_SECTION | SECTION | UNTIL_WAIT | UNTIL_EXIT, 0)),
            (
                |w| w.waits(),
                |w| match w.locks() == 0 && !w.until_exit() {
                    true => (SECTION | UNTIL_WAIT, 0),
                    false => (UNTIL_WAIT, 0),
                },
            ),
            (|w| w.passing_by(), |_| (0, PASSED_BY)),
        ];
        for word in words() {
            for (at, (step, changes)) in steps.iter().enumerate() {
                let (takes, puts) = changes(word);
                let after = step(word);
                let low = word.0 as u32 as u64;
                assert_eq!(after.0 as u32 as u64, low & !takes | puts, "{at}: {word:x?}");
                assert_eq!(after.sequence(), word.sequence().wrapping_add(1), "{at}: {word:x?}");
            }
        }
    }

    #[test]
    fn the_last_lock_takes_the_section_with_it_unless_that_lasts_longer() {
        for word in words() {
            let one = word.with_locks(2);
            assert_eq!(one.0 as u32 & !0xffff, word.0 as u32 & !0xffff, "the flags stay");
            assert_eq!((one.locks(), one.sequence()), (2, word.sequence().wrapping_add(1)));
            let none = word.with_locks(0);
            let lasts = word.until_wait() || word.until_exit();
            assert_eq!(none.section_open(), word.section_open() && lasts, "{word:x?}");
            assert_eq!(
                (none.until_wait(), none.until_exit()),
                (word.until_wait(), word.until_exit())
            );
            let period = (word.period() + u64::from(word.passed_by())) % 256;
            assert_eq!((none.period(), none.passed_by(), none.locks()), (period, false, 0));
            assert_eq!(none.0 & OF_SECTION, 0, "{word:x?}");
        }
    }

    #[test]
    fn each_question_is_about_its_own_bits() {
        for word in words() {
            let has = |bit| word.0 & bit == bit;
            assert_eq!(word.section_open(), has(SECTION));
            assert_eq!(word.lock_file_only(), has(LOCK_FILE_ONLY));
            assert_eq!(word.dotlock_only(), has(DOTLOCK_ONLY));
            assert_eq!((word.until_wait(), word.until_exit()), (has(UNTIL_WAIT), has(UNTIL_EXIT)));
            assert_eq!((word.recorded(), word.passed_by()), (has(RECORDED), has(PASSED_BY)));
            let right = has(SECTION) && !has(RECORDED) && !has(CAME_OVER);
            assert_eq!(word.gives_right(), right, "{word:x?}");
            let begun = has(SECTION) && word.0 & OF_SECTION == 0;
            assert_eq!(word.would_begin(), word.locks() > 0 && !begun, "{word:x?}");
            assert_eq!(
                word.0 as u32,
                word.period() as u32 * (1 << PERIOD_SHIFT)
                    + (word.0 as u32 & 0x00ff_0000)
                    + word.locks() as u32
            );
        }
    }
}
