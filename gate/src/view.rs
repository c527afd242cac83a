//! One process and its threads, as a pass of the freezer saw them.
//!
//! The caller reads the words, from mapped regions or from a model's state. No region is
//! believed about any process but its own.

use crate::control::Rank;
use crate::word::{Doing, ProcessWord, ThreadWord};

/// A lock that is waited for or held: device and inode of the locked file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct LockFile {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
}

/// One thread, as a pass saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ThreadView {
    /// Its word.
    pub word: ThreadWord,
    /// The lock file it waits for, if its word says that it waits for a lock.
    pub waits_for: Option<LockFile>,
    /// Its word was found to mean nothing: a call on a socket or pipe, or a
    /// thread that no longer exists. Holds only for this very word.
    pub disregarded: bool,
}

impl ThreadView {
    /// Is it inside a call that may change a file, or about to be?
    pub fn is_calling(&self) -> bool {
        matches!(self.word.doing(), Doing::Call | Doing::Asking) && !self.disregarded
    }
}

/// One process, as a pass saw it.
#[derive(Clone, Copy, Debug)]
pub struct ProcessView<'a> {
    /// Its region's nonce; 0: a gated process without a valid region of its own.
    pub nonce: u64,
    /// Its process word.
    pub process: ProcessWord,
    /// Its lock sequence.
    pub lock_sequence: u64,
    /// Its threads.
    pub threads: &'a [ThreadView],
    /// The lock files it holds, read locks and inherited ones included.
    pub holds: &'a [LockFile],
    /// Threads without a slot that are in flight.
    pub overflow: u32,
    /// Entries of threads without a slot, for the digest.
    pub overflow_entries: u64,
    /// Index of its parent process in the list, if that is gated too.
    pub parent: Option<usize>,
    /// When it is held, by the profile.
    pub rank: Rank,
    /// Its open section counts as over (settled by the profile's rule, or the
    /// kernel says that its locks are gone).
    pub settled: bool,
    /// Forked and nothing done since: it maps its parent's region and none of its
    /// own, and did so when it was looked at after the last closing. Its first
    /// entry makes a region, announces there and looks at the barrier.
    pub fresh_fork: bool,
    /// It is about to become, or has become, something else (exec under way, no
    /// region yet): in flight until looked up anew.
    pub unknown: bool,
    /// The kernel shows a lock of it that guards writing, and no region accounts for that lock:
    /// a section in flight, of which no word tells.
    pub unaccounted_lock: bool,
    /// Under the locks that it holds it has changed a file that was not protected then, and is by
    /// the list in force ([`crate::places::in_doubt`]): a section that no word tells of.
    pub in_doubt: bool,
}

impl ProcessView<'_> {
    /// Is a section of its own open, that counts?
    pub fn in_section(&self) -> bool {
        self.process.section_open() && !self.settled
    }

    /// Is a set of its own half-done, as far as its locks tell, those that only the kernel knows
    /// too?
    pub fn in_set(&self) -> bool {
        self.in_section() || self.unaccounted_lock
    }

    /// May the snapshot not be taken because of this process?
    pub fn in_flight(&self) -> bool {
        self.unknown
            || self.unaccounted_lock
            || self.in_doubt
            || self.nonce == 0 && !self.fresh_fork
            || self.in_section()
            || self.is_calling()
    }

    /// Is a thread of it held at the barrier?
    pub fn held(&self) -> bool {
        self.threads.iter().any(|t| t.word.doing() == Doing::Held)
    }
    /// Is a thread of it inside a call, or about to be?
    pub fn is_calling(&self) -> bool {
        self.overflow > 0 || self.threads.iter().any(ThreadView::is_calling)
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Processes for the tests of this crate.
    use super::*;

    pub const LOCK: LockFile = LockFile { dev: 1, ino: 7 };

    pub fn process(nonce: u64, process: ProcessWord) -> ProcessView<'static> {
        ProcessView {
            nonce,
            process,
            lock_sequence: 5,
            threads: &[],
            holds: &[],
            overflow: 0,
            overflow_entries: 0,
            parent: None,
            rank: Rank::Last,
            settled: false,
            fresh_fork: false,
            unknown: false,
            unaccounted_lock: false,
            in_doubt: false,
        }
    }

    pub fn thread(doing: Doing, waits_for: Option<LockFile>) -> ThreadView {
        ThreadView {
            word: ThreadWord::default().enter(doing, 1, None),
            waits_for,
            disregarded: false,
        }
    }

    pub fn in_section() -> ProcessWord {
        ProcessWord::default().with_locks(1).section_begun()
    }
}

#[cfg(test)]
mod tests {
    use super::samples::*;
    use super::*;

    #[test]
    fn each_reason_by_itself_is_in_flight() {
        let idle = process(1, ProcessWord::default());
        let call = [thread(Doing::Idle, None), thread(Doing::Call, None)];
        assert!(!idle.in_flight());
        for one in [
            ProcessView { unknown: true, ..idle },
            ProcessView { unaccounted_lock: true, ..idle },
            ProcessView { in_doubt: true, ..idle },
            ProcessView { nonce: 0, ..idle },
            ProcessView { process: in_section(), ..idle },
            ProcessView { threads: &call, ..idle },
            ProcessView { overflow: 1, ..idle },
        ] {
            assert!(one.in_flight(), "{one:?}");
        }
        assert!(!ProcessView { nonce: 0, fresh_fork: true, ..idle }.in_flight());
        assert!(!ProcessView { process: in_section(), settled: true, ..idle }.in_flight());
    }

    #[test]
    fn a_set_is_half_done_by_a_section_that_counts_or_a_lock_that_only_the_kernel_knows() {
        let idle = process(1, ProcessWord::default());
        assert!(!idle.in_set() && ProcessView { process: in_section(), ..idle }.in_set());
        assert!(!ProcessView { process: in_section(), settled: true, ..idle }.in_set());
        assert!(ProcessView { unaccounted_lock: true, ..idle }.in_set());
    }

    #[test]
    fn a_call_is_one_that_was_made_or_is_asked_for_and_means_something() {
        for doing in [Doing::Call, Doing::Asking] {
            assert!(thread(doing, None).is_calling());
            assert!(!ThreadView { disregarded: true, ..thread(doing, None) }.is_calling());
        }
        for doing in [Doing::Idle, Doing::Held, Doing::LockWait] {
            assert!(!thread(doing, None).is_calling(), "{doing:?}");
        }
    }
}
