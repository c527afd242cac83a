//! Who may have mapped a file shared and writable after its mappings were looked at, and before the
//! barrier came down: what it stored there meanwhile no look has seen, if it took the mapping away
//! again.
//!
//! A region says how often its process has done so ([`gate::region::Header::shared_mappings`]). One
//! whose number stands still had, while the barrier was up, no mapping but those that were looked at.

use crate::census::list::Census;
use crate::census::member::Member;
use gate::region::FLAG_MAPS_SHARED;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::{Acquire, SeqCst};

/// What the regions said, by nonce.
#[derive(Default)]
pub struct MappedSince {
    /// Before the first look.
    noted: BTreeMap<u64, u64>,
    /// Before the barrier came down: has it mapped since?
    judged: BTreeMap<u64, bool>,
}

impl MappedSince {
    /// The mappings of all members of this gate are about to be looked at.
    pub fn note(&mut self, census: &Census, gate: usize) {
        self.noted.extend(census.alive(gate).filter_map(number));
    }

    /// The barrier is about to come down.
    pub fn judge(&mut self, census: &Census) {
        for gate in 0..census.gates.len() {
            for member in census.alive(gate).filter(|member| maps_shared(member)) {
                self.judged.insert(member.nonce, self.may_have_mapped(member));
            }
        }
    }

    /// Those of a gate, by process id, as far as is known now.
    pub fn of(&self, census: &Census, gate: usize) -> BTreeSet<i32> {
        let mapped = |member: &&Member| {
            let judged = self.judged.get(&member.nonce).copied();
            judged.unwrap_or_else(|| self.may_have_mapped(member))
        };
        let flagged = census.alive(gate).filter(|member| maps_shared(member));
        flagged.filter(mapped).map(|member| member.pid).collect()
    }

    fn may_have_mapped(&self, member: &Member) -> bool {
        let Some((nonce, now)) = number(member) else { return true };
        // A child begins with its parent's number, and with its parent's mappings.
        let before = self.noted.get(&nonce).or_else(|| self.noted.get(&member.parent_nonce));
        before != Some(&now)
    }
}

fn maps_shared(member: &Member) -> bool {
    let flags = |member: &Member| Some(member.view.as_ref()?.header().flags.load(Acquire));
    flags(member).is_some_and(|flags| flags & FLAG_MAPS_SHARED != 0)
}

/// A region's nonce, and its number as it is now; none: a copy is as old as it is.
fn number(member: &Member) -> Option<(u64, u64)> {
    let view = member.view.as_ref().filter(|view| !view.copied)?;
    Some((member.nonce, view.header().shared_mappings.load(SeqCst)))
}
