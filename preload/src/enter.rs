//! Announce, look, wait; leave.
//!
//! The trampoline calls [`writegate_enter`] before and [`writegate_leave`] after
//! the real call. The most frequent changes in the most frequent case do not come
//! here at all: `arch::x86_64_straight` is [`announce`] and [`give_back`] for them.

use crate::change::{Change, means_something};
use crate::frame::{Frame, Leave};
use crate::own::{self, region_or_start};
use crate::place::{self, Target};
use crate::resolve::REAL;
use crate::state::{
    BORN_UNDER, GATED, HABITS, LAPSED, MODE, Region, STRONG, barrier, control, region,
};
use crate::{arch, rules, sys};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU8, AtomicU64, compiler_fence, fence};
use gate::entry::{Enclosing, Look, Patience, left_behind, may_pass};
use gate::region::{FLAG_FOREIGN_CLOCK, Slot};
use gate::word::{Doing, ProcessWord, ThreadWord};

/// Jump to the real call; nothing to do afterwards.
pub const PASS: u64 = 0;
/// Call it, then leave.
pub const BRACKET: u64 = 1;

/// What a change means for the section of a process that holds locks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// The first change under a lock begins the section.
    Section,
    /// A fork under a lock begins it, and what locks the parent keeps for life is seen.
    Child,
    /// This one does not (fsync, a hitching post, a file opened that is there).
    Nothing,
}

/// Before the real call.
///
/// # Safety
/// Called by the trampoline with its frame.
pub unsafe extern "C" fn writegate_enter(frame: &mut Frame) -> u64 {
    frame.inner = frame.call as u16;
    frame.leave = Leave::Nothing;
    if region().is_none() && MODE.load(Acquire) == GATED && !rules::needs_region(frame.inner) {
        // A forked child that has done nothing so far, and does not begin now.
        rules::process::leaves_family(frame.inner);
        return PASS;
    }
    if region().is_none() && region_or_start().is_none() {
        // Not gated, or still starting: only see to it that there is somewhere
        // to jump to.
        if REAL.get(frame.call as usize).is_some_and(|real| real.load(Acquire) == 0) {
            crate::resolve::all();
        }
        return PASS;
    }
    // SAFETY: arguments are what the program passed to this very function.
    unsafe { rules::enter(frame) }
}

/// After the real call.
///
/// # Safety
/// Called by the trampoline with its frame.
pub unsafe extern "C" fn writegate_leave(frame: &mut Frame) {
    let Some(region) = region() else {
        // A forked child: the word was its parent's.
        rules::process::in_child(frame);
        return;
    };
    // SAFETY: as above.
    unsafe { rules::leave(frame, region) };
    give_back(frame, region);
}

