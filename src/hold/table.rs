//! What is known of the threads that are to be held. No system call is made here.

use crate::outcome::held::Obstacle;
use gate::hold::NewLocks;
use std::collections::BTreeMap;

/// What a thread does, as far as we know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It runs, or is about to stop because it is new.
    Runs,
    /// It was asked to stop and has not.
    Asked,
    /// It is stopped, and is ours to let run.
    Stopped,
    /// Job control has stopped it.
    JobControl,
    /// The same, and it hears SIGCONT.
    Listens,
    /// It waits for a child that has its memory (vfork) and is stopped: it is at rest through it.
    ThroughChild,
}

impl State {
    /// Can it do nothing?
    pub fn is_still(self) -> bool {
        !matches!(self, State::Runs | State::Asked)
    }
}

/// One thread.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    /// Its process.
    pub pid: i32,
    /// What it does.
    pub state: State,
    /// It was kept from a lock, as the so many-th, and is stopped there.
    pub kept: Option<u64>,
}

/// How a process is let run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Run {
    /// As it would without us.
    #[default]
    Freely,
    /// It stops by itself where it gives its last lock up.
    UntilUnlocked,
    /// The same; and it takes no lock if it had none, and of several threads none takes another.
    WithoutNewLocks,
}

impl From<NewLocks> for Run {
    fn from(new_locks: NewLocks) -> Run {
        match new_locks {
            NewLocks::Taken => Run::UntilUnlocked,
            NewLocks::KeptBack => Run::WithoutNewLocks,
        }
    }
}

/// How long a process's sets last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lasts {
    /// As long as its locks.
    #[default]
    WhileLocked,
    /// Until it waits.
    UntilWait,
    /// Until it ends.
    UntilExit,
}

/// One process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// All its threads are ours, and all processes that it has made: when it was listed last they were
    /// all stopped, and whoever is made since is ours by birth.
    pub complete: bool,
    /// It may run for now: since when, ns.
    pub free_since: Option<u64>,
    /// As what it may run.
    pub run: Run,
    /// It was seen under a lock since it was let run, or when it was.
    pub under_lock: bool,
    /// How often it was let run.
    pub let_go: u32,
    /// For how long in all, ns.
    pub free_ns: u64,
    /// Waits that ended with EINTR.
    pub interrupted: u32,
    /// Transfers cut short.
    pub short: u32,
    /// Its locks were read since it was stopped last, and none guards.
    pub seen_unlocked: bool,
    /// By the profile.
    pub lasts: Lasts,
    /// Others are held before it: it is ours, and runs on for now.
    pub aside: bool,
    /// What it was last in the way by.
    pub obstacle: Option<Obstacle>,
}

impl Process {
    /// Was it not seen to be at rest, and is it to be?
    pub fn is_in_the_way(&self) -> bool {
        !self.seen_unlocked && !self.aside
    }

    /// From now on it may not run.
    pub fn hold(&mut self, now: u64) {
        self.run = Run::Freely;
        if let Some(since) = self.free_since.take() {
            self.free_ns += now.saturating_sub(since);
        }
    }
}

/// All of them.
#[derive(Default)]
pub struct Table {
    /// By thread id.
    pub threads: BTreeMap<i32, Thread>,
    /// By process id.
    pub processes: BTreeMap<i32, Process>,
}

impl Table {
    /// One more thread of ours; its process runs if it may.
    pub fn add(&mut self, tid: i32, pid: i32, state: State) {
        self.threads.entry(tid).or_insert(Thread { pid, state, kept: None });
        self.processes.entry(pid).or_default();
    }

    /// Is its process allowed to run?
    pub fn is_free(&self, pid: i32) -> bool {
        let may_run = |process: &Process| process.aside || process.free_since.is_some();
        self.processes.get(&pid).is_some_and(may_run)
    }

    /// A thread is no more; true if that was the last one of its process.
    pub fn remove(&mut self, tid: i32) -> bool {
        let Some(thread) = self.threads.remove(&tid) else { return false };
        let alone = self.of(thread.pid).next().is_none();
        if alone {
            self.processes.remove(&thread.pid);
        }
        alone
    }

