//! Drives `gate::drain`: does what it asks for, tells it what came of it.
//!
//! Several gates are drained side by side: all or none.

use crate::census::blockers::{self, Blocker};
use crate::census::disregard;
use crate::census::dotlocks;
use crate::census::{Census, Member};
use crate::drive::barrier;
use crate::drive::pass::Reading;
use crate::drive::quiesce;
use crate::drive::run::{PAUSE_MIN_NS, Run};
use crate::gatedir::Gate;
use crate::linux::helper::Helper;
use crate::linux::signals::Signals;
use crate::linux::sys::{self, Membarrier, Pace};
use gate::admission::{Grant, must_revoke};
use gate::control::{ANY_SEQUENCE, Rank};
use gate::drain::{Action, Answer, Outcome};
use gate::summary::Summary;
use gate::summary::summarize;
use gate::view::ProcessView;
use gate::word::{Doing, ThreadWord};

/// Longest pause between two passes.
const PAUSE_MAX_NS: u64 = 1_000_000;
/// How long an opening waits for those it let go.
const MOVED_WITHIN_NS: u64 = 500_000_000;
/// Who is in flight is put down with its locks and paths once it has not moved for so
/// long, and whatever moves in the last moments of a drain.
const NAMED_AFTER_NS: u64 = 15_000_000;
const NAMED_BEFORE_NS: u64 = 100_000_000;
/// Looks for newborns everywhere while nothing moves: from this on ...
const BORN_AFTER_NS: u64 = 2_000_000;
/// ... and then less often: children of open sections are asked for in every pause.
const BORN_AGAIN_NS: u64 = 10_000_000;

/// All that a freeze of one or more gates works with.
pub struct Session {
    /// The gates, in the order of their locks.
    pub gates: Vec<Gate>,
    /// Their processes.
    pub census: Census,
    /// Who looks into them.
    pub helper: Helper,
    /// How plain stores are made visible.
    pub membarrier: Membarrier,
    /// What may interrupt.
    pub signals: Signals,
    /// How urgently we were run when we were started.
    pub pace: Pace,
    /// When the last of the gates' locks was ours.
    pub locked_at: u64,
}

/// How the drain of all gates ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Everything is drained, every barrier is up.
    Drained,
    /// Every barrier is down again.
    NotDrained,
    /// It did not become quiet, as was required; no barrier was raised.
    NotQuiet,
    /// A signal came; every barrier is down.
    Interrupted(i32),
}

impl Session {
    /// Raises every barrier and drains. `limit_ns` and `drain_ns` count from now.
    pub fn drain(&mut self, limit_ns: u64, drain_ns: u64) -> (Ended, Vec<Run>) {
        for at in 0..self.gates.len() {
            self.refresh(at);
            for member in &mut self.census.gates[at] {
                member.overdue_before = member.overdue();
            }
        }
        let now = sys::now_ns();
        let drain_until = now.saturating_add(drain_ns.min(limit_ns));
        let mut runs: Vec<Run> = self
            .gates
            .iter()
            .zip(&self.census.gates)
            .map(|(gate, members)| {
                let deadline = barrier::new_deadline(gate.page.get(), now, limit_ns);
                barrier::count_freeze(gate.page.get());
                let half = drain_until.saturating_sub(now) / 2;
                let ranks = members.iter().filter(|member| shows_rank(member)).map(Member::rank);
                let order = barrier::order(gate.page.get(), half, ranks);
                Run::new(deadline, drain_until, order)
            })
            .collect();
        let ended = self.drive(&mut runs);
        if ended != Ended::Drained {
            for gate in &self.gates {
                barrier::lower(gate.page.get());
            }
        }
        let now = sys::now_ns();
        for run in &mut runs {
            if run.ended_at == 0 {
                run.ended_at = now;
            }
            run.openings += run.drain.openings();
            run.admitted += run.drain.admitted();
        }
        (ended, runs)
    }

