//! The tracer's life: a child of the freezer's that holds processes at rest until it is told to let go,
//! the deadline comes, or the freezer is gone.

use crate::foreign_text::ForeignText;
use crate::hold::at_work;
use crate::hold::locks::{self, Locks};
use crate::hold::order::News;
use crate::hold::protocol::{Ask, Plan, Tell};
use crate::hold::report::{End, Released, Report};
use crate::hold::selection::Selection;
use crate::hold::settled;
use crate::hold::table::{Lasts, Run, State};
use crate::hold::threads::Threads;
use crate::hold::waits;
use crate::linux::look::Look;
use crate::linux::ptrace::lease;
use crate::linux::{clock, fork, poll, procfs};
use crate::outcome::held::{HeldProcess, NotHeld, Obstacle};
use gate::hold::{Action, Answer, Hold, Limits, NewLocks, Outcome};
use gate::profile::{self, FirstWait};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Who is let go for its locks is given so long at first to give them up; longer with each round that has
/// not helped.
const PAUSE_NS: u64 = 2_000_000;
/// The moments for which all run grow so often.
const OPENINGS_LONGER: u32 = 4;
/// So long it is waited for a thread to stop before it is looked why it does not.
const SLOW_NS: u64 = 3_000_000;
/// Longest sleep at a time while something is awaited, ms.
const AWAIT_MS: u64 = 1;
/// The same at rest.
const REST_MS: u64 = 1000;

/// Serves until it is told to let go, or cannot be of use.
pub fn run(link: OwnedFd, owner: i32, plan: Plan) {
    fork::serve_owner(owner, link.as_fd());
    let Ok(mut tracer) = Tracer::new(UnixStream::from(link), plan) else { return };
    // Where there is a limit on it the timer alone must do: the kernel needs no memory of ours for that.
    let _ = lease::lock_memory();
    tracer.tell(&Tell::Ready);
    let Some(Ask::Hold { selection, until, deadline }) = tracer.asked() else { return };
    tracer.selection = selection;
    if let Err(e) = lease::arm(deadline) {
        let failed = tracer.report(End::Failed, Some(format!("no timer: {e}")), clock::now_ns());
        tracer.tell(&Tell::Held(failed));
        return;
    }
    let begun_at = clock::now_ns();
    loop {
        let report = tracer.hold_in_order(until, begun_at);
        let stands = report.end == End::AtRest;
        if !stands {
            tracer.threads.release();
        }
        tracer.tell(&Tell::Held(report));
        if !stands {
            return;
        }
        match tracer.rest() {
            Some(Ask::Again) => tracer.open_for_a_moment(),
            Some(Ask::Release) => break,
            Some(Ask::Hold { .. }) | None => return,
        }
    }
    let came = tracer.came_meanwhile();
    let begun_at = clock::now_ns();
    tracer.threads.release();
    tracer.tell(&Tell::Released(Released { begun_at, at: clock::now_ns(), came }));
}

struct Tracer {
    link: BufReader<UnixStream>,
    /// Readable when a thread of ours has done something.
    news: SignalFd,
    selection: Selection,
    profile: String,
    threads: Threads,
    /// Somebody ran since all locks were read.
    some_ran: bool,
    /// All were stopped and nobody was new when they were listed last.
    all_listed: bool,
    openings: u32,
    /// Who was let run since all others were held too.
    let_go: BTreeSet<i32>,
    waiting_since: u64,
}

