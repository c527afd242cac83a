//! fcntl, flock, lockf: taking and giving up locks.
//!
//! Taking a lock is no change and is never held: a held waiter would miss the
//! alarm that was to interrupt it.

use super::descriptors::duplicated;
use super::inherited::ask_for_lost;
use super::lock_files::{let_go, locked_by_kernel};
use crate::announce::{BRACKET, PASS, announce_lock_wait};
use crate::frame::Frame;
use crate::linux::confined;
use crate::linux::files::{fstat, opened_for_writing, tell};
use crate::protected::lifetime_locks::{is_held_for_life, is_small};
use crate::this_process::lock_table::{overflowed, process_word, recount, shares_memory, update};
use crate::this_process::state::{LOCKS_SEEN, Region, region};
use core::sync::atomic::Ordering::Relaxed;
use gate::calls::Rule;
use gate::locks::{Lock, LockKind, NO_DEVICE, SMALL, Table, TableFull};
use gate::word::ProcessWord;
use linux_raw_sys::general::{
    F_DUPFD, F_DUPFD_CLOEXEC, F_OFD_SETLK, F_OFD_SETLKW, F_RDLCK, F_SETLK, F_SETLKW, F_WRLCK,
    SEEK_CUR, SEEK_SET, flock,
};

const LOCK_SH: u64 = linux_raw_sys::general::LOCK_SH as u64;
const LOCK_EX: u64 = linux_raw_sys::general::LOCK_EX as u64;
const LOCK_NB: u64 = linux_raw_sys::general::LOCK_NB as u64;
const LOCK_UN: u64 = linux_raw_sys::general::LOCK_UN as u64;

// Commands of lockf, which is libc's own.
const F_ULOCK: i32 = 0;
const F_LOCK: i32 = 1;
const F_TLOCK: i32 = 2;

/// `note[0]`, low byte: what was asked for.
const NOTHING: u64 = 0;
const UNLOCK: u64 = 1;
const SHARED: u64 = 2;
const GUARDS: u64 = 3;
const DUPLICATE: u64 = 4;
/// The argument says it.
const IN_ARGUMENT: u64 = 5;

/// `note[3]`: device and inode stand in `note[1]` and `note[2]`, [`SMALL`] in `note[4]` if it is so.
const KNOWN: u64 = 1;

/// fcntl: locks and duplicates; nothing else of it matters here.
pub fn fcntl(frame: &mut Frame) -> u64 {
    let (fd, command) = (frame.arg(0) as i32, frame.arg(1) as u32);
    frame.note = [NOTHING; 5];
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => {
            frame.note[0] = DUPLICATE;
            BRACKET
        }
        F_SETLK | F_SETLKW | F_OFD_SETLK | F_OFD_SETLKW => {
            // What is asked for is read once the call has succeeded: until then
            // the pointer may be anything.
            let kind = if command >= F_OFD_SETLK { LockKind::Ofd } else { LockKind::Posix };
            let waits = matches!(command, F_SETLKW | F_OFD_SETLKW);
            note(frame, fd, kind, IN_ARGUMENT, waits)
        }
        _ => PASS,
    }
}

/// flock: a shared lock counts too on a descriptor that is open for writing (Postfix
/// delivers under it).
pub fn flock_call(frame: &mut Frame) -> u64 {
    let (fd, operation) = (frame.arg(0) as i32, frame.arg(1));
    let asked = match operation & !LOCK_NB {
        LOCK_SH if opened_for_writing(fd) => GUARDS,
        LOCK_SH => SHARED,
        LOCK_EX => GUARDS,
        LOCK_UN => UNLOCK,
        _ => return PASS,
    };
    note(frame, fd, LockKind::Flock, asked, operation & LOCK_NB == 0)
}

/// lockf: a POSIX write lock from the current offset.
pub fn lockf(frame: &mut Frame) -> u64 {
    let (fd, command) = (frame.arg(0) as i32, frame.arg(1) as i32);
    let asked = match command {
        F_ULOCK => UNLOCK,
        F_LOCK | F_TLOCK => GUARDS,
        _ => return PASS,
    };
    note(frame, fd, LockKind::Posix, asked, command == F_LOCK)
}

fn note(frame: &mut Frame, fd: i32, kind: LockKind, asked: u64, waits: bool) -> u64 {
    frame.note = [asked | (kind as u64) << 8, 0, 0, 0, 0];
    if asked == UNLOCK && !LOCKS_SEEN.load(Relaxed) {
        return PASS;
    }
    if asked != UNLOCK && waits {
        let (Some(region), Some((dev, ino, size))) = (region(), file_of(fd)) else { return PASS };
        let word = process_word(region);
        if word.until_wait() && word.locks() == 0 {
            // A process that asks for a lock anew, holding none, begins a new set. Else
            // all in a lock's queue would be in flight.
            update(region, ProcessWord::waits);
        }
        announce_lock_wait(frame, region, fd, dev, ino);
        // The kernel has looked the descriptor up when the call began: whatever another thread
        // puts in its place while this one waits, the lock is on this file.
        frame.note = [frame.note[0], dev, ino, KNOWN, size as u64];
    }
    BRACKET
}

