//! What one pass reads: every word of every region of a gate, made into what
//! `gate::summary` judges.

use crate::census::member::{Member, announces_exec, is_calling};
use crate::census::shown::Shown;
use gate::control::Rank;
use gate::locks::Lock;
use gate::places::in_doubt;
use gate::view::{LockFile, ProcessView, ThreadView};
use gate::word::{Doing, ProcessWord, ThreadWord};
use std::ops::Range;
use std::sync::atomic::Ordering::Acquire;

/// A word that a thread showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShownWord {
    /// Place of its process in the census.
    pub member: usize,
    /// Slot of the thread.
    pub slot: usize,
    /// What it showed.
    pub word: ThreadWord,
}

/// What a pass read; reused from pass to pass.
#[derive(Default)]
pub struct Reading {
    /// At the thaw a word that says "exec" is the past of an image that is gone, or
    /// of one that changes nothing on its way out: no call.
    exec_is_past: bool,
    /// At the thaw, after a fence, a thread that asks has not been let pass so far.
    asking_is_waiting: bool,
    /// The places of the list in force ([`gate::places::Published::noted`]).
    places: Vec<u64>,
    threads: Vec<ThreadView>,
    holds: Vec<LockFile>,
    members: Vec<MemberReading>,
}

/// One member, as it was read.
struct MemberReading {
    nonce: u64,
    process: ProcessWord,
    lock_sequence: u64,
    threads: Range<usize>,
    holds: Range<usize>,
    /// The first lock that keeps its section open, and since when that is.
    counted: Option<Lock>,
    section_since: u64,
    overflow: u32,
    overflow_entries: u64,
    parent: Option<usize>,
    rank: Rank,
    settled: bool,
    fresh_fork: bool,
    unknown: bool,
    unaccounted_lock: bool,
    in_doubt: bool,
    gone: bool,
}

impl Reading {
    /// From now on only those count that passed. `fenced`: one that had passed by now
    /// shows it.
    pub fn at_thaw(&mut self, fenced: bool) {
        self.exec_is_past = true;
        self.asking_is_waiting = fenced;
    }

    /// Reads all members. `places`: those of the list in force, as the page notes them.
    pub fn read(&mut self, members: &mut [Member], places: impl Iterator<Item = u64>) {
        self.places.clear();
        self.places.extend(places);
        self.threads.clear();
        self.holds.clear();
        self.members.clear();
        for member in members {
            let reading = self.read_one(member);
            self.members.push(reading);
        }
    }

    fn read_one(&mut self, member: &mut Member) -> MemberReading {
        let (threads_from, holds_from) = (self.threads.len(), self.holds.len());
        let mut reading = MemberReading {
            nonce: member.nonce,
            process: ProcessWord::default(),
            // The dead hold no admission: no real sequence is ever this.
            lock_sequence: u64::MAX - 1,
            threads: threads_from..threads_from,
            holds: holds_from..holds_from,
            counted: None,
            section_since: 0,
            overflow: 0,
            overflow_entries: 0,
            parent: member.parent,
            rank: Rank::Last,
            settled: false,
            fresh_fork: member.fresh_fork,
            unknown: member.unknown,
            unaccounted_lock: member.unaccounted_lock.is_some(),
            in_doubt: false,
            gone: member.gone,
        };
        let Some(view) = member.view.as_ref().filter(|_| !member.gone) else {
            return reading;
        };
        let header = view.header();
        for (at, slot) in view.slots().iter().enumerate() {
            let word = ThreadWord(slot.word.load(Acquire));
            let waits_for = (word.doing() == Doing::LockWait).then(|| LockFile {
                dev: slot.wait_dev.load(Acquire),
                ino: slot.wait_ino.load(Acquire),
            });
            let disregarded = is_calling(word) && member.disregards(at, word.0);
            let mut thread = ThreadView { word, waits_for, disregarded };
            thread.disregarded |= self.exec_is_past && in_exec(&thread);
            // The fence does not reach all of them; and what was disregarded at the drain was
            // counted as it is.
            if self.asking_is_waiting && !thread.disregarded && !view.strong() {
                thread.word = word.not_let_pass();
            }
            self.threads.push(thread);
        }
        reading.process = ProcessWord(header.process.load(Acquire));
        let passed_by = header.passed_by.load(Acquire);
        reading.in_doubt = in_doubt(reading.process, passed_by, self.places.iter().copied());
        reading.lock_sequence = header.lock_sequence.load(Acquire);
        reading.rank = gate::region::rank(header.flags.load(Acquire));
        reading.overflow = header.overflow.load(Acquire);
        reading.overflow_entries = header.overflow_entries.load(Acquire);
        reading.section_since = header.section_since.load(Acquire);
        for lock in header.locks.locks() {
            reading.counted = reading.counted.or(Some(lock).filter(Lock::counts));
            self.holds.push(LockFile { dev: lock.dev, ino: lock.ino });
        }
        reading.threads = threads_from..self.threads.len();
        reading.holds = holds_from..self.holds.len();
        reading.settled = member.locks_gone == Some(reading.process.0);
        let leaves = self.threads[reading.threads.clone()].iter().any(in_exec);
        if !member.unknown && !self.exec_is_past && leaves {
            // Its mapping outlives the image: what it shows from now on is the past.
            member.unknown = member.announces_exec();
            reading.unknown = member.unknown;
        }
        reading
    }

