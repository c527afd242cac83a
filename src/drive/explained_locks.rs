//! The short way at the end of a drain: whose is each lock that the kernel lists?
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

use crate::census::kernel_locks::{accounts_for, may_guard, unaccounted};
use crate::census::unaccounted::{UnaccountedLock, WhyUnaccounted};
use crate::drive::kernel_locks::{KernelLocks, ShortWay};
use crate::drive::lock_owners::{Whose, asked, is_nobody, is_still_shown};
use crate::drive::session::Session;
use crate::evidence::ancestry::is_kin;
use crate::linux::look::Look;
use crate::linux::namespaces::is_first_pid_namespace;
use crate::linux::procfs::locks::{KernelLock, all};
use std::collections::{HashMap, HashSet};

/// What one reading of the kernel's list comes to.
enum Lines {
    /// Every line is explained, or a member that was just looked at holds it.
    Explained,
    /// A line that is not explained is gone again.
    Changing,
    /// There is one.
    Unexplained,
    /// See [`ShortWay::Newcomer`].
    Newcomer,
}

/// How often the list is read again because a line of it was gone before its taker was looked at.
const READINGS: usize = 3;

impl Session {
    pub(super) fn explain_locks(&mut self, at: usize, known: &mut KernelLocks) -> ShortWay {
        if !is_first_pid_namespace() || known.found_something() {
            return ShortWay::Unknown;
        }
        let came = asked(&self.census, at).any(|(place, _)| !known.looks.contains_key(&place));
        let listed = if came { self.list_locks(at) } else { None };
        let mut places = HashMap::new();
        let mut fresh = HashSet::new();
        for (place, member) in asked(&self.census, at) {
            places.insert(member.pid, place);
            match known.looks.get(&place) {
                Some(look) if member.unaccounted_lock.is_none() => {
                    if look.is_of_now(member) {
                        fresh.insert(place);
                    }
                }
                // It came since, and what it has from its parent was not looked at; or it had one at the
                // last comparison, of which its account knows nothing.
                before => {
                    let listed = listed.as_ref().filter(|_| before.is_none());
                    match listed.and_then(|listed| listed.holds_none(place, member)) {
                        Some(look) => drop(known.looks.insert(place, look)),
                        None => known.look_at(place, member),
                    }
                    fresh.insert(place);
                }
            }
        }
        let mut readings = 0;
        loop {
            match self.explain_lines(at, &places, &mut fresh, known) {
                Lines::Explained => break,
                Lines::Changing if readings < READINGS => readings += 1,
                Lines::Changing | Lines::Unexplained => return ShortWay::Unknown,
                Lines::Newcomer => return ShortWay::Newcomer,
            }
        }
        let accounts = self.accounts_of(at, &fresh, known).filter(|_| !known.found_something());
        let Some(mut unaccounted) = accounts else { return ShortWay::Unknown };
        self.take_in_left_lock_files(at, &mut unaccounted);
        ShortWay::Known(unaccounted)
    }

    /// One reading of the kernel's list.
    fn explain_lines(
        &mut self,
        at: usize,
        places: &HashMap<i32, usize>,
        fresh: &mut HashSet<usize>,
        known: &mut KernelLocks,
    ) -> Lines {
        let Look::Seen(mut lines) = all() else { return Lines::Unexplained };
        lines.retain(|line| may_guard(line) && !known.others.contains(line));
        lines.retain(|line| {
            !places.get(&line.pid).is_some_and(|place| self.is_takers(at, *place, known, line))
        });
        // The takers of what is left are looked at, and nobody else.
        for line in &lines {
            if let Some(&place) = places.get(&line.pid)
                && !fresh.iter().any(|place| known.holds(*place, line))
            {
                known.look_at(place, &self.census.gates[at][place]);
                fresh.insert(place);
            }
        }
        for line in lines {
            if fresh.iter().any(|place| known.holds(*place, &line)) {
                continue;
            }
            if places.contains_key(&line.pid) || is_nobody(line.pid) {
                // What it was changed into is in the next reading.
                return match is_still_shown(&line) {
                    true => Lines::Unexplained,
                    false => Lines::Changing,
                };
            }
            match self.whose(at, &line) {
                Whose::Others | Whose::Unconcerned(_) => drop(known.others.insert(line)),
                Whose::Newcomer => return Lines::Newcomer,
                Whose::Stranger(_) | Whose::Nobodys | Whose::NotSeen => return Lines::Unexplained,
            }
        }
        Lines::Explained
    }

    /// Does the region of this line's taker account for it, or is it held for life by the last look?
    fn is_takers(&self, at: usize, place: usize, known: &KernelLocks, line: &KernelLock) -> bool {
        let before = known.looks.get(&place).filter(|look| !look.unstable);
        let held = before.and_then(|look| look.held.iter().find(|held| held.lock == *line));
        accounts_for(&self.census.gates[at][place], line)
            || held.is_some_and(|held| self.is_for_life(at, held))
    }

    /// What these members were seen to hold and no region accounts for; none if others must be looked at
    /// to know it.
    fn accounts_of(
        &self,
        at: usize,
        places: &HashSet<usize>,
        known: &KernelLocks,
    ) -> Option<HashMap<usize, UnaccountedLock>> {
        let members = &self.census.gates[at];
        let mut found = HashMap::new();
        for &place in places {
            let Some(look) = known.looks.get(&place) else { continue };
            let is_exempt =
                |held: &_| self.is_for_life(at, held) || is_kin(members[place].pid, &self.census);
            match unaccounted(members, &known.looks, place, is_exempt) {
                _ if look.unstable => return None,
                None => {}
                Some(lock) if lock.why == WhyUnaccounted::NotListed => {
                    found.insert(place, lock);
                }
                // The one that took it may hold it.
                Some(_) => return None,
            }
        }
        Some(found)
    }
}
