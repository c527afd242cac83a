//! What a change that may be made means for the process's section.
//!
//! The first change under a lock opens the section, before it is made and while
//! the thread's word still announces it. A profile may add habits of a program:
//! files whose making, or whose writing, begins nothing; sections that last until
//! the process waits, or ends; a count of changes and syncs for the settled rule.

use crate::enter::Begins;
use crate::own;
use crate::place::{self, Target};
use crate::state::{
    FAMILY, FAMILY_RECORDED, HABITS, HANDED_OVER, HANDS_OVER, LAST_CHANGED, NEW_FILES, PARKABLE,
    RECORD, Region, SETTLED, UNTIL_EXIT, UNTIL_WAIT,
};
use crate::{judged, resolve, rules, sys};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use gate::calls::{Call, Rule};
use gate::locks::Table;
use gate::word::ProcessWord;

/// One change; whether it is one is found out at most once.
pub struct Change<'a, F: Fn(&Target) -> bool> {
    call: u16,
    begins: Begins,
    target: &'a Target,
    judge: F,
    known: Option<bool>,
}

impl<'a, F: Fn(&Target) -> bool> Change<'a, F> {
    /// Not looked at yet.
    pub fn new(call: u16, begins: Begins, target: &'a Target, judge: F) -> Self {
        Change { call, begins, target, judge, known: None }
    }

    /// Is a protected file changed?
    pub fn protected(&mut self) -> bool {
        *self.known.get_or_insert_with(|| (self.judge)(self.target))
    }

    /// It may be made: opens the section if it begins one.
    pub fn passes(&mut self, region: &Region) {
        let habits = HABITS.load(Relaxed);
        let process = ProcessWord(region.header.process.load(Acquire));
        if !means_something(process, habits) && self.begins != Begins::Child {
            return;
        }
        let fd = self.descriptor();
        if !judged::is_protected(fd) {
            if !self.protected() {
                return;
            }
            judged::protected(fd);
        }
        // Handling a lock file, or opening a file that is there, is no change.
        let syncs = matches!(self.call_rule(), Some(Rule::Sync(_)));
        let excused = self.begins == Begins::Nothing || self.excused(habits);
        if habits & SETTLED != 0 && (syncs || !excused) {
            self.count(region);
        }
        if excused {
            return;
        }
        let is_fork = self.call_rule() == Some(Rule::Fork);
        if process.would_begin() || is_fork && process.locks() > 0 {
            let table = Table(&region.header.locks);
            table.judge(place::lock_for_life);
            if is_fork {
                // Also locks under which a section was begun already, by writing
                // the id into the very file.
                table.exclude(place::is_pid_file);
            }
            own::recount(region);
        }
        let header = &region.header;
        let (changes, synced) = (header.changes.load(Relaxed), header.synced.load(Relaxed));
        let family_recorded = FAMILY_RECORDED.load(Relaxed);
        let recorded = habits & SETTLED != 0
            && gate::word::recorded_at_fork(changes, synced, family(), family_recorded);
        if is_fork {
            // Before the word that will be judged by it.
            header.family_at_fork.store(family_recorded, Release);
        }
        if !process.section_open() {
            header.section_since.store(sys::now(), Relaxed);
        }
        const BOTH: u32 = HANDS_OVER | RECORD;
        if habits & BOTH == BOTH && sys::fstat(fd).is_some_and(|stat| stat.is_socket()) {
            HANDED_OVER.store(header.section_since.load(Relaxed), Relaxed);
        }
        own::step(region, |word| {
            if is_fork {
                if word.locks() > 0 { word.forked(recorded) } else { word }
            } else if habits & UNTIL_EXIT != 0 {
                // Nothing but its death ends it: whoever waits for that finishes the set.
                if word.until_exit() { word } else { word.until_exit_begun() }
            } else if habits & UNTIL_WAIT != 0 {
                // Also under a lock: what follows its release belongs to the set.
                if word.until_wait() && word.section_open() {
                    word
                } else {
                    word.until_wait_begun()
                }
            } else if word.locks() > 0 {
                word.section_begun()
            } else {
                word
            }
        });
    }

    fn call_rule(&self) -> Option<Rule> {
        rules::rule(self.call)
    }

