//! Whether those that are not held yet have put down what follows from the last answers
//! of those that are held `first`: each is asked until it has been seen to have quiesced, in the
//! rounds of `gate::quiesce`. Here is what that means.
//!
//! By default it is a heuristic like `first` itself, and bounded. Where the profile has a
//! `first-wait`, all of a process must be seen asleep in a call that ends when another process
//! tells it something. The kernel wakes such a sleeper inside the exit or the write that
//! tells it, so one that is seen asleep after that has acted on it. With `rest` for its value
//! that decides; with a time, after that time the others are held all the same.

use crate::census::blockers;
use crate::census::disregard;
use crate::census::member::Member;
use crate::drive::progress::GateDrain;
use crate::linux::look::Look;
use crate::linux::procfs::{self, Children};
use crate::outcome::blocker::Blocker;
use gate::control::Rank;
use gate::quiesce::{HANDS, HANDS_IN_TIME};
use gate::word::Doing;
use std::collections::HashSet;

/// What shows that a process has quiesced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Seen not to work, or inside a call that changes a file.
    NotAtWork,
    /// Waiting for others, with all its threads, and so is every process outside the gate
    /// that it has started.
    WaitsForOthers,
}

/// Those that are not held yet are asked one by one whether they are at work: so many at most
/// in one pass.
pub const LOOKS_A_PASS: usize = 200;
/// How many processes outside the gate may lie between one of it and its news.
const BETWEEN: usize = 3;
/// Pause between two such passes.
pub const PAUSE_NS: u64 = 200_000;

/// Have all quiesced, by the pass that was just read? At most one round is ended by one pass.
pub fn reached(members: &[Member], drain: &mut GateDrain, proof: Proof) -> bool {
    let inside: HashSet<i32> = members.iter().filter(|m| !m.gone).map(|m| m.pid).collect();
    let mut listing = Children::default();
    let mut looks = 0;
    let mut awake = false;
    for (at, member) in members.iter().enumerate() {
        if !is_asked(member, drain) || drain.quiesced.contains(&at) {
            continue;
        }
        looks += 1;
        let has_quiesced = looks <= LOOKS_A_PASS
            && match proof {
                Proof::NotAtWork => is_not_seen_to_work(member, drain, at),
                // A first one that has begun nothing may also wait for the clock, to try a lock
                // anew: what it does then is held.
                Proof::WaitsForOthers => {
                    waits_with_all(member.pid, (&inside, &mut listing), BETWEEN, is_first(member))
                }
            };
        if has_quiesced {
            drain.quiesced.insert(at);
        } else {
            awake = true;
        }
    }
    if !awake {
        drain.rounds.next();
        drain.quiesced.clear();
    }
    drain.rounds.are_over(match proof {
        Proof::NotAtWork => HANDS_IN_TIME,
        Proof::WaitsForOthers => HANDS,
    })
}

fn is_first(member: &Member) -> bool {
    member.rank() != Rank::Last
}

fn is_asked(member: &Member, drain: &GateDrain) -> bool {
    !member.gone && drain.rounds.asks(is_first(member))
}

/// Those that have been asked and not been seen to have quiesced, and why the others wait for that.
pub fn not_quiesced(members: &[Member], drain: &GateDrain) -> Vec<Blocker> {
    let asked = members.iter().enumerate().filter(|(_, member)| is_asked(member, drain));
    let awake = asked.filter(|(at, _)| !drain.quiesced.contains(at));
    awake.map(|(_, member)| blockers::not_quiesced(member)).collect()
}

/// Inside a call that changes a file, or asleep. (A thread that announces a call and is not
/// seen to make it may still find the barrier closed.)
fn is_not_seen_to_work(member: &Member, drain: &GateDrain, at: usize) -> bool {
    let threads = drain.reading.threads_of(at);
    let inside = |doing| matches!(doing, Doing::Call | Doing::Held);
    threads.iter().any(|t| inside(t.word.doing()) && !t.disregarded) || !disregard::at_work(member)
}

/// The children outside the gate first: what one of them tells as it ends has woken its
/// parent before that is looked at.
fn waits_with_all(
    pid: i32,
    (inside, listing): (&HashSet<i32>, &mut Children),
    below: usize,
    clock: bool,
) -> bool {
    let children = match listing.of(pid) {
        Look::Seen(children) => children,
        Look::Gone(_) => Vec::new(),
        Look::NotSeen(_) => return false,
    };
    let mut between = children.into_iter().filter(|child| !inside.contains(child));
    if below == 0 {
        return between.next().is_none() && procfs::waits_for_others(pid, clock);
    }
    between.all(|child| waits_with_all(child, (inside, listing), below - 1, false))
        && procfs::waits_for_others(pid, clock)
}