    fn drive(&mut self, runs: &mut [Run]) -> Ended {
        loop {
            if let Some(signal) = self.signals.came() {
                return Ended::Interrupted(signal);
            }
            for (at, run) in runs.iter_mut().enumerate() {
                if run.outcome.is_none() {
                    self.step(at, run);
                }
            }
            if runs.iter().any(|run| run.outcome == Some(Outcome::NotDrained)) {
                return Ended::NotDrained;
            }
            if runs.iter().all(|run| run.outcome.is_some()) {
                let mut late = false;
                for (at, run) in runs.iter_mut().enumerate() {
                    if self.census.take_newcomers(at) > 0 {
                        run.again();
                        late = true;
                    }
                }
                if !late {
                    return Ended::Drained;
                }
            }
        }
    }

    /// One thing that the drain of gate `at` asks for.
    fn step(&mut self, at: usize, run: &mut Run) {
        let ask = run.drain.next(run.answer);
        run.answer = match ask {
            Action::CloseFirst(_, deadline) | Action::Close(deadline) => {
                let now = sys::now_ns();
                let page = self.gates[at].page.get();
                if let Action::CloseFirst(rank, _) = ask {
                    (run.rounds, run.rested) = Default::default();
                    barrier::raise_first(page, rank, deadline, now, !run.raised);
                } else {
                    barrier::raise(page, deadline, now, !run.raised);
                }
                if !run.raised {
                    run.closed_at = now;
                }
                run.raised = true;
                run.images_checked = false;
                Answer::Done(now)
            }
            Action::Fence => {
                self.membarrier.fence();
                let now = sys::now_ns();
                run.pause_ns = PAUSE_MIN_NS;
                run.moved_at = now;
                run.born_next = now + BORN_AFTER_NS;
                Answer::Done(now)
            }
            Action::Pass => {
                let summary = self.pass(at, run);
                Answer::Seen(summary, sys::now_ns())
            }
            Action::Rescan => {
                let quiet = run.last.in_flight == 0 && run.last.outstanding == 0;
                // While somebody is in flight it only helps to find whom he waits
                // for: not at every pause. Before a drain is believed it decides.
                let early = run.drain.holds_first_alone() && run.last.first_in_flight == 0;
                if quiet || early || sys::now_ns() >= run.born_next {
                    self.look_for_newborns(run, !quiet);
                }
                Answer::Newcomers(self.census.take_newcomers(at))
            }
            Action::Admit(candidate) => {
                let page = self.gates[at].page.get();
                self.forget_ended(at, run);
                if barrier::admit(page, candidate) {
                    run.given.push(Grant { candidate });
                }
                sys::sleep_ns(PAUSE_MIN_NS);
                Answer::Done(sys::now_ns())
            }
            Action::Revoke => {
                let views = run.reading.views();
                let page = self.gates[at].page.get();
                run.given.retain(|given| {
                    let back = must_revoke(given, &views);
                    if back {
                        barrier::revoke(page, given.candidate);
                    }
                    !back
                });
                self.membarrier.fence();
                Answer::Done(sys::now_ns())
            }
            Action::Open => {
                // Grant up, or will be before a pass is made again: seen now, for once
                // opened they go on.
                if sys::now_ns() + MOVED_WITHIN_NS >= run.drain_until {
                    self.census.remove_dead();
                    let now = self.in_flight(at, run);
                    run.blockers = blockers::named(now, &run.named, sys::now_ns() - run.named_at);
                    if run.drain.awaits_quiesced() {
                        run.blockers = quiesce::restless(&self.census.gates[at], run);
                    }
                }
                run.held_at_opening = held(&run.reading, self.census.gates[at].len());
                barrier::lower(self.gates[at].page.get());
                run.given.clear();
                Answer::Done(sys::now_ns())
            }
            Action::AwaitMoved => {
                self.await_moved(at, run);
                Answer::Done(sys::now_ns())
            }
            Action::Pause => {
                self.name_those_in_flight(at, run);
                self.between_passes(at, run);
                let awaits_quiesced = run.drain.awaits_quiesced();
                sys::sleep_ns(if awaits_quiesced { quiesce::PAUSE_NS } else { run.pause_ns });
                run.pause_ns = (run.pause_ns * 3 / 2).min(PAUSE_MAX_NS);
                Answer::Done(sys::now_ns())
            }
            Action::Done(outcome) => {
                run.outcome = Some(outcome);
                let members = self.census.gates[at].len();
                run.drained_words = showing(&run.reading, members, |_| true);
                run.dotlocks = self.census.alive(at).flat_map(dotlocks::of).collect();
                run.ended_at = sys::now_ns();
                Answer::Done(run.ended_at)
            }
        };
    }

