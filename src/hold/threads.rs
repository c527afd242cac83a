//! Makes threads ours, asks them to stop, lets them run, and keeps the table true to what they do.

use crate::hold::at_work;
use crate::hold::lock_calls;
use crate::hold::locks::{self, Locks};
use crate::hold::selection::Selection;
use crate::hold::table::{Lasts, Run, State, Table, Thread};
use crate::linux::clock;
use crate::linux::look::Look;
use crate::linux::process::share_memory;
use crate::linux::procfs;
use crate::linux::ptrace::calls;
use crate::linux::ptrace::rescue::Rescue;
use crate::linux::ptrace::wait::{self, Stop};
use crate::outcome::held::Obstacle;
use gate::profile::{self, Key};
use nix::errno::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// Transfers that return early with a short count where a stop comes in between, and whose third
/// argument is the length that was asked for.
const TRANSFERS: [i64; 3] = [libc::SYS_write, libc::SYS_sendto, libc::SYS_pwrite64];
/// Calls in which the maker of a child with its own memory sleeps until that has let go of it.
const MAKES_CHILD: [i64; 3] = [libc::SYS_vfork, libc::SYS_clone, libc::SYS_clone3];

/// What the kernel shows of a thread that sleeps, and can be woken: it waits for something.
const SLEEPS: char = 'S';

/// The threads that are ours.
pub struct Threads {
    pub(super) table: Table,
    /// Processes that cannot be made ours.
    pub(super) refused: BTreeMap<i32, Obstacle>,
    /// Dead, and not taken by their parents yet.
    pub(super) zombies: BTreeSet<i32>,
    profile: String,
    /// Only those that are held first are, for now.
    only_first: bool,
    /// So many threads were kept back, in all.
    kept_in_turn: u64,
    rescue: Arc<Rescue>,
}

impl Threads {
    /// None yet.
    pub fn new(profile: &str) -> io::Result<Threads> {
        let (table, refused, zombies) = Default::default();
        let (profile, rescue) = (profile.to_owned(), Rescue::start()?);
        Ok(Threads { table, refused, zombies, profile, only_first: false, kept_in_turn: 0, rescue })
    }

    /// Finds all threads of all selected processes and makes those ours that are not; how many were
    /// new.
    pub fn find(&mut self, selection: &Selection) -> io::Result<u32> {
        let known = |pid: i32| self.table.processes.get(&pid).map(|process| process.complete);
        let mut new = 0;
        for pid in selection.list(known)?.into_iter().chain(self.strays()).collect::<BTreeSet<_>>()
        {
            let complete = self.table.processes.get(&pid).is_some_and(|process| process.complete);
            if !complete && !self.refused.contains_key(&pid) {
                new += self.find_of(pid);
            }
        }
        Ok(new)
    }

    /// Those that were made by one of ours and are on no list (it has left its group, its parent is
    /// gone): they are ours since they were made.
    fn strays(&self) -> Vec<i32> {
        self.table.processes.keys().copied().collect()
    }

    fn find_of(&mut self, pid: i32) -> u32 {
        let mut new = 0;
        let still = self.table.of(pid).all(|(_, state)| state.is_still());
        let tids = match procfs::threads(pid) {
            Look::Seen(tids) => tids,
            Look::Gone(_) => return 0,
            Look::NotSeen(_) => return self.refuse(pid, Obstacle::NotAllowed),
        };
        for tid in tids {
            if self.table.threads.contains_key(&tid) {
                continue;
            }
            self.rescue.one_more(tid);
            match self.rescue.beside(|| calls::seize(tid)) {
                Ok(()) => {
                    self.add(tid, pid, State::Runs);
                    new += 1;
                }
                Err(Errno::ESRCH) => {}
                Err(_) => new += self.not_seized(tid, pid),
            }
        }
        self.take_rescued();
        if let Some(process) = self.table.processes.get_mut(&pid) {
            process.complete = still && new == 0;
        }
        new
    }

