//! Raise, lower, wake, admit: all that is ever stored in a control page.

use crate::linux::clock;
use crate::linux::futex;
use gate::admission::Admission;
use gate::control::{ANY_SEQUENCE, ControlPage, Rank};
use gate::drain::Order;
use gate::profile::{self, FirstWait, Key};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

/// Low bits of a deadline that only tell generations apart: 2^20 ns is 1 ms.
const UNIQUE_BITS: u32 = 20;
/// How many deadlines one freeze may use: a drain's openings take one each.
const PER_FREEZE: u32 = 4;

/// How long the others may take to quiesce after those that are held first, if the
/// profile does not say ...
const QUIESCED_WITHIN_NS: u64 = 20_000_000;
/// ... and what part of that time nothing of them must have moved in.
const UNMOVED_PART: u64 = 10;
/// Waiters sleep with one bit of these, by their nonce; those without a nonce with the bit above.
const WAKE_BITS: u32 = 31;

/// A deadline at most `limit_ns` from now that was never used before.
///
/// The deadline is the generation too. A limit shorter than the one before it can
/// give a deadline *below* the highest used, so uniqueness cannot come from its
/// size: the low bits carry the number of the freeze.
pub fn new_deadline(page: &ControlPage, now: u64, limit_ns: u64) -> u64 {
    let mask = (1u64 << UNIQUE_BITS) - 1;
    let number = page.freezes.load(Acquire).wrapping_add(1) << PER_FREEZE & mask;
    let rounded = now.saturating_add(limit_ns) & !mask;
    // Rounding down may cost a millisecond, but never the whole of a short limit.
    let deadline = if limit_ns > 4 << UNIQUE_BITS { rounded - mask - 1 } else { rounded };
    (deadline | number).max(1)
}

/// Counts a freeze; its number.
pub fn count_freeze(page: &ControlPage) -> u64 {
    page.freezes.fetch_add(1, SeqCst) + 1
}

/// If the profile names programs that are held before all others: how long these (`drain`)
/// and then the others may take to quiesce. `ranks` are those of the processes there are.
pub fn order(
    page: &ControlPage,
    drain: u64,
    ranks: impl Iterator<Item = Rank> + Clone,
) -> Option<Order> {
    let there = |rank| ranks.clone().any(|found| found == rank);
    // Where all are held first, none is before another.
    if !names_first(page) || !there(Rank::Last) {
        return None;
    }
    let from = if there(Rank::Sender) && there(Rank::First) { Rank::Sender } else { Rank::First };
    // Where the profile says how long, none is taken to have quiesced because it has not moved:
    // on a busy processor that says nothing. And the first ones end, or the drain fails.
    let ended = |quiesced_within| Order {
        from,
        drain: u64::MAX,
        quiesced_after: u64::MAX,
        quiesced_within,
    };
    let guessed = |quiesced_within| Order {
        from,
        drain,
        quiesced_after: quiesced_within / UNMOVED_PART,
        quiesced_within,
    };
    Some(match first_wait(page) {
        Some(FirstWait::Quiesced) => ended(u64::MAX),
        Some(FirstWait::AtMost(ns)) => ended(ns),
        None => guessed(QUIESCED_WITHIN_NS),
    })
}

fn names_first(page: &ControlPage) -> bool {
    profile::values(page.profile_text(), Key::First).next().is_some()
}

/// How the others are waited for, by the profile.
pub fn first_wait(page: &ControlPage) -> Option<FirstWait> {
    profile::first_wait(page.profile_text())
}

/// The freezer is ended by a signal: what it raises from now on comes down again.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// Lowers the barrier for good, beside a freezer that is stuck.
pub fn give_up(page: &ControlPage) {
    GIVEN_UP.store(true, SeqCst);
    lower(page);
}

/// After a raising: the thread that gives up may have lowered it before.
fn lower_if_given_up(page: &ControlPage) {
    fence(SeqCst);
    if GIVEN_UP.load(SeqCst) {
        lower(page);
    }
}

