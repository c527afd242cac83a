//! The state machine itself.

use super::limits::Limits;
use super::step::{Action, Answer, Outcome};
use crate::control::Rank;
use crate::summary::Summary;

/// Which processes the drain is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Stage {
    /// Those that are held so early, or earlier, and until when (ns; 0: yet to be said).
    First(Rank, u64),
    /// The others, which are not held yet: what they showed, since when, and until when
    /// that is waited for.
    Quiescing(Option<(u64, u64, u64)>),
    /// All.
    All,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
enum Phase {
    Begin,
    Closing,
    Fencing,
    Passing,
    Rescanning,
    Pausing,
    Seeking,
    Sought,
    Opening,
    Moving,
    GivingUp,
    Over(Outcome),
}

/// One drain. Two are equal if they will do the same: what they have counted for
/// the report is left out of the comparison.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    limits: Limits,
    phase: Phase,
    stage: Stage,
    /// The digest of the pass before, if that one was idle and since the fence.
    idle: Option<u64>,
    /// Since that pass all were listed, and none was new.
    listed: bool,
    /// For telling "stuck": what those in flight showed, and since when it has
    /// not changed.
    stuck_digest: Option<u64>,
    moved_at: u64,
    openings: u32,
    admitted: u32,
    passes: u32,
}

impl PartialEq for Drain {
    fn eq(&self, other: &Self) -> bool {
        self.decides() == other.decides()
    }
}

impl Eq for Drain {}

impl core::hash::Hash for Drain {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.decides().hash(state);
    }
}

impl Drain {
    /// All that its next steps depend on.
    fn decides(&self) -> impl Eq + core::hash::Hash + use<> {
        // When it last moved matters only for another opening.
        let may_open = self.openings < self.limits.openings;
        let moved_at = if may_open { self.moved_at } else { 0 };
        let idle = (self.idle, self.listed);
        (self.limits, self.phase, self.stage, idle, self.stuck_digest, moved_at, self.openings)
    }

    /// A drain that has yet to begin.
    pub fn new(limits: Limits) -> Self {
        Drain {
            limits,
            phase: Phase::Begin,
            stage: Stage::All,
            idle: None,
            listed: false,
            stuck_digest: None,
            moved_at: 0,
            openings: 0,
            admitted: 0,
            passes: 0,
        }
    }

    /// The deadline in force: a reopened barrier gets one that was never used.
    pub fn deadline(&self) -> u64 {
        self.limits.deadline + self.openings as u64
    }

    /// How many times the barrier was opened for a moment.
    pub fn openings(&self) -> u32 {
        self.openings
    }

    /// How many admissions were granted.
    pub fn admitted(&self) -> u32 {
        self.admitted
    }

    /// How many passes were made.
    pub fn passes(&self) -> u32 {
        self.passes
    }

    /// Does it wait for the processes that are not held yet to quiesce?
    pub fn awaits_quiesced(&self) -> bool {
        matches!(self.stage, Stage::Quiescing(_))
    }

    /// Are only those held so far that are held first?
    pub fn holds_first_alone(&self) -> bool {
        self.stage != Stage::All
    }

    /// If the pass that it waits for shows what the one before it showed, and nothing in flight:
    /// will it believe that?
    pub fn believes_next_pass(&self) -> bool {
        self.phase == Phase::Passing && self.stage == Stage::All && self.listed
    }

    /// Has it begun, and not ended?
    pub fn is_under_way(&self) -> bool {
        !matches!(self.phase, Phase::Begin | Phase::Over(_))
    }

    fn close(&mut self) -> (Phase, Action) {
        match self.limits.order {
            Some(order) => self.close_first(order.from, 0),
            None => (Phase::Closing, Action::Close(self.deadline())),
        }
    }

    fn close_first(&mut self, rank: Rank, until: u64) -> (Phase, Action) {
        self.stage = Stage::First(rank, until);
        (Phase::Closing, Action::CloseFirst(rank, self.deadline()))
    }

