//! Carries out a drain: does what `gate::drain` asks for, tells it what came of it.
//!
//! Several gates are drained side by side: all or none.

use crate::census::dotlocks;
use crate::census::member::Member;
use crate::drive::barrier;
use crate::drive::progress::{GateDrain, PAUSE_MIN_NS};
use crate::drive::session::Session;
use crate::linux::clock;
use crate::linux::procfs::locks;
use gate::control::Rank;
use gate::drain::{Action, Answer, Outcome};

/// How the drain of all gates ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DrainEnd {
    /// Everything is drained, every barrier is up.
    Drained,
    /// Every barrier is down again.
    NotDrained,
    /// It did not become quiet, as was required; no barrier was raised.
    NotQuiet,
    /// A process that was to be held at rest beside the barrier cannot be; every barrier is down again.
    NotHeld,
    /// A signal came; every barrier is down.
    Interrupted(i32),
}

impl Session {
    /// Raises every barrier and drains. `limit_ns` and `drain_ns` count from now.
    pub fn drain(&mut self, limit_ns: u64, drain_ns: u64) -> (DrainEnd, Vec<GateDrain>) {
        let mut locks = Vec::new();
        // Who was born since the list was made, or has become something else, is looked at now, while
        // nobody is held: a server forks for each delivery.
        self.census.refresh(&mut self.helper);
        for at in 0..self.gates.len() {
            locks.push(self.learn_locks(at));
            for member in &mut self.census.gates[at] {
                member.overdue_before = member.overdue();
                member.unaccounted_lock = None;
            }
        }
        // A drain may be over in its first passes, before any pause.
        locks::keep_list_ready();
        let now = clock::now_ns();
        let drain_until = now.saturating_add(drain_ns.min(limit_ns));
        let gates = self.gates.iter().zip(&self.census.gates);
        let mut drains: Vec<GateDrain> = gates
            .map(|(gate, members)| {
                let page = gate.page.get();
                let deadline = barrier::new_deadline(page, now, limit_ns);
                barrier::count_freeze(page);
                let half = drain_until.saturating_sub(now) / 2;
                let ranks = members.iter().filter(|member| shows_rank(member)).map(Member::rank);
                GateDrain::new(deadline, drain_until, barrier::order(page, half, ranks))
            })
            .collect();
        for (drain, known) in drains.iter_mut().zip(locks) {
            drain.kernel_locks = known;
        }
        let end = self.carry_out(&mut drains);
        if end != DrainEnd::Drained {
            for gate in &self.gates {
                barrier::lower(gate.page.get());
            }
        }
        let now = clock::now_ns();
        drains.iter_mut().for_each(|drain| drain.close(now));
        (end, drains)
    }

    fn carry_out(&mut self, drains: &mut [GateDrain]) -> DrainEnd {
        loop {
            if let Some(signal) = self.signals.received() {
                return DrainEnd::Interrupted(signal);
            }
            for (at, drain) in drains.iter_mut().enumerate() {
                if drain.outcome.is_none() {
                    self.step(at, drain);
                }
            }
            if drains.iter().any(|drain| drain.outcome == Some(Outcome::NotDrained)) {
                return DrainEnd::NotDrained;
            }
            if drains.iter().all(|drain| drain.outcome.is_some()) && !self.reopened(drains) {
                return DrainEnd::Drained;
            }
        }
    }

    /// Begins those again that have newcomers; true if there are any.
    fn reopened(&mut self, drains: &mut [GateDrain]) -> bool {
        let mut late = false;
        for (at, drain) in drains.iter_mut().enumerate() {
            if self.census.take_newcomers(at) > 0 {
                drain.again();
                late = true;
            }
        }
        late
    }

    /// One thing that the drain of gate `at` asks for.
    fn step(&mut self, at: usize, drain: &mut GateDrain) {
        drain.answer = match drain.machine.next(drain.answer) {
            Action::CloseFirst(rank, deadline) => {
                (drain.rounds, drain.quiesced) = Default::default();
                self.close(at, drain, Some(rank), deadline)
            }
            Action::Close(deadline) => self.close(at, drain, None, deadline),
            Action::Fence => {
                self.membarrier.fence();
                let now = clock::now_ns();
                drain.begin_passes(now);
                Answer::Done(now)
            }
            Action::Pass => {
                let (begun, locks_ns) = (clock::now_ns(), drain.parts.locks_ns);
                let summary = self.pass(at, drain);
                let now = clock::now_ns();
                let locks_ns = drain.parts.locks_ns - locks_ns;
                drain.parts.reading_ns += now.saturating_sub(begun + locks_ns);
                if summary.in_flight > 0 {
                    drain.in_flight_at = begun;
                }
                Answer::Seen(summary, now)
            }
            Action::Rescan => {
                let begun = clock::now_ns();
                self.rescan_if_due(drain);
                drain.parts.listing_ns += clock::now_ns().saturating_sub(begun);
                Answer::Newcomers(self.census.take_newcomers(at))
            }
            Action::Admit(candidate) => {
                self.admit(at, drain, candidate);
                clock::sleep_ns(PAUSE_MIN_NS);
                Answer::Done(clock::now_ns())
            }
            Action::Revoke => {
                self.revoke(at, drain);
                self.membarrier.fence();
                Answer::Done(clock::now_ns())
            }
            Action::Open => {
                self.open_for_a_moment(at, drain);
                Answer::Done(clock::now_ns())
            }
            Action::AwaitMoved => {
                self.await_moved(at, drain);
                Answer::Done(clock::now_ns())
            }
            Action::Pause => {
                self.pause(at, drain);
                Answer::Done(clock::now_ns())
            }
            Action::Done(outcome) => {
                drain.outcome = Some(outcome);
                drain.drained_words = drain.reading.showing(|_| true);
                drain.dotlocks = self.census.alive(at).flat_map(dotlocks::of).collect();
                drain.lock_files = self.census.alive(at).flat_map(dotlocks::files_of).collect();
                drain.unexplained = std::mem::take(&mut drain.kernel_locks.unexplained);
                drain.ended_at = clock::now_ns();
                Answer::Done(drain.ended_at)
            }
        };
    }

    /// Raises the barrier; with `rank`, of those alone that are held so early.
    fn close(&self, at: usize, drain: &mut GateDrain, rank: Option<Rank>, deadline: u64) -> Answer {
        let now = clock::now_ns();
        let page = self.gates[at].page.get();
        match rank {
            Some(rank) => barrier::raise_first(page, rank, deadline, now, !drain.raised),
            None => barrier::raise(page, deadline, now, !drain.raised),
        }
        if !drain.raised {
            drain.closed_at = now;
        }
        drain.raised = true;
        drain.images_checked = false;
        Answer::Done(now)
    }
}

/// Does it show when it is held? A child without a region of its own has its parent's
/// program, or is on its way to one that shows when it is there.
fn shows_rank(member: &Member) -> bool {
    !member.gone && member.view.is_some()
}
