//! What is done between two passes: which have died, what means nothing, which were born.

use crate::census::disregard;
use crate::drive::progress::{GateDrain, LIST_AFTER_NS};
use crate::drive::quiesce;
use crate::drive::session::Session;
use crate::linux::clock;
use crate::linux::procfs::locks;

/// What members show is judged for so long in one pause: a region may show thousands of words that
/// all ask for a look.
const JUDGED_WITHIN_NS: u64 = 30_000_000;
/// The list of the kernel's locks is asked for so often, for the last pass wants it at once.
const LOCKS_AGAIN_NS: u64 = 3_000_000;
/// Longest pause between two passes.
const PAUSE_MAX_NS: u64 = 1_000_000;
/// A listing of all processes may take a tenth of the time (children of open sections are asked
/// for in every pause) ...
const LIST_SHARE: u64 = 10;
/// ... but is made again no sooner, and no later, than this.
const LIST_AGAIN_NS: std::ops::RangeInclusive<u64> = 10_000_000..=50_000_000;

impl Session {
    /// Waits a moment, longer each time.
    pub(super) fn pause(&mut self, at: usize, drain: &mut GateDrain) {
        let begun = clock::now_ns();
        self.name_those_in_flight(at, drain);
        self.between_passes(at, drain);
        if begun >= drain.locks_next {
            locks::keep_list_ready();
            drain.locks_next = clock::now_ns() + LOCKS_AGAIN_NS;
        }
        let asked_at = clock::now_ns();
        drain.parts.asking_ns += asked_at.saturating_sub(begun);
        let awaits_quiesced = drain.machine.awaits_quiesced();
        clock::sleep_ns(if awaits_quiesced { quiesce::PAUSE_NS } else { drain.pause_ns });
        drain.parts.waiting_ns += clock::now_ns().saturating_sub(asked_at);
        drain.pause_ns = (drain.pause_ns * 3 / 2).min(PAUSE_MAX_NS);
    }

    fn between_passes(&mut self, at: usize, drain: &mut GateDrain) {
        self.census.remove_dead();
        let owners = drain.reading.open_sections();
        self.census.look_for_children(&mut self.helper, at, &owners);
        self.disregard_sleepers(at, drain);
        if self.look_at_work(at, drain) {
            drain.note_activity();
        }
        self.census.look_again(&mut self.helper, at);
    }

    /// Is one of those that are in flight without moving at work? And of which of them does the
    /// kernel say that the locks are gone?
    fn look_at_work(&mut self, at: usize, drain: &GateDrain) -> bool {
        let unmoved_ns = clock::now_ns().saturating_sub(drain.moved_at);
        let until = clock::now_ns() + JUDGED_WITHIN_NS;
        let mut busy = false;
        let Session { census, helper, .. } = self;
        let members = &mut census.gates[at];
        for place in from(drain.judged_from, members.len()) {
            let member = &mut members[place];
            if member.gone || unmoved_ns <= LIST_AFTER_NS || clock::now_ns() >= until {
                continue;
            }
            let Some(word) = member.process_word() else { continue };
            let calls = !disregard::stuck_slots(member, drain.reading.threads_of(place)).is_empty();
            // One that counts as over is waited for by none.
            let section = Some(word.0) != member.settled && word.section_open();
            if section || calls {
                busy |= disregard::at_work(member);
                if member.locks_gone != Some(word.0) {
                    member.locks_gone = disregard::locks_are_gone(member, helper);
                }
            }
        }
        busy
    }

    /// Finds the words that mean nothing: calls on sockets, dead threads.
    pub fn disregard_sleepers(&mut self, at: usize, drain: &mut GateDrain) {
        let until = clock::now_ns() + JUDGED_WITHIN_NS;
        let members = &mut self.census.gates[at];
        for place in from(drain.judged_from, members.len()) {
            let member = &mut members[place];
            if member.gone {
                continue;
            }
            if clock::now_ns() >= until {
                // The next time it begins here.
                drain.judged_from = place;
                return;
            }
            let stuck = disregard::stuck_slots(member, drain.reading.threads_of(place));
            if !stuck.is_empty() {
                disregard::disregard(member, &mut self.helper, &stuck, until);
            }
        }
    }

    /// Takes in those that were born; after a closing also those that have become something else.
    /// While something is in flight that only helps to find what it waits for: not at every pause.
    /// Before a drain is believed it decides.
    pub(super) fn rescan_if_due(&mut self, drain: &mut GateDrain) {
        let done = drain.last.in_flight == 0 && drain.last.outstanding == 0;
        let first_done = drain.machine.holds_first_alone() && drain.last.first_in_flight == 0;
        let begun = clock::now_ns();
        if !(done || first_done || begun >= drain.list_next) {
            return;
        }
        self.census.rescan(&mut self.helper, !drain.images_checked, !done);
        drain.images_checked = true;
        let now = clock::now_ns();
        let (soonest, latest) = LIST_AGAIN_NS.into_inner();
        drain.list_next = now + (LIST_SHARE * (now - begun)).clamp(soonest, latest);
    }
}

/// All places, from this one on and around.
fn from(first: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |place| (first + place) % count)
}