    /// It is dead, or came to be ours with the one that made it, or cannot be ours.
    fn not_seized(&mut self, tid: i32, pid: i32) -> u32 {
        let Some(stat) = procfs::thread_stat(pid, tid) else { return 0 };
        if stat.is_dead() {
            if tid == pid && procfs::is_exiting(pid) {
                self.zombies.insert(pid);
            }
            return 0;
        }
        match procfs::tracer(pid, tid) {
            Some(tracer) if tracer == std::process::id() as i32 => {
                self.add(tid, pid, State::Runs);
                1
            }
            // Between its end and its being taken nothing can be asked of it.
            None => 0,
            Some(0) if stat.exiting => 0,
            Some(0) => self.refuse(pid, Obstacle::NotAllowed),
            Some(tracer) => self.refuse(pid, Obstacle::Traced(tracer)),
        }
    }

    fn refuse(&mut self, pid: i32, why: Obstacle) -> u32 {
        self.refused.insert(pid, why);
        0
    }

    /// Asks all to stop that run and are to.
    pub fn stop(&mut self) {
        let Table { threads, .. } = &self.table;
        let meant = threads.iter().filter(|(_, thread)| !self.table.is_aside(thread.pid));
        let tids: Vec<i32> = meant.map(|(tid, _)| *tid).collect();
        tids.into_iter().for_each(|tid| self.ask(tid));
    }

    /// Does the profile name an order?
    pub fn names_first(&self) -> bool {
        profile::values(&self.profile, Key::First).next().is_some()
    }

    /// From now on those that are not held first run on, or no longer.
    pub fn others_stand_aside(&mut self, aside: bool) {
        self.only_first = aside;
        let pids: Vec<i32> = self.table.processes.keys().copied().collect();
        pids.into_iter().for_each(|pid| self.note_order(pid));
    }

    /// Those that are held first.
    pub fn first(&self) -> BTreeSet<i32> {
        let pids = self.table.processes.keys().copied();
        pids.filter(|pid| at_work::is_first(*pid, &self.profile)).collect()
    }