    /// The next step.
    pub fn next(&mut self, answer: Answer) -> Action {
        let (phase, ask) = match (self.phase, answer) {
            (Phase::Begin, _) => self.close(),
            (Phase::Closing, _) => {
                (self.idle, self.listed) = (None, false);
                (Phase::Fencing, Action::Fence)
            }
            (Phase::Fencing, Answer::Done(now)) => {
                self.moved_at = now;
                if let (Stage::First(rank, 0), Some(order)) = (self.stage, self.limits.order) {
                    self.stage = Stage::First(rank, now.saturating_add(order.drain).max(1));
                }
                (Phase::Passing, Action::Pass)
            }
            (Phase::Passing, Answer::Seen(summary, now)) => self.judge(summary, now),
            (Phase::Rescanning, Answer::Newcomers(0)) if self.stage != Stage::All => {
                self.stage = Stage::Quiescing(None);
                (Phase::Passing, Action::Pass)
            }
            (Phase::Rescanning, Answer::Newcomers(0)) => {
                self.listed = true;
                (Phase::Passing, Action::Pass)
            }
            (Phase::Rescanning, _) => {
                (self.idle, self.listed) = (None, false);
                (Phase::Passing, Action::Pass)
            }
            (Phase::Pausing, _) => (Phase::Passing, Action::Pass),
            (Phase::Seeking, _) => (Phase::Sought, Action::Rescan),
            (Phase::Sought, _) => (Phase::Passing, Action::Pass),
            (Phase::Opening, _) => (Phase::Moving, Action::AwaitMoved),
            (Phase::Moving, Answer::Done(now)) if now >= self.limits.drain_until => {
                (Phase::Over(Outcome::NotDrained), Action::Done(Outcome::NotDrained))
            }
            (Phase::Moving, _) => {
                self.openings += 1;
                self.close()
            }
            (Phase::GivingUp, _) => {
                (Phase::Over(Outcome::NotDrained), Action::Done(Outcome::NotDrained))
            }
            (Phase::Over(outcome), _) => (self.phase, Action::Done(outcome)),
            // An answer that does not fit the question: ask again.
            (Phase::Fencing, _) => (Phase::Fencing, Action::Fence),
            (Phase::Passing, _) => (Phase::Passing, Action::Pass),
        };
        self.phase = phase;
        ask
    }

    fn judge(&mut self, seen: Summary, now: u64) -> (Phase, Action) {
        self.passes += 1;
        if now >= self.limits.drain_until {
            return (Phase::GivingUp, Action::Open);
        }
        let moved = self.stuck_digest != Some(seen.stuck_digest);
        if moved {
            self.stuck_digest = Some(seen.stuck_digest);
            self.moved_at = now;
        }
        let in_flight = match self.stage {
            Stage::Quiescing(since) => return self.await_quiesced(since, seen, now),
            Stage::First(_, until) if now >= until => return self.await_quiesced(None, seen, now),
            // What they had sent was taken, and they have put it down: now the makers.
            Stage::First(Rank::Sender, until) if seen.senders_in_flight == 0 => {
                return self.close_first(Rank::First, until);
            }
            Stage::First(Rank::Sender, _) => seen.senders_in_flight,
            // Their own calls are over or held: another pass would show the same.
            Stage::First(..) if seen.first_in_flight == 0 && self.idle.is_some() => {
                return (Phase::Rescanning, Action::Rescan);
            }
            Stage::First(..) => seen.first_in_flight,
            Stage::All => seen.in_flight,
        };
        if in_flight == 0 && (seen.outstanding == 0 || self.stage != Stage::All) {
            if self.idle == Some(seen.digest) {
                if self.listed {
                    return (Phase::Over(Outcome::Drained), Action::Done(Outcome::Drained));
                }
                return (Phase::Rescanning, Action::Rescan);
            }
            (self.idle, self.listed) = (Some(seen.digest), false);
            return (Phase::Passing, Action::Pass);
        }
        (self.idle, self.listed) = (None, false);
        if seen.revocable {
            return (Phase::Pausing, Action::Revoke);
        }
        if let Some(candidate) = seen.candidate {
            self.admitted += 1;
            return (Phase::Pausing, Action::Admit(candidate));
        }
        let all = self.stage == Stage::All;
        let stuck = all && !moved && now.saturating_sub(self.moved_at) >= self.limits.stuck_after;
        if stuck && seen.held > 0 && self.openings < self.limits.openings {
            self.moved_at = now;
            return (Phase::Opening, Action::Open);
        }
        // What it waits for may be a child that is not in the list yet: forked
        // by an open section after the barrier went up, held, and to be admitted.
        (if moved { Phase::Pausing } else { Phase::Seeking }, Action::Pause)
    }

    /// The first ones are held: now all others, as soon as they have quiesced.
    fn await_quiesced(
        &mut self,
        was: Option<(u64, u64, u64)>,
        seen: Summary,
        now: u64,
    ) -> (Phase, Action) {
        let others = seen.others;
        let Some(order) = self.limits.order else { return self.close() };
        let (since, until) = match was {
            Some((before, since, until)) if before == others => (since, until),
            Some((_, _, until)) => (now, until),
            None => (now, now.saturating_add(order.quiesced_within)),
        };
        if seen.quiesced || now - since >= order.quiesced_after || now >= until {
            self.stage = Stage::All;
            return (Phase::Closing, Action::Close(self.deadline()));
        }
        self.stage = Stage::Quiescing(Some((others, since, until)));
        (Phase::Pausing, Action::Pause)
    }
}
