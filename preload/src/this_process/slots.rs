//! The slot of each thread in its process's region.

use super::state::Region;
use crate::arch::instructions::{thread_pointer, thread_word};
use crate::linux::{confined, process};
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use gate::region::{SLOTS, Slot};
use gate::word::ThreadWord;

/// The number of this thread's slot, from 1; 0: it has none yet.
#[inline(always)]
pub fn number() -> usize {
    // SAFETY: the thread's own word of thread-local storage, which lives as long as the
    // thread; no reference to it is ever made.
    unsafe { *thread_word() as usize }
}

/// The slot of this number.
pub fn by_number(region: &Region, number: usize) -> Option<&Slot> {
    region.slots.get(number.wrapping_sub(1))
}

/// What a thread for which no slot is left has in place of a number.
const NO_SLOT: usize = usize::MAX;

/// This thread's slot; none: it announces in the shared counter.
#[inline(always)]
pub fn slot(region: &'static Region) -> Option<&'static Slot> {
    let number = number();
    if number == 0 {
        return claim(region);
    }
    by_number(region, number)
}

#[cold]
#[inline(never)]
fn claim(region: &'static Region) -> Option<&'static Slot> {
    let header = &region.header;
    let Some(tid) = own_tid(region) else {
        // SAFETY: the thread's own word of thread-local storage; no reference to it is ever made.
        unsafe { *thread_word() = NO_SLOT as u64 };
        return None;
    };
    let fresh = header
        .slots_used
        .fetch_update(Relaxed, Relaxed, |used| ((used as usize) < SLOTS).then_some(used + 1));
    let number = match fresh {
        Ok(used) => used as usize + 1,
        Err(_) => reuse(region, tid).unwrap_or(NO_SLOT),
    };
    let slot = by_number(region, number);
    if let Some(slot) = slot {
        slot.tid.store(tid, Relaxed);
        // A dead thread may have left a word behind.
        let word = ThreadWord(slot.word.load(Relaxed));
        slot.word.store(word.leave().0, Release);
    }
    // SAFETY: the thread's own word of thread-local storage; no reference to it is ever made.
    unsafe { *thread_word() = number as u64 };
    slot
}

/// The thread that the library was started in: the first, but for programs that load it late.
static FIRST: AtomicUsize = AtomicUsize::new(0);

/// The library is started in this thread.
pub fn starts_here() {
    FIRST.store(thread_pointer(), Relaxed);
}

/// This thread's id; none where it must not be asked. A process's first thread has its id.
fn own_tid(region: &Region) -> Option<i32> {
    if !confined::at_all() {
        return Some(process::tid());
    }
    if thread_pointer() == FIRST.load(Relaxed) {
        return Some(region.header.pid.load(Relaxed));
    }
    (!confined::by_itself()).then(process::tid)
}

/// A slot whose thread is gone.
fn reuse(region: &Region, tid: i32) -> Option<usize> {
    let pid = region.header.pid.load(Relaxed);
    let start = tid as usize % SLOTS;
    (0..SLOTS).map(|i| (start + i) % SLOTS + 1).find(|number| {
        by_number(region, *number).is_some_and(|slot| {
            let owner = slot.tid.load(Relaxed);
            (owner == tid || process::thread_gone(pid, owner))
                && slot.tid.compare_exchange(owner, tid, Acquire, Relaxed).is_ok()
        })
    })
}
