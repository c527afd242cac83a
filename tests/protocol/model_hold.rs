//! Processes without words, held by the tracer: `gate::hold` explored with every interleaving.
//!
//! A world of its own beside `model/`: these processes have no region, no barrier and no announcement. A thread
//! does one system call at a time, each whole; it is stopped some time after it was asked to, each
//! thread by itself; only the kernel knows who holds a lock; threads and processes are made meanwhile. The
//! tracer does what `gate::hold` asks for; it may be stopped for good at any step, and the kernel's timer
//! kills it.
//!
//! `cargo test -p writegate-protocol-tests --test model_hold -- --nocapture --test-threads 1`

use gate::hold::{Action, Answer, Hold, Limits, NewLocks, Outcome};
use stateright::{Checker, HasDiscoveries, Model, Property};

/// One system call, or what stands between two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Op {
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
}
use Op::*;

/// What is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
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
    /// A gated process's lock is no matter where it waits at the gate: its words tell of no change under it.
    WordsBelieved,
}

/// Programs, and which processes there are: the threads of each.
#[derive(Clone, Debug)]
struct World {
    programs: &'static [&'static [Op]],
    procs: &'static [&'static [usize]],
    /// The profile says that a process records what it has done before it makes a child (`settled`).
    settled: bool,
    fault: Fault,
}

const FILES: usize = 2;
const LOCKS: usize = 2;
/// At this time the tracer gives up ...
const UNTIL: u64 = 100;
/// ... and at this one the kernel kills it.
const DEADLINE: u64 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
struct Thread {
    proc: u8,
    program: u8,
    at: u8,
    /// Known to the tracer.
    ours: bool,
    asked: bool,
    stopped: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Hash)]
struct State {
    threads: Vec<Thread>,
    /// Parents of the processes.
    parents: Vec<Option<u8>>,
    /// The processes that have the locks.
    locks: [Option<u8>; LOCKS],
    files: [u8; FILES],
    machine: Hold,
    /// What the tracer does next.
    action: Action,
    /// Somebody had a lock when the stop was asked for.
    held_then: bool,
    listed: bool,
    /// Processes that were all stopped when they were listed, with nobody new: not listed any more.
    complete: Vec<u8>,
    /// Nobody was new when all were listed last: the next stop begins without a list.
    all_listed: bool,
    /// Processes that may run.
    free: Vec<u8>,
    /// Processes that were let run without new locks: whether each had one.
    kept_back: Vec<(u8, bool)>,
    /// What the files were when all were at rest.
    snapshot: Option<[u8; FILES]>,
    time: u64,
    /// The tracer does no step any more.
    stuck: bool,
    gone: bool,
    torn: bool,
    /// Ghost: one that was let go waited for its child.
    waited: bool,
    /// Ghost: all were at rest although somebody had a lock.
    under_lock: bool,
    /// Ghost: one that was let go had a lock and needed the other, while a thread of its process waited.
    nested: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Thread(usize),
    Stops(usize),
    Tracer,
    StopTracer,
    Tick,
}

impl World {
    fn op(&self, thread: &Thread) -> Option<Op> {
        self.programs[thread.program as usize].get(thread.at as usize).copied()
    }

    fn is_over(&self, s: &State, proc: u8) -> bool {
        s.threads.iter().filter(|t| t.proc == proc).all(|t| self.op(t).is_none())
    }

    fn children_over(&self, s: &State, proc: u8) -> bool {
        let is_child = |at: &usize| s.parents[*at] == Some(proc);
        (0..s.parents.len()).filter(is_child).all(|at| self.is_over(s, at as u8))
    }

    fn can_run(&self, s: &State, thread: &Thread) -> bool {
        !thread.stopped
            && match self.op(thread) {
                None => false,
                Some(Lock(lock)) => s.locks[lock].is_none() && !self.is_kept_back(s, thread),
                Some(Wait) => self.children_over(s, thread.proc),
                Some(Hooked(_)) => s.gone,
                Some(_) => true,
            }
    }

