//! This program's mailbox (`gate::mailbox`): memory that it shares with all that it forks, made
//! before the first fork.

use super::state::set_region_flag;
use crate::linux::{confined, memory, process};
use core::ptr::null_mut;
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use gate::mailbox::{Draft, Mailbox};
use gate::region::FLAG_LOCKS_UNKNOWN;

const SIZE: usize = size_of::<Mailbox>().next_multiple_of(memory::PAGE);

/// Null before the first fork.
pub static MAILBOX: AtomicPtr<Mailbox> = AtomicPtr::new(null_mut());

/// None: before the first fork.
#[inline(always)]
pub fn mailbox() -> Option<&'static Mailbox> {
    // SAFETY: null, or a mapping of that size, made below and never unmapped; it consists of
    // atomics, for which zero is valid.
    unsafe { MAILBOX.load(Acquire).as_ref() }
}

/// Before a fork: from now on children can leave something.
#[inline(always)]
pub fn make() {
    if MAILBOX.load(Relaxed).is_null() {
        make_now();
    }
}

#[cold]
#[inline(never)]
fn make_now() {
    if confined::by_itself() {
        return;
    }
    let at = memory::map(SIZE, true, -1).cast::<Mailbox>();
    if at.is_null() {
        // What children leave will not be known.
        set_region_flag(FLAG_LOCKS_UNKNOWN);
        return;
    }
    if MAILBOX.compare_exchange(null_mut(), at, AcqRel, Relaxed).is_err() {
        // SAFETY: mapped just now, and known to nobody.
        unsafe { memory::unmap(at.cast(), SIZE) };
    }
}

/// Can children leave something?
#[inline(always)]
pub fn is_made() -> bool {
    !MAILBOX.load(Relaxed).is_null()
}

/// Does anything lie there, of whichever child, or did something not fit?
#[inline(always)]
pub fn is_used() -> bool {
    mailbox().is_some_and(Mailbox::is_used)
}

/// Is there no process with this id any more? Where that must not be asked there is.
fn is_gone(pid: i32) -> bool {
    !confined::by_itself() && process::thread_gone(pid, pid)
}

/// Begins a message of the process with this id. None: there is no room.
pub fn draft(own: i32) -> Option<Draft<'static>> {
    mailbox()?.draft(own, is_gone)
}

/// What this child had to leave did not fit.
pub fn mark_lost(child: i32) {
    if let Some(mailbox) = mailbox() {
        mailbox.mark_lost(child);
    }
}