    /// By the profile, this change begins no section.
    fn excused(&self, habits: u32) -> bool {
        if habits & NEW_FILES != 0 {
            let call = self.call;
            let owner = [Call::fchown, Call::fchmod].iter().any(|c| *c as u16 == call);
            // An open that comes here creates: of a file that exists, it is
            // `Begins::Nothing` unless it truncates.
            if owner || matches!(self.call_rule(), Some(Rule::Open(..) | Rule::OpenMode(..))) {
                return true;
            }
        }
        habits & PARKABLE != 0
            && judged::parkable(self.descriptor(), || place::parkable(self.target))
    }

    /// The descriptor of the file that is changed; negative if there is none.
    fn descriptor(&self) -> i32 {
        match *self.target {
            Target::Fd(fd) | Target::Attributes(fd) => fd,
            Target::Stream(stream) => resolve::fileno(stream),
            _ => -1,
        }
    }

    /// For the settled rule: counts the owner's own changes, and up to which of
    /// them all is synced.
    fn count(&self, region: &Region) {
        let header = &region.header;
        let file = self.descriptor();
        if matches!(self.call_rule(), Some(Rule::Sync(_))) {
            // The call has yet to be made; nothing can be forked before it is.
            if file >= 0 && file == LAST_CHANGED.load(Relaxed) {
                header.synced.store(header.changes.load(Relaxed), Relaxed);
                FAMILY_RECORDED.store(family(), Relaxed);
            }
        } else if self.call_rule() != Some(Rule::Fork) {
            // A fork changes nothing; what the child changes is the family's.
            LAST_CHANGED.store(file, Relaxed);
            header.changes.fetch_add(1, Relaxed);
            family_changed();
        }
    }
}

/// Does a change mean anything for the section of a process that stands so?
#[inline(always)]
pub fn means_something(process: ProcessWord, habits: u32) -> bool {
    let counts = habits & SETTLED != 0;
    let begun = (process.until_wait() || process.until_exit()) && process.section_open();
    let lasts = habits & (UNTIL_WAIT | UNTIL_EXIT) != 0;
    process.would_begin() || counts || lasts && !begun
}

fn counter() -> Option<&'static AtomicU64> {
    // SAFETY: null, or in a mapping that stays at its address for life.
    unsafe { FAMILY.load(Acquire).as_ref() }
}

fn family() -> u64 {
    counter().map_or(0, |counter| counter.load(Acquire))
}

/// Somebody of this family changes something, or leaves it: what another program
/// changes is counted nowhere.
pub fn family_changed() {
    if HABITS.load(Relaxed) & SETTLED != 0
        && let Some(counter) = counter()
    {
        counter.fetch_add(1, Release);
    }
}

/// A forked child is about to replace its parent's region by its own: the count must
/// stay within reach. False: it cannot, and the parent's region must stay.
pub fn keep_family(parent: *mut Region) -> bool {
    if HABITS.load(Relaxed) & SETTLED == 0 {
        return true;
    }
    let at = FAMILY.load(Acquire).addr().wrapping_sub(parent.addr());
    // Else it lies in a mapping of its own already: this is a grandchild.
    if at < sys::PAGE {
        let page = sys::map_again(parent.cast(), sys::PAGE);
        if page.is_null() {
            return false;
        }
        FAMILY.store(page.wrapping_add(at).cast(), Release);
    }
    // A child has recorded nothing, and nothing that came before is its business.
    FAMILY_RECORDED.store(family(), Relaxed);
    true
}

/// After a change, in a program whose profile says `record`: a write to the very
/// file that the section's locks lie on is the record that completes the set. The
/// section is over; the next change begins another. Not where something was handed over
/// for several recipients, each with a record of its own: that set ends with its locks.
pub fn recorded(region: &Region, fd: i32) {
    let process = ProcessWord(region.header.process.load(Acquire));
    if !process.section_open() || process.locks() == 0 {
        return;
    }
    if region.header.section_since.load(Relaxed) == HANDED_OVER.load(Relaxed) {
        return;
    }
    let Some(stat) = sys::fstat(fd) else { return };
    let mut locks = Table(&region.header.locks).locks().filter(|lock| lock.counts());
    if locks.all(|lock| (lock.dev, lock.ino) == (stat.dev, stat.ino)) {
        own::step(region, ProcessWord::record_written);
    }
}
