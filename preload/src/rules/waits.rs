//! Calls that wait: where the profile says so, a section lasts until then.

use super::inherited::children_may_lock;
use crate::announce::{PASS, bracket_if};
use crate::frame::Frame;
use crate::linux::files::fstat;
use crate::this_process::lock_table::{process_word, update};
use crate::this_process::profile_flags::{UNTIL_WAIT, applies};
use crate::this_process::state::region;
use gate::calls::Call;
use gate::word::ProcessWord;
use linux_raw_sys::general::siginfo_t;

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

/// Has this call found a child? One that only looked, or was interrupted, has not.
pub fn has_reaped(frame: &Frame) -> bool {
    if frame.inner != Call::waitid as u16 {
        return frame.int() > 0;
    }
    // Without a place to put the answer, waitid does not say.
    let info = frame.arg(2) as *const siginfo_t;
    // SAFETY: where waitid has succeeded, it has just filled in the structure.
    frame.int() == 0 && (info.is_null() || unsafe { si_pid(info) } != 0)
}

/// # Safety
/// A structure that waitid has filled in.
unsafe fn si_pid(info: *const siginfo_t) -> i32 {
    // SAFETY: an integer of it that waitid sets, or leaves at the zero of its own clearing.
    unsafe {
        (&raw const (*info).__bindgen_anon_1.__bindgen_anon_1._sifields._sigchld._pid)
            .read_unaligned()
    }
}
