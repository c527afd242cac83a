//! What happens to the lock table, booked in the process's word: how many locks are held,
//! and whether the section is over.

use super::state::{FILES_LOST, LOCKS_LOST, LOCKS_SEEN, LOCKS_TO_ASK, Region, SHARED_ONCE};
use crate::linux::files::fstat;
use crate::linux::{confined, process};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use gate::locks::{Lock, Table};
use gate::region::FLAG_LOCKS_UNKNOWN;
use gate::word::ProcessWord;

/// The process's word.
#[inline(always)]
pub fn process_word(region: &Region) -> ProcessWord {
    ProcessWord(region.header.process.load(Acquire))
}

/// Does this process merely share its parent's memory (a vfork child)? Then the
/// words and the lock table are its parent's. Where that must not be asked, it does not: should it be
/// such a child after all, and give up a lock, the freezer finds what its parent holds and does not list.
pub fn shares_memory(region: &Region) -> bool {
    SHARED_ONCE.load(Relaxed)
        && !confined::by_itself()
        && region.header.pid.load(Relaxed) != process::pid()
}

/// Device and inode of a descriptor's file, for what is booked of it; where that must not be asked,
/// of a file that is locked through it.
pub fn file_of(region: &Region, fd: i32) -> Option<(u64, u64)> {
    if confined::by_itself() {
        let of_fd = |lock: &Lock| lock.fd == fd;
        return Table(&region.header.locks).locks().find(of_fd).map(|lock| (lock.dev, lock.ino));
    }
    fstat(fd).map(|stat| (stat.dev, stat.ino))
}

/// Counts the locks afresh; ends the section with the last.
pub fn recount(region: &Region) {
    let table = Table(&region.header.locks);
    let process = &region.header.process;
    loop {
        let word = ProcessWord(process.load(Acquire));
        if LOCKS_LOST.load(Relaxed) && table.is_empty() {
            // Whether what was not in it is held still, the kernel knows.
            LOCKS_TO_ASK.store(true, Relaxed);
        }
        let files_lost = FILES_LOST.load(Relaxed) != 0;
        let count = table.count() + LOCKS_LOST.load(Relaxed) as u16 + files_lost as u16;
        let next = word.with_locks(count);
        if process.compare_exchange(word.0, next.0, Release, Relaxed).is_ok() {
            return;
        }
    }
}

/// Replaces the process word by what `next` makes of it.
pub fn update(region: &Region, next: impl Fn(ProcessWord) -> ProcessWord) {
    let process = &region.header.process;
    let _ = process.fetch_update(Release, Relaxed, |word| Some(next(ProcessWord(word)).0));
}

/// Some lock is gone: an admission for it ends, and perhaps the section.
pub fn released(region: &'static Region) {
    region.header.lock_sequence.fetch_add(1, Relaxed);
    recount(region);
}

/// The table was full: a lock is held that is not in it.
pub fn overflowed(region: &'static Region) {
    LOCKS_LOST.store(true, Relaxed);
    region.header.flags.fetch_or(FLAG_LOCKS_UNKNOWN, Relaxed);
}

/// A lock file is held, or may be, that is not in the table. The kernel does not know of it.
#[cold]
pub fn file_lost(region: &Region) {
    // Whoever removes a name must look at it from now on.
    LOCKS_SEEN.store(true, Relaxed);
    FILES_LOST.fetch_add(1, Relaxed);
    region.header.flags.fetch_or(FLAG_LOCKS_UNKNOWN, Relaxed);
    recount(region);
}

/// This process has removed a lock file that is not in the table.
#[cold]
pub fn lost_file_gone(region: &'static Region) {
    let less = |lost: u32| lost.checked_sub(1);
    if FILES_LOST.fetch_update(Relaxed, Relaxed, less) == Ok(1) && !LOCKS_LOST.load(Relaxed) {
        region.header.flags.fetch_and(!FLAG_LOCKS_UNKNOWN, Relaxed);
    }
    released(region);
}
