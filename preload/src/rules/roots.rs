//! Has this process left the root, or the mounts, in which its lock files got their names? Under such
//! a name it finds nothing any more, and that says nothing of the file.

use crate::hash::spread;
use crate::linux::confined;
use crate::linux::files::stat_at;
use crate::this_process::state::Region;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use gate::locks::Table;
use linux_raw_sys::general::AT_FDCWD;

/// Where the last lock file was made, as [`here`] says it; 0: none was.
static MADE_IN: AtomicU64 = AtomicU64::new(0);

/// What the present root and mounts are known by.
fn here() -> u64 {
    let of = |path: &core::ffi::CStr| {
        // SAFETY: a C string.
        let stat = unsafe { stat_at(AT_FDCWD, path.as_ptr().cast()) };
        stat.map_or(0, |stat| spread(stat.dev.rotate_left(40) ^ stat.ino))
    };
    of(c"/").rotate_left(1) ^ of(c"/proc/self/ns/mnt") | 1
}

/// A lock file is about to be entered.
pub fn remember(region: &Region) {
    if confined::by_itself() {
        return;
    }
    let here = here();
    let before = MADE_IN.swap(here, Relaxed);
    if before != 0 && before != here {
        Table(&region.header.locks).root_left();
    }
}

/// Has it left where the last one was made? Then all are said to be of there.
pub fn are_left(region: &Region) -> bool {
    let left = MADE_IN.load(Relaxed) != here();
    if left {
        Table(&region.header.locks).root_left();
    }
    left
}
