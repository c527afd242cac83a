//! A model of the protocol for stateright: worker processes with threads, store
//! buffers and locks, and a freezer, every interleaving of their steps.
//!
//! | file | duty |
//! |---|---|
//! | `state.rs` | what there is at one moment |
//! | `worker.rs` | the steps of a worker: the library's order |
//! | `freezer.rs` | the steps of the freezer: it obeys `gate::drain` |
//! | `oracle.rs` | what must hold |
//! | `scenario.rs` | who does what: small programs |
//! | `run.rs` | explores one scenario and prints what it saw |
//! | `simulate.rs` | walks through one by chance, with a seed that reproduces the walk |
//! | `crowd.rs` | worlds of 5 to 50 processes, by seed |
//!
//! The decisions are the shipped ones (`gate::{word, entry, control, standing,
//! drain}`); only the order of steps is written here a second time. See
//! docs/developer/models.md for what is modelled and what is not.

#![allow(dead_code)]

pub mod crowd;
pub mod freezer;
pub mod oracle;
pub mod run;
pub mod scenario;
pub mod simulate;
pub mod state;
pub mod worker;

use scenario::Scenario;
use state::{Freezer, Proc, State, Thread, Verdict};
use stateright::{Model, Property};

/// One step of the clock, ns. More than the one nanosecond that tells two
/// deadlines of one freeze apart.
pub const TICK: u64 = 10;

/// Files that must carry the same sequence number, and the process whose family
/// writes them (all, if it is no family's matter).
#[derive(Debug)]
pub struct Set {
    pub files: &'static [u8],
    pub of: u8,
}

/// What is left out of the protocol, to see the model find it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing: the protocol as it is shipped.
    None,
    NoFence,
    NoFenceAfterOpening,
    NoFenceAtThaw,
    /// At the thaw, who asks counts as one that was let pass.
    AskingHasPassed,
    OnePass,
    PlainPassing,
    ChildTrusts,
    ForkIsNoEntry,
    /// An exec is no entry, and the new image passes by what came over. (Each of the two rules suffices.)
    ExecUnasked,
    ExecForgets,
    /// A section that came over an exec is taken to pass by itself.
    ExecNotAdmitted,
    NewImageIsOld,
    NoAdmission,
    /// Never taken back, and counted.
    AdmissionKept,
    /// Never taken back, and not counted either.
    AdmissionForgotten,
    /// A killed freezer's admissions are believed.
    AdmissionsLeft,
    NoSearch,
    /// An opening ends when everybody has asked again.
    AskingIsMoving,
    NoRetract,
    RawAfterHeld,
    WorkerIgnoresLease,
    FreezerIgnoresLease,
    ClockFirst,
    BoundOfEachBarrier,
    NestedTrustsAsking,
    SettledOwnerPasses,
    SecondForkTrusted,
    /// Those that are held first are held with all others.
    NoOrder,
    /// Those that hand over are held with the other first ones.
    OneRank,
    /// What is handed to another process begins no section.
    SendIsNoChange,
    /// When the first ones have come to rest nobody is held any more.
    FirstAlone,
    /// An agent's section ends with its call.
    EndsWithCall,
    /// When the first ones have come to rest all are held.
    NoRest,
    /// News is taken to go through one hand less.
    OneHandLess,
    /// What a child's child changes is not counted.
    GrandchildUncounted,
    /// What counts as settled is judged before a pause, and kept for that word.
    SettledKept,
    /// An owner that is held at its next fork counts as settled, whatever its last child did.
    HeldForkTrusted,
    /// What becomes another program leaves the family unseen.
    ExecUncounted,
    /// The regions' accounts are not held against the kernel.
    NotCompared,
    /// They are once, before the barrier is closed.
    ComparedBefore,
    /// What came with a fork is accounted for, whether or not the one that took it has it still.
    InheritedIsAccounted,
    /// What a child has locked for its parent begins the section when that hears of it.
    ReapBegins,
    /// Who waits for a child does not ask what that has locked for it (and nothing is compared).
    ReapAsksNothing,
    /// A lock file outside of what is protected is none while the barrier is closed.
    FileUnseenWhenClosed,
    /// A lock file outside of what is protected begins the section when it is made.
    FileBegins,
    /// A lock file lasts until its maker removes it.
    FileOutlives,
    /// What did not fit into the table is forgotten when that is empty (and nothing is compared).
    OverflowForgotten,
    /// A forked child that has done nothing is nobody, also when its parent is gone.
    FreshForkHasNothing,
    /// When nobody new is found, what was seen before the listing is believed.
    ListedIsDrained,
}

/// A scenario under a fault.
#[derive(Clone)]
pub struct Protocol {
    pub scenario: Scenario,
    pub fault: Fault,
}