/// Gives the thread's word back, as the frame says.
pub fn give_back(frame: &Frame, region: &'static Region) {
    match frame.leave {
        Leave::Nothing => {}
        Leave::Idle => {
            if let Some(slot) = own::slot(region) {
                compiler_fence(Release);
                arch::and_in_place(&slot.word, ThreadWord::LEAVE);
            }
        }
        Leave::Outer => {
            if let Some(slot) = own::slot(region) {
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

/// An entry that may change `target`: announces it and looks at the barrier.
///
/// `target` is made on the slow path only.
///
/// # Safety
/// Paths in the target are C strings or null.
#[inline(always)]
pub unsafe fn announce(
    frame: &mut Frame,
    fd: Option<i32>,
    begins: Begins,
    target: impl Fn(&Frame) -> Target,
) -> u64 {
    let (Some(region), Some(barrier)) = (region(), barrier()) else { return PASS };
    let Some(slot) = own::slot(region) else {
        // SAFETY: as for us.
        return unsafe { without_slot(frame, barrier, region, begins, &target(frame)) };
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
            let process = ProcessWord(region.header.process.load(Acquire));
            if means_something(process, HABITS.load(Relaxed)) || begins == Begins::Child {
                let target = target(frame);
                // SAFETY: as for us.
                unsafe { change(frame.inner, begins, &target, region) };
            }
            arch::add_in_place(&slot.word, ThreadWord::GRANT);
            frame.leave = Leave::Idle;
            return BRACKET;
        }
    }
    let target = target(frame);
    // SAFETY: as for us.
    unsafe { slowly(frame, &At { barrier, region, slot }, before, fd, begins, &target) }
}

/// With the barrier open: what the change means for the section.
///
/// # Safety
/// As [`announce`].
#[inline(never)]
unsafe fn change(call: u16, begins: Begins, target: &Target, region: &Region) {
    // SAFETY: as for us.
    Change::new(call, begins, target, |t| unsafe { place::protected(t) }).passes(region);
}

struct At {
    barrier: &'static AtomicU64,
    region: &'static Region,
    slot: &'static Slot,
}

/// # Safety
/// As [`announce`].
#[cold]
#[inline(never)]
unsafe fn slowly(
    frame: &mut Frame,
    at: &At,
    before: ThreadWord,
    fd: Option<i32>,
    begins: Begins,
    target: &Target,
) -> u64 {
    let here = frame as *const Frame as u64;
    let stale = before.doing() != Doing::Idle
        && left_behind(at.slot.stack.load(Relaxed), here, sys::on_alternate_stack());
    let nested = before.doing() != Doing::Idle && !stale;
    let enclosing = match before.doing() {
        Doing::Call if nested => match before.fd() {
            Some(fd) if !place::descriptor(fd) => Enclosing::OtherCall,
            _ => Enclosing::ProtectedCall,
        },
        _ => Enclosing::Nothing,
    };
    // Around a protected call the word keeps showing that one: the freezer must
    // not forgive it for a socket that a signal handler writes to.
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
    let mut patience = Patience::default();
    // SAFETY: as for us.
    let mut change = Change::new(frame.inner, begins, target, |t| unsafe { place::protected(t) });
    loop {
        // A locked operation on what is announced already. It covers both cases:
        // whoever passes below a barrier that is closed by then has been visible
        // before it asked for permission.
        word.fetch_or(0, SeqCst);
        let barrier = at.barrier.load(SeqCst);
        let look = look(&mut patience, barrier);
        let process = ProcessWord(at.region.header.process.load(SeqCst));
        if look != Look::Closed || may_pass(seen_by(process, barrier), admitted(at), enclosing) {
            if look == Look::Overdue {
                at.region.header.overdue.fetch_add(1, Relaxed);
            }
            change.passes(at.region);
            arch::add_in_place(word, ThreadWord::GRANT);
            return BRACKET;
        }
        word.fetch_add(ThreadWord::HOLD, SeqCst);
        if !change.protected() {
            // A call on a socket, or on a file that is nobody's concern.
            if nested {
                resume(at.slot, frame.outer);
            } else {
                arch::and_in_place(word, ThreadWord::LEAVE);
            }
            frame.leave = Leave::Nothing;
            return PASS;
        }
        if at.slot.since.load(Relaxed) == 0 {
            at.slot.since.store(sys::now(), Relaxed);
        }
        wait(at, barrier, &mut patience);
        at.slot.since.store(0, Relaxed);
        ask();
    }
}

/// The process word as it gives a right to pass: not by a section that came over an
/// exec under this very barrier.
fn seen_by(process: ProcessWord, barrier: u64) -> ProcessWord {
    if barrier != 0 && barrier == BORN_UNDER.load(Relaxed) {
        return ProcessWord::default();
    }
    process
}

/// Sleeps until something has changed for this call: also when another thread has
/// opened their section meanwhile.
fn wait(at: &At, seen: u64, patience: &mut Patience) {
    let header = &at.region.header;
    let bits = 1u32 << (header.nonce.load(Relaxed) % 31) | 1 << 31;
    loop {
        sys::wait_on(at.barrier.as_ptr(), seen, bits);
        let barrier = at.barrier.load(Acquire);
        let process = seen_by(ProcessWord(header.process.load(Acquire)), barrier);
        let may = may_pass(process, admitted(at), Enclosing::Nothing);
        if barrier != seen || may || look(patience, barrier) != Look::Closed {
            return;
        }
    }
}

/// The barrier as this process sees it: a deadline that has passed once is over
/// for good, without a look at the clock.
fn look(patience: &mut Patience, barrier: u64) -> Look {
    if barrier != 0 && barrier == LAPSED.load(Relaxed) {
        return Look::LeaseOver;
    }
    let look = patience.look(barrier, sys::now);
    match look {
        Look::LeaseOver => LAPSED.store(barrier, Relaxed),
        Look::Closed if clock_is_foreign() => return Look::LeaseOver,
        _ => {}
    }
    look
}

/// See [`crate::start::clock_is_foreign`]; the answer is kept.
fn clock_is_foreign() -> bool {
    const UNKNOWN: u8 = 0;
    const OURS: u8 = 1;
    const FOREIGN: u8 = 2;
    static CLOCK: AtomicU8 = AtomicU8::new(UNKNOWN);
    let mut known = CLOCK.load(Relaxed);
    if known == UNKNOWN {
        let foreign = control().is_none_or(crate::start::clock_is_foreign);
        known = if foreign { FOREIGN } else { OURS };
        CLOCK.store(known, Relaxed);
        if foreign {
            rules::descriptors::note(FLAG_FOREIGN_CLOCK);
        }
    }
    known == FOREIGN
}

fn admitted(at: &At) -> bool {
    let header = &at.region.header;
    control().is_some_and(|control| {
        control.admits(header.nonce.load(Relaxed), header.lock_sequence.load(Acquire))
    })
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
    begins: Begins,
    target: &Target,
) -> u64 {
    let header = &region.header;
    let mut patience = Patience::default();
    // SAFETY: as for us.
    let mut change = Change::new(frame.inner, begins, target, |t| unsafe { place::protected(t) });
    loop {
        header.overflow_entries.fetch_add(1, SeqCst);
        header.overflow.fetch_add(1, SeqCst);
        let barrier = word.load(SeqCst);
        let process = ProcessWord(header.process.load(SeqCst));
        let nonce = header.nonce.load(Relaxed);
        let closed = look(&mut patience, barrier) == Look::Closed;
        if !closed
            || may_pass(
                process,
                control().is_some_and(|control| {
                    control.admits(nonce, header.lock_sequence.load(Acquire))
                }),
                Enclosing::Nothing,
            )
        {
            change.passes(region);
            frame.leave = Leave::Overflow;
            return BRACKET;
        }
        header.overflow.fetch_sub(1, SeqCst);
        header.overflow_entries.fetch_sub(1, SeqCst);
        if !change.protected() {
            return PASS;
        }
        sys::wait_on(word.as_ptr(), barrier, 1 << 31);
    }
}

/// Shows that this thread waits for a lock: no change, and in flight only if a
/// section is open; but the freezer must know whose turn it is.
pub fn waits_for_lock(frame: &mut Frame, region: &'static Region, fd: i32, dev: u64, ino: u64) {
    let Some(slot) = own::slot(region) else { return };
    let before = ThreadWord(slot.word.load(Relaxed));
    let here = frame as *const Frame as u64;
    frame.outer = before.0;
    frame.leave = Leave::Outer;
    if before.doing() == Doing::Idle
        || left_behind(slot.stack.load(Relaxed), here, sys::on_alternate_stack())
    {
        frame.leave = Leave::Idle;
        slot.stack.store(here, Relaxed);
    }
    slot.wait_dev.store(dev, Relaxed);
    slot.wait_ino.store(ino, Relaxed);
    slot.word.store(before.enter(Doing::LockWait, frame.inner, Some(fd)).0, Release);
}
