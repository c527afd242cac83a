//! Calls that make, remove or open a name; lock files among them.
//!
//! A lock file is made by exclusive create or by link, under a name like
//! `x.lock`. Making and removing one is locking, never a change; owning one keeps
//! its owner in flight, because it also lies in the snapshot.

use super::{directory, path};
use crate::change::means_something;
use crate::enter::{Begins, PASS, announce};
use crate::frame::Frame;
use crate::own;
use crate::place::{Target, note_dotlock, note_dotlock_name, path_for_life, with_path_of};
use crate::resolve;
use crate::state::{HABITS, LOCKS_LOST, LOCKS_SEEN, Region, SETTLED, region};
use crate::sys;
use crate::text::{program_can_read, program_string};
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use gate::calls::Rule;
use gate::locks::{Lock, LockKind, Table, TableFull};
use gate::profile::{LockName, lock_like};
use gate::word::ProcessWord;

const O_CREAT: u64 = 0o100;
const O_EXCL: u64 = 0o200;
const O_TRUNC: u64 = 0o1000;
const O_TMPFILE: u64 = 0o20000000;

/// `note[0]`: this call may make, or has a chance to remove, a lock file.
const MAKES_LOCK: u64 = 1;
const REMOVES_LOCK: u64 = 2;

/// # Safety
/// `path` is a C string or null.
pub unsafe fn open(frame: &mut Frame, dir: i32, path: *const u8, flags: u64) -> u64 {
    if flags & (O_CREAT | O_TRUNC | O_TMPFILE) == 0 {
        return PASS;
    }
    // SAFETY: as for us.
    unsafe {
        let Some(text) = program_string(path) else { return PASS };
        let name = lock_like(text);
        let exclusive = flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL;
        frame.note[0] = (name == Some(LockName::Lock) && exclusive) as u64 * MAKES_LOCK;
        let begins = if frame.note[0] != 0 || name == Some(LockName::HitchingPost) {
            Begins::Nothing
        } else if flags & O_TRUNC == 0 && may_begin() && sys::stat_at(dir, path).is_some() {
            // Only opened: whatever is written to it later is the change.
            Begins::Nothing
        } else {
            Begins::Section
        };
        announce(frame, None, begins, |_| Target::Opened(dir, path))
    }
}

/// Would a change now begin a section?
fn may_begin() -> bool {
    let process = |r: &Region| ProcessWord(r.header.process.load(Acquire));
    region().is_some_and(|r| means_something(process(r), HABITS.load(Relaxed)))
}

/// # Safety
/// The arguments are openat2's.
pub unsafe fn open_how(frame: &mut Frame) -> u64 {
    let how = frame.arg(2) as *const u64;
    if !program_can_read(how as u64, 8) {
        return PASS;
    }
    // SAFETY: `struct open_how` begins with the flags.
    unsafe {
        let flags = how.read_unaligned();
        open(frame, frame.arg(0) as i32, path(frame, 1), flags)
    }
}

/// # Safety
/// The arguments are open_by_handle_at's.
pub unsafe fn open_handle(frame: &mut Frame) -> u64 {
    if frame.arg(2) & O_TRUNC == 0 {
        return PASS;
    }
    let mount = frame.arg(0) as i32;
    // SAFETY: no path.
    unsafe { announce(frame, Some(mount), Begins::Section, |_| Target::Fd(mount)) }
}

/// # Safety
/// The arguments are bind's.
pub unsafe fn bind(frame: &mut Frame) -> u64 {
    let (address, len) = (frame.arg(1) as *const u8, frame.arg(2) as u32 as usize);
    if !(3..=110).contains(&len) || !program_can_read(address as u64, len) {
        return PASS;
    }
    // SAFETY: `len` bytes of a socket address.
    unsafe {
        let bytes = core::slice::from_raw_parts(address, len);
        let family = u16::from_ne_bytes([bytes[0], bytes[1]]);
        // AF_UNIX with a name in the file system.
        if family != 1 || bytes[2] == 0 {
            return PASS;
        }
        // The name may end with the length (SUN_LEN), so it is copied to have an end.
        let mut name = [0u8; 109];
        for (to, from) in name.iter_mut().zip(&bytes[2..]) {
            *to = *from;
        }
        let name = name.as_ptr();
        announce(frame, None, Begins::Nothing, |_| Target::Name(sys::AT_FDCWD, name))
    }
}

/// # Safety
/// The arguments are those of a call that makes a second name.
pub unsafe fn link(frame: &mut Frame, _da: u8, _a: u8, db: u8, b: u8) -> u64 {
    let (dir, new) = (directory(frame, db), path(frame, b));
    // SAFETY: as for us.
    unsafe {
        let Some(text) = program_string(new) else { return PASS };
        let is_lock = lock_like(text) == Some(LockName::Lock);
        frame.note[0] = is_lock as u64 * MAKES_LOCK;
        let begins = if is_lock { Begins::Nothing } else { Begins::Section };
        announce(frame, None, begins, |_| Target::Name(dir, new))
    }
}

/// # Safety
/// The arguments are those of a call that removes a name.
pub unsafe fn unlink(frame: &mut Frame, dir: u8, name: u8) -> u64 {
    let (dir, name) = (directory(frame, dir), path(frame, name));
    // SAFETY: as for us.
    unsafe {
        let Some(text) = program_string(name) else { return PASS };
        let kind = lock_like(text);
        note_lock_file(frame, dir, name, kind);
        let begins = if kind.is_some() { Begins::Nothing } else { Begins::Section };
        let action = announce(frame, None, begins, |_| Target::Name(dir, name));
        gone_unannounced(frame, action)
    }
}

