//! This process's region: making one, and adopting one's own after a fork.

use super::settings::settings;
use super::state::{
    self, FILES_LOST, LAST_REGION, LOCK_FILES_SEEN, LOCKS_LOST, MODE, Region, STRONG, UNGATED,
    WIPED,
};
use super::{family, slots};
use crate::arch::instructions::thread_pointer;
use crate::hash::spread;
use crate::linux::confined;
use crate::linux::files::fstat;
use crate::linux::memory::{self, PAGE};
use crate::linux::process;
use crate::linux::time::{now, short_rest};
use core::ptr::null_mut;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use gate::layout::LAYOUT;
use gate::locks::{LockKind, Table, TableFull};
use gate::region::{
    FLAG_CALLS_MISSING, FLAG_FOREIGN_CLOCK, FLAG_IO_URING, FLAG_LOCKS_UNKNOWN, FLAG_MAPS_SHARED,
    FLAG_MORE_CALLS_MISSING, FLAG_STRONG, MAGIC, SLOTS,
};

/// Makes the region of a freshly executed program. It is none for the freezer, and the
/// process in flight, until it [`show`]s what the program has brought along.
/// `pid`: its id, where that is known already.
pub fn make(pid: Option<i32>) -> bool {
    let Some(region) = fill(None, pid.unwrap_or_else(process::pid)) else { return false };
    slots::starts_here();
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
/// The region is filled first and then moved over the parent's in one step: code of an
/// interrupted hook further up the stack still points there, and must not write into the
/// parent's region.
pub fn adopt(open: Option<(u64, u64)>) -> Option<&'static Region> {
    // SAFETY: null, or this process's parent's region, which stays mapped at its address:
    // it is replaced below in one step.
    let parent = unsafe { LAST_REGION.load(Acquire).as_ref() }?;
    if parent.header.pid.load(Relaxed) == process::pid() {
        // The wiped page was not a fork's doing (no program is known to do that); take it back.
        WIPED.region.store(LAST_REGION.load(Acquire), Release);
        return state::region();
    }
    if !adopts_here()
        && let Some(there) = await_adopted()
    {
        return there;
    }
    let Some(fresh) = fill(Some(parent), process::pid()) else {
        // No memory: runs on ungated, and must not look like a child that has done
        // nothing yet. Without its last page (the names of lock files) what it maps is no
        // region any more, and it counts as in flight.
        let last = LAST_REGION.load(Acquire).cast::<u8>().wrapping_add(gate::region::SIZE - PAGE);
        // SAFETY: the names of the parent's lock files; this process has no region, so it asks
        // for none.
        unsafe { memory::unmap(last, PAGE) };
        MODE.store(UNGATED, Release);
        return None;
    };
    if let Some((word, stack)) = open {
        // SAFETY: mapped and filled just now, and known to this thread alone.
        let fresh = unsafe { &*fresh };
        if let Some(slot) = slots::by_number(fresh, slots::number()) {
            slot.stack.store(stack, Relaxed);
            slot.word.store(word, Relaxed);
        }
    }
    // SAFETY: mapped and filled just now, and known to this thread alone.
    show(unsafe { &*fresh });
    let at = LAST_REGION.load(Acquire);
    if state::region().is_some() {
        // A signal handler was here first, in this thread: its region stands.
        // SAFETY: mapped and filled just now, known to this thread alone, and referred to by nobody.
        unsafe { memory::unmap(fresh.cast(), gate::region::SIZE) };
        return state::region();
    }
    let moved = family::keep(at) && {
        // SAFETY: both are whole regions, so a reference to the parent's reads a region
        // still; the reference that was made to the fresh one is gone.
        unsafe { memory::move_mapping(fresh.cast(), gate::region::SIZE, at.cast()) }
    };
    let place = if moved { at } else { fresh };
    publish(place);
    state::region()
}

/// Is this the thread that makes the region? Two that did so at once, at their first entries, would each move their own
/// over the parent's: what the first one has announced there would be gone, and its slot the other's too.
fn adopts_here() -> bool {
    let this = thread_pointer();
    match WIPED.adopting.compare_exchange(0, this, AcqRel, Acquire) {
        Ok(_) => true,
        // A signal handler inside of it: to wait for it would be to wait for ever.
        Err(adopting) => adopting == this,
    }
}

