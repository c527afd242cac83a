//! The barrier as this process sees it, the right to pass it, and waiting at it.

use crate::clock;
use crate::linux::time::{Rest, SLICE, against_deadline, wait_on};
use crate::this_process::lock_table::process_word;
use crate::this_process::state::{EXPIRED_BARRIER, Region, control, set_region_flag};
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{Acquire, Relaxed};
use gate::entry::{BlindPatience, Enclosing, Look, Patience, may_pass};
use gate::region::FLAG_FOREIGN_CLOCK;

/// How long one call has waited.
#[derive(Default)]
pub struct Waiting {
    patience: Patience,
    blind: BlindPatience,
}

/// Sleeps until something has changed for this call: also when another thread has
/// opened the section that both are in.
pub fn wait(word: &AtomicU64, region: &Region, seen: u64, waiting: &mut Waiting) {
    let header = &region.header;
    let bits = 1u32 << (header.nonce.load(Relaxed) % 31) | ALL_WAITERS;
    loop {
        rest(word, seen, bits, waiting);
        let barrier = word.load(Acquire);
        let may = may_pass(process_word(region), admitted(region), Enclosing::Nothing);
        if barrier != seen || may || look(waiting, barrier) != Look::Closed {
            return;
        }
    }
}

/// The freezer wakes these bits when it opens the barrier.
pub const ALL_WAITERS: u32 = 1 << 31;

/// One sleep at the barrier, if there is a way to sleep.
pub fn rest(word: &AtomicU64, seen: u64, bits: u32, waiting: &mut Waiting) {
    let sleep = waiting.blind.next(closed_at(), SLICE);
    match wait_on(word, seen, bits, sleep) {
        Rest::Awake => {}
        Rest::CameTo(moment) => waiting.blind.came_to(moment),
        Rest::Slept(ns) => waiting.blind.slept(ns),
        Rest::Impossible => {
            // No clock, and nothing to wait by: a deadline means nothing to this process.
            waiting.blind.give_up();
            set_region_flag(FLAG_FOREIGN_CLOCK);
        }
    }
}

fn closed_at() -> u64 {
    control().map_or(0, |page| page.closed_at.load(Relaxed))
}

/// The barrier as this process sees it: a deadline that has passed once is over
/// for good, without a look at the clock.
pub fn look(waiting: &mut Waiting, barrier: u64) -> Look {
    if barrier == 0 {
        return Look::Open;
    }
    if barrier == EXPIRED_BARRIER.load(Relaxed) {
        return Look::LeaseOver;
    }
    let look = match against_deadline() {
        Some(now) => waiting.patience.look(barrier, || now),
        None => {
            let look = waiting.blind.look(barrier, closed_at());
            if look == Look::Overdue {
                // Its next call does not wait for this one anew.
                EXPIRED_BARRIER.store(barrier, Relaxed);
            }
            look
        }
    };
    match look {
        Look::LeaseOver => {
            EXPIRED_BARRIER.store(barrier, Relaxed);
            // To a clock that is ahead every deadline has passed: then its region says so.
            clock::is_foreign();
        }
        Look::Closed if clock::is_foreign() => return Look::LeaseOver,
        _ => {}
    }
    look
}

/// Has the freezer admitted this process through the closed barrier?
pub fn admitted(region: &Region) -> bool {
    let header = &region.header;
    control().is_some_and(|control| {
        control.admits(header.nonce.load(Relaxed), header.lock_sequence.load(Acquire))
    })
}
