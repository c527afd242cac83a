//! Calls that wait: where the profile says so, a section lasts until then.

use super::after_child;
use super::inherited::{self, children_may_lock};
use super::lock_files::{children_may_change, children_may_have_changed};
use super::lock_helpers::Left;
use crate::announce::{PASS, bracket_if};
use crate::frame::Frame;
use crate::linux::confined;
use crate::linux::files::fstat;
use crate::this_process::lock_table::{process_word, update};
use crate::this_process::mailbox::mailbox;
use crate::this_process::profile_flags::applies;
use crate::this_process::state::{Region, region};
use gate::calls::Call;
use gate::mailbox::From;
use gate::profile::Key;
use gate::word::ProcessWord;
use linux_raw_sys::general::{CLD_DUMPED, CLD_EXITED, CLD_KILLED, P_PID, siginfo_t};

/// A call that waits ends a section that lasts until then. One on a regular file
/// waits for no other process.
pub fn waits(fd: Option<i32>) -> u64 {
    if !applies(Key::UntilWait) {
        return PASS;
    }
    let Some(region) = region() else { return PASS };
    let word = process_word(region);
    let regular = |fd| {
        // Where that must not be asked: perhaps, and the section lasts.
        confined::by_itself() || fstat(fd).is_some_and(|stat| stat.is_file_or_directory())
    };
    if word.until_wait() && !fd.is_some_and(regular) {
        update(region, ProcessWord::waits);
    }
    PASS
}

/// wait and its kind: as any call that waits; afterwards, where a child may have
/// locked something for this process, the kernel is asked.
pub fn reap(frame: &mut Frame) -> u64 {
    waits(None);
    let comes_back = children_may_lock() || children_may_change();
    let place = status_argument(frame);
    if comes_back && frame.inner as u32 == frame.call && place < WAITID && frame.arg(place) == 0 {
        // The program does not ask how its child has ended; the library does. The frame is there
        // until the call has returned.
        frame.note[0] = 0;
        let status = (&raw mut frame.note[0]) as u64;
        if let Some(argument) = frame.regs.get_mut(place as usize) {
            *argument = status;
        }
    }
    bracket_if(comes_back)
}

/// No argument of waitid is a place for a status alone.
const WAITID: u8 = 9;

/// Which argument says where the child's status goes.
fn status_argument(frame: &Frame) -> u8 {
    let is = |call: Call| frame.inner == call as u16;
    match is(Call::wait) || is(Call::wait3) {
        true => 0,
        false if is(Call::waitid) => WAITID,
        false => 1,
    }
}

/// wait and its kind have come back.
pub fn reaped(frame: &Frame, region: &'static Region) {
    if !has_reaped(frame) {
        return;
    }
    if children_may_lock() {
        inherited::after_a_child(region);
    }
    if children_may_have_changed()
        && let Some((child, well)) = ended(frame)
    {
        after_child::lock_files(region, From::Child(child), well);
    }
}

/// A call of libc's that starts a child, or waits for one, has come back.
pub fn has_waited(frame: &Frame, region: &'static Region) {
    let is = |call: Call| frame.inner == call as u16;
    let left = Left::noted(frame.note[0]);
    if is(Call::pclose) {
        after_child::lock_files(region, From::Stream(frame.arg(0)), frame.int() == 0);
    } else if !is(Call::popen) || frame.result == 0 {
        after_child::of_this_call(region, left, !is(Call::popen) && frame.int() == 0);
    } else if let Left::Message(ticket) = left {
        // Read when its stream is closed.
        if let Some(mailbox) = mailbox() {
            mailbox.assign(ticket, From::Stream(frame.result));
        }
    } else {
        after_child::of_this_call(region, left, true);
    }
}

/// Which child has ended, and whether well; none: it goes on.
fn ended(frame: &Frame) -> Option<(i32, bool)> {
    const EXITED: i32 = 0x7f;
    let is = |call: Call| frame.inner == call as u16;
    if is(Call::waitid) {
        let info = frame.arg(2) as *const siginfo_t;
        if info.is_null() {
            // How it has ended is not known.
            return (frame.arg(0) as u32 == P_PID).then(|| (frame.arg(1) as i32, true));
        }
        // SAFETY: waitid has succeeded, so it has just filled in the structure.
        return unsafe {
            let code = (&raw const (*info).__bindgen_anon_1.__bindgen_anon_1.si_code)
                .read_unaligned() as u32;
            let status =
                (&raw const (*info).__bindgen_anon_1.__bindgen_anon_1._sifields._sigchld._status)
                    .read_unaligned();
            let killed = code == CLD_KILLED || code == CLD_DUMPED;
            let over = code == CLD_EXITED || killed;
            over.then(|| (si_pid(info), code == CLD_EXITED && status == 0))
        };
    }
    let at = frame.arg(status_argument(frame));
    if at == 0 {
        return Some((frame.int(), true));
    }
    // SAFETY: the call has found a child, so it has just put its status there.
    let status = unsafe { (at as *const i32).read_unaligned() };
    // Stopped, or gone on.
    let goes_on = status & 0xff == EXITED || status == 0xffff;
    (!goes_on).then(|| (frame.int(), status == 0))
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
