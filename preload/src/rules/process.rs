//! fork, vfork, spawn, exec.
//!
//! A fork under a lock that guards writing is itself an entry and begins the
//! section: the child may change things and be gone before its parent records
//! them. A child never passes by what it inherited.

use crate::enter::{BRACKET, Begins, PASS, announce, give_back};
use crate::frame::{Frame, Leave};
use crate::own;
use crate::place::Target;
use crate::state::{HABITS, Region, SHARED_ONCE, UNTIL_WAIT, region};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use gate::calls::Rule;
use gate::entry::left_behind;
use gate::word::{Doing, ProcessWord, ThreadWord};

fn locks_held(region: &Region) -> bool {
    ProcessWord(region.header.process.load(Acquire)).locks() > 0
}

/// fork, and what returns in parent and child alike.
pub fn fork(frame: &mut Frame) -> u64 {
    let Some(region) = region() else { return PASS };
    // A call is open on this stack: a signal handler forks inside it. The child
    // must show it from the beginning.
    frame.note = [0; 5];
    if let Some(slot) = own::slot(region) {
        let word = ThreadWord(slot.word.load(Relaxed));
        let stack = slot.stack.load(Relaxed);
        let here = frame as *const Frame as u64;
        if word.doing() != Doing::Idle
            && !left_behind(stack, here, crate::sys::on_alternate_stack())
        {
            frame.note = [1, word.0, stack, 0, 0];
        }
    }
    if !locks_held(region) {
        // There is nothing to undo, but perhaps a word to take along.
        return super::bracket_if(frame.note[0] == 1);
    }
    // SAFETY: no path.
    unsafe { announce(frame, None, Begins::Child, |_| Target::Anything) };
    BRACKET
}

/// Back from fork in the child.
pub fn in_child(frame: &mut Frame) {
    let rule = super::rule(frame.inner);
    if matches!(rule, Some(Rule::Fork | Rule::Daemon)) && frame.note[0] == 1 {
        own::adopt(Some((frame.note[1], frame.note[2])));
    }
}

/// vfork, clone, system, popen: an entry like fork, but nothing may stand between
/// the caller and the call, or it lasts as long as a child does.
pub fn child_without_return(frame: &mut Frame) -> u64 {
    crate::change::family_changed();
    // Of system and popen the child is libc's own affair: it calls no hook before
    // its exec.
    if !matches!(super::rule(frame.inner), Some(Rule::Waits)) {
        SHARED_ONCE.store(true, Relaxed);
        crate::judged::forget();
    }
    if let Some(region) = region()
        && locks_held(region)
        && !own::shares_memory(region)
    {
        // SAFETY: no path.
        unsafe { announce(frame, None, Begins::Section, |_| Target::Anything) };
        let_go(frame);
    }
    PASS
}

/// A child without a region of its own makes this call: what becomes another program by it
/// changes things that are counted nowhere.
pub fn leaves_family(call: u16) {
    let rule = super::rule(call);
    if matches!(rule, Some(Rule::Exec | Rule::ExecList | Rule::Vfork | Rule::Clone | Rule::Waits)) {
        crate::change::family_changed();
    }
}

/// Takes an announcement back before the call.
pub fn let_go(frame: &mut Frame) {
    if let Some(region) = region() {
        give_back(frame, region);
        frame.leave = Leave::Nothing;
    }
}

/// posix_spawn: its file actions may create and truncate inside libc.
pub fn spawn(frame: &mut Frame, actions: u8) -> u64 {
    crate::change::family_changed();
    let Some(region) = region() else { return PASS };
    if frame.arg(actions) == 0 && !locks_held(region) {
        return PASS;
    }
    // SAFETY: no path.
    unsafe { announce(frame, None, Begins::Section, |_| Target::Anything) }
}

/// exec: what the freezer has mapped of this process will go stale, so the word
/// says so before. With locks held it waits like any entry: the new program will
/// find its locks and not know what was done under them.
pub fn exec(frame: &mut Frame) -> u64 {
    crate::change::family_changed();
    let Some(region) = region() else { return PASS };
    if own::shares_memory(region) {
        return PASS;
    }
    if locks_held(region) {
        // SAFETY: no path.
        unsafe { announce(frame, None, Begins::Nothing, |_| Target::Anything) };
        return BRACKET;
    }
    if let Some(slot) = own::slot(region) {
        let word = ThreadWord(slot.word.load(Relaxed));
        if word.doing() == Doing::Idle {
            slot.stack.store(frame as *const Frame as u64, Relaxed);
            // No number is raised: nothing is changed by it, and the freezer must
            // not take it for somebody who passed.
            let shown = word.enter(Doing::LockWait, frame.inner, None).show(Doing::Asking);
            slot.word.store(shown.0, Release);
            frame.leave = Leave::Idle;
        }
    }
    BRACKET
}

/// execl and its kind: their arguments lie on the stack, so the call is jumped to.
/// If it fails, the word stays until the thread's next entry finds it left behind.
pub fn exec_list(frame: &mut Frame) -> u64 {
    exec(frame);
    frame.leave = Leave::Nothing;
    PASS
}

/// A call that waits ends a section that lasts until then. One on a regular file
/// waits for nobody.
pub fn waits(fd: Option<i32>) -> u64 {
    if HABITS.load(Relaxed) & UNTIL_WAIT == 0 {
        return PASS;
    }
    let Some(region) = region() else { return PASS };
    let word = ProcessWord(region.header.process.load(Acquire));
    let regular = |fd| crate::sys::fstat(fd).is_some_and(|stat| stat.is_file_or_directory());
    if word.until_wait() && !fd.is_some_and(regular) {
        own::step(region, ProcessWord::waits);
    }
    PASS
}

/// wait and its kind: as any call that waits; afterwards, where a child may have
/// locked something for us, the kernel is asked.
pub fn reap() -> u64 {
    waits(None);
    super::bracket_if(super::descriptors::children_may_lock())
}
