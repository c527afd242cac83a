//! Lock files: taken, given up, told apart from files that are only locked.
//!
//! A lock file is made by exclusive create or by link, under a name like
//! `x.lock`; a profile names others. Making and removing one is locking, never a change;
//! owning one keeps its owner in flight, because it also lies in the snapshot. One that lies
//! outside of what is protected is a lock like any other: the first change under it begins.

use super::arguments::{directory, path};
use super::lock_files::{File, forget_gone, made_before, remove_dotlock, take, take_at};
use crate::announce::{BRACKET, PASS};
use crate::frame::{Frame, Leave};
use crate::hash::spread;
use crate::linux::confined;
use crate::linux::files::{fstat, lstat_at};
use crate::program_memory::program_string;
use crate::protected::lifetime_locks::is_path_for_life;
use crate::protected::operand::{self, Operand};
use crate::protected::paths::{absolute, with_path_of};
use crate::protected::reached::with_path_of_name;
use crate::protected::remembered::HITCHING_POSTS;
use crate::resolve::libc::fileno;
use crate::rule_table::rule;
use crate::text::Path;
use crate::this_process::lock_table::{lost_file_gone, shares_memory};
use crate::this_process::settings::settings;
use crate::this_process::state::{FILES_LOST, LOCKS_NAMED, LOCKS_SEEN, POSTS_SEEN, Region, region};
use core::sync::atomic::Ordering::Relaxed;
use gate::calls::Rule;
use gate::locks::{NO_DEVICE, Table};
use gate::profile::{Key, LockName, lock_like};
use linux_raw_sys::general::{AT_FDCWD, S_IWGRP, S_IWOTH, S_IWUSR};

/// `note[0]`: this call may make a lock file.
pub const MAKES_LOCK: u64 = 1;
/// `note[0]`: this call has a chance to remove one.
const REMOVES_LOCK: u64 = 2;
/// `note[0]`: it may remove one of those that are not in the table.
const REMOVES_LOST: u64 = 4;
/// `note[0]`: this call may make what will be linked to one.
pub const MAKES_POST: u64 = 3;
/// `note[0]`: this call may make a lock file, where there was none, that nobody may write: as good as an exclusive
/// create, for whoever comes next is refused.
pub const MAKES_UNWRITABLE: u64 = 5;

/// Those of a file's mode that let anybody write it.
const ANYBODY_WRITES: u32 = S_IWUSR | S_IWGRP | S_IWOTH;

/// What this name looks like, or is by the profile.
pub fn lock_name(dir: i32, name: &[u8]) -> Option<LockName> {
    lock_like(name).or_else(|| is_named(dir, name).then_some(LockName::Lock))
}

/// Does the profile call anything a lock, so that a name must be read? (Whether the program's
/// memory can be read is a question to the kernel.)
pub fn are_named() -> bool {
    LOCKS_NAMED.load(Relaxed)
}

/// Does the profile say that it is a lock?
pub fn is_named(dir: i32, name: &[u8]) -> bool {
    are_named() && is_named_path(dir, name)
}

/// The buffer is on the stack here only.
#[inline(never)]
fn is_named_path(dir: i32, name: &[u8]) -> bool {
    let mut path = Path::new();
    absolute(dir, name, &mut path);
    // Of a path that is too long for the buffer: the name as it was given.
    let text = if path.too_long { name } else { path.bytes() };
    settings().given(Key::LockFile, text)
}

/// A call that may make a lock file or its hitching post comes back, announced or not: where
/// its place is not protected it went past, and the lock is one all the same.
pub fn comes_back(frame: &Frame, action: u64) -> u64 {
    if action == PASS && frame.note[0] != 0 && region().is_some() { BRACKET } else { action }
}

/// May any name stand for a lock that this process holds, or for what it has made to take one?
/// (If none, no name needs to be read before it goes.)
#[inline(always)]
pub fn may_name_lock() -> bool {
    let holds =
        |region: &Region| !Table(&region.header.locks).is_empty() || FILES_LOST.load(Relaxed) != 0;
    POSTS_SEEN.load(Relaxed) || LOCKS_SEEN.load(Relaxed) && region().is_some_and(holds)
}

/// Remembers which file a lock-like name stands for before it goes. True: it is a lock that
/// this process holds, or what it has made to take one.
///
/// # Safety
/// `name` is the program's path, a C string or null.
pub unsafe fn note_removed_lock(
    frame: &mut Frame,
    dir: i32,
    name: *const u8,
    kind: Option<LockName>,
) -> bool {
    frame.note[0] = 0;
    if kind.is_none() || !LOCKS_SEEN.load(Relaxed) && kind == Some(LockName::Lock) {
        return false;
    }
    // SAFETY: the path is the program's, by the caller's promise.
    let file = region().and_then(|region| unsafe { file_to_go(region, dir, name) });
    let (Some((dev, ino)), Some(region)) = (file, region()) else { return false };
    if kind == Some(LockName::HitchingPost) {
        return HITCHING_POSTS.has(dev, ino);
    }
    let held = Table(&region.header.locks).locks().any(|lock| (lock.dev, lock.ino) == (dev, ino));
    if held || FILES_LOST.load(Relaxed) != 0 {
        let removes = if held { REMOVES_LOCK } else { REMOVES_LOST };
        frame.note = [removes, dev, ino, 0, 0];
    }
    held
}

