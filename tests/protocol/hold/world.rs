//! Processes without words: what their threads do, and how they stop.

use super::order::News;
use gate::hold::{Action, Hold, NewLocks};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Op {
    /// Waits until this lock is free, and takes it.
    Lock(usize),
    Unlock(usize),
    /// Appends to this file.
    Write(usize),
    /// The same, by a gated process through libc: it waits while the barrier is up, and that is up all the time.
    Hooked(usize),
    /// Makes a thread that does this program.
    Thread(usize),
    /// Makes a process that does this program.
    Fork(usize),
    /// Waits until all its children have ended.
    Wait,
    /// Sleeps for a while.
    Sleep,
    /// Sends a message through this channel.
    Tell(usize),
    /// Waits for one.
    Hear(usize),
}

/// What is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    Nothing,
    /// Nobody asks who holds a lock.
    StoppedAnywhere,
    /// The locks are read when the stop is asked for.
    LocksBeforeStop,
    /// Only the first thread of a process is stopped.
    ThreadForgotten,
    /// Who was made after the first listing is not found, and is not ours by birth.
    NewThreadMissed,
    /// Nothing ends a tracer that is stopped.
    NoTimer,
    /// A process that waits for a child keeps it waiting: only who holds a lock is let go.
    HoldersAlone,
    /// In each round a process of several threads takes no new lock while one of them waits.
    AlwaysKeptBack,
    /// Nobody asks whether the child that sleeps has done something before.
    BegunIsSettled,
    /// A child that has ended counts like one that sleeps.
    EndedIsSettled,
    /// All are stopped at once, whatever the profile says of an order.
    FirstIgnored,
    /// The others are stopped as soon as the first ones are at rest.
    NewsNotAwaited,
    /// They are when each has been seen to wait once.
    OneHand,
    /// Nobody asks whether a first one was let run again.
    OrderedOnce,
    /// A program whose sets last until it waits is at rest wherever it has no lock.
    WaitIgnored,
    /// The same of one whose sets last until it ends.
    ExitIgnored,
    /// A gated process's lock is no matter where it waits at the gate: its words tell of no change under it.
    WordsBelieved,
}

/// Programs, and which processes there are: the threads of each.
#[derive(Clone, Debug)]
pub struct World {
    pub programs: &'static [&'static [Op]],
    pub procs: &'static [&'static [usize]],
    /// The profile says that a process records what it has done before it makes a child (`settled`).
    pub settled: bool,
    /// Programs that it names `first`, with `first-wait = rest`.
    pub first: &'static [u8],
    /// Programs that it names `until-wait`.
    pub until_wait: &'static [u8],
    /// Programs that it names `until-exit`.
    pub until_exit: &'static [u8],
    pub fault: Fault,
}

