//! Sections that count as over although their locks are held: the profile's rule `settled`.

use crate::calls::{Rule, TABLE};
use crate::scratch::{Lineage, Scratch};
use crate::view::{ProcessView, ThreadView};
use crate::word::Doing;

/// What else must be known of a process for [`settled`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct HelperState {
    /// A thread of it is in a call that may wait a second or more (sleep, poll,
    /// select, connect), and no other is in any hooked call.
    pub waits: bool,
    /// It was forked and has become no other program since: what it changes is
    /// counted in the family.
    pub family: bool,
    /// It is dead: what it changed has been counted.
    pub gone: bool,
}

/// May the open section of `processes[at]` count as over, by the profile's rule?
///
/// Its owner has everything on record and has left what remains to a child
/// ([`ProcessWord::recorded`]: its own next change is no longer its right), and
/// every process that works for it has no section of its own, has done nothing since, and
/// waits: in a call that may last, or at the barrier, where a fresh fork will be held. (A
/// lock taken meanwhile, a mailbox's dotlock, guards nothing that is half-done: its holder is
/// held at its next change.)
/// `unchanged`: the family's count is what it was when all was on record, so that
/// no process has changed anything, nor one that was born and died unseen.
/// One that wakes is held at its next change like any other. An owner that is itself held
/// where it would fork the next child needs no such helper: with nothing changed since, the
/// set is as complete as it was at the fork before. The rule trusts that the record comes
/// first: not for servers that record later.
///
/// A child that was born and died between two listings is known by the family's count alone:
/// what decides is a pass after the last listing ([`crate::drain`]).
pub fn settled(
    at: usize,
    processes: &[ProcessView<'_>],
    unchanged: bool,
    scratch: &mut Scratch<'_>,
    mut state: impl FnMut(usize) -> HelperState,
) -> bool {
    if !unchanged || !processes[at].process.recorded() || processes[at].is_calling() {
        return false;
    }
    let mut helpers = 0;
    scratch.mark_lineage(processes, |ancestor| ancestor == at);
    for (other, p) in processes.iter().enumerate().filter(|(other, _)| *other != at) {
        if scratch.places[other].lineage != Lineage::With {
            continue;
        }
        let HelperState { waits, family, gone } = state(other);
        if gone {
            continue;
        }
        if p.unknown || p.nonce == 0 && !p.fresh_fork || p.in_section() || p.is_calling() {
            return false;
        }
        // Held at the barrier, it can do nothing either; nor before its first entry, which is.
        let fresh_fork = p.nonce == 0 && p.fresh_fork;
        if !(waits || p.held() || fresh_fork) || !family {
            return false;
        }
        helpers += 1;
    }
    helpers > 0 || forks_next(&processes[at])
}

/// Is it held at a fork, and nowhere else?
fn forks_next(p: &ProcessView<'_>) -> bool {
    let is_fork = |t: &ThreadView| {
        let rule = TABLE.get(t.word.call() as usize).and_then(|info| info.rule);
        matches!(rule, Some(Rule::Fork))
    };
    p.held() && p.threads.iter().all(|t| t.word.doing() != Doing::Held || is_fork(t))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With room of its own.
    fn settled(
        at: usize,
        processes: &[ProcessView<'_>],
        unchanged: bool,
        state: impl FnMut(usize) -> HelperState,
    ) -> bool {
        let mut places = std::vec![Default::default(); processes.len()];
        let scratch = Scratch::for_pass(processes, &mut places, &mut []);
        super::settled(at, processes, unchanged, &mut scratch.unwrap(), state)
    }

    use crate::calls::Call;
    use crate::view::samples::*;
    use crate::word::{ProcessWord, ThreadWord};

    #[test]
    fn a_section_is_settled_while_its_only_helper_waits_and_has_done_nothing() {
        let owner = process(1, in_section().forked(true));
        let helper = ProcessView { parent: Some(0), ..process(2, ProcessWord::default()) };
        let asleep = HelperState { waits: true, family: true, gone: false };
        let over = |all: &[ProcessView<'_>], state: &dyn Fn(usize) -> HelperState| {
            settled(0, all, true, state)
        };
        assert!(over(&[owner, helper], &|_| asleep));
        assert!(!settled(0, &[owner, helper], false, |_| asleep), "a helper changed something");
        assert!(!over(&[owner], &|_| asleep), "the child is gone: its parent will record");
        let dead = HelperState { gone: true, ..asleep };
        assert!(!over(&[owner, helper], &|_| dead), "as if it had never been");
        assert!(over(&[owner, helper, helper], &|at| if at == 1 { dead } else { asleep }));
        let awake = HelperState { waits: false, ..asleep };
        assert!(!over(&[owner, helper], &|_| awake));
        let held = [thread(Doing::Held, None)];
        assert!(over(&[owner, ProcessView { threads: &held, ..helper }], &|_| awake));
        let fresh_fork =
            ProcessView { parent: Some(0), fresh_fork: true, ..process(0, ProcessWord::default()) };
        assert!(over(&[owner, fresh_fork], &|_| awake), "it will be held");
        let lost = ProcessView { fresh_fork: false, ..fresh_fork };
        assert!(!over(&[owner, lost], &|_| asleep), "it may be anything");
        assert!(
            !over(&[owner, helper], &|_| HelperState { family: false, ..asleep }),
            "after an exec"
        );
        let locking = ProcessView { process: ProcessWord::default().with_locks(1), ..helper };
        assert!(over(&[owner, locking], &|_| asleep), "it has changed nothing under its lock");
        let writing = ProcessView { process: in_section(), ..helper };
        assert!(!over(&[owner, writing], &|_| asleep));
        let unrecorded = process(1, in_section());
        assert!(!over(&[unrecorded, helper], &|_| asleep));
    }

    #[test]
    fn an_owner_held_before_its_next_child_needs_none_that_waits() {
        let held_at = |call: Call| ThreadView {
            word: ThreadWord::default().enter(Doing::Held, call as u16, None),
            waits_for: None,
            disregarded: false,
        };
        let word = in_section().forked(true);
        let over = |threads: &[ThreadView], unchanged| {
            let owner = ProcessView { threads, ..process(1, word) };
            settled(0, &[owner], unchanged, |_| HelperState::default())
        };
        assert!(over(&[held_at(Call::fork)], true));
        assert!(!over(&[held_at(Call::fork)], false), "its last child has done something");
        assert!(!over(&[held_at(Call::write)], true), "it is about to record");
        assert!(!over(&[held_at(Call::fork), held_at(Call::write)], true));
        assert!(!over(&[thread(Doing::Idle, None)], true), "on its way, it may be anywhere");
    }

    #[test]
    fn a_section_is_not_settled_while_its_owner_or_a_helper_may_be_doing_something() {
        let call = [thread(Doing::Call, None)];
        let owner = process(1, in_section().forked(true));
        let helper = ProcessView { parent: Some(0), ..process(2, ProcessWord::default()) };
        let asleep = HelperState { waits: true, family: true, gone: false };
        let awake = HelperState { waits: false, ..asleep };
        let over = |owner: ProcessView<'_>, helper: ProcessView<'_>, state| {
            settled(0, &[owner, helper], true, |_| state)
        };
        assert!(over(owner, helper, asleep));
        assert!(
            !over(ProcessView { threads: &call, ..owner }, helper, asleep),
            "a call of its own"
        );
        assert!(!over(owner, ProcessView { threads: &call, ..helper }, asleep));
        assert!(!over(owner, ProcessView { unknown: true, ..helper }, asleep), "an exec under way");
        let own_region = ProcessView { fresh_fork: true, ..helper };
        assert!(!over(owner, own_region, awake), "it is past its first entry");
        let stranger = ProcessView { parent: None, threads: &call, ..helper };
        assert!(settled(0, &[owner, helper, stranger], true, |_| asleep), "works for nobody here");
    }
}
