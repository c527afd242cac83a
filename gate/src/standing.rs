//! What one pass makes of all regions: who is in flight, who is held, whom to admit.
//!
//! The caller reads the words (from mapped regions, or a model's state) into
//! [`Standing`]s; [`summarize`] does the rest. No region is believed about any
//! process but its own.

use crate::calls::{Rule, TABLE};
use crate::control::{ANY_SEQUENCE, Rank};
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

impl Thread {
    /// Is it inside a call that may change a file, or about to be?
    pub fn is_calling(&self) -> bool {
        matches!(self.word.doing(), Doing::Call | Doing::Asking) && !self.forgiven
    }
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
    /// When it is held, by the profile.
    pub rank: Rank,
    /// Its open section counts as over (settled by the profile's rule, or the
    /// kernel says that its locks are gone).
    pub settled: bool,
    /// Forked and nothing done since: it maps its parent's region and none of its
    /// own, and did so when it was looked at after the last closing. Its first
    /// entry makes a region, announces there and looks at the barrier.
    pub unborn: bool,
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
        self.unknown || self.nonce == 0 && !self.unborn || self.in_section() || is_calling(self)
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

impl Given {
    /// Is it this process's, and does it still hold?
    pub fn holds_for(&self, p: &Standing<'_>) -> bool {
        let Candidate { nonce, lock_sequence } = self.candidate;
        p.nonce == nonce && (lock_sequence == ANY_SEQUENCE || lock_sequence == p.lock_sequence)
    }
}

/// Does a given admission still hold?
fn outstanding(given: &Given, processes: &[Standing<'_>]) -> bool {
    processes.iter().any(|p| given.holds_for(p))
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

/// Must this given admission be taken back: a child's, whose owner is done, or an
/// owner's, whose section counts as over?
pub fn must_revoke(given: &Given, processes: &[Standing<'_>]) -> bool {
    let Candidate { nonce, lock_sequence } = given.candidate;
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
fn stopped(p: &Standing<'_>) -> bool {
    p.nonce != 0 && p.held() && (!p.in_section() || p.process.recorded())
}

/// A lock holder's admission: ends when it gives up a lock.
fn as_holder(p: &Standing<'_>) -> Candidate {
    Candidate { nonce: p.nonce, lock_sequence: p.lock_sequence }
}

/// Who is held and holds what `waiter` waits for, at first or at second hand:
/// the holder of that lock may itself wait for another, without being in flight.
fn blocker(
    processes: &[Standing<'_>],
    waiter: usize,
    is_free: &impl Fn(usize) -> bool,
    depth: usize,
) -> Option<Candidate> {
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

/// Whom something in flight waits for, and who is held: at most one at a time.
fn candidate(processes: &[Standing<'_>], given: &[Given]) -> Option<Candidate> {
    let is_free = |at: usize| {
        let nonce = processes[at].nonce;
        !given.iter().any(|g| g.candidate.nonce == nonce && outstanding(g, processes))
    };
    // The holder of a lock that something in flight waits for.
    let needed = (0..processes.len()).filter(|&at| must_go_on(processes, given, at));
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
            Some(Candidate { nonce: p.nonce, lock_sequence: ANY_SEQUENCE })
        } else {
            None
        }
    })
}

/// In flight, or let in because something in flight waits for it: what *it*
/// waits for must go on as well.
fn must_go_on(processes: &[Standing<'_>], given: &[Given], at: usize) -> bool {
    let p = &processes[at];
    p.in_section()
        || given.iter().any(|g| g.candidate.nonce == p.nonce && outstanding(g, processes))
        || works_for_a_section(at, processes)
}

/// What else must be known of a process for [`settled`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Rest {
    /// A thread of it is in a call that may wait a second or more (sleep, poll,
    /// select, connect), and no other is in any hooked call.
    pub waits: bool,
    /// It was forked and has become no other program since: what it changes is
    /// counted in the family.
    pub family: bool,
    /// It is dead: what it changed has been counted.
    pub gone: bool,
}

/// May the open section of `processes[at]` count as over, by the profile's rule?
///
/// Its owner has everything on record and has left the rest to a child
/// ([`ProcessWord::recorded`]: its own next change is no longer its right), and
/// everyone who works for it has no section of its own, has done nothing since, and
/// waits: in a call that may last, or at the barrier, where an unborn child will be held. (A
/// lock taken meanwhile, a mailbox's dotlock, guards nothing that is half-done: its holder is
/// held at its next change.)
/// `unchanged`: the family's count is what it was when all was on record, so that
/// nobody has changed anything, nor anyone who was born and died unseen.
/// Whoever wakes is held at its next change like anybody else. An owner that is itself held
/// where it would fork the next child needs no such helper: with nothing changed since, the
/// set is as complete as it was at the fork before. The rule trusts that the record comes
/// first: not for servers that record later.
///
/// A child that was born and died between two listings is known by the family's count alone:
/// what decides is a pass after the last listing ([`crate::drain`]).
pub fn settled(
    at: usize,
    processes: &[Standing<'_>],
    unchanged: bool,
    mut rest: impl FnMut(usize) -> Rest,
) -> bool {
    if !unchanged || !processes[at].process.recorded() || is_calling(&processes[at]) {
        return false;
    }
    let mut helpers = 0;
    for other in (0..processes.len()).filter(|&other| works_for(other, at, processes)) {
        let p = &processes[other];
        let Rest { waits, family, gone } = rest(other);
        if gone {
            continue;
        }
        if p.unknown || p.nonce == 0 && !p.unborn || p.in_section() || is_calling(p) {
            return false;
        }
        // Held at the barrier, it can do nothing either; nor before its first entry, which is.
        let unborn = p.nonce == 0 && p.unborn;
        if !(waits || p.held() || unborn) || !family {
            return false;
        }
        helpers += 1;
    }
    helpers > 0 || forks_next(&processes[at])
}

/// Is it held at a fork, and nowhere else?
fn forks_next(p: &Standing<'_>) -> bool {
    let is_fork = |t: &Thread| {
        let rule = TABLE.get(t.word.call() as usize).and_then(|info| info.rule);
        matches!(rule, Some(Rule::Fork))
    };
    p.held() && p.threads.iter().all(|t| t.word.doing() != Doing::Held || is_fork(t))
}

/// Is `owner` an ancestor of `at`?
fn works_for(at: usize, owner: usize, processes: &[Standing<'_>]) -> bool {
    let mut parent = processes[at].parent;
    for _ in 0..processes.len() {
        match parent {
            Some(found) if found == owner => return at != owner,
            Some(found) => parent = processes.get(found).and_then(|p| p.parent),
            None => return false,
        }
    }
    false
}

/// Is a thread of it inside a call, or about to be?
fn is_calling(p: &Standing<'_>) -> bool {
    p.overflow > 0 || p.threads.iter().any(Thread::is_calling)
}

/// One step of a digest: order and every bit matter.
fn mix(digest: u64, value: u64) -> u64 {
    let mixed = (digest ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_add(0x632b_e59b_d9b4_e019)
}

/// What one pass saw.
///
/// Equal digests of two passes mean that no entry passed in between (but for a
/// collision of 64 bits, one in 10^19). Processes and threads that have done
/// nothing add nothing to it, so that one that arrives at the closed barrier, a
/// new thread or a new process, takes nothing away from a verdict.
pub fn summarize(processes: &[Standing<'_>], given: &[Given]) -> Summary {
    let mut summary = Summary::default();
    for p in processes {
        let entries = p.threads.iter().map(|t| t.word.sequence() as u64);
        for (number, count) in [p.overflow_entries].into_iter().chain(entries).enumerate() {
            if count != 0 {
                let of_one = mix(mix(mix(0, p.nonce), number as u64), count);
                summary.digest = summary.digest.wrapping_add(of_one);
            }
        }
        summary.held += p.threads.iter().filter(|t| t.word.doing() == Doing::Held).count() as u32;
        summary.calling += is_calling(p) as u32;
        if p.rank == Rank::Last {
            summary.stir = mix(mix(summary.stir, p.nonce), p.process.0);
            for thread in p.threads {
                summary.stir = mix(summary.stir, thread.word.0);
            }
        }
        if p.in_flight() {
            summary.in_flight += 1;
            summary.senders_in_flight += (p.rank == Rank::Sender) as u32;
            summary.first_in_flight += (p.rank != Rank::Last) as u32;
            for value in [p.nonce, p.process.0, p.lock_sequence, p.unknown as u64] {
                summary.motion = mix(summary.motion, value);
            }
            for thread in p.threads {
                summary.motion = mix(summary.motion, thread.word.0);
            }
        }
    }
    summary.motion = mix(summary.motion, summary.digest);
    summary.outstanding = given.iter().filter(|g| outstanding(g, processes)).count() as u32;
    summary.revocable =
        given.iter().any(|g| outstanding(g, processes) && must_revoke(g, processes));
    summary.candidate = candidate(processes, given);
    summary
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::Call;

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
            rank: Rank::Last,
            settled: false,
            unborn: false,
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
        let holder =
            Standing { threads: &held, holds: &[LOCK], ..process(2, ProcessWord::default()) };
        let summary = summarize(&[waiter, holder], &[]);
        assert_eq!((summary.candidate, summary.in_flight), (None, 0));
    }

    #[test]
    fn a_grandchild_is_admitted_while_the_owner_is_in_its_section_and_no_longer() {
        let held = [thread(Doing::Held, None)];
        let owner = process(1, in_section());
        let child = Standing { parent: Some(0), ..process(2, ProcessWord::default()) };
        let grandchild =
            Standing { parent: Some(1), threads: &held, ..process(3, ProcessWord::default()) };
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
    fn a_holder_that_waits_itself_is_looked_through() {
        const OTHER: LockFile = LockFile { dev: 1, ino: 8 };
        let (first, second) =
            ([thread(Doing::LockWait, Some(LOCK))], [thread(Doing::LockWait, Some(OTHER))]);
        let held = [thread(Doing::Held, None)];
        let owner = Standing { threads: &first, ..process(1, in_section()) };
        let between =
            Standing { threads: &second, holds: &[LOCK], ..process(2, ProcessWord::default()) };
        let last =
            Standing { threads: &held, holds: &[OTHER], ..process(3, ProcessWord::default()) };
        let expected = Candidate { nonce: 3, lock_sequence: 5 };
        assert_eq!(summarize(&[owner, between, last], &[]).candidate, Some(expected));
        let circle = Standing { holds: &[OTHER], ..owner };
        assert_eq!(summarize(&[circle, between], &[]).candidate, None, "and it ends");
    }

    #[test]
    fn arrivals_at_the_barrier_take_nothing_from_a_verdict() {
        let done = ThreadWord::default().enter(Doing::Call, 1, None).leave();
        let one = |word| Thread { word, waits_for: None, forgiven: false };
        let before = [one(done)];
        let after = [
            one(done.enter(Doing::Call, 1, None).retract(Doing::Held)),
            one(ThreadWord::default().enter(Doing::Call, 1, None).retract(Doing::Held)),
        ];
        let drained =
            summarize(&[Standing { threads: &before, ..process(1, ProcessWord::default()) }], &[]);
        let held = Standing { threads: &after, ..process(1, ProcessWord::default().with_locks(1)) };
        let newcomer = Standing { threads: &after[1..], ..process(2, ProcessWord::default()) };
        let thaw = summarize(&[held, newcomer], &[]);
        assert_eq!((thaw.digest, thaw.calling), (drained.digest, 0));
        let passed = [one(done.enter(Doing::Call, 1, None).leave())];
        let passed = Standing { threads: &passed, ..process(1, ProcessWord::default()) };
        assert_ne!(summarize(&[passed], &[]).digest, drained.digest);
    }

    #[test]
    fn a_section_is_settled_while_its_only_helper_waits_and_has_done_nothing() {
        let owner = process(1, in_section().forked(true));
        let helper = Standing { parent: Some(0), ..process(2, ProcessWord::default()) };
        let quiet = Rest { waits: true, family: true, gone: false };
        let over = |all: &[Standing<'_>], rest: &dyn Fn(usize) -> Rest| settled(0, all, true, rest);
        assert!(over(&[owner, helper], &|_| quiet));
        assert!(!settled(0, &[owner, helper], false, |_| quiet), "somebody changed something");
        assert!(!over(&[owner], &|_| quiet), "the child is gone: its parent will record");
        let dead = Rest { gone: true, ..quiet };
        assert!(!over(&[owner, helper], &|_| dead), "as if it had never been");
        assert!(over(&[owner, helper, helper], &|at| if at == 1 { dead } else { quiet }));
        let awake = Rest { waits: false, ..quiet };
        assert!(!over(&[owner, helper], &|_| awake));
        let held = [thread(Doing::Held, None)];
        assert!(over(&[owner, Standing { threads: &held, ..helper }], &|_| awake));
        let unborn =
            Standing { parent: Some(0), unborn: true, ..process(0, ProcessWord::default()) };
        assert!(over(&[owner, unborn], &|_| awake), "it will be held");
        let lost = Standing { unborn: false, ..unborn };
        assert!(!over(&[owner, lost], &|_| quiet), "who knows what it is");
        assert!(!over(&[owner, helper], &|_| Rest { family: false, ..quiet }), "after an exec");
        let locking = Standing { process: ProcessWord::default().with_locks(1), ..helper };
        assert!(over(&[owner, locking], &|_| quiet), "it has changed nothing under its lock");
        let writing = Standing { process: in_section(), ..helper };
        assert!(!over(&[owner, writing], &|_| quiet));
        let unrecorded = process(1, in_section());
        assert!(!over(&[unrecorded, helper], &|_| quiet));
    }

    #[test]
    fn an_owner_held_before_its_next_child_needs_none_that_waits() {
        let held_at = |call: Call| Thread {
            word: ThreadWord::default().enter(Doing::Held, call as u16, None),
            waits_for: None,
            forgiven: false,
        };
        let word = in_section().forked(true);
        let over = |threads: &[Thread], unchanged| {
            let owner = Standing { threads, ..process(1, word) };
            settled(0, &[owner], unchanged, |_| Rest::default())
        };
        assert!(over(&[held_at(Call::fork)], true));
        assert!(!over(&[held_at(Call::fork)], false), "its last child has done something");
        assert!(!over(&[held_at(Call::write)], true), "it is about to record");
        assert!(!over(&[held_at(Call::fork), held_at(Call::write)], true));
        assert!(!over(&[thread(Doing::Idle, None)], true), "on its way, who knows where to");
    }

    #[test]
    fn an_owner_that_left_its_section_to_a_child_is_admitted_when_that_is_done() {
        let held = [thread(Doing::Held, None)];
        let owner = Standing { threads: &held, ..process(1, in_section().forked(true)) };
        let expected = Candidate { nonce: 1, lock_sequence: 5 };
        assert_eq!(summarize(&[owner], &[]).candidate, Some(expected));
        let settled = Standing { settled: true, ..owner };
        assert_eq!(summarize(&[settled], &[]).candidate, None);
    }

    #[test]
    fn a_child_that_has_done_nothing_is_not_in_flight() {
        let child = Standing { unborn: true, ..process(0, ProcessWord::default()) };
        assert_eq!(summarize(&[child], &[]).in_flight, 0);
    }

    #[test]
    fn ancestry_that_goes_in_circles_ends() {
        let held = [thread(Doing::Held, None)];
        let a = Standing { parent: Some(1), threads: &held, ..process(1, ProcessWord::default()) };
        let b = Standing { parent: Some(0), ..process(2, ProcessWord::default()) };
        assert_eq!(summarize(&[a, b], &[]).candidate, None);
    }
}
