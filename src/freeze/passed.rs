//! Which process passed the closed barrier, and which were held while they owned a lock.

use crate::census::member::Member;
use crate::drive::progress::GateDrain;
use crate::freeze::attempt::Freeze;
use crate::outcome::cause::{Cause, Passage};
use crate::outcome::finding::Finding;
use gate::word::Doing;

fn about(member: &Member, cause: Cause) -> Finding {
    Finding::of(cause, member.pid, Some(member.stat.comm.clone()))
}

impl Freeze {
    /// Those that waited while owning a lock, as the last pass saw it: other programs that
    /// want the lock waited too.
    pub(super) fn held_with_locks(&self, at: usize, drain: &GateDrain) -> Vec<Finding> {
        let reading = drain.reading();
        let held = |place: usize| {
            reading.threads_of(place).iter().any(|thread| thread.word.doing() == Doing::Held)
        };
        let members = self.session.census.gates[at].iter().enumerate();
        members
            .filter(|(place, m)| !m.gone && held(*place) && reading.holds_of(*place) > 0)
            .map(|(place, m)| about(m, Cause::HeldWithLocks(reading.holds_of(place))))
            .collect()
    }

    /// What passed the closed barrier, as far as the words tell. `seen`: something was
    /// seen of it elsewhere.
    pub(super) fn passed(&self, at: usize, seen: bool) -> Option<Finding> {
        let overdue = self.session.census.alive(at).find(|member| member.was_overdue());
        let moved = self.drains.get(at).and_then(|drain| self.moved_since(at, drain));
        Some(match (overdue, moved) {
            (Some(member), _) => about(member, Cause::Passed(Passage::Overdue)),
            (None, Some((member, 0))) => about(member, Cause::Passed(Passage::Over)),
            (None, Some((member, call))) => about(member, Cause::Passed(Passage::Call(call))),
            (None, None) if seen => return None,
            (None, None) => Cause::Passed(Passage::Unknown).into(),
        })
    }

    /// The member whose word, as the last pass before the thaw saw it, was not what it was when
    /// all were held; and its last call.
    fn moved_since(&self, at: usize, drain: &GateDrain) -> Option<(&Member, u16)> {
        drain.drained_words.iter().find_map(|was| {
            let now = drain.reading().threads_of(was.member).get(was.slot)?.word;
            let moved = now.sequence() != was.word.sequence();
            moved.then(|| (&self.session.census.gates[at][was.member], now.call()))
        })
    }
}
