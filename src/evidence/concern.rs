//! Whom a failed look concerns: a process that could not be looked at speaks against the snapshot
//! only if it may be one that writes here. (What belongs to a service: `census::belonging`.)
//!
//! | could not be looked at | concerns us |
//! |---|---|
//! | for want of descriptors or memory, or what was said cannot be read | always |
//! | for want of rights, by a root without CAP_SYS_PTRACE (a container's) | always: root's page is believed by all |
//! | for want of rights else; it has no memory at this moment; it hangs at a disk | what is gated, claimed for the service, or of it and run by a user of its members (not root) |
//! | there is too much of it; its names are too long; it did not stand still; the look did not end | what belongs to the service, as all of root's does: who is neither can bring that about without end |

use super::coverage::Service;
use crate::census::kinds::ProcessKind;
use crate::census::list::Census;
use crate::linux::look::{Look, WhyNot};
use crate::linux::procfs;
use crate::outcome::cause::{Cause, Subject};
use crate::outcome::finding::Finding;
use crate::places::Places;

/// What it comes to that this of `pid` could not be looked at. Who is not concerned is named where
/// it was its own doing.
pub fn not_seen(
    census: &Census,
    service: &Service,
    pid: i32,
    subject: Subject,
    why: WhyNot,
) -> Option<Finding> {
    let cause = match is_concerned(census, service, pid, why) {
        true => Cause::NotSeen(subject, why),
        false if why == WhyNot::Hangs || is_its_own_doing(why) => {
            Cause::OutsideNotSeen(subject, why)
        }
        false => return None,
    };
    Some(Finding::of(cause, pid, procfs::stat(pid).map(|stat| stat.comm)))
}

/// Any process can bring that about, and as long as it likes.
fn is_its_own_doing(why: WhyNot) -> bool {
    matches!(why, WhyNot::TooMuch | WhyNot::Changing | WhyNot::Errno(libc::ENAMETOOLONG))
}

/// Does it concern this service that `pid` could not be looked at?
pub fn is_concerned(census: &Census, service: &Service, pid: i32, why: WhyNot) -> bool {
    let is_member =
        || census.seen.get(&pid).is_some_and(|seen| matches!(seen.kind, ProcessKind::Member(..)));
    match why {
        WhyNot::Errno(libc::EACCES | libc::EPERM)
            if nix::unistd::geteuid().is_root() && !procfs::may_look_into_others() =>
        {
            return true;
        }
        // ESRCH: it is there, and has no memory at this moment: it ends, or becomes something else.
        WhyNot::Errno(libc::EACCES | libc::EPERM | libc::ESRCH) => {}
        WhyNot::Hangs if procfs::hangs(pid) => {}
        why if why == WhyNot::Hangs || is_its_own_doing(why) => {
            return is_member() || service.may_be_of(census, pid);
        }
        _ => return true,
    }
    is_member()
        || match procfs::look_at(pid) {
            Look::Seen(stat) => {
                // In doubt it can come to what is protected.
                service.claims(census, pid, stat.ppid, &Places::default().reach()).is_some()
                    || service.has_user_of(census, pid) && service.may_be_of(census, pid)
            }
            Look::Gone(_) => false,
            Look::NotSeen(_) => true,
        }
}
