//! The thread's word: announce a call before it is made, look at the barrier, wait; give
//! the word back.
//!
//! The most frequent changes in the most frequent case do not come here at all:
//! `arch::x86_64::straight` is [`announce`] and [`give_back`] for them.

use crate::arch::instructions::{add_in_place, and_in_place};
use crate::barrier::{ALL_WAITERS, Waiting, admitted, look, rest, wait};
use crate::change::{PendingChange, SectionEffect, matters};
use crate::frame::{Frame, Leave};
use crate::linux::process::on_alternate_stack;
use crate::linux::time::now;
use crate::protected::operand::{self, Operand};
use crate::this_process::lock_table::process_word;
use crate::this_process::profile_flags::PROFILE_FLAGS;
use crate::this_process::slots;
use crate::this_process::state::{Region, STRONG, barrier, region};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{compiler_fence, fence};
use gate::entry::{Enclosing, Look, left_behind, may_pass};
use gate::region::Slot;
use gate::word::{Doing, ProcessWord, ThreadWord};

/// Jump to the real call; nothing to do afterwards.
pub const PASS: u64 = 0;
/// Call it, then leave.
pub const BRACKET: u64 = 1;

/// [`BRACKET`] where leave has something to do, else [`PASS`].
pub fn bracket_if(condition: bool) -> u64 {
    if condition { BRACKET } else { PASS }
}

/// Gives the thread's word back, as the frame says.
pub fn give_back(frame: &Frame, region: &'static Region) {
    match frame.leave {
        Leave::Nothing => {}
        Leave::Idle => {
            if let Some(slot) = slots::slot(region) {
                compiler_fence(Release);
                and_in_place(&slot.word, ThreadWord::LEAVE);
            }
        }
        Leave::Outer => {
            if let Some(slot) = slots::slot(region) {
                resume(slot, frame.outer);
            }
        }
        Leave::Overflow => {
            region.header.overflow.fetch_sub(1, Release);
        }
    }
}

/// Shows an enclosing call again, under the number that has come since.
fn resume(slot: &Slot, outer: u64) {
    let now = ThreadWord(slot.word.load(Relaxed));
    slot.word.store(now.resume(ThreadWord(outer)).0, Release);
}

/// An entry that may change `operand`: announces it and looks at the barrier.
///
/// `operand` is made on the slow path only.
///
/// # Safety
/// The paths in the operand are those that the program passed to the call.
#[inline(always)]
pub unsafe fn announce(
    frame: &mut Frame,
    fd: Option<i32>,
    effect: SectionEffect,
    operand: impl Fn(&Frame) -> Operand,
) -> u64 {
    let (Some(region), Some(barrier)) = (region(), barrier()) else { return PASS };
    let Some(slot) = slots::slot(region) else {
        // SAFETY: the paths are the program's, by the caller's promise.
        return unsafe { without_slot(frame, barrier, region, effect, &operand(frame)) };
    };
    let before = ThreadWord(slot.word.load(Relaxed));
    if before.doing() == Doing::Idle {
        let word = before.enter(Doing::Asking, frame.inner, fd);
        slot.stack.store(frame as *const Frame as u64, Relaxed);
        slot.word.store(word.0, Release);
        if STRONG.load(Relaxed) {
            fence(SeqCst);
        } else {
            // The freezer's membarrier is the other half of this fence.
            compiler_fence(SeqCst);
        }
        if barrier.load(Acquire) == 0 {
            let process = process_word(region);
            if matters(process, PROFILE_FLAGS.load(Relaxed))
                || effect == SectionEffect::BeginsByFork
            {
                let operand = operand(frame);
                // SAFETY: the paths are the program's, by the caller's promise.
                unsafe { change(frame.inner, effect, &operand, region) };
            }
            add_in_place(&slot.word, ThreadWord::GRANT);
            frame.leave = Leave::Idle;
            return BRACKET;
        }
    }
    let operand = operand(frame);
    // SAFETY: the paths are the program's, by the caller's promise.
    unsafe {
        announce_slowly(frame, &Announcer { barrier, region, slot }, before, fd, effect, &operand)
    }
}

/// With the barrier open: what the change means for the section.
///
/// # Safety
/// As [`announce`].
#[inline(never)]
unsafe fn change(call: u16, effect: SectionEffect, operand: &Operand, region: &Region) {
    // SAFETY: the paths are the program's, by the caller's promise.
    PendingChange::new(call, effect, operand, |t| unsafe { operand::protected(t) })
        .goes_ahead(region);
}

/// Where this thread announces, and what it looks at.
struct Announcer {
    barrier: &'static AtomicU64,
    region: &'static Region,
    slot: &'static Slot,
}

