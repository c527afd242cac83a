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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::samples::{Stranger, census, census_of_others, me, see};
    use crate::linux::procfs::sleeper::Sleeper;

    const OURS: [WhyNot; 4] = [
        WhyNot::Errno(libc::EMFILE),
        WhyNot::Errno(libc::ENOMEM),
        WhyNot::Malformed,
        WhyNot::Hidden,
    ];
    const RIGHTS: [WhyNot; 3] =
        [WhyNot::Errno(libc::EACCES), WhyNot::Errno(libc::EPERM), WhyNot::Errno(libc::ESRCH)];
    const ITS_OWN: [WhyNot; 4] =
        [WhyNot::TooMuch, WhyNot::Changing, WhyNot::Errno(libc::ENAMETOOLONG), WhyNot::Hangs];

    /// Those of [`RIGHTS`] that are not always our own want: root without its rights wants them itself.
    fn rights() -> Vec<WhyNot> {
        let wants = nix::unistd::geteuid().is_root() && !procfs::may_look_into_others();
        RIGHTS.into_iter().filter(|why| !wants || *why == WhyNot::Errno(libc::ESRCH)).collect()
    }

    fn comes_to(census: &Census, service: &Service, pid: i32, why: WhyNot) -> Option<Cause> {
        let found = not_seen(census, service, pid, Subject::Descriptors, why)?;
        assert_eq!(found.pid, Some(pid));
        found.known().cloned()
    }

    #[test]
    fn a_strangers_doing_is_told_and_our_own_want_always_counts() {
        let stranger = Stranger::new();
        let (census, service) = (census_of_others(), Service::default());
        let comes_to = |why| comes_to(&census, &service, stranger.pid(), why);
        for why in OURS {
            assert_eq!(comes_to(why), Some(Cause::NotSeen(Subject::Descriptors, why)));
        }
        for why in ITS_OWN {
            assert_eq!(comes_to(why), Some(Cause::OutsideNotSeen(Subject::Descriptors, why)));
        }
        for why in rights() {
            assert_eq!(comes_to(why), None, "{why:?}");
        }
    }

    #[test]
    fn what_is_gated_always_counts() {
        let stranger = Stranger::new();
        let mut census = census_of_others();
        see(&mut census, stranger.pid(), ProcessKind::Member(0, 0));
        for why in [&OURS[..], &RIGHTS[..], &ITS_OWN[..]].concat() {
            let found = comes_to(&census, &Service::default(), stranger.pid(), why);
            assert_eq!(found, Some(Cause::NotSeen(Subject::Descriptors, why)));
        }
    }

    #[test]
    fn what_belongs_counts_by_its_own_doing_and_for_want_of_rights_only_if_it_is_claimed() {
        let child = Sleeper::new();
        let census = census();
        let (nobodys, parents) = (Service::default(), Service::with_members([me()]));
        for why in ITS_OWN {
            let found = comes_to(&census, &nobodys, child.pid(), why);
            assert_eq!(found, Some(Cause::NotSeen(Subject::Descriptors, why)));
        }
        for why in rights() {
            assert_eq!(comes_to(&census, &nobodys, child.pid(), why), None, "{why:?}");
            let found = comes_to(&census, &parents, child.pid(), why);
            assert_eq!(found, Some(Cause::NotSeen(Subject::Descriptors, why)));
        }
        let pid = child.pid();
        child.end();
        for why in rights() {
            assert_eq!(comes_to(&census, &parents, pid, why), None, "it is gone");
        }
    }
}
