//! Lock files: taken, given up, told apart from files that are only locked.
//!
//! A lock file is made by exclusive create or by link, under a name like
//! `x.lock`. Making and removing one is locking, never a change; owning one keeps
//! its owner in flight, because it also lies in the snapshot.

use super::arguments::{directory, path};
use crate::announce::PASS;
use crate::frame::Frame;
use crate::linux::files::{fstat, lstat_at};
use crate::linux::time::now;
use crate::program_memory::program_string;
use crate::protected::lifetime_locks::is_path_for_life;
use crate::protected::paths::{absolute, with_path_of};
use crate::protected::reached::with_path_of_name;
use crate::resolve::libc::fileno;
use crate::rule_table::rule;
use crate::text::Path;
use crate::this_process::lock_table::{recount, shares_memory, update};
use crate::this_process::profile_flags::{SETTLED, applies};
use crate::this_process::state::{LOCKS_LOST, LOCKS_SEEN, Region, region};
use core::sync::atomic::Ordering::{Relaxed, Release};
use gate::calls::Rule;
use gate::locks::{Lock, LockKind, Table, TableFull};
use gate::profile::LockName;
use gate::region::Header;

/// `note[0]`: this call may make a lock file.
pub const MAKES_LOCK: u64 = 1;
/// `note[0]`: this call has a chance to remove one.
const REMOVES_LOCK: u64 = 2;

/// Remembers which file a lock-like name stands for before it goes.
///
/// # Safety
/// `name` is the program's path, a C string or null.
pub unsafe fn note_removed_lock(
    frame: &mut Frame,
    dir: i32,
    name: *const u8,
    kind: Option<LockName>,
) {
    frame.note[0] = 0;
    if kind != Some(LockName::Lock) || !LOCKS_SEEN.load(Relaxed) {
        return;
    }
    // SAFETY: the path is the program's, by the caller's promise.
    if let Some(stat) = unsafe { lstat_at(dir, name) } {
        frame.note = [REMOVES_LOCK, stat.dev, stat.ino, 0, 0];
    }
}

/// The call goes past unannounced (its place is not protected), so leave will not
/// come: the lock file is given up now, a moment early, which cuts nothing.
pub fn gone_unannounced(frame: &mut Frame, action: u64) -> u64 {
    if action == PASS
        && frame.note[0] == REMOVES_LOCK
        && let Some(region) = region()
    {
        remove_dotlock(frame, region);
    }
    action
}

fn remove_dotlock(frame: &Frame, region: &'static Region) {
    if shares_memory(region) {
        return;
    }
    Table(&region.header.locks).dotlock_gone(frame.note[1], frame.note[2]);
    region.header.lock_sequence.fetch_add(1, Relaxed);
    recount(region);
}

/// After unlink or rename.
pub fn unnamed(frame: &mut Frame, region: &'static Region) {
    if frame.note[0] == REMOVES_LOCK && frame.int() == 0 {
        remove_dotlock(frame, region);
    }
}

/// After link.
///
/// # Safety
/// The frame's arguments are the program's.
pub unsafe fn linked(frame: &mut Frame, region: &'static Region, dir: u8, name_at: u8) {
    if frame.note[0] != MAKES_LOCK || frame.int() != 0 {
        return;
    }
    // SAFETY: the path is the program's, by the caller's promise.
    let stat = unsafe { lstat_at(directory(frame, dir), path(frame, name_at)) };
    let place = directory(frame, dir);
    // SAFETY: the call has just succeeded with this path, and has not returned to the program.
    let name = unsafe { program_string(path(frame, name_at)) };
    if let Some(stat) = stat
        // SAFETY: as above.
        && !unsafe { with_path_of_name(place, path(frame, name_at), is_path_for_life) }
        && !is_locked(region, stat.dev, stat.ino)
        && take_dotlock(region, stat.dev, stat.ino)
    {
        note_name(&region.header, stat.ino, place, name.unwrap_or(&[]));
    }
}

/// Whether a kernel lock of this process that guards writing lies on this file. A file that is
/// locked first and then linked under its `*.lock` name is no dotlock either: its maker
/// unlinks the name only while it has the kernel's lock, and leaves that to the process that
/// gets the lock next (Dovecot's `mailboxes.lock`). A dotlock of it would last for ever.
fn is_locked(region: &Region, dev: u64, ino: u64) -> bool {
    let same = |lock: &Lock| lock.kind != LockKind::Dot && (lock.dev, lock.ino) == (dev, ino);
    Table(&region.header.locks).locks().any(|lock| same(&lock) && lock.counts())
}

/// After an open that may have made a lock file.
pub fn opened(frame: &mut Frame, region: &'static Region) {
    if frame.note[0] != MAKES_LOCK {
        return;
    }
    let stream = matches!(rule(frame.inner), Some(Rule::OpenMode(..)));
    let fd = if stream { fileno(frame.result) } else { frame.int() };
    if fd >= 0
        && let Some(stat) = fstat(fd)
        && !with_path_of(fd, false, is_path_for_life)
        && take_dotlock(region, stat.dev, stat.ino)
    {
        with_path_of(fd, false, |path| {
            note_path(&region.header, stat.ino, path);
            true
        });
    }
}

/// A `*.lock` file that its maker then locks by fcntl or flock is a file to lock,
/// not a dotlock: the kernel's lock says everything.
pub fn locked_by_kernel(region: &'static Region, dev: u64, ino: u64) {
    let table = Table(&region.header.locks);
    let is_it = |lock: &Lock| lock.kind == LockKind::Dot && (lock.dev, lock.ino) == (dev, ino);
    if table.locks().any(|lock| is_it(&lock)) {
        table.dotlock_gone(dev, ino);
        update(region, |word| if word.dotlock_only() { word.with_locks(0) } else { word });
    }
}

/// Enters a dotlock that was made just now. False: it is not this process's own.
fn take_dotlock(region: &'static Region, dev: u64, ino: u64) -> bool {
    if shares_memory(region) {
        return false;
    }
    LOCKS_SEEN.store(true, Relaxed);
    let since = now();
    let lock = Lock {
        kind: LockKind::Dot,
        flags: 0,
        fd: -1,
        group: 0,
        dev,
        ino,
        start: 0,
        end: u64::MAX,
        since,
    };
    let TableFull(lost) = Table(&region.header.locks).dotlock(lock);
    if lost {
        LOCKS_LOST.store(true, Relaxed);
    }
    recount(region);
    region.header.section_since.store(since, Relaxed);
    // Where the profile says `settled`, a lock file alone is no section: its owner
    // may sleep for seconds until another lock is free. It then lies in the
    // snapshot, and a restore deletes it.
    if !applies(SETTLED) {
        update(region, |word| if word.locks() > 0 { word.dotlock_begun() } else { word });
    }
    true
}

/// [`note_path`] of a dotlock whose name may be relative.
#[inline(never)]
fn note_name(header: &Header, ino: u64, dir: i32, name: &[u8]) {
    let mut path = Path::new();
    absolute(dir, name, &mut path);
    note_path(header, ino, if path.too_long { &[] } else { path.bytes() });
}

/// Puts down where a dotlock lies, for the report: it has no descriptor that would tell.
fn note_path(header: &Header, ino: u64, bytes: &[u8]) {
    let len = if bytes.len() <= header.dotlock_path.len() { bytes.len() } else { 0 };
    header.dotlock_len.store(0, Release);
    for (to, from) in header.dotlock_path.iter().zip(bytes) {
        to.store(*from, Relaxed);
    }
    header.dotlock_ino.store(ino, Relaxed);
    header.dotlock_len.store(len as u32, Release);
}
