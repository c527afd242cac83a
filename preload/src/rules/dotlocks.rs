//! Lock files: taken, given up, told apart from files that are only locked.
//!
//! A lock file is made by exclusive create or by link, under a name like
//! `x.lock`; a profile names others. Making and removing one is locking, never a change;
//! owning one keeps its owner in flight, because it also lies in the snapshot. One that lies
//! outside of what is protected is a lock like any other: the first change under it begins.
//!
//! It is its file: it lasts until that is gone, whoever removes it, and whoever made it for
//! this process (`lock_helpers`, the mailbox).

use super::arguments::{directory, path};
use crate::announce::{BRACKET, PASS};
use crate::frame::{Frame, Leave};
use crate::hash::spread;
use crate::linux::confined;
use crate::linux::files::{fstat, lstat_at};
use crate::linux::process::pid;
use crate::linux::time::now;
use crate::program_memory::program_string;
use crate::protected::lifetime_locks::is_path_for_life;
use crate::protected::operand::{self, Operand};
use crate::protected::paths::{absolute, with_path_of};
use crate::protected::reached::with_path_of_name;
use crate::protected::remembered::HITCHING_POSTS;
use crate::resolve::libc::fileno;
use crate::rule_table::rule;
use crate::text::{Buffer, Path};
use crate::this_process::lock_table::{
    file_lost, lost_file_gone, recount, released, shares_memory, update,
};
use crate::this_process::mailbox::{self, mailbox};
use crate::this_process::profile_flags::{SETTLED, applies};
use crate::this_process::settings::settings;
use crate::this_process::state::{
    FILES_LOST, LOCK_FILES_SEEN, LOCKS_NAMED, LOCKS_SEEN, POSTS_SEEN, Region, region,
};
use core::sync::atomic::Ordering::Relaxed;
use gate::calls::Rule;
use gate::locks::{FILE_NAME_MAX, Lock, LockKind, NO_DEVICE, OUTSIDE, Table, TableFull};
use gate::mailbox::{About, From};
use gate::profile::{Key, LockName, lock_like};
use linux_raw_sys::general::AT_FDCWD;

/// Device and inode.
type File = (u64, u64);

/// `note[0]`: this call may make a lock file.
pub const MAKES_LOCK: u64 = 1;
/// `note[0]`: this call has a chance to remove one.
const REMOVES_LOCK: u64 = 2;
/// `note[0]`: it may remove one of those that are not in the table.
const REMOVES_LOST: u64 = 4;
/// `note[0]`: this call may make what will be linked to one.
pub const MAKES_POST: u64 = 3;

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

