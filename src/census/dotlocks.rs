//! Dotlocks: a dotlock is its file, and lasts as long as that is there, whoever removes it.

use crate::census::files::path_of_lock;
use crate::census::member::Member;
use crate::linux::helper::owner::Helper;
use crate::outcome::finding::{Cause, Finding};
use gate::locks::{FOR_LIFE, INHERITED, Lock, LockKind, OUTSIDE};

/// Those that lie in a snapshot: their owners are alive and own them while it is taken. A restore
/// has to delete them, for no process else will.
pub fn of(member: &Member) -> Vec<Finding> {
    let Some(view) = member.view.as_ref() else { return Vec::new() };
    let held = view.claimed().locks();
    let program = || Some(member.stat.comm.clone());
    held.filter(|lock| lock.kind == LockKind::Dot && lock.flags & (INHERITED | OUTSIDE) == 0)
        .map(|lock| {
            Finding::of(Cause::Dotlock, member.pid, program()).at(path_of_lock(member, &lock))
        })
        .collect()
}

/// Where it lies.
pub fn path_of(member: &Member, lock: &Lock) -> String {
    path_of_lock(member, lock).to_string()
}

/// Is the file of this dotlock there? Where that cannot be told, it is.
pub fn is_there(member: &Member, lock: &Lock, helper: &mut Helper) -> bool {
    let path = member.view.as_ref().and_then(|v| v.claimed().dotlock_path(lock.dev, lock.ino));
    path.and_then(|path| helper.is_at(member.pid, path.bytes(), (lock.dev, lock.ino)))
        != Some(false)
}

/// The dotlocks that came with a fork, and that no other of these members owns.
pub fn left_to(member: &Member, others: &[Member]) -> Vec<Lock> {
    let own = |other: &Member, lock: &Lock| {
        let same = |own: Lock| {
            own.kind == LockKind::Dot
                && own.flags & INHERITED == 0
                && (own.dev, own.ino) == (lock.dev, lock.ino)
        };
        let view = other.view.as_ref().filter(|_| !other.gone);
        view.is_some_and(|view| view.claimed().locks().any(same))
    };
    let Some(view) = member.view.as_ref() else { return Vec::new() };
    let came = |lock: &Lock| {
        lock.kind == LockKind::Dot && lock.flags & (INHERITED | FOR_LIFE) == INHERITED
    };
    let held = view.claimed().locks().filter(came);
    held.filter(|lock| !others.iter().any(|other| own(other, lock))).collect()
}
