//! The destructor. It runs last, or nearly so: libc flushes its streams after all
//! destructors. If anything is left to write, this enters and never leaves; the death of the
//! process is the end of it.

use crate::announce::{BRACKET, announce};
use crate::change::SectionEffect;
use crate::frame::Frame;
use crate::protected::operand::{Operand, any_stream};
use crate::rules::waits::waits;
use crate::this_process::slots;
use crate::this_process::state::{GATED, MODE, region};
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use gate::calls::Call;

extern "C" fn at_exit() {
    if MODE.load(Acquire) != GATED {
        return;
    }
    // An orderly end is a wait: nothing follows.
    waits(None);
    if !any_stream() || super::region_or_start().is_none() {
        return;
    }
    let mut frame = Frame::empty(Call::fflush as u32);
    // SAFETY: this operand names no path.
    let action = unsafe { announce(&mut frame, None, SectionEffect::Begins, |_| Operand::Streams) };
    if action == BRACKET
        && let Some(slot) = region().and_then(slots::slot)
    {
        // What other destructors do lies inside this entry.
        slot.stack.store(u64::MAX, Relaxed);
    }
}

#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = at_exit;
