//! One gated process, and what its words say.

use crate::census::region::MappedRegion;
use crate::census::unaccounted::UnaccountedLock;
use crate::linux::look::Look;
use crate::linux::procfs::{Stat, locks};
use gate::calls::{Rule, TABLE};
use gate::control::Rank;
use gate::word::{Doing, ProcessWord, ThreadWord};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// One gated process.
#[derive(Debug)]
pub struct Member {
    /// Process id, as we number it.
    pub pid: i32,
    /// Its start time, image, parent and name.
    pub stat: Stat,
    /// Becomes readable when it is dead.
    pub pidfd: Option<OwnedFd>,
    /// Its region; none: not yet, or it may not be read.
    pub view: Option<MappedRegion>,
    /// Why there is no region, if the kernel said so.
    pub denied: Option<i32>,
    /// The region's nonce; 0: no region.
    pub nonce: u64,
    /// What the region says about where it came from.
    pub parent_nonce: u64,
    /// Without a region: where the list of directories of the process that forked it lies.
    pub forkers_list: Option<(u64, u64)>,
    /// Index of its parent among the members of its gate.
    pub parent: Option<usize>,
    /// Forked, and no entry made since it was last looked at.
    pub fresh_fork: bool,
    /// Forked, and it found no memory for a region of its own.
    pub found_no_memory: bool,
    /// It is dead, or has left the gate by exec.
    pub gone: bool,
    /// About to become something else: in flight until looked up anew.
    pub unknown: bool,
    /// Slots whose word means nothing, with that very word.
    pub disregarded: Vec<(usize, u64)>,
    /// The process word for which the kernel says that the locks are gone.
    pub locks_gone: Option<u64>,
    /// A lock that the kernel shows and no region accounts for: a section in flight.
    pub unaccounted_lock: Option<UnaccountedLock>,
    /// The process word whose section counted as over in the last pass, by the
    /// profile's rule (for the list of blockers).
    pub settled: Option<u64>,
    /// Its count of calls that had waited as long as they may, when this drain began.
    pub overdue_before: u64,
}

impl Member {
    /// One of which nothing is known but that it is there.
    pub fn new(pid: i32, stat: Stat) -> Member {
        Member {
            pid,
            stat,
            pidfd: None,
            view: None,
            denied: None,
            nonce: 0,
            parent_nonce: 0,
            forkers_list: None,
            parent: None,
            fresh_fork: false,
            found_no_memory: false,
            gone: false,
            unknown: false,
            disregarded: Vec::new(),
            locks_gone: None,
            unaccounted_lock: None,
            settled: None,
            overdue_before: 0,
        }
    }

    /// Its process word, as it is now.
    pub fn process_word(&self) -> Option<ProcessWord> {
        self.view.as_ref().map(|view| ProcessWord(view.header().process.load(Acquire)))
    }

    /// Where the list of the directories that it was told lies in its memory, and how long it is.
    pub fn list(&self) -> Option<(u64, u64)> {
        let own = |view: &MappedRegion| {
            let header = view.header();
            (header.named_at.load(Relaxed), header.named_len.load(Relaxed))
        };
        self.view.as_ref().map(own).or(self.forkers_list)
    }

    /// Has a call of it passed the barrier since the drain began, because it had
    /// waited as long as it may?
    pub fn was_overdue(&self) -> bool {
        self.overdue() > self.overdue_before
    }

    /// See [`gate::region::Header::overdue`].
    pub fn overdue(&self) -> u64 {
        self.view.as_ref().map_or(0, |view| view.header().overdue.load(Relaxed))
    }

    /// Does its region show an open section that its death cuts?
    pub fn is_cut_by_death(&self) -> bool {
        self.process_word().is_some_and(|word| word.section_open() && !word.until_exit())
    }

    /// When is its program held?
    pub fn rank(&self) -> Rank {
        let flags = self.view.as_ref().map(|view| view.header().flags.load(Acquire));
        flags.map(gate::region::rank).unwrap_or_default()
    }

    /// Has it held a lock when it was last seen, and does the kernel still know one?
    pub fn execs_under_a_lock(&self) -> bool {
        self.process_word().is_some_and(|word| word.locks() != 0)
            && match locks::holds_a_guarding_lock(self.pid) {
                Look::Seen(holds) => holds,
                Look::Gone(_) => false,
                Look::NotSeen(_) => true,
            }
    }

    /// Has a word of this slot been found to mean nothing?
    pub fn disregards(&self, slot: usize, word: u64) -> bool {
        self.disregarded.contains(&(slot, word))
    }

    /// Does a thread of it say that it is about to exec?
    pub fn announces_exec(&self) -> bool {
        let Some(view) = &self.view else { return false };
        view.slots().iter().any(|slot| announces_exec(ThreadWord(slot.word.load(Acquire))))
    }

    /// Does it number its threads as we do?
    pub fn numbers_as_we_do(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.header().pid.load(Acquire) == self.pid)
    }
}

/// Is this the word of a thread inside a call, or about to be?
pub fn is_calling(word: ThreadWord) -> bool {
    matches!(word.doing(), Doing::Call | Doing::Asking)
}

/// Is this the word of a thread that becomes another program?
pub fn announces_exec(word: ThreadWord) -> bool {
    let rule = TABLE.get(word.call() as usize).and_then(|info| info.rule);
    is_calling(word) && matches!(rule, Some(Rule::Exec))
}
