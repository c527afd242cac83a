//! What the model knows of the world at one moment: the memory that workers and
//! freezer share, the kernel's part (locks, processes, clock, files), and how far
//! everybody has got.

use gate::admission::Admission;
use gate::admission::Grant;
use gate::drain::Drain;
use gate::entry::Patience;
use gate::quiesce::Rounds;
use gate::summary::Summary;
use gate::thaw::{Broken, Thaw};
use gate::word::{ProcessWord, ThreadWord};

/// Most files, locks of a scenario.
pub const FILES: usize = 4;
pub const LOCKS: usize = 3;

/// What a thread's program does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Op {
    /// Changes this file: its sequence number rises.
    Write(u8),
    /// Waits for and takes this lock, which guards writing.
    Lock(u8),
    /// Gives it up, for all that share it.
    Unlock(u8),
    /// Closes its descriptor of that lock's file: the lock lasts as long as another has one.
    Close(u8),
    /// Makes this lock file.
    Make(u8),
    /// Removes it, whoever made it.
    Remove(u8),
    /// Forks a child that runs this program.
    Fork(u8),
    /// Waits until all children are gone.
    Wait,
    /// Waits until this file was changed, in a way that the kernel does not show.
    Await(u8),
    /// Does nothing more, and stays.
    Stay,
    /// Becomes another program, which keeps the locks and goes on with the next op.
    Exec,
    /// fsync: held like a change, changes nothing.
    Sync,
    /// A call that may wait seconds and changes nothing.
    Sleep,
    /// Hands something to another process (a message: this file, which lies nowhere):
    /// by the profile's rule a change like any other.
    Send(u8),
}

/// How far a thread has got with its op.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Step {
    /// Between ops.
    Next,
    /// Has announced by a plain store; looks next.
    Announced,
    /// Has announced by a locked store; looks again and asks next.
    Asking,
    /// Waits at the barrier.
    Held,
    /// Has been let pass; begins its section next.
    Passing,
    /// Acts next, then leaves.
    Begun,
    /// Inside the call that waits for a lock.
    LockWait,
    /// The kernel has given it the lock; the library does not know yet.
    Locked,
    /// The kernel has taken the lock back; the library does not know yet.
    Unlocked,
    /// The lock file is there; the library does not know yet.
    Made,
    /// It has waited for its children; the library asks next what they have locked for it.
    Reaped,
    /// Inside a call that may wait seconds.
    Sleeping,
}

/// What a signal handler has interrupted.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Interrupted {
    pub program: u8,
    pub at: u8,
    pub step: Step,
    pub patience: Patience,
    pub bound: Option<u64>,
    pub word: ThreadWord,
}

/// One thread.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Thread {
    pub program: u8,
    pub at: u8,
    pub step: Step,
    pub patience: Patience,
    /// Ghost: the deadline of the barrier that first held this call.
    pub bound: Option<u64>,
    /// Set while a signal handler runs.
    pub interrupted: Option<Interrupted>,
    /// Its own word as it last stored it, and the lock it waits for.
    pub own: (ThreadWord, Option<u8>),
    /// Stores that nobody else sees yet, oldest first.
    pub buffer: Vec<(ThreadWord, Option<u8>)>,
}

impl Thread {
    pub fn new(program: u8) -> Thread {
        Thread {
            program,
            at: 0,
            step: Step::Next,
            patience: Patience::default(),
            bound: None,
            interrupted: None,
            own: (ThreadWord::default(), None),
            buffer: Vec::new(),
        }
    }
}

/// One process, as the kernel and its own private memory know it.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Proc {
    pub alive: bool,
    pub parent: Option<u8>,
    /// Its region; none: just born, or just become another program.
    pub region: Option<u8>,
    /// Forked or exec'd with a lock held: what a child may wrongly trust, and
    /// what a new image must rebuild.
    pub inherited: bool,
    pub execed: bool,
    pub threads: Vec<Thread>,
}

/// The shared memory of one process. It outlives the process in the freezer's
/// mapping.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Region {
    pub process: ProcessWord,
    pub lock_sequence: u64,
    /// Bit for each lock in its table that it took itself.
    pub holds: u8,
    /// Those in its table that came with the fork.
    pub came: u8,
    /// Some lock did not fit into the table.
    pub lost: bool,
    /// Visible words.
    pub words: Vec<(ThreadWord, Option<u8>)>,
    pub changes: u64,
    pub synced: u64,
    /// The family's count when all was on record, and that at the last fork.
    pub family_synced: u64,
    pub family_at_fork: u64,
    /// Came from an exec: cannot know what was done before.
    pub after_exec: bool,
}

