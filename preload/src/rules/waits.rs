//! Calls that wait: where the profile says so, a section lasts until then.

use super::descriptors::children_may_lock;
use crate::announce::{PASS, bracket_if};
use crate::linux::files::fstat;
use crate::this_process::lock_table::{process_word, update};
use crate::this_process::profile_flags::{UNTIL_WAIT, applies};
use crate::this_process::state::region;
use gate::word::ProcessWord;

/// A call that waits ends a section that lasts until then. One on a regular file
/// waits for no other process.
pub fn waits(fd: Option<i32>) -> u64 {
    if !applies(UNTIL_WAIT) {
        return PASS;
    }
    let Some(region) = region() else { return PASS };
    let word = process_word(region);
    let regular = |fd| fstat(fd).is_some_and(|stat| stat.is_file_or_directory());
    if word.until_wait() && !fd.is_some_and(regular) {
        update(region, ProcessWord::waits);
    }
    PASS
}

/// wait and its kind: as any call that waits; afterwards, where a child may have
/// locked something for this process, the kernel is asked.
pub fn reap() -> u64 {
    waits(None);
    bracket_if(children_may_lock())
}
