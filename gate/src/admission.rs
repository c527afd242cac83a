//! What the freezer lets pass the closed barrier: a process that something in flight waits
//! for, and that is itself held.

use crate::control::ANY_SEQUENCE;
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

/// Is some ancestor's section open: is this process a child that works for it?
fn works_for_a_section(at: usize, processes: &[ProcessView<'_>]) -> bool {
    let mut parent = processes[at].parent;
    // A list that lies about ancestry must not make us walk for ever.
    for _ in 0..processes.len() {
        match parent.and_then(|at| processes.get(at)) {
            Some(process) if process.in_section() => return true,
            Some(process) => parent = process.parent,
            None => return false,
        }
    }
    false
}

/// Must this grant be taken back: a child's whose owner is done, or an owner's
/// whose section counts as over?
pub fn must_revoke(grant: &Grant, processes: &[ProcessView<'_>]) -> bool {
    let Admission { nonce, lock_sequence } = grant.candidate;
    let childs = lock_sequence == ANY_SEQUENCE;
    match processes.iter().position(|p| p.nonce == nonce) {
        Some(at) if childs => !works_for_a_section(at, processes),
        Some(at) => processes[at].process.section_open() && processes[at].settled,
        None => childs,
    }
}

/// How many locks a chain of waiters is followed along.
const CHAIN: usize = 4;

/// Can this process not go on unless it is let pass? Threads of an open section
/// pass by themselves, unless the section was left to a child.
fn stopped(p: &ProcessView<'_>) -> bool {
    p.nonce != 0 && p.held() && (!p.in_section() || p.process.recorded())
}

/// A lock holder's admission: ends when it gives up a lock.
fn as_holder(p: &ProcessView<'_>) -> Admission {
    Admission { nonce: p.nonce, lock_sequence: p.lock_sequence }
}

/// What is held and holds what `waiter` waits for, at first or at second hand:
/// the holder of that lock may itself wait for another, without being in flight.
fn blocker(
    processes: &[ProcessView<'_>],
    waiter: usize,
    is_free: &impl Fn(usize) -> bool,
    depth: usize,
) -> Option<Admission> {
    for thread in processes[waiter].threads {
        let (Doing::LockWait, Some(file)) = (thread.word.doing(), thread.waits_for) else {
            continue;
        };
        for at in 0..processes.len() {
            let p = &processes[at];
            if at == waiter || !p.holds.contains(&file) {
                continue;
            }
            if stopped(p) && is_free(at) {
                return Some(as_holder(p));
            }
            if depth > 0
                && let Some(found) = blocker(processes, at, is_free, depth - 1)
            {
                return Some(found);
            }
        }
    }
    None
}

/// What something in flight waits for and is held: at most one at a time.
pub(crate) fn candidate(processes: &[ProcessView<'_>], grants: &[Grant]) -> Option<Admission> {
    let is_free = |at: usize| {
        let nonce = processes[at].nonce;
        !grants.iter().any(|g| g.candidate.nonce == nonce && outstanding(g, processes))
    };
    // The holder of a lock that something in flight waits for.
    let needed = (0..processes.len()).filter(|&at| must_go_on(processes, grants, at));
    for waiter in needed {
        if let Some(found) = blocker(processes, waiter, &is_free, CHAIN) {
            return Some(found);
        }
    }
    // A child of an open section; an owner whose child is done.
    (0..processes.len()).filter(|&at| stopped(&processes[at]) && is_free(at)).find_map(|at| {
        let p = &processes[at];
        if p.in_section() {
            Some(as_holder(p))
        } else if works_for_a_section(at, processes) {
            Some(Admission { nonce: p.nonce, lock_sequence: ANY_SEQUENCE })
        } else {
            None
        }
    })
}

/// In flight, or let in because something in flight waits for it: what *it*
/// waits for must go on as well.
fn must_go_on(processes: &[ProcessView<'_>], grants: &[Grant], at: usize) -> bool {
    let p = &processes[at];
    p.in_section()
        || grants.iter().any(|g| g.candidate.nonce == p.nonce && outstanding(g, processes))
        || works_for_a_section(at, processes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::summarize;
    use crate::view::LockFile;
    use crate::view::samples::*;
    use crate::word::ProcessWord;

    #[test]
    fn the_holder_of_a_lock_that_something_in_flight_waits_for_is_admitted() {
        let waits = [thread(Doing::LockWait, Some(LOCK))];
        let held = [thread(Doing::Held, None)];
        let waiter = ProcessView { threads: &waits, ..process(1, in_section()) };
        let holder = ProcessView {
            threads: &held,
            holds: &[LOCK],
            ..process(2, ProcessWord::default().with_locks(1))
        };
        let summary = summarize(&[waiter, holder], &[]);
        let expected = Admission { nonce: 2, lock_sequence: 5 };
        assert_eq!(summary.candidate, Some(expected));
        let grants = [Grant { candidate: expected }];
        let summary = summarize(&[waiter, holder], &grants);
        assert_eq!((summary.candidate, summary.outstanding), (None, 1));
        let released = ProcessView { lock_sequence: 6, ..holder };
        assert_eq!(summarize(&[waiter, released], &grants).outstanding, 0);
    }

    #[test]
    fn a_waiter_that_is_not_in_flight_admits_none() {
        let waits = [thread(Doing::LockWait, Some(LOCK))];
        let held = [thread(Doing::Held, None)];
        let waiter = ProcessView { threads: &waits, ..process(1, ProcessWord::default()) };
        let holder =
            ProcessView { threads: &held, holds: &[LOCK], ..process(2, ProcessWord::default()) };
        let summary = summarize(&[waiter, holder], &[]);
        assert_eq!((summary.candidate, summary.in_flight), (None, 0));
    }

    #[test]
    fn a_grandchild_is_admitted_while_the_owner_is_in_its_section_and_no_longer() {
        let held = [thread(Doing::Held, None)];
        let owner = process(1, in_section());
        let child = ProcessView { parent: Some(0), ..process(2, ProcessWord::default()) };
        let grandchild =
            ProcessView { parent: Some(1), threads: &held, ..process(3, ProcessWord::default()) };
        let all = [owner, child, grandchild];
        let expected = Admission { nonce: 3, lock_sequence: ANY_SEQUENCE };
        assert_eq!(summarize(&all, &[]).candidate, Some(expected));
        let grants = [Grant { candidate: expected }];
        assert!(!summarize(&all, &grants).revocable);
        let done = [process(1, ProcessWord::default()), child, grandchild];
        assert!(summarize(&done, &grants).revocable);
    }

    #[test]
    fn a_holder_that_waits_itself_is_looked_through() {
        const OTHER: LockFile = LockFile { dev: 1, ino: 8 };
        let (first, second) =
            ([thread(Doing::LockWait, Some(LOCK))], [thread(Doing::LockWait, Some(OTHER))]);
        let held = [thread(Doing::Held, None)];
        let owner = ProcessView { threads: &first, ..process(1, in_section()) };
        let between =
            ProcessView { threads: &second, holds: &[LOCK], ..process(2, ProcessWord::default()) };
        let last =
            ProcessView { threads: &held, holds: &[OTHER], ..process(3, ProcessWord::default()) };
        let expected = Admission { nonce: 3, lock_sequence: 5 };
        assert_eq!(summarize(&[owner, between, last], &[]).candidate, Some(expected));
        let circle = ProcessView { holds: &[OTHER], ..owner };
        assert_eq!(summarize(&[circle, between], &[]).candidate, None, "and it ends");
    }

    #[test]
    fn an_owner_that_left_its_section_to_a_child_is_admitted_when_that_is_done() {
        let held = [thread(Doing::Held, None)];
        let owner = ProcessView { threads: &held, ..process(1, in_section().forked(true)) };
        let expected = Admission { nonce: 1, lock_sequence: 5 };
        assert_eq!(summarize(&[owner], &[]).candidate, Some(expected));
        let settled = ProcessView { settled: true, ..owner };
        assert_eq!(summarize(&[settled], &[]).candidate, None);
    }

    #[test]
    fn ancestry_that_goes_in_circles_ends() {
        let held = [thread(Doing::Held, None)];
        let a =
            ProcessView { parent: Some(1), threads: &held, ..process(1, ProcessWord::default()) };
        let b = ProcessView { parent: Some(0), ..process(2, ProcessWord::default()) };
        assert_eq!(summarize(&[a, b], &[]).candidate, None);
    }
}