    fn is_kept_back(&self, s: &State, thread: &Thread) -> bool {
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

    fn keeps_back(&self, new_locks: NewLocks) -> bool {
        new_locks == NewLocks::KeptBack || self.fault == Fault::AlwaysKeptBack
    }

    fn has_lock(&self, s: &State, proc: u8) -> bool {
        s.locks.contains(&Some(proc))
    }

    /// It waits, and each child of it sleeps, has no lock and has written nothing.
    fn is_settled(&self, s: &State, proc: u8) -> bool {
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
    fn holds(&self, s: &State, proc: u8) -> bool {
        let at_gate = |t: &Thread| t.proc == proc && matches!(self.op(t), Some(Hooked(_)));
        let is_believed = self.fault == Fault::WordsBelieved && s.threads.iter().any(at_gate);
        self.has_lock(s, proc) && !self.is_settled(s, proc) && !is_believed
    }

    /// One system call.
    fn run(&self, s: &mut State, at: usize) {
        let thread = s.threads[at];
        // Who is made by one of ours is ours, and stops by itself.
        let by_birth = thread.ours && self.fault != Fault::NewThreadMissed;
        let stops = by_birth && !s.free.contains(&thread.proc);
        let made = |proc, program: usize| Thread {
            proc,
            program: program as u8,
            at: 0,
            ours: by_birth,
            asked: stops,
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
            Wait | Sleep => {}
        }
        s.threads[at].at += 1;
    }

    fn find(&self, s: &mut State) -> u32 {
        if self.fault == Fault::NewThreadMissed && s.listed {
            return 0;
        }
        s.listed = true;
        let mut new = 0;
        let still: Vec<u8> = (0..s.parents.len() as u8)
            .filter(|proc| {
                let mut of_it = s.threads.iter().filter(|t| t.proc == *proc);
                of_it.all(|t| t.ours && (t.stopped || self.op(t).is_none()))
            })
            .collect();
        for at in 0..s.threads.len() {
            if s.complete.contains(&s.threads[at].proc) {
                continue;
            }
            let first = !s.threads[..at].iter().any(|t| t.proc == s.threads[at].proc);
            let forgotten = self.fault == Fault::ThreadForgotten && !first;
            if !s.threads[at].ours && !forgotten && self.op(&s.threads[at]).is_some() {
                s.threads[at].ours = true;
                new += 1;
            }
        }
        let complete: Vec<u8> =
            still.into_iter().filter(|proc| !s.complete.contains(proc)).collect();
        s.complete.extend(complete);
        new
    }

    fn let_go(&self, s: &mut State, who: impl Fn(u8) -> bool) {
        s.free = (0..s.parents.len() as u8).filter(|proc| who(*proc)).collect();
        for thread in s.threads.iter_mut().filter(|t| s.free.contains(&t.proc)) {
            (thread.asked, thread.stopped) = (false, false);
        }
    }

    fn trace(&self, s: &mut State) {
        let answer = match s.action {
            Action::Stop => {
                // Who was kept back has stopped there.
                let kept =
                    |t: &Thread| matches!(self.op(t), Some(Lock(_))) && self.is_kept_back(s, t);
                let kept: Vec<bool> = s.threads.iter().map(kept).collect();
                s.threads.iter_mut().zip(kept).for_each(|(t, kept)| t.stopped |= kept);
                s.free.clear();
                s.kept_back.clear();
                s.held_then = s.locks.iter().any(Option::is_some);
                let new = if s.all_listed { 0 } else { self.find(s) };
                s.threads.iter_mut().filter(|t| t.ours && !t.stopped).for_each(|t| t.asked = true);
                Answer::New(new, 0)
            }
            Action::Await => {
                let runs = |t: &&Thread| t.ours && !t.stopped && self.op(t).is_some();
                Answer::Running(s.threads.iter().filter(runs).count() as u32, 0)
            }
            Action::List => {
                let new = self.find(s);
                s.all_listed = new == 0;
                Answer::New(new, 0)
            }
            Action::Locks => Answer::Holding(self.holders(s), 0),
            Action::LetGo(new_locks) => {
                let waits = |proc: u8| {
                    let of_it = s.threads.iter().filter(|t| t.proc == proc);
                    of_it.clone().any(|t| self.op(t) == Some(Wait))
                };
                let holds: Vec<bool> =
                    (0..s.parents.len()).map(|proc| self.holds(s, proc as u8)).collect();
                let waited: Vec<bool> = (0..s.parents.len())
                    .map(|at| s.parents[at].is_some_and(|up| holds[up as usize] && waits(up)))
                    .collect();
                s.waited |= (0..waited.len()).any(|at| waited[at] && !self.is_over(s, at as u8));
                let alone = self.fault == Fault::HoldersAlone;
                self.let_go(s, |proc| holds[proc as usize] || !alone && waited[proc as usize]);
                let needs =
                    |t: &Thread| matches!(self.op(t), Some(Lock(_))) && holds[t.proc as usize];
                let beside =
                    |t: &Thread| self.op(t) == Some(Wait) && !self.children_over(s, t.proc);
                s.nested |= s.threads.iter().any(|t| {
                    needs(t) && s.threads.iter().any(|other| other.proc == t.proc && beside(other))
                });
                if self.keeps_back(new_locks) {
                    s.kept_back = (0..)
                        .zip(&holds)
                        .filter(|(_, holds)| **holds)
                        .map(|(proc, _)| (proc, true))
                        .collect();
                }
                Answer::Done(0)
            }
            Action::LetAll(new_locks) => {
                if self.fault != Fault::HoldersAlone {
                    self.let_go(s, |_| true);
                }
                if self.keeps_back(new_locks) {
                    s.kept_back = (0..s.parents.len() as u8)
                        .map(|proc| (proc, self.has_lock(s, proc)))
                        .collect();
                }
                Answer::Done(0)
            }
            Action::Pause(_) => Answer::Done(0),
            Action::Done(Outcome::AtRest) if s.snapshot.is_none() => {
                s.snapshot = Some(s.files);
                s.under_lock |= s.locks.iter().any(Option::is_some);
                s.torn |= s.files[0] != s.files[1];
                return;
            }
            Action::Done(_) => return self.end(s),
        };
        s.action = s.machine.next(answer);
    }

    fn holders(&self, s: &State) -> u32 {
        match self.fault {
            Fault::StoppedAnywhere => 0,
            Fault::LocksBeforeStop => s.held_then as u32,
            _ => (0..s.parents.len() as u8).filter(|proc| self.holds(s, *proc)).count() as u32,
        }
    }

    /// The tracer is gone: the kernel lets all run.
    fn end(&self, s: &mut State) {
        s.gone = true;
        s.snapshot = None;
        s.kept_back.clear();
        s.threads.iter_mut().for_each(|t| (t.asked, t.stopped, t.ours) = (false, false, false));
    }

    /// Can those that are let go still do something? Then the pause is not over.
    fn some_work(&self, s: &State) -> bool {
        let runs = |t: &Thread| s.free.contains(&t.proc) && self.can_run(s, t);
        let holds = s.free.iter().any(|proc| self.has_lock(s, *proc));
        holds && s.threads.iter().any(runs)
    }
}

impl Model for World {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let mut machine = Hold::new(Limits { until: UNTIL, pause: 1 });
        let action = machine.next(Answer::Done(0));
        let of = |(proc, programs): (usize, &&'static [usize])| {
            let thread = move |program: &usize| Thread {
                proc: proc as u8,
                program: *program as u8,
                at: 0,
                ours: false,
                asked: false,
                stopped: false,
            };
            programs.iter().map(thread).collect::<Vec<_>>()
        };
        vec![State {
            threads: self.procs.iter().enumerate().flat_map(of).collect(),
            parents: vec![None; self.procs.len()],
            locks: [None; LOCKS],
            files: [0; FILES],
            machine,
            action,
            held_then: false,
            listed: false,
            complete: Vec::new(),
            all_listed: false,
            free: Vec::new(),
            kept_back: Vec::new(),
            snapshot: None,
            time: 0,
            stuck: false,
            gone: false,
            torn: false,
            waited: false,
            under_lock: false,
            nested: false,
        }]
    }

    fn actions(&self, s: &State, steps: &mut Vec<Step>) {
        for (at, thread) in s.threads.iter().enumerate() {
            if self.can_run(s, thread) {
                steps.push(Step::Thread(at));
            }
            if thread.asked && !thread.stopped {
                steps.push(Step::Stops(at));
            }
        }
        if s.gone {
            return;
        }
        let pauses = matches!(s.action, Action::Pause(_)) && self.some_work(s);
        if !s.stuck && !pauses {
            steps.push(Step::Tracer);
        }
        if !s.stuck {
            steps.push(Step::StopTracer);
        } else if s.time < DEADLINE {
            steps.push(Step::Tick);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut s = last.clone();
        match step {
            Step::Thread(at) => {
                self.run(&mut s, at);
                s.torn |= s.snapshot.is_some_and(|snapshot| snapshot != s.files);
            }
            Step::Stops(at) => {
                (s.threads[at].asked, s.threads[at].stopped) = (false, true);
            }
            Step::Tracer => self.trace(&mut s),
            Step::StopTracer => s.stuck = true,
            Step::Tick => {
                s.time += 1;
                if s.time == DEADLINE && self.fault != Fault::NoTimer {
                    self.end(&mut s);
                }
            }
        }
        (s != *last).then_some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(WHOLE, |_, s: &State| !s.torn),
            Property::eventually(ENDS, |m: &World, s: &State| {
                s.torn || s.gone && s.threads.iter().all(|t| m.op(t).is_none())
            }),
            Property::sometimes(WAITED, |_, s: &State| s.snapshot.is_some() && s.waited),
            Property::sometimes(UNDER_LOCK, |_, s: &State| s.snapshot.is_some() && s.under_lock),
            Property::sometimes(NESTED, |_, s: &State| s.snapshot.is_some() && s.nested),
            Property::sometimes(AT_REST, |m: &World, s: &State| {
                s.snapshot.is_some() && s.threads.iter().any(|t| m.op(t).is_some())
            }),
        ]
    }
}

const WHOLE: &str = "at rest no set is cut, and nothing moves";
const ENDS: &str = "nobody is held for good";
const WAITED: &str = "a hold in which a holder waited for its child comes to rest";
const UNDER_LOCK: &str = "a hold comes to rest while a settled set's lock is held";
const NESTED: &str = "a hold in which a holder needed a second lock comes to rest";
const AT_REST: &str = "a hold in the middle of the work comes to rest";

const SET: &[Op] = &[Lock(0), Write(0), Write(1), Unlock(0)];
const NONE: World = World { programs: &[], procs: &[], settled: false, fault: Fault::Nothing };
/// Two processes that want the same lock.
const PAIR: World = World { programs: &[SET], procs: &[&[0], &[0]], ..NONE };
/// One process, two threads: one lock, taken by the process, the work done by the other thread.
const THREADS: World = World {
    programs: &[&[Lock(0), Write(0), Write(1), Unlock(0)], SET],
    procs: &[&[0, 1]],
    ..NONE
};
/// The thread that works is made meanwhile.
const LATE_THREAD: World = World { programs: &[&[Thread(1)], SET], procs: &[&[0]], ..NONE };
/// A child makes the second half, under its parent's lock.
const CHILD: World = World {
    programs: &[&[Lock(0), Write(0), Fork(1), Wait, Unlock(0)], &[Write(1)]],
    procs: &[&[0]],
    ..NONE
};
/// A child that works by itself is made meanwhile.
const LATE_CHILD: World = World { programs: &[&[Fork(1), Fork(1)], SET], procs: &[&[0]], ..NONE };
/// Gated processes that write past libc under a lock: one all of its set, the other half of it.
const GATED: World = World {
    programs: &[SET, &[Lock(1), Write(0), Hooked(1), Unlock(1)]],
    procs: &[&[0], &[1]],
    ..NONE
};
/// A whole set, then a child that sleeps and makes another, all under one lock.
const ASLEEP: World = World {
    programs: &[
        &[Lock(0), Write(0), Write(1), Fork(1), Wait, Unlock(0)],
        &[Sleep, Write(0), Write(1)],
    ],
    procs: &[&[0]],
    settled: true,
    ..NONE
};
/// The same, but the child has begun before it sleeps.
const BEGUN: World = World {
    programs: &[
        &[Lock(0), Write(0), Write(1), Fork(1), Wait, Unlock(0)],
        &[Write(0), Sleep, Write(1)],
    ],
    ..ASLEEP
};
/// The same, but the owner makes the second half when the child has ended.
const RECORDED_LATER: World = World {
    programs: &[&[Lock(0), Fork(1), Wait, Write(1), Unlock(0)], &[Sleep, Write(0)]],
    ..ASLEEP
};
/// One thread takes a lock inside another; beside it one waits for a child that wants the outer.
const NEST: World = World {
    programs: &[
        &[Lock(0), Lock(1), Write(0), Write(1), Unlock(1), Unlock(0)],
        &[Fork(2), Wait],
        &[Lock(0), Unlock(0)],
    ],
    procs: &[&[0, 1]],
    ..NONE
};

fn explore(world: World) -> impl Checker<World> {
    let checker = world
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .timeout(std::time::Duration::from_secs(120))
        .spawn_bfs()
        .join();
    println!("{} states, depth {}", checker.unique_state_count(), checker.max_depth());
    checker
}

fn holds(world: World) {
    let checker = explore(world);
    for property in [WHOLE, ENDS] {
        if let Some(path) = checker.discovery(property) {
            panic!("{property}: {:?}", path.into_actions());
        }
    }
    assert!(checker.is_done(), "not all was explored");
    assert!(checker.discovery(AT_REST).is_some(), "no hold ever comes to rest");
}

fn finds(world: World, fault: Fault, property: &'static str) {
    let checker = explore(World { fault, ..world });
    assert!(checker.discovery(property).is_some(), "{fault:?} was not found: the model is blind");
}

#[test]
fn two_processes() {
    holds(PAIR);
}

#[test]
fn two_threads() {
    holds(THREADS);
}

#[test]
fn a_thread_that_is_made_meanwhile() {
    holds(LATE_THREAD);
}

#[test]
fn gated_processes_that_write_past_libc() {
    holds(World { procs: &[&[0], &[0]], ..GATED });
    holds(GATED);
}

#[test]
fn a_lock_of_one_that_waits_at_the_gate_is_no_matter() {
    finds(GATED, Fault::WordsBelieved, WHOLE);
}

#[test]
fn a_child_under_its_parents_lock() {
    holds(CHILD);
}

#[test]
fn children_that_are_made_meanwhile() {
    holds(LATE_CHILD);
}

#[test]
fn a_lock_inside_another() {
    holds(NEST);
}

#[test]
fn a_holder_that_never_gets_its_second_lock() {
    assert!(explore(NEST).discovery(NESTED).is_some());
    let checker = explore(World { fault: Fault::AlwaysKeptBack, ..NEST });
    assert!(checker.is_done() && checker.discovery(NESTED).is_none());
}

#[test]
fn a_child_that_sleeps_under_its_parents_lock() {
    for world in [ASLEEP, BEGUN, RECORDED_LATER] {
        holds(world);
    }
    assert!(explore(ASLEEP).discovery(UNDER_LOCK).is_some());
    let unsaid = explore(World { settled: false, ..ASLEEP });
    assert!(unsaid.is_done() && unsaid.discovery(UNDER_LOCK).is_none());
}

#[test]
fn a_child_that_has_begun_counts_as_settled() {
    finds(BEGUN, Fault::BegunIsSettled, WHOLE);
}

#[test]
fn a_child_that_has_ended_counts_as_settled() {
    finds(RECORDED_LATER, Fault::EndedIsSettled, WHOLE);
}

#[test]
fn without_asking_for_locks() {
    finds(PAIR, Fault::StoppedAnywhere, WHOLE);
}

#[test]
fn locks_read_before_the_stop() {
    finds(PAIR, Fault::LocksBeforeStop, WHOLE);
}

#[test]
fn a_thread_forgotten() {
    finds(THREADS, Fault::ThreadForgotten, WHOLE);
}

#[test]
fn a_new_thread_missed() {
    finds(LATE_THREAD, Fault::NewThreadMissed, WHOLE);
}

#[test]
fn a_new_process_missed() {
    finds(LATE_CHILD, Fault::NewThreadMissed, WHOLE);
}

#[test]
fn a_lease_without_its_timer() {
    finds(PAIR, Fault::NoTimer, ENDS);
}

#[test]
fn a_child_that_the_holder_waits_for_is_not_let_go() {
    assert!(explore(CHILD).discovery(WAITED).is_some());
    let world = World { fault: Fault::HoldersAlone, ..CHILD };
    let checker = explore(world);
    assert!(checker.is_done() && checker.discovery(WAITED).is_none());
}