/// The lock file of this name that was made before the process confined itself.
#[inline(never)]
fn made_before(region: &Region, name: &[u8]) -> Option<File> {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let is_it = |lock: &Lock| {
        region.file_names().bytes(lock.dev, lock.ino).is_some_and(|path| {
            // `None`: it is the whole path.
            let before = path.len().checked_sub(name.len()).map(|at| at.checked_sub(1));
            before.is_some_and(|before| {
                let slash = before.is_none_or(|at| path.clone().nth(at) == Some(b'/'));
                slash && path.skip(before.map_or(0, |at| at + 1)).eq(name.iter().copied())
            })
        })
    };
    let known = Table(&region.header.locks).lock_files().find(is_it);
    known.map(|lock| (lock.dev, lock.ino))
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

fn remove_dotlock(region: &'static Region, dev: u64, ino: u64) {
    if shares_memory(region) {
        return;
    }
    if Table(&region.header.locks).dotlock_gone(dev, ino) {
        region.file_names().free(dev, ino);
        let none_left = Table(&region.header.locks).lock_files().next().is_none();
        if let Some(mailbox) = mailbox() {
            let own = region.header.pid.load(Relaxed);
            mailbox.forget(own, dev, ino);
            if none_left && FILES_LOST.load(Relaxed) == 0 {
                mailbox.take_lost(own);
            }
        }
    }
    released(region);
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

#[inline(never)]
fn take_at(region: &'static Region, file: File, dir: i32, name: &[u8], protected: bool) {
    let mut path = Path::new();
    absolute(dir, name, &mut path);
    take(region, file, if path.too_long { &[] } else { path.bytes() }, protected);
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
        // SAFETY: the program's path, of a call that has just succeeded with it.
        () if confined::by_itself() => unsafe { file_at(AT_FDCWD, path(frame, name)) },
        () => fstat(fd).map(|stat| (stat.dev, stat.ino)),
    };
    let Some(file) = file else { return };
    if frame.note[0] == MAKES_POST {
        HITCHING_POSTS.put(file.0, file.1);
        POSTS_SEEN.store(true, Relaxed);
    } else if frame.note[0] == MAKES_LOCK && !with_path_of(fd, false, is_path_for_life) {
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

/// A `*.lock` file that its maker then locks by fcntl or flock: as long as that lasts, the
/// kernel's lock says everything.
pub fn locked_by_kernel(region: &'static Region, dev: u64, ino: u64) {
    if LOCK_FILES_SEEN.load(Relaxed) && Table(&region.header.locks).locked_by_kernel(dev, ino) {
        update(region, |word| if word.dotlock_only() { word.with_locks(0) } else { word });
    }
}

/// A kernel lock is gone: if its file was made as a dotlock and is still there, it is that again.
pub fn let_go(region: &'static Region) {
    if LOCK_FILES_SEEN.load(Relaxed) {
        Table(&region.header.locks).kernel_let_go(|lock| {
            let there = is_there(region, lock);
            if !there {
                region.file_names().free(lock.dev, lock.ino);
            }
            there
        });
    }
    released(region);
}

/// Is the file of this lock still there, under the name that it was made with? Where that was
/// not kept, it is not; where it must not be asked, it is.
fn is_there(region: &Region, lock: &Lock) -> bool {
    where_it_is(region, lock).unwrap_or(confined::by_itself())
}

/// None: not known.
#[inline(never)]
fn where_it_is(region: &Region, lock: &Lock) -> Option<bool> {
    if confined::by_itself() {
        return None;
    }
    let path = region.file_names().bytes(lock.dev, lock.ino)?;
    let mut name = Buffer::<{ FILE_NAME_MAX + 1 }>::new();
    path.for_each(|byte| name.push(&[byte]));
    // SAFETY: a `Buffer` always ends with a NUL.
    let stat = unsafe { lstat_at(AT_FDCWD, name.c()) };
    Some(stat.is_some_and(|stat| (stat.dev, stat.ino) == (lock.dev, lock.ino)))
}

/// Lock files that others have removed are locks no more.
#[inline(never)]
pub fn forget_gone(region: &'static Region) {
    if !LOCK_FILES_SEEN.load(Relaxed) || confined::by_itself() || shares_memory(region) {
        return;
    }
    let table = Table(&region.header.locks);
    let mut some = false;
    for lock in table.lock_files() {
        if where_it_is(region, &lock) == Some(false) {
            table.dotlock_gone(lock.dev, lock.ino);
            region.file_names().free(lock.dev, lock.ino);
            some = true;
        }
    }
    if some {
        released(region);
    }
}

/// Enters a lock file that this process has made just now. Its path is empty where that is not
/// known, or is too long.
fn take(region: &'static Region, file: File, path: &[u8], in_snapshot: bool) {
    let shared = shares_memory(region);
    if mailbox::is_made() && (shared || region.header.parent_nonce.load(Relaxed) != 0) {
        // For the one that waits for this process, if it leaves the file behind.
        let own = if shared { pid() } else { region.header.pid.load(Relaxed) };
        let draft = (!path.is_empty()).then(|| mailbox::draft(own)).flatten();
        let left = draft.and_then(|mut draft| {
            draft.push(path);
            draft.send(Some(From::Child(own)), 0, About::File(file.0, file.1))
        });
        if left.is_none() {
            mailbox::mark_lost(own);
        }
    }
    if shared {
        return;
    }
    enter(region, file, path, in_snapshot);
    // Where the profile says `settled`, a lock file alone is no section: its owner
    // may sleep for seconds until another lock is free. It then lies in the
    // snapshot, and a restore deletes it.
    if in_snapshot && !applies(SETTLED) {
        update(region, |word| if word.locks() > 0 { word.dotlock_begun() } else { word });
    }
}

fn enter(region: &'static Region, (dev, ino): File, path: &[u8], in_snapshot: bool) {
    LOCKS_SEEN.store(true, Relaxed);
    LOCK_FILES_SEEN.store(true, Relaxed);
    let since = now();
    region.file_names().put(dev, ino, path.iter().copied());
    let (kind, flags) = (LockKind::Dot, if in_snapshot { 0 } else { OUTSIDE });
    let lock = Lock { kind, flags, fd: -1, group: 0, dev, ino, start: 0, end: u64::MAX, since };
    let TableFull(lost) = Table(&region.header.locks).dotlock(lock);
    if lost {
        file_lost(region);
    }
    recount(region);
    region.header.section_since.store(since, Relaxed);
}

/// Enters a lock file that a child has made for this process. Nothing was changed under it by
/// this one: the first change begins the section, and waits at a closed barrier.
pub fn enter_for_child(region: &'static Region, file: File, path: &Path) {
    let known = Table(&region.header.locks).lock_files().any(|lock| (lock.dev, lock.ino) == file);
    if !known && !is_path_for_life(path.bytes()) {
        // SAFETY: a `Buffer` always ends with a NUL.
        let protected = unsafe { operand::protected(&Operand::Entry(AT_FDCWD, path.c())) };
        enter(region, file, path.bytes(), protected);
    }
}

/// If there is a file of this name that was made since then, it is a lock that was taken for this
/// process. `named`: the profile says that the name is a lock, be it a directory or a link.
pub fn made_since(region: &'static Region, path: &Path, since: (i64, i64), named: bool) {
    // SAFETY: a `Buffer` always ends with a NUL.
    let stat = unsafe { lstat_at(AT_FDCWD, path.c()) };
    let Some(stat) = stat.filter(|stat| named || stat.is_file()) else { return };
    if (stat.changed, stat.changed_ns) >= since {
        enter_for_child(region, (stat.dev, stat.ino), path);
    }
}

/// May a child that is about to end make or remove a lock file?
#[inline(always)]
pub fn children_may_change() -> bool {
    mailbox::is_made() || LOCK_FILES_SEEN.load(Relaxed)
}

/// May a child that has ended have made or removed a lock file?
#[inline(always)]
pub fn children_may_have_changed() -> bool {
    mailbox::is_used() || LOCK_FILES_SEEN.load(Relaxed)
}