    /// One pass over a gate's regions.
    pub fn pass(&mut self, at: usize, run: &mut Run) -> Summary {
        self.refresh(at);
        run.reading.read(&mut self.census.gates[at]);
        crate::drive::settled::judge(&mut self.census.gates[at], &mut run.reading);
        let mut summary = summarize(&run.reading.views(), &run.given);
        if summary.in_flight > 0 {
            // Work on a slow disk moves no word, and is no deadlock.
            summary.stuck_digest ^= run.activity;
        }
        if run.drain.awaits_quiesced() {
            let others = self.census.alive(at).filter(|member| member.rank() == Rank::Last);
            if others.take(quiesce::LOOKS).any(disregard::at_work) {
                // On its way to a call, between two words.
                run.activity = run.activity.wrapping_add(0x9e37_79b9_7f4a_7c15);
            }
            summary.others ^= run.activity;
            let members = &self.census.gates[at];
            summary.quiesced = match barrier::first_wait(self.gates[at].page.get()) {
                None => quiesce::reached(members, run, quiesce::Evidence::Seen),
                Some(_) => quiesce::reached(members, run, quiesce::Evidence::Waits),
            };
        }
        if summary.stuck_digest != run.last.stuck_digest {
            run.moved_at = sys::now_ns();
        }
        run.waiters = run.waiters.max(summary.held);
        run.last = summary;
        summary
    }

    /// Brings copies up to date; what cannot be read is unknown.
    pub fn refresh(&mut self, at: usize) {
        let members = &mut self.census.gates[at];
        let copied = |m: &Member| !m.gone && m.view.as_ref().is_some_and(|v| v.copied);
        if !members.iter().any(copied) {
            return;
        }
        let failed = self.helper.refresh();
        for member in members.iter_mut().filter(|m| copied(m)) {
            if failed.as_ref().is_none_or(|failed| failed.contains(&member.pid)) {
                // Dead, in another image, or the helper is gone: look anew.
                member.unknown = true;
            }
        }
    }

    /// What is done while waiting: who died, what means nothing, who was born.
    fn between_passes(&mut self, at: usize, run: &mut Run) {
        self.census.remove_dead();
        let owners = run.reading.open_sections();
        self.census.look_for_children(&mut self.helper, at, &owners);
        self.disregard_sleepers(at, run);
        let now = sys::now_ns();
        let mut busy = false;
        for (place, member) in self.census.gates[at].iter_mut().enumerate() {
            if member.gone || member.view.is_none() {
                continue;
            }
            let calls = !disregard::stuck_slots(member, run.reading.threads_of(place)).is_empty();
            let quiet_ns = now.saturating_sub(run.moved_at);
            let view = member
                .view
                .as_ref()
                .map(|v| v.header().process.load(std::sync::atomic::Ordering::Acquire));
            // One that counts as over is waited for by nobody.
            let section = view != member.settled
                && view.is_some_and(|w| gate::word::ProcessWord(w).section_open());
            if quiet_ns > BORN_AFTER_NS && (section || calls) {
                busy |= disregard::at_work(member);
                if member.locks_gone != view {
                    member.locks_gone = disregard::locks_are_gone(member);
                }
            }
        }
        if busy {
            run.activity = run.activity.wrapping_add(0x9e37_79b9_7f4a_7c15);
        }
        self.census.look_again(&mut self.helper, at);
    }

    /// Puts down who is in flight while it can be seen what they hold: whoever ends in
    /// the last moment is named all the same.
    fn name_those_in_flight(&self, at: usize, run: &mut Run) {
        let now = sys::now_ns();
        let late = now + NAMED_BEFORE_NS >= run.drain_until;
        let stuck = now.saturating_sub(run.moved_at) >= NAMED_AFTER_NS;
        if run.named_motion == run.last.stuck_digest {
            run.named_at = now;
            return;
        }
        if !(late || stuck) {
            return;
        }
        run.named_motion = run.last.stuck_digest;
        let named = self.in_flight(at, run);
        if !named.is_empty() {
            (run.named, run.named_at) = (named, now);
        }
    }

