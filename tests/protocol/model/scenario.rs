//! Who does what: small programs, chosen so that each rule of the protocol has
//! something that fails without it.

use super::state::LOCKS;
use super::state::Op::{self, *};
use super::{Set, TICK};
use gate::control::Rank;

/// A world for the model.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub programs: &'static [&'static [Op]],
    /// For each process at the start, its threads' programs.
    pub procs: &'static [&'static [u8]],
    pub sets: &'static [Set],
    /// How many ops the first thread of each process has done at the start.
    pub prelude: &'static [u8],
    /// How many stores a thread may have that nobody sees yet.
    pub buffer: usize,
    /// How many freezes follow one another.
    pub freezes: u8,
    /// Lengths, ns; without a clock (`until` 0) they never end.
    pub limit: u64,
    pub drain: u64,
    pub stuck: u64,
    pub openings: u32,
    /// Where the clock stops.
    pub until: u64,
    /// The clock moves only when nothing else can: "stuck" is not merely slow.
    pub patient: bool,
    /// SIGKILLs of workers (which: bits) and of the freezer.
    pub kills: u8,
    pub killable: u64,
    pub freezer_kills: u8,
    /// How many signals come, inside a call, and the program of their handler.
    pub signals: u8,
    pub handler: u8,
    /// Processes (bits) that are held before all others.
    pub first: u64,
    /// Those of them that hand over, and are held before all.
    pub senders: u64,
    /// Processes (bits) whose sections last until they end.
    pub until_exit: u64,
    /// The others are held when each has been seen at rest, so many times; 0: in time.
    pub hands: u32,
    /// The profile's rule for settled sections is in force.
    pub settled: bool,
    /// Locks (bits) of descriptions that come along with a fork.
    pub shared: u8,
    /// Those that were opened before the first fork: whoever takes one takes it for its parent too.
    pub opened_before: u8,
    /// Locks (bits) that are taken and given up past the library.
    pub unseen: u8,
    /// Lock files (bits) that lie outside of what is protected.
    pub outside: u8,
    /// How many locks a process's table has room for.
    pub table: u32,
}

impl Scenario {
    /// Which of the locks are lock files.
    pub fn files(&self) -> u8 {
        let ops = self.programs.iter().flat_map(|program| program.iter());
        ops.fold(0, |bits, op| if let Make(file) = op { bits | 1 << file } else { bits })
    }

    /// Does who waits for a child ask what that has locked for it?
    pub fn reaps(&self) -> bool {
        let makes = |op: &&Op| matches!(op, Make(_));
        self.shared != 0 || self.programs.iter().any(|program| program.iter().any(|op| makes(&op)))
    }

    /// When this process is held.
    pub fn rank(&self, process: usize) -> Rank {
        let is_in = |bits| bits & bit(process) != 0;
        match (is_in(self.first), is_in(self.senders)) {
            (true, true) => Rank::Sender,
            (true, false) => Rank::First,
            (false, _) => Rank::Last,
        }
    }
}

/// This process in a scenario's bits. Those born late in a large world have none.
pub fn bit(process: usize) -> u64 {
    1u64.checked_shl(process as u32).unwrap_or(0)
}

/// A set that is no single family's.
const ALL: u8 = u8::MAX;

/// Without a clock: a drain lasts until it succeeds, so that a state from which
/// it cannot is found as a deadlock.
pub const TIMELESS: Scenario = Scenario {
    name: "",
    programs: &[],
    procs: &[],
    sets: &[],
    prelude: &[],
    buffer: 2,
    freezes: 1,
    limit: 1 << 40,
    drain: 1 << 39,
    stuck: TICK,
    openings: 0,
    until: 0,
    patient: false,
    kills: 0,
    killable: 0,
    freezer_kills: 0,
    signals: 0,
    handler: 0,
    first: 0,
    senders: 0,
    until_exit: 0,
    hands: 0,
    settled: false,
    shared: 0,
    opened_before: 0,
    unseen: 0,
    outside: 0,
    table: LOCKS as u32,
};