    /// Does this process run on for now? It may have become another program.
    fn note_order(&mut self, pid: i32) {
        let aside = self.only_first && !at_work::is_first(pid, &self.profile);
        let Some(process) = self.table.processes.get_mut(&pid) else { return };
        let goes_on = aside && !process.aside;
        process.aside = aside;
        if goes_on {
            process.seen_unlocked = false;
            self.table
                .of(pid)
                .map(|(tid, _)| tid)
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|tid| self.run(tid));
        }
    }

    /// Those that run on while others are held.
    pub fn aside(&self) -> Vec<i32> {
        let runs_on = |thread: &Thread| self.table.is_aside(thread.pid) && !thread.state.is_still();
        let pids = self.table.threads.values().filter(|thread| runs_on(thread)).map(|t| t.pid);
        pids.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Hears everything that they have done since.
    pub fn hear(&mut self) {
        while let Some((tid, stop)) = wait::next() {
            self.heard(tid, stop);
        }
        self.take_rescued();
    }

    fn take_rescued(&mut self) {
        for tid in self.rescue.taken() {
            self.heard(tid, Stop::Ended);
        }
    }

    fn heard(&mut self, tid: i32, stop: Stop) {
        if stop != Stop::Ended && !self.table.threads.contains_key(&tid) {
            self.add_born(tid);
        }
        match stop {
            Stop::Signal(signal) => {
                // Handed on at once; if it was asked to stop, it does that next.
                let _ = self.resume(tid, signal);
                return;
            }
            Stop::Ended => {
                if self.table.remove(tid) {
                    // A lock on what it shared with others is theirs now.
                    self.look_at_locks_again();
                }
                return;
            }
            Stop::Asked => {
                self.count(tid);
                self.table.set(tid, State::Stopped);
            }
            Stop::JobControl => self.table.set(tid, State::JobControl),
            Stop::Born => {
                if let Ok(born) = calls::born(tid) {
                    self.add_born(born);
                    self.free_with_maker(born, tid);
                }
                self.table.set(tid, State::Stopped);
            }
            Stop::Exec => {
                self.table.exec(tid);
                self.note_order(tid);
            }
            Stop::Call => {
                self.table.set(tid, State::Stopped);
                self.hold_if_unlocked(tid);
                if self.is_kept_back(tid) {
                    self.kept_in_turn += 1;
                    self.table.keep_back(tid, self.kept_in_turn);
                    self.let_locks();
                    return;
                }
            }
        }
        let pid = self.table.threads.get(&tid).map_or(tid, |thread| thread.pid);
        if self.table.is_free(pid) {
            self.run(tid);
        }
    }

    /// One that one of ours has made: it is ours too, and stops by itself.
    fn add_born(&mut self, tid: i32) {
        if !self.table.threads.contains_key(&tid) {
            self.add(tid, procfs::process_of(tid).unwrap_or(tid), State::Asked);
            self.rescue.one_more(tid);
        }
    }

    fn add(&mut self, tid: i32, pid: i32, state: State) {
        self.table.add(tid, pid, state);
        self.note_order(pid);
    }

    /// A new process may run where its maker may.
    fn free_with_maker(&mut self, born: i32, maker: i32) {
        let pid_of = |tid: i32| self.table.threads.get(&tid).map(|thread| thread.pid);
        let (Some(pid), Some(maker)) = (pid_of(born), pid_of(maker)) else { return };
        let since = self.table.processes.get(&maker).and_then(|process| process.free_since);
        if let Some(since) = since {
            self.let_go(pid, Run::Freely, since);
        }
    }

    /// One that was let run because of its locks has given the last one up: it is at rest, if its other
    /// threads come to be before one of them takes another.
    fn hold_if_unlocked(&mut self, tid: i32) {
        let Some(pid) = self.table.threads.get(&tid).map(|thread| thread.pid) else { return };
        let of_it = || self.table.of(pid).map(|(tid, _)| tid);
        let lasts = self.table.processes.get(&pid).map(|process| process.lasts).unwrap_or_default();
        let ends = calls::stopped_in(tid).is_some_and(|call| match lasts {
            Lasts::UntilWait => at_work::waits(pid, &call),
            Lasts::WhileLocked => lock_calls::may_have_unlocked(&call),
            Lasts::UntilExit => false,
        });
        if !ends || !self.table.is_free(pid) {
            return;
        }
        let looked = locks::of(pid, of_it(), &self.profile);
        let Some(process) = self.table.processes.get_mut(&pid) else { return };
        // Who has not had one yet may be the very one that such a one waits for.
        if looked != Locks::None || !process.under_lock {
            process.under_lock |= looked != Locks::None;
            return;
        }
        process.hold(clock::now_ns());
        let others: Vec<i32> = self.table.of(pid).map(|(tid, _)| tid).collect();
        others.into_iter().for_each(|tid| self.ask(tid));
    }

    /// Is it about to take a lock that its process is not to take now? (Of a single thread under a lock
    /// that may be a second one, which it needs to give the first one up.)
    fn is_kept_back(&self, tid: i32) -> bool {
        let Some(pid) = self.table.threads.get(&tid).map(|thread| thread.pid) else { return false };
        let Some(process) = self.table.processes.get(&pid) else { return false };
        let is_another = |(other, _): (i32, State)| other != tid;
        process.run == Run::WithoutNewLocks
            && process.lasts == Lasts::WhileLocked
            && (!process.under_lock || self.table.of(pid).any(is_another))
            && calls::stopped_in(tid).is_some_and(|call| lock_calls::is_to_lock(pid, &call))
    }

    /// Where no thread of a process under a lock goes on and some are kept from a lock, one of them may need that
    /// to give the first one up: it may take it.
    pub fn let_locks(&mut self) {
        let pids: BTreeSet<i32> = self.table.kept_back().into_iter().map(|(pid, _)| pid).collect();
        pids.into_iter().for_each(|pid| self.let_one_lock(pid));
    }

    /// That is none whose process has locked the very file by another description already, for it would only
    /// wait in line, and have the lock as soon as it is given up; of others the one that was kept first.
    fn let_one_lock(&mut self, pid: i32) {
        let goes_on = |(tid, state): (i32, State)| {
            !state.is_still()
                && procfs::thread_stat(pid, tid).is_none_or(|stat| stat.state != SLEEPS)
        };
        let under_lock = self.table.processes.get(&pid).is_some_and(|process| process.under_lock);
        if !under_lock || self.table.of(pid).any(goes_on) {
            return;
        }
        let held = locks::files_of(pid, self.table.of(pid).map(|(tid, _)| tid));
        let waits_in_line = |tid: i32| {
            let call = calls::stopped_in(tid);
            let file = call.and_then(|call| lock_calls::file_of(pid, &call));
            file.is_some_and(|file| held.contains(&file))
        };
        let mut kept = self.table.kept_back().into_iter().filter(|(of, _)| *of == pid);
        let next = kept.find(|(_, tid)| !waits_in_line(*tid)).map(|(_, tid)| tid);
        if let Some(next) = next {
            self.run(next);
        }
    }

    /// Asks a thread to stop, if it runs.
    fn ask(&mut self, tid: i32) {
        if let Some(thread) = self.table.threads.get_mut(&tid)
            && matches!(thread.state, State::Runs | State::Listens)
            && calls::interrupt(tid).is_ok()
        {
            thread.state = State::Asked;
        }
    }

    fn resume(&self, tid: i32, signal: i32) -> nix::Result<()> {
        let pid = self.table.threads.get(&tid).map_or(tid, |thread| thread.pid);
        match self.table.processes.get(&pid) {
            Some(process) if process.run != Run::Freely => calls::run_to_call(tid, signal),
            _ => calls::run(tid, signal),
        }
    }

    /// Lets a thread run, as far as job control does.
    fn run(&mut self, tid: i32) {
        let Some(state) = self.table.threads.get(&tid).map(|thread| thread.state) else { return };
        let (done, state) = match state {
            State::Stopped => (self.resume(tid, 0), State::Runs),
            State::JobControl => (calls::listen(tid), State::Listens),
            State::ThroughChild => (Ok(()), State::Asked),
            State::Runs | State::Asked | State::Listens => return,
        };
        if done.is_ok() {
            self.table.set(tid, state);
        }
    }

    /// Lets a process run.
    pub fn let_go(&mut self, pid: i32, run: Run, now: u64) {
        if self.table.is_free(pid) {
            return;
        }
        self.table.let_go(pid, run, now);
        let tids: Vec<i32> = self.table.of(pid).map(|(tid, _)| tid).collect();
        for tid in tids {
            self.run(tid);
        }
    }

    /// Those that cannot stop because their child has their memory and is stopped are at rest.
    pub fn rest_through_children(&mut self) {
        let asked: Vec<(i32, i32)> = self
            .table
            .threads
            .iter()
            .filter(|(_, thread)| thread.state == State::Asked)
            .map(|(tid, thread)| (*tid, thread.pid))
            .collect();
        for (tid, pid) in asked {
            let waits = procfs::thread_stat(pid, tid).is_some_and(|stat| stat.state == 'D')
                && procfs::syscall_fd(pid, tid)
                    .is_some_and(|(call, _)| MAKES_CHILD.contains(&call));
            if waits && self.has_still_child(pid) {
                self.table.set(tid, State::ThroughChild);
            }
        }
    }

    fn has_still_child(&self, pid: i32) -> bool {
        let still = |child: i32| {
            let mut threads = self.table.of(child).peekable();
            threads.peek().is_some() && threads.all(|(_, state)| state.is_still())
        };
        let children = self.table.processes.keys().filter(|child| **child != pid);
        children.copied().any(|child| {
            procfs::stat(child).is_some_and(|stat| stat.ppid == pid)
                && share_memory(pid, child)
                && still(child)
        })
    }

    /// What the stop did to the call in which the thread was.
    fn count(&mut self, tid: i32) {
        let Some(pid) = self.table.threads.get(&tid).map(|thread| thread.pid) else { return };
        let Some(call) = calls::stopped_in(tid) else { return };
        let (length, result) = (call.arguments[2], call.result);
        let Some(process) = self.table.processes.get_mut(&pid) else { return };
        if result == -i64::from(libc::EINTR) {
            process.interrupted += 1;
        } else if TRANSFERS.contains(&call.number) && result > 0 && (result as u64) < length {
            process.short += 1;
        }
    }

    /// What was seen of their locks is of yesterday.
    pub fn look_at_locks_again(&mut self) {
        for process in self.table.processes.values_mut() {
            process.seen_unlocked = false;
        }
    }

    /// Lets all go for good that are stopped; those that run are let go when we end.
    pub fn release(&mut self) {
        for (tid, thread) in &self.table.threads {
            if matches!(thread.state, State::Stopped | State::JobControl) {
                let _ = calls::detach(*tid);
            }
        }
    }

    /// Why a thread that was asked has not stopped.
    pub fn why_not_stopped(&self, tid: i32, pid: i32) -> Obstacle {
        let state = procfs::thread_stat(pid, tid).map_or('?', |stat| stat.state);
        Obstacle::NotStopped(tid, state, procfs::syscall_fd(pid, tid).map(|(call, _)| call))
    }
}
