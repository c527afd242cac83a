//! Whom a failed look concerns: a process that could not be looked at speaks against the snapshot
//! only if it may be one that writes here.
//!
//! | could not be looked at | concerns us |
//! |---|---|
//! | for want of descriptors or memory, or what was said cannot be read | always |
//! | for want of rights | what belongs to the service, or runs as a user of its members (not root) |
//! | it has no memory at this moment | the same |
//! | the look did not end | the same; root's always, if nothing of it is seen at a disk |

use super::coverage::Service;
use crate::census::kinds::ProcessKind;
use crate::census::list::Census;
use crate::linux::look::{Look, WhyNot};
use crate::linux::procfs;

/// Does it concern this service that `pid` could not be looked at?
pub fn is_concerned(census: &Census, service: &Service, pid: i32, why: WhyNot) -> bool {
    let stranger_may_be = match why {
        // ESRCH: it is there, and has no memory at this moment: it ends, or becomes something else.
        WhyNot::Errno(libc::EACCES | libc::EPERM | libc::ESRCH) => true,
        WhyNot::Hangs => procfs::hangs(pid) || procfs::uid(pid).is_some_and(|uid| uid != 0),
        WhyNot::Errno(_) | WhyNot::Malformed | WhyNot::Changing => false,
    };
    if !stranger_may_be {
        return true;
    }
    if census.seen.get(&pid).is_some_and(|seen| matches!(seen.kind, ProcessKind::Member(..))) {
        return true;
    }
    match procfs::look_at(pid) {
        Look::Seen(stat) => service.claims(pid, stat.ppid).is_some() || service.has_user_of(pid),
        Look::Gone(_) => false,
        Look::NotSeen(_) => true,
    }
}
