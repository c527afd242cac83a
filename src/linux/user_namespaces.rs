//! User namespaces, as their id maps tell: who is who inside and outside of one.

use super::procfs;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Shown for whoever a user namespace has no id for (/proc/sys/kernel/overflowuid).
pub const NOBODY: u32 = 65_534;

/// How the users of a user namespace are numbered outside of it, as we see it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IdMap(Vec<Range>);

/// So many users in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    inside: u32,
    outside: u32,
    count: u32,
}

impl IdMap {
    /// `uid_map`'s text; none: it is none.
    fn parse(text: &str) -> Option<IdMap> {
        let range = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().ok());
            let mut next = || numbers.next().flatten();
            Some(Range { inside: next()?, outside: next()?, count: next()? })
        };
        text.lines().map(range).collect::<Option<_>>().map(IdMap)
    }

    /// Who a user of ours is in it.
    pub fn inside(&self, outside: u32) -> Option<u32> {
        let at = |range: &Range| {
            let at = outside.checked_sub(range.outside)?;
            (at < range.count).then(|| range.inside + at)
        };
        self.0.iter().find_map(at)
    }

    /// Whom its root is for us.
    pub fn root(&self) -> Option<u32> {
        let first = self.0.iter().find(|range| range.inside == 0 && range.count > 0)?;
        // Who has no number here is shown as the highest one.
        (first.outside != u32::MAX).then_some(first.outside)
    }
}

/// The map of the user namespace that a process is in; none: it is gone, or may not be told.
pub fn id_map(pid: &str) -> Option<IdMap> {
    IdMap::parse(&fs::read_to_string(format!("/proc/{pid}/uid_map")).ok()?)
}

/// The maps of all user namespaces, other than our own, whose root is this user for us, as one; none: no
/// process that we see is in one. Who may make one may make another with fewer users: the first that is
/// found need not be the service's.
pub fn with_root(user: u32) -> Option<IdMap> {
    let mut known = HashSet::from([namespace("self")]);
    let mut all = IdMap::default();
    for pid in procfs::pids().unwrap_or_default() {
        let of = pid.to_string();
        let alive = || procfs::stat(pid).is_some_and(|stat| !stat.is_dead());
        // Each namespace once.
        if known.insert(namespace(&of))
            && alive()
            && let Some(map) = id_map(&of).filter(|map| map.root() == Some(user))
        {
            all.0.extend(map.0);
        }
    }
    (!all.0.is_empty()).then_some(all)
}

/// Do we live in one that leaves out users of the machine?
pub fn leaves_out_users() -> bool {
    id_map("self").is_none_or(|map| map.inside(u32::MAX - 1).is_none())
}

fn namespace(pid: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/user")).ok().map(|meta| meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_who() {
        let rootless = IdMap::parse("         0       1000          1\n 1 100000 65536\n").unwrap();
        assert_eq!(rootless.root(), Some(1000));
        let inside = |user| rootless.inside(user);
        assert_eq!((inside(1000), inside(100_107), inside(165_536)), (Some(0), Some(108), None));
        assert_eq!((inside(0), inside(1001)), (None, None));
        let first = IdMap::parse("0 0 4294967295\n").unwrap();
        assert_eq!((first.root(), first.inside(65_534)), (Some(0), Some(65_534)));
        assert_eq!(IdMap::parse("1 2\n"), None);
        assert_eq!(IdMap::default().root(), None);
        assert_eq!(IdMap::parse("0 4294967295 1").unwrap().root(), None);
    }

    #[test]
    fn no_process_is_in_a_namespace_of_nobodys() {
        assert!(id_map("self").is_some() && with_root(u32::MAX - 7).is_none());
    }
}
