//! fcntl, flock, lockf: taking and giving up locks.
//!
//! Taking a lock is no change and is never held: a held waiter would miss the
//! alarm that was to interrupt it.

use super::descriptors::{self, children_may_lock, duplicated, gave_up};
use crate::enter::{BRACKET, PASS, waits_for_lock};
use crate::frame::Frame;
use crate::own;
use crate::state::{LOCKS_SEEN, Region, region};
use crate::sys;
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use gate::calls::Rule;
use gate::locks::{Lock, LockKind, Table, TableFull};
use gate::word::ProcessWord;

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
/// The argument says it.
const IN_ARGUMENT: u64 = 5;

#[repr(C)]
struct FlockArgument {
    kind: i16,
    whence: i16,
    start: i64,
    len: i64,
    pid: i32,
}

/// fcntl: locks and duplicates; nothing else of it matters here.
pub fn fcntl(frame: &mut Frame) -> u64 {
    let (fd, command) = (frame.arg(0) as i32, frame.arg(1) & 0xffff_ffff);
    frame.note = [NOTHING; 5];
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC if LOCKS_SEEN.load(Relaxed) || !children_may_lock() => {
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
    note(frame, fd, LockKind::Flock, asked, operation & 4 == 0)
}

/// lockf: a POSIX write lock from the current offset.
pub fn lockf(frame: &mut Frame) -> u64 {
    let (fd, command) = (frame.arg(0) as i32, frame.arg(1) as i32);
    let asked = match command {
        0 => UNLOCK,
        1 | 2 => GUARDS,
        _ => return PASS,
    };
    note(frame, fd, LockKind::Posix, asked, command == 1)
}

fn note(frame: &mut Frame, fd: i32, kind: LockKind, asked: u64, waits: bool) -> u64 {
    frame.note = [asked | (kind as u64) << 8, 0, 0, 0, 0];
    if asked == UNLOCK && !LOCKS_SEEN.load(Relaxed) {
        return PASS;
    }
    if asked != UNLOCK && waits {
        let (Some(region), Some((dev, ino))) = (region(), file_of(fd)) else { return PASS };
        let word = ProcessWord(region.header.process.load(Acquire));
        if word.until_wait() && word.locks() == 0 {
            // Whoever asks for a lock anew, holding none, begins a new set. Else
            // everyone in a lock's queue would be in flight.
            own::step(region, ProcessWord::waits);
        }
        waits_for_lock(frame, region, fd, dev, ino);
    }
    BRACKET
}

/// Device and inode of a descriptor: from the table, where its file is locked
/// already, else from the kernel.
fn file_of(fd: i32) -> Option<(u64, u64)> {
    let known = region().and_then(|region| {
        Table(&region.header.locks).locks().find(|lock| lock.fd == fd).map(|l| (l.dev, l.ino))
    });
    known.or_else(|| sys::fstat(fd).map(|stat| (stat.dev, stat.ino)))
}

/// First and last byte of a range given as fcntl and lockf take it.
fn range(fd: i32, whence: i16, start: i64, len: i64) -> (u64, u64) {
    let base = match whence {
        0 => 0,
        1 => sys::tell(fd),
        _ => sys::fstat(fd).map_or(0, |stat| stat.size),
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
    if asked == NOTHING || frame.int() != 0 || own::shares_memory(region) {
        return;
    }
    let kind = match frame.note[0] >> 8 {
        2 => LockKind::Flock,
        3 => LockKind::Ofd,
        _ => LockKind::Posix,
    };
    let (asked, (start, end)) = match rule {
        Rule::Flock => (asked, (0, u64::MAX)),
        Rule::Lockf => (asked, range(fd, 1, 0, frame.arg(2) as i64)),
        _ => {
            // SAFETY: the kernel has just read a struct flock there.
            let lock = unsafe { (frame.arg(2) as *const FlockArgument).read_unaligned() };
            let asked = match lock.kind {
                0 => SHARED,
                1 => GUARDS,
                _ => UNLOCK,
            };
            (asked, range(fd, lock.whence, lock.start, lock.len))
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
    let Some((dev, ino)) = file_of(fd) else { return };
    let lock = Lock { kind, flags: 0, fd, group: 0, dev, ino, start, end, since: 0 };
    LOCKS_SEEN.store(true, Relaxed);
    if what == Some(true) {
        super::names::locked_by_kernel(region, dev, ino);
    }
    let table = Table(&region.header.locks);
    let TableFull(full) = match kind {
        LockKind::Posix => table.posix_lock(what, lock),
        _ => table.description_lock(what, lock),
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

/// A child may have locked, or unlocked, what it shares with us (a shell runs
/// flock(1) on a descriptor of its own): the kernel says what is held now.
pub fn after_a_child(region: &'static Region) {
    if own::shares_memory(region) {
        return;
    }
    let table = Table(&region.header.locks);
    let before = table.count();
    for lock in table.locks() {
        if matches!(lock.kind, LockKind::Flock | LockKind::Ofd) {
            table.closed(lock.fd, None);
        }
    }
    crate::start::locks_of_all(crate::start::Came::Here);
    if table.count() < before {
        gave_up(region);
    } else {
        own::recount(region);
    }
}
