//! One pass: every word of every region of a gate, made into what
//! `gate::summary` judges.

use crate::census::{Member, exec_announced};
use gate::control::Rank;
use gate::view::{LockFile, ProcessView, ThreadView};
use gate::word::{Doing, ProcessWord, ThreadWord};
use std::ops::Range;
use std::sync::atomic::Ordering::Acquire;

/// What a pass read; reused from pass to pass.
#[derive(Default)]
pub struct Reading {
    /// At the thaw a word that says "exec" is the past of an image that is gone, or
    /// of one that changes nothing on its way out: no call.
    pub exec_is_past: bool,
    /// At the thaw, after a fence, who asks has not been let pass so far.
    pub asking_is_waiting: bool,
    threads: Vec<ThreadView>,
    holds: Vec<LockFile>,
    rows: Vec<Row>,
}

struct Row {
    nonce: u64,
    process: ProcessWord,
    lock_sequence: u64,
    threads: Range<usize>,
    holds: Range<usize>,
    overflow: u32,
    overflow_entries: u64,
    parent: Option<usize>,
    rank: Rank,
    settled: bool,
    fresh_fork: bool,
    unknown: bool,
    gone: bool,
}

impl Reading {
    /// Reads all members.
    pub fn read(&mut self, members: &mut [Member]) {
        self.threads.clear();
        self.holds.clear();
        self.rows.clear();
        for member in members {
            let row = self.read_one(member);
            self.rows.push(row);
        }
    }

    fn read_one(&mut self, member: &mut Member) -> Row {
        let (threads_from, holds_from) = (self.threads.len(), self.holds.len());
        let mut row = Row {
            nonce: member.nonce,
            process: ProcessWord::default(),
            // The dead hold no admission: no real sequence is ever this.
            lock_sequence: u64::MAX - 1,
            threads: threads_from..threads_from,
            holds: holds_from..holds_from,
            overflow: 0,
            overflow_entries: 0,
            parent: member.parent,
            rank: Rank::Last,
            settled: false,
            fresh_fork: member.fresh_fork,
            unknown: member.unknown,
            gone: member.gone || member.outsider,
        };
        let Some(view) = member.view.as_ref().filter(|_| !member.gone && !member.outsider) else {
            return row;
        };
        let header = view.header();
        for (at, slot) in view.slots().iter().enumerate() {
            let word = ThreadWord(slot.word.load(Acquire));
            let waits_for = (word.doing() == Doing::LockWait).then(|| LockFile {
                dev: slot.wait_dev.load(Acquire),
                ino: slot.wait_ino.load(Acquire),
            });
            let disregarded =
                crate::census::disregard::calling(word) && member.disregards(at, word.0);
            let mut thread = ThreadView { word, waits_for, disregarded };
            thread.disregarded |= self.exec_is_past && in_exec(&thread);
            // The fence does not reach everybody; and what was disregarded at the drain was
            // counted as it is.
            if self.asking_is_waiting && !thread.disregarded && !view.strong() {
                thread.word = word.not_let_pass();
            }
            self.threads.push(thread);
        }
        row.process = ProcessWord(header.process.load(Acquire));
        row.lock_sequence = header.lock_sequence.load(Acquire);
        row.rank = gate::region::rank(header.flags.load(Acquire));
        row.overflow = header.overflow.load(Acquire);
        row.overflow_entries = header.overflow_entries.load(Acquire);
        for lock in header.locks.iter().filter_map(|place| place.get()) {
            self.holds.push(LockFile { dev: lock.dev, ino: lock.ino });
        }
        row.threads = threads_from..self.threads.len();
        row.holds = holds_from..self.holds.len();
        row.settled = member.locks_gone == Some(row.process.0);
        let leaves = self.threads[row.threads.clone()].iter().any(in_exec);
        if !member.unknown && !self.exec_is_past && leaves {
            // Its mapping outlives the image: what it shows from now on is the past.
            member.unknown = exec_announced(member);
            row.unknown = member.unknown;
        }
        row
    }

    /// As `gate::summary` wants it; places as in the census.
    pub fn views(&self) -> Vec<ProcessView<'_>> {
        let standing = |row: &Row| ProcessView {
            // The dead are nobody's business, but their children's ancestry.
            nonce: if row.gone { row.nonce.max(1) } else { row.nonce },
            process: row.process,
            lock_sequence: row.lock_sequence,
            threads: &self.threads[row.threads.clone()],
            holds: &self.holds[row.holds.clone()],
            overflow: row.overflow,
            overflow_entries: row.overflow_entries,
            parent: row.parent,
            rank: row.rank,
            settled: row.settled,
            fresh_fork: row.fresh_fork,
            unknown: row.unknown && !row.gone,
        };
        self.rows.iter().map(standing).collect()
    }

    /// The open section of this member counts as over in this pass; its word.
    pub(super) fn settle(&mut self, member: usize) -> Option<ProcessWord> {
        let row = self.rows.get_mut(member)?;
        row.settled = true;
        Some(row.process)
    }

    /// Members with an open section that counts.
    pub(super) fn open_sections(&self) -> Vec<usize> {
        let open = |row: &Row| !row.gone && row.process.section_open() && !row.settled;
        (0..self.rows.len()).filter(|&at| open(&self.rows[at])).collect()
    }

    /// How many lock files a member holds, as read.
    pub fn holds_of(&self, member: usize) -> usize {
        self.rows.get(member).map_or(0, |row| row.holds.len())
    }

    /// Slots of a member, as read.
    pub fn threads_of(&self, member: usize) -> &[ThreadView] {
        self.rows.get(member).map_or(&[], |row| &self.threads[row.threads.clone()])
    }
}

fn in_exec(thread: &ThreadView) -> bool {
    use gate::calls::{Rule, TABLE};
    let rule = TABLE.get(thread.word.call() as usize).and_then(|info| info.rule);
    crate::census::disregard::calling(thread.word)
        && matches!(rule, Some(Rule::Exec | Rule::ExecList))
}
