//! Processes that belong to the service, are not gated, and hold a write lock when all others
//! are drained: what they change under that lock may be half-done.
//!
//! Seen as a false CONSISTENT (tests/command/faults): a process that was detached, its control page
//! having been replaced under it, became another program under a lock. Between exec
//! and our constructor nothing shows it, and when the constructor has run, the drain
//! is over.

use super::ancestry::is_kin;
use super::concern;
use super::coverage::Service;
use crate::census::kinds::{ProcessKind, Seen};
use crate::census::list::Census;
use crate::census::region::MappedRegion;
use crate::linux::clock;
use crate::linux::helper::owner::Helper;
use crate::linux::helper::protocol::RegionFound;
use crate::linux::look::Look;
use crate::linux::procfs::{self, locks};
use crate::outcome::cause::{Cause, Subject};
use crate::outcome::finding::Finding;
use crate::places::Places;
use crate::places::reach::Reach;
use gate::word::ProcessWord;
use std::sync::atomic::Ordering::Acquire;

/// Asks the kernel for all locks at once.
pub fn unlisted(
    census: &Census,
    helper: &mut Helper,
    service: &Service,
    places: &Places,
) -> Vec<Finding> {
    let reach = places.reach();
    let suspects = match locks::write_lock_owners() {
        Look::Seen(owners) => owners,
        Look::Gone(_) => Vec::new(),
        Look::NotSeen(why) => return vec![Cause::NotSeen(Subject::AllLocks, why).into()],
    };
    let mut found: Vec<Finding> = suspects
        .into_iter()
        .filter_map(|(pid, file)| judge(census, service, &reach, pid, file))
        .collect();
    found.retain(|finding| !finding.pid.is_some_and(|pid| is_gated_and_idle(helper, pid)));
    found
}

/// How long a process that has not shown yet what it is may take to do so.
const SHOWS_WITHIN_NS: u64 = 100_000_000;
/// Between two looks at it.
const LOOK_AGAIN_NS: u64 = 1_000_000;

/// Is it gated by now, and has begun nothing? A service that was started behind the
/// barrier may lock what it likes, and waits at its first change. One that is only
/// starting (between exec and our constructor, or before its region) is asked again.
fn is_gated_and_idle(helper: &mut Helper, pid: i32) -> bool {
    let until = clock::now_ns() + SHOWS_WITHIN_NS;
    loop {
        let mut looked = helper.look(&[pid]);
        let Some((looked, fd)) = looked.pop() else { return false };
        let view =
            fd.and_then(|fd| MappedRegion::new(&fd, looked.region == RegionFound::Copied).ok());
        if let Some(view) = view {
            let process = ProcessWord(view.header().process.load(Acquire));
            return looked.page.is_some() && !process.section_open();
        }
        if looked.page.is_some() && looked.region == RegionFound::Inherited {
            return true;
        }
        let gone = procfs::stat(pid).is_none_or(|stat| stat.is_dead());
        let shows = looked.decided && looked.page.is_none();
        if gone || shows || clock::now_ns() >= until {
            return false;
        }
        clock::sleep_ns(LOOK_AGAIN_NS);
    }
}

fn judge(
    census: &Census,
    service: &Service,
    reach: &Reach<'_>,
    pid: i32,
    file: String,
) -> Option<Finding> {
    let stat = match procfs::look_at(pid) {
        Look::Seen(stat) => stat,
        Look::Gone(_) => return None,
        Look::NotSeen(why) => {
            return concern::not_seen(census, service, pid, Subject::Process, why);
        }
    };
    let known = |seen: &Seen| {
        seen.start == stat.start
            && matches!(seen.kind, ProcessKind::Member(..) | ProcessKind::Sharing)
    };
    if stat.kernel
        || stat.is_dead()
        || census.elsewhere.contains(&pid)
        || census.seen.get(&pid).is_some_and(known)
        || service.claims(census, pid, stat.ppid, reach).is_none()
        || is_kin(pid, census)
    {
        return None;
    }
    Some(Finding::of(Cause::LockedUngated(file), pid, Some(stat.comm)))
}