    /// It has become another program: it is the only thread now, under its process's id.
    pub fn exec(&mut self, pid: i32) {
        self.threads.retain(|tid, thread| thread.pid != pid || *tid == pid);
        self.threads.insert(pid, Thread { pid, state: State::Stopped, kept: None });
        self.processes.entry(pid).or_default().seen_unlocked = false;
    }

    /// Does some process run that was seen under a lock?
    pub fn some_work(&self) -> bool {
        self.processes.iter().any(|(pid, process)| {
            let runs = || self.of(*pid).any(|(_, state)| !state.is_still());
            process.free_since.is_some() && process.under_lock && runs()
        })
    }

    /// The threads of a process.
    pub fn of(&self, pid: i32) -> impl Iterator<Item = (i32, State)> {
        let of_it = move |(tid, thread): (&i32, &Thread)| {
            (thread.pid == pid).then_some((*tid, thread.state))
        };
        self.threads.iter().filter_map(of_it)
    }

    /// What that thread does now.
    pub fn set(&mut self, tid: i32, state: State) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            (thread.state, thread.kept) = (state, None);
        }
    }

    /// It is kept from a lock, as the so many-th.
    pub fn keep_back(&mut self, tid: i32, turn: u64) {
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.kept = Some(turn);
        }
    }

    /// The threads that are kept from a lock, with their processes; the one that was kept first comes first.
    pub fn kept_back(&self) -> Vec<(i32, i32)> {
        let kept = self
            .threads
            .iter()
            .filter_map(|(tid, thread)| Some((thread.kept?, (thread.pid, *tid))));
        let in_turn: BTreeMap<u64, (i32, i32)> = kept.collect();
        in_turn.into_values().collect()
    }

    /// Does it run on while others are held?
    pub fn is_aside(&self, pid: i32) -> bool {
        self.processes.get(&pid).is_some_and(|process| process.aside)
    }

    /// How many have not stopped, of those that are to.
    pub fn running(&self) -> u32 {
        let runs = |thread: &&Thread| !thread.state.is_still() && !self.is_aside(thread.pid);
        self.threads.values().filter(runs).count() as u32
    }

    /// From now on this process may run.
    pub fn let_go(&mut self, pid: i32, run: Run, now: u64) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.run = run;
            process.under_lock = process.obstacle.is_some();
            process.let_go += 1;
            process.free_since = Some(now);
            process.seen_unlocked = false;
        }
    }

    /// From now on none may run.
    pub fn hold_all(&mut self, now: u64) {
        self.processes.values_mut().for_each(|process| process.hold(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_there_until_its_last_thread_is_gone() {
        let mut table = Table::default();
        for (tid, state) in [(7, State::Stopped), (8, State::Asked)] {
            table.add(tid, 7, state);
        }
        assert_eq!(table.running(), 1);
        assert!(!table.remove(7) && table.processes.contains_key(&7));
        assert!(table.remove(8) && table.processes.is_empty() && !table.remove(8));
    }

    #[test]
    fn exec_leaves_one_thread_whose_locks_are_read_anew() {
        let mut table = Table::default();
        for tid in [7, 8, 9] {
            table.add(tid, 7, State::Stopped);
        }
        table.processes.get_mut(&7).unwrap().seen_unlocked = true;
        table.exec(7);
        assert_eq!(table.of(7).collect::<Vec<_>>(), [(7, State::Stopped)]);
        assert!(!table.processes[&7].seen_unlocked);
    }

    #[test]
    fn how_long_it_was_let_go_is_counted() {
        let mut table = Table::default();
        table.add(7, 7, State::Stopped);
        for begun in [10, 20] {
            table.let_go(7, Run::Freely, begun);
            assert!(table.is_free(7));
            table.hold_all(begun + 3);
        }
        assert!(!table.is_free(7));
        assert_eq!((table.processes[&7].let_go, table.processes[&7].free_ns), (2, 6));
    }
}
