//! fork, vfork, spawn, exec.
//!
//! A fork under a lock that guards writing is itself an entry and begins the
//! section: the child may change things and be gone before its parent records
//! them. A child never passes by what it inherited.

use super::after_child;
use super::lock_files::children_may_change;
use super::lock_helpers::{self, Left};
use crate::announce::{BRACKET, PASS, announce, bracket_if, take_back};
use crate::change::SectionEffect;
use crate::frame::{Frame, Leave};
use crate::linux::confined;
use crate::linux::process::{on_alternate_stack, pid, process_of, thread_gone};
use crate::protected::descriptor_cache;
use crate::protected::operand::Operand;
use crate::rule_table::rule;
use crate::this_process::lock_table::{process_word, shares_memory};
use crate::this_process::region::adopt;
use crate::this_process::state::{
    LAST_REGION, LOCK_FILES_SEEN, NOT_WIPED, Region, SHARED_ONCE, WIPED, region,
};
use crate::this_process::{family, mailbox, slots};
use core::ptr::null_mut;
use core::sync::atomic::Ordering::{Relaxed, Release};
use gate::calls::{Call, Rule};
use gate::entry::left_behind;
use gate::locks::Table;
use gate::mailbox::From;
use gate::word::{Doing, ThreadWord};

fn locks_held(region: &Region) -> bool {
    process_word(region).locks() > 0
}

/// fork, and what returns in parent and child alike.
pub fn fork(frame: &mut Frame) -> u64 {
    let Some(region) = region() else { return PASS };
    mailbox::make();
    // A call is open on this stack: a signal handler forks inside it. The child
    // must show it from the beginning.
    frame.note = [0; 5];
    if let Some(slot) = slots::slot(region) {
        let word = ThreadWord(slot.word.load(Relaxed));
        let stack = slot.stack.load(Relaxed);
        let here = frame as *const Frame as u64;
        if word.doing() != Doing::Idle && !left_behind(stack, here, on_alternate_stack()) {
            frame.note = [1, word.0, stack, 0, 0];
        }
    }
    if locks_held(region) {
        // SAFETY: this operand names no path.
        unsafe { announce(frame, None, SectionEffect::BeginsByFork, |_| Operand::Anything) };
        wipe();
        return BRACKET;
    }
    // There is nothing to undo, but perhaps a word to take along.
    bracket_if(wipe() || frame.note[0] == 1)
}

/// Where the kernel does not wipe it in the child: so the child has no region from its first
/// instruction on, also in the handlers that libc runs inside fork. The parent takes it back.
fn wipe() -> bool {
    let here = NOT_WIPED.load(Relaxed);
    if here {
        WIPED.adopting.store(0, Release);
        WIPED.clock.store(0, Relaxed);
        WIPED.region.store(null_mut(), Release);
    }
    here
}

/// Back from a call in a process that has no region at the moment: a child, or, where
/// the kernel does not wipe, the parent too. True: it is the parent, which has its region back.
pub fn back_in_parent(frame: &Frame) -> bool {
    let forks = matches!(rule(frame.inner), Some(Rule::Fork | Rule::Daemon));
    if !NOT_WIPED.load(Relaxed) || !forks {
        return false;
    }
    let last = LAST_REGION.load(Relaxed);
    // SAFETY: null, or the region of this process or of its parent, which stays mapped.
    let is_own =
        unsafe { last.as_ref() }.is_some_and(|last| last.header.pid.load(Relaxed) == pid());
    if is_own {
        WIPED.region.store(last, Release);
    }
    is_own
}

/// Back from fork with a region: a thread of the parent's has taken it back too early for this
/// child, where the kernel does not wipe.
#[inline(always)]
pub fn is_unwiped_child(frame: &Frame, region: &Region) -> bool {
    NOT_WIPED.load(Relaxed) && wipe_late(frame, region)
}

#[cold]
fn wipe_late(frame: &Frame, region: &Region) -> bool {
    let forks = matches!(rule(frame.inner), Some(Rule::Fork | Rule::Daemon));
    if !forks || region.header.pid.load(Relaxed) == pid() {
        return false;
    }
    WIPED.adopting.store(0, Release);
    WIPED.clock.store(0, Relaxed);
    WIPED.region.store(null_mut(), Release);
    true
}

/// Back from fork in the child.
pub fn in_child(frame: &mut Frame) {
    let rule = rule(frame.inner);
    if !matches!(rule, Some(Rule::Fork | Rule::Daemon)) {
        return;
    }
    if frame.note[0] == 1 {
        adopt(Some((frame.note[1], frame.note[2])));
    } else if LOCK_FILES_SEEN.load(Relaxed) && !confined::by_itself() && lock_file_came_along() {
        // A lock file has no descriptor that the kernel would show: what came along must be seen
        // when the parent is gone.
        adopt(None);
    }
}

fn lock_file_came_along() -> bool {
    // SAFETY: null, or the region of this process's parent, which stays mapped.
    let parent = unsafe { LAST_REGION.load(Relaxed).as_ref() };
    parent.is_some_and(|parent| Table(&parent.header.locks).lock_files().next().is_some())
}

