//! Before and after the real call: what the trampoline calls.

mod at_exit;
pub mod look_up;

use crate::announce::{PASS, give_back};
use crate::frame::{Frame, Leave};
use crate::this_process::region::adopt;
use crate::this_process::state::{GATED, MODE, Region, UNGATED, region};
use crate::{resolve, rules, start};
use core::sync::atomic::Ordering::Acquire;

/// Before the real call.
///
/// # Safety
/// Called by the trampoline with its frame.
pub unsafe extern "C" fn writegate_enter(frame: &mut Frame) -> u64 {
    frame.inner = frame.call as u16;
    frame.leave = Leave::Nothing;
    if region().is_none() && MODE.load(Acquire) == GATED && !rules::needs_region(frame.inner) {
        // A forked child that has done nothing so far, and does not begin now.
        rules::children::leaves_family(frame);
        return PASS;
    }
    if region().is_none() && region_or_start().is_none() {
        // Not gated, or still starting: only see to it that there is somewhere
        // to jump to.
        if !resolve::is_known(frame.call) {
            resolve::all();
        }
        return PASS;
    }
    // SAFETY: the trampoline has put the argument registers of the program's call into its
    // frame.
    unsafe { rules::enter(frame) }
}

/// After the real call.
///
/// # Safety
/// Called by the trampoline with its frame.
pub unsafe extern "C" fn writegate_leave(frame: &mut Frame) {
    if region().is_none() && !rules::children::back_in_parent(frame) {
        // A forked child: the word was its parent's.
        rules::children::in_child(frame);
        return;
    }
    let Some(region) = region() else { return };
    if rules::children::is_unwiped_child(frame, region) {
        rules::children::in_child(frame);
        return;
    }
    // SAFETY: the same frame as before the call, with the arguments of the program's call.
    unsafe { rules::leave(frame, region) };
    give_back(frame, region);
}

/// The region, however early or late it is asked for: starts the library, or
/// adopts a region of its own in a forked child. None: not gated.
#[cold]
#[inline(never)]
fn region_or_start() -> Option<&'static Region> {
    if MODE.load(Acquire) == UNGATED {
        return None;
    }
    start::begin();
    if MODE.load(Acquire) != GATED {
        return None;
    }
    region().or_else(|| adopt(None))
}
