//! The locks that the kernel says this process's descriptors carry (/proc/self/fdinfo),
//! entered into the lock table: those that came over an exec, and those that a child took.

use crate::linux::descriptors::each;
use crate::linux::files::{Stat, fstat_at_start};
use crate::linux::lines::each_line;
use crate::linux::signals::Blocked;
use crate::linux::time::now;
use crate::protected::lifetime_locks::is_small;
use crate::text::{self, Buffer};
use crate::this_process::lock_table::overflowed;
use crate::this_process::state::{LOCKS_SEEN, region};
use core::sync::atomic::Ordering::Relaxed;
use gate::locks::{Lock, LockKind, SMALL, Table};
use linux_raw_sys::general::O_ACCMODE;

/// How a lock on a descriptor came to this process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LockOrigin {
    /// With the program, over its exec: what another process took is that one's.
    Exec,
    /// A child took it, on a descriptor that it shares with this process.
    Child,
    /// This process took it when the table was full.
    Lost,
}

/// What has come of asking the kernel.
#[derive(Clone, Copy)]
pub enum Answer {
    /// It is no file's descriptor.
    NoFile,
    /// It is not told: no /proc in this root, or none that may be read. What is known stays so.
    NotTold,
    /// The locks of descriptions stand in these places of the lock table (a bit each).
    Listed(u64),
}

/// Enters the kernel's locks on all descriptors into the lock table.
pub fn enter_all(blocked: &Blocked, origin: LockOrigin) -> Answer {
    let mut all = Answer::Listed(0);
    let told = each(blocked, |fd| {
        all = match (all, enter_of(blocked, fd, origin)) {
            (Answer::Listed(before), Answer::Listed(places)) => Answer::Listed(before | places),
            (_, Answer::NotTold) => Answer::NotTold,
            (known, _) => known,
        };
    });
    if told { all } else { Answer::NotTold }
}

/// As [`enter_all`], for all descriptors below this one, where a directory must not be listed.
pub fn enter_below(blocked: &Blocked, below: u32, origin: LockOrigin) {
    for fd in 0..below {
        enter_of(blocked, fd as i32, origin);
    }
}

/// Enters the kernel's locks on one descriptor.
pub fn enter_of(blocked: &Blocked, fd: i32, origin: LockOrigin) -> Answer {
    let Some(file) = fstat_at_start(fd).filter(Stat::is_file_or_directory) else {
        return Answer::NoFile;
    };
    let mut path = Buffer::<32>::new();
    path.push(b"/proc/self/fdinfo/");
    path.push_number(fd as u64);
    // What the descriptor was opened with stands before its locks.
    let (mut writable, mut places) = (false, 0);
    // SAFETY: a `Buffer` always ends with a NUL.
    let told = unsafe {
        each_line(blocked, path.c(), |line| {
            if let Some(flags) = line.strip_prefix(b"flags:") {
                writable = flags.last().is_some_and(|digit| (digit & 7) as u32 & O_ACCMODE > 0);
            } else if let Some(lock) = line.strip_prefix(b"lock:") {
                places |= enter(fd, &file, lock, writable, origin);
            }
            true
        })
    };
    if told { Answer::Listed(places) } else { Answer::NotTold }
}

/// `1: FLOCK  ADVISORY  WRITE 1234 fd:01:99 0 EOF`, as it stands in fdinfo. The bit of its place.
fn enter(fd: i32, file: &Stat, line: &[u8], writable: bool, origin: LockOrigin) -> u64 {
    let words = line.split(|c| matches!(c, b' ' | b'\t')).filter(|word| !word.is_empty());
    let mut words = words.skip(1);
    let (Some(kind), Some(_), Some(mode), Some(pid)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return 0;
    };
    let (Some(start), Some(end)) = (words.nth(1), words.next()) else { return 0 };
    let Some(region) = region() else { return 0 };
    let number = |word: &[u8]| text::number(word).map_or(u64::MAX, |(value, _)| value);
    let lock = Lock {
        kind: match kind {
            b"POSIX" if origin != LockOrigin::Child => LockKind::Posix,
            b"FLOCK" => LockKind::Flock,
            b"OFDLCK" => LockKind::Ofd,
            _ => return 0,
        },
        flags: is_small(file.size) as u32 * SMALL,
        fd,
        group: 0,
        dev: file.dev,
        ino: file.ino,
        start: number(start),
        end: number(end),
        since: now(),
    };
    LOCKS_SEEN.store(true, Relaxed);
    let writes = mode == b"WRITE" || lock.kind == LockKind::Flock && writable;
    let table = Table(&region.header.locks);
    if origin == LockOrigin::Child {
        // What is known of it (held for life, another's) stays known.
        let known = table.place_of(&lock, writes);
        if known != 0 {
            return known;
        }
    }
    let gate::locks::TableFull(lost) = match lock.kind {
        LockKind::Posix => table.posix_lock(Some(writes), lock),
        _ => {
            // Taken by another process: it came with the descriptor, and its
            // owner is the one that took it, if that lives.
            let lost = table.description_lock(Some(writes), lock);
            let owner = number(pid);
            let own = region.header.pid.load(Relaxed) as u64;
            if owner != own && owner != u64::MAX && origin == LockOrigin::Exec {
                table.inherited(fd);
            }
            lost
        }
    };
    if lost {
        overflowed(region);
    }
    table.place_of(&lock, writes)
}