/// # Safety
/// As [`announce`].
#[cold]
#[inline(never)]
unsafe fn announce_slowly(
    frame: &mut Frame,
    at: &Announcer,
    before: ThreadWord,
    fd: Option<i32>,
    effect: SectionEffect,
    operand: &Operand,
) -> u64 {
    let here = frame as *const Frame as u64;
    let stale = before.doing() != Doing::Idle
        && left_behind(at.slot.stack.load(Relaxed), here, on_alternate_stack());
    let nested = before.doing() != Doing::Idle && !stale;
    let enclosing = match before.doing() {
        Doing::Call if nested => match before.fd() {
            Some(fd) if !operand::descriptor(fd) => Enclosing::OtherCall,
            _ => Enclosing::ProtectedCall,
        },
        _ => Enclosing::Nothing,
    };
    // Around a protected call the word keeps showing that one: the freezer must
    // not disregard it for a socket that a signal handler writes to.
    let (call, shown) = match enclosing {
        Enclosing::ProtectedCall => (before.call(), before.fd()),
        _ => (frame.inner, fd),
    };
    frame.leave = if nested { Leave::Outer } else { Leave::Idle };
    frame.outer = before.0;
    let word = &at.slot.word;
    let ask = || {
        let last = ThreadWord(word.load(Relaxed));
        word.store(last.enter(Doing::Asking, call, shown).0, Release);
    };
    if before.doing() != Doing::Idle {
        if !nested {
            at.slot.stack.store(here, Relaxed);
        }
        ask();
    }
    let mut waiting = Waiting::default();
    // SAFETY: the paths are the program's, by the caller's promise.
    let mut change =
        PendingChange::new(frame.inner, effect, operand, |t| unsafe { operand::protected(t) });
    loop {
        // A locked operation on what is announced already. It covers both cases:
        // a thread that passes below a barrier that is closed by then has been
        // visible before it asked for permission.
        word.fetch_or(0, SeqCst);
        let barrier = at.barrier.load(SeqCst);
        let look = look(&mut waiting, barrier);
        let process = ProcessWord(at.region.header.process.load(SeqCst));
        if look != Look::Closed || may_pass(process, admitted(at.region), enclosing) {
            if look == Look::Overdue {
                at.region.header.overdue.fetch_add(1, Relaxed);
            }
            change.goes_ahead(at.region);
            add_in_place(word, ThreadWord::GRANT);
            return BRACKET;
        }
        word.fetch_add(ThreadWord::HOLD, SeqCst);
        if !change.protected() {
            // A call on a socket, or on a file that is not protected.
            if nested {
                resume(at.slot, frame.outer);
            } else {
                and_in_place(word, ThreadWord::LEAVE);
            }
            frame.leave = Leave::Nothing;
            return PASS;
        }
        if at.slot.since.load(Relaxed) == 0 {
            at.slot.since.store(now(), Relaxed);
        }
        wait(at.barrier, at.region, barrier, &mut waiting);
        at.slot.since.store(0, Relaxed);
        ask();
    }
}

/// More threads than slots: correct, slower, and the freezer cannot name them.
///
/// # Safety
/// As [`announce`].
#[cold]
#[inline(never)]
unsafe fn without_slot(
    frame: &mut Frame,
    word: &'static AtomicU64,
    region: &'static Region,
    effect: SectionEffect,
    operand: &Operand,
) -> u64 {
    let header = &region.header;
    let mut waiting = Waiting::default();
    // SAFETY: the paths are the program's, by the caller's promise.
    let mut change =
        PendingChange::new(frame.inner, effect, operand, |t| unsafe { operand::protected(t) });
    loop {
        header.overflow_entries.fetch_add(1, SeqCst);
        header.overflow.fetch_add(1, SeqCst);
        let barrier = word.load(SeqCst);
        let process = ProcessWord(header.process.load(SeqCst));
        let closed = look(&mut waiting, barrier) == Look::Closed;
        if !closed || may_pass(process, admitted(region), Enclosing::Nothing) {
            change.goes_ahead(region);
            frame.leave = Leave::Overflow;
            return BRACKET;
        }
        header.overflow.fetch_sub(1, SeqCst);
        header.overflow_entries.fetch_sub(1, SeqCst);
        if !change.protected() {
            return PASS;
        }
        rest(word, barrier, ALL_WAITERS, &mut waiting);
    }
}

/// Shows that this thread waits for a lock: no change, and in flight only if a
/// section is open; but the freezer must know for which lock.
pub fn announce_lock_wait(frame: &mut Frame, region: &'static Region, fd: i32, dev: u64, ino: u64) {
    let Some(slot) = slots::slot(region) else { return };
    let before = ThreadWord(slot.word.load(Relaxed));
    let here = frame as *const Frame as u64;
    frame.outer = before.0;
    frame.leave = Leave::Outer;
    if before.doing() == Doing::Idle
        || left_behind(slot.stack.load(Relaxed), here, on_alternate_stack())
    {
        frame.leave = Leave::Idle;
        slot.stack.store(here, Relaxed);
    }
    slot.wait_dev.store(dev, Relaxed);
    slot.wait_ino.store(ino, Relaxed);
    slot.word.store(before.enter(Doing::LockWait, frame.inner, Some(fd)).0, Release);
}

/// Takes an announcement back before the call.
pub fn take_back(frame: &mut Frame) {
    if let Some(region) = region() {
        give_back(frame, region);
        frame.leave = Leave::Nothing;
    }
}
