//! Whether those who are not held yet have put down what follows from the last answers
//! of those who are held `first`: each is asked until it has been seen at rest, in the
//! rounds of `gate::quiesce`. Here is what "at rest" means.
//!
//! By default it is a heuristic like `first` itself, and bounded. Where the profile has a
//! `first-wait`, all of a process must be seen asleep in a call that ends when somebody
//! tells it something. The kernel wakes such a sleeper inside the exit or the write that
//! tells it, so whoever is seen asleep after that has acted on it. With `rest` for its value
//! that decides; with a time, after that time the others are held all the same.

use crate::census::Member;
use crate::census::blockers::{self, Blocker};
use crate::census::disregard;
use crate::drive::run::Run;
use crate::linux::procfs;
use gate::control::Rank;
use gate::word::Doing;
use std::collections::HashSet;

/// What is taken for rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// Seen not to work, or inside a call that changes a file.
    Seen,
    /// Waiting for others, with all its threads, and so is every process outside the gate
    /// that it has started.
    Waits,
}

/// Through how many hands news goes at most: from an agent by its exit to its parent, to
/// the process that keeps its sessions, to the queue; and one more.
const HANDS: u32 = 4;
/// The same, where the time is bounded.
const HANDS_IN_TIME: u32 = 3;
/// Who is not held yet is asked one by one whether it is at work: so many at most.
pub const LOOKS: usize = 200;
/// How many processes outside the gate may lie between one of it and its news.
const BETWEEN: usize = 3;
/// Pause between two such looks.
pub const PAUSE_NS: u64 = 200_000;

/// Has everybody come to rest, by the pass that was just read? At most one round is
/// ended by one pass.
pub fn reached(members: &[Member], run: &mut Run, rest: Evidence) -> bool {
    let rounds = run.rounds;
    let asked = |m: &Member| !m.gone && !m.outsider && rounds.asks(is_first(m));
    let inside: HashSet<i32> = members.iter().filter(|m| !m.gone).map(|m| m.pid).collect();
    let mut looks = 0;
    let mut awake = false;
    for (at, member) in members.iter().enumerate().filter(|(_, m)| asked(m)) {
        if run.rested.contains(&at) {
            continue;
        }
        looks += 1;
        let rests = looks <= LOOKS
            && match rest {
                Evidence::Seen => is_not_seen_to_work(member, run, at),
                // A first one that has begun nothing may also wait for the clock, to try a lock
                // anew: what it does then is held.
                Evidence::Waits => waits_with_all(member.pid, &inside, BETWEEN, is_first(member)),
            };
        if rests {
            run.rested.insert(at);
        } else {
            awake = true;
        }
    }
    if !awake {
        run.rounds.next();
        run.rested.clear();
    }
    run.rounds.are_over(if rest == Evidence::Waits { HANDS } else { HANDS_IN_TIME })
}

fn is_first(member: &Member) -> bool {
    member.rank() != Rank::Last
}

/// Who has been asked and not been seen at rest, and why the others wait for that.
pub fn restless(members: &[Member], run: &Run) -> Vec<Blocker> {
    let asked = |(at, m): &(usize, &Member)| {
        !m.gone && !m.outsider && run.rounds.asks(is_first(m)) && !run.rested.contains(at)
    };
    let all = members.iter().enumerate().filter(asked);
    all.map(|(_, member)| blockers::restless(member)).collect()
}

/// Inside a call that changes a file, or asleep. (Whoever announces a call and is not
/// seen to make it may still find the barrier closed.)
fn is_not_seen_to_work(member: &Member, run: &Run, at: usize) -> bool {
    let threads = run.reading().threads_of(at);
    let inside = |doing| matches!(doing, Doing::Call | Doing::Held);
    threads.iter().any(|t| inside(t.word.doing()) && !t.disregarded) || !disregard::at_work(member)
}

/// The children outside the gate first: what one of them tells as it ends has woken its
/// parent before that is looked at.
fn waits_with_all(pid: i32, inside: &HashSet<i32>, below: usize, clock: bool) -> bool {
    let mut between = procfs::children(pid).into_iter().filter(|child| !inside.contains(child));
    if below == 0 {
        return between.next().is_none() && procfs::waits_for_others(pid, clock);
    }
    between.all(|child| waits_with_all(child, inside, below - 1, false))
        && procfs::waits_for_others(pid, clock)
}