/// Device and inode of a descriptor, and whether its file is [`SMALL`]: from the table, where its
/// file is locked already, else from the kernel.
fn file_of(fd: i32) -> Option<(u64, u64, u32)> {
    let known = region().and_then(|region| {
        let of_fd = |lock: &Lock| lock.fd == fd;
        let lock = Table(&region.header.locks).locks().find(of_fd)?;
        Some((lock.dev, lock.ino, lock.flags & SMALL))
    });
    let asked = || {
        if confined::by_itself() {
            // It is the only file of this descriptor. The freezer asks which.
            return Some((NO_DEVICE, fd as u32 as u64, 0));
        }
        fstat(fd).map(|stat| (stat.dev, stat.ino, is_small(stat.size) as u32 * SMALL))
    };
    known.or_else(asked)
}

/// First and last byte of a range given as fcntl and lockf take it.
fn range(fd: i32, whence: i16, start: i64, len: i64) -> (u64, u64) {
    let base = match whence as u32 {
        SEEK_SET => 0,
        // Must not be asked.
        _ if confined::by_itself() => return (0, u64::MAX),
        SEEK_CUR => tell(fd),
        _ => fstat(fd).map_or(0, |stat| stat.size),
    };
    let from = base.saturating_add(start);
    let (first, last) = match len {
        0 => (from, i64::MAX),
        1.. => (from, from.saturating_add(len - 1)),
        _ => (from.saturating_add(len), from - 1),
    };
    let last = if last == i64::MAX { u64::MAX } else { last.max(0) as u64 };
    (first.max(0) as u64, last)
}

/// After the call.
pub fn done(frame: &mut Frame, region: &'static Region, rule: Rule) {
    let asked = frame.note[0] & 0xff;
    let fd = frame.arg(0) as i32;
    if asked == DUPLICATE {
        if frame.int() >= 0 {
            duplicated(region, fd, frame.int());
        }
        return;
    }
    if asked == NOTHING || frame.int() != 0 || shares_memory(region) {
        return;
    }
    const FLOCK: u64 = LockKind::Flock as u64;
    const OFD: u64 = LockKind::Ofd as u64;
    let kind = match frame.note[0] >> 8 {
        FLOCK => LockKind::Flock,
        OFD => LockKind::Ofd,
        _ => LockKind::Posix,
    };
    let (asked, (start, end)) = match rule {
        Rule::Flock => (asked, (0, u64::MAX)),
        Rule::Lockf => (asked, range(fd, SEEK_CUR as i16, 0, frame.arg(2) as i64)),
        _ => {
            // SAFETY: the call has succeeded, so the kernel has just read a `struct flock` there.
            let lock = unsafe { (frame.arg(2) as *const flock).read_unaligned() };
            let asked = match lock.l_type as u32 {
                F_RDLCK => SHARED,
                F_WRLCK => GUARDS,
                _ => UNLOCK,
            };
            (asked, range(fd, lock.l_whence, lock.l_start, lock.l_len))
        }
    };
    let what = match asked {
        GUARDS => Some(true),
        SHARED => Some(false),
        _ => None,
    };
    if what.is_none() && !LOCKS_SEEN.load(Relaxed) {
        return;
    }
    let noted = (frame.note[1], frame.note[2], frame.note[4] as u32);
    let known = (frame.note[3] == KNOWN).then_some(noted);
    let Some((dev, ino, flags)) = known.or_else(|| file_of(fd)) else { return };
    ask_for_lost(region);
    let lock = Lock { kind, flags, fd, group: 0, dev, ino, start, end, since: 0 };
    LOCKS_SEEN.store(true, Relaxed);
    if what == Some(true) {
        locked_by_kernel(region, dev, ino);
    }
    let table = Table(&region.header.locks);
    let TableFull(full) = match kind {
        LockKind::Posix => table.posix_lock(what, lock),
        _ => table.description_lock(what, lock),
    };
    if full {
        overflowed(region);
    }
    if what == Some(true) {
        recount(region);
    } else {
        let_go(region);
    }
}

/// From now on the paths of locks may not be there to be asked for.
pub fn chroot() -> u64 {
    if LOCKS_SEEN.load(Relaxed)
        && let Some(region) = region()
        && !shares_memory(region)
    {
        let table = Table(&region.header.locks);
        table.judge(is_held_for_life);
        table.root_left();
        recount(region);
    }
    PASS
}