    /// Who was in flight in the pass that was just read, or let in for somebody who was.
    fn in_flight(&self, at: usize, run: &Run) -> Vec<Blocker> {
        let views = run.reading.views();
        let members = self.census.gates[at].iter().zip(&views);
        let let_in = |p: &ProcessView| run.given.iter().any(|given| given.holds_for(p));
        members
            .filter(|(m, _)| !m.gone && !m.outsider)
            .flat_map(|(member, p)| match (p.in_flight(), let_in(p)) {
                (true, _) => blockers::of_one_in_flight(member),
                (false, true) => vec![blockers::let_in(member)],
                (false, false) => Vec::new(),
            })
            .collect()
    }

    /// Finds the words that mean nothing: calls on sockets, dead threads.
    pub fn disregard_sleepers(&mut self, at: usize, run: &Run) {
        for (place, member) in self.census.gates[at].iter_mut().enumerate() {
            if !member.gone {
                let stuck = disregard::stuck_slots(member, run.reading.threads_of(place));
                if !stuck.is_empty() {
                    disregard::disregard(member, &stuck);
                }
            }
        }
    }

    /// Who was born; after a closing also who has become something else.
    fn look_for_newborns(&mut self, run: &mut Run, seeking: bool) {
        let begun = sys::now_ns();
        self.census.rescan(&mut self.helper, !run.images_checked, seeking);
        run.images_checked = true;
        let now = sys::now_ns();
        run.born_next = now + (10 * (now - begun)).clamp(BORN_AGAIN_NS, 50_000_000);
    }

    /// Forgets admissions that have ended by themselves, so that their places are free.
    fn forget_ended(&self, at: usize, run: &mut Run) {
        let page = self.gates[at].page.get();
        let views = run.reading.views();
        run.given.retain(|given| {
            let c = given.candidate;
            let ended = c.lock_sequence != ANY_SEQUENCE
                && !views.iter().any(|p| p.nonce == c.nonce && p.lock_sequence == c.lock_sequence);
            if ended {
                barrier::revoke(page, c);
            }
            !ended
        });
    }

    /// Waits until everybody who was held at the opening shows another word.
    fn await_moved(&mut self, at: usize, run: &mut Run) {
        let until = sys::now_ns() + MOVED_WITHIN_NS;
        loop {
            self.census.remove_dead();
            self.refresh(at);
            let members = &self.census.gates[at];
            run.held_at_opening.retain(|(place, slot, word)| {
                let member = &members[*place];
                let still =
                    member.view.as_ref().and_then(|v| v.slots().get(*slot)).is_some_and(|slot| {
                        // Who merely asks again may find the barrier closed again.
                        let now = ThreadWord(slot.word.load(std::sync::atomic::Ordering::Acquire));
                        !now.has_moved(ThreadWord(*word))
                    });
                still && !member.gone && !is_stopped(member.pid)
            });
            if run.held_at_opening.is_empty() || sys::now_ns() >= until {
                return;
            }
            sys::sleep_ns(200_000);
        }
    }
}

/// Does it show when it is held? A child without a region of its own has its parent's
/// program, or is on its way to one that shows when it is there.
fn shows_rank(member: &Member) -> bool {
    !member.gone && member.view.is_some()
}

/// Is this process stopped (SIGSTOP, a debugger)? It cannot move.
pub fn is_stopped(pid: i32) -> bool {
    crate::linux::procfs::stat(pid).is_some_and(|s| matches!(s.state, 'T' | 't'))
}

/// Everybody who is held, as (member, slot, word).
pub fn held(reading: &Reading, members: usize) -> Vec<(usize, usize, u64)> {
    showing(reading, members, |doing| doing == Doing::Held)
}

/// Everybody who is doing such a thing, as (member, slot, word).
pub fn showing(
    reading: &Reading,
    members: usize,
    such: impl Fn(Doing) -> bool,
) -> Vec<(usize, usize, u64)> {
    let mut found = Vec::new();
    for place in 0..members {
        for (slot, thread) in reading.threads_of(place).iter().enumerate() {
            if such(thread.word.doing()) {
                found.push((place, slot, thread.word.0));
            }
        }
    }
    found
}
