//! Mappings of files: what can be held of them, and what is only named.

use crate::announce::{PASS, announce};
use crate::change::SectionEffect;
use crate::frame::Frame;
use crate::protected::operand::{Operand, descriptor};
use crate::this_process::state::set_region_flag;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use gate::region::FLAG_MAPS_SHARED;
use linux_raw_sys::general::{MADV_REMOVE, MAP_SHARED, PROT_WRITE};

/// This process has mapped some file shared: mprotect may make it writable.
static MAPS_SHARED: AtomicBool = AtomicBool::new(false);

/// MADV_REMOVE punches a hole into the mapped file.
pub fn madvise(frame: &mut Frame) -> u64 {
    if frame.arg(2) as u32 != MADV_REMOVE {
        return PASS;
    }
    // SAFETY: this operand names no path.
    unsafe { announce(frame, None, SectionEffect::Begins, |_| Operand::Anything) }
}

/// A store into a shared writable mapping cannot be held: it is named.
pub fn mmap(frame: &mut Frame) -> u64 {
    let (protection, flags, fd) = (frame.arg(2), frame.arg(3), frame.arg(4) as i32);
    if flags & MAP_SHARED as u64 != 0 && fd >= 0 {
        MAPS_SHARED.store(true, Relaxed);
        if protection & PROT_WRITE as u64 != 0 && descriptor(fd) {
            set_region_flag(FLAG_MAPS_SHARED);
        }
    }
    PASS
}

/// A read-only mapping that becomes writable under the barrier would not be
/// seen: the freezer has looked at the mappings already. So that is held.
pub fn mprotect(frame: &mut Frame) -> u64 {
    if frame.arg(2) & PROT_WRITE as u64 == 0 || !MAPS_SHARED.load(Relaxed) {
        return PASS;
    }
    // SAFETY: this operand names no path.
    unsafe { announce(frame, None, SectionEffect::None, |_| Operand::Anything) }
}