/// Another thread makes the region, which takes some system calls. None: it has not come to its end in a second, and
/// is not waited for any longer.
#[cold]
fn await_adopted() -> Option<Option<&'static Region>> {
    const RESTS: u32 = 10_000;
    for _ in 0..RESTS {
        let region = state::region();
        if region.is_some() || MODE.load(Acquire) == UNGATED {
            return Some(region);
        }
        short_rest();
    }
    None
}

fn publish(region: *mut Region) -> bool {
    // A signal handler may have been here first: then its region stands.
    let first = WIPED.region.compare_exchange(null_mut(), region, Release, Relaxed).is_ok();
    if first {
        LAST_REGION.store(region, Release);
    }
    first
}

/// What is said of a process and holds for the children it forks.
const COMES_ALONG: u32 = FLAG_MAPS_SHARED
    | FLAG_IO_URING
    | FLAG_CALLS_MISSING
    | FLAG_MORE_CALLS_MISSING
    | FLAG_FOREIGN_CLOCK;

fn fill(parent: Option<&Region>, pid: i32) -> Option<*mut Region> {
    let at = memory::map(gate::region::SIZE, true, -1).cast::<Region>();
    // SAFETY: null, or memory of that size that the kernel has mapped just now, all zero,
    // which is a valid Region: it consists of integers.
    let region = unsafe { at.as_ref() }?;
    let header = &region.header;
    header.layout.store(LAYOUT, Relaxed);
    header.slots.store(SLOTS as u32, Relaxed);
    header.pid.store(pid, Relaxed);
    let named = settings().named();
    header.named_at.store(named.as_ptr() as u64, Relaxed);
    header.named_len.store(named.len() as u64, Relaxed);
    let strong = if STRONG.load(Relaxed) { FLAG_STRONG } else { 0 };
    let mut flags = strong | state::rank_flags();
    let mut nonce = match parent {
        None => process::random(),
        // A fork must be cheap: its parent's, the id and the time make it its own. Not the
        // time stamp counter: a program may have made it deadly to read that.
        Some(parent) => {
            let seed = parent.header.nonce.load(Relaxed) ^ (pid as u64) << 40 ^ now();
            spread(seed).rotate_left(23)
        }
    };
    if let Some(parent) = parent {
        let old = &parent.header;
        nonce ^= old.nonce.load(Relaxed).rotate_left(17);
        header.parent_nonce.store(old.nonce.load(Relaxed), Relaxed);
        let table = Table(&header.locks);
        let TableFull(lost) = table.inherit(Table(&old.locks));
        // What did not fit into the parent's table may have come along too.
        let lost = lost || LOCKS_LOST.load(Relaxed);
        LOCKS_LOST.store(lost, Relaxed);
        // Lock files that are not in it are the parent's.
        FILES_LOST.store(0, Relaxed);
        if lost {
            flags |= FLAG_LOCKS_UNKNOWN;
        }
        flags |= old.flags.load(Relaxed) & COMES_ALONG;
        header.shared_mappings.store(old.shared_mappings.load(Relaxed), Relaxed);
        for lock in table.lock_files() {
            LOCK_FILES_SEEN.store(true, Relaxed);
            if let Some(path) = parent.file_names().bytes(lock.dev, lock.ino) {
                region.file_names().put(lock.dev, lock.ino, path);
            }
        }
        // What the parent has locked since, and what was closed here before the
        // first entry, did not come along.
        for lock in table.locks().filter(|lock| lock.kind != LockKind::Dot) {
            if !confined::by_itself()
                && fstat(lock.fd).is_none_or(|s| (s.dev, s.ino) != (lock.dev, lock.ino))
            {
                table.closed(lock.fd, None);
            }
        }
        for (to, from) in header.missing.iter().zip(&old.missing) {
            to.store(from.load(Relaxed), Relaxed);
        }
        // The thread that forked has its number still, and may come later than a
        // thread that is new here: all numbers of the parent's are taken.
        header.slots_used.store(old.slots_used.load(Relaxed).min(SLOTS as u32), Relaxed);
        if let Some(slot) = slots::by_number(region, slots::number()) {
            slot.tid.store(process::tid(), Relaxed);
        }
    }
    header.flags.store(flags, Relaxed);
    header.nonce.store(if nonce == 0 { 1 } else { nonce }, Relaxed);
    Some(at)
}
