//! Dotlocks that lie in a snapshot: their owners are alive and own them while it is
//! taken. A restore has to delete them, for nobody else will.

use crate::census::Member;
use crate::census::blockers::path_of_lock;
use crate::outcome::report::{Finding, FindingKind};
use gate::locks;

/// Those that this member owns now.
pub fn of(member: &Member) -> Vec<Finding> {
    let Some(view) = member.view.as_ref() else { return Vec::new() };
    let held = view.header().locks.iter().filter_map(|place| place.get());
    held.filter(|lock| lock.kind == locks::LockKind::Dot)
        .map(|lock| Finding {
            kind: FindingKind::Dotlock,
            pid: Some(member.pid),
            program: Some(member.stat.comm.clone()),
            path: Some(path_of_lock(member, &lock)),
            what: "its lock file lies in the snapshot; a restore deletes it".into(),
        })
        .collect()
}