/// A process in the freezer's list, with the region that it mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Member {
    pub proc: u8,
    pub region: Option<u8>,
    /// Had done nothing since it was forked when it was last looked at, which is done
    /// again before a drain is believed (`ProcessView::fresh_fork`).
    pub fresh_fork: bool,
}

/// What a pass has read of one member so far.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct Row {
    pub words: Vec<(ThreadWord, Option<u8>)>,
    pub process: ProcessWord,
    pub lock_sequence: u64,
    pub holds: u8,
    pub gone: bool,
    pub waits: bool,
    pub family: bool,
    /// In a call that waits for others.
    pub asleep: bool,
    /// The files of all locks in its table are gone.
    pub files_gone: bool,
}

/// Where the freezer is.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub enum Phase {
    /// Before a freeze.
    #[default]
    HelperState,
    /// Does what the drain asked for.
    Draining(gate::drain::Action),
    /// Reads word after word.
    Reading,
    /// Holds the regions' accounts against the kernel's locks.
    Comparing,
    /// Drained: the snapshot is being taken.
    Snapshot,
    /// Does what the thaw asked for.
    Thawing(gate::thaw::ThawAction),
    /// No more freezes.
    Finished,
}

/// How a freeze ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Verdict {
    Consistent,
    Broken(Broken),
    NotDrained,
    /// The freezer was killed.
    None,
}

/// The freezer. What it has written on the page outlives it.
#[derive(Clone, PartialEq, Eq, Debug, Hash, Default)]
pub struct Freezer {
    pub freeze: u8,
    pub phase: Phase,
    pub drain: Option<Drain>,
    pub thaw: Option<Thaw>,
    pub deadline: u64,
    pub list: Vec<Member>,
    pub rows: Vec<Row>,
    /// Members (bits of the list) with a lock that no region accounts for, by the last comparison.
    pub unaccounted: u128,
    /// How many reads this pass has made.
    pub reads: u16,
    pub given: Vec<Grant>,
    /// Who was held at an opening.
    pub held: Vec<(u8, u8, ThreadWord)>,
    /// Set after a pass that taught nothing: what the next would read too, unless
    /// something changes.
    pub stale: Option<u64>,
    /// The summary of the last complete pass.
    pub last: Summary,
    pub drained: Summary,
    /// Who has been seen at rest in this round (bits of the list).
    pub rested: u8,
    pub rounds: Rounds,
    /// Sections that were found settled, with their words (the broken variant's).
    pub settled: Vec<(u8, ProcessWord)>,
    /// A clock read before the lowering (the broken variant's).
    pub early_clock: u64,
    /// The files at the drain.
    pub snapshot: Option<[u8; FILES]>,
    /// Ghost: the snapshot is worth nothing.
    pub torn: bool,
    /// Ghost: somebody went on by the lease of this freeze while it was up.
    pub lease_used: bool,
    /// Ghost: somebody passed because its bound was reached.
    pub overdue: bool,
    /// Ghost: somebody arrived at the barrier after the drain.
    pub arrivals: bool,
    pub verdict: Option<Verdict>,
}

/// Everything.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct State {
    pub time: u64,
    /// The page.
    pub barrier: u64,
    /// The word of those that are held first.
    pub early: u64,
    /// The word of those that hand over.
    pub senders: u64,
    pub last_deadline: u64,
    pub places: Vec<Admission>,
    pub procs: Vec<Proc>,
    pub regions: Vec<Region>,
    /// Kernel locks: bit for each process that has a descriptor of the locked description.
    pub locks: [u128; LOCKS],
    /// Lock files that are there, and the process that made each.
    pub lock_files: [Option<u8>; LOCKS],
    pub files: [u8; FILES],
    pub freezer: Freezer,
    pub kills: u8,
    pub freezer_kills: u8,
    pub signals: u8,
    /// Changes by anyone of the one family that a settled scenario has, until exec.
    pub family: u64,
    /// Sets that a death has cut: the server's own recovery.
    pub cut: u8,
    /// Properties that were violated (bits of `oracle`).
    pub wrong: u8,
}

impl State {
    /// Nonces are region numbers from 1.
    pub fn nonce(region: Option<u8>) -> u64 {
        region.map_or(0, |at| at as u64 + 1)
    }

    pub fn region_of(&self, proc: usize) -> Option<&Region> {
        self.procs[proc].region.map(|at| &self.regions[at as usize])
    }

    /// Is `of` this process or a descendant of it?
    pub fn is_family(&self, root: u8, of: u8) -> bool {
        let mut at = Some(of);
        while let Some(proc) = at {
            if proc == root {
                return true;
            }
            at = self.procs[proc as usize].parent;
        }
        false
    }
}