/// In place of device and inode, in a process that has confined itself: the name as it was given.
fn by_name(name: &[u8]) -> File {
    let ino = name.iter().fold(0, |sum: u64, byte| spread(sum.rotate_left(5) ^ *byte as u64));
    (NO_DEVICE, ino | 1)
}

/// Device and inode of what a name stands for.
///
/// # Safety
/// `name` is the program's path, a C string or null.
unsafe fn file_at(dir: i32, name: *const u8) -> Option<File> {
    // SAFETY: the caller's promise.
    unsafe {
        if confined::by_itself() {
            return program_string(name).map(by_name);
        }
        lstat_at(dir, name).map(|stat| (stat.dev, stat.ino))
    }
}

/// The same, of a name that is about to go.
///
/// # Safety
/// As [`file_at`].
unsafe fn file_to_go(region: &Region, dir: i32, name: *const u8) -> Option<File> {
    if confined::by_itself()
        // SAFETY: the caller's promise.
        && let Some(text) = unsafe { program_string(name) }
        && let Some(known) = made_before(region, text)
    {
        return Some(known);
    }
    // SAFETY: the caller's promise.
    unsafe { file_at(dir, name) }
}

/// The call goes past unannounced (its place is not protected), so leave will not
/// come: the lock file is given up now, a moment early, which cuts nothing.
pub fn gone_unannounced(frame: &mut Frame, action: u64) -> u64 {
    if action == PASS
        && let Some(region) = region()
    {
        match frame.note[0] {
            REMOVES_LOCK => remove_dotlock(region, frame.note[1], frame.note[2]),
            // Whether it goes must be seen.
            REMOVES_LOST => return BRACKET,
            _ => {}
        }
    }
    action
}

/// After unlink, rmdir or rename.
pub fn unnamed(frame: &mut Frame, region: &'static Region) {
    if frame.int() != 0 {
        return;
    }
    match frame.note[0] {
        REMOVES_LOCK => remove_dotlock(region, frame.note[1], frame.note[2]),
        REMOVES_LOST if !shares_memory(region) => lost_file_gone(region),
        _ => {}
    }
}

/// After link, mkdir, symlink, or a rename to a name that the profile calls a lock.
///
/// # Safety
/// The frame's arguments are the program's.
pub unsafe fn linked(frame: &mut Frame, region: &'static Region, dir: u8, name: u8) {
    if frame.note[0] == MAKES_LOCK && frame.int() == 0 {
        // SAFETY: the caller's promise.
        unsafe { named(frame, region, dir, name) };
    }
}

/// The name that this argument has is a lock now.
///
/// # Safety
/// The frame's arguments are the program's, of a call that has just succeeded.
pub unsafe fn named(frame: &mut Frame, region: &'static Region, dir: u8, name: u8) {
    let (place, at) = (directory(frame, dir), path(frame, name));
    // SAFETY: the call has just succeeded with this path, and has not returned to the program.
    let (file, name, protected) = unsafe {
        let protected =
            frame.leave != Leave::Nothing && operand::protected(&Operand::Entry(place, at));
        (file_at(place, at), program_string(at), protected)
    };
    if let (Some((dev, ino)), Some(name)) = (file, name)
        // SAFETY: as above.
        && !unsafe { with_path_of_name(place, at, is_path_for_life) }
        // A file that is locked first and then linked under its `*.lock` name is no dotlock: its
        // maker unlinks the name only while it has the kernel's lock, and leaves that to the
        // process that gets the lock next (Dovecot's `mailboxes.lock`).
        && !Table(&region.header.locks).is_kernel_locked(dev, ino)
    {
        forget_gone(region);
        take_at(region, (dev, ino), place, name, protected);
    }
}

/// After an open that may have made a lock file, or its hitching post.
pub fn opened(frame: &mut Frame, region: &'static Region) {
    if frame.note[0] == 0 {
        return;
    }
    let (stream, name) = match rule(frame.inner) {
        Some(Rule::OpenMode(name, _)) => (true, name),
        Some(Rule::Open(_, name, _)) => (false, name),
        _ => (false, 1),
    };
    let fd = if stream { fileno(frame.result) } else { frame.int() };
    let file = match () {
        () if fd < 0 => None,
        () if confined::by_itself() && frame.note[0] == MAKES_UNWRITABLE => None,
        // SAFETY: the program's path, of a call that has just succeeded with it.
        () if confined::by_itself() => unsafe { file_at(AT_FDCWD, path(frame, name)) },
        () if frame.note[0] == MAKES_UNWRITABLE => fstat(fd)
            .filter(|stat| stat.mode & ANYBODY_WRITES == 0)
            .map(|stat| (stat.dev, stat.ino)),
        () => fstat(fd).map(|stat| (stat.dev, stat.ino)),
    };
    let Some(file) = file else { return };
    if frame.note[0] == MAKES_POST {
        HITCHING_POSTS.put(file.0, file.1);
        POSTS_SEEN.store(true, Relaxed);
    } else if !with_path_of(fd, false, is_path_for_life) {
        let protected = frame.leave != Leave::Nothing && operand::descriptor(fd);
        forget_gone(region);
        let known = with_path_of(fd, false, |path| {
            take(region, file, path, protected);
            true
        });
        if !known {
            take(region, file, &[], protected);
        }
    }
}