    /// As `gate::summary` wants it; places as in the census.
    pub fn views(&self) -> Vec<ProcessView<'_>> {
        let view = |read: &MemberReading| ProcessView {
            // The dead matter for their children's ancestry alone.
            nonce: if read.gone { read.nonce.max(1) } else { read.nonce },
            process: read.process,
            lock_sequence: read.lock_sequence,
            threads: &self.threads[read.threads.clone()],
            holds: &self.holds[read.holds.clone()],
            overflow: read.overflow,
            overflow_entries: read.overflow_entries,
            parent: read.parent,
            rank: read.rank,
            settled: read.settled,
            fresh_fork: read.fresh_fork,
            unknown: read.unknown && !read.gone,
            unaccounted_lock: read.unaccounted_lock && !read.gone,
            in_doubt: read.in_doubt && !read.gone,
        };
        self.members.iter().map(view).collect()
    }

    /// Takes over, after the locks were compared, which members have one that no region accounts
    /// for.
    pub(super) fn take_unaccounted(&mut self, members: &[Member]) {
        for (read, member) in self.members.iter_mut().zip(members) {
            read.unaccounted_lock = member.unaccounted_lock.is_some();
        }
    }

    /// The open section of this member counts as over in this pass; its word.
    pub(super) fn settle(&mut self, member: usize) -> Option<ProcessWord> {
        let read = self.members.get_mut(member)?;
        read.settled = true;
        Some(read.process)
    }

    /// Members with an open section that counts.
    pub(super) fn open_sections(&self) -> Vec<usize> {
        let open =
            |read: &MemberReading| !read.gone && read.process.section_open() && !read.settled;
        (0..self.members.len()).filter(|&at| open(&self.members[at])).collect()
    }

    /// What keeps the gate open of what this member showed.
    pub(super) fn shown(&self, member: usize) -> Shown {
        let Some(read) = self.members.get(member).filter(|read| !read.gone) else {
            return Shown::default();
        };
        let threads = self.threads[read.threads.clone()].iter().enumerate();
        let calls = threads.filter(|(_, thread)| thread.is_calling());
        Shown {
            process: read.process,
            in_section: read.process.section_open() && !read.settled,
            lock: read.counted,
            section_since: read.section_since,
            calls: calls.map(|(slot, thread)| (slot, thread.word)).collect(),
            without_slot: read.overflow > 0,
            in_doubt: read.in_doubt,
            unknown: read.unknown,
            without_region: read.nonce == 0 && !read.fresh_fork,
        }
    }

    /// How many lock files a member holds, as read.
    pub fn holds_of(&self, member: usize) -> usize {
        self.members.get(member).map_or(0, |read| read.holds.len())
    }

    /// Slots of a member, as read.
    pub fn threads_of(&self, member: usize) -> &[ThreadView] {
        self.members.get(member).map_or(&[], |read| &self.threads[read.threads.clone()])
    }

    /// The words of all threads that do such a thing.
    pub fn showing(&self, such: impl Fn(Doing) -> bool) -> Vec<ShownWord> {
        let mut found = Vec::new();
        for member in 0..self.members.len() {
            for (slot, thread) in self.threads_of(member).iter().enumerate() {
                if such(thread.word.doing()) {
                    found.push(ShownWord { member, slot, word: thread.word });
                }
            }
        }
        found
    }
}

fn in_exec(thread: &ThreadView) -> bool {
    announces_exec(thread.word)
}
