//! fcntl, flock, lockf: taking and giving up locks.
//!
//! Taking a lock is no change and is never held: a held waiter would miss the
//! alarm that was to interrupt it.

use super::descriptors::{self, duplicated, gave_up};
use crate::enter::{BRACKET, PASS, waits_for_lock};
use crate::frame::Frame;
use crate::own;
use crate::state::{LOCKS_SEEN, Region, region};
use crate::sys;
use crate::text::program_can_read;
use core::sync::atomic::Ordering::Relaxed;
use gate::calls::Rule;
use gate::locks::{Kind, Lock, Lost, Table};

const F_DUPFD: u64 = 0;
const F_SETLK: u64 = 6;
const F_SETLKW: u64 = 7;
const F_OFD_SETLK: u64 = 37;
const F_OFD_SETLKW: u64 = 38;
const F_DUPFD_CLOEXEC: u64 = 1030;

/// `note[0]`, low byte: what was asked for.
const NOTHING: u64 = 0;
const UNLOCK: u64 = 1;
const SHARED: u64 = 2;
const GUARDS: u64 = 3;
const DUPLICATE: u64 = 4;

#[repr(C)]
struct FlockArgument {
    kind: i16,
    whence: i16,
    start: i64,
    len: i64,
    pid: i32,
}

/// # Safety
/// The arguments are fcntl's.
pub unsafe fn fcntl(frame: &mut Frame) -> u64 {
    let (fd, command) = (frame.arg(0) as i32, frame.arg(1) & 0xffff_ffff);
    frame.note = [NOTHING; 5];
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC if LOCKS_SEEN.load(Relaxed) => {
            frame.note[0] = DUPLICATE;
            BRACKET
        }
        F_SETLK | F_SETLKW | F_OFD_SETLK | F_OFD_SETLKW => {
            let at = frame.arg(2);
            if !program_can_read(at, size_of::<FlockArgument>()) {
                return PASS;
            }
            // SAFETY: these commands take a struct flock, and it can be read.
            let lock = unsafe { &(at as *const FlockArgument).read_unaligned() };
            let asked = match lock.kind {
                0 => SHARED,
                1 => GUARDS,
                2 => UNLOCK,
                _ => return PASS,
            };
            let kind = if command >= F_OFD_SETLK { Kind::Ofd } else { Kind::Posix };
            let waits = matches!(command, F_SETLKW | F_OFD_SETLKW);
            note(frame, fd, kind, asked, waits, (lock.whence, lock.start, lock.len))
        }
        _ => PASS,
    }
}

/// flock: shared counts too on a descriptor that is open for writing (Postfix
/// delivers under it).
pub fn flock(frame: &mut Frame) -> u64 {
    let (fd, operation) = (frame.arg(0) as i32, frame.arg(1));
    let asked = match operation & !4 {
        1 if sys::file_flags(fd) & 3 > 0 => GUARDS,
        1 => SHARED,
        2 => GUARDS,
        8 => UNLOCK,
        _ => return PASS,
    };
    note(frame, fd, Kind::Flock, asked, operation & 4 == 0, (0, 0, 0))
}

/// lockf: a POSIX write lock from the current offset.
pub fn lockf(frame: &mut Frame) -> u64 {
    let (fd, command, len) = (frame.arg(0) as i32, frame.arg(1) as i32, frame.arg(2) as i64);
    let asked = match command {
        0 => UNLOCK,
        1 | 2 => GUARDS,
        _ => return PASS,
    };
    note(frame, fd, Kind::Posix, asked, command == 1, (1, 0, len))
}

fn note(
    frame: &mut Frame,
    fd: i32,
    kind: Kind,
    asked: u64,
    waits: bool,
    (whence, start, len): (i16, i64, i64),
) -> u64 {
    let (Some(stat), Some(region)) = (sys::fstat(fd), region()) else { return PASS };
    let base = match whence {
        0 => 0,
        1 => sys::tell(fd),
        2 => stat.size,
        _ => return PASS,
    };
    let from = base.saturating_add(start);
    let (first, last) = match len {
        0 => (from, i64::MAX),
        1.. => (from, from.saturating_add(len - 1)),
        _ => (from.saturating_add(len), from - 1),
    };
    let last = if last == i64::MAX { u64::MAX } else { last.max(0) as u64 };
    frame.note = [asked | (kind as u64) << 8, first.max(0) as u64, last, stat.dev, stat.ino];
    if asked != UNLOCK && waits {
        waits_for_lock(frame, region, fd, stat.dev, stat.ino);
    }
    BRACKET
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
    if asked == NOTHING || frame.int() != 0 || own::shares_memory(region) {
        return;
    }
    let kind = match frame.note[0] >> 8 {
        2 => Kind::Flock,
        3 => Kind::Ofd,
        _ => Kind::Posix,
    };
    debug_assert!(rule != Rule::Flock || kind == Kind::Flock);
    let [_, start, end, dev, ino] = frame.note;
    let lock = Lock { kind, flags: 0, fd, group: 0, dev, ino, start, end, since: sys::now() };
    let what = match asked {
        GUARDS => Some(true),
        SHARED => Some(false),
        _ => None,
    };
    if what.is_none() && !LOCKS_SEEN.load(Relaxed) {
        return;
    }
    LOCKS_SEEN.store(true, Relaxed);
    if what == Some(true) {
        super::names::locked_by_kernel(region, dev, ino);
    }
    let table = Table(&region.header.locks);
    let Lost(full) = match kind {
        Kind::Posix => table.posix(what, lock),
        _ => table.described(what, lock),
    };
    if full {
        descriptors::lost(region);
    }
    if what == Some(true) {
        own::recount(region);
    } else {
        gave_up(region);
    }
}
