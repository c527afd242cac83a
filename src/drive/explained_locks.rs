//! The short way at the end of a drain: is every lock that the kernel lists accounted for?
//!
//! In the machine's first PID namespace `/proc/locks` lists every lock, whoever holds it. So where
//! each of its guarding lines is explained, no member has a lock that no region accounts for, and
//! the descriptors of nobody need be read (that costs some 7 µs each). Explained is what
//!
//! - was none of the gate's business before the barrier, or is not now;
//! - the region of the member that took it accounts for: of an OFD lock or an flock, which others may
//!   go on to hold, only if the one descriptor that the region names still has it;
//! - a member holds by a look that is of now, and its region accounts for it.
//!
//! Whatever else there is, the long way finds out (`kernel_locks`). A description that a process outside
//! of the gate has locked and hands to a member during the drain stays that process's.

use crate::census::kernel_locks::{accounts_for, unaccounted};
use crate::drive::kernel_locks::{KernelLocks, Whose, asked, is_nobody, may_guard};
use crate::drive::session::Session;
use crate::evidence::ancestry::is_kin;
use crate::linux::look::Look;
use crate::linux::namespaces::is_first_pid_namespace;
use crate::linux::procfs::locks::{KernelLock, all};
use std::collections::{HashMap, HashSet};

/// What the short way has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ShortWay {
    /// All is accounted for.
    Explained,
    /// That is not known: the long way tells.
    Unknown,
    /// The same; and a process was taken into the census whose words no pass has read.
    Newcomer,
}

impl Session {
    pub(super) fn explain_locks(&mut self, at: usize, known: &mut KernelLocks) -> ShortWay {
        if !is_first_pid_namespace() || known.found_something() {
            return ShortWay::Unknown;
        }
        let mut places = HashMap::new();
        let mut fresh = HashSet::new();
        for (place, member) in asked(&self.census, at) {
            if member.unaccounted_lock.is_some() {
                return ShortWay::Unknown;
            }
            places.insert(member.pid, place);
            match known.looks.get(&place) {
                Some(look) if look.is_of_now(member) => drop(fresh.insert(place)),
                Some(_) => {}
                // It came since: what it has from its parent was not looked at.
                None => {
                    known.look_at(place, member);
                    fresh.insert(place);
                }
            }
        }
        let Look::Seen(mut lines) = all() else { return ShortWay::Unknown };
        lines.retain(|line| may_guard(line) && !known.others.contains(line));
        lines.retain(|line| {
            !places.get(&line.pid).is_some_and(|place| self.is_takers(at, *place, known, line))
        });
        // The takers of what is left are looked at, and nobody else.
        for line in &lines {
            let taker = places.get(&line.pid).filter(|place| !fresh.contains(place));
            if let Some(&place) = taker {
                known.look_at(place, &self.census.gates[at][place]);
                fresh.insert(place);
            }
        }
        for line in lines {
            if fresh.iter().any(|place| known.holds(*place, &line)) {
                continue;
            }
            if places.contains_key(&line.pid) || is_nobody(line.pid) {
                return ShortWay::Unknown;
            }
            match self.whose(at, &line) {
                Whose::Others => drop(known.others.insert(line)),
                Whose::Newcomer => return ShortWay::Newcomer,
                Whose::Stranger(_) | Whose::Nobodys | Whose::NotSeen => return ShortWay::Unknown,
            }
        }
        let mut left = HashMap::new();
        self.take_in_left_lock_files(at, &mut left);
        match left.is_empty() && !known.found_something() && self.account_for(at, &fresh, known) {
            true => ShortWay::Explained,
            false => ShortWay::Unknown,
        }
    }

    /// Does the region of this line's taker account for it, or is it held for life by the last look?
    fn is_takers(&self, at: usize, place: usize, known: &KernelLocks, line: &KernelLock) -> bool {
        let before = known.looks.get(&place).filter(|look| !look.unstable);
        let held = before.and_then(|look| look.held.iter().find(|held| held.lock == *line));
        accounts_for(&self.census.gates[at][place], line)
            || held.is_some_and(|held| self.is_for_life(at, held))
    }

    /// Do the regions of these members account for all locks that they were seen to hold?
    fn account_for(&self, at: usize, places: &HashSet<usize>, known: &KernelLocks) -> bool {
        let members = &self.census.gates[at];
        places.iter().all(|&place| {
            let is_exempt =
                |held: &_| self.is_for_life(at, held) || is_kin(members[place].pid, &self.census);
            known.looks.get(&place).is_none_or(|look| !look.unstable)
                && unaccounted(members, &known.looks, place, is_exempt).is_none()
        })
    }
}