impl Tracer {
    fn new(link: UnixStream, plan: Plan) -> std::io::Result<Tracer> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        // Before the threads that inherit it are made.
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Tracer {
            link: BufReader::new(link),
            news: SignalFd::with_flags(&signals, flags)?,
            threads: Threads::new(&plan.profile)?,
            selection: Selection::default(),
            profile: plan.profile,
            some_ran: false,
            all_listed: false,
            openings: 0,
            let_go: BTreeSet::new(),
            waiting_since: 0,
        })
    }

    fn tell(&mut self, what: &Tell) {
        let mut line = serde_json::to_vec(what).unwrap_or_default();
        line.push(b'\n');
        let _ = self.link.get_mut().write_all(&line);
    }

    /// None: the freezer is gone.
    fn asked(&mut self) -> Option<Ask> {
        let mut line = String::new();
        self.link.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    /// Sleeps until a thread of ours has done something, at most `ms`; then hears it.
    fn hear_within(&mut self, ms: u64) {
        self.threads.hear();
        if self.threads.table.running() > 0 || ms > AWAIT_MS {
            poll::wait_readable(&[self.news.as_fd()], ms);
        }
        let _ = self.news.read_signal();
        self.threads.hear();
    }

    /// Brings all to rest, or gives up: those that the profile names `first` before all others.
    fn hold_in_order(&mut self, until: u64, begun_at: u64) -> Report {
        if !self.threads.names_first() {
            return self.hold(until, begun_at);
        }
        let first_wait = profile::first_wait(&self.profile);
        loop {
            self.threads.others_stand_aside(true);
            let now = clock::now_ns();
            let report = self.hold(now + until.saturating_sub(now) / 2, begun_at);
            if report.end == End::Failed {
                return report;
            }
            // If they were not all at rest the others are held all the same: they may be whom those wait for.
            let never_waited = self.put_down(News::of(first_wait, until));
            let first = self.threads.first();
            self.threads.others_stand_aside(false);
            if !never_waited.is_empty() {
                return self.not_in_order(never_waited, &Obstacle::NeverWaited, begun_at);
            }
            // They may have locked what they share with one that was at rest.
            (self.all_listed, self.some_ran) = (false, true);
            self.let_go.clear();
            let report = self.hold(until, begun_at);
            // Who is held first and ran since may have told them more: it begins anew. (Where the profile names no
            // time it is a guess, and made once.)
            let ran = |pid: &i32| self.let_go.contains(pid) || !first.contains(pid);
            let ran_since: BTreeSet<i32> = self.threads.first().into_iter().filter(ran).collect();
            if first_wait.is_none() || report.end != End::AtRest || ran_since.is_empty() {
                return report;
            }
            if clock::now_ns() >= until {
                return match first_wait {
                    Some(FirstWait::Quiesced) => {
                        self.not_in_order(ran_since, &Obstacle::RanAgain, begun_at)
                    }
                    _ => report,
                };
            }
        }
    }

    /// The others run on until what the first ones did last has gone through all hands, or its time is over. By
    /// whom it is given up then.
    fn put_down(&mut self, mut news: News) -> BTreeSet<i32> {
        while !news.is_put_down(&self.threads.aside()) && clock::now_ns() < news.until {
            poll::wait_readable(&[self.news.as_fd()], AWAIT_MS);
            let _ = self.news.read_signal();
            self.threads.hear();
        }
        news.never_waited()
    }

    fn not_in_order(&mut self, pids: BTreeSet<i32>, why: &Obstacle, begun_at: u64) -> Report {
        for pid in pids {
            if let Some(process) = self.threads.table.processes.get_mut(&pid) {
                process.obstacle = Some(why.clone());
            }
        }
        self.report(End::UnderLock, None, begun_at)
    }

    /// Brings all to rest that do not stand aside, or gives up.
    fn hold(&mut self, until: u64, begun_at: u64) -> Report {
        let mut machine = Hold::new(Limits { until, pause: PAUSE_NS });
        let mut answer = Answer::Done(clock::now_ns());
        loop {
            answer = match machine.next(answer) {
                Action::Stop => {
                    self.threads.table.hold_all(clock::now_ns());
                    // Once all are known, whoever is made by one of them is ours from the beginning;
                    // who comes from outside is on the list before the locks are read.
                    let found = match self.all_listed {
                        true => Ok(0),
                        false => self.threads.find(&self.selection),
                    };
                    self.threads.stop();
                    self.waiting_since = clock::now_ns();
                    match found {
                        Ok(new) => Answer::New(new, clock::now_ns()),
                        Err(e) => return self.cannot_list(&e, begun_at),
                    }
                }
                Action::Await => self.wait_for_stops(),
                Action::List => match self.threads.find(&self.selection) {
                    Ok(new) => {
                        self.all_listed = new == 0;
                        Answer::New(new, clock::now_ns())
                    }
                    Err(e) => return self.cannot_list(&e, begun_at),
                },
                Action::Locks => Answer::Holding(self.read_locks(), clock::now_ns()),
                Action::LetGo(new_locks) => {
                    let holders = self.holders();
                    let waited_for = waits::waited_for(&self.threads.table, &holders);
                    self.let_go(&holders, new_locks.into());
                    self.let_go(&waited_for.into_iter().collect::<Vec<_>>(), Run::Freely)
                }
                Action::LetAll(new_locks) => self.let_all_go(new_locks),
                Action::Pause(ns) => self.let_work(ns),
                Action::Done(outcome) => {
                    self.note_what_runs(outcome);
                    return self.report(outcome.into(), None, begun_at);
                }
            }
        }
    }

    fn cannot_list(&self, e: &std::io::Error, begun_at: u64) -> Report {
        self.report(End::Failed, Some(format!("the processes cannot be listed: {e}")), begun_at)
    }

    fn wait_for_stops(&mut self) -> Answer {
        self.hear_within(AWAIT_MS);
        if self.threads.table.running() > 0 && clock::now_ns() > self.waiting_since + SLOW_NS {
            self.threads.rest_through_children();
        }
        Answer::Running(self.threads.table.running(), clock::now_ns())
    }

    /// Those that hold locks work, until each has given its last one up.
    fn let_work(&mut self, ns: u64) -> Answer {
        let end = clock::now_ns() + ns;
        while clock::now_ns() < end && self.threads.table.some_work() {
            poll::wait_readable(&[self.news.as_fd()], AWAIT_MS);
            let _ = self.news.read_signal();
            self.threads.hear();
            self.threads.let_locks();
        }
        Answer::Done(clock::now_ns())
    }

    fn let_go(&mut self, pids: &[i32], run: Run) -> Answer {
        self.some_ran = true;
        self.let_go.extend(pids);
        let now = clock::now_ns();
        for pid in pids {
            self.threads.let_go(*pid, run, now);
        }
        Answer::Done(clock::now_ns())
    }

    /// How many hold a guarding lock. Where somebody has run since, all are asked once more before it
    /// is believed that none does: he may have locked what he shares with one that was at rest.
    fn read_locks(&mut self) -> u32 {
        self.read_unread();
        if self.holders().is_empty() && self.some_ran {
            self.some_ran = false;
            self.threads.look_at_locks_again();
            self.read_unread();
        }
        self.holders().len() as u32
    }

    fn read_unread(&mut self) {
        let table = &mut self.threads.table;
        let pids: Vec<i32> = table.processes.keys().copied().collect();
        for pid in pids {
            let process = &table.processes[&pid];
            if process.seen_unlocked || process.aside {
                continue;
            }
            let looked = locks::of(pid, table.of(pid).map(|(tid, _)| tid), &self.profile);
            let stopped = table.of(pid).all(|(_, state)| state == State::JobControl);
            let lasts = at_work::lasts(pid, &self.profile);
            let obstacle = match looked {
                Locks::None if !stopped && at_work::is_at_work(table, pid, lasts) => {
                    Some(match lasts {
                        Lasts::UntilExit => Obstacle::NotEnded,
                        _ => Obstacle::AtWork,
                    })
                }
                Locks::None => None,
                Locks::Guarding(_) if settled::is_settled(table, pid, &self.profile) => None,
                Locks::Guarding(file) if stopped => Some(Obstacle::StoppedUnderLock(file)),
                Locks::Guarding(file) => Some(Obstacle::UnderLock(file)),
                Locks::NotSeen => Some(Obstacle::LocksNotSeen),
            };
            if let Some(process) = table.processes.get_mut(&pid) {
                process.lasts = lasts;
                process.seen_unlocked = obstacle.is_none();
                process.obstacle = obstacle;
            }
        }
    }

    fn holders(&self) -> Vec<i32> {
        let holds =
            self.threads.table.processes.iter().filter(|(_, process)| process.is_in_the_way());
        holds.map(|(pid, _)| *pid).collect()
    }

    fn note_what_runs(&mut self, outcome: Outcome) {
        if outcome != Outcome::NotStopped {
            return;
        }
        let threads = &self.threads.table.threads;
        let runs = threads.iter().filter(|(_, thread)| !thread.state.is_still());
        let why: Vec<(i32, Obstacle)> = runs
            .map(|(tid, thread)| (thread.pid, self.threads.why_not_stopped(*tid, thread.pid)))
            .collect();
        for process in self.threads.table.processes.values_mut() {
            process.obstacle = None;
        }
        for (pid, why) in why {
            if let Some(process) = self.threads.table.processes.get_mut(&pid) {
                process.obstacle = Some(why);
            }
        }
    }

    fn report(&self, end: End, failure: Option<String>, begun_at: u64) -> Report {
        let table = &self.threads.table;
        let held = table.processes.iter().map(|(pid, process)| HeldProcess {
            pid: *pid,
            program: name(*pid),
            threads: table.of(*pid).count() as u32,
            let_go: process.let_go,
            let_go_ms: process.free_ns as f64 / 1e6,
            interrupted: process.interrupted,
            short: process.short,
            because: Vec::new(),
        });
        let in_the_way = table
            .processes
            .iter()
            .filter_map(|(pid, process)| Some((*pid, process.obstacle.clone()?)));
        let refused = self.threads.refused.iter().map(|(pid, why)| (*pid, why.clone()));
        let not_held = |(pid, why)| NotHeld { pid, program: name(pid), why };
        Report {
            end,
            failure,
            begun_at,
            ended_at: clock::now_ns(),
            held: held.collect(),
            not_held: refused.chain(in_the_way).map(not_held).collect(),
            zombies: self.threads.zombies.len() as u32,
            openings: self.openings,
        }
    }

    /// All run for a moment, longer each time.
    fn open_for_a_moment(&mut self) {
        self.let_all_go(NewLocks::Taken);
        let end = clock::now_ns() + (PAUSE_NS << self.openings.min(OPENINGS_LONGER));
        while clock::now_ns() < end {
            poll::wait_readable(&[self.news.as_fd()], AWAIT_MS);
            let _ = self.news.read_signal();
            self.threads.hear();
        }
    }

    fn let_all_go(&mut self, new_locks: NewLocks) -> Answer {
        self.openings += 1;
        let all: Vec<i32> = self.threads.table.processes.keys().copied().collect();
        self.let_go(&all, new_locks.into())
    }

    /// All are at rest, until we are told what is next; none: the freezer is gone.
    fn rest(&mut self) -> Option<Ask> {
        loop {
            poll::wait_readable(&[self.news.as_fd(), self.link.get_ref().as_fd()], REST_MS);
            let _ = self.news.read_signal();
            // Who is killed now must be taken, or its parent will not hear of it.
            self.threads.hear();
            if poll::readable(&[self.link.get_ref().as_fd()])[0] {
                return self.asked();
            }
        }
    }

    /// Those that are selected now and are not ours.
    fn came_meanwhile(&mut self) -> Vec<NotHeld> {
        let known = |pid: i32| self.threads.table.processes.contains_key(&pid);
        let Ok(listed) = self.selection.list(|pid| known(pid).then_some(true)) else {
            return vec![NotHeld { pid: 0, program: "".into(), why: Obstacle::NotListed }];
        };
        let came = listed.into_iter().filter(|pid| {
            !known(*pid)
                && !self.threads.refused.contains_key(pid)
                && match procfs::look_at(*pid) {
                    Look::Seen(stat) => !stat.is_dead() && !stat.exiting,
                    Look::Gone(_) => false,
                    Look::NotSeen(_) => true,
                }
        });
        came.map(|pid| NotHeld { pid, program: name(pid), why: Obstacle::CameLate }).collect()
    }
}

fn name(pid: i32) -> ForeignText {
    procfs::stat(pid).map(|stat| stat.comm).unwrap_or_default()
}