/// Raises the barrier for those that are held as early as `rank`, or earlier. `anew`: of a freeze
/// that begins; an opening keeps the old time.
pub fn raise_first(page: &ControlPage, rank: Rank, deadline: u64, now: u64, anew: bool) {
    prepare(page, deadline, now, anew);
    page.barrier_senders.store(deadline, SeqCst);
    if rank == Rank::First {
        page.barrier_first.store(deadline, SeqCst);
    }
    lower_if_given_up(page);
}

/// Raises the barrier for all.
pub fn raise(page: &ControlPage, deadline: u64, now: u64, anew: bool) {
    prepare(page, deadline, now, anew);
    if names_first(page) {
        // Up already, but for a profile that was published a moment ago.
        page.barrier_senders.store(deadline, SeqCst);
        page.barrier_first.store(deadline, SeqCst);
    }
    page.barrier.store(deadline, SeqCst);
    lower_if_given_up(page);
}

fn prepare(page: &ControlPage, deadline: u64, now: u64, anew: bool) {
    if anew {
        // A freezer that was killed has left its admissions behind.
        clear_admissions(page);
        page.closed_at.store(now, Release);
    }
    page.opened_at.store(0, Release);
    page.last_deadline.fetch_max(deadline, SeqCst);
}

/// Lowers the barrier, wakes all, takes back every admission. The time
/// after the barrier was down.
pub fn lower(page: &ControlPage) -> u64 {
    for word in page.words() {
        word.store(0, SeqCst);
    }
    fence(SeqCst);
    let opened_at = clock::now_ns();
    page.opened_at.store(opened_at, Release);
    wake_all(page);
    clear_admissions(page);
    opened_at
}

/// Wakes in steps: one FUTEX_WAKE for 1,000 waiters takes 55 ms, in which the
/// first ones already run into the rest.
pub fn wake_all(page: &ControlPage) {
    for word in page.words() {
        for bit in 0..WAKE_BITS {
            futex::wake(word, 1 << bit);
        }
        // Those that sleep without a bit of their own.
        futex::wake(word, 1 << WAKE_BITS);
    }
}

/// Lets one region pass and wakes it. False: all places are taken.
pub fn admit(page: &ControlPage, candidate: Admission) -> bool {
    let free = page.admissions.iter().find(|place| place.nonce.load(Relaxed) == 0);
    let Some(place) = free else { return false };
    // The nonce last: it is what workers look for.
    place.lock_sequence.store(candidate.lock_sequence, Release);
    place.nonce.store(candidate.nonce, SeqCst);
    fence(SeqCst);
    for word in page.words() {
        futex::wake(word, 1 << (candidate.nonce % u64::from(WAKE_BITS)));
    }
    true
}

/// Takes back the admission of a child whose owner is done.
pub fn revoke(page: &ControlPage, candidate: Admission) {
    for place in &page.admissions {
        if place.nonce.load(Relaxed) == candidate.nonce
            && place.lock_sequence.load(Relaxed) == candidate.lock_sequence
        {
            place.nonce.store(0, SeqCst);
            place.lock_sequence.store(ANY_SEQUENCE - 1, Release);
        }
    }
    fence(SeqCst);
}

/// Takes back all.
pub fn clear_admissions(page: &ControlPage) {
    for place in &page.admissions {
        place.nonce.store(0, Release);
        place.lock_sequence.store(0, Release);
    }
    fence(SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::bounded_child;
    use crate::linux::mapping::Mapping;
    use gate::control::SIZE;
    use std::time::Duration;

    #[test]
    fn once_given_up_it_is_not_raised_again() {
        let raised = || {
            let map = Mapping::anonymous(SIZE).unwrap();
            let page: &ControlPage = map.foreign().at(0).unwrap();
            let now = clock::now_ns();
            let words = |page: &ControlPage| page.words().map(|word| word.load(SeqCst));
            let mut seen = Vec::new();
            for given_up in [false, true] {
                if given_up {
                    give_up(page);
                }
                raise_first(page, Rank::First, now + 1, now, true);
                raise(page, now + 2, now, true);
                seen.push(words(page).iter().all(|word| *word == 0));
            }
            seen
        };
        // In a process of its own: it is given up for good.
        let seen = bounded_child::run(Duration::from_secs(20), raised);
        assert_eq!(seen, Some(vec![false, true]));
    }
}
