//! What is in flight, put down while it can be seen what it holds: one that ends in the last
//! moment is named all the same.

use crate::census::blockers;
use crate::drive::progress::GateDrain;
use crate::drive::session::Session;
use crate::linux::clock;
use crate::outcome::blocker::Blocker;
use gate::view::ProcessView;

/// It is put down with its locks and paths once it has not moved for so long ...
const NAMED_AFTER_NS: u64 = 15_000_000;
/// ... and whatever moves in so many last moments of a drain.
const NAMED_BEFORE_NS: u64 = 100_000_000;

impl Session {
    /// Puts it down, if it is time to.
    pub(super) fn name_those_in_flight(&self, at: usize, drain: &mut GateDrain) {
        let now = clock::now_ns();
        let late = now + NAMED_BEFORE_NS >= drain.drain_until;
        let stuck = now.saturating_sub(drain.moved_at) >= NAMED_AFTER_NS;
        if drain.named_digest == drain.last.stuck_digest {
            drain.named_at = now;
            return;
        }
        if !(late || stuck) {
            return;
        }
        drain.named_digest = drain.last.stuck_digest;
        let named = self.in_flight(at, drain);
        if !named.is_empty() {
            (drain.named, drain.named_at) = (named, now);
        }
    }

    /// What was in flight in the pass that was just read, or let in for something that was.
    pub(super) fn in_flight(&self, at: usize, drain: &mut GateDrain) -> Vec<Blocker> {
        let GateDrain { reading, grants, lock_paths, kernel_locks, .. } = drain;
        let let_in = |p: &ProcessView| grants.iter().any(|grant| grant.holds_for(p));
        let members = self.census.gates[at].iter().zip(reading.views()).enumerate();
        let mut all = Vec::new();
        for (place, (member, p)) in members {
            if p.in_flight() {
                all.extend(blockers::of_reading(member, &reading.shown(place), lock_paths));
            } else if let_in(&p) && !member.gone {
                all.push(blockers::let_in(member));
            }
        }
        all.extend(kernel_locks.strangers.iter().cloned());
        all
    }
}
