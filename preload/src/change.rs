//! What a change that may be made means for the process's section.
//!
//! The first change under a lock opens the section, before it is made and while
//! the thread's word still announces it. A profile may add rules for a program:
//! files whose making, or whose writing, begins nothing; sections that last until
//! the process waits, or ends; a count of changes and syncs for the settled rule.

use crate::linux::files::{Stat, fstat};
use crate::linux::time::now;
use crate::protected::descriptor_cache;
use crate::protected::lifetime_locks::{are_pid_files, is_held_for_life};
use crate::protected::operand::{self, Operand};
use crate::resolve::libc::fileno;
use crate::rule_table::rule;
use crate::this_process::family;
use crate::this_process::lock_table::{process_word, recount, update};
use crate::this_process::profile_flags::PROFILE_FLAGS;
use crate::this_process::state::Region;
use core::sync::atomic::Ordering::{Relaxed, Release};
use core::sync::atomic::{AtomicI32, AtomicU64};
use gate::calls::{Call, Rule};
use gate::locks::{SMALL, Table};
use gate::profile::Key;
use gate::word::ProcessWord;

/// When the last section began that something was handed over in, ns.
static HANDED_OVER: AtomicU64 = AtomicU64::new(0);
/// The descriptor that was changed last, -1 if by name.
static LAST_CHANGED: AtomicI32 = AtomicI32::new(-1);

/// What a change means for the section of a process that holds locks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SectionEffect {
    /// The first change under a lock begins the section.
    Begins,
    /// A fork under a lock begins it, and what locks the parent keeps for life is seen.
    BeginsByFork,
    /// This one does not (fsync, a hitching post, a file opened that is there).
    None,
}

/// One change; whether it is one is found out at most once.
pub struct PendingChange<'a, F: Fn(&Operand) -> bool> {
    call: u16,
    effect: SectionEffect,
    operand: &'a Operand,
    judge: F,
    known: Option<bool>,
}

impl<'a, F: Fn(&Operand) -> bool> PendingChange<'a, F> {
    pub fn new(call: u16, effect: SectionEffect, operand: &'a Operand, judge: F) -> Self {
        PendingChange { call, effect, operand, judge, known: None }
    }

    /// Is a protected file changed?
    pub fn protected(&mut self) -> bool {
        *self.known.get_or_insert_with(|| (self.judge)(self.operand))
    }

    /// It may be made: opens the section if it begins one.
    pub fn goes_ahead(&mut self, region: &Region) {
        let flags = PROFILE_FLAGS.load(Relaxed);
        let process = process_word(region);
        if !matters(process, flags) && self.effect != SectionEffect::BeginsByFork {
            return;
        }
        let fd = self.descriptor();
        if !descriptor_cache::is_protected(fd) {
            if !self.protected() {
                return;
            }
            descriptor_cache::protected(fd);
        }
        // Handling a lock file, or opening a file that is there, is no change.
        let syncs = matches!(rule(self.call), Some(Rule::Sync(_)));
        let exempt = self.effect == SectionEffect::None || self.is_exempt(flags);
        if flags & Key::Settled.flag() != 0 && (syncs || !exempt) {
            self.count(region);
        }
        if exempt {
            return;
        }
        let is_fork = rule(self.call) == Some(Rule::Fork);
        if process.would_begin() || is_fork && process.locks() > 0 {
            let table = Table(&region.header.locks);
            table.judge(is_held_for_life);
            recount(region);
            let only_pid = is_fork && (!process.section_open() || process.lock_file_only());
            if only_pid && are_pid_files(table) {
                update(region, ProcessWord::forked_under_pid_files);
                return;
            }
        }
        let of_lock_file = !is_fork && is_small_lock_file(region, fd);
        let header = &region.header;
        let (changes, synced) = (header.changes.load(Relaxed), header.synced.load(Relaxed));
        let count_at_record = family::count_at_record();
        let recorded = flags & Key::Settled.flag() != 0
            && gate::word::recorded_at_fork(changes, synced, family::count(), count_at_record);
        if is_fork {
            // Before the word that will be judged by it.
            header.family_at_fork.store(count_at_record, Release);
        }
        if !process.section_open() {
            header.section_since.store(now(), Relaxed);
        }
        const BOTH: u32 = Key::HandOver.flag() | Key::Record.flag();
        if flags & BOTH == BOTH && fstat(fd).is_some_and(|stat| stat.is_socket()) {
            HANDED_OVER.store(header.section_since.load(Relaxed), Relaxed);
        }
        update(region, |word| {
            if is_fork {
                if word.locks() > 0 { word.forked(recorded) } else { word }
            } else if flags & Key::UntilExit.flag() != 0 {
                // Nothing but its death ends it: the process that waits for that finishes the set.
                if word.until_exit() { word } else { word.until_exit_begun() }
            } else if flags & Key::UntilWait.flag() != 0 {
                // Also under a lock: what follows its release belongs to the set.
                if word.until_wait() && word.section_open() {
                    word
                } else {
                    word.until_wait_begun()
                }
            } else if word.locks() > 0 && of_lock_file {
                word.lock_file_changed()
            } else if word.locks() > 0 {
                word.section_begun()
            } else {
                word
            }
        });
    }

