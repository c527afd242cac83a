//! Dotlocks that lie in a snapshot: their owners are alive and own them while it is
//! taken. A restore has to delete them, for no process else will.

use crate::census::files::path_of_lock;
use crate::census::member::Member;
use crate::outcome::finding::{Cause, Finding};
use gate::locks::LockKind;

/// Those that this member owns now.
pub fn of(member: &Member) -> Vec<Finding> {
    let Some(view) = member.view.as_ref() else { return Vec::new() };
    let held = view.claimed().locks();
    let program = || Some(member.stat.comm.clone());
    held.filter(|lock| lock.kind == LockKind::Dot)
        .map(|lock| {
            Finding::of(Cause::Dotlock, member.pid, program()).at(path_of_lock(member, &lock))
        })
        .collect()
}