/// Who does a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The freezer; before it reads a thread's word, so many of the thread's stores
    /// become visible (when they do makes a difference to nobody else).
    Freezer(u8),
    Worker(u8, u8),
    /// All stores of this thread become visible: they do in the end.
    Flush(u8, u8),
    /// A new process or image shows its region.
    Publish(u8),
    Exit(u8),
    /// A signal handler begins, or returns.
    Signal(u8, u8),
    Return(u8, u8),
    Tick,
    Kill(u8),
    KillFreezer,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut s = State {
            time: TICK,
            barrier: 0,
            early: 0,
            senders: 0,
            last_deadline: 0,
            places: Vec::new(),
            procs: Vec::new(),
            regions: Vec::new(),
            locks: Default::default(),
            lock_files: Default::default(),
            files: Default::default(),
            freezer: Freezer::default(),
            kills: self.scenario.kills,
            freezer_kills: self.scenario.freezer_kills,
            signals: self.scenario.signals,
            family: 0,
            cut: 0,
            wrong: 0,
        };
        for (at, programs) in self.scenario.procs.iter().enumerate() {
            s.procs.push(Proc {
                alive: true,
                parent: None,
                region: None,
                inherited: false,
                execed: false,
                threads: programs.iter().map(|program| Thread::new(*program)).collect(),
            });
            self.publish(&mut s, at);
        }
        // What comes before the part that matters, in order.
        for (p, ops) in self.scenario.prelude.iter().enumerate() {
            while s.procs[p].threads[0].at < *ops {
                assert!(self.can_step(&s, p, 0), "{}: the prelude is stuck", self.scenario.name);
                self.step(&mut s, p, 0);
            }
            self.flush_all(&mut s, p, 0);
        }
        vec![s]
    }

    fn actions(&self, s: &State, actions: &mut Vec<Action>) {
        let rereads = !self.freezer_can_step(s);
        for (p, proc) in s.procs.iter().enumerate().filter(|(_, proc)| proc.alive) {
            if proc.region.is_none() {
                actions.push(Action::Publish(p as u8));
            }
            for (t, thread) in proc.threads.iter().enumerate() {
                if self.can_step(s, p, t) {
                    actions.push(Action::Worker(p as u8, t as u8));
                }
                if !thread.buffer.is_empty() && proc.region.is_some() && rereads {
                    actions.push(Action::Flush(p as u8, t as u8));
                }
            }
            for (t, thread) in proc.threads.iter().enumerate() {
                if s.signals > 0 && self.can_interrupt(s, p, t) {
                    actions.push(Action::Signal(p as u8, t as u8));
                }
                if thread.interrupted.is_some() && self.op(thread).is_none() {
                    actions.push(Action::Return(p as u8, t as u8));
                }
            }
            let ended = proc.threads.iter().all(|thread| self.op(thread).is_none());
            if ended && proc.parent.is_some() && proc.region.is_some() {
                actions.push(Action::Exit(p as u8));
            }
            if s.kills > 0 && self.scenario.killable & scenario::bit(p) != 0 {
                actions.push(Action::Kill(p as u8));
            }
        }
        if self.freezer_can_step(s) {
            for stores in 0..=self.unseen(s) {
                actions.push(Action::Freezer(stores));
            }
        }
        let frozen = !matches!(s.freezer.phase, state::Phase::HelperState | state::Phase::Finished);
        if s.freezer_kills > 0 && frozen {
            actions.push(Action::KillFreezer);
        }
        // Before the first freeze, and after a deadline that has come, time makes no
        // difference.
        let counts = match s.freezer.phase {
            state::Phase::HelperState => s.freezer.freeze > 0 && s.time < self.scenario.until,
            state::Phase::Finished => s.time < s.barrier,
            _ => s.time <= s.freezer.deadline,
        };
        if self.scenario.patient {
            // Long times: the clock moves on when nothing else does.
            if actions.is_empty() && s.time < self.scenario.until {
                actions.push(Action::Tick);
            }
        } else if counts && self.scenario.until > 0 {
            actions.push(Action::Tick);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut s = last.clone();
        self.apply(&mut s, action);
        Some(s)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        use oracle::*;
        vec![
            Property::always(NAMES[0].1, |_, s: &State| s.wrong & NAMES[0].0 == 0),
            Property::always(NAMES[1].1, |_, s: &State| s.wrong & NAMES[1].0 == 0),
            Property::always(NAMES[2].1, |_, s: &State| s.wrong & NAMES[2].0 == 0),
            Property::always(NAMES[3].1, |_, s: &State| s.wrong & NAMES[3].0 == 0),
            Property::always(NAMES[4].1, |_, s: &State| s.wrong & NAMES[4].0 == 0),
            // Ends are absorbing, so that this is exact: found false at a state
            // without a next one, and only there.
            Property::eventually(ENDS, |m: &Self, s: &State| s.wrong != 0 || all_done(s, m)),
            Property::sometimes(CONSISTENT, |_, s: &State| {
                s.freezer.verdict == Some(Verdict::Consistent)
            }),
            Property::sometimes(ARRIVALS, |_, s: &State| {
                s.freezer.verdict == Some(Verdict::Consistent) && s.freezer.arrivals
            }),
        ]
    }
}

impl Protocol {
    /// One step, in place.
    pub fn apply(&self, s: &mut State, action: Action) {
        match action {
            Action::Freezer(stores) => self.freezer_step(s, stores),
            Action::Worker(p, t) => self.step(s, p as usize, t as usize),
            Action::Flush(p, t) => self.flush_all(s, p as usize, t as usize),
            Action::Publish(p) => self.publish(s, p as usize),
            Action::Exit(p) => self.die(s, p as usize),
            Action::Signal(p, t) => {
                s.signals -= 1;
                self.interrupt(s, p as usize, t as usize);
            }
            Action::Return(p, t) => self.resume(s, p as usize, t as usize),
            Action::Tick => s.time += TICK,
            Action::Kill(p) => {
                s.kills -= 1;
                oracle::killed(s, self, p);
                self.die(s, p as usize);
            }
            Action::KillFreezer => {
                s.freezer_kills -= 1;
                self.kill_freezer(s);
            }
        }
    }
}
