//! Who belongs to the service, is not gated, and holds a write lock when all others
//! are drained: what it changes under that lock may be half-done.
//!
//! Seen as a false CONSISTENT (tests/command/faults): a process that was detached, its control page
//! having been replaced under it, became another program under a lock. Between exec
//! and our constructor nobody knows it, and when the constructor has run, the drain
//! is over.

use super::coverage::{self, Service};
use crate::census::region::MappedRegion;
use crate::census::{Census, ProcessKind as Seen};
use crate::linux::helper::{Helper, RegionFound};
use crate::linux::procfs;
use crate::linux::sys;
use crate::outcome::report::{Finding, FindingKind};
use std::collections::HashSet;

/// Asks the kernel for all locks at once.
pub fn unlisted(census: &Census, helper: &mut Helper, service: &Service) -> Vec<Finding> {
    let text = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let suspects = writers(&text).into_iter();
    let mut found: Vec<Finding> =
        suspects.filter_map(|(pid, file)| judge(census, service, pid, file)).collect();
    found.retain(|finding| !finding.pid.is_some_and(|pid| is_gated_at_rest(helper, pid)));
    found
}

/// How long a process that has not shown yet what it is may take to do so.
const SHOWS_WITHIN_NS: u64 = 100_000_000;

/// Is it gated by now, and has begun nothing? A service that was started behind the
/// barrier may lock what it likes, and waits at its first change. One that is only
/// starting (between exec and our constructor, or before its region) is asked again.
fn is_gated_at_rest(helper: &mut Helper, pid: i32) -> bool {
    let until = sys::now_ns() + SHOWS_WITHIN_NS;
    loop {
        let mut looked = helper.look(&[pid]);
        let Some((looked, fd)) = looked.pop() else { return false };
        let view =
            fd.and_then(|fd| MappedRegion::new(&fd, looked.region == RegionFound::Copied).ok());
        if let Some(view) = view {
            let process = view.header().process.load(std::sync::atomic::Ordering::Acquire);
            return looked.page.is_some() && !gate::word::ProcessWord(process).section_open();
        }
        if looked.page.is_some() && looked.region == RegionFound::Unborn {
            return true;
        }
        let gone = procfs::stat(pid).is_none_or(|stat| matches!(stat.state, 'Z' | 'X'));
        let shows = looked.decided && looked.page.is_none();
        if gone || shows || sys::now_ns() >= until {
            return false;
        }
        sys::sleep_ns(1_000_000);
    }
}

fn judge(census: &Census, service: &Service, pid: i32, file: &str) -> Option<Finding> {
    let stat = procfs::stat(pid)?;
    let known = |seen: &crate::census::Seen| {
        seen.start == stat.start && matches!(seen.kind, Seen::Member(..) | Seen::Sharing)
    };
    if stat.kernel
        || matches!(stat.state, 'Z' | 'X')
        || census.elsewhere.contains(&pid)
        || census.seen.get(&pid).is_some_and(known)
        || service.claims(pid, stat.ppid).is_none()
        || coverage::is_kin(pid, census)
    {
        return None;
    }
    Some(Finding {
        kind: FindingKind::UngatedWriter,
        pid: Some(pid),
        program: Some(stat.comm),
        path: None,
        what: format!(
            "belongs to the service, is not gated, and holds a write lock (file {file}): what it \
             changes under it may be half-done"
        ),
    })
}

/// Process and file of every write lock in `/proc/locks`; each process once.
fn writers(text: &str) -> Vec<(i32, &str)> {
    let mut seen = HashSet::new();
    let holder = |line: &'_ str| -> Option<(i32, usize)> {
        let mut fields = line.split_ascii_whitespace();
        // `1: POSIX ADVISORY WRITE 1234 08:02:5678 0 EOF`; with `->` it only waits.
        let _number = fields.next()?;
        let kind = fields.next()?;
        let _advisory = fields.next()?;
        let write = fields.next()? == "WRITE";
        let pid = fields.next()?.parse().ok()?;
        let file = fields.next()?;
        let at = file.as_ptr() as usize - line.as_ptr() as usize;
        (write && kind != "->" && pid > 0).then_some((pid, at))
    };
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some((pid, at)) = holder(line)
            && seen.insert(pid)
        {
            let rest = &line[at..];
            found.push((pid, rest.split(' ').next().unwrap_or(rest)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::writers;

    #[test]
    fn who_waits_or_reads_holds_no_write_lock() {
        let text = "1: POSIX  ADVISORY  WRITE 1234 08:02:56 0 EOF\n\
                    1: -> POSIX  ADVISORY  WRITE 7 08:02:56 0 EOF\n\
                    2: FLOCK  ADVISORY  WRITE 9 00:1b:3 0 EOF\n\
                    3: POSIX  ADVISORY  READ  11 08:02:57 0 EOF\n\
                    4: OFDLCK ADVISORY  WRITE -1 08:02:58 0 EOF\n\
                    5: POSIX  ADVISORY  WRITE 1234 08:02:59 0 EOF\n\
                    6: LEASE  ACTIVE    READ 12 08:02:60 0 EOF\n";
        assert_eq!(writers(text), [(1234, "08:02:56"), (9, "00:1b:3")]);
    }
}
