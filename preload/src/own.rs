//! This process's region: making one, adopting one's own after a fork, and the
//! slot of each thread.

use crate::state::{
    GATED, LAST_REGION, LOCKS_LOST, MODE, Region, SHARED_ONCE, STRONG, UNGATED, WIPED,
};
use crate::{arch, start, sys};
use core::ptr::null_mut;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use gate::layout::LAYOUT;
use gate::locks::{Table, TableFull};
use gate::region::{FLAG_STRONG, MAGIC, SLOTS, Slot};
use gate::word::{ProcessWord, ThreadWord};

/// The region, however early or late it is asked for: starts the library, or
/// adopts a region of its own in a forked child. None: not gated.
#[cold]
#[inline(never)]
pub fn region_or_start() -> Option<&'static Region> {
    if MODE.load(Acquire) == UNGATED {
        return None;
    }
    start::begin();
    if MODE.load(Acquire) != GATED {
        return None;
    }
    crate::state::region().or_else(|| adopt(None))
}

/// Makes the region of a freshly executed program. It is none for the freezer, and the
/// process in flight, until it [`show`]s what the program has brought along.
pub fn make() -> bool {
    let Some(region) = fill(None) else { return false };
    publish(region)
}

/// From now on the freezer believes it.
pub fn show(region: &Region) {
    region.header.magic.store(MAGIC, Release);
}

/// Gives a forked child a region of its own, at its first entry: a child that only
/// execs or exits needs none. Until then it maps its parent's and none of its own,
/// which tells the freezer that it has done nothing.
///
/// `open` is the word (and its stack position) of a call that is open on the
/// child's stack: a signal handler forked inside it.
///
/// The region is filled first and then moved over the parent's in one step: code of an interrupted hook further
/// up the stack still points there, and must not write into the parent's region.
pub fn adopt(open: Option<(u64, u64)>) -> Option<&'static Region> {
    // SAFETY: the parent's region stays mapped until it is replaced here.
    let parent = unsafe { LAST_REGION.load(Acquire).as_ref() }?;
    if parent.header.pid.load(Relaxed) == sys::pid() {
        // The wiped page was not a fork's doing (nobody does that); take it back.
        WIPED.region.store(LAST_REGION.load(Acquire), Release);
        return crate::state::region();
    }
    let Some(fresh) = fill(Some(parent)) else {
        // No memory: runs on ungated, and must not look like a child that has done
        // nothing yet. Without its last page (slots that no thread has reached)
        // what it maps is no region any more, and it counts as in flight.
        let last = LAST_REGION.load(Acquire).cast::<u8>().wrapping_add(gate::region::SIZE - 4096);
        sys::unmap(last, 4096);
        MODE.store(UNGATED, Release);
        return None;
    };
    if let Some((word, stack)) = open {
        // SAFETY: fresh memory that nobody else knows; the thread's own word.
        let (fresh, number) = unsafe { (&*fresh, *arch::thread_word() as usize) };
        if let Some(slot) = slot_by_number(fresh, number) {
            slot.stack.store(stack, Relaxed);
            slot.word.store(word, Relaxed);
        }
    }
    // SAFETY: fresh memory that nobody else knows.
    show(unsafe { &*fresh });
    let at = LAST_REGION.load(Acquire);
    let moved = crate::change::keep_family(at)
        && sys::move_mapping(fresh.cast(), gate::region::SIZE, at.cast());
    let place = if moved { at } else { fresh };
    publish(place);
    crate::state::region()
}

fn publish(region: *mut Region) -> bool {
    // A signal handler may have been here first: then its region stands.
    let first = WIPED.region.compare_exchange(null_mut(), region, Release, Relaxed).is_ok();
    if first {
        LAST_REGION.store(region, Release);
    }
    first
}

