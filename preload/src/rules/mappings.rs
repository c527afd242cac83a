//! Mappings of files: what can be held of them, and what is only named.

use crate::announce::{BRACKET, PASS, announce};
use crate::change::SectionEffect;
use crate::frame::Frame;
use crate::protected::operand::{Operand, descriptor};
use crate::this_process::state::{Region, region};
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
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
    frame.note[0] = 0;
    if flags & MAP_SHARED as u64 == 0 || fd < 0 {
        return PASS;
    }
    MAPS_SHARED.store(true, Relaxed);
    if protection & PROT_WRITE as u64 == 0 || !descriptor(fd) {
        return PASS;
    }
    let Some(region) = region() else { return PASS };
    region.header.shared_mappings.fetch_add(1, SeqCst);
    region.header.flags.fetch_or(FLAG_MAPS_SHARED, Relaxed);
    frame.note[0] = 1;
    BRACKET
}

/// The mapping is made, or it failed. A freezer that looked at the mappings in between sees the number
/// change once more.
pub fn mapped(frame: &Frame, region: &Region) {
    if frame.note[0] != 0 {
        region.header.shared_mappings.fetch_add(1, SeqCst);
    }
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