/// # Safety
/// The arguments are those of a call that renames.
pub unsafe fn rename(frame: &mut Frame, da: u8, a: u8, db: u8, b: u8) -> u64 {
    let (from, old) = (directory(frame, da), path(frame, a));
    let (to, new) = (directory(frame, db), path(frame, b));
    crate::judged::forget();
    // SAFETY: as for us.
    unsafe {
        let Some(text) = program_string(old) else { return PASS };
        let kind = lock_like(text);
        note_lock_file(frame, from, old, kind);
        let target = |_: &Frame| Target::Names(from, old, to, new);
        let action = announce(frame, None, Begins::Section, target);
        gone_unannounced(frame, action)
    }
}

/// Remembers which file a lock-like name stands for before it goes.
unsafe fn note_lock_file(frame: &mut Frame, dir: i32, name: *const u8, kind: Option<LockName>) {
    frame.note[0] = 0;
    if kind != Some(LockName::Lock) || !LOCKS_SEEN.load(Relaxed) {
        return;
    }
    // SAFETY: the program's own path.
    if let Some(stat) = unsafe { sys::lstat_at(dir, name) } {
        frame.note = [REMOVES_LOCK, stat.dev, stat.ino, 0, 0];
    }
}

/// The call goes past unannounced (its place is not protected), so leave will not
/// come: the lock file is given up now, a moment early, which cuts nothing.
fn gone_unannounced(frame: &mut Frame, action: u64) -> u64 {
    if action == PASS
        && frame.note[0] == REMOVES_LOCK
        && let Some(region) = region()
    {
        give_up(frame, region);
    }
    action
}

fn give_up(frame: &Frame, region: &'static Region) {
    if own::shares_memory(region) {
        return;
    }
    Table(&region.header.locks).dotlock_gone(frame.note[1], frame.note[2]);
    region.header.lock_sequence.fetch_add(1, Relaxed);
    own::recount(region);
}

/// After unlink or rename.
pub fn unnamed(frame: &mut Frame, region: &'static Region) {
    if frame.note[0] == REMOVES_LOCK && frame.int() == 0 {
        give_up(frame, region);
    }
}

/// After link.
///
/// # Safety
/// The frame's arguments are the program's.
pub unsafe fn linked(frame: &mut Frame, region: &'static Region, dir: u8, name: u8) {
    if frame.note[0] != MAKES_LOCK || frame.int() != 0 {
        return;
    }
    // SAFETY: as for us.
    let stat = unsafe { sys::lstat_at(directory(frame, dir), path(frame, name)) };
    let place = directory(frame, dir);
    // SAFETY: the call has just succeeded with this path.
    let name = unsafe { program_string(path(frame, name)) };
    if let Some(stat) = stat
        && !name.is_some_and(path_for_life)
        && !is_locked(region, stat.dev, stat.ino)
        && own_lock_file(region, stat.dev, stat.ino)
    {
        note_dotlock_name(&region.header, stat.ino, place, name.unwrap_or(&[]));
    }
}

/// Whether a kernel lock of ours that guards writing lies on this file. A file that is
/// locked first and then linked under its `*.lock` name is no dotlock either: its maker
/// unlinks the name only while it has the kernel's lock, and leaves that to whoever gets
/// the lock next (Dovecot's `mailboxes.lock`). A dotlock of it would last for ever.
fn is_locked(region: &Region, dev: u64, ino: u64) -> bool {
    let same = |lock: &Lock| lock.kind != LockKind::Dot && (lock.dev, lock.ino) == (dev, ino);
    Table(&region.header.locks).locks().any(|lock| same(&lock) && lock.counts())
}

/// After an open that may have made a lock file.
pub fn opened(frame: &mut Frame, region: &'static Region) {
    if frame.note[0] != MAKES_LOCK {
        return;
    }
    let stream = matches!(super::rule(frame.inner), Some(Rule::OpenMode(..)));
    let fd = if stream { resolve::fileno(frame.result) } else { frame.int() };
    if fd >= 0
        && let Some(stat) = sys::fstat(fd)
        && !with_path_of(fd, path_for_life)
        && own_lock_file(region, stat.dev, stat.ino)
    {
        with_path_of(fd, |path| {
            note_dotlock(&region.header, stat.ino, path);
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
        own::step(region, |word| if word.dotlock_only() { word.with_locks(0) } else { word });
    }
}

/// False: it is not this process's own.
fn own_lock_file(region: &'static Region, dev: u64, ino: u64) -> bool {
    if own::shares_memory(region) {
        return false;
    }
    LOCKS_SEEN.store(true, Relaxed);
    let since = sys::now();
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
    own::recount(region);
    region.header.section_since.store(since, Relaxed);
    // Where the profile says `settled`, a lock file alone is no section: its owner
    // may sleep for seconds until another lock is free. It then lies in the
    // snapshot, and a restore deletes it.
    if HABITS.load(Relaxed) & SETTLED == 0 {
        own::step(region, |word| if word.locks() > 0 { word.dotlock_begun() } else { word });
    }
    true
}