fn fill(parent: Option<&Region>) -> Option<*mut Region> {
    let at = sys::map(gate::region::SIZE, true, -1).cast::<Region>();
    // SAFETY: fresh zeroed memory of the right size; all zero is a valid Region.
    let region = unsafe { at.as_ref() }?;
    let header = &region.header;
    header.layout.store(LAYOUT, Relaxed);
    header.slots.store(SLOTS as u32, Relaxed);
    let pid = sys::pid();
    header.pid.store(pid, Relaxed);
    let strong = if STRONG.load(Relaxed) { FLAG_STRONG } else { 0 };
    let flags = strong | crate::state::rank_flags();
    let mut nonce = match parent {
        None => sys::random(),
        // A fork must be cheap: its parent's, the id and the time make it its own.
        Some(parent) => {
            let seed = parent.header.nonce.load(Relaxed) ^ (pid as u64) << 40 ^ arch::ticks();
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
        }
    };
    if let Some(parent) = parent {
        let old = &parent.header;
        nonce ^= old.nonce.load(Relaxed).rotate_left(17);
        header.parent_nonce.store(old.nonce.load(Relaxed), Relaxed);
        let table = Table(&header.locks);
        let TableFull(lost) = table.inherit(Table(&old.locks));
        LOCKS_LOST.store(lost, Relaxed);
        // What the parent has locked since, and what was closed here before the
        // first entry, did not come along.
        for lock in table.locks() {
            if sys::fstat(lock.fd).is_none_or(|s| (s.dev, s.ino) != (lock.dev, lock.ino)) {
                table.closed(lock.fd, None);
            }
        }
        for (to, from) in header.missing.iter().zip(&old.missing) {
            to.store(from.load(Relaxed), Relaxed);
        }
        // SAFETY: the thread's own word.
        let number = unsafe { *arch::thread_word() } as usize;
        // The thread that forked has its number still, and may come later than a
        // thread that is new here: all numbers of the parent's are taken.
        header.slots_used.store(old.slots_used.load(Relaxed).min(SLOTS as u32), Relaxed);
        if let Some(slot) = slot_by_number(region, number) {
            slot.tid.store(sys::tid(), Relaxed);
        }
    }
    header.flags.store(flags, Relaxed);
    header.nonce.store(if nonce == 0 { 1 } else { nonce }, Relaxed);
    Some(at)
}

fn slot_by_number(region: &Region, number: usize) -> Option<&Slot> {
    region.slots.get(number.wrapping_sub(1))
}

/// What a thread without a slot has in its word.
const NO_SLOT: u64 = u64::MAX;

/// This thread's slot; none: it announces in the shared counter.
#[inline(always)]
pub fn slot(region: &'static Region) -> Option<&'static Slot> {
    // SAFETY: the thread's own word.
    let number = unsafe { *arch::thread_word() };
    if number == 0 {
        return claim(region);
    }
    slot_by_number(region, number as usize)
}

#[cold]
#[inline(never)]
fn claim(region: &'static Region) -> Option<&'static Slot> {
    let header = &region.header;
    let tid = sys::tid();
    let fresh = header
        .slots_used
        .fetch_update(Relaxed, Relaxed, |used| ((used as usize) < SLOTS).then_some(used + 1));
    let number = match fresh {
        Ok(used) => used as usize + 1,
        Err(_) => reuse(region, tid).unwrap_or(NO_SLOT as usize),
    };
    let slot = slot_by_number(region, number);
    if let Some(slot) = slot {
        slot.tid.store(tid, Relaxed);
        // A dead thread may have left a word behind.
        let word = ThreadWord(slot.word.load(Relaxed));
        slot.word.store(word.leave().0, Release);
    }
    // SAFETY: the thread's own word.
    unsafe { *arch::thread_word() = number as u64 };
    slot
}

/// A slot whose thread is gone.
fn reuse(region: &Region, tid: i32) -> Option<usize> {
    let pid = region.header.pid.load(Relaxed);
    let start = tid as usize % SLOTS;
    (0..SLOTS).map(|i| (start + i) % SLOTS + 1).find(|number| {
        slot_by_number(region, *number).is_some_and(|slot| {
            let owner = slot.tid.load(Relaxed);
            (owner == tid || sys::thread_gone(pid, owner))
                && slot.tid.compare_exchange(owner, tid, Acquire, Relaxed).is_ok()
        })
    })
}

/// Does this process merely share its parent's memory (a vfork child)? Then the
/// words and the lock table are its parent's.
pub fn shares_memory(region: &Region) -> bool {
    SHARED_ONCE.load(Relaxed) && region.header.pid.load(Relaxed) != sys::pid()
}

/// Counts the locks afresh; ends the section with the last.
pub fn recount(region: &Region) {
    let table = Table(&region.header.locks);
    let process = &region.header.process;
    loop {
        let word = ProcessWord(process.load(Acquire));
        if LOCKS_LOST.load(Relaxed) && table.is_empty() {
            LOCKS_LOST.store(false, Relaxed);
        }
        let count = table.count() + LOCKS_LOST.load(Relaxed) as u16;
        let next = word.with_locks(count);
        if process.compare_exchange(word.0, next.0, Release, Relaxed).is_ok() {
            return;
        }
    }
}

/// A step of the process word.
pub fn step(region: &Region, next: impl Fn(ProcessWord) -> ProcessWord) {
    let process = &region.header.process;
    let _ = process.fetch_update(Release, Relaxed, |word| Some(next(ProcessWord(word)).0));
}
