//! One pass over a gate: every region is read, sections that count as over are marked, and
//! `gate::summary` makes one summary of it.

use crate::census::disregard;
use crate::census::member::Member;
use crate::drive::barrier;
use crate::drive::progress::GateDrain;
use crate::drive::quiesce::{self, Proof};
use crate::drive::session::Session;
use crate::drive::settled;
use crate::linux::clock;
use gate::control::Rank;
use gate::summary::{Summary, summarize};

impl Session {
    /// One pass over the regions of gate `at`.
    pub fn pass(&mut self, at: usize, drain: &mut GateDrain) -> Summary {
        self.refresh(at);
        let places = self.gates[at].page.get().places.noted();
        drain.reading.read(&mut self.census.gates[at], places);
        settled::judge(&mut self.census.gates[at], &mut drain.reading, &mut drain.room);
        let views = drain.reading.views();
        let mut summary = summarize(&views, &drain.grants, &mut drain.room.scratch(&views));
        if self.must_compare_locks(at, drain, &summary) {
            let begun = clock::now_ns();
            let some = self.compare_locks(at, &mut drain.kernel_locks);
            drain.parts.last_locks_ns = clock::now_ns().saturating_sub(begun);
            drain.parts.locks_ns += drain.parts.last_locks_ns;
            drain.parts.tables = drain.kernel_locks.tables;
            drain.reading.take_unaccounted(&self.census.gates[at]);
            let views = drain.reading.views();
            summary = summarize(&views, &drain.grants, &mut drain.room.scratch(&views));
            if some {
                // A process that is no member, or came just now, is in no view.
                summary.in_flight = summary.in_flight.max(1);
            }
        }
        if summary.in_flight > 0 {
            // Work on a slow disk moves no word, and is no deadlock.
            summary.stuck_digest ^= drain.activity;
        }
        if drain.machine.awaits_quiesced() {
            self.look_whether_quiesced(at, drain, &mut summary);
        }
        if summary.stuck_digest != drain.last.stuck_digest {
            drain.moved_at = clock::now_ns();
        }
        drain.waiters = drain.waiters.max(summary.held);
        drain.last = summary;
        summary
    }

    /// Before a drain is believed, and as long as that has found something.
    fn must_compare_locks(&self, at: usize, drain: &GateDrain, summary: &Summary) -> bool {
        let unaccounted = |m: &Member| !m.gone && m.unaccounted_lock.is_some();
        drain.outcome.is_none() && drain.machine.believes_next_pass() && summary.in_flight == 0
            || drain.machine.is_under_way()
                && (!drain.kernel_locks.strangers.is_empty()
                    || self.census.gates[at].iter().any(unaccounted))
    }

    fn look_whether_quiesced(&self, at: usize, drain: &mut GateDrain, summary: &mut Summary) {
        let members = &self.census.gates[at];
        let others = self.census.alive(at).filter(|member| member.rank() == Rank::Last);
        if others.take(quiesce::LOOKS_A_PASS).any(disregard::at_work) {
            // On its way to a call, between two words.
            drain.note_activity();
        }
        summary.others ^= drain.activity;
        let proof = match barrier::first_wait(self.gates[at].page.get()) {
            None => Proof::NotAtWork,
            Some(_) => Proof::WaitsForOthers,
        };
        summary.quiesced = quiesce::reached(members, drain, proof);
    }
}
