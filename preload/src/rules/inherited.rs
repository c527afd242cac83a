//! Descriptors that a child may have locked for this process.
//!
//! A descriptor that a program puts in a place of its choice (a shell's `exec 9>file`) is one
//! that its children may lock for it (`flock 9`), or unlock. When one of them has ended, the
//! kernel is asked what is held: of these descriptors, and of those with a lock. Of no other:
//! a process may have ten thousand.

use crate::kernel_locks::{self, Answer, LockOrigin};
use crate::linux::confined;
use crate::linux::files::fstat;
use crate::linux::signals::Blocked;
use crate::this_process::lock_table::{recount, released, shares_memory};
use crate::this_process::state::{FILES_LOST, LOCKS_LOST, LOCKS_TO_ASK, Region};
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use gate::locks::{LockKind, Table};
use gate::region::FLAG_LOCKS_UNKNOWN;
use linux_raw_sys::general::STDERR_FILENO;

const BITS: usize = u64::BITS as usize;
/// Descriptors that have a place here.
pub const NOTED: usize = 1 << 16;

/// A bit for each descriptor that was put in its place; what it is, is asked when a child ends.
pub static PLACED: [AtomicU64; NOTED / BITS] = [const { AtomicU64::new(0) }; NOTED / BITS];
/// The same for descriptors that were duplicated: looked at when a lock's descriptor is closed.
pub static DUPLICATED: [AtomicU64; NOTED / BITS] = [const { AtomicU64::new(0) }; NOTED / BITS];
/// No bit is set in this word of either or in later ones.
static END: AtomicU32 = AtomicU32::new(0);
/// Some descriptor was that has no place there: all must be looked at.
static BEYOND: AtomicBool = AtomicBool::new(false);

/// A descriptor was put in a place of the program's choice.
pub fn placed(fd: i32) {
    if fd <= STDERR_FILENO as i32 {
        return;
    }
    if !mark(&PLACED, fd) {
        BEYOND.store(true, Relaxed);
    }
}

/// Sets a descriptor's bit. False: it has none.
#[inline(always)]
fn mark(set: &[AtomicU64], fd: i32) -> bool {
    let fd = fd as u32 as usize;
    let Some(word) = set.get(fd / BITS) else { return false };
    let bit = 1 << (fd % BITS);
    // Most are set already, and a locked instruction costs more than a look.
    if word.load(Relaxed) & bit == 0 {
        word.fetch_or(bit, Relaxed);
        END.fetch_max((fd / BITS) as u32 + 1, Relaxed);
    }
    true
}

/// There is another descriptor of what this one is. (It is put in its place: so it is known that
/// there are some.)
pub fn has_duplicate(fd: i32) {
    if fd >= 0 && !mark(&DUPLICATED, fd) {
        BEYOND.store(true, Relaxed);
    }
}

/// May a child have locked something for this process?
pub fn children_may_lock() -> bool {
    END.load(Relaxed) > 0 || BEYOND.load(Relaxed)
}

/// Shows each of these descriptors; one that is said to be no file's is forgotten.
fn each_of(set: &[AtomicU64], mut is_files: impl FnMut(i32) -> bool) {
    for (at, word) in set.iter().take(END.load(Relaxed) as usize).enumerate() {
        let mut bits = word.load(Relaxed);
        while bits != 0 {
            let bit = bits & bits.wrapping_neg();
            bits ^= bit;
            let fd = (at * BITS) as i32 + bit.trailing_zeros() as i32;
            if !is_files(fd) {
                // Closed since, or a socket's or pipe's: nothing to lock.
                word.fetch_and(!bit, Relaxed);
            }
        }
    }
}

/// A child has ended.
pub fn after_a_child(region: &'static Region) {
    if confined::by_itself() || shares_memory(region) {
        return;
    }
    let table = Table(&region.header.locks);
    let before = table.count();
    let blocked = Blocked::all();
    if BEYOND.load(Relaxed) {
        if let Answer::Listed(held) = kernel_locks::enter_all(&blocked, LockOrigin::Child) {
            for lock in table.locks().filter(is_shared) {
                table.only(lock.fd, held);
            }
        }
    } else {
        for lock in table.locks().filter(is_shared) {
            ask_again(&blocked, table, lock.fd);
        }
        each_of(&PLACED, |fd| {
            let known = table.locks().any(|lock| lock.fd == fd && is_shared(&lock));
            known
                || !matches!(
                    kernel_locks::enter_of(&blocked, fd, LockOrigin::Child),
                    Answer::NoFile
                )
        });
    }
    if table.count() < before {
        released(region);
    } else {
        recount(region);
    }
}

/// A descriptor with a lock is about to be closed, or replaced: what was duplicated before it was
/// locked carries the lock too, and keeps it.
pub fn book_duplicates(region: &'static Region, fd: i32, file: Option<(u64, u64)>) {
    let table = Table(&region.header.locks);
    let shared = |lock: &gate::locks::Lock| lock.fd == fd && is_shared(lock) && lock.counts();
    if confined::by_itself() || !children_may_lock() || !table.locks().any(|lock| shared(&lock)) {
        return;
    }
    let blocked = Blocked::all();
    let look = |other: i32| {
        // One that was closed since is forgotten.
        let Some(stat) = fstat(other) else { return false };
        let known = table.locks().any(|lock| lock.fd == other && is_shared(&lock));
        if other != fd && Some((stat.dev, stat.ino)) == file && !known {
            kernel_locks::enter_of(&blocked, other, LockOrigin::Child);
        }
        true
    };
    if BEYOND.load(Relaxed) {
        kernel_locks::enter_all(&blocked, LockOrigin::Child);
        return;
    }
    each_of(&PLACED, look);
    each_of(&DUPLICATED, look);
}

/// The table was full, and has been empty since: the kernel is asked what is held.
pub fn ask_for_lost(region: &'static Region) {
    if !LOCKS_TO_ASK.load(Relaxed) || shares_memory(region) || confined::by_itself() {
        return;
    }
    LOCKS_TO_ASK.store(false, Relaxed);
    // The kernel knows nothing of lock files: of these it stays unknown.
    let files_lost = FILES_LOST.load(Relaxed) != 0;
    region.header.flags.fetch_and(!FLAG_LOCKS_UNKNOWN, Relaxed);
    // It says so again, if they are still more than there is room for. Until all are entered, what
    // was lost counts: another thread must not find that nothing is held.
    let told = kernel_locks::enter_all(&Blocked::all(), LockOrigin::Lost);
    let is_told = matches!(told, Answer::Listed(_));
    if is_told && region.header.flags.load(Relaxed) & FLAG_LOCKS_UNKNOWN == 0 {
        LOCKS_LOST.store(false, Relaxed);
    }
    if files_lost || !is_told {
        region.header.flags.fetch_or(FLAG_LOCKS_UNKNOWN, Relaxed);
    }
    recount(region);
}

/// Is it a lock that a child shares?
fn is_shared(lock: &gate::locks::Lock) -> bool {
    matches!(lock.kind, LockKind::Flock | LockKind::Ofd)
}

fn ask_again(blocked: &Blocked, table: Table<'_>, fd: i32) {
    match kernel_locks::enter_of(blocked, fd, LockOrigin::Child) {
        Answer::Listed(held) => table.only(fd, held),
        Answer::NoFile => table.closed(fd, None),
        Answer::NotTold => {}
    }
}