pub const FILES: usize = 2;
pub const LOCKS: usize = 2;
pub const CHANNELS: usize = 2;
/// At this time the tracer gives up ...
pub const UNTIL: u64 = 100;
/// ... and at this one the kernel kills it.
pub const DEADLINE: u64 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Thread {
    pub proc: u8,
    pub program: u8,
    pub at: u8,
    /// Known to the tracer.
    pub ours: bool,
    pub asked: bool,
    pub stopped: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct State {
    pub threads: Vec<Thread>,
    /// Parents of the processes.
    pub parents: Vec<Option<u8>>,
    /// The processes that have the locks.
    pub locks: [Option<u8>; LOCKS],
    pub files: [u8; FILES],
    /// Messages that nobody has heard yet.
    pub messages: [u8; CHANNELS],
    pub machine: Hold,
    /// What the tracer does next.
    pub action: Action,
    /// Somebody had a lock when the stop was asked for.
    pub held_then: bool,
    pub listed: bool,
    /// Processes that were all stopped when they were listed, with nobody new: not listed any more.
    pub complete: Vec<u8>,
    /// Nobody was new when all were listed last: the next stop begins without a list.
    pub all_listed: bool,
    /// Processes that may run.
    pub free: Vec<u8>,
    /// Processes that were let run without new locks: whether each had one.
    pub kept_back: Vec<(u8, bool)>,
    /// Only those run into a stop that are held first.
    pub aside: bool,
    /// What they did last goes through the others.
    pub news: Option<News>,
    /// The first ones that were there when the others were held too.
    pub first: Vec<u8>,
    /// Who was let run since.
    pub let_go: Vec<u8>,
    /// What the files were when all were at rest.
    pub snapshot: Option<[u8; FILES]>,
    pub time: u64,
    /// The tracer does no step any more.
    pub stuck: bool,
    pub gone: bool,
    pub torn: bool,
    /// Ghost: one that was let go waited for its child.
    pub waited: bool,
    /// Ghost: all were at rest although somebody had a lock.
    pub under_lock: bool,
    /// Ghost: one that was let go had a lock and needed the other, while a thread of its process waited.
    pub nested: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Thread(usize),
    Stops(usize),
    Tracer,
    StopTracer,
    Tick,
}

use Op::*;

impl World {
    pub fn op(&self, thread: &Thread) -> Option<Op> {
        self.programs[thread.program as usize].get(thread.at as usize).copied()
    }

    pub fn is_over(&self, s: &State, proc: u8) -> bool {
        s.threads.iter().filter(|t| t.proc == proc).all(|t| self.op(t).is_none())
    }

    pub fn children_over(&self, s: &State, proc: u8) -> bool {
        let is_child = |at: &usize| s.parents[*at] == Some(proc);
        (0..s.parents.len()).filter(is_child).all(|at| self.is_over(s, at as u8))
    }

    pub fn can_run(&self, s: &State, thread: &Thread) -> bool {
        !thread.stopped
            && match self.op(thread) {
                None => false,
                Some(Lock(lock)) => s.locks[lock].is_none() && !self.is_kept_back(s, thread),
                Some(Wait) => self.children_over(s, thread.proc),
                Some(Hooked(_)) => s.gone,
                Some(Hear(channel)) => s.messages[channel] > 0,
                Some(_) => true,
            }
    }

    pub fn is_kept_back(&self, s: &State, thread: &Thread) -> bool {
        // Who waits does not: what it waits for may be the very lock that one needs a second one to give up.
        let waits = |t: &Thread| match self.op(t) {
            None | Some(Lock(_) | Sleep) => true,
            Some(Wait) => self.fault != Fault::AlwaysKeptBack && !self.children_over(s, t.proc),
            Some(_) => false,
        };
        let goes_on = |t: &Thread| t.proc == thread.proc && !t.stopped && !waits(t);
        let kept = s.kept_back.iter().find(|(proc, _)| *proc == thread.proc);
        kept.is_some_and(|(_, had_lock)| !had_lock || s.threads.iter().any(goes_on))
    }

    pub fn keeps_back(&self, new_locks: NewLocks) -> bool {
        new_locks == NewLocks::KeptBack || self.fault == Fault::AlwaysKeptBack
    }

    /// Is it held before others?
    pub fn is_first(&self, s: &State, proc: u8) -> bool {
        s.threads.iter().any(|t| t.proc == proc && self.first.contains(&t.program))
    }

    /// Does it run on while others are held?
    pub fn is_aside(&self, s: &State, proc: u8) -> bool {
        s.aside && !self.is_first(s, proc)
    }

    pub fn has_lock(&self, s: &State, proc: u8) -> bool {
        s.locks.contains(&Some(proc))
    }

    /// It waits, and each child of it sleeps, has no lock and has written nothing.
    pub fn is_settled(&self, s: &State, proc: u8) -> bool {
        let all = |of: u8, at: &dyn Fn(&Thread) -> bool| {
            s.threads.iter().filter(|t| t.proc == of).all(|t| t.stopped && at(t))
        };
        let written = |t: &Thread| {
            let done = &self.programs[t.program as usize][..t.at as usize];
            done.iter().any(|op| matches!(op, Write(_)))
        };
        let asleep = |t: &Thread| {
            self.op(t) == Some(Sleep) && (self.fault == Fault::BegunIsSettled || !written(t))
        };
        let rests = |child: u8| {
            self.fault == Fault::EndedIsSettled && self.is_over(s, child)
                || all(child, &asleep) && !self.has_lock(s, child)
        };
        let children: Vec<u8> = (0..s.parents.len() as u8)
            .filter(|child| s.parents[*child as usize] == Some(proc))
            .collect();
        self.settled
            && all(proc, &|t| self.op(t) == Some(Wait))
            && !children.is_empty()
            && children.into_iter().all(rests)
    }

    /// Is it in the way?
    pub fn holds(&self, s: &State, proc: u8) -> bool {
        let at_gate = |t: &Thread| t.proc == proc && matches!(self.op(t), Some(Hooked(_)));
        let is_believed = self.fault == Fault::WordsBelieved && s.threads.iter().any(at_gate);
        let locked = self.has_lock(s, proc) && !self.is_settled(s, proc) && !is_believed;
        (locked || self.is_at_work(s, proc)) && !self.is_aside(s, proc)
    }

    /// Is it in the middle of a set, by the profile, whatever its locks?
    pub fn is_at_work(&self, s: &State, proc: u8) -> bool {
        let waits = |op| matches!(op, None | Some(Hear(_) | Wait | Sleep));
        let changes = |op: &Op| matches!(op, Write(_) | Tell(_) | Wait);
        s.threads.iter().filter(|t| t.proc == proc).any(|t| {
            let program = self.programs[t.program as usize];
            let begun = program[..t.at as usize].iter().any(changes);
            let at_work = self.until_wait.contains(&t.program) && !waits(self.op(t));
            let not_ended = self.until_exit.contains(&t.program) && begun && self.op(t).is_some();
            at_work && self.fault != Fault::WaitIgnored
                || not_ended && self.fault != Fault::ExitIgnored
        })
    }

    /// One system call.
    pub fn run(&self, s: &mut State, at: usize) {
        let thread = s.threads[at];
        // Who is made by one of ours is ours, and stops by itself.
        let by_birth = thread.ours && self.fault != Fault::NewThreadMissed;
        let stops = by_birth && !s.free.contains(&thread.proc);
        let aside = s.aside;
        let made = |proc, program: usize| Thread {
            proc,
            program: program as u8,
            at: 0,
            ours: by_birth,
            asked: stops && (!aside || self.first.contains(&(program as u8))),
            stopped: false,
        };
        match self.op(&thread).expect("it can run") {
            Lock(lock) => s.locks[lock] = Some(thread.proc),
            Unlock(lock) => s.locks[lock] = None,
            Write(file) | Hooked(file) => s.files[file] += 1,
            Thread(program) => s.threads.push(made(thread.proc, program)),
            Fork(program) => {
                s.parents.push(Some(thread.proc));
                s.threads.push(made(s.parents.len() as u8 - 1, program));
                if s.free.contains(&thread.proc) {
                    s.free.push(s.parents.len() as u8 - 1);
                }
            }
            Tell(channel) => s.messages[channel] += 1,
            Hear(channel) => s.messages[channel] -= 1,
            Wait | Sleep => {}
        }
        s.threads[at].at += 1;
    }
}
