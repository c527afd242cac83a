//! What a member's region showed in one reading, as far as it keeps a gate from draining.
//!
//! Regions change while they are looked at. Who is named as what a gate waits for is named by the
//! reading that found it in flight, and not by what it shows when its name is asked for.

use crate::census::member::{Member, is_calling};
use gate::locks::Lock;
use gate::word::{ProcessWord, ThreadWord};
use std::sync::atomic::Ordering::Acquire;

/// One reading of a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The process word.
    pub process: ProcessWord,
    /// Its section is open, and counts.
    pub in_section: bool,
    /// The first lock that keeps it open; none: the region listed none when it was read.
    pub lock: Option<Lock>,
    /// When the section began (0: not known).
    pub section_since: u64,
    /// Threads inside a call that counts: slot and word.
    pub calls: Vec<(usize, ThreadWord)>,
    /// Threads without a slot are in flight.
    pub without_slot: bool,
    /// Under its locks it has changed what the list of directories protects now.
    pub in_doubt: bool,
    /// It becomes another program.
    pub unknown: bool,
    /// It has no region of its own, and has done something since it was forked.
    pub without_region: bool,
}

impl Shown {
    /// What a member shows now; of its doubts nothing is known.
    pub fn now(member: &Member) -> Shown {
        let Some(view) = member.view.as_ref() else {
            return Shown { without_region: !member.fresh_fork, ..Shown::default() };
        };
        let header = view.header();
        let process = ProcessWord(header.process.load(Acquire));
        let over = [member.settled, member.locks_gone].contains(&Some(process.0));
        let words = view.slots().iter().map(|slot| ThreadWord(slot.word.load(Acquire)));
        let calls = words
            .enumerate()
            .filter(|(at, word)| is_calling(*word) && !member.disregards(*at, word.0));
        Shown {
            process,
            in_section: process.section_open() && !over,
            lock: header.locks.locks().find(Lock::counts),
            section_since: header.section_since.load(Acquire),
            calls: calls.collect(),
            without_slot: header.overflow.load(Acquire) > 0,
            in_doubt: false,
            unknown: member.unknown,
            without_region: false,
        }
    }
}
