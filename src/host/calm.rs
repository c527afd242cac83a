//! Whether those who are not held yet have put down what follows from the last answers
//! of those who are held `first`.
//!
//! A moment in which nobody works never comes on a busy server. But whoever has an answer
//! is awake until it has acted on it, and then sleeps again, or is inside a call that
//! changes a file. So each process is asked until it has been seen so *once*: first those
//! that are held, for their answer may still be on its way, then all others, in rounds,
//! for what one does may wake another (a delivery's child tells its parent, which records).
//! It is a heuristic like `first` itself, and bounded by the drain's own limit for it.

use super::census::Member;
use super::forgive;
use super::run::Run;
use gate::control::Rank;
use gate::word::Doing;

/// How often everybody must have come to rest: so many hand over to each other.
const ROUNDS: u32 = 3;
/// Who is not held yet is asked one by one whether it is at work: so many at most.
const LOOKS: usize = 200;
/// Pause between two such looks.
pub const PAUSE_NS: u64 = 200_000;

/// Has everybody come to rest, by the pass that was just read? At most one round is
/// ended by one pass.
pub fn reached(members: &[Member], run: &mut Run) -> bool {
    let first = run.rounds == 0;
    let asked = |m: &Member| !m.gone && !m.foreign && (m.rank() != Rank::Last) == first;
    let mut looks = 0;
    let mut awake = false;
    for (at, member) in members.iter().enumerate().filter(|(_, m)| asked(m)) {
        if run.rested.contains(&at) {
            continue;
        }
        looks += 1;
        if looks <= LOOKS && rests(member, run, at) {
            run.rested.insert(at);
        } else {
            awake = true;
        }
    }
    if !awake {
        run.rounds += 1;
        run.rested.clear();
    }
    run.rounds > ROUNDS
}

/// Inside a call that changes a file, or asleep. (Whoever announces a call and is not
/// seen to make it may still find the barrier closed.)
fn rests(member: &Member, run: &Run, at: usize) -> bool {
    let threads = run.reading().threads_of(at);
    let inside = |doing| matches!(doing, Doing::Call | Doing::Held);
    threads.iter().any(|t| inside(t.word.doing()) && !t.forgiven) || !forgive::at_work(member)
}
