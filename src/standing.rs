//! What one pass makes of all regions: who is in flight, who is held, whom to admit.
//!
//! The caller reads the words (from mapped regions, or a model's state) into
//! [`Standing`]s; [`summarize`] does the rest. No region is believed about any
//! process but its own.

use crate::control::ANY_SEQUENCE;
use crate::drain::{Candidate, Summary};
use crate::word::{Doing, ProcessWord, ThreadWord};

/// A lock that is waited for or held: device and inode of the locked file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct LockFile {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
}

/// One thread, as a pass saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Thread {
    /// Its word.
    pub word: ThreadWord,
    /// The lock file it waits for, if its word says that it waits for a lock.
    pub waits_for: Option<LockFile>,
    /// Its word was found to mean nothing: a call on a socket or pipe, or a
    /// thread that no longer exists. Holds only for this very word.
    pub forgiven: bool,
}

/// One process, as a pass saw it.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Its region's nonce; 0: a gated process without a valid region of its own.
    pub nonce: u64,
    /// Its process word.
    pub process: ProcessWord,
    /// Its lock sequence.
    pub lock_sequence: u64,
    /// Its threads.
    pub threads: &'a [Thread],
    /// The lock files it holds, read locks and inherited ones included.
    pub holds: &'a [LockFile],
    /// Threads without a slot that are in flight.
    pub overflow: u32,
    /// Entries of threads without a slot, for the digest.
    pub overflow_entries: u64,
    /// Index of its parent process in the list, if that is gated too.
    pub parent: Option<usize>,
    /// Its open section counts as over (settled by the profile's rule, or the
    /// kernel says that its locks are gone).
    pub settled: bool,
    /// It is about to become, or has become, something else (exec under way, no
    /// region yet): in flight until looked up anew.
    pub unknown: bool,
}

impl Standing<'_> {
    /// Is a section of its own open, that counts?
    pub fn in_section(&self) -> bool {
        self.process.section_open() && !self.settled
    }

    /// May the snapshot not be taken because of this process?
    pub fn in_flight(&self) -> bool {
        self.unknown
            || self.nonce == 0
            || self.overflow > 0
            || self.in_section()
            || self.threads.iter().any(|t| t.word.doing() == Doing::Call && !t.forgiven)
    }

    /// Is a thread of it held at the barrier?
    pub fn held(&self) -> bool {
        self.threads.iter().any(|t| t.word.doing() == Doing::Held)
    }
}

/// An admission that the freezer has given and not taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Given {
    /// To whom, and for how long.
    pub candidate: Candidate,
}