    /// By the profile, this change begins no section.
    fn is_exempt(&self, flags: u32) -> bool {
        if flags & Key::NewFiles.flag() != 0 {
            let call = self.call;
            let owner = [Call::fchown, Call::fchmod].iter().any(|c| *c as u16 == call);
            // An open that comes here creates: of a file that exists, it is
            // `SectionEffect::None` unless it truncates.
            if owner || matches!(rule(self.call), Some(Rule::Open(..) | Rule::OpenMode(..))) {
                return true;
            }
        }
        flags & Key::Parkable.flag() != 0
            && descriptor_cache::parkable(self.descriptor(), || operand::parkable(self.operand))
    }

    /// The descriptor of the file that is changed; negative if there is none.
    fn descriptor(&self) -> i32 {
        match *self.operand {
            Operand::Fd(fd) | Operand::Attributes(fd) => fd,
            Operand::Stream(stream) => fileno(stream),
            _ => -1,
        }
    }

    /// For the settled rule: counts the owner's own changes, and up to which of
    /// them all is synced.
    fn count(&self, region: &Region) {
        let header = &region.header;
        let file = self.descriptor();
        if matches!(rule(self.call), Some(Rule::Sync(_))) {
            // The call has yet to be made; nothing can be forked before it is.
            if file >= 0 && file == LAST_CHANGED.load(Relaxed) {
                header.synced.store(header.changes.load(Relaxed), Relaxed);
                family::all_recorded();
            }
        } else if rule(self.call) != Some(Rule::Fork) {
            // A fork changes nothing; what the child changes is the family's.
            LAST_CHANGED.store(file, Relaxed);
            header.changes.fetch_add(1, Relaxed);
            family::changed();
        }
    }
}

/// Is it the only file that is locked, and so small that it may be a pid file?
fn is_small_lock_file(region: &Region, fd: i32) -> bool {
    let counting = || Table(&region.header.locks).locks().filter(|lock| lock.counts());
    if !counting().all(|lock| lock.flags & SMALL != 0) {
        return false;
    }
    let same_file = |stat: Stat| counting().all(|l| (l.dev, l.ino) == (stat.dev, stat.ino));
    fd >= 0 && counting().all(|lock| lock.fd == fd) || fstat(fd).is_some_and(same_file)
}

/// Does a change mean anything for the section of a process that stands so?
#[inline(always)]
pub fn matters(process: ProcessWord, flags: u32) -> bool {
    let counts = flags & Key::Settled.flag() != 0;
    let begun = (process.until_wait() || process.until_exit()) && process.section_open();
    let lasts = flags & (Key::UntilWait.flag() | Key::UntilExit.flag()) != 0;
    process.would_begin() || counts || lasts && !begun
}

/// After a change, in a program whose profile says `record`: a write to the very
/// file that the section's locks lie on is the record that completes the set. The
/// section is over; the next change begins another. Not where something was handed over
/// for several recipients, each with a record of its own: that set ends with its locks.
pub fn recorded(region: &Region, fd: i32) {
    let process = process_word(region);
    if !process.section_open() || process.locks() == 0 {
        return;
    }
    if region.header.section_since.load(Relaxed) == HANDED_OVER.load(Relaxed) {
        return;
    }
    let Some(stat) = fstat(fd) else { return };
    let mut locks = Table(&region.header.locks).locks().filter(|lock| lock.counts());
    if locks.all(|lock| (lock.dev, lock.ino) == (stat.dev, stat.ino)) {
        update(region, ProcessWord::record_written);
    }
}
