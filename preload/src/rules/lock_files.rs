//! The lock files that this process holds, as they stand in its region: entered, given up, gone.
//!
//! A lock file is its file: it lasts until that is gone, whoever removes it, and whoever made it
//! for this process (`lock_helpers`, the mailbox).

use super::roots;
use crate::linux::confined;
use crate::linux::files::{lstat_at, may_be_at};
use crate::linux::process::pid;
use crate::linux::time::now;
use crate::protected::lifetime_locks::is_path_for_life;
use crate::protected::operand::{self, Operand};
use crate::protected::paths::absolute;
use crate::text::{Buffer, Path};
use crate::this_process::lock_table::{file_lost, recount, released, shares_memory, update};
use crate::this_process::mailbox::{self, mailbox};
use crate::this_process::profile_flags::applies;
use crate::this_process::state::{FILES_LOST, LOCK_FILES_SEEN, LOCKS_SEEN, Region};
use core::sync::atomic::Ordering::Relaxed;
use gate::locks::{FILE_NAME_MAX, Lock, LockKind, OUTSIDE, ROOT_LEFT, Table, TableFull};
use gate::mailbox::{About, From};
use gate::profile::Key;
use linux_raw_sys::general::AT_FDCWD;

/// Device and inode.
pub type File = (u64, u64);

/// The lock file of this name that was made before the process confined itself.
#[inline(never)]
pub fn made_before(region: &Region, name: &[u8]) -> Option<File> {
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

/// It is gone from under its name, by this process's doing.
pub fn remove_dotlock(region: &'static Region, dev: u64, ino: u64) {
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

/// [`take`] of a name as it was given.
#[inline(never)]
pub fn take_at(region: &'static Region, file: File, dir: i32, name: &[u8], protected: bool) {
    let mut path = Path::new();
    absolute(dir, name, &mut path);
    take(region, file, if path.too_long { &[] } else { path.bytes() }, protected);
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
            let there = is_there(region, lock).unwrap_or(false);
            if !there {
                region.file_names().free(lock.dev, lock.ino);
            }
            there
        });
    }
    released(region);
}

/// Is the file of this lock still there, under the name that it was made with? None: that was not
/// kept. Where it cannot be asked, or must not be, it is there.
#[inline(never)]
fn is_there(region: &Region, lock: &Lock) -> Option<bool> {
    if confined::by_itself() || lock.flags & ROOT_LEFT != 0 {
        return Some(true);
    }
    let path = region.file_names().bytes(lock.dev, lock.ino)?;
    let mut name = Buffer::<{ FILE_NAME_MAX + 1 }>::new();
    path.for_each(|byte| name.push(&[byte]));
    // SAFETY: a `Buffer` always ends with a NUL.
    let found = unsafe { may_be_at(name.c(), (lock.dev, lock.ino)) };
    Some(found || roots::are_left(region))
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
        if is_there(region, &lock) == Some(false) {
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
pub fn take(region: &'static Region, file: File, path: &[u8], in_snapshot: bool) {
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
    if in_snapshot && !applies(Key::Settled) {
        update(region, |word| if word.locks() > 0 { word.dotlock_begun() } else { word });
    }
}

fn enter(region: &'static Region, (dev, ino): File, path: &[u8], in_snapshot: bool) {
    LOCKS_SEEN.store(true, Relaxed);
    LOCK_FILES_SEEN.store(true, Relaxed);
    roots::remember(region);
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
