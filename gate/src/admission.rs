//! What the freezer lets pass the closed barrier: a process that something in flight waits
//! for, and that is itself held.

use crate::control::ANY_SEQUENCE;
use crate::scratch::{Lineage, Place, Scratch};
use crate::view::ProcessView;
use crate::word::Doing;

/// What to let pass: the region's nonce, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Admission {
    /// The region that may pass.
    pub nonce: u64,
    /// While its lock sequence is this, or [`crate::control::ANY_SEQUENCE`].
    pub lock_sequence: u64,
}

/// An admission that the freezer has granted and not taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Grant {
    /// For which region, and for how long.
    pub candidate: Admission,
}

impl Grant {
    /// Is it this process's, and does it still hold?
    pub fn holds_for(&self, p: &ProcessView<'_>) -> bool {
        let Admission { nonce, lock_sequence } = self.candidate;
        p.nonce == nonce && (lock_sequence == ANY_SEQUENCE || lock_sequence == p.lock_sequence)
    }
}

/// Does a grant still hold?
pub(crate) fn outstanding(grant: &Grant, processes: &[ProcessView<'_>]) -> bool {
    processes.iter().any(|p| grant.holds_for(p))
}

/// Is some ancestor's set half-done: is this process a child that works for it?
fn works_for_a_section(at: usize, processes: &[ProcessView<'_>]) -> bool {
    let mut parent = processes[at].parent;
    // A list that lies about ancestry must not make us walk for ever.
    for _ in 0..processes.len() {
        match parent.and_then(|at| processes.get(at)) {
            Some(process) if process.in_set() => return true,
            Some(process) => parent = process.parent,
            None => return false,
        }
    }
    false
}

/// Must this grant be taken back: a child's whose owner is done, one for a lock that only the
/// kernel knew and shows no more, or an owner's whose section counts as over?
pub fn must_revoke(grant: &Grant, processes: &[ProcessView<'_>]) -> bool {
    let Admission { nonce, lock_sequence } = grant.candidate;
    let childs = lock_sequence == ANY_SEQUENCE;
    match processes.iter().position(|p| p.nonce == nonce) {
        Some(at) if childs => {
            !processes[at].unaccounted_lock && !works_for_a_section(at, processes)
        }
        Some(at) => processes[at].process.section_open() && processes[at].settled,
        None => childs,
    }
}

/// Can this process not go on unless it is let pass? Threads of an open section
/// pass by themselves, if it gives them the right.
fn stopped(p: &ProcessView<'_>) -> bool {
    p.nonce != 0 && p.held() && (!p.in_section() || !p.process.gives_right())
}

/// A lock holder's admission: ends when it gives up a lock.
fn as_holder(p: &ProcessView<'_>) -> Admission {
    Admission { nonce: p.nonce, lock_sequence: p.lock_sequence }
}

/// What is held and holds what `waiter` waits for, at first or at second hand:
/// the holder of that lock may itself wait for another, without being in flight.
///
/// Each process is followed once, and each holder of a file looked at once, over all waiters
/// of a pass: what was found to lead nowhere leads nowhere for the next one.
fn blocker(
    processes: &[ProcessView<'_>],
    waiter: usize,
    scratch: &mut Scratch<'_>,
) -> Option<usize> {
    if scratch.places[waiter].followed {
        return None;
    }
    let follow = |places: &mut [Place], at: usize, came_from: usize| {
        (places[at].followed, places[at].came_from, places[at].thread) = (true, came_from, 0);
    };
    let can_be_admitted =
        |places: &[Place], at: usize| stopped(&processes[at]) && !places[at].granted;
    follow(scratch.places, waiter, waiter);
    let mut at = waiter;
    loop {
        let Some(thread) = processes[at].threads.get(scratch.places[at].thread) else {
            // Nothing that it waits for is held.
            match scratch.places[at].came_from {
                none if none == at => return None,
                back => at = back,
            }
            continue;
        };
        let first = match (thread.word.doing(), thread.waits_for) {
            (Doing::LockWait, Some(file)) => scratch.first_holder(file),
            _ => None,
        };
        let Some(first) = first else {
            scratch.places[at].thread += 1;
            continue;
        };
        let skipped = scratch.holders[first].skipped;
        if let Some(found) = skipped.filter(|found| *found != at)
            && can_be_admitted(scratch.places, found)
        {
            return Some(found);
        }
        let next = scratch.holders[first].next;
        let holder = scratch.holders.get(next).filter(|h| h.file == scratch.holders[first].file);
        let Some(holder) = holder.map(|holder| holder.process) else {
            scratch.places[at].thread += 1;
            continue;
        };
        scratch.holders[first].next += 1;
        if holder == at {
            scratch.holders[first].skipped = skipped.or(Some(at));
        } else if can_be_admitted(scratch.places, holder) {
            return Some(holder);
        } else if !scratch.places[holder].followed {
            follow(scratch.places, holder, at);
            at = holder;
        }
    }
}

/// What something in flight waits for and is held: at most one at a time.
pub(crate) fn candidate(
    processes: &[ProcessView<'_>],
    grants: &[Grant],
    scratch: &mut Scratch<'_>,
) -> Option<Admission> {
    mark_granted(processes, grants, scratch);
    scratch.places.iter_mut().for_each(|place| place.followed = false);
    scratch.mark_lineage(processes, |ancestor| processes[ancestor].in_set());
    scratch.list_holders(processes);
    let works_for_a_section = |places: &[Place], at: usize| places[at].lineage == Lineage::With;
    for waiter in 0..processes.len() {
        // In flight, or let in because something in flight waits for it: what *it* waits
        // for must go on as well.
        let must_go_on = processes[waiter].in_set()
            || scratch.places[waiter].granted
            || works_for_a_section(scratch.places, waiter);
        if must_go_on && let Some(found) = blocker(processes, waiter, scratch) {
            // The holder of a lock that something in flight waits for.
            return Some(as_holder(&processes[found]));
        }
    }
    // A child of an open section; an owner whose child is done; one that holds a lock of which its
    // own word does not tell, so that it does not pass by itself.
    processes.iter().enumerate().find_map(|(at, p)| {
        if !stopped(p) || scratch.places[at].granted {
            None
        } else if p.in_section() {
            Some(as_holder(p))
        } else if p.unaccounted_lock || works_for_a_section(scratch.places, at) {
            Some(Admission { nonce: p.nonce, lock_sequence: ANY_SEQUENCE })
        } else {
            None
        }
    })
}

fn mark_granted(processes: &[ProcessView<'_>], grants: &[Grant], scratch: &mut Scratch<'_>) {
    scratch.places.iter_mut().for_each(|place| place.granted = false);
    // Of one place each in the control page: at most `ADMISSIONS`.
    for grant in grants.iter().filter(|grant| outstanding(grant, processes)) {
        let same = processes.iter().map(|p| p.nonce == grant.candidate.nonce);
        scratch.places.iter_mut().zip(same).for_each(|(place, same)| place.granted |= same);
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
