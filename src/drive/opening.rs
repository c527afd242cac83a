//! Opens the barrier for a moment, because something in flight waits for something that is held.

use crate::census::blockers;
use crate::census::member::Member;
use crate::drive::barrier;
use crate::drive::progress::GateDrain;
use crate::drive::quiesce;
use crate::drive::reading::ShownWord;
use crate::drive::session::Session;
use crate::linux::clock;
use crate::linux::procfs;
use gate::word::{Doing, ThreadWord};
use std::sync::atomic::Ordering::Acquire;

/// How long an opening waits for those it let go.
const MOVED_WITHIN_NS: u64 = 500_000_000;
/// Between two looks at them.
const LOOK_AGAIN_NS: u64 = 200_000;

impl Session {
    /// Lowers the barrier of gate `at`. The drain may be given up by this, or will be before a pass
    /// is made again: what is in flight is put down now, for once opened it goes on.
    pub(super) fn open_for_a_moment(&mut self, at: usize, drain: &mut GateDrain) {
        if clock::now_ns() + MOVED_WITHIN_NS >= drain.drain_until {
            self.census.remove_dead();
            let now = self.in_flight(at, drain);
            let ago = clock::now_ns() - drain.named_at;
            drain.blockers = blockers::named(now, &drain.named, ago);
            if drain.machine.awaits_quiesced() {
                drain.blockers = quiesce::not_quiesced(&self.census.gates[at], drain);
            }
        }
        drain.held_at_opening = drain.reading.showing(|doing| doing == Doing::Held);
        barrier::lower(self.gates[at].page.get());
        drain.grants.clear();
    }

    /// Waits until all that was held at the opening shows another word.
    pub(super) fn await_moved(&mut self, at: usize, drain: &mut GateDrain) {
        let until = clock::now_ns() + MOVED_WITHIN_NS;
        loop {
            self.census.remove_dead();
            self.refresh(at);
            let members = &self.census.gates[at];
            drain.held_at_opening.retain(|shown| still_shows(&members[shown.member], shown));
            if drain.held_at_opening.is_empty() || clock::now_ns() >= until {
                return;
            }
            clock::sleep_ns(LOOK_AGAIN_NS);
        }
    }
}

/// Does it still show that word, and could it move? One that merely asks again has not moved: it
/// may find the next barrier closed, with a bound that comes from the one before.
pub fn still_shows(member: &Member, shown: &ShownWord) -> bool {
    let slot = member.view.as_ref().and_then(|view| view.slots().get(shown.slot));
    slot.is_some_and(|slot| !ThreadWord(slot.word.load(Acquire)).has_moved(shown.word))
        && !member.gone
        && !procfs::stat(member.pid).is_some_and(|stat| stat.is_stopped())
}