/// Two processes, single calls without locks.
pub const SINGLE: Scenario = Scenario {
    name: "single calls",
    programs: &[&[Write(0), Write(0)], &[Write(1), Sync]],
    procs: &[&[0], &[1]],
    ..TIMELESS
};

/// The same with a store buffer that hides a whole call.
pub const SINGLE_HIDDEN: Scenario =
    Scenario { name: "single calls, deep store buffers", buffer: 3, ..SINGLE };

/// The same, frozen twice back to back.
pub const SINGLE_TWICE: Scenario =
    Scenario { name: "single calls, two freezes", freezes: 2, ..SINGLE };

/// One thread's two calls: the second must not lie in a snapshot without the first.
pub const TORN_PAIR: Scenario = Scenario {
    name: "a set by two calls under a lock, alone",
    programs: &[&[Lock(0), Write(0), Write(1), Unlock(0)]],
    procs: &[&[0]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    ..TIMELESS
};

/// Two processes, one lock, a set of two files under it.
pub const SETS: Scenario = Scenario {
    name: "sets under one lock",
    programs: &[&[Lock(0), Write(0), Write(1), Unlock(0)]],
    procs: &[&[0], &[0]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    ..TIMELESS
};

/// A section waits for a lock whose holder is held at the barrier.
pub const CROSSED: Scenario = Scenario {
    name: "a section waits for a lock whose holder is held",
    programs: &[
        &[Lock(0), Write(0), Lock(1), Write(1), Unlock(1), Unlock(0)],
        &[Lock(1), Write(2), Write(3), Unlock(1)],
    ],
    procs: &[&[0], &[1]],
    sets: &[Set { files: &[0, 1], of: ALL }, Set { files: &[2, 3], of: ALL }],
    ..TIMELESS
};

/// The holder itself waits for a third one's lock, without being in flight.
pub const CHAIN: Scenario = Scenario {
    name: "a chain of waiters, the last holder held",
    programs: &[
        &[Lock(0), Write(0), Lock(1), Write(1), Unlock(1), Unlock(0)],
        &[Lock(1), Lock(2), Unlock(2), Unlock(1)],
        &[Lock(2), Write(2), Unlock(2)],
    ],
    procs: &[&[0], &[1], &[2]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    prelude: &[2, 1, 1],
    buffer: 1,
    ..TIMELESS
};

/// The same stuck section without admission to a chain: openings are the cure.
pub const OPENINGS: Scenario = Scenario {
    name: "openings",
    programs: &[
        // Waits for the other without a lock that the kernel could show: a
        // dotlock waiter, or a service that it talks to.
        &[Lock(0), Write(0), Await(2), Write(1), Unlock(0)],
        &[Write(2)],
    ],
    procs: &[&[0], &[1]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    openings: 1,
    until: 9 * TICK,
    patient: true,
    ..TIMELESS
};

/// Parent locks, child writes and exits, parent records.
pub const CHILD: Scenario = Scenario {
    name: "parent locks, child writes and exits, parent records",
    programs: &[
        &[Lock(0), Fork(1), Wait, Write(1), Unlock(0)],
        &[Write(0)],
        &[Lock(0), Write(2), Unlock(0)],
    ],
    procs: &[&[0], &[2]],
    sets: &[Set { files: &[0, 1], of: 0 }],
    ..TIMELESS
};

/// A child that works on after its parent's section is over.
pub const CHILD_LIVES_ON: Scenario = Scenario {
    name: "child works on after its parent's section",
    programs: &[&[Lock(0), Fork(1), Write(0), Unlock(0)], &[Write(1), Write(2), Stay]],
    procs: &[&[0]],
    ..TIMELESS
};

/// A child forked without a lock has a section of its own.
pub const CHILD_ALONE: Scenario = Scenario {
    name: "child with a section of its own",
    programs: &[&[Fork(1)], &[Lock(0), Write(0), Write(1), Unlock(0)]],
    procs: &[&[0]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    ..TIMELESS
};

/// The child's child does the work.
pub const GRANDCHILD: Scenario = Scenario {
    name: "grandchild",
    programs: &[&[Lock(0), Fork(1), Wait, Write(1), Unlock(0)], &[Fork(2), Wait], &[Write(0)]],
    procs: &[&[0]],
    sets: &[Set { files: &[0, 1], of: 0 }],
    ..TIMELESS
};

/// The child becomes another program before it works.
pub const CHILD_EXEC: Scenario = Scenario {
    name: "child execs, then writes",
    programs: &[&[Lock(0), Fork(1), Wait, Write(1), Unlock(0)], &[Exec, Write(0)]],
    procs: &[&[0]],
    sets: &[Set { files: &[0, 1], of: 0 }],
    ..TIMELESS
};

/// Exec in the middle of a section.
pub const EXEC: Scenario = Scenario {
    name: "exec with a lock held",
    programs: &[
        &[Lock(0), Write(0), Exec, Write(1), Unlock(0)],
        &[Lock(0), Write(0), Write(1), Unlock(0)],
    ],
    procs: &[&[0], &[1]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    ..TIMELESS
};

/// Exec with a lock held and nothing changed yet.
pub const EXEC_LAZY: Scenario = Scenario {
    name: "exec before the first change under a lock",
    programs: &[&[Lock(0), Exec, Write(0), Write(1), Unlock(0)]],
    procs: &[&[0]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    ..TIMELESS
};

/// Exec without a lock, then a section of the new image.
pub const EXEC_FIRST: Scenario = Scenario {
    name: "exec, then a section",
    programs: &[&[Exec, Lock(0), Write(0), Write(1), Unlock(0)], &[Write(2)]],
    procs: &[&[0], &[1]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    ..TIMELESS
};

/// Two threads of one process: one passes by the other's section.
pub const THREADS: Scenario = Scenario {
    name: "two threads, one section",
    programs: &[&[Lock(0), Write(0), Write(1), Unlock(0)], &[Write(2), Write(2)]],
    procs: &[&[0, 1]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    ..TIMELESS
};

/// A signal handler writes from inside a call.
pub const SIGNALS: Scenario = Scenario {
    name: "signal handler inside a call",
    programs: &[&[Write(0), Write(0)], &[Write(1)]],
    procs: &[&[0]],
    freezes: 2,
    signals: 1,
    handler: 1,
    ..TIMELESS
};

/// The same inside a section.
pub const SIGNALS_SECTION: Scenario = Scenario {
    name: "signal handler inside a section",
    programs: &[&[Lock(0), Write(0), Write(1), Unlock(0)], &[Write(2)]],
    procs: &[&[0]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    signals: 2,
    handler: 1,
    ..TIMELESS
};

/// Opened for a moment, closed again: who went on meanwhile counts.
pub const REOPENED: Scenario = Scenario {
    name: "opened and closed again",
    programs: &[&[Lock(0), Write(0), Await(2), Write(1), Unlock(0)], &[Write(2), Write(3)]],
    ..OPENINGS
};

/// Workers are killed anywhere, a waiter and a child among them.
pub const KILLS: Scenario = Scenario {
    name: "one of the workers is killed",
    procs: &[&[0]],
    prelude: &[1],
    kills: 1,
    killable: 3,
    ..CHILD
};

/// The same with two that wait for each other's lock.
pub const KILLS_CROSSED: Scenario = Scenario {
    name: "a holder or a waiter is killed",
    kills: 1,
    killable: 3,
    prelude: &[2, 0],
    ..CROSSED
};

/// With a clock: the thaw comes in time or late.
pub const LATE_THAW: Scenario =
    Scenario { name: "late thaw", limit: 2 * TICK, drain: 2 * TICK, until: 4 * TICK, ..TORN_PAIR };

/// The freezer is killed anywhere; the next one comes at once.
pub const KILLED_FREEZER: Scenario = Scenario {
    name: "killed freezer, next freeze at once",
    freezes: 2,
    freezer_kills: 1,
    limit: 2 * TICK,
    drain: 2 * TICK,
    until: 4 * TICK,
    ..TORN_PAIR
};

/// It leaves a child's admission on the page.
pub const KILLED_FREEZER_CHILD: Scenario = Scenario {
    name: "killed freezer leaves an admission",
    freezes: 2,
    freezer_kills: 1,
    limit: 3 * TICK,
    drain: 3 * TICK,
    until: 9 * TICK,
    patient: true,
    ..CHILD_LIVES_ON
};

/// Freezes back to back: the waits of one call do not add up.
pub const BACK_TO_BACK: Scenario = Scenario {
    name: "three freezes back to back",
    freezes: 3,
    limit: 2 * TICK,
    drain: 2 * TICK,
    until: 4 * TICK,
    ..TORN_PAIR
};

/// A call that has waited as long as it may passes the next barrier, and its word need
/// not show that when the snapshot is made.
pub const OVERDUE: Scenario =
    Scenario { name: "a call whose bound is reached", freezes: 2, buffer: 3, ..BACK_TO_BACK };

/// A drain that cannot end in time is given up, honestly, and all goes on.
pub const GIVEN_UP: Scenario = Scenario {
    name: "a drain that is given up",
    openings: 0,
    limit: 4 * TICK,
    drain: 3 * TICK,
    ..OPENINGS
};

/// The parent has its record synced, the child sleeps, then writes.
pub const SETTLED: Scenario = Scenario {
    name: "settled section",
    programs: &[&[Lock(0), Write(2), Sync, Fork(1), Wait, Write(1), Unlock(0)], &[Sleep, Write(0)]],
    procs: &[&[0]],
    sets: &[Set { files: &[0, 1], of: 0 }],
    settled: true,
    ..TIMELESS
};

/// The child sleeps and goes, and has written nothing.
pub const SETTLED_IDLE: Scenario = Scenario {
    name: "settled section, child that does nothing",
    programs: &[&[Lock(0), Write(2), Sync, Fork(1), Wait, Write(1), Unlock(0)], &[Sleep]],
    sets: &[],
    ..SETTLED
};

/// The child is held first, so that it is let in, and then sleeps and writes.
pub const SETTLED_ADMITTED: Scenario = Scenario {
    name: "settled section, child that was let in",
    programs: &[
        &[Lock(0), Write(2), Sync, Fork(1), Wait, Write(1), Unlock(0)],
        &[Sync, Sleep, Write(0)],
    ],
    ..SETTLED
};

/// A first child writes, before a second one is forked or while that one sleeps.
pub const SETTLED_TWO: Scenario = Scenario {
    name: "settled section, two children",
    programs: &[
        &[Lock(0), Write(2), Sync, Fork(1), Fork(2), Wait, Write(1), Unlock(0)],
        &[Write(0)],
        &[Sleep],
    ],
    ..SETTLED
};

/// The other way round: who writes is forked while the first one sleeps, perhaps after the
/// freezer has made its list, and may be gone before it looks again.
pub const SETTLED_LATE: Scenario = Scenario {
    name: "settled section, a second child that nobody sees",
    programs: &[&[Lock(0), Fork(2), Fork(1), Wait, Write(1), Unlock(0)], &[Write(0)], &[Sleep]],
    prelude: &[2],
    buffer: 1,
    ..SETTLED
};

/// One child after the other, and each record before the next.
pub const SETTLED_NEXT: Scenario = Scenario {
    name: "settled section, held before the next child",
    programs: &[
        &[Lock(0), Fork(1), Wait, Fork(2), Wait, Write(1), Unlock(0)],
        &[Write(0)],
        &[Sleep],
    ],
    prelude: &[1],
    ..SETTLED
};

/// The first child becomes another program at once, as one that pipes to a delivery agent.
pub const SETTLED_NEXT_EXEC: Scenario = Scenario {
    name: "settled section, another program before the next child",
    programs: &[
        &[Lock(0), Fork(1), Wait, Fork(2), Wait, Write(1), Unlock(0)],
        &[Exec, Write(0)],
        &[Sleep],
    ],
    ..SETTLED_NEXT
};

/// The child takes a lock of its own, for which it may sleep before it writes, and another
/// process wants that lock too.
pub const SETTLED_LOCKS: Scenario = Scenario {
    name: "settled section, child with a lock",
    programs: &[
        &[Lock(0), Write(2), Sync, Fork(1), Wait, Write(1), Unlock(0)],
        &[Lock(1), Sleep, Write(0), Unlock(1)],
        &[Lock(1), Write(3), Unlock(1)],
    ],
    procs: &[&[0], &[2]],
    ..SETTLED
};

/// The sleeping child has a child of its own that writes and is gone.
pub const SETTLED_GRANDCHILD: Scenario = Scenario {
    name: "settled section, grandchild",
    programs: &[
        &[Lock(0), Write(2), Sync, Fork(1), Wait, Write(1), Unlock(0)],
        &[Fork(2), Wait, Sleep],
        &[Write(0)],
    ],
    ..SETTLED
};

/// The sleeping child has become another program after it wrote.
pub const SETTLED_EXEC: Scenario = Scenario {
    name: "settled section, child execs",
    programs: &[
        &[Lock(0), Write(2), Sync, Fork(1), Wait, Write(1), Unlock(0)],
        &[Write(0), Exec, Sleep],
    ],
    ..SETTLED
};

/// A set that travels by message, and no lock: one makes its half, the other hears of
/// it and makes the other. The clock moves only when nothing else can, so that who
/// has an answer is quick: nothing more is claimed for such sets.
pub const FIRST_MESSAGE: Scenario = Scenario {
    name: "a set by message, its maker held first",
    programs: &[&[Write(0), Sync], &[Await(0), Write(1), Write(2)]],
    procs: &[&[0], &[1]],
    sets: &[Set { files: &[0, 1, 2], of: ALL }],
    first: 1,
    limit: 40 * TICK,
    drain: 30 * TICK,
    until: 50 * TICK,
    patient: true,
    ..TIMELESS
};

/// A set that is begun by a delivery agent, who tells by its exit, and finished by those
/// who hear of it, through several hands and no lock: its parent (a client's child that
/// merely waits), that one's parent, which records, and another process by message.
pub const AGENT: Scenario = Scenario {
    name: "a set by exit and by message, its maker held first",
    programs: &[
        &[Fork(1), Wait, Write(2)],
        &[Fork(2), Wait],
        &[Write(0), Write(1)],
        &[Await(2), Write(3)],
    ],
    procs: &[&[0], &[3]],
    sets: &[Set { files: &[0, 2, 3], of: ALL }],
    first: 0b1100,
    until_exit: 0b1000,
    hands: 2,
    ..TIMELESS
};

/// A set that one begins under its lock and another finishes: handed over, stored,
/// answered, recorded. The one that hands over is held first.
pub const HAND_OVER: Scenario = Scenario {
    name: "a hand-over, its sender held first",
    programs: &[
        &[Lock(0), Send(3), Await(0), Write(1), Unlock(0), Lock(0), Write(2), Unlock(0)],
        &[Await(3), Write(0)],
    ],
    procs: &[&[0], &[1]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    first: 1,
    ..TIMELESS
};

/// What is handed over is taken by one that is held first as well (a mail filter that
/// gives the message back to its own queue).
pub const HAND_BACK: Scenario = Scenario {
    name: "a hand-over that a maker takes, both held first",
    first: 3,
    senders: 1,
    ..HAND_OVER
};

/// The one that is held first has a section that waits for another's lock, and the
/// other way round.
pub const FIRST_CROSSED: Scenario =
    Scenario { name: "sections crossed, one held first", first: 1, ..CROSSED };

/// The others are held by the second closing alone.
pub const FIRST_SETS: Scenario =
    Scenario { name: "sets under one lock, one process held first", first: 2, ..SETS };

/// A lock that was taken past the library: only the kernel knows it.
pub const KERNEL_ONLY: Scenario = Scenario {
    name: "a lock that only the kernel knows",
    programs: &[&[Lock(0), Write(0), Write(1), Unlock(0)], &[Lock(0), Write(2), Unlock(0)]],
    procs: &[&[0], &[1]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    unseen: 1,
    ..TIMELESS
};

/// One set after the other under such a lock: an admission ends with the set.
pub const KERNEL_ONLY_AGAIN: Scenario = Scenario {
    name: "two sets under a lock that only the kernel knows",
    programs: &[&[Lock(0), Write(0), Write(1), Unlock(0), Lock(0), Write(0), Write(1), Unlock(0)]],
    procs: &[&[0]],
    ..KERNEL_ONLY
};

/// The child has the locked description too, and goes on when the parent has closed it.
pub const HANDED_ON: Scenario = Scenario {
    name: "a description shared over fork, the parent closes",
    programs: &[&[Lock(0), Write(0), Fork(1), Close(0)], &[Write(1), Close(0)]],
    procs: &[&[0]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    shared: 1,
    ..TIMELESS
};

/// The parent ends, and another process wants the lock.
pub const HANDED_ON_BY_EXIT: Scenario = Scenario {
    name: "a description shared over fork, the parent exits",
    programs: &[&[Fork(1)], &[Lock(0), Write(0), Fork(2)], &[Write(1), Close(0)]],
    ..HANDED_ON
};

/// A helper takes the lock on its parent's descriptor, and ends (`flock 9` in a shell).
pub const CHILD_LOCKS: Scenario = Scenario {
    name: "a child locks its parent's description",
    programs: &[&[Fork(1), Wait, Write(0), Write(1), Unlock(0)], &[Lock(0)]],
    procs: &[&[0]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    shared: 1,
    opened_before: 1,
    ..TIMELESS
};

/// A lock file that does not lie in the snapshot, made at any moment, also under a closed barrier.
pub const FILE_OUTSIDE: Scenario = Scenario {
    name: "a lock file outside of what is protected",
    programs: &[&[Make(0), Write(0), Write(1), Remove(0)]],
    procs: &[&[0]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    freezes: 2,
    outside: 1,
    ..TIMELESS
};

/// One beside the data: making and removing it wait at the barrier.
pub const FILE_INSIDE: Scenario = Scenario {
    name: "a lock file, and one that waits for it",
    programs: &[&[Make(0), Write(0), Write(1), Remove(0)]],
    procs: &[&[0], &[0]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    openings: 1,
    until: 9 * TICK,
    patient: true,
    ..TIMELESS
};

/// A helper makes it and ends; its parent works under it.
pub const FILE_BY_HELPER: Scenario = Scenario {
    name: "a lock file that a helper makes",
    programs: &[&[Fork(1), Wait, Write(0), Write(1), Remove(0)], &[Make(0)]],
    procs: &[&[0]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    ..TIMELESS
};

/// Another process removes it.
pub const FILE_REMOVED: Scenario = Scenario {
    name: "a lock file that another process removes",
    programs: &[&[Make(0), Write(0), Write(1), Stay], &[Await(1), Remove(0), Write(2)]],
    procs: &[&[0], &[1]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    outside: 1,
    ..TIMELESS
};

/// Its maker forks and ends; the child goes on.
pub const FILE_LEFT: Scenario = Scenario {
    name: "a lock file whose maker forks and exits",
    programs: &[&[Fork(1)], &[Make(0), Write(0), Fork(2)], &[Write(1), Remove(0)]],
    procs: &[&[0]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    ..TIMELESS
};

/// More locks than the table has room for, and back.
pub const OVERFLOW: Scenario = Scenario {
    name: "more locks than the table has room for",
    programs: &[&[Lock(0), Lock(1), Write(0), Unlock(0), Write(1), Unlock(1)]],
    procs: &[&[0]],
    sets: &[Set { files: &[0, 1], of: ALL }],
    table: 1,
    ..TIMELESS
};