/// Does a given admission still hold?
fn outstanding(given: &Given, processes: &[Standing<'_>]) -> bool {
    let Candidate { nonce, lock_sequence } = given.candidate;
    processes.iter().any(|p| {
        p.nonce == nonce && (lock_sequence == ANY_SEQUENCE || lock_sequence == p.lock_sequence)
    })
}

/// Is some ancestor's section open: is this process a child that works for it?
fn works_for_a_section(at: usize, processes: &[Standing<'_>]) -> bool {
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

/// Must this given admission be taken back: a child's, whose owner is done?
pub fn must_revoke(given: &Given, processes: &[Standing<'_>]) -> bool {
    given.candidate.lock_sequence == ANY_SEQUENCE
        && match processes.iter().position(|p| p.nonce == given.candidate.nonce) {
            Some(at) => !works_for_a_section(at, processes),
            None => true,
        }
}

/// Whom something in flight waits for, and who is held: at most one at a time.
fn candidate(processes: &[Standing<'_>], given: &[Given]) -> Option<Candidate> {
    let has = |nonce: u64| given.iter().any(|g| g.candidate.nonce == nonce && outstanding(g, processes));
    let held = |at: &usize| {
        let p = &processes[*at];
        p.nonce != 0 && p.held() && !p.in_section() && !has(p.nonce)
    };
    let may = |at: usize| p_in_flight(processes, given, at);
    // The holder of a lock that something in flight waits for.
    for waiter in (0..processes.len()).filter(|&at| may(at)) {
        for thread in processes[waiter].threads {
            let (Doing::LockWait, Some(file)) = (thread.word.doing(), thread.waits_for) else {
                continue;
            };
            let holder = (0..processes.len())
                .filter(held)
                .find(|&at| at != waiter && processes[at].holds.contains(&file));
            if let Some(at) = holder {
                let p = &processes[at];
                return Some(Candidate { nonce: p.nonce, lock_sequence: p.lock_sequence });
            }
        }
    }
    // A child of an open section.
    (0..processes.len())
        .filter(held)
        .find(|&at| works_for_a_section(at, processes))
        .map(|at| Candidate { nonce: processes[at].nonce, lock_sequence: ANY_SEQUENCE })
}

/// In flight, or let in because something in flight waits for it: what *it*
/// waits for must go on as well.
fn p_in_flight(processes: &[Standing<'_>], given: &[Given], at: usize) -> bool {
    let p = &processes[at];
    p.in_section()
        || given.iter().any(|g| g.candidate.nonce == p.nonce && outstanding(g, processes))
        || works_for_a_section(at, processes)
}

/// One step of the digest: order and every bit matter.
fn mix(digest: u64, value: u64) -> u64 {
    let mixed = (digest ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_add(0x632b_e59b_d9b4_e019)
}

/// What one pass saw.
///
/// Equal digests of two passes mean equal words (but for a collision of 64
/// bits, one in 10^19).
pub fn summarize(processes: &[Standing<'_>], given: &[Given]) -> Summary {
    let mut summary = Summary::default();
    for p in processes {
        let digest = &mut summary.digest;
        for value in [p.nonce, p.process.0, p.lock_sequence, p.overflow_entries, p.overflow as u64] {
            *digest = mix(*digest, value);
        }
        for thread in p.threads {
            *digest = mix(*digest, thread.word.0);
            summary.held += (thread.word.doing() == Doing::Held) as u32;
        }
        summary.in_flight += p.in_flight() as u32;
    }
    summary.outstanding = given.iter().filter(|g| outstanding(g, processes)).count() as u32;
    summary.revocable = given.iter().any(|g| outstanding(g, processes) && must_revoke(g, processes));
    summary.candidate = candidate(processes, given);
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: LockFile = LockFile { dev: 1, ino: 7 };

    fn process(nonce: u64, process: ProcessWord) -> Standing<'static> {
        Standing {
            nonce,
            process,
            lock_sequence: 5,
            threads: &[],
            holds: &[],
            overflow: 0,
            overflow_entries: 0,
            parent: None,
            settled: false,
            unknown: false,
        }
    }

    fn thread(doing: Doing, waits_for: Option<LockFile>) -> Thread {
        Thread { word: ThreadWord::default().enter(doing, 1, None), waits_for, forgiven: false }
    }

    fn in_section() -> ProcessWord {
        ProcessWord::default().with_locks(1).section_begun()
    }

    #[test]
    fn the_holder_of_a_lock_that_something_in_flight_waits_for_is_admitted() {
        let waits = [thread(Doing::LockWait, Some(LOCK))];
        let held = [thread(Doing::Held, None)];
        let waiter = Standing { threads: &waits, ..process(1, in_section()) };
        let holder = Standing {
            threads: &held,
            holds: &[LOCK],
            ..process(2, ProcessWord::default().with_locks(1))
        };
        let summary = summarize(&[waiter, holder], &[]);
        let expected = Candidate { nonce: 2, lock_sequence: 5 };
        assert_eq!(summary.candidate, Some(expected));
        let given = [Given { candidate: expected }];
        let summary = summarize(&[waiter, holder], &given);
        assert_eq!((summary.candidate, summary.outstanding), (None, 1));
        let released = Standing { lock_sequence: 6, ..holder };
        assert_eq!(summarize(&[waiter, released], &given).outstanding, 0);
    }

    #[test]
    fn a_waiter_that_is_not_in_flight_admits_nobody() {
        let waits = [thread(Doing::LockWait, Some(LOCK))];
        let held = [thread(Doing::Held, None)];
        let waiter = Standing { threads: &waits, ..process(1, ProcessWord::default()) };
        let holder = Standing { threads: &held, holds: &[LOCK], ..process(2, ProcessWord::default()) };
        let summary = summarize(&[waiter, holder], &[]);
        assert_eq!((summary.candidate, summary.in_flight), (None, 0));
    }

    #[test]
    fn a_grandchild_is_admitted_while_the_owner_is_in_its_section_and_no_longer() {
        let held = [thread(Doing::Held, None)];
        let owner = process(1, in_section());
        let child = Standing { parent: Some(0), ..process(2, ProcessWord::default()) };
        let grandchild = Standing { parent: Some(1), threads: &held, ..process(3, ProcessWord::default()) };
        let all = [owner, child, grandchild];
        let expected = Candidate { nonce: 3, lock_sequence: ANY_SEQUENCE };
        assert_eq!(summarize(&all, &[]).candidate, Some(expected));
        let given = [Given { candidate: expected }];
        assert!(!summarize(&all, &given).revocable);
        let done = [process(1, ProcessWord::default()), child, grandchild];
        assert!(summarize(&done, &given).revocable);
    }

    #[test]
    fn a_process_without_a_region_is_in_flight() {
        assert_eq!(summarize(&[process(0, ProcessWord::default())], &[]).in_flight, 1);
    }

    #[test]
    fn ancestry_that_goes_in_circles_ends() {
        let held = [thread(Doing::Held, None)];
        let a = Standing { parent: Some(1), threads: &held, ..process(1, ProcessWord::default()) };
        let b = Standing { parent: Some(0), ..process(2, ProcessWord::default()) };
        assert_eq!(summarize(&[a, b], &[]).candidate, None);
    }
}