/// vfork, clone, system, popen: an entry like fork, but nothing may stand between
/// the caller and the call, or it lasts as long as a child does.
pub fn child_without_return(frame: &mut Frame) -> u64 {
    family::changed();
    // Of system and popen the child is libc's own affair: it calls no hook before
    // its exec.
    if !matches!(rule(frame.inner), Some(Rule::Waits)) {
        SHARED_ONCE.store(true, Relaxed);
        descriptor_cache::forget();
    }
    if let Some(region) = region()
        && locks_held(region)
        && !shares_memory(region)
    {
        // SAFETY: this operand names no path.
        unsafe { announce(frame, None, SectionEffect::Begins, |_| Operand::Anything) };
        take_back(frame);
    }
    if !matches!(rule(frame.inner), Some(Rule::Waits)) {
        mailbox::make();
        return PASS;
    }
    // The child is libc's own, and nothing of it comes back through here: the call may be
    // come back from.
    let takes_command = [Call::system, Call::popen].iter().any(|c| *c as u16 == frame.inner);
    let left = match takes_command {
        // SAFETY: the first argument of these is a command line, or null.
        true => unsafe { lock_helpers::about_to_command(frame.arg(0) as *const u8) },
        false => Left::Nothing,
    };
    frame.note[0] = left.note();
    let ends = frame.inner != Call::popen as u16 && children_may_change();
    bracket_if(region().is_some() && (left != Left::Nothing || ends))
}

/// A child without a region of its own makes this call: what becomes another program by it
/// changes things that are counted nowhere, and may make a lock file for its parent.
pub fn leaves_family(frame: &Frame) {
    let rule = rule(frame.inner);
    if matches!(rule, Some(Rule::Exec | Rule::Vfork | Rule::Clone | Rule::Waits)) {
        family::changed();
    }
    if matches!(rule, Some(Rule::Exec)) {
        // SAFETY: the frame is the trampoline's own.
        unsafe { lock_helpers::about_to_run(frame, Some(pid)) };
    }
}

/// posix_spawn: its file actions may create and truncate inside libc.
pub fn spawn(frame: &mut Frame, actions: u8) -> u64 {
    family::changed();
    let Some(region) = region() else { return PASS };
    mailbox::make();
    // SAFETY: the frame is the trampoline's own.
    let left = unsafe { lock_helpers::about_to_run(frame, None) };
    frame.note = [left.note(), 0, 0, 0, 0];
    if left != Left::Nothing && frame.arg(0) == 0 && !gives_descriptor(frame) {
        // The program does not ask for its child's id; the library does. The frame is there until
        // the call has returned.
        let place = (&raw mut frame.note[1]) as u64;
        frame.regs[0] = place;
    }
    if frame.arg(actions) == 0 && !locks_held(region) {
        return bracket_if(left != Left::Nothing);
    }
    // SAFETY: this operand names no path.
    let action = unsafe { announce(frame, None, SectionEffect::Begins, |_| Operand::Anything) };
    if left != Left::Nothing { BRACKET } else { action }
}

/// Does it give a descriptor in place of its child's id?
fn gives_descriptor(frame: &Frame) -> bool {
    [Call::pidfd_spawn, Call::pidfd_spawnp].iter().any(|call| *call as u16 == frame.inner)
}

/// posix_spawn has come back: whose end the message is about is known now.
pub fn spawned(frame: &Frame, region: &'static Region) {
    let left = Left::noted(frame.note[0]);
    if left == Left::Nothing {
        return;
    }
    if frame.int() != 0 {
        return after_child::of_this_call(region, left, false);
    }
    // SAFETY: the call has succeeded, so it has just put the child's id (or descriptor) there.
    let number = unsafe { (frame.arg(0) as *const i32).read_unaligned() };
    let child = if gives_descriptor(frame) { process_of(number) } else { number };
    match (left, mailbox::mailbox()) {
        (Left::Message(ticket), Some(mailbox)) => mailbox.assign(ticket, From::Child(child)),
        _ => mailbox::mark_lost(child),
    }
    if thread_gone(child, child) {
        // Another thread has waited for it meanwhile, how it has ended is not known.
        after_child::lock_files(region, From::Child(child), true);
    }
}

/// exec: what the freezer has mapped of this process will go stale, so the word
/// says so before. With locks held it waits like any entry: the new program will
/// find its locks and not know what was done under them.
pub fn exec(frame: &mut Frame) -> u64 {
    family::changed();
    // SAFETY: the frame is the trampoline's own.
    unsafe { lock_helpers::about_to_run(frame, Some(pid)) };
    let Some(region) = region() else { return PASS };
    if shares_memory(region) {
        return PASS;
    }
    if locks_held(region) {
        // SAFETY: this operand names no path.
        unsafe { announce(frame, None, SectionEffect::None, |_| Operand::Anything) };
        return BRACKET;
    }
    if let Some(slot) = slots::slot(region) {
        let word = ThreadWord(slot.word.load(Relaxed));
        if word.doing() == Doing::Idle {
            slot.stack.store(frame as *const Frame as u64, Relaxed);
            // No number is raised: nothing is changed by it, and the freezer must
            // not take it for a thread that passed.
            let shown = word.enter(Doing::LockWait, frame.inner, None).show(Doing::Asking);
            slot.word.store(shown.0, Release);
            frame.leave = Leave::Idle;
        }
    }
    BRACKET
}
