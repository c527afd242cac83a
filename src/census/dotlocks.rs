//! Dotlocks: a dotlock is its file, and lasts as long as that is there, whoever removes it.

use crate::census::files::path_of_lock;
use crate::census::member::Member;
use crate::linux::directory::FileId;
use crate::linux::helper::owner::Helper;
use crate::linux::helper::protocol::LeftFile;
use crate::outcome::cause::Cause;
use crate::outcome::finding::Finding;
use gate::claimed::ClaimedRegion;
use gate::locks::{FOR_LIFE, INHERITED, Lock, LockKind, NO_DEVICE, OUTSIDE, ROOT_LEFT};

/// Those that lie in a snapshot: their owners are alive and own them while it is taken. A restore
/// has to delete them, for no process else will.
pub fn of(member: &Member) -> Vec<Finding> {
    let program = || Some(member.stat.comm.clone());
    let found = |lock: Lock| {
        Finding::of(Cause::Dotlock, member.pid, program()).at(path_of_lock(member, &lock))
    };
    owned_by(member).into_iter().map(found).collect()
}

/// By what they are known.
pub fn files_of(member: &Member) -> Vec<FileId> {
    owned_by(member).into_iter().map(|lock| (lock.dev, lock.ino)).collect()
}

fn owned_by(member: &Member) -> Vec<Lock> {
    let Some(view) = member.view.as_ref() else { return Vec::new() };
    let is_own =
        |lock: &Lock| lock.kind == LockKind::Dot && lock.flags & (INHERITED | OUTSIDE) == 0;
    view.claimed().locks().filter(is_own).collect()
}

/// Is this file there, as the process sees it, or as we do (it may have left its root by a call that
/// the library does not see)? Where that cannot be told, it is.
pub fn is_there(pid: i32, file: &LeftFile, helper: &mut Helper) -> bool {
    let is_told = !file.path.is_empty() && file.dev != NO_DEVICE;
    let id = (file.dev, file.ino);
    let us = std::process::id() as i32;
    !is_told
        || helper.is_at(pid, &file.path, id) != Some(false)
        || helper.is_at(us, &file.path, id) == Some(true)
}

/// With the name that was kept of it, if that leads to it still.
pub fn file_of(view: ClaimedRegion<'_>, lock: &Lock) -> LeftFile {
    let path = view.dotlock_path(lock.dev, lock.ino).filter(|_| lock.flags & ROOT_LEFT == 0);
    let path = path.map_or_else(Vec::new, |path| path.bytes().to_vec());
    LeftFile { dev: lock.dev, ino: lock.ino, path }
}

/// Does this member say that it owns this lock file itself?
pub fn owns(member: &Member, file: &LeftFile) -> bool {
    let own = |lock: Lock| {
        lock.kind == LockKind::Dot
            && lock.flags & INHERITED == 0
            && (lock.dev, lock.ino) == (file.dev, file.ino)
    };
    let view = member.view.as_ref().filter(|_| !member.gone);
    view.is_some_and(|view| view.claimed().locks().any(own))
}

/// The lock files that came to this member with its fork.
pub fn left_to(member: &Member) -> Vec<LeftFile> {
    let Some(view) = member.view.as_ref().map(|view| view.claimed()) else { return Vec::new() };
    let came = |lock: &Lock| {
        lock.kind == LockKind::Dot && lock.flags & (INHERITED | FOR_LIFE) == INHERITED
    };
    view.locks().filter(came).map(|lock| file_of(view, &lock)).collect()
}
