//! The pages that a look is about, and how anonymous shared memory shows.

use super::protocol::PageId;
use crate::linux::mapping::Mapping;
use crate::linux::procfs::maps::{self, DELETED, Line};
use std::path::Path;

/// What anonymous shared memory is called, in maps and by the links of map_files.
const ANONYMOUS_SHARED: &str = "/dev/zero";
/// Enough to have a mapping.
const SOME_BYTES: usize = 4096;

/// The pages that a look is about.
pub struct Pages {
    /// The gates' that are looked for.
    pub own: Vec<PageId>,
    /// Those of all other gates.
    pub others: Vec<PageId>,
    /// The device of anonymous shared memory. A file elsewhere may have any name: it can be cut off
    /// under one that maps it.
    anonymous: Option<String>,
}

impl Pages {
    /// These pages. The device is read off a mapping of our own.
    pub fn new(own: Vec<PageId>, others: Vec<PageId>) -> Pages {
        let sample = Mapping::anonymous(SOME_BYTES).ok();
        let anonymous = sample.and_then(|map| own_page(map.address())).map(|id| id.dev);
        Pages { own, others, anonymous }
    }

    /// Is this what anonymous shared memory looks like?
    pub fn may_be_anonymous(&self, line: &Line<'_>) -> bool {
        line.path.strip_suffix(DELETED) == Some(ANONYMOUS_SHARED)
            && self.anonymous.as_deref() == Some(line.dev)
    }
}

/// The control page that we ourselves have mapped at `address`, as maps names it.
pub fn own_page(address: u64) -> Option<PageId> {
    let mut own = None;
    let read = maps::each(std::process::id() as i32, |line| {
        if line.start == address {
            own = Some(PageId { dev: line.dev.into(), ino: line.ino, path: line.path.into() });
        }
    });
    read.ok().and(own)
}

/// Does this link of map_files prove anonymous shared memory? (A memfd has the same device, and
/// another name.)
pub fn is_anonymous_link(to: &Path) -> bool {
    to.to_str().and_then(|to| to.strip_suffix(DELETED)) == Some(ANONYMOUS_SHARED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::foreign::anonymous_file;

    #[test]
    fn a_memfd_is_not_anonymous_memory() {
        let pages = Pages::new(Vec::new(), Vec::new());
        let anonymous = Mapping::anonymous(SOME_BYTES).unwrap();
        let memfd = Mapping::new(anonymous_file(SOME_BYTES).unwrap(), SOME_BYTES, false).unwrap();
        let mut seen = (false, false);
        maps::each(std::process::id() as i32, |line| {
            if line.start == anonymous.address() {
                seen.0 = pages.may_be_anonymous(&line);
            }
            if line.start == memfd.address() {
                seen.1 = pages.may_be_anonymous(&line);
            }
        })
        .unwrap();
        assert_eq!(seen, (true, false));
        // A file of that name on a disk, or in a file system of somebody's own.
        let own = pages.anonymous.clone().unwrap();
        for (dev, is) in [(own.as_str(), true), ("fe:01", false)] {
            let text =
                format!("7f0000000000-7f0000021000 rw-s 00000000 {dev} 7 /dev/zero (deleted)");
            let line = maps::lines(&text).next().unwrap();
            assert_eq!(pages.may_be_anonymous(&line), is, "{dev}");
        }
        assert!(is_anonymous_link(Path::new("/dev/zero (deleted)")));
        for other in ["/dev/zero", "/memfd:/dev/zero (deleted)", "/x/dev/zero (deleted)"] {
            assert!(!is_anonymous_link(Path::new(other)), "{other}");
        }
    }
}
